//! What lies next to a package: its `.sha256`, and the list of what the build
//! put into it, `<package>.manifest.json`. Under the name artifact-manifest.json
//! lies the list of the package that was built last, and of older versions the
//! only one: one about another package says nothing about this.

use std::collections::BTreeMap;
use std::path::Path;

use super::artifact_manifest::{ArtifactManifest, Image, Item, PackageFile, Repository};
use super::components::below;
use super::evidence::Weighed;
use super::facts::Facts;
use super::package::Package;
use super::provenance::{self, Statement};
use super::signature::{Signature, State};
use super::{Against, Beside, Problems, images, lock};
use base::digest::Digest;
use base::error::Result;
use config::airgap_lock::AirgapLock;
use disk::fs;
use model::oci::Descriptor;
use model::zarf::RepositoryUrl;
use seal::beside::{CHECKSUM, LAST_LIST, LIST};

const LARGEST_CHECKSUM_FILE: u64 = 4096;
const LARGEST_MANIFEST: u64 = 64 << 20;

/// The package as a file.
pub(super) struct Whole<'a> {
    pub(super) path: &'a Path,
    pub(super) name: &'a str,
    pub(super) sha256: Digest,
    pub(super) size: u64,
}

/// What is known of the package itself.
pub(super) struct Known<'a> {
    pub(super) facts: &'a Facts,
    pub(super) package: Option<&'a Package>,
    pub(super) signature: &'a Signature,
}

/// What came of comparing a package with everything that lies beside it.
pub(super) struct Found {
    pub(super) checksum_file: Beside,
    pub(super) artifact_manifest: Beside,
    pub(super) evidence: Option<Weighed>,
    pub(super) provenance: Option<Statement>,
}

impl Default for Found {
    fn default() -> Self {
        let missing = Beside::Missing;
        Self { checksum_file: missing, artifact_manifest: missing, evidence: None, provenance: None }
    }
}

/// Compares a package with what lies beside it. Files that tell the digest of
/// another archive may be about the one that was signed since: signing writes
/// zarf.yaml anew, and Zarf the whole archive, and nothing else in it.
pub(super) fn check(
    whole: &Whole<'_>,
    known: &Known<'_>,
    against: &Against<'_>,
    problems: &mut Problems,
    remarks: &mut Vec<String>,
) -> Result<Found> {
    let is_sound = problems.count() == 0;
    let mut stale = Stale::default();
    let mut checksum_file = check_checksum_file(whole, &mut stale)?;
    let listed = check_artifact_manifest(whole, known, against.lock, &mut stale, problems, remarks)?;
    let Listed { beside: mut artifact_manifest, weighed: mut evidence } = listed;
    let provenance = provenance::check(whole.path, &whole.sha256, against.key, problems)?;
    stale.provenance(whole, provenance.as_ref());
    let is_resigned = known.signature.state == State::Holds || known.signature.state == State::Unchecked;
    if !stale.files.is_empty() && is_resigned && is_sound && problems.count() == 0 && stale.is_one() {
        for beside in [&mut checksum_file, &mut artifact_manifest] {
            if *beside == Beside::Differs {
                *beside = Beside::Rewritten;
            }
        }
        stale.tell(known.signature.state, problems, remarks);
    } else if !stale.files.is_empty() {
        evidence = None;
        stale.files.into_iter().for_each(|(_, rule, _, message)| problems.add(rule, message));
    }
    Ok(Found { checksum_file, artifact_manifest, evidence, provenance })
}

/// Files beside a package that tell the digest of another archive.
#[derive(Default)]
struct Stale {
    /// Name, the rule that is broken, the digest that it tells, and what is to
    /// be said.
    files: Vec<(String, &'static str, String, String)>,
    /// Contents of the package that a list was compared with.
    compared: Option<usize>,
}

impl Stale {
    fn add(&mut self, name: &str, rule: &'static str, digest: &str, message: String) {
        self.files.push((name.to_owned(), rule, digest.to_ascii_lowercase(), message));
    }

