//! Presence and collections: what the application asks of them.

use super::Session;
use crate::error::{Error, ErrorKind};
use crate::io::{ChannelId, RequestId};
use crate::status::ChannelState;
use crate::sync::{Change, Mutation, Tracked};
use crate::time::Timestamp;
use crate::wire::{PresenceStatus, Stream, validate_name};

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
        Ok(self.channels.find_or_add(channel, &Stream::Collection(name.into())).id)
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

    /// Shows records (a JSON array) in a collection until its first snapshot, which replaces them. Fails with `invalid_record`, and
    /// with `invalid_option` after that snapshot.
    pub fn seed(&mut self, id: ChannelId, initial: &[u8]) -> Result<Vec<Change>, Error> {
        let _ = (id, initial);
        Err(not_yet())
    }

    /// Changes a collection: shows at once, as the change that is returned, and ends with [`Event::Receipt`](crate::Event::Receipt), whose offset
    /// is the revision, or with [`Event::SendFailed`](crate::Event::SendFailed), before which it is taken back.
    pub fn mutate(
        &mut self,
        now: Timestamp,
        request: RequestId,
        collection: ChannelId,
        mutation: Mutation<'_>,
        if_revision: Option<u64>,
    ) -> Result<Change, Error> {
        let _ = (now, request, collection, mutation, if_revision);
        Err(not_yet())
    }

    /// Says that this client is present in a channel, on this connection and all to come, until [`untrack`](Self::untrack). `state` is a
    /// JSON object. Replaces what it said before. Ends with [`Event::Receipt`](crate::Event::Receipt) or
    /// [`Event::SendFailed`](crate::Event::SendFailed) of `request`.
    pub fn track(
        &mut self,
        now: Timestamp,
        request: RequestId,
        presence: ChannelId,
        key: Option<&str>,
        status: PresenceStatus,
        state: &[u8],
    ) -> Result<(), Error> {
        let _ = (now, request, presence, key, status, state);
        Err(not_yet())
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
        let _ = (now, request, presence, status, patch);
        Err(not_yet())
    }

    /// Says that this client is not present any more. Ends as [`track`](Self::track) does.
    pub fn untrack(&mut self, now: Timestamp, request: RequestId, presence: ChannelId) -> Result<(), Error> {
        let _ = (now, request, presence);
        Err(not_yet())
    }

    /// What this client says of itself in a channel.
    pub fn tracked(&self, presence: ChannelId) -> Option<Tracked<'_>> {
        let _ = presence;
        None
    }
}

fn not_yet() -> Error {
    Error::new(ErrorKind::Unsupported, "presence and collections are not there yet")
}
