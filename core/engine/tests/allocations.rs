//! What a message costs in allocations: nothing, once the buffers have grown. What is counted is the engine's part alone.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use bytes::{Bytes, BytesMut};
use realtime_engine::wire::{Frame, lines};
use realtime_engine::{ChannelId, Config, Data, Event, Input, Output, RequestId, Session, Text, Timestamp};
use support::allocator::{Counting, allocations};
use support::{Bench, config};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory that can be shared, as a socket reads it.
fn shared(bytes: &[u8]) -> Bytes {
    let mut memory = BytesMut::with_capacity(bytes.len() + 1);
    memory.extend_from_slice(bytes);
    memory.freeze()
}

/// A session that is subscribed to so many channels.
struct Stream {
    bench: Bench,
    channels: u64,
    sent: u64,
}

impl Stream {
    fn new(config: Config, channels: u64) -> Self {
        let mut bench = Bench::connected(config);
        for n in 0..channels {
            bench.subscribed(&format!("room-{n}"), "e1", 0);
        }
        bench.clear();
        Self { bench, channels, sent: 0 }
    }

    /// The number of the channel and the offset of the next message.
    fn next(&mut self) -> (u64, u64) {
        self.sent += 1;
        ((self.sent - 1) % self.channels, (self.sent - 1) / self.channels + 1)
    }

