//! The embedded server of realtime-client: a pure [`hub`] under a thin network layer.
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use realtime_server::hub::Content;
//! use realtime_server::{Server, ServerConfig};
//!
//! let server = Server::new(ServerConfig { port: 0, ..ServerConfig::default() }).start().await?;
//! println!("clients connect to {}", server.url());
//! server.publish("news", "hello", &Content::Json("{\"from\":\"the server\"}".into())).ok();
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod application;
pub mod auth;
pub mod cli;
mod config;
pub mod hub;
mod net;
mod server;
pub mod store;

pub use application::{Application, Echo};
pub use auth::{Auth, AuthError, Identity};
pub use config::{ServerConfig, Tls, TlsError};
pub use hub::{HubConfig, Stats};
pub use realtime_engine::wire::Op;
pub use server::{RunningServer, Server};
pub use store::{SqliteStore, Store, StoreError};

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
