use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use realtime_engine::wire::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Decoder, FrameError, Incoming, Outgoing};
use super::link::Close;

/// Bytes that are read at once, or joined for one write.
const SCRATCH: usize = 64 << 10;
/// A body of this size is written from where it lies.
const LARGE: usize = 16 << 10;
/// Room for frames that a connection keeps although it has none.
const FEW: usize = 8;

thread_local! {
    /// What the sockets of a thread read into, and join small frames in: none has a buffer of its own.
    static BYTES: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
    static FRAMES: Cell<Vec<Frame>> = const { Cell::new(Vec::new()) };
}

/// Lends a list for frames, which is empty.
pub(super) fn with_frames<R>(act: impl FnOnce(&mut Vec<Frame>) -> R) -> R {
    let mut frames = FRAMES.take();
    let result = act(&mut frames);
    frames.clear();
    FRAMES.set(frames);
    result
}

/// A WebSocket: frames over a stream of bytes. Holds memory only for what is not whole, and for what the peer does not take.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    decoder: Decoder,
    /// The begin of a frame that is not whole yet.
    input: Vec<u8>,
    outgoing: VecDeque<Outgoing>,
    /// How much of the first one is written.
    begun: usize,
    /// The answer to the newest ping; older ones need none.
    pong: Option<Bytes>,
    written: u64,
}

/// Why there is nothing more to read.
#[derive(Debug)]
pub(super) enum End {
    /// The peer is gone.
    Gone,
    /// The peer says goodbye. It gets the same.
    Goodbye(Option<Close>),
    /// What it sends cannot be read.
    Broken(FrameError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Takes over a stream after its handshake, with what came behind that. Messages over `largest` bytes are not read.
    pub(super) fn new(stream: S, rest: Vec<u8>, largest: u64) -> Self {
        Self {
            stream,
            decoder: Decoder::new(largest),
            input: rest,
            outgoing: VecDeque::new(),
            begun: 0,
            pong: None,
            written: 0,
        }
    }

    /// How many bytes the stream has taken, so that a slow peer can be told from a stuck one.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Reads once, and adds what is whole; pings are answered with the next flush. Ready where something came, or where nothing
    /// will any more.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), End>> {
        BYTES.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let fresh = buffer.filled_mut();
            if read.is_err() || fresh.is_empty() {
                return Poll::Ready(Err(End::Gone));
            }
            if self.input.is_empty() {
                let taken = self.take(fresh, frames)?;
                self.input.extend_from_slice(&fresh[taken..]);
            } else {
                self.input.extend_from_slice(fresh);
                self.read_rest(frames)?;
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Adds what came whole with the handshake.
    pub(super) fn read_rest(&mut self, frames: &mut Vec<Frame>) -> Result<(), End> {
        let mut input = std::mem::take(&mut self.input);
        let taken = self.take(&mut input, frames)?;
        // Where all is read, the memory goes too.
        if taken < input.len() {
            input.drain(..taken);
            self.input = input;
        }
        Ok(())
    }

    fn take(&mut self, input: &mut [u8], frames: &mut Vec<Frame>) -> Result<usize, End> {
        let mut taken = 0;
        while let Some((incoming, size)) = self.decoder.decode(&mut input[taken..]).map_err(End::Broken)? {
            taken += size;
            match incoming {
                Incoming::Frame(frame) => {
                    if let Frame::Ping(bytes) = &frame {
                        self.pong = Some(bytes.clone());
                    }
                    frames.push(frame);
                }
                Incoming::Part => {}
                Incoming::Close(code) => return Err(End::Goodbye(code.map(|code| (code, "".into())))),
            }
        }
        Ok(taken)
    }

    /// Whether something waits to be flushed.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty() || self.pong.is_some()
    }

    /// Takes a frame; [`poll_flush`](Self::poll_flush) writes it.
    pub(super) fn send(&mut self, frame: Frame) {
        self.outgoing.push_back(Outgoing::new(frame));
    }

    /// Takes the last frame.
    pub(super) fn send_close(&mut self, close: Option<&Close>) {
        self.outgoing.push_back(Outgoing::close(close));
    }

    /// Writes what waits, in as few calls as there can be.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(first) = self.outgoing.front() else {
                let Some(pong) = self.pong.take() else { break };
                self.send(Frame::Pong(pong));
                continue;
            };
            let stream = Pin::new(&mut self.stream);
            let written = if first.body().len() >= LARGE {
                let (header, body) = (first.header(), &first.body()[..]);
                let (header, body) = match self.begun.checked_sub(header.len()) {
                    None => (&header[self.begun..], body),
                    Some(begun) => (&[][..], &body[begun..]),
                };
                stream.poll_write_vectored(cx, &[IoSlice::new(header), IoSlice::new(body)])
            } else {
                BYTES.with_borrow_mut(|scratch| {
                    let size = join(&self.outgoing, scratch);
                    stream.poll_write(cx, &scratch[self.begun..size])
                })
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        if self.outgoing.capacity() > FEW {
            self.outgoing.shrink_to(FEW);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        self.begun += written;
        while let Some(first) = self.outgoing.front()
            && self.begun >= first.len()
        {
            self.begun -= first.len();
            self.outgoing.pop_front();
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Reads to the end, whatever it is.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        BYTES.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
                if read.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
        })
    }
}

