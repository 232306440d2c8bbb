//! What is wrong with a file, and where: a path into its structure that the
//! host turns into line and column.

use std::fmt;

/// One step of a [`YamlPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Into a mapping.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// Where in a YAML file: `images.additional[3].image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct YamlPath(Vec<Segment>);

impl YamlPath {
    /// The whole file.
    pub fn root() -> Self {
        Self::default()
    }

    /// What lies under `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Key(key.to_owned()));
        Self(segments)
    }

    /// The item at `index` of the list that lies here, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Index(index));
        Self(segments)
    }

    /// What lies at `within`, seen from here.
    #[must_use]
    pub fn then(&self, within: &Self) -> Self {
        Self(self.0.iter().chain(&within.0).cloned().collect())
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for YamlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub path: YamlPath,
    /// A lowercase fragment that names what was found.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    /// What is wrong at `path`, and what to do about it.
    pub fn new(path: &YamlPath, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { path: path.clone(), message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Input as a message may show it: printable, at most 120 characters.
pub fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(120)
        .flat_map(|c| {
            let escaped: Box<dyn Iterator<Item = char>> =
                if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) };
            escaped
        })
        .collect();
    if text.chars().count() > 120 {
        shown.push('…');
    }
    shown
}

/// Whether a key names something that is normally secret. What ends like a pin
/// is one: EXTERNAL_SECRETS_VERSION names a product.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    let of_a_pin =
        ["version", "tag", "sha", "sha256", "digest", "commit", "ref", "url", "repo", "image", "chart", "name"];
    if name.rsplit_once('_').is_some_and(|(_, last)| of_a_pin.contains(&last)) {
        return false;
    }
    [
        "password",
        "passwd",
        "secret",
        "token",
        "credential",
        "api_key",
        "apikey",
        "access_key",
        "private_key",
        "signature",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The text with everything that could be a credential replaced by `***`:
/// the user part of URLs, and query values with secret names.
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rfind('@') {
            Some(user) => {
                out.push_str("***");
                out.push_str(&authority[user..]);
            }
            None => out.push_str(authority),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    redact_query(&out)
}

fn redact_query(text: &str) -> String {
    let Some((before, query)) = text.split_once('?') else { return text.to_owned() };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret_query(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{before}?{}", shown.join("&"))
}

/// Whether a query parameter carries a credential: signed URLs included.
pub fn is_secret_query(name: &str) -> bool {
    is_secret_name(name) || matches!(name.to_ascii_lowercase().as_str(), "sig" | "sas" | "key" | "auth" | "pass")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_reach_a_message() {
        for (text, expected) in [
            ("https://user:pw@host/x", "https://***@host/x"),
            ("https://tok@host", "https://***@host"),
            ("a https://u:p@h/ b http://v:q@i", "a https://***@h/ b http://***@i"),
            ("https://h/x?a=1&access_token=abc&sig=x", "https://h/x?a=1&access_token=***&sig=***"),
            ("nginx@sha256:00", "nginx@sha256:00"),
            ("https://u:p@ss@host/x", "https://***@host/x"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn a_path_reads_like_the_file() {
        let path = YamlPath::root().key("images").key("additional").index(3).key("image");
        assert_eq!(path.to_string(), "images.additional[3].image");
    }
}
