//! What guests return, thrown at the host: names, component manifests, charts'
//! values, definitions, and the texts of the locks that plugins cause.
//!
//! An input is a text whose first line names the [subject](SUBJECTS). An oracle
//! panics where the host accepts what it must not, or where what it accepts is
//! not the same when it is written and read again. Time and memory of one input
//! are bounded by who calls: `run.sh` lets a fuzzer that follows coverage look
//! for new inputs, the tests replay the corpus. An input that once failed stays
//! in the corpus.

use std::path::{Component, Path};

use config::airgap_lock::AirgapLock;
use config::components::ComponentsFile;
use config::pipeline::Pipeline;
use config::plugins_lock::{self, PluginsLock};
use config::source::Source;
use disk::tree;
use far_side::verify;
use image_finder::template::{About, Helpers, Source as Template};
use model::{ComponentManifest, ResolvedComponents};

/// A name and what is done with a text; a panic is a find.
pub type Subject = (&'static str, fn(&str));

/// What is fuzzed, by the name in an input's first line.
pub const SUBJECTS: &[Subject] = &[
    ("path", path),
    ("plugin-name", plugin_name),
    ("airgap.lock", airgap_lock),
    ("plugins.lock", plugins_lock),
    ("pipeline", pipeline),
    ("components", components),
    ("resolved", resolved),
    ("image", image),
    ("values", values),
    ("definition", definition),
    ("schema", schema),
];

/// Does what an input says; nothing where it names no subject.
///
/// # Panics
/// Where an oracle is violated.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some((name, rest)) = text.split_once('\n') else { return };
    if let Some((_, subject)) = SUBJECTS.iter().find(|(subject, _)| *subject == name) {
        subject(rest);
    }
}

fn source(text: &str) -> Option<Source> {
    Source::of("config/input".into(), text.as_bytes().to_vec()).ok()
}

/// A name that is accepted stays below its tree and is shown as it is.
fn path(text: &str) {
    if tree::check_path(text).is_err() {
        return;
    }
    assert!(!text.is_empty() && !text.starts_with('/') && !text.chars().any(char::is_control), "{text:?}");
    let parts: Vec<_> = Path::new(text).components().collect();
    assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{text:?}");
    // Nothing is dropped on the way: `a//b` and `a/./b` are not `a/b`.
    let joined: Vec<_> = parts.iter().map(|part| part.as_os_str().to_string_lossy()).collect();
    assert_eq!(joined.join("/"), text);
}

fn plugin_name(text: &str) {
    if plugins_lock::check_name(text).is_ok() {
        assert!(tree::check_path(text).is_ok() && !text.contains('/') && text.is_ascii(), "{text:?}");
    }
}

fn airgap_lock(text: &str) {
    let Some(Ok(lock)) = source(text).map(|source| AirgapLock::parse(&source)) else { return };
    let written = lock.to_text();
    let again = source(&written).map(|source| AirgapLock::parse(&source));
    let Some(Ok(again)) = again else { panic!("what was written can not be read:\n{written}") };
    assert_eq!(again, lock, "{written}");
    assert_eq!(again.to_text(), written);
}

fn plugins_lock(text: &str) {
    let root = Path::new("/nowhere");
    let Some(Ok(lock)) = source(text).map(|source| PluginsLock::parse(&source, root)) else { return };
    let written = lock.to_text();
    let again = source(&written).map(|source| PluginsLock::parse(&source, root));
    let Some(Ok(again)) = again else { panic!("what was written can not be read:\n{written}") };
    assert_eq!(again, lock, "{written}");
    for (name, pin) in &again.plugins {
        let Ok(text) = PluginsLock::with_pin(source(text).as_ref(), root, name, pin.clone()) else {
            panic!("the pin of `{name}` can not be written again");
        };
        let with = source(&text).map(|source| PluginsLock::parse(&source, root));
        assert!(matches!(with, Some(Ok(with)) if with == lock), "{text}");
    }
}

fn pipeline(text: &str) {
    let Some(Ok(pipeline)) = source(text).map(|source| Pipeline::parse(&source)) else { return };
    assert!(pipeline.check().is_ok());
    for step in &pipeline.steps {
        assert!(tree::check_path(&step.id).is_ok(), "{:?}", step.id);
    }
}

fn components(text: &str) {
    let Some(Ok(file)) = source(text).map(ComponentsFile::parse) else { return };
    same_when_written(&file.manifest);
}

/// components.resolved.json, as a plugin leaves it.
fn resolved(text: &str) {
    let Ok(resolved) = serde_json::from_str::<ResolvedComponents>(text) else { return };
    let Ok(written) = serde_json::to_string(&resolved) else { panic!("it can not be written") };
    let again = serde_json::from_str::<ResolvedComponents>(&written);
    assert!(again.is_ok_and(|again| again == resolved), "{written}");
}

fn same_when_written(manifest: &ComponentManifest) {
    let Ok(written) = serde_json::to_string(manifest) else { panic!("a manifest can not be written") };
    let Ok(again) = serde_json::from_str::<ComponentManifest>(&written) else { panic!("{written}") };
    assert_eq!(&again, manifest, "{written}");
}

fn image(text: &str) {
    let Ok(name) = model::image::ImageName::parse(text) else { return };
    let shown = name.to_string();
    let Ok(again) = model::image::ImageName::parse(&shown) else { panic!("`{shown}` of `{text}` is not accepted") };
    assert_eq!(again.to_string(), shown);
    assert!(!shown.contains("..") || name.tag.is_some() && !name.name().contains(".."), "{shown}");
}

/// What templates and values say; the finder reads whatever a chart holds.
fn values(text: &str) {
    let (documents, _) = image_finder::yaml::documents(text);
    assert!(documents.len() <= text.len() + 1);
    let mut helpers = Helpers::default();
    helpers.add(text);
    let source = Template { file: 0, path: "templates/x.yaml", text, line: 1 };
    let _ = image_finder::chart::find(None, &About::default(), &helpers, &[source]);
    if let Ok(mut node) = image_finder::yaml::parse(text) {
        node.merge(&node.clone());
        let _ = image_finder::chart::find(Some(&node), &About::default(), &helpers, &[source]);
    }
}

/// values.schema.json of a chart: whoever made the chart wrote it, and `verify`
/// reads it.
fn schema(text: &str) {
    let files = [("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"), ("c/values.schema.json", text)];
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none()));
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if archive.append_data(&mut header, name, content.as_bytes()).is_err() {
            return;
        }
    }
    let Ok(Ok(bytes)) = archive.into_inner().map(flate2::write::GzEncoder::finish) else { return };
    let Ok(chart) = chart_loader::load(bytes.as_slice()) else { panic!("Helm loads any schema") };
    let is_one = chart_loader::install::check(&chart, None).is_ok();
    let values = image_finder::yaml::parse("a: {b: [1, x, null]}\nc: true\n").ok();
    let fits = chart_loader::install::check(&chart, values).is_ok();
    assert!(is_one || !fits, "what is no schema is fulfilled: {text}");
}

/// zarf.yaml, as a replaced package step writes it.
fn definition(text: &str) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let file = folder.path().join("zarf-package-x-amd64-1.tar");
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    let added = archive.append_data(&mut header, "zarf.yaml", text.as_bytes());
    let written = added.and_then(|()| archive.into_inner()).and_then(|bytes| std::fs::write(&file, bytes));
    if written.is_err() {
        return;
    }
    if let Ok(report) = verify::verify(&file) {
        assert!(!report.is_sound(), "a package without checksums is sound: {}", report.render_text(true));
    }
}
