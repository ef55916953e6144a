//! A short, deterministic stretch of what `fuzz/` does: the vectors of the protocol, broken at random.
#![allow(clippy::unwrap_used)]

use realtime_simulation::fuzz;

/// What the vectors show as bytes.
fn corpus() -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../vectors/client_messages.json"),
        include_str!("../../vectors/server_messages.json"),
        include_str!("../../vectors/payloads.json"),
        include_str!("../../vectors/records.json"),
    ];
    let mut corpus = Vec::new();
    for file in files {
        collect(&serde_json::from_str(file).unwrap(), &mut corpus);
    }
    corpus
}

fn collect(value: &serde_json::Value, corpus: &mut Vec<Vec<u8>>) {
    match value {
        serde_json::Value::String(text) => corpus.push(text.clone().into_bytes()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, corpus)),
        serde_json::Value::Object(members) => {
            if members.contains_key("type") {
                corpus.push(value.to_string().into_bytes());
            }
            members.values().for_each(|value| collect(value, corpus));
        }
        _ => {}
    }
}

fn mutate(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(0..4) {
        let at = rng.usize(0..=bytes.len());
        match rng.u32(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.u8(..)),
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.u32(0..8),
            3 => bytes.splice(at..at, corpus[rng.usize(0..corpus.len())].iter().copied()).for_each(drop),
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
}

fn over(runs: u32, seed: u64, mut target: impl FnMut(&[u8]), steps: bool) {
    let (corpus, mut rng) = (corpus(), fastrand::Rng::with_seed(seed));
    assert!(corpus.len() > 100, "the vectors are there: {}", corpus.len());
    for _ in 0..runs {
        let mut data = Vec::new();
        for _ in 0..if steps { rng.usize(1..20) } else { 1 } {
            let mut bytes = corpus[rng.usize(0..corpus.len())].clone();
            mutate(&mut bytes, &corpus, &mut rng);
            if steps {
                data.push(rng.u8(..));
                data.extend((bytes.len().min(65_535) as u16).to_le_bytes());
            }
            data.extend(bytes);
        }
        target(&data);
    }
}

fn step(kind: u8, text: &[u8]) -> Vec<u8> {
    let mut step = vec![kind];
    step.extend((text.len() as u16).to_le_bytes());
    step.extend(text);
    step
}

#[test]
fn decoders_take_or_refuse_anything() {
    over(50_000, 1, fuzz::decode, false);
}

#[test]
fn a_session_survives_any_peer() {
    over(5_000, 2, fuzz::session, true);
    // Behind a handshake, with a presence and a collection that are subscribed.
    let welcome = br#"{"type":"welcome","session":"s","connection":"c","resumed":false,"heartbeat":30000,"timeout":60000,"encoding":"text","time":1,"limits":{"frame":1000,"payload":900,"channels":9,"inflight":9,"rate":0},"server":"s"}"#;
    let opening =
        [step(6, b""), step(0, b""), step(11, welcome), step(28, b""), step(31, b""), step(47, b"x")].concat();
    over(5_000, 4, |data| fuzz::session(&[&*opening, data].concat()), true);
}

#[test]
fn a_hub_survives_any_client() {
    over(5_000, 3, fuzz::hub, true);
}

/// Payloads of section 15 of the specification, by event as in `fuzz::PEER_EVENTS`.
const PEERS: [(u8, &str); 8] = [
    (0, r#"{"ref":"r1","key":"ada","status":"online","state":{"a":1},"joined_at":5,"seen_at":6}"#),
    (1, r#"{"ref":"r1","key":"ada","status":"away","state":{"__proto__":{}},"joined_at":5,"seen_at":7}"#),
    (2, r#"{"ref":"r2","key":"ada","status":"busy","state":{},"joined_at":5}"#),
    (3, r#"{"ref":"r1"}"#),
    (4, r#"{"collection":"tasks","key":"t1","clock":[1700000000000,3,"r1"],"record":{"id":"t1","n":1.0}}"#),
    (5, r#"{"collection":"tasks","ref":"r1","digest":"00000000000000ff"}"#),
    (
        6,
        r#"{"collection":"tasks","ref":"r1","digest":"0000000000000000","part":0,"last":true,"records":[{"key":"t1","clock":[1,0,"r2"],"record":null}]}"#,
    ),
    (7, r#"{"collection":"tasks","ref":"r2","digest":"ffffffffffffffff"}"#),
];

#[test]
fn a_session_survives_any_other_client() {
    // In plain, present, with a presence and a collection.
    let opening = [step(1, b""), step(28, b""), step(45, b"{}"), step(5, b"")].concat();
    let (corpus, mut rng) = (corpus(), fastrand::Rng::with_seed(5));
    for _ in 0..5_000 {
        let mut data = opening.clone();
        for _ in 0..rng.usize(1..30) {
            let (event, payload) = PEERS[rng.usize(0..PEERS.len())];
            let mut payload = payload.as_bytes().to_vec();
            if rng.bool() {
                mutate(&mut payload, &corpus, &mut rng);
            }
            // Now and then something else happens, or time passes.
            let kind = if rng.u32(0..4) == 0 { rng.u8(..) } else { 16 * (event + if event == 0 { 8 } else { 0 }) + 11 };
            data.extend(step(kind, &payload));
        }
        fuzz::session(&data);
    }
}
