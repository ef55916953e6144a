//! WebSocket frames as bytes: unmasked out, masked in.

use std::io;
use std::ops::Range;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Appends the header of a whole frame.
pub(crate) fn header(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A frame of the client, unmasked in place: its opcode, and where its payload lies.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) opcode: u8,
    pub(crate) payload: Range<usize>,
}

/// The frame at the beginning of `input[at..]`; `None` where it is not whole yet.
pub(crate) fn parse(input: &mut [u8], at: usize) -> io::Result<Option<Incoming>> {
    let bytes = &input[at..];
    if bytes.len() < 2 {
        return Ok(None);
    }
    if bytes[0] & 0xf0 != 0x80 || bytes[1] & 0x80 == 0 {
        return Err(io::Error::other("a fragmented, compressed or unmasked frame"));
    }
    let opcode = bytes[0] & 0x0f;
    let (extra, length) = match bytes[1] & 0x7f {
        126 if bytes.len() >= 4 => (2, u64::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 if bytes.len() >= 10 => {
            let mut length = [0; 8];
            length.copy_from_slice(&bytes[2..10]);
            (8, u64::from_be_bytes(length))
        }
        126 | 127 => return Ok(None),
        length => (0, u64::from(length)),
    };
    let begin = at + 2 + extra + 4;
    let end = begin + length as usize;
    if input.len() < end {
        return Ok(None);
    }
    let mut mask = [0; 4];
    mask.copy_from_slice(&input[begin - 4..begin]);
    unmask(&mut input[begin..end], mask);
    Ok(Some(Incoming { opcode, payload: begin..end }))
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u32::from_ne_bytes(mask);
    let wide = (u64::from(wide) << 32) | u64::from(wide);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reads_what_a_client_masks() {
        for length in [0, 1, 7, 125, 126, 65535, 65536] {
            let payload: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let mut input = Vec::new();
            header(&mut input, TEXT, length);
            input[1] |= 0x80;
            input.extend_from_slice(&[1, 2, 3, 4]);
            input.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key));
            let whole = input.len();
            assert!(parse(&mut input[..whole - 1], 0).unwrap().is_none());
            let frame = parse(&mut input, 0).unwrap().unwrap();
            assert_eq!(frame.opcode, TEXT);
            assert_eq!(&input[frame.payload], &payload[..]);
        }
    }
}
