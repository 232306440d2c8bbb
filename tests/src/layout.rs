//! Reads an OCI image layout as another tool would, and trusts nothing in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::digest::sha256_file;

/// A layout that was checked.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
    /// The descriptors of index.json.
    pub entries: Vec<Value>,
}

impl Layout {
    /// Checks that index.json reaches every blob, that every blob hashes to
    /// its name and has its size, and that nothing else lies there.
    ///
    /// # Panics
    /// With the first thing that is wrong.
    pub fn check(folder: &Path) -> Self {
        let index = read_json(&folder.join("index.json"));
        let marker = read_json(&folder.join("oci-layout"));
        assert_eq!(marker["imageLayoutVersion"], "1.0.0");
        let entries = index["manifests"].as_array().expect("manifests is a list").clone();
        let layout = Self { folder: folder.to_owned(), entries };
        let mut reached = BTreeSet::new();
        for entry in &layout.entries {
            layout.reach(entry, &mut reached);
        }
        let blobs = std::fs::read_dir(folder.join("blobs/sha256")).into_iter().flatten();
        let present: BTreeSet<String> =
            blobs.map(|blob| blob.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(present, reached, "the blobs are those that index.json reaches");
        layout
    }

    fn reach(&self, descriptor: &Value, reached: &mut BTreeSet<String>) {
        let digest = text(&descriptor["digest"]);
        let hex = digest.strip_prefix("sha256:").unwrap_or_else(|| panic!("{digest} is sha256"));
        let path = self.blob(&digest);
        let size = std::fs::metadata(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display())).len();
        assert_eq!(Some(size), descriptor["size"].as_u64(), "size of {digest}");
        if !reached.insert(hex.to_owned()) {
            return;
        }
        assert_eq!(sha256_file(&path), hex, "content of {digest}");
        if !text(&descriptor["mediaType"]).contains("manifest") && !text(&descriptor["mediaType"]).contains("index") {
            return;
        }
        let content = read_json(&path);
        let lists = ["manifests", "layers"].iter().filter_map(|key| content[*key].as_array()).flatten();
        for child in lists.chain(content.get("config")) {
            self.reach(child, reached);
        }
    }

    /// Where a blob lies.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// The references of all images, sorted.
    pub fn references(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .entries
            .iter()
            .map(|entry| text(&entry["annotations"]["org.opencontainers.image.base.name"]))
            .collect();
        names.sort();
        names
    }

    /// The digest that a reference leads to.
    ///
    /// # Panics
    /// When the layout does not hold the image.
    pub fn digest_of(&self, reference: &str) -> String {
        let found = self
            .entries
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.base.name"] == reference)
            .unwrap_or_else(|| panic!("no {reference} in {:?}", self.references()));
        text(&found["digest"])
    }

    /// The number of blobs.
    pub fn blobs(&self) -> usize {
        std::fs::read_dir(self.folder.join("blobs/sha256")).expect("a readable folder").count()
    }
}

fn read_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is a string")).to_owned()
}
