//! The fast path: a channel message whose keys stand in the order that the specification gives.

use std::borrow::Cow;

use super::{Message, Payload};

/// Splits a line by bytes; `None` sends any other order, escape or message to the slow path.
pub(super) fn split(line: &[u8]) -> Option<Message<'_>> {
    let rest = line.strip_prefix(br#"{"type":"message","channel":""#)?;
    let (channel, rest) = name(rest)?;
    let (event, rest) = name(rest.strip_prefix(br#","event":""#)?)?;
    let (offset, rest) = number(rest.strip_prefix(br#","offset":"#)?)?;
    let (user, rest) = match rest.strip_prefix(br#","user":""#) {
        Some(rest) => name(rest).map(|(user, rest)| (Some(Cow::Borrowed(user)), rest))?,
        None => (None, rest),
    };
    let (timestamp, rest) = number(rest.strip_prefix(br#","timestamp":"#)?)?;
    let payload = rest.strip_prefix(br#","payload":"#)?.trim_ascii_end().strip_suffix(b"}")?;
    if payload.is_empty() {
        return None;
    }
    Some(Message {
        channel: Cow::Borrowed(channel),
        event: Cow::Borrowed(event),
        offset,
        user,
        timestamp,
        payload: Payload::Json(payload),
    })
}

/// Up to the closing quote; `None` where an escape makes the bytes another string.
fn name(rest: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr2(b'"', b'\\', rest)?;
    if rest[end] == b'\\' {
        return None;
    }
    Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]))
}

/// Digits without a leading zero, as JSON has them; at most 16, which no number of the protocol exceeds.
fn number(rest: &[u8]) -> Option<(u64, &[u8])> {
    let end = rest.iter().take(17).position(|byte| !byte.is_ascii_digit())?;
    if end == 0 || (end > 1 && rest[0] == b'0') {
        return None;
    }
    let value = rest[..end].iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    Some((value, &rest[end..]))
}
