use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::io::{ChannelId, RequestId, Text, keep};
use crate::replica::{OpKind, Row, Rows, Staged, canonical};
use crate::sync::{Change, ChangeKind};
use crate::wire::{self, Digest, Op, Position, Record};

/// One collection: what the server confirmed, and the view of it, which has the application's unanswered mutations over that.
#[derive(Debug)]
pub(crate) struct Collection {
    id: ChannelId,
    pub(crate) name: Text,
    confirmed: Rows,
    /// The snapshot that comes in. Until it is whole, the view stays what it was.
    staged: Option<Staged>,
    /// The keys with mutations over them.
    pending: BTreeMap<Text, Pending>,
    /// Mutations with a receipt whose revision has not come yet, by that.
    answered: BTreeMap<u64, Vec<(Text, RequestId)>>,
    /// Counts the changes of the view.
    version: u64,
    /// A snapshot was taken over.
    pub(crate) synced: bool,
    /// Why the next state of the server that is whole is told.
    pub(crate) expects: Option<&'static str>,
}

/// The mutations over one key, in their order, and what they make of it.
#[derive(Debug)]
struct Pending {
    mutations: VecDeque<Mutation>,
    view: Option<Bytes>,
    /// So many of the first have come as changes, one after another. That spares making the view anew with each of them: a mutation
    /// that is confirmed already makes no difference below those that follow it.
    seen: usize,
    /// Something else came between or after those.
    mixed: bool,
}

#[derive(Debug)]
struct Mutation {
    request: RequestId,
    kind: OpKind,
    payload: Bytes,
    /// Its receipt: the epoch and the revision.
    receipt: Option<(Text, u64)>,
}

/// Why the changes of a server cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a change is missing before this one")]
    Hole,
    #[error("a record that is not there was updated")]
    Missing,
    #[error("a record or patch is not a JSON object")]
    NoRecord,
    #[error("a page of a snapshot is not the next one")]
    Page,
}

impl Collection {
    pub(crate) fn new(id: ChannelId, name: Text) -> Self {
        Self {
            id,
            name,
            confirmed: Rows::default(),
            staged: None,
            pending: BTreeMap::new(),
            answered: BTreeMap::new(),
            version: 0,
            synced: false,
            expects: None,
        }
    }

    /// The record as the application sees it.
    pub(crate) fn view(&self, key: &str) -> Option<&Bytes> {
        match self.pending.get(key.as_bytes()) {
            Some(pending) => pending.view.as_ref(),
            None => self.confirmed.get(key).map(|row| &row.record),
        }
    }

    /// The revision that the server confirmed.
    pub(crate) fn revision(&self, key: &str) -> Option<u64> {
        self.confirmed.get(key).map(|row| row.revision).filter(|revision| *revision > 0)
    }

    /// Confirmed records.
    pub(crate) fn len(&self) -> usize {
        self.confirmed.len()
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.values().map(|pending| pending.mutations.len()).sum()
    }

    /// What it takes of memory, about, besides mutations.
    pub(crate) fn bytes(&self) -> usize {
        self.confirmed.bytes() + self.staged.as_ref().map_or(0, |staged| staged.rows.bytes())
    }

    pub(crate) fn is_staging(&self) -> bool {
        self.staged.is_some()
    }

    /// Shows a record that no server has confirmed.
    pub(crate) fn seed(&mut self, key: Text, record: Bytes) -> Change {
        let before = self.view(&key).cloned();
        self.confirmed.put(key.clone(), Row { record, revision: 0 });
        self.refold(&key);
        self.told(key, before.as_ref(), true)
    }

    /// The application changes a record, which shows at once.
    pub(crate) fn mutate(&mut self, request: RequestId, key: Text, kind: OpKind, payload: Bytes) -> Change {
        let before = self.view(&key).cloned();
        let pending = self.pending.entry(key.clone()).or_insert_with(|| Pending {
            mutations: VecDeque::new(),
            view: before.clone(),
            seen: 0,
            mixed: false,
        });
        pending.view = kind.apply(&payload, pending.view.as_ref());
        pending.mutations.push_back(Mutation { request, kind, payload, receipt: None });
        self.told(key, before.as_ref(), true)
    }

    /// A mutation was refused, or given up: it is taken back.
    pub(crate) fn roll_back(&mut self, key: &Text, request: RequestId) -> Option<Change> {
        let (before, revision) = (self.view(key).cloned(), self.revision(key));
        let pending = self.pending.get_mut(key)?;
        let at = pending.mutations.iter().position(|mutation| mutation.request == request)?;
        pending.remove(at);
        self.refold(key);
        self.shifted(key.clone(), before.as_ref(), revision, true)
    }

