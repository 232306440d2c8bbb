//! Guards that the documents tell the truth: every command in a block marked
//! `console` runs, and what a block shows as output is what comes out, but for
//! numbers, times and sizes; a line with nothing but `…` stands for any others.
//!
//! A comment before a block sets the scene: `<!-- scene: empty -->` is an empty
//! folder, `<!-- scene: configured -->` (how each document begins) a project
//! for servers on loopback, `<!-- scene: built -->` the same after a build,
//! `<!-- scene: defined -->` an empty folder with a zarf.yaml, `<!-- scene: failed -->` after a build with an image that is not there yet,
//! `<!-- scene: served -->` the same with its package served, and a registry to
//! push to, on ports that take the places of 5001 and 5000 in the text, `<!-- scene: interrupted -->` after a kill, `<!-- scene: plugin -->` one with
//! a component in plugins/, `<!-- scene: added -->` one with that component as a step,
//! `<!-- scene: carried -->` one with it and its author's signature in media/, `<!-- scene: lacking -->` one with a
//! chart in charts/ that deploys what the package lacks, and a HelmRelease of it in clusters/. `<!-- exit: 75 -->` is the exit code of the block's
//! last command.
//!
//! What the documents list is what there is: events, variables, fields, paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::images::Image;
use airgap_tests::platform::Platform;
use airgap_tests::project::{self, Project};
use airgap_tests::serving::Serving;
use airgap_tests::tools::{self, DockerRegistry};

/// What a document asks for, in order.
#[derive(Debug, PartialEq)]
enum Item {
    Scene(String),
    Exit(i32),
    Block { line: usize, commands: Vec<Shown> },
}

/// A command and the output that the document shows for it.
#[derive(Debug, PartialEq)]
struct Shown {
    command: String,
    output: Vec<String>,
}

fn parse(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let comment = line.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(scene) = comment.and_then(|comment| comment.strip_prefix("scene: ")) {
            items.push(Item::Scene(scene.to_owned()));
        } else if let Some(code) = comment.and_then(|comment| comment.strip_prefix("exit: ")) {
            items.push(Item::Exit(code.parse().expect("a number")));
        } else if line.trim() == "```console" {
            let block: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
            items.push(Item::Block { line: at + 1, commands: commands(&block) });
        }
    }
    items
}

fn commands(block: &[&str]) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    for line in block {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(Shown { command: command.to_owned(), output: Vec::new() });
        } else if let Some(last) = commands.last_mut() {
            if last.output.is_empty() && last.command.ends_with('\\') {
                last.command.push('\n');
                last.command.push_str(line);
            } else if !matches!(line.trim(), "" | "…") {
                last.output.push((*line).to_owned());
            }
        }
    }
    commands
}

/// What is the same in every run: numbers and digests are `#`, times `#time`
/// and sizes `#size`, whatever their unit.
fn words(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let counted = words.last().is_some_and(|last| last == "#");
        let measure = match word {
            "ms" | "s" | "min" | "h" if counted => "#time",
            "B" | "KiB" | "MiB" | "GiB" if counted => "#size",
            _ => {
                words.push(masked(word));
                continue;
            }
        };
        words.pop();
        // `4 min 05 s` is one time.
        if words.last().is_none_or(|last| last != "#time" || measure != "#time") {
            words.push(measure.to_owned());
        }
    }
    words.join(" ")
}

/// A word with `#` for each number, version or digest in it.
fn masked(word: &str) -> String {
    let mut shown = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let hex = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let length = if hex >= 12 {
            hex
        } else if first.is_ascii_digit() {
            rest[..number].trim_end_matches('.').len()
        } else {
            0
        };
        shown.push(if length > 0 { '#' } else { first });
        rest = &rest[length.max(first.len_utf8())..];
    }
    shown
}

struct Stage {
    platform: Platform,
    project: Project,
    served: Option<(Serving, DockerRegistry)>,
}

/// A step beside the built-in ones.
const ADDED: &str = "additional_steps:\n  - id: greeting\n    run: {plugin: hello}\n    needs: [zarf_gen]\n    configuration: {name: world}\n";

