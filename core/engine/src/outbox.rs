use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::{Budget, Permit};
use crate::io::{ChannelId, Data, RequestId, Text};
use crate::replica::OpKind;
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
    /// Where `channel` is a collection: what happens to which record.
    pub(crate) mutation: Option<Box<Mutate>>,
    pub(crate) since: Timestamp,
    /// The application was told that it failed; the server may still wait for its id.
    pub(crate) given_up: bool,
    _permit: Permit,
}

/// A send that failed, and the record that it was to mutate.
pub(crate) type Failed = (RequestId, Option<(ChannelId, Text)>);

/// A mutation of a record, but for its payload.
#[derive(Debug)]
pub(crate) struct Mutate {
    pub(crate) key: Text,
    pub(crate) op: OpKind,
    pub(crate) if_revision: Option<u64>,
}

impl Entry {
    fn new(now: Timestamp, request: RequestId, channel: Option<ChannelId>, payload: Data, permit: Permit) -> Self {
        Self {
            request,
            id: None,
            channel,
            event: None,
            payload,
            mutation: None,
            since: now,
            given_up: false,
            _permit: permit,
        }
    }

    /// The record that it mutates.
    pub(crate) fn record(&self) -> Option<(ChannelId, Text)> {
        self.channel.zip(self.mutation.as_ref().map(|mutation| mutation.key.clone()))
    }
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
        self.entries.push_back(Entry { event, ..Entry::new(now, request, channel, payload, permit) });
    }

    pub(crate) fn push_mutation(
        &mut self,
        now: Timestamp,
        request: RequestId,
        collection: ChannelId,
        mutation: Mutate,
        payload: Data,
        permit: Permit,
    ) {
        let mutation = Some(Box::new(mutation));
        self.entries.push_back(Entry { mutation, ..Entry::new(now, request, Some(collection), payload, permit) });
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

    /// Everything unanswered is to be written again, in order, with the same ids. Another connection waits for nothing.
    pub(crate) fn rewind(&mut self) {
        self.entries.retain(|entry| !entry.given_up);
        if crate::mutant("no-rewind") {
            return;
        }
        if crate::mutant("resend-under-new-ids") {
            self.entries.iter_mut().for_each(|entry| entry.id = None);
        }
        if crate::mutant("sends-under-new-ids") {
            self.entries.iter_mut().filter(|entry| entry.channel.is_none()).for_each(|entry| entry.id = None);
        }
        if crate::mutant("resend-out-of-order")
            && let [first, second, ..] = self.entries.make_contiguous()
        {
            std::mem::swap(first, second);
            std::mem::swap(&mut first.id, &mut second.id);
        }
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

    /// Gives the oldest entry up if it is older than this. One that has an id stays where `acknowledges`, and is written again if it is
    /// refused for now: the server lets nothing overtake it until it comes.
    pub(crate) fn give_up_older(&mut self, now: Timestamp, age: Duration, acknowledges: bool) -> Option<Failed> {
        let index = self.entries.iter().position(|entry| !entry.given_up)?;
        let entry = self.entries.get_mut(index).filter(|entry| entry.since + age <= now)?;
        let failed = (entry.request, entry.record());
        if acknowledges && entry.id.is_some() {
            entry.given_up = true;
        } else {
            self.entries.remove(index);
            self.written -= usize::from(index < self.written);
        }
        Some(failed)
    }

    /// Takes everything that the application waits for.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Entry> + use<> {
        self.written = 0;
        std::mem::take(&mut self.entries).into_iter().filter(|entry| !entry.given_up)
    }

    /// Of those that the application waits for. What was given up stands before them.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.entries.iter().find(|entry| !entry.given_up).map(|entry| entry.since)
    }

    /// Entries that are written and not answered.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        self.written < self.entries.len()
    }

    /// Whether the application waits for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.back().is_none_or(|newest| newest.given_up)
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Ids grow along the queue, and only the tail has none.
    fn index(&self, id: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id.unwrap_or(u64::MAX)).ok()
    }
}
