//! What goes to the peer.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Dialect, Phase, Session};
use crate::budget::Permit;
use crate::channel::Channel;
use crate::error::{Error, ErrorKind};
use crate::io::{ChannelId, Data, Event, Output, Receipt, RequestId, Text};
use crate::outbox::{Mutate, Origin};
use crate::replica::OpKind;
use crate::status::ChannelState;
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{ClientMessage, ErrorCode, Frame, Op, Payload, Stream, plain};

/// A frame is closed once it holds this many bytes.
const FRAME_BYTES: usize = 32 << 10;
/// With so many bytes waiting in the driver only what keeps the connection alive goes out.
pub(super) const MAX_BACKLOG: usize = 1 << 20;

/// What a record of a durable outbox can hold.
const MAX_DURABLE: usize = 1 << 30;

/// Why the next entry cannot be written now.
enum Wait {
    /// Nothing is left, or an answer or a timer must come first.
    Later,
    /// It needs a frame of its own.
    OwnFrame,
}

impl Session {
    pub(super) fn enqueue(
        &mut self,
        now: crate::Timestamp,
        request: RequestId,
        channel: Option<ChannelId>,
        event: Option<Text>,
        payload: Data,
        permit: Permit,
    ) -> Result<(), Error> {
        self.now = now;
        self.accepts()?;
        if channel.is_some_and(|id| !self.channels.get(id).is_some_and(Channel::is_messages)) {
            return Err(Error::new(ErrorKind::InvalidOption, "there is no channel with this id"));
        }
        if self.outbox.journal.is_some() && payload.bytes().len() > MAX_DURABLE {
            let message = format!("a durable outbox takes messages of at most {MAX_DURABLE} bytes; send it in parts");
            return Err(Error::new(ErrorKind::Refused(ErrorCode::PayloadTooLarge), message));
        }
        self.recorder.send(now, channel, matches!(payload, Data::Binary(_)), payload.bytes().len());
        let origin = Origin { request: Some(request), channel, event, mutation: None };
        let name = channel.and_then(|id| self.channels.get(id)).map(|channel| channel.name.as_str());
        self.outbox.push(now, origin, name, payload, permit);
        // With a durable outbox it is not accepted yet.
        if self.outbox.journal.is_none() {
            self.drop_over_budget();
        }
        self.schedule_send_timeout();
        Ok(())
    }

    /// Whether the application may ask for something now.
    pub(super) fn accepts(&self) -> Result<(), Error> {
        if self.closing {
            return Err(Self::closed_error());
        }
        self.ended.clone().map_or(Ok(()), Err)
    }

    pub(super) fn enqueue_mutation(
        &mut self,
        request: RequestId,
        collection: ChannelId,
        mutation: Mutate,
        payload: Data,
        permit: Permit,
    ) {
        self.recorder.call(self.now, "mutate", Some(collection));
        let mutation = Some(Box::new(mutation));
        let origin = Origin { request: Some(request), channel: Some(collection), event: None, mutation };
        self.outbox.push(self.now, origin, None, payload, permit);
        self.drop_over_budget();
        self.schedule_send_timeout();
    }

    /// Fills the next frame with what is waiting: control messages first, then sends.
    pub(super) fn write(&mut self) {
        match self.phase {
            Phase::Handshake { .. } => self.flush_lines(),
            Phase::Connected { .. } => {
                if self.is_busy() {
                    return self.flush_lines();
                }
                match self.dialect {
                    Dialect::V1 => self.write_v1(),
                    Dialect::Plain => self.write_plain(),
                }
            }
            _ => {}
        }
    }

    /// So much waits in the driver that nothing is to be added that can wait.
    pub(super) fn is_busy(&self) -> bool {
        self.backlog > MAX_BACKLOG
    }

    fn write_v1(&mut self) {
        let frame_limit = self.limits.map_or(FRAME_BYTES, |limits| limits.frame as usize);
        // Also where the server allows nothing: then what waits is refused.
        while self.lines.len() < FRAME_BYTES.min(frame_limit).max(1) {
            let before = self.lines.len();
            match self.encode_next(frame_limit) {
                Ok(()) => {}
                Err(Wait::Later) => break,
                Err(Wait::OwnFrame) if before > 0 => break,
                Err(Wait::OwnFrame) => return,
            }
        }
        self.flush_lines();
    }

