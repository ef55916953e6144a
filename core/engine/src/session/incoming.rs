//! What comes from the peer.

use std::time::Duration;

use bytes::Bytes;

use super::{Dialect, Phase, Session};
use crate::channel::Verdict;
use crate::content::Content;
use crate::error::{Error, ErrorKind};
use crate::hold::LoadOn;
use crate::io::{ChannelId, ChannelMessage, DirectMessage, Event, Receipt, Text};
use crate::presence::Own;
use crate::recorder::Kind;
use crate::status::ChannelState;
use crate::timers::Timer;
use crate::wire::{
    self, DecodeError, ErrorCode, Frame, Message, Payload, Refusal, ServerMessage, Stream, lines, plain,
};

impl Session {
    pub(super) fn frame(&mut self, frame: Frame) {
        if !matches!(self.phase, Phase::Connected { .. } | Phase::Handshake { .. }) {
            return;
        }
        self.heartbeat.alive(self.now);
        self.recorder.frame(self.attempt, self.closing);
        self.stats.bytes_received += frame.len() as u64;
        match (frame, self.dialect) {
            // The socket library of the driver has answered it.
            (Frame::Ping(payload), _) => {
                self.recorder.received(self.now, Kind::Ping, None, 0, payload.len(), true);
            }
            (Frame::Pong(payload), _) => {
                let id = std::str::from_utf8(&payload).ok().and_then(|text| text.parse().ok());
                self.recorder.received(self.now, Kind::Pong, None, id.unwrap_or_default(), payload.len(), true);
                if let Some(id) = id {
                    self.heartbeat.pong(self.now, Some(id));
                }
            }
            (Frame::Text(bytes), Dialect::V1) => self.json_lines(&bytes),
            (Frame::Binary(bytes), Dialect::V1) if bytes.first() == Some(&b'{') => self.json_lines(&bytes),
            (Frame::Binary(bytes), Dialect::V1) => match ServerMessage::decode_binary(&bytes) {
                Ok(message) => self.message(&bytes, bytes.len(), message),
                Err(error) => self.malformed(error),
            },
            (Frame::Text(bytes), Dialect::Plain) => match plain::decode(&bytes) {
                Ok(message) => self.plain_message(&bytes, message),
                Err(error) => self.malformed(error),
            },
            (Frame::Binary(bytes), Dialect::Plain) => {
                self.recorder.received(self.now, Kind::Direct, None, 0, bytes.len(), true);
                let content = Content::new(&bytes, None, None, Payload::Binary(&bytes));
                self.direct(DirectMessage { timestamp: None, content, size: bytes.len() as u64 });
            }
        }
    }

    fn json_lines(&mut self, frame: &Bytes) {
        for line in lines(frame) {
            // Nearly all of them, and worth a way of their own.
            if let Some(message) = Message::decode_fast(line) {
                self.channel_message(frame, line.len() as u64, &message);
                continue;
            }
            match ServerMessage::decode(line) {
                Ok(message) => self.message(frame, line.len(), message),
                Err(error) => self.malformed(error),
            }
            // A message may have ended this connection.
            if !matches!(self.phase, Phase::Connected { .. } | Phase::Handshake { .. }) {
                return;
            }
        }
    }

