//! Prints what presence and collections cost in the hub itself: no sockets, one thread.
//!
//! ```sh
//! cargo run --release -p realtime-server --example state_rate
//! ```
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use realtime_engine::wire::{Frame, Op};
use realtime_server::hub::{ConnectionId, Dialect, Hub, HubConfig, Input, Output};

/// A hub with everybody who is connected to it; bytes that go out are counted and dropped.
struct World {
    hub: Hub,
    now: u64,
    frames: Vec<Frame>,
    next: u64,
    bytes: u64,
}

impl World {
    fn new() -> Self {
        let config = HubConfig { connections: 100_000, ..HubConfig::default() };
        Self { hub: Hub::new(config, 1), now: 1_000_000, frames: Vec::new(), next: 0, bytes: 0 }
    }

    fn open(&mut self) -> ConnectionId {
        self.next += 1;
        let connection = ConnectionId(self.next);
        self.hub.handle(self.now, Input::Opened { connection, dialect: Dialect::V1, identity: None });
        self.say(connection, format!(r#"{{"type":"hello","session":"session-{:0>16}"}}"#, self.next));
        connection
    }

    fn say(&mut self, connection: ConnectionId, text: String) {
        self.hub.handle(self.now, Input::Frame { connection, frame: Frame::Text(text.into()) });
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.hub.poll() {
            let Output::Ready(connection) = output else { continue };
            while self.hub.pull(self.now, connection, &mut self.frames) {}
            self.bytes += self.frames.drain(..).map(|frame| frame.len() as u64).sum::<u64>();
        }
    }

    /// Time passes, with everything that is due in it.
    fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.hub.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.hub.handle(self.now, Input::Tick);
            self.settle();
        }
        self.now = end;
    }

    /// What it took since the last time: seconds and bytes.
    fn took(&mut self, begun: Instant) -> (f64, f64) {
        let bytes = std::mem::take(&mut self.bytes);
        (begun.elapsed().as_secs_f64(), bytes as f64 / 1e6)
    }
}

fn main() {
    changes(10, 200_000);
    for members in [1000, 10_000] {
        join(members);
    }
    snapshot(100_000);
}

fn changes(subscribers: usize, count: u64) {
    let mut world = World::new();
    let publisher = world.open();
    for _ in 0..subscribers {
        let client = world.open();
        world.say(client, r#"{"type":"subscribe","id":1,"channel":"room","collection":"tasks"}"#.into());
    }
    world.bytes = 0;
    let begun = Instant::now();
    for id in 1..=count {
        let key = id % 1000;
        let line = match id {
            1..=1000 => format!(
                r#"{{"type":"mutate","id":{id},"channel":"room","collection":"tasks","op":"insert","key":"task-{key}","payload":{{"id":"task-{key}","title":"A task of usual length","done":false,"order":{id}}}}}"#
            ),
            _ => format!(
                r#"{{"type":"mutate","id":{id},"channel":"room","collection":"tasks","op":"update","key":"task-{key}","payload":{{"done":true,"order":{id}}}}}"#
            ),
        };
        world.say(publisher, line);
    }
    let (seconds, megabytes) = world.took(begun);
    let rate = count as f64 / seconds;
    println!("{count} changes to {subscribers} subscribers, each alone: {rate:.0} changes/s, {megabytes:.1} MB out");
}

fn join(members: usize) {
    let mut world = World::new();
    let clients: Vec<_> = (0..members).map(|_| world.open()).collect();
    world.bytes = 0;
    let begun = Instant::now();
    let track = |n: usize| {
        format!(
            r#"{{"type":"track","id":2,"channel":"room","key":"user-{n}","status":"online","state":{{"name":"Somebody {n}"}}}}"#
        )
    };
    // They come in the course of ten seconds, and each watches.
    for (n, client) in clients.iter().enumerate() {
        world.say(*client, r#"{"type":"subscribe","id":1,"channel":"room","presence":true}"#.into());
        world.say(*client, track(n));
        world.advance(10_000 * (n as u64 + 1) / members as u64 - 10_000 * n as u64 / members as u64);
    }
    world.advance(100);
    let (seconds, megabytes) = world.took(begun);
    println!("{members} members come within 10 s, all watching: {seconds:.2} s of work, {megabytes:.1} MB out");
    let begun = Instant::now();
    world.say(clients[0], track(members));
    world.advance(100);
    let (seconds, megabytes) = world.took(begun);
    println!("one of them changes: {:.2} ms of work, {megabytes:.3} MB out", seconds * 1e3);
    let begun = Instant::now();
    for client in &clients[..members / 2] {
        world.hub.handle(world.now, Input::Closed { connection: *client });
    }
    world.advance(10_100);
    let (seconds, megabytes) = world.took(begun);
    println!("half of them vanish at once: {seconds:.2} s of work, {megabytes:.1} MB out");
}

fn snapshot(records: u64) {
    let mut world = World::new();
    let begun = Instant::now();
    for id in 1..=records {
        let record = format!(r#"{{"id":"task-{id:06}","title":"A task of usual length","done":false,"order":{id}}}"#);
        world
            .hub
            .mutate(world.now, "room", "tasks", &format!("task-{id:06}"), Op::Insert(record.as_bytes()), None)
            .unwrap();
    }
    let (seconds, _) = world.took(begun);
    let held = world.hub.stats().record_bytes as f64 / 1e6;
    println!("{records} records inserted by the server: {seconds:.2} s, {held:.1} MB held");
    let client = world.open();
    world.bytes = 0;
    let begun = Instant::now();
    world.say(client, r#"{"type":"subscribe","id":1,"channel":"room","collection":"tasks"}"#.into());
    let (seconds, megabytes) = world.took(begun);
    println!("a snapshot of them: {:.1} ms, {megabytes:.1} MB, {} pages", seconds * 1e3, world.hub.stats().pages_out);
}