    /// Appends the next send to the waiting lines, or puts it into a frame of its own.
    fn encode_next(&mut self, frame_limit: usize) -> Result<(), Wait> {
        let inflight = self.limits.map_or(u64::MAX, |limits| limits.inflight.max(1));
        let payload_limit = self.limits.map_or(u64::MAX, |limits| limits.payload);
        if !self.outbox.has_unwritten()
            || self.outbox.written() as u64 >= inflight
            || self.timers.get(Timer::Hold).is_some()
            || self.timers.get(Timer::Rate).is_some()
        {
            return Err(Wait::Later);
        }
        let Some((id, entry)) = self.outbox.next() else { return Err(Wait::Later) };
        let size = entry.payload.bytes().len() as u64;
        if size > payload_limit {
            self.refuse_next(ErrorCode::PayloadTooLarge, size, payload_limit);
            return Ok(());
        }
        let payload = match &entry.payload {
            Data::Json(json) => Payload::Json(json),
            Data::Binary(bytes) => Payload::Binary(bytes),
        };
        let event = entry.origin.event.as_deref();
        let channel = entry.origin.channel.and_then(|id| self.channels.get(id));
        let message = match (channel, &entry.origin.mutation) {
            (Some(channel), Some(mutation)) => ClientMessage::Mutate {
                id,
                channel: Cow::Borrowed(channel.name.as_str()),
                collection: Cow::Borrowed(channel.collection_name()),
                op: match mutation.op {
                    OpKind::Insert => Op::Insert(payload.bytes()),
                    OpKind::Update => Op::Update(payload.bytes()),
                    OpKind::Remove => Op::Remove,
                },
                key: Cow::Borrowed(mutation.key.as_str()),
                if_revision: mutation.if_revision,
            },
            (Some(channel), None) => ClientMessage::Publish {
                id,
                channel: Cow::Borrowed(channel.name.as_str()),
                event: Cow::Borrowed(event.unwrap_or_default()),
                payload,
            },
            (None, _) => ClientMessage::Send { id, event: event.map(Cow::Borrowed), payload },
        };
        let own_frame = message.is_binary();
        let before = self.lines.len();
        if own_frame && before > 0 {
            return Err(Wait::OwnFrame);
        }
        if before > 0 {
            self.lines.push(b'\n');
        }
        message.encode(&mut self.lines);
        let length = self.lines.len();
        if length > frame_limit {
            self.lines.truncate(before);
            if before > 0 {
                return Err(Wait::OwnFrame);
            }
            self.refuse_next(ErrorCode::FrameTooLarge, length as u64, frame_limit as u64);
            return Ok(());
        }
        if let Some(rate) = &mut self.rate
            && let Err(at) = rate.take(self.now)
        {
            self.lines.truncate(before);
            self.timers.set(Timer::Rate, at);
            return Err(Wait::Later);
        }
        self.recorder.client_message(&message, entry.origin.channel);
        self.outbox.advance();
        self.stats.messages_sent += 1;
        if own_frame {
            let frame = Frame::Binary(Bytes::from(std::mem::take(&mut self.lines)));
            self.transmit(frame);
            return Err(Wait::OwnFrame);
        }
        Ok(())
    }

    fn refuse_next(&mut self, code: ErrorCode, size: u64, limit: u64) {
        if let Some(entry) = self.outbox.refuse_next() {
            let what = if code == ErrorCode::PayloadTooLarge { "payload" } else { "message" };
            let message = format!("a {what} of {size} bytes is over the server's limit of {limit}; send it in parts");
            self.fail_send(entry.origin, Error::new(ErrorKind::Refused(code), message));
            self.after_answer();
        }
    }

    fn write_plain(&mut self) {
        while self.outputs.is_empty() && self.outbox.has_unwritten() && self.timers.get(Timer::Rate).is_none() {
            let Some((_, entry)) = self.outbox.next() else { return };
            let origin = &entry.origin;
            if let (Some(mutation), Some(id), Some(request)) = (origin.mutation.clone(), origin.channel, origin.request)
            {
                if let Some(rate) = &mut self.rate
                    && let Err(at) = rate.take(self.now)
                {
                    return self.timers.set(Timer::Rate, at);
                }
                match self.peer_mutation(id, request, &mutation) {
                    Ok(frame) => {
                        self.recorder.outgoing("publish", Some(id));
                        self.outbox.advance();
                        self.stats.messages_sent += 1;
                        self.transmit(frame);
                    }
                    Err(error) => {
                        if let Some(entry) = self.outbox.refuse_next() {
                            self.fail_send(entry.origin, error);
                            self.after_answer();
                        }
                    }
                }
                continue;
            }
            let frame = match (&entry.payload, entry.origin.channel) {
                (Data::Binary(bytes), None) => Frame::Binary(bytes.clone()),
                (Data::Binary(_), Some(_)) => {
                    if let Some(entry) = self.outbox.refuse_next() {
                        let message = "the plain dialect carries no binary messages in channels; use JSON, or send_binary to the backend";
                        self.fail_send(entry.origin, Error::new(ErrorKind::Unsupported, message));
                        self.after_answer();
                    }
                    continue;
                }
                (Data::Json(json), channel) => {
                    let event = entry.origin.event.as_deref().unwrap_or_default();
                    match channel.and_then(|id| self.channels.get(id)) {
                        Some(channel) => plain_frame(&channel.name, event, json, self.now),
                        None => {
                            let mut out = Vec::with_capacity(json.len() + 128);
                            plain::encode(&mut out, event, json, self.now.as_millis(), None);
                            Frame::Text(Bytes::from(out))
                        }
                    }
                }
            };
            if let Some(rate) = &mut self.rate
                && let Err(at) = rate.take(self.now)
            {
                return self.timers.set(Timer::Rate, at);
            }
            let channel = entry.origin.channel;
            self.recorder.outgoing(if channel.is_some() { "publish" } else { "send" }, channel);
            self.outbox.advance();
            self.stats.messages_sent += 1;
            self.transmit(frame);
        }
    }

