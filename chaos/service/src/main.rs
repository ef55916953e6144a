//! The Rust service of `make chaos`: `chaos-service JOB`, as `service.py` and `service.mjs` beside it. Speaks JSON lines with
//! `chaos.py` on stdin and stdout.

mod journal;
mod member;

use std::collections::HashSet;
use std::io::BufRead;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use journal::Journal;
use member::{Member, MemberJob};
use realtime_client::{Channel, Client, ClientEvent, Config, Error, LoadOn, Receipt, Subscription, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// What `chaos.py` wants.
#[derive(Debug, Deserialize)]
struct Job {
    name: String,
    url: String,
    journal: String,
    channels: Vec<String>,
    count: u64,
    /// Sends without an outcome at a time.
    window: usize,
    /// Messages that the outbox holds.
    queue: usize,
    /// Bytes of messages that are not consumed, in all and of a channel.
    inbox: u64,
    channel_inbox: u64,
    /// Every so many a send is too large, and has to be refused.
    large_every: u64,
    large: usize,
    /// Outcomes between two words of progress.
    report_every: u64,
    /// End marks that are to come.
    marks: usize,
    /// What it shares with the others, where they share something.
    shared: Option<MemberJob>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    from: String,
    n: u64,
    pad: String,
}

type Failure = Box<dyn std::error::Error>;

// One thread: a message is in the journal before anything else happens.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let job: Job = serde_json::from_str(&std::env::args().nth(1).ok_or("chaos-service JOB")?)?;
    LocalSet::new().run_until(run(Rc::new(job))).await
}

async fn run(job: Rc<Job>) -> Result<(), Failure> {
    let journal = Journal::create(&job.journal)?;
    let mut words = words();
    let mut config = Config::new(&job.url);
    config.heartbeat_interval = Duration::from_millis(300);
    config.heartbeat_timeout = Duration::from_millis(1000);
    config.connect_timeout = Duration::from_millis(1500);
    config.reconnect_first = Duration::from_millis(50);
    config.reconnect_base = Duration::from_millis(100);
    config.reconnect_max = Duration::from_millis(500);
    // The guest may begin while there is no server.
    config.attempts_until_error = 1000;
    config.queue_messages = job.queue;
    config.inbox = Window { connection: job.inbox, channel: job.channel_inbox };
    let client = Client::connect(config).await?;
    tokio::task::spawn_local(errors(client.clone()));

    let (mark, mut marks) = mpsc::unbounded_channel();
    let mut channels = Vec::new();
    for (index, name) in job.channels.iter().enumerate() {
        let channel = client.channel(name)?;
        let journal_of_gaps = journal.clone();
        // The events of a client tell of gaps too, but not where they are among the messages.
        channel.on_gap(LoadOn::Gap, move |gap| {
            journal_of_gaps.gap(index, &gap);
            std::future::ready(Ok::<_, Error>(None))
        });
        tokio::task::spawn_local(receive(index, channel.subscribe().await?, journal.clone(), mark.clone()));
        channels.push(channel);
    }
    let member = match &job.shared {
        Some(shared) => Some(Member::start(shared.clone(), &client).await?),
        None => None,
    };
    tell(json!({"state": "ready"}));

    expect(words.recv().await, "go")?;
    if let Some(member) = &member {
        tokio::task::spawn_local(Rc::clone(member).edit());
    }
    let (mut ended, mut repeated) = (0_u64, 0_u64);
    let mut note = |channel: usize, number: u64, outcome: Result<Receipt, Error>| {
        journal.sent(channel, number, &outcome);
        repeated += u64::from(outcome.is_ok_and(|receipt| receipt.duplicate));
        ended += 1;
        if ended.is_multiple_of(job.report_every) {
            tell(json!({"state": "progress", "ended": ended}));
        }
    };
    let place = |number: u64| (number % channels.len() as u64) as usize;
    let mut outcomes = stream::iter(1..=job.count)
        .map(|number| {
            let (job, channel) = (Rc::clone(&job), channels[place(number)].clone());
            async move { (number, publish(&job, &channel, number).await) }
        })
        .buffer_unordered(job.window);
    while let Some((number, outcome)) = outcomes.next().await {
        note(place(number), number, outcome);
    }
    tell(json!({"state": "progress", "ended": job.count}));
    tell(json!({"state": "sent"}));

    expect(words.recv().await, "quiet")?;
    if let Some(member) = &member {
        member.quiet().await;
    }
    tell(json!({"state": "quiet"}));
    expect(words.recv().await, "end")?;
    for (index, channel) in channels.iter().enumerate() {
        let number = job.count + 1 + index as u64;
        let outcome = channel.publish("end", &Body { from: job.name.clone(), n: number, pad: String::new() }).await;
        note(index, number, outcome);
    }
    let complete = async {
        let mut seen = HashSet::new();
        while seen.len() < job.marks {
            seen.extend(marks.recv().await);
        }
        match &member {
            Some(member) => Rc::clone(member).complete().await,
            None => Ok(()),
        }
    };
    let stopped = tokio::select! {
        done = complete => {
            done?;
            tell(json!({"state": "complete"}));
            words.recv().await
        }
        word = words.recv() => word, // What is missing by then is counted as lost.
    };
    expect(stopped, "stop")?;
    journal.flush();
    if let Some(member) = &member {
        member.show()?;
    }
    let stats = client.stats();
    tell(json!({"state": "done", "repeated": repeated, "reconnects": stats.reconnects, "recovered": stats.recovered}));
    client.disconnect().await;
    Ok(())
}

async fn publish(job: &Job, channel: &Channel, number: u64) -> Result<Receipt, Error> {
    let pad = if number.is_multiple_of(job.large_every) { job.large } else { (number * 37 % 200) as usize };
    let body = Body { from: job.name.clone(), n: number, pad: "x".repeat(pad) };
    if number % 20 == 19 {
        let bytes = serde_json::to_vec(&body).expect("a body is JSON");
        return channel.publish_bytes("picture", bytes).await;
    }
    channel.publish("work", &body).await
}

async fn receive(
    index: usize,
    mut messages: Subscription,
    journal: Journal,
    marks: mpsc::UnboundedSender<(usize, String)>,
) {
    while let Some(message) = messages.recv().await {
        let body: Body = serde_json::from_slice(message.bytes()).expect("what a service sent");
        journal.message(index, message.offset().unwrap_or(0), &body.from, body.n);
        if message.event() == "end" {
            let _ = marks.send((index, body.from));
        }
    }
}

async fn errors(client: Client) {
    let mut events = client.events();
    while let Some(event) = events.recv().await {
        if let ClientEvent::Error(error) = event {
            tell(json!({"state": "error", "code": error.kind.to_string(), "message": error.to_string()}));
        }
    }
}

/// The lines of stdin.
fn words() -> mpsc::UnboundedReceiver<String> {
    let (sender, words) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|word| sender.send(word))
    });
    words
}

fn expect(heard: Option<String>, word: &str) -> Result<(), Failure> {
    if heard.as_deref() == Some(word) { Ok(()) } else { Err(format!("expected {word}, heard {heard:?}").into()) }
}

fn tell(message: Value) {
    println!("{message}");
}
