//! Presence and collections as streams: how they begin, and the snapshots that both have.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::{Phase, Session};
use crate::channel::Kind;
use crate::error::{Error, ErrorKind};
use crate::io::{ChannelId, Event};
use crate::presence::Difference;
use crate::status::ChannelState;
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{ErrorCode, Page, Position, Snapshot, Stream, Subscribed, validate_name};

impl Session {
    /// The id of the presence of a channel: a stream of its own, the same for the life of the session. It tells nothing before
    /// [`watch`](Self::watch). Fails with `invalid_name`.
    pub fn presence(&mut self, channel: &str) -> Result<ChannelId, Error> {
        validate_name("channel", channel)?;
        Ok(self.channels.find_or_add(channel, &Stream::Presence).id)
    }

    /// The id of a collection of a channel: a stream of its own, the same for the life of the session. It tells nothing before
    /// [`watch`](Self::watch). Fails with `invalid_name`.
    pub fn collection(&mut self, channel: &str, name: &str) -> Result<ChannelId, Error> {
        validate_name("channel", channel)?;
        validate_name("collection", name)?;
        Ok(self.channels.find_or_add(channel, &Stream::Collection(Cow::Borrowed(name))).id)
    }

    /// Subscribes a presence or a collection, until [`unsubscribe`](Self::unsubscribe), which leaves what was told last as it is.
    pub fn watch(&mut self, now: Timestamp, id: ChannelId) {
        self.now = now;
        if let Some(channel) = self.channels.get_mut(id)
            && !channel.wanted
        {
            channel.wanted = true;
            self.recorder.call(now, "watch", Some(id));
            self.change(id, ChannelState::Subscribing);
        }
    }

    /// The server has answered a subscribe.
    pub(super) fn stream_subscribed(&mut self, id: ChannelId, answer: &Subscribed<'_>) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let position = Position { epoch: answer.epoch.to_string(), offset: answer.offset };
        let recovered = answer.recovered == Some(true);
        channel.request = None;
        if recovered && channel.position.as_ref() != Some(&position) {
            return self.start_over(id, "it was to go on where it ended, and goes on elsewhere");
        }
        channel.position = Some(position);
        match &mut channel.kind {
            Kind::Messages => {}
            Kind::Presence(presence, _) => presence.subscribed(recovered, answer.grace),
            Kind::Collection(collection) => collection.subscribed(recovered),
        }
        let watches = matches!(channel.kind, Kind::Presence(..));
        self.tell_subscribed(id);
        if recovered && watches {
            self.presence_synced(id);
        }
    }

