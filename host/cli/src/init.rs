//! `init`: writes a commented configuration to start from.

use clap::Args;
use serde::Serialize;

use super::ui::Ui;

use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::layout::{Layout, shown};
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
    fs::create_dir_all(&layout.config)?;
    let pipeline = Pipeline::built_in().to_text();
    let pipeline = args.pipeline.then_some(("pipeline.yaml", pipeline.as_str()));
    // In a project of one's own the pipeline alone is asked for.
    let has_project = args.pipeline && !args.force && layout.versions_env().exists();
    let defaults = config::DEFAULTS.iter().copied().filter(|_| !has_project);
    for (name, content) in defaults.chain(pipeline) {
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
    ui.say(&format!(
        "\nNext: look at {} (the pins), then run `opencenter-airgap build`.",
        shown(&layout.versions_env())
    ));
    ui.data(&Written { event: "initialized", written, kept });
    Ok(ExitCode::Done)
}
