use std::io;

use serde::Deserialize;

use super::{Heard, Speaker, unreadable};
use crate::feed::FIRST;
use crate::out::Out;

/// The event `subscribe` joins a room; a message of a room is an event with its name. Acknowledged where the client asks.
#[derive(Debug)]
pub(crate) struct SocketIo {
    /// With the recovery of the connection's state: events carry an offset, and a client that comes back says its last
    /// one. Its room is the first.
    pub(crate) recovers: bool,
}

impl Speaker for SocketIo {
    fn opened(&self, out: &mut Out) {
        out.push(br#"0{"sid":"s1","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#);
    }

    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard> {
        if let Some(connect) = message.strip_prefix(b"40") {
            out.push(if self.recovers { br#"40{"sid":"s2","pid":"p1"}"# } else { br#"40{"sid":"s2"}"# });
            // Without a position there is nothing behind the type.
            let position = serde_json::from_slice::<Connect<'_>>(connect).ok().map(|connect| connect.offset);
            return match position {
                Some(offset) if self.recovers => {
                    let since = Some(offset.parse().map_err(|_| unreadable(message))?);
                    Ok(Heard::Subscribed { channel: "room-0".into(), since })
                }
                _ => Ok(Heard::Nothing),
            };
        }
        let Some(event) = message.strip_prefix(b"42") else { return Ok(Heard::Nothing) };
        let digits = event.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(event.len());
        let (id, event) = event.split_at(digits);
        if !id.is_empty() {
            out.push(&[b"43", id, b"[]"].concat());
        }
        if !event.starts_with(br#"["subscribe""#) {
            return Ok(Heard::Published);
        }
        let (_, room): (&str, &str) = serde_json::from_slice(event).map_err(|_| unreadable(message))?;
        Ok(Heard::Subscribed { channel: room.to_owned(), since: None })
    }

    fn message(&self, channel: &str, payload: &str) -> Vec<u8> {
        if self.recovers {
            format!(r#"42["{channel}",{payload},"{FIRST}"]"#).into()
        } else {
            format!(r#"42["{channel}",{payload}]"#).into()
        }
    }
}

#[derive(Deserialize)]
struct Connect<'a> {
    offset: &'a str,
}
