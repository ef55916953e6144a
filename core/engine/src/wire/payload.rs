use serde::de::IgnoredAny;

use super::DecodeError;

/// How deep a JSON payload may nest.
pub const MAX_DEPTH: usize = 100;

/// What a message carries: one JSON value as its bytes, or plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// One JSON value, unparsed.
    Json(&'a [u8]),
    /// Bytes of any kind.
    Binary(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The bytes, of whatever kind.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Payload::Json(bytes) | Payload::Binary(bytes) => bytes,
        }
    }
}

/// Checks that `bytes` is exactly one JSON value in UTF-8, with at most [`MAX_DEPTH`] levels and no raw line feed.
pub fn validate_json(bytes: &[u8]) -> Result<(), DecodeError> {
    serde_json::from_slice::<IgnoredAny>(bytes)
        .map_err(|e| DecodeError::malformed(format!("payload is not JSON: {e}")))?;
    // serde_json skips the contents of strings without looking at their encoding.
    if std::str::from_utf8(bytes).is_err() {
        return Err(DecodeError::malformed("payload is not UTF-8"));
    }
    if memchr::memchr(b'\n', bytes).is_some() {
        return Err(DecodeError::malformed("payload holds a raw line feed"));
    }
    validate_depth(bytes)
}

/// Checks the nesting of what is known to be JSON.
pub(super) fn validate_depth(json: &[u8]) -> Result<(), DecodeError> {
    // Most payloads have fewer brackets than levels are allowed: counting them is much cheaper than following the strings.
    if memchr::memchr2_iter(b'[', b'{', json).take(MAX_DEPTH + 1).count() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(DecodeError::malformed(format!("payload nests deeper than {MAX_DEPTH} levels")));
                }
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}
