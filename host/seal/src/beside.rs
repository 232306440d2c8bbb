//! What lies beside a package: files named after it, which are carried with it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use base::digest::Digest;
use base::error::{Error, Result};

/// For `sha256sum -c`.
pub const CHECKSUM: &str = ".sha256";
/// What is in the package.
pub const LIST: &str = ".manifest.json";
/// How it was made: a statement, in a bundle where it is signed.
pub const PROVENANCE: &str = config::publish::PROVENANCE;
/// All of them.
pub const ALL: [&str; 3] = [CHECKSUM, LIST, PROVENANCE];
/// The list of the package that was built last.
pub const LAST_LIST: &str = config::publish::PACKAGE_LIST;

/// Where the file with this ending lies beside a package.
pub fn path_of(package: &Path, ending: &str) -> PathBuf {
    let name = package.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    package.with_file_name(format!("{name}{ending}"))
}

/// The text of a checksum file.
pub fn checksum(name: &str, digest: &Digest) -> String {
    format!("{}  {name}\n", digest.hex())
}

/// Digest and size of a file.
pub type Whole = (Digest, u64);

/// The archive that a list is about.
///
/// # Errors
/// `invalid-input` where it is no list.
pub fn whole_of(text: &str) -> Result<Option<Whole>> {
    let list: Value =
        serde_json::from_str(text).map_err(|error| Error::invalid("the list cannot be read").caused_by(error))?;
    let package = &list["package"];
    Ok(package["sha256"].as_str().and_then(|digest| digest.parse().ok()).zip(package["size"].as_u64()))
}

/// A list about the package `before`, which says the same about `after`: nothing
/// of what it lists has changed. None where it is about another package.
///
/// # Errors
/// `invalid-input` where it is no list.
pub fn list_of(text: &str, before: Whole, after: Whole) -> Result<Option<String>> {
    if whole_of(text)? != Some(before) {
        return Ok(None);
    }
    // The rest stays as it was written, in the order in which it was.
    let at = text.find("\"package\"").unwrap_or_default();
    let (head, tail) = text.split_at(at);
    let size = |size: u64| format!("\"size\": {size}");
    let tail = tail.replacen(&before.0.hex(), &after.0.hex(), 1).replacen(&size(before.1), &size(after.1), 1);
    let text = format!("{head}{tail}");
    match whole_of(&text)? == Some(after) {
        true => Ok(Some(text)),
        false => Err(Error::invalid("the list is not laid out as this version lays it out")
            .hint("build the package again, with `signing` in config/settings.yaml")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_of_the_signed_package_what_it_said_before() {
        let (before, after) = ((Digest::of(b"a"), 10), (Digest::of(b"b"), 12));
        let text = |(digest, size): Whole| {
            format!(
                "{{\n  \"format\": 1,\n  \"tool\": {{\n    \"size\": 10\n  }},\n  \"package\": {{\n    \"file\": \"x\",\n    \"sha256\": \"{}\",\n    \
                 \"size\": {size}\n  }},\n  \"images\": [{{\n    \"size\": 10\n  }}]\n}}\n",
                digest.hex()
            )
        };
        assert_eq!(list_of(&text(before), before, after).unwrap().unwrap(), text(after));
        assert_eq!(list_of(&text(after), before, after).unwrap(), None);
        assert!(list_of("{", before, after).is_err());
        let dense = text(before).replace(": ", ":");
        assert!(list_of(&dense, before, after).is_err());
    }
}
