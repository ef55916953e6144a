//! Sessions against the hub: collections and presence with cuts, small histories and small windows, in seeded random order.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::{Frame, PresenceStatus, Window};
use realtime_engine::{
    Attempt, ChannelId, Config, Event, Input, Mutation, Output, RequestId, Session, Status, Timestamp,
};
use realtime_server::hub::{self, ConnectionId, Dialect, Hub, HubConfig};
use serde_json::Value;

const KEYS: [&str; 4] = ["a", "b", "__proto__", "d"];

/// An application: what it sees by its events, and what it waits for.
struct Client {
    session: Session,
    attempt: Attempt,
    connection: Option<ConnectionId>,
    /// Frames on their way to the server.
    up: VecDeque<Frame>,
    tasks: ChannelId,
    presence: ChannelId,
    data: BTreeMap<String, String>,
    versions: BTreeMap<String, u64>,
    users: BTreeMap<String, Value>,
    requests: u64,
    open: BTreeSet<u64>,
    diverged: u64,
}

struct World {
    now: u64,
    hub: Hub,
    connections: u64,
    clients: Vec<Client>,
    rng: fastrand::Rng,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut config = HubConfig::default();
        config.history.messages = 8;
        config.presence.interval = Duration::from_millis(50);
        let mut world = Self {
            now: 1_700_000_000_000,
            hub: Hub::new(config, seed),
            connections: 0,
            clients: vec![],
            rng: fastrand::Rng::with_seed(seed),
        };
        for at in 0..3 {
            let mut config = Config::new("ws://hub");
            config.inbox = Window { connection: 4000, channel: 1500 };
            let mut session = Session::new(config, world.time(), seed * 10 + at).unwrap();
            let (tasks, presence) = (session.collection("room", "tasks").unwrap(), session.presence("room").unwrap());
            session.watch(world.time(), tasks);
            session.watch(world.time(), presence);
            session.connect(world.time());
            world.clients.push(Client {
                session,
                attempt: Attempt(0),
                connection: None,
                up: VecDeque::new(),
                tasks,
                presence,
                data: BTreeMap::new(),
                versions: BTreeMap::new(),
                users: BTreeMap::new(),
                requests: 0,
                open: BTreeSet::new(),
                diverged: 0,
            });
            world.settle(at as usize);
        }
        world
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// Does what a session wants done.
    fn settle(&mut self, at: usize) {
        let now = self.time();
        loop {
            let client = &mut self.clients[at];
            let Some(output) = client.session.poll() else { return };
            match output {
                Output::Open(open) => {
                    self.connections += 1;
                    let connection = ConnectionId(self.connections);
                    (client.attempt, client.connection) = (open.attempt, Some(connection));
                    self.hub.handle(self.now, hub::Input::Opened { connection, dialect: Dialect::V1, identity: None });
                    let protocol = Some("realtime.v1".to_owned());
                    client.session.handle(now, Input::Opened { attempt: open.attempt, protocol });
                }
                Output::Send { frame, .. } => client.up.push_back(frame),
                Output::Event(event) => client.event(now, event),
                _ => {}
            }
        }
    }

    fn up(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let (Some(connection), Some(frame)) = (client.connection, client.up.pop_front()) else { return false };
        self.hub.handle(self.now, hub::Input::Frame { connection, frame });
        true
    }

    fn down(&mut self, at: usize) -> bool {
        let Some(connection) = self.clients[at].connection else { return false };
        while self.hub.poll().is_some() {}
        let mut frames = Vec::new();
        self.hub.pull(self.now, connection, &mut frames);
        let moved = !frames.is_empty();
        for frame in frames {
            let attempt = self.clients[at].attempt;
            self.clients[at].session.handle(Timestamp::from_millis(self.now), Input::Frame { attempt, frame });
        }
        self.settle(at);
        moved
    }

    fn cut(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(connection) = client.connection.take() else { return };
        client.up.clear();
        self.hub.handle(self.now, hub::Input::Closed { connection });
        let attempt = client.attempt;
        let closed = Input::Closed { attempt, code: None, reason: String::new() };
        client.session.handle(Timestamp::from_millis(self.now), closed);
        self.settle(at);
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.hub.handle(self.now, hub::Input::Tick);
        for at in 0..self.clients.len() {
            self.clients[at].session.handle(Timestamp::from_millis(self.now), Input::Tick);
            self.settle(at);
        }
    }

