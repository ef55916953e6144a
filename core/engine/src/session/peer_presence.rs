//! Who is in a channel, as its clients tell each other.

use std::borrow::Cow;

use bytes::Bytes;

use super::Session;
use crate::channel::Kind;
use crate::error::ErrorKind;
use crate::io::{ChannelId, Text};
use crate::peer::{Message, Own, encode_leave, encode_member, encode_watcher};
use crate::presence::{Difference, Presence};
use crate::tracking::Next;
use crate::wire::{ErrorCode, Left};

impl Session {
    /// Watching begins: the others are asked at the next poll, together with what is to be said by then.
    pub(super) fn peer_watch(&mut self, id: ChannelId) {
        self.peer_presence_connected(id);
        let reference = self.peer.reference(&mut self.rng);
        let Some(peer) = self.peer.presences.get_mut(&id) else { return };
        peer.asks = true;
        let shown = match peer.own.clone() {
            Some(own) => self.show_own(id, &reference, &own),
            // It may have gone while nobody watched.
            None => self.peer_gone(id, &[reference], false),
        };
        self.tell_watcher(id, &shown, 0);
        self.tracking_changed.push(id);
    }

    /// Says what is to be said of this client, and asks who else is there.
    pub(super) fn peer_settle_tracking(&mut self, id: ChannelId) {
        self.peer_presence_connected(id);
        let now = self.now;
        let reference = self.peer.reference(&mut self.rng);
        let Some(channel) = self.channels.get_mut(id) else { return };
        let name = channel.name.clone();
        let Kind::Presence(_, tracking) = &mut channel.kind else { return };
        match tracking.next(now, true) {
            None => {}
            Some(Next::Done(requests)) => self.tracking_done(requests, true),
            Some(Next::Untrack) => {
                self.peer_tracking_said(id);
                self.say(id, "presence:leave", &encode_leave(&reference));
                if let Some(peer) = self.peer.presences.get_mut(&id) {
                    peer.withdrawn();
                }
                let gone = self.peer_gone(id, std::slice::from_ref(&reference), false);
                self.tell_watcher(id, &gone, 0);
            }
            Some(Next::Track(said)) => {
                let Some(peer) = self.peer.presences.get_mut(&id) else { return };
                let mut own = Own {
                    key: said.key.clone().unwrap_or_else(|| reference.clone()),
                    status: said.status,
                    state: said.state,
                    joined_at: now.as_millis(),
                    seen_at: now.as_millis(),
                };
                if let Some(before) = &peer.own {
                    own.joined_at = before.joined_at;
                    if (&before.key, before.status, &before.state) == (&own.key, own.status, &own.state) {
                        own.seen_at = before.seen_at;
                    }
                }
                let event = match (peer.asks, peer.said) {
                    (true, _) => "presence:join",
                    (false, true) => "presence:update",
                    (false, false) => "presence:announce",
                };
                if std::mem::take(&mut peer.asks) {
                    peer.asked(now);
                }
                peer.announced(now);
                peer.own = Some(own.clone());
                self.peer_tracking_said(id);
                self.rewire(&name);
                self.say(id, event, &encode_member(&reference, &own));
                let shown = self.show_own(id, &reference, &own);
                self.tell_watcher(id, &shown, 0);
            }
        }
        if let Some(peer) = self.peer.presences.get_mut(&id)
            && std::mem::take(&mut peer.asks)
        {
            peer.asked(now);
            let (event, payload) = match peer.own.clone().filter(|_| peer.said) {
                Some(own) => ("presence:join", encode_member(&reference, &own)),
                None => ("presence:join", encode_watcher(&reference)),
            };
            self.say(id, event, &payload);
        }
        self.schedule_peers();
    }

