//! Snapshots: after a gap the channel's messages wait until the application has loaded one.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use realtime_engine::wire::{Frame, Window};
use realtime_engine::{ChannelId, Covered, Event, LoadOn};
use support::{Bench, config};

/// The loads that were asked for: number, reason, last missing offset.
fn loads(bench: &Bench) -> Vec<(u64, &'static str, Option<u64>)> {
    let loads = bench.events.iter().filter_map(|event| match event {
        Event::Load(load) => Some((load.load, load.gap.reason, load.gap.to)),
        _ => None,
    });
    loads.collect()
}

fn covered(epoch: Option<&str>, offset: u64) -> Option<Covered> {
    Some(Covered { epoch: epoch.map(Into::into), offset })
}

fn loaded(bench: &mut Bench, id: ChannelId, load: u64, covered: Option<Covered>) {
    bench.session.loaded(bench.now, id, load, covered);
    bench.drain();
}

fn consume_all(bench: &mut Bench, id: ChannelId) {
    let bytes = bench.session.stats().unconsumed_bytes;
    bench.session.consumed(bench.now, Some(id), bytes);
    bench.drain();
}

/// A channel at offset 0 of epoch `a` that wants to load.
fn loading(on: LoadOn) -> (Bench, ChannelId) {
    let mut bench = Bench::connected(config());
    let id = bench.session.channel("room").unwrap();
    bench.session.load_on(bench.now, id, on);
    bench.subscribed("room", "a", 0);
    (bench, id)
}

fn reconnect(bench: &mut Bench) {
    bench.closed(None);
    bench.pass_to_deadline();
    bench.clear();
    bench.open_v1();
}

#[test]
fn messages_wait_for_the_snapshot_and_follow_it() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 4, "4");
    bench.message("room", 5, "5");
    assert_eq!(bench.gaps(), [("missing", Some(1), Some(3))]);
    assert_eq!(loads(&bench), [(1, "missing", Some(3))]);
    assert!(bench.payloads().is_empty());
    assert!(bench.session.stats().unconsumed_bytes > 0, "what waits counts");
    loaded(&mut bench, id, 1, None);
    assert_eq!(bench.payloads(), ["4", "5"]);
    bench.message("room", 6, "6");
    assert_eq!(bench.payloads(), ["4", "5", "6"]);
    assert_eq!(bench.session.stats().messages_received, 3);
}

#[test]
fn without_the_wish_nothing_waits() {
    let (mut bench, _) = loading(LoadOn::Never);
    bench.message("room", 4, "4");
    assert_eq!((bench.payloads(), loads(&bench)), (vec!["4".to_owned()], vec![]));
}

#[test]
fn what_the_snapshot_contains_is_dropped_counted_and_consumed() {
    let (mut bench, id) = loading(LoadOn::Gap);
    for offset in 4..=6 {
        bench.message("room", offset, &offset.to_string());
    }
    loaded(&mut bench, id, 1, covered(None, 7));
    assert_eq!((bench.payloads().len(), bench.session.stats().unconsumed_bytes), (0, 0));
    bench.message("room", 7, "7");
    bench.message("room", 8, "8");
    assert_eq!(bench.payloads(), ["8"], "also what comes after the load has ended");
    assert_eq!(bench.session.stats().covered, 4);
}

#[test]
fn another_gap_asks_for_another_load_unless_the_snapshot_contains_it() {
    let (mut bench, id) = loading(LoadOn::Gap);
    for offset in [4, 7, 10] {
        bench.message("room", offset, &offset.to_string());
    }
    loaded(&mut bench, id, 1, covered(Some("a"), 6));
    assert_eq!(bench.gaps().len(), 3, "every gap is told");
    assert_eq!(bench.payloads(), ["7"], "4 is in the snapshot, and so is the gap before 7");
    assert_eq!(loads(&bench).len(), 1, "7 is not consumed yet");
    // The lines of 7 and 10 differ by two digits.
    let seven = (bench.session.stats().unconsumed_bytes - 2) / 2;
    bench.session.consumed(bench.now, Some(id), seven);
    bench.drain();
    assert_eq!(loads(&bench)[1..], [(2, "missing", Some(9))]);
    loaded(&mut bench, id, 2, None);
    assert_eq!(bench.payloads(), ["7", "10"]);
}

