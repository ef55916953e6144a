use std::collections::BTreeMap;

use bytes::Bytes;

use crate::io::{Text, slice};
use crate::wire::{Digest, Held, Record};

/// What a record costs besides its bytes and those of its key.
const OVERHEAD: usize = 64;

/// What happens to a record, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    Insert,
    Update,
    Remove,
}

impl OpKind {
    /// What a record becomes. An update of a record that is not there makes none, and one by what is no patch changes nothing.
    pub(crate) fn apply(self, payload: &Bytes, record: Option<&Bytes>) -> Option<Bytes> {
        match self {
            OpKind::Insert => Some(payload.clone()),
            OpKind::Update => record.map(|record| patched(record, payload).unwrap_or_else(|| record.clone())),
            OpKind::Remove => None,
        }
    }
}

/// A record, and the revision that made it what it is; 0 where no server has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) record: Bytes,
    pub(crate) revision: u64,
}

/// The records of a collection by key, with their digest. Changing one costs that one and the search for it.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<Text, Row>,
    digest: Digest,
    bytes: usize,
}

impl Rows {
    pub(crate) fn get(&self, key: &str) -> Option<&Row> {
        self.rows.get(key.as_bytes())
    }

    pub(crate) fn put(&mut self, key: Text, row: Row) {
        self.remove(&key);
        self.bytes += size(&key, &row);
        self.digest.add(&key, &row.record);
        self.rows.insert(key, row);
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Row> {
        let (key, row) = self.rows.remove_entry(key.as_bytes())?;
        self.bytes -= size(&key, &row);
        self.digest.remove(&key, &row.record);
        Some(row)
    }

    /// What a change makes of a record.
    pub(crate) fn replace(&mut self, key: &str, record: Option<Bytes>, revision: u64) {
        match record {
            Some(record) => self.put(Text::from(key), Row { record, revision }),
            None => drop(self.remove(key)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// What they take of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The keys whose rows differ, in their order, with the rows of `self`.
    pub(crate) fn differences(self, other: &Rows) -> Vec<(Text, Option<Row>)> {
        let mut differences = Vec::new();
        let (mut mine, mut theirs) = (self.rows.into_iter().peekable(), other.rows.iter().peekable());
        loop {
            match (mine.peek(), theirs.peek()) {
                (Some((key, row)), Some((other_key, other_row))) if key == *other_key => {
                    let same = row == *other_row;
                    theirs.next();
                    differences.extend(mine.next().filter(|_| !same).map(|(key, row)| (key, Some(row))));
                }
                (Some((key, _)), other) if other.is_none_or(|(other, _)| key < *other) => {
                    differences.extend(mine.next().map(|(key, row)| (key, Some(row))));
                }
                (_, Some(_)) => differences.extend(theirs.next().map(|(key, _)| (key.clone(), None))),
                _ => return differences,
            }
        }
    }
}

fn size(key: &Text, row: &Row) -> usize {
    OVERHEAD + key.as_bytes().len() + row.record.len()
}

/// A snapshot that is not whole yet, with the changes that came after its pages.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) rows: Rows,
    next_part: u64,
    end: Option<u64>,
}

impl Staged {
    /// Takes a page; `false` where it is not the next one.
    pub(crate) fn page(&mut self, frame: &Bytes, part: u64, end: Option<u64>, records: &[Held<'_>]) -> bool {
        if part != self.next_part || self.end.is_some() {
            return false;
        }
        self.next_part += 1;
        self.end = end;
        for held in records {
            if held.record.first() != Some(&b'{') {
                return false;
            }
            if self.rows.get(&held.key).is_none_or(|row| row.revision < held.revision) {
                let row = Row { record: slice(frame, held.record), revision: held.revision };
                self.rows.put(Text::borrowed(frame, &held.key), row);
            }
        }
        true
    }

    /// Whether everything up to `offset` makes a state of the server.
    pub(crate) fn is_whole(&self, offset: u64) -> bool {
        self.end.is_some_and(|end| offset >= end || crate::mutant("snapshot-end-ignored"))
    }
}

/// A record with a patch over it; `None` where one of them is no record.
pub(crate) fn patched(record: &[u8], patch: &[u8]) -> Option<Bytes> {
    let mut record =
        Record::parse_validated(if crate::mutant("patch-replaces-record") { b"{}" } else { record }).ok()?;
    record.patch(&Record::parse_validated(patch).ok()?);
    Some(Bytes::from(record.encode()))
}

/// The one form of a record, without a copy where it came in it; `None` for what is no record.
pub(crate) fn canonical(json: Bytes) -> Option<Bytes> {
    let form = Record::parse_validated(&json).ok()?.encode();
    Some(if form == json { json } else { Bytes::from(form) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(value: u8) -> Row {
        Row { record: Bytes::from(format!("{{\"v\":{value}}}")), revision: u64::from(value) }
    }

    fn rows(of: &BTreeMap<u8, u8>) -> Rows {
        let mut rows = Rows::default();
        of.iter().for_each(|(key, value)| rows.put(Text::from(key.to_string()), record(*value)));
        rows
    }

    proptest! {
        #[test]
        fn digest_and_bytes_are_those_of_the_rows_that_are_there(
            steps in proptest::collection::vec((0..8u8, proptest::option::of(0..5u8)), 0..40),
        ) {
            let (mut changed, mut left) = (Rows::default(), BTreeMap::new());
            for (key, value) in steps {
                changed.replace(&key.to_string(), value.map(|value| record(value).record), u64::from(value.unwrap_or(0)));
                match value {
                    Some(value) => left.insert(key, value),
                    None => left.remove(&key),
                };
            }
            let scratch = rows(&left);
            prop_assert_eq!(changed.digest(), scratch.digest());
            prop_assert_eq!(changed.digest().records, left.len() as u64);
            prop_assert_eq!((changed.bytes(), changed.len()), (scratch.bytes(), scratch.len()));
        }

        #[test]
        fn differences_are_the_keys_that_differ(
            one in proptest::collection::btree_map(0..12u8, 0..3u8, 0..12),
            other in proptest::collection::btree_map(0..12u8, 0..3u8, 0..12),
        ) {
            let found: Vec<_> = rows(&one).differences(&rows(&other));
            let mut expected: Vec<_> = (0..12u8)
                .filter(|key| one.get(key) != other.get(key))
                .map(|key| (Text::from(key.to_string()), one.get(&key).map(|value| record(*value))))
                .collect();
            expected.sort_by(|(a, _), (b, _)| a.cmp(b));
            prop_assert_eq!(found, expected);
        }
    }
}
