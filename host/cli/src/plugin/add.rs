//! `plugin add` and `plugin update`: a component comes into the project, and
//! plugins.lock says which it is.
//!
//! 1. Its bytes: a file, or an address that `fetch` asks, with the signature that
//!    was asked for ([`candidate`](super::candidate)).
//! 2. What it says about itself, behind the wall, beside what the one said whose
//!    place it takes.
//! 3. The decision, and then the component and the lock are written
//!    ([`pinning`](super::pinning), [`place`](super::place)).

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::candidate::{Bench, from_file, look};
use super::pinning::{Pinning, check_replacement};
use super::place::{FOLDER, folder, home};
use super::terms::Terms;
use super::{Shown, missing};
use crate::add::hold;
use crate::environment::Variables;
use crate::ui::Ui;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::shown;
use config::Project;
use config::limits::OwnLimits;
use config::pin_source::PinSource;
use config::plugins_lock::{Pin, check_name};
use disk::fs;
use plugin_host::abilities;
use plugin_host::difference::Change;
use signing::PublicKey;

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The component: a file, https://…, or oci://registry/repository:tag
    #[arg(value_name = "SOURCE")]
    source: String,
    /// What steps call it; by default what it calls itself
    #[arg(long)]
    name: Option<String>,
    /// Its digest, sha256:…: other bytes are refused
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    #[command(flatten)]
    terms: Terms,
    /// Replace the pin of this name and keep its grants and limits; those of
    /// this command are added
    #[arg(long)]
    replace: bool,
    /// Let it take the place of the core plugin of its name, and decide what
    /// that one decides
    #[arg(long)]
    replace_core: bool,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// A pinned plugin; without it all that have a source
    #[arg(value_name = "PLUGIN")]
    plugin: Option<String>,
    #[command(flatten)]
    terms: Terms,
    /// Bring back the very bytes that are pinned; other ones are refused
    #[arg(long, conflicts_with_all = [
        "grant_fetch", "grant_credentials", "grant_directories", "limit", "key", "keep_grants",
    ])]
    locked: bool,
}

#[derive(Serialize)]
struct Updated<'a> {
    event: &'static str,
    plugins: &'a [Row],
}

/// One plugin whose source was asked again.
#[derive(Serialize)]
struct Row {
    plugin: String,
    source: String,
    changed: bool,
    before: Digest,
    after: Digest,
    differences: Vec<Change>,
}

pub(super) fn add(args: &AddArgs, project: &Project, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    args.name.as_deref().map_or(Ok(()), check_name)?;
    let _lock = hold(&project.layout, "plugin add")?;
    let keys = args.terms.keys(project)?;
    args.terms.limits(OwnLimits::default())?;
    let address = PinSource::is_address(&args.source).then(|| PinSource::parse(&args.source)).transpose()?;
    let file =
        address.is_none().then(|| from_file(project, Path::new(&args.source), &keys, args.digest)).transpose()?;
    let lies = file.as_ref().and_then(|file| file.lies.clone());
    let folder = folder(project, lies.is_some())?;
    let bench = Bench::set_up(project, &folder, &args.source, ui, variables)?;
    let candidate = match (file, &address) {
        (Some(file), _) => file,
        (None, Some(address)) => bench.fetch(project, address, &keys, args.digest, variables)?,
        (None, None) => return Err(missing(Path::new(&args.source))),
    };
    let looked_at = look(&bench, &candidate)?;
    let name = args.name.clone().unwrap_or_else(|| looked_at.description.name.clone());
    check_name(&name)?;
    check_replacement(&name, args.replace_core)?;
    let old = project.plugin_pins.pin(&name).map(|(pin, _)| pin.clone());
    if old.is_some() && !args.replace {
        return Err(Error::configuration(format!("a plugin `{name}` is pinned already")).hint(
            "`--replace` pins this one in its place and keeps what the other was granted; `--name` gives another name",
        ));
    }
    let pinning = Pinning {
        project,
        bench: &bench,
        name: &name,
        replace_core: args.replace_core,
        terms: &args.terms,
        old: old.as_ref(),
    };
    let pinned = pinning.pin(&candidate, &looked_at, pinning.former().as_ref())?;
    ui.say(&format!(
        "pinned {name} {} as {} in {}",
        looked_at.description.version,
        pinned.pin.sha256,
        shown(&project.layout.plugins_lock())
    ));
    if looked_at.description.name != name {
        ui.say(&format!("it calls itself {}", looked_at.description.name));
    }
    pinned.say_changes(ui);
    let abilities = abilities::of_pin(&name, &pinned.pin);
    let described = Shown::new("plugin-added", &name, &pinned.source, looked_at.description, abilities)
        .pinned(&pinned.pin, project)
        .changed(pinned.changes.clone());
    described.say(ui);
    pinned.say_doubts(ui);
    ui.data(&described);
    Ok(ExitCode::Done)
}

