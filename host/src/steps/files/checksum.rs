//! Checksum files in the formats that releases publish. No I/O.
//!
//! A bare digest; the lists of `sha256sum` (`hex  name`, `hex *name`); the
//! lines of BSD and `openssl` (`SHA256 (name) = hex`), other algorithms between
//! them passed over. In a list the entry with the file's own name counts; a
//! single entry counts whatever it is called.

use crate::digest::Digest;
use crate::error::{Class, Error, Result};

/// Names shown when none fits.
const SHOWN: usize = 8;

/// A digest, and what the checksum file calls the file that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) digest: Digest,
    called: Option<String>,
}

impl Found {
    /// Another name than `name`, where the line has one.
    pub(super) fn other_name(&self, name: &str) -> Option<&str> {
        self.called.as_deref().filter(|called| called.rsplit(['/', '\\']).next() != Some(name))
    }
}

/// The SHA-256 that the checksum file `text` gives for the file called `name`.
///
/// # Errors
/// `not-found` when the list lacks the file, `invalid-input` for other
/// formats.
pub(super) fn find(text: &str, name: &str) -> Result<Found> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let entries: Vec<Entry<'_>> = lines.iter().filter_map(|line| Entry::parse(line)).collect();
    let mut digests: Vec<Digest> = match entries.as_slice() {
        [] => return Err(unknown_format(&lines)),
        [only] => vec![only.digest],
        many => many.iter().filter(|entry| entry.is_for(name)).map(|entry| entry.digest).collect(),
    };
    digests.sort();
    digests.dedup();
    let called = entries.first().filter(|_| entries.len() == 1).and_then(|only| only.name);
    match digests.as_slice() {
        [digest] => Ok(Found { digest: *digest, called: called.map(shown) }),
        [] => Err(not_listed(&entries, name)),
        _ => Err(Error::invalid(format!("the checksum file has several different digests for `{name}`"))),
    }
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[derive(Debug, PartialEq)]
struct Entry<'a> {
    digest: Digest,
    name: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        Self::bsd(line).or_else(|| Self::gnu(line))
    }

    /// `SHA256 (name) = hex`, or `SHA256(name)= hex`.
    fn bsd(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix("SHA256").or_else(|| line.strip_prefix("SHA2-256"))?;
        let (name, digest) = rest.trim_start().strip_prefix('(')?.rsplit_once(')')?;
        let digest = digest.trim_start().strip_prefix('=')?;
        Some(Self { digest: bare(digest.trim())?, name: Some(name) })
    }

    /// `hex`, `hex  name`, `hex *name`; a leading backslash marks an escaped
    /// name.
    fn gnu(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix('\\').unwrap_or(line);
        let (digest, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = name.trim_start().trim_start_matches('*');
        Some(Self { digest: bare(digest)?, name: (!name.is_empty()).then_some(name) })
    }

    fn is_for(&self, name: &str) -> bool {
        self.name.is_some_and(|entry| entry.rsplit(['/', '\\']).next() == Some(name))
    }
}

fn bare(text: &str) -> Option<Digest> {
    text.parse().ok()
}

fn not_listed(entries: &[Entry<'_>], name: &str) -> Error {
    let mut names: Vec<&str> = entries.iter().filter_map(|entry| entry.name).take(SHOWN).collect();
    if entries.len() > names.len() {
        names.push("…");
    }
    let shown: String = names.join(", ").chars().filter(|c| !c.is_control()).take(400).collect();
    Error::new(Class::NotFound, format!("the checksum file does not list `{name}`; it lists {shown}"))
        .hint("check `checksum_url` in components.yaml")
}

fn unknown_format(lines: &[&str]) -> Error {
    let is_hex = |word: &str, length| word.len() == length && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has = |length| lines.iter().any(|line| line.split([' ', '\t']).any(|word| is_hex(word, length)));
    let found = match lines {
        [] => "it is empty",
        _ if has(128) => "it holds SHA-512",
        _ if has(40) => "it holds SHA-1",
        _ if has(32) => "it holds MD5",
        _ => "it holds no digest",
    };
    Error::invalid(format!("the checksum file is not one of SHA-256: {found}"))
        .hint("point `checksum_url` in components.yaml at the SHA-256 of the file: a bare digest, a list of sha256sum, or BSD lines")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn every_usual_format_is_read() {
        for text in [
            A.to_owned(),
            format!("{A}\n"),
            A.to_uppercase(),
            format!("{A}  tool.tar.gz\n"),
            format!("{A} *tool.tar.gz"),
            format!("{A}\ttool.tar.gz"),
            format!("{A}  ./_output/another-name"),
            format!("sha256:{A}"),
            format!("{B}  other\n{A}  tool.tar.gz\n{B}  tool.tar.gz.sig\n"),
            format!("{B}  other\r\n{A}  ./dist/tool.tar.gz\r\n"),
            format!("SHA256 (tool.tar.gz) = {A}"),
            format!(
                "MD5 (tool.tar.gz) = d41d8cd98f00b204e9800998ecf8427e\nSHA256 (other) = {B}\nSHA256 (tool.tar.gz) = {A}\nSHA512 (tool.tar.gz) = {A}{A}"
            ),
            format!("SHA2-256(tool.tar.gz)= {A}"),
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{A}  tool.tar.gz\n{B}  x\n-----BEGIN PGP SIGNATURE-----\n\niQIz\n"
            ),
            format!("# comment\n{A}  tool.tar.gz\n{A}  tool.tar.gz\n"),
        ] {
            assert_eq!(find(&text, "tool.tar.gz").unwrap().digest.hex(), A, "{text}");
        }
    }

    #[test]
    fn a_single_entry_with_another_name_is_known_as_such() {
        let other = |text: String| find(&text, "tool.tgz").unwrap().other_name("tool.tgz").map(str::to_owned);
        assert_eq!(other(format!("{A}  out/tool")).as_deref(), Some("out/tool"));
        assert_eq!(other(format!("{A}  out/tool.tgz")), None);
        assert_eq!(other(A.to_owned()), None);
    }

    #[test]
    fn what_can_not_be_used_says_why() {
        for (text, why) in [
            (String::new(), "empty"),
            ("<html>404</html>".to_owned(), "no digest"),
            (format!("{A}{A}  tool.tar.gz"), "SHA-512"),
            ("d41d8cd98f00b204e9800998ecf8427e  tool.tar.gz".to_owned(), "MD5"),
            (format!("{A}  one\n{B}  two"), "it lists one, two"),
            (format!("{A}  tool.tar.gz\n{B}  tool.tar.gz"), "several different"),
            (format!("{A}  tool.tar.gz.sig\n{B}  xtool.tar.gz"), "does not list"),
        ] {
            let error = find(&text, "tool.tar.gz").unwrap_err();
            assert!(error.message().contains(why), "{text}: {error}");
        }
    }
}
