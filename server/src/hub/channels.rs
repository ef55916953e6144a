use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{Message, Payload, Position, ServerMessage};

use super::config::{HistoryConfig, ms};
use super::history::History;
use super::ids::{ConnectionId, IdMap, Ids};

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
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: Arc<str>,
    pub(super) epoch: Arc<str>,
    pub(super) history: History,
    pub(super) subscribers: BTreeSet<ConnectionId>,
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
        let key = self.next;
        self.next += 1;
        let name: Arc<str> = name.into();
        self.names.insert(name.clone(), key);
        self.channels.insert(
            key,
            Channel {
                name,
                epoch: ids.opaque().into(),
                history: History::default(),
                subscribers: BTreeSet::new(),
                idle_since: now,
            },
        );
        self.idle.insert((now, key));
        key
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
            && channel.subscribers.is_empty()
        {
            channel.idle_since = now;
            self.idle.insert((now, key));
        }
    }

    /// Gives a message its offset and stores it.
    pub(super) fn publish(
        &mut self,
        now: u64,
        key: ChannelKey,
        event: &str,
        user: Option<&str>,
        payload: Payload<'_>,
    ) -> Option<(Arc<str>, u64)> {
        let channel = self.channels.get_mut(&key)?;
        let offset = channel.history.last() + 1;
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
        let before = channel.history.bytes();
        channel.history.push(now, Bytes::copy_from_slice(&self.scratch), matches!(payload, Payload::Binary(_)));
        channel.history.trim(now, &self.config);
        self.bytes = self.bytes + channel.history.bytes() - before;
        if channel.subscribers.is_empty() {
            self.idle.remove(&(channel.idle_since, key));
            channel.idle_since = now;
            self.idle.insert((now, key));
        }
        self.scratch.shrink_to(64 << 10);
        Some((channel.epoch.clone(), offset))
    }

    /// Where a subscription begins, and whether all that was missed can be had.
    pub(super) fn start(&mut self, now: u64, key: ChannelKey, since: Option<&Position>) -> Option<Start> {
        let channel = self.channels.get_mut(&key)?;
        let before = channel.history.bytes();
        channel.history.expire(now, &self.config);
        self.bytes = self.bytes + channel.history.bytes() - before;
        let (first, last) = (channel.history.first(), channel.history.last());
        Some(match since {
            None => Start { offset: last, recovered: None },
            Some(since) if since.epoch == *channel.epoch && (first - 1..=last).contains(&since.offset) => {
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
        for channel in self.channels.values_mut() {
            let before = channel.history.bytes();
            channel.history.expire(now, &config);
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
            let more = channel.history.shed();
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
        if let Some(channel) = self.channels.remove(&entry.1) {
            self.bytes -= channel.history.bytes();
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
