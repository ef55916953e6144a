use futures_util::{SinkExt, StreamExt};
use realtime_server::{RunningServer, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::{Client, start, within};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn offer(server: &RunningServer, offers: &[&str]) -> (Client, Option<String>) {
    let headers: Vec<_> = offers.iter().map(|offer| ("sec-websocket-protocol", *offer)).collect();
    let client = Client::open(server, "/", &headers).await.unwrap();
    let chosen =
        client.response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned());
    (client, chosen)
}

async fn speaks_plain(mut client: Client) -> bool {
    client.say(json!({"type": "ping", "payload": {"timestamp": 5}})).await;
    client.hear().await == json!({"type": "pong", "timestamp": 5})
}

#[tokio::test]
async fn v1_is_chosen_wherever_it_is_offered() {
    let server = start(ServerConfig::default()).await;
    for offers in [&["realtime.v1"][..], &["realtime.plain, realtime.v1"], &["foreign,realtime.v1"]] {
        let (mut client, chosen) = offer(&server, offers).await;
        assert_eq!(chosen.as_deref(), Some("realtime.v1"), "{offers:?}");
        client.hello("alice").await;
    }
}

#[tokio::test]
async fn plain_is_acknowledged_where_only_it_is_offered() {
    let server = start(ServerConfig::default()).await;
    let (client, chosen) = offer(&server, &["realtime.plain"]).await;
    assert_eq!(chosen.as_deref(), Some("realtime.plain"));
    assert!(speaks_plain(client).await);
}

#[tokio::test]
async fn who_offers_nothing_speaks_plain() {
    let server = start(ServerConfig::default()).await;
    let (client, chosen) = offer(&server, &[]).await;
    assert_eq!(chosen, None);
    assert!(speaks_plain(client).await);
}

/// Upgrades by hand, as client libraries refuse what they did not offer, and returns the head of the answer in lower case.
async fn upgrade(server: &RunningServer, more: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(format!("{REQUEST}{more}\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap().to_lowercase())
}

#[tokio::test]
async fn foreign_subprotocols_are_not_acknowledged() {
    let server = start(ServerConfig::default()).await;
    let (stream, head) = upgrade(&server, "Sec-WebSocket-Protocol: graphql-ws\r\n").await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    socket.send(r#"{"type":"ping","timestamp":5}"#.into()).await.unwrap();
    let pong = within(socket.next()).await.unwrap().unwrap();
    assert_eq!(pong.to_text().unwrap(), r#"{"type":"pong","timestamp":5}"#);
}

#[tokio::test]
async fn offers_may_stand_in_several_headers() {
    let server = start(ServerConfig::default()).await;
    let offers = "Sec-WebSocket-Protocol: realtime.plain\r\nSec-WebSocket-Protocol: realtime.v1\r\n";
    let (_stream, head) = upgrade(&server, offers).await;
    assert!(head.contains("sec-websocket-protocol: realtime.v1\r\n"), "{head}");
}

#[tokio::test]
async fn what_a_client_sends_right_behind_its_request_is_not_lost() {
    let server = start(ServerConfig::default()).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let mut bytes = format!("{REQUEST}\r\n").into_bytes();
    // A masked text frame, the mask being zero.
    let ping = br#"{"type":"ping","timestamp":5}"#;
    bytes.extend_from_slice(&[0x81, 0x80 | ping.len() as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(ping);
    stream.write_all(&bytes).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(br#"{"type":"pong","timestamp":5}"#) {
        heard.push(within(stream.read_u8()).await.unwrap());
    }
}
