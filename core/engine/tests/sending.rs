//! Every send ends, once, in order.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::Frame;
use realtime_engine::{Data, Event, WhenFull};
use support::{Bench, config, json};

fn receipt(bench: &mut Bench, id: u64, offset: u64) {
    bench.text(&format!(r#"{{"type":"receipt","id":{id},"epoch":"a","offset":{offset}}}"#));
}

#[test]
fn a_lone_message_has_a_frame_of_its_own_and_a_burst_shares_one() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, r#"{"n":1}"#);
    assert_eq!(
        bench.frames,
        [Frame::Text(Bytes::from_static(
            br#"{"type":"publish","id":1,"channel":"room","event":"e","payload":{"n":1}}"#
        ))]
    );
    bench.clear();
    for n in 2..5 {
        bench.publish(room, json(&n.to_string())).unwrap();
    }
    bench.drain();
    assert_eq!(bench.frames.len(), 1);
    assert_eq!(bench.sent_of("publish").iter().map(|m| m["id"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn frames_stay_within_the_limit_of_the_server() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.opened(Some("realtime.v1"));
    bench.welcome(r#","limits":{"frame":2000,"payload":1500,"channels":10,"inflight":100,"rate":0}"#);
    bench.clear();
    let room = bench.session.channel("room").unwrap();
    for _ in 0..10 {
        bench.publish(room, json(&format!("\"{}\"", "x".repeat(500)))).unwrap();
    }
    bench.publish(room, json(&format!("\"{}\"", "x".repeat(1600)))).unwrap();
    bench.publish(room, json("\"last\"")).unwrap();
    bench.drain();
    assert!(bench.frames.iter().all(|frame| frame.len() <= 2000));
    assert_eq!(bench.sent_of("publish").len(), 11);
    assert_eq!(bench.failures(), [(11, "payload_too_large")]);
}

#[test]
fn unanswered_sends_go_again_in_order_with_the_same_ids() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    for n in 1..=5 {
        bench.publish_now(room, &n.to_string());
    }
    receipt(&mut bench, 1, 1);
    receipt(&mut bench, 3, 3);
    bench.closed(None);
    bench.publish_now(room, "6");
    bench.pass_to_deadline();
    bench.clear();
    bench.open_v1();
    let sent: Vec<_> =
        bench.sent_of("publish").iter().map(|m| (m["id"].as_u64().unwrap(), m["payload"].as_u64().unwrap())).collect();
    assert_eq!(sent, [(2, 2), (4, 4), (5, 5), (6, 6)]);
    for id in [2, 4, 5, 6] {
        receipt(&mut bench, id, id);
    }
    let mut done: Vec<_> = bench.receipts().iter().map(|receipt| (receipt.request.0, receipt.offset)).collect();
    done.sort_unstable();
    assert_eq!(done, [(2, Some(2)), (4, Some(4)), (5, Some(5)), (6, Some(6))]);
    assert_eq!(bench.session.stats().queued, 0);
}

#[test]
fn a_receipt_for_an_unknown_id_changes_nothing_and_is_counted() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    receipt(&mut bench, 1, 1);
    receipt(&mut bench, 1, 1);
    receipt(&mut bench, 99, 1);
    assert_eq!(bench.receipts().len(), 1);
    assert_eq!(bench.session.stats().unexpected, 2);
}

#[test]
fn no_more_than_the_allowed_number_is_in_flight() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.opened(Some("realtime.v1"));
    bench.welcome(r#","limits":{"frame":100000,"payload":90000,"channels":10,"inflight":3,"rate":0}"#);
    let room = bench.session.channel("room").unwrap();
    for n in 1..=7 {
        bench.publish_now(room, &n.to_string());
    }
    assert_eq!(bench.sent_of("publish").len(), 3);
    receipt(&mut bench, 1, 1);
    assert_eq!(bench.sent_of("publish").len(), 4);
    bench.text("{\"type\":\"receipt\",\"id\":2}\n{\"type\":\"receipt\",\"id\":3}\n{\"type\":\"receipt\",\"id\":4}");
    assert_eq!(bench.sent_of("publish").len(), 7);
}

#[test]
fn a_refusal_that_allows_a_retry_holds_the_order() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    for n in 1..=3 {
        bench.publish_now(room, &n.to_string());
    }
    receipt(&mut bench, 1, 1);
    for id in [2, 3] {
        bench
            .text(&format!(r#"{{"type":"error","code":"rate_limited","message":"slow","id":{id},"retry_after":400}}"#));
    }
    assert_eq!(bench.errors(), ["rate_limited"], "told once");
    bench.clear();
    bench.pass(Duration::from_millis(399));
    assert!(bench.sent_of("publish").is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.sent_of("publish").iter().map(|m| m["id"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_final_refusal_fails_that_send_alone() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.publish_now(room, "2");
    bench.text(r#"{"type":"error","code":"forbidden","message":"no","id":1}"#);
    bench.text(r#"{"type":"error","code":"brand_new_code","message":"no","id":2}"#);
    assert_eq!(bench.failures(), [(1, "forbidden"), (2, "refused")]);
}

#[test]
fn the_outbox_is_bounded_and_says_when_there_is_room() {
    let mut config = config();
    config.queue_messages = 4;
    let mut bench = Bench::connected(config);
    let room = bench.session.channel("room").unwrap();
    for n in 1..=4 {
        bench.publish_now(room, &n.to_string());
    }
    assert_eq!(bench.publish(room, json("5")).unwrap_err().code(), "queue_full");
    bench.clear();
    receipt(&mut bench, 1, 1);
    assert!(bench.events.iter().any(|event| matches!(event, Event::Writable)));
    bench.publish(room, json("5")).unwrap();
}

#[test]
fn bytes_bound_the_outbox_too_but_one_large_message_always_fits() {
    let mut config = config();
    config.queue_bytes = 10;
    let mut bench = Bench::new(config);
    let room = bench.session.channel("room").unwrap();
    bench.publish(room, json("\"twelve bytes\"")).unwrap();
    assert_eq!(bench.publish(room, json("1")).unwrap_err().code(), "queue_full");
}

#[test]
fn drop_oldest_gives_up_what_was_never_sent_and_says_so() {
    let mut config = config();
    config.queue_messages = 3;
    config.when_full = WhenFull::DropOldest;
    let mut bench = Bench::new(config);
    let room = bench.session.channel("room").unwrap();
    for n in 1..=5u64 {
        let permit = bench.session.budget().reserve_anyway(1);
        let request = realtime_engine::RequestId(n);
        bench.session.publish(bench.now, request, room, "e".into(), json(&n.to_string()), permit).unwrap();
    }
    bench.drain();
    assert_eq!(bench.failures(), [(1, "dropped"), (2, "dropped")]);
    bench.connect();
    bench.open_v1();
    let sent: Vec<_> =
        bench.sent_of("publish").iter().map(|m| (m["id"].as_u64().unwrap(), m["payload"].as_u64().unwrap())).collect();
    assert_eq!(sent, [(1, 3), (2, 4), (3, 5)], "ids count without a hole");
}

#[test]
fn the_rate_limit_delays_and_never_drops() {
    let mut config = config();
    config.rate_limit = Some(10);
    let mut bench = Bench::connected(config);
    let room = bench.session.channel("room").unwrap();
    for n in 0..30 {
        bench.publish_now(room, &n.to_string());
    }
    assert_eq!(bench.sent_of("publish").len(), 1);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.sent_of("publish").len(), 11);
    bench.pass(Duration::from_secs(2));
    let sent: Vec<_> = bench.sent_of("publish").iter().map(|m| m["payload"].as_u64().unwrap()).collect();
    assert_eq!(sent, (0..30).collect::<Vec<_>>());
}

#[test]
fn a_send_timeout_is_definite_and_the_late_receipt_harmless() {
    let mut config = config();
    config.send_timeout = Some(Duration::from_secs(3));
    let mut bench = Bench::connected(config);
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.pass(Duration::from_secs(2));
    bench.publish_now(room, "2");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.failures(), [(1, "timeout")]);
    bench.text(r#"{"type":"receipt","id":1,"offset":1,"epoch":"a"}"#);
    bench.text(r#"{"type":"receipt","id":2,"offset":2,"epoch":"a"}"#);
    assert_eq!(bench.receipts().iter().map(|receipt| receipt.request.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_the_server_waits_for_is_sent_again_also_after_its_timeout() {
    let mut config = config();
    config.send_timeout = Some(Duration::from_secs(3));
    let mut bench = Bench::connected(config);
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.pass(Duration::from_secs(2));
    bench.publish_now(room, "2");
    for id in [1, 2] {
        bench.text(&format!(r#"{{"type":"error","code":"rate_limited","message":"","id":{id},"retry_after":1500}}"#));
    }
    bench.clear();
    bench.pass(Duration::from_millis(1600));
    assert_eq!(bench.failures(), [(1, "timeout")]);
    // The server refuses 2 until 1 comes again.
    assert_eq!(bench.sent_of("publish").iter().map(|sent| sent["id"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    bench.text(r#"{"type":"receipt","id":1,"offset":1,"epoch":"a"}"#);
    bench.text(r#"{"type":"receipt","id":2,"offset":2,"epoch":"a"}"#);
    assert_eq!(bench.receipts().iter().map(|receipt| receipt.request.0).collect::<Vec<_>>(), [2]);
    assert_eq!((bench.session.stats().unexpected, bench.session.stats().queued), (1, 0));
}

#[test]
fn what_timed_out_is_not_sent_over_another_connection() {
    let mut config = config();
    config.send_timeout = Some(Duration::from_secs(3));
    let mut bench = Bench::connected(config);
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.failures(), [(1, "timeout")]);
    bench.closed(None);
    assert_eq!(bench.session.stats().queued, 0);
    bench.pass_to_deadline();
    bench.clear();
    bench.open_v1();
    assert!(bench.sent_of("publish").is_empty());
    assert!(bench.failures().is_empty());
}

#[test]
fn binary_messages_keep_their_place_in_the_order() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    bench.publish(room, json("1")).unwrap();
    bench.publish(room, Data::Binary(Bytes::from_static(b"\x00\xff"))).unwrap();
    bench.publish(room, json("3")).unwrap();
    bench.drain();
    assert!(matches!(&bench.frames[..], [Frame::Text(_), Frame::Binary(_), Frame::Text(_)]));
    let Frame::Binary(bytes) = &bench.frames[1] else { unreachable!() };
    assert_eq!(&bytes[..], b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\x01roome\x00\xff");
}

#[test]
fn names_are_checked_where_they_are_given() {
    let mut bench = Bench::connected(config());
    let long = "ä".repeat(128);
    for name in ["", long.as_str()] {
        assert_eq!(bench.session.subscribe(bench.now, name).unwrap_err().code(), "invalid_name");
    }
    assert!(bench.session.channel(&"x".repeat(255)).is_ok());
}

#[test]
fn nothing_but_pings_goes_to_a_socket_that_takes_nothing() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    let attempt = bench.attempt;
    bench.input(realtime_engine::Input::Backlog { attempt, bytes: 2 << 20 });
    bench.publish_now(room, "1");
    assert!(bench.frames.is_empty());
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.sent_of("ping").len(), 1);
    bench.input(realtime_engine::Input::Backlog { attempt, bytes: 0 });
    assert_eq!(bench.sent_of("publish").len(), 1);
}
