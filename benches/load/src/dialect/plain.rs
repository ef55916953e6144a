use std::io;

use serde::Deserialize;

use super::{Heard, Speaker, unreadable};
use crate::out::Out;

const MESSAGE: &[u8] = b"{\"type\":\"channel_message\"";

/// No acknowledgements.
#[derive(Debug)]
pub(crate) struct Plain;

impl Speaker for Plain {
    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard> {
        if message.starts_with(MESSAGE) {
            return Ok(Heard::Published);
        }
        let message: Message<'_> = serde_json::from_slice(message).map_err(|_| unreadable(message))?;
        match message.kind {
            "subscribe" => Ok(Heard::Subscribed { channel: message.payload.channel.to_owned(), since: None }),
            "ping" => {
                out.push(format!(r#"{{"type":"pong","timestamp":{}}}"#, message.timestamp).as_bytes());
                Ok(Heard::Nothing)
            }
            "channel_message" => Ok(Heard::Published),
            _ => Ok(Heard::Nothing),
        }
    }

    fn message(&self, channel: &str, payload: &str) -> Vec<u8> {
        format!(r#"{{"type":"tick","payload":{payload},"timestamp":1700000000001,"channel":"{channel}"}}"#).into()
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default, borrow)]
    payload: Payload<'a>,
    #[serde(default)]
    timestamp: u64,
}

#[derive(Default, Deserialize)]
struct Payload<'a> {
    #[serde(default)]
    channel: &'a str,
}
