//! What a guest said when it panicked, in the words of its language.
//!
//! A trap says nothing of why. Rust, Go and Python say it on stderr before they
//! give up, each in a form of its own.

use std::fmt;

use super::text;

/// Bytes of the message and of the place that are shown.
const MESSAGE: usize = 1000;
const PLACE: usize = 200;

/// What was said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panic {
    message: String,
    /// In the source: `src/lib.rs:12:5`.
    place: Option<String>,
}

impl fmt::Display for Panic {
    /// What follows "panicked": ` at src/lib.rs:12:5: index out of bounds`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, " at {}", text::line(place, PLACE))?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", text::line(&self.message, MESSAGE)) }
    }
}

impl Panic {
    /// The last one among these lines.
    pub(super) fn among(lines: &[String]) -> Option<Self> {
        let at = lines.iter().rposition(|line| is_beginning(line))?;
        let (first, rest) = (lines[at].as_str(), &lines[at + 1..]);
        if let Some((_, place)) = first.split_once(" panicked at ") {
            return Some(Self::of_rust(place, rest));
        }
        match first.strip_prefix(GO).or_else(|| first.strip_prefix(GO_FATAL)) {
            Some(message) => Some(Self::of_go(message, rest)),
            None => Self::of_python(rest),
        }
    }

    /// `thread 'x' panicked at src/lib.rs:1:2:`, and the message below it.
    fn of_rust(place: &str, rest: &[String]) -> Self {
        let message = rest.iter().map(String::as_str).take_while(|line| !line.starts_with("note: "));
        let message = message.collect::<Vec<_>>().join(" ");
        Self { message, place: Some(place.trim_end_matches(':').to_owned()) }
    }

    /// `panic: message`, and a stack with a place below each function.
    fn of_go(message: &str, rest: &[String]) -> Self {
        let places = rest.iter().filter_map(|line| line.strip_prefix('\t'));
        let mut places = places.map(|line| line.split(" +0x").next().unwrap_or(line));
        let place = places.find(|place| place.contains(".go:") && !place.contains("/src/runtime/"));
        Self { message: message.to_owned(), place: place.map(str::to_owned) }
    }

    /// A traceback: `  File "app.py", line 3, in run`, and at its end the error.
    fn of_python(rest: &[String]) -> Option<Self> {
        let message = rest.iter().rfind(|line| !line.is_empty() && !line.starts_with(' '))?;
        let frame = rest.iter().rev().find_map(|line| line.trim_start().strip_prefix("File \""));
        let place = frame.and_then(|frame| {
            let (file, rest) = frame.split_once("\", line ")?;
            let line: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(format!("{file}:{line}"))
        });
        Some(Self { message: message.clone(), place })
    }
}

const GO: &str = "panic: ";
const GO_FATAL: &str = "fatal error: ";
const PYTHON: &str = "Traceback (most recent call last):";

fn is_beginning(line: &str) -> bool {
    let is_rust = line.starts_with("thread ") && line.contains(" panicked at ");
    is_rust || line.starts_with(GO) || line.starts_with(GO_FATAL) || line.starts_with(PYTHON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Panic::among(&lines).map(|panic| panic.to_string())
    }

    #[test]
    fn message_and_place_are_found_in_what_each_language_says() {
        let rust = "before\nthread '<unnamed>' (1) panicked at src/lib.rs:12:5:\nthe number\nwas 2\nnote: run with x";
        assert_eq!(shown(rust).unwrap(), " at src/lib.rs:12:5: the number was 2");
        let go = "panic: boom\n\ngoroutine 1 [running]:\nruntime.x()\n\t/go/src/runtime/p.go:1 +0x1\nmain.run(...)\n\t/src/main.go:12 +0x3\n";
        assert_eq!(shown(go).unwrap(), " at /src/main.go:12: boom");
        let python = "Traceback (most recent call last):\n  File \"/0/app.py\", line 3, in run\n    fail()\n  File \"/0/app.py\", line 7, in fail\n    raise ValueError(\"no\")\nValueError: no\n";
        assert_eq!(shown(python).unwrap(), " at /0/app.py:7: ValueError: no");
        assert_eq!(shown("panic: \u{1b}[31m").unwrap(), ": \\u{1b}[31m");
        assert_eq!(shown("it says panic: nothing\nno"), None);
        assert_eq!(shown("Traceback (most recent call last):"), None);
    }
}
