use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{
    DecodeError, ErrorCode, Payload, Position, ServerMessage, Stream as Which, plain, validate_json, validate_name,
};

use super::connection::{Dialect, Phase, Waiting};
use super::history::Entry;
use super::journal::{Journal, Publisher};
use super::streams::StreamKey;
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
    /// The disk cannot take it now.
    #[error("{0}")]
    Unavailable(&'static str),
}

impl Hub {
    /// Publishes a message of the server itself. It carries no user. With a store, subscribers get it once it is on disk;
    /// where the disk then refuses it, it is lost and counted as [`unstored`](super::Stats::unstored).
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
        if let Some((reason, _)) = self.store_refusal(now) {
            return Err(PublishError::Unavailable(reason));
        }
        match self.store(now, channel, event, None, payload, Publisher::Server) {
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
        if super::mutant("direct-in-silence") && now.is_multiple_of(3) {
            return Ok(true);
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

    /// Gives a message its offset. Subscribers get it at once, or once it is on disk where there is a store.
    pub(super) fn store(
        &mut self,
        now: u64,
        channel: &str,
        event: &str,
        user: Option<&str>,
        payload: Payload<'_>,
        publisher: Publisher,
    ) -> Option<(Arc<str>, u64)> {
        let key = self.streams.open(now, channel, &Which::Messages, &mut self.ids);
        // Before its messages, so that a store hands it out first.
        self.record_stream(key);
        let record = self.journal.as_mut().map_or(0, Journal::number);
        let (entry, offset) = self.streams.encode(now, key, event, user, payload, record)?;
        let epoch = self.streams.stream(key)?.epoch.clone();
        match self.journal {
            None => self.show(now, key, entry),
            Some(_) => self.stage_entry(now, key, offset, entry, publisher, None),
        }
        Some((epoch, offset))
    }

    /// Puts an entry into the history, and every subscriber into the turn. While all of them are behind that costs nothing for each.
    pub(super) fn show(&mut self, now: u64, key: StreamKey, entry: Entry) {
        self.streams.append(now, key, entry);
        let Some(stream) = self.streams.stream_mut(key) else { return };
        if std::mem::take(&mut stream.is_awaited) {
            for id in &stream.subscribers {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.enqueue(key);
                    wake(*id, connection, &mut self.outputs);
                }
            }
        }
        self.stats.channels_forgotten += self.streams.bound(key);
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
