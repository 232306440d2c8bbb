//! `completions` and `man`: what a shell and a reader of manual pages want to
//! know of the command line, made out of it.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use serde::Serialize;

use super::ui::Ui;
use super::{Cli, NAME};
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use disk::fs;

/// Print the completions of a shell
///
/// `opencenter-airgap completions bash > /etc/bash_completion.d/opencenter-airgap`,
/// and the like.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write the manual pages into a folder
///
/// A page for the program, and one for each command: `opencenter-airgap man .`,
/// then `man ./opencenter-airgap-build.1`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Completions<'a> {
    event: &'static str,
    shell: String,
    script: &'a str,
}

#[derive(Serialize)]
struct Written {
    event: &'static str,
    written: Vec<String>,
}

pub(super) fn completions(args: &CompletionsArgs, ui: &Ui) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script);
    ui.say_all(script.lines());
    ui.data(&Completions { event: "completions", shell: args.shell.to_string(), script: &script });
    Ok(ExitCode::Done)
}

pub(super) fn man(args: &ManArgs, ui: &Ui) -> Result<ExitCode> {
    fs::create_dir_all(&args.folder)?;
    let mut written = Vec::new();
    for (name, page) in pages()? {
        let path = args.folder.join(name);
        fs::write_atomic(&path, &page)?;
        let path = path.display().to_string();
        ui.say(&format!("wrote {path}"));
        written.push(path);
    }
    ui.data(&Written { event: "manual", written });
    Ok(ExitCode::Done)
}

/// Name and text of each page: of the program, its commands, and theirs.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    command.build();
    let mut open = vec![(NAME.to_owned(), command)];
    let mut pages = Vec::new();
    while let Some((name, command)) = open.pop() {
        let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
        open.extend(inner.map(|inner| (format!("{name}-{}", inner.get_name()), inner.clone())));
        let mut page = Vec::new();
        let man = Man::new(command).section("1").source(NAME).manual(NAME);
        man.render(&mut page).map_err(|source| Error::local("cannot write a manual page").caused_by(source))?;
        pages.push((format!("{name}.1"), page));
    }
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_of_its_own() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["opencenter-airgap.1", "opencenter-airgap-build.1", "opencenter-airgap-plugin-add.1"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let build = &pages.iter().find(|(name, _)| name == "opencenter-airgap-build.1").unwrap().1;
        let text = String::from_utf8_lossy(build);
        assert!(text.starts_with(".ie") || text.contains(".TH"), "{text}");
        assert!(text.contains("carry"), "{text}");
    }
}
