//! zarf.yaml of a signed package.

use model::zarf::documents::Documents;
use model::zarf::to_text;
use serde_yaml::{Mapping, Value};

use crate::members::{BUNDLE, SIGNATURE};
use base::error::{Error, Result};

/// The release of Zarf that reads the first bundles.
const READS_BUNDLES: &str = "v0.71.0";
const REASON: &str = "This package holds a signature as a bundle";

/// The definition as it says that the package is signed, with a bundle: in each
/// of its documents. Nothing else of it is changed, and what says so already
/// comes back as it is written here.
///
/// # Errors
/// `invalid-input` for what is no definition, or holds a document that this
/// version does not know.
pub fn signed(text: &str) -> Result<String> {
    let refused = |why: String| Error::invalid(format!("zarf.yaml {why}"));
    let Documents { alpha, beta, alpha_first, unknown } = Documents::parse(text).map_err(refused)?;
    if let Some(version) = unknown.first() {
        let message =
            format!("zarf.yaml holds a document of `{}`, which this version does not know", version.escape_debug());
        return Err(Error::invalid(message).hint("sign it with a newer version of opencenter-airgap, or with zarf"));
    }
    let mut texts = Vec::new();
    for document in [alpha, beta].into_iter().flatten() {
        texts.push(signed_document(document)?);
    }
    if !alpha_first {
        texts.reverse();
    }
    Ok(texts.join("---\n"))
}

fn signed_document(mut document: Value) -> Result<String> {
    let no_build = || Error::invalid("zarf.yaml has no `build` section: it is no definition of a built package");
    let build = document.get_mut("build").and_then(Value::as_mapping_mut).ok_or_else(no_build)?;
    build.insert("signed".into(), true.into());
    let files = list(build, "provenanceFiles")?;
    files.retain(|file| file.as_str() != Some(SIGNATURE) && file.as_str() != Some(BUNDLE));
    files.push(BUNDLE.into());
    let requirements = list(build, "versionRequirements")?;
    if !requirements.iter().any(|known| known.get("version").and_then(Value::as_str) == Some(READS_BUNDLES)) {
        let requirement = [("version", READS_BUNDLES), ("reason", REASON)];
        let requirement: Mapping = requirement.map(|(key, value)| (key.into(), value.into())).into_iter().collect();
        requirements.push(requirement.into());
    }
    to_text(&document).map_err(|error| Error::invalid("zarf.yaml cannot be written anew").caused_by(error))
}

/// The list under a key, made where it is missing.
fn list<'a>(build: &'a mut Mapping, key: &str) -> Result<&'a mut Vec<Value>> {
    if build.get(key).is_none_or(Value::is_null) {
        build.insert(key.into(), Value::Sequence(Vec::new()));
    }
    let list = build.get_mut(key).and_then(Value::as_sequence_mut);
    list.ok_or_else(|| Error::invalid(format!("`build.{key}` of zarf.yaml is no list")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1.10'}\nbuild: {signed: false, provenanceFiles: [checksums.txt]}\n\
                        ---\napiVersion: zarf.dev/v1beta1\nkind: ZarfPackageConfig\nbuild: {architecture: amd64, versionRequirements: \
                        [{version: v0.65.0, reason: r}], provenanceFiles: [zarf.yaml.sig]}\n";

    #[test]
    fn each_document_says_that_it_is_signed_and_the_rest_stays() {
        let text = signed(BOTH).unwrap();
        let documents = Documents::parse(&text).unwrap();
        assert!(documents.alpha_first);
        let (alpha, beta) = (documents.alpha.unwrap(), documents.beta.unwrap());
        for document in [&alpha, &beta] {
            assert_eq!(document["build"]["signed"], true);
        }
        assert_eq!(alpha["metadata"]["version"], "1.10");
        assert_eq!(
            alpha["build"]["provenanceFiles"],
            serde_yaml::from_str::<Value>("[checksums.txt, zarf.bundle.sig]").unwrap()
        );
        assert_eq!(beta["build"]["provenanceFiles"], serde_yaml::from_str::<Value>("[zarf.bundle.sig]").unwrap());
        assert_eq!(beta["build"]["versionRequirements"][0]["version"], "v0.65.0");
        assert_eq!(beta["build"]["versionRequirements"][1]["version"], READS_BUNDLES);
        assert_eq!(signed(&text).unwrap(), text, "signing again changes nothing");
        let turned: Vec<&str> = BOTH.split("---\n").collect();
        let turned = signed(&format!("{}---\n{}", turned[1], turned[0])).unwrap();
        assert!(!Documents::parse(&turned).unwrap().alpha_first);
    }

    #[test]
    fn what_is_no_built_package_is_refused() {
        for (text, said) in [
            ("kind: ZarfPackageConfig\n", "no `build` section"),
            ("kind: x\nbuild: {provenanceFiles: a}\n", "`build.provenanceFiles` of zarf.yaml is no list"),
            ("kind: x\nbuild: {}\n---\napiVersion: zarf.dev/v2\n", "`zarf.dev/v2`"),
            ("- a\n", "no mapping"),
        ] {
            let error = signed(text).unwrap_err();
            assert!(error.message().contains(said), "{text}: {error}");
        }
    }
}
