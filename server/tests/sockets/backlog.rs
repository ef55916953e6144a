use realtime_server::ServerConfig;
use realtime_server::hub::Content;
use serde_json::json;

use crate::support::{Client, Got, start};

#[tokio::test]
async fn lone_messages_come_alone_and_at_once() {
    let server = start(ServerConfig::default()).await;
    let mut bob = Client::v1(&server, "bob").await;
    bob.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
    bob.hear_type("subscribed").await;
    for n in 1..=20 {
        server.publish("room", "e", &Content::Json(n.to_string().into())).unwrap();
        let Got::Text(frame) = bob.frame().await else { panic!("text") };
        assert!(!frame.contains('\n') && frame.ends_with(&format!("\"payload\":{n}}}")), "{frame}");
    }
}

#[tokio::test]
async fn a_backlog_shares_frames() {
    let server = start(ServerConfig::default()).await;
    let mut bob = Client::v1(&server, "bob").await;
    bob.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
    bob.hear_type("subscribed").await;
    // Nothing can be written between these: they are all waiting when the writer's turn comes.
    let payload = format!("\"{}\"", "x".repeat(1000));
    for _ in 0..1000 {
        server.publish("room", "e", &Content::Json(payload.clone().into())).unwrap();
    }
    let (mut offset, mut frames) = (0, 0);
    while offset < 1000 {
        let Got::Text(frame) = bob.frame().await else { panic!("text") };
        assert!(frame.len() < 70_000);
        frames += 1;
        for line in frame.lines() {
            offset += 1;
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(message["offset"], offset);
        }
    }
    assert!(frames < 30, "{frames} frames");
}

#[tokio::test]
async fn plain_clients_get_a_message_a_frame() {
    let server = start(ServerConfig::default()).await;
    let mut bob = Client::plain(&server).await;
    bob.say(json!({"type": "subscribe", "payload": {"channel": "room"}})).await;
    bob.say(json!({"type": "ping", "timestamp": 1})).await;
    bob.hear_type("pong").await;
    for n in 1..=500 {
        server.publish("room", "e", &Content::Json(n.to_string().into())).unwrap();
    }
    for n in 1..=500 {
        let Got::Text(frame) = bob.frame().await else { panic!("text") };
        let message: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(message["payload"], n);
    }
}

#[tokio::test]
async fn many_subscribers_get_everything() {
    let server = start(ServerConfig::default()).await;
    let mut clients = Vec::new();
    for n in 0..100 {
        let mut client = Client::v1(&server, &format!("client{n}")).await;
        client.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
        client.hear_type("subscribed").await;
        clients.push(client);
    }
    for n in 1..=50 {
        let publish = json!({"type": "publish", "id": n, "channel": "room", "event": "e", "payload": n});
        clients[0].say(publish).await;
    }
    for client in &mut clients {
        for n in 1..=50 {
            assert_eq!(client.hear_type("message").await["payload"], n);
        }
    }
    assert_eq!(server.stats().messages_out, 5000);
}
