//! Checksum files in the formats that releases publish. No I/O.
//!
//! A bare digest; the lists of `sha256sum` (`hex  name`, `hex *name`); the
//! lines of BSD and `openssl` (`SHA256 (name) = hex`), other algorithms between
//! them passed over; the table of PowerShell's `Get-FileHash`. In a list the
//! entry with the file's own name counts, and of several that whose folders fit
//! the URL best; a single entry counts whatever it is called.

use base::digest::Digest;
use base::error::{Class, Error, Result};

/// Names shown when none fits.
const SHOWN: usize = 8;

/// A digest, and what the checksum file calls the file that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) digest: Digest,
    called: Option<String>,
}

impl Found {
    /// Another name than that of the file at `path`, where the line has one.
    pub(super) fn other_name(&self, path: &str) -> Option<&str> {
        self.called.as_deref().filter(|called| parts(called).last() != parts(path).last())
    }
}

/// The SHA-256 that the checksum file `text` gives for the file at `path`, the
/// decoded path of its URL or its name alone.
///
/// # Errors
/// `not-found` when the list lacks the file, `invalid-input` for other
/// formats, and for a list with several digests that fit equally well.
pub(super) fn find(text: &str, path: &str) -> Result<Found> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let entries: Vec<ChecksumLine<'_>> = lines.iter().filter_map(|line| ChecksumLine::parse(line)).collect();
    match entries.as_slice() {
        [] => return Err(unknown_format(&lines)),
        [only] => return Ok(Found { digest: only.digest, called: only.name.map(shown) }),
        _ => {}
    }
    let wanted = parts(path);
    let ranked: Vec<(Fit, &ChecksumLine<'_>)> =
        entries.iter().filter_map(|entry| Some((Fit::of(entry.name?, &wanted)?, entry))).collect();
    let best = ranked.iter().map(|(fit, _)| *fit).max();
    let fitting: Vec<&ChecksumLine<'_>> =
        ranked.iter().filter(|(fit, _)| Some(*fit) == best).map(|(_, entry)| *entry).collect();
    let name = wanted.last().copied().unwrap_or_default();
    match fitting.as_slice() {
        [] => Err(not_listed(&entries, name)),
        [first, rest @ ..] => match rest.iter().find(|other| other.digest != first.digest) {
            None => Ok(Found { digest: first.digest, called: None }),
            Some(other) => Err(ambiguous(name, first, other)),
        },
    }
}

/// How well a line fits the path of a file whose name it has: all of its
/// folders before some of them, and more folders before fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    is_whole: bool,
    common: usize,
}

impl Fit {
    /// None where it names another file.
    fn of(name: &str, wanted: &[&str]) -> Option<Self> {
        let named = parts(name);
        let common = named.iter().rev().zip(wanted.iter().rev()).take_while(|(a, b)| a == b).count();
        (common > 0).then_some(Self { is_whole: common == named.len(), common })
    }
}

/// The parts of a path, as Windows and others write it.
fn parts(path: &str) -> Vec<&str> {
    path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect()
}

fn ambiguous(name: &str, one: &ChecksumLine<'_>, other: &ChecksumLine<'_>) -> Error {
    let line =
        |entry: &ChecksumLine<'_>| format!("`{}  {}`", entry.digest.hex(), shown(entry.name.unwrap_or_default()));
    Error::invalid(format!(
        "the checksum file has several different digests for `{name}`: {} and {}",
        line(one),
        line(other)
    ))
    .hint("point `checksum_url` in components.yaml at a file with the checksum of this one alone")
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[derive(Debug, PartialEq)]
struct ChecksumLine<'a> {
    digest: Digest,
    name: Option<&'a str>,
}

impl<'a> ChecksumLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        Self::bsd(line).or_else(|| Self::gnu(line)).or_else(|| Self::powershell(line))
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

    /// `SHA256  hex  name`, a row of the table that `Get-FileHash` prints.
    fn powershell(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix("SHA256")?.trim_start();
        let (digest, name) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let name = name.trim();
        Some(Self { digest: bare(digest)?, name: (!name.is_empty()).then_some(name) })
    }
}

fn bare(text: &str) -> Option<Digest> {
    text.parse().ok()
}

fn not_listed(entries: &[ChecksumLine<'_>], name: &str) -> Error {
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

    /// Releases publish one list over the folders of all their platforms.
    #[test]
    fn the_line_whose_folders_fit_the_address_best_counts() {
        let path = "/v1.2/linux/amd64/tool";
        for (right, wrong) in [
            ("linux/amd64/tool", "linux/arm64/tool"),
            ("./linux/amd64/tool", "./darwin/amd64/tool"),
            ("linux\\amd64\\tool", "windows\\amd64\\tool"),
            ("v1.2/linux/amd64/tool", "v1.1/linux/amd64/tool"),
            ("tool", "old/tool"),
            ("amd64/tool", "linux/arm64/tool"),
            ("out/linux/amd64/tool", "out/linux/arm64/tool"),
            ("amd64/tool", "tool"),
        ] {
            for text in [format!("{A}  {right}\n{B}  {wrong}\n"), format!("{B} *{wrong}\r\n{A} *{right}\r\n")] {
                assert_eq!(find(&text, path).unwrap().digest.hex(), A, "{text}");
            }
        }
        for (one, other) in [("a/tool", "b/tool"), ("x/amd64/tool", "y/amd64/tool"), ("tool", "./tool")] {
            let error = find(&format!("{A}  {one}\n{B}  {other}\n"), path).unwrap_err();
            let message = error.message();
            assert!(
                message.contains(&format!("{A}  {one}")) && message.contains(&format!("{B}  {other}")),
                "{message}"
            );
            assert!(find(&format!("{A}  {one}\n{A}  {other}\n"), path).is_ok());
        }
    }

    #[test]
    fn a_table_of_powershell_is_a_list() {
        let table = format!(
            "\r\nAlgorithm  Hash  Path\r\n---------  ----  ----\r\nSHA256  {}  C:\\out\\tool.zip\r\nSHA256  {B}  C:\\out\\other.zip\r\n",
            A.to_uppercase()
        );
        assert_eq!(find(&table, "/dl/tool.zip").unwrap().digest.hex(), A);
        assert_eq!(find(&format!("SHA256  {A}"), "tool.zip").unwrap().digest.hex(), A);
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
            (format!("{A}  a/tool.tar.gz\n{B}  b/tool.tar.gz"), "a/tool.tar.gz` and"),
        ] {
            let error = find(&text, "tool.tar.gz").unwrap_err();
            assert!(error.message().contains(why), "{text}: {error}");
        }
    }
}
