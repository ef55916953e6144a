//! What may be fed with any bytes. None of it may panic; the cargo-fuzz targets in `fuzz/` and the corpus test call the same functions.

use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::{
    ClientMessage, Frame, Message, Payload, PresenceStatus, Record, ServerMessage, lines, plain, validate_json,
};
use realtime_engine::{
    Attempt, ChannelId, Config, Data, Input, Mutation, OpenError, Output, RequestId, Restored, Session, Timestamp,
    Token,
};
use realtime_server::hub::{self, ConnectionId, Dialect, Hub, HubConfig};

/// Every decoder. What a decoder took and an encoder wrote is taken again.
pub fn decode(data: &[u8]) {
    for line in lines(data) {
        if let Ok(message) = ClientMessage::decode(line) {
            let mut out = Vec::new();
            message.encode(&mut out);
            assert!(ClientMessage::decode(&out).is_ok() || message.is_binary(), "{message:?}");
        }
        if let Ok(message) = ServerMessage::decode(line) {
            if let Ok(slow) = ServerMessage::decode_any_order(line) {
                assert!(message == slow || !is_json(&message), "{message:?} is not {slow:?}");
            }
            let mut out = Vec::new();
            message.encode(&mut out);
            // What we encode takes the fast path: the slow one understood the same.
            let again = ServerMessage::decode(&out);
            assert_eq!(again.as_ref().ok(), Some(&message));
        }
    }
    if let Ok(record) = Record::parse(data) {
        // The one form is read as itself.
        let form = record.encode();
        assert_eq!(Record::parse(&form).map(|again| again.encode()).as_ref(), Ok(&form));
    }
    let _ = ClientMessage::decode_binary(data);
    let _ = ServerMessage::decode_binary(data);
    let _ = plain::decode(data);
    let _ = plain::decode_request(data);
    outbox_file(data);
}

/// Whether the payload that the fast path has found is one, which only its parser says.
fn is_json(message: &ServerMessage<'_>) -> bool {
    let payload = match message {
        ServerMessage::Message(Message { payload: Payload::Json(json), .. }) => Some(*json),
        ServerMessage::Change(change) => change.op.payload(),
        _ => None,
    };
    payload.is_none_or(|json| validate_json(json).is_ok())
}

/// Any bytes as the file of a durable outbox, and as what stands behind a whole one. What was taken is the same once written again.
fn outbox_file(data: &[u8]) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let Ok(mut session) = Session::new(Config::new("ws://fuzz"), now, 1) else { return };
    let mut file = match Restored::decode(data) {
        Ok(restored) => {
            let messages = restored.len();
            session.restore(now, restored);
            let again = session.journal_snapshot();
            assert_eq!(Restored::decode(&again).map(|restored| (restored.len(), restored.torn())), Ok((messages, 0)));
            again
        }
        Err(_) => {
            session.restore(now, Restored::default());
            session.journal_snapshot()
        }
    };
    let whole = file.len();
    file.extend_from_slice(data);
    if let Ok(restored) = Restored::decode(&file) {
        assert!(restored.whole() >= whole && restored.whole() + restored.torn() == file.len());
    }
}

/// The messages of section 15 of the specification.
const PEER_EVENTS: [&str; 8] = [
    "presence:join",
    "presence:announce",
    "presence:update",
    "presence:leave",
    "sync:change",
    "sync:request",
    "sync:state",
    "sync:digest",
];

