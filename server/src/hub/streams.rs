use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{Message, Payload, Position, ServerMessage, Stream as Which};

use super::collections::Collection;
use super::config::{HistoryConfig, ms};
use super::history::{Entry, History, Retired};
use super::ids::{ConnectionId, IdMap, Ids};
use super::journal::Record;
use super::presence::Presence;

/// Names a stream inside the hub.
pub(super) type StreamKey = u64;

/// All streams that are remembered: the messages, the presence and the collections of every channel.
#[derive(Debug)]
pub(super) struct Streams {
    names: HashMap<Arc<str>, Names>,
    streams: IdMap<StreamKey, Stream>,
    /// Those that nobody needs now, the longest idle first.
    idle: BTreeSet<(u64, StreamKey)>,
    next: StreamKey,
    /// How many are messages.
    channels: usize,
    /// Bytes of all histories.
    bytes: usize,
    pub(super) totals: Totals,
    config: HistoryConfig,
    scratch: Vec<u8>,
    retired: Retired,
}

/// What all states hold together, also what waits for the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) members: u64,
    pub(super) member_bytes: usize,
    pub(super) collections: u64,
    pub(super) records: u64,
    pub(super) record_bytes: usize,
}

/// The streams of a channel.
#[derive(Debug, Default)]
struct Names {
    messages: Option<StreamKey>,
    presence: Option<StreamKey>,
    collections: BTreeMap<Arc<str>, StreamKey>,
}

/// A history that subscriptions follow, and the state that it leads to.
#[derive(Debug)]
pub(super) struct Stream {
    /// The name of the channel.
    pub(super) channel: Arc<str>,
    pub(super) epoch: Arc<str>,
    pub(super) history: History,
    pub(super) state: State,
    pub(super) subscribers: BTreeSet<ConnectionId>,
    /// Whether somebody may have all there is: the next entry puts such subscribers into the turn, the others are there.
    pub(super) is_awaited: bool,
    /// Its number in the store, 0 where the store does not know it.
    pub(super) record: u64,
    /// Entries after the history that wait for the disk.
    pub(super) staged: u64,
    idle_since: u64,
}

/// What the entries of a history add up to.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing: each message stands for itself.
    Messages,
    Presence(Presence),
    Collection(Collection),
}

/// Where a subscription starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: u64,
    pub(super) recovered: Option<bool>,
}

impl Streams {
    pub(super) fn new(config: HistoryConfig) -> Self {
        Self {
            names: HashMap::new(),
            streams: IdMap::default(),
            idle: BTreeSet::new(),
            next: 0,
            channels: 0,
            bytes: 0,
            totals: Totals::default(),
            config,
            scratch: Vec::new(),
            retired: Retired::default(),
        }
    }

    pub(super) fn find(&self, channel: &str, which: &Which<'_>) -> Option<StreamKey> {
        let names = self.names.get(channel)?;
        match which {
            Which::Messages => names.messages,
            Which::Presence => names.presence,
            Which::Collection(name) => names.collections.get(&**name).copied(),
            _ => None,
        }
    }

    /// Finds a stream or begins one, with an epoch of its own.
    pub(super) fn open(&mut self, now: u64, channel: &str, which: &Which<'_>, ids: &mut Ids) -> StreamKey {
        if let Some(key) = self.find(channel, which) {
            return key;
        }
        self.insert(now, channel.into(), State::new(which), ids.opaque().into(), History::default(), 0)
    }

    /// Takes a stream out of a store. Call [`settle`](Self::settle) when all is in.
    pub(super) fn restore(
        &mut self,
        channel: Arc<str>,
        which: &Which<'_>,
        epoch: Arc<str>,
        last: u64,
        record: u64,
    ) -> Option<StreamKey> {
        let known = self.find(&channel, which).is_some();
        (!known).then(|| self.insert(0, channel, State::new(which), epoch, History::after(last), record))
    }

