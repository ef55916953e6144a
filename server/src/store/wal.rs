//! Looks for damage in the write-ahead log that SQLite, which takes any bad frame for the end, would pass over.
//!
//! A crash leaves at most one transaction that is not whole, and it is the last: every commit is on disk before the next one
//! begins. So two commits after the first bad frame prove that something was damaged that had been acknowledged.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// What is wrong with a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Nothing in it can be read.
    Header,
    /// Whole transactions come after this many good bytes and something bad.
    Middle { good: u64, lost: u64 },
}

/// Reads a log; a missing or empty one is whole.
pub(super) fn check(path: &Path) -> io::Result<Option<Damage>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let empty = file.metadata()?.len() == 0;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER];
    if empty {
        return Ok(None);
    }
    let Some(log) = read(&mut input, &mut header)?.then(|| Log::new(&header)).flatten() else {
        return Ok((!is_blank(&header, &mut input)?).then_some(Damage::Header));
    };
    log.check(&mut input)
}

struct Log {
    big_endian: bool,
    page: usize,
    salts: [u8; 8],
    sum: (u32, u32),
}

impl Log {
    fn new(header: &[u8; HEADER]) -> Option<Self> {
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let big_endian = match number(0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let sum = checksum(big_endian, (0, 0), &header[..24]);
        let page = number(8) as usize;
        let salts = header[16..24].try_into().ok()?;
        (sum == (number(24), number(28)) && (512..=65536).contains(&page)).then_some(Self {
            big_endian,
            page,
            salts,
            sum,
        })
    }

    fn check(self, input: &mut impl Read) -> io::Result<Option<Damage>> {
        let mut frame = vec![0; FRAME_HEADER + self.page];
        let mut sum = self.sum;
        let (mut at, mut good, mut bad, mut lost) = (HEADER as u64, HEADER as u64, false, 0);
        while read(input, &mut frame)? {
            at += frame.len() as u64;
            let commits = frame[4..8] != [0; 4];
            if frame[8..16] != self.salts {
                // Left over from an earlier round, or damaged.
                bad = true;
                continue;
            }
            sum = checksum(self.big_endian, checksum(self.big_endian, sum, &frame[..8]), &frame[FRAME_HEADER..]);
            let word = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
            bad |= sum != (word(16), word(20));
            match (bad, commits) {
                (false, true) => good = at,
                (true, true) => lost += 1,
                _ => {}
            }
        }
        Ok((lost > 1).then_some(Damage::Middle { good, lost }))
    }
}

/// As SQLite computes it, over pairs of 32-bit words.
fn checksum(big_endian: bool, (mut a, mut b): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(pair)).wrapping_add(b);
        b = b.wrapping_add(word(&pair[4..])).wrapping_add(a);
    }
    (a, b)
}

/// `false` where the end comes first.
fn read(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A loss of power may leave a log that was made and never written.
fn is_blank(header: &[u8], input: &mut impl Read) -> io::Result<bool> {
    let mut rest = Vec::new();
    input.take(1 << 26).read_to_end(&mut rest)?;
    Ok(header.iter().chain(&rest).all(|byte| *byte == 0))
}
