//! The file of a durable outbox: what is in it, byte by byte. Reading and writing it is the driver's.
//!
//! ```text
//! magic "rtoutbox", version u32, then records: length u32, CRC-32 of the body u32, body
//! start 01  last id u64, last number u64, session
//! kept  02  number u64, id u64 (0: none), flags u8, channel length u8, event length u8, channel, event, payload
//! given 03  first id u64, last id u64: the oldest messages without an id have these
//! ended 04  first number u64, last number u64: none of these is to be sent any more
//! ```
//!
//! Integers are big-endian. `start` is the first record and comes once; numbers count the accepted sends.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::io::{Data, Text};
use crate::wire::validate_name;

const MAGIC: &[u8; 8] = b"rtoutbox";
const VERSION: u32 = 1;
/// Magic and version.
const HEAD: usize = 12;
/// Length and CRC of a record.
const FRAMING: usize = 8;

const START: u8 = 1;
const KEPT: u8 = 2;
const GIVEN: u8 = 3;
const ENDED: u8 = 4;

const BINARY: u8 = 1;
const IN_CHANNEL: u8 = 2;
const NAMED: u8 = 4;

/// Ids of a file are below this, so that a session never runs out of them; other requests count from twice as much.
const MAX_ID: u64 = 1 << 51;
/// Of what has ended at least this much stays in a file before it is written anew.
const MIN_GARBAGE: u64 = 4 << 20;

/// What an earlier run of a durable outbox has left: sends that have not ended, and what their ids belong to.
///
/// ```
/// use realtime_engine::{Config, Restored, Session, Timestamp};
///
/// # fn main() -> Result<(), realtime_engine::Error> {
/// let now = Timestamp::from_millis(0);
/// let mut session = Session::new(Config::new("ws://localhost:8080"), now, 7)?;
/// session.restore(now, Restored::default());
/// // A driver writes this to a file. The next run of the program begins with it.
/// let file = session.journal_snapshot();
/// let restored = Restored::decode(&file)?;
/// assert!(restored.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub(crate) session: String,
    pub(crate) last_id: u64,
    pub(crate) last_number: u64,
    pub(crate) messages: VecDeque<Kept>,
    whole: usize,
    torn: usize,
}

/// A send that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    pub(crate) id: Option<u64>,
    pub(crate) channel: Option<Text>,
    pub(crate) event: Option<Text>,
    pub(crate) payload: Data,
}

