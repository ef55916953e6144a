use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use realtime_client::{
    Client, Config, Error, LoadOn, Message, Presence, PresenceStatus, Protocol, Receipt, Token, User,
};
use realtime_server::{Auth, Echo, RunningServer, Server, ServerConfig};
use realtime_testing::FaultProxy;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::person::{LoadEnd, Person};

/// Does the steps of one scenario.
#[derive(Debug)]
pub(crate) struct Runner {
    config: ServerConfig,
    server: Option<RunningServer>,
    proxy: FaultProxy,
    people: HashMap<String, Person>,
    readers: HashMap<(String, String), JoinHandle<()>>,
}

impl Runner {
    pub(crate) async fn start(options: &Value) -> Self {
        let config = server_config(options);
        let server = Server::new(config.clone()).start().await.unwrap();
        let proxy = FaultProxy::start(&server.url()).await.unwrap();
        Self { config, server: Some(server), proxy, people: HashMap::new(), readers: HashMap::new() }
    }

    pub(crate) async fn step(&mut self, step: &Value) {
        let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
        let (client, channel) = (text("client"), text("channel"));
        match step["do"].as_str().unwrap() {
            "client" => {
                let through_proxy = step["via"] != "server";
                let url = if through_proxy { self.proxy.url().to_owned() } else { self.server.as_ref().unwrap().url() };
                self.people.insert(text("as"), Person::new(client_config(&url, &step["options"])));
            }
            "connect" => {
                let person = self.people.get_mut(&client).unwrap();
                // It connects from the start; only after a disconnect it has to be told.
                let connected = match std::mem::take(&mut person.disconnected) {
                    true => person.client.reconnect().await,
                    false => person.client.ready().await,
                };
                outcome(step, connected);
            }
            "disconnect" => {
                let person = self.people.get_mut(&client).unwrap();
                person.client.disconnect().await;
                person.disconnected = true;
            }
            "subscribe" => {
                let reader = self.person(&client).subscribe(&channel).await;
                if let Some(reader) = outcome(step, reader) {
                    self.readers.insert((client, channel), reader);
                }
            }
            "unsubscribe" => {
                // A subscription ends with its reader.
                self.readers.remove(&(client.clone(), channel.clone())).unwrap().abort();
                let idle = self.person(&client).client.channel(&channel).unwrap();
                while idle.state() != realtime_client::ChannelState::Idle {
                    tokio::task::yield_now().await;
                }
            }
            "send" => {
                let person = self.person(&client);
                let result = send(&person.client, step, Some(&channel), &step["payload"]).await;
                if let (Some(receipt), Some(acknowledged)) = (outcome(step, result), step["acknowledged"].as_bool()) {
                    assert_eq!(receipt.acknowledged, acknowledged, "{step}");
                }
            }
            "direct" => {
                let result = send(&self.person(&client).client, step, None, &step["payload"]).await;
                outcome(step, result);
            }
            "sendLater" => {
                let payloads = match step["count"].as_u64() {
                    Some(count) => (1..=count).map(Value::from).collect(),
                    None => vec![step["payload"].clone()],
                };
                let person = self.people.get_mut(&client).unwrap();
                for payload in payloads {
                    let (client, step, channel) = (person.client.clone(), step.clone(), channel.clone());
                    let sent = async move { send(&client, &step, Some(&channel), &payload).await.map(drop) };
                    person.later.push(tokio::spawn(sent));
                }
                // Their order is that of their first turn, which they all get before whatever this scenario does next.
                tokio::task::yield_now().await;
            }
            "settle" => {
                for sent in std::mem::take(&mut self.people.get_mut(&client).unwrap().later) {
                    outcome(step, sent.await.unwrap());
                }
            }
            "cut" => self.proxy.cut(),
            "cutConnections" => self.proxy.cut_connections(),
            "stall" => self.proxy.stall(),
            "restore" => self.proxy.restore(),
            "restartServer" => {
                let old = self.server.take().unwrap();
                let port = old.addr().port();
                old.stop().await;
                let config = ServerConfig { port, ..self.config.clone() };
                self.server = Some(Server::new(config).start().await.unwrap());
            }
            "expectMessages" => self.expect_messages(step, &client, &channel).await,
            "expectDirect" => {
                let expected = step["messages"].as_array().unwrap();
                let direct = |notes: &mut crate::person::Notes| {
                    (notes.direct.len() >= expected.len()).then(|| std::mem::take(&mut notes.direct))
                };
                let seen: Vec<_> = self.person(&client).until(direct).await.iter().map(as_direct).collect();
                assert_eq!(Value::from(seen), step["messages"]);
            }
            "expectNothing" => {
                let seen = |notes: &mut crate::person::Notes| Some(notes.messages.remove(&channel).unwrap_or_default());
                assert_eq!(self.person(&client).until(seen).await, []);
            }
            "expectStatus" => {
                self.person(&client)
                    .until(|notes| {
                        let at = notes.statuses.iter().position(|status| *status == step["status"])?;
                        notes.statuses.drain(..=at);
                        Some(())
                    })
                    .await;
            }
            "expectGap" => {
                let gap = (channel.as_str(), step["reason"].as_str().unwrap());
                let found = |notes: &mut crate::person::Notes| {
                    notes.gaps.iter().any(|(channel, reason)| (channel.as_str(), *reason) == gap).then_some(())
                };
                self.person(&client).until(found).await;
            }
            "loadOnGap" => {
                let on = if step["initial"] == true { LoadOn::GapAndSubscribe } else { LoadOn::Gap };
                self.person(&client).load_on_gap(&channel, on);
            }
            "expectLoad" => {
                let is_it = |(name, reason, _): &(String, &str, LoadEnd)| *name == channel && *reason == step["reason"];
                self.person(&client).until(|notes| notes.loads.iter().any(is_it).then_some(())).await;
            }
            "endLoad" => {
                let end = |notes: &mut crate::person::Notes| {
                    let at = notes.loads.iter().position(|(name, ..)| *name == channel)?;
                    Some(notes.loads.remove(at).2)
                };
                let end = self.person(&client).until(end).await;
                let result =
                    if step["fails"] == true { Err("no snapshot".to_owned()) } else { Ok(step["offset"].as_u64()) };
                end.send(result).unwrap();
            }
            "expectError" => {
                let code = step["code"].as_str().unwrap();
                self.person(&client).until(|notes| notes.errors.contains(&code).then_some(())).await;
            }
            "watch" => {
                let watched = self.person(&client).watch(&channel).await;
                outcome(step, watched);
            }
            "track" => {
                let mut state = step["user"].as_object().unwrap().clone();
                let key = state.remove("id");
                let key = key.as_ref().and_then(Value::as_str);
                let tracked = self.presence(&client, &channel).track(key, status(step), &state).await;
                outcome(step, tracked);
            }
            "updatePresence" => {
                let presence = self.presence(&client, &channel);
                let updated = match &step["patch"] {
                    Value::Null => presence.set_status(status(step)).await,
                    patch => presence.update(patch).await,
                };
                outcome(step, updated);
            }
            "untrack" => {
                let untracked = self.presence(&client, &channel).untrack().await;
                outcome(step, untracked);
            }
            "expectUsers" => {
                let watch = self.presence(&client, &channel).watch().await.unwrap();
                let shown = |user: &User| {
                    json!([user.id, user.status.as_str(), user.state::<Value>().unwrap(), user.connections])
                };
                let expected = step["users"].as_array().unwrap();
                let there = |users: &[User]| users.iter().map(shown).eq(expected.iter().cloned());
                watch.until(there).await.unwrap();
            }
            "expectPresence" => {
                let expected = step["events"].as_array().unwrap();
                let enough = |notes: &mut crate::person::Notes| {
                    let noted = notes.presence.entry(channel.clone()).or_default();
                    (noted.len() >= expected.len()).then(|| std::mem::take(noted))
                };
                assert_eq!(self.person(&client).until(enough).await, *expected, "{step}");
            }
            "collection" => {
                let initial = step["initialData"].as_array().map(|records| serde_json::to_vec(records).unwrap());
                let place = (channel, text("collection"));
                let person = self.people.get_mut(&client).unwrap();
                let opened = person.collect(place.clone(), initial);
                if outcome(step, opened).is_some() && step["ready"] != false {
                    person.collections[&place].ready().await.unwrap();
                }
            }
            "insert" | "update" | "remove" => self.mutate(step, &client, &(channel, text("collection"))).await,
            "expectData" => {
                let collection = &self.person(&client).collections[&(channel, text("collection"))];
                let mut events = collection.events();
                while step["now"] != true && Value::from(collection.records().unwrap()) != step["data"] {
                    events.recv().await.unwrap();
                }
                assert_eq!(Value::from(collection.records().unwrap()), step["data"], "{step}");
            }
            "expectChanges" => {
                let (place, expected) = ((channel, text("collection")), step["changes"].as_array().unwrap());
                let enough = |notes: &mut crate::person::Notes| {
                    let noted = notes.changes.entry(place.clone()).or_default();
                    (noted.len() >= expected.len()).then(|| std::mem::take(noted))
                };
                assert_eq!(self.person(&client).until(enough).await, *expected, "{step}");
            }
            "expectSync" => {
                let place = (channel, text("collection"));
                let found = |notes: &mut crate::person::Notes| {
                    let syncs = notes.syncs.entry(place.clone()).or_default();
                    let at = syncs.iter().position(|reason| *reason == step["reason"])?;
                    syncs.drain(..=at);
                    Some(())
                };
                self.person(&client).until(found).await;
            }
            "expectStats" => self.expect_stats(step, &client),
            other => panic!("an unknown step {other}"),
        }
    }

