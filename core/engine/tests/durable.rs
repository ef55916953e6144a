//! A durable outbox: what is in its file, and what a later run makes of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use realtime_engine::{Config, Data, ErrorKind, Event, Mutation, RequestId, Restored, WhenFull};
use support::{Bench, config, json};

fn receipt(bench: &mut Bench, id: u64) {
    bench.text(&format!(r#"{{"type":"receipt","id":{id},"epoch":"a","offset":{id}}}"#));
}

fn connected(bench: &mut Bench) {
    bench.connect();
    bench.open_v1();
}

/// Ids and payloads of the publishes that were sent.
fn published(bench: &Bench) -> Vec<(u64, u64)> {
    bench.sent_of("publish").iter().map(|m| (m["id"].as_u64().unwrap(), m["payload"].as_u64().unwrap())).collect()
}

fn session_of(bench: &Bench) -> String {
    bench.last_sent("hello")["session"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_written_goes_again_in_the_next_run_with_the_same_session_and_ids() {
    let mut first = Bench::durable(config(), &[], 1);
    connected(&mut first);
    let room = first.session.channel("room").unwrap();
    for n in 1..=5 {
        first.publish_now(room, &n.to_string());
    }
    receipt(&mut first, 1);
    receipt(&mut first, 3);
    assert_eq!(published(&first).len(), 5);

    let mut second = Bench::durable(config(), &first.file, 2);
    let room = second.session.channel("room").unwrap();
    second.publish_now(room, "6");
    connected(&mut second);
    assert_eq!(session_of(&second), session_of(&first));
    let sent = published(&second);
    assert_eq!(sent[..3], [(2, 2), (4, 4), (5, 5)]);
    assert!(sent[3].0 > 1 << 31 && sent[3].1 == 6, "far beyond what a power cut can have hidden: {sent:?}");
    assert_eq!(second.session.stats().restored, 3);
    for (id, _) in sent {
        receipt(&mut second, id);
    }
    assert_eq!(second.receipts().len(), 1, "nobody waits for the others");
    assert_eq!((second.session.stats().acknowledged, second.session.stats().queued), (4, 0));
    assert!(Restored::decode(&second.file).unwrap().is_empty());
}

#[test]
fn a_run_that_has_to_repeat_nothing_begins_a_session_of_its_own() {
    let mut first = Bench::durable(config(), &[], 1);
    let room = first.session.channel("room").unwrap();
    connected(&mut first);
    first.publish_now(room, "1");
    receipt(&mut first, 1);
    first.closed(None);
    first.publish_now(room, "2");
    let mut second = Bench::durable(config(), &first.file, 2);
    connected(&mut second);
    assert_ne!(session_of(&second), session_of(&first));
    assert_eq!(published(&second), [(1, 2)]);
}

#[test]
fn nothing_goes_out_before_its_id_is_in_the_file() {
    let mut bench = Bench::durable(config(), &[], 1);
    let room = bench.session.channel("room").unwrap();
    connected(&mut bench);
    bench.publish(room, json("1")).unwrap();
    bench.disk_full = true;
    bench.drain();
    assert!(published(&bench).is_empty());
    assert_eq!(bench.errors(), ["storage_failed"]);
    bench.pass(Duration::from_millis(2500));
    assert_eq!(bench.errors(), ["storage_failed"], "told once");
    bench.disk_full = false;
    bench.pass(Duration::from_secs(1));
    assert_eq!(published(&bench), [(1, 1)]);
    let mut again = Bench::durable(config(), &bench.file, 2);
    connected(&mut again);
    assert_eq!(published(&again), [(1, 1)]);
}

#[test]
fn a_send_that_cannot_be_kept_is_refused_and_leaves_nothing() {
    let mut config = config();
    config.queue_messages = 2;
    config.when_full = WhenFull::DropOldest;
    let mut bench = Bench::durable(config, &[], 1);
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.publish_now(room, "2");
    bench.clear();
    bench.disk_full = true;
    let before = bench.file.clone();
    let permit = bench.session.budget().reserve_anyway(1);
    bench.session.publish(bench.now, RequestId(9), room, "e".into(), json("3"), permit).unwrap();
    assert_eq!(bench.write_journal().unwrap_err().kind, ErrorKind::StorageFailed);
    bench.drain();
    assert!(bench.events.is_empty(), "the caller was told, and nothing was dropped for it: {:?}", bench.events);
    assert_eq!((bench.session.stats().queued, &bench.file), (2, &before));
    bench.disk_full = false;
    let permit = bench.session.budget().reserve_anyway(1);
    bench.session.publish(bench.now, RequestId(9), room, "e".into(), json("4"), permit).unwrap();
    bench.drain();
    assert_eq!(bench.failures(), [(1, "dropped")]);
    connected(&mut bench);
    assert_eq!(published(&bench), [(1, 2), (2, 4)]);
}

#[test]
fn a_disconnect_keeps_what_is_left_and_says_so() {
    let mut bench = Bench::durable(config(), &[], 1);
    let room = bench.session.channel("room").unwrap();
    connected(&mut bench);
    bench.publish_now(room, "1");
    bench.session.disconnect(bench.now, Duration::ZERO);
    bench.drain();
    assert_eq!(bench.failures(), [(1, "deferred")]);
    assert_eq!((bench.session.stats().deferred, bench.session.stats().failed), (1, 0));
    assert!(bench.session.is_at_rest());
    bench.clear();
    connected(&mut bench);
    assert_eq!(published(&bench), [(1, 1)], "the same id: the server may have it");
    receipt(&mut bench, 1);
    assert!(bench.receipts().is_empty() && bench.errors().is_empty());
    assert_eq!(bench.session.stats().queued, 0);
}

#[test]
fn another_client_may_have_sent_it_between_disconnect_and_connect() {
    let mut bench = Bench::durable(config(), &[], 1);
    let room = bench.session.channel("room").unwrap();
    connected(&mut bench);
    bench.publish_now(room, "1");
    bench.publish_now(room, "2");
    bench.session.disconnect(bench.now, Duration::ZERO);
    bench.drain();
    let mut other = Bench::durable(config(), &bench.file, 2);
    connected(&mut other);
    receipt(&mut other, 1);
    let file = other.file.clone();
    bench.restore(&file);
    bench.clear();
    connected(&mut bench);
    assert_eq!(published(&bench), [(2, 2)]);
    assert_eq!(bench.session.stats().queued, 1);
}

#[test]
fn mutations_are_not_kept_and_take_their_ids_all_the_same() {
    let mut bench = Bench::durable(config(), &[], 1);
    let (room, tasks) = (bench.session.channel("room").unwrap(), bench.session.collection("room", "tasks").unwrap());
    for n in 0..6 {
        if n % 3 == 1 {
            let record = format!(r#"{{"id":"t{n}"}}"#);
            let insert = Mutation::Insert { record: record.as_bytes() };
            bench.session.mutate(bench.now, RequestId(100 + n), tasks, insert, None).unwrap();
        } else {
            bench.publish(room, json(&n.to_string())).unwrap();
        }
    }
    connected(&mut bench);
    let ids = [(1, 0), (3, 2), (4, 3), (6, 5)];
    assert_eq!(published(&bench), ids);
    bench.session.disconnect(bench.now, Duration::ZERO);
    bench.drain();
    let mut failures = bench.failures();
    failures.sort_unstable();
    assert_eq!(failures[..4].iter().map(|(_, code)| *code).collect::<Vec<_>>(), ["deferred"; 4]);
    assert_eq!(failures[4..], [(101, "closed"), (104, "closed")]);
    for file in [bench.file.clone(), bench.session.journal_snapshot()] {
        let mut later = Bench::durable(config(), &file, 2);
        connected(&mut later);
        assert_eq!(published(&later), ids);
    }
}

#[test]
fn what_ends_the_client_ends_no_message() {
    let mut config = config();
    config.max_attempts = Some(1);
    let mut bench = Bench::durable(config.clone(), &[], 1);
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.connect();
    bench.open_failed(realtime_engine::OpenError::Unreachable("no".into()));
    assert_eq!(bench.failures(), [(1, "deferred")]);
    let told = bench.events.iter().find_map(|event| match event {
        Event::SendFailed { error, .. } => Some(error.message.clone()),
        _ => None,
    });
    assert!(told.unwrap().contains("gave up after 1 failed attempts"));
    assert_eq!(Restored::decode(&bench.file).unwrap().len(), 1);
}

#[test]
fn a_refusal_of_what_nobody_waits_for_is_an_error_event() {
    let mut first = Bench::durable(config(), &[], 1);
    let room = first.session.channel("room").unwrap();
    first.publish_now(room, "1");
    let mut bench = Bench::durable(config(), &first.file, 2);
    connected(&mut bench);
    bench.text(r#"{"type":"error","code":"forbidden","message":"no","id":1}"#);
    let error = bench.events.iter().find_map(|event| match event {
        Event::Error(error) => Some(error.clone()),
        _ => None,
    });
    let error = error.unwrap();
    assert_eq!(error.code(), "forbidden");
    assert!(
        error.message.starts_with("a message \"e\" to channel \"room\", which the outbox kept from before, failed")
    );
    assert!(Restored::decode(&bench.file).unwrap().is_empty());
}

#[test]
fn a_send_timeout_ends_it_for_good_and_counts_anew_from_the_start() {
    let mut config = config();
    config.send_timeout = Some(Duration::from_secs(2));
    let mut first = Bench::durable(config.clone(), &[], 1);
    let room = first.session.channel("room").unwrap();
    first.publish_now(room, "1");
    first.pass(Duration::from_secs(1));
    let mut bench = Bench::durable(config, &first.file, 2);
    bench.now = first.now + Duration::from_secs(3600);
    bench.connect();
    bench.pass(Duration::from_millis(1999));
    assert_eq!(bench.session.stats().queued, 1);
    bench.pass(Duration::from_millis(1));
    assert!(bench.errors().contains(&"timeout"));
    assert!(Restored::decode(&bench.file).unwrap().is_empty());
}

#[test]
fn plain_writes_are_done_once_they_are_written() {
    let mut bench = Bench::durable(config(), &[], 1);
    let room = bench.session.channel("room").unwrap();
    bench.connect();
    bench.opened(None);
    bench.publish_now(room, "1");
    assert_eq!(Restored::decode(&bench.file).unwrap().len(), 1);
    bench.flushed();
    assert_eq!(bench.receipts().len(), 1);
    assert!(Restored::decode(&bench.file).unwrap().is_empty());
}

#[test]
fn what_is_restored_counts_against_the_bound() {
    let mut first = Bench::durable(config(), &[], 1);
    let room = first.session.channel("room").unwrap();
    for n in 1..=5 {
        first.publish_now(room, &n.to_string());
    }
    let mut small = config();
    small.queue_messages = 3;
    let mut bench = Bench::durable(small, &first.file, 2);
    let room = bench.session.channel("room").unwrap();
    assert_eq!(bench.session.stats().queued, 5);
    assert_eq!(bench.publish(room, json("6")).unwrap_err().kind, ErrorKind::QueueFull);
    connected(&mut bench);
    (1..=5).for_each(|id| receipt(&mut bench, id));
    assert!(bench.events.iter().any(|event| matches!(event, Event::Writable)));
    bench.publish(room, json("6")).unwrap();
}

#[test]
fn a_file_is_begun_anew_before_it_is_large() {
    let mut bench = Bench::durable(config(), &[], 1);
    let room = bench.session.channel("room").unwrap();
    connected(&mut bench);
    let payload = format!("\"{}\"", "x".repeat(100_000));
    let (mut largest, mut anew) = (0, 0);
    for id in 1..=200 {
        bench.publish_now(room, &payload);
        receipt(&mut bench, id);
        largest = largest.max(bench.file.len());
        if bench.session.wants_journal_snapshot() {
            bench.file = bench.session.journal_snapshot();
            bench.session.journal_replaced(bench.file.len());
            anew += 1;
        }
    }
    assert!(largest < 5 << 20, "{largest}");
    assert_eq!(anew, 4);
}

/// Payload numbers and, where they have one, ids.
type Kept = BTreeMap<u64, Option<u64>>;

/// A run with everything that ends a message, as the file after every write, with what is kept at that moment.
fn recorded() -> (Vec<(usize, Kept)>, Vec<u8>) {
    let mut config: Config = config();
    config.send_timeout = Some(Duration::from_secs(60));
    let mut bench = Bench::durable(config, &[], 1);
    let mut states = Vec::new();
    let mut note = |bench: &Bench| {
        let restored = Restored::decode(&bench.file).unwrap();
        states.push((bench.file.len(), kept(&restored)));
    };
    note(&bench);
    let room = bench.session.channel("room").unwrap();
    for n in 1..=3 {
        bench.publish_now(room, &n.to_string());
        note(&bench);
    }
    connected(&mut bench);
    note(&bench);
    receipt(&mut bench, 2);
    note(&bench);
    for n in 4..=9 {
        bench.publish_now(room, &n.to_string());
        note(&bench);
    }
    bench.text(r#"{"type":"error","code":"forbidden","message":"no","id":4}"#);
    note(&bench);
    bench.text("{\"type\":\"receipt\",\"id\":5}\n{\"type\":\"receipt\",\"id\":6}\n{\"type\":\"receipt\",\"id\":1}");
    note(&bench);
    bench.closed(None);
    bench.publish(room, Data::Binary(Bytes::from_static(b"\x00binary"))).unwrap();
    note(&bench);
    bench.pass(Duration::from_secs(61));
    note(&bench);
    (states, bench.file)
}

/// Payload number and id of what a file keeps, as the wire will say it.
fn kept(restored: &Restored) -> Kept {
    let mut bench = Bench::new(config());
    bench.session.restore(bench.now, restored.clone());
    let has_ids = restored.len();
    connected(&mut bench);
    let mut all = BTreeMap::new();
    for message in bench.sent_of("publish") {
        let id = message["id"].as_u64().unwrap();
        all.insert(message["payload"].as_u64().unwrap_or(0), Some(id).filter(|id| *id < 1 << 32));
    }
    assert!(all.len() <= has_ids);
    all
}

#[test]
fn every_prefix_of_a_file_is_what_was_so_then() {
    let (states, file) = recorded();
    let whole: BTreeSet<usize> = states.iter().map(|(at, _)| *at).collect();
    let start = states[0].0;
    for end in 0..=file.len() {
        let decoded = Restored::decode(&file[..end]);
        if end < start {
            assert_eq!(decoded.unwrap_err().kind, ErrorKind::OutboxDamaged, "at {end}");
            continue;
        }
        let restored = decoded.unwrap();
        assert_eq!(restored.whole() + restored.torn(), end);
        if whole.contains(&end) {
            assert_eq!(restored.torn(), 0);
            let expected = &states.iter().rev().find(|(at, _)| *at == end).unwrap().1;
            assert_eq!(&kept(&restored), expected, "at {end}");
        }
    }
}

#[test]
fn damage_in_the_middle_is_refused_and_at_the_end_is_told() {
    let (_, file) = recorded();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x40;
        match Restored::decode(&damaged) {
            Ok(restored) => assert!(restored.torn() > 0 && restored.whole() <= at, "in silence at {at}"),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::OutboxDamaged);
                assert!(error.message.contains("byte") || error.message.contains("version") || at < 8, "{error}");
            }
        }
    }
    let error = Restored::decode(&[]).unwrap_err();
    assert_eq!(
        (error.code(), error.message.as_str()),
        ("outbox_damaged", "the file is empty, which it never is by itself")
    );
    let mut newer = file;
    newer[11] = 2;
    assert!(Restored::decode(&newer).unwrap_err().message.contains("version is 2"));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_understood(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Restored::decode(&bytes);
        let (_, mut file) = recorded();
        file.extend(&bytes);
        // Whatever stands behind whole records: they are not lost in silence.
        if let Ok(restored) = Restored::decode(&file) {
            prop_assert_eq!(restored.torn(), bytes.len());
        }
    }

    #[test]
    fn damage_never_goes_unnoticed(at in 0usize..10_000, length in 1usize..40, with in any::<u8>()) {
        let (_, file) = recorded();
        let at = at % file.len();
        let mut damaged = file.clone();
        damaged.iter_mut().skip(at).take(length).for_each(|byte| *byte = with);
        if damaged != file && let Ok(restored) = Restored::decode(&damaged) {
            prop_assert!(restored.torn() > 0);
        }
    }
}
