//! Collections: a session against a scripted peer, and against a model of a server with everything in random order.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::{Digest, Record, Window};
use realtime_engine::{ChangeKind, ChannelState, Error, Event, Mutation, RequestId, Timestamp, WhenFull};
use support::collection::{Host, World};
use support::{Bench, config};

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn the_first_snapshot_is_told_once_it_is_whole() {
    let mut world = World::watching();
    assert_eq!(
        world.bench.last_sent("subscribe").as_object().unwrap().keys().collect::<Vec<_>>(),
        ["channel", "collection", "id", "type"]
    );
    world.answer(10, None);
    world.page("e", 10, 0, None, &["a@3", "b@4"]);
    assert!(world.log().is_empty());
    world.page("e", 10, 1, Some(12), &["c@12 ,\"n\":1"]);
    assert!(world.log().is_empty(), "the state is whole once the end is reached");
    // Older than the page; of a record that was removed later; and the one that the page has.
    world.change("update", "gone", 11, r#"{"x":1}"#);
    world.change("update", "c", 12, r#"{"n":1}"#);
    assert_eq!(world.log(), ["insert a 3 i", "insert b 4 i", "insert c 12 i"]);
    assert_eq!(world.host.synced, [("initial", 3)]);
    assert_eq!(world.host.shows(), [r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"c","n":1}"#]);
    world.change("insert", "d", 13, r#"{ "id":"d" , "x":[ 1 ] }"#);
    world.change("update", "a", 14, r#"{"y":{"z":null}}"#);
    world.change("remove", "b", 15, "");
    assert_eq!(world.log(), ["insert d 13", "update a 14", "delete b -"]);
    assert_eq!(world.host.shows(), [r#"{"id":"a","y":{"z":null}}"#, r#"{"id":"c","n":1}"#, r#"{"id":"d","x":[ 1 ]}"#]);
    world.digest(
        15,
        &[("a", r#"{"id":"a","y":{"z":null}}"#), ("c", r#"{"id":"c","n":1}"#), ("d", r#"{"id":"d","x":[ 1 ]}"#)],
    );
    world.log();
    assert_eq!(world.host.diverged, 0);
    assert_eq!(world.bench.session.position(world.id).unwrap().offset, 15);
}

#[test]
fn a_mutation_shows_at_once_and_is_confirmed_whichever_of_receipt_and_change_comes_first() {
    for receipt_first in [true, false] {
        let mut world = World::synced(&["a@3"]);
        let change = world.update("a", r#"{"n":1}"#);
        assert_eq!((change.kind, change.local, change.revision), (ChangeKind::Update, true, Some(3)));
        assert_eq!(change.record.unwrap(), r#"{"id":"a","n":1}"#);
        let sent = world.bench.last_sent("mutate");
        assert_eq!((&sent["id"], &sent["op"], &sent["key"]), (&1.into(), &"update".into(), &"a".into()));
        assert_eq!((&sent["collection"], &sent["payload"]["n"]), (&"tasks".into(), &1.into()));
        if receipt_first {
            world.receipt(1, 11);
            assert_eq!(world.bench.receipts()[0].offset, Some(11));
            assert_eq!(world.log(), ["update a 3 l"]);
            world.change("update", "a", 11, r#"{"n":1}"#);
        } else {
            world.change("update", "a", 11, r#"{"n":1}"#);
            assert_eq!(world.log(), ["update a 3 l", "confirm a 11 l"]);
            world.receipt(1, 11);
        }
        let expected: &[&str] = if receipt_first { &["confirm a 11 l"] } else { &[] };
        assert_eq!(world.log(), expected);
        assert_eq!(world.host.shows(), [r#"{"id":"a","n":1}"#]);
        world.digest(11, &[("a", r#"{"id":"a","n":1}"#)]);
        assert_eq!(world.host.diverged, 0);
    }
}

#[test]
fn a_receipt_tells_the_revision_where_nobody_can_have_come_between() {
    let mut world = World::synced(&["a@3"]);
    world.insert(r#"{"id":"b"}"#);
    world.mutate(Mutation::Update { key: "a", patch: br#"{"n":1}"# }, Some(3)).unwrap();
    world.update("a", r#"{"n":2}"#);
    for (id, revision) in [(1, 12), (2, 13), (3, 14)] {
        world.receipt(id, revision);
    }
    let told = ["insert b - l", "update a 3 l", "update a 3 l", "confirm b 12 l", "confirm a 13 l"];
    assert_eq!(world.log(), told, "the last was not conditional: another's change may lie before it");
}

#[test]
fn changes_of_others_come_in_below_what_is_pending() {
    let mut world = World::synced(&["a@3"]);
    world.update("a", r#"{"n":1}"#);
    world.change("update", "a", 11, r#"{"n":7,"m":7}"#);
    // Before the receipt nobody knows that the other came first.
    assert_eq!(world.host.take_log(&mut world.bench), ["update a 3 l", "update a 11"]);
    assert_eq!(world.host.shows(), [r#"{"id":"a","n":1,"m":7}"#]);
    world.change("update", "a", 12, r#"{"n":1}"#);
    world.change("update", "a", 13, r#"{"n":9}"#);
    assert_eq!(world.host.shows(), [r#"{"id":"a","n":1,"m":7}"#]);
    world.receipt(1, 12);
    world.log();
    assert_eq!(
        world.host.shows(),
        [r#"{"id":"a","n":9,"m":7}"#],
        "the other's, which came later, is what is confirmed"
    );
}

#[test]
fn what_is_refused_is_taken_back_before_it_is_told() {
    let mut world = World::synced(&["a@3"]);
    world.mutate(Mutation::Update { key: "a", patch: br#"{"n":1}"# }, Some(2)).unwrap();
    assert_eq!(world.bench.last_sent("mutate")["if_revision"], 2);
    world.update("a", r#"{"m":2}"#);
    world.insert(r#"{"id":"b"}"#);
    world.remove("a");
    world.log();
    assert_eq!(world.host.shows(), [r#"{"id":"b"}"#]);
    world.refuse(4, "forbidden", "");
    assert_eq!(world.host.take_log(&mut world.bench), ["insert a 3 l"]);
    world.refuse(1, "conflict", r#","revision":5,"record":{"id":"a","n":0}"#);
    let Some(Event::SendFailed { error, .. }) =
        world.bench.events.iter().find(|e| matches!(e, Event::SendFailed { .. }))
    else {
        panic!("{:?}", world.bench.events)
    };
    assert_eq!((error.code(), error.revision), ("conflict", Some(5)));
    assert_eq!(error.record.as_ref().unwrap(), &Bytes::from(r#"{"id":"a","n":0}"#));
    let at = |wanted: fn(&Event) -> bool| world.bench.events.iter().position(wanted);
    assert!(at(|e| matches!(e, Event::Change(_))) < at(|e| matches!(e, Event::SendFailed { .. })));
    assert_eq!(world.log(), ["update a 3 l"]);
    assert_eq!(world.host.shows(), [r#"{"id":"a","m":2}"#, r#"{"id":"b"}"#]);
    world.refuse(2, "conflict", "");
    world.refuse(3, "collection_full", "");
    assert_eq!(world.host.take_log(&mut world.bench), ["update a 3 l", "delete b - l"]);
    assert_eq!(world.host.shows(), [r#"{"id":"a"}"#]);
}

#[test]
fn after_a_reconnect_the_same_mutations_go_out_again_and_missed_changes_follow() {
    let mut world = World::synced(&["a@3"]);
    world.insert(r#"{"id":"b"}"#);
    world.reconnect();
    let subscribe = world.bench.last_sent("subscribe");
    assert_eq!((&subscribe["since"]["epoch"], &subscribe["since"]["offset"]), (&"e".into(), &10.into()));
    assert_eq!(world.bench.last_sent("mutate")["id"], 1);
    world.answer(10, Some(true));
    world.log();
    assert!(world.host.synced.is_empty());
    world.text(r#"{"type":"receipt","id":1,"epoch":"e","offset":11,"duplicate":true}"#);
    world.change("insert", "b", 11, r#"{"id":"b"}"#);
    world.change("remove", "a", 12, "");
    world.digest(12, &[("b", r#"{"id":"b"}"#)]);
    assert_eq!(world.log(), ["confirm b 11 l", "delete a -"]);
    assert_eq!(world.host.synced, [("resync", 1)]);
}

#[test]
fn a_snapshot_after_a_reconnect_is_told_as_the_differences() {
    let mut world = World::synced(&["a@3", "b@4", "c@5 ,\"n\":1", "d@6"]);
    world.update("c", r#"{"mine":1}"#);
    world.log();
    world.reconnect();
    world.answer_in("other", 2, Some(false));
    assert_eq!(world.host.shows().len(), 4, "the view stays until the snapshot is whole");
    world.page("other", 2, 0, None, &["a@3"]);
    // Cut in the middle: the next connection has no position to ask for.
    world.reconnect();
    assert!(world.bench.last_sent("subscribe")["since"].is_null());
    world.answer_in("other", 2, None);
    world.page("other", 2, 0, None, &["a@3", "b@9 ,\"new\":1"]);
    world.page("other", 2, 1, Some(2), &["c@2", "e@1"]);
    assert_eq!(world.log(), ["update b 9", "delete d -", "insert e 1", "update c 2"]);
    assert_eq!(world.host.synced, [("resync", 4)]);
    assert_eq!(
        world.host.shows(),
        [r#"{"id":"a"}"#, r#"{"id":"b","new":1}"#, r#"{"id":"c","mine":1}"#, r#"{"id":"e"}"#]
    );
}

#[test]
fn a_receipt_of_a_lost_history_ends_with_the_snapshot_of_the_new_one() {
    let mut world = World::synced(&["a@3"]);
    world.update("a", r#"{"n":1}"#);
    world.receipt(1, 11);
    world.reconnect();
    world.answer_in("other", 0, Some(false));
    world.page("other", 0, 0, Some(0), &[]);
    assert_eq!(world.log(), ["update a 3 l", "delete a -"]);
    assert!(world.host.shows().is_empty());
}

#[test]
fn a_collection_that_differs_is_taken_over_anew_and_that_is_told() {
    let mut world = World::synced(&["a@3"]);
    world.digest(9, &[]);
    world.digest(11, &[]);
    assert_eq!(world.bench.sent_of("subscribe").len(), 0, "only the digest at the same offset says something");
    world.digest(10, &[("a", "{}")]);
    assert_eq!(world.bench.session.stats().diverged, 1);
    assert_eq!(world.state(), ChannelState::Resubscribing);
    assert!(world.bench.last_sent("subscribe")["since"].is_null());
    // Of the subscription before.
    world.change("update", "a", 11, r#"{"old":1}"#);
    world.answer(12, None);
    world.page("e", 12, 0, Some(12), &["a@11 ,\"n\":1"]);
    assert_eq!(world.log(), ["update a 11"]);
    assert_eq!((world.host.diverged, &*world.host.synced), (1, &[("diverged", 1)][..]));
    // A server that is wrong about itself is not asked at the speed of the network.
    world.bench.clear();
    world.digest(12, &[]);
    assert_eq!(world.bench.sent_of("subscribe").len(), 0);
    world.bench.pass(Duration::from_secs(2));
    assert_eq!(world.bench.sent_of("subscribe").len(), 1);
    world.answer(12, None);
    world.page("e", 12, 0, Some(12), &["a@11 ,\"n\":1"]);
    world.digest(12, &[("a", r#"{"id":"a","n":1}"#)]);
    world.bench.clear();
    world.digest(12, &[]);
    assert_eq!(world.bench.sent_of("subscribe").len(), 1, "it agreed in between");
}

#[test]
fn a_peer_that_breaks_the_order_is_asked_anew() {
    let holes: &[fn(&mut World)] = &[
        |world| world.change("remove", "a", 12, ""),
        |world| {
            world.reconnect();
            world.answer(11, Some(true));
        },
        |world| world.change("update", "nobody", 11, "{}"),
        |world| world.change("insert", "b", 11, "[1]"),
        |world| world.change("update", "a", 11, "7"),
        // What only looks like one object from its ends.
        |world| world.change("insert", "b", 11, r#"{}},"x":{}"#),
        |world| world.change("update", "a", 11, r#"{"n":1},"payload":{"n":2}"#),
        |world| world.change("update", "a", 11, r#"{"n":01}"#),
        |world| world.page("e", 11, 1, Some(11), &["b@1"]),
        |world| {
            world.page("e", 11, 0, None, &["b@1"]);
            world.page("other", 11, 1, Some(11), &[]);
        },
        |world| {
            world.page("e", 11, 0, Some(13), &["b@1"]);
            world.page("e", 11, 1, Some(13), &["c@1"]);
        },
        |world| {
            world.text(r#"{"type":"snapshot","channel":"room","collection":"tasks","epoch":"e","offset":1,"part":0,"end":1,"records":[{"key":"a","revision":1,"record":1}]}"#);
        },
    ];
    for (at, hole) in holes.iter().enumerate() {
        let mut world = World::synced(&["a@3"]);
        hole(&mut world);
        assert_eq!(world.bench.errors(), ["protocol_error"], "{at}");
        assert!(world.bench.last_sent("subscribe")["since"].is_null(), "{at}");
        assert!(world.log().is_empty(), "{at}");
        assert_eq!(world.host.diverged, 1, "{at}");
        world.answer(20, None);
        world.page("e", 20, 0, Some(20), &["a@3"]);
        assert!(world.log().is_empty(), "{at}");
        assert_eq!(world.host.synced, [("diverged", 1)], "{at}");
    }
}

#[test]
fn what_is_behind_the_position_or_of_another_collection_is_left_out() {
    let mut world = World::synced(&["a@3"]);
    world.change("remove", "a", 10, "");
    world.change("remove", "a", 3, "");
    assert_eq!(world.bench.session.stats().duplicates, 2);
    world.text(
        r#"{"type":"change","channel":"room","collection":"others","op":"remove","key":"a","offset":11,"timestamp":1}"#,
    );
    world.text(
        r#"{"type":"change","channel":"hall","collection":"tasks","op":"remove","key":"a","offset":11,"timestamp":1}"#,
    );
    world.text(
        r#"{"type":"snapshot","channel":"room","presence":true,"epoch":"e","offset":1,"part":0,"end":1,"members":[]}"#,
    );
    assert_eq!(world.bench.session.stats().unroutable, 3);
    assert!(world.log().is_empty());
    assert_eq!(world.bench.session.stats().unconsumed_bytes, 0);
    // In the middle of its subscription a server may go on from a snapshot, also of another history.
    world.page("new", 3, 0, Some(4), &["b@2"]);
    world.change("remove", "b", 4, "");
    assert_eq!(world.log(), ["delete a -"]);
    assert_eq!(world.host.synced, [("resync", 0)]);
    assert_eq!(world.bench.session.position(world.id).unwrap().epoch, "new");
}

#[test]
fn mutations_that_make_no_sense_fail_at_once() {
    let mut world = World::synced(&["a@3"]);
    let insert = |world: &mut World, record: &str| world.mutate(Mutation::Insert { record: record.as_bytes() }, None);
    for record in ["[]", "1", "null", r#"{"id":1}"#, r#"{"id":null}"#, r#"{"\ud800":1}"#] {
        assert_eq!(code(insert(&mut world, record)), "invalid_record", "{record}");
    }
    for record in ["{", "", "{\"a\":\n1}"] {
        assert_eq!(code(insert(&mut world, record)), "malformed", "{record:?}");
    }
    assert_eq!(code(insert(&mut world, r#"{"id":""}"#)), "invalid_name");
    assert_eq!(code(insert(&mut world, &format!(r#"{{"id":"{}"}}"#, "x".repeat(256)))), "invalid_name");
    assert_eq!(code(world.mutate(Mutation::Insert { record: b"{}" }, Some(1))), "invalid_option");
    let update = |world: &mut World, key: &str, patch: &str| {
        world.mutate(Mutation::Update { key, patch: patch.as_bytes() }, None)
    };
    assert_eq!(code(update(&mut world, "a", "[]")), "invalid_record");
    assert_eq!(code(update(&mut world, "a", r#"{"id":"b"}"#)), "invalid_record");
    assert_eq!(code(update(&mut world, "a", r#"{"id":7}"#)), "invalid_record");
    assert_eq!(code(update(&mut world, "", "{}")), "invalid_name");
    assert_eq!(code(update(&mut world, "b", "{}")), "not_found");
    let error = insert(&mut world, r#"{"id":"a","other":1}"#).unwrap_err();
    assert_eq!((error.code(), error.revision), ("conflict", Some(3)));
    assert_eq!(error.record.unwrap(), r#"{"id":"a"}"#);
    assert_eq!(code(world.mutate(Mutation::Remove { key: "" }, None)), "invalid_name");
    let channel = world.bench.session.channel("room").unwrap();
    let now = world.bench.now;
    let wrong = world.bench.session.mutate(now, RequestId(99), channel, Mutation::Remove { key: "a" }, None);
    assert_eq!(code(wrong), "invalid_option");
    assert!(world.bench.sent_of("mutate").is_empty());
    assert_eq!(world.bench.session.budget().messages(), 0);
    // What changes nothing is for the server to say.
    assert_eq!(update(&mut world, "a", r#"{"id":"a"}"#).unwrap().kind, ChangeKind::Confirm);
    assert_eq!(insert(&mut world, r#"{ "id":"a" }"#).unwrap().kind, ChangeKind::Confirm);
    assert_eq!(world.remove("nobody").kind, ChangeKind::Confirm);
    assert_eq!(world.bench.sent_of("mutate").len(), 3);
    assert_eq!(world.host.shows(), [r#"{"id":"a"}"#]);
}

#[test]
fn before_the_first_snapshot_only_the_server_knows_what_is_there() {
    let mut world = World::watching();
    assert_eq!(world.update("a", r#"{"n":1}"#).kind, ChangeKind::Confirm);
    assert_eq!(world.insert(r#"{"id":"b","n":2}"#).kind, ChangeKind::Insert);
    world.answer(10, None);
    world.page("e", 10, 0, Some(10), &["a@3", "b@4"]);
    assert_eq!(
        world.log(),
        ["confirm a -  l", "insert b - l", "insert a 3 i", "confirm b 4 i"].map(|s| s.replace("  ", " "))
    );
    assert_eq!(world.host.shows(), [r#"{"id":"a","n":1}"#, r#"{"id":"b","n":2}"#]);
    world.refuse(2, "conflict", "");
    world.log();
    assert_eq!(world.host.shows(), [r#"{"id":"a","n":1}"#, r#"{"id":"b"}"#]);
}

#[test]
fn records_without_an_id_get_one_that_sorts_by_time() {
    let mut world = World::synced(&[]);
    let mut keys = vec![];
    for at in [5, 5, 3, 6, 6] {
        // A clock that jumps back changes nothing about the order.
        world.bench.now = Timestamp::from_millis(1_700_000_000_000 + at);
        let change = world.insert(r#"{"n":1}"#);
        let (key, record) = (change.key.to_string(), String::from_utf8(change.record.unwrap().to_vec()).unwrap());
        assert_eq!(record, format!(r#"{{"id":"{key}","n":1}}"#));
        assert_eq!(key.len(), 36);
        assert_eq!((&key[14..15], "89ab".contains(&key[19..20])), ("7", true), "{key}");
        assert_eq!(u64::from_str_radix(&key.replace('-', "")[..12], 16).unwrap() / 10, 170_000_000_000);
        keys.push(key);
    }
    assert!(keys.is_sorted(), "{keys:?}");
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

#[test]
fn initial_data_is_shown_until_the_first_snapshot() {
    let mut world = World::watching();
    let mut seed = |json: &str| world.bench.session.seed(world.id, json.as_bytes());
    assert_eq!(code(seed("{}")), "invalid_record");
    assert_eq!(code(seed("[1]")), "invalid_record");
    assert_eq!(code(seed(r#"[{"id":1}]"#)), "invalid_record");
    assert_eq!(code(seed("[")), "malformed");
    let changes = seed(r#"[{"id":"a"}, {"id":"b"},{"id":"c"}]"#).unwrap();
    changes.iter().for_each(|change| world.host.apply(change));
    world.update("b", r#"{"n":1}"#);
    world.answer(10, None);
    world.page("e", 10, 0, Some(10), &["a@1", "b@2", "d@3"]);
    assert_eq!(world.host.log.len(), 4);
    world.host.log.clear();
    assert_eq!(world.log(), ["confirm a 1 i", "delete c - i", "insert d 3 i", "confirm b 2 i"]);
    assert_eq!(code(world.bench.session.seed(world.id, b"[]")), "invalid_option");
}

#[test]
fn odd_keys_and_names_are_data() {
    let mut world = World::synced(&["__proto__@1", "constructor@2"]);
    world.update("__proto__", r#"{"__proto__":{"x":1},"":null}"#);
    world.change("update", "constructor", 11, r#"{"":1}"#);
    world.log();
    assert_eq!(
        world.host.shows(),
        [r#"{"id":"__proto__","__proto__":{"x":1},"":null}"#, r#"{"id":"constructor","":1}"#]
    );
}

#[test]
fn a_collection_that_is_not_watched_takes_receipts_for_confirmed() {
    let mut world = World::synced(&["a@3"]);
    world.update("a", r#"{"n":1}"#);
    world.insert(r#"{"id":"b"}"#);
    world.receipt(1, 11);
    world.bench.session.unsubscribe(world.bench.now, world.id);
    world.bench.drain();
    world.receipt(2, 12);
    assert_eq!(world.log(), ["update a 3 l", "insert b - l", "confirm a 11 l", "confirm b 12 l"]);
    // Watched again, it begins with what it has.
    world.bench.session.watch(world.bench.now, world.id);
    world.bench.drain();
    assert!(world.bench.last_sent("subscribe")["since"].is_null());
    world.answer(12, None);
    world.page("e", 12, 0, Some(12), &["a@11 ,\"n\":1", "b@12"]);
    assert!(world.log().is_empty());
    assert_eq!(world.host.synced, [("resync", 2)]);
}

#[test]
fn a_refused_subscription_leaves_the_view_and_the_mutations() {
    let mut world = World::watching();
    world.insert(r#"{"id":"a"}"#);
    let request = world.bench.last_sent("subscribe")["id"].as_u64().unwrap();
    world.refuse(request, "forbidden", "");
    assert_eq!(world.state(), ChannelState::Failed);
    world.receipt(1, 5);
    assert_eq!(world.log(), ["insert a - l", "confirm a 5 l"]);
}

#[test]
fn disconnecting_takes_back_what_is_unanswered() {
    let mut world = World::synced(&["a@3"]);
    world.update("a", r#"{"n":1}"#);
    world.receipt(1, 11);
    world.update("a", r#"{"m":1}"#);
    world.insert(r#"{"id":"b"}"#);
    world.log();
    world.bench.session.disconnect(world.bench.now, Duration::ZERO);
    world.bench.drain();
    assert_eq!(world.bench.failures(), [(2, "closed"), (3, "closed")]);
    assert_eq!(world.log(), ["update a 3 l", "delete b - l"]);
    assert_eq!(world.host.shows(), [r#"{"id":"a","n":1}"#], "what was accepted stays");
    assert_eq!(code(world.mutate(Mutation::Remove { key: "a" }, None)), "closed");
    world.bench.connect();
    world.bench.open_v1();
    assert_eq!(world.bench.last_sent("subscribe")["since"]["offset"], 10);
    world.answer(10, Some(true));
    world.change("update", "a", 11, r#"{"n":1}"#);
    assert_eq!(world.log(), ["confirm a 11 l"]);
}

#[test]
fn the_outbox_bounds_mutations_as_it_does_publishes() {
    let mut config = config();
    config.queue_messages = 2;
    let mut world = World::with(config.clone());
    world.insert(r#"{"id":"a"}"#);
    world.insert(r#"{"id":"b"}"#);
    assert_eq!(code(world.mutate(Mutation::Insert { record: br#"{"id":"c"}"# }, None)), "queue_full");
    assert_eq!(world.host.shows().len(), 2);
    world.receipt(1, 1);
    world.receipt(2, 2);
    assert!(world.bench.events.iter().any(|event| matches!(event, Event::Writable)));

    config.when_full = WhenFull::DropOldest;
    let mut bench = Bench::new(config);
    let id = bench.session.collection("room", "tasks").unwrap();
    bench.session.watch(bench.now, id);
    let mut world = World { bench, host: Host::default(), id, requests: 0 };
    for record in [r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"c"}"#] {
        world.insert(record);
    }
    assert_eq!(world.bench.failures(), [(1, "dropped")]);
    world.log();
    assert_eq!(world.host.shows(), [r#"{"id":"b"}"#, r#"{"id":"c"}"#]);
}

#[test]
fn a_mutation_that_times_out_is_taken_back_and_may_come_all_the_same() {
    let mut config = config();
    config.send_timeout = Some(Duration::from_secs(5));
    let mut world = World::with(config);
    world.answer(0, None);
    world.page("e", 0, 0, Some(0), &[]);
    world.insert(r#"{"id":"a"}"#);
    world.log();
    world.bench.pass(Duration::from_secs(5));
    assert_eq!(world.bench.failures(), [(1, "timeout")]);
    assert_eq!(world.log(), ["delete a - l"]);
    world.receipt(1, 1);
    world.change("insert", "a", 1, r#"{"id":"a"}"#);
    assert_eq!(world.log(), ["insert a 1"]);
}

#[test]
fn pages_are_credited_by_the_session_and_changes_by_the_application() {
    let mut config = config();
    config.inbox = Window { connection: 4000, channel: 400 };
    let mut world = World::with(config);
    world.answer(10, None);
    for part in 0..10 {
        world.page("e", 10, part, (part == 9).then_some(10), &[&format!("k{part}@1")]);
    }
    let credit: u64 = world.bench.sent_of("credit").iter().map(|credit| credit["bytes"].as_u64().unwrap()).sum();
    assert!(credit > 700, "{credit}");
    assert!(world.bench.sent_of("credit").iter().all(|credit| credit["collection"] == "tasks"));
    assert_eq!(world.bench.session.stats().unconsumed_bytes, 0);
    world.log();
    world.bench.clear();
    world.change("insert", "x", 11, r#"{"id":"x"}"#);
    assert!(world.bench.session.stats().unconsumed_bytes > 100);
    assert!(world.bench.sent_of("credit").is_empty());
    world.log();
    assert_eq!(world.bench.session.stats().unconsumed_bytes, 0);
}

#[test]
fn taking_it_over_anew_waits_for_an_application_that_is_behind() {
    let mut config = config();
    config.inbox = Window { connection: 4000, channel: 400 };
    let mut world = World::with(config);
    world.answer(10, None);
    world.page("e", 10, 0, Some(10), &[]);
    world.log();
    world.bench.clear();
    world.change("insert", "x", 11, r#"{"id":"x"}"#);
    world.change("insert", "y", 12, r#"{"id":"y"}"#);
    world.digest(12, &[]);
    assert!(world.bench.sent_of("subscribe").is_empty());
    world.log();
    assert_eq!(world.bench.sent_of("subscribe").len(), 1);
}

#[test]
fn a_snapshot_that_never_ends_fails_at_the_bound() {
    let mut config = config();
    config.replica_bytes = 10_000;
    let mut world = World::with(config);
    world.answer(10, None);
    let mut parts = 0;
    while world.state() == ChannelState::Subscribed {
        world.page("e", 10, parts, None, &[&format!("k{parts}@1")]);
        parts += 1;
        assert!(parts < 1000);
    }
    assert_eq!(world.state(), ChannelState::Failed);
    let failed = world.bench.events.iter().find_map(|event| match event {
        Event::Channel { state: ChannelState::Failed, error, .. } => error.as_ref(),
        _ => None,
    });
    assert_eq!(failed.unwrap().code(), "collection_full");
    assert_eq!(world.bench.sent_of("unsubscribe").len(), 1);
    world.page("e", 10, parts, None, &["more@1"]);
    assert_eq!(world.bench.session.stats().unroutable, 1);
}

#[test]
fn a_large_collection_is_changed_one_record_at_a_time() {
    let mut world = World::watching();
    world.answer(10, None);
    let records: Vec<String> = (0..20_000).map(|at| format!("k{at:06}@1 ,\"n\":{at}")).collect();
    let pages: Vec<&[String]> = records.chunks(500).collect();
    for (part, page) in pages.iter().enumerate() {
        let page: Vec<&str> = page.iter().map(String::as_str).collect();
        world.page("e", 10, part as u64, (part + 1 == pages.len()).then_some(10), &page);
    }
    assert_eq!(world.log().len(), 20_000);
    for at in 0..1000u64 {
        world.change("update", &format!("k{:06}", at * 19), 11 + at, r#"{"n":-1}"#);
    }
    assert_eq!(world.log().len(), 1000);
    let expected: Vec<_> = world.host.data.iter().map(|(key, record)| (key.as_str(), record.as_str())).collect();
    let mut digest = Digest::default();
    expected.iter().for_each(|(key, record)| digest.add(key, record.as_bytes()));
    world.bench.text(&format!(
        r#"{{"type":"digest","channel":"room","collection":"tasks","offset":1010,"records":20000,"digest":"{digest}"}}"#
    ));
    world.log();
    assert_eq!(world.host.diverged, 0);
    assert!(Record::parse(world.host.shows()[0].as_bytes()).is_ok());
}
