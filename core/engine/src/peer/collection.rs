use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use super::clock::Clock;
use super::message::{Item, State};
use super::{encode_digest, within};
use crate::io::Text;
use crate::rng::Rng;
use crate::time::Timestamp;
use crate::wire::{Digest, text};

/// Answers, and questions that came up, are spread over this: one serves all.
const SPREAD: Duration = Duration::from_millis(500);
/// Without an answer for so long there is none.
const UNANSWERED: Duration = Duration::from_secs(1);
/// How often the digest is said, unless another said the same.
const DIGEST: Duration = Duration::from_secs(30);
/// Places of removed records that are kept.
const MAX_TOMBSTONES: usize = 10_000;
/// A page of a state is closed at so many bytes.
const PAGE: usize = 32 << 10;
/// So many pages go out at once, and then, after a pause, the next ones.
const PAGES: usize = 8;
const PAUSE: Duration = Duration::from_millis(50);
/// States that come in at the same time; of others the records are taken, but not their end.
const MAX_STATES: usize = 16;
/// Digests that no state explains make it ask less and less often, down to once in 2^4 times 30 s.
const MAX_STRIKES: u32 = 4;

/// A replica of a collection among peers: since when its records are as they are. The records are in `Collection`.
#[derive(Debug, Default)]
pub(crate) struct PeerCollection {
    places: BTreeMap<Text, Place>,
    /// Those of removed records, oldest first.
    tombstones: BTreeSet<(Clock, Text)>,
    digest: Digest,
    /// States that come in: whose, the part that is next, and whether it changed anything.
    states: BTreeMap<Text, (u64, bool)>,
    request_at: Option<Timestamp>,
    answer_at: Option<Timestamp>,
    digest_at: Option<Timestamp>,
    unanswered_at: Option<Timestamp>,
    sending: Option<Sending>,
    strikes: u32,
    quiet_until: Timestamp,
}

#[derive(Clone, Debug)]
struct Place {
    clock: Clock,
    removed: bool,
}

/// A state on its way out.
#[derive(Debug)]
struct Sending {
    after: Option<Text>,
    part: u64,
    digest: Digest,
    at: Timestamp,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) request: bool,
    pub(crate) digest: bool,
    /// Pages are to go out.
    pub(crate) pages: bool,
    /// Nobody has answered.
    pub(crate) unanswered: bool,
}

impl PeerCollection {
    /// The connection is gone, or nobody follows.
    pub(crate) fn left(&mut self) {
        (self.request_at, self.answer_at, self.digest_at, self.unanswered_at) = (None, None, None, None);
        self.sending = None;
        self.states.clear();
    }

