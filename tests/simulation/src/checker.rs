//! What must hold, whatever happens (`docs/protocol.md` and `docs/simulation.md`). It sees only what applications see, and knows
//! nothing of how the code under test works.

mod plain;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use realtime_engine::{Gap, Stats};

use self::plain::Segment;

/// A message: which client, its which.
pub(crate) type Id = (usize, u64);
/// The history of a channel under one epoch: channel, number of the epoch.
type HistoryId = (usize, u32);

/// What a run must not violate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// An accepted message is stored once and reaches every subscriber once.
    ExactlyOnce,
    /// In offset order, and in the order of the sends of each client.
    InOrder,
    /// What will not come is told; what can come is not told as missing.
    NoSilentGap,
    /// Every send ends once, in time, and as it was told.
    EverySendEnds,
    /// Memory stays within what was configured.
    Bounded,
    /// `connected` means alive, and who may come back does.
    Liveness,
    /// All see the same history.
    OneHistory,
    /// At the end, everybody has everything.
    Converges,
}

impl Invariant {
    pub fn as_str(self) -> &'static str {
        match self {
            Invariant::ExactlyOnce => "exactly once",
            Invariant::InOrder => "in order",
            Invariant::NoSilentGap => "no silent gap",
            Invariant::EverySendEnds => "every send ends",
            Invariant::Bounded => "bounded memory",
            Invariant::Liveness => "liveness",
            Invariant::OneHistory => "one history",
            Invariant::Converges => "converges",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.as_str(), self.what)
    }
}

/// What the checker is told of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) plain: bool,
    /// Bytes that the application may be left to hold unconsumed.
    pub(crate) inbox_bytes: u64,
    pub(crate) queue_messages: usize,
    /// µs.
    pub(crate) send_timeout: Option<u64>,
    /// µs.
    pub(crate) heartbeat_timeout: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Pending,
    Accepted,
    Failed,
    /// Given up by this side before it was ever sent.
    Unsent,
}

#[derive(Debug)]
struct Sent {
    channel: usize,
    at: u64,
    outcome: Outcome,
    /// How often it may be stored in one history: once, and in the plain dialect once more for each connection lost meanwhile.
    copies: usize,
    places: Vec<(u32, u64)>,
}

/// What a subscriber has seen of a channel since it subscribed.
#[derive(Debug, Default)]
struct Seen {
    epoch: Option<u32>,
    last: Option<u64>,
    ids: HashSet<Id>,
}

#[derive(Debug)]
pub struct Checker {
    rules: Vec<Rules>,
    sent: HashMap<Id, Sent>,
    pending: Vec<HashSet<u64>>,
    epochs: HashMap<String, u32>,
    /// What each place in each history holds, by whoever said so first.
    histories: HashMap<HistoryId, Vec<Option<Id>>>,
    seen: HashMap<(usize, usize), Seen>,
    segments: BTreeMap<(usize, usize), Vec<Segment>>,
    /// Where the sends of each client were accepted.
    order: HashMap<(usize, HistoryId), BTreeMap<u64, u64>>,
    /// The server evicts messages that somebody still wants.
    pub(crate) evicts: bool,
    /// The server has lost its memory at least once.
    pub(crate) restarted: bool,
    /// When each client's machine woke last.
    awake_at: Vec<u64>,
    now: u64,
    pub violations: Vec<Violation>,
    pub messages: u64,
    pub deliveries: u64,
    pub gaps: u64,
}

impl Checker {
    pub(crate) fn new(rules: Vec<Rules>, evicts: bool) -> Self {
        Self {
            pending: vec![HashSet::new(); rules.len()],
            awake_at: vec![0; rules.len()],
            rules,
            sent: HashMap::new(),
            epochs: HashMap::new(),
            histories: HashMap::new(),
            seen: HashMap::new(),
            segments: BTreeMap::new(),
            order: HashMap::new(),
            evicts,
            restarted: false,
            now: 0,
            violations: Vec::new(),
            messages: 0,
            deliveries: 0,
            gaps: 0,
        }
    }

