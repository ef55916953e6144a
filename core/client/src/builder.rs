use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use realtime_engine::{Config, Error, Token};

use crate::client::Client;
use crate::router::TokenProvider;
use crate::transport::{Proxy, Transport};

/// Settings of a [`Client`] before it is one: a [`Config`], how to open sockets, and where tokens come from.
pub struct Builder {
    pub(crate) config: Config,
    pub(crate) transport: Transport,
    pub(crate) provider: Option<TokenProvider>,
}

impl Builder {
    /// Asks this for a token on every connect, and before one runs out. `None` connects without.
    pub fn token_provider<F, T, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<Option<String>, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.config.token = Token::Provider;
        self.provider = Some(Arc::new(move || {
            let answer = provider();
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// Trusts these certificate authorities, in PEM, instead of those of the platform.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.transport.ca = Some(pem.into());
        self
    }

    /// Goes through this proxy. Default [`Proxy::Environment`].
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.transport.proxy = proxy;
        self
    }

    /// Writes [`Client::dump`] to this file when an error ends the client. Default none.
    pub fn error_report(mut self, path: impl Into<PathBuf>) -> Self {
        self.transport.error_report = Some(path.into());
        self
    }

    /// Makes the outbox durable: what a send was accepted with is in this file until it has ended, survives the end of the process, and
    /// goes out, once, after the next start. Each client needs a file of its own. Default none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = realtime_server::Server::default().start().await?;
    /// # let url = server.url();
    /// # let folder = std::env::temp_dir().join(format!("outbox-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("outbox");
    /// use realtime_client::Client;
    ///
    /// let client = Client::builder(&url).outbox(&path).connect().await?;
    /// let second = Client::builder(&url).outbox(&path).start();
    /// assert_eq!(second.unwrap_err().code(), "outbox_in_use");
    ///
    /// let receipt = client.channel("orders")?.publish("placed", &7).await?;
    /// assert!(receipt.acknowledged);
    /// # drop(client);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn outbox(mut self, path: impl Into<PathBuf>) -> Self {
        self.transport.outbox = Some(path.into());
        self
    }

    /// Starts the client and lets it connect in the background. Must be called within a tokio runtime.
    ///
    /// Fails with `invalid_option`, `invalid_url` or `unsupported` where the settings cannot be used, and with `outbox_in_use`,
    /// `outbox_damaged` or `storage_failed` where the file of the outbox cannot.
    pub fn start(self) -> Result<Client, Error> {
        Client::start(self)
    }

    /// Starts the client and waits until it is connected.
    ///
    /// Fails as [`Builder::start`] does, and where the client gives up or has the status `error`: after
    /// `attempts_until_error` failed attempts. Use `start` to go on trying for as long as it takes.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.start()?;
        client.ready().await?;
        Ok(client)
    }
}

impl From<Config> for Builder {
    fn from(config: Config) -> Self {
        Self { config, transport: Transport::default(), provider: None }
    }
}

impl From<&str> for Builder {
    fn from(url: &str) -> Self {
        Config::new(url).into()
    }
}

impl From<String> for Builder {
    fn from(url: String) -> Self {
        Config::new(url).into()
    }
}

impl From<&String> for Builder {
    fn from(url: &String) -> Self {
        Config::new(url).into()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what is secret: session, token, headers.
        f.debug_struct("Builder").field("url", &self.config.url).finish_non_exhaustive()
    }
}