    fn mutate(&mut self, at: usize) {
        let (now, key) = (self.time(), KEYS[self.rng.usize(0..KEYS.len())]);
        let number = self.rng.u8(0..6);
        let record = format!(r#"{{"id":"{key}","n":{number}}}"#);
        let patch = format!(r#"{{"f{}":{number},"": null}}"#, self.rng.u8(0..3));
        let mutation = match self.rng.u8(0..10) {
            0..=3 => Mutation::Insert { record: record.as_bytes() },
            4..=7 => Mutation::Update { key, patch: patch.as_bytes() },
            _ => Mutation::Remove { key },
        };
        let revision = (self.rng.u8(0..8) == 0).then(|| self.rng.u64(0..20));
        let revision = revision.filter(|_| !matches!(mutation, Mutation::Insert { .. }));
        let client = &mut self.clients[at];
        client.requests += 1;
        let request = RequestId(client.requests);
        if let Ok(change) = client.session.mutate(now, request, client.tasks, mutation, revision) {
            client.open.insert(request.0);
            client.apply(&change);
        }
        self.settle(at);
    }

    fn track(&mut self, at: usize) {
        let (now, number) = (self.time(), self.rng.u8(0..4));
        let client = &mut self.clients[at];
        client.requests += 1;
        let request = RequestId(client.requests);
        client.open.insert(request.0);
        let state = format!(r#"{{"n":{number}}}"#);
        let key = format!("user {}", at % 2);
        match number {
            0 => client.session.untrack(now, request, client.presence).unwrap(),
            _ => {
                let presence = client.presence;
                client
                    .session
                    .track(now, request, presence, Some(&key), PresenceStatus::Online, state.as_bytes())
                    .unwrap();
            }
        }
        self.settle(at);
    }

    fn step(&mut self) {
        let at = self.rng.usize(0..self.clients.len());
        match self.rng.u8(0..20) {
            0..=4 => self.mutate(at),
            5 => self.track(at),
            6..=10 => drop(self.up(at)),
            11..=16 => drop(self.down(at)),
            17 => self.cut(at),
            _ => {
                let millis = self.rng.u64(0..4000);
                self.pass(millis);
            }
        }
    }

    fn come_to_rest(&mut self) {
        // Longer than any backoff, window of a line, or grace period.
        for _ in 0..200 {
            self.pass(500);
            while (0..self.clients.len()).any(|at| self.up(at) | self.down(at)) {}
        }
    }
}

impl Client {
    fn event(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Change(change) => {
                self.apply(&change);
                self.session.consumed(now, Some(change.collection), change.size);
            }
            Event::Presence(change) => {
                let json: Value = serde_json::from_slice(&change.json).unwrap();
                for user in json["join"].as_array().unwrap() {
                    let before = self.users.insert(user["id"].as_str().unwrap().into(), user.clone());
                    assert!(before.is_none(), "joined twice: {user}");
                }
                for user in json["update"].as_array().unwrap() {
                    let before = self.users.insert(user["id"].as_str().unwrap().into(), user.clone());
                    assert!(before.is_some_and(|before| before != *user), "updated without a change: {user}");
                }
                for user in json["leave"].as_array().unwrap() {
                    assert!(self.users.remove(user["id"].as_str().unwrap()).is_some(), "left twice: {user}");
                }
                self.session.consumed(now, Some(change.presence), change.size);
            }
            Event::Receipt(receipt) => assert!(self.open.remove(&receipt.request.0), "{receipt:?}"),
            Event::SendFailed { request, error } => assert!(self.open.remove(&request.0), "{request:?} {error:?}"),
            Event::Diverged { .. } => self.diverged += 1,
            Event::Error(error) => assert_ne!(error.code(), "protocol_error", "{error:?}"),
            _ => {}
        }
    }

    fn apply(&mut self, change: &realtime_engine::Change) {
        let last = self.versions.entry(change.key.to_string()).or_default();
        if change.version > *last {
            *last = change.version;
            let text = |record: &Bytes| String::from_utf8(record.to_vec()).unwrap();
            match &change.record {
                Some(record) => drop(self.data.insert(change.key.to_string(), text(record))),
                None => drop(self.data.remove(&*change.key)),
            }
        }
    }
}

#[test]
fn replicas_and_members_end_as_the_hub_has_them() {
    let mut changes = 0;
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        world.come_to_rest();
        let records: BTreeMap<String, String> = world
            .hub
            .records("room", "tasks")
            .into_iter()
            .map(|row| (row.key.to_string(), String::from_utf8(row.record.to_vec()).unwrap()))
            .collect();
        let mut connections: BTreeMap<String, u64> = BTreeMap::new();
        for member in world.hub.members("room") {
            *connections.entry(member.key.to_string()).or_default() += 1;
        }
        for client in &world.clients {
            assert_eq!(client.session.status(), Status::Connected, "seed {seed}");
            assert_eq!(client.data, records, "seed {seed}");
            assert!(client.open.is_empty(), "seed {seed}: {:?} have no end", client.open);
            assert_eq!(client.diverged, 0, "seed {seed}");
            let seen: BTreeMap<String, u64> =
                client.users.iter().map(|(key, user)| (key.clone(), user["connections"].as_u64().unwrap())).collect();
            assert_eq!(seen, connections, "seed {seed}");
            let own = client.users.values().filter(|user| user["self"] == true).count();
            assert_eq!(own, usize::from(client.session.tracked(client.presence).is_some()), "seed {seed}");
            assert_eq!(client.session.stats().unconsumed_bytes, 0, "seed {seed}");
            changes += client.versions.values().sum::<u64>();
        }
    }
    assert!(changes > 10_000, "{changes}");
}
