//! Verified blobs by digest, and unfinished ones with their journals.
//!
//! A download writes into a [`Partial`] under `partial/<key>/`; once its bytes
//! are synced and their digest is right, the file is renamed to
//! `blobs/sha256/<hex>` and that directory is synced. So a name in `blobs`
//! means: these bytes, whole and durable. Everyone else gets hard links, and
//! asking whether a blob is there costs one `stat`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use base::digest::{Digest, Hasher};
use base::error::{Error, Result};
use disk::fs;
use disk::tree::{Artifact, TreeBuilder};

mod boot;
pub mod collect;
mod group_sync;
pub mod notes;
pub mod partial;
pub mod receipts;

use boot::Boot;
pub use collect::{Keep, Removed};
use group_sync::GroupSync;
pub use partial::{Identity, Partial};

/// build/store. Opening it touches nothing: the directories appear with the
/// first blob. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    blobs: Arc<Path>,
    partial: Arc<Path>,
    /// Receipts: what each plugin fetched from where.
    fetched: Arc<Path>,
    /// Notes: what each core plugin found in which blob.
    read: Arc<Path>,
    boot: Arc<Boot>,
    directory: Arc<GroupSync>,
    inserting: Arc<Inserting>,
    claims: Claims,
    /// Keys of the unfinished downloads that this process has opened: what it
    /// recorded of them itself needs no second look.
    taken_up: Arc<Mutex<BTreeSet<String>>>,
}

impl Store {
    /// # Errors
    /// None today; opening reads and writes nothing.
    pub fn open(root: PathBuf) -> Result<Self> {
        let blobs = root.join("blobs").join("sha256");
        Ok(Self {
            directory: Arc::new(GroupSync::new(blobs.clone())),
            blobs: blobs.into(),
            partial: root.join("partial").into(),
            fetched: root.join("fetched").into(),
            read: root.join("read").into(),
            boot: Arc::new(Boot::new(root)),
            inserting: Arc::default(),
            claims: Claims::default(),
            taken_up: Arc::default(),
        })
    }

    /// Whether a folder holds a store.
    pub fn is_at(root: &Path) -> bool {
        root.join("blobs").join("sha256").is_dir()
    }

    /// Bytes of a blob that is there. Costs a stat.
    pub fn get(&self, digest: &Digest) -> Option<u64> {
        let metadata = std::fs::metadata(self.path(digest)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Bytes of a blob that is there whole. Where others say which size it has
    /// a stat tells; without that, or where the sizes differ, its bytes are
    /// read: a damaged blob is dropped.
    ///
    /// # Errors
    /// `local`.
    pub fn whole(&self, digest: &Digest, size: Option<u64>) -> Result<Option<u64>> {
        let there = self.get(digest);
        if there.is_none() || there == size {
            return Ok(there);
        }
        self.drop_if_damaged(digest)?;
        Ok(self.get(digest))
    }

    /// Reads a whole blob, and drops it where it is not what its name says, so
    /// that it is fetched again.
    ///
    /// # Errors
    /// `local`.
    pub fn drop_if_damaged(&self, digest: &Digest) -> Result<()> {
        if self.get(digest).is_none() {
            return Ok(());
        }
        let path = self.path(digest);
        let mut hasher = Hasher::new();
        std::fs::File::open(&path)
            .and_then(|mut file| std::io::copy(&mut file, &mut hasher))
            .map_err(|source| Error::io("cannot read", &path, source))?;
        if hasher.finish() == *digest { Ok(()) } else { fs::remove_file(&path) }
    }

    /// Where the blob lies, or would lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    /// Puts a small blob in; one that is there and damaged is replaced. Blocks
    /// until it is durable.
    pub fn insert_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let _alone = self.inserting.enter(digest);
        self.drop_if_damaged(&digest)?;
        if self.get(&digest).is_some() {
            return Ok(digest);
        }
        self.prepare()?;
        let temporary = self.partial.join(format!("{}.tmp", digest.hex()));
        fs::write_new(&temporary, bytes)?;
        self.publish(&temporary, &digest)?;
        Ok(digest)
    }

    /// Reads a small blob of at most `limit` bytes and checks it; None where
    /// it is missing. One that is damaged is dropped and counts as missing.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path(digest);
        let Some(bytes) = fs::read_optional(&path, limit)? else { return Ok(None) };
        if Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        fs::remove_file(&path)?;
        Ok(None)
    }

