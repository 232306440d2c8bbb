//! What lies next to a package: its `.sha256`, and the list of what the build
//! put into it, `<package>.manifest.json`. Under the name artifact-manifest.json
//! lies the list of the package that was built last, and of older versions the
//! only one: one about another package says nothing about this.

use std::path::Path;

use serde::Deserialize;

use super::components::{below, repository_folder};
use super::definition::Package;
use super::evidence::Weighed;
use super::facts::Facts;
use super::{Beside, Problems, images, lock};
use base::digest::Digest;
use base::error::Result;
use config::airgap_lock::AirgapLock;
use disk::fs;

const LARGEST_CHECKSUM_FILE: u64 = 4096;
const LARGEST_MANIFEST: u64 = 64 << 20;

/// The package as a file.
pub(super) struct Whole<'a> {
    pub(super) path: &'a Path,
    pub(super) name: &'a str,
    pub(super) sha256: Digest,
    pub(super) size: u64,
}

pub(super) fn check_checksum_file(whole: &Whole<'_>, problems: &mut Problems) -> Result<Beside> {
    let name = format!("{}.sha256", whole.name);
    let Some(bytes) = fs::read_optional(&whole.path.with_file_name(&name), LARGEST_CHECKSUM_FILE)? else {
        return Ok(Beside::Missing);
    };
    let text = String::from_utf8_lossy(&bytes);
    let claimed = text.split_whitespace().next().unwrap_or_default();
    if claimed.parse::<Digest>().is_ok_and(|claimed| claimed == whole.sha256) {
        return Ok(Beside::Matches);
    }
    let shown: String = claimed.chars().take(64).collect();
    problems.add(
        "checksum-file",
        format!("the package has the sha256 {}, `{name}` says `{}`", whole.sha256.hex(), shown.escape_debug()),
    );
    Ok(Beside::Differs)
}

/// The part of artifact-manifest.json that can be compared.
#[derive(Debug, Deserialize)]
pub(super) struct ArtifactManifest {
    format: u32,
    package: PackageFile,
    #[serde(default)]
    pub(super) images: Vec<Image>,
    #[serde(default)]
    pub(super) charts: Vec<Item>,
    #[serde(default)]
    pub(super) files: Vec<Item>,
    #[serde(default)]
    pub(super) repositories: Vec<Repository>,
}

#[derive(Debug, Deserialize)]
struct PackageFile {
    file: String,
    sha256: String,
    size: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) reference: String,
    /// On what it rests; missing in a list of an older version.
    #[serde(default)]
    pub(super) evidence: Option<String>,
    /// As it was written.
    #[serde(default)]
    pub(super) source: Option<String>,
    pub(super) digest: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Item {
    component: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) evidence: Option<String>,
    /// Where it came from.
    #[serde(default)]
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) sha256: Option<String>,
    size: u64,
    /// Of a chart.
    #[serde(default)]
    version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository {
    pub(super) source: String,
    #[serde(default)]
    pub(super) evidence: Option<String>,
    #[serde(default)]
    pub(super) commit: Option<String>,
    component: String,
    path: String,
    files: usize,
    size: u64,
}

/// The list that lies beside a package, and what came of comparing with it.
pub(super) struct Listed {
    pub(super) beside: Beside,
    pub(super) weighed: Option<Weighed>,
}

pub(super) fn check_artifact_manifest(
    whole: &Whole<'_>,
    facts: &Facts,
    package: Option<&Package>,
    lock: Option<&AirgapLock>,
    problems: &mut Problems,
    remarks: &mut Vec<String>,
) -> Result<Listed> {
    let missing = Listed { beside: Beside::Missing, weighed: None };
    let before = problems.count();
    let Some(manifest) = find(whole, problems, remarks)? else {
        return Ok(if problems.count() == before { missing } else { Listed { beside: Beside::Differs, ..missing } });
    };
    Comparison { manifest: &manifest, facts, problems }.run(whole, package);
    if let Some(lock) = lock {
        lock::check(&manifest, lock, problems, remarks);
    }
    // Of a package that is another one it says nothing.
    match problems.count() == before {
        true => Ok(Listed { beside: Beside::Matches, weighed: Weighed::of(&manifest) }),
        false => Ok(Listed { beside: Beside::Differs, weighed: None }),
    }
}

/// The list about this package: under its own name, else under the common one.
fn find(whole: &Whole<'_>, problems: &mut Problems, remarks: &mut Vec<String>) -> Result<Option<ArtifactManifest>> {
    for name in [format!("{}.manifest.json", whole.name), "artifact-manifest.json".to_owned()] {
        let Some(bytes) = fs::read_optional(&whole.path.with_file_name(&name), LARGEST_MANIFEST)? else { continue };
        match serde_json::from_slice::<ArtifactManifest>(&bytes) {
            Ok(manifest) if manifest.format != 1 => {
                let message = format!("{name} has the format {}, this version reads 1", manifest.format);
                problems.add("artifact-manifest", message);
                return Ok(None);
            }
            Ok(manifest) if manifest.package.file != whole.name => {
                let other: String = manifest.package.file.chars().take(200).collect();
                remarks.push(format!(
                    "{name} beside the package is about `{}`: nothing was compared with it",
                    other.escape_debug()
                ));
            }
            Ok(manifest) => return Ok(Some(manifest)),
            Err(error) => {
                problems.add("artifact-manifest", format!("{name} cannot be read: {error}"));
                return Ok(None);
            }
        }
    }
    Ok(None)
}

