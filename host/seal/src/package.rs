//! Signs a package, as Zarf does: the bundle is over zarf.yaml, which holds the
//! digest of checksums.txt, which holds that of every other file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use archive::NewMember;
use archive::amend::{To, amend};
use archive::damage::damaged;
use archive::pieces::Buffers;
use archive::random::Archive;
use archive::survey::{self, Opened};
use base::digest::Digest;
use base::error::{Error, Result};
use base::leash::Leash;
use disk::fs;
use signing::{Bundle, PrivateKey};

use crate::definition;
use crate::members::{BUNDLE, DEFINITION, SIGNATURE};

/// What lies at the end of a package and is replaced.
const REPLACED: [&str; 3] = [BUNDLE, SIGNATURE, DEFINITION];

const LARGEST_DEFINITION: u64 = 2 << 20;
/// As Zarf's own files have it.
const MODE: u32 = 0o600;

/// How the signed package takes the place of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// At once: it is written beside it first.
    AtOnce,
    /// Nobody has it yet, and nobody will where this fails: only its end is
    /// written, where the file has no second name and can be written so.
    InPlace,
}

/// Signs the package at `path`, which has the digest `known`, and gives the
/// digest and size that it has then. Nothing but the last files is written anew,
/// and the same package and key give the same bytes. A package that is one
/// stream is unpacked into its folder on the way.
///
/// # Errors
/// `invalid-input` for what cannot be signed so; `integrity`, `local`,
/// `disk-full`, `interrupted`: then the package is as it was, unless it was
/// signed in place.
pub fn sign(path: &Path, known: Digest, key: &PrivateKey, placing: Placing, leash: Leash) -> Result<(Digest, u64)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let opened = survey::open(path, Some(folder), &Buffers::new(1))?;
    let text = definition::signed(&definition_of(path, &opened)?)?;
    let bundle = Bundle::of_message(key, &Digest::of(text.as_bytes()))?;
    let entries =
        vec![NewMember::bytes(BUNDLE, MODE, bundle.to_json()?), NewMember::bytes(DEFINITION, MODE, text.into_bytes())];
    let amended = |to| amend((path, &opened), known, to, &REPLACED, entries, leash);
    if placing == Placing::InPlace && opened.is_tight() && has_one_name(path)? {
        return amended(To::Itself);
    }
    let waiting = fs::temporary_beside(path);
    let whole = amended(To::New(&waiting))?;
    let put = fs::rename(&waiting, path).and_then(|()| fs::sync_parent(path));
    if put.is_err() {
        let _ = fs::remove_file(&waiting);
    }
    put.map(|()| whole)
}

/// What has another name as well is somebody else's file, too.
fn has_one_name(path: &Path) -> Result<bool> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::io("cannot read", path, source))?;
    Ok(metadata.nlink() == 1)
}

fn definition_of(path: &Path, opened: &Opened) -> Result<String> {
    let missing = || Error::invalid(format!("`{}` is no package: there is no `{DEFINITION}` in it", path.display()));
    let entry = opened.index.entries.iter().find(|entry| entry.path == DEFINITION).ok_or_else(missing)?;
    let archive = Archive::of(&opened.pieces, &opened.index);
    let bytes = archive.content(entry, LARGEST_DEFINITION).map_err(|source| damaged(path, source))?;
    if Digest::of(&bytes) != entry.digest {
        return Err(Error::integrity(format!(
            "`{}` is damaged: `{DEFINITION}` is not what its index says",
            path.display()
        )));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("`{DEFINITION}` is not UTF-8")))
}
