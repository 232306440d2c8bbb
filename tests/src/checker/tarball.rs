//! Tar archives, read strictly: real USTAR headers, right checksums, a proper
//! end, and nothing behind it.

use super::Findings;

const BLOCK: usize = 512;
/// Zarf reads windows of 512 MiB; 128 MiB is what every reader manages.
const WINDOW_LOG: u32 = 27;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Other(u8),
}

/// An entry with its content.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// Without a slash at the end.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) content: &'a [u8],
}

/// The tar inside; Zarf chooses the decoder by the name alone.
pub(super) fn decompress(name: &str, bytes: &[u8], findings: &mut Findings) -> Option<Vec<u8>> {
    if name.ends_with(".tar") {
        return Some(bytes.to_vec());
    }
    if !name.ends_with(".tar.zst") {
        findings.add("file-name", format!("`{name}` ends neither in .tar.zst nor in .tar"));
        return None;
    }
    if !bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        findings.add("zstd", "the file does not start with a Zstandard frame");
        return None;
    }
    let decoded = zstd::Decoder::new(bytes).and_then(|mut decoder| {
        decoder.window_log_max(WINDOW_LOG)?;
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut decoder, &mut tar)?;
        Ok(tar)
    });
    decoded.map_err(|error| findings.add("zstd", format!("the file cannot be decompressed: {error}"))).ok()
}

/// The entries, in order. The error continues "the archive …".
pub(super) fn read(tar: &[u8]) -> Result<Vec<Member<'_>>, String> {
    let mut members = Vec::new();
    let mut at = 0;
    let mut long_path = None;
    let mut long_size = None;
    loop {
        let header = block(tar, at)?;
        if header.iter().all(|byte| *byte == 0) {
            return end(tar, at).map(|()| members);
        }
        let what = || format!("at byte {at}");
        check_header(header).map_err(|why| format!("has a header {} that {why}", what()))?;
        let size = octal(&header[124..136]).ok_or_else(|| format!("has a size {} that is not octal", what()))?;
        let flag = header[156];
        let size = match (flag, long_size.take()) {
            (b'x' | b'g', kept) => {
                long_size = kept;
                size
            }
            (_, Some(size)) => size,
            (_, None) => size,
        };
        let start = at + BLOCK;
        let length = usize::try_from(size).map_err(|_| "has an impossible size".to_owned())?;
        let content = tar.get(start..start.saturating_add(length)).ok_or("ends in the middle of a file")?;
        at = start + length.div_ceil(BLOCK) * BLOCK;
        let gap = tar.get(start + length..at).ok_or("ends in the middle of a file")?;
        if gap.iter().any(|byte| *byte != 0) {
            return Err(format!("has bytes other than zero between entries, before byte {at}"));
        }
        match flag {
            b'x' => (long_path, long_size) = pax(content)?,
            b'g' => {}
            flag => {
                let path = long_path.take().map_or_else(|| plain_path(header), Ok)?;
                let kind = match flag {
                    b'0' => Kind::File,
                    b'5' => Kind::Directory,
                    other => Kind::Other(other),
                };
                let mode = octal(&header[100..108]).ok_or("has a mode that is not octal")? as u32;
                members.push(Member { path: path.trim_end_matches('/').to_owned(), kind, mode, content });
            }
        }
    }
}

fn block(tar: &[u8], at: usize) -> Result<&[u8], String> {
    tar.get(at..at + BLOCK).ok_or_else(|| "ends without two empty blocks".to_owned())
}

fn end(tar: &[u8], at: usize) -> Result<(), String> {
    block(tar, at + BLOCK)?;
    if tar[at..].iter().any(|byte| *byte != 0) { Err("has data behind its end".to_owned()) } else { Ok(()) }
}

/// Some readers take a component tar without the magic for another format.
fn check_header(header: &[u8]) -> Result<(), &'static str> {
    if &header[257..263] != b"ustar\0" || &header[263..265] != b"00" {
        return Err("is not USTAR");
    }
    let sum: u64 =
        header.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
    if octal(&header[148..156]) == Some(sum) { Ok(()) } else { Err("has a wrong checksum") }
}

fn plain_path(header: &[u8]) -> Result<String, String> {
    let field = |bytes: &[u8]| {
        let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8(bytes.to_vec()).map_err(|_| "has a name that is not UTF-8".to_owned())
    };
    let (name, prefix) = (field(&header[..100])?, field(&header[345..500])?);
    Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
}

/// `path` and `size` of a PAX header.
fn pax(records: &[u8]) -> Result<(Option<String>, Option<u64>), String> {
    let text = std::str::from_utf8(records).map_err(|_| "has a PAX header that is not UTF-8")?;
    let (mut path, mut size) = (None, None);
    let mut rest = text;
    while !rest.is_empty() {
        let bad = || "has a malformed PAX record".to_owned();
        let (length, _) = rest.split_once(' ').ok_or_else(bad)?;
        let length: usize = length.parse().map_err(|_| bad())?;
        let record = rest.get(..length).ok_or_else(bad)?;
        rest = &rest[length..];
        let (_, record) = record.strip_suffix('\n').and_then(|record| record.split_once(' ')).ok_or_else(bad)?;
        match record.split_once('=').ok_or_else(bad)? {
            ("path", value) => path = Some(value.to_owned()),
            ("size", value) => size = Some(value.parse().map_err(|_| bad())?),
            _ => {}
        }
    }
    Ok((path, size))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(|c| c == '\0' || c == ' ');
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}
