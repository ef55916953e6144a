//! Collections among peers: sessions over a relay that only hands messages on.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/relay.rs"]
#[allow(dead_code, unreachable_pub, missing_debug_implementations)]
mod relay;
mod support;

use std::time::Duration;

use realtime_engine::{Change, ChannelId, ChannelState, Error, Event, Mutation, RequestId};
use relay::{Net, Relay};
use support::{Bench, config};

fn tasks(net: &mut Net, node: usize) -> ChannelId {
    net.nodes[node].session.collection("room", "tasks").unwrap()
}

/// A client that follows the collection.
fn follower(net: &mut Net, skew: i64) -> usize {
    let node = net.join(skew);
    let id = tasks(net, node);
    net.call(node, |session, now| session.watch(now, id));
    node
}

fn mutate(net: &mut Net, node: usize, mutation: Mutation<'_>) -> Result<RequestId, Error> {
    let (id, request) = (tasks(net, node), net.request(node));
    let at = net.now;
    let change = net.call(node, |session, now| {
        let change = session.mutate(now, request, id, mutation, None);
        assert!(at > 0);
        change
    })?;
    net.apply(node, &change);
    Ok(request)
}

fn insert(net: &mut Net, node: usize, record: &str) {
    mutate(net, node, Mutation::Insert { record: record.as_bytes() }).unwrap();
}

fn update(net: &mut Net, node: usize, key: &str, patch: &str) {
    mutate(net, node, Mutation::Update { key, patch: patch.as_bytes() }).unwrap();
}

fn shows(net: &Net, node: usize) -> Vec<&str> {
    net.nodes[node].data.values().map(String::as_str).collect()
}

fn seconds(net: &mut Net, seconds: u64) {
    net.pass(Duration::from_secs(seconds));
}

fn synced(net: &Net, node: usize) -> Vec<(&'static str, u64)> {
    let synced = net.nodes[node].events.iter().filter_map(|event| match event {
        Event::Synced { reason, records, .. } => Some((*reason, *records)),
        _ => None,
    });
    synced.collect()
}

fn outcomes(net: &Net, node: usize) -> Vec<String> {
    let outcomes = net.nodes[node].events.iter().filter_map(|event| match event {
        Event::Receipt(receipt) => Some(format!("{} {}", receipt.request.0, receipt.acknowledged)),
        Event::SendFailed { request, error } => Some(format!("{} {}", request.0, error.code())),
        _ => None,
    });
    outcomes.collect()
}

