use std::time::Duration;

use url::Url;

use crate::error::{Error, ErrorKind};
use crate::wire::Window;

/// Which dialect a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `realtime.v1` where the server picks it, otherwise `plain`.
    #[default]
    Auto,
    /// Only `realtime.v1`.
    V1,
    /// Only `plain`: any JSON WebSocket backend.
    Plain,
}

/// Where the token comes from. A provider is asked afresh on every connect.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Token {
    /// No token.
    #[default]
    None,
    /// Always this one.
    Static(String),
    /// The driver asks the application each time ([`Output::RequestToken`](crate::Output::RequestToken)).
    Provider,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Token::None => "None",
            Token::Static(_) => "Static(…)",
            Token::Provider => "Provider",
        })
    }
}

/// Where the token goes on the upgrade. In `realtime.v1` it is in `hello` as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenPlacement {
    /// `Authorization: Bearer …`. Not possible in browsers.
    #[default]
    Header,
    /// A query parameter with this name.
    Query(String),
    /// Only in `hello`.
    Hello,
}

/// What happens to a send while the outbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The caller waits for room.
    #[default]
    Wait,
    /// The send fails with `queue_full`.
    Reject,
    /// The oldest message that was not sent yet fails with `dropped`.
    DropOldest,
}

/// Settings of a connection. Every field has a default but the URL; [`Config::validate`] says what is out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// `ws://` or `wss://`.
    pub url: String,
    /// Default [`Protocol::Auto`].
    pub protocol: Protocol,
    /// Sent with the upgrade. Default none.
    pub headers: Vec<(String, String)>,
    /// Added to the URL. Default none.
    pub query: Vec<(String, String)>,
    /// Offered besides the engine's own. Default none.
    pub subprotocols: Vec<String>,
    /// Default [`Token::None`].
    pub token: Token,
    /// Default [`TokenPlacement::Header`].
    pub token_placement: TokenPlacement,
    /// How long a token provider may take. Default 10 s.
    pub token_timeout: Duration,
    /// From opening the socket to connected. Default 10 s.
    pub connect_timeout: Duration,
    /// Between pings. Default 30 s.
    pub heartbeat_interval: Duration,
    /// Without any frame for this long the socket is dead. Default 60 s; at least the interval.
    pub heartbeat_timeout: Duration,
    /// Whether to come back by itself. Default true.
    pub reconnect: bool,
    /// The first retry comes within this, at random. Default 0.5 s.
    pub reconnect_first: Duration,
    /// The second retry comes within this, at random; it doubles from there. Default 3 s.
    pub reconnect_base: Duration,
    /// Retries come within at most this. Default 30 s.
    pub reconnect_max: Duration,
    /// After this many failed attempts in a row the status is `error`; probing goes on. Default 5.
    pub attempts_until_error: u32,
    /// After this many failed attempts in a row the client gives up. Default never.
    pub max_attempts: Option<u32>,
    /// Messages in the outbox, sent and unsent, until their receipt. Default 10,000.
    pub queue_messages: usize,
    /// Bytes in the outbox. Default 16 MiB.
    pub queue_bytes: usize,
    /// Default [`WhenFull::Wait`].
    pub when_full: WhenFull,
    /// Fails a send that has no receipt after this long. Default never.
    pub send_timeout: Option<Duration>,
    /// Unconsumed bytes of messages, in all and per channel. Default 4 MiB and 2 MiB: twice what a link of 160 Mbit/s with a
    /// round trip of 100 ms keeps on its way. More would only be more memory.
    pub inbox: Window,
    /// Bytes that the records of one collection, or the members of one presence, may take of memory; a stream over it fails
    /// with `collection_full` or `presence_full`. Default 256 MiB.
    pub replica_bytes: usize,
    /// Events a second that the client sends at most; more are delayed. Default no limit.
    pub rate_limit: Option<u32>,
    /// Whether the server should put JSON into binary frames. Default true: native hosts check the JSON themselves.
    pub binary_json: bool,
    /// The secret session id: 16 to 64 characters of `A-Z a-z 0-9 - _` from at least 120 random bits.
    /// Default empty: made from the seed, which is only as random as that.
    pub session: String,
    /// Entries of the flight recorder, which [`Session::dump`](crate::Session::dump) writes out; each has 72 bytes at most. Default
    /// 512; 0: none.
    pub record: usize,
    /// Name and version told to the server.
    pub client: String,
}

