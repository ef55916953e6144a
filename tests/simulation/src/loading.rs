//! The applications that load a snapshot after a gap.

use realtime_engine::Covered;

use crate::world::{Event, MILLI, SECOND, World};

/// A load under way.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(crate) client: usize,
    channel: usize,
    load: u64,
    /// Up to where the snapshot reaches; `None` where it failed, or its backend does not know.
    covered: Option<Covered>,
    /// It is read at the end, and not at the beginning.
    late: bool,
}

impl World {
    pub(crate) fn begin_load(&mut self, client: usize, channel: usize, load: u64) {
        let fate = if self.calm { 0 } else { self.rng.u32(0..10) };
        let covered = if fate < 7 { self.snapshot(channel) } else { None };
        if covered.is_none() {
            self.count("snapshot without a position");
        }
        let wait = match fate {
            0..3 => self.rng.u64(0..100) * MILLI,
            _ => self.rng.u64(0..40) * SECOND,
        };
        let late = self.rng.bool();
        self.at(wait, Event::Loaded(Loading { client, channel, load, covered, late }));
    }

    pub(crate) fn loaded(&mut self, loading: Loading) {
        let Loading { client, channel, load, covered, late } = loading;
        let covered = covered.and_then(|covered| if late { self.snapshot(channel) } else { Some(covered) });
        self.trace(|| format!("client {client} channel {channel} load {load} ends: {covered:?}"));
        let now = self.time();
        let numbers = match self.rng.u32(0..10) {
            // An application may say it for a load that was given up, or twice.
            0 => vec![load.saturating_sub(1), load, load],
            _ => vec![load],
        };
        for number in numbers {
            self.clients[client].loaded(now, channel, number, covered.clone(), &mut self.checker);
        }
        self.drain_client(client);
        if let Some((_, link)) = self.clients[client].link {
            self.read_client(link);
        }
    }

    /// What the backend has: all that somebody was told, or a little less.
    fn snapshot(&mut self, channel: usize) -> Option<Covered> {
        let (epoch, newest) = self.checker.newest_position(channel)?;
        let offset = if self.rng.bool() { newest } else { newest.saturating_sub(self.rng.u64(0..10)) };
        Some(Covered { epoch: Some(epoch), offset })
    }
}
