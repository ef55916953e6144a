//! Wire types of the dialects, shared by clients and servers.
//!
//! `docs/protocol.md` is the specification; the vectors in `tests/vectors/` run against this module.
//! Everything here borrows from the frame that it was decoded from: payloads are never copied or parsed.

mod binary;
mod client_message;
mod close;
mod code;
mod digest;
mod envelope;
mod fields;
mod frame;
mod meta;
mod name;
mod op;
mod payload;
pub mod plain;
mod record;
mod server_message;
mod snapshot;
mod stream;
pub(crate) mod text;

pub use client_message::{ClientMessage, Encoding, Hello, Position, Since, Window};
pub use close::{CloseCode, ClosePolicy};
pub use code::ErrorCode;
pub use digest::Digest;
pub use frame::{Frame, lines};
pub use meta::{Left, Meta, PresenceStatus};
pub use name::{MAX_NAME_BYTES, validate_name};
pub use op::Op;
pub use payload::{MAX_DEPTH, Payload, validate_json};
pub use record::Record;
pub use server_message::{Change, Limits, Message, Receipt, Refusal, ServerMessage, Subscribed, Welcome};
pub use snapshot::{Held, Page, Snapshot};
pub use stream::Stream;

/// The subprotocol of the full protocol.
pub const SUBPROTOCOL_V1: &str = "realtime.v1";
/// The subprotocol that is offered before [`SUBPROTOCOL_V1`] by a client that also speaks `plain`.
pub const SUBPROTOCOL_PLAIN: &str = "realtime.plain";

/// Why bytes from a peer could not be understood. The connection survives it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct DecodeError {
    /// `malformed`, `unknown_type` or `invalid_name`.
    pub code: ErrorCode,
    /// What was wrong, for people.
    pub reason: String,
    /// The request that the bytes belong to, where that much could be read.
    pub id: Option<u64>,
}

impl DecodeError {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self { code: ErrorCode::Malformed, reason: reason.into(), id: None }
    }

    pub(crate) fn unknown(what: &str) -> Self {
        Self { code: ErrorCode::UnknownType, reason: format!("unknown type {what:?}"), id: None }
    }

    pub(crate) fn with_id(mut self, id: Option<u64>) -> Self {
        self.id = id;
        self
    }
}
