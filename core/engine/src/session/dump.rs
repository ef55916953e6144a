use std::time::Duration;

use serde_json::{Value, json};

use super::outgoing::MAX_BACKLOG;
use super::{Dialect, Phase, Session};
use crate::channel::Kind;
use crate::config::{Config, Protocol, Token, WhenFull};
use crate::io::{Input, OpenError};
use crate::recorder::What;
use crate::wire::{SUBPROTOCOL_PLAIN, SUBPROTOCOL_V1};

impl Session {
    /// What the session is and did last, as a JSON object: its state, its channels, and the entries of the flight recorder
    /// ([`Config::record`](crate::Config::record)). It holds no payload, no token, no URL and no session id, but channel names.
    ///
    /// An entry has `at` (milliseconds since the Unix epoch) and `what`: `status`, `phase`, `channel`, `gap`, `load`, `error`,
    /// `timer` (it fired), `open` and `close` (what the session wanted), `opened`, `openFailed` and `closed` (what
    /// the driver told), `call` (of the application, equal ones in a row counted), `received` and `sent` (a run of messages of one type, one
    /// channel and consecutive ids or offsets in a frame; `more` where the frame began in an entry before).
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
            "version": 2,
            "engine": env!("CARGO_PKG_VERSION"),
            "config": self.config.describe(),
            // As text: not every language reads whole numbers of 64 bits.
            "seed": self.told_seed.map(|seed| format!("{seed:016x}")),
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

impl Session {
    /// Notes what the driver tells. Frames are noted message by message.
    pub(super) fn record(&mut self, input: &Input) {
        let (what, detail) = match input {
            Input::Opened { attempt, protocol } => {
                let known =
                    [SUBPROTOCOL_V1, SUBPROTOCOL_PLAIN].into_iter().find(|known| protocol.as_deref() == Some(known));
                (What::Opened(*attempt), Some(json!({ "protocol": known })))
            }
            Input::OpenFailed { attempt, error } => (What::OpenFailed(*attempt), Some(describe_failure(error))),
            Input::Closed { attempt, code, .. } => (What::Closed(*attempt, *code), None),
            Input::Token { request, result } => {
                let got = match result {
                    Ok(Some(_)) => "token",
                    Ok(None) => "none",
                    Err(_) => "failed",
                };
                return self.recorder.call_with(self.now, "token", None, *request, Some(json!({ "result": got })));
            }
            Input::Flushed { attempt }
                if self.dialect == Dialect::Plain && (self.closing || self.outbox.written() > 0) =>
            {
                (What::Flushed(*attempt), None)
            }
            Input::Backlog { attempt, bytes } if (*bytes > MAX_BACKLOG) != self.is_busy() => {
                (What::Backlog(*attempt, *bytes as u64), None)
            }
            _ => return,
        };
        self.recorder.input(self.now, what, detail);
    }
}

fn describe_failure(error: &OpenError) -> Value {
    match error {
        OpenError::Unreachable(_) => json!({ "failure": "unreachable" }),
        OpenError::Tls(_) => json!({ "failure": "tls" }),
        OpenError::NoSubprotocol => json!({ "failure": "noSubprotocol" }),
        OpenError::Handshake(_) => json!({ "failure": "handshake" }),
        OpenError::Http { status, retry_after } => {
            json!({ "failure": "http", "status": status, "retryAfter": retry_after.map(|after| after.as_millis() as u64) })
        }
    }
}

impl Config {
    /// What decides how a session behaves; nothing that names or opens anything.
    fn describe(&self) -> Value {
        let millis = |duration: Duration| duration.as_micros() as f64 / 1000.0;
        json!({
            "protocol": match self.protocol {
                Protocol::Auto => "auto",
                Protocol::V1 => "realtime.v1",
                Protocol::Plain => "plain",
            },
            "subprotocols": !self.subprotocols.is_empty(),
            "token": match self.token {
                Token::None => "none",
                Token::Static(_) => "static",
                Token::Provider => "provider",
            },
            "tokenTimeout": millis(self.token_timeout),
            "connectTimeout": millis(self.connect_timeout),
            "heartbeatInterval": millis(self.heartbeat_interval),
            "heartbeatTimeout": millis(self.heartbeat_timeout),
            "reconnect": self.reconnect,
            "reconnectFirst": millis(self.reconnect_first),
            "reconnectBase": millis(self.reconnect_base),
            "reconnectMax": millis(self.reconnect_max),
            "attemptsUntilError": self.attempts_until_error,
            "maxAttempts": self.max_attempts,
            "queueMessages": self.queue_messages,
            "queueBytes": self.queue_bytes,
            "whenFull": match self.when_full {
                WhenFull::Wait => "wait",
                WhenFull::Reject => "reject",
                WhenFull::DropOldest => "dropOldest",
            },
            "sendTimeout": self.send_timeout.map(millis),
            "inbox": [self.inbox.connection, self.inbox.channel],
            "replicaBytes": self.replica_bytes,
            "rateLimit": self.rate_limit,
            "binaryJson": self.binary_json,
            "record": self.record,
        })
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
