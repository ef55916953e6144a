//! The flight recorder: what a session did last, in a ring of entries of one size. No payload, token or session id gets into it.

use serde_json::{Map, Value, json};

use crate::io::{Attempt, ChannelId, Event};
use crate::status::{ChannelState, Status};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{ClientMessage, CloseCode, Limits, Message, Payload, ServerMessage};

/// The last entries, and how many there ever were.
#[derive(Debug)]
pub(crate) struct Recorder {
    ring: Vec<Entry>,
    capacity: usize,
    total: usize,
    /// The session was polled since the last input.
    polled: bool,
    /// Something was asked of the server since the last entry, which a later call may not be counted before.
    split: bool,
    /// Calls are told apart by their times, since a timer counts from each.
    timed: bool,
    /// The frame that is being read: its socket, and the number of its first entry.
    frame: (Attempt, Option<usize>),
    /// How far back a run in it may be taken up again.
    look_back: usize,
    /// By channel: the number of the entry with its last run of messages, and one.
    runs: Vec<usize>,
    /// Runs with lesser numbers are over: something else came after them.
    barrier: usize,
    /// What waits for the next frame to be sent.
    outgoing: Vec<Segment>,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    what: What,
    /// An input that came before the session was polled after the last one.
    joined: bool,
    /// Of what is rare: numbers and codes that decide what the session does.
    detail: Option<Box<Value>>,
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
    Flushed(Attempt),
    Backlog(Attempt, u64),
    /// Calls of the application, of one kind in a row.
    Call(Call),
    /// The first segment of a frame, or (`true`) another one of it.
    Received(Attempt, bool, Segment),
    Sent(Attempt, bool, Segment),
}

/// Calls of one kind in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) channel: Option<ChannelId>,
    pub(crate) count: u32,
    /// In all. Of `consumed`: how long the calls went on, in µs.
    pub(crate) bytes: u32,
    /// A time, a number or a choice, where the call has one; of a send whether it is binary.
    pub(crate) argument: u64,
}

/// Messages of one type, one channel and consecutive numbers in a frame, without their payloads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    kind: u8,
    binary: bool,
    /// Only with others of the same size: each may be consumed by itself.
    alone: bool,
    channel: u32,
    count: u32,
    bytes: u32,
    /// How long after the frame the last of `extra` was consumed, in µs.
    after: u32,
    /// The id or offset of the first; 0 where it has none.
    first: u64,
    /// Received: bytes of this channel that the application consumed after that. Sent: bytes of credit, or the offset to go on from.
    extra: u64,
}

/// Segments of a frame that are looked at for one that goes on. What is between them may change places with it.
const LOOK_BACK: usize = 4;
/// Segments of a frame to be sent that are told apart.
const MAX_OUTGOING: usize = 16;
/// Sends up to this size are counted together, whatever their sizes.
const SMALL: usize = 1024;
/// Epochs longer than that are told by their beginning.
const EPOCH: usize = 64;

const NO_CHANNEL: u32 = u32::MAX;

const TYPES: [&str; 32] = [
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
    "duplicate",
    "unroutable",
    "malformed",
    "mixed",
];
const MIXED: u8 = 31;

/// A kind of message in a received frame, by its place in the names above.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Message = 0,
    Direct = 2,
    Pong = 8,
    Ping = 18,
    Duplicate = 28,
    Unroutable = 29,
    Malformed = 30,
}

