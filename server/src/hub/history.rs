use std::collections::VecDeque;

use bytes::Bytes;
use realtime_engine::wire::{Payload, ServerMessage, plain};

use super::config::{HistoryConfig, ms};
use super::streams::StreamKey;

/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD: usize = 96;

/// The messages of a channel that can still be served: offsets `first()..=last()`, without a hole.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    /// Offset of the newest message; 0 before the first.
    last: u64,
    bytes: usize,
}

/// A message, serialised once for all subscribers of a dialect.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) timestamp: u64,
    /// A JSON line, or a binary frame.
    pub(super) v1: Bytes,
    pub(super) binary: bool,
    /// Its number in the store, 0 without one.
    pub(super) record: u64,
    /// Made when the first plain subscriber wants it.
    plain: Option<Bytes>,
}

/// What went from the memory and has to go from the store.
#[derive(Debug, Default)]
pub(super) struct Retired {
    /// Numbers of records.
    pub(super) records: Vec<u64>,
    /// Channels whose last stored message is gone: from then on the store has to know the offset by itself.
    pub(super) emptied: Vec<StreamKey>,
}

impl Retired {
    pub(super) fn push(&mut self, record: u64) {
        if record != 0 {
            self.records.push(record);
        }
    }
}

impl Entry {
    pub(super) fn new(timestamp: u64, v1: Bytes, binary: bool, record: u64) -> Self {
        Self { timestamp, v1, binary, record, plain: None }
    }

    fn cost(&self) -> usize {
        ENTRY_OVERHEAD + self.v1.len() + self.plain.as_ref().map_or(0, Bytes::len)
    }
}

impl History {
    /// An empty history that goes on after this offset.
    pub(super) fn after(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    /// Appends a message that was encoded with the offset `last() + 1`.
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.cost();
        self.last += 1;
        self.entries.push_back(entry);
    }

    /// Evicts what is over the bounds.
    pub(super) fn trim(&mut self, now: u64, config: &HistoryConfig, retired: &mut Retired) {
        let messages = if super::mutant("evicts-early") { 10 } else { config.messages.max(1) };
        while self.entries.len() > messages || (self.bytes > config.bytes && self.entries.len() > 1) {
            self.evict(retired);
        }
        self.expire(now, config, retired);
    }

    /// Evicts what is too old.
    pub(super) fn expire(&mut self, now: u64, config: &HistoryConfig, retired: &mut Retired) {
        let oldest = now.saturating_sub(ms(config.age));
        while self.entries.front().is_some_and(|entry| entry.timestamp < oldest) {
            self.evict(retired);
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(0);
        }
    }

    /// Evicts the oldest message; `false` where only the newest is left.
    pub(super) fn shed(&mut self, retired: &mut Retired) -> bool {
        let more = self.entries.len() > 1;
        if more {
            self.evict(retired);
        }
        more
    }

    /// Evicts everything.
    pub(super) fn clear(&mut self, retired: &mut Retired) {
        while !self.entries.is_empty() {
            self.evict(retired);
        }
    }

    fn evict(&mut self, retired: &mut Retired) {
        if let Some(entry) = self.entries.pop_front() {
            retired.push(entry.record);
            self.bytes -= entry.cost();
        }
    }

    /// The plain form of a message; `None` for a binary one, which plain clients cannot be given.
    pub(super) fn plain(&mut self, offset: u64) -> Option<Bytes> {
        let first = self.first();
        let entry = self.entries.get_mut(usize::try_from(offset.checked_sub(first)?).ok()?)?;
        if let Some(plain) = &entry.plain {
            return Some(plain.clone());
        }
        if entry.binary {
            return None;
        }
        let Ok(ServerMessage::Message(message)) = ServerMessage::decode(&entry.v1) else { return None };
        let Payload::Json(payload) = message.payload else { return None };
        let mut out = Vec::with_capacity(entry.v1.len());
        plain::encode(&mut out, &message.event, payload, message.timestamp, Some(&message.channel));
        let plain = Bytes::from(out.into_boxed_slice());
        self.bytes += plain.len();
        entry.plain = Some(plain.clone());
        Some(plain)
    }

    pub(super) fn entry(&self, offset: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(offset.checked_sub(self.first())?).ok()?)
    }

    /// Offset of the oldest message that is left, one above the newest where none is.
    pub(super) fn first(&self) -> u64 {
        self.last + 1 - self.entries.len() as u64
    }

    /// When the newest message that is left was published.
    pub(super) fn newest(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.timestamp)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
