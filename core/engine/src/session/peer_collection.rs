//! Records that the clients of a channel keep equal among themselves.

use super::Session;
use super::outgoing::plain_frame;
use crate::channel::Kind;
use crate::error::{Error, ErrorKind};
use crate::io::{ChannelId, Event, RequestId, Text};
use crate::outbox::Mutate;
use crate::peer::{Clock, Item, Message, Stamp, encode_change, encode_digest};
use crate::replica::OpKind;
use crate::wire::{ErrorCode, Frame};

impl Session {
    /// Following begins: the others are asked for what they have.
    pub(super) fn peer_follow(&mut self, id: ChannelId) {
        self.peer.collections.entry(id).or_default().begin(self.now, &mut self.rng);
        self.say_digest(id, "sync:request");
    }

    /// The moment of a change that is made now.
    pub(super) fn stamp(&mut self, id: ChannelId, key: &str) -> Stamp {
        let known = self.peer.collections.get(&id).and_then(|peer| peer.clock(key)).map(|clock| clock.stamp);
        let pending = self.collection_mut(id).ok().and_then(|collection| collection.stamp(key));
        self.peer.clock.tick(self.now, known.into_iter().chain(pending))
    }

    /// The frame of a mutation, which becomes a record of this replica with that.
    pub(super) fn peer_mutation(
        &mut self,
        id: ChannelId,
        request: RequestId,
        mutation: &Mutate,
    ) -> Result<Frame, Error> {
        if mutation.if_revision.is_some() {
            let message =
                "the plain dialect has no revisions, since no server orders the changes; leave ifRevision out";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let key = &mutation.key;
        let reference = self.peer.reference(&mut self.rng);
        let collection = self.collection_mut(id)?;
        let name = collection.name.clone();
        let item = match collection.made(key, request) {
            Some((_, None)) if mutation.op == OpKind::Update => {
                let message = format!("there is no record {key:?} that could be updated");
                return Err(Error::new(ErrorKind::Refused(ErrorCode::NotFound), message));
            }
            Some((stamp, record)) => Item { key: key.clone(), clock: Clock { stamp, reference }, record },
            // It was written before, on a connection that was lost: it is part of the replica.
            None => {
                let record = collection.confirmed(key).cloned();
                let clock = self.peer.collections.get(&id).and_then(|peer| peer.clock(key)).cloned();
                let clock = clock.unwrap_or(Clock { stamp: (0, 0), reference });
                Item { key: key.clone(), clock, record }
            }
        };
        let won = self.peer.collections.entry(id).or_default().take(key, &item.clock, item.record.is_none());
        let change = self.collection_mut(id)?.written(key, request, won.then(|| item.record.clone()));
        if let Some(change) = change {
            self.event(Event::Change(change));
        }
        let channel = self.channel_name(id).cloned().unwrap_or_else(|| Text::from(""));
        Ok(plain_frame(&channel, "sync:change", &encode_change(&name, &item), self.now))
    }

    pub(super) fn peer_collection_message(&mut self, id: ChannelId, size: u64, message: Message<'_>) {
        let now = self.now;
        match message {
            Message::Change { item, .. } => {
                self.take_records(id, size, vec![item]);
            }
            Message::Request { reference, digest, .. } if !self.peer.is_own(&reference) => {
                if let Some(peer) = self.peer.collections.get_mut(&id) {
                    peer.requested(now, digest, &mut self.rng);
                }
            }
            Message::Digest { reference, digest, .. } if !self.peer.is_own(&reference) => {
                if let Some(peer) = self.peer.collections.get_mut(&id) {
                    peer.heard(now, digest, &mut self.rng);
                }
            }
            Message::State(mut state) if !self.peer.is_own(&state.reference) => {
                if let Some(error) = state.broken.take() {
                    self.peer_broken(error);
                }
                let changed = self.take_records(id, size, std::mem::take(&mut state.records));
                let follows = self.follows(id);
                let Some(peer) = self.peer.collections.get_mut(&id).filter(|_| follows) else { return };
                if peer.came(now, &state, changed, &mut self.rng) {
                    self.peer_synced(id);
                }
            }
            _ => {}
        }
    }

    /// Takes what is newer; whether anything was.
    fn take_records(&mut self, id: ChannelId, size: u64, records: Vec<Item>) -> bool {
        let now = self.now;
        let (mut changes, mut newer) = (Vec::new(), false);
        for Item { key, clock, record } in records {
            self.peer.clock.observe(now, clock.stamp);
            let Some(peer) = self.peer.collections.get_mut(&id) else { return newer };
            if peer.take(&key, &clock, record.is_none()) {
                newer = true;
                changes.extend(self.collection_mut(id).ok().and_then(|collection| collection.merge(key, record)));
            }
        }
        if let Some(first) = changes.first_mut() {
            first.size = size;
            self.charge(id, size);
        }
        changes.into_iter().for_each(|change| self.event(Event::Change(change)));
        self.fits(id);
        newer
    }

    pub(super) fn peer_collection_due(&mut self, id: ChannelId) {
        let now = self.now;
        let Some(peer) = self.peer.collections.get_mut(&id) else { return };
        let due = peer.due(now, &mut self.rng);
        if due.unanswered {
            self.peer_synced(id);
        }
        if due.request {
            self.say_digest(id, "sync:request");
        }
        if due.digest {
            self.say_digest(id, "sync:digest");
        }
        if due.pages {
            let busy = self.is_busy();
            let reference = self.peer.reference(&mut self.rng);
            let Some(Kind::Collection(collection)) = self.channels.get(id).map(|channel| &channel.kind) else { return };
            let Some(peer) = self.peer.collections.get_mut(&id) else { return };
            let record = |key: &str| collection.confirmed(key).cloned();
            let pages = peer.pages(now, busy, &collection.name, &reference, record);
            pages.iter().for_each(|page| self.say(id, "sync:state", page));
        }
    }

    /// What the others have is here, as far as anybody can say.
    fn peer_synced(&mut self, id: ChannelId) {
        if !self.peer.collections.get_mut(&id).is_some_and(|peer| peer.answered()) {
            return;
        }
        let Ok(collection) = self.collection_mut(id) else { return };
        let reason = if std::mem::replace(&mut collection.synced, true) { "resync" } else { "initial" };
        let records = collection.len() as u64;
        self.event(Event::Synced { collection: id, records, reason });
    }

    fn say_digest(&mut self, id: ChannelId, event: &str) {
        let reference = self.peer.reference(&mut self.rng);
        let Some(digest) = self.peer.collections.get(&id).map(|peer| peer.digest().to_string()) else { return };
        let Ok(name) = self.collection_mut(id).map(|collection| collection.name.clone()) else { return };
        self.say(id, event, &encode_digest(&name, &reference, &digest));
    }
}
