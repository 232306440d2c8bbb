//! The layout and the archive writer against a package that zarf made: from
//! the same inputs come the same component tar, image index, checksums and
//! aggregate checksum. What they guard: one byte off, and a package that
//! verifies here fails on the far side.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic in a test is the report, and its files are its own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use airgap_package::definition;
use airgap_package::format::Forms;
use airgap_package::parts::{Member, Source};
use airgap_package::plan;
use airgap_package::seal;
use airgap_package::sources::{Found, Sources};
use archive::{ArchiveWriter, Compression, NewMember};
use base::digest::Digest;
use sdk::StepError;

const WEB: &str = "bc137aa1543fb8af07dceaa1f095582d6a748ffe1d1a7a9a7e7e8e579a64175b";
const INDEX: &str = "d2943dcce9dd0bcb19af73f3fcdca7909fb670371f995c508c4b6233c28c65b9";
const AGGREGATE: &str = "7367d674c2033b7eb0d5f55653c7a38211bdc7fa137793bac33f64d23070b1ed";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden")
}

/// Trees as folders on disk.
struct Folders(BTreeMap<&'static str, PathBuf>);

impl Folders {
    fn at(&self, tree: &str, path: &str) -> PathBuf {
        self.0[tree].join(path)
    }
}

impl Sources for Folders {
    fn has(&self, tree: &str) -> bool {
        self.0.contains_key(tree)
    }

    fn find(&self, tree: &str, path: &str) -> Result<Option<Found>, StepError> {
        let full = self.at(tree, path);
        let Ok(metadata) = fs::metadata(&full) else { return Ok(None) };
        Ok(Some(Found {
            path: path.to_owned(),
            directory: metadata.is_dir(),
            size: metadata.len(),
            executable: false,
            sha256: metadata.is_file().then(|| Digest::of(&fs::read(&full).unwrap()).hex()),
        }))
    }

    fn below(&self, tree: &str, prefix: &str) -> Result<Vec<Found>, StepError> {
        let mut paths = Vec::new();
        walk(&self.at(tree, prefix), prefix, &mut paths);
        paths.sort();
        Ok(paths.iter().map(|path| self.find(tree, path).unwrap().unwrap()).collect())
    }

    fn read(&self, tree: &str, path: &str, _: u64) -> Result<Vec<u8>, StepError> {
        Ok(fs::read(self.at(tree, path))?)
    }
}

fn walk(directory: &Path, prefix: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), &path, paths),
            false => paths.push(path),
        }
    }
}

/// What zarf put into the reference package.
fn reference() -> BTreeMap<String, Vec<u8>> {
    let file = fs::File::open(golden().join("zarf-package-golden-amd64-1.2.3.tar.zst")).unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(file).unwrap());
    let entries = archive.entries().unwrap().map(Result::unwrap).filter(|entry| entry.header().entry_type().is_file());
    let read = |mut entry: tar::Entry<'_, _>| {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    entries.map(read).collect()
}