    fn provenance(&mut self, whole: &Whole<'_>, statement: Option<&Statement>) {
        let Some(statement) = statement.filter(|statement| statement.matches == Some(false)) else { return };
        let name = format!("{}{}", whole.name, seal::beside::PROVENANCE);
        let about: String = statement.about.iter().flat_map(|about| about.chars().take(64)).collect();
        let found = whole.sha256.hex();
        let message = format!("the package has the sha256 {found}, {name} is about `{}`", about.escape_debug());
        self.add(&name, "provenance", &about, message);
    }

    /// Whether they all tell the same digest, and it is one.
    fn is_one(&self) -> bool {
        let mut digests = self.files.iter().map(|(_, _, digest, _)| digest);
        let first = digests.next();
        first.is_some_and(|first| first.parse::<Digest>().is_ok() && digests.all(|digest| digest == first))
    }

    /// Says what happened, and what still holds.
    fn tell(&self, state: State, problems: &mut Problems, remarks: &mut Vec<String>) {
        let names: Vec<String> = self.files.iter().map(|(name, ..)| format!("`{name}`")).collect();
        let happened = format!(
            "the archive was written again since {} told its digest, as `zarf package sign` does: it is another file now",
            names.join(", ")
        );
        let contents = match self.compared {
            Some(count) => format!(
                "every file has the digest that checksums.txt says, and each of the {count} contents on the list that of the build"
            ),
            None => "every file has the digest that checksums.txt says".to_owned(),
        };
        match state {
            State::Holds => remarks.push(format!("{happened}. What holds: the signature, so zarf.yaml and checksums.txt are the signer's; {contents}")),
            _ => problems.add("rewritten", format!("{happened}. What holds: {contents}. What nobody has checked: the signature over zarf.yaml, which says what is deployed")),
        }
    }
}

fn check_checksum_file(whole: &Whole<'_>, stale: &mut Stale) -> Result<Beside> {
    let name = format!("{}{CHECKSUM}", whole.name);
    let Some(bytes) = fs::read_optional(&whole.path.with_file_name(&name), LARGEST_CHECKSUM_FILE)? else {
        return Ok(Beside::Missing);
    };
    let text = String::from_utf8_lossy(&bytes);
    let claimed = text.split_whitespace().next().unwrap_or_default();
    if claimed.parse::<Digest>().is_ok_and(|claimed| claimed == whole.sha256) {
        return Ok(Beside::Matches);
    }
    let shown: String = claimed.chars().take(64).collect();
    let message =
        format!("the package has the sha256 {}, `{name}` says `{}`", whole.sha256.hex(), shown.escape_debug());
    stale.add(&name, "checksum-file", &shown, message);
    Ok(Beside::Differs)
}

/// The list that lies beside a package, and what came of comparing with it.
pub(super) struct Listed {
    pub(super) beside: Beside,
    pub(super) weighed: Option<Weighed>,
}

fn check_artifact_manifest(
    whole: &Whole<'_>,
    known: &Known<'_>,
    lock: Option<&AirgapLock>,
    stale: &mut Stale,
    problems: &mut Problems,
    remarks: &mut Vec<String>,
) -> Result<Listed> {
    let missing = Listed { beside: Beside::Missing, weighed: None };
    let before = problems.count();
    let Some((name, manifest)) = find(whole, problems, remarks)? else {
        return Ok(if problems.count() == before { missing } else { Listed { beside: Beside::Differs, ..missing } });
    };
    let is_other = manifest.is_of_other(whole);
    if is_other {
        let PackageFile { sha256, size, .. } = &manifest.package;
        let found = format!("the package has {} bytes and the sha256 {}", whole.size, whole.sha256.hex());
        let sha256: String = sha256.chars().take(64).collect();
        let message = format!("{found}, artifact-manifest.json says {size} and {}", sha256.escape_debug());
        stale.add(&name, "artifact-manifest", &sha256, message);
    }
    let layout = images::by_reference(known.facts);
    Comparison { manifest: &manifest, facts: known.facts, known: layout, problems }.run(known.package);
    if problems.count() == before {
        stale.compared = Some(manifest.count());
    }
    if let Some(lock) = lock {
        lock::check(&manifest, lock, problems, remarks);
    }
    // Of a package that is another one it says nothing.
    let weighed = (problems.count() == before).then(|| Weighed::of(&manifest)).flatten();
    let beside = if problems.count() == before && !is_other { Beside::Matches } else { Beside::Differs };
    Ok(Listed { beside, weighed })
}

impl ArtifactManifest {
    /// Whether it tells another digest or size of the archive.
    fn is_of_other(&self, whole: &Whole<'_>) -> bool {
        self.package.sha256 != whole.sha256.hex() || self.package.size != whole.size
    }

