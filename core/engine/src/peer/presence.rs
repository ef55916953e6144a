use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::within;
use crate::io::Text;
use crate::rng::Rng;
use crate::time::Timestamp;
use crate::wire::{Meta, PresenceStatus};

/// How often a client says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Who was not heard of for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Answers to one that joins are spread over so much for each member that is known…
const SPREAD: Duration = Duration::from_millis(20);
/// …but at least and at most over this.
const SPREAD_MIN: Duration = Duration::from_millis(100);
const SPREAD_MAX: Duration = Duration::from_secs(5);
/// A newcomer takes it that it knows everybody after this…
const WHOLE: Duration = Duration::from_millis(300);
/// …and after so much without another answer.
const QUIET: Duration = Duration::from_millis(200);
/// Those that are kept of one channel.
const MAX_MEMBERS: usize = 10_000;

/// The presence of a channel among peers: who was heard of when, and what is to be said. What they said is in `Presence`.
#[derive(Debug, Default)]
pub(crate) struct PeerPresence {
    /// When those are given up that are not heard of again.
    heard: BTreeMap<Text, Timestamp>,
    by_time: BTreeSet<(Timestamp, Text)>,
    /// What this client says of itself.
    pub(crate) own: Option<Own>,
    /// It was said on this connection.
    pub(crate) said: bool,
    /// The others are to be asked who they are.
    pub(crate) asks: bool,
    answer_at: Option<Timestamp>,
    announce_at: Option<Timestamp>,
    whole: Option<Whole>,
    connected: bool,
}

/// What a client says of itself, but for its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) key: Text,
    pub(crate) status: PresenceStatus,
    pub(crate) state: Bytes,
    pub(crate) joined_at: u64,
    pub(crate) seen_at: u64,
}

impl Own {
    /// The same as others are told it.
    pub(crate) fn meta<'a>(&'a self, reference: &'a str) -> Meta<'a> {
        Meta {
            reference: reference.into(),
            key: (&*self.key).into(),
            verified: false,
            status: self.status,
            state: &self.state,
            joined_at: self.joined_at,
            seen_at: self.seen_at,
        }
    }
}

/// The answers to this client's question.
#[derive(Debug)]
struct Whole {
    at: Timestamp,
    latest: Timestamp,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(crate) struct Tick {
    pub(crate) gone: Vec<Text>,
    /// To say who this client is.
    pub(crate) announce: bool,
    /// Everybody that answers has.
    pub(crate) whole: bool,
}

impl PeerPresence {
    /// The messages of the channel come, or come again. Who is known (`metas`) has some time to be heard of.
    pub(crate) fn connected(&mut self, now: Timestamp, metas: impl IntoIterator<Item = Text>) {
        if !std::mem::replace(&mut self.connected, true) {
            self.by_time.clear();
            self.heard.clear();
        }
        for reference in metas {
            if !self.heard.contains_key(&reference) {
                self.hear(now, &reference);
            }
        }
    }

    /// The connection is gone: nothing is heard, which says nothing of the others.
    pub(crate) fn left(&mut self) {
        (self.connected, self.said, self.asks) = (false, false, false);
        (self.answer_at, self.announce_at, self.whole) = (None, None, None);
    }

    /// One of the others is there. `None` where there are too many, otherwise whether it is a new one.
    pub(crate) fn hear(&mut self, now: Timestamp, reference: &str) -> Option<bool> {
        let known = self.forget(reference);
        if !known && self.heard.len() >= MAX_MEMBERS {
            return None;
        }
        let (reference, until) = (Text::from(reference), now + SILENCE);
        self.by_time.insert((until, reference.clone()));
        self.heard.insert(reference, until);
        if let Some(whole) = self.whole.as_mut().filter(|_| !known) {
            whole.at = whole.at.max((now + QUIET).min(whole.latest));
        }
        Some(!known)
    }

    pub(crate) fn forget(&mut self, reference: &str) -> bool {
        let Some((reference, until)) = self.heard.remove_entry(reference.as_bytes()) else { return false };
        self.by_time.remove(&(until, reference))
    }

    /// One has joined, and wants to know who is there. One answer is for all that joined before it.
    pub(crate) fn joined(&mut self, now: Timestamp, rng: &mut Rng) {
        if self.own.is_some() && self.said && self.answer_at.is_none() {
            let members = u32::try_from(self.heard.len()).unwrap_or(u32::MAX);
            let spread = SPREAD.saturating_mul(members).clamp(SPREAD_MIN, SPREAD_MAX);
            self.answer_at = Some(within(now, spread, rng));
        }
    }

    /// This client has said who it is. That is an answer, and a heartbeat.
    pub(crate) fn announced(&mut self, now: Timestamp) {
        self.said = true;
        self.answer_at = None;
        self.announce_at = Some(now + HEARTBEAT);
    }

    /// This client is not present any more.
    pub(crate) fn withdrawn(&mut self) {
        (self.own, self.said) = (None, false);
        (self.answer_at, self.announce_at) = (None, None);
    }

    /// The others were asked who they are.
    pub(crate) fn asked(&mut self, now: Timestamp) {
        self.asks = false;
        self.whole = Some(Whole { at: now + WHOLE, latest: now + SPREAD_MAX + QUIET });
    }

    /// Nobody watches any more.
    pub(crate) fn unwatched(&mut self) {
        self.asks = false;
        self.whole = None;
        // One who is present hears the others all the same.
        self.connected &= self.own.is_some();
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let expires = self.by_time.first().map(|(until, _)| *until);
        let whole = self.whole.as_ref().map(|whole| whole.at);
        [expires, self.answer_at, self.announce_at, whole].into_iter().flatten().min().filter(|_| self.connected)
    }

    /// What is due.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Tick {
        let mut tick = Tick::default();
        if !self.connected {
            return tick;
        }
        while self.by_time.first().is_some_and(|(until, _)| *until <= now)
            && let Some((_, reference)) = self.by_time.pop_first()
        {
            self.heard.remove(&reference);
            tick.gone.push(reference);
        }
        tick.announce = [self.answer_at, self.announce_at].into_iter().flatten().any(|at| at <= now);
        tick.whole = self.whole.take_if(|whole| whole.at <= now).is_some();
        tick
    }
}
