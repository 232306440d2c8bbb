//! What a package may hold besides components and images: the merged values
//! of the package, their schema, and documents.

use model::zarf;
use sdk::StepError;
use serde_yaml::{Mapping, Value};

use crate::definition::Package;
use crate::parts::{self, Member, Source, Tar};
use crate::refusal::refuse;
use crate::sources::{Sources, locate};

const LARGEST_VALUES: u64 = 16 << 20;
const DOCUMENTS: &str = "documentation.tar";

/// What is added to the components and images.
#[derive(Debug, Default)]
pub struct Extras {
    /// `values.yaml` and `values.schema.json`.
    pub loose: Vec<Member>,
    /// `documentation.tar`.
    pub documents: Option<Tar>,
}

/// `values.yaml`, `values.schema.json` and `documentation.tar` where the definition
/// asks for them.
///
/// # Errors
/// A file that is missing, or values that are no mapping.
pub fn extras(package: &Package, home: &str, sources: &dyn Sources) -> Result<Extras, StepError> {
    let mut extras = Extras::default();
    if let Some(Value::Mapping(values)) = package.document.get("values") {
        let files = strings(values.get("files"));
        if !files.is_empty() {
            let merged = merged_values(&files, home, sources)?;
            let source = Source::Bytes(zarf::to_text(&merged)?.into_bytes());
            extras.loose.push(Member { path: "values.yaml".into(), mode: 0o600, source });
        }
        if let Some(schema) = values.get("schema").and_then(Value::as_str) {
            let (tree, found) = locate(sources, home, schema)?;
            extras.loose.push(parts::file("values.schema.json".into(), 0o600, &tree, &found));
        }
    }
    if let Some(Value::Mapping(documents)) = package.document.get("documentation")
        && !documents.is_empty()
    {
        extras.documents = Some(documentation(documents, home, sources)?);
    }
    Ok(extras)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_sequence);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn merged_values(files: &[String], home: &str, sources: &dyn Sources) -> Result<Mapping, StepError> {
    let mut merged = Mapping::new();
    for source in files {
        let (tree, found) = locate(sources, home, source)?;
        let bytes = sources.read(&tree, &found.path, LARGEST_VALUES)?;
        let values: Value = serde_yaml::from_slice(&bytes).map_err(|error| StepError::from(error).context(source))?;
        match values {
            Value::Mapping(values) => merge(&mut merged, values),
            Value::Null => {}
            _ => return Err(refuse("values", format!("the values file `{source}` holds no mapping"))),
        }
    }
    Ok(merged)
}

/// Mappings are merged, anything else is replaced.
fn merge(into: &mut Mapping, from: Mapping) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Mapping(into)), Value::Mapping(from)) => merge(into, from),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// Each document under its own name; those that share one get their key in
/// front.
fn documentation(documents: &Mapping, home: &str, sources: &dyn Sources) -> Result<Tar, StepError> {
    let listed: Vec<(&str, &str)> =
        documents.iter().filter_map(|(key, source)| Some((key.as_str()?, source.as_str()?))).collect();
    let mut members = Vec::new();
    for (key, source) in &listed {
        let (tree, found) = locate(sources, home, source)?;
        let base = zarf::base_name(source);
        let shared = listed.iter().filter(|(_, other)| zarf::base_name(other) == base).count() > 1;
        let name = if shared { format!("{key}-{base}") } else { base.to_owned() };
        members.push(parts::file(name, 0o600, &tree, &found));
    }
    Ok(Tar { path: DOCUMENTS.into(), members })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::read;
    use crate::sources::memory::Memory;

    #[test]
    fn values_are_merged_and_documents_keep_apart() {
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x}\ncomponents: [{name: a}]\n\
                    values: {files: [a.yaml, b.yaml], schema: s.json}\ndocumentation: {one: d/README.md, two: README.md, three: x.md}\n";
        let sources = Memory::default()
            .with("zarf_gen", "a.yaml", "k: {x: 1, y: 2}\nl: [1]\n")
            .with("zarf_gen", "b.yaml", "k: {y: 3}\nl: [2]\n")
            .with("zarf_gen", "s.json", "{}")
            .with("zarf_gen", "d/README.md", "1")
            .with("zarf_gen", "README.md", "2")
            .with("zarf_gen", "x.md", "3");
        let extras = extras(&read(text, Some("amd64")).unwrap(), "zarf_gen", &sources).unwrap();
        let Source::Bytes(values) = &extras.loose[0].source else { panic!("values are made here") };
        let values: Value = serde_yaml::from_slice(values).unwrap();
        assert_eq!(values, serde_yaml::from_str::<Value>("k: {x: 1, y: 3}\nl: [2]").unwrap());
        assert_eq!(extras.loose[1].path, "values.schema.json");
        let documents = extras.documents.unwrap();
        let names: Vec<&str> = documents.members.iter().map(|member| member.path.as_str()).collect();
        assert_eq!(names, ["one-README.md", "two-README.md", "x.md"]);
    }
}
