use memchr::memmem;

/// Numbers in templates have eight digits, and begin here.
pub(crate) const FIRST: u64 = 10_000_000;
const DIGITS: &[u8] = b"10000000";

/// The messages of one channel, serialised but for two numbers of fixed width.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    sequence: usize,
    offset: Option<usize>,
    next_offset: u64,
}

impl Template {
    /// `message` holds `"seq":10000000`, and may hold 10000000 once more, before it or behind it: its offset in the
    /// channel, of which the first is the one after `position`.
    pub(crate) fn new(message: Vec<u8>, position: u64) -> Option<Self> {
        let sequence = after(&message, b"\"seq\":")?;
        let behind = sequence + DIGITS.len();
        let offset = memmem::find(&message[..sequence], DIGITS)
            .or_else(|| memmem::find(&message[behind..], DIGITS).map(|at| behind + at));
        Some(Self { bytes: message, sequence, offset, next_offset: position + 1 })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next message, with this sequence number.
    pub(crate) fn next(&mut self, sequence: u64) -> &[u8] {
        write(&mut self.bytes, self.sequence, FIRST + sequence);
        if let Some(offset) = self.offset {
            write(&mut self.bytes, offset, self.next_offset);
            self.next_offset += 1;
        }
        &self.bytes
    }

    /// The same with a payload that is no JSON.
    pub(crate) fn next_spoilt(&mut self, sequence: u64) -> &[u8] {
        self.next(sequence);
        // Until the next message has its own digits there.
        self.bytes[self.sequence] = b'x';
        &self.bytes
    }
}

/// The sequence number of a message that a client sent.
pub(crate) fn sequence(message: &[u8]) -> Option<u64> {
    let digits = &message[after(message, b"\"seq\":")?..];
    let digits = digits.strip_prefix(b" ").unwrap_or(digits);
    let mut value = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value * 10 + u64::from(digit - b'0');
    }
    value.checked_sub(FIRST)
}

fn after(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find(bytes, needle).map(|at| at + needle.len())
}

fn write(bytes: &mut [u8], at: usize, mut value: u64) {
    for digit in bytes[at..at + 8].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn writes_both_numbers_wherever_the_offset_stands() {
        let mut before = Template::new(br#"{"offset":10000000,"data":{"seq":10000000}}"#.into(), FIRST + 7).unwrap();
        assert_eq!(before.next(3), br#"{"offset":10000008,"data":{"seq":10000003}}"#);
        assert_eq!(before.next_spoilt(4), br#"{"offset":10000009,"data":{"seq":x0000004}}"#);
        assert_eq!(before.next(5), br#"{"offset":10000010,"data":{"seq":10000005}}"#);
        let mut behind = Template::new(br#"42["room",{"seq":10000000},"10000000"]"#.into(), FIRST).unwrap();
        assert_eq!(behind.next(0), br#"42["room",{"seq":10000000},"10000001"]"#);
        let mut without = Template::new(br#"{"seq":10000000}"#.into(), FIRST).unwrap();
        assert_eq!(without.next(1), br#"{"seq":10000001}"#);
    }
}
