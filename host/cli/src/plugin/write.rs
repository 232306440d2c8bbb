//! `plugin new` and `plugin componentize`: what somebody needs who writes a
//! plugin, out of the binary alone.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::ui::Ui;
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::layout::shown;
use config::plugins_lock::check_name;
use disk::fs;
use plugin_host::limits::COMPONENT_BYTES;
use workbench::project::{self, Language};

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// What the plugin is called, and its folder
    #[arg(value_name = "NAME")]
    name: String,
    /// The language that it is written in
    #[arg(long, value_name = "LANGUAGE")]
    lang: Lang,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Lang {
    Rust,
    Python,
    Go,
}

#[derive(Debug, Args)]
pub(super) struct ComponentizeArgs {
    /// The core module
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the component comes to lie; by default beside it, as
    /// <name>.component.wasm
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Begun<'a> {
    event: &'static str,
    folder: String,
    written: &'a [String],
}

#[derive(Serialize)]
struct Made {
    event: &'static str,
    file: String,
    size: usize,
}

/// Writes a project into a folder of its own.
pub(super) fn new(args: &NewArgs, ui: &Ui) -> Result<ExitCode> {
    check_name(&args.name)?;
    let folder = Path::new(&args.name);
    if folder.symlink_metadata().is_ok() {
        return Err(Error::configuration(format!("`{}` is there already", shown(folder)))
            .hint("choose another name, or remove it: nothing is written over"));
    }
    let language = match args.lang {
        Lang::Rust => Language::Rust,
        Lang::Python => Language::Python,
        Lang::Go => Language::Go,
    };
    let mut written = Vec::new();
    for (path, bytes) in project::files(&args.name, language) {
        let file = folder.join(&path);
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write_new(&file, &bytes)?;
        written.push(path);
    }
    ui.say(&format!("wrote {} files into {}", written.len(), shown(folder)));
    ui.note(&format!("Next: {} has the commands that test and build it.", shown(&folder.join("README.md"))));
    ui.data(&Begun { event: "plugin-begun", folder: shown(folder), written: &written });
    Ok(ExitCode::Done)
}

/// Makes a component of a core module.
pub(super) fn componentize(args: &ComponentizeArgs, ui: &Ui) -> Result<ExitCode> {
    let file = &args.file;
    let core = fs::read_optional(file, COMPONENT_BYTES)?.ok_or_else(|| super::missing(file))?;
    let component = workbench::componentize(&core).map_err(|error| error.context(format!("`{}`", shown(file))))?;
    let output = args.output.clone().unwrap_or_else(|| file.with_extension("component.wasm"));
    fs::replace_unsynced(&output, &component)?;
    ui.say(&format!("wrote {}", shown(&output)));
    ui.data(&Made { event: "plugin-componentized", file: shown(&output), size: component.len() });
    Ok(ExitCode::Done)
}
