//! WebSocket frames as a server reads and writes them (RFC 6455): masked in, bare out, no extensions.
//!
//! An own codec, so that a connection that says nothing has no buffers, and a frame for many subscribers is not copied for each.

use bytes::Bytes;
use realtime_engine::wire::{CloseCode, Frame};

use super::link::Close;

/// What a control frame may carry.
pub(super) const MAX_CONTROL: usize = 125;
/// The longest header of a frame without a mask.
const MAX_HEADER: usize = 10;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Something whole that the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Frame(Frame),
    /// The peer says goodbye, with this code.
    Close(Option<CloseCode>),
    /// A part of a message; more follows.
    Part,
}

/// Why nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the frame is too large")]
    TooLarge,
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("{0}")]
    Protocol(&'static str),
}

impl FrameError {
    /// What the peer is told.
    pub(super) fn close(self) -> Close {
        let code = match self {
            FrameError::TooLarge => CloseCode::TOO_BIG,
            FrameError::NotUtf8 => CloseCode(1007),
            FrameError::Protocol(_) => CloseCode(1002),
        };
        (code, self.to_string().into())
    }
}

/// Cuts what a client sends into messages.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The largest message that is read.
    largest: u64,
    /// The message whose parts are coming.
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    is_text: bool,
    bytes: Vec<u8>,
}

/// The beginning of a frame.
struct Header {
    is_last: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Where the payload begins.
    size: usize,
    length: u64,
}

impl Decoder {
    pub(super) fn new(largest: u64) -> Self {
        Self { largest, parts: None }
    }

    /// Reads the frame at the beginning of `input`, which is unmasked in place, and says how many bytes it takes. `None` where it
    /// is not whole yet. What is wrong with its header is said before the rest is there.
    pub(super) fn decode(&mut self, input: &mut [u8]) -> Result<Option<(Incoming, usize)>, FrameError> {
        let Some(header) = Header::parse(input)? else { return Ok(None) };
        self.check(&header)?;
        // Checked: it is at most `largest`, or a control frame.
        let end = header.size + header.length as usize;
        let Some(payload) = input.get_mut(header.size..end) else { return Ok(None) };
        unmask(payload, header.mask);
        Ok(Some((self.take(&header, payload)?, end)))
    }

    fn check(&self, header: &Header) -> Result<(), FrameError> {
        let parted = self.parts.as_ref().map(|parts| parts.bytes.len() as u64);
        match header.opcode {
            CLOSE | PING | PONG if !header.is_last => Err(FrameError::Protocol("a control frame comes in parts")),
            CLOSE | PING | PONG if header.length > MAX_CONTROL as u64 => {
                Err(FrameError::Protocol("a control frame is too long"))
            }
            CLOSE | PING | PONG => Ok(()),
            CONTINUATION if parted.is_none() => Err(FrameError::Protocol("a part of no message")),
            TEXT | BINARY if parted.is_some() => Err(FrameError::Protocol("a message within another")),
            CONTINUATION | TEXT | BINARY => {
                let length = header.length.saturating_add(parted.unwrap_or(0));
                if length > self.largest { Err(FrameError::TooLarge) } else { Ok(()) }
            }
            _ => Err(FrameError::Protocol("an unknown kind of frame")),
        }
    }

    fn take(&mut self, header: &Header, payload: &[u8]) -> Result<Incoming, FrameError> {
        match header.opcode {
            CLOSE => close_code(payload).map(Incoming::Close),
            PING => Ok(Incoming::Frame(Frame::Ping(Bytes::copy_from_slice(payload)))),
            PONG => Ok(Incoming::Frame(Frame::Pong(Bytes::copy_from_slice(payload)))),
            opcode if header.is_last && opcode != CONTINUATION => {
                message(opcode == TEXT, Bytes::copy_from_slice(payload))
            }
            opcode => {
                let parts = self.parts.get_or_insert_with(|| Parts { is_text: opcode == TEXT, bytes: Vec::new() });
                parts.bytes.extend_from_slice(payload);
                match self.parts.take_if(|_| header.is_last) {
                    Some(whole) => message(whole.is_text, whole.bytes.into()),
                    None => Ok(Incoming::Part),
                }
            }
        }
    }
}

fn message(is_text: bool, bytes: Bytes) -> Result<Incoming, FrameError> {
    if !is_text {
        return Ok(Incoming::Frame(Frame::Binary(bytes)));
    }
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(Incoming::Frame(Frame::Text(bytes))),
        Err(_) => Err(FrameError::NotUtf8),
    }
}

fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(FrameError::Protocol("half a close code")) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::Protocol("a close code that nobody may send"));
    }
    std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
    Ok(Some(CloseCode(code)))
}

