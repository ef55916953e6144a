use std::borrow::Cow;

use realtime_engine::wire::{CloseCode, ServerMessage};

use super::connection::{Dialect, Phase};
use super::{ConnectionId, Hub};

/// "Service restart": what simple clients know.
pub(super) const PLAIN_RESTART: CloseCode = CloseCode(1012);

impl Hub {
    /// Sends everybody away: `goaway` to those who understand it, so that they leave at random times within `spread` ms,
    /// the others closed one after the other meanwhile. Who is left `grace` ms later is closed. New connections are
    /// refused, and so are publishes: their history would end with the server.
    pub fn drain(&mut self, now: u64, spread: u64, grace: u64) {
        self.draining = true;
        let ids = self.connection_ids();
        let count = ids.len().max(1) as u64;
        for (index, id) in ids.into_iter().enumerate() {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if connection.phase == Phase::Closing {
                continue;
            }
            connection.close_at = Some(match connection.dialect {
                Dialect::V1 => now.saturating_add(spread).saturating_add(grace),
                Dialect::Plain => now.saturating_add(spread.saturating_mul(index as u64) / count),
            });
            if connection.dialect == Dialect::V1 && connection.phase == Phase::Open {
                connection.control.line(&ServerMessage::Goaway { reason: "drain".into(), spread });
                self.wake(id);
            }
            self.schedule(id);
        }
        self.fire(now);
    }

    /// Closes every connection.
    pub fn close_all(&mut self, now: u64, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        for id in self.connection_ids() {
            self.close(now, id, code, reason.clone());
        }
    }

    /// The open connections, in the order of their ids.
    pub fn connection_ids(&self) -> Vec<ConnectionId> {
        let mut ids: Vec<_> = self.connections.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}
