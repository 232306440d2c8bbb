//! `inspect`: what is in a package.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::table;
use super::ui::Ui;
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::progress::text;
use far_side::inspect;
use far_side::inspect::Contents;

/// Show what is in a package, without unpacking or checking it
///
/// Reads the few files that it needs where the package has an index, as those
/// of `build` have, and all of it otherwise. What is shown is what the package
/// says: `verify` finds out whether it is true.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct InspectArgs {
    /// The package: zarf-package-….tar.zst
    #[arg(value_name = "PACKAGE", required = true)]
    package: Option<PathBuf>,

    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Print the images alone, a reference on each line
    Images {
        /// The package: zarf-package-….tar.zst
        #[arg(value_name = "PACKAGE")]
        package: PathBuf,
    },
    /// Take the SBOMs out of the package: Syft's JSON, a file for each image
    Sbom {
        /// The package: zarf-package-….tar.zst
        #[arg(value_name = "PACKAGE")]
        package: PathBuf,

        /// The folder to write them to
        #[arg(short, long, value_name = "DIRECTORY", default_value = "sboms")]
        output: PathBuf,
    },
}

#[derive(Serialize)]
struct TakenOut<'a> {
    event: &'static str,
    /// As given.
    package: String,
    directory: String,
    /// Names of the files.
    documents: &'a [String],
}

#[derive(Serialize)]
struct Inspected<'a> {
    event: &'static str,
    #[serde(flatten)]
    contents: &'a Contents,
}

pub(super) fn run(args: &InspectArgs, ui: &Ui) -> Result<ExitCode> {
    let path = match (&args.part, &args.package) {
        (Some(Part::Sbom { package, output }), _) => return take_out(package, output, ui),
        (Some(Part::Images { package }), _) | (None, Some(package)) => package,
        (None, None) => return Err(Error::new(Class::Usage, "no package was named")),
    };
    let contents = match look_into(path) {
        Ok(contents) => contents,
        Err(error) => return unreadable(error, ui),
    };
    match args.part {
        Some(Part::Images { .. }) => ui.say_all(contents.images.iter().map(|image| &image.reference)),
        Some(Part::Sbom { .. }) | None => ui.say_all(lines(&contents, ui.verbose)),
    }
    ui.data(&Inspected { event: "inspected", contents: &contents });
    Ok(ExitCode::Done)
}

/// Writes the SBOMs of a package into a folder.
fn take_out(package: &Path, output: &Path, ui: &Ui) -> Result<ExitCode> {
    there(package)?;
    let documents = match inspect::sboms::take_out(package, output) {
        Ok(documents) => documents,
        Err(error) => return unreadable(error, ui),
    };
    ui.say_all(documents.iter().map(|name| output.join(name).display().to_string()));
    let (package, directory) = (package.display().to_string(), output.display().to_string());
    ui.data(&TakenOut { event: "sboms", package, directory, documents: &documents });
    Ok(ExitCode::Done)
}

/// What is in the package at `path`.
///
/// # Errors
/// `usage` where there is none.
pub(super) fn look_into(path: &Path) -> Result<Contents> {
    there(path)?;
    inspect::read(path)
}

/// Whether there is anything at `path`.
///
/// # Errors
/// `usage` where there is not.
pub(super) fn there(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let message = format!("there is no package at `{}`", path.display());
    Err(Error::new(Class::Usage, message).hint("name a package: zarf-package-….tar.zst"))
}

/// A package that cannot be looked into ends with the code that `verify` has
/// for it: 1 is what `diff` says of two that are.
pub(super) fn unreadable(error: Error, ui: &Ui) -> Result<ExitCode> {
    match ExitCode::of(error.class()) {
        ExitCode::Failed => {
            ui.error(&error);
            Ok(ExitCode::Unreadable)
        }
        _ => Err(error),
    }
}

