use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use realtime_engine::{Attempt, OpenError, Session, Timestamp};

use crate::socket::{Socket, WebSocket};

/// So many bytes are taken from the session before it hears how many of them still wait.
pub(crate) const SEND_BYTES: usize = 256 << 10;

/// The socket of a client. The driver has it while it is at work; a thread that sends may write to it in between.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) link: Link,
    /// The socket of this attempt has given everything to the operating system, which the session is to be told.
    pub(crate) flushed: Option<Attempt>,
    /// What the timer of the driver is set to.
    pub(crate) armed: Option<Timestamp>,
}

/// The socket that the session wants.
pub(crate) enum Link {
    None,
    Opening { attempt: Attempt, opening: Pin<Box<dyn Future<Output = Opening> + Send>> },
    Open(Box<Socket>),
}

pub(crate) type Opening = Result<(WebSocket, Option<String>), OpenError>;

impl Outlet {
    pub(crate) fn new() -> Self {
        Self { link: Link::None, flushed: None, armed: None }
    }

    /// Writes what the session has to send, where the socket takes it at once. Whether nothing is left for the driver to do.
    ///
    /// It saves the way to another thread and back, which takes longer than the write itself.
    pub(crate) fn write_through(&mut self, session: &mut Session) -> bool {
        let Link::Open(socket) = &mut self.link else { return false };
        if socket.backlog() > 0 {
            return false;
        }
        let mut bytes = 0;
        while bytes < SEND_BYTES
            && let Some((attempt, frame)) = session.poll_send()
        {
            bytes += frame.len();
            if attempt == socket.attempt {
                socket.send(frame);
            }
        }
        let earlier = session.deadline().is_some_and(|at| self.armed.is_none_or(|armed| at < armed));
        let left = session.has_news() || bytes >= SEND_BYTES || earlier;
        match socket.poll_write(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(true)) => {
                let told = session.awaits_flush();
                if told {
                    self.flushed = Some(socket.attempt);
                }
                !left && !told
            }
            Poll::Ready(Ok(false)) => !left,
            Poll::Pending => {
                // Here the driver goes on, with a waker of its own. What was said of all that was polled is true no more.
                self.flushed = None;
                false
            }
            Poll::Ready(Err(end)) => {
                socket.broke(end);
                false
            }
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Link::None => f.write_str("None"),
            Link::Opening { attempt, .. } => f.debug_tuple("Opening").field(attempt).finish(),
            Link::Open(socket) => f.debug_tuple("Open").field(socket).finish(),
        }
    }
}
