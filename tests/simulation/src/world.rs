use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use realtime_engine::{Attempt, Input, OpenError, Timestamp};
use realtime_server::hub::{self, Hub, Member};

use crate::checker::{Checker, Violation};
use crate::client::Client;
use crate::disk::{Disk, DiskStep};
use crate::link::{Direction, Link, Packet};
use crate::loading::Loading;
use crate::profile::Profile;

/// A whole second, which tokens count in, µs since the Unix epoch.
pub(crate) const START: u64 = 1_700_000_000_000_000;
pub(crate) const MILLI: u64 = 1000;
pub(crate) const SECOND: u64 = 1_000_000;

#[derive(Debug)]
pub(crate) enum Event {
    /// The newest one of a client counts, and the newest of the hub.
    ClientTick {
        client: usize,
        number: u64,
    },
    HubTick {
        number: u64,
    },
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
        error: OpenError,
    },
    Token {
        client: usize,
        request: u64,
        result: Result<Option<String>, String>,
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
    Flushed {
        client: usize,
        attempt: Attempt,
        number: u64,
    },
    Backlog {
        client: usize,
        attempt: Attempt,
        bytes: usize,
    },
    /// A machine that slept goes on.
    Wake(usize),
    /// The application connects again.
    Connect(usize),
    Fault,
    Heal(u64),
    Restart,
    ServerUp,
    Disk {
        life: u64,
        step: DiskStep,
    },
    /// A client's application has loaded, or failed to.
    Loaded(Loading),
    /// The observer shows that it is there.
    Observe,
}

/// A call that was promised for a deadline; the last promise counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tick {
    at: Option<u64>,
    number: u64,
}

impl Tick {
    /// The number of a new promise, unless it was made already.
    pub(crate) fn set(&mut self, at: u64) -> Option<u64> {
        if self.at == Some(at) {
            return None;
        }
        self.at = Some(at);
        self.number += 1;
        Some(self.number)
    }

    fn fires(&mut self, number: u64) -> bool {
        let fires = self.number == number && self.at.is_some();
        if fires {
            self.at = None;
        }
        fires
    }

    /// No promise is kept.
    pub(crate) fn cancel(&mut self) {
        self.at = None;
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub virtual_time: Duration,
    pub faults: BTreeMap<&'static str, u64>,
    pub messages: u64,
    pub mutations: u64,
    pub tracked: u64,
    pub deliveries: u64,
    pub changes: u64,
    pub diverged: u64,
    pub gaps: u64,
    pub violations: Vec<Violation>,
}

/// Everything in one run.
pub struct World {
    seed: u64,
    pub(crate) profile: Profile,
    pub(crate) rng: fastrand::Rng,
    pub(crate) now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    pub(crate) events: BTreeMap<u64, (u64, Event)>,
    pub(crate) hub: Hub,
    pub(crate) server_up: bool,
    pub(crate) disk: Disk,
    /// How much the application said over each connection.
    pub(crate) directs: BTreeMap<u64, u64>,
    /// Whose each connection was.
    pub(crate) senders: BTreeMap<u64, usize>,
    pub(crate) hub_tick: Tick,
    pub(crate) ticks: Vec<Tick>,
    pub(crate) flushes: Vec<u64>,
    pub(crate) clients: Vec<Client>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) next_link: u64,
    pub(crate) checker: Checker,
    /// The epochs of the collections, as the observer was told them.
    pub(crate) epochs: Vec<String>,
    /// Who is present in each channel, as the server has it.
    pub(crate) members: Vec<Vec<Member>>,
    faults: BTreeMap<&'static str, u64>,
    /// After this moment nothing breaks any more and nobody acts.
    pub(crate) calm: bool,
    pub(crate) tracing: bool,
}

