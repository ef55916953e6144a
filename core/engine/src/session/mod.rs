mod collections;
mod dump;
mod durable;
mod holding;
mod incoming;
mod lifecycle;
mod outgoing;
mod peer;
mod peer_collection;
mod peer_presence;
mod presence;
mod streams;
mod token;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::budget::{Budget, Permit};
use crate::channels::Channels;
use crate::config::{Config, WhenFull};
use crate::error::{Error, ErrorKind};
use crate::heartbeat::Heartbeat;
use crate::io::{Attempt, ChannelId, Data, Event, Input, Output, RequestId, Text};
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::rate::RateLimit;
use crate::recorder::{Recorder, What};
use crate::rng::Rng;
use crate::stats::{Quality, Stats};
use crate::status::{ChannelState, Status};
use crate::time::Timestamp;
use crate::timers::{Timer, Timers};
use crate::wire::{Frame, Limits, Position, Stream, validate_name};

/// Where the connection stands. Each phase but the first and the last has one thing that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not wanted.
    Idle,
    /// Waits for the token provider.
    Token { request: u64 },
    /// Waits for the socket.
    Opening,
    /// Waits for `welcome`.
    Handshake { since: Timestamp },
    /// Open since then.
    Connected { since: Timestamp },
    /// Waits for the next attempt.
    Waiting,
    /// Gave up.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V1,
    Plain,
}

/// Everything that a connection does, without the connection.
///
/// Tell it what happens with [`connect`](Self::connect) and the other calls of an application and with
/// [`handle`](Self::handle); after that [`poll`](Self::poll) until `None` and do what it says, in order; call again at
/// [`deadline`](Self::deadline) at the latest. It is deterministic: the same calls with the same times and the same seed give the
/// same outputs.
#[derive(Debug)]
pub struct Session {
    config: Config,
    now: Timestamp,
    rng: Rng,
    outputs: VecDeque<Output>,
    timers: Timers,

    phase: Phase,
    status: Status,
    attempt: Attempt,
    dialect: Dialect,
    /// Cleared by a server that acknowledges no subprotocol.
    offer_subprotocols: bool,
    /// A connection has succeeded before.
    ever_connected: bool,
    /// A graceful disconnect waits for receipts.
    closing: bool,
    /// Why sends are refused: the application disconnected, or the session gave up.
    ended: Option<Error>,
    failed_attempts: u32,
    /// Attempts that were given up after `hello`, which the server may yet see.
    late_hellos: u32,
    backoff: Backoff,
    token: Option<String>,
    token_requests: u64,
    /// The request for a token that refreshes an open connection.
    refreshing: Option<u64>,
    heartbeat: Heartbeat,
    limits: Option<Limits>,
    /// The server's clock at `welcome`: what is older was recovered.
    server_time: u64,
    next_control_id: u64,

    channels: Channels,
    /// Those that the application subscribed or left since the last poll.
    changed: Vec<ChannelId>,
    /// Presences for which there may be something to say.
    tracking_changed: Vec<ChannelId>,
    /// The last UUID without its random part.
    last_uuid: u64,
    outbox: Outbox,
    rate: Option<RateLimit>,
    /// JSON lines that wait for a frame.
    lines: Vec<u8>,
    /// Bytes that wait in the driver.
    backlog: usize,
    unconsumed: u64,
    /// Consumed bytes for which the server has no credit yet.
    owed: u64,
    /// A channel waits to be subscribed again until more is consumed.
    held_back: bool,
    /// Counts the snapshots that the application was to load.
    loads: u64,
    peer: Peer,
    stats: Stats,
    recorder: Recorder,
    /// What the jitter is made from, where the session id is not.
    told_seed: Option<u64>,
}

/// Ids of requests other than publishes and sends, which count from 1, begin here.
const CONTROL_IDS: u64 = 1 << 52;

