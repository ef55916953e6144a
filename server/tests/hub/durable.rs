use std::time::Duration;

use realtime_server::hub::{
    Content, Dialect, HistoryConfig, Hub, HubConfig, Outcome, Output, PublishError, Record, StoreState,
};
use serde_json::{Value, json};

use crate::world::World;

fn publish(id: u64) -> Value {
    json!({"type": "publish", "id": id, "channel": "room", "event": "e", "payload": id})
}

fn with_history(history: HistoryConfig) -> World {
    World::durable(HubConfig { history, ..HubConfig::default() })
}

#[test]
fn nothing_is_seen_or_answered_before_it_is_on_disk() {
    let mut world = World::durable(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    assert_eq!(world.ask(alice, publish(1)), [] as [Value; 0]);
    assert_eq!(world.hear(bob), [] as [Value; 0]);
    let carol = world.v1("carol");
    assert_eq!(world.subscribe(carol, "room")["offset"], 0, "a position that a crash cannot take back");
    world.write_all();
    assert_eq!(world.hear(alice)[0]["offset"], 1);
    assert_eq!(world.hear_offsets(bob).0, [1]);
    assert_eq!(world.hear_offsets(carol).0, [1]);
    assert_eq!(world.hub.stats().messages_in, 1);
}

#[test]
fn batches_that_were_written_are_answered_in_order_and_the_others_wait() {
    let mut world = World::durable(HubConfig::default());
    let alice = world.v1("alice");
    world.write_all();
    for id in 1..=4 {
        world.say(alice, publish(id));
    }
    world.write(2);
    let offsets: Vec<_> = world.hear(alice).iter().map(|receipt| receipt["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [1, 2]);
    world.write_all();
    let offsets: Vec<_> = world.hear(alice).iter().map(|receipt| receipt["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [3, 4]);
}

#[test]
fn after_a_crash_epochs_offsets_sessions_and_receipts_go_on() {
    let mut world = World::durable(HubConfig::default());
    let alice = world.v1("alice");
    world.say(alice, publish(1));
    world.say(alice, publish(2));
    world.write_all();
    let first = world.hear(alice)[0].clone();
    world.say(alice, publish(3));
    // 3 is on its way to the disk, and does not arrive.
    let mut world = world.crash(43);
    let alice = world.open(Dialect::V1, None);
    let welcome = world.ask(alice, json!({"type": "hello", "session": format!("{:_<24}", "alice")}));
    assert_eq!(welcome[0]["resumed"], true);
    let again = world.publish(alice, 1, "room");
    assert_eq!((&again["duplicate"], &again["epoch"], &again["offset"]), (&json!(true), &first["epoch"], &json!(1)));
    assert_eq!(world.ask(alice, publish(3)), [] as [Value; 0], "3 is new");
    world.write_all();
    let third = &world.hear(alice)[0];
    assert_eq!((third.get("duplicate"), &third["epoch"], &third["offset"]), (None, &first["epoch"], &json!(3)));
    let bob = world.v1("bob");
    let since =
        json!({"type": "subscribe", "id": 1, "channel": "room", "since": {"epoch": first["epoch"], "offset": 0}});
    let answers = world.ask(bob, since);
    assert_eq!(answers[0]["recovered"], true);
    let payloads: Vec<_> = answers[1..].iter().map(|message| message["payload"].as_u64().unwrap()).collect();
    assert_eq!(payloads, [1, 2, 3]);
}

#[test]
fn what_was_written_but_never_confirmed_is_a_duplicate_when_it_comes_again() {
    let mut world = World::durable(HubConfig::default());
    let alice = world.v1("alice");
    world.say(alice, publish(1));
    world.write_unheard(usize::MAX);
    let mut world = world.crash(43);
    let alice = world.v1("alice");
    let again = world.publish(alice, 1, "room");
    assert_eq!((&again["duplicate"], &again["offset"]), (&json!(true), &json!(1)));
}

#[test]
fn a_repeat_while_the_first_one_waits_is_answered_once_and_on_the_new_connection() {
    let mut world = World::durable(HubConfig::default());
    let alice = world.v1("alice");
    world.say(alice, publish(1));
    world.disconnect(alice);
    let alice = world.v1("alice");
    assert_eq!(world.ask(alice, publish(1)), [] as [Value; 0]);
    world.write_all();
    let receipts = world.hear(alice);
    assert_eq!((receipts.len(), &receipts[0]["offset"], &receipts[0]["duplicate"]), (1, &json!(1), &json!(true)));
    assert_eq!(world.disk.values().filter(|record| matches!(record, Record::Message { .. })).count(), 1);
}

#[test]
fn a_failing_disk_refuses_for_now_and_takes_back_offsets_that_nobody_has_seen() {
    let mut world = World::durable(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.say(alice, publish(1));
    world.write_all();
    world.hear(alice);
    world.hear(bob);
    world.say(alice, publish(2));
    world.say(alice, publish(3));
    world.fail();
    let refused = world.hear(alice);
    for (answer, id) in refused.iter().zip([2, 3]) {
        let expected = (json!(id), json!("unavailable"), json!(1000));
        assert_eq!((&answer["id"], &answer["code"], &answer["retry_after"]), (&expected.0, &expected.1, &expected.2));
    }
    assert_eq!(world.ask(alice, publish(4))[0]["code"], "unavailable");
    assert_eq!((world.hub.stats().store, world.hub.stats().store_failures), (StoreState::Failing, 1));
    assert!(world.unwritten.is_empty(), "the disk is left alone");

    world.advance(1000);
    assert!(!world.unwritten.is_empty(), "the disk is asked again without a publish");
    world.write_all();
    assert_eq!(world.hub.stats().store, StoreState::Ok);
    assert_eq!(world.ask(alice, publish(4))[0]["code"], "unavailable", "4 must not overtake 2");
    for id in 2..=4 {
        world.say(alice, publish(id));
    }
    world.write_all();
    let offsets: Vec<_> = world.hear(alice).iter().map(|receipt| receipt["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [2, 3, 4]);
    let payloads: Vec<_> = world.hear(bob).iter().map(|message| message["payload"].as_u64().unwrap()).collect();
    assert_eq!(payloads, [2, 3, 4]);
}

#[test]
fn nothing_waits_for_what_a_lost_connection_had_sent() {
    let mut world = World::durable(HubConfig::default());
    let alice = world.v1("alice");
    world.say(alice, publish(1));
    world.disconnect(alice);
    // The user gave up on 1, and it will never come.
    let alice = world.v1("alice");
    world.fail();
    world.advance(1000);
    world.say(alice, publish(2));
    world.write_all();
    assert_eq!(world.hear(alice)[0]["offset"], 1);
}

#[test]
fn what_the_disk_refused_beside_messages_is_written_later() {
    let mut world = World::durable(HubConfig::default());
    let alice = world.v1("alice");
    world.subscribe(alice, "room");
    world.fail();
    world.v1("later");
    world.advance(1000);
    world.write_all();
    let kinds = |world: &World| {
        let channels = world.disk.values().filter(|record| matches!(record, Record::Channel { .. })).count();
        (channels, world.disk.len() - channels)
    };
    assert_eq!(kinds(&world), (1, 1), "the channel and alice");
    let later = world.v1("later");
    world.say(later, publish(1));
    world.write_all();
    assert_eq!(kinds(&world), (1, 4), "later, her message and its receipt too");
}

#[test]
fn refusals_and_sends_are_remembered_in_their_place() {
    let mut config = HubConfig { application: true, ..HubConfig::default() };
    config.limits.payload = 2;
    let mut world = World::durable(config);
    let alice = world.v1("alice");
    world.say(alice, publish(1));
    world.say(alice, json!({"type": "publish", "id": 2, "channel": "room", "event": "e", "payload": "long"}));
    world.say(alice, json!({"type": "send", "id": 3, "event": "e", "payload": 1}));
    assert!(world.sent.is_empty(), "the application gets it with the receipt");
    world.fail();
    let answers = world.hear(alice);
    assert!(answers.iter().all(|answer| answer["code"] == "unavailable"), "{answers:?}");
    world.advance(1000);
    world.say(alice, publish(1));
    world.say(alice, json!({"type": "publish", "id": 2, "channel": "room", "event": "e", "payload": "long"}));
    world.say(alice, json!({"type": "send", "id": 3, "event": "e", "payload": 1}));
    world.write_all();
    let answers = world.hear(alice);
    let seen: Vec<_> = answers.iter().map(|a| (a["type"].as_str().unwrap(), a["code"].as_str())).collect();
    assert_eq!(seen, [("receipt", None), ("error", Some("payload_too_large")), ("receipt", None)]);
    assert!(matches!(world.sent[..], [Output::Sent { .. }]));
    let outcomes = world.disk.values().filter(|record| matches!(record, Record::Outcome { .. }));
    assert_eq!(outcomes.count(), 3);
    let mut world = world.crash(43);
    let alice = world.v1("alice");
    let again = world.ask(alice, json!({"type": "send", "id": 3, "event": "e", "payload": 1}));
    assert_eq!((&again[0]["duplicate"], world.sent.len()), (&json!(true), 0));
}

#[test]
fn the_store_is_bounded_as_the_memory_is() {
    let mut config = HubConfig { history: HistoryConfig { messages: 5, ..Default::default() }, ..HubConfig::default() };
    config.limits.inflight = 3;
    let mut world = World::durable(config);
    let alice = world.v1("alice");
    for id in 1..=20 {
        world.say(alice, publish(id));
        world.write_all();
    }
    let count =
        |world: &World, wanted: fn(&Record) -> bool| world.disk.values().filter(|record| wanted(record)).count();
    assert_eq!(count(&world, |record| matches!(record, Record::Message { .. })), 5);
    assert_eq!(count(&world, |record| matches!(record, Record::Outcome { .. })), 3);
    let mut world = world.crash(43);
    let alice = world.v1("alice");
    assert_eq!(world.subscribe(alice, "room")["offset"], 20);
    world.disconnect(alice);
    world.advance(2 * 24 * 3_600_000);
    world.write_all();
    assert_eq!(world.disk.len(), 0, "{:?}", world.disk);
}

#[test]
fn offsets_go_on_where_every_message_has_expired() {
    let mut world = with_history(HistoryConfig { age: Duration::from_secs(10), ..Default::default() });
    let alice = world.v1("alice");
    for id in 1..=3 {
        world.say(alice, publish(id));
    }
    world.write_all();
    let epoch = world.hear(alice)[0]["epoch"].clone();
    world.advance(30_000);
    world.write_all();
    assert!(!world.disk.values().any(|record| matches!(record, Record::Message { .. })));
    let mut world = world.crash(43);
    let alice = world.v1("alice");
    let subscribed = world.subscribe(alice, "room");
    assert_eq!((&subscribed["offset"], &subscribed["epoch"]), (&json!(3), &epoch));
    world.say(alice, publish(4));
    world.write_all();
    assert_eq!(world.crash(44).hub.stats().channels, 1, "4 comes after what has expired");
}

#[test]
fn too_much_that_waits_is_refused_for_now() {
    let mut world = World::durable(HubConfig { staged_bytes: 1000, ..HubConfig::default() });
    let alice = world.v1("alice");
    world.hear(alice);
    for id in 1..=10 {
        world.say(alice, publish(id));
    }
    let refused = world.hear(alice);
    assert!(!refused.is_empty() && refused.iter().all(|answer| answer["code"] == "unavailable"), "{refused:?}");
    assert_eq!(
        world.hub.publish(world.now, "room", "e", &Content::Json("1".into())),
        Err(PublishError::Unavailable("too much waits for the disk"))
    );
    world.write_all();
    let receipts = world.hear(alice);
    assert_eq!(receipts.len() + refused.len(), 10);
    assert_eq!(world.hub.stats().staged_bytes, 0);
    world.say(alice, publish(receipts.len() as u64 + 1));
    world.write_all();
    assert_eq!(world.hear(alice)[0]["type"], "receipt");
}

#[test]
fn ids_that_wait_count_as_unanswered() {
    let mut config = HubConfig::default();
    config.limits.inflight = 2;
    let mut world = World::durable(config);
    let alice = world.v1("alice");
    for id in 1..=3 {
        world.say(alice, publish(id));
    }
    assert_eq!(world.hear(alice)[0]["code"], "too_many_inflight");
    world.write_all();
    assert_eq!(world.hear(alice).len(), 2);
}

#[test]
fn plain_clients_and_the_server_itself_wait_too() {
    let mut world = World::durable(HubConfig::default());
    let (plain, bob) = (world.plain(), world.v1("bob"));
    world.subscribe(bob, "room");
    let message = json!({"type": "channel_message", "payload": {"channel": "room", "event": "e", "payload": 1}});
    world.say(plain, message.clone());
    world.hub.publish(world.now, "room", "e", &Content::Json("2".into())).unwrap();
    world.settle();
    assert_eq!(world.hear(bob), [] as [Value; 0]);
    world.write_all();
    assert_eq!(world.hear_offsets(bob).0, [1, 2]);
    world.say(plain, message);
    world.hub.publish(world.now, "room", "e", &Content::Json("2".into())).unwrap();
    world.settle();
    world.fail();
    assert_eq!(world.hear(plain)[0]["payload"]["code"], "unavailable");
    assert_eq!((world.hear(bob), world.hub.stats().unstored), (vec![], 1));
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let restore = |records: Vec<Record>| {
        let mut restore = Hub::restore(HubConfig::default(), 1, 0);
        let refused = (1..).zip(records).find_map(|(number, record)| restore.record(number, record).err());
        refused.map(|error| (error.record, error.problem))
    };
    let channel = Record::Channel { name: "room".into(), epoch: "e".into(), last: 4 };
    let session = Record::Session { user: None, session: "s".into() };
    let message = |offset| Record::Message { channel: 1, offset, timestamp: 1, binary: false, line: "{}".into() };
    let outcome = |request| Record::Outcome { session: 1, request, outcome: Outcome::Sent };
    assert_eq!(restore(vec![channel.clone(), message(7), message(8)]), None);
    let hole = Some((3, "messages before this one are missing"));
    assert_eq!(restore(vec![channel.clone(), message(7), message(9)]), hole);
    assert_eq!(restore(vec![channel.clone(), message(7), message(7)]), hole);
    assert!(restore(vec![channel.clone(), message(4)]).is_some(), "it was evicted");
    assert_eq!(restore(vec![message(1)]), Some((1, "a message of an unknown channel")));
    assert_eq!(restore(vec![outcome(1)]), Some((1, "an answer of an unknown session")));
    assert_eq!(restore(vec![session.clone(), outcome(2), outcome(1)]), Some((3, "an answer out of order")));
    assert!(restore(vec![channel.clone(), channel]).is_some());
    assert!(restore(vec![session.clone(), session]).is_some());
}
