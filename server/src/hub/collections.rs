//! Records with an id: the state of a collection, and what a mutation makes of it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{Change as ChangeLine, Digest, ErrorCode, Op, Record, ServerMessage};

use super::history::Entry;
use super::streams::{State, StreamKey, Streams, encode};

/// What a record costs beside its bytes.
pub(super) const RECORD_OVERHEAD: usize = 160;

/// The records of a collection.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) name: Arc<str>,
    items: BTreeMap<Arc<str>, Item>,
    digest: Digest,
    size: Size,
    /// What the records become by changes that wait for the disk.
    staged: BTreeMap<Arc<str>, Ahead>,
    /// With what waits for the disk.
    ahead: Size,
}

/// A record as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) revision: u64,
    pub(super) record: Bytes,
    /// Its number in the store, 0 without one.
    pub(super) number: u64,
}

#[derive(Debug)]
struct Ahead {
    /// How many changes wait.
    waiting: usize,
    /// After all of them.
    item: Option<Item>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    records: u64,
    bytes: usize,
}

/// What a change makes of a record.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: Arc<str>,
    /// `None` where it is removed.
    pub(super) item: Option<Item>,
    /// The number of the record in the store, 0 without one.
    pub(super) number: u64,
}

/// What a mutation comes to.
#[derive(Debug)]
pub(super) enum Step {
    /// The record becomes this, or is removed.
    Change(Option<Bytes>),
    /// It is so already, since this revision; `None` where there is no record.
    Nothing(Option<u64>),
}

/// Why a mutation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
#[non_exhaustive]
pub struct MutateError {
    /// The code of the protocol.
    pub code: ErrorCode,
    /// What was wrong, for people.
    pub reason: String,
    /// Of a conflict: the record as it is.
    pub current: Option<Current>,
}

/// A record of a collection, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Current {
    /// Its id.
    pub key: Arc<str>,
    /// The offset of the change that made it so.
    pub revision: u64,
    /// A JSON object.
    pub record: Bytes,
}

impl MutateError {
    pub(super) fn new(code: ErrorCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), current: None }
    }
}

impl Collection {
    pub(super) fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            items: BTreeMap::new(),
            digest: Digest::default(),
            size: Size::default(),
            staged: BTreeMap::new(),
            ahead: Size::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// How many records there are, with what waits for the disk.
    pub(super) fn records_ahead(&self) -> u64 {
        self.ahead.records
    }

    pub(super) fn item(&self, key: &str) -> Option<Current> {
        self.items.get_key_value(key).map(|(key, item)| item.current(key))
    }

    /// In the order of their keys' bytes, from behind this one.
    pub(super) fn items_after(&self, after: Option<&Arc<str>>) -> impl Iterator<Item = (&Arc<str>, &Item)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.items.range::<Arc<str>, _>((start, Bound::Unbounded))
    }

    /// The record after everything that was accepted.
    pub(super) fn latest(&self, key: &str) -> Option<(&Arc<str>, &Item)> {
        match self.staged.get_key_value(key) {
            Some((key, ahead)) => ahead.item.as_ref().map(|item| (key, item)),
            None => self.items.get_key_value(key),
        }
    }

    /// Looks what a mutation comes to, after everything that was accepted.
    pub(super) fn decide(
        &self,
        key: &str,
        op: Op<'_>,
        if_revision: Option<u64>,
        limit: u64,
    ) -> Result<Step, MutateError> {
        let latest = self.latest(key);
        let conflict = |reason: &str| {
            let current = latest.map(|(key, item)| item.current(key));
            Err(MutateError { current, ..MutateError::new(ErrorCode::Conflict, reason) })
        };
        if let (Some(wanted), Op::Update(_) | Op::Remove) = (if_revision, op)
            && latest.map(|(_, item)| item.revision) != Some(wanted)
            && !super::mutant("if-revision-ignored")
        {
            return conflict("the record is not at this revision");
        }
        let record = match (op, latest) {
            (Op::Insert(record), latest) => {
                let record = parse(record)?;
                if record.id().as_deref() != Some(key) {
                    return Err(MutateError::new(ErrorCode::InvalidRecord, "the id of a record must be its key"));
                }
                let record = record.encode();
                match latest {
                    Some((_, item)) if item.record == record => return Ok(Step::Nothing(Some(item.revision))),
                    Some(_) => return conflict("a record with this id is there"),
                    None => record,
                }
            }
            (Op::Update(patch), latest) => {
                let patch = parse(patch)?;
                if patch.field("id").is_some() && patch.id().as_deref() != Some(key) {
                    return Err(MutateError::new(ErrorCode::InvalidRecord, "a patch cannot change the id"));
                }
                let Some((_, item)) = latest else {
                    return Err(MutateError::new(ErrorCode::NotFound, "there is no record with this id"));
                };
                let mut record = parse(&item.record)?;
                record.patch(&patch);
                record.encode()
            }
            (Op::Remove, Some(_)) => return Ok(Step::Change(None)),
            (Op::Remove, None) => return Ok(Step::Nothing(None)),
            _ => return Err(MutateError::new(ErrorCode::UnknownType, "unknown op")),
        };
        if record.len() as u64 > limit {
            let reason = format!("the record would have {} bytes, the limit is {limit}", record.len());
            return Err(MutateError::new(ErrorCode::PayloadTooLarge, reason));
        }
        // It stays for long: it takes no more than it has.
        Ok(Step::Change(Some(record.into_boxed_slice().into())))
    }

    /// A change was accepted: what comes after it reckons with it. With a store it is not seen yet.
    fn accept(&mut self, change: &Change, durable: bool) {
        if let Some((key, item)) = self.latest(&change.key) {
            let size = item.size(key);
            self.ahead.records -= 1;
            self.ahead.bytes -= size;
        }
        if let Some(item) = &change.item {
            self.ahead.records += 1;
            self.ahead.bytes += item.size(&change.key);
        }
        if durable {
            let waiting = self.staged.get(&change.key).map_or(0, |ahead| ahead.waiting) + 1;
            self.staged.insert(change.key.clone(), Ahead { waiting, item: change.item.clone() });
        }
    }

    /// A change that was accepted is seen from now on.
    fn apply(&mut self, Change { key, item, .. }: Change) {
        if let Some(ahead) = self.staged.get_mut(&key) {
            ahead.waiting -= 1;
            if ahead.waiting == 0 {
                self.staged.remove(&key);
            }
        }
        if let Some(before) = self.items.get(&key) {
            self.digest.remove(&key, &before.record);
            self.size.records -= 1;
            self.size.bytes -= before.size(&key);
        }
        match item {
            None => drop(self.items.remove(&key)),
            Some(item) => {
                self.digest.add(&key, &item.record);
                self.size.records += 1;
                self.size.bytes += item.size(&key);
                self.items.insert(key, item);
            }
        }
    }
}

