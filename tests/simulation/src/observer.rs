//! A connection to a server without a store that misses nothing: it sees every change of every collection, as it is made. Of a server
//! with a store the disk has them.

use bytes::Bytes;
use realtime_engine::wire::{Frame, lines};
use realtime_server::hub::{self, ConnectionId, Dialect};
use serde_json::Value;

use crate::records::{find, names};
use crate::world::{Event, MILLI, SECOND, World};

/// No link has this number.
pub(crate) const OBSERVER: ConnectionId = ConnectionId(0);

impl World {
    /// Begins with a server that has just begun.
    pub(crate) fn observe(&mut self) {
        if self.profile.durable || self.profile.all_collections() == 0 {
            return;
        }
        self.epochs = vec![String::new(); self.profile.all_collections()];
        let token = self.token(0, 1 << 30);
        let identity = self.hub.config().auth.verify(&token, self.now / MILLI).ok();
        let opened = hub::Input::Opened { connection: OBSERVER, dialect: Dialect::V1, identity };
        self.hub.handle(self.now / MILLI, opened);
        self.observer_says(format!("{{\"type\":\"hello\",\"session\":\"the-observer-0000\",\"token\":\"{token}\"}}"));
        for collection in 0..self.profile.all_collections() {
            let (channel, records) = names(collection, self.profile.collections);
            self.observer_says(format!(
                "{{\"type\":\"subscribe\",\"id\":{collection},\"channel\":\"{channel}\",\"collection\":\"{records}\"}}"
            ));
        }
    }

    /// Stays alive.
    pub(crate) fn observer_pings(&mut self) {
        self.observer_says("{\"type\":\"ping\",\"id\":1}".into());
        self.look_at_members(None);
        self.drain_hub();
        self.at(20 * SECOND, Event::Observe);
    }

    fn observer_says(&mut self, line: String) {
        let frame = Frame::Text(Bytes::from(line));
        self.hub.handle(self.now / MILLI, hub::Input::Frame { connection: OBSERVER, frame });
    }

    pub(crate) fn observer_pulls(&mut self) {
        let mut frames = Vec::new();
        while self.hub.pull(self.now / MILLI, OBSERVER, &mut frames) {}
        for frame in frames {
            let (Frame::Text(bytes) | Frame::Binary(bytes)) = frame else { continue };
            lines(&bytes).for_each(|line| self.observes(line));
        }
    }

    fn observes(&mut self, line: &[u8]) {
        let value: Value = serde_json::from_slice(line).unwrap_or_default();
        let name = |field: &str| value[field].as_str().unwrap_or_default();
        let Some(collection) = find(name("channel"), name("collection"), self.profile.collections) else { return };
        match name("type") {
            "subscribed" => self.epochs[collection] = name("epoch").to_owned(),
            "change" => self.checker.logged(collection, &self.epochs[collection], line),
            "snapshot" => assert_eq!(value["end"], 0, "an observer misses nothing: {value}"),
            _ => {}
        }
    }
}
