//! What peers say to each other, as events and payloads of ordinary messages.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::clock::Clock;
use super::presence::Own;
use crate::io::Text;
use crate::wire::{DecodeError, Digest, Meta, PresenceStatus, Record, text, validate_name};

/// The largest state of a member.
const MAX_STATE: usize = 16 << 10;

/// A message of a peer.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// It joins: present where it says who it is.
    Join {
        reference: Cow<'a, str>,
        member: Option<Told<'a>>,
    },
    /// It is present.
    Member(Told<'a>),
    Leave {
        reference: Cow<'a, str>,
    },
    Change {
        collection: Cow<'a, str>,
        item: Item,
    },
    Request {
        collection: Cow<'a, str>,
        reference: Cow<'a, str>,
        digest: u64,
    },
    State(State<'a>),
    Digest {
        collection: Cow<'a, str>,
        reference: Cow<'a, str>,
        digest: u64,
    },
}

/// A member as a peer told of it.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) meta: Meta<'a>,
    /// In the form of a record.
    pub(crate) state: Bytes,
}

/// A part of a collection. Records that are none are left out, and counted.
#[derive(Debug)]
pub(crate) struct State<'a> {
    pub(crate) collection: Cow<'a, str>,
    pub(crate) reference: Cow<'a, str>,
    pub(crate) digest: u64,
    pub(crate) part: u64,
    pub(crate) last: bool,
    pub(crate) records: Vec<Item>,
    pub(crate) broken: Option<DecodeError>,
}

/// A record, or where it was, as it is since `clock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: Text,
    pub(crate) clock: Clock,
    pub(crate) record: Option<Bytes>,
}

/// Payloads of presence: all fields that any of them has.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    joined_at: Option<u64>,
    seen_at: Option<u64>,
}

#[derive(Deserialize)]
struct Replica<'a> {
    #[serde(borrow)]
    collection: Cow<'a, str>,
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    part: Option<u64>,
    last: Option<bool>,
    #[serde(borrow)]
    records: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct ChangeFields<'a> {
    #[serde(borrow)]
    collection: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ItemFields<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    clock: (u64, u64, Cow<'a, str>),
    #[serde(borrow)]
    record: &'a RawValue,
}

impl<'a> Message<'a> {
    /// Whether events with this name are of peers; `true` in it: of presence.
    pub(crate) fn is_of_presence(event: &str) -> Option<bool> {
        match event {
            "presence:join" | "presence:announce" | "presence:update" | "presence:leave" => Some(true),
            "sync:change" | "sync:request" | "sync:state" | "sync:digest" => Some(false),
            _ => None,
        }
    }

    /// Reads what came as an event of that kind.
    pub(crate) fn decode(event: &str, payload: &'a [u8]) -> Result<Self, DecodeError> {
        match event {
            "presence:join" | "presence:announce" | "presence:update" | "presence:leave" => {
                let fields: Fields<'a> = read(event, payload)?;
                validate_name("ref", &fields.reference)?;
                let reference = fields.reference.clone();
                match event {
                    "presence:leave" => Ok(Message::Leave { reference }),
                    "presence:join" if fields.key.is_none() => Ok(Message::Join { reference, member: None }),
                    "presence:join" => Ok(Message::Join { reference, member: Some(fields.told()?) }),
                    _ => Ok(Message::Member(fields.told()?)),
                }
            }
            "sync:change" => {
                let ChangeFields { collection } = read(event, payload)?;
                Ok(Message::Change { collection, item: Item::decode(payload)? })
            }
            _ => {
                let fields: Replica<'a> = read(event, payload)?;
                validate_name("ref", &fields.reference)?;
                let digest = Digest::parse_sum(&fields.digest)
                    .ok_or_else(|| DecodeError::malformed(format!("{event}: digest must have 16 digits")))?;
                let (collection, reference) = (fields.collection, fields.reference);
                match event {
                    "sync:request" => Ok(Message::Request { collection, reference, digest }),
                    "sync:digest" => Ok(Message::Digest { collection, reference, digest }),
                    _ => {
                        let (Some(part), Some(last), Some(raw)) = (fields.part, fields.last, fields.records) else {
                            return Err(DecodeError::malformed("sync:state: part, last or records is missing"));
                        };
                        let (mut records, mut broken) = (Vec::with_capacity(raw.len()), None);
                        for item in raw {
                            match Item::decode(item.get().as_bytes()) {
                                Ok(item) => records.push(item),
                                Err(error) => broken = Some(error),
                            }
                        }
                        Ok(Message::State(State { collection, reference, digest, part, last, records, broken }))
                    }
                }
            }
        }
    }

