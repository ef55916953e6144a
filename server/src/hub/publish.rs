use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{
    DecodeError, ErrorCode, Payload, Position, ServerMessage, plain, validate_json, validate_name,
};

use super::connection::{Dialect, Phase, Waiting};
use super::{ConnectionId, Hub, wake};

/// What a message carries, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// One JSON value, as its bytes.
    Json(Bytes),
    /// Bytes of any kind.
    Binary(Bytes),
}

/// Why the server's own message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A name or a payload is not valid.
    #[error(transparent)]
    Invalid(#[from] DecodeError),
    /// The payload is over the limit.
    #[error("the payload has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: u64,
    },
}

impl Hub {
    /// Publishes a message of the server itself. It carries no user.
    pub fn publish(
        &mut self,
        now: u64,
        channel: &str,
        event: &str,
        content: &Content,
    ) -> Result<Position, PublishError> {
        validate_name("channel", channel)?;
        validate_name("event", event)?;
        let payload = self.checked(content)?;
        match self.store(now, channel, event, None, payload) {
            Some((epoch, offset)) => Ok(Position { epoch: epoch.to_string(), offset }),
            None => Err(DecodeError { code: ErrorCode::Internal, reason: "no channel".into(), id: None }.into()),
        }
    }

    /// Sends a message of the application to one client. `event` counts for JSON only. `false` where the client is gone.
    pub fn direct(&mut self, now: u64, id: ConnectionId, event: &str, content: &Content) -> Result<bool, PublishError> {
        validate_name("event", event)?;
        let payload = self.checked(content)?;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(false) };
        if connection.phase != Phase::Open {
            return Ok(false);
        }
        let mut out = Vec::new();
        match (connection.dialect, payload) {
            (Dialect::V1, Payload::Json(_)) => connection.control.line(&ServerMessage::Direct {
                event: Some(event.into()),
                timestamp: Some(now),
                payload,
            }),
            (Dialect::V1, _) => {
                ServerMessage::Direct { event: None, timestamp: None, payload }.encode(&mut out);
                connection.control.alone(Waiting::Binary(out.into()));
            }
            (Dialect::Plain, Payload::Json(json)) => {
                plain::encode(&mut out, event, json, now, None);
                connection.control.alone(Waiting::Text(out.into()));
            }
            (Dialect::Plain, _) => connection.control.alone(Waiting::Binary(content.bytes().clone())),
        }
        self.bound_writer(now, id);
        self.wake(id);
        Ok(true)
    }

    /// Gives a message its offset, stores it, and puts every subscriber into the turn.
    pub(super) fn store(
        &mut self,
        now: u64,
        channel: &str,
        event: &str,
        user: Option<&str>,
        payload: Payload<'_>,
    ) -> Option<(Arc<str>, u64)> {
        let key = self.channels.open(now, channel, &mut self.ids);
        let stored = self.channels.publish(now, key, event, user, payload)?;
        for id in &self.channels.channel(key)?.subscribers {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.enqueue(key);
                wake(*id, connection, &mut self.outputs);
            }
        }
        self.stats.channels_forgotten += self.channels.bound(key);
        Some(stored)
    }

    fn checked<'a>(&self, content: &'a Content) -> Result<Payload<'a>, PublishError> {
        let (payload, bytes) = match content {
            Content::Json(json) => {
                validate_json(json)?;
                (Payload::Json(json), json.len())
            }
            Content::Binary(bytes) => (Payload::Binary(bytes), bytes.len()),
        };
        let limit = self.config.limits.payload;
        if bytes as u64 > limit { Err(PublishError::TooLarge { bytes, limit }) } else { Ok(payload) }
    }
}
