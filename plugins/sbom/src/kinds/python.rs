//! Python's packages: `METADATA` of a wheel, `PKG-INFO` of an egg.

use serde_json::{Value, json};

use crate::found::{Kind, Package};

/// Reads the header; the description below it is passed over. Nothing comes of
/// one without a name.
pub fn read(path: &str, text: &str) -> Vec<Package> {
    let fields = header(text);
    let get = |key: &str| {
        let found = fields.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let (name, version) = (normal(get("Name")), get("Version").to_owned());
    if name.is_empty() || version.is_empty() {
        return Vec::new();
    }
    let mut metadata = json!({
        "name": get("Name"), "version": version, "author": get("Author"), "authorEmail": get("Author-email"),
        "platform": get("Platform"), "sitePackagesRootPath": format!("/{}", root(path)),
    });
    let requires: Vec<Value> =
        fields.iter().filter(|(key, _)| key == "Requires-Dist").map(|(_, value)| value.as_str().into()).collect();
    if !requires.is_empty() {
        metadata["requiresDist"] = requires.into();
    }
    let license = match get("License-Expression") {
        "" => get("License"),
        expression => expression,
    };
    // Some put the whole text there.
    let license = license.lines().next().unwrap_or_default().to_owned();
    vec![Package::new(Kind::Python, name, version, metadata).licensed([license])]
}

fn header(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.is_empty() {
            if fields.is_empty() {
                continue;
            }
            break;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    fields
}

/// One name for all its spellings.
fn normal(name: &str) -> String {
    let mut normal = String::new();
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !normal.is_empty() {
            normal.push('-');
        }
        normal.push_str(&part.to_lowercase());
    }
    normal
}

fn root(path: &str) -> &str {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if path.ends_with(".egg-info") { folder } else { folder.rsplit_once('/').map_or("", |(folder, _)| folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normal_and_the_description_is_no_field() {
        let text = "Metadata-Version: 2.1\nName: Ruamel_yaml..clib\nVersion: 0.2.8\nLicense: MIT\n more\nRequires-Dist: a (>=1)\n\nName: not this\n";
        let found = read("usr/lib/python3/site-packages/r-0.2.8.dist-info/METADATA", text);
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("ruamel-yaml-clib", "0.2.8"));
        assert_eq!(found[0].licenses, ["MIT"]);
        assert_eq!(found[0].text("sitePackagesRootPath"), "/usr/lib/python3/site-packages");
        assert_eq!(read("a/x-1.egg-info", text)[0].text("sitePackagesRootPath"), "/a");
        assert!(read("x", "Version: 1\n").is_empty() && read("x", "").is_empty());
    }
}
