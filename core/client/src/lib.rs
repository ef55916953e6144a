//! The tokio driver and the public async Rust API of realtime-client.
//!
//! Two layers: [`Client`], [`Channel`] and [`Subscription`] are what an application uses; [`Driver`], [`Handle`] and
//! [`Host`] are what they stand on, and what bindings of other languages use directly.

mod alarm;
mod builder;
mod channel;
mod client;
mod clock;
mod dial;
mod driver;
mod events;
mod handle;
mod host;
mod mailbox;
mod message;
mod receipt;
mod requests;
mod route;
mod router;
mod shared;
mod socket;
mod state;
mod subscription;
mod tcp;
mod tls;
mod transport;
mod tunnel;
mod upgrade;

pub use builder::Builder;
pub use channel::Channel;
pub use client::Client;
pub use driver::Driver;
pub use events::{ClientEvent, Events};
pub use handle::{Handle, WeakHandle};
pub use host::Host;
pub use message::Message;
pub use realtime_engine::wire::{CloseCode, ErrorCode, Window};
pub use realtime_engine::{
    ChannelId, ChannelMessage, ChannelState, Config, Data, DirectMessage, Error, ErrorKind, Event, Gap, Opened,
    Protocol, Quality, RequestId, Stats, Status, Text, Timestamp, Token, TokenPlacement, WhenFull,
};
pub use receipt::Receipt;
pub use subscription::{Messages, Subscription};
pub use transport::{Proxy, Transport};
