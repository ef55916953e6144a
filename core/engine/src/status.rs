use std::fmt;

/// What a client is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Not connected, and not trying.
    #[default]
    Disconnected,
    /// The first attempt is under way.
    Connecting,
    /// Connected, and a frame was seen within the heartbeat timeout.
    Connected,
    /// Between attempts, or in one that is not the first.
    Reconnecting,
    /// Several attempts failed (it goes on probing), or the server or the configuration forbids to go on.
    Error,
}

impl Status {
    /// The stable string.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Disconnected => "disconnected",
            Status::Connecting => "connecting",
            Status::Connected => "connected",
            Status::Reconnecting => "reconnecting",
            Status::Error => "error",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a channel is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelState {
    /// Not subscribed.
    #[default]
    Idle,
    /// Asked for, not yet answered; also while offline before the first answer.
    Subscribing,
    /// Messages flow.
    Subscribed,
    /// It was subscribed, the connection is gone, and it comes back by itself.
    Resubscribing,
    /// Being left.
    Unsubscribing,
    /// The server refused it.
    Failed,
}

impl ChannelState {
    /// The stable string.
    pub fn as_str(self) -> &'static str {
        match self {
            ChannelState::Idle => "idle",
            ChannelState::Subscribing => "subscribing",
            ChannelState::Subscribed => "subscribed",
            ChannelState::Resubscribing => "resubscribing",
            ChannelState::Unsubscribing => "unsubscribing",
            ChannelState::Failed => "failed",
        }
    }
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
