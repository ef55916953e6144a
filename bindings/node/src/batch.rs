//! A batch as JavaScript reads it: numbers in an array that it owns, texts as one JSON array, bytes as buffers.
//!
//! The payloads of messages stand last in the array. A server has validated them and nobody else: those that break it in pairs, as `[[1]` and `[2]]`
//! do, or `[1],[2]` where another swallows a value, shift none but payloads, all of them from that server.

use napi::bindgen_prelude::BufferSlice;
use napi::{Env, JsString, Result};
use realtime_bridge::{Batch, Kind, Record, ascii_json};

// The layout of the numbers, kept equal to node/src/inbox.ts by the tests of both.
const HEADER: usize = 4;
const STRIDE: usize = 6;
const MESSAGE: u32 = 0;
const DIRECT: u32 = 1;
const RECEIPT: u32 = 2;
const FAILED: u32 = 3;
const REPORT: u32 = 4;
const CHANGE: u32 = 5;
const PRESENCE: u32 = 6;
/// The event (of a receipt: the epoch) is that of the record before of the same kind, and its text is left out.
const SAME: u32 = 0x10;
const BINARY: u32 = 0x20;
const USER: u32 = 0x40;
const ACKNOWLEDGED: u32 = 0x80;
const DUPLICATE: u32 = 0x100;
/// There is an event (or epoch), and its text unless [`SAME`].
const NAMED: u32 = 0x200;
/// The same message came before as one of the backend to this client.
const IMPLIED: u32 = 0x400;
/// Of a change: there is a record; only the revision is another; of the first snapshot; caused by this client.
const RECORD: u32 = 0x800;
const CONFIRMS: u32 = 0x1000;
const INITIAL: u32 = 0x2000;
const LOCAL: u32 = 0x4000;

/// A buffer that a large message has made larger than this is not kept.
const KEPT: usize = 256 << 10;

/// Converts batches, a part at a time where one has more records than the numbers have room for.
#[derive(Debug, Default)]
pub(crate) struct Converter {
    batch: Batch,
    next: usize,
    /// The records of the last part, for the calls that follow a conversion.
    part: std::ops::Range<usize>,
    texts: Texts,
}

/// JSON texts, each with a comma behind.
#[derive(Debug, Default)]
struct Texts {
    json: Vec<u8>,
    ends: Vec<usize>,
}

impl Converter {
    /// Whether everything of the batch was converted, so that it wants another.
    pub(crate) fn is_done(&self) -> bool {
        self.next == self.batch.records().len()
    }

    /// Takes a new batch and gives the old one back.
    pub(crate) fn replace(&mut self, batch: Batch) -> Batch {
        self.next = 0;
        self.part = 0..0;
        self.texts.shrink();
        std::mem::replace(&mut self.batch, batch)
    }

    /// Converts as many records as fit into `numbers`, and returns the texts as one JSON array.
    pub(crate) fn convert<'env>(&mut self, env: &'env Env, numbers: &mut [f64]) -> Result<JsString<'env>> {
        let room = numbers.len().saturating_sub(HEADER) / STRIDE;
        let end = self.batch.records().len().min(self.next + room);
        self.part = self.next..end;
        self.next = end;
        let (payloads, binaries) = self.fill(numbers);
        numbers[0] = self.part.len() as f64;
        numbers[1] = (self.texts.ends.len() - payloads) as f64;
        numbers[2] = payloads as f64;
        numbers[3] = binaries as f64;
        text(env, &self.texts.json)
    }

    /// The binary payloads of the part, in order.
    pub(crate) fn binaries<'env>(&self, env: &'env Env) -> Result<Vec<BufferSlice<'env>>> {
        let records = self.batch.records()[self.part.clone()].iter();
        records
            .filter(|record| record.binary)
            .map(|record| BufferSlice::copy_from(env, self.batch.payload(record)))
            .collect()
    }

    /// The texts of the part, each by itself: for an array that does not parse.
    pub(crate) fn texts<'env>(&self, env: &'env Env) -> Result<Vec<JsString<'env>>> {
        // Before each text there is the bracket or a comma.
        let Texts { json, ends } = &self.texts;
        let starts = std::iter::once(1).chain(ends.iter().map(|end| end + 1));
        starts.zip(ends).map(|(start, end)| text(env, &json[start..*end])).collect()
    }

    /// How many payloads stand at the end of the texts, and how many are binary.
    fn fill(&mut self, numbers: &mut [f64]) -> (usize, usize) {
        self.texts.begin();
        let mut binaries = 0;
        let (mut event, mut epoch) = (None, None);
        let rows = numbers[HEADER..].chunks_exact_mut(STRIDE);
        for (record, row) in self.batch.records()[self.part.clone()].iter().zip(rows) {
            let last = if record.kind == Kind::Receipt { &mut epoch } else { &mut event };
            let flags = append(&mut self.texts, &self.batch, record, last);
            binaries += usize::from(record.binary);
            row.copy_from_slice(&[
                f64::from(flags),
                if matches!(record.kind, Kind::Direct | Kind::Receipt) { -1.0 } else { f64::from(record.channel) },
                record.offset().map_or(-1.0, |offset| offset as f64),
                record.timestamp().map_or(-1.0, |timestamp| timestamp as f64),
                record.size() as f64,
                record.request() as f64,
            ]);
        }
        // The payloads of messages stand last.
        let before = self.texts.ends.len();
        for record in self.batch.records()[self.part.clone()].iter().filter(|record| is_payload(record)) {
            self.texts.value(self.batch.payload(record));
        }
        self.texts.end();
        (self.texts.ends.len() - before, binaries)
    }
}

