use std::borrow::Cow;

use serde::Deserialize;

use super::client_message::Encoding;
use super::fields::{Fields, Records, need};
use super::meta::list;
use super::text::{boolean, key, number, push_number, string};
use super::{DecodeError, Digest, ErrorCode, Left, Meta, Op, Page, Payload, Snapshot, Stream, binary, envelope};

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct Limits {
    /// Bytes of a frame.
    pub frame: u64,
    /// Bytes of a payload.
    pub payload: u64,
    /// Subscriptions of a connection.
    pub channels: u64,
    /// Unanswered publishes and sends.
    pub inflight: u64,
    /// Publishes and sends a second; 0 is no limit.
    pub rate: u64,
}

/// The server's answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Welcome<'a> {
    pub session: Cow<'a, str>,
    pub connection: Cow<'a, str>,
    /// Whether the server still knew the session.
    pub resumed: bool,
    /// The verified user.
    pub user: Option<Cow<'a, str>>,
    /// Milliseconds until the token expires.
    pub expires_in: Option<u64>,
    /// Milliseconds between pings.
    pub heartbeat: u64,
    /// Milliseconds of silence after which the server gives up.
    pub timeout: u64,
    pub encoding: Encoding,
    /// The server's clock, ms since the Unix epoch.
    pub time: u64,
    pub limits: Limits,
    /// Name and version of the server.
    pub server: Cow<'a, str>,
}

/// A subscription has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Subscribed<'a> {
    pub id: u64,
    pub channel: Cow<'a, str>,
    pub stream: Stream<'a>,
    pub epoch: Cow<'a, str>,
    /// Everything after this offset follows.
    pub offset: u64,
    /// Present exactly when `since` was asked for.
    pub recovered: Option<bool>,
    /// Of a presence: milliseconds that a meta outlives its connection.
    pub grace: Option<u64>,
}

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Message<'a> {
    pub channel: Cow<'a, str>,
    pub event: Cow<'a, str>,
    pub offset: u64,
    /// The verified user that published it.
    pub user: Option<Cow<'a, str>>,
    /// The server's clock when it was accepted.
    pub timestamp: u64,
    pub payload: Payload<'a>,
}

impl<'a> Message<'a> {
    /// Decodes one line of JSON in the fixed key order; `None` for everything else, which [`ServerMessage::decode`] knows.
    pub fn decode_fast(line: &'a [u8]) -> Option<Self> {
        envelope::split_message(line)
    }
}

/// A change of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Change<'a> {
    pub channel: Cow<'a, str>,
    pub collection: Cow<'a, str>,
    /// What was accepted.
    pub op: Op<'a>,
    pub key: Cow<'a, str>,
    /// The revision that it made.
    pub offset: u64,
    /// The verified user that made it.
    pub user: Option<Cow<'a, str>>,
    /// The server's clock when it was accepted.
    pub timestamp: u64,
}

/// A publish, send or mutation was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Receipt<'a> {
    pub id: u64,
    /// Epoch and offset, for a publish.
    pub epoch: Option<Cow<'a, str>>,
    pub offset: Option<u64>,
    /// Accepted before, by an earlier attempt.
    pub duplicate: bool,
}

/// Something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Refusal<'a> {
    /// `None` for a code that this version does not know: final.
    pub code: Option<ErrorCode>,
    /// The code as it was sent.
    pub code_text: Cow<'a, str>,
    pub message: Cow<'a, str>,
    pub id: Option<u64>,
    pub channel: Option<Cow<'a, str>>,
    pub stream: Stream<'a>,
    pub retry_after: Option<u64>,
    /// Of a conflict: the record as it is, and its revision; neither where there is none.
    pub revision: Option<u64>,
    pub record: Option<&'a [u8]>,
}

impl<'a> Refusal<'a> {
    /// A refusal with a known code.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'a, str>>) -> Self {
        Self {
            code: Some(code),
            code_text: code.as_str().into(),
            message: message.into(),
            id: None,
            channel: None,
            stream: Stream::Messages,
            retry_after: None,
            revision: None,
            record: None,
        }
    }
}

