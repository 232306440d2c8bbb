//! What the headers of a tar say, as Go's `archive/tar` reads them: the oldest
//! format, USTAR, STAR, PAX and GNU.
//!
//! [`Fields`] are those of one block. Headers about the next member are gathered in
//! [`Said`], and [`Said::member`] brings all together: which name counts, what it is,
//! how much content follows. No I/O and no bounds: whoever reads an archive brings
//! both, and says in its own words what is [`Bad`].

use std::ops::Range;

/// A tar counts in blocks of this many bytes.
pub const BLOCK: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
const TARGET: Range<usize> = 157..257;
/// Owner, group and time: numbers that no reader here uses.
const UNUSED: [Range<usize>; 3] = [108..116, 116..124, 136..148];

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Its checksum is another one.
    Checksum,
    /// A field is neither octal digits nor in base 256.
    NotOctal(Field),
    /// A field holds more than fits a number.
    TooLarge(Field),
    /// It announces less than nothing.
    NegativeSize,
    /// A PAX record is not `<length> <key>=<value>\n`.
    Record,
    /// The size that a PAX record tells is no number.
    PaxSize,
    /// Another number of a PAX record is none.
    PaxNumber,
    /// A time of a PAX record is none.
    PaxTime,
}

/// A number of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The sum of all bytes.
    Checksum,
    /// Permissions and, in old archives, the kind.
    Mode,
    /// Bytes of content.
    Size,
    /// What nobody uses: owner, group, times, devices.
    Unused,
}

/// The fields of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// With the folder in front, where the format has a field for it.
    pub name: Vec<u8>,
    /// Where a link points.
    pub target: Vec<u8>,
    /// The type flag.
    pub flag: u8,
    /// Bytes of content as claimed.
    pub size: i64,
    /// Permissions, and more in old archives.
    pub mode: i64,
    /// Whether it carries the magic of USTAR or GNU.
    pub ustar: bool,
}

impl Fields {
    /// Reads a block that is not empty.
    ///
    /// # Errors
    /// A checksum that is another one, a size or a mode that is none.
    pub fn parse(block: &[u8; BLOCK]) -> Result<Self, Bad> {
        check_sum(block)?;
        let (size, mode) = (number(&block[SIZE], Field::Size)?, number(&block[MODE], Field::Mode)?);
        let (name, prefix) = (until_nul(&block[NAME]), prefix(block));
        let name = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        let target = until_nul(&block[TARGET]).to_vec();
        Ok(Self { name, target, flag: block[156], size, mode, ustar: block[257..262] == *b"ustar" })
    }

    /// Bytes of content that follow this block. Links, devices and directories have
    /// none, whatever they claim.
    ///
    /// # Errors
    /// A size below zero.
    pub fn content(&self) -> Result<u64, Bad> {
        content(self.flag, self.size)
    }
}

/// Refuses what Go refuses of the numbers that nobody uses.
///
/// # Errors
/// One that is none.
pub fn check_unused(block: &[u8; BLOCK]) -> Result<(), Bad> {
    let check = |field: Range<usize>| number(&block[field], Field::Unused).map(drop);
    UNUSED.into_iter().try_for_each(check)?;
    if is_ustar(block) || is_gnu(block) {
        [329..337, 337..345].into_iter().try_for_each(check)?;
    }
    if is_star(block) { [476..488, 488..500].into_iter().try_for_each(check) } else { Ok(()) }
}

/// What headers said about the next member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    name: Vec<u8>,
    target: Vec<u8>,
}

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As it is written.
    pub name: Vec<u8>,
    /// Where a link points, as it is written.
    pub target: Vec<u8>,
    /// The type flag; `5` for what the oldest format calls a file with a slash at its
    /// end.
    pub flag: u8,
    /// Bytes as claimed: a link may claim some and has none.
    pub size: i64,
    /// Bytes of content that follow.
    pub content: u64,
    /// Permissions, and more in old archives.
    pub mode: i64,
    /// Whether the header carries the magic of USTAR or GNU.
    pub ustar: bool,
    /// Whether holes are left out of the content.
    pub is_sparse: bool,
}

