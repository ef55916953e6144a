//! The options of a client, as JSON: one parser and one set of errors for all hosts.

use std::time::Duration;

use realtime_client::{Config, Error, ErrorKind, Protocol, Proxy, Token, TokenPlacement, Transport, WhenFull};
use serde_json::{Map, Value};

/// Options of a [`Connection`](crate::Connection), parsed and checked.
///
/// A JSON object with camelCase keys; times in milliseconds; `null` is absent; only `url` is needed:
///
/// `url`, `protocol` (`"auto"`, `"realtime.v1"`, `"plain"`), `token` or `tokenProvider: true`, `tokenPlacement`
/// (`"header"`, `"hello"`, or `{"query": name}`), `tokenTimeout`, `headers {}`, `query {}`, `subprotocols []`,
/// `connectTimeout`, `sendTimeout`, `heartbeat {interval, timeout}`,
/// `reconnect` (a boolean, or `{enabled, first, base, max, attemptsUntilError, maxAttempts}`),
/// `queue {messages, bytes, whenFull: "wait" | "reject" | "dropOldest", path}`, `inbox {bytes, channelBytes}`,
/// `replicaBytes`, `rateLimit`,
/// `errorReport` (a path), `ca` (PEM), `proxy` (`true`: from the environment, `false`: none, or a URL).
///
/// Anything else is refused with `invalid_option`, a URL that cannot be used with `invalid_url`.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) config: Config,
    pub(crate) transport: Transport,
}

impl Options {
    /// Parses and checks.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let value: Value = serde_json::from_str(json).map_err(|e| invalid(format!("options are not JSON: {e}")))?;
        let mut fields = Fields::new("", value)?;
        let url = fields.string("url")?.ok_or_else(|| invalid("option url is missing"))?;
        let mut config = Config::new(url);
        let mut transport = Transport::default();
        read_connection(&mut fields, &mut config, &mut transport)?;
        read_token(&mut fields, &mut config)?;
        read_heartbeat(&mut fields, &mut config)?;
        read_reconnect(&mut fields, &mut config)?;
        read_queues(&mut fields, &mut config, &mut transport)?;
        fields.finish()?;
        config.validate()?;
        Ok(Self { config, transport })
    }
}

