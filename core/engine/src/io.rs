//! What goes into a session and what comes out of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::content::Content;
use crate::error::Error;
use crate::status::{ChannelState, Status};
use crate::sync::{Change, PresenceChange};
use crate::wire::{CloseCode, Frame};

/// Numbers the sockets of a session. Inputs of a socket that was given up are ignored by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

/// Names a stream of a session: the messages of a channel, its presence, or one of its collections. The same names have the same id
/// for the life of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// Names a send of the application; chosen by it, given back with the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// UTF-8 text that shares the memory of the frame it came in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    pub(crate) fn borrowed(frame: &Bytes, text: &str) -> Self {
        Self(slice(frame, text.as_bytes()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Made from a `str` only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The part of `frame` that `part` is, without a copy; a copy where it is not a part of it.
pub(crate) fn slice(frame: &Bytes, part: &[u8]) -> Bytes {
    let (start, end) = (frame.as_ptr() as usize, frame.as_ptr() as usize + frame.len());
    let at = part.as_ptr() as usize;
    if at >= start && at + part.len() <= end {
        frame.slice(at - start..at - start + part.len())
    } else {
        Bytes::copy_from_slice(part)
    }
}

/// The same for what outlives the frame: a copy where it is only a small part of it.
pub(crate) fn keep(frame: &Bytes, part: &[u8]) -> Bytes {
    if part.len() >= frame.len() / 2 { slice(frame, part) } else { Bytes::copy_from_slice(part) }
}

/// A map keyed by text can be asked with the bytes of a frame.
impl std::borrow::Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A payload: one JSON value as its bytes, or plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Data {
    /// One JSON value in UTF-8, unparsed.
    Json(Bytes),
    /// Bytes of any kind.
    Binary(Bytes),
}

impl Data {
    /// The bytes, of whatever kind.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Data::Json(bytes) | Data::Binary(bytes) => bytes,
        }
    }
}

/// What the driver and the application tell the session.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Input {
    /// The socket is open; `protocol` is the subprotocol that the server acknowledged.
    Opened { attempt: Attempt, protocol: Option<String> },
    /// The socket could not be opened.
    OpenFailed { attempt: Attempt, error: OpenError },
    /// A frame came, whole.
    Frame { attempt: Attempt, frame: Frame },
    /// The socket is gone: with the peer's close code, or with what broke it.
    Closed { attempt: Attempt, code: Option<CloseCode>, reason: String },
    /// Everything polled so far was handed to the operating system.
    Flushed { attempt: Attempt },
    /// So many bytes are waiting in the driver. Over 1 MiB the session sends only what keeps the connection alive.
    Backlog { attempt: Attempt, bytes: usize },
    /// The answer to [`Output::RequestToken`]: a token, none, or why there is none.
    Token { request: u64, result: Result<Option<String>, String> },
    /// Time has passed; the deadline may have come.
    Tick,
}

/// Why a socket could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum OpenError {
    /// Name, address, refused, reset, proxy.
    Unreachable(String),
    /// The TLS handshake.
    Tls(String),
    /// The upgrade was answered with an HTTP status.
    Http { status: u16, retry_after: Option<Duration> },
    /// The server acknowledged none of the subprotocols.
    NoSubprotocol,
    /// The upgrade was answered with something else.
    Handshake(String),
}

/// What the session wants done, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Output {
    /// Open a socket.
    Open(OpenRequest),
    /// Send a frame on that socket.
    Send { attempt: Attempt, frame: Frame },
    /// Close that socket, or abandon opening it. Nothing more is wanted of it.
    Close { attempt: Attempt, code: CloseCode, reason: String },
    /// Ask the application for a token.
    RequestToken { request: u64 },
    /// Tell the application.
    Event(Event),
}

/// How to open a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct OpenRequest {
    pub attempt: Attempt,
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// To offer, in this order; none at all where empty.
    pub subprotocols: Vec<String>,
}