/// A definition that needs no server.
const DEFINED: &[(&str, &str)] = &[
    (
        "deploy/zarf.yaml",
        "kind: ZarfPackageConfig\nmetadata:\n  name: edge\n  version: 1.2.0\n  architecture: amd64\ncomponents:\n\
         - name: site\n  required: true\n  import: {path: ../common}\n  files: [{source: site.conf, target: site.conf}]\n",
    ),
    (
        "common/zarf.yaml",
        "kind: ZarfPackageConfig\nmetadata: {name: common}\ncomponents:\n- name: site\n\
         \x20 charts: [{name: web, localPath: chart, namespace: web}]\n",
    ),
    ("common/chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
    ("common/chart/templates/web.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n"),
    ("deploy/site.conf", "site: north\n"),
];

/// A chart, and what deploys it in a cluster with Flux.
const LACKING: &[(&str, &str)] = &[
    ("charts/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.4.0\nappVersion: 2.4.1\n"),
    (
        "charts/shop/values.yaml",
        "registry: REGISTRY\ntag: \"\"\nmetrics: {enabled: false, image: REGISTRY/shop/metrics:1}\n",
    ),
    (
        "charts/shop/templates/front.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: front}\nspec:\n  containers:\n  - name: front\n    image: \
         {{ .Values.registry }}/shop/front:{{ .Values.tag | default .Chart.AppVersion }}\n  {{- if .Values.metrics.enabled }}\n  \
         - {name: metrics, image: {{ .Values.metrics.image }}}\n  {{- end }}\n",
    ),
    (
        "clusters/shop.yaml",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: shop, namespace: shop}\nspec:\n  \
         chart: {spec: {chart: ./charts/shop, sourceRef: {kind: GitRepository, name: site}}}\n  values: {tag: 2.5.0}\n",
    ),
];

/// Where the documents have the server and a registry listen.
const SERVED: &str = "127.0.0.1:5001";
const PUSHED: &str = "127.0.0.1:5000";

impl Stage {
    fn set(scene: &str) -> Self {
        let platform = Platform::start();
        let project = match scene {
            "empty" | "defined" => Project::bare(),
            _ => platform.configure(Project::new()),
        };
        match scene {
            "built" | "served" => {
                project.build();
            }
            "failed" => {
                platform.registry.fault(On::get("/manifests/3.10"), Fault::status(404));
                project.run(&["build"]).code(1);
                platform.registry.heal();
            }
            "interrupted" => {
                let gate = Gate::default();
                platform.registry.fault(On::get("/blobs/").after(3), Fault::Held(gate.clone()));
                let running = project.start(&["build"]);
                platform.registry.wait_until(Duration::from_secs(60), |log| {
                    log.iter().filter(|entry| entry.path.contains("/blobs/")).count() > 3
                });
                running.kill();
                gate.open();
                platform.registry.heal();
            }
            "plugin" => {
                let guest = project::target_folder().parent().unwrap().join("test-guests/hello.wasm");
                let bytes = std::fs::read(&guest);
                project.write("plugins/hello.wasm", bytes.expect("`make plugins` builds the guests"));
            }
            "added" => {
                let guest = project::target_folder().parent().unwrap().join("test-guests/hello.wasm");
                project.write("plugins/hello.wasm", std::fs::read(&guest).expect("`make plugins` builds the guests"));
                project.run(&["plugin", "add", "plugins/hello.wasm"]).success();
                project.write("config/pipeline.yaml", ADDED);
            }
            "carried" => {
                let guest = project::target_folder().parent().unwrap().join("test-guests/hello.wasm");
                let bytes = std::fs::read(&guest).expect("`make plugins` builds the guests");
                let key = crate::plugin_sources::key();
                project.write("media/author.pub", key.public().to_pem());
                project.write("media/hello.wasm.sigstore.json", crate::plugin_sources::bundle(&bytes, &key));
                project.write("media/hello.wasm", bytes);
            }
            "lacking" => {
                for tag in ["2.4.1", "2.5.0"] {
                    platform.registry.push(&format!("shop/front:{tag}"), &Image::small(24, 3_000));
                }
                let host = platform.registry.host();
                LACKING.iter().for_each(|(path, text)| project.write(path, text.replace("REGISTRY", &host)));
                project.run(&["add", "chart", "shop", "--repo", "./charts/shop", "--version", "1.4.0"]).success();
            }
            "defined" => DEFINED.iter().for_each(|(path, text)| project.write(path, text)),
            "empty" | "configured" => {}
            other => panic!("no scene is called {other}"),
        }
        let package = || project.package().display().to_string();
        let served = (scene == "served").then(|| {
            (Serving::start(&project, &[&package()]), DockerRegistry::start().expect("docker-registry is installed"))
        });
        Self { platform, project, served }
    }

