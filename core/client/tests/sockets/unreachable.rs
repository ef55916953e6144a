use std::time::Duration;

use realtime_client::{Client, ErrorKind, Status};
use realtime_testing::FaultProxy;

use crate::support::{Backend, quick, server, until_status, within};

/// A port where nobody listens.
async fn nowhere() -> String {
    Backend::start().await.url()
}

#[tokio::test]
async fn the_status_becomes_error_and_probing_goes_on() {
    let backend = Backend::start().await;
    let url = backend.url();
    drop(backend);
    let client = Client::builder(quick(&url)).start().unwrap();
    let mut events = client.events();
    let (reason, _) = until_status(&mut events, Status::Reconnecting).await;
    assert_eq!(reason.unwrap().kind, ErrorKind::ConnectFailed);
    let (reason, retry_in) = until_status(&mut events, Status::Error).await;
    assert_eq!(reason.unwrap().kind, ErrorKind::ConnectFailed);
    assert!(retry_in.is_some());
    assert!(client.stats().failed_attempts >= 5);
    // The sixth attempt and those after it are made all the same.
    let failed = crate::support::next_error(&mut events).await;
    assert_eq!(failed.kind, ErrorKind::ConnectFailed);
}

#[tokio::test]
async fn reconnecting_tells_the_outcome_of_its_attempt() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    proxy.cut();
    let client = Client::builder(quick(proxy.url())).start().unwrap();
    until_status(&mut client.events(), Status::Error).await;
    assert_eq!(within(client.reconnect()).await.unwrap_err().kind, ErrorKind::ConnectFailed);
    proxy.restore();
    within(client.reconnect()).await.unwrap();
    assert_eq!(client.status(), Status::Connected);
}

#[tokio::test]
async fn connecting_fails_with_the_reason() {
    let error = within(Client::connect(quick(&nowhere().await))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ConnectFailed);
}

#[tokio::test]
async fn giving_up_fails_what_waits() {
    let mut config = quick(&nowhere().await);
    config.max_attempts = Some(2);
    let client = Client::builder(config).start().unwrap();
    let room = client.channel("room").unwrap();
    let (published, subscribed) = within(async { tokio::join!(room.publish("n", &1), room.subscribe()) }).await;
    assert_eq!(published.unwrap_err().kind, ErrorKind::MaxAttempts);
    assert_eq!(subscribed.unwrap_err().kind, ErrorKind::MaxAttempts);
    assert_eq!(client.status(), Status::Error);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_connect_failed() {
    let mut config = quick("ws://does-not-exist.invalid");
    config.max_attempts = Some(1);
    let client = Client::builder(config).proxy(realtime_client::Proxy::Direct).start().unwrap();
    let error = crate::support::next_error(&mut client.events()).await;
    assert_eq!(error.kind, ErrorKind::ConnectFailed, "{error}");
}

#[tokio::test]
async fn a_server_that_never_answers_the_upgrade_is_given_up_in_time() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.connect_timeout = Duration::from_millis(50);
    config.max_attempts = Some(1);
    let client = Client::builder(config).start().unwrap();
    let mut events = client.events();
    let silent = backend.tcp().await;
    let error = crate::support::next_error(&mut events).await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    // The attempt was cancelled: its socket is closed.
    let mut rest = Vec::new();
    within(tokio::io::AsyncReadExt::read_to_end(&mut { silent }, &mut rest)).await.unwrap();
    assert!(rest.starts_with(b"GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn settings_are_checked_at_once() {
    for url in ["http://localhost", "ws://", "nonsense", "ws://localhost/#fragment"] {
        assert_eq!(Client::builder(url).start().unwrap_err().kind, ErrorKind::InvalidUrl, "{url}");
    }
    let mut config = quick("ws://localhost");
    config.heartbeat_timeout = Duration::from_millis(1);
    assert_eq!(Client::builder(config).start().unwrap_err().kind, ErrorKind::InvalidOption);
}
