//! `init`: writes a commented configuration to start from.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::ui::Ui;

use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
use config::Project;
use config::pipeline::Pipeline;
use disk::fs;

/// Write a commented configuration to start from
///
/// Files that are there already are left alone.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Also write the built-in pipeline as config/pipeline.yaml, to change it
    #[arg(long)]
    pipeline: bool,

    /// Replace files that are there already
    #[arg(long)]
    force: bool,

    /// Build this package definition: only settings.yaml is written, which
    /// names it
    #[arg(long, value_name = "ZARF.YAML", conflicts_with = "pipeline")]
    from: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written {
    event: &'static str,
    written: Vec<String>,
    kept: Vec<String>,
}

pub(super) fn run(args: &InitArgs, layout: &Layout, ui: &Ui) -> Result<ExitCode> {
    let mut written = Vec::new();
    let mut kept = Vec::new();
    let from = args.from.as_deref().map(|from| settings_for(from, layout)).transpose()?;
    fs::create_dir_all(&layout.config)?;
    let pipeline = Pipeline::built_in().to_text();
    let pipeline = args.pipeline.then_some(("pipeline.yaml", pipeline.as_str()));
    // In a project of one's own the pipeline alone is asked for.
    let has_project = args.pipeline && !args.force && layout.versions_env().exists();
    let defaults = config::DEFAULTS.iter().copied().filter(|_| !has_project && from.is_none());
    let from = from.as_deref().map(|text| ("settings.yaml", text));
    for (name, content) in defaults.chain(from).chain(pipeline) {
        let path = layout.config.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        if path.exists() && !args.force {
            kept.push(shown(&path));
            continue;
        }
        fs::write_atomic(&path, content.as_bytes())?;
        written.push(shown(&path));
    }
    if written.is_empty() {
        return Err(Error::configuration(format!("`{}` has a configuration already", shown(&layout.config)))
            .hint("edit it, or replace it with `init --force`"));
    }
    for path in &written {
        ui.say(&format!("wrote {path}"));
    }
    for path in &kept {
        ui.say(&format!("kept  {path}"));
    }
    let next = match from {
        Some(_) => "run `opencenter-airgap build --plan`, which tells what would be fetched".to_owned(),
        None => format!("look at {} (the pins), then run `opencenter-airgap build`", shown(&layout.versions_env())),
    };
    // What is wrong with a definition the plan tells with its line.
    let imported = from.and_then(|_| Project::load(layout.clone()).ok());
    for url in imported.iter().flat_map(|project| project.unfetched()) {
        ui.say(&format!("imports {url}, which a build fetches first"));
    }
    ui.say(&format!("\nNext: {next}."));
    ui.data(&Written { event: "initialized", written, kept });
    Ok(ExitCode::Done)
}

/// A settings.yaml that names the definition at `from`.
fn settings_for(from: &Path, layout: &Layout) -> Result<String> {
    let usage = |message: String, hint: &str| Error::new(Class::Usage, message).hint(hint);
    let unreadable = |_| usage(format!("`{}` cannot be read", shown(from)), "name a zarf.yaml that is there");
    let found = from.canonicalize().map_err(unreadable)?;
    let found = if found.is_dir() { found.join("zarf.yaml") } else { found };
    let text = fs::read_optional(&found, LARGEST_DEFINITION)?;
    let text =
        text.ok_or_else(|| usage(format!("there is no `{}`", shown(&found)), "name a zarf.yaml that is there"))?;
    let root = layout.config.parent().filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside = root.canonicalize().ok().and_then(|root| found.strip_prefix(root).ok().map(Path::to_owned));
    let inside = inside.as_ref().and_then(|inside| inside.to_str()).ok_or_else(|| {
        let message = format!("`{}` is not in the folder that holds config/, which is `{}`", shown(from), shown(root));
        usage(
            message,
            "run the command in a folder above the definition and all that it imports, or use `--config-dir`",
        )
    })?;
    let text = String::from_utf8_lossy(&text);
    // What is wrong with it a build tells with its line.
    let document: serde_yaml::Value = serde_yaml::Deserializer::from_str(&text)
        .next()
        .and_then(|document| serde_yaml::Value::deserialize(document).ok())
        .unwrap_or_default();
    let names = document.get("metadata").and_then(|metadata| metadata.get("architecture"));
    Ok(config::defined::settings(inside, names.is_none()))
}

/// Bytes of a definition.
const LARGEST_DEFINITION: u64 = 16 << 20;
