//! Checks a finished package where it arrives: no network, no configuration,
//! one pass, constant memory.
//!
//! [`stream`] reads the archive on threads of its own (read and hash,
//! decompress), [`facts`] walks the tar inside and keeps what the rules need:
//! digests, sizes, names, and the few small files that describe the others.
//! [`charts`] and [`repositories`] look into what passes by. Then [`entries`],
//! [`definition`] makes a [`package`] of zarf.yaml and with [`forms`], [`components`], [`images`], [`sboms`] and [`documents`] apply the
//! rules of the format, [`signature`] says who vouches for all that, [`index`] compares what the archive says of itself,
//! and [`beside`] compares with the `.sha256` and the
//! list that lie next to the package, [`provenance`] with the statement how it was made,
//! and [`lock`] with the lock that it was built with, where that is at hand. What the list says of its [`evidence`] is
//! told. Everything that is wrong is reported, by file. [`folder`] does it for a
//! folder that is carried, with everything else in it.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use base::digest::Digest;
use base::error::{Error, Result};
use base::visible;
use config::airgap_lock::AirgapLock;
use signing::PublicKey;

pub use evidence::{Content, Weighed};
pub use folder::{FolderReport, verify_folder};
pub(crate) use lock::is_archive;
pub use provenance::Statement;
pub use signature::{Signature, State};

mod artifact_manifest;
mod beside;
pub(crate) mod charts;
pub(crate) mod components;
pub(crate) mod definition;
mod documents;
mod entries;
mod evidence;
pub(crate) mod facts;
mod folder;
pub(crate) mod forms;
pub(crate) mod images;
mod index;
mod lock;
pub(crate) mod package;
pub(crate) mod provenance;
pub(crate) mod repositories;
pub(crate) mod sboms;
pub(crate) mod signature;
pub(crate) mod stream;

/// Rules that say nothing against any file.
const UNVOUCHED: [&str; 4] = ["rewritten", "unsigned", "signature", "provenance"];
/// Problems that are listed; more are counted.
const LISTED: usize = 1000;
/// Characters of a message: it may quote a name from the package.
const MESSAGE: usize = 1000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Short and stable: `digest`, `missing`, `extra-file`.
    pub rule: &'static str,
    /// The file of the package that is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What is wrong, for people.
    pub message: String,
}

/// What was found about a file that may lie beside the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beside {
    /// There is none.
    Missing,
    /// It says the same as the package.
    Matches,
    /// It is about the archive before it was written again and signed, and of
    /// that nothing but the signature has changed.
    Rewritten,
    /// It says something else: see the problems.
    Differs,
}

/// What the package says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// `metadata.name` of zarf.yaml.
    pub name: String,
    /// `metadata.version` of zarf.yaml; empty where it names none.
    pub version: String,
    /// `metadata.architecture` of zarf.yaml: `amd64`.
    pub architecture: String,
    /// Components in it.
    pub components: usize,
    /// Different images that its components name.
    pub images: usize,
    /// Charts of all components.
    pub charts: usize,
    /// Files of all components.
    pub files: usize,
    /// Git repositories of all components.
    pub repositories: usize,
}

/// How the definition is written, and who can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// The documents of zarf.yaml in their order: `zarf.dev/v1alpha1`.
    pub documents: Vec<&'static str>,
    /// The one that the newest Zarf takes, and that was checked.
    pub checked: &'static str,
    /// The oldest release of Zarf that reads and deploys it.
    pub zarf_from: String,
    /// Whether Zarf 1.0 calls it outdated: a flag is needed from February
    /// 2027 on, and support ends in May 2027.
    pub outdated: bool,
}

