//! Collections as their changes make them, in the order of the server: a small model that knows nothing of how the code under test
//! keeps them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::sends::{Outcome, To};
use super::{Checker, Id, Invariant};

pub(super) type Fields = Map<String, Value>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Insert,
    Update,
    Remove,
}

/// What a client wants of a record.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    pub(crate) collection: usize,
    pub(crate) op: Op,
    pub(crate) key: String,
    /// The record or the patch.
    pub(crate) fields: Fields,
    pub(crate) if_revision: Option<u64>,
}

impl Mutation {
    /// An insert that many may make, and that nobody can be told from another.
    fn is_anonymous(&self) -> bool {
        self.op == Op::Insert && author(&self.fields).is_none()
    }

    /// What it makes of a record.
    pub(super) fn over(&self, record: Option<Fields>) -> Option<Fields> {
        match self.op {
            Op::Insert => Some(self.fields.clone()),
            Op::Remove => None,
            Op::Update => record.map(|mut record| {
                record.extend(self.fields.clone());
                record
            }),
        }
    }
}

/// All that the server accepted, and what was said about it.
#[derive(Debug, Default)]
pub(super) struct Collections {
    pub(super) mutations: HashMap<Id, Mutation>,
    /// By collection and the number of its epoch.
    logs: BTreeMap<(usize, u32), Log>,
    /// The epoch of the last change of each.
    newest: BTreeMap<usize, u32>,
    claims: Vec<Claim>,
    /// Refused for what they are: they may not be in a log.
    refused: BTreeSet<Id>,
}

/// The changes of a collection in one epoch.
#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    /// What became of each record: at which revision, and into what.
    past: HashMap<String, Vec<(u64, Option<Fields>)>>,
    /// The last mutation of each client.
    order: HashMap<usize, u64>,
}

#[derive(Debug)]
struct Entry {
    op: Op,
    key: String,
    /// Whose it is; a `remove` does not tell.
    id: Option<Id>,
}

/// A receipt.
#[derive(Debug)]
struct Claim {
    id: Id,
    log: (usize, u32),
    revision: u64,
    duplicate: bool,
}

impl Log {
    /// A record as it is at an offset, with the revision that made it so.
    fn at(&self, key: &str, offset: u64) -> Option<(u64, &Fields)> {
        let past = self.past.get(key)?;
        let (revision, record) = past.iter().rev().find(|(revision, _)| *revision <= offset)?;
        Some((*revision, record.as_ref()?))
    }

    fn last(&self) -> u64 {
        self.entries.len() as u64
    }
}

impl Checker {
    pub(super) fn channel_of(&self, collection: usize) -> usize {
        collection / self.server.collections.max(1)
    }

    pub(crate) fn mutated(&mut self, client: usize, n: u64, mutation: Mutation) {
        self.mutations += 1;
        self.published(client, n, To::Collection(mutation.collection));
        self.pends(client, n, &mutation);
        self.collections.mutations.insert((client, n), mutation);
    }

    /// The next change of a collection: what the server tells those who follow it, or writes to its disk first.
    pub(crate) fn logged(&mut self, collection: usize, epoch: &str, line: &[u8]) {
        let epoch = self.histories.epoch(epoch);
        let value: Value = serde_json::from_slice(line).unwrap_or_default();
        let (offset, key) = (value["offset"].as_u64().unwrap_or(0), value["key"].as_str().unwrap_or_default());
        let op = match value["op"].as_str() {
            Some("insert") => Op::Insert,
            Some("update") => Op::Update,
            _ => Op::Remove,
        };
        let (key, fields) = (key.to_owned(), value["payload"].as_object().cloned().unwrap_or_default());
        let id = author(&fields);
        let place = (collection, epoch);
        self.collections.newest.insert(collection, epoch);
        let log = self.collections.logs.entry(place).or_default();
        if offset != log.last() + 1 {
            let what = format!("collection {collection}: change {offset} came after {}", log.last());
            self.violation(Invariant::InOrder, what);
            return;
        }
        let before = log.at(&key, offset).map(|(revision, record)| (revision, record.clone()));
        let change = Mutation { collection, op, key: key.clone(), fields, if_revision: None };
        let after = change.over(before.as_ref().map(|(_, record)| record.clone()));
        log.past.entry(key.clone()).or_default().push((offset, after));
        log.entries.push(Entry { op, key, id });
        if before.is_some() == (op == Op::Insert) {
            let what = format!("collection {collection}: {op:?} {offset} of {:?} over {before:?}", change.key);
            self.violation(Invariant::OneState, what);
        }
        if op != Op::Remove && !change.is_anonymous() {
            self.logged_as(id, &change, place, offset, before.map(|(revision, _)| revision));
        }
    }