    async fn mutate(&mut self, step: &Value, client: &str, place: &(String, String)) {
        let person = self.people.get_mut(client).unwrap();
        let collection = &person.collections[place];
        let (id, if_revision) = (step["id"].as_str().unwrap_or_default(), step["ifRevision"].as_u64());
        let done: BoxFuture<'static, Result<(), Error>> = match (step["do"].as_str().unwrap(), if_revision) {
            ("insert", _) => Box::pin(collection.insert(&step["record"]).map_ok(drop)),
            ("update", None) => Box::pin(collection.update(id, &step["patch"]).map_ok(drop)),
            ("update", Some(revision)) => Box::pin(collection.update_if(id, &step["patch"], revision).map_ok(drop)),
            (_, None) => Box::pin(collection.remove(id)),
            (_, Some(revision)) => Box::pin(collection.remove_if(id, revision)),
        };
        if step["later"] == true {
            person.later.push(tokio::spawn(done));
            return;
        }
        let done = done.await;
        if let Err(error) = &done {
            if let Some(current) = step.get("current") {
                let record = error.record.as_ref().map(|record| serde_json::from_slice::<Value>(record).unwrap());
                assert_eq!(record.as_ref(), Some(current), "{step}");
            }
            assert!(step["revision"].is_null() || error.revision == step["revision"].as_u64(), "{step}: {error:?}");
        }
        outcome(step, done);
    }

    fn presence(&self, client: &str, channel: &str) -> Presence {
        self.person(client).client.channel(channel).unwrap().presence().unwrap()
    }

    async fn expect_messages(&self, step: &Value, client: &str, channel: &str) {
        let expected: Vec<Value> = match (step["count"].as_u64(), &step["bytes"]) {
            (Some(count), _) => (1..=count).map(Value::from).collect(),
            (None, Value::Array(bytes)) => bytes.clone(),
            _ => step["payloads"].as_array().unwrap().clone(),
        };
        let enough = |notes: &mut crate::person::Notes| {
            let messages = notes.messages.get_mut(channel)?;
            (messages.len() >= expected.len()).then(|| std::mem::take(messages))
        };
        let messages = self.person(client).until(enough).await;
        let seen: Vec<_> = messages.iter().map(payload).collect();
        assert_eq!(seen, expected, "{step}");
        for message in &messages {
            if let Some(event) = step["event"].as_str() {
                assert_eq!(message.event(), event);
            }
            if let Some(user) = step["user"].as_str() {
                assert_eq!(message.user(), Some(user));
            }
        }
    }

    fn expect_stats(&self, step: &Value, client: &str) {
        let stats = self.person(client).client.stats();
        for (name, expected) in step["stats"].as_object().unwrap() {
            let value = match name.as_str() {
                "status" => json!(stats.status.as_str()),
                "messagesReceived" => json!(stats.messages_received),
                "reconnects" => json!(stats.reconnects),
                "recovered" => json!(stats.recovered),
                "duplicates" => json!(stats.duplicates),
                "gaps" => json!(stats.gaps),
                "covered" => json!(stats.covered),
                "queued" => json!(stats.queued),
                other => panic!("an unknown figure {other}"),
            };
            match expected["min"].as_u64() {
                Some(min) => assert!(value.as_u64().unwrap() >= min, "{name} is {value}: {step}"),
                None => assert_eq!(value, *expected, "{name}: {step}"),
            }
        }
    }

    fn person(&self, name: &str) -> &Person {
        &self.people[name]
    }
}

