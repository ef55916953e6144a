use futures_util::SinkExt;
use realtime_server::ServerConfig;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
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

#[tokio::test]
async fn what_is_no_websocket_frame_closes_with_1002() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    let unfinished = Frame::message(&b"{"[..], OpCode::Data(Data::Text), false);
    alice.socket.send(Message::Frame(unfinished)).await.unwrap();
    alice.say(json!({"type": "ping", "id": 1})).await;
    assert_eq!(alice.closed().await, 1002);
    crate::support::until(|| server.connection_count() == 0).await;
}

#[tokio::test]
async fn a_message_in_parts_is_one() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    let parts = [
        Frame::message(&b"{\"type\":\"pi"[..], OpCode::Data(Data::Text), false),
        Frame::ping(&b"within"[..]),
        Frame::message(&b"ng\",\"id\":"[..], OpCode::Data(Data::Continue), false),
        Frame::message(&b"7}"[..], OpCode::Data(Data::Continue), true),
    ];
    for part in parts {
        alice.socket.send(Message::Frame(part)).await.unwrap();
    }
    assert_eq!(alice.hear_type("pong").await["id"], 7);
}

#[tokio::test]
async fn a_goodbye_is_answered_with_its_own_code() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    let goodbye = CloseFrame { code: 4321.into(), reason: "enough".into() };
    alice.socket.send(Message::Close(Some(goodbye))).await.unwrap();
    assert_eq!(alice.closed().await, 4321);
    crate::support::until(|| server.connection_count() == 0).await;
}
