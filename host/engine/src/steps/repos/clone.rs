//! A clone under build/: bare, never checked out, filled by fetching.
//!
//! What was fetched completely is marked by a reference `refs/pins/<object>`:
//! git sets it only when the object and all its history are there. So a fetch
//! that was cut is simply repeated, and a clone that holds the pins of a
//! repository is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::pin::{Advertised, Pin, patterns};
use super::source::Source;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use config::settings::RetrySettings;
use disk::fs;
use fetch::git::{Failure, Git, Reach};

/// Bytes that git may list: references of one repository, attribute files.
const LISTING_LIMIT: usize = 64 << 20;
/// Files with attributes in one tree that are read.
const ATTRIBUTE_FILES: usize = 10_000;
/// Paths that an error names.
const NAMED_PATHS: usize = 5;

/// A clone that exists.
pub(super) struct RepositoryClone<'a> {
    pub git: &'a Git,
    pub directory: PathBuf,
    pub source: &'a Source,
    pub retries: &'a RetrySettings,
    pub progress: &'a Progress,
}

impl RepositoryClone<'_> {
    /// An empty clone beside the place of this one.
    pub(super) async fn make_fresh(&self) -> Result<PathBuf> {
        let fresh = fs::temporary_beside(&self.directory);
        fs::remove_dir_all(&fresh)?;
        let path = fresh.display().to_string();
        let arguments = ["init", "--quiet", "--bare", "--template=", "--initial-branch=unborn", &path];
        let made = fs::made_by(&fresh, self.git.collect(self.progress, Reach::Local, None, &arguments, 0)).await;
        made.map_err(|failure| self.error(failure, "create the clone of"))?;
        Ok(fresh)
    }

    /// Gives a clone its name, once all of it is durable.
    pub(super) fn put_in_place(&self, fresh: &Path) -> Result<()> {
        fs::sync_below(fresh)?;
        fs::rename(fresh, &self.directory)?;
        fs::checkpoint("clone-made");
        fs::sync_parent(&self.directory)
    }

    /// Whether everything of `pin` was fetched.
    pub(super) async fn holds(&self, pin: &Pin) -> Result<bool> {
        let listed = self.local(&["for-each-ref", "--format=%(objectname)", "refs/pins/"]).await?;
        let listed = String::from_utf8_lossy(&listed);
        let present: BTreeSet<&str> = listed.lines().collect();
        Ok(pin.objects().iter().all(|object| present.contains(object)))
    }

    /// Asks the server what the reference of the source is now, at most
    /// `attempts` times.
    pub(super) async fn ask(&self, attempts: u32) -> Result<Advertised> {
        let advertised = self.ask_for(&patterns(self.source), attempts).await?;
        // An empty repository and one whose HEAD names no branch look alike.
        if self.source.reference.is_none() && !advertised.references.contains_key("HEAD") {
            return self.ask_for(&["refs/heads/*".to_owned()], attempts).await;
        }
        Ok(advertised)
    }

    async fn ask_for(&self, patterns: &[String], attempts: u32) -> Result<Advertised> {
        let mut arguments = vec!["ls-remote", "--symref", "--", self.source.url.as_str()];
        arguments.extend(patterns.iter().map(String::as_str));
        let listed = self.remote(&arguments, attempts).await.map_err(|failure| self.error(failure, "ask"))?;
        Ok(Advertised::parse(&String::from_utf8_lossy(&listed)))
    }

    /// Fetches the objects of `pin` with all their history.
    pub(super) async fn fetch(&self, pin: &Pin) -> Result<()> {
        let specs: Vec<String> = pin.objects().iter().map(|object| format!("+{object}:refs/pins/{object}")).collect();
        match self.fetch_specs(&specs).await {
            Ok(()) => {}
            // Some servers hand out only what a reference names.
            Err(failure) if failure.wants_advertised_refs() => self.fetch_everything(pin).await?,
            Err(failure) => return Err(self.error(failure, "fetch")),
        }
        if self.directory.join("shallow").exists() {
            return Err(Error::invalid(format!("{} is a shallow clone: its history is missing", self.named()))
                .hint("give the URL of a complete repository"));
        }
        // git syncs its packs, and neither their names nor its references.
        fs::sync_below(&self.directory)
    }

    async fn fetch_everything(&self, pin: &Pin) -> Result<()> {
        let specs = ["+refs/heads/*:refs/mirror/heads/*".to_owned(), "+refs/tags/*:refs/mirror/tags/*".to_owned()];
        self.fetch_specs(&specs).await.map_err(|failure| self.error(failure, "fetch"))?;
        for object in pin.objects() {
            if self.kind(object).await?.is_none() {
                let message = format!("{} has no commit {object}", self.named());
                return Err(Error::new(Class::NotFound, message).hint(
                    "it may have been removed by a forced push; correct `commit` in components.yaml, \
                     or run `opencenter-airgap update` where airgap.lock holds it",
                ));
            }
            self.mark(&self.directory, object).await?;
        }
        Ok(())
    }

    async fn fetch_specs(&self, specs: &[String]) -> Result<(), Failure> {
        let mut arguments = vec!["fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-auto-gc"];
        arguments.extend(["--no-recurse-submodules", "--force", "--", self.source.url.as_str()]);
        arguments.extend(specs.iter().map(String::as_str));
        fs::made_by(&self.directory, self.remote(&arguments, self.retries.requests)).await.map(drop)
    }

    /// Refuses what the package could not carry: an object that is no commit,
    /// submodules, LFS.
    pub(super) async fn check(&self, pin: &Pin) -> Result<()> {
        match self.kind(&pin.commit).await?.as_deref() {
            Some("commit") => {}
            Some(other) => {
                return Err(Error::invalid(format!("{} is pinned at a {other}, not at a commit", self.named())));
            }
            None => return Err(Error::integrity(format!("{} lacks {} in its clone", self.named(), pin.commit))),
        }
        let (mut records, mut scan) = (Records::default(), TreeScan::default());
        let arguments = ["ls-tree", "-r", "-z", "--full-tree", pin.commit.as_str()];
        let mut sink = |bytes: &[u8]| records.read(bytes, |record| scan.enter(record));
        let listed = self.git.stream(self.progress, Reach::Local, Some(&self.directory), &arguments, &[], &mut sink);
        listed.await.map_err(|failure| self.error(failure, "read"))?;
        if !scan.submodules.is_empty() {
            return Err(Error::invalid(format!("{} has submodules: {}", self.named(), named_paths(&scan.submodules)))
                .hint("submodules are not carried; pin each of them as a repository of its own"));
        }
        if self.uses_lfs(&scan.attributes).await? {
            let pointers = self.lfs_pointers(&pin.commit).await?;
            if !pointers.is_empty() {
                let paths = named_paths(&pointers);
                return Err(Error::invalid(format!("{} keeps files in Git LFS: {paths}", self.named()))
                    .hint("LFS files are not carried; use a repository without LFS"));
            }
        }
        Ok(())
    }

    /// Whether one of the attribute files, as (object, path), hands paths to
    /// LFS. There may be none of them in the tree.
    async fn uses_lfs(&self, attributes: &[(String, String)]) -> Result<bool> {
        if attributes.len() > ATTRIBUTE_FILES {
            return Ok(true);
        }
        for (object, _) in attributes {
            let content = self.local(&["cat-file", "blob", object]).await?;
            if String::from_utf8_lossy(&content).lines().any(is_lfs_line) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The paths of a commit with a pointer instead of their content.
    async fn lfs_pointers(&self, commit: &str) -> Result<Vec<String>> {
        let (mut records, mut small) = (Records::default(), SmallFiles::default());
        let arguments = ["ls-tree", "-r", "-l", "-z", "--full-tree", commit];
        let mut sink = |bytes: &[u8]| records.read(bytes, |record| small.enter(record));
        let listed = self.git.stream(self.progress, Reach::Local, Some(&self.directory), &arguments, &[], &mut sink);
        listed.await.map_err(|failure| self.error(failure, "read"))?;
        let objects: String = small.paths.keys().map(|object| format!("{object}\n")).collect();
        let mut pointers = Pointers::default();
        let mut sink = |bytes: &[u8]| pointers.read(bytes);
        let arguments = ["cat-file", "--batch"];
        let read = self.git.stream(
            self.progress,
            Reach::Local,
            Some(&self.directory),
            &arguments,
            objects.as_bytes(),
            &mut sink,
        );
        read.await.map_err(|failure| self.error(failure, "read"))?;
        Ok(pointers.objects.iter().filter_map(|object| small.paths.get(object).cloned()).collect())
    }

    /// `commit`, `tag`, …; none where the clone lacks the object.
    async fn kind(&self, object: &str) -> Result<Option<String>> {
        let arguments = ["cat-file", "-t", object];
        match self.git.collect(self.progress, Reach::Local, Some(&self.directory), &arguments, 100).await {
            Ok(kind) => Ok(Some(String::from_utf8_lossy(&kind).trim().to_owned())),
            Err(Failure::Refused { .. }) => Ok(None),
            Err(failure) => Err(self.error(failure, "read")),
        }
    }

    /// Says that a clone holds everything of this object.
    pub(super) async fn mark(&self, clone: &Path, object: &str) -> Result<()> {
        let name = format!("refs/pins/{object}");
        let arguments = ["update-ref", &name, object];
        let marked = self.git.collect(self.progress, Reach::Local, Some(clone), &arguments, 0);
        fs::made_by(clone, marked).await.map(drop).map_err(|failure| self.error(failure, "mark what was fetched of"))
    }

    pub(super) async fn local(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = self.git.collect(self.progress, Reach::Local, Some(&self.directory), arguments, LISTING_LIMIT);
        output.await.map_err(|failure| self.error(failure, "read the clone of"))
    }

    /// A call to the server, repeated while that may help.
    async fn remote(&self, arguments: &[&str], attempts: u32) -> Result<Vec<u8>, Failure> {
        let mut attempt = 1;
        loop {
            self.progress.request();
            let reach = self.git.reach(&self.source.url);
            let result = self.git.collect(self.progress, reach, Some(&self.directory), arguments, LISTING_LIMIT).await;
            let failure = match result {
                Err(failure) => failure.told_apart().await,
                ended => return ended,
            };
            if failure.class() != Class::Transient || attempt >= attempts {
                return Err(failure);
            }
            let pause = self.retries.pause_with_jitter(attempt, fastrand::f64());
            let message = failure.into_error("reach", &self.source.name, &self.source.url).one_line();
            self.progress.retrying(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), &message);
            tokio::select! {
                () = tokio::time::sleep(pause) => attempt += 1,
                () = self.progress.cancellation().cancelled() => return Err(Failure::Stopped),
            }
            self.clear_leftovers().map_err(|error| Failure::Start(std::io::Error::other(error)))?;
        }
    }

    /// Removes the locks and unfinished packs of a git that was killed. The
    /// build is held by this process, so nobody else works in the clone; but a
    /// git whose build was killed lives a moment longer, so this is done
    /// before and after.
    pub(super) fn clear_leftovers(&self) -> Result<()> {
        let is_lock = |name: &str| name.ends_with(".lock");
        let is_unfinished = |name: &str| name.starts_with("tmp_");
        clear(&self.directory, 0, &is_lock)?;
        clear(&self.directory.join("refs"), 8, &is_lock)?;
        clear(&self.directory.join("objects").join("pack"), 0, &is_unfinished)
    }

    fn named(&self) -> String {
        format!("repository `{}` ({})", self.source.name, self.source.url)
    }

    pub(super) fn error(&self, failure: Failure, doing: &str) -> Error {
        failure.into_error(doing, &self.source.name, &self.source.url)
    }
}

