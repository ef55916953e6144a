//! Clients talk to each other over real sockets.
use crate::support::{Client, start};
use realtime_server::ServerConfig;
use serde_json::json;

#[tokio::test]
async fn a_publish_reaches_the_subscriber_and_is_acknowledged() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    let mut bob = Client::v1(&server, "bob").await;
    bob.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
    let subscribed = bob.hear().await;
    assert_eq!((&subscribed["type"], &subscribed["offset"]), (&json!("subscribed"), &json!(0)));

    alice.say(json!({"type": "publish", "id": 1, "channel": "room", "event": "hi", "payload": {"n": 1}})).await;
    let receipt = alice.hear().await;
    assert_eq!(receipt, json!({"type": "receipt", "id": 1, "epoch": subscribed["epoch"], "offset": 1}));

    let message = bob.hear().await;
    assert_eq!(message["payload"], json!({"n": 1}));
    assert_eq!((&message["channel"], &message["event"], &message["offset"]), (&json!("room"), &json!("hi"), &json!(1)));
    assert_eq!(message.get("user"), None);

    bob.say(json!({"type": "ping", "id": 2, "timestamp": 7})).await;
    let pong = bob.hear().await;
    assert_eq!((&pong["type"], &pong["id"], &pong["timestamp"]), (&json!("pong"), &json!(2), &json!(7)));
    server.stop().await;
}