    /// The last change of a collection.
    pub(super) fn logged_to(&self, collection: usize) -> u64 {
        let newest = self.collections.newest.get(&collection);
        newest.and_then(|epoch| self.collections.logs.get(&(collection, *epoch))).map_or(0, Log::last)
    }

    /// The change must be what its author wanted.
    fn logged_as(&mut self, id: Option<Id>, change: &Mutation, place: (usize, u32), offset: u64, before: Option<u64>) {
        let found = id.and_then(|id| Some((id, self.collections.mutations.get(&id)?)));
        let Some((id, wanted)) = found.filter(|(_, wanted)| {
            (wanted.collection, wanted.op, &wanted.key, &wanted.fields)
                == (change.collection, change.op, &change.key, &change.fields)
        }) else {
            return self.violation(Invariant::OneHistory, format!("nobody wanted {change:?}, which is at {offset}"));
        };
        if wanted.if_revision.is_some_and(|wanted| before != Some(wanted)) {
            let what = format!("{id:?} was for revision {:?} and met {before:?}", wanted.if_revision);
            self.violation(Invariant::OneState, what);
        }
        if !self.may_publish(id.0, self.channel_of(place.0)) {
            self.violation(Invariant::Allowed, format!("{id:?} changed collection {}, and may not", place.0));
        }
        let log = self.collections.logs.entry(place).or_default();
        let last = log.order.insert(id.0, id.1);
        let Some(sent) = self.sent.get_mut(&id) else { return };
        sent.places.push((place.1, offset));
        let stored = sent.places.iter().filter(|(epoch, _)| *epoch == place.1).count();
        let unsent = sent.outcome == Outcome::Unsent;
        if stored > 1 {
            self.violation(Invariant::ExactlyOnce, format!("{id:?} is {stored} times in the log of {place:?}"));
        } else if let Some(last) = last.filter(|last| *last > id.1) {
            self.violation(Invariant::InOrder, format!("{id:?} is in the log of {place:?} after {last}"));
        }
        if unsent {
            self.violation(Invariant::EverySendEnds, format!("{id:?} was dropped unsent, and is in the log"));
        }
    }

    /// A client has the receipt of a mutation.
    pub(super) fn mutation_accepted(&mut self, id: Id, collection: usize, epoch: &str, revision: u64, duplicate: bool) {
        let log = (collection, self.histories.epoch(epoch));
        self.collections.claims.push(Claim { id, log, revision, duplicate });
        self.answered(id, epoch, revision);
    }

    /// The server says what is there instead.
    pub(crate) fn conflicted(&mut self, client: usize, n: u64, revision: Option<u64>, record: Option<&[u8]>) {
        let id = (client, n);
        let Some(wanted) = self.collections.mutations.get(&id) else { return };
        let (collection, key, forgotten) = (wanted.collection, wanted.key.clone(), self.forgotten);
        let same = self.sent.get(&id).is_some_and(|sent| sent.forgotten == forgotten);
        if same && revision.is_some() && revision == wanted.if_revision {
            let what = format!("{id:?} was refused, and its record is at {revision:?}, as it wanted");
            self.violation(Invariant::OneState, what);
        }
        let record = record.map(|record| serde_json::from_slice::<Fields>(record).unwrap_or_default());
        if let Some(revision) = revision
            && !self.made(collection, &key, revision).any(|made| record.as_ref().is_none_or(|record| record == made))
        {
            let what = format!("{id:?} met {record:?} at {revision}, which nobody made");
            self.violation(Invariant::OneState, what);
        }
    }

    /// Whether it may be refused so for what it is.
    pub(super) fn mutation_may_fail(&mut self, id: Id, code: &str) -> bool {
        let Some(wanted) = self.collections.mutations.get(&id) else { return false };
        let may = match code {
            "conflict" => wanted.op == Op::Insert || wanted.if_revision.is_some(),
            "not_found" => wanted.op == Op::Update,
            _ => false,
        };
        if may {
            self.collections.refused.insert(id);
        }
        may
    }

    /// What a revision made of a record, in whatever epoch.
    pub(super) fn made(&self, collection: usize, key: &str, revision: u64) -> impl Iterator<Item = &Fields> {
        let logs = self.collections.logs.range((collection, 0)..(collection + 1, 0));
        logs.filter_map(move |(_, log)| log.at(key, revision).filter(|(made, _)| *made == revision))
            .map(|(_, record)| record)
    }

