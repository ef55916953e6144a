use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{Message, Payload, Position, ServerMessage};

use super::config::{HistoryConfig, ms};
use super::history::{Entry, History, Retired};
use super::ids::{ConnectionId, IdMap, Ids};
use super::journal::Record;

/// Names a channel inside the hub.
pub(super) type ChannelKey = u64;

/// All channels that are remembered.
#[derive(Debug)]
pub(super) struct Channels {
    names: HashMap<Arc<str>, ChannelKey>,
    channels: IdMap<ChannelKey, Channel>,
    /// Without subscribers, the longest idle first.
    idle: BTreeSet<(u64, ChannelKey)>,
    next: ChannelKey,
    /// Bytes of all histories.
    bytes: usize,
    config: HistoryConfig,
    scratch: Vec<u8>,
    retired: Retired,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: Arc<str>,
    pub(super) epoch: Arc<str>,
    pub(super) history: History,
    pub(super) subscribers: BTreeSet<ConnectionId>,
    /// Its number in the store, 0 where the store does not know it.
    pub(super) record: u64,
    /// Messages after the history that wait for the disk.
    staged: u64,
    idle_since: u64,
}

/// Where a subscription starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: u64,
    pub(super) recovered: Option<bool>,
}

impl Channels {
    pub(super) fn new(config: HistoryConfig) -> Self {
        Self {
            names: HashMap::new(),
            channels: IdMap::default(),
            idle: BTreeSet::new(),
            next: 0,
            bytes: 0,
            config,
            scratch: Vec::new(),
            retired: Retired::default(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<ChannelKey> {
        self.names.get(name).copied()
    }

    /// Finds a channel or begins one, with an epoch of its own.
    pub(super) fn open(&mut self, now: u64, name: &str, ids: &mut Ids) -> ChannelKey {
        if let Some(key) = self.find(name) {
            return key;
        }
        self.insert(now, name.into(), ids.opaque().into(), History::default(), 0)
    }

    /// Takes a channel out of a store. Call [`settle`](Self::settle) when its messages are in.
    pub(super) fn restore(&mut self, name: Arc<str>, epoch: Arc<str>, last: u64, record: u64) -> Option<ChannelKey> {
        let known = self.names.contains_key(&name);
        (!known).then(|| self.insert(0, name, epoch, History::after(last), record))
    }

    fn insert(&mut self, now: u64, name: Arc<str>, epoch: Arc<str>, history: History, record: u64) -> ChannelKey {
        let key = self.next;
        self.next += 1;
        self.names.insert(name.clone(), key);
        let channel =
            Channel { name, epoch, history, subscribers: BTreeSet::new(), record, staged: 0, idle_since: now };
        self.channels.insert(key, channel);
        self.idle.insert((now, key));
        key
    }

    /// Takes the next message of a channel out of a store; `false` where it is not the next one.
    pub(super) fn restore_message(&mut self, key: ChannelKey, offset: u64, entry: Entry) -> bool {
        let Some(channel) = self.channels.get_mut(&key) else { return false };
        let before = channel.history.bytes();
        // The oldest may have been evicted; from there on there is no hole.
        if channel.history.is_empty() && offset > channel.history.last() {
            channel.history = History::after(offset - 1);
        }
        if offset != channel.history.last() + 1 {
            return false;
        }
        channel.history.push(entry);
        self.bytes = self.bytes + channel.history.bytes() - before;
        true
    }

    /// Keeps to the bounds what came out of a store, and says how many channels were forgotten.
    pub(super) fn settle(&mut self, now: u64) -> u64 {
        self.idle.clear();
        for (key, channel) in &mut self.channels {
            let before = channel.history.bytes();
            channel.trim(now, *key, &self.config, &mut self.retired);
            self.bytes = self.bytes + channel.history.bytes() - before;
            channel.idle_since = channel.history.newest().map_or(now, |newest| newest.min(now));
            self.idle.insert((channel.idle_since, *key));
        }
        let mut forgotten = 0;
        while (self.idle.len() > self.config.idle_channels.max(1) || self.bytes > self.config.total_bytes)
            && self.forget_longest_idle(None)
        {
            forgotten += 1;
        }
        forgotten
    }

    pub(super) fn subscribe(&mut self, key: ChannelKey, connection: ConnectionId) {
        if let Some(channel) = self.channels.get_mut(&key) {
            self.idle.remove(&(channel.idle_since, key));
            channel.subscribers.insert(connection);
        }
    }

    pub(super) fn unsubscribe(&mut self, now: u64, key: ChannelKey, connection: ConnectionId) {
        if let Some(channel) = self.channels.get_mut(&key)
            && channel.subscribers.remove(&connection)
        {
            self.rest(now, key);
        }
    }

    /// A channel that nobody needs now is idle from now on.
    fn rest(&mut self, now: u64, key: ChannelKey) {
        if let Some(channel) = self.channels.get_mut(&key)
            && channel.subscribers.is_empty()
            && channel.staged == 0
        {
            self.idle.remove(&(channel.idle_since, key));
            channel.idle_since = now;
            self.idle.insert((now, key));
        }
    }

    /// Gives a message the offset after the last one, also of those that wait for the disk.
    pub(super) fn encode(
        &mut self,
        now: u64,
        key: ChannelKey,
        event: &str,
        user: Option<&str>,
        payload: Payload<'_>,
        record: u64,
    ) -> Option<(Entry, u64)> {
        let channel = self.channels.get_mut(&key)?;
        let offset = channel.history.last() + channel.staged + 1;
        self.scratch.clear();
        ServerMessage::Message(Message {
            channel: (&*channel.name).into(),
            event: event.into(),
            offset,
            user: user.map(Into::into),
            timestamp: now,
            payload,
        })
        .encode(&mut self.scratch);
        let line = Bytes::copy_from_slice(&self.scratch);
        self.scratch.shrink_to(64 << 10);
        Some((Entry::new(now, line, matches!(payload, Payload::Binary(_)), record), offset))
    }

    /// Puts the next message into the history, where subscribers see it.
    pub(super) fn append(&mut self, now: u64, key: ChannelKey, entry: Entry) {
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let before = channel.history.bytes();
        channel.history.push(entry);
        channel.trim(now, key, &self.config, &mut self.retired);
        self.bytes = self.bytes + channel.history.bytes() - before;
        self.rest(now, key);
    }

    /// A message waits for the disk: its offset is taken, and the channel stays.
    pub(super) fn stage(&mut self, key: ChannelKey) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.staged += 1;
            self.idle.remove(&(channel.idle_since, key));
        }
    }

    /// A message waits no more: it comes into the history, or its offset is free again.
    pub(super) fn unstage(&mut self, now: u64, key: ChannelKey) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.staged -= 1;
            self.rest(now, key);
        }
    }

    /// The store knows this channel from now on.
    pub(super) fn set_record(&mut self, key: ChannelKey, record: u64) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.record = record;
        }
    }

    /// What has to go from the store since the last time.
    pub(super) fn take_retired(&mut self) -> Retired {
        std::mem::take(&mut self.retired)
    }

    /// Where a subscription begins, and whether all that was missed can be had.
    pub(super) fn start(&mut self, now: u64, key: ChannelKey, since: Option<&Position>) -> Option<Start> {
        let channel = self.channels.get_mut(&key)?;
        let before = channel.history.bytes();
        channel.expire(now, key, &self.config, &mut self.retired);
        self.bytes = self.bytes + channel.history.bytes() - before;
        let (first, last) = (channel.history.first(), channel.history.last());
        Some(match since {
            None => Start { offset: last, recovered: None },
            Some(since)
                if (since.epoch == *channel.epoch || super::mutant("epoch-ignored"))
                    && (first - 1..=last).contains(&since.offset) =>
            {
                Start { offset: since.offset, recovered: Some(true) }
            }
            Some(_) => Start { offset: first - 1, recovered: Some(false) },
        })
    }

    /// Makes the plain form of a message where it is missing, and accounts for it.
    pub(super) fn plain(&mut self, key: ChannelKey, offset: u64) -> Option<Bytes> {
        let channel = self.channels.get_mut(&key)?;
        let before = channel.history.bytes();
        let plain = channel.history.plain(offset);
        self.bytes = self.bytes + channel.history.bytes() - before;
        plain
    }

    /// Evicts what is too old, in every channel, and forgets channels that were idle for long. Returns how many.
    pub(super) fn sweep(&mut self, now: u64) -> u64 {
        let config = self.config;
        for (key, channel) in &mut self.channels {
            let before = channel.history.bytes();
            channel.expire(now, *key, &config, &mut self.retired);
            self.bytes = self.bytes + channel.history.bytes() - before;
        }
        let oldest = now.saturating_sub(ms(config.idle_age.max(config.age)));
        let mut forgotten = 0;
        while self.idle.first().is_some_and(|(since, _)| *since < oldest) {
            forgotten += u64::from(self.forget_longest_idle(None));
        }
        forgotten
    }

    /// Keeps to the bounds over all channels. `current` is the one in use, which is not forgotten. Returns how many were.
    pub(super) fn bound(&mut self, current: ChannelKey) -> u64 {
        let mut forgotten = 0;
        while self.idle.len() > self.config.idle_channels.max(1) && self.forget_longest_idle(Some(current)) {
            forgotten += 1;
        }
        while self.bytes > self.config.total_bytes {
            if self.forget_longest_idle(Some(current)) {
                forgotten += 1;
                continue;
            }
            let Some(channel) = self.channels.get_mut(&current) else { break };
            let before = channel.history.bytes();
            let more = channel.history.shed(&mut self.retired);
            self.bytes = self.bytes + channel.history.bytes() - before;
            if !more {
                break;
            }
        }
        forgotten
    }

    fn forget_longest_idle(&mut self, spare: Option<ChannelKey>) -> bool {
        let Some(&entry) = self.idle.iter().find(|(_, key)| Some(*key) != spare) else { return false };
        self.idle.remove(&entry);
        if let Some(mut channel) = self.channels.remove(&entry.1) {
            self.bytes -= channel.history.bytes();
            channel.history.clear(&mut self.retired);
            self.retired.push(channel.record);
            self.names.remove(&channel.name);
        }
        true
    }

    pub(super) fn channel(&self, key: ChannelKey) -> Option<&Channel> {
        self.channels.get(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Channel {
    /// What the store has to know beside the messages.
    pub(super) fn to_record(&self) -> Record {
        Record::Channel { name: self.name.clone(), epoch: self.epoch.clone(), last: self.history.last() }
    }

    fn trim(&mut self, now: u64, key: ChannelKey, config: &HistoryConfig, retired: &mut Retired) {
        let had = !self.history.is_empty();
        self.history.trim(now, config, retired);
        self.note_emptied(had, key, retired);
    }

    fn expire(&mut self, now: u64, key: ChannelKey, config: &HistoryConfig, retired: &mut Retired) {
        let had = !self.history.is_empty();
        self.history.expire(now, config, retired);
        self.note_emptied(had, key, retired);
    }

    fn note_emptied(&self, had: bool, key: ChannelKey, retired: &mut Retired) {
        if had && self.history.is_empty() && self.record != 0 {
            retired.emptied.push(key);
        }
    }
}
