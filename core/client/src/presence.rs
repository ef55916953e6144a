use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use realtime_engine::wire::PresenceStatus;
use realtime_engine::{ChannelId, Error, ErrorKind, PresenceChange, Text};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::client::{Inner, to_json};
use crate::reader::Reader;
use crate::readers::Item;
use crate::stream::Stream;

/// Who is present in a channel, from [`Channel::presence`](crate::Channel::presence). Cheap to clone; having one watches nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = realtime_server::Server::default().start().await?;
/// # let client = realtime_client::Client::connect(server.url()).await?;
/// use realtime_client::PresenceStatus;
/// use serde_json::json;
///
/// let presence = client.channel("room")?.presence()?;
/// let people = presence.watch().await?;
/// presence.track(Some("ann"), PresenceStatus::Online, &json!({"name": "Ann"})).await?;
/// people.until(|users| users.len() == 1).await?;
/// presence.set_status(PresenceStatus::Away).await?;
/// presence.untrack().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Presence {
    client: Arc<Inner>,
    people: Arc<People>,
}

/// Who is known to be present, and who hears of it.
#[derive(Debug)]
pub(crate) struct People {
    channel: Text,
    pub(crate) stream: Stream<Heard>,
    users: Mutex<BTreeMap<(bool, String), User>>,
}

impl Presence {
    pub(crate) fn new(client: Arc<Inner>, people: Arc<People>) -> Self {
        Self { client, people }
    }

    /// Makes this client present, until [`untrack`](Self::untrack) or the end of the client, and waits until it is.
    ///
    /// `key` says who it is: clients with the same key are one user. A server that knows who connects takes that instead.
    /// `state` is what serde writes as a JSON object of at most 16 KiB. Tracking again replaces what was tracked. After a
    /// reconnect the client is present again by itself; within the grace period of the server nobody notices.
    pub async fn track(
        &self,
        key: Option<&str>,
        status: PresenceStatus,
        state: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        let state = to_json(state)?;
        let handle = &self.client.handle;
        self.client.asked(|request| handle.track(request, self.id(), key, status, state.bytes())).await
    }

    /// Changes fields of what is tracked. Fails with `not_tracked` where nothing is.
    pub async fn update(&self, patch: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let patch = to_json(patch)?;
        let handle = &self.client.handle;
        self.client.asked(|request| handle.update_presence(request, self.id(), None, Some(patch.bytes()))).await
    }

    /// Changes the status. Fails with `not_tracked` where nothing is tracked.
    pub async fn set_status(&self, status: PresenceStatus) -> Result<(), Error> {
        let handle = &self.client.handle;
        self.client.asked(|request| handle.update_presence(request, self.id(), Some(status), None)).await
    }

    /// Ends being present. Idempotent.
    pub async fn untrack(&self) -> Result<(), Error> {
        let handle = &self.client.handle;
        self.client.asked(|request| handle.untrack(request, self.id())).await
    }

    /// Whether this client is present, or will be as soon as it is connected.
    pub fn is_tracked(&self) -> bool {
        self.client.handle.is_tracked(self.id())
    }

    /// Watches, which does not make present, and waits until it is known who is there.
    ///
    /// Fails where the server refuses it, and with `closed` where the client is disconnected meanwhile.
    pub async fn watch(&self) -> Result<PresenceWatch, Error> {
        let watch = PresenceWatch::open(self.clone());
        self.people.stream.ready(&self.client).await?;
        Ok(watch)
    }

    fn id(&self) -> ChannelId {
        self.people.stream.id
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("channel", &self.people.channel).finish_non_exhaustive()
    }
}

/// Watches who is present in a channel until it is dropped. A [`Stream`](futures_util::Stream) of what changes.
#[derive(Debug)]
pub struct PresenceWatch {
    presence: Presence,
    reader: Reader<Heard>,
}

impl PresenceWatch {
    fn open(presence: Presence) -> Self {
        let Presence { client, people } = &presence;
        let reader = Reader::new(Arc::clone(client), Some(people.stream.id), Arc::clone(&people.stream.readers));
        people.stream.watch(client);
        Self { presence, reader }
    }

    /// Who is present now, in the order in which they came.
    pub fn users(&self) -> Vec<User> {
        let mut users: Vec<_> = self.presence.people.lock().values().cloned().collect();
        users.sort_by(|a, b| (a.joined_at, &a.id).cmp(&(b.joined_at, &b.id)));
        users
    }