/// A session under whatever its driver, its peer and its application may do. Each step is a byte, a length and so many bytes.
pub fn session(data: &[u8]) {
    let mut config = Config::new("ws://fuzz");
    if data.first().is_some_and(|byte| byte % 4 == 0) {
        config.token = Token::Provider;
    }
    let mut now = Timestamp::from_millis(1_700_000_000_000);
    let Ok(mut session) = Session::new(config, now, 1) else { return };
    session.connect(now);
    let mut attempt = drain(&mut session, Attempt(0));
    for (kind, text) in steps(data) {
        now = now + Duration::from_millis(u64::from(kind) * 7);
        match kind % 16 {
            0 => session.handle(now, Input::Opened { attempt, protocol: Some("realtime.v1".into()) }),
            1 => session.handle(now, Input::Opened { attempt, protocol: None }),
            2 => session.handle(now, Input::OpenFailed { attempt, error: OpenError::NoSubprotocol }),
            3 => session.handle(now, Input::Closed { attempt, code: None, reason: String::new() }),
            4 => session.handle(now, Input::Token { request: u64::from(kind / 16), result: Ok(None) }),
            5 => session.handle(now, Input::Flushed { attempt }),
            6 => session.handle(now, Input::Tick),
            7 => drop(session.subscribe(now, &String::from_utf8_lossy(text))),
            8 => {
                if let (Ok(id), Some(permit)) = (session.channel("a"), session.budget().reserve(text.len())) {
                    let payload = Data::Binary(Bytes::copy_from_slice(text));
                    let _ = session.publish(now, RequestId(1), id, "e".into(), payload, permit);
                }
            }
            9 => {
                if let Ok(id) = session.channel("a") {
                    session.unsubscribe(now, id);
                }
            }
            12 => {
                for id in streams(&mut session) {
                    if kind / 16 % 4 == 0 { session.unsubscribe(now, id) } else { session.watch(now, id) }
                }
            }
            13 => {
                let [presence, _] = streams(&mut session);
                let request = RequestId(2);
                let _ = match kind / 16 % 4 {
                    0 => session.untrack(now, request, presence),
                    1 => session.update_presence(now, request, presence, None, Some(text)),
                    _ => session.track(now, request, presence, None, PresenceStatus::Busy, text),
                };
            }
            14 => {
                let [_, collection] = streams(&mut session);
                let mutation = match kind / 16 % 4 {
                    0 => Mutation::Remove { key: "t1" },
                    1 => Mutation::Update { key: "t1", patch: text },
                    _ => Mutation::Insert { record: text },
                };
                let _ = session.mutate(now, RequestId(3), collection, mutation, None);
                let _ = session.seed(collection, text);
            }
            15 => {
                // The answers that any bytes hardly come to.
                let request = (1_u64 << 52) + u64::from(kind / 16);
                let stream = if text.len() % 2 == 0 { r#""presence":true"# } else { r#""collection":"tasks""# };
                let answer = format!(
                    r#"{{"type":"subscribed","id":{request},"channel":"room",{stream},"epoch":"e1","offset":12}}"#
                );
                session.handle(now, Input::Frame { attempt, frame: text_frame(answer.as_bytes()) });
            }
            11 if kind > 16 => {
                // What another client of a backend that only hands messages on may say.
                let event = PEER_EVENTS[usize::from(kind / 16) % PEER_EVENTS.len()];
                let payload = String::from_utf8_lossy(text);
                let told = format!(r#"{{"type":"{event}","payload":{payload},"channel":"room"}}"#);
                session.handle(now, Input::Frame { attempt, frame: text_frame(told.as_bytes()) });
            }
            10 => session.handle(now, Input::Frame { attempt, frame: Frame::Binary(Bytes::copy_from_slice(text)) }),
            _ => session.handle(now, Input::Frame { attempt, frame: text_frame(text) }),
        }
        attempt = drain(&mut session, attempt);
    }
}

/// Takes what there is to do; the socket that is to be opened last.
fn drain(session: &mut Session, mut attempt: Attempt) -> Attempt {
    while let Some(output) = session.poll() {
        if let Output::Open(open) = output {
            attempt = open.attempt;
        }
    }
    attempt
}

/// The presence and the collection that the vectors are about.
fn streams(session: &mut Session) -> [ChannelId; 2] {
    let presence = session.presence("room").unwrap_or(ChannelId(0));
    [presence, session.collection("room", "tasks").unwrap_or(presence)]
}

/// A hub under whatever clients may send.
pub fn hub(data: &[u8]) {
    let mut hub = Hub::new(HubConfig::default(), 1);
    let mut now = 1_700_000_000_000;
    for id in 0..3 {
        let dialect = if id == 2 { Dialect::Plain } else { Dialect::V1 };
        hub.handle(now, hub::Input::Opened { connection: ConnectionId(id), dialect, identity: None });
    }
    for (kind, text) in steps(data) {
        let connection = ConnectionId(u64::from(kind % 3));
        now += u64::from(kind);
        hub.handle(
            now,
            match kind / 3 % 6 {
                0 => hub::Input::Tick,
                1 => hub::Input::Blocked { connection },
                2 => hub::Input::Frame { connection, frame: Frame::Binary(Bytes::copy_from_slice(text)) },
                _ => hub::Input::Frame { connection, frame: text_frame(text) },
            },
        );
        let mut frames = Vec::new();
        while let Some(output) = hub.poll() {
            if let hub::Output::Ready(connection) = output {
                while hub.pull(now, connection, &mut frames) {}
            }
        }
        for frame in frames {
            if let Frame::Text(bytes) = frame {
                assert!(std::str::from_utf8(&bytes).is_ok(), "a text frame is UTF-8");
            }
        }
    }
}

/// A driver hands on text that is UTF-8.
fn text_frame(bytes: &[u8]) -> Frame {
    Frame::Text(Bytes::from(String::from_utf8_lossy(bytes).into_owned()))
}

fn steps(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [kind, low, high, rest @ ..] = data else { return None };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (text, rest) = rest.split_at(length);
        data = rest;
        Some((*kind, text))
    })
}
