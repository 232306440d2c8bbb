//! `sboms.tar`: a document for each image, as Zarf's own `create` leaves it.
//!
//! A package without one is none the worse to Zarf, and none to us: it is told.

use std::collections::BTreeSet;

use super::Problems;
use super::facts::{Facts, SBOMS, Sboms};
use super::images;
use super::package::Package;
use model::oci::{DEEPEST, Descriptor};

/// Where Zarf 0.89 and newer put them, in packages whose definition is v1beta1.
const FOLDER: &str = "sboms/";
/// What grype reads of a package; more is an error there.
const MOST: usize = 1000;

pub(super) fn check(facts: &Facts, package: &Package, problems: &mut Problems) {
    let Some(sboms) = &facts.sboms else { return };
    for name in &sboms.broken {
        problems.add_for("sbom", SBOMS, format!("holds `{}`, which is no JSON", name.escape_debug()));
    }
    let known = images::by_reference(facts);
    let wanted: BTreeSet<&String> = package.components().iter().flat_map(|component| &component.images).collect();
    for written in wanted {
        let reference = model::image::normalized(written);
        let runs = known.get(&reference).is_some_and(|descriptor| runs(facts, descriptor, 0));
        if runs && !describes(sboms, &reference) {
            problems.add_for("sbom", SBOMS, format!("has no document about the image `{}`", reference.escape_debug()));
        }
    }
}

/// What is to be said of a package that is sound.
pub(super) fn remark(facts: &Facts, package: &Package) -> Option<String> {
    let has_folder = facts.files.keys().any(|path| path.starts_with(FOLDER));
    let is_described =
        package.components().iter().any(|component| !component.images.is_empty() || !component.files.is_empty());
    match &facts.sboms {
        None if has_folder || !is_described || !facts.complete => None,
        None => Some("the package carries no SBOM".to_owned()),
        Some(sboms) if sboms.files.len() >= MOST => {
            Some(format!("the package carries {} SBOMs, and `grype zarf:` reads at most {MOST}", sboms.files.len()))
        }
        Some(_) => None,
    }
}

/// Whether an image, or one of an index, has layers of files: Zarf writes no
/// SBOM of a chart or a signature.
fn runs(facts: &Facts, descriptor: &Descriptor, depth: usize) -> bool {
    let Some(blob) = facts.blobs.get(descriptor.hex()).filter(|_| depth <= DEEPEST) else { return false };
    let children = blob.manifest.manifests();
    blob.manifest.runs() || children.iter().any(|child| runs(facts, child, depth + 1))
}

/// One of an index has its platform behind its name.
fn describes(sboms: &Sboms, reference: &str) -> bool {
    let stem = file_stem(reference);
    let of_index = format!("{stem}-");
    sboms.files.contains_key(&format!("{stem}.json"))
        || sboms.files.range(of_index.clone()..).next().is_some_and(|(name, _)| name.starts_with(&of_index))
}

/// A reference as Zarf makes the name of a file of it.
pub(crate) fn file_stem(reference: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    reference.chars().map(|c| if is_kept(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::Member;
    use super::*;

    #[test]
    fn an_image_is_described_by_its_name_or_by_one_for_its_platform() {
        let names = [
            "docker.io_library_a_1.json",
            "docker.io_library_b_1-linux-arm64.json",
            "sbom-viewer-docker.io_library_c_1.html",
        ];
        let member = Member { size: 2, at: 0, mode: 0o644, digest: None };
        let sboms = Sboms { files: names.map(|name| (name.to_owned(), member)).into(), ..Sboms::default() };
        let described =
            ["a:1", "b:1", "c:1", "a:2"].map(|name| describes(&sboms, &format!("docker.io/library/{name}")));
        assert_eq!(described, [true, true, false, false]);
    }
}
