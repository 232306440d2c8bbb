//! Reads a zip front to back, as it passes by: the list at its end is never
//! seen.
//!
//! Most members are passed over. Where the header of one says how long it is
//! that costs nothing; where its length comes after it, its end is found by the
//! record that stands there and fits.

use std::io::{self, BufRead, Read};

use flate2::bufread::DeflateDecoder;
use memchr::memmem;

use crate::content::{Content, Why};

/// Bytes that all members of an archive may unpack to, those of nested ones
/// included.
const MOST: u64 = 2 << 30;
/// Members, likewise.
const MEMBERS: u64 = 1_000_000;
const LONGEST_NAME: usize = 4096;
/// Bytes of a program in front of the archive.
const LONGEST_PREFIX: u64 = 8 << 20;
const WINDOW: usize = 64 << 10;

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
const HEADER: usize = 30;

/// What may still be unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes: u64,
    members: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: MOST, members: MEMBERS }
    }
}

impl Budget {
    fn spend(&mut self, bytes: u64, members: u64) -> Result<(), Why> {
        let bytes = self.bytes.checked_sub(bytes);
        let members = self.members.checked_sub(members);
        (self.bytes, self.members) = bytes.zip(members).ok_or_else(|| {
            self.bytes = 0;
            format!("it unpacks to more than {MOST} bytes or {MEMBERS} members")
        })?;
        Ok(())
    }
}

/// Looks at a member.
pub type Visit<'v> = &'v mut dyn FnMut(&mut Budget, &str, &mut Member<'_, '_>) -> Result<(), Why>;

/// Shows each member of the archive.
///
/// # Errors
/// Where it is no zip, is damaged, or unpacks to too much.
pub fn walk(content: &mut dyn Content, budget: &mut Budget, visit: Visit<'_>) -> Result<(), Why> {
    let mut source = Source { inner: content, buffer: Vec::new(), at: 0 };
    if !source.find_first()? {
        return Err("it is no zip".to_owned());
    }
    loop {
        let start = source.peek(HEADER)?;
        if !start.starts_with(LOCAL) {
            let is_end = start.starts_with(CENTRAL) || start.starts_with(END);
            return if is_end {
                Ok(())
            } else {
                Err("it is damaged or cut: a member does not begin where it should".to_owned())
            };
        }
        let header = Header::read(&mut source)?;
        budget.spend(0, 1)?;
        let mut member = Member { source: &mut source, header: &header, state: State::Untouched, given: 0 };
        let seen = visit(budget, &header.name, &mut member);
        let (state, given) = (member.state, member.given);
        budget.spend(given, 0)?;
        seen?;
        source.finish(&header, state)?;
    }
}

/// What stands before a member.
#[derive(Debug)]
struct Header {
    name: String,
    method: u16,
    is_encrypted: bool,
    /// None where it comes after the member.
    size: Option<u64>,
}

impl Header {
    fn read(source: &mut Source<'_>) -> Result<Self, Why> {
        let cut = || "it is cut in the header of a member".to_owned();
        let fixed = source.peek(HEADER)?.first_chunk::<HEADER>().copied().ok_or_else(cut)?;
        let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let (names, extras) = (usize::from(short(26)), usize::from(short(28)));
        if names > LONGEST_NAME {
            return Err(format!("the name of a member has {names} bytes"));
        }
        let whole = source.peek(HEADER + names + extras)?;
        if whole.len() < HEADER + names + extras {
            return Err(cut());
        }
        let name = String::from_utf8_lossy(&whole[HEADER..HEADER + names]).into_owned();
        let packed = u32::from_le_bytes([fixed[18], fixed[19], fixed[20], fixed[21]]);
        let size = match packed {
            u32::MAX => long_size(&whole[HEADER + names..]).ok_or_else(|| "a member has no size".to_owned())?,
            size => u64::from(size),
        };
        let flags = short(6);
        let comes_after = flags & 8 != 0 && size == 0;
        let header = Self {
            name: name.trim_start_matches('/').to_owned(),
            method: short(8),
            is_encrypted: flags & 1 != 0,
            size: (!comes_after).then_some(size),
        };
        source.consume(HEADER + names + extras);
        Ok(header)
    }
}

