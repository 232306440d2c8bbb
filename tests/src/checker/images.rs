//! The image layout: from every reference of zarf.yaml to the last blob.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::definition::{Package, list, strings, text};
use super::{Files, Findings, checksums, reference};

const BASE_NAME: &str = "org.opencontainers.image.base.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What registries and Zarf's client accept.
const LARGEST_MANIFEST: usize = 4 << 20;
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

pub(super) fn check(files: &Files<'_>, package: &Package, findings: &mut Findings) {
    let wanted: BTreeSet<&str> =
        package.components().iter().flat_map(|component| strings(component, "images")).collect();
    let archived = package.components().iter().any(|component| !list(component, "imageArchives").is_empty());
    if wanted.is_empty() && !archived && !files.keys().any(|path| path.starts_with("images/")) {
        return;
    }
    let Some(index) = layout(files, findings) else { return };
    let mut walk = Walk { files, findings, reached: BTreeSet::new() };
    let by_reference = walk.index(&index);
    for written in wanted {
        walk.image(written, &by_reference, package);
    }
    let Walk { findings, reached, .. } = walk;
    for path in files.keys().filter(|path| path.starts_with("images/blobs/") && !reached.contains(**path)) {
        findings.add("unreachable-blob", format!("`{path}` belongs to no image"));
    }
    let known = |path: &str| {
        matches!(path, "images/oci-layout" | "images/index.json") || path.starts_with("images/blobs/sha256/")
    };
    for path in files.keys().filter(|path| path.starts_with("images/") && !known(path)) {
        findings.add("layout", format!("`{path}` does not belong into an image layout"));
    }
}

/// The index of a layout of the right version.
fn layout(files: &Files<'_>, findings: &mut Findings) -> Option<Value> {
    let mut read = |path: &str| {
        let parsed = files.get(path).map(|bytes| serde_json::from_slice::<Value>(bytes));
        match parsed {
            Some(Ok(value)) => Some(value),
            Some(Err(error)) => {
                findings.add("layout", format!("`{path}` is not JSON: {error}"));
                None
            }
            None => {
                findings.add("layout", format!("`{path}` is missing"));
                None
            }
        }
    };
    let (layout, index) = (read("images/oci-layout"), read("images/index.json"));
    if layout?["imageLayoutVersion"] != "1.0.0" {
        findings.add("layout", "the version of images/oci-layout is not 1.0.0");
    }
    index
}

struct Walk<'a, 'f> {
    files: &'a Files<'a>,
    findings: &'f mut Findings,
    /// Paths of blobs.
    reached: BTreeSet<String>,
}

impl Walk<'_, '_> {
    /// The descriptors by reference; both annotations must say the same.
    fn index(&mut self, index: &Value) -> BTreeMap<String, Value> {
        if index["schemaVersion"] != 2 {
            self.findings.add("layout", "images/index.json is not of schema version 2");
        }
        let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
        let digests: Vec<&str> = manifests.iter().filter_map(|descriptor| descriptor["digest"].as_str()).collect();
        if !digests.is_sorted() {
            self.findings.add("layout", "images/index.json is not sorted by digest");
        }
        let mut by_reference = BTreeMap::new();
        for descriptor in manifests {
            let annotation = |key: &str| descriptor["annotations"][key].as_str().unwrap_or_default().to_owned();
            let (base, name) = (annotation(BASE_NAME), annotation(REF_NAME));
            if base != name || name.is_empty() {
                self.findings.add("annotations", format!("base.name is `{base}` and ref.name is `{name}`"));
            }
            if name != reference::normalized(&name) {
                self.findings.add("annotations", format!("`{name}` is not a complete reference"));
            }
            self.descriptor(&descriptor, 0, false);
            if by_reference.insert(name.clone(), descriptor).is_some() {
                self.findings.add("annotations", format!("`{name}` is in images/index.json twice"));
            }
        }
        by_reference
    }

