//! Writes down what a plan put into the package, and what the earlier steps said
//! of it.

use model::zarf;

use crate::definition::Package;
use crate::images::Image;
use crate::lists::{HOST, Lists};
use crate::parts::Source;
use crate::plan::Plan;
use crate::record::{Chart, Evidence, File, ImageRecord, PackageFile, Provenance, Record, Repository, Tool};

/// Of this file's format.
const FORMAT: u32 = 1;

/// The package as a file.
#[derive(Clone, Debug)]
pub struct Whole<'a> {
    /// Its name.
    pub file: &'a str,
    /// Of its bytes, 64 hexadecimal digits.
    pub sha256: &'a str,
    /// In bytes.
    pub size: u64,
    /// The build's clock, in seconds since 1970.
    pub epoch: u64,
    /// The release of this program.
    pub tool: &'a str,
}

/// Writes down what `plan` put into the package.
pub fn record(package: &Package, plan: &Plan, lists: &Lists, whole: &Whole<'_>) -> Record {
    let metadata = &package.definition.metadata;
    Record {
        format: FORMAT,
        tool: Tool { name: "opencenter-airgap", version: whole.tool.to_owned() },
        plugins: lists.plugins.clone(),
        created: zarf::rfc3339(whole.epoch),
        package: PackageFile {
            file: whole.file.to_owned(),
            sha256: whole.sha256.to_owned(),
            size: whole.size,
            name: metadata.name.clone(),
            version: metadata.version.clone(),
            architecture: metadata.architecture.clone(),
        },
        images: plan.images.iter().filter(|one| one.chart.is_none()).map(|one| image(one, lists)).collect(),
        charts: plan.charts.iter().map(|chart| with_chart_source(chart.clone(), plan, lists)).collect(),
        files: plan.files.iter().map(|file| with_file_source(file.clone(), lists)).collect(),
        repositories: plan.repositories.iter().map(|entry| with_commit(entry.clone(), lists)).collect(),
    }
}

fn image(image: &Image, lists: &Lists) -> ImageRecord {
    let is_pinned = image.written.rsplit_once('@').is_some_and(|(_, digest)| digest == image.digest);
    ImageRecord {
        by: lists.asker("images").to_owned(),
        evidence: if is_pinned { Evidence::Digest } else { Evidence::FirstSight },
        reference: image.reference.clone(),
        source: image.written.clone(),
        digest: image.digest.clone(),
        media_type: image.media_type.clone(),
        platform: image.platform.clone(),
        size: image.size,
        components: image.components.clone(),
        found_in: lists.found.get(&image.reference).cloned(),
    }
}

fn with_chart_source(mut chart: Chart, plan: &Plan, lists: &Lists) -> Chart {
    let listed = lists.charts.iter().find(|entry| chart.from.0 == "charts" && entry.path == chart.from.1);
    chart.by = lists.asker(&chart.from.0).to_owned();
    if let Some(entry) = listed {
        chart.evidence = match entry.url.contains("://") {
            true => Evidence::FirstSight,
            false if chart.by.starts_with("core ") => Evidence::Local,
            false => Evidence::Made,
        };
        chart.source = if entry.url.is_empty() { entry.repo.clone() } else { entry.url.clone() };
        chart.provenance = entry.provenance.as_ref().and_then(|path| provenance(plan, path));
    }
    chart
}

/// What `path` of the charts' tree became: a document, or the neighbour of its
/// chart.
fn provenance(plan: &Plan, path: &str) -> Option<Provenance> {
    let members = plan.tars.iter().flat_map(|tar| &tar.members).chain(&plan.loose);
    members.into_iter().find_map(|member| match &member.source {
        Source::File { tree, path: from, size, sha256 } if tree == "charts" && from == path => {
            Some(Provenance { path: member.path.clone(), sha256: sha256.clone(), size: *size })
        }
        _ => None,
    })
}

fn with_file_source(mut file: File, lists: &Lists) -> File {
    let listed = lists.files.iter().find(|entry| file.from.0 == "files" && entry.path == file.from.1);
    file.by = lists.asker(&file.from.0).to_owned();
    if let Some(entry) = listed {
        file.source.clone_from(&entry.url);
        file.checksum = entry.checksum.clone().filter(|_| file.by == HOST);
        file.evidence = if file.checksum.is_some() { Evidence::Checksum } else { Evidence::FirstSight };
    }
    file
}

