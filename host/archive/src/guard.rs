//! What stands below a decoder: a reader that ends with the leash and gives no
//! more than is allowed, and what a zip says of its own list.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::rc::Rc;

use base::leash::Leash;

/// Bytes that may still be read. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    pub(super) fn of(bytes: u64) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// From now on everything may be read.
    pub(super) fn lift(&self) {
        self.0.set(u64::MAX);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.get();
        if left < u64::MAX {
            let left =
                left.checked_sub(bytes as u64).ok_or_else(|| io::Error::other("its list is larger than it says"))?;
            self.0.set(left);
        }
        Ok(())
    }
}

/// A reader on a leash.
pub(super) struct Guarded<'a, R> {
    inner: R,
    leash: &'a Leash,
    allowance: Allowance,
}

impl<'a, R> Guarded<'a, R> {
    pub(super) fn new(inner: R, leash: &'a Leash, allowance: Allowance) -> Self {
        Self { inner, leash, allowance }
    }
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.leash.check().map_err(io::Error::other)?;
        let read = self.inner.read(buffer)?;
        self.allowance.take(read)?;
        Ok(read)
    }
}

impl<R: Seek> Seek for Guarded<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        self.inner.stream_position()
    }
}

/// Bytes that go into a decoder between two questions to the leash. It may make
/// nothing of them: the shortest frame of some formats has a dozen bytes, and
/// each of those has its tables to set up.
const PACE: usize = 16 * 1024;

/// A buffered reader on a leash.
pub(super) struct Paced<'a, R> {
    inner: R,
    leash: &'a Leash,
    /// Bytes before the leash is asked again.
    left: usize,
}

impl<'a, R> Paced<'a, R> {
    pub(super) fn new(inner: R, leash: &'a Leash) -> Self {
        Self { inner, leash, left: 0 }
    }
}

impl<R: BufRead> BufRead for Paced<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            self.leash.check().map_err(io::Error::other)?;
            self.left = PACE;
        }
        let bytes = self.inner.fill_buf()?;
        Ok(&bytes[..bytes.len().min(self.left)])
    }

    fn consume(&mut self, bytes: usize) {
        self.inner.consume(bytes);
        self.left = self.left.saturating_sub(bytes);
    }
}

impl<R: BufRead> Read for Paced<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// The list of a zip, as the record at its end describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
/// Stands before the record where a number does not fit into it.
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const END64_SIZE: usize = 56;
/// A comment may follow.
const LONGEST_COMMENT: usize = 0xffff;

/// What the end of a file says of its list; the file is at its beginning again.
/// Nothing where there is no such record: then there is nothing to be read.
///
/// Source: the .ZIP file format specification (APPNOTE), 4.3.14 to 4.3.16.
pub(super) fn zip_directory(file: &mut (impl Read + Seek)) -> io::Result<Directory> {
    let length = file.seek(SeekFrom::End(0))?;
    let tail = length.min((LOCATOR_SIZE + END_SIZE + LONGEST_COMMENT) as u64);
    let bytes = read_at(file, length - tail, usize::try_from(tail).unwrap_or(0))?;
    let found = (0..bytes.len().saturating_sub(END_SIZE - 1)).rev().find(|at| bytes[*at..].starts_with(END));
    let mut directory = Directory::default();
    if let Some(at) = found {
        let record = &bytes[at..];
        directory = Directory { entries: number(record, 10, 2), bytes: number(record, 12, 4) };
        let locator = at.checked_sub(LOCATOR_SIZE).map(|at| &bytes[at..]).filter(|bytes| bytes.starts_with(LOCATOR));
        let beyond = locator.map(|locator| number(locator, 8, 8)).filter(|start| *start < length);
        if let Some(start) = beyond {
            let record = read_at(file, start, END64_SIZE)?;
            if record.starts_with(END64) {
                directory = Directory { entries: number(&record, 32, 8), bytes: number(&record, 40, 8) };
            }
        }
    }
    file.rewind()?;
    Ok(directory)
}

