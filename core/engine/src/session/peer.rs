//! Presence and collections where the backend only hands messages on: which channels it is asked for, what comes, and when to speak.

use bytes::Bytes;

use super::Session;
use super::outgoing::plain_frame;
use crate::channel::Kind;
use crate::error::{Error, ErrorKind};
use crate::io::{ChannelId, Text};
use crate::peer::Message;
use crate::status::ChannelState;
use crate::timers::Timer;
use crate::wire::{DecodeError, Stream, plain};

impl Session {
    /// Asks the backend for the messages of a channel, or to leave them, as its streams need them.
    pub(super) fn rewire(&mut self, name: &Text) {
        if !self.is_connected() {
            return;
        }
        let needed = self.channels.of(name).into_iter().filter_map(|id| self.channels.get(id)).any(|channel| {
            let present = matches!(&channel.kind, Kind::Presence(_, tracking) if tracking.present);
            channel.asked || present
        });
        let kind = match needed {
            true if self.peer.wired.insert(name.clone()) => "subscribe",
            false if self.peer.wired.remove(name) => "unsubscribe",
            _ => return,
        };
        self.recorder.outgoing(kind, self.channels.of(name).first().copied());
        self.send_plain(|out, now| plain::encode_channel_request(out, kind, name, now));
    }

    /// A presence or a collection begins on this connection.
    pub(super) fn peer_subscribe(&mut self, id: ChannelId) {
        let Some(name) = self.channels.get(id).map(|channel| channel.name.clone()) else { return };
        self.rewire(&name);
        self.tell_subscribed(id);
        match self.channels.get(id).map(|channel| &channel.kind) {
            Some(Kind::Presence(..)) => self.peer_watch(id),
            Some(Kind::Collection(_)) => self.peer_follow(id),
            _ => {}
        }
        self.schedule_peers();
    }

    /// A presence or a collection is over.
    pub(super) fn peer_unsubscribe(&mut self, id: ChannelId) {
        if let Some(presence) = self.peer.presences.get_mut(&id) {
            presence.unwatched();
        }
        if let Some(collection) = self.peer.collections.get_mut(&id) {
            collection.left();
        }
        self.schedule_peers();
    }

    /// A message of a channel; `false` where it is one for the application.
    pub(super) fn peer_message(&mut self, frame: &Bytes, name: &Text, event: &str, payload: &[u8]) -> bool {
        let Some(of_presence) = Message::is_of_presence(event) else { return false };
        let presence = self.channels.id(name, &Stream::Presence).filter(|id| {
            let channel = self.channels.get(*id);
            channel.is_some_and(|c| c.asked || matches!(&c.kind, Kind::Presence(_, tracking) if tracking.present))
        });
        let taken = match of_presence {
            true => presence.is_some(),
            false => {
                let mut streams = self.channels.of(name).into_iter().filter_map(|id| self.channels.get(id));
                streams.any(|channel| channel.asked && matches!(channel.kind, Kind::Collection(_)))
            }
        };
        if !taken {
            return false;
        }
        let message = match Message::decode(event, payload) {
            Ok(message) => message,
            Err(error) => {
                self.peer_broken(error);
                return true;
            }
        };
        let id = match message.collection() {
            None => presence,
            Some(collection) => self
                .channels
                .id(name, &Stream::Collection(collection.into()))
                .filter(|id| self.channels.get(*id).is_some_and(|channel| channel.asked)),
        };
        let Some(id) = id else {
            // Of a collection that this client does not follow.
            self.stats.unroutable += 1;
            return true;
        };
        self.recorder.of_channel(id);
        match message {
            Message::Join { .. } | Message::Member(_) | Message::Leave { .. } => {
                self.peer_presence_message(id, frame.len() as u64, message);
            }
            _ => self.peer_collection_message(id, frame.len() as u64, message),
        }
        self.schedule_peers();
        true
    }

    /// A peer sent what makes no sense.
    pub(super) fn peer_broken(&mut self, error: DecodeError) {
        self.stats.malformed += 1;
        let mut told = Error::from(error);
        told.message = format!("another client sent what cannot be understood; it was left out: {}", told.message);
        self.error(told);
    }

    /// A peer sent more than is kept.
    pub(super) fn peer_refused(&mut self, kind: ErrorKind, message: String) {
        self.stats.malformed += 1;
        self.error(Error::new(kind, message));
    }

    pub(super) fn peers_due(&mut self) {
        for id in self.peer.presences.keys().copied().collect::<Vec<_>>() {
            self.peer_presence_due(id);
        }
        for id in self.peer.collections.keys().copied().collect::<Vec<_>>() {
            self.peer_collection_due(id);
        }
        self.schedule_peers();
    }

    pub(super) fn schedule_peers(&mut self) {
        match self.peer.next_due() {
            Some(at) => self.timers.set(Timer::Peers, at),
            None => self.timers.clear(Timer::Peers),
        }
    }

    /// The connection is gone.
    pub(super) fn peers_left(&mut self) {
        self.peer.left();
        self.schedule_peers();
    }

    /// What was said of this client is with the operating system.
    pub(super) fn peers_flushed(&mut self) {
        for (id, request) in std::mem::take(&mut self.peer.unflushed) {
            let Some(tracking) = self.tracking(id) else { continue };
            let done = tracking.accepted(request);
            self.tracking_done(done, false);
            if let Some(name) = self.channel_name(id).cloned() {
                self.rewire(&name);
            }
            self.settle_tracking(id);
        }
    }

    /// Whether a stream is followed.
    pub(super) fn follows(&self, id: ChannelId) -> bool {
        self.channels.get(id).is_some_and(|channel| channel.state == ChannelState::Subscribed)
    }

    /// Sends a message to the others of a channel.
    pub(super) fn say(&mut self, id: ChannelId, event: &str, payload: &[u8]) {
        let Some(name) = self.channel_name(id).cloned() else { return };
        self.recorder.outgoing("publish", Some(id));
        let frame = plain_frame(&name, event, payload, self.now);
        self.transmit(frame);
    }
}
