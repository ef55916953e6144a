//! A session, virtual time, and a peer that says what the test wants.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, clippy::unwrap_used, clippy::panic)]

pub mod allocator;
pub mod collection;
pub mod presence;

use std::time::Duration;

use bytes::Bytes;
use realtime_engine::wire::{CloseCode, Frame, lines};
use realtime_engine::{
    Attempt, ChannelId, Config, Data, Error, ErrorKind, Event, Input, OpenError, OpenRequest, Output, Receipt,
    RequestId, Restored, Session, Status, Text, Timestamp,
};
use serde_json::Value;

pub struct Bench {
    pub session: Session,
    pub now: Timestamp,
    pub attempt: Attempt,
    pub opens: Vec<OpenRequest>,
    pub frames: Vec<Frame>,
    pub closes: Vec<(Attempt, CloseCode)>,
    pub token_requests: Vec<u64>,
    pub events: Vec<Event>,
    /// Of a durable outbox.
    pub file: Vec<u8>,
    pub disk_full: bool,
    requests: u64,
}

pub fn config() -> Config {
    Config::new("ws://server.test/socket")
}

pub fn json(text: &str) -> Data {
    Data::Json(Bytes::copy_from_slice(text.as_bytes()))
}

impl Bench {
    pub fn new(config: Config) -> Self {
        let now = Timestamp::from_millis(1_700_000_000_000);
        Self {
            session: Session::new(config, now, 42).unwrap(),
            now,
            attempt: Attempt(0),
            opens: vec![],
            frames: vec![],
            closes: vec![],
            token_requests: vec![],
            events: vec![],
            file: vec![],
            disk_full: false,
            requests: 0,
        }
    }

    /// A bench with a durable outbox: what is left of an earlier one, or nothing. `seed` tells sessions apart.
    pub fn durable(config: Config, file: &[u8], seed: u64) -> Self {
        let mut bench = Self::new(config.clone());
        bench.session = Session::new(config, bench.now, seed).unwrap();
        bench.restore(file);
        bench
    }

    pub fn restore(&mut self, file: &[u8]) {
        let restored = if file.is_empty() { Restored::default() } else { Restored::decode(file).unwrap() };
        self.session.restore(self.now, restored);
        self.file = self.session.journal_snapshot();
        self.session.journal_replaced(self.file.len());
    }

    /// Writes what the session wants in its file; whether there was something, and room.
    pub fn write_journal(&mut self) -> Result<bool, Error> {
        if self.session.journal().is_empty() {
            return Ok(false);
        }
        if self.disk_full {
            let error = Error::new(ErrorKind::StorageFailed, "no room");
            self.session.journaled(self.now, Err(error.clone()));
            return Err(error);
        }
        self.file.extend_from_slice(self.session.journal());
        self.session.journaled(self.now, Ok(()));
        Ok(true)
    }

    /// A bench whose session is connected in `realtime.v1`, with nothing left to look at.
    pub fn connected(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.connect();
        bench.open_v1();
        bench.clear();
        bench
    }

    /// The same in `plain`.
    pub fn connected_plain(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.connect();
        bench.opened(None);
        bench.clear();
        bench
    }

    pub fn clear(&mut self) {
        self.frames.clear();
        self.events.clear();
        self.opens.clear();
        self.closes.clear();
    }

    pub fn drain(&mut self) {
        self.drain_once();
        while let Ok(true) = self.write_journal() {
            self.drain_once();
        }
        // What failed is told.
        self.drain_once();
    }

