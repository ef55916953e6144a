//! A record as bytes: kind, fields, checksum over the number and all before it.

use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::ErrorCode;

use crate::hub::{Outcome, Record};

const CHANNEL: u8 = 1;
const SESSION: u8 = 2;
const MESSAGE: u8 = 3;
const OUTCOME: u8 = 4;
const COLLECTION: u8 = 5;
const ITEM: u8 = 6;

const STORED: u8 = 1;
const SENT: u8 = 2;
const REFUSED: u8 = 3;
const UNCHANGED: u8 = 4;

pub(super) fn encode(number: u64, record: &Record, out: &mut Vec<u8>) {
    out.clear();
    match record {
        Record::Channel { name, epoch, last } => {
            out.push(CHANNEL);
            text(out, name);
            text(out, epoch);
            out.extend(last.to_le_bytes());
        }
        Record::Collection { channel, name, epoch, last } => {
            out.push(COLLECTION);
            text(out, channel);
            text(out, name);
            text(out, epoch);
            out.extend(last.to_le_bytes());
        }
        Record::Item { collection, key, revision, record } => {
            out.push(ITEM);
            out.extend(collection.to_le_bytes());
            text(out, key);
            out.extend(revision.to_le_bytes());
            out.extend(record);
        }
        Record::Session { user, session } => {
            out.push(SESSION);
            text(out, session);
            out.push(u8::from(user.is_some()));
            text(out, user.as_deref().unwrap_or(""));
        }
        Record::Message { channel, offset, timestamp, binary, line } => {
            out.push(MESSAGE);
            out.extend(channel.to_le_bytes());
            out.extend(offset.to_le_bytes());
            out.extend(timestamp.to_le_bytes());
            out.push(u8::from(*binary));
            out.extend(line);
        }
        Record::Outcome { session, request, outcome } => {
            out.push(OUTCOME);
            out.extend(session.to_le_bytes());
            out.extend(request.to_le_bytes());
            match outcome {
                Outcome::Stored { epoch, offset } => {
                    out.push(STORED);
                    text(out, epoch);
                    out.extend(offset.to_le_bytes());
                }
                Outcome::Unchanged { epoch, offset } => {
                    out.push(UNCHANGED);
                    text(out, epoch);
                    out.extend(offset.to_le_bytes());
                }
                Outcome::Sent => out.push(SENT),
                Outcome::Refused(code) => {
                    out.push(REFUSED);
                    text(out, code.as_str());
                }
            }
        }
    }
    let sum = checksum(number, out);
    out.extend(sum.to_le_bytes());
}

/// `None` where these are not the bytes that were written under this number.
pub(super) fn decode(number: u64, bytes: &[u8]) -> Option<Record> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if checksum(number, body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let mut input = Input(body);
    let record = match input.byte()? {
        CHANNEL => Record::Channel { name: input.text()?, epoch: input.text()?, last: input.number()? },
        COLLECTION => Record::Collection {
            channel: input.text()?,
            name: input.text()?,
            epoch: input.text()?,
            last: input.number()?,
        },
        ITEM => Record::Item {
            collection: input.number()?,
            key: input.text()?,
            revision: input.number()?,
            record: Bytes::copy_from_slice(std::mem::take(&mut input.0)),
        },
        SESSION => {
            let session = input.text()?;
            let known = input.byte()? == 1;
            let user = input.text()?;
            Record::Session { user: known.then_some(user), session }
        }
        MESSAGE => Record::Message {
            channel: input.number()?,
            offset: input.number()?,
            timestamp: input.number()?,
            binary: input.byte()? == 1,
            line: Bytes::copy_from_slice(std::mem::take(&mut input.0)),
        },
        OUTCOME => Record::Outcome {
            session: input.number()?,
            request: input.number()?,
            outcome: match input.byte()? {
                STORED => Outcome::Stored { epoch: input.text()?, offset: input.number()? },
                UNCHANGED => Outcome::Unchanged { epoch: input.text()?, offset: input.number()? },
                SENT => Outcome::Sent,
                REFUSED => Outcome::Refused(ErrorCode::parse(&input.text()?)?),
                _ => return None,
            },
        },
        _ => return None,
    };
    input.0.is_empty().then_some(record)
}

fn checksum(number: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Names have at most 255 bytes; a user is as long as its token was.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.extend(text.as_bytes());
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn records() -> Vec<Record> {
        let outcome = |outcome| Record::Outcome { session: 7, request: 8, outcome };
        vec![
            Record::Channel { name: "röom".into(), epoch: "e".into(), last: u64::MAX },
            Record::Collection { channel: "röom".into(), name: "täsks".into(), epoch: "e".into(), last: 7 },
            Record::Item { collection: 4, key: "ä".into(), revision: 6, record: "{\"id\":\"ä\"}".into() },
            Record::Session { user: None, session: "s".into() },
            Record::Session { user: Some("".into()), session: "s".into() },
            Record::Message { channel: 1, offset: 2, timestamp: 3, binary: true, line: "\u{1}bytes".into() },
            Record::Message { channel: 1, offset: 2, timestamp: 3, binary: false, line: Bytes::new() },
            outcome(Outcome::Stored { epoch: "e".into(), offset: 9 }),
            outcome(Outcome::Unchanged { epoch: "e".into(), offset: 9 }),
            outcome(Outcome::Sent),
            outcome(Outcome::Refused(ErrorCode::Forbidden)),
        ]
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut bytes = Vec::new();
        for record in records() {
            encode(5, &record, &mut bytes);
            assert_eq!(decode(5, &bytes), Some(record));
        }
    }

    #[test]
    fn a_changed_bit_a_lost_byte_and_another_number_are_seen() {
        let mut bytes = Vec::new();
        for record in records() {
            encode(5, &record, &mut bytes);
            assert_eq!(decode(6, &bytes), None);
            for end in 0..bytes.len() {
                assert_eq!(decode(5, &bytes[..end]), None);
            }
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(5, &bytes), None, "bit {bit} of {record:?}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
