use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::fields::{Fields, need};
use super::payload::validate_depth;
use super::text::{key, number, push_string, string};
use super::{DecodeError, Op, Payload, PresenceStatus, Stream, binary, meta, validate_name};

/// A place in a channel's history: everything up to and including `offset` of `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Which history; a server that lost its history starts another.
    pub epoch: String,
    /// The last offset seen; 0 before the first message.
    pub offset: u64,
}

/// The position that a subscribe recovers from.
pub type Since = Position;

/// How many bytes of channel messages a client takes before it has consumed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Over all channels.
    pub connection: u64,
    /// For each channel.
    pub channel: u64,
}

/// How a server frames its JSON messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// JSON in text frames.
    #[default]
    Text,
    /// JSON in binary frames, which spares the client a UTF-8 check.
    Binary,
}

impl Encoding {
    /// The string on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Text => "text",
            Encoding::Binary => "binary",
        }
    }

    /// Unknown encodings are `Text`, which every peer has.
    pub(super) fn parse(text: &str) -> Self {
        if text == "binary" { Encoding::Binary } else { Encoding::Text }
    }
}

/// The first message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The session's secret id.
    pub session: Cow<'a, str>,
    /// A token, where the server wants one.
    pub token: Option<Cow<'a, str>>,
    /// Name and version of the client.
    pub client: Option<Cow<'a, str>>,
    /// How the client wants to get JSON.
    pub encoding: Encoding,
    /// Flow control; `None` takes everything.
    pub window: Option<Window>,
}

/// A message from client to server (section 2 of the specification).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum ClientMessage<'a> {
    Hello(Hello<'a>),
    Subscribe {
        id: u64,
        channel: Cow<'a, str>,
        stream: Stream<'a>,
        since: Option<Since>,
    },
    Unsubscribe {
        id: u64,
        channel: Cow<'a, str>,
        stream: Stream<'a>,
    },
    Publish {
        id: u64,
        channel: Cow<'a, str>,
        event: Cow<'a, str>,
        payload: Payload<'a>,
    },
    /// `event` is `None` for a binary send.
    Send {
        id: u64,
        event: Option<Cow<'a, str>>,
        payload: Payload<'a>,
    },
    /// The client is present in a channel; `state` is a JSON object.
    Track {
        id: u64,
        channel: Cow<'a, str>,
        key: Option<Cow<'a, str>>,
        status: PresenceStatus,
        state: &'a [u8],
    },
    Untrack {
        id: u64,
        channel: Cow<'a, str>,
    },
    /// A publish into a collection.
    Mutate {
        id: u64,
        channel: Cow<'a, str>,
        collection: Cow<'a, str>,
        op: Op<'a>,
        key: Cow<'a, str>,
        if_revision: Option<u64>,
    },
    Credit {
        channel: Cow<'a, str>,
        stream: Stream<'a>,
        bytes: u64,
    },
    Auth {
        id: u64,
        token: Cow<'a, str>,
    },
    Ping {
        id: u64,
        timestamp: Option<u64>,
    },
}

