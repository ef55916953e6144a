//! What the way from a frame to a batch that the host has given back costs in allocations: nothing, once the buffers have grown.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../core/engine/tests/support/allocator.rs"]
mod allocator;

use std::sync::Arc;
use std::time::Duration;

use allocator::{Counting, allocations};
use bytes::{Bytes, BytesMut};
use realtime_client::{Config, Data, Host, RequestId, Text, Timestamp};
use realtime_engine::wire::Frame;
use realtime_engine::{Attempt, ChannelId, Input, Output, Session};

use crate::batch::Kind;
use crate::inbox::Inbox;
use crate::sink::Sink;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A session, and a host that drains what the sink has handed over.
struct World {
    session: Session,
    attempt: Attempt,
    sink: Sink,
    inbox: Arc<Inbox>,
    channels: u64,
    sent: u64,
    /// Of the host: messages, receipts, batches.
    seen: (u64, u64, u64),
}

impl World {
    fn new(channels: u64) -> Self {
        let mut config = Config::new("ws://test");
        (config.inbox.connection, config.inbox.channel) = (1 << 40, 1 << 40);
        let inbox = Arc::new(Inbox::new(Box::new(|| {}), Duration::from_secs(30)));
        let mut world = Self {
            session: Session::new(config, NOW, 1).unwrap(),
            attempt: Attempt(0),
            sink: Sink::new(Arc::clone(&inbox)),
            inbox,
            channels,
            sent: 0,
            seen: (0, 0, 0),
        };
        world.session.connect(NOW);
        world.turn();
        world.input(Input::Opened { attempt: world.attempt, protocol: Some("realtime.v1".into()) });
        let welcome = r#"{"type":"welcome","session":"s","connection":"c","resumed":false,"heartbeat":30000,"timeout":60000,"encoding":"text","time":1,"limits":{"frame":1000000,"payload":900000,"channels":100,"inflight":1000,"rate":0},"server":"test"}"#;
        world.frame(shared(welcome));
        for n in 0..channels {
            let name = format!("room-{n}");
            world.session.subscribe(NOW, &name).unwrap();
            let asked = world.turn().pop().unwrap();
            let asked: serde_json::Value = serde_json::from_slice(&asked).unwrap();
            let answer = serde_json::json!({"type": "subscribed", "id": asked["id"], "channel": name, "epoch": "e", "offset": 0});
            world.frame(shared(&answer.to_string()));
        }
        world.host();
        world
    }

    fn input(&mut self, input: Input) {
        self.session.handle(NOW, input);
        self.turn();
    }

    fn frame(&mut self, frame: Bytes) {
        self.input(Input::Frame { attempt: self.attempt, frame: Frame::Text(frame) });
    }

    /// What a driver does after an input. Returns what was sent.
    fn turn(&mut self) -> Vec<Bytes> {
        let mut sent = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Open(request) => self.attempt = request.attempt,
                Output::Send { frame: Frame::Text(bytes), .. } => sent.push(bytes),
                Output::Event(event) => self.sink.event(event),
                other => panic!("{other:?}"),
            }
        }
        self.sink.flush();
        sent
    }

    /// What a host does after a wake.
    fn host(&mut self) {
        while let Some(batch) = self.inbox.pop() {
            self.seen.2 += 1;
            for record in batch.records() {
                match record.kind {
                    Kind::Message => {
                        assert_eq!((batch.event(record), batch.user(record)), (Some(&b"said"[..]), Some(&b"ann"[..])));
                        assert!(batch.payload(record).starts_with(b"{\"text\":"));
                        self.seen.0 += 1;
                        self.session.consumed(NOW, Some(ChannelId(record.channel)), record.size());
                    }
                    Kind::Receipt => self.seen.1 += 1,
                    _ => {}
                }
            }
            self.inbox.recycle(batch);
        }
    }

    fn frames(&mut self, frames: usize, messages: usize, size: usize) -> Vec<Bytes> {
        let text = "x".repeat(size);
        let frames = (0..frames).map(|_| {
            let mut lines = String::new();
            for _ in 0..messages {
                let (channel, offset) = (self.sent % self.channels, self.sent / self.channels + 1);
                self.sent += 1;
                lines += &format!(
                    "{{\"type\":\"message\",\"channel\":\"room-{channel}\",\"event\":\"said\",\"offset\":{offset},\"user\":\"ann\",\
                     \"timestamp\":1700000000001,\"payload\":{{\"text\":\"{text}\"}}}}\n"
                );
            }
            shared(&lines)
        });
        frames.collect()
    }

    /// The host drains after every so many frames.
    fn feed(&mut self, frames: Vec<Bytes>, drained_each: usize) {
        for (at, frame) in frames.into_iter().enumerate() {
            self.frame(frame);
            if at % drained_each == drained_each - 1 {
                self.host();
            }
        }
        self.host();
    }
}

/// Memory that can be shared, as a socket reads it.
fn shared(text: &str) -> Bytes {
    let mut memory = BytesMut::with_capacity(text.len() + 1);
    memory.extend_from_slice(text.as_bytes());
    memory.freeze()
}

#[test]
fn messages_cost_nothing() {
    for channels in [1, 16] {
        for messages in [1, 7, 500] {
            let mut world = World::new(channels);
            let warm = world.frames(5000 / messages, messages, 20);
            world.feed(warm, 1);
            let frames = world.frames(200, messages, 20);
            let before = world.seen;
            let allocated = allocations(|| world.feed(frames, 1));
            assert_eq!(world.seen.0 - before.0, 200 * messages as u64);
            assert_eq!(allocated, 0, "{channels} channels, {messages} in a frame");
        }
    }
}

#[test]
fn a_host_that_is_behind_costs_batches_and_not_messages() {
    let mut world = World::new(16);
    let frames = world.frames(400, 500, 20);
    let before = world.seen;
    let allocated = allocations(|| world.feed(frames, 50));
    let (messages, batches) = (world.seen.0 - before.0, world.seen.2 - before.2);
    assert_eq!((messages, batches), (200_000, 400));
    // A new batch grows in steps, each twice as large as the one before.
    assert!(allocated <= 20 * batches + 100, "{allocated} for {batches} batches");
}

#[test]
fn receipts_cost_nothing() {
    let mut world = World::new(1);
    let (event, payload) = (Text::from("said"), Data::Json(shared("1")));
    let mut next = 0;
    for round in 0..20 {
        let mut receipts = String::new();
        for _ in 0..900 {
            next += 1;
            let permit = world.session.budget().reserve(5).unwrap();
            world.session.publish(NOW, RequestId(next), ChannelId(0), event.clone(), payload.clone(), permit).unwrap();
            receipts += &format!("{{\"type\":\"receipt\",\"id\":{next},\"epoch\":\"e\",\"offset\":{next}}}\n");
        }
        world.turn();
        let receipts = shared(&receipts);
        let allocated = allocations(|| {
            world.frame(receipts);
            world.host();
        });
        assert_eq!(world.seen.1, next);
        assert!(round < 10 || allocated == 0, "{allocated}");
    }
}
