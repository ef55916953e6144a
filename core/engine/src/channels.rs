use std::collections::HashMap;

use crate::channel::Channel;
use crate::io::{ChannelId, Text};

/// All channels of a session, by id and by name.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    list: Vec<Channel>,
    names: HashMap<Text, ChannelId>,
}

impl Channels {
    pub(crate) fn find_or_add(&mut self, name: &str) -> &mut Channel {
        let id = match self.id(name) {
            Some(id) => id,
            None => {
                let id = ChannelId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
                let name = Text::from(name);
                self.names.insert(name.clone(), id);
                self.list.push(Channel::new(id, name));
                id
            }
        };
        &mut self.list[id.0 as usize]
    }

    pub(crate) fn id(&self, name: &str) -> Option<ChannelId> {
        self.names.get(name.as_bytes()).copied()
    }

    pub(crate) fn get(&self, id: ChannelId) -> Option<&Channel> {
        self.list.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.list.get_mut(id.0 as usize)
    }

    pub(crate) fn by_name(&mut self, name: &str) -> Option<&mut Channel> {
        let id = self.id(name)?;
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

    /// The channel, where exactly one is subscribed.
    pub(crate) fn only_subscribed(&self) -> Option<ChannelId> {
        let mut wanted = self.list.iter().filter(|channel| channel.wanted);
        wanted.next().filter(|_| wanted.next().is_none()).map(|channel| channel.id)
    }
}
