use memchr::memmem;

/// Numbers in templates have eight digits, and begin here.
pub(crate) const FIRST: u64 = 10_000_000;

/// The messages of one channel, serialised but for two numbers of fixed width.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    sequence: usize,
    offset: Option<usize>,
    next_offset: u64,
}

impl Template {
    /// `message` holds `"seq":10000000`, and may hold `"offset":10000000` before it.
    pub(crate) fn new(message: Vec<u8>) -> Option<Self> {
        let sequence = after(&message, b"\"seq\":")?;
        let offset = after(&message[..sequence], b"\"offset\":");
        Some(Self { bytes: message, sequence, offset, next_offset: FIRST + 1 })
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
