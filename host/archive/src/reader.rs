//! A tar parser for input that nobody vouches for: one pass, no seeking,
//! bounded memory.
//!
//! Reads what Go's `archive/tar` reads: USTAR, PAX (path, link path and size),
//! GNU long names, base-256 numbers. Headers that describe other headers may be
//! 64 KiB long, more is refused. Errors are `io::Error`s of the kind
//! `InvalidData` with a text that says what is wrong.

use std::io::{self, BufRead, Read};

use super::ustar::{self, BLOCK};

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

/// What headers said about the next one.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    target: Option<String>,
    size: Option<u64>,
    sparse: bool,
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
        let mut extension = Extension::default();
        let mut at = None;
        loop {
            self.skip_content()?;
            let at = *at.get_or_insert(self.position);
            let Some(block) = self.header_block()? else { return Ok(None) };
            let flag = block[156];
            let size = number(&block[124..136], "size")?;
            match flag {
                b'x' => self.read_pax(size, &mut extension)?,
                b'g' => self.read_extension(size).map(drop)?,
                b'L' => {
                    let bytes = self.read_extension(size)?;
                    extension.path = Some(self.text(trim_nul(&bytes))?);
                }
                b'K' => {
                    let bytes = self.read_extension(size)?;
                    extension.target = Some(self.text(trim_nul(&bytes))?);
                }
                _ => return self.entry(&block, extension, at).map(Some),
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

    /// A block that is not empty and whose checksum is right; None after two
    /// empty ones, or where the input ends.
    fn header_block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return match self.block()? {
                Some(second) if second.iter().any(|byte| *byte != 0) => Err(invalid("a single empty block")),
                _ => Ok(None),
            };
        }
        let claimed = number(&block[148..156], "checksum")?;
        let signed: i64 = block.iter().map(|byte| i64::from(*byte as i8)).sum::<i64>()
            - block[148..156].iter().map(|byte| i64::from(*byte as i8)).sum::<i64>()
            + 8 * i64::from(b' ');
        if claimed != ustar::checksum(&block) && i64::try_from(claimed) != Ok(signed) {
            return Err(invalid("a header with a wrong checksum"));
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
        self.padding = ustar::padding(size) as u64;
        Ok(bytes)
    }

    fn read_pax(&mut self, size: u64, extension: &mut Extension) -> io::Result<()> {
        let bytes = self.read_extension(size)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (key, value, after) = pax_record(rest).ok_or_else(|| invalid("a malformed PAX record"))?;
            match key {
                b"path" => extension.path = Some(self.text(value)?),
                b"linkpath" => extension.target = Some(self.text(value)?),
                b"size" => {
                    let size = text(value)?.parse().map_err(|_| invalid("a PAX size that is no number"))?;
                    extension.size = Some(size);
                }
                key if key.starts_with(b"GNU.sparse") && self.lenient => extension.sparse = true,
                key if key.starts_with(b"GNU.sparse") => return Err(invalid("a sparse file")),
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }

    fn entry(&mut self, block: &[u8; BLOCK], extension: Extension, at: u64) -> io::Result<Header> {
        let ustar = block[257..262] == *b"ustar";
        let path = match extension.path {
            Some(path) => path,
            None => self.plain_path(block, block[257..265] == *b"ustar\x0000")?,
        };
        let kind = match block[156] {
            0 if path.ends_with('/') => EntryKind::Directory,
            0 | b'0' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'5' => EntryKind::Directory,
            other => EntryKind::Other(other),
        };
        let kind = if extension.sparse { EntryKind::Other(b'S') } else { kind };
        let size = match (kind, extension.size) {
            (EntryKind::Directory | EntryKind::Symlink | EntryKind::HardLink, _) => 0,
            (_, Some(size)) => size,
            (_, None) => number(&block[124..136], "size")?,
        };
        if size > u64::MAX / 2 {
            return Err(invalid("a size beyond all bounds"));
        }
        let target = match extension.target {
            Some(target) => target,
            None => self.text(trim_nul(&block[157..257]))?,
        };
        self.left = size;
        self.padding = ustar::padding(size) as u64;
        let mode = number(&block[100..108], "mode")? as u32 & 0o7777;
        Ok(Header { path, kind, target, mode, size, ustar, at })
    }

    fn text(&self, bytes: &[u8]) -> io::Result<String> {
        if self.lenient { Ok(String::from_utf8_lossy(trim_nul(bytes)).into_owned()) } else { text(bytes) }
    }

    fn plain_path(&self, block: &[u8; BLOCK], has_prefix: bool) -> io::Result<String> {
        let name = self.text(trim_nul(&block[..100]))?;
        let prefix = if has_prefix { self.text(trim_nul(&block[345..500]))? } else { String::new() };
        Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
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

/// Key, value and the bytes behind a record `<length> <key>=<value>\n`.
fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    if length <= space + 1 || length > bytes.len() {
        return None;
    }
    let (record, after) = bytes.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], after))
}

/// Octal digits between spaces and NULs, or base-256 with the high bit set.
fn number(field: &[u8], what: &str) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        let mut value: u64 = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            if value >> 56 != 0 {
                return Err(invalid(format!("a {what} beyond all bounds")));
            }
            value = value << 8 | u64::from(*byte);
        }
        return Ok(value);
    }
    let digits = field.iter().copied().skip_while(|byte| matches!(byte, b' ' | 0));
    let mut value = 0;
    for byte in digits.take_while(|byte| !matches!(byte, b' ' | 0)) {
        if !(b'0'..=b'7').contains(&byte) {
            return Err(invalid(format!("a {what} that is not octal")));
        }
        value = value << 3 | u64::from(byte - b'0');
    }
    Ok(value)
}

fn trim_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == 0).map_or(bytes, |end| &bytes[..end])
}

fn text(bytes: &[u8]) -> io::Result<String> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("a name that is not UTF-8"))?;
    if text.contains('\0') { Err(invalid("a name with a NUL")) } else { Ok(text.to_owned()) }
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
    use crate::ustar::{Kind, TRAILER, header};

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
        let sum = ustar::checksum(bytes[..BLOCK].try_into().unwrap());
        bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let error = TarReader::new(bytes.as_slice()).next_entry().unwrap_err();
        assert!(error.to_string().contains("extended header"), "{error}");
    }
}
