use std::fmt;

use bytes::Bytes;

use crate::io::Data;
use crate::wire::Payload;

/// The texts and the payload of a message: places in the frame that it came in, whose memory it shares.
#[derive(Clone)]
pub struct Content {
    buffer: Bytes,
    event: Place,
    user: Place,
    payload: Place,
    binary: bool,
}

/// From and to. Frames are far smaller than 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u32, u32);

const NOWHERE: Place = Place(u32::MAX, u32::MAX);

impl Content {
    /// Parts of `frame`; where one of them is none, as a name with an escape, all are copied.
    pub(crate) fn new(frame: &Bytes, event: Option<&str>, user: Option<&str>, payload: Payload<'_>) -> Self {
        let (payload, binary) = match payload {
            Payload::Json(json) => (json, false),
            Payload::Binary(bytes) => (bytes, true),
        };
        let place = |part: Option<&str>| part.map_or(Some(NOWHERE), |part| Place::of(part.as_bytes(), frame));
        match (place(event), place(user), Place::of(payload, frame)) {
            (Some(event), Some(user), Some(payload)) => Self { buffer: frame.clone(), event, user, payload, binary },
            _ => Self::copied(event, user, payload, binary),
        }
    }

    fn copied(event: Option<&str>, user: Option<&str>, payload: &[u8], binary: bool) -> Self {
        let mut buffer = Vec::new();
        let mut push = |part: &[u8]| {
            let start = buffer.len() as u32;
            buffer.extend_from_slice(part);
            Place(start, buffer.len() as u32)
        };
        let event = event.map_or(NOWHERE, |event| push(event.as_bytes()));
        let user = user.map_or(NOWHERE, |user| push(user.as_bytes()));
        let payload = push(payload);
        Self { buffer: buffer.into(), event, user, payload, binary }
    }

    /// The name of the event, where the message has one.
    pub fn event(&self) -> Option<&str> {
        self.text(self.event)
    }

    /// The verified user that published it.
    pub fn user(&self) -> Option<&str> {
        self.text(self.user)
    }

    /// The same as [`event`](Self::event), in UTF-8.
    pub fn event_bytes(&self) -> Option<&[u8]> {
        self.at(self.event)
    }

    /// The same as [`user`](Self::user), in UTF-8.
    pub fn user_bytes(&self) -> Option<&[u8]> {
        self.at(self.user)
    }

    /// The payload: one JSON value in UTF-8, unparsed, or bytes.
    pub fn payload(&self) -> &[u8] {
        self.at(self.payload).unwrap_or_default()
    }

    /// The payload by itself, still in the memory of the frame.
    pub fn to_data(&self) -> Data {
        let bytes = self.buffer.slice(self.payload.0 as usize..self.payload.1 as usize);
        if self.binary { Data::Binary(bytes) } else { Data::Json(bytes) }
    }

    /// Whether the payload is bytes instead of JSON.
    pub fn is_binary(&self) -> bool {
        self.binary
    }

    fn text(&self, place: Place) -> Option<&str> {
        // Made from a `str` only.
        self.at(place).map(|bytes| std::str::from_utf8(bytes).unwrap_or_default())
    }

    fn at(&self, place: Place) -> Option<&[u8]> {
        self.buffer.get(place.0 as usize..place.1 as usize)
    }
}

impl Place {
    fn of(part: &[u8], frame: &[u8]) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(frame.as_ptr() as usize)?;
        let end = start + part.len();
        (end <= frame.len() && end < u32::MAX as usize).then_some(Self(start as u32, end as u32))
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        let parts = |content: &Self| (content.binary, content.event, content.user, content.payload);
        // Of the same frame, mostly.
        (self.buffer.as_ptr() == other.buffer.as_ptr() && parts(self) == parts(other))
            || (self.binary == other.binary
                && self.event_bytes() == other.event_bytes()
                && self.user_bytes() == other.user_bytes()
                && self.payload() == other.payload())
    }
}

impl Eq for Content {}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("event", &self.event())
            .field("user", &self.user())
            .field("payload", &self.to_data())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(content: &Content) -> (Option<&str>, Option<&str>, &[u8]) {
        (content.event(), content.user(), content.payload())
    }

    #[test]
    fn parts_of_a_frame_are_not_copied() {
        let frame = Bytes::from_static(b"said ann {}");
        let text = std::str::from_utf8(&frame).unwrap();
        let content = Content::new(&frame, Some(&text[..4]), Some(&text[5..8]), Payload::Json(&frame[9..]));
        assert_eq!(parts(&content), (Some("said"), Some("ann"), &b"{}"[..]));
        assert_eq!(content.payload().as_ptr(), frame[9..].as_ptr());
        assert_eq!(content.to_data().bytes().as_ptr(), frame[9..].as_ptr());
    }

    #[test]
    fn what_is_no_part_of_it_is_copied_with_the_rest() {
        let frame = Bytes::from_static(b"{}");
        let content = Content::new(&frame, Some("said"), None, Payload::Binary(&frame));
        assert_eq!(parts(&content), (Some("said"), None, &b"{}"[..]));
        assert!(content.is_binary());
        assert_eq!(content, Content::copied(Some("said"), None, b"{}", true));
        assert_ne!(content, Content::copied(None, None, b"{}", true));
    }

    #[test]
    fn an_empty_name_is_not_none() {
        let content = Content::new(&Bytes::new(), Some(""), None, Payload::Json(b"1"));
        assert_eq!(parts(&content), (Some(""), None, &b"1"[..]));
    }
}