/// The packed size in the extra field of a large member.
fn long_size(mut extra: &[u8]) -> Option<u64> {
    while extra.len() >= 4 {
        let (id, length) =
            (u16::from_le_bytes([extra[0], extra[1]]), usize::from(u16::from_le_bytes([extra[2], extra[3]])));
        let field = extra.get(4..4 + length)?;
        if id == 1 {
            return field.get(8..16)?.try_into().ok().map(u64::from_le_bytes);
        }
        extra = &extra[4 + length..];
    }
    None
}

/// How far a member was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untouched,
    /// So many of its packed bytes.
    Taken(u64),
    /// To its end, which told itself.
    Whole,
}

impl State {
    fn take(&mut self, bytes: u64) {
        match self {
            Self::Untouched => *self = Self::Taken(bytes),
            Self::Taken(taken) => *taken += bytes,
            // Who asks again after the end is given nothing.
            Self::Whole => {}
        }
    }
}

/// A member, at its beginning.
pub struct Member<'m, 's> {
    source: &'m mut Source<'s>,
    header: &'m Header,
    state: State,
    /// Bytes that it gave, unpacked.
    given: u64,
}

impl Member<'_, '_> {
    /// Its text, of at most `limit` bytes.
    ///
    /// # Errors
    /// Where it is longer, encrypted or damaged.
    pub fn text(&mut self, limit: u64, _budget: &mut Budget) -> Result<String, Why> {
        let mut bytes = Vec::new();
        let name = self.header.name.clone();
        {
            let mut content = self.content()?;
            (&mut *content).take(limit + 1).read_to_end(&mut bytes).map_err(|error| format!("`{name}`: {error}"))?;
            if bytes.len() as u64 > limit {
                return Err(format!("`{name}` has more than {limit} bytes"));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its content, unpacked as it is read.
    ///
    /// # Errors
    /// Where it is encrypted, or packed in a way that archives of Java are not.
    pub fn content<'c>(&'c mut self) -> Result<Box<dyn Content + 'c>, Why> {
        let Self { source, header, state, given } = self;
        if header.is_encrypted {
            return Err(format!("`{}` is encrypted", header.name));
        }
        let part = Part { source, left: header.size.unwrap_or(u64::MAX), state };
        match (header.method, header.size) {
            (0, Some(_)) => Ok(Box::new(Counted { inner: part, given })),
            (8, _) => Ok(Box::new(Counted { inner: Inflated::new(part, header.size.is_none()), given })),
            (0, None) => Err(format!("`{}` is stored and its length comes after it", header.name)),
            (method, _) => Err(format!("`{}` is packed with method {method}", header.name)),
        }
    }
}

/// The packed bytes of a member.
struct Part<'p, 's> {
    source: &'p mut Source<'s>,
    left: u64,
    state: &'p mut State,
}

impl Read for Part<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Part<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = self.source.peek(1).map_err(io::Error::other)?;
        Ok(&bytes[..bytes.len().min(most)])
    }

    fn consume(&mut self, length: usize) {
        self.source.consume(length);
        self.left = self.left.saturating_sub(length as u64);
        self.state.take(length as u64);
    }
}

impl Content for Part<'_, '_> {
    fn pass(&mut self, length: u64) -> io::Result<u64> {
        let passed = self.source.pass(length.min(self.left)).map_err(io::Error::other)?;
        self.left -= passed;
        self.state.take(passed);
        Ok(passed)
    }
}

/// A member that is inflated. One whose length is not known is read to its end
/// when it is dropped: only then it is known where that is.
struct Inflated<'p, 's> {
    decoder: DeflateDecoder<Part<'p, 's>>,
    is_open: bool,
}

impl<'p, 's> Inflated<'p, 's> {
    fn new(part: Part<'p, 's>, is_open: bool) -> Self {
        Self { decoder: DeflateDecoder::new(part), is_open }
    }
}

impl Read for Inflated<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.is_open {
            self.is_open = false;
            *self.decoder.get_mut().state = State::Whole;
        }
        Ok(read)
    }
}