#[test]
fn a_load_waits_until_all_before_it_is_consumed() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 1, "1");
    let before = bench.session.stats().unconsumed_bytes;
    bench.message("room", 4, "4");
    assert_eq!((bench.gaps().len(), loads(&bench).len()), (1, 0));
    bench.session.consumed(bench.now, Some(id), before - 1);
    bench.drain();
    assert!(loads(&bench).is_empty());
    bench.session.consumed(bench.now, Some(id), 1);
    bench.drain();
    assert_eq!(loads(&bench), [(1, "missing", Some(3))]);
    loaded(&mut bench, id, 1, None);
    assert_eq!(bench.payloads(), ["1", "4"]);
}

#[test]
fn a_load_lasts_over_reconnects() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 4, "4");
    reconnect(&mut bench);
    assert_eq!(bench.last_sent("subscribe")["since"]["offset"], 4);
    bench.answer_subscribe("room", "a", 4, Some(true));
    bench.message("room", 5, "5");
    loaded(&mut bench, id, 1, None);
    assert_eq!(bench.payloads(), ["4", "5"]);
}

#[test]
fn a_new_epoch_while_loading_is_loaded_again() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 4, "4");
    reconnect(&mut bench);
    bench.answer_subscribe("room", "b", 0, Some(false));
    bench.message("room", 1, "\"b1\"");
    loaded(&mut bench, id, 1, covered(None, 100));
    assert!(bench.payloads().is_empty(), "4 is in the snapshot, b1 waits for the next one");
    assert_eq!(bench.gaps(), [("epoch", None, None)]);
    assert_eq!(loads(&bench), [(2, "epoch", None)]);
    loaded(&mut bench, id, 2, covered(None, 0));
    assert_eq!(bench.payloads(), ["\"b1\""]);
}

#[test]
fn a_snapshot_of_the_new_epoch_is_enough() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 4, "4");
    reconnect(&mut bench);
    bench.answer_subscribe("room", "b", 2, Some(false));
    for offset in 3..=4 {
        bench.message("room", offset, &format!("\"b{offset}\""));
    }
    loaded(&mut bench, id, 1, covered(Some("b"), 3));
    assert_eq!(bench.payloads(), ["\"b4\""]);
    assert_eq!((loads(&bench).len(), bench.session.stats().covered), (0, 2));
}

#[test]
fn a_snapshot_of_a_history_that_went_back_says_nothing_of_the_new_one() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 4, "4");
    loaded(&mut bench, id, 1, covered(None, 100));
    reconnect(&mut bench);
    bench.answer_subscribe("room", "a", 1, Some(false));
    bench.message("room", 2, "2");
    assert_eq!(loads(&bench), [(2, "epoch", Some(1))]);
    loaded(&mut bench, id, 2, None);
    assert_eq!(bench.payloads(), ["2"]);
}

#[test]
fn what_ends_another_load_ends_nothing() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 4, "4");
    bench.session.unsubscribe(bench.now, id);
    bench.drain();
    assert_eq!((bench.session.stats().unroutable, bench.session.stats().unconsumed_bytes), (1, 0));
    bench.subscribed("room", "a", 4);
    bench.message("room", 6, "6");
    assert_eq!(loads(&bench), [(2, "missing", Some(5))]);
    loaded(&mut bench, id, 1, covered(None, 100));
    assert!(bench.payloads().is_empty());
    loaded(&mut bench, id, 2, None);
    assert_eq!(bench.payloads(), ["6"]);
}

#[test]
fn giving_up_the_wish_lets_go_of_what_waits() {
    let (mut bench, id) = loading(LoadOn::Gap);
    for offset in [4, 7] {
        bench.message("room", offset, &offset.to_string());
    }
    bench.session.load_on(bench.now, id, LoadOn::Never);
    bench.drain();
    assert_eq!((bench.payloads(), bench.gaps().len()), (vec!["4".to_owned(), "7".to_owned()], 2));
    loaded(&mut bench, id, 1, covered(None, 100));
    bench.message("room", 8, "8");
    assert_eq!(bench.payloads().len(), 3);
}

