//! The members of a tar archive, as Go's `archive/tar` reads them: their headers are
//! read by `tar_header`; one block of zeros ends the archive if nothing follows it.
//!
//! Sparse members are refused: what Go makes of them is more than a chart needs.

use std::io::{self, Read};

use tar_header::{BLOCK, Bad, Fields, Said, check_unused, padding};

/// Bytes of a header that describes the next one; Go's limit.
const LARGEST_EXTENSION: u64 = 1 << 20;

/// The header of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// As it is written; what is not UTF-8 is replaced.
    pub path: String,
    /// A PAX header for all members that follow, which has no content.
    pub is_global: bool,
    pub is_directory: bool,
    /// Bytes of content, as claimed: a link may claim some and has none.
    pub size: u64,
}

/// Reads one member after the other.
pub(crate) struct Tar<R> {
    inner: R,
    /// Bytes of the current content that are unread.
    left: u64,
    /// Bytes between the current content and the next header.
    padding: u64,
}

impl<R: Read> Tar<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0 }
    }

    /// Skips what is left of the current member and reads the next header; None
    /// at the end.
    ///
    /// # Errors
    /// Where Go finds no header, and where the archive is cut off.
    pub(crate) fn next_member(&mut self) -> io::Result<Option<Header>> {
        let mut said = Said::default();
        loop {
            if !self.skip()? {
                return Ok(None);
            }
            let Some(block) = self.block()? else { return Ok(None) };
            let fields = Fields::parse(&block).map_err(told)?;
            check_unused(&block).map_err(told)?;
            self.announce(fields.content().map_err(told)?);
            match fields.flag {
                b'x' => said.pax(&self.extension()?).map_err(told)?,
                b'g' => {
                    let mut global = Said::default();
                    global.pax(&self.extension()?).map_err(told)?;
                    let path = text(global.path().unwrap_or(&fields.name));
                    return Ok(Some(Header { path, is_global: true, is_directory: false, size: 0 }));
                }
                b'L' => said.long_name(&self.extension()?),
                b'K' => drop(self.extension()?),
                _ => return self.member(fields, said).map(Some),
            }
        }
    }

    fn member(&mut self, fields: Fields, said: Said) -> io::Result<Header> {
        let unused = said.check_unused();
        let member = said.member(fields);
        if member.as_ref().is_ok_and(|member| member.is_sparse) {
            return Err(invalid("a sparse member, which is not supported here"));
        }
        unused.map_err(told)?;
        let member = member.map_err(told)?;
        self.announce(member.content);
        let is_directory = member.flag == b'5' || member.mode & !0o7777 == 0o40000;
        // Only a link claims a size below zero and gets this far.
        let size = u64::try_from(member.size).unwrap_or(0);
        Ok(Header { path: text(&member.name), is_global: false, is_directory, size })
    }

    /// So much content follows a header.
    fn announce(&mut self, content: u64) {
        (self.left, self.padding) = (content, padding(content));
    }

    /// The content of a header about the next member.
    fn extension(&mut self) -> io::Result<Vec<u8>> {
        if self.left > LARGEST_EXTENSION {
            return Err(invalid("a header that is longer than 1 MiB"));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Skips content and padding; false where the input ends in the padding,
    /// which Go takes for the end.
    fn skip(&mut self) -> io::Result<bool> {
        io::copy(self, &mut io::sink())?;
        let padding = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.inner.by_ref().take(padding), &mut io::sink())?;
        Ok(skipped == padding)
    }

    /// The next header; None after two blocks of zeros, or where the input ends
    /// before a block or after one of zeros.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let Some(first) = self.whole_block()? else { return Ok(None) };
        if first != [0; BLOCK] {
            return Ok(Some(first));
        }
        match self.whole_block()? {
            Some(second) if second != [0; BLOCK] => Err(invalid("a single empty block")),
            _ => Ok(None),
        }
    }

    fn whole_block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut at = 0;
        while at < BLOCK {
            match self.inner.read(&mut block[at..])? {
                0 if at == 0 => return Ok(None),
                0 => return Err(ends_early()),
                read => at += read,
            }
        }
        Ok(Some(block))
    }
}

/// The content of the current member.
impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..wanted])?;
        self.left -= read as u64;
        if read == 0 { Err(ends_early()) } else { Ok(read) }
    }
}

/// What is wrong with a header, in the words of who reads a chart.
fn told(bad: Bad) -> io::Error {
    invalid(match bad {
        Bad::Checksum => "a header with a wrong checksum",
        Bad::NotOctal(_) => "a number that is not octal",
        Bad::TooLarge(_) => "a number beyond all bounds",
        Bad::NegativeSize => "a member of negative size",
        Bad::Record => "a malformed PAX record",
        Bad::PaxSize | Bad::PaxNumber => "a PAX number that is none",
        Bad::PaxTime => "a PAX time that is none",
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tar in it holds {what}"))
}

fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the tar in it ends in the middle of a member")
}
