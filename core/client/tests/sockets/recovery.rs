use realtime_client::{Client, ClientEvent, Status};
use realtime_testing::FaultProxy;

use crate::support::{event, quick, server, until_status, within};

#[tokio::test]
async fn what_was_published_during_an_outage_is_recovered_in_order() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let publisher = Client::connect(server.url()).await.unwrap();
    let room = publisher.channel("room").unwrap();
    let subscriber = Client::connect(quick(proxy.url())).await.unwrap();
    let mut events = subscriber.events();
    let mut messages = subscriber.channel("room").unwrap().subscribe().await.unwrap();

    for n in 0..10 {
        room.publish("n", &n).await.unwrap();
    }
    for n in 0..5 {
        assert_eq!(within(messages.recv()).await.unwrap().json::<u32>().unwrap(), n);
    }
    proxy.cut();
    until_status(&mut events, Status::Reconnecting).await;
    for n in 10..20 {
        room.publish("n", &n).await.unwrap();
    }
    proxy.restore();
    for n in 5..20 {
        let message = within(messages.recv()).await.unwrap();
        assert_eq!((message.json::<u32>().unwrap(), message.offset()), (n, Some(u64::from(n) + 1)));
    }
    assert_eq!(subscriber.stats().reconnects, 1);
    assert_eq!(subscriber.stats().gaps, 0);
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_message_loses_nothing() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let publisher = Client::connect(server.url()).await.unwrap();
    let room = publisher.channel("room").unwrap();
    let subscriber = Client::connect(quick(proxy.url())).await.unwrap();
    let mut messages = subscriber.channel("room").unwrap().subscribe().await.unwrap();
    let payload = "x".repeat(500);
    for round in 0..5 {
        proxy.drop_after(1234);
        for _ in 0..20 {
            room.publish("n", &payload).await.unwrap();
        }
        for n in 1..=20 {
            let message = within(messages.recv()).await.unwrap();
            assert_eq!(message.offset(), Some(round * 20 + n));
        }
    }
    assert_eq!(proxy.cuts(), 5);
    assert_eq!(subscriber.stats().gaps, 0);
}

#[tokio::test]
async fn what_the_server_no_longer_has_is_a_gap() {
    let mut config = realtime_server::ServerConfig::default();
    config.hub.history.messages = 3;
    let server = realtime_server::Server::new(config).start().await.unwrap();
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let publisher = Client::connect(server.url()).await.unwrap();
    let room = publisher.channel("room").unwrap();
    let subscriber = Client::connect(quick(proxy.url())).await.unwrap();
    let mut events = subscriber.events();
    let mut messages = subscriber.channel("room").unwrap().subscribe().await.unwrap();
    room.publish("n", &1).await.unwrap();
    assert_eq!(within(messages.recv()).await.unwrap().offset(), Some(1));
    proxy.cut();
    until_status(&mut events, Status::Reconnecting).await;
    for n in 2..=10 {
        room.publish("n", &n).await.unwrap();
    }
    proxy.restore();
    let (channel, gap) = event(&mut events, |event| match event {
        ClientEvent::Gap { channel, gap } => Some((channel, gap)),
        _ => None,
    })
    .await;
    assert_eq!((channel.as_str(), gap.reason, gap.from, gap.to), ("room", "evicted", Some(2), Some(7)));
    assert_eq!(within(messages.recv()).await.unwrap().offset(), Some(8));
}
