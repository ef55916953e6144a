//! The hub with a store: nothing is seen or answered before it is on disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use realtime_engine::wire::ErrorCode;

use super::collections::{Change, MutateError};
use super::history::Entry;
use super::journal::{Batch, Outcome, Publisher, Record, Send, Staged, Waiting};
use super::sessions::SessionKey;
use super::streams::{State, StreamKey};
use super::timers::Timer;
use super::v1::RETRY_AFTER;
use super::{ConnectionId, Hub};

const REFUSED_BY_DISK: &str = "the server cannot store it now";
const TOO_MUCH_WAITS: &str = "too much waits for the disk";

impl Hub {
    /// Why nothing can be stored now, and after how many ms it is worth another try.
    pub(super) fn store_refusal(&self, now: u64) -> Option<(&'static str, u64)> {
        let journal = self.journal.as_ref()?;
        if let Some(at) = journal.retry_at() {
            return Some((REFUSED_BY_DISK, at.saturating_sub(now).max(1)));
        }
        let full = journal.staged_bytes() >= self.config.staged_bytes && !super::mutant("staged-without-bound");
        full.then_some((TOO_MUCH_WAITS, RETRY_AFTER))
    }

    /// What the store should write now.
    pub(super) fn next_batch(&mut self) -> Option<Arc<Batch>> {
        let journal = self.journal.as_mut()?;
        let retired = self.streams.take_retired();
        for record in retired.records.into_iter().chain(self.sessions.take_retired()) {
            journal.delete(record);
        }
        for key in retired.emptied {
            if let Some(stream) = self.streams.stream(key).filter(|stream| stream.history.is_empty()) {
                journal.put(stream.record, stream.to_record());
            }
        }
        journal.next_batch()
    }

    /// Lets the store know a session, unless the disk fails; then it will at its first publish.
    pub(super) fn record_session(&mut self, key: SessionKey) {
        let Some(journal) = self.journal.as_mut().filter(|journal| journal.retry_at().is_none()) else { return };
        let Some(session) = self.sessions.session(key).filter(|session| session.record == 0) else { return };
        session.record = journal.number();
        let name = session.name.clone();
        journal.put(session.record, Record::Session { user: name.user, session: name.session });
    }

    /// Lets the store know a channel or collection, unless the disk fails; then it will at its first message or change.
    /// Who is present is never stored.
    pub(super) fn record_stream(&mut self, key: StreamKey) {
        let Some(journal) = self.journal.as_mut().filter(|journal| journal.retry_at().is_none()) else { return };
        let Some(stream) = self.streams.stream(key).filter(|stream| stream.record == 0) else { return };
        if matches!(stream.state, State::Presence(_)) {
            return;
        }
        let (number, record) = (journal.number(), stream.to_record());
        journal.put(number, record);
        self.streams.set_record(key, number);
    }

    pub(super) fn stage_entry(
        &mut self,
        now: u64,
        key: StreamKey,
        offset: u64,
        entry: Entry,
        publisher: Publisher,
        change: Option<Change>,
    ) {
        let channel = self.streams.stream(key).map_or(0, |stream| stream.record);
        let Some(journal) = &mut self.journal else { return };
        self.streams.stage(now, key);
        if let Some(Change { key: name, item, number }) = &change {
            match item {
                _ if super::mutant("records-unwritten") => {}
                Some(item) => journal.put(
                    *number,
                    Record::Item {
                        collection: channel,
                        key: name.clone(),
                        revision: item.revision,
                        record: item.record.clone(),
                    },
                ),
                None => journal.delete(*number),
            }
        }
        let (number, timestamp, binary, line) = (entry.record, entry.timestamp, entry.binary, entry.v1.clone());
        let record = Record::Message { channel, offset, timestamp, binary, line };
        journal.stage(number, record, Waiting::Entry { stream: key, entry, change, publisher });
    }

    pub(super) fn stage_outcome(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        request: u64,
        outcome: Outcome,
        sent: Option<Send>,
        refused: Option<MutateError>,
    ) {
        self.record_session(key);
        let (Some(journal), Some(session)) = (&mut self.journal, self.sessions.session(key)) else { return };
        session.stage(request, id);
        let record = Record::Outcome { session: session.record, request, outcome: outcome.clone() };
        let number = journal.number();
        journal.stage(number, record, Waiting::Outcome { session: key, request, outcome, sent, refused });
    }

