//! One publisher, many subscribers of one channel.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::dialect::{CREDIT, Dialect, Heard, Publishes, QUIET, ROOM};
use crate::progress::Progress;
use crate::say;
use crate::socket::Socket;
use crate::template;

const SCRATCH: usize = 256 << 10;
/// Nothing may take so long.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Fan {
    pub(crate) dialect: Dialect,
    pub(crate) server: SocketAddr,
    pub(crate) subscribers: usize,
    pub(crate) pace: Pace,
    pub(crate) time: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Messages that are under way at a time.
    Window(u64),
    /// Messages a second.
    Rate(u32),
}

impl Fan {
    pub(crate) async fn run(self) -> io::Result<Value> {
        let progress = Rc::new(Progress::new(self.subscribers));
        let scratch = Rc::new(RefCell::new(vec![0; SCRATCH]));
        let (ready, mut readies) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for client in 0..self.subscribers {
            let socket = Socket::open(self.dialect, self.server, client, ROOM).await?;
            let (progress, scratch, ready) = (progress.clone(), scratch.clone(), ready.clone());
            tasks.spawn_local(subscribe(socket, self.dialect, progress, scratch, ready));
        }
        for _ in 0..self.subscribers {
            tokio::select! {
                _ = readies.recv() => {}
                Some(ended) = tasks.join_next() => ended??,
                () = tokio::time::sleep(PATIENCE) => return Err(io::Error::other("a subscription was not answered")),
            }
        }
        let socket = Socket::open(self.dialect, self.server, self.subscribers, QUIET).await?;
        let mut publisher =
            Publisher { socket, publishes: self.dialect.publishes(), progress, scratch, sent: 0, answered: false };
        tokio::select! {
            result = publisher.run(self.pace, self.time) => result,
            Some(ended) = tasks.join_next() => {
                ended??;
                Err(io::Error::other("a subscriber has ended"))
            }
        }
        .map(|(seconds, count)| {
            let deliveries = count * self.subscribers as u64;
            let times = publisher.progress.times();
            let at = |share: f64| times.get((times.len() as f64 * share) as usize);
            json!({
                "subscribers": self.subscribers, "messages": count, "deliveries": deliveries, "seconds": seconds,
                "p50": at(0.5), "p99": at(0.99), "max": times.last(),
            })
        })
    }
}

/// Takes messages for ever, and looks at each.
async fn subscribe(
    mut socket: Socket,
    dialect: Dialect,
    progress: Rc<Progress>,
    scratch: Rc<RefCell<Vec<u8>>>,
    ready: mpsc::UnboundedSender<()>,
) -> io::Result<()> {
    let expected = Cell::new(0);
    let mut owed = 0;
    loop {
        std::future::poll_fn(|cx| {
            // Filled in once for all that one read brings.
            let mut now = None;
            socket.poll(cx, &mut scratch.borrow_mut(), |heard, message, out| {
                match heard {
                    Heard::Answer => {
                        let _ = ready.send(());
                    }
                    Heard::Delivered => {
                        let sequence = template::sequence(message);
                        if sequence != Some(expected.get()) {
                            let (is, should) = (sequence, expected.get());
                            return Err(io::Error::other(format!("message {is:?} came instead of {should}")));
                        }
                        progress.received(expected.get(), *now.get_or_insert_with(Instant::now));
                        expected.set(expected.get() + 1);
                        if dialect.is_realtime() {
                            owed += message.len() as u64;
                            if owed >= CREDIT {
                                out.extend_from_slice(&dialect.credit(std::mem::take(&mut owed)));
                            }
                        }
                    }
                    _ => {}
                }
                Ok(())
            })
        })
        .await?;
    }
}

struct Publisher {
    socket: Socket,
    publishes: Publishes,
    progress: Rc<Progress>,
    scratch: Rc<RefCell<Vec<u8>>>,
    sent: u64,
    answered: bool,
}

impl Publisher {
    /// Warms up for a quarter of the time, then publishes for the time. Says how long it took until everybody had everything, and
    /// how many messages that were.
    async fn run(&mut self, pace: Pace, time: Duration) -> io::Result<(f64, u64)> {
        while !self.answered {
            self.turn(std::future::pending()).await?;
        }
        self.publish(pace, time / 4).await?;
        if let Pace::Rate(_) = pace {
            self.progress.measure();
        }
        say("begin")?;
        let (begun, before) = (Instant::now(), self.sent);
        self.publish(pace, time).await?;
        let seconds = begun.elapsed().as_secs_f64();
        say("end")?;
        Ok((seconds, self.sent - before))
    }

    async fn publish(&mut self, pace: Pace, time: Duration) -> io::Result<()> {
        let begun = Instant::now();
        match pace {
            Pace::Window(window) => {
                while begun.elapsed() < time {
                    self.send(window.saturating_sub(self.progress.under_way()));
                    self.received().await?;
                }
            }
            Pace::Rate(rate) => {
                for number in 0..(time.as_secs_f64() * f64::from(rate)) as u32 {
                    let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
                    while Instant::now() < due {
                        self.turn(tokio::time::sleep_until(due.into())).await?;
                    }
                    self.send(1);
                }
            }
        }
        while self.progress.done() < self.sent {
            self.received().await?;
        }
        Ok(())
    }

    fn send(&mut self, count: u64) {
        let now = Instant::now();
        for _ in 0..count {
            self.progress.sent(now);
            self.publishes.push(self.sent, &mut self.socket.out);
            self.sent += 1;
        }
        self.publishes.finish(&mut self.socket.out);
    }

    /// Waits until a message has reached everybody.
    async fn received(&mut self) -> io::Result<()> {
        let before = self.progress.done();
        let progress = self.progress.clone();
        let waiting = async {
            while progress.done() == before {
                progress.changed().await;
            }
        };
        let changed = async {
            let lost = format!("message {before} did not reach everybody");
            tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| io::Error::other(lost))
        };
        self.turn_until(changed).await?
    }

    async fn turn(&mut self, until: impl Future<Output = ()>) -> io::Result<()> {
        let mut until = std::pin::pin!(until);
        let Self { socket, scratch, answered, .. } = self;
        std::future::poll_fn(|cx| {
            let polled = socket.poll(cx, &mut scratch.borrow_mut(), |heard, _, _| {
                *answered |= heard == Heard::Answer;
                Ok(())
            })?;
            if polled.is_ready() || until.as_mut().poll(cx).is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Reads and writes until something else is ready.
    async fn turn_until<T>(&mut self, until: impl Future<Output = T>) -> io::Result<T> {
        let mut until = std::pin::pin!(until);
        let Self { socket, scratch, .. } = self;
        std::future::poll_fn(|cx| {
            while socket.poll(cx, &mut scratch.borrow_mut(), |_, _, _| Ok(()))?.is_ready() {}
            until.as_mut().poll(cx).map(Ok)
        })
        .await
    }
}