    fn message(&mut self, frame: &Bytes, size: usize, message: ServerMessage<'_>) {
        let channel = match &message {
            ServerMessage::Subscribed(answer) => self.channels.id(&answer.channel, &answer.stream),
            ServerMessage::Unsubscribed { channel, stream, .. } => self.channels.id(channel, stream),
            ServerMessage::Gap { channel, .. } => self.channels.id(channel, &Stream::Messages),
            _ => None,
        };
        self.recorder.server_message(self.now, &message, channel, size);
        match message {
            ServerMessage::Message(message) => self.channel_message(frame, size as u64, &message),
            ServerMessage::Receipt(receipt) => self.receipt(frame, &receipt),
            ServerMessage::Welcome(welcome) => self.welcomed(&welcome),
            ServerMessage::Subscribed(answer) => {
                let Some(channel) = self.channels.by_name(&answer.channel, &answer.stream) else { return };
                if channel.request != Some(answer.id) || !channel.wanted {
                    return;
                }
                let (id, initial) = (channel.id, channel.position.is_none());
                if !channel.is_messages() {
                    return self.stream_subscribed(id, &answer);
                }
                let gap = channel.subscribed(&answer);
                self.tell_subscribed(id);
                if initial {
                    self.subscription_began(id, true);
                }
                self.gap(gap);
            }
            ServerMessage::Unsubscribed { id: request, channel, stream } => {
                let Some(channel) = self.channels.by_name(&channel, &stream) else { return };
                if channel.request == Some(request) && !channel.wanted {
                    channel.request = None;
                    let id = channel.id;
                    self.set_channel_state(id, ChannelState::Idle, None);
                }
            }
            ServerMessage::Gap { channel, epoch, to, .. } => {
                let gap =
                    self.channels.by_name(&channel, &Stream::Messages).and_then(|channel| channel.skip(&epoch, to));
                self.gap(gap);
            }
            ServerMessage::Direct { event, timestamp, payload } => {
                let content = Content::new(frame, event.as_deref(), None, payload);
                self.direct(DirectMessage { timestamp, content, size: size as u64 });
            }
            ServerMessage::Authenticated { expires_in, .. } => self.schedule_refresh(expires_in),
            ServerMessage::Pong { id, .. } => self.heartbeat.pong(self.now, Some(id)),
            ServerMessage::Goaway { spread, .. } => {
                let wait = Duration::from_millis(spread).mul_f64(self.rng.fraction());
                self.timers.set(Timer::Goaway, self.now + wait);
            }
            ServerMessage::Error(refusal) => self.refused(&refusal),
            ServerMessage::Snapshot(page) => self.snapshot(frame, size as u64, &page),
            ServerMessage::Presence { channel, offset, join, leave, .. } => {
                self.presence_changed(frame, size as u64, &channel, offset, &join, &leave);
            }
            ServerMessage::Change(change) => self.collection_changed(frame, size as u64, &change),
            ServerMessage::Digest { channel, collection, offset, digest } => {
                self.digest(&channel, &collection, offset, digest);
            }
            ServerMessage::Tracked { id, channel, key, reference, verified, joined_at, seen_at } => {
                let own = Own { key: &key, reference: &reference, verified, joined_at, seen_at };
                self.tracking_accepted(&channel, id, Some(&own));
            }
            ServerMessage::Untracked { id, channel } => self.tracking_accepted(&channel, id, None),
        }
    }

    /// Also where it was subscribed before: it begins again.
    pub(super) fn tell_subscribed(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        (channel.state, channel.told) = (ChannelState::Subscribed, ChannelState::Subscribed);
        self.event(Event::Channel { channel: id, state: ChannelState::Subscribed, error: None });
    }

    fn channel_message(&mut self, frame: &Bytes, size: u64, message: &Message<'_>) {
        let Some(channel) =
            self.channels.by_name(&message.channel, &Stream::Messages).filter(|c| c.state == ChannelState::Subscribed)
        else {
            // In flight when it was unsubscribed; the server takes its window back by itself.
            self.stats.unroutable += 1;
            self.recorder.received(self.now, Kind::Unroutable, None, 0, size as usize, false);
            return;
        };
        let id = channel.id;
        let verdict = channel.receive(message.offset);
        let kind = if verdict == Verdict::Duplicate { Kind::Duplicate } else { Kind::Message };
        let loads = channel.hold.on != LoadOn::Never;
        self.recorder.channel_message(self.now, kind, id, message, size as usize, loads);
        match verdict {
            Verdict::Take => {}
            Verdict::Duplicate => {
                channel.unconsumed += size;
                self.unconsumed += size;
                self.stats.duplicates += 1;
                return self.consume(Some(id), size);
            }
            Verdict::After(gap) => self.gap(Some(gap)),
        }
        if message.timestamp < self.server_time {
            self.stats.recovered += 1;
        }
        self.deliver(ChannelMessage {
            channel: id,
            offset: Some(message.offset),
            timestamp: Some(message.timestamp),
            content: Content::new(frame, Some(&message.event), message.user.as_deref(), message.payload),
            size,
            implied: false,
        });
    }

    fn direct(&mut self, message: DirectMessage) {
        self.stats.messages_received += 1;
        self.unconsumed += message.size;
        self.event(Event::Direct(message));
    }

    fn receipt(&mut self, frame: &Bytes, receipt: &wire::Receipt<'_>) {
        // Unknown ids are those of sends that timed out, or were answered twice.
        let Some(entry) = self.outbox.take(receipt.id).filter(|entry| !entry.given_up) else {
            self.stats.unexpected += 1;
            return;
        };
        self.stats.acknowledged += 1;
        let epoch = receipt.epoch.as_ref().map(|epoch| Text::borrowed(frame, epoch));
        if let Some(request) = entry.origin.request {
            if let Some((collection, key)) = entry.origin.record() {
                self.mutation_accepted(request, collection, &key, epoch.as_ref(), receipt.offset);
            }
            self.event(Event::Receipt(Receipt {
                request,
                acknowledged: true,
                epoch,
                offset: receipt.offset,
                duplicate: receipt.duplicate,
            }));
        }
        self.after_answer();
    }

