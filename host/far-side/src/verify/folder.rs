//! The folder that is carried: every file that its list names, and nothing else,
//! each with its digest, and each package in it as a package.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::{Against, Problems, Report, verify_with};
use base::carried::{LARGEST_SUMS, SUMS, Sum, UNFINISHED, is_of_the_disk, parse};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::progress::text::bytes as size;
use base::visible;
use disk::fs;
use model::zarf::is_package_file;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct FolderReport {
    /// As given.
    pub folder: String,
    /// Files that the list names.
    pub files: usize,
    /// Bytes of those that are there.
    pub bytes: u64,
    /// What is wrong with the folder itself.
    pub problems: Vec<super::Problem>,
    /// Each package that the list names and that can be read.
    pub packages: Vec<Report>,
}

impl FolderReport {
    /// Whether nothing is wrong with the folder and with each package in it.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.packages.iter().all(Report::is_sound)
    }

    /// The report for people; `verbose` as for a package.
    pub fn render_text(&self, verbose: bool) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            let _ = writeln!(text, "✗ {}: {}", problem.rule, visible::line(&problem.message));
        }
        let folder = visible::line(&self.folder);
        let of_files = format!("{} files, {}", self.files, size(self.bytes));
        let _ = match self.problems.is_empty() {
            true => writeln!(text, "✓ {folder}: {of_files}, all as {SUMS} says, and nothing else"),
            false => writeln!(text, "✗ {folder}: do not use this folder"),
        };
        for package in &self.packages {
            text.push('\n');
            text.push_str(&package.render_text(verbose));
        }
        text
    }

    /// All problems as one error.
    pub fn error(&self) -> Option<Error> {
        let lines: Vec<&str> = self.problems.iter().map(|problem| problem.message.as_str()).collect();
        match (lines.is_empty(), self.packages.iter().find_map(Report::error)) {
            (true, error) => error,
            (false, _) => Some(
                Error::integrity(format!("`{}` is not sound: {}", self.folder, lines.join("; ")))
                    .hint("copy the folder again, and verify the copy"),
            ),
        }
    }
}

/// Checks a folder that `build --carry` filled.
///
/// # Errors
/// `not-found` where it has no list and is none; `local` where it cannot be
/// read.
pub fn verify_folder(folder: &Path, against: &Against<'_>) -> Result<FolderReport> {
    let list = fs::read_optional(&folder.join(SUMS), LARGEST_SUMS)?;
    let mut problems = Problems::default();
    let mut names = fs::names(folder)?;
    names.retain(|name| !is_of_the_disk(name));
    if names.contains(UNFINISHED) {
        problems.add_for("unfinished", UNFINISHED, "says that the folder was never completed: carry it again");
    }
    let sums = match &list {
        Some(list) => parse(&String::from_utf8_lossy(list))
            .map_err(|error| error.hint("it is not what `build --carry` wrote: carry the folder again")),
        None if problems.count() > 0 => Ok(Vec::new()),
        None => Err(Error::new(Class::NotFound, format!("there is no {SUMS} in `{}`", folder.display()))
            .hint("name a package, or a folder that `build --carry` filled")),
    }?;
    let mut report = FolderReport {
        folder: folder.display().to_string(),
        files: sums.len(),
        bytes: 0,
        problems: Vec::new(),
        packages: Vec::new(),
    };
    for sum in &sums {
        report.check(folder, sum, against, &mut problems)?;
    }
    if list.is_some() {
        nothing_else(&sums, &names, &mut problems);
    }
    report.problems = problems.listed;
    Ok(report)
}

impl FolderReport {
    fn check(&mut self, folder: &Path, sum: &Sum, against: &Against<'_>, problems: &mut Problems) -> Result<()> {
        let Sum { name, digest } = sum;
        let path = folder.join(name);
        if !path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            problems.add_for("missing", name, format!("is not there, and {SUMS} names it"));
            return Ok(());
        }
        if is_package_file(name) {
            // Read once: its report has the digest of the file.
            let report = verify_with(&path, against)?;
            self.bytes += report.size;
            compare(name, *digest, report.sha256, problems);
            self.packages.push(report);
            return Ok(());
        }
        let (found, size) = fs::hashed(&path)?;
        self.bytes += size;
        compare(name, *digest, found, problems);
        Ok(())
    }
}

fn compare(name: &str, wanted: Digest, found: Digest, problems: &mut Problems) {
    if wanted != found {
        problems.add_for("digest", name, format!("is damaged: its sha256 is {}", found.hex()));
    }
}

fn nothing_else(sums: &[Sum], names: &BTreeSet<String>, problems: &mut Problems) {
    let known = |name: &String| [SUMS, UNFINISHED].contains(&name.as_str()) || sums.iter().any(|sum| sum.name == *name);
    for name in names.iter().filter(|name| !known(name)) {
        problems.add_for("extra-file", name, format!("is in the folder, and {SUMS} does not name it"));
    }
}
