use std::time::Duration;

use realtime_client::{Client, ClientEvent, CloseCode, ErrorKind, Protocol, Status};
use realtime_testing::FaultProxy;

use crate::support::{Backend, event, next_error, quick, server, until_status};

#[tokio::test]
async fn silence_is_noticed_and_left() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let mut config = quick(proxy.url());
    config.heartbeat_interval = Duration::from_millis(30);
    config.heartbeat_timeout = Duration::from_millis(90);
    config.connect_timeout = Duration::from_millis(100);
    let client = Client::connect(config).await.unwrap();
    let mut events = client.events();
    proxy.stall();
    assert_eq!(next_error(&mut events).await.kind, ErrorKind::HeartbeatTimeout);
    let code = event(&mut events, |event| match event {
        ClientEvent::Close { code, reconnecting: true, .. } => Some(code),
        _ => None,
    })
    .await;
    assert_eq!(code, CloseCode::HEARTBEAT_TIMEOUT);
    proxy.restore();
    until_status(&mut events, Status::Connected).await;
}

#[tokio::test]
async fn a_backend_that_knows_no_ping_message_proves_life_by_websocket_pongs() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.protocol = Protocol::Plain;
    config.heartbeat_interval = Duration::from_millis(20);
    config.heartbeat_timeout = Duration::from_millis(400);
    let client = Client::builder(config).start().unwrap();
    let mut events = client.events();
    let mut peer = backend.peer().await;
    until_status(&mut events, Status::Connected).await;
    // Reading answers WebSocket pings, and nothing else comes back. Longer than the timeout.
    for _ in 0..30 {
        peer.json("ping").await;
    }
    assert_eq!(client.status(), Status::Connected);
    assert!(client.stats().latency.is_some());
}