    /// Everything polled is with the operating system: where the dialect has no acknowledgements, that is all there is to know.
    pub(super) fn flushed(&mut self) {
        if self.dialect != Dialect::Plain {
            return;
        }
        // What was not polled yet was not handed on; its own flush comes after that.
        let unpolled = self.outputs.iter().filter(|output| matches!(output, Output::Send { .. })).count();
        while self.outbox.written() > unpolled
            && let Some(entry) = self.outbox.take_written()
        {
            self.stats.acknowledged += 1;
            let Some(request) = entry.origin.request else { continue };
            self.event(Event::Receipt(Receipt {
                request,
                acknowledged: false,
                epoch: None,
                offset: None,
                duplicate: false,
            }));
        }
        if unpolled == 0 {
            self.peers_flushed();
        }
        self.after_answer();
    }

    pub(super) fn expire_sends(&mut self) {
        let Some(timeout) = self.config.send_timeout else { return };
        let acknowledges = self.dialect == Dialect::V1 && matches!(self.phase, Phase::Connected { .. });
        while let Some(origin) = self.outbox.give_up_older(self.now, timeout, acknowledges) {
            let message =
                format!("no receipt came within {timeout:?} (sendTimeout); it may have been accepted all the same");
            self.fail_send(origin, Error::new(ErrorKind::Timeout, message));
        }
        self.after_answer();
    }

    pub(super) fn schedule_send_timeout(&mut self) {
        let Some(timeout) = self.config.send_timeout else { return };
        match self.outbox.oldest() {
            Some(since) => self.timers.set(Timer::SendTimeout, since + timeout),
            None => self.timers.clear(Timer::SendTimeout),
        }
    }

    /// Subscribes every channel that waits for it, but for those whose backlog of unconsumed messages another window would top.
    pub(super) fn resubscribe_waiting(&mut self) {
        if !matches!(self.phase, Phase::Connected { .. }) {
            return;
        }
        let v1 = self.dialect == Dialect::V1;
        let full = v1 && self.unconsumed > self.config.inbox.connection / 2;
        self.held_back = false;
        for id in self.wanted_channels() {
            let Some(channel) = self.channels.get(id) else { continue };
            let ready = channel.request.is_none() && channel.retry_at.is_none();
            let waits = ready && channel.state != ChannelState::Subscribed;
            let again = channel.state == ChannelState::Resubscribing;
            if !waits || self.timers.get(Timer::Resubscribe).is_some() {
                continue;
            }
            if v1 && again && (full || channel.is_behind(self.config.inbox)) {
                self.held_back = true;
            } else {
                self.send_subscribe(id);
            }
        }
    }

    /// Tells and sends what the application's changes of mind since the last poll come to.
    pub(super) fn settle_changes(&mut self) {
        let connected = matches!(self.phase, Phase::Connected { .. });
        for id in std::mem::take(&mut self.changed) {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            channel.changed = false;
            let (state, wanted, asked) = (channel.state, channel.wanted, channel.asked);
            let waits = wanted && channel.request.is_none() && state == ChannelState::Subscribing;
            if state == ChannelState::Idle && channel.told == state {
                // Subscribed and left within one turn: whoever waits for the end hears of it all the same.
                self.event(Event::Channel { channel: id, state, error: None });
            }
            self.set_channel_state(id, state, None);
            if connected && waits {
                self.send_subscribe(id);
            } else if connected && !wanted && asked {
                self.send_unsubscribe(id);
            }
        }
    }

    pub(super) fn wanted_channels(&mut self) -> Vec<ChannelId> {
        self.channels.iter_mut().filter(|channel| channel.wanted).map(|channel| channel.id).collect()
    }

