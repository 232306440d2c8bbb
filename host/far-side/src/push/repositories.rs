//! Git repositories, sent to a git server.
//!
//! References are set to what they are in the package: those of branches and of
//! tags. One that names another object over there is moved only where that object
//! is in the carried repository as well. Otherwise somebody committed to it over
//! there, or something newer was brought, and it is left as it is and told.
//!
//! The objects travel in the pack in which they are carried; several packs are
//! made one on the way, which is a matter of heads and checksums alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sha1::{Digest as _, Sha1};
use tokio::sync::mpsc::Sender;

use super::{Item, PushRun};
use crate::serve::{Blob, Repository};
use base::digest::Hasher;
use base::error::{Error, Result};
use fetch::network::{Held, Opened, Parcel, Update};

/// Bytes of a pack before its objects: name, version, how many.
const HEAD: u64 = 12;
/// Bytes of a list of objects before its objects: head and fanout.
const FANOUT: u64 = 8 + 256 * 4;

impl PushRun<'_> {
    /// Whether it was there.
    pub(super) async fn repository(&self, item: &Item) -> Result<bool> {
        let Some(repository) = self.library.repositories().find(|one| one.url == item.old) else {
            return Err(Error::integrity(format!("the package lacks the repository `{}`", item.old)));
        };
        let objects = Objects::of(repository)?;
        let updates = |held: &Held| updates(&repository.references, held, self.replaces, |id| objects.have(id));
        let (pack, size) = objects.pack()?;
        let (shallow, digits) = (repository.shallow.clone(), objects.digits);
        let parcel = Parcel { updates: &updates, shallow, pack, size, digits };
        let _alone = self.alone(&item.new).await;
        let set = self.network.push_repository(&item.new, &parcel, self.progress).await?;
        if !set.is_empty() {
            self.progress.fetched(size);
            self.count(|sums| {
                sums.references_set += set.len();
                sums.sent += size;
            });
        }
        Ok(set.is_empty())
    }
}

/// What shall be what over there, where `held` is what is. `is_carried` says
/// whether an object is in the repository.
fn updates(
    references: &BTreeMap<String, String>,
    held: &Held,
    replaces: bool,
    is_carried: impl Fn(&str) -> Result<bool>,
) -> Result<Vec<Update>> {
    let (mut updates, mut foreign) = (Vec::new(), Vec::new());
    for (name, new) in references {
        let is_sent = name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
        let old = held.get(name);
        if !is_sent || old == Some(new) {
            continue;
        }
        if let Some(old) = old
            && !replaces
            && !is_carried(old)?
        {
            foreign.push(format!("`{name}` is {old} there and {new} in the package"));
            continue;
        }
        updates.push(Update { name: name.clone(), old: old.cloned(), new: new.clone() });
    }
    match foreign.is_empty() {
        true => Ok(updates),
        false => Err(Error::invalid(format!("the package does not have what is there: {}", foreign.join("; "))).hint(
            "somebody committed there, or a newer package was pushed: push with --force to have what the package has",
        )),
    }
}

/// The objects of a repository.
struct Objects {
    packs: Vec<Blob>,
    lists: Vec<Blob>,
    /// Of an object's name.
    digits: usize,
}

impl Objects {
    fn of(repository: &Repository) -> Result<Self> {
        let (packs, lists) = (repository.packed(".pack"), repository.packed(".idx"));
        let digits = repository.references.values().next().map_or(40, String::len);
        if repository.is_loose() || packs.is_empty() || packs.len() != lists.len() {
            return Err(Error::invalid(format!("not all objects of `{}` lie in packs", repository.url)).hint(
                "clone it from `opencenter-airgap serve` and push that with `git push --mirror`, or choose with --match",
            ));
        }
        Ok(Self { packs, lists, digits })
    }

