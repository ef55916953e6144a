use realtime_server::hub::{ConnectionId, HistoryConfig, HubConfig};
use serde_json::{Value, json};

use crate::world::World;

fn resubscribe(world: &mut World, client: ConnectionId, epoch: &Value, offset: u64) -> Vec<Value> {
    world.ask(
        client,
        json!({"type": "subscribe", "id": 7, "channel": "room", "since": {"epoch": epoch, "offset": offset}}),
    )
}

fn offsets(heard: &[Value]) -> Vec<u64> {
    heard.iter().filter(|m| m["type"] == "message").map(|m| m["offset"].as_u64().unwrap()).collect()
}

#[test]
fn everything_missed_follows() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    world.publish_all(alice, 1..=2, "room");
    world.disconnect(bob);
    world.publish_all(alice, 3..=5, "room");
    let bob = world.v1("bob");
    let heard = resubscribe(&mut world, bob, &epoch, 2);
    assert_eq!(
        heard[0],
        json!({"type": "subscribed", "id": 7, "channel": "room", "epoch": epoch, "offset": 2, "recovered": true})
    );
    assert_eq!(offsets(&heard), [3, 4, 5]);
    world.publish(alice, 6, "room");
    assert_eq!(world.hear_offsets(bob), (vec![6], vec![]));
}

#[test]
fn at_the_end_nothing_is_missing() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.publish_all(alice, 1..=3, "room");
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    let heard = resubscribe(&mut world, bob, &epoch, 3);
    assert_eq!((heard.len(), &heard[0]["recovered"]), (1, &json!(true)));
}

#[test]
fn what_was_evicted_is_told() {
    let history = HistoryConfig { messages: 3, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    world.publish_all(alice, 1..=1, "room");
    world.disconnect(bob);
    world.publish_all(alice, 2..=6, "room");
    let bob = world.v1("bob");
    let heard = resubscribe(&mut world, bob, &epoch, 1);
    assert_eq!((&heard[0]["recovered"], &heard[0]["offset"]), (&json!(false), &json!(3)));
    assert_eq!(offsets(&heard), [4, 5, 6]);
    // The last one before the oldest is just enough.
    let heard = resubscribe(&mut world, bob, &epoch, 3);
    assert_eq!(heard[0]["recovered"], true);
    assert_eq!(offsets(&heard), [4, 5, 6]);
}

#[test]
fn another_epoch_is_not_recovered_and_what_there_is_follows() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.publish_all(alice, 1..=2, "room");
    let heard = resubscribe(&mut world, bob, &json!("long ago"), 1);
    assert_eq!((&heard[0]["recovered"], &heard[0]["offset"]), (&json!(false), &json!(0)));
    assert_eq!(offsets(&heard), [1, 2]);
}

#[test]
fn an_offset_beyond_the_end_is_a_history_that_went_backwards() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.publish_all(alice, 1..=2, "room");
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    let heard = resubscribe(&mut world, bob, &epoch, 3);
    assert_eq!((&heard[0]["recovered"], &heard[0]["offset"]), (&json!(false), &json!(0)));
    assert_eq!(offsets(&heard), [1, 2]);
    let heard = resubscribe(&mut world, bob, &epoch, 9_007_199_254_740_991);
    assert_eq!(heard[0]["recovered"], false);
}

#[test]
fn what_is_too_old_is_not_served() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    world.publish_all(alice, 1..=2, "room");
    world.advance(3_000_000);
    let alice = world.v1("alice");
    world.publish(alice, 3, "room");
    world.advance(600_001);
    let bob = world.v1("bob");
    let heard = resubscribe(&mut world, bob, &epoch, 0);
    assert_eq!((&heard[0]["recovered"], &heard[0]["offset"]), (&json!(false), &json!(2)));
    assert_eq!(offsets(&heard), [3]);
}

#[test]
fn a_restart_without_history_is_another_epoch() {
    let mut world = World::new(HubConfig::default());
    let bob = world.v1("bob");
    let before = world.subscribe(bob, "room")["epoch"].clone();
    let mut restarted = World::new(HubConfig::default());
    restarted.hub = realtime_server::hub::Hub::new(HubConfig::default(), 43);
    let bob = restarted.v1("bob");
    let heard = resubscribe(&mut restarted, bob, &before, 0);
    assert_eq!(heard[0]["recovered"], false);
    assert_ne!(heard[0]["epoch"], before);
}

#[test]
fn subscribing_again_starts_again_without_doubles() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let epoch = world.subscribe(bob, "room")["epoch"].clone();
    world.publish_all(alice, 1..=4, "room");
    let heard = resubscribe(&mut world, bob, &epoch, 2);
    assert_eq!(offsets(&heard), [3, 4]);
    world.publish(alice, 5, "room");
    assert_eq!(world.hear_offsets(bob).0, [5]);
    assert_eq!(world.hub.stats().recovered, 1);
}
