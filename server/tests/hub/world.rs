//! A hub with clients that are plain queues, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use realtime_engine::wire::{Frame, lines};
use realtime_server::Identity;
use realtime_server::hub::{Batch, ConnectionId, Dialect, Hub, HubConfig, Input, Output, Record};
use serde_json::{Value, json};

pub struct World {
    pub hub: Hub,
    pub now: u64,
    /// Frames as they went out.
    pub frames: BTreeMap<ConnectionId, VecDeque<Frame>>,
    pub closed: BTreeMap<ConnectionId, u16>,
    /// Outputs for the application.
    pub sent: Vec<Output>,
    /// What the hub wants to be on disk.
    pub unwritten: VecDeque<Arc<Batch>>,
    /// What is on disk.
    pub disk: BTreeMap<u64, Record>,
    /// Sockets that take nothing.
    stuck: BTreeSet<ConnectionId>,
    waiting: BTreeSet<ConnectionId>,
    told_blocked: BTreeSet<ConnectionId>,
    next: u64,
}

impl World {
    pub fn new(config: HubConfig) -> Self {
        Self::with_hub(Hub::new(config, 42), 1_000_000, BTreeMap::new())
    }

    /// A hub that keeps what it has to on a disk that only [`write`](Self::write) writes to.
    pub fn durable(config: HubConfig) -> Self {
        Self::on_disk(config, 42, 1_000_000, BTreeMap::new())
    }

    /// Crashes, and starts again with what was on disk.
    pub fn crash(self, seed: u64) -> Self {
        Self::on_disk(self.hub.config().clone(), seed, self.now, self.disk)
    }

    fn on_disk(config: HubConfig, seed: u64, now: u64, disk: BTreeMap<u64, Record>) -> Self {
        let mut restore = Hub::restore(config, seed, now);
        for (number, record) in &disk {
            restore.record(*number, record.clone()).unwrap();
        }
        let mut world = Self::with_hub(restore.finish(), now, disk);
        world.settle();
        world
    }

    fn with_hub(hub: Hub, now: u64, disk: BTreeMap<u64, Record>) -> Self {
        Self {
            hub,
            now,
            unwritten: VecDeque::new(),
            disk,
            frames: BTreeMap::new(),
            closed: BTreeMap::new(),
            sent: Vec::new(),
            stuck: BTreeSet::new(),
            waiting: BTreeSet::new(),
            told_blocked: BTreeSet::new(),
            next: 1,
        }
    }

    pub fn open(&mut self, dialect: Dialect, identity: Option<Identity>) -> ConnectionId {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.input(Input::Opened { connection, dialect, identity });
        connection
    }

    /// Opens a connection that has said hello and read its welcome.
    pub fn v1(&mut self, session: &str) -> ConnectionId {
        self.v1_with(session, json!({}))
    }

    pub fn v1_with(&mut self, session: &str, more: Value) -> ConnectionId {
        let client = self.open(Dialect::V1, None);
        let mut hello = json!({"type": "hello", "session": format!("{session:_<24}")});
        hello.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.say(client, hello);
        let welcome = self.hear(client);
        assert_eq!(welcome[0]["type"], "welcome", "{welcome:?}");
        client
    }

    pub fn plain(&mut self) -> ConnectionId {
        self.open(Dialect::Plain, None)
    }

    pub fn say(&mut self, connection: ConnectionId, message: Value) {
        self.say_text(connection, &message.to_string());
    }

    pub fn say_text(&mut self, connection: ConnectionId, text: &str) {
        self.input(Input::Frame { connection, frame: Frame::Text(text.to_owned().into()) });
    }

    pub fn say_binary(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.input(Input::Frame { connection, frame: Frame::Binary(bytes.to_vec().into()) });
    }

    /// Says something and returns what came back meanwhile.
    pub fn ask(&mut self, connection: ConnectionId, message: Value) -> Vec<Value> {
        self.hear(connection);
        self.say(connection, message);
        self.hear(connection)
    }

    pub fn subscribe(&mut self, connection: ConnectionId, channel: &str) -> Value {
        let answer = self.ask(connection, json!({"type": "subscribe", "id": 900, "channel": channel}));
        assert_eq!(answer[0]["type"], "subscribed", "{answer:?}");
        answer[0].clone()
    }

    pub fn publish(&mut self, connection: ConnectionId, id: u64, channel: &str) -> Value {
        let answer =
            self.ask(connection, json!({"type": "publish", "id": id, "channel": channel, "event": "e", "payload": id}));
        answer.into_iter().find(|message| message["id"] == id).expect("an answer")
    }

    /// Publishes several; all of them must be taken.
    pub fn publish_all(&mut self, connection: ConnectionId, ids: impl IntoIterator<Item = u64>, channel: &str) {
        for id in ids {
            assert_eq!(self.publish(connection, id, channel)["type"], "receipt");
        }
    }

