use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::{Budget, Permit};
use crate::io::{ChannelId, Data, RequestId, Text};
use crate::time::Timestamp;

/// A send of the application, until its end.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) request: RequestId,
    /// The session's sequence number: given at the first write, the same at every other.
    pub(crate) id: Option<u64>,
    /// `None`: to the backend itself.
    pub(crate) channel: Option<ChannelId>,
    pub(crate) event: Option<Text>,
    pub(crate) payload: Data,
    pub(crate) since: Timestamp,
    _permit: Permit,
}

/// Sends in order: first those that are written and wait for their receipt, then those to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    budget: Arc<Budget>,
    entries: VecDeque<Entry>,
    /// How many entries are written on this connection.
    written: usize,
    last_id: u64,
}

impl Outbox {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, entries: VecDeque::new(), written: 0, last_id: 0 }
    }

    pub(crate) fn push(
        &mut self,
        now: Timestamp,
        request: RequestId,
        channel: Option<ChannelId>,
        event: Option<Text>,
        payload: Data,
        permit: Permit,
    ) {
        self.entries.push_back(Entry { request, id: None, channel, event, payload, since: now, _permit: permit });
    }

    /// The next entry to write, with its id.
    pub(crate) fn next(&mut self) -> Option<(u64, &Entry)> {
        let entry = self.entries.get_mut(self.written)?;
        let id = *entry.id.get_or_insert_with(|| {
            self.last_id += 1;
            self.last_id
        });
        Some((id, entry))
    }

    /// The next entry is written.
    pub(crate) fn advance(&mut self) {
        self.written += 1;
    }

    /// The next entry cannot be written, ever.
    pub(crate) fn refuse_next(&mut self) -> Option<Entry> {
        self.entries.remove(self.written)
    }

    /// Everything unanswered is to be written again, in order, with the same ids.
    pub(crate) fn rewind(&mut self) {
        self.written = 0;
    }

    /// The entry with this id and all after it are to be written again; `false` where it is unknown.
    pub(crate) fn rewind_to(&mut self, id: u64) -> bool {
        match self.index(id) {
            Some(index) => {
                self.written = self.written.min(index);
                true
            }
            None => false,
        }
    }

    /// Takes the entry with this id: it has its answer.
    pub(crate) fn take(&mut self, id: u64) -> Option<Entry> {
        let index = self.index(id)?;
        let entry = self.entries.remove(index);
        if index < self.written {
            self.written -= 1;
        }
        entry
    }

    /// Takes the first written entry: for dialects without answers.
    pub(crate) fn take_written(&mut self) -> Option<Entry> {
        self.written.checked_sub(1).inspect(|left| self.written = *left)?;
        self.entries.pop_front()
    }

    /// Takes the oldest entry that was never written, where more is reserved than allowed.
    pub(crate) fn take_over_budget(&mut self) -> Option<Entry> {
        if !self.budget.over() {
            return None;
        }
        let index = self.entries.iter().position(|entry| entry.id.is_none())?;
        // The newest is what was just accepted: giving that up would be a rejection.
        (index + 1 < self.entries.len()).then(|| self.entries.remove(index)).flatten()
    }

    /// Takes the oldest entry if it is older than this.
    pub(crate) fn take_older(&mut self, now: Timestamp, age: Duration) -> Option<Entry> {
        if self.oldest()? + age > now {
            return None;
        }
        self.written = self.written.saturating_sub(1);
        self.entries.pop_front()
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Entry> + use<> {
        self.written = 0;
        std::mem::take(&mut self.entries).into_iter()
    }

    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.entries.front().map(|entry| entry.since)
    }

    /// Entries that are written and not answered.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        self.written < self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Ids grow along the queue, and only the tail has none.
    fn index(&self, id: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id.unwrap_or(u64::MAX)).ok()
    }
}
