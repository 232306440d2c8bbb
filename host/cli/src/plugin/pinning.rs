//! What takes a place in plugins.lock, and whose: no name is taken unasked,
//! nothing gets more than before unseen, and what was signed stays signed. The
//! component is written first, and then the lock, which alone makes it run.

use std::path::Path;

use super::candidate::{Bench, Candidate, LookedAt};
use super::place::{FOLDER, home, replace_component};
use super::terms::Terms;
use crate::table;
use crate::ui::Ui;
use base::digest::Digest;
use base::error::{Error, Result};
use base::visible;
use config::pin_source::PinSource;
use config::pipeline::Runner;
use config::plugins_lock::{Pin, PluginsLock};
use config::source::Source;
use config::{Project, core_plugins, written};
use disk::fs;
use entitlement::grants::Grants;
use plugin_host::catalog::PluginSource;
use plugin_host::difference::{self, Change, Said};
use plugin_host::limits::COMPONENT_BYTES;
use plugin_host::review::{Right, own, rights, unwanted};
use plugin_host::{Description, contract_of};

/// A name in the lock, who has it, and under which terms it is given.
pub(super) struct Pinning<'a> {
    pub(super) project: &'a Project,
    pub(super) bench: &'a Bench,
    pub(super) name: &'a str,
    pub(super) replace_core: bool,
    pub(super) terms: &'a Terms,
    /// None where the name is free.
    pub(super) old: Option<&'a Pin>,
}

/// What a plugin said about itself, and the contract that it speaks.
pub(super) type Former = (Description, Option<String>);

/// What is pinned now.
pub(super) struct Pinned {
    pub(super) pin: Pin,
    /// With its grants.
    pub(super) source: PluginSource,
    /// None where it takes nobody's place, or nobody knows what that one said.
    pub(super) changes: Option<Vec<Change>>,
    /// Whether it takes the place of one that said something else.
    is_other: bool,
    /// What is granted in vain, and steps whose configuration does not fit.
    doubts: Vec<String>,
}

impl Pinned {
    pub(super) fn say_changes(&self, ui: &Ui) {
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

    pub(super) fn say_doubts(&self, ui: &Ui) {
        self.doubts.iter().for_each(|doubt| ui.note(&format!("warning: {doubt}")));
    }
}

impl Pinning<'_> {
    /// Decides, and writes.
    ///
    /// # Errors
    /// `configuration` where it may not take the place; `changed` where the lock
    /// was saved meanwhile; `local`, `disk-full`.
    pub(super) fn pin(&self, candidate: &Candidate, looked_at: &LookedAt, former: Option<&Former>) -> Result<Pinned> {
        let old = self.old;
        let pin = self.new_pin(candidate, looked_at)?;
        let source = looked_at.source.clone().granted(pin.grants.clone())?;
        if let Some(old) = old.filter(|old| old.sha256 != pin.sha256) {
            refuse_unsigned(self.name, old, &pin)?;
            if !self.terms.keep_grants {
                let before = former.map(|(description, _)| description);
                refuse_widened(self.name, old, before, &rights(&looked_at.description, &source))?;
            }
        }
        let doubts = self.doubts(&source, &looked_at.description)?;
        self.write(&pin, candidate)?;
        let changes = former.map(|former| changes(former, looked_at));
        let is_other = old.is_some_and(|old| old.sha256 != pin.sha256);
        Ok(Pinned { pin, source, changes, is_other, doubts })
    }

    fn new_pin(&self, candidate: &Candidate, looked_at: &LookedAt) -> Result<Pin> {
        let (old, terms) = (self.old, self.terms);
        Ok(Pin {
            path: candidate.lies.clone().unwrap_or_else(|| Path::new(FOLDER).join(format!("{}.wasm", self.name))),
            sha256: looked_at.source.digest,
            version: Some(looked_at.description.version.clone()),
            source: candidate.source.as_ref().map(PinSource::to_string),
            manifest: candidate.manifest,
            signature: candidate.signature.clone(),
            limits: terms.limits(old.map(|pin| pin.limits).unwrap_or_default())?,
            replace_core: self.replace_core,
            grants: old.map(|pin| pin.grants.clone()).unwrap_or_default().with(terms.grants()),
        })
    }

