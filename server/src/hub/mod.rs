//! The hub: channels, presence, collections, sessions and connections, without sockets, clocks or threads.
//!
//! Time comes in as milliseconds since the Unix epoch and must not run backwards; ids come from the seed. The same
//! inputs give the same outputs.
//!
//! ```
//! use realtime_engine::wire::Frame;
//! use realtime_server::hub::{ConnectionId, Dialect, Hub, HubConfig, Input, Output};
//!
//! let mut hub = Hub::new(HubConfig::default(), 1);
//! let client = ConnectionId(1);
//! hub.handle(0, Input::Opened { connection: client, dialect: Dialect::V1, identity: None });
//! let hello = r#"{"type":"hello","session":"0123456789abcdef0123"}"#;
//! hub.handle(0, Input::Frame { connection: client, frame: Frame::Text(hello.into()) });
//!
//! let mut frames = Vec::new();
//! while let Some(output) = hub.poll() {
//!     match output {
//!         Output::Ready(connection) => while hub.pull(0, connection, &mut frames) {},
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert!(matches!(&frames[..], [Frame::Text(welcome)] if welcome.starts_with(b"{\"type\":\"welcome\"")));
//! ```

mod collections;
mod config;
mod connection;
mod drain;
mod durable;
mod history;
mod ids;
mod journal;
mod mutations;
mod plain;
mod presence;
mod publish;
mod pull;
mod rate;
mod restore;
mod runs;
mod sessions;
mod snapshot;
mod stats;
mod streams;
mod subscriptions;
mod timers;
mod tracking;
mod v1;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{CloseCode, ErrorCode, Frame};

use crate::auth::Identity;
use config::ms;
use connection::{Connection, Phase};
use ids::Ids;
use journal::Journal;
use runs::Runs;
use sessions::Sessions;
use streams::Streams;
use timers::{Timer, Timers};

pub use collections::{Current, MutateError};
pub use config::{AllowAll, Authorizer, CollectionConfig, HistoryConfig, HubConfig, PresenceConfig};
pub use connection::Dialect;
pub use ids::ConnectionId;
pub(crate) use ids::IdMap;
pub use journal::{Batch, Outcome, Record};
pub use presence::Member;
pub use publish::{Content, PublishError};
pub use restore::{Restore, RestoreError};
pub use stats::{Stats, StoreState};

/// Routes messages between connections. See the [module](self) for how it is driven.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    connections: IdMap<ConnectionId, Connection>,
    streams: Streams,
    runs: Runs,
    sessions: Sessions,
    timers: Timers,
    ids: Ids,
    outputs: VecDeque<Output>,
    /// Where there is a store.
    journal: Option<Journal>,
    draining: bool,
    stats: Stats,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// The WebSocket is open.
    Opened {
        /// A number that was never used before.
        connection: ConnectionId,
        /// What the subprotocols ask for.
        dialect: Dialect,
        /// What a token on the upgrade proved.
        identity: Option<Identity>,
    },
    /// A frame came.
    Frame {
        /// From whom.
        connection: ConnectionId,
        /// What.
        frame: Frame,
    },
    /// The socket takes no more of what was pulled. Again whenever it took some, but not all.
    Blocked {
        /// Whose socket.
        connection: ConnectionId,
    },
    /// The socket has taken everything after having been blocked.
    Unblocked {
        /// Whose socket.
        connection: ConnectionId,
    },
    /// The socket is gone.
    Closed {
        /// Whose socket.
        connection: ConnectionId,
    },
    /// These batches are on disk.
    Persisted {
        /// The number of the last one.
        up_to: u64,
    },
    /// The disk failed. No batch that was given and not confirmed is there, and none of them will be.
    PersistFailed,
    /// Time has passed.
    Tick,
}

