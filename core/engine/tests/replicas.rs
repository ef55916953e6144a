//! Sessions against a model of a server, with mutations, changes, receipts, disconnects, evictions and restarts in random order.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use realtime_engine::wire::{Digest, Frame, Record, lines};
use realtime_engine::{Change, ChannelId, Event, Mutation, RequestId};
use serde_json::Value;
use support::{Bench, config};

/// A server of one collection: the rules of section 14 of the specification, as short as they can be.
#[derive(Default)]
struct Server {
    epoch: u32,
    /// Records and their revisions.
    records: BTreeMap<String, (String, u64)>,
    /// The line of each change, from offset `evicted + 1` on.
    log: VecDeque<String>,
    evicted: u64,
    /// By session: the answer to each of its mutations.
    answers: Vec<BTreeMap<u64, String>>,
    connections: Vec<Connection>,
}

#[derive(Default)]
struct Connection {
    open: bool,
    answers: VecDeque<String>,
    /// What was sent last, where it is subscribed.
    cursor: Option<u64>,
    /// The next page, and the key that it begins behind.
    page: Option<(u64, Option<String>)>,
    digest: bool,
}

impl Server {
    fn offset(&self) -> u64 {
        self.evicted + self.log.len() as u64
    }

    fn epoch(&self) -> String {
        format!("epoch {}", self.epoch)
    }

    fn hear(&mut self, client: usize, message: &Value) {
        let answer = match message["type"].as_str().unwrap() {
            "subscribe" => self.subscribe(client, message),
            "mutate" => {
                let id = message["id"].as_u64().unwrap();
                match self.answers[client].get(&id) {
                    Some(answer) => answer.clone(),
                    None => {
                        let last = self.answers[client].keys().next_back().copied().unwrap_or_default();
                        assert!(self.epoch > 0 || id == last + 1, "{id} after {last}");
                        let answer = self.mutate(id, message);
                        self.answers[client].insert(id, answer.clone());
                        answer
                    }
                }
            }
            _ => return,
        };
        self.connections[client].answers.push_back(answer);
    }

