//! The images of the package: each reference of the definition must be in the
//! image layout, under its complete spelling.

use std::collections::BTreeMap;

use components::image::{ImageName, is_index};
use components::zarf::Definition;
use sdk::StepError;
use serde::Deserialize;

use crate::definition::refuse;
use crate::plan::{self, Member};
use crate::sources::Sources;

/// The tree of the images step.
const TREE: &str = "images";
const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// Zarf can neither push nor pull larger ones.
const LARGEST_MANIFEST: u64 = 4 << 20;
const LARGEST_INDEX: u64 = 64 << 20;

/// An image that the definition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The complete spelling.
    pub reference: String,
    /// As the definition writes it.
    pub written: String,
    /// The components that name it.
    pub components: Vec<String>,
    pub media_type: String,
    /// `sha256:…` of the manifest or index.
    pub digest: String,
    /// Bytes of everything reachable from it, shared or not.
    pub size: u64,
    pub platform: Option<String>,
}

impl Image {
    pub fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }
}

#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

/// What a manifest or an index refers to.
#[derive(Debug, Default, Deserialize)]
struct Children {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// The images of all components, in the order of their references.
///
/// # Errors
/// `invalid-input` for what is no reference, or is pinned to a digest that the
/// layout does not have; `missing-input` for images that were not pulled.
pub fn collect(definition: &Definition, sources: &dyn Sources) -> Result<Vec<Image>, StepError> {
    let mut wanted: BTreeMap<String, (ImageName, String, Vec<String>)> = BTreeMap::new();
    for component in &definition.components {
        for written in &component.images {
            let name = ImageName::parse(written.strip_prefix("oci://").unwrap_or(written))
                .map_err(|bad| refuse("image", bad.message).hint(bad.hint).context(&component.name))?;
            let entry = wanted.entry(name.to_string()).or_insert_with(|| (name, written.clone(), Vec::new()));
            if entry.2.last() != Some(&component.name) {
                entry.2.push(component.name.clone());
            }
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let index = read_index(sources)?;
    let missing: Vec<&str> = wanted.keys().filter(|r| !index.contains_key(*r)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(StepError::missing_input(
            "images",
            format!("{} images of the definition were not pulled: {}", missing.len(), missing.join(", ")),
        )
        .hint("name them under `images` in config/components.yaml, in the same spelling"));
    }
    wanted.into_iter().map(|(reference, wanted)| image(reference, wanted, &index, sources)).collect()
}

fn read_index(sources: &dyn Sources) -> Result<BTreeMap<String, Descriptor>, StepError> {
    if !sources.has(TREE) {
        return Ok(BTreeMap::new());
    }
    let bytes = sources.read(TREE, "index.json", LARGEST_INDEX)?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context("images/index.json"))?;
    let named = index.manifests.into_iter().filter_map(|descriptor| {
        let reference = descriptor.annotations.as_ref()?.get(REFERENCE)?.clone();
        Some((reference, descriptor))
    });
    Ok(named.collect())
}

fn image(
    reference: String,
    (name, written, components): (ImageName, String, Vec<String>),
    index: &BTreeMap<String, Descriptor>,
    sources: &dyn Sources,
) -> Result<Image, StepError> {
    let descriptor = index.get(&reference).ok_or_else(|| refuse("images", format!("`{reference}` vanished")))?;
    if let Some(pin) = name.digest.filter(|pin| *pin != descriptor.digest) {
        return Err(refuse(
            "image-digest",
            format!("`{reference}` is pinned to {pin} and was pulled as {}", descriptor.digest),
        ));
    }
    let size = reachable(descriptor, sources, 0).map_err(|error| error.context(format!("image `{reference}`")))?;
    let platform = descriptor.platform.as_ref().map(|platform| format!("{}/{}", platform.os, platform.architecture));
    Ok(Image {
        reference,
        written,
        components,
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size,
        platform,
    })
}

/// Bytes of a blob and of everything that it refers to.
fn reachable(descriptor: &Descriptor, sources: &dyn Sources, depth: u32) -> Result<u64, StepError> {
    let hex = descriptor.digest.trim_start_matches("sha256:");
    let path = format!("blobs/sha256/{hex}");
    if depth > 4 {
        return Err(refuse("image", "indexes are nested too deeply"));
    }
    let bytes = sources.read(TREE, &path, LARGEST_MANIFEST)?;
    let children: Children = serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context(&path))?;
    let mut total = descriptor.size;
    for blob in children.config.iter().chain(children.layers.iter().flatten()) {
        total = total.saturating_add(blob.size);
    }
    for manifest in children.manifests.iter().flatten() {
        total = total.saturating_add(reachable(manifest, sources, depth + 1)?);
    }
    Ok(total)
}

/// The layout as members of the package.
pub fn members(sources: &dyn Sources) -> Result<Vec<Member>, StepError> {
    let files = sources.below(TREE, "")?;
    Ok(files.iter().map(|found| plan::file(format!("images/{}", found.path), 0o644, TREE, found)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::memory::{Memory, sha256};
    use components::zarf::Component;

    fn definition(images: &[&str]) -> Definition {
        let component = |name: &str| Component {
            name: name.into(),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            ..Component::default()
        };
        Definition { components: vec![component("a"), component("b")], ..Definition::default() }
    }

    fn layout(references: &[&str]) -> (Memory, String) {
        let manifest = r#"{"config":{"digest":"sha256:c","size":3},"layers":[{"digest":"sha256:l","size":40},{"digest":"sha256:l","size":500}]}"#;
        let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
        let entries: Vec<String> = references
            .iter()
            .map(|reference| format!(r#"{{"mediaType":"m","digest":"{digest}","size":100,"annotations":{{"{REFERENCE}":"{reference}"}}}}"#))
            .collect();
        let memory = Memory::default()
            .with(TREE, "index.json", format!(r#"{{"manifests":[{}]}}"#, entries.join(",")))
            .with(TREE, &format!("blobs/sha256/{}", &digest[7..]), manifest);
        (memory, digest)
    }

    #[test]
    fn images_are_found_by_their_complete_spelling_once_for_all_components() {
        let (sources, digest) = layout(&["docker.io/library/nginx:1.27"]);
        let images = collect(&definition(&["nginx:1.27", "docker.io/nginx:1.27"]), &sources).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!((images[0].size, images[0].digest.as_str()), (643, digest.as_str()));
        assert_eq!(images[0].components, ["a", "b"]);
    }

    #[test]
    fn a_missing_image_and_a_broken_pin_are_named() {
        let pin = format!("docker.io/library/nginx@sha256:{}", "0".repeat(64));
        let (sources, _) = layout(&[&pin]);
        let error = collect(&definition(&["redis:7", &pin]), &sources).unwrap_err();
        assert!(error.failure().unwrap().message.contains("docker.io/library/redis:7"));
        let error = collect(&definition(&[&pin]), &sources).unwrap_err();
        assert_eq!(error.failure().unwrap().code, "image-digest");
        assert!(collect(&definition(&["no such image"]), &sources).is_err());
    }
}
