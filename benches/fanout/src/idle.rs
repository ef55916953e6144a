//! Connections that subscribe to one channel and then do nothing but give signs of life.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::dialect::{Dialect, Heard, QUIET, ROOM};
use crate::say;
use crate::socket::Socket;
use crate::template;

const SCRATCH: usize = 64 << 10;
/// Nothing may take so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens them, keeps them over some signs of life, and sends one message to all at the end.
pub(crate) async fn run(
    dialect: Dialect,
    server: SocketAddr,
    connections: usize,
    beats: u32,
    pause: Duration,
) -> io::Result<Value> {
    let scratch = Rc::new(RefCell::new(vec![0; SCRATCH]));
    let (news, heard) = mpsc::unbounded_channel();
    let (beat, beating) = watch::channel(0);
    let mut tasks = JoinSet::new();
    let mut roll = Roll { heard, alive: vec![0; connections], messages: vec![0; connections] };
    let begun = Instant::now();
    for client in 0..connections {
        let socket = Socket::open(dialect, server, client, ROOM).await?;
        tasks.spawn_local(hold(client, socket, dialect, scratch.clone(), news.clone(), beating.clone()));
    }
    roll.call(News::Alive, 1, &mut tasks).await?;
    let opened = begun.elapsed().as_secs_f64();
    say("open")?;
    for number in 1..=beats {
        tokio::time::sleep(pause).await;
        if dialect.beat().is_some() {
            beat.send_replace(number);
        }
        roll.call(News::Alive, 1 + number, &mut tasks).await?;
    }
    let held = begun.elapsed().as_secs_f64() - opened;
    say("held")?;

    let mut publisher = Socket::open(dialect, server, connections, QUIET).await?;
    let mut publishes = dialect.publishes();
    let mut answered = false;
    while !answered {
        turn(&mut publisher, &scratch, |heard| answered |= heard == Heard::Answer).await?;
    }
    publishes.push(0, &mut publisher.out);
    publishes.finish(&mut publisher.out);
    let published = Instant::now();
    let publishing = async {
        loop {
            if let Err(error) = turn(&mut publisher, &scratch, |_| ()).await {
                return error;
            }
        }
    };
    tokio::select! {
        reached = roll.call(News::Message, 1, &mut tasks) => reached?,
        error = publishing => return Err(error),
    }
    let reached = published.elapsed().as_secs_f64();
    say("end")?;
    Ok(json!({ "connections": connections, "beats": beats, "opened": opened, "held": held, "reached": reached }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// The subscription or a sign of life was answered.
    Alive,
    /// The message came, whole.
    Message,
}

/// What each connection has had.
struct Roll {
    heard: mpsc::UnboundedReceiver<(usize, News)>,
    alive: Vec<u32>,
    messages: Vec<u32>,
}

impl Roll {
    /// Waits until every connection has had this news so many times.
    async fn call(&mut self, expected: News, times: u32, tasks: &mut JoinSet<io::Result<()>>) -> io::Result<()> {
        let late = tokio::time::sleep(PATIENCE);
        let mut late = std::pin::pin!(late);
        let missing = |counts: &[u32]| counts.iter().filter(|count| **count < times).count();
        let mut left = missing(self.counts(expected));
        while left > 0 {
            tokio::select! {
                Some((client, news)) = self.heard.recv() => {
                    let count = &mut self.counts(news)[client];
                    *count += 1;
                    left -= usize::from(news == expected && *count == times);
                }
                Some(ended) = tasks.join_next() => ended??,
                () = &mut late => return Err(io::Error::other(format!("{left} connections lack {expected:?} {times}"))),
            }
        }
        Ok(())
    }

    fn counts(&mut self, news: News) -> &mut [u32] {
        match news {
            News::Alive => &mut self.alive,
            News::Message => &mut self.messages,
        }
    }
}

async fn hold(
    client: usize,
    mut socket: Socket,
    dialect: Dialect,
    scratch: Rc<RefCell<Vec<u8>>>,
    news: mpsc::UnboundedSender<(usize, News)>,
    mut beating: watch::Receiver<u32>,
) -> io::Result<()> {
    loop {
        let turn = std::future::poll_fn(|cx| {
            socket.poll(cx, &mut scratch.borrow_mut(), |heard, message, _| {
                let news_of_it = match heard {
                    Heard::Answer | Heard::Beat(_) => News::Alive,
                    Heard::Delivered if template::sequence(message) == Some(0) => News::Message,
                    Heard::Delivered => {
                        return Err(io::Error::other("another message came than the one that was sent"));
                    }
                    Heard::Reply(_) | Heard::Nothing => return Ok(()),
                };
                let _ = news.send((client, news_of_it));
                Ok(())
            })
        });
        tokio::select! {
            turned = turn => turned?,
            Ok(()) = beating.changed() => socket.out.extend(dialect.beat().unwrap_or_default()),
        }
    }
}

async fn turn(socket: &mut Socket, scratch: &RefCell<Vec<u8>>, mut hear: impl FnMut(Heard)) -> io::Result<()> {
    std::future::poll_fn(|cx| {
        socket.poll(cx, &mut scratch.borrow_mut(), |heard, _, _| {
            hear(heard);
            Ok(())
        })
    })
    .await
}
