use realtime_server::hub::{ConnectionId, HubConfig};
use serde_json::{Value, json};

use crate::world::World;

fn limited(rate: u64) -> World {
    let mut config = HubConfig::default();
    config.limits.rate = rate;
    World::new(config)
}

fn code(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or("none")
}

fn reconnect(world: &mut World, client: ConnectionId) -> ConnectionId {
    world.disconnect(client);
    world.v1("alice")
}

#[test]
fn a_lost_receipt_is_given_again_and_nothing_is_stored_twice() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    let first = world.publish(alice, 1, "room");
    let alice = reconnect(&mut world, alice);
    let again = world.publish(alice, 1, "room");
    assert_eq!(again["duplicate"], true);
    assert_eq!((&again["epoch"], &again["offset"]), (&first["epoch"], &first["offset"]));
    assert_eq!(first.get("duplicate"), None);
    world.publish(alice, 2, "room");
    assert_eq!(world.hear_offsets(bob).0, [1, 2]);
    assert_eq!(world.hub.stats().duplicates, 1);
}

#[test]
fn a_publish_that_never_arrived_is_new() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    world.publish_all(alice, 1..=1, "room");
    let alice = reconnect(&mut world, alice);
    assert_eq!(world.publish(alice, 1, "room")["duplicate"], true);
    let second = world.publish(alice, 2, "room");
    assert_eq!((second.get("duplicate"), &second["offset"]), (None, &json!(2)));
}

#[test]
fn ids_of_another_session_are_other_ids() {
    let mut world = World::new(HubConfig::default());
    let (alice, eve) = (world.v1("alice"), world.v1("eve"));
    world.publish(alice, 1, "room");
    assert_eq!(world.publish(eve, 1, "room")["offset"], 2);
}

#[test]
fn the_window_holds_as_many_as_may_be_unanswered() {
    let mut config = HubConfig::default();
    config.limits.inflight = 3;
    let mut world = World::new(config);
    let alice = world.v1("alice");
    world.publish_all(alice, 1..=5, "room");
    assert_eq!(world.publish(alice, 3, "room")["duplicate"], true);
    assert_eq!(code(&world.publish(alice, 2, "room")), "malformed");
    assert_eq!(world.publish(alice, 6, "room")["offset"], 6);
}

#[test]
fn a_final_refusal_is_the_same_when_it_is_asked_again() {
    let mut config = HubConfig::default();
    config.limits.payload = 2;
    let mut world = World::new(config);
    let alice = world.v1("alice");
    let long = json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": "long"});
    assert_eq!(code(&world.ask(alice, long.clone())[0]), "payload_too_large");
    world.publish_all(alice, 2..=2, "room");
    let alice = reconnect(&mut world, alice);
    assert_eq!(code(&world.ask(alice, long)[0]), "payload_too_large");
    assert_eq!(world.publish(alice, 2, "room")["duplicate"], true);
}

#[test]
fn after_a_refusal_for_now_later_ids_wait_for_it() {
    let mut world = limited(2);
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.publish_all(alice, 1..=2, "room");
    let refused = world.publish(alice, 3, "room");
    assert_eq!((code(&refused), &refused["retry_after"]), ("rate_limited", &json!(500)));
    world.advance(2000);
    assert_eq!(code(&world.publish(alice, 4, "room")), "rate_limited", "4 must not overtake 3");
    assert_eq!(world.publish(alice, 3, "room")["type"], "receipt");
    assert_eq!(world.publish(alice, 4, "room")["type"], "receipt");
    let payloads: Vec<_> = world.hear(bob).iter().map(|m| m["payload"].as_u64().unwrap()).collect();
    assert_eq!(payloads, [1, 2, 3, 4]);
}

#[test]
fn what_was_accepted_is_answered_also_while_a_later_id_is_held() {
    let mut world = limited(1);
    let alice = world.v1("alice");
    world.publish_all(alice, 1..=1, "room");
    assert_eq!(code(&world.publish(alice, 2, "room")), "rate_limited");
    assert_eq!(world.publish(alice, 1, "room")["duplicate"], true);
    assert_eq!(code(&world.publish(alice, 3, "room")), "rate_limited");
}

#[test]
fn a_new_connection_begins_with_its_lowest_id_so_nothing_is_held() {
    let mut world = limited(1);
    let alice = world.v1("alice");
    world.publish_all(alice, 1..=1, "room");
    assert_eq!(code(&world.publish(alice, 2, "room")), "rate_limited");
    // The user gave up on 2, and it will never come.
    let alice = reconnect(&mut world, alice);
    assert_eq!(world.publish(alice, 3, "room")["type"], "receipt");
}

#[test]
fn sends_and_publishes_share_one_sequence() {
    let mut world = World::new(HubConfig { application: true, ..HubConfig::default() });
    let alice = world.v1("alice");
    world.publish_all(alice, 1..=1, "room");
    let send = json!({"type": "send", "id": 2, "event": "e", "payload": 1});
    assert_eq!(world.ask(alice, send.clone()), [json!({"type": "receipt", "id": 2})]);
    assert_eq!(world.ask(alice, send), [json!({"type": "receipt", "id": 2, "duplicate": true})]);
    assert_eq!(world.sent.len(), 1);
    world.say_binary(alice, b"\x03\x00\0\0\0\0\0\0\0\x03bytes");
    assert_eq!(world.hear(alice), [json!({"type": "receipt", "id": 3})]);
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_flood_over_the_window_is_refused_for_now_and_in_order() {
    let mut config = HubConfig::default();
    config.limits.inflight = 4;
    let mut world = World::new(config);
    let alice = world.v1("alice");
    let frame: Vec<_> = (1..=8)
        .map(|id| json!({"type": "publish", "id": id, "channel": "room", "event": "e", "payload": id}).to_string())
        .collect();
    world.say_text(alice, &frame.join("\n"));
    let answers = world.hear(alice);
    let codes: Vec<_> = answers.iter().map(code).collect();
    assert_eq!(
        codes,
        [
            "none",
            "none",
            "none",
            "none",
            "too_many_inflight",
            "too_many_inflight",
            "too_many_inflight",
            "too_many_inflight"
        ]
    );
    world.say_text(alice, &frame[4..].join("\n"));
    assert!(world.hear(alice).iter().all(|answer| answer["type"] == "receipt"));
}
