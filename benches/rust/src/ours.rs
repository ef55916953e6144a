//! This project's client: `realtime.v1`, with receipts and recovery.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use realtime_client::{Client, Subscription};

use crate::case::{Case, Kind, Left, Receiver, said};
use crate::measure::{Clock, Measure};
use crate::{Error, Reads};

/// Sends that wait for their receipts together.
const BURST: u64 = 512;

pub(crate) async fn run(case: &Case, reads: Reads) -> Result<Measure, Error> {
    if case.kind == Kind::Connect {
        return connect(case).await;
    }
    let (client, subscriptions) = open(case).await?;
    let measure = match case.kind {
        Kind::Receive => receive(case, &client, subscriptions, reads).await,
        Kind::Send => send(case, &client, subscriptions).await,
        _ => echo(case, &client, subscriptions).await,
    }?;
    client.disconnect().await;
    Ok(measure)
}

async fn open(case: &Case) -> Result<(Client, Vec<Subscription>), Error> {
    let client = Client::connect(format!("ws://127.0.0.1:{}{}", case.port, case.path("realtime"))).await?;
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
    subscriptions[0].recv().await.ok_or("the subscription ended")?;
    Ok(clock.stop(case.count))
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
