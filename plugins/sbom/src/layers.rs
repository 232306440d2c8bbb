//! Reads layers through the host: what was noted of one in an earlier build is
//! not read again.

use std::io;

use sdk::StepError;
use sdk::layer::{Found, FoundKind, Layer, LayerFile};

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

/// Layers that are read at the same time: as many as the host lets.
const AT_ONCE: usize = 4;

/// What each layer holds; `told` hears of each, and whether it had to be read.
///
/// The host unpacks them side by side while they take turns here, a wanted file
/// each.
///
/// # Errors
/// Where the build is stopped, or the host fails. A layer that cannot be read
/// is no failure: the notes say so.
pub fn notes(
    layers: &[Option<&Layer>],
    told: &mut dyn FnMut(bool) -> Result<(), StepError>,
) -> Result<Vec<Notes>, StepError> {
    let mut notes: Vec<Notes> = layers.iter().map(|_| Notes::default()).collect();
    let mut waiting = layers.iter().enumerate().filter_map(|(index, layer)| layer.map(|layer| (index, layer)));
    let mut open: Vec<(usize, &Layer)> = Vec::new();
    loop {
        while open.len() < AT_ONCE {
            let Some((index, layer)) = waiting.next() else { break };
            match kept(layer)? {
                Some(kept) => {
                    notes[index] = kept;
                    told(false)?;
                }
                None => {
                    layer.select(&kinds::wanted())?;
                    open.push((index, layer));
                }
            }
        }
        if open.is_empty() {
            return Ok(notes);
        }
        for (index, layer) in std::mem::take(&mut open) {
            if turn(layer, &mut notes[index])? {
                open.push((index, layer));
            } else {
                told(true)?;
            }
        }
    }
}

/// What an earlier build noted.
fn kept(layer: &Layer) -> Result<Option<Notes>, StepError> {
    Ok(layer.kept()?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// One wanted file further; false at the end.
fn turn(layer: &Layer, notes: &mut Notes) -> Result<bool, StepError> {
    let result = next(layer, notes);
    if let Err(error) = result {
        notes.unread.sort();
        notes.unread.insert(0, Unread { path: String::new(), why: why(error)? });
        return Ok(false);
    }
    result
}

fn next(layer: &Layer, notes: &mut Notes) -> Result<bool, StepError> {
    let found = layer.next()?;
    if found.is_empty() {
        // Only what was read to its end can be kept.
        notes.unread.sort();
        layer.keep(&serde_json::to_vec(&notes)?)?;
        return Ok(false);
    }
    for found in found {
        match found.kind {
            FoundKind::File => file(layer, found, notes)?,
            _ => link(found, notes),
        }
    }
    Ok(true)
}

fn file(layer: &Layer, found: Found, notes: &mut Notes) -> Result<(), StepError> {
    let Found { path, size, begin, front, .. } = found;
    let mut content = layer.reader();
    let seen = match begin {
        0 => kinds::read(&path, size, &mut content, &mut notes.unread),
        _ => kinds::read_mark(&path, size, (&front, begin), &mut content),
    };
    match seen {
        Ok(seen) => notes.found.extend(seen),
        Err(why) => notes.unread.push(Unread { path, why }),
    }
    // The host passes over the rest while other layers have their turn.
    layer.skip(u64::MAX).map(drop)
}

fn link(found: Found, notes: &mut Notes) {
    if kinds::reader_of(&found.path) == Reader::Go || notes.links.len() >= MOST_LINKS {
        return;
    }
    // That of a hard link is from the root already.
    let is_hard = found.kind == FoundKind::HardLink;
    let target = if is_hard { found.target } else { target(&found.path, &found.target) };
    notes.links.push((found.path, target));
}

/// What a bad layer is to blame for.
fn why(error: StepError) -> Result<String, StepError> {
    match error {
        StepError::InvalidInput(failure) => Ok(failure.message),
        other => Err(other),
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
