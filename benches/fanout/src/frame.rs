//! Frames as bytes: WebSocket, masked out and unmasked in, and the lines of NATS.

use std::io;
use std::ops::Range;

use memchr::memchr;

pub(crate) const TEXT: u8 = 1;
pub(crate) const PONG: u8 = 10;

/// How a stream of bytes is cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    WebSocket,
    Nats,
}

/// Something whole in the input.
#[derive(Debug)]
pub(crate) enum Piece {
    Message(Range<usize>),
    Ping(Range<usize>),
    Nothing,
    Close,
}

impl Framing {
    /// The piece at the beginning of `input[at..]` and where it ends; `None` where it is not whole yet.
    pub(crate) fn cut(self, input: &[u8], at: usize) -> io::Result<Option<(Piece, usize)>> {
        match self {
            Framing::WebSocket => cut_frame(input, at),
            Framing::Nats => cut_line(input, at),
        }
    }
}

fn cut_frame(input: &[u8], at: usize) -> io::Result<Option<(Piece, usize)>> {
    let bytes = &input[at..];
    if bytes.len() < 2 {
        return Ok(None);
    }
    if bytes[0] & 0xf0 != 0x80 || bytes[1] & 0x80 != 0 {
        return Err(io::Error::other("a fragmented, compressed or masked frame"));
    }
    let (head, length) = match bytes[1] {
        126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 if bytes.len() >= 10 => {
            let mut length = [0; 8];
            length.copy_from_slice(&bytes[2..10]);
            (10, u64::from_be_bytes(length) as usize)
        }
        126 | 127 => return Ok(None),
        length => (2, usize::from(length)),
    };
    if bytes.len() < head + length {
        return Ok(None);
    }
    let payload = at + head..at + head + length;
    let end = payload.end;
    let piece = match bytes[0] & 0x0f {
        1 | 2 => Piece::Message(payload),
        8 => Piece::Close,
        9 => Piece::Ping(payload),
        _ => Piece::Nothing,
    };
    Ok(Some((piece, end)))
}

fn cut_line(input: &[u8], at: usize) -> io::Result<Option<(Piece, usize)>> {
    let Some(length) = memchr(b'\n', &input[at..]) else { return Ok(None) };
    let line = at..(at + length).saturating_sub(1);
    let end = at + length + 1;
    let text = &input[line.clone()];
    if text.starts_with(b"MSG ") {
        let size =
            text.rsplit(|byte| *byte == b' ').next().and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
        let Some(size): Option<usize> = size else { return Err(io::Error::other("a message without a size")) };
        let payload = end..end + size;
        let end = payload.end + 2;
        return Ok((input.len() >= end).then_some((Piece::Message(payload), end)));
    }
    Ok(Some((if text == b"PING" { Piece::Ping(line) } else { Piece::Message(line) }, end)))
}

/// Appends a whole frame of a client. Its mask is zero, which every server takes and none can tell from others.
pub(crate) fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends what comes before the payload.
pub(crate) fn push_header(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(0x80 | length as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        for length in [0_usize, 125, 126, 65535, 65536] {
            let mut input = vec![b'x'];
            push(&mut input, TEXT, &vec![b'a'; length]);
            // As a server sends it: without a mask.
            let header = input.len() - 1 - length - 4;
            input[2] &= 0x7f;
            input.drain(1 + header..1 + header + 4);
            assert!(Framing::WebSocket.cut(&input[..input.len() - 1], 1).unwrap().is_none());
            let (piece, end) = Framing::WebSocket.cut(&input, 1).unwrap().unwrap();
            assert_eq!(end, input.len());
            assert!(matches!(piece, Piece::Message(payload) if payload.len() == length));
        }
    }

    #[test]
    fn lines_of_nats_are_cut_with_their_payload() {
        let input = b"PING\r\nMSG room 1 5\r\na\r\nbc\r\nPONG\r\n";
        let (piece, end) = Framing::Nats.cut(input, 0).unwrap().unwrap();
        assert!(matches!(piece, Piece::Ping(_)));
        assert!(Framing::Nats.cut(&input[..end + 20], end).unwrap().is_none());
        let (piece, end) = Framing::Nats.cut(input, end).unwrap().unwrap();
        assert!(matches!(piece, Piece::Message(payload) if &input[payload.clone()] == b"a\r\nbc"));
        let (piece, end) = Framing::Nats.cut(input, end).unwrap().unwrap();
        assert!(matches!(piece, Piece::Message(payload) if &input[payload.clone()] == b"PONG"));
        assert_eq!(end, input.len());
    }
}
