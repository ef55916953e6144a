use std::sync::Arc;

use crate::budget::{Budget, Permit};
use crate::config::Config;
use crate::error::Error;
use crate::io::{ChannelId, Data, Input, Output, RequestId, Text};
use crate::stats::Stats;
use crate::status::Status;
use crate::time::Timestamp;

/// SKELETON: the signatures are fixed, the behaviour follows within the hour.
#[derive(Debug)]
pub struct Session {}

#[allow(missing_docs, unused_variables, clippy::todo)]
impl Session {
    pub fn new(config: Config, now: Timestamp, seed: u64) -> Result<Self, Error> {
        todo!()
    }
    /// Starts to connect, and to stay so.
    pub fn connect(&mut self, now: Timestamp) {}
    /// Ends it: waits up to `flush` for receipts of what is queued where connected; what is left fails with `closed`.
    pub fn disconnect(&mut self, now: Timestamp, flush: std::time::Duration) {}
    /// Declares a subscription. Idempotent. Works offline.
    pub fn subscribe(&mut self, now: Timestamp, channel: &str) -> Result<ChannelId, Error> {
        todo!()
    }
    pub fn unsubscribe(&mut self, now: Timestamp, channel: ChannelId) {}
    /// The id of a channel name, without subscribing.
    pub fn channel(&mut self, name: &str) -> Result<ChannelId, Error> {
        todo!()
    }
    /// Publishes into a channel. Ends with `Event::Receipt` or `Event::SendFailed` of `request`, unless it returns an error.
    pub fn publish(
        &mut self,
        now: Timestamp,
        request: RequestId,
        channel: ChannelId,
        event: Text,
        payload: Data,
        permit: Permit,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Sends to the backend itself. `event` is needed for JSON and ignored for binary.
    pub fn send(
        &mut self,
        now: Timestamp,
        request: RequestId,
        event: Option<Text>,
        payload: Data,
        permit: Permit,
    ) -> Result<(), Error> {
        todo!()
    }
    /// The application has consumed messages of this channel (`None`: direct ones) of this many bytes (`size` of the events).
    pub fn consumed(&mut self, now: Timestamp, channel: Option<ChannelId>, bytes: u64) {}
    pub fn handle(&mut self, now: Timestamp, input: Input) {}
    pub fn poll(&mut self) -> Option<Output> {
        None
    }
    pub fn deadline(&self) -> Option<Timestamp> {
        None
    }
    /// Whether the driver should read from the socket. `false` is backpressure: too much is unconsumed.
    pub fn wants_read(&self) -> bool {
        true
    }
    pub fn status(&self) -> Status {
        todo!()
    }
    pub fn stats(&self, now: Timestamp) -> Stats {
        todo!()
    }
    pub fn budget(&self) -> &Arc<Budget> {
        todo!()
    }
}
