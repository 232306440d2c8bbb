//! `/etc/os-release`: which system an image is made of.

use serde_json::{Map, Value};

use crate::found::Release;

/// Its keys, by their names in Syft's document.
const KEYS: [(&str, &str); 16] = [
    ("PRETTY_NAME", "prettyName"),
    ("NAME", "name"),
    ("ID", "id"),
    ("VERSION", "version"),
    ("VERSION_ID", "versionID"),
    ("VERSION_CODENAME", "versionCodename"),
    ("BUILD_ID", "buildID"),
    ("IMAGE_ID", "imageID"),
    ("IMAGE_VERSION", "imageVersion"),
    ("VARIANT", "variant"),
    ("VARIANT_ID", "variantID"),
    ("HOME_URL", "homeURL"),
    ("SUPPORT_URL", "supportURL"),
    ("BUG_REPORT_URL", "bugReportURL"),
    ("CPE_NAME", "cpeName"),
    ("SUPPORT_END", "supportEnd"),
];

/// Reads it; lines that are none count for nothing.
pub fn read(text: &str) -> Release {
    let mut fields = Map::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once('=') else { continue };
        let value = unquoted(value.trim());
        if value.is_empty() {
            continue;
        }
        if key == "ID_LIKE" {
            let like = value.split_whitespace().map(|id| Value::from(id.to_lowercase()));
            fields.insert("idLike".to_owned(), like.collect());
        } else if let Some((_, name)) = KEYS.iter().find(|(known, _)| *known == key) {
            let value = if *name == "id" { value.to_lowercase() } else { value };
            fields.insert((*name).to_owned(), value.into());
        }
    }
    Release(fields)
}

/// As a shell reads it, as far as this file is written.
fn unquoted(value: &str) -> String {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else { return value.to_owned() };
    let inside = value[1..].rsplit_once(quote).map_or(&value[1..], |(inside, _)| inside);
    inside.replace("\\\"", "\"").replace("\\$", "$").replace("\\`", "`").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_have_the_names_of_the_document() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=Debian\n# no\nVERSION_ID='12'\nID_LIKE=\"a B\"\nODD=1\nbroken\n";
        let release = read(text);
        assert_eq!((release.get("id"), release.get("versionID")), ("debian", "12"));
        assert_eq!(release.get("prettyName"), "Debian GNU/Linux 12 (bookworm)");
        assert!(release.is_like("b") && release.is_like("debian") && !release.is_like("c"));
        assert_eq!(release.0.len(), 4);
        assert!(read("ID=\"\nID=''\n").get("id").is_empty());
    }
}
