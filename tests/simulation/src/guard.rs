//! Who may do what, where a profile is guarded. The first client may do everything.

use realtime_server::hub::Authorizer;

use crate::client::name;

pub(crate) fn may_publish(client: usize, channel: usize) -> bool {
    client == 0 || (client * 5 + channel) % 7 != 2
}

pub(crate) fn may_subscribe(client: usize, channel: usize) -> bool {
    client == 0 || (client * 3 + channel) % 7 != 1
}

/// Tells users and channels by their names.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) clients: usize,
    pub(crate) channels: usize,
}

impl Guard {
    fn find(&self, user: Option<&str>, channel: &str) -> Option<(usize, usize)> {
        let client = (0..self.clients).find(|client| user == Some(&*user_name(*client)))?;
        Some((client, (0..self.channels).find(|index| name(*index) == channel)?))
    }
}

impl Authorizer for Guard {
    fn can_publish(&self, user: Option<&str>, channel: &str) -> bool {
        self.find(user, channel).is_some_and(|(client, channel)| may_publish(client, channel))
    }

    fn can_subscribe(&self, user: Option<&str>, channel: &str) -> bool {
        self.find(user, channel).is_some_and(|(client, channel)| may_subscribe(client, channel))
    }
}

/// The user that a client's token names.
pub(crate) fn user_name(client: usize) -> String {
    format!("user-{client}")
}