    /// What the plugin said whose place is taken; None where there is none, or
    /// its file is gone and nothing remembers it.
    pub(super) fn former(&self) -> Option<Former> {
        let (old, bench) = (self.old?, self.bench);
        let bytes = fs::read_optional(&self.project.root.join(&old.path), COMPONENT_BYTES).ok().flatten();
        let there = bytes.filter(|bytes| Digest::of(bytes) == old.sha256);
        let remembered = || bench.runtime.described(old.sha256).map(|description| (description, None));
        let Some(bytes) = there else { return remembered() };
        let version = old.version.as_deref().unwrap_or("unknown");
        let source = PluginSource::new(self.name, version, bytes, Grants::default()).ok()?;
        let contract = source.component().ok().and_then(|component| contract_of(&component));
        bench.describe(&source).ok().map(|description| (description, contract))
    }

    /// Who has the source now may have put another plugin there, signed by the
    /// same key.
    ///
    /// # Errors
    /// `configuration` where it calls itself something else.
    pub(super) fn refuse_another(&self, source: &PinSource, former: Option<&Former>, now: &Description) -> Result<()> {
        let name = self.name;
        match former.map(|(description, _)| &description.name) {
            Some(before) if *before != now.name => Err(Error::configuration(format!(
                "what {source} has now calls itself `{}`, and `{name}` is a plugin that calls itself `{before}`",
                now.name
            ))
            .hint(format!("if it is meant: `opencenter-airgap plugin add {source} --name {name} --replace`"))),
            _ => Ok(()),
        }
    }

    /// What is not wrong, and should be looked at.
    fn doubts(&self, source: &PluginSource, description: &Description) -> Result<Vec<String>> {
        let bench = self.bench;
        let granted = source.grants().cloned().unwrap_or_default();
        let in_vain = unwanted(description, &granted).into_iter();
        let mut doubts: Vec<String> = in_vain
            .map(|(key, value)| format!("`{key}: {value}` is granted, and the plugin does not say that it wants it"))
            .collect();
        let steps = &self.project.pipeline.steps;
        for step in steps.iter().filter(|step| matches!(&step.run, Runner::Plugin(run) if run == self.name)) {
            let misfits = bench.runtime.misfits(source, description, own(step), &bench.progress);
            let misfits = bench.executor.block_on(misfits)?;
            doubts.extend(misfits.into_iter().map(|misfit| format!("step `{}` does not fit it: {misfit}", step.id)));
        }
        Ok(doubts)
    }

    /// Where the lock can not be written the component is as it was.
    fn write(&self, pin: &Pin, candidate: &Candidate) -> Result<()> {
        let project = self.project;
        let file = project.layout.plugins_lock();
        let source = Source::read(&file)?;
        let text = PluginsLock::with_pin(source.as_ref(), &project.root, self.name, pin.clone())?;
        check_signer(project, source.as_ref(), &text, self.name)?;
        let path = home(project, &pin.path)?;
        let before = match candidate.lies {
            Some(_) => None,
            None => Some(replace_component(&path, pin, self.old, &candidate.bytes)?),
        };
        let read = source.and_then(|source| source.digest);
        let written = written::replace(&project.layout, &file, read, text.as_bytes());
        if let (Err(_), Some(before)) = (&written, before) {
            match before {
                Some(before) => fs::write_atomic(&path, &before)?,
                None => fs::remove_file(&path)?,
            }
        }
        written
    }
}

fn changes((description, contract): &Former, looked_at: &LookedAt) -> Vec<Change> {
    let before = Said { description, contract: contract.as_deref().or(looked_at.contract.as_deref()) };
    difference::changes(before, Said { description: &looked_at.description, contract: looked_at.contract.as_deref() })
}

/// What was signed gives its place to nothing that nobody vouches for.
fn refuse_unsigned(name: &str, old: &Pin, new: &Pin) -> Result<()> {
    match (&old.signature, &new.signature) {
        (Some(signature), None) => Err(Error::configuration(format!(
            "`{name}` is signed by the key {}, and of this one no signature was checked",
            signature.signer()
        ))
        .hint(
            "give the key that must have signed it with `--key`; to pin it unsigned, `plugin remove` the other first",
        )),
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

/// A core plugin's place is taken only by who says so.
///
/// # Errors
/// `configuration`.
pub(super) fn check_replacement(name: &str, replace_core: bool) -> Result<()> {
    match (core_plugins::core(name), replace_core) {
        (Some(decides), false) => Err(Error::configuration(format!(
            "`{name}` is the name of a core plugin: this one would replace it, and decide {decides}, in every build"
        ))
        .hint("`--replace-core` pins it in that place if you trust it so far; `--name` gives it another name")),
        (None, true) => Err(Error::configuration(format!("`--replace-core`: there is no core plugin `{name}`"))
            .hint("leave the option out, or name the core plugin with `--name`")),
        _ => Ok(()),
    }
}
