use std::time::{Duration, Instant};

use realtime_engine::wire::CloseCode;
use realtime_server::ServerConfig;
use realtime_server::hub::Content;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Client, start, status, until, within};

#[tokio::test]
async fn stop_says_goodbye_and_frees_the_port() {
    let server = start(ServerConfig::default()).await;
    let addr = server.addr();
    let mut client = Client::v1(&server, "alice").await;
    let (_, code) = tokio::join!(server.stop(), client.closed());
    assert_eq!(code, 4000);
    TcpListener::bind(addr).await.expect("the port is free");
    TcpStream::connect(addr).await.expect_err("nobody listens");
}

#[tokio::test]
async fn stop_does_not_wait_for_who_is_stuck() {
    let server = start(ServerConfig::default()).await;
    let mut stuck = Client::v1(&server, "stuck").await;
    stuck.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
    stuck.hear_type("subscribed").await;
    let _half_open = TcpStream::connect(server.addr()).await.unwrap();
    let payload: bytes::Bytes = format!("\"{}\"", "x".repeat(500_000)).into();
    for _ in 0..30 {
        server.publish("room", "e", &Content::Json(payload.clone())).unwrap();
    }
    let begun = Instant::now();
    within(server.stop()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_is_dropped_is_stopped() {
    let server = start(ServerConfig::default()).await;
    let mut client = Client::v1(&server, "alice").await;
    drop(server);
    assert_eq!(client.closed().await, 4000);
}

#[tokio::test]
async fn it_starts_again_on_the_same_port_with_another_epoch() {
    let server = start(ServerConfig::default()).await;
    let port = server.addr().port();
    let epoch = server.publish("room", "e", &Content::Json("1".into())).unwrap().epoch;
    server.stop().await;
    let server = start(ServerConfig { port, ..ServerConfig::default() }).await;
    assert_ne!(server.publish("room", "e", &Content::Json("1".into())).unwrap().epoch, epoch);
    assert_eq!(server.url(), format!("ws://127.0.0.1:{port}"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let server = start(ServerConfig::default()).await;
    let again = ServerConfig { port: server.addr().port(), ..ServerConfig::default() };
    realtime_server::Server::new(again).start().await.unwrap_err();
}

#[tokio::test]
async fn disconnect_all_closes_with_the_code() {
    let server = start(ServerConfig::default()).await;
    let mut client = Client::v1(&server, "alice").await;
    server.disconnect_all(CloseCode::FORBIDDEN, "not today");
    assert_eq!(client.frame().await, crate::support::Got::Closed(4501, "not today".into()));
    until(|| server.connection_count() == 0).await;
    Client::v1(&server, "bob").await;
}

#[tokio::test]
async fn send_to_all_reaches_both_dialects() {
    let server = start(ServerConfig::default()).await;
    let (mut v1, mut plain) = (Client::v1(&server, "alice").await, Client::plain(&server).await);
    until(|| server.connection_count() == 2).await;
    assert_eq!(server.send_to_all("news", &Content::Json("[1]".into())).unwrap(), 2);
    assert_eq!(v1.hear_type("direct").await["payload"], json!([1]));
    assert_eq!(plain.hear_type("news").await["payload"], json!([1]));
}

#[tokio::test]
async fn a_drain_asks_everybody_to_leave() {
    let server = start(ServerConfig::default()).await;
    let (mut v1, mut plain) = (Client::v1(&server, "alice").await, Client::plain(&server).await);
    until(|| server.connection_count() == 2).await;
    let leave = async {
        let goaway = v1.hear_type("goaway").await;
        assert_eq!((&goaway["reason"], &goaway["spread"]), (&json!("drain"), &json!(200)));
        assert_eq!(status(Client::open(&server, "/", &[]).await), 503);
        drop(v1);
        plain.closed().await
    };
    let (_, code) = within(async { tokio::join!(server.drain(Duration::from_millis(200)), leave) }).await;
    assert_eq!(code, 1012);
    assert_eq!(server.connection_count(), 0);
}

#[test]
fn it_runs_on_a_runtime_of_somebody_else() {
    for runtime in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()].iter_mut()
    {
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let server = start(ServerConfig::default()).await;
            Client::v1(&server, "alice").await;
            server.stop().await;
        });
    }
}
