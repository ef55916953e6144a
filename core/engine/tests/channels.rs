//! Subscriptions over reconnects: exactly once, in order, no silent gap, bounded.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::{Frame, Window};
use realtime_engine::{ChannelState, Event};
use support::{Bench, config};

fn states(bench: &Bench) -> Vec<ChannelState> {
    let states = bench.events.iter().filter_map(|event| match event {
        Event::Channel { state, .. } => Some(*state),
        _ => None,
    });
    states.collect()
}

fn reconnect(bench: &mut Bench) {
    bench.closed(None);
    bench.pass_to_deadline();
    bench.clear();
    bench.open_v1();
}

#[test]
fn changing_ones_mind_costs_no_memory_and_one_request() {
    for (mut bench, kind) in [(Bench::connected(config()), "id"), (Bench::connected_plain(config()), "payload")] {
        for _ in 0..1000 {
            let room = bench.session.subscribe(bench.now, "room").unwrap();
            assert_eq!(bench.session.channel_state(room), ChannelState::Subscribing);
            bench.session.unsubscribe(bench.now, room);
            assert_eq!(bench.session.channel_state(room), ChannelState::Idle);
        }
        bench.drain();
        // Whoever waits for the end of a subscription that never began hears of it, once.
        assert!(matches!(&bench.events[..], [Event::Channel { state: ChannelState::Idle, .. }]), "{:?}", bench.events);
        assert_eq!(bench.frames.len(), 0);
        let room = bench.subscribe("room");
        bench.clear();
        for _ in 0..1000 {
            bench.session.unsubscribe(bench.now, room);
            bench.session.subscribe(bench.now, "room").unwrap();
        }
        bench.drain();
        assert!(bench.events.len() <= 2, "{:?}", bench.events);
        assert!(
            matches!(&bench.sent()[..], [only] if only["type"] == "subscribe" && only[kind] != serde_json::Value::Null)
        );
    }
    // Offline nothing is sent, and what is told is what is wanted in the end.
    let mut bench = Bench::new(config());
    for _ in 0..1000 {
        let room = bench.session.subscribe(bench.now, "room").unwrap();
        bench.session.unsubscribe(bench.now, room);
    }
    bench.subscribe("room");
    assert!(
        matches!(&bench.events[..], [Event::Channel { state: ChannelState::Subscribing, .. }]),
        "{:?}",
        bench.events
    );
}

#[test]
fn a_reconnect_goes_on_from_the_position() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 4);
    bench.message("room", 5, "5");
    bench.message("room", 6, "6");
    assert_eq!(bench.payloads(), ["5", "6"]);
    reconnect(&mut bench);
    let since = &bench.last_sent("subscribe")["since"];
    assert_eq!((since["epoch"].as_str(), since["offset"].as_u64()), (Some("a"), Some(6)));
    bench.answer_subscribe("room", "a", 6, Some(true));
    bench.message("room", 7, "7");
    assert_eq!((bench.payloads(), bench.gaps()), (vec!["7".to_owned()], vec![]));
    assert_eq!(states(&bench), [ChannelState::Subscribed]);
}

#[test]
fn a_position_is_held_before_the_first_message() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 0);
    reconnect(&mut bench);
    assert_eq!(bench.last_sent("subscribe")["since"]["offset"], 0);
}

#[test]
fn what_comes_again_is_dropped_and_counted() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 0);
    for offset in [1, 2, 2, 1, 3] {
        bench.message("room", offset, &offset.to_string());
    }
    assert_eq!(bench.payloads(), ["1", "2", "3"]);
    assert_eq!(bench.session.stats().duplicates, 2);
    assert_eq!(bench.session.stats().unconsumed_bytes % 3, 0, "dropped messages are consumed at once");
}

#[test]
fn every_kind_of_hole_is_told_before_what_follows() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 0);
    bench.message("room", 4, "4");
    assert_eq!(bench.gaps(), [("missing", Some(1), Some(3))]);
    bench.text(r#"{"type":"gap","channel":"room","epoch":"a","from":5,"to":9}"#);
    assert_eq!(bench.gaps()[1], ("evicted", Some(5), Some(9)));
    bench.message("room", 10, "10");
    reconnect(&mut bench);
    bench.answer_subscribe("room", "b", 2, Some(false));
    assert_eq!(bench.gaps(), [("epoch", Some(1), Some(2))]);
    bench.message("room", 3, "3");
    assert_eq!(bench.payloads(), ["3"]);
    let gap_first = bench.events.iter().position(|event| matches!(event, Event::Gap(_)));
    let message = bench.events.iter().position(|event| matches!(event, Event::Message(_)));
    assert!(gap_first < message);
}

