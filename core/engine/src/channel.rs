use std::borrow::Cow;

use crate::collection::Collection;
use crate::hold::Hold;
use crate::io::{ChannelId, Gap, Text};
use crate::presence::Presence;
use crate::status::ChannelState;
use crate::time::Timestamp;
use crate::tracking::Tracking;
use crate::wire::{Position, Stream, Subscribed, Window};

/// One stream of a channel: whether it is wanted, where it stands in the history, and what the application has not consumed of it.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    /// Of the channel.
    pub(crate) name: Text,
    pub(crate) kind: Kind,
    pub(crate) state: ChannelState,
    /// The state that the application was told last.
    pub(crate) told: ChannelState,
    /// The application has changed its mind since the last poll.
    pub(crate) changed: bool,
    /// The server was asked for it on this connection, and not to leave it since.
    pub(crate) asked: bool,
    /// The application wants it, whatever the connection does.
    pub(crate) wanted: bool,
    /// The last offset taken; what a resubscribe asks to go on from.
    pub(crate) position: Option<Position>,
    /// The subscribe or unsubscribe that is not answered yet, and what it asked for.
    pub(crate) request: Option<u64>,
    /// Bytes given to the application and not consumed.
    pub(crate) unconsumed: u64,
    /// The part of `unconsumed` that came over an earlier subscription: the server does not wait for credit for it.
    stale: u64,
    /// Consumed bytes for which the server has no credit yet.
    pub(crate) owed: u64,
    pub(crate) hold: Hold,
    /// How often in a row it was to be taken over anew.
    pub(crate) strikes: u32,
    /// When it is subscribed again; not before.
    pub(crate) retry_at: Option<Timestamp>,
}

/// What a stream carries.
#[derive(Debug)]
pub(crate) enum Kind {
    Messages,
    Presence(Box<Presence>, Box<Tracking>),
    Collection(Box<Collection>),
}

/// What to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    Duplicate,
    /// Take it, and tell about the offsets before it.
    After(Gap),
}

impl Channel {
    pub(crate) fn new(id: ChannelId, name: Text, stream: &Stream<'_>) -> Self {
        let kind = match stream {
            Stream::Messages => Kind::Messages,
            Stream::Presence => Kind::Presence(Box::default(), Box::default()),
            Stream::Collection(name) => Kind::Collection(Box::new(Collection::new(id, Text::from(&**name)))),
        };
        Self {
            id,
            name,
            kind,
            state: ChannelState::Idle,
            told: ChannelState::Idle,
            changed: false,
            asked: false,
            wanted: false,
            position: None,
            request: None,
            unconsumed: 0,
            stale: 0,
            owed: 0,
            hold: Hold::default(),
            strikes: 0,
            retry_at: None,
        }
    }

    pub(crate) fn is_messages(&self) -> bool {
        matches!(self.kind, Kind::Messages)
    }

    /// The name of the collection; empty where it is none.
    pub(crate) fn collection_name(&self) -> &str {
        match &self.kind {
            Kind::Collection(collection) => &collection.name,
            _ => "",
        }
    }

    /// Channel and stream, as a message names them.
    pub(crate) fn names(&self) -> (Cow<'static, str>, Stream<'static>) {
        let stream = match &self.kind {
            Kind::Messages => Stream::Messages,
            Kind::Presence(..) => Stream::Presence,
            Kind::Collection(collection) => Stream::Collection(collection.name.to_string().into()),
        };
        (self.name.to_string().into(), stream)
    }

    /// The subscription on the server is gone: with the connection, by unsubscribing, or because it starts again.
    pub(crate) fn reset_window(&mut self) {
        self.stale = self.unconsumed;
        self.owed = 0;
    }

    /// The server has answered a subscribe. A gap where it could not go on from the position that was asked for.
    pub(crate) fn subscribed(&mut self, answer: &Subscribed<'_>) -> Option<Gap> {
        self.request = None;
        self.state = ChannelState::Subscribed;
        let before = self.position.replace(Position { epoch: answer.epoch.to_string(), offset: answer.offset });
        // Whether it calls that recovered or not: what counts is where it goes on.
        let before = before?;
        let same_history = before.epoch == answer.epoch && answer.offset >= before.offset;
        if same_history && answer.offset == before.offset {
            return None;
        }
        let from = if same_history { before.offset + 1 } else { 1 };
        let missing = answer.offset >= from;
        Some(Gap {
            channel: self.id,
            reason: if same_history { "evicted" } else { "epoch" },
            epoch: answer.epoch.to_string(),
            previous_epoch: (!same_history).then_some(before.epoch),
            from: missing.then_some(from),
            to: missing.then_some(answer.offset),
        })
    }

