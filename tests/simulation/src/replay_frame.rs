//! Frames as a dump tells them: the same messages of the same sizes, with nothing in them.

use realtime_engine::wire::{
    Encoding, ErrorCode, Frame, Limits, Message, Payload, Receipt, Refusal, ServerMessage, Stream, Subscribed, Welcome,
};
use serde_json::Value;

/// A frame of these segments.
pub(crate) fn build(segments: &[&Value], channels: &[String], v1: bool) -> Frame {
    let first = segments[0];
    let (kind, bytes) = (first["type"].as_str().unwrap_or_default(), number(first, "bytes") as usize);
    if first["binary"] == true {
        match kind {
            "ping" => return Frame::Ping(vec![0; bytes].into()),
            "pong" => return Frame::Pong(number(first, "first").to_string().into()),
            _ if !v1 => return Frame::Binary(vec![0; bytes].into()),
            _ => {}
        }
    }
    if !v1 {
        return Frame::Text(plain(kind, bytes, name(first, channels)).into());
    }
    let mut frame = Vec::new();
    for segment in segments {
        for (at, size) in shares(number(segment, "bytes"), number(segment, "count")).enumerate() {
            if !frame.is_empty() {
                frame.push(b'\n');
            }
            message(&mut frame, segment, at as u64, size as usize, name(segment, channels));
        }
    }
    if first["binary"] == true { Frame::Binary(frame.into()) } else { Frame::Text(frame.into()) }
}

/// So many bytes in so many parts.
pub(crate) fn shares(bytes: u64, count: u64) -> impl Iterator<Item = u64> {
    let (each, more) = (bytes / count.max(1), bytes % count.max(1));
    (0..count).map(move |place| each + u64::from(place < more))
}

/// A JSON value of this size.
pub(crate) fn json_of(size: usize) -> Vec<u8> {
    match size {
        0 | 1 => b"0".to_vec(),
        _ => format!("\"{}\"", "x".repeat(size - 2)).into_bytes(),
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

fn name<'a>(segment: &Value, channels: &'a [String]) -> &'a str {
    let known = segment["channel"].as_u64().and_then(|id| channels.get(id as usize));
    known.map_or("no-channel-of-this-client", String::as_str)
}

fn plain(kind: &str, size: usize, channel: &str) -> Vec<u8> {
    let mut text = match kind {
        "malformed" => "{".to_owned(),
        "pong" => r#"{"type":"pong"}"#.to_owned(),
        "direct" if size < 12 => "0".to_owned(),
        "direct" => r#"{"type":"e"}"#.to_owned(),
        _ => format!(r#"{{"type":"e","channel":"{channel}"}}"#),
    };
    text.push_str(&" ".repeat(size.saturating_sub(text.len())));
    text.into_bytes()
}

/// Appends the message at this place of a segment.
fn message(out: &mut Vec<u8>, segment: &Value, place: u64, size: usize, channel: &str) {
    let (first, detail) = (number(segment, "first"), &segment["detail"]);
    let id = first + place;
    let channel_name = || channel.to_owned().into();
    let epoch = || detail["epoch"].as_str().unwrap_or_default().to_owned().into();
    let message = match segment["type"].as_str().unwrap_or_default() {
        "malformed" => return out.push(b'{'),
        kind @ ("message" | "duplicate" | "unroutable" | "direct") => {
            let is_binary = segment["binary"] == true;
            return sized(out, size, is_binary, |payload| match kind {
                "direct" if is_binary => ServerMessage::Direct { event: None, timestamp: None, payload },
                "direct" => ServerMessage::Direct { event: Some("e".into()), timestamp: None, payload },
                _ => ServerMessage::Message(Message {
                    channel: channel.to_owned().into(),
                    event: "e".into(),
                    offset: id.max(1),
                    user: None,
                    timestamp: 0,
                    payload,
                }),
            });
        }
        "receipt" => ServerMessage::Receipt(Receipt { id, epoch: None, offset: None, duplicate: false }),
        "subscribed" => ServerMessage::Subscribed(Subscribed {
            id: number(detail, "request"),
            channel: channel_name(),
            stream: Stream::Messages,
            epoch: epoch(),
            offset: id,
            recovered: detail["recovered"].as_bool(),
            grace: None,
        }),
        "unsubscribed" => ServerMessage::Unsubscribed { id, channel: channel_name(), stream: Stream::Messages },
        "gap" => ServerMessage::Gap { channel: channel_name(), epoch: epoch(), from: number(detail, "from"), to: id },
        "welcome" => {
            let limit = |place: usize| detail["limits"][place].as_u64().unwrap_or_default();
            ServerMessage::Welcome(Box::new(Welcome {
                session: "s".into(),
                connection: "c".into(),
                resumed: detail["resumed"] == true,
                user: None,
                expires_in: detail["expiresIn"].as_u64(),
                heartbeat: number(detail, "heartbeat"),
                timeout: number(detail, "timeout"),
                encoding: Encoding::Text,
                time: number(detail, "time"),
                limits: Limits {
                    frame: limit(0),
                    payload: limit(1),
                    channels: limit(2),
                    inflight: limit(3),
                    rate: limit(4),
                },
                server: "replay".into(),
            }))
        }
        "authenticated" => ServerMessage::Authenticated { id, user: None, expires_in: detail["expiresIn"].as_u64() },
        "pong" => ServerMessage::Pong { id, timestamp: None, time: 0 },
        "goaway" => ServerMessage::Goaway { reason: "replayed".into(), spread: first },
        _ => {
            let code = detail["code"].as_str().and_then(ErrorCode::parse);
            ServerMessage::Error(Refusal {
                code,
                code_text: detail["code"].as_str().unwrap_or("unknown").to_owned().into(),
                id: detail["id"].as_u64(),
                retry_after: detail["retryAfter"].as_u64(),
                ..Refusal::new(ErrorCode::parse("internal").unwrap_or(ErrorCode::PayloadTooLarge), "replayed")
            })
        }
    };
    message.encode(out);
}

/// Appends a message with so much payload that it has this size.
fn sized(out: &mut Vec<u8>, size: usize, binary: bool, message: impl for<'a> Fn(Payload<'a>) -> ServerMessage<'a>) {
    let mut smallest = Vec::new();
    message(if binary { Payload::Binary(b"") } else { Payload::Json(b"0") }).encode(&mut smallest);
    let left = size.saturating_sub(smallest.len());
    if binary {
        message(Payload::Binary(&vec![0; left])).encode(out);
    } else {
        message(Payload::Json(&json_of(left + 1))).encode(out);
    }
}
