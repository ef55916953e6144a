use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use realtime_client::{
    Client, ClientEvent, Collection, CollectionEvent, Config, Covered, Error, LoadOn, Message, PresenceEvent,
};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What a client has seen and nobody has expected yet.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) messages: HashMap<String, Vec<Message>>,
    pub(crate) direct: Vec<Message>,
    pub(crate) statuses: Vec<&'static str>,
    pub(crate) errors: Vec<&'static str>,
    pub(crate) gaps: Vec<(String, &'static str)>,
    /// Loads that are under way: channel, reason, and how to end it.
    pub(crate) loads: Vec<(String, &'static str, LoadEnd)>,
    /// Of presence, by channel: event and user.
    pub(crate) presence: HashMap<String, Vec<Value>>,
    /// Of collections, by channel and name: kind, id and cause.
    pub(crate) changes: HashMap<(String, String), Vec<Value>>,
    /// Why collections were in sync, by channel and name.
    pub(crate) syncs: HashMap<(String, String), Vec<&'static str>>,
}

/// With the offset that a snapshot reaches to, or by failing.
pub(crate) type LoadEnd = oneshot::Sender<Result<Option<u64>, String>>;

/// A client of a scenario.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) disconnected: bool,
    pub(crate) later: Vec<JoinHandle<Result<(), Error>>>,
    pub(crate) collections: HashMap<(String, String), Collection<Value>>,
    notes: Arc<Mutex<Notes>>,
    changed: watch::Sender<()>,
}

impl Person {
    pub(crate) fn new(config: Config) -> Self {
        let person = Self {
            client: Client::builder(config).start().unwrap(),
            disconnected: false,
            later: vec![],
            collections: HashMap::new(),
            notes: Arc::default(),
            changed: watch::Sender::new(()),
        };
        let mut events = person.client.events();
        let note = person.noter();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                note(&mut |notes| match &event {
                    ClientEvent::Status { status, .. } => notes.statuses.push(status.as_str()),
                    ClientEvent::Error(error) => notes.errors.push(error.code()),
                    ClientEvent::Gap { channel, gap } => notes.gaps.push((channel.to_string(), gap.reason)),
                    _ => {}
                });
            }
        });
        let mut direct = person.client.messages();
        let note = person.noter();
        tokio::spawn(async move {
            while let Some(message) = direct.recv().await {
                note(&mut |notes| notes.direct.push(message.clone()));
            }
        });
        person
    }

    pub(crate) fn load_on_gap(&self, channel: &str, on: LoadOn) {
        let (note, name) = (Arc::new(Mutex::new(self.noter())), channel.to_owned());
        self.client.channel(channel).unwrap().on_gap(on, move |gap| {
            let (end, ended) = oneshot::channel();
            let mut load = Some((name.clone(), gap.reason, end));
            (note.lock().unwrap())(&mut |notes| notes.loads.extend(load.take()));
            async move {
                let offset = ended.await.map_err(|_| "never ended".to_owned())??;
                Ok::<_, String>(offset.map(|offset| Covered { epoch: None, offset }))
            }
        });
    }

    pub(crate) async fn subscribe(&self, channel: &str) -> Result<JoinHandle<()>, Error> {
        let mut messages = self.client.channel(channel)?.subscribe().await?;
        let (note, channel) = (self.noter(), channel.to_owned());
        Ok(tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                note(&mut |notes| notes.messages.entry(channel.clone()).or_default().push(message.clone()));
            }
        }))
    }

    pub(crate) async fn watch(&self, channel: &str) -> Result<(), Error> {
        let mut watch = self.client.channel(channel)?.presence()?.watch().await?;
        let (note, channel) = (self.noter(), channel.to_owned());
        tokio::spawn(async move {
            while let Some(event) = watch.recv().await {
                let event = match &event {
                    PresenceEvent::Join(user) => Some(json!(["join", user.id])),
                    PresenceEvent::Update(user) => Some(json!(["update", user.id])),
                    PresenceEvent::Leave(user) => Some(json!(["leave", user.id])),
                    _ => None,
                };
                note(&mut |notes| notes.presence.entry(channel.clone()).or_default().extend(event.clone()));
            }
        });
        Ok(())
    }

    pub(crate) fn collect(&mut self, place: (String, String), initial: Option<Vec<u8>>) -> Result<(), Error> {
        let channel = self.client.channel(&place.0)?;
        let collection = match initial {
            Some(initial) => {
                channel.collection_with(&place.1, &serde_json::from_slice::<Vec<Value>>(&initial).unwrap())?
            }
            None => channel.collection(&place.1)?,
        };
        let mut events = collection.events();
        self.collections.insert(place.clone(), collection);
        let note = self.noter();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                note(&mut |notes| match &event {
                    CollectionEvent::Changed(change) => {
                        let cause = match (change.is_rollback(), change.is_local()) {
                            (true, _) => "rollback",
                            (false, true) => "local",
                            (false, false) => "remote",
                        };
                        let change = json!([change.kind().as_str(), change.id(), cause]);
                        notes.changes.entry(place.clone()).or_default().push(change);
                    }
                    CollectionEvent::Synced { reason } => notes.syncs.entry(place.clone()).or_default().push(reason),
                    _ => {}
                });
            }
        });
        Ok(())
    }

    /// Waits until `take` finds what it looks for; it takes that out.
    pub(crate) async fn until<T>(&self, mut take: impl FnMut(&mut Notes) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(found) = take(&mut self.notes.lock().unwrap()) {
                return found;
            }
            changes.changed().await.unwrap();
        }
    }

    fn noter(&self) -> impl Fn(&mut dyn FnMut(&mut Notes)) + Send + 'static {
        let (notes, changed) = (Arc::clone(&self.notes), self.changed.clone());
        move |note| {
            note(&mut notes.lock().unwrap());
            changed.send_replace(());
        }
    }
}
