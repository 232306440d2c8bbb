//! Definitions of the kinds that public repositories hold (tests/interop/definitions):
//! each is composed as the real Zarf composes it, and those of [`BUILT`] are built
//! unchanged, from mirrors, and taken by it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use airgap_tests::charts;
use airgap_tests::file_server::FileServer;
use airgap_tests::git_server::GitServer;
use airgap_tests::http::Content;
use airgap_tests::images::{Blob, Image, OCI_MANIFEST, tar_of};
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::tools::DockerRegistry;
use serde_json::{Map, Value, json};

use crate::NEWEST;
use crate::programs::{Zarf, shown};

/// Built and inspected.
const BUILT: &[&str] = &[
    "anchors",
    "argocd",
    "bootstrap",
    "games",
    "generated",
    "helm-charts",
    "monitoring",
    "packed",
    "plain-beta",
    "site-files",
    "templates",
    "uds",
    "values",
    "variables",
];
/// Files alone: deployed as well, where there is no cluster.
const DEPLOYED: &[&str] = &["site-files"];

/// Runs all of it.
///
/// # Panics
/// Where anything differs.
pub(crate) fn run() {
    let zarf = Zarf::of(NEWEST);
    let cases = cases();
    assert!(cases.len() >= 20, "{}", cases.len());
    for case in &cases {
        composed(case, &zarf);
    }
    println!("definitions: {} are composed as Zarf {NEWEST} does", cases.len());
    let mirror = Mirror::start();
    for name in BUILT {
        let case = cases.iter().find(|case| case.name == *name).unwrap_or_else(|| panic!("{name} is no definition"));
        built(case, &mirror, &zarf);
    }
    println!("definitions: {} are built unchanged and taken by Zarf {NEWEST}", BUILT.len());
    imported(&zarf);
    println!("definitions: what Zarf {NEWEST} publishes as a skeleton is imported as it imports it");
    spelled(&zarf);
    println!("definitions: {} spellings are taken and refused as by Zarf {NEWEST}", SPELLINGS.len());
}

