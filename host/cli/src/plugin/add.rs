//! `plugin add` and `plugin update`: a component comes into the project, and
//! plugins.lock says which it is.
//!
//! 1. Its bytes: a file, or an address that `fetch` asks, with the signature that
//!    was asked for ([`Candidate`]).
//! 2. What it says about itself, behind the wall ([`Bench`]), beside what the
//!    one said whose place it takes.
//! 3. The decision: no name is taken unasked, and nothing that wants more than
//!    before is pinned before somebody has said so ([`refuse_widened`]).
//! 4. The component is written, and then the lock, which alone makes it run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::{Shown, executor, missing, runtime, told};
use crate::add::hold;
use crate::environment::Variables;
use crate::signals::Attended;
use crate::signer;
use crate::table;
use crate::ui::Ui;
use crate::wall::{self, Runs};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use base::layout::shown;
use base::progress::Progress;
use base::visible;
use config::limits::OwnLimits;
use config::pin_signature::{self, PinSignature};
use config::pin_source::PinSource;
use config::pipeline::Runner;
use config::plugins_lock::{Pin, PluginsLock, check_name};
use config::source::Source;
use config::{Project, plugins_lock, written};
use disk::fs;
use entitlement::grants::Grants;
use fetch::component::{self, BUNDLES, Component, Wanted};
use fetch::network::Network;
use fetch::store::Store;
use plugin_host::catalog::PluginSource;
use plugin_host::difference::{self, Change, Said};
use plugin_host::limits::COMPONENT_BYTES;
use plugin_host::review::{Right, rights, unwanted};
use plugin_host::{Description, Runtime, abilities, contract_of};
use signing::PublicKey;

/// The folder of the project where components come to lie.
const FOLDER: &str = "plugins";

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
    #[arg(long, conflicts_with_all = ["grant_fetch", "grant_credentials", "grant_directories", "limit"])]
    locked: bool,
}

