use std::time::Duration;

use realtime_server::hub::Content;
use realtime_server::{HubConfig, ServerConfig};
use serde_json::json;

use crate::support::{Client, Got, start, until};

fn impatient() -> ServerConfig {
    let hub = HubConfig { write_timeout: Duration::from_millis(300), ..HubConfig::default() };
    ServerConfig { hub, ..ServerConfig::default() }
}

/// More than all buffers of a socket hold.
fn flood(server: &realtime_server::RunningServer) {
    let payload: bytes::Bytes = format!("\"{}\"", "x".repeat(100_000)).into();
    for _ in 0..150 {
        server.publish("room", "e", &Content::Json(payload.clone())).unwrap();
    }
}

async fn subscribed(
    server: &realtime_server::RunningServer,
    name: &str,
    since: Option<u64>,
) -> (Client, serde_json::Value) {
    let mut client = Client::v1(server, name).await;
    client.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
    let mut subscribed = client.hear_type("subscribed").await;
    if let Some(offset) = since {
        let since = json!({"epoch": subscribed["epoch"], "offset": offset});
        client.say(json!({"type": "subscribe", "id": 2, "channel": "room", "since": since})).await;
        subscribed = client.hear_type("subscribed").await;
    }
    (client, subscribed)
}

#[tokio::test]
async fn who_takes_nothing_is_closed_and_can_come_back() {
    let server = start(impatient()).await;
    let (mut stuck, _) = subscribed(&server, "stuck", None).await;
    flood(&server);
    until(|| server.stats().slow_consumers == 1).await;
    until(|| server.connection_count() == 0).await;
    // What had been written before can still be read; then it ends, with the code where that found room.
    let mut offset = 0;
    let code = loop {
        match stuck.frame().await {
            Got::Text(text) => offset += text.lines().count() as u64,
            Got::Closed(code, _) => break code,
            Got::Gone => break 1006,
            other => panic!("{other:?}"),
        }
    };
    assert!(code == 4001 || code == 1006, "{code}");
    assert!(offset < 150);
    let (mut back, recovered) = subscribed(&server, "stuck", Some(offset)).await;
    assert_eq!(recovered["recovered"], true);
    for expected in offset + 1..=150 {
        assert_eq!(back.hear_type("message").await["offset"], expected);
    }
}

#[tokio::test]
async fn the_others_do_not_wait_for_it() {
    let server = start(ServerConfig::default()).await;
    let (_stuck, _) = subscribed(&server, "stuck", None).await;
    let (mut bob, _) = subscribed(&server, "bob", None).await;
    flood(&server);
    for expected in 1..=150 {
        assert_eq!(bob.hear_type("message").await["offset"], expected);
    }
    assert_eq!(server.connection_count(), 2);
}

#[tokio::test]
async fn who_reads_slowly_is_not_closed() {
    let server = start(impatient()).await;
    let (mut slow, _) = subscribed(&server, "slow", None).await;
    flood(&server);
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for expected in 1..=150 {
        pace.tick().await;
        assert_eq!(slow.hear_type("message").await["offset"], expected);
    }
    assert_eq!(server.stats().slow_consumers, 0);
}
