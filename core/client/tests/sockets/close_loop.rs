use std::time::{Duration, Instant};

use realtime_client::{Client, ClientEvent, Protocol};

use crate::support::{Backend, event};

#[tokio::test]
async fn a_server_that_closes_at_once_is_not_hammered() {
    let backend = Backend::start().await;
    let mut config = realtime_client::Config::new(backend.url());
    config.protocol = Protocol::Plain;
    config.reconnect_first = Duration::from_millis(20);
    config.reconnect_base = Duration::from_millis(40);
    config.reconnect_max = Duration::from_millis(80);
    let start = Instant::now();
    let client = Client::builder(config).start().unwrap();
    let mut events = client.events();
    let mut waited = Duration::ZERO;
    for _ in 0..6 {
        let mut peer = backend.peer().await;
        peer.socket.close(None).await.unwrap();
        waited += event(&mut events, |event| match event {
            ClientEvent::Status { retry_in, .. } => retry_in,
            _ => None,
        })
        .await;
    }
    drop(client);
    assert!(waited > Duration::ZERO && waited <= Duration::from_millis(20 + 40 + 80 * 4), "{waited:?}");
    // All but the last delay lie between the connections that were made.
    assert!(start.elapsed() + Duration::from_millis(80) >= waited, "{waited:?} in {:?}", start.elapsed());
}
