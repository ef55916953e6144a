//! The server's application: takes what clients send to it, and says something to them.

use bytes::Bytes;
use realtime_server::hub::{ConnectionId, Content};

use crate::checker;
use crate::world::{MILLI, World};

impl World {
    pub(crate) fn application_gets(&mut self, connection: ConnectionId, content: &Content) {
        // Of a connection whose ends both know that it is gone, too: what it said was on its way to the disk.
        let Some(client) = self.senders.get(&connection.0).copied() else { return };
        self.trace(|| format!("application <- client {client}: {}", String::from_utf8_lossy(content.bytes())));
        self.checker.received(client, content.bytes());
        if self.rng.bool() {
            self.say(connection.0);
        }
    }

    /// The application has something to say to one that is connected, of its own accord.
    pub(crate) fn say_to_somebody(&mut self) {
        if self.profile.application
            && let Some(connection) = self.rng.choice(self.links.keys().copied().collect::<Vec<_>>())
        {
            for _ in 0..self.rng.u64(1..5) {
                self.say(connection);
            }
            self.drain_hub();
        }
    }

    fn say(&mut self, connection: u64) {
        let number = self.directs.entry(connection).or_default();
        let text = Bytes::from(checker::direct(connection, *number + 1));
        let content = if self.rng.u32(0..5) == 0 { Content::Binary(text) } else { Content::Json(text) };
        if self.hub.direct(self.now / MILLI, ConnectionId(connection), "said", &content) == Ok(true) {
            *number += 1;
        }
    }
}
