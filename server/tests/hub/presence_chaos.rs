//! Whatever connections do: once things are calm, everybody who watches sees exactly who is there.

use std::collections::BTreeSet;

use proptest::prelude::*;
use realtime_server::hub::{ConnectionId, HistoryConfig, HubConfig};
use serde_json::{Value, json};

use crate::replica::Audience;
use crate::world::World;

#[derive(Clone, Debug)]
enum Step {
    Track { client: usize, state: u8 },
    Untrack { client: usize },
    Cut { client: usize },
    Back { client: usize },
    TakeOver { client: usize },
    Credit { client: usize },
    Stick { client: usize },
    Unstick { client: usize },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..4usize;
    prop_oneof![
        8 => (client(), 0..3u8).prop_map(|(client, state)| Step::Track { client, state }),
        3 => client().prop_map(|client| Step::Untrack { client }),
        4 => client().prop_map(|client| Step::Cut { client }),
        6 => client().prop_map(|client| Step::Back { client }),
        1 => client().prop_map(|client| Step::TakeOver { client }),
        5 => client().prop_map(|client| Step::Credit { client }),
        1 => client().prop_map(|client| Step::Stick { client }),
        2 => client().prop_map(|client| Step::Unstick { client }),
        8 => (0..12_000u64).prop_map(|ms| Step::Wait { ms }),
        8 => (0..60u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

struct Client {
    name: String,
    connection: Option<ConnectionId>,
    window: bool,
    /// What it says, for as long as it says it.
    state: Option<u8>,
    audience: Audience,
}

impl Client {
    fn connect(&mut self, world: &mut World) {
        let more = if self.window { json!({"window": {"connection": 300, "channel": 150}}) } else { json!({}) };
        let connection = world.v1_with(&self.name, more);
        self.connection = Some(connection);
        self.audience.owed = 0;
        let mut request = json!({"type": "subscribe", "id": 1, "channel": "room", "presence": true});
        if let Some(since) = self.audience.since() {
            request["since"] = since;
        }
        world.say(connection, request);
        self.say(world);
    }

    fn say(&self, world: &mut World) {
        if let (Some(connection), Some(state)) = (self.connection, self.state) {
            world.say(connection, json!({"type": "track", "id": 2, "channel": "room", "key": self.name, "status": "online", "state": {"n": state}}));
        }
    }

    fn read(&mut self, world: &mut World) {
        let Some(connection) = self.connection else { return };
        world.hear_lines(connection).iter().for_each(|line| self.audience.take(line));
        if world.closed.contains_key(&connection) {
            world.disconnect(connection);
            self.connection = None;
        }
    }

    fn credit(&mut self, world: &mut World) {
        let Some(connection) = self.connection else { return };
        let bytes = std::mem::take(&mut self.audience.owed);
        world.say(connection, json!({"type": "credit", "channel": "room", "presence": true, "bytes": bytes}));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_sees_who_is_there(steps in prop::collection::vec(step(), 1..120), messages in 1..12usize) {
        let history = HistoryConfig { messages, ..HistoryConfig::default() };
        let mut world = World::new(HubConfig { history, ..HubConfig::default() });
        let mut clients: Vec<_> = (0..4).map(|index| {
            let mut client = Client {
                name: format!("c{index}"),
                connection: None,
                window: index > 1,
                state: None,
                audience: Audience::default(),
            };
            client.connect(&mut world);
            client
        }).collect();
        for step in steps {
            match step {
                Step::Track { client, state } => {
                    if clients[client].connection.is_some() {
                        clients[client].state = Some(state);
                        clients[client].say(&mut world);
                    }
                }
                Step::Untrack { client } => {
                    if let Some(connection) = clients[client].connection {
                        clients[client].state = None;
                        world.say(connection, json!({"type": "untrack", "id": 3, "channel": "room"}));
                    }
                }
                Step::Cut { client } => {
                    clients[client].read(&mut world);
                    if let Some(connection) = clients[client].connection.take() {
                        world.disconnect(connection);
                    }
                }
                Step::Back { client } => {
                    if clients[client].connection.is_none() {
                        clients[client].connect(&mut world);
                    }
                }
                Step::TakeOver { client } => {
                    clients[client].read(&mut world);
                    let before = clients[client].connection;
                    clients[client].connect(&mut world);
                    if let Some(before) = before {
                        world.disconnect(before);
                    }
                }
                Step::Credit { client } => clients[client].credit(&mut world),
                Step::Stick { client } => clients[client].connection.into_iter().for_each(|c| world.stick(c)),
                Step::Unstick { client } => clients[client].connection.into_iter().for_each(|c| world.unstick(c)),
                Step::Wait { ms } => {
                    for client in &clients {
                        client.connection.into_iter().for_each(|c| world.say(c, json!({"type": "ping", "id": 4})));
                    }
                    world.advance(ms);
                }
            }
            clients.iter_mut().for_each(|client| client.read(&mut world));
        }
        // Everybody who has a connection reads; the others have been gone for the grace period.
        for client in &clients {
            client.connection.into_iter().for_each(|c| world.unstick(c));
        }
        world.advance(10_100);
        for _ in 0..60 {
            for client in &mut clients {
                client.read(&mut world);
                client.credit(&mut world);
            }
        }
        let here: BTreeSet<_> = clients.iter()
            .filter(|client| client.connection.is_some())
            .filter_map(|client| Some((client.name.clone(), client.state?)))
            .collect();
        let members: BTreeSet<_> = world.hub.members("room").iter().map(|member| {
            let state: Value = serde_json::from_slice(&member.state).unwrap();
            (member.key.to_string(), state["n"].as_u64().unwrap() as u8)
        }).collect();
        prop_assert_eq!(&members, &here);
        prop_assert_eq!(world.hub.stats().members as usize, here.len());
        for client in clients.iter().filter(|client| client.connection.is_some()) {
            client.audience.check(&world.hub, "room");
        }
    }
}
