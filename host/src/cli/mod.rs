//! The command line: the only place that prints, reads the environment, or
//! picks an exit code.
//!
//! Each command is a file: its arguments, whose documentation is the help
//! text, and a function that gathers, calls one verb of the library, and
//! renders.

use std::path::PathBuf;
use std::process::ExitCode as ProcessExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::layout::Layout;

mod build;
mod clean;
mod environment;
mod init;
mod signals;
mod status;
mod table;
mod ui;
mod version;

use environment::Variables;
use ui::Ui;

/// Build one Zarf package with everything a Kubernetes platform needs behind
/// an air gap
///
/// Exit codes: 0 done; 1 failed, and a rerun alone will not help; 2 usage;
/// 3 configuration invalid, or changed since the build began; 4 state
/// unreadable or package damaged; 5 another process holds the build;
/// 75 stopped with the work kept, rerun to resume; 130 and 143 interrupted,
/// work kept.
#[derive(Debug, Parser)]
#[command(name = "opencenter-airgap", disable_version_flag = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,

    /// Print the version; with --verbose also the digests of the core plugins
    #[arg(long, short = 'V')]
    version: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct GlobalArgs {
    /// The folder of the configuration
    #[arg(long, global = true, value_name = "DIR", default_value = "config")]
    config_dir: PathBuf,

    /// The folder of the build's state, store and trees
    #[arg(long, global = true, value_name = "DIR", default_value = "build")]
    build_dir: PathBuf,

    /// The folder of the finished package
    #[arg(long, global = true, value_name = "DIR", default_value = "dist")]
    dist_dir: PathBuf,

    /// Print data instead of text: one JSON object per line
    #[arg(long, global = true)]
    json: bool,

    /// Print nothing but errors
    #[arg(long, short, global = true)]
    quiet: bool,

    /// Print more
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Build(build::BuildArgs),
    Status(status::StatusArgs),
    Clean(clean::CleanArgs),
}

/// Runs the command line of this process.
pub fn main() -> ProcessExitCode {
    let variables = Variables::read();
    #[cfg(feature = "faults")]
    if let Some(plan) = &variables.faults {
        crate::fs::faults::arm(plan);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let ui = Ui::new(&cli.global, &variables);
    let code = match run(&cli, &ui, &variables) {
        Ok(code) => code,
        Err(error) => {
            ui.error(&error);
            ExitCode::of(error.class())
        }
    };
    code.into()
}

fn run(cli: &Cli, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    if cli.version {
        return version::print(ui, cli.global.verbose);
    }
    let layout = layout(&cli.global)?;
    match &cli.command {
        None => version::print(ui, cli.global.verbose),
        Some(Command::Init(args)) => init::run(args, &layout, ui),
        Some(Command::Build(args)) => build::run(args, layout, ui, variables),
        Some(Command::Status(args)) => status::run(args, layout, ui, variables),
        Some(Command::Clean(args)) => clean::run(args, &layout, ui),
    }
}

/// The three folders, absolute, so that nothing depends on the current
/// directory later.
fn layout(args: &GlobalArgs) -> Result<Layout> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|source| crate::error::Error::io("cannot resolve", path, source))
    };
    Ok(Layout::new(absolute(&args.config_dir)?, absolute(&args.build_dir)?, absolute(&args.dist_dir)?))
}

/// Help is data and goes to stdout; a wrong command line is exit 2.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Done,
        _ => ExitCode::Usage,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        super::Cli::command().debug_assert();
    }
}
