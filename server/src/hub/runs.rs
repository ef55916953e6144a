use bytes::Bytes;

use super::history::History;
use super::streams::StreamKey;

/// How many are kept, each of about a frame. A subscriber pulls all that it lacks before the next one does.
const SLOTS: usize = 16;

/// Messages that wait together, joined once for all subscribers that are behind by the same.
#[derive(Debug, Default)]
pub(super) struct Runs {
    slots: [Option<Run>; SLOTS],
}

/// Messages of a stream without a hole, as the body of a frame.
#[derive(Clone, Debug)]
pub(super) struct Run {
    stream: StreamKey,
    first: u64,
    pub(super) last: u64,
    /// One a line.
    pub(super) lines: Bytes,
    /// Bytes before the last line.
    before_last: usize,
}

impl Run {
    pub(super) fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Bytes of the messages, as windows count them.
    pub(super) fn bytes(&self) -> u64 {
        self.lines.len() as u64 - (self.count() - 1)
    }

    /// Whether all that a history has is in it, as far as a frame goes.
    fn is_complete(&self, history: &History, limit: usize) -> bool {
        self.before_last < limit && (self.last == history.last() || self.lines.len() >= limit)
    }
}

impl Runs {
    /// The messages from `first` on whose last one begins before `limit` bytes; `None` where fewer than two can share a frame.
    pub(super) fn run(&mut self, stream: StreamKey, history: &History, first: u64, limit: usize) -> Option<Run> {
        if first >= history.last() {
            return None;
        }
        let place = (stream ^ first).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let slot = &mut self.slots[place as usize % SLOTS];
        match slot {
            Some(run) if run.stream == stream && run.first == first && run.is_complete(history, limit) => {}
            _ => *slot = Some(join(stream, history, first, limit)?),
        }
        slot.clone()
    }
}

fn join(stream: StreamKey, history: &History, first: u64, limit: usize) -> Option<Run> {
    let lines = || (first..).map_while(|offset| history.entry(offset)).take_while(|entry| !entry.binary);
    let (mut size, mut count) = (0, 0);
    for entry in lines() {
        if size >= limit {
            break;
        }
        size += entry.v1.len() + usize::from(count > 0);
        count += 1;
    }
    if count < 2 {
        return None;
    }
    let mut joined = Vec::with_capacity(size);
    let mut before_last = 0;
    for entry in lines().take(count) {
        before_last = joined.len();
        if before_last > 0 {
            joined.push(b'\n');
        }
        joined.extend_from_slice(&entry.v1);
    }
    Some(Run { stream, first, last: first + count as u64 - 1, lines: joined.into(), before_last })
}
