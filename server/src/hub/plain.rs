//! The `plain` dialect: no acknowledgements, positions or windows.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memchr;
use realtime_engine::wire::plain::{self, Request};
use realtime_engine::wire::{DecodeError, ErrorCode, Payload, Stream as Which, validate_json, validate_name};

use super::connection::Waiting;
use super::journal::Publisher;
use super::{ConnectionId, Content, Hub, Output};

impl Hub {
    pub(super) fn plain_text(&mut self, now: u64, id: ConnectionId, frame: &[u8]) {
        let handled = plain::decode_request(frame).and_then(|request| self.plain_request(now, id, request));
        if let Err(DecodeError { code, reason, .. }) = handled {
            self.fault(now, id, code, &reason);
        }
    }

    pub(super) fn plain_binary(&mut self, now: u64, id: ConnectionId, frame: &Bytes) {
        self.plain_send(now, id, None, Content::Binary(frame.clone()));
    }

    fn plain_request(&mut self, now: u64, id: ConnectionId, request: Request<'_>) -> Result<(), DecodeError> {
        match request {
            Request::Subscribe { channel } => {
                validate_name("channel", &channel)?;
                let user = self.connections.get(&id).and_then(|connection| connection.user());
                if !self.config.authorizer.can_subscribe(user.as_deref(), &channel) {
                    self.plain_error(now, id, ErrorCode::Forbidden, "this user may not subscribe there");
                } else if self.over_channels(id, &channel, &Which::Messages) {
                    let reason = format!("a connection has at most {} channels", self.config.limits.channels);
                    self.plain_error(now, id, ErrorCode::TooManyChannels, &reason);
                } else if !self.is_subscribed(id, &channel) {
                    self.subscribe(now, id, &channel, &Which::Messages, None);
                }
            }
            Request::Unsubscribe { channel } => self.unsubscribe(now, id, &channel, &Which::Messages),
            Request::ChannelMessage { channel, event, payload } => {
                validate_name("channel", &channel)?;
                validate_name("event", &event)?;
                let payload = one_line(payload);
                validate_json(&payload)?;
                if !self.plain_admit(now, id, payload.len()) {
                    return Ok(());
                }
                let user = self.connections.get(&id).and_then(|connection| connection.user());
                if !self.config.authorizer.can_publish(user.as_deref(), &channel) {
                    self.plain_error(now, id, ErrorCode::Forbidden, "this user may not publish there");
                    return Ok(());
                }
                let publisher = Publisher::Plain(id);
                self.store(now, &channel, &event, user.as_deref(), Payload::Json(&payload), publisher);
                self.stats.messages_in += 1;
            }
            Request::Ping { timestamp } => {
                let mut out = Vec::new();
                plain::encode_pong(&mut out, timestamp.unwrap_or(now));
                self.plain_answer(id, out);
            }
            Request::Other { kind, payload } => {
                validate_name("type", &kind)?;
                let payload = one_line(payload);
                validate_json(&payload)?;
                self.plain_send(now, id, Some(kind.into_owned()), Content::Json(payload.into_owned().into()));
            }
            _ => return Err(DecodeError { code: ErrorCode::UnknownType, reason: "unknown type".into(), id: None }),
        }
        Ok(())
    }

    fn plain_send(&mut self, now: u64, id: ConnectionId, event: Option<String>, content: Content) {
        if !self.plain_admit(now, id, content.bytes().len()) {
            return;
        }
        if !self.config.application {
            return self.plain_error(now, id, ErrorCode::NoHandler, "the application takes no messages");
        }
        let user = self.connections.get(&id).and_then(|connection| connection.user());
        self.outputs.push_back(Output::Sent { connection: id, user, event, content });
        self.stats.messages_in += 1;
    }

    /// Looks whether a message may be done now. If not, it is answered here.
    fn plain_admit(&mut self, now: u64, id: ConnectionId, bytes: usize) -> bool {
        let refusal = self.store_refusal(now);
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let (code, reason) = if self.draining {
            (ErrorCode::Unavailable, "the server drains")
        } else if let Some((reason, _)) = refusal {
            (ErrorCode::Unavailable, reason)
        } else if connection.rate.take(now).is_err() {
            (ErrorCode::RateLimited, "too many a second")
        } else if bytes as u64 > self.config.limits.payload {
            (ErrorCode::PayloadTooLarge, "the payload is too large")
        } else {
            return true;
        };
        self.plain_error(now, id, code, reason);
        false
    }

    fn is_subscribed(&self, id: ConnectionId, name: &str) -> bool {
        self.streams.find(name, &Which::Messages).is_some_and(|key| {
            self.connections.get(&id).is_some_and(|connection| connection.subscriptions.contains(key))
        })
    }

    pub(super) fn plain_error(&mut self, now: u64, id: ConnectionId, code: ErrorCode, reason: &str) {
        self.stats.refused += 1;
        let payload = serde_json::json!({ "code": code.as_str(), "message": reason }).to_string();
        let mut out = Vec::new();
        plain::encode(&mut out, "error", payload.as_bytes(), now, None);
        self.plain_answer(id, out);
    }

    fn plain_answer(&mut self, id: ConnectionId, message: Vec<u8>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.control.alone(Waiting::Text(message.into()));
        }
    }
}

/// A `realtime.v1` message is one line. In JSON a raw line feed is white space, wherever it stands.
pub(super) fn one_line(json: &[u8]) -> Cow<'_, [u8]> {
    match memchr(b'\n', json) {
        None => Cow::Borrowed(json),
        Some(_) => Cow::Owned(json.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect()),
    }
}
