//! `make demo`: packages a small platform from servers on loopback, has the
//! package checked twice, and shows what is in it. The project stays in
//! target/demo.

use std::path::Path;
use std::process::{ExitCode, Stdio};

use airgap_tests::checker;
use airgap_tests::platform::Platform;
use airgap_tests::project::{self, Project};
use anyhow::{Context, ensure};
use serde_json::Value;

fn main() -> ExitCode {
    let folder = project::target_folder().parent().expect("target/ has profiles").join("demo");
    match demo(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(folder: &Path) -> anyhow::Result<()> {
    let platform = Platform::start();
    let project = platform.configure(Project::in_folder(folder)?);
    println!("A small platform, served on this machine alone:");
    println!("  container images  http://{}", platform.registry.host());
    println!("  files and charts  http://{}", platform.files.host());
    match &platform.git {
        Some(git) => println!("  git repositories  http://{}", git.host()),
        None => println!("  git repositories  none: git is not installed"),
    }
    println!("Its configuration is in {}.", project.path("config").display());

    run(&project, &["build"])?;
    println!("({} requests to the registry, {} for files)", platform.registry.log().len(), platform.files.log().len());
    show_content(&project)?;
    run(&project, &["build"])?;

    let package = project.package();
    let shown = package.strip_prefix(project.root())?.display().to_string();
    run(&project, &["verify", &shown])?;
    has_second_opinion(&package)?;
    println!("\nThe project stays in {}: look around there, or ask", project.root().display());
    println!("`{} --help` for what else there is.", project::binary().display());
    Ok(())
}

/// Runs the binary as a user would, its output as it is.
fn run(project: &Project, arguments: &[&str]) -> anyhow::Result<()> {
    let command = arguments.join(" ");
    println!("\n$ opencenter-airgap {command}");
    let status = project.command(arguments).stdout(Stdio::inherit()).stderr(Stdio::inherit()).status()?;
    ensure!(status.success(), "`opencenter-airgap {command}` failed with {status}");
    Ok(())
}

/// What artifact-manifest.json says about the package.
fn show_content(project: &Project) -> anyhow::Result<()> {
    let manifest: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json"))?;
    let package = &manifest["package"];
    println!("\nWhat is in {}, {}:", text(package, "file"), size(package));
    section(&manifest["images"], "container images", |row| text(row, "reference").to_owned())?;
    section(&manifest["files"], "files for the nodes", |row| text(row, "target").to_owned())?;
    section(&manifest["charts"], "Helm charts", |row| format!("{} {}", text(row, "name"), text(row, "version")))?;
    section(&manifest["repositories"], "git repositories, with their history", |row| text(row, "source").to_owned())
}

fn section(rows: &Value, title: &str, name: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    let rows = rows.as_array().with_context(|| format!("no {title} in artifact-manifest.json"))?;
    println!("  {title}: {}", rows.len());
    for row in rows {
        println!("    {:<52} {:>9}", name(row), size(row));
    }
    Ok(())
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn size(row: &Value) -> String {
    let bytes = row["size"].as_u64().unwrap_or_default();
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// The checker of the tests shares no code with what wrote the package.
fn has_second_opinion(package: &Path) -> anyhow::Result<()> {
    println!("\nThe checker of the tests, which shares no code with opencenter-airgap, compares the");
    println!("package with the rules of Zarf's loader:");
    let violations = checker::check(package);
    violations.iter().for_each(|violation| println!("  ✗ {violation}"));
    ensure!(violations.is_empty(), "Zarf would not accept the package: {} rules are broken", violations.len());
    println!("  ✓ accepted: it breaks none of them");
    Ok(())
}
