use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use tokio::sync::Notify;

use crate::{Error, Reads};

/// Numbers in payloads begin here, so that they all have eight digits.
pub(crate) const FIRST: u64 = 10_000_000;

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) size: String,
    pub(crate) channels: usize,
    pub(crate) count: u64,
    pub(crate) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Receive,
    Send,
    Echo,
    Connect,
}

impl Case {
    pub(crate) fn parse(arguments: &[String]) -> Option<(String, Self)> {
        let [subject, kind, size, channels, count, port] = arguments else { return None };
        let kind = match &**kind {
            "receive" => Kind::Receive,
            "send" => Kind::Send,
            "echo" => Kind::Echo,
            "connect" => Kind::Connect,
            _ => return None,
        };
        let (channels, count, port) = (channels.parse().ok()?, count.parse().ok()?, port.parse().ok()?);
        Some((subject.clone(), Self { kind, size: size.clone(), channels, count, port }))
    }

    pub(crate) fn path(&self, dialect: &str) -> String {
        let kind = match self.kind {
            Kind::Receive => "receive",
            Kind::Send => "send",
            Kind::Echo | Kind::Connect => "echo",
        };
        format!("/{dialect}/{kind}/{}/{}/{}", self.size, self.channels, self.count)
    }

    pub(crate) fn channel(index: usize) -> String {
        format!("room-{index}")
    }

    /// Messages of a stream that belong to one channel.
    pub(crate) fn share(&self, channel: usize) -> u64 {
        let channels = self.channels as u64;
        self.count / channels + u64::from((channel as u64) < self.count % channels)
    }
}

/// What the callback reads.
#[derive(Debug, Deserialize)]
struct Tick {
    seq: u64,
}

/// The callback: counts, and fails on what is lost or out of order.
#[derive(Debug)]
pub(crate) struct Receiver {
    reads: Reads,
    expected: u64,
    step: u64,
}

impl Receiver {
    pub(crate) fn new(reads: Reads, channel: usize, channels: usize) -> Self {
        Self { reads, expected: FIRST + channel as u64, step: channels as u64 }
    }

    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), Error> {
        let seq = match self.reads {
            Reads::Field => serde_json::from_slice::<Tick>(payload)?.seq,
            Reads::Raw => raw_sequence(payload).ok_or("a payload that does not begin with seq")?,
        };
        if seq != self.expected {
            return Err(format!("message {seq} came instead of {}", self.expected).into());
        }
        self.expected += self.step;
        Ok(())
    }
}

fn raw_sequence(payload: &[u8]) -> Option<u64> {
    let digits = payload.strip_prefix(b"{\"seq\":")?.get(..8)?;
    Some(digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// The payload of a message that is sent.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Said {
    seq: u64,
    room: &'static str,
    user: &'static str,
    kind: &'static str,
    text: &'static str,
    at: f64,
}

pub(crate) fn said(sequence: u64) -> Said {
    Said {
        seq: FIRST + sequence,
        room: "lobby",
        user: "u-48213",
        kind: "chat",
        text: "Shall we meet at n",
        at: 1_700_000_000.125,
    }
}

/// Counts down to the end of a case.
#[derive(Debug)]
pub(crate) struct Left {
    count: AtomicU64,
    done: Notify,
}

impl Left {
    pub(crate) fn new(count: u64) -> Self {
        Self { count: AtomicU64::new(count), done: Notify::new() }
    }

    pub(crate) fn one_less(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.done.notify_one();
        }
    }

    pub(crate) async fn none(&self) {
        self.done.notified().await;
    }
}
