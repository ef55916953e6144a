//! The dump of a client whose sockets are cut, lived through again.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use realtime_client::{Client, Config};
use realtime_simulation::replay::replay;
use realtime_testing::FaultProxy;

#[tokio::test]
async fn the_dump_of_a_client_over_sockets_replays() {
    let server = realtime_server::Server::default().start().await.unwrap();
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let mut config = Config::new(proxy.url());
    config.record = 100_000;
    (config.reconnect_first, config.reconnect_base) = (Duration::from_millis(5), Duration::from_millis(10));
    let client = Client::connect(config).await.unwrap();
    let room = client.channel("room").unwrap();
    let mut messages = room.subscribe().await.unwrap();
    for round in 0..5 {
        for n in 0..20 {
            room.publish("said", &n).await.unwrap();
        }
        for _ in 0..20 {
            tokio::time::timeout(Duration::from_secs(30), messages.recv()).await.unwrap().unwrap();
        }
        if round < 4 {
            proxy.cut_connections();
        }
    }
    let replayed = replay(&serde_json::from_str(&client.dump()).unwrap()).unwrap();
    assert!(replayed.timeline.len() > 100 && replayed.note.is_none(), "{replayed:?}");
    assert!(replayed.differences == 0, "{:#?}\n{:?}", replayed.timeline, replayed.first);
}