    /// What waited for these batches is seen and answered.
    pub(super) fn persisted(&mut self, now: u64, up_to: u64) {
        let Some(journal) = &mut self.journal else { return };
        journal.confirm(up_to);
        let mut answered = BTreeSet::new();
        while let Some(staged) = self.journal.as_mut().and_then(|journal| journal.pop_confirmed(up_to)) {
            match staged.what {
                Waiting::Entry { stream, entry, change, .. } => {
                    if let Some(change) = change {
                        self.streams.apply(stream, change);
                    }
                    self.streams.unstage(now, stream);
                    self.show(now, stream, entry);
                }
                Waiting::Outcome { session, request, outcome, sent, refused } => {
                    self.outputs.extend(sent.map(Into::into));
                    answered.extend(self.confirm_outcome(session, request, outcome, refused, staged.record));
                }
            }
        }
        self.answered(now, answered);
    }

    fn confirm_outcome(
        &mut self,
        key: SessionKey,
        request: u64,
        outcome: Outcome,
        refused: Option<MutateError>,
        record: u64,
    ) -> Option<ConnectionId> {
        let Some(session) = self.sessions.session(key) else {
            // Forgotten meanwhile.
            self.journal.as_mut()?.delete(record);
            return None;
        };
        let waited = session.unstage(request);
        self.sessions.settle(key, request, outcome.clone(), record);
        if !matches!(outcome, Outcome::Refused(_)) {
            self.stats.messages_in += 1;
        }
        let waited = waited?;
        self.v1_outcome(waited.connection, request, &outcome, waited.duplicate, refused.as_ref());
        Some(waited.connection)
    }

    /// What waited is refused for now, and clients send it again. Offsets that nobody has seen are free again.
    pub(super) fn persist_failed(&mut self, now: u64) {
        let Some(journal) = &mut self.journal else { return };
        let before = journal.retry_at();
        let staged = journal.fail(now);
        let retry_at = journal.retry_at();
        if let Some(at) = before {
            self.timers.cancel(at, Timer::Store);
        }
        if let Some(at) = retry_at {
            self.timers.set(at, Timer::Store);
        }
        self.stats.store_failures += 1;
        let mut answered = BTreeSet::new();
        for Staged { what, .. } in staged {
            match what {
                Waiting::Entry { stream, publisher, change, .. } => {
                    if change.is_some() && !super::mutant("failed-changes-stay") {
                        self.streams.roll_back(stream);
                    }
                    if !super::mutant("failed-offsets-stay-taken") {
                        self.streams.unstage(now, stream);
                    }
                    match publisher {
                        Publisher::Session => {}
                        Publisher::Server => self.stats.unstored += 1,
                        Publisher::Plain(id) => {
                            self.plain_error(now, id, ErrorCode::Unavailable, REFUSED_BY_DISK);
                            answered.insert(id);
                        }
                    }
                }
                Waiting::Outcome { session, request, outcome, .. } => {
                    let Some(session) = self.sessions.session(session) else { continue };
                    let Some(waited) = session.unstage(request) else { continue };
                    if super::mutant("failed-is-acknowledged") {
                        self.v1_outcome(waited.connection, request, &outcome, false, None);
                        continue;
                    }
                    // A new connection begins with its lowest id: it may have given this one up, and nothing may wait for it.
                    if session.connection == Some(waited.connection) {
                        session.hold(request, ErrorCode::Unavailable);
                    }
                    let (id, code) = (waited.connection, ErrorCode::Unavailable);
                    let wait = retry_at.map(|at| at.saturating_sub(now));
                    self.v1_error(id, code, REFUSED_BY_DISK, Some(request), wait);
                    answered.insert(id);
                }
            }
        }
        self.answered(now, answered);
    }

    fn answered(&mut self, now: u64, connections: BTreeSet<ConnectionId>) {
        for id in connections {
            self.bound_writer(now, id);
            self.wake(id);
        }
    }
}
