//! The header of a package: an index of tags, and the data that they point
//! into. All numbers are big-endian.

use serde_json::{Value, json};

use super::{cut, number};
use crate::content::Why;
use crate::found::{Kind, Package};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const SIZE: u32 = 1009;
const VENDOR: u32 = 1011;
const LICENSE: u32 = 1014;
const ARCHITECTURE: u32 = 1022;
const SOURCE: u32 = 1044;
const MODULE: u32 = 5096;

const INT32: u32 = 4;
const ENTRY: usize = 16;
/// What RPM allows.
const MOST_ENTRIES: usize = 65_535;

/// Reads a header. Keys of the signature count as packages to RPM, and to
/// nobody else.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Package>, Why> {
    let header = Header::new(bytes)?;
    let (name, version, release) = (header.text(NAME), header.text(VERSION), header.text(RELEASE));
    if name.is_empty() || version.is_empty() {
        return Ok(None);
    }
    let epoch = header.number(EPOCH);
    // What came from no source says so.
    let source = Some(header.text(SOURCE)).filter(|source| source != "(none)").unwrap_or_default();
    let full = match epoch {
        Some(epoch) => format!("{epoch}:{version}-{release}"),
        None => format!("{version}-{release}"),
    };
    let metadata = json!({
        "name": name, "version": version, "epoch": epoch, "architecture": header.text(ARCHITECTURE),
        "release": release, "sourceRpm": source, "size": header.number(SIZE).unwrap_or(0),
        "vendor": header.text(VENDOR), "modularityLabel": header.text(MODULE), "files": Value::Array(Vec::new()),
    });
    Ok(Some(Package::new(Kind::Rpm, name, full, metadata).licensed([header.text(LICENSE)])))
}

struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Why> {
        let length = |at| number(bytes, at).map(|bytes| u32::from_be_bytes(bytes) as usize);
        let (entries, data) = (length(0)?, length(4)?);
        if entries > MOST_ENTRIES {
            return Err(cut());
        }
        let (index, rest) = bytes[8..].split_at_checked(entries * ENTRY).ok_or_else(cut)?;
        Ok(Self { index, data: rest.get(..data).ok_or_else(cut)? })
    }

    /// Type and data of a tag.
    fn find(&self, tag: u32) -> Option<(u32, &'a [u8])> {
        let entries = self.index.as_chunks::<ENTRY>().0.iter();
        let field = |entry: &[u8; ENTRY], at: usize| {
            u32::from_be_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        let entry = entries.into_iter().find(|entry| field(entry, 0) == tag)?;
        Some((field(entry, 4), self.data.get(field(entry, 8) as usize..)?))
    }

    fn text(&self, tag: u32) -> String {
        let Some((_, data)) = self.find(tag) else { return String::new() };
        let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
        String::from_utf8_lossy(&data[..end]).into_owned()
    }

    fn number(&self, tag: u32) -> Option<u32> {
        let (kind, data) = self.find(tag)?;
        (kind == INT32).then(|| data.first_chunk::<4>().copied().map(u32::from_be_bytes))?
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::header;
    use super::*;

    #[test]
    fn an_epoch_is_part_of_the_version_where_there_is_one() {
        let version = |epoch| read(&header("bash", "5.1", "2.el9", epoch)).unwrap().unwrap().version;
        assert_eq!((version(None).as_str(), version(Some(1)).as_str()), ("5.1-2.el9", "1:5.1-2.el9"));
        let package = read(&header("bash", "5.1", "2.el9", Some(0))).unwrap().unwrap();
        assert_eq!((package.metadata["epoch"].as_u64(), package.text("sourceRpm")), (Some(0), "bash-src-5.1.src.rpm"));
    }

    #[test]
    fn a_damaged_header_is_an_error_and_never_a_panic() {
        let whole = header("bash", "5.1", "2.el9", Some(1));
        for at in 0..whole.len() {
            let _ = read(&whole[..at]);
            for flip in [1, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let _ = read(&damaged);
            }
        }
        assert!(read(&whole[..20]).is_err());
    }
}
