//! Messages that wait while the application loads a snapshot of their channel.

use std::collections::VecDeque;

use serde_json::json;

use super::Session;
use crate::hold::{Covered, LoadOn, Waiting};
use crate::io::{ChannelId, ChannelMessage, Event, Gap, Load};
use crate::recorder;
use crate::time::Timestamp;
use crate::wire::Position;

impl Session {
    /// Says when the application wants to load a snapshot of a channel. From then on a gap is followed by [`Event::Load`],
    /// once everything delivered before it is consumed, and the channel's messages wait until [`loaded`](Self::loaded).
    ///
    /// What waits is not consumed, so that the inbox bounds it. With [`LoadOn::Never`] a load under way ends; what was loaded
    /// before is still left out of what comes.
    pub fn load_on(&mut self, now: Timestamp, id: ChannelId, on: LoadOn) {
        self.now = now;
        let Some(channel) = self.channels.get_mut(id) else { return };
        self.recorder.call_with(now, "loadOn", Some(id), on as u64, None);
        channel.hold.on = on;
        if on == LoadOn::Never
            && let Some(held) = channel.hold.give_up()
        {
            self.release(id, held.epoch, held.waiting);
        }
    }

    /// A load has ended: what waited is delivered, but for messages that the snapshot contains; those are counted
    /// ([`Stats::covered`](crate::Stats::covered)), also where they come later. Where another gap is among what waited, the
    /// messages behind it wait for another load, unless the snapshot contains that too.
    ///
    /// Does nothing where `load` is not the number of the load under way.
    pub fn loaded(&mut self, now: Timestamp, id: ChannelId, load: u64, covered: Option<Covered>) {
        self.now = now;
        let Some(channel) = self.channels.get_mut(id) else { return };
        let covered_up_to = covered
            .as_ref()
            .map(|covered| json!({ "epoch": covered.epoch.as_deref().map(recorder::epoch), "offset": covered.offset }));
        self.recorder.call_with(now, "loaded", Some(id), load, covered_up_to);
        let Some(mut held) = channel.hold.end(load) else { return };
        if let Some(Covered { epoch, offset }) = covered {
            let epoch = epoch.unwrap_or_else(|| held.epoch.clone());
            // Of histories before that, the snapshot is the end.
            let before = held.take_before(&epoch);
            channel.hold.cover(Position { epoch, offset });
            for item in before {
                match item {
                    Waiting::Message(message) => self.drop_covered(&message),
                    Waiting::Gap(gap) => self.tell_gap(gap),
                    Waiting::Load(_) => {}
                }
            }
        }
        self.release(id, held.epoch, held.waiting);
    }

    /// Hands a message on, unless it waits for a load, or a snapshot contains it.
    pub(super) fn deliver(&mut self, message: ChannelMessage) {
        let Some(channel) = self.channels.get_mut(message.channel) else { return };
        channel.unconsumed += message.size;
        self.unconsumed += message.size;
        if channel.hold.is_unused() {
            return self.hand_on(message);
        }
        let kept = match crate::mutant("messages-before-snapshot") {
            true => Some(Waiting::Message(message)),
            false => channel.hold.keep(Waiting::Message(message)),
        };
        let Some(Waiting::Message(message)) = kept else { return };
        let epoch = channel.position.as_ref().map_or("", |position| &position.epoch);
        if channel.hold.contains(epoch, message.offset) {
            return self.drop_covered(&message);
        }
        self.hand_on(message);
    }

    /// The same for a message that came as one to this client too, and counts as `size` bytes where it waits.
    pub(super) fn deliver_implied(&mut self, mut message: ChannelMessage, size: u64) {
        if let Some(channel) = self.channels.get_mut(message.channel)
            && channel.hold.is_held()
        {
            message.size = size;
        }
        self.deliver(message);
    }

