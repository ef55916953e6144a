//! Sends that cross together, as lines of text.

use bytes::Bytes;
use napi::bindgen_prelude::Buffer;
use realtime_bridge::{Connection, Data, Error, ErrorKind};

/// Sends a burst: two lines a message, `channel event` and the payload. Returns what the package calls a `SendOutcome`,
/// and nothing where every message was taken.
pub(crate) fn send(
    connection: &Connection,
    first: u64,
    lines: &str,
    binaries: Vec<Buffer>,
    wait: bool,
) -> Option<String> {
    // They go together, in as few writes as can be.
    connection.hold();
    let outcome = send_each(connection, first, lines, binaries, wait);
    connection.uncork();
    outcome
}

fn send_each(connection: &Connection, first: u64, lines: &str, binaries: Vec<Buffer>, wait: bool) -> Option<String> {
    let mut lines = lines.split('\n');
    let mut binaries = binaries.into_iter();
    let mut errors = Vec::new();
    let mut handled = 0;
    while let (Some(head), Some(payload)) = (lines.next(), lines.next()) {
        let data = if payload.is_empty() {
            Data::Binary(binaries.next().map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(&bytes)))
        } else {
            Data::Json(Bytes::copy_from_slice(payload.as_bytes()))
        };
        match send_one(connection, first + handled, head, data) {
            Ok(()) => {}
            Err(error) if wait && error.kind == ErrorKind::QueueFull => return Some(outcome(handled, &errors)),
            Err(error) => errors.push(format!("[{handled},{}]", realtime_bridge::error_json(&error))),
        }
        handled += 1;
    }
    (!errors.is_empty()).then(|| outcome(handled, &errors))
}

fn send_one(connection: &Connection, request: u64, head: &str, data: Data) -> Result<(), Error> {
    let misread = || Error::new(ErrorKind::InvalidOption, format!("{head:?} is not the head of a message"));
    let (channel, event) = head.split_once(' ').ok_or_else(misread)?;
    let unquoted;
    let event = if event.starts_with('"') {
        unquoted = serde_json::from_str::<String>(event).map_err(|_| misread())?;
        &unquoted
    } else {
        event
    };
    if channel == "-" {
        let event = matches!(data, Data::Json(_)).then_some(event);
        return connection.send(request, event, data);
    }
    connection.publish(request, channel.parse().map_err(|_| misread())?, event, data)
}

fn outcome(handled: u64, errors: &[String]) -> String {
    format!(r#"{{"handled":{handled},"errors":[{}]}}"#, errors.join(","))
}
