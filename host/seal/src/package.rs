//! Signs a package, as Zarf does: the bundle is over zarf.yaml, which holds the
//! digest of checksums.txt, which holds that of every other file.

use std::path::{Path, PathBuf};

use archive::Entry;
use archive::amend::amend;
use archive::pieces::Buffers;
use archive::random::{Archive, damaged};
use archive::survey::{self, Opened};
use base::digest::Digest;
use base::error::{Error, Result};
use base::leash::Leash;
use signing::{Bundle, PrivateKey};

use crate::definition;

/// The definition.
pub const DEFINITION: &str = "zarf.yaml";
/// What a signature is written to.
pub const BUNDLE: &str = "zarf.bundle.sig";
/// What Zarf before 0.71 wrote.
pub const SIGNATURE: &str = "zarf.yaml.sig";
/// What lies at the end of a package and is replaced.
const REPLACED: [&str; 3] = [BUNDLE, SIGNATURE, DEFINITION];

const LARGEST_DEFINITION: u64 = 2 << 20;
/// As Zarf's own files have it.
const MODE: u32 = 0o600;

/// Writes the package at `from`, which has the digest `known`, signed to `to`,
/// and gives the digest and size of that. Nothing but the last files is written
/// anew, and the same package and key give the same bytes. A package that is
/// one stream is unpacked into the folder `spool` on the way.
///
/// # Errors
/// `invalid-input` for what cannot be signed so; `integrity`, `local`,
/// `disk-full`, `interrupted`: then nothing is left at `to`.
pub fn sign(
    (from, known): (&Path, Digest),
    key: &PrivateKey,
    to: PathBuf,
    spool: Option<&Path>,
    leash: Leash,
) -> Result<(Digest, u64)> {
    let opened = survey::open(from, spool, &Buffers::new(1))?;
    let text = definition::signed(&definition_of(from, &opened)?)?;
    let bundle = Bundle::of_message(key, &Digest::of(text.as_bytes()))?;
    let entries =
        vec![Entry::bytes(BUNDLE, MODE, bundle.to_json()?), Entry::bytes(DEFINITION, MODE, text.into_bytes())];
    amend((from, &opened), known, to, &REPLACED, entries, leash)
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
