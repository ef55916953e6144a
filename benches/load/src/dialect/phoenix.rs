use std::io;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Heard, Speaker, unreadable};
use crate::out::Out;

/// The first byte of a broadcast in the binary form of Supabase.
const BINARY_BROADCAST: u8 = 3;

/// Phoenix Channels; every push but a broadcast is acknowledged.
#[derive(Debug)]
pub(crate) struct Phoenix {
    /// Messages are objects (version 1) instead of arrays (version 2).
    pub(crate) objects: bool,
    /// Messages of the application are broadcasts of Supabase.
    pub(crate) broadcasts: bool,
}

impl Speaker for Phoenix {
    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard> {
        if message.first() == Some(&BINARY_BROADCAST) {
            return Ok(Heard::Published);
        }
        let push = self.read(message).ok_or_else(|| unreadable(message))?;
        match push.event {
            "phx_join" => {
                self.reply(&push, out);
                Ok(Heard::Subscribed(push.topic.to_owned()))
            }
            "heartbeat" | "phx_leave" => {
                self.reply(&push, out);
                Ok(Heard::Nothing)
            }
            "access_token" | "presence" => Ok(Heard::Nothing),
            "broadcast" => Ok(Heard::Published),
            _ => {
                self.reply(&push, out);
                Ok(Heard::Published)
            }
        }
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
        let (join_reference, reference, topic, event, _): Array<'a> = serde_json::from_slice(message).ok()?;
        Some(Push { join_reference, reference, topic, event })
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
}
