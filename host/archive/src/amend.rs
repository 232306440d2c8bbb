//! Gives a finished archive another end: what lies before is taken over frame
//! by frame as it is, and never unpacked.
//!
//! The files that are replaced must be the last ones, as those are that vouch
//! for all others. The frame in which the first of them begins is made anew, as
//! the writer would have made it. An archive that is one stream, or a plain tar,
//! is copied by the bytes of its tar.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frames::{self, Treatment};
use super::index::{Frame, Indexed};
use super::random::damaged;
use super::survey::Opened;
use super::{ArchiveWriter, Compression, Entry};
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use base::leash::Leash;

const BUFFER: usize = 1 << 20;

/// The archive at `from`, which was opened and has the digest `known`, with
/// `entries` in place of the files called `replaced`. It is written to `to`, and
/// its digest and size are given. Those of the files that are not there are not
/// missed.
///
/// # Errors
/// `invalid-input` where others lie behind those that are replaced; `integrity`
/// where the archive is damaged or was changed; `local`, `disk-full`,
/// `interrupted`: then nothing is left at `to`.
pub fn amend(
    (from, opened): (&Path, &Opened),
    known: Digest,
    to: PathBuf,
    replaced: &[&str],
    entries: Vec<Entry>,
    leash: Leash,
) -> Result<(Digest, u64)> {
    let cut = cut(&opened.index.entries, replaced)?.unwrap_or_else(|| opened.index.unpacked());
    let file = File::open(from).map_err(|source| Error::io("cannot read", from, source))?;
    let is_plain = is_plain(&file).map_err(|source| damaged(from, source))?;
    let compression = if is_plain { Compression::None } else { Compression::Zstd };
    let mut writer = ArchiveWriter::create(to, compression)?;
    writer.leashed(leash.clone());
    let copy = Copy { from, opened, cut };
    let found = match opened.has_frames {
        true => copy.frames(&file, &mut writer)?,
        false => copy.bytes(&file, is_plain, &mut writer, &leash)?,
    };
    if found != known {
        return Err(Error::integrity(format!("`{}` was changed while it was read", from.display()))
            .hint("let nothing write into it, and try again"));
    }
    copy.list(&mut writer)?;
    for entry in entries {
        writer.add(entry)?;
    }
    writer.finish()
}

/// Byte of the tar at which the first of the replaced files begins; None where
/// there is none of them.
fn cut(entries: &[Indexed], replaced: &[&str]) -> Result<Option<u64>> {
    let is_replaced = |entry: &&Indexed| replaced.contains(&entry.path.as_str());
    let Some(cut) = entries.iter().filter(is_replaced).map(|entry| entry.at).min() else { return Ok(None) };
    match entries.iter().find(|entry| entry.at > cut && !is_replaced(entry)) {
        None => Ok(Some(cut)),
        Some(other) => Err(Error::invalid(format!(
            "`{}` lies behind `{}` in the archive, so it cannot be given another end",
            other.path.escape_debug(),
            replaced.last().unwrap_or(&"")
        ))),
    }
}

fn is_plain(file: &File) -> io::Result<bool> {
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0)?;
    Ok(u32::from_le_bytes(magic) != zstd::zstd_safe::MAGICNUMBER)
}

struct Copy<'a> {
    from: &'a Path,
    opened: &'a Opened,
    /// Byte of the tar up to which it is taken over.
    cut: u64,
}

impl Copy<'_> {
    /// Takes over frames, and gives the digest of the whole file.
    fn frames(&self, file: &File, writer: &mut ArchiveWriter) -> Result<Digest> {
        let broken = |source| damaged(self.from, source);
        let mut hasher = Hasher::new();
        let mut end = 0;
        for frame in &self.opened.index.frames {
            // What lies between frames is no content.
            hash(file, end..frame.at, &mut hasher).map_err(broken)?;
            let mut bytes = vec![0; frame.length];
            file.read_exact_at(&mut bytes, frame.at).map_err(broken)?;
            hasher.update(&bytes);
            end = frame.at + frame.length as u64;
            if frame.content_at + frame.content as u64 <= self.cut {
                writer.take_frame(bytes, frame.content)?;
            } else if frame.content_at < self.cut {
                self.half(frame, writer)?;
            }
        }
        let size = file.metadata().map_err(broken)?.len();
        hash(file, end..size, &mut hasher).map_err(broken)?;
        Ok(hasher.finish())
    }

    /// What is left of the frame in which the cut is.
    fn half(&self, frame: &Frame, writer: &mut ArchiveWriter) -> Result<()> {
        let mut bytes = vec![0; (self.cut - frame.content_at) as usize];
        let mut content = self.opened.pieces.from(frame.content_at);
        content.read_exact(&mut bytes).map_err(|source| damaged(self.from, source))?;
        let is_small = bytes.len() <= frames::SMALL;
        writer.take_bytes(&bytes, if is_small { Treatment::Small } else { Treatment::Large })
    }

    /// Takes over the bytes of the tar.
    fn bytes(&self, file: &File, is_plain: bool, writer: &mut ArchiveWriter, leash: &Leash) -> Result<Digest> {
        let broken = |source| damaged(self.from, source);
        let mut content = self.opened.pieces.from(0).take(self.cut);
        let treatment = if is_plain { Treatment::Plain } else { Treatment::Large };
        let mut buffer = vec![0; BUFFER];
        let mut left = self.cut;
        while left > 0 {
            leash.check()?;
            let read = content.read(&mut buffer).map_err(broken)?;
            if read == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
            writer.take_bytes(&buffer[..read], treatment)?;
            left -= read as u64;
        }
        let mut hasher = Hasher::new();
        let size = file.metadata().map_err(broken)?.len();
        hash(file, 0..size, &mut hasher).map_err(broken)?;
        Ok(hasher.finish())
    }

    /// Lists what was taken over: the members of a nested tar before it.
    fn list(&self, writer: &mut ArchiveWriter) -> Result<()> {
        let index = &self.opened.index;
        let mut members = index.members.iter().peekable();
        for (at, entry) in index.entries.iter().enumerate().filter(|(_, entry)| entry.at < self.cut) {
            while let Some((_, member)) = members.next_if(|(of, _)| *of == at) {
                writer.take_entry(member, true)?;
            }
            writer.take_entry(entry, false)?;
        }
        Ok(())
    }
}

