//! Resolving again: which entries of airgap.lock are forgotten for it, and
//! how the new ones come back.

use std::collections::BTreeMap;

use super::airgap_lock::AirgapLock;

impl AirgapLock {
    /// Forgets every entry whose key contains one of `names`; `*` is all.
    pub fn forget(&mut self, names: &[String]) {
        let named = |key: &str| names.iter().any(|name| name == "*" || key.contains(name.as_str()));
        self.images.retain(|key, _| !named(key));
        self.charts.retain(|key, _| !named(key));
        self.files.retain(|key, _| !named(key));
        self.repositories.retain(|key, _| !named(key));
    }

    /// Takes over every entry of `newer`; what only `self` has stays.
    pub fn absorb(&mut self, newer: &Self) {
        absorb(&mut self.images, &newer.images);
        absorb(&mut self.charts, &newer.charts);
        absorb(&mut self.files, &newer.files);
        absorb(&mut self.repositories, &newer.repositories);
    }

    /// The entries that `other` does not hold as they are here.
    pub fn lacking_in(&self, other: &Self) -> Self {
        Self {
            images: lacking(&self.images, &other.images),
            charts: lacking(&self.charts, &other.charts),
            files: lacking(&self.files, &other.files),
            repositories: lacking(&self.repositories, &other.repositories),
            ..Self::default()
        }
    }

    /// Whether nothing is resolved.
    pub fn is_empty(&self) -> bool {
        let Self { images, charts, files, repositories, .. } = self;
        images.is_empty() && charts.is_empty() && files.is_empty() && repositories.is_empty()
    }
}

fn lacking<T: Clone + PartialEq>(here: &BTreeMap<String, T>, there: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    let differs = |(key, value): &(&String, &T)| there.get(*key) != Some(*value);
    here.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn absorb<T: Clone>(into: &mut BTreeMap<String, T>, from: &BTreeMap<String, T>) {
    into.extend(from.iter().map(|(key, value)| (key.clone(), value.clone())));
}

#[cfg(test)]
mod tests {
    use super::super::airgap_lock::LockedFile;
    use super::*;
    use crate::digest::Digest;

    fn lock(entries: &[(&str, u64)]) -> AirgapLock {
        let mut lock = AirgapLock::default();
        for (url, size) in entries {
            let file = LockedFile { sha256: Digest::of(b"x"), size: *size };
            lock.files.insert((*url).to_owned(), file);
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
