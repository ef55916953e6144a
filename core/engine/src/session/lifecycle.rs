//! From one connection to the next.

use std::time::Duration;

use super::{Dialect, Phase, Session};
use crate::config::{Protocol, Token, TokenPlacement, parse_url};
use crate::error::{Error, ErrorKind};
use crate::io::{Attempt, Event, OpenError, OpenRequest, Opened, Output};
use crate::recorder::What;
use crate::status::{ChannelState, Status};
use crate::timers::Timer;
use crate::wire::{ClientMessage, CloseCode, ClosePolicy, Encoding, Hello, SUBPROTOCOL_PLAIN, SUBPROTOCOL_V1, Welcome};

/// How often a client takes it for its own doing that its session was replaced.
const MAX_LATE_HELLOS: u32 = 3;

impl Session {
    pub(super) fn begin_attempt(&mut self) {
        self.timers.clear(Timer::Retry);
        self.attempt = Attempt(self.attempt.0.wrapping_add(1));
        match &self.config.token {
            Token::Provider if crate::mutant("stale-token") && self.token.is_some() => self.open(),
            Token::Provider => {
                let request = self.request_token();
                self.enter(Phase::Token { request });
                self.timers.set(Timer::Token, self.now + self.config.token_timeout);
            }
            Token::Static(token) => {
                self.token = Some(token.clone());
                self.open();
            }
            Token::None => self.open(),
        }
    }

    pub(super) fn open(&mut self) {
        self.enter(Phase::Opening);
        self.timers.set(Timer::Connect, self.now + self.config.connect_timeout);
        let mut headers = self.config.headers.clone();
        let mut query = self.config.query.clone();
        if let Some(token) = &self.token {
            match &self.config.token_placement {
                TokenPlacement::Header => headers.push(("Authorization".into(), format!("Bearer {token}"))),
                TokenPlacement::Query(name) => query.push((name.clone(), token.clone())),
                TokenPlacement::Hello => {}
            }
        }
        let url = match parse_url(&self.config.url) {
            Ok(mut url) => {
                if !query.is_empty() {
                    url.query_pairs_mut().extend_pairs(query);
                }
                url.to_string()
            }
            Err(error) => return self.stop(error),
        };
        let own: &[&str] = match self.config.protocol {
            // `plain` first: some servers acknowledge the first offer without knowing what it means.
            Protocol::Auto if self.offer_subprotocols => &[SUBPROTOCOL_PLAIN, SUBPROTOCOL_V1],
            Protocol::V1 => &[SUBPROTOCOL_V1],
            Protocol::Auto | Protocol::Plain => &[],
        };
        let offers = self.offer_subprotocols || self.config.protocol != Protocol::Auto;
        let others = self.config.subprotocols.iter().filter(|_| offers).cloned();
        let subprotocols = own.iter().map(|name| name.to_string()).chain(others).collect();
        self.recorder.note(self.now, What::Open(self.attempt));
        self.outputs.push_back(Output::Open(OpenRequest { attempt: self.attempt, url, headers, subprotocols }));
    }

    pub(super) fn opened(&mut self, protocol: Option<&str>) {
        if self.phase != Phase::Opening {
            return;
        }
        self.lines.clear();
        self.recorder.unsent();
        self.backlog = 0;
        self.heartbeat.start(self.now, self.config.heartbeat_interval, self.config.heartbeat_timeout);
        if protocol == Some(SUBPROTOCOL_V1) {
            self.dialect = Dialect::V1;
            self.enter(Phase::Handshake { since: self.now });
            let hello = ClientMessage::Hello(Hello {
                session: self.config.session.clone().into(),
                token: self.token.clone().map(Into::into),
                client: Some(self.config.client.clone().into()),
                encoding: if self.config.binary_json { Encoding::Binary } else { Encoding::Text },
                window: Some(self.config.inbox),
            });
            self.line(&hello);
        } else if self.config.protocol == Protocol::V1 {
            let message =
                format!("{} does not speak {SUBPROTOCOL_V1}; use protocol \"auto\" or \"plain\"", self.config.url);
            self.attempt_failed(Error::new(ErrorKind::Protocol, message), ClosePolicy::Terminal);
        } else {
            self.dialect = Dialect::Plain;
            self.limits = None;
            self.connected(Opened { dialect: "plain", connection: None, resumed: false, user: None });
        }
    }

