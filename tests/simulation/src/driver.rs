//! What stands between a session and the network: a driver, and the application.

use std::time::Duration;

use realtime_engine::wire::{ClientMessage, CloseCode, Frame, SUBPROTOCOL_V1, lines};
use realtime_engine::{Attempt, Input, OpenError, OpenRequest, Output, Status, Timestamp};
use realtime_server::hub::{self, ConnectionId, Dialect};

use crate::checker::Invariant;
use crate::guard::user_name;
use crate::link::{Direction, Link, Packet};
use crate::profile::SECRET;
use crate::world::{Event, MILLI, SECOND, World};

impl World {
    pub(crate) fn connect(&mut self, index: usize) {
        let now = self.time();
        self.trace(|| format!("client {index} connect()"));
        self.clients[index].stopped = false;
        self.clients[index].session.connect(now);
        self.drain_client(index);
    }

    /// Does one thing that applications do.
    pub(crate) fn act(&mut self, index: usize) {
        let what = self.rng.f64();
        if !self.clients[index].plain && what < self.profile.mutate_share + self.profile.present_share {
            match what < self.profile.mutate_share {
                true => self.act_on_records(index),
                false => self.act_on_presence(index),
            }
            return self.drain_client(index);
        }
        let now = self.time();
        let channel = self.rng.usize(0..self.profile.channels);
        let client = &mut self.clients[index];
        let subscribed = self.checker.is_subscribed(index, channel);
        match self.rng.u32(0..100) {
            0..10 => client.subscribe(now, channel, &mut self.checker),
            // Not what was subscribed a moment ago, mostly: those who stay are the ones that can miss something.
            10..12 if subscribed => client.unsubscribe(now, channel, &mut self.checker),
            12..13 => client.session.connect(now),
            13..14 => {
                let flush = Duration::from_millis(self.rng.u64(0..5000));
                client.session.disconnect(now, flush);
                let wait = self.rng.u64(0..60) * SECOND;
                self.count("disconnect()");
                self.at(wait, Event::Connect(index));
            }
            14..15 => client.give_up_loading(now, channel, &mut self.checker),
            15..17 => self.say_to_somebody(),
            _ => {
                for _ in 0..self.rng.u64(1..=self.profile.burst) {
                    if self.checker.messages < self.profile.messages {
                        let binary = !self.clients[index].plain && self.rng.u32(0..10) == 0;
                        let to = (self.rng.f64() >= self.profile.send_share).then_some(channel);
                        self.clients[index].send(now, to, binary, &mut self.rng, &mut self.checker);
                    }
                }
            }
        }
        self.drain_client(index);
    }

    pub(crate) fn tell_client(&mut self, index: usize, input: Input) {
        let now = self.time();
        self.trace(|| format!("client {index} <- {input:?}"));
        self.clients[index].session.handle(now, input);
        self.drain_client(index);
        let client = &mut self.clients[index];
        if !client.session.wants_read() || client.session.status() != Status::Connected {
            client.heard_at = self.now;
        }
        self.checker.alive(index, self.now - client.heard_at);
    }

    pub(crate) fn drain_client(&mut self, index: usize) {
        let (tracing, at) = (self.tracing, self.now);
        let mut trace = |event: &realtime_engine::Event| {
            if tracing {
                println!("{:>12.3} ms  client {index} ! {event:?}", (at - crate::world::START) as f64 / 1000.0);
            }
        };
        for output in self.clients[index].drain(&mut self.checker, &mut trace) {
            match output {
                Output::Open(open) => self.open(index, &open),
                Output::Send { attempt, frame } => {
                    if let Some((_, link)) = self.clients[index].link.filter(|(current, _)| *current == attempt) {
                        self.look_at_credit(index, &frame);
                        self.send(link, Direction::Up, Packet::Frame(frame));
                        self.flush(index, attempt);
                    }
                }
                Output::Close { attempt, .. } => {
                    if let Some((_, link)) = self.clients[index].link.filter(|(current, _)| *current == attempt) {
                        self.clients[index].link = None;
                        self.send(link, Direction::Up, Packet::Close(CloseCode::NORMAL));
                        // A driver may have more to say of the old socket; nobody listens.
                        if self.rng.bool()
                            && let Some(link) = self.links.get_mut(&link)
                        {
                            link.client_end = false;
                        }
                    }
                }
                Output::RequestToken { request } => self.ask_token(index, request),
                _ => {}
            }
        }
        for (channel, load) in std::mem::take(&mut self.clients[index].loads) {
            self.begin_load(index, channel, load);
        }
        if self.clients[index].has_unconsumed() {
            let slow = self.clients[index].is_slow() && !self.calm;
            let wait = if slow { self.rng.u64(1..3000) * MILLI } else { 0 };
            self.at(wait, Event::Consume(index));
        }
        if std::mem::take(&mut self.clients[index].stopped) {
            let wait = self.rng.u64(1..30) * SECOND;
            self.at(wait, Event::Connect(index));
        }
        if let Some(at) = self.clients[index].session.deadline().map(Timestamp::as_micros)
            && let Some(number) = self.ticks[index].set(at)
        {
            self.at(at.saturating_sub(self.now), Event::ClientTick { client: index, number });
        }
    }

