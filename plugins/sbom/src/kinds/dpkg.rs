//! Debian's packages: `/var/lib/dpkg/status`, and the files of a distroless
//! image below `status.d`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::few;
use crate::content::Why;
use crate::found::{Kind, Package};

/// Reads paragraphs. Packages that were removed and left their configuration
/// are not installed.
///
/// # Errors
/// For a text without a single field.
pub fn read(text: &str) -> Result<Vec<Package>, Why> {
    let mut packages = Vec::new();
    let mut fields = Fields::new();
    let mut key = "";
    let mut has_fields = text.trim().is_empty();
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            packages.extend(package(&std::mem::take(&mut fields)));
            few(&packages)?;
            key = "";
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = fields.get_mut(key) {
                value.push_str("\n ");
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            has_fields = true;
            key = name.trim();
            fields.insert(key, value.trim().to_owned());
        }
    }
    if has_fields { Ok(packages) } else { Err("it holds no paragraph of a package".to_owned()) }
}

type Fields<'a> = BTreeMap<&'a str, String>;

fn package(fields: &Fields<'_>) -> Option<Package> {
    let get = |key: &str| fields.get(key).map(String::as_str).unwrap_or_default();
    let (name, version) = (get("Package"), get("Version"));
    if name.is_empty() || get("Status").contains("deinstall") {
        return None;
    }
    let (source, source_version) = source(get("Source"));
    let list = |key: &str| {
        let items = get(key).split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(Value::from).collect::<Vec<_>>()
    };
    let mut metadata = json!({
        "package": name, "source": source, "version": version, "sourceVersion": source_version,
        "architecture": get("Architecture"), "maintainer": get("Maintainer"),
        "installedSize": get("Installed-Size").parse::<u64>().unwrap_or(0),
    });
    for (key, name) in [("Provides", "provides"), ("Depends", "depends"), ("Pre-Depends", "preDepends")] {
        let items = list(key);
        if !items.is_empty() {
            metadata[name] = items.into();
        }
    }
    metadata["files"] = Value::Array(Vec::new());
    Some(Package::new(Kind::Deb, name, version, metadata))
}

/// `glibc (2.36-9)` is a source and its version.
fn source(text: &str) -> (&str, &str) {
    match text.split_once('(') {
        Some((name, version)) => (name.trim(), version.trim_end().trim_end_matches(')')),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: libc6\nStatus: install ok installed\nInstalled-Size: 13000\nMaintainer: A <a@b>\n\
        Architecture: amd64\nSource: glibc (2.36-9)\nVersion: 2.36-9+deb12u3\nDepends: libgcc-s1, libcrypt1 (>= 1:4.4)\n\
        Description: GNU C Library\n It has: colons.\n .\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n";

    #[test]
    fn installed_packages_come_with_their_source() {
        let packages = read(STATUS).unwrap();
        let found: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.text("source"))).collect();
        assert_eq!(found, [("libc6", "2.36-9+deb12u3", "glibc"), ("tzdata", "2024a-0", "")]);
        assert_eq!(packages[0].text("sourceVersion"), "2.36-9");
        assert_eq!(packages[0].metadata["depends"], json!(["libgcc-s1", "libcrypt1 (>= 1:4.4)"]));
    }

    #[test]
    fn what_is_no_status_is_refused_and_a_cut_one_gives_what_it_has() {
        assert!(read("\u{fffd}\u{fffd} garbage without any field").is_err());
        assert_eq!(read("").unwrap(), []);
        for at in 0..STATUS.len() {
            let _ = read(&STATUS[..at]);
        }
    }
}