    fn insert(
        &mut self,
        now: u64,
        channel: Arc<str>,
        state: State,
        epoch: Arc<str>,
        history: History,
        record: u64,
    ) -> StreamKey {
        let key = self.next;
        self.next += 1;
        let names = self.names.entry(channel.clone()).or_default();
        match &state {
            State::Messages => {
                names.messages = Some(key);
                self.channels += 1;
            }
            State::Presence(_) => names.presence = Some(key),
            State::Collection(collection) => {
                names.collections.insert(collection.name.clone(), key);
                self.totals.collections += 1;
            }
        }
        let stream = Stream {
            channel,
            epoch,
            history,
            state,
            subscribers: BTreeSet::new(),
            is_awaited: false,
            record,
            staged: 0,
            idle_since: now,
        };
        self.streams.insert(key, stream);
        self.idle.insert((now, key));
        key
    }

    /// Takes the next message of a channel out of a store; `false` where it is not the next one.
    pub(super) fn restore_message(&mut self, key: StreamKey, offset: u64, entry: Entry) -> bool {
        let Some(stream) = self.streams.get_mut(&key) else { return false };
        let before = stream.history.bytes();
        // The oldest may have been evicted; from there on there is no hole.
        if stream.history.is_empty() && offset > stream.history.last() {
            stream.history = History::after(offset - 1);
        }
        if offset != stream.history.last() + 1 {
            return false;
        }
        stream.history.push(entry);
        self.bytes = self.bytes + stream.history.bytes() - before;
        true
    }

    /// Keeps to the bounds what came out of a store, and says how many channels were forgotten.
    pub(super) fn settle(&mut self, now: u64) -> u64 {
        self.idle.clear();
        for (key, stream) in &mut self.streams {
            let before = stream.history.bytes();
            stream.trim(now, *key, &self.config, &mut self.retired);
            self.bytes = self.bytes + stream.history.bytes() - before;
            stream.idle_since = stream.history.newest().map_or(now, |newest| newest.min(now));
            self.idle.insert((stream.idle_since, *key));
        }
        let mut forgotten = 0;
        while self.idle.len() > self.config.idle_channels.max(1) || self.bytes > self.config.total_bytes {
            let Some(gone) = self.forget_longest_idle(None) else { break };
            forgotten += gone;
        }
        forgotten
    }

