use std::collections::BTreeSet;

use realtime_engine::wire::CloseCode;

use super::config::ms;
use super::connection::{Dialect, Phase, Waiting};
use super::sessions::SessionKey;
use super::streams::StreamKey;
use super::{ConnectionId, Hub};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Something about a connection may be due: heartbeat, handshake, blocked socket, token, drain.
    Connection(ConnectionId),
    /// What is too old goes.
    Sweep,
    /// A session without a connection is present no more.
    Grace(SessionKey),
    /// What changed in a presence is told.
    Presence(StreamKey),
    /// The disk is asked again.
    Store,
}

/// Timers by time. A connection's timer may go off early, never late: then its deadline is looked up again.
#[derive(Debug, Default)]
pub(super) struct Timers {
    timers: BTreeSet<(u64, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: u64, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, at: u64, timer: Timer) {
        self.timers.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn due(&mut self, now: u64) -> Option<Timer> {
        self.next().filter(|at| *at <= now)?;
        self.timers.pop_first().map(|(_, timer)| timer)
    }
}

impl Hub {
    /// Sets the timer of a connection where its deadline came nearer.
    pub(super) fn schedule(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let deadline = connection.deadline(&self.config);
        if deadline < connection.scheduled {
            self.timers.cancel(connection.scheduled, Timer::Connection(id));
            connection.scheduled = deadline;
            self.timers.set(deadline, Timer::Connection(id));
        }
    }

    pub(super) fn arm_sweep(&mut self, now: u64) {
        if self.timers.next().is_none() {
            self.timers.set(now.saturating_add(self.sweep_interval()), Timer::Sweep);
        }
    }

    /// Does what is due.
    pub(super) fn fire(&mut self, now: u64) {
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Connection(id) => self.check(now, id),
                Timer::Grace(session) => self.end_grace(now, session),
                Timer::Presence(stream) => self.tell_presence(now, stream),
                Timer::Store => {
                    if let Some(journal) = &mut self.journal {
                        journal.retry();
                    }
                }
                Timer::Sweep => {
                    self.stats.channels_forgotten += self.streams.sweep(now);
                    let age = self.config.history.age.max(self.config.presence.grace);
                    self.forget_sessions(now, now.saturating_sub(ms(age)));
                    self.timers.set(now.saturating_add(self.sweep_interval()), Timer::Sweep);
                }
            }
        }
    }

    /// Forgets sessions that are gone since before `oldest`, or are too many.
    pub(super) fn forget_sessions(&mut self, now: u64, oldest: u64) {
        self.stats.sessions_forgotten += self.sessions.forget(oldest, self.config.sessions);
        let ended = self.sessions.take_ended();
        self.end_tracks(now, ended);
    }

    pub(super) fn sweep_interval(&self) -> u64 {
        (ms(self.config.history.age) / 8).clamp(1000, 60_000)
    }

    fn check(&mut self, now: u64, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.scheduled = u64::MAX;
        let since = |start: u64| now.saturating_sub(start);
        match connection.phase {
            Phase::Closing => return,
            Phase::Opening if since(connection.opened_at) >= ms(self.config.handshake_timeout) => {
                self.stats.timeouts += 1;
                return self.close(now, id, CloseCode::HANDSHAKE_TIMEOUT, "no hello in time");
            }
            Phase::Open if since(connection.last_heard) >= ms(self.config.timeout) => {
                self.stats.timeouts += 1;
                return self.close(now, id, CloseCode::HEARTBEAT_TIMEOUT, "nothing was heard for too long");
            }
            _ => {}
        }
        if connection.blocked_since.is_some_and(|start| since(start) >= ms(self.config.write_timeout)) {
            return self.close(now, id, CloseCode::SLOW_CONSUMER, "nothing could be written for too long");
        }
        if connection.expires_at().is_some_and(|at| at <= now) {
            return self.close(now, id, CloseCode::TOKEN_EXPIRED, "the token has expired");
        }
        if connection.close_at.is_some_and(|at| at <= now) {
            let code = match connection.dialect {
                Dialect::Plain => super::drain::PLAIN_RESTART,
                Dialect::V1 => CloseCode::GOING_AWAY,
            };
            return self.close(now, id, code, "the server drains");
        }
        if connection.dialect == Dialect::Plain && connection.next_ping <= now {
            connection.next_ping = now.saturating_add(ms(self.config.heartbeat).max(1));
            if since(connection.last_heard) > 0 {
                connection.control.alone(Waiting::Ping);
                self.wake(id);
            }
        }
        self.schedule(id);
    }
}
