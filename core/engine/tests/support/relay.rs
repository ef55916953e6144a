//! Several sessions over a relay that only hands messages on, in virtual time; lines are cut, and messages lost, from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::{CloseCode, Frame};
use realtime_engine::{
    Attempt, Change, ChannelId, Config, Event, Input, OpenError, Output, RequestId, Session, Timestamp,
};
use serde_json::Value;

/// How the backend behaves.
#[derive(Clone, Copy)]
pub struct Relay {
    /// Messages go back to their sender too.
    pub echo: bool,
    /// Messages say of which channel they are.
    pub stamps: bool,
    /// How many of a thousand messages are lost.
    pub loss: u64,
}

impl Default for Relay {
    fn default() -> Self {
        Self { echo: false, stamps: true, loss: 0 }
    }
}

pub struct Node {
    pub session: Session,
    /// How far its clock is off, in milliseconds.
    skew: i64,
    attempt: Attempt,
    open: bool,
    /// The line is there.
    up: bool,
    channels: BTreeSet<String>,
    /// When it is to be called, in milliseconds.
    deadline: Option<u64>,
    /// When the last message to it arrives: none overtakes.
    last: u64,
    pub users: BTreeMap<String, Value>,
    /// `+key`, `~key`, `-key` and `sync`.
    pub told: Vec<String>,
    pub data: BTreeMap<String, String>,
    versions: BTreeMap<String, u64>,
    pub events: Vec<Event>,
    requests: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Opens,
    Arrives(Bytes),
}

/// When, in which order, to which node and attempt.
type Later = (u64, u64, usize, u32, Happens);

pub struct Net {
    pub relay: Relay,
    pub nodes: Vec<Node>,
    /// Milliseconds.
    pub now: u64,
    queue: BinaryHeap<Reverse<Later>>,
    number: u64,
    seed: u64,
    /// Channel messages that clients sent, by event.
    pub sent: BTreeMap<String, u64>,
    /// The largest of them.
    pub largest: usize,
}

