//! Input trees: what a committed step, the configuration, a local path or an
//! unpacked archive looks like to a guest.
//!
//! A guest names files by relative paths; [`InputTree::locate`] is the one
//! place that turns such a path into one on disk, and nothing it gives lies
//! outside the tree. Of what the user's configuration names it gives the version
//! that was hashed, whatever lies there now: a copy that nobody else changes.
//! [`InputTree::in_place`] is for who compares what he reads himself.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::host_time::HostTime;
use super::limits::{LOCAL_DEPTH, LOCAL_ENTRIES};
use super::room::{Room, Taken};
use archive::unpack::UnpackLimits;
use base::digest::{Digest, Hasher};
use base::error::{Class, Error, Result};
use base::layout;
use base::leash::Leash;
use config::as_read::no_longer;
use config::local;
use config::local::Content;
use config::named::LocalTree;
use disk::fs;
use disk::tree::{Artifact, Tree};

/// Bytes that are read between two questions to the leash.
const PIECE: usize = 1 << 20;

/// What references resolved to: a step that resolves some prefers it.
pub(super) const LOCK: &str = "airgap.lock";

/// What lies in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// In the tree.
    pub(super) path: String,
    pub(super) kind: EntryKind,
    /// Bytes of a file, else 0.
    pub(super) size: u64,
    pub(super) executable: bool,
    /// `sha256:…`, where the host knows it.
    pub(super) digest: Option<String>,
    /// Of a link.
    pub(super) target: Option<String>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    Symlink,
}

/// A read-only tree. Cheap to clone.
#[derive(Clone, Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct InputTree(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// Believed by its listing.
    Committed(Tree),
    /// A local directory, as it is on disk now.
    Directory(LocalTree),
    /// A local path that the configuration names, as it was hashed.
    Recorded(Recorded),
    /// Single files under names of their own.
    Files(BTreeMap<String, PathBuf>),
    /// An unpacked archive, removed with the last handle.
    Unpacked(Unpacked),
}

#[derive(Debug)]
struct Recorded {
    content: Arc<Content>,
    /// Of a file that is a tree of its own.
    file: Option<String>,
    /// Where copies may lie.
    copies: PathBuf,
}

impl Recorded {
    /// What a guest calls something, as the record does.
    fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        match &self.file {
            Some(name) => (path == name).then_some(""),
            None => Some(path),
        }
    }

    fn entries(&self) -> Vec<(&str, &local::LocalEntry)> {
        match &self.file {
            Some(name) => self.content.get("").map(|entry| (name.as_str(), entry)).into_iter().collect(),
            None => self.content.entries().collect(),
        }
    }

    /// What lies at a path itself; the directories above it may be links.
    fn stat(&self, path: &str) -> Option<Entry> {
        let inside = self.inside(path)?;
        let found = match inside.rsplit_once('/') {
            Some((above, name)) => {
                format!("{}/{name}", self.content.followed(above)?).trim_start_matches('/').to_owned()
            }
            None => inside.to_owned(),
        };
        self.content.get(&found).map(|entry| recorded_entry(path, entry))
    }

    fn in_place(&self, path: &str) -> Result<Located> {
        let inside = self.inside(path).ok_or_else(|| absent(path))?;
        let followed = self.content.followed(inside);
        match (followed.as_deref().and_then(|found| self.content.get(found)), self.content.get(inside)) {
            (Some(local::LocalEntry::File { digest, size, executable }), _) => Ok(Located {
                path: match followed.as_deref() {
                    None | Some("") => self.content.root().to_owned(),
                    Some(below) => self.content.root().join(below),
                },
                size: *size,
                executable: *executable,
                digest: Some(*digest),
                may_change: true,
            }),
            (Some(_), _) => Err(Error::invalid(format!("`{}` is not a file", path.escape_debug()))),
            (None, Some(local::LocalEntry::Link { .. })) => {
                Err(Error::invalid(format!("`{}` is a link out of the tree", path.escape_debug())))
            }
            (None, _) => Err(absent(path)),
        }
    }

    /// A copy that stays what it is.
    fn copied(&self, path: &str) -> Result<Located> {
        let located = self.in_place(path)?;
        let name = located.digest.map(|digest| digest.hex()).unwrap_or_default();
        let copy = self.copies.join(name);
        if !copy.exists() {
            fs::create_dir_all(&self.copies)?;
            copied_as_hashed(&located, &copy)?;
        }
        Ok(Located { path: copy, may_change: false, ..located })
    }
}

