//! The shared vectors, in the engine's wire module.
#![allow(clippy::unwrap_used, clippy::panic)]

use realtime_engine::ErrorKind;
use realtime_engine::wire::{
    Change, ClientMessage, CloseCode, ClosePolicy, DecodeError, Digest, ErrorCode, Message, Op, Payload, Record,
    ServerMessage, Stream, validate_json, validate_name,
};
use serde_json::Value;

fn load(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn bytes(vector: &Value) -> (Vec<u8>, bool) {
    match vector["hex"].as_str() {
        Some(hex) => (unhex(hex), true),
        None => (vector["json"].as_str().unwrap().as_bytes().to_vec(), false),
    }
}

/// Runs a file of messages: what decodes is encoded again to the same bytes, other spellings decode to the same.
fn run<'a, M: PartialEq + std::fmt::Debug>(
    file: &'a Value,
    decode: impl Fn(&'a [u8], bool) -> Result<M, DecodeError>,
    encode: impl Fn(&M) -> Vec<u8>,
    kind: impl Fn(&M) -> Vec<(&'static str, Value)>,
) {
    let leak = |bytes: Vec<u8>| -> &'a [u8] { Box::leak(bytes.into_boxed_slice()) };
    let vectors = file["vectors"].as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let (bytes, binary) = bytes(vector);
        let message = decode(leak(bytes.clone()), binary).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(encode(&message), bytes, "{name}");
        for (field, value) in kind(&message) {
            assert_eq!(vector["message"][field], value, "{name}: {field}");
        }
        for also in vector["also"].as_array().into_iter().flatten() {
            let other = decode(leak(also.as_str().unwrap().into()), false).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(other, message, "{name}: {also}");
        }
    }
    for vector in file["refused"].as_array().unwrap() {
        let (bytes, binary) = bytes(vector);
        let Err(error) = decode(leak(bytes), binary) else { panic!("{} was accepted", vector["name"]) };
        assert_eq!(error.code.as_str(), vector["code"], "{}", vector["name"]);
        assert_eq!(error.id.map(Value::from).unwrap_or_default(), vector["id"], "{}", vector["name"]);
    }
}

fn hex(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

fn payload(payload: &Payload<'_>) -> (&'static str, Value) {
    match payload {
        Payload::Json(json) => ("payload", std::str::from_utf8(json).unwrap().into()),
        Payload::Binary(bytes) => ("binary", hex(bytes)),
        _ => panic!("a payload that the vectors do not know"),
    }
}

fn op(op: &Op<'_>) -> Vec<(&'static str, Value)> {
    let payload = op.payload().map(|json| Value::from(std::str::from_utf8(json).unwrap()));
    vec![("op", op.as_str().into()), ("payload", payload.unwrap_or_default())]
}

fn stream(stream: &Stream<'_>) -> [(&'static str, Value); 2] {
    match stream {
        Stream::Messages => [("presence", Value::Null), ("collection", Value::Null)],
        Stream::Presence => [("presence", true.into()), ("collection", Value::Null)],
        Stream::Collection(name) => [("presence", Value::Null), ("collection", name.to_string().into())],
        other => panic!("a stream that the vectors do not know: {other:?}"),
    }
}

#[test]
fn client_messages() {
    run(
        &load("client_messages.json"),
        |bytes, binary| if binary { ClientMessage::decode_binary(bytes) } else { ClientMessage::decode(bytes) },
        |message| {
            let mut out = vec![];
            message.encode(&mut out);
            out
        },
        |message| match message {
            ClientMessage::Publish { id, channel, event, payload: p } => {
                vec![
                    ("id", (*id).into()),
                    ("channel", channel.to_string().into()),
                    ("event", event.to_string().into()),
                    payload(p),
                ]
            }
            ClientMessage::Subscribe { id, channel, stream: of, .. } => {
                let mut fields = vec![("id", (*id).into()), ("channel", channel.to_string().into())];
                fields.extend(stream(of));
                fields
            }
            ClientMessage::Unsubscribe { stream: of, .. } | ClientMessage::Credit { stream: of, .. } => {
                stream(of).into()
            }
            ClientMessage::Track { key, status, state, .. } => vec![
                ("key", key.as_deref().map(Value::from).unwrap_or_default()),
                ("status", status.as_str().into()),
                ("state", std::str::from_utf8(state).unwrap().into()),
            ],
            ClientMessage::Mutate { id, collection, op: what, key, if_revision, .. } => {
                let mut fields = op(what);
                fields.push(("id", (*id).into()));
                fields.push(("collection", collection.to_string().into()));
                fields.push(("key", key.to_string().into()));
                fields.push(("if_revision", if_revision.map(Value::from).unwrap_or_default()));
                fields
            }
            _ => vec![],
        },
    );
}

#[test]
fn server_messages_by_the_fast_and_by_the_slow_path() {
    let encode = |message: &ServerMessage<'_>| {
        let mut out = vec![];
        message.encode(&mut out);
        out
    };
    let fields = |message: &ServerMessage<'_>| match message {
        ServerMessage::Message(Message { channel, event, offset, payload: p, .. }) => vec![
            ("channel", channel.to_string().into()),
            ("event", event.to_string().into()),
            ("offset", (*offset).into()),
            payload(p),
        ],
        ServerMessage::Subscribed(answer) => stream(&answer.stream).into(),
        ServerMessage::Unsubscribed { stream: of, .. } => stream(of).into(),
        ServerMessage::Snapshot(page) => stream(&page.stream()).into(),
        ServerMessage::Error(refusal) => stream(&refusal.stream).into(),
        ServerMessage::Change(Change { collection, op: what, key, offset, timestamp, .. }) => {
            let mut fields = op(what);
            fields.push(("collection", collection.to_string().into()));
            fields.push(("key", key.to_string().into()));
            fields.push(("offset", (*offset).into()));
            fields.push(("timestamp", (*timestamp).into()));
            fields
        }
        ServerMessage::Digest { digest, .. } => {
            vec![("records", digest.records.into()), ("digest", digest.to_string().into())]
        }
        _ => vec![],
    };
    let file = load("server_messages.json");
    run(
        &file,
        |bytes, binary| if binary { ServerMessage::decode_binary(bytes) } else { ServerMessage::decode(bytes) },
        encode,
        fields,
    );
    run(
        &file,
        |bytes, binary| {
            if binary { ServerMessage::decode_binary(bytes) } else { ServerMessage::decode_any_order(bytes) }
        },
        encode,
        fields,
    );
}

