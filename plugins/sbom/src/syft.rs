//! Syft's JSON, which Zarf carries and grype reads.
//!
//! The version is the oldest of the line that has these fields, so that readers
//! of any release take it for what they know.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::contents::{Contents, Placed};
use crate::found::{Kind, Package};
use crate::image::Image;
use crate::purl;
use crate::subject::{FileSubject, Subject};

const SCHEMA: &str = "16.0.0";
/// What wrote the document, in its `descriptor`.
pub const TOOL: &str = "opencenter-airgap";

/// The document of a subject.
pub fn document(subject: &Subject, contents: &Contents, version: &str) -> Value {
    let source = source(subject);
    let artifacts: Vec<Value> = contents.packages.iter().map(|placed| artifact(placed, contents)).collect();
    let relationships: Vec<Value> = artifacts
        .iter()
        .map(|artifact| json!({"parent": source["id"], "child": artifact["id"], "type": "contains"}))
        .collect();
    let mut document = json!({
        "artifacts": artifacts, "artifactRelationships": relationships, "source": source,
        "distro": contents.release.as_ref().map_or_else(|| json!({}), |release| Value::Object(release.0.clone())),
        "descriptor": {"name": TOOL, "version": version},
        "schema": {
            "version": SCHEMA,
            "url": format!("https://raw.githubusercontent.com/anchore/syft/main/schema/json/schema-{SCHEMA}.json"),
        },
    });
    let files = unread(contents);
    if !files.is_empty() {
        document["files"] = files.into();
    }
    document
}

/// Sixteen hexadecimal digits that follow from what is named.
pub fn id(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn source(subject: &Subject) -> Value {
    match subject {
        Subject::Image(image) => of_image(image),
        Subject::Component(name) => json!({
            "id": id(&["component", name]), "name": format!("component {name}"), "version": "", "type": "directory",
            "metadata": {"path": format!("components/{name}")},
        }),
        Subject::File(FileSubject { name, version, sha256, path, .. }) => json!({
            "id": id(&["file", name, sha256]), "name": name, "version": version, "type": "file",
            "metadata": {
                "path": path, "digests": [{"algorithm": "sha256", "value": sha256}], "mimeType": "",
            },
        }),
    }
}

fn of_image(image: &Image) -> Value {
    let layers = image.layers.iter().enumerate().map(|(index, layer)| {
        let digest = image.diff_ids.get(index).unwrap_or(&layer.digest);
        json!({"mediaType": layer.media_type, "digest": digest, "size": layer.size})
    });
    let size: u64 = image.layers.iter().map(|layer| layer.size).sum();
    let repository = image.reference.split('@').next().unwrap_or_default();
    let (repository, tag) = match repository.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(repository_tag(repository, tag))),
        _ => (repository, None),
    };
    let mut metadata = json!({
        "userInput": image.identifier(), "imageID": image.config.digest, "manifestDigest": image.manifest.digest,
        "mediaType": image.manifest.media_type, "tags": tag.into_iter().collect::<Vec<_>>(), "imageSize": size,
        "layers": layers.collect::<Vec<_>>(), "manifest": null, "config": null,
        "repoDigests": [format!("{repository}@{}", image.manifest.digest)],
        "architecture": image.platform.architecture, "os": image.platform.os,
    });
    if let Some(variant) = image.platform.variant.as_ref().filter(|variant| !variant.is_empty()) {
        metadata["architectureVariant"] = variant.as_str().into();
    }
    json!({
        "id": id(&["image", &image.identifier(), &image.manifest.digest]), "name": image.identifier(),
        "version": image.manifest.digest, "type": "image", "metadata": metadata,
    })
}

fn repository_tag(repository: &str, tag: &str) -> String {
    format!("{repository}:{tag}")
}

/// What tells a package from every other one of its document.
pub fn id_of(placed: &Placed) -> String {
    let Package { kind, name, version, inside, .. } = &placed.package;
    id(&[kind.words()[0], name, version, &placed.path, inside, &placed.layer, &placed.package.metadata.to_string()])
}

fn artifact(placed: &Placed, contents: &Contents) -> Value {
    let Placed { package, path, layer } = placed;
    let [kind, found_by, language, metadata] = package.kind.words();
    let mut location = json!({"path": path, "accessPath": format!("{path}{}", package.inside), "annotations": {"evidence": "primary"}});
    if !layer.is_empty() {
        location["layerID"] = layer.as_str().into();
    }
    let licenses = package.licenses.iter().map(
        |license| json!({"value": license, "spdxExpression": "", "type": "declared", "urls": [], "locations": []}),
    );
    json!({
        "id": id_of(placed), "name": package.name, "version": package.version, "type": kind, "foundBy": found_by,
        "locations": [location], "licenses": licenses.collect::<Vec<_>>(), "language": language,
        "cpes": cpe(package).map(|cpe| json!({"cpe": cpe, "source": "syft-generated"})).into_iter().collect::<Vec<_>>(),
        "purl": purl::of(package, contents.release.as_ref()), "metadataType": metadata, "metadata": package.metadata,
    })
}

/// What scanners look the library of Go up by: it has no other name.
pub fn cpe(package: &Package) -> Option<String> {
    if package.kind != Kind::GoModule || package.name != "stdlib" {
        return None;
    }
    let version = package.version.trim_start_matches("go");
    let version = version.split('+').next().unwrap_or_default();
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let (version, rest) = version.split_at(end);
    let candidate: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let candidate = if candidate.is_empty() { "-" } else { &candidate };
    Some(format!("cpe:2.3:a:golang:go:{}:{candidate}:*:*:*:*:*:*", version.trim_end_matches('.')))
}

/// Files that could not be read, with why, and layers.
fn unread(contents: &Contents) -> Vec<Value> {
    let entries = contents.unread.iter().map(|(digest, layer, unread)| {
        let path = format!("/{}", unread.path);
        let mut location = Map::from_iter([("path".to_owned(), Value::from(path.as_str()))]);
        if !layer.is_empty() {
            location.insert("layerID".to_owned(), layer.as_str().into());
        }
        let why = if unread.path.is_empty() { format!("layer {digest}: {}", unread.why) } else { unread.why.clone() };
        json!({"id": id(&["unread", digest, &path, &why]), "location": location, "unknowns": [format!("sbom: {why}")]})
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_of_go_has_the_name_that_scanners_look_for() {
        let cpe = |version: &str| cpe(&Package::new(Kind::GoModule, "stdlib", version, json!({})));
        for (version, expected) in [("go1.22.3", "1.22.3:-"), ("go1.22rc1", "1.22:rc1"), ("go1.21.0+abc", "1.21.0:-")] {
            assert_eq!(cpe(version).unwrap(), format!("cpe:2.3:a:golang:go:{expected}:*:*:*:*:*:*"));
        }
        assert!(super::cpe(&Package::new(Kind::GoModule, "x/stdlib", "v1", json!({}))).is_none());
    }

    #[test]
    fn names_of_packages_are_their_own_and_the_same_every_time() {
        let placed = |version: &str, path: &str| Placed {
            package: Package::new(Kind::Npm, "a", version, json!({})),
            path: path.to_owned(),
            layer: String::new(),
        };
        let ids = [placed("1", "/a"), placed("2", "/a"), placed("1", "/b")].map(|placed| id_of(&placed));
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        assert_eq!(id_of(&placed("1", "/a")), ids[0]);
        assert_ne!(id(&["ab", "c"]), id(&["a", "bc"]));
    }
}