/// A copy of the bytes that were hashed, whatever their number.
fn copied_as_hashed(located: &Located, copy: &Path) -> Result<()> {
    let unreadable = |_| is_another(located);
    let temporary = fs::temporary_beside(copy);
    let mut source = File::open(&located.path).map_err(unreadable)?;
    let mut target = fs::create(&temporary)?;
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
    loop {
        let count = source.read(&mut piece).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        fs::write_all(&mut target, &temporary, &piece[..count])?;
    }
    if located.digest != Some(hasher.finish()) {
        fs::remove_file(&temporary)?;
        return Err(is_another(located));
    }
    fs::rename(&temporary, copy)
}

/// The bytes that were hashed.
fn read_as_hashed(located: &Located) -> Result<Vec<u8>> {
    let bytes = fs::read_optional(&located.path, located.size).ok().flatten();
    bytes.filter(|bytes| located.digest == Some(Digest::of(bytes))).ok_or_else(|| is_another(located))
}

fn is_another(located: &Located) -> Error {
    no_longer(&format!("`{}`", layout::shown(&located.path)))
}

#[derive(Debug)]
struct Unpacked {
    tree: Tree,
    _room: Taken,
    time: HostTime,
}

/// Removing is work for the call as well: what is left when its time is over is
/// up to the end of the attempt.
impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all_unless(&|_| self.time.check().is_err(), &self.tree.root);
    }
}

/// A file of a tree on disk.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) executable: bool,
    /// Known for committed and unpacked files, and for those of the user that
    /// were hashed.
    pub(super) digest: Option<Digest>,
    /// Whether it is the user's own: what is read there is compared.
    may_change: bool,
}

impl Located {
    /// A file that the host made.
    pub(super) fn made(path: PathBuf, artifact: &Artifact) -> Self {
        let Artifact { size, executable, digest, .. } = *artifact;
        Self { path, size, executable, digest: Some(digest), may_change: false }
    }
}

impl InputTree {
    pub(super) fn committed(tree: Tree) -> Self {
        Self(Arc::new(Kind::Committed(tree)))
    }

    /// The tree's directory is removed with the last handle, and what it takes
    /// of the room given back.
    pub(super) fn unpacked(tree: Tree, room: &Room, takes: UnpackLimits, time: HostTime) -> Self {
        let _room = room.take(takes);
        Self(Arc::new(Kind::Unpacked(Unpacked { tree, _room, time })))
    }

    /// Those of the files that exist.
    pub(super) fn files(files: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self(Arc::new(Kind::Files(files.into_iter().filter(|(_, path)| path.is_file()).collect())))
    }

    /// A local path of the user: a directory as it is, or a tree with one file
    /// in it, under the name that is written.
    pub(super) fn local(tree: LocalTree, copies: &Path) -> Self {
        let name = Path::new(tree.written()).file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if let Some(content) = tree.content() {
            let file = content.is_file().then_some(name);
            return Self(Arc::new(Kind::Recorded(Recorded {
                content: content.clone(),
                file,
                copies: copies.to_owned(),
            })));
        }
        if tree.path().is_dir() {
            return Self(Arc::new(Kind::Directory(tree)));
        }
        Self(Arc::new(Kind::Files(BTreeMap::from([(name, tree.path().to_owned())]))))
    }

    /// The directory of a committed tree.
    pub(super) fn committed_root(&self) -> Option<&Path> {
        match &*self.0 {
            Kind::Committed(tree) => Some(&tree.root),
            _ => None,
        }
    }

    /// The artifacts, where a listing says what they are.
    pub(super) fn listed(&self) -> Option<&Tree> {
        match &*self.0 {
            Kind::Committed(tree) | Kind::Unpacked(Unpacked { tree, .. }) => Some(tree),
            Kind::Directory(_) | Kind::Recorded(_) | Kind::Files(_) => None,
        }
    }

    /// Whether files may be given a second name instead of a copy: nobody
    /// else changes them.
    pub(super) fn is_ours(&self) -> bool {
        self.listed().is_some()
    }

    /// Whether its files stay where they are whatever becomes of this handle: a
    /// second name takes nothing then.
    pub(super) fn is_kept(&self) -> bool {
        matches!(&*self.0, Kind::Committed(_))
    }