    /// A message with this offset came.
    pub(crate) fn receive(&mut self, offset: u64) -> Verdict {
        let Some(position) = &mut self.position else { return Verdict::Take };
        if offset <= position.offset {
            if crate::mutant("no-dedupe") {
                return Verdict::Take;
            }
            return Verdict::Duplicate;
        }
        let expected = position.offset + 1;
        position.offset = offset;
        if offset == expected {
            return Verdict::Take;
        }
        Verdict::After(Gap {
            channel: self.id,
            reason: "missing",
            epoch: position.epoch.clone(),
            previous_epoch: None,
            from: Some(expected),
            to: Some(offset - 1),
        })
    }

    /// The server says that the offsets up to this one will not come.
    pub(crate) fn skip(&mut self, epoch: &str, to: u64) -> Option<Gap> {
        let position = self.position.as_mut().filter(|position| position.epoch == epoch && to > position.offset)?;
        // What it leaves out before that it will not send either.
        let from = position.offset + 1;
        position.offset = to;
        Some(Gap {
            channel: self.id,
            reason: "evicted",
            epoch: epoch.to_owned(),
            previous_epoch: None,
            from: Some(from),
            to: Some(to),
        })
    }

    /// The application has consumed bytes; those that count for credit.
    pub(crate) fn consumed(&mut self, bytes: u64) -> u64 {
        let bytes = bytes.min(self.unconsumed);
        self.unconsumed -= bytes;
        let stale = bytes.min(self.stale);
        self.stale -= stale;
        self.owed += bytes - stale;
        bytes - stale
    }

    /// Whether so much of an earlier subscription is unconsumed that another window on top would break the bound.
    pub(crate) fn is_behind(&self, window: Window) -> bool {
        self.unconsumed > window.channel / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(position: Option<(&str, u64)>) -> Channel {
        let mut channel = Channel::new(ChannelId(0), Text::from("room"), &Stream::Messages);
        channel.position = position.map(|(epoch, offset)| Position { epoch: epoch.into(), offset });
        channel
    }

    fn answer(epoch: &'static str, offset: u64, recovered: Option<bool>) -> Subscribed<'static> {
        let (channel, epoch) = ("room".into(), epoch.into());
        Subscribed { id: 1, channel, stream: Stream::Messages, epoch, offset, recovered, grace: None }
    }

    #[test]
    fn a_whole_recovery_is_no_gap() {
        assert_eq!(channel(Some(("a", 7))).subscribed(&answer("a", 7, Some(true))), None);
        assert_eq!(channel(None).subscribed(&answer("a", 7, None)), None);
    }

    #[test]
    fn evicted_messages_are_named() {
        let gap = channel(Some(("a", 7))).subscribed(&answer("a", 20, Some(false))).expect("a gap");
        assert_eq!((gap.reason, gap.from, gap.to, gap.previous_epoch), ("evicted", Some(8), Some(20), None));
    }

    #[test]
    fn another_epoch_is_a_gap_even_where_nothing_of_it_is_missing() {
        let gap = channel(Some(("a", 7))).subscribed(&answer("b", 0, Some(false))).expect("a gap");
        assert_eq!((gap.reason, gap.from, gap.previous_epoch), ("epoch", None, Some("a".into())));
        let gap = channel(Some(("a", 7))).subscribed(&answer("b", 3, Some(false))).expect("a gap");
        assert_eq!((gap.from, gap.to), (Some(1), Some(3)));
    }

    #[test]
    fn a_history_that_went_backwards_is_treated_as_another_epoch() {
        let mut channel = channel(Some(("a", 7)));
        let gap = channel.subscribed(&answer("a", 3, Some(false))).expect("a gap");
        assert_eq!((gap.reason, gap.previous_epoch), ("epoch", Some("a".into())));
        assert_eq!(channel.receive(4), Verdict::Take);
    }

    #[test]
    fn offsets_decide_what_is_taken() {
        let mut channel = channel(Some(("a", 7)));
        assert_eq!(channel.receive(7), Verdict::Duplicate);
        assert_eq!(channel.receive(8), Verdict::Take);
        assert!(matches!(channel.receive(11), Verdict::After(Gap { from: Some(9), to: Some(10), .. })));
        assert_eq!(channel.receive(10), Verdict::Duplicate);
        assert_eq!(channel.skip("a", 9), None);
        assert_eq!(channel.skip("other", 15), None);
        assert!(matches!(channel.skip("a", 15), Some(Gap { from: Some(12), to: Some(15), .. })));
        assert_eq!(channel.receive(16), Verdict::Take);
    }

    #[test]
    fn bytes_of_an_earlier_subscription_earn_no_credit() {
        let mut channel = channel(None);
        channel.unconsumed = 100;
        channel.reset_window();
        channel.unconsumed += 50;
        assert_eq!(channel.consumed(80), 0);
        assert_eq!(channel.consumed(30), 10);
        assert_eq!(channel.consumed(1000), 40);
        assert_eq!((channel.unconsumed, channel.owed), (0, 50));
    }
}
