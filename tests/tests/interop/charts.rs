//! The charts of the corpus (tests/corpus/charts): a build renders each to the documents
//! that the real `helm template` gives, and rendered.list names the images in them.
//!
//! Documents are compared by the template that writes them and their whole text. Lines
//! that are not the same in two runs of helm itself, passwords and keys, are left out.

use std::collections::BTreeSet;

use airgap_tests::charts::{corpus, corpus_images};
use airgap_tests::project::Project;
use serde_json::{Value, json};

use crate::programs::{Program, shown};

/// How a corpus is rendered.
struct Round {
    /// For people.
    what: &'static str,
    /// Values for every chart.
    values: Option<&'static str>,
    /// The version of Kubernetes in the package.
    kubernetes: Option<&'static str>,
    api_versions: &'static [&'static str],
}

const ROUNDS: &[Round] = &[
    Round { what: "defaults", values: None, kubernetes: None, api_versions: &[] },
    Round {
        what: "values, Kubernetes 1.28.15 and API versions",
        values: Some(
            "global: {imageRegistry: mirror.example.com, registry: other.example.com, imagePullSecrets: [{name: pull}]}\n\
             nameOverride: named\nreplicaCount: 3\ndebug: true\nimage: {tag: \"9.9\"}\n",
        ),
        kubernetes: Some("1.28.15"),
        api_versions: &["monitoring.coreos.com/v1", "monitoring.coreos.com/v1/ServiceMonitor", "cert-manager.io/v1"],
    },
];

/// Runs all of it.
///
/// # Panics
/// Where anything differs.
pub(crate) fn run() {
    let helm = Program::find("helm");
    let mut differences = Vec::new();
    for round in ROUNDS {
        let (charts, documents, found) = compared(round, &helm);
        println!("charts: {documents} documents of {charts} charts with {}, {} differences", round.what, found.len());
        differences.extend(found);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Charts and documents that were compared, and what differs.
fn compared(round: &Round, helm: &Program) -> (usize, usize, Vec<String>) {
    let project = rendered(round);
    let list = |path: &str| -> Value { serde_json::from_str(&project.read(path)).expect("a list") };
    let wanted = list("build/steps/charts/render.json");
    let rows = list("build/steps/render/rendered.json");
    let mut listed: BTreeSet<String> = corpus_images().into_iter().collect();
    let (mut count, mut differences) = (0, Vec::new());
    for (chart, row) in wanted["charts"].as_array().expect("charts").iter().zip(rows.as_array().expect("rows")) {
        let name = chart["name"].as_str().expect("a name");
        let theirs = Theirs::of(helm, &project, chart, round);
        let ours = row["path"].as_str().map(|path| documents(&list(&format!("build/steps/render/{path}"))));
        let (Ok([first, second]), Some(ours)) = (&theirs.runs, &ours) else {
            if theirs.runs.is_ok() || ours.is_some() {
                differences.push(format!("{}: {name}: only one renders it: {row}, {theirs:?}", round.what));
            }
            continue;
        };
        count += first.len();
        let lasting = without_what_changes(first, second);
        differences.extend(differing(ours, &lasting).into_iter().map(|what| format!("{}: {name}: {what}", round.what)));
        if round.values.is_none() {
            differences.extend(unlisted(name, first, &mut listed));
        }
    }
    if round.values.is_none() {
        differences.extend(listed.iter().map(|row| format!("rendered.list: helm renders nothing that is `{row}`")));
    }
    (wanted["charts"].as_array().map_or(0, Vec::len), count, differences)
}

/// A project with every chart of the corpus, whose charts are rendered.
fn rendered(round: &Round) -> Project {
    let mut project = Project::new().with_settings(|settings| {
        settings["images"] = json!({ "api_versions": round.api_versions });
    });
    if let Some(values) = round.values {
        project.write("config/values/all.yaml", values);
    }
    for (name, files) in corpus() {
        for (file, text) in &files {
            project.write(&format!("charts/{name}/{file}"), text);
        }
        let about = files.iter().find(|(file, _)| file == "Chart.yaml").map(|(_, text)| text.as_str());
        let about: Value = serde_yaml::from_str(about.expect("a chart has one")).expect("YAML");
        let values: &[&str] = if round.values.is_some() { &["config/values/all.yaml"] } else { &[] };
        project = project.with_chart(json!({
            "name": about["name"], "repo": format!("./charts/{name}"), "version": about["version"],
            "namespace": "apps", "values": values,
        }));
    }
    if let Some(version) = round.kubernetes {
        let components = project.read("config/components.yaml");
        let kubectl = "{name: kubectl, url: \"http://127.0.0.1:9/kubectl\"}";
        let kubernetes = format!("kubernetes: {{version: {version:?}, binaries: [{kubectl}]}}\n");
        project.write("config/components.yaml", format!("{components}\n{kubernetes}"));
    }
    // No file is downloaded for that.
    project.run(&["build", "--step", "discover"]).success();
    project
}

/// A document: the template that writes it, and its text.
type Document = (String, String);

fn documents(list: &Value) -> Vec<Document> {
    let text = |value: &Value| value.as_str().expect("a text").trim().to_owned();
    let list = list.as_array().expect("documents").iter();
    list.map(|document| (text(&document["template"]), text(&document["text"]))).collect()
}

/// What helm renders, in one run and in another one, or says.
#[derive(Debug)]
struct Theirs {
    runs: Result<[Vec<Document>; 2], String>,
}

impl Theirs {
    fn of(helm: &Program, project: &Project, chart: &Value, round: &Round) -> Self {
        let path = |of: &Value| shown(&project.path("build/steps/charts").join(of.as_str().expect("a path")));
        let text = |key: &str| chart[key].as_str().expect("a text").to_owned();
        let mut arguments =
            vec!["template".into(), text("release"), path(&chart["path"]), "--namespace".into(), text("namespace")];
        for values in chart["values"].as_array().expect("a list") {
            arguments.extend(["--values".into(), path(values)]);
        }
        arguments.extend(round.kubernetes.iter().flat_map(|version| ["--kube-version".into(), (*version).to_owned()]));
        arguments.extend(round.api_versions.iter().flat_map(|api| ["--api-versions".into(), (*api).to_owned()]));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let tried = || {
            let (succeeded, said) = helm.tried(&arguments);
            if succeeded { Ok(split(&said)) } else { Err(said) }
        };
        Self { runs: tried().and_then(|first| Ok([first, tried()?])) }
    }
}

/// Stands for a line that is another one every time.
const CHANGES: &str = "<another one every time>";

fn without_what_changes(first: &[Document], second: &[Document]) -> Vec<Document> {
    let same = |(one, other): (&str, &str)| if one == other { one.to_owned() } else { CHANGES.to_owned() };
    let lines = |(one, other): (&Document, &Document)| {
        let lines: Vec<String> = one.1.lines().zip(other.1.lines()).map(same).collect();
        (one.0.clone(), lines.join("\n"))
    };
    first.iter().zip(second).map(lines).collect()
}

/// What `helm template` prints, document by document.
fn split(printed: &str) -> Vec<Document> {
    let parts = format!("\n{printed}");
    let parts = parts.split("\n---\n# Source: ").skip(1);
    parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, text)| (name.to_owned(), text.trim().to_owned()))
        .collect()
}