    /// All mutations without a receipt have failed.
    pub(crate) fn roll_back_all(&mut self) -> Vec<Change> {
        let keys: Vec<Text> = self.pending.keys().cloned().collect();
        let mut changes = Vec::new();
        for key in keys {
            let (before, revision) = (self.view(&key).cloned(), self.revision(&key));
            if let Some(pending) = self.pending.get_mut(&key) {
                pending.mutations.retain(|mutation| mutation.receipt.is_some());
                (pending.seen, pending.mixed) = (0, false);
            }
            self.refold(&key);
            changes.extend(self.shifted(key, before.as_ref(), revision, true));
        }
        changes
    }

    /// A mutation was accepted. It stays over the record until the change that it made has come; where nothing is followed, this is it.
    pub(crate) fn receipt(
        &mut self,
        key: &Text,
        request: RequestId,
        made: Option<(Text, u64)>,
        position: Option<&Position>,
        followed: bool,
    ) -> Option<Change> {
        let mutation = self.pending.get_mut(key)?.mutations.iter_mut().find(|mutation| mutation.request == request)?;
        mutation.receipt = made.clone();
        let Some((_, revision)) = made else { return self.settle(key, request) };
        if !followed {
            return self.settle_as_confirmed(key, request);
        }
        if self.staged.is_none() && position.is_some_and(|position| position.offset >= revision) {
            return self.settle(key, request);
        }
        self.answered.entry(revision).or_default().push((key.clone(), request));
        None
    }

    /// No changes will come any more: what was accepted is taken for confirmed.
    pub(crate) fn unfollow(&mut self) -> Vec<Change> {
        self.staged = None;
        let answered = std::mem::take(&mut self.answered);
        let answered = answered.into_values().flatten();
        answered.filter_map(|(key, request)| self.settle_as_confirmed(&key, request)).collect()
    }

    /// The changes after a position follow, or else a snapshot.
    pub(crate) fn subscribed(&mut self, recovered: bool) {
        self.staged = (!recovered).then(Staged::default);
        if recovered {
            self.expects.get_or_insert("resync");
        }
    }

    /// The connection is gone; `false` where the position is that of a snapshot that is not whole.
    pub(crate) fn left(&mut self) -> bool {
        self.staged.take().is_none()
    }

    /// A page of a snapshot.
    pub(crate) fn page(&mut self, frame: &Bytes, page: &wire::Snapshot<'_>) -> Result<(), Broken> {
        let wire::Page::Records { records, .. } = &page.page else { return Err(Broken::Page) };
        if page.part == 0 {
            self.staged = Some(Staged::default());
        }
        let staged = self.staged.as_mut().ok_or(Broken::Page)?;
        if staged.page(frame, page.part, page.end, records) { Ok(()) } else { Err(Broken::Page) }
    }

    /// Takes the snapshot over, if it is whole at this position: what that changes.
    pub(crate) fn take_over(&mut self, position: &Position) -> Option<Vec<Change>> {
        let staged = self.staged.take_if(|staged| staged.is_whole(position.offset))?;
        let over: Vec<_> =
            self.pending.iter().map(|(key, pending)| (key.clone(), pending.view.clone(), self.revision(key))).collect();
        let done = |(epoch, revision): &(Text, u64)| **epoch != *position.epoch || *revision <= position.offset;
        for pending in self.pending.values_mut() {
            pending.mutations.retain(|mutation| !mutation.receipt.as_ref().is_some_and(done));
            (pending.seen, pending.mixed) = (0, false);
        }
        self.answered.retain(|revision, _| *revision > position.offset);
        let old = std::mem::replace(&mut self.confirmed, staged.rows);
        let mut changes = Vec::new();
        for (key, row) in old.differences(&self.confirmed) {
            if !self.pending.contains_key(&key) {
                changes.push(self.told(key, row.as_ref().map(|row| &row.record), false));
            }
        }
        for (key, before, revision) in over {
            self.refold(&key);
            changes.extend(self.shifted(key, before.as_ref(), revision, false));
        }
        let initial = !std::mem::replace(&mut self.synced, true);
        changes.iter_mut().for_each(|change| change.initial = initial);
        Some(changes)
    }

    /// A change came, the next one. What that changes of the view; none of it where that is nothing.
    pub(crate) fn change(&mut self, frame: &Bytes, change: &wire::Change<'_>) -> Result<Vec<Change>, Broken> {
        let revision = change.offset;
        let (kind, payload) = match change.op {
            Op::Insert(record) => (OpKind::Insert, canonical(keep(frame, record)).ok_or(Broken::NoRecord)?),
            Op::Update(patch) => (OpKind::Update, keep(frame, patch)),
            Op::Remove => (OpKind::Remove, Bytes::new()),
        };
        if kind == OpKind::Update && Record::parse_validated(&payload).is_err() {
            return Err(Broken::NoRecord);
        }
        if let Some(staged) = &mut self.staged {
            let row = staged.rows.get(&change.key);
            let newer = row.is_some_and(|row| row.revision >= revision);
            if !newer && (row.is_some() || kind != OpKind::Update) {
                let record = kind.apply(&payload, row.map(|row| &row.record));
                staged.rows.replace(&change.key, record, revision);
            }
            return Ok(Vec::new());
        }
        let key = Text::from(&*change.key);
        let row = self.confirmed.get(&key);
        if kind == OpKind::Update && row.is_none() {
            return Err(Broken::Missing);
        }
        let record = kind.apply(&payload, row.map(|row| &row.record));
        let (before, was) = (self.view(&key).cloned(), self.revision(&key));
        self.confirmed.replace(&key, record, revision);
        let own = self.pending.get_mut(&key).is_some_and(|pending| pending.came(kind, &payload));
        if !own {
            self.refold(&key);
        }
        let mut changes = Vec::new();
        while let Some(entry) = self.answered.first_entry().filter(|entry| *entry.key() <= revision) {
            for (of, request) in entry.remove() {
                if of == key {
                    self.drop_mutation(&of, request);
                } else {
                    // One that changed nothing: its receipt names a revision that another record has.
                    changes.extend(self.settle(&of, request));
                }
            }
        }
        if let Some(change) = self.shifted(key, before.as_ref(), was, own) {
            changes.insert(0, change);
        }
        Ok(changes)
    }

