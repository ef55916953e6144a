//! Presence and collections among peers, where the backend only hands messages on (section 15 of the specification).

mod clock;
mod collection;
mod message;
mod presence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::io::{ChannelId, Text};
use crate::rng::Rng;
use crate::time::Timestamp;

pub(crate) use clock::{Clock, Hybrid, Stamp};
pub(crate) use collection::PeerCollection;
pub(crate) use message::{Item, Message, encode_change, encode_digest, encode_leave, encode_member, encode_watcher};
pub(crate) use presence::{Own, PeerPresence};

/// What a session does as a peer.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// The name of this client among the others: made when it is needed first.
    reference: Option<Text>,
    pub(crate) clock: Hybrid,
    /// The channels that the backend was asked for on this connection, by whichever of their streams.
    pub(crate) wired: BTreeSet<Text>,
    pub(crate) presences: BTreeMap<ChannelId, PeerPresence>,
    pub(crate) collections: BTreeMap<ChannelId, PeerCollection>,
    /// What was said of this client and not handed to the operating system yet.
    pub(crate) unflushed: Vec<(ChannelId, u64)>,
}

impl Peer {
    pub(crate) fn reference(&mut self, rng: &mut Rng) -> Text {
        self.reference.get_or_insert_with(|| Text::from(format!("{:016x}", rng.next_u64()))).clone()
    }

    pub(crate) fn is_own(&self, reference: &str) -> bool {
        self.reference.as_deref() == Some(reference)
    }

    /// The channel, where there is exactly one.
    pub(crate) fn only_wired(&self) -> Option<&Text> {
        self.wired.first().filter(|_| self.wired.len() == 1)
    }

    /// The connection is gone.
    pub(crate) fn left(&mut self) {
        self.wired.clear();
        self.unflushed.clear();
        self.presences.values_mut().for_each(PeerPresence::left);
        self.collections.values_mut().for_each(PeerCollection::left);
    }

    /// There is a server that knows better.
    pub(crate) fn retire(&mut self) {
        self.presences.clear();
        self.collections.clear();
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let presences = self.presences.values().filter_map(PeerPresence::next_due);
        presences.chain(self.collections.values().filter_map(PeerCollection::next_due)).min()
    }
}

/// A moment within `spread`, at random.
pub(crate) fn within(now: Timestamp, spread: Duration, rng: &mut Rng) -> Timestamp {
    now + spread.mul_f64(rng.fraction())
}