/// What one of the two renders and the other does not. The order in which helm sends
/// documents is its own affair.
fn differing(ours: &[Document], theirs: &[Document]) -> Vec<String> {
    let mut ours: Vec<&Document> = ours.iter().collect();
    let mut differences = Vec::new();
    for document in theirs {
        match ours.iter().position(|of| of.0 == document.0 && is_same(&of.1, &document.1)) {
            Some(at) => drop(ours.swap_remove(at)),
            None => differences.push(format!("helm alone renders, of {}:\n{}", document.0, document.1)),
        }
    }
    differences.extend(ours.iter().map(|(name, text)| format!("we alone render, of {name}:\n{text}")));
    differences
}

fn is_same(ours: &str, theirs: &str) -> bool {
    let mut lines = ours.lines().zip(theirs.lines());
    ours.lines().count() == theirs.lines().count() && lines.all(|(our, their)| their == CHANGES || our == their)
}

/// Images that helm renders and the list lacks; those that it has are taken out of it.
/// What a container names is one; so is what the list says, where a text holds it: the
/// arguments and the environment of operators, and the parts of one in a custom resource.
fn unlisted(chart: &str, documents: &[Document], listed: &mut BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    let of_chart: Vec<String> =
        listed.iter().filter_map(|row| row.strip_prefix(&format!("{chart} "))).map(str::to_owned).collect();
    let mut held = BTreeSet::new();
    for (template, text) in documents {
        let value: Value = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{chart}: {error} in\n{text}"));
        if is_test(&value) || value["kind"] == "CustomResourceDefinition" {
            continue;
        }
        let mut texts = Vec::new();
        read(&value, &mut texts, &mut |image| {
            if !of_chart.iter().any(|listed| listed == image) {
                missing.push(format!("rendered.list lacks `{chart} {image}`, which {template} deploys"));
            }
        });
        held.extend(of_chart.iter().filter(|image| texts.iter().any(|text| holds(text, image))).cloned());
    }
    for image in held {
        listed.remove(&format!("{chart} {image}"));
    }
    missing
}

/// Every text, every image that is named by its parts, and every `image` of a container.
fn read<'a>(value: &'a Value, texts: &mut Vec<String>, image: &mut impl FnMut(&'a str)) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| read(item, texts, image)),
        Value::Object(fields) => {
            for key in ["containers", "initContainers", "ephemeralContainers"] {
                let containers = fields.get(key).and_then(Value::as_array).into_iter().flatten();
                containers.filter_map(|container| container["image"].as_str()).for_each(&mut *image);
            }
            let part = |key: &str| fields.get(key).and_then(Value::as_str);
            if let (Some(repository), Some(name), Some(version)) = (part("repository"), part("image"), part("version"))
            {
                texts.push(format!("{repository}/{name}:{version}"));
            }
            fields.values().for_each(|value| read(value, texts, image));
        }
        _ => {}
    }
}

/// Whether a text holds an image as a word of its own.
fn holds(text: &str, image: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "./:@-_".contains(c);
    text.match_indices(image).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + image.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

fn is_test(document: &Value) -> bool {
    let hooks = document["metadata"]["annotations"]["helm.sh/hook"].as_str();
    hooks.is_some_and(|hooks| hooks.split(',').all(|hook| hook.trim().starts_with("test")))
}