    fn drain_once(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Open(request) => {
                    self.attempt = request.attempt;
                    self.opens.push(request);
                }
                Output::Send { attempt, frame } => {
                    assert_eq!(attempt, self.attempt);
                    self.frames.push(frame);
                }
                Output::Close { attempt, code, .. } => self.closes.push((attempt, code)),
                Output::RequestToken { request } => self.token_requests.push(request),
                Output::Event(event) => self.events.push(event),
                other => panic!("unknown output {other:?}"),
            }
        }
    }

    pub fn input(&mut self, input: Input) {
        self.session.handle(self.now, input);
        self.drain();
    }

    pub fn connect(&mut self) {
        self.session.connect(self.now);
        self.drain();
    }

    pub fn opened(&mut self, protocol: Option<&str>) {
        let attempt = self.attempt;
        self.input(Input::Opened { attempt, protocol: protocol.map(Into::into) });
    }

    pub fn open_failed(&mut self, error: OpenError) {
        let attempt = self.attempt;
        self.input(Input::OpenFailed { attempt, error });
    }

    pub fn open_v1(&mut self) {
        self.opened(Some("realtime.v1"));
        self.welcome("");
    }

    /// `more` is JSON members that replace the defaults, beginning with a comma.
    pub fn welcome(&mut self, more: &str) {
        let time = self.now.as_millis();
        self.text(&format!(
            r#"{{"type":"welcome","session":"s","connection":"c1","resumed":false,"heartbeat":30000,"timeout":60000,"encoding":"text","time":{time},"limits":{{"frame":1000000,"payload":900000,"channels":100,"inflight":1000,"rate":0}},"server":"test"{more}}}"#
        ));
    }

    pub fn text(&mut self, text: &str) {
        self.frame(Frame::Text(Bytes::copy_from_slice(text.as_bytes())));
    }

    pub fn frame(&mut self, frame: Frame) {
        let attempt = self.attempt;
        self.input(Input::Frame { attempt, frame });
    }

    pub fn closed(&mut self, code: Option<u16>) {
        let attempt = self.attempt;
        self.input(Input::Closed { attempt, code: code.map(CloseCode), reason: "why".into() });
    }

    pub fn flushed(&mut self) {
        let attempt = self.attempt;
        self.input(Input::Flushed { attempt });
    }

    /// Passes time, stopping at every deadline.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.session.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    /// Passes time up to the next deadline; how long that was.
    pub fn pass_to_deadline(&mut self) -> Duration {
        let at = self.session.deadline().expect("a deadline");
        let waited = at - self.now;
        self.now = self.now.max(at);
        self.input(Input::Tick);
        waited
    }

    pub fn subscribe(&mut self, name: &str) -> ChannelId {
        let id = self.session.subscribe(self.now, name).unwrap();
        self.drain();
        id
    }

    /// Subscribes and lets the server answer with this position.
    pub fn subscribed(&mut self, name: &str, epoch: &str, offset: u64) -> ChannelId {
        let id = self.subscribe(name);
        self.answer_subscribe(name, epoch, offset, None);
        self.clear();
        id
    }

    pub fn answer_subscribe(&mut self, name: &str, epoch: &str, offset: u64, recovered: Option<bool>) {
        let request = self.last_sent("subscribe")["id"].as_u64().unwrap();
        let recovered = recovered.map_or(String::new(), |value| format!(r#","recovered":{value}"#));
        self.text(&format!(
            r#"{{"type":"subscribed","id":{request},"channel":"{name}","epoch":"{epoch}","offset":{offset}{recovered}}}"#
        ));
    }

    pub fn message(&mut self, name: &str, offset: u64, payload: &str) {
        let time = self.now.as_millis();
        self.text(&format!(
            r#"{{"type":"message","channel":"{name}","event":"e","offset":{offset},"timestamp":{time},"payload":{payload}}}"#
        ));
    }

    pub fn publish(&mut self, channel: ChannelId, payload: Data) -> Result<RequestId, Error> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let permit = self.session.budget().reserve(payload.bytes().len());
        let permit = permit.ok_or_else(|| Error::new(realtime_engine::ErrorKind::QueueFull, "full"))?;
        self.session.publish(self.now, request, channel, Text::from("e"), payload, permit)?;
        self.write_journal()?;
        Ok(request)
    }

    pub fn publish_now(&mut self, channel: ChannelId, payload: &str) -> RequestId {
        let request = self.publish(channel, json(payload)).unwrap();
        self.drain();
        request
    }

    /// All JSON messages sent so far.
    pub fn sent(&self) -> Vec<Value> {
        let texts = self.frames.iter().filter_map(|frame| match frame {
            Frame::Text(bytes) => Some(bytes),
            _ => None,
        });
        texts.flat_map(|bytes| lines(bytes).map(|line| serde_json::from_slice(line).unwrap())).collect()
    }

    pub fn sent_of(&self, kind: &str) -> Vec<Value> {
        self.sent().into_iter().filter(|message| message["type"] == kind).collect()
    }

    pub fn last_sent(&self, kind: &str) -> Value {
        self.sent_of(kind).pop().unwrap_or_else(|| panic!("no {kind} was sent: {:?}", self.frames))
    }

    pub fn statuses(&self) -> Vec<Status> {
        let statuses = self.events.iter().filter_map(|event| match event {
            Event::Status { status, .. } => Some(*status),
            _ => None,
        });
        statuses.collect()
    }

    pub fn errors(&self) -> Vec<&'static str> {
        let errors = self.events.iter().filter_map(|event| match event {
            Event::Error(error) => Some(error.code()),
            _ => None,
        });
        errors.collect()
    }

    pub fn receipts(&self) -> Vec<Receipt> {
        let receipts = self.events.iter().filter_map(|event| match event {
            Event::Receipt(receipt) => Some(receipt.clone()),
            _ => None,
        });
        receipts.collect()
    }

    pub fn failures(&self) -> Vec<(u64, &'static str)> {
        let failures = self.events.iter().filter_map(|event| match event {
            Event::SendFailed { request, error } => Some((request.0, error.code())),
            _ => None,
        });
        failures.collect()
    }

    pub fn payloads(&self) -> Vec<String> {
        let payloads = self.events.iter().filter_map(|event| match event {
            Event::Message(message) => Some(String::from_utf8(message.content.payload().to_vec()).unwrap()),
            _ => None,
        });
        payloads.collect()
    }

    pub fn gaps(&self) -> Vec<(&'static str, Option<u64>, Option<u64>)> {
        let gaps = self.events.iter().filter_map(|event| match event {
            Event::Gap(gap) => Some((gap.reason, gap.from, gap.to)),
            _ => None,
        });
        gaps.collect()
    }
}
