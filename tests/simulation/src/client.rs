use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use realtime_engine::{
    Attempt, ChannelId, ChannelState, Config, Covered, Data, Event, LoadOn, Output, Protocol, RequestId, Session,
    Status, Timestamp, Token, WhenFull,
};

use crate::checker::{Checker, Invariant, Rules, To};
use crate::profile::Profile;

/// A session and the application on top of it.
pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) session: Session,
    pub(crate) plain: bool,
    /// The link of the newest attempt.
    pub(crate) link: Option<(Attempt, u64)>,
    /// The whole machine stands still until then.
    pub(crate) asleep_until: u64,
    /// The application stands still until then; the connection goes on.
    pub(crate) busy_until: u64,
    /// When the session was last given a frame, or did not want one.
    pub(crate) heard_at: u64,
    /// The session has stopped, and waits for the application.
    pub(crate) stopped: bool,
    pub(crate) rules: Rules,
    gives_up: bool,
    slow: bool,
    /// When its application loads snapshots.
    load_on: LoadOn,
    /// Loads that it was asked for: of which channel, under which number.
    pub(crate) loads: Vec<(usize, u64)>,
    unconsumed: VecDeque<(Option<ChannelId>, u64)>,
    /// Bytes that came over this connection, and how many of them were given back as credit.
    pub(crate) arrived: u64,
    pub(crate) credited: u64,
    names: HashMap<ChannelId, usize>,
    pub(crate) streams: BTreeMap<ChannelId, Of>,
    /// Collections of a channel.
    pub(crate) collections: usize,
    /// Calls of `track` and the like without an end, with their channels.
    pub(crate) tracks: BTreeMap<u64, usize>,
    pub(crate) next: u64,
}

/// What a stream is of, beside messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Presence(usize),
    Collection(usize),
}

impl Client {
    pub(crate) fn new(index: usize, profile: &Profile, now: Timestamp, rng: &mut fastrand::Rng) -> Self {
        let plain = index > 0 && rng.f64() < profile.plain_share;
        let mut config = Config::new("ws://simulated");
        config.queue_messages = if rng.u32(0..4) == 0 { 20 } else { 200 };
        config.when_full = profile.when_full(rng);
        config.heartbeat_interval = Duration::from_secs(10);
        config.heartbeat_timeout = Duration::from_secs(20);
        config.inbox = profile.window();
        config.binary_json = rng.bool();
        // Not of the seed, so that a dump tells the seed.
        config.session = format!("simulated-{index:016}");
        config.record = profile.record;
        if plain {
            config.protocol = Protocol::Plain;
        }
        if profile.auth || rng.bool() {
            config.token = Token::Provider;
        }
        if rng.f64() < 0.2 {
            config.rate_limit = Some(20);
        }
        if rng.f64() < 0.2 {
            config.send_timeout = Some(Duration::from_secs(rng.u64(2..60)));
        }
        if rng.f64() < 0.1 {
            config.max_attempts = Some(rng.u32(1..10));
        }
        let micros = |duration: Duration| duration.as_micros() as u64;
        let rules = Rules {
            plain,
            inbox_bytes: profile.inbox_bound(),
            queue_messages: queue_bound(&config),
            send_timeout: config.send_timeout.map(micros),
            heartbeat_timeout: micros(config.heartbeat_timeout),
        };
        Self {
            index,
            plain,
            link: None,
            asleep_until: 0,
            busy_until: 0,
            heard_at: 0,
            stopped: false,
            rules,
            gives_up: config.max_attempts.is_some(),
            slow: rng.f64() < profile.slow_share,
            load_on: match rng.f64() < profile.load_share && !plain {
                true => [LoadOn::Gap, LoadOn::GapAndSubscribe][rng.usize(0..2)],
                false => LoadOn::Never,
            },
            loads: Vec::new(),
            session: Session::new(config, now, rng.u64(..)).unwrap(),
            unconsumed: VecDeque::new(),
            arrived: 0,
            credited: 0,
            names: HashMap::new(),
            streams: BTreeMap::new(),
            collections: profile.collections,
            tracks: BTreeMap::new(),
            next: 0,
        }
    }

    pub(crate) fn subscribe(&mut self, now: Timestamp, channel: usize, checker: &mut Checker) {
        if self.load_on != LoadOn::Never && !checker.is_subscribed(self.index, channel) {
            let id = self.channel(channel);
            self.session.load_on(now, id, self.load_on);
            checker.loads_on(self.index, channel, self.load_on);
        }
        let id = self.session.subscribe(now, &name(channel)).unwrap();
        self.names.insert(id, channel);
        checker.subscribed(self.index, channel);
    }

