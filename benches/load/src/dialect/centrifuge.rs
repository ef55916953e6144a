use std::io;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Heard, Speaker, unreadable};
use crate::out::Out;

/// Every command is answered.
#[derive(Debug)]
pub(crate) struct Centrifuge;

impl Speaker for Centrifuge {
    fn opened(&self, out: &mut Out) {
        out.joins = true;
    }

    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard> {
        let command: Command<'_> = serde_json::from_slice(message).map_err(|_| unreadable(message))?;
        let id = command.id;
        if command.connect.is_some() {
            out.push(format!(r#"{{"id":{id},"connect":{{"client":"c1","version":"1","ping":25}}}}"#).as_bytes());
        } else if let Some(subscribe) = command.subscribe {
            out.push(format!(r#"{{"id":{id},"subscribe":{{}}}}"#).as_bytes());
            return Ok(Heard::Subscribed(subscribe.channel.to_owned()));
        } else if command.publish.is_some() {
            out.push(format!(r#"{{"id":{id},"publish":{{}}}}"#).as_bytes());
            return Ok(Heard::Published);
        }
        Ok(Heard::Nothing)
    }

    fn message(&self, channel: &str, payload: &str) -> Vec<u8> {
        format!(r#"{{"push":{{"channel":"{channel}","pub":{{"data":{payload}}}}}}}"#).into()
    }
}

#[derive(Deserialize)]
struct Command<'a> {
    #[serde(default)]
    id: u64,
    connect: Option<IgnoredAny>,
    #[serde(borrow)]
    subscribe: Option<Subscribe<'a>>,
    publish: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Subscribe<'a> {
    channel: &'a str,
}
