use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use realtime_client::{Client, ErrorKind, Protocol, Status};

use crate::support::{Backend, next_error, quick, server, until_status, within};

#[tokio::test]
async fn every_connect_asks_for_a_fresh_token() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.protocol = Protocol::Plain;
    let asked = Arc::new(AtomicU32::new(0));
    let client = Client::builder(config)
        .token_provider(move || {
            let asked = Arc::clone(&asked);
            async move { Ok::<_, String>(Some(format!("token-{}", asked.fetch_add(1, Ordering::Relaxed)))) }
        })
        .start()
        .unwrap();
    for n in 0..3 {
        let (peer, request) = backend.accept().await;
        assert_eq!(request.headers()["authorization"], format!("Bearer token-{n}"));
        drop(peer);
    }
    drop(client);
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again() {
    let server = server().await;
    let tries = AtomicU32::new(0);
    let client = Client::builder(quick(&server.url()))
        .token_provider(move || {
            let tried = tries.fetch_add(1, Ordering::Relaxed);
            async move {
                match tried {
                    0 => Err("no signal".to_owned()),
                    1 => panic!("a bug of the application"),
                    _ => Ok(None),
                }
            }
        })
        .start()
        .unwrap();
    let mut events = client.events();
    let failed = next_error(&mut events).await;
    assert_eq!(failed.kind, ErrorKind::TokenFailed);
    assert!(failed.message.contains("no signal"), "{failed}");
    let panicked = next_error(&mut events).await;
    assert_eq!(panicked.kind, ErrorKind::TokenFailed);
    until_status(&mut events, Status::Connected).await;
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up_in_time() {
    let server = server().await;
    let mut config = quick(&server.url());
    config.token_timeout = Duration::from_millis(30);
    let tries = AtomicU32::new(0);
    let client = Client::builder(config)
        .token_provider(move || {
            let tried = tries.fetch_add(1, Ordering::Relaxed);
            async move { if tried == 0 { std::future::pending().await } else { Ok::<_, String>(None) } }
        })
        .start()
        .unwrap();
    let error = next_error(&mut client.events()).await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    within(client.ready()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_wants_a_token_gets_it() {
    let mut config = realtime_server::ServerConfig::default();
    config.hub.auth = realtime_server::Auth::secret("a long enough secret");
    let server = realtime_server::Server::new(config).start().await.unwrap();
    let refused = within(Client::connect(quick(&server.url()))).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unauthenticated, "{refused}");
    let token = || async { Ok::<_, String>(Some("a long enough secret".to_owned())) };
    within(Client::builder(quick(&server.url())).token_provider(token).connect()).await.unwrap();
}
