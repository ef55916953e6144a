//! A dump of a client, lived through once more: a session with its settings and its seed is told what the recorder says that the client
//! was told, and has to do what the recorder says that it did.

use std::time::Duration;

use realtime_engine::wire::{CloseCode, Frame, Window};
use realtime_engine::{
    Attempt, ChannelId, Config, Covered, Data, Input, LoadOn, OpenError, Protocol, RequestId, Session, Text, Timestamp,
    Token, WhenFull,
};
use serde_json::{Value, json};

use crate::replay_frame;

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// The entries of the dump, as lines to be read.
    pub timeline: Vec<String>,
    /// How many of them were compared, and at the end the state of the client.
    pub compared: usize,
    /// Entries, and parts of the state at the end, that are not what the session did.
    pub differences: usize,
    /// The first: its place in the timeline (behind it where it is of the state at the end), and what the session did instead.
    pub first: Option<(usize, String)>,
    /// Why not everything was compared.
    pub note: Option<String>,
}

/// Replays a dump of version 2. Fails where it is none.
pub fn replay(dump: &Value) -> Result<Replayed, String> {
    if dump["version"] != 2 {
        return Err(format!("this is a dump of version {}; only 2 can be replayed", dump["version"]));
    }
    let entries = dump["entries"].as_array().ok_or("the dump has no entries")?;
    let start = entries.first().map_or(0.0, |entry| entry["at"].as_f64().unwrap_or_default());
    let timeline = entries.iter().map(|entry| describe(entry, start)).collect();
    let mut replayed = Replayed { timeline, compared: 0, differences: 0, first: None, note: None };
    let opaque = entries.iter().position(|entry| is_opaque(entry, dump)).unwrap_or(entries.len());
    let nothing = if dump["durable"] == true {
        Some("the client has a durable outbox, whose file is not in the dump: nothing is compared")
    } else if dump["recorded"].as_u64() != Some(entries.len() as u64) {
        Some("the ring begins in the middle, with a state that is not in the dump: nothing is compared")
    } else if dump["seed"].is_null() {
        Some("the session id was made from the seed, which is why the dump does not tell it: nothing is compared")
    } else {
        None
    };
    if nothing.is_some() || entries.is_empty() {
        replayed.note = nothing.map(str::to_owned);
        return Ok(replayed);
    }
    if opaque < entries.len() {
        replayed.note = Some(format!("presence, collections and direct bytes from entry {opaque} on are not replayed"));
    }
    let entries = &entries[..opaque];
    let mut player = Player::new(dump, entries)?;
    player.play(entries)?;
    let done = player.dump();
    let (expected, done_entries) = (merged(entries), merged(done["entries"].as_array().ok_or("no entries")?));
    let is_whole = opaque == dump["entries"].as_array().map_or(0, Vec::len);
    replayed.compared = entries.len();
    for (place, (at, expected)) in expected.iter().enumerate() {
        let did = done_entries.get(place).map(|(_, did)| did);
        if did != Some(expected) {
            replayed.differs(*at, did.map_or("nothing".to_owned(), |did| describe(did, start)));
        }
    }
    if is_whole && replayed.differences == 0 {
        for (name, expected, did) in state(dump, &done) {
            replayed.compared += 1;
            if expected != did {
                replayed.differs(entries.len(), format!("{name} is {did} at the end, not {expected}"));
            }
        }
    }
    Ok(replayed)
}

impl Replayed {
    fn differs(&mut self, at: usize, did: String) {
        self.differences += 1;
        self.first.get_or_insert((at, did));
    }

    /// Timeline, the first difference, and a line that says what it came to.
    pub fn print(&self) {
        for (at, line) in self.timeline.iter().enumerate() {
            println!("{line}");
            self.print_difference(at);
        }
        self.print_difference(self.timeline.len());
        if let Some(note) = &self.note {
            println!("note: {note}");
        }
        println!("replay: entries={} compared={} differences={}", self.timeline.len(), self.compared, self.differences);
    }

    fn print_difference(&self, at: usize) {
        if let Some((_, did)) = self.first.as_ref().filter(|(first, _)| *first == at) {
            println!("^^^ the first difference; the replay: {did}");
        }
    }
}

struct Player {
    session: Session,
    channels: Vec<String>,
    requests: u64,
    v1: bool,
}

