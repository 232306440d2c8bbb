//! The image layout: every reference of zarf.yaml leads to blobs that are all
//! there, with the right digest and size.

use std::collections::{BTreeMap, BTreeSet};

use model::image::ImageName;
use serde::Deserialize;

use super::Problems;
use super::facts::Facts;
use super::package::Package;
use model::media_type::{CHART_ARCHIVE, CHART_CONFIG, is_foreign, is_index, is_manifest};
use model::oci::{BASE_NAME, DEEPEST, Descriptor, LARGEST_MANIFEST, Manifest, Platform};

const INDEX: &str = "images/index.json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

/// The descriptors of images/index.json by reference; empty where it cannot be
/// read.
pub(crate) fn by_reference(facts: &Facts) -> BTreeMap<String, Descriptor> {
    let index: Manifest =
        facts.texts.get(INDEX).and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
    let named = |descriptor: Descriptor| (descriptor.reference().unwrap_or_default().to_owned(), descriptor);
    index.into_manifests().into_iter().map(named).collect()
}

/// The archive of what an index calls an image and is a
/// chart.
pub(crate) fn chart_of<'a>(facts: &'a Facts, image: &Descriptor) -> Option<&'a Descriptor> {
    let manifest = &facts.blobs.get(image.hex())?.manifest;
    manifest.config.as_ref().filter(|config| config.media_type == CHART_CONFIG)?;
    manifest.layers().iter().find(|layer| layer.media_type == CHART_ARCHIVE)
}

pub(super) fn check(facts: &Facts, package: &Package, problems: &mut Problems) {
    let wanted: BTreeSet<&str> =
        package.components().iter().flat_map(|component| component.images.iter().map(String::as_str)).collect();
    let present = facts.files.keys().any(|path| path.starts_with("images/"));
    if (wanted.is_empty() && !present) || !facts.complete && !facts.texts.contains_key(INDEX) {
        return;
    }
    check_layout(facts, problems);
    let mut walk = Walk { facts, problems, seen: BTreeSet::new() };
    walk.index();
    let known = by_reference(facts);
    for written in wanted {
        walk.image(written, &known, package);
    }
}

fn check_layout(facts: &Facts, problems: &mut Problems) {
    let layout = facts.texts.get("images/oci-layout").map(|bytes| serde_json::from_slice::<LayoutFile>(bytes));
    match layout {
        Some(Ok(layout)) if layout.image_layout_version == "1.0.0" => {}
        Some(_) => problems.add_for("layout", "images/oci-layout", "does not say version 1.0.0"),
        None => problems.add_for("missing", "images/oci-layout", "is not in the package"),
    }
    match facts.texts.get(INDEX).map(|bytes| serde_json::from_slice::<Manifest>(bytes)) {
        Some(Ok(_)) => {}
        Some(Err(error)) => problems.add_for("layout", INDEX, format!("cannot be read: {error}")),
        None => problems.add_for("missing", INDEX, "is not in the package"),
    }
}

struct Walk<'a> {
    facts: &'a Facts,
    problems: &'a mut Problems,
    /// Digests that were looked at, with the size they were said to have, and
    /// whether that was said of an image for Windows.
    seen: BTreeSet<(String, u64, bool)>,
}

impl Walk<'_> {
    fn index(&mut self) {
        let bytes = self.facts.texts.get(INDEX);
        let index: Manifest = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        let mut references = BTreeSet::new();
        for descriptor in index.manifests() {
            let base = descriptor.annotations.get(BASE_NAME).map(String::as_str).unwrap_or_default();
            let name = descriptor.reference().unwrap_or_default();
            if base != name || name.is_empty() {
                self.problems.add_for("layout", INDEX, format!("calls an image `{base}` and `{name}` at once"));
            }
            if !references.insert(name.to_owned()) {
                self.problems.add_for("layout", INDEX, format!("names `{name}` twice"));
            }
            self.descriptor(name, descriptor, 0, false);
        }
    }

    /// A blob and everything that it refers to.
    fn descriptor(&mut self, image: &str, descriptor: &Descriptor, depth: usize, of_windows: bool) {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        if !self.seen.insert((digest.clone(), *size, of_windows)) {
            return;
        }
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64).unwrap_or_default();
        let path = format!("images/blobs/sha256/{hex}");
        let Some(file) = self.facts.files.get(&path) else {
            return self.problems.add_for(
                "missing",
                &path,
                format!("is not in the package: image `{image}` needs {digest}"),
            );
        };
        if file.digest.hex() != hex {
            self.problems.add_for(
                "digest",
                &path,
                format!("is damaged: its sha256 is {}; image `{image}` needs it", file.digest.hex()),
            );
        }
        if file.size != *size {
            self.problems.add_for("size", &path, format!("has {} bytes, and image `{image}` says {size}", file.size));
        }
        if !is_index(media_type) && !is_manifest(media_type) {
            return;
        }
        if file.size > LARGEST_MANIFEST || depth > DEEPEST {
            return self.problems.add_for("layout", &path, "is a manifest that is too large or nested too deeply");
        }
        let Some(blob) = self.facts.blobs.get(hex) else {
            return self.problems.add_for("layout", &path, "is no manifest that can be read");
        };
        let named: Vec<&Descriptor> = match is_index(media_type) {
            true => blob.manifest.manifests().iter().collect(),
            false => blob.manifest.blobs().collect(),
        };
        for child in named {
            // Of an image for Windows that a pinned index names, layers that
            // may not be passed on are not in a package.
            if !of_windows || !is_foreign(&child.media_type) {
                self.descriptor(image, child, depth + 1, child.is_for_windows());
            }
        }
    }

    fn image(&mut self, written: &str, known: &BTreeMap<String, Descriptor>, package: &Package) {
        let name = match ImageName::parse(written.strip_prefix("oci://").unwrap_or(written)) {
            Ok(name) => name,
            Err(bad) => {
                return self.problems.add_for(
                    "definition",
                    "zarf.yaml",
                    format!("names an image that is none: {}", bad.message),
                );
            }
        };
        let complete = name.to_string();
        let Some(descriptor) = known.get(&complete) else {
            return self.problems.add_for("image", INDEX, format!("lacks the image `{complete}` of zarf.yaml"));
        };
        if let Some(pin) = name.digest.filter(|pin| *pin != descriptor.digest) {
            self.problems.add_for(
                "image",
                INDEX,
                format!("has {} for `{complete}`, which is pinned to {pin}", descriptor.digest),
            );
        }
        if is_index(&descriptor.media_type) {
            if !package.requires("v0.77.0") {
                self.problems.add_for(
                    "definition",
                    "zarf.yaml",
                    format!("does not require v0.77.0 for the index `{complete}`"),
                );
            }
            return;
        }
        self.platform(&complete, descriptor, package.architecture());
    }

    fn platform(&mut self, complete: &str, descriptor: &Descriptor, wanted: &str) {
        let blob = |digest: &str| self.facts.blobs.get(digest.trim_start_matches("sha256:"));
        let config = blob(&descriptor.digest).and_then(|found| blob(&found.manifest.config.as_ref()?.digest));
        // Signatures and the like have a configuration that says nothing.
        let Some(Platform { os, architecture, .. }) = config.and_then(|config| config.platform.as_ref()) else {
            return;
        };
        let is_other = |told: &str, wanted: &str| !told.is_empty() && told != wanted;
        if is_other(os, "linux") || is_other(architecture, wanted) {
            self.problems.add_for(
                "image",
                INDEX,
                format!("has `{complete}` for {os}/{architecture}, and the package is for {wanted}"),
            );
        }
    }
}