#[test]
fn changes_reach_the_others_and_a_newcomer_gets_the_state() {
    for echo in [false, true] {
        for stamps in [false, true] {
            let mut net = Net::new(Relay { echo, stamps, loss: 0 }, 1);
            let (first, second) = (follower(&mut net, 0), follower(&mut net, 0));
            seconds(&mut net, 2);
            insert(&mut net, first, r#"{"id":"a","n":1}"#);
            insert(&mut net, first, r#"{"id":"b","n":1}"#);
            assert_eq!(shows(&net, first).len(), 2, "shown at once");
            seconds(&mut net, 1);
            update(&mut net, second, "a", r#"{"n":2,"__proto__":{"x":1}}"#);
            mutate(&mut net, second, Mutation::Remove { key: "b" }).unwrap();
            seconds(&mut net, 1);
            let third = follower(&mut net, 0);
            seconds(&mut net, 2);
            for node in [first, second, third] {
                assert_eq!(shows(&net, node), [r#"{"id":"a","n":2,"__proto__":{"x":1}}"#], "{echo} {stamps} {node}");
                assert_eq!(synced(&net, node), [("initial", u64::from(node == third))]);
                let others = |event: &Event| matches!(event, Event::Message(_) | Event::Direct(_) | Event::Error(_));
                assert!(!net.nodes[node].events.iter().any(others));
            }
            assert_eq!(outcomes(&net, first), ["1 false", "2 false"]);
            // One answers for all, unless another has begun before that came.
            assert!(net.sent["sync:state"] <= 2, "{:?}", net.sent);
        }
    }
}

#[test]
fn what_was_changed_apart_meets_again() {
    let mut net = Net::new(Relay::default(), 2);
    let (first, second) = (follower(&mut net, 0), follower(&mut net, 0));
    seconds(&mut net, 2);
    insert(&mut net, first, r#"{"id":"both","by":0}"#);
    insert(&mut net, first, r#"{"id":"gone","by":0}"#);
    seconds(&mut net, 1);
    net.cut(second);
    update(&mut net, second, "both", r#"{"by":2}"#);
    insert(&mut net, second, r#"{"id":"second"}"#);
    seconds(&mut net, 1);
    update(&mut net, first, "both", r#"{"by":1}"#);
    insert(&mut net, first, r#"{"id":"first"}"#);
    mutate(&mut net, first, Mutation::Remove { key: "gone" }).unwrap();
    seconds(&mut net, 5);
    assert_eq!(net.nodes[second].data["both"], r#"{"id":"both","by":2}"#);
    net.restore(second);
    seconds(&mut net, 40);
    for node in [first, second] {
        // The first wrote last, although it was heard of first.
        assert_eq!(shows(&net, node), [r#"{"id":"both","by":1}"#, r#"{"id":"first"}"#, r#"{"id":"second"}"#]);
    }
    assert_eq!(outcomes(&net, second), ["1 false", "2 false"]);
    assert_eq!(synced(&net, second), [("initial", 0), ("resync", 3)]);
}

#[test]
fn a_clock_far_ahead_is_taken_and_can_be_written_over() {
    let mut net = Net::new(Relay::default(), 3);
    let hour = 3_600_000;
    let (right, ahead, behind) = (follower(&mut net, 0), follower(&mut net, hour), follower(&mut net, -hour));
    seconds(&mut net, 2);
    let mut last = String::new();
    for (round, node) in [ahead, right, behind, right, ahead, behind, right].into_iter().enumerate() {
        last = format!(r#"{{"id":"a","round":{round}}}"#);
        if round == 0 {
            insert(&mut net, node, &last);
        } else {
            update(&mut net, node, "a", &format!(r#"{{"round":{round}}}"#));
        }
        net.pass(Duration::from_millis(100));
        if round == 3 {
            net.jump(right, 2 * hour);
        }
    }
    for node in [right, ahead, behind] {
        assert_eq!(shows(&net, node), [last.as_str()], "{node}");
    }
}

#[test]
fn an_unwritten_mutation_that_fails_is_taken_back() {
    let mut net = Net::new(Relay::default(), 4);
    let node = follower(&mut net, 0);
    seconds(&mut net, 2);
    net.cut(node);
    insert(&mut net, node, r#"{"id":"a"}"#);
    assert_eq!(shows(&net, node), [r#"{"id":"a"}"#]);
    net.call(node, |session, now| session.disconnect(now, Duration::ZERO));
    assert_eq!((shows(&net, node), outcomes(&net, node)), (vec![], vec!["1 closed".to_owned()]));
}

#[test]
fn what_only_a_server_can_do_is_refused() {
    let mut net = Net::new(Relay::default(), 5);
    let node = follower(&mut net, 0);
    seconds(&mut net, 2);
    insert(&mut net, node, r#"{"id":"a"}"#);
    let (id, request) = (tasks(&mut net, node), net.request(node));
    let change = net
        .call(node, |session, now| session.mutate(now, request, id, Mutation::Remove { key: "a" }, Some(1)).unwrap());
    assert!(change.record.is_none());
    seconds(&mut net, 1);
    assert_eq!(outcomes(&net, node), ["1 false", "2 unsupported"]);
    let back = net.nodes[node]
        .events
        .iter()
        .any(|event| matches!(event, Event::Change(Change { local: true, record: Some(_), key, .. }) if &**key == "a"));
    assert!(back);
    let missing = mutate(&mut net, node, Mutation::Update { key: "none", patch: b"{}" }).unwrap_err();
    assert_eq!(missing.code(), "not_found");
    let conflict = mutate(&mut net, node, Mutation::Insert { record: br#"{"id":"a","x":1}"# }).unwrap_err();
    assert_eq!(conflict.code(), "conflict");
}

#[test]
fn initial_records_stay_until_somebody_changes_them() {
    let mut net = Net::new(Relay::default(), 6);
    let (first, second) = (net.join(0), follower(&mut net, 0));
    let id = tasks(&mut net, first);
    let changes = net.nodes[first].session.seed(id, br#"[{"id":"a","n":0},{"id":"b","n":0}]"#).unwrap();
    changes.iter().for_each(|change| net.apply(first, change));
    net.call(first, |session, now| session.watch(now, id));
    seconds(&mut net, 2);
    assert_eq!((shows(&net, first).len(), shows(&net, second).len()), (2, 0));
    update(&mut net, first, "a", r#"{"n":1}"#);
    insert(&mut net, second, r#"{"id":"b","n":2}"#);
    seconds(&mut net, 1);
    assert_eq!(shows(&net, first), [r#"{"id":"a","n":1}"#, r#"{"id":"b","n":2}"#]);
    assert_eq!(shows(&net, second), shows(&net, first));
}

#[test]
fn a_large_state_comes_in_pages() {
    let mut net = Net::new(Relay::default(), 7);
    let first = follower(&mut net, 0);
    seconds(&mut net, 2);
    let filler = "x".repeat(1000);
    for at in 0..9000 {
        insert(&mut net, first, &format!(r#"{{"id":"k{at:05}","f":"{filler}"}}"#));
    }
    let large = "y".repeat(200_000);
    insert(&mut net, first, &format!(r#"{{"id":"large","f":"{large}"}}"#));
    seconds(&mut net, 1);
    net.largest = 0;
    let second = follower(&mut net, 0);
    seconds(&mut net, 5);
    assert_eq!(synced(&net, second), [("initial", 9001)]);
    assert_eq!(net.nodes[second].data, net.nodes[first].data);
    assert!(net.sent["sync:state"] >= 270, "{:?}", net.sent);
    assert!(net.largest < 200_000 + (36 << 10), "{}", net.largest);
    let initial =
        net.nodes[second].events.iter().filter(|event| matches!(event, Event::Change(c) if c.initial)).count();
    assert_eq!(initial, 9001);
}

#[test]
fn a_crowd_asks_much_and_is_answered_little() {
    let mut sent = vec![];
    for size in [20, 80] {
        let mut net = Net::new(Relay { echo: true, ..Relay::default() }, 8);
        let first = follower(&mut net, 0);
        seconds(&mut net, 2);
        insert(&mut net, first, r#"{"id":"a"}"#);
        for _ in 0..size {
            follower(&mut net, 0);
        }
        seconds(&mut net, 120);
        assert!((0..=size).all(|node| shows(&net, node) == [r#"{"id":"a"}"#]));
        println!("{size}: {:?}", net.sent);
        assert!(net.sent["sync:state"] <= 5 && net.sent["sync:digest"] <= 10 + size as u64, "{:?}", net.sent);
        sent.push(net.sent.values().sum::<u64>());
    }
    assert!(sent[1] <= 5 * sent[0], "{sent:?}");
}

#[test]
fn replicas_end_equal_whatever_was_lost() {
    for seed in 0..20 {
        let relay = Relay { echo: seed % 2 == 0, stamps: seed % 3 != 0, loss: if seed % 4 == 0 { 0 } else { 150 } };
        let mut net = Net::new(relay, seed);
        let skews = [0, 0, 45_000, -45_000, 600_000];
        let nodes = skews.map(|skew| follower(&mut net, skew));
        for step in 0..150 {
            let node = nodes[net.random(5) as usize];
            let key = format!("k{}", net.random(8));
            match net.random(10) {
                0 => net.cut(node),
                1 | 2 => net.restore(node),
                3 => drop(mutate(&mut net, node, Mutation::Remove { key: &key }).unwrap()),
                4..7 if net.nodes[node].data.contains_key(&key) => {
                    // It may have gone in the engine's view meanwhile, or before the mutation is written.
                    drop(mutate(
                        &mut net,
                        node,
                        Mutation::Update { key: &key, patch: format!(r#"{{"f{}":{step}}}"#, step % 3).as_bytes() },
                    ));
                }
                7 if seed % 5 == 0 => net.jump(node, 90_000),
                _ if !net.nodes[node].data.contains_key(&key) => {
                    insert(&mut net, node, &format!(r#"{{"id":"{key}","n":{step}}}"#));
                }
                _ => {}
            }
            let wait = net.random(1500);
            net.pass(Duration::from_millis(wait));
        }
        net.relay.loss = 0;
        nodes.iter().for_each(|node| net.restore(*node));
        // The longest wait of the backoff, then a digest, a request and its answer, as often as strikes may need.
        seconds(&mut net, 31 + 3 * 40);
        let expected = net.nodes[0].data.clone();
        assert!(!expected.is_empty());
        for node in nodes {
            assert_eq!(net.nodes[node].data, expected, "seed {seed}, node {node}");
            // A clock that jumps ahead has heard nothing for that long.
            assert!(net.errors(node).iter().all(|code| *code == "heartbeat_timeout" && seed % 5 == 0), "seed {seed}");
        }
        let before = net.sent.clone();
        seconds(&mut net, 120);
        assert_eq!(net.sent.get("sync:state"), before.get("sync:state"), "seed {seed}: peace comes");
    }
}

fn following() -> (Bench, ChannelId) {
    let mut bench = Bench::connected_plain(config());
    let id = bench.session.collection("room", "tasks").unwrap();
    bench.session.watch(bench.now, id);
    bench.drain();
    bench.clear();
    (bench, id)
}

fn event(bench: &mut Bench, kind: &str, payload: &str) {
    bench.text(&format!(r#"{{"type":"{kind}","payload":{payload},"channel":"room"}}"#));
}

fn changed(bench: &Bench) -> Vec<String> {
    let changed = bench.events.iter().filter_map(|event| match event {
        Event::Change(change) => Some(format!("{} {}", change.kind.as_str(), change.key)),
        _ => None,
    });
    changed.collect()
}

#[test]
fn what_makes_no_sense_is_left_out_and_counted() {
    let (mut bench, id) = following();
    let long = "k".repeat(256);
    let broken = [
        r#"{"collection":"tasks"}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[1,0,"r"]}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[1,0],"record":{"id":"a"}}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[-1,0,"r"],"record":{"id":"a"}}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[281474976710656,0,"r"],"record":{"id":"a"}}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[1,18446744073709551615,"r"],"record":{"id":"a"}}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[1,0,""],"record":{"id":"a"}}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[1,0,"r"],"record":{"id":"b"}}"#.to_owned(),
        r#"{"collection":"tasks","key":"a","clock":[1,0,"r"],"record":[]}"#.to_owned(),
        r#"{"collection":"tasks","key":"","clock":[1,0,"r"],"record":null}"#.to_owned(),
        format!(r#"{{"collection":"tasks","key":"{long}","clock":[1,0,"r"],"record":null}}"#),
    ];
    for payload in &broken {
        event(&mut bench, "sync:change", payload);
    }
    for (kind, payload) in [
        ("sync:request", r#"{"collection":"tasks","ref":"r","digest":"xyz"}"#),
        ("sync:digest", r#"{"collection":"tasks","digest":"0000000000000000"}"#),
        ("sync:state", r#"{"collection":"tasks","ref":"r","digest":"0000000000000000","records":[]}"#),
    ] {
        event(&mut bench, kind, payload);
    }
    let expected = broken.len() + 3;
    assert_eq!((bench.session.stats().malformed, bench.errors().len()), (expected as u64, expected));
    assert_eq!(changed(&bench), Vec::<String>::new());
    // One record that is none spoils no page; names that other languages fear are names.
    event(
        &mut bench,
        "sync:state",
        r#"{"collection":"tasks","ref":"r","digest":"0000000000000001","part":0,"last":true,"records":[7,{"key":"__proto__","clock":[1,0,"r"],"record":{"id":"__proto__"}}]}"#,
    );
    assert_eq!(changed(&bench), ["insert __proto__"]);
    assert_eq!(bench.errors().len(), expected + 1);
    event(&mut bench, "sync:change", r#"{"collection":"other","key":"a","clock":[1,0,"r"],"record":null}"#);
    assert_eq!(bench.session.stats().unroutable, 1);
    assert_eq!(bench.session.channel_state(id), ChannelState::Subscribed);
}

#[test]
fn parts_that_are_missing_make_no_whole_state() {
    let (mut bench, _) = following();
    let part = |bench: &mut Bench, part: u64, last: bool| {
        event(
            bench,
            "sync:state",
            &format!(
                r#"{{"collection":"tasks","ref":"r","digest":"0000000000000001","part":{part},"last":{last},"records":[{{"key":"k{part}","clock":[1,{part},"r"],"record":{{"id":"k{part}"}}}}]}}"#
            ),
        );
    };
    let synced = |bench: &Bench| bench.events.iter().any(|event| matches!(event, Event::Synced { .. }));
    part(&mut bench, 0, false);
    part(&mut bench, 2, true);
    assert_eq!(changed(&bench), ["insert k0", "insert k2"], "each part stands for itself");
    assert!(!synced(&bench));
    part(&mut bench, 0, false);
    part(&mut bench, 1, true);
    assert!(synced(&bench));
}

#[test]
fn removed_records_are_remembered_up_to_a_bound() {
    let (mut bench, _) = following();
    for at in 0..10_001 {
        event(
            &mut bench,
            "sync:change",
            &format!(r#"{{"collection":"tasks","key":"k{at}","clock":[{},0,"r"],"record":null}}"#, at + 10),
        );
    }
    // The oldest is forgotten: a record from before it comes back. The next is not.
    for key in ["k0", "k1"] {
        event(
            &mut bench,
            "sync:change",
            &format!(r#"{{"collection":"tasks","key":"{key}","clock":[5,0,"r"],"record":{{"id":"{key}"}}}}"#),
        );
    }
    assert_eq!(changed(&bench), ["insert k0"]);
}

#[test]
fn a_change_that_was_not_handed_on_is_written_again() {
    let (mut bench, id) = following();
    bench.session.mutate(bench.now, RequestId(1), id, Mutation::Insert { record: br#"{"id":"a"}"# }, None).unwrap();
    bench.drain();
    let first = bench.last_sent("channel_message")["payload"]["payload"].clone();
    bench.closed(None);
    bench.pass_to_deadline();
    bench.clear();
    bench.opened(None);
    let again: Vec<_> = bench.sent_of("channel_message").into_iter().map(|m| m["payload"].clone()).collect();
    let again: Vec<_> = again.iter().filter(|payload| payload["event"] == "sync:change").collect();
    assert_eq!((again.len(), &again[0]["payload"]), (1, &first), "the same clock");
    bench.flushed();
    assert_eq!(bench.receipts().len(), 1);
}

#[test]
fn a_collection_is_bounded() {
    let mut config = config();
    config.replica_bytes = 10_000;
    let mut bench = Bench::connected_plain(config);
    let id = bench.session.collection("room", "tasks").unwrap();
    bench.session.watch(bench.now, id);
    bench.drain();
    for at in 0..200 {
        event(
            &mut bench,
            "sync:change",
            &format!(r#"{{"collection":"tasks","key":"k{at}","clock":[5,0,"r"],"record":{{"id":"k{at}","n":{at}}}}}"#),
        );
    }
    assert_eq!(bench.session.channel_state(id), ChannelState::Failed);
    assert_eq!(bench.sent_of("unsubscribe").len(), 1);
    bench.clear();
    bench.pass(Duration::from_secs(120));
    assert!(bench.sent_of("channel_message").is_empty());
}

mod any_bytes {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Whatever a peer sends, the session goes on.
        #[test]
        fn are_survived(
            kind in prop::sample::select(vec!["change", "request", "state", "digest"]),
            field in prop::sample::select(vec!["collection", "ref", "key", "clock", "record", "digest", "part", "last", "records"]),
            value in prop::sample::select(vec![
                "null", "true", "-1", "18446744073709551615", "1e400", r#""tasks""#, r#""\ud800""#, "{}", "[[]]", "[null]",
                r#"{"__proto__":null}"#, r#"[281474976710655,4294967295,"r"]"#, r#"[{"key":"a","clock":[0,0,"z"],"record":{"id":"a"}}]"#,
            ]),
            noise in "[ -~]{0,40}",
        ) {
            let (mut bench, id) = following();
            let mut fields: Vec<(&str, &str)> = vec![
                ("collection", r#""tasks""#), ("ref", r#""r""#), ("key", r#""k""#), ("clock", r#"[1,2,"r"]"#),
                ("record", r#"{"id":"k"}"#), ("digest", r#""00000000000000ff""#), ("part", "0"), ("last", "true"),
                ("records", "[]"),
            ];
            fields.retain(|(name, _)| *name != field);
            fields.push((field, value));
            let body: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            event(&mut bench, &format!("sync:{kind}"), &format!("{{{}}}", body.join(",")));
            event(&mut bench, &format!("sync:{kind}"), &noise);
            bench.session.mutate(bench.now, RequestId(1), id, Mutation::Remove { key: "k" }, None).unwrap();
            bench.drain();
            bench.pass(Duration::from_secs(45));
            let stats = bench.session.stats();
            prop_assert_eq!(bench.errors().len() as u64, stats.malformed);
        }
    }
}
