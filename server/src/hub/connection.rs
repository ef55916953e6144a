use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{Encoding, ServerMessage, Window};

use super::config::{HubConfig, ms};
use super::rate::Bucket;
use super::sessions::SessionKey;
use super::streams::StreamKey;
use super::subscriptions::Subscriptions;
use crate::auth::Identity;

/// Frames of several lines are closed at this size.
pub(super) const FRAME_TARGET: usize = 64 << 10;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// `realtime.v1`.
    V1,
    /// `plain`.
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for `hello`.
    Opening,
    Open,
    /// Only the answers that are waiting still go out.
    Closing,
}

/// What the hub knows of one client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) dialect: Dialect,
    pub(super) phase: Phase,
    pub(super) opened_at: u64,
    pub(super) last_heard: u64,
    pub(super) identity: Option<Identity>,
    pub(super) session: Option<SessionKey>,
    pub(super) encoding: Encoding,
    pub(super) control: Control,
    pub(super) subscriptions: Subscriptions,
    /// The subscriptions that have something to send, in turn.
    pub(super) behind: VecDeque<StreamKey>,
    pub(super) window: Option<Window>,
    /// Bytes of messages that the client has not given back.
    pub(super) outstanding: u64,
    /// The network was told that there is something to pull.
    pub(super) ready: bool,
    /// Since when the socket has taken nothing.
    pub(super) blocked_since: Option<u64>,
    pub(super) rate: Bucket,
    pub(super) faults: Faults,
    pub(super) next_ping: u64,
    /// When a drain closes it.
    pub(super) close_at: Option<u64>,
    /// When its timer goes off.
    pub(super) scheduled: u64,
}

impl Connection {
    pub(super) fn new(dialect: Dialect, identity: Option<Identity>, now: u64, config: &HubConfig) -> Self {
        let phase = if dialect == Dialect::Plain { Phase::Open } else { Phase::Opening };
        Self {
            dialect,
            phase,
            opened_at: now,
            last_heard: now,
            identity,
            session: None,
            encoding: Encoding::Text,
            control: Control::default(),
            subscriptions: Subscriptions::default(),
            behind: VecDeque::new(),
            window: None,
            outstanding: 0,
            ready: false,
            blocked_since: None,
            rate: Bucket::new(config.limits.rate, now),
            faults: Faults::default(),
            next_ping: now.saturating_add(ms(config.heartbeat)),
            close_at: None,
            scheduled: u64::MAX,
        }
    }

    pub(super) fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref().and_then(|identity| identity.user.clone())
    }

    pub(super) fn expires_at(&self) -> Option<u64> {
        self.identity.as_ref().and_then(|identity| identity.expires_at)
    }

    /// When something has to be done about it if nothing comes from it.
    pub(super) fn deadline(&self, config: &HubConfig) -> u64 {
        let alive = match self.phase {
            Phase::Opening => self.opened_at.saturating_add(ms(config.handshake_timeout)),
            Phase::Open => self.last_heard.saturating_add(ms(config.timeout)),
            Phase::Closing => return u64::MAX,
        };
        let ping = if self.dialect == Dialect::Plain { self.next_ping } else { u64::MAX };
        let write = self.blocked_since.map_or(u64::MAX, |since| since.saturating_add(ms(config.write_timeout)));
        let expiry = self.expires_at().unwrap_or(u64::MAX);
        alive.min(ping).min(write).min(expiry).min(self.close_at.unwrap_or(u64::MAX))
    }

    /// Whether there is something to pull.
    pub(super) fn has_work(&self) -> bool {
        !self.control.is_empty() || (!self.behind.is_empty() && self.phase == Phase::Open && self.is_window_open())
    }

    pub(super) fn is_window_open(&self) -> bool {
        self.window.is_none_or(|window| self.outstanding < window.connection || super::mutant("window-ignored"))
    }

    /// Puts a subscription into the turn if it may send.
    pub(super) fn enqueue(&mut self, key: StreamKey) {
        let Some(subscription) = self.subscriptions.subscription_mut(key) else { return };
        let open = self.window.is_none_or(|window| subscription.outstanding < window.channel)
            || super::mutant("window-ignored");
        if open && !subscription.queued {
            subscription.queued = true;
            self.behind.push_back(key);
        }
    }

    /// Ends a subscription and takes back what it had outstanding.
    pub(super) fn unsubscribe(&mut self, key: StreamKey) {
        if let Some(subscription) = self.subscriptions.remove(key) {
            self.outstanding -= subscription.outstanding;
            if subscription.queued {
                self.behind.retain(|behind| *behind != key);
            }
        }
    }

    /// Gives bytes back to a stream and the connection, at most what is outstanding.
    pub(super) fn credit(&mut self, key: StreamKey, bytes: u64) {
        if let Some(subscription) = self.subscriptions.subscription_mut(key) {
            let bytes = bytes.min(subscription.outstanding);
            subscription.outstanding -= bytes;
            self.outstanding -= bytes;
        }
    }
}

/// Answers that wait for the socket. Everything but channel messages goes here, and overtakes them.
#[derive(Debug, Default)]
pub(super) struct Control {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Receipts and refusals among them.
    pub(super) answers: u64,
}

#[derive(Debug)]
pub(super) enum Waiting {
    /// JSON messages, one a line.
    Lines(Vec<u8>),
    /// A text frame of its own.
    Text(Bytes),
    /// A binary frame of its own.
    Binary(Bytes),
    /// A WebSocket ping.
    Ping,
}

impl Control {
    /// Adds a message that may share its frame with others.
    pub(super) fn line(&mut self, message: &ServerMessage<'_>) {
        if !matches!(self.waiting.back(), Some(Waiting::Lines(lines)) if lines.len() < FRAME_TARGET) {
            self.waiting.push_back(Waiting::Lines(Vec::new()));
        }
        if let Some(Waiting::Lines(lines)) = self.waiting.back_mut() {
            let before = lines.len();
            if before > 0 {
                lines.push(b'\n');
            }
            message.encode(lines);
            self.bytes += lines.len() - before;
        }
    }

    /// Adds a frame of its own.
    pub(super) fn alone(&mut self, frame: Waiting) {
        self.bytes += frame.len();
        self.waiting.push_back(frame);
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let frame = self.waiting.pop_front()?;
        self.bytes -= frame.len();
        if self.waiting.is_empty() {
            self.answers = 0;
        }
        Some(frame)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Waiting {
    fn len(&self) -> usize {
        match self {
            Waiting::Lines(lines) => lines.len(),
            Waiting::Text(bytes) | Waiting::Binary(bytes) => bytes.len(),
            Waiting::Ping => 0,
        }
    }
}

/// Counts what could not be tied to a request: twenty in a second are no accident.
#[derive(Debug, Default)]
pub(super) struct Faults {
    since: u64,
    count: u32,
}

impl Faults {
    /// Counts one; `true` where it was one too many.
    pub(super) fn count(&mut self, now: u64) -> bool {
        if now.saturating_sub(self.since) >= 1000 {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        self.count >= 20
    }
}