impl Player {
    fn new(dump: &Value, entries: &[Value]) -> Result<Self, String> {
        let config = config(&dump["config"], entries.len())?;
        let seed = u64::from_str_radix(dump["seed"].as_str().unwrap_or_default(), 16).map_err(|e| e.to_string())?;
        let mut session = Session::new(config, at(&entries[0]), seed).map_err(|error| error.to_string())?;
        let mut channels = Vec::new();
        for (id, channel) in dump["channels"].as_array().into_iter().flatten().enumerate() {
            let is_messages = channel["presence"].is_null() && channel["collection"].is_null();
            let name = channel["name"].as_str().unwrap_or_default();
            // Those that are not replayed only keep their numbers.
            let name = if is_messages { name.to_owned() } else { format!("not-replayed-{id}") };
            session.channel(&name).map_err(|error| error.to_string())?;
            channels.push(name);
        }
        Ok(Self { session, channels, requests: 0, v1: false })
    }

    fn play(&mut self, entries: &[Value]) -> Result<(), String> {
        for (place, entry) in entries.iter().enumerate() {
            let is_input = matches!(
                entry["what"].as_str(),
                Some("call" | "opened" | "openFailed" | "closed" | "flushed" | "backlog" | "timer" | "received")
            );
            if !is_input || entry["more"] == true {
                // What was consumed of a later segment was consumed after the whole frame.
                self.consumed(entry);
                continue;
            }
            if entry["joined"] != true {
                self.poll();
            }
            self.tell(entry, &entries[place..])?;
            self.consumed(entry);
        }
        self.poll();
        Ok(())
    }

    fn poll(&mut self) {
        while self.session.poll().is_some() {}
    }

    fn dump(&self) -> Value {
        serde_json::from_str(&self.session.dump()).unwrap_or_default()
    }

    fn consumed(&mut self, entry: &Value) {
        if let (Some("received"), Some(bytes)) = (entry["what"].as_str(), entry["consumed"].as_u64()) {
            self.poll();
            let after = entry["after"].as_u64().unwrap_or_default();
            self.session.consumed(at(entry) + Duration::from_micros(after), channel(entry), bytes);
        }
    }

    fn tell(&mut self, entry: &Value, rest: &[Value]) -> Result<(), String> {
        let now = at(entry);
        let attempt = Attempt(entry["attempt"].as_u64().unwrap_or_default() as u32);
        let detail = &entry["detail"];
        let input = match entry["what"].as_str().unwrap_or_default() {
            "call" => return self.call(now, entry),
            "opened" => {
                let protocol = detail["protocol"].as_str().map(str::to_owned);
                self.v1 = protocol.as_deref() == Some("realtime.v1");
                Input::Opened { attempt, protocol }
            }
            "openFailed" => Input::OpenFailed { attempt, error: failure(detail) },
            "closed" => {
                let code = entry["code"].as_u64().map(|code| CloseCode(code as u16));
                Input::Closed { attempt, code, reason: String::new() }
            }
            "flushed" => Input::Flushed { attempt },
            "backlog" => Input::Backlog { attempt, bytes: entry["bytes"].as_u64().unwrap_or_default() as usize },
            "timer" => Input::Tick,
            _ => {
                let frame = self.frame(rest);
                Input::Frame { attempt, frame }
            }
        };
        self.session.handle(now, input);
        Ok(())
    }

    /// The frame that begins with the first of these entries.
    fn frame(&mut self, rest: &[Value]) -> Frame {
        let mut segments = vec![&rest[0]];
        for entry in &rest[1..] {
            match entry["what"].as_str() {
                Some("received") if entry["more"] == true => segments.push(entry),
                Some("received" | "call" | "opened" | "openFailed" | "closed" | "flushed") => break,
                _ => {}
            }
        }
        replay_frame::build(&segments, &self.channels, self.v1)
    }

