//! The end of a run: what was broken is mended, and everybody comes to rest.

use realtime_engine::Status;

use crate::checker::{Id, Invariant};
use crate::world::{SECOND, World};

impl World {
    /// Ends all faults and lets everything come to rest; then looks at the end.
    pub(crate) fn settle(&mut self) {
        self.trace(|| "calm".into());
        self.calm = true;
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.heal(link);
        }
        self.server_up = true;
        self.disk.fails_until(0);
        for index in 0..self.clients.len() {
            self.wake(index);
            self.connect(index);
            self.consume(index);
        }
        self.run_until(self.now + 300 * SECOND);
        let last = self.probe();
        self.probe_records();
        self.run_until(self.now + 120 * SECOND);
        self.checker.settled();
        self.look_at_disk();
        self.look_at_records();
        self.look_at_presence();
        for index in 0..self.clients.len() {
            let status = self.clients[index].session.status();
            if status != Status::Connected {
                let what = format!("client {index} did not come back: {status}");
                self.checker.violation(Invariant::Liveness, what);
                continue;
            }
            for (channel, last) in last.iter().enumerate() {
                self.look_at_end(index, channel, *last);
            }
        }
    }

    /// One last message into each channel.
    fn probe(&mut self) -> Vec<Option<Id>> {
        let now = self.time();
        let channels = self.profile.channels;
        let sent = (0..channels).map(|channel| {
            self.clients[0].send(now, Some(channel), false, &mut self.rng, &mut self.checker).map(|n| (0, n))
        });
        let sent = sent.collect();
        self.drain_client(0);
        sent
    }

    fn look_at_end(&mut self, index: usize, channel: usize, last: Option<Id>) {
        if !self.checker.is_subscribed(index, channel) || !self.checker.may_subscribe(index, channel) {
            return;
        }
        match last {
            Some(last) => self.checker.has_last(index, channel, last),
            None => self.checker.violation(Invariant::EverySendEnds, "no room for the last message".into()),
        }
        if self.checker.is_plain(index) {
            return;
        }
        let id = self.clients[index].channel(channel);
        match self.clients[index].session.position(id).cloned() {
            Some(position) => self.checker.at_end(index, channel, &position.epoch, position.offset),
            None => {
                let what = format!("client {index} has no position in channel {channel}");
                self.checker.violation(Invariant::Converges, what);
            }
        }
    }
}
