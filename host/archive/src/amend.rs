//! Gives a finished archive another end: what lies before is taken over frame
//! by frame as it is, and never unpacked.
//!
//! The files that are replaced must be the last ones, as those are that vouch
//! for all others. The frame in which the first of them begins is made anew, as
//! the writer would have made it. An archive that is one stream, or a plain tar,
//! is copied by the bytes of its tar. Where nobody else has the file yet, all
//! that is taken over stays where it is, and only the end is written.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::damage::damaged;
use super::frames::{self, Treatment};
use super::index::{Frame, Indexed};
use super::survey::{Found, Opened};
use super::{ArchiveWriter, Compression, NewMember};
use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use base::leash::Leash;
use disk::fs;

const BUFFER: usize = 1 << 20;

/// Where an archive with another end is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// A file of its own.
    New(&'a Path),
    /// The file itself, which is lost where that fails. One that has a second
    /// name, or is not [tight](Opened::is_tight), cannot be written so.
    Itself,
}

/// The archive at `from`, which was opened and has the digest `known`, with
/// `entries` in place of the files called `replaced`, of which one at least is
/// there. Gives its digest and size.
///
/// # Errors
/// `invalid-input` where others lie behind those that are replaced; `integrity`
/// where the archive is damaged or was changed; `local`, `disk-full`,
/// `interrupted`: then nothing is left where it was written.
pub fn amend(
    (from, opened): (&Path, &Opened),
    known: Digest,
    to: To<'_>,
    replaced: &[&str],
    entries: Vec<NewMember>,
    leash: Leash,
) -> Result<(Digest, u64)> {
    let broken = |source| damaged(from, source);
    let cut = cut(&opened.index.entries, replaced)?;
    let file = File::open(from).map_err(|source| Error::io("cannot read", from, source))?;
    let is_plain = !opened.has_frames && opened.found == Found::Walked;
    let copy = Copy { from, opened, cut, is_kept: to == To::Itself, is_plain };
    let (mut writer, behind) = copy.begin(to)?;
    writer.leashed(leash.clone());
    let found = match opened.has_frames {
        true => copy.frames(&file, &mut writer).map_err(broken)??,
        false => copy.bytes(&file, &mut writer, &leash)?,
    };
    // What lies behind is read before it is written over.
    let half = copy.half().map_err(broken)?;
    if found != known {
        return Err(Error::integrity(format!("`{}` was changed while it was read", from.display()))
            .hint("let nothing write into it, and try again"));
    }
    if let Some((file, end)) = behind {
        fs::truncate(&file, from, end)?;
    }
    if !half.is_empty() {
        let is_small = half.len() <= frames::SMALL;
        writer.take_bytes(&half, if is_small { Treatment::Small } else { Treatment::Large })?;
    }
    copy.list(&mut writer)?;
    for entry in entries {
        writer.add(entry)?;
    }
    writer.finish()
}

/// Byte of the tar at which the first of the replaced files begins.
fn cut(entries: &[Indexed], replaced: &[&str]) -> Result<u64> {
    let is_replaced = |entry: &&Indexed| replaced.contains(&entry.path.as_str());
    let cut = entries.iter().filter(is_replaced).map(|entry| entry.at).min();
    let cut =
        cut.ok_or_else(|| Error::invalid(format!("the archive holds no `{}`", replaced.last().unwrap_or(&""))))?;
    match entries.iter().find(|entry| entry.at > cut && !is_replaced(entry)) {
        None => Ok(cut),
        Some(other) => Err(Error::invalid(format!(
            "`{}` lies behind `{}` in the archive, so it cannot be given another end",
            other.path.escape_debug(),
            replaced.last().unwrap_or(&"")
        ))),
    }
}

struct Copy<'a> {
    from: &'a Path,
    opened: &'a Opened,
    /// Byte of the tar up to which it is taken over.
    cut: u64,
    /// Whether what is taken over stays where it is.
    is_kept: bool,
    is_plain: bool,
}

