use std::time::Duration;

use crate::status::Status;
use crate::time::Timestamp;

/// How good the connection is, from round trip, jitter and missed pongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Quality {
    Excellent,
    Good,
    Fair,
    Poor,
    #[default]
    Offline,
}

impl Quality {
    /// The stable string.
    pub fn as_str(self) -> &'static str {
        match self {
            Quality::Excellent => "excellent",
            Quality::Good => "good",
            Quality::Fair => "fair",
            Quality::Poor => "poor",
            Quality::Offline => "offline",
        }
    }
}

/// Figures of a client, from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What it does now.
    pub status: Status,
    /// Since when it is connected.
    pub connected_at: Option<Timestamp>,
    /// The last round trip of a ping.
    pub latency: Option<Duration>,
    /// How much round trips vary (smoothed, RFC 3550 section 6.4.1).
    pub jitter: Option<Duration>,
    /// From round trip, jitter and missed pongs.
    pub quality: Quality,
    /// Messages of the application, written to a socket; those sent again count again.
    pub messages_sent: u64,
    /// Messages given to the application.
    pub messages_received: u64,
    /// Bytes of frames, without WebSocket headers and masks.
    pub bytes_sent: u64,
    /// Bytes of frames, without WebSocket headers.
    pub bytes_received: u64,
    /// Sends that the server acknowledged, or that were written where the dialect has no acknowledgements.
    pub acknowledged: u64,
    /// Sends that failed.
    pub failed: u64,
    /// Sends of an earlier run, or of before a disconnect, that a durable outbox took out of its file.
    pub restored: u64,
    /// Sends whose senders were told `deferred`: a durable outbox keeps them.
    pub deferred: u64,
    /// Bytes at the end of the file of a durable outbox that were not whole, and were put aside.
    pub torn_bytes: u64,
    /// Messages that came again and were dropped.
    pub duplicates: u64,
    /// Gaps reported.
    pub gaps: u64,
    /// Messages that were dropped because a snapshot that the application loaded contains them.
    pub covered: u64,
    /// Messages that came after a reconnect from the server's history.
    pub recovered: u64,
    /// Times that a collection was found to differ from the server's, or could not be followed, and was taken over anew.
    pub diverged: u64,
    /// Messages for channels that are not subscribed any more; dropped.
    pub unroutable: u64,
    /// Answers to sends that had ended already; dropped.
    pub unexpected: u64,
    /// Messages that could not be understood; each is an `error` event.
    pub malformed: u64,
    /// Times that a connection was made after the first.
    pub reconnects: u64,
    /// Failed attempts in a row.
    pub failed_attempts: u32,
    /// Messages in the outbox.
    pub queued: usize,
    /// Bytes in the outbox.
    pub queued_bytes: usize,
    /// Bytes given to the application that it has not consumed.
    pub unconsumed_bytes: u64,
    /// When the next attempt comes.
    pub next_attempt: Option<Timestamp>,
}
