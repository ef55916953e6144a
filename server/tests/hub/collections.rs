use std::sync::Arc;
use std::time::Duration;

use realtime_engine::wire::{ErrorCode, Op};
use realtime_server::hub::{Authorizer, CollectionConfig, ConnectionId, HistoryConfig, HubConfig};
use serde_json::{Value, json};

use crate::replica::Replica;
use crate::world::World;

pub fn insert(id: u64, key: &str, more: Value) -> Value {
    let mut record = json!({ "id": key });
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"type": "mutate", "id": id, "channel": "room", "collection": "tasks", "op": "insert", "key": key, "payload": record})
}

pub fn update(id: u64, key: &str, patch: Value) -> Value {
    json!({"type": "mutate", "id": id, "channel": "room", "collection": "tasks", "op": "update", "key": key, "payload": patch})
}

pub fn remove(id: u64, key: &str) -> Value {
    json!({"type": "mutate", "id": id, "channel": "room", "collection": "tasks", "op": "remove", "key": key})
}

pub fn follow(world: &mut World, client: ConnectionId, since: Option<Value>) {
    let mut request = json!({"type": "subscribe", "id": 1, "channel": "room", "collection": "tasks"});
    if let Some(since) = since {
        request["since"] = since;
    }
    world.say(client, request);
}

pub fn listen(world: &mut World, client: ConnectionId, replica: &mut Replica) {
    world.hear_lines(client).iter().for_each(|line| replica.take(line));
}

fn at(mut mutation: Value, revision: u64) -> Value {
    mutation["if_revision"] = revision.into();
    mutation
}

fn text(world: &World, key: &str) -> String {
    let record = world.hub.record("room", "tasks", key).expect("a record");
    String::from_utf8(record.record.to_vec()).unwrap()
}

#[test]
fn a_change_is_answered_and_seen_by_everybody() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let answers = world.ask(bob, json!({"type": "subscribe", "id": 1, "channel": "room", "collection": "tasks"}));
    assert_eq!(
        (&answers[0]["collection"], &answers[0]["offset"], answers[0].get("recovered")),
        (&json!("tasks"), &json!(0), None)
    );
    assert_eq!(
        (&answers[1]["type"], &answers[1]["records"], &answers[1]["end"]),
        (&json!("snapshot"), &json!([]), &json!(0))
    );
    assert_eq!((&answers[2]["type"], &answers[2]["digest"]), (&json!("digest"), &json!("0000000000000000")));
    let receipt = world.ask(alice, insert(1, "a", json!({"n": 1, "done": false})))[0].clone();
    assert_eq!((&receipt["type"], &receipt["offset"], receipt.get("duplicate")), (&json!("receipt"), &json!(1), None));
    assert_eq!(receipt["epoch"], answers[0]["epoch"]);
    world.ask(alice, update(2, "a", json!({"done": true, "who": null})));
    assert_eq!(text(&world, "a"), r#"{"done":true,"id":"a","n":1,"who":null}"#);
    world.ask(alice, remove(3, "a"));
    let seen = world.hear(bob);
    let told: Vec<_> = seen
        .iter()
        .map(|c| (c["op"].as_str().unwrap(), c["offset"].as_u64().unwrap(), c.get("payload").cloned()))
        .collect();
    assert_eq!(
        told,
        [
            ("insert", 1, Some(json!({"id": "a", "n": 1, "done": false}))),
            ("update", 2, Some(json!({"done": true, "who": null}))),
            ("remove", 3, None),
        ]
    );
    assert_eq!(world.hub.records("room", "tasks"), []);
    let stats = world.hub.stats();
    assert_eq!((stats.collections, stats.records, stats.record_bytes, stats.channels), (1, 0, 0, 0));
}

#[test]
fn what_is_so_already_changes_nothing() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, insert(1, "a", json!({"n": 1})));
    world.ask(alice, insert(2, "b", json!({})));
    let receipt = world.ask(bob, insert(1, "a", json!({"n": 1})))[0].clone();
    assert_eq!(
        (&receipt["type"], &receipt["duplicate"], &receipt["offset"]),
        (&json!("receipt"), &json!(true), &json!(1))
    );
    let receipt = world.ask(bob, remove(2, "never"))[0].clone();
    assert_eq!((&receipt["duplicate"], &receipt["offset"]), (&json!(true), &json!(2)));
    // Again: the first answer.
    let again = world.ask(bob, insert(1, "a", json!({"n": 1})))[0].clone();
    assert_eq!((&again["duplicate"], &again["offset"]), (&json!(true), &json!(1)));
    let receipt = world.ask(
        bob,
        json!({"type": "mutate", "id": 3, "channel": "elsewhere", "collection": "x", "op": "remove", "key": "k"}),
    )[0]
    .clone();
    assert_eq!((&receipt["duplicate"], &receipt["offset"]), (&json!(true), &json!(0)));
}

