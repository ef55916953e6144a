//! The embedded test server, and the server's command line.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use realtime_client::{Data, Error, ErrorKind};
use realtime_engine::wire::CloseCode;
use realtime_server::hub::{Content, PublishError};
use realtime_server::{Application, Auth, Echo, RunningServer, Server, ServerConfig};
use serde_json::Value;

use crate::fork::{Origin, forked};
use crate::options::Fields;
use crate::runtime::{PEERS, wait_for};

/// A server in this process, on a thread of its own, for tests. Its methods block, none for longer than a few seconds.
#[derive(Debug)]
pub struct EmbeddedServer {
    url: String,
    running: Mutex<Option<RunningServer>>,
    origin: Origin,
}

impl EmbeddedServer {
    /// Starts a server with these options, a JSON object with camelCase keys. Each has the default of the server; `port`
    /// is 0, any free one.
    ///
    /// `data` (a directory where histories and receipts outlive the server),
    /// `host`, `port`, `paths []`, `allowedOrigins []`, `echo`, `tokenSecret`, `jwtSecret`, `jwtPublicKey` (PEM),
    /// `jwtAudience`, `jwtIssuer`, `tlsCertificate` and `tlsKey` (PEM), `maxConnections`, `maxChannels`, `maxInflight`,
    /// `maxPayload`, `maxFrame`, `rate`, `historyMessages`, `historyBytes`, `historyAge`, `heartbeat`, `timeout`,
    /// `handshakeTimeout`, `writeTimeout`, `presenceGrace`, `presenceInterval` (times in ms), `presenceMembers`,
    /// `collectionRecords`, `collectionBytes`.
    pub fn start(options_json: &str) -> Result<Self, Error> {
        let server = Server::new(parse(options_json)?);
        let started = wait_for(&PEERS, server.start())?;
        let running =
            started.map_err(|e| Error::new(ErrorKind::ConnectFailed, format!("the server cannot listen: {e}")))?;
        Ok(Self { url: running.url(), running: Mutex::new(Some(running)), origin: Origin::here() })
    }

    /// Where clients connect to: `ws://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Publishes into a channel, as the server itself, and returns the offset.
    pub fn publish(&self, channel: &str, event: &str, payload: Data) -> Result<u64, Error> {
        let position = self.with(|server| server.publish(channel, event, &content(payload)))?;
        position.map(|position| position.offset).map_err(refused)
    }

    /// Sends a message to every client, outside of any channel, and returns to how many.
    pub fn send_to_all(&self, event: &str, payload: Data) -> Result<usize, Error> {
        self.with(|server| server.send_to_all(event, &content(payload)))?.map_err(refused)
    }

    /// Closes every connection with this code, which says whether clients come back.
    pub fn disconnect_all(&self, code: u16) -> Result<(), Error> {
        self.with(|server| server.disconnect_all(CloseCode(code), "disconnected by the application"))
    }

    /// How many clients are connected.
    pub fn connection_count(&self) -> Result<usize, Error> {
        self.with(RunningServer::connection_count)
    }

    /// Asks every client to leave within `spread` and waits for it.
    pub fn drain(&self, spread: Duration) -> Result<(), Error> {
        let Some(server) = self.lock()?.take() else { return Err(stopped()) };
        let server = wait_for(&PEERS, async move {
            server.drain(spread).await;
            server
        })?;
        *self.lock()? = Some(server);
        Ok(())
    }

    /// Closes every connection and frees the port. Idempotent.
    pub fn stop(&self) -> Result<(), Error> {
        let Some(server) = self.lock()?.take() else { return Ok(()) };
        wait_for(&PEERS, server.stop())
    }

    fn with<T>(&self, call: impl FnOnce(&RunningServer) -> T) -> Result<T, Error> {
        let running = self.lock()?;
        let server = running.as_ref().ok_or_else(stopped)?;
        let _context = PEERS.handle()?.enter();
        Ok(call(server))
    }

