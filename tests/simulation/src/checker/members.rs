//! Who is present: what clients say of themselves, what the server makes of it, and what those who watch see.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::collections::Fields;
use super::{Checker, Invariant};
use crate::guard::user_name;

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) key: Option<String>,
    pub(crate) status: &'static str,
    pub(crate) state: Fields,
}

/// A meta, as the server has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Meta {
    pub(crate) reference: String,
    pub(crate) key: String,
    pub(crate) verified: bool,
    pub(crate) status: &'static str,
    pub(crate) state: Fields,
    pub(crate) joined_at: u64,
    pub(crate) seen_at: u64,
}

/// Whether it is verified, and its key.
type Name = (bool, String);

#[derive(Debug, Default)]
pub(super) struct Members {
    says: BTreeMap<(usize, usize), Says>,
    /// Of each channel, by reference.
    server: BTreeMap<usize, BTreeMap<String, Meta>>,
    /// How often the last meta of a member went, but for restarts.
    went: BTreeMap<(usize, Name), u32>,
    /// How often a client left a member, of which others may still be.
    parted: BTreeMap<(usize, usize, Name), u32>,
    restarts: Vec<u64>,
    /// When the server heard last of a client.
    heard: BTreeMap<usize, u64>,
    /// What a client sees of a channel.
    seen: BTreeMap<(usize, usize), Seen>,
}

/// What a client wants to be said, in one channel.
#[derive(Debug, Default)]
struct Says {
    now: Option<Said>,
    accepted: Option<Said>,
    /// Calls without an end, and what was wanted from then on.
    open: BTreeMap<u64, Option<Said>>,
    ever: Vec<Said>,
}

#[derive(Debug, Default)]
struct Seen {
    watched: bool,
    members: BTreeMap<Name, Value>,
    left: BTreeMap<Name, u32>,
}

impl Checker {
    pub(crate) fn says(&self, client: usize, channel: usize) -> Option<&Said> {
        self.members.says.get(&(client, channel))?.now.as_ref()
    }

    /// A client calls `track`, `update` or `untrack`.
    pub(crate) fn tracks(&mut self, client: usize, channel: usize, n: u64, said: Option<Said>) {
        self.tracked += 1;
        let says = self.members.says.entry((client, channel)).or_default();
        says.now.clone_from(&said);
        says.ever.extend(said.clone());
        says.open.insert(n, said);
    }

    pub(crate) fn track_ends(&mut self, client: usize, channel: usize, n: u64, code: Option<&str>) {
        let may = self.may_publish(client, channel);
        let says = self.members.says.entry((client, channel)).or_default();
        let Some(said) = says.open.remove(&n) else {
            return self.violation(Invariant::EverySendEnds, format!("track {client}/{n} ended twice"));
        };
        let replaced = !says.open.is_empty();
        match code {
            None => says.accepted = said.clone(),
            Some(_) if says.open.is_empty() => says.now.clone_from(&says.accepted),
            Some(_) => {}
        }
        let fits = match code {
            // One that the next call replaced ends with that.
            None => may || said.is_none() || replaced,
            Some("closed" | "max_attempts") => true,
            Some("forbidden") => !may,
            Some(_) => false,
        };
        if !fits {
            let what = format!("track {client}/{n} in channel {channel} ended with {code:?}; it may: {may}");
            self.violation(Invariant::EverySendEnds, what);
        }
    }

    /// The server hears of a client.
    pub(crate) fn heard(&mut self, client: usize) {
        self.members.heard.insert(client, self.now);
    }

    pub(super) fn members_lost(&mut self) {
        self.members.server.clear();
        self.members.restarts.push(self.now);
    }

