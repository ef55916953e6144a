use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use realtime_engine::wire::{CloseCode, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::link::{Close, Link};
use super::shared::Shared;
use super::stream::Counted;
use crate::hub::{ConnectionId, Input};

/// Frames that are handed to the hub under one lock.
const BATCH_FRAMES: usize = 64;
/// Bytes that are handed to the hub under one lock.
const BATCH_BYTES: usize = 256 << 10;
/// How often a blocked socket that takes something is told to the hub.
const PROGRESS: Duration = Duration::from_millis(500);
/// How long the close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What WebSockets are set to. Frames over the limit are read up to twice of it, to be answered.
pub(super) fn websocket_config(limit: u64) -> WebSocketConfig {
    let largest = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(1024);
    WebSocketConfig::default().read_buffer_size(8 << 10).max_message_size(Some(largest)).max_frame_size(Some(largest))
}

/// Moves frames between a socket and the hub, in one task, reading and writing at once.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: WebSocketStream<Counted<S>>,
    shared: Arc<Shared>,
    id: ConnectionId,
    link: Arc<Link>,
    /// Frames on their way in one of the two directions.
    inward: Vec<Frame>,
    outward: Vec<Frame>,
    reading: bool,
    flushing: bool,
    blocked: Option<Blocked>,
}

#[derive(Debug)]
struct Blocked {
    written: u64,
    told: Instant,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The hub wants it.
    Close(Close),
    /// The peer is gone.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        socket: WebSocketStream<Counted<S>>,
        shared: Arc<Shared>,
        id: ConnectionId,
        link: Arc<Link>,
    ) -> Self {
        Self {
            socket,
            shared,
            id,
            link,
            inward: Vec::new(),
            outward: Vec::new(),
            reading: true,
            flushing: false,
            blocked: None,
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) {
        match std::future::poll_fn(|cx| self.poll(cx)).await {
            End::Gone => {}
            End::Close(close) => {
                tracing::debug!(connection = self.id.0, code = close.0.0, reason = %close.1, "closing");
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.close(close)).await;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.link.register(cx);
        loop {
            if self.flushing && self.poll_flush(cx).is_err() {
                return Poll::Ready(End::Gone);
            }
            if let Some(close) = self.link.take_close() {
                return Poll::Ready(End::Close(close));
            }
            if !self.flushing && self.link.take_ready() {
                if self.pull().is_err() {
                    return Poll::Ready(End::Gone);
                }
                continue;
            }
            if !self.reading {
                return Poll::Pending;
            }
            match self.poll_read(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {}
                Poll::Ready(Some(end)) => return Poll::Ready(end),
            }
        }
    }

    /// Reads what is there and hands it to the hub at once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let mut bytes = 0;
        let mut end = None;
        let mut pending = false;
        while self.inward.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => {
                    pending = true;
                    break;
                }
                Poll::Ready(Some(Ok(message))) => {
                    if let Some(frame) = from_message(message) {
                        bytes += frame.len();
                        self.inward.push(frame);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    end = Some(close_for(&error).map_or(End::Gone, End::Close));
                    break;
                }
                Poll::Ready(None) => {
                    end = Some(End::Gone);
                    break;
                }
            }
        }
        if !self.inward.is_empty() {
            self.reading = self.shared.frames(self.id, &mut self.inward);
        }
        match end {
            Some(end) => Poll::Ready(Some(end)),
            // What arrived has made the hub say something, most of the time: look before going to sleep.
            None if pending && bytes == 0 => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.flushing = false;
                if self.blocked.take().is_some() {
                    self.shared.with(|hub, now| hub.handle(now, Input::Unblocked { connection: self.id }));
                }
                flushed
            }
            Poll::Pending => {
                let written = self.socket.get_ref().written();
                let tell = match &self.blocked {
                    None => true,
                    Some(blocked) => written > blocked.written && blocked.told.elapsed() >= PROGRESS,
                };
                if tell {
                    self.blocked = Some(Blocked { written, told: Instant::now() });
                    self.shared.with(|hub, now| hub.handle(now, Input::Blocked { connection: self.id }));
                }
                Ok(())
            }
        }
    }

    /// Takes what the hub has for the socket.
    fn pull(&mut self) -> Result<(), Error> {
        let (more, reading) = self.shared.pull(self.id, &mut self.outward);
        self.reading = reading;
        if more {
            self.link.ready();
        }
        for frame in self.outward.drain(..) {
            Pin::new(&mut self.socket).start_send(to_message(frame))?;
            self.flushing = true;
        }
        Ok(())
    }

    /// Sends the answers that still wait, then the close frame, and waits for the peer's.
    async fn close(&mut self, (code, reason): Close) {
        let _ = self.pull();
        let frame = CloseFrame { code: code.0.into(), reason: short(&reason) };
        if self.socket.close(Some(frame)).await.is_err() {
            return;
        }
        while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {}
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.shared.closed(self.id);
    }
}

/// What the peer is told about a frame that cannot be read; `None` where it is gone anyway.
fn close_for(error: &Error) -> Option<Close> {
    match error {
        Error::Capacity(_) => Some((CloseCode::TOO_BIG, "the frame is too large".into())),
        Error::Utf8(_) => Some((CloseCode(1007), "the text is not UTF-8".into())),
        Error::Protocol(error) => Some((CloseCode(1002), error.to_string().into())),
        _ => None,
    }
}

fn from_message(message: Message) -> Option<Frame> {
    match message {
        Message::Text(text) => Some(Frame::Text(text.into())),
        Message::Binary(bytes) => Some(Frame::Binary(bytes)),
        Message::Ping(bytes) => Some(Frame::Ping(bytes)),
        Message::Pong(bytes) => Some(Frame::Pong(bytes)),
        Message::Close(_) | Message::Frame(_) => None,
    }
}

/// Text of the hub is UTF-8 by construction: it goes as a raw frame, which is not checked again.
fn to_message(frame: Frame) -> Message {
    let data = |bytes: Bytes, kind| Message::Frame(frame::Frame::message(bytes, OpCode::Data(kind), true));
    match frame {
        Frame::Text(bytes) => data(bytes, Data::Text),
        Frame::Binary(bytes) => data(bytes, Data::Binary),
        Frame::Pong(bytes) => Message::Pong(bytes),
        _ => Message::Ping(Bytes::new()),
    }
}

/// A close frame holds 123 bytes of text.
fn short(reason: &str) -> Utf8Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].into()
}