impl Recorder {
    pub(crate) fn new(capacity: usize, timed: bool) -> Self {
        Self {
            ring: Vec::with_capacity(capacity),
            capacity,
            total: 0,
            polled: true,
            split: false,
            timed,
            frame: (Attempt(0), None),
            look_back: LOOK_BACK,
            runs: Vec::new(),
            barrier: 0,
            outgoing: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, at: Timestamp, what: What) {
        self.note_with(at, what, false, None);
    }

    /// Something that the session is told.
    pub(crate) fn input(&mut self, at: Timestamp, what: What, detail: Option<Value>) {
        let joined = !std::mem::replace(&mut self.polled, false);
        self.note_with(at, what, joined, detail.map(Box::new));
    }

    pub(crate) fn polled(&mut self) {
        self.polled = true;
    }

    fn note_with(&mut self, at: Timestamp, what: What, joined: bool, detail: Option<Box<Value>>) {
        if self.capacity == 0 {
            return;
        }
        if !matches!(what, What::Received(..)) {
            self.barrier = self.total + 1;
        }
        let entry = Entry { at, what, joined, detail };
        if self.ring.len() < self.capacity {
            self.ring.push(entry);
        } else {
            let place = self.total % self.capacity;
            self.ring[place] = entry;
        }
        self.split = false;
        self.total += 1;
    }

    /// A call; many of one kind share an entry.
    pub(crate) fn call(&mut self, at: Timestamp, name: &'static str, channel: Option<ChannelId>) {
        self.call_with(at, name, channel, 0, None);
    }

    pub(crate) fn call_with(
        &mut self,
        at: Timestamp,
        name: &'static str,
        channel: Option<ChannelId>,
        argument: u64,
        detail: Option<Value>,
    ) {
        self.input(at, What::Call(Call { name, channel, count: 1, bytes: 0, argument }), detail);
    }

    /// A send that was accepted.
    pub(crate) fn send(&mut self, at: Timestamp, channel: Option<ChannelId>, binary: bool, bytes: usize) {
        let name = if channel.is_some() { "publish" } else { "send" };
        let timed = self.timed;
        if !self.split
            && let Some(Entry { at: since, what: What::Call(last), .. }) = self.last()
            && last.name == name
            && last.channel == channel
            && last.argument == u64::from(binary)
            && (bytes <= SMALL && last.bytes <= short(SMALL).saturating_mul(last.count)
                || u64::from(last.bytes) == bytes as u64 * u64::from(last.count))
            && (!timed || *since == at)
        {
            last.count = last.count.saturating_add(1);
            last.bytes = last.bytes.saturating_add(short(bytes));
            self.polled = false;
        } else {
            let argument = u64::from(binary);
            self.input(at, What::Call(Call { name, channel, count: 1, bytes: short(bytes), argument }), None);
        }
    }

    /// Consumed bytes, which are part of the entry of the frame that they came in where that is the last.
    pub(crate) fn consumed(&mut self, at: Timestamp, channel: Option<ChannelId>, bytes: u64) {
        let id = channel.map_or(NO_CHANNEL, |channel| channel.0);
        let joined = !std::mem::replace(&mut self.polled, false);
        // What is counted together had no effect but of the last: a credit, or an entry, ends the row.
        if !self.split
            && let Some(last) = self.last()
            && let Ok(after) = u32::try_from(at.as_micros().saturating_sub(last.at.as_micros()))
        {
            match &mut last.what {
                What::Received(_, _, segment) if segment.channel == id => {
                    (segment.extra, segment.after) = (segment.extra + bytes, after);
                    return;
                }
                What::Call(last) if last.name == "consumed" && last.channel == channel => {
                    (last.argument, last.bytes) = (last.argument + bytes, after);
                    return;
                }
                _ => {}
            }
        }
        let call = Call { name: "consumed", channel, count: 1, bytes: 0, argument: bytes };
        self.note_with(at, What::Call(call), joined, None);
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

    /// A frame is about to be read. `ordered`: each of its messages may be the last that is.
    pub(crate) fn frame(&mut self, attempt: Attempt, ordered: bool) {
        self.frame = (attempt, None);
        self.look_back = if ordered { 1 } else { LOOK_BACK };
    }

    /// A message in the frame that is being read.
    pub(crate) fn server_message(
        &mut self,
        at: Timestamp,
        message: &ServerMessage<'_>,
        channel: Option<ChannelId>,
        bytes: usize,
    ) {
        let (kind, number, detail) = match message {
            ServerMessage::Message(_) => return,
            ServerMessage::Receipt(receipt) => (1, receipt.id, None),
            ServerMessage::Direct { payload, .. } => {
                return self.received(at, Kind::Direct, None, 0, bytes, matches!(payload, Payload::Binary(_)));
            }
            ServerMessage::Subscribed(answer) => {
                let detail =
                    json!({ "request": answer.id, "epoch": epoch(&answer.epoch), "recovered": answer.recovered });
                (3, answer.offset, Some(detail))
            }
            ServerMessage::Unsubscribed { id, .. } => (4, *id, None),
            ServerMessage::Gap { epoch: of, from, to, .. } => {
                (5, *to, Some(json!({ "epoch": epoch(of), "from": from })))
            }
            ServerMessage::Welcome(welcome) => {
                let Limits { frame, payload, channels, inflight, rate } = welcome.limits;
                let detail = json!({
                    "resumed": welcome.resumed,
                    "expiresIn": welcome.expires_in,
                    "heartbeat": welcome.heartbeat,
                    "timeout": welcome.timeout,
                    "time": welcome.time,
                    "limits": [frame, payload, channels, inflight, rate],
                });
                (6, 0, Some(detail))
            }
            ServerMessage::Authenticated { id, expires_in, .. } => (7, *id, Some(json!({ "expiresIn": expires_in }))),
            ServerMessage::Pong { id, .. } => (8, *id, None),
            ServerMessage::Goaway { spread, .. } => (9, *spread, None),
            ServerMessage::Error(refusal) => {
                let code = refusal.code.map(|code| code.as_str());
                let detail = json!({ "id": refusal.id, "code": code, "retryAfter": refusal.retry_after });
                (10, refusal.id.unwrap_or_default(), Some(detail))
            }
            ServerMessage::Snapshot(page) => (19, page.offset, None),
            ServerMessage::Presence { offset, .. } => (20, *offset, None),
            ServerMessage::Change(change) => (21, change.offset, None),
            ServerMessage::Digest { offset, .. } => (22, *offset, None),
            ServerMessage::Tracked { id, .. } => (23, *id, None),
            ServerMessage::Untracked { id, .. } => (24, *id, None),
        };
        self.incoming(at, Segment::new(kind, channel, number, bytes), detail);
    }

    pub(crate) fn received(
        &mut self,
        at: Timestamp,
        kind: Kind,
        channel: Option<ChannelId>,
        number: u64,
        bytes: usize,
        binary: bool,
    ) {
        self.incoming(at, Segment { binary, ..Segment::new(kind as u8, channel, number, bytes) }, None);
    }

    /// A message of a channel. What came twice, and what a snapshot may contain, is consumed by the session one by one, so that their
    /// sizes say when there is credit.
    pub(crate) fn channel_message(
        &mut self,
        at: Timestamp,
        kind: Kind,
        channel: ChannelId,
        message: &Message<'_>,
        bytes: usize,
        loads: bool,
    ) {
        let binary = matches!(message.payload, Payload::Binary(_));
        let alone = loads || matches!(kind, Kind::Duplicate);
        let segment = Segment::new(kind as u8, Some(channel), message.offset, bytes);
        let segment = Segment { binary, alone, ..segment };
        let place = channel.0 as usize;
        if place >= self.runs.len() {
            self.runs.resize(place + 1, 0);
        }
        if self.goes_on(self.runs[place], &segment) {
            return;
        }
        let before = self.total;
        self.incoming(at, segment, None);
        if self.total > before {
            self.runs[place] = self.total;
        }
    }

    /// Counts a message where the run before of its channel, in the same frame, goes on with it, however many of other channels came
    /// in between.
    fn goes_on(&mut self, run: usize, next: &Segment) -> bool {
        let Some(first) = self.frame.1.filter(|_| self.look_back > 1) else { return false };
        if run <= first.max(self.barrier) || self.total - run >= self.capacity {
            return false;
        }
        match &mut self.ring[(run - 1) % self.capacity].what {
            What::Received(_, _, run) => run.take(next),
            _ => false,
        }
    }

    /// What was consumed so far had an effect.
    pub(crate) fn ends_row(&mut self) {
        self.split = true;
    }

    /// The channel of the message that was just noted.
    pub(crate) fn of_channel(&mut self, channel: ChannelId) {
        if let Some(Entry { what: What::Received(_, _, segment), .. }) = self.last()
            && segment.count == 1
        {
            segment.channel = channel.0;
        }
    }

    fn incoming(&mut self, at: Timestamp, segment: Segment, detail: Option<Value>) {
        let (attempt, first) = self.frame;
        let Some(first) = first else {
            self.frame.1 = Some(self.total);
            return self.input(at, What::Received(attempt, false, segment), detail);
        };
        let goes_on = if detail.is_some() { 0 } else { self.look_back.min(self.total - first).min(self.ring.len()) };
        for back in 1..=goes_on {
            let place = (self.total - back) % self.capacity;
            let entry = &mut self.ring[place];
            let What::Received(_, _, last) = &mut entry.what else { break };
            if entry.detail.is_none() && last.take(&segment) {
                return;
            }
        }
        self.note_with(at, What::Received(attempt, true, segment), false, detail.map(Box::new));
    }

    /// A message that is on its way into the next frame.
    pub(crate) fn client_message(&mut self, message: &ClientMessage<'_>, channel: Option<ChannelId>) {
        let (kind, number, extra) = match message {
            ClientMessage::Hello(_) => (11, 0, 0),
            ClientMessage::Subscribe { id, since, .. } => (12, *id, since.as_ref().map_or(0, |since| since.offset)),
            ClientMessage::Unsubscribe { id, .. } => (13, *id, 0),
            ClientMessage::Publish { id, .. } => (14, *id, 0),
            ClientMessage::Send { id, .. } => (15, *id, 0),
            ClientMessage::Credit { bytes, .. } => (16, 0, *bytes),
            ClientMessage::Auth { id, .. } => (17, *id, 0),
            ClientMessage::Ping { id, .. } => (18, *id, 0),
            ClientMessage::Track { id, .. } => (25, *id, 0),
            ClientMessage::Untrack { id, .. } => (26, *id, 0),
            ClientMessage::Mutate { id, .. } => (27, *id, 0),
        };
        self.outgoing_segment(Segment { extra, ..Segment::new(kind, channel, number, 0) });
    }

    /// The same in `plain`, by one of the `TYPES`.
    pub(crate) fn outgoing(&mut self, kind: &str, channel: Option<ChannelId>) {
        if let Some(kind) = TYPES.iter().position(|name| *name == kind) {
            self.outgoing_segment(Segment::new(kind as u8, channel, 0, 0));
        }
    }

    fn outgoing_segment(&mut self, segment: Segment) {
        self.split = true;
        let full = self.outgoing.len() >= MAX_OUTGOING;
        if let Some(last) = self.outgoing.last_mut() {
            if last.take(&segment) {
                return;
            }
            if full {
                let count = last.count + 1;
                *last = Segment { count, ..Segment::new(MIXED, None, 0, 0) };
                return;
            }
        }
        self.outgoing.push(segment);
    }

    pub(crate) fn sent(&mut self, at: Timestamp, attempt: Attempt, bytes: usize) {
        let mut segments = std::mem::take(&mut self.outgoing);
        match segments.first_mut() {
            Some(first) => first.bytes = short(bytes),
            None => segments.push(Segment { count: 0, ..Segment::new(MIXED, None, 0, bytes) }),
        }
        for (place, segment) in segments.iter().enumerate() {
            self.note(at, What::Sent(attempt, place > 0, *segment));
        }
        // Its memory is used again.
        segments.clear();
        self.outgoing = segments;
    }

    /// The lines that waited are dropped.
    pub(crate) fn unsent(&mut self) {
        self.outgoing.clear();
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
}

impl Segment {
    fn new(kind: u8, channel: Option<ChannelId>, first: u64, bytes: usize) -> Self {
        let channel = channel.map_or(NO_CHANNEL, |channel| channel.0);
        Self { kind, binary: false, alone: false, channel, count: 1, bytes: short(bytes), after: 0, first, extra: 0 }
    }

    /// Counts the next one, where it goes on from this.
    fn take(&mut self, next: &Segment) -> bool {
        let follows = if self.first == 0 { next.first == 0 } else { next.first == self.first + u64::from(self.count) };
        let same = self.kind == next.kind && self.channel == next.channel && self.binary == next.binary;
        let alike =
            !(self.alone || next.alone) || u64::from(self.bytes) == u64::from(next.bytes) * u64::from(self.count);
        let runs = follows && same && alike && self.extra == 0 && next.extra == 0;
        if runs {
            self.count = self.count.saturating_add(1);
            self.bytes = self.bytes.saturating_add(next.bytes);
        }
        runs
    }

    fn describe(&self, attempt: Attempt, more: bool, extra: &str, object: &mut Map<String, Value>) {
        object.insert("attempt".into(), json!(attempt.0));
        object.insert("type".into(), json!(TYPES[usize::from(self.kind)]));
        object.insert("count".into(), json!(self.count));
        let mut put = |name: &str, value: u64| {
            if value > 0 {
                object.insert(name.into(), json!(value));
            }
        };
        put("bytes", self.bytes.into());
        put("after", self.after.into());
        put("first", self.first);
        put(extra, self.extra);
        if self.channel != NO_CHANNEL {
            object.insert("channel".into(), json!(self.channel));
        }
        for (name, is) in [("more", more), ("binary", self.binary)] {
            if is {
                object.insert(name.into(), json!(true));
            }
        }
    }
}

/// An epoch, or its beginning.
pub(crate) fn epoch(text: &str) -> &str {
    text.get(..EPOCH).unwrap_or(if text.len() < EPOCH { text } else { "" })
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
            What::Flushed(attempt) => {
                put("attempt", json!(attempt.0));
                "flushed"
            }
            What::Backlog(attempt, bytes) => {
                put("attempt", json!(attempt.0));
                put("bytes", json!(bytes));
                "backlog"
            }
            What::Call(call) => {
                put("call", json!(call.name));
                put("channel", json!(call.channel.map(|channel| channel.0)));
                put("count", json!(call.count));
                for (name, value) in [("bytes", call.bytes.into()), ("argument", call.argument)] {
                    if value > 0 {
                        put(name, json!(value));
                    }
                }
                "call"
            }
            What::Received(attempt, more, segment) => {
                segment.describe(attempt, more, "consumed", &mut object);
                "received"
            }
            What::Sent(attempt, more, segment) => {
                let extra = if segment.kind == 16 { "credit" } else { "since" };
                segment.describe(attempt, more, extra, &mut object);
                "sent"
            }
        };
        object.insert("what".to_owned(), json!(what));
        if self.joined {
            object.insert("joined".to_owned(), json!(true));
        }
        if let Some(detail) = &self.detail {
            object.insert("detail".to_owned(), (**detail).clone());
        }
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
    fn an_entry_has_72_bytes_at_most() {
        assert!(size_of::<Entry>() <= 72, "{}", size_of::<Entry>());
    }
}
