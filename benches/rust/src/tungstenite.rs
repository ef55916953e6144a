//! tokio-tungstenite by itself: one JSON message a frame, the envelope read by serde, the payload left raw.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::case::{Case, FIRST, Kind, Receiver, Said, said};
use crate::measure::{Clock, Measure, resident};
use crate::{Error, Reads};

type Socket = WebSocketStream<TcpStream>;

#[derive(Deserialize)]
struct Envelope<'a> {
    channel: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    payload: Publish<'a>,
}

#[derive(Serialize)]
struct Publish<'a> {
    channel: &'static str,
    event: &'static str,
    payload: &'a Said,
}

pub(crate) async fn run(case: &Case, reads: Reads) -> Result<Measure, Error> {
    match case.kind {
        Kind::Connect => return connect(case).await,
        Kind::Idle => return idle(case).await,
        _ => {}
    }
    let mut socket = open(case).await?;
    let measure = match case.kind {
        Kind::Receive => receive(case, &mut socket, reads).await,
        Kind::Send => send(case, &mut socket).await,
        Kind::Echo => echo(case, &mut socket).await,
        _ => Err("neither acknowledges nor comes back".into()),
    }?;
    socket.close(None).await?;
    Ok(measure)
}

async fn open(case: &Case) -> Result<Socket, Error> {
    let stream = TcpStream::connect(("127.0.0.1", case.port)).await?;
    stream.set_nodelay(true)?;
    let request = case.url("plain").into_client_request()?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    for index in 0..case.channels {
        let channel = Case::channel(index);
        socket.send(Message::text(format!(r#"{{"type":"subscribe","payload":{{"channel":"{channel}"}}}}"#))).await?;
    }
    Ok(socket)
}

async fn receive(case: &Case, socket: &mut Socket, reads: Reads) -> Result<Measure, Error> {
    let mut receivers: HashMap<String, Receiver> =
        (0..case.channels).map(|index| (Case::channel(index), Receiver::new(reads, index, case.channels))).collect();
    let clock = Clock::start();
    publish(socket, 0).await?;
    for sequence in FIRST..FIRST + case.count {
        let text = next(socket).await?;
        let envelope: Envelope<'_> = serde_json::from_str(text.to_text()?)
            .map_err(|error| format!("message {sequence} cannot be read: {error}"))?;
        let receiver = receivers.get_mut(envelope.channel).ok_or("a message of no channel")?;
        receiver.take(envelope.payload.get().as_bytes())?;
    }
    Ok(clock.stop(case.count))
}

async fn send(case: &Case, socket: &mut Socket) -> Result<Measure, Error> {
    let clock = Clock::start();
    for sequence in 0..case.count {
        publish(socket, sequence).await?;
    }
    next(socket).await?;
    Ok(clock.stop(case.count))
}

async fn echo(case: &Case, socket: &mut Socket) -> Result<Measure, Error> {
    let mut receiver = Receiver::new(Reads::Field, 0, 1);
    let mut times = Vec::new();
    let clock = Clock::start();
    for sequence in 0..case.count {
        let begun = Instant::now();
        publish(socket, sequence).await?;
        let text = next(socket).await?;
        times.push(begun.elapsed());
        let envelope: Envelope<'_> = serde_json::from_str(text.to_text()?)?;
        receiver.take(envelope.payload.get().as_bytes())?;
    }
    Ok(Measure { times, ..clock.stop(case.count) })
}

async fn connect(case: &Case) -> Result<Measure, Error> {
    let mut times = Vec::new();
    let clock = Clock::start();
    for _ in 0..case.count {
        let begun = Instant::now();
        let mut socket = open(case).await?;
        times.push(begun.elapsed());
        socket.close(None).await?;
    }
    Ok(Measure { times, ..clock.stop(case.count) })
}

/// Each with a task that reads, as a service has it.
async fn idle(case: &Case) -> Result<Measure, Error> {
    let clock = Clock::start();
    let mut tasks = Vec::new();
    let mut before = 0;
    for index in 0..case.count {
        let mut socket = open(case).await?;
        tasks.push(tokio::spawn(async move { while let Some(Ok(_)) = socket.next().await {} }));
        tokio::task::yield_now().await;
        if index == 0 {
            before = resident()?;
        }
    }
    let idle = (resident()? as f64 - before as f64) / (case.count - 1) as f64;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(Measure { idle, ..clock.stop(case.count) })
}

async fn publish(socket: &mut Socket, sequence: u64) -> Result<(), Error> {
    let payload = Publish { channel: "room-0", event: "tick", payload: &said(sequence) };
    let text = serde_json::to_string(&Outgoing { kind: "channel_message", payload })?;
    Ok(socket.send(Message::text(text)).await?)
}

async fn next(socket: &mut Socket) -> Result<Message, Error> {
    Ok(socket.next().await.ok_or("the connection ended")??)
}