/// A message from server to client (section 2 of the specification).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum ServerMessage<'a> {
    Welcome(Box<Welcome<'a>>),
    Subscribed(Subscribed<'a>),
    Unsubscribed {
        id: u64,
        channel: Cow<'a, str>,
        stream: Stream<'a>,
    },
    Message(Message<'a>),
    Gap {
        channel: Cow<'a, str>,
        epoch: Cow<'a, str>,
        from: u64,
        to: u64,
    },
    Snapshot(Snapshot<'a>),
    /// Changes of a presence.
    Presence {
        channel: Cow<'a, str>,
        offset: u64,
        timestamp: u64,
        join: Vec<Meta<'a>>,
        leave: Vec<Left<'a>>,
    },
    Change(Change<'a>),
    /// What the collection is at `offset`.
    Digest {
        channel: Cow<'a, str>,
        collection: Cow<'a, str>,
        offset: u64,
        digest: Digest,
    },
    /// The client's own meta as it is now, without what the client said itself; `reference` is its `ref`.
    Tracked {
        id: u64,
        channel: Cow<'a, str>,
        key: Cow<'a, str>,
        reference: Cow<'a, str>,
        verified: bool,
        joined_at: u64,
        seen_at: u64,
    },
    Untracked {
        id: u64,
        channel: Cow<'a, str>,
    },
    Receipt(Receipt<'a>),
    /// `event` is `None` for a binary one.
    Direct {
        event: Option<Cow<'a, str>>,
        timestamp: Option<u64>,
        payload: Payload<'a>,
    },
    Authenticated {
        id: u64,
        user: Option<Cow<'a, str>>,
        expires_in: Option<u64>,
    },
    Pong {
        id: u64,
        timestamp: Option<u64>,
        time: u64,
    },
    Goaway {
        reason: Cow<'a, str>,
        spread: u64,
    },
    Error(Refusal<'a>),
}

impl<'a> ServerMessage<'a> {
    /// Decodes one line of JSON. A message or change in the fixed key order takes one pass and its payload is not looked at:
    /// the server has validated it.
    pub fn decode(line: &'a [u8]) -> Result<Self, DecodeError> {
        match envelope::split(line) {
            Some(message) => Ok(message),
            None => Self::decode_any_order(line),
        }
    }

    /// Decodes one line of JSON with its keys in any order.
    pub fn decode_any_order(line: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::parse(line)?;
        let kind = need!(fields.kind).0;
        Ok(match &*kind {
            "message" => ServerMessage::Message(Message {
                channel: need!(fields.channel).0,
                event: need!(fields.event).0,
                offset: need!(fields.offset),
                user: fields.user.take().map(|s| s.0),
                timestamp: fields.timestamp.unwrap_or_default(),
                payload: Payload::Json(need!(fields.payload).get().as_bytes()),
            }),
            "receipt" => ServerMessage::Receipt(Receipt {
                id: need!(fields.id),
                epoch: fields.epoch.map(|s| s.0),
                offset: fields.offset,
                duplicate: fields.duplicate.unwrap_or_default(),
            }),
            "welcome" => ServerMessage::Welcome(Box::new(Welcome {
                session: need!(fields.session).0,
                connection: need!(fields.connection).0,
                resumed: need!(fields.resumed),
                heartbeat: need!(fields.heartbeat),
                timeout: need!(fields.timeout),
                limits: need!(fields.limits),
                user: fields.user.map(|s| s.0),
                expires_in: fields.expires_in,
                encoding: fields.encoding.map_or(Encoding::Text, |s| Encoding::parse(&s.0)),
                time: fields.time.unwrap_or_default(),
                server: fields.server.map(|s| s.0).unwrap_or_default(),
            })),
            "subscribed" => ServerMessage::Subscribed(Subscribed {
                channel: need!(fields.channel).0,
                epoch: need!(fields.epoch).0,
                offset: need!(fields.offset),
                id: need!(fields.id),
                stream: Stream::take(&mut fields)?,
                recovered: fields.recovered,
                grace: fields.grace,
            }),
            "unsubscribed" => ServerMessage::Unsubscribed {
                channel: need!(fields.channel).0,
                id: need!(fields.id),
                stream: Stream::take(&mut fields)?,
            },
            "snapshot" => ServerMessage::Snapshot(Snapshot {
                channel: need!(fields.channel).0,
                epoch: need!(fields.epoch).0,
                offset: need!(fields.offset),
                part: need!(fields.part),
                end: fields.end,
                page: match Stream::take(&mut fields)? {
                    Stream::Messages => return Err(DecodeError::malformed("a snapshot of messages")),
                    Stream::Presence => Page::Members(need!(fields.members)),
                    Stream::Collection(collection) => match need!(fields.records) {
                        Records::List(records) => Page::Records { collection, records },
                        Records::Count(_) => return Err(DecodeError::malformed("records must be a list")),
                    },
                },
            }),
            "presence" => ServerMessage::Presence {
                channel: need!(fields.channel).0,
                offset: need!(fields.offset),
                timestamp: fields.timestamp.unwrap_or_default(),
                join: fields.join.unwrap_or_default(),
                leave: fields.leave.unwrap_or_default(),
            },
            "change" => ServerMessage::Change(Change {
                channel: need!(fields.channel).0,
                collection: need!(fields.collection).0,
                op: Op::take(&mut fields)?,
                key: need!(fields.key).0,
                offset: need!(fields.offset),
                user: fields.user.take().map(|s| s.0),
                timestamp: fields.timestamp.unwrap_or_default(),
            }),
            "digest" => ServerMessage::Digest {
                channel: need!(fields.channel).0,
                collection: need!(fields.collection).0,
                offset: need!(fields.offset),
                digest: Digest {
                    records: match need!(fields.records) {
                        Records::Count(records) => records,
                        Records::List(_) => return Err(DecodeError::malformed("records must be a number")),
                    },
                    sum: Digest::parse_sum(&need!(fields.digest).0)
                        .ok_or_else(|| DecodeError::malformed("digest must be 16 hexadecimal digits"))?,
                },
            },
            "tracked" => ServerMessage::Tracked {
                id: need!(fields.id),
                channel: need!(fields.channel).0,
                key: need!(fields.key).0,
                reference: need!(fields.reference).0,
                verified: fields.verified.unwrap_or_default(),
                joined_at: need!(fields.joined_at),
                seen_at: need!(fields.seen_at),
            },
            "untracked" => ServerMessage::Untracked { id: need!(fields.id), channel: need!(fields.channel).0 },
            "gap" => ServerMessage::Gap {
                channel: need!(fields.channel).0,
                epoch: need!(fields.epoch).0,
                from: need!(fields.from),
                to: need!(fields.to),
            },
            "direct" => ServerMessage::Direct {
                event: Some(need!(fields.event).0),
                payload: Payload::Json(need!(fields.payload).get().as_bytes()),
                timestamp: fields.timestamp,
            },
            "authenticated" => ServerMessage::Authenticated {
                id: need!(fields.id),
                user: fields.user.map(|s| s.0),
                expires_in: fields.expires_in,
            },
            "pong" => ServerMessage::Pong {
                id: need!(fields.id),
                timestamp: fields.timestamp,
                time: fields.time.unwrap_or_default(),
            },
            "goaway" => ServerMessage::Goaway {
                reason: fields.reason.map(|s| s.0).unwrap_or_default(),
                spread: fields.spread.unwrap_or_default(),
            },
            "error" => {
                let code_text = need!(fields.code).0;
                ServerMessage::Error(Refusal {
                    code: ErrorCode::parse(&code_text),
                    code_text,
                    stream: Stream::take(&mut fields)?,
                    message: fields.message.map(|s| s.0).unwrap_or_default(),
                    id: fields.id,
                    channel: fields.channel.map(|s| s.0),
                    retry_after: fields.retry_after,
                    revision: fields.revision,
                    record: fields.record.map(|record| record.get().as_bytes()),
                })
            }
            other => return Err(DecodeError::unknown(other)),
        })
    }

    /// Decodes a binary frame that is not JSON.
    pub fn decode_binary(frame: &'a [u8]) -> Result<Self, DecodeError> {
        binary::decode_server(frame)
    }

    /// Appends the message: one line of JSON without its line feed, or a binary message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ServerMessage::Message(Message { channel, event, offset, user, timestamp, payload }) => {
                let json = match payload {
                    Payload::Json(json) => json,
                    Payload::Binary(bytes) => {
                        return binary::encode_message(
                            out,
                            *offset,
                            *timestamp,
                            channel,
                            event,
                            user.as_deref(),
                            bytes,
                        );
                    }
                };
                out.extend_from_slice(br#"{"type":"message""#);
                string(out, "channel", channel);
                string(out, "event", event);
                number(out, "offset", *offset);
                if let Some(user) = user {
                    string(out, "user", user);
                }
                number(out, "timestamp", *timestamp);
                key(out, "payload");
                out.extend_from_slice(json);
            }
            ServerMessage::Receipt(Receipt { id, epoch, offset, duplicate }) => {
                out.extend_from_slice(br#"{"type":"receipt""#);
                number(out, "id", *id);
                if let Some(epoch) = epoch {
                    string(out, "epoch", epoch);
                }
                if let Some(offset) = offset {
                    number(out, "offset", *offset);
                }
                if *duplicate {
                    boolean(out, "duplicate", true);
                }
            }
            ServerMessage::Welcome(welcome) => encode_welcome(out, welcome),
            ServerMessage::Subscribed(Subscribed { id, channel, stream, epoch, offset, recovered, grace }) => {
                out.extend_from_slice(br#"{"type":"subscribed""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                stream.encode(out);
                string(out, "epoch", epoch);
                number(out, "offset", *offset);
                if let Some(recovered) = recovered {
                    boolean(out, "recovered", *recovered);
                }
                if let Some(grace) = grace {
                    number(out, "grace", *grace);
                }
            }
            ServerMessage::Unsubscribed { id, channel, stream } => {
                out.extend_from_slice(br#"{"type":"unsubscribed""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                stream.encode(out);
            }
            ServerMessage::Snapshot(snapshot) => snapshot.encode(out),
            ServerMessage::Presence { channel, offset, timestamp, join, leave } => {
                out.extend_from_slice(br#"{"type":"presence""#);
                string(out, "channel", channel);
                number(out, "offset", *offset);
                number(out, "timestamp", *timestamp);
                if !join.is_empty() {
                    list(out, "join", join, Meta::encode);
                }
                if !leave.is_empty() {
                    list(out, "leave", leave, Left::encode);
                }
            }
            ServerMessage::Change(Change { channel, collection, op, key, offset, user, timestamp }) => {
                out.extend_from_slice(br#"{"type":"change""#);
                string(out, "channel", channel);
                string(out, "collection", collection);
                string(out, "op", op.as_str());
                string(out, "key", key);
                number(out, "offset", *offset);
                if let Some(user) = user {
                    string(out, "user", user);
                }
                number(out, "timestamp", *timestamp);
                op.encode_payload(out);
            }
            ServerMessage::Digest { channel, collection, offset, digest } => {
                out.extend_from_slice(br#"{"type":"digest""#);
                string(out, "channel", channel);
                string(out, "collection", collection);
                number(out, "offset", *offset);
                number(out, "records", digest.records);
                string(out, "digest", &digest.to_string());
            }
            ServerMessage::Tracked { id, channel, key, reference, verified, joined_at, seen_at } => {
                out.extend_from_slice(br#"{"type":"tracked""#);
                number(out, "id", *id);
                string(out, "channel", channel);
                string(out, "key", key);
                string(out, "ref", reference);
                if *verified {
                    boolean(out, "verified", true);
                }
                number(out, "joined_at", *joined_at);
                number(out, "seen_at", *seen_at);
            }
            ServerMessage::Untracked { id, channel } => {
                out.extend_from_slice(br#"{"type":"untracked""#);
                number(out, "id", *id);
                string(out, "channel", channel);
            }
            ServerMessage::Gap { channel, epoch, from, to } => {
                out.extend_from_slice(br#"{"type":"gap""#);
                string(out, "channel", channel);
                string(out, "epoch", epoch);
                number(out, "from", *from);
                number(out, "to", *to);
            }
            ServerMessage::Direct { payload: Payload::Binary(bytes), .. } => return binary::encode_direct(out, bytes),
            ServerMessage::Direct { event, timestamp, payload: Payload::Json(json) } => {
                out.extend_from_slice(br#"{"type":"direct""#);
                string(out, "event", event.as_deref().unwrap_or_default());
                if let Some(timestamp) = timestamp {
                    number(out, "timestamp", *timestamp);
                }
                key(out, "payload");
                out.extend_from_slice(json);
            }
            ServerMessage::Authenticated { id, user, expires_in } => {
                out.extend_from_slice(br#"{"type":"authenticated""#);
                number(out, "id", *id);
                if let Some(user) = user {
                    string(out, "user", user);
                }
                if let Some(expires_in) = expires_in {
                    number(out, "expires_in", *expires_in);
                }
            }
            ServerMessage::Pong { id, timestamp, time } => {
                out.extend_from_slice(br#"{"type":"pong""#);
                number(out, "id", *id);
                if let Some(timestamp) = timestamp {
                    number(out, "timestamp", *timestamp);
                }
                number(out, "time", *time);
            }
            ServerMessage::Goaway { reason, spread } => {
                out.extend_from_slice(br#"{"type":"goaway""#);
                string(out, "reason", reason);
                number(out, "spread", *spread);
            }
            ServerMessage::Error(refusal) => {
                out.extend_from_slice(br#"{"type":"error""#);
                string(out, "code", &refusal.code_text);
                string(out, "message", &refusal.message);
                if let Some(id) = refusal.id {
                    number(out, "id", id);
                }
                if let Some(channel) = &refusal.channel {
                    string(out, "channel", channel);
                }
                refusal.stream.encode(out);
                if let Some(retry_after) = refusal.retry_after {
                    number(out, "retry_after", retry_after);
                }
                if let Some(revision) = refusal.revision {
                    number(out, "revision", revision);
                }
                if let Some(record) = refusal.record {
                    key(out, "record");
                    out.extend_from_slice(record);
                }
            }
        }
        out.push(b'}');
    }
}

fn encode_welcome(out: &mut Vec<u8>, welcome: &Welcome<'_>) {
    out.extend_from_slice(br#"{"type":"welcome""#);
    string(out, "session", &welcome.session);
    string(out, "connection", &welcome.connection);
    boolean(out, "resumed", welcome.resumed);
    if let Some(user) = &welcome.user {
        string(out, "user", user);
    }
    if let Some(expires_in) = welcome.expires_in {
        number(out, "expires_in", expires_in);
    }
    number(out, "heartbeat", welcome.heartbeat);
    number(out, "timeout", welcome.timeout);
    string(out, "encoding", welcome.encoding.as_str());
    number(out, "time", welcome.time);
    key(out, "limits");
    out.extend_from_slice(b"{\"frame\":");
    push_number(out, welcome.limits.frame);
    number(out, "payload", welcome.limits.payload);
    number(out, "channels", welcome.limits.channels);
    number(out, "inflight", welcome.limits.inflight);
    number(out, "rate", welcome.limits.rate);
    out.push(b'}');
    string(out, "server", &welcome.server);
}
