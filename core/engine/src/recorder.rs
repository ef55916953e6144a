//! The flight recorder: what a session did last, in a ring of entries of one size. No payload, token or session id gets into it.

use serde_json::{Map, Value, json};

use crate::io::{Attempt, ChannelId, Event};
use crate::status::{ChannelState, Status};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{ClientMessage, CloseCode, ServerMessage};

/// The last entries, and how many there ever were.
#[derive(Debug)]
pub(crate) struct Recorder {
    ring: Vec<Entry>,
    capacity: usize,
    total: usize,
    /// The number of the entry of the frame that is being read.
    frame: usize,
    /// What waits for the next frame to be sent.
    outgoing: Frame,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Timestamp,
    what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Status(Status),
    Phase(&'static str),
    Channel(ChannelId, ChannelState),
    Gap(ChannelId, Option<u64>, Option<u64>),
    Load(ChannelId, u64),
    Error(&'static str),
    Timer(Timer),
    /// The session wants a socket, or has no use for one.
    Open(Attempt),
    Close(Attempt, CloseCode),
    /// What the driver tells of a socket.
    Opened(Attempt),
    OpenFailed(Attempt),
    Closed(Attempt, Option<CloseCode>),
    /// Calls of the application, of one kind in a row.
    Call(&'static str, Option<ChannelId>, u32),
    Received(Attempt, Frame),
    Sent(Attempt, Frame),
}

/// A frame without its payloads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    bytes: u32,
    messages: u32,
    /// A bit for each type of message in it, by its place in `TYPES`.
    types: u32,
    /// Of the last message: where, and its id or offset.
    channel: Option<ChannelId>,
    number: u64,
}

const TYPES: [&str; 28] = [
    "message",
    "receipt",
    "direct",
    "subscribed",
    "unsubscribed",
    "gap",
    "welcome",
    "authenticated",
    "pong",
    "goaway",
    "error",
    "hello",
    "subscribe",
    "unsubscribe",
    "publish",
    "send",
    "credit",
    "auth",
    "ping",
    "snapshot",
    "presence",
    "change",
    "digest",
    "tracked",
    "untracked",
    "track",
    "untrack",
    "mutate",
];

impl Recorder {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { ring: Vec::with_capacity(capacity), capacity, total: 0, frame: 0, outgoing: Frame::default() }
    }

    pub(crate) fn note(&mut self, at: Timestamp, what: What) {
        let entry = Entry { at, what };
        if self.ring.len() < self.capacity {
            self.ring.push(entry);
        } else if self.capacity > 0 {
            let place = self.total % self.capacity;
            self.ring[place] = entry;
        } else {
            return;
        }
        self.total += 1;
    }

    /// A call; many of one kind share an entry.
    pub(crate) fn call(&mut self, at: Timestamp, name: &'static str, channel: Option<ChannelId>) {
        if let Some(Entry { what: What::Call(last, of, count), .. }) = self.last()
            && *last == name
            && *of == channel
        {
            *count = count.saturating_add(1);
        } else {
            self.note(at, What::Call(name, channel, 1));
        }
    }

    /// What the application is told; messages and receipts are in the entries of their frames.
    pub(crate) fn event(&mut self, at: Timestamp, event: &Event) {
        let what = match event {
            Event::Message(_) | Event::Direct(_) | Event::Receipt(_) => return,
            Event::Status { status, .. } => What::Status(*status),
            Event::Channel { channel, state, .. } => What::Channel(*channel, *state),
            Event::Gap(gap) => What::Gap(gap.channel, gap.from, gap.to),
            Event::Load(load) => What::Load(load.gap.channel, load.load),
            Event::Error(error) | Event::SendFailed { error, .. } => What::Error(error.code()),
            _ => return,
        };
        self.note(at, what);
    }

    pub(crate) fn received(&mut self, at: Timestamp, attempt: Attempt, bytes: usize) {
        self.frame = self.total;
        self.note(at, What::Received(attempt, Frame { bytes: short(bytes), ..Frame::default() }));
    }

    /// A message in the frame that is being read.
    pub(crate) fn server_message(&mut self, message: &ServerMessage<'_>) {
        let (kind, number) = match message {
            ServerMessage::Message(message) => (0, message.offset),
            ServerMessage::Receipt(receipt) => (1, receipt.id),
            ServerMessage::Direct { .. } => (2, 0),
            ServerMessage::Subscribed(answer) => (3, answer.offset),
            ServerMessage::Unsubscribed { id, .. } => (4, *id),
            ServerMessage::Gap { to, .. } => (5, *to),
            ServerMessage::Welcome(_) => (6, 0),
            ServerMessage::Authenticated { .. } => (7, 0),
            ServerMessage::Pong { id, .. } => (8, *id),
            ServerMessage::Goaway { spread, .. } => (9, *spread),
            ServerMessage::Error(refusal) => (10, refusal.id.unwrap_or_default()),
            ServerMessage::Snapshot(page) => (19, page.offset),
            ServerMessage::Presence { offset, .. } => (20, *offset),
            ServerMessage::Change(change) => (21, change.offset),
            ServerMessage::Digest { offset, .. } => (22, *offset),
            ServerMessage::Tracked { id, .. } => (23, *id),
            ServerMessage::Untracked { id, .. } => (24, *id),
        };
        self.incoming(|frame| frame.add(kind, number));
    }

    /// A message of a backend that speaks `plain`.
    pub(crate) fn plain_message(&mut self, is_pong: bool, has_channel: bool) {
        self.incoming(|frame| frame.add(if is_pong { 8 } else { if has_channel { 0 } else { 2 } }, 0));
    }

    /// The channel of the message that was just noted.
    pub(crate) fn of_channel(&mut self, channel: ChannelId) {
        self.incoming(|frame| frame.channel = Some(channel));
    }

    /// A message that is on its way into the next frame.
    pub(crate) fn client_message(&mut self, message: &ClientMessage<'_>, channel: Option<ChannelId>) {
        let (kind, number) = match message {
            ClientMessage::Hello(_) => (11, 0),
            ClientMessage::Subscribe { id, .. } => (12, *id),
            ClientMessage::Unsubscribe { id, .. } => (13, *id),
            ClientMessage::Publish { id, .. } => (14, *id),
            ClientMessage::Send { id, .. } => (15, *id),
            ClientMessage::Credit { bytes, .. } => (16, *bytes),
            ClientMessage::Auth { id, .. } => (17, *id),
            ClientMessage::Ping { id, .. } => (18, *id),
            ClientMessage::Track { id, .. } => (25, *id),
            ClientMessage::Untrack { id, .. } => (26, *id),
            ClientMessage::Mutate { id, .. } => (27, *id),
        };
        self.outgoing.add(kind, number);
        self.outgoing.channel = channel;
    }

    /// The same in `plain`, by one of the `TYPES`.
    pub(crate) fn outgoing(&mut self, kind: &str, channel: Option<ChannelId>) {
        if let Some(kind) = TYPES.iter().position(|name| *name == kind) {
            self.outgoing.add(kind as u32, 0);
            self.outgoing.channel = channel;
        }
    }

    pub(crate) fn sent(&mut self, at: Timestamp, attempt: Attempt, bytes: usize) {
        let frame = Frame { bytes: short(bytes), ..std::mem::take(&mut self.outgoing) };
        self.note(at, What::Sent(attempt, frame));
    }

    /// How many entries there ever were; those before the last ones are gone.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// The entries, the oldest first.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let oldest = if self.capacity > 0 { self.total % self.capacity } else { 0 };
        let (newer, older) = self.ring.split_at(oldest.min(self.ring.len()));
        let ordered: Vec<&Entry> =
            if self.total > self.capacity { older.iter().chain(newer).collect() } else { self.ring.iter().collect() };
        ordered.into_iter().map(Entry::describe).collect()
    }

