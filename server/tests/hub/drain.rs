use realtime_server::hub::{Dialect, HubConfig};
use serde_json::json;

use crate::world::World;

#[test]
fn everybody_is_asked_to_leave_and_who_stays_is_closed() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.hub.drain(world.now, 10_000, 5000);
    world.settle();
    assert_eq!(world.hear(alice), [json!({"type": "goaway", "reason": "drain", "spread": 10_000})]);
    world.advance(8000);
    world.disconnect(alice);
    world.advance(6999);
    assert!(world.closed.is_empty());
    world.advance(1);
    assert_eq!(world.closed.get(&bob), Some(&4000));
    assert_eq!(world.closed.get(&alice), None);
}

#[test]
fn newcomers_are_turned_away() {
    let mut world = World::new(HubConfig::default());
    world.hub.drain(world.now, 10_000, 5000);
    assert!(world.hub.is_draining());
    let (v1, plain) = (world.open(Dialect::V1, None), world.open(Dialect::Plain, None));
    assert_eq!((world.closed[&v1], world.closed[&plain]), (4000, 1012));
}

#[test]
fn publishes_are_kept_by_the_client_for_the_next_server() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    world.hub.drain(world.now, 10_000, 5000);
    let refused = world.publish(alice, 1, "room");
    assert_eq!((&refused["code"], &refused["retry_after"]), (&json!("unavailable"), &json!(1000)));
}

#[test]
fn plain_clients_are_closed_one_after_the_other() {
    let mut world = World::new(HubConfig::default());
    let clients: Vec<_> = (0..4).map(|_| world.plain()).collect();
    world.hub.drain(world.now, 1000, 5000);
    world.settle();
    let mut closed = vec![world.closed.len()];
    for _ in 0..4 {
        world.advance(250);
        closed.push(world.closed.len());
    }
    assert_eq!(closed, [1, 2, 3, 4, 4]);
    assert!(clients.iter().all(|client| world.closed[client] == 1012));
}

#[test]
fn close_all_says_why() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    world.hub.close_all(world.now, realtime_engine::wire::CloseCode(4501), "not you");
    world.settle();
    assert_eq!(world.closed.get(&alice), Some(&4501));
    assert!(!world.hub.wants_frames(alice));
}
