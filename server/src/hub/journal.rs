use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::ErrorCode;

use super::collections::{Change, MutateError};
use super::history::Entry;
use super::ids::ConnectionId;
use super::sessions::SessionKey;
use super::streams::StreamKey;
use super::{Content, Output};

/// How long after a failure the disk is left alone, ms.
pub(super) const STORE_RETRY: u64 = 1000;
/// What a staged message or outcome costs beside its bytes.
const STAGED_OVERHEAD: usize = 160;

/// What a store keeps under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A channel. Its number stays the same when it is written again.
    Channel {
        /// Its name.
        name: Arc<str>,
        /// The epoch of its history.
        epoch: Arc<str>,
        /// The newest offset when this was written. Messages that are stored may go beyond it.
        last: u64,
    },
    /// A collection of a channel. Its number stays the same when it is written again.
    Collection {
        /// The name of the channel.
        channel: Arc<str>,
        /// Its own name.
        name: Arc<str>,
        /// The epoch of its changes.
        epoch: Arc<str>,
        /// The newest offset when this was written. Changes that are stored may go beyond it.
        last: u64,
    },
    /// A record of a collection, as it is. Its number stays the same when it is changed.
    Item {
        /// The number of its collection.
        collection: u64,
        /// Its id.
        key: Arc<str>,
        /// The offset of the change that made it so.
        revision: u64,
        /// A JSON object.
        record: Bytes,
    },
    /// A session.
    Session {
        /// The verified user whose it is.
        user: Option<Arc<str>>,
        /// Its secret name.
        session: Arc<str>,
    },
    /// A message of a channel, or a change of a collection.
    Message {
        /// The number of its channel or collection.
        channel: u64,
        /// Its place in there.
        offset: u64,
        /// When it was accepted, ms.
        timestamp: u64,
        /// Whether it is a binary frame; a JSON line otherwise.
        binary: bool,
        /// As it goes to subscribers: event, user and payload are in it.
        line: Bytes,
    },
    /// What a publish or send was answered.
    Outcome {
        /// The number of its session.
        session: u64,
        /// The id of the publish or send.
        request: u64,
        /// The answer.
        outcome: Outcome,
    },
}

/// The final answer to a publish, send or mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A message of a channel, or a change of a collection, at this position.
    Stored {
        /// Of the channel's history.
        epoch: Arc<str>,
        /// Its place in it.
        offset: u64,
    },
    /// A mutation that found everything as it wants it, since this position.
    Unchanged {
        /// Of the collection's history.
        epoch: Arc<str>,
        /// The change that made it so.
        offset: u64,
    },
    /// The application has it.
    Sent,
    /// It will never be taken.
    Refused(ErrorCode),
}

/// What is written as one: all of it is on disk afterwards, or nothing. An empty batch asks whether the disk works again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counts up; what a confirmation names.
    pub number: u64,
    /// By number: what to write in place of what was there, or `None` for what is forgotten.
    pub changes: BTreeMap<u64, Option<Record>>,
}

/// What waits for the disk.
#[derive(Debug)]
pub(super) struct Staged {
    batch: u64,
    pub(super) record: u64,
    bytes: usize,
    pub(super) what: Waiting,
}

#[derive(Debug)]
pub(super) enum Waiting {
    /// A message or a change that nobody has seen.
    Entry {
        stream: StreamKey,
        entry: Entry,
        change: Option<Change>,
        /// Who published it and gets no receipt: a plain client, or the server itself.
        publisher: Publisher,
    },
    /// An answer that was not given.
    Outcome {
        session: SessionKey,
        request: u64,
        outcome: Outcome,
        /// For the application, once the receipt is given.
        sent: Option<Send>,
        /// Of a refused mutation.
        refused: Option<MutateError>,
    },
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publisher {
    /// A session: it is told by its receipt.
    Session,
    Plain(ConnectionId),
    Server,
}

/// A message for the application.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) connection: ConnectionId,
    pub(super) user: Option<Arc<str>>,
    pub(super) event: Option<String>,
    pub(super) content: Content,
}

impl From<Send> for Output {
    fn from(Send { connection, user, event, content }: Send) -> Self {
        Output::Sent { connection, user, event, content }
    }
}

