//! What the flight recorder costs: messages a second through a session, with it and without, in turns.
//!
//! `cargo run --release -p realtime-engine --example recorder_cost`
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::Instant;

use bytes::Bytes;
use realtime_engine::wire::Frame;
use realtime_engine::{Attempt, Config, Data, Event, Input, Output, RequestId, Session, Text, Timestamp};

const MESSAGES: u64 = 400_000;
const ROUNDS: usize = 15;

fn main() {
    for per_frame in [1, 32] {
        let mut rates = [vec![], vec![]];
        for _ in 0..ROUNDS {
            for (rates, record) in rates.iter_mut().zip([0, 512]) {
                rates.push(receive(record, per_frame));
            }
        }
        report(&format!("received, {per_frame} a frame"), rates);
    }
    let mut rates = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (rates, record) in rates.iter_mut().zip([0, 512]) {
            rates.push(publish(record));
        }
    }
    report("published with receipts", rates);
}

fn report(what: &str, [without, with]: [Vec<f64>; 2]) {
    let median = |mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (without, with) = (median(without), median(with));
    let cost = 1e9 / with - 1e9 / without;
    println!("{what}: {without:.0} messages/s without, {with:.0} with, {cost:+.1} ns a message");
}

fn session(record: usize) -> (Session, Timestamp) {
    let mut config = Config::new("ws://server.test");
    config.record = record;
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut session = Session::new(config, now, 7).unwrap();
    session.connect(now);
    session.subscribe(now, "room").unwrap();
    drain(&mut session);
    session.handle(now, Input::Opened { attempt: Attempt(1), protocol: Some("realtime.v1".into()) });
    text(
        &mut session,
        now,
        r#"{"type":"welcome","session":"s","connection":"c","resumed":false,"heartbeat":30000,"timeout":60000,"encoding":"text","time":1,"limits":{"frame":1000000,"payload":900000,"channels":100,"inflight":1000,"rate":0},"server":"t"}"#,
    );
    let id = (1_u64 << 52) + 1;
    text(&mut session, now, &format!(r#"{{"type":"subscribed","id":{id},"channel":"room","epoch":"a","offset":0}}"#));
    (session, now)
}

fn text(session: &mut Session, now: Timestamp, text: &str) {
    let frame = Frame::Text(Bytes::copy_from_slice(text.as_bytes()));
    session.handle(now, Input::Frame { attempt: Attempt(1), frame });
    drain(session);
}

fn drain(session: &mut Session) -> (u64, u64) {
    let (mut messages, mut bytes) = (0, 0);
    while let Some(output) = session.poll() {
        if let Output::Event(Event::Message(message)) = output {
            messages += 1;
            bytes += message.size;
        }
    }
    (messages, bytes)
}

fn receive(record: usize, per_frame: u64) -> f64 {
    let (mut session, now) = session(record);
    let room = session.channel("room").unwrap();
    let line = |offset: u64| {
        format!(
            r#"{{"type":"message","channel":"room","event":"said","offset":{offset},"timestamp":2,"payload":{{"text":"hello"}}}}"#
        )
    };
    let offsets: Vec<u64> = (1..=MESSAGES).collect();
    let frames: Vec<Bytes> = offsets
        .chunks(per_frame as usize)
        .map(|chunk| Bytes::from(chunk.iter().map(|offset| line(*offset)).collect::<Vec<_>>().join("\n")))
        .collect();
    let started = Instant::now();
    let mut received = 0;
    for frame in frames {
        session.handle(now, Input::Frame { attempt: Attempt(1), frame: Frame::Text(frame) });
        let (messages, bytes) = drain(&mut session);
        received += messages;
        session.consumed(now, Some(room), bytes);
    }
    assert_eq!(received, MESSAGES);
    MESSAGES as f64 / started.elapsed().as_secs_f64()
}

fn publish(record: usize) -> f64 {
    let (mut session, now) = session(record);
    let room = session.channel("room").unwrap();
    let receipts: Vec<Bytes> = (1..=MESSAGES)
        .map(|id| Bytes::from(format!(r#"{{"type":"receipt","id":{id},"epoch":"a","offset":{id}}}"#)))
        .collect();
    let payload = Data::Json(Bytes::from_static(br#"{"text":"hello"}"#));
    let started = Instant::now();
    for (request, receipt) in receipts.into_iter().enumerate() {
        let permit = session.budget().reserve(16).unwrap();
        session.publish(now, RequestId(request as u64), room, Text::from("said"), payload.clone(), permit).unwrap();
        drain(&mut session);
        session.handle(now, Input::Frame { attempt: Attempt(1), frame: Frame::Text(receipt) });
        drain(&mut session);
    }
    assert_eq!(session.stats().acknowledged, MESSAGES);
    MESSAGES as f64 / started.elapsed().as_secs_f64()
}