    /// This client has begun to follow, and asks.
    pub(crate) fn begin(&mut self, now: Timestamp, rng: &mut Rng) {
        self.unanswered_at = Some(now + UNANSWERED);
        (self.strikes, self.quiet_until) = (0, now);
        self.says_later(now, rng);
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn clock(&self, key: &str) -> Option<&Clock> {
        self.places.get(key.as_bytes()).map(|place| &place.clock)
    }

    /// A record is as it is since then; `false` where what is known is newer, or the same.
    pub(crate) fn take(&mut self, key: &Text, clock: &Clock, removed: bool) -> bool {
        if self.places.get(key).is_some_and(|place| place.clock >= *clock) {
            return false;
        }
        self.forget(key);
        self.digest.add(key, &clock.json());
        self.places.insert(key.clone(), Place { clock: clock.clone(), removed });
        if removed {
            self.tombstones.insert((clock.clone(), key.clone()));
            if self.tombstones.len() > MAX_TOMBSTONES
                && let Some((_, oldest)) = self.tombstones.pop_first()
            {
                self.forget(&oldest);
            }
        }
        true
    }

    /// Another asks for the state.
    pub(crate) fn requested(&mut self, now: Timestamp, digest: u64, rng: &mut Rng) {
        if digest == self.digest.sum {
            // The answer to that is for this client too.
            self.request_at = None;
        } else if self.places.is_empty() {
            self.differs(now, rng);
        } else {
            self.answer_at.get_or_insert_with(|| within(now, SPREAD, rng));
        }
    }

    /// Another says what it has.
    pub(crate) fn heard(&mut self, now: Timestamp, digest: u64, rng: &mut Rng) {
        if digest == self.digest.sum {
            self.says_later(now, rng);
        } else {
            self.differs(now, rng);
        }
    }

    /// A part of another's state has come, and was taken; `true` where it is whole with that.
    pub(crate) fn came(&mut self, now: Timestamp, state: &State<'_>, changed: bool, rng: &mut Rng) -> bool {
        if let Some(at) = &mut self.unanswered_at {
            // There is an answer, which takes its time.
            *at = now + UNANSWERED;
        }
        if state.digest == self.digest.sum {
            // It says what this client would say.
            self.answer_at = None;
        }
        if state.part == 0 && (self.states.len() < MAX_STATES || self.states.contains_key(state.reference.as_bytes())) {
            self.states.insert(Text::from(&*state.reference), (0, false));
        }
        let Some((next, effective)) = self.states.get_mut(state.reference.as_bytes()) else { return false };
        // Every part stands for itself, so that one that is missing costs no more than itself. But then it is not whole.
        if *next != state.part {
            self.states.remove(state.reference.as_bytes());
            return false;
        }
        *next += 1;
        *effective |= changed;
        let effective = *effective;
        if !state.last {
            return false;
        }
        self.states.remove(state.reference.as_bytes());
        if state.digest != self.digest.sum {
            // The others lack something.
            let soon = within(now, SPREAD, rng);
            self.digest_at = Some(self.digest_at.map_or(soon, |at| at.min(soon)));
            if !effective {
                self.strikes = (self.strikes + 1).min(MAX_STRIKES);
                self.quiet_until = now + DIGEST * (1 << self.strikes) / 2;
            }
        }
        if effective {
            (self.strikes, self.quiet_until) = (0, now);
        }
        true
    }

    /// Whether this client still waited for an answer.
    pub(crate) fn answered(&mut self) -> bool {
        self.unanswered_at.take().is_some()
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let sending = self.sending.as_ref().map(|sending| sending.at);
        let answer = self.answer_at.filter(|_| sending.is_none());
        [self.request_at, answer, self.digest_at, self.unanswered_at, sending].into_iter().flatten().min()
    }

    /// What is due.
    pub(crate) fn due(&mut self, now: Timestamp, rng: &mut Rng) -> Due {
        let take = |at: &mut Option<Timestamp>| at.take_if(|at| *at <= now).is_some();
        let mut due = Due {
            request: take(&mut self.request_at),
            digest: take(&mut self.digest_at),
            unanswered: self.unanswered_at.is_some_and(|at| at <= now),
            pages: false,
        };
        if self.sending.is_none() && take(&mut self.answer_at) {
            self.sending = Some(Sending { after: None, part: 0, digest: self.digest, at: now });
        }
        due.pages = self.sending.as_ref().is_some_and(|sending| sending.at <= now);
        if due.digest {
            self.says_later(now, rng);
        }
        due
    }

    /// The payloads of the next pages of the state that goes out. `busy`: not now.
    pub(crate) fn pages(
        &mut self,
        now: Timestamp,
        busy: bool,
        collection: &str,
        reference: &str,
        record: impl Fn(&str) -> Option<Bytes>,
    ) -> Vec<Vec<u8>> {
        let Some(mut sending) = self.sending.take() else { return Vec::new() };
        let mut pages = Vec::new();
        while !busy && pages.len() < PAGES {
            let mut page = encode_digest(collection, reference, &sending.digest.to_string());
            page.pop();
            text::number(&mut page, "part", sending.part);
            let after = sending.after.take().map_or(Bound::Unbounded, Bound::Excluded);
            let mut places = self.places.range::<Text, _>((after, Bound::Unbounded)).peekable();
            let mut records = Vec::new();
            while records.len() < PAGE
                && let Some((key, place)) = places.next()
            {
                sending.after = Some(key.clone());
                let record = if place.removed { None } else { record(key) };
                if record.is_none() && !place.removed {
                    continue;
                }
                if !records.is_empty() {
                    records.push(b',');
                }
                Item { key: key.clone(), clock: place.clock.clone(), record }.encode(&mut records);
            }
            let last = places.peek().is_none();
            text::boolean(&mut page, "last", last);
            text::key(&mut page, "records");
            page.push(b'[');
            page.extend_from_slice(&records);
            page.extend_from_slice(b"]}");
            pages.push(page);
            if last {
                return pages;
            }
            sending.part += 1;
        }
        sending.at = now + PAUSE;
        self.sending = Some(sending);
        pages
    }

    fn differs(&mut self, now: Timestamp, rng: &mut Rng) {
        if now >= self.quiet_until {
            self.request_at.get_or_insert_with(|| within(now, SPREAD, rng));
        }
    }

    fn says_later(&mut self, now: Timestamp, rng: &mut Rng) {
        self.digest_at = Some(within(now + DIGEST, DIGEST / 6, rng));
    }

    fn forget(&mut self, key: &Text) {
        let Some(place) = self.places.remove(key) else { return };
        self.digest.remove(key, &place.clock.json());
        if place.removed {
            self.tombstones.remove(&(place.clock, key.clone()));
        }
    }
}