    /// Everything at and below `prefix`, sorted by path in byte order.
    pub(super) fn entries(&self, prefix: &str, leash: &Leash) -> Result<Vec<Entry>> {
        if !prefix.is_empty() {
            check_relative(prefix)?;
        }
        let mut entries = match &*self.0 {
            Kind::Committed(tree) | Kind::Unpacked(Unpacked { tree, .. }) => {
                let listed = tree.listing.artifacts.iter().filter(|artifact| is_below(&artifact.path, prefix));
                listed.map(|artifact| leash.check().map(|()| entry_of(artifact))).collect::<Result<Vec<_>>>()?
            }
            Kind::Files(files) => {
                let below = files.iter().filter(|(name, _)| is_below(name, prefix));
                below.map(|(name, path)| entry_on_disk(name, path)).collect::<Result<Vec<_>>>()?
            }
            Kind::Directory(tree) => walk(tree, prefix, leash)?,
            Kind::Recorded(recorded) => {
                let entries = recorded.entries().into_iter().filter(|(path, _)| is_below(path, prefix));
                entries.map(|(path, entry)| recorded_entry(path, entry)).collect()
            }
        };
        entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(entries)
    }

    /// One entry; a symlink is not followed. Directories of a committed tree
    /// are where files lie below them.
    pub(super) fn stat(&self, path: &str) -> Result<Option<Entry>> {
        check_relative(path)?;
        match &*self.0 {
            Kind::Committed(tree) | Kind::Unpacked(Unpacked { tree, .. }) => {
                Ok(tree.listing.get(path).map(entry_of).or_else(|| implied_directory(tree, path)))
            }
            Kind::Files(files) => files.get(path).map(|file| entry_on_disk(path, file)).transpose(),
            Kind::Directory(tree) => stat_on_disk(tree, path),
            Kind::Recorded(recorded) => Ok(recorded.stat(path)),
        }
    }

    /// Where the file at `path` lies, for whoever reads it in his own time.
    ///
    /// # Errors
    /// `not-found`; `invalid-input` where it is no file or a symlink leads
    /// out of the tree; `changed` where it is not what was hashed.
    pub(super) fn locate(&self, path: &str) -> Result<Located> {
        check_relative(path)?;
        match &*self.0 {
            Kind::Recorded(recorded) => recorded.copied(path),
            _ => self.in_place(path),
        }
    }

    /// The same for [`read_file`], which compares.
    ///
    /// # Errors
    /// As [`InputTree::locate`].
    pub(super) fn in_place(&self, path: &str) -> Result<Located> {
        check_relative(path)?;
        match &*self.0 {
            Kind::Committed(tree) | Kind::Unpacked(Unpacked { tree, .. }) => {
                let artifact = tree.listing.get(path).ok_or_else(|| absent(path))?;
                Ok(Located::made(tree.path_of(path), artifact))
            }
            Kind::Recorded(recorded) => recorded.in_place(path),
            Kind::Files(files) => on_disk(path, files.get(path).ok_or_else(|| absent(path))?.clone()),
            Kind::Directory(tree) => {
                let found = tree.path().join(path).canonicalize().map_err(|error| unreadable(path, error))?;
                if !found.starts_with(tree.path()) {
                    return Err(Error::invalid(format!("`{}` is a link out of the tree", path.escape_debug())));
                }
                if tree.hidden().hides_below(tree.path(), &found) {
                    return Err(absent(path));
                }
                on_disk(path, found)
            }
        }
    }

    /// One digest for everything in the tree but airgap.lock: what other steps
    /// resolved in the meantime changes nothing of what is asked for.
    pub(super) fn digest(&self, leash: &Leash) -> Result<Digest> {
        if let Some(tree) = self.listed() {
            return Ok(tree.listing.digest());
        }
        let mut hasher = Hasher::new();
        let is_lock = |entry: &Entry| matches!(&*self.0, Kind::Files(_)) && entry.path == LOCK;
        for entry in self.entries("", leash)?.into_iter().filter(|entry| !is_lock(entry)) {
            let content = match entry.kind {
                EntryKind::File => {
                    let located = self.in_place(&entry.path)?;
                    located.digest.map_or_else(|| Ok(hash_file(&located.path, leash)?.0), Ok)?.hex()
                }
                _ => entry.target.unwrap_or_default(),
            };
            hasher.update(format!("{}\0{}\0{content}\0", entry.path, entry.executable).as_bytes());
        }
        Ok(hasher.finish())
    }
}