#[test]
fn conflicts_tell_what_is_there() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, insert(1, "a", json!({"n": 1})));
    let there = json!({"id": "a", "n": 1});
    for (id, mutation) in
        [(1, insert(1, "a", json!({"n": 2}))), (2, at(update(2, "a", json!({})), 7)), (3, at(remove(3, "a"), 0))]
    {
        let refused = world.ask(bob, mutation.clone())[0].clone();
        assert_eq!(
            (&refused["code"], &refused["id"], &refused["revision"], &refused["record"]),
            (&json!("conflict"), &json!(id), &json!(1), &there),
            "{mutation}"
        );
    }
    let refused = world.ask(bob, at(update(4, "none", json!({})), 1))[0].clone();
    assert_eq!((&refused["code"], refused.get("revision"), refused.get("record")), (&json!("conflict"), None, None));
    assert_eq!(world.ask(bob, at(update(5, "a", json!({"n": 3})), 1))[0]["offset"], 2);
    // A conflict that is asked again stays one, and tells what is there now.
    let again = world.ask(bob, insert(1, "a", json!({"n": 2})))[0].clone();
    assert_eq!((&again["code"], &again["revision"], &again["record"]["n"]), (&json!("conflict"), &json!(2), &json!(3)));
    assert_eq!(world.ask(bob, at(remove(6, "a"), 2))[0]["offset"], 3);
    assert_eq!(world.ask(bob, update(7, "a", json!({})))[0]["code"], "not_found");
}

#[test]
fn conflicts_over_a_large_record_do_not_close_the_connection() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, insert(1, "a", json!({"x": "y".repeat(300_000)})));
    let lines: Vec<_> = (1..=200).map(|id| at(update(id, "a", json!({"n": 1})), 7).to_string()).collect();
    world.say_text(bob, &lines.join("\n"));
    assert_eq!(world.closed.get(&bob), None);
    let answers = world.hear(bob);
    let records = answers.iter().filter(|answer| answer["record"].is_object()).count();
    assert!((1..5).contains(&records), "{records}");
    assert!(answers.len() == 200 && answers.iter().all(|answer| answer["revision"] == 1));
}

