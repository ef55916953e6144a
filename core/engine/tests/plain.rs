//! Any JSON WebSocket backend.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::{Frame, Window};
use realtime_engine::{ChannelState, Data, Event, RequestId, Text};
use support::{Bench, config, json};

fn direct(bench: &Bench) -> Vec<(Option<String>, String)> {
    let direct = bench.events.iter().filter_map(|event| match event {
        Event::Direct(message) => Some((
            message.content.event().map(ToOwned::to_owned),
            String::from_utf8_lossy(message.content.payload()).into_owned(),
        )),
        _ => None,
    });
    direct.collect()
}

#[test]
fn requests_have_the_shapes_that_backends_know() {
    let mut bench = Bench::connected_plain(config());
    let time = bench.now.as_millis();
    let id = bench.subscribe("room");
    bench.publish_now(id, r#"{"a":1}"#);
    bench.session.unsubscribe(bench.now, id);
    let permit = bench.session.budget().reserve(1).unwrap();
    bench.session.send(bench.now, RequestId(9), Some(Text::from("login")), json("true"), permit).unwrap();
    bench.drain();
    let texts = bench.frames.iter().map(|frame| match frame {
        Frame::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => format!("{other:?}"),
    });
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [
            format!(r#"{{"type":"subscribe","payload":{{"channel":"room"}},"timestamp":{time}}}"#),
            format!(
                r#"{{"type":"channel_message","payload":{{"channel":"room","event":"e","payload":{{"a":1}}}},"timestamp":{time}}}"#
            ),
            format!(r#"{{"type":"unsubscribe","payload":{{"channel":"room"}},"timestamp":{time}}}"#),
            format!(r#"{{"type":"login","payload":true,"timestamp":{time}}}"#),
        ]
    );
}

#[test]
fn a_send_is_done_when_it_is_written_and_says_so() {
    let mut bench = Bench::connected_plain(config());
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    assert!(bench.receipts().is_empty());
    bench.flushed();
    assert_eq!(bench.receipts().len(), 1);
    assert!(!bench.receipts()[0].acknowledged);
    bench.publish_now(room, "2");
    bench.closed(None);
    bench.pass_to_deadline();
    bench.clear();
    bench.opened(None);
    assert_eq!(bench.sent_of("channel_message").len(), 1, "what was not written goes again");
}

#[test]
fn a_flush_covers_what_was_polled_and_nothing_else() {
    let mut bench = Bench::connected_plain(config());
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    // Events of the application's other calls must not hide the flush, and frames that were not polled are not covered.
    bench.session.subscribe(bench.now, "other").unwrap();
    bench.publish(room, json("2")).unwrap();
    let attempt = bench.attempt;
    bench.session.handle(bench.now, realtime_engine::Input::Flushed { attempt });
    bench.drain();
    assert_eq!(bench.receipts().iter().map(|receipt| receipt.request.0).collect::<Vec<_>>(), [1]);
    bench.flushed();
    assert_eq!(bench.receipts().iter().map(|receipt| receipt.request.0).collect::<Vec<_>>(), [1, 2]);
    bench.publish_now(room, "3");
    bench.session.handle(bench.now, realtime_engine::Input::Token { request: 99, result: Ok(None) });
    bench.flushed();
    assert_eq!(bench.receipts().len(), 3);
}

#[test]
fn subscriptions_come_back_after_a_reconnect() {
    let mut bench = Bench::connected_plain(config());
    let id = bench.subscribe("room");
    assert_eq!(bench.session.channel_state(id), ChannelState::Subscribed);
    bench.closed(None);
    assert_eq!(bench.session.channel_state(id), ChannelState::Resubscribing);
    bench.pass_to_deadline();
    bench.clear();
    bench.opened(None);
    assert_eq!(bench.sent_of("subscribe").len(), 1);
}

#[test]
fn messages_go_to_their_channel_or_to_the_only_one_and_are_never_guessed() {
    let mut bench = Bench::connected_plain(config());
    bench.subscribe("one");
    bench.text(r#"{"type":"e","payload":1,"timestamp":5,"channel":"one"}"#);
    assert_eq!((bench.payloads(), direct(&bench)), (vec!["1".to_owned()], vec![]));
    bench.clear();
    bench.text(r#"{"payload":{"x":[2]},"type":"e"}"#);
    assert_eq!(direct(&bench), [(Some("e".into()), r#"{"x":[2]}"#.into())]);
    assert!(matches!(&bench.events[1], Event::Message(message) if message.implied && message.size == 0));
    bench.subscribe("two");
    bench.clear();
    bench.text(r#"{"type":"e","payload":3}"#);
    assert_eq!((bench.payloads().len(), direct(&bench).len()), (0, 1));
    bench.text(r#"{"type":"e","payload":4,"channel":"three"}"#);
    assert_eq!(bench.session.stats().unroutable, 1);
}

#[test]
fn json_of_any_shape_arrives() {
    let mut bench = Bench::connected_plain(config());
    for text in ["[1,2]", r#""text""#, "7", r#"{"no":"type"}"#, r#"{"type":5}"#, r#" {"type":"only"} "#] {
        bench.text(text);
    }
    let expected = [
        (None, "[1,2]"),
        (None, r#""text""#),
        (None, "7"),
        (None, r#"{"no":"type"}"#),
        (None, r#"{"type":5}"#),
        (Some("only".to_owned()), "null"),
    ];
    assert_eq!(direct(&bench), expected.map(|(event, payload)| (event, payload.to_owned())));
    bench.clear();
    bench.text("not json");
    bench.text(r#"{"type":"e","payload":1},"x":{}"#);
    assert_eq!(bench.errors(), ["malformed", "malformed"]);
    assert_eq!(bench.session.stats().malformed, 2);
}

#[test]
fn either_ping_proves_life() {
    let mut bench = Bench::connected_plain(config());
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.sent_of("ping").len(), 1);
    let ping = bench.frames.iter().find_map(|frame| match frame {
        Frame::Ping(payload) => Some(payload.clone()),
        _ => None,
    });
    bench.pass(Duration::from_millis(7));
    bench.frame(Frame::Pong(ping.unwrap()));
    assert_eq!(bench.session.stats().latency, Some(Duration::from_millis(7)));
    bench.pass(Duration::from_secs(30));
    bench.pass(Duration::from_millis(3));
    bench.text(r#"{"type":"pong","timestamp":12}"#);
    assert!(bench.session.stats().latency < Some(Duration::from_millis(50)));
    assert!(direct(&bench).is_empty(), "pongs are not for the application");
}

#[test]
fn binary_goes_both_ways_but_not_in_channels() {
    let mut bench = Bench::connected_plain(config());
    bench.frame(Frame::Binary(Bytes::from_static(&[0, 1, 255])));
    assert!(
        matches!(&bench.events[0], Event::Direct(m) if m.content.to_data() == Data::Binary(Bytes::from_static(&[0, 1, 255])))
    );
    let permit = bench.session.budget().reserve(1).unwrap();
    bench.session.send(bench.now, RequestId(1), None, Data::Binary(Bytes::from_static(b"x")), permit).unwrap();
    bench.drain();
    assert_eq!(bench.frames.last(), Some(&Frame::Binary(Bytes::from_static(b"x"))));
    let room = bench.session.channel("room").unwrap();
    bench.publish(room, Data::Binary(Bytes::from_static(b"x"))).unwrap();
    bench.drain();
    assert_eq!(bench.failures().len(), 1);
    assert_eq!(bench.failures()[0].1, "unsupported");
}

#[test]
fn a_full_inbox_stops_reading_and_silence_then_proves_nothing() {
    let mut config = config();
    config.inbox = Window { connection: 200, channel: 200 };
    let mut bench = Bench::connected_plain(config);
    let id = bench.subscribe("room");
    while bench.session.wants_read() {
        bench.text(r#"{"type":"e","payload":"0123456789","channel":"room"}"#);
    }
    let held = bench.session.stats().unconsumed_bytes;
    assert!(held < 300);
    bench.pass(Duration::from_secs(300));
    assert_eq!(bench.session.status(), realtime_engine::Status::Connected);
    bench.session.consumed(bench.now, Some(id), held);
    assert!(bench.session.wants_read());
    bench.pass(Duration::from_secs(61));
    assert_eq!(bench.session.status(), realtime_engine::Status::Reconnecting);
}
