//! What goes to a socket, made at the moment when the socket has room: answers first, then channel messages, the
//! subscriptions that are behind in turn. Nothing but answers is ever queued, so that a slow socket costs no memory.

use bytes::Bytes;
use realtime_engine::wire::{Encoding, Frame, ServerMessage, plain};

use super::connection::{Connection, Dialect, FRAME_TARGET, Phase, Waiting};
use super::runs::Runs;
use super::snapshot::Due;
use super::streams::{StreamKey, Streams};
use super::{ConnectionId, Hub, Stats};

/// Bytes of messages that one pull may hand out.
const PULL_BUDGET: usize = 64 << 10;
/// Bytes that a subscription may send before it is the next one's turn, where another waits.
const TURN_BUDGET: usize = 16 << 10;

impl Hub {
    /// Appends the frames that this connection's socket should take next, and says whether more is waiting. Call it after
    /// [`Output::Ready`](super::Output::Ready), and again as long as it says `true`, each time once everything
    /// pulled before has been written.
    pub fn pull(&mut self, now: u64, id: ConnectionId, frames: &mut Vec<Frame>) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        connection.blocked_since = None;
        let begun = frames.len();
        let every = self.config.collections.digest_every;
        let mut out = Frames::new(connection, frames);
        while let Some(waiting) = connection.control.pop() {
            out.control(waiting);
        }
        if connection.phase == Phase::Open {
            while out.total < PULL_BUDGET && connection.is_window_open() {
                let Some(key) = connection.behind.pop_front() else { break };
                let more = match connection.dialect {
                    Dialect::V1 => {
                        pump_v1(key, connection, &self.streams, &mut self.runs, every, &mut out, &mut self.stats)
                    }
                    Dialect::Plain => pump_plain(now, key, connection, &mut self.streams, &mut out, &mut self.stats),
                };
                if more {
                    connection.behind.push_back(key);
                } else if let Some(subscription) = connection.subscriptions.subscription_mut(key) {
                    subscription.queued = false;
                    self.streams.await_next(key);
                }
            }
        }
        out.finish();
        self.stats.frames_out += (frames.len() - begun) as u64;
        self.stats.bytes_out += frames[begun..].iter().map(|frame| frame.len() as u64).sum::<u64>();
        connection.ready = connection.has_work();
        connection.ready
    }
}

/// Sends from one subscription; `true` where it is still behind and may go on later.
fn pump_v1(
    key: StreamKey,
    connection: &mut Connection,
    streams: &Streams,
    runs: &mut Runs,
    digest_every: u64,
    out: &mut Frames<'_>,
    stats: &mut Stats,
) -> bool {
    let (Some(stream), Some(subscription)) = (streams.stream(key), connection.subscriptions.subscription_mut(key))
    else {
        return false;
    };
    let end = out.total + if connection.behind.is_empty() { PULL_BUDGET } else { TURN_BUDGET };
    while let Some(due) = stream.due(subscription) {
        match due {
            Due::Gap { from, to } => {
                let (channel, epoch) = ((&*stream.channel).into(), (&*stream.epoch).into());
                out.encode(&ServerMessage::Gap { channel, epoch, from, to });
                stats.gaps += 1;
                subscription.cursor = to;
                continue;
            }
            Due::Digest => {
                if let Some(digest) = stream.digest() {
                    out.encode(&digest);
                }
                subscription.audit_at = subscription.cursor.saturating_add(digest_every.max(1));
                continue;
            }
            Due::Page | Due::Entry(_) => {}
        }
        let mut room = usize::MAX as u64;
        if let Some(window) = connection.window.filter(|_| !super::mutant("window-ignored")) {
            if subscription.outstanding >= window.channel {
                return false;
            }
            if connection.outstanding >= window.connection {
                return true;
            }
            room = (window.channel - subscription.outstanding).min(window.connection - connection.outstanding);
        }
        if out.total >= end {
            return true;
        }
        let run = match due {
            // Within the window as a whole: otherwise each message is looked at.
            Due::Entry(offset) if out.is_empty() && room >= (end - out.total) as u64 => {
                runs.run(key, &stream.history, offset, end - out.total)
            }
            _ => None,
        };
        let bytes = match (due, run) {
            (_, Some(run)) => {
                out.line(&run.lines);
                subscription.cursor = run.last;
                stats.messages_out += run.count();
                run.bytes()
            }
            (Due::Entry(offset), None) => {
                let Some(entry) = stream.history.entry(offset) else { return false };
                if entry.binary {
                    out.alone(Frame::Binary(entry.v1.clone()));
                } else {
                    out.line(&entry.v1);
                }
                subscription.cursor = offset;
                stats.messages_out += 1;
                entry.v1.len() as u64
            }
            _ => {
                let mut page = Vec::new();
                stream.page(subscription, &mut page);
                let bytes = page.len();
                out.line(&page.into());
                stats.pages_out += 1;
                bytes as u64
            }
        };
        subscription.outstanding += bytes;
        connection.outstanding += bytes;
    }
    false
}