impl World {
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Timestamp::from_micros(START);
        let clients: Vec<_> = (0..profile.clients).map(|index| Client::new(index, &profile, now, &mut rng)).collect();
        let rules = clients.iter().map(|client| client.rules).collect();
        let hub_seed = rng.u64(..);
        let hub = match profile.durable {
            true => Hub::restore(profile.hub(), hub_seed, START / MILLI).finish(),
            false => Hub::new(profile.hub(), hub_seed),
        };
        Self {
            seed,
            hub,
            disk: Disk::default(),
            directs: BTreeMap::new(),
            senders: BTreeMap::new(),
            checker: Checker::new(rules, profile.server_rules()),
            ticks: vec![Tick::default(); clients.len()],
            flushes: vec![0; clients.len()],
            profile,
            rng,
            now: START,
            sequence: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            server_up: true,
            hub_tick: Tick::default(),
            clients,
            links: BTreeMap::new(),
            next_link: 0,
            epochs: Vec::new(),
            members: Vec::new(),
            faults: BTreeMap::new(),
            calm: false,
            tracing: false,
        }
    }

    /// Prints what happens.
    pub fn traced(mut self) -> Self {
        self.tracing = true;
        println!("{:#?}", self.profile);
        self
    }

    pub fn run(mut self) -> Report {
        self.live();
        self.report()
    }

    /// Runs to the end; the dump of each client.
    pub fn dumps(mut self) -> Vec<String> {
        self.live();
        self.clients.iter().map(|client| client.session.dump()).collect()
    }

    fn live(&mut self) {
        self.observe();
        self.at(20 * SECOND, Event::Observe);
        for index in 0..self.clients.len() {
            self.connect(index);
            for channel in 0..self.profile.channels {
                if self.rng.f64() < 0.7 {
                    let now = self.time();
                    self.clients[index].subscribe(now, channel, &mut self.checker);
                }
            }
            self.begin_streams(index);
            self.drain_client(index);
            let wait = self.wait(self.profile.act_every());
            self.at(wait, Event::Act(index));
        }
        let wait = self.wait(self.profile.fault_every);
        self.at(wait, Event::Fault);
        self.run_until(START + self.profile.duration.as_micros() as u64);
        self.settle();
    }

    fn report(self) -> Report {
        Report {
            seed: self.seed,
            virtual_time: Duration::from_micros(self.now - START),
            faults: self.faults,
            messages: self.checker.messages,
            mutations: self.checker.mutations,
            tracked: self.checker.tracked,
            deliveries: self.checker.deliveries,
            changes: self.checker.changes,
            diverged: self.checker.diverged,
            gaps: self.checker.gaps,
            violations: self.checker.violations,
        }
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, sequence))) = self.queue.peek().copied() {
            if at > end || self.checker.violations.len() > 20 {
                break;
            }
            self.queue.pop();
            let Some((_, event)) = self.events.remove(&sequence) else { continue };
            self.now = self.now.max(at);
            self.checker.at(self.now);
            self.handle(event);
        }
        self.now = self.now.max(end);
        self.checker.at(self.now);
    }

    fn handle(&mut self, event: Event) {
        // What a sleeping machine would do it does when it wakes; its sockets' bytes wait in `unread`.
        if let Event::ClientTick { client, .. }
        | Event::Connected { client, .. }
        | Event::OpenFailed { client, .. }
        | Event::Token { client, .. }
        | Event::Flushed { client, .. }
        | Event::Backlog { client, .. }
        | Event::Connect(client)
        | Event::Loaded(Loading { client, .. })
        | Event::Consume(client) = event
            && self.is_asleep(client)
        {
            let wait = self.clients[client].asleep_until - self.now;
            return self.at(wait, event);
        }
        match event {
            Event::ClientTick { client, number } => {
                if self.ticks[client].fires(number) {
                    self.tell_client(client, Input::Tick);
                }
            }
            Event::HubTick { number } => {
                if self.hub_tick.fires(number) {
                    self.tell_hub(hub::Input::Tick);
                }
            }
            Event::Act(index) if !self.calm => {
                if !self.is_asleep(index) && self.clients[index].busy_until <= self.now {
                    self.act(index);
                }
                let wait = self.wait(self.profile.act_every());
                self.at(wait, Event::Act(index));
            }
            Event::Consume(index) if self.clients[index].busy_until > self.now && !self.calm => {
                let wait = self.clients[index].busy_until - self.now;
                self.at(wait, Event::Consume(index));
            }
            Event::Consume(index) => self.consume(index),
            Event::Connected { client, attempt, link } => {
                if self.links.get(&link).is_some_and(|link| link.client_end) {
                    let protocol = (!self.clients[client].plain).then(|| "realtime.v1".to_owned());
                    self.clients[client].heard_at = self.now;
                    self.tell_client(client, Input::Opened { attempt, protocol });
                    self.read_client(link);
                }
            }
            Event::OpenFailed { client, attempt, error } => {
                self.tell_client(client, Input::OpenFailed { attempt, error });
            }
            Event::Token { client, request, result } => self.tell_client(client, Input::Token { request, result }),
            Event::Arrive { link, direction, packet } => self.arrive(link, direction, packet),
            Event::Gone { link, direction: Direction::Down }
                if self.links.get(&link).is_some_and(|link| self.is_asleep(link.client)) =>
            {
                let client = self.links[&link].client;
                let wait = self.clients[client].asleep_until - self.now;
                self.at(wait, Event::Gone { link, direction: Direction::Down });
            }
            Event::Gone { link, direction } => self.gone(link, direction, None),
            Event::Pull(link) => self.pull(link),
            Event::Flushed { client, attempt, number } => {
                if self.flushes[client] == number {
                    self.tell_client(client, Input::Flushed { attempt });
                }
            }
            Event::Backlog { client, attempt, bytes } => {
                self.tell_client(client, Input::Backlog { attempt, bytes });
                if bytes > 0 {
                    let wait = self.rng.u64(1..20) * SECOND;
                    self.at(wait, Event::Backlog { client, attempt, bytes: 0 });
                }
            }
            Event::Wake(client) => self.wake(client),
            Event::Connect(client) => self.connect(client),
            Event::Fault if !self.calm => {
                self.fault();
                let wait = self.wait(self.profile.fault_every);
                self.at(wait, Event::Fault);
            }
            Event::Heal(link) => self.heal(link),
            Event::Restart => self.restart(false),
            Event::ServerUp => self.server_up = true,
            Event::Disk { life, step } => self.disk_goes_on(life, step),
            Event::Loaded(loading) => self.loaded(loading),
            Event::Observe => self.observer_pings(),
            Event::Act(_) | Event::Fault => {}
        }
    }

    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>12.3} ms  {}", (self.now - START) as f64 / 1000.0, what());
        }
    }

    pub(crate) fn is_asleep(&self, client: usize) -> bool {
        self.clients[client].asleep_until > self.now
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// An exponential wait with this mean.
    pub(crate) fn wait(&mut self, mean: Duration) -> u64 {
        (mean.as_micros() as f64 * -(1.0 - self.rng.f64()).ln()) as u64
    }

    pub(crate) fn at(&mut self, wait: u64, event: Event) {
        self.sequence += 1;
        self.events.insert(self.sequence, (self.now + wait, event));
        self.queue.push(Reverse((self.now + wait, self.sequence)));
    }
}
