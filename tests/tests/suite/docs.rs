//! Guards that the documents tell the truth: every command in a block marked
//! `console` runs, and what a block shows as output is what comes out, but for
//! numbers; a line with nothing but `…` stands for any others.
//!
//! A comment before a block sets the scene: `<!-- scene: empty -->` is an empty
//! folder, `<!-- scene: configured -->` (how each document begins) a project
//! for servers on loopback, `<!-- scene: built -->` the same after a build,
//! `<!-- scene: failed -->` after a build with an image that is not there yet,
//! `<!-- scene: interrupted -->` after a kill. `<!-- exit: 75 -->` is
//! the exit code of the block's last command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use airgap_tests::fault::{Fault, Gate, On};
use airgap_tests::platform::Platform;
use airgap_tests::project::{self, Project};
use airgap_tests::tools;

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

/// What is the same in every run: the words without a digit, and no units.
fn words(line: &str) -> String {
    const UNITS: &[&str] = &["ms", "s", "min", "h", "B", "KiB", "MiB", "GiB"];
    let stays = |word: &&str| !word.contains(|c: char| c.is_ascii_digit()) && !UNITS.contains(word);
    line.split_whitespace().filter(stays).collect::<Vec<_>>().join(" ")
}

struct Stage {
    platform: Platform,
    project: Project,
}

impl Stage {
    fn set(scene: &str) -> Self {
        let platform = Platform::start();
        let project = match scene {
            "empty" => Project::bare(),
            _ => platform.configure(Project::new()),
        };
        match scene {
            "built" => {
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
            "empty" | "configured" => {}
            other => panic!("no scene is called {other}"),
        }
        Self { platform, project }
    }

    /// Runs a command in the project's folder, in a shell.
    fn run(&self, shown: &Shown, code: i32, place: &str) {
        let template = self.project.command(&[]);
        let folder = project::binary().parent().unwrap().display().to_string();
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", &shown.command]).current_dir(self.project.root()).env_clear();
        for (name, value) in template.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = command.env("PATH", path).output().expect("sh runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let requests = self.platform.registry.render_log();
        assert_eq!(output.status.code(), Some(code), "{place}: `{}`\n{text}\n{requests}", shown.command);
        let mut actual = text.lines().map(words);
        for line in &shown.output {
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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn commands_in_the_documents_run() {
    if tools::require("jq").is_none() {
        return;
    }
    let folder = std::fs::read_dir(root().join("docs")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let documents: Vec<PathBuf> = folder
        .chain([root().join("README.md"), root().join("ARCHITECTURE.md")])
        .filter(|path| path.extension().is_some_and(|extension| extension == "md") && path.is_file())
        .collect();
    assert!(!documents.is_empty());
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
    assert_eq!(words("images  4/5  1.2 MiB done"), "images done");
}

/// Links between the documents lead somewhere.
#[test]
fn links_between_the_documents_lead_somewhere() {
    let folder = std::fs::read_dir(root().join("docs")).into_iter().flatten().map(|entry| entry.unwrap().path());
    for document in
        folder.chain([root().join("README.md"), root().join("ARCHITECTURE.md")]).filter(|path| path.is_file())
    {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let path = document.parent().unwrap().join(file);
            assert!(path.exists(), "{} links to {target}, which is not there", document.display());
        }
    }
}