#[test]
fn records_and_patches_that_are_none_are_refused() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    world.ask(alice, insert(1, "a", json!({})));
    let mut id = 1;
    let mut say = |world: &mut World, op: &str, key: &str, payload: &str| {
        id += 1;
        world.hear(alice);
        world.say_text(alice, &format!(r#"{{"type":"mutate","id":{id},"channel":"room","collection":"tasks","op":"{op}","key":"{key}","payload":{payload}}}"#));
        world.hear(alice)[0].clone()
    };
    for payload in [
        "[]",
        "1",
        "\"x\"",
        "null",
        r#"{"id":1}"#,
        r#"{"id":null}"#,
        r#"{"id":"b"}"#,
        "{}",
        r#"{"id":"\ud800"}"#,
        r#"{"\ud800":1,"id":"n"}"#,
    ] {
        let answer = say(&mut world, "insert", "n", payload);
        assert_eq!((&answer["code"], &answer["type"]), (&json!("invalid_record"), &json!("error")), "insert {payload}");
    }
    for payload in ["[]", "7", "\"x\"", "null", r#"{"id":1}"#, r#"{"id":null}"#, r#"{"id":"b"}"#] {
        assert_eq!(say(&mut world, "update", "a", payload)["code"], "invalid_record", "update {payload}");
    }
    assert_eq!(say(&mut world, "update", "a", r#"{"id":"a","ok":1}"#)["type"], "receipt", "the same id");
    let deep = format!("{{\"id\":\"d\",\"x\":{}{}}}", "[".repeat(150), "]".repeat(150));
    assert_eq!(say(&mut world, "insert", "d", &deep)["code"], "malformed");
    assert_eq!(world.hub.records("room", "tasks").len(), 1);
    // Odd but good.
    let receipt = say(
        &mut world,
        "insert",
        "o",
        r#"{ "__proto__": {"x": 1}, "": [ 1 ], "\u0069d": "o", "n": 1, "n": 1.50, "constructor": null }"#,
    );
    assert_eq!(receipt["type"], "receipt");
    assert_eq!(text(&world, "o"), r#"{"__proto__":{"x": 1},"":[ 1 ],"id":"o","n":1.50,"constructor":null}"#);
    say(&mut world, "update", "o", r#"{"":2,"":3,"__proto__":null}"#);
    assert_eq!(text(&world, "o"), r#"{"__proto__":null,"":3,"id":"o","n":1.50,"constructor":null}"#);
}

#[test]
fn mutations_that_cannot_be_read_are_answered() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let long = "x".repeat(256);
    let good = insert(1, "a", json!({}));
    let with = |field: &str, value: Value| {
        let mut bad = good.clone();
        bad[field] = value;
        bad
    };
    for (message, code) in [
        (with("op", json!("upsert")), "malformed"),
        (with("key", json!("")), "invalid_name"),
        (with("key", json!(long)), "invalid_name"),
        (with("key", json!(7)), "malformed"),
        (with("collection", json!("")), "invalid_name"),
        (with("collection", json!(long)), "invalid_name"),
        (with("channel", json!("")), "invalid_name"),
        (with("if_revision", json!("1")), "malformed"),
        (with("collection", Value::Null), "malformed"),
    ] {
        let answer = world.ask(alice, message.clone());
        assert_eq!(answer[0]["code"], code, "{message}");
    }
    assert_eq!(world.hub.stats().collections, 0);
    assert_eq!(world.ask(alice, good)[0]["type"], "receipt", "none of them took the id");
}

#[test]
fn too_large_and_too_many_are_refused_for_good() {
    let collections = CollectionConfig { records: 2, ..CollectionConfig::default() };
    let mut config = HubConfig { collections, ..HubConfig::default() };
    config.limits.payload = 100;
    let mut world = World::new(config);
    let alice = world.v1("alice");
    world.ask(alice, insert(1, "a", json!({"x": "y".repeat(60)})));
    assert_eq!(world.ask(alice, insert(2, "b", json!({"x": "y".repeat(100)})))[0]["code"], "payload_too_large");
    assert_eq!(
        world.ask(alice, update(3, "a", json!({"z": "y".repeat(60)})))[0]["code"],
        "payload_too_large",
        "what it leads to"
    );
    world.ask(alice, insert(4, "b", json!({})));
    let full = world.ask(alice, insert(5, "c", json!({})))[0].clone();
    assert_eq!(
        (&full["code"], &full["message"]),
        (&json!("collection_full"), &json!("a collection has at most 2 records"))
    );
    assert_eq!(world.ask(alice, insert(5, "c", json!({})))[0]["code"], "collection_full", "again");
    assert_eq!(world.ask(alice, update(6, "b", json!({"n": 1})))[0]["type"], "receipt");
    world.ask(alice, remove(7, "a"));
    assert_eq!(world.ask(alice, insert(8, "c", json!({})))[0]["type"], "receipt");

    let collections = CollectionConfig { total_bytes: 1000, ..CollectionConfig::default() };
    let mut world = World::new(HubConfig { collections, ..HubConfig::default() });
    let alice = world.v1("alice");
    world.ask(alice, insert(1, "a", json!({"x": "y".repeat(500)})));
    assert_eq!(world.ask(alice, insert(2, "b", json!({"x": "y".repeat(500)})))[0]["code"], "collection_full");
    assert_eq!(world.ask(alice, update(3, "a", json!({"x": "z".repeat(700)})))[0]["type"], "receipt", "in its place");
    assert_eq!(world.ask(alice, update(4, "a", json!({"x": "z".repeat(900)})))[0]["code"], "collection_full");
    assert_eq!(world.ask(alice, update(5, "a", json!({"x": ""})))[0]["type"], "receipt");
    world.ask(alice, remove(6, "a"));
    assert_eq!(world.hub.stats().record_bytes, 0);
}

#[test]
fn mutations_share_ids_holds_and_the_window_with_publishes() {
    let mut config = HubConfig::default();
    config.limits.rate = 2;
    let mut world = World::new(config);
    let alice = world.v1("alice");
    assert_eq!(world.ask(alice, insert(1, "a", json!({})))[0]["type"], "receipt");
    assert_eq!(world.publish(alice, 2, "room")["offset"], 1, "messages are another stream");
    assert_eq!(world.ask(alice, update(3, "a", json!({"n": 3})))[0]["code"], "rate_limited");
    world.advance(1000);
    let held = world.publish(alice, 4, "room");
    assert_eq!((&held["code"], &held["message"]), (&json!("rate_limited"), &json!("an earlier one has to come first")));
    assert_eq!(world.ask(alice, update(3, "a", json!({"n": 3})))[0]["offset"], 2);
    assert_eq!(world.publish(alice, 4, "room")["offset"], 2);
    // On another connection the same ids are known.
    let alice = world.v1("alice");
    let again = world.ask(alice, update(3, "a", json!({"n": 3})))[0].clone();
    assert_eq!((&again["duplicate"], &again["offset"]), (&json!(true), &json!(2)));
    assert_eq!(world.hub.record("room", "tasks", "a").unwrap().revision, 2);
}

#[test]
fn an_authorizer_decides_who_may_change_and_who_may_follow() {
    struct Rules;
    impl Authorizer for Rules {
        fn can_mutate(&self, user: Option<&str>, channel: &str, collection: &str) -> bool {
            self.can_publish(user, channel) && collection != "fixed"
        }
        fn can_subscribe(&self, _: Option<&str>, channel: &str) -> bool {
            channel != "secret"
        }
    }
    let mut world = World::new(HubConfig { authorizer: Arc::new(Rules), ..HubConfig::default() });
    let alice = world.v1("alice");
    let mut fixed = insert(1, "a", json!({}));
    fixed["collection"] = json!("fixed");
    assert_eq!(world.ask(alice, fixed)[0]["code"], "forbidden");
    assert_eq!(world.ask(alice, insert(2, "a", json!({})))[0]["type"], "receipt");
    let refused = world.ask(alice, json!({"type": "subscribe", "id": 1, "channel": "secret", "collection": "tasks"}));
    assert_eq!((&refused[0]["code"], &refused[0]["collection"]), (&json!("forbidden"), &json!("tasks")));
}

#[test]
fn the_server_itself_may_change_records() {
    let mut world = World::new(HubConfig::default());
    let bob = world.v1("bob");
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    let now = world.now;
    let mutate = |world: &mut World, key: &str, op: Op<'_>, at: Option<u64>| {
        let result = world.hub.mutate(now, "room", "tasks", key, op, at);
        world.settle();
        result
    };
    let position = mutate(&mut world, "a", Op::Insert(b"{\n\"id\":\"a\",\"x\":[1,\n2]}"), None).unwrap();
    assert_eq!((position.offset, text(&world, "a").as_str()), (1, r#"{"id":"a","x":[1, 2]}"#));
    assert_eq!(mutate(&mut world, "a", Op::Update(b"{\"x\":\n2}"), Some(1)).unwrap().offset, 2);
    let conflict = mutate(&mut world, "a", Op::Remove, Some(1)).unwrap_err();
    assert_eq!((conflict.code, conflict.current.unwrap().revision), (ErrorCode::Conflict, 2));
    assert_eq!(mutate(&mut world, "", Op::Remove, None).unwrap_err().code, ErrorCode::InvalidName);
    assert_eq!(mutate(&mut world, "b", Op::Insert(b"{"), None).unwrap_err().code, ErrorCode::Malformed);
    assert_eq!(mutate(&mut world, "b", Op::Insert(b"[]"), None).unwrap_err().code, ErrorCode::InvalidRecord);
    listen(&mut world, bob, &mut replica);
    replica.check(&world.hub, "room", "tasks");
    assert_eq!(replica.changes, 2);
}

#[test]
fn what_was_missed_follows_and_a_digest_closes_it() {
    let history = HistoryConfig { messages: 5, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    listen(&mut world, bob, &mut replica);
    let mut id = 0;
    for (missed, recovered) in [(0, true), (5, true), (6, false)] {
        world.disconnect(bob);
        for _ in 0..missed {
            id += 1;
            world.ask(alice, insert(id, &format!("k{id}"), json!({ "id": format!("k{id}") })));
        }
        let bob = world.v1("bob");
        follow(&mut world, bob, replica.since());
        let before = (replica.snapshots, replica.digests);
        listen(&mut world, bob, &mut replica);
        replica.check(&world.hub, "room", "tasks");
        assert_eq!((replica.snapshots, replica.digests), (before.0 + u64::from(!recovered), before.1 + 1));
        world.disconnect(bob);
    }
    // An offset beyond the end, and another epoch.
    for since in [json!({"epoch": replica.epoch, "offset": id + 1}), json!({"epoch": "other", "offset": 1})] {
        let bob = world.v1("bob");
        follow(&mut world, bob, Some(since));
        let answers = world.hear(bob);
        assert_eq!(
            (&answers[0]["recovered"], &answers[0]["offset"], &answers[1]["type"]),
            (&json!(false), &json!(id), &json!("snapshot"))
        );
    }
}

#[test]
fn a_digest_comes_now_and_then() {
    let collections = CollectionConfig { digest_every: 10, ..CollectionConfig::default() };
    let mut world = World::new(HubConfig { collections, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    for id in 1..=35 {
        world.ask(alice, insert(id, &format!("k{id}"), json!({})));
    }
    listen(&mut world, bob, &mut replica);
    assert_eq!(replica.digests, 4, "at 0, 10, 20 and 30");
}

#[test]
fn empty_collections_are_forgotten_and_others_never() {
    let history = HistoryConfig { idle_channels: 3, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let alice = world.v1("alice");
    world.ask(alice, insert(1, "a", json!({})));
    let epoch = world.ask(alice, remove(2, "none"))[0]["epoch"].clone();
    for id in 3..50 {
        let mut other = remove(id, "none");
        other["collection"] = json!(format!("c{id}"));
        world.ask(alice, other);
    }
    let stats = world.hub.stats();
    assert!(stats.collections <= 5 && stats.channels_forgotten >= 43, "{stats:?}");
    world.disconnect(alice);
    world.advance(3 * 24 * 3_600_000);
    let stats = world.hub.stats();
    assert_eq!(
        (stats.collections, stats.records, stats.history_bytes),
        (1, 1, 0),
        "its changes are gone, its records are not"
    );
    let alice = world.v1("alice");
    let receipt = world.ask(alice, update(60, "a", json!({"n": 1})))[0].clone();
    assert_eq!((&receipt["epoch"], &receipt["offset"]), (&epoch, &json!(2)));
    world.ask(alice, remove(61, "a"));
    world.advance(3 * 24 * 3_600_000);
    assert_eq!(world.hub.stats().collections, 0);
}

#[test]
fn histories_are_bounded_over_everything_and_records_stay() {
    let history = HistoryConfig { total_bytes: 20_000, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let alice = world.v1("alice");
    for id in 1..=100 {
        let mut mutation = insert(id, &format!("k{id}"), json!({"x": "y".repeat(500)}));
        mutation["collection"] = json!(format!("c{}", id % 4));
        assert_eq!(world.ask(alice, mutation)[0]["type"], "receipt");
    }
    let stats = world.hub.stats();
    assert!(stats.history_bytes <= 20_000, "{stats:?}");
    assert_eq!(stats.records, 100);
    let bob = world.v1("bob");
    let answers = world.ask(bob, json!({"type": "subscribe", "id": 1, "channel": "room", "collection": "c1"}));
    let records: usize = answers[1..].iter().filter_map(|page| page["records"].as_array()).map(Vec::len).sum();
    assert_eq!(records, 25);
}

#[test]
fn a_clock_that_jumps_ahead_evicts_changes_and_no_records() {
    let history = HistoryConfig { age: Duration::from_secs(10), ..HistoryConfig::default() };
    let timeout = Duration::from_secs(60 * 24 * 3600);
    let mut world = World::new(HubConfig { history, timeout, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    world.ask(alice, insert(1, "a", json!({})));
    listen(&mut world, bob, &mut replica);
    world.now += 30 * 24 * 3_600_000;
    world.ask(alice, update(2, "a", json!({"n": 1})));
    listen(&mut world, bob, &mut replica);
    replica.check(&world.hub, "room", "tasks");
    assert_eq!(replica.snapshots, 1);
}
