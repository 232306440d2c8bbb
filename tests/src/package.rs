//! A finished package, opened for a look.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::checker;
use crate::digest::sha256_file;

/// Every entry of a package that is not a folder.
#[derive(Debug)]
pub struct Package {
    /// 64 hexadecimal digits, of the whole file.
    pub sha256: String,
    entries: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// # Panics
    /// When Zarf would not accept it, or its `.sha256` says otherwise.
    pub fn open(path: &Path) -> Self {
        let violations = checker::check(path);
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "{} breaks Zarf's rules:\n{}", path.display(), list.join("\n"));
        Self::unchecked(path)
    }

    /// One that the checker does not know.
    ///
    /// # Panics
    /// When it is no archive, or its `.sha256` says otherwise.
    pub fn unchecked(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let mut archive = tar::Archive::new(zstd::Decoder::new(file).expect("a zstd frame"));
        let mut entries = BTreeMap::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("a sound tar");
            if entry.header().entry_type().is_dir() {
                continue;
            }
            let name = entry.path().expect("a name").to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a sound tar");
            assert!(entries.insert(name.clone(), bytes).is_none(), "{name} is there twice");
        }
        let sha256 = sha256_file(path);
        let sidecar = std::fs::read_to_string(format!("{}.sha256", path.display())).expect("a .sha256 beside it");
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        assert_eq!(sidecar, format!("{sha256}  {name}\n"));
        Self { sha256, entries }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// # Panics
    /// When there is no such entry.
    pub fn bytes(&self, name: &str) -> &[u8] {
        self.entries.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", self.entries.keys()))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name).to_vec()).expect("text")
    }

    /// The first document of zarf.yaml.
    ///
    /// # Panics
    /// When it is no YAML.
    pub fn definition(&self) -> serde_json::Value {
        let text = self.text("zarf.yaml");
        let first = serde_yaml::Deserializer::from_str(&text).next().expect("a document");
        serde::Deserialize::deserialize(first).expect("zarf.yaml is YAML")
    }

    /// The entries of a tar inside the package.
    ///
    /// # Panics
    /// When it is not there or not a tar.
    pub fn nested(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(self.bytes(name));
        let mut entries = BTreeMap::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("a sound tar");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a sound tar");
            entries.insert(entry.path().expect("a name").to_string_lossy().into_owned(), bytes);
        }
        entries
    }
}
