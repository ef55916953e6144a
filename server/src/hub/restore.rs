use std::collections::HashMap;

use realtime_engine::wire::Stream as Which;

use super::collections::Item;
use super::history::Entry;
use super::journal::{Journal, Record};
use super::sessions::{Name, SessionKey};
use super::streams::StreamKey;
use super::timers::Timer;
use super::{Hub, HubConfig};

/// Takes the records of a store and makes a [`Hub`] of them that goes on where the last one ended.
#[derive(Debug)]
pub struct Restore {
    hub: Hub,
    now: u64,
    last: u64,
    streams: HashMap<u64, StreamKey>,
    sessions: HashMap<u64, SessionKey>,
}

/// The records contradict each other: some of them are lost or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {record}: {problem}")]
pub struct RestoreError {
    /// The number of the record where it was seen.
    pub record: u64,
    /// What is wrong.
    pub problem: &'static str,
}

impl Hub {
    /// A hub whose histories and sessions a store keeps: give it the records of the store, of which there may be none. The
    /// hub says [`Output::Persist`](super::Output::Persist), and shows and answers nothing before it is on disk.
    pub fn restore(config: HubConfig, seed: u64, now: u64) -> Restore {
        let hub = Hub::new(config, seed);
        Restore { hub, now, last: 0, streams: HashMap::new(), sessions: HashMap::new() }
    }
}

impl Restore {
    /// Takes the next record. They come in the order of their numbers.
    pub fn record(&mut self, number: u64, record: Record) -> Result<(), RestoreError> {
        let fail = |problem| Err(RestoreError { record: number, problem });
        if number <= self.last {
            return fail("out of order");
        }
        self.last = number;
        let hub = &mut self.hub;
        match record {
            Record::Channel { name, .. } if super::mutant("restart-begins-anew") => {
                let epoch = hub.ids.opaque().into();
                let restored = hub.streams.restore(name, &Which::Messages, epoch, 0, number);
                self.streams.extend(restored.map(|key| (number, key)));
            }
            Record::Channel { name, epoch, last } => {
                match hub.streams.restore(name, &Which::Messages, epoch, last, number) {
                    Some(key) => drop(self.streams.insert(number, key)),
                    None => return fail("a channel that is there already"),
                }
            }
            Record::Collection { channel, name, epoch, last } => {
                let which = Which::Collection((&*name).into());
                match hub.streams.restore(channel, &which, epoch, last, number) {
                    Some(key) => drop(self.streams.insert(number, key)),
                    None => return fail("a collection that is there already"),
                }
            }
            Record::Item { collection, key, revision, record } => {
                let stream = self.streams.get(&collection).filter(|stream| hub.streams.collection(**stream).is_some());
                let Some(stream) = stream else { return fail("a record of an unknown collection") };
                if !hub.streams.restore_item(*stream, key, Item { revision, record, number }) {
                    return fail("a record that is there already");
                }
            }
            Record::Session { user, session } => {
                let window = usize::try_from(hub.config.limits.inflight).unwrap_or(usize::MAX);
                match hub.sessions.restore(self.now, Name { user, session }, window, number) {
                    Some(key) => drop(self.sessions.insert(number, key)),
                    None => return fail("a session that is there already"),
                }
            }
            Record::Message { channel, offset, timestamp, binary, line } => {
                let Some(key) = self.streams.get(&channel) else { return fail("a message of an unknown channel") };
                let entry = Entry::new(timestamp, line, binary, number);
                if offset == 0 || !hub.streams.restore_message(*key, offset, entry) {
                    return fail("messages before this one are missing");
                }
            }
            Record::Outcome { session, request, outcome } => {
                let Some(key) = self.sessions.get(&session) else { return fail("an answer of an unknown session") };
                if !hub.sessions.restore_outcome(*key, request, outcome, number) {
                    return fail("an answer out of order");
                }
            }
        }
        Ok(())
    }

    /// The hub. Histories and sessions over its bounds are forgotten, records never.
    pub fn finish(self) -> Hub {
        let Self { mut hub, now, last, .. } = self;
        hub.journal = Some(Journal::new(last));
        hub.stats.channels_forgotten += hub.streams.settle(now);
        hub.stats.sessions_forgotten += hub.sessions.forget(0, hub.config.sessions);
        let sweep = now.saturating_add(hub.sweep_interval());
        hub.timers.set(sweep, Timer::Sweep);
        hub
    }
}
