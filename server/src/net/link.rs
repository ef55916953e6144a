use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use realtime_engine::wire::CloseCode;

/// How the hub reaches the task of a connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    ready: AtomicBool,
    closing: AtomicBool,
    close: Mutex<Option<Close>>,
    waker: AtomicWaker,
}

/// What a close frame says.
pub(super) type Close = (CloseCode, Cow<'static, str>);

impl Link {
    /// There is something to pull.
    pub(super) fn ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// The hub wants the connection to end.
    pub(super) fn close(&self, close: Close) {
        *self.close.lock().unwrap_or_else(PoisonError::into_inner) = Some(close);
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    pub(super) fn take_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.ready.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take_close(&self) -> Option<Close> {
        if !self.closing.load(Ordering::Acquire) {
            return None;
        }
        self.close.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