    /// A descriptor and all it refers to: there, of this size, of this digest.
    fn descriptor(&mut self, descriptor: &Value, depth: u32, of_windows: bool) {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        let Some(hex) = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64) else {
            return self.findings.add("layout", format!("`{digest}` is not a sha256 digest"));
        };
        let path = format!("images/blobs/sha256/{hex}");
        let Some(blob) = self.files.get(path.as_str()) else {
            return self.findings.add("blob", format!("`{path}` is missing"));
        };
        if descriptor["size"].as_u64() != Some(blob.len() as u64) {
            self.findings.add(
                "blob",
                format!("`{path}` has {} bytes and its descriptor says {}", blob.len(), descriptor["size"]),
            );
        }
        if self.reached.insert(path.clone()) && checksums::sha256(blob) != hex {
            self.findings.add("blob", format!("`{path}` differs from its name"));
        }
        let media_type = descriptor["mediaType"].as_str().unwrap_or_default();
        let children = if INDEXES.contains(&media_type) {
            &["manifests"][..]
        } else if MANIFESTS.contains(&media_type) {
            &["config", "layers"][..]
        } else {
            return;
        };
        if blob.len() > LARGEST_MANIFEST || depth > 4 {
            return self.findings.add("blob", format!("the manifest `{path}` is too large or nested too deeply"));
        }
        let Ok(manifest) = serde_json::from_slice::<Value>(blob) else {
            return self.findings.add("blob", format!("the manifest `{path}` is not JSON"));
        };
        for key in children {
            match &manifest[*key] {
                Value::Array(all) => all.iter().for_each(|child| self.child(child, depth, of_windows)),
                Value::Null => {}
                one => self.child(one, depth, of_windows),
            }
        }
    }

    /// Layers that may not be distributed are not in a package where they are
    /// Windows' own.
    fn child(&mut self, child: &Value, depth: u32, of_windows: bool) {
        let media_type = child["mediaType"].as_str().unwrap_or_default();
        let may_be_distributed = !media_type.contains("foreign") && !media_type.contains("nondistributable");
        if may_be_distributed || !of_windows {
            self.descriptor(child, depth + 1, child["platform"]["os"] == "windows");
        }
    }

    fn image(&mut self, written: &str, by_reference: &BTreeMap<String, Value>, package: &Package) {
        let complete = reference::normalized(written);
        let Some(descriptor) = by_reference.get(&complete) else {
            return self.findings.add("image", format!("`{complete}` is in zarf.yaml and not in images/index.json"));
        };
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        if let Some((_, pin)) = complete.split_once('@')
            && pin != digest
        {
            self.findings.add("pin", format!("`{complete}` is stored as {digest}"));
        }
        if INDEXES.contains(&descriptor["mediaType"].as_str().unwrap_or_default()) {
            if !complete.contains('@') {
                self.findings.add("platform", format!("the tag `{complete}` is stored as an index"));
            }
            return self.needs_index_support(package);
        }
        self.platform(&complete, digest, package);
    }

    fn needs_index_support(&mut self, package: &Package) {
        let requirements = package.0.get("build").map_or(&[][..], |build| list(build, "versionRequirements"));
        if !requirements.iter().any(|requirement| text(requirement, "version") == "v0.77.0") {
            self.findings.add("requirement", "the package holds an index and does not require v0.77.0");
        }
    }

    /// The configuration of the image must be for the package's architecture.
    fn platform(&mut self, complete: &str, digest: &str, package: &Package) {
        let json = |digest: &str| {
            let path = format!("images/blobs/sha256/{}", digest.trim_start_matches("sha256:"));
            self.files.get(path.as_str()).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok())
        };
        let Some(config) = json(digest).and_then(|manifest| json(manifest["config"]["digest"].as_str()?)) else {
            return;
        };
        let (os, architecture) = (config["os"].as_str(), config["architecture"].as_str());
        let wanted = package.text("metadata.architecture");
        if os.is_some_and(|os| !os.is_empty()) && (os != Some("linux") || architecture != wanted) {
            let (os, architecture) = (os.unwrap_or("?"), architecture.unwrap_or("?"));
            self.findings.add("platform", format!("`{complete}` is for {os}/{architecture}"));
        }
    }
}