/// The image index as the images step makes it from the layout: complete
/// references in both annotations, sorted by digest.
fn image_index() -> String {
    let layout: serde_json::Value =
        serde_json::from_slice(&fs::read(golden().join("layout/index.json")).unwrap()).unwrap();
    let entries: Vec<String> = layout["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|descriptor| {
            let text = |key: &str| descriptor[key].as_str().unwrap().to_owned();
            let written = descriptor["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
            let reference = model::image::normalized(&format!("127.0.0.1:5001/{written}"));
            format!(
                r#"{{"mediaType":"{}","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.base.name":"{reference}","org.opencontainers.image.ref.name":"{reference}"}}}}"#,
                text("mediaType"),
                text("digest"),
                descriptor["size"]
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    )
}

/// The trees of the earlier steps, from the inputs that zarf was given.
fn trees(place: &Path, reference: &BTreeMap<String, Vec<u8>>) -> Folders {
    let charts = place.join("charts/charts");
    let images = place.join("images/blobs/sha256");
    fs::create_dir_all(&charts).unwrap();
    fs::create_dir_all(&images).unwrap();
    let mut web = tar::Archive::new(reference["components/web.tar"].as_slice());
    let chart =
        web.entries().unwrap().map(Result::unwrap).find(|entry| entry.path().unwrap().ends_with("hello-0.2.0.tgz"));
    let mut bytes = Vec::new();
    chart.unwrap().read_to_end(&mut bytes).unwrap();
    fs::write(charts.join("hello-0.2.0.tgz"), bytes).unwrap();
    for blob in fs::read_dir(golden().join("layout/blobs/sha256")).unwrap().map(Result::unwrap) {
        fs::copy(blob.path(), images.join(blob.file_name())).unwrap();
    }
    fs::write(place.join("images/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(place.join("images/index.json"), image_index()).unwrap();
    Folders(BTreeMap::from([
        ("zarf_gen", golden().join("input")),
        ("charts", place.join("charts")),
        ("images", place.join("images")),
    ]))
}

fn entry(trees: &Folders, member: &Member) -> NewMember {
    let Member { path, mode, source } = member;
    match source {
        Source::File { tree, path: from, size, sha256 } => {
            let digest = sha256.as_ref().map(|hex| hex.parse().unwrap());
            NewMember::file(path.clone(), *mode, trees.at(tree, from), *size, digest)
        }
        Source::Bytes(bytes) => NewMember::bytes(path.clone(), *mode, bytes.clone()),
        Source::Directory => NewMember::directory(path.clone(), *mode),
    }
}

#[test]
fn the_same_inputs_give_what_zarf_made() {
    let reference = reference();
    let place = tempfile::tempdir().unwrap();
    let trees = trees(place.path(), &reference);
    // The author wrote these two without quotes; nothing here reads numbers.
    let text = fs::read_to_string(golden().join("input/zarf.yaml")).unwrap();
    let package = definition::read(&text, Some("amd64")).unwrap();
    let plan = plan::plan(&package, "zarf_gen", &trees).unwrap();

    let file = place.path().join(package.file_name());
    let mut writer = ArchiveWriter::create(file.clone(), Compression::Zstd).unwrap();
    let mut added = Vec::new();
    for tar in &plan.tars {
        let members = tar.members.iter().map(|member| entry(&trees, member)).collect();
        added.push(writer.add_nested(&tar.path, 0o644, members).unwrap());
    }
    for member in &plan.loose {
        added.push(writer.add(entry(&trees, member)).unwrap());
    }
    let hex: Vec<(String, String)> = added.iter().map(|file| (file.digest.hex(), file.path.clone())).collect();
    let checksums = seal::checksums(hex.iter().map(|(digest, path)| (digest.as_str(), path.as_str())));
    let definition = seal::definition(&package, Forms::ALPHA, &plan, &checksums, 0).unwrap();
    writer.add(NewMember::bytes("checksums.txt", 0o600, checksums.clone().into_bytes())).unwrap();
    writer.add(NewMember::bytes("zarf.yaml", 0o600, definition.clone().into_bytes())).unwrap();
    writer.finish().unwrap();

    let digest_of = |path: &str| added.iter().find(|file| file.path == path).map(|file| file.digest.hex());
    assert_eq!(digest_of("components/web.tar").as_deref(), Some(WEB));
    assert_eq!(digest_of("images/index.json").as_deref(), Some(INDEX));
    assert_eq!(checksums.as_bytes(), reference["checksums.txt"]);
    assert_eq!(Digest::of(checksums.as_bytes()).hex(), AGGREGATE);
    assert!(definition.contains(AGGREGATE));

    // And read back, file for file.
    let mut archive = tar::Archive::new(zstd::Decoder::new(fs::File::open(&file).unwrap()).unwrap());
    let mut seen = 0;
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if path != "zarf.yaml" {
            assert!(bytes == reference[&path], "{path} differs");
        }
        seen += 1;
    }
    assert_eq!(seen, reference.len());
}