    pub(crate) fn violation(&mut self, invariant: Invariant, what: String) {
        self.violations.push(Violation { invariant, what });
    }

    pub(crate) fn at(&mut self, now: u64) {
        self.now = now;
    }

    /// The client's machine stands still until then.
    pub(crate) fn asleep(&mut self, client: usize, until: u64) {
        self.awake_at[client] = until;
    }

    pub(crate) fn published(&mut self, client: usize, n: u64, channel: usize) {
        self.messages += 1;
        let sent = Sent { channel, at: self.now, outcome: Outcome::Pending, copies: 1, places: Vec::new() };
        self.sent.insert((client, n), sent);
        self.pending[client].insert(n);
    }

    pub(crate) fn subscribed(&mut self, client: usize, channel: usize) {
        if self.rules[client].plain {
            self.plain_subscribed(client, channel);
        }
        self.seen.entry((client, channel)).or_default();
    }

    pub(crate) fn unsubscribed(&mut self, client: usize, channel: usize) {
        self.seen.remove(&(client, channel));
    }

    pub(crate) fn is_subscribed(&self, client: usize, channel: usize) -> bool {
        self.seen.contains_key(&(client, channel))
    }

    pub(crate) fn is_plain(&self, client: usize) -> bool {
        self.rules[client].plain
    }

    /// A connection is open: what the plain dialect promises begins anew.
    pub(crate) fn opened(&mut self, client: usize) {
        if self.rules[client].plain {
            self.plain_opened(client);
        }
    }

    /// A connection that was open is gone: what was on its way in the plain dialect may go out again.
    pub(crate) fn closed(&mut self, client: usize) {
        if self.rules[client].plain {
            for n in &self.pending[client] {
                if let Some(sent) = self.sent.get_mut(&(client, *n)) {
                    sent.copies += 1;
                }
            }
        }
    }

    pub(crate) fn receipt(&mut self, client: usize, n: u64, place: Option<(&str, u64)>) {
        let Some(channel) = self.ended(client, n, Outcome::Accepted, "a receipt") else { return };
        match place {
            None if !self.rules[client].plain => {
                self.violation(Invariant::EverySendEnds, format!("{client}/{n} was not acknowledged, only written"));
            }
            None => {}
            Some((epoch, offset)) => {
                let epoch = self.epoch(epoch);
                self.place((channel, epoch), offset, (client, n));
                self.in_order(client, n, (channel, epoch), offset);
            }
        }
    }

    pub(crate) fn failed(&mut self, client: usize, n: u64, code: &str) {
        let outcome = if code == "dropped" { Outcome::Unsent } else { Outcome::Failed };
        self.ended(client, n, outcome, code);
        if !["closed", "timeout", "dropped", "max_attempts"].contains(&code) {
            let what = format!("{client}/{n} was refused with {code}, and nothing was wrong with it");
            self.violation(Invariant::EverySendEnds, what);
        }
        if code == "dropped" && self.sent.get(&(client, n)).is_some_and(|sent| !sent.places.is_empty()) {
            self.violation(Invariant::EverySendEnds, format!("{client}/{n} was dropped unsent, and is in the history"));
        }
    }

    fn ended(&mut self, client: usize, n: u64, outcome: Outcome, what: &str) -> Option<usize> {
        let id = (client, n);
        self.pending[client].remove(&n);
        let (now, awake_at, timeout) = (self.now, self.awake_at[client], self.rules[client].send_timeout);
        match self.sent.get_mut(&id) {
            Some(sent) if sent.outcome == Outcome::Pending => {
                sent.outcome = outcome;
                let (channel, age) = (sent.channel, now - sent.at);
                if timeout.is_some_and(|timeout| now > (sent.at + timeout).max(awake_at) + 1000) {
                    self.violation(Invariant::EverySendEnds, format!("{id:?} ended with {what} after {age} µs"));
                }
                Some(channel)
            }
            other => {
                let state = other.map(|sent| &sent.outcome);
                let what = format!("{id:?} ended with {what} in state {state:?}");
                self.violation(Invariant::EverySendEnds, what);
                None
            }
        }
    }

