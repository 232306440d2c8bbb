//! The OCI image layout, byte for byte as Zarf writes it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::manifest::Descriptor;
use base::digest::Digest;
use base::error::{Error, Result};
use disk::fs;
use disk::tree::TreeBuilder;
use fetch::store::Store;
use model::media_type::OCI_INDEX;
use model::oci::{BASE_NAME, REFERENCE};

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Both hold the complete reference.
const NAMES: [&str; 2] = [BASE_NAME, REFERENCE];

/// Which of the references are about which, for who writes the definition: no
/// part of the layout.
const REFERRERS: &str = "referrers.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: &'a [Descriptor],
}

/// One descriptor per reference, sorted by digest, in Go's spelling of JSON.
pub(super) fn index_json(references: &BTreeMap<String, Descriptor>) -> Result<Vec<u8>> {
    let mut manifests: Vec<Descriptor> = references
        .iter()
        .map(|(reference, descriptor)| {
            let mut descriptor = descriptor.clone();
            descriptor.annotations.extend(NAMES.map(|name| (name.to_owned(), reference.clone())));
            descriptor
        })
        .collect();
    // Stable: references to one digest stay in alphabetical order.
    manifests.sort_by_key(|descriptor| descriptor.digest.hex());
    let index = Index { schema_version: 2, media_type: OCI_INDEX, manifests: &manifests };
    let text = serde_json::to_string(&index)
        .map_err(|source| Error::invalid("index.json can not be written").caused_by(source))?;
    Ok(as_go_escapes(&text).into_bytes())
}

/// Go escapes what HTML and JavaScript would trip over; outside of strings
/// these characters do not occur in JSON.
fn as_go_escapes(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Fills the tree: two small files, and a link for every blob. What an earlier
/// attempt left and nobody needs any more goes.
pub(super) fn write(
    tree: &TreeBuilder,
    store: &Store,
    references: &BTreeMap<String, Descriptor>,
    carried: &BTreeMap<String, Vec<String>>,
    blobs: &BTreeSet<Digest>,
) -> Result<()> {
    remove_others(tree, blobs)?;
    tree.discard(REFERRERS)?;
    if !carried.is_empty() {
        let text = serde_json::to_vec(carried)
            .map_err(|source| Error::invalid(format!("{REFERRERS} can not be written")).caused_by(source))?;
        tree.write(REFERRERS, &text, false)?;
    }
    tree.write("oci-layout", LAYOUT, false)?;
    tree.write("index.json", &index_json(references)?, false)?;
    for digest in blobs {
        store.link(digest, tree, &format!("blobs/sha256/{}", digest.hex()), false)?;
    }
    Ok(())
}

fn remove_others(tree: &TreeBuilder, blobs: &BTreeSet<Digest>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(tree.root().join("blobs/sha256")) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.parse::<Digest>().is_ok_and(|digest| blobs.contains(&digest)) {
            fs::remove_file(&entry.path())?;
            tree.forget(&format!("blobs/sha256/{name}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_sorted_by_digest_and_carries_both_names_and_the_platform() {
        let descriptor = |text: &str| serde_json::from_str::<Descriptor>(text).unwrap();
        let (a, b) = (Digest::of(b"1"), Digest::of(b"2"));
        assert!(a.hex() < b.hex(), "6b86… < d473…");
        let references = BTreeMap::from([
            (
                "docker.io/library/b:1".to_owned(),
                descriptor(&format!(
                    r#"{{"digest":"{b}","size":7,"mediaType":"m","artifactType":"t",
                        "platform":{{"os":"linux","variant":"v8","architecture":"arm64"}},
                        "annotations":{{"z":"<&>","com.docker.official-images.bashbrew.arch":"arm64v8"}}}}"#
                )),
            ),
            (
                "docker.io/library/a:2".to_owned(),
                descriptor(&format!(r#"{{"digest":"{a}","size":5,"mediaType":"m"}}"#)),
            ),
            (
                "docker.io/library/a:1".to_owned(),
                descriptor(&format!(r#"{{"digest":"{a}","size":5,"mediaType":"m"}}"#)),
            ),
        ]);
        let names = |reference: &str| {
            format!(
                r#""org.opencontainers.image.base.name":"{reference}","org.opencontainers.image.ref.name":"{reference}""#
            )
        };
        let expected = [
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":["#),
            format!(
                r#"{{"mediaType":"m","digest":"{a}","size":5,"annotations":{{{}}}}},"#,
                names("docker.io/library/a:1")
            ),
            format!(
                r#"{{"mediaType":"m","digest":"{a}","size":5,"annotations":{{{}}}}},"#,
                names("docker.io/library/a:2")
            ),
            format!(
                r#"{{"mediaType":"m","digest":"{b}","size":7,"annotations":{{"com.docker.official-images.bashbrew.arch":"arm64v8",{},"z":"\u003c\u0026\u003e"}},"#,
                names("docker.io/library/b:1")
            ),
            r#""platform":{"architecture":"arm64","os":"linux","variant":"v8"},"artifactType":"t"}]}"#.to_owned(),
        ];
        assert_eq!(String::from_utf8(index_json(&references).unwrap()).unwrap(), expected.concat());
    }

    /// What zarf wrote into the reference package for the same images.
    #[test]
    fn the_index_is_byte_for_byte_that_of_zarf() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden");
        let layout = std::fs::read(folder.join("layout/index.json")).unwrap();
        let mut layout: serde_json::Value = serde_json::from_slice(&layout).unwrap();
        let mut references = BTreeMap::new();
        for image in layout["manifests"].as_array_mut().unwrap() {
            let name = image["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
            let reference = model::image::normalized(&format!("127.0.0.1:5001/{name}"));
            image.as_object_mut().unwrap().remove("annotations");
            references.insert(reference, serde_json::from_value::<Descriptor>(image.clone()).unwrap());
        }
        let package = std::fs::File::open(folder.join("zarf-package-golden-amd64-1.2.3.tar.zst")).unwrap();
        let mut package = tar::Archive::new(zstd::Decoder::new(package).unwrap());
        let is_index = |entry: &tar::Entry<'_, _>| entry.path().unwrap().ends_with("images/index.json");
        let mut entry = package.entries().unwrap().map(Result::unwrap).find(is_index).unwrap();
        let mut expected = String::new();
        std::io::Read::read_to_string(&mut entry, &mut expected).unwrap();
        assert_eq!(String::from_utf8(index_json(&references).unwrap()).unwrap(), expected);
    }

    #[test]
    fn leftovers_of_an_earlier_attempt_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let tree = TreeBuilder::new(folder.path().join("tree"));
        let (old, new) = (store.insert_bytes(b"old").unwrap(), store.insert_bytes(b"new").unwrap());
        let none = BTreeMap::new();
        let about = BTreeMap::from([("a:1".to_owned(), vec!["a:sha256-00.sig".to_owned()])]);
        write(&tree, &store, &none, &about, &BTreeSet::from([old, new])).unwrap();
        assert!(tree.get(REFERRERS).is_some());
        write(&tree, &store, &none, &BTreeMap::new(), &BTreeSet::from([new])).unwrap();
        let blobs: Vec<_> = std::fs::read_dir(folder.path().join("tree/blobs/sha256")).unwrap().collect();
        assert_eq!(blobs.len(), 1);
        assert_eq!(tree.listing().artifacts.len(), 3);
        assert_eq!(Digest::of(LAYOUT).hex(), "18f0797eab35a4597c1e9624aa4f15fd91f6254e5538c1e0d193b2a95dd4acc6");
    }
}
