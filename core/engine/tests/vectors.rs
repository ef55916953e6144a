//! The shared vectors, in the engine's wire module.
#![allow(clippy::unwrap_used, clippy::panic)]

use realtime_engine::ErrorKind;
use realtime_engine::wire::{
    ClientMessage, CloseCode, ClosePolicy, DecodeError, ErrorCode, Message, Payload, ServerMessage, validate_json,
    validate_name,
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
            ClientMessage::Subscribe { id, channel, .. } => {
                vec![("id", (*id).into()), ("channel", channel.to_string().into())]
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
