use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::meta::list;
use super::text::{key, number, push_string, string};
use super::{Meta, Stream};

/// A page of the state of a presence or a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Snapshot<'a> {
    pub channel: Cow<'a, str>,
    pub epoch: Cow<'a, str>,
    /// The changes after this offset follow.
    pub offset: u64,
    /// 0, 1, 2, …; 0 begins anew.
    pub part: u64,
    /// On the last page: the state is whole once this offset is reached.
    pub end: Option<u64>,
    pub page: Page<'a>,
}

/// What is on a page; it says of which stream it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Page<'a> {
    /// Of a presence.
    Members(Vec<Meta<'a>>),
    /// Of a collection, in the order of the keys' bytes.
    Records {
        /// The name of the collection.
        collection: Cow<'a, str>,
        /// Records as they are, which may be newer than the snapshot.
        records: Vec<Held<'a>>,
    },
}

/// A record that a server holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "HeldFields<'de>")]
#[allow(missing_docs)]
pub struct Held<'a> {
    pub key: Cow<'a, str>,
    pub revision: u64,
    /// As [`Record::encode`](super::Record::encode) writes it.
    pub record: &'a [u8],
}

#[derive(Deserialize)]
struct HeldFields<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    revision: u64,
    #[serde(borrow)]
    record: &'a RawValue,
}

impl<'a> From<HeldFields<'a>> for Held<'a> {
    fn from(fields: HeldFields<'a>) -> Self {
        Self { key: fields.key, revision: fields.revision, record: fields.record.get().as_bytes() }
    }
}

impl Held<'_> {
    /// Appends it as a JSON object.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"key\":");
        push_string(out, &self.key);
        number(out, "revision", self.revision);
        key(out, "record");
        out.extend_from_slice(self.record);
        out.push(b'}');
    }
}

impl Snapshot<'_> {
    /// The stream that it is of.
    pub fn stream(&self) -> Stream<'_> {
        match &self.page {
            Page::Members(_) => Stream::Presence,
            Page::Records { collection, .. } => Stream::Collection(Cow::Borrowed(collection)),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"snapshot""#);
        string(out, "channel", &self.channel);
        self.stream().encode(out);
        string(out, "epoch", &self.epoch);
        number(out, "offset", self.offset);
        number(out, "part", self.part);
        if let Some(end) = self.end {
            number(out, "end", end);
        }
        match &self.page {
            Page::Members(members) => list(out, "members", members, Meta::encode),
            Page::Records { records, .. } => list(out, "records", records, Held::encode),
        }
    }
}