#[test]
fn records() {
    let file = load("records.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let form = |record: &Record<'_>| String::from_utf8(record.encode()).unwrap();
    for vector in file["records"].as_array().unwrap() {
        let json = text(&vector["json"]);
        let record = Record::parse(json.as_bytes()).unwrap();
        assert_eq!(form(&record), vector["form"], "{vector}");
        assert_eq!(record.id().as_deref(), vector["id"].as_str(), "{vector}");
    }
    for vector in file["refused"].as_array().unwrap() {
        let json = text(&vector["json"]);
        assert_eq!(Record::parse(json.as_bytes()).unwrap_err().code.as_str(), vector["code"], "{vector}");
    }
    for vector in file["patches"].as_array().unwrap() {
        let (record, patch) = (text(&vector["record"]), text(&vector["patch"]));
        let mut record = Record::parse(record.as_bytes()).unwrap();
        record.patch(&Record::parse(patch.as_bytes()).unwrap());
        assert_eq!(form(&record), vector["form"], "{vector}");
    }
    for vector in file["digests"].as_array().unwrap() {
        let mut digest = Digest::default();
        digest.add("gone", b"{}");
        for record in vector["collection"].as_array().unwrap() {
            digest.add(&text(&record[0]), text(&record[1]).as_bytes());
        }
        digest.remove("gone", b"{}");
        assert_eq!(
            (digest.records, digest.to_string()),
            (vector["records"].as_u64().unwrap(), text(&vector["digest"]))
        );
    }
}

#[test]
fn codes() {
    let file = load("codes.json");
    let errors: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| serde_json::json!({"code": code.as_str(), "retry": code.allows_retry()}))
        .collect();
    assert_eq!(file["errors"], Value::from(errors));
    let local: Vec<_> = ErrorKind::LOCAL.iter().map(|kind| Value::from(kind.as_str())).collect();
    assert_eq!(file["local_errors"], Value::from(local));
    for close in file["closes"].as_array().unwrap() {
        let code = CloseCode(close["code"].as_u64().unwrap() as u16);
        let policy = match code.policy() {
            ClosePolicy::Reconnect => "reconnect",
            ClosePolicy::Refresh => "refresh",
            ClosePolicy::Terminal => "terminal",
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (close["name"].as_str().unwrap(), close["policy"].as_str().unwrap()),
            (code.name(), policy),
            "{code:?}"
        );
    }
}

#[test]
fn payloads_and_names() {
    let file = load("payloads.json");
    for value in file["values"].as_array().unwrap() {
        validate_json(value["json"].as_str().unwrap().as_bytes()).unwrap();
    }
    for name in file["names"]["valid"].as_array().unwrap() {
        validate_name("channel", name.as_str().unwrap()).unwrap();
    }
    for length in file["names"]["invalid_bytes"].as_array().unwrap() {
        let name = "x".repeat(length.as_u64().unwrap() as usize);
        assert_eq!(validate_name("channel", &name).unwrap_err().code, ErrorCode::InvalidName);
    }
    validate_name("channel", &"x".repeat(file["names"]["longest_bytes"].as_u64().unwrap() as usize)).unwrap();
}

#[test]
fn payloads_that_are_refused() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let brackets_in_text = format!("\"{}\"", "[{\\\"".repeat(500));
    validate_json(deep(100).as_bytes()).unwrap();
    validate_json(brackets_in_text.as_bytes()).unwrap();
    for bad in ["", "{", "1},\"x\":{", "NaN", "1 2", "[1,]", "'x'", "[\n1]", &deep(101)] {
        assert_eq!(validate_json(bad.as_bytes()).unwrap_err().code, ErrorCode::Malformed, "{bad:?}");
    }
    assert!(validate_json(b"\"\xff\"").is_err());
}
