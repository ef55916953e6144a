use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::{Budget, Permit};
use crate::io::{ChannelId, Data, RequestId, Text};
use crate::journal::{Journal, size_of};
use crate::replica::OpKind;
use crate::time::Timestamp;

/// So many entries of a durable outbox get their ids together, with one record.
const GIVEN_TOGETHER: usize = 256;

/// Whose send it is, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// `None`: nobody waits for it, since it is of an earlier run or its sender was told that it is kept.
    pub(crate) request: Option<RequestId>,
    /// `None`: to the backend itself.
    pub(crate) channel: Option<ChannelId>,
    pub(crate) event: Option<Text>,
    /// Where `channel` is a collection: what happens to which record.
    pub(crate) mutation: Option<Box<Mutate>>,
}

/// A mutation of a record, but for its payload.
#[derive(Clone, Debug)]
pub(crate) struct Mutate {
    pub(crate) key: Text,
    pub(crate) op: OpKind,
    pub(crate) if_revision: Option<u64>,
}

impl Origin {
    /// The record that it mutates.
    pub(crate) fn record(&self) -> Option<(ChannelId, Text)> {
        self.channel.zip(self.mutation.as_ref().map(|mutation| mutation.key.clone()))
    }
}

/// A send of the application, until its end.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) origin: Origin,
    /// The session's sequence number: given at the first write, the same at every other. In a durable outbox shortly before, since
    /// it has to be in the file first.
    pub(crate) id: Option<u64>,
    pub(crate) payload: Data,
    pub(crate) since: Timestamp,
    /// The application was told that it failed; the server may still wait for its id.
    pub(crate) given_up: bool,
    /// Its number in the file, and how much of that it takes. 0: it is not there.
    number: u64,
    size: usize,
    _permit: Permit,
}

/// Sends in order: first those that are written and wait for their receipt, then those to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    budget: Arc<Budget>,
    entries: VecDeque<Entry>,
    /// How many entries are written on this connection.
    written: usize,
    pub(crate) last_id: u64,
    /// Of a durable outbox.
    pub(crate) journal: Option<Journal>,
}

