//! What goes into the folder.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use model::{FileEntry, FileKind, ResolvedComponents};

use super::item::{Item, Source};
use super::start_here;
use crate::orchestrator::listed;
use crate::orchestrator::outputs::tree_of;
use base::carried::START;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::shown;
use config::Project;
use config::pipeline::{HostStep, MANIFESTS, Runner};
use config::publish::Published;
use disk::fs;
use model::zarf::is_package_file;
use seal::beside::LAST_LIST;

/// Bytes of files.json and of components.resolved.json.
const LARGEST_LIST: u64 = 64 << 20;

impl Item {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match &self.source {
            Source::File { size, .. } => *size,
            Source::Text(text) => text.len() as u64,
        }
    }

    /// SHA-256 of its content, which is checked as it is copied.
    pub fn digest(&self) -> Digest {
        match &self.source {
            Source::File { digest, .. } => *digest,
            Source::Text(text) => Digest::of(text.as_bytes()),
        }
    }

    fn file(name: String, path: PathBuf, (digest, size): (Digest, u64), executable: bool) -> Self {
        Self { name, source: Source::File { path, digest, size }, executable }
    }
}

/// Everything that is carried, sorted by name. `program` is this one, and
/// `published` what the build made of its package; remarks go into `notes`.
///
/// # Errors
/// `local`, `state`; `invalid-input` where a program that the settings name is
/// none for its architecture.
pub fn of(project: &Project, published: &[Published], program: &Path, notes: &mut Vec<String>) -> Result<Vec<Item>> {
    let (mut items, package) = package(project, published)?;
    let programs = programs(project, program, notes)?;
    let carried = carried(project)?;
    let resolved = components(project)?;
    let facts = start_here::Facts::of(project, &package, &programs, &carried, &resolved);
    if facts.program.is_none() {
        let architecture = project.architecture();
        notes.push(format!(
            "no opencenter-airgap for {architecture} is carried: name one in `carry.programs` of settings.yaml"
        ));
    }
    let text = Source::Text(start_here::text(&facts));
    items.extend(programs.into_iter().map(|(_, item)| item));
    items.extend(carried);
    items.push(Item { name: START.to_owned(), source: text, executable: false });
    items.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(items)
}

/// What the build published, and what others laid beside it: signatures, lists
/// of what is in it. Also the name of the package.
fn package(project: &Project, published: &[Published]) -> Result<(Vec<Item>, String)> {
    let layout = &project.layout;
    let in_dist = published.iter().map(|one| (layout.published(&one.path), one));
    let in_dist: Vec<(PathBuf, &Published)> = in_dist.filter(|(path, _)| path.starts_with(&layout.dist)).collect();
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let package = in_dist.iter().map(|(path, _)| name(path)).find(|name| is_package_file(name)).ok_or_else(|| {
        Error::new(Class::State, "the build published no package")
            .hint("let a step with the plugin `package` publish it into dist: see config/pipeline.yaml")
    })?;
    let mut items: Vec<Item> = in_dist
        .iter()
        .map(|(path, published)| Item::file(name(path), path.clone(), (published.digest, published.size), false))
        .collect();
    let entries = layout.dist.read_dir().map_err(|source| Error::io("cannot read", &layout.dist, source))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), name(&entry.path()));
        let is_beside = [package.as_str(), LAST_LIST]
            .iter()
            .any(|of| name.strip_prefix(of).is_some_and(|rest| rest.starts_with('.')));
        if is_beside && path.is_file() && !items.iter().any(|item| item.name == name) {
            let content = fs::hashed(&path)?;
            items.push(Item::file(name, path, content, false));
        }
    }
    Ok((items, package))
}

/// This program, by architecture: the one that runs, and those that the
/// settings name.
fn programs(project: &Project, program: &Path, notes: &mut Vec<String>) -> Result<Vec<(String, Item)>> {
    let named = &project.settings.carry.programs;
    let own =
        own_architecture().filter(|own| !named.contains_key(*own)).map(|own| (own.to_owned(), program.to_owned()));
    let named = named.iter().map(|(architecture, path)| (architecture.clone(), project.layout.config.join(path)));
    let mut programs = Vec::new();
    for (architecture, path) in own.into_iter().chain(named) {
        let header = Header::read(&path)?;
        let machine = header.architecture();
        if machine != Some(architecture.as_str()) {
            let found = machine.map_or("no program for Linux".to_owned(), |found| format!("a program for {found}"));
            return Err(Error::invalid(format!("`{}` is {found}, and not for {architecture}", shown(&path)))
                .hint("correct `carry.programs` in settings.yaml"));
        }
        if header.is_dynamic {
            notes.push(format!(
                "`{}` needs the C library of the machine that it runs on: carry the one that `make dist` builds",
                shown(&path)
            ));
        }
        let name = format!("opencenter-airgap-{architecture}");
        programs.push((architecture, Item::file(name, path.clone(), fs::hashed(&path)?, true)));
    }
    Ok(programs)
}

