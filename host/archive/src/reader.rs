//! A tar parser for input that nobody vouches for: one pass, no seeking,
//! bounded memory.
//!
//! Headers say what Go's `archive/tar` reads in them (`tar_header`); those that
//! describe other headers may be 64 KiB long, more is refused. Errors are `io::Error`s of the kind
//! `InvalidData` with a text that says what is wrong.

use std::io::{self, BufRead, Read};

use tar_header::{BLOCK, Bad, Field, Fields, Member, Said, padding};

/// Bytes of a PAX header or a GNU long name.
const LARGEST_EXTENSION: u64 = 64 * 1024;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name for an earlier entry.
    HardLink,
    /// A device, a pipe, a sparse file: its type flag.
    Other(u8),
}

/// The header of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As it is written.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Where a link points, as it is written.
    pub target: String,
    /// Permission bits.
    pub mode: u32,
    /// Bytes of content that follow.
    pub size: u64,
    /// Whether the header carries the `ustar` magic.
    pub ustar: bool,
    /// Byte of the archive at which it begins, those before it that describe it
    /// included.
    pub at: u64,
}

/// Reads entries one after the other.
pub struct TarReader<R> {
    inner: R,
    /// Bytes of the current content that are unread.
    left: u64,
    /// Bytes between the current content and the next header.
    padding: u64,
    /// Bytes read so far.
    position: u64,
    lenient: bool,
}

impl<R: BufRead> TarReader<R> {
    /// A parser of the uncompressed tar that `inner` gives, from its beginning.
    pub fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0, position: 0, lenient: false }
    }

    /// For who looks and unpacks nothing: names that are no UTF-8 are read with
    /// U+FFFD in them, and a sparse file counts as an entry of another kind.
    pub fn lenient(inner: R) -> Self {
        Self { lenient: true, ..Self::new(inner) }
    }

    /// Skips what is left of the current entry and reads the next header; None
    /// at the end of the archive.
    pub fn next_entry(&mut self) -> io::Result<Option<Header>> {
        let mut said = Said::default();
        let mut at = None;
        loop {
            self.skip_content()?;
            let at = *at.get_or_insert(self.position);
            let Some(block) = self.header_block()? else { return Ok(None) };
            let fields = Fields::parse(&block).map_err(told)?;
            let size = fields.content().map_err(told)?;
            match fields.flag {
                b'x' => said.pax(&self.read_extension(size)?).map_err(told)?,
                b'g' => self.read_extension(size).map(drop)?,
                b'L' => said.long_name(&self.read_extension(size)?),
                b'K' => said.long_target(&self.read_extension(size)?),
                _ => return self.entry(said.member(fields).map_err(told)?, at).map(Some),
            }
        }
    }

    /// Some of the content that is unread; empty at its end.
    pub fn chunk(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.inner.fill_buf()?;
        if bytes.is_empty() {
            return Err(ends_early());
        }
        let length = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(&bytes[..length])
    }

    /// Marks bytes of the last [`chunk`](TarReader::chunk) as read.
    pub fn consume(&mut self, length: usize) {
        self.inner.consume(length);
        self.position += length as u64;
        self.left = self.left.saturating_sub(length as u64);
    }

    /// Bytes read so far: behind a header, where its content begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What lies behind the archive.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn skip_content(&mut self) -> io::Result<()> {
        self.left += std::mem::take(&mut self.padding);
        while self.left > 0 {
            let length = self.chunk()?.len();
            self.consume(length);
        }
        Ok(())
    }

    /// A block that is not empty; None after two empty ones, or where the input ends.
    fn header_block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return match self.block()? {
                Some(second) if second.iter().any(|byte| *byte != 0) => Err(invalid("a single empty block")),
                _ => Ok(None),
            };
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        if self.inner.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.inner.read_exact(&mut block).map_err(early)?;
        self.position += BLOCK as u64;
        Ok(Some(block))
    }

    fn read_extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LARGEST_EXTENSION {
            return Err(invalid(format!("an extended header of {size} bytes")));
        }
        let mut bytes = vec![0; size as usize];
        self.inner.read_exact(&mut bytes).map_err(early)?;
        self.position += size;
        self.padding = padding(size);
        Ok(bytes)
    }

    fn entry(&mut self, member: Member, at: u64) -> io::Result<Header> {
        let kind = match member.flag {
            0 | b'0' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'5' => EntryKind::Directory,
            other => EntryKind::Other(other),
        };
        let kind = match member.is_sparse && member.flag != b'S' {
            true if !self.lenient => return Err(invalid("a sparse file")),
            true => EntryKind::Other(b'S'),
            false => kind,
        };
        let (path, target) = (self.text(&member.name)?, self.text(&member.target)?);
        self.left = member.content;
        self.padding = padding(member.content);
        let mode = member.mode as u32 & 0o7777;
        Ok(Header { path, kind, target, mode, size: member.content, ustar: member.ustar, at })
    }

    fn text(&self, bytes: &[u8]) -> io::Result<String> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) if self.lenient => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Err(_) => Err(invalid("a name that is not UTF-8")),
        }
    }
}

