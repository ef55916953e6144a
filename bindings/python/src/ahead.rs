//! Small payloads that follow each other, parsed in one go.

use pyo3::prelude::*;
use pyo3::types::PyList;
use realtime_bridge::{Batch, Kind, Record};

use crate::json;

/// Beyond this a call of the parser is little beside its work, and what was parsed would be long in memory before its turn.
const SMALL: usize = 512;
const MOST: usize = 32;

/// Payloads of the records to come.
///
/// The server has validated each of them. One that has not could make two that are one together and one that is two: so many messages of
/// its own it may mix up, and no more.
#[derive(Debug, Default)]
pub(crate) struct Ahead<'py> {
    parsed: Option<Bound<'py, PyList>>,
    next: usize,
    /// Records that are parsed each by itself: together they were not what they have to be.
    alone: usize,
}

impl<'py> Ahead<'py> {
    /// The payload of the first record of `rest`, which are the records from there on. Raises where that is not JSON: the others are
    /// not touched by it.
    pub(crate) fn payload(&mut self, py: Python<'py>, batch: &Batch, rest: &[Record]) -> PyResult<Bound<'py, PyAny>> {
        if let Some(parsed) = &self.parsed {
            let payload = parsed.get_item(self.next)?;
            self.next += 1;
            if self.next == parsed.len() {
                self.parsed = None;
            }
            return Ok(payload);
        }
        if self.alone > 0 {
            self.alone -= 1;
        } else {
            let run = rest.iter().take(MOST).take_while(|record| is_small(batch, record)).count();
            if run > 1 {
                let payloads = rest[..run].iter().map(|record| batch.payload(record));
                if let Some(parsed) = json::decode_together(py, payloads)? {
                    let first = parsed.get_item(0)?;
                    (self.parsed, self.next) = (Some(parsed), 1);
                    return Ok(first);
                }
                self.alone = run - 1;
            }
        }
        json::decode(py, batch.payload(&rest[0]))
    }
}

fn is_small(batch: &Batch, record: &Record) -> bool {
    matches!(record.kind, Kind::Message | Kind::Direct) && !record.binary && batch.payload(record).len() <= SMALL
}
