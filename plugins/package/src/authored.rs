//! The one document that an author wrote, in either form.
//!
//! Everything that follows works on v1alpha1. [`as_alpha`] makes it of a
//! definition in v1beta1, where that loses nothing ([`authored`]).

use model::zarf::documents::Documents;
use model::zarf::{API_VERSION, authored};
use sdk::StepError;
use serde_yaml::{Mapping, Value};

use crate::losses::listed;
use crate::refusal::refuse;

/// What zarf.yaml holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Authored {
    pub(crate) document: Mapping,
    pub(crate) is_beta: bool,
    /// Versions of documents that nobody here knows.
    pub(crate) left_out: Vec<String>,
}

/// # Errors
/// `definition` for what holds no definition, or two.
pub(crate) fn read(text: &str) -> Result<Authored, StepError> {
    let bad = |why: String| refuse("definition", format!("zarf.yaml {why}"));
    let Documents { alpha, beta, unknown: left_out, .. } = Documents::parse(text).map_err(bad)?;
    let is_beta = alpha.is_none();
    match (alpha, beta) {
        (Some(_), Some(_)) => {
            Err(refuse("definition", "zarf.yaml holds the definition twice, in v1alpha1 and in v1beta1")
                .hint("keep one of the two documents: the package gets both forms, made of one"))
        }
        (Some(Value::Mapping(document)), None) | (None, Some(Value::Mapping(document))) => {
            Ok(Authored { document, is_beta, left_out })
        }
        _ => Err(refuse("definition", "zarf.yaml holds no mapping")),
    }
}

/// A definition in v1beta1 as v1alpha1 says it.
///
/// # Errors
/// `definition` where it says what v1alpha1 cannot, or what nobody here knows.
pub(crate) fn as_alpha(document: &Value) -> Result<Value, StepError> {
    let (alpha, losses) = authored::as_alpha(document).map_err(|why| refuse("definition", why))?;
    if losses.is_empty() {
        return Ok(serde_yaml::to_value(alpha)?);
    }
    let message = format!("the definition in v1beta1 cannot be packaged: {}", listed(&losses));
    Err(refuse("definition", message).hint(format!("do without it, or write the definition in `{API_VERSION}`")))
}

#[cfg(test)]
mod tests {
    use model::zarf::authored::in_one_spelling;
    use model::zarf::beta;

    use super::*;
    use crate::definition;
    use crate::format::{Format, Forms, choose};
    use crate::plan::Plan;
    use crate::seal;
    use crate::sources::memory::Memory;

    fn with(components: &str) -> String {
        format!(
            "apiVersion: zarf.dev/v1beta1\nkind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ncomponents:\n{components}"
        )
    }

    const EVERYTHING: &str = "- name: a\n  optional: true\n  target: {os: linux}\n  selector: {architecture: amd64}\n\
        \x20 images: [{name: 'nginx:1', source: registry}]\n  repositories: [{url: 'https://h/a/b.git', ref: {tag: v1}}]\n\
        \x20 files: [{source: f, checksum: 'sha256:00', destination: /f}]\n\
        \x20 charts: [{name: c, local: {path: c.tgz}, namespace: n, valuesFiles: [{path: v.yaml}], skipWait: true}]\n\
        \x20 manifests: [{name: m, namespace: n, files: [m.yaml], kustomize: {}}]\n\
        \x20 actions: {onDeploy: {defaults: {retries: 2}, before: [{cmd: 'echo ###ZARF_PKG_ARCH###', silent: true}],\n\
        \x20   onSuccess: [{wait: {cluster: {kind: Pod, name: p, namespace: n, condition: Ready}}}]}}\n";

