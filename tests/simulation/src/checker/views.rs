//! What an application sees of a collection: what the server confirmed, with its own mutations over that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use realtime_engine::wire::Position;
use realtime_engine::{Change, ChangeKind};

use super::collections::{Fields, Mutation};
use super::{Checker, Id, Invariant};

/// The view of one collection by one client.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Wanted; and synced since.
    watched: bool,
    synced: bool,
    ever_synced: bool,
    /// Something that came in was changed on the way, since the last time it was synced.
    corrupted: bool,
    version: u64,
    /// Changes that others come before.
    early: BTreeMap<u64, Change>,
    shown: BTreeMap<String, Shown>,
    /// Keys for which something happened since the view was looked at.
    touched: BTreeSet<String>,
    /// Mutations that may show, in their order, by key.
    over: BTreeMap<String, Vec<Over>>,
}

#[derive(Debug)]
struct Shown {
    record: Option<Bytes>,
    revision: Option<u64>,
}

#[derive(Debug)]
struct Over {
    n: u64,
    receipt: Option<(String, u64)>,
}

impl View {
    fn record(&self, key: &str) -> Option<&Bytes> {
        self.shown.get(key)?.record.as_ref()
    }
}

impl Checker {
    pub(crate) fn watches(&mut self, client: usize, collection: usize, watched: bool) {
        let view = self.views.entry((client, collection)).or_default();
        if view.watched != watched {
            (view.watched, view.synced) = (watched, false);
        }
    }

    pub(crate) fn is_watched(&self, client: usize, collection: usize) -> bool {
        self.views.get(&(client, collection)).is_some_and(|view| view.watched)
    }

    pub(crate) fn has_synced(&self, client: usize, collection: usize) -> bool {
        self.views.get(&(client, collection)).is_some_and(|view| view.ever_synced)
    }

    /// What the application sees of a record: whether it is there, and its revision.
    pub(crate) fn sees(&self, client: usize, collection: usize, key: &str) -> (bool, Option<u64>) {
        let Some(shown) = self.views.get(&(client, collection)).and_then(|view| view.shown.get(key)) else {
            return (false, None);
        };
        (shown.record.is_some(), shown.revision)
    }

    /// All collections that the client follows may be damaged by what comes now.
    pub(crate) fn corrupted(&mut self, client: usize) {
        for (_, view) in self.views.range_mut((client, 0)..(client + 1, 0)) {
            view.corrupted = true;
        }
    }

    pub(super) fn pends(&mut self, client: usize, n: u64, mutation: &Mutation) {
        let view = self.views.entry((client, mutation.collection)).or_default();
        view.over.entry(mutation.key.clone()).or_default().push(Over { n, receipt: None });
        view.touched.insert(mutation.key.clone());
    }

    pub(super) fn answered(&mut self, (client, n): Id, epoch: &str, revision: u64) {
        let Some(wanted) = self.collections.mutations.get(&(client, n)) else { return };
        let Some(view) = self.views.get_mut(&(client, wanted.collection)) else { return };
        view.touched.insert(wanted.key.clone());
        let over = view.over.get_mut(&wanted.key).into_iter().flatten();
        over.filter(|over| over.n == n).for_each(|over| over.receipt = Some((epoch.to_owned(), revision)));
    }

    /// A mutation has failed: it may not show any more.
    pub(crate) fn taken_back(&mut self, client: usize, n: u64) {
        let Some(wanted) = self.collections.mutations.get(&(client, n)) else { return };
        let Some(view) = self.views.get_mut(&(client, wanted.collection)) else { return };
        view.touched.insert(wanted.key.clone());
        if let Some(over) = view.over.get_mut(&wanted.key) {
            over.retain(|over| over.n != n);
        }
    }

    /// The application was told a change.
    pub(crate) fn changed(&mut self, client: usize, collection: usize, change: Change) {
        self.changes += 1;
        let view = self.views.entry((client, collection)).or_default();
        let version = change.version;
        let known = version <= view.version || view.early.insert(version, change).is_some();
        if known {
            let what = format!("client {client} collection {collection}: version {version} was told twice");
            return self.violation(Invariant::ViewFits, what);
        }
        while let Some(view) = self.views.get_mut(&(client, collection))
            && let Some(change) = view.early.remove(&(view.version + 1))
        {
            self.shows(client, collection, change);
        }
    }

    /// The next transition of a view.
    fn shows(&mut self, client: usize, collection: usize, change: Change) {
        let Some(view) = self.views.get_mut(&(client, collection)) else { return };
        view.version = change.version;
        let before = view.record(&change.key).cloned();
        let fits = match (change.kind, &before, &change.record) {
            (ChangeKind::Insert, None, Some(_)) | (ChangeKind::Delete, Some(_), None) => true,
            (ChangeKind::Update, Some(before), Some(after)) => before != after,
            (ChangeKind::Confirm, before, after) => before.as_ref() == after.as_ref(),
            _ => false,
        };
        let initial = change.initial && view.ever_synced;
        let (key, shown) = (change.key.to_string(), Shown { record: change.record.clone(), revision: change.revision });
        view.touched.insert(key.clone());
        view.shown.insert(key, shown);
        if !fits || initial {
            let what = format!("client {client} collection {collection}: {change:?} over {before:?}");
            self.violation(Invariant::ViewFits, what);
        }
    }