impl Texts {
    fn clear(&mut self) {
        self.json.clear();
        self.ends.clear();
    }

    fn shrink(&mut self) {
        if self.json.capacity() > KEPT {
            *self = Self::default();
        }
    }

    fn begin(&mut self) {
        self.clear();
        self.json.push(b'[');
    }

    fn string(&mut self, text: &[u8]) {
        push_string(&mut self.json, text);
        self.close();
    }

    /// Known to be JSON, or found out by the parser, which then takes them one by one.
    fn value(&mut self, json: &[u8]) {
        self.json.extend_from_slice(json);
        self.close();
    }

    fn close(&mut self) {
        self.ends.push(self.json.len());
        self.json.push(b',');
    }

    fn end(&mut self) {
        match self.json.last_mut() {
            Some(last) if *last == b',' => *last = b']',
            _ => self.json.push(b']'),
        }
    }
}

/// Whether the payload of a record stands with those of the other messages.
fn is_payload(record: &Record) -> bool {
    matches!(record.kind, Kind::Message | Kind::Direct) && !record.binary
}

/// Appends the texts of a record but for the payload of a message, and returns its kind and flags.
fn append<'batch>(texts: &mut Texts, batch: &'batch Batch, record: &Record, last: &mut Option<&'batch [u8]>) -> u32 {
    let mut flags = 0;
    if matches!(record.kind, Kind::Message | Kind::Direct | Kind::Receipt) {
        let name = batch.event(record);
        if name.is_some() {
            flags |= NAMED;
        }
        if name.is_some() && name == *last {
            flags |= SAME;
        } else if let Some(name) = name {
            texts.string(name);
        }
        *last = name;
        if let Some(user) = batch.user(record) {
            flags |= USER;
            texts.string(user);
        }
    }
    if record.kind == Kind::Change {
        texts.string(batch.event(record).unwrap_or_default());
        if record.has_record {
            texts.value(batch.payload(record));
        }
        let flag = |set: bool, flag| if set { flag } else { 0 };
        return CHANGE
            | flag(record.has_record, RECORD)
            | flag(record.confirms, CONFIRMS)
            | flag(record.initial, INITIAL)
            | flag(record.local, LOCAL);
    }
    if record.implied {
        flags |= IMPLIED;
    }
    match record.kind {
        _ if record.binary => flags |= BINARY,
        Kind::Message | Kind::Direct | Kind::Receipt => {}
        _ => texts.value(batch.payload(record)),
    }
    flags
        | match record.kind {
            Kind::Message => MESSAGE,
            Kind::Direct => DIRECT,
            Kind::Receipt => {
                RECEIPT
                    | if record.acknowledged { ACKNOWLEDGED } else { 0 }
                    | if record.duplicate { DUPLICATE } else { 0 }
            }
            Kind::SendFailed => FAILED,
            Kind::Presence => PRESENCE,
            _ => REPORT,
        }
}

pub(crate) fn push_string(json: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
        json.push(b'"');
        json.extend_from_slice(text);
        json.push(b'"');
    } else {
        json.extend_from_slice(serde_json::Value::from(String::from_utf8_lossy(text)).to_string().as_bytes());
    }
}

/// JSON as a string for the parser. What is no text is no JSON either: an empty string, which the parser stumbles over.
pub(crate) fn text<'env>(env: &'env Env, json: &[u8]) -> Result<JsString<'env>> {
    if json.is_ascii() {
        return env.create_string_latin1(json);
    }
    match ascii_json(json) {
        Ok(Some(ascii)) => env.create_string_latin1(&ascii),
        Ok(None) => match std::str::from_utf8(json) {
            Ok(text) => env.create_string(text),
            Err(_) => env.create_string(""),
        },
        Err(_) => env.create_string(""),
    }
}
