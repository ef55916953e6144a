//! The `plain` dialect (section 12 of the specification): what simple JSON backends speak.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::DecodeError;
use super::fields::Str;
use super::text::{key, number, push_string, string};

/// A message from a backend. Anything that is JSON is one; what has no string `type` is its own payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// The event; `None` where the backend sent JSON of another shape.
    pub kind: Option<Cow<'a, str>>,
    /// The channel, where the backend named one.
    pub channel: Option<Cow<'a, str>>,
    /// One JSON value; `null` where there was none.
    pub payload: &'a [u8],
    /// Milliseconds since the Unix epoch, where it was a number.
    pub timestamp: Option<u64>,
}

/// A message from a client, as our server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Request<'a> {
    Subscribe {
        channel: Cow<'a, str>,
    },
    Unsubscribe {
        channel: Cow<'a, str>,
    },
    ChannelMessage {
        channel: Cow<'a, str>,
        event: Cow<'a, str>,
        payload: &'a [u8],
    },
    Ping {
        timestamp: Option<u64>,
    },
    /// Any other type: a message to the application.
    Other {
        kind: Cow<'a, str>,
        payload: &'a [u8],
    },
}

/// Decodes a text frame from a backend.
pub fn decode(frame: &[u8]) -> Result<Incoming<'_>, DecodeError> {
    let text = std::str::from_utf8(frame).map_err(|_| DecodeError::malformed("frame is not UTF-8"))?;
    if text.trim_start().starts_with('{') {
        let fields: PlainFields<'_> =
            serde_json::from_str(text).map_err(|e| DecodeError::malformed(format!("frame is not JSON: {e}")))?;
        if let Some(kind) = fields.kind.and_then(as_string) {
            return Ok(Incoming {
                kind: Some(kind),
                channel: fields.channel.and_then(as_string),
                payload: fields.payload.map_or(b"null", |raw| raw.get().as_bytes()),
                timestamp: fields.timestamp.and_then(|raw| serde_json::from_str(raw.get()).ok()),
            });
        }
    } else {
        serde_json::from_str::<IgnoredAny>(text)
            .map_err(|e| DecodeError::malformed(format!("frame is not JSON: {e}")))?;
    }
    Ok(Incoming { kind: None, channel: None, payload: text.trim().as_bytes(), timestamp: None })
}

/// Decodes a text frame from a client. Names are not validated.
pub fn decode_request(frame: &[u8]) -> Result<Request<'_>, DecodeError> {
    let incoming = decode(frame)?;
    let kind = incoming.kind.ok_or_else(|| DecodeError::malformed("missing field type"))?;
    Ok(match &*kind {
        "subscribe" => Request::Subscribe { channel: channel(&nested(incoming.payload)?)? },
        "unsubscribe" => Request::Unsubscribe { channel: channel(&nested(incoming.payload)?)? },
        "channel_message" => {
            let inner = nested(incoming.payload)?;
            let event = inner.event.and_then(as_string);
            Request::ChannelMessage {
                channel: channel(&inner)?,
                event: event.ok_or_else(|| DecodeError::malformed("missing field payload.event"))?,
                payload: inner.payload.map_or(b"null", |raw| raw.get().as_bytes()),
            }
        }
        "ping" => Request::Ping {
            timestamp: nested(incoming.payload)
                .ok()
                .and_then(|inner| inner.timestamp)
                .and_then(|raw| serde_json::from_str(raw.get()).ok())
                .or(incoming.timestamp),
        },
        _ => Request::Other { kind, payload: incoming.payload },
    })
}

/// Appends `{"type": kind, "payload": …, "timestamp": …[, "channel": …]}`: what a server sends, and a client for its own messages.
pub fn encode(out: &mut Vec<u8>, kind: &str, payload: &[u8], timestamp: u64, channel: Option<&str>) {
    out.extend_from_slice(b"{\"type\":");
    push_string(out, kind);
    key(out, "payload");
    out.extend_from_slice(payload);
    number(out, "timestamp", timestamp);
    if let Some(channel) = channel {
        string(out, "channel", channel);
    }
    out.push(b'}');
}

/// Appends a request about a channel: `subscribe` or `unsubscribe`.
pub fn encode_channel_request(out: &mut Vec<u8>, kind: &str, channel: &str, timestamp: u64) {
    let mut payload = b"{\"channel\":".to_vec();
    push_string(&mut payload, channel);
    payload.push(b'}');
    encode(out, kind, &payload, timestamp, None);
}

/// Appends a message of a client to a channel.
pub fn encode_channel_message(out: &mut Vec<u8>, channel: &str, event: &str, payload: &[u8], timestamp: u64) {
    out.extend_from_slice(br#"{"type":"channel_message","payload":{"channel":"#);
    push_string(out, channel);
    string(out, "event", event);
    key(out, "payload");
    out.extend_from_slice(payload);
    out.push(b'}');
    number(out, "timestamp", timestamp);
    out.push(b'}');
}

/// Appends a client's ping.
pub fn encode_ping(out: &mut Vec<u8>, timestamp: u64) {
    encode(out, "ping", format!("{{\"timestamp\":{timestamp}}}").as_bytes(), timestamp, None);
}

/// Appends a server's pong, with the timestamp of the ping.
pub fn encode_pong(out: &mut Vec<u8>, timestamp: u64) {
    out.extend_from_slice(b"{\"type\":\"pong\"");
    number(out, "timestamp", timestamp);
    out.push(b'}');
}

/// The keys that matter, of any type; of duplicates the last counts.
#[derive(Default)]
struct PlainFields<'a> {
    kind: Option<&'a RawValue>,
    channel: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for PlainFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = PlainFields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = PlainFields::default();
                while let Some(key) = map.next_key::<Str<'de>>()? {
                    let value = Some(map.next_value::<&'de RawValue>()?);
                    match &*key.0 {
                        "type" => fields.kind = value,
                        "channel" => fields.channel = value,
                        "event" => fields.event = value,
                        "payload" => fields.payload = value,
                        "timestamp" => fields.timestamp = value,
                        _ => {}
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

fn nested(payload: &[u8]) -> Result<PlainFields<'_>, DecodeError> {
    serde_json::from_slice(payload).map_err(|e| DecodeError::malformed(format!("payload: {e}")))
}

fn channel<'a>(fields: &PlainFields<'a>) -> Result<Cow<'a, str>, DecodeError> {
    fields.channel.and_then(as_string).ok_or_else(|| DecodeError::malformed("missing field payload.channel"))
}

fn as_string(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Str<'_>>(raw.get()).ok().map(|s| s.0)
}
