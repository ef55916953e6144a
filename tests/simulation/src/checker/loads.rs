//! Snapshots: what `docs/recovery.md` promises to those who load one after a gap.

use realtime_engine::{Covered, LoadOn};

use super::{Checker, Id, Invariant, Missing};

/// What an application wants to load of a channel, waits for, and has.
#[derive(Debug, Default)]
pub(super) struct Loads {
    on: LoadOn,
    /// A load is due or under way: nothing may come.
    held: bool,
    /// The number of the load that the application was asked for.
    asked: Option<u64>,
    /// Up to where the last snapshot reaches: epoch and offset.
    covered: Option<(u32, u64)>,
    /// It is of another history than the one that was told last: what comes in between is no longer wanted.
    ahead: bool,
}

impl Checker {
    /// The application says when it wants to load.
    pub(crate) fn loads_on(&mut self, client: usize, channel: usize, on: LoadOn) {
        let loads = self.loads.entry((client, channel)).or_default();
        match on {
            // What it has loaded it has.
            LoadOn::Never => *loads = Loads { covered: loads.covered, ..Loads::default() },
            on => loads.on = on,
        }
    }

    /// Whether this application has ever wanted to load this channel.
    pub(super) fn may_load(&self, client: usize, channel: usize) -> bool {
        self.loads.contains_key(&(client, channel))
    }

    pub(super) fn loads_begin(&mut self, client: usize, channel: usize) {
        if let Some(loads) = self.loads.get_mut(&(client, channel)) {
            *loads = Loads { on: loads.on, held: loads.on == LoadOn::GapAndSubscribe, ..Loads::default() };
        }
    }

    pub(super) fn loads_end(&mut self, client: usize, channel: usize) {
        if let Some(loads) = self.loads.get_mut(&(client, channel)) {
            *loads = Loads { on: loads.on, ..Loads::default() };
        }
    }

    /// After a gap messages wait, unless what is missing is loaded already.
    pub(super) fn gap_wants_load(&mut self, client: usize, channel: usize, gap: &Missing) {
        let epoch = self.histories.epoch(&gap.epoch);
        let Some(loads) = self.loads.get_mut(&(client, channel)).filter(|loads| loads.on != LoadOn::Never) else {
            return;
        };
        if loads.held && !(loads.ahead && loads.asked.is_none()) {
            let what = format!("client {client} channel {channel} was told {gap:?} while it loads");
            self.violation(Invariant::SnapshotFits, what);
        } else {
            let reaches = |(of, offset): (u32, u64)| of == epoch && gap.to.is_none_or(|to| to <= offset);
            loads.held = !loads.covered.is_some_and(reaches);
            loads.ahead &= loads.covered.is_some_and(|(of, _)| of != epoch);
        }
    }

    /// The application is asked to load. `unconsumed`: it has not consumed all that came before.
    pub(crate) fn load(&mut self, client: usize, channel: usize, load: u64, gap: &Missing, unconsumed: bool) {
        let Some(loads) = self.loads.get_mut(&(client, channel)) else { return };
        let before = loads.asked.replace(load);
        if !loads.held || before.is_some() || unconsumed {
            let what = format!(
                "client {client} channel {channel} is asked for {load} after {gap:?}, held: {}, asked before: {before:?}, unconsumed: {unconsumed}",
                loads.held
            );
            self.violation(Invariant::SnapshotFits, what);
        }
        if gap.initial {
            let epoch = self.histories.epoch(&gap.epoch);
            if let Some(seen) = self.seen.get_mut(&(client, channel)) {
                (seen.epoch, seen.last) = (Some(epoch), Some(gap.to.unwrap_or(0)));
            }
        }
    }

    /// The application has loaded, or failed to; what ends another load than the one under way is nothing.
    pub(crate) fn loaded(&mut self, client: usize, channel: usize, load: u64, covered: Option<&Covered>) {
        let before = self.seen.get(&(client, channel)).and_then(|seen| seen.epoch);
        let covered = covered.and_then(|Covered { epoch: of, offset }| {
            Some((of.as_ref().map(|of| self.histories.epoch(of)).or(before)?, *offset))
        });
        if let Some(loads) = self.loads.get_mut(&(client, channel))
            && loads.asked == Some(load)
        {
            (loads.held, loads.asked) = (false, None);
            loads.ahead = covered.is_some_and(|(of, _)| Some(of) != before);
            loads.covered = covered.or(loads.covered);
        }
    }

    /// Up to which offset of this epoch the application has loaded.
    pub(super) fn covered(&self, client: usize, channel: usize, epoch: u32) -> u64 {
        let covered = self.loads.get(&(client, channel)).and_then(|loads| loads.covered);
        covered.filter(|(of, _)| *of == epoch).map_or(0, |(_, offset)| offset)
    }

    pub(super) fn is_loaded(&self, client: usize, channel: usize, id: Id) -> bool {
        let places = self.sent.get(&id).map(|sent| &sent.places[..]).unwrap_or_default();
        places.iter().any(|(epoch, offset)| *offset <= self.covered(client, channel, *epoch))
    }

    /// A message came: nothing may have to wait, and the snapshot must not contain it.
    pub(super) fn waits_for_no_load(&mut self, client: usize, channel: usize, (epoch, offset): (u32, u64)) {
        if self.loads.get(&(client, channel)).is_some_and(|loads| loads.held) {
            let what = format!("client {client} channel {channel}: {offset} came before the snapshot");
            self.violation(Invariant::SnapshotFits, what);
        }
        let covered = self.covered(client, channel, epoch);
        if offset <= covered {
            let what = format!("client {client} channel {channel}: {offset} came after a snapshot up to {covered}");
            self.violation(Invariant::SnapshotFits, what);
        }
    }

    pub(super) fn loads_settled(&mut self) {
        let waiting: Vec<_> = self.loads.iter().filter(|(_, loads)| loads.held).map(|(of, _)| *of).collect();
        for (client, channel) in waiting {
            if self.is_subscribed(client, channel) && self.may_subscribe(client, channel) {
                let what = format!("client {client} channel {channel} was never asked for the snapshot it waits for");
                self.violation(Invariant::SnapshotFits, what);
            }
        }
    }
}
