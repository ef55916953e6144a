//! A publish that was serialised once: only its number is written into it.

use memchr::memmem;

/// The payload S of the benches: the number of a message is in its `seq`.
const PAYLOAD: &str = include_str!("../../payloads/small.json");
const KEY: &[u8] = b"{\"seq\":";
/// Numbers have eight digits from here on.
const FIRST: u64 = 10_000_000;
const DIGITS: usize = 8;

/// The payload, whatever its number.
pub(crate) fn payload() -> &'static str {
    PAYLOAD.trim_end()
}

/// The number of the payload in a message; `None` where it is not whole, or not the one that was published.
pub(crate) fn sequence(message: &[u8]) -> Option<u64> {
    let begin = memmem::find(message, KEY)? + KEY.len();
    let digits = message.get(begin..begin + DIGITS)?;
    let rest = &payload().as_bytes()[KEY.len() + DIGITS..];
    if !message[begin + DIGITS..].starts_with(rest) {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        number = number * 10 + u64::from(digit.wrapping_sub(b'0'));
    }
    number.checked_sub(FIRST)
}

/// A message with the places where its number stands.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Template {
    /// Every `10000000` in it is a place.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let places = memmem::find_iter(&bytes, FIRST.to_string().as_bytes()).collect();
        Self { bytes, places }
    }

    pub(crate) fn push(&mut self, sequence: u64, out: &mut Vec<u8>) {
        let mut digits = [0; DIGITS];
        let mut rest = FIRST + sequence;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for place in &self.places {
            self.bytes[*place..place + DIGITS].copy_from_slice(&digits);
        }
        out.extend_from_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_published_is_recognised() {
        let mut template = Template::new(format!("{{\"id\":{FIRST},\"payload\":{}}}", payload()).into());
        let mut out = Vec::new();
        template.push(4711, &mut out);
        assert!(out.starts_with(b"{\"id\":10004711,"));
        assert_eq!(sequence(&out), Some(4711));
        assert_eq!(sequence(&out[..out.len() - 2]), None, "not whole");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(sequence(text.replace("lobby", "Lobby").as_bytes()), None, "changed");
    }
}