    pub(crate) fn unsubscribe(&mut self, now: Timestamp, channel: usize, checker: &mut Checker) {
        let id = self.channel(channel);
        self.session.unsubscribe(now, id);
        checker.unsubscribed(self.index, channel);
    }

    pub(crate) fn channel(&mut self, channel: usize) -> ChannelId {
        self.session.channel(&name(channel)).unwrap()
    }

    /// Wants no snapshots of a channel any more.
    pub(crate) fn give_up_loading(&mut self, now: Timestamp, channel: usize, checker: &mut Checker) {
        if self.load_on != LoadOn::Never {
            let id = self.channel(channel);
            self.session.load_on(now, id, LoadOn::Never);
            checker.loads_on(self.index, channel, LoadOn::Never);
        }
    }

    /// Has loaded, or failed to.
    pub(crate) fn loaded(
        &mut self,
        now: Timestamp,
        channel: usize,
        load: u64,
        covered: Option<Covered>,
        checker: &mut Checker,
    ) {
        let id = self.channel(channel);
        checker.loaded(self.index, channel, load, covered.as_ref());
        self.session.loaded(now, id, load, covered);
    }

    /// Sends one message into a channel, or to the server's application; its number, unless it was refused at once.
    pub(crate) fn send(
        &mut self,
        now: Timestamp,
        channel: Option<usize>,
        binary: bool,
        rng: &mut fastrand::Rng,
        checker: &mut Checker,
    ) -> Option<u64> {
        let n = self.next + 1;
        let text = format!("{{\"c\":{},\"n\":{n},\"pad\":\"{}\"}}", self.index, "x".repeat(rng.usize(0..100)));
        let payload = if binary { Data::Binary(Bytes::from(text)) } else { Data::Json(Bytes::from(text)) };
        let permit = match self.session.when_full() {
            WhenFull::DropOldest => self.session.budget().reserve_anyway(payload.bytes().len()),
            _ => self.session.budget().reserve(payload.bytes().len())?,
        };
        match channel {
            Some(channel) => {
                let id = self.channel(channel);
                self.session.publish(now, RequestId(n), id, "e".into(), payload, permit).ok()?;
            }
            None => self.session.send(now, RequestId(n), Some("note".into()), payload, permit).ok()?,
        }
        self.next = n;
        checker.published(self.index, n, channel.map_or(To::Application, To::Channel));
        Some(n)
    }

    /// Consumes what it has: everything, or a little where it is slow.
    pub(crate) fn consume(&mut self, now: Timestamp, all: bool, rng: &mut fastrand::Rng) {
        let count = if all || !self.slow { usize::MAX } else { rng.usize(0..4) };
        for _ in 0..count.min(self.unconsumed.len()) {
            let Some((channel, size)) = self.unconsumed.pop_front() else { break };
            self.session.consumed(now, channel, size);
        }
    }

    pub(crate) fn has_unconsumed(&self) -> bool {
        !self.unconsumed.is_empty()
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.slow
    }

