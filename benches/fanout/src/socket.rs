use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::dialect::{Dialect, Heard};
use crate::frame::{self, PONG, Piece};

/// Connections of one source address: a port is taken by each.
const PER_ADDRESS: usize = 20_000;
const MAX_HEAD: usize = 16 << 10;

/// What all sockets of the thread read into.
pub(crate) type Scratch = [u8];

/// One client of the server under test.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    dialect: Dialect,
    channel: &'static str,
    /// The begin of a message that is not whole.
    rest: Vec<u8>,
    pub(crate) out: Vec<u8>,
    written: usize,
}

impl Socket {
    /// Connects and upgrades.
    pub(crate) async fn open(
        dialect: Dialect,
        server: SocketAddr,
        client: usize,
        channel: &'static str,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if client >= PER_ADDRESS {
            let address = Ipv4Addr::new(127, 0, 0, 1 + (client / PER_ADDRESS) as u8);
            socket.bind(SocketAddr::new(IpAddr::V4(address), 0))?;
        }
        let mut stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        let rest = match dialect {
            Dialect::Nats => Vec::new(),
            _ => upgrade(&mut stream, dialect).await?,
        };
        let out = dialect.greeting(client, channel);
        Ok(Self { stream, dialect, channel, rest, out, written: 0 })
    }

    /// Writes what waits and takes what is there; ready once something came.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        mut hear: impl FnMut(Heard, &[u8], &mut Vec<u8>) -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        self.poll_write(cx)?;
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let fresh = buffer.filled();
        if fresh.is_empty() {
            return Poll::Ready(Err(io::Error::other("the server has closed a connection")));
        }
        if self.rest.is_empty() {
            let taken = take(self.dialect, self.channel, fresh, &mut self.out, &mut hear)?;
            self.rest.extend_from_slice(&fresh[taken..]);
        } else {
            self.rest.extend_from_slice(fresh);
            let taken = take(self.dialect, self.channel, &self.rest, &mut self.out, &mut hear)?;
            self.rest.drain(..taken);
        }
        self.poll_write(cx)?;
        Poll::Ready(Ok(()))
    }

    /// Writes what waits; what the socket does not take is written when it has room.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..])? {
                Poll::Ready(taken) => self.written += taken,
                Poll::Pending => return Ok(()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

/// Handles every message that is whole, and says where the last one ends.
fn take(
    dialect: Dialect,
    channel: &str,
    input: &[u8],
    out: &mut Vec<u8>,
    hear: &mut impl FnMut(Heard, &[u8], &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<usize> {
    let mut one = |message: &[u8], out: &mut Vec<u8>| match dialect.hear(message, channel)? {
        heard @ (Heard::Reply(text) | Heard::Beat(text)) => {
            dialect.reply(text, out);
            hear(heard, message, out)
        }
        heard => hear(heard, message, out),
    };
    let mut at = 0;
    while let Some((piece, end)) = dialect.framing().cut(input, at)? {
        match piece {
            Piece::Message(range) if dialect.is_realtime() => {
                let mut rest = &input[range];
                while let Some(end) = memchr::memchr(b'\n', rest) {
                    one(&rest[..end], out)?;
                    rest = &rest[end + 1..];
                }
                one(rest, out)?;
            }
            Piece::Message(range) => one(&input[range], out)?,
            Piece::Ping(_) if dialect == Dialect::Nats => dialect.reply("PONG\r\n", out),
            Piece::Ping(range) => frame::push(out, PONG, &input[range]),
            Piece::Nothing => {}
            Piece::Close => return Err(io::Error::other("the server closes a connection")),
        }
        at = end;
    }
    Ok(at)
}

/// Asks for a WebSocket, and returns what came behind the answer.
async fn upgrade(stream: &mut TcpStream, dialect: Dialect) -> io::Result<Vec<u8>> {
    let (path, subprotocol) = dialect.upgrade();
    let protocol = subprotocol.map_or(String::new(), |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = memmem::find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > MAX_HEAD || stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::other("no answer to the upgrade"));
        }
    };
    if !bytes.starts_with(b"HTTP/1.1 101 ") {
        return Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(&bytes[..end]))));
    }
    Ok(bytes.split_off(end))
}
