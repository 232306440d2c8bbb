//! Whether a clone is one that git can work with, and how one that is not is
//! made anew.
//!
//! A power loss may leave a clone with an empty HEAD, without a configuration,
//! with references or packs of no bytes: then git says that there is no
//! repository, or that a reference is broken. What such a clone still holds
//! is taken over: each pack that git can index by itself, and each pin whose
//! history is whole in those packs. The rest is fetched.

use std::collections::BTreeSet;
use std::path::Path;

use super::clone::RepositoryClone;
use base::error::{Error, Result};
use config::repository::is_commit;
use disk::fs;
use fetch::git::{Failure, Reach};

/// What git and this step put into a clone.
const OURS: &[&str] = &[
    "FETCH_HEAD",
    "HEAD",
    "branches",
    "canonical",
    "config",
    "description",
    "hooks",
    "info",
    "logs",
    "objects",
    "packed-refs",
    "refs",
    "shallow",
];
/// Where the references of this step lie.
const OUR_REFERENCES: &[&str] = &["pins", "mirror"];
const PACKED_REFS_LIMIT: u64 = 64 << 20;
const REFERENCE_LIMIT: u64 = 4096;
const LISTING_LIMIT: usize = 64 << 20;

impl RepositoryClone<'_> {
    /// Makes the clone where it is missing, anew where it is not sound, and
    /// clears what a killed git left.
    pub(super) async fn prepare(&self) -> Result<()> {
        if !self.directory.exists() {
            let fresh = self.make_fresh().await?;
            return self.put_in_place(&fresh);
        }
        if !self.directory.is_dir() {
            return check_ours(&self.directory);
        }
        self.clear_leftovers()?;
        if is_sound(self).await? {
            return Ok(());
        }
        check_ours(&self.directory)?;
        let shown = self.directory.display();
        self.progress.warn(&format!("the clone `{shown}` is not whole and is made anew from what it holds"));
        renew(self).await
    }
}

/// Whether git reads the clone and finds an object behind every reference.
///
/// # Errors
/// `interrupted`, and `local` where git does not run.
pub(super) async fn is_sound(clone: &RepositoryClone<'_>) -> Result<bool> {
    // No clone of ours is shallow: whatever says so is damage.
    if clone.directory.join("shallow").symlink_metadata().is_ok() {
        return Ok(false);
    }
    // Of a broken reference git only warns.
    if pins(&clone.directory).is_broken {
        return Ok(false);
    }
    let arguments = ["for-each-ref", "--format=%(objectname) %(objecttype)"];
    says_yes(clone, &clone.directory, &arguments).await
}

/// Refuses a folder that holds anything which is not of this tool.
///
/// # Errors
/// `local`.
pub(super) fn check_ours(directory: &Path) -> Result<()> {
    let known = |name: &str| OURS.contains(&name) || name.starts_with(".canonical.");
    let own = |name: &str| OUR_REFERENCES.contains(&name) || is_empty(&directory.join("refs").join(name));
    let is_clone = directory.is_dir() && !directory.is_symlink();
    if is_clone
        && names(directory).iter().all(|name| known(name))
        && names(&directory.join("refs")).iter().all(|n| own(n))
    {
        return Ok(());
    }
    Err(Error::local(format!("`{}` is in the way: it is not a clone of this tool", directory.display()))
        .hint("move it away, or choose another name for the repository"))
}

/// Makes the clone anew from what it holds.
///
/// # Errors
/// `local`, `disk-full`, `interrupted`: then the old one is still there.
pub(super) async fn renew(clone: &RepositoryClone<'_>) -> Result<()> {
    let fresh = clone.make_fresh().await?;
    take_over_packs(clone, &fresh).await?;
    for object in pins(&clone.directory).objects {
        let arguments = ["rev-list", "--objects", "--quiet", object.as_str(), "--"];
        if says_yes(clone, &fresh, &arguments).await? {
            clone.mark(&fresh, &object).await?;
        }
    }
    fs::sync_below(&fresh)?;
    fs::remove_dir_all(&clone.directory)?;
    clone.put_in_place(&fresh)
}

/// A pack whose bytes are not right is left behind. The index is made from the
/// pack, whatever lies there as one.
async fn take_over_packs(clone: &RepositoryClone<'_>, fresh: &Path) -> Result<()> {
    let (from, to) = (clone.directory.join("objects/pack"), fresh.join("objects/pack"));
    fs::create_dir_all(&to)?;
    for name in names(&from).iter().filter(|name| name.ends_with(".pack")) {
        let pack = to.join(name);
        fs::link_or_copy(&from.join(name), &pack)?;
        let shown = pack.display().to_string();
        if !says_yes(clone, fresh, &["index-pack", "--index-version=2", &shown]).await? {
            fs::remove_file(&pack)?;
        }
    }
    Ok(())
}

/// Whether git does this in `directory` and finds nothing wrong.
async fn says_yes(clone: &RepositoryClone<'_>, directory: &Path, arguments: &[&str]) -> Result<bool> {
    let run = clone.git.collect(clone.progress, Reach::Local, Some(directory), arguments, LISTING_LIMIT);
    match fs::made_by(directory, run).await {
        Ok(_) => Ok(true),
        Err(Failure::Refused { .. }) => Ok(false),
        Err(failure) => Err(clone.error(failure, "read the clone of")),
    }
}

/// What the clone says it holds.
struct Pins {
    objects: BTreeSet<String>,
    /// A loose reference that does not say what its name says.
    is_broken: bool,
}

/// A pin is called like its object, so a broken one still tells which it was.
fn pins(directory: &Path) -> Pins {
    let folder = directory.join("refs/pins");
    let loose: Vec<String> = names(&folder).into_iter().filter(|name| is_commit(name)).collect();
    let says =
        |name: &String| fs::read_optional(&folder.join(name), REFERENCE_LIMIT).ok().flatten().unwrap_or_default();
    let is_broken = loose.iter().any(|name| says(name).trim_ascii() != name.as_bytes());
    let packed =
        fs::read_optional(&directory.join("packed-refs"), PACKED_REFS_LIMIT).ok().flatten().unwrap_or_default();
    let packed = String::from_utf8_lossy(&packed);
    let packed = packed.lines().filter_map(|line| line.split_once(" refs/pins/")).map(|(_, name)| name.to_owned());
    Pins { objects: loose.into_iter().chain(packed.filter(|name| is_commit(name))).collect(), is_broken }
}

fn is_empty(directory: &Path) -> bool {
    directory.is_dir() && names(directory).is_empty()
}

/// Sorted; none where there is no such folder.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
