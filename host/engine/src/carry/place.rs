//! One file into the folder: copied beside its place, whole or to be gone on
//! with.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use base::carried::partial;
use base::digest::{Digest, Hasher};
use base::error::{Class, Error, Result};
use base::layout::shown;
use base::progress::Progress;
use disk::fs;

use super::{Item, Source};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Puts the file there unless it is; returns how many bytes were written.
///
/// # Errors
/// As [`super::fill`].
pub(super) fn item(folder: &Path, item: &Item, progress: &Progress) -> Result<u64> {
    let to = folder.join(&item.name);
    if is_there(&to, item, progress)? {
        // What an earlier copy of another content left.
        fs::remove_file(&folder.join(partial(&item.name)))?;
        return Ok(0);
    }
    // Of another content: the list that named it is gone, and its room is wanted.
    fs::remove_file(&to)?;
    let waiting = folder.join(partial(&item.name));
    let written = match &item.source {
        Source::Text(text) => {
            fs::write_new(&waiting, text.as_bytes())?;
            text.len() as u64
        }
        Source::File { path, digest, .. } => {
            let (found, written) = copy(path, &waiting, progress).map_err(|error| too_large(error, item))?;
            if found != *digest {
                fs::remove_file(&waiting)?;
                let message = format!("`{}` is {found}, and was {digest} when it was made", shown(path));
                return Err(
                    Error::integrity(message).hint("run `opencenter-airgap build --verify-outputs`, then again")
                );
            }
            written
        }
    };
    // Where modes are kept; a file system that has none gives all files the
    // rights of the mount.
    let _ = fs::set_mode(&waiting, if item.executable { 0o755 } else { 0o644 });
    fs::rename(&waiting, &to)?;
    Ok(written)
}

/// Whether it is there with its whole content: a stopped run may have left it,
/// or another package.
fn is_there(path: &Path, item: &Item, progress: &Progress) -> Result<bool> {
    let found = path.symlink_metadata();
    if !found.is_ok_and(|found| found.is_file() && found.len() == item.size()) {
        return Ok(false);
    }
    let mut file = File::open(path).map_err(|source| Error::io("cannot read", path, source))?;
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE];
    loop {
        progress.check()?;
        match file.read(&mut piece).map_err(|source| Error::io("cannot read", path, source))? {
            0 => return Ok(hasher.finish() == item.digest()),
            length => hasher.update(&piece[..length]),
        }
    }
}

/// Copies, from where a stopped copy got to; returns the digest of the whole,
/// and the bytes that were written.
fn copy(from: &Path, to: &Path, progress: &Progress) -> Result<(Digest, u64)> {
    let mut source = File::open(from).map_err(|source| Error::io("cannot read", from, source))?;
    let mut target = fs::open_rw(to)?;
    let mut behind = fs::Behind::default();
    let mut hasher = Hasher::new();
    let (mut piece, mut there) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut at, mut written, mut is_behind) = (0_u64, 0_u64, true);
    loop {
        progress.check()?;
        let length = whole(&mut source, &mut piece).map_err(|source| Error::io("cannot read", from, source))?;
        if length == 0 {
            break;
        }
        let bytes = &piece[..length];
        hasher.update(bytes);
        if is_behind {
            let found =
                whole(&mut target, &mut there[..length]).map_err(|source| Error::io("cannot read", to, source))?;
            is_behind = found == length && there[..length] == *bytes;
            if !is_behind {
                // From here on it was cut off, or is of another content.
                let seek = target.seek(SeekFrom::Start(at));
                seek.map_err(|source| Error::io("cannot read", to, source))?;
            }
        }
        if !is_behind {
            behind.write_all(&mut target, to, bytes)?;
            written += length as u64;
        }
        at += length as u64;
    }
    // Not every file system cuts files off, so only what has to be is.
    if target.metadata().is_ok_and(|found| found.len() > at) {
        fs::truncate(&target, to, at)?;
    }
    fs::sync(&target, to)?;
    Ok((hasher.finish(), written))
}

/// Reads until the piece is full or the file ends.
fn whole(file: &mut File, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match file.read(&mut piece[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// FAT32 takes no file of 4 GiB.
fn too_large(error: Error, item: &Item) -> Error {
    use std::error::Error as _;
    let cause = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    let is_too_large =
        error.class() == Class::Local && cause.is_some_and(|cause| cause.kind() == ErrorKind::FileTooLarge);
    if !is_too_large {
        return error;
    }
    error.hint(format!(
        "its file system takes no file of {}: FAT32 ends at 4 GiB; format the disk with exFAT or ext4",
        base::progress::text::bytes(item.size())
    ))
}
