//! A batch of what happened: flat records over one buffer.

use realtime_client::{Change, ChangeKind, ChannelMessage, DirectMessage, PresenceChange};

/// A batch is handed out once its texts and payloads have this many bytes; the message that crosses the line is still in it.
pub(crate) const FULL: usize = 96 << 10;

/// What a [`Record`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A message of a channel: `channel`, `event`, `offset`, `user`, `timestamp`, `payload`, `size`.
    Message,
    /// A message of the backend to this client: `event` (`None` for a binary one), `timestamp`, `payload`, `size`.
    Direct,
    /// A send is done: `request`, `offset`, `acknowledged`, `duplicate`; `event` is the epoch.
    Receipt,
    /// A send failed for good: `request`; `payload` is the error as JSON.
    SendFailed,
    /// A change of a collection: `channel`, `event` (the id of the record), `payload` (the record, where `has_record`),
    /// `offset` (its revision), `request` (the number of the change), `size`, `confirms`, `initial`, `local`.
    Change,
    /// A change of a presence: `channel`, `payload` (`{join?, update?, leave?, sync}`, lists of users), `size`.
    Presence,
    /// Anything else, all of it rare: `payload` is one JSON object with a `type`.
    ///
    /// `status {status, error?, retryIn?}`, `open {dialect, connection?, resumed, user?}`,
    /// `close {code, reason, reconnecting}`, `error {error}`, `channel {channel, state, error?}`,
    /// `gap {channel, reason, epoch, previousEpoch?, from?, to?}`, `load {load, …}` (otherwise as `gap`), `writable {}`,
    /// `token {request}`, `synced {channel, reason}`, `diverged {channel, offset}`,
    /// `stalled {duration}`. An error is `{code, message, status?, closeCode?, retryAfter?, revision?, record?}`; times are
    /// milliseconds.
    Report,
}

/// One thing that happened. Its texts are in the batch that it came in.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Record {
    pub kind: Kind,
    /// Whether the payload is bytes instead of JSON.
    pub binary: bool,
    /// Of a receipt: `true` where the server has it, `false` where it was only written to the socket.
    pub acknowledged: bool,
    /// Of a receipt: the server had it already.
    pub duplicate: bool,
    /// Of a channel message: the backend named no channel, and the same message came as `Direct` just before.
    pub implied: bool,
    /// Of a change of a collection: there is a record.
    pub has_record: bool,
    /// Of a change of a collection: only its revision is another.
    pub confirms: bool,
    /// Of a change of a collection: it belongs to the first snapshot.
    pub initial: bool,
    /// Of a change of a collection: this client caused it.
    pub local: bool,
    has_event: bool,
    has_user: bool,
    pub channel: u32,
    size: u32,
    // There may be tens of thousands of them, as many as messages wait: what is not there is `NONE`, and no batch is near 4 GiB.
    offset: u64,
    /// Of what came a timestamp, of what was asked for the request.
    number: u64,
    start: u32,
    event_end: u32,
    user_end: u32,
    end: u32,
}

const NONE: u64 = u64::MAX;

impl Record {
    /// The place in the history; of a change of a collection the revision.
    pub fn offset(&self) -> Option<u64> {
        (self.offset != NONE).then_some(self.offset)
    }

    /// Milliseconds since the Unix epoch, of a message.
    pub fn timestamp(&self) -> Option<u64> {
        let came = matches!(self.kind, Kind::Message | Kind::Direct);
        (came && self.number != NONE).then_some(self.number)
    }

    /// The number of a request, or of a change of a collection.
    pub fn request(&self) -> u64 {
        let asked = matches!(self.kind, Kind::Receipt | Kind::SendFailed | Kind::Change);
        if asked { self.number } else { 0 }
    }

    /// To be given back with [`Connection::consumed`](crate::Connection::consumed).
    pub fn size(&self) -> u64 {
        self.size.into()
    }
}

/// Records in the order in which they happened, and the bytes that they refer to.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<Record>,
    bytes: Vec<u8>,
}