    pub(crate) fn synced(&mut self, client: usize, collection: usize) {
        let view = self.views.entry((client, collection)).or_default();
        (view.synced, view.ever_synced, view.corrupted) = (true, true, false);
    }

    /// The client calls its view wrong, and takes it over anew.
    pub(crate) fn diverged(&mut self, client: usize, collection: usize) {
        self.diverged += 1;
        let view = self.views.entry((client, collection)).or_default();
        view.synced = false;
        // What the server says twice may be a page of a snapshot.
        if !view.corrupted && !self.server.stutters {
            let what = format!("client {client} calls collection {collection} wrong, and nobody damaged it");
            self.violation(Invariant::OneState, what);
        }
    }

    /// All that a client had to tell is told.
    pub(crate) fn look_at_view(&mut self, client: usize, collection: usize, position: Option<&Position>) {
        let Some(view) = self.views.get_mut(&(client, collection)) else { return };
        let touched = std::mem::take(&mut view.touched);
        let hole = view.early.keys().next().copied();
        let comparable = view.watched && view.synced && !view.corrupted;
        if let Some(early) = hole {
            let what = format!("client {client} collection {collection}: before version {early} one is missing");
            self.violation(Invariant::ViewFits, what);
        }
        for key in touched.into_iter().filter(|_| comparable) {
            self.look_at_record(client, collection, &key, position);
        }
    }

    fn look_at_record(&mut self, client: usize, collection: usize, key: &str, position: Option<&Position>) {
        let Some(view) = self.views.get(&(client, collection)) else { return };
        let shown = view.record(key).map(|record| serde_json::from_slice::<Fields>(record).unwrap_or_default());
        let revision = view.shown.get(key).and_then(|shown| shown.revision);
        let mut bases: Vec<Option<Fields>> = match revision {
            Some(revision) => self.left(collection, key, revision).collect(),
            None => vec![None],
        };
        if bases.is_empty() {
            let what =
                format!("client {client} has {key:?} of collection {collection} at {revision:?}; nobody made it");
            return self.violation(Invariant::OneState, what);
        }
        // What is gone has no revision, and nobody tells where nothing was shown.
        if shown.is_none() {
            bases.push(None);
        }
        let has_come = |over: &&Over| {
            over.receipt.as_ref().is_some_and(|(epoch, revision)| {
                position.is_none_or(|position| *epoch != position.epoch || *revision <= position.offset)
            })
        };
        let all: Vec<&Over> = view.over.get(key).into_iter().flatten().collect();
        let coming: Vec<&Over> = all.iter().copied().filter(|over| !has_come(over)).collect();
        let fold = |base: &Option<Fields>, over: &[&Over]| {
            let mutations = over.iter().filter_map(|over| self.collections.mutations.get(&(client, over.n)));
            mutations.fold(base.clone(), |record, mutation| mutation.over(record))
        };
        if bases.iter().any(|base| fold(base, &coming) == shown) {
            let left: BTreeSet<u64> = coming.iter().map(|over| over.n).collect();
            if let Some(over) = self.views.get_mut(&(client, collection)).and_then(|view| view.over.get_mut(key)) {
                over.retain(|over| left.contains(&over.n));
            }
        } else if !bases.iter().any(|base| fold(base, &all) == shown) {
            // While a snapshot comes in, what was answered shows over what was there before it.
            let what = format!(
                "client {client} shows {key:?} of collection {collection} as {shown:?}: {bases:?} at {revision:?}, under {all:?}"
            );
            self.violation(Invariant::ViewFits, what);
        }
    }

    /// In the end a view is what the server has, byte for byte.
    pub(crate) fn view_ends(&mut self, client: usize, collection: usize, records: &[(String, u64, Vec<u8>)]) {
        let view = self.views.entry((client, collection)).or_default();
        let there = view.shown.iter().filter(|(_, shown)| shown.record.is_some());
        let found: BTreeMap<&String, _> =
            there.map(|(key, shown)| (key, (shown.revision, shown.record.as_deref()))).collect();
        let expected: BTreeMap<&String, _> =
            records.iter().map(|(key, revision, record)| (key, (Some(*revision), Some(&**record)))).collect();
        if found != expected {
            let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
            let wrong = keys.into_iter().find(|key| found.get(*key) != expected.get(*key));
            let what = format!(
                "client {client} ends with {wrong:?} of collection {collection} as {:?}, the server with {:?}",
                wrong.and_then(|key| found.get(*key)),
                wrong.and_then(|key| expected.get(*key))
            );
            self.violation(Invariant::Converges, what);
        }
    }
}
