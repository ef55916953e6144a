use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use realtime_engine::wire::{CloseCode, Frame, Limits};
use realtime_engine::{Attempt, Input, OpenError, Output, Status, Timestamp};
use realtime_server::hub::{self, ConnectionId, Dialect, Hub, HubConfig};

use crate::checker::Checker;
use crate::client::{Client, name};
use crate::link::{Direction, Link, Packet};
use crate::profile::Profile;

const START: u64 = 1_700_000_000_000_000;
const MILLI: u64 = 1000;
const SECOND: u64 = 1_000_000;

#[derive(Debug)]
enum Event {
    ClientTick(usize),
    HubTick,
    Act(usize),
    Consume(usize),
    Connected {
        client: usize,
        attempt: Attempt,
        link: u64,
    },
    OpenFailed {
        client: usize,
        attempt: Attempt,
    },
    Token {
        client: usize,
        request: u64,
        ok: bool,
    },
    Arrive {
        link: u64,
        direction: Direction,
        packet: Packet,
    },
    /// An end learns that the link is gone.
    Gone {
        link: u64,
        direction: Direction,
    },
    Pull(u64),
    Fault,
    Heal(u64),
    Restart,
    ServerUp,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub virtual_time: Duration,
    pub faults: u64,
    pub messages: u64,
    pub deliveries: u64,
    pub gaps: u64,
    pub violations: Vec<String>,
}

/// Everything in one run.
pub struct World {
    seed: u64,
    profile: Profile,
    rng: fastrand::Rng,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, (u64, Event)>,
    hub: Hub,
    server_up: bool,
    hub_tick: Option<u64>,
    ticks: Vec<Option<u64>>,
    clients: Vec<Client>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    checker: Checker,
    faults: u64,
    /// After this moment nothing breaks any more and nobody acts.
    calm: bool,
}