    /// Runs a command in the project's folder, in a shell.
    fn run(&self, shown: &Shown, code: i32, place: &str) {
        let template = self.project.command(&[]);
        let folder = project::binary().parent().unwrap().display().to_string();
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        let text = match &self.served {
            Some((serving, registry)) => shown.command.replace(SERVED, &serving.host).replace(PUSHED, &registry.host()),
            None => shown.command.clone(),
        };
        command.args(["-c", &text]).current_dir(self.project.root()).env_clear();
        for (name, value) in template.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = command.env("PATH", path).output().expect("sh runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let requests = self.platform.registry.render_log();
        assert_eq!(output.status.code(), Some(code), "{place}: `{}`\n{text}\n{requests}", shown.command);
        let mut actual = text.lines().map(words);
        for line in &shown.output {
            assert!(!words(line).is_empty(), "{place}: `{line}` says nothing");
            let found = actual.by_ref().any(|actual| actual == words(line));
            assert!(found, "{place}: `{}` does not print `{line}`, but\n{text}", shown.command);
        }
    }
}

fn check(document: &Path) {
    let text = std::fs::read_to_string(document).unwrap();
    let mut stage = None;
    let mut scene = "configured".to_owned();
    let mut exit = 0;
    for item in parse(&text) {
        match item {
            Item::Scene(name) => (scene, stage) = (name, None),
            Item::Exit(code) => exit = code,
            Item::Block { line, commands } => {
                let stage = stage.get_or_insert_with(|| Stage::set(&scene));
                let place = format!("{}:{line}", document.display());
                for (at, shown) in commands.iter().enumerate() {
                    let code = if at + 1 == commands.len() { std::mem::take(&mut exit) } else { 0 };
                    stage.run(shown, code, &place);
                }
            }
        }
    }
}

/// README.md and its neighbours, and everything in docs/.
fn documents() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let beside = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name));
    folder.chain(beside).filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn commands_in_the_documents_run() {
    if ["curl", "docker-registry", "git", "jq", "skopeo", "zstd"]
        .into_iter()
        .any(|program| tools::require(program).is_none())
    {
        return;
    }
    let documents = documents();
    assert!(documents.len() > 10, "{documents:?}");
    std::thread::scope(|scope| {
        for document in &documents {
            scope.spawn(|| check(document));
        }
    });
}

#[test]
fn a_document_is_read_in_order() {
    let text = "text\n<!-- scene: failed -->\n```console\n$ a \\\n  b\nout 1\n\n$ c\n```\n<!-- exit: 75 -->\n```sh\n$ no\n```\n";
    let shown = |command: &str, output: &[&str]| Shown {
        command: command.to_owned(),
        output: output.iter().map(|line| (*line).to_owned()).collect(),
    };
    let commands = vec![shown("a \\\n  b", &["out 1"]), shown("c", &[])];
    assert_eq!(parse(text), [Item::Scene("failed".into()), Item::Block { line: 3, commands }, Item::Exit(75)]);
    assert_eq!(words("images  4/5  1.2 MiB 4 min 05 s done"), "images #/# #size #time done");
    let digest = "a6eaf1dfda53354ab22c00cdbe7826b895a85033d6f585aa70bd2f24375fdf5d";
    assert_eq!(words(&format!("dist/x-1.0.0.tar.zst  9.0 MiB  sha256:{digest}.")), "dist/x-#.tar.zst #size sha#:#.");
}

/// Links between the documents lead to a file and a heading that are there.
#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(path.exists(), "{} links to {target}, which is not there", document.display());
            let has =
                || std::fs::read_to_string(&path).unwrap().lines().any(|line| anchor_of(line) == Some(anchor.into()));
            assert!(anchor.is_empty() || has(), "{} links to {target}: no such heading", document.display());
        }
    }
}

/// The name that a heading can be linked by.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?.to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}

/// The map of the code names files and folders that are there.
#[test]
fn paths_in_the_architecture_exist() {
    let bases = ["", "host", "host/engine/src/steps", "tests"].map(|base| root().join(base));
    let made_by_builds = ["build/", "bin/", "charts/", "values/", "dist/"];
    let text = read("ARCHITECTURE.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        (word.contains('/') || word.ends_with(".rs"))
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
            && !made_by_builds.iter().any(|prefix| word.starts_with(prefix))
    };
    let paths: Vec<&str> = quoted.filter(is_path).collect();
    assert!(paths.len() > 50, "{paths:?}");
    for path in paths {
        assert!(bases.iter().any(|base| base.join(path).exists()), "ARCHITECTURE.md: `{path}` is not there");
    }
}

