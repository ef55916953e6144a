//! The `realtime.v1` dialect: what a client asks, and the answers.

use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{
    ClientMessage, CloseCode, DecodeError, Encoding, ErrorCode, Hello, Payload, Position, Receipt, Refusal,
    ServerMessage, Stream as Which, Subscribed, Welcome, lines,
};

use super::collections::MutateError;
use super::config::ms;
use super::connection::{Phase, Waiting};
use super::journal::{Outcome, Publisher, Send};
use super::mutations::Mutation;
use super::sessions::{SessionKey, Verdict};
use super::streams::Start;
use super::subscriptions::Subscription;
use super::tracking::Track;
use super::{ConnectionId, Content, Hub};
use crate::auth::Identity;

/// What the server calls itself in `welcome`.
const SERVER: &str = concat!("realtime/", env!("CARGO_PKG_VERSION"));

/// What a client has to say twice before the server can take it, ms.
pub(super) const RETRY_AFTER: u64 = 1000;

impl Hub {
    pub(super) fn v1_lines(&mut self, now: u64, id: ConnectionId, frame: &[u8]) {
        for line in lines(frame) {
            let decoded = ClientMessage::decode(line);
            if !self.v1_message(now, id, decoded) {
                return;
            }
        }
    }

    pub(super) fn v1_binary(&mut self, now: u64, id: ConnectionId, frame: &[u8]) {
        self.v1_message(now, id, ClientMessage::decode_binary(frame));
    }

