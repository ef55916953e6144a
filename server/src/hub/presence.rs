//! Who is in a channel: the state, and the lines that tell its changes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{Left, Meta, PresenceStatus, ServerMessage};

use super::history::Entry;
use super::streams::{State, StreamKey, Streams, encode};

/// A line with more bytes than this leaves the rest to the next one.
const LINE_TARGET: usize = 16 << 10;
/// What a meta costs beside its texts.
const META_OVERHEAD: usize = 256;

/// What a client told about itself in a channel, with what the server vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The public name of its session in this channel.
    pub reference: Arc<str>,
    /// Who it says to be; the verified user where `verified` is set.
    pub key: Arc<str>,
    /// Whether a token proved the key.
    pub verified: bool,
    /// How available it says to be.
    pub status: PresenceStatus,
    /// A JSON object.
    pub state: Bytes,
    /// When it came, ms.
    pub joined_at: u64,
    /// When it said this, ms.
    pub seen_at: u64,
}

/// The metas of a channel.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// By reference, as they are.
    metas: BTreeMap<Arc<str>, Arc<Member>>,
    /// As the history has told them, serialised: what a snapshot shows.
    told: BTreeMap<Arc<str>, Bytes>,
    /// Where the two may differ, and when the client was last heard of.
    untold: BTreeMap<Arc<str>, u64>,
    /// The next line waits until then.
    pub(super) next_line: u64,
    /// Its timer is set.
    pub(super) armed: bool,
}

impl Presence {
    pub(super) fn is_empty(&self) -> bool {
        self.metas.is_empty() && self.untold.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.metas.len()
    }

    pub(super) fn meta(&self, reference: &str) -> Option<&Arc<Member>> {
        self.metas.get(reference)
    }

    pub(super) fn metas(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.metas.values()
    }

    /// What was told, by reference, from behind this one.
    pub(super) fn told_after(&self, after: Option<&Arc<str>>) -> impl Iterator<Item = (&Arc<str>, &Bytes)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.told.range::<Arc<str>, _>((start, Bound::Unbounded))
    }
}

impl Streams {
    /// Puts a meta in the place of the one with its reference; `false` where others see no difference.
    pub(super) fn track(&mut self, now: u64, key: StreamKey, member: Member) -> bool {
        let Some(State::Presence(presence)) = self.stream_mut(key).map(|stream| &mut stream.state) else {
            return false;
        };
        let before = presence.metas.get(&member.reference);
        if before.is_some_and(|before| before.looks_like(&member)) {
            return false;
        }
        let (is_new, released, bytes) = (before.is_none(), before.map_or(0, |before| before.bytes()), member.bytes());
        let reference = member.reference.clone();
        presence.untold.insert(reference.clone(), now);
        presence.metas.insert(reference, Arc::new(member));
        self.totals.members += u64::from(is_new);
        self.totals.member_bytes = self.totals.member_bytes + bytes - released;
        self.touch(now, key);
        true
    }

    /// Takes a meta out; `false` where it is not there.
    pub(super) fn untrack(&mut self, key: StreamKey, reference: &Arc<str>, seen_at: u64) -> bool {
        let Some(State::Presence(presence)) = self.stream_mut(key).map(|stream| &mut stream.state) else {
            return false;
        };
        let Some(member) = presence.metas.remove(reference) else { return false };
        presence.untold.insert(reference.clone(), seen_at);
        self.totals.members -= 1;
        self.totals.member_bytes -= member.bytes();
        true
    }

    /// The next line with what was not told yet; `None` where all was.
    pub(super) fn presence_line(&mut self, now: u64, key: StreamKey) -> Option<Entry> {
        let stream = self.stream_mut(key)?;
        let offset = stream.next_offset();
        let State::Presence(presence) = &mut stream.state else { return None };
        let (mut join, mut leave, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < LINE_TARGET {
            let Some((reference, seen_at)) = presence.untold.pop_first() else { break };
            match presence.metas.get(&reference) {
                Some(member) => {
                    bytes += member.bytes();
                    let mut json = Vec::with_capacity(member.bytes());
                    member.to_meta().encode(&mut json);
                    presence.told.insert(reference, json.into_boxed_slice().into());
                    join.push(member.clone());
                }
                // Nobody needs to hear of one that came and went in between.
                None => {
                    let lost = super::mutant("leave-lost-among-joins") && !join.is_empty();
                    if presence.told.remove(&reference).is_some() && !lost {
                        bytes += META_OVERHEAD;
                        leave.push((reference, seen_at));
                    }
                }
            }
        }
        if join.is_empty() && leave.is_empty() {
            return None;
        }
        let message = ServerMessage::Presence {
            channel: (&*stream.channel).into(),
            offset,
            timestamp: now,
            join: join.iter().map(|member| member.to_meta()).collect(),
            leave: leave
                .iter()
                .map(|(reference, seen_at)| Left { reference: (&**reference).into(), seen_at: *seen_at })
                .collect(),
        };
        Some(Entry::new(now, encode(&message, &mut Vec::new()), false, 0))
    }
}

impl Member {
    pub(super) fn to_meta(&self) -> Meta<'_> {
        Meta {
            reference: (&*self.reference).into(),
            key: (&*self.key).into(),
            verified: self.verified,
            status: self.status,
            state: &self.state,
            joined_at: self.joined_at,
            seen_at: self.seen_at,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        META_OVERHEAD + self.key.len() + self.state.len()
    }

    fn looks_like(&self, other: &Self) -> bool {
        (self.verified, self.status, &self.key, &self.state) == (other.verified, other.status, &other.key, &other.state)
    }
}