    fn lock(&self) -> Result<MutexGuard<'_, Option<RunningServer>>, Error> {
        if !self.origin.is_here() {
            return Err(forked());
        }
        Ok(self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        if !self.origin.is_here() {
            // Its locks may be held by threads that are not in this process.
            std::mem::forget(self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// Runs the server's command line until it ends, and returns its exit code. Blocks. The first argument is the name of the program.
pub fn run_cli(args: Vec<String>) -> u8 {
    // An exit code does not give its number away.
    let code = realtime_server::cli::run(args);
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(1)
}

fn parse(options_json: &str) -> Result<ServerConfig, Error> {
    let value: Value = serde_json::from_str(options_json).map_err(|e| invalid("options", e))?;
    let mut fields = Fields::new("", value)?;
    let mut config = ServerConfig { port: 0, ..ServerConfig::default() };
    if let Some(host) = fields.string("host")? {
        config.host = host;
    }
    fields.integer("port", &mut config.port)?;
    if let Some(paths) = fields.strings("paths")? {
        config.paths = paths;
    }
    if let Some(origins) = fields.strings("allowedOrigins")? {
        config.allowed_origins = origins;
    }
    config.data = fields.string("data")?.map(Into::into);
    if fields.boolean("echo")? == Some(true) {
        config.application = Some(Arc::new(Echo) as Arc<dyn Application>);
    }
    config.tls = match (fields.string("tlsCertificate")?, fields.string("tlsKey")?) {
        (Some(certificate), Some(key)) => {
            let tls = realtime_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes());
            Some(tls.map_err(|e| invalid("tlsCertificate", e))?)
        }
        (None, None) => None,
        _ => return Err(invalid("tlsCertificate", "needs tlsKey, and the other way round")),
    };
    config.hub.auth = parse_auth(&mut fields)?;
    let hub = &mut config.hub;
    fields.integer("maxConnections", &mut hub.connections)?;
    fields.integer("maxChannels", &mut hub.limits.channels)?;
    fields.integer("maxInflight", &mut hub.limits.inflight)?;
    fields.integer("maxPayload", &mut hub.limits.payload)?;
    // Room for the names and the rest of the message.
    hub.limits.frame = hub.limits.frame.max(hub.limits.payload.saturating_add(4096));
    fields.integer("maxFrame", &mut hub.limits.frame)?;
    fields.integer("rate", &mut hub.limits.rate)?;
    fields.integer("historyMessages", &mut hub.history.messages)?;
    fields.integer("historyBytes", &mut hub.history.bytes)?;
    fields.duration("historyAge", &mut hub.history.age)?;
    fields.duration("heartbeat", &mut hub.heartbeat)?;
    fields.duration("timeout", &mut hub.timeout)?;
    fields.duration("handshakeTimeout", &mut hub.handshake_timeout)?;
    fields.duration("writeTimeout", &mut hub.write_timeout)?;
    fields.duration("presenceGrace", &mut hub.presence.grace)?;
    fields.duration("presenceInterval", &mut hub.presence.interval)?;
    fields.integer("presenceMembers", &mut hub.presence.members)?;
    fields.integer("collectionRecords", &mut hub.collections.records)?;
    fields.integer("collectionBytes", &mut hub.collections.total_bytes)?;
    fields.finish()?;
    Ok(config)
}

fn parse_auth(fields: &mut Fields) -> Result<Auth, Error> {
    let tokens = (fields.string("tokenSecret")?, fields.string("jwtSecret")?, fields.string("jwtPublicKey")?);
    let mut auth = match tokens {
        (None, None, None) => Auth::None,
        (Some(secret), None, None) => Auth::secret(secret),
        (None, Some(secret), None) => Auth::hs256(secret.as_bytes()),
        (None, None, Some(pem)) => Auth::rs256(pem.as_bytes()).map_err(|e| invalid("jwtPublicKey", e))?,
        _ => return Err(invalid("tokenSecret", "jwtSecret and jwtPublicKey exclude each other")),
    };
    if let Some(audience) = fields.string("jwtAudience")? {
        auth = auth.audience(&audience);
    }
    if let Some(issuer) = fields.string("jwtIssuer")? {
        auth = auth.issuer(&issuer);
    }
    Ok(auth)
}

fn content(payload: Data) -> Content {
    match payload {
        Data::Json(bytes) => Content::Json(bytes),
        Data::Binary(bytes) => Content::Binary(bytes),
        other => Content::Binary(Bytes::clone(other.bytes())),
    }
}

fn refused(error: PublishError) -> Error {
    match error {
        PublishError::Invalid(error) => Error::from(error),
        other => Error::new(ErrorKind::InvalidPayload, other.to_string()),
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Closed, "the server is not running")
}

fn invalid(option: &str, problem: impl Display) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("option {option}: {problem}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn options_reach_the_server() {
        let config = parse(
            r#"{"historyMessages": 3, "maxPayload": 2000000, "maxChannels": 4, "rate": 5, "tokenSecret": "s", "echo": true, "data": "d",
                "presenceGrace": 6, "collectionRecords": 7}"#,
        )
        .unwrap();
        assert_eq!((config.hub.history.messages, config.data), (3, Some("d".into())));
        assert_eq!((config.hub.limits.payload, config.hub.limits.frame), (2_000_000, 2_004_096));
        assert_eq!((config.hub.limits.channels, config.hub.limits.rate), (4, 5));
        assert_eq!(config.hub.presence.grace, Duration::from_millis(6));
        assert_eq!(config.hub.collections.records, 7);
        assert!(!config.hub.auth.is_open() && config.application.is_some());
        assert_eq!(parse(r#"{"historyMesages": 3}"#).unwrap_err().code(), "invalid_option");
        assert_eq!(parse(r#"{"tokenSecret": "s", "jwtSecret": "t"}"#).unwrap_err().code(), "invalid_option");
    }

    #[test]
    fn a_stopped_server_says_so() {
        let server = EmbeddedServer::start("{}").unwrap();
        assert!(server.url().starts_with("ws://127.0.0.1:"));
        assert_eq!(server.publish("room", "said", Data::Json("1".into())).unwrap(), 1);
        assert_eq!(server.publish("room", "said", Data::Json("{".into())).unwrap_err().code(), "malformed");
        server.stop().unwrap();
        server.stop().unwrap();
        assert_eq!(server.connection_count().unwrap_err().code(), "closed");
    }
}