    pub(super) fn subscribe(&mut self, now: u64, key: StreamKey, connection: ConnectionId) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.subscribers.insert(connection);
            stream.is_awaited = true;
            self.touch(now, key);
        }
    }

    /// A subscriber has all there is.
    pub(super) fn await_next(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.is_awaited = true;
        }
    }

    pub(super) fn unsubscribe(&mut self, now: u64, key: StreamKey, connection: ConnectionId) {
        if let Some(stream) = self.streams.get_mut(&key)
            && stream.subscribers.remove(&connection)
        {
            self.touch(now, key);
        }
    }

    /// A stream that nobody needs now is idle from now on; a presence is forgotten at once, since there is nothing to keep.
    pub(super) fn touch(&mut self, now: u64, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        self.idle.remove(&(stream.idle_since, key));
        if stream.is_needed() {
            return;
        }
        stream.idle_since = now;
        match stream.state {
            State::Presence(_) => self.remove(key),
            _ => drop(self.idle.insert((now, key))),
        }
    }

    /// Gives a message the offset after the last one, also of those that wait for the disk.
    pub(super) fn encode(
        &mut self,
        now: u64,
        key: StreamKey,
        event: &str,
        user: Option<&str>,
        payload: Payload<'_>,
        record: u64,
    ) -> Option<(Entry, u64)> {
        let stream = self.streams.get(&key)?;
        let offset = stream.next_offset();
        let message = ServerMessage::Message(Message {
            channel: (&*stream.channel).into(),
            event: event.into(),
            offset,
            user: user.map(Into::into),
            timestamp: now,
            payload,
        });
        let line = encode(&message, &mut self.scratch);
        Some((Entry::new(now, line, matches!(payload, Payload::Binary(_)), record), offset))
    }

    /// Puts the next message into the history, where subscribers see it.
    pub(super) fn append(&mut self, now: u64, key: StreamKey, entry: Entry) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let before = stream.history.bytes();
        stream.history.push(entry);
        stream.trim(now, key, &self.config, &mut self.retired);
        self.bytes = self.bytes + stream.history.bytes() - before;
        self.touch(now, key);
    }

    /// An entry waits for the disk: its offset is taken, and the stream stays.
    pub(super) fn stage(&mut self, now: u64, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.staged += 1;
            self.touch(now, key);
        }
    }

    /// An entry waits no more: it comes into the history, or its offset is free again.
    pub(super) fn unstage(&mut self, now: u64, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.staged -= 1;
            self.touch(now, key);
        }
    }

    /// The store knows this stream from now on.
    pub(super) fn set_record(&mut self, key: StreamKey, record: u64) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.record = record;
        }
    }

    /// What has to go from the store since the last time.
    pub(super) fn take_retired(&mut self) -> Retired {
        std::mem::take(&mut self.retired)
    }

    /// Where a subscription begins, and whether all that was missed can be had.
    pub(super) fn start(&mut self, now: u64, key: StreamKey, since: Option<&Position>) -> Option<Start> {
        let stream = self.streams.get_mut(&key)?;
        let before = stream.history.bytes();
        stream.expire(now, key, &self.config, &mut self.retired);
        self.bytes = self.bytes + stream.history.bytes() - before;
        let (first, last) = (stream.history.first(), stream.history.last());
        let has_state = stream.has_state();
        Some(match since {
            None => Start { offset: last, recovered: None },
            Some(since)
                if (since.epoch == *stream.epoch || super::mutant("epoch-ignored"))
                    && (first - 1..=last).contains(&since.offset) =>
            {
                Start { offset: since.offset, recovered: Some(true) }
            }
            // A snapshot follows, which holds all that came so far.
            Some(_) if has_state => Start { offset: last, recovered: Some(false) },
            Some(_) => Start { offset: first - 1, recovered: Some(false) },
        })
    }

    /// Makes the plain form of a message where it is missing, and accounts for it.
    pub(super) fn plain(&mut self, key: StreamKey, offset: u64) -> Option<Bytes> {
        let stream = self.streams.get_mut(&key)?;
        let before = stream.history.bytes();
        let plain = stream.history.plain(offset);
        self.bytes = self.bytes + stream.history.bytes() - before;
        plain
    }

    /// Evicts what is too old, in every channel, and forgets channels that were idle for long. Returns how many.
    pub(super) fn sweep(&mut self, now: u64) -> u64 {
        let config = self.config;
        for (key, stream) in &mut self.streams {
            let before = stream.history.bytes();
            stream.expire(now, *key, &config, &mut self.retired);
            self.bytes = self.bytes + stream.history.bytes() - before;
        }
        let oldest = now.saturating_sub(ms(config.idle_age.max(config.age)));
        let mut forgotten = 0;
        while self.idle.first().is_some_and(|(since, _)| *since < oldest) {
            forgotten += self.forget_longest_idle(None).unwrap_or_default();
        }
        forgotten
    }

    /// Keeps to the bounds over all channels. `current` is the one in use, which is not forgotten. Returns how many were.
    pub(super) fn bound(&mut self, current: StreamKey) -> u64 {
        let mut forgotten = 0;
        while self.idle.len() > self.config.idle_channels.max(1) {
            let Some(gone) = self.forget_longest_idle(Some(current)) else { break };
            forgotten += gone;
        }
        while self.bytes > self.config.total_bytes {
            if let Some(gone) = self.forget_longest_idle(Some(current)) {
                forgotten += gone;
                continue;
            }
            let Some(stream) = self.streams.get_mut(&current) else { break };
            let before = stream.history.bytes();
            let more = stream.history.shed(&mut self.retired);
            self.bytes = self.bytes + stream.history.bytes() - before;
            if !more {
                break;
            }
        }
        forgotten
    }

    /// Forgets what is idle for longest, and says how many streams that were: of a collection with records only the changes go.
    fn forget_longest_idle(&mut self, spare: Option<StreamKey>) -> Option<u64> {
        let &(since, key) = self.idle.iter().find(|(_, key)| Some(*key) != spare)?;
        self.idle.remove(&(since, key));
        let stream = self.streams.get_mut(&key)?;
        if !matches!(&stream.state, State::Collection(collection) if !collection.is_empty()) {
            self.remove(key);
            return Some(1);
        }
        self.bytes -= stream.history.bytes();
        let had = !stream.history.is_empty();
        stream.history.clear(&mut self.retired);
        stream.note_emptied(had, key, &mut self.retired);
        self.bytes += stream.history.bytes();
        Some(0)
    }

    fn remove(&mut self, key: StreamKey) {
        let Some(mut stream) = self.streams.remove(&key) else { return };
        self.bytes -= stream.history.bytes();
        stream.history.clear(&mut self.retired);
        self.retired.push(stream.record);
        let Some(names) = self.names.get_mut(&stream.channel) else { return };
        match &stream.state {
            State::Messages => {
                names.messages = None;
                self.channels -= 1;
            }
            State::Presence(_) => names.presence = None,
            State::Collection(collection) => {
                names.collections.remove(&collection.name);
                self.totals.collections -= 1;
            }
        }
        if names.messages.is_none() && names.presence.is_none() && names.collections.is_empty() {
            self.names.remove(&stream.channel);
        }
    }

    pub(super) fn stream(&self, key: StreamKey) -> Option<&Stream> {
        self.streams.get(&key)
    }

    pub(super) fn stream_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.streams.get_mut(&key)
    }

    /// How many channels have messages, or had.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Encodes by way of a buffer, so that the line takes no more than it has.