/// Published by Zarf itself, and imported by both: from a path, with a name, and as
/// what is published once more.
fn imported(zarf: &Zarf) {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let host = registry.host();
    let project = Project::bare().with_settings(|settings| {
        *settings = json!({
            "definition": "site/zarf.yaml", "registries": { host.as_str(): { "plain_http": true } },
            "package": { "architecture": "amd64" },
        });
    });
    for (path, text) in [
        (
            "shared/zarf.yaml",
            "kind: ZarfPackageConfig\nmetadata: {name: shared, version: 1.0.0, description: Shared}\nvariables: [{name: SITE, default: here}]\n\
             components:\n- name: web\n  required: true\n  import: {path: inner}\n  charts: [{name: local, localPath: chart, namespace: n, \
             version: 0.1.0, valuesFiles: [values.yaml]}]\n  manifests: [{name: m, files: [m.yaml]}]\n  files: [{source: f.txt, target: f.txt}, \
             {source: tree, target: tree}]\n  actions: {onDeploy: {after: [{cmd: 'true'}]}}\n- name: plain\n  description: no files\n",
        ),
        (
            "shared/inner/zarf.yaml",
            "kind: ZarfPackageConfig\nmetadata: {name: inner}\ncomponents: [{name: web, files: [{source: in.txt, target: in.txt}]}]\n",
        ),
        ("shared/inner/in.txt", "in\n"),
        ("shared/f.txt", "f\n"),
        ("shared/tree/deep/x", "x\n"),
        ("shared/values.yaml", "a: 1\n"),
        ("shared/m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"),
        ("shared/chart/Chart.yaml", "apiVersion: v2\nname: local\nversion: 0.1.0\n"),
        ("shared/chart/templates/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
    ] {
        project.write(path, text);
    }
    let url = format!("oci://{host}/team/shared:1.0.0");
    project.write(
        "site/zarf.yaml",
        format!(
            "kind: ZarfPackageConfig\nmetadata: {{name: site, version: 1.0.0}}\ncomponents:\n- name: mine\n  import: {{url: '{url}', name: web}}\n  \
             charts: [{{name: local, namespace: other}}]\n- name: plain\n  import: {{url: '{url}'}}\n- name: parts\n  import: {{path: parts}}\n"
        ),
    );
    project.write(
        "site/parts/zarf.yaml",
        format!("kind: ZarfPackageConfig\nmetadata: {{name: p}}\ncomponents:\n- name: parts\n  import: {{url: '{url}', name: web}}\n"),
    );
    let publish = |path: &str| {
        let to = format!("oci://{host}/team");
        zarf.run(&["package", "publish", &shown(&project.path(path)), &to, "--plain-http", "--confirm", "--no-color"]);
    };
    publish("shared");
    project.build();
    let ours = document(&in_skeleton(&project.read("build/steps/manifests/definition.yaml")));
    let command =
        ["dev", "inspect", "definition", &shown(&project.path("site")), "-a", "amd64", "--plain-http", "--no-color"];
    let theirs = document(&in_skeleton(&zarf.run(&command)));
    assert_eq!(ours, theirs);
    let package = shown(&project.package());
    project.run(&["verify", &package]).success();
    zarf.run(&["package", "inspect", "definition", &package, "--no-color"]);
    // What imports of a skeleton is one itself once it is published.
    publish("site");
    let again = format!("oci://{host}/team/site:1.0.0");
    project.write("site/zarf.yaml", format!("kind: ZarfPackageConfig\nmetadata: {{name: again, version: 1.0.0}}\ncomponents: [{{name: mine, import: {{url: '{again}'}}}}]\n"));
    project.build();
    let ours = document(&in_skeleton(&project.read("build/steps/manifests/definition.yaml")));
    assert_eq!(ours, document(&in_skeleton(&zarf.run(&command))));
    // A whole package is none.
    zarf.run(&[
        "package",
        "publish",
        &package,
        &format!("oci://{host}/whole"),
        "--plain-http",
        "--confirm",
        "--no-color",
    ]);
    let whole = format!("oci://{host}/whole/site:1.0.0");
    project.write("site/zarf.yaml", format!("kind: ZarfPackageConfig\nmetadata: {{name: x, version: 1.0.0}}\ncomponents: [{{name: mine, import: {{url: '{whole}'}}}}]\n"));
    project.run(&["build"]).code(1).says(&["not published as a skeleton", &whole]);
    assert!(zarf.refuses(&command).contains("skeleton"));
}

/// The folders that either unpacks skeletons into, under one name: Zarf's are called
/// by the digest of the component's archive, ours by that of the manifest and the
/// component.
fn in_skeleton(text: &str) -> String {
    let plain = |line: &str| {
        let Some(at) = line.find("/oci/dirs/").or_else(|| line.find(".oci-imports/")) else { return line.to_owned() };
        let begins = line[..at].rfind([' ', '"']).map_or(0, |space| space + 1);
        let rest: Vec<&str> = line[at..].trim_start_matches('/').splitn(4, '/').collect();
        format!("{}SKELETON/{}", &line[..begins], rest.last().expect("a path in it"))
    };
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// Odd but valid spellings, and others that are near them.
const SPELLINGS: &[(&str, &str)] = &[
    ("an alias of a list", "components:\n- name: a\n  images: &i [nginx:1]\n- name: b\n  images: *i\n"),
    (
        "an extension with an anchor",
        "x-base: &b {cmd: x}\ncomponents:\n- name: a\n  actions: {onDeploy: {before: [*b]}}\n",
    ),
    (
        "a merge",
        "x-base: &b {cmd: x}\ncomponents:\n- name: a\n  actions: {onDeploy: {before: [{<<: *b, mute: true}]}}\n",
    ),
    ("quoted keys", "\"components\":\n- 'name': a\n  \"images\": [\"nginx:1\"]\n"),
    ("an end", "components:\n- name: a\n...\n"),
    ("an empty document", "components:\n- name: a\n---\n# nothing\n"),
    ("line ends of Windows", "components:\r\n- name: a\r\n  description: |\r\n    two\r\n    lines\r\n"),
    (
        "comments in lists",
        "components:\n# c\n- name: a # d\n  images:\n  # e\n  - nginx:1\n  # - gone:1\n\n  - nginx:2 # f\n",
    ),
    (
        "literal text",
        "components:\n- name: a\n  actions:\n    onDeploy:\n      after:\n      - cmd: |\n          echo a\n          echo b\n",
    ),
    ("folded text", "components:\n- name: a\n  description: >-\n    one\n    two\n\n    three\n"),
    ("a complex key", "components:\n- ? name\n  : a\n"),
    ("a tag", "components:\n- name: !!str a\n  images: !!seq [nginx:1]\n"),
    ("an octal number", "components:\n- name: a\n  actions: {onDeploy: {before: [{cmd: x, maxRetries: 0o3}]}}\n"),
    (
        "a whole number as a fraction",
        "components:\n- name: a\n  actions: {onDeploy: {before: [{cmd: x, maxRetries: 3.0}]}}\n",
    ),
    ("a number as text", "components:\n- name: a\n  actions: {onDeploy: {before: [{cmd: x, maxRetries: '3'}]}}\n"),
    (
        "a number for a text",
        "components:\n- name: a\n  charts: [{name: c, url: 'https://h.io', version: 1.10, namespace: n}]\n",
    ),
    ("a default in quotes", "variables:\n- {name: A, default: '8080'}\ncomponents:\n- name: a\n"),
    ("a default that is a number", "variables:\n- {name: A, default: 8080}\ncomponents:\n- name: a\n"),
    ("a constant that is a number", "constants:\n- {name: A, value: 5}\ncomponents:\n- name: a\n"),
    ("True", "components:\n- name: a\n  required: True\n"),
    ("yes", "components:\n- name: a\n  required: yes\n"),
    ("no components", "components: null\n"),
    ("an empty list", "components:\n- name: a\n  images:\n"),
    ("an empty text", "components:\n- name: a\n  description: null\n"),
    ("an empty item", "components:\n- name: a\n  images:\n  - nginx:1\n  -\n"),
    ("an empty import", "components:\n- name: a\n  import: null\n"),
    ("extensions", "x-foo: {a: 1}\ncomponents:\n- name: a\n  x-foo: 1\n"),
    ("an unknown field", "foo: 1\ncomponents:\n- name: a\n"),
    ("a key twice", "components:\n- name: a\n  name: b\n"),
    ("a key in another case", "components:\n- Name: a\n  name: a\n"),
    ("an alias of nothing", "components:\n- name: a\n  images: *nope\n"),
    (
        "digests in flow style",
        "components:\n- name: a\n  images: ['nginx@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']\n",
    ),
];

/// Each in a definition of its own.
fn spelled(zarf: &Zarf) {
    let head = "kind: ZarfPackageConfig\nmetadata:\n  name: x\n  version: 1.0.0\n";
    let marked = format!("\u{feff}{head}components:\n- name: a\n");
    let texts = SPELLINGS.iter().map(|(name, rest)| (*name, format!("{head}{rest}")));
    for (name, text) in texts.chain([("a byte order mark", marked)]) {
        let project = Project::bare().with_settings(|settings| {
            *settings = json!({ "definition": "zarf.yaml", "package": { "architecture": "amd64" } });
        });
        project.write("zarf.yaml", &text);
        let path = shown(project.root());
        let (is_taken, said) = zarf.tried(&["dev", "inspect", "definition", &path, "-a", "amd64", "--no-color"]);
        let ours = project.run(&["build", "--step", "manifests"]);
        if is_taken {
            ours.success();
            let ours = document(&project.read("build/steps/manifests/definition.yaml"));
            let theirs = zarf.run(&["dev", "inspect", "definition", &path, "-a", "amd64", "--no-color"]);
            assert_eq!(ours, document(&theirs), "{name}");
        } else {
            let ours = ours.code(3);
            let has_line = ours.stderr.lines().any(|line| line.contains("zarf.yaml:") || line.contains(" line "));
            assert!(has_line || name == "a byte order mark", "{name}: {ours}\nZarf: {said}");
        }
    }
}

/// A definition, and what `build` and Zarf are called with.
struct Case {
    name: String,
    arguments: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/definitions")
}

fn cases() -> Vec<Case> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the definitions are there")
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    let arguments = |name: &str| {
        let text = std::fs::read_to_string(folder().join(name).join("arguments")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    names.into_iter().map(|name| Case { arguments: arguments(&name), name }).collect()
}

impl Case {
    /// The whole corpus in a project of its own, and settings that name this one.
    fn project(&self, settings: Value) -> Project {
        let project = Project::bare().with_settings(|of| {
            *of = settings;
            of["definition"] = json!(format!("definitions/{}/zarf.yaml", self.name));
            of["package"] = json!({ "architecture": "amd64" });
        });
        copy(&folder(), &project.path("definitions"));
        project
    }

    fn run(&self, project: &Project, arguments: &[&str]) {
        let own: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        project.run(&[arguments, &own].concat()).success();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a readable folder").path();
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).expect("a readable file");
        }
    }
}

fn composed(case: &Case, zarf: &Zarf) {
    let project = case.project(json!({}));
    case.run(&project, &["build", "--step", "manifests"]);
    let ours = document(&project.read("build/steps/manifests/definition.yaml"));
    let path = shown(&project.path("definitions").join(&case.name));
    let own: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
    let command = ["dev", "inspect", "definition", &path, "-a", "amd64", "--no-color"];
    let theirs = document(&zarf.run(&[&command[..], &own].concat()));
    assert_eq!(ours, theirs, "{}", case.name);
}

/// A definition without what says nothing.
fn document(text: &str) -> Value {
    let value: Value = serde_yaml::from_str(text).unwrap_or_else(|err| panic!("{err} in\n{text}"));
    let mut value = plain(value).expect("a definition says something");
    value.as_object_mut().expect("a mapping").remove("apiVersion");
    value
}

fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            let fields: Map<String, Value> =
                fields.into_iter().filter_map(|(key, value)| Some((key, plain(value)?))).collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().map(|item| plain(item).unwrap_or(Value::Null)).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        value => Some(value),
    }
}

