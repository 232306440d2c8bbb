//! The members of a tar archive, as Go's `archive/tar` reads them: the oldest
//! format, USTAR, STAR, PAX and GNU; links and devices have no content; one
//! block of zeros ends the archive if nothing follows it.
//!
//! Sparse members are refused: what Go makes of them is more than a chart needs.

use std::io::{self, Read};

const BLOCK: usize = 512;
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

/// What earlier headers say of the next member.
#[derive(Default)]
struct Extension {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    long_name: Vec<u8>,
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
        let mut extension = Extension::default();
        loop {
            if !self.skip()? {
                return Ok(None);
            }
            let Some(block) = self.block()? else { return Ok(None) };
            let raw = Raw::parse(&block)?;
            self.content(raw.flag, raw.size)?;
            match raw.flag {
                b'x' => extension.records = records(&self.extension()?)?,
                b'g' => {
                    let global = records(&self.extension()?)?;
                    let path = path_in(&global).unwrap_or(raw.name);
                    return Ok(Some(Header { path: text(&path), is_global: true, is_directory: false, size: 0 }));
                }
                b'L' => extension.long_name = until_nul(&self.extension()?).to_vec(),
                b'K' => drop(self.extension()?),
                _ => return self.member(raw, extension).map(Some),
            }
        }
    }

    fn member(&mut self, raw: Raw, extension: Extension) -> io::Result<Header> {
        if raw.flag == b'S' || extension.records.iter().any(|(key, _)| key.starts_with(b"GNU.sparse.")) {
            return Err(invalid("a sparse member, which is not supported here"));
        }
        check_records(&extension.records)?;
        let size = match value(&extension.records, b"size") {
            Some(text) => number(text)?,
            None => raw.size,
        };
        let name = path_in(&extension.records).unwrap_or(raw.name);
        let name = if extension.long_name.is_empty() { name } else { extension.long_name };
        let flag = if raw.flag == 0 && name.ends_with(b"/") { b'5' } else { raw.flag };
        self.content(flag, size)?;
        let is_directory = flag == b'5' || raw.mode & !0o7777 == 0o40000;
        // Only a link claims a size below zero and gets this far.
        Ok(Header { path: text(&name), is_global: false, is_directory, size: u64::try_from(size).unwrap_or(0) })
    }

    /// How much content follows a header.
    fn content(&mut self, flag: u8, size: i64) -> io::Result<()> {
        let size = if (b'1'..=b'6').contains(&flag) { 0 } else { size };
        self.left = u64::try_from(size).map_err(|_| invalid("a member of negative size"))?;
        self.padding = self.left.wrapping_neg() % BLOCK as u64;
        Ok(())
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

/// The fields of one block.
struct Raw {
    name: Vec<u8>,
    flag: u8,
    size: i64,
    mode: i64,
}

impl Raw {
    fn parse(block: &[u8; BLOCK]) -> io::Result<Self> {
        check_sum(block)?;
        let size = numeric(&block[124..136])?;
        let mode = numeric(&block[100..108])?;
        for other in [108..116, 116..124, 136..148] {
            numeric(&block[other])?;
        }
        let mut name = until_nul(&block[..100]).to_vec();
        let prefix = prefix(block)?;
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        Ok(Self { name, flag: block[156], size, mode })
    }
}

/// The folder of the name, where the format has a field for it.
fn prefix(block: &[u8; BLOCK]) -> io::Result<&[u8]> {
    let is_ustar = block[257..263] == *b"ustar\0";
    let is_gnu = block[257..265] == *b"ustar  \0";
    if !is_ustar && !is_gnu {
        return Ok(&[]);
    }
    for device in [329..337, 337..345] {
        numeric(&block[device])?;
    }
    if is_ustar && block[508..] == *b"tar\0" {
        for time in [476..488, 488..500] {
            numeric(&block[time])?;
        }
        return Ok(until_nul(&block[345..476]));
    }
    let prefix = until_nul(&block[345..500]);
    // GNU has times there. Archives of old Go programs have a folder.
    let is_time = |field: &[u8]| field[0] == 0 || numeric(field).is_ok();
    let has_times = is_time(&block[345..357]) && is_time(&block[357..369]);
    Ok(if is_gnu && (has_times || !prefix.is_ascii()) { &[] } else { prefix })
}

fn check_sum(block: &[u8; BLOCK]) -> io::Result<()> {
    let claimed = octal(&block[148..156])?;
    let plain = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let bytes = || block.iter().enumerate().map(|(at, byte)| plain(at, *byte));
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    if claimed == unsigned || claimed == signed { Ok(()) } else { Err(invalid("a header with a wrong checksum")) }
}

/// A number in base 256 where the high bit is set, in octal digits otherwise.
fn numeric(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 == 0 {
        return octal(field);
    }
    let inverted = if field[0] & 0x40 != 0 { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (at, byte) in field.iter().enumerate() {
        let byte = (byte ^ inverted) & if at == 0 { 0x7f } else { 0xff };
        if value >> 56 != 0 {
            return Err(invalid("a number beyond all bounds"));
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| invalid("a number beyond all bounds"))?;
    Ok(if inverted == 0 { value } else { !value })
}

/// Octal digits between spaces and NULs.
fn octal(field: &[u8]) -> io::Result<i64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_space(byte)) else { return Ok(0) };
    let end = field.iter().rposition(|byte| !is_space(byte)).unwrap_or(start);
    let digits = until_nul(&field[start..=end]);
    let is_octal = digits.iter().all(|byte| matches!(byte, b'0'..=b'7'));
    let value = str::from_utf8(digits).ok().filter(|_| is_octal).and_then(|digits| u64::from_str_radix(digits, 8).ok());
    value.map(|value| value as i64).ok_or_else(|| invalid("a number that is not octal"))
}

/// The records `<length> <key>=<value>\n` of a PAX header.
fn records(mut rest: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (key, value, after) = record(rest).ok_or_else(|| invalid("a malformed PAX record"))?;
        all.push((key.to_vec(), value.to_vec()));
        rest = after;
    }
    Ok(all)
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    if length < 5 || length > bytes.len() || length <= space + 1 {
        return None;
    }
    let (record, after) = bytes.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let names = [&b"path"[..], b"linkpath", b"uname", b"gname"].contains(&key);
    let has_nul = if names { value.contains(&0) } else { key.contains(&0) };
    (!key.is_empty() && !has_nul).then_some((key, value, after))
}

/// Numbers and times must be some, also those that nobody uses.
fn check_records(records: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    for key in [&b"uid"[..], b"gid"] {
        value(records, key).map(number).transpose()?;
    }
    for key in [&b"atime"[..], b"mtime", b"ctime"] {
        value(records, key).map(time).transpose()?;
    }
    Ok(())
}

/// The last record of a key; an empty one says nothing.
fn value<'a>(records: &'a [(Vec<u8>, Vec<u8>)], key: &[u8]) -> Option<&'a [u8]> {
    let last = records.iter().rev().find(|(name, _)| name == key);
    last.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
}

fn path_in(records: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    value(records, b"path").map(<[u8]>::to_vec)
}

fn number(digits: &[u8]) -> io::Result<i64> {
    let number = str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| invalid("a PAX number that is none"))
}

/// Seconds, and digits of a fraction.
fn time(text: &[u8]) -> io::Result<()> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    number(parts.next().unwrap_or_default())?;
    let fraction = parts.next().unwrap_or_default();
    if fraction.iter().all(u8::is_ascii_digit) { Ok(()) } else { Err(invalid("a PAX time that is none")) }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == 0).map_or(bytes, |end| &bytes[..end])
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