    /// Gives a blob a second name in a tree.
    ///
    /// # Errors
    /// `local` when the blob is not there; `disk-full`.
    pub fn link(&self, digest: &Digest, tree: &TreeBuilder, path: &str, executable: bool) -> Result<Artifact> {
        let source = self.path(digest);
        let size = self.get(digest).ok_or_else(|| {
            Error::local(format!("the store lost `{}`", source.display()))
                .hint("run the build again: it is fetched anew")
        })?;
        let artifact = tree.link(&source, *digest, size, path, executable)?;
        fs::checkpoint("blob-linked");
        if executable {
            fs::set_mode(&tree.root().join(path), 0o755)?;
        }
        Ok(artifact)
    }

    /// Bytes that are there already of a blob whose download is unfinished.
    pub fn partial_bytes(&self, digest: &Digest) -> u64 {
        partial::bytes(&self.partial_path(&digest.hex()))
    }

    /// Waits until nobody else in this process fetches `key`, then holds it.
    pub async fn claim(&self, key: &str) -> Claim {
        self.claims.enter(key).await
    }

    /// Where the unfinished download with this key lies.
    fn partial_path(&self, key: &str) -> PathBuf {
        self.partial.join(key)
    }

    /// Opens the unfinished download of `key`, or begins one. What another
    /// process left is read once; `stop` ends that early.
    pub fn partial(&self, key: &str, identity: Identity, stop: &dyn Fn() -> bool) -> Result<Partial> {
        self.prepare()?;
        self.boot.settle(&self.partial)?;
        let taken_up = || self.taken_up.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = taken_up().contains(key);
        let partial = Partial::open(self.partial_path(key), identity, is_own, stop)?;
        taken_up().insert(key.to_owned());
        Ok(partial)
    }