impl Restored {
    /// Reads a file. What a crash in the middle of an append has left at its end is left out, and told by [`torn`](Self::torn).
    ///
    /// Fails with `outbox_damaged` where the beginning or something before whole records is not what was written, or
    /// where a later version has written it: nothing can be said then about what is missing.
    pub fn decode(file: &[u8]) -> Result<Self, Error> {
        if file.is_empty() {
            return Err(damaged("the file is empty, which it never is by itself".to_owned()));
        }
        if !file.starts_with(MAGIC) {
            return Err(damaged("it does not begin as the file of an outbox".to_owned()));
        }
        match file.get(MAGIC.len()..HEAD).map(|version| number(version, 4)) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(damaged(format!(
                    "its version is {version} and this program reads version {VERSION}; a later release may have written it"
                )));
            }
            None => return Err(damaged(format!("it ends at byte {}, within its beginning", file.len()))),
        }
        let mut restored = Restored::default();
        let mut at = HEAD;
        while at < file.len() {
            let Some(body) = record(&file[at..]) else {
                if let Some(next) = (at + 1..file.len()).find(|next| restored.may_follow(&file[*next..], file.len())) {
                    return Err(damaged(format!(
                        "the record at byte {at} is damaged, and whole ones follow at byte {next}"
                    )));
                }
                break;
            };
            restored.apply(body, at == HEAD).map_err(|what| damaged(format!("the record at byte {at} {what}")))?;
            at += FRAMING + body.len();
        }
        if restored.session.is_empty() {
            return Err(damaged(format!("it ends at byte {}, within its beginning", file.len())));
        }
        (restored.whole, restored.torn) = (at, file.len() - at);
        Ok(restored)
    }

    /// How many sends there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of whole records at the beginning of the file; what follows is not whole.
    pub fn whole(&self) -> usize {
        self.whole
    }

    /// Bytes at the end of the file that are no whole record.
    pub fn torn(&self) -> usize {
        self.torn
    }

    /// Whether a whole record begins here that could stand somewhere behind what was read. What costs time comes last, since this is
    /// asked for every byte.
    fn may_follow(&self, bytes: &[u8], file: usize) -> bool {
        let Some(head) = bytes.get(..FRAMING + 1) else { return false };
        let may = match (head[FRAMING], number(head, 4)) {
            (GIVEN | ENDED, length) => length == 17,
            (KEPT, _) => {
                let at = number(&bytes[FRAMING + 1..], 8);
                (self.last_number..=self.last_number.saturating_add(file as u64)).contains(&at)
            }
            _ => false,
        };
        may && record(bytes).is_some()
    }

    fn apply(&mut self, body: &[u8], first: bool) -> Result<(), &'static str> {
        let (kind, rest) = body.split_first().ok_or("is empty")?;
        if (*kind == START) != first {
            return Err("is not where it belongs");
        }
        match *kind {
            START => self.start(rest),
            KEPT => self.kept(rest),
            GIVEN if rest.len() == 16 => self.given(number(rest, 8), number(&rest[8..], 8)),
            ENDED if rest.len() == 16 => self.ended(number(rest, 8), number(&rest[8..], 8)),
            _ => Err("is of an unknown kind"),
        }
    }

    fn start(&mut self, rest: &[u8]) -> Result<(), &'static str> {
        let session = rest.get(16..).and_then(|session| std::str::from_utf8(session).ok());
        let session = session.filter(|session| crate::config::is_session(session)).ok_or("names no session")?;
        self.session = session.to_owned();
        (self.last_id, self.last_number) = (number(rest, 8), number(&rest[8..], 8));
        if self.last_id < MAX_ID { Ok(()) } else { Err("has an id out of range") }
    }

    fn kept(&mut self, rest: &[u8]) -> Result<(), &'static str> {
        const CUT: &str = "is shorter than it says";
        let (head, rest) = rest.split_at_checked(19).ok_or(CUT)?;
        let (at, id, flags) = (number(head, 8), number(&head[8..], 8), head[16]);
        let (channel, rest) = rest.split_at_checked(usize::from(head[17])).ok_or(CUT)?;
        let (event, payload) = rest.split_at_checked(usize::from(head[18])).ok_or(CUT)?;
        if self.messages.back().is_some_and(|last| last.number >= at) {
            return Err("repeats a number");
        }
        let ordered = self.messages.back().is_none_or(|last| match last.id {
            Some(last) => id == 0 || id > last,
            None => id == 0,
        });
        if !ordered || id > self.last_id {
            return Err("has an id out of order");
        }
        let payload = Bytes::copy_from_slice(payload);
        let payload = if flags & BINARY != 0 { Data::Binary(payload) } else { Data::Json(payload) };
        let (channel, event) = (name(flags & IN_CHANNEL, channel)?, name(flags & NAMED, event)?);
        if event.is_none() && (channel.is_some() || matches!(payload, Data::Json(_))) {
            return Err("has no event");
        }
        self.last_number = self.last_number.max(at);
        self.messages.push_back(Kept { number: at, id: (id != 0).then_some(id), channel, event, payload });
        Ok(())
    }

    fn given(&mut self, first: u64, last: u64) -> Result<(), &'static str> {
        if last >= MAX_ID {
            return Err("has an id out of range");
        }
        if first <= self.last_id || last < first {
            return Err("takes ids back");
        }
        let from = self.messages.partition_point(|message| message.id.is_some());
        if last - first >= (self.messages.len() - from) as u64 {
            return Err("gives ids to more messages than there are");
        }
        for (message, id) in self.messages.iter_mut().skip(from).zip(first..=last) {
            message.id = Some(id);
        }
        self.last_id = last;
        Ok(())
    }

    fn ended(&mut self, first: u64, last: u64) -> Result<(), &'static str> {
        let from = self.messages.partition_point(|message| message.number < first);
        let to = self.messages.partition_point(|message| message.number <= last);
        // Without a hole, so that each of them is known.
        if first > last || from >= to || last - first != (to - from - 1) as u64 {
            return Err("ends messages that are not there");
        }
        self.messages.drain(from..to);
        Ok(())
    }
}

/// The body of the record that these bytes begin with.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let (framing, rest) = bytes.split_at_checked(FRAMING)?;
    let body = rest.get(..number(framing, 4) as usize).filter(|body| !body.is_empty())?;
    (u64::from(crc32fast::hash(body)) == number(&framing[4..], 4)).then_some(body)
}

fn name(flag: u8, bytes: &[u8]) -> Result<Option<Text>, &'static str> {
    if flag == 0 {
        return if bytes.is_empty() { Ok(None) } else { Err("has a name that it does not have") };
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "has a name that is not UTF-8")?;
    validate_name("", text).map_err(|_| "has an empty name")?;
    Ok(Some(Text::from(text)))
}

/// The first bytes as an integer; there are so many.
fn number(bytes: &[u8], length: usize) -> u64 {
    bytes.iter().take(length).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn damaged(what: String) -> Error {
    Error::new(ErrorKind::OutboxDamaged, what)
}

/// The records of a durable outbox that its file does not have yet, and how much of the file is of use.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) last_number: u64,
    waiting: Vec<u8>,
    /// Where the record of a send stands that is not accepted before it is in the file.
    accepting: Option<usize>,
    /// Where the last record stands, and its range, where the next one may be of the same kind and go on from there.
    range: Option<(usize, u8, u64, u64)>,
    file: u64,
    live: u64,
    /// The last write has failed.
    pub(crate) failing: bool,
}

