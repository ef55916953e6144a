use std::sync::Arc;

use realtime_server::{Echo, ServerConfig};
use serde_json::json;

use crate::support::{Client, Got, start};

fn echo() -> ServerConfig {
    ServerConfig { application: Some(Arc::new(Echo)), ..ServerConfig::default() }
}

#[tokio::test]
async fn v1_sends_come_back_as_direct_messages() {
    let server = start(echo()).await;
    let mut alice = Client::v1(&server, "alice").await;
    alice.say(json!({"type": "send", "id": 1, "event": "greet", "payload": {"a": [1]}})).await;
    assert_eq!(alice.hear().await, json!({"type": "receipt", "id": 1}));
    let direct = alice.hear().await;
    assert_eq!(
        (&direct["type"], &direct["event"], &direct["payload"]),
        (&json!("direct"), &json!("greet"), &json!({"a": [1]}))
    );
    alice.say_binary(b"\x03\x00\0\0\0\0\0\0\0\x02bytes\xff".to_vec()).await;
    assert_eq!(alice.hear().await, json!({"type": "receipt", "id": 2}));
    assert_eq!(alice.frame().await, Got::Binary(b"\x04\x00bytes\xff".to_vec()));
}

#[tokio::test]
async fn plain_messages_and_bytes_come_back() {
    let server = start(echo()).await;
    let mut bob = Client::plain(&server).await;
    bob.say(json!({"type": "greet", "payload": "hi", "timestamp": 1})).await;
    let answer = bob.hear().await;
    assert_eq!((&answer["type"], &answer["payload"]), (&json!("greet"), &json!("hi")));
    assert!(answer["timestamp"].as_u64().unwrap() > 1_600_000_000_000);
    bob.say_binary(vec![0, 1, 2, 255]).await;
    assert_eq!(bob.frame().await, Got::Binary(vec![0, 1, 2, 255]));
}

#[tokio::test]
async fn a_burst_comes_back_in_order() {
    let server = start(echo()).await;
    let mut alice = Client::v1(&server, "alice").await;
    let line = |id| json!({"type": "send", "id": id, "event": "n", "payload": id}).to_string();
    let burst: Vec<_> = (1..=500).map(line).collect();
    alice.say_text(burst.join("\n")).await;
    for n in 1..=500 {
        assert_eq!(alice.hear_type("direct").await["payload"], n);
    }
}