    /// A send has its end: timers and a graceful disconnect may wait for that.
    pub(super) fn after_answer(&mut self) {
        self.schedule_send_timeout();
        if self.closing && self.outbox.is_empty() {
            self.finish_disconnect();
        }
    }

    fn refused(&mut self, refusal: &Refusal<'_>) {
        let mut error = Error::new(
            refusal.code.map_or(ErrorKind::RefusedOther, ErrorKind::Refused),
            format!("the server refused it ({}): {}", refusal.code_text, refusal.message),
        );
        error.retry_after = refusal.retry_after.map(Duration::from_millis);
        error.revision = refusal.revision;
        error.record = refusal.record.map(Bytes::copy_from_slice);
        let retry = refusal.code.is_some_and(ErrorCode::allows_retry);
        let again_at = self.now + error.retry_after.unwrap_or(Duration::from_secs(1));
        let Some(id) = refusal.id else {
            return self.error(error);
        };
        if id >= super::CONTROL_IDS {
            let Some(channel) = self.channels.by_request(id) else {
                if !self.tracking_refused(id, &error, retry.then_some(again_at)) {
                    self.error(error);
                }
                return;
            };
            channel.request = None;
            channel.asked = false;
            let channel = channel.id;
            if retry {
                self.timers.set(Timer::Resubscribe, again_at);
                return self.error(error);
            }
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.wanted = false;
            }
            self.stream_left(channel, false);
            return self.set_channel_state(channel, ChannelState::Failed, Some(error));
        }
        if retry {
            if self.outbox.rewind_to(id) && self.timers.get(Timer::Hold).is_none_or(|held| held < again_at) {
                if self.timers.get(Timer::Hold).is_none() {
                    self.error(error);
                }
                self.timers.set(Timer::Hold, again_at);
            }
        } else if let Some(entry) = self.outbox.take(id).filter(|entry| !entry.given_up) {
            self.fail_send(entry.origin, error);
            self.after_answer();
        } else {
            self.stats.unexpected += 1;
        }
    }

    fn malformed(&mut self, error: DecodeError) {
        self.stats.malformed += 1;
        self.recorder.received(self.now, Kind::Malformed, None, 0, 0, false);
        let mut told = Error::from(error);
        told.message =
            format!("{} sent a message that cannot be understood; it was left out: {}", self.config.url, told.message);
        self.error(told);
    }

    fn plain_message(&mut self, frame: &Bytes, message: plain::Incoming<'_>) {
        let is_pong = message.kind.as_deref() == Some("pong") && message.channel.is_none();
        let kind = if is_pong {
            Kind::Pong
        } else if message.channel.is_some() {
            Kind::Message
        } else {
            Kind::Direct
        };
        self.recorder.received(self.now, kind, None, 0, frame.len(), false);
        if is_pong {
            return self.heartbeat.pong(self.now, None);
        }
        let size = frame.len() as u64;
        let event = message.kind.as_deref();
        let content = |event| Content::new(frame, event, None, Payload::Json(message.payload));
        let timestamp = message.timestamp;
        let name = match &message.channel {
            Some(name) => Some(Text::borrowed(frame, name)),
            // Never guessed among several.
            None => self.peer.only_wired().cloned(),
        };
        if let (Some(name), Some(event)) = (&name, event)
            && self.peer_message(frame, name, event, message.payload)
        {
            return;
        }
        let Some(name) = &message.channel else {
            let content = content(event);
            self.direct(DirectMessage { timestamp, content: content.clone(), size });
            let channel = name.and_then(|name| self.channels.by_name(&name, &Stream::Messages));
            let channel = channel.filter(|channel| channel.wanted && event.is_some()).map(|channel| channel.id);
            if let Some(channel) = channel {
                let message = ChannelMessage { channel, offset: None, timestamp, content, size: 0, implied: true };
                self.deliver_implied(message, size);
            }
            return;
        };
        let Some(channel) = self.channels.by_name(name, &Stream::Messages).filter(|channel| channel.wanted) else {
            self.stats.unroutable += 1;
            return;
        };
        let id = channel.id;
        self.recorder.of_channel(id);
        let content = content(Some(event.unwrap_or("message")));
        self.deliver(ChannelMessage { channel: id, offset: None, timestamp, content, size, implied: false });
    }
}
