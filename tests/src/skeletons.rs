//! Skeleton packages as `zarf package publish DIR` pushes them: an index that lists
//! the manifest for the platform multi/skeleton, with a layer for each file.

use serde_json::{Value, json};

use crate::http::Content;
use crate::images::{Blob, OCI_INDEX, OCI_MANIFEST, tar_of};
use crate::registry::Registry;

const LAYER: &str = "application/vnd.zarf.layer.v1.blob";
const CONFIG: &str = "application/vnd.zarf.config.v1+json";

/// Something that is published.
pub struct Skeleton {
    files: Vec<(String, Vec<u8>)>,
    architecture: &'static str,
    media_type: &'static str,
}

impl Skeleton {
    /// With these components and what follows them, as the text of zarf.yaml.
    pub fn new(components: &str) -> Self {
        Self::raw(&format!(
            "kind: ZarfPackageConfig\nmetadata:\n  name: shared\n  version: 1.0.0\n  architecture: skeleton\n  \
             aggregateChecksum: 4f2bf8ebf6c16cc9e7684f84fc9aa5b5750df4b06ecc4487b788d946c86eea4f\nbuild:\n  \
             architecture: skeleton\n  timestamp: Sun, 29 Nov 2026 21:57:01 +0000\n  version: v0.84.0\n  migrations:\n  \
             - scripts-to-actions\n  signed: false\n  provenanceFiles:\n  - checksums.txt\ncomponents:\n{components}"
        ))
    }

    /// With this zarf.yaml.
    pub fn raw(definition: &str) -> Self {
        let files = vec![("zarf.yaml".to_owned(), definition.as_bytes().to_vec())];
        Self { files, architecture: "skeleton", media_type: CONFIG }
    }

    /// With the files of a component, relative to its folder.
    #[must_use]
    pub fn with(self, component: &str, files: &[(&str, &str)]) -> Self {
        let named: Vec<(String, &str)> =
            files.iter().map(|(path, text)| (format!("{component}/{path}"), *text)).collect();
        let files: Vec<(&str, &[u8])> = named.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
        self.with_layer(&format!("components/{component}.tar"), tar_of(&files))
    }

    /// With a layer of this name.
    #[must_use]
    pub fn with_layer(mut self, title: &str, bytes: Vec<u8>) -> Self {
        self.files.push((title.to_owned(), bytes));
        self
    }

    /// Listed for another architecture.
    #[must_use]
    pub fn for_architecture(self, architecture: &'static str) -> Self {
        Self { architecture, ..self }
    }

    /// With another type of its configuration.
    #[must_use]
    pub fn of_type(self, media_type: &'static str) -> Self {
        Self { media_type, ..self }
    }

    /// Pushes it under `repository:tag`; gives the digest of its manifest.
    pub fn push(&self, registry: &Registry, name: &str) -> String {
        self.push_with(registry, name, |_| {})
    }

    /// The same with a manifest that is changed before.
    pub fn push_with(&self, registry: &Registry, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let (repository, tag) = name.rsplit_once(':').expect("a tag");
        let put = |blob: &Blob| registry.push_blob(repository, &blob.digest, Content::Memory(blob.bytes.clone()));
        let config = Blob::new(self.media_type, b"{}".to_vec());
        put(&config);
        let layer = |(title, bytes): &(String, Vec<u8>)| {
            let blob = Blob::new(LAYER, bytes.clone());
            put(&blob);
            let mut descriptor = blob.descriptor();
            descriptor["annotations"] = json!({ "org.opencontainers.image.title": title });
            descriptor
        };
        let layers: Vec<Value> = self.files.iter().map(layer).collect();
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(), "layers": layers,
        });
        change(&mut manifest);
        let manifest = Blob::new(OCI_MANIFEST, manifest.to_string().into_bytes());
        registry.push_manifest(repository, None, &manifest);
        let mut listed = manifest.descriptor();
        listed["platform"] = json!({ "architecture": self.architecture, "os": "multi" });
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed] });
        registry.push_manifest(repository, Some(tag), &Blob::new(OCI_INDEX, index.to_string().into_bytes()));
        manifest.digest.clone()
    }
}

/// A tar archive whose one member is called whatever is said.
pub fn tar_called(path: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    archive.append(&header, content).expect("memory takes it");
    archive.into_inner().expect("memory takes it")
}