    fn call(&mut self, now: Timestamp, entry: &Value) -> Result<(), String> {
        let id = channel(entry);
        let argument = entry["argument"].as_u64().unwrap_or_default();
        let name = id.and_then(|id| self.channels.get(id.0 as usize)).cloned().unwrap_or_default();
        let some = || id.ok_or_else(|| format!("a call without a channel: {entry}"));
        match entry["call"].as_str().unwrap_or_default() {
            "connect" => self.session.connect(now),
            "disconnect" => self.session.disconnect(now, Duration::from_millis(argument)),
            "subscribe" => drop(self.session.subscribe(now, &name).map_err(|error| error.to_string())?),
            "unsubscribe" => self.session.unsubscribe(now, some()?),
            "consumed" => {
                let after = entry["bytes"].as_u64().unwrap_or_default();
                self.session.consumed(now + Duration::from_micros(after), id, argument);
            }
            "loadOn" => {
                let on = [LoadOn::Never, LoadOn::Gap, LoadOn::GapAndSubscribe];
                self.session.load_on(now, some()?, *on.get(argument as usize).unwrap_or(&LoadOn::Never));
            }
            "loaded" => {
                let detail = &entry["detail"];
                let covered = detail["offset"]
                    .as_u64()
                    .map(|offset| Covered { epoch: detail["epoch"].as_str().map(str::to_owned), offset });
                self.session.loaded(now, some()?, argument, covered);
            }
            "token" => {
                let result = match entry["detail"]["result"].as_str() {
                    Some("token") => Ok(Some("token".to_owned())),
                    Some("none") => Ok(None),
                    _ => Err("failed".to_owned()),
                };
                self.session.handle(now, Input::Token { request: argument, result });
            }
            "publish" | "send" => self.send(now, id, argument > 0, entry),
            other => return Err(format!("the call {other} cannot be replayed")),
        }
        Ok(())
    }

    fn send(&mut self, now: Timestamp, id: Option<ChannelId>, binary: bool, entry: &Value) {
        let count = entry["count"].as_u64().unwrap_or(1);
        for size in replay_frame::shares(entry["bytes"].as_u64().unwrap_or_default(), count) {
            self.requests += 1;
            let (request, bytes) = (RequestId(self.requests), replay_frame::json_of(size as usize));
            let payload = if binary { Data::Binary(vec![0; size as usize].into()) } else { Data::Json(bytes.into()) };
            // Whether there was room, and who waited for it, was settled before the call.
            let permit = self.session.budget().reserve_anyway(size as usize);
            let event = Text::from("e");
            // A refusal is an entry that is missing.
            let _ = match id {
                Some(id) => self.session.publish(now, request, id, event, payload, permit),
                None => self.session.send(now, request, Some(event), payload, permit),
            };
        }
    }
}

fn channel(entry: &Value) -> Option<ChannelId> {
    entry["channel"].as_u64().map(|id| ChannelId(id as u32))
}

fn at(entry: &Value) -> Timestamp {
    Timestamp::from_micros((entry["at"].as_f64().unwrap_or_default() * 1000.0).round() as u64)
}

fn config(dump: &Value, entries: usize) -> Result<Config, String> {
    let number = |name: &str| dump[name].as_u64().ok_or_else(|| format!("the dump has no config.{name}"));
    let time = |name: &str| {
        let millis = dump[name].as_f64().ok_or_else(|| format!("the dump has no config.{name}"))?;
        Ok::<_, String>(Duration::from_micros((millis * 1000.0) as u64))
    };
    let mut config = Config::new("ws://replayed");
    config.protocol = match dump["protocol"].as_str() {
        Some("realtime.v1") => Protocol::V1,
        Some("plain") => Protocol::Plain,
        _ => Protocol::Auto,
    };
    if dump["subprotocols"] == true {
        config.subprotocols = vec!["other".into()];
    }
    config.token = match dump["token"].as_str() {
        Some("static") => Token::Static("token".into()),
        Some("provider") => Token::Provider,
        _ => Token::None,
    };
    config.token_timeout = time("tokenTimeout")?;
    config.connect_timeout = time("connectTimeout")?;
    config.heartbeat_interval = time("heartbeatInterval")?;
    config.heartbeat_timeout = time("heartbeatTimeout")?;
    config.reconnect = dump["reconnect"] == true;
    config.reconnect_first = time("reconnectFirst")?;
    config.reconnect_base = time("reconnectBase")?;
    config.reconnect_max = time("reconnectMax")?;
    config.attempts_until_error = number("attemptsUntilError")? as u32;
    config.max_attempts = dump["maxAttempts"].as_u64().map(|max| max as u32);
    config.queue_messages = number("queueMessages")? as usize;
    config.queue_bytes = number("queueBytes")? as usize;
    config.when_full = match dump["whenFull"].as_str() {
        Some("reject") => WhenFull::Reject,
        Some("dropOldest") => WhenFull::DropOldest,
        _ => WhenFull::Wait,
    };
    config.send_timeout = dump["sendTimeout"].as_f64().map(|millis| Duration::from_micros((millis * 1000.0) as u64));
    config.inbox = Window {
        connection: dump["inbox"][0].as_u64().unwrap_or_default(),
        channel: dump["inbox"][1].as_u64().unwrap_or_default(),
    };
    config.replica_bytes = number("replicaBytes")? as usize;
    config.rate_limit = dump["rateLimit"].as_u64().map(|rate| rate as u32);
    config.binary_json = dump["binaryJson"] == true;
    config.session = "replayed-0123456789".into();
    // Also what differs is to be seen.
    config.record = entries + 1000;
    Ok(config)
}

