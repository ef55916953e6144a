use std::time::Duration;

use realtime_server::hub::{HistoryConfig, HubConfig};
use serde_json::json;

use crate::world::World;

fn world(history: HistoryConfig) -> World {
    World::new(HubConfig { history, ..HubConfig::default() })
}

#[test]
fn a_channel_that_nobody_uses_is_forgotten_and_comes_back_with_another_epoch() {
    let mut world = world(HistoryConfig { idle_age: Duration::from_secs(7200), ..HistoryConfig::default() });
    let alice = world.v1("alice");
    let epoch = world.publish(alice, 1, "room")["epoch"].clone();
    world.disconnect(alice);
    world.advance(3_700_000);
    assert_eq!((world.hub.stats().channels, world.hub.stats().history_bytes), (1, 0), "expired, but remembered");
    let bob = world.v1("bob");
    assert_eq!(world.subscribe(bob, "room")["epoch"], epoch, "the epoch goes on");
    assert_eq!(world.subscribe(bob, "room")["offset"], 1);
    world.disconnect(bob);
    world.advance(7_300_000);
    assert_eq!((world.hub.stats().channels, world.hub.stats().channels_forgotten), (0, 1));
    let bob = world.v1("bob");
    let subscribed = world.subscribe(bob, "room");
    assert_ne!(subscribed["epoch"], epoch);
    assert_eq!(subscribed["offset"], 0);
}

#[test]
fn a_channel_with_subscribers_stays() {
    let mut world = world(HistoryConfig {
        idle_age: Duration::from_secs(1),
        age: Duration::from_secs(1),
        ..HistoryConfig::default()
    });
    let bob = world.v1("bob");
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    for _ in 0..100 {
        world.advance(30_000);
        world.ask(bob, json!({"type": "ping", "id": 1}));
    }
    let alice = world.v1("alice");
    assert_eq!(world.publish(alice, 1, "room")["epoch"], epoch);
    assert_eq!(world.hear_offsets(bob).0, [1]);
}

#[test]
fn so_many_idle_channels_are_remembered_and_no_more() {
    let mut world = world(HistoryConfig { idle_channels: 10, ..HistoryConfig::default() });
    let alice = world.v1("alice");
    for id in 1..=100 {
        world.publish(alice, id, &format!("room {id}"));
        world.advance(1);
    }
    assert_eq!((world.hub.stats().channels, world.hub.stats().channels_forgotten), (10, 90));
    assert_eq!(world.publish(alice, 101, "room 100")["offset"], 2, "the last ones are still there");
    assert_eq!(world.publish(alice, 102, "room 1")["offset"], 1);
}

#[test]
fn subscribing_and_leaving_leaves_no_trace_but_bounded_ones() {
    let mut world = world(HistoryConfig { idle_channels: 10, ..HistoryConfig::default() });
    let bob = world.v1("bob");
    for id in 1..=100 {
        let channel = format!("room {id}");
        world.subscribe(bob, &channel);
        world.say(bob, json!({"type": "unsubscribe", "id": 2, "channel": channel}));
        world.advance(1);
    }
    assert!(world.hub.stats().channels <= 11, "{}", world.hub.stats().channels);
}

#[test]
fn all_histories_together_have_a_bound() {
    let mut world = world(HistoryConfig { total_bytes: 100_000, ..HistoryConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "used");
    let payload = "x".repeat(1000);
    for id in 1..=300 {
        let channel = if id % 3 == 0 { "used".to_owned() } else { format!("idle {}", id % 7) };
        world.ask(alice, json!({"type": "publish", "id": id, "channel": channel, "event": "e", "payload": payload}));
        assert!(world.hub.stats().history_bytes <= 100_000 + 1200, "{}", world.hub.stats().history_bytes);
    }
    assert_eq!(world.hear_offsets(bob), ((1..=100).collect(), vec![]));
}

#[test]
fn a_history_is_bounded_by_bytes_too() {
    let mut world = world(HistoryConfig { bytes: 10_000, ..HistoryConfig::default() });
    let alice = world.v1("alice");
    for id in 1..=100 {
        world.ask(
            alice,
            json!({"type": "publish", "id": id, "channel": "room", "event": "e", "payload": "x".repeat(1000)}),
        );
        assert!(world.hub.stats().history_bytes <= 10_000);
    }
    let bob = world.v1("bob");
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    world.say(bob, json!({"type": "subscribe", "id": 1, "channel": "room", "since": {"epoch": epoch, "offset": 0}}));
    let (offsets, _) = world.hear_offsets(bob);
    assert!((5..10).contains(&offsets.len()) && offsets.last() == Some(&100), "{offsets:?}");
}
