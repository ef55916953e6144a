//! Connections that subscribe to one channel and then do nothing but give signs of life.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::dialect::{Dialect, Heard, QUIET, ROOM};
use crate::say;
use crate::socket::Socket;
use crate::template;

const SCRATCH: usize = 64 << 10;
/// Connections that are in their handshake.
const AT_A_TIME: usize = 32;
/// Nothing may take so long.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let doors = Rc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = JoinSet::new();
    let mut roll = Roll { heard, alive: vec![0; connections], messages: vec![0; connections] };
    let begun = Instant::now();
    for client in 0..connections {
        let idle = Idle { client, dialect, pause, scratch: scratch.clone(), news: news.clone() };
        let doors = doors.clone();
        tasks.spawn_local(async move {
            let door = doors.acquire().await;
            let socket = Socket::open(dialect, server, client, ROOM).await?;
            drop(door);
            idle.hold(socket).await
        });
    }
    roll.call(News::Alive, 1, &mut tasks).await?;
    let opened = begun.elapsed().as_secs_f64();
    say("open")?;
    roll.alive.fill(0);
    roll.call(News::Alive, beats, &mut tasks).await?;
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

/// A connection that does nothing.
struct Idle {
    client: usize,
    dialect: Dialect,
    pause: Duration,
    scratch: Rc<RefCell<Vec<u8>>>,
    news: mpsc::UnboundedSender<(usize, News)>,
}

impl Idle {
    async fn hold(self, mut socket: Socket) -> io::Result<()> {
        let mut beat = tokio::time::interval(self.pause);
        beat.reset();
        loop {
            let turn = std::future::poll_fn(|cx| {
                socket.poll(cx, &mut self.scratch.borrow_mut(), |heard, message, _| {
                    let news = match heard {
                        Heard::Answer | Heard::Beat(_) => News::Alive,
                        Heard::Delivered if template::sequence(message) == Some(0) => News::Message,
                        Heard::Delivered => return Err(io::Error::other("a message came that was not sent")),
                        Heard::Reply(_) | Heard::Nothing => return Ok(()),
                    };
                    let _ = self.news.send((self.client, news));
                    Ok(())
                })
            });
            tokio::select! {
                turned = turn => turned?,
                _ = beat.tick() => socket.out.extend(self.dialect.beat().unwrap_or_default()),
            }
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