impl Item {
    pub(super) fn current(&self, key: &Arc<str>) -> Current {
        Current { key: key.clone(), revision: self.revision, record: self.record.clone() }
    }

    pub(super) fn size(&self, key: &str) -> usize {
        RECORD_OVERHEAD + key.len() + self.record.len()
    }
}

fn parse(json: &[u8]) -> Result<Record<'_>, MutateError> {
    Record::parse_validated(json).map_err(|error| MutateError::new(error.code, error.reason))
}

impl Streams {
    pub(super) fn collection(&self, key: StreamKey) -> Option<&Collection> {
        match &self.stream(key)?.state {
            State::Collection(collection) => Some(collection),
            _ => None,
        }
    }

    /// Takes a change in, with the line that tells it; with a store it waits for [`apply`](Self::apply).
    pub(super) fn accept(&mut self, key: StreamKey, change: &Change, durable: bool) {
        self.with_collection(key, |collection| collection.accept(change, durable));
    }

    /// A change is seen.
    pub(super) fn apply(&mut self, key: StreamKey, change: Change) {
        self.with_collection(key, |collection| collection.apply(change));
    }

    /// Nothing of what waited for the disk has happened.
    pub(super) fn roll_back(&mut self, key: StreamKey) {
        self.with_collection(key, |collection| {
            collection.staged.clear();
            collection.ahead = collection.size;
        });
    }

    /// Takes a record out of a store; `false` where it is there already.
    pub(super) fn restore_item(&mut self, key: StreamKey, name: Arc<str>, item: Item) -> bool {
        let known = self.collection(key).is_none_or(|collection| collection.items.contains_key(&name));
        let change = Change { key: name, number: item.number, item: Some(item) };
        self.with_collection(key, |collection| {
            collection.accept(&change, false);
            collection.apply(change);
        });
        !known
    }

    fn with_collection(&mut self, key: StreamKey, act: impl FnOnce(&mut Collection)) {
        let Some(State::Collection(collection)) = self.stream_mut(key).map(|stream| &mut stream.state) else { return };
        let before = collection.ahead;
        act(collection);
        let after = collection.ahead;
        self.totals.records = self.totals.records + after.records - before.records;
        self.totals.record_bytes = self.totals.record_bytes + after.bytes - before.bytes;
    }

    /// The line that tells a change.
    pub(super) fn encode_change(
        &mut self,
        now: u64,
        key: StreamKey,
        record_key: &str,
        op: Op<'_>,
        user: Option<&str>,
        number: u64,
    ) -> Option<(Entry, u64)> {
        let stream = self.stream(key)?;
        let offset = stream.next_offset();
        let State::Collection(collection) = &stream.state else { return None };
        let line = ServerMessage::Change(ChangeLine {
            channel: (&*stream.channel).into(),
            collection: (&*collection.name).into(),
            op,
            key: record_key.into(),
            offset,
            user: user.map(Into::into),
            timestamp: now,
        });
        Some((Entry::new(now, encode(&line, &mut Vec::new()), false, number), offset))
    }
}