    /// What the author wrote is what the package says.
    #[test]
    fn a_definition_in_v1beta1_comes_back_in_the_package() {
        let package = definition::read(&with(EVERYTHING), Some("amd64")).unwrap();
        let component = &package.definition.components[0];
        assert_eq!((component.required, component.images.as_slice()), (None, ["nginx:1".to_owned()].as_slice()));
        assert_eq!(component.repos, ["https://h/a/b.git@v1"]);
        assert_eq!(component.files[0].shasum, "00");
        let (package, forms, warning) = choose(package, Format::Both, "zarf_gen", &Memory::default()).unwrap();
        assert_eq!((forms, warning), (Forms::BOTH, None));
        let written = seal::definition(&package, forms, &Plan::default(), "\n", 0).unwrap();
        let beta = Documents::parse(&written).unwrap().beta.unwrap();
        let mut expected: beta::Definition = serde_yaml::from_str(
            &with(EVERYTHING)
                .replace("###ZARF_PKG_ARCH###", "amd64")
                .replace("version: '1'", "version: '1', architecture: amd64"),
        )
        .unwrap();
        in_one_spelling(&mut expected);
        let mut found: beta::Definition = serde_yaml::from_value(beta).unwrap();
        found.build = beta::Build::default();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_v1alpha1_cannot_say_is_refused_by_name() {
        for (component, field) in [
            ("newField: {a: x}", "components.a.newField.a"),
            ("images: [{name: i, id: x}]", "components.a.images.i.id"),
            ("images: [{name: i, source: daemon}]", "components.a.images"),
            ("service: registry", "components.a.service"),
            (
                "charts: [{name: c, oci: {url: 'oci://h/c', ref: {digest: 'sha256:00'}}}]",
                "components.a.charts.c.oci.ref.digest",
            ),
            ("charts: [{name: c, local: {path: p}, git: {url: 'https://h/c.git'}}]", "components.a.charts.c.local"),
            (
                "repositories: [{url: 'https://h/a/b', ref: {tag: v1, branch: x}}]",
                "components.a.repositories.0.ref.branch",
            ),
            ("repositories: [{url: 'https://h/a/b@v2', ref: {tag: v1}}]", "components.a.repositories.0.url"),
            ("files: [{source: f, checksum: 'sha512:00', destination: /f}]", "components.a.files.0.checksum"),
            ("actions: {onDeploy: {after: [{cmd: x}]}}", "components.a.actions.onDeploy.after.0.cmd"),
            (
                "actions: {onDeploy: {before: [{wait: {cluster: {kind: Pod, name: p}}}]}}",
                "components.a.actions.onDeploy.wait.cluster",
            ),
        ] {
            let error = definition::read(&with(&format!("- name: a\n  {component}\n")), Some("amd64")).unwrap_err();
            let message = &error.failure().unwrap().message;
            assert!(message.contains(&format!("`{field}`")), "{component}: {message}");
        }
        let version =
            with("- name: a\n  charts: [{name: c, helmRepository: {url: 'https://h', version: 1.10}, namespace: n}]\n");
        let error = definition::read(&version, Some("amd64")).unwrap_err();
        assert!(error.failure().unwrap().message.contains("helmRepository.version"), "{error:?}");
    }

    #[test]
    fn one_definition_is_taken_and_no_second() {
        let (alpha, beta) = ("kind: a\n", "apiVersion: zarf.dev/v1beta1\nkind: b\n");
        for (text, is_beta, left_out) in [
            (format!("{alpha}---\n"), false, vec![]),
            (format!("{beta}---\napiVersion: zarf.dev/v2\n"), true, vec!["zarf.dev/v2".to_owned()]),
        ] {
            let read = read(&text).unwrap();
            assert_eq!((read.is_beta, read.left_out), (is_beta, left_out));
        }
        for (text, why) in [
            (format!("{alpha}---\n{beta}"), "twice"),
            (format!("{beta}---\n{beta}"), "two documents of zarf.dev/v1beta1"),
            ("apiVersion: zarf.dev/v1beta1\nkind: ZarfComponentConfig\n".to_owned(), "not a package"),
            (String::new(), "no package definition"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.failure().unwrap().message.contains(why), "{text}");
        }
    }
}
