//! The rarer events as JSON text.

use std::time::Duration;

use realtime_client::{Error, Event, Gap, Load, Stats, Timestamp};
use serde_json::{Map, Value, json};

/// An error as `{code, message, status?, closeCode?, retryAfter?, revision?, record?}`.
pub fn error_json(error: &Error) -> String {
    let mut json = error_value(error).to_string();
    if let Some(record) = &error.record {
        // As it came: its numbers may be larger than those of a value in between.
        json.pop();
        json.push_str(&format!(r#","record":{}}}"#, String::from_utf8_lossy(record)));
    }
    json
}

/// The JSON of an event; `None` for the hot ones, which are records of their own.
pub(crate) fn event_json(event: &Event) -> Option<String> {
    let report = match event {
        Event::Status { status, reason, retry_in } => report(
            "status",
            [
                ("status", Some(json!(status.as_str()))),
                ("error", reason.as_ref().map(error_value)),
                ("retryIn", retry_in.map(millis)),
            ],
        ),
        Event::Open(opened) => report(
            "open",
            [
                ("dialect", Some(json!(opened.dialect))),
                ("connection", opened.connection.as_ref().map(|c| json!(c))),
                ("resumed", Some(json!(opened.resumed))),
                ("user", opened.user.as_ref().map(|u| json!(u))),
            ],
        ),
        Event::Close { code, reason, reconnecting } => report(
            "close",
            [
                ("code", Some(json!(code.0))),
                ("reason", Some(json!(reason))),
                ("reconnecting", Some(json!(reconnecting))),
            ],
        ),
        Event::Error(error) => report("error", [("error", Some(error_value(error)))]),
        Event::Channel { channel, state, error } => report(
            "channel",
            [
                ("channel", Some(json!(channel.0))),
                ("state", Some(json!(state.as_str()))),
                ("error", error.as_ref().map(error_value)),
            ],
        ),
        Event::Gap(gap) => report("gap", gap_fields(gap)),
        Event::Load(Load { load, gap, .. }) => {
            let mut value = report("load", gap_fields(gap));
            value["load"] = json!(load);
            value
        }
        Event::Synced { collection, reason, .. } => {
            report("synced", [("channel", Some(json!(collection.0))), ("reason", Some(json!(reason)))])
        }
        Event::Diverged { collection, offset } => {
            report("diverged", [("channel", Some(json!(collection.0))), ("offset", Some(json!(offset)))])
        }
        Event::Writable => report("writable", []),
        _ => return None,
    };
    Some(report.to_string())
}

pub(crate) fn token_json(request: u64) -> String {
    report("token", [("request", Some(json!(request)))]).to_string()
}

pub(crate) fn stalled_json(duration: Duration) -> String {
    report("stalled", [("duration", Some(millis(duration)))]).to_string()
}

/// All figures, in camelCase, times in milliseconds.
pub(crate) fn stats_json(stats: &Stats) -> String {
    let moment = |at: Timestamp| json!(at.as_micros() as f64 / 1000.0);
    json!({
        "status": stats.status.as_str(),
        "connectedAt": stats.connected_at.map(moment),
        "latency": stats.latency.map(millis),
        "jitter": stats.jitter.map(millis),
        "quality": stats.quality.as_str(),
        "messagesSent": stats.messages_sent,
        "messagesReceived": stats.messages_received,
        "bytesSent": stats.bytes_sent,
        "bytesReceived": stats.bytes_received,
        "acknowledged": stats.acknowledged,
        "failed": stats.failed,
        "restored": stats.restored,
        "deferred": stats.deferred,
        "tornBytes": stats.torn_bytes,
        "duplicates": stats.duplicates,
        "gaps": stats.gaps,
        "covered": stats.covered,
        "recovered": stats.recovered,
        "diverged": stats.diverged,
        "unroutable": stats.unroutable,
        "unexpected": stats.unexpected,
        "malformed": stats.malformed,
        "reconnects": stats.reconnects,
        "failedAttempts": stats.failed_attempts,
        "queued": stats.queued,
        "queuedBytes": stats.queued_bytes,
        "unconsumedBytes": stats.unconsumed_bytes,
        "nextAttempt": stats.next_attempt.map(moment),
    })
    .to_string()
}

fn error_value(error: &Error) -> Value {
    object([
        ("code", Some(json!(error.code()))),
        ("message", Some(json!(error.message))),
        ("status", error.status.map(|s| json!(s))),
        ("closeCode", error.close_code.map(|c| json!(c.0))),
        ("retryAfter", error.retry_after.map(millis)),
        ("revision", error.revision.map(|revision| json!(revision))),
    ])
}

fn gap_fields(gap: &Gap) -> [(&'static str, Option<Value>); 6] {
    [
        ("channel", Some(json!(gap.channel.0))),
        ("reason", Some(json!(gap.reason))),
        ("epoch", Some(json!(gap.epoch))),
        ("previousEpoch", gap.previous_epoch.as_ref().map(|e| json!(e))),
        ("from", gap.from.map(|o| json!(o))),
        ("to", gap.to.map(|o| json!(o))),
    ]
}

fn report<const N: usize>(kind: &str, fields: [(&str, Option<Value>); N]) -> Value {
    let mut value = object(fields);
    if let Value::Object(map) = &mut value {
        map.insert("type".into(), json!(kind));
    }
    value
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

fn millis(duration: Duration) -> Value {
    json!(duration.as_micros() as f64 / 1000.0)
}