    /// A message in the full protocol.
    pub(crate) fn delivered(&mut self, client: usize, channel: usize, epoch: &str, offset: u64, payload: &[u8]) {
        let Some(id) = self.known(client, channel, payload) else { return };
        let epoch = self.epoch(epoch);
        self.place((channel, epoch), offset, id);
        let Some(seen) = self.seen.get_mut(&(client, channel)) else {
            return self
                .violation(Invariant::ExactlyOnce, format!("client {client} got {id:?} of {channel}, which it left"));
        };
        let (before, last) = (*seen.epoch.get_or_insert(epoch), seen.last.replace(offset));
        let again = !seen.ids.insert(id);
        if before != epoch {
            seen.epoch = Some(epoch);
            let what = format!("client {client} channel {channel}: epoch {before} became {epoch} in silence");
            self.violation(Invariant::NoSilentGap, what);
        } else if let Some(last) = last.filter(|last| offset != last + 1) {
            let invariant = match offset {
                _ if offset == last => Invariant::ExactlyOnce,
                _ if offset < last => Invariant::InOrder,
                _ => Invariant::NoSilentGap,
            };
            self.violation(invariant, format!("client {client} channel {channel}: {offset} came after {last}"));
        } else if again && !self.rules[id.0].plain {
            self.violation(Invariant::ExactlyOnce, format!("client {client} channel {channel}: {id:?} came twice"));
        }
    }

    /// Looks a delivered message up.
    fn known(&mut self, client: usize, channel: usize, payload: &[u8]) -> Option<Id> {
        self.deliveries += 1;
        let id = id_of(payload).unwrap_or_default();
        match self.sent.get(&id) {
            Some(sent) if sent.channel == channel => Some(id),
            _ => {
                let what = format!("client {client} got {id:?} in channel {channel}, where nobody sent it");
                self.violation(Invariant::OneHistory, what);
                None
            }
        }
    }

    pub(crate) fn gap(&mut self, client: usize, channel: usize, gap: &Gap) {
        self.gaps += 1;
        let lost = gap.previous_epoch.is_some();
        if !(self.restarted || self.evicts && !lost) {
            let what = format!("client {client} channel {channel}: told as missing within retention: {gap:?}");
            self.violation(Invariant::NoSilentGap, what);
        }
        let epoch = self.epoch(&gap.epoch);
        let Some(seen) = self.seen.get_mut(&(client, channel)) else { return };
        let before = seen.last;
        seen.epoch = Some(epoch);
        if lost {
            // A repeat is possible there, and only there: the server has lost its receipts.
            seen.ids.clear();
            seen.last = Some(gap.to.unwrap_or(0));
        } else {
            seen.last = gap.to;
            if before.is_some_and(|last| gap.from != Some(last + 1)) {
                let what = format!("client {client} channel {channel}: {gap:?} after {before:?}");
                self.violation(Invariant::NoSilentGap, what);
            }
        }
    }

    pub(crate) fn memory(&mut self, client: usize, stats: &Stats) {
        let rules = self.rules[client];
        if stats.unconsumed_bytes > rules.inbox_bytes {
            let what = format!("client {client} holds {} unconsumed bytes", stats.unconsumed_bytes);
            self.violation(Invariant::Bounded, what);
        }
        if stats.queued > rules.queue_messages {
            self.violation(Invariant::Bounded, format!("client {client} queues {} messages", stats.queued));
        }
    }

    /// The client says `connected`, and has heard nothing for so long (µs).
    pub(crate) fn alive(&mut self, client: usize, silence: u64) {
        if silence > self.rules[client].heartbeat_timeout + 1000 {
            let what = format!("client {client} is connected to one that was silent for {} ms", silence / 1000);
            self.violation(Invariant::Liveness, what);
        }
    }

    /// After the faults have ended and everything had time to settle.
    pub(crate) fn settled(&mut self) {
        let mut pending: Vec<Id> =
            self.sent.iter().filter(|(_, s)| s.outcome == Outcome::Pending).map(|(id, _)| *id).collect();
        pending.sort_unstable();
        for id in pending {
            self.violation(Invariant::EverySendEnds, format!("{id:?} never ended"));
        }
        self.plain_settled();
    }