    fn have(&self, id: &str) -> Result<bool> {
        for list in &self.lists {
            if lists(list, id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One pack of all of them, and its bytes.
    fn pack(&self) -> Result<(Opened, u64)> {
        if let [one] = &*self.packs {
            let (pack, size) = (one.clone(), one.size());
            return Ok((Arc::new(move |from| pack.stream(from)), size));
        }
        let (mut count, mut size, end) = (0_u32, HEAD, self.digits as u64 / 2);
        for pack in &self.packs {
            let head = pack.part(0..HEAD)?;
            count = match head.split_at_checked(8) {
                Some((b"PACK\0\0\0\x02", more)) => count.saturating_add(number(more)),
                _ => return Err(Error::invalid("a pack of a repository is of a form that is not known")),
            };
            size += pack.size().saturating_sub(HEAD + end);
        }
        let (packs, is_sha256) = (self.packs.clone(), self.digits == 64);
        let open: Opened = Arc::new(move |_| {
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            tokio::spawn(join(packs.clone(), count, Sum::new(is_sha256), end, sender));
            receiver
        });
        Ok((open, size + end))
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Whether a list of objects (gitformat-pack(5), version 2) has one.
fn lists(list: &Blob, id: &str) -> Result<bool> {
    let Some(id) = bytes_of(id) else { return Ok(false) };
    let head = list.part(0..FANOUT)?;
    if !head.starts_with(b"\xfftOc\0\0\0\x02") || head.len() as u64 != FANOUT {
        return Err(Error::invalid("a list of objects of a repository is of a form that is not known"));
    }
    let entry = |at: usize| u64::from(number(&head[8 + at * 4..]));
    let first = usize::from(id[0]);
    let (from, to) = (first.checked_sub(1).map_or(0, entry), entry(first));
    let length = id.len() as u64;
    let names = list.part(FANOUT + from * length..FANOUT + to.max(from) * length)?;
    Ok(names.chunks(id.len()).any(|name| name == id))
}

/// The bytes of 40 or 64 digits.
fn bytes_of(id: &str) -> Option<Vec<u8>> {
    let digits = (0..id.len()).step_by(2).map(|at| u8::from_str_radix(id.get(at..at + 2)?, 16).ok());
    digits.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

/// The checksum at the end of a pack.
enum Sum {
    Sha1(Box<Sha1>),
    Sha256(Box<Hasher>),
}

impl Sum {
    fn new(is_sha256: bool) -> Self {
        if is_sha256 { Self::Sha256(Box::default()) } else { Self::Sha1(Box::default()) }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(sum) => sum.update(bytes),
            Self::Sha256(sum) => sum.update(bytes),
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Sha1(sum) => Bytes::copy_from_slice(&sum.finalize()),
            Self::Sha256(sum) => Bytes::copy_from_slice(sum.finish().as_bytes()),
        }
    }
}

/// The objects of packs behind one head. How far back a delta reaches is told
/// within its own pack, which stays in one piece.
async fn join(packs: Vec<Blob>, count: u32, mut sum: Sum, end: u64, sender: Sender<std::io::Result<Bytes>>) {
    let mut head = b"PACK\0\0\0\x02".to_vec();
    head.extend(count.to_be_bytes());
    sum.update(&head);
    if sender.send(Ok(head.into())).await.is_err() {
        return;
    }
    for pack in packs {
        let mut left = pack.size().saturating_sub(HEAD + end);
        let mut pieces = pack.stream(HEAD);
        // To its end, even where that is none of it: what is read to the end is
        // verified.
        while let Some(piece) = pieces.recv().await {
            let piece = piece.map(|piece| {
                let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                piece.slice(..length)
            });
            if let Ok(piece) = &piece {
                left -= piece.len() as u64;
                sum.update(piece);
            }
            let is_over = piece.is_err();
            if sender.send(piece).await.is_err() || is_over {
                return;
            }
        }
    }
    let _ = sender.send(Ok(sum.finish())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_older_is_moved() {
        let id = |digit: &str| digit.repeat(40);
        let references = BTreeMap::from([
            ("refs/heads/main".to_owned(), id("2")),
            ("refs/tags/v1".to_owned(), id("3")),
            ("refs/remotes/origin/x".to_owned(), id("4")),
        ]);
        let decide = |held: &[(&str, &str)], replaces| {
            let held = held.iter().map(|(name, digit)| ((*name).to_owned(), id(digit))).collect();
            let updates = updates(&references, &held, replaces, |old| Ok(old == id("1")))?;
            Ok::<_, Error>(updates.into_iter().map(|update| (update.name, update.old)).collect::<Vec<_>>())
        };
        let (main, tag) = ("refs/heads/main".to_owned(), "refs/tags/v1".to_owned());
        assert_eq!(decide(&[], false).unwrap(), [(main.clone(), None), (tag.clone(), None)]);
        assert_eq!(
            decide(&[("refs/heads/main", "2"), ("refs/tags/v1", "3"), ("refs/heads/own", "9")], false).unwrap(),
            []
        );
        assert_eq!(
            decide(&[("refs/heads/main", "1"), ("refs/tags/v1", "3")], false).unwrap(),
            [(main.clone(), Some(id("1")))]
        );
        let error = decide(&[("refs/heads/main", "9")], false).unwrap_err();
        assert!(error.message().contains("refs/heads/main") && error.message().contains(&id("9")), "{error}");
        assert_eq!(decide(&[("refs/heads/main", "9"), ("refs/tags/v1", "3")], true).unwrap(), [(main, Some(id("9")))]);
    }

    /// Several packs as git makes them, of which git reads the one that is sent.
    #[tokio::test]
    async fn several_packs_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut command = std::process::Command::new("git");
            command.arg("-C").arg(folder.path()).args(["-c", "user.name=t", "-c", "user.email=t@example.com"]);
            let output = command.args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        let text: String = (0..2000).map(|line| format!("line {line}\n")).collect();
        for number in 0..3 {
            disk::fs::write_new(&folder.path().join("text"), format!("{number}\n{text}").as_bytes()).unwrap();
            git(&["add", "text"]);
            git(&["commit", "--quiet", "--message", "change"]);
            git(&["repack", "-d", "--quiet"]);
        }
        let head = git(&["rev-parse", "HEAD"]);
        let files = std::fs::read_dir(folder.path().join(".git/objects/pack")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        let blobs = |ending: &str| -> Vec<Blob> {
            let of_it = files.iter().filter(|path| path.extension().is_some_and(|found| found == ending));
            of_it.map(|path| Blob::made(std::fs::read(path).unwrap())).collect()
        };
        let objects = Objects { packs: blobs("pack"), lists: blobs("idx"), digits: 40 };
        assert_eq!(objects.packs.len(), 3);
        assert!(objects.have(&head).unwrap() && !objects.have(&"1".repeat(40)).unwrap());
        let (open, size) = objects.pack().unwrap();
        let (mut pieces, mut pack) = (open(0), Vec::new());
        while let Some(piece) = pieces.recv().await {
            pack.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(pack.len() as u64, size);
        let path = folder.path().join("sent.pack");
        disk::fs::write_new(&path, &pack).unwrap();
        git(&["index-pack", "--strict", &path.display().to_string()]);
        let listed = git(&["verify-pack", "-v", &path.display().to_string()]);
        assert_eq!(listed.lines().filter(|line| line.contains(" commit ")).count(), 3, "{listed}");
    }

    #[test]
    fn digits_are_bytes() {
        assert_eq!(bytes_of("00ff10"), Some(vec![0, 255, 16]));
        assert!(["", "0", "zz", "0\u{e9}"].iter().all(|text| bytes_of(text).is_none()));
    }
}
