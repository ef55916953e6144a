//! Presence: a session against a scripted peer.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use realtime_engine::wire::{PresenceStatus, Window};
use realtime_engine::{ChannelId, ChannelState, Error, Event, RequestId};
use serde_json::Value;
use support::presence::{World, meta};
use support::{Bench, config};

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn a_snapshot_is_told_once_it_is_whole_and_changes_follow() {
    let mut world = World::watching();
    let subscribe = world.bench.last_sent("subscribe");
    assert_eq!((&subscribe["presence"], &subscribe["since"]), (&true.into(), &Value::Null));
    world.answer("e", 10, None);
    world.page("e", 10, 0, None, &[meta("r1", "ann", ""), meta("r2", "bob", "")]);
    world.page("e", 10, 1, Some(12), &[meta("r3", "cy", r#","state":{"n":1}"#)]);
    world.changed(11, &[meta("r4", "dan", "")], &[("r1", 300)]);
    assert!(world.told().is_empty());
    world.changed(12, &[], &[("nobody", 1)]);
    assert_eq!(world.brief(), ["+bob", "+cy", "+dan", "sync"]);
    world.changed(13, &[meta("r5", "eve", r#","verified":true,"status":"away","state":{"x":[null]}"#)], &[("r2", 400)]);
    let told = world.told();
    assert_eq!(
        told[0]["join"][0],
        serde_json::json!({"id": "eve", "verified": true, "status": "away", "state": {"x": [null]}, "joinedAt": 100, "lastSeen": 200, "connections": 1, "self": false})
    );
    assert_eq!((&told[0]["leave"][0]["id"], &told[0]["leave"][0]["lastSeen"]), (&"bob".into(), &400.into()));
    assert_eq!(told[0]["sync"], false);
    world.changed(13, &[], &[("r5", 1)]);
    assert!(world.told().is_empty(), "it was told before");
    assert_eq!(world.bench.session.stats().duplicates, 1);
    assert_eq!(world.bench.session.stats().unconsumed_bytes, 0);
}

#[test]
fn metas_with_one_key_are_one_member() {
    let mut world = World::synced(&[
        meta("r1", "ann", r#","status":"away","state":{"tab":1},"joined_at":50,"seen_at":90"#),
        meta("r2", "ann", r#","status":"busy","state":{"tab":2},"joined_at":60,"seen_at":80"#),
        meta("r3", "ann", r#","verified":true,"state":{"real":true}"#),
    ]);
    // The one of the greater seen_at is the last to have changed; a member that is verified is another.
    world.changed(11, &[meta("r4", "ann", r#","status":"away","state":{"tab":4},"joined_at":70,"seen_at":100"#)], &[]);
    let user = world.told().remove(0)["update"][0].clone();
    assert_eq!((&user["status"], &user["connections"]), (&"busy".into(), &3.into()));
    assert_eq!((&user["state"]["tab"], &user["joinedAt"], &user["lastSeen"]), (&4.into(), &50.into(), &100.into()));
    assert_eq!(user["verified"], false);
    world.changed(12, &[], &[("r4", 110)]);
    let user = world.told().remove(0)["update"][0].clone();
    assert_eq!((&user["state"]["tab"], &user["connections"]), (&1.into(), &2.into()));
    world.changed(13, &[], &[("r1", 120), ("r2", 130)]);
    let told = world.told().remove(0);
    assert_eq!((&told["leave"][0]["id"], &told["leave"][0]["verified"]), (&"ann".into(), &false.into()));
    assert_eq!(told["leave"][0]["lastSeen"], 130);
    // One whose key changes is gone from where it was.
    world.changed(14, &[meta("r3", "zoe", "")], &[]);
    assert_eq!(world.brief(), ["+zoe", "-ann"]);
}

#[test]
fn tracking_is_answered_and_said_again_after_a_reconnect() {
    let mut world = World::synced(&[]);
    world.track(Some("me"), PresenceStatus::Away, r#"{ "name": "Me" }"#).unwrap();
    let sent = world.bench.last_sent("track");
    assert_eq!((&sent["key"], &sent["status"], &sent["state"]["name"]), (&"me".into(), &"away".into(), &"Me".into()));
    assert!(!world.bench.session.tracked(world.id).unwrap().acknowledged);
    world.tracked("r7");
    assert_eq!(world.done(), [1]);
    assert!(world.bench.session.tracked(world.id).unwrap().acknowledged);
    let told = world.told().remove(0);
    assert_eq!((&told["join"][0]["self"], &told["join"][0]["status"]), (&true.into(), &"away".into()));
    let same = meta("r7", "me", r#","status":"away","state":{"name":"Me"}"#);
    world.changed(11, &[same, meta("r8", "me", r#","verified":true"#)], &[]);
    let told = world.told().remove(0);
    assert_eq!((told["join"].as_array().unwrap().len(), &told["join"][0]["self"]), (1, &false.into()));
    assert!(told["update"].as_array().unwrap().is_empty());
    world.reconnect();
    let sent = world.bench.last_sent("track");
    assert_eq!((&sent["key"], &sent["state"]["name"]), (&"me".into(), &"Me".into()));
    world.answer("e", 11, Some(true));
    assert_eq!(world.brief(), ["sync"]);
    world.tracked("r7");
    assert!(world.done().is_empty());
    assert!(world.brief().is_empty());
}

#[test]
fn the_answer_may_come_after_the_meta() {
    let mut world = World::synced(&[]);
    world.track(None, PresenceStatus::Online, "{}").unwrap();
    assert!(world.bench.last_sent("track")["key"].is_null());
    world.changed(11, &[meta("r7", "r7", "")], &[]);
    assert_eq!(world.told()[0]["join"][0]["self"], false);
    world.tracked("r7");
    assert_eq!(world.told()[0]["update"][0]["self"], true);
}

#[test]
fn a_watcher_sees_itself_before_its_request_is_done() {
    let mut world = World::synced(&[]);
    world.track(Some("me"), PresenceStatus::Busy, "{}").unwrap();
    world.tracked("r7");
    let at = |event: fn(&Event) -> bool| world.bench.events.iter().position(event).unwrap();
    assert!(at(|event| matches!(event, Event::Presence(_))) < at(|event| matches!(event, Event::Receipt(_))));
    assert_eq!(world.brief(), ["+me"]);
    world.untrack();
    world.untracked();
    assert_eq!(world.brief(), ["-me"]);
    world.changed(11, &[meta("r7", "me", r#","status":"busy""#)], &[]);
    world.changed(12, &[], &[("r7", 300)]);
    assert!(world.brief().is_empty());
}

#[test]
fn what_the_stream_tells_of_itself_late_is_not_shown_again() {
    let mut world = World::synced(&[]);
    world.track(Some("me"), PresenceStatus::Busy, "{}").unwrap();
    world.tracked_at("r7", 200);
    world.update(Some(PresenceStatus::Away), None).unwrap();
    world.tracked_at("r7", 300);
    assert_eq!(world.brief(), ["+me", "~me"]);
    world.changed(11, &[meta("r7", "me", r#","status":"busy""#)], &[]);
    assert!(world.brief().is_empty());
    world.changed(12, &[meta("r7", "me", r#","status":"away","seen_at":300"#)], &[]);
    assert!(world.brief().is_empty());
    world.changed(13, &[meta("r7", "me", r#","status":"online","seen_at":400"#)], &[]);
    assert_eq!(world.brief(), ["~me"]);
}

#[test]
fn what_was_answered_while_a_snapshot_comes_is_in_it() {
    let mut world = World::watching();
    world.track(Some("me"), PresenceStatus::Busy, "{}").unwrap();
    world.answer("e", 10, None);
    world.page("e", 10, 0, None, &[meta("r1", "ann", "")]);
    world.tracked_at("r7", 300);
    assert_eq!(world.done(), [1]);
    world.page("e", 10, 1, Some(10), &[meta("r7", "me", "")]);
    let told = world.told().remove(0);
    assert_eq!(told["join"][1]["status"], "busy");
    world.untrack();
    world.untracked();
    assert_eq!(world.brief(), ["-me"]);
}

#[test]
fn changes_of_mind_are_said_once_and_one_at_a_time() {
    let mut world = World::new(config());
    let (now, id) = (world.bench.now, world.id);
    for at in 0..100u64 {
        let state = format!(r#"{{"n":{at}}}"#);
        world.bench.session.track(now, RequestId(at), id, None, PresenceStatus::Online, state.as_bytes()).unwrap();
    }
    world.bench.drain();
    assert_eq!(world.bench.sent_of("track").len(), 1);
    world.requests = 100;
    world.update(Some(PresenceStatus::Busy), Some(r#"{"n":"new","m":{}}"#)).unwrap();
    world.update(None, Some(r#"{"k":1}"#)).unwrap();
    assert_eq!(world.bench.sent_of("track").len(), 1, "until the first is answered");
    world.tracked("r");
    assert_eq!(world.done().len(), 100);
    let sent = world.bench.last_sent("track");
    assert_eq!((&sent["status"], sent["state"].to_string().as_str()), (&"busy".into(), r#"{"k":1,"m":{},"n":"new"}"#));
    world.tracked("r");
    assert_eq!(world.done(), [101, 102]);
    let tracked = world.bench.session.tracked(world.id).unwrap();
    assert_eq!((tracked.status, &tracked.state[..]), (PresenceStatus::Busy, &br#"{"n":"new","m":{},"k":1}"#[..]));
    world.untrack();
    world.untracked();
    assert_eq!(world.done(), [103]);
    assert!(world.bench.session.tracked(world.id).is_none());
    world.untrack();
    assert_eq!(world.done(), [104], "where nothing is tracked there is nothing to say");
    assert_eq!(world.bench.sent_of("untrack").len(), 1);
    assert_eq!(code(world.update(None, None)), "not_tracked");
}

#[test]
fn what_makes_no_sense_fails_at_once() {
    let mut world = World::new(config());
    let online = PresenceStatus::Online;
    assert_eq!(code(world.track(Some(""), online, "{}")), "invalid_name");
    assert_eq!(code(world.track(None, online, "[]")), "invalid_record");
    assert_eq!(code(world.track(None, online, "{")), "malformed");
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(16 << 10));
    assert_eq!(code(world.track(None, online, &large)), "payload_too_large");
    world.track(None, online, r#"{"__proto__":1,"":2}"#).unwrap();
    assert_eq!(code(world.update(None, Some(&large))), "payload_too_large");
    assert_eq!(code(world.update(None, Some("7"))), "invalid_record");
    assert_eq!(world.bench.session.tracked(world.id).unwrap().state, r#"{"__proto__":1,"":2}"#);
    let channel = world.bench.session.channel("room").unwrap();
    let now = world.bench.now;
    assert_eq!(code(world.bench.session.untrack(now, RequestId(1), channel)), "invalid_option");
    assert_eq!(code(world.bench.session.presence("")), "invalid_name");
    world.bench.session.disconnect(now, Duration::ZERO);
    assert_eq!(code(world.track(None, online, "{}")), "closed");
}

#[test]
fn as_many_calls_wait_as_the_outbox_holds() {
    let mut config = config();
    config.queue_messages = 3;
    let mut bench = Bench::new(config);
    let id = bench.session.presence("room").unwrap();
    let mut world = World { bench, id, requests: 0 };
    for _ in 0..3 {
        world.track(None, PresenceStatus::Online, "{}").unwrap();
    }
    assert_eq!(code(world.track(None, PresenceStatus::Online, "{}")), "queue_full");
}

#[test]
fn a_refusal_leaves_what_was_accepted() {
    let mut world = World::new(config());
    world.track(None, PresenceStatus::Online, r#"{"n":1}"#).unwrap();
    world.refuse("track", "presence_full", "");
    assert_eq!(world.bench.failures(), [(1, "presence_full")]);
    assert!(world.bench.session.tracked(world.id).is_none());
    world.track(None, PresenceStatus::Online, r#"{"n":2}"#).unwrap();
    world.tracked("r");
    world.track(None, PresenceStatus::Online, r#"{"n":3}"#).unwrap();
    world.refuse("track", "forbidden", "");
    assert_eq!(world.bench.session.tracked(world.id).unwrap().state, r#"{"n":2}"#);
    // Said again without anybody who waits for it.
    world.reconnect();
    assert_eq!(world.bench.last_sent("track")["state"]["n"], 2);
    world.refuse("track", "forbidden", "");
    assert_eq!(world.bench.errors(), ["forbidden"]);
    assert!(world.bench.session.tracked(world.id).is_none());
}

#[test]
fn an_untrack_that_may_be_lost_is_said_again() {
    let mut world = World::new(config());
    world.track(None, PresenceStatus::Online, r#"{"n":1}"#).unwrap();
    world.tracked("r");
    world.bench.session.disconnect(world.bench.now, Duration::ZERO);
    world.bench.clear();
    world.bench.connect();
    world.untrack();
    assert!(world.done().is_empty(), "the server may have it yet, if it did not hear of the end");
    world.bench.open_v1();
    assert!(world.bench.sent_of("track").is_empty());
    world.untracked();
    assert_eq!(world.done(), [2]);
    // What was taken back does not come again with a later failure.
    world.track(None, PresenceStatus::Online, r#"{"n":2}"#).unwrap();
    world.bench.session.disconnect(world.bench.now, Duration::ZERO);
    world.bench.drain();
    assert!(world.bench.session.tracked(world.id).is_none());
}

#[test]
fn a_refusal_for_now_is_tried_again() {
    let mut world = World::new(config());
    world.track(None, PresenceStatus::Online, r#"{"n":1}"#).unwrap();
    world.refuse("track", "rate_limited", r#","retry_after":300"#);
    world.bench.clear();
    world.update(None, Some(r#"{"n":2}"#)).unwrap();
    world.bench.pass(Duration::from_millis(299));
    assert!(world.bench.sent_of("track").is_empty());
    world.bench.pass(Duration::from_millis(1));
    assert_eq!(world.bench.last_sent("track")["state"]["n"], 2);
    world.tracked("r");
    assert_eq!(world.done(), [1, 2]);
}

#[test]
fn offline_it_is_kept_for_the_connection_to_come() {
    let mut bench = Bench::new(config());
    let id = bench.session.presence("room").unwrap();
    let mut world = World { bench, id, requests: 0 };
    world.track(Some("me"), PresenceStatus::Online, "{}").unwrap();
    world.bench.connect();
    world.bench.open_v1();
    world.tracked("r");
    assert_eq!(world.done(), [1]);
    // Untracked while the connection is gone: the server still has it, and is told.
    world.bench.closed(None);
    world.untrack();
    assert!(world.done().is_empty());
    world.bench.pass_to_deadline();
    world.bench.clear();
    world.bench.open_v1();
    assert!(world.bench.sent_of("track").is_empty());
    world.untracked();
    assert_eq!(world.done(), [2]);
}

#[test]
fn a_deliberate_disconnect_says_untrack_first() {
    let mut world = World::new(config());
    world.track(None, PresenceStatus::Online, r#"{"n":1}"#).unwrap();
    world.tracked("r");
    world.track(None, PresenceStatus::Online, r#"{"n":2}"#).unwrap();
    world.bench.session.disconnect(world.bench.now, Duration::ZERO);
    world.bench.drain();
    assert_eq!(world.bench.sent_of("untrack").len(), 1);
    assert_eq!(world.bench.closes.len(), 1);
    assert_eq!(world.bench.failures(), [(2, "closed")]);
    world.bench.clear();
    world.bench.connect();
    world.bench.open_v1();
    assert_eq!(world.bench.last_sent("track")["state"]["n"], 1, "what was accepted lasts over connections");
}

#[test]
fn a_snapshot_of_the_same_epoch_is_told_as_the_differences() {
    let mut world = World::synced(&[meta("r1", "ann", ""), meta("r2", "bob", ""), meta("r3", "cy", "")]);
    world.reconnect();
    assert_eq!(world.bench.last_sent("subscribe")["since"]["offset"], 10);
    world.answer("e", 50, Some(false));
    world.page("e", 50, 0, None, &[meta("r1", "ann", "")]);
    // Cut in the middle: the next connection has no position to ask for.
    world.reconnect();
    assert!(world.bench.last_sent("subscribe")["since"].is_null());
    world.answer("e", 50, None);
    world.page(
        "e",
        50,
        0,
        Some(50),
        &[meta("r1", "ann", ""), meta("r2", "bob", r#","status":"busy""#), meta("r4", "dan", "")],
    );
    assert_eq!(world.brief(), ["+dan", "~bob", "-cy", "sync"]);
}

#[test]
fn after_a_restart_of_the_server_those_who_are_not_back_yet_are_kept_for_the_grace_period() {
    let mut world =
        World::synced(&[meta("r1", "ann", ""), meta("r2", "bob", ""), meta("r3", "cy", ""), meta("r4", "cy", "")]);
    world.reconnect();
    world.answer("new", 1, Some(false));
    world.page("new", 1, 0, Some(1), &[meta("n1", "ann", "")]);
    assert_eq!(world.brief(), ["sync"], "ann is back under another name, the others may yet be");
    world.changed(2, &[meta("n3", "cy", "")], &[]);
    assert!(world.brief().is_empty(), "one of two");
    world.bench.pass(Duration::from_millis(9_999));
    assert!(world.brief().is_empty());
    world.bench.pass(Duration::from_millis(1));
    assert_eq!(world.brief(), ["~cy", "-bob"]);
    world.changed(3, &[], &[("n1", 1), ("n3", 1)]);
    assert_eq!(world.brief(), ["-ann", "-cy"]);
}

#[test]
fn of_several_metas_the_one_that_was_said_last_shows_in_whatever_order_they_come() {
    let old = |reference: &str| meta(reference, "ann", r#","state":{"n":1},"seen_at":300"#);
    let new = |reference: &str| meta(reference, "ann", r#","state":{"n":2},"seen_at":301"#);
    for metas in [[old("a"), new("b")], [new("a"), old("b")]] {
        let mut changed = World::synced(&[]);
        changed.told();
        changed.changed(11, &metas, &[]);
        let mut synced = World::watching();
        synced.answer("e", 10, None);
        synced.page("e", 10, 0, Some(10), &metas);
        for mut world in [changed, synced] {
            assert_eq!(world.told()[0]["join"][0]["state"]["n"], 2);
        }
    }
}

#[test]
fn where_nobody_watches_nobody_is_told_that_the_grace_period_is_over() {
    let mut world = World::synced(&[meta("r1", "ann", "")]);
    world.reconnect();
    world.answer("new", 0, Some(false));
    world.page("new", 0, 0, Some(0), &[]);
    assert_eq!(world.brief(), ["sync"]);
    world.bench.session.unsubscribe(world.bench.now, world.id);
    world.bench.pass(Duration::from_secs(20));
    assert!(world.brief().is_empty());
    world.watch();
    world.answer("new", 0, None);
    world.page("new", 0, 0, Some(0), &[]);
    assert_eq!(world.brief(), ["-ann", "sync"]);
}

#[test]
fn a_clock_that_jumps_only_ends_the_grace_period() {
    let mut world = World::synced(&[meta("r1", "ann", "")]);
    world.reconnect();
    world.answer("new", 1, Some(false));
    world.page("new", 1, 0, Some(1), &[]);
    world.bench.now = world.bench.now + Duration::from_secs(86_400);
    world.changed(2, &[meta("n1", "ann", "")], &[]);
    assert_eq!(world.brief(), ["sync"], "she came in the same moment");
    world.page("newer", 1, 0, Some(1), &[]);
    world.bench.now = world.bench.now + Duration::from_secs(86_400);
    world.bench.input(realtime_engine::Input::Tick);
    assert_eq!(world.brief(), ["sync", "-ann"]);
}

#[test]
fn a_second_restart_within_the_grace_period_does_not_prolong_it() {
    let mut world = World::synced(&[meta("r1", "ann", "")]);
    world.reconnect();
    world.answer("two", 0, Some(false));
    world.page("two", 0, 0, Some(0), &[meta("r2", "bob", "")]);
    world.bench.pass(Duration::from_secs(6));
    world.page("three", 0, 0, Some(0), &[]);
    assert_eq!(world.brief(), ["+bob", "sync", "sync"]);
    world.bench.pass(Duration::from_secs(4));
    assert_eq!(world.brief(), ["-ann"]);
    world.bench.pass(Duration::from_secs(6));
    assert_eq!(world.brief(), ["-bob"]);
}

#[test]
fn watching_ends_and_begins_again_with_the_differences() {
    let mut world = World::synced(&[meta("r1", "ann", "")]);
    world.bench.session.unsubscribe(world.bench.now, world.id);
    world.bench.drain();
    assert_eq!(world.bench.last_sent("unsubscribe")["presence"], true);
    world.changed(11, &[meta("r2", "bob", "")], &[]);
    assert_eq!(world.bench.session.stats().unroutable, 1);
    world.watch();
    assert!(world.bench.last_sent("subscribe")["since"].is_null());
    world.answer("e", 11, None);
    world.page("e", 11, 0, Some(11), &[meta("r2", "bob", "")]);
    assert_eq!(world.brief(), ["+bob", "-ann", "sync"]);
}

#[test]
fn a_peer_that_breaks_the_order_is_asked_anew() {
    let holes: &[fn(&mut World)] = &[
        |world| world.page("e", 20, 1, Some(20), &[]),
        |world| world.changed(12, &[], &[("r1", 1)]),
        |world| {
            world.reconnect();
            world.answer("e", 9, Some(true));
        },
        |world| {
            world.reconnect();
            world.answer("other", 10, Some(true));
        },
    ];
    for (at, hole) in holes.iter().enumerate() {
        let mut world = World::synced(&[meta("r1", "ann", "")]);
        hole(&mut world);
        assert_eq!(world.bench.errors(), ["protocol_error"], "{at}");
        assert!(world.bench.last_sent("subscribe")["since"].is_null(), "{at}");
        world.answer("e", 20, None);
        world.page("e", 20, 0, Some(20), &[meta("r1", "ann", "")]);
        assert_eq!(world.brief(), ["sync"], "{at}");
        world.changed(21, &[], &[("r1", 1)]);
        assert_eq!(world.brief(), ["-ann"], "{at}");
    }
}

#[test]
fn snapshots_are_credited_by_the_session_and_changes_by_the_application() {
    let mut config = config();
    config.inbox = Window { connection: 4000, channel: 600 };
    let mut world = World::new(config);
    world.watch();
    world.answer("e", 10, None);
    for part in 0..10 {
        world.page("e", 10, part, (part == 9).then_some(10), &[meta(&format!("r{part}"), &format!("k{part}"), "")]);
    }
    let credit: u64 = world.bench.sent_of("credit").iter().map(|credit| credit["bytes"].as_u64().unwrap()).sum();
    assert!(credit > 1500, "{credit}");
    assert!(world.bench.sent_of("credit").iter().all(|credit| credit["presence"] == true));
    assert_eq!(world.told().len(), 1);
    world.changed(11, &[meta("x", "x", "")], &[]);
    assert!(world.bench.session.stats().unconsumed_bytes > 100);
    world.told();
    assert_eq!(world.bench.session.stats().unconsumed_bytes, 0);
}

#[test]
fn more_members_than_there_is_room_for_fail_the_stream() {
    let mut config = config();
    config.replica_bytes = 2_000;
    let mut world = World::new(config);
    world.watch();
    world.answer("e", 10, None);
    world.page("e", 10, 0, Some(10), &[]);
    for at in 0..100 {
        world.changed(11 + at, &[meta(&format!("r{at}"), "k", "")], &[]);
    }
    assert_eq!(world.bench.session.channel_state(world.id), ChannelState::Failed);
}

#[test]
fn a_diff_among_ten_thousand_members_tells_what_changed() {
    let mut world = World::watching();
    world.answer("e", 10, None);
    for part in 0..20 {
        let metas: Vec<_> = (0..500).map(|at| meta(&format!("r{part}-{at}"), &format!("k{part}-{at}"), "")).collect();
        world.page("e", 10, part, (part == 19).then_some(10), &metas);
    }
    assert_eq!(world.brief().len(), 10_001);
    for at in 0..500u64 {
        world.changed(11 + at, &[meta(&format!("r3-{at}"), &format!("k3-{at}"), r#","status":"away""#)], &[]);
    }
    let brief = world.brief();
    assert_eq!((brief.len(), brief[0].as_str(), brief[499].as_str()), (500, "~k3-0", "~k3-499"));
}

#[test]
fn a_channel_that_is_subscribed_again_and_again_tells_each_time() {
    let mut world = World::synced(&[]);
    let messages = world.bench.subscribed("room", "m", 3);
    for _ in 0..3 {
        world.bench.closed(None);
        let states = |world: &World, of: ChannelId| {
            let states = world.bench.events.iter().filter_map(|event| match event {
                Event::Channel { channel, state, .. } if *channel == of => Some(*state),
                _ => None,
            });
            states.collect::<Vec<_>>()
        };
        assert_eq!(states(&world, world.id), [ChannelState::Resubscribing]);
        assert_eq!(states(&world, messages), [ChannelState::Resubscribing]);
        world.bench.pass_to_deadline();
        world.bench.clear();
        world.bench.open_v1();
        let subscribes = world.bench.sent_of("subscribe");
        for subscribe in subscribes {
            let (stream, epoch) = if subscribe["presence"] == true { (r#","presence":true"#, "e") } else { ("", "m") };
            let (id, offset) = (&subscribe["id"], &subscribe["since"]["offset"]);
            world.bench.text(&format!(
                r#"{{"type":"subscribed","id":{id},"channel":"room"{stream},"epoch":"{epoch}","offset":{offset},"recovered":true}}"#
            ));
        }
        assert_eq!(states(&world, world.id), [ChannelState::Subscribed]);
        assert_eq!(states(&world, messages), [ChannelState::Subscribed]);
        world.bench.clear();
    }
}