    fn subscribe(&mut self, client: usize, message: &Value) -> String {
        let (id, epoch, end) = (&message["id"], self.epoch(), self.offset());
        let since = message["since"]["offset"].as_u64();
        let recovered = since
            .is_some_and(|since| message["since"]["epoch"] == epoch.as_str() && (self.evicted..=end).contains(&since));
        let offset = if recovered { since.unwrap() } else { end };
        let connection = &mut self.connections[client];
        connection.cursor = Some(offset);
        connection.page = (!recovered).then_some((0, None));
        connection.digest = true;
        let recovered = since.map_or(String::new(), |_| format!(r#","recovered":{recovered}"#));
        format!(
            r#"{{"type":"subscribed","id":{id},"channel":"room","collection":"tasks","epoch":"{epoch}","offset":{offset}{recovered}}}"#
        )
    }

    fn mutate(&mut self, id: u64, message: &Value) -> String {
        let key = message["key"].as_str().unwrap().to_owned();
        let current = self.records.get(&key).cloned();
        let payload = message["payload"].to_string();
        let receipt = |offset: u64, duplicate: &str, epoch: String| {
            format!(r#"{{"type":"receipt","id":{id},"epoch":"{epoch}","offset":{offset}{duplicate}}}"#)
        };
        let refuse = |code: &str| format!(r#"{{"type":"error","code":"{code}","message":"no","id":{id}}}"#);
        let unchanged = |revision: u64| receipt(revision, r#","duplicate":true"#, self.epoch());
        if message["if_revision"]
            .as_u64()
            .is_some_and(|wanted| current.as_ref().map(|(_, revision)| *revision) != Some(wanted))
        {
            return refuse("conflict");
        }
        let op = message["op"].as_str().unwrap();
        let record = match (op, &current) {
            ("insert", Some((record, revision))) if *record == payload => return unchanged(*revision),
            ("insert", Some(_)) => return refuse("conflict"),
            ("insert", None) => Some(payload.clone()),
            ("update", None) => return refuse("not_found"),
            ("update", Some((record, _))) => {
                let mut record = Record::parse(record.as_bytes()).unwrap();
                record.patch(&Record::parse(payload.as_bytes()).unwrap());
                Some(String::from_utf8(record.encode()).unwrap())
            }
            ("remove", None) => return unchanged(self.offset()),
            _ => None,
        };
        let offset = self.offset() + 1;
        match record {
            Some(record) => drop(self.records.insert(key.clone(), (record, offset))),
            None => drop(self.records.remove(&key)),
        }
        let payload = if op == "remove" { String::new() } else { format!(r#","payload":{payload}"#) };
        self.log.push_back(format!(
            r#"{{"type":"change","channel":"room","collection":"tasks","op":"{op}","key":"{key}","offset":{offset},"timestamp":1{payload}}}"#
        ));
        receipt(offset, "", self.epoch())
    }

    /// The next line for a client: what the application of a socket with room pulls. `answers`: those first.
    fn pull(&mut self, client: usize, answers: bool) -> Option<String> {
        let (evicted, end, epoch) = (self.evicted, self.offset(), self.epoch());
        let connection = &mut self.connections[client];
        if !connection.open {
            return None;
        }
        // The answer to a subscribe comes before what it begins.
        let first = answers || connection.answers.iter().any(|answer| answer.contains("subscribed"));
        if let Some(answer) = first.then(|| connection.answers.pop_front()).flatten() {
            return Some(answer);
        }
        if let Some(cursor) = connection.cursor {
            if connection.page.is_none() && cursor < evicted {
                (connection.cursor, connection.page, connection.digest) = (Some(end), Some((0, None)), true);
            }
            let cursor = connection.cursor.unwrap();
            if let Some((part, after)) = connection.page.take() {
                let mut rest = self.records.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                let page: Vec<_> = rest.by_ref().take(2).collect();
                let last = rest.next().is_none();
                if !last {
                    connection.page = Some((part + 1, page.last().map(|(key, _)| (*key).clone())));
                }
                let records: Vec<_> = page
                    .iter()
                    .map(|(key, (record, revision))| {
                        format!(r#"{{"key":"{key}","revision":{revision},"record":{record}}}"#)
                    })
                    .collect();
                let end = if last { format!(r#","end":{end}"#) } else { String::new() };
                return Some(format!(
                    r#"{{"type":"snapshot","channel":"room","collection":"tasks","epoch":"{epoch}","offset":{cursor},"part":{part}{end},"records":[{}]}}"#,
                    records.join(",")
                ));
            }
            if cursor < end {
                connection.cursor = Some(cursor + 1);
                return Some(self.log[(cursor - evicted) as usize].clone());
            }
            if std::mem::take(&mut connection.digest) {
                let mut digest = Digest::default();
                self.records.iter().for_each(|(key, (record, _))| digest.add(key, record.as_bytes()));
                return Some(format!(
                    r#"{{"type":"digest","channel":"room","collection":"tasks","offset":{end},"records":{},"digest":"{digest}"}}"#,
                    digest.records
                ));
            }
        }
        connection.answers.pop_front()
    }

    /// It starts again, with other records.
    fn restart(&mut self) {
        self.epoch += 1;
        self.log.clear();
        self.evicted = 0;
        let mut revision = 0;
        self.records.retain(|key, (_, at)| {
            revision += 1;
            *at = revision;
            key != "b"
        });
        self.evicted = revision;
        self.answers.iter_mut().for_each(BTreeMap::clear);
        self.connections.iter_mut().for_each(|connection| *connection = Connection::default());
    }
}

/// An application: what it sees by its events, and what it waits for.
struct Client {
    bench: Bench,
    id: ChannelId,
    data: BTreeMap<String, String>,
    versions: BTreeMap<String, u64>,
    version: u64,
    requests: u64,
    open: BTreeSet<u64>,
    diverged: u64,
    synced: u64,
}

impl Client {
    fn new() -> Self {
        let mut bench = Bench::new(config());
        let id = bench.session.collection("room", "tasks").unwrap();
        bench.session.watch(bench.now, id);
        bench.connect();
        Self {
            bench,
            id,
            data: BTreeMap::new(),
            versions: BTreeMap::new(),
            version: 0,
            requests: 0,
            open: BTreeSet::new(),
            diverged: 0,
            synced: 0,
        }
    }

    fn mutate(&mut self, mutation: Mutation<'_>, if_revision: Option<u64>) {
        self.requests += 1;
        // What the view cannot have is refused at once, and changes nothing.
        if let Ok(change) =
            self.bench.session.mutate(self.bench.now, RequestId(self.requests), self.id, mutation, if_revision)
        {
            self.open.insert(self.requests);
            self.apply(&change);
        }
    }

    fn apply(&mut self, change: &Change) {
        let last = self.versions.entry(change.key.to_string()).or_default();
        if change.version > *last {
            *last = change.version;
            match &change.record {
                Some(record) => {
                    let record = String::from_utf8(record.to_vec()).unwrap();
                    self.data.insert(change.key.to_string(), record);
                }
                None => drop(self.data.remove(&*change.key)),
            }
        }
    }

    fn drain(&mut self) {
        self.bench.drain();
        for event in std::mem::take(&mut self.bench.events) {
            match event {
                Event::Change(change) => {
                    assert!(change.version > self.version, "{change:?}");
                    self.version = change.version;
                    self.apply(&change);
                    self.bench.session.consumed(self.bench.now, Some(self.id), change.size);
                }
                Event::Receipt(receipt) => assert!(self.open.remove(&receipt.request.0), "{receipt:?}"),
                Event::SendFailed { request, .. } => assert!(self.open.remove(&request.0), "{request:?}"),
                Event::Diverged { .. } => self.diverged += 1,
                Event::Synced { .. } => self.synced += 1,
                Event::Error(error) => panic!("{error:?}"),
                _ => {}
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, u8, u8),
    Update(usize, u8, u8, Option<u64>),
    Remove(usize, u8, Option<u64>),
    /// So many frames of a client reach the server.
    Up(usize, usize),
    /// So many lines of the server reach a client; the answers first or last.
    Down(usize, usize, bool),
    Cut(usize),
    Connect(usize),
    Evict(u64),
    Restart,
    Unwatch(usize),
    Watch(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..2usize;
    let revision = prop_oneof![4 => Just(None), 1 => (0..8u64).prop_map(Some)];
    prop_oneof![
        6 => (client.clone(), 0..3u8, 0..4u8).prop_map(|(client, key, value)| Step::Insert(client, key, value)),
        10 => (client.clone(), 0..3u8, 0..6u8, revision.clone()).prop_map(|(c, key, value, rev)| Step::Update(c, key, value, rev)),
        4 => (client.clone(), 0..3u8, revision).prop_map(|(client, key, revision)| Step::Remove(client, key, revision)),
        12 => (client.clone(), 1..4usize).prop_map(|(client, count)| Step::Up(client, count)),
        16 => (client.clone(), 1..6usize, any::<bool>()).prop_map(|(client, count, first)| Step::Down(client, count, first)),
        3 => client.clone().prop_map(Step::Cut),
        6 => client.clone().prop_map(Step::Connect),
        2 => (0..4u64).prop_map(Step::Evict),
        1 => Just(Step::Restart),
        1 => client.clone().prop_map(Step::Unwatch),
        2 => client.prop_map(Step::Watch),
    ]
}

struct World {
    server: Server,
    clients: Vec<Client>,
    up: Vec<VecDeque<Frame>>,
}

impl World {
    fn new() -> Self {
        let server = Server {
            answers: vec![BTreeMap::new(); 2],
            connections: (0..2).map(|_| Connection::default()).collect(),
            ..Server::default()
        };
        Self { server, clients: vec![Client::new(), Client::new()], up: vec![VecDeque::new(), VecDeque::new()] }
    }

    fn settle(&mut self, at: usize) {
        self.clients[at].drain();
        let frames = std::mem::take(&mut self.clients[at].bench.frames);
        if self.server.connections[at].open {
            self.up[at].extend(frames);
        }
    }

    fn run(&mut self, step: Step) {
        let key = |key: u8| ["a", "b", "c"][usize::from(key)];
        match step {
            Step::Insert(at, of, value) => {
                let record = format!(r#"{{"id":"{}","v":{value}}}"#, key(of));
                self.clients[at].mutate(Mutation::Insert { record: record.as_bytes() }, None);
                self.settle(at);
            }
            Step::Update(at, of, value, revision) => {
                let patch = ["{}", r#"{"v":9}"#, r#"{"x":1}"#, r#"{"y":1,"x":2}"#, r#"{"v":null}"#, r#"{"z":[]}"#];
                let patch = patch[usize::from(value)].as_bytes();
                self.clients[at].mutate(Mutation::Update { key: key(of), patch }, revision);
                self.settle(at);
            }
            Step::Remove(at, of, revision) => {
                self.clients[at].mutate(Mutation::Remove { key: key(of) }, revision);
                self.settle(at);
            }
            Step::Up(at, count) => {
                for _ in 0..count {
                    self.up(at);
                }
            }
            Step::Down(at, count, answers) => {
                for _ in 0..count {
                    self.down(at, answers);
                }
            }
            Step::Cut(at) => self.cut(at),
            Step::Connect(at) => self.connect(at),
            Step::Evict(count) => {
                for _ in 0..count {
                    self.server.evicted += u64::from(self.server.log.pop_front().is_some());
                }
            }
            Step::Restart => {
                (0..2).for_each(|at| self.cut(at));
                self.server.restart();
            }
            Step::Unwatch(at) => {
                let client = &mut self.clients[at];
                client.bench.session.unsubscribe(client.bench.now, client.id);
                self.settle(at);
                // The model keeps no subscriptions that nobody reads.
                if self.server.connections[at].open {
                    self.server.connections[at].cursor = None;
                    self.server.connections[at].page = None;
                }
            }
            Step::Watch(at) => {
                let client = &mut self.clients[at];
                client.bench.session.watch(client.bench.now, client.id);
                self.settle(at);
            }
        }
    }

    fn up(&mut self, at: usize) -> bool {
        let Some(frame) = self.up[at].pop_front() else { return false };
        let Frame::Text(bytes) = &frame else { return true };
        for line in lines(bytes) {
            self.server.hear(at, &serde_json::from_slice(line).unwrap());
        }
        true
    }

    fn down(&mut self, at: usize, answers: bool) -> bool {
        let Some(line) = self.server.pull(at, answers) else { return false };
        self.clients[at].bench.text(&line);
        self.settle(at);
        true
    }

    fn cut(&mut self, at: usize) {
        if std::mem::take(&mut self.server.connections[at].open) {
            self.server.connections[at] = Connection::default();
            self.up[at].clear();
            self.clients[at].bench.closed(None);
            self.settle(at);
        }
    }

    fn connect(&mut self, at: usize) {
        if self.server.connections[at].open {
            return;
        }
        let bench = &mut self.clients[at].bench;
        if bench.opens.is_empty() {
            bench.pass_to_deadline();
        }
        bench.opens.clear();
        bench.frames.clear();
        self.server.connections[at].open = true;
        bench.open_v1();
        self.settle(at);
    }

    /// Everything that is under way arrives.
    fn come_to_rest(&mut self) {
        for at in 0..2 {
            self.run(Step::Watch(at));
            self.connect(at);
        }
        loop {
            let moved = (0..2).map(|at| self.up(at) | self.down(at, true)).fold(false, |all, one| all | one);
            if !moved {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn replicas_end_equal_and_every_mutation_ends(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.come_to_rest();
        let expected: BTreeMap<String, String> =
            world.server.records.iter().map(|(key, (record, _))| (key.clone(), record.clone())).collect();
        for client in &world.clients {
            prop_assert_eq!(&client.data, &expected);
            prop_assert!(client.open.is_empty(), "{:?}", client.open);
            prop_assert_eq!(client.diverged, 0, "a digest differed");
            prop_assert!(client.synced > 0);
            prop_assert_eq!(client.bench.session.stats().unconsumed_bytes, 0);
            let dump: Value = serde_json::from_str(&client.bench.session.dump()).unwrap();
            prop_assert_eq!(&dump["channels"][0]["collection"]["pending"], &Value::from(0));
        }
        // A quiet server stays quiet.
        let frames = world.clients[0].bench.frames.len();
        world.clients[0].bench.pass(Duration::from_secs(1));
        prop_assert_eq!(world.clients[0].bench.frames.len(), frames);
    }
}