impl Header {
    fn parse(input: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some((&[first, second], rest)) = input.split_first_chunk() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Protocol("reserved bits are set"));
        }
        if second & 0x80 == 0 {
            return Err(FrameError::Protocol("a frame of a client is not masked"));
        }
        let (length, extra) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (u64::from_be_bytes(*length), 8),
                None => return Ok(None),
            },
            length => (u64::from(length), 0),
        };
        let Some(&mask) = rest[extra..].first_chunk() else { return Ok(None) };
        Ok(Some(Self { is_last: first & 0x80 != 0, opcode: first & 0x0f, mask, size: 2 + extra + 4, length }))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask));
    let wide = (wide << 32) | wide;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// A frame on its way out: its body is shared with whoever else gets it.
#[derive(Debug)]
pub(super) struct Outgoing {
    header: [u8; MAX_HEADER],
    header_size: u8,
    body: Bytes,
}

impl Outgoing {
    pub(super) fn new(frame: Frame) -> Self {
        match frame {
            Frame::Text(body) => Self::of(TEXT, body),
            Frame::Binary(body) => Self::of(BINARY, body),
            Frame::Pong(body) => Self::of(PONG, body),
            _ => Self::of(PING, Bytes::new()),
        }
    }

    /// The last frame of a connection; without a code it answers one that had none.
    pub(super) fn close(close: Option<&Close>) -> Self {
        let mut body = Vec::new();
        if let Some((code, reason)) = close {
            body.extend_from_slice(&code.0.to_be_bytes());
            let mut end = reason.len().min(MAX_CONTROL - 2);
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            body.extend_from_slice(&reason.as_bytes()[..end]);
        }
        Self::of(CLOSE, body.into())
    }

