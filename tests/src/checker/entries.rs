//! Tar hygiene: names that Zarf's extractor takes, permissions that let it
//! read on, nothing twice, no links and devices.

use std::collections::BTreeSet;

use super::Findings;
use super::tarball::{Kind, Member};

pub(super) fn check(place: &str, members: &[Member<'_>], findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for Member { path, kind, mode, .. } in members {
        if let Some(why) = refused(path) {
            findings.add("path", format!("`{path}` in {place} {why}"));
        }
        if !seen.insert(path.as_str()) {
            findings.add("duplicate-entry", format!("`{path}` is in {place} twice"));
        }
        match kind {
            Kind::File if mode & 0o400 == 0 => {
                findings.add("mode", format!("`{path}` in {place} is not readable: {mode:o}"));
            }
            Kind::Directory if mode & 0o700 != 0o700 => {
                findings.add("mode", format!("the directory `{path}` in {place} is not usable: {mode:o}"));
            }
            Kind::Other(flag) => {
                let flag = char::from(*flag);
                findings.add("entry-type", format!("`{path}` in {place} is neither file nor directory: `{flag}`"));
            }
            _ => {}
        }
    }
    let files: Vec<&str> = members.iter().filter(|m| m.kind == Kind::File).map(|m| m.path.as_str()).collect();
    for path in members.iter().map(|member| member.path.as_str()) {
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            if files.contains(&above) && place == "the package" {
                findings.add("duplicate-entry", format!("`{above}` is a file and a directory in {place}"));
            }
            parent = above;
        }
    }
}

/// Why the extractor, or the reader of checksums.txt, refuses a path.
pub(super) fn refused(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.starts_with('/') {
        return Some("is absolute");
    }
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Some("has an empty or dotted part");
        }
        if part.contains('\\') || part.contains(':') {
            return Some("holds a backslash or a colon");
        }
        if part.contains(' ') {
            return Some("holds a space");
        }
        if part.ends_with('.') {
            return Some("has a part that ends in a dot");
        }
        let stem = part.split_once('.').map_or(part, |(stem, _)| stem).to_ascii_lowercase();
        let numbered = stem.len() == 4
            && (stem.starts_with("com") || stem.starts_with("lpt"))
            && stem.ends_with(|c: char| c.is_ascii_digit());
        if numbered || ["con", "prn", "aux", "nul"].contains(&stem.as_str()) {
            return Some("is a Windows device name");
        }
    }
    None
}
