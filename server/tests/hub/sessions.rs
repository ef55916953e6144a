use realtime_server::hub::{Dialect, HubConfig};
use serde_json::json;

use crate::world::World;

fn hello(world: &mut World, session: &str) -> serde_json::Value {
    let client = world.open(Dialect::V1, None);
    world.ask(client, json!({"type": "hello", "session": format!("{session:_<24}")}))[0].clone()
}

#[test]
fn a_session_that_is_known_is_resumed() {
    let mut world = World::new(HubConfig::default());
    assert_eq!(hello(&mut world, "alice")["resumed"], false);
    assert_eq!(hello(&mut world, "alice")["resumed"], true);
    assert_eq!(hello(&mut world, "bob")["resumed"], false);
}

#[test]
fn a_second_connection_takes_the_session_over() {
    let mut world = World::new(HubConfig::default());
    let first = world.v1("alice");
    world.subscribe(first, "room");
    world.publish_all(first, 1..=1, "room");
    let second = world.v1("alice");
    assert_eq!(world.closed.get(&first), Some(&4502));
    assert_eq!(world.publish(second, 1, "room")["duplicate"], true);
    // The first one's end must not take the session from the second.
    world.disconnect(first);
    let third = world.v1("alice");
    assert_eq!(world.closed.get(&second), Some(&4502));
    assert_eq!(world.publish(third, 1, "room")["duplicate"], true);
}

#[test]
fn nothing_of_a_replaced_connection_is_taken_any_more() {
    let mut world = World::new(HubConfig::default());
    let first = world.v1("alice");
    let second = world.v1("alice");
    world.say(first, json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": 1}));
    assert_eq!(world.publish(second, 1, "room").get("duplicate"), None);
}

#[test]
fn a_session_is_remembered_as_long_as_history() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    world.publish_all(alice, 1..=1, "room");
    world.disconnect(alice);
    world.advance(3_500_000);
    assert_eq!(hello(&mut world, "alice")["resumed"], true);
    // Its connection is given up after a minute of silence; then an hour.
    world.advance(60_000 + 3_600_000 + 61_000);
    assert_eq!(hello(&mut world, "alice")["resumed"], false);
    assert_eq!(world.hub.stats().sessions_forgotten, 1);
}

#[test]
fn the_longest_gone_session_is_forgotten_first() {
    let mut world = World::new(HubConfig { sessions: 2, ..HubConfig::default() });
    for name in ["a", "b"] {
        let client = world.v1(name);
        world.disconnect(client);
        world.advance(10);
    }
    let a = world.v1("a");
    world.disconnect(a);
    world.v1("c");
    assert_eq!(world.hub.stats().sessions, 2);
    assert_eq!(hello(&mut world, "a")["resumed"], true);
    assert_eq!(hello(&mut world, "b")["resumed"], false);
}

#[test]
fn welcome_says_what_the_server_allows() {
    let mut world = World::new(HubConfig::default());
    let welcome = hello(&mut world, "alice");
    assert_eq!(welcome["session"], format!("{:_<24}", "alice"));
    assert_eq!((&welcome["heartbeat"], &welcome["timeout"]), (&json!(30_000), &json!(60_000)));
    assert_eq!((&welcome["encoding"], &welcome["time"]), (&json!("text"), &json!(world.now)));
    assert_eq!(
        welcome["limits"],
        json!({"frame": 1_048_576, "payload": 1_000_000, "channels": 1000, "inflight": 1024, "rate": 0})
    );
    assert_ne!(welcome["connection"], hello(&mut world, "bob")["connection"]);
}
