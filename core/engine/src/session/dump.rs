use serde_json::{Value, json};

use super::{Dialect, Phase, Session};
use crate::channel::Kind;

impl Session {
    /// What the session is and did last, as a JSON object: its state, its channels, and the entries of the flight recorder
    /// ([`Config::record`](crate::Config::record)). It holds no payload, no token, no URL and no session id, but channel names.
    ///
    /// An entry has `at` (milliseconds since the Unix epoch) and `what`: `status`, `phase`, `channel`, `gap`, `load`, `error`,
    /// `timer` (it fired), `open` and `close` (what the session wanted), `opened`, `openFailed` and `closed` (what
    /// the driver told), `call` (of the application, equal ones in a row counted), `received` and `sent` (a frame: its bytes, how
    /// many messages of which types, and of the last one the channel and the id or offset).
    pub fn dump(&self) -> String {
        let channels: Vec<Value> = self
            .channels
            .iter()
            .map(|channel| {
                json!({
                    "id": channel.id.0,
                    "name": channel.name.as_str(),
                    "state": channel.state.as_str(),
                    "wanted": channel.wanted,
                    "epoch": channel.position.as_ref().map(|position| &position.epoch),
                    "offset": channel.position.as_ref().map(|position| position.offset),
                    "unconsumed": channel.unconsumed,
                    "owed": channel.owed,
                    "loading": channel.hold.is_held(),
                    "presence": if let Kind::Presence(presence, _) = &channel.kind { presence.describe() } else { Value::Null },
                    "collection": if let Kind::Collection(collection) = &channel.kind { collection.describe() } else { Value::Null },
                })
            })
            .collect();
        json!({
            "version": 1,
            "engine": env!("CARGO_PKG_VERSION"),
            "now": self.now.as_micros() as f64 / 1000.0,
            "status": self.status.as_str(),
            "phase": self.phase.name(),
            "dialect": if self.dialect == Dialect::V1 { "realtime.v1" } else { "plain" },
            "attempt": self.attempt.0,
            "failedAttempts": self.failed_attempts,
            "nextTimer": self.next_timer(),
            "nextTimerAt": self.deadline().map(|at| at.as_micros() as f64 / 1000.0),
            "queued": self.outbox.budget().messages(),
            "queuedBytes": self.outbox.budget().bytes(),
            "written": self.outbox.written(),
            "durable": self.outbox.journal.is_some(),
            "unjournaled": self.journal().len(),
            "backlog": self.backlog,
            "unconsumed": self.unconsumed,
            "channels": channels,
            "recorded": self.recorder.total(),
            "entries": self.recorder.entries(),
        })
        .to_string()
    }
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Token { .. } => "token",
            Phase::Opening => "opening",
            Phase::Handshake { .. } => "handshake",
            Phase::Connected { .. } => "connected",
            Phase::Waiting => "waiting",
            Phase::Stopped => "stopped",
        }
    }
}
