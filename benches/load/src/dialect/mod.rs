//! What the subjects speak. Each dialect is as small as its subjects need.

mod centrifuge;
mod phoenix;
mod plain;
mod realtime;
mod socketio;

use std::fmt;
use std::io;

use crate::case::Case;
use crate::out::Out;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// One JSON object a frame, `{"type", "payload", "timestamp", "channel"}`.
    Plain,
    /// `realtime.v1`, with receipts, flow control and several messages a frame.
    Realtime,
    /// Phoenix Channels, arrays.
    Phoenix,
    /// Supabase broadcasts in Phoenix arrays.
    Supabase,
    /// Supabase broadcasts in Phoenix objects.
    SupabaseObjects,
    /// Engine.IO 4 with Socket.IO 5 on top.
    SocketIo,
    /// The JSON protocol of Centrifugo, several messages a frame.
    Centrifuge,
}

impl Dialect {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "plain" => Self::Plain,
            "realtime" => Self::Realtime,
            "phoenix" => Self::Phoenix,
            "supabase" => Self::Supabase,
            "supabase-objects" => Self::SupabaseObjects,
            "socketio" => Self::SocketIo,
            "centrifuge" => Self::Centrifuge,
            _ => return None,
        })
    }
}

impl Case {
    pub(crate) fn speaker(&self) -> Box<dyn Speaker> {
        let recovers = self.kind.recovers();
        match self.dialect {
            Dialect::Plain => Box::new(plain::Plain),
            Dialect::Realtime => Box::new(realtime::Realtime::default()),
            Dialect::Phoenix => Box::new(phoenix::Phoenix::default()),
            Dialect::Supabase => Box::new(phoenix::Phoenix { broadcasts: true, ..phoenix::Phoenix::default() }),
            Dialect::SupabaseObjects => {
                Box::new(phoenix::Phoenix { broadcasts: true, objects: true, ..phoenix::Phoenix::default() })
            }
            Dialect::SocketIo => Box::new(socketio::SocketIo { recovers }),
            Dialect::Centrifuge => {
                Box::new(centrifuge::Centrifuge { history: recovers.then_some((self.payload, self.count)) })
            }
        }
    }
}

/// What a message of the client meant, beside what was answered.
#[derive(Debug)]
pub(crate) enum Heard {
    Nothing,
    Subscribed {
        channel: String,
        /// The offset that it goes on from, and has got already, where it asks for that.
        since: Option<u64>,
    },
    /// A message of the application.
    Published,
}

/// The server's end of a dialect, for one connection.
pub(crate) trait Speaker: Send + fmt::Debug {
    /// Before the client has said anything.
    fn opened(&self, _out: &mut Out) {}

    /// Takes one message and answers it.
    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard>;

    /// A message of a channel.
    fn message(&self, channel: &str, payload: &str) -> Vec<u8>;

    /// Whether flow control allows one more message of this channel.
    fn may_send(&self, _channel: usize) -> bool {
        true
    }

    fn sent(&mut self, _channel: usize, _bytes: u64) {}
}

fn unreadable(message: &[u8]) -> io::Error {
    io::Error::other(format!("cannot read {:?}", String::from_utf8_lossy(&message[..message.len().min(200)])))
}
