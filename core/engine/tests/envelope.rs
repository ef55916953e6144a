//! The fast path of the wire against the slow one: whatever a server writes, both read the same, or what the fast one hands on is no JSON.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use proptest::prelude::*;
use realtime_engine::Event;
use realtime_engine::wire::{Message, Op, Payload, ServerMessage, validate_json};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use support::{Bench, config};

/// Reads a line by both paths. They may differ in one way only: a payload that is no JSON is found out by who parses it.
#[track_caller]
fn agree(line: &[u8]) -> Option<ServerMessage<'_>> {
    let shown = String::from_utf8_lossy(&line[..line.len().min(300)]);
    match (ServerMessage::decode(line), ServerMessage::decode_any_order(line)) {
        (Ok(fast), Ok(slow)) if fast == slow => Some(fast),
        (Err(fast), Err(slow)) => {
            assert_eq!((fast.code, fast.id), (slow.code, slow.id), "{shown}");
            None
        }
        (Ok(fast), slow) if is_not_json(&fast) => {
            assert!(slow.is_err() || has_more_behind(line), "{shown}: {slow:?}");
            None
        }
        (fast, slow) => panic!("{shown}: {fast:?} is not {slow:?}"),
    }
}

/// The host that parses this payload says so.
fn is_not_json(message: &ServerMessage<'_>) -> bool {
    let payload = match message {
        ServerMessage::Message(Message { payload: Payload::Json(json), .. }) => json,
        ServerMessage::Change(change) => match &change.op {
            Op::Insert(json) | Op::Update(json) => json,
            _ => return false,
        },
        _ => return false,
    };
    serde_json::from_slice::<&RawValue>(payload).is_err()
}

/// Section 2 of the specification: what stands behind the payload may make the message malformed.
fn has_more_behind(line: &[u8]) -> bool {
    let Members(members) = serde_json::from_slice(line).unwrap();
    members.iter().position(|(key, _)| key == "payload").is_some_and(|at| at + 1 < members.len())
}

/// The members of an object as they stand.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

fn encoded(message: &ServerMessage<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    message.encode(&mut line);
    line
}

#[test]
fn every_vector_is_the_same_in_any_order_of_its_keys_and_with_any_space() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/server_messages.json");
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap().iter().filter_map(|vector| vector["json"].as_str());
    let mut seen = 0;
    for json in vectors {
        let message = agree(json.as_bytes()).unwrap_or_else(|| panic!("{json}"));
        let Members(members) = serde_json::from_str(json).unwrap();
        for order in 0..50u64 {
            let mut members: Vec<_> = members.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
            match order {
                0 => {}
                1 => members.reverse(),
                seed => members.sort_by_key(|(key, _)| shuffled(seed, key)),
            }
            for [before, after] in [["", ""], [" ", ""], ["", " "], ["\t ", "\r"]] {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{before}\"{key}\"{after}:{before}{value}{after}"))
                    .collect();
                let line = format!("{before}{{{}}}{after}", members.join(","));
                assert_eq!(agree(line.as_bytes()).as_ref(), Some(&message), "{line}");
                seen += 1;
            }
        }
    }
    assert!(seen > 25 * 200, "{seen}");
}

fn shuffled(seed: u64, key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, key).hash(&mut hasher);
    hasher.finish()
}

/// A message in the fast order with these parts.
fn message(channel: &str, offset: &str, payload: &str) -> String {
    format!(
        r#"{{"type":"message","channel":"{channel}","event":"e","offset":{offset},"timestamp":2,"payload":{payload}}}"#
    )
}

