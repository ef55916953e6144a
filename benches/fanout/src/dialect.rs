//! What is said to each server under test, and what it says.

use std::io;

use clap::ValueEnum;

use crate::frame::{self, Framing, TEXT};
use crate::template::{Template, payload};

/// The channel that everybody subscribes to.
pub(crate) const ROOM: &str = "room";
/// The channel of the publisher, where nothing is said.
pub(crate) const QUIET: &str = "quiet";

/// A quarter of what clients announce as the window of a channel: then they give it back.
pub(crate) const CREDIT: u64 = 1 << 20;
/// Bytes of publishes that a client puts into one frame where the dialect has that.
const JOINED: usize = 32 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// `realtime.v1` with JSON in text frames, as in browsers.
    RealtimeText,
    /// `realtime.v1` with JSON in binary frames, as the native clients ask for it.
    Realtime,
    /// The plain dialect.
    Plain,
    /// Socket.IO, protocol 5, over a WebSocket.
    SocketIo,
    /// NATS over TCP.
    Nats,
}

/// What a message of the server means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// One of the channel.
    Delivered,
    /// The subscription is there, or a sign of life was answered, or the server gives one.
    Answer,
    /// The server wants to hear this.
    Reply(&'static str),
    /// The same, and it is a sign of life.
    Beat(&'static str),
    Nothing,
}

impl Dialect {
    pub(crate) fn framing(self) -> Framing {
        if self == Dialect::Nats { Framing::Nats } else { Framing::WebSocket }
    }

    pub(crate) fn is_realtime(self) -> bool {
        matches!(self, Dialect::Realtime | Dialect::RealtimeText)
    }

    /// Path and subprotocol of the upgrade.
    pub(crate) fn upgrade(self) -> (&'static str, Option<&'static str>) {
        match self {
            Dialect::Realtime | Dialect::RealtimeText => ("/", Some("realtime.v1")),
            Dialect::SocketIo => ("/socket.io/?EIO=4&transport=websocket", None),
            _ => ("/", None),
        }
    }

    /// What a client says first, to subscribe to a channel.
    pub(crate) fn greeting(self, client: usize, channel: &str) -> Vec<u8> {
        match self {
            Dialect::Realtime | Dialect::RealtimeText => {
                let encoding = if self == Dialect::Realtime { "binary" } else { "text" };
                let (connection, window) = (16 * CREDIT, 4 * CREDIT);
                // A session of an earlier run has used its numbers.
                let run = std::process::id();
                let hello = format!(
                    r#"{{"type":"hello","session":"{run:012}-{client:012}","client":"bench","encoding":"{encoding}","window":{{"connection":{connection},"channel":{window}}}}}"#
                );
                self.say(&[hello, format!(r#"{{"type":"subscribe","id":1,"channel":"{channel}"}}"#)])
            }
            Dialect::Plain => self.say(&[
                format!(r#"{{"type":"subscribe","payload":{{"channel":"{channel}"}},"timestamp":1}}"#),
                r#"{"type":"ping","payload":{"timestamp":1},"timestamp":1}"#.to_owned(),
            ]),
            Dialect::SocketIo => Vec::new(),
            Dialect::Nats => {
                format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {channel} 1\r\nPING\r\n").into()
            }
        }
    }

    /// A sign of life of the client; `None` where only the server gives them.
    pub(crate) fn beat(self) -> Option<Vec<u8>> {
        match self {
            Dialect::Realtime | Dialect::RealtimeText => Some(self.say(&[r#"{"type":"ping","id":1}"#.to_owned()])),
            Dialect::Plain => {
                Some(self.say(&[r#"{"type":"ping","payload":{"timestamp":1},"timestamp":1}"#.to_owned()]))
            }
            Dialect::SocketIo => None,
            Dialect::Nats => Some(b"PING\r\n".to_vec()),
        }
    }

    /// Gives back what was consumed.
    pub(crate) fn credit(self, bytes: u64) -> Vec<u8> {
        self.say(&[format!(r#"{{"type":"credit","channel":"{ROOM}","bytes":{bytes}}}"#)])
    }

    /// What this message of the server means to a client of the channel.
    pub(crate) fn hear(self, message: &[u8], channel: &str) -> io::Result<Heard> {
        let kind =
            |kind: &str| message.strip_prefix(b"{\"type\":\"").is_some_and(|rest| rest.starts_with(kind.as_bytes()));
        let heard = match self {
            Dialect::Realtime | Dialect::RealtimeText => match () {
                () if kind("message\"") => Heard::Delivered,
                () if kind("subscribed\"") || kind("pong\"") => Heard::Answer,
                () if kind("receipt\"") || kind("welcome\"") => Heard::Nothing,
                () => return Err(unexpected(message)),
            },
            Dialect::Plain => match () {
                () if kind("said\"") => Heard::Delivered,
                () if kind("pong\"") => Heard::Answer,
                () => return Err(unexpected(message)),
            },
            Dialect::SocketIo => match message {
                _ if message.starts_with(b"42[\"said\",") => Heard::Delivered,
                b"2" => Heard::Beat("3"),
                _ if message.starts_with(b"0{") => Heard::Reply("40"),
                _ if message.starts_with(b"40") && channel == ROOM => Heard::Reply(r#"420["subscribe","room"]"#),
                _ if message.starts_with(b"40") => Heard::Reply(r#"420["subscribe","quiet"]"#),
                _ if message.starts_with(b"430") => Heard::Answer,
                _ => return Err(unexpected(message)),
            },
            Dialect::Nats => match message {
                _ if message.starts_with(b"{") => Heard::Delivered,
                b"PONG" => Heard::Answer,
                _ if message.starts_with(b"INFO") => Heard::Nothing,
                _ => return Err(unexpected(message)),
            },
        };
        Ok(heard)
    }

    /// Something that a server wants to hear, framed.
    pub(crate) fn reply(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Dialect::Nats => out.extend_from_slice(text.as_bytes()),
            _ => frame::push(out, TEXT, text.as_bytes()),
        }
    }

    /// A frame each.
    fn say(self, messages: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            frame::push(&mut out, TEXT, message.as_bytes());
        }
        out
    }

    pub(crate) fn publishes(self) -> Publishes {
        let payload = payload();
        let message = match self {
            Dialect::Realtime | Dialect::RealtimeText => {
                format!(r#"{{"type":"publish","id":10000000,"channel":"{ROOM}","event":"said","payload":{payload}}}"#)
            }
            Dialect::Plain => format!(
                r#"{{"type":"channel_message","payload":{{"channel":"{ROOM}","event":"said","payload":{payload}}},"timestamp":1}}"#
            ),
            Dialect::SocketIo => format!(r#"42["channel_message","{ROOM}","said",{payload}]"#),
            Dialect::Nats => format!("PUB {ROOM} {}\r\n{payload}\r\n", payload.len()),
        };
        let bytes = match self {
            Dialect::Realtime | Dialect::RealtimeText | Dialect::Nats => message.into(),
            _ => self.say(&[message]),
        };
        Publishes { joined: self.is_realtime(), template: Template::new(bytes), lines: Vec::new() }
    }
}

fn unexpected(message: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(&message[..message.len().min(200)]).into_owned();
    io::Error::other(format!("the server said {text}"))
}

/// Publishes, as the clients of the dialect send them: several a frame in `realtime.v1`, one a frame elsewhere.
#[derive(Debug)]
pub(crate) struct Publishes {
    joined: bool,
    template: Template,
    lines: Vec<u8>,
}

impl Publishes {
    /// Appends one; [`finish`](Self::finish) completes the last frame.
    pub(crate) fn push(&mut self, sequence: u64, out: &mut Vec<u8>) {
        if !self.joined {
            return self.template.push(sequence, out);
        }
        if !self.lines.is_empty() {
            self.lines.push(b'\n');
        }
        self.template.push(sequence, &mut self.lines);
        if self.lines.len() >= JOINED {
            self.finish(out);
        }
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.lines.is_empty() {
            frame::push(out, TEXT, &self.lines);
            self.lines.clear();
        }
    }
}
