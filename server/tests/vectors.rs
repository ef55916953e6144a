//! The shared vectors against the hub: it reads what they say, and writes messages as they say.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;

use realtime_engine::wire::{Frame, lines};
use realtime_server::hub::{ConnectionId, Dialect, Hub, HubConfig, Input};
use serde_json::{Value, json};

fn vectors(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

struct World {
    hub: Hub,
    clients: u64,
}

impl World {
    fn new() -> Self {
        Self { hub: Hub::new(HubConfig { application: true, ..HubConfig::default() }, 7), clients: 0 }
    }

    fn open(&mut self) -> ConnectionId {
        self.clients += 1;
        let connection = ConnectionId(self.clients);
        self.hub.handle(1000, Input::Opened { connection, dialect: Dialect::V1, identity: None });
        connection
    }

    fn client(&mut self) -> ConnectionId {
        let client = self.open();
        let hello = format!(r#"{{"type":"hello","session":"a session of number {client:_>4}"}}"#, client = client.0);
        self.frame(client, Frame::Text(hello.replace(' ', "-").into()));
        client
    }

    fn frame(&mut self, connection: ConnectionId, frame: Frame) -> Vec<Frame> {
        self.hub.handle(1000, Input::Frame { connection, frame });
        self.pull(connection)
    }

    fn pull(&mut self, connection: ConnectionId) -> Vec<Frame> {
        while self.hub.poll().is_some() {}
        let mut frames = Vec::new();
        while self.hub.pull(1000, connection, &mut frames) {}
        frames
    }
}

fn answers(frames: &[Frame]) -> Vec<Value> {
    let text = frames.iter().filter_map(|frame| match frame {
        Frame::Text(bytes) => Some(bytes),
        Frame::Binary(bytes) => bytes.starts_with(b"{").then_some(bytes),
        _ => None,
    });
    text.flat_map(|bytes| lines(bytes)).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// What the hub answers to a message of this type.
fn answer_to(kind: &str) -> Option<&'static str> {
    match kind {
        "hello" => Some("welcome"),
        "subscribe" => Some("subscribed"),
        "unsubscribe" => Some("unsubscribed"),
        "publish" | "send" => Some("receipt"),
        "auth" => Some("authenticated"),
        "ping" => Some("pong"),
        _ => None,
    }
}

#[test]
fn client_messages_are_understood_in_every_spelling() {
    let all = vectors("client_messages.json");
    let mut count = 0;
    for vector in all["vectors"].as_array().unwrap() {
        let mut frames = Vec::new();
        if let Some(text) = vector["json"].as_str() {
            frames.push(Frame::Text(text.to_owned().into()));
        }
        if let Some(bytes) = vector["hex"].as_str() {
            frames.push(Frame::Binary(hex(bytes).into()));
        }
        for also in vector["also"].as_array().into_iter().flatten() {
            frames.push(Frame::Text(also.as_str().unwrap().to_owned().into()));
        }
        assert!(!frames.is_empty(), "{vector}");
        for frame in frames {
            let mut world = World::new();
            let message = &vector["message"];
            let kind = message["type"].as_str().unwrap();
            // The hub knows only the messages of a channel yet.
            let streams = ["track", "untrack", "mutate"].contains(&kind);
            if streams || !message["presence"].is_null() || !message["collection"].is_null() {
                continue;
            }
            let client = if kind == "hello" { world.open() } else { world.client() };
            let heard = answers(&world.frame(client, frame));
            let first = heard
                .iter()
                .find(|message| message["type"] != "direct")
                .map(|message| message["type"].as_str().unwrap());
            assert_eq!(first, answer_to(kind), "{} {heard:?}", vector["name"]);
            count += 1;
        }
    }
    assert!(count > 10);
}

#[test]
fn malformed_client_messages_get_their_code() {
    let all = vectors("client_messages.json");
    for vector in all["refused"].as_array().into_iter().flatten() {
        let mut world = World::new();
        let client = world.client();
        let frame = match (vector["json"].as_str(), vector["hex"].as_str()) {
            (Some(text), _) => Frame::Text(text.to_owned().into()),
            (_, Some(bytes)) => Frame::Binary(hex(bytes).into()),
            _ => panic!("{vector}"),
        };
        let heard = answers(&world.frame(client, frame));
        assert_eq!(heard[0]["code"], vector["code"], "{vector} {heard:?}");
        assert_eq!(heard[0].get("id"), vector.get("id"), "{vector} {heard:?}");
    }
}

#[test]
fn payloads_and_names_arrive_as_they_were_sent() {
    let all = vectors("payloads.json");
    let mut world = World::new();
    let (alice, bob) = (world.client(), world.client());
    let names = all["names"]["valid"].as_array().unwrap();
    let mut id = 0;
    for name in names {
        let subscribe = json!({"type": "subscribe", "id": 1, "channel": name});
        assert_eq!(answers(&world.frame(bob, Frame::Text(subscribe.to_string().into())))[0]["type"], "subscribed");
        for value in all["values"].as_array().unwrap() {
            id += 1;
            let payload = value["json"].as_str().unwrap();
            let publish =
                format!(r#"{{"type":"publish","id":{id},"channel":{name},"event":{name},"payload":{payload}}}"#);
            assert_eq!(answers(&world.frame(alice, Frame::Text(publish.into())))[0]["type"], "receipt");
            let frames = world.pull(bob);
            let [Frame::Text(line)] = &frames[..] else { panic!("{frames:?}") };
            let line = std::str::from_utf8(line).unwrap();
            assert!(line.ends_with(&format!(",\"payload\":{payload}}}")), "{line}");
            assert_eq!(serde_json::from_str::<Value>(line).unwrap()["event"], *name);
        }
    }
    for bytes in all["names"]["invalid_bytes"].as_array().unwrap() {
        let name = "x".repeat(bytes.as_u64().unwrap() as usize);
        let subscribe = json!({"type": "subscribe", "id": 1, "channel": name});
        assert_eq!(answers(&world.frame(bob, Frame::Text(subscribe.to_string().into())))[0]["code"], "invalid_name");
    }
}
