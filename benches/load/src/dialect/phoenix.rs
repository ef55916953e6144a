use std::io;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Heard, Speaker, unreadable};
use crate::out::Out;

/// The first byte of a broadcast in the binary form of Supabase.
const BINARY_BROADCAST: u8 = 3;

/// Phoenix Channels; every push is acknowledged, a broadcast where the client asked for that as it joined.
#[derive(Debug, Default)]
pub(crate) struct Phoenix {
    /// Messages are objects (version 1) instead of arrays (version 2).
    pub(crate) objects: bool,
    /// Messages of the application are broadcasts of Supabase.
    pub(crate) broadcasts: bool,
    pub(crate) acknowledges: bool,
}

impl Speaker for Phoenix {
    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard> {
        if message.first() == Some(&BINARY_BROADCAST) {
            if self.acknowledges {
                self.reply(&Push::read_binary(message).ok_or_else(|| unreadable(message))?, out);
            }
            return Ok(Heard::Published);
        }
        let push = self.read(message).ok_or_else(|| unreadable(message))?;
        match push.event {
            "phx_join" => {
                let join = push.payload.and_then(|payload| serde_json::from_str::<Join>(payload.get()).ok());
                self.acknowledges = join.unwrap_or_default().config.broadcast.ack;
                self.reply(&push, out);
                return Ok(Heard::Subscribed { channel: push.topic.to_owned(), since: None });
            }
            "heartbeat" | "phx_leave" => {
                self.reply(&push, out);
                return Ok(Heard::Nothing);
            }
            "access_token" | "presence" => return Ok(Heard::Nothing),
            "broadcast" if !self.acknowledges => {}
            _ => self.reply(&push, out),
        }
        Ok(Heard::Published)
    }

    fn message(&self, channel: &str, payload: &str) -> Vec<u8> {
        let (event, payload) = if self.broadcasts {
            ("broadcast", format!(r#"{{"type":"broadcast","event":"tick","payload":{payload}}}"#))
        } else {
            ("tick", payload.to_owned())
        };
        if self.objects {
            format!(r#"{{"topic":"{channel}","event":"{event}","payload":{payload},"ref":null}}"#).into()
        } else {
            format!(r#"[null,null,"{channel}","{event}",{payload}]"#).into()
        }
    }
}

impl Phoenix {
    fn read<'a>(&self, message: &'a [u8]) -> Option<Push<'a>> {
        if self.objects {
            return serde_json::from_slice(message).ok();
        }
        let (join_reference, reference, topic, event, payload): Array<'a> = serde_json::from_slice(message).ok()?;
        Some(Push { join_reference, reference, topic, event, payload: Some(payload) })
    }

    fn reply(&self, push: &Push<'_>, out: &mut Out) {
        let Push { topic, .. } = push;
        let (join, reference) = (quoted(push.join_reference), quoted(push.reference));
        let payload = r#"{"status":"ok","response":{}}"#;
        let reply = if self.objects {
            format!(r#"{{"topic":"{topic}","event":"phx_reply","payload":{payload},"ref":{reference}}}"#)
        } else {
            format!(r#"[{join},{reference},"{topic}","phx_reply",{payload}]"#)
        };
        out.push(reply.as_bytes());
    }
}

fn quoted(reference: Option<&str>) -> String {
    reference.map_or_else(|| "null".into(), |reference| format!("\"{reference}\""))
}

type Array<'a> = (Option<&'a str>, Option<&'a str>, &'a str, &'a str, &'a RawValue);

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(default, rename = "join_ref")]
    join_reference: Option<&'a str>,
    #[serde(default, rename = "ref")]
    reference: Option<&'a str>,
    topic: &'a str,
    event: &'a str,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
}

impl<'a> Push<'a> {
    /// `03`, the lengths of five fields, the encoding, then the fields: both references, topic, event, metadata.
    fn read_binary(message: &'a [u8]) -> Option<Self> {
        let [_, join, reference, topic, ..] = *message.get(..7)? else { return None };
        let mut rest = &message[7..];
        let mut take = |length: u8| {
            let (field, others) = rest.split_at_checked(length.into())?;
            rest = others;
            std::str::from_utf8(field).ok()
        };
        let (join_reference, reference, topic) = (take(join), take(reference), take(topic)?);
        Some(Self { join_reference, reference, topic, event: "broadcast", payload: None })
    }
}

/// What matters of a join.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Join {
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    broadcast: Broadcast,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Broadcast {
    ack: bool,
}
