//! Who is in a channel, and that this client is.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Dialect, Session};
use crate::channel::Kind;
use crate::error::{Error, ErrorKind};
use crate::io::{ChannelId, Event, Receipt, RequestId, Text};
use crate::presence::{Difference, Own, Presence};
use crate::status::ChannelState;
use crate::sync::{PresenceChange, Tracked};
use crate::time::Timestamp;
use crate::tracking::{Next, Said, Tracking};
use crate::wire::{ClientMessage, ErrorCode, Left, Meta, PresenceStatus, Record, Stream, validate_name};

/// The largest state that a client may say of itself.
const MAX_STATE: usize = 16 << 10;

impl Session {
    /// Says that this client is present in a channel, on this connection and all to come, until [`untrack`](Self::untrack). `state` is a
    /// JSON object of at most 16 KiB. Replaces what it said before. Where the server knows who this user is, the key is that user,
    /// whatever `key` says; without either the client is a member of its own.
    ///
    /// Ends with [`Event::Receipt`] or [`Event::SendFailed`] of `request`. What is refused leaves what was accepted before.
    pub fn track(
        &mut self,
        now: Timestamp,
        request: RequestId,
        presence: ChannelId,
        key: Option<&str>,
        status: PresenceStatus,
        state: &[u8],
    ) -> Result<(), Error> {
        if let Some(key) = key {
            validate_name("key", key)?;
        }
        let state = Bytes::from(Record::parse(state)?.encode());
        self.want_tracked(now, "track", request, presence, |_| {
            Ok(Some(Said { key: key.map(Text::from), status, state }))
        })
    }

    /// Changes the status of what is tracked, or fields of its state, as a patch changes those of a record. Ends as
    /// [`track`](Self::track) does. Fails with `not_tracked`.
    pub fn update_presence(
        &mut self,
        now: Timestamp,
        request: RequestId,
        presence: ChannelId,
        status: Option<PresenceStatus>,
        patch: Option<&[u8]>,
    ) -> Result<(), Error> {
        let patch = patch.map(Record::parse).transpose()?;
        self.want_tracked(now, "updatePresence", request, presence, |tracking| {
            let Some(said) = &tracking.wanted else {
                let message = "this client is not tracked in this channel; track() comes first";
                return Err(Error::new(ErrorKind::NotTracked, message));
            };
            let mut said = said.clone();
            said.status = status.unwrap_or(said.status);
            if let Some(patch) = &patch {
                let mut state = Record::parse_validated(&said.state)?;
                state.patch(patch);
                said.state = Bytes::from(state.encode());
            }
            Ok(Some(said))
        })
    }

    /// Says that this client is not present any more. Ends as [`track`](Self::track) does.
    pub fn untrack(&mut self, now: Timestamp, request: RequestId, presence: ChannelId) -> Result<(), Error> {
        self.want_tracked(now, "untrack", request, presence, |_| Ok(None))
    }

