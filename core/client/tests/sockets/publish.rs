use realtime_client::{Client, ErrorKind, Protocol};
use serde_json::json;

use crate::support::{quick, server, within};

#[tokio::test]
async fn a_message_reaches_every_subscriber_with_its_receipt() {
    let server = server().await;
    let (alice, bob) = (Client::connect(server.url()).await.unwrap(), Client::connect(server.url()).await.unwrap());
    let mut heard_by_alice = alice.channel("room").unwrap().subscribe().await.unwrap();
    let mut heard_by_bob = bob.channel("room").unwrap().subscribe().await.unwrap();

    let receipt = alice.channel("room").unwrap().publish("greet", &json!({"n": 1})).await.unwrap();
    assert!(receipt.acknowledged && !receipt.duplicate);
    assert_eq!((receipt.channel.as_deref(), receipt.offset), (Some("room"), Some(1)));
    assert!(receipt.epoch.is_some());

    for heard in [&mut heard_by_alice, &mut heard_by_bob] {
        let message = within(heard.recv()).await.unwrap();
        assert_eq!((message.event(), message.offset()), ("greet", Some(1)));
        assert_eq!(message.json::<serde_json::Value>().unwrap(), json!({"n": 1}));
        assert_eq!(message.bytes(), br#"{"n":1}"#);
        assert!(message.timestamp().is_some() && !message.is_binary());
    }
    assert_eq!(alice.stats().acknowledged, 1);
}

#[tokio::test]
async fn bytes_arrive_as_they_are() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let room = client.channel("room").unwrap();
    let mut messages = room.subscribe().await.unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    room.publish_bytes("blob", bytes.clone()).await.unwrap();
    let message = within(messages.recv()).await.unwrap();
    assert!(message.is_binary());
    assert_eq!((message.event(), message.bytes()), ("blob", &bytes[..]));
    assert_eq!(message.json::<String>().unwrap_err().kind, ErrorKind::InvalidPayload);
}

#[tokio::test]
async fn two_subscriptions_of_one_client_each_get_everything() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let room = client.channel("room").unwrap();
    let (mut first, mut second) = (room.subscribe().await.unwrap(), room.subscribe().await.unwrap());
    room.publish("n", &1).await.unwrap();
    assert_eq!(within(first.recv()).await.unwrap().json::<u32>().unwrap(), 1);
    assert_eq!(within(second.recv()).await.unwrap().json::<u32>().unwrap(), 1);

    drop(first);
    room.publish("n", &2).await.unwrap();
    assert_eq!(within(second.recv()).await.unwrap().json::<u32>().unwrap(), 2);

    drop(second);
    let mut third = room.subscribe().await.unwrap();
    room.publish("n", &3).await.unwrap();
    assert_eq!(within(third.recv()).await.unwrap().json::<u32>().unwrap(), 3);
}

#[tokio::test]
async fn the_backend_itself_answers_a_send() {
    let mut config = realtime_server::ServerConfig::default();
    config.application = Some(std::sync::Arc::new(realtime_server::Echo));
    let server = realtime_server::Server::new(config).start().await.unwrap();
    let client = Client::connect(server.url()).await.unwrap();
    let mut messages = client.messages();
    let receipt = client.send("ask", &"what?").await.unwrap();
    assert_eq!((receipt.channel, receipt.offset, receipt.acknowledged), (None, None, true));
    let message = within(messages.recv()).await.unwrap();
    assert_eq!((message.event(), message.json::<String>().unwrap().as_str()), ("ask", "what?"));

    client.send_bytes(&b"\x00\xff"[..]).await.unwrap();
    assert_eq!(within(messages.recv()).await.unwrap().bytes(), b"\x00\xff");
}

#[tokio::test]
async fn names_and_payloads_are_checked_where_they_are_given() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let invalid = client.channel("").unwrap_err();
    assert_eq!(invalid.code(), "invalid_name");
    let room = client.channel("room").unwrap();
    let too_long = room.publish(&"é".repeat(200), &1).await.unwrap_err();
    assert_eq!(too_long.code(), "invalid_name");
    let keys_are_no_strings = std::collections::HashMap::from([((1, 2), 3)]);
    assert_eq!(room.publish("n", &keys_are_no_strings).await.unwrap_err().kind, ErrorKind::InvalidPayload);
}

#[tokio::test]
async fn a_channel_that_is_refused_says_why() {
    #[derive(Debug)]
    struct Nobody;
    impl realtime_server::hub::Authorizer for Nobody {
        fn can_subscribe(&self, _: Option<&str>, _: &str) -> bool {
            false
        }
    }
    let mut config = realtime_server::ServerConfig::default();
    config.hub.authorizer = std::sync::Arc::new(Nobody);
    let server = realtime_server::Server::new(config).start().await.unwrap();
    let client = Client::connect(server.url()).await.unwrap();
    let error = within(client.channel("room").unwrap().subscribe()).await.unwrap_err();
    assert_eq!(error.code(), "forbidden");
    // Publishing is another right.
    client.channel("room").unwrap().publish("n", &1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn in_the_plain_dialect_every_send_ends_while_other_threads_are_busy() {
    let server = server().await;
    let mut config = quick(&server.url());
    config.protocol = Protocol::Plain;
    let client = Client::connect(config).await.unwrap();
    let busy = client.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let other = tokio::spawn(async move {
        let mut rounds = 0u32;
        while stopped.try_recv().is_err() {
            rounds += 1;
            let channel = busy.channel(&format!("busy-{}", rounds % 10)).unwrap();
            let subscription = channel.subscribe().await.unwrap();
            channel.publish("n", &rounds).await.unwrap();
            drop(subscription);
        }
        rounds
    });
    let room = client.channel("room").unwrap();
    for n in 0..2000 {
        assert!(!within(room.publish("n", &n)).await.unwrap().acknowledged);
    }
    stop.send(()).unwrap();
    assert!(within(other).await.unwrap() > 0);
}
