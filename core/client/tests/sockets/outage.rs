use realtime_client::{Client, Status};
use realtime_testing::FaultProxy;

use crate::support::{quick, server, until_status, within};

#[tokio::test]
async fn sends_wait_for_the_next_connection_and_keep_their_order() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let client = Client::connect(quick(proxy.url())).await.unwrap();
    let mut events = client.events();
    let room = client.channel("room").unwrap();
    let mut messages = room.subscribe().await.unwrap();
    proxy.cut();
    until_status(&mut events, Status::Reconnecting).await;

    let sends: Vec<_> = (0..50u32)
        .map(|n| {
            let room = room.clone();
            tokio::spawn(async move { room.publish("n", &n).await.unwrap().offset })
        })
        .collect();
    while client.stats().queued < 50 {
        tokio::task::yield_now().await;
    }
    proxy.restore();
    for (n, send) in (0..50u32).zip(sends) {
        assert_eq!(within(send).await.unwrap(), Some(u64::from(n) + 1));
        assert_eq!(within(messages.recv()).await.unwrap().json::<u32>().unwrap(), n);
    }
    assert_eq!(client.stats().queued, 0);
}

#[tokio::test]
async fn a_receipt_that_was_lost_on_the_way_is_asked_for_again() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let client = Client::connect(quick(proxy.url())).await.unwrap();
    let room = client.channel("room").unwrap();
    room.publish("n", &1).await.unwrap();
    // The publish gets through, the first byte of its receipt does not.
    proxy.drop_after(1);
    let receipt = within(room.publish("n", &2)).await.unwrap();
    assert_eq!((receipt.offset, receipt.duplicate), (Some(2), true));
    let receipt = within(room.publish("n", &3)).await.unwrap();
    assert_eq!((receipt.offset, receipt.duplicate), (Some(3), false));
}
