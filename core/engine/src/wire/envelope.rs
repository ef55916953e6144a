//! The fast path: a message, receipt or change whose keys stand in the order that the specification gives.

use std::borrow::Cow;

use super::{Change, Message, Op, Payload, Receipt, ServerMessage};

/// Splits a line by bytes; `None` sends any other order, escape or message to the slow path.
pub(super) fn split(line: &[u8]) -> Option<ServerMessage<'_>> {
    if let Some(rest) = line.strip_prefix(br#"{"type":"receipt","id":"#) {
        return split_receipt(rest).map(ServerMessage::Receipt);
    }
    if let Some(rest) = line.strip_prefix(br#"{"type":"change","channel":""#) {
        return split_change(rest).map(ServerMessage::Change);
    }
    split_message(line).map(ServerMessage::Message)
}

pub(super) fn split_message(line: &[u8]) -> Option<Message<'_>> {
    let (channel, rest) = name(line.strip_prefix(br#"{"type":"message","channel":""#)?)?;
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

/// Of a publish that was not accepted before.
fn split_receipt(rest: &[u8]) -> Option<Receipt<'_>> {
    let (id, rest) = number(rest)?;
    let (epoch, rest) = name(rest.strip_prefix(br#","epoch":""#)?)?;
    let (offset, rest) = number(rest.strip_prefix(br#","offset":"#)?)?;
    let whole = rest.trim_ascii_end() == b"}";
    whole.then_some(Receipt { id, epoch: Some(Cow::Borrowed(epoch)), offset: Some(offset), duplicate: false })
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
    let (first, len) = leading_digits(rest);
    if len < 8 {
        let canonical = len > 0 && (len == 1 || rest[0] != b'0');
        return canonical.then(|| (first, &rest[len..]));
    }
    let (second, more) = leading_digits(&rest[8..]);
    let ends = more < 8 || !rest.get(16).is_some_and(u8::is_ascii_digit);
    (ends && rest[0] != b'0').then(|| (first * POWERS[more] + second, &rest[8 + more..]))
}

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that the first bytes are, up to eight of them, and how many are digits.
fn leading_digits(rest: &[u8]) -> (u64, usize) {
    let chunk = rest.first_chunk().copied().unwrap_or_else(|| {
        let mut chunk = [0; 8];
        chunk[..rest.len()].copy_from_slice(rest);
        chunk
    });
    let values = u64::from_le_bytes(chunk) ^ 0x3030_3030_3030_3030;
    // The high bit of each byte that is no digit; a carry only spoils bytes behind the first of those.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() as usize / 8;
    if count == 0 {
        return (0, 0);
    }
    // Zeros in front; then neighbours are joined, the first one higher: digits to pairs, those to fours, those to eight.
    let digits = values << (64 - 8 * count);
    let pairs = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    let eight = (fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0x0000_0000_FFFF_FFFF;
    (eight, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digits(text: &str) -> Option<(u64, &[u8])> {
        number(text.as_bytes())
    }

    #[test]
    fn numbers_are_read_as_json_has_them() {
        assert_eq!(digits("0,"), Some((0, &b","[..])));
        assert_eq!(digits("7"), Some((7, &b""[..])));
        assert_eq!(digits("12345678}"), Some((12_345_678, &b"}"[..])));
        assert_eq!(digits("9007199254740991,\"payload\""), Some((9_007_199_254_740_991, &b",\"payload\""[..])));
        assert_eq!(digits("9999999999999999"), Some((9_999_999_999_999_999, &b""[..])));
        // A fraction or an exponent is left, and is no comma.
        assert_eq!(digits("12.5"), Some((12, &b".5"[..])));
        for refused in ["", ",", "-1", "01", "00", "0123456789", "12345678901234567", "123456789012345678901234567890"]
        {
            assert_eq!(digits(refused), None, "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_read_whatever_follows(value in 0..10u64.pow(16), rest in "[^0-9].{0,12}") {
            let text = format!("{value}{rest}");
            prop_assert_eq!(digits(&text), Some((value, rest.as_bytes())));
        }

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