impl Outbox {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, entries: VecDeque::new(), written: 0, last_id: 0, journal: None }
    }

    /// Adds a send. `channel` is the name of its channel. Mutations are not kept in a file: what they were made on is not either.
    pub(crate) fn push(
        &mut self,
        now: Timestamp,
        origin: Origin,
        channel: Option<&str>,
        payload: Data,
        permit: Permit,
    ) {
        let event = origin.event.as_deref();
        let size = size_of(channel, event, &payload);
        let kept = self.journal.as_mut().filter(|_| origin.mutation.is_none());
        let number = kept.map_or(0, |journal| journal.keep(channel, event, &payload));
        self.insert(now, origin, None, payload, permit, number, size);
    }

    /// Adds what the file has.
    #[expect(clippy::too_many_arguments, reason = "an entry in its parts")]
    pub(crate) fn insert(
        &mut self,
        now: Timestamp,
        origin: Origin,
        id: Option<u64>,
        payload: Data,
        permit: Permit,
        number: u64,
        size: usize,
    ) {
        let entry = Entry { origin, id, payload, since: now, given_up: false, number, size, _permit: permit };
        self.entries.push_back(entry);
    }

    /// Takes the newest back: it was not accepted.
    pub(crate) fn retract(&mut self) -> bool {
        let retracted = self.journal.as_mut().is_some_and(Journal::retract);
        if retracted {
            self.entries.pop_back();
        }
        retracted
    }

    /// The next entry to write, with its id. `None` also where the file has to have something first.
    pub(crate) fn next(&mut self) -> Option<(u64, &Entry)> {
        if self.entries.get(self.written)?.id.is_none() {
            self.give_ids();
        }
        if !self.journal.as_ref().is_none_or(Journal::is_written) {
            return None;
        }
        let entry = self.entries.get(self.written)?;
        Some((entry.id?, entry))
    }

    fn give_ids(&mut self) {
        let together = if self.journal.is_some() { GIVEN_TOGETHER } else { 1 };
        let without = |entry: &&mut Entry| entry.id.is_none();
        for entry in self.entries.iter_mut().skip(self.written).filter(without).take(together) {
            self.last_id += 1;
            entry.id = Some(self.last_id);
            if let Some(journal) = self.journal.as_mut().filter(|_| entry.number > 0) {
                journal.given(self.last_id);
            }
        }
    }

    /// The next entry is written.
    pub(crate) fn advance(&mut self) {
        self.written += 1;
    }

    /// The next entry cannot be written, ever.
    pub(crate) fn refuse_next(&mut self) -> Option<Entry> {
        self.remove(self.written)
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
            self.entries.iter_mut().filter(|entry| entry.origin.channel.is_none()).for_each(|entry| entry.id = None);
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
        let entry = self.remove(index);
        if index < self.written {
            self.written -= 1;
        }
        entry
    }

    /// Takes the first written entry: for dialects without answers.
    pub(crate) fn take_written(&mut self) -> Option<Entry> {
        self.written.checked_sub(1).inspect(|left| self.written = *left)?;
        self.remove(0)
    }

    /// Takes the oldest entry that was never written, where more is reserved than allowed.
    pub(crate) fn take_over_budget(&mut self) -> Option<Entry> {
        if !self.budget.over() {
            return None;
        }
        let index = self.entries.iter().position(|entry| entry.id.is_none())?;
        // The newest is what was just accepted: giving that up would be a rejection.
        (index + 1 < self.entries.len()).then(|| self.remove(index)).flatten()
    }

    /// Gives the oldest entry up if it is older than this. One that has an id stays where `acknowledges`, and is written again if it is
    /// refused for now: the server lets nothing overtake it until it comes.
    pub(crate) fn give_up_older(&mut self, now: Timestamp, age: Duration, acknowledges: bool) -> Option<Origin> {
        let index = self.entries.iter().position(|entry| !entry.given_up)?;
        let entry = self.entries.get_mut(index).filter(|entry| entry.since + age <= now)?;
        let origin = entry.origin.clone();
        if acknowledges && entry.id.is_some() {
            entry.given_up = true;
            if let Some(journal) = self.journal.as_mut().filter(|_| entry.number > 0) {
                journal.ended(entry.number, entry.size);
            }
        } else {
            self.remove(index);
            self.written -= usize::from(index < self.written);
        }
        Some(origin)
    }

    /// Takes everything that the application waits for.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Entry> + use<> {
        self.written = 0;
        std::mem::take(&mut self.entries).into_iter().filter(|entry| !entry.given_up)
    }

    /// Takes everything that is in no file.
    pub(crate) fn take_unkept(&mut self) -> Vec<Entry> {
        let (kept, unkept) = std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.number > 0);
        (self.entries, self.written) = (kept, 0);
        unkept.into()
    }

    /// Whom to tell that their messages are kept; nobody waits for those any more.
    pub(crate) fn defer_all(&mut self) -> Vec<RequestId> {
        self.entries
            .iter_mut()
            .filter(|entry| entry.number > 0 && !entry.given_up)
            .filter_map(|entry| entry.origin.request.take())
            .collect()
    }

    /// What nobody waits for has waited from now on.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        self.entries.iter_mut().filter(|entry| entry.origin.request.is_none()).for_each(|entry| entry.since = now);
    }

    /// Of those that the application waits for. What was given up stands before them.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.entries.iter().find(|entry| !entry.given_up).map(|entry| entry.since)
    }

    /// What the file has and has not ended: its number, its id, and itself.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().filter(|entry| entry.number > 0 && !entry.given_up).map(|entry| (entry.number, entry))
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

    fn remove(&mut self, index: usize) -> Option<Entry> {
        let entry = self.entries.remove(index)?;
        // What was given up has ended before.
        if let Some(journal) = self.journal.as_mut().filter(|_| entry.number > 0 && !entry.given_up) {
            journal.ended(entry.number, entry.size);
        }
        Some(entry)
    }

    /// Ids grow along the queue, and only the tail has none.
    fn index(&self, id: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id.unwrap_or(u64::MAX)).ok()
    }
}
