//! The host that the driver talks to: it only writes records.

use std::sync::Arc;

use realtime_client::{Event, Host};

use crate::batch::Batch;
use crate::inbox::Inbox;
use crate::report::{error_json, event_json, token_json};

/// Fills batches on the I/O thread.
#[derive(Debug)]
pub(crate) struct Sink {
    inbox: Arc<Inbox>,
    batch: Batch,
    reports: usize,
}

impl Sink {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, batch: Batch::default(), reports: 0 }
    }

    fn hand_over(&mut self) {
        if !self.batch.is_empty() {
            self.batch = self.inbox.push(std::mem::take(&mut self.batch), std::mem::take(&mut self.reports));
        }
    }
}

impl Host for Sink {
    fn event(&mut self, event: Event) {
        match &event {
            Event::Open(_) => self.inbox.set_open(true),
            Event::Close { .. } => self.inbox.set_open(false),
            _ => {}
        }
        match &event {
            Event::Message(message) => self.batch.message(message),
            Event::Direct(message) => self.batch.direct(message),
            Event::Receipt(receipt) => self.batch.receipt(receipt),
            Event::Change(change) => self.batch.change(change),
            Event::Presence(change) => self.batch.presence(change),
            Event::SendFailed { request, error } => self.batch.send_failed(request.0, &error_json(error)),
            _ => {
                if let Some(report) = event_json(&event)
                    && self.inbox.admits(self.reports, &event)
                {
                    self.reports += 1;
                    self.batch.report(&report);
                }
            }
        }
        if self.batch.is_full() {
            self.hand_over();
        }
    }

    fn token(&mut self, request: u64) {
        self.batch.report(&token_json(request));
    }

    fn flush(&mut self) {
        self.hand_over();
    }

    fn stopped(&mut self) {
        self.hand_over();
    }
}