    fn last(&mut self) -> Option<&mut Entry> {
        let place = self.total.checked_sub(1)?.checked_rem(self.capacity)?;
        self.ring.get_mut(place)
    }

    fn incoming(&mut self, change: impl FnOnce(&mut Frame)) {
        // Where one frame causes more entries than there is room, its own is gone.
        let Some(place) = self.frame.checked_rem(self.capacity) else { return };
        if let Some(Entry { what: What::Received(_, frame), .. }) = self.ring.get_mut(place) {
            change(frame);
        }
    }
}

impl Frame {
    fn add(&mut self, kind: u32, number: u64) {
        self.messages += 1;
        self.types |= 1 << kind;
        self.number = number;
        self.channel = None;
    }

    fn describe(&self, attempt: Attempt, object: &mut Map<String, Value>) {
        let types = TYPES.iter().enumerate().filter(|(at, _)| self.types & (1 << at) != 0).map(|(_, name)| *name);
        object.insert("attempt".into(), json!(attempt.0));
        object.insert("bytes".into(), json!(self.bytes));
        object.insert("messages".into(), json!(self.messages));
        object.insert("types".into(), json!(types.collect::<Vec<_>>()));
        if let Some(channel) = self.channel {
            object.insert("channel".into(), json!(channel.0));
        }
        if self.number > 0 {
            object.insert("number".into(), json!(self.number));
        }
    }
}

impl Entry {
    fn describe(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("at", json!(self.at.as_micros() as f64 / 1000.0));
        let what = match self.what {
            What::Status(status) => {
                put("status", json!(status.as_str()));
                "status"
            }
            What::Phase(phase) => {
                put("phase", json!(phase));
                "phase"
            }
            What::Channel(channel, state) => {
                put("channel", json!(channel.0));
                put("state", json!(state.as_str()));
                "channel"
            }
            What::Gap(channel, from, to) => {
                put("channel", json!(channel.0));
                put("from", json!(from));
                put("to", json!(to));
                "gap"
            }
            What::Load(channel, load) => {
                put("channel", json!(channel.0));
                put("load", json!(load));
                "load"
            }
            What::Error(code) => {
                put("code", json!(code));
                "error"
            }
            What::Timer(timer) => {
                put("timer", json!(format!("{timer:?}")));
                "timer"
            }
            What::Open(attempt) => {
                put("attempt", json!(attempt.0));
                "open"
            }
            What::Close(attempt, code) => {
                put("attempt", json!(attempt.0));
                put("code", json!(code.0));
                "close"
            }
            What::Opened(attempt) => {
                put("attempt", json!(attempt.0));
                "opened"
            }
            What::OpenFailed(attempt) => {
                put("attempt", json!(attempt.0));
                "openFailed"
            }
            What::Closed(attempt, code) => {
                put("attempt", json!(attempt.0));
                put("code", json!(code.map(|code| code.0)));
                "closed"
            }
            What::Call(name, channel, count) => {
                put("call", json!(name));
                put("channel", json!(channel.map(|channel| channel.0)));
                put("count", json!(count));
                "call"
            }
            What::Received(attempt, frame) => {
                frame.describe(attempt, &mut object);
                "received"
            }
            What::Sent(attempt, frame) => {
                frame.describe(attempt, &mut object);
                "sent"
            }
        };
        object.insert("what".to_owned(), json!(what));
        Value::Object(object)
    }
}

fn short(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_64_bytes_at_most() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }
}