    /// Whether the server's digest is the one of the confirmed records; `None` where that cannot be said now.
    pub(crate) fn agrees(&self, position: &Position, offset: u64, digest: Digest) -> Option<bool> {
        let comparable = self.staged.is_none() && position.offset == offset;
        comparable.then(|| self.confirmed.digest() == digest)
    }

    /// A mutation is part of what is confirmed.
    fn settle(&mut self, key: &Text, request: RequestId) -> Option<Change> {
        let (before, revision) = (self.view(key).cloned(), self.revision(key));
        self.drop_mutation(key, request);
        self.shifted(key.clone(), before.as_ref(), revision, true)
    }

    /// A mutation is taken for confirmed.
    fn settle_as_confirmed(&mut self, key: &Text, request: RequestId) -> Option<Change> {
        let (before, revision) = (self.view(key).cloned(), self.revision(key));
        let mutations = &self.pending.get(key)?.mutations;
        let mutation = mutations.iter().find(|mutation| mutation.request == request)?;
        if let Some((_, made)) = &mutation.receipt {
            let row = self.confirmed.get(key);
            let record = mutation.kind.apply(&mutation.payload, row.map(|row| &row.record));
            self.confirmed.replace(key, record, *made);
        }
        if let Some(pending) = self.pending.get_mut(key) {
            pending.mutations.retain(|mutation| mutation.request != request);
            (pending.seen, pending.mixed) = (0, false);
        }
        self.refold(key);
        self.shifted(key.clone(), before.as_ref(), revision, true)
    }

    /// Takes a mutation out. The view is made anew where it may differ without it.
    fn drop_mutation(&mut self, key: &Text, request: RequestId) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        let Some(at) = pending.mutations.iter().position(|mutation| mutation.request == request) else { return };
        let same = at == 0 && pending.seen > 0 && !pending.mixed;
        pending.remove(at);
        if !same || pending.mutations.is_empty() {
            self.refold(key);
        }
    }

    /// Makes the view of a key anew.
    fn refold(&mut self, key: &Text) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        if pending.mutations.is_empty() {
            self.pending.remove(key);
            return;
        }
        let base = self.confirmed.get(key).map(|row| row.record.clone());
        pending.view = pending.mutations.iter().fold(base, |record, m| m.kind.apply(&m.payload, record.as_ref()));
    }

    /// What became of a key, if the view shows it otherwise than before.
    fn shifted(&mut self, key: Text, before: Option<&Bytes>, revision: Option<u64>, local: bool) -> Option<Change> {
        let (view, now) = (self.view(&key), self.revision(&key));
        let shifted = view != before || (view.is_some() && now != revision);
        shifted.then(|| self.told(key, before, local))
    }

    /// What became of a key.
    fn told(&mut self, key: Text, before: Option<&Bytes>, local: bool) -> Change {
        let record = self.view(&key).cloned();
        let kind = match (before, &record) {
            (None, Some(_)) => ChangeKind::Insert,
            (Some(_), None) => ChangeKind::Delete,
            (Some(before), Some(record)) if before != record => ChangeKind::Update,
            _ => ChangeKind::Confirm,
        };
        self.version += 1;
        let (revision, version) = (self.revision(&key), self.version);
        Change { collection: self.id, kind, key, record, revision, local, initial: false, version, size: 0 }
    }
}

impl Pending {
    fn remove(&mut self, at: usize) {
        self.mutations.remove(at);
        if at < self.seen {
            self.seen -= 1;
            self.mixed |= at > 0;
        }
        self.mixed &= self.seen > 0;
    }

    /// A change came. Whether it is the next of the mutations, so that the view stays.
    fn came(&mut self, kind: OpKind, payload: &Bytes) -> bool {
        let next = self.mutations.get(self.seen);
        if !self.mixed && next.is_some_and(|next| next.kind == kind && next.payload == payload) {
            self.seen += 1;
            return true;
        }
        self.mixed = self.seen > 0;
        false
    }
}