fn clear(directory: &Path, depth: u32, is_leftover: &dyn Fn(&str) -> bool) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && depth > 0 {
            clear(&entry.path(), depth - 1, is_leftover)?;
        } else if !is_directory && is_leftover(&entry.file_name().to_string_lossy()) {
            fs::remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// Bytes of a line of `git ls-tree`, at most; the rest of a longer one is cut.
const LONGEST_RECORD: usize = 64 << 10;

/// Takes what `git ls-tree -z` writes as it comes, record by record.
#[derive(Default)]
struct Records {
    rest: Vec<u8>,
}

impl Records {
    fn read(&mut self, bytes: &[u8], mut enter: impl FnMut(&str)) {
        for &byte in bytes {
            if byte == 0 {
                enter(&String::from_utf8_lossy(&std::mem::take(&mut self.rest)));
            } else if self.rest.len() < LONGEST_RECORD {
                self.rest.push(byte);
            }
        }
    }
}

/// Collects what `git ls-tree -r -z` lists of what a package cannot hold.
#[derive(Default)]
struct TreeScan {
    submodules: Vec<String>,
    /// Object and path of every `.gitattributes`.
    attributes: Vec<(String, String)>,
}

impl TreeScan {
    /// `<mode> <kind> <object>\t<path>`.
    fn enter(&mut self, record: &str) {
        let Some((meta, path)) = record.split_once('\t') else { return };
        let object = meta.rsplit(' ').next().unwrap_or_default();
        // A `.gitmodules` without a gitlink is a leftover: git has nothing to
        // fetch for it.
        if meta.starts_with("160000 ") {
            self.submodules.push(path.to_owned());
        } else if path == ".gitattributes" || path.ends_with("/.gitattributes") {
            self.attributes.push((object.to_owned(), path.to_owned()));
        }
    }
}

/// Bytes of a pointer of Git LFS, at most.
const LARGEST_POINTER: usize = 1024;

/// Collects what `git ls-tree -r -l -z` lists of the files that may be
/// pointers: one path for each object.
#[derive(Default)]
struct SmallFiles {
    paths: BTreeMap<String, String>,
}

impl SmallFiles {
    /// `<mode> blob <object> <size>\t<path>`.
    fn enter(&mut self, record: &str) {
        let Some((meta, path)) = record.split_once('\t') else { return };
        let mut words = meta.split_whitespace().skip(2);
        if let (Some(object), Some(size)) = (words.next(), words.next())
            && size.parse::<usize>().is_ok_and(|size| (100..=LARGEST_POINTER).contains(&size))
        {
            self.paths.entry(object.to_owned()).or_insert_with(|| path.to_owned());
        }
    }
}

/// Reads `git cat-file --batch`, and keeps which objects are pointers.
#[derive(Default)]
struct Pointers {
    head: Vec<u8>,
    object: String,
    content: Vec<u8>,
    /// Bytes of the content that are still to come, with the line feed behind
    /// it; None within a head.
    left: Option<usize>,
    objects: Vec<String>,
}

impl Pointers {
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            if let Some(left) = self.left {
                let taken = left.min(bytes.len());
                let room = (2 * LARGEST_POINTER).saturating_sub(self.content.len());
                self.content.extend_from_slice(&bytes[..taken.min(room)]);
                bytes = &bytes[taken..];
                self.left = Some(left - taken);
                self.end_content();
                continue;
            }
            bytes = &bytes[1..];
            if byte == b'\n' { self.end_head() } else { self.head.push(byte) }
        }
    }

    /// `<object> blob <size>`.
    fn end_head(&mut self) {
        let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).into_owned();
        let mut words = head.split(' ');
        self.object = words.next().unwrap_or_default().to_owned();
        self.left = words.nth(1).and_then(|size| size.parse::<usize>().ok()).map(|size| size + 1);
    }

    fn end_content(&mut self) {
        if self.left == Some(0) {
            self.left = None;
            if std::mem::take(&mut self.content).starts_with(b"version https://git-lfs.github.com/spec/") {
                self.objects.push(std::mem::take(&mut self.object));
            }
        }
    }
}

/// `*.bin filter=lfs diff=lfs merge=lfs -text`.
fn is_lfs_line(line: &str) -> bool {
    !line.trim_start().starts_with('#') && line.split_whitespace().skip(1).any(|word| word == "filter=lfs")
}

fn named_paths(paths: &[String]) -> String {
    let mut text =
        paths.iter().take(NAMED_PATHS).map(|path| format!("`{}`", path.escape_default())).collect::<Vec<_>>();
    if paths.len() > NAMED_PATHS {
        text.push(format!("and {} more", paths.len() - NAMED_PATHS));
    }
    text.join(", ")
}
