//! What a guest says is hostile: made visible and cut before anyone sees it.

use base::visible;

/// On one line, at most `limit` bytes.
pub(super) fn line(text: &str, limit: usize) -> String {
    cut(text, limit, false)
}

/// The same with line breaks kept.
pub(super) fn lines(text: &str, limit: usize) -> String {
    cut(text, limit, true)
}

fn cut(text: &str, limit: usize, keep_breaks: bool) -> String {
    let mut cut = String::new();
    for piece in visible::pieces(text, keep_breaks) {
        let before = cut.len();
        piece.push_to(&mut cut);
        if cut.len() > limit {
            cut.truncate(before);
            cut.push('…');
            break;
        }
    }
    cut.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_shown_and_length_is_bounded() {
        assert_eq!(line("a\u{1b}[31mred\u{202e}x\nb\t\u{9b}c", 100), "a\\u{1b}[31mred\\u{202e}x b \\u{9b}c");
        assert_eq!(lines("a\nb\r\n", 100), "a\nb");
        assert_eq!(line("ääää", 5), "ää…");
        assert_eq!(line("ab\u{202e}", 5), "ab…", "no half escapes");
    }
}
