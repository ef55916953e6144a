use std::collections::VecDeque;

use crate::io::{ChannelMessage, Gap};
use crate::wire::Position;

/// When the application loads a snapshot of a channel, while the channel's messages wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadOn {
    /// Never: gaps are told, and nothing waits.
    #[default]
    Never,
    /// After every gap; in `plain` after every reconnect, since there a gap cannot be known.
    Gap,
    /// The same, and once when the subscription begins.
    GapAndSubscribe,
}

/// What a snapshot contains: everything up to this offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The history that `offset` counts in; without one it is the one that the load was asked for in.
    pub epoch: Option<String>,
    /// The last offset that the snapshot contains.
    pub offset: u64,
}

/// The snapshot of a channel: whether one is being loaded, what waits meanwhile, and what the last one contains.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    pub(crate) on: LoadOn,
    held: Option<Held>,
    covered: Option<Position>,
}

/// A load, from the gap that asks for it to its end.
#[derive(Debug)]
pub(crate) struct Held {
    /// Names it: what ends another load does not end this one.
    pub(crate) load: u64,
    /// Why, until the application was asked.
    ask: Option<Gap>,
    /// The epoch of what waits first.
    pub(crate) epoch: String,
    pub(crate) waiting: VecDeque<Waiting>,
    /// Bytes of messages that wait.
    bytes: u64,
}

#[derive(Debug)]
pub(crate) enum Waiting {
    Message(ChannelMessage),
    Gap(Gap),
    /// A gap that nobody knows more of than that a load is wanted.
    Load(Gap),
}

impl Hold {
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether no message waits, or is contained in a snapshot.
    pub(crate) fn is_unused(&self) -> bool {
        self.held.is_none() && self.covered.is_none()
    }

    /// Begins a load, behind which `waiting` waits.
    pub(crate) fn begin(&mut self, load: u64, gap: Gap, waiting: VecDeque<Waiting>) {
        let size = |item: &Waiting| if let Waiting::Message(message) = item { message.size } else { 0 };
        let bytes = waiting.iter().map(size).sum();
        self.held = Some(Held { load, epoch: gap.epoch.clone(), ask: Some(gap), waiting, bytes });
    }

    /// Keeps something behind the load, where there is one; otherwise it is given back.
    pub(crate) fn keep(&mut self, item: Waiting) -> Option<Waiting> {
        let Some(held) = &mut self.held else { return Some(item) };
        if let Waiting::Message(message) = &item {
            held.bytes += message.size;
        }
        held.waiting.push_back(item);
        None
    }

    /// The load to ask for: once all that was delivered before is consumed, of `unconsumed` bytes in all.
    pub(crate) fn take_ask(&mut self, unconsumed: u64) -> Option<(u64, Gap)> {
        let held = self.held.as_mut().filter(|held| held.bytes >= unconsumed || crate::mutant("load-too-early"))?;
        if crate::mutant("load-never-asked") {
            return None;
        }
        Some((held.load, held.ask.take()?))
    }

    /// Ends the load of this number; `None` where it is another, or was not asked for yet.
    pub(crate) fn end(&mut self, load: u64) -> Option<Held> {
        self.held.take_if(|held| held.load == load && held.ask.is_none())
    }

    /// Ends whatever load there is. What the last snapshot contains stays contained.
    pub(crate) fn give_up(&mut self) -> Option<Held> {
        self.held.take()
    }

    /// Ends whatever load there is, and forgets what a snapshot contains.
    pub(crate) fn clear(&mut self) -> Option<Held> {
        self.covered = None;
        self.held.take()
    }

    pub(crate) fn cover(&mut self, position: Position) {
        self.covered = Some(position);
    }

    /// Whether the last snapshot contains this offset.
    pub(crate) fn contains(&mut self, epoch: &str, offset: Option<u64>) -> bool {
        let (Some(covered), Some(offset)) = (&self.covered, offset) else { return false };
        if covered.epoch != epoch || crate::mutant("snapshot-ignored") {
            return false;
        }
        if offset > covered.offset + u64::from(crate::mutant("snapshot-too-far")) {
            // Offsets grow.
            self.covered = None;
            return false;
        }
        true
    }

    /// Whether a load is wanted after this gap: not where the last snapshot contains what is missing.
    pub(crate) fn is_wanted_after(&mut self, gap: &Gap) -> bool {
        if gap.previous_epoch.as_ref() == Some(&gap.epoch) {
            // The history has gone back: the snapshot is of one that is no more.
            self.covered = None;
        }
        let contained = |covered: &Position| covered.epoch == gap.epoch && gap.to.is_none_or(|to| to <= covered.offset);
        self.on != LoadOn::Never && !self.covered.as_ref().is_some_and(contained)
    }
}

impl Held {
    /// Takes out the messages before the history that the snapshot is of, where that begins among what waits.
    pub(crate) fn take_before(&mut self, epoch: &str) -> Vec<Waiting> {
        let begins = |item: &Waiting| matches!(item, Waiting::Gap(gap) if gap.epoch == epoch);
        match self.waiting.iter().position(begins) {
            Some(at) if self.epoch != epoch => self.waiting.drain(..at).collect(),
            _ => Vec::new(),
        }
    }
}