/// What a guest may call a file of a tree. Looser than what may be written:
/// local charts hold names that a package could not.
fn check_relative(path: &str) -> Result<()> {
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.len() > 4096 || path.contains('\0') || path.split('/').any(odd) {
        let shown: String = path.chars().take(200).flat_map(char::escape_default).collect();
        return Err(Error::invalid(format!("`{shown}` is not a path inside a tree")));
    }
    Ok(())
}

fn is_below(path: &str, prefix: &str) -> bool {
    prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn absent(path: &str) -> Error {
    Error::new(Class::NotFound, format!("there is no file `{}` in the tree", path.escape_debug()))
}

/// The guest may go on without the file, or say what it is part of.
fn unreadable(path: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => absent(path),
        _ => Error::invalid(format!("`{}` can not be read", path.escape_debug())).caused_by(error),
    }
}

fn entry_of(artifact: &Artifact) -> Entry {
    Entry {
        path: artifact.path.clone(),
        kind: EntryKind::File,
        size: artifact.size,
        executable: artifact.executable,
        digest: Some(artifact.digest.to_string()),
        target: None,
    }
}

fn implied_directory(tree: &Tree, path: &str) -> Option<Entry> {
    let artifacts = &tree.listing.artifacts;
    let below = format!("{path}/");
    let at = artifacts.partition_point(|artifact| artifact.path < below);
    let first = artifacts.get(at)?;
    first.path.starts_with(&below).then(|| directory_entry(path))
}

fn directory_entry(path: &str) -> Entry {
    Entry { path: path.to_owned(), kind: EntryKind::Directory, size: 0, executable: false, digest: None, target: None }
}

fn recorded_entry(path: &str, entry: &local::LocalEntry) -> Entry {
    match entry {
        local::LocalEntry::File { size, executable, .. } => {
            Entry { kind: EntryKind::File, size: *size, executable: *executable, ..directory_entry(path) }
        }
        local::LocalEntry::Directory => directory_entry(path),
        local::LocalEntry::Link { target } => {
            Entry { kind: EntryKind::Symlink, target: Some(target.clone()), ..directory_entry(path) }
        }
    }
}

fn entry_on_disk(name: &str, path: &Path) -> Result<Entry> {
    let metadata = path.metadata().map_err(|error| Error::io("cannot read", path, error))?;
    Ok(file_entry(name, &metadata))
}

fn file_entry(name: &str, metadata: &Metadata) -> Entry {
    Entry {
        path: name.to_owned(),
        kind: EntryKind::File,
        size: metadata.len(),
        executable: metadata.mode() & 0o100 != 0,
        digest: None,
        target: None,
    }
}

fn on_disk(shown: &str, path: PathBuf) -> Result<Located> {
    let metadata = path.metadata().map_err(|error| unreadable(shown, error))?;
    if !metadata.is_file() {
        return Err(Error::invalid(format!("`{}` is not a file", shown.escape_debug())));
    }
    let executable = metadata.mode() & 0o100 != 0;
    Ok(Located { path, size: metadata.len(), executable, digest: None, may_change: false })
}

/// What lies at `path` itself; the directories above it must be inside.
fn stat_on_disk(tree: &LocalTree, path: &str) -> Result<Option<Entry>> {
    let root = tree.path();
    let full = root.join(path);
    let parent = full.parent().unwrap_or(root);
    match parent.canonicalize() {
        Ok(parent) if tree.hidden().hides_below(root, &parent) => return Ok(None),
        Ok(parent) if parent.starts_with(root) => {}
        Ok(_) => return Err(Error::invalid(format!("`{}` lies behind a link out of the tree", path.escape_debug()))),
        Err(_) => return Ok(None),
    }
    let name = full.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    match full.symlink_metadata() {
        Ok(metadata) if tree.hidden().hides(&name, &metadata) => Ok(None),
        Ok(metadata) => describe(path, &full, &metadata),
        Err(_) => Ok(None),
    }
}

/// None for what is neither file, directory nor symlink.
fn describe(name: &str, full: &Path, metadata: &Metadata) -> Result<Option<Entry>> {
    if metadata.is_symlink() {
        let target = full.read_link().map_err(|error| Error::io("cannot read", full, error))?;
        let target = Some(target.to_string_lossy().into_owned());
        return Ok(Some(Entry { kind: EntryKind::Symlink, target, ..directory_entry(name) }));
    }
    if metadata.is_dir() {
        return Ok(Some(directory_entry(name)));
    }
    Ok(metadata.is_file().then(|| file_entry(name, metadata)))
}

