use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use realtime_engine::{Change, ChangeKind, Text};

/// The records of a collection in the order of their ids.
///
/// Changes come on two ways: from the calls of the application at once, and from the queue of everything else. They are
/// numbered as they happened, and one that comes after a later one of the same record is left out.
#[derive(Debug, Default)]
pub(crate) struct View {
    records: BTreeMap<Text, Shown>,
    /// The records that calls have changed, with the number of their change, until the queue has come to it.
    ahead: HashMap<Text, u64>,
    calls: VecDeque<(u64, Text)>,
    touched: bool,
}

/// A record, and the revision that the server has confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) record: Bytes,
    pub(crate) revision: Option<u64>,
}

/// What a change has come to.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) kind: ChangeKind,
    pub(crate) old: Option<Bytes>,
}

impl View {
    pub(crate) fn records(&self) -> &BTreeMap<Text, Shown> {
        &self.records
    }

    /// Whether nothing has happened to it yet.
    pub(crate) fn is_new(&self) -> bool {
        !self.touched
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Shown> {
        self.records.get(id.as_bytes())
    }

    /// Applies a change that a call has made. `None` where nothing else is shown than before.
    pub(crate) fn called(&mut self, change: &Change) -> Option<Applied> {
        self.ahead.insert(change.key.clone(), change.version);
        self.calls.push_back((change.version, change.key.clone()));
        self.apply(change)
    }

    /// Applies a change from the queue. `None` where nothing else is shown than before.
    pub(crate) fn queued(&mut self, change: &Change) -> Option<Applied> {
        while let Some((passed, id)) = self.calls.front().filter(|(version, _)| *version < change.version) {
            if self.ahead.get(id) == Some(passed) {
                self.ahead.remove(id);
            }
            self.calls.pop_front();
        }
        let late = self.ahead.get(&change.key).is_some_and(|ahead| *ahead > change.version);
        if late { None } else { self.apply(change) }
    }

    fn apply(&mut self, change: &Change) -> Option<Applied> {
        self.touched = true;
        let old = match &change.record {
            Some(record) => {
                let shown = Shown { record: record.clone(), revision: change.revision };
                self.records.insert(change.key.clone(), shown)
            }
            None => self.records.remove(&change.key),
        };
        let kind = match (&old, &change.record) {
            (None, None) => return None,
            (Some(_), Some(_)) if change.kind == ChangeKind::Confirm => return None,
            (None, Some(_)) => ChangeKind::Insert,
            (Some(_), Some(_)) => ChangeKind::Update,
            (Some(_), None) => ChangeKind::Delete,
        };
        Some(Applied { kind, old: old.map(|shown| shown.record) })
    }
}
