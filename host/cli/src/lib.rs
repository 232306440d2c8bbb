//! The command line: the only place that prints, reads the environment, or
//! picks an exit code.
//!
//! Each command is a file: its arguments, whose documentation is the help
//! text, and a function that gathers, calls one verb of the library, and
//! renders.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode as ProcessExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::Layout;
use base::visible;
use plugin_host::worker;

mod add;
mod allocator;
mod build;
mod clean;
mod descriptors;
mod diff;
mod environment;
mod gc;
mod init;
mod inspect;
mod keygen;
mod manual;
mod outcome;
mod plan;
mod plugin;
mod progress;
mod push;
mod scan;
mod serve;
mod sign;
mod signals;
mod signer;
mod status;
mod table;
mod ui;
mod update;
mod verify;
mod version;
mod wall;

use environment::Variables;
use signals::Attended;
use ui::Ui;

/// Build one Zarf package with everything a Kubernetes platform needs behind
/// an air gap
///
/// Exit codes: 0 done; 1 failed, and a rerun alone will not help; 2 usage;
/// 3 configuration invalid, or changed since the build began; 4 state
/// unreadable or package damaged; 5 another process holds the build;
/// 75 stopped with the work kept, rerun to resume; 130 and 143 interrupted,
/// or the terminal closed, work kept.
#[derive(Debug, Parser)]
#[command(name = NAME, disable_version_flag = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,

    /// Print the version; with --verbose also the digests of the core plugins
    #[arg(long, short = 'V')]
    version: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Of the program.
const NAME: &str = "opencenter-airgap";