/// What happened, for the application.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Event {
    /// The status changed. `reason` says why, `retry_in` when the next attempt comes.
    Status { status: Status, reason: Option<Error>, retry_in: Option<Duration> },
    /// Connected: the handshake of the dialect is done.
    Open(Opened),
    /// A connection that was open is gone.
    Close { code: CloseCode, reason: String, reconnecting: bool },
    /// Something went wrong that belongs to no single send or channel. The session goes on.
    Error(Error),
    /// A message of a channel.
    Message(ChannelMessage),
    /// A message of the backend to this client.
    Direct(DirectMessage),
    /// A channel changed its state.
    Channel { channel: ChannelId, state: ChannelState, error: Option<Error> },
    /// Messages of a channel are missing and will not come.
    Gap(Gap),
    /// The application is to load a snapshot of a channel, and then to call [`Session::loaded`](crate::Session::loaded).
    Load(Load),
    /// The view of a collection changed.
    Change(Change),
    /// The view of a collection is a state of the server, with `records` confirmed records; what that changed came before. `reason`: `initial`
    /// (the first time), `resync` (after a reconnect, or where the server went on from a snapshot), `diverged`.
    Synced { collection: ChannelId, records: u64, reason: &'static str },
    /// A collection was found to differ from the server's at this offset. It is taken over anew; [`Event::Synced`] follows.
    Diverged { collection: ChannelId, offset: u64 },
    /// Who is in a channel changed.
    Presence(PresenceChange),
    /// A send, a mutation, or what is to be tracked is done.
    Receipt(Receipt),
    /// A send, a mutation, or what is to be tracked failed, for good.
    SendFailed { request: RequestId, error: Error },
    /// The outbox has room again, after a reservation was refused.
    Writable,
}

/// A connection that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct Opened {
    /// `realtime.v1` or `plain`.
    pub dialect: &'static str,
    /// The server's id of the connection, in `realtime.v1`.
    pub connection: Option<String>,
    /// Whether the server still knew the session.
    pub resumed: bool,
    /// The verified user.
    pub user: Option<String>,
}

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct ChannelMessage {
    pub channel: ChannelId,
    /// In `realtime.v1`.
    pub offset: Option<u64>,
    /// Milliseconds since the Unix epoch, where the backend said.
    pub timestamp: Option<u64>,
    /// Event, user and payload. There is always an event.
    pub content: Content,
    /// To be given back with [`Session::consumed`](crate::Session::consumed) once the application has consumed it.
    pub size: u64,
    /// The backend named no channel and this is the only one: the same message came as [`Event::Direct`] just before.
    pub implied: bool,
}

/// A message of the backend to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct DirectMessage {
    pub timestamp: Option<u64>,
    /// Event and payload. There is no event in a binary message, and in JSON without a type.
    pub content: Content,
    pub size: u64,
}

/// Messages that will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Where.
    pub channel: ChannelId,
    /// Why: `evicted` (older than the server keeps), `epoch` (the server lost its history), `missing` (the server skipped them).
    pub reason: &'static str,
    /// The epoch that goes on.
    pub epoch: String,
    /// The epoch before, where it changed; how much of that was missed is unknown.
    pub previous_epoch: Option<String>,
    /// The first missing offset of `epoch`; `None` where nothing of it is missing.
    pub from: Option<u64>,
    /// The last missing offset of `epoch`.
    pub to: Option<u64>,
}

/// A snapshot to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// To be given back.
    pub load: u64,
    /// Why: a gap as it was told, or one of these reasons: `initial` (the subscription begins; `to` is where), `reconnect` (in
    /// `plain`, where nobody knows what was missed).
    pub gap: Gap,
}

/// A send that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct Receipt {
    pub request: RequestId,
    /// `true`: the server has it. `false`: the dialect has no acknowledgements, it was written to the socket.
    pub acknowledged: bool,
    /// Of a publish that was acknowledged.
    pub epoch: Option<Text>,
    pub offset: Option<u64>,
    /// The server had it already from an earlier attempt.
    pub duplicate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every message moves some times on its way; beyond 128 bytes the compiler calls a function for that.
    #[test]
    fn an_output_moves_in_registers() {
        assert!(size_of::<Output>() <= 128, "{}", size_of::<Output>());
        assert!(size_of::<ChannelMessage>() <= 112, "{}", size_of::<ChannelMessage>());
    }
}
