//! The folder that is carried: a finished package with all that is needed to use
//! it where there is nothing.
//!
//! 1. [`check`] looks at the folder before anything is built: it is a place to
//!    write to, and holds nothing of anybody else.
//! 2. [`items::of`] tells what goes into it: what the build published, this
//!    program, the files that are carried beside the package, and
//!    [`start_here`].
//! 3. [`fill`] copies what is not there yet. The folder says that it is not
//!    complete before the first byte changes, and its list is written when
//!    everything is there ([`base::carried`]). A file is copied under another
//!    name and compared with its digest on the way; what a
//!    stopped copy left goes on from there ([`place`]).
//!
//! Only what every file system can do is asked of this one: no links, no modes
//! that have to stay, no second letter case.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::Serialize;

use base::carried::{LARGEST_SUMS, SUMS, Sum, UNFINISHED, is_name, is_of_the_disk, parse, partial, text};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::{Layout, shown};
use base::progress::Progress;
use disk::fs;

mod item;
pub mod items;
mod place;
mod start_here;
#[cfg(test)]
mod tests;

pub use item::{Item, Source};

/// What [`UNFINISHED`] says.
const NOTE: &str = "This folder is not complete: it is being filled, or filling it was interrupted.\n\
    Run the same `opencenter-airgap build --carry` again to go on.\n";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// As the user named it.
    pub folder: String,
    /// How many files its list, `SHA256SUMS`, names.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes that were written now.
    pub copied: u64,
}

/// Looks at the folder, which need not be there.
///
/// # Errors
/// `usage` where it lies in a folder of the project, or holds what no carried
/// folder holds; `local` where nothing can be written.
pub fn check(folder: &Path, layout: &Layout) -> Result<()> {
    let whole = absolute(folder);
    for (own, name) in [(&layout.config, "configuration"), (&layout.build, "build"), (&layout.dist, "packages")] {
        let own = absolute(own);
        if whole.starts_with(&own) || own.starts_with(&whole) {
            let message = format!("`{}` and the folder of the {name} lie in each other", shown(folder));
            return Err(Error::new(Class::Usage, message).hint("carry into a folder of its own, or onto another disk"));
        }
    }
    if folder.exists() && !folder.is_dir() {
        return Err(Error::new(Class::Usage, format!("`{}` is not a folder", shown(folder)))
            .hint("name a folder that is empty, or is not there yet"));
    }
    fs::check_writable(folder).map_err(|error| error.hint("mount it so that it can be written, or choose another"))?;
    let known = known(folder)?;
    let foreign: Vec<String> = names(folder)?.into_iter().filter(|name| !known.contains(name)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = foreign.iter().take(LISTED).map(|name| format!("`{}`", name.escape_debug())).collect();
    let more = if foreign.len() > LISTED { ", …" } else { "" };
    let message = format!("`{}` holds what was not put there: {}{more}", shown(folder), listed.join(", "));
    Err(Error::new(Class::Usage, message).hint("choose an empty folder, or one that an earlier `build --carry` filled"))
}

/// Names that a message lists.
const LISTED: usize = 5;

/// As far as it is there, with links followed.
fn absolute(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = whole.ancestors().find_map(|above| Some((above.canonicalize().ok()?, whole.strip_prefix(above).ok()?)));
    there.map(|(above, rest)| above.join(rest)).unwrap_or(whole)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let names = if folder.exists() { fs::names(folder)? } else { BTreeSet::new() };
    Ok(names.into_iter().filter(|name| !is_of_the_disk(name)).collect())
}

/// What an earlier filling may have left: what its list names, or, where it was
/// stopped, what [`UNFINISHED`] names, and parts of those.
fn known(folder: &Path) -> Result<BTreeSet<String>> {
    let listed = |name: &str| -> Result<Vec<String>> {
        let bytes = fs::read_optional(&folder.join(name), LARGEST_SUMS)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let rows = text.strip_prefix(NOTE).unwrap_or(&text);
        Ok(parse(rows).unwrap_or_default().into_iter().map(|sum| sum.name).collect())
    };
    let mut known = BTreeSet::new();
    for name in listed(SUMS)?.into_iter().chain(listed(UNFINISHED)?) {
        known.insert(partial(&name));
        known.insert(name);
    }
    for own in [SUMS, UNFINISHED] {
        known.insert(own.to_owned());
        let temporary = fs::temporary_beside(Path::new(own));
        known.insert(temporary.display().to_string());
    }
    Ok(known)
}

/// Fills the folder. `hash` compares what is there already with its digest and
/// not with its size alone.
///
/// # Errors
/// As [`check`]; `held` where another process fills it; `disk-full` before
/// anything is written, or where the disk ends after all; `integrity` where a
/// source is not what was built any more; `interrupted`: what is there is kept,
/// and the folder says that it is not complete.
pub fn fill(folder: &Path, layout: &Layout, items: &[Item], hash: bool, progress: &Progress) -> Result<Filled> {
    check(folder, layout)?;
    fs::create_dir_all_durable(folder)?;
    let _lock = lock(folder)?;
    let sums = sums(items)?;
    let list = text(&sums);
    let bytes = items.iter().map(Item::size).fold(0, u64::saturating_add);
    let filled = |copied| Filled { folder: folder.display().to_string(), files: items.len(), bytes, copied };
    if !hash && is_complete(folder, items, &list)? {
        return Ok(filled(0));
    }
    // The old list still names what may have to go.
    let before = known(folder)?;
    room(folder, items, &before)?;
    begin(folder, &list, &before)?;
    fs::checkpoint("carry-begun");
    fs::remove_file(&folder.join(SUMS))?;
    fs::sync_dir(folder)?;
    remove_others(folder, &before, items)?;
    let mut copied = 0;
    for (at, item) in items.iter().enumerate() {
        progress.items(at as u64, Some(items.len() as u64), "files", &item.name);
        copied += place::item(folder, item, progress)?;
        fs::checkpoint("carry-placed");
    }
    progress.items(items.len() as u64, Some(items.len() as u64), "files", "");
    fs::sync_dir(folder)?;
    fs::write_atomic(&folder.join(SUMS), list.as_bytes())?;
    fs::checkpoint("carry-listed");
    fs::remove_file(&folder.join(UNFINISHED))?;
    fs::sync_dir(folder)?;
    Ok(filled(copied))
}

/// Says that the folder is not complete, and what may lie in it until it is.
fn begin(folder: &Path, list: &str, before: &BTreeSet<String>) -> Result<()> {
    let wanted: BTreeSet<String> = parse(list)?.into_iter().map(|sum| sum.name).collect();
    let old = before.iter().filter(|name| is_name(name) && !wanted.contains(*name));
    // Of those only the names count.
    let old: Vec<Sum> = old.map(|name| Sum { name: name.clone(), digest: Digest::of(b"") }).collect();
    fs::write_atomic(&folder.join(UNFINISHED), format!("{NOTE}{list}{}", text(&old)).as_bytes())
}

fn sums(items: &[Item]) -> Result<Vec<Sum>> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for Item { name, .. } in items {
        if !is_name(name) {
            return Err(Error::configuration(format!(
                "`{}` is no name for a file that is carried",
                name.escape_debug()
            ))
            .hint("use letters, digits, `.`, `_`, `+` and `-`, and begin with a letter or a digit"));
        }
        if let Some(other) = seen.insert(name.to_ascii_lowercase(), name) {
            return Err(Error::configuration(format!("two files that are carried are called `{other}` and `{name}`"))
                .hint("rename one of them in components.yaml or in `carry` of settings.yaml"));
        }
    }
    Ok(items.iter().map(|item| Sum { name: item.name.clone(), digest: item.digest() }).collect())
}

