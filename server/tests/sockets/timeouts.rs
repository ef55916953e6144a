use std::time::Duration;

use realtime_server::{HubConfig, ServerConfig};
use serde_json::json;

use crate::support::{Client, start};

#[tokio::test]
async fn silence_and_missing_hellos_are_closed() {
    let hub = HubConfig {
        timeout: Duration::from_millis(300),
        heartbeat: Duration::from_millis(100),
        handshake_timeout: Duration::from_millis(300),
        ..HubConfig::default()
    };
    let server = start(ServerConfig { hub, ..ServerConfig::default() }).await;
    let mut mute = Client::open(&server, "/", &[("sec-websocket-protocol", "realtime.v1")]).await.unwrap();
    assert_eq!(mute.closed().await, 4003);
    let mut silent = Client::v1(&server, "silent").await;
    assert_eq!(silent.closed().await, 4002);
    assert_eq!(server.stats().timeouts, 2);
}

#[tokio::test]
async fn plain_clients_live_on_the_pongs_of_their_library() {
    let hub =
        HubConfig { timeout: Duration::from_millis(300), heartbeat: Duration::from_millis(50), ..HubConfig::default() };
    let server = start(ServerConfig { hub, ..ServerConfig::default() }).await;
    let mut plain = Client::plain(&server).await;
    // Reading answers pings; nothing else is said for three timeouts.
    let reading = tokio::time::timeout(Duration::from_millis(900), plain.frame()).await;
    assert!(reading.is_err(), "{reading:?}");
    plain.say(json!({"type": "ping", "timestamp": 3})).await;
    assert_eq!(plain.hear().await["timestamp"], 3);
}
