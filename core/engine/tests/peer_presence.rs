//! Presence among peers: sessions over a relay that only hands messages on.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/relay.rs"]
#[allow(dead_code, unreachable_pub, missing_debug_implementations)]
mod relay;
mod support;

use std::time::Duration;

use realtime_engine::wire::{Frame, PresenceStatus};
use realtime_engine::{ChannelState, Event, RequestId};
use relay::{Net, Relay};
use support::{Bench, config};

fn watch(net: &mut Net, node: usize) {
    let id = net.presence(node);
    net.call(node, |session, now| session.watch(now, id));
}

fn track(net: &mut Net, node: usize, key: Option<&str>, state: &str) {
    let (id, request) = (net.presence(node), net.request(node));
    net.call(node, |session, now| session.track(now, request, id, key, PresenceStatus::Online, state.as_bytes()))
        .unwrap();
}

/// A client that is there, as `c<number>`.
fn present(net: &mut Net) -> usize {
    let node = net.join(0);
    watch(net, node);
    track(net, node, Some(&format!("c{node}")), "{}");
    node
}

fn keys(net: &Net, node: usize) -> Vec<&str> {
    net.nodes[node].users.keys().map(String::as_str).collect()
}

fn seconds(net: &mut Net, seconds: u64) {
    net.pass(Duration::from_secs(seconds));
}

fn receipts(net: &Net, node: usize) -> Vec<(u64, bool)> {
    let receipts = net.nodes[node].events.iter().filter_map(|event| match event {
        Event::Receipt(receipt) => Some((receipt.request.0, receipt.acknowledged)),
        _ => None,
    });
    receipts.collect()
}

#[test]
fn a_newcomer_learns_who_is_there_and_the_others_of_it() {
    for echo in [false, true] {
        for stamps in [false, true] {
            let mut net = Net::new(Relay { echo, stamps, loss: 0 }, 1);
            let (first, second) = (present(&mut net), present(&mut net));
            seconds(&mut net, 2);
            assert_eq!(receipts(&net, first), [(1, false)], "written, not acknowledged");
            let third = present(&mut net);
            seconds(&mut net, 2);
            for node in [first, second, third] {
                assert_eq!(keys(&net, node), ["c0", "c1", "c2"], "{echo} {stamps}");
                assert_eq!(net.nodes[node].told.iter().filter(|told| *told == "sync").count(), 1);
                assert!(net.nodes[node].users.values().all(|user| user["verified"] == false));
                let own: Vec<_> = net.nodes[node].users.values().filter(|user| user["self"] == true).collect();
                assert_eq!(own.len(), 1);
                assert_eq!(own[0]["id"], format!("c{node}"));
                let messages = |event: &Event| matches!(event, Event::Message(_) | Event::Direct(_) | Event::Error(_));
                assert!(!net.nodes[node].events.iter().any(messages), "{:?}", net.nodes[node].events);
            }
            assert_eq!(net.nodes[third].told.last().map(String::as_str), Some("sync"));
        }
    }
}