/// The content of the current entry.
impl<R: BufRead> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.chunk()?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// What is wrong with a header, in words.
fn told(bad: Bad) -> io::Error {
    match bad {
        Bad::Checksum => invalid("a header with a wrong checksum"),
        Bad::NotOctal(field) => invalid(format!("a {} that is not octal", name_of(field))),
        Bad::TooLarge(field) => invalid(format!("a {} beyond all bounds", name_of(field))),
        Bad::NegativeSize => invalid("a size beyond all bounds"),
        Bad::Record => invalid("a malformed PAX record"),
        Bad::PaxSize => invalid("a PAX size that is no number"),
        Bad::PaxNumber => invalid("a PAX number that is none"),
        Bad::PaxTime => invalid("a PAX time that is none"),
    }
}

fn name_of(field: Field) -> &'static str {
    match field {
        Field::Checksum => "checksum",
        Field::Mode => "mode",
        Field::Size => "size",
        Field::Unused => "number",
    }
}

fn invalid(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tar holds {what}"))
}

fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the tar ends in the middle of an entry")
}

fn early(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { ends_early() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ustar::{self, Kind, TRAILER, header};

    fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (path, content) in entries {
            bytes.extend(header(path, Kind::File, 0o640, content.len() as u64).unwrap());
            bytes.extend(*content);
            bytes.resize(bytes.len() + ustar::padding(content.len() as u64), 0);
        }
        bytes.extend(TRAILER);
        bytes
    }

    #[test]
    fn reads_what_the_writer_writes() {
        let long = format!("a/{}/é", "x".repeat(300));
        let bytes = tar_of(&[("plain", b"one"), (&long, b"two"), ("skipped", &[7; 2000]), ("last", b"")]);
        let mut reader = TarReader::new(bytes.as_slice());
        let mut found = Vec::new();
        while let Some(header) = reader.next_entry().unwrap() {
            let mut content = String::new();
            if header.size < 100 {
                reader.read_to_string(&mut content).unwrap();
            }
            assert_eq!((header.kind, header.mode, header.ustar), (EntryKind::File, 0o640, true));
            found.push((header.path, content));
        }
        let expected = [("plain", "one"), (long.as_str(), "two"), ("skipped", ""), ("last", "")];
        assert_eq!(found, expected.map(|(path, content)| (path.to_owned(), content.to_owned())));
    }

    #[test]
    fn reads_what_gnu_tar_writes() {
        let mut builder = tar::Builder::new(Vec::new());
        let long = "n".repeat(200);
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append_data(&mut header, &long, b"abc".as_slice()).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "link", "../target").unwrap();
        let bytes = builder.into_inner().unwrap();
        let mut reader = TarReader::new(bytes.as_slice());
        let first = reader.next_entry().unwrap().unwrap();
        assert_eq!((first.path, first.size, first.mode), (long, 3, 0o755));
        let second = reader.next_entry().unwrap().unwrap();
        assert_eq!((second.kind, second.target.as_str()), (EntryKind::Symlink, "../target"));
        assert!(reader.next_entry().unwrap().is_none());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let bytes = tar_of(&[("a", b"content"), (&format!("d/{}", "x".repeat(200)), b"more")]);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let mut reader = TarReader::new(damaged.as_slice());
                while let Ok(Some(_)) = reader.next_entry() {}
            }
            let mut reader = TarReader::new(&bytes[..at]);
            while let Ok(Some(_)) = reader.next_entry() {}
        }
        let mut huge = header("a", Kind::File, 0o644, 1).unwrap();
        huge[124..136].fill(0xff);
        assert!(TarReader::new(huge.as_slice()).next_entry().is_err());
    }

    #[test]
    fn headers_about_headers_are_bounded() {
        let mut bytes = header("x", Kind::File, 0o644, LARGEST_EXTENSION + 1).unwrap();
        bytes[156] = b'L';
        let sum = tar_header::checksum(bytes[..BLOCK].try_into().unwrap());
        bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let error = TarReader::new(bytes.as_slice()).next_entry().unwrap_err();
        assert!(error.to_string().contains("extended header"), "{error}");
    }
}