/// What `--help` puts these under, apart from a command's own.
const COMMON: &str = "Options of every command";

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct GlobalArgs {
    /// The folder of the configuration
    #[arg(long, global = true, help_heading = COMMON, value_name = "DIR", default_value = "config")]
    config_dir: PathBuf,

    /// The folder of the build's state, store and trees
    #[arg(long, global = true, help_heading = COMMON, value_name = "DIR", default_value = "build")]
    build_dir: PathBuf,

    /// The folder of the finished package
    #[arg(long, global = true, help_heading = COMMON, value_name = "DIR", default_value = "dist")]
    dist_dir: PathBuf,

    /// Print data instead of text: one JSON object per line
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,

    /// Print nothing but errors
    #[arg(long, short, global = true, help_heading = COMMON)]
    quiet: bool,

    /// Print more
    #[arg(long, short, global = true, help_heading = COMMON)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Build(build::BuildArgs),
    Status(status::StatusArgs),
    Verify(verify::VerifyArgs),
    Sign(sign::SignArgs),
    Keygen(keygen::KeygenArgs),
    Inspect(inspect::InspectArgs),
    Diff(diff::DiffArgs),
    Serve(serve::ServeArgs),
    Push(push::PushArgs),
    Update(update::UpdateArgs),
    Add(add::AddArgs),
    Scan(scan::ScanArgs),
    Plugin(plugin::PluginArgs),
    Gc(gc::GcArgs),
    Clean(clean::CleanArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// Runs the command line of this process.
pub fn main() -> ProcessExitCode {
    // Before anything is read: this process is to have nothing.
    if std::env::args_os().skip(1).eq([worker::COMMAND]) {
        return worker::main();
    }
    allocator::give_back();
    let variables = Variables::read();
    descriptors::raise();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let ui = Ui::new(&cli.global, &variables);
    let ran = run(&cli, &ui, &variables).and_then(|code| match code {
        ExitCode::Done => ui.complete().map(|()| code),
        _ => Ok(code),
    });
    let code = match ran {
        Ok(code) => code,
        Err(error) => {
            ui.error(&error);
            ExitCode::of(error.class())
        }
    };
    let code = if code == ExitCode::Interrupted { signals::exit_code() } else { code };
    code.into()
}

fn run(cli: &Cli, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    if cli.version {
        return version::print(ui, cli.global.verbose);
    }
    let layout = layout(&cli.global)?;
    // A package can be looked at wherever it lies.
    if !matches!(
        cli.command,
        Some(
            Command::Verify(_)
                | Command::Sign(_)
                | Command::Keygen(_)
                | Command::Inspect(_)
                | Command::Diff(_)
                | Command::Serve(_)
                | Command::Push(_)
                | Command::Completions(_)
                | Command::Man(_)
        )
    ) {
        check_folders(&layout)?;
    }
    // The others begin to listen once they stand behind the wall, or end by
    // themselves.
    let is_plain = !matches!(
        cli.command,
        Some(
            Command::Build(_)
                | Command::Update(_)
                | Command::Scan(_)
                | Command::Plugin(_)
                | Command::Serve(_)
                | Command::Push(_)
        )
    );
    let _attended = is_plain.then(|| Attended::begin(ui)).transpose()?;
    match &cli.command {
        None => Err(Error::new(Class::Usage, "no command was named").hint("`opencenter-airgap --help` lists them")),
        Some(Command::Init(args)) => init::run(args, &layout, ui),
        Some(Command::Build(args)) => build::run(args, layout, ui, variables),
        Some(Command::Status(args)) => status::run(args, layout, ui, variables),
        Some(Command::Verify(args)) => verify::run(args, ui),
        Some(Command::Sign(args)) => sign::run(args, ui, variables),
        Some(Command::Keygen(args)) => keygen::run(args, ui, variables),
        Some(Command::Inspect(args)) => inspect::run(args, ui),
        Some(Command::Diff(args)) => diff::run(args, ui),
        Some(Command::Serve(args)) => serve::run(args, ui),
        Some(Command::Push(args)) => push::run(args, ui, variables),
        Some(Command::Add(args)) => add::run(args, layout, ui),
        Some(Command::Scan(args)) => scan::run(args, layout, ui, variables),
        Some(Command::Plugin(args)) => plugin::run(args, layout, ui, variables),
        Some(Command::Update(args)) => update::run(args, layout, ui, variables),
        Some(Command::Gc(args)) => gc::run(args, &layout, ui),
        Some(Command::Clean(args)) => clean::run(args, &layout, ui),
        Some(Command::Completions(args)) => manual::completions(args, ui),
        Some(Command::Man(args)) => manual::man(args, ui),
    }
}

/// The three folders, absolute, so that nothing depends on the current
/// directory later.
fn layout(args: &GlobalArgs) -> Result<Layout> {
    let absolute =
        |path: &PathBuf| std::path::absolute(path).map_err(|source| Error::io("cannot resolve", path, source));
    Ok(Layout::new(absolute(&args.config_dir)?, absolute(&args.build_dir)?, absolute(&args.dist_dir)?))
}

/// State and lists name their files in UTF-8. What a step publishes must not
/// come between the configuration or the state.
fn check_folders(layout: &Layout) -> Result<()> {
    let folders = [&layout.config, &layout.build, &layout.dist];
    let hint = "rename it, or choose other folders with --config-dir, --build-dir and --dist-dir";
    if let Some(path) = folders.into_iter().find(|path| path.to_str().is_none()) {
        return Err(Error::local(format!("the name of the folder {path:?} is not UTF-8")).hint(hint));
    }
    let [config, build, dist] = folders.map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    if config == build || build == dist || dist == config {
        let message = "two of the folders for the configuration, the build and the packages are one";
        return Err(
            Error::new(Class::Usage, message).hint("choose three with --config-dir, --build-dir and --dist-dir")
        );
    }
    Ok(())
}

/// Help is data and goes to stdout; a wrong command line is exit 2, and repeats
/// what was typed, or what a shell put there.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::Done;
    }
    for line in error.render().to_string().lines() {
        let _ = writeln!(io::stderr(), "{}", visible::line(line));
    }
    ExitCode::Usage
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use base::error::Class;

    const COMMANDS: &str = include_str!("../../../docs/commands.md");
    const TROUBLESHOOTING: &str = include_str!("../../../docs/troubleshooting.md");

    #[test]
    fn the_command_tree_is_sound() {
        super::Cli::command().debug_assert();
    }

    /// The text under a heading, up to the next one.
    fn section<'a>(document: &'a str, heading: &str) -> &'a str {
        let start =
            document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("docs/commands.md lacks `{heading}`"));
        let body = &document[start + heading.len() + 2..];
        body.find("\n#").map_or(body, |end| &body[..end])
    }

    /// The options in the first column of a section's table.
    fn documented(section: &str) -> BTreeSet<String> {
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `--"));
        rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
    }

    fn options(command: &clap::Command, global: bool) -> BTreeSet<String> {
        let own = command.get_arguments().filter(|argument| argument.is_global_set() == global);
        own.filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
    }

    /// docs/commands.md knows every command and every option, and no others.
    #[test]
    fn every_command_and_option_is_documented() {
        let cli = super::Cli::command();
        let mut global = options(&cli, true);
        global.extend(["version", "help"].map(str::to_owned));
        assert_eq!(documented(section(COMMANDS, "## All commands")), global);
        let mut headings = BTreeSet::from(["## All commands".to_owned()]);
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            let heading = format!("## {}", command.get_name());
            assert_eq!(documented(section(COMMANDS, &heading)), options(command, false), "{heading}");
            headings.insert(heading);
            for inner in command.get_subcommands() {
                let heading = format!("### {} {}", command.get_name(), inner.get_name());
                assert_eq!(documented(section(COMMANDS, &heading)), options(inner, false), "{heading}");
                headings.insert(heading);
            }
        }
        let written = COMMANDS.lines().filter(|line| line.starts_with("##")).map(str::to_owned).collect();
        assert_eq!(headings, written);
    }

    /// Whatever a build ends with, docs/troubleshooting.md says what to do.
    #[test]
    fn every_class_and_exit_code_is_documented() {
        use Class::*;
        let classes = [
            Transient,
            RateLimited,
            Auth,
            NotFound,
            Integrity,
            InvalidInput,
            Plugin,
            DiskFull,
            Local,
            Interrupted,
            Configuration,
            Changed,
            State,
            Held,
            Usage,
        ];
        for class in classes {
            assert!(TROUBLESHOOTING.contains(&format!("\n### {class}: ")), "{class}");
        }
        for code in [0, 1, 2, 3, 4, 5, 75, 130, 143] {
            assert!(TROUBLESHOOTING.contains(&format!("\n| {code} | ")), "{code}");
        }
    }
}