#[test]
fn subscriptions_are_declared_once_and_idempotent() {
    let mut bench = Bench::connected(config());
    let id = bench.subscribe("room");
    assert_eq!(bench.subscribe("room"), id);
    assert_eq!(bench.sent_of("subscribe").len(), 1);
    bench.answer_subscribe("room", "a", 0, None);
    assert_eq!(bench.subscribe("room"), id);
    assert_eq!(bench.sent_of("subscribe").len(), 1);
    assert_eq!(states(&bench), [ChannelState::Subscribing, ChannelState::Subscribed]);
}

#[test]
fn leaving_and_coming_back_does_not_mix_answers() {
    let mut bench = Bench::connected(config());
    let id = bench.subscribed("room", "a", 5);
    bench.session.unsubscribe(bench.now, id);
    bench.drain();
    let leave = bench.last_sent("unsubscribe")["id"].clone();
    bench.subscribe("room");
    assert!(bench.last_sent("subscribe")["since"].is_null(), "a new subscription begins at the end");
    bench.text(&format!(r#"{{"type":"unsubscribed","id":{leave},"channel":"room"}}"#));
    assert_eq!(bench.session.channel_state(id), ChannelState::Subscribing);
    bench.message("room", 6, "6");
    assert!(bench.payloads().is_empty(), "of the old subscription");
    bench.answer_subscribe("room", "a", 6, None);
    bench.message("room", 7, "7");
    assert_eq!(bench.payloads(), ["7"]);
}

#[test]
fn a_refused_subscribe_fails_and_can_be_tried_again() {
    let mut bench = Bench::connected(config());
    let id = bench.subscribe("room");
    let request = bench.last_sent("subscribe")["id"].clone();
    bench.text(&format!(r#"{{"type":"error","code":"forbidden","message":"no","id":{request}}}"#));
    assert_eq!(bench.session.channel_state(id), ChannelState::Failed);
    assert!(
        bench
            .events
            .iter()
            .any(|event| matches!(event, Event::Channel { error: Some(e), .. } if e.code() == "forbidden"))
    );
    reconnect(&mut bench);
    assert!(bench.sent_of("subscribe").is_empty(), "not by itself");
    bench.subscribe("room");
    assert_eq!(bench.sent_of("subscribe").len(), 1);
}

#[test]
fn a_subscribe_that_may_be_retried_is() {
    let mut bench = Bench::connected(config());
    bench.subscribe("room");
    let request = bench.last_sent("subscribe")["id"].clone();
    bench.text(&format!(
        r#"{{"type":"error","code":"unavailable","message":"drain","id":{request},"retry_after":300}}"#
    ));
    bench.clear();
    bench.pass(Duration::from_millis(300));
    assert_eq!(bench.sent_of("subscribe").len(), 1);
}

#[test]
fn a_thousand_channels_come_back_in_few_frames() {
    let mut bench = Bench::connected(config());
    for n in 0..1000 {
        bench.subscribed(&format!("room-{n}"), "a", n);
    }
    reconnect(&mut bench);
    assert_eq!(bench.sent_of("subscribe").len(), 1000);
    assert!(bench.frames.len() < 10, "{}", bench.frames.len());
}

#[test]
fn several_messages_share_a_frame_and_one_bad_one_harms_no_other() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 0);
    let line = |offset| {
        format!(
            r#"{{"type":"message","channel":"room","event":"e","offset":{offset},"timestamp":1,"payload":{offset}}}"#
        )
    };
    let frame = format!("{}\n\n{{\"type\":\n{}\nnull\n{}", line(1), line(2), line(3));
    bench.frame(Frame::Binary(Bytes::from(frame)));
    assert_eq!(bench.payloads(), ["1", "2", "3"]);
    assert_eq!(bench.errors(), ["malformed", "malformed"]);
}

#[test]
fn unknown_types_and_frames_are_told_and_survived() {
    let mut bench = Bench::connected(config());
    bench.text(r#"{"type":"from_the_future"}"#);
    bench.frame(Frame::Binary(Bytes::from_static(&[0x7f, 0, 1])));
    bench.frame(Frame::Binary(Bytes::from_static(&[2, 0, 1])));
    bench.frame(Frame::Binary(Bytes::from_static(b"{\"type\":\"pong\",\"id\":1,\"x\":\"\xff\"}")));
    assert_eq!(bench.errors(), ["unknown_type", "unknown_type", "malformed", "malformed"]);
    bench.subscribed("room", "a", 0);
    bench.message("room", 1, "1");
    assert_eq!(bench.payloads(), ["1"]);
}

fn small_windows() -> realtime_engine::Config {
    let mut config = config();
    config.inbox = Window { connection: 4000, channel: 1000 };
    config
}

#[test]
fn credit_is_given_in_steps_for_what_is_consumed() {
    let mut bench = Bench::connected(small_windows());
    let id = bench.subscribed("room", "a", 0);
    for offset in 1..=8 {
        bench.message("room", offset, "\"0123456789\"");
    }
    let size = bench.session.stats().unconsumed_bytes / 8;
    let steps = 250_u64.div_ceil(size);
    for _ in 1..steps {
        bench.session.consumed(bench.now, Some(id), size);
        bench.drain();
    }
    assert!(bench.sent_of("credit").is_empty());
    bench.session.consumed(bench.now, Some(id), size);
    bench.drain();
    assert_eq!(bench.last_sent("credit")["bytes"], steps * size);
}

#[test]
fn many_channels_that_owe_little_do_not_close_the_window_together() {
    let mut bench = Bench::connected(small_windows());
    let ids: Vec<_> = (0..10).map(|n| bench.subscribed(&format!("room{n}"), "a", 0)).collect();
    for (n, id) in ids.into_iter().enumerate() {
        bench.message(&format!("room{n}"), 1, "\"0123456789\"");
        bench.session.consumed(bench.now, Some(id), 110);
        bench.drain();
    }
    let credited: u64 = bench.sent_of("credit").iter().map(|credit| credit["bytes"].as_u64().unwrap()).sum();
    assert!(credited >= 900, "{credited}");
}

#[test]
fn reconnects_do_not_grow_the_inbox_of_an_application_that_consumes_nothing() {
    let mut bench = Bench::connected(small_windows());
    let id = bench.subscribed("room", "a", 0);
    let mut offset = 0;
    for _ in 0..10 {
        while bench.session.channel_state(id) == ChannelState::Subscribed
            && bench.session.stats().unconsumed_bytes < 1000
        {
            offset += 1;
            bench.message("room", offset, "\"0123456789\"");
        }
        reconnect(&mut bench);
        if !bench.sent_of("subscribe").is_empty() {
            bench.answer_subscribe("room", "a", offset, Some(true));
        }
    }
    let held = bench.session.stats().unconsumed_bytes;
    assert!(held <= 1500, "{held}");
    assert_eq!(bench.session.channel_state(id), ChannelState::Resubscribing);
    bench.session.consumed(bench.now, Some(id), held);
    bench.drain();
    assert_eq!(bench.last_sent("subscribe")["since"]["offset"], offset, "and goes on once it consumes");
}

#[test]
fn an_inbox_that_direct_messages_filled_holds_nothing_back_once_they_are_consumed() {
    let mut bench = Bench::connected(small_windows());
    bench.subscribed("room", "a", 7);
    let text = format!(r#"{{"type":"direct","event":"e","timestamp":1,"payload":"{}"}}"#, "x".repeat(3000));
    bench.text(&text);
    reconnect(&mut bench);
    assert!(bench.sent_of("subscribe").is_empty(), "the inbox is more than half full");
    bench.session.consumed(bench.now, None, text.len() as u64);
    bench.drain();
    assert_eq!(bench.last_sent("subscribe")["since"]["offset"], 7);
}

#[test]
fn what_is_older_than_the_connection_counts_as_recovered() {
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "a", 0);
    bench.message("room", 1, "1");
    let before = bench.now.as_millis() + 1;
    bench.closed(None);
    bench.pass(Duration::from_secs(1));
    bench.open_v1();
    bench.answer_subscribe("room", "a", 1, Some(true));
    bench.text(&format!(
        r#"{{"type":"message","channel":"room","event":"e","offset":2,"timestamp":{before},"payload":2}}"#
    ));
    bench.message("room", 3, "3");
    assert_eq!(bench.session.stats().recovered, 1);
}
