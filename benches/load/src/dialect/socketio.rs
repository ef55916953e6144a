use std::io;

use super::{Heard, Speaker, unreadable};
use crate::out::Out;

/// The event `subscribe` joins a room; a message of a room is an event with its name. Acknowledged where the client asks.
#[derive(Debug)]
pub(crate) struct SocketIo;

impl Speaker for SocketIo {
    fn opened(&self, out: &mut Out) {
        out.push(br#"0{"sid":"s1","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#);
    }

    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard> {
        if message.starts_with(b"40") {
            out.push(br#"40{"sid":"s2"}"#);
            return Ok(Heard::Nothing);
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
        Ok(Heard::Subscribed(room.to_owned()))
    }

    fn message(&self, channel: &str, payload: &str) -> Vec<u8> {
        format!(r#"42["{channel}",{payload}]"#).into()
    }
}