/// One process fills a folder.
fn lock(folder: &Path) -> Result<File> {
    let file = File::open(folder).map_err(|source| Error::io("cannot open", folder, source))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let message = format!("another process is filling `{}`", shown(folder));
            Err(Error::new(Class::Held, message).hint("wait for it to end"))
        }
        // A file system without locks has none to wait for.
        _ => Ok(file),
    }
}

fn is_complete(folder: &Path, items: &[Item], list: &str) -> Result<bool> {
    let there = fs::read_optional(&folder.join(SUMS), LARGEST_SUMS)?;
    let has_size = |item: &Item| {
        let found = folder.join(&item.name).symlink_metadata();
        found.is_ok_and(|found| found.is_file() && found.len() == item.size())
    };
    Ok(there.as_deref() == Some(list.as_bytes()) && !folder.join(UNFINISHED).exists() && items.iter().all(has_size))
}

/// What an earlier package had and this one has not.
fn remove_others(folder: &Path, before: &BTreeSet<String>, items: &[Item]) -> Result<()> {
    let others = before.iter().filter(|name| *name != UNFINISHED && !is_wanted(items, name));
    others.into_iter().try_for_each(|name| fs::remove_file(&folder.join(name)))
}

fn is_wanted(items: &[Item], name: &str) -> bool {
    items.iter().any(|item| item.name == name || partial(&item.name) == name)
}

/// Whether the disk has room for what is not there yet, once what is there of an
/// earlier package is gone.
fn room(folder: &Path, items: &[Item], before: &BTreeSet<String>) -> Result<()> {
    let there = |name: &str| folder.join(name).symlink_metadata().map_or(0, |found| found.len());
    let missing = |item: &Item| {
        let found = there(&item.name).max(there(&partial(&item.name)));
        item.size().saturating_sub(found)
    };
    let needed = items.iter().map(missing).fold(0, u64::saturating_add);
    let others = before.iter().filter(|name| !is_wanted(items, name));
    let freed = others.map(|name| there(name)).fold(0, u64::saturating_add);
    let free = rustix::fs::statvfs(folder)
        .map(|found| found.f_bavail.saturating_mul(found.f_frsize).saturating_add(freed))
        .map_err(|source| Error::io("cannot ask for the room in", folder, source.into()))?;
    if needed <= free {
        return Ok(());
    }
    let size = base::progress::text::bytes;
    let message =
        format!("`{}` needs {} more ({needed} bytes) and has {} free", shown(folder), size(needed), size(free));
    Err(Error::new(Class::DiskFull, message).hint("free some space on it, or carry onto a larger disk"))
}
