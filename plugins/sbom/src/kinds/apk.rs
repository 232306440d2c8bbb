//! Alpine's packages: `lib/apk/db/installed`.

use serde_json::{Value, json};

use super::few;
use crate::content::Why;
use crate::found::{Kind, Package};

/// Reads blocks of `K:value` lines. The files of a package, most of the text,
/// are passed over.
///
/// # Errors
/// For a text without a single field.
pub fn read(text: &str) -> Result<Vec<Package>, Why> {
    let mut packages = Vec::new();
    let mut fields = Fields::default();
    let mut has_fields = text.trim().is_empty();
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            packages.extend(std::mem::take(&mut fields).package());
            few(&packages)?;
            continue;
        }
        if let (Some(key), Some(value)) = (line.as_bytes().first(), line.get(2..))
            && line.as_bytes().get(1) == Some(&b':')
        {
            has_fields = true;
            fields.set(*key, value);
        }
    }
    if has_fields { Ok(packages) } else { Err("it holds no field of a package".to_owned()) }
}

/// The fields of one package, by their letters.
#[derive(Default)]
struct Fields<'a>(Vec<(u8, &'a str)>);

impl<'a> Fields<'a> {
    fn set(&mut self, key: u8, value: &'a str) {
        if b"PVLAomUTSIDpCc".contains(&key) {
            self.0.push((key, value));
        }
    }

    fn get(&self, key: u8) -> &'a str {
        self.0.iter().rev().find(|(known, _)| *known == key).map(|(_, value)| *value).unwrap_or_default()
    }

    fn package(&self) -> Option<Package> {
        let (name, version) = (self.get(b'P'), self.get(b'V'));
        if name.is_empty() {
            return None;
        }
        let number = |key| self.get(key).parse::<u64>().unwrap_or(0);
        let list = |key| self.get(key).split_whitespace().map(Value::from).collect::<Vec<_>>();
        let metadata = json!({
            "package": name, "originPackage": self.get(b'o'), "maintainer": self.get(b'm'), "version": version,
            "architecture": self.get(b'A'), "url": self.get(b'U'), "description": self.get(b'T'),
            "size": number(b'S'), "installedSize": number(b'I'), "pullDependencies": list(b'D'),
            "provides": list(b'p'), "pullChecksum": self.get(b'C'), "gitCommitOfApkPort": self.get(b'c'), "files": [],
        });
        Some(Package::new(Kind::Apk, name, version, metadata).licensed([self.get(b'L').to_owned()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nS:1\nI:2\nT:the musl c library\nL:MIT\no:musl\nD:so:a b\n\
        F:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1x=\n\nP:busybox\nV:1.36.1-r5\nL:GPL-2.0-only\no:busybox\n";

    #[test]
    fn packages_come_with_origin_and_license() {
        let packages = read(INSTALLED).unwrap();
        let found: Vec<_> =
            packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.licenses.as_slice())).collect();
        let licenses = |text: &str| vec![text.to_owned()];
        let (mit, gpl) = (licenses("MIT"), licenses("GPL-2.0-only"));
        assert_eq!(found, [("musl", "1.2.4-r2", mit.as_slice()), ("busybox", "1.36.1-r5", gpl.as_slice())]);
        assert_eq!(packages[0].metadata["pullDependencies"], json!(["so:a", "b"]));
    }

    #[test]
    fn what_is_no_database_is_refused_and_a_cut_one_gives_what_it_has() {
        assert!(read("hello\nworld\n").is_err());
        for at in 0..INSTALLED.len() {
            let _ = read(&INSTALLED[..at]);
        }
    }
}
