//! A peer that breaks the protocol: nothing is lost in silence, nothing comes twice, nobody waits for ever.
#![allow(clippy::unwrap_used)]

mod support;

use realtime_engine::wire::Frame;
use realtime_engine::{ChannelState, Status};

use support::{Bench, config};

fn reconnect(bench: &mut Bench) {
    bench.closed(Some(1006));
    bench.pass_to_deadline();
    bench.open_v1();
    bench.events.clear();
}

#[test]
fn a_recovery_that_leaves_something_out_is_a_gap() {
    let mut bench = Bench::connected(config());
    let id = bench.subscribed("room", "a", 5);
    reconnect(&mut bench);
    bench.answer_subscribe("room", "a", 9, Some(true));
    assert_eq!(bench.gaps(), [("evicted", Some(6), Some(9))]);
    assert_eq!(bench.session.position(id).unwrap().offset, 9);
}

#[test]
fn a_recovery_that_goes_back_is_another_history() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 5);
    reconnect(&mut bench);
    bench.answer_subscribe("room", "a", 3, Some(true));
    assert_eq!(bench.gaps(), [("epoch", Some(1), Some(3))]);
    bench.message("room", 4, "4");
    assert_eq!(bench.payloads(), ["4"]);
}

#[test]
fn another_epoch_is_told_whatever_the_server_says_of_it() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 5);
    reconnect(&mut bench);
    bench.answer_subscribe("room", "b", 5, Some(true));
    assert_eq!(bench.gaps(), [("epoch", Some(1), Some(5))]);
    reconnect(&mut bench);
    bench.answer_subscribe("room", "c", 0, None);
    assert_eq!(bench.gaps(), [("epoch", None, None)]);
}

#[test]
fn an_epoch_cannot_change_under_a_subscription() {
    let mut bench = Bench::connected(config());
    let id = bench.subscribed("room", "a", 5);
    bench.text(r#"{"type":"gap","channel":"room","epoch":"b","from":1,"to":50}"#);
    bench.text(r#"{"type":"subscribed","id":77,"channel":"room","epoch":"b","offset":50}"#);
    bench.message("room", 6, "6");
    assert_eq!((bench.payloads(), bench.gaps()), (vec!["6".to_owned()], vec![]));
    assert_eq!(bench.session.position(id).unwrap().epoch, "a");
}

#[test]
fn a_gap_that_begins_too_late_tells_all_that_is_missing() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 5);
    bench.text(r#"{"type":"gap","channel":"room","epoch":"a","from":50,"to":10}"#);
    bench.text(r#"{"type":"gap","channel":"room","epoch":"a","from":15,"to":20}"#);
    assert_eq!(bench.gaps(), [("evicted", Some(6), Some(10)), ("evicted", Some(11), Some(20))]);
}

#[test]
fn offsets_that_go_back_are_dropped_and_the_largest_harms_nobody() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 5);
    for offset in [6, 4, 6, 1] {
        bench.message("room", offset, &offset.to_string());
    }
    assert_eq!((bench.payloads(), bench.session.stats().duplicates), (vec!["6".to_owned()], 3));
    let mut frame = vec![2, 0];
    frame.extend(u64::MAX.to_be_bytes());
    frame.extend(0u64.to_be_bytes());
    frame.extend([4, 1, 0]);
    frame.extend(b"roomelast");
    bench.frame(Frame::Binary(frame.into()));
    assert_eq!(bench.gaps(), [("missing", Some(7), Some(u64::MAX - 1))]);
    bench.message("room", 8, "8");
    reconnect(&mut bench);
    bench.answer_subscribe("room", "a", 9, Some(false));
    assert_eq!(bench.gaps(), [("epoch", Some(1), Some(9))]);
}

#[test]
fn what_is_answered_twice_counts_once() {
    let mut bench = Bench::connected(config());
    let id = bench.subscribe("room");
    bench.answer_subscribe("room", "a", 5, None);
    bench.message("room", 6, "6");
    bench.answer_subscribe("room", "a", 2, None);
    bench.welcome("");
    bench.message("room", 6, "6");
    assert_eq!((bench.payloads(), bench.gaps()), (vec!["6".to_owned()], vec![]));

    let first = bench.publish_now(id, "1");
    let second = bench.publish_now(id, "2");
    bench.text(r#"{"type":"receipt","id":1,"epoch":"a","offset":7}"#);
    bench.text(r#"{"type":"error","id":1,"code":"forbidden","message":"no"}"#);
    bench.text(r#"{"type":"error","id":1,"code":"unavailable","message":"later"}"#);
    bench.text(r#"{"type":"error","id":2,"code":"forbidden","message":"no"}"#);
    bench.text(r#"{"type":"receipt","id":2,"epoch":"a","offset":8}"#);
    let receipts: Vec<_> = bench.receipts().iter().map(|receipt| receipt.request).collect();
    assert_eq!((receipts, bench.failures()), (vec![first], vec![(second.0, "forbidden")]));
    assert_eq!(bench.sent_of("publish").len(), 2, "nothing was sent again");

    bench.session.unsubscribe(bench.now, id);
    bench.drain();
    let request = bench.last_sent("unsubscribe")["id"].as_u64().unwrap();
    bench.subscribe("room");
    for _ in 0..2 {
        bench.text(&format!(r#"{{"type":"unsubscribed","id":{request},"channel":"room"}}"#));
    }
    assert_eq!(bench.session.channel_state(id), ChannelState::Subscribing, "an old answer ends no new subscription");
}

#[test]
fn answers_to_what_nobody_asked_change_nothing() {
    let mut bench = Bench::connected(config());
    let id = bench.session.channel("room").unwrap();
    bench.publish_now(id, "1");
    for answer in [
        r#"{"type":"receipt","id":9,"epoch":"a","offset":1}"#,
        r#"{"type":"receipt","id":0}"#,
        r#"{"type":"error","id":9,"code":"rate_limited","message":"slow down"}"#,
        r#"{"type":"subscribed","id":3,"channel":"room","epoch":"a","offset":1}"#,
        r#"{"type":"unsubscribed","id":3,"channel":"elsewhere"}"#,
        r#"{"type":"gap","channel":"room","epoch":"a","from":1,"to":2}"#,
        r#"{"type":"pong","id":12345,"time":1}"#,
    ] {
        bench.text(answer);
    }
    assert_eq!((bench.receipts().len(), bench.failures().len(), bench.gaps().len()), (0, 0, 0));
    assert_eq!((bench.session.status(), bench.session.stats().unexpected), (Status::Connected, 2));
    bench.text(r#"{"type":"receipt","id":1,"epoch":"a","offset":1}"#);
    assert_eq!(bench.receipts().len(), 1);
}

#[test]
fn limits_that_allow_nothing_refuse_sends_and_hold_none() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.opened(Some("realtime.v1"));
    bench.welcome(r#","limits":{"frame":0,"payload":0,"channels":0,"inflight":0,"rate":0}"#);
    let id = bench.subscribe("room");
    let request = bench.publish_now(id, "1");
    bench.drain();
    assert_eq!(bench.failures(), [(request.0, "payload_too_large")]);
    let request = bench.publish_now(id, "");
    bench.drain();
    assert_eq!(bench.failures()[1], (request.0, "frame_too_large"));
    assert_eq!(bench.sent_of("subscribe").len(), 1);
}
