use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use realtime_engine::Timestamp;
use tokio::time::{Instant, Sleep};

use crate::clock::Clock;

/// A deadline that a session set anew would fire at once; this much between two ticks keeps a fault from burning the CPU.
const PAUSE: Duration = Duration::from_millis(1);

/// The one timer of a driver. Touches tokio's timers only where the deadline changes.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Option<Timestamp>,
    fired: Option<Instant>,
}

impl Alarm {
    pub(crate) fn set(&mut self, deadline: Option<Timestamp>, clock: &Clock) {
        if deadline == self.deadline {
            return;
        }
        self.deadline = deadline;
        let Some(deadline) = deadline else { return };
        let mut at = Instant::from_std(clock.instant(deadline));
        if let Some(fired) = self.fired {
            at = at.max(fired + PAUSE);
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Whether there is no deadline.
    pub(crate) fn is_off(&self) -> bool {
        self.deadline.is_none()
    }

    /// Whether the deadline has come; it says so once.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(sleep) = self.sleep.as_mut().filter(|_| self.deadline.is_some()) else { return false };
        if sleep.as_mut().poll(cx) == Poll::Pending {
            return false;
        }
        self.deadline = None;
        self.fired = Some(Instant::now());
        true
    }
}
