use std::collections::VecDeque;

use realtime_engine::Attempt;
use realtime_engine::wire::{CloseCode, Frame};

/// What travels over a link. A frame that is cut anywhere is lost whole: TCP hands on a prefix of the bytes, and a WebSocket hands on
/// the frames that the prefix completes.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Frame(Frame),
    Close(CloseCode),
}

impl Packet {
    /// On the wire, with a small header.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Packet::Frame(frame) => frame.len() + 4,
            Packet::Close(_) => 4,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// One socket, both directions: bytes arrive in order or not at all.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) attempt: Attempt,
    pub(crate) latency: u64,
    /// When the last packet sent arrives, up and down: a later one cannot overtake it.
    pub(crate) arrival: [u64; 2],
    /// Nothing arrives, and nobody is told.
    pub(crate) stalled: bool,
    /// Something on the way was lost: nothing can arrive any more.
    pub(crate) cut: bool,
    /// What would have arrived meanwhile.
    pub(crate) held: Vec<(Direction, Packet)>,
    /// What has arrived and was not read.
    pub(crate) unread: [VecDeque<Packet>; 2],
    /// Bytes on the way to the client, and unread there.
    pub(crate) down_bytes: usize,
    /// The hub has something to pull for this link and could not write.
    pub(crate) wants_pull: bool,
    /// Which ends still know of the link.
    pub(crate) client_end: bool,
    pub(crate) server_end: bool,
}

impl Link {
    pub(crate) fn new(client: usize, attempt: Attempt, latency: u64) -> Self {
        Self {
            client,
            attempt,
            latency,
            arrival: [0, 0],
            stalled: false,
            cut: false,
            held: Vec::new(),
            unread: [VecDeque::new(), VecDeque::new()],
            down_bytes: 0,
            wants_pull: false,
            client_end: true,
            server_end: true,
        }
    }
}
