//! This project's client: `realtime.v1`, with receipts and recovery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use realtime_client::{Client, Config, Subscription};

use crate::case::{Case, FIRST, Kind, Left, Receiver, number, said};
use crate::measure::{Clock, Measure, resident};
use crate::{Error, Reads};

/// Sends that wait for their receipts together.
const BURST: u64 = 512;
/// How soon to reconnect where that is not what is measured.
const SOON: Duration = Duration::from_millis(1);

pub(crate) async fn run(case: &Case, reads: Reads) -> Result<Measure, Error> {
    match case.kind {
        Kind::Connect => return connect(case).await,
        Kind::Idle => return idle(case).await,
        _ => {}
    }
    let (client, subscriptions) = open(case).await?;
    let measure = match case.kind {
        Kind::Receive => receive(case, &client, subscriptions, reads).await,
        Kind::Send => send(case, &client, subscriptions).await,
        Kind::Request => request(case, &client, subscriptions).await,
        Kind::Resubscribe => resubscribe(case, &client, subscriptions).await,
        Kind::CatchUp => catch_up(case, &client, subscriptions).await,
        _ => echo(case, &client, subscriptions).await,
    }?;
    client.disconnect().await;
    Ok(measure)
}

async fn open(case: &Case) -> Result<(Client, Vec<Subscription>), Error> {
    let mut config = Config::new(case.url("realtime"));
    if case.cuts() {
        (config.reconnect_first, config.reconnect_base) = (SOON, SOON);
    }
    let client = Client::connect(config).await?;
    let mut subscriptions = Vec::new();
    for index in 0..case.channels {
        subscriptions.push(client.channel(&Case::channel(index))?.subscribe().await?);
    }
    Ok((client, subscriptions))
}

async fn receive(
    case: &Case,
    client: &Client,
    subscriptions: Vec<Subscription>,
    reads: Reads,
) -> Result<Measure, Error> {
    let left = Arc::new(Left::new(case.channels as u64));
    let clock = Clock::start();
    let room = client.channel(&Case::channel(0))?;
    let mut tasks = Vec::new();
    for (index, mut subscription) in subscriptions.into_iter().enumerate() {
        let (left, share, channels) = (Arc::clone(&left), case.share(index), case.channels);
        tasks.push(tokio::spawn(async move {
            let mut receiver = Receiver::new(reads, index, channels);
            for _ in 0..share {
                let message = subscription.recv().await.ok_or("the subscription ended")?;
                receiver.take(message.bytes())?;
            }
            left.one_less();
            Ok::<_, Error>(subscription)
        }));
    }
    room.publish("tick", &said(0)).await?;
    for task in tasks {
        task.await??;
    }
    left.none().await;
    Ok(clock.stop(case.count))
}

async fn send(case: &Case, client: &Client, mut subscriptions: Vec<Subscription>) -> Result<Measure, Error> {
    let room = client.channel(&Case::channel(0))?;
    let clock = Clock::start();
    let mut sequence = 0;
    while sequence < case.count {
        let end = case.count.min(sequence + BURST);
        let payloads: Vec<_> = (sequence..end).map(said).collect();
        try_join_all(payloads.iter().map(|payload| room.publish("tick", payload))).await?;
        sequence = end;
    }
    last(case, &mut subscriptions[0]).await?;
    Ok(clock.stop(case.count))
}

async fn request(case: &Case, client: &Client, mut subscriptions: Vec<Subscription>) -> Result<Measure, Error> {
    let room = client.channel(&Case::channel(0))?;
    let mut times = Vec::new();
    let clock = Clock::start();
    for sequence in 0..case.count {
        let begun = Instant::now();
        room.publish("tick", &said(sequence)).await?;
        times.push(begun.elapsed());
    }
    last(case, &mut subscriptions[0]).await?;
    Ok(Measure { times, ..clock.stop(case.count) })
}

/// The server tells that it has everything, in order.
async fn last(case: &Case, subscription: &mut Subscription) -> Result<(), Error> {
    let told = next(subscription).await?;
    if told != case.count - 1 {
        return Err(format!("the server told of message {} instead of {}", FIRST + told, FIRST + case.count - 1).into());
    }
    Ok(())
}

async fn next(subscription: &mut Subscription) -> Result<u64, Error> {
    number(subscription.recv().await.ok_or("the subscription ended")?.bytes())
}

async fn echo(case: &Case, client: &Client, mut subscriptions: Vec<Subscription>) -> Result<Measure, Error> {
    let room = client.channel(&Case::channel(0))?;
    let mut receiver = Receiver::new(Reads::Field, 0, 1);
    let mut times = Vec::new();
    let clock = Clock::start();
    for sequence in 0..case.count {
        let begun = Instant::now();
        let payload = said(sequence);
        let (sent, message) = tokio::join!(room.publish("tick", &payload), async {
            let message = subscriptions[0].recv().await;
            times.push(begun.elapsed());
            message
        });
        sent?;
        receiver.take(message.ok_or("the subscription ended")?.bytes())?;
    }
    Ok(Measure { times, ..clock.stop(case.count) })
}

async fn connect(case: &Case) -> Result<Measure, Error> {
    let mut times = Vec::new();
    let clock = Clock::start();
    for _ in 0..case.count {
        let begun = Instant::now();
        let (client, subscriptions) = open(case).await?;
        times.push(begun.elapsed());
        drop(subscriptions);
        client.disconnect().await;
    }
    Ok(Measure { times, ..clock.stop(case.count) })
}

/// Connections that are open and subscribed; what the first one costs more is the library's own.
async fn idle(case: &Case) -> Result<Measure, Error> {
    let clock = Clock::start();
    let mut clients = vec![open(case).await?];
    let before = resident()?;
    for _ in 1..case.count {
        clients.push(open(case).await?);
    }
    let idle = (resident()? as f64 - before as f64) / (case.count - 1) as f64;
    let measure = Measure { idle, ..clock.stop(case.count) };
    for (client, _) in clients {
        client.disconnect().await;
    }
    Ok(measure)
}

/// The server counts from the new connection to the word that the last channel is there.
async fn resubscribe(case: &Case, client: &Client, mut subscriptions: Vec<Subscription>) -> Result<Measure, Error> {
    let room = client.channel(&Case::channel(0))?;
    let first = &mut subscriptions[0];
    next(first).await?;
    let mut times = Vec::new();
    let clock = Clock::start();
    for _ in 0..case.count {
        room.publish("tick", &said(0)).await?;
        let told = next(first).await?;
        if told != 0 {
            return Err(format!("message {told} came before all channels were subscribed again").into());
        }
        room.publish("tick", &said(1)).await?;
        times.push(Duration::from_micros(next(first).await?));
    }
    Ok(Measure { times, ..clock.stop(case.count) })
}

/// The server counts from the new connection to the word that the last message is there.
async fn catch_up(case: &Case, client: &Client, mut subscriptions: Vec<Subscription>) -> Result<Measure, Error> {
    let room = client.channel(&Case::channel(0))?;
    let subscription = &mut subscriptions[0];
    let mut receiver = Receiver::new(Reads::Field, 0, 1);
    let clock = Clock::start();
    room.publish("tick", &said(0)).await?;
    for _ in 0..case.count {
        receiver.take(subscription.recv().await.ok_or("the subscription ended")?.bytes())?;
    }
    room.publish("tick", &said(1)).await?;
    let times = vec![Duration::from_micros(next(subscription).await?)];
    Ok(Measure { times, ..clock.stop(case.count) })
}
