use bytes::Bytes;

use crate::io::{RequestId, Text};
use crate::time::Timestamp;
use crate::wire::PresenceStatus;

/// What this client says of itself in a channel, and what it has told the server of that. One request at a time is open: what
/// changes meanwhile is said once, as it is then.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    /// What the application wants to be said.
    pub(crate) wanted: Option<Said>,
    /// What the server has accepted last.
    accepted: Option<Said>,
    /// `accepted` was said on this connection.
    accepted_here: bool,
    /// The server may have a meta of this client.
    pub(crate) present: bool,
    /// There is something to say.
    dirty: bool,
    /// What is said and not answered.
    open: Option<Open>,
    /// The application's requests that what is to be said completes.
    waiting: Vec<RequestId>,
    /// The server asked to say it again, not before then.
    pub(crate) retry_at: Option<Timestamp>,
}

/// What is said of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) key: Option<Text>,
    pub(crate) status: PresenceStatus,
    pub(crate) state: Bytes,
}

#[derive(Debug)]
struct Open {
    id: u64,
    said: Option<Said>,
    requests: Vec<RequestId>,
}

/// What is to be said next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Track(Said),
    Untrack,
    /// Nothing has to be said: the requests are done.
    Done(Vec<RequestId>),
}

impl Tracking {
    /// The application wants something else to be said.
    pub(crate) fn want(&mut self, request: RequestId, said: Option<Said>) {
        self.wanted = said;
        self.waiting.push(request);
        self.dirty = true;
    }

    /// Requests of the application that are not done.
    pub(crate) fn requests(&self) -> usize {
        self.waiting.len() + self.open.as_ref().map_or(0, |open| open.requests.len())
    }

    /// The server has it, as it is wanted, on this connection.
    pub(crate) fn is_acknowledged(&self) -> bool {
        !self.dirty && self.open.is_none() && self.accepted_here
    }

    /// What is to be said next. `connected`: it can be said now; then [`said`](Self::said) follows.
    pub(crate) fn next(&mut self, now: Timestamp, connected: bool) -> Option<Next> {
        if !self.dirty || self.open.is_some() {
            return None;
        }
        if self.wanted.is_none() && (!self.present || crate::mutant("untrack-in-silence")) {
            self.dirty = false;
            self.accepted = None;
            return Some(Next::Done(std::mem::take(&mut self.waiting)));
        }
        if !connected || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        self.retry_at = None;
        Some(self.wanted.clone().map_or(Next::Untrack, Next::Track))
    }

    /// It was said, by the request with this id.
    pub(crate) fn said(&mut self, id: u64) {
        self.dirty = false;
        self.present = true;
        self.open = Some(Open { id, said: self.wanted.clone(), requests: std::mem::take(&mut self.waiting) });
    }

    pub(crate) fn is_open(&self, id: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.id == id)
    }

    /// The server has accepted what was said: the requests that are done.
    pub(crate) fn accepted(&mut self, id: u64) -> Vec<RequestId> {
        let Some(open) = self.open.take_if(|open| open.id == id) else { return Vec::new() };
        self.present = open.said.is_some();
        self.accepted = open.said;
        self.accepted_here = true;
        open.requests
    }

    /// What the server has accepted last.
    pub(crate) fn said_last(&self) -> Option<&Said> {
        self.accepted.as_ref()
    }

    /// The server has refused it for now.
    pub(crate) fn refused_for_now(&mut self, id: u64, until: Timestamp) {
        if self.is_open(id) {
            self.reopen();
            self.retry_at = Some(until);
        }
    }

    /// The server has refused it: the requests that have failed. What was said before holds, unless it is that which was refused.
    pub(crate) fn refused(&mut self, id: u64) -> Vec<RequestId> {
        let Some(open) = self.open.take_if(|open| open.id == id) else { return Vec::new() };
        if open.said == self.accepted {
            self.accepted = None;
        }
        if !self.dirty {
            self.wanted = self.accepted.clone();
            self.dirty = self.wanted.is_some() && !self.accepted_here;
        }
        open.requests
    }

    /// The connection is gone.
    pub(crate) fn left(&mut self) {
        self.reopen();
        self.accepted_here = false;
        self.retry_at = None;
        self.dirty =
            (self.wanted.is_some() || self.present) && !crate::mutant("tracked-once") || !self.waiting.is_empty();
    }

    /// Everything unanswered has failed; those are the requests. What the server accepted is wanted again on the next connection.
    pub(crate) fn fail_all(&mut self) -> Vec<RequestId> {
        self.reopen();
        let failed = std::mem::take(&mut self.waiting);
        if !failed.is_empty() {
            self.wanted = self.accepted.clone();
        }
        self.dirty = self.wanted.is_some() || self.present;
        failed
    }

    /// What is unanswered is to be said again.
    fn reopen(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.requests.append(&mut self.waiting);
            self.waiting = open.requests;
            self.dirty = true;
        }
    }
}
