//! What applications say of themselves, and who the server says is there.

use realtime_engine::wire::{Frame, PresenceStatus};
use realtime_engine::{ChannelId, RequestId, Timestamp};
use realtime_server::hub::{self, ConnectionId, Member};
use serde_json::{Map, Value, json};

use crate::checker::{Checker, Invariant, Meta, Said};
use crate::client::{Client, Of, name};
use crate::world::World;

const STATUSES: [PresenceStatus; 3] = [PresenceStatus::Online, PresenceStatus::Away, PresenceStatus::Busy];

impl Client {
    pub(crate) fn presence(&mut self, channel: usize) -> ChannelId {
        let id = self.session.presence(&name(channel)).unwrap();
        self.streams.insert(id, Of::Presence(channel));
        id
    }

    pub(crate) fn look_on(&mut self, now: Timestamp, channel: usize, checker: &mut Checker) {
        let id = self.presence(channel);
        checker.looks_on(self.index, channel, true);
        self.session.watch(now, id);
    }

    pub(crate) fn look_away(&mut self, now: Timestamp, channel: usize, checker: &mut Checker) {
        let id = self.presence(channel);
        checker.looks_on(self.index, channel, false);
        self.session.unsubscribe(now, id);
    }

    pub(crate) fn track(&mut self, now: Timestamp, channel: usize, rng: &mut fastrand::Rng, checker: &mut Checker) {
        let (id, n) = (self.presence(channel), self.next + 1);
        // Several clients say to be the same user; where the server knows better, some lie.
        let key = (rng.u32(0..5) > 0).then(|| format!("user-{}", self.index % 3));
        let status = STATUSES[rng.usize(0..3)];
        let mut state = Map::new();
        state.insert("client".into(), json!(self.index));
        state.insert("n".into(), json!(n));
        state.insert("mood".into(), json!("\u{263a}\"".repeat(rng.usize(0..30))));
        let text = Value::Object(state.clone()).to_string();
        let result = self.session.track(now, RequestId(n), id, key.as_deref(), status, text.as_bytes());
        let said = Said { key, status: status.as_str(), state };
        self.tracked(channel, n, Some(said), result, checker);
    }

    pub(crate) fn update(&mut self, now: Timestamp, channel: usize, rng: &mut fastrand::Rng, checker: &mut Checker) {
        let (id, n) = (self.presence(channel), self.next + 1);
        let status = rng.bool().then(|| STATUSES[rng.usize(0..3)]);
        let patch = rng.bool().then(|| json!({ "n": n, "typing": rng.bool() }));
        let text = patch.as_ref().map(Value::to_string);
        let result = self.session.update_presence(now, RequestId(n), id, status, text.as_deref().map(str::as_bytes));
        let Some(mut said) = checker.says(self.index, channel).cloned() else {
            if result.map_err(|error| error.code()).is_ok() {
                checker.violation(Invariant::WhoIsThere, format!("client {} changed what it never said", self.index));
            }
            return;
        };
        said.status = status.map_or(said.status, PresenceStatus::as_str);
        said.state.extend(patch.and_then(|patch| patch.as_object().cloned()).unwrap_or_default());
        self.tracked(channel, n, Some(said), result, checker);
    }

    pub(crate) fn untrack(&mut self, now: Timestamp, channel: usize, checker: &mut Checker) {
        let (id, n) = (self.presence(channel), self.next + 1);
        let result = self.session.untrack(now, RequestId(n), id);
        self.tracked(channel, n, None, result, checker);
    }

    fn tracked(
        &mut self,
        channel: usize,
        n: u64,
        said: Option<Said>,
        result: Result<(), realtime_engine::Error>,
        checker: &mut Checker,
    ) {
        match result {
            Ok(()) => {
                self.next = n;
                self.tracks.insert(n, channel);
                checker.tracks(self.index, channel, n, said);
            }
            Err(error) if matches!(error.code(), "closed" | "max_attempts" | "queue_full") => {}
            Err(error) => {
                let what = format!("client {} says {said:?} in vain: {error:?}", self.index);
                checker.violation(Invariant::EverySendEnds, what);
            }
        }
    }
}

impl World {
    /// An application comes, goes, or says something else of itself.
    pub(crate) fn act_on_presence(&mut self, index: usize) {
        let (now, channel) = (self.time(), self.rng.usize(0..self.profile.channels));
        let client = &mut self.clients[index];
        for _ in 0..if self.rng.u32(0..10) == 0 { 5 } else { 1 } {
            match self.rng.u32(0..100) {
                0..10 => client.look_on(now, channel, &mut self.checker),
                10..13 => client.look_away(now, channel, &mut self.checker),
                13..50 => client.track(now, channel, &mut self.rng, &mut self.checker),
                50..85 => client.update(now, channel, &mut self.rng, &mut self.checker),
                _ => client.untrack(now, channel, &mut self.checker),
            }
        }
    }

    /// The server has taken an input: who is there now?
    pub(crate) fn look_at_members(&mut self, spoke: Option<(ConnectionId, bool)>) {
        let spoke = spoke.and_then(|(id, untracks)| Some((id, *self.senders.get(&id.0)?, untracks)));
        // What it is closed for it was not heard with.
        if let Some((id, client, _)) = spoke
            && self.hub.wants_frames(id)
        {
            self.checker.heard(client);
        }
        let untracks = spoke.filter(|(.., untracks)| *untracks).map(|(_, client, _)| client);
        for channel in 0..self.profile.channels {
            let members = self.hub.members(&name(channel));
            if self.members.get(channel) != Some(&members) {
                self.checker.present(channel, members.iter().map(meta).collect(), untracks);
                self.members.resize(self.members.len().max(channel + 1), Vec::new());
                self.members[channel] = members;
            }
        }
    }

    /// Those who are there are seen by all who look on.
    pub(crate) fn look_at_presence(&mut self) {
        let clients: Vec<usize> = (0..self.clients.len()).filter(|client| !self.clients[*client].plain).collect();
        for channel in 0..self.profile.channels {
            self.checker.presence_ends(channel, &clients);
        }
    }
}

/// Who speaks, and whether it says that it leaves.
pub(crate) fn speaks(input: &hub::Input) -> Option<(ConnectionId, bool)> {
    let hub::Input::Frame { connection, frame } = input else { return None };
    Some((*connection, untracks(frame)))
}

pub(crate) fn untracks(frame: &Frame) -> bool {
    let Frame::Text(bytes) = frame else { return false };
    bytes.windows(16).any(|window| window == b"\"type\":\"untrack\"")
}

fn meta(member: &Member) -> Meta {
    Meta {
        reference: member.reference.to_string(),
        key: member.key.to_string(),
        verified: member.verified,
        status: member.status.as_str(),
        state: serde_json::from_slice(&member.state).unwrap_or_default(),
        joined_at: member.joined_at,
        seen_at: member.seen_at,
    }
}
