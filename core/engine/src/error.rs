use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::wire::{CloseCode, ErrorCode};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What went wrong, as a stable code that is the same in every language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
            /// The server refused it with a code of the protocol.
            Refused(ErrorCode),
        }

        impl ErrorKind {
            /// All kinds that begin on this side; those of the server are [`ErrorCode::ALL`].
            pub const LOCAL: &'static [ErrorKind] = &[$(ErrorKind::$name,)*];

            /// The stable string.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorKind::$name => $text,)* ErrorKind::Refused(code) => code.as_str() }
            }
        }
    };
}

kinds! {
    /// An option of the wrong type or out of range.
    InvalidOption = "invalid_option";
    /// The URL cannot be used.
    InvalidUrl = "invalid_url";
    /// A payload that JSON cannot carry.
    InvalidPayload = "invalid_payload";
    /// The outbox is full and the policy is `reject`.
    QueueFull = "queue_full";
    /// The outbox was full and the policy `dropOldest` gave this message up.
    Dropped = "dropped";
    /// The client was closed, or is being closed, by its own application.
    Closed = "closed";
    /// The server closed the connection with a code that says not to come back.
    Rejected = "rejected";
    /// The socket was lost.
    ConnectionLost = "connection_lost";
    /// No connection could be made: name, address, refused, reset.
    ConnectFailed = "connect_failed";
    /// The TLS handshake failed.
    TlsFailed = "tls_failed";
    /// The server answered the upgrade with an HTTP status.
    HttpStatus = "http_status";
    /// The server answered the upgrade with 401, or closed with a code that wants another token.
    Unauthenticated = "unauthenticated";
    /// Something took longer than its timeout.
    Timeout = "timeout";
    /// No frame came within the heartbeat timeout.
    HeartbeatTimeout = "heartbeat_timeout";
    /// The token provider failed.
    TokenFailed = "token_failed";
    /// The peer broke the protocol.
    Protocol = "protocol_error";
    /// This dialect or host cannot do it.
    Unsupported = "unsupported";
    /// `maxAttempts` was reached.
    MaxAttempts = "max_attempts";
    /// The server refused it with a code that this version does not know.
    RefusedOther = "refused";
    /// Nothing is tracked in this channel that could be changed.
    NotTracked = "not_tracked";
    /// The connection ended, and the durable outbox keeps this message: it goes out after the next connect, or start of the program.
    Deferred = "deferred";
    /// Another client has the file of this outbox.
    OutboxInUse = "outbox_in_use";
    /// The file of the outbox is not what was written.
    OutboxDamaged = "outbox_damaged";
    /// The file of the outbox cannot be read or written.
    StorageFailed = "storage_failed";
    /// A handler of the application threw.
    HandlerFailed = "handler_failed";
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure: a stable code, and a message that says what happened, to what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Error {
    /// The stable code.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
    /// The HTTP status, for an upgrade that was answered with one.
    pub status: Option<u16>,
    /// The close code, where a close caused it.
    pub close_code: Option<CloseCode>,
    /// When to try again, where the server said so.
    pub retry_after: Option<Duration>,
    /// Of a `conflict`: the revision of the record as it is; `None` where there is no such record.
    pub revision: Option<u64>,
    /// Of a `conflict`: the record as it is.
    pub record: Option<Bytes>,
}

impl Error {
    /// An error without further details.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            close_code: None,
            retry_after: None,
            revision: None,
            record: None,
        }
    }

    /// The stable code as a string.
    pub fn code(&self) -> &'static str {
        self.kind.as_str()
    }

    pub(crate) fn closed_by(code: CloseCode, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { close_code: Some(code), ..Self::new(kind, message) }
    }
}

impl From<crate::wire::DecodeError> for Error {
    fn from(error: crate::wire::DecodeError) -> Self {
        Self::new(ErrorKind::Refused(error.code), error.reason)
    }
}