fn read_connection(fields: &mut Fields, config: &mut Config, transport: &mut Transport) -> Result<(), Error> {
    if let Some(protocol) = fields.string("protocol")? {
        config.protocol = match protocol.as_str() {
            "auto" => Protocol::Auto,
            "realtime.v1" => Protocol::V1,
            "plain" => Protocol::Plain,
            _ => return Err(fields.wrong("protocol", r#""auto", "realtime.v1" or "plain""#, &protocol.into())),
        };
    }
    config.headers = fields.pairs("headers")?;
    config.query = fields.pairs("query")?;
    config.subprotocols = fields.strings("subprotocols")?.unwrap_or_default();
    fields.duration("connectTimeout", &mut config.connect_timeout)?;
    fields.optional_duration("sendTimeout", &mut config.send_timeout)?;
    transport.ca = fields.string("ca")?.map(String::into_bytes);
    transport.error_report = fields.string("errorReport")?.map(Into::into);
    transport.proxy = match fields.take("proxy") {
        None | Some(Value::Bool(true)) => Proxy::Environment,
        Some(Value::Bool(false)) => Proxy::Direct,
        Some(Value::String(url)) => Proxy::Url(url),
        Some(other) => return Err(fields.wrong("proxy", "a URL, true or false", &other)),
    };
    Ok(())
}

fn read_token(fields: &mut Fields, config: &mut Config) -> Result<(), Error> {
    let token = fields.string("token")?;
    config.token = match (fields.boolean("tokenProvider")?, token) {
        (Some(true), Some(_)) => return Err(invalid("options token and tokenProvider exclude each other")),
        (Some(true), None) => Token::Provider,
        (_, Some(token)) => Token::Static(token),
        (_, None) => Token::None,
    };
    fields.duration("tokenTimeout", &mut config.token_timeout)?;
    config.token_placement = match fields.take("tokenPlacement") {
        None => TokenPlacement::Header,
        Some(Value::String(place)) if place == "header" => TokenPlacement::Header,
        Some(Value::String(place)) if place == "hello" => TokenPlacement::Hello,
        Some(value @ Value::Object(_)) => {
            let mut query = Fields::new("tokenPlacement", value)?;
            let name = query.string("query")?.ok_or_else(|| invalid("option tokenPlacement.query is missing"))?;
            query.finish()?;
            TokenPlacement::Query(name)
        }
        Some(other) => {
            return Err(fields.wrong("tokenPlacement", r#""header", "hello" or {"query": name}"#, &other));
        }
    };
    Ok(())
}

fn read_heartbeat(fields: &mut Fields, config: &mut Config) -> Result<(), Error> {
    if let Some(mut heartbeat) = fields.object("heartbeat")? {
        heartbeat.duration("interval", &mut config.heartbeat_interval)?;
        heartbeat.duration("timeout", &mut config.heartbeat_timeout)?;
        heartbeat.finish()?;
    }
    Ok(())
}

fn read_reconnect(fields: &mut Fields, config: &mut Config) -> Result<(), Error> {
    let value = match fields.take("reconnect") {
        None => return Ok(()),
        Some(Value::Bool(enabled)) => {
            config.reconnect = enabled;
            return Ok(());
        }
        Some(value @ Value::Object(_)) => value,
        Some(other) => return Err(fields.wrong("reconnect", "a boolean or an object", &other)),
    };
    let mut reconnect = Fields::new("reconnect", value)?;
    if let Some(enabled) = reconnect.boolean("enabled")? {
        config.reconnect = enabled;
    }
    reconnect.duration("first", &mut config.reconnect_first)?;
    reconnect.duration("base", &mut config.reconnect_base)?;
    reconnect.duration("max", &mut config.reconnect_max)?;
    reconnect.integer("attemptsUntilError", &mut config.attempts_until_error)?;
    reconnect.optional_integer("maxAttempts", &mut config.max_attempts)?;
    reconnect.finish()
}

fn read_queues(fields: &mut Fields, config: &mut Config, transport: &mut Transport) -> Result<(), Error> {
    if let Some(mut queue) = fields.object("queue")? {
        queue.integer("messages", &mut config.queue_messages)?;
        queue.integer("bytes", &mut config.queue_bytes)?;
        if let Some(policy) = queue.string("whenFull")? {
            config.when_full = match policy.as_str() {
                "wait" => WhenFull::Wait,
                "reject" => WhenFull::Reject,
                "dropOldest" => WhenFull::DropOldest,
                _ => return Err(queue.wrong("whenFull", r#""wait", "reject" or "dropOldest""#, &policy.into())),
            };
        }
        transport.outbox = queue.string("path")?.map(Into::into);
        queue.finish()?;
    }
    fields.integer("replicaBytes", &mut config.replica_bytes)?;
    if let Some(mut inbox) = fields.object("inbox")? {
        inbox.integer("bytes", &mut config.inbox.connection)?;
        inbox.integer("channelBytes", &mut config.inbox.channel)?;
        inbox.finish()?;
    }
    fields.optional_integer("rateLimit", &mut config.rate_limit)
}

/// The keys of one object, taken out one by one.
pub(crate) struct Fields {
    path: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    pub(crate) fn new(path: &'static str, value: Value) -> Result<Self, Error> {
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            other => Err(invalid(format!("options must be an object, not {other}"))),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => Err(invalid(format!("option {} is not known", self.name(key)))),
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn string(&mut self, key: &str) -> Result<Option<String>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a string", &other)),
        }
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Result<Option<bool>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(key, "a boolean", &other)),
        }
    }

    fn object(&mut self, key: &'static str) -> Result<Option<Fields>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(value @ Value::Object(_)) => Ok(Some(Fields::new(key, value)?)),
            Some(other) => Err(self.wrong(key, "an object", &other)),
        }
    }

    pub(crate) fn integer<T: TryFrom<u64>>(&mut self, key: &str, into: &mut T) -> Result<(), Error> {
        let mut found = None;
        self.optional_integer(key, &mut found)?;
        if let Some(value) = found {
            *into = value;
        }
        Ok(())
    }

    pub(crate) fn optional_integer<T: TryFrom<u64>>(&mut self, key: &str, into: &mut Option<T>) -> Result<(), Error> {
        if let Some(value) = self.take(key) {
            let parsed = value.as_u64().and_then(|n| T::try_from(n).ok());
            *into = Some(parsed.ok_or_else(|| self.wrong(key, "an integer in its range", &value))?);
        }
        Ok(())
    }

    pub(crate) fn duration(&mut self, key: &str, into: &mut Duration) -> Result<(), Error> {
        let mut found = None;
        self.optional_duration(key, &mut found)?;
        if let Some(value) = found {
            *into = value;
        }
        Ok(())
    }

    pub(crate) fn optional_duration(&mut self, key: &str, into: &mut Option<Duration>) -> Result<(), Error> {
        if let Some(value) = self.take(key) {
            // 2^53 ms are 285,000 years, and the largest integer that every host writes exactly.
            let millis = value.as_f64().filter(|ms| (0.0..=9_007_199_254_740_992.0).contains(ms));
            let millis = millis.ok_or_else(|| self.wrong(key, "a duration that is not negative", &value))?;
            *into = Some(Duration::from_micros((millis * 1000.0).round() as u64));
        }
        Ok(())
    }

    fn pairs(&mut self, key: &str) -> Result<Vec<(String, String)>, Error> {
        let map = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Object(map)) => map,
            Some(other) => return Err(self.wrong(key, "an object of strings", &other)),
        };
        map.into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => Ok((name, text)),
                other => Err(self.wrong(key, "an object of strings", &other)),
            })
            .collect()
    }

    pub(crate) fn strings(&mut self, key: &str) -> Result<Option<Vec<String>>, Error> {
        let items = match self.take(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong(key, "an array of strings", &other)),
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(self.wrong(key, "an array of strings", &other)),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(crate) fn wrong(&self, key: &str, wanted: &str, found: &Value) -> Error {
        invalid(format!("option {} must be {wanted}, not {found}", self.name(key)))
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn refused(options: Value) -> (&'static str, String) {
        let error = Options::parse(&options.to_string()).unwrap_err();
        (error.code(), error.message)
    }

    #[test]
    fn all_options_are_read() {
        let options = json!({
            "url": "wss://example.test/path", "protocol": "realtime.v1", "token": "secret",
            "tokenPlacement": {"query": "access"}, "headers": {"x-a": "1"}, "query": {"b": "2"},
            "subprotocols": ["mine"], "heartbeat": {"interval": 1000, "timeout": 2500.5},
            "reconnect": {"enabled": true, "first": 1, "base": 2, "max": 3, "attemptsUntilError": 4, "maxAttempts": 5},
            "connectTimeout": 6, "tokenTimeout": 7, "sendTimeout": 8,
            "queue": {"messages": 9, "bytes": 10, "whenFull": "dropOldest", "path": "outbox"},
            "inbox": {"bytes": 11, "channelBytes": 12}, "replicaBytes": 14, "rateLimit": 13, "ca": "PEM", "proxy": "http://proxy.test:3128",
            "errorReport": "report.json",
        });
        let Options { config, transport } = Options::parse(&options.to_string()).unwrap();
        let mut expected = Config::new("wss://example.test/path");
        expected.protocol = Protocol::V1;
        expected.token = Token::Static("secret".into());
        expected.token_placement = TokenPlacement::Query("access".into());
        expected.headers = vec![("x-a".into(), "1".into())];
        expected.query = vec![("b".into(), "2".into())];
        expected.subprotocols = vec!["mine".into()];
        expected.heartbeat_interval = Duration::from_secs(1);
        expected.heartbeat_timeout = Duration::from_micros(2_500_500);
        expected.reconnect_first = Duration::from_millis(1);
        expected.reconnect_base = Duration::from_millis(2);
        expected.reconnect_max = Duration::from_millis(3);
        expected.attempts_until_error = 4;
        expected.max_attempts = Some(5);
        expected.connect_timeout = Duration::from_millis(6);
        expected.token_timeout = Duration::from_millis(7);
        expected.send_timeout = Some(Duration::from_millis(8));
        expected.queue_messages = 9;
        expected.queue_bytes = 10;
        expected.when_full = WhenFull::DropOldest;
        expected.inbox.connection = 11;
        expected.inbox.channel = 12;
        expected.replica_bytes = 14;
        expected.rate_limit = Some(13);
        assert_eq!(config, expected);
        assert_eq!(transport.error_report, Some("report.json".into()));
        assert_eq!(transport.outbox, Some("outbox".into()));
        assert_eq!(transport.ca.as_deref(), Some(b"PEM".as_slice()));
        assert_eq!(transport.proxy, Proxy::Url("http://proxy.test:3128".into()));
    }

    #[test]
    fn only_the_url_is_needed_and_null_is_absent() {
        let options = Options::parse(r#"{"url": "ws://localhost", "token": null, "heartbeat": null}"#).unwrap();
        assert_eq!(options.config, Config::new("ws://localhost"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let url = "ws://localhost";
        assert_eq!(refused(json!({})), ("invalid_option", "option url is missing".into()));
        assert_eq!(refused(json!({"url": "http://x"})).0, "invalid_url");
        assert_eq!(
            refused(json!({"url": url, "heartbeat": {"intervall": 1}})),
            ("invalid_option", "option heartbeat.intervall is not known".into())
        );
        assert_eq!(
            refused(json!({"url": url, "queue": {"messages": -1}})),
            ("invalid_option", "option queue.messages must be an integer in its range, not -1".into())
        );
        assert_eq!(
            refused(json!({"url": url, "connectTimeout": "soon"})),
            ("invalid_option", r#"option connectTimeout must be a duration that is not negative, not "soon""#.into())
        );
        assert_eq!(
            refused(json!({"url": url, "heartbeat": {"interval": 5, "timeout": 4}})),
            ("invalid_option", "option heartbeat.timeout must be at least heartbeat.interval".into())
        );
        assert_eq!(refused(json!({"url": url, "token": "a", "tokenProvider": true})).0, "invalid_option");
        assert_eq!(refused(json!({"url": url, "headers": {"a": 1}})).0, "invalid_option");
        assert_eq!(refused(json!([])).0, "invalid_option");
        assert_eq!(Options::parse("{").unwrap_err().code(), "invalid_option");
    }
}
