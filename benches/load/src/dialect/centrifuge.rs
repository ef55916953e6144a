use std::io;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Heard, Speaker, unreadable};
use crate::feed::{FIRST, Template};
use crate::out::Out;

/// Every command is answered.
#[derive(Debug)]
pub(crate) struct Centrifuge {
    /// Payload and number of the messages of a channel that can be recovered.
    pub(crate) history: Option<(&'static str, u64)>,
}

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
            return Ok(self.subscribe(id, &subscribe, out));
        } else if command.publish.is_some() {
            out.push(format!(r#"{{"id":{id},"publish":{{}}}}"#).as_bytes());
            return Ok(Heard::Published);
        }
        Ok(Heard::Nothing)
    }

    fn message(&self, channel: &str, payload: &str) -> Vec<u8> {
        let offset = self.history.map_or(String::new(), |_| format!(r#""offset":{FIRST},"#));
        format!(r#"{{"push":{{"channel":"{channel}","pub":{{{offset}"data":{payload}}}}}}}"#).into()
    }
}

impl Centrifuge {
    /// What was missed is in the answer, all of it.
    fn subscribe(&self, id: u64, request: &Subscribe<'_>, out: &mut Out) -> Heard {
        let channel = request.channel.to_owned();
        let Some((payload, count)) = self.history else {
            out.push(format!(r#"{{"id":{id},"subscribe":{{}}}}"#).as_bytes());
            return Heard::Subscribed { channel, since: None };
        };
        let offset = if request.recover { request.offset } else { FIRST };
        let mut answer =
            format!(r#"{{"id":{id},"subscribe":{{"recoverable":true,"positioned":true,"epoch":"e1","offset":{offset}"#)
                .into_bytes();
        if request.recover {
            answer.extend_from_slice(br#","was_recovering":true,"recovered":true,"publications":["#);
            let publication = format!(r#"{{"offset":{FIRST},"data":{payload}}},"#).into_bytes();
            if let Some(mut template) = Template::new(publication, offset) {
                for sequence in offset - FIRST..count {
                    answer.extend_from_slice(template.next(sequence));
                }
            }
            if answer.last() == Some(&b',') {
                answer.pop();
            }
            answer.push(b']');
        }
        answer.extend_from_slice(b"}}");
        out.push(&answer);
        Heard::Subscribed { channel, since: request.recover.then_some(FIRST + count) }
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
    #[serde(default)]
    recover: bool,
    #[serde(default)]
    offset: u64,
}
