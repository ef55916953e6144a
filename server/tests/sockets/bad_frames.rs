use futures_util::SinkExt;
use realtime_server::ServerConfig;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Client, start};

fn limited() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.hub.limits.frame = 10_000;
    config
}

#[tokio::test]
async fn a_frame_over_the_limit_is_answered_and_the_connection_goes_on() {
    let server = start(limited()).await;
    let mut alice = Client::v1(&server, "alice").await;
    alice.say_text("x".repeat(15_000)).await;
    assert_eq!(alice.hear().await["code"], "frame_too_large");
    alice.say(json!({"type": "ping", "id": 1})).await;
    alice.hear_type("pong").await;
}

#[tokio::test]
async fn a_frame_that_is_far_too_large_closes() {
    let server = start(limited()).await;
    let mut alice = Client::v1(&server, "alice").await;
    alice.say_text("x".repeat(30_000)).await;
    assert_eq!(alice.closed().await, 1009);
}

#[tokio::test]
async fn text_that_is_not_utf8_closes() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    let frame = Frame::message(&b"{\"type\":\"ping\xff\"}"[..], OpCode::Data(Data::Text), true);
    alice.socket.send(Message::Frame(frame)).await.unwrap();
    assert_eq!(alice.closed().await, 1007);
}

#[tokio::test]
async fn a_flood_of_nonsense_closes_with_a_code_that_says_stay_away() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    alice.say_text("nonsense\n".repeat(50)).await;
    let mut errors = 0;
    let code = loop {
        match alice.frame().await {
            crate::support::Got::Text(text) => errors += text.lines().count(),
            crate::support::Got::Closed(code, _) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((errors, code), (20, 4500), "what was answered comes before the close");
}

#[tokio::test]
async fn websocket_pings_are_answered() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    alice.socket.send(Message::Ping("abc".into())).await.unwrap();
    let pong = crate::support::within(futures_util::StreamExt::next(&mut alice.socket)).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("abc".into()));
}
