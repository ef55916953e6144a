//! The public async Rust API of realtime-client, and the tokio driver under it.
//!
//! [`Client`], [`Channel`] and [`Subscription`] are what an application uses:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = realtime_server::Server::default().start().await?;
//! # let url = server.url();
//! use realtime_client::Client;
//!
//! let client = Client::connect(url).await?;
//! let room = client.channel("room")?;
//! let mut messages = room.subscribe().await?;
//! room.publish("greeting", "hello").await?;
//! let message = messages.recv().await.ok_or("the subscription ended")?;
//! assert_eq!(message.json::<String>()?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! It looks after itself: a lost connection comes back, subscriptions go on where they were, and what has no receipt yet
//! is sent again, once. Here the network is cut while the client publishes, and nobody has to notice:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use realtime_client::{Client, Config};
//! use realtime_testing::FaultProxy;
//! use std::time::Duration;
//!
//! let server = realtime_server::Server::default().start().await?;
//! let proxy = FaultProxy::start(&server.url()).await?;
//! let mut config = Config::new(proxy.url());
//! config.reconnect_first = Duration::from_millis(10);
//! let client = Client::connect(config).await?;
//! let room = client.channel("room")?;
//! let mut messages = room.subscribe().await?;
//!
//! proxy.cut_connections();
//! let receipt = room.publish("n", &1).await?;
//! assert_eq!(receipt.offset, Some(1));
//! assert_eq!(messages.recv().await.and_then(|message| message.offset()), Some(1));
//! # Ok(())
//! # }
//! ```
//!
//! [`Driver`], [`Handle`] and [`Host`] are what that stands on, and what the bindings of other languages use: every call
//! is synchronous, and what happens comes to the host in batches.

mod alarm;
mod builder;
mod channel;
mod client;
mod clock;
mod collection;
mod cork;
mod dial;
mod driver;
mod durable;
mod events;
mod handle;
mod host;
mod mailbox;
mod message;
mod outbox_file;
mod outlet;
mod presence;
mod reader;
mod readers;
mod receipt;
mod requests;
mod route;
mod router;
mod shared;
mod socket;
mod state;
mod stream;
mod subscription;
mod tcp;
mod tls;
mod transport;
mod tunnel;
mod upgrade;
mod view;

pub use builder::Builder;
pub use channel::Channel;
pub use client::Client;
pub use collection::{Collection, CollectionEvent, CollectionEvents, RecordChange};
pub use driver::Driver;
pub use events::{ClientEvent, Events};
pub use handle::{Handle, WeakHandle};
pub use host::Host;
pub use message::Message;
pub use presence::{Presence, PresenceEvent, PresenceWatch, User};
pub use realtime_engine::wire::{CloseCode, ErrorCode, PresenceStatus, Window};
pub use realtime_engine::{
    Change, ChangeKind, ChannelId, ChannelMessage, ChannelState, Config, Covered, Data, DirectMessage, Error,
    ErrorKind, Event, Gap, Load, LoadOn, Mutation, Opened, PresenceChange, Protocol, Quality, RequestId, Stats, Status,
    Text, Timestamp, Token, TokenPlacement, WhenFull,
};
pub use receipt::Receipt;
pub use subscription::{Messages, Subscription};
pub use transport::{Proxy, Transport};
