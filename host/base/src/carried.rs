//! The folder that is carried, as who fills it and who checks it know it: the
//! names of what is always in it, and the list of everything else. No I/O.

use crate::digest::Digest;
use crate::error::{Error, Result};

/// The list of all other files with their digests, for `sha256sum -c`.
pub const SUMS: &str = "SHA256SUMS";
/// What to do with the folder.
pub const START: &str = "START-HERE.txt";
/// Is there as long as the folder is not complete.
pub const UNFINISHED: &str = "UNFINISHED.txt";
/// Bytes of the list.
pub const LARGEST_SUMS: u64 = 1 << 20;

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum {
    /// Relative to the folder, `/`-separated.
    pub name: String,
    /// Of the file's content.
    pub digest: Digest,
}

/// The text of the list, by name.
pub fn text(sums: &[Sum]) -> String {
    let mut sums: Vec<&Sum> = sums.iter().collect();
    sums.sort();
    sums.iter().map(|sum| format!("{}  {}\n", sum.digest.hex(), sum.name)).collect()
}

/// # Errors
/// `invalid-input` with the line that is none: a name may not lead out of the
/// folder, or stand there twice.
pub fn parse(text: &str) -> Result<Vec<Sum>> {
    let mut sums: Vec<Sum> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |why: &str| Error::invalid(format!("{SUMS}, line {}: {why}", index + 1));
        let (digest, name) = line.split_once("  ").ok_or_else(|| wrong("is not a digest, two spaces and a name"))?;
        let digest = digest.parse().map_err(|_| wrong("does not begin with a digest"))?;
        if !is_name(name) {
            return Err(wrong("has no plain file name"));
        }
        if sums.iter().any(|sum| sum.name.eq_ignore_ascii_case(name)) {
            return Err(wrong("names a file a second time"));
        }
        sums.push(Sum { name: name.to_owned(), digest });
    }
    Ok(sums)
}

/// Whether it is a name in the folder itself, on every file system.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    !name.is_empty()
        && name.len() <= 255
        && name.chars().all(is_plain)
        && !name.starts_with(['.', '-'])
        && ![SUMS, UNFINISHED].iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Whether a file system or a desktop put it onto the disk by itself.
pub fn is_of_the_disk(name: &str) -> bool {
    ["lost+found", "System Volume Information"].contains(&name)
}

/// Where a file lies until it is whole.
pub fn partial(name: &str) -> String {
    format!(".{name}.part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_comes_back_sorted_and_names_stay_in_the_folder() {
        let sum = |name: &str| Sum { name: name.into(), digest: Digest::of(name.as_bytes()) };
        let written = text(&[sum("zarf"), sum("a-1.0+x.tar.zst")]);
        assert_eq!(parse(&written).unwrap(), [sum("a-1.0+x.tar.zst"), sum("zarf")]);
        let digest = Digest::of(b"").hex();
        for (bad, word) in [
            (format!("{digest} a"), "two spaces"),
            ("00  a".to_owned(), "a digest"),
            (format!("{digest}  ../a"), "plain"),
            (format!("{digest}  a/b"), "plain"),
            (format!("{digest}  .a"), "plain"),
            (format!("{digest}  -a"), "plain"),
            (format!("{digest}  a\\b"), "plain"),
            (format!("{digest}  sha256sums"), "plain"),
            (format!("{digest}  a\n{digest}  A"), "line 2: names a file a second time"),
            (format!("{digest}  "), "plain"),
        ] {
            let error = parse(&bad).unwrap_err();
            assert!(error.message().contains(word), "{bad}: {}", error.message());
        }
    }
}