    /// Takes outputs until there are none; those for the network come back.
    pub(crate) fn drain(&mut self, checker: &mut Checker, trace: &mut dyn FnMut(&Event)) -> Vec<Output> {
        let mut network = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Event(event) => {
                    trace(&event);
                    self.event(event, checker);
                }
                other => network.push(other),
            }
        }
        checker.memory(self.index, &self.session.stats());
        for (id, of) in &self.streams {
            if let Of::Collection(collection) = of {
                checker.look_at_view(self.index, *collection, self.session.position(*id));
            }
        }
        network
    }

    fn event(&mut self, event: Event, checker: &mut Checker) {
        let index = self.index;
        match event {
            Event::Message(message) if message.implied => {}
            Event::Message(message) => {
                self.unconsumed.push_back((Some(message.channel), message.size));
                let (channel, payload) = (self.names[&message.channel], message.content.payload());
                match message.offset {
                    Some(offset) => {
                        let epoch = self.session.position(message.channel).map(|position| position.epoch.as_str());
                        checker.delivered(index, channel, epoch.unwrap_or_default(), offset, payload);
                    }
                    None => {
                        checker.plain_delivered(index, channel, message.content.event().unwrap_or_default(), payload)
                    }
                }
            }
            Event::Direct(message) => {
                self.unconsumed.push_back((None, message.size));
                // In the plain dialect a refusal has no other way.
                if message.content.event() != Some("error") {
                    checker.direct(index, message.content.payload());
                }
            }
            Event::Load(load) => {
                let channel = self.names[&load.gap.channel];
                let unconsumed = self.unconsumed.iter().any(|(of, _)| *of == Some(load.gap.channel));
                checker.load(index, channel, load.load, &(&load.gap).into(), unconsumed);
                self.loads.push((channel, load.load));
            }
            Event::Channel { channel, state: ChannelState::Failed, error } => {
                let code = error.map_or("", |error| error.code());
                // Who gives up for now keeps what it declared.
                if code != "max_attempts" {
                    match self.streams.get(&channel) {
                        Some(of) => self.stream_refused(*of, code, checker),
                        None => checker.refused(index, self.names[&channel], code),
                    }
                }
            }
            Event::Change(change) => {
                if let Some(Of::Collection(collection)) = self.streams.get(&change.collection) {
                    self.unconsumed.extend((change.size > 0).then_some((Some(change.collection), change.size)));
                    checker.changed(index, *collection, change);
                }
            }
            Event::Synced { collection, .. } => {
                if let Some(Of::Collection(collection)) = self.streams.get(&collection) {
                    checker.synced(index, *collection);
                }
            }
            Event::Diverged { collection, .. } => {
                if let Some(Of::Collection(collection)) = self.streams.get(&collection) {
                    checker.diverged(index, *collection);
                }
            }
            Event::Presence(change) => {
                if let Some(Of::Presence(channel)) = self.streams.get(&change.presence) {
                    self.unconsumed.extend((change.size > 0).then_some((Some(change.presence), change.size)));
                    checker.presence(index, *channel, &change.json);
                }
            }
            Event::Error(error) if error.code() == "protocol_error" => checker.broken(index, &error.message),
            Event::Gap(gap) => checker.gap(index, self.names[&gap.channel], &(&gap).into()),
            Event::Receipt(receipt) if self.tracks.contains_key(&receipt.request.0) => {
                self.track_ends(receipt.request.0, None, checker);
            }
            Event::SendFailed { request, error } if self.tracks.contains_key(&request.0) => {
                self.track_ends(request.0, Some(error.code()), checker);
            }
            Event::Receipt(receipt) => {
                let place = receipt.epoch.as_ref().map(|epoch| epoch.as_str()).zip(receipt.offset);
                checker.receipt(index, receipt.request.0, receipt.acknowledged, place, receipt.duplicate);
            }
            Event::SendFailed { request, error } => {
                if error.code() == "conflict" {
                    checker.conflicted(index, request.0, error.revision, error.record.as_deref());
                }
                checker.taken_back(index, request.0);
                checker.failed(index, request.0, error.code());
            }
            Event::Open(_) => checker.opened(index),
            Event::Close { .. } => checker.closed(index),
            Event::Status { status: Status::Error, retry_in: None, reason } => {
                self.stopped = true;
                if !self.gives_up {
                    let what = format!("client {index} gave up: {reason:?}");
                    checker.violation(Invariant::Liveness, what);
                }
            }
            _ => {}
        }
    }

    fn track_ends(&mut self, n: u64, code: Option<&str>, checker: &mut Checker) {
        if let Some(channel) = self.tracks.remove(&n) {
            checker.track_ends(self.index, channel, n, code);
        }
    }

    fn stream_refused(&self, of: Of, code: &str, checker: &mut Checker) {
        let channel = match of {
            Of::Presence(channel) => {
                checker.looks_on(self.index, channel, false);
                channel
            }
            Of::Collection(collection) => {
                checker.watches(self.index, collection, false);
                collection / self.collections
            }
        };
        checker.stream_refused(self.index, channel, code);
    }
}

/// `dropOldest` gives up only what was never written: what is written counts on top, and of that the server allows 50, or the socket
/// holds what it holds.
fn queue_bound(config: &Config) -> usize {
    match (config.when_full, config.protocol) {
        (WhenFull::DropOldest, Protocol::Plain) => config.queue_messages + 300,
        (WhenFull::DropOldest, _) => config.queue_messages.max(50) + 1,
        _ => config.queue_messages,
    }
}

pub(crate) fn name(channel: usize) -> String {
    format!("channel-{channel}")
}