fn lines(contents: &Contents, verbose: bool) -> Vec<String> {
    let mut lines = head(contents);
    let components: Vec<Vec<String>> = contents.components.iter().map(component).collect();
    section(&mut lines, "components", components);
    // In full they are for programs; people compare beginnings.
    let digest = |digest: &str| if verbose { digest.to_owned() } else { short(digest) };
    let image = |image: &inspect::contents::ImageRow| {
        let platforms = image.platforms.join(", ");
        let own = format!("{} its own", text::bytes(image.own));
        vec![image.reference.clone(), text::bytes(image.size), own, platforms, digest(&image.digest)]
    };
    section(&mut lines, "images", contents.images.iter().map(image).collect());
    let chart = |chart: &inspect::contents::ChartRow| {
        vec![format!("{} {}", chart.name, chart.version), text::bytes(chart.size), digest(&chart.sha256)]
    };
    section(&mut lines, "charts", contents.charts.iter().map(chart).collect());
    let file = |file: &inspect::contents::FileRow| {
        let kind = if file.executable { "program" } else { "" };
        vec![file.target.clone(), text::bytes(file.size), kind.to_owned(), digest(&file.sha256)]
    };
    section(&mut lines, "files", contents.files.iter().map(file).collect());
    let repository = |repository: &inspect::contents::RepositoryRow| {
        let commit = repository.commit.as_deref().map(&digest).unwrap_or_default();
        vec![repository.url.clone(), text::bytes(repository.size), commit]
    };
    section(&mut lines, "repositories", contents.repositories.iter().map(repository).collect());
    let plugin = |plugin: &inspect::contents::PluginRow| {
        let replaced = if plugin.replaces_core { "in place of the core plugin" } else { "" };
        let name = format!("{} {}", plugin.name, plugin.version);
        vec![plugin.step.clone(), name, digest(&plugin.digest), replaced.to_owned()]
    };
    section(&mut lines, "plugins", contents.plugins.iter().map(plugin).collect());
    lines
}

fn head(contents: &Contents) -> Vec<String> {
    let Contents { name, version, architecture, size, unpacked, definition, .. } = contents;
    let line = |key: &str, value: &str| format!("{key:<12} {value}");
    let mut lines = vec![
        line("package", &format!("{name} {version} for {architecture}")),
        line("size", &format!("{}, {} unpacked", text::bytes(*size), text::bytes(*unpacked))),
        line("definition", &definition.documents.join(" and ")),
        line("zarf", &definition.readers()),
        line("built", &contents.built.timestamp),
        line("signature", &signature(contents)),
        line("sbom", &sboms(contents)),
    ];
    if let Some(provenance) = &contents.provenance {
        lines.push(line("provenance", &provenance.line()));
    }
    if !contents.description.is_empty() {
        lines.insert(1, line("", &contents.description));
    }
    lines
}

fn signature(contents: &Contents) -> String {
    match (&contents.signer, contents.signatures.as_slice()) {
        (Some(signer), _) => format!("by {signer}, not checked here: `verify --key` does"),
        (None, []) => "none".to_owned(),
        (None, files) => {
            format!("none: zarf.yaml says that it is not signed, and holds {} all the same", files.join(", "))
        }
    }
}

fn sboms(contents: &Contents) -> String {
    match &contents.sboms {
        None => "none".to_owned(),
        Some(row) => {
            let count = model::count::counted(row.documents, "document", "documents");
            format!("{}, {count}, {}", row.path, text::bytes(row.size))
        }
    }
}

fn component(row: &inspect::contents::ComponentRow) -> Vec<String> {
    use model::count::counted;
    let parts = [
        (row.images, "image", "images"),
        (row.charts, "chart", "charts"),
        (row.manifests, "manifest", "manifests"),
        (row.files, "file", "files"),
        (row.repositories, "repository", "repositories"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, ..)| *count > 0).map(|(count, one, many)| counted(*count, one, many)).collect();
    let required = if row.required { "required" } else { "optional" };
    vec![row.name.clone(), required.to_owned(), parts.join(", ")]
}

/// A heading, and under it a row for each: its name, which is often longer than
/// half a screen, on a line of its own, the rest in columns below.
fn section(lines: &mut Vec<String>, heading: &str, rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(format!("{heading} ({})", rows.len()));
    let rest: Vec<Vec<String>> = rows.iter().map(|row| row[1..].to_vec()).collect();
    for (row, rest) in rows.iter().zip(table::render(&rest, usize::MAX)) {
        lines.push(format!("  {}", row[0]));
        lines.push(format!("      {rest}"));
    }
}

/// Twelve digits of a digest, as everybody shows them.
pub(super) fn short(digest: &str) -> String {
    let digits = digest.trim_start_matches("sha256:");
    digits.get(..12).unwrap_or(digits).to_owned()
}