impl Said {
    /// Takes a PAX header: its records count in the place of an earlier one's.
    ///
    /// # Errors
    /// A record that is none.
    pub fn pax(&mut self, content: &[u8]) -> Result<(), Bad> {
        self.records = records(content)?;
        Ok(())
    }

    /// Takes a GNU header with a long name.
    pub fn long_name(&mut self, content: &[u8]) {
        self.name = until_nul(content).to_vec();
    }

    /// Takes a GNU header with a long target of a link.
    pub fn long_target(&mut self, content: &[u8]) {
        self.target = until_nul(content).to_vec();
    }

    /// The name that records tell; None where they tell none.
    pub fn path(&self) -> Option<&[u8]> {
        value(&self.records, b"path")
    }

    /// The member whose header these are said about.
    ///
    /// # Errors
    /// A size that is none, or below zero.
    pub fn member(self, fields: Fields) -> Result<Member, Bad> {
        let Self { records, name: long_name, target: long_target } = self;
        let size = match value(&records, b"size") {
            Some(text) => decimal(text).ok_or(Bad::PaxSize)?,
            None => fields.size,
        };
        let told = |long: Vec<u8>, key: &[u8], plain: Vec<u8>| match value(&records, key) {
            _ if !long.is_empty() => long,
            Some(told) => told.to_vec(),
            None => plain,
        };
        let name = told(long_name, b"path", fields.name);
        let flag = if fields.flag == 0 && name.ends_with(b"/") { b'5' } else { fields.flag };
        let is_sparse = flag == b'S' || records.iter().any(|(key, _)| key.starts_with(b"GNU.sparse."));
        Ok(Member {
            name,
            target: told(long_target, b"linkpath", fields.target),
            flag,
            size,
            content: content(flag, size)?,
            mode: fields.mode,
            ustar: fields.ustar,
            is_sparse,
        })
    }

    /// Refuses what Go refuses of the records that nobody uses.
    ///
    /// # Errors
    /// A number or a time that is none.
    pub fn check_unused(&self) -> Result<(), Bad> {
        for key in [&b"uid"[..], b"gid"] {
            value(&self.records, key).map_or(Ok(()), |text| decimal(text).map(drop).ok_or(Bad::PaxNumber))?;
        }
        [&b"atime"[..], b"mtime", b"ctime"]
            .into_iter()
            .try_for_each(|key| value(&self.records, key).map_or(Ok(()), time))
    }
}

/// Zero bytes behind a content of so many.
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// The sum of a header's bytes with the checksum field taken as spaces.
pub fn checksum(block: &[u8; BLOCK]) -> u64 {
    summed(block).map(u64::from).sum()
}

fn summed(block: &[u8; BLOCK]) -> impl Iterator<Item = u8> {
    let plain = |(at, byte): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { *byte };
    block.iter().enumerate().map(plain)
}

fn check_sum(block: &[u8; BLOCK]) -> Result<(), Bad> {
    let claimed = octal(&block[CHECKSUM]).ok_or(Bad::NotOctal(Field::Checksum))?;
    let signed: i64 = summed(block).map(|byte| i64::from(byte as i8)).sum();
    if i64::try_from(checksum(block)) == Ok(claimed) || claimed == signed { Ok(()) } else { Err(Bad::Checksum) }
}

fn content(flag: u8, size: i64) -> Result<u64, Bad> {
    if (b'1'..=b'6').contains(&flag) { Ok(0) } else { u64::try_from(size).map_err(|_| Bad::NegativeSize) }
}

fn is_ustar(block: &[u8; BLOCK]) -> bool {
    block[257..263] == *b"ustar\0"
}