impl Journal {
    pub(crate) fn new(last_number: u64) -> Self {
        Self { last_number, ..Self::default() }
    }

    /// Numbers a send and notes it.
    pub(crate) fn keep(&mut self, channel: Option<&str>, event: Option<&str>, payload: &Data) -> u64 {
        self.last_number += 1;
        let at = self.waiting.len();
        self.range = None;
        encode_kept(&mut self.waiting, self.last_number, None, channel, event, payload);
        self.live += (self.waiting.len() - at) as u64;
        self.accepting = Some(at);
        self.last_number
    }

    /// The send that was noted last is refused.
    pub(crate) fn retract(&mut self) -> bool {
        let Some(at) = self.accepting.take() else { return false };
        self.live -= (self.waiting.len() - at) as u64;
        self.waiting.truncate(at);
        // The next send takes the number: nobody has seen it.
        self.last_number -= 1;
        true
    }

    /// The oldest message without an id has this one.
    pub(crate) fn given(&mut self, id: u64) {
        self.range(GIVEN, id);
    }

    /// A message has ended; its record was of this size.
    pub(crate) fn ended(&mut self, number: u64, size: usize) {
        self.live = self.live.saturating_sub(size as u64);
        self.range(ENDED, number);
    }

    /// A record of this number, or one more number in the record before.
    fn range(&mut self, kind: u8, number: u64) {
        let (mut at, mut first) = (self.waiting.len(), number);
        if let Some((last_at, last_kind, last_first, last)) = self.range
            && (last_kind, last + 1) == (kind, number)
        {
            (at, first) = (last_at, last_first);
            self.waiting.truncate(at);
        }
        encode(&mut self.waiting, kind, |out| {
            out.extend(first.to_be_bytes());
            out.extend(number.to_be_bytes());
        });
        self.range = Some((at, kind, first, number));
    }

    pub(crate) fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    pub(crate) fn is_written(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waited is in the file.
    pub(crate) fn written(&mut self) {
        self.file += self.waiting.len() as u64;
        self.waiting.clear();
        (self.accepting, self.range, self.failing) = (None, None, false);
    }

    /// The file was begun anew, with everything.
    pub(crate) fn began(&mut self, file: u64) {
        self.waiting.clear();
        (self.accepting, self.range, self.failing) = (None, None, false);
        (self.file, self.live) = (file, file);
    }

    /// Whether the file holds so much of what has ended that it should be begun anew.
    pub(crate) fn is_wasteful(&self) -> bool {
        self.file.saturating_sub(self.live) > MIN_GARBAGE.max(self.live.saturating_mul(2))
    }
}

/// A file that begins with these messages.
pub(crate) fn snapshot<'a>(
    session: &str,
    last_id: u64,
    last_number: u64,
    messages: impl Iterator<Item = (u64, Option<u64>, Option<&'a str>, Option<&'a str>, &'a Data)>,
) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_be_bytes());
    encode(&mut out, START, |out| {
        out.extend(last_id.to_be_bytes());
        out.extend(last_number.to_be_bytes());
        out.extend(session.as_bytes());
    });
    for (number, id, channel, event, payload) in messages {
        encode_kept(&mut out, number, id, channel, event, payload);
    }
    out
}

/// Bytes of the record of a send.
pub(crate) fn size_of(channel: Option<&str>, event: Option<&str>, payload: &Data) -> usize {
    FRAMING + 20 + channel.map_or(0, str::len) + event.map_or(0, str::len) + payload.bytes().len()
}

fn encode_kept(
    out: &mut Vec<u8>,
    number: u64,
    id: Option<u64>,
    channel: Option<&str>,
    event: Option<&str>,
    payload: &Data,
) {
    let flags = if matches!(payload, Data::Binary(_)) { BINARY } else { 0 }
        | channel.map_or(0, |_| IN_CHANNEL)
        | event.map_or(0, |_| NAMED);
    // Names have at most 255 bytes.
    let length = |name: Option<&str>| name.map_or(0, str::len) as u8;
    out.reserve(size_of(channel, event, payload));
    encode(out, KEPT, |out| {
        out.extend(number.to_be_bytes());
        out.extend(id.unwrap_or(0).to_be_bytes());
        out.extend([flags, length(channel), length(event)]);
        out.extend(channel.unwrap_or_default().as_bytes());
        out.extend(event.unwrap_or_default().as_bytes());
        out.extend_from_slice(payload.bytes());
    });
}

fn encode(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; FRAMING]);
    out.push(kind);
    body(out);
    let crc = crc32fast::hash(&out[at + FRAMING..]);
    // A payload of 4 GiB is refused before.
    let length = (out.len() - at - FRAMING) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    out[at + 4..at + 8].copy_from_slice(&crc.to_be_bytes());
}