    pub(crate) fn consume(&mut self, index: usize) {
        let now = self.time();
        self.clients[index].consume(now, self.calm, &mut self.rng);
        self.drain_client(index);
        if let Some((_, link)) = self.clients[index].link {
            self.read_client(link);
        }
    }

    pub(crate) fn wake(&mut self, index: usize) {
        if self.clients[index].asleep_until > self.now && !self.calm {
            return;
        }
        self.clients[index].asleep_until = 0;
        // Whether the sockets or the timers are looked at first is up to the host.
        if self.rng.bool() {
            self.tell_client(index, Input::Tick);
        }
        for (id, link) in self.links.iter().map(|(id, link)| (*id, link.client)).collect::<Vec<_>>() {
            if link == index {
                self.read_client(id);
            }
        }
    }

    /// Everything written so far is with the operating system, a little later.
    fn flush(&mut self, index: usize, attempt: Attempt) {
        if self.clients[index].plain {
            self.flushes[index] += 1;
            let wait = self.rng.u64(0..50) * MILLI;
            self.at(wait, Event::Flushed { client: index, attempt, number: self.flushes[index] });
        }
    }

    fn ask_token(&mut self, client: usize, request: u64) {
        // Sometimes it fails, sometimes it never answers, sometimes what it says is no good.
        let fate = if self.calm { 0 } else { self.rng.u32(0..20) };
        let wait = self.rng.u64(0..500) * MILLI;
        let life = if self.calm { 10_000 } else { self.rng.u64(10..120) };
        let result = match fate {
            19 => return self.count("no token"),
            18 => Err("simulated".into()),
            17 => Ok(Some("not a token".into())),
            16 => Ok(Some(self.token(client, 0))),
            _ => Ok(Some(self.token(client, life))),
        };
        if fate > 15 {
            self.count("bad token");
        }
        self.at(wait, Event::Token { client, request, result });
    }

    pub(crate) fn token(&self, client: usize, life: u64) -> String {
        let claims = serde_json::json!({ "sub": user_name(client), "exp": self.now / SECOND + life });
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    }

    /// A client gives no more back than it was given.
    fn look_at_credit(&mut self, index: usize, frame: &Frame) {
        let Frame::Text(text) = frame else { return };
        let credit = |line: &[u8]| match ClientMessage::decode(line) {
            Ok(ClientMessage::Credit { bytes, .. }) => bytes,
            _ => 0,
        };
        let client = &mut self.clients[index];
        client.credited += lines(text).map(credit).sum::<u64>();
        if client.credited > client.arrived {
            let what = format!("client {index} gave {} of {} bytes back", client.credited, client.arrived);
            self.checker.violation(Invariant::Bounded, what);
        }
    }

    fn open(&mut self, client: usize, open: &OpenRequest) {
        let attempt = open.attempt;
        (self.clients[client].arrived, self.clients[client].credited) = (0, 0);
        self.trace(|| format!("client {client} opens {attempt:?}"));
        let latency = self.rng.u64(1..200) * MILLI;
        let fate = if self.calm { 1.0 } else { self.rng.f64() };
        if !self.server_up || fate < 0.1 {
            let error = match self.rng.u32(0..4) {
                0 => OpenError::Http { status: 503, retry_after: Some(Duration::from_secs(self.rng.u64(0..5))) },
                _ => OpenError::Unreachable("simulated".into()),
            };
            return self.at(latency, Event::OpenFailed { client, attempt, error });
        }
        if fate < 0.15 {
            return self.count("no answer to a connect"); // The client has to notice.
        }
        let bearer = open.headers.iter().find_map(|(_, value)| value.strip_prefix("Bearer "));
        let identity = match bearer.map(|token| self.hub.config().auth.verify(token, self.now / MILLI)) {
            Some(Err(_)) => {
                let error = OpenError::Http { status: 401, retry_after: None };
                return self.at(latency, Event::OpenFailed { client, attempt, error });
            }
            other => other.and_then(Result::ok),
        };
        self.next_link += 1;
        let id = self.next_link;
        // Some open long after they were given up; on others nothing comes through for long, once they are open.
        let late = if fate < 0.2 { self.rng.u64(0..15) * SECOND } else { 0 };
        let stall = (0.2..0.25).contains(&fate).then(|| self.rng.u64(0..40) * SECOND);
        let mut link = Link::new(client, attempt, latency);
        // The server cannot overtake its own handshake.
        link.arrival = [self.now + latency + late; 2];
        if let Some(stall) = stall {
            link.stalled = true;
            self.count("stall from the start");
            self.at(stall, Event::Heal(id));
        }
        if late > 0 {
            self.count("late answer to a connect");
        }
        self.links.insert(id, link);
        self.senders.insert(id, client);
        self.clients[client].link = Some((attempt, id));
        let v1 = open.subprotocols.iter().any(|offer| offer == SUBPROTOCOL_V1);
        let dialect = if v1 { Dialect::V1 } else { Dialect::Plain };
        self.tell_hub(hub::Input::Opened { connection: ConnectionId(id), dialect, identity });
        self.at(latency + late, Event::Connected { client, attempt, link: id });
    }
}
