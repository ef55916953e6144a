//! Tokens: asked for before every attempt, and before one runs out.

use std::time::Duration;

use super::{Phase, Session};
use crate::config::Token;
use crate::error::{Error, ErrorKind};
use crate::io::Output;
use crate::timers::Timer;
use crate::wire::{ClientMessage, ClosePolicy};

impl Session {
    pub(super) fn request_token(&mut self) -> u64 {
        self.token_requests += 1;
        self.outputs.push_back(Output::RequestToken { request: self.token_requests });
        self.token_requests
    }

    pub(super) fn token_answered(&mut self, request: u64, result: Result<Option<String>, String>) {
        let connecting = self.phase == Phase::Token { request };
        let refreshing = self.refreshing == Some(request) && matches!(self.phase, Phase::Connected { .. });
        let failed = |why: String| Error::new(ErrorKind::TokenFailed, format!("the token provider failed: {why}"));
        match result {
            Ok(token) if connecting => {
                self.timers.clear(Timer::Token);
                self.token = token;
                self.open();
            }
            Err(why) if connecting => self.attempt_failed(failed(why), ClosePolicy::Reconnect),
            Ok(Some(token)) if refreshing => {
                self.refreshing = None;
                self.control(|id| ClientMessage::Auth { id, token: token.into() });
            }
            Ok(None) if refreshing => self.refreshing = None,
            Err(why) if refreshing => {
                self.refreshing = None;
                self.error(failed(why));
            }
            _ => {}
        }
    }

    pub(super) fn schedule_refresh(&mut self, expires_in: Option<u64>) {
        match expires_in {
            Some(left) if self.config.token == Token::Provider => {
                // A tenth of its life ahead, between one second and half a minute.
                let left = Duration::from_millis(left);
                let ahead = (left / 10).clamp(Duration::from_secs(1), Duration::from_secs(30));
                self.timers.set(Timer::Refresh, self.now + left.saturating_sub(ahead));
            }
            _ => self.timers.clear(Timer::Refresh),
        }
    }
}