impl Session {
    /// A session that is not connected. Fails with `invalid_option` or `invalid_url`.
    pub fn new(mut config: Config, now: Timestamp, seed: u64) -> Result<Self, Error> {
        config.validate()?;
        let mut rng = Rng::new(seed);
        // What the session id was made from is as secret as that.
        let told_seed = (!config.session.is_empty()).then_some(seed);
        if config.session.is_empty() {
            config.session = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
        }
        Ok(Self {
            now,
            rng,
            outputs: VecDeque::new(),
            timers: Timers::default(),
            phase: Phase::Idle,
            status: Status::Disconnected,
            attempt: Attempt(0),
            dialect: Dialect::Plain,
            offer_subprotocols: true,
            ever_connected: false,
            closing: false,
            ended: None,
            failed_attempts: 0,
            late_hellos: 0,
            backoff: Backoff::default(),
            token: None,
            token_requests: 0,
            refreshing: None,
            heartbeat: Heartbeat::new(config.heartbeat_interval, config.heartbeat_timeout),
            limits: None,
            server_time: 0,
            next_control_id: CONTROL_IDS,
            channels: Channels::default(),
            changed: Vec::new(),
            tracking_changed: Vec::new(),
            last_uuid: 0,
            outbox: Outbox::new(Budget::new(config.queue_messages, config.queue_bytes)),
            rate: config.rate_limit.map(RateLimit::new),
            lines: Vec::new(),
            backlog: 0,
            unconsumed: 0,
            owed: 0,
            held_back: false,
            loads: 0,
            peer: Peer::default(),
            stats: Stats::default(),
            recorder: Recorder::new(config.record, config.send_timeout.is_some()),
            told_seed,
            config,
        })
    }

    /// Starts to connect, and to stay connected. Between two attempts it tries at once; otherwise it does nothing where it is
    /// at it already.
    pub fn connect(&mut self, now: Timestamp) {
        self.now = now;
        self.recorder.call(now, "connect", None);
        self.closing = false;
        self.timers.clear(Timer::Flush);
        self.ended = None;
        match self.phase {
            Phase::Idle | Phase::Stopped => {
                self.failed_attempts = 0;
                self.backoff.reset();
                self.outbox.restart(now);
                self.schedule_send_timeout();
                self.set_status(Status::Connecting, None, None);
                self.begin_attempt();
            }
            Phase::Waiting => self.begin_attempt(),
            _ => {}
        }
    }

    /// Ends the connection. Where it is open, waits up to `flush` for the receipts of what is queued; what is left fails with
    /// `closed`, or with `deferred` where a durable outbox keeps it. Subscriptions stay declared: a later [`connect`](Self::connect) recovers them.
    pub fn disconnect(&mut self, now: Timestamp, flush: Duration) {
        self.now = now;
        self.recorder.call_with(now, "disconnect", None, flush.as_millis() as u64, None);
        let waits = matches!(self.phase, Phase::Connected { .. }) && !self.outbox.is_empty() && !flush.is_zero();
        if waits {
            self.closing = true;
            self.timers.set(Timer::Flush, now + flush);
        } else {
            self.finish_disconnect();
        }
    }

    /// The id of a channel name, without subscribing to it. Fails with `invalid_name`.
    pub fn channel(&mut self, name: &str) -> Result<ChannelId, Error> {
        validate_name("channel", name)?;
        Ok(self.channels.find_or_add(name, &Stream::Messages).id)
    }

    /// Declares a subscription, which lasts over reconnects until [`unsubscribe`](Self::unsubscribe). Does nothing where it is
    /// declared already. Works offline. Fails with `invalid_name`.
    pub fn subscribe(&mut self, now: Timestamp, name: &str) -> Result<ChannelId, Error> {
        self.now = now;
        let id = self.channel(name)?;
        if let Some(channel) = self.channels.get_mut(id)
            && !channel.wanted
        {
            channel.wanted = true;
            self.recorder.call(now, "subscribe", Some(id));
            self.change(id, ChannelState::Subscribing);
        }
        Ok(id)
    }

    /// Ends a subscription. What was not consumed yet may still be.
    pub fn unsubscribe(&mut self, now: Timestamp, id: ChannelId) {
        self.now = now;
        self.recorder.call(now, "unsubscribe", Some(id));
        let Some(channel) = self.channels.get_mut(id) else { return };
        if std::mem::take(&mut channel.wanted) || channel.state == ChannelState::Failed {
            let state = if channel.asked { ChannelState::Unsubscribing } else { ChannelState::Idle };
            self.change(id, state);
        }
    }