/// The result of [`verify`].
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// As given.
    pub package: String,
    /// Of the archive.
    pub sha256: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// Bytes of the tar inside.
    pub unpacked: u64,
    /// Regular files in it.
    pub entries: usize,
    /// None where zarf.yaml could not be read.
    pub identity: Option<Identity>,
    /// None where zarf.yaml could not be read.
    pub definition: Option<Definition>,
    /// Of zarf.yaml, which vouches for everything else.
    pub signature: Signature,
    /// The statement beside the package, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Statement>,
    /// `<package>.sha256`.
    pub checksum_file: Beside,
    /// `<package>.manifest.json`, else artifact-manifest.json where that is about this package.
    pub artifact_manifest: Beside,
    /// On what the content rests, where a list that matches says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Weighed>,
    /// What is worth knowing and not wrong.
    pub remarks: Vec<String>,
    /// What is wrong, and the beginning of it where it is much; empty for a sound package.
    pub problems: Vec<Problem>,
    /// Problems that are not listed.
    pub unlisted: usize,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// An `integrity` error that sums up the problems; None for a sound
    /// package.
    pub fn error(&self) -> Option<Error> {
        let first = self.problems.first()?;
        let count = self.problems.len() + self.unlisted;
        if let Some(error) = self.unvouched(first) {
            return Some(error);
        }
        let message =
            format!("`{}` is damaged or incomplete: {count} problems, first: {}", self.package, first.message);
        Some(Error::integrity(message).hint("copy the package again from where it was built, and verify that copy"))
    }

    /// Of a package whose every file is what it should be.
    fn unvouched(&self, first: &Problem) -> Option<Error> {
        if !self.problems.iter().all(|problem| UNVOUCHED.contains(&problem.rule)) || self.unlisted > 0 {
            return None;
        }
        let message = format!("`{}` is whole, and nobody vouches for it: {}", self.package, first.message);
        let hint = match first.rule {
            "rewritten" => "check the signature: `verify --key` with the public key of whoever signed it",
            "unsigned" => "verify it without --key, or get the package that was signed",
            _ => "get the package, and the key, anew from whoever signed it: do not deploy this one",
        };
        Some(Error::integrity(message).hint(hint))
    }

    /// The report for people; `verbose` names what rests on first sight alone.
    pub fn render_text(&self, verbose: bool) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key:<18} {}", visible::line(value));
        };
        line("package", &self.package);
        line("sha256", &self.sha256.hex());
        line("size", &format!("{} bytes, {} unpacked, {} files", self.size, self.unpacked, self.entries));
        if let Some(identity) = &self.identity {
            let Identity { name, version, architecture, components, images, charts, files, repositories } = identity;
            line(
                "content",
                &format!(
                    "{name} {version} for {architecture}: {components} components, {images} images, {charts} charts, {files} files, {repositories} repositories"
                ),
            );
        }
        if let Some(definition) = &self.definition {
            line("definition", &definition.documents.join(" and "));
            line("zarf", &definition.readers());
        }
        line("signature", &self.signature.to_string());
        if let Some(provenance) = &self.provenance {
            line("provenance", &provenance.line());
        }
        line(".sha256", said(self.checksum_file));
        line("artifact-manifest", said(self.artifact_manifest));
        let evidence = self.evidence.iter().flat_map(|weighed| weighed.lines(verbose));
        evidence.enumerate().for_each(|(at, text)| line(if at == 0 { "first sight" } else { "" }, &text));
        for remark in &self.remarks {
            let _ = writeln!(text, "{}", visible::line(remark));
        }
        for problem in &self.problems {
            let _ = writeln!(text, "✗ {}: {}", problem.rule, visible::line(&problem.message));
        }
        if self.unlisted > 0 {
            let _ = writeln!(text, "✗ and {} more", self.unlisted);
        }
        text.push_str(if self.is_sound() { "✓ sound and complete\n" } else { "✗ do not deploy this package\n" });
        text
    }
}

fn said(beside: Beside) -> &'static str {
    match beside {
        Beside::Missing => "not there",
        Beside::Matches => "matches",
        Beside::Rewritten => "of the archive before it was signed",
        Beside::Differs => "differs",
    }
}