fn is_gnu(block: &[u8; BLOCK]) -> bool {
    block[257..265] == *b"ustar  \0"
}

fn is_star(block: &[u8; BLOCK]) -> bool {
    is_ustar(block) && block[508..] == *b"tar\0"
}

/// The folder of the name, where the format has a field for it.
fn prefix(block: &[u8; BLOCK]) -> &[u8] {
    if is_star(block) {
        return until_nul(&block[345..476]);
    }
    let prefix = until_nul(&block[345..500]);
    // GNU has times there. Archives of old Go programs have a folder.
    let is_time = |field: Range<usize>| block[field.start] == 0 || number(&block[field], Field::Unused).is_ok();
    let is_folder = || prefix.is_ascii() && !(is_time(345..357) && is_time(357..369));
    if is_ustar(block) || is_gnu(block) && is_folder() { prefix } else { &[] }
}

/// A number in base 256 where the high bit is set, in octal digits otherwise.
fn number(field: &[u8], of: Field) -> Result<i64, Bad> {
    if field[0] & 0x80 == 0 {
        return octal(field).ok_or(Bad::NotOctal(of));
    }
    let inverted = if field[0] & 0x40 != 0 { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (at, byte) in field.iter().enumerate() {
        let byte = (byte ^ inverted) & if at == 0 { 0x7f } else { 0xff };
        if value >> 56 != 0 {
            return Err(Bad::TooLarge(of));
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| Bad::TooLarge(of))?;
    Ok(if inverted == 0 { value } else { !value })
}

/// Octal digits between spaces and NULs.
fn octal(field: &[u8]) -> Option<i64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_space(byte)) else { return Some(0) };
    let end = field.iter().rposition(|byte| !is_space(byte)).unwrap_or(start);
    let digits = until_nul(&field[start..=end]);
    let is_octal = digits.iter().all(|byte| matches!(byte, b'0'..=b'7'));
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_octal)?;
    u64::from_str_radix(digits, 8).ok().map(|value| value as i64)
}

/// The records `<length> <key>=<value>\n` of a PAX header.
fn records(mut rest: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Bad> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (key, value, after) = record(rest).ok_or(Bad::Record)?;
        all.push((key.to_vec(), value.to_vec()));
        rest = after;
    }
    Ok(all)
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
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

/// The last record of a key; an empty one says nothing.
fn value<'a>(records: &'a [(Vec<u8>, Vec<u8>)], key: &[u8]) -> Option<&'a [u8]> {
    let last = records.iter().rev().find(|(name, _)| name == key);
    last.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
}