    /// The user with this id; of two with the same the verified one.
    pub fn get(&self, id: &str) -> Option<User> {
        let users = self.presence.people.lock();
        [true, false].into_iter().find_map(|verified| users.get(&(verified, id.to_owned())).cloned())
    }

    /// The next event; `None` once the client is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<PresenceEvent> {
        std::future::poll_fn(|cx| self.reader.poll_next(cx)).await.map(|heard| heard.event)
    }

    /// Waits until this holds of those who are present. Takes no event away from [`recv`](Self::recv).
    pub async fn until(&self, holds: impl Fn(&[User]) -> bool) -> Result<(), Error> {
        let mut events = Self::open(self.presence.clone());
        while !holds(&self.users()) {
            if events.recv().await.is_none() {
                return Err(self.presence.people.stream.error().unwrap_or_else(|| {
                    Error::new(ErrorKind::Closed, "the client was disconnected while somebody was waited for")
                }));
            }
        }
        Ok(())
    }
}

impl futures_util::Stream for PresenceWatch {
    type Item = PresenceEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PresenceEvent>> {
        self.reader.poll_next(cx).map(|heard| heard.map(|heard| heard.event))
    }
}

impl Drop for PresenceWatch {
    fn drop(&mut self) {
        self.reader.part();
        self.presence.people.stream.unwatch(&self.presence.client);
    }
}

/// Who came, changed or left. Who is there from the beginning comes with the first `Synced` alone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// Somebody came.
    Join(User),
    /// Somebody changed something, or has one connection more or less.
    Update(User),
    /// Somebody is gone.
    Leave(User),
    /// After each of these, and once all that are present are known.
    Synced,
}

/// An event, and what the message that it was the last one of counts for.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    event: PresenceEvent,
    size: u64,
}

impl Item for Heard {
    fn size(&self) -> u64 {
        self.size
    }
}

/// One user who is present, with however many connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct User {
    /// The verified user where the server knows one, else the key that was tracked, else a name made by the server.
    pub id: String,
    /// Whether the server has verified who it is.
    pub verified: bool,
    /// The most available of its connections.
    pub status: PresenceStatus,
    state: Box<RawValue>,
    /// Since when it is present, by the server's clock, in milliseconds since the Unix epoch.
    pub joined_at: u64,
    /// When it last changed something, likewise.
    pub last_seen: u64,
    /// How many connections it is present with.
    pub connections: u64,
    /// Whether one of the connections is this client's.
    #[serde(rename = "self")]
    pub is_self: bool,
}

impl User {
    /// What was tracked, as of the connection that changed last. Fails with `invalid_payload` where it is another type.
    pub fn state<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.state.get()).map_err(|error| {
            Error::new(ErrorKind::InvalidPayload, format!("the state of {:?} is not of this type: {error}", self.id))
        })
    }
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    join: Vec<User>,
    #[serde(default)]
    update: Vec<User>,
    #[serde(default)]
    leave: Vec<User>,
    #[serde(default)]
    sync: bool,
}

impl People {
    pub(crate) fn new(id: ChannelId, channel: Text) -> Self {
        Self { channel, stream: Stream::new(id), users: Mutex::default() }
    }

    /// Takes what changed, and returns the credit to be given at once.
    pub(crate) fn changed(&self, change: &PresenceChange) -> Result<u64, Error> {
        let told = parse(&change.json)?;
        let first = !self.stream.is_synced();
        let mut events = Vec::new();
        let mut users = self.lock();
        for user in told.leave {
            users.remove(&(user.verified, user.id.clone()));
            events.push(PresenceEvent::Leave(user));
        }
        for user in told.update {
            users.insert((user.verified, user.id.clone()), user.clone());
            events.push(PresenceEvent::Update(user));
        }
        for user in told.join {
            users.insert((user.verified, user.id.clone()), user.clone());
            events.push(PresenceEvent::Join(user));
        }
        if told.sync {
            self.stream.synced();
        }
        if first {
            events.clear();
        }
        let mut heard: VecDeque<_> = events.into_iter().map(|event| Heard { event, size: 0 }).collect();
        heard.push_back(Heard { event: PresenceEvent::Synced, size: change.size });
        Ok(self.stream.readers.deliver(&mut heard).0)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(bool, String), User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(json: &Bytes) -> Result<Told, Error> {
    serde_json::from_slice(json).map_err(|error| {
        Error::new(ErrorKind::Protocol, format!("who is present in a channel could not be read: {error}"))
    })
}