/// At most `size` bytes from `start` on.
fn read_at(file: &mut (impl Read + Seek), start: u64, size: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::with_capacity(size);
    file.take(size as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Little endian; 0 behind the end.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let digits = bytes.get(at..at + size).unwrap_or_default();
    digits.iter().rev().fold(0, |number, digit| number << 8 | u64::from(*digit))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;
    use base::error::Error;

    fn zip(entries: usize, comment: &str) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.set_comment(comment).unwrap();
        for entry in 0..entries {
            let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            writer.start_file(format!("f{entry}"), options).unwrap();
            writer.write_all(b"x").unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn the_end_of_a_zip_says_how_long_its_list_is() {
        for (entries, comment) in [(0, ""), (3, ""), (3, "a comment PK\x05 about it"), (70_000, "")] {
            let bytes = zip(entries, comment);
            let found = zip_directory(&mut Cursor::new(&bytes)).unwrap();
            assert_eq!(found.entries, entries as u64, "{comment}");
            assert!(found.bytes as usize >= entries * 48 && (found.bytes as usize) < bytes.len());
        }
        for bytes in [&b""[..], b"PK\x05\x06", b"PK\x03\x04 and nothing more"] {
            assert_eq!(zip_directory(&mut Cursor::new(bytes)).unwrap(), Directory::default());
        }
    }

    #[test]
    fn a_reader_ends_with_its_leash_and_its_allowance() {
        let leash = Leash::endless();
        let allowance = Allowance::of(3);
        let mut reader = Guarded::new(Cursor::new(b"abcdef"), &leash, allowance.clone());
        let mut two = [0; 2];
        reader.read_exact(&mut two).unwrap();
        assert!(reader.read_exact(&mut two).is_err());
        allowance.lift();
        reader.read_exact(&mut two).unwrap();
        let ended = Leash::endless().until(std::time::Instant::now(), Error::local("over"));
        let mut reader = Guarded::new(Cursor::new(b"abcdef"), &ended, allowance);
        assert!(reader.read_exact(&mut two).unwrap_err().to_string().contains("over"));
    }

    /// Gives the same bytes again and again, and interrupts after some.
    struct Endless {
        bytes: &'static [u8],
        given: usize,
        interrupts: tokio_util::sync::CancellationToken,
    }

    const BEFORE: usize = 1 << 20;

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let whole = buffer.len() / self.bytes.len();
            assert!(whole > 0, "a buffer for the shortest frame");
            buffer.chunks_exact_mut(self.bytes.len()).for_each(|part| part.copy_from_slice(self.bytes));
            self.given += whole * self.bytes.len();
            if self.given >= BEFORE {
                self.interrupts.cancel();
            }
            Ok(whole * self.bytes.len())
        }
    }

    /// Decoders that make nothing of what they read never come back by
    /// themselves.
    #[test]
    fn a_decoder_that_gives_nothing_ends_soon_after_its_leash() {
        const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0";
        const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00";
        const XZ: &[u8] = b"\xfd7zXZ\0\0\0\xff\x12\xd9\x41\0\0\0\0\x1c\xdf\x44\x21\x06\x72\x9e\x7a\x01\0\0\0\0\0YZ";
        type Decode = fn(Paced<'_, io::BufReader<&mut Endless>>) -> io::Result<u64>;
        let gzip: Decode = |input| io::copy(&mut flate2::bufread::MultiGzDecoder::new(input), &mut io::sink());
        let zstd: Decode = |input| io::copy(&mut zstd::Decoder::with_buffer(input)?, &mut io::sink());
        let xz: Decode = |input| io::copy(&mut lzma_rust2::XzReader::new(input, true), &mut io::sink());
        for (bytes, decode) in [(GZIP, gzip), (ZSTD, zstd), (XZ, xz)] {
            let interrupts = tokio_util::sync::CancellationToken::new();
            let leash = Leash::new(interrupts.clone());
            let mut endless = Endless { bytes, given: 0, interrupts };
            let input = io::BufReader::with_capacity(PACE, &mut endless);
            let error = decode(Paced::new(input, &leash)).unwrap_err();
            assert!(error.to_string().contains("interrupted") || leash.check().is_err(), "{error}");
            assert!(endless.given <= BEFORE + 2 * PACE, "{} bytes were read", endless.given);
        }
    }
}
