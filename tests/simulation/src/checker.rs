//! What must hold, whatever happens (`docs/protocol.md` and the invariants in `ARCHITECTURE.md`). It sees only what applications see.

use std::collections::{BTreeMap, HashMap, HashSet};

use realtime_engine::{Gap, Stats};

/// A message: which client, its which.
type Id = (usize, u64);

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Pending,
    Accepted,
    Failed,
}

/// What a subscriber has seen of a channel since it subscribed.
#[derive(Debug, Default)]
struct Seen {
    epoch: String,
    last: Option<u64>,
    ids: HashSet<Id>,
}

#[derive(Debug, Default)]
pub struct Checker {
    published: HashMap<Id, (usize, Outcome)>,
    /// What each place in each history holds, by whoever said so first.
    histories: HashMap<(usize, String, u64), Id>,
    seen: HashMap<(usize, usize), Seen>,
    /// Where the sends of each client were accepted, by channel and epoch.
    order: HashMap<(usize, usize, String), BTreeMap<u64, u64>>,
    gaps_allowed: bool,
    inbox_bound: u64,
    pub violations: Vec<String>,
    pub messages: u64,
    pub deliveries: u64,
    pub gaps: u64,
}

impl Checker {
    /// `inbox_bound`: bytes that no application may be left to hold unconsumed.
    pub fn new(gaps_allowed: bool, inbox_bound: u64) -> Self {
        Self { gaps_allowed, inbox_bound, ..Self::default() }
    }

    pub fn published(&mut self, client: usize, n: u64, channel: usize) {
        self.messages += 1;
        self.published.insert((client, n), (channel, Outcome::Pending));
    }

    pub fn subscribed(&mut self, client: usize, channel: usize) {
        self.seen.entry((client, channel)).or_default();
    }

    pub fn unsubscribed(&mut self, client: usize, channel: usize) {
        self.seen.remove(&(client, channel));
    }

    /// Invariant 3: every send ends, once.
    pub fn receipt(&mut self, client: usize, n: u64, epoch: &str, offset: u64) {
        let id = (client, n);
        let channel = match self.published.get_mut(&id) {
            Some((channel, outcome @ Outcome::Pending)) => {
                *outcome = Outcome::Accepted;
                *channel
            }
            other => return self.violations.push(format!("{id:?} got a receipt in state {other:?}")),
        };
        self.place(channel, epoch, offset, id);
        // Accepted in the order of the sends, within one history.
        let accepted = self.order.entry((client, channel, epoch.to_owned())).or_default();
        let before = accepted.range(..n).next_back().filter(|(_, at)| **at >= offset);
        let after = accepted.range(n..).next().filter(|(_, at)| **at <= offset);
        for (other, at) in before.into_iter().chain(after) {
            self.violations.push(format!("{id:?} was accepted at {offset}, {other} at {at}"));
        }
        accepted.insert(n, offset);
    }

    pub fn failed(&mut self, client: usize, n: u64, code: &str) {
        match self.published.get_mut(&(client, n)) {
            Some((_, outcome @ Outcome::Pending)) => *outcome = Outcome::Failed,
            other => self.violations.push(format!("{client}/{n} failed with {code} in state {other:?}")),
        }
    }

    /// Invariant 1: exactly once, in order; invariant 2: no silent gap.
    pub fn delivered(&mut self, client: usize, channel: usize, epoch: &str, offset: u64, payload: &[u8]) {
        self.deliveries += 1;
        let value: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
        let id = (value["c"].as_u64().unwrap_or(u64::MAX) as usize, value["n"].as_u64().unwrap_or_default());
        if self.published.get(&id).is_none_or(|(sent_to, _)| *sent_to != channel) {
            self.violations.push(format!("client {client} got {id:?} in channel {channel}, where nobody sent it"));
        }
        self.place(channel, epoch, offset, id);
        let Some(seen) = self.seen.get_mut(&(client, channel)) else {
            return self.violations.push(format!("client {client} got {id:?} of channel {channel}, which it left"));
        };
        if seen.last.is_none() {
            seen.epoch = epoch.to_owned();
        }
        if seen.epoch != epoch {
            self.violations
                .push(format!("client {client} channel {channel}: epoch {} became {epoch} in silence", seen.epoch));
        }
        if seen.last.is_some_and(|last| offset != last + 1) {
            self.violations.push(format!("client {client} channel {channel}: {offset} came after {:?}", seen.last));
        }
        seen.last = Some(offset);
        if !seen.ids.insert(id) {
            self.violations.push(format!("client {client} channel {channel}: {id:?} came twice"));
        }
    }

    pub fn gap(&mut self, client: usize, channel: usize, gap: &Gap) {
        self.gaps += 1;
        if !self.gaps_allowed {
            self.violations.push(format!("client {client} channel {channel}: a gap within retention: {gap:?}"));
        }
        let Some(seen) = self.seen.get_mut(&(client, channel)) else { return };
        if gap.previous_epoch.is_some() {
            // A repeat is possible there, and only there: the server has lost its receipts.
            seen.ids.clear();
            seen.last = Some(gap.to.unwrap_or(0));
        } else {
            if seen.last.is_some_and(|last| gap.from != Some(last + 1)) {
                self.violations.push(format!("client {client} channel {channel}: gap {gap:?} after {:?}", seen.last));
            }
            seen.last = gap.to;
        }
        seen.epoch.clone_from(&gap.epoch);
    }

    /// Invariant 6: bounded memory.
    pub fn memory(&mut self, client: usize, stats: &Stats) {
        if stats.unconsumed_bytes > self.inbox_bound {
            self.violations.push(format!("client {client} holds {} unconsumed bytes", stats.unconsumed_bytes));
        }
        if stats.queued > 200 {
            self.violations.push(format!("client {client} queues {} messages", stats.queued));
        }
    }

    /// After the faults have ended and everything had time to settle.
    pub fn settled(&mut self) {
        for (id, (_, outcome)) in &self.published {
            if *outcome == Outcome::Pending {
                self.violations.push(format!("{id:?} never ended"));
            }
        }
    }

    /// A subscriber that was told to be at the end of a history must have seen what is accepted there.
    pub fn at_end(&mut self, client: usize, channel: usize, epoch: &str, offset: u64) {
        let newest =
            self.histories.keys().filter(|(c, e, _)| *c == channel && e == epoch).map(|(_, _, offset)| *offset).max();
        let seen = self.seen.get(&(client, channel));
        if newest.is_some_and(|newest| newest > offset) {
            self.violations
                .push(format!("client {client} channel {channel} stands at {offset}, the history at {newest:?}"));
        }
        if let Some(last) = seen.and_then(|seen| seen.last)
            && last != offset
        {
            self.violations.push(format!("client {client} channel {channel} has seen {last} and says {offset}"));
        }
    }

    pub fn is_subscribed(&self, client: usize, channel: usize) -> bool {
        self.seen.contains_key(&(client, channel))
    }

    fn place(&mut self, channel: usize, epoch: &str, offset: u64, id: Id) {
        let there = *self.histories.entry((channel, epoch.to_owned(), offset)).or_insert(id);
        if there != id {
            self.violations
                .push(format!("channel {channel} {epoch}/{offset} is {there:?} for one and {id:?} for another"));
        }
    }
}
