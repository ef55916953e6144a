//! Writing JSON by hand: the messages are few, flat and hot.

/// Appends `,"key":`.
pub(crate) fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `,"key":number`.
pub(crate) fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    push_number(out, value);
}

/// Appends `,"key":"string"`, escaped.
pub(crate) fn string(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    push_string(out, value);
}

pub(crate) fn boolean(out: &mut Vec<u8>, name: &str, value: bool) {
    key(out, name);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

pub(crate) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(crate) fn push_string(out: &mut Vec<u8>, value: &str) {
    let plain = value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else if let Ok(text) = serde_json::to_vec(value) {
        out.extend_from_slice(&text);
    }
}