impl Copy<'_> {
    /// The writer; of a file that is written itself also the file, and up to
    /// where it stays.
    fn begin(&self, to: To<'_>) -> Result<(ArchiveWriter, Option<(File, u64)>)> {
        let compression = if self.is_plain { Compression::None } else { Compression::Zstd };
        match to {
            To::New(path) => Ok((ArchiveWriter::create(path.to_owned(), compression)?, None)),
            To::Itself => {
                let end = self.kept_end();
                let mut file = fs::open_rw(self.from)?;
                let second = file.try_clone().map_err(|source| Error::io("cannot open", self.from, source))?;
                file.seek(SeekFrom::Start(end)).map_err(|source| Error::io("cannot open", self.from, source))?;
                Ok((ArchiveWriter::behind(file, self.from.to_owned(), compression)?, Some((second, end))))
            }
        }
    }

    /// Byte of the file up to which it stays as it is.
    fn kept_end(&self) -> u64 {
        let is_whole = |frame: &&Frame| frame.content_at + frame.content as u64 <= self.cut;
        let last = self.opened.index.frames.iter().take_while(is_whole).last();
        if self.is_plain { self.cut } else { last.map_or(0, |frame| frame.at + frame.length as u64) }
    }

    /// Takes over frames, and gives the digest of the whole file.
    fn frames(&self, file: &File, writer: &mut ArchiveWriter) -> io::Result<Result<Digest>> {
        let mut hasher = Hasher::new();
        let mut end = 0;
        for frame in &self.opened.index.frames {
            // What lies between frames is no content.
            hash(file, end..frame.at, &mut hasher)?;
            let mut bytes = vec![0; frame.length];
            file.read_exact_at(&mut bytes, frame.at)?;
            hasher.update(&bytes);
            end = frame.at + frame.length as u64;
            if frame.content_at + frame.content as u64 > self.cut {
                continue;
            }
            let taken = match self.is_kept {
                true => writer.keep(bytes, Some(frame.content)),
                false => writer.take_frame(bytes, frame.content),
            };
            if let Err(error) = taken {
                return Ok(Err(error));
            }
        }
        hash(file, end..file.metadata()?.len(), &mut hasher)?;
        Ok(Ok(hasher.finish()))
    }

    /// What is left of the frame in which the cut is.
    fn half(&self) -> io::Result<Vec<u8>> {
        let is_cut =
            |frame: &&Frame| (frame.content_at + 1..frame.content_at + frame.content as u64).contains(&self.cut);
        let Some(frame) = self.opened.index.frames.iter().find(is_cut).filter(|_| self.opened.has_frames) else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; (self.cut - frame.content_at) as usize];
        self.opened.pieces.from(frame.content_at).read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes over the bytes of the tar.
    fn bytes(&self, file: &File, writer: &mut ArchiveWriter, leash: &Leash) -> Result<Digest> {
        let broken = |source| damaged(self.from, source);
        let mut content = self.opened.pieces.from(0).take(self.cut);
        let treatment = if self.is_plain { Treatment::Plain } else { Treatment::Large };
        let mut buffer = vec![0; BUFFER];
        let mut left = self.cut;
        while left > 0 {
            leash.check()?;
            let read = content.read(&mut buffer).map_err(broken)?;
            if read == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
            match self.is_kept {
                true => writer.keep(buffer[..read].to_vec(), None)?,
                false => writer.take_bytes(&buffer[..read], treatment)?,
            }
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
        let members =
            vec![NewMember::bytes("web/a", 0o600, b"a\n".repeat(9)), NewMember::bytes("web/b", 0o644, noise.clone())];
        writer.add_nested("components/web.tar", 0o644, members).unwrap();
        writer
            .add(NewMember::bytes(format!("images/blobs/sha256/{}", Digest::of(&noise).hex()), 0o644, noise))
            .unwrap();
        writer.add(NewMember::bytes("checksums.txt", 0o600, b"some lines\n".repeat(300))).unwrap();
        for (name, bytes) in last {
            writer.add(NewMember::bytes(*name, 0o600, bytes.to_vec())).unwrap();
        }
        writer.finish().unwrap().0
    }

    const REPLACED: [&str; 2] = ["sig", "zarf.yaml"];
    const AFTER: [(&str, &[u8]); 2] = [("sig", b"signature\n"), ("zarf.yaml", b"signed: true\n")];

    fn amended(from: &Path, known: Digest, to: To<'_>) -> Result<(Digest, u64)> {
        let opened = survey::open(from, from.parent(), &Buffers::new(1)).unwrap();
        let entries = AFTER.map(|(name, bytes)| NewMember::bytes(name, 0o600, bytes.to_vec()));
        amend((from, &opened), known, to, &REPLACED, entries.to_vec(), Leash::endless())
    }

    /// The same bytes as if it had been written so at once, whatever its end
    /// was before.
    #[test]
    fn another_end_is_as_if_it_had_been_written_so() {
        for compression in [Compression::Zstd, Compression::None] {
            let folder = tempfile::tempdir().unwrap();
            let [before, expected, after] = ["a", "b", "c"].map(|name| folder.path().join(name));
            let digest = written(&expected, compression, &AFTER);
            let ends: [&[(&str, &[u8])]; 3] =
                [&[("zarf.yaml", b"signed: false\n")], &AFTER, &[("sig", b"other"), ("zarf.yaml", b"x")]];
            for end in ends {
                let known = written(&before, compression, end);
                for to in [To::New(&after), To::Itself] {
                    let found = amended(&before, known, to).unwrap();
                    assert_eq!(found, (digest, std::fs::metadata(&expected).unwrap().len()), "{compression:?} {to:?}");
                    let written = if to == To::Itself { &before } else { &after };
                    let is_same = std::fs::read(written).unwrap() == std::fs::read(&expected).unwrap();
                    assert!(is_same, "{compression:?} {to:?}");
                }
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
            amended(&before, Digest::of(&other), To::New(&after)).unwrap();
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
        let error = amended(&before, known, To::New(&after)).unwrap_err();
        assert!(error.message().contains("`more` lies behind"), "{error}");
        let known = written(&before, Compression::Zstd, &[]);
        assert!(amended(&before, known, To::New(&after)).unwrap_err().message().contains("holds no `zarf.yaml`"));
        let known = written(&before, Compression::Zstd, &[("zarf.yaml", b"x")]);
        let other = Digest::of(b"other");
        assert!(amended(&before, other, To::New(&after)).unwrap_err().message().contains("was changed"));
        assert!(!after.exists());
        let mut bytes = std::fs::read(&before).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        disk::fs::write_atomic(&before, &bytes).unwrap();
        assert!(amended(&before, known, To::New(&after)).is_err() && !after.exists());
    }
}
