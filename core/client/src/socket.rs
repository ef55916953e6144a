use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use realtime_engine::Attempt;
use realtime_engine::wire::{CloseCode, Frame};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WsFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data as OpData, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};

/// The largest message that is taken.
const MAX_MESSAGE: usize = 64 << 20;
/// What one read of the operating system may bring. Of this memory only as much is used as was read.
const READ_AHEAD: usize = 128 << 10;
/// What the library takes of that at a time: it fills so much with zeros for each look, also where nothing has come.
const READ_BUFFER: usize = 8 << 10;
/// How long a peer may take over the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The close frame carried no code.
const NO_STATUS: CloseCode = CloseCode(1005);

/// Bytes both ways: TCP, or TLS over it, or either through a proxy.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

pub(crate) type WebSocket = WebSocketStream<BufReader<Box<dyn Io>>>;

pub(crate) fn read_ahead(stream: Box<dyn Io>) -> BufReader<Box<dyn Io>> {
    BufReader::with_capacity(READ_AHEAD, stream)
}

pub(crate) fn web_socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// Why there is nothing more to read.
#[derive(Debug)]
pub(crate) struct End {
    /// The peer's, where it said one.
    pub(crate) code: Option<CloseCode>,
    pub(crate) reason: String,
    /// What to tell a peer that said nothing.
    answer: CloseCode,
}

/// An open WebSocket with the frames that wait for it.
pub(crate) struct Socket {
    pub(crate) attempt: Attempt,
    stream: WebSocket,
    queue: VecDeque<Frame>,
    queued: usize,
    /// Bytes given to the stream since everything was last with the operating system.
    unflushed: usize,
    flushed: bool,
    /// A write has failed, which was not told yet.
    broken: Option<End>,
}

impl Socket {
    pub(crate) fn new(attempt: Attempt, stream: WebSocket) -> Self {
        Self { attempt, stream, queue: VecDeque::new(), queued: 0, unflushed: 0, flushed: true, broken: None }
    }

    pub(crate) fn send(&mut self, frame: Frame) {
        self.queued += frame.len();
        self.queue.push_back(frame);
    }

    /// Bytes that the operating system has not taken.
    pub(crate) fn backlog(&self) -> usize {
        self.queued + self.unflushed
    }

    /// Has the next [`poll_write`](Self::poll_write) tell why a write has failed.
    pub(crate) fn broke(&mut self, end: End) {
        self.broken = Some(end);
    }

    /// Writes as much as goes. Ready with `true` when the last of it is with the operating system, once.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
        if let Some(end) = self.broken.take() {
            return Poll::Ready(Err(end));
        }
        let mut stream = Pin::new(&mut self.stream);
        while !self.queue.is_empty() {
            match stream.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::broken(&error))),
                Poll::Pending => return Poll::Pending,
            }
            let Some(frame) = self.queue.pop_front() else { break };
            let size = frame.len();
            self.queued -= size;
            self.unflushed += size;
            self.flushed = false;
            if let Err(error) = stream.as_mut().start_send(message(frame)) {
                return Poll::Ready(Err(End::broken(&error)));
            }
        }
        if self.flushed {
            return Poll::Ready(Ok(false));
        }
        match stream.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.flushed = true;
                self.unflushed = 0;
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(End::broken(&error))),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, End>> {
        loop {
            return Poll::Ready(match std::task::ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(Message::Text(text))) => Ok(Frame::Text(text.into())),
                Some(Ok(Message::Binary(bytes))) => Ok(Frame::Binary(bytes)),
                Some(Ok(Message::Ping(bytes))) => Ok(Frame::Ping(bytes)),
                Some(Ok(Message::Pong(bytes))) => Ok(Frame::Pong(bytes)),
                Some(Ok(Message::Close(frame))) => Err(End::closed(frame)),
                // Never given out by a read.
                Some(Ok(Message::Frame(_))) => continue,
                Some(Err(error)) => Err(End::broken(&error)),
                None => Err(End::broken(&WsError::ConnectionClosed)),
            });
        }
    }

    /// Writes what waits, says goodbye and waits for the peer to hang up, all within a second.
    pub(crate) async fn close(mut self, code: CloseCode, reason: String) {
        let goodbye = async {
            for frame in std::mem::take(&mut self.queue) {
                self.stream.feed(message(frame)).await?;
            }
            self.stream.send(Message::Close(close_frame(code, reason))).await?;
            self.until_hung_up().await
        };
        // A peer that is gone already, or takes too long, is simply left.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }

    /// Does what is left to do after [`End`], within a second.
    pub(crate) async fn finish(mut self, end: End) {
        let goodbye = async {
            if end.code.is_none() {
                self.stream.send(Message::Close(close_frame(end.answer, end.reason))).await?;
            }
            // Reading also answers the peer's close.
            self.until_hung_up().await
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }

    async fn until_hung_up(&mut self) -> Result<(), WsError> {
        while self.stream.next().await.transpose()?.is_some() {}
        Ok(())
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("attempt", &self.attempt)
            .field("queued", &self.queued)
            .field("unflushed", &self.unflushed)
            .finish_non_exhaustive()
    }
}

impl End {
    fn closed(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => {
                let code = CloseCode(frame.code.into());
                Self { code: Some(code), reason: frame.reason.as_str().to_owned(), answer: code }
            }
            None => Self { code: Some(NO_STATUS), reason: String::new(), answer: NO_STATUS },
        }
    }

    fn broken(error: &WsError) -> Self {
        let (answer, reason) = match error {
            WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                (CloseCode::TOO_BIG, format!("it sent a message of {size} bytes; at most {max_size} are taken"))
            }
            WsError::Utf8(_) => (CloseCode(1007), "it sent text that is not UTF-8".to_owned()),
            WsError::Protocol(error) => (CloseCode(1002), error.to_string()),
            WsError::Io(error) => (CloseCode::NORMAL, error.to_string()),
            error => (CloseCode::NORMAL, error.to_string()),
        };
        Self { code: None, reason, answer }
    }
}

