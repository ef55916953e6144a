use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::case::Case;
use crate::dialect::Dialect;

const MAX_HEAD: usize = 16 << 10;

/// Answers the upgrade. Returns the case, and what came behind the head.
pub(crate) async fn accept(stream: &mut TcpStream) -> io::Result<(Case, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > MAX_HEAD || stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::other("no upgrade"));
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (Some(case), Some(key)) = (Case::parse(target), field(&head, "sec-websocket-key")) else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
        return Err(io::Error::other(format!("{target} is not a case")));
    };
    let accept = derive_accept_key(key.as_bytes());
    let protocol = match case.dialect {
        Dialect::Realtime => "Sec-WebSocket-Protocol: realtime.v1\r\n",
        _ => "",
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok((case, bytes.split_off(end + 4)))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