    pub(super) fn welcomed(&mut self, welcome: &Welcome<'_>) {
        let Phase::Handshake { since } = self.phase else { return };
        self.limits = Some(welcome.limits);
        self.server_time = welcome.time;
        let interval = self.config.heartbeat_interval.min(Duration::from_millis(welcome.heartbeat.max(1)));
        self.heartbeat.start(self.now, interval, self.config.heartbeat_timeout);
        self.heartbeat.sample(self.now - since);
        self.schedule_refresh(welcome.expires_in);
        self.connected(Opened {
            dialect: SUBPROTOCOL_V1,
            connection: Some(welcome.connection.to_string()),
            resumed: welcome.resumed,
            user: welcome.user.as_ref().map(ToString::to_string),
        });
    }

    fn connected(&mut self, opened: Opened) {
        self.enter(Phase::Connected { since: self.now });
        self.timers.clear(Timer::Connect);
        self.timers.set(Timer::Ping, self.now + self.heartbeat.interval);
        self.timers.set(Timer::Dead, self.heartbeat.dead_at());
        self.failed_attempts = 0;
        if self.dialect == Dialect::V1 {
            self.peer.retire();
        }
        if std::mem::replace(&mut self.ever_connected, true) {
            self.stats.reconnects += 1;
        }
        self.set_status(Status::Connected, None, None);
        self.event(Event::Open(opened));
        self.resubscribe_waiting();
        self.channels.ids_of_streams().into_iter().for_each(|id| self.settle_tracking(id));
        if self.dialect == Dialect::Plain {
            self.send_ping();
        }
    }

    pub(super) fn open_failed(&mut self, error: OpenError) {
        if self.phase != Phase::Opening {
            return;
        }
        let url = &self.config.url;
        let new = |kind, message: String| Error::new(kind, message);
        let (error, policy) = match error {
            OpenError::NoSubprotocol if self.config.protocol == Protocol::Auto && self.offer_subprotocols => {
                self.offer_subprotocols = false;
                return self.open_again();
            }
            OpenError::NoSubprotocol => (
                new(ErrorKind::Protocol, format!("{url} acknowledged none of the subprotocols that were offered")),
                ClosePolicy::Terminal,
            ),
            OpenError::Unreachable(why) => {
                (new(ErrorKind::ConnectFailed, format!("cannot connect to {url}: {why}")), ClosePolicy::Reconnect)
            }
            OpenError::Tls(why) => (
                new(
                    ErrorKind::TlsFailed,
                    format!("TLS with {url} failed: {why}; a private authority needs the option ca"),
                ),
                ClosePolicy::Reconnect,
            ),
            OpenError::Handshake(why) => (
                new(ErrorKind::Protocol, format!("{url} did not answer as a WebSocket server: {why}")),
                ClosePolicy::Reconnect,
            ),
            OpenError::Http { status, retry_after } => {
                let kind = if status == 401 { ErrorKind::Unauthenticated } else { ErrorKind::HttpStatus };
                let mut error = new(kind, format!("{url} answered the upgrade with HTTP status {status}"));
                (error.status, error.retry_after) = (Some(status), retry_after);
                let policy = match status {
                    401 => ClosePolicy::Refresh,
                    408 | 425 | 429 | 500..=599 => ClosePolicy::Reconnect,
                    _ => ClosePolicy::Terminal,
                };
                (error, policy)
            }
        };
        // Once it has worked, a refusal may be a deploy that rolls by.
        let policy =
            if policy == ClosePolicy::Terminal && self.ever_connected { ClosePolicy::Reconnect } else { policy };
        self.attempt_failed(error, policy);
    }

    /// The same attempt, once more without what the server did not understand.
    fn open_again(&mut self) {
        self.attempt = Attempt(self.attempt.0.wrapping_add(1));
        self.open();
    }

    pub(super) fn socket_closed(&mut self, code: Option<CloseCode>, reason: &str) {
        let code = code.unwrap_or(CloseCode::ABNORMAL);
        match self.phase {
            Phase::Connected { .. } => self.lost(code, reason, None),
            Phase::Opening | Phase::Handshake { .. } => {
                let error = self.close_error(code, reason);
                self.attempt_failed(error, self.policy(code));
            }
            _ => {}
        }
        if code == CloseCode::SESSION_REPLACED {
            self.late_hellos = self.late_hellos.saturating_sub(1);
        }
    }

    /// What a close means. It may be a late `hello` of this very client that took the session over.
    fn policy(&self, code: CloseCode) -> ClosePolicy {
        let own = code == CloseCode::SESSION_REPLACED && self.late_hellos > 0;
        if own { ClosePolicy::Reconnect } else { code.policy() }
    }