impl Config {
    /// Defaults for this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            protocol: Protocol::Auto,
            headers: Vec::new(),
            query: Vec::new(),
            subprotocols: Vec::new(),
            token: Token::None,
            token_placement: TokenPlacement::Header,
            token_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(60),
            reconnect: true,
            reconnect_first: Duration::from_millis(500),
            reconnect_base: Duration::from_secs(3),
            reconnect_max: Duration::from_secs(30),
            attempts_until_error: 5,
            max_attempts: None,
            queue_messages: 10_000,
            queue_bytes: 16 << 20,
            when_full: WhenFull::Wait,
            send_timeout: None,
            inbox: Window { connection: 4 << 20, channel: 2 << 20 },
            replica_bytes: 256 << 20,
            rate_limit: None,
            binary_json: true,
            session: String::new(),
            record: 512,
            client: concat!("realtime-client/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Checks every field and says which one is wrong, and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        parse_url(&self.url)?;
        let positive = [
            ("connectTimeout", self.connect_timeout),
            ("tokenTimeout", self.token_timeout),
            ("heartbeat.interval", self.heartbeat_interval),
            ("heartbeat.timeout", self.heartbeat_timeout),
            ("reconnect.first", self.reconnect_first),
            ("reconnect.base", self.reconnect_base),
            ("reconnect.max", self.reconnect_max),
            ("sendTimeout", self.send_timeout.unwrap_or(Duration::MAX)),
        ];
        for (name, value) in positive {
            check(!value.is_zero(), name, "must be more than 0")?;
        }
        check(
            self.heartbeat_timeout >= self.heartbeat_interval,
            "heartbeat.timeout",
            "must be at least heartbeat.interval",
        )?;
        check(self.reconnect_max >= self.reconnect_base, "reconnect.max", "must be at least reconnect.base")?;
        check(self.attempts_until_error > 0, "reconnect.attemptsUntilError", "must be at least 1")?;
        check(self.max_attempts != Some(0), "reconnect.maxAttempts", "must be at least 1")?;
        check(self.queue_messages > 0, "queue.messages", "must be at least 1")?;
        check(self.queue_bytes > 0, "queue.bytes", "must be at least 1")?;
        check(self.inbox.connection > 0, "inbox.bytes", "must be at least 1")?;
        check(self.inbox.channel > 0, "inbox.channelBytes", "must be at least 1")?;
        check(self.replica_bytes > 0, "replicaBytes", "must be at least 1")?;
        check(self.rate_limit != Some(0), "rateLimit", "must be at least 1")?;
        for (name, value) in &self.headers {
            let valid_name =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
            check(valid_name, "headers", &format!("has the invalid name {name:?}"))?;
            let valid_value = value.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
            check(valid_value, "headers", &format!("has a control character in the value of {name:?}"))?;
        }
        for protocol in &self.subprotocols {
            let valid = !protocol.is_empty()
                && protocol.bytes().all(|b| b.is_ascii_graphic() && !b"(),/:;<=>?@[\\]{}\"".contains(&b));
            check(valid, "subprotocols", &format!("has the invalid token {protocol:?}"))?;
        }
        check(
            self.session.is_empty() || is_session(&self.session),
            "session",
            "must be 16 to 64 characters of A-Z a-z 0-9 - _",
        )
    }
}

pub(crate) fn is_session(session: &str) -> bool {
    (16..=64).contains(&session.len()) && session.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

pub(crate) fn parse_url(text: &str) -> Result<Url, Error> {
    let invalid = |why: String| {
        Error::new(
            ErrorKind::InvalidUrl,
            format!("{text:?} cannot be used as a URL: {why}; it looks like wss://host/path"),
        )
    };
    let url = Url::parse(text).map_err(|e| invalid(e.to_string()))?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(invalid(format!("the scheme is {:?}, not ws or wss", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("it has no host".into()));
    }
    if url.fragment().is_some() {
        return Err(invalid("WebSocket URLs have no fragment (#…)".into()));
    }
    Ok(url)
}

fn check(valid: bool, option: &str, problem: &str) -> Result<(), Error> {
    if valid { Ok(()) } else { Err(Error::new(ErrorKind::InvalidOption, format!("option {option} {problem}"))) }
}