    /// Tells a gap, in its turn.
    pub(super) fn gap(&mut self, gap: Option<Gap>) {
        let Some(gap) = gap else { return };
        let Some(channel) = self.channels.get_mut(gap.channel) else { return };
        let Some(Waiting::Gap(gap)) = channel.hold.keep(Waiting::Gap(gap)) else { return };
        let wanted = channel.hold.is_wanted_after(&gap);
        self.tell_gap(gap.clone());
        if wanted {
            self.begin_load(gap, VecDeque::new());
        }
    }

    /// A subscription has begun for the first time (`initial`), or, in `plain`, again without a word on what was missed.
    pub(super) fn subscription_began(&mut self, id: ChannelId, initial: bool) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let wanted =
            if initial { channel.hold.on == LoadOn::GapAndSubscribe } else { channel.hold.on != LoadOn::Never };
        if !wanted {
            return;
        }
        let position = channel.position.as_ref();
        let missing = position.map(|position| position.offset).filter(|offset| *offset > 0);
        let gap = Gap {
            channel: id,
            reason: if initial { "initial" } else { "reconnect" },
            epoch: position.map(|position| position.epoch.clone()).unwrap_or_default(),
            previous_epoch: None,
            from: missing.map(|_| 1),
            to: missing,
        };
        if let Some(Waiting::Load(gap)) = channel.hold.keep(Waiting::Load(gap)) {
            self.begin_load(gap, VecDeque::new());
        }
    }

    /// The subscription is over: what waited will not be wanted.
    pub(super) fn drop_held(&mut self, id: ChannelId) {
        let Some(held) = self.channels.get_mut(id).and_then(|channel| channel.hold.clear()) else { return };
        for item in held.waiting {
            if let Waiting::Message(message) = item {
                self.stats.unroutable += 1;
                self.consume(Some(id), message.size);
            }
        }
    }

    /// Asks for the load of a channel, where its time has come.
    pub(super) fn ask_for_load(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        if let Some((load, gap)) = channel.hold.take_ask(channel.unconsumed) {
            self.event(Event::Load(Load { load, gap }));
        }
    }

    fn begin_load(&mut self, gap: Gap, waiting: VecDeque<Waiting>) {
        let id = gap.channel;
        self.loads += 1;
        if let Some(channel) = self.channels.get_mut(id) {
            channel.hold.begin(self.loads, gap, waiting);
        }
        self.ask_for_load(id);
    }

    /// Delivers what waited, up to the next gap that wants a load.
    fn release(&mut self, id: ChannelId, mut epoch: String, mut waiting: VecDeque<Waiting>) {
        while let Some(item) = waiting.pop_front() {
            let Some(channel) = self.channels.get_mut(id) else { return };
            match item {
                Waiting::Message(message) if channel.hold.contains(&epoch, message.offset) => {
                    self.drop_covered(&message);
                }
                Waiting::Message(message) => self.hand_on(message),
                Waiting::Gap(gap) => {
                    let wanted = channel.hold.is_wanted_after(&gap);
                    epoch.clone_from(&gap.epoch);
                    self.tell_gap(gap.clone());
                    if wanted && !crate::mutant("second-load-forgotten") {
                        return self.begin_load(gap, waiting);
                    }
                }
                Waiting::Load(gap) if channel.hold.on == LoadOn::Never => epoch = gap.epoch,
                Waiting::Load(gap) => return self.begin_load(gap, waiting),
            }
        }
    }

    fn hand_on(&mut self, message: ChannelMessage) {
        // One that came as a direct message too is counted there.
        self.stats.messages_received += u64::from(!message.implied);
        self.event(Event::Message(message));
    }

    fn drop_covered(&mut self, message: &ChannelMessage) {
        self.stats.covered += 1;
        self.consume(Some(message.channel), message.size);
    }

    fn tell_gap(&mut self, gap: Gap) {
        self.stats.gaps += 1;
        if crate::mutant("gap-in-silence") {
            return;
        }
        self.event(Event::Gap(gap));
    }
}
