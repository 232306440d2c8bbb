//! `add`: puts one thing more into components.yaml.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use model::{Chart, ComponentManifest, Repository, Tool};
use serde::Serialize;

use super::ui::Ui;
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use config::edit::Addition;
use config::source::Source;
use config::{Project, edit, local, written};
use engine::state;
use engine::state::lock::BuildLock;
use engine::state::store;

/// Add an image, a chart, a tool or a repository to components.yaml
///
/// Comments and the order of the rest stay as they are; what is there already
/// is refused. Additions stay when the pins change.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Add container images
    Image(ImageArgs),
    /// Add a Helm chart
    Chart(ChartArgs),
    /// Add a command-line tool
    Tool(ToolArgs),
    /// Add a git repository
    Repo(RepoArgs),
}

#[derive(Debug, Args)]
struct ImageArgs {
    /// registry/repository:tag, or with @sha256:…
    #[arg(value_name = "REFERENCE", required = true)]
    references: Vec<String>,
}

#[derive(Debug, Args)]
struct ChartArgs {
    /// As its repository calls it
    name: String,
    /// https://… (a repository with index.yaml), oci://…, or a local folder
    /// (./charts/name)
    #[arg(long)]
    repo: String,
    /// A version, or a constraint as helm reads it
    #[arg(long)]
    version: String,
    /// Where the package deploys it; by default the one called like the chart
    #[arg(long)]
    namespace: Option<String>,
    /// A values file, relative to the folder that holds config/; may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    values: Vec<String>,
}

#[derive(Debug, Args)]
struct ToolArgs {
    /// Of the program
    name: String,
    #[arg(long)]
    version: String,
    /// May hold {{version}} and {{arch}}
    #[arg(long)]
    url: String,
    /// Of a checksum file; may hold {{version}} and {{arch}}
    #[arg(long, value_name = "URL")]
    checksum_url: Option<String>,
    /// The URL is an archive that holds the tool
    #[arg(long)]
    extract: bool,
    /// The path in the archive; by default the entry named like the tool
    #[arg(long, value_name = "PATH", requires = "extract")]
    binary: Option<String>,
}

#[derive(Debug, Args)]
struct RepoArgs {
    /// Of its folder under build/
    name: String,
    #[arg(long)]
    url: String,
    /// Branch or tag; the default branch where it is missing
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// The full commit; where it is missing, airgap.lock keeps the first one
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
}

#[derive(Serialize)]
struct Added<'a> {
    event: &'static str,
    file: String,
    added: &'a [String],
}

impl What {
    fn additions(&self) -> Vec<Addition> {
        match self {
            Self::Image(args) => args.references.iter().map(|image| Addition::Image(image.clone())).collect(),
            Self::Chart(ChartArgs { name, repo, version, namespace, values }) => vec![Addition::Chart(Chart {
                name: name.clone(),
                repo: repo.clone(),
                version: version.clone(),
                namespace: namespace.clone(),
                values: values.clone(),
                deploy: true,
            })],
            Self::Tool(ToolArgs { name, version, url, checksum_url, extract, binary }) => vec![Addition::Tool(Tool {
                name: name.clone(),
                version: version.clone(),
                url: url.clone(),
                checksum_url: checksum_url.clone(),
                extract: *extract,
                binary: binary.clone(),
                carry: false,
            })],
            Self::Repo(RepoArgs { name, url, reference, commit }) => vec![Addition::Repository(Repository {
                name: name.clone(),
                url: url.clone(),
                reference: reference.clone(),
                commit: commit.clone(),
            })],
        }
    }
}

pub(super) fn run(args: &AddArgs, layout: Layout, ui: &Ui) -> Result<ExitCode> {
    let additions = args.what.additions();
    let lock = hold(&layout, "add")?;
    let state = state::read(&layout.state())?;
    let project = Project::load(layout)?;
    add(&project, &additions)?;
    let added: Vec<String> = additions.iter().map(named).collect();
    let file = shown(&project.layout.components());
    for one in &added {
        ui.say(&format!("added {one} to {file}"));
    }
    let unfinished = lock.is_some() && state.is_some_and(|state| !state.is_finished());
    if unfinished {
        ui.note("The build is not finished: `build --on-change restart` takes the addition in, and downloads nothing twice.");
    }
    ui.data(&Added { event: "added", file, added: &added });
    Ok(ExitCode::Done)
}

