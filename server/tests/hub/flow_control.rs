use realtime_server::hub::{ConnectionId, HistoryConfig, HubConfig};
use serde_json::json;

use crate::world::World;

/// Bytes of a message of these tests as sent.
fn line_bytes(world: &World, channel: &str, offset: u64) -> u64 {
    format!(
        r#"{{"type":"message","channel":"{channel}","event":"e","offset":{offset},"timestamp":{},"payload":{offset}}}"#,
        world.now
    )
    .len() as u64
}

fn windowed(world: &mut World, connection: u64, channel: u64) -> ConnectionId {
    world.v1_with("bob", json!({"window": {"connection": connection, "channel": channel}}))
}

fn credit(world: &mut World, client: ConnectionId, channel: &str, bytes: u64) {
    world.say(client, json!({"type": "credit", "channel": channel, "bytes": bytes}));
}

#[test]
fn a_channel_stops_at_its_window_and_goes_on_with_credit() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let bytes = line_bytes(&world, "a", 1);
    let bob = windowed(&mut world, 100_000, bytes + 1);
    world.subscribe(bob, "a");
    world.publish_all(alice, 1..=5, "a");
    // A message of any size goes while one byte is open.
    assert_eq!(world.hear_offsets(bob).0, [1, 2]);
    credit(&mut world, bob, "a", bytes - 1);
    assert!(world.hear_offsets(bob).0.is_empty(), "the window is just full");
    credit(&mut world, bob, "a", 1);
    assert_eq!(world.hear_offsets(bob).0, [3]);
    credit(&mut world, bob, "a", u64::MAX >> 11);
    assert_eq!(world.hear_offsets(bob).0, [4, 5], "credit beyond what is outstanding is ignored");
    world.publish_all(alice, 6..=7, "a");
    assert!(world.hear_offsets(bob).0.is_empty());
}

#[test]
fn a_full_channel_does_not_stop_the_others_but_a_full_connection_does() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let bytes = line_bytes(&world, "a", 1);
    let bob = windowed(&mut world, 3 * bytes, bytes);
    for channel in ["a", "b", "c", "d"] {
        world.subscribe(bob, channel);
    }
    world.publish_all(alice, 1..=2, "a");
    world.publish_all(alice, 3..=4, "b");
    assert_eq!(world.hear_offsets(bob).0, [1, 1]);
    world.publish_all(alice, 5..=5, "c");
    world.publish_all(alice, 6..=6, "d");
    assert_eq!(world.hear_offsets(bob).0, [1], "the connection is full now");
    credit(&mut world, bob, "a", bytes);
    let heard = world.hear(bob);
    assert_eq!(heard.len(), 1, "one message's worth came back: {heard:?}");
}

#[test]
fn answers_flow_to_a_client_that_consumes_nothing() {
    let mut world = World::new(HubConfig::default());
    let bob = windowed(&mut world, 1, 1);
    world.subscribe(bob, "a");
    world.publish_all(bob, 1..=10, "a");
    assert_eq!(world.ask(bob, json!({"type": "ping", "id": 1}))[0]["type"], "pong");
}

#[test]
fn unsubscribing_and_subscribing_again_give_back_what_was_outstanding() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let bob = windowed(&mut world, 1, 1);
    world.subscribe(bob, "a");
    world.subscribe(bob, "b");
    world.publish_all(alice, 1..=1, "a");
    assert_eq!(world.hear_offsets(bob).0, [1]);
    world.publish_all(alice, 2..=2, "b");
    assert!(world.hear_offsets(bob).0.is_empty());
    world.say(bob, json!({"type": "unsubscribe", "id": 5, "channel": "a"}));
    assert_eq!(world.hear_offsets(bob).0, [1], "of b");
    world.publish_all(alice, 3..=3, "b");
    assert!(world.hear_offsets(bob).0.is_empty());
    world.subscribe(bob, "b");
    world.publish_all(alice, 4..=4, "b");
    assert_eq!(world.hear_offsets(bob).0, [3]);
}

#[test]
fn what_was_evicted_while_the_window_was_closed_is_a_gap() {
    let history = HistoryConfig { messages: 2, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let alice = world.v1("alice");
    let bob = windowed(&mut world, 1000, 1);
    world.subscribe(bob, "a");
    world.publish_all(alice, 1..=6, "a");
    assert_eq!(world.hear_offsets(bob), (vec![1], vec![]));
    credit(&mut world, bob, "a", 1000);
    assert_eq!(world.hear_offsets(bob), (vec![5], vec![(2, 4)]));
    credit(&mut world, bob, "a", 1000);
    assert_eq!(world.hear_offsets(bob), (vec![6], vec![]));
    assert_eq!(world.hub.stats().gaps, 1);
}