fn walk(tree: &LocalTree, prefix: &str, leash: &Leash) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    if prefix.is_empty() {
        walk_into(tree, prefix, &mut found, leash)?;
    } else if let Some(entry) = stat_on_disk(tree, prefix)? {
        let is_directory = entry.kind == EntryKind::Directory;
        found.push(entry);
        if is_directory {
            walk_into(tree, prefix, &mut found, leash)?;
        }
    }
    Ok(found)
}

/// Everything below the directory `prefix` of the tree: one directory is open
/// at a time, and those that are still to come wait in a list.
fn walk_into(tree: &LocalTree, prefix: &str, found: &mut Vec<Entry>, leash: &Leash) -> Result<()> {
    let mut pending = vec![(prefix.to_owned(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        if depth > LOCAL_DEPTH {
            let why = format!("the local directory is nested more than {LOCAL_DEPTH} deep");
            tree.pass_over(&folder, Error::invalid(why))?;
            continue;
        }
        let failed = |error| unreadable(if folder.is_empty() { "." } else { &folder }, error);
        let listed = match tree.path().join(&folder).read_dir() {
            Ok(listed) => listed,
            Err(error) => {
                tree.pass_over(&folder, failed(error))?;
                continue;
            }
        };
        for entry in listed {
            leash.check()?;
            let full = entry.map_err(failed)?.path();
            let Some(name) = full.file_name().unwrap_or_default().to_str() else {
                let why = format!("it holds a name that is not UTF-8: {full:?}");
                tree.pass_over(&folder, Error::invalid(why))?;
                continue;
            };
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let metadata = match full.symlink_metadata() {
                Ok(metadata) => metadata,
                Err(error) => {
                    tree.pass_over(&path, unreadable(&path, error))?;
                    continue;
                }
            };
            if tree.hidden().hides(name, &metadata) {
                continue;
            }
            let Some(described) = describe(&path, &full, &metadata)? else { continue };
            if found.len() >= LOCAL_ENTRIES {
                return Err(Error::invalid(format!("the local directory holds more than {LOCAL_ENTRIES} entries")));
            }
            if metadata.is_dir() {
                pending.push((path, depth + 1));
            }
            found.push(described);
        }
    }
    Ok(())
}

/// Digest and size of a file.
pub(super) fn hash_file(path: &Path, leash: &Leash) -> Result<(Digest, u64)> {
    let failed = |error| Error::io("cannot read", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE];
    let mut size = 0;
    loop {
        leash.check()?;
        let read = file.read(&mut piece).map_err(failed)?;
        if read == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&piece[..read]);
        size += read as u64;
    }
}

/// A whole file of at most `limit` bytes; else how many it has.
pub(super) fn read_file(
    shown: &str,
    located: &Located,
    limit: u64,
    leash: &Leash,
) -> Result<std::result::Result<Vec<u8>, u64>> {
    if located.size > limit {
        return Ok(Err(located.size));
    }
    if located.may_change {
        leash.check()?;
        return read_as_hashed(located).map(Ok);
    }
    let failed = |error| unreadable(shown, error);
    let mut file = File::open(&located.path).map_err(failed)?;
    let mut bytes = Vec::with_capacity(usize::try_from(located.size).unwrap_or(0));
    loop {
        leash.check()?;
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut bytes).map_err(failed)?;
        let size = bytes.len() as u64;
        if size > limit {
            return Ok(Err(size));
        }
        if read == 0 {
            return Ok(Ok(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use base::layout::Layout;
    use disk::tree::TreeBuilder;

    fn project() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let chart = root.path().join("project/charts/web");
        fs::create_dir_all(&chart.join("templates")).unwrap();
        fs::write_new(&chart.join("Chart.yaml"), b"name: web").unwrap();
        fs::write_new(&chart.join("templates/a b.yaml"), b"x").unwrap();
        fs::write_new(&root.path().join("secret"), b"s").unwrap();
        fs::write_new(&root.path().join("project/values.yaml"), b"v").unwrap();
        symlink("../../../secret", chart.join("out")).unwrap();
        symlink("Chart.yaml", chart.join("in")).unwrap();
        root
    }

    fn local(root: &Path, path: &str) -> InputTree {
        let layout = Layout::new(root.join("config"), root.join("charts/web/build"), root.join("dist"));
        InputTree::local(LocalTree::chosen(&root.join(path), &layout).unwrap(), &root.join("copies"))
    }

    /// The same as a step gets it, with a configuration that names it.
    fn hashed(root: &Path, path: &str) -> InputTree {
        let layout = Layout::new(root.join("config"), root.join("charts/web/build"), root.join("dist"));
        let tree = LocalTree::chosen(&root.join(path), &layout).unwrap();
        let content = Content::read(&layout, root, path).unwrap();
        InputTree::local(tree.as_hashed(Arc::new(content)), &root.join("copies"))
    }

    fn read(tree: &InputTree, path: &str) -> Result<Vec<u8>> {
        let read = read_file(path, &tree.in_place(path)?, 1000, &Leash::endless())?;
        read.map_err(|size| Error::invalid(format!("{size} bytes")))
    }

    #[test]
    fn a_local_directory_is_listed_and_links_out_of_it_are_not_followed() {
        let root = project();
        let tree = local(&root.path().join("project"), "./charts/web");
        let paths: Vec<String> =
            tree.entries("", &Leash::endless()).unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["Chart.yaml", "in", "out", "templates", "templates/a b.yaml"]);
        assert_eq!(tree.stat("out").unwrap().unwrap().target.as_deref(), Some("../../../secret"));
        assert_eq!(tree.locate("out").unwrap_err().class(), Class::InvalidInput);
        assert_eq!(tree.locate("in").unwrap().size, 9);
        assert_eq!(tree.locate("nothing").unwrap_err().class(), Class::NotFound);
        assert_eq!(tree.locate("../web/Chart.yaml").unwrap_err().class(), Class::InvalidInput);
    }

    /// Whatever lies there by then: what is read has the digest that was noted,
    /// and nothing else is seen.
    #[test]
    fn what_was_hashed_is_what_is_read() {
        let root = project();
        let project = root.path().join("project");
        for (path, inside) in [("charts/web", "templates/a b.yaml"), ("values.yaml", "values.yaml")] {
            let tree = hashed(&project, path);
            let file = if path == inside { project.join(path) } else { project.join(path).join(inside) };
            let before = std::fs::read(&file).unwrap();
            let digest = tree.digest(&Leash::endless()).unwrap();
            let listed = tree.entries("", &Leash::endless()).unwrap().len();
            fs::write_new(&file, b"switched").unwrap();
            fs::write_new(&file.with_file_name("added"), b"x").unwrap();
            for error in [read(&tree, inside).unwrap_err(), tree.locate(inside).unwrap_err()] {
                assert_eq!(error.class(), Class::Changed);
                assert!(error.message().contains(inside), "{error}");
            }
            assert!(read(&tree, "added").is_err() && tree.stat("added").unwrap().is_none());
            // Back again, it is what was hashed; from then on a copy is.
            fs::write_new(&file, &before).unwrap();
            assert_eq!(read(&tree, inside).unwrap(), before);
            let copy = tree.locate(inside).unwrap().path;
            fs::remove_file(&file).unwrap();
            assert_eq!(std::fs::read(&copy).unwrap(), before);
            assert_eq!(read(&tree, inside).unwrap_err().class(), Class::Changed);
            assert_eq!(tree.digest(&Leash::endless()).unwrap(), digest);
            assert_eq!(tree.entries("", &Leash::endless()).unwrap().len(), listed);
        }
    }

    /// Both ways to look at a directory say the same of one that stays.
    #[test]
    fn a_hashed_directory_looks_like_the_one_on_the_disk() {
        let root = project();
        let project = root.path().join("project");
        let chart = project.join("charts/web");
        fs::create_dir_all(&chart.join(".git")).unwrap();
        fs::write_new(&chart.join(".git/config"), b"x").unwrap();
        fs::set_mode(&chart.join("Chart.yaml"), 0o755).unwrap();
        symlink("templates", chart.join("way")).unwrap();
        let (now, then) = (local(&project, "charts/web"), hashed(&project, "charts/web"));
        let shown = |entries: Vec<Entry>| format!("{entries:?}");
        for prefix in ["", "templates", "way", ".git", "gone"] {
            let [now, then] = [&now, &then].map(|tree| shown(tree.entries(prefix, &Leash::endless()).unwrap()));
            assert_eq!(now, then, "{prefix}");
        }
        for path in ["in", "out", "templates", "templates/a b.yaml", "way/a b.yaml", ".git/config", "gone"] {
            let [now_is, then_is] = [&now, &then].map(|tree| format!("{:?}", tree.stat(path).unwrap()));
            assert_eq!(now_is, then_is, "{path}");
            let [now_reads, then_reads] = [&now, &then].map(|tree| read(tree, path).map_err(|error| error.class()));
            assert_eq!(now_reads, then_reads, "{path}");
        }
        assert_eq!(now.digest(&Leash::endless()).unwrap(), then.digest(&Leash::endless()).unwrap());
    }

    /// Where such a path may lie, `entitlement::named` decides.
    #[test]
    fn a_local_file_is_a_tree_of_its_own() {
        let root = project();
        let file = local(&root.path().join("project"), "values.yaml");
        assert_eq!(file.entries("", &Leash::endless()).unwrap()[0].path, "values.yaml");
        assert_eq!(file.entries("", &Leash::endless()).unwrap().len(), 1);
    }

    /// Neither listed, nor read, nor told from what is not there: the history
    /// of the project, and the build folder inside the chart.
    #[test]
    fn what_is_hidden_in_a_directory_is_not_there() {
        let root = project();
        let chart = root.path().join("project/charts/web");
        for file in ["build/store/blob", ".git/config", "templates/.GIT", ".helmignore"] {
            let path = chart.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write_new(&path, b"x").unwrap();
        }
        symlink("../build/store/blob", chart.join("templates/innocent.yaml")).unwrap();
        symlink("build", chart.join("way")).unwrap();
        let tree = local(&root.path().join("project"), "charts/web");
        let paths: Vec<String> =
            tree.entries("", &Leash::endless()).unwrap().into_iter().map(|entry| entry.path).collect();
        let hidden = |path: &&String| path.contains("build") || path.to_lowercase().contains(".git");
        assert_eq!(paths.iter().find(hidden), None, "{paths:?}");
        assert!(paths.contains(&".helmignore".to_owned()), "a file of the chart is a file of the chart");
        for path in ["build/store/blob", ".git/config", "templates/.GIT", "templates/innocent.yaml", "way/store/blob"] {
            assert_eq!(tree.locate(path).unwrap_err().class(), Class::NotFound, "{path}");
        }
        for path in ["build", "build/store", ".git", ".git/config", "templates/.GIT", "way/store"] {
            assert!(tree.stat(path).unwrap().is_none(), "{path}");
            assert!(tree.entries(path, &Leash::endless()).unwrap().is_empty(), "{path}");
        }
    }

    #[test]
    fn a_committed_tree_is_served_from_its_listing() {
        let root = tempfile::tempdir().unwrap();
        let builder = TreeBuilder::new(root.path().to_owned());
        builder.write("bin/kubectl", b"k", true).unwrap();
        builder.write("files.json", b"[]", false).unwrap();
        fs::write_new(&root.path().join("unlisted"), b"x").unwrap();
        let tree = Tree { root: root.path().to_owned(), listing: Arc::new(builder.listing()) };
        let tree = InputTree::committed(tree);
        assert_eq!(tree.entries("", &Leash::endless()).unwrap().len(), 2);
        assert_eq!(tree.entries("bin", &Leash::endless()).unwrap()[0].path, "bin/kubectl");
        assert!(tree.entries("b", &Leash::endless()).unwrap().is_empty());
        assert_eq!(tree.stat("bin").unwrap().unwrap().kind, EntryKind::Directory);
        assert!(tree.stat("unlisted").unwrap().is_none());
        assert!(tree.locate("bin/kubectl").unwrap().executable);
    }

    /// `scan` lists the others.
    #[test]
    fn a_file_that_may_not_be_read_is_the_guests_to_handle() {
        let error = unreadable("a.yaml", io::ErrorKind::PermissionDenied.into());
        assert_eq!(error.class(), Class::InvalidInput);
    }

    #[test]
    fn the_digest_follows_the_content_of_local_files() {
        let root = project();
        let tree = local(&root.path().join("project"), "charts/web");
        let before = tree.digest(&Leash::endless()).unwrap();
        assert_eq!(tree.digest(&Leash::endless()).unwrap(), before);
        fs::write_new(&root.path().join("project/charts/web/Chart.yaml"), b"name: wob").unwrap();
        assert_ne!(tree.digest(&Leash::endless()).unwrap(), before);
    }
}
