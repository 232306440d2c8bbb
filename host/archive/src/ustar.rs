//! Tar headers, byte for byte as Go's `archive/tar` writes them.
//!
//! A header is plain USTAR where the name and the size fit, and is preceded by
//! a PAX header where they do not: long or non-ASCII names, files of 8 GiB and
//! more. Owner, names, times and device numbers are always zero.

use base::error::{Error, Result};

/// Tar counts in blocks of this many bytes.
pub const BLOCK: usize = tar_header::BLOCK;
/// Two empty blocks end a tar.
pub(crate) const TRAILER: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const NAME: usize = 100;
const PREFIX: usize = 155;
/// The largest size that eleven octal digits hold.
const LARGEST_OCTAL: u64 = 0o77_777_777_777;

/// What kind of entry a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory, which has no content.
    Directory,
}

impl Kind {
    fn flag(self) -> u8 {
        match self {
            Kind::File => b'0',
            Kind::Directory => b'5',
        }
    }
}

/// The header of an entry: one block, or three and more with a PAX header.
///
/// # Errors
/// A path that no header can hold: empty, or with a NUL in it.
pub fn header(path: &str, kind: Kind, mode: u32, size: u64) -> Result<Vec<u8>> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::invalid(format!("the archive path `{}` is empty or holds a NUL", path.escape_default())));
    }
    let split = split_name(path);
    if let Some((prefix, name)) = split
        && size <= LARGEST_OCTAL
    {
        let mut block = base(name.as_bytes(), kind.flag(), mode, size, true);
        block[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
        return Ok(seal(block).to_vec());
    }
    Ok(with_pax(path, split.is_none(), kind, mode, size))
}

/// Zero bytes after a content of `size` bytes.
pub fn padding(size: u64) -> usize {
    tar_header::padding(size) as usize
}

/// Prefix and name of a path that USTAR can hold.
fn split_name(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME {
        return Some(("", path));
    }
    let end = path.len().min(PREFIX + 1);
    let at = path[..end].rfind('/').filter(|at| *at > 0)?;
    let name = &path[at + 1..];
    (!name.is_empty() && name.len() <= NAME).then_some((&path[..at], name))
}

/// The PAX header, its records, and the header proper.
fn with_pax(path: &str, long: bool, kind: Kind, mode: u32, size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if long {
        record(&mut records, "path", path);
    }
    if size > LARGEST_OCTAL {
        record(&mut records, "size", &size.to_string());
    }
    let ascii: String = path.chars().filter(char::is_ascii).collect();
    let (directory, file) = ascii.rsplit_once('/').map_or(("", ascii.as_str()), |(d, f)| (d, f));
    let pax_name =
        if directory.is_empty() { format!("PaxHeaders.0/{file}") } else { format!("{directory}/PaxHeaders.0/{file}") };
    let mut bytes = seal(base(cut(&pax_name), b'x', 0, records.len() as u64, false)).to_vec();
    bytes.extend_from_slice(&records);
    bytes.resize(bytes.len() + padding(records.len() as u64), 0);
    let octal = if size > LARGEST_OCTAL { 0 } else { size };
    bytes.extend_from_slice(&seal(base(cut(&ascii), kind.flag(), mode, octal, true)));
    bytes
}

/// The first 100 bytes, without a slash at the end.
fn cut(name: &str) -> &[u8] {
    name[..name.len().min(NAME)].trim_end_matches('/').as_bytes()
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    records.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}

/// A header without prefix and checksum. Go leaves the device numbers of a
/// PAX header empty.
fn base(name: &[u8], flag: u8, mode: u32, size: u64, devices: bool) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], u64::from(mode & 0o7777));
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], 0);
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    if devices {
        octal(&mut block[329..337], 0);
        octal(&mut block[337..345], 0);
    }
    block
}

/// Octal digits with leading zeros and a NUL at the end.
fn octal(field: &mut [u8], mut value: u64) {
    let Some((last, digits)) = field.split_last_mut() else { return };
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

fn seal(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    let sum = tar_header::checksum(&block);
    octal(&mut block[148..155], sum);
    block[155] = b' ';
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_header_is_what_go_writes() {
        let block = header("web", Kind::Directory, 0o700, 0).unwrap();
        assert_eq!(block.len(), BLOCK);
        assert_eq!(&block[100..157], b"0000700\x000000000\x000000000\x0000000000000\x0000000000000\x00007671\x00 5");
        assert_eq!(&block[257..265], b"ustar\x0000");
        assert_eq!(&block[329..345], b"0000000\x000000000\x00");
    }

    #[test]
    fn long_names_use_the_prefix_and_then_pax() {
        let split = format!("{}/{}", "d".repeat(120), "f".repeat(90));
        let block = header(&split, Kind::File, 0o644, 5).unwrap();
        assert_eq!(block.len(), BLOCK);
        assert_eq!(&block[..90], "f".repeat(90).as_bytes());
        assert_eq!(&block[345..465], "d".repeat(120).as_bytes());

        let long = format!("dir/{}", "f".repeat(120));
        let blocks = header(&long, Kind::File, 0o644, 5).unwrap();
        assert_eq!(blocks.len(), 3 * BLOCK);
        assert_eq!(&blocks[..16], b"dir/PaxHeaders.0");
        assert_eq!(blocks[156], b'x');
        assert!(blocks[BLOCK..].starts_with(format!("134 path={long}\n").as_bytes()));
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_go_into_pax() {
        let blocks = header("big", Kind::File, 0o644, 1 << 33).unwrap();
        assert!(blocks[BLOCK..].starts_with(b"19 size=8589934592\n"));
        assert_eq!(&blocks[2 * BLOCK + 124..2 * BLOCK + 136], b"00000000000\0");
        assert_eq!(header("big", Kind::File, 0o644, (1 << 33) - 1).unwrap().len(), BLOCK);
    }

    #[test]
    fn the_tar_crate_reads_every_kind_of_header() {
        let long = format!("a/{}/é", "x".repeat(200));
        let mut bytes = Vec::new();
        for (path, content) in [("plain", "1"), (long.as_str(), "22")] {
            bytes.extend(header(path, Kind::File, 0o600, content.len() as u64).unwrap());
            bytes.extend(content.as_bytes());
            bytes.resize(bytes.len() + padding(content.len() as u64), 0);
        }
        bytes.extend(TRAILER);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|e| String::from_utf8(e.unwrap().path_bytes().into_owned()).unwrap())
            .collect();
        assert_eq!(paths, ["plain".to_owned(), long]);
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [5, 88, 89, 90, 91, 92, 93, 990, 991, 992] {
            let mut records = Vec::new();
            record(&mut records, "path", &"x".repeat(length));
            let text = String::from_utf8(records).unwrap();
            let claimed: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(claimed, text.len());
        }
    }
}