    /// An open connection is gone. `cause` where it was this side that gave it up.
    pub(super) fn lost(&mut self, code: CloseCode, reason: &str, cause: Option<Error>) {
        let Phase::Connected { since } = self.phase else { return };
        let refreshable = self.config.token == Token::Provider;
        let policy = match self.policy(code) {
            ClosePolicy::Refresh if !refreshable => ClosePolicy::Terminal,
            policy => policy,
        };
        let reconnecting = policy != ClosePolicy::Terminal && self.config.reconnect && !self.closing;
        let error = cause.unwrap_or_else(|| self.close_error(code, reason));
        self.leave_connection();
        self.event(Event::Close { code, reason: reason.to_owned(), reconnecting });
        // A server that closes at once is as good as one that refuses: only a connection that lasted starts the backoff anew.
        if self.now - since >= self.config.reconnect_base {
            self.backoff.reset();
        }
        if self.closing {
            self.finish_disconnect();
        } else if !reconnecting {
            self.stop(error);
        } else {
            let delay = self.backoff.next(&self.config, &mut self.rng);
            self.wait(delay, Status::Reconnecting, error);
        }
    }

    /// Leaves a server that drains, and comes back at once.
    pub(super) fn leave_for_another(&mut self) {
        self.close_socket(CloseCode::NORMAL, "goaway");
        self.leave_connection();
        self.event(Event::Close { code: CloseCode::GOING_AWAY, reason: "goaway".into(), reconnecting: true });
        if self.closing {
            return self.finish_disconnect();
        }
        let error =
            Error::closed_by(CloseCode::GOING_AWAY, ErrorKind::ConnectionLost, "the server drains; connecting again");
        self.set_status(Status::Reconnecting, Some(error), Some(Duration::ZERO));
        self.begin_attempt();
    }

    /// An attempt has failed before it was connected.
    pub(super) fn attempt_failed(&mut self, error: Error, policy: ClosePolicy) {
        self.leave_connection();
        self.failed_attempts = self.failed_attempts.saturating_add(1);
        let terminal = match policy {
            ClosePolicy::Terminal => true,
            ClosePolicy::Refresh => self.config.token != Token::Provider,
            _ => !self.config.reconnect,
        };
        if terminal {
            return self.stop(error);
        }
        if self.config.max_attempts.is_some_and(|max| self.failed_attempts >= max) {
            let message =
                format!("gave up after {} failed attempts; the last: {}", self.failed_attempts, error.message);
            self.error(error);
            return self.stop(Error::new(ErrorKind::MaxAttempts, message));
        }
        self.error(error.clone());
        let delay = self.backoff.next(&self.config, &mut self.rng).max(error.retry_after.unwrap_or_default());
        let status =
            if self.failed_attempts >= self.config.attempts_until_error { Status::Error } else { Status::Reconnecting };
        self.wait(delay, status, error);
    }

    fn wait(&mut self, delay: Duration, status: Status, reason: Error) {
        self.enter(Phase::Waiting);
        self.timers.set(Timer::Retry, self.now + delay);
        self.set_status(status, Some(reason), Some(delay));
    }

    /// Gives up for good.
    fn stop(&mut self, error: Error) {
        self.enter(Phase::Stopped);
        self.timers.clear(Timer::Retry);
        self.error(error.clone());
        self.ended = Some(error.clone());
        self.end_all_sends(&error);
        for id in self.wanted_channels() {
            self.set_channel_state(id, ChannelState::Failed, Some(error.clone()));
        }
        // Also where it probed in that status before: that no attempt follows is news.
        self.status = Status::Error;
        self.event(Event::Status { status: Status::Error, reason: Some(error), retry_in: None });
    }

    pub(super) fn finish_disconnect(&mut self) {
        self.closing = false;
        let connected = matches!(self.phase, Phase::Connected { .. });
        if connected {
            self.untrack_all();
            self.flush_lines();
            self.close_socket(CloseCode::NORMAL, "");
        }
        self.leave_connection();
        if connected {
            self.event(Event::Close { code: CloseCode::NORMAL, reason: "disconnect".into(), reconnecting: false });
        }
        self.enter(Phase::Idle);
        self.timers.clear(Timer::Retry);
        self.timers.clear(Timer::Flush);
        self.ended = Some(Self::closed_error());
        self.end_all_sends(&Self::closed_error());
        self.set_status(Status::Disconnected, None, None);
    }

