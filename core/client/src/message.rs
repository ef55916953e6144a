use bytes::Bytes;
use realtime_engine::{ChannelMessage, Content, DirectMessage, Error, ErrorKind};
use serde::de::DeserializeOwned;

use crate::readers::Item;

/// A message that came: of a channel, or of the backend to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    content: Content,
    offset: Option<u64>,
    timestamp: Option<u64>,
    pub(crate) size: u64,
}

impl Message {
    /// The payload as a value. Fails with `invalid_payload` where it is another type, or binary.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if self.is_binary() {
            return Err(Error::new(ErrorKind::InvalidPayload, "the message is binary; read it with bytes()"));
        }
        serde_json::from_slice(self.bytes()).map_err(|error| {
            let event = self.event();
            Error::new(ErrorKind::InvalidPayload, format!("the payload of {event:?} is not of this type: {error}"))
        })
    }

    /// The payload as it came: JSON text, or bytes.
    pub fn bytes(&self) -> &[u8] {
        self.content.payload()
    }

    /// The same to keep and to pass on, without a copy: it shares the memory of the frame that it came in.
    pub fn to_bytes(&self) -> Bytes {
        self.content.to_data().bytes().clone()
    }

    /// Whether the payload is bytes instead of JSON.
    pub fn is_binary(&self) -> bool {
        self.content.is_binary()
    }

    /// The name of the event; empty for a message that has none.
    pub fn event(&self) -> &str {
        self.content.event().unwrap_or_default()
    }

    /// The place in the channel's history, in `realtime.v1`.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The user that published it, verified by the server.
    pub fn user(&self) -> Option<&str> {
        self.content.user()
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
        let ChannelMessage { content, offset, timestamp, size, .. } = message;
        Self { content, offset, timestamp, size }
    }
}

impl From<DirectMessage> for Message {
    fn from(message: DirectMessage) -> Self {
        let DirectMessage { content, timestamp, size, .. } = message;
        Self { content, offset: None, timestamp, size }
    }
}
