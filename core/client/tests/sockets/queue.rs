use realtime_client::{Channel, Client, Config, Error, ErrorKind, Receipt, Status, WhenFull};
use realtime_server::RunningServer;
use realtime_testing::FaultProxy;
use tokio::task::JoinHandle;

use crate::support::{quick, server, until_status, within};

struct Offline {
    _server: RunningServer,
    proxy: FaultProxy,
    client: Client,
    room: Channel,
}

/// A client whose network is gone, with a queue of three.
async fn offline(when_full: WhenFull) -> Offline {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let mut config: Config = quick(proxy.url());
    config.queue_messages = 3;
    config.when_full = when_full;
    let client = Client::connect(config).await.unwrap();
    let mut events = client.events();
    proxy.cut();
    until_status(&mut events, Status::Reconnecting).await;
    let room = client.channel("room").unwrap();
    Offline { _server: server, proxy, client, room }
}

impl Offline {
    /// Publishes one after another, each when the one before stands in line.
    async fn publish(&self, numbers: std::ops::Range<u32>) -> Vec<JoinHandle<Result<Receipt, Error>>> {
        let mut sends = Vec::new();
        for n in numbers {
            let room = self.room.clone();
            sends.push(tokio::spawn(async move { room.publish("n", &n).await }));
            // On this runtime a task runs until it waits.
            tokio::task::yield_now().await;
        }
        sends
    }
}

#[tokio::test]
async fn waiting_senders_go_in_the_order_they_came() {
    let offline = offline(WhenFull::Wait).await;
    let sends = offline.publish(0..20).await;
    assert_eq!(offline.client.stats().queued, 3);
    offline.proxy.restore();
    for (n, send) in (1..).zip(sends) {
        assert_eq!(within(send).await.unwrap().unwrap().offset, Some(n));
    }
}

#[tokio::test]
async fn a_full_queue_can_reject() {
    let offline = offline(WhenFull::Reject).await;
    let sends = offline.publish(0..5).await;
    let mut outcomes = Vec::new();
    offline.proxy.restore();
    for send in sends {
        outcomes.push(within(send).await.unwrap().map_err(|error| error.kind).map(|receipt| receipt.offset.unwrap()));
    }
    assert_eq!(outcomes, [Ok(1), Ok(2), Ok(3), Err(ErrorKind::QueueFull), Err(ErrorKind::QueueFull)]);
}

#[tokio::test]
async fn a_full_queue_can_drop_its_oldest() {
    let offline = offline(WhenFull::DropOldest).await;
    let sends = offline.publish(0..5).await;
    let mut outcomes = Vec::new();
    offline.proxy.restore();
    for send in sends {
        outcomes.push(within(send).await.unwrap().map_err(|error| error.kind).map(|receipt| receipt.offset.unwrap()));
    }
    assert_eq!(outcomes, [Err(ErrorKind::Dropped), Err(ErrorKind::Dropped), Ok(1), Ok(2), Ok(3)]);
}

#[tokio::test]
async fn who_waits_for_room_hears_of_the_end() {
    let offline = offline(WhenFull::Wait).await;
    let sends = offline.publish(0..6).await;
    within(offline.client.disconnect()).await;
    for send in sends {
        assert_eq!(within(send).await.unwrap().unwrap_err().kind, ErrorKind::Closed);
    }
}