#[test]
fn what_was_loaded_is_left_out_also_where_no_more_is_wanted() {
    let (mut bench, id) = loading(LoadOn::Gap);
    bench.message("room", 20, "20");
    consume_all(&mut bench, id);
    let (load, ..) = loads(&bench)[0];
    loaded(&mut bench, id, load, covered(None, 22));
    bench.clear();
    bench.session.load_on(bench.now, id, LoadOn::Never);
    bench.drain();
    for offset in 21..25 {
        bench.message("room", offset, &offset.to_string());
    }
    assert_eq!(bench.payloads(), ["23", "24"]);
}

#[test]
fn a_subscription_can_begin_with_a_load() {
    let mut bench = Bench::connected(config());
    let id = bench.session.channel("room").unwrap();
    bench.session.load_on(bench.now, id, LoadOn::GapAndSubscribe);
    bench.subscribe("room");
    bench.answer_subscribe("room", "a", 5, None);
    bench.message("room", 6, "6");
    assert_eq!((loads(&bench), bench.gaps()), (vec![(1, "initial", Some(5))], vec![]));
    assert!(bench.payloads().is_empty());
    loaded(&mut bench, id, 1, None);
    assert_eq!((bench.payloads(), bench.session.stats().gaps), (vec!["6".to_owned()], 0));
    reconnect(&mut bench);
    bench.answer_subscribe("room", "a", 6, Some(true));
    assert!(loads(&bench).is_empty(), "a whole recovery needs none");
}

#[test]
fn no_credit_is_given_for_what_waits() {
    let mut config = config();
    config.inbox = Window { connection: 1000, channel: 1000 };
    let mut bench = Bench::connected(config);
    let id = bench.session.channel("room").unwrap();
    bench.session.load_on(bench.now, id, LoadOn::Gap);
    bench.subscribed("room", "a", 0);
    for offset in 2..12 {
        bench.message("room", offset, "1");
    }
    assert!(bench.sent_of("credit").is_empty());
    loaded(&mut bench, id, 1, None);
    consume_all(&mut bench, id);
    assert_eq!(bench.sent_of("credit").len(), 1);
}

#[test]
fn in_plain_every_reconnect_is_loaded_after() {
    let mut bench = Bench::connected_plain(config());
    let id = bench.session.channel("room").unwrap();
    bench.session.load_on(bench.now, id, LoadOn::GapAndSubscribe);
    bench.subscribe("room");
    assert_eq!(loads(&bench), [(1, "initial", None)]);
    let said = |payload: u32| format!(r#"{{"type":"said","channel":"room","payload":{payload}}}"#);
    bench.text(&said(1));
    bench.closed(None);
    bench.pass_to_deadline();
    bench.opened(None);
    bench.text(&said(2));
    assert!(bench.payloads().is_empty());
    loaded(&mut bench, id, 1, None);
    assert_eq!((bench.payloads(), loads(&bench).len()), (vec!["1".to_owned()], 1), "1 is not consumed yet");
    bench.session.consumed(bench.now, Some(id), said(1).len() as u64);
    bench.drain();
    assert_eq!(loads(&bench)[1..], [(2, "reconnect", None)]);
    assert!(bench.gaps().is_empty());
    loaded(&mut bench, id, 2, None);
    assert_eq!(bench.payloads(), ["1", "2"]);
}

#[test]
fn in_plain_what_waits_stops_the_reading_whether_it_names_its_channel_or_not() {
    let mut config = config();
    config.inbox = Window { connection: 100, channel: 100 };
    let mut bench = Bench::connected_plain(config);
    let id = bench.session.channel("room").unwrap();
    bench.session.load_on(bench.now, id, LoadOn::GapAndSubscribe);
    bench.subscribe("room");
    let frame = Bytes::from(r#"{"type":"said","payload":"a payload of some forty bytes and more"}"#);
    for _ in 0..2 {
        bench.frame(Frame::Text(frame.clone()));
        // What came as a direct message is consumed; its copy waits.
        bench.session.consumed(bench.now, None, frame.len() as u64);
        bench.drain();
    }
    assert!(!bench.session.wants_read());
    loaded(&mut bench, id, 1, None);
    assert_eq!(bench.payloads().len(), 2);
    consume_all(&mut bench, id);
    assert!(bench.session.wants_read());
    assert_eq!(bench.session.stats().messages_received, 2);
}
