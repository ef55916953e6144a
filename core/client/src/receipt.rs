use realtime_engine::Text;

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The channel; `None` for a message to the backend itself.
    pub channel: Option<Text>,
    /// Which history `offset` belongs to.
    pub epoch: Option<Text>,
    /// The place in the channel's history.
    pub offset: Option<u64>,
    /// The server had it already from an attempt before a reconnect; it is stored once.
    pub duplicate: bool,
    /// `true`: the server has it. `false`: the dialect has no acknowledgements; it was written to the socket.
    pub acknowledged: bool,
}

impl Receipt {
    pub(crate) fn new(channel: Option<Text>, receipt: realtime_engine::Receipt) -> Self {
        let realtime_engine::Receipt { epoch, offset, duplicate, acknowledged, .. } = receipt;
        Self { channel, epoch, offset, duplicate, acknowledged }
    }
}