fn own_architecture() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        _ => None,
    }
}

/// What the first bytes of a program say.
struct Header {
    machine: Option<u16>,
    /// Whether it names its interpreter in words: `#!`.
    is_script: bool,
    /// Whether it names an interpreter: the loader of a C library.
    is_dynamic: bool,
}

impl Header {
    fn read(path: &Path) -> Result<Self> {
        let mut head = Vec::new();
        let file = File::open(path).map_err(|source| Error::io("cannot read", path, source))?;
        file.take(64 << 10).read_to_end(&mut head).map_err(|source| Error::io("cannot read", path, source))?;
        Ok(Self::of(&head))
    }

    /// ELF of 64 bits, little-endian.
    fn of(head: &[u8]) -> Self {
        const INTERPRETER: u32 = 3;
        let half = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let machine = if head.starts_with(b"\x7fELF\x02\x01") { half(18) } else { None };
        let (table, size, count) = (long(32), half(54).unwrap_or(0), half(56).unwrap_or(0));
        let table = table.and_then(|table| usize::try_from(table).ok()).unwrap_or(usize::MAX / 2);
        let row = |index: u16| table.checked_add(usize::from(index) * usize::from(size));
        let is_dynamic = machine.is_some() && (0..count).any(|index| row(index).and_then(word) == Some(INTERPRETER));
        Self { machine, is_script: head.starts_with(b"#!"), is_dynamic }
    }

    fn is_program(&self) -> bool {
        self.machine.is_some() || self.is_script
    }

    fn architecture(&self) -> Option<&'static str> {
        match self.machine? {
            62 => Some("amd64"),
            183 => Some("arm64"),
            _ => None,
        }
    }
}

/// The files that are carried beside the package.
fn carried(project: &Project) -> Result<Vec<Item>> {
    let Some(id) = step(project, HostStep::Files) else { return Ok(Vec::new()) };
    let tree = tree_of(&project.layout, id)?;
    let entries: Vec<FileEntry> = read(&tree.path_of("files.json"))?;
    let carried = entries.into_iter().filter(|entry| entry.kind == FileKind::Carry);
    let item = |entry: FileEntry| {
        let path = tree.path_of(&entry.path);
        let executable = Header::read(&path)?.is_program();
        let digest = entry.sha256.parse().map_err(|error| {
            Error::new(Class::State, format!("files.json says no digest of `{}`", entry.name)).caused_by(error)
        })?;
        Ok(Item::file(entry.name, path, (digest, entry.size), executable))
    };
    carried.map(item).collect()
}

/// The step that the host runs under a name.
fn step(project: &Project, wanted: HostStep) -> Option<&str> {
    let runs = |runner: &Runner| *runner == Runner::Host(wanted);
    project.pipeline.steps.iter().find(|step| runs(&step.run)).map(|step| step.id.as_str())
}

/// What was packaged.
fn components(project: &Project) -> Result<ResolvedComponents> {
    match project.pipeline.step(MANIFESTS) {
        Some(_) => listed::components_of(&tree_of(&project.layout, MANIFESTS)?),
        None => listed::in_memory(project),
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let damaged = || {
        Error::new(Class::State, format!("`{}` is missing or damaged", shown(path)))
            .hint("run `opencenter-airgap build --verify-outputs`")
    };
    let bytes = fs::read_optional(path, LARGEST_LIST)?.ok_or_else(damaged)?;
    serde_json::from_slice(&bytes).map_err(|error| damaged().caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of 64 bits with one row in the table of segments.
    fn elf(machine: u16, segment: u32) -> Vec<u8> {
        let mut head = vec![0; 120];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[32..40].copy_from_slice(&64_u64.to_le_bytes());
        head[54..56].copy_from_slice(&56_u16.to_le_bytes());
        head[56..58].copy_from_slice(&1_u16.to_le_bytes());
        head[64..68].copy_from_slice(&segment.to_le_bytes());
        head
    }

    #[test]
    fn a_program_tells_its_machine_and_whether_it_needs_a_loader() {
        for (head, architecture, is_dynamic) in [
            (elf(62, 3), Some("amd64"), true),
            (elf(183, 1), Some("arm64"), false),
            (elf(243, 1), None, false),
            (b"#!/bin/sh\n".to_vec(), None, false),
            (elf(62, 3)[..40].to_vec(), Some("amd64"), false),
            (Vec::new(), None, false),
        ] {
            let header = Header::of(&head);
            assert_eq!((header.architecture(), header.is_dynamic), (architecture, is_dynamic), "{head:?}");
        }
        let mut far = elf(62, 3);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(!Header::of(&far).is_dynamic, "a table outside of the file");
    }
}
