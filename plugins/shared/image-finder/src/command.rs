//! The images that commands of shells name: `kubectl set image deploy/x app=a/b:1`
//! puts them into pods, `docker pull a/b:1` and its like fetch them themselves.

/// What runs or copies images by itself.
const PROGRAMS: [&str; 9] = ["docker", "podman", "nerdctl", "crictl", "ctr", "skopeo", "crane", "oras", "buildah"];
const VERBS: [&str; 6] = ["pull", "run", "create", "copy", "push", "export"];

/// A command, word by word; a list of arguments is one as well.
#[derive(Debug, Default)]
pub(crate) struct Command {
    previous: String,
    is_of_program: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Other,
    /// `set image`: `name=image` follows.
    Sets,
    /// `docker pull`, and whether its first argument is still to come.
    Fetches { first: bool },
}

/// What a word of a command is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Named {
    /// `name=image`, and where the image begins.
    Set(usize),
    /// An image, where it is a whole reference.
    Fetched,
    /// The same, without a registry or path: it may be something else elsewhere.
    First,
}

impl Command {
    pub(crate) fn word(&mut self, word: &str) -> Option<Named> {
        if matches!(word, ";" | "&&" | "||" | "|") {
            *self = Self::default();
            return None;
        }
        // The mark of an item, in a list of words.
        if word == "-" {
            return None;
        }
        let is_option = word.starts_with('-');
        let named = match self.state {
            State::Sets if !is_option => {
                word.split_once('=').filter(|(_, image)| !image.is_empty()).map(|(name, _)| Named::Set(name.len() + 1))
            }
            State::Fetches { first } if !is_option => {
                self.state = State::Fetches { first: false };
                Some(if first { Named::First } else { Named::Fetched })
            }
            _ => None,
        };
        if self.previous == "set" && matches!(word, "image" | "images") {
            self.state = State::Sets;
        } else if self.is_of_program && VERBS.contains(&word) && !matches!(self.state, State::Fetches { .. }) {
            self.state = State::Fetches { first: true };
        }
        self.is_of_program |= PROGRAMS.contains(&word.rsplit('/').next().unwrap_or(word));
        word.clone_into(&mut self.previous);
        named
    }
}

/// The words of a text: where each begins, and what it is. Quotes, brackets and
/// commas are between them, as white space is.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_between = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '[' | ']' | '(' | ')');
    text.split(is_between).flat_map(|part| part.split_inclusive(';')).flat_map(move |part| {
        let at = part.as_ptr().addr() - text.as_ptr().addr();
        let (word, end) = part.strip_suffix(';').map_or((part, ""), |word| (word, ";"));
        [(at, word), (at + word.len(), end)].into_iter().filter(|(_, word)| !word.is_empty())
    })
}

/// Whether a text has such a command.
pub(crate) fn is_in(text: &str) -> bool {
    let mut command = Command::default();
    words(text).any(|(_, word)| command.word(word).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_images_where_they_do() {
        let named = |text: &str| -> Vec<String> {
            let mut command = Command::default();
            let words = words(text).filter_map(|(at, word)| {
                assert!(text[at..].starts_with(word));
                Some(match command.word(word)? {
                    Named::Set(start) => word[start..].to_owned(),
                    Named::First | Named::Fetched => format!("{word} ?"),
                })
            });
            words.collect()
        };
        let table: &[(&str, &[&str])] = &[
            ("kubectl -n x set image deploy/x app=a/b:1 b=c; echo d=e", &["a/b:1", "c"]),
            ("[\"oc\", \"set\", \"image\", \"dc/x\", \"app=a/b:1\"]", &["a/b:1"]),
            ("set env x=y && kubectl set image x --dry-run=client y=$Z", &["$Z"]),
            ("/usr/bin/docker pull busybox:1; docker ps x=y", &["busybox:1 ?"]),
            ("ctr -n k8s.io images pull docker.io/a/b:1", &["docker.io/a/b:1 ?"]),
            ("kubectl run x", &[]),
            ("set the image of a=b", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(named(text), *expected, "{text}");
            assert_eq!(is_in(text), !expected.is_empty(), "{text}");
        }
    }
}
