//! Collections with a store: nothing is seen or answered before it is on disk, and nothing acknowledged is lost.

use realtime_engine::wire::Op;
use realtime_server::hub::{HistoryConfig, Hub, HubConfig, Record};
use serde_json::{Value, json};

use crate::collections::{follow, insert, listen, remove, update};
use crate::replica::Replica;
use crate::world::World;

fn items(world: &World) -> usize {
    world.disk.values().filter(|record| matches!(record, Record::Item { .. })).count()
}

#[test]
fn nothing_is_seen_or_answered_before_it_is_on_disk() {
    let mut world = World::durable(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    assert_eq!(world.ask(alice, insert(1, "a", json!({}))), [] as [Value; 0]);
    assert_eq!(world.hub.records("room", "tasks"), []);
    // What comes next reckons with it.
    assert_eq!(world.ask(alice, update(2, "a", json!({"n": 1}))), [] as [Value; 0]);
    assert_eq!(world.ask(alice, insert(3, "a", json!({"other": true}))), [] as [Value; 0]);
    let carol = world.v1("carol");
    follow(&mut world, carol, None);
    assert_eq!(world.hear(carol)[1]["records"], json!([]));
    world.write_all();
    let answers = world.hear(alice);
    assert_eq!((&answers[0]["offset"], &answers[1]["offset"]), (&json!(1), &json!(2)));
    let expected = (json!("conflict"), json!(2), json!({"id": "a", "n": 1}));
    assert_eq!(
        (&answers[2]["code"], &answers[2]["revision"], &answers[2]["record"]),
        (&expected.0, &expected.1, &expected.2)
    );
    listen(&mut world, bob, &mut replica);
    replica.check(&world.hub, "room", "tasks");
    assert_eq!(replica.changes, 2);
}

#[test]
fn after_a_crash_records_revisions_epochs_digests_and_receipts_are_there() {
    let mut world = World::durable(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    for (id, key) in (1..).zip(["a", "b", "c"]) {
        world.say(alice, insert(id, key, json!({})));
    }
    world.say(alice, remove(4, "b"));
    world.say(alice, update(5, "a", json!({"n": 1})));
    world.say(alice, insert(6, "a", json!({})));
    world.write_all();
    listen(&mut world, bob, &mut replica);
    let records = world.hub.records("room", "tasks");
    assert_eq!(items(&world), 2);
    world.say(alice, update(7, "a", json!({"lost": true})));
    let mut world = world.crash(43);
    assert_eq!(world.hub.records("room", "tasks"), records);
    assert_eq!((world.hub.stats().records, world.hub.stats().collections), (2, 1));
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    follow(&mut world, bob, replica.since());
    listen(&mut world, bob, &mut replica);
    assert_eq!((replica.snapshots, replica.digests), (1, 2), "recovered");
    let again = world.ask(alice, update(5, "a", json!({"n": 1})))[0].clone();
    assert_eq!(
        (&again["duplicate"], &again["offset"], &again["epoch"]),
        (&json!(true), &json!(5), &json!(replica.epoch))
    );
    assert_eq!(world.ask(alice, insert(6, "a", json!({})))[0]["code"], "conflict");
    world.say(alice, update(7, "a", json!({"n": 2})));
    world.write_all();
    assert_eq!(world.hear(alice)[0]["offset"], 6);
    listen(&mut world, bob, &mut replica);
    replica.check(&world.hub, "room", "tasks");
}

#[test]
fn an_answer_that_nothing_changed_waits_and_is_remembered_too() {
    let mut world = World::durable(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.say(alice, insert(1, "a", json!({})));
    // It is so only if the other one gets through.
    assert_eq!(world.ask(bob, insert(1, "a", json!({}))), [] as [Value; 0]);
    world.fail();
    assert_eq!(world.hear(bob)[0]["code"], "unavailable");
    world.advance(1000);
    world.say(bob, insert(1, "a", json!({})));
    world.say(bob, insert(2, "a", json!({})));
    world.write_all();
    let answers = world.hear(bob);
    assert_eq!((answers[0].get("duplicate"), &answers[1]["duplicate"]), (None, &json!(true)));
    let mut world = world.crash(43);
    let bob = world.v1("bob");
    let again = world.ask(bob, insert(2, "a", json!({})))[0].clone();
    assert_eq!((&again["duplicate"], &again["offset"]), (&json!(true), &json!(1)));
}

#[test]
fn a_failing_disk_takes_back_what_nobody_has_seen() {
    let mut world = World::durable(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    world.say(alice, insert(1, "a", json!({"n": 0})));
    world.say(alice, insert(2, "b", json!({})));
    world.write_all();
    let disk = world.disk.clone();
    // Given to the disk, and behind it: changed, removed, added, and added again.
    world.say(alice, update(3, "a", json!({"n": 1})));
    world.say(alice, remove(4, "b"));
    world.say(alice, insert(5, "c", json!({})));
    world.say(alice, insert(6, "b", json!({"again": true})));
    world.say(alice, remove(7, "a"));
    assert_eq!(world.hub.stats().records, 2, "with what waits: b and c");
    world.fail();
    world.hear(alice);
    assert_eq!((world.hub.stats().records, world.hub.records("room", "tasks").len()), (2, 2));
    world.advance(1000);
    world.write_all();
    let kept = |disk: &std::collections::BTreeMap<u64, Record>| {
        disk.values().filter(|record| matches!(record, Record::Item { .. })).cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&world.disk), kept(&disk), "the disk has them as they were");
    // The same again, and it counts.
    world.say(alice, update(3, "a", json!({"n": 5})));
    world.say(alice, insert(4, "b", json!({"conflict": 1})));
    world.write_all();
    let answers = world.hear(alice);
    assert_eq!((&answers[0]["offset"], &answers[1]["code"]), (&json!(3), &json!("conflict")));
    listen(&mut world, bob, &mut replica);
    replica.check(&world.hub, "room", "tasks");
    let after = world.hub.records("room", "tasks");
    assert_eq!(world.crash(43).hub.records("room", "tasks"), after);
}

#[test]
fn the_store_keeps_every_record_and_only_the_last_changes() {
    let history = HistoryConfig { messages: 5, ..HistoryConfig::default() };
    let mut world = World::durable(HubConfig { history, ..HubConfig::default() });
    let alice = world.v1("alice");
    for id in 1..=40 {
        world.say(
            alice,
            if id <= 20 {
                insert(id, &format!("k{id}"), json!({}))
            } else {
                update(id, &format!("k{}", id - 20), json!({"n": id}))
            },
        );
        world.write_all();
    }
    let changes = world.disk.values().filter(|record| matches!(record, Record::Message { .. })).count();
    assert_eq!((items(&world), changes), (20, 5));
    // After days without anybody its changes are gone too, and offsets go on.
    let epoch = world.hear(alice).last().unwrap()["epoch"].clone();
    world.disconnect(alice);
    world.advance(3 * 24 * 3_600_000);
    world.write_all();
    let mut world = world.crash(43);
    assert_eq!(world.hub.records("room", "tasks").len(), 20);
    let bob = world.v1("bob");
    world.say(bob, remove(1, "k1"));
    world.write_all();
    let receipt = world.hear(bob)[0].clone();
    assert_eq!((&receipt["offset"], &receipt["epoch"]), (&json!(41), &epoch));
    assert_eq!(items(&world), 19);
    for id in 2..=20 {
        world.say(bob, remove(id, &format!("k{id}")));
    }
    world.write_all();
    world.disconnect(bob);
    world.advance(3 * 24 * 3_600_000);
    world.write_all();
    assert_eq!(world.disk.len(), 0, "nothing is left of an empty one: {:?}", world.disk);
}

#[test]
fn changes_of_the_server_itself_wait_and_are_counted_where_they_are_lost() {
    let mut world = World::durable(HubConfig::default());
    let bob = world.v1("bob");
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    let now = world.now;
    assert_eq!(world.hub.mutate(now, "room", "tasks", "a", Op::Insert(b"{\"id\":\"a\"}"), None).unwrap().offset, 1);
    world.settle();
    assert_eq!(world.hub.record("room", "tasks", "a"), None);
    world.fail();
    assert_eq!(world.hub.stats().unstored, 1);
    world.advance(1000);
    let now = world.now;
    world.hub.mutate(now, "room", "tasks", "a", Op::Insert(b"{\"id\":\"a\"}"), None).unwrap();
    world.settle();
    world.write_all();
    listen(&mut world, bob, &mut replica);
    replica.check(&world.hub, "room", "tasks");
    assert_eq!(replica.records.len(), 1);
}

#[test]
fn a_large_record_waits_with_each_small_change_of_it() {
    let mut world = World::durable(HubConfig { staged_bytes: 100_000, ..HubConfig::default() });
    let alice = world.v1("alice");
    world.say(alice, insert(1, "a", json!({"x": "y".repeat(30_000)})));
    world.write_all();
    world.hear(alice);
    for id in 2..=20 {
        world.say(alice, update(id, "a", json!({ "n": id })));
    }
    assert!(world.hub.stats().staged_bytes < 140_000);
    assert_eq!(world.hear(alice)[0]["code"], "unavailable");
    world.write_all();
    assert_eq!(world.hub.stats().staged_bytes, 0);
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let restore = |records: Vec<Record>| {
        let mut restore = Hub::restore(HubConfig::default(), 1, 0);
        let refused = (1..).zip(records).find_map(|(number, record)| restore.record(number, record).err());
        refused.map(|error| (error.record, error.problem))
    };
    let channel = Record::Channel { name: "room".into(), epoch: "e".into(), last: 0 };
    let collection = Record::Collection { channel: "room".into(), name: "tasks".into(), epoch: "e".into(), last: 1 };
    let item = |collection| Record::Item { collection, key: "a".into(), revision: 1, record: "{\"id\":\"a\"}".into() };
    assert_eq!(restore(vec![channel.clone(), collection.clone(), item(2)]), None);
    assert_eq!(restore(vec![collection.clone(), item(1), item(1)]), Some((3, "a record that is there already")));
    assert_eq!(restore(vec![channel.clone(), item(1)]), Some((2, "a record of an unknown collection")));
    assert_eq!(restore(vec![item(1)]), Some((1, "a record of an unknown collection")));
    assert_eq!(restore(vec![collection.clone(), collection]), Some((2, "a collection that is there already")));
}