    /// The metas of a channel as they are now; `untracks` is the client that has just said that it leaves.
    pub(crate) fn present(&mut self, channel: usize, metas: Vec<Meta>, untracks: Option<usize>) {
        let metas: BTreeMap<String, Meta> = metas.into_iter().map(|meta| (meta.reference.clone(), meta)).collect();
        let before = self.members.server.entry(channel).or_default();
        if *before == metas {
            return;
        }
        let before = std::mem::replace(before, metas.clone());
        for (reference, meta) in &metas {
            if before.get(reference) != Some(meta) {
                self.comes(channel, meta);
            }
        }
        let names: BTreeSet<Name> = metas.values().map(Meta::name).collect();
        for meta in before.values().filter(|meta| !metas.contains_key(&meta.reference)) {
            let client = client_of(&meta.state).unwrap_or_default();
            let since = self.members.heard.get(&client).copied().unwrap_or(0);
            // The server counts in whole milliseconds.
            if untracks != Some(client) && self.now + 1000 < since + self.server.grace {
                let what = format!("{meta:?} went {} µs after the client was heard of", self.now - since);
                self.violation(Invariant::WhoIsThere, what);
            }
        }
        for meta in before.values() {
            if metas.get(&meta.reference).map(Meta::name) != Some(meta.name()) {
                let client = client_of(&meta.state).unwrap_or_default();
                *self.members.parted.entry((client, channel, meta.name())).or_default() += 1;
            }
        }
        // A client may also say to be somebody else.
        for name in before.values().map(Meta::name).collect::<BTreeSet<_>>() {
            if !names.contains(&name) {
                *self.members.went.entry((channel, name)).or_default() += 1;
            }
        }
    }

    /// A meta is new, or another than before.
    fn comes(&mut self, channel: usize, meta: &Meta) {
        let client = client_of(&meta.state).unwrap_or(usize::MAX);
        let says = self.members.says.get(&(client, channel));
        let said = says
            .and_then(|says| says.ever.iter().find(|said| (said.status, &said.state) == (meta.status, &meta.state)));
        let Some(said) = said else {
            return self.violation(Invariant::OneHistory, format!("nobody said {meta:?} in channel {channel}"));
        };
        let key = match self.server.verifies {
            true => user_name(client),
            false => said.key.clone().unwrap_or_else(|| meta.reference.clone()),
        };
        if (meta.verified, &meta.key) != (self.server.verifies, &key) {
            self.violation(Invariant::Allowed, format!("client {client} passes for {meta:?}, and is {key:?}"));
        }
        if !self.may_publish(client, channel) {
            self.violation(Invariant::Allowed, format!("{meta:?} is present in channel {channel}, and may not"));
        }
    }

    pub(crate) fn looks_on(&mut self, client: usize, channel: usize, watched: bool) {
        self.members.seen.entry((client, channel)).or_default().watched = watched;
    }

    pub(crate) fn is_looking_on(&self, client: usize, channel: usize) -> bool {
        self.members.seen.get(&(client, channel)).is_some_and(|seen| seen.watched)
    }

    /// An application was told who came, changed and went.
    pub(crate) fn presence(&mut self, client: usize, channel: usize, json: &[u8]) {
        let value: Value = serde_json::from_slice(json).unwrap_or_default();
        if !self.is_looking_on(client, channel) && value["sync"] == false && value["leave"] != Value::Array(vec![]) {
            // Watched no more: what was seen stays.
            self.violation(
                Invariant::WhoIsThere,
                format!("client {client} does not watch {channel}, and was told {value}"),
            );
        }
        for (list, kind) in [("join", 0), ("update", 1), ("leave", 2)] {
            for user in value[list].as_array().into_iter().flatten() {
                self.told_of(client, channel, kind, user.clone());
            }
        }
    }

    fn told_of(&mut self, client: usize, channel: usize, kind: u32, user: Value) {
        self.changes += 1;
        let name = (user["verified"] == true, user["id"].as_str().unwrap_or_default().to_owned());
        let seen = self.members.seen.entry((client, channel)).or_default();
        let before =
            if kind == 2 { seen.members.remove(&name) } else { seen.members.insert(name.clone(), user.clone()) };
        let fits = match kind {
            0 => before.is_none(),
            1 => before.as_ref().is_some_and(|before| *before != user),
            _ => before.is_some(),
        };
        if !fits {
            let what = format!(
                "client {client} channel {channel}: {} of {user} over {before:?}",
                ["join", "update", "leave"][kind as usize]
            );
            self.violation(Invariant::WhoIsThere, what);
        }
        if kind == 2 {
            self.told_gone(client, channel, name);
        }
    }