/// Under which a plugin is pinned.
#[derive(Clone, Debug, Args)]
struct Terms {
    /// Let it download below https://host/path/ or registry/repository/; may
    /// be repeated
    #[arg(long, value_name = "PREFIX")]
    grant_fetch: Vec<String>,
    /// Let your credentials for host[:port] go there; may be repeated
    #[arg(long, value_name = "HOST")]
    grant_credentials: Vec<String>,
    /// Let it have its inputs and outputs as directories
    #[arg(long)]
    grant_directories: bool,
    /// Take a version that wants more than the one before without granting it
    #[arg(long)]
    keep_grants: bool,
    /// A limit of its own, below that of settings.yaml, as memory_mib=64; may be
    /// repeated
    #[arg(long, value_name = "KEY=NUMBER")]
    limit: Vec<String>,
    /// The public key that must have signed it, checked offline
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Terms {
    fn grants(&self) -> Grants {
        Grants {
            fetch: self.grant_fetch.clone(),
            credentials: self.grant_credentials.clone(),
            directories: self.grant_directories,
        }
    }

    fn limits(&self, before: OwnLimits) -> Result<OwnLimits> {
        self.limit.iter().try_fold(before, |limits, written| limits.with(written))
    }

    /// The keys that may have signed it; none where nobody has to.
    fn keys(&self, project: &Project) -> Result<Vec<PublicKey>> {
        match &self.key {
            Some(key) => Ok(vec![signer::public(key)?]),
            None => project.settings.security.keys(&project.layout.config),
        }
    }

    /// Whether it grants anything.
    fn is_plain(&self) -> bool {
        self.grants().is_empty() && self.limit.is_empty()
    }
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

/// Bytes that may be pinned, and how they came.
struct Candidate {
    bytes: Vec<u8>,
    /// What it is called until it says its own name.
    called: String,
    /// Where they lie already, relative to the folder that holds config/.
    lies: Option<PathBuf>,
    source: Option<PinSource>,
    manifest: Option<Digest>,
    signature: Option<PinSignature>,
}

/// A runtime behind the wall, for looking at what others wrote.
struct Bench {
    runtime: Arc<Runtime>,
    executor: tokio::runtime::Runtime,
    progress: Progress,
    _attended: Attended,
}

impl Bench {
    /// Raises the wall, so it is the first thing that happens. What is written
    /// and whom it connects to is left open.
    fn set_up(project: &Project, folder: &Path, addresses: &str, ui: &Ui, variables: &Variables) -> Result<Self> {
        let wall = wall::raise_beside(project, Runs::Unknown, Some(folder), addresses, ui, variables)?;
        let attended = Attended::begin(ui)?;
        attended.gracefully(ui);
        let progress = told(ui, attended.cancellation());
        Ok(Self { runtime: runtime(project, wall, variables), executor: executor()?, progress, _attended: attended })
    }

    fn describe(&self, source: &PluginSource) -> Result<Description> {
        self.executor.block_on(self.runtime.describe(source, &self.progress))
    }

    /// Asks an address.
    fn fetch(
        &self,
        project: &Project,
        source: &PinSource,
        keys: &[PublicKey],
        expected: Option<Digest>,
        variables: &Variables,
    ) -> Result<Candidate> {
        let scratch = fs::scratch(&variables.temporary)?;
        let store = Store::open(scratch.path().join("store"))?;
        let network = Network::new(&project.settings, &project.layout.config, variables.network.clone())?;
        let wanted = Wanted { source, keys, expected, limit: COMPONENT_BYTES };
        let found = self.executor.block_on(component::fetch(&network, &store, wanted, &self.progress))?;
        let Component { bytes, manifest, signature } = found;
        let called = source.called();
        Ok(Candidate { bytes, called, lies: None, source: Some(source.clone()), manifest, signature })
    }
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
    let replace_core = args.replace_core;
    let pinned = pin(project, &bench, &name, replace_core, &args.terms, old.as_ref(), &candidate, &looked_at)?;
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
        let keys = trusted(&keys, &old)?;
        let row = match args.locked {
            true => restore(project, &bench, &name, &old, &source, variables)?,
            false => renew(project, &bench, &name, &args.terms, &old, &source, &keys, ui, variables)?,
        };
        rows.push(row);
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

/// A plugin that was signed stays signed by the same key, unless another one is
/// named.
fn trusted(keys: &[PublicKey], old: &Pin) -> Result<Vec<PublicKey>> {
    match (&old.signature, keys) {
        (Some(signature), []) => Ok(vec![signature.key()?]),
        _ => Ok(keys.to_vec()),
    }
}

#[expect(clippy::too_many_arguments, reason = "one update, described in full")]
fn renew(
    project: &Project,
    bench: &Bench,
    name: &str,
    terms: &Terms,
    old: &Pin,
    source: &PinSource,
    keys: &[PublicKey],
    ui: &Ui,
    variables: &Variables,
) -> Result<Row> {
    let candidate = bench.fetch(project, source, keys, None, variables)?;
    let looked_at = look(bench, &candidate)?;
    refuse_another(project, bench, name, old, source, &looked_at.description)?;
    let pinned = pin(project, bench, name, old.replace_core, terms, Some(old), &candidate, &looked_at)?;
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
fn restore(
    project: &Project,
    bench: &Bench,
    name: &str,
    old: &Pin,
    source: &PinSource,
    variables: &Variables,
) -> Result<Row> {
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
    // Behind the wall nothing else is written, and nothing else is ours.
    if !old.path.starts_with(FOLDER) {
        let at = shown(&project.root.join(&old.path));
        return Err(Error::configuration(format!(
            "`{name}` is pinned at `{at}`, and only what lies in plugins/ is fetched"
        ))
        .hint("bring the file back, or pin the plugin again with `plugin add --replace`"));
    }
    fs::write_atomic(&home(project, &old.path)?, &found.bytes)?;
    let (before, after) = (old.sha256, old.sha256);
    let (plugin, source) = (name.to_owned(), source.to_string());
    Ok(Row { plugin, source, changed: false, before, after, differences: Vec::new() })
}

/// A candidate, and what it says about itself.
struct LookedAt {
    source: PluginSource,
    description: Description,
    contract: Option<String>,
}

fn look(bench: &Bench, candidate: &Candidate) -> Result<LookedAt> {
    let source = PluginSource::new(&candidate.called, "unknown", candidate.bytes.clone(), Grants::default())?;
    let description = bench.describe(&source).map_err(|error| match &candidate.source {
        Some(address) => error.context(format!("what {address} gave is not used")),
        None => error,
    })?;
    Ok(LookedAt { contract: contract_of(source.bytes()), source, description })
}

/// What is pinned now.
struct Pinned {
    pin: Pin,
    /// With its grants.
    source: PluginSource,
    /// None where it takes nobody's place, or nobody knows what that one said.
    changes: Option<Vec<Change>>,
    /// Whether it takes the place of one that said something else.
    is_other: bool,
    /// What is granted in vain, and steps whose configuration does not fit.
    doubts: Vec<String>,
}

impl Pinned {
    fn say_changes(&self, ui: &Ui) {
        match &self.changes {
            None if self.is_other => ui.say("what the one before said of itself is not known any more"),
            None => {}
            Some(changes) => {
                for change in changes {
                    ui.say_all(table::wrapped("  ", &change.to_string(), ui.width()));
                }
            }
        }
    }

    fn say_doubts(&self, ui: &Ui) {
        self.doubts.iter().for_each(|doubt| ui.note(&format!("warning: {doubt}")));
    }
}

/// Decides, and writes.
#[expect(clippy::too_many_arguments, reason = "one pin, described in full")]
fn pin(
    project: &Project,
    bench: &Bench,
    name: &str,
    replace_core: bool,
    terms: &Terms,
    old: Option<&Pin>,
    candidate: &Candidate,
    looked_at: &LookedAt,
) -> Result<Pinned> {
    let before = old.map(|old| former(project, bench, name, old));
    let grants = old.map(|pin| pin.grants.clone()).unwrap_or_default().with(terms.grants());
    let source = looked_at.source.clone().granted(grants.clone())?;
    let known = before.as_ref().and_then(Option::as_ref);
    if let Some(old) = old.filter(|old| old.sha256 != source.digest && !terms.keep_grants) {
        refuse_widened(name, old, known.map(|(description, _)| description), &rights(&looked_at.description, &source))?;
    }
    let pin = Pin {
        path: candidate.lies.clone().unwrap_or_else(|| Path::new(FOLDER).join(format!("{name}.wasm"))),
        sha256: source.digest,
        version: Some(looked_at.description.version.clone()),
        source: candidate.source.as_ref().map(PinSource::to_string),
        manifest: candidate.manifest,
        signature: candidate.signature.clone(),
        limits: terms.limits(old.map(|pin| pin.limits).unwrap_or_default())?,
        replace_core,
        grants,
    };
    let changes = known.map(|(description, contract)| {
        let before = Said { description, contract: contract.as_deref() };
        difference::changes(
            before,
            Said { description: &looked_at.description, contract: looked_at.contract.as_deref() },
        )
    });
    let doubts = doubts(project, bench, name, &source, &looked_at.description)?;
    write(project, name, &pin, old, candidate)?;
    let is_other = old.is_some_and(|old| old.sha256 != pin.sha256);
    Ok(Pinned { pin, source, changes, is_other, doubts })
}

/// What the plugin said whose place is taken, and its contract; None where its
/// file is gone and nothing remembers it.
fn former(project: &Project, bench: &Bench, name: &str, old: &Pin) -> Option<(Description, Option<String>)> {
    let bytes = fs::read_optional(&project.root.join(&old.path), COMPONENT_BYTES).ok().flatten();
    let there = bytes.filter(|bytes| Digest::of(bytes) == old.sha256);
    let remembered = || bench.runtime.described(old.sha256).map(|description| (description, None));
    let Some(bytes) = there else { return remembered() };
    let version = old.version.as_deref().unwrap_or("unknown");
    let source = PluginSource::new(name, version, bytes, Grants::default()).ok()?;
    let contract = contract_of(source.bytes());
    bench.describe(&source).ok().map(|description| (description, contract))
}

/// Who has the source now may have put another plugin there, signed by the same
/// key.
fn refuse_another(
    project: &Project,
    bench: &Bench,
    name: &str,
    old: &Pin,
    source: &PinSource,
    now: &Description,
) -> Result<()> {
    let before = former(project, bench, name, old).map(|(description, _)| description.name);
    match before {
        Some(before) if before != now.name => Err(Error::configuration(format!(
            "what {source} has now calls itself `{}`, and `{name}` is a plugin that calls itself `{before}`",
            now.name
        ))
        .hint(format!("if it is meant: `opencenter-airgap plugin add {source} --name {name} --replace`"))),
        _ => Ok(()),
    }
}

/// A version that wants more than the one before gets no place before somebody
/// has read what that is.
fn refuse_widened(name: &str, old: &Pin, before: Option<&Description>, rights: &[Right]) -> Result<()> {
    let had: Vec<String> = before.iter().flat_map(|before| before.wants.iter().map(ToString::to_string)).collect();
    let more: Vec<&str> = rights
        .iter()
        .filter(|right| !right.granted && !had.contains(&right.grant))
        .map(|right| right.grant.as_str())
        .collect();
    if more.is_empty() {
        return Ok(());
    }
    let options: Vec<String> = more.iter().map(|grant| option_of(grant)).collect();
    let listed: Vec<String> = more.iter().map(|grant| format!("`{grant}`")).collect();
    let from = old.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    Err(Error::configuration(format!(
        "this version of `{name}` wants {}, which{} `{name}`{from} did not want, and which is not granted",
        listed.join(" and "),
        if before.is_some() { "" } else { ", as far as is known," },
    ))
    .hint(format!(
        "grant it with {}, if you trust the plugin so far; `--keep-grants` takes this version without it",
        options.join(" ")
    )))
}

/// The option that grants what a plugin wants.
fn option_of(grant: &str) -> String {
    match grant.strip_prefix("fetch: ") {
        Some(prefix) => format!("`--grant-fetch {}`", visible::line(prefix)),
        None => "`--grant-directories`".to_owned(),
    }
}

/// What is not wrong, and should be looked at.
fn doubts(
    project: &Project,
    bench: &Bench,
    name: &str,
    source: &PluginSource,
    description: &Description,
) -> Result<Vec<String>> {
    let granted = source.grants().cloned().unwrap_or_default();
    let unwanted = unwanted(description, &granted);
    let mut doubts: Vec<String> = unwanted
        .into_iter()
        .map(|(key, value)| format!("`{key}: {value}` is granted, and the plugin does not want it"))
        .collect();
    let runs = project.pipeline.steps.iter().filter(|step| matches!(&step.run, Runner::Plugin(run) if run == name));
    for step in runs {
        let own = if step.configuration.is_null() { serde_json::json!({}) } else { step.configuration.clone() };
        let misfits = bench.executor.block_on(bench.runtime.misfit(source, description, own, &bench.progress))?;
        doubts.extend(misfits.into_iter().map(|misfit| format!("step `{}` does not fit it: {misfit}", step.id)));
    }
    Ok(doubts)
}

/// The component first: a lock that names what is not there would end every
/// build. Where the lock can not be written the component is as it was.
fn write(project: &Project, name: &str, pin: &Pin, old: Option<&Pin>, candidate: &Candidate) -> Result<()> {
    let file = project.layout.plugins_lock();
    let source = Source::read(&file)?;
    let text = PluginsLock::with_pin(source.as_ref(), &project.root, name, pin.clone())?;
    check_signer(project, source.as_ref(), &text, name)?;
    let path = home(project, &pin.path)?;
    let before = match candidate.lies {
        Some(_) => None,
        None => Some(replace_component(&path, pin, old, &candidate.bytes)?),
    };
    let written = written::replace(&project.layout, &file, source.and_then(|source| source.digest), text.as_bytes());
    if let (Err(_), Some(before)) = (&written, before) {
        match before {
            Some(before) => fs::write_atomic(&path, &before)?,
            None => fs::remove_file(&path)?,
        }
    }
    written
}

/// Gives what lay there.
fn replace_component(path: &Path, pin: &Pin, old: Option<&Pin>, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    if let Some(kind) = fs::no_file(path) {
        return Err(Error::configuration(format!("`{}` is {kind}, and the component is to lie there", shown(path)))
            .hint("move it away, or give the plugin another name with `--name`"));
    }
    let there = fs::read_optional(path, COMPONENT_BYTES)?;
    let is_ours = old.is_some_and(|old| old.path == pin.path);
    if let Some(found) = there.as_deref().filter(|found| *found != bytes && !is_ours) {
        return Err(Error::configuration(format!(
            "`{}` is there already, with {}, and no pin of this name",
            shown(path),
            Digest::of(found)
        ))
        .hint("move it away, or give the plugin another name with `--name`"));
    }
    fs::write_atomic(path, bytes)?;
    Ok(there)
}

/// What the settings would not let run is not pinned.
fn check_signer(project: &Project, source: Option<&Source>, text: &str, name: &str) -> Result<()> {
    let shown = source.map_or_else(|| "config/plugins.lock".to_owned(), |source| source.shown.clone());
    let mut lock = PluginsLock::parse(&Source::of(shown, text.as_bytes().to_vec())?, &project.root)?;
    let security = &project.settings.security;
    if security.require_signed_plugins {
        lock.require(security.keys(&project.layout.config)?);
    }
    lock.check_signer(name)
}

/// Where a component lies, whose folder is one of the project: a link may lead
/// elsewhere.
fn home(project: &Project, path: &Path) -> Result<PathBuf> {
    let path = project.root.join(path);
    let folder = path.parent().unwrap_or(&project.root);
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(&project.root);
    check_inside(project, there)?;
    fs::create_dir_all(folder)?;
    Ok(path)
}

fn check_inside(project: &Project, folder: &Path) -> Result<()> {
    let failed = |source| Error::io("cannot read", folder, source);
    let (root, found) = (project.root.canonicalize().map_err(failed)?, folder.canonicalize().map_err(failed)?);
    match found.starts_with(&root) {
        true => Ok(()),
        false => {
            Err(Error::configuration(format!("`{}` leads out of the project, to `{}`", shown(folder), found.display()))
                .hint("put a folder in the place of the link: who carries the project carries its plugins"))
        }
    }
}

/// Where components come to lie. It is made before the wall stands, which opens
/// what is there.
fn folder(project: &Project, is_there: bool) -> Result<PathBuf> {
    let folder = project.root.join(FOLDER);
    if is_there {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    check_inside(project, &folder)?;
    Ok(folder)
}

/// A component that lies in plugins/ stays there; every other one is copied.
fn from_file(project: &Project, file: &Path, keys: &[PublicKey], expected: Option<Digest>) -> Result<Candidate> {
    let bytes = fs::read_optional(file, COMPONENT_BYTES)?.ok_or_else(|| missing(file))?;
    let digest = Digest::of(&bytes);
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        return Err(Error::integrity(format!("`{}` has {digest}, and {expected} was asked for", shown(file)))
            .hint("get the file again, or ask its author which one it is"));
    }
    let signature = if keys.is_empty() { None } else { Some(bundle_beside(file, &digest, keys)?) };
    let called = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Candidate { bytes, called, lies: inside(&project.root, file)?, source: None, manifest: None, signature })
}

fn bundle_beside(file: &Path, digest: &Digest, keys: &[PublicKey]) -> Result<PinSignature> {
    for ending in BUNDLES {
        let mut beside = file.as_os_str().to_owned();
        beside.push(ending);
        let beside = PathBuf::from(beside);
        if let Some(bundle) = fs::read_optional(&beside, pin_signature::LARGEST)? {
            return PinSignature::of_component(keys, digest, &bundle)
                .map_err(|error| error.context(format!("`{}`", shown(&beside))));
        }
    }
    let [first, second] = BUNDLES.map(|ending| format!("`{}{ending}`", shown(file)));
    Err(Error::integrity(format!("the plugin is not signed: there is neither {first} nor {second}")).hint(format!(
        "its author makes one: `cosign sign-blob --bundle {}{} …`",
        shown(file),
        BUNDLES[0]
    )))
}

/// As it is written in plugins.lock: relative to the folder that holds
/// config/, so that it is the same on every machine. None of what lies
/// elsewhere than in plugins/.
fn inside(root: &Path, file: &Path) -> Result<Option<PathBuf>> {
    let failed = |source| Error::io("cannot read", root, source);
    let root = root.canonicalize().map_err(failed)?;
    let found = file.canonicalize().map_err(|_| missing(file))?;
    let relative = found.strip_prefix(&root).ok().map(Path::to_path_buf);
    Ok(relative.filter(|path| path.starts_with(FOLDER)))
}

/// A core plugin's place is taken only by who says so.
fn check_replacement(name: &str, replace_core: bool) -> Result<()> {
    match (plugins_lock::core(name), replace_core) {
        (Some(decides), false) => Err(Error::configuration(format!(
            "`{name}` is the name of a core plugin: this one would replace it, and decide {decides}, in every build"
        ))
        .hint("`--replace-core` pins it in that place if you trust it so far; `--name` gives it another name")),
        (None, true) => Err(Error::configuration(format!("`--replace-core`: there is no core plugin `{name}`"))
            .hint("leave the option out, or name the core plugin with `--name`")),
        _ => Ok(()),
    }
}