/// The result, where it was to succeed; nothing, where it failed as the step says.
fn outcome<T>(step: &Value, result: Result<T, Error>) -> Option<T> {
    match (result, step["error"].as_str()) {
        (Ok(value), None) => Some(value),
        (Err(error), Some(code)) => {
            assert_eq!(error.code(), code, "{step}: {error}");
            None
        }
        (Ok(_), Some(_)) => panic!("{step} succeeded"),
        (Err(error), None) => panic!("{step}: {} ({error})", error.code()),
    }
}

async fn send(client: &Client, step: &Value, channel: Option<&str>, payload: &Value) -> Result<Receipt, Error> {
    let bytes = step["bytes"].as_str().map(unhex);
    match (channel, bytes) {
        (Some(channel), Some(bytes)) => {
            client.channel(channel)?.publish_bytes(step["event"].as_str().unwrap(), bytes).await
        }
        (Some(channel), None) => client.channel(channel)?.publish(step["event"].as_str().unwrap(), payload).await,
        (None, Some(bytes)) => client.send_bytes(bytes).await,
        (None, None) => client.send(step["type"].as_str().unwrap(), payload).await,
    }
}

fn status(step: &Value) -> PresenceStatus {
    step["status"].as_str().map_or(PresenceStatus::Online, |status| PresenceStatus::parse(status).unwrap())
}