    /// A subscriber must have come to the end of the history.
    pub(crate) fn at_end(&mut self, client: usize, channel: usize, epoch: &str, offset: u64) {
        let history = (channel, self.epoch(epoch));
        let newest = self.histories.get(&history).map_or(0, |entries| entries.len() as u64);
        if newest > offset {
            let what = format!("client {client} channel {channel} stands at {offset}, the history at {newest}");
            self.violation(Invariant::Converges, what);
        }
        let last = self.seen.get(&(client, channel)).and_then(|seen| seen.last);
        if let Some(last) = last.filter(|last| *last != offset) {
            let what = format!("client {client} channel {channel} has seen {last} and says {offset}");
            self.violation(Invariant::NoSilentGap, what);
        }
    }

    /// The last message of a channel must have reached the subscriber.
    pub(crate) fn has_last(&mut self, client: usize, channel: usize, last: Id) {
        let has = match self.rules[client].plain {
            true => self.plain_has(client, channel, last),
            false => self.seen.get(&(client, channel)).is_some_and(|seen| seen.ids.contains(&last)),
        };
        if !has {
            self.violation(
                Invariant::Converges,
                format!("client {client} channel {channel} did not get {last:?}, the last"),
            );
        }
    }

    fn epoch(&mut self, epoch: &str) -> u32 {
        if let Some(number) = self.epochs.get(epoch) {
            return *number;
        }
        let number = self.epochs.len() as u32;
        self.epochs.insert(epoch.to_owned(), number);
        number
    }

    /// Somebody says that a message has this place.
    fn place(&mut self, history: HistoryId, offset: u64, id: Id) {
        let Some(index) = offset.checked_sub(1).and_then(|index| usize::try_from(index).ok()).filter(|i| *i < 1 << 20)
        else {
            return self.violation(Invariant::OneHistory, format!("{id:?} is said to be at {offset} of {history:?}"));
        };
        let entries = self.histories.entry(history).or_default();
        if entries.len() <= index {
            entries.resize(index + 1, None);
        }
        let there = *entries[index].get_or_insert(id);
        if there != id {
            let what = format!("{history:?} has {there:?} at {offset} for one and {id:?} for another");
            return self.violation(Invariant::OneHistory, what);
        }
        let Some(sent) = self.sent.get_mut(&id).filter(|sent| !sent.places.contains(&(history.1, offset))) else {
            return;
        };
        sent.places.push((history.1, offset));
        let plain = self.rules[id.0].plain;
        let stored = sent.places.iter().filter(|(epoch, _)| plain || *epoch == history.1).count();
        let (copies, unsent) = (sent.copies, sent.outcome == Outcome::Unsent);
        if stored > copies {
            self.violation(Invariant::ExactlyOnce, format!("{id:?} is stored {stored} times in {history:?}"));
        }
        if unsent {
            self.violation(Invariant::EverySendEnds, format!("{id:?} was dropped unsent, and is in the history"));
        }
    }

    /// Accepted in the order of the sends, within one history.
    fn in_order(&mut self, client: usize, n: u64, history: HistoryId, offset: u64) {
        let accepted = self.order.entry((client, history)).or_default();
        let before = accepted.range(..n).next_back().filter(|(_, at)| **at >= offset);
        let after = accepted.range(n..).next().filter(|(_, at)| **at <= offset);
        let wrong = before.or(after).map(|(other, at)| (*other, *at));
        accepted.insert(n, offset);
        if let Some((other, at)) = wrong {
            self.violation(
                Invariant::InOrder,
                format!("{client}/{n} was accepted at {offset}, {client}/{other} at {at}"),
            );
        }
    }
}

/// What the payloads of the simulated applications begin with: `{"c":1,"n":2,`.
fn id_of(payload: &[u8]) -> Option<Id> {
    let text = std::str::from_utf8(payload).ok()?.strip_prefix("{\"c\":")?;
    let (client, rest) = text.split_once(",\"n\":")?;
    let (n, _) = rest.split_once(',')?;
    Some((client.parse().ok()?, n.parse().ok()?))
}