impl World {
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Timestamp::from_micros(START);
        let clients: Vec<_> = (0..profile.clients).map(|index| Client::new(index, &profile, now, &mut rng)).collect();
        let hub = Hub::new(hub_config(&profile), rng.u64(..));
        let inbox_bound = if profile.small_windows { 4000 + 2000 + 1024 } else { 24 << 20 };
        let checker = Checker::new(profile.restarts || profile.small_history, inbox_bound);
        Self {
            seed,
            ticks: vec![None; clients.len()],
            profile,
            rng,
            now: START,
            sequence: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            hub,
            server_up: true,
            hub_tick: None,
            clients,
            links: BTreeMap::new(),
            next_link: 0,
            checker,
            faults: 0,
            calm: false,
        }
    }

    pub fn run(mut self) -> Report {
        for index in 0..self.clients.len() {
            let now = self.time();
            self.clients[index].session.connect(now);
            self.drain_client(index);
            let wait = self.wait(self.profile.act_every);
            self.at(wait, Event::Act(index));
        }
        let wait = self.wait(self.profile.fault_every);
        self.at(wait, Event::Fault);
        let end = START + self.profile.duration.as_micros() as u64;
        self.run_until(end);
        self.settle();
        let faults = self.faults;
        Report {
            seed: self.seed,
            virtual_time: Duration::from_micros(self.now - START),
            faults,
            messages: self.checker.messages,
            deliveries: self.checker.deliveries,
            gaps: self.checker.gaps,
            violations: self.checker.violations,
        }
    }

    /// Ends all faults and lets everything come to rest; then looks at the end.
    fn settle(&mut self) {
        self.calm = true;
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.heal(link);
        }
        self.server_up = true;
        for index in 0..self.clients.len() {
            let now = self.time();
            self.clients[index].session.connect(now);
            self.drain_client(index);
            self.consume(index);
        }
        self.run_until(self.now + 900 * SECOND);
        self.checker.settled();
        for index in 0..self.clients.len() {
            if self.clients[index].session.status() != Status::Connected {
                let status = self.clients[index].session.status();
                self.checker.violations.push(format!("client {index} did not come back: {status}"));
                continue;
            }
            for channel in 0..self.profile.channels {
                let id = self.clients[index].session.channel(&name(channel)).unwrap();
                if !self.checker.is_subscribed(index, channel) {
                    continue;
                }
                match self.clients[index].session.position(id).cloned() {
                    Some(position) => self.checker.at_end(index, channel, &position.epoch, position.offset),
                    None => {
                        self.checker.violations.push(format!("client {index} has no position in channel {channel}"))
                    }
                }
            }
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, sequence))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            let Some((_, event)) = self.events.remove(&sequence) else { continue };
            self.now = self.now.max(at);
            self.handle(event);
            if self.checker.violations.len() > 20 {
                return;
            }
        }
        self.now = self.now.max(end);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ClientTick(index) => {
                self.ticks[index] = None;
                self.tell_client(index, Input::Tick);
            }
            Event::HubTick => {
                self.hub_tick = None;
                self.tell_hub(hub::Input::Tick);
            }
            Event::Act(index) if !self.calm => {
                if !self.is_asleep(index) {
                    let now = self.time();
                    self.clients[index].act(now, self.profile.channels, &mut self.rng, &mut self.checker);
                    self.drain_client(index);
                }
                let wait = self.wait(self.profile.act_every);
                self.at(wait, Event::Act(index));
            }
            Event::Consume(index) => self.consume(index),
            Event::Connected { client, attempt, link } => {
                if self.links.get(&link).is_some_and(|link| link.client_end) {
                    self.tell_client(client, Input::Opened { attempt, protocol: Some("realtime.v1".into()) });
                }
            }
            Event::OpenFailed { client, attempt } => {
                let error = OpenError::Unreachable("simulated".into());
                self.tell_client(client, Input::OpenFailed { attempt, error });
            }
            Event::Token { client, request, ok } => {
                let result = if ok { Ok(Some("token".into())) } else { Err("simulated".into()) };
                self.tell_client(client, Input::Token { request, result });
            }
            Event::Arrive { link, direction, packet } => self.arrive(link, direction, packet),
            Event::Gone { link, direction } => self.gone(link, direction, None),
            Event::Pull(link) => self.pull(link),
            Event::Fault if !self.calm => {
                self.fault();
                let wait = self.wait(self.profile.fault_every);
                self.at(wait, Event::Fault);
            }
            Event::Heal(link) => self.heal(link),
            Event::Restart => self.restart(),
            Event::ServerUp => self.server_up = true,
            Event::Act(_) | Event::Fault => {}
        }
    }

    fn tell_client(&mut self, index: usize, input: Input) {
        let now = self.time();
        self.clients[index].session.handle(now, input);
        self.drain_client(index);
    }

    fn drain_client(&mut self, index: usize) {
        for output in self.clients[index].drain(&mut self.checker) {
            match output {
                Output::Open(open) => self.open(index, open.attempt),
                Output::Send { attempt, frame } => {
                    if let Some((_, link)) = self.clients[index].link.filter(|(current, _)| *current == attempt) {
                        self.send(link, Direction::Up, Packet::Frame(frame));
                    }
                }
                Output::Close { attempt, .. } => {
                    if let Some((_, link)) = self.clients[index].link.filter(|(current, _)| *current == attempt) {
                        self.clients[index].link = None;
                        if let Some(link) = self.links.get_mut(&link) {
                            link.client_end = false;
                        }
                        self.send(link, Direction::Up, Packet::Close(CloseCode::NORMAL));
                    }
                }
                Output::RequestToken { request } => {
                    // Sometimes it fails, sometimes it never answers.
                    let (ok, answers) = (self.calm || self.rng.f64() < 0.9, self.calm || self.rng.f64() < 0.95);
                    if answers {
                        let wait = self.rng.u64(0..500) * MILLI;
                        self.at(wait, Event::Token { client: index, request, ok });
                    }
                }
                _ => {}
            }
        }
        if self.clients[index].has_unconsumed() {
            let slow = self.clients[index].is_slow() && !self.calm;
            let wait = if slow { self.rng.u64(1..3000) * MILLI } else { 0 };
            self.at(wait, Event::Consume(index));
        }
        let deadline = self.clients[index].session.deadline().map(Timestamp::as_micros);
        if let Some(at) = deadline
            && self.ticks[index].is_none_or(|tick| tick > at || tick < self.now)
        {
            self.ticks[index] = Some(at);
            self.at(at.saturating_sub(self.now), Event::ClientTick(index));
        }
    }

    fn consume(&mut self, index: usize) {
        let now = self.time();
        self.clients[index].consume(now, self.calm, &mut self.rng);
        self.drain_client(index);
    }

    fn open(&mut self, client: usize, attempt: Attempt) {
        let latency = self.rng.u64(1..200) * MILLI;
        let fate = self.rng.f64();
        if !self.server_up || (fate < 0.1 && !self.calm) {
            return self.at(latency, Event::OpenFailed { client, attempt });
        }
        if fate < 0.15 && !self.calm {
            return; // No answer at all.
        }
        self.next_link += 1;
        let id = self.next_link;
        self.links.insert(
            id,
            Link {
                client,
                attempt,
                latency,
                arrival: [0, 0],
                stalled: false,
                cut: false,
                held: vec![],
                wants_pull: false,
                client_end: true,
                server_end: true,
            },
        );
        self.clients[client].link = Some((attempt, id));
        self.tell_hub(hub::Input::Opened { connection: ConnectionId(id), dialect: Dialect::V1, identity: None });
        self.at(latency, Event::Connected { client, attempt, link: id });
        // The server cannot overtake its own handshake.
        if let Some(link) = self.links.get_mut(&id) {
            link.arrival = [self.now + latency; 2];
        }
    }

    fn send(&mut self, id: u64, direction: Direction, packet: Packet) {
        let jitter = self.rng.u64(0..20) * MILLI;
        let Some(link) = self.links.get_mut(&id) else { return };
        let arrival = &mut link.arrival[direction as usize];
        *arrival = (*arrival).max(self.now + link.latency + jitter);
        let wait = *arrival - self.now;
        self.at(wait, Event::Arrive { link: id, direction, packet });
    }

    fn arrive(&mut self, id: u64, direction: Direction, packet: Packet) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.stalled {
            return link.held.push((direction, packet));
        }
        match (direction, packet) {
            (Direction::Up, Packet::Frame(frame)) if link.server_end => {
                self.tell_hub(hub::Input::Frame { connection: ConnectionId(id), frame });
            }
            (Direction::Down, Packet::Frame(frame)) if link.client_end => {
                let (client, attempt) = (link.client, link.attempt);
                if self.is_asleep(client) {
                    let wait = self.clients[client].asleep_until - self.now;
                    let again = Event::Arrive { link: id, direction, packet: Packet::Frame(frame) };
                    return self.at(wait, again);
                }
                self.tell_client(client, Input::Frame { attempt, frame });
            }
            (_, Packet::Close(code)) => self.gone(id, direction, Some(code)),
            _ => {}
        }
    }

    /// The end that this direction leads to hears that the link is gone.
    fn gone(&mut self, id: u64, direction: Direction, code: Option<CloseCode>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (client, attempt) = (link.client, link.attempt);
        match direction {
            Direction::Up if std::mem::take(&mut link.server_end) => {
                self.tell_hub(hub::Input::Closed { connection: ConnectionId(id) });
            }
            Direction::Down if std::mem::take(&mut link.client_end) => {
                self.tell_client(client, Input::Closed { attempt, code, reason: String::new() });
            }
            _ => {}
        }
        if self.links.get(&id).is_some_and(|link| !link.client_end && !link.server_end) {
            self.links.remove(&id);
        }
    }

    fn tell_hub(&mut self, input: hub::Input) {
        self.hub.handle(self.now / MILLI, input);
        self.drain_hub();
    }

    fn drain_hub(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                hub::Output::Ready(connection) => self.at(0, Event::Pull(connection.0)),
                hub::Output::Close { connection, code, .. } => {
                    self.pull(connection.0);
                    self.send(connection.0, Direction::Down, Packet::Close(code));
                    self.at(0, Event::Gone { link: connection.0, direction: Direction::Up });
                }
                _ => {}
            }
        }
        if let Some(at) = self.hub.deadline().map(|at| at * MILLI)
            && self.hub_tick.is_none_or(|tick| tick > at || tick < self.now)
        {
            self.hub_tick = Some(at);
            self.at(at.saturating_sub(self.now), Event::HubTick);
        }
    }

    fn pull(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.server_end) else { return };
        if link.stalled {
            link.wants_pull = true;
            return self.tell_hub(hub::Input::Blocked { connection: ConnectionId(id) });
        }
        let mut frames: Vec<Frame> = Vec::new();
        let more = self.hub.pull(self.now / MILLI, ConnectionId(id), &mut frames);
        for frame in frames {
            self.send(id, Direction::Down, Packet::Frame(frame));
        }
        if more {
            let wait = self.rng.u64(0..50) * MILLI;
            self.at(wait, Event::Pull(id));
        }
        self.drain_hub();
    }

    fn fault(&mut self) {
        self.faults += 1;
        let links: Vec<u64> = self.links.keys().copied().collect();
        let Some(one) = self.rng.choice(links.iter().copied()) else { return };
        match self.rng.u32(0..100) {
            0..40 => self.cut(one),
            40..50 => links.into_iter().for_each(|link| self.cut(link)),
            50..80 => {
                let wait = self.rng.u64(0..100) * SECOND;
                if let Some(link) = self.links.get_mut(&one) {
                    link.stalled = true;
                }
                self.at(wait, Event::Heal(one));
            }
            80..88 => {
                // A laptop that sleeps: the clock jumps for it when it wakes.
                let client = self.rng.usize(0..self.clients.len());
                self.clients[client].asleep_until = self.now + self.rng.u64(1..300) * SECOND;
            }
            88..93 if self.profile.restarts && self.server_up => {
                self.hub.drain(self.now / MILLI, 1000, 5000);
                self.drain_hub();
                self.at(6 * SECOND, Event::Restart);
            }
            93.. if self.profile.restarts && self.server_up => self.restart(),
            _ => self.cut(one),
        }
    }

    /// The bytes on the way are lost; the ends hear of it now, later, or by their timeouts.
    fn cut(&mut self, id: u64) {
        if !self.links.contains_key(&id) {
            return;
        }
        let on_the_way = self.events.iter().filter_map(|(sequence, (at, event))| match event {
            Event::Arrive { link, .. } if *link == id => Some((*at, *sequence)),
            _ => None,
        });
        let mut pending: Vec<(u64, u64)> = on_the_way.collect();
        pending.sort_unstable();
        // What arrives after some point is lost.
        let keep = self.rng.usize(0..=pending.len());
        for (_, sequence) in &pending[keep..] {
            self.events.remove(sequence);
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.stalled = true;
            link.cut = true;
            link.held.clear();
        }
        for direction in [Direction::Up, Direction::Down] {
            let wait = if self.rng.bool() { 0 } else { self.rng.u64(0..90) * SECOND };
            self.at(wait, Event::Gone { link: id, direction });
        }
    }

    fn heal(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.cut || !std::mem::take(&mut link.stalled) {
            return;
        }
        let held = std::mem::take(&mut link.held);
        let wants_pull = std::mem::take(&mut link.wants_pull);
        for (direction, packet) in held {
            self.arrive(id, direction, packet);
        }
        if wants_pull {
            self.tell_hub(hub::Input::Unblocked { connection: ConnectionId(id) });
            self.pull(id);
        }
    }

    /// The server goes, with all that it had in memory, and another comes.
    fn restart(&mut self) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.cut(id);
            if let Some(link) = self.links.get_mut(&id) {
                link.server_end = false;
            }
        }
        self.hub = Hub::new(hub_config(&self.profile), self.rng.u64(..));
        self.hub_tick = None;
        self.server_up = false;
        let wait = self.rng.u64(0..20) * SECOND;
        self.at(wait, Event::ServerUp);
    }

    fn is_asleep(&self, client: usize) -> bool {
        self.clients[client].asleep_until > self.now
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// An exponential wait with this mean.
    fn wait(&mut self, mean: Duration) -> u64 {
        (mean.as_micros() as f64 * -(1.0 - self.rng.f64()).ln()) as u64
    }

    fn at(&mut self, wait: u64, event: Event) {
        self.sequence += 1;
        self.events.insert(self.sequence, (self.now + wait, event));
        self.queue.push(Reverse((self.now + wait, self.sequence)));
    }
}

fn hub_config(profile: &Profile) -> HubConfig {
    HubConfig {
        limits: Limits {
            frame: 64 << 10,
            payload: 32 << 10,
            channels: 100,
            inflight: 50,
            rate: if profile.rate_limited { 5 } else { 0 },
        },
        history: profile.history(),
        ..HubConfig::default()
    }
}
