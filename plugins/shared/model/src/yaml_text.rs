//! Scalars as YAML text: plain where every reader agrees that they are
//! strings, in double quotes everywhere else.

/// A string as a block-style YAML scalar.
pub fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// A string as a scalar inside `[...]` or `{...}`.
pub fn flow_scalar(text: &str) -> String {
    if is_plain(text) && !text.contains([',', '[', ']', '{', '}']) { text.to_owned() } else { quoted(text) }
}

/// Always in double quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{85}') => {
                out.push_str(&format!("\\U{:08x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Starts with a letter, `.`, `/` or `_` (so it is no number, no date, no
/// indicator), holds only harmless characters, and is no word of YAML's.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let number_like =
        text.starts_with('.') && text[1..].starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_alphabetic());
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n" | "nan" | "inf"
    );
    (first.is_ascii_alphabetic() || matches!(first, '.' | '/' | '_'))
        && !number_like
        && !word
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " ._-/:@+~=(){}".contains(c))
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_comes_back_as_the_same_string() {
        for text in [
            "",
            "a",
            "nginx:1.27",
            "1.30",
            "v1",
            "true",
            "no",
            "null",
            "~",
            "a: b",
            "a #b",
            "#a",
            "- a",
            "{{x}}",
            "a{{x}}/y",
            "0x1f",
            ".5",
            ".inf",
            "./charts/x",
            "1e3",
            "2024-01-01",
            "a\nb",
            "\"q\"",
            "back\\slash",
            "é",
            "a:",
            " a",
            "a ",
            "*x",
            "&x",
            "!x",
            "|",
            "@x",
            "`x",
            "%x",
            "a,b",
            "[a]",
            "\u{0}",
            "=",
            "<<",
            "12:30:45",
            "a\u{2028}b",
            "sha256:00",
        ] {
            for written in [format!("k: {}", scalar(text)), format!("{{k: {}}}", flow_scalar(text))] {
                let read: serde_yaml::Value =
                    serde_yaml::from_str(&written).unwrap_or_else(|e| panic!("{written}: {e}"));
                assert_eq!(read["k"].as_str(), Some(text), "{written}");
            }
        }
    }

    #[test]
    fn what_people_write_plain_stays_plain() {
        for text in
            ["nginx:1.27", "v1.34.3", "https://x/{{version}}/y", "linux-{{arch}}/helm", "./charts/x", "kube-system"]
        {
            assert_eq!(scalar(text), text);
        }
        assert_eq!(scalar("1.30"), "\"1.30\"");
    }
}