fn failure(detail: &Value) -> OpenError {
    match detail["failure"].as_str() {
        Some("tls") => OpenError::Tls("replayed".into()),
        Some("noSubprotocol") => OpenError::NoSubprotocol,
        Some("handshake") => OpenError::Handshake("replayed".into()),
        Some("http") => OpenError::Http {
            status: detail["status"].as_u64().unwrap_or_default() as u16,
            retry_after: detail["retryAfter"].as_u64().map(Duration::from_millis),
        },
        _ => OpenError::Unreachable("replayed".into()),
    }
}

/// What is not replayed: presence, collections, and what a frame holds that is told only as mixed.
fn is_opaque(entry: &Value, dump: &Value) -> bool {
    let stream = channel(entry).is_some_and(|id| {
        let channel = &dump["channels"][id.0 as usize];
        !channel["presence"].is_null() || !channel["collection"].is_null()
    });
    let kinds = ["snapshot", "presence", "change", "digest", "tracked", "untracked", "track", "untrack", "mutate"];
    stream
        || entry["type"].as_str().is_some_and(|kind| kinds.contains(&kind))
        || entry["timer"] == "Streams"
        || entry["timer"] == "Peers"
}

/// What is compared of the entries, each with its place: not how sends share frames, and not their bytes.
fn merged(entries: &[Value]) -> Vec<(usize, Value)> {
    let mut merged: Vec<(usize, Value)> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let mut entry = entry.clone();
        let Some(object) = entry.as_object_mut() else { continue };
        // How the polls of a driver fall is told by what they caused.
        object.remove("joined");
        if entry["call"] == "consumed" {
            // Told again in one call, at the time of the last.
            let after = entry["bytes"].take().as_u64().unwrap_or_default();
            entry["at"] = json!((at(&entry) + Duration::from_micros(after)).as_micros() as f64 / 1000.0);
        }
        if entry["what"] == "sent" || entry["what"] == "received" {
            for name in ["bytes", "more", "binary"] {
                if let Some(object) = entry.as_object_mut() {
                    object.remove(name);
                }
            }
        }
        if entry["what"] == "sent"
            && let Some((_, last)) = merged.last_mut()
            && ["what", "at", "attempt", "type", "channel"].iter().all(|name| last[name] == entry[name])
            && entry["first"].as_u64().unwrap_or_default()
                == last["first"].as_u64().map_or(0, |first| first + last["count"].as_u64().unwrap_or_default())
        {
            last["count"] =
                json!(last["count"].as_u64().unwrap_or_default() + entry["count"].as_u64().unwrap_or_default());
            continue;
        }
        merged.push((place, entry));
    }
    merged
}

/// What is compared at the end.
fn state(dump: &Value, done: &Value) -> Vec<(String, Value, Value)> {
    let mut state = Vec::new();
    for name in ["status", "phase", "dialect", "attempt", "failedAttempts", "nextTimer", "nextTimerAt", "written"] {
        state.push((name.to_owned(), dump[name].clone(), done[name].clone()));
    }
    for (id, channel) in dump["channels"].as_array().into_iter().flatten().enumerate() {
        for name in ["state", "wanted", "epoch", "offset", "unconsumed", "owed", "loading"] {
            let of = format!("{name} of {}", channel["name"]);
            state.push((of, channel[name].clone(), done["channels"][id][name].clone()));
        }
    }
    state
}

/// An entry as a line.
fn describe(entry: &Value, start: f64) -> String {
    let millis = entry["at"].as_f64().unwrap_or_default() - start;
    let mut line = format!("{millis:>12.3} ms  {:<10}", entry["what"].as_str().unwrap_or_default());
    for (name, value) in entry.as_object().into_iter().flatten() {
        let hidden = matches!(&**name, "at" | "what" | "joined") || value.is_null() || (name == "count" && value == 1);
        if !hidden {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line.push_str(&format!(" {name}={text}"));
        }
    }
    line
}