#[test]
fn what_changes_is_told_and_heartbeats_are_not() {
    let mut net = Net::new(Relay::default(), 2);
    let (first, second) = (present(&mut net), present(&mut net));
    seconds(&mut net, 2);
    net.nodes[second].told.clear();
    let (id, request) = (net.presence(first), net.request(first));
    net.call(first, |session, now| {
        session.update_presence(now, request, id, Some(PresenceStatus::Away), Some(br#"{"at": 1}"#)).unwrap();
    });
    seconds(&mut net, 60);
    assert_eq!(net.nodes[second].told, ["~c0"]);
    let user = &net.nodes[second].users["c0"];
    assert_eq!((user["status"].as_str(), user["state"].to_string().as_str()), (Some("away"), r#"{"at":1}"#));
    assert!(user["lastSeen"].as_u64() > user["joinedAt"].as_u64());
    assert!(net.sent["presence:announce"] >= 10, "{:?}", net.sent);
    let request = net.request(first);
    net.call(first, |session, now| session.untrack(now, request, id)).unwrap();
    seconds(&mut net, 1);
    assert_eq!((keys(&net, first), keys(&net, second)), (vec!["c1"], vec!["c1"]));
    assert_eq!(receipts(&net, first).len(), 3);
    let announced = net.sent["presence:announce"];
    net.cut(second);
    seconds(&mut net, 40);
    assert_eq!(net.sent["presence:announce"], announced, "one who is gone says nothing");
    assert_eq!(keys(&net, first), Vec::<&str>::new());
}

#[test]
fn silence_ends_presence_and_a_short_absence_does_not() {
    let mut net = Net::new(Relay::default(), 3);
    let (first, second) = (present(&mut net), present(&mut net));
    seconds(&mut net, 5);
    net.nodes[first].told.clear();
    net.cut(second);
    seconds(&mut net, 8);
    net.restore(second);
    seconds(&mut net, 15);
    assert_eq!(net.nodes[first].told, Vec::<String>::new());
    assert_eq!(keys(&net, second), ["c0", "c1"]);
    net.cut(second);
    seconds(&mut net, 41);
    assert_eq!(net.nodes[first].told, ["-c1"]);
    // Who hears nothing knows nothing of the others.
    assert_eq!(keys(&net, second), ["c0", "c1"]);
    net.cut(first);
    net.restore(second);
    seconds(&mut net, 70);
    assert_eq!(keys(&net, second), ["c1"]);
}

#[test]
fn who_disconnects_says_so() {
    let mut net = Net::new(Relay::default(), 4);
    let (first, second) = (present(&mut net), present(&mut net));
    seconds(&mut net, 2);
    net.call(second, |session, now| session.disconnect(now, Duration::ZERO));
    seconds(&mut net, 1);
    assert!(net.is_closed(second));
    assert_eq!(keys(&net, first), ["c0"]);
    net.call(second, |session, now| session.connect(now));
    seconds(&mut net, 2);
    assert_eq!(keys(&net, first), ["c0", "c1"]);
}

#[test]
fn one_who_watches_is_not_there_and_one_who_tracks_need_not_watch() {
    let mut net = Net::new(Relay::default(), 5);
    let (watcher, tracker) = (net.join(0), net.join(0));
    track(&mut net, tracker, None, "{}");
    watch(&mut net, watcher);
    seconds(&mut net, 2);
    assert_eq!(net.nodes[watcher].users.len(), 1);
    assert_eq!(net.nodes[tracker].told, Vec::<String>::new());
    let third = net.join(0);
    watch(&mut net, third);
    seconds(&mut net, 1);
    assert_eq!(net.nodes[third].users.len(), 1, "who is there answers");
    // It begins to watch later: itself is part of what it sees.
    watch(&mut net, tracker);
    seconds(&mut net, 1);
    assert_eq!(net.nodes[tracker].users.len(), 1);
    assert!(net.nodes[tracker].users.values().all(|user| user["self"] == true));
    assert_eq!(net.sent.get("presence:join"), Some(&3));
}

#[test]
fn what_nobody_watches_stays_as_it_was_told() {
    let mut net = Net::new(Relay::default(), 6);
    let (first, second) = (present(&mut net), present(&mut net));
    seconds(&mut net, 2);
    let (id, request) = (net.presence(first), net.request(first));
    net.call(first, |session, now| session.unsubscribe(now, id));
    net.call(first, |session, now| session.untrack(now, request, id)).unwrap();
    net.call(second, |session, now| session.disconnect(now, Duration::ZERO));
    seconds(&mut net, 60);
    assert_eq!(keys(&net, first), ["c0", "c1"]);
    watch(&mut net, first);
    assert_eq!(keys(&net, first), ["c1"]);
    seconds(&mut net, 31);
    assert_eq!(keys(&net, first), Vec::<&str>::new());
}

#[test]
fn clients_with_one_key_are_one_member() {
    let mut net = Net::new(Relay::default(), 7);
    let watcher = net.join(0);
    watch(&mut net, watcher);
    let tabs: Vec<usize> = (0..2)
        .map(|tab| {
            let node = net.join(0);
            track(&mut net, node, Some("ada"), &format!(r#"{{"tab":{tab}}}"#));
            seconds(&mut net, 1);
            node
        })
        .collect();
    let late = net.join(0);
    watch(&mut net, late);
    seconds(&mut net, 15);
    for node in [watcher, late] {
        let ada = &net.nodes[node].users["ada"];
        assert_eq!((&ada["connections"], &ada["state"]["tab"]), (&2.into(), &1.into()), "the same to all");
    }
    net.call(tabs[1], |session, now| session.disconnect(now, Duration::ZERO));
    seconds(&mut net, 1);
    assert_eq!(net.nodes[watcher].users["ada"]["state"]["tab"], 0);
}

#[test]
fn a_crowd_that_joins_at_once_sends_messages_that_grow_with_its_size() {
    let mut sent = vec![];
    for (size, within) in [(50, 0), (200, 0), (50, 2000), (200, 2000)] {
        let mut net = Net::new(Relay { echo: true, ..Relay::default() }, 8);
        for _ in 0..size {
            present(&mut net);
            net.pass(Duration::from_millis(within / size));
        }
        seconds(&mut net, 6);
        assert_eq!(net.nodes[0].users.len() as u64, size);
        assert_eq!(net.nodes[size as usize - 1].users.len() as u64, size);
        sent.push(net.sent.values().sum::<u64>());
        println!("{size} within {within} ms: {:?}", net.sent);
        assert!(net.sent.values().sum::<u64>() <= 8 * size, "{:?}", net.sent);
    }
    assert!(sent[1] <= 5 * sent[0], "{sent:?}");
    assert!(sent[3] <= 5 * sent[2], "{sent:?}");
}

#[test]
fn presence_becomes_who_is_there_whatever_was_lost() {
    for seed in 0..12 {
        let mut net = Net::new(Relay { echo: seed % 2 == 0, stamps: seed % 3 != 0, loss: 100 }, seed);
        let nodes: Vec<usize> = (0..6).map(|_| present(&mut net)).collect();
        let mut up = [true; 6];
        let mut tracked = [true; 6];
        for _ in 0..40 {
            let node = net.random(6) as usize;
            let id = net.presence(nodes[node]);
            match net.random(5) {
                0 => {
                    net.cut(node);
                    up[node] = false;
                }
                1 | 2 => {
                    net.restore(node);
                    up[node] = true;
                }
                3 => {
                    let request = net.request(node);
                    net.call(node, |session, now| session.untrack(now, request, id)).unwrap();
                    tracked[node] = false;
                }
                _ => {
                    track(&mut net, node, Some(&format!("c{node}")), "{}");
                    tracked[node] = true;
                }
            }
            let wait = net.random(9000);
            net.pass(Duration::from_millis(wait));
        }
        net.relay.loss = 0;
        // The longest wait of the backoff, and then silence and a heartbeat.
        seconds(&mut net, 31 + 30 + 11);
        let alive: Vec<String> =
            (0..6).filter(|node| up[*node] && tracked[*node]).map(|node| format!("c{node}")).collect();
        for node in (0..6).filter(|node| up[*node]) {
            assert_eq!(keys(&net, node), alive, "seed {seed}, node {node}");
        }
    }
}

fn watching() -> (Bench, realtime_engine::ChannelId) {
    let mut bench = Bench::connected_plain(config());
    let id = bench.session.presence("room").unwrap();
    bench.session.watch(bench.now, id);
    bench.drain();
    (bench, id)
}

fn event(bench: &mut Bench, kind: &str, payload: &str) {
    bench.text(&format!(r#"{{"type":"{kind}","payload":{payload},"channel":"room"}}"#));
}

#[test]
fn the_channel_is_subscribed_once_and_left_with_the_last_of_its_streams() {
    let (mut bench, id) = watching();
    assert_eq!(bench.session.channel_state(id), ChannelState::Subscribed);
    assert_eq!(bench.sent().iter().map(|m| m["type"].clone()).collect::<Vec<_>>(), ["subscribe", "channel_message"]);
    // What an application did not ask for it does not get.
    bench.clear();
    event(&mut bench, "said", "1");
    assert!(bench.payloads().is_empty());
    let room = bench.subscribe("room");
    assert!(bench.sent().is_empty());
    event(&mut bench, "said", "2");
    assert_eq!(bench.payloads(), ["2"]);
    bench.session.unsubscribe(bench.now, id);
    bench.drain();
    assert!(bench.sent().is_empty());
    event(&mut bench, "presence:leave", r#"{"ref":"x"}"#);
    assert_eq!(bench.payloads(), ["2", r#"{"ref":"x"}"#], "without presence it is a message like others");
    bench.session.unsubscribe(bench.now, room);
    bench.drain();
    assert_eq!(bench.sent_of("unsubscribe").len(), 1);
}

#[test]
fn what_makes_no_sense_is_left_out_and_counted() {
    let (mut bench, _) = watching();
    bench.clear();
    let long = "k".repeat(256);
    let large = format!(r#"{{"s":"{}"}}"#, "x".repeat(17 << 10));
    let broken = [
        "null".to_owned(),
        "[]".to_owned(),
        r#"{"ref":7,"key":"a","status":"online","state":{},"joined_at":1}"#.to_owned(),
        r#"{"ref":"","key":"a","status":"online","state":{},"joined_at":1}"#.to_owned(),
        r#"{"ref":"r","key":"","status":"online","state":{},"joined_at":1}"#.to_owned(),
        format!(r#"{{"ref":"r","key":"{long}","status":"online","state":{{}},"joined_at":1}}"#),
        r#"{"ref":"r","key":"a","status":"asleep","state":{},"joined_at":1}"#.to_owned(),
        r#"{"ref":"r","key":"a","status":"online","state":[],"joined_at":1}"#.to_owned(),
        r#"{"ref":"r","key":"a","status":"online","state":{},"joined_at":-1}"#.to_owned(),
        r#"{"ref":"r","key":"a","status":"online","state":{},"joined_at":1e300}"#.to_owned(),
        format!(r#"{{"ref":"r","key":"a","status":"online","state":{large},"joined_at":1}}"#),
    ];
    for payload in &broken {
        event(&mut bench, "presence:announce", payload);
    }
    assert_eq!(bench.session.stats().malformed, broken.len() as u64);
    assert_eq!(bench.errors().len(), broken.len());
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Presence(_))));
    let state = r#"{"__proto__":{"x":1}}"#;
    let verified =
        format!(r#"{{"ref":"r","key":"__proto__","verified":true,"status":"busy","state":{state},"joined_at":1}}"#);
    event(&mut bench, "presence:announce", &verified);
    let told = bench.events.iter().find_map(|event| match event {
        Event::Presence(change) => Some(String::from_utf8(change.json.to_vec()).unwrap()),
        _ => None,
    });
    let told = told.unwrap();
    assert!(told.contains(r#""id":"__proto__","verified":false"#) && told.contains(state), "{told}");
}

#[test]
fn members_are_bounded() {
    let (mut bench, id) = watching();
    bench.clear();
    for number in 0..10_001 {
        let meta = format!(r#"{{"ref":"r{number}","key":"k{number}","status":"online","state":{{}},"joined_at":1}}"#);
        event(&mut bench, "presence:announce", &meta);
    }
    assert_eq!(bench.errors(), ["presence_full"]);
    let told = bench.events.iter().filter(|event| matches!(event, Event::Presence(_))).count();
    assert_eq!(told, 10_000);
    bench.session.unsubscribe(bench.now, id);
}

#[test]
fn what_was_written_is_done_and_what_was_not_is_said_again() {
    let (mut bench, id) = watching();
    bench.flushed();
    bench.clear();
    bench.session.track(bench.now, RequestId(1), id, Some("me"), PresenceStatus::Online, b"{}").unwrap();
    bench.drain();
    assert!(bench.receipts().is_empty());
    assert!(!bench.session.tracked(id).unwrap().acknowledged);
    bench.closed(None);
    bench.pass_to_deadline();
    bench.clear();
    bench.opened(None);
    let joins: Vec<_> = bench.sent_of("channel_message");
    assert_eq!((joins.len(), &joins[0]["payload"]["event"]), (1, &"presence:join".into()));
    assert_eq!(joins[0]["payload"]["payload"]["key"], "me");
    bench.flushed();
    assert_eq!(bench.receipts().len(), 1);
    assert!(!bench.receipts()[0].acknowledged);
    assert!(bench.session.tracked(id).unwrap().acknowledged);
    assert!(!bench.frames.iter().any(|frame| matches!(frame, Frame::Binary(_))));
}

mod any_bytes {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Whatever a peer sends, the session goes on.
        #[test]
        fn are_survived(
            kind in prop::sample::select(vec!["join", "announce", "update", "leave"]),
            field in prop::sample::select(vec!["ref", "key", "status", "state", "joined_at", "seen_at"]),
            value in prop::sample::select(vec![
                "null", "true", "-1", "18446744073709551615", "1e400", r#""online""#, r#""\ud800""#, "{}", "[[]]",
                r#"{"__proto__":null}"#, r#""__proto__""#,
            ]),
            noise in "[ -~]{0,40}",
        ) {
            let (mut bench, _) = watching();
            let mut fields: Vec<(&str, &str)> = vec![
                ("ref", r#""r""#), ("key", r#""k""#), ("status", r#""busy""#), ("state", "{}"),
                ("joined_at", "5"), ("seen_at", "6"),
            ];
            fields.retain(|(name, _)| *name != field);
            fields.push((field, value));
            let body: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            event(&mut bench, &format!("presence:{kind}"), &format!("{{{}}}", body.join(",")));
            event(&mut bench, &format!("presence:{kind}"), &noise);
            bench.pass(Duration::from_secs(45));
            let stats = bench.session.stats();
            prop_assert!(stats.malformed <= 2);
            prop_assert_eq!(bench.errors().len() as u64, stats.malformed);
        }
    }
}