    /// The next frames with so many messages each, the channels in turn.
    fn frames(&mut self, frames: usize, messages: usize) -> Vec<Frame> {
        let frames = (0..frames).map(|_| {
            let mut text = String::new();
            for _ in 0..messages {
                let (channel, offset) = self.next();
                let user = if offset.is_multiple_of(2) { r#","user":"ann""# } else { "" };
                text += &format!(
                    "{{\"type\":\"message\",\"channel\":\"room-{channel}\",\"event\":\"said\",\"offset\":{offset}{user},\
                     \"timestamp\":1700000000001,\"payload\":{{\"text\":\"hello\"}}}}\n"
                );
            }
            Frame::Text(shared(text.as_bytes()))
        });
        frames.collect()
    }

    fn binary_frames(&mut self, frames: usize) -> Vec<Frame> {
        let frames = (0..frames).map(|_| {
            let (channel, offset) = self.next();
            let name = format!("room-{channel}");
            let mut frame = vec![2, 0];
            frame.extend_from_slice(&offset.to_be_bytes());
            frame.extend_from_slice(&1_700_000_000_001u64.to_be_bytes());
            frame.extend_from_slice(&[name.len() as u8, 4, 3]);
            frame.extend_from_slice(format!("{name}saidannbytes").as_bytes());
            Frame::Binary(shared(&frame))
        });
        frames.collect()
    }

    /// Feeds frames, takes what comes of them and consumes it, as a driver and a host do. Returns how many messages came, and how
    /// many frames with credit went.
    fn feed(&mut self, frames: Vec<Frame>) -> (usize, u64) {
        let (session, now) = (&mut self.bench.session, self.bench.now);
        let (mut messages, mut credit) = (0, 0);
        for frame in frames {
            session.handle(now, Input::Frame { attempt: self.bench.attempt, frame });
            let mut held = None;
            while let Some(output) = session.poll() {
                match output {
                    Output::Event(Event::Message(message)) => {
                        messages += 1;
                        held = match held {
                            Some((channel, bytes)) if channel == message.channel => {
                                Some((channel, bytes + message.size))
                            }
                            other => {
                                consume(session, now, other);
                                Some((message.channel, message.size))
                            }
                        };
                    }
                    Output::Send { .. } => credit += 1,
                    other => panic!("{other:?}"),
                }
            }
            consume(session, now, held);
        }
        (messages, credit)
    }
}

fn consume(session: &mut Session, now: Timestamp, held: Option<(ChannelId, u64)>) {
    if let Some((channel, bytes)) = held {
        session.consumed(now, Some(channel), bytes);
    }
}

/// So wide a window that no credit has to be sent.
fn wide() -> Config {
    let mut config = config();
    (config.inbox.connection, config.inbox.channel) = (1 << 40, 1 << 40);
    config
}

#[test]
fn messages_cost_nothing() {
    for channels in [1, 16] {
        for messages in [1, 7, 500] {
            let mut stream = Stream::new(wide(), channels);
            let warm = stream.frames(5000 / messages, messages);
            stream.feed(warm);
            let frames = stream.frames(200, messages);
            let mut fed = (0, 0);
            assert_eq!(allocations(|| fed = stream.feed(frames)), 0, "{channels} channels, {messages} in a frame");
            assert_eq!(fed, (200 * messages, 0));
        }
        let mut stream = Stream::new(wide(), channels);
        let warm = stream.binary_frames(5000);
        stream.feed(warm);
        let frames = stream.binary_frames(200);
        let mut fed = (0, 0);
        assert_eq!(allocations(|| fed = stream.feed(frames)), 0, "{channels} channels, binary");
        assert_eq!(fed, (200, 0));
    }
}

#[test]
fn credit_costs_a_frame_for_many_messages() {
    for channels in [1, 16] {
        let mut stream = Stream::new(config(), channels);
        let warm = stream.frames(100, 500);
        stream.feed(warm);
        let frames = stream.frames(400, 500);
        let mut fed = (0, 0);
        let allocated = allocations(|| fed = stream.feed(frames));
        let (messages, credit) = fed;
        assert!(credit > 0 && messages == 200_000);
        // The frame, and a list of who is owed something, as it grows.
        let bound = credit * (8 + 2 * channels);
        assert!(allocated <= bound, "{allocated} for {credit} frames with credit of {channels} channels");
    }
}

#[test]
fn duplicates_and_messages_of_nobody_cost_nothing() {
    let mut stream = Stream::new(wide(), 1);
    let frames = stream.frames(20, 500);
    stream.feed(frames.clone());
    stream.feed(frames.clone());
    let mut fed = (0, 0);
    assert_eq!(allocations(|| fed = stream.feed(frames)), 0);
    assert_eq!(fed, (0, 0));
    let mut other = Stream::new(wide(), 20);
    let frames = other.frames(20, 20);
    let mut fed = (0, 0);
    stream.sent = 0;
    assert_eq!(allocations(|| fed = stream.feed(frames)), 0);
    assert_eq!(fed, (0, 0));
    assert!(stream.bench.session.stats().unroutable > 0 && stream.bench.session.stats().duplicates > 0);
}

#[test]
fn sends_cost_their_frame_and_receipts_nothing() {
    let mut bench = Bench::connected(wide());
    let channel = bench.subscribed("room", "e1", 0);
    let payload = Data::Json(shared(b"{\"text\":\"hello\"}"));
    let event = Text::from("said");
    let mut next = 0;
    for count in [900, 900, 10, 100, 900] {
        let first = next + 1;
        let mut frames = Vec::with_capacity(64);
        let publishing = allocations(|| {
            for _ in 0..count {
                next += 1;
                let permit = bench.session.budget().reserve(21).unwrap();
                let (event, payload) = (event.clone(), payload.clone());
                bench.session.publish(bench.now, RequestId(next), channel, event, payload, permit).unwrap();
            }
            while let Some(output) = bench.session.poll() {
                let Output::Send { frame, .. } = output else { panic!("{output:?}") };
                frames.push(frame);
            }
        });
        assert_eq!(
            frames
                .iter()
                .map(|frame| match frame {
                    Frame::Text(bytes) => lines(bytes).count(),
                    _ => 0,
                })
                .sum::<usize>(),
            count
        );
        let text: String = (first..=next)
            .map(|id| format!("{{\"type\":\"receipt\",\"id\":{id},\"epoch\":\"e1\",\"offset\":{id}}}\n"))
            .collect();
        let frame = Frame::Text(shared(text.as_bytes()));
        let mut receipts = 0;
        let completing = allocations(|| {
            bench.session.handle(bench.now, Input::Frame { attempt: bench.attempt, frame });
            while let Some(output) = bench.session.poll() {
                receipts += usize::from(matches!(output, Output::Event(Event::Receipt(_))));
            }
        });
        assert_eq!(receipts, count);
        if first > 900 {
            assert_eq!(completing, 0);
            // A frame grows to its size in steps, each twice as large as the one before.
            assert!(publishing <= 16 * frames.len() as u64, "{publishing} for {} frames", frames.len());
            assert!(frames.len() <= 3);
        }
    }
}

#[test]
fn plain_messages_cost_nothing() {
    let mut bench = Bench::connected_plain(wide());
    bench.subscribe("room");
    bench.clear();
    let line = br#"{"type":"said","channel":"room","payload":{"text":"hello"},"timestamp":1700000000001}"#;
    let frame = Frame::Text(shared(line));
    for warm in [false, true] {
        let frames = vec![frame.clone(); 5000];
        let mut messages = 0;
        let allocated = allocations(|| {
            for frame in frames {
                bench.session.handle(bench.now, Input::Frame { attempt: bench.attempt, frame });
                while let Some(output) = bench.session.poll() {
                    let Output::Event(Event::Message(message)) = output else { panic!("{output:?}") };
                    bench.session.consumed(bench.now, Some(message.channel), message.size);
                    messages += 1;
                }
            }
        });
        assert_eq!(messages, 5000);
        assert!(!warm || allocated == 0, "{allocated}");
    }
}