/// What the network should do.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// There is something to [`pull`](Hub::pull). Not said again before it was.
    Ready(ConnectionId),
    /// Pull what is left, send a close frame, and report `Closed` soon, whether or not the peer answers.
    Close {
        /// Whose socket.
        connection: ConnectionId,
        /// For the close frame.
        code: CloseCode,
        /// For the close frame.
        reason: Cow<'static, str>,
    },
    /// A message for the application.
    Sent {
        /// From whom.
        connection: ConnectionId,
        /// The verified user.
        user: Option<Arc<str>>,
        /// `None` for a binary message.
        event: Option<String>,
        /// What.
        content: Content,
    },
    /// Write this, as one; batches in order, several together where several wait. Then report [`Input::Persisted`] or
    /// [`Input::PersistFailed`]. Only a hub that was made by [`Hub::restore`] says it.
    Persist(Arc<Batch>),
}

impl Hub {
    /// An empty hub that keeps everything in memory. The seed makes epochs and connection ids: take another one for every start.
    pub fn new(config: HubConfig, seed: u64) -> Self {
        Self {
            connections: IdMap::default(),
            streams: Streams::new(config.history),
            runs: Runs::default(),
            sessions: Sessions::default(),
            timers: Timers::default(),
            ids: Ids::new(seed),
            outputs: VecDeque::new(),
            journal: None,
            draining: false,
            stats: Stats::default(),
            config,
        }
    }

    /// Takes an input. Drain [`poll`](Self::poll) afterwards.
    pub fn handle(&mut self, now: u64, input: Input) {
        match input {
            Input::Opened { connection, dialect, identity } => self.opened(now, connection, dialect, identity),
            Input::Frame { connection, frame } => self.frame(now, connection, frame),
            Input::Blocked { connection } => {
                if let Some(open) = self.connections.get_mut(&connection) {
                    open.blocked_since = Some(now);
                    self.schedule(connection);
                }
            }
            Input::Unblocked { connection } => {
                if let Some(open) = self.connections.get_mut(&connection) {
                    open.blocked_since = None;
                }
            }
            Input::Closed { connection } => {
                self.leave(now, connection);
                if let Some(closed) = self.connections.remove(&connection) {
                    self.timers.cancel(closed.scheduled, Timer::Connection(connection));
                }
            }
            Input::Persisted { up_to } => self.persisted(now, up_to + u64::from(mutant("confirms-too-much"))),
            Input::PersistFailed => self.persist_failed(now),
            Input::Tick => {}
        }
        self.fire(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.next_batch().map(Output::Persist))
    }

