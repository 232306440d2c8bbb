//! Real container images, made on the spot and the same every time.
//!
//! [`layer`] makes a layer with one file of the wanted size, [`Image::new`] a
//! config and a manifest around layers, [`Index`] a list of images with the
//! attestations that build tools add. Everything follows from seeds.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use serde_json::{Value, json};

use crate::digest::sha256;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Bytes with their media type and digest. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blob {
    pub media_type: String,
    pub bytes: Arc<[u8]>,
    /// With `sha256:`.
    pub digest: String,
}

impl Blob {
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        let digest = format!("sha256:{}", sha256(&bytes));
        Self { media_type: media_type.to_owned(), bytes: bytes.into(), digest }
    }

    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }

    /// The digest without `sha256:`.
    pub fn hex(&self) -> &str {
        self.digest.trim_start_matches("sha256:")
    }
}

/// Pseudo-random bytes: xorshift64*, the same for the same seed.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }

    pub fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.fill(&mut bytes);
        bytes
    }
}

/// Another one each time, for tests that try what chance brings.
pub fn random_seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    u64::from(since.subsec_nanos()) ^ (since.as_secs() << 20)
}

/// `size` bytes of which every second 4 KiB are incompressible and the others
/// read like text.
pub fn half_noise(seed: u64, size: usize) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let mut bytes = Vec::with_capacity(size + 8192);
    while bytes.len() < size {
        bytes.extend(noise.bytes(4096));
        let line = format!("option.{}.enabled = {}\n", noise.number() % 97, noise.number() % 2);
        bytes.extend(line.bytes().cycle().take(4096));
    }
    bytes.truncate(size);
    bytes
}

/// How the tar of a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    /// In gzip's frame, but as it is: the blob is as compressible as its tar.
    Stored,
    Plain,
}

/// A layer and the digest of its uncompressed tar.
#[derive(Clone, Debug)]
pub struct Layer {
    pub blob: Blob,
    pub diff_id: String,
}

/// A gzipped layer with one file of `size` incompressible bytes.
pub fn layer(seed: u64, size: usize) -> Layer {
    layer_of(&format!("data/{seed}.bin"), &Noise::new(seed).bytes(size), Packing::Gzip)
}

/// A layer with one file.
pub fn layer_of(path: &str, content: &[u8], packing: Packing) -> Layer {
    let tar = tar_of(&[(path, content)]);
    let diff_id = format!("sha256:{}", sha256(&tar));
    let blob = match packing {
        Packing::Plain => Blob::new(OCI_LAYER, tar),
        Packing::Gzip | Packing::Stored => {
            let level = if packing == Packing::Gzip { Compression::fast() } else { Compression::none() };
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(&tar).expect("memory takes it");
            Blob::new(OCI_LAYER_GZIP, encoder.finish().expect("memory takes it"))
        }
    };
    Layer { blob, diff_id }
}

/// A tar with fixed times and owners.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1_700_000_000);
        archive.append_data(&mut header, path, *content).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

/// An operating system, an architecture and a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    pub fn amd64() -> Self {
        Self::new("linux", "amd64", None)
    }

    pub fn arm64() -> Self {
        Self::new("linux", "arm64", Some("v8"))
    }

    fn fields(&self) -> Value {
        let mut fields = json!({ "os": self.os, "architecture": self.architecture });
        if let Some(variant) = &self.variant {
            fields["variant"] = json!(variant);
        }
        fields
    }
}

/// Which media types an image speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Oci,
    Docker,
}

/// One image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    pub manifest: Blob,
    pub config: Blob,
    pub layers: Vec<Blob>,
    pub platform: Platform,
}

impl Image {
    /// An OCI image for linux/amd64. `seed` goes into its config, so that two
    /// images with the same layers differ.
    pub fn new(seed: u64, layers: &[Layer]) -> Self {
        Self::build(seed, layers, Dialect::Oci, Platform::amd64())
    }

    /// The image with one layer of `size` incompressible bytes.
    pub fn small(seed: u64, size: usize) -> Self {
        Self::new(seed, &[layer(seed, size)])
    }

