use realtime_server::hub::{HubConfig, Input};
use serde_json::json;

use crate::world::World;

#[test]
fn a_socket_that_takes_nothing_is_closed_so_that_it_comes_back() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    world.stick(bob);
    world.publish_all(alice, 1..=20, "room");
    world.advance(9_999);
    assert!(world.closed.is_empty());
    world.advance(1);
    assert_eq!(world.closed.get(&bob), Some(&4001));
    assert_eq!(world.hub.stats().slow_consumers, 1);
    world.disconnect(bob);
    let bob = world.v1("bob");
    world.say(bob, json!({"type": "subscribe", "id": 1, "channel": "room", "since": {"epoch": epoch, "offset": 0}}));
    assert_eq!(world.hear_offsets(bob), ((1..=20).collect(), vec![]));
}

#[test]
fn a_socket_that_takes_something_now_and_then_is_only_slow() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.stick(bob);
    world.publish(alice, 1, "room");
    for _ in 0..4 {
        world.advance(9_000);
        world.input(Input::Blocked { connection: bob });
    }
    assert!(world.closed.is_empty());
}

#[test]
fn messages_for_a_stuck_socket_cost_nothing_but_their_history() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.stick(bob);
    let payload = "x".repeat(100_000);
    for id in 1..=100 {
        world.ask(alice, json!({"type": "publish", "id": id, "channel": "room", "event": "e", "payload": payload}));
    }
    assert!(world.hub.wants_frames(bob), "no answers wait");
    assert!(world.closed.is_empty());
    world.unstick(bob);
    assert_eq!(world.hear_offsets(bob), ((1..=100).collect(), vec![]));
}

#[test]
fn who_does_not_take_its_answers_is_not_read_from_and_then_closed() {
    let config = HubConfig { writer_bytes: 1000, writer_hard_bytes: 10_000, ..HubConfig::default() };
    let mut world = World::new(config);
    let alice = world.v1("alice");
    world.stick(alice);
    let mut asked = 0;
    while world.hub.wants_frames(alice) {
        world.say(alice, json!({"type": "ping", "id": 1}));
        asked += 1;
    }
    assert!((10..100).contains(&asked), "{asked}");
    while world.closed.is_empty() {
        world.say(alice, json!({"type": "ping", "id": 1}));
        asked += 1;
        assert!(asked < 1000);
    }
    assert_eq!(world.closed.get(&alice), Some(&4001));
}
