//! Reads layers through the host: what was noted of one in an earlier build is
//! not read again.

use std::io;

use sdk::StepError;
use sdk::layer::{FoundKind, Layer, LayerFile};

use crate::content::Content;
use crate::found::{Notes, Unread};
use crate::kinds::{self, Reader};

/// Links whose path is wanted, of one layer.
const MOST_LINKS: usize = 10_000;

impl Content for LayerFile<'_> {
    fn pass(&mut self, length: u64) -> io::Result<u64> {
        LayerFile::pass(self, length)
    }
}

/// What a layer holds, and whether it had to be read.
///
/// # Errors
/// Where the build is stopped, or the host fails. A layer that cannot be read
/// is no failure: the notes say so.
pub fn notes(layer: &Layer) -> Result<(Notes, bool), StepError> {
    let kept = layer.kept()?;
    if let Some(notes) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok((notes, false));
    }
    let mut notes = Notes::default();
    layer.select(&kinds::wanted())?;
    let read = read(layer, &mut notes);
    notes.unread.sort();
    // Only what was read to its end can be kept.
    let whole = read.and_then(|()| layer.keep(&serde_json::to_vec(&notes)?));
    if let Err(error) = whole {
        notes.unread.insert(0, Unread { path: String::new(), why: why(error)? });
    }
    Ok((notes, true))
}

/// What a bad layer is to blame for.
fn why(error: StepError) -> Result<String, StepError> {
    match error {
        StepError::InvalidInput(failure) => Ok(failure.message),
        other => Err(other),
    }
}

fn read(layer: &Layer, notes: &mut Notes) -> Result<(), StepError> {
    loop {
        let found = layer.next()?;
        if found.is_empty() {
            return Ok(());
        }
        for found in found {
            let by_name = kinds::reader_of(&found.path) != Reader::Go;
            if found.kind != FoundKind::File && by_name && notes.links.len() < MOST_LINKS {
                // That of a hard link is from the root already.
                let is_hard = found.kind == FoundKind::HardLink;
                let target = if is_hard { found.target.clone() } else { target(&found.path, &found.target) };
                notes.links.push((found.path.clone(), target));
            }
            if found.kind != FoundKind::File {
                continue;
            }
            match kinds::read(&found.path, found.size, &mut layer.reader(), &mut notes.unread) {
                Ok(seen) => notes.found.extend(seen),
                Err(why) => notes.unread.push(Unread { path: found.path.clone(), why }),
            }
        }
    }
}

/// Where a symlink points, from the root.
fn target(path: &str, target: &str) -> String {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_never_leads_above_the_root() {
        for (path, to, expected) in [
            ("etc/os-release", "../usr/lib/os-release", "usr/lib/os-release"),
            ("a/b/c", "/x/../y", "y"),
            ("a/b", "../../../../etc/passwd", "etc/passwd"),
            ("a", "b", "b"),
        ] {
            assert_eq!(target(path, to), expected);
        }
    }
}
