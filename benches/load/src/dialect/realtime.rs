use std::io;
use std::io::Write;

use serde::Deserialize;

use super::{Heard, Speaker, unreadable};
use crate::feed::FIRST;
use crate::out::Out;

const PUBLISH: &[u8] = b"{\"type\":\"publish\",\"id\":";

/// With receipts and windows, as `docs/protocol.md` says.
#[derive(Debug, Default)]
pub(crate) struct Realtime {
    window: Option<Window>,
    outstanding: u64,
    channels: Vec<Channel>,
    published: u64,
}

#[derive(Debug)]
struct Channel {
    name: String,
    outstanding: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Window {
    connection: u64,
    channel: u64,
}

impl Speaker for Realtime {
    fn opened(&self, out: &mut Out) {
        out.joins = true;
    }

    fn hear(&mut self, message: &[u8], out: &mut Out) -> io::Result<Heard> {
        if let Some(rest) = message.strip_prefix(PUBLISH) {
            let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            self.receipt(&rest[..digits], out)?;
            return Ok(Heard::Published);
        }
        let request: Request<'_> = serde_json::from_slice(message).map_err(|_| unreadable(message))?;
        match request.kind {
            "hello" => self.hello(&request, out),
            "subscribe" => {
                self.subscribed(&request, out);
                let since = request.since.map(|since| since.offset);
                return Ok(Heard::Subscribed { channel: request.channel.to_owned(), since });
            }
            "unsubscribe" => {
                let (id, channel) = (request.id, request.channel);
                out.push(format!(r#"{{"type":"unsubscribed","id":{id},"channel":"{channel}"}}"#).as_bytes());
            }
            "credit" => self.credit(&request),
            "ping" => {
                out.push(format!(r#"{{"type":"pong","id":{},"time":1700000000001}}"#, request.id).as_bytes());
            }
            _ => return Err(unreadable(message)),
        }
        Ok(Heard::Nothing)
    }

    fn message(&self, channel: &str, payload: &str) -> Vec<u8> {
        format!(
            r#"{{"type":"message","channel":"{channel}","event":"tick","offset":{FIRST},"timestamp":1700000000001,"payload":{payload}}}"#
        )
        .into()
    }

    fn may_send(&self, channel: usize) -> bool {
        self.window.is_none_or(|window| {
            self.outstanding < window.connection && self.channels[channel].outstanding < window.channel
        })
    }

    fn sent(&mut self, channel: usize, bytes: u64) {
        self.outstanding += bytes;
        self.channels[channel].outstanding += bytes;
    }
}

impl Realtime {
    fn hello(&mut self, request: &Request<'_>, out: &mut Out) {
        self.window = request.window;
        let binary = request.encoding == Some("binary");
        let welcome = format!(
            r#"{{"type":"welcome","session":"{}","connection":"c1","resumed":false,"heartbeat":30000,"timeout":60000,"encoding":"{}","time":1700000000001,"limits":{{"frame":1048576,"payload":1000000,"channels":1000,"inflight":1024,"rate":0}},"server":"load/1"}}"#,
            request.session,
            if binary { "binary" } else { "text" },
        );
        out.push(welcome.as_bytes());
        // The welcome itself is text.
        out.finish();
        out.binary = binary;
    }

    fn subscribed(&mut self, request: &Request<'_>, out: &mut Out) {
        let Request { id, channel, since, .. } = request;
        self.channels.push(Channel { name: (*channel).to_owned(), outstanding: 0 });
        let (offset, recovered) = match since {
            Some(since) => (since.offset, r#","recovered":true"#),
            None => (FIRST, ""),
        };
        let subscribed = format!(
            r#"{{"type":"subscribed","id":{id},"channel":"{channel}","epoch":"e1","offset":{offset}{recovered}}}"#
        );
        out.push(subscribed.as_bytes());
    }

    fn credit(&mut self, request: &Request<'_>) {
        let Some(channel) = self.channels.iter_mut().find(|channel| channel.name == request.channel) else { return };
        let bytes = request.bytes.min(channel.outstanding);
        channel.outstanding -= bytes;
        self.outstanding -= bytes;
    }

    fn receipt(&mut self, id: &[u8], out: &mut Out) -> io::Result<()> {
        self.published += 1;
        let mut receipt = [0; 96];
        let mut room = &mut receipt[..];
        room.write_all(b"{\"type\":\"receipt\",\"id\":")?;
        room.write_all(id)?;
        write!(room, ",\"epoch\":\"e1\",\"offset\":{}}}", FIRST + self.published)?;
        let length = 96 - room.len();
        out.push(&receipt[..length]);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    channel: &'a str,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    session: &'a str,
    #[serde(default)]
    encoding: Option<&'a str>,
    #[serde(default)]
    window: Option<Window>,
    #[serde(default)]
    since: Option<Position>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Position {
    offset: u64,
}