/// Loopback in the place of the servers that the definitions name.
struct Mirror {
    registry: Registry,
    files: FileServer,
    git: GitServer,
}

impl Mirror {
    fn start() -> Self {
        let git = GitServer::start().expect("git is installed");
        Self { registry: Registry::start(), files: FileServer::start(), git }
    }

    /// Serves all that the resolved components name; gives the settings that
    /// lead here.
    fn serve(&self, components: &Value) -> Value {
        let list = |key: &str| components[key].as_array().cloned().unwrap_or_default();
        let mut registries = Map::new();
        let mut urls = Map::new();
        let mut mirrored = |host: &str| {
            let location = self.registry.reference(host);
            let mirror = json!({ "mirrors": [{ "location": location, "plain_http": true }], "mirrors_only": true });
            registries.insert(host.to_owned(), mirror);
        };
        for (seed, image) in list("images").iter().enumerate() {
            let complete = complete(image.as_str().expect("a reference"));
            self.registry.push(&complete, &Image::small(seed as u64, 3_000));
            mirrored(complete.split('/').next().expect("a host"));
        }
        let mut indexes: BTreeMap<String, Vec<(String, String, Vec<u8>)>> = BTreeMap::new();
        for chart in list("charts") {
            let text = |key: &str| chart[key].as_str().unwrap_or_default().to_owned();
            let (repo, name, version) = (text("repo"), text("name"), text("version"));
            let archive = charts::chart(&name, &version, &[]);
            if let Some(repo) = repo.strip_prefix("oci://") {
                self.push_chart(&format!("{repo}/{name}"), &version, archive);
                mirrored(repo.split('/').next().expect("a host"));
            } else if let Some((_, path)) = repo.split_once("://") {
                indexes.entry(path.to_owned()).or_default().push((name, version, archive));
                urls.insert(format!("{repo}/"), json!(format!("{}/", self.files.url(&format!("/{path}")))));
            }
        }
        for (path, charts) in indexes {
            let file = |name: &str, version: &str| format!("{name}-{version}.tgz");
            let files: Vec<String> = charts.iter().map(|(name, version, _)| file(name, version)).collect();
            let rows = charts.iter().zip(&files);
            let rows: Vec<(&str, &str, &str, &[u8])> = rows
                .map(|((name, version, archive), file)| {
                    (name.as_str(), version.as_str(), file.as_str(), archive.as_slice())
                })
                .collect();
            self.files.put(&format!("/{path}/index.yaml"), charts::index(&rows));
            for ((_, _, archive), file) in charts.iter().zip(&files) {
                self.files.put(&format!("/{path}/{file}"), archive.clone());
            }
        }
        for file in list("files") {
            let url = file["url"].as_str().expect("a URL");
            let Some((_, path)) = url.split_once("://") else { continue };
            let content = match file["binary"].as_str() {
                Some(member) => charts::gzip(&tar_of(&[(member, b"#!/bin/sh\necho packed\n")])),
                None if url.ends_with("yaml") => {
                    b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: remote}\n".to_vec()
                }
                None => b"#!/bin/sh\necho fetched\n".to_vec(),
            };
            self.files.put(&format!("/{path}"), content);
            urls.insert(url.to_owned(), json!(self.files.url(&format!("/{path}"))));
        }
        for (at, wanted) in list("repositories").iter().enumerate() {
            let url = wanted["url"].as_str().expect("a URL");
            let name = format!("{at}-{}", url.rsplit('/').next().unwrap_or_default().trim_end_matches(".git"));
            let repository = self.git.create(&name);
            repository.commit("README.md", "# Mirrored\n");
            if let Some(reference) = wanted["ref"].as_str() {
                repository.tag(reference.trim_start_matches("refs/tags/"));
            }
            urls.insert(url.to_owned(), json!(self.git.clone_url(&name)));
        }
        let hosts = [self.files.host(), self.git.host()];
        json!({ "registries": registries, "network": { "url_mirrors": urls, "plain_http_hosts": hosts }, "retries": { "backoff": 0.05 } })
    }

    fn push_chart(&self, repository: &str, version: &str, archive: Vec<u8>) {
        let archive = Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive);
        let config = Blob::new("application/vnd.cncf.helm.config.v1+json", b"{}".to_vec());
        let manifest =
            json!({ "schemaVersion": 2, "config": config.descriptor(), "layers": [archive.descriptor()] }).to_string();
        for blob in [&archive, &config] {
            self.registry.push_blob(repository, &blob.digest, Content::Memory(blob.bytes.clone()));
        }
        self.registry.push_manifest(repository, Some(version), &Blob::new(OCI_MANIFEST, manifest.into_bytes()));
    }
}

