//! Texts in one line.

/// A text of several lines in one, without what indents them.
pub fn in_one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::in_one_line;

    #[test]
    fn lines_follow_each_other_without_their_indents() {
        assert_eq!(in_one_line("a:\n  b\r c "), "a: b c");
    }
}