    pub fn build(seed: u64, layers: &[Layer], dialect: Dialect, platform: Platform) -> Self {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let mut config = platform.fields();
        config["created"] = json!("2024-01-01T00:00:00Z");
        config["config"] = json!({ "Cmd": ["/bin/true"], "Labels": { "seed": seed.to_string() } });
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
        config["history"] = json!([]);
        let (manifest_type, config_type) = match dialect {
            Dialect::Oci => (OCI_MANIFEST, OCI_CONFIG),
            Dialect::Docker => (DOCKER_MANIFEST, DOCKER_CONFIG),
        };
        let config = Blob::new(config_type, config.to_string().into_bytes());
        let layers: Vec<Blob> = layers.iter().map(|layer| in_dialect(&layer.blob, dialect)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        // Registries must not reformat what they serve: odd spacing shows it.
        let text = serde_json::to_string_pretty(&manifest).expect("a value is JSON");
        Self { manifest: Blob::new(manifest_type, text.into_bytes()), config, layers, platform }
    }

    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// Config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Bytes of config and layers.
    pub fn size(&self) -> u64 {
        self.blobs().map(Blob::size).sum()
    }
}

fn in_dialect(blob: &Blob, dialect: Dialect) -> Blob {
    match (dialect, blob.media_type.as_str()) {
        (Dialect::Docker, OCI_LAYER_GZIP) => Blob { media_type: DOCKER_LAYER_GZIP.to_owned(), ..blob.clone() },
        _ => blob.clone(),
    }
}

/// A list of images, one per platform.
#[derive(Clone, Debug)]
pub struct Index {
    pub manifest: Blob,
    pub images: Vec<Image>,
    pub attestations: Vec<Image>,
}

impl Index {
    pub fn new(images: &[Image]) -> Self {
        Self::build(images, &[], Dialect::Oci)
    }

    /// With an attestation for each image, as buildkit adds them: platform
    /// unknown/unknown and an annotation that names the image.
    pub fn with_attestations(images: &[Image]) -> Self {
        let attestations: Vec<Image> = images.iter().map(attestation).collect();
        Self::build(images, &attestations, Dialect::Oci)
    }

    /// Nothing for any platform: only what build tools add.
    pub fn only_attestations(of: &[Image]) -> Self {
        let attestations: Vec<Image> = of.iter().map(attestation).collect();
        Self::build_entries(Vec::new(), entries_of(of, &attestations).split_off(of.len()), attestations, OCI_INDEX)
    }

    pub fn build(images: &[Image], attestations: &[Image], dialect: Dialect) -> Self {
        let media_type = if dialect == Dialect::Docker { DOCKER_LIST } else { OCI_INDEX };
        Self::build_entries(images.to_vec(), entries_of(images, attestations), attestations.to_vec(), media_type)
    }

    fn build_entries(images: Vec<Image>, entries: Vec<Value>, attestations: Vec<Image>, media_type: &str) -> Self {
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
        Self { manifest: Blob::new(media_type, index.to_string().into_bytes()), images, attestations }
    }
}

fn entries_of(images: &[Image], attestations: &[Image]) -> Vec<Value> {
    let plain = images.iter().map(|image| {
        let mut entry = image.manifest.descriptor();
        entry["platform"] = image.platform.fields();
        entry
    });
    let attested = attestations.iter().zip(images).map(|(attestation, image)| {
        let mut entry = attestation.manifest.descriptor();
        entry["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        entry["annotations"] = json!({
            "vnd.docker.reference.digest": image.digest(),
            "vnd.docker.reference.type": "attestation-manifest",
        });
        entry
    });
    plain.chain(attested).collect()
}

fn attestation(image: &Image) -> Image {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{ "digest": { "sha256": image.manifest.hex() } }],
    });
    let mut blob = Blob::new("application/vnd.in-toto+json", statement.to_string().into_bytes());
    let layer = Layer { diff_id: blob.digest.clone(), blob: blob.clone() };
    let mut made = Image::build(0, &[layer], Dialect::Oci, Platform::new("unknown", "unknown", None));
    blob.media_type = "application/vnd.in-toto+json".to_owned();
    made.layers = vec![blob];
    made
}

/// Writes an image as skopeo's transport `dir:` has it, which takes every
/// dialect.
pub fn write_dir(folder: &Path, image: &Image) {
    std::fs::create_dir_all(folder).expect("a new folder");
    std::fs::write(folder.join("version"), "Directory Transport Version: 1.1\n").expect("a new file");
    std::fs::write(folder.join("manifest.json"), &image.manifest.bytes).expect("a new file");
    for blob in image.blobs() {
        std::fs::write(folder.join(blob.hex()), &blob.bytes).expect("a new file");
    }
}
