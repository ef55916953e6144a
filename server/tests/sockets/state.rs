//! Presence and collections over real sockets, and what the server's application can ask of them.
use realtime_server::hub::PresenceConfig;
use realtime_server::{HubConfig, Op, ServerConfig};
use serde_json::json;
use std::time::Duration;

use crate::support::{Client, start};

#[tokio::test]
async fn who_is_there_is_told_and_ends_after_the_grace_period() {
    let presence = PresenceConfig { grace: Duration::from_millis(50), ..PresenceConfig::default() };
    let hub = HubConfig { presence, ..HubConfig::default() };
    let server = start(ServerConfig { hub, ..ServerConfig::default() }).await;
    let mut alice = Client::v1(&server, "alice").await;
    let mut bob = Client::v1(&server, "bob").await;
    bob.say(json!({"type": "subscribe", "id": 1, "channel": "room", "presence": true})).await;
    assert_eq!(bob.hear().await["grace"], 50);
    assert_eq!(bob.hear().await["members"], json!([]));
    alice
        .say(json!({"type": "track", "id": 1, "channel": "room", "key": "ada", "status": "away", "state": {"n": 1}}))
        .await;
    let tracked = alice.hear_type("tracked").await;
    let join = bob.hear_type("presence").await["join"][0].clone();
    assert_eq!((&join["ref"], &join["key"], &join["state"]), (&tracked["ref"], &json!("ada"), &json!({"n": 1})));
    let members = server.members("room");
    assert_eq!((members.len(), &*members[0].key, server.stats().members), (1, "ada", 1));
    drop(alice);
    assert_eq!(bob.hear_type("presence").await["leave"][0]["ref"], tracked["ref"]);
    assert_eq!(server.members("room"), []);
    server.stop().await;
}

#[tokio::test]
async fn a_record_is_the_same_for_clients_and_the_server() {
    let server = start(ServerConfig::default()).await;
    let mut alice = Client::v1(&server, "alice").await;
    let mut bob = Client::v1(&server, "bob").await;
    bob.say(json!({"type": "subscribe", "id": 1, "channel": "room", "collection": "tasks"})).await;
    assert_eq!(bob.hear_type("snapshot").await["records"], json!([]));
    let task = json!({"id": "t1", "title": "Ship it"});
    alice.say(json!({"type": "mutate", "id": 1, "channel": "room", "collection": "tasks", "op": "insert", "key": "t1", "payload": task})).await;
    let receipt = alice.hear_type("receipt").await;
    let change = bob.hear_type("change").await;
    assert_eq!((&change["payload"], &change["offset"]), (&task, &receipt["offset"]));
    let position = server.mutate("room", "tasks", "t1", Op::Update(br#"{"done":true}"#), Some(1)).unwrap();
    assert_eq!((position.offset, bob.hear_type("change").await["payload"].clone()), (2, json!({"done": true})));
    let records = server.records("room", "tasks");
    assert_eq!(
        (records.len(), &records[0].record[..]),
        (1, br#"{"id":"t1","title":"Ship it","done":true}"#.as_slice())
    );
    assert_eq!(server.record("room", "tasks", "t1").as_ref(), records.first());
    let mut carol = Client::v1(&server, "carol").await;
    carol.say(json!({"type": "subscribe", "id": 1, "channel": "room", "collection": "tasks"})).await;
    let record = json!({"id": "t1", "title": "Ship it", "done": true});
    assert_eq!(carol.hear_type("snapshot").await["records"], json!([{"key": "t1", "revision": 2, "record": record}]));
    assert_eq!(carol.hear_type("digest").await["records"], 1);
    server.stop().await;
}
