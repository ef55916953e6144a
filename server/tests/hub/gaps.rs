use std::time::Duration;

use realtime_server::hub::{HistoryConfig, HubConfig};
use serde_json::json;

use crate::world::World;

fn small(messages: usize) -> World {
    let history = HistoryConfig { messages, ..HistoryConfig::default() };
    World::new(HubConfig { history, ..HubConfig::default() })
}

#[test]
fn a_stuck_socket_catches_up_from_the_history() {
    let mut world = small(100);
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.stick(bob);
    world.publish_all(alice, 1..=50, "room");
    assert!(world.hear_offsets(bob).0.is_empty());
    world.unstick(bob);
    assert_eq!(world.hear_offsets(bob), ((1..=50).collect(), vec![]));
}

#[test]
fn a_stuck_socket_is_told_what_was_evicted_meanwhile() {
    let mut world = small(10);
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    world.stick(bob);
    world.publish_all(alice, 1..=25, "room");
    world.unstick(bob);
    let heard = world.hear(bob);
    assert_eq!(heard[0], json!({"type": "gap", "channel": "room", "epoch": epoch, "from": 1, "to": 15}));
    assert_eq!(heard.len(), 11);
    world.publish(alice, 26, "room");
    assert_eq!(world.hear_offsets(bob), (vec![26], vec![]));
}

#[test]
fn what_expired_before_it_was_sent_is_a_gap_even_if_nothing_is_left() {
    let history = HistoryConfig { age: Duration::from_secs(2), ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.stick(bob);
    world.publish_all(alice, 1..=3, "room");
    world.advance(5000);
    world.unstick(bob);
    assert_eq!(world.hear_offsets(bob), (vec![], vec![(1, 3)]));
    world.publish(alice, 4, "room");
    assert_eq!(world.hear_offsets(bob), (vec![4], vec![]));
}

#[test]
fn the_newest_message_is_delivered_whatever_the_bounds_say() {
    let history = HistoryConfig { messages: 0, bytes: 0, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.publish_all(alice, 1..=3, "room");
    assert_eq!(world.hear_offsets(bob), (vec![1, 2, 3], vec![]));
}