fn hash(file: &File, range: std::ops::Range<u64>, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER.min(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(BUFFER))];
    let mut at = range.start;
    while at < range.end {
        let length = buffer.len().min(usize::try_from(range.end - at).unwrap_or(BUFFER));
        file.read_exact_at(&mut buffer[..length], at)?;
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::Buffers;
    use crate::survey;

    /// An archive with the given end, in a folder of its own.
    fn written(path: &Path, compression: Compression, last: &[(&str, &[u8])]) -> Digest {
        let mut writer = ArchiveWriter::create(path.to_owned(), compression).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(5_000_000).collect();
        let members = vec![Entry::bytes("web/a", 0o600, b"a\n".repeat(9)), Entry::bytes("web/b", 0o644, noise.clone())];
        writer.add_nested("components/web.tar", 0o644, members).unwrap();
        writer.add(Entry::bytes(format!("images/blobs/sha256/{}", Digest::of(&noise).hex()), 0o644, noise)).unwrap();
        writer.add(Entry::bytes("checksums.txt", 0o600, b"some lines\n".repeat(300))).unwrap();
        for (name, bytes) in last {
            writer.add(Entry::bytes(*name, 0o600, bytes.to_vec())).unwrap();
        }
        writer.finish().unwrap().0
    }

    const REPLACED: [&str; 2] = ["sig", "zarf.yaml"];
    const AFTER: [(&str, &[u8]); 2] = [("sig", b"signature\n"), ("zarf.yaml", b"signed: true\n")];

    fn amended(from: &Path, known: Digest, to: &Path) -> Result<(Digest, u64)> {
        let opened = survey::open(from, from.parent(), &Buffers::new(1)).unwrap();
        let entries = AFTER.map(|(name, bytes)| Entry::bytes(name, 0o600, bytes.to_vec()));
        amend((from, &opened), known, to.to_owned(), &REPLACED, entries.to_vec(), Leash::endless())
    }

    /// The same bytes as if it had been written so at once, whatever its end
    /// was before.
    #[test]
    fn another_end_is_as_if_it_had_been_written_so() {
        for compression in [Compression::Zstd, Compression::None] {
            let folder = tempfile::tempdir().unwrap();
            let [before, expected, after] = ["a", "b", "c"].map(|name| folder.path().join(name));
            let digest = written(&expected, compression, &AFTER);
            let ends: [&[(&str, &[u8])]; 4] =
                [&[("zarf.yaml", b"signed: false\n")], &[], &AFTER, &[("sig", b"other"), ("zarf.yaml", b"x")]];
            for end in ends {
                let known = written(&before, compression, end);
                let found = amended(&before, known, &after).unwrap();
                assert_eq!(found, (digest, std::fs::metadata(&expected).unwrap().len()), "{compression:?}");
                assert!(std::fs::read(&after).unwrap() == std::fs::read(&expected).unwrap(), "{compression:?}");
            }
        }
    }

    /// Archives of others: frames without an index, and one stream.
    #[test]
    fn an_archive_of_another_program_gets_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, before, after] = ["a", "b", "c"].map(|name| folder.path().join(name));
        written(&whole, Compression::Zstd, &[("zarf.yaml", b"signed: false\n")]);
        let bytes = std::fs::read(&whole).unwrap();
        let tar = zstd::decode_all(bytes.as_slice()).unwrap();
        let opened = survey::open(&whole, None, &Buffers::new(1)).unwrap();
        let end = opened.index.sizes().map(|(length, _)| length as usize).sum();
        for other in [bytes[..end].to_vec(), zstd::encode_all(tar.as_slice(), 1).unwrap()] {
            disk::fs::write_atomic(&before, &other).unwrap();
            amended(&before, Digest::of(&other), &after).unwrap();
            let opened = survey::open(&after, None, &Buffers::new(1)).unwrap();
            assert_eq!(opened.found, survey::Found::Indexed);
            let entries: Vec<&str> = opened.index.entries.iter().map(|entry| entry.path.as_str()).collect();
            assert_eq!(entries[2..], ["checksums.txt", "sig", "zarf.yaml"]);
            assert_eq!(opened.index.members.len(), 2);
            let found = zstd::decode_all(std::fs::read(&after).unwrap().as_slice()).unwrap();
            let kept = opened.index.entries[3].at as usize;
            assert!(found[..kept] == tar[..kept]);
        }
    }

    #[test]
    fn what_cannot_be_done_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [before, after] = ["a", "b"].map(|name| folder.path().join(name));
        let known = written(&before, Compression::Zstd, &[("zarf.yaml", b"x"), ("more", b"y")]);
        let error = amended(&before, known, &after).unwrap_err();
        assert!(error.message().contains("`more` lies behind"), "{error}");
        let known = written(&before, Compression::Zstd, &[("zarf.yaml", b"x")]);
        let other = Digest::of(b"other");
        assert!(amended(&before, other, &after).unwrap_err().message().contains("was changed"));
        assert!(!after.exists());
        let mut bytes = std::fs::read(&before).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        disk::fs::write_atomic(&before, &bytes).unwrap();
        assert!(amended(&before, known, &after).is_err() && !after.exists());
    }
}
