//! What presence and collections cost a session: taking a snapshot over, a change, a mutation of its own, at several sizes.
//!
//! `cargo run --release -p realtime-engine --example replica_cost`
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use realtime_engine::wire::Frame;
use realtime_engine::{Attempt, ChannelId, Config, Event, Input, Mutation, Output, RequestId, Session, Timestamp};

const CHANGES: usize = 10_000;

fn main() {
    for records in [1_000, 10_000, 100_000] {
        collection(records);
    }
    for members in [100, 1_000, 10_000] {
        presence(members);
    }
}

fn collection(records: usize) {
    let (mut session, now) = session();
    let id = session.collection("room", "tasks").unwrap();
    session.watch(now, id);
    drain(&mut session, now);
    begin(&mut session, now, r#""collection":"tasks""#);
    let record = |at: usize| {
        format!(
            r#"{{"id":"task-{at:07}","title":"something to be done, number {at}","done":false,"by":["ann","bob"]}}"#
        )
    };
    let pages: Vec<Bytes> = (0..records)
        .collect::<Vec<_>>()
        .chunks(200)
        .enumerate()
        .map(|(part, page)| {
            let rows: Vec<_> =
                page.iter().map(|at| format!(r#"{{"key":"task-{at:07}","revision":{at},"record":{}}}"#, record(*at))).collect();
            let end = if page.last() == Some(&(records - 1)) { format!(r#","end":{records}"#) } else { String::new() };
            Bytes::from(format!(
                r#"{{"type":"snapshot","channel":"room","collection":"tasks","epoch":"e","offset":{records},"part":{part}{end},"records":[{}]}}"#,
                rows.join(",")
            ))
        })
        .collect();
    let bytes: usize = pages.iter().map(Bytes::len).sum();
    let took = timed(|| pages.iter().for_each(|page| text(&mut session, now, page.clone())));
    let per_record = took.as_nanos() as usize / records;
    println!("collection of {records}: snapshot of {} MB in {took:.1?}, {per_record} ns a record", bytes / 1_000_000);

    let changes: Vec<Bytes> = (1..=CHANGES)
        .map(|at| {
            let (key, offset) = (at * 7919 % records, records + at);
            Bytes::from(format!(
                r#"{{"type":"change","channel":"room","collection":"tasks","op":"update","key":"task-{key:07}","offset":{offset},"user":"ann","timestamp":1700000000000,"payload":{{"done":true,"n":{at}}}}}"#
            ))
        })
        .collect();
    let took = timed(|| changes.iter().for_each(|change| text(&mut session, now, change.clone())));
    println!("collection of {records}: {} ns a change", took.as_nanos() as usize / CHANGES);

    let took = timed(|| {
        for at in 0..1000 {
            let key = format!("task-{:07}", at * 104_729 % records);
            let update = Mutation::Update { key: &key, patch: br#"{"done":false}"# };
            session.mutate(now, RequestId(at as u64), id, update, None).unwrap();
        }
    });
    println!("collection of {records}: {} ns a mutation", took.as_nanos() / 1000);
}

fn presence(members: usize) {
    let (mut session, now) = session();
    let id: ChannelId = session.presence("room").unwrap();
    session.watch(now, id);
    drain(&mut session, now);
    begin(&mut session, now, r#""presence":true"#);
    let meta = |at: usize, status: &str| {
        format!(
            r#"{{"ref":"r{at}","key":"user-{at}","verified":true,"status":"{status}","state":{{"name":"User {at}","cursor":[1,2]}},"joined_at":1700000000000,"seen_at":1700000000000}}"#
        )
    };
    let metas: Vec<_> = (0..members).map(|at| meta(at, "online")).collect();
    let page = format!(
        r#"{{"type":"snapshot","channel":"room","presence":true,"epoch":"e","offset":0,"part":0,"end":0,"members":[{}]}}"#,
        metas.join(",")
    );
    let took = timed(|| text(&mut session, now, Bytes::from(page)));
    println!("presence of {members}: snapshot in {took:.1?}");
    let changes: Vec<Bytes> = (1..=CHANGES)
        .map(|at| {
            let joined = meta(at * 7919 % members, if at % 2 == 0 { "away" } else { "busy" });
            Bytes::from(format!(
                r#"{{"type":"presence","channel":"room","offset":{at},"timestamp":1700000000000,"join":[{joined}]}}"#
            ))
        })
        .collect();
    let took = timed(|| changes.iter().for_each(|change| text(&mut session, now, change.clone())));
    println!("presence of {members}: {} ns a change", took.as_nanos() as usize / CHANGES);
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

fn session() -> (Session, Timestamp) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut session = Session::new(Config::new("ws://server.test"), now, 7).unwrap();
    session.connect(now);
    drain(&mut session, now);
    session.handle(now, Input::Opened { attempt: Attempt(1), protocol: Some("realtime.v1".into()) });
    text(
        &mut session,
        now,
        r#"{"type":"welcome","session":"s","connection":"c","resumed":false,"heartbeat":30000,"timeout":60000,"encoding":"text","time":1,"limits":{"frame":1000000,"payload":900000,"channels":100,"inflight":1000,"rate":0},"server":"t"}"#.into(),
    );
    (session, now)
}

fn begin(session: &mut Session, now: Timestamp, stream: &str) {
    let id = (1_u64 << 52) + 1;
    text(
        session,
        now,
        format!(r#"{{"type":"subscribed","id":{id},"channel":"room",{stream},"epoch":"e","offset":0}}"#).into(),
    );
}

fn text(session: &mut Session, now: Timestamp, text: Bytes) {
    session.handle(now, Input::Frame { attempt: Attempt(1), frame: Frame::Text(text) });
    drain(session, now);
}

/// Takes what there is, as an application that consumes everything at once.
fn drain(session: &mut Session, now: Timestamp) {
    let mut consumed = vec![];
    while let Some(output) = session.poll() {
        match output {
            Output::Event(Event::Change(change)) if change.size > 0 => consumed.push((change.collection, change.size)),
            Output::Event(Event::Presence(change)) if change.size > 0 => consumed.push((change.presence, change.size)),
            _ => {}
        }
    }
    for (id, size) in consumed {
        session.consumed(now, Some(id), size);
    }
}