impl Batch {
    /// The records, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The buffer that all texts and payloads lie in.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The event (of a receipt: the epoch, of a change: the id of the record), in UTF-8.
    pub fn event(&self, record: &Record) -> Option<&[u8]> {
        record.has_event.then(|| self.part(record.start, record.event_end))
    }

    /// The verified user that published it, in UTF-8.
    pub fn user(&self, record: &Record) -> Option<&[u8]> {
        record.has_user.then(|| self.part(record.event_end, record.user_end))
    }

    /// The payload: JSON, or bytes where `record.binary`.
    pub fn payload(&self, record: &Record) -> &[u8] {
        self.part(record.user_end, record.end)
    }

    fn part(&self, start: u32, end: u32) -> &[u8] {
        &self.bytes[start as usize..end as usize]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
    }

    /// Whether the buffers are small enough to be kept for the next batch.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.bytes.capacity() <= 2 * FULL
    }

    pub(crate) fn message(&mut self, message: &ChannelMessage) {
        let content = &message.content;
        let record = self.push(Kind::Message, content.event_bytes(), content.user_bytes(), content.payload());
        record.binary = content.is_binary();
        record.implied = message.implied;
        record.channel = message.channel.0;
        record.offset = message.offset.unwrap_or(NONE);
        record.number = message.timestamp.unwrap_or(NONE);
        record.size = short(message.size);
    }

    pub(crate) fn direct(&mut self, message: &DirectMessage) {
        let content = &message.content;
        let record = self.push(Kind::Direct, content.event_bytes(), None, content.payload());
        record.binary = content.is_binary();
        record.number = message.timestamp.unwrap_or(NONE);
        record.size = short(message.size);
    }

    pub(crate) fn change(&mut self, change: &Change) {
        let payload = change.record.as_deref().unwrap_or_default();
        let record = self.push(Kind::Change, Some(change.key.as_bytes()), None, payload);
        record.channel = change.collection.0;
        record.has_record = change.record.is_some();
        record.confirms = change.kind == ChangeKind::Confirm;
        record.initial = change.initial;
        record.local = change.local;
        record.offset = change.revision.unwrap_or(NONE);
        record.number = change.version;
        record.size = short(change.size);
    }

    pub(crate) fn presence(&mut self, change: &PresenceChange) {
        let record = self.push(Kind::Presence, None, None, &change.json);
        record.channel = change.presence.0;
        record.size = short(change.size);
    }

    pub(crate) fn receipt(&mut self, receipt: &realtime_engine::Receipt) {
        let epoch = receipt.epoch.as_ref().map(|epoch| epoch.as_bytes());
        let record = self.push(Kind::Receipt, epoch, None, &[]);
        record.number = receipt.request.0;
        record.offset = receipt.offset.unwrap_or(NONE);
        record.acknowledged = receipt.acknowledged;
        record.duplicate = receipt.duplicate;
    }

    pub(crate) fn send_failed(&mut self, request: u64, error: &str) {
        self.push(Kind::SendFailed, None, None, error.as_bytes()).number = request;
    }

    pub(crate) fn report(&mut self, report: &str) {
        self.push(Kind::Report, None, None, report.as_bytes());
    }

    fn push(&mut self, kind: Kind, event: Option<&[u8]>, user: Option<&[u8]>, payload: &[u8]) -> &mut Record {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(event.unwrap_or_default());
        let event_end = self.bytes.len() as u32;
        self.bytes.extend_from_slice(user.unwrap_or_default());
        let user_end = self.bytes.len() as u32;
        self.bytes.extend_from_slice(payload);
        let end = self.bytes.len() as u32;
        self.records.push(Record {
            kind,
            binary: false,
            acknowledged: false,
            duplicate: false,
            implied: false,
            has_record: false,
            confirms: false,
            initial: false,
            local: false,
            has_event: event.is_some(),
            has_user: user.is_some(),
            channel: 0,
            size: 0,
            offset: NONE,
            number: NONE,
            start,
            event_end,
            user_end,
            end,
        });
        // Just pushed.
        let last = self.records.len() - 1;
        &mut self.records[last]
    }
}

/// Sizes are those of frames, which are far smaller.
fn short(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