#[test]
fn what_pretends_to_be_in_the_fast_order_is_read_as_it_stands_or_refused() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let long = "x".repeat(1 << 20);
    let taken = [
        // Keys behind the payload.
        (message("a", "1", r#"{"n":1},"user":"ann""#), r#"{"n":1}"#),
        (message("a", "1", r#"[1],"offset":1"#), "[1]"),
        (message("a", "1", r#"1,"channel":"a""#), "1"),
        (message("a", "1", r#""b","event":"e""#), r#""b""#),
        (message("a", "1", r#"null,"timestamp":2"#), "null"),
        (message("a", "1", r#""b\\","user":null"#), r#""b\\""#),
        // Of duplicates the last counts.
        (message(r#"b","channel":"a"#, "1", "1"), "1"),
        (message("a", r#"7,"offset":1"#, "1"), "1"),
        (message("a", "1", "2,\"payload\":1"), "1"),
        // Escapes.
        (message(r"\u0061", "1", "1"), "1"),
        (message("a", "1", r#""\"},{\"\\""#), r#""\"},{\"\\""#),
        (message("a", "1", r#"{"\"}":"{\\"}"#), r#"{"\"}":"{\\"}"#),
        (message("a", "1", r#""\ud800""#), r#""\ud800""#),
        // Sizes.
        (message("a", "1", &deep), deep.as_str()),
        (message("a", "1", &format!("\"{long}\"")), &format!("\"{long}\"")),
        (message("a", "1", "-1.5e+300"), "-1.5e+300"),
        (message("a", "1", " \t[ 1 , 2 ]\r "), "[ 1 , 2 ]"),
    ];
    for (line, payload) in &taken {
        let Some(ServerMessage::Message(read)) = agree(line.as_bytes()) else { panic!("{line}") };
        assert_eq!((&*read.channel, read.offset, read.timestamp), ("a", 1, 2), "{line}");
        assert_eq!(read.payload, Payload::Json(payload.as_bytes()), "{line}");
    }
    for name in [r#"\"\\\/\b\u00e9"#, "é\u{10ffff}", "", &long] {
        let line = message(name, "1", "1");
        let Some(ServerMessage::Message(read)) = agree(line.as_bytes()) else { panic!("{line}") };
        assert_eq!(read.channel, serde_json::from_str::<String>(&format!("\"{name}\"")).unwrap());
    }
    for (offset, value) in [("0", 0), ("9007199254740993", (1 << 53) + 1), ("18446744073709551615", u64::MAX)] {
        let line = message("a", offset, "1");
        let Some(ServerMessage::Message(read)) = agree(line.as_bytes()) else { panic!("{line}") };
        assert_eq!(read.offset, value);
    }
}

#[test]
fn what_is_no_message_is_refused_at_once_or_where_its_payload_is_parsed() {
    let at_once = [
        message("a", "1", r#"1},"x":{"#),
        message("a", "1", r#""b"},"x":{"#),
        message("a", "1", "1,2"),
        message("a", "1", r#""a","b""#),
        message("a", "1", "]"),
        message("a", "1", "[1"),
        message("a", "1", "2]"),
        message("a", "1", r#""a"#),
        message("a", "1", r#""a\""#),
        message("a", "1", r#"b""#),
        message("a", "1", "{"),
        message("a", "1", "}"),
        message("a", "1", ""),
        message("a", "1", " "),
        message("a", "1", "tru"),
        message("a", "1", "NaN"),
        message("a", "1", "1\x0c"),
        message("a", "1", "\u{feff}1"),
        message("a", "01", "1"),
        message("a", "-1", "1"),
        message("a", "-0", "1"),
        message("a", "1e3", "1"),
        message("a", "1.0", "1"),
        message("a", "\"1\"", "1"),
        message("a", "", "1"),
        message("a", "null", "1"),
        message("a", "18446744073709551616", "1"),
        message("a\0", "1", "1"),
        message("a\x1f", "1", "1"),
        message("a\t", "1", "1"),
        message(r"\ud800", "1", "1"),
        message(r"\x", "1", "1"),
        message("a", "1", "1").replace(r#","payload":1"#, ""),
        message("a", "1", "1").replace(r#","timestamp":2,"#, r#","timestamp":2 x,"#),
        message("a", "1", "1") + "}",
        message("a", "1", "1") + &message("a", "2", "2"),
        message("a", "1", "1").replace("{\"type\"", "[\"type\""),
    ];
    for line in &at_once {
        assert_eq!(agree(line.as_bytes()), None, "{line}");
        assert!(ServerMessage::decode(line.as_bytes()).is_err(), "{line}");
    }
    let whole = message("room", "12", r#"{"text":"é"}"#);
    for end in 0..whole.len() {
        assert_eq!(agree(&whole.as_bytes()[..end]), None, "{end}");
    }
    // Names are text, whatever frame they came in.
    let name = message("a", "1", "1").replace("\"a\"", "\"a?\"").into_bytes();
    for bad in [0xff, 0xc3, 0x80] {
        let line: Vec<u8> = name.iter().map(|byte| if *byte == b'?' { bad } else { *byte }).collect();
        assert!(ServerMessage::decode(&line).is_err());
        assert_eq!(agree(&line), None);
    }
    // The host's parser finds these: they begin and end as a value does.
    let later = [
        message("a", "1", "[1],[2]"),
        message("a", "1", "{},{}"),
        message("a", "1", r#"{}},"x":{}"#),
        message("a", "1", r#"{},"x":{}"#),
        message("a", "1", r#"{},"payload":{}"#),
        message("a", "1", "[1,]"),
        message("a", "1", "{bad}"),
        message("a", "1", "1-2"),
        message("a", "1", "\"\x01\""),
        message("a", "1", r#""\x""#),
    ];
    for line in &later {
        let read = ServerMessage::decode(line.as_bytes()).unwrap();
        assert!(is_not_json(&read), "{line}");
        assert_eq!(agree(line.as_bytes()), None);
    }
    let not_text = message("a", "1", "\"?\"").into_bytes();
    let not_text: Vec<u8> = not_text.iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect();
    assert!(is_not_json(&ServerMessage::decode(&not_text).unwrap()));
    assert_eq!(agree(&not_text), None);
}

#[test]
fn a_bad_line_is_told_and_the_messages_around_it_come() {
    let lines = |bad: &str| format!("{}\n{bad}\n{}", message("room", "1", "1"), message("room", "3", "3"));
    for bad in [
        message("room", "2", r#"1},"x":{"#),
        message("room", "02", "2"),
        message("room\0", "2", "2"),
        message("room", "2", "[2"),
        message("room", "2", ""),
        message("room", "2", "2")[..40].to_owned(),
    ] {
        let mut bench = Bench::connected(config());
        bench.subscribed("room", "e1", 0);
        bench.text(&lines(&bad));
        assert_eq!(bench.payloads(), ["1", "3"], "{bad}");
        assert_eq!(bench.errors(), ["malformed"], "{bad}");
        // What was in it is missing, and is told to be.
        assert_eq!(bench.gaps(), [("missing", Some(2), Some(2))], "{bad}");
        assert_eq!(bench.session.stats().malformed, 1);
    }
    let mut bench = Bench::connected(config());
    bench.subscribed("room", "e1", 0);
    bench.text(&lines(&message("room", "2", r#"{"n":2},"user":"ann""#)));
    assert_eq!(bench.payloads(), ["1", r#"{"n":2}"#, "3"]);
    assert!(
        bench.events.iter().any(|event| matches!(event, Event::Message(message) if message.content.user().is_some()))
    );
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            proptest::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    /// Whatever the names and the payload are: the fast path, or the slow one that it leaves them to, reads what was written.
    #[test]
    fn messages_are_read_as_they_were_written(
        names in [any::<String>(), any::<String>()],
        user in proptest::option::of(any::<String>()),
        numbers in [0..1u64 << 53, 0..1u64 << 53],
        payload in value(),
    ) {
        let [channel, event] = names.map(Cow::Owned);
        let [offset, timestamp] = numbers;
        let payload = payload.to_string();
        validate_json(payload.as_bytes()).unwrap();
        let payload = Payload::Json(payload.as_bytes());
        let message =
            ServerMessage::Message(Message { channel, event, offset, user: user.map(Cow::Owned), timestamp, payload });
        let line = encoded(&message);
        prop_assert_eq!(agree(&line), Some(message));
    }

    /// A line of which some bytes are others: both paths agree on what it is.
    #[test]
    fn messages_that_were_changed_on_the_way_are_read_the_same(
        line in prop_oneof![
            value().prop_map(|payload| message("room", "12", &payload.to_string())),
            value().prop_map(|payload| format!(
                r#"{{"type":"change","channel":"a","collection":"b","op":"insert","key":"k","offset":3,"user":"u","timestamp":2,"payload":{payload}}}"#
            )),
        ],
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..3usize, prop::sample::select(br#"{}[]",:\ 01-.eEtnu/"#.as_slice())),
            1..5,
        ),
        raw in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut line = line.into_bytes();
        for (at, removed, added) in changes {
            let at = at.index(line.len());
            let end = line.len().min(at + removed);
            line.splice(at..end, [added]);
        }
        if let Some((at, byte)) = raw {
            let at = at.index(line.len());
            line[at] = byte;
        }
        agree(&line);
    }
}
