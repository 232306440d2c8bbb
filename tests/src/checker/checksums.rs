//! checksums.txt and the aggregate checksum.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::definition::Package;
use super::{Files, Findings};

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn check(files: &Files<'_>, package: &Package, findings: &mut Findings) {
    let Some(bytes) = files.get("checksums.txt") else { return };
    let found = sha256(bytes);
    let claimed = package.text("metadata.aggregateChecksum").unwrap_or_default();
    if claimed != found {
        findings.add("aggregate", format!("checksums.txt has the sha256 {found} and zarf.yaml says `{claimed}`"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return findings.add("checksums", "checksums.txt is not UTF-8");
    };
    check_form(text, findings);
    let mut left: BTreeSet<&str> = files.keys().copied().collect();
    for exempt in ["zarf.yaml", "checksums.txt", "zarf.yaml.sig", "zarf.bundle.sig"] {
        left.remove(exempt);
    }
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [digest, path] = fields[..] else {
            findings.add("checksums", format!("`{line}` is not a digest, one space and a path"));
            continue;
        };
        match files.get(path) {
            _ if !left.remove(path) => {
                findings.add("checksums", format!("`{path}` is listed twice, or is not in the package"));
            }
            Some(content) if sha256(content) != digest => {
                findings.add("checksums", format!("`{path}` differs from its digest {digest}"));
            }
            _ => {}
        }
    }
    for extra in left {
        findings.add("extra-file", format!("`{extra}` is not in checksums.txt"));
    }
}

fn check_form(text: &str, findings: &mut Findings) {
    if !text.ends_with('\n') || text.contains('\r') {
        findings.add("checksums", "checksums.txt does not end in a newline, or has carriage returns");
    }
    let lines: Vec<&str> = text.lines().collect();
    if !lines.is_sorted() {
        findings.add("checksums", "checksums.txt is not sorted by the whole line");
    }
}
