use std::path::PathBuf;

/// What a driver needs besides the engine's settings: how sockets are opened, and which files it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transport {
    /// Certificate authorities in PEM, trusted **instead of** those of the platform. Default none: the platform's.
    pub ca: Option<Vec<u8>>,
    /// Default [`Proxy::Environment`].
    pub proxy: Proxy,
    /// A file that [`Handle::dump`](crate::Handle::dump) is written to when an error ends the client: when it gives up, or is told not
    /// to come back. Replaced each time. Default none.
    pub error_report: Option<PathBuf>,
    /// A file that makes the outbox durable: what a send was accepted with survives the end of the process, and goes out, once, after the
    /// next start. Each client needs one of its own. Default none: the outbox is in memory.
    pub outbox: Option<PathBuf>,
}

/// Which HTTP proxy to go through, with `CONNECT`. The proxy itself is reached by `http://` or `https://`; another kind
/// of proxy is refused with `unsupported`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// What `HTTPS_PROXY` (for `wss`), `HTTP_PROXY` (for `ws`), `ALL_PROXY` and `NO_PROXY` say, also in lower case.
    /// Loopback addresses and `localhost` are always reached directly.
    #[default]
    Environment,
    /// None.
    Direct,
    /// This one, with `user:password@` where it wants that.
    Url(String),
}