impl<'a> ClientMessage<'a> {
    /// Decodes one line of JSON. Names and payloads come out validated.
    pub fn decode(line: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::parse(line)?;
        let id = fields.id;
        let kind = need!(fields.kind).0;
        let message = match &*kind {
            "hello" => ClientMessage::Hello(Hello {
                session: need!(fields.session).0,
                token: fields.token.map(|s| s.0),
                client: fields.client.map(|s| s.0),
                encoding: fields.encoding.map_or(Encoding::Text, |s| Encoding::parse(&s.0)),
                window: fields.window,
            }),
            "subscribe" => ClientMessage::Subscribe {
                channel: need!(fields.channel).0,
                stream: Stream::take(&mut fields)?,
                since: fields.since.take(),
                id: need!(fields.id),
            },
            "unsubscribe" => ClientMessage::Unsubscribe {
                channel: need!(fields.channel).0,
                stream: Stream::take(&mut fields)?,
                id: need!(fields.id),
            },
            "publish" => ClientMessage::Publish {
                channel: need!(fields.channel).0,
                event: need!(fields.event).0,
                payload: Payload::Json(need!(fields.payload).get().as_bytes()),
                id: need!(fields.id),
            },
            "send" => ClientMessage::Send {
                event: Some(need!(fields.event).0),
                payload: Payload::Json(need!(fields.payload).get().as_bytes()),
                id: need!(fields.id),
            },
            "track" => ClientMessage::Track {
                channel: need!(fields.channel).0,
                key: fields.key.take().map(|s| s.0),
                status: PresenceStatus::need(&need!(fields.status).0).map_err(|e| e.with_id(id))?,
                state: meta::object(need!(fields.state)).map_err(|e| e.with_id(id))?,
                id: need!(fields.id),
            },
            "untrack" => ClientMessage::Untrack { channel: need!(fields.channel).0, id: need!(fields.id) },
            "mutate" => ClientMessage::Mutate {
                channel: need!(fields.channel).0,
                collection: need!(fields.collection).0,
                op: Op::take(&mut fields)?,
                key: need!(fields.key).0,
                if_revision: fields.if_revision,
                id: need!(fields.id),
            },
            "credit" => ClientMessage::Credit {
                channel: need!(fields.channel).0,
                stream: Stream::take(&mut fields)?,
                bytes: need!(fields.bytes),
            },
            "auth" => ClientMessage::Auth { token: need!(fields.token).0, id: need!(fields.id) },
            "ping" => ClientMessage::Ping { timestamp: fields.timestamp, id: need!(fields.id) },
            other => return Err(DecodeError::unknown(other).with_id(id)),
        };
        message.validate().map_err(|e| e.with_id(id))?;
        Ok(message)
    }

    /// Decodes a binary frame that is not JSON.
    pub fn decode_binary(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let message = binary::decode_client(frame)?;
        message.validate().map_err(|e| e.with_id(message.id()))?;
        Ok(message)
    }

    /// The request id, for those that have one.
    pub fn id(&self) -> Option<u64> {
        match self {
            ClientMessage::Subscribe { id, .. }
            | ClientMessage::Unsubscribe { id, .. }
            | ClientMessage::Publish { id, .. }
            | ClientMessage::Send { id, .. }
            | ClientMessage::Track { id, .. }
            | ClientMessage::Untrack { id, .. }
            | ClientMessage::Mutate { id, .. }
            | ClientMessage::Auth { id, .. }
            | ClientMessage::Ping { id, .. } => Some(*id),
            ClientMessage::Hello(_) | ClientMessage::Credit { .. } => None,
        }
    }

    /// Whether this message is a binary one, which needs a frame of its own.
    pub fn is_binary(&self) -> bool {
        matches!(
            self,
            ClientMessage::Publish { payload: Payload::Binary(_), .. }
                | ClientMessage::Send { payload: Payload::Binary(_), .. }
        )
    }

