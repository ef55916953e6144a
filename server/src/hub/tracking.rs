//! Presence: who may say to be where, and when it ends.

use bytes::Bytes;
use realtime_engine::wire::{ErrorCode, PresenceStatus, Refusal, ServerMessage, Stream as Which};

use super::config::ms;
use super::presence::Member;
use super::sessions::{SessionKey, Tracked};
use super::streams::{State, StreamKey};
use super::timers::Timer;
use super::v1::RETRY_AFTER;
use super::{ConnectionId, Hub};

/// What a client says about itself.
pub(super) struct Track<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) status: PresenceStatus,
    pub(super) state: &'a [u8],
}

impl Hub {
    /// Who is present in a channel, by reference.
    pub fn members(&self, channel: &str) -> Vec<Member> {
        let key = self.streams.find(channel, &Which::Presence);
        match key.and_then(|key| self.streams.stream(key)).map(|stream| &stream.state) {
            Some(State::Presence(presence)) => presence.metas().map(|member| (**member).clone()).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn v1_track(&mut self, now: u64, id: ConnectionId, request: u64, channel: &str, track: &Track<'_>) {
        match self.track(now, id, channel, track) {
            Ok(Some(Member { key, reference, verified, joined_at, seen_at, .. })) => {
                let (channel, key, reference) = (channel.into(), (&*key).into(), (&*reference).into());
                let tracked =
                    ServerMessage::Tracked { id: request, channel, key, reference, verified, joined_at, seen_at };
                self.v1_answer(id, &tracked);
            }
            Ok(None) => {}
            Err(refusal) => {
                let (channel, stream) = (Some(channel.into()), Which::Presence);
                self.v1_refuse(id, Refusal { id: Some(request), channel, stream, ..*refusal });
            }
        }
    }

    /// What the client is from now on; `None` where it has gone meanwhile.
    fn track(
        &mut self,
        now: u64,
        id: ConnectionId,
        channel: &str,
        track: &Track<'_>,
    ) -> Result<Option<Member>, Box<Refusal<'static>>> {
        let (limits, bounds) = (self.config.limits, self.config.presence);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(None) };
        let Some(session_key) = connection.session else { return Ok(None) };
        let user = connection.user();
        let refuse = |code, reason: &str, retry_after| {
            Err(Box::new(Refusal { retry_after, ..Refusal::new(code, reason.to_owned()) }))
        };
        if self.draining {
            return refuse(ErrorCode::Unavailable, "the server drains", Some(RETRY_AFTER));
        }
        if let Err(wait) = connection.rate.take(now) {
            return refuse(ErrorCode::RateLimited, "too many a second", Some(wait));
        }
        if !self.config.authorizer.can_track(user.as_deref(), channel) {
            return refuse(ErrorCode::Forbidden, "this user may not be present there", None);
        }
        if track.state.len() > bounds.state {
            let reason = format!("a state has at most {} bytes", bounds.state);
            return refuse(ErrorCode::PayloadTooLarge, &reason, None);
        }
        let Some(session) = self.sessions.session(session_key) else { return Ok(None) };
        let found = self.streams.find(channel, &Which::Presence);
        let known = found.and_then(|stream| session.tracked.get(&stream).cloned());
        if known.is_none() && session.tracked.len() as u64 >= limits.channels {
            let reason = format!("a client is present in at most {} channels", limits.channels);
            return refuse(ErrorCode::TooManyChannels, &reason, None);
        }
        let presence = match found.and_then(|stream| self.streams.stream(stream)).map(|stream| &stream.state) {
            Some(State::Presence(presence)) => Some(presence),
            _ => None,
        };
        let before = known.as_ref().and_then(|reference| presence?.meta(reference)).cloned();
        let reference = known.unwrap_or_else(|| self.ids.opaque().into());
        let (key, verified) = match &user {
            Some(_) if super::mutant("key-unverified") && track.key.is_some() => {
                (track.key.unwrap_or_default().into(), true)
            }
            Some(user) => (user.clone(), true),
            None => (track.key.map_or_else(|| reference.clone(), Into::into), false),
        };
        let member = Member {
            reference: reference.clone(),
            key,
            verified,
            status: track.status,
            state: Bytes::copy_from_slice(track.state),
            joined_at: before.as_ref().map_or(now, |before| before.joined_at),
            seen_at: now,
        };
        let is_full = before.is_none() && presence.is_some_and(|presence| presence.len() >= bounds.members);
        let released = before.as_ref().map_or(0, |before| before.bytes());
        if is_full || self.streams.totals.member_bytes - released + member.bytes() > bounds.total_bytes {
            return refuse(ErrorCode::PresenceFull, "the channel takes no more members", None);
        }
        let stream = self.streams.open(now, channel, &Which::Presence, &mut self.ids);
        session.tracked.insert(stream, reference);
        if !self.streams.track(now, stream, member.clone()) {
            // What others see stays as it was, its time too.
            return Ok(Some(before.map_or(member, |before| (*before).clone())));
        }
        self.presence_changed(now, stream);
        Ok(Some(member))
    }

    pub(super) fn v1_untrack(&mut self, now: u64, id: ConnectionId, request: u64, channel: &str) {
        let session = self.connections.get(&id).and_then(|connection| connection.session);
        let stream = self.streams.find(channel, &Which::Presence);
        if let (Some(session), Some(stream)) = (session.and_then(|key| self.sessions.session(key)), stream)
            && let Some(reference) = session.tracked.remove(&stream)
        {
            self.end_tracks(now, vec![Tracked { stream, reference, seen_at: now }]);
        }
        self.v1_answer(id, &ServerMessage::Untracked { id: request, channel: channel.into() });
    }

    /// The grace period of a session is over, unless it has come back.
    pub(super) fn end_grace(&mut self, now: u64, key: SessionKey) {
        let Some(session) = self.sessions.session(key) else { return };
        let over = session.gone_since().is_some_and(|since| {
            now.saturating_sub(since) >= ms(self.config.presence.grace) || super::mutant("grace-ignored")
        });
        if over {
            let ended = session.take_tracked();
            self.end_tracks(now, ended);
        }
    }

    pub(super) fn end_tracks(&mut self, now: u64, ended: Vec<Tracked>) {
        for Tracked { stream, reference, seen_at } in ended {
            if self.streams.untrack(stream, &reference, seen_at) {
                self.presence_changed(now, stream);
            }
        }
    }

    /// Tells a change at once, or with those that come within the interval.
    fn presence_changed(&mut self, now: u64, key: StreamKey) {
        let Some(State::Presence(presence)) = self.streams.stream_mut(key).map(|stream| &mut stream.state) else {
            return;
        };
        if presence.next_line <= now {
            self.tell_presence(now, key);
        } else if !presence.armed {
            presence.armed = true;
            self.timers.set(presence.next_line, Timer::Presence(key));
        }
    }

    pub(super) fn tell_presence(&mut self, now: u64, key: StreamKey) {
        let interval = ms(self.config.presence.interval);
        let Some(State::Presence(presence)) = self.streams.stream_mut(key).map(|stream| &mut stream.state) else {
            return;
        };
        presence.armed = false;
        presence.next_line = now.saturating_add(interval);
        while let Some(entry) = self.streams.presence_line(now, key) {
            self.show(now, key, entry);
        }
        self.streams.touch(now, key);
    }
}
