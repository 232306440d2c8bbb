//! `push`: what a package holds, sent to a registry.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::environment::Variables;
use super::inspect::{there, unreadable};
use super::signals::Attended;
use super::ui::Ui;
use base::error::{Error, Result};
use base::exit_code::ExitCode;
use base::progress::{Progress, text};
use config::settings::{RegistrySettings, Settings};
use far_side::push;
use far_side::push::{Item, Report, Wanted};
use far_side::serve::Library;
use fetch::network::Network;

/// Send what a package holds to a registry: images and charts
///
/// What is there already is not sent again, so that a stopped push goes on.
/// Credentials are those of `docker login`.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// The package: zarf-package-….tar.zst
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,

    /// The registry, and below which path there: registry.example.com/mirror
    #[arg(value_name = "REGISTRY")]
    registry: String,

    /// Send images alone
    #[arg(long)]
    images: bool,

    /// Send charts alone
    #[arg(long)]
    charts: bool,

    /// Send only what is called like this; * stands for anything
    #[arg(long = "match", value_name = "GLOB")]
    pattern: Option<String>,

    /// Keep the registry of an image as a part of its path
    #[arg(long)]
    keep_registry: bool,

    /// Only say what would be called how
    #[arg(long)]
    plan: bool,

    /// Print the names in place of the list, for those who rewrite them
    #[arg(long, value_name = "FOR")]
    names: Option<For>,

    /// Speak http to the registry
    #[arg(long)]
    plain_http: bool,

    /// A PEM file with the registry's certificate authority
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// A folder for a package that is one stream, as zarf writes it
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    Kustomize,
    #[value(name = "registries.conf")]
    RegistriesConf,
}

impl From<For> for push::Format {
    fn from(of: For) -> Self {
        match of {
            For::Kustomize => Self::Kustomize,
            For::RegistriesConf => Self::RegistriesConf,
        }
    }
}

#[derive(Serialize)]
struct Planned<'a> {
    event: &'static str,
    items: &'a [Item],
}

#[derive(Serialize)]
struct Pushed<'a> {
    event: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &PushArgs, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    there(&args.package)?;
    let attended = Attended::begin(ui)?;
    let library = match Library::open(&[&args.package], args.spool.as_deref()) {
        Ok(library) => library,
        Err(error) => return unreadable(error, ui),
    };
    let items = push::plan(&library, &args.registry, &args.wanted())?;
    if args.plan {
        tell(args, &items, |_| "", ui);
        ui.data(&Planned { event: "push-plan", items: &items });
        return Ok(ExitCode::Done);
    }
    let network = Network::new(&args.settings()?, Path::new("."), variables.network.clone())?;
    let progress = Progress::new("push", ui.observer(), attended.cancellation());
    let report = attended.block_on(push::push(&library, items, &network, &progress))?;
    let items: Vec<Item> = report.items.iter().map(|pushed| pushed.item.clone()).collect();
    tell(args, &items, |at| if report.items[at].was_there { " (was there)" } else { "" }, ui);
    let Report { sent, blobs_sent, blobs_mounted, blobs_there, .. } = report;
    ui.note(&format!(
        "{blobs_sent} blobs with {} sent, {blobs_mounted} taken over, {blobs_there} were there",
        text::bytes(sent)
    ));
    ui.data(&Pushed { event: "pushed", report: &report });
    Ok(ExitCode::Done)
}

/// What is called how.
fn tell(args: &PushArgs, items: &[Item], remark: impl Fn(usize) -> &'static str, ui: &Ui) {
    match args.names {
        Some(of) => ui.say_all(push::written(of.into(), items, args.plain_http).lines()),
        None => {
            ui.say_all(items.iter().enumerate().map(|(at, item)| format!("{} → {}{}", item.old, item.new, remark(at))))
        }
    }
}

impl PushArgs {
    fn wanted(&self) -> Wanted {
        let both = self.images == self.charts;
        Wanted {
            images: both || self.images,
            charts: both || self.charts,
            pattern: self.pattern.clone(),
            keeps_registry: self.keep_registry,
        }
    }

    /// Nothing of a project's: there is none where a package arrives.
    fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::default();
        let host = self.registry.trim_start_matches("oci://").split('/').next().unwrap_or_default().to_owned();
        let ca_file = self.ca_file.as_ref().map(std::path::absolute).transpose();
        let ca_file = ca_file.map_err(|source| Error::local("cannot resolve --ca-file").caused_by(source))?;
        let registry = RegistrySettings { plain_http: self.plain_http, ca_file, ..RegistrySettings::default() };
        settings.registries.insert(host, registry);
        Ok(settings)
    }
}
