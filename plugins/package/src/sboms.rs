//! `sboms.tar`: the documents that the step sbom wrote, as Zarf carries them.
//!
//! Every image that the package holds has one there, or the build says which
//! has not. Documents of what was pulled and is not packaged stay behind. Steps
//! may contribute further ones.

use std::collections::BTreeSet;

use model::zarf;
use sdk::StepError;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Contribution;
use crate::definition::Package;
use crate::parts::{self, Member, Tar};
use crate::plan::Plan;
use crate::sources::Sources;

/// The tree of the step.
pub const TREE: &str = "sbom";
/// The document about the whole package, in the tree.
pub const WHOLE: &str = "package.spdx.json";
/// The folder of the other documents, each about one image or component.
pub const FOLDER: &str = "spdx";
const LIST: &str = "sboms.json";
const LARGEST_LIST: u64 = 64 << 20;
const TAR: &str = "sboms.tar";
/// Images that a message lists.
const LISTED: usize = 5;

#[derive(Debug, Default, Deserialize)]
struct List {
    #[serde(default)]
    images: Vec<Document>,
    #[serde(default)]
    components: Vec<Document>,
    /// References that run nowhere: charts, signatures.
    #[serde(default)]
    others: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Document {
    name: String,
    file: String,
}

/// Adds `sboms.tar` where there are documents. Gives what to warn of.
///
/// # Errors
/// Where the step's list is none, or names what is not there.
pub fn add_to(
    plan: &mut Plan,
    package: &Package,
    contributions: &[Contribution],
    sources: &dyn Sources,
) -> Result<Option<String>, StepError> {
    let is_made = sources.has(TREE) && sources.find(TREE, WHOLE)?.is_some();
    let (mut members, warning) = if is_made { made(plan, package, sources)? } else { (Vec::new(), None) };
    for contribution in contributions {
        let member = contributed(contribution, sources)?;
        if members.iter().any(|other| other.path.eq_ignore_ascii_case(&member.path)) {
            let message = format!("{}: there is an SBOM of the name `{}` already", contribution.at, member.path);
            return Err(StepError::invalid_input("sbom", message).hint("give the file another name"));
        }
        members.push(member);
    }
    members.sort_by(|a, b| a.path.cmp(&b.path));
    if !members.is_empty() {
        plan.tars.push(Tar { path: TAR.to_owned(), members });
    }
    Ok(warning)
}

/// What makes a file a document of Syft's JSON, which Zarf shows and grype reads.
#[derive(Deserialize)]
struct Syft {
    #[serde(rename = "artifacts")]
    _artifacts: Vec<IgnoredAny>,
    #[serde(rename = "schema")]
    _schema: IgnoredAny,
}

fn contributed(contribution: &Contribution, sources: &dyn Sources) -> Result<Member, StepError> {
    let Contribution { step, from, at, .. } = contribution;
    let found = sources.find(step, from)?.filter(|found| !found.directory).ok_or_else(|| {
        StepError::missing_input("not-contributed", format!("{at}: the step `{step}` made no file `{from}`"))
            .hint("correct `from`, or find out why the step did not make it")
    })?;
    let bytes = sources.read(step, from, LARGEST_LIST).map_err(|error| error.context(at))?;
    serde_json::from_slice::<Syft>(&bytes).map_err(|error| {
        StepError::invalid_input("sbom", format!("{at}: `{from}` of the step `{step}` is not Syft's JSON: {error}"))
            .hint("write it as `syft -o syft-json` does, or publish it beside the package")
    })?;
    Ok(parts::file(zarf::base_name(from).to_owned(), 0o644, step, &found))
}

/// The documents of the step, and what to warn of.
fn made(plan: &Plan, package: &Package, sources: &dyn Sources) -> Result<(Vec<Member>, Option<String>), StepError> {
    let list: List = serde_json::from_slice(&sources.read(TREE, LIST, LARGEST_LIST)?)
        .map_err(|error| StepError::from(error).context(LIST))?;
    let components: BTreeSet<&str> = package.definition.components.iter().map(|c| c.name.as_str()).collect();
    let images: BTreeSet<&str> = plan.images.iter().map(|image| image.reference.as_str()).collect();
    let of_images = list.images.iter().filter(|document| images.contains(document.name.as_str()));
    let of_components = list.components.iter().filter(|document| components.contains(document.name.as_str()));
    let mut members: Vec<Member> =
        of_images.chain(of_components).map(|d| member(d, sources)).collect::<Result<_, _>>()?;
    members.sort_by(|a, b| a.path.cmp(&b.path));
    members.dedup();
    let described: BTreeSet<&str> =
        list.images.iter().map(|d| &d.name).chain(&list.others).map(String::as_str).collect();
    let missing: Vec<&str> = images.into_iter().filter(|image| !described.contains(image)).collect();
    Ok((members, (!missing.is_empty()).then(|| without(&missing))))
}

fn member(document: &Document, sources: &dyn Sources) -> Result<Member, StepError> {
    let path = format!("sboms/{}.json", document.file);
    let found = sources.find(TREE, &path)?.filter(|found| !found.directory);
    let found = found.ok_or_else(|| {
        StepError::missing_input("sbom", format!("the step `{TREE}` lists `{path}`, which is not in its tree"))
            .hint("run `opencenter-airgap build --clean`: it keeps what was downloaded")
    })?;
    Ok(parts::file(format!("{}.json", document.file), 0o644, TREE, &found))
}

fn without(images: &[&str]) -> String {
    let shown: Vec<String> = images.iter().take(LISTED).map(|image| format!("`{image}`")).collect();
    let more = images.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("the package has no SBOM of {}{more}: the step `{TREE}` wrote none", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::read;
    use crate::sources::memory::Memory;

    const DEFINITION: &str = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n";

    fn image(reference: &str) -> crate::images::Image {
        crate::images::Image {
            reference: reference.to_owned(),
            written: reference.to_owned(),
            components: vec!["a".into()],
            media_type: String::new(),
            digest: String::new(),
            size: 0,
            platform: None,
            chart: None,
            blobs: BTreeSet::new(),
        }
    }

    fn added(sources: &Memory, images: &[&str]) -> (Vec<String>, Option<String>) {
        let mut plan = Plan { images: images.iter().map(|reference| image(reference)).collect(), ..Plan::default() };
        let warning = add_to(&mut plan, &read(DEFINITION, Some("amd64")).unwrap(), &[], sources).unwrap();
        (plan.tars.iter().flat_map(|tar| tar.members.iter().map(|member| member.path.clone())).collect(), warning)
    }

    #[test]
    fn what_is_packaged_has_its_document_and_what_has_none_is_named() {
        let list = r#"{"images": [{"name": "h/b:1", "file": "h_b_1"}, {"name": "h/b:1", "file": "h_b_1-linux-arm64"}, {"name": "h/left:1", "file": "h_left_1"}],
            "components": [{"name": "a", "file": "zarf-component-a"}, {"name": "gone", "file": "zarf-component-gone"}], "others": ["h/chart:1"]}"#;
        let files = ["h_b_1", "h_b_1-linux-arm64", "h_left_1", "zarf-component-a", "zarf-component-gone"];
        let tree = files.iter().fold(Memory::default().with(TREE, LIST, list).with(TREE, WHOLE, "{}"), |tree, file| {
            tree.with(TREE, &format!("sboms/{file}.json"), "{}")
        });
        let (members, warning) = added(&tree, &["h/b:1", "h/chart:1", "h/new:1"]);
        assert_eq!(members, ["h_b_1-linux-arm64.json", "h_b_1.json", "zarf-component-a.json"]);
        assert!(warning.unwrap().contains("no SBOM of `h/new:1`: the step"));
        assert_eq!(added(&Memory::default(), &["h/b:1"]), (Vec::new(), None));
        let off = Memory::default().with(TREE, LIST, "{}");
        assert_eq!(added(&off, &["h/b:1"]), (Vec::new(), None));
    }

    /// Guards that what a step adds is read by those who look there, and replaces
    /// nothing; without the step sbom as well.
    #[test]
    fn documents_of_steps_lie_beside_them() {
        let list = r#"{"images": [{"name": "h/b:1", "file": "h_b_1"}]}"#;
        let syft = r#"{"artifacts": [], "schema": {}}"#;
        let tree =
            Memory::default().with(TREE, LIST, list).with(TREE, WHOLE, "{}").with(TREE, "sboms/h_b_1.json", "{}");
        let tree = tree.with("apt", "d/apt.json", syft).with("apt", "H_b_1.json", syft).with("apt", "other.json", "{}");
        let add = |tree: &Memory, from: &str| {
            let mut plan = Plan { images: vec![image("h/b:1")], ..Plan::default() };
            let at = "config/pipeline.yaml:3:9".to_owned();
            let what = Contribution { step: "apt".into(), from: from.into(), into: crate::PackagePart::Sboms, at };
            let done = add_to(&mut plan, &read(DEFINITION, Some("amd64")).unwrap(), &[what], tree);
            done.map(|_| plan.tars.remove(0).members.into_iter().map(|member| member.path).collect::<Vec<_>>())
        };
        assert_eq!(add(&tree, "d/apt.json").unwrap(), ["apt.json", "h_b_1.json"]);
        assert_eq!(add(&Memory::default().with("apt", "a.json", syft), "a.json").unwrap(), ["a.json"]);
        for (from, why) in
            [("H_b_1.json", "`H_b_1.json` already"), ("other.json", "Syft's JSON"), ("none.json", "made no")]
        {
            let error = add(&tree, from).unwrap_err();
            let message = &error.failure().unwrap().message;
            assert!(message.contains(why) && message.contains("config/pipeline.yaml:3:9"), "{message}");
        }
    }

    #[test]
    fn a_list_that_names_what_is_not_there_is_an_error() {
        let list = r#"{"images": [{"name": "h/b:1", "file": "h_b_1"}]}"#;
        let tree = Memory::default().with(TREE, LIST, list).with(TREE, WHOLE, "{}");
        let mut plan = Plan { images: vec![image("h/b:1")], ..Plan::default() };
        let error = add_to(&mut plan, &read(DEFINITION, Some("amd64")).unwrap(), &[], &tree).unwrap_err();
        assert!(error.failure().unwrap().message.contains("`sboms/h_b_1.json`"));
    }
}
