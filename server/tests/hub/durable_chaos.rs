//! Random publishes, repeats, writes, failures and crashes. What was told must stay true.

use std::collections::BTreeMap;

use realtime_server::hub::{ConnectionId, HistoryConfig, HubConfig};
use serde_json::json;

use crate::world::World;

const CLIENTS: usize = 3;
const CHANNELS: u64 = 2;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[derive(Default)]
struct Client {
    connection: Option<ConnectionId>,
    next: u64,
    /// Not answered for good, the lowest first.
    open: Vec<u64>,
}

/// What clients were told, by (epoch, offset): the payload, which names client and id.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<String, (String, u64)>,
    seen: BTreeMap<(String, u64), String>,
}

fn payload(client: usize, id: u64) -> String {
    format!("{client}:{id}")
}

fn publish(world: &mut World, client: usize, state: &Client, id: u64) {
    let Some(connection) = state.connection else { return };
    let channel = format!("room{}", id % CHANNELS);
    let payload = payload(client, id);
    world.say(connection, json!({"type": "publish", "id": id, "channel": channel, "event": "e", "payload": payload}));
}

fn listen(world: &mut World, clients: &mut [Client], watcher: ConnectionId, epochs: &[String], told: &mut Told) {
    for (index, client) in clients.iter_mut().enumerate() {
        let Some(connection) = client.connection else { continue };
        for answer in world.hear(connection) {
            let Some(id) = answer["id"].as_u64().filter(|_| answer["type"] == "receipt") else { continue };
            let position = (answer["epoch"].as_str().unwrap().to_owned(), answer["offset"].as_u64().unwrap());
            let before = told.acknowledged.insert(payload(index, id), position.clone());
            assert!(before.is_none_or(|before| before == position), "another receipt for {index}:{id}");
            client.open.retain(|open| *open != id);
        }
    }
    for message in world.hear(watcher) {
        assert_ne!(message["type"], "gap");
        if message["type"] == "message" {
            let room: usize = message["channel"].as_str().unwrap()[4..].parse().unwrap();
            let position = (epochs[room].clone(), message["offset"].as_u64().unwrap());
            let payload = message["payload"].as_str().unwrap().to_owned();
            let before = told.seen.insert(position, payload.clone());
            assert!(before.is_none_or(|before| before == payload), "another message at an offset that was seen");
        }
    }
}

/// Subscribes to everything from the beginning.
fn watch(world: &mut World, epochs: &mut Vec<String>) -> ConnectionId {
    let watcher = world.v1("watcher");
    for room in 0..CHANNELS {
        let name = format!("room{room}");
        let epoch = world.subscribe(watcher, &name)["epoch"].as_str().unwrap().to_owned();
        match epochs.get(room as usize) {
            Some(known) => assert_eq!(known, &epoch, "the epoch stays"),
            None => epochs.push(epoch.clone()),
        }
    }
    if world.disk.is_empty() {
        // The epochs are on disk from here on.
        world.write_all();
    }
    for (room, epoch) in epochs.iter().enumerate() {
        let since = json!({"epoch": epoch, "offset": 0});
        world.say(watcher, json!({"type": "subscribe", "id": 1, "channel": format!("room{room}"), "since": since}));
    }
    watcher
}

fn run(seed: u64) -> (usize, usize) {
    let mut random = Random(seed);
    let history = HistoryConfig { messages: 100_000, ..HistoryConfig::default() };
    let mut world = World::durable(HubConfig { history, ..HubConfig::default() });
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::default()).collect();
    let (mut told, mut epochs, mut crashes) = (Told::default(), Vec::new(), 0);
    let mut watcher = watch(&mut world, &mut epochs);
    for _ in 0..300 {
        let index = random.below(CLIENTS as u64) as usize;
        match random.below(100) {
            0..55 => {
                let client = &mut clients[index];
                if client.connection.is_none() {
                    client.connection = Some(world.v1(&format!("c{index}")));
                    let open = client.open.clone();
                    open.into_iter().for_each(|id| publish(&mut world, index, &clients[index], id));
                } else {
                    client.next += 1;
                    client.open.push(client.next);
                    publish(&mut world, index, &clients[index], clients[index].next);
                }
            }
            55..60 => {
                if let Some(connection) = clients[index].connection.take() {
                    world.disconnect(connection);
                }
            }
            60..85 => world.write(random.below(4) as usize),
            85..90 => world.fail(),
            90..95 => {
                world.advance(random.below(1500));
                // What was refused comes again, in order.
                let open = clients[index].open.clone();
                open.into_iter().for_each(|id| publish(&mut world, index, &clients[index], id));
            }
            _ => {
                listen(&mut world, &mut clients, watcher, &epochs, &mut told);
                world.write_unheard(random.below(3) as usize);
                world = world.crash(random.below(u64::MAX >> 33));
                crashes += 1;
                clients.iter_mut().for_each(|client| client.connection = None);
                watcher = watch(&mut world, &mut epochs);
            }
        }
        listen(&mut world, &mut clients, watcher, &epochs, &mut told);
    }
    // In the end everything gets through.
    world.advance(2000);
    world.write_all();
    for (index, client) in clients.iter_mut().enumerate() {
        if let Some(connection) = client.connection {
            world.disconnect(connection);
        }
        client.connection = Some(world.v1(&format!("c{index}")));
        client.open.iter().for_each(|id| publish(&mut world, index, client, *id));
    }
    world.write_all();
    listen(&mut world, &mut clients, watcher, &epochs, &mut told);
    let published: u64 = clients.iter().map(|client| client.next).sum();
    assert!(clients.iter().all(|client| client.open.is_empty()), "seed {seed}: unanswered");
    assert_eq!((told.acknowledged.len() as u64, told.seen.len() as u64), (published, published), "seed {seed}");
    for (payload, position) in &told.acknowledged {
        assert_eq!(told.seen.get(position), Some(payload), "seed {seed}");
    }
    // And is there after one more crash.
    let mut world = world.crash(seed);
    let watcher = watch(&mut world, &mut epochs);
    let mut after = Told::default();
    listen(&mut world, &mut clients[..0], watcher, &epochs, &mut after);
    assert_eq!(after.seen, told.seen, "seed {seed}");
    (told.seen.len(), crashes)
}

#[test]
fn whatever_the_disk_does_what_was_told_stays_true() {
    let (messages, crashes) = (1..=150).map(run).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert!(messages > 5000 && crashes > 1000, "{messages} messages, {crashes} crashes: too little happened");
}
