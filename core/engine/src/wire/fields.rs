use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{DecodeError, Held, Left, Limits, Meta, Since, Window};

/// A string that is borrowed where it holds no escapes.
#[derive(Debug)]
pub(super) struct Str<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Str<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrVisitor;
        impl<'de> Visitor<'de> for StrVisitor {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v.to_owned())))
            }
            fn visit_string<E>(self, v: String) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v)))
            }
        }
        deserializer.deserialize_str(StrVisitor)
    }
}

macro_rules! fields {
    ($($field:ident : $ty:ty = $key:literal),* $(,)?) => {
        /// All keys that any message has, in any order; of duplicates the last counts; `null` is absent, but for the payload.
        #[derive(Debug, Default)]
        pub(super) struct Fields<'a> {
            $(pub(super) $field: Option<$ty>,)*
            pub(super) payload: Option<&'a RawValue>,
        }

        impl<'de> Deserialize<'de> for Fields<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FieldsVisitor;
                impl<'de> Visitor<'de> for FieldsVisitor {
                    type Value = Fields<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut fields = Fields::default();
                        while let Some(key) = map.next_key::<Str<'de>>()? {
                            match &*key.0 {
                                $($key => fields.$field = map.next_value()?,)*
                                "payload" => fields.payload = Some(map.next_value()?),
                                _ => { map.next_value::<IgnoredAny>()?; }
                            }
                        }
                        Ok(fields)
                    }
                }
                deserializer.deserialize_map(FieldsVisitor)
            }
        }
    };
}

fields! {
    kind: Str<'a> = "type",
    id: u64 = "id",
    channel: Str<'a> = "channel",
    event: Str<'a> = "event",
    since: Since = "since",
    session: Str<'a> = "session",
    token: Str<'a> = "token",
    client: Str<'a> = "client",
    server: Str<'a> = "server",
    encoding: Str<'a> = "encoding",
    window: Window = "window",
    bytes: u64 = "bytes",
    timestamp: u64 = "timestamp",
    time: u64 = "time",
    connection: Str<'a> = "connection",
    resumed: bool = "resumed",
    user: Str<'a> = "user",
    expires_in: u64 = "expires_in",
    heartbeat: u64 = "heartbeat",
    timeout: u64 = "timeout",
    limits: Limits = "limits",
    epoch: Str<'a> = "epoch",
    offset: u64 = "offset",
    recovered: bool = "recovered",
    duplicate: bool = "duplicate",
    from: u64 = "from",
    to: u64 = "to",
    code: Str<'a> = "code",
    message: Str<'a> = "message",
    retry_after: u64 = "retry_after",
    reason: Str<'a> = "reason",
    spread: u64 = "spread",
    presence: bool = "presence",
    collection: Str<'a> = "collection",
    op: Str<'a> = "op",
    key: Str<'a> = "key",
    if_revision: u64 = "if_revision",
    status: Str<'a> = "status",
    state: &'a RawValue = "state",
    reference: Str<'a> = "ref",
    verified: bool = "verified",
    joined_at: u64 = "joined_at",
    seen_at: u64 = "seen_at",
    grace: u64 = "grace",
    part: u64 = "part",
    end: u64 = "end",
    members: Vec<Meta<'a>> = "members",
    records: Records<'a> = "records",
    join: Vec<Meta<'a>> = "join",
    leave: Vec<Left<'a>> = "leave",
    digest: Str<'a> = "digest",
    revision: u64 = "revision",
    record: &'a RawValue = "record",
}

/// What stands under `records`: in a snapshot they themselves, in a digest how many.
#[derive(Debug)]
pub(super) enum Records<'a> {
    Count(u64),
    List(Vec<Held<'a>>),
}

impl<'de> Deserialize<'de> for Records<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordsVisitor;
        impl<'de> Visitor<'de> for RecordsVisitor {
            type Value = Records<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a list of records")
            }
            fn visit_u64<E>(self, count: u64) -> Result<Self::Value, E> {
                Ok(Records::Count(count))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut records = Vec::new();
                while let Some(record) = list.next_element()? {
                    records.push(record);
                }
                Ok(Records::List(records))
            }
        }
        deserializer.deserialize_any(RecordsVisitor)
    }
}

/// Only the id, for an answer to what could not be understood otherwise.
#[derive(serde::Deserialize)]
struct OnlyId {
    id: Option<u64>,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(line).map_err(|_| DecodeError::malformed("message is not UTF-8"))?;
        serde_json::from_str(text).map_err(|e| {
            // Derived structs can be read from an array too, where the first number is no id.
            let object = text.trim_ascii_start().starts_with('{');
            let id = serde_json::from_str::<OnlyId>(text).ok().filter(|_| object).and_then(|only| only.id);
            DecodeError::malformed(e.to_string()).with_id(id)
        })
    }
}

/// Takes a required field or says which one is missing.
macro_rules! need {
    ($fields:ident . $name:ident) => {
        $fields.$name.take().ok_or_else(|| {
            $crate::wire::DecodeError::malformed(concat!("missing field ", stringify!($name))).with_id($fields.id)
        })?
    };
}
pub(super) use need;