    /// The same, with `None` for one that took it out.
    pub(super) fn left(&self, collection: usize, key: &str, revision: u64) -> impl Iterator<Item = Option<Fields>> {
        let logs = self.collections.logs.range((collection, 0)..(collection + 1, 0));
        let past = logs.filter_map(move |(_, log)| log.past.get(key));
        past.flatten().filter(move |(made, _)| *made == revision).map(|(_, record)| record.clone())
    }

    /// After everything: what was acknowledged is in the log, and nothing that was refused.
    pub(super) fn collections_settled(&mut self) {
        let mut made = BTreeMap::new();
        for claim in std::mem::take(&mut self.collections.claims) {
            if let Err(what) = self.holds(&claim) {
                let invariant = if self.server.durable { Invariant::DurableFirst } else { Invariant::ExactlyOnce };
                self.violation(invariant, format!("{:?} has the receipt {claim:?}: {what}", claim.id));
            }
            if let Some(other) =
                (!claim.duplicate).then(|| made.insert((claim.log, claim.revision), claim.id)).flatten()
            {
                let what = format!("{:?} and {other:?} both made {claim:?}", claim.id);
                self.violation(Invariant::ExactlyOnce, what);
            }
        }
        for id in std::mem::take(&mut self.collections.refused) {
            let Some(sent) = self.sent.get(&id) else { continue };
            // Refused by a server that knew nothing of it any more.
            if sent.forgotten == self.forgotten && !sent.places.is_empty() {
                self.violation(Invariant::EverySendEnds, format!("{id:?} was refused, and is in the log"));
            }
        }
    }

    fn holds(&self, claim: &Claim) -> Result<(), String> {
        let wanted = &self.collections.mutations[&claim.id];
        let (key, revision) = (&wanted.key, claim.revision);
        let empty = Log::default();
        // Of an epoch that holds nothing there is nothing to be seen.
        let log = self.collections.logs.get(&claim.log).unwrap_or(&empty);
        let entry = revision.checked_sub(1).and_then(|index| log.entries.get(index as usize));
        let own = entry.is_some_and(|entry| {
            let anonymous = wanted.op == Op::Remove || wanted.is_anonymous() && entry.id.is_none();
            (entry.op, &entry.key) == (wanted.op, key) && (anonymous || entry.id == Some(claim.id))
        });
        let before = log.at(key, revision.saturating_sub(1)).map(|(revision, _)| revision);
        match (own, claim.duplicate, wanted.op) {
            (true, ..) if wanted.if_revision.is_some_and(|wanted| before != Some(wanted)) => {
                Err(format!("it was for {:?} and met {before:?}", wanted.if_revision))
            }
            (true, ..) => Ok(()),
            (false, true, Op::Insert) if log.at(key, revision) == Some((revision, &wanted.fields)) => Ok(()),
            (false, true, Op::Remove) if revision <= log.last() && log.at(key, revision).is_none() => Ok(()),
            _ => Err(format!("there is {entry:?} of {}", log.last())),
        }
    }

    /// What the server has in the end is what the log makes.
    pub(crate) fn holds_records(&mut self, whose: &str, collection: usize, records: &[(String, u64, Vec<u8>)]) {
        // The last mutations of a run are such that there is one.
        let Some(epoch) = self.collections.newest.get(&collection) else { return };
        let log = &self.collections.logs[&(collection, *epoch)];
        let mut expected = BTreeMap::new();
        for key in log.past.keys() {
            expected
                .extend(log.at(key, log.last()).map(|(revision, record)| (key.clone(), (revision, record.clone()))));
        }
        let parse = |record: &[u8]| serde_json::from_slice(record).unwrap_or_default();
        let found: BTreeMap<_, _> = records.iter().map(|(k, revision, r)| (k.clone(), (*revision, parse(r)))).collect();
        if found != expected {
            let keys: BTreeSet<_> = found.keys().chain(expected.keys()).cloned().collect();
            let wrong = keys.iter().find(|key| found.get(*key) != expected.get(*key)).cloned().unwrap_or_default();
            let what = format!(
                "{whose} has {wrong:?} of collection {collection} as {:?}, the log makes {:?}",
                found.get(&wrong),
                expected.get(&wrong)
            );
            self.violation(Invariant::OneState, what);
        }
    }
}

/// How a mutation names its author: `{"m":"2/17"}`.
pub(crate) fn mark(client: usize, n: u64) -> String {
    format!("{client}/{n}")
}

fn author(fields: &Fields) -> Option<Id> {
    let (client, n) = fields.get("m")?.as_str()?.split_once('/')?;
    Some((client.parse().ok()?, n.parse().ok()?))
}