    /// `false` where the connection is closed by it.
    fn v1_message(&mut self, now: u64, id: ConnectionId, decoded: Result<ClientMessage<'_>, DecodeError>) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        match (connection.phase, decoded) {
            (Phase::Closing, _) => return false,
            (Phase::Opening, Ok(ClientMessage::Hello(hello))) => self.hello(now, id, &hello),
            (Phase::Opening, Ok(_)) => {
                self.close(now, id, CloseCode::PROTOCOL_ERROR, "the first message must be hello");
            }
            (Phase::Opening, Err(error)) => {
                self.stats.faults += 1;
                self.close(
                    now,
                    id,
                    CloseCode::PROTOCOL_ERROR,
                    format!("the first message must be hello: {}", error.reason),
                );
            }
            (Phase::Open, Ok(message)) => self.v1_request(now, id, message),
            (Phase::Open, Err(error)) => match error.id {
                Some(request) => self.v1_error(id, error.code, &error.reason, Some(request), None),
                None => self.fault(now, id, error.code, &error.reason),
            },
        }
        self.connections.get(&id).is_some_and(|connection| connection.phase != Phase::Closing)
    }

    fn hello(&mut self, now: u64, id: ConnectionId, hello: &Hello<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let identity = match &hello.token {
            Some(token) => self.config.auth.verify(token, now).map_err(|error| error.to_string()),
            None => connection.identity.clone().map_or_else(
                || match self.config.auth.is_open() {
                    true => Ok(Identity::default()),
                    false => Err("a token is required".to_owned()),
                },
                Ok,
            ),
        };
        let identity = match identity {
            Ok(identity) => identity,
            Err(reason) => return self.close(now, id, CloseCode::UNAUTHORIZED, reason),
        };
        let window = usize::try_from(self.config.limits.inflight).unwrap_or(usize::MAX);
        let session = self.sessions.open(identity.user.clone(), &hello.session, id, window);
        let key = session.key;
        connection.session = Some(key);
        connection.phase = Phase::Open;
        connection.window = hello.window;
        let welcome = ServerMessage::Welcome(Box::new(Welcome {
            session: (&*hello.session).into(),
            connection: self.ids.opaque().into(),
            resumed: session.resumed,
            user: identity.user.as_deref().map(Into::into),
            expires_in: identity.expires_at.map(|at| at.saturating_sub(now)),
            heartbeat: ms(self.config.heartbeat),
            timeout: ms(self.config.timeout),
            encoding: hello.encoding,
            time: now,
            limits: self.config.limits,
            server: SERVER.into(),
        }));
        match hello.encoding {
            Encoding::Text => connection.control.line(&welcome),
            encoding => {
                // What follows is framed otherwise.
                let mut out = Vec::new();
                welcome.encode(&mut out);
                connection.control.alone(Waiting::Text(out.into()));
                connection.encoding = encoding;
            }
        }
        connection.identity = Some(identity);
        if let Some(replaced) = session.replaced {
            self.close(now, replaced, CloseCode::SESSION_REPLACED, "another connection took the session over");
        }
        self.forget_sessions(now, 0);
        self.record_session(key);
        self.schedule(id);
    }

    fn v1_request(&mut self, now: u64, id: ConnectionId, message: ClientMessage<'_>) {
        match message {
            ClientMessage::Publish { id: request, channel, event, payload } => {
                self.v1_publish(now, id, request, &channel, &event, payload);
            }
            ClientMessage::Send { id: request, event, payload } => {
                self.v1_send(now, id, request, event.as_deref(), payload);
            }
            ClientMessage::Mutate { id: request, channel, collection, op, key, if_revision } => {
                let mutation = Mutation { channel: &channel, collection: &collection, key: &key, op, if_revision };
                self.v1_mutate(now, id, request, mutation);
            }
            ClientMessage::Subscribe { id: request, channel, stream, since } => {
                self.v1_subscribe(now, id, request, &channel, &stream, since.as_ref());
            }
            ClientMessage::Unsubscribe { id: request, channel, stream } => {
                self.unsubscribe(now, id, &channel, &stream);
                self.v1_answer(id, &ServerMessage::Unsubscribed { id: request, channel, stream });
            }
            ClientMessage::Credit { channel, stream, bytes } => self.v1_credit(id, &channel, &stream, bytes),
            ClientMessage::Track { id: request, channel, key, status, state } => {
                let track = Track { key: key.as_deref(), status, state };
                self.v1_track(now, id, request, &channel, &track);
            }
            ClientMessage::Untrack { id: request, channel } => self.v1_untrack(now, id, request, &channel),
            ClientMessage::Auth { id: request, token } => self.v1_auth(now, id, request, &token),
            ClientMessage::Ping { id: request, timestamp } => {
                self.v1_answer(id, &ServerMessage::Pong { id: request, timestamp, time: now });
            }
            ClientMessage::Hello(_) => self.fault(now, id, ErrorCode::Malformed, "hello was said before"),
            _ => self.fault(now, id, ErrorCode::UnknownType, "unknown type"),
        }
    }

    fn v1_publish(
        &mut self,
        now: u64,
        id: ConnectionId,
        request: u64,
        channel: &str,
        event: &str,
        payload: Payload<'_>,
    ) {
        let Some((session, user)) = self.admit(now, id, request, payload, None) else { return };
        if !self.config.authorizer.can_publish(user.as_deref(), channel) && !super::mutant("all-may-publish") {
            return self.settle(id, session, request, Outcome::Refused(ErrorCode::Forbidden), None);
        }
        let outcome = match self.store(now, channel, event, user.as_deref(), payload, Publisher::Session) {
            Some((epoch, offset)) => Outcome::Stored { epoch, offset },
            None => Outcome::Refused(ErrorCode::Internal),
        };
        self.settle(id, session, request, outcome, None);
    }

    fn v1_send(&mut self, now: u64, id: ConnectionId, request: u64, event: Option<&str>, payload: Payload<'_>) {
        let Some((session, user)) = self.admit(now, id, request, payload, None) else { return };
        if !self.config.application {
            return self.settle(id, session, request, Outcome::Refused(ErrorCode::NoHandler), None);
        }
        let content = match payload {
            Payload::Binary(bytes) => Content::Binary(Bytes::copy_from_slice(bytes)),
            other => Content::Json(Bytes::copy_from_slice(other.bytes())),
        };
        let sent = Send { connection: id, user, event: event.map(str::to_owned), content };
        match self.journal {
            None => {
                self.outputs.push_back(sent.into());
                self.settle(id, session, request, Outcome::Sent, None);
            }
            Some(_) if super::mutant("sent-before-disk") => {
                self.outputs.push_back(sent.into());
                self.stage_outcome(id, session, request, Outcome::Sent, None, None);
            }
            Some(_) => self.stage_outcome(id, session, request, Outcome::Sent, Some(sent), None),
        }
    }

    /// Looks whether a publish, send or mutation may be done now. If not, it is answered here.
    pub(super) fn admit(
        &mut self,
        now: u64,
        id: ConnectionId,
        request: u64,
        payload: Payload<'_>,
        mutation: Option<Mutation<'_>>,
    ) -> Option<(SessionKey, Option<Arc<str>>)> {
        let store = self.store_refusal(now);
        let connection = self.connections.get_mut(&id)?;
        let key = connection.session?;
        let session = self.sessions.session(key)?;
        match session.check(request, id) {
            Verdict::New => {}
            Verdict::Staged => {
                self.stats.duplicates += 1;
                return None;
            }
            Verdict::Repeat(outcome) => {
                self.stats.duplicates += 1;
                let conflict = matches!(outcome, Outcome::Refused(ErrorCode::Conflict));
                let refused = conflict.then(|| self.conflict_again(mutation));
                self.v1_outcome(id, request, &outcome, true, refused.as_ref());
                return None;
            }
            Verdict::Held(code) => {
                self.v1_error(id, code, "an earlier one has to come first", Some(request), Some(RETRY_AFTER));
                return None;
            }
            Verdict::Forgotten => {
                self.v1_error(id, ErrorCode::Malformed, "the id is older than the last ones", Some(request), None);
                return None;
            }
        }
        let limits = self.config.limits;
        let refusal = if self.draining {
            Some((ErrorCode::Unavailable, "the server drains", RETRY_AFTER))
        } else if let Some((reason, wait)) = store {
            Some((ErrorCode::Unavailable, reason, wait))
        } else if connection.control.answers + session.staged() >= limits.inflight {
            Some((ErrorCode::TooManyInflight, "too many are unanswered", RETRY_AFTER))
        } else {
            connection.rate.take(now).err().map(|wait| (ErrorCode::RateLimited, "too many a second", wait))
        };
        if let Some((code, reason, wait)) = refusal {
            session.hold(request, code);
            self.v1_error(id, code, reason, Some(request), Some(wait));
            return None;
        }
        let user = connection.user();
        if payload.bytes().len() as u64 > limits.payload {
            self.settle(id, key, request, Outcome::Refused(ErrorCode::PayloadTooLarge), None);
            return None;
        }
        Some((key, user))
    }

    /// Remembers an outcome and tells it, once it is on disk where there is a store.
    pub(super) fn settle(
        &mut self,
        id: ConnectionId,
        session: SessionKey,
        request: u64,
        outcome: Outcome,
        refused: Option<MutateError>,
    ) {
        if self.journal.is_some() {
            if super::mutant("receipt-before-disk") {
                self.v1_outcome(id, request, &outcome, false, None);
            }
            return self.stage_outcome(id, session, request, outcome, None, refused);
        }
        self.v1_outcome(id, request, &outcome, false, refused.as_ref());
        if !matches!(outcome, Outcome::Refused(_)) {
            self.stats.messages_in += 1;
        }
        self.sessions.settle(session, request, outcome, 0);
    }

    pub(super) fn v1_outcome(
        &mut self,
        id: ConnectionId,
        request: u64,
        outcome: &Outcome,
        mut duplicate: bool,
        refused: Option<&MutateError>,
    ) {
        let (epoch, offset) = match outcome {
            Outcome::Stored { epoch, offset } => (Some((&**epoch).into()), Some(*offset)),
            Outcome::Unchanged { epoch, offset } => {
                duplicate = true;
                (Some((&**epoch).into()), Some(*offset))
            }
            Outcome::Sent => (None, None),
            Outcome::Refused(code) => {
                if let Some(refused) = refused {
                    let mut refusal = Refusal::new(*code, &*refused.reason);
                    refusal.id = Some(request);
                    refusal.revision = refused.current.as_ref().map(|current| current.revision);
                    // Many conflicts over a large record must not close the connection that they came from.
                    let waiting = self.connections.get(&id).map_or(0, |connection| connection.control.bytes());
                    let fits = |record: &[u8]| waiting == 0 || waiting + record.len() <= self.config.writer_bytes;
                    let record = refused.current.as_ref().map(|current| &*current.record);
                    refusal.record = record.filter(|record| fits(record));
                    return self.v1_refuse(id, refusal);
                }
                let reason = match code {
                    ErrorCode::PayloadTooLarge => format!("a payload has at most {} bytes", self.config.limits.payload),
                    ErrorCode::NoHandler => "the application takes no messages".to_owned(),
                    ErrorCode::Forbidden => "this user may not publish there".to_owned(),
                    ErrorCode::NotFound => "there is no record with this id".to_owned(),
                    ErrorCode::InvalidRecord => "it is not a record".to_owned(),
                    ErrorCode::CollectionFull => "the collection takes no more".to_owned(),
                    _ => "it cannot be done".to_owned(),
                };
                return self.v1_error(id, *code, &reason, Some(request), None);
            }
        };
        let request = request + u64::from(super::mutant("receipt-for-another"));
        self.v1_answer(id, &ServerMessage::Receipt(Receipt { id: request, epoch, offset, duplicate }));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.control.answers += 1;
        }
    }

    fn v1_subscribe(
        &mut self,
        now: u64,
        id: ConnectionId,
        request: u64,
        name: &str,
        which: &Which<'_>,
        since: Option<&Position>,
    ) {
        let Some(connection) = self.connections.get(&id) else { return };
        let refuse = |hub: &mut Self, code, reason: &str| {
            let mut refusal = Refusal::new(code, reason);
            (refusal.id, refusal.channel, refusal.stream) = (Some(request), Some(name.into()), which.clone());
            hub.v1_refuse(id, refusal);
        };
        if !self.config.authorizer.can_subscribe(connection.user().as_deref(), name)
            && !super::mutant("all-may-subscribe")
        {
            return refuse(self, ErrorCode::Forbidden, "this user may not subscribe there");
        }
        if self.over_channels(id, name, which) {
            let reason = format!("a connection has at most {} channels", self.config.limits.channels);
            return refuse(self, ErrorCode::TooManyChannels, &reason);
        }
        let Some((start, epoch)) = self.subscribe(now, id, name, which, since) else { return };
        match start.recovered {
            Some(true) => self.stats.recovered += 1,
            Some(false) => self.stats.unrecovered += 1,
            None => {}
        }
        self.v1_answer(
            id,
            &ServerMessage::Subscribed(Subscribed {
                id: request,
                channel: name.into(),
                stream: which.clone(),
                epoch: (&*epoch).into(),
                offset: start.offset,
                recovered: start.recovered,
                grace: matches!(which, Which::Presence).then(|| ms(self.config.presence.grace)),
            }),
        );
    }

    fn v1_credit(&mut self, id: ConnectionId, channel: &str, which: &Which<'_>, bytes: u64) {
        let Some(key) = self.streams.find(channel, which) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.credit(key, bytes);
        let last = self.streams.stream(key).map_or(0, |stream| stream.history.last());
        if connection.subscriptions.subscription(key).is_some_and(|subscription| subscription.is_behind(last)) {
            connection.enqueue(key);
        }
    }

    fn v1_auth(&mut self, now: u64, id: ConnectionId, request: u64, token: &str) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match self.config.auth.verify(token, now) {
            Err(error) => self.v1_error(id, ErrorCode::Unauthorized, &error.to_string(), Some(request), None),
            Ok(identity) if identity.user != connection.user() => {
                self.v1_error(id, ErrorCode::Forbidden, "the token is for another user", Some(request), None);
            }
            Ok(identity) => {
                let answer = ServerMessage::Authenticated {
                    id: request,
                    user: identity.user.as_deref().map(Into::into),
                    expires_in: identity.expires_at.map(|at| at.saturating_sub(now)),
                };
                connection.control.line(&answer);
                connection.identity = Some(identity);
                self.schedule(id);
            }
        }
    }

    pub(super) fn v1_answer(&mut self, id: ConnectionId, message: &ServerMessage<'_>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.control.line(message);
        }
    }

    pub(super) fn v1_error(
        &mut self,
        id: ConnectionId,
        code: ErrorCode,
        reason: &str,
        request: Option<u64>,
        retry_after: Option<u64>,
    ) {
        let mut refusal = Refusal::new(code, reason);
        (refusal.id, refusal.retry_after) = (request, retry_after);
        self.v1_refuse(id, refusal);
    }

    pub(super) fn v1_refuse(&mut self, id: ConnectionId, refusal: Refusal<'_>) {
        self.stats.refused += 1;
        self.v1_answer(id, &ServerMessage::Error(refusal));
    }

    /// Whether a new subscription would be one too many.
    pub(super) fn over_channels(&self, id: ConnectionId, name: &str, which: &Which<'_>) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        let known = self.streams.find(name, which).is_some_and(|key| connection.subscriptions.contains(key));
        !known && connection.subscriptions.len() as u64 >= self.config.limits.channels
    }

    /// Starts a subscription, or starts it again.
    pub(super) fn subscribe(
        &mut self,
        now: u64,
        id: ConnectionId,
        name: &str,
        which: &Which<'_>,
        since: Option<&Position>,
    ) -> Option<(Start, Arc<str>)> {
        let key = self.streams.open(now, name, which, &mut self.ids);
        let start = self.streams.start(now, key, since)?;
        self.streams.subscribe(now, key, id);
        self.record_stream(key);
        self.stats.channels_forgotten += self.streams.bound(key);
        let stream = self.streams.stream(key)?;
        let connection = self.connections.get_mut(&id)?;
        connection.unsubscribe(key);
        let mut subscription =
            Subscription { cursor: start.offset + u64::from(super::mutant("starts-late")), ..Subscription::default() };
        if start.recovered != Some(true) && stream.has_state() {
            subscription.begin_snapshot(start.offset);
        }
        connection.subscriptions.insert(key, subscription);
        if start.offset < stream.history.last() || stream.has_state() {
            connection.enqueue(key);
        }
        Some((start, stream.epoch.clone()))
    }

    pub(super) fn unsubscribe(&mut self, now: u64, id: ConnectionId, name: &str, which: &Which<'_>) {
        let Some(key) = self.streams.find(name, which) else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.unsubscribe(key);
            self.streams.unsubscribe(now, key, id);
        }
    }
}
