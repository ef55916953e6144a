//! The disk of a durable server. It takes its time; a kill loses what was not on it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use realtime_server::hub::{self, Batch, Hub, Record};

use crate::checker::{self, Invariant};
use crate::client::name;
use crate::records::find;
use crate::world::{Event, MILLI, World};

#[derive(Debug, Default)]
pub(crate) struct Disk {
    records: BTreeMap<u64, Record>,
    /// Given by the hub, and not on disk.
    waiting: VecDeque<Arc<Batch>>,
    busy: bool,
    fails_until: u64,
    /// Counts kills: what the disk does for a server that is gone nobody hears.
    life: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum DiskStep {
    /// Some of what waits is on disk.
    Written,
    /// The hub hears of it.
    Told { up_to: u64 },
}

impl Disk {
    pub(crate) fn fails_until(&mut self, until: u64) {
        self.fails_until = until;
    }

    fn write(&mut self, batch: &Batch) {
        for (number, change) in &batch.changes {
            match change {
                Some(record) => drop(self.records.insert(*number, record.clone())),
                None => drop(self.records.remove(number)),
            }
        }
    }

    fn epoch(&self, channel: u64) -> Option<Arc<str>> {
        match self.records.get(&channel) {
            Some(Record::Channel { epoch, .. } | Record::Collection { epoch, .. }) => Some(epoch.clone()),
            _ => None,
        }
    }

    /// The collection with this number.
    fn collection(&self, number: u64, of_a_channel: usize) -> Option<usize> {
        match self.records.get(&number) {
            Some(Record::Collection { channel, name, .. }) => find(channel, name, of_a_channel),
            _ => None,
        }
    }
}

impl World {
    pub(crate) fn persist(&mut self, batch: Arc<Batch>) {
        self.trace(|| format!("hub     => disk, batch {}: {} changes", batch.number, batch.changes.len()));
        self.disk.waiting.push_back(batch);
        self.work();
    }

    fn work(&mut self) {
        if self.disk.busy || self.disk.waiting.is_empty() {
            return;
        }
        self.disk.busy = true;
        let wait = if self.rng.u32(0..20) == 0 { self.rng.u64(0..3000) } else { self.rng.u64(0..20) };
        self.at(wait * MILLI, Event::Disk { life: self.disk.life, step: DiskStep::Written });
    }

    pub(crate) fn disk_goes_on(&mut self, life: u64, step: DiskStep) {
        if life != self.disk.life {
            return;
        }
        match step {
            DiskStep::Written if self.now < self.disk.fails_until => {
                self.trace(|| "disk fails".into());
                self.disk.busy = false;
                self.disk.waiting.clear();
                self.tell_hub(hub::Input::PersistFailed);
            }
            DiskStep::Written => {
                let count = self.rng.usize(1..=self.disk.waiting.len());
                let Some(up_to) = self.write_batches(count) else { return };
                let wait = if self.rng.bool() { 0 } else { self.rng.u64(0..10) * MILLI };
                self.at(wait, Event::Disk { life, step: DiskStep::Told { up_to } });
            }
            DiskStep::Told { up_to } => {
                self.trace(|| format!("disk    => hub, up to {up_to}"));
                self.disk.busy = false;
                self.tell_hub(hub::Input::Persisted { up_to });
                self.work();
            }
        }
    }

    fn write_batches(&mut self, count: usize) -> Option<u64> {
        let mut last = None;
        for _ in 0..count {
            let Some(batch) = self.disk.waiting.pop_front() else { break };
            self.disk.write(&batch);
            for record in batch.changes.values().flatten() {
                if let Record::Message { channel, offset, line, .. } = record
                    && let Some(epoch) = self.disk.epoch(*channel)
                {
                    self.checker.stored(&epoch, *offset, line);
                    if let Some(collection) = self.disk.collection(*channel, self.profile.collections) {
                        self.checker.logged(collection, &epoch, line);
                    }
                }
            }
            last = Some(batch.number);
        }
        last
    }

    /// What a server that was killed finds: of what it was writing, all up to some batch.
    pub(crate) fn restore_hub(&mut self, seed: u64) -> Hub {
        let count = if self.disk.busy { self.rng.usize(0..=self.disk.waiting.len()) } else { 0 };
        self.write_batches(count);
        self.disk.waiting.clear();
        self.disk.busy = false;
        self.disk.life += 1;
        let mut restore = Hub::restore(self.profile.hub(), seed, self.now / MILLI);
        for (number, record) in &self.disk.records {
            if let Err(error) = restore.record(*number, record.clone()) {
                self.checker.violation(Invariant::DurableFirst, format!("the store cannot be read: {error}"));
                break;
            }
        }
        restore.finish()
    }

    /// In the end all that somebody was told is there.
    pub(crate) fn look_at_disk(&mut self) {
        if !self.profile.durable {
            return;
        }
        let mut items: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for record in self.disk.records.values() {
            if let Record::Item { collection, key, revision, record } = record
                && let Some(collection) = self.disk.collection(*collection, self.profile.collections)
            {
                items.entry(collection).or_default().push((key.to_string(), *revision, record.to_vec()));
            }
        }
        for (collection, items) in items {
            self.checker.holds_records("the disk", collection, &items);
        }
        let mut histories: BTreeMap<u64, HashMap<u64, checker::Id>> = BTreeMap::new();
        for record in self.disk.records.values() {
            if let Record::Message { channel, offset, line, .. } = record
                && let Some(id) = checker::id_in(line)
            {
                histories.entry(*channel).or_default().insert(*offset, id);
            }
        }
        for (number, record) in &self.disk.records {
            if let Record::Channel { name: of, epoch, .. } = record
                && let Some(channel) = (0..self.profile.channels).find(|index| name(*index) == **of)
            {
                self.checker.found(channel, epoch, histories.entry(*number).or_default());
            }
        }
    }
}