/// With registry, namespace and tag.
fn complete(image: &str) -> String {
    let first = image.split('/').next().unwrap_or_default();
    let has_host = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let named = match (has_host, image.contains('/')) {
        (true, _) => image.to_owned(),
        (false, true) => format!("docker.io/{image}"),
        (false, false) => format!("docker.io/library/{image}"),
    };
    let has_tag = named.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag { named } else { format!("{named}:latest") }
}

fn built(case: &Case, mirror: &Mirror, zarf: &Zarf) {
    let project = case.project(json!({}));
    case.run(&project, &["build", "--step", "manifests"]);
    let components = project.read("build/steps/manifests/components.resolved.json");
    let components: Value = serde_json::from_str(&components).expect("the components are JSON");
    let project = case.project(mirror.serve(&components));
    case.run(&project, &["build"]);
    let package = shown(&project.package());
    project.run(&["verify", &package]).success();
    let inspected = document(&zarf.run(&["package", "inspect", "definition", &package, "--no-color"]));
    let composed = document(&project.read("build/steps/manifests/definition.yaml"));
    let names = |definition: &Value| -> Vec<String> {
        let components = definition["components"].as_array().cloned().unwrap_or_default();
        components.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&inspected), names(&composed), "{}", case.name);
    if !components["images"].as_array().is_none_or(Vec::is_empty) {
        let images = zarf.run(&["package", "inspect", "images", &package, "--no-color"]);
        for image in components["images"].as_array().into_iter().flatten() {
            // As the author wrote it.
            assert!(images.contains(image.as_str().expect("a reference")), "{image} in\n{images}");
        }
    }
    if DEPLOYED.contains(&case.name.as_str()) {
        deployed(&package, zarf);
    }
}

/// Into the folder that Zarf runs in.
fn deployed(package: &str, zarf: &Zarf) {
    let home = zarf.folder();
    let home = home.parent().expect("a folder lies in a home");
    zarf.run(&["package", "deploy", package, "--confirm", "--components", "*"]);
    for (path, word) in [
        ("site/site.conf", "site: north"),
        ("site/tree/deep/file", "deep"),
        ("site/fetched", "echo fetched"),
        ("site/packed", "echo packed"),
        ("site/done", "done for north"),
    ] {
        let found = std::fs::read_to_string(home.join(path)).unwrap_or_else(|err| panic!("{path}: {err}"));
        assert!(found.contains(word), "{path}: {found}");
    }
    zarf.run(&["package", "remove", package, "--confirm"]);
}