    pub(super) fn send_subscribe(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.reset_window();
        let again = std::mem::replace(&mut channel.asked, true);
        let (name, stream) = channel.names();
        match self.dialect {
            Dialect::V1 => {
                let mut since = channel.position.clone();
                if let Some(since) = &mut since {
                    since.offset += u64::from(crate::mutant("since-too-far"));
                    since.offset -= u64::from(crate::mutant("since-too-near") && since.offset > 0);
                }
                let state = match channel.state {
                    ChannelState::Failed | ChannelState::Idle | ChannelState::Unsubscribing => {
                        ChannelState::Subscribing
                    }
                    state => state,
                };
                let request = self.control(|id| ClientMessage::Subscribe { id, channel: name, stream, since });
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.request = Some(request);
                }
                self.set_channel_state(id, state, None);
            }
            Dialect::Plain if stream != Stream::Messages => self.peer_subscribe(id),
            Dialect::Plain => {
                let initial = channel.state != ChannelState::Resubscribing;
                let name = Text::from(&*name);
                if again {
                    // It begins anew.
                    self.peer.wired.remove(&name);
                }
                self.rewire(&name);
                self.set_channel_state(id, ChannelState::Subscribed, None);
                self.subscription_began(id, initial);
            }
        }
    }

    pub(super) fn send_unsubscribe(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.reset_window();
        channel.asked = false;
        let (name, stream) = channel.names();
        match self.dialect {
            Dialect::V1 => {
                let request = self.control(|id| ClientMessage::Unsubscribe { id, channel: name, stream });
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.request = Some(request);
                }
                self.set_channel_state(id, ChannelState::Unsubscribing, None);
            }
            Dialect::Plain => {
                self.rewire(&Text::from(&*name));
                self.peer_unsubscribe(id);
                self.set_channel_state(id, ChannelState::Idle, None);
            }
        }
    }

    pub(super) fn send_credit(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let mut bytes = std::mem::take(&mut channel.owed);
        if crate::mutant("credit-twice") {
            bytes *= 2;
        }
        let subscribed = channel.state == ChannelState::Subscribed;
        let (channel, stream) = channel.names();
        self.owed = self.owed.saturating_sub(bytes);
        self.recorder.ends_row();
        if crate::mutant("no-credit") {
            return;
        }
        if self.dialect == Dialect::V1 && subscribed && matches!(self.phase, Phase::Connected { .. }) {
            self.line(&ClientMessage::Credit { channel, stream, bytes });
        }
    }

    pub(super) fn send_ping(&mut self) {
        let id = self.heartbeat.ping(self.now);
        match self.dialect {
            Dialect::V1 => self.line(&ClientMessage::Ping { id, timestamp: Some(self.now.as_millis()) }),
            Dialect::Plain => {
                // A backend that knows no JSON ping still answers this one.
                self.recorder.outgoing("ping", None);
                self.transmit(Frame::Ping(Bytes::from(id.to_string())));
                self.recorder.outgoing("ping", None);
                self.send_plain(plain::encode_ping);
            }
        }
    }

    /// Adds a request other than a publish to the waiting lines; returns its id.
    pub(super) fn control<'a>(&mut self, message: impl FnOnce(u64) -> ClientMessage<'a>) -> u64 {
        self.next_control_id += 1;
        self.line(&message(self.next_control_id));
        self.next_control_id
    }

    pub(super) fn line(&mut self, message: &ClientMessage<'_>) {
        let limit = self.limits.map_or(FRAME_BYTES, |limits| FRAME_BYTES.min(limits.frame as usize));
        let before = self.lines.len();
        if before > 0 {
            self.lines.push(b'\n');
        }
        message.encode(&mut self.lines);
        if before > 0 && self.lines.len() > limit {
            // The entry of this one is made below, into the next frame.
            let last = self.lines.split_off(before + 1);
            self.lines.truncate(before);
            self.flush_lines();
            self.lines = last;
        }
        self.recorder.client_message(message, None);
    }

    pub(super) fn flush_lines(&mut self) {
        if !self.lines.is_empty() {
            let frame = Frame::Text(Bytes::from(std::mem::take(&mut self.lines)));
            self.transmit(frame);
        }
    }

    pub(super) fn send_plain(&mut self, encode: impl FnOnce(&mut Vec<u8>, u64)) {
        let mut out = Vec::new();
        encode(&mut out, self.now.as_millis());
        self.transmit(Frame::Text(Bytes::from(out)));
    }

    pub(super) fn transmit(&mut self, frame: Frame) {
        self.stats.bytes_sent += frame.len() as u64;
        self.recorder.sent(self.now, self.attempt, frame.len());
        self.outputs.push_back(Output::Send { attempt: self.attempt, frame });
    }
}

/// A message to a channel, in `plain`.
pub(super) fn plain_frame(channel: &str, event: &str, payload: &[u8], now: Timestamp) -> Frame {
    let mut out = Vec::with_capacity(payload.len() + 128);
    plain::encode_channel_message(&mut out, channel, event, payload, now.as_millis());
    Frame::Text(Bytes::from(out))
}
