use realtime_engine::Attempt;
use realtime_engine::wire::{CloseCode, Frame};

/// What travels over a link.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Frame(Frame),
    Close(CloseCode),
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
    /// The hub has something to pull for this link and could not write.
    pub(crate) wants_pull: bool,
    /// Which ends still know of the link.
    pub(crate) client_end: bool,
    pub(crate) server_end: bool,
}