    /// Who went was gone, or did not come back after a restart.
    fn told_gone(&mut self, client: usize, channel: usize, name: Name) {
        let Some(seen) = self.members.seen.get_mut(&(client, channel)) else { return };
        let left = seen.left.entry(name.clone()).or_default();
        *left += 1;
        let (left, now, grace) = (*left, self.now, self.server.grace);
        let went = self.members.went.get(&(channel, name.clone())).copied().unwrap_or(0);
        let lost = self.members.restarts.iter().filter(|at| now + 1000 >= **at + grace).count() as u32;
        // Of itself a client knows before the stream tells it, which may yet tell who came and went before that.
        let parted = self.members.parted.get(&(client, channel, name.clone())).copied().unwrap_or(0);
        if parted == 0 && left > went + lost {
            let what = format!("client {client} channel {channel}: {name:?} is told gone {left} times and went {went}");
            self.violation(Invariant::WhoIsThere, what);
        }
    }

    /// After everything: those who say that they are there are there, each once, and all who watch see them.
    pub(crate) fn presence_ends(&mut self, channel: usize, clients: &[usize]) {
        let metas = self.members.server.get(&channel).cloned().unwrap_or_default();
        let mut there: BTreeMap<usize, &Meta> = BTreeMap::new();
        for meta in metas.values() {
            let client = client_of(&meta.state).unwrap_or(usize::MAX);
            if there.insert(client, meta).is_some() {
                self.violation(Invariant::WhoIsThere, format!("client {client} is twice in channel {channel}"));
            }
        }
        for client in clients {
            let said = self.says(*client, channel).filter(|_| self.may_publish(*client, channel));
            let found = there.get(client).map(|meta| (meta.status, &meta.state));
            if said.map(|said| (said.status, &said.state)) != found {
                let what = format!("client {client} channel {channel} says {said:?}, and the server has {found:?}");
                self.violation(Invariant::WhoIsThere, what);
            }
        }
        for client in clients {
            if self.is_looking_on(*client, channel) && self.may_subscribe(*client, channel) {
                self.sees_all(*client, channel, metas.values());
            }
        }
    }

    fn sees_all<'a>(&mut self, client: usize, channel: usize, metas: impl Iterator<Item = &'a Meta>) {
        let mut members: BTreeMap<Name, Vec<&Meta>> = BTreeMap::new();
        metas.for_each(|meta| members.entry(meta.name()).or_default().push(meta));
        let seen = self.members.seen.entry((client, channel)).or_default().members.clone();
        for name in seen.keys().chain(members.keys()).cloned().collect::<BTreeSet<_>>() {
            let fits = match (seen.get(&name), members.get(&name)) {
                (Some(user), Some(metas)) => is_member_of(user, metas, client),
                _ => false,
            };
            if !fits {
                let (user, metas) = (seen.get(&name), members.get(&name));
                let what = format!("client {client} sees {user:?} in channel {channel}, there are {metas:?}");
                self.violation(Invariant::WhoIsThere, what);
            }
        }
    }

    pub(super) fn presence_settled(&mut self) {
        let open = self.members.says.iter().flat_map(|((client, _), says)| says.open.keys().map(|n| (*client, *n)));
        for id in open.collect::<Vec<_>>() {
            self.violation(Invariant::EverySendEnds, format!("track {id:?} never ended"));
        }
    }
}

impl Meta {
    fn name(&self) -> Name {
        (self.verified, self.key.clone())
    }
}

/// The client that a state names.
fn client_of(state: &Fields) -> Option<usize> {
    usize::try_from(state.get("client")?.as_u64()?).ok()
}

/// Whether a member is what its metas make, for this client.
fn is_member_of(user: &Value, metas: &[&Meta], client: usize) -> bool {
    let best = ["online", "busy", "away"].into_iter().find(|status| metas.iter().any(|meta| meta.status == *status));
    let newest = metas.iter().map(|meta| meta.seen_at).max();
    let state = |meta: &&&Meta| Some(meta.seen_at) == newest && user["state"].as_object() == Some(&meta.state);
    user["status"].as_str() == best
        && user["connections"].as_u64() == Some(metas.len() as u64)
        && user["joinedAt"].as_u64() == metas.iter().map(|meta| meta.joined_at).min()
        && metas.iter().any(|meta| state(&meta))
        && user["self"] == metas.iter().any(|meta| client_of(&meta.state) == Some(client))
}
