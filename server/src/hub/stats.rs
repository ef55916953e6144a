use serde::Serialize;

/// What a server counts. Everything but the first group only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Open connections.
    pub connections: u64,
    /// Channels whose messages are remembered.
    pub channels: u64,
    /// Sessions that are remembered.
    pub sessions: u64,
    /// Clients that are present, in all channels.
    pub members: u64,
    /// Collections that are remembered.
    pub collections: u64,
    /// Records of all collections, with those that wait for the disk.
    pub records: u64,
    /// Bytes of these records, with what each costs beside its own.
    pub record_bytes: u64,
    /// Bytes of all histories.
    pub history_bytes: u64,
    /// Where histories and sessions are kept.
    pub store: StoreState,
    /// Bytes of messages that wait for the disk.
    pub staged_bytes: u64,

    /// Connections ever opened.
    pub connections_total: u64,
    /// Upgrades that were refused: token, origin, path, full, draining, not a WebSocket.
    pub refused_upgrades: u64,
    /// Publishes, sends and mutations that were accepted, from clients.
    pub messages_in: u64,
    /// Messages, presence lines and changes that went out, one for each subscriber.
    pub messages_out: u64,
    /// Pages of snapshots that went out.
    pub pages_out: u64,
    /// Frames read.
    pub frames_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Bytes of the frames read.
    pub bytes_in: u64,
    /// Bytes of the frames written.
    pub bytes_out: u64,
    /// Publishes, sends and mutations that had been answered before.
    pub duplicates: u64,
    /// Subscribes that recovered all that was missed.
    pub recovered: u64,
    /// Subscribes that could not.
    pub unrecovered: u64,
    /// Gaps told to subscribers that were too far behind.
    pub gaps: u64,
    /// Requests that were refused with an error.
    pub refused: u64,
    /// Bytes from clients that could not be understood.
    pub faults: u64,
    /// Connections closed since they took nothing.
    pub slow_consumers: u64,
    /// Connections closed since nothing was heard, or no `hello` came in time.
    pub timeouts: u64,
    /// Sessions that were forgotten, by age or by number.
    pub sessions_forgotten: u64,
    /// Channels and empty collections that were forgotten, by age or by a bound.
    pub channels_forgotten: u64,
    /// Times that the disk refused to store something.
    pub store_failures: u64,
    /// Messages of the server itself that were lost since the disk refused them. Clients are told by an error.
    pub unstored: u64,
}

/// Where a server keeps its histories and sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreState {
    /// In memory: a restart loses them.
    #[default]
    Memory,
    /// On a disk that works.
    Ok,
    /// On a disk that does not: publishes are refused for now.
    Failing,
}