    /// All JSON messages that came since the last time.
    pub fn hear(&mut self, connection: ConnectionId) -> Vec<Value> {
        let frames = self.frames.remove(&connection).unwrap_or_default();
        let json = frames.into_iter().flat_map(|frame| match frame {
            Frame::Text(bytes) => {
                lines(&bytes).map(|line| serde_json::from_slice(line).unwrap()).collect::<Vec<Value>>()
            }
            Frame::Binary(bytes) => match bytes.first() {
                Some(b'{') => lines(&bytes).map(|line| serde_json::from_slice(line).unwrap()).collect(),
                _ => vec![json!({"type": "binary", "bytes": bytes.to_vec()})],
            },
            _ => Vec::new(),
        });
        json.collect()
    }

    /// The same as lines, byte for byte.
    pub fn hear_lines(&mut self, connection: ConnectionId) -> Vec<Vec<u8>> {
        let frames = self.frames.remove(&connection).unwrap_or_default();
        let split = |frame| match frame {
            Frame::Text(bytes) | Frame::Binary(bytes) => lines(&bytes).map(<[u8]>::to_vec).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        frames.into_iter().flat_map(split).collect()
    }

    /// Offsets of the messages that came, and gaps as (from, to).
    pub fn hear_offsets(&mut self, connection: ConnectionId) -> (Vec<u64>, Vec<(u64, u64)>) {
        let (mut offsets, mut gaps) = (Vec::new(), Vec::new());
        for message in self.hear(connection) {
            match message["type"].as_str().unwrap() {
                "message" => offsets.push(message["offset"].as_u64().unwrap()),
                "gap" => gaps.push((message["from"].as_u64().unwrap(), message["to"].as_u64().unwrap())),
                _ => {}
            }
        }
        (offsets, gaps)
    }

    /// Writes the oldest of what the hub wants to be on disk, and says so.
    pub fn write(&mut self, count: usize) {
        let Some(up_to) = self.write_unheard(count) else { return };
        self.input(Input::Persisted { up_to });
    }

    /// Writes until the hub wants nothing more.
    pub fn write_all(&mut self) {
        while !self.unwritten.is_empty() {
            self.write(usize::MAX);
        }
    }

    /// Writes, and does not come to say so.
    pub fn write_unheard(&mut self, count: usize) -> Option<u64> {
        let mut last = None;
        for _ in 0..count {
            let Some(batch) = self.unwritten.pop_front() else { break };
            for (number, change) in &batch.changes {
                match change {
                    Some(record) => drop(self.disk.insert(*number, record.clone())),
                    None => drop(self.disk.remove(number)),
                }
            }
            last = Some(batch.number);
        }
        last
    }

    /// The disk refuses.
    pub fn fail(&mut self) {
        self.unwritten.clear();
        self.input(Input::PersistFailed);
    }

    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.input(Input::Closed { connection });
        self.frames.remove(&connection);
    }

    /// The socket takes nothing from now on.
    pub fn stick(&mut self, connection: ConnectionId) {
        self.stuck.insert(connection);
    }

    pub fn unstick(&mut self, connection: ConnectionId) {
        self.stuck.remove(&connection);
        self.told_blocked.remove(&connection);
        self.input(Input::Unblocked { connection });
    }

    pub fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.hub.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
            assert!(self.hub.deadline().is_none_or(|next| next > self.now), "a deadline that stays due");
        }
        self.now = end;
        self.input(Input::Tick);
    }

    pub fn input(&mut self, input: Input) {
        self.hub.handle(self.now, input);
        self.settle();
    }

    /// Does what the hub wants until it wants nothing more.
    pub fn settle(&mut self) {
        loop {
            while let Some(output) = self.hub.poll() {
                match output {
                    Output::Ready(connection) => assert!(self.waiting.insert(connection), "said twice"),
                    Output::Close { connection, code, .. } => {
                        self.pull(connection);
                        self.waiting.remove(&connection);
                        self.closed.insert(connection, code.0);
                    }
                    Output::Persist(batch) => self.unwritten.push_back(batch),
                    sent => self.sent.push(sent),
                }
            }
            let Some(&connection) = self.waiting.iter().find(|connection| !self.stuck.contains(connection)) else {
                break;
            };
            self.waiting.remove(&connection);
            if self.pull(connection) {
                self.waiting.insert(connection);
            }
        }
        for connection in self.waiting.clone() {
            let stuck = self.stuck.contains(&connection);
            if stuck && !self.closed.contains_key(&connection) && self.told_blocked.insert(connection) {
                self.hub.handle(self.now, Input::Blocked { connection });
            }
        }
    }

    fn pull(&mut self, connection: ConnectionId) -> bool {
        let mut frames = Vec::new();
        let more = self.hub.pull(self.now, connection, &mut frames);
        self.frames.entry(connection).or_default().extend(frames);
        more
    }
}
