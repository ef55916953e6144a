use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::io::{ChannelId, RequestId, Text, keep};
use crate::peer::Stamp;
use crate::replica::{OpKind, Row, Rows, Staged, canonical, patched};
use crate::sync::{Change, ChangeKind};
use crate::wire::{self, Digest, Op, Position};

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
    /// When it was made, for other clients where there is no server that orders them.
    stamp: Stamp,
    /// Whether the server takes it only where nobody has come between: an insert, or a mutation of a given revision. What its
    /// receipt says is then the revision that the application sees.
    conditional: bool,
    /// The record that it made, as the application saw it.
    made: Option<Bytes>,
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

    /// The last revision that the server told and the application sees: of the record, or of a receipt that nothing can have come before.
    pub(crate) fn revision(&self, key: &str) -> Option<u64> {
        let confirmed = self.confirmed.get(key).map(|row| row.revision).filter(|revision| *revision > 0);
        let mutations = self.pending.get(key.as_bytes()).map(|pending| pending.mutations.iter());
        let answered =
            mutations.into_iter().flatten().filter(|mutation| mutation.conditional && mutation.kind != OpKind::Remove);
        answered.filter_map(|mutation| mutation.receipt.as_ref()).map(|(_, revision)| *revision).max().max(confirmed)
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
    pub(crate) fn mutate(
        &mut self,
        request: RequestId,
        key: Text,
        kind: OpKind,
        payload: Bytes,
        stamp: Stamp,
        conditional: bool,
    ) -> Change {
        let before = self.view(&key).cloned();
        let pending = self.pending.entry(key.clone()).or_insert_with(|| Pending {
            mutations: VecDeque::new(),
            view: before.clone(),
            seen: 0,
            mixed: false,
        });
        pending.view = kind.apply(&payload, pending.view.as_ref());
        let made = pending.view.clone();
        pending.mutations.push_back(Mutation { request, kind, payload, stamp, conditional, made, receipt: None });
        self.told(key, before.as_ref(), true)
    }

    /// A mutation was refused, or given up: it is taken back.
    pub(crate) fn roll_back(&mut self, key: &Text, request: RequestId) -> Option<Change> {
        let (before, revision) = (self.view(key).cloned(), self.revision(key));
        let pending = self.pending.get_mut(key)?;
        let at = pending.mutations.iter().position(|mutation| mutation.request == request)?;
        if crate::mutant("pending-after-refusal") {
            return None;
        }
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

    /// When the last mutation over a record was made.
    pub(crate) fn stamp(&self, key: &str) -> Option<Stamp> {
        self.pending.get(key.as_bytes())?.mutations.back().map(|mutation| mutation.stamp)
    }

    /// When a mutation was made, and the record that it made.
    pub(crate) fn made(&self, key: &str, request: RequestId) -> Option<(Stamp, Option<Bytes>)> {
        let mutation = self.pending.get(key.as_bytes())?.mutations.iter().find(|m| m.request == request)?;
        Some((mutation.stamp, mutation.made.clone()))
    }

    pub(crate) fn confirmed(&self, key: &str) -> Option<&Bytes> {
        self.confirmed.get(key).map(|row| &row.record)
    }

    /// A mutation was written for the other clients: the record is as it made it, unless another client's is newer (`record` is none).
    pub(crate) fn written(&mut self, key: &Text, request: RequestId, record: Option<Option<Bytes>>) -> Option<Change> {
        let (before, revision) = (self.view(key).cloned(), self.revision(key));
        if let Some(record) = record {
            self.confirmed.replace(key, record, 0);
        }
        if let Some(pending) = self.pending.get_mut(key) {
            pending.mutations.retain(|mutation| mutation.request != request);
            (pending.seen, pending.mixed) = (0, false);
        }
        self.refold(key);
        self.shifted(key.clone(), before.as_ref(), revision, true)
    }

    /// Another client's record is newer.
    pub(crate) fn merge(&mut self, key: Text, record: Option<Bytes>) -> Option<Change> {
        let (before, revision) = (self.view(&key).cloned(), self.revision(&key));
        self.confirmed.replace(&key, record, 0);
        self.refold(&key);
        let mut change = self.shifted(key, before.as_ref(), revision, false)?;
        change.initial = !self.synced;
        Some(change)
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
        let (before, was) = (self.view(key).cloned(), self.revision(key));
        let mutation = self.pending.get_mut(key)?.mutations.iter_mut().find(|mutation| mutation.request == request)?;
        mutation.receipt = made.clone();
        match made {
            _ if crate::mutant("receipt-ends-pending") => self.drop_mutation(key, request),
            Some(_) if !followed => self.take_for_confirmed(key, request),
            Some((_, revision)) if self.staged.is_some() || position.is_none_or(|at| at.offset < revision) => {
                self.answered.entry(revision).or_default().push((key.clone(), request));
            }
            _ => self.drop_mutation(key, request),
        }
        self.shifted(key.clone(), before.as_ref(), was, true)
    }

    /// No changes will come any more: what was accepted is taken for confirmed.
    pub(crate) fn unfollow(&mut self) -> Vec<Change> {
        self.staged = None;
        let answered = std::mem::take(&mut self.answered);
        let answered = answered.into_values().flatten();
        let mut settle = |(key, request): (Text, RequestId)| {
            let (before, revision) = (self.view(&key).cloned(), self.revision(&key));
            self.take_for_confirmed(&key, request);
            self.shifted(key, before.as_ref(), revision, true)
        };
        answered.filter_map(&mut settle).collect()
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
        let record = match (kind, self.confirmed.get(&key)) {
            (OpKind::Update, None) => return Err(Broken::Missing),
            (OpKind::Update, Some(row)) => Some(patched(&row.record, &payload).ok_or(Broken::NoRecord)?),
            (_, row) => kind.apply(&payload, row.map(|row| &row.record)),
        };
        let (before, was) = (self.view(&key).cloned(), self.revision(&key));
        self.confirmed.replace(&key, record, revision);
        let own = self.pending.get_mut(&key).is_some_and(|pending| pending.came(kind, &payload));
        if !own && !crate::mutant("no-rebase") {
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
        let comparable = self.staged.is_none() && position.offset == offset && !crate::mutant("digest-ignored");
        comparable.then(|| self.confirmed.digest() == digest)
    }

    /// A mutation is part of what is confirmed.
    fn settle(&mut self, key: &Text, request: RequestId) -> Option<Change> {
        let (before, revision) = (self.view(key).cloned(), self.revision(key));
        self.drop_mutation(key, request);
        self.shifted(key.clone(), before.as_ref(), revision, true)
    }

    /// A mutation is taken for confirmed.
    fn take_for_confirmed(&mut self, key: &Text, request: RequestId) {
        let Some(mutation) =
            self.pending.get(key).and_then(|pending| pending.mutations.iter().find(|m| m.request == request))
        else {
            return;
        };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Held, Page, Snapshot};

    const KEY: &str = "k";

    #[derive(Clone, Debug)]
    enum Step {
        Mutate(u8),
        /// The server accepts the oldest mutation that it has not, or refuses it.
        Accept,
        Refuse,
        /// Somebody else changes the record.
        Foreign(u8),
        Change,
        Receipt,
        /// The application gives one up, whatever became of it.
        GiveUp(usize),
        Snapshot,
    }

    fn op(what: u8) -> (OpKind, Bytes) {
        let payloads =
            [r#"{"a":1}"#, r#"{"b":2,"a":2}"#, r#"{"a":3,"c":3}"#, r#"{"id":"k","a":4}"#, r#"{"id":"k"}"#, ""];
        let kind = match what {
            0..=2 => OpKind::Update,
            3 | 4 => OpKind::Insert,
            _ => OpKind::Remove,
        };
        (kind, Bytes::from_static(payloads[usize::from(what)].as_bytes()))
    }

    /// A server of one record, and what is under way from it.
    struct World {
        collection: Collection,
        record: Option<Bytes>,
        offset: u64,
        position: u64,
        sent: VecDeque<(RequestId, OpKind, Bytes)>,
        changes: VecDeque<(u64, OpKind, Bytes)>,
        receipts: VecDeque<(RequestId, u64)>,
        requests: u64,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self {
                collection: Collection::new(ChannelId(0), Text::from("c")),
                record: None,
                offset: 0,
                position: 0,
                sent: VecDeque::new(),
                changes: VecDeque::new(),
                receipts: VecDeque::new(),
                requests: 0,
            };
            world.snapshot();
            world
        }

        fn position(&self) -> Position {
            Position { epoch: "e".into(), offset: self.position }
        }

        fn snapshot(&mut self) {
            self.changes.clear();
            self.position = self.offset;
            let record = self.record.clone();
            let records = record.iter().map(|record| Held { key: KEY.into(), revision: self.offset, record }).collect();
            let page = Snapshot {
                channel: "r".into(),
                epoch: "e".into(),
                offset: self.offset,
                part: 0,
                end: Some(self.offset),
                page: Page::Records { collection: "c".into(), records },
            };
            self.collection.page(&Bytes::new(), &page).unwrap();
            self.collection.take_over(&self.position()).unwrap();
        }

        /// The server changes the record, if it may: the revision.
        fn serve(&mut self, kind: OpKind, payload: &Bytes) -> Option<u64> {
            let refused = match kind {
                OpKind::Insert => self.record.is_some(),
                _ => self.record.is_none(),
            };
            if refused {
                return None;
            }
            self.record = kind.apply(payload, self.record.as_ref());
            self.offset += 1;
            self.changes.push_back((self.offset, kind, payload.clone()));
            Some(self.offset)
        }

        fn run(&mut self, step: Step) {
            let key = Text::from(KEY);
            match step {
                Step::Mutate(what) => {
                    self.requests += 1;
                    let (request, (kind, payload)) = (RequestId(self.requests), op(what));
                    self.collection.mutate(request, key, kind, payload.clone(), (0, 0), false);
                    self.sent.push_back((request, kind, payload));
                }
                Step::Accept => {
                    let Some((request, kind, payload)) = self.sent.pop_front() else { return };
                    match self.serve(kind, &payload) {
                        Some(revision) => self.receipts.push_back((request, revision)),
                        None => drop(self.collection.roll_back(&key, request)),
                    }
                }
                Step::Refuse => {
                    let Some((request, ..)) = self.sent.pop_front() else { return };
                    self.collection.roll_back(&key, request);
                }
                Step::Foreign(what) => {
                    let (kind, payload) = op(what);
                    self.serve(kind, &payload);
                }
                Step::Change => {
                    let Some((offset, kind, payload)) = self.changes.pop_front() else { return };
                    self.position = offset;
                    let op = match kind {
                        OpKind::Insert => Op::Insert(&payload),
                        OpKind::Update => Op::Update(&payload),
                        OpKind::Remove => Op::Remove,
                    };
                    let change = wire::Change {
                        channel: "r".into(),
                        collection: "c".into(),
                        op,
                        key: KEY.into(),
                        offset,
                        user: None,
                        timestamp: 0,
                    };
                    self.collection.change(&Bytes::new(), &change).unwrap();
                }
                Step::Receipt => {
                    let Some((request, revision)) = self.receipts.pop_front() else { return };
                    let made = Some((Text::from("e"), revision));
                    let position = self.position();
                    self.collection.receipt(&key, request, made, Some(&position), true);
                }
                Step::GiveUp(at) => {
                    let pending = self.collection.pending.get(&key);
                    let open = pending.map_or(Vec::new(), |pending| {
                        let open = pending.mutations.iter().filter(|mutation| mutation.receipt.is_none());
                        open.map(|mutation| mutation.request).collect()
                    });
                    let Some(request) = open.get(at % open.len().max(1)) else { return };
                    self.collection.roll_back(&key, *request);
                    self.receipts.retain(|(of, _)| of != request);
                }
                Step::Snapshot => self.snapshot(),
            }
        }

        /// The view is what is confirmed, with all that is pending over it, however it was come by.
        fn check(&self) {
            let base = self.collection.confirmed.get(KEY).map(|row| row.record.clone());
            let pending = self.collection.pending.get(KEY.as_bytes());
            let over = pending.into_iter().flat_map(|pending| &pending.mutations);
            let expected = over.fold(base, |record, m| m.kind.apply(&m.payload, record.as_ref()));
            assert_eq!(self.collection.view(KEY), expected.as_ref());
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6u8).prop_map(Step::Mutate),
            4 => Just(Step::Accept),
            1 => Just(Step::Refuse),
            3 => (0..6u8).prop_map(Step::Foreign),
            5 => Just(Step::Change),
            4 => Just(Step::Receipt),
            1 => (0..4usize).prop_map(Step::GiveUp),
            1 => Just(Step::Snapshot),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        #[test]
        fn the_view_is_what_is_confirmed_with_what_is_pending_over_it(
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let mut world = World::new();
            for step in steps {
                world.run(step);
                world.check();
            }
            while !world.sent.is_empty() || !world.changes.is_empty() || !world.receipts.is_empty() {
                for step in [Step::Accept, Step::Receipt, Step::Change] {
                    world.run(step);
                    world.check();
                }
            }
            prop_assert!(world.collection.pending.is_empty());
            prop_assert!(world.collection.answered.is_empty());
            prop_assert_eq!(world.collection.view(KEY), world.record.as_ref());
            let mut digest = Digest::default();
            if let Some(record) = &world.record {
                digest.add(KEY, record);
            }
            prop_assert_eq!(world.collection.confirmed.digest(), digest);
        }
    }
}