    /// Contents that it lists.
    fn count(&self) -> usize {
        self.images.len() + self.charts.len() + self.files.len() + self.repositories.len()
    }
}

/// The list about this package: under its own name, else under the common one.
fn find(
    whole: &Whole<'_>,
    problems: &mut Problems,
    remarks: &mut Vec<String>,
) -> Result<Option<(String, ArtifactManifest)>> {
    for name in [format!("{}{LIST}", whole.name), LAST_LIST.to_owned()] {
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
            Ok(manifest) => return Ok(Some((name, manifest))),
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
    /// What the layout calls how.
    known: BTreeMap<String, Descriptor>,
    problems: &'a mut Problems,
}

impl Comparison<'_> {
    fn run(&mut self, package: Option<&Package>) {
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
        for Image { reference, digest, .. } in &self.manifest.images {
            match self.known.get(reference).map(|descriptor| descriptor.digest.clone()) {
                Some(found) if found == *digest => {}
                Some(found) => {
                    self.differs(format!("image `{reference}` is {found} in the package, and was built with {digest}"));
                }
                None => self.differs(format!("image `{reference}` is missing in the package")),
            }
        }
        for written in package.into_iter().flat_map(Package::components).flat_map(|component| &component.images) {
            let complete = model::image::normalized(written);
            let is_it = |chart: &Item| chart.artifact.as_ref() == Some(&complete);
            if self.manifest.charts.iter().any(is_it) {
                continue;
            }
            if !self.manifest.images.iter().any(|image| image.reference == complete) {
                self.differs(format!("image `{complete}` is in the package and not in artifact-manifest.json"));
            }
        }
    }

    /// A chart that is carried as an OCI artifact.
    fn artifact(&mut self, reference: &str, item: &Item) {
        let Some(image) = self.known.get(reference).cloned() else {
            return self.differs(format!("the chart `{reference}` is missing in the package"));
        };
        if item.manifest.as_ref() != Some(&image.digest) {
            let (found, built) = (&image.digest, item.manifest.as_deref().unwrap_or_default().escape_debug());
            self.differs(format!("the chart `{reference}` is {found} in the package, and was built with {built}"));
        }
        let archive = images::chart_of(self.facts, &image).map(|layer| layer.hex());
        if archive != item.sha256.as_deref() {
            self.differs(format!("the archive of the chart `{reference}` is not the one that the build put there"));
        }
    }

    fn item(&mut self, item: &Item) {
        if let Some(reference) = &item.artifact {
            return self.artifact(reference, item);
        }
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
            let is_in = |item: &&Item| item.component == component.name && item.artifact.is_none();
            let listed = |items: &[Item]| items.iter().filter(is_in).count();
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
                let folder = RepositoryUrl::folder(url).unwrap_or_default();
                if !self.manifest.repositories.iter().any(|repository| repository.path.ends_with(&folder)) {
                    self.differs(format!("repository `{url}` is not in artifact-manifest.json"));
                }
            }
        }
    }
}
