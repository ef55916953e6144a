use std::collections::BTreeMap;

use super::{Checker, Id, Invariant};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    Accepted,
    Failed,
    /// Given up by this side before it was ever sent.
    Unsent,
}

/// Where something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Channel(usize),
    /// A mutation.
    Collection(usize),
    /// The server's application.
    Application,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) to: To,
    at: u64,
    pub(super) outcome: Outcome,
    /// How often it may be stored in one history, or reach the application: once, and in the plain dialect once more for each connection
    /// lost meanwhile.
    pub(super) copies: usize,
    pub(super) places: Vec<(u32, u64)>,
    /// How often the application was given it.
    pub(super) received: usize,
    /// How often the server had lost its memory, and was killed, when it was sent.
    pub(super) forgotten: u32,
    pub(super) killed: u32,
}

/// Where the sends of a client were accepted, by their numbers.
pub(super) type Accepted = BTreeMap<u64, u64>;

impl Checker {
    /// A client sends something.
    pub(crate) fn published(&mut self, client: usize, n: u64, to: To) {
        self.messages += 1;
        let sent = Sent {
            to,
            at: self.now,
            outcome: Outcome::Pending,
            copies: 1,
            places: Vec::new(),
            received: 0,
            forgotten: self.forgotten,
            killed: self.killed,
        };
        self.sent.insert((client, n), sent);
        self.pending[client].insert(n);
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

    pub(crate) fn receipt(
        &mut self,
        client: usize,
        n: u64,
        acknowledged: bool,
        place: Option<(&str, u64)>,
        duplicate: bool,
    ) {
        self.ended(client, n, Outcome::Accepted, "a receipt");
        let plain = self.rules[client].plain;
        let Some(to) = self.sent.get(&(client, n)).map(|sent| sent.to) else { return };
        if acknowledged == plain || place.is_some() != (to != To::Application && !plain) {
            let what = format!("{client}/{n} has a receipt of another kind: acknowledged {acknowledged}, {place:?}");
            return self.violation(Invariant::EverySendEnds, what);
        }
        match (to, place) {
            (To::Channel(channel), Some((epoch, offset))) => {
                let epoch = self.histories.epoch(epoch);
                self.place((channel, epoch), offset, (client, n));
                self.in_order(client, n, (channel, epoch), offset);
            }
            (To::Collection(collection), Some((epoch, revision))) => {
                self.mutation_accepted((client, n), collection, epoch, revision, duplicate);
            }
            (To::Application, _) if !plain => self.acknowledged_send((client, n)),
            _ => {}
        }
    }

    pub(crate) fn failed(&mut self, client: usize, n: u64, code: &str) {
        let outcome = if code == "dropped" { Outcome::Unsent } else { Outcome::Failed };
        self.ended(client, n, outcome, code);
        let Some(sent) = self.sent.get(&(client, n)) else { return };
        let used = !sent.places.is_empty() || sent.received > 0;
        let fits = self.may_fail(client, sent, code) || self.mutation_may_fail((client, n), code);
        if !fits {
            let what = format!("{client}/{n} was refused with {code}, and nothing was wrong with it");
            self.violation(Invariant::EverySendEnds, what);
        }
        if code == "dropped" && used {
            self.violation(Invariant::EverySendEnds, format!("{client}/{n} was dropped unsent, and is used"));
        }
    }

    fn may_fail(&self, client: usize, sent: &Sent, code: &str) -> bool {
        match (code, sent.to) {
            ("closed" | "timeout" | "dropped" | "max_attempts", _) => true,
            ("no_handler", To::Application) => !self.server.application,
            ("forbidden", To::Channel(channel)) => !self.may_publish(client, channel),
            ("forbidden", To::Collection(collection)) => !self.may_publish(client, self.channel_of(collection)),
            _ => false,
        }
    }

    fn ended(&mut self, client: usize, n: u64, outcome: Outcome, what: &str) {
        let id = (client, n);
        self.pending[client].remove(&n);
        let (now, awake_at, timeout) = (self.now, self.awake_at[client], self.rules[client].send_timeout);
        match self.sent.get_mut(&id) {
            Some(sent) if sent.outcome == Outcome::Pending => {
                sent.outcome = outcome;
                let age = now - sent.at;
                if timeout.is_some_and(|timeout| now > (sent.at + timeout).max(awake_at) + 1000) {
                    self.violation(Invariant::EverySendEnds, format!("{id:?} ended with {what} after {age} µs"));
                }
            }
            other => {
                let state = other.map(|sent| &sent.outcome);
                let what = format!("{id:?} ended with {what} in state {state:?}");
                self.violation(Invariant::EverySendEnds, what);
            }
        }
    }

    pub(super) fn sends_settled(&mut self) {
        let mut pending: Vec<Id> =
            self.sent.iter().filter(|(_, s)| s.outcome == Outcome::Pending).map(|(id, _)| *id).collect();
        pending.sort_unstable();
        for id in pending {
            self.violation(Invariant::EverySendEnds, format!("{id:?} never ended"));
        }
    }
}
