//! The server's side: what a network layer does with the hub.

use realtime_engine::wire::Frame;
use realtime_server::hub::{self, ConnectionId, Hub};

use crate::checker::Invariant;
use crate::link::{Direction, Packet};
use crate::network::shown;
use crate::observer::OBSERVER;
use crate::present::speaks;
use crate::world::{Event, MILLI, SECOND, World};

/// A pull hands out all answers, and beside them about as many bytes of messages.
const PULL_BYTES: usize = 64 << 10;

impl World {
    pub(crate) fn tell_hub(&mut self, input: hub::Input) {
        let spoke = speaks(&input);
        self.hub.handle(self.now / MILLI, input);
        self.look_at_members(spoke);
        self.drain_hub();
    }

    pub(crate) fn drain_hub(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                hub::Output::Ready(OBSERVER) => self.observer_pulls(),
                hub::Output::Close { connection: OBSERVER, .. } => {
                    self.hub.handle(self.now / MILLI, hub::Input::Closed { connection: OBSERVER });
                }
                hub::Output::Ready(connection) => self.at(0, Event::Pull(connection.0)),
                hub::Output::Close { connection, code, reason } => {
                    self.trace(|| format!("server closes {} with {} {reason}", connection.0, code.0));
                    self.write(connection.0);
                    self.send(connection.0, Direction::Down, Packet::Close(code));
                    self.at(0, Event::Gone { link: connection.0, direction: Direction::Up });
                }
                hub::Output::Persist(batch) => self.persist(batch),
                hub::Output::Sent { connection, content, .. } => self.application_gets(connection, &content),
                _ => {}
            }
        }
        if let Some(at) = self.hub.deadline().map(|at| at * MILLI)
            && let Some(number) = self.hub_tick.set(at)
        {
            self.at(at.saturating_sub(self.now), Event::HubTick { number });
        }
        self.check_hub();
    }

    pub(crate) fn pull(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.server_end) else { return };
        if link.down_bytes >= self.profile.socket_buffer {
            link.wants_pull = true;
            return self.tell_hub(hub::Input::Blocked { connection: ConnectionId(id) });
        }
        if self.write(id) {
            let wait = self.rng.u64(0..50) * MILLI;
            self.at(wait, Event::Pull(id));
        }
        self.drain_hub();
        // Answers have gone out: there may be room to read again.
        self.read_server(id);
    }

    /// The socket has taken some of what was written.
    pub(crate) fn unblock(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.down_bytes > 0 && link.down_bytes * 2 >= self.profile.socket_buffer {
            return self.tell_hub(hub::Input::Blocked { connection: ConnectionId(id) });
        }
        link.wants_pull = false;
        self.tell_hub(hub::Input::Unblocked { connection: ConnectionId(id) });
        self.pull(id);
    }

    /// Hands on what the hub has for a connection; whether there is more.
    fn write(&mut self, id: u64) -> bool {
        let mut frames: Vec<Frame> = Vec::new();
        let more = self.hub.pull(self.now / MILLI, ConnectionId(id), &mut frames);
        let bytes: usize = frames.iter().map(Frame::len).sum();
        let config = self.hub.config();
        // What is read while there is room in the writer may be answered all the same: one frame's worth.
        let bound = config.writer_hard_bytes + 2 * PULL_BYTES + config.limits.frame as usize;
        if bytes > bound {
            self.checker.violation(Invariant::Bounded, format!("the server held {bytes} bytes for connection {id}"));
        }
        for frame in frames {
            self.trace(|| format!("server  -> {id} {}", shown(&frame)));
            if self.profile.durable {
                self.checker.leaves(&frame);
                self.checker.changes_leave(&frame);
            }
            self.send(id, Direction::Down, Packet::Frame(frame));
        }
        more
    }

    /// The server goes, with or without all that it had in memory, and comes back with what is on its disk.
    pub(crate) fn restart(&mut self, remembers: bool) {
        self.trace(|| format!("server restarts, remembers: {remembers}"));
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.cut(id);
            if let Some(link) = self.links.get_mut(&id)
                && std::mem::take(&mut link.server_end)
                && remembers
            {
                self.tell_hub(hub::Input::Closed { connection: ConnectionId(id) });
            }
        }
        if !remembers {
            self.hub = self.start_hub();
            self.hub_tick.cancel();
            self.checker.restarted();
            self.members.clear();
            self.observe();
            self.drain_hub();
        }
        self.server_up = false;
        let wait = self.rng.u64(0..20) * SECOND;
        self.at(wait, Event::ServerUp);
    }

    fn start_hub(&mut self) -> Hub {
        let seed = self.rng.u64(..);
        if self.profile.durable { self.restore_hub(seed) } else { Hub::new(self.profile.hub(), seed) }
    }

    fn check_hub(&mut self) {
        let stats = self.hub.stats();
        // One more is taken while there is any room: a message, or a change with the record that it makes.
        let bound = self.hub.config().staged_bytes as u64 + 2500;
        if stats.staged_bytes > bound {
            self.checker.violation(Invariant::Bounded, format!("{} bytes wait for the disk", stats.staged_bytes));
        }
        if self.profile.small_history {
            // 20 messages a stream, each of at most 400 bytes with what it costs, in both dialects; more where it tells who is there.
            let streams = self.profile.channels + self.profile.all_collections();
            let bound = (streams * 20 * 1000 + self.profile.channels * 20 * 4000) as u64;
            if stats.history_bytes > bound {
                let what = format!("the histories have {} bytes of {bound}", stats.history_bytes);
                self.checker.violation(Invariant::Bounded, what);
            }
        }
        if stats.connections > self.links.len() as u64 + 1 {
            let what = format!("the hub has {} connections of {}", stats.connections, self.links.len());
            self.checker.violation(Invariant::Bounded, what);
        }
    }
}