fn pump_plain(
    now: u64,
    key: StreamKey,
    connection: &mut Connection,
    streams: &mut Streams,
    out: &mut Frames<'_>,
    stats: &mut Stats,
) -> bool {
    let Some(subscription) = connection.subscriptions.subscription_mut(key) else { return false };
    let end = out.total + TURN_BUDGET;
    loop {
        let Some(stream) = streams.stream(key) else { return false };
        let (next, first, last) = (subscription.cursor + 1, stream.history.first(), stream.history.last());
        if next > last {
            return false;
        }
        if out.total >= end {
            return true;
        }
        // A binary message has no plain form: it is told as missing, as what was evicted is.
        let evicted = (next < first).then(|| first - 1);
        let to = match evicted {
            Some(to) => to,
            None => {
                if let Some(plain) = streams.plain(key, next) {
                    out.alone(Frame::Text(plain));
                    stats.messages_out += 1;
                    subscription.cursor = next;
                    continue;
                }
                next
            }
        };
        let mut gap = Vec::new();
        let payload = format!("{{\"from\":{next},\"to\":{to}}}");
        let name = streams.stream(key).map(|stream| stream.channel.clone());
        plain::encode(&mut gap, "gap", payload.as_bytes(), now, name.as_deref());
        if !super::mutant("plain-gap-in-silence") {
            out.alone(Frame::Text(gap.into()));
        }
        stats.gaps += 1;
        subscription.cursor = to;
    }
}

/// Joins waiting lines into frames; a lone message, or a run, is handed on as it is.
struct Frames<'a> {
    frames: &'a mut Vec<Frame>,
    encoding: Encoding,
    lone: Option<Bytes>,
    joined: Vec<u8>,
    total: usize,
}

impl<'a> Frames<'a> {
    fn new(connection: &Connection, frames: &'a mut Vec<Frame>) -> Self {
        Self { frames, encoding: connection.encoding, lone: None, joined: Vec::new(), total: 0 }
    }

    fn control(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Lines(lines) => {
                self.finish();
                self.joined = lines;
                if self.joined.len() >= FRAME_TARGET {
                    self.finish();
                }
            }
            Waiting::Text(bytes) => self.alone(Frame::Text(bytes)),
            Waiting::Binary(bytes) => self.alone(Frame::Binary(bytes)),
            Waiting::Ping => self.alone(Frame::Ping(Bytes::new())),
        }
    }

    fn encode(&mut self, message: &ServerMessage<'_>) {
        let mut line = Vec::new();
        message.encode(&mut line);
        self.line(&line.into());
    }

    /// Whether no line waits for its frame.
    fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.lone.is_none()
    }

    /// Adds a message, or several that are joined.
    fn line(&mut self, line: &Bytes) {
        self.total += line.len();
        if self.is_empty() {
            self.lone = Some(line.clone());
            if line.len() >= FRAME_TARGET {
                self.finish();
            }
            return;
        }
        if let Some(lone) = self.lone.take() {
            self.joined.reserve(lone.len() + line.len() + 1);
            self.joined.extend_from_slice(&lone);
        }
        self.joined.push(b'\n');
        self.joined.extend_from_slice(line);
        if self.joined.len() >= FRAME_TARGET {
            self.finish();
        }
    }

    fn alone(&mut self, frame: Frame) {
        self.finish();
        self.total += frame.len();
        self.frames.push(frame);
    }

    fn finish(&mut self) {
        let lines = match self.lone.take() {
            Some(lone) => lone,
            None if self.joined.is_empty() => return,
            None => Bytes::from(std::mem::take(&mut self.joined)),
        };
        self.frames.push(match self.encoding {
            Encoding::Binary => Frame::Binary(lines),
            _ => Frame::Text(lines),
        });
    }
}
