use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::io::{Text, keep, slice};
use crate::time::Timestamp;
use crate::tracking::Said;
use crate::wire::{Left, Meta, PresenceStatus, text};

/// What a meta costs besides its bytes.
const OVERHEAD: usize = 128;

/// The presence of a channel: the metas of its sessions, and the members that they make.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    metas: BTreeMap<Text, Seen>,
    members: BTreeMap<Member, BTreeSet<Text>>,
    staged: Option<Staged>,
    /// The epoch that the metas are of.
    epoch: Option<String>,
    /// How long metas are kept that another epoch does not have.
    pub(crate) grace: Duration,
    /// Those, by when they are given up.
    ghosts: BTreeSet<(Timestamp, Text)>,
    /// This client's own meta.
    own: Option<Text>,
    /// That meta as the server has answered, which may be ahead of the stream: until that has come as far.
    ahead: Option<(Text, Seen)>,
    /// The own meta that this client has ended, of which the stream may still tell.
    ended: Option<Text>,
    bytes: usize,
}

/// What the server says of this client's own meta.
#[derive(Debug)]
pub(crate) struct Own<'a> {
    pub(crate) key: &'a str,
    pub(crate) reference: &'a str,
    pub(crate) verified: bool,
    pub(crate) joined_at: u64,
    pub(crate) seen_at: u64,
}

/// A member: whether the server vouches for it, and its key.
type Member = (bool, Text);

/// A meta.
#[derive(Clone, Debug)]
struct Seen {
    key: Text,
    verified: bool,
    status: PresenceStatus,
    state: Bytes,
    joined_at: u64,
    seen_at: u64,
    own: bool,
    /// The server has not told of it in this epoch; kept until then.
    until: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Staged {
    metas: BTreeMap<Text, Seen>,
    next_part: u64,
    end: Option<u64>,
    bytes: usize,
}

/// What an application sees of a member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct User {
    key: Text,
    verified: bool,
    status: PresenceStatus,
    state: Bytes,
    joined_at: u64,
    seen_at: u64,
    connections: usize,
    own: bool,
}

/// What changed of the members.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    join: Vec<User>,
    update: Vec<User>,
    leave: Vec<User>,
}

/// The members that something happens to, as they were before.
type Before = BTreeMap<Member, Option<User>>;

