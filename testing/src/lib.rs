//! Test tools of realtime-client.
//!
//! [`FaultProxy`] stands between a client and a server and breaks the network between them on demand.

mod faults;
mod link;
mod proxy;
mod pump;

pub use proxy::FaultProxy;