impl Net {
    pub fn new(relay: Relay, seed: u64) -> Self {
        let (now, queue) = (1_700_000_000_000, BinaryHeap::new());
        Self { relay, nodes: vec![], now, queue, number: 0, seed, sent: BTreeMap::new(), largest: 0 }
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33) % below
    }

    /// A client whose clock is off by so many milliseconds.
    pub fn join(&mut self, skew: i64) -> usize {
        let seed = self.nodes.len() as u64 + 1000 * self.random(1 << 20);
        let mut config = Config::new("ws://relay.test");
        config.protocol = realtime_engine::Protocol::Plain;
        let at = Timestamp::from_millis(self.now.saturating_add_signed(skew));
        self.nodes.push(Node {
            session: Session::new(config, at, seed).unwrap(),
            skew,
            attempt: Attempt(0),
            open: false,
            up: true,
            channels: BTreeSet::new(),
            deadline: None,
            last: 0,
            users: BTreeMap::new(),
            told: vec![],
            data: BTreeMap::new(),
            versions: BTreeMap::new(),
            events: vec![],
            requests: 0,
        });
        let node = self.nodes.len() - 1;
        self.call(node, |session, now| session.connect(now));
        node
    }

    pub fn call<T>(&mut self, node: usize, call: impl FnOnce(&mut Session, Timestamp) -> T) -> T {
        let at = self.time_of(node);
        let result = call(&mut self.nodes[node].session, at);
        self.drain(node);
        result
    }

    pub fn request(&mut self, node: usize) -> RequestId {
        self.nodes[node].requests += 1;
        RequestId(self.nodes[node].requests)
    }

    /// The line is cut, and stays so.
    pub fn cut(&mut self, node: usize) {
        self.nodes[node].up = false;
        self.nodes[node].channels.clear();
        if std::mem::take(&mut self.nodes[node].open) {
            let attempt = self.nodes[node].attempt;
            self.input(node, Input::Closed { attempt, code: None, reason: "cut".into() });
        }
    }

    pub fn restore(&mut self, node: usize) {
        self.nodes[node].up = true;
    }

    /// The clock of a client jumps ahead.
    pub fn jump(&mut self, node: usize, ahead: i64) {
        self.nodes[node].skew += ahead;
        self.input(node, Input::Tick);
    }

    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration.as_millis() as u64;
        loop {
            let deadlines =
                self.nodes.iter().enumerate().filter_map(|(at, node)| Some((node.deadline?.max(self.now), at)));
            let deadline = deadlines.min();
            let arrival = self.queue.peek().map(|next| next.0.0);
            let due = arrival.filter(|at| deadline.is_none_or(|(deadline, _)| *at <= deadline));
            match (due, deadline) {
                (Some(at), _) if at <= end => {
                    self.now = self.now.max(at);
                    let Some(Reverse((_, _, node, attempt, what))) = self.queue.pop() else { break };
                    self.happens(node, Attempt(attempt), what);
                }
                (None, Some((at, node))) if at <= end => {
                    self.now = at;
                    self.input(node, Input::Tick);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn happens(&mut self, node: usize, attempt: Attempt, what: Happens) {
        if self.nodes[node].attempt != attempt {
            return;
        }
        match what {
            Happens::Opens if self.nodes[node].up => {
                self.nodes[node].open = true;
                self.input(node, Input::Opened { attempt, protocol: None });
            }
            Happens::Opens => {
                let error = OpenError::Unreachable("cut".into());
                self.input(node, Input::OpenFailed { attempt, error });
            }
            Happens::Arrives(bytes) if self.nodes[node].open => {
                self.input(node, Input::Frame { attempt, frame: Frame::Text(bytes) });
            }
            Happens::Arrives(_) => {}
        }
    }

    fn time_of(&self, node: usize) -> Timestamp {
        Timestamp::from_millis(self.now.saturating_add_signed(self.nodes[node].skew))
    }

    fn input(&mut self, node: usize, input: Input) {
        self.call(node, |session, now| session.handle(now, input));
    }

    fn later(&mut self, wait: u64, node: usize, what: Happens) {
        self.number += 1;
        let at = (self.now + wait).max(self.nodes[node].last);
        self.nodes[node].last = at;
        let attempt = self.nodes[node].attempt.0;
        self.queue.push(Reverse((at, self.number, node, attempt, what)));
    }

    fn drain(&mut self, node: usize) {
        let mut sent = false;
        loop {
            let Some(output) = self.nodes[node].session.poll() else {
                if !std::mem::take(&mut sent) {
                    let node = &mut self.nodes[node];
                    let deadline = node.session.deadline().map(|at| at.as_micros().div_ceil(1000));
                    node.deadline = deadline.map(|at| at.saturating_add_signed(-node.skew));
                    return;
                }
                let (at, attempt) = (self.time_of(node), self.nodes[node].attempt);
                self.nodes[node].session.handle(at, Input::Flushed { attempt });
                continue;
            };
            match output {
                Output::Open(open) => {
                    self.nodes[node].attempt = open.attempt;
                    self.later(5, node, Happens::Opens);
                }
                Output::Send { frame: Frame::Text(bytes), .. } => {
                    sent = true;
                    self.relayed(node, &bytes);
                }
                Output::Send { .. } => sent = true,
                Output::Close { .. } => {
                    self.nodes[node].open = false;
                    self.nodes[node].channels.clear();
                }
                Output::Event(event) => self.told(node, event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What the relay does.
    fn relayed(&mut self, from: usize, frame: &[u8]) {
        let message: Value = serde_json::from_slice(frame).unwrap();
        let payload = &message["payload"];
        let channel = payload["channel"].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str() {
            Some("subscribe") => drop(self.nodes[from].channels.insert(channel)),
            Some("unsubscribe") => drop(self.nodes[from].channels.remove(&channel)),
            Some("channel_message") => {
                *self.sent.entry(payload["event"].as_str().unwrap().to_owned()).or_default() += 1;
                self.largest = self.largest.max(frame.len());
                let stamp = if self.relay.stamps { format!(r#","channel":"{channel}""#) } else { String::new() };
                // The bytes as they are: `Value` would sort the keys.
                let text = std::str::from_utf8(frame).unwrap();
                let start = text.find(r#","payload":"#).unwrap() + 1;
                let inner = &text[start..][text[start..].find(r#","payload":"#).unwrap() + 11..];
                let body = &inner[..inner.rfind(r#"},"timestamp""#).unwrap()];
                let out = format!(r#"{{"type":{},"payload":{body},"timestamp":1{stamp}}}"#, payload["event"]);
                for node in 0..self.nodes.len() {
                    let subscribed = self.nodes[node].channels.contains(&channel);
                    let lost = self.random(1000) < self.relay.loss;
                    if subscribed && (node != from || self.relay.echo) && !lost {
                        let wait = 1 + self.random(20);
                        self.later(wait, node, Happens::Arrives(Bytes::copy_from_slice(out.as_bytes())));
                    }
                }
            }
            Some("ping") => {
                let pong = Bytes::from_static(br#"{"type":"pong","timestamp":1}"#);
                self.later(1, from, Happens::Arrives(pong));
            }
            _ => {}
        }
    }

    fn told(&mut self, node: usize, event: Event) {
        let at = self.time_of(node);
        match &event {
            Event::Presence(change) => {
                let lists: Value = serde_json::from_slice(&change.json).unwrap();
                let node = &mut self.nodes[node];
                for (list, sign) in [("join", '+'), ("update", '~'), ("leave", '-')] {
                    for user in lists[list].as_array().unwrap() {
                        let key = user["id"].as_str().unwrap().to_owned();
                        node.told.push(format!("{sign}{key}"));
                        let before = match sign {
                            '-' => node.users.remove(&key),
                            _ => node.users.insert(key, user.clone()),
                        };
                        assert_eq!(before.is_some(), sign != '+', "{lists}");
                    }
                }
                if lists["sync"] == true {
                    node.told.push("sync".into());
                }
                node.session.consumed(at, Some(change.presence), change.size);
            }
            Event::Change(change) => {
                self.apply(node, change);
                self.nodes[node].session.consumed(at, Some(change.collection), change.size);
            }
            _ => {}
        }
        self.nodes[node].events.push(event);
    }

    /// What a package does with a change.
    pub fn apply(&mut self, node: usize, change: &Change) {
        let node = &mut self.nodes[node];
        let last = node.versions.entry(change.key.to_string()).or_default();
        if change.version > *last {
            *last = change.version;
            match &change.record {
                Some(record) => {
                    node.data.insert(change.key.to_string(), String::from_utf8(record.to_vec()).unwrap());
                }
                None => drop(node.data.remove(change.key.as_str())),
            }
        }
    }

    pub fn presence(&mut self, node: usize) -> ChannelId {
        self.nodes[node].session.presence("room").unwrap()
    }

    pub fn errors(&self, node: usize) -> Vec<&'static str> {
        let errors = self.nodes[node].events.iter().filter_map(|event| match event {
            Event::Error(error) if error.kind != realtime_engine::ErrorKind::ConnectFailed => Some(error.code()),
            _ => None,
        });
        errors.collect()
    }

    pub fn is_closed(&self, node: usize) -> bool {
        self.nodes[node]
            .events
            .iter()
            .any(|event| matches!(event, Event::Close { code, .. } if *code == CloseCode::NORMAL))
    }
}