    /// Appends the message: one line of JSON without its line feed, or a binary message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ClientMessage::Hello(hello) => {
                out.extend_from_slice(br#"{"type":"hello""#);
                string(out, "session", &hello.session);
                if let Some(token) = &hello.token {
                    string(out, "token", token);
                }
                if let Some(client) = &hello.client {
                    string(out, "client", client);
                }
                if hello.encoding != Encoding::Text {
                    string(out, "encoding", hello.encoding.as_str());
                }
                if let Some(window) = hello.window {
                    key(out, "window");
                    out.push(b'{');
                    out.extend_from_slice(b"\"connection\":");
                    super::text::push_number(out, window.connection);
                    number(out, "channel", window.channel);
                    out.push(b'}');
                }
            }
            ClientMessage::Subscribe { id, channel, stream, since } => {
                out.extend_from_slice(br#"{"type":"subscribe""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                stream.encode(out);
                if let Some(since) = since {
                    out.extend_from_slice(br#","since":{"epoch":"#);
                    push_string(out, &since.epoch);
                    number(out, "offset", since.offset);
                    out.push(b'}');
                }
            }
            ClientMessage::Unsubscribe { id, channel, stream } => {
                out.extend_from_slice(br#"{"type":"unsubscribe""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                stream.encode(out);
            }
            ClientMessage::Publish { id, channel, event, payload: Payload::Binary(bytes) } => {
                return binary::encode_publish(out, *id, channel, event, bytes);
            }
            ClientMessage::Publish { id, channel, event, payload: Payload::Json(json) } => {
                out.extend_from_slice(br#"{"type":"publish""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                string(out, "event", event);
                key(out, "payload");
                out.extend_from_slice(json);
            }
            ClientMessage::Send { id, payload: Payload::Binary(bytes), .. } => {
                return binary::encode_send(out, *id, bytes);
            }
            ClientMessage::Send { id, event, payload: Payload::Json(json) } => {
                out.extend_from_slice(br#"{"type":"send""#);
                number(out, "id", *id);
                string(out, "event", event.as_deref().unwrap_or_default());
                key(out, "payload");
                out.extend_from_slice(json);
            }
            ClientMessage::Track { id, channel, key: member, status, state } => {
                out.extend_from_slice(br#"{"type":"track""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                if let Some(member) = member {
                    string(out, "key", member);
                }
                string(out, "status", status.as_str());
                key(out, "state");
                out.extend_from_slice(state);
            }
            ClientMessage::Untrack { id, channel } => {
                out.extend_from_slice(br#"{"type":"untrack""#);
                number(out, "id", *id);
                string(out, "channel", channel);
            }
            ClientMessage::Mutate { id, channel, collection, op, key, if_revision } => {
                out.extend_from_slice(br#"{"type":"mutate""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                string(out, "collection", collection);
                string(out, "op", op.as_str());
                string(out, "key", key);
                if let Some(revision) = if_revision {
                    number(out, "if_revision", *revision);
                }
                op.encode_payload(out);
            }
            ClientMessage::Credit { channel, stream, bytes } => {
                out.extend_from_slice(br#"{"type":"credit""#);
                string(out, "channel", channel);
                stream.encode(out);
                number(out, "bytes", *bytes);
            }
            ClientMessage::Auth { id, token } => {
                out.extend_from_slice(br#"{"type":"auth""#);
                number(out, "id", *id);
                string(out, "token", token);
            }
            ClientMessage::Ping { id, timestamp } => {
                out.extend_from_slice(br#"{"type":"ping""#);
                number(out, "id", *id);
                if let Some(timestamp) = timestamp {
                    number(out, "timestamp", *timestamp);
                }
            }
        }
        out.push(b'}');
    }

    fn validate(&self) -> Result<(), DecodeError> {
        match self {
            ClientMessage::Hello(hello) => {
                let valid = (16..=64).contains(&hello.session.len())
                    && hello.session.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                if valid {
                    Ok(())
                } else {
                    Err(DecodeError::malformed("session must be 16 to 64 characters of A-Z a-z 0-9 - _"))
                }
            }
            ClientMessage::Subscribe { channel, stream, .. }
            | ClientMessage::Unsubscribe { channel, stream, .. }
            | ClientMessage::Credit { channel, stream, .. } => {
                validate_name("channel", channel)?;
                stream.validate()
            }
            ClientMessage::Track { channel, key, state, .. } => {
                validate_name("channel", channel)?;
                if let Some(key) = key {
                    validate_name("key", key)?;
                }
                validate_depth(state)
            }
            ClientMessage::Untrack { channel, .. } => validate_name("channel", channel),
            ClientMessage::Mutate { channel, collection, key, op, .. } => {
                validate_name("channel", channel)?;
                validate_name("collection", collection)?;
                validate_name("key", key)?;
                op.validate()
            }
            ClientMessage::Publish { channel, event, payload, .. } => {
                validate_name("channel", channel)?;
                validate_name("event", event)?;
                validate_payload(*payload)
            }
            ClientMessage::Send { event, payload, .. } => {
                if let Some(event) = event {
                    validate_name("event", event)?;
                }
                validate_payload(*payload)
            }
            ClientMessage::Auth { .. } | ClientMessage::Ping { .. } => Ok(()),
        }
    }
}

/// Syntax and UTF-8 were checked when the line was parsed; a line feed cannot be inside a line.
fn validate_payload(payload: Payload<'_>) -> Result<(), DecodeError> {
    match payload {
        Payload::Json(json) => validate_depth(json),
        Payload::Binary(_) => Ok(()),
    }
}
