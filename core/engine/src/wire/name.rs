use super::{DecodeError, ErrorCode};

/// The longest name of a channel, an event or a collection, and the longest key, in UTF-8 bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// Checks a name or key: 1 to 255 bytes. `what` names it in the error.
pub fn validate_name(what: &str, name: &str) -> Result<(), DecodeError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(DecodeError {
            code: ErrorCode::InvalidName,
            reason: format!("{what} name must have 1 to {MAX_NAME_BYTES} UTF-8 bytes, this has {}", name.len()),
            id: None,
        });
    }
    Ok(())
}
