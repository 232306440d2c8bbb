//! How bytes become Zstandard frames.
//!
//! The output is a sequence of frames of at most 2 MiB of content. What is
//! compressed already is stored in raw blocks, which costs nothing to write
//! and nothing to read; small files are compressed hard, large ones fast. A
//! frame depends on its own bytes alone, so frames can be made on any number of
//! threads and the output is the same. Each ends with the checksum of its
//! content, so that whoever reads it notices a damaged byte wherever it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh64::Xxh64;
use zstd::bulk::Compressor;

/// Bytes of content in one frame at most; its window is never larger.
pub(super) const SEGMENT: usize = 2 * MIB;
/// Files up to this size are compressed hard, in frames of at most this size:
/// the tables of a high level grow with the frame.
pub(super) const SMALL: usize = MIB / 4;
/// The largest block that the format allows.
pub(super) const RAW_BLOCK: usize = MIB / 8;
/// Magic number, descriptor and four bytes of size.
pub(super) const FRAME_HEADER: usize = 9;
pub(super) const BLOCK_HEADER: usize = 3;
/// The low half of the content's XXH64.
pub(super) const CHECKSUM: usize = 4;
/// Magic number, and a descriptor that says: single segment, four bytes of
/// content size, a checksum, no dictionary.
const STORED: [u8; 5] = [0x28, 0xB5, 0x2F, 0xFD, 0b1010_0100];

const MIB: usize = 1024 * 1024;
const SMALL_LEVEL: i32 = 12;
const LARGE_LEVEL: i32 = 3;
const PROBE_LEVEL: i32 = 1;
const PROBE: usize = 32 * 1024;

/// What is done with the bytes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// No frames at all: the archive is a plain tar.
    Plain,
    /// Raw blocks.
    Store,
    /// A high level.
    Small,
    /// A fast level.
    Large,
}

impl Treatment {
    /// Bytes of content in one segment.
    pub(super) fn capacity(self) -> usize {
        match self {
            Treatment::Small => SMALL,
            _ => SEGMENT,
        }
    }

    /// None where nothing is compressed.
    pub(super) fn level(self) -> Option<i32> {
        match self {
            Treatment::Plain | Treatment::Store => None,
            Treatment::Small => Some(SMALL_LEVEL),
            Treatment::Large => Some(LARGE_LEVEL),
        }
    }
}

/// Where the raw block starts that holds content byte `at`.
pub(super) fn raw_offset(at: usize) -> usize {
    FRAME_HEADER + (at / RAW_BLOCK) * (RAW_BLOCK + BLOCK_HEADER) + BLOCK_HEADER + at % RAW_BLOCK
}

/// Bytes of a stored frame with `length` bytes of content (more than none).
pub(super) fn stored_length(length: usize) -> usize {
    FRAME_HEADER + length.div_ceil(RAW_BLOCK) * BLOCK_HEADER + length + CHECKSUM
}

/// Writes frame header, block headers and checksum into `frame`, whose content
/// already lies at its [offsets](raw_offset).
pub(super) fn seal_stored(frame: &mut [u8], length: usize) {
    frame[..STORED.len()].copy_from_slice(&STORED);
    frame[STORED.len()..FRAME_HEADER].copy_from_slice(&(length as u32).to_le_bytes());
    let mut checksum = Xxh64::new(0);
    let mut at = 0;
    while at < length {
        let size = RAW_BLOCK.min(length - at);
        let last = at + size == length;
        let start = raw_offset(at) - BLOCK_HEADER;
        frame[start..start + BLOCK_HEADER].copy_from_slice(&raw_block_header(size, last));
        checksum.update(&frame[start + BLOCK_HEADER..][..size]);
        at += size;
    }
    let end = stored_length(length);
    frame[end - CHECKSUM..end].copy_from_slice(&checksum.digest().to_le_bytes()[..CHECKSUM]);
}

/// What stands before a raw block.
pub(super) fn raw_block_header(size: usize, last: bool) -> [u8; BLOCK_HEADER] {
    let [one, two, three, _] = ((size as u32) << 3 | u32::from(last)).to_le_bytes();
    [one, two, three]
}

/// Whether a frame begins as [`seal_stored`] has it begin.
pub(super) fn announces_stored(header: &[u8; FRAME_HEADER], length: usize) -> bool {
    header.starts_with(&STORED) && header.ends_with(&(length as u32).to_le_bytes())
}

/// What [`compress`] needs, made once for many frames.
pub(super) fn compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LARGE_LEVEL)?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

/// One frame with `content`: compressed, or stored where that is no smaller.
pub(super) fn compress(compressor: &mut Compressor<'_>, content: &[u8], level: i32) -> io::Result<Vec<u8>> {
    compressor.set_compression_level(level)?;
    let frame = compressor.compress(content)?;
    let stored = stored_length(content.len());
    if frame.len() < stored {
        return Ok(frame);
    }
    let mut frame = vec![0; stored];
    for (index, block) in content.chunks(RAW_BLOCK).enumerate() {
        let start = raw_offset(index * RAW_BLOCK);
        frame[start..start + block.len()].copy_from_slice(block);
    }
    seal_stored(&mut frame, content.len());
    Ok(frame)
}

