//! Whatever happens, a subscriber gets every message exactly once and in order, or is told what is missing.

use proptest::prelude::*;
use realtime_server::hub::{ConnectionId, HistoryConfig, HubConfig};
use serde_json::{Value, json};

use crate::world::World;

#[derive(Clone, Debug)]
enum Step {
    Publish { client: usize, channel: usize },
    Repeat { client: usize },
    Subscribe { client: usize, channel: usize },
    Unsubscribe { client: usize, channel: usize },
    Cut { client: usize },
    Stick { client: usize },
    Unstick { client: usize },
    Credit { client: usize },
    Wait { ms: u64 },
}

const CHANNELS: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let client = 0..3usize;
    let channel = 0..CHANNELS.len();
    prop_oneof![
        8 => (client.clone(), channel.clone()).prop_map(|(client, channel)| Step::Publish { client, channel }),
        2 => client.clone().prop_map(|client| Step::Repeat { client }),
        3 => (client.clone(), channel.clone()).prop_map(|(client, channel)| Step::Subscribe { client, channel }),
        1 => (client.clone(), channel).prop_map(|(client, channel)| Step::Unsubscribe { client, channel }),
        2 => client.clone().prop_map(|client| Step::Cut { client }),
        2 => client.clone().prop_map(|client| Step::Stick { client }),
        2 => client.clone().prop_map(|client| Step::Unstick { client }),
        3 => client.prop_map(|client| Step::Credit { client }),
        1 => (0..8000u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A client that keeps what the specification asks of it.
struct Client {
    name: String,
    connection: ConnectionId,
    stuck: bool,
    next_id: u64,
    next_request: u64,
    last: Option<(u64, &'static str)>,
    channels: [Option<Subscription>; 3],
    window: bool,
}

#[derive(Default)]
struct Subscription {
    position: Option<(String, u64)>,
    outstanding: u64,
    /// The unanswered subscribe; a client has one at a time.
    asked: Option<u64>,
}

impl Client {
    fn open(world: &mut World, name: &str, window: bool) -> Self {
        let mut client = Self {
            name: name.to_owned(),
            connection: ConnectionId(0),
            stuck: false,
            next_id: 1,
            next_request: 1000,
            last: None,
            channels: Default::default(),
            window,
        };
        client.connect(world);
        client
    }

    fn connect(&mut self, world: &mut World) {
        let more = if self.window { json!({"window": {"connection": 300, "channel": 150}}) } else { json!({}) };
        self.connection = world.v1_with(&self.name, more);
        self.stuck = false;
        for index in 0..CHANNELS.len() {
            if let Some(subscription) = &mut self.channels[index] {
                subscription.asked = None;
                self.subscribe(world, index);
            }
        }
    }

    fn subscribe(&mut self, world: &mut World, index: usize) {
        let subscription = self.channels[index].get_or_insert_default();
        if subscription.asked.is_some() {
            return;
        }
        self.next_request += 1;
        subscription.asked = Some(self.next_request);
        subscription.outstanding = 0;
        let mut request = json!({"type": "subscribe", "id": self.next_request, "channel": CHANNELS[index]});
        if let Some((epoch, offset)) = &subscription.position {
            request["since"] = json!({"epoch": epoch, "offset": offset});
        }
        world.say(self.connection, request);
    }

    fn publish(&mut self, world: &mut World, id: u64, channel: &str) {
        let publish =
            json!({"type": "publish", "id": id, "channel": channel, "event": "e", "payload": [self.name, id]});
        world.say(self.connection, publish);
    }

    /// Takes what came and checks it.
    fn read(&mut self, world: &mut World, told: &mut Vec<(usize, String, u64, Value)>) {
        for message in world.hear(self.connection) {
            let Some(index) = CHANNELS.iter().position(|name| message["channel"] == *name) else { continue };
            let Some(subscription) = &mut self.channels[index] else { continue };
            match message["type"].as_str().unwrap() {
                "subscribed" if subscription.asked != message["id"].as_u64() => {}
                "subscribed" => {
                    subscription.asked = None;
                    let epoch = message["epoch"].as_str().unwrap().to_owned();
                    let offset = message["offset"].as_u64().unwrap();
                    match (&subscription.position, message["recovered"].as_bool()) {
                        (None, None) => {}
                        (Some(position), Some(true)) => assert_eq!(*position, (epoch.clone(), offset)),
                        (Some((before, at)), Some(false)) => assert!(*before != epoch || offset > *at),
                        other => panic!("{other:?}"),
                    }
                    subscription.position = Some((epoch, offset));
                }
                "message" => {
                    let (epoch, at) = subscription.position.as_mut().expect("subscribed comes first");
                    let offset = message["offset"].as_u64().unwrap();
                    assert_eq!(offset, *at + 1, "in order, without holes");
                    *at = offset;
                    subscription.outstanding += message.to_string().len() as u64;
                    told.push((index, epoch.clone(), offset, message["payload"].clone()));
                }
                "gap" => {
                    let (_, at) = subscription.position.as_mut().expect("subscribed comes first");
                    assert_eq!(message["from"].as_u64().unwrap(), *at + 1);
                    assert!(message["to"].as_u64().unwrap() > *at);
                    *at = message["to"].as_u64().unwrap();
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_once_in_order_or_told(steps in prop::collection::vec(step(), 1..150), messages in 1..12usize, windows: bool) {
        let history = HistoryConfig { messages, ..HistoryConfig::default() };
        let mut world = World::new(HubConfig { history, ..HubConfig::default() });
        let mut clients: Vec<_> = ["x", "y", "z"].iter().enumerate()
            .map(|(index, name)| Client::open(&mut world, name, windows && index > 0)).collect();
        let mut told = Vec::new();
        for step in steps {
            match step {
                Step::Publish { client, channel } => {
                    let client = &mut clients[client];
                    let id = client.next_id;
                    client.next_id += 1;
                    client.last = Some((id, CHANNELS[channel]));
                    client.publish(&mut world, id, CHANNELS[channel]);
                }
                Step::Repeat { client } => {
                    if let Some((id, channel)) = clients[client].last {
                        clients[client].publish(&mut world, id, channel);
                    }
                }
                Step::Subscribe { client, channel } => clients[client].subscribe(&mut world, channel),
                Step::Unsubscribe { client, channel } => {
                    let client = &mut clients[client];
                    // Read first: what was sent before the unsubscribe still counts.
                    client.read(&mut world, &mut told);
                    client.channels[channel] = None;
                    let request = json!({"type": "unsubscribe", "id": 1, "channel": CHANNELS[channel]});
                    world.say(client.connection, request);
                }
                Step::Cut { client } => {
                    clients[client].read(&mut world, &mut told);
                    world.disconnect(clients[client].connection);
                    clients[client].connect(&mut world);
                }
                Step::Stick { client } => {
                    world.stick(clients[client].connection);
                    clients[client].stuck = true;
                }
                Step::Unstick { client } => {
                    world.unstick(clients[client].connection);
                    clients[client].stuck = false;
                }
                Step::Credit { client } => {
                    let connection = clients[client].connection;
                    for (index, subscription) in clients[client].channels.iter_mut().enumerate() {
                        if let Some(subscription) = subscription {
                            let bytes = std::mem::take(&mut subscription.outstanding);
                            let credit = json!({"type": "credit", "channel": CHANNELS[index], "bytes": bytes});
                            world.say(connection, credit);
                        }
                    }
                }
                Step::Wait { ms } => {
                    for client in &clients {
                        world.say(client.connection, json!({"type": "ping", "id": 2}));
                    }
                    world.advance(ms);
                }
            }
            // A client that was closed comes back.
            for client in &mut clients {
                client.read(&mut world, &mut told);
                if world.closed.contains_key(&client.connection) {
                    world.disconnect(client.connection);
                    client.connect(&mut world);
                }
            }
        }
        // In the end everybody reads, gives credit, and is at the top.
        for client in &mut clients {
            world.unstick(client.connection);
            for _ in 0..50 {
                client.read(&mut world, &mut told);
                for channel in CHANNELS {
                    world.say(client.connection, json!({"type": "credit", "channel": channel, "bytes": 1_000_000}));
                }
            }
        }
        for (index, name) in CHANNELS.iter().enumerate() {
            let probe = world.v1("probe");
            let top = world.subscribe(probe, name)["offset"].as_u64().unwrap();
            for client in &clients {
                if let Some(Subscription { position: Some((_, at)), .. }) = &client.channels[index] {
                    prop_assert_eq!(*at, top, "{} in {}", &client.name, name);
                }
            }
        }
        // An offset is one message, and a message has one offset.
        let mut by_offset = std::collections::BTreeMap::new();
        let mut by_payload = std::collections::BTreeMap::new();
        for (index, epoch, offset, payload) in told {
            let payload = payload.to_string();
            let known = by_offset.entry((index, epoch.clone(), offset)).or_insert_with(|| payload.clone());
            prop_assert_eq!(&*known, &payload);
            let known = by_payload.entry(payload).or_insert_with(|| (index, epoch.clone(), offset));
            prop_assert_eq!(&*known, &(index, epoch, offset), "stored twice");
        }
    }
}
