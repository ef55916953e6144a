use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::channel::Channel;
use crate::io::{ChannelId, Text};
use crate::wire::Stream;

/// All streams of a session, by id and by the names of channel and stream.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    list: Vec<Channel>,
    /// Asked for each message.
    names: HashMap<Text, Streams, RandomState>,
}

/// The streams of one channel.
#[derive(Debug, Default)]
struct Streams {
    messages: Option<ChannelId>,
    presence: Option<ChannelId>,
    collections: BTreeMap<Text, ChannelId>,
}

impl Channels {
    pub(crate) fn find_or_add(&mut self, name: &str, stream: &Stream<'_>) -> &mut Channel {
        let id = match self.id(name, stream) {
            Some(id) => id,
            None => {
                let id = ChannelId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
                let name = Text::from(name);
                let streams = self.names.entry(name.clone()).or_default();
                match stream {
                    Stream::Messages => streams.messages = Some(id),
                    Stream::Presence => streams.presence = Some(id),
                    Stream::Collection(collection) => {
                        streams.collections.insert(Text::from(&**collection), id);
                    }
                }
                self.list.push(Channel::new(id, name, stream));
                id
            }
        };
        &mut self.list[id.0 as usize]
    }

    pub(crate) fn id(&self, name: &str, stream: &Stream<'_>) -> Option<ChannelId> {
        let streams = self.names.get(name.as_bytes())?;
        match stream {
            Stream::Messages => streams.messages,
            Stream::Presence => streams.presence,
            Stream::Collection(collection) => streams.collections.get(collection.as_bytes()).copied(),
        }
    }

    /// All streams of a channel: its messages first.
    pub(crate) fn of(&self, name: &Text) -> Vec<ChannelId> {
        let Some(streams) = self.names.get(name) else { return Vec::new() };
        streams.messages.into_iter().chain(streams.presence).chain(streams.collections.values().copied()).collect()
    }

    pub(crate) fn get(&self, id: ChannelId) -> Option<&Channel> {
        self.list.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.list.get_mut(id.0 as usize)
    }

    pub(crate) fn by_name(&mut self, name: &str, stream: &Stream<'_>) -> Option<&mut Channel> {
        let id = self.id(name, stream)?;
        self.get_mut(id)
    }

    pub(crate) fn by_request(&mut self, request: u64) -> Option<&mut Channel> {
        self.list.iter_mut().find(|channel| channel.request == Some(request))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.list.iter_mut()
    }

    /// Presences and collections.
    pub(crate) fn ids_of_streams(&self) -> Vec<ChannelId> {
        self.list.iter().filter(|channel| !channel.is_messages()).map(|channel| channel.id).collect()
    }
}