impl Presence {
    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// What it takes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.staged.as_ref().map_or(0, |staged| staged.bytes)
    }

    pub(crate) fn is_staging(&self) -> bool {
        self.staged.is_some()
    }

    /// The changes after a position follow, or else a snapshot.
    pub(crate) fn subscribed(&mut self, recovered: bool, grace: Option<u64>) {
        self.staged = (!recovered).then(Staged::default);
        self.grace = Duration::from_millis(grace.unwrap_or_default());
    }

    /// The connection is gone, or nobody watches: `false` where a snapshot is not whole.
    pub(crate) fn left(&mut self) -> bool {
        (self.ahead, self.ended) = (None, None);
        self.staged.take().is_none()
    }

    /// A page of a snapshot; `false` where it is not the next one.
    pub(crate) fn page(&mut self, frame: &Bytes, part: u64, end: Option<u64>, metas: &[Meta<'_>]) -> bool {
        if part == 0 {
            self.staged = Some(Staged::default());
        }
        let Some(staged) = self.staged.as_mut().filter(|staged| staged.next_part == part && staged.end.is_none())
        else {
            return false;
        };
        staged.next_part += 1;
        staged.end = end;
        for meta in metas {
            let state = slice(frame, meta.state);
            staged
                .put(Text::borrowed(frame, &meta.reference), Seen::new(Text::borrowed(frame, &meta.key), meta, state));
        }
        true
    }

    /// Takes the snapshot over, if it is whole at this offset.
    pub(crate) fn take_over(&mut self, now: Timestamp, epoch: &str, offset: u64) -> Option<Difference> {
        let mut staged = self.staged.take_if(|staged| staged.end.is_some_and(|end| offset >= end))?;
        if let Some(ended) = &self.ended {
            staged.remove(ended);
        }
        if let Some((reference, own)) = &self.ahead
            && staged.metas.get(reference).is_none_or(|staged| staged.seen_at < own.seen_at)
        {
            staged.put(reference.clone(), own.clone());
        }
        let restarted = self.epoch.replace(epoch.to_owned()).is_some_and(|before| before != epoch);
        let mut before = Before::new();
        for member in self.members.keys() {
            before.insert(member.clone(), self.user(member));
        }
        let gone: Vec<Text> =
            self.metas.keys().filter(|reference| !staged.metas.contains_key(*reference)).cloned().collect();
        for reference in gone {
            let until = self.metas.get(&reference).and_then(|meta| meta.until);
            match until {
                None if restarted && !self.grace.is_zero() && !crate::mutant("restart-empties-presence") => {
                    self.keep_until(&reference, now + self.grace)
                }
                Some(until) if until > now => {}
                _ => self.remove(&reference),
            }
        }
        for (reference, meta) in staged.metas {
            before.entry(meta.member()).or_insert(None);
            self.put(reference, meta);
        }
        Some(self.difference(before))
    }

    /// Changes came.
    pub(crate) fn changed(&mut self, frame: &Bytes, join: &[Meta<'_>], leave: &[Left<'_>]) -> Difference {
        let joins = join.iter().map(|meta| {
            let seen = Seen::new(Text::from(&*meta.key), meta, keep(frame, meta.state));
            (Text::from(&*meta.reference), seen)
        });
        if let Some(staged) = &mut self.staged {
            joins.for_each(|(reference, meta)| staged.put(reference, meta));
            leave.iter().for_each(|left| staged.remove(&left.reference));
            return Difference::default();
        }
        let mut before = Before::new();
        for (reference, meta) in joins {
            if self.ended.as_ref() == Some(&reference)
                || self.ahead.as_ref().is_some_and(|(own, ahead)| *own == reference && meta.seen_at < ahead.seen_at)
            {
                continue;
            }
            if let Some(old) = self.metas.get(&reference) {
                let member = old.member();
                self.touch(&mut before, member);
            }
            self.touch(&mut before, meta.member());
            self.put(reference, meta);
        }
        for left in leave {
            let Some(meta) = self.metas.get_mut(left.reference.as_bytes()) else { continue };
            meta.seen_at = meta.seen_at.max(left.seen_at);
            let (member, seen_at) = (meta.member(), meta.seen_at);
            self.touch(&mut before, member.clone());
            self.remove(&left.reference);
            if let Some(Some(user)) = before.get_mut(&member)
                && !self.members.contains_key(&member)
            {
                user.seen_at = seen_at;
            }
        }
        self.difference(before)
    }

    /// The names of all metas.
    pub(crate) fn references(&self) -> impl Iterator<Item = &Text> {
        self.metas.keys()
    }

    /// A client has told of itself, perhaps what is known.
    pub(crate) fn told(&mut self, meta: &Meta<'_>, state: Bytes) -> Difference {
        let reference = Text::from(&*meta.reference);
        let seen = Seen::new(Text::from(&*meta.key), meta, state);
        let mut before = Before::new();
        if let Some(old) = self.metas.get(&reference) {
            let same = |a: &Seen, b: &Seen| {
                (a.member(), a.status, &a.state, a.joined_at) == (b.member(), b.status, &b.state, b.joined_at)
            };
            if old.until.is_none() && same(old, &seen) {
                return Difference::default();
            }
            let member = old.member();
            self.touch(&mut before, member);
        }
        self.touch(&mut before, seen.member());
        self.put(reference, seen);
        self.difference(before)
    }

    /// Gives up what another epoch did not have, where its time is over.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Difference {
        let mut before = Before::new();
        while let Some((_, reference)) = self.ghosts.first().filter(|(until, _)| *until <= now).cloned() {
            if let Some(member) = self.metas.get(&reference).map(Seen::member) {
                self.touch(&mut before, member);
            }
            self.remove(&reference);
        }
        self.difference(before)
    }

    /// When to [`expire`](Self::expire).
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.ghosts.first().map(|(until, _)| *until)
    }

    /// The server has told which meta is this client's.
    pub(crate) fn own_is(&mut self, reference: &str) -> Difference {
        let mut before = Before::new();
        if let Some(member) = self.metas.get(reference.as_bytes()).filter(|meta| !meta.own).map(Seen::member) {
            self.touch(&mut before, member);
        }
        if let Some(meta) = self.metas.get_mut(reference.as_bytes()) {
            meta.own = true;
        }
        self.own = Some(Text::from(reference));
        self.difference(before)
    }

    /// The server has accepted what this client said of itself. The stream tells of it later, or told of it already.
    pub(crate) fn own_told(&mut self, own: &Own<'_>, said: &Said, watched: bool) -> Difference {
        let reference = Text::from(own.reference);
        let seen = Seen {
            key: Text::from(own.key),
            verified: own.verified,
            status: said.status,
            state: said.state.clone(),
            joined_at: own.joined_at,
            seen_at: own.seen_at,
            own: true,
            until: None,
        };
        let known = self.metas.get(&reference).map(Seen::member);
        let mut before = Before::new();
        for member in known.into_iter().chain([seen.member()]) {
            self.touch(&mut before, member);
        }
        (self.own, self.ended) = (Some(reference.clone()), None);
        self.ahead = Some((reference.clone(), seen.clone()));
        if watched && self.staged.is_none() {
            self.put(reference, seen);
        }
        self.difference(before)
    }

    /// The server has accepted that this client is not present any more.
    pub(crate) fn own_gone(&mut self, watched: bool) -> Difference {
        self.ahead = None;
        self.ended = self.own.take();
        let mut before = Before::new();
        if let Some(reference) = self.ended.clone()
            && let Some(member) = self.metas.get(&reference).map(Seen::member)
            && watched
            && self.staged.is_none()
        {
            self.touch(&mut before, member);
            self.remove(&reference);
        }
        self.difference(before)
    }

    fn touch(&self, before: &mut Before, member: Member) {
        if let Entry::Vacant(place) = before.entry(member) {
            let user = self.user(place.key());
            place.insert(user);
        }
    }

    fn difference(&self, before: Before) -> Difference {
        let mut difference = Difference::default();
        for (member, before) in before {
            match (before, self.user(&member)) {
                (None, Some(user)) => difference.join.push(user),
                (Some(before), Some(user)) if before != user => difference.update.push(user),
                (Some(before), None) => difference.leave.push(before),
                _ => {}
            }
        }
        difference
    }

    /// The member as its metas make it.
    fn user(&self, member: &Member) -> Option<User> {
        let references = self.members.get(member)?;
        let metas = || references.iter().filter_map(|reference| self.metas.get(reference));
        // By when it was said: clients agree, whatever they have seen change, and in which order a message told it.
        let last =
            references.iter().filter_map(|reference| Some((self.metas.get(reference)?.seen_at, reference))).max();
        let last = self.metas.get(last?.1)?;
        Some(User {
            key: member.1.clone(),
            verified: member.0,
            status: metas().map(|meta| meta.status).max().unwrap_or_default(),
            state: last.state.clone(),
            joined_at: metas().map(|meta| meta.joined_at).min().unwrap_or_default(),
            seen_at: last.seen_at,
            connections: references.len(),
            own: metas().any(|meta| meta.own),
        })
    }

    fn put(&mut self, reference: Text, mut meta: Seen) {
        self.remove(&reference);
        let member = meta.member();
        // One that came back under another name: its client was as busy reconnecting as this one.
        let ghost = self.members.get(&member).filter(|_| !self.ghosts.is_empty()).and_then(|references| {
            references
                .iter()
                .find(|reference| self.metas.get(*reference).is_some_and(|meta| meta.until.is_some()))
                .cloned()
        });
        if let Some(ghost) = ghost {
            self.remove(&ghost);
        }
        meta.own = self.own.as_ref() == Some(&reference);
        self.bytes += meta.size();
        self.members.entry(member).or_default().insert(reference.clone());
        self.metas.insert(reference, meta);
    }

    fn remove(&mut self, reference: &str) {
        let Some((reference, meta)) = self.metas.remove_entry(reference.as_bytes()) else { return };
        self.bytes -= meta.size();
        if let Some(until) = meta.until {
            self.ghosts.remove(&(until, reference.clone()));
        }
        let member = meta.member();
        if let Some(references) = self.members.get_mut(&member) {
            references.remove(&reference);
            if references.is_empty() {
                self.members.remove(&member);
            }
        }
    }

    fn keep_until(&mut self, reference: &Text, until: Timestamp) {
        if let Some(meta) = self.metas.get_mut(reference) {
            meta.until = Some(until);
            self.ghosts.insert((until, reference.clone()));
        }
    }
}