fn payload(message: &Message) -> Value {
    if message.is_binary() { hex(message.bytes()).into() } else { message.json().unwrap() }
}

fn as_direct(message: &Message) -> Value {
    if message.is_binary() { payload(message) } else { json!([message.event(), payload(message)]) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn server_config(options: &Value) -> ServerConfig {
    let mut config = ServerConfig::default();
    for (name, value) in options.as_object().into_iter().flatten() {
        let number = || value.as_u64().unwrap();
        match name.as_str() {
            "historyMessages" => config.hub.history.messages = number() as usize,
            "maxPayload" => config.hub.limits.payload = number(),
            "maxChannels" => config.hub.limits.channels = number(),
            "presenceGrace" => config.hub.presence.grace = Duration::from_millis(number()),
            "collectionRecords" => config.hub.collections.records = number(),
            "rate" => config.hub.limits.rate = number(),
            "tokenSecret" => config.hub.auth = Auth::secret(value.as_str().unwrap()),
            "echo" => config.application = value.as_bool().unwrap().then(|| Arc::new(Echo) as _),
            other => panic!("an unknown option of the server {other}"),
        }
    }
    config
}

fn client_config(url: &str, options: &Value) -> Config {
    let mut config = Config::new(url);
    let time = |value: &Value, default| value.as_u64().map_or(default, Duration::from_millis);
    let (heartbeat, reconnect) = (&options["heartbeat"], &options["reconnect"]);
    config.heartbeat_interval = time(&heartbeat["interval"], config.heartbeat_interval);
    config.heartbeat_timeout = time(&heartbeat["timeout"], config.heartbeat_timeout);
    config.reconnect_first = time(&reconnect["first"], config.reconnect_first);
    config.reconnect_base = time(&reconnect["base"], config.reconnect_base);
    config.reconnect_max = time(&reconnect["max"], config.reconnect_max);
    config.max_attempts = reconnect["maxAttempts"].as_u64().map(|attempts| attempts as u32);
    if options["protocol"] == "plain" {
        config.protocol = Protocol::Plain;
    }
    if let Some(token) = options["token"].as_str() {
        config.token = Token::Static(token.to_owned());
    }
    config
}
