//! Takes the SBOMs out of a package, into a folder.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::verify::facts::SBOMS;
use crate::verify::stream;
use archive::damage::damaged;
use archive::random::Archive;
use archive::reader::{EntryKind, TarReader};
use base::digest::{Digest, Hasher};
use base::error::{Class, Error, Result};
use disk::fs;
use disk::tree::check_path;

/// Bytes of one document, and of all of them. One of an image has some MiB.
const LARGEST: u64 = 256 << 20;
/// What lists the digests of a package, and bytes of it.
const CHECKSUMS: &str = "checksums.txt";
const LARGEST_LIST: u64 = 64 << 20;
const MOST: u64 = 64 << 30;

/// Writes the documents into `folder` and gives their names, sorted. A file of
/// the same name is replaced, nothing else is touched. Nothing is written before
/// all of it was compared with the digest that the package has for it.
///
/// # Errors
/// `not-found` where the package carries none, `integrity` where it is damaged,
/// `local`.
pub fn take_out(package: &Path, folder: &Path) -> Result<Vec<String>> {
    let broken = |error| damaged(package, error);
    if let Some(archive) = Archive::open(package)? {
        let entry = archive.index().entries.iter().find(|entry| entry.path == SBOMS).cloned();
        let entry = entry.ok_or_else(|| none(package))?;
        let found = digest_of(&mut archive.reader(&entry).map_err(broken)?).map_err(broken)?;
        if found != entry.digest {
            return Err(changed(package));
        }
        return write(BufReader::new(archive.reader(&entry).map_err(broken)?), package, folder);
    }
    check_stream(package)?;
    in_stream(package, |path, reader| match path {
        SBOMS => write(BufReader::new(reader), package, folder).map(Some),
        _ => Ok(None),
    })?
    .ok_or_else(|| none(package))
}

/// A package that is one stream lists the digest of it.
fn check_stream(package: &Path) -> Result<()> {
    let broken = |error| damaged(package, error);
    let (mut found, mut list) = (None, String::new());
    in_stream(package, |path, mut reader| {
        match path {
            SBOMS => found = Some(digest_of(&mut reader).map_err(broken)?),
            CHECKSUMS => drop(reader.take(LARGEST_LIST).read_to_string(&mut list).map_err(broken)?),
            _ => {}
        }
        Ok(None::<()>)
    })?;
    let found = found.ok_or_else(|| none(package))?;
    let is_listed = list.lines().any(|line| line.split_once(' ') == Some((&found.hex(), SBOMS)));
    if is_listed { Ok(()) } else { Err(changed(package)) }
}

/// Shows every file of a package that is one stream, until something comes of
/// one.
fn in_stream<T>(package: &Path, mut act: impl FnMut(&str, &mut dyn Read) -> Result<Option<T>>) -> Result<Option<T>> {
    let broken = |error| damaged(package, error);
    let (_, content, _) = stream::read(stream::Source::open(package)?)?;
    let mut reader = TarReader::new(content);
    while let Some(header) = reader.next_entry().map_err(broken)? {
        if header.kind != EntryKind::File {
            continue;
        }
        if let Some(found) = act(&header.path, &mut reader)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn none(package: &Path) -> Error {
    Error::new(Class::NotFound, format!("`{}` carries no SBOM: there is no {SBOMS} in it", package.display())).hint(
        "`package.sbom` in config/settings.yaml makes them; packages of Zarf have none where `--skip-sbom` was given",
    )
}

fn changed(package: &Path) -> Error {
    Error::integrity(format!("`{}` is damaged: {SBOMS} is not what the package says of it", package.display()))
        .hint("`opencenter-airgap verify` says what is wrong with it")
}

fn write(content: impl BufRead, package: &Path, folder: &Path) -> Result<Vec<String>> {
    let broken = |error| damaged(package, error);
    let mut reader = TarReader::new(content);
    let mut names = BTreeSet::new();
    let mut left = MOST;
    fs::create_dir_all(folder)?;
    while let Some(header) = reader.next_entry().map_err(broken)? {
        let name = header.path.trim_start_matches("./").to_owned();
        if header.kind == EntryKind::Directory {
            continue;
        }
        // Documents lie beside each other, in Zarf's packages as in ours.
        let is_name = check_path(&name).is_ok() && !name.contains('/');
        left = left.saturating_sub(header.size);
        if header.kind != EntryKind::File || !is_name || header.size > LARGEST || left == 0 {
            let name = header.path.escape_debug();
            return Err(Error::integrity(format!(
                "{SBOMS} of `{}` holds `{name}`, which is no document",
                package.display()
            ))
            .hint("`opencenter-airgap verify` says what is wrong with the package"));
        }
        let mut bytes = Vec::new();
        (&mut reader).take(header.size).read_to_end(&mut bytes).map_err(broken)?;
        fs::replace_unsynced(&folder.join(&name), &bytes)?;
        names.insert(name);
    }
    Ok(names.into_iter().collect())
}

/// Of all that is left.
fn digest_of(content: &mut dyn Read) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::{ArchiveWriter, Compression, NewMember};

    fn package(folder: &Path, members: Vec<NewMember>) -> std::path::PathBuf {
        let path = folder.join("p.tar.zst");
        let mut writer = ArchiveWriter::create(path.clone(), Compression::Zstd).unwrap();
        if !members.is_empty() {
            writer.add_nested(SBOMS, 0o644, members).unwrap();
        }
        writer.add(NewMember::bytes("zarf.yaml".to_owned(), 0o600, b"x".to_vec())).unwrap();
        writer.finish().unwrap();
        path
    }

    #[test]
    fn documents_come_out_as_they_were_and_names_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let document = |name: &str| NewMember::bytes(name.to_owned(), 0o644, b"{}".to_vec());
        let out = folder.path().join("out/deep");
        let path = package(folder.path(), vec![document("b.json"), document("a.json")]);
        assert_eq!(take_out(&path, &out).unwrap(), ["a.json", "b.json"]);
        assert_eq!(std::fs::read(out.join("b.json")).unwrap(), b"{}");
        let path = package(folder.path(), vec![document("d/a.json")]);
        assert_eq!(take_out(&path, &out).unwrap_err().class(), Class::Integrity);
        let path = package(folder.path(), Vec::new());
        assert_eq!(take_out(&path, &out).unwrap_err().class(), Class::NotFound);
    }
}
