//! airgap.lock as the recorded build knows it.
//!
//! state.json holds the digest of the lock alone: entries of hundreds of images
//! are nothing to write with every step. So that a refusal can say which entry
//! changed, a copy lies in build/. It is believed only where it has the
//! recorded digest, so it may be missing or late at any time.

use std::path::Path;

use base::digest::Digest;
use base::error::Result;
use base::layout::Layout;
use config::airgap_lock::{AirgapLock, LockChange};
use config::hash::{AIRGAP_LOCK, Change, file_digest};
use config::source::Source;
use disk::fs;

/// Of a lock with a hundred thousand entries.
const LIMIT: u64 = 256 << 20;

/// Copies the lock where the copy is not the recorded one and the lock is.
///
/// # Errors
/// `local`, `disk-full`.
pub fn remember(layout: &Layout, recorded: Option<Digest>) -> Result<()> {
    let Some(recorded) = recorded else { return Ok(()) };
    if read(&layout.known_lock(), recorded)?.is_some() {
        return Ok(());
    }
    match read(&layout.airgap_lock(), recorded)? {
        Some(bytes) => fs::write_atomic(&layout.known_lock(), &bytes),
        None => Ok(()),
    }
}

fn read(path: &Path, digest: Digest) -> Result<Option<Vec<u8>>> {
    let bytes = fs::read_optional(path, LIMIT)?;
    Ok(bytes.filter(|bytes| file_digest(AIRGAP_LOCK, bytes) == digest))
}

/// Puts the entries that changed in the place of the file that did.
pub(crate) fn in_detail(
    changes: Vec<Change>,
    layout: &Layout,
    recorded: Option<Digest>,
    present: &AirgapLock,
) -> Vec<Change> {
    let mut detailed = Vec::new();
    for change in changes {
        let is_lock = change.file == AIRGAP_LOCK && change.key.is_none();
        let entries = if is_lock { entries(layout, recorded, present).unwrap_or_default() } else { Vec::new() };
        if entries.is_empty() { detailed.push(change) } else { detailed.extend(entries) }
    }
    detailed
}

fn entries(layout: &Layout, recorded: Option<Digest>, present: &AirgapLock) -> Option<Vec<Change>> {
    let bytes = read(&layout.known_lock(), recorded?).ok()??;
    let known = AirgapLock::parse(&Source::of(AIRGAP_LOCK.to_owned(), bytes).ok()?).ok()?;
    Some(differences(&known, present))
}

fn differences(known: &AirgapLock, present: &AirgapLock) -> Vec<Change> {
    let change = |key: String, old: Option<String>, new: Option<String>| Change {
        file: AIRGAP_LOCK.to_owned(),
        key: Some(key),
        old,
        new,
    };
    let entry = |changed: LockChange| {
        let name = changed.entry();
        let LockChange { old, new, .. } = changed;
        let new = if old == new { new.map(|new| format!("{new} with other parts")) } else { new };
        change(name, old, new)
    };
    let entries: Vec<Change> = known.diff(present).into_iter().map(entry).collect();
    if entries.is_empty() && known.resolved_at != present.resolved_at {
        let text = |lock: &AirgapLock| lock.resolved_at.map(|time| time.to_string());
        return vec![change("resolved_at".to_owned(), text(known), text(present))];
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::airgap_lock::{FileKey, LockedFile};

    fn lock(files: &[(&str, &str)]) -> AirgapLock {
        let file = |text: &str| LockedFile {
            sha256: Digest::of(text.as_bytes()),
            size: 1,
            checksum: None,
            build: Some("1".into()),
        };
        AirgapLock {
            files: files.iter().map(|(url, text)| (FileKey::of(url), file(text))).collect(),
            ..AirgapLock::default()
        }
    }

    #[test]
    fn a_changed_lock_is_told_by_entry_where_the_copy_is_the_recorded_one() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("config"), folder.path().join("build"), folder.path().join("dist"));
        let changed = || vec![Change { file: AIRGAP_LOCK.to_owned(), key: None, old: None, new: Some("x".into()) }];
        let (old, new) = (lock(&[("https://h/a", "1"), ("https://h/b", "1")]), lock(&[("https://h/a", "2")]));
        [&layout.config, &layout.build].iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        fs::write_new(&layout.airgap_lock(), old.to_text().as_bytes()).unwrap();
        let recorded = Some(file_digest(AIRGAP_LOCK, old.to_text().as_bytes()));
        assert_eq!(in_detail(changed(), &layout, recorded, &new), changed(), "there is no copy yet");

        remember(&layout, recorded).unwrap();
        fs::write_new(&layout.airgap_lock(), new.to_text().as_bytes()).unwrap();
        remember(&layout, recorded).unwrap();
        let shown: Vec<String> =
            in_detail(changed(), &layout, recorded, &new).iter().map(ToString::to_string).collect();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(
            shown,
            [
                format!("file https://h/a: {one} → {two} in config/airgap.lock"),
                format!("file https://h/b: {one} was removed in config/airgap.lock"),
            ]
        );
        assert_eq!(in_detail(changed(), &layout, Some(Digest::of(b"another build")), &new), changed());
    }

    #[test]
    fn a_time_and_parts_are_told_where_nothing_else_changed() {
        let mut old = lock(&[("https://h/a", "1")]);
        let mut new = old.clone();
        old.resolved_at = Some("2026-01-31T12:00:00Z".parse().unwrap());
        new.resolved_at = Some("2026-02-01T12:00:00Z".parse().unwrap());
        let shown = |new: &AirgapLock| differences(&old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&new), ["resolved_at: 2026-01-31T12:00:00Z → 2026-02-01T12:00:00Z in config/airgap.lock"]);
        new.files.get_mut("https://h/a").unwrap().size = 2;
        assert!(shown(&new)[0].ends_with("with other parts in config/airgap.lock"), "{:?}", shown(&new));
    }
}
