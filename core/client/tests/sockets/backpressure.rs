use futures_util::FutureExt;
use realtime_client::{Client, Protocol, Window};
use realtime_server::hub::Content;

use crate::support::{Backend, quick, server, within};

const WINDOW: Window = Window { connection: 8 << 10, channel: 4 << 10 };

#[tokio::test]
async fn a_slow_subscriber_holds_the_server_back_and_loses_nothing() {
    let server = server().await;
    let mut config = quick(&server.url());
    config.inbox = WINDOW;
    let client = Client::connect(config).await.unwrap();
    let room = client.channel("room").unwrap();
    let mut messages = room.subscribe().await.unwrap();
    let payload = Content::Json(format!("{:?}", "x".repeat(200)).into());
    for _ in 0..500 {
        server.publish("room", "n", &payload).unwrap();
    }
    // A publish has its receipt while the inbox is full.
    assert_eq!(within(room.publish("n", &"last")).await.unwrap().offset, Some(501));
    let most = client.stats().unconsumed_bytes;
    assert!(most > 0 && most < WINDOW.channel + 1000, "{most} bytes");
    for offset in 1..=501 {
        assert_eq!(within(messages.recv()).await.unwrap().offset(), Some(offset));
        let unconsumed = client.stats().unconsumed_bytes;
        assert!(unconsumed < WINDOW.connection, "{unconsumed} bytes");
    }
    assert_eq!(client.stats().gaps, 0);
}

#[tokio::test]
async fn a_plain_backend_is_held_back_by_the_socket() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.protocol = Protocol::Plain;
    config.inbox = WINDOW;
    let client = Client::builder(config).start().unwrap();
    let mut peer = backend.peer().await;
    let mut messages = client.messages();
    // Far more than sockets buffer.
    let writer = tokio::spawn(async move {
        let padding = "x".repeat(10_000);
        for n in 0..2000 {
            peer.send(format!(r#"{{"type":"n","payload":{n},"padding":"{padding}"}}"#)).await;
        }
        peer
    });
    while client.stats().unconsumed_bytes < WINDOW.connection {
        tokio::task::yield_now().await;
    }
    let most = client.stats().unconsumed_bytes;
    assert!(most < 512 << 10, "{most} bytes");
    assert!(!writer.is_finished());
    for n in 0..2000 {
        assert_eq!(within(messages.recv()).await.unwrap().json::<u32>().unwrap(), n);
    }
    drop(within(writer).await);
}

#[tokio::test]
async fn publishing_from_a_loop_over_a_full_inbox_does_not_deadlock() {
    let server = server().await;
    let mut config = quick(&server.url());
    config.inbox = Window { connection: 2 << 10, channel: 1 << 10 };
    config.queue_messages = 2;
    let client = Client::connect(config).await.unwrap();
    let room = client.channel("room").unwrap();
    let mut messages = room.subscribe().await.unwrap();
    let payload = Content::Json(format!("{:?}", "x".repeat(300)).into());
    for _ in 0..50 {
        server.publish("room", "request", &payload).unwrap();
    }
    let (mut requests, mut answers) = (0, 0);
    while requests < 50 || answers < 50 {
        let message = within(messages.recv()).await.unwrap();
        if message.event() == "request" {
            requests += 1;
            within(room.publish("answer", &requests)).await.unwrap();
        } else {
            answers += 1;
        }
    }
}

#[tokio::test]
async fn messages_that_nobody_reads_do_not_stop_the_connection() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.protocol = Protocol::Plain;
    config.inbox = WINDOW;
    let client = Client::builder(config).start().unwrap();
    let mut peer = backend.peer().await;
    for _ in 0..100 {
        peer.send(format!(r#"{{"type":"n","payload":{:?}}}"#, "x".repeat(1000))).await;
    }
    within(async {
        while client.unheard() < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.stats().unconsumed_bytes, 0);
}

#[tokio::test]
async fn the_slower_of_two_readers_sets_the_pace() {
    let server = server().await;
    let mut config = quick(&server.url());
    config.inbox = WINDOW;
    let client = Client::connect(config).await.unwrap();
    let room = client.channel("room").unwrap();
    let (mut fast, mut slow) = (room.subscribe().await.unwrap(), room.subscribe().await.unwrap());
    let payload = Content::Json(format!("{:?}", "x".repeat(200)).into());
    for _ in 0..100 {
        server.publish("room", "n", &payload).unwrap();
    }
    until_idle(&client).await;
    // The fast one gets what the windows allow, and then has to wait for the slow one.
    let mut taken = 0;
    while let Some(message) = fast.recv().now_or_never() {
        assert_eq!(message.unwrap().offset(), Some(taken + 1));
        taken += 1;
        until_idle(&client).await;
    }
    assert!(taken > 0 && taken < 50, "{taken} messages before the slow one had read any");
    for offset in 1..=100 {
        assert_eq!(within(slow.recv()).await.unwrap().offset(), Some(offset));
        if offset > taken && offset < 96 {
            assert_eq!(within(fast.recv()).await.unwrap().offset(), Some(offset));
        }
    }
    // What is left does not wait for one who is gone.
    drop(slow);
    for offset in 96..=100 {
        assert_eq!(within(fast.recv()).await.unwrap().offset(), Some(offset));
    }
}

/// Waits for a round trip to the server and back: what it had to send before is here.
async fn until_idle(client: &Client) {
    within(client.channel("elsewhere").unwrap().publish("n", &0)).await.unwrap();
}
