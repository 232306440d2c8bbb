//! A definition that an author wrote in v1beta1, as v1alpha1 says it.
//!
//! Everything that follows works on v1alpha1. [`as_alpha`] makes it of a
//! definition in v1beta1, and names what that would lose: what is made of it for
//! the v1beta1 document of the package says again what the author said.

use serde_yaml::Value;

use super::convert::{Loss, to_alpha, to_beta};
use super::{alpha, beta, differences, left_over, named_place};

/// The definition, and what of it v1alpha1 cannot say or nobody here knows.
///
/// # Errors
/// Why it is no definition in v1beta1.
pub fn as_alpha(document: &Value) -> Result<(alpha::Definition, Vec<Loss>), String> {
    let bad = |error: serde_yaml::Error| format!("zarf.yaml is no definition in v1beta1: {error}");
    let mut written: beta::Definition = serde_yaml::from_value(document.clone()).map_err(bad)?;
    let typed = serde_yaml::to_value(&written).map_err(bad)?;
    let why = "is no field of v1beta1 that this version knows";
    let unknown = left_over(document, &typed).into_iter();
    let mut losses: Vec<Loss> =
        unknown.map(|place| Loss { field: named_place(document, &place), why: why.to_owned() }).collect();
    in_one_spelling(&mut written);
    let (alpha, lost) = to_alpha(&written);
    losses.extend(lost);
    if losses.is_empty() {
        let back = to_beta(&alpha).0;
        let (one, other) = (serde_yaml::to_value(&written).map_err(bad)?, serde_yaml::to_value(back).map_err(bad)?);
        let why = "comes out another way in v1alpha1";
        let places = differences(&one, &other, usize::MAX);
        losses.extend(places.into_iter().map(|field| Loss { field, why: why.to_owned() }));
    }
    losses.extend(checksums(&written));
    Ok((alpha, losses))
}

/// Says the same in the words that a conversion there and back leaves.
pub fn in_one_spelling(definition: &mut beta::Definition) {
    // What a build adds is replaced.
    definition.build = beta::Build::default();
    for component in &mut definition.components {
        for image in component.images.iter_mut().filter(|image| image.source == "registry") {
            image.source.clear();
        }
        for repository in &mut component.repositories {
            repository.reference.take_if(|reference| *reference == beta::GitRef::default());
        }
        for manifest in &mut component.manifests {
            manifest.kustomize.take_if(|kustomize| *kustomize == beta::Kustomize::default());
        }
        // Every Zarf understands the digits alone, and 0.88 the name before them.
        for file in &mut component.files {
            if let Some(digits) = file.checksum.strip_prefix("sha256:") {
                file.checksum = digits.to_owned();
            }
        }
    }
}

/// Checksums that v1alpha1, and Zarf before 0.88, compare with a SHA-256.
fn checksums(written: &beta::Definition) -> Vec<Loss> {
    let mut found = Vec::new();
    for component in &written.components {
        for (index, _) in component.files.iter().enumerate().filter(|(_, file)| file.checksum.contains(':')) {
            let field = format!("components.{}.files.{index}.checksum", component.name);
            found.push(Loss { field, why: "is no SHA-256, which Zarf before 0.88 takes it for".to_owned() });
        }
    }
    found
}
