use std::borrow::Cow;

use super::fields::Fields;
use super::text::{boolean, string};
use super::{DecodeError, validate_name};

/// Which stream of a channel is meant. Each has its own subscription, position, window and credit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stream<'a> {
    /// The messages of the channel.
    #[default]
    Messages,
    /// Who is there (section 13 of the specification).
    Presence,
    /// Records with an id, by the name of the collection (section 14).
    Collection(Cow<'a, str>),
}

impl<'a> Stream<'a> {
    pub(super) fn take(fields: &mut Fields<'a>) -> Result<Self, DecodeError> {
        match (fields.presence == Some(true), fields.collection.take()) {
            (false, None) => Ok(Stream::Messages),
            (true, None) => Ok(Stream::Presence),
            (false, Some(name)) => Ok(Stream::Collection(name.0)),
            (true, Some(_)) => {
                Err(DecodeError::malformed("presence and collection are two streams, a message is of one")
                    .with_id(fields.id))
            }
        }
    }

    /// Appends the fields of a stream; those of the messages are none.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Stream::Messages => {}
            Stream::Presence => boolean(out, "presence", true),
            Stream::Collection(name) => string(out, "collection", name),
        }
    }

    pub(super) fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Stream::Collection(name) => validate_name("collection", name),
            _ => Ok(()),
        }
    }
}
