//! The tokio driver and the public async Rust API of realtime-client.
//!
//! Two layers: [`Client`], [`Channel`] and [`Subscription`] are what an application uses; [`Driver`], [`Handle`] and
//! [`Host`] are what they stand on, and what bindings of other languages use directly.

mod clock;
mod driver;
mod handle;
mod host;
mod shared;
mod transport;

pub use driver::Driver;
pub use handle::{Handle, WeakHandle};
pub use host::Host;
pub use realtime_engine::{
    ChannelId, ChannelMessage, ChannelState, Config, Data, DirectMessage, Error, ErrorKind, Event, Gap, Opened,
    Protocol, Quality, RequestId, Stats, Status, Text, Timestamp, Token, TokenPlacement, WhenFull,
};
pub use transport::{Proxy, Transport};