    /// Notes what the application wants of a channel. What that comes to is told and sent at the next poll: changing one's mind a
    /// thousand times costs no more than once.
    fn change(&mut self, id: ChannelId, state: ChannelState) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.state = state;
        channel.position = None;
        // The answer to an earlier request says nothing about this one.
        channel.request = None;
        if !std::mem::replace(&mut channel.changed, true) {
            self.changed.push(id);
        }
        self.drop_held(id);
        self.stream_left(id, false);
    }

    /// Publishes into a channel. Unless it fails at once (`closed`, `invalid_name`, `unsupported`), it ends with
    /// [`Event::Receipt`] or [`Event::SendFailed`] of `request`. The permit comes from [`budget`](Self::budget).
    pub fn publish(
        &mut self,
        now: Timestamp,
        request: RequestId,
        channel: ChannelId,
        event: Text,
        payload: Data,
        permit: Permit,
    ) -> Result<(), Error> {
        validate_name("event", &event)?;
        self.enqueue(now, request, Some(channel), Some(event), payload, permit)
    }

    /// Sends a message to the backend itself: `event` is its type, needed for JSON and ignored for binary. Ends as
    /// [`publish`](Self::publish) does.
    pub fn send(
        &mut self,
        now: Timestamp,
        request: RequestId,
        event: Option<Text>,
        payload: Data,
        permit: Permit,
    ) -> Result<(), Error> {
        if matches!(payload, Data::Json(_)) {
            validate_name("event", event.as_deref().unwrap_or_default())?;
        }
        self.enqueue(now, request, None, event, payload, permit)
    }

    /// The application has consumed messages of a channel (`None`: direct ones) of so many bytes (the `size` of their events).
    pub fn consumed(&mut self, now: Timestamp, channel: Option<ChannelId>, bytes: u64) {
        self.now = now;
        self.recorder.consumed(now, channel, bytes);
        self.consume(channel, bytes);
    }

    fn consume(&mut self, channel: Option<ChannelId>, bytes: u64) {
        let Some(id) = channel else {
            self.unconsumed = self.unconsumed.saturating_sub(bytes);
            return self.resubscribe_held_back();
        };
        let Some(channel) = self.channels.get_mut(id) else { return };
        let before = channel.unconsumed;
        self.owed += channel.consumed(bytes);
        self.unconsumed = self.unconsumed.saturating_sub(before - channel.unconsumed);
        let owed = channel.owed;
        if owed >= self.config.inbox.channel.div_ceil(4) {
            self.send_credit(id);
        }
        // Many channels that each owe little could close the connection's window together.
        if self.owed >= self.config.inbox.connection.div_ceil(4) {
            let owing: Vec<_> = self.channels.iter_mut().filter(|c| c.owed > 0).map(|c| c.id).collect();
            owing.into_iter().for_each(|id| self.send_credit(id));
        }
        self.ask_for_load(id);
        self.resubscribe_held_back();
    }

    fn resubscribe_held_back(&mut self) {
        if self.held_back {
            self.resubscribe_waiting();
        }
    }

    /// Takes what the driver has to say. Inputs of a socket that was given up are ignored.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = now;
        self.record(&input);
        match input {
            Input::Opened { attempt, protocol } if attempt == self.attempt => self.opened(protocol.as_deref()),
            Input::OpenFailed { attempt, error } if attempt == self.attempt => self.open_failed(error),
            Input::Frame { attempt, frame } if attempt == self.attempt || crate::mutant("old-sockets") => {
                self.frame(frame)
            }
            Input::Closed { attempt, code, reason } if attempt == self.attempt => self.socket_closed(code, &reason),
            Input::Flushed { attempt } if attempt == self.attempt => self.flushed(),
            Input::Backlog { attempt, bytes } if attempt == self.attempt => self.backlog = bytes,
            Input::Token { request, result } => self.token_answered(request, result),
            _ => {}
        }
        while let Some(timer) = self.timers.pop_due(now) {
            self.recorder.input(now, What::Timer(timer), None);
            self.fire(timer);
        }
    }

    /// The next thing to do; `None` where there is nothing until the next call.
    pub fn poll(&mut self) -> Option<Output> {
        self.look();
        if self.outputs.is_empty() && self.outbox.budget().take_writable() {
            self.outputs.push_back(Output::Event(Event::Writable));
        }
        self.outputs.pop_front()
    }

    /// The next frame to send, where it is the next output: for who can write it at once. Everything else is left for
    /// [`poll`](Self::poll).
    pub fn poll_send(&mut self) -> Option<(Attempt, Frame)> {
        self.look();
        match self.outputs.pop_front()? {
            Output::Send { attempt, frame } => Some((attempt, frame)),
            other => {
                self.outputs.push_front(other);
                None
            }
        }
    }

    /// Looks for something to say, where nothing is waiting to be said.
    fn look(&mut self) {
        if self.outputs.is_empty() {
            self.recorder.polled();
            self.settle_changes();
            std::mem::take(&mut self.tracking_changed).into_iter().for_each(|id| self.settle_tracking(id));
            self.write();
        }
    }

    /// Takes all that [`poll`](Self::poll) would return before the session has to look again for something to say; whether there
    /// was something.
    pub fn poll_all(&mut self, outputs: &mut VecDeque<Output>) -> bool {
        let Some(first) = self.poll() else { return false };
        if outputs.is_empty() {
            self.outputs.push_front(first);
            std::mem::swap(&mut self.outputs, outputs);
        } else {
            outputs.push_back(first);
            outputs.append(&mut self.outputs);
        }
        true
    }

    /// Whether it matters to the session when what was sent is with the operating system: [`Input::Flushed`].
    pub fn awaits_flush(&self) -> bool {
        self.dialect == Dialect::Plain
    }

    /// Whether the last call has left something to poll for. What waits for its turn, as sends do, does not count.
    pub fn has_news(&self) -> bool {
        !(self.outputs.is_empty()
            && self.lines.is_empty()
            && self.changed.is_empty()
            && self.tracking_changed.is_empty())
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.timers.next().map(|(_, at)| at)
    }

    /// What the deadline is for, for logs.
    pub fn next_timer(&self) -> Option<String> {
        self.timers.next().map(|(timer, _)| format!("{timer:?}"))
    }

    /// Whether the driver should read from the socket. `false` is backpressure: the application has not consumed what it has.
    pub fn wants_read(&self) -> bool {
        let bound = match self.dialect {
            Dialect::Plain => self.config.inbox.connection,
            // The server keeps to the window; this is for one that does not, and for direct messages.
            Dialect::V1 => self.config.inbox.connection.saturating_mul(2),
        };
        self.unconsumed < bound
    }

    /// What the client is doing.
    pub fn status(&self) -> Status {
        self.status
    }

    /// What a channel is doing.
    pub fn channel_state(&self, id: ChannelId) -> ChannelState {
        self.channels.get(id).map(|channel| channel.state).unwrap_or_default()
    }

    /// How far a channel has been received, in `realtime.v1`; what a resubscribe goes on from.
    pub fn position(&self, id: ChannelId) -> Option<&Position> {
        self.channels.get(id).and_then(|channel| channel.position.as_ref())
    }

    /// The name of a channel.
    pub fn channel_name(&self, id: ChannelId) -> Option<&Text> {
        self.channels.get(id).map(|channel| &channel.name)
    }

    /// Figures of the session.
    pub fn stats(&self) -> Stats {
        let connected_at = match self.phase {
            Phase::Connected { since } => Some(since),
            _ => None,
        };
        Stats {
            status: self.status,
            connected_at,
            latency: self.heartbeat.latency(),
            jitter: self.heartbeat.jitter(),
            quality: if connected_at.is_some() { self.heartbeat.quality() } else { Quality::Offline },
            failed_attempts: self.failed_attempts,
            queued: self.outbox.budget().messages(),
            queued_bytes: self.outbox.budget().bytes(),
            unconsumed_bytes: self.unconsumed,
            next_attempt: self.timers.get(Timer::Retry),
            ..self.stats.clone()
        }
    }

    /// The bound of the outbox, where sends reserve their room.
    pub fn budget(&self) -> &Arc<Budget> {
        self.outbox.budget()
    }

    /// What the outbox does when it is full.
    pub fn when_full(&self) -> WhenFull {
        self.config.when_full
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.recorder.note(self.now, What::Phase(phase.name()));
    }

    fn event(&mut self, event: Event) {
        self.recorder.event(self.now, &event);
        self.outputs.push_back(Output::Event(event));
    }

    fn error(&mut self, error: Error) {
        self.event(Event::Error(error));
    }

    fn set_status(&mut self, status: Status, reason: Option<Error>, retry_in: Option<Duration>) {
        if self.status != status {
            self.status = status;
            self.event(Event::Status { status, reason, retry_in });
        }
    }

    fn set_channel_state(&mut self, id: ChannelId, state: ChannelState, error: Option<Error>) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.state = state;
        if channel.told != state {
            channel.told = state;
            self.event(Event::Channel { channel: id, state, error });
        }
    }

    fn closed_error() -> Error {
        Error::new(ErrorKind::Closed, "the client was disconnected by its application; connect() opens it again")
    }
}
