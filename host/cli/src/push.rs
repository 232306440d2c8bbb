//! `push`: what a package holds, sent to a registry and to a git server.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::environment::Variables;
use super::inspect::{there, unreadable};
use super::signals::Attended;
use super::ui::Ui;
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::progress::{Progress, text};
use config::settings::{RegistrySettings, Settings};
use far_side::push;
use far_side::push::{Item, PushFilter, Report, Targets};
use far_side::serve::Library;
use fetch::network::Network;

/// Send what a package holds: images and charts to a registry, repositories to
/// a git server
///
/// What is there already is not sent again, so that a stopped push goes on.
/// Credentials are those of `docker login`, for the git server as well.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// The package: zarf-package-….tar.zst
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,

    /// The registry, and below which path there: registry.example.com/mirror
    #[arg(value_name = "REGISTRY", required_unless_present = "git")]
    registry: Option<String>,

    /// Send repositories as well, below this address of a git server
    #[arg(long, value_name = "URL")]
    git: Option<String>,

    /// Send images alone
    #[arg(long)]
    images: bool,

    /// Send charts alone
    #[arg(long)]
    charts: bool,

    /// Send only what is called like this; * stands for anything
    #[arg(long = "match", value_name = "GLOB")]
    pattern: Option<String>,

    /// Keep the registry of an image, and the host of a repository, as a part of
    /// its path
    #[arg(long)]
    keep_registry: bool,

    /// Set branches and tags of the git server to what the package has, even
    /// where the package does not have what is there
    #[arg(long, requires = "git")]
    force: bool,

    /// Only say what would be called how
    #[arg(long)]
    plan: bool,

    /// Print the names in place of the list, for those who rewrite them
    #[arg(long, value_name = "FOR")]
    names: Option<For>,

    /// Speak http to the registry and to the git server
    #[arg(long)]
    plain_http: bool,

    /// A PEM file with the certificate authority of the registry and of the git
    /// server
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
    let items = push::plan(&library, args.targets(), &args.wanted())?;
    match (items.is_empty(), &args.pattern) {
        (false, _) => {}
        (true, None) => ui.note("nothing to send: the package holds nothing of it"),
        (true, Some(pattern)) => {
            let message = format!("nothing in the package is called like `{pattern}`");
            return Err(Error::new(Class::Usage, message).hint("`--plan` without --match lists what there is"));
        }
    }
    if args.plan {
        tell(args, &items, |_| "", ui);
        ui.data(&Planned { event: "push-plan", items: &items });
        return Ok(ExitCode::Done);
    }
    let network = Network::new(&args.settings()?, Path::new("."), variables.network.clone())?
        .with_upload_notes(variables.uploads_dir.as_deref());
    let progress = Progress::new("push", ui.observer(), attended.cancellation());
    let report = match attended.block_on(push::push(&library, items, args.force, &network, &progress)) {
        Ok(report) => report,
        Err(error) if error.class() == Class::Integrity => return unreadable(error, ui),
        Err(error) => return Err(error),
    };
    let items: Vec<Item> = report.items.iter().map(|pushed| pushed.item.clone()).collect();
    tell(args, &items, |at| if report.items[at].was_there { " (was there)" } else { "" }, ui);
    ui.note(&sums(&report, args));
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
    fn wanted(&self) -> PushFilter {
        let both = self.images == self.charts;
        PushFilter {
            images: both || self.images,
            charts: both || self.charts,
            pattern: self.pattern.clone(),
            keeps_registry: self.keep_registry,
        }
    }

    fn targets(&self) -> Targets<'_> {
        Targets { registry: self.registry.as_deref(), git: self.git.as_deref() }
    }

    /// Nothing of a project's: there is none where a package arrives.
    fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::default();
        let ca_file = self.ca_file.as_ref().map(std::path::absolute).transpose();
        let ca_file = ca_file.map_err(|source| Error::local("cannot resolve --ca-file").caused_by(source))?;
        let host = |address: &str| address.split('/').next().unwrap_or_default().to_owned();
        let registry = self.registry.as_deref().map(|registry| host(registry.trim_start_matches("oci://")));
        let git = self.git.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| host(rest));
        for host in registry.into_iter().chain(git) {
            let registry = RegistrySettings {
                plain_http: self.plain_http,
                ca_file: ca_file.clone(),
                ..RegistrySettings::default()
            };
            if self.plain_http {
                settings.network.plain_http_hosts.push(host.clone());
            }
            settings.registries.insert(host, registry);
        }
        Ok(settings)
    }
}

/// What it took.
fn sums(report: &Report, args: &PushArgs) -> String {
    let Report { sent, blobs_sent, blobs_mounted, blobs_there, references_set, .. } = report;
    let mut sums = format!("{} sent", text::bytes(*sent));
    if args.registry.is_some() {
        sums += &format!("; {blobs_sent} blobs sent, {blobs_mounted} taken over, {blobs_there} were there");
    }
    if args.git.is_some() {
        sums += &format!("; {} set", model::count::counted(*references_set, "reference", "references"));
    }
    sums
}