/// The fields of a struct, but for those that are never written.
fn fields(source: &str, of: &str) -> Vec<String> {
    let body = source.split_once(&format!("pub struct {of} {{\n")).unwrap_or_else(|| panic!("no struct {of}")).1;
    let body = body.split_once("\n}").unwrap().0.replace("#[serde(skip)]\n    pub ", "");
    let names = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    names.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

fn kebab(name: &str) -> String {
    name.chars().fold(String::new(), |mut text, c| {
        if c.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(c.to_lowercase());
        text
    })
}

/// The row of a table that begins with `name`.
fn row<'a>(document: &'a str, name: &str) -> &'a str {
    let start = format!("| `{name}` |");
    document.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row for `{name}`"))
}

/// docs/json.md has every event of a running build, with all its fields.
#[test]
fn every_event_is_documented() {
    let document = read("docs/json.md");
    let source = read("host/base/src/progress/mod.rs");
    let events = source.split_once("pub enum Event {\n").unwrap().1.split_once("\n}").unwrap().0;
    let mut event = "";
    let mut seen = 0;
    for line in events.lines().filter(|line| !line.contains("//")) {
        if let Some(name) = line.strip_prefix("    ").and_then(|line| line.strip_suffix(" {")) {
            event = row(&document, &kebab(name));
            seen += 1;
        } else if let Some((field, _)) = line.trim().split_once(':') {
            assert!(event.contains(&format!("`{field}`")), "the field `{field}` is not in {event}");
        }
    }
    assert!(seen >= 8, "{seen} events");
}

/// docs/json.md has what every command ends with.
#[test]
fn every_last_line_is_documented() {
    let document = read("docs/json.md");
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("host/cli/src")).unwrap() {
        let path = entry.unwrap().path();
        let source = if path.is_file() { std::fs::read_to_string(path).unwrap() } else { continue };
        for mark in ["event: \"", "Shown::new(\""] {
            for name in source.split(mark).skip(1).filter_map(|rest| rest.split('"').next()) {
                row(&document, name);
                seen += 1;
            }
        }
    }
    assert!(seen >= 15, "{seen} events");
}

/// docs/json.md has every field of metrics.json, docs/state.md of state.json.
#[test]
fn every_field_of_the_recorded_files_is_documented() {
    let (json, state) = (read("docs/json.md"), read("docs/state.md"));
    let lists = |document: &str, prefix: &str, names: Vec<String>| {
        assert!(!names.is_empty());
        for name in names {
            let shown = format!("`{prefix}{name}`");
            assert!(document.contains(&shown), "{shown} is not documented");
        }
    };
    let report = read("host/engine/src/orchestrator/report.rs");
    let of_report = fields(&report, "Report").into_iter().filter(|name| name != "steps");
    lists(&json, "", of_report.collect());
    lists(&json, "steps[].", fields(&report, "StepReport"));
    lists(&json, "", fields(&read("host/base/src/progress/mod.rs"), "Counts"));
    let format = read("host/engine/src/state/format.rs");
    let of_state = fields(&format, "BuildState").into_iter().filter(|name| name != "steps");
    lists(&state, "", of_state.collect());
    lists(&state, "steps[].", fields(&format, "StepState"));
    for part in ["Items", "FailedItem", "Outputs", "RecordedError"] {
        lists(&state, "", fields(&format, part));
    }
    for (part, file) in [
        ("PluginIdentity", "host/plugin-host/src/catalog.rs"),
        ("ItemProgress", "host/base/src/progress/mod.rs"),
        ("Published", "host/config/src/publish.rs"),
    ] {
        lists(&state, "", fields(&read(file), part));
    }
}

/// docs/environment.md has the variables that the program reads, and no others.
#[test]
fn every_variable_is_documented() {
    let source = read("host/cli/src/environment.rs");
    let source = source.split_once("#[cfg(test)]").map_or(source.as_str(), |(code, _)| code);
    let quoted = source.split('"').skip(1).step_by(2);
    let is_variable = |word: &&str| {
        word.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
            && (word.contains('_') || word.chars().all(|c| c.is_ascii_uppercase()))
            && *word != "CARGO_PKG_VERSION"
    };
    let mut read_by_us: BTreeSet<&str> = quoted.filter(is_variable).collect();
    // By the standard library.
    read_by_us.insert("TMPDIR");
    let document = read("docs/environment.md");
    let cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let listed: BTreeSet<&str> = cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect();
    assert_eq!(listed, read_by_us);
}

/// The plugin that the documents show is one that the tests run.
#[test]
fn the_example_of_a_plugin_is_the_one_of_the_tests() {
    let document = read("docs/write-a-plugin.md");
    let block = document.split_once("```rust\n").unwrap().1.split_once("```").unwrap().0;
    assert!(read("tests/guests/examples/hello.rs").contains(block), "another text than\n{block}");
}
