//! airgap.lock as one plugin may read it.

use url::Url;

use super::airgap_lock::AirgapLock;
use entitlement::Asker;

impl AirgapLock {
    /// What concerns `asker`, as a lock of its own: the charts that it
    /// resolved, under `files` what it fetched itself, and what the host's
    /// images and repositories resolved to. What other plugins asked for is
    /// not told, nor an address that may hold a secret.
    pub fn copy_for(&self, asker: &Asker) -> Self {
        let mut copy = Self {
            resolved_at: self.resolved_at,
            images: self.images.clone(),
            charts: self.charts.clone(),
            files: self.files_of(asker).cloned().unwrap_or_default(),
            repositories: self.repositories.clone(),
            ..Self::default()
        };
        copy.charts.retain(|_, chart| chart.asker() == *asker);
        copy.repositories.retain(|key, _| !may_be_secret(key.url()));
        copy
    }

    /// Of such a copy what the plugin itself resolved and fetched.
    pub fn keep_of_plugins(&mut self) {
        self.resolved_at = None;
        self.images.clear();
        self.repositories.clear();
    }
}

/// Whether a URL holds a user, a password or a query.
fn may_be_secret(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some() || url.query().is_some())
}

#[cfg(test)]
mod tests {
    use super::super::airgap_lock::{FileKey, LockedFile, LockedRepository, RepositoryKey};
    use super::*;
    use base::digest::Digest;

    #[test]
    fn a_plugin_reads_what_concerns_it_and_no_secret() {
        let (mine, other) = (Asker::Core("charts".into()), Asker::Pinned("charts".into()));
        let file = |text: &str| LockedFile {
            sha256: Digest::of(text.as_bytes()),
            size: 1,
            checksum: None,
            build: Some("1".into()),
        };
        let mut lock = AirgapLock::of_file(&mine, "https://h/mine", file("a"));
        lock.absorb(&AirgapLock::of_file(&other, "https://h/theirs", file("b")));
        lock.files.insert(FileKey::of("https://h/tool?token=x"), file("c"));
        let repository = LockedRepository { commit: "0".repeat(40), reference: None, tag: None, build: None };
        for url in ["https://h/r.git", "https://token@h/r.git", "https://h/r.git?key=x"] {
            lock.repositories.insert(RepositoryKey::new(url, "v1"), repository.clone());
        }
        let copy = lock.copy_for(&mine);
        assert_eq!(copy.files.keys().map(FileKey::as_str).collect::<Vec<_>>(), ["https://h/mine"]);
        assert_eq!(copy.repositories.keys().map(RepositoryKey::as_str).collect::<Vec<_>>(), ["https://h/r.git v1"]);
        assert!(copy.core.is_empty() && copy.plugins.is_empty());
        assert!(lock.copy_for(&Asker::Pinned("new".into())).files.is_empty());
    }
}