pub(super) fn update(args: &UpdateArgs, project: &Project, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    if args.plugin.is_none() && !args.terms.is_plain() {
        return Err(Error::new(Class::Usage, "grants and limits are given to one plugin, and none is named")
            .hint("name the plugin: `opencenter-airgap plugin update PLUGIN --grant-fetch …`"));
    }
    let wanted = with_sources(project, args.plugin.as_deref())?;
    if wanted.is_empty() {
        ui.say("no pinned plugin has a source that could be asked");
        ui.data(&Updated { event: "plugins-updated", plugins: &[] });
        return Ok(ExitCode::Done);
    }
    let _lock = hold(&project.layout, "plugin update")?;
    let keys = args.terms.keys(project)?;
    let folder = folder(project, false)?;
    let addresses: String = wanted.iter().map(|(_, _, source)| format!("{source}\n")).collect();
    let bench = Bench::set_up(project, &folder, &addresses, ui, variables)?;
    let mut rows = Vec::new();
    for (name, old, source) in wanted {
        let (replace_core, terms) = (old.replace_core, &args.terms);
        let pinning = Pinning { project, bench: &bench, name: &name, replace_core, terms, old: Some(&old) };
        rows.push(match args.locked {
            true => restore(&pinning, &old, &source, ui, variables)?,
            false => renew(&pinning, &old, &source, &trusted(&keys, &old)?, ui, variables)?,
        });
    }
    ui.data(&Updated { event: "plugins-updated", plugins: &rows });
    Ok(ExitCode::Done)
}

/// The named plugin, or all that came from an address.
fn with_sources(project: &Project, named: Option<&str>) -> Result<Vec<(String, Pin, PinSource)>> {
    let pins = &project.plugin_pins.plugins;
    if let Some(name) = named {
        let pin = pins.get(name).ok_or_else(|| super::not_pinned(project, name))?;
        let source = pin.source.as_deref().ok_or_else(|| {
            Error::configuration(format!("the plugin `{name}` came from a file, which can not be asked again"))
                .hint("pin the new one: `opencenter-airgap plugin add FILE --replace`")
        })?;
        return Ok(vec![(name.to_owned(), pin.clone(), PinSource::parse(source)?)]);
    }
    let from = |(name, pin): (&String, &Pin)| {
        let source = PinSource::parse(pin.source.as_deref()?);
        Some(source.map(|source| (name.clone(), pin.clone(), source)))
    };
    pins.iter().filter_map(from).collect()
}

/// A plugin that was signed stays signed by the same key, unless other ones are
/// named, on the command line or by the settings.
fn trusted(keys: &[PublicKey], old: &Pin) -> Result<Vec<PublicKey>> {
    match (&old.signature, keys) {
        (Some(signature), []) => Ok(vec![signature.key()?]),
        _ => Ok(keys.to_vec()),
    }
}

/// What the source has now takes the place of what is pinned.
fn renew(
    pinning: &Pinning<'_>,
    old: &Pin,
    source: &PinSource,
    keys: &[PublicKey],
    ui: &Ui,
    variables: &Variables,
) -> Result<Row> {
    let name = pinning.name;
    let candidate = pinning.bench.fetch(pinning.project, source, keys, None, variables)?;
    let looked_at = look(pinning.bench, &candidate)?;
    let former = pinning.former();
    pinning.refuse_another(source, former.as_ref(), &looked_at.description)?;
    let pinned = pinning.pin(&candidate, &looked_at, former.as_ref())?;
    let after = pinned.pin.sha256;
    let version = &looked_at.description.version;
    match old.sha256 == after {
        true => ui.say(&format!("{name} {version} is what {source} has: {after}")),
        false => ui.say(&format!("updated {name} to {version}: {} → {after}", old.sha256)),
    }
    pinned.say_changes(ui);
    pinned.say_doubts(ui);
    let (plugin, differences) = (name.to_owned(), pinned.changes.clone().unwrap_or_default());
    Ok(Row { plugin, source: source.to_string(), changed: old.sha256 != after, before: old.sha256, after, differences })
}

/// What is pinned comes back; the lock stays as it is.
fn restore(pinning: &Pinning<'_>, old: &Pin, source: &PinSource, ui: &Ui, variables: &Variables) -> Result<Row> {
    let (name, project, bench) = (pinning.name, pinning.project, pinning.bench);
    // Behind the wall nothing else is written, and nothing else is ours.
    if !old.path.starts_with(FOLDER) {
        let at = shown(&project.root.join(&old.path));
        return Err(Error::configuration(format!(
            "`{name}` is pinned at `{at}`, and only what lies in plugins/ is fetched"
        ))
        .hint("bring the file back, or pin the plugin again with `plugin add --replace`"));
    }
    let asked = match (source, old.manifest) {
        (PinSource::Registry(reference), Some(manifest)) => PinSource::Registry(reference.at(manifest)),
        _ => source.clone(),
    };
    let found = bench.fetch(project, &asked, &[], Some(old.sha256), variables).map_err(|error| {
        let said = format!("`{name}` of config/plugins.lock is not to be had from {source} any more");
        if error.class() == Class::Integrity {
            error.context(said).hint(
                "the source answers other bytes than those that are pinned: `opencenter-airgap plugin update` shows \
                 what differs, and takes them",
            )
        } else {
            error
        }
    })?;
    if Digest::of(&found.bytes) != old.sha256 {
        return Err(Error::integrity(format!("{source} answered other bytes than config/plugins.lock pins")));
    }
    fs::write_atomic(&home(project, &old.path)?, &found.bytes)?;
    ui.say(&format!("brought back {name} {} to {}", old.sha256, old.path.display()));
    let (before, after) = (old.sha256, old.sha256);
    let (plugin, source) = (name.to_owned(), source.to_string());
    Ok(Row { plugin, source, changed: false, before, after, differences: Vec::new() })
}