pub(super) fn encode(message: &ServerMessage<'_>, scratch: &mut Vec<u8>) -> Bytes {
    scratch.clear();
    message.encode(scratch);
    let line = Bytes::copy_from_slice(scratch);
    scratch.shrink_to(64 << 10);
    line
}

impl State {
    fn new(which: &Which<'_>) -> Self {
        match which {
            Which::Presence => State::Presence(Presence::default()),
            Which::Collection(name) => State::Collection(Collection::new(&**name)),
            _ => State::Messages,
        }
    }
}

impl Stream {
    /// What the next entry gets, after those that wait for the disk.
    pub(super) fn next_offset(&self) -> u64 {
        self.history.last() + self.staged + 1
    }

    /// What the store has to know beside entries and records.
    pub(super) fn to_record(&self) -> Record {
        let (epoch, last) = (self.epoch.clone(), self.history.last());
        match &self.state {
            State::Collection(Collection { name, .. }) => {
                Record::Collection { channel: self.channel.clone(), name: name.clone(), epoch, last }
            }
            _ => Record::Channel { name: self.channel.clone(), epoch, last },
        }
    }

    /// Whether its entries add up to something, that a snapshot can show.
    pub(super) fn has_state(&self) -> bool {
        !matches!(self.state, State::Messages)
    }

    fn is_needed(&self) -> bool {
        let busy = match &self.state {
            State::Presence(presence) => !presence.is_empty(),
            _ => false,
        };
        busy || !self.subscribers.is_empty() || self.staged > 0
    }

    fn trim(&mut self, now: u64, key: StreamKey, config: &HistoryConfig, retired: &mut Retired) {
        let had = !self.history.is_empty();
        self.history.trim(now, config, retired);
        self.note_emptied(had, key, retired);
    }

    fn expire(&mut self, now: u64, key: StreamKey, config: &HistoryConfig, retired: &mut Retired) {
        let had = !self.history.is_empty();
        self.history.expire(now, config, retired);
        self.note_emptied(had, key, retired);
    }

    fn note_emptied(&self, had: bool, key: StreamKey, retired: &mut Retired) {
        if had && self.history.is_empty() && self.record != 0 {
            retired.emptied.push(key);
        }
    }
}
