use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use realtime_engine::wire::ErrorCode;

use super::ids::{ConnectionId, IdMap};

/// Names a session inside the hub.
pub(super) type SessionKey = u64;

/// The sessions that are remembered: those with a connection, and the last ones without.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    names: HashMap<Name, SessionKey>,
    sessions: IdMap<SessionKey, Session>,
    /// Without a connection, the longest gone first.
    gone: BTreeSet<(u64, SessionKey)>,
    next: SessionKey,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    user: Option<Arc<str>>,
    session: Arc<str>,
}

/// What a client has sent, and was answered.
#[derive(Debug)]
pub(super) struct Session {
    name: Name,
    pub(super) connection: Option<ConnectionId>,
    gone_since: u64,
    /// The last ids with their outcomes, in increasing order.
    outcomes: VecDeque<(u64, Outcome)>,
    window: usize,
    /// An id that was refused for now, and the code: later ids wait for it.
    held: Option<(u64, ErrorCode)>,
}

/// The final answer to a publish or send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored { epoch: Arc<str>, offset: u64 },
    Sent,
    Refused(ErrorCode),
}

/// What to do with an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    Repeat(Outcome),
    /// An earlier id has to come first.
    Held(ErrorCode),
    /// So old that its outcome is forgotten.
    Forgotten,
}

/// The session that a connection was given.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) key: SessionKey,
    pub(super) resumed: bool,
    /// The connection that has lost it.
    pub(super) replaced: Option<ConnectionId>,
}

impl Sessions {
    pub(super) fn open(
        &mut self,
        user: Option<Arc<str>>,
        session: &str,
        connection: ConnectionId,
        window: usize,
    ) -> Opened {
        let name = Name { user, session: session.into() };
        if let Some(&key) = self.names.get(&name)
            && let Some(session) = self.sessions.get_mut(&key)
        {
            self.gone.remove(&(session.gone_since, key));
            // On a new connection the client begins with its lowest unanswered id, so that nothing can overtake.
            session.held = None;
            return Opened { key, resumed: true, replaced: session.connection.replace(connection) };
        }
        let key = self.next;
        self.next += 1;
        self.names.insert(name.clone(), key);
        self.sessions.insert(
            key,
            Session {
                name,
                connection: Some(connection),
                gone_since: 0,
                outcomes: VecDeque::new(),
                window: window.max(1),
                held: None,
            },
        );
        Opened { key, resumed: false, replaced: None }
    }

    /// Starts the time to live, unless another connection has the session by now.
    pub(super) fn leave(&mut self, now: u64, key: SessionKey, connection: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(&key)
            && session.connection == Some(connection)
        {
            session.connection = None;
            session.gone_since = now;
            self.gone.insert((now, key));
        }
    }

    /// Forgets what is gone since before `oldest`, and the longest gone over `count`. Returns how many.
    pub(super) fn forget(&mut self, oldest: u64, count: usize) -> u64 {
        let mut forgotten = 0;
        while let Some(&(since, key)) = self.gone.first() {
            if since >= oldest && self.sessions.len() <= count {
                break;
            }
            self.gone.pop_first();
            if let Some(session) = self.sessions.remove(&key) {
                self.names.remove(&session.name);
                forgotten += 1;
            }
        }
        forgotten
    }

    pub(super) fn session(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

impl Session {
    /// Looks at an id before anything is done with it.
    pub(super) fn check(&mut self, id: u64) -> Verdict {
        if self.outcomes.back().is_some_and(|(newest, _)| id <= *newest) {
            return match self.outcomes.binary_search_by_key(&id, |(id, _)| *id) {
                Ok(index) => Verdict::Repeat(self.outcomes[index].1.clone()),
                Err(_) => Verdict::Forgotten,
            };
        }
        match self.held {
            Some((held, code)) if id > held => Verdict::Held(code),
            Some((held, _)) if id == held => {
                self.held = None;
                Verdict::New
            }
            _ => Verdict::New,
        }
    }

    /// Remembers a final outcome of a new id.
    pub(super) fn settle(&mut self, id: u64, outcome: Outcome) {
        if self.outcomes.len() >= self.window {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back((id, outcome));
    }

    /// Refused for now: later ids are refused too until this one comes again.
    pub(super) fn hold(&mut self, id: u64, code: ErrorCode) {
        self.held = Some((id, code));
    }
}