/// Collects problems, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    listed: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// The first, in full.
    pub(crate) fn first(&self) -> Option<&str> {
        self.listed.first().map(|problem| problem.message.as_str())
    }

    /// Whether this file has not the bytes that checksums.txt says.
    fn is_damaged(&self, file: &str) -> bool {
        self.listed.iter().any(|problem| problem.rule == "digest" && problem.file.as_deref() == Some(file))
    }

    fn add(&mut self, rule: &'static str, message: impl Into<String>) {
        self.push(Problem { rule, file: None, message: message.into() });
    }

    /// `message` continues the name of the file.
    fn add_for(&mut self, rule: &'static str, file: &str, message: impl AsRef<str>) {
        let shown = file.escape_debug();
        self.push(Problem { rule, file: Some(shown.to_string()), message: format!("`{shown}` {}", message.as_ref()) });
    }

    fn push(&mut self, mut problem: Problem) {
        if self.listed.len() >= LISTED {
            self.unlisted += 1;
            return;
        }
        for text in [Some(&mut problem.message), problem.file.as_mut()].into_iter().flatten() {
            if let Some((end, _)) = text.char_indices().nth(MESSAGE) {
                text.truncate(end);
                text.push('…');
                text.shrink_to_fit();
            }
        }
        self.listed.push(problem);
    }

    fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }
}

/// Checks the package at `path`, or the one that comes through the standard
/// input where that is `-`. A package out of a pipe has nothing beside it.
///
/// # Errors
/// Only where the file itself can not be read: what is wrong with the package
/// is in the report.
pub fn verify(path: &Path) -> Result<Report> {
    verify_with(path, &Against::default())
}

/// What a package is compared with, beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// The lock that it was built with.
    pub lock: Option<&'a AirgapLock>,
    /// Of whoever must have signed it.
    pub key: Option<&'a PublicKey>,
}

/// The same, compared with what is at hand.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(path: &Path, against: &Against<'_>) -> Result<Report> {
    let Against { lock, key } = *against;
    let mut problems = Problems::default();
    let mut remarks = Vec::new();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let source = stream::Source::open(path)?;
    let is_file = source.is_file;
    let (whole, content, seen) = stream::read(source)?;
    let (mut facts, unpacked) = facts::collect(content, &mut problems);
    let (sha256, size) = whole.finish()?;
    let frames = seen.take();

    let package = definition::read(&facts, &mut problems);
    entries::check(&facts, package.as_ref(), &mut problems);
    let definition = package.as_ref().map(|package| forms::readers(package, &facts));
    remarks.extend(package.iter().flat_map(forms::remarks));
    let identity = package.as_ref().map(|package| {
        components::check(&mut facts, package, &mut problems);
        images::check(&facts, package, &mut problems);
        documents::check(&facts, package, &mut problems);
        sboms::check(&facts, package, &mut problems);
        remarks.extend(sboms::remark(&facts, package));
        package.identity(&facts)
    });
    if frames.are_damaged && problems.count() == 0 {
        problems.add_for(
            "digest",
            "zarf.yaml",
            "is damaged: the checksum of its part of the archive is wrong, and every other file is sound",
        );
    }
    index::check(&frames, &facts, &mut problems);
    let signature =
        package.as_ref().map(|package| signature::check(&facts, package, key, &mut problems)).unwrap_or_default();
    let beside::Found { checksum_file, artifact_manifest, evidence, provenance } = match is_file {
        true => {
            check_name(&name, &mut problems);
            let whole = beside::Whole { path, name: &name, sha256, size };
            let known = beside::Known { facts: &facts, package: package.as_ref(), signature: &signature };
            beside::check(&whole, &known, against, &mut problems, &mut remarks)?
        }
        false => beside::Found::default(),
    };
    if lock.is_some() && artifact_manifest == Beside::Missing {
        let message = "no list about this package, `<package>.manifest.json`, lies beside it, so nothing was compared with the lock";
        problems.add("lock", message);
    }
    Ok(Report {
        package: path.display().to_string(),
        sha256,
        size,
        unpacked,
        entries: facts.files.len(),
        identity,
        definition,
        signature,
        provenance,
        checksum_file,
        artifact_manifest,
        evidence,
        remarks,
        problems: problems.listed,
        unlisted: problems.unlisted,
    })
}

/// Zarf takes a package, and chooses how to read it, by the end of its name.
fn check_name(name: &str, problems: &mut Problems) {
    if !name.ends_with(".tar.zst") && !name.ends_with(".tar") {
        problems.add("name", "the name ends in neither `.tar.zst` nor `.tar`: zarf would not take it for a package");
    }
}

#[cfg(test)]
mod tests;
