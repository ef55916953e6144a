//! The `realtime` command, as a function, so that packages of other languages can offer it too.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::sync::watch;

use crate::application::{Application, Echo};
use crate::auth::Auth;
use crate::config::{ServerConfig, Tls};
use crate::hub::{CollectionConfig, HistoryConfig, HubConfig, PresenceConfig};
use crate::server::{RunningServer, Server};
use crate::store::StoreError;

/// Runs the command with these arguments; the first one is the name of the program.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Command::Serve(serve) = cli.command;
    match serve.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("realtime: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Parser)]
#[command(name = "realtime", version, about = "A realtime WebSocket server")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves realtime.v1 and plain WebSocket clients.
    Serve(Box<Serve>),
}

#[derive(Debug, Args)]
struct Serve {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Path where WebSockets are accepted, again for more; "any" accepts every path. [default: / and /realtime]
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
    /// Origin that browsers may come from, again for more. [default: every origin]
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,
    /// Certificate chain in PEM: serves wss.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Directory where histories, collections and receipts are kept over restarts. [default: in memory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Sends what clients send to the server itself back to them.
    #[arg(long)]
    echo: bool,
    /// How long clients have to leave after SIGTERM or SIGINT, ms.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    drain: u64,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    bounds: Bounds,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Tokens")]
struct AuthArgs {
    /// Wants this very token.
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["jwt_secret", "jwt_public_key"])]
    token_secret: Option<String>,
    /// Wants a JWT signed with HS256 and this secret; its `sub` is the user.
    #[arg(long, value_name = "SECRET", conflicts_with = "jwt_public_key")]
    jwt_secret: Option<String>,
    /// Wants a JWT signed with RS256; this is the public key in PEM.
    #[arg(long, value_name = "FILE")]
    jwt_public_key: Option<PathBuf>,
    /// Wants this `aud` in the JWT.
    #[arg(long, value_name = "AUDIENCE")]
    jwt_audience: Option<String>,
    /// Wants this `iss` in the JWT.
    #[arg(long, value_name = "ISSUER")]
    jwt_issuer: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Bounds")]
struct Bounds {
    /// Connections at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_connections: usize,
    /// Subscriptions of a connection, and channels where it is present.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_channels: u64,
    /// Unanswered publishes, sends and mutations of a connection.
    #[arg(long, value_name = "COUNT", default_value_t = 1024)]
    max_inflight: u64,
    /// Bytes of a payload, and of a record.
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    max_payload: u64,
    /// Publishes and sends a second of a connection; 0 is no limit.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    rate: u64,
    /// Messages of a channel that are kept for recovery.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    history_messages: usize,
    /// Bytes of a channel that are kept for recovery.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    history_bytes: usize,
    /// How long messages are kept for recovery, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    history_age: u64,
    /// Bytes of all channels that are kept for recovery.
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20)]
    history_total: usize,
    /// How long a client without a connection still counts as present, ms.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    presence_grace: u64,
    /// At most one message of presence changes in this time for each channel, ms.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    presence_interval: u64,
    /// Clients that are present in a channel.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    presence_members: usize,
    /// Records of a collection.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    collection_records: u64,
    /// Bytes of all records of all collections, in memory.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    collection_bytes: usize,
    /// How often clients give a sign of life, ms.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    heartbeat: u64,
    /// After how much silence a client is given up, ms.
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    timeout: u64,
    /// How long a socket may take nothing while something waits, ms.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    write_timeout: u64,
}

type Failure = Box<dyn std::error::Error>;