struct Comparison<'a> {
    manifest: &'a ArtifactManifest,
    facts: &'a Facts,
    problems: &'a mut Problems,
}

impl Comparison<'_> {
    fn run(&mut self, whole: &Whole<'_>, package: Option<&Package>) {
        let PackageFile { sha256, size, .. } = &self.manifest.package;
        if *sha256 != whole.sha256.hex() || *size != whole.size {
            let found = format!("the package has {} bytes and the sha256 {}", whole.size, whole.sha256.hex());
            self.differs(format!("{found}, artifact-manifest.json says {size} and {sha256}"));
        }
        if !self.facts.complete {
            return;
        }
        self.images(package);
        for item in self.manifest.charts.iter().chain(&self.manifest.files) {
            self.item(item);
        }
        for repository in &self.manifest.repositories {
            self.repository(repository);
        }
        if let Some(package) = package {
            self.nothing_unlisted(package);
        }
    }

    fn differs(&mut self, message: String) {
        self.problems.add("artifact-manifest", message);
    }

    fn images(&mut self, package: Option<&Package>) {
        let known = images::by_reference(self.facts);
        for Image { reference, digest, .. } in &self.manifest.images {
            match known.get(reference) {
                Some(descriptor) if descriptor.digest == *digest => {}
                Some(descriptor) => {
                    let found = &descriptor.digest;
                    self.differs(format!("image `{reference}` is {found} in the package, and was built with {digest}"));
                }
                None => self.differs(format!("image `{reference}` is missing in the package")),
            }
        }
        for written in package.into_iter().flat_map(Package::components).flat_map(|component| &component.images) {
            let complete = model::image::normalized(written);
            if !self.manifest.images.iter().any(|image| image.reference == complete) {
                self.differs(format!("image `{complete}` is in the package and not in artifact-manifest.json"));
            }
        }
    }

    fn item(&mut self, item: &Item) {
        let Item { component, path, sha256, size, version, .. } = item;
        let tar = format!("components/{component}.tar");
        let Some(member) = self.facts.components.get(&tar).and_then(|members| members.get(path)) else {
            return self.differs(format!("`{path}` is missing in `{tar}`"));
        };
        let digest_fits = match (sha256, member.digest) {
            (Some(claimed), Some(found)) => *claimed == found.hex(),
            _ => true,
        };
        if !digest_fits || member.size != *size {
            return self.differs(format!("`{path}` in `{tar}` is not what the build put there: size or sha256 differ"));
        }
        // Nothing else says the version of a chart whose file is not named by it.
        if let (Some(claimed), Some(Ok(chart))) = (version, self.facts.charts.get(path))
            && !claimed.is_empty()
            && !chart.is_version(claimed)
        {
            let (found, claimed) = (chart.version.escape_debug(), claimed.escape_debug());
            self.differs(format!("`{path}` in `{tar}` holds the version `{found}`, and was built with `{claimed}`"));
        }
    }

    fn repository(&mut self, repository: &Repository) {
        let Repository { source, component, path, files, size, .. } = repository;
        let tar = format!("components/{component}.tar");
        let members = self.facts.components.get(&tar);
        let found: Vec<u64> =
            members.map(|members| below(members, path).map(|(_, member)| member.size).collect()).unwrap_or_default();
        if found.len() != *files || found.iter().sum::<u64>() != *size {
            let message = format!(
                "repository `{source}` has {} files with {} bytes in `{tar}`, and was built with {files} and {size}",
                found.len(),
                found.iter().sum::<u64>()
            );
            self.differs(message);
        }
    }

    /// Files in a folder of a component's tar.
    fn members_below(&self, component: &str, folder: &str) -> usize {
        let members = self.facts.components.get(&format!("components/{component}.tar"));
        members.map_or(0, |members| below(members, &format!("{component}/{folder}")).count())
    }

    /// What zarf.yaml names, the manifest must name as well.
    fn nothing_unlisted(&mut self, package: &Package) {
        for component in package.components() {
            let listed = |items: &[Item]| items.iter().filter(|item| item.component == component.name).count();
            // What is named may be a folder, of which each file is listed.
            let files = self.members_below(&component.name, "files").max(component.files.len());
            for (what, items, count) in
                [("charts", &self.manifest.charts, component.charts.len()), ("files", &self.manifest.files, files)]
            {
                if listed(items) != count {
                    let name = &component.name;
                    self.differs(format!("the {what} of component `{name}` are not all in artifact-manifest.json"));
                }
            }
            for url in &component.repos {
                let folder = repository_folder(url).unwrap_or_default();
                if !self.manifest.repositories.iter().any(|repository| repository.path.ends_with(&folder)) {
                    self.differs(format!("repository `{url}` is not in artifact-manifest.json"));
                }
            }
        }
    }
}
