use std::fmt;

/// What replicas of a collection compare: how many records, and a sum over them that no order changes (section 14 of the
/// specification). Adding and removing one record costs that record, whatever the size of the collection.
///
/// ```
/// use realtime_engine::wire::Digest;
///
/// let mut digest = Digest::default();
/// digest.add("a", br#"{"id":"a"}"#);
/// digest.add("b", br#"{"id":"b"}"#);
/// digest.remove("a", br#"{"id":"a"}"#);
/// assert_eq!((digest.records, digest.to_string().as_str()), (1, "852796c4139b92af"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How many records.
    pub records: u64,
    /// The sum of their hashes modulo 2^64.
    pub sum: u64,
}

impl Digest {
    /// A record is there.
    pub fn add(&mut self, key: &str, record: &[u8]) {
        self.records += 1;
        self.sum = self.sum.wrapping_add(hash(key, record));
    }

    /// A record that was added is gone.
    pub fn remove(&mut self, key: &str, record: &[u8]) {
        self.records = self.records.saturating_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, record));
    }

    /// The sum from its 16 digits on the wire.
    pub(crate) fn parse_sum(text: &str) -> Option<u64> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    }
}

/// The sum as on the wire: 16 hexadecimal digits in lower case.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.sum)
    }
}

/// FNV-1a of the key, the byte FF, which no UTF-8 has, and the record.
fn hash(key: &str, record: &[u8]) -> u64 {
    let bytes = key.bytes().chain([0xff]).chain(record.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
