use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use realtime_engine::{
    Attempt, ChannelId, Config, Data, Event, Output, RequestId, Session, Timestamp, Token, wire::Window,
};

use crate::checker::Checker;
use crate::profile::Profile;

/// A session and the application on top of it.
pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) session: Session,
    /// The link of the newest attempt.
    pub(crate) link: Option<(Attempt, u64)>,
    /// The application, or the whole machine, stands still until then.
    pub(crate) asleep_until: u64,
    slow: bool,
    unconsumed: VecDeque<(Option<ChannelId>, u64)>,
    names: HashMap<ChannelId, usize>,
    next: u64,
}

impl Client {
    pub(crate) fn new(index: usize, profile: &Profile, now: Timestamp, rng: &mut fastrand::Rng) -> Self {
        let mut config = Config::new("ws://simulated");
        config.queue_messages = 200;
        config.heartbeat_interval = Duration::from_secs(10);
        config.heartbeat_timeout = Duration::from_secs(20);
        if rng.bool() {
            config.token = Token::Provider;
        }
        if profile.small_windows {
            config.inbox = Window { connection: 4000, channel: 1500 };
        }
        if rng.f64() < 0.2 {
            config.rate_limit = Some(20);
        }
        Self {
            index,
            session: Session::new(config, now, rng.u64(..)).unwrap(),
            link: None,
            asleep_until: 0,
            slow: rng.f64() < profile.slow_share,
            unconsumed: VecDeque::new(),
            names: HashMap::new(),
            next: 0,
        }
    }

    /// Does one thing that applications do.
    pub(crate) fn act(&mut self, now: Timestamp, channels: usize, rng: &mut fastrand::Rng, checker: &mut Checker) {
        let channel = rng.usize(0..channels);
        let id = self.session.subscribe_name(channel);
        self.names.insert(id, channel);
        match rng.u32(0..100) {
            0..8 => {
                self.session.subscribe(now, &name(channel)).unwrap();
                checker.subscribed(self.index, channel);
            }
            8..10 => {
                self.session.unsubscribe(now, id);
                checker.unsubscribed(self.index, channel);
            }
            10..11 => self.session.connect(now),
            _ => {
                for _ in 0..rng.u32(1..6) {
                    self.publish(now, id, channel, rng, checker);
                }
            }
        }
    }

    fn publish(
        &mut self,
        now: Timestamp,
        id: ChannelId,
        channel: usize,
        rng: &mut fastrand::Rng,
        checker: &mut Checker,
    ) {
        self.next += 1;
        let text =
            format!("{{\"c\":{},\"n\":{},\"pad\":\"{}\"}}", self.index, self.next, "x".repeat(rng.usize(0..100)));
        let payload = if rng.u32(0..10) == 0 { Data::Binary(Bytes::from(text)) } else { Data::Json(Bytes::from(text)) };
        let Some(permit) = self.session.budget().reserve(payload.bytes().len()) else { return };
        let request = RequestId(self.next);
        self.session.publish(now, request, id, "e".into(), payload, permit).unwrap();
        checker.published(self.index, self.next, channel);
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
    pub(crate) fn drain(&mut self, checker: &mut Checker) -> Vec<Output> {
        let mut network = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Event(event) => self.event(event, checker),
                other => network.push(other),
            }
        }
        network
    }

    fn event(&mut self, event: Event, checker: &mut Checker) {
        match event {
            Event::Message(message) => {
                self.unconsumed.push_back((Some(message.channel), message.size));
                let epoch = self.session.position(message.channel).map(|position| position.epoch.clone());
                checker.delivered(
                    self.index,
                    self.names[&message.channel],
                    epoch.as_deref().unwrap_or_default(),
                    message.offset.unwrap(),
                    message.payload.bytes(),
                );
            }
            Event::Direct(message) => self.unconsumed.push_back((None, message.size)),
            Event::Gap(gap) => checker.gap(self.index, self.names[&gap.channel], &gap),
            Event::Receipt(receipt) => {
                let epoch = receipt.epoch.as_ref().map(|epoch| epoch.as_str()).unwrap_or_default();
                checker.receipt(self.index, receipt.request.0, epoch, receipt.offset.unwrap());
            }
            Event::SendFailed { request, error } => checker.failed(self.index, request.0, error.code()),
            _ => {}
        }
        checker.memory(self.index, &self.session.stats());
    }
}

pub(crate) fn name(channel: usize) -> String {
    format!("channel-{channel}")
}

trait Names {
    fn subscribe_name(&mut self, channel: usize) -> ChannelId;
}

impl Names for Session {
    fn subscribe_name(&mut self, channel: usize) -> ChannelId {
        self.channel(&name(channel)).unwrap()
    }
}
