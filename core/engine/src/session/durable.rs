//! A durable outbox: what its file has to have before anything else is done, and what it has at a start.

use std::time::Duration;

use super::{Phase, Session};
use crate::config::WhenFull;
use crate::error::{Error, ErrorKind};
use crate::io::Event;
use crate::journal::{Journal, Restored, size_of, snapshot};
use crate::outbox::Origin;
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::Stream;

/// New ids of a session that comes back begin at a multiple of this. What a power cut has taken from the end of the file
/// may have had ids, and the server answers those with receipts of other messages.
const ID_BLOCK: u64 = 1 << 32;
/// A file that cannot be written is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

impl Session {
    /// Makes the outbox a durable one that begins with this. From now on
    ///
    /// - after every call, what [`journal`](Self::journal) has must get into the file, which [`journaled`](Self::journaled) is
    ///   told; until then no send is written, and one that was just accepted is not;
    /// - what has not ended when the connection does stays: its sender is told `deferred`, and it goes out after the next
    ///   [`connect`](Self::connect).
    ///
    /// For a session that has no sends: a new one, or one [at rest](Self::is_at_rest), where this replaces what it kept. Write
    /// [`journal_snapshot`](Self::journal_snapshot) to the file first.
    pub fn restore(&mut self, now: Timestamp, restored: Restored) {
        self.now = now;
        let Restored { session, last_id, last_number, messages, .. } = restored;
        self.outbox.take_all().for_each(drop);
        self.stats.restored += messages.len() as u64;
        // The session comes back only where the server may know some of these: its receipts are what makes a repeat harmless.
        let has_ids = messages.front().is_some_and(|message| message.id.is_some());
        let continues = session == self.config.session && self.outbox.last_id >= last_id;
        if !continues && (has_ids || session == self.config.session) {
            self.config.session = session;
            self.outbox.last_id = (last_id / ID_BLOCK + 1) * ID_BLOCK;
        }
        self.outbox.journal = Some(Journal::new(last_number));
        for message in messages {
            let channel = message.channel.as_deref();
            let size = size_of(channel, message.event.as_deref(), &message.payload);
            let bytes = message.event.as_ref().map_or(0, |event| event.len()) + message.payload.bytes().len();
            let channel = channel.map(|name| self.channels.find_or_add(name, &Stream::Messages).id);
            let origin = Origin { request: None, channel, event: message.event, mutation: None };
            let permit = self.outbox.budget().reserve_anyway(bytes);
            self.outbox.insert(now, origin, message.id, message.payload, permit, message.number, size);
        }
        self.schedule_send_timeout();
    }

    /// Tells what was left of a damaged end of the file, which the driver has put aside.
    pub fn outbox_torn(&mut self, now: Timestamp, bytes: u64, message: String) {
        self.now = now;
        self.stats.torn_bytes += bytes;
        self.error(Error::new(ErrorKind::OutboxDamaged, message));
    }

    /// Records that are to be appended to the file; empty where there are none.
    pub fn journal(&self) -> &[u8] {
        self.outbox.journal.as_ref().map_or(&[], Journal::waiting)
    }

    /// What [`journal`](Self::journal) has is in the file, or why it is not and the file is as before. A send that was just accepted is then
    /// as if it had never been; whoever tells this tells its sender. Anything else waits, which is told once, and is tried again.
    pub fn journaled(&mut self, now: Timestamp, result: Result<(), Error>) {
        self.now = now;
        match result {
            Ok(()) => {
                if let Some(journal) = &mut self.outbox.journal {
                    journal.written();
                }
                self.timers.clear(Timer::Journal);
                self.drop_over_budget();
            }
            Err(error) if !self.outbox.retract() => {
                self.timers.set(Timer::Journal, now + AGAIN);
                let told =
                    self.outbox.journal.as_mut().is_none_or(|journal| std::mem::replace(&mut journal.failing, true));
                if !told {
                    self.error(error);
                }
            }
            Err(_) => self.schedule_send_timeout(),
        }
    }

    /// The whole file, as it is to be written in place of the one there is: at the start, and where
    /// [`wants_journal_snapshot`](Self::wants_journal_snapshot). Tell [`journal_replaced`](Self::journal_replaced).
    pub fn journal_snapshot(&self) -> Vec<u8> {
        let last_number = self.outbox.journal.as_ref().map_or(0, |journal| journal.last_number);
        let messages = self.outbox.kept().map(|(number, entry)| {
            let origin = &entry.origin;
            let channel = origin.channel.and_then(|id| self.channels.get(id)).map(|channel| channel.name.as_str());
            (number, entry.id, channel, origin.event.as_deref(), &entry.payload)
        });
        snapshot(&self.config.session, self.outbox.last_id, last_number, messages)
    }

    /// Whether the file holds so much of what has ended that it should be begun anew.
    pub fn wants_journal_snapshot(&self) -> bool {
        self.outbox.journal.as_ref().is_some_and(|journal| journal.is_written() && journal.is_wasteful())
    }

    /// The file is the snapshot now, which has so many bytes.
    pub fn journal_replaced(&mut self, bytes: usize) {
        if let Some(journal) = &mut self.outbox.journal {
            journal.began(bytes as u64);
        }
    }

    /// Whether it was disconnected and takes no sends until it is connected again: another client may have the file of its outbox.
    pub fn is_at_rest(&self) -> bool {
        self.phase == Phase::Idle && self.ended.is_some() && self.journal().is_empty()
    }

    /// Ends what is over the bound under the policy `dropOldest`.
    pub(super) fn drop_over_budget(&mut self) {
        if self.config.when_full != WhenFull::DropOldest {
            return;
        }
        while let Some(entry) = self.outbox.take_over_budget() {
            let message = "the outbox was full and this was its oldest message (queue policy dropOldest)";
            if !crate::mutant("dropped-in-silence") {
                self.fail_send(entry.origin, Error::new(ErrorKind::Dropped, message));
            }
        }
        self.schedule_send_timeout();
    }

    /// A send has failed for good.
    pub(super) fn fail_send(&mut self, origin: Origin, mut error: Error) {
        self.stats.failed += 1;
        if let Some(request) = origin.request {
            // A mutation is taken back first.
            self.roll_back(request, origin.record().as_ref());
            return self.event(Event::SendFailed { request, error });
        }
        let channel = origin.channel.and_then(|id| self.channels.get(id));
        let to = channel.map_or("to the backend".to_owned(), |channel| format!("to channel {:?}", channel.name));
        let what = origin.event.map_or("a binary message".to_owned(), |event| format!("a message {event:?}"));
        error.message = format!("{what} {to}, which the outbox kept from before, failed: {}", error.message);
        self.error(error);
    }

    /// No send can go on now: each fails, or is kept by a durable outbox.
    pub(super) fn end_all_sends(&mut self, error: &Error) {
        self.roll_back_all();
        if self.outbox.journal.is_some() {
            let message = format!(
                "{}; the message is kept in the outbox's file and goes out after the next connect, or start of the program",
                error.message
            );
            let deferred = Error { message, ..Error::new(ErrorKind::Deferred, "") };
            for request in self.outbox.defer_all() {
                self.stats.deferred += 1;
                self.event(Event::SendFailed { request, error: deferred.clone() });
            }
        }
        for entry in self.outbox.take_unkept().into_iter().filter(|entry| !entry.given_up) {
            self.fail_send(Origin { mutation: None, ..entry.origin }, error.clone());
        }
        self.fail_all_tracking(error);
        self.timers.clear(Timer::SendTimeout);
    }
}
