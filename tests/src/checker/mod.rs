//! An independent reader of Zarf packages: every rule of Zarf's loader, as far
//! as it can be known without Zarf, and none of the code that writes.
//!
//! [`check`] opens the archive ([`tarball`]), looks at names, modes and
//! duplicates ([`entries`]), compares checksums.txt and the aggregate
//! ([`checksums`]), reads zarf.yaml ([`definition`]), opens every component tar
//! and counts ([`components`]), has git look at every repository
//! ([`repositories`]), and walks the image layout from the references
//! of zarf.yaml to the last blob ([`images`]). It goes on after a finding
//! wherever that makes sense, and returns all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

mod checksums;
mod components;
mod definition;
mod entries;
mod images;
mod reference;
mod repositories;
mod tarball;
#[cfg(test)]
mod tests;

/// Something that Zarf would reject, or stumble over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Short and stable: `extra-file`.
    pub rule: &'static str,
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)
    }
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: &'static str, message: impl Into<String>) {
        self.0.push(Violation { rule, message: message.into() });
    }
}

/// The regular files of a package, by path.
type Files<'a> = BTreeMap<&'a str, &'a [u8]>;

/// Every violation in the package at `path`; none for a package that Zarf
/// accepts.
pub fn check(path: &Path) -> Vec<Violation> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match std::fs::read(path) {
        Ok(bytes) => check_bytes(&name, &bytes),
        Err(error) => vec![Violation { rule: "unreadable", message: format!("{}: {error}", path.display()) }],
    }
}

/// The same for a package called `name` with these bytes.
pub fn check_bytes(name: &str, bytes: &[u8]) -> Vec<Violation> {
    let mut findings = Findings::default();
    if let Some(tar) = tarball::decompress(name, bytes, &mut findings) {
        check_tar(name, &tar, &mut findings);
    }
    findings.0
}

fn check_tar(name: &str, tar: &[u8], findings: &mut Findings) {
    let members = match tarball::read(tar) {
        Ok(members) => members,
        Err(why) => return findings.add("tar", format!("the archive {why}")),
    };
    entries::check("the package", &members, findings);
    let files: Files<'_> = members
        .iter()
        .filter(|member| member.kind == tarball::Kind::File)
        .map(|member| (member.path.as_str(), member.content))
        .collect();
    for required in ["zarf.yaml", "checksums.txt"] {
        if !files.contains_key(required) {
            findings.add("missing", format!("there is no {required} at the root"));
        }
    }
    let Some(package) = files.get("zarf.yaml").and_then(|text| definition::read(text, findings)) else { return };
    let documented = package.0.get("documentation").and_then(serde_yaml::Value::as_mapping);
    if documented.is_some_and(|documents| !documents.is_empty()) && !files.contains_key("documentation.tar") {
        findings.add("missing", "zarf.yaml names documents, and there is no documentation.tar");
    }
    definition::check_file_name(name, &package, findings);
    definition::check_signature(&files, &package, findings);
    checksums::check(&files, &package, findings);
    components::check(&files, &package, findings);
    images::check(&files, &package, findings);
}