impl Staged {
    fn put(&mut self, reference: Text, meta: Seen) {
        self.remove(&reference);
        self.bytes += meta.size();
        self.metas.insert(reference, meta);
    }

    fn remove(&mut self, reference: &str) {
        if let Some(meta) = self.metas.remove(reference.as_bytes()) {
            self.bytes -= meta.size();
        }
    }
}

impl Seen {
    fn new(key: Text, meta: &Meta<'_>, state: Bytes) -> Self {
        Self {
            key,
            verified: meta.verified,
            status: meta.status,
            state,
            joined_at: meta.joined_at,
            seen_at: meta.seen_at,
            own: false,
            until: None,
        }
    }

    fn member(&self) -> Member {
        (self.verified, self.key.clone())
    }

    fn size(&self) -> usize {
        OVERHEAD + self.key.as_bytes().len() + self.state.len()
    }
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.join.is_empty() && self.update.is_empty() && self.leave.is_empty()
    }

    /// What the application is told.
    pub(crate) fn json(&self, sync: bool) -> Bytes {
        let mut out = Vec::with_capacity(64);
        for (name, users) in
            [("{\"join\":[", &self.join), ("],\"update\":[", &self.update), ("],\"leave\":[", &self.leave)]
        {
            out.extend_from_slice(name.as_bytes());
            for (at, user) in users.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                user.encode(&mut out);
            }
        }
        out.push(b']');
        text::boolean(&mut out, "sync", sync);
        out.push(b'}');
        Bytes::from(out)
    }
}

impl User {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        text::push_string(out, &self.key);
        text::boolean(out, "verified", self.verified);
        text::string(out, "status", self.status.as_str());
        text::key(out, "state");
        out.extend_from_slice(&self.state);
        text::number(out, "joinedAt", self.joined_at);
        text::number(out, "lastSeen", self.seen_at);
        text::number(out, "connections", self.connections as u64);
        text::boolean(out, "self", self.own);
        out.push(b'}');
    }
}