    fn of(opcode: u8, body: Bytes) -> Self {
        let mut header = [0; MAX_HEADER];
        header[0] = 0x80 | opcode;
        let header_size = match body.len() {
            length @ 0..=125 => {
                header[1] = length as u8;
                2
            }
            length @ 126..=0xffff => {
                header[1] = 126;
                header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            length => {
                header[1] = 127;
                header[2..].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        Self { header, header_size, body }
    }

    pub(super) fn header(&self) -> &[u8] {
        &self.header[..usize::from(self.header_size)]
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn len(&self) -> usize {
        self.header().len() + self.body.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{self, Cursor, Read, Write};

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
    use tokio_tungstenite::tungstenite::{Error, Message};

    use super::*;

    const LARGEST: u64 = 70_000;

    /// How reading ends.
    #[derive(Debug, PartialEq, Eq)]
    enum End {
        More,
        Close(Option<u16>),
        TooLarge,
        NotUtf8,
        Protocol,
    }

    impl End {
        /// Others hand on a bad code as 1002.
        fn close(code: Option<u16>) -> Self {
            if code == Some(1002) { End::Protocol } else { End::Close(code) }
        }
    }

    fn ours(input: &[u8], piece: usize) -> (Vec<Frame>, End) {
        let mut decoder = Decoder::new(LARGEST);
        let (mut frames, mut waiting) = (Vec::new(), Vec::new());
        for piece in input.chunks(piece.max(1)) {
            waiting.extend_from_slice(piece);
            loop {
                match decoder.decode(&mut waiting) {
                    Ok(None) => break,
                    Ok(Some((incoming, size))) => {
                        waiting.drain(..size);
                        match incoming {
                            Incoming::Frame(frame) => frames.push(frame),
                            Incoming::Part => {}
                            Incoming::Close(code) => return (frames, End::close(code.map(|code| code.0))),
                        }
                    }
                    Err(FrameError::TooLarge) => return (frames, End::TooLarge),
                    Err(FrameError::NotUtf8) => return (frames, End::NotUtf8),
                    Err(FrameError::Protocol(_)) => return (frames, End::Protocol),
                }
            }
        }
        (frames, End::More)
    }

    /// A peer that says this and takes everything.
    struct Peer(Cursor<Vec<u8>>);

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                read => Ok(read),
            }
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn tungstenite(input: &[u8], role: Role) -> (Vec<Frame>, End) {
        let largest = Some(LARGEST as usize);
        let config = WebSocketConfig::default().max_message_size(largest).max_frame_size(largest);
        let mut socket = WebSocket::from_raw_socket(Peer(Cursor::new(input.to_vec())), role, Some(config));
        let mut frames = Vec::new();
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => frames.push(Frame::Text(text.into())),
                Ok(Message::Binary(bytes)) => frames.push(Frame::Binary(bytes)),
                Ok(Message::Ping(bytes)) => frames.push(Frame::Ping(bytes)),
                Ok(Message::Pong(bytes)) => frames.push(Frame::Pong(bytes)),
                Ok(Message::Close(frame)) => return (frames, End::close(frame.map(|frame| frame.code.into()))),
                Ok(Message::Frame(_)) => {}
                Err(Error::Io(_)) => return (frames, End::More),
                Err(Error::Capacity(_)) => return (frames, End::TooLarge),
                Err(Error::Utf8(_)) => return (frames, End::NotUtf8),
                Err(_) => return (frames, End::Protocol),
            }
        }
    }

    fn masked(first: u8, length: Option<u64>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match length.unwrap_or(payload.len() as u64) {
            length @ 0..=125 => bytes.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        let mask = [0x11, 0xf2, 0x83, 0x04];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// Mostly frames that are right, in an order that is right or not.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![8 => prop_oneof![Just(TEXT), Just(BINARY), Just(CONTINUATION)], 3 => prop_oneof![Just(PING), Just(PONG)], 1 => Just(CLOSE), 1 => 0..16_u8];
        let flags = prop_oneof![6 => Just(0x80_u8), 4 => Just(0), 1 => (0..16_u8).prop_map(|bits| bits << 4)];
        let text = "[a-zé€𝄞]{0,40}".prop_map(String::into_bytes);
        let code = (990..5010_u16, "[a-z]{0,9}")
            .prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat());
        let payload = prop_oneof![6 => text, 1 => prop::collection::vec(any::<u8>(), 0..200), 1 => code, 1 => (0..80_000_usize).prop_map(|size| vec![b'x'; size])];
        let lies = prop_oneof![20 => Just(None), 1 => any::<u64>().prop_map(Some)];
        (opcode, flags, payload, lies)
            .prop_map(|(opcode, flags, payload, length)| masked(flags | opcode, length, &payload))
    }

    proptest! {
        #[test]
        fn what_comes_is_read_as_others_read_it(
            frames in prop::collection::vec(frame(), 1..8),
            piece in prop_oneof![1..40_usize, Just(usize::MAX)],
        ) {
            let input = frames.concat();
            let (mine, my_end) = ours(&input, piece);
            let (theirs, their_end) = tungstenite(&input, Role::Server);
            // Text in parts: it is looked at once it is whole, and by others as it comes. Until then, or until a goodbye, only control
            // frames are read.
            if their_end == End::NotUtf8 {
                prop_assert!(mine.starts_with(&theirs));
                let control = |frame: &Frame| matches!(frame, Frame::Ping(_) | Frame::Pong(_));
                prop_assert!(mine[theirs.len()..].iter().all(control), "{:?}", mine);
                return Ok(());
            }
            prop_assert_eq!(mine, theirs);
            // What is wrong with a header is said in another order, and before the rest is there.
            let refused = |end: &End| matches!(end, End::TooLarge | End::Protocol);
            let same = my_end == their_end || (refused(&my_end) && (refused(&their_end) || their_end == End::More));
            prop_assert!(same, "{:?}, by others {:?}", my_end, their_end);
        }

        #[test]
        fn anything_at_all_is_read_without_a_panic(input in prop::collection::vec(any::<u8>(), 0..300), piece in 1..300_usize) {
            ours(&input, piece);
        }
    }

    #[test]
    fn what_is_written_is_read_by_others() {
        for size in [0, 1, 125, 126, 65_535, 65_536, 69_999] {
            let text = Frame::Text("x".repeat(size).into());
            let binary = Frame::Binary(vec![0xff; size].into());
            let mut bytes = Vec::new();
            let pong = Frame::Pong("abc".into());
            for frame in [&text, &binary, &pong, &Frame::Ping(Bytes::new())] {
                let outgoing = Outgoing::new(frame.clone());
                bytes.extend_from_slice(outgoing.header());
                bytes.extend_from_slice(outgoing.body());
                assert_eq!(outgoing.len(), outgoing.header().len() + frame.len());
            }
            let expected = vec![text, binary, pong, Frame::Ping(Bytes::new())];
            assert_eq!(tungstenite(&bytes, Role::Client), (expected, End::More));
        }
    }

    #[test]
    fn a_close_says_why_in_whole_characters() {
        let close = Outgoing::close(Some(&(CloseCode::GOING_AWAY, "é".repeat(100).into())));
        let bytes = [close.header(), close.body()].concat();
        assert_eq!(tungstenite(&bytes, Role::Client), (vec![], End::Close(Some(4000))));
        assert_eq!(close.body().len(), 2 + 122);
        assert_eq!(Outgoing::close(None).body().len(), 0);
    }

    #[test]
    fn what_is_wrong_is_said_before_all_of_it_is_there() {
        let too_large = masked(0x80 | BINARY, Some(u64::MAX), b"");
        assert_eq!(ours(&too_large, 1), (vec![], End::TooLarge));
        let half = masked(TEXT, None, &[b'x'; 60_000]);
        let rest = masked(0x80, Some(20_000), b"");
        assert_eq!(ours(&[half, rest].concat(), 1000), (vec![], End::TooLarge));
        assert_eq!(ours(&[0x81, 0x05], 2), (vec![], End::Protocol), "not masked");
    }
}