    /// The subscription is over: by the application, by a refusal, or with the connection (`again`: until that is back).
    pub(super) fn stream_left(&mut self, id: ChannelId, again: bool) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let (whole, changes) = match &mut channel.kind {
            Kind::Messages => return,
            Kind::Presence(presence, _) => (presence.left(), Vec::new()),
            Kind::Collection(collection) if again => (collection.left(), Vec::new()),
            Kind::Collection(collection) => (collection.left(), collection.unfollow()),
        };
        if !whole {
            // The position of a snapshot that is not whole says nothing.
            channel.position = None;
        }
        channel.retry_at = None;
        changes.into_iter().for_each(|change| self.event(Event::Change(change)));
    }

    pub(super) fn snapshot(&mut self, frame: &Bytes, size: u64, page: &Snapshot<'_>) {
        let Some(channel) = self.channels.by_name(&page.channel, &page.stream()) else {
            self.stats.unroutable += 1;
            return;
        };
        if channel.state != ChannelState::Subscribed {
            self.stats.unroutable += 1;
            return;
        }
        let id = channel.id;
        self.recorder.of_channel(id);
        if page.part == 0 {
            channel.position = Some(Position { epoch: page.epoch.to_string(), offset: page.offset });
        }
        let same = channel.position.as_ref().is_some_and(|position| position.epoch == page.epoch);
        let taken = match (&mut channel.kind, &page.page) {
            (Kind::Presence(presence, _), Page::Members(metas)) => presence.page(frame, page.part, page.end, metas),
            (Kind::Collection(collection), Page::Records { .. }) => collection.page(frame, page).is_ok(),
            _ => false,
        };
        // What is staged is consumed: the window is for what waits for the application.
        self.give_back(id, size);
        if !same || !taken {
            return self.start_over(id, "a page of a snapshot is not the next one");
        }
        if !self.fits(id) {
            return;
        }
        self.take_over(id);
    }

    /// Takes a snapshot over, once it is whole.
    pub(super) fn take_over(&mut self, id: ChannelId) {
        match self.channels.get(id).map(|channel| &channel.kind) {
            Some(Kind::Presence(..)) => self.take_presence_over(id),
            Some(Kind::Collection(_)) => self.take_collection_over(id),
            _ => {}
        }
    }

    /// Whether a stream keeps to its bound. One that does not fails.
    pub(super) fn fits(&mut self, id: ChannelId) -> bool {
        let Some(channel) = self.channels.get_mut(id) else { return false };
        let (bytes, code) = match &channel.kind {
            Kind::Messages => return true,
            Kind::Presence(presence, _) => (presence.bytes(), ErrorCode::PresenceFull),
            Kind::Collection(collection) => (collection.bytes(), ErrorCode::CollectionFull),
        };
        let limit = self.config.replica_bytes;
        if bytes <= limit {
            return true;
        }
        channel.wanted = false;
        let message = format!(
            "a stream of {} takes {bytes} bytes, which is over replica.bytes ({limit}); raise that, or keep less there",
            channel.name
        );
        self.fail_stream(id, Error::new(ErrorKind::Refused(code), message));
        false
    }

    /// A stream will not be followed any more.
    pub(super) fn fail_stream(&mut self, id: ChannelId, error: Error) {
        self.send_unsubscribe(id);
        if let Some(channel) = self.channels.get_mut(id) {
            channel.wanted = false;
            channel.request = None;
            channel.position = None;
        }
        self.stream_left(id, false);
        self.set_channel_state(id, ChannelState::Failed, Some(error));
    }

    /// The peer broke the order of a stream: it is taken over anew.
    pub(super) fn start_over(&mut self, id: ChannelId, why: &str) {
        let Some(channel) = self.channels.get(id) else { return };
        let message = format!(
            "{} broke the order of a stream of {}: {why}; it is taken over anew",
            self.config.url, channel.name
        );
        self.error(Error::new(ErrorKind::Protocol, message));
        self.resync(id);
    }

    /// Subscribes a stream again without a position: at once, and where that was of no use, later.
    pub(super) fn resync(&mut self, id: ChannelId) {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(id) else { return };
        let offset = channel.position.take().map_or(0, |position| position.offset);
        channel.strikes = channel.strikes.saturating_add(1);
        let again = channel.strikes.checked_sub(2);
        let is_collection = match &mut channel.kind {
            Kind::Collection(collection) => {
                collection.left();
                collection.expects = Some("diverged");
                true
            }
            Kind::Presence(presence, _) => {
                presence.left();
                false
            }
            Kind::Messages => return,
        };
        if is_collection {
            self.stats.diverged += 1;
            self.event(Event::Diverged { collection: id, offset });
        }
        self.set_channel_state(id, ChannelState::Resubscribing, None);
        if let (Some(again), Some(channel)) = (again, self.channels.get_mut(id)) {
            // Not at the speed of the network.
            channel.retry_at = Some(now + Duration::from_secs(60.min(1 << again.min(6))));
            self.schedule_streams();
        }
        self.resubscribe_waiting();
    }

    /// Something came that the application will not be given.
    pub(super) fn give_back(&mut self, id: ChannelId, size: u64) {
        self.charge(id, size);
        self.consume(Some(id), size);
    }

    /// Something is given to the application.
    pub(super) fn charge(&mut self, id: ChannelId, size: u64) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.unconsumed += size;
            self.unconsumed += size;
        }
    }

    pub(super) fn schedule_streams(&mut self) {
        let due = self.channels.iter().flat_map(|channel| {
            let (expires_at, retry_at) = match &channel.kind {
                // What was told last stays where nobody watches.
                Kind::Presence(presence, tracking) => {
                    (presence.expires_at().filter(|_| channel.wanted), tracking.retry_at)
                }
                _ => (None, None),
            };
            [channel.retry_at, expires_at, retry_at]
        });
        match due.flatten().min() {
            Some(at) => self.timers.set(Timer::Streams, at),
            None => self.timers.clear(Timer::Streams),
        }
    }

    pub(super) fn streams_due(&mut self) {
        let now = self.now;
        let mut resubscribe = false;
        for id in self.channels.ids_of_streams() {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            resubscribe |= channel.retry_at.take_if(|at| *at <= now).is_some();
            let wanted = channel.wanted;
            if let Kind::Presence(presence, tracking) = &mut channel.kind {
                let expired = if wanted { presence.expire(now) } else { Difference::default() };
                let retries = tracking.retry_at.is_some_and(|at| at <= now);
                self.tell_presence(id, &expired, false, 0);
                if retries {
                    self.settle_tracking(id);
                }
            }
        }
        if resubscribe {
            self.resubscribe_waiting();
        }
        self.schedule_streams();
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. })
    }
}