fn message(frame: Frame) -> Message {
    match frame {
        // As a raw frame, since the engine's text needs no second check.
        Frame::Text(bytes) => Message::Frame(WsFrame::message(bytes, OpCode::Data(OpData::Text), true)),
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
        Frame::Binary(bytes) => Message::Binary(bytes),
        // The engine makes no other; a pong that nobody asked for does no harm.
        _ => Message::Pong(bytes::Bytes::new()),
    }
}

/// `None` for codes that never travel.
fn close_frame(code: CloseCode, mut reason: String) -> Option<CloseFrame> {
    // A control frame holds 125 bytes, two of them the code.
    let end = (0..=reason.len().min(123)).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    reason.truncate(end);
    (!matches!(code.0, 0..1000 | 1004..=1006 | 1015)).then(|| CloseFrame { code: code.0.into(), reason: reason.into() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use bytes::Bytes;
    use tokio::io::ReadBuf;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// A stream that says nothing, takes everything, and keeps how much each write was.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<usize>>>);

    impl Recorder {
        fn writes(&self) -> Vec<usize> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl AsyncRead for Recorder {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Recorder {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.lock().unwrap().push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn recorded() -> (Socket, Recorder) {
        let recorder = Recorder::default();
        let stream: Box<dyn Io> = Box::new(recorder.clone());
        let stream = WebSocket::from_raw_socket(read_ahead(stream), Role::Client, Some(web_socket_config())).await;
        (Socket::new(Attempt(1), stream), recorder)
    }

    fn write(socket: &mut Socket) -> bool {
        match socket.poll_write(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(all)) => all,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_lone_frame_is_one_write_and_goes_at_once() {
        let (mut socket, recorder) = recorded().await;
        for size in [1, 100, 32 << 10, 100 << 10] {
            socket.send(Frame::Text(Bytes::from(vec![b' '; size])));
            assert!(write(&mut socket));
            let writes = recorder.writes();
            assert!(matches!(writes[..], [written] if written > size), "{size}: {writes:?}");
            assert_eq!(socket.backlog(), 0);
            assert!(!write(&mut socket));
            assert!(recorder.writes().is_empty());
        }
    }

    #[tokio::test]
    async fn frames_that_wait_share_writes() {
        let (mut socket, recorder) = recorded().await;
        for _ in 0..100 {
            socket.send(Frame::Text(Bytes::from(vec![b' '; 1000])));
        }
        assert!(write(&mut socket));
        assert_eq!(recorder.writes().len(), 1);
        for _ in 0..64 {
            socket.send(Frame::Text(Bytes::from(vec![b' '; 32 << 10])));
        }
        assert!(write(&mut socket));
        let writes = recorder.writes();
        assert!(writes.len() <= 64 / 4 + 1, "{writes:?}");
    }
}
