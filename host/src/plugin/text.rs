//! What a guest says is hostile: cleaned and cut before anyone sees it.

/// On one line, without control characters and bidirectional overrides, at
/// most `limit` bytes.
pub(super) fn line(text: &str, limit: usize) -> String {
    clean(text, limit, false)
}

/// The same with line breaks kept.
pub(super) fn lines(text: &str, limit: usize) -> String {
    clean(text, limit, true)
}

fn clean(text: &str, limit: usize, keep_breaks: bool) -> String {
    let mut cleaned = String::new();
    for c in text.chars() {
        let c = match c {
            '\n' if keep_breaks => c,
            '\n' | '\t' | '\r' => ' ',
            _ if c.is_control() || is_override(c) => continue,
            _ => c,
        };
        if cleaned.len() + c.len_utf8() > limit {
            cleaned.push('…');
            break;
        }
        cleaned.push(c);
    }
    cleaned.trim_end().to_owned()
}

/// Characters that change how the rest of a line is shown.
fn is_override(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_vanish_and_length_is_bounded() {
        assert_eq!(line("a\u{1b}[31mred\u{202e}x\nb\t\u{9b}c", 100), "a[31mredx b c");
        assert_eq!(lines("a\nb\r\n", 100), "a\nb");
        assert_eq!(line("ääää", 5), "ää…");
    }
}
