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
    Request,
    Echo,
    Connect,
    Idle,
    Resubscribe,
    CatchUp,
}

impl Case {
    pub(crate) fn parse(arguments: &[String]) -> Option<(String, Self)> {
        let [subject, kind, size, channels, count, port] = arguments else { return None };
        let kind = match &**kind {
            "receive" => Kind::Receive,
            "send" => Kind::Send,
            "request" => Kind::Request,
            "echo" => Kind::Echo,
            "connect" => Kind::Connect,
            "idle" => Kind::Idle,
            "resubscribe" => Kind::Resubscribe,
            "catch-up" => Kind::CatchUp,
            _ => return None,
        };
        let (channels, count, port) = (channels.parse().ok()?, count.parse().ok()?, port.parse().ok()?);
        Some((subject.clone(), Self { kind, size: size.clone(), channels, count, port }))
    }

    pub(crate) fn url(&self, dialect: &str) -> String {
        let kind = match self.kind {
            Kind::Receive => "receive",
            Kind::Send | Kind::Request => "send",
            Kind::Echo | Kind::Connect | Kind::Idle => "echo",
            Kind::Resubscribe => "resubscribe",
            Kind::CatchUp => "catch-up",
        };
        let Self { size, channels, count, port, .. } = self;
        format!("ws://127.0.0.1:{port}/{dialect}/{kind}/{size}/{channels}/{count}")
    }

    /// Whether the server cuts the connection: the subject is to come back as soon as its settings allow.
    pub(crate) fn cuts(&self) -> bool {
        matches!(self.kind, Kind::Resubscribe | Kind::CatchUp)
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

/// The number of a message that belongs to no stream.
pub(crate) fn number(payload: &[u8]) -> Result<u64, Error> {
    Ok(serde_json::from_slice::<Tick>(payload)?.seq - FIRST)
}

/// The callback: counts, and fails on what is lost or out of order.
#[derive(Debug)]
pub(crate) struct Receiver {
    reads: Reads,
    channel: usize,
    expected: u64,
    step: u64,
}

impl Receiver {
    pub(crate) fn new(reads: Reads, channel: usize, channels: usize) -> Self {
        Self { reads, channel, expected: FIRST + channel as u64, step: channels as u64 }
    }

    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), Error> {
        let seq = match self.reads {
            Reads::Field => serde_json::from_slice::<Tick>(payload).ok().map(|tick| tick.seq),
            Reads::Raw => raw_sequence(payload),
        };
        let Some(seq) = seq else {
            let Self { channel, expected, .. } = self;
            return Err(format!("room-{channel}: message {expected} cannot be read").into());
        };
        if seq != self.expected {
            let Self { channel, expected, .. } = self;
            return Err(format!("room-{channel}: message {seq} came instead of {expected}").into());
        }
        self.expected += self.step;
        Ok(())
    }
}

fn raw_sequence(payload: &[u8]) -> Option<u64> {
    let digits = payload.strip_prefix(b"{\"seq\":")?.get(..8)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 10 + u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?)))
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
