//! What a session tells and is told of presence and collections.

use bytes::Bytes;

use crate::io::{ChannelId, Text};
use crate::wire::PresenceStatus;

/// What the application does to a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Mutation<'a> {
    /// Adds a record: a JSON object. Its key is its field `id`, which must be a string; without one it gets a UUIDv7, put first.
    Insert { record: &'a [u8] },
    /// Replaces the fields of a record that `patch`, a JSON object, has.
    Update { key: &'a str, patch: &'a [u8] },
    /// Takes a record out.
    Remove { key: &'a str },
}

/// What happened to a record of the view of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is there now.
    Insert,
    /// It was there, with another content.
    Update,
    /// It is gone.
    Delete,
    /// What is shown is the same; only the revision changed, or nothing at all.
    Confirm,
}

impl ChangeKind {
    /// The stable string.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Insert => "insert",
            ChangeKind::Update => "update",
            ChangeKind::Delete => "delete",
            ChangeKind::Confirm => "confirm",
        }
    }
}

/// One transition of the view of a collection: what the server confirmed, with the application's unanswered mutations over it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Of which collection.
    pub collection: ChannelId,
    /// What happened.
    pub kind: ChangeKind,
    /// To which record.
    pub key: Text,
    /// The record as the view shows it now; `None` where it shows none.
    pub record: Option<Bytes>,
    /// The revision of the record as the server confirmed it; `None` where it has confirmed none.
    pub revision: Option<u64>,
    /// Caused by this client: its own mutation, or one that was refused and is taken back.
    pub local: bool,
    /// Part of the first snapshot: the record was there before this client looked.
    pub initial: bool,
    /// Counts the changes of this view: 1, 2, 3, … A change that was returned by a call may have a greater one than events that are
    /// still to come; those with a lesser one than the last for the same key are history.
    pub version: u64,
    /// To be given back with [`Session::consumed`](crate::Session::consumed) once the application has consumed it.
    pub size: u64,
}

/// What changed of who is in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceChange {
    /// Of which presence.
    pub presence: ChannelId,
    /// `{"join":[…],"update":[…],"leave":[…],"sync":…}`: members that are new, that changed, and that are gone. `sync` is true where a
    /// state of the server was taken over whole; the lists are then what that changed.
    ///
    /// A member is `{"id","verified","status","state","joinedAt","lastSeen","connections","self"}`.
    pub json: Bytes,
    /// To be given back with [`Session::consumed`](crate::Session::consumed) once the application has consumed it.
    pub size: u64,
}

/// What this client says of itself in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tracked<'a> {
    /// The key that it asked for; the server decides ([`Session::track`](crate::Session::track)).
    pub key: Option<&'a Text>,
    /// How available.
    pub status: PresenceStatus,
    /// A JSON object.
    pub state: &'a Bytes,
    /// The server has it, as it is here, on this connection.
    pub acknowledged: bool,
}
