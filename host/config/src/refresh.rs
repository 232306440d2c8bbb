//! Resolving again: which entries of airgap.lock are forgotten for it, and
//! how the new ones come back.

use std::collections::BTreeMap;

use super::airgap_lock::{AirgapLock, LockedFile, Sections, Statement};
use entitlement::Asker;

impl AirgapLock {
    /// Forgets every entry whose key contains one of `names`; `*` is all.
    pub fn forget(&mut self, names: &[String]) {
        let named = |key: &str| names.iter().any(|name| name == "*" || key.contains(name.as_str()));
        self.images.retain(|key, _| !named(key.as_str()));
        self.charts.retain(|key, _| !named(key.as_str()));
        self.files.retain(|key, _| !named(key.as_str()));
        self.repositories.retain(|key, _| !named(key.as_str()));
        self.retain_of_plugins(|_, address, _| !named(address));
    }

    /// Keeps of what plugins fetched that for which `stays` holds.
    pub(crate) fn retain_of_plugins(&mut self, stays: impl Fn(&Asker, &str, &LockedFile) -> bool) {
        retain(&mut self.core, |name, address, file| stays(&Asker::Core(name.to_owned()), address, file));
        retain(&mut self.plugins, |name, address, file| stays(&Asker::Pinned(name.to_owned()), address, file));
    }

    /// Takes over every entry of `newer`; what only `self` has stays, and so
    /// does what says the same already.
    pub fn absorb(&mut self, newer: &Self) {
        absorb(&mut self.images, &newer.images);
        absorb(&mut self.charts, &newer.charts);
        absorb(&mut self.files, &newer.files);
        absorb(&mut self.repositories, &newer.repositories);
        for (into, from) in [(&mut self.core, &newer.core), (&mut self.plugins, &newer.plugins)] {
            for (name, files) in from {
                absorb(into.entry(name.clone()).or_default(), files);
            }
        }
    }

    /// The entries that `other` does not hold as they are here.
    pub fn lacking_in(&self, other: &Self) -> Self {
        Self {
            images: lacking(&self.images, &other.images),
            charts: lacking(&self.charts, &other.charts),
            files: lacking(&self.files, &other.files),
            repositories: lacking(&self.repositories, &other.repositories),
            core: lacking_sections(&self.core, &other.core),
            plugins: lacking_sections(&self.plugins, &other.plugins),
            ..Self::default()
        }
    }

    /// Whether nothing is resolved.
    pub fn is_empty(&self) -> bool {
        let Self { format: _, resolved_at: _, images, charts, files, repositories, core, plugins } = self;
        let is_empty = [charts.is_empty(), files.is_empty(), repositories.is_empty(), core.is_empty()];
        images.is_empty() && plugins.is_empty() && is_empty.iter().all(|is_empty| *is_empty)
    }
}

fn lacking<K: Ord + Clone, T: Statement>(here: &BTreeMap<K, T>, there: &BTreeMap<K, T>) -> BTreeMap<K, T> {
    let differs = |(key, value): &(&K, &T)| there.get(*key).is_none_or(|known| !known.settles(value));
    here.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn lacking_sections(here: &Sections, there: &Sections) -> Sections {
    let nothing = BTreeMap::new();
    let lacking = |(name, files): (&String, _)| (name.clone(), lacking(files, there.get(name).unwrap_or(&nothing)));
    here.iter().map(lacking).filter(|(_, files)| !files.is_empty()).collect()
}

fn absorb<K: Ord + Clone, T: Statement>(into: &mut BTreeMap<K, T>, from: &BTreeMap<K, T>) {
    let new = lacking(from, into);
    into.extend(new);
}

fn retain(sections: &mut Sections, stays: impl Fn(&str, &str, &LockedFile) -> bool) {
    for (name, files) in &mut *sections {
        files.retain(|address, file| stays(name, address.as_str(), file));
    }
    sections.retain(|_, files| !files.is_empty());
}

#[cfg(test)]
mod tests {
    use super::super::airgap_lock::FileKey;
    use super::*;
    use base::digest::Digest;

    fn lock(entries: &[(&str, u64)]) -> AirgapLock {
        let mut lock = AirgapLock::default();
        for (url, size) in entries {
            let file = LockedFile { sha256: Digest::of(b"x"), size: *size, checksum: None, build: Some("1".into()) };
            lock.files.insert(FileKey::of(url), file);
        }
        lock
    }

    #[test]
    fn an_entry_that_was_not_resolved_again_stays_as_it_was() {
        let on_disk = lock(&[("https://a/kubectl", 1), ("https://a/helm", 2)]);
        let mut refreshed = on_disk.clone();
        refreshed.forget(&["kube".to_owned()]);
        assert_eq!(refreshed, lock(&[("https://a/helm", 2)]));
        let mut merged = on_disk.clone();
        merged.absorb(&refreshed);
        assert_eq!(merged, on_disk);
        refreshed.absorb(&lock(&[("https://a/kubectl", 3)]));
        merged.absorb(&refreshed);
        assert_eq!(merged, lock(&[("https://a/kubectl", 3), ("https://a/helm", 2)]));
        refreshed.forget(&["*".to_owned()]);
        assert_eq!(refreshed, AirgapLock::default());
    }
}
