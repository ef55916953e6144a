use bytes::Bytes;
use realtime_engine::{ChannelMessage, Data, DirectMessage, Error, ErrorKind, Text};
use serde::de::DeserializeOwned;

use crate::readers::Item;

/// A message that came: of a channel, or of the backend to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    event: Option<Text>,
    offset: Option<u64>,
    user: Option<Text>,
    timestamp: Option<u64>,
    payload: Data,
    pub(crate) size: u64,
}

impl Message {
    /// The payload as a value. Fails with `invalid_payload` where it is another type, or binary.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let Data::Json(json) = &self.payload else {
            return Err(Error::new(ErrorKind::InvalidPayload, "the message is binary; read it with bytes()"));
        };
        serde_json::from_slice(json).map_err(|error| {
            let event = self.event();
            Error::new(ErrorKind::InvalidPayload, format!("the payload of {event:?} is not of this type: {error}"))
        })
    }

    /// The payload as it came: JSON text, or bytes.
    pub fn bytes(&self) -> &Bytes {
        self.payload.bytes()
    }

    /// Whether the payload is bytes instead of JSON.
    pub fn is_binary(&self) -> bool {
        !matches!(self.payload, Data::Json(_))
    }

    /// The name of the event; empty for a message that has none.
    pub fn event(&self) -> &str {
        self.event.as_deref().unwrap_or_default()
    }

    /// The place in the channel's history, in `realtime.v1`.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The user that published it, verified by the server.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Milliseconds since the Unix epoch, where the backend said.
    pub fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }
}

impl Item for Message {
    fn size(&self) -> u64 {
        self.size
    }
}

impl From<ChannelMessage> for Message {
    fn from(message: ChannelMessage) -> Self {
        let ChannelMessage { event, offset, user, timestamp, payload, size, .. } = message;
        Self { event: Some(event), offset, user, timestamp, payload, size }
    }
}

impl From<DirectMessage> for Message {
    fn from(message: DirectMessage) -> Self {
        let DirectMessage { event, timestamp, payload, size, .. } = message;
        Self { event, offset: None, user: None, timestamp, payload, size }
    }
}