    /// What this client says of itself in a channel.
    pub fn tracked(&self, presence: ChannelId) -> Option<Tracked<'_>> {
        let Kind::Presence(_, tracking) = &self.channels.get(presence)?.kind else { return None };
        let said = tracking.wanted.as_ref()?;
        let acknowledged = tracking.is_acknowledged();
        Some(Tracked { key: said.key.as_ref(), status: said.status, state: &said.state, acknowledged })
    }

    fn want_tracked(
        &mut self,
        now: Timestamp,
        call: &'static str,
        request: RequestId,
        id: ChannelId,
        said: impl FnOnce(&Tracking) -> Result<Option<Said>, Error>,
    ) -> Result<(), Error> {
        self.now = now;
        self.accepts()?;
        let most = self.config.queue_messages;
        let tracking = self
            .tracking(id)
            .ok_or_else(|| Error::new(ErrorKind::InvalidOption, "there is no presence with this id"))?;
        if tracking.requests() >= most {
            let message = format!("{most} calls wait for the server already (queue.messages); wait for some of them");
            return Err(Error::new(ErrorKind::QueueFull, message));
        }
        let said = said(tracking)?;
        if let Some(said) = &said
            && said.state.len() > MAX_STATE
        {
            let message = format!("the state has {} bytes, {MAX_STATE} are allowed; keep less in it", said.state.len());
            return Err(Error::new(ErrorKind::Refused(ErrorCode::PayloadTooLarge), message));
        }
        tracking.want(request, said);
        self.recorder.call(now, call, Some(id));
        // Said at the next poll: changing one's mind a thousand times costs no more than once.
        self.tracking_changed.push(id);
        Ok(())
    }

    /// Says what is to be said.
    pub(super) fn settle_tracking(&mut self, id: ChannelId) {
        let (now, connected) = (self.now, self.is_connected());
        let Some(channel) = self.channels.get_mut(id) else { return };
        let name = channel.name.to_string();
        let Kind::Presence(_, tracking) = &mut channel.kind else { return };
        if connected && self.dialect == Dialect::Plain {
            return self.peer_settle_tracking(id);
        }
        let request = match tracking.next(now, connected) {
            None => return,
            Some(Next::Done(requests)) => return self.tracking_done(requests, true),
            Some(Next::Untrack) => self.control(|id| ClientMessage::Untrack { id, channel: Cow::Owned(name) }),
            Some(Next::Track(said)) => self.control(|id| ClientMessage::Track {
                id,
                channel: Cow::Owned(name),
                key: said.key.as_deref().map(Cow::Borrowed),
                status: said.status,
                state: &said.state,
            }),
        };
        if let Some(tracking) = self.tracking(id) {
            tracking.said(request);
        }
    }

    /// The server has accepted a track (it has made this meta) or an untrack. A watcher sees that before the request is done.
    pub(super) fn tracking_accepted(&mut self, channel: &str, request: u64, own: Option<&Own<'_>>) {
        let Some(channel) = self.channels.by_name(channel, &Stream::Presence) else { return };
        let (id, watched) = (channel.id, channel.state == ChannelState::Subscribed);
        let Kind::Presence(presence, tracking) = &mut channel.kind else { return };
        if !tracking.is_open(request) {
            return;
        }
        let done = tracking.accepted(request);
        let difference = match (own, tracking.said_last()) {
            (Some(own), Some(said)) => presence.own_told(own, said, watched),
            _ => presence.own_gone(watched),
        };
        self.tell_presence(id, &difference, false, 0);
        self.tracking_done(done, true);
        self.settle_tracking(id);
    }

    /// The server has refused a track or untrack; `false` where the request is no such one.
    pub(super) fn tracking_refused(&mut self, request: u64, error: &Error, again_at: Option<Timestamp>) -> bool {
        let open = |channel: &&mut crate::channel::Channel| matches!(&channel.kind, Kind::Presence(_, tracking) if tracking.is_open(request));
        let Some(channel) = self.channels.iter_mut().find(open) else { return false };
        let id = channel.id;
        let Kind::Presence(_, tracking) = &mut channel.kind else { return false };
        if let Some(at) = again_at {
            tracking.refused_for_now(request, at);
            self.error(error.clone());
            self.schedule_streams();
            return true;
        }
        let failed = tracking.refused(request);
        if failed.is_empty() {
            // Nobody waits: it was said again after a reconnect.
            self.error(error.clone());
        }
        self.fail_requests(failed, error);
        self.settle_tracking(id);
        true
    }

    /// Before the connection is closed on purpose: others need not wait for the grace period.
    pub(super) fn untrack_all(&mut self) {
        if self.dialect != Dialect::V1 {
            return self.peers_untrack_all();
        }
        for id in self.channels.ids_of_streams() {
            let Some(tracking) = self.tracking(id) else { continue };
            // It counts as present until the server has answered: this may be lost.
            if tracking.present
                && let Some(channel) = self.channels.get(id)
            {
                let name = channel.name.to_string();
                self.control(|id| ClientMessage::Untrack { id, channel: Cow::Owned(name) });
            }
        }
    }

    pub(super) fn fail_all_tracking(&mut self, error: &Error) {
        for id in self.channels.ids_of_streams() {
            if let Some(tracking) = self.tracking(id) {
                let failed = tracking.fail_all();
                self.fail_requests(failed, error);
            }
        }
    }

    pub(super) fn tracking(&mut self, id: ChannelId) -> Option<&mut Tracking> {
        match &mut self.channels.get_mut(id)?.kind {
            Kind::Presence(_, tracking) => Some(tracking),
            _ => None,
        }
    }

    pub(super) fn presence_changed(
        &mut self,
        frame: &Bytes,
        size: u64,
        channel: &str,
        offset: u64,
        join: &[Meta<'_>],
        leave: &[Left<'_>],
    ) {
        let Some(channel) =
            self.channels.by_name(channel, &Stream::Presence).filter(|c| c.state == ChannelState::Subscribed)
        else {
            self.stats.unroutable += 1;
            return;
        };
        let id = channel.id;
        self.recorder.of_channel(id);
        let Kind::Presence(presence, _) = &mut channel.kind else { return };
        if let Some(position) = &mut channel.position {
            if offset <= position.offset {
                self.stats.duplicates += 1;
                return self.give_back(id, size);
            }
            if offset != position.offset + 1 {
                self.give_back(id, size);
                return self.start_over(id, "a change is missing before this one");
            }
            position.offset = offset;
        }
        let difference = presence.changed(frame, join, leave);
        if presence.is_staging() {
            self.give_back(id, size);
            if self.fits(id) {
                self.take_presence_over(id);
            }
            return;
        }
        self.tell_presence(id, &difference, false, size);
        self.fits(id);
    }

    pub(super) fn take_presence_over(&mut self, id: ChannelId) {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(id) else { return };
        let Kind::Presence(presence, _) = &mut channel.kind else { return };
        let Some(position) = &channel.position else { return };
        let Some(difference) = presence.take_over(now, &position.epoch, position.offset) else { return };
        channel.strikes = 0;
        self.tell_presence(id, &difference, true, 0);
        self.schedule_streams();
    }

    pub(super) fn presence_synced(&mut self, id: ChannelId) {
        self.tell_presence(id, &Difference::default(), true, 0);
    }

    pub(super) fn tell_presence(&mut self, id: ChannelId, difference: &Difference, sync: bool, size: u64) {
        if !sync && difference.is_empty() {
            return self.give_back(id, size);
        }
        self.charge(id, size);
        self.event(Event::Presence(PresenceChange { presence: id, json: difference.json(sync), size }));
    }

    /// `acknowledged`: by a server; otherwise it was written.
    pub(super) fn tracking_done(&mut self, requests: Vec<RequestId>, acknowledged: bool) {
        for request in requests {
            let (epoch, offset) = (None, None);
            self.event(Event::Receipt(Receipt { request, acknowledged, epoch, offset, duplicate: false }));
        }
    }

    fn fail_requests(&mut self, requests: Vec<RequestId>, error: &Error) {
        for request in requests {
            self.event(Event::SendFailed { request, error: error.clone() });
        }
    }
}

impl Presence {
    pub(super) fn describe(&self) -> serde_json::Value {
        serde_json::json!({ "members": self.len(), "staging": self.is_staging() })
    }
}
