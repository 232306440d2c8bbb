//! Text files as other machines write them: with a byte order mark, in the
//! UTF-16 of PowerShell, in no encoding at all.

/// The text of `bytes`: UTF-8, or UTF-16 where a byte order mark or the zeros
/// in front of or behind its first letters say so. What is neither becomes U+FFFD.
pub fn of(bytes: &[u8]) -> String {
    let (little, rest) = match bytes {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => (true, bytes),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => (false, bytes),
        _ => {
            let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
            return String::from_utf8_lossy(bytes).into_owned();
        }
    };
    let unit = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    };
    let units = rest.chunks_exact(2).map(unit);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Whether a byte order mark says that this is UTF-16.
pub fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn every_encoding_of_windows_is_read() {
        let text = "abc  tool.zip\r\n\u{e4}\u{1f600}";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", &little[..]].concat(),
            [b"\xfe\xff", &big[..]].concat(),
            little,
            big,
        ] {
            assert_eq!(of(&bytes), text);
        }
        assert_eq!(of(b""), "");
        assert_eq!(of(b"\xff\xfea"), "", "half a unit is no text");
        assert_eq!(of(b"a\xffb"), "a\u{fffd}b");
    }
}