    /// Drops what a kill left of downloads that are whole by now, and of small
    /// blobs on their way in. Only while nothing is being fetched.
    ///
    /// # Errors
    /// `local`.
    pub fn sweep(&self) -> Result<()> {
        self.boot.sweep()?;
        for entry in std::fs::read_dir(&*self.partial).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let digest = format!("sha256:{name}").parse();
            if name.ends_with(".tmp") {
                fs::remove_file(&entry.path())?;
            } else if digest.is_ok_and(|digest| self.get(&digest).is_some()) || partial::is_taken(&entry.path()) {
                fs::remove_dir_all(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Drops the unfinished download of `key` where not a byte of it came.
    pub(crate) fn discard_empty(&self, key: &str) -> Result<()> {
        let directory = self.partial_path(key);
        if partial::bytes(&directory) > 0 { Ok(()) } else { fs::remove_dir_all(&directory) }
    }

    /// Moves a synced file into the blobs and makes its name durable.
    fn publish(&self, from: &Path, digest: &Digest) -> Result<()> {
        fs::checkpoint("blob-synced");
        fs::rename(from, &self.path(digest))?;
        fs::checkpoint("blob-renamed");
        self.directory.sync()
    }

    fn prepare(&self) -> Result<()> {
        fs::create_dir_all_durable(&self.blobs)?;
        fs::create_dir_all_durable(&self.partial)
    }
}

/// Lets one thread at a time insert a digest.
#[derive(Debug, Default)]
struct Inserting {
    busy: Mutex<BTreeSet<Digest>>,
    done: Condvar,
}

impl Inserting {
    fn enter(&self, digest: Digest) -> InsertGuard<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(digest) {
            busy = self.done.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        InsertGuard { of: self, digest }
    }
}

struct InsertGuard<'a> {
    of: &'a Inserting,
    digest: Digest,
}

impl Drop for InsertGuard<'_> {
    fn drop(&mut self) {
        self.of.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
        self.of.done.notify_all();
    }
}

/// One asynchronous lock per key that someone holds or waits for.
#[derive(Clone, Debug, Default)]
struct Claims {
    locks: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Claims {
    async fn enter(&self, key: &str) -> Claim {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(key.to_owned()).or_default().clone()
        };
        let guard = lock.lock_owned().await;
        Claim { key: key.to_owned(), locks: self.locks.clone(), guard: Some(guard) }
    }
}

/// The right to fetch one key; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    key: String,
    locks: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.guard.take());
        if locks.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        (folder, store)
    }

    #[test]
    fn bytes_are_found_by_their_digest_and_linked() {
        let (folder, store) = store();
        assert_eq!(store.get(&Digest::of(b"x")), None);
        let digest = store.insert_bytes(b"x").unwrap();
        assert_eq!(store.insert_bytes(b"x").unwrap(), digest);
        assert_eq!(store.get(&digest), Some(1));
        assert_eq!(store.read(&digest, 10).unwrap().unwrap(), b"x");

        let tree = TreeBuilder::new(folder.path().join("tree"));
        let artifact = store.link(&digest, &tree, "bin/x", true).unwrap();
        assert!(artifact.executable);
        assert_eq!(std::fs::read(folder.path().join("tree/bin/x")).unwrap(), b"x");
        assert!(store.link(&Digest::of(b"y"), &tree, "bin/y", false).is_err());
        assert_eq!(std::fs::read_dir(folder.path().join("store/partial")).unwrap().count(), 0);
    }

    /// A blob whose bytes rotted is fetched again instead of being used.
    #[test]
    fn a_damaged_blob_counts_as_missing() {
        let (_folder, store) = store();
        let digest = store.insert_bytes(b"good").unwrap();
        let mut file = fs::create(&store.path(&digest)).unwrap();
        fs::write_all(&mut file, &store.path(&digest), b"evil").unwrap();
        assert_eq!(store.read(&digest, 10).unwrap(), None);
        assert_eq!(store.get(&digest), None);
    }

    /// One that is cut short is noticed without reading the others.
    #[test]
    fn a_damaged_blob_is_replaced_by_what_is_inserted() {
        let (_folder, store) = store();
        let digest = store.insert_bytes(b"right").unwrap();
        for damaged in ["", "wrong", "longer than it was"] {
            fs::write_atomic(&store.path(&digest), damaged.as_bytes()).unwrap();
            assert_eq!(store.insert_bytes(b"right").unwrap(), digest);
            assert_eq!(std::fs::read(store.path(&digest)).unwrap(), b"right");
        }
    }

    #[test]
    fn of_two_sizes_the_one_that_the_digest_confirms_counts() {
        let (_folder, store) = store();
        let digest = store.insert_bytes(b"good").unwrap();
        assert_eq!(store.whole(&digest, Some(4)).unwrap(), Some(4));
        assert_eq!(store.whole(&digest, Some(5)).unwrap(), Some(4), "whoever said 5 was wrong");
        let mut file = fs::create(&store.path(&digest)).unwrap();
        fs::write_all(&mut file, &store.path(&digest), b"go").unwrap();
        assert_eq!(store.whole(&digest, Some(4)).unwrap(), None);
        assert_eq!(store.get(&digest), None);
    }

    #[test]
    fn many_threads_may_insert_the_same_bytes() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..20_u8 {
                        store.insert_bytes(&[n; 1000]).unwrap();
                    }
                });
            }
        });
        for n in 0..20_u8 {
            assert_eq!(store.read(&Digest::of(&[n; 1000]), 1000).unwrap().unwrap(), [n; 1000]);
        }
    }

    #[tokio::test]
    async fn a_claim_excludes_others_and_leaves_nothing_behind() {
        let (_folder, store) = store();
        let first = store.claim("a").await;
        let _other = store.claim("b").await;
        let waiting = store.claim("a");
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(first);
        drop(waiting.await);
        assert_eq!(store.claims.locks.lock().unwrap().len(), 1);
    }
}