impl Serve {
    fn run(self) -> Result<(), Failure> {
        let drain = Duration::from_millis(self.drain);
        let config = self.config()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let address = format!("{}:{}", config.host, config.port);
            let server = Server::new(config).start().await.map_err(|error| match error.get_ref() {
                Some(store) if store.is::<StoreError>() => error.to_string(),
                _ => format!("{address}: {error}"),
            })?;
            // Before anybody can know whom to ask.
            let mut requests = StopRequests::listen()?;
            announce(&server)?;
            tokio::spawn(report_trouble(server.store_trouble()));
            requests.next().await;
            // Asked twice, it does not wait.
            tokio::select! {
                () = server.drain(drain) => {}
                () = requests.next() => {}
            }
            server.stop().await;
            Ok(())
        })
    }

    fn config(self) -> Result<ServerConfig, Failure> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(Tls::from_files(cert, key)?),
            _ => None,
        };
        let defaults = ServerConfig::default();
        let paths = match self.paths {
            paths if paths.is_empty() => defaults.paths,
            paths if paths.iter().any(|path| path == "any") => Vec::new(),
            paths => paths,
        };
        Ok(ServerConfig {
            host: self.host,
            port: self.port,
            paths,
            allowed_origins: self.allowed_origins,
            tls,
            data: self.data,
            application: self.echo.then(|| Arc::new(Echo) as Arc<dyn Application>),
            hub: HubConfig { auth: self.auth.auth()?, ..self.bounds.hub() },
        })
    }
}

impl AuthArgs {
    fn auth(self) -> Result<Auth, Failure> {
        let mut auth = match (self.token_secret, self.jwt_secret, self.jwt_public_key) {
            (Some(secret), ..) => Auth::secret(secret),
            (_, Some(secret), _) => Auth::hs256(secret.as_bytes()),
            (_, _, Some(path)) => {
                let pem = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                Auth::rs256(&pem)?
            }
            _ => Auth::None,
        };
        if let Some(audience) = self.jwt_audience {
            auth = auth.audience(&audience);
        }
        if let Some(issuer) = self.jwt_issuer {
            auth = auth.issuer(&issuer);
        }
        Ok(auth)
    }
}

impl Bounds {
    fn hub(self) -> HubConfig {
        let mut hub = HubConfig {
            connections: self.max_connections,
            heartbeat: Duration::from_millis(self.heartbeat),
            timeout: Duration::from_millis(self.timeout),
            write_timeout: Duration::from_millis(self.write_timeout),
            history: HistoryConfig {
                messages: self.history_messages,
                bytes: self.history_bytes,
                age: Duration::from_secs(self.history_age),
                total_bytes: self.history_total,
                ..HistoryConfig::default()
            },
            presence: PresenceConfig {
                grace: Duration::from_millis(self.presence_grace),
                interval: Duration::from_millis(self.presence_interval),
                members: self.presence_members,
                ..PresenceConfig::default()
            },
            collections: CollectionConfig {
                records: self.collection_records,
                total_bytes: self.collection_bytes,
                ..CollectionConfig::default()
            },
            ..HubConfig::default()
        };
        hub.limits.channels = self.max_channels;
        hub.limits.inflight = self.max_inflight;
        hub.limits.rate = self.rate;
        hub.limits.payload = self.max_payload;
        // Room for the names and the rest of the message.
        hub.limits.frame = hub.limits.frame.max(self.max_payload.saturating_add(4096));
        hub
    }
}

/// Prints where clients connect to, for people and for programs that wait for it.
fn announce(server: &RunningServer) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "realtime listening on {}", server.url())?;
    out.flush()
}

/// Says on stderr when the store begins to fail, and when it works again.
async fn report_trouble(mut trouble: watch::Receiver<Option<String>>) {
    while trouble.changed().await.is_ok() {
        match &*trouble.borrow_and_update() {
            Some(error) => eprintln!("realtime: the store fails, publishes are refused: {error}"),
            None => eprintln!("realtime: the store works again"),
        }
    }
}

/// Signals that ask the process to stop.
#[cfg(unix)]
struct StopRequests {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopRequests {
    /// From here on they end the process no more by themselves.
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(windows)]
struct StopRequests(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl StopRequests {
    /// From here on they end the process no more by themselves.
    fn listen() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
