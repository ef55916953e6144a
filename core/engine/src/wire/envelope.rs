//! The fast path: a message or change whose keys stand in the order that the specification gives.

use std::borrow::Cow;

use super::{Change, Message, Op, Payload, ServerMessage};

/// Splits a line by bytes; `None` sends any other order, escape or message to the slow path.
pub(super) fn split(line: &[u8]) -> Option<ServerMessage<'_>> {
    match line.strip_prefix(br#"{"type":"message","channel":""#) {
        Some(rest) => split_message(rest).map(ServerMessage::Message),
        None => split_change(line.strip_prefix(br#"{"type":"change","channel":""#)?).map(ServerMessage::Change),
    }
}

fn split_message(rest: &[u8]) -> Option<Message<'_>> {
    let (channel, rest) = name(rest)?;
    let (event, rest) = name(rest.strip_prefix(br#","event":""#)?)?;
    let (offset, user, timestamp, rest) = origin(rest)?;
    let payload = payload(rest)?;
    Some(Message {
        channel: Cow::Borrowed(channel),
        event: Cow::Borrowed(event),
        offset,
        user: user.map(Cow::Borrowed),
        timestamp,
        payload: Payload::Json(payload),
    })
}

fn split_change(rest: &[u8]) -> Option<Change<'_>> {
    let (channel, rest) = name(rest)?;
    let (collection, rest) = name(rest.strip_prefix(br#","collection":""#)?)?;
    let (op, rest) = name(rest.strip_prefix(br#","op":""#)?)?;
    let (key, rest) = name(rest.strip_prefix(br#","key":""#)?)?;
    let (offset, user, timestamp, rest) = origin(rest)?;
    let op = match op {
        "insert" => Op::Insert(payload(rest)?),
        "update" => Op::Update(payload(rest)?),
        "remove" if trim(rest) == b"}" => Op::Remove,
        _ => return None,
    };
    Some(Change {
        channel: Cow::Borrowed(channel),
        collection: Cow::Borrowed(collection),
        op,
        key: Cow::Borrowed(key),
        offset,
        user: user.map(Cow::Borrowed),
        timestamp,
    })
}

/// `offset`, `user`, `timestamp`, and what follows.
type Origin<'a> = (u64, Option<&'a str>, u64, &'a [u8]);

fn origin(rest: &[u8]) -> Option<Origin<'_>> {
    let (offset, rest) = number(rest.strip_prefix(br#","offset":"#)?)?;
    let (user, rest) = match rest.strip_prefix(br#","user":""#) {
        Some(rest) => name(rest).map(|(user, rest)| (Some(user), rest))?,
        None => (None, rest),
    };
    let (timestamp, rest) = number(rest.strip_prefix(br#","timestamp":"#)?)?;
    Some((offset, user, timestamp, rest))
}

/// All but the brace that ends the line; `None` where that cannot be one value, so that other keys behind it are found.
fn payload(rest: &[u8]) -> Option<&[u8]> {
    let payload = trim(trim(rest.strip_prefix(br#","payload":"#)?).strip_suffix(b"}")?);
    ends_as_it_begins(payload).then_some(payload)
}

/// Whether these bytes can be one JSON value, from a look at their ends; only a string or a number is looked at whole.
fn ends_as_it_begins(value: &[u8]) -> bool {
    match value {
        [b'{', .., b'}'] | [b'[', .., b']'] | b"true" | b"false" | b"null" => true,
        [b'"', rest @ ..] => is_rest_of_string(rest),
        [b'-' | b'0'..=b'9', ..] => {
            value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        }
        _ => false,
    }
}

fn is_rest_of_string(mut rest: &[u8]) -> bool {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return at + 1 == rest.len();
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

/// JSON knows no other space.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Up to the closing quote; `None` where an escape makes the bytes another string, or where there is what needs one.
fn name(rest: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr2(b'"', b'\\', rest)?;
    let (name, rest) = (&rest[..end], &rest[end..]);
    // All of them: names are short, and a search for the first takes them one by one.
    let bare = name.iter().fold(false, |bare, byte| bare | (*byte < b' '));
    if rest[0] == b'\\' || bare {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?, &rest[1..]))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the names are: the fast path, or the slow one that it leaves them to, reads what was written.
        #[test]
        fn changes_are_read_as_they_were_written(
            names in [any::<String>(), any::<String>(), any::<String>()],
            user in proptest::option::of(any::<String>()),
            numbers in [0..1u64 << 53, 0..1u64 << 53],
            op in 0..3u8,
        ) {
            let [channel, collection, key] = names.map(Cow::Owned);
            let op = match op {
                0 => Op::Insert(br#"{"id":"}"}"#),
                1 => Op::Update(b"{}"),
                _ => Op::Remove,
            };
            let user = user.map(Cow::Owned);
            let [offset, timestamp] = numbers;
            let message = ServerMessage::Change(Change { channel, collection, op, key, offset, user, timestamp });
            let mut line = Vec::new();
            message.encode(&mut line);
            prop_assert_eq!(&ServerMessage::decode(&line).unwrap(), &message);
            prop_assert_eq!(&ServerMessage::decode_any_order(&line).unwrap(), &message);
        }
    }
}