impl Drop for Inflated<'_, '_> {
    fn drop(&mut self) {
        let mut buffer = vec![0; if self.is_open { WINDOW } else { 0 }];
        let mut left = MOST;
        while self.is_open && left > 0 {
            match self.read(&mut buffer) {
                Ok(read) if read > 0 => left = left.saturating_sub(read as u64),
                _ => break,
            }
        }
    }
}

impl Content for Inflated<'_, '_> {
    fn pass(&mut self, length: u64) -> io::Result<u64> {
        io::copy(&mut self.by_ref().take(length), &mut io::sink())
    }
}

/// Counts what is given, and ends a bomb.
struct Counted<'g, C> {
    inner: C,
    given: &'g mut u64,
}

impl<C> Counted<'_, C> {
    fn count(&mut self, bytes: u64) -> io::Result<()> {
        *self.given += bytes;
        if *self.given > MOST { Err(io::Error::other(format!("it unpacks to more than {MOST} bytes"))) } else { Ok(()) }
    }
}

impl<C: Read> Read for Counted<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count(read as u64)?;
        Ok(read)
    }
}

impl<C: Content> Content for Counted<'_, C> {
    fn pass(&mut self, length: u64) -> io::Result<u64> {
        let passed = self.inner.pass(length)?;
        self.count(passed)?;
        Ok(passed)
    }
}

/// What is read, with what was looked at and not taken yet.
struct Source<'s> {
    inner: &'s mut dyn Content,
    buffer: Vec<u8>,
    at: usize,
}

impl Source<'_> {
    /// At least `length` further bytes, fewer at the end.
    fn peek(&mut self, length: usize) -> Result<&[u8], Why> {
        if self.buffer.len() - self.at < length {
            self.buffer.drain(..self.at);
            self.at = 0;
            while self.buffer.len() < length {
                let wanted = (length.max(WINDOW) - self.buffer.len()) as u64;
                let read = (&mut *self.inner).take(wanted).read_to_end(&mut self.buffer);
                if read.map_err(|error| error.to_string())? == 0 {
                    break;
                }
            }
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, length: usize) {
        self.at = (self.at + length).min(self.buffer.len());
    }

    fn pass(&mut self, length: u64) -> Result<u64, Why> {
        let held = length.min((self.buffer.len() - self.at) as u64);
        self.consume(usize::try_from(held).unwrap_or(0));
        if held == length {
            return Ok(length);
        }
        Ok(held + self.inner.pass(length - held).map_err(|error| error.to_string())?)
    }

    /// Goes to the first member.
    fn find_first(&mut self) -> Result<bool, Why> {
        let mut passed = 0;
        while passed < LONGEST_PREFIX {
            let bytes = self.peek(WINDOW)?;
            if passed == 0 && bytes.starts_with(END) {
                return Ok(true);
            }
            if let Some(at) = memmem::find(bytes, LOCAL) {
                self.consume(at);
                return Ok(true);
            }
            let kept = bytes.len().saturating_sub(LOCAL.len() - 1);
            if kept == 0 || bytes.len() < WINDOW {
                return Ok(false);
            }
            self.consume(kept);
            passed += kept as u64;
        }
        Ok(false)
    }

    /// Goes behind a member that was read so far.
    fn finish(&mut self, header: &Header, state: State) -> Result<(), Why> {
        let taken = if let State::Taken(taken) = state { taken } else { 0 };
        match (header.size, state) {
            (Some(size), _) => {
                let rest = size.saturating_sub(taken);
                if self.pass(rest)? < rest {
                    return Err(format!("it is cut in `{}`", header.name));
                }
                // Some write the record all the same.
                self.pass_descriptor()
            }
            (None, State::Whole) => self.pass_descriptor(),
            (None, _) => self.find_end(taken).then_some(()).ok_or_else(|| format!("it is cut in `{}`", header.name)),
        }
    }

    /// Behind the record that says how long the member was, where there is one.
    fn pass_descriptor(&mut self) -> Result<(), Why> {
        let bytes = self.peek(28)?;
        let begins = |at: usize| bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK"));
        let signed = bytes.starts_with(DESCRIPTOR);
        let length = match signed {
            true => [16, 24].into_iter().find(|at| begins(*at)),
            false => [0, 12, 20].into_iter().find(|at| begins(*at)),
        };
        self.consume(length.unwrap_or(0));
        Ok(())
    }

    /// Looks for the record behind a member whose length is not known, of which
    /// `taken` bytes were read.
    fn find_end(&mut self, taken: u64) -> bool {
        let mut length = taken;
        loop {
            let Ok(bytes) = self.peek(WINDOW) else { return false };
            let is_last = bytes.len() < WINDOW;
            // What stands too near to the end is looked at with what follows.
            let seen = if is_last { bytes.len() } else { bytes.len() - 32 };
            let fits = |at: &usize| is_descriptor(&bytes[*at..], length + *at as u64);
            if let Some((at, behind)) =
                memmem::find_iter(&bytes[..seen], DESCRIPTOR).find(fits).map(|at| (at, &bytes[at..]))
            {
                let long = behind.get(24..26) == Some(b"PK") && behind.get(16..18) != Some(b"PK");
                self.consume(at + if long { 24 } else { 16 });
                return true;
            }
            if is_last {
                return false;
            }
            length += seen as u64;
            self.consume(seen);
        }
    }
}

