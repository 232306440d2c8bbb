//! Where the uploads of large blobs go on, beyond the end of a process: a file
//! for each, in a folder that only its user can read, as the address may be all
//! that it takes to write there. A note that is lost costs the beginning of a
//! blob and nothing else, so nothing fails because of one.

use std::path::{Path, PathBuf};

use url::Url;

use base::digest::Digest;
use disk::fs;
use entitlement::grants::host_address;

/// Bytes of an address.
const LARGEST: u64 = 16 << 10;

/// The folder of all notes; None where none are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Option<PathBuf>);

/// The note of one upload.
pub(super) struct Note(Option<PathBuf>);

impl Notes {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self(folder.map(Path::to_owned))
    }

    /// That of a blob on its way into a repository of a registry.
    pub(super) fn of(&self, registry: &str, repository: &str, blob: Digest) -> Note {
        let name = Digest::of(format!("{registry} {repository} {blob}").as_bytes()).hex();
        Note(self.0.as_ref().map(|folder| folder.join(name)))
    }
}

impl Note {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn read(&self) -> Option<Url> {
        let bytes = fs::read_optional(self.0.as_ref()?, LARGEST).ok()??;
        host_address(str::from_utf8(&bytes).ok()?.trim(), None).ok()
    }

    pub(super) fn write(&self, place: &Url) {
        let Some(path) = &self.0 else { return };
        let folder = path.parent().unwrap_or(path);
        let _ = fs::create_private_dir(folder).and_then(|()| fs::replace_unsynced(path, place.as_str().as_bytes()));
    }

    pub(super) fn remove(&self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_note_is_of_one_upload_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::new(Some(&folder.path().join("cache/uploads")));
        let note = notes.of("r.test", "a", Digest::of(b"x"));
        let place = Url::parse("https://r.test/v2/a/blobs/uploads/1?_state=2").unwrap();
        assert_eq!(note.read(), None);
        note.write(&place);
        assert_eq!(notes.of("r.test", "a", Digest::of(b"x")).read(), Some(place.clone()));
        assert_eq!(notes.of("r.test", "b", Digest::of(b"x")).read(), None);
        let mode = std::fs::metadata(folder.path().join("cache/uploads")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
        note.write(&place);
        note.remove();
        note.remove();
        assert_eq!(note.read(), None);
        // Nowhere to write to is no reason to fail.
        let nowhere = Notes::new(Some(Path::new("/proc/nowhere"))).of("r", "a", Digest::of(b"x"));
        nowhere.write(&place);
        Note::none().write(&place);
        assert_eq!((nowhere.read(), Note::none().read()), (None, None));
    }
}
