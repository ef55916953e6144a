use napi::{Error, Status};

/// An exception whose message is the error as JSON; the package makes a `RealtimeError` of it.
pub(crate) fn thrown(error: realtime_bridge::Error) -> Error {
    Error::new(Status::GenericFailure, realtime_bridge::error_json(&error))
}