/// What was given to the store, and what will be.
#[derive(Debug)]
pub(super) struct Journal {
    next_record: u64,
    /// What the next batch holds.
    open: Batch,
    /// Given to the store, and not confirmed.
    given: VecDeque<Arc<Batch>>,
    staged: VecDeque<Staged>,
    staged_bytes: usize,
    /// The disk failed: until then it is left alone.
    retry_at: Option<u64>,
    failing: bool,
    probe: bool,
}

impl Journal {
    /// Goes on after the highest number of the store.
    pub(super) fn new(last_record: u64) -> Self {
        Self {
            next_record: last_record + 1,
            open: Batch { number: 1, ..Batch::default() },
            given: VecDeque::new(),
            staged: VecDeque::new(),
            staged_bytes: 0,
            retry_at: None,
            failing: false,
            probe: false,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        let number = self.next_record;
        self.next_record += 1;
        number
    }

    pub(super) fn put(&mut self, number: u64, record: Record) {
        self.open.changes.insert(number, Some(record));
    }

    pub(super) fn delete(&mut self, number: u64) {
        self.open.changes.insert(number, None);
    }

    /// Writes something that is done once it is on disk.
    pub(super) fn stage(&mut self, number: u64, record: Record, what: Waiting) {
        let line = match &record {
            Record::Message { line, .. } => line.len(),
            _ => 0,
        };
        // A small patch may wait with a large record.
        let item = match &what {
            Waiting::Entry { change: Some(Change { item: Some(item), .. }), .. } => item.record.len(),
            _ => 0,
        };
        let bytes = STAGED_OVERHEAD + line + item;
        if !(super::mutant("outcomes-unwritten") && matches!(record, Record::Outcome { .. })) {
            self.put(number, record);
        }
        self.staged_bytes += bytes;
        self.staged.push_back(Staged { batch: self.open.number, record: number, bytes, what });
    }

    /// What the store should write now.
    pub(super) fn next_batch(&mut self) -> Option<Arc<Batch>> {
        if self.retry_at.is_some() || (self.open.changes.is_empty() && !self.probe) {
            return None;
        }
        self.probe = false;
        let next = Batch { number: self.open.number + 1, ..Batch::default() };
        let batch = Arc::new(std::mem::replace(&mut self.open, next));
        self.given.push_back(batch.clone());
        Some(batch)
    }

    /// Batches up to this number are on disk.
    pub(super) fn confirm(&mut self, up_to: u64) {
        self.failing = false;
        while self.given.front().is_some_and(|batch| batch.number <= up_to) {
            self.given.pop_front();
        }
    }

    /// The oldest of what waited for these batches.
    pub(super) fn pop_confirmed(&mut self, up_to: u64) -> Option<Staged> {
        self.staged.front().filter(|staged| staged.batch <= up_to)?;
        let staged = self.staged.pop_front()?;
        self.staged_bytes -= staged.bytes;
        Some(staged)
    }

    /// Nothing that was given and not confirmed will be written. Takes back what waited for it, the oldest first; the rest,
    /// of what the store has to know, goes into the next batch.
    pub(super) fn fail(&mut self, now: u64) -> VecDeque<Staged> {
        self.failing = true;
        self.retry_at = Some(now.saturating_add(STORE_RETRY));
        let staged = std::mem::take(&mut self.staged);
        self.staged_bytes = 0;
        // What waited is not written, nor what it makes of records: on disk they are as they were.
        let mut dropped = BTreeSet::new();
        for Staged { record, what, .. } in &staged {
            dropped.insert(*record);
            if let Waiting::Entry { change: Some(change), .. } = what {
                dropped.insert(change.number);
            }
        }
        self.open.changes.retain(|number, _| !dropped.contains(number));
        // What is open is newer than what was given last, and so on.
        for batch in std::mem::take(&mut self.given).into_iter().rev() {
            for (number, change) in &batch.changes {
                if !dropped.contains(number) {
                    self.open.changes.entry(*number).or_insert_with(|| change.clone());
                }
            }
        }
        staged
    }

    /// The time has come to ask the disk again.
    pub(super) fn retry(&mut self) {
        self.retry_at = None;
        self.probe = true;
    }

    pub(super) fn retry_at(&self) -> Option<u64> {
        self.retry_at
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    pub(super) fn staged_bytes(&self) -> usize {
        self.staged_bytes
    }
}
