use crate::dialect::Dialect;

const SMALL: &str = include_str!("../../payloads/small.json");
const LARGE: &str = include_str!("../../payloads/large.json");

/// What a connection is for.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) dialect: Dialect,
    pub(crate) kind: Kind,
    pub(crate) payload: &'static str,
    /// Subscriptions that the client makes.
    pub(crate) channels: usize,
    /// Messages in all.
    pub(crate) count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first message of the client starts a stream of `count` messages, the channels in turn.
    Receive,
    /// The client sends `count` messages; once the last is here, one message tells it.
    Send,
    /// Each message of the client comes back as a message of the first channel.
    Echo,
    /// A message tells when all channels are subscribed, on every connection. The client's message 0 cuts the
    /// connection; its message 1 says that it has everything, and the answer's number is the microseconds since the
    /// connection was accepted.
    Resubscribe,
    /// The client's message 0 starts the stream, which a cut ends early; the client's next connection gets the rest at
    /// once. Message 1 as in `Resubscribe`.
    CatchUp,
}

impl Kind {
    /// Whether connections of this case are cut, so that subscriptions have a position to go on from.
    pub(crate) fn recovers(self) -> bool {
        self == Self::CatchUp
    }
}

impl Case {
    /// Reads the target of the upgrade; libraries add to it.
    pub(crate) fn parse(target: &str) -> Option<Self> {
        let path = target.split('?').next().unwrap_or_default();
        let mut parts = path.split('/').skip(1);
        Some(Self {
            dialect: Dialect::parse(parts.next()?)?,
            kind: match parts.next()? {
                "receive" => Kind::Receive,
                "send" => Kind::Send,
                "echo" => Kind::Echo,
                "resubscribe" => Kind::Resubscribe,
                "catch-up" => Kind::CatchUp,
                _ => return None,
            },
            payload: match parts.next()? {
                "small" => SMALL,
                "large" => LARGE,
                _ => return None,
            },
            channels: parts.next()?.parse().ok()?,
            count: parts.next()?.parse().ok()?,
        })
    }
}
