//! What must hold, whatever happens (`docs/protocol.md` and `docs/simulation.md`). It sees only what applications see, and knows
//! nothing of how the code under test works.

mod application;
mod collections;
mod histories;
mod loads;
mod members;
mod plain;
mod sends;
mod store;
mod subscriptions;
#[cfg(test)]
mod tests;
mod views;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use realtime_engine::Stats;

use self::application::Directs;
pub(crate) use self::application::direct;
use self::collections::Collections;
pub(crate) use self::collections::{Mutation, Op, mark};
use self::histories::Histories;
use self::loads::Loads;
use self::members::Members;
pub(crate) use self::members::{Meta, Said};
use self::plain::Segment;
use self::sends::Sent;
pub(crate) use self::sends::To;
use self::store::Stored;
pub(crate) use self::store::id_in;
pub(crate) use self::subscriptions::Missing;
use self::subscriptions::Seen;
use self::views::View;
use crate::world::START;

/// A message: which client, its which.
pub(crate) type Id = (usize, u64);

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
    /// Nothing is seen or acknowledged before it is on disk, and what is there stays.
    DurableFirst,
    /// A snapshot and what follows it fit together.
    SnapshotFits,
    /// Who may not, does not.
    Allowed,
    /// Memory stays within what was configured.
    Bounded,
    /// `connected` means alive, and who may come back does.
    Liveness,
    /// All see the same history.
    OneHistory,
    /// A collection is what its accepted changes make of it, for everybody.
    OneState,
    /// What an application sees of a collection is what the server confirmed, with its own mutations over that.
    ViewFits,
    /// Those are seen as present who are.
    WhoIsThere,
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
            Invariant::DurableFirst => "durable first",
            Invariant::SnapshotFits => "snapshot fits",
            Invariant::Allowed => "allowed",
            Invariant::Bounded => "bounded memory",
            Invariant::Liveness => "liveness",
            Invariant::OneHistory => "one history",
            Invariant::OneState => "one state",
            Invariant::ViewFits => "view fits",
            Invariant::WhoIsThere => "who is there",
            Invariant::Converges => "converges",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
    /// When it was noticed, µs since the Unix epoch.
    pub at: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at.saturating_sub(START) as f64 / 1000.0;
        write!(f, "{}: at {millis:.3} ms {}", self.invariant.as_str(), self.what)
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

/// What the checker is told of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServerRules {
    /// It evicts messages that somebody still wants.
    pub(crate) evicts: bool,
    /// It has a store.
    pub(crate) durable: bool,
    /// An application takes `send`.
    pub(crate) application: bool,
    /// Some may not publish or subscribe everywhere.
    pub(crate) guarded: bool,
    /// It says some things twice.
    pub(crate) stutters: bool,
    /// Collections of a channel.
    pub(crate) collections: usize,
    /// It knows who its clients are.
    pub(crate) verifies: bool,
    /// How long it takes a client that is gone for present, µs.
    pub(crate) grace: u64,
}

#[derive(Debug)]
pub struct Checker {
    rules: Vec<Rules>,
    server: ServerRules,
    sent: HashMap<Id, Sent>,
    pending: Vec<HashSet<u64>>,
    histories: Histories,
    seen: HashMap<(usize, usize), Seen>,
    segments: BTreeMap<(usize, usize), Vec<Segment>>,
    loads: BTreeMap<(usize, usize), Loads>,
    directs: Directs,
    stored: Stored,
    collections: Collections,
    views: BTreeMap<(usize, usize), View>,
    members: Members,
    /// How often the server has lost its memory.
    forgotten: u32,
    /// How often a server with a store was killed.
    killed: u32,
    /// When each client's machine woke last.
    awake_at: Vec<u64>,
    now: u64,
    pub violations: Vec<Violation>,
    /// Of all kinds.
    pub messages: u64,
    pub mutations: u64,
    pub tracked: u64,
    pub deliveries: u64,
    /// Of collections and presence, as applications were told them.
    pub changes: u64,
    pub diverged: u64,
    pub gaps: u64,
}

impl Checker {
    pub(crate) fn new(rules: Vec<Rules>, server: ServerRules) -> Self {
        Self {
            pending: vec![HashSet::new(); rules.len()],
            awake_at: vec![0; rules.len()],
            directs: Directs::new(rules.len()),
            rules,
            server,
            sent: HashMap::new(),
            histories: Histories::default(),
            seen: HashMap::new(),
            segments: BTreeMap::new(),
            loads: BTreeMap::new(),
            stored: Stored::default(),
            collections: Collections::default(),
            views: BTreeMap::new(),
            members: Members::default(),
            forgotten: 0,
            killed: 0,
            now: 0,
            violations: Vec::new(),
            messages: 0,
            mutations: 0,
            tracked: 0,
            deliveries: 0,
            changes: 0,
            diverged: 0,
            gaps: 0,
        }
    }

    pub(crate) fn violation(&mut self, invariant: Invariant, what: String) {
        self.violations.push(Violation { invariant, what, at: self.now });
    }

    pub(crate) fn at(&mut self, now: u64) {
        self.now = now;
    }

    /// The client's machine stands still until then.
    pub(crate) fn asleep(&mut self, client: usize, until: u64) {
        self.awake_at[client] = until;
    }

    /// The server has lost all that it had in memory, which is everything without a store.
    pub(crate) fn restarted(&mut self) {
        self.members_lost();
        if self.server.durable {
            self.killed += 1;
        } else {
            self.forgotten += 1;
        }
    }

    pub(crate) fn is_plain(&self, client: usize) -> bool {
        self.rules[client].plain
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
        self.sends_settled();
        self.loads_settled();
        self.collections_settled();
        self.presence_settled();
        self.plain_settled();
    }
}