    /// Forgets what belongs to the connection; what belongs to the session waits for the next one.
    fn leave_connection(&mut self) {
        // A socket that is still being opened, or that has not heard of it, is closed; closing twice does no harm.
        if matches!(self.phase, Phase::Opening | Phase::Handshake { .. }) {
            self.close_socket(CloseCode::NORMAL, "");
        }
        if matches!(self.phase, Phase::Handshake { .. }) {
            self.late_hellos = (self.late_hellos + 1).min(MAX_LATE_HELLOS);
        }
        self.timers.clear_connection();
        self.refreshing = None;
        self.lines.clear();
        self.recorder.unsent();
        self.owed = 0;
        self.outbox.rewind();
        for id in self.channels.iter_mut().map(|channel| channel.id).collect::<Vec<_>>() {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            channel.request = None;
            channel.asked = false;
            channel.reset_window();
            let state = match channel.state {
                ChannelState::Subscribed => ChannelState::Resubscribing,
                ChannelState::Unsubscribing => ChannelState::Idle,
                state => state,
            };
            self.set_channel_state(id, state, None);
            self.stream_left(id, true);
            if let Some(tracking) = self.tracking(id) {
                tracking.left();
            }
        }
        self.schedule_streams();
        self.peers_left();
        self.enter(Phase::Waiting);
    }

    pub(super) fn close_socket(&mut self, code: CloseCode, reason: &str) {
        self.recorder.note(self.now, What::Close(self.attempt, code));
        self.outputs.push_back(Output::Close { attempt: self.attempt, code, reason: reason.to_owned() });
    }

    fn close_error(&self, code: CloseCode, reason: &str) -> Error {
        let url = &self.config.url;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let (kind, what) = match self.policy(code) {
            ClosePolicy::Terminal => (ErrorKind::Rejected, "closed the connection for good"),
            ClosePolicy::Refresh => (ErrorKind::Unauthenticated, "wants another token"),
            _ if code == CloseCode::ABNORMAL => (ErrorKind::ConnectionLost, "is gone"),
            _ => (ErrorKind::ConnectionLost, "closed the connection"),
        };
        Error::closed_by(code, kind, format!("{url} {what} (code {} {}){reason}", code.0, code.name()))
    }

    pub(super) fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Retry => self.begin_attempt(),
            Timer::Token => {
                let message = format!("the token provider gave no answer within {:?}", self.config.token_timeout);
                self.attempt_failed(Error::new(ErrorKind::Timeout, message), ClosePolicy::Reconnect);
            }
            Timer::Connect => {
                let message = format!("{} was not connected within {:?}", self.config.url, self.config.connect_timeout);
                self.attempt_failed(Error::new(ErrorKind::Timeout, message), ClosePolicy::Reconnect);
            }
            Timer::Ping => {
                self.send_ping();
                self.timers.set(Timer::Ping, self.now + self.heartbeat.interval);
            }
            Timer::Dead => self.check_liveness(),
            Timer::Goaway => self.leave_for_another(),
            Timer::Refresh => self.refreshing = Some(self.request_token()),
            Timer::Resubscribe => self.resubscribe_waiting(),
            Timer::SendTimeout => self.expire_sends(),
            Timer::Flush => self.finish_disconnect(),
            Timer::Streams => self.streams_due(),
            Timer::Peers => self.peers_due(),
            // Nothing to do: the next poll, or the driver, writes what they held back.
            Timer::Rate | Timer::Hold | Timer::Journal => {}
        }
    }

    fn check_liveness(&mut self) {
        // What is not read proves nothing: the silence then is this side's.
        if !self.wants_read() || crate::mutant("never-dead") {
            self.heartbeat.alive(self.now);
        }
        let dead_at = self.heartbeat.dead_at();
        if dead_at > self.now {
            return self.timers.set(Timer::Dead, dead_at);
        }
        let silence = self.heartbeat.timeout;
        let message = format!("no frame came from {} for {silence:?}; connecting again", self.config.url);
        let error = Error::closed_by(CloseCode::HEARTBEAT_TIMEOUT, ErrorKind::HeartbeatTimeout, message);
        self.error(error.clone());
        self.close_socket(CloseCode::HEARTBEAT_TIMEOUT, "heartbeat timeout");
        self.lost(CloseCode::HEARTBEAT_TIMEOUT, "heartbeat timeout", Some(error));
    }
}
