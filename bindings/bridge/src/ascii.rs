/// Text with more than one byte in so many beyond ASCII is left as it is.
const SPARSE: usize = 8;

/// Bytes that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

/// The same JSON in ASCII, with escapes for what is beyond. `None` where much is beyond, as in all of Chinese or Russian, which would
/// grow, and where a backslash precedes such a character. Fails for what is not UTF-8, as far as it has looked.
///
/// A host that keeps text with one character beyond Latin-1 as two bytes each, as V8 does, decodes it a character at a time; the same
/// text in ASCII is a copy.
pub fn ascii_json(json: &[u8]) -> Result<Option<Vec<u8>>, NotUtf8> {
    let beyond = json.iter().filter(|byte| !byte.is_ascii()).count();
    if beyond > json.len() / SPARSE {
        return Ok(None);
    }
    // Two bytes become six at most.
    let mut out = Vec::with_capacity(json.len() + 2 * beyond);
    let mut rest = json;
    loop {
        let (ascii, others) = rest.split_at(ascii_len(rest));
        out.extend_from_slice(ascii);
        if others.is_empty() {
            return Ok(Some(out));
        }
        if out.last() == Some(&b'\\') {
            // An escape that JSON does not know must not become one that it knows.
            return Ok(None);
        }
        let next = others[..others.len().min(4)].utf8_chunks().next();
        let character = next.and_then(|next| next.valid().chars().next()).ok_or(NotUtf8)?;
        for unit in character.encode_utf16(&mut [0; 2]) {
            push_escape(&mut out, *unit);
        }
        rest = &others[character.len_utf8()..];
    }
}

fn push_escape(out: &mut Vec<u8>, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| DIGITS[usize::from(unit >> shift & 15)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

/// How many ASCII bytes there are up to the first other one; eight at a time.
fn ascii_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let high = u64::from_le_bytes(*word) & 0x8080_8080_8080_8080;
        if high != 0 {
            return index * 8 + high.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().take_while(|byte| byte.is_ascii()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With enough ASCII in front.
    fn ascii(json: &[u8]) -> Option<String> {
        let padded = [&[b' '; 400], json].concat();
        let out = ascii_json(&padded).unwrap();
        out.map(|out| String::from_utf8(out).unwrap().trim_start().to_owned())
    }

    #[test]
    fn characters_beyond_ascii_become_escapes() {
        let json = r#"{"name":"Zoë","♥":["東京 and some more","😀"],"esc":"\"\\"}"#;
        let out = ascii(json.as_bytes()).unwrap();
        assert!(out.is_ascii());
        let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parsed(&out), parsed(json));
    }

    #[test]
    fn what_is_not_utf_8_is_told() {
        for bytes in [&b"\"a\xffb\""[..], b"\"\xe6\x9d\"", b"\"\xf0\x9f\x98", b"\"\xed\xa0\x80\"", b"\xc3"] {
            let padded = [&[b' '; 400], bytes].concat();
            assert_eq!(ascii_json(&padded), Err(NotUtf8), "{bytes:?}");
        }
    }

    #[test]
    fn a_backslash_before_such_a_character_is_left_to_the_parser() {
        assert_eq!(ascii("\"\\é\"".as_bytes()), None);
        assert_eq!(ascii("\"\\\\é\"".as_bytes()), None);
        assert_eq!(ascii("\"\\n é\"".as_bytes()).as_deref(), Some("\"\\n \\u00e9\""));
    }

    #[test]
    fn text_that_is_full_of_them_is_left() {
        assert_eq!(ascii_json("\"東京で作られた\"".as_bytes()), Ok(None));
        assert_eq!(ascii_json(b""), Ok(Some(vec![])));
    }

    #[test]
    fn each_place_of_a_word_is_found() {
        for place in 0..40 {
            let mut bytes = vec![b'a'; 40];
            bytes[place] = 0xff;
            assert_eq!(ascii_len(&bytes), place);
            assert_eq!(ascii_len(&bytes[..place]), place);
        }
    }
}