    /// When the hub wants an input at the latest: [`Input::Tick`] will do.
    pub fn deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    /// Whether frames of this connection should be read now. Otherwise it does not take its answers; ask again after a pull.
    pub fn wants_frames(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|open| open.phase != Phase::Closing && open.control.bytes() < self.config.writer_bytes)
    }

    /// Whether another connection would be turned away.
    pub fn is_full(&self) -> bool {
        self.connections.len() >= self.config.connections
    }

    /// Whether a drain has begun.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Counters up to now.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.len() as u64,
            channels: self.streams.channels() as u64,
            members: self.streams.totals.members,
            collections: self.streams.totals.collections,
            records: self.streams.totals.records,
            record_bytes: self.streams.totals.record_bytes as u64,
            sessions: self.sessions.len() as u64,
            history_bytes: self.streams.bytes() as u64,
            store: match &self.journal {
                None => StoreState::Memory,
                Some(journal) if journal.is_failing() => StoreState::Failing,
                Some(_) => StoreState::Ok,
            },
            staged_bytes: self.journal.as_ref().map_or(0, |journal| journal.staged_bytes() as u64),
            ..self.stats.clone()
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// Closes a connection.
    pub fn close(&mut self, now: u64, id: ConnectionId, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        connection.phase = Phase::Closing;
        if code == CloseCode::SLOW_CONSUMER {
            connection.control.clear();
            self.stats.slow_consumers += 1;
        }
        self.leave(now, id);
        self.outputs.push_back(Output::Close { connection: id, code, reason: reason.into() });
    }

    fn opened(&mut self, now: u64, id: ConnectionId, dialect: Dialect, identity: Option<Identity>) {
        let (full, draining) = (self.is_full(), self.draining);
        self.stats.connections_total += 1;
        self.connections.insert(id, Connection::new(dialect, identity, now, &self.config));
        self.arm_sweep(now);
        if draining {
            let code = if dialect == Dialect::Plain { drain::PLAIN_RESTART } else { CloseCode::GOING_AWAY };
            self.close(now, id, code, "the server drains");
        } else if full {
            self.close(now, id, CloseCode::TOO_MANY_CONNECTIONS, "the server is full");
        } else if dialect == Dialect::Plain && !self.config.auth.is_open() && self.identity(id).is_none() {
            self.close(now, id, CloseCode::UNAUTHORIZED, "a token is required on the upgrade");
        } else {
            self.schedule(id);
        }
    }

    fn frame(&mut self, now: u64, id: ConnectionId, frame: Frame) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        connection.last_heard = now;
        let dialect = connection.dialect;
        self.stats.frames_in += 1;
        self.stats.bytes_in += frame.len() as u64;
        if frame.len() as u64 > self.config.limits.frame {
            let reason = format!("the frame has {} bytes, the limit is {}", frame.len(), self.config.limits.frame);
            return self.fault(now, id, ErrorCode::FrameTooLarge, &reason);
        }
        match (dialect, &frame) {
            (Dialect::V1, Frame::Text(bytes)) => self.v1_lines(now, id, bytes),
            (Dialect::V1, Frame::Binary(bytes)) if bytes.first() == Some(&b'{') => self.v1_lines(now, id, bytes),
            (Dialect::V1, Frame::Binary(bytes)) => self.v1_binary(now, id, bytes),
            (Dialect::Plain, Frame::Text(bytes)) => self.plain_text(now, id, bytes),
            (Dialect::Plain, Frame::Binary(bytes)) => self.plain_binary(now, id, bytes),
            _ => {}
        }
        self.bound_writer(now, id);
        self.wake(id);
    }

    /// Answers bytes that belong to no request.
    fn fault(&mut self, now: u64, id: ConnectionId, code: ErrorCode, reason: &str) {
        self.stats.faults += 1;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let flood = connection.faults.count(now);
        match connection.dialect {
            Dialect::V1 => self.v1_error(id, code, reason, None, None),
            Dialect::Plain => self.plain_error(now, id, code, reason),
        }
        self.wake(id);
        if flood {
            self.close(now, id, CloseCode::PROTOCOL_ERROR, "too much that is not this protocol");
        }
    }

    /// Answers may pile up only so far.
    fn bound_writer(&mut self, now: u64, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(|open| open.control.bytes() > self.config.writer_hard_bytes) {
            self.close(now, id, CloseCode::SLOW_CONSUMER, "too many answers are waiting");
        }
    }

    /// Takes a connection out of channels and session; what it still is to be told stays.
    fn leave(&mut self, now: u64, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for key in std::mem::take(&mut connection.subscriptions).into_keys() {
            self.streams.unsubscribe(now, key, id);
        }
        connection.behind.clear();
        if let Some(session) = connection.session.take() {
            let seen_at = connection.last_heard;
            if self.sessions.leave(now, session, id, seen_at) {
                let grace = if mutant("grace-ignored") { 0 } else { ms(self.config.presence.grace) };
                let end = now.saturating_add(grace);
                self.timers.set(end, Timer::Grace(session));
            }
        }
    }

    /// Tells the network, once, that there is something to pull.
    fn wake(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            wake(id, connection, &mut self.outputs);
        }
    }

    fn identity(&self, id: ConnectionId) -> Option<&Identity> {
        self.connections.get(&id).and_then(|connection| connection.identity.as_ref())
    }
}

fn wake(id: ConnectionId, connection: &mut Connection, outputs: &mut VecDeque<Output>) {
    if !connection.ready && connection.phase != Phase::Closing && connection.has_work() {
        connection.ready = true;
        outputs.push_back(Output::Ready(id));
    }
}

impl Content {
    /// The bytes, of whatever kind.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Content::Json(bytes) | Content::Binary(bytes) => bytes,
        }
    }
}

/// Whether this behaviour is broken on purpose: never, without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
const fn mutant(_name: &str) -> bool {
    false
}

#[cfg(feature = "mutants")]
use realtime_engine::mutants::is_active as mutant;