/// Whether a record says that the member before it has `length` bytes.
fn is_descriptor(bytes: &[u8], length: u64) -> bool {
    let packed = bytes.get(8..12).and_then(|size| size.try_into().ok()).map(u32::from_le_bytes);
    packed.is_some_and(|packed| u64::from(packed) == length)
}

#[cfg(test)]
pub mod testing {
    //! Archives as several programs write them.

    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    /// A member of an archive.
    pub struct ZipMember {
        name: String,
        method: u16,
        flags: u16,
        packed: Vec<u8>,
        size: usize,
    }

    impl ZipMember {
        /// A member that is not compressed.
        pub fn stored(name: &str, text: &str) -> Self {
            Self::stored_bytes(name, text.as_bytes())
        }

        /// A member that is compressed, its length before it.
        pub fn deflated(name: &str, text: &str) -> Self {
            Self::deflated_bytes(name, text.as_bytes())
        }

        /// Its length comes after it.
        pub fn streamed(name: &str, text: &str) -> Self {
            Self::streamed_bytes(name, text.as_bytes())
        }

        /// The same as [`ZipMember::stored`] for bytes.
        pub fn stored_bytes(name: &str, bytes: &[u8]) -> Self {
            Self { name: name.into(), method: 0, flags: 0, packed: bytes.to_vec(), size: bytes.len() }
        }

        /// The same as [`ZipMember::deflated`] for bytes.
        pub fn deflated_bytes(name: &str, bytes: &[u8]) -> Self {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            Self { method: 8, packed: encoder.finish().unwrap(), ..Self::stored_bytes(name, bytes) }
        }

        /// The same as [`ZipMember::streamed`] for bytes.
        pub fn streamed_bytes(name: &str, bytes: &[u8]) -> Self {
            Self { flags: 8, ..Self::deflated_bytes(name, bytes) }
        }
    }

    /// The bytes of an archive with these members.
    pub fn archive(entries: &[ZipMember]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            let sizes = [entry.packed.len() as u32, entry.size as u32];
            bytes.extend(super::LOCAL);
            bytes.extend([20, 0]);
            bytes.extend(entry.flags.to_le_bytes());
            bytes.extend(entry.method.to_le_bytes());
            bytes.extend([0; 8]);
            let known = if entry.flags & 8 == 0 { sizes } else { [0, 0] };
            bytes.extend(known.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend((entry.name.len() as u16).to_le_bytes());
            bytes.extend([0; 2]);
            bytes.extend(entry.name.as_bytes());
            bytes.extend(&entry.packed);
            if entry.flags & 8 != 0 {
                bytes.extend(super::DESCRIPTOR);
                bytes.extend([0; 4]);
                bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
            }
        }
        bytes.extend(super::CENTRAL);
        bytes.extend([0; 60]);
        bytes
    }
}
