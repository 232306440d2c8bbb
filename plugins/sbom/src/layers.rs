//! Reads layers through the host: what was noted of one in an earlier build is
//! not read again.

use std::io;

use sdk::StepError;
use sdk::layer::{Found, FoundKind, Layer, LayerFile};

use crate::found::{self, Notes, Unread};
use crate::kinds::{self, Content, Reader, Why, go};

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
    let mut open: Vec<Turns<'_>> = Vec::new();
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
                    open.push(Turns { index, layer, search: None });
                }
            }
        }
        if open.is_empty() {
            return Ok(notes);
        }
        for mut turns in std::mem::take(&mut open) {
            if turns.turn(&mut notes[turns.index])? {
                open.push(turns);
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

/// A layer that is read in turn with others.
///
/// Whatever takes the host long, as passing over most of a binary, is asked for at
/// the end of a turn: the host does it while the others have theirs.
struct Turns<'a> {
    index: usize,
    layer: &'a Layer,
    /// The binary that is being looked through.
    search: Option<(String, LayerFile<'a>, go::Search)>,
}

impl<'a> Turns<'a> {
    /// A step further; false at the end.
    fn turn(&mut self, notes: &mut Notes) -> Result<bool, StepError> {
        let result = match self.search.take() {
            Some((path, content, search)) => self.go_on(path, content, search, notes),
            None => self.next(notes),
        };
        if let Err(error) = result {
            notes.unread.sort();
            notes.unread.insert(0, Unread { path: String::new(), why: why(error)? });
            return Ok(false);
        }
        result
    }

    fn next(&mut self, notes: &mut Notes) -> Result<bool, StepError> {
        let found = self.layer.next()?;
        if found.is_empty() {
            // Only what was read to its end can be kept.
            notes.unread.sort();
            self.layer.keep(&serde_json::to_vec(&notes)?)?;
            return Ok(false);
        }
        for found in found {
            match found.kind {
                FoundKind::File => self.file(found, notes)?,
                _ => link(found, notes),
            }
        }
        Ok(true)
    }

    fn file(&mut self, found: Found, notes: &mut Notes) -> Result<(), StepError> {
        let Found { path, size, .. } = found;
        let mut content = self.layer.reader();
        if kinds::reader_of(&path) != Reader::Go {
            let seen = kinds::read(&path, size, &mut content, &mut notes.unread);
            return self.noted(path, seen, notes);
        }
        match go::Search::begin(size, &mut content) {
            Ok(Some(search)) => self.search = Some((path, content, search)),
            Ok(None) => return self.noted(path, Ok(None), notes),
            Err(why) => return self.noted(path, Err(why), notes),
        }
        Ok(())
    }

    fn go_on(
        &mut self,
        path: String,
        mut content: LayerFile<'a>,
        mut search: go::Search,
        notes: &mut Notes,
    ) -> Result<bool, StepError> {
        match search.go_on(&mut content) {
            Ok(None) => self.search = Some((path, content, search)),
            Ok(Some(packages)) => self.noted(path.clone(), Ok(kinds::found(&path, packages)), notes)?,
            Err(why) => self.noted(path, Err(why), notes)?,
        }
        Ok(true)
    }

    /// What a file says, of which nothing more is wanted.
    fn noted(&self, path: String, seen: Result<Option<found::Found>, Why>, notes: &mut Notes) -> Result<(), StepError> {
        match seen {
            Ok(seen) => notes.found.extend(seen),
            Err(why) => notes.unread.push(Unread { path, why }),
        }
        self.layer.skip(u64::MAX).map(drop)
    }
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
