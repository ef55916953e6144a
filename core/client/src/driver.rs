use std::sync::Arc;

use realtime_engine::{Config, Error, ErrorKind, Session};

use crate::clock::Clock;
use crate::handle::Handle;
use crate::host::Host;
use crate::shared::Shared;
use crate::transport::Transport;

/// Runs one client: owns its socket and its timers, and feeds its session.
#[derive(Debug)]
pub struct Driver<H> {
    shared: Arc<Shared>,
    host: H,
}

impl<H: Host> Driver<H> {
    /// Starts a driver on the current tokio runtime, of either kind; it is idle until [`Handle::connect`].
    ///
    /// Fails where the configuration is not valid. Must be called within the context of a runtime.
    pub fn spawn(config: Config, transport: Transport, host: H) -> Result<Handle, Error> {
        let (handle, driver) = Self::new(config, transport, host)?;
        drop(tokio::spawn(driver.run()));
        Ok(handle)
    }

    /// The same without a runtime: the caller runs [`Driver::run`] where it likes.
    pub fn new(mut config: Config, transport: Transport, host: H) -> Result<(Handle, Self), Error> {
        let _ = transport;
        config.validate()?;
        if config.session.is_empty() {
            config.session = format!("{:016x}{:016x}", random()?, random()?);
        }
        let clock = Clock::start();
        let when_full = config.when_full;
        let session = Session::new(config, clock.now(), random()?)?;
        let shared = Arc::new(Shared::new(session, clock, when_full));
        Ok((Handle::new(Arc::clone(&shared)), Self { shared, host }))
    }

    /// Drives the client until the last handle is dropped, or [`Handle::shutdown`].
    pub async fn run(mut self) {
        // SKELETON: the loop follows.
        self.shared.stop();
        self.host.stopped();
    }
}

fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| {
        Error::new(ErrorKind::Unsupported, format!("the operating system gave no random bytes: {error}"))
    })
}
