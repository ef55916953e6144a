use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Close, Link};
use super::shared::Shared;
use super::socket::{self, Socket, with_frames};
use crate::hub::{ConnectionId, Input};

/// How often a blocked socket that takes something is told to the hub.
const PROGRESS: Duration = Duration::from_millis(500);
/// How long the close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The largest message that is read. Those over the limit are read up to twice of it, to be answered.
pub(super) fn largest(limit: u64) -> u64 {
    limit.saturating_mul(2).saturating_add(1024)
}

/// Moves frames between a socket and the hub, in one task, reading and writing at once.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: Socket<S>,
    shared: Arc<Shared>,
    id: ConnectionId,
    link: Arc<Link>,
    reading: bool,
    /// Nothing was read yet: something may have come with the handshake.
    fresh: bool,
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
    /// The peer wants it, or does not speak as it should.
    Peer(socket::End),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(socket: Socket<S>, shared: Arc<Shared>, id: ConnectionId, link: Arc<Link>) -> Self {
        Self { socket, shared, id, link, reading: true, fresh: true, blocked: None }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        if !matches!(end, End::Peer(socket::End::Gone)) {
            // Of its own, since few connections are at their end.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, Box::pin(self.end(end))).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.link.register(cx);
        loop {
            if self.socket.is_waiting() && self.poll_flush(cx).is_err() {
                return Poll::Ready(End::Peer(socket::End::Gone));
            }
            if let Some(close) = self.link.take_close() {
                return Poll::Ready(End::Close(close));
            }
            if !self.socket.is_waiting() && self.link.take_ready() {
                self.pull();
                continue;
            }
            if !self.reading {
                return Poll::Pending;
            }
            match self.poll_read(cx) {
                Poll::Pending => return Poll::Pending,
                // What arrived has made the hub say something, most of the time: look before going to sleep.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Poll::Ready(End::Peer(end)),
            }
        }
    }

    /// Reads what is there and hands it to the hub at once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), socket::End>> {
        with_frames(|frames| {
            let read = match std::mem::take(&mut self.fresh) {
                true => Poll::Ready(self.socket.read_rest(frames)),
                false => self.socket.poll_read(cx, frames),
            };
            if !frames.is_empty() {
                self.reading = self.shared.frames(self.id, frames);
            }
            read
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.socket.poll_flush(cx) {
            Poll::Ready(flushed) => {
                if self.blocked.take().is_some() {
                    self.shared.with(|hub, now| hub.handle(now, Input::Unblocked { connection: self.id }));
                }
                flushed
            }
            Poll::Pending => {
                let written = self.socket.written();
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
    fn pull(&mut self) {
        with_frames(|frames| {
            let (more, reading) = self.shared.pull(self.id, frames);
            self.reading = reading;
            if more {
                self.link.ready();
            }
            frames.drain(..).for_each(|frame| self.socket.send(frame));
        });
    }

    /// Says goodbye, and waits until the peer has read it.
    async fn end(&mut self, end: End) {
        let close = match &end {
            End::Close(close) => Some(close.clone()),
            End::Peer(socket::End::Broken(error)) => Some(error.close()),
            End::Peer(socket::End::Goodbye(close)) => close.clone(),
            End::Peer(socket::End::Gone) => return,
        };
        if let Some((code, reason)) = &close {
            tracing::debug!(connection = self.id.0, code = code.0, %reason, "closing");
        }
        if let End::Close(_) = end {
            // The answers that still wait.
            self.pull();
        }
        self.socket.send_close(close.as_ref());
        if poll_fn(|cx| self.socket.poll_flush(cx)).await.is_err() {
            return;
        }
        match end {
            // Until its own close has come, or it is gone.
            End::Close(_) => {
                while poll_fn(|cx| with_frames(|frames| self.socket.poll_read(cx, frames))).await.is_ok() {}
            }
            // What it still sends must not make the system drop what it has not read yet.
            End::Peer(socket::End::Broken(_)) if poll_fn(|cx| self.socket.poll_shutdown(cx)).await.is_ok() => {
                poll_fn(|cx| self.socket.poll_discard(cx)).await;
            }
            End::Peer(_) => {}
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.shared.closed(self.id);
    }
}