/// Adds the images of `found` that components.yaml lacks to
/// images.auto_discover, and returns them.
pub(super) fn discovered(project: &Project, found: &BTreeSet<&str>) -> Result<Vec<String>> {
    let _lock = hold(&project.layout, "scan")?;
    let generated = to_be_generated(project)?;
    let manifests = project.components.iter().chain(&generated);
    let known: BTreeSet<String> =
        manifests.flat_map(|manifest| manifest.images.iter()).map(|image| normalized(&image.image)).collect();
    let missing = found.iter().filter(|image| !known.contains(&normalized(image)));
    let missing: Vec<String> = missing.map(|image| (*image).to_owned()).collect();
    edit::merge_discovered_into_project(&project.layout, &missing)
}

/// Keeps a build from running while its configuration changes. Where there is
/// no build folder, no build runs.
///
/// # Errors
/// `held` where one runs, with who it is.
pub(super) fn hold(layout: &Layout, command: &str) -> Result<Option<BuildLock>> {
    let ours = layout.build.exists() && (store::is_ours(layout) || store::holds_our_work(layout));
    ours.then(|| BuildLock::take(&layout.state_lock(), command, Timestamp::now())).transpose()
}

/// Adds everything or nothing.
fn add(project: &Project, additions: &[Addition]) -> Result<()> {
    if let Some(generated) = to_be_generated(project)? {
        additions.iter().try_for_each(|addition| refuse_generated(&generated, addition))?;
    }
    additions.iter().try_for_each(|addition| refuse_missing_files(project, addition))?;
    let path = project.layout.components();
    let mut source = Source::read(&path)?.unwrap_or_else(|| Source::empty(shown(&path)));
    for addition in additions {
        source.text = edit::add(&source, addition)?;
    }
    written::replace(&project.layout, &path, source.digest, source.text.as_bytes())
}

fn named(addition: &Addition) -> String {
    match addition {
        Addition::Image(image) => format!("the image {image}"),
        Addition::Chart(chart) => format!("the chart {} {}", chart.name, chart.version),
        Addition::Tool(tool) => format!("the tool {} {}", tool.name, tool.version),
        Addition::Repository(repository) => format!("the repository {}", repository.name),
    }
}

/// What the first build puts into components.yaml beside what stands there:
/// none once it has, which the base tells.
fn to_be_generated(project: &Project) -> Result<Option<ComponentManifest>> {
    let is_generated = project.components.is_some() && project.layout.components_base().exists();
    (!is_generated).then(|| project.generated()).transpose()
}

/// What the catalog will generate is there already, even where components.yaml
/// does not name it yet. What it does name is refused with its line.
fn refuse_generated(manifest: &ComponentManifest, addition: &Addition) -> Result<()> {
    let is_there = match addition {
        Addition::Image(image) => manifest.images.iter().any(|known| normalized(&known.image) == normalized(image)),
        Addition::Chart(chart) => manifest.charts.iter().any(|known| known.name == chart.name),
        Addition::Tool(tool) => {
            let binaries = manifest.kubernetes.iter().flat_map(|kubernetes| &kubernetes.binaries);
            let mut names = manifest.tools.iter().map(|tool| &tool.name).chain(binaries.map(|binary| &binary.name));
            names.any(|name| *name == tool.name)
        }
        Addition::Repository(repository) => {
            manifest.repositories.iter().any(|known| known.name.eq_ignore_ascii_case(&repository.name))
        }
    };
    if is_there {
        return Err(Error::configuration(format!("{} is named already", named(addition)))
            .hint("the catalog generates it: change its pin in config/versions.env, or its entry in config/components.yaml once the first build has written it"));
    }
    Ok(())
}

fn refuse_missing_files(project: &Project, addition: &Addition) -> Result<()> {
    let Addition::Chart(chart) = addition else { return Ok(()) };
    let folder = Some(&chart.repo).filter(|repo| local::is_local(repo));
    for written in folder.into_iter().chain(&chart.values) {
        let path = project.local_path(written);
        if !path.exists() {
            return Err(Error::configuration(format!("there is nothing at `{}`", shown(&path)))
                .hint("local paths are relative to the folder that holds config/"));
        }
    }
    Ok(())
}

fn normalized(image: &str) -> String {
    model::image::normalized(image)
}