    pub(super) fn peer_presence_message(&mut self, id: ChannelId, size: u64, message: Message<'_>) {
        let now = self.now;
        let reference = match &message {
            Message::Join { reference, .. } | Message::Leave { reference } => reference,
            Message::Member(told) => &told.meta.reference,
            _ => return,
        };
        if self.peer.is_own(reference) {
            return;
        }
        let told = match message {
            Message::Leave { reference } => {
                if let Some(peer) = self.peer.presences.get_mut(&id) {
                    peer.forget(&reference);
                }
                let gone = self.peer_gone(id, &[Text::from(&*reference)], true);
                return self.tell_watcher(id, &gone, size);
            }
            Message::Join { member, .. } => {
                if let Some(peer) = self.peer.presences.get_mut(&id) {
                    peer.joined(now, &mut self.rng);
                }
                member
            }
            Message::Member(told) => Some(told),
            _ => None,
        };
        let Some(told) = told else { return };
        let watches = self.follows(id);
        let limit = self.config.replica_bytes;
        let Some(channel) = self.channels.get_mut(id) else { return };
        let (Kind::Presence(presence, _), Some(peer)) = (&mut channel.kind, self.peer.presences.get_mut(&id)) else {
            return;
        };
        let full = watches && presence.bytes() + told.state.len() > limit;
        if full || peer.hear(now, &told.meta.reference).is_none() {
            let message = format!("{} has more members than are kept; one was left out", channel.name);
            return self.peer_refused(ErrorKind::Refused(ErrorCode::PresenceFull), message);
        }
        if watches {
            let difference = presence.told(&told.meta, told.state);
            self.tell_watcher(id, &difference, size);
        }
    }

    pub(super) fn peer_presence_due(&mut self, id: ChannelId) {
        let now = self.now;
        let Some(peer) = self.peer.presences.get_mut(&id) else { return };
        let tick = peer.tick(now);
        if tick.announce
            && let Some(own) = peer.own.clone()
        {
            peer.announced(now);
            let reference = self.peer.reference(&mut self.rng);
            self.say(id, "presence:announce", &encode_member(&reference, &own));
        }
        let gone = self.peer_gone(id, &tick.gone, false);
        self.tell_watcher(id, &gone, 0);
        if tick.whole && self.follows(id) {
            self.presence_synced(id);
        }
    }

    /// Before the connection is closed on purpose: others need not wait.
    pub(super) fn peers_untrack_all(&mut self) {
        for id in self.channels.ids_of_streams() {
            let Some(tracking) = self.tracking(id) else { continue };
            if std::mem::take(&mut tracking.present) {
                let reference = self.peer.reference(&mut self.rng);
                self.say(id, "presence:leave", &encode_leave(&reference));
            }
        }
    }

    fn peer_presence_connected(&mut self, id: ChannelId) {
        let now = self.now;
        let reference = self.peer.reference(&mut self.rng);
        let Some(Kind::Presence(presence, _)) = self.channels.get(id).map(|channel| &channel.kind) else { return };
        let metas = presence.references().filter(|name| **name != reference).cloned();
        self.peer.presences.entry(id).or_default().connected(now, metas);
    }

    /// What is wanted is on its way.
    fn peer_tracking_said(&mut self, id: ChannelId) {
        self.next_control_id += 1;
        let request = self.next_control_id;
        if let Some(tracking) = self.tracking(id) {
            tracking.said(request);
            self.peer.unflushed.push((id, request));
        }
    }

    fn show_own(&mut self, id: ChannelId, reference: &Text, own: &Own) -> Difference {
        let Some(presence) = self.watched_presence(id) else { return Difference::default() };
        presence.own_is(reference);
        presence.told(&own.meta(reference), own.state.clone())
    }

    /// Members are gone: `now` they said so, otherwise nothing was heard of them.
    fn peer_gone(&mut self, id: ChannelId, references: &[Text], now: bool) -> Difference {
        let seen_at = if now { self.now.as_millis() } else { 0 };
        let Some(presence) = self.watched_presence(id) else { return Difference::default() };
        let leave: Vec<_> =
            references.iter().map(|reference| Left { reference: Cow::Borrowed(&**reference), seen_at }).collect();
        presence.changed(&Bytes::new(), &[], &leave)
    }

    /// The members as they are shown; what nobody watches stays as it is.
    fn watched_presence(&mut self, id: ChannelId) -> Option<&mut Presence> {
        let watched = self.follows(id);
        match &mut self.channels.get_mut(id)?.kind {
            Kind::Presence(presence, _) => watched.then_some(&mut **presence),
            _ => None,
        }
    }

    /// Tells what changed, where that is watched. A message that changes nothing is not the application's to consume.
    fn tell_watcher(&mut self, id: ChannelId, difference: &Difference, size: u64) {
        if self.follows(id) && !difference.is_empty() {
            self.tell_presence(id, difference, false, size);
        }
    }
}
