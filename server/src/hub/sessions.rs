use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use realtime_engine::wire::ErrorCode;

use super::ids::{ConnectionId, IdMap};
use super::journal::Outcome;
use super::streams::StreamKey;

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
    /// Numbers of records that have to go from the store.
    retired: Vec<u64>,
    /// Where forgotten sessions were present.
    ended: Vec<Tracked>,
}

/// A presence of a session that ends.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) stream: StreamKey,
    pub(super) reference: Arc<str>,
    /// When the client was last heard of.
    pub(super) seen_at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) user: Option<Arc<str>>,
    pub(super) session: Arc<str>,
}

/// What a client has sent, and was answered.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: Name,
    pub(super) connection: Option<ConnectionId>,
    gone_since: u64,
    /// When it was last heard of, once it has no connection.
    seen_at: u64,
    /// Its references in the channels where it is present.
    pub(super) tracked: BTreeMap<StreamKey, Arc<str>>,
    /// The last ids with their outcomes, in increasing order.
    outcomes: VecDeque<Settled>,
    window: usize,
    /// Its number in the store, 0 where the store does not know it.
    pub(super) record: u64,
    /// Above the outcomes: ids that wait for the disk, in increasing order.
    staged: VecDeque<Request>,
    /// An id that was refused for now, and the code: later ids wait for it.
    held: Option<(u64, ErrorCode)>,
}

#[derive(Debug)]
struct Settled {
    id: u64,
    outcome: Outcome,
    /// Its number in the store, 0 without one.
    record: u64,
}

/// A publish or send whose answer waits for the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) id: u64,
    /// Who is to be answered.
    pub(super) connection: ConnectionId,
    /// It came again meanwhile, on another connection.
    pub(super) duplicate: bool,
}

/// What to do with an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    Repeat(Outcome),
    /// Its outcome waits for the disk, and is told then.
    Staged,
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
        let key = self.insert(name, Some(connection), 0, window, 0);
        Opened { key, resumed: false, replaced: None }
    }

    /// Takes a session out of a store, whose connection is gone since now.
    pub(super) fn restore(&mut self, now: u64, name: Name, window: usize, record: u64) -> Option<SessionKey> {
        if self.names.contains_key(&name) {
            return None;
        }
        let key = self.insert(name, None, now, window, record);
        self.gone.insert((now, key));
        Some(key)
    }

    fn insert(
        &mut self,
        name: Name,
        connection: Option<ConnectionId>,
        gone_since: u64,
        window: usize,
        record: u64,
    ) -> SessionKey {
        let key = self.next;
        self.next += 1;
        self.names.insert(name.clone(), key);
        self.sessions.insert(
            key,
            Session {
                name,
                connection,
                gone_since,
                seen_at: gone_since,
                tracked: BTreeMap::new(),
                outcomes: VecDeque::new(),
                window: window.max(1),
                record,
                staged: VecDeque::new(),
                held: None,
            },
        );
        key
    }

    /// Starts the time to live, unless another connection has the session by now. Says whether it is present anywhere.
    pub(super) fn leave(&mut self, now: u64, key: SessionKey, connection: ConnectionId, seen_at: u64) -> bool {
        if let Some(session) = self.sessions.get_mut(&key)
            && session.connection == Some(connection)
        {
            session.connection = None;
            session.gone_since = now;
            session.seen_at = seen_at;
            self.gone.insert((now, key));
            return !session.tracked.is_empty();
        }
        false
    }

    /// Forgets what is gone since before `oldest`, and the longest gone over `count`. Returns how many.
    pub(super) fn forget(&mut self, oldest: u64, count: usize) -> u64 {
        let mut forgotten = 0;
        while let Some(&(since, key)) = self.gone.first() {
            if since >= oldest && self.sessions.len() <= count {
                break;
            }
            self.gone.pop_first();
            if let Some(mut session) = self.sessions.remove(&key) {
                self.ended.append(&mut session.take_tracked());
                self.names.remove(&session.name);
                let outcomes = session.outcomes.iter().map(|settled| settled.record);
                self.retired.extend(outcomes.chain([session.record]).filter(|record| *record != 0));
                forgotten += 1;
            }
        }
        forgotten
    }

    pub(super) fn session(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(&key)
    }

    /// Remembers a final outcome of a new id, under its number in the store.
    pub(super) fn settle(&mut self, key: SessionKey, id: u64, outcome: Outcome, record: u64) {
        if let Some(session) = self.sessions.get_mut(&key) {
            while session.outcomes.len() >= session.window {
                let oldest = session.outcomes.pop_front().map_or(0, |settled| settled.record);
                self.retired.extend((oldest != 0).then_some(oldest));
            }
            session.outcomes.push_back(Settled { id, outcome, record });
        }
    }

    /// Takes an outcome out of a store; `false` where the ids do not increase.
    pub(super) fn restore_outcome(&mut self, key: SessionKey, id: u64, outcome: Outcome, record: u64) -> bool {
        let newest = self.sessions.get(&key).and_then(|session| session.outcomes.back());
        let increases = newest.is_none_or(|newest| id > newest.id);
        self.settle(key, id, outcome, record);
        increases
    }

    /// Numbers of records that have to go from the store since the last time.
    pub(super) fn take_retired(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.retired)
    }

    /// Where sessions that were forgotten since the last time were present.
    pub(super) fn take_ended(&mut self) -> Vec<Tracked> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

impl Session {
    /// Since when it has no connection.
    pub(super) fn gone_since(&self) -> Option<u64> {
        self.connection.is_none().then_some(self.gone_since)
    }

    /// Where it was present: it is no more.
    pub(super) fn take_tracked(&mut self) -> Vec<Tracked> {
        let seen_at = self.seen_at;
        let tracked = std::mem::take(&mut self.tracked).into_iter();
        tracked.map(|(stream, reference)| Tracked { stream, reference, seen_at }).collect()
    }

    /// Looks at an id before anything is done with it.
    pub(super) fn check(&mut self, id: u64, connection: ConnectionId) -> Verdict {
        if super::mutant("no-idempotency") {
            return Verdict::New;
        }
        if let Ok(index) = self.staged.binary_search_by_key(&id, |request| request.id) {
            let request = &mut self.staged[index];
            request.duplicate |= request.connection != connection;
            request.connection = connection;
            return Verdict::Staged;
        }
        if self.outcomes.back().is_some_and(|newest| id <= newest.id)
            || self.staged.back().is_some_and(|newest| id < newest.id)
        {
            return match self.outcomes.binary_search_by_key(&id, |settled| settled.id) {
                Ok(index) => Verdict::Repeat(self.outcomes[index].outcome.clone()),
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

    /// An id waits for the disk.
    pub(super) fn stage(&mut self, id: u64, connection: ConnectionId) {
        self.staged.push_back(Request { id, connection, duplicate: false });
    }

    /// The lowest id that waits does so no more: says whom to answer.
    pub(super) fn unstage(&mut self, id: u64) -> Option<Request> {
        let request = self.staged.front().copied().filter(|request| request.id == id)?;
        self.staged.pop_front();
        Some(request)
    }

    /// How many ids wait for the disk.
    pub(super) fn staged(&self) -> u64 {
        self.staged.len() as u64
    }

    /// Refused for now: later ids are refused too until this one comes again.
    pub(super) fn hold(&mut self, id: u64, code: ErrorCode) {
        if self.held.is_none_or(|(held, _)| id < held) && !super::mutant("no-hold-up") {
            self.held = Some((id, code));
        }
    }
}