fn decimal(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds, and digits of a fraction.
fn time(text: &[u8]) -> Result<(), Bad> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    decimal(parts.next().unwrap_or_default()).ok_or(Bad::PaxNumber)?;
    let fraction = parts.next().unwrap_or_default();
    if fraction.iter().all(u8::is_ascii_digit) { Ok(()) } else { Err(Bad::PaxTime) }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == 0).map_or(bytes, |end| &bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &[u8], flag: u8, size: &[u8], magic: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0000644");
        block[124..124 + size.len()].copy_from_slice(size);
        block[156] = flag;
        block[257..257 + magic.len()].copy_from_slice(magic);
        sealed(block)
    }

    fn sealed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[CHECKSUM].copy_from_slice(sum.as_bytes());
        block
    }

    fn said(pax: &[u8]) -> Result<Said, Bad> {
        let mut said = Said::default();
        said.pax(pax).map(|()| said)
    }

    #[test]
    fn a_folder_counts_where_the_format_has_a_field_for_it() {
        for (magic, end, name) in [
            (&b"ustar\x0000"[..], &b""[..], "folder/a"),
            (b"ustar\x0000", b"tar\0", "folder/a"),
            (b"ustar  \0", b"", "folder/a"),
            (b"", b"", "a"),
        ] {
            let mut block = block(b"a", b'0', b"0", magic);
            block[345..351].copy_from_slice(b"folder");
            block[508..508 + end.len()].copy_from_slice(end);
            assert_eq!(Fields::parse(&sealed(block)).unwrap().name, name.as_bytes(), "{magic:?}");
        }
        // Times of GNU are no folder.
        let mut block = block(b"a", b'0', b"0", b"ustar  \0");
        block[345..357].copy_from_slice(b"00000000001\0");
        assert_eq!(Fields::parse(&sealed(block)).unwrap().name, b"a");
    }

    #[test]
    fn the_last_word_about_a_name_and_a_size_counts() {
        let fields = || Fields::parse(&block(b"short", b'0', b"7", b"ustar\x0000")).unwrap();
        let member = |said: Said| said.member(fields()).unwrap();
        assert_eq!((member(Said::default()).name, member(Said::default()).content), (b"short".to_vec(), 7));
        let pax = said(b"10 path=p\n10 path=q\n9 size=3\n").unwrap();
        assert_eq!((member(pax.clone()).name, member(pax.clone()).content), (b"q".to_vec(), 3));
        let mut gnu = pax;
        gnu.long_name(b"long\0rest");
        assert_eq!(member(gnu).name, b"long");
        // An empty record says nothing.
        assert_eq!(member(said(b"8 path=\n").unwrap()).name, b"short");
        assert!(member(said(b"22 GNU.sparse.size=12\n").unwrap()).is_sparse);
    }

    #[test]
    fn what_has_no_content_has_none_whatever_it_claims() {
        for (flag, content) in [(b'0', 7), (0, 7), (b'1', 0), (b'2', 0), (b'3', 0), (b'5', 0), (b'6', 0), (b'7', 7)] {
            let fields = Fields::parse(&block(b"a", flag, b"7", b"ustar\x0000")).unwrap();
            assert_eq!(fields.content(), Ok(content), "{flag}");
        }
        let old = Fields::parse(&block(b"a/", 0, b"7", b"")).unwrap();
        let member = Said::default().member(old).unwrap();
        assert_eq!((member.flag, member.content), (b'5', 0));
    }

    #[test]
    fn what_is_none_is_named() {
        let bad = |size: &[u8]| Fields::parse(&block(b"a", b'0', size, b"")).and_then(|fields| fields.content());
        assert_eq!(bad(b"9"), Err(Bad::NotOctal(Field::Size)));
        assert_eq!(bad(b"1 2"), Err(Bad::NotOctal(Field::Size)));
        assert_eq!(bad(&[0xff; 12]), Err(Bad::NegativeSize));
        assert_eq!(bad(&[0x80, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Err(Bad::TooLarge(Field::Size)));
        assert_eq!(bad(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Ok(2 << 32));
        let mut spoilt = block(b"a", b'0', b"1", b"");
        spoilt[0] = b'b';
        assert_eq!(Fields::parse(&spoilt), Err(Bad::Checksum));
        for pax in [&b"10 path=p"[..], b"x path=p\n", b"12 path=p\0q\n", b"4 =\n", b"99 path=p\n"] {
            assert_eq!(said(pax), Err(Bad::Record), "{pax:?}");
        }
        let fields = Fields::parse(&block(b"a", b'0', b"1", b"")).unwrap();
        assert_eq!(said(b"9 size=x\n").unwrap().member(fields), Err(Bad::PaxSize));
        assert_eq!(said(b"8 uid=x\n").unwrap().check_unused(), Err(Bad::PaxNumber));
        assert_eq!(said(b"12 mtime=1.x\n").unwrap().check_unused(), Err(Bad::PaxTime));
        let mut owner = block(b"a", b'0', b"1", b"ustar\x0000");
        owner[108..111].copy_from_slice(b"9\0\0");
        assert_eq!(check_unused(&sealed(owner)), Err(Bad::NotOctal(Field::Unused)));
    }
}