fn with_commit(mut repository: Repository, lists: &Lists) -> Repository {
    let listed = lists.repositories.iter().find(|entry| repository.path.ends_with(&format!("/{}", entry.path)));
    repository.commit = listed.map(|entry| entry.commit.clone());
    repository.by = lists.asker("repos").to_owned();
    repository.evidence = match listed {
        None => Evidence::Made,
        Some(entry) if entry.is_pinned && repository.by == HOST => Evidence::Digest,
        Some(_) => Evidence::FirstSight,
    };
    repository
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plugin;
    use crate::definition::read;
    use crate::sources::memory::{Memory, sha256};

    #[test]
    fn the_record_names_sources_sizes_and_digests() {
        let list = r#"[{"kind":"tool","name":"tool","version":"1","url":"https://x/tool","path":"bin/tool","sha256":"","size":1}]"#;
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n  files: [{source: ../files/bin/tool, target: /usr/bin/tool}]\n";
        let sources = Memory::default().with("files", "bin/tool", "t").with("files", "files.json", list);
        let package = read(text, Some("amd64")).unwrap();
        let plan = crate::plan::plan(&package, "zarf_gen", &sources).unwrap();
        let whole = Whole { file: "p", sha256: "00", size: 7, epoch: 0, tool: "1.0.0" };
        let plugin = r#"{"step":"charts","name":"charts","version":"2","digest":"sha256:00","replaces_core":true}"#;
        assert!(serde_json::from_str::<Plugin>(plugin).unwrap().asker.is_empty());
        let lists = Lists { plugins: vec![serde_json::from_str(plugin).unwrap()], ..Lists::read(&sources).unwrap() };
        let record = record(&package, &plan, &lists, &whole);
        let value = serde_json::to_value(&record).unwrap();
        assert_eq!(value["created"], "1970-01-01T00:00:00Z");
        assert_eq!(value["package"]["size"], 7);
        assert_eq!(value["plugins"][0], serde_json::from_str::<serde_json::Value>(plugin).unwrap());
        assert_eq!(value["files"][0]["source"], "https://x/tool");
        assert_eq!(value["files"][0]["sha256"], sha256(b"t"));
        assert_eq!(value["files"][0]["path"], "a/files/0/tool");
        assert_eq!(value["files"][0].get("from"), None);
    }

    /// The whole table: what a plugin says of itself is no evidence.
    #[test]
    fn each_content_says_who_asked_and_on_what_evidence() {
        let files = r#"[{"kind":"tool","name":"a","version":"1","url":"https://x/a","path":"bin/a","sha256":"","size":1,"checksum":"https://x/a.sha256"},
            {"kind":"tool","name":"b","version":"1","url":"https://x/b","path":"bin/b","sha256":"","size":1}]"#;
        let chart = |name: &str, url: &str| {
            format!(
                r#"{{"name":"{name}","version":"1.0","repo":"r","url":"{url}","namespace":"n","path":"charts/{name}-1.0.tgz","sha256":"","values":[],"images":[]}}"#
            )
        };
        let charts = format!("[{},{}]", chart("c", "https://h/c.tgz"), chart("l", "./charts/l"));
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n\
            \u{20}\u{20}files: [{source: ../files/bin/a, target: /a}, {source: ../files/bin/b, target: /b}, {source: ../own/c, target: /c}]\n\
            \u{20}\u{20}charts: [{name: c, version: '1.0', localPath: ../charts/charts/c-1.0.tgz, namespace: n}, {name: l, version: '1.0', localPath: ../charts/charts/l-1.0.tgz, namespace: n}]\n";
        let sources = Memory::default()
            .with("files", "files.json", files)
            .with("files", "bin/a", "a")
            .with("files", "bin/b", "b")
            .with("own", "c", "c")
            .with("charts", "charts.json", charts)
            .with("charts", "charts/c-1.0.tgz", "c")
            .with("charts", "charts/l-1.0.tgz", "l");
        let package = read(text, Some("amd64")).unwrap();
        let plan = crate::plan::plan(&package, "zarf_gen", &sources).unwrap();
        let whole = Whole { file: "p", sha256: "00", size: 7, epoch: 0, tool: "1.0.0" };
        let runs = |step: &str, asker: &str| Plugin {
            step: step.into(),
            name: step.into(),
            version: "1".into(),
            digest: "sha256:00".into(),
            replaces_core: false,
            asker: asker.into(),
        };
        let rows = |plugins: Vec<Plugin>| {
            let lists = Lists { plugins, ..Lists::read(&sources).unwrap() };
            let value = serde_json::to_value(record(&package, &plan, &lists, &whole)).unwrap();
            let row = |row: &serde_json::Value| {
                format!("{} {}", row["by"].as_str().unwrap(), row["evidence"].as_str().unwrap())
            };
            ["files", "charts"].iter().flat_map(|list| value[*list].as_array().unwrap()).map(row).collect::<Vec<_>>()
        };
        assert_eq!(
            rows(vec![runs("charts", "core plugin charts"), runs("own", "plugin own")]),
            [
                "host checksum",
                "host first-sight",
                "plugin own made",
                "core plugin charts first-sight",
                "core plugin charts local"
            ]
        );
        assert_eq!(
            rows(vec![runs("charts", "plugin charts"), runs("files", "plugin files"), runs("own", "plugin own")]),
            [
                "plugin files first-sight",
                "plugin files first-sight",
                "plugin own made",
                "plugin charts first-sight",
                "plugin charts made"
            ]
        );
    }

    #[test]
    fn a_provenance_file_is_a_document_of_its_chart() {
        let list = r#"[{"name":"c","version":"1.0","repo":"https://h","url":"https://h/c.tgz","namespace":"n","path":"charts/c-1.0.tgz","sha256":"","provenance":"charts/c-1.0.tgz.prov","values":[],"images":[]}]"#;
        let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n  charts: [{name: c, version: '1.0', localPath: ../charts/charts/c-1.0.tgz, namespace: n}]\n\
                    documentation: {c-1.0.tgz.prov: ../charts/charts/c-1.0.tgz.prov}\n";
        let sources = Memory::default()
            .with("charts", "charts.json", list)
            .with("charts", "charts/c-1.0.tgz", "c")
            .with("charts", "charts/c-1.0.tgz.prov", "signed");
        let package = read(text, Some("amd64")).unwrap();
        let plan = crate::plan::plan(&package, "zarf_gen", &sources).unwrap();
        let whole = Whole { file: "p", sha256: "00", size: 7, epoch: 0, tool: "1.0.0" };
        let value = serde_json::to_value(record(&package, &plan, &Lists::read(&sources).unwrap(), &whole)).unwrap();
        let expected = serde_json::json!({ "path": "c-1.0.tgz.prov", "sha256": sha256(b"signed"), "size": 6 });
        assert_eq!(value["charts"][0]["provenance"], expected);
    }
}
