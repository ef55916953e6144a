use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::DecodeError;
use super::text::{boolean, key, number, push_string, string};

/// How available somebody says to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum PresenceStatus {
    // In the order of availability: of several metas the greatest counts.
    Away,
    Busy,
    #[default]
    Online,
}

impl PresenceStatus {
    /// The string on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            PresenceStatus::Online => "online",
            PresenceStatus::Away => "away",
            PresenceStatus::Busy => "busy",
        }
    }

    /// The status with this string.
    pub fn parse(text: &str) -> Option<Self> {
        [PresenceStatus::Online, PresenceStatus::Away, PresenceStatus::Busy].into_iter().find(|s| s.as_str() == text)
    }

    pub(super) fn need(text: &str) -> Result<Self, DecodeError> {
        Self::parse(text)
            .ok_or_else(|| DecodeError::malformed(format!("status must be online, away or busy, this is {text:?}")))
    }
}

impl<'de> Deserialize<'de> for PresenceStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::need(&text).map_err(|e| serde::de::Error::custom(e.reason))
    }
}

/// One session that is present in a channel (section 13 of the specification).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "MetaFields<'de>")]
#[allow(missing_docs)]
pub struct Meta<'a> {
    /// The public name of the session in this channel (`ref` on the wire).
    pub reference: Cow<'a, str>,
    /// Which member it belongs to.
    pub key: Cow<'a, str>,
    /// The server vouches for `key`.
    pub verified: bool,
    pub status: PresenceStatus,
    /// A JSON object.
    pub state: &'a [u8],
    pub joined_at: u64,
    pub seen_at: u64,
}

#[derive(Deserialize)]
struct MetaFields<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    verified: Option<bool>,
    status: PresenceStatus,
    #[serde(borrow)]
    state: &'a RawValue,
    joined_at: u64,
    seen_at: u64,
}

impl<'a> TryFrom<MetaFields<'a>> for Meta<'a> {
    type Error = String;
    fn try_from(fields: MetaFields<'a>) -> Result<Self, String> {
        Ok(Self {
            reference: fields.reference,
            key: fields.key,
            verified: fields.verified.unwrap_or_default(),
            status: fields.status,
            state: object(fields.state).map_err(|e| e.reason)?,
            joined_at: fields.joined_at,
            seen_at: fields.seen_at,
        })
    }
}

impl Meta<'_> {
    /// Appends the meta as a JSON object.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ref\":");
        push_string(out, &self.reference);
        string(out, "key", &self.key);
        if self.verified {
            boolean(out, "verified", true);
        }
        string(out, "status", self.status.as_str());
        key(out, "state");
        out.extend_from_slice(self.state);
        number(out, "joined_at", self.joined_at);
        number(out, "seen_at", self.seen_at);
        out.push(b'}');
    }
}

/// A session that is present no more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct Left<'a> {
    /// Which (`ref` on the wire).
    #[serde(rename = "ref", borrow)]
    pub reference: Cow<'a, str>,
    /// When it was there last.
    pub seen_at: u64,
}

impl Left<'_> {
    /// Appends it as a JSON object.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ref\":");
        push_string(out, &self.reference);
        number(out, "seen_at", self.seen_at);
        out.push(b'}');
    }
}

/// The bytes of a JSON object; `malformed` for another value.
pub(super) fn object(value: &RawValue) -> Result<&[u8], DecodeError> {
    let json = value.get().as_bytes();
    if json.first() == Some(&b'{') { Ok(json) } else { Err(DecodeError::malformed("state must be a JSON object")) }
}

/// Appends `,"name":[…]`.
pub(super) fn list<T>(out: &mut Vec<u8>, name: &str, items: &[T], encode: impl Fn(&T, &mut Vec<u8>)) {
    key(out, name);
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        encode(item, out);
    }
    out.push(b']');
}