    /// The collection that it is about.
    pub(crate) fn collection(&self) -> Option<&str> {
        match self {
            Message::Change { collection, .. }
            | Message::Request { collection, .. }
            | Message::Digest { collection, .. }
            | Message::State(State { collection, .. }) => Some(collection),
            _ => None,
        }
    }
}

impl<'a> Fields<'a> {
    fn told(self) -> Result<Told<'a>, DecodeError> {
        let missing = |field: &str| DecodeError::malformed(format!("a member without {field}"));
        let key = self.key.ok_or_else(|| missing("key"))?;
        validate_name("key", &key)?;
        let status = self.status.as_deref().and_then(PresenceStatus::parse).ok_or_else(|| missing("status"))?;
        let state = self.state.map_or("{}", RawValue::get).as_bytes();
        if state.len() > MAX_STATE {
            return Err(DecodeError::malformed(format!("the state of a member is over {MAX_STATE} bytes")));
        }
        let form = Bytes::from(Record::parse(state)?.encode());
        let joined_at = self.joined_at.ok_or_else(|| missing("joined_at"))?;
        let seen_at = self.seen_at.unwrap_or(joined_at);
        // Nobody vouches for anybody here.
        let meta = Meta { reference: self.reference, key, verified: false, status, state, joined_at, seen_at };
        Ok(Told { meta, state: form })
    }
}

impl Item {
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let fields: ItemFields<'_> = read("a record", json)?;
        validate_name("key", &fields.key)?;
        let (millis, counter, reference) = fields.clock;
        let clock = Clock { stamp: (millis, counter), reference: Text::from(&*reference) };
        if !clock.is_valid() {
            return Err(DecodeError::malformed("a clock out of range"));
        }
        let record = match fields.record.get() {
            "null" => None,
            json => {
                let record = Record::parse(json.as_bytes())?;
                if record.id().as_deref() != Some(&*fields.key) {
                    return Err(DecodeError::malformed("a record whose id is not its key"));
                }
                Some(Bytes::from(record.encode()))
            }
        };
        Ok(Self { key: Text::from(&*fields.key), clock, record })
    }

    /// Appends it as a JSON object.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.encode_fields(out);
        out.push(b'}');
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"key\":");
        text::push_string(out, &self.key);
        text::key(out, "clock");
        self.clock.encode(out);
        text::key(out, "record");
        out.extend_from_slice(self.record.as_deref().unwrap_or(b"null"));
    }
}

/// The payload of an event that says who this client is.
pub(crate) fn encode_member(reference: &str, own: &Own) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + own.state.len());
    own.meta(reference).encode(&mut out);
    out
}

/// The payload of `presence:join` of one who only watches.
pub(crate) fn encode_watcher(reference: &str) -> Vec<u8> {
    encode_leave(reference)
}

/// The payload of `presence:leave`.
pub(crate) fn encode_leave(reference: &str) -> Vec<u8> {
    let mut out = b"{\"ref\":".to_vec();
    text::push_string(&mut out, reference);
    out.push(b'}');
    out
}

/// The payload of `sync:change`.
pub(crate) fn encode_change(collection: &str, item: &Item) -> Vec<u8> {
    let mut out = b"{\"collection\":".to_vec();
    text::push_string(&mut out, collection);
    out.push(b',');
    item.encode_fields(&mut out);
    out.push(b'}');
    out
}

/// The payload of `sync:request` and `sync:digest`, and without its end that of `sync:state`.
pub(crate) fn encode_digest(collection: &str, reference: &str, digest: &str) -> Vec<u8> {
    let mut out = b"{\"collection\":".to_vec();
    text::push_string(&mut out, collection);
    text::string(&mut out, "ref", reference);
    text::string(&mut out, "digest", digest);
    out.push(b'}');
    out
}

fn read<'a, T: Deserialize<'a>>(what: &str, json: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(json).map_err(|error| DecodeError::malformed(format!("{what}: {error}")))
}