/// Decides by content how files are treated. The answer depends on their
/// bytes alone.
pub(super) struct Probe {
    compressor: Compressor<'static>,
    sample: Vec<u8>,
}

impl Probe {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { compressor: Compressor::new(PROBE_LEVEL)?, sample: vec![0; PROBE] })
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<Treatment> {
        let first = &bytes[..bytes.len().min(PROBE)];
        let shrinks = !is_compressed(first) && self.shrinks(first)?;
        Ok(decide(bytes.len() as u64, shrinks))
    }

    pub(super) fn file(&mut self, file: &File, size: u64) -> io::Result<Treatment> {
        let mut shrinks = self.sample_shrinks(file, 0)?;
        if !shrinks && size > 4 * PROBE as u64 {
            let first = &self.sample[..];
            shrinks = !is_compressed(first) && self.sample_shrinks(file, size / 2)?;
        }
        Ok(decide(size, shrinks))
    }

    fn sample_shrinks(&mut self, file: &File, at: u64) -> io::Result<bool> {
        let mut length = 0;
        while length < PROBE {
            match file.read_at(&mut self.sample[length..], at + length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        let sample = std::mem::take(&mut self.sample);
        let shrinks = !(at == 0 && is_compressed(&sample[..length])) && self.shrinks(&sample[..length])?;
        self.sample = sample;
        Ok(shrinks)
    }

    /// Whether a fast level saves a twentieth and more.
    fn shrinks(&mut self, sample: &[u8]) -> io::Result<bool> {
        let compressed = self.compressor.compress(sample)?;
        Ok(compressed.len() * 20 < sample.len() * 19)
    }
}

fn decide(size: u64, shrinks: bool) -> Treatment {
    match shrinks {
        false => Treatment::Store,
        true if size <= SMALL as u64 => Treatment::Small,
        true => Treatment::Large,
    }
}

/// Whether the content begins like a compressed file.
fn is_compressed(content: &[u8]) -> bool {
    const MAGIC: [&[u8]; 6] =
        [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh", b"PK\x03\x04", b"\x04\x22\x4d\x18"];
    MAGIC.iter().any(|magic| content.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    #[test]
    fn a_stored_frame_is_read_by_libzstd() {
        let mut compressor = compressor().unwrap();
        for length in [1, 2, RAW_BLOCK - 1, RAW_BLOCK, RAW_BLOCK + 1, SEGMENT] {
            let content = noise(length);
            let frame = compress(&mut compressor, &content, 3).unwrap();
            let mut stored = vec![0; stored_length(length)];
            for (at, byte) in content.iter().enumerate() {
                stored[raw_offset(at)] = *byte;
            }
            seal_stored(&mut stored, length);
            assert_eq!(zstd::decode_all(stored.as_slice()).unwrap(), content);
            assert!(frame.len() <= stored_length(length));
            assert_eq!(zstd::decode_all(frame.as_slice()).unwrap(), content);
        }
    }

    /// A frame may hold what has no digest of its own, such as zarf.yaml.
    #[test]
    fn no_flipped_bit_of_a_frame_goes_unnoticed() {
        let text: Vec<u8> = (0..300).flat_map(|line| format!("key{line}: value\n").into_bytes()).collect();
        for content in [text, noise(3000)] {
            let frame = compress(&mut compressor().unwrap(), &content, SMALL_LEVEL).unwrap();
            for bit in 0..frame.len() * 8 {
                let mut flipped = frame.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let read = zstd::decode_all(flipped.as_slice());
                assert!(read.is_err() || read.is_ok_and(|read| read == content), "bit {bit}");
            }
        }
    }

    #[test]
    fn text_is_compressed_and_noise_is_stored() {
        let mut probe = Probe::new().unwrap();
        let text = b"name: value\n".repeat(1000);
        assert_eq!(probe.bytes(&text).unwrap(), Treatment::Small);
        assert_eq!(probe.bytes(&text.repeat(100)).unwrap(), Treatment::Large);
        assert_eq!(probe.bytes(&noise(5000)).unwrap(), Treatment::Store);
        let mut gzip = vec![0x1f, 0x8b];
        gzip.extend(&text);
        assert_eq!(probe.bytes(&gzip).unwrap(), Treatment::Store, "what says it is compressed is believed");
    }

    #[test]
    fn a_file_is_judged_by_its_middle_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let mut content = noise(PROBE);
        content.extend(vec![0; 1 << 20]);
        disk::fs::write_new(&path, &content).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(Probe::new().unwrap().file(&file, content.len() as u64).unwrap(), Treatment::Large);
    }
}