/// Copies small frames one behind the other; there is room for the first.
fn join(frames: &VecDeque<Outgoing>, scratch: &mut [u8]) -> usize {
    let mut size = 0;
    for frame in frames.iter().take_while(|frame| frame.body().len() < LARGE) {
        let end = size + frame.len();
        let Some(place) = scratch.get_mut(size..end) else { break };
        let (header, body) = place.split_at_mut(frame.header().len());
        header.copy_from_slice(frame.header());
        body.copy_from_slice(frame.body());
        size = end;
    }
    size
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::task::Waker;

    use super::*;

    /// A stream that says nothing, takes everything, and keeps how much each write was.
    #[derive(Debug, Default)]
    struct Recorder(Vec<usize>);

    impl AsyncRead for Recorder {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Recorder {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let size = parts.iter().map(|part| part.len()).sum();
            self.0.push(size);
            Poll::Ready(Ok(size))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// How much each write was that these frames took.
    fn writes(frames: usize, size: usize) -> Vec<usize> {
        let mut socket = Socket::new(Recorder::default(), Vec::new(), 1 << 20);
        (0..frames).for_each(|_| socket.send(Frame::Text(Bytes::from(vec![b' '; size]))));
        assert!(socket.is_waiting());
        assert!(matches!(socket.poll_flush(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
        assert!(!socket.is_waiting());
        socket.stream.0
    }

    #[test]
    fn a_lone_frame_is_one_write() {
        for (size, header) in [(1, 2), (125, 2), (126, 4), (LARGE - 1, 4), (LARGE, 4), (1 << 20, 10)] {
            assert_eq!(writes(1, size), [size + header]);
        }
    }

    #[test]
    fn small_frames_share_a_write_and_large_ones_have_one_each() {
        assert_eq!(writes(100, 100), [100 * 102]);
        assert_eq!(writes(4, LARGE), [LARGE + 4; 4]);
        let many = writes(1000, 1000);
        assert!(many.len() <= 1000 * 1004 / SCRATCH + 2, "{many:?}");
        assert_eq!(many.iter().sum::<usize>(), 1000 * 1004);
    }

    /// A stream that says this, in these pieces, and takes so many bytes at a time; 0 is none for now.
    #[derive(Debug, Default)]
    struct Narrow {
        says: VecDeque<Vec<u8>>,
        takes: VecDeque<usize>,
        taken: Vec<u8>,
    }

    impl AsyncRead for Narrow {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Some(piece) = self.says.pop_front() else { return Poll::Pending };
            buffer.put_slice(&piece);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            match self.takes.pop_front().unwrap_or(usize::MAX).min(bytes.len()) {
                0 => Poll::Pending,
                size => {
                    self.taken.extend_from_slice(&bytes[..size]);
                    Poll::Ready(Ok(size))
                }
            }
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.poll_write(cx, &parts.iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>())
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_stream_takes_at_a_time_the_bytes_are_the_same(
            sizes in proptest::collection::vec(proptest::prop_oneof![0..300_usize, LARGE - 10..LARGE + 10], 1..20),
            takes in proptest::collection::vec(proptest::prop_oneof![0..20_usize, 0..40_000_usize], 0..60),
        ) {
            let frames: Vec<_> = (0..).zip(&sizes).map(|(n, size)| Frame::Binary(vec![n; *size].into())).collect();
            let expected: Vec<u8> = frames.iter().cloned().map(Outgoing::new).flat_map(|frame| [frame.header(), frame.body()].concat()).collect();
            let mut socket = Socket::new(Narrow { takes: takes.into(), ..Narrow::default() }, Vec::new(), 1 << 20);
            let mut frames = frames.into_iter();
            loop {
                // Some more, whether or not those before are written.
                frames.by_ref().take(3).for_each(|frame| socket.send(frame));
                let flushed = socket.poll_flush(&mut Context::from_waker(Waker::noop()));
                assert_eq!(socket.written(), socket.stream.taken.len() as u64);
                if flushed.is_ready() && frames.len() == 0 {
                    break;
                }
            }
            assert!(socket.stream.taken == expected);
            assert!(!socket.is_waiting() && socket.outgoing.capacity() <= 2 * FEW);
        }
    }

    /// A text frame of a client, with the mask zero.
    fn said(text: &str) -> Vec<u8> {
        [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    #[test]
    fn who_says_nothing_has_no_buffers() {
        let bytes = [said("one"), said("two"), said("three")].concat();
        let says = VecDeque::from([bytes[..12].to_vec(), bytes[12..14].to_vec(), bytes[14..].to_vec()]);
        let mut socket = Socket::new(Narrow { says, ..Narrow::default() }, Vec::new(), 1000);
        let mut frames = Vec::new();
        let mut held = Vec::new();
        while let Poll::Ready(read) = socket.poll_read(&mut Context::from_waker(Waker::noop()), &mut frames) {
            read.unwrap();
            held.push(socket.input.len());
        }
        assert_eq!(frames, ["one", "two", "three"].map(|text| Frame::Text(text.into())));
        assert_eq!(held, [3, 5, 0], "the begin of a frame, until it is whole");
        assert_eq!((socket.input.capacity(), socket.outgoing.capacity()), (0, 0));
    }

    #[test]
    fn a_frame_for_many_is_not_copied_for_each() {
        let shared = Bytes::from(vec![b' '; 100]);
        let mut socket = Socket::new(Recorder::default(), Vec::new(), 1000);
        socket.send(Frame::Text(shared.clone()));
        assert_eq!(socket.outgoing[0].body().as_ptr(), shared.as_ptr());
    }

    #[test]
    fn the_newest_ping_is_answered_between_frames() {
        let ping = |byte| vec![0x89, 0x81, 0, 0, 0, 0, byte];
        let says = VecDeque::from([[ping(b'a'), ping(b'b')].concat(), ping(b'c')]);
        let mut socket = Socket::new(Narrow { says, takes: [3, 0].into(), ..Narrow::default() }, Vec::new(), 1000);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut frames = Vec::new();
        socket.send(Frame::Text("hello".into()));
        assert!(socket.poll_flush(cx).is_pending());
        while socket.poll_read(cx, &mut frames).is_ready() {}
        assert!(socket.poll_flush(cx).is_ready());
        assert_eq!(frames.len(), 3, "each is a sign of life");
        assert_eq!(socket.stream.taken, b"\x81\x05hello\x8a\x01c");
    }
}
