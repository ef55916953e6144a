//! Binary messages (section 8 of the specification).

use std::borrow::Cow;

use super::{ClientMessage, DecodeError, Message, Payload, ServerMessage};

const PUBLISH: u8 = 1;
const MESSAGE: u8 = 2;
const SEND: u8 = 3;
const DIRECT: u8 = 4;

pub(super) fn encode_publish(out: &mut Vec<u8>, id: u64, channel: &str, event: &str, bytes: &[u8]) {
    out.extend_from_slice(&[PUBLISH, 0]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[channel.len() as u8, event.len() as u8]);
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn encode_send(out: &mut Vec<u8>, id: u64, bytes: &[u8]) {
    out.extend_from_slice(&[SEND, 0]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn encode_message(
    out: &mut Vec<u8>,
    offset: u64,
    timestamp: u64,
    channel: &str,
    event: &str,
    user: Option<&str>,
    bytes: &[u8],
) {
    let user = user.unwrap_or_default();
    out.extend_from_slice(&[MESSAGE, 0]);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&[channel.len() as u8, event.len() as u8, user.len() as u8]);
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(user.as_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn encode_direct(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&[DIRECT, 0]);
    out.extend_from_slice(bytes);
}

pub(super) fn decode_client(frame: &[u8]) -> Result<ClientMessage<'_>, DecodeError> {
    let mut reader = Reader(frame);
    match reader.kind()? {
        PUBLISH => {
            let id = reader.u64()?;
            let (channel_len, event_len) = (reader.u8()?, reader.u8()?);
            Ok(ClientMessage::Publish {
                id,
                channel: reader.text(channel_len).map_err(|e| e.with_id(Some(id)))?,
                event: reader.text(event_len).map_err(|e| e.with_id(Some(id)))?,
                payload: Payload::Binary(reader.0),
            })
        }
        SEND => Ok(ClientMessage::Send { id: reader.u64()?, event: None, payload: Payload::Binary(reader.0) }),
        other => Err(DecodeError::unknown(&format!("binary kind {other:#04x}"))),
    }
}

pub(super) fn decode_server(frame: &[u8]) -> Result<ServerMessage<'_>, DecodeError> {
    let mut reader = Reader(frame);
    match reader.kind()? {
        MESSAGE => {
            let (offset, timestamp) = (reader.u64()?, reader.u64()?);
            let (channel_len, event_len, user_len) = (reader.u8()?, reader.u8()?, reader.u8()?);
            Ok(ServerMessage::Message(Message {
                channel: reader.text(channel_len)?,
                event: reader.text(event_len)?,
                offset,
                user: Some(reader.text(user_len)?).filter(|user| !user.is_empty()),
                timestamp,
                payload: Payload::Binary(reader.0),
            }))
        }
        DIRECT => Ok(ServerMessage::Direct { event: None, timestamp: None, payload: Payload::Binary(reader.0) }),
        other => Err(DecodeError::unknown(&format!("binary kind {other:#04x}"))),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn kind(&mut self) -> Result<u8, DecodeError> {
        let kind = self.u8()?;
        match self.u8()? {
            0 => Ok(kind),
            flags => Err(DecodeError::malformed(format!("binary flags are {flags:#04x}, this version knows only 0"))),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) =
            self.0.split_at_checked(count).ok_or_else(|| DecodeError::malformed("binary frame is too short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn text(&mut self, count: u8) -> Result<Cow<'a, str>, DecodeError> {
        let bytes = self.take(usize::from(count))?;
        std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| DecodeError::malformed("name is not UTF-8"))
    }
}
