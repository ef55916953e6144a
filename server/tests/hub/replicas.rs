//! Whatever clients, windows, evictions, the disk and the power do: replicas end equal to the server, byte for byte, and what
//! was acknowledged has happened exactly once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use realtime_server::hub::{CollectionConfig, ConnectionId, HistoryConfig, HubConfig};
use serde_json::{Value, json};

use crate::collections::{follow, insert, remove, update};
use crate::replica::Replica;
use crate::world::World;

#[derive(Clone, Debug)]
enum Step {
    Insert { client: usize, key: u8, value: u8 },
    Update { client: usize, key: u8, field: u8, value: u8, checked: bool },
    Remove { client: usize, key: u8, checked: bool },
    Cut { client: usize },
    Again { client: usize },
    Credit { client: usize },
    Stick { client: usize },
    Unstick { client: usize },
    Write { batches: usize },
    Fail,
    Crash,
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..3usize;
    let key = || 0..8u8;
    prop_oneof![
        6 => (client(), key(), 0..3u8).prop_map(|(client, key, value)| Step::Insert { client, key, value }),
        10 => (client(), key(), 0..4u8, any::<u8>(), any::<bool>())
            .prop_map(|(client, key, field, value, checked)| Step::Update { client, key, field, value, checked }),
        4 => (client(), key(), any::<bool>()).prop_map(|(client, key, checked)| Step::Remove { client, key, checked }),
        2 => client().prop_map(|client| Step::Cut { client }),
        2 => client().prop_map(|client| Step::Again { client }),
        6 => client().prop_map(|client| Step::Credit { client }),
        1 => client().prop_map(|client| Step::Stick { client }),
        2 => client().prop_map(|client| Step::Unstick { client }),
        8 => (1..4usize).prop_map(|batches| Step::Write { batches }),
        1 => Just(Step::Fail),
        1 => Just(Step::Crash),
        2 => (0..2000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A client that keeps what the specification asks of it.
struct Client {
    name: String,
    connection: ConnectionId,
    window: bool,
    next: u64,
    /// Not answered for good, the lowest first.
    open: BTreeMap<u64, Value>,
    replica: Replica,
}

impl Client {
    fn connect(&mut self, world: &mut World) {
        let more = if self.window { json!({"window": {"connection": 400, "channel": 200}}) } else { json!({}) };
        self.connection = world.v1_with(&self.name, more);
        self.replica.owed = 0;
        follow(world, self.connection, self.replica.since());
        self.repeat(world);
    }

    fn repeat(&mut self, world: &mut World) {
        for mutation in self.open.values() {
            world.say(self.connection, mutation.clone());
        }
    }

    fn mutate(&mut self, world: &mut World, mut mutation: Value, checked: bool) {
        self.next += 1;
        mutation["id"] = json!(self.next);
        if checked {
            let key = mutation["key"].as_str().unwrap();
            mutation["if_revision"] = json!(self.replica.records.get(key).map_or(1, |(revision, _)| *revision));
        }
        self.open.insert(self.next, mutation.clone());
        world.say(self.connection, mutation);
    }

    fn credit(&mut self, world: &mut World) {
        let bytes = std::mem::take(&mut self.replica.owed);
        world.say(self.connection, json!({"type": "credit", "channel": "room", "collection": "tasks", "bytes": bytes}));
    }

    fn read(&mut self, world: &mut World, told: &mut Told) {
        for line in world.hear_lines(self.connection) {
            let message: Value = serde_json::from_slice(&line).unwrap();
            match message["type"].as_str().unwrap() {
                "receipt" => {
                    let id = message["id"].as_u64().unwrap();
                    let offset = message["offset"].as_u64().unwrap();
                    let known = told.receipts.insert((self.name.clone(), id), offset);
                    assert!(known.is_none_or(|known| known == offset), "another receipt for {id}");
                    self.open.remove(&id);
                }
                "error" => {
                    let id = message["id"].as_u64().expect("an error that belongs to a request");
                    match message["code"].as_str().unwrap() {
                        "unavailable" => {}
                        "conflict" | "not_found" => drop(self.open.remove(&id)),
                        other => panic!("{other}"),
                    }
                }
                _ => {
                    self.replica.take(&line);
                    if message["type"] == "change" {
                        let change = message.to_string();
                        let known = told.changes.insert(message["offset"].as_u64().unwrap(), change.clone());
                        assert!(known.is_none_or(|known| known == change), "another change at an offset that was seen");
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Told {
    receipts: BTreeMap<(String, u64), u64>,
    changes: BTreeMap<u64, String>,
}

fn run(steps: Vec<Step>, messages: usize, durable: bool) -> (u64, u64) {
    let history = HistoryConfig { messages, ..HistoryConfig::default() };
    let collections = CollectionConfig { digest_every: 3, ..CollectionConfig::default() };
    let config = HubConfig { history, collections, ..HubConfig::default() };
    let mut world = if durable { World::durable(config) } else { World::new(config) };
    let mut told = Told::default();
    let mut clients: Vec<_> = ["x", "y", "z"]
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let mut client = Client {
                name: (*name).to_owned(),
                connection: ConnectionId(0),
                window: index > 0,
                next: 0,
                open: BTreeMap::new(),
                replica: Replica::default(),
            };
            client.connect(&mut world);
            client
        })
        .collect();
    world.write_all();
    for step in steps {
        match step {
            Step::Insert { client, key, value } => {
                let record = json!({ "v": value, "x": "y".repeat(usize::from(key) * 10) });
                clients[client].mutate(&mut world, insert(0, &format!("k{key}"), record), false);
            }
            Step::Update { client, key, field, value, checked } => {
                let field = ["v", "", "__proto__", "new"][usize::from(field)];
                clients[client].mutate(&mut world, update(0, &format!("k{key}"), json!({ field: value })), checked);
            }
            Step::Remove { client, key, checked } => {
                clients[client].mutate(&mut world, remove(0, &format!("k{key}")), checked);
            }
            Step::Cut { client } => {
                clients[client].read(&mut world, &mut told);
                world.disconnect(clients[client].connection);
                clients[client].connect(&mut world);
            }
            Step::Again { client } => {
                let client = &mut clients[client];
                client.repeat(&mut world);
            }
            Step::Credit { client } => clients[client].credit(&mut world),
            Step::Stick { client } => world.stick(clients[client].connection),
            Step::Unstick { client } => world.unstick(clients[client].connection),
            Step::Write { batches } => world.write(batches),
            Step::Fail if durable => world.fail(),
            Step::Crash if durable => {
                clients.iter_mut().for_each(|client| client.read(&mut world, &mut told));
                world.write_unheard(1);
                world = world.crash(told.changes.len() as u64 + 100);
                clients.iter_mut().for_each(|client| client.connect(&mut world));
            }
            Step::Fail | Step::Crash => {}
            Step::Wait { ms } => {
                for client in &clients {
                    world.say(client.connection, json!({"type": "ping", "id": 2}));
                }
                world.advance(ms);
            }
        }
        for client in &mut clients {
            client.read(&mut world, &mut told);
            if world.closed.contains_key(&client.connection) {
                world.disconnect(client.connection);
                client.connect(&mut world);
            }
        }
    }
    // In the end everything gets through.
    world.advance(2000);
    for client in &mut clients {
        world.unstick(client.connection);
        client.read(&mut world, &mut told);
        world.disconnect(client.connection);
        client.connect(&mut world);
    }
    world.write_all();
    for _ in 0..50 {
        for client in &mut clients {
            client.read(&mut world, &mut told);
            client.credit(&mut world);
        }
    }
    let mut digests = 0;
    for client in &clients {
        assert!(client.open.is_empty(), "unanswered: {:?}", client.open);
        client.replica.check(&world.hub, "room", "tasks");
        digests += client.replica.digests;
    }
    // Each change came from one mutation, and each receipt names a change that is as it was seen.
    if durable {
        let records = world.hub.records("room", "tasks");
        let bytes = world.hub.stats().record_bytes;
        let world = world.crash(1);
        assert_eq!(world.hub.records("room", "tasks"), records, "and is there after one more crash");
        assert_eq!(world.hub.stats().record_bytes, bytes);
    }
    (told.changes.len() as u64, digests)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_memory(steps in prop::collection::vec(step(), 1..150), messages in 1..20usize) {
        run(steps, messages, false);
    }

    #[test]
    fn on_disk(steps in prop::collection::vec(step(), 1..150), messages in 1..20usize) {
        run(steps, messages, true);
    }
}

#[test]
fn enough_happens() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(step(), 100..150);
    let (mut changes, mut digests) = (0, 0);
    for _ in 0..20 {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        let (more, checked) = run(steps, 12, true);
        (changes, digests) = (changes + more, digests + checked);
    }
    assert!(changes > 200 && digests > 200, "{changes} changes, {digests} digests");
}
