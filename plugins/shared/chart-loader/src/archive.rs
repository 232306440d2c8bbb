//! The files of a chart archive: their names cleaned, their sizes bounded, by
//! the rules of Helm's `LoadArchiveFiles`.

use std::io::{self, BufRead, Read};

use crate::gzip::Gunzip;
use crate::tar::{Header, Tar};
use crate::{Refusal, shown};

/// Of all files of an archive; Helm's `MaxDecompressedChartSize`.
pub(crate) const CHART_LIMIT: u64 = 100 << 20;
/// Of one file; Helm 3's `MaxDecompressedFileSize`.
pub const FILE_LIMIT: u64 = 5 << 20;
/// What an archive and those inside of it may unpack to, headers included. Ours:
/// Helm bounds neither headers nor what packed subcharts come to together.
pub const STREAM_LIMIT: u64 = 512 << 20;

/// A file of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Below the chart's folder, `/`-separated and clean.
    pub path: String,
    /// Without a byte order mark. Empty where nobody asked for it.
    pub data: Vec<u8>,
}

/// Reads an archive. Content is kept of the files that `keep` names.
///
/// # Errors
/// What Helm refuses, and what comes to more than `room`, which is lessened.
pub fn files(content: impl BufRead, room: &mut u64, keep: &dyn Fn(&str) -> bool) -> Result<Vec<File>, Refusal> {
    let unreadable = |error: io::Error| {
        let why =
            if error.kind() == io::ErrorKind::UnexpectedEof { "it ends too early".into() } else { error.to_string() };
        Refusal::archive(format!("it is no gzipped tar archive: {why}"))
    };
    let gunzip = Gunzip::new(content).map_err(unreadable)?;
    let mut tar = Tar::new(Bounded { inner: gunzip, room });
    let mut files = Vec::new();
    let mut left = CHART_LIMIT;
    while let Some(header) = tar.next_member().map_err(unreadable)? {
        if header.is_directory || header.is_global {
            continue;
        }
        let path = clean(&header.path)?;
        check_size(&header, left)?;
        let kept = keep(&path);
        let mut data = Vec::new();
        let read =
            if kept { tar.read_to_end(&mut data).map(|read| read as u64) } else { io::copy(&mut tar, &mut io::sink()) };
        let read = read.map_err(unreadable)?;
        left -= read;
        if read < header.size || left == 0 {
            return Err(too_large());
        }
        without_mark(&mut data);
        files.push(File { path, data });
    }
    if files.is_empty() { Err(Refusal::archive("it holds no files")) } else { Ok(files) }
}

fn check_size(header: &Header, left: u64) -> Result<(), Refusal> {
    if header.size > left {
        return Err(too_large());
    }
    if header.size > FILE_LIMIT {
        let why =
            format!("its `{}` has {} bytes, and Helm 3 takes no file above 5 MiB", shown(&header.path), header.size);
        return Err(Refusal::new(why, "leave the file out with .helmignore and pack the chart anew"));
    }
    Ok(())
}

fn too_large() -> Refusal {
    Refusal::new("it unpacks to more than Helm's 100 MiB", "leave files out with .helmignore and pack the chart anew")
}

/// Removes a UTF-8 byte order mark.
pub(crate) fn without_mark(data: &mut Vec<u8>) {
    if data.starts_with(b"\xef\xbb\xbf") {
        data.drain(..3);
    }
}

/// The path below the first folder. Archives made on Windows separate by `\`.
fn clean(name: &str) -> Result<String, Refusal> {
    let outside = |what: &str| Refusal::archive(format!("it holds `{}`, {what}", shown(name)));
    let separator = if name.contains('\\') { '\\' } else { '/' };
    let Some((folder, below)) = name.split_once(separator) else {
        return Err(outside("which lies beside the chart's folder"));
    };
    let below = below.replace(separator, "/");
    if below.starts_with('/') {
        return Err(outside("an absolute path"));
    }
    let path = cleaned(&below);
    if path == "." {
        return Err(outside("which lies beside the chart's folder"));
    }
    if path.starts_with("..") {
        return Err(outside("which leads out of the chart"));
    }
    let bytes = path.as_bytes();
    if bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1..3] == *b":/" {
        return Err(outside("a path on a drive"));
    }
    if folder == "Chart.yaml" {
        return Err(outside("a folder with the name of the description"));
    }
    Ok(path)
}

/// Go's `path.Clean` of a relative path.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// Fails where more comes than there is room for.
struct Bounded<'a, R> {
    inner: R,
    room: &'a mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let too_much = || io::Error::other(format!("it unpacks to more than {} MiB", STREAM_LIMIT >> 20));
        *self.room = self.room.checked_sub(read as u64).ok_or_else(too_much)?;
        Ok(read)
    }
}
