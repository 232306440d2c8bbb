//! The packaged form of a repository: `.git` with HEAD, config, one pack and
//! the references, and nothing else.
//!
//! The pack is canonical: its objects are listed by a walk from the pin in a
//! fixed order, and deltas are searched anew by one thread with fixed
//! parameters, so the bytes depend on the pin and on the version of git, not
//! on how the clone came to hold the objects. That costs time in proportion
//! to the history, so the result is kept in the clone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::clone::RepositoryClone;
use super::pin::Pin;
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use disk::fs;
use disk::tree::{TreeBuilder, check_path};
use fetch::git::Reach;

/// Where the canonical pack of a clone lies.
const FOLDER: &str = "canonical";
const NOTE: &str = "pack.json";
/// Of the way packs are made here: a change makes kept ones anew.
const RECIPE: u32 = 1;

/// What the kept pack was made from, and what must be there.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    recipe: u32,
    git: String,
    objects: Vec<String>,
    files: Vec<PackFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackFile {
    /// `pack-<hash>.pack`.
    name: String,
    digest: Digest,
    pub size: u64,
}

/// The canonical pack of `pin` and its index.
pub(super) async fn canonical(clone: &RepositoryClone<'_>, pin: &Pin) -> Result<Vec<PackFile>> {
    let folder = clone.directory.join(FOLDER);
    if let Some(files) = kept(clone, pin, &folder).await? {
        return Ok(files);
    }
    let fresh = fs::temporary_beside(&folder);
    fs::remove_dir_all(&folder)?;
    fs::remove_dir_all(&fresh)?;
    fs::create_dir_all(&fresh)?;
    pack_objects(clone, pin, &fresh).await?;
    let files = files_of(&fresh).await?;
    let note =
        Note { recipe: RECIPE, git: clone.git.version().to_owned(), objects: objects(pin), files: files.clone() };
    fs::write_atomic(&fresh.join(NOTE), &serde_json::to_vec_pretty(&note).unwrap_or_default())?;
    // The tree gets second names of these very files.
    fs::sync_below(&fresh)?;
    fs::rename(&fresh, &folder)?;
    fs::checkpoint("repository-packed");
    fs::sync_dir(&clone.directory)?;
    Ok(files)
}

/// The pack of an earlier run, where it is what it says it is.
async fn kept(clone: &RepositoryClone<'_>, pin: &Pin, folder: &Path) -> Result<Option<Vec<PackFile>>> {
    let Some(bytes) = fs::read_optional(&folder.join(NOTE), 1 << 20)? else { return Ok(None) };
    let Ok(note) = serde_json::from_slice::<Note>(&bytes) else { return Ok(None) };
    let same = note.recipe == RECIPE && note.git == clone.git.version() && note.objects == objects(pin);
    if !same || files_of(folder).await? != note.files {
        return Ok(None);
    }
    Ok(Some(note.files))
}

fn objects(pin: &Pin) -> Vec<String> {
    pin.objects().into_iter().map(str::to_owned).collect()
}

async fn pack_objects(clone: &RepositoryClone<'_>, pin: &Pin, folder: &Path) -> Result<()> {
    let base = folder.join("pack").display().to_string();
    let arguments = [
        "pack-objects",
        "--revs",
        "--quiet",
        "--threads=1",
        "--no-reuse-delta",
        "--no-reuse-object",
        "--no-use-bitmap-index",
        "--window=10",
        "--depth=50",
        "--delta-base-offset",
        "--index-version=2",
        &base,
    ];
    let tips = pin.objects().join("\n") + "\n";
    let mut ignore = |_: &[u8]| {};
    let directory = Some(clone.directory.as_path());
    let packed = clone.git.stream(clone.progress, Reach::Local, directory, &arguments, tips.as_bytes(), &mut ignore);
    fs::made_by(folder, packed).await.map_err(|failure| clone.error(failure, "pack"))
}

/// The pack files of a folder with their digests, sorted by name.
async fn files_of(folder: &Path) -> Result<Vec<PackFile>> {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let entries = std::fs::read_dir(&folder).map_err(|source| Error::io("cannot read", &folder, source))?;
        let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        names.retain(|path| path.extension().is_some_and(|extension| extension == "pack" || extension == "idx"));
        names.sort();
        names.iter().map(|path| file_of(path)).collect::<Result<Vec<_>>>()
    });
    read.await.map_err(|error| Error::local("the task that reads a pack ended").caused_by(error))?
}

fn file_of(path: &Path) -> Result<PackFile> {
    // git writes packs read-only; the tree's files are plain ones.
    fs::set_mode(path, 0o644)?;
    let mut hasher = Hasher::new();
    let size = std::fs::File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hasher))
        .map_err(|source| Error::io("cannot read", path, source))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(PackFile { name, digest: hasher.finish(), size })
}

/// Puts `.git` into the step's tree.
pub(super) fn emit(clone: &RepositoryClone<'_>, pin: &Pin, files: &[PackFile], output: &TreeBuilder) -> Result<()> {
    let git = format!("{}/.git", clone.source.folder);
    let (references, head) = pin.packaged();
    for reference in references.keys() {
        check_path(&format!("{git}/{reference}")).map_err(|error| {
            error.context(format!("`{reference}` of repository `{}` cannot lie in a Zarf package", clone.source.name))
        })?;
    }
    for file in files {
        let path = format!("{git}/objects/pack/{}", file.name);
        output.link(&clone.directory.join(FOLDER).join(&file.name), file.digest, file.size, &path, false)?;
    }
    for (reference, object) in &references {
        output.write(&format!("{git}/{reference}"), format!("{object}\n").as_bytes(), false)?;
    }
    output.write(&format!("{git}/HEAD"), format!("ref: {head}\n").as_bytes(), false)?;
    output.write(&format!("{git}/config"), config(&clone.source.url).as_bytes(), false)?;
    Ok(())
}

/// Zarf reads the source from the remote `online-upstream`.
fn config(url: &str) -> String {
    format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
         [remote \"online-upstream\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/online-upstream/*\n",
        quoted(url)
    )
}

/// `#` and `;` begin comments in git's configuration.
fn quoted(url: &str) -> String {
    if url.contains(['#', ';', '"', '\\']) {
        format!("\"{}\"", url.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        url.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_source() {
        assert!(config("https://h/a.git").contains("\turl = https://h/a.git\n"));
        assert_eq!(quoted("https://h/#a\"b"), "\"https://h/#a\\\"b\"");
    }
}
