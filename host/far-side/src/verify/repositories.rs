//! Git repositories of component tars: what the push to the git server at the
//! destination reads must be there and fit together.
//!
//! A repository is its `.git`: HEAD, a configuration with the remote
//! `online-upstream`, heads or tags, and the objects that they name, in packs
//! (gitformat-pack(5)) or one by one. Packs are read as they pass by. Of their
//! indexes eight bytes of each object's name are kept, enough to tell whether
//! an object is there.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// Bytes of HEAD, the configuration or one reference.
const LARGEST_TEXT: u64 = 1 << 20;
/// Bytes of packed-refs: some 200,000 references.
const LARGEST_LIST: u64 = 16 << 20;
const CHECKSUM: usize = 20;

/// What was found of one repository.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    head: Option<String>,
    config: Option<String>,
    /// The objects that heads and tags name.
    references: BTreeMap<String, String>,
    /// By name without its ending.
    packs: BTreeMap<String, Pack>,
    indexes: BTreeMap<String, Pack>,
    /// Sorted once everything is read.
    objects: Vec<u64>,
    /// What could not be read.
    problems: Vec<String>,
}

/// What a pack and its index both say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pack {
    objects: u32,
    checksum: [u8; CHECKSUM],
}

/// Splits `<component>/repos/<folder>/.git/<part>` before `.git`.
pub(super) fn part_of(path: &str) -> Option<(&str, &str)> {
    let (folder, part) = path.split_once("/.git/")?;
    let mut parts = folder.split('/');
    (parts.nth(1) == Some("repos") && parts.count() == 1).then_some((folder, part))
}

impl Repository {
    /// Takes one file below `.git` in. `keep` is asked before anything of some
    /// bytes is kept.
    ///
    /// # Errors
    /// Those of `content` and of `keep`; what is wrong with the repository is
    /// found by [`check`](Repository::check).
    pub(super) fn read(
        &mut self,
        part: &str,
        size: u64,
        content: &mut impl Read,
        keep: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut text = |limit: u64| -> io::Result<String> {
            keep(size.min(limit))?;
            let mut bytes = Vec::new();
            content.take(limit).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match part {
            "HEAD" => self.head = Some(text(LARGEST_TEXT)?),
            "config" => self.config = Some(text(LARGEST_TEXT)?),
            "packed-refs" => {
                // A tag's line is followed by `^` and what it points to.
                let list = text(LARGEST_LIST)?;
                let lines = list.lines().filter_map(|line| line.split_once(' ')).filter(|(id, _)| *id != "#");
                lines.for_each(|(id, name)| self.refer(name, id));
            }
            _ if part.starts_with("refs/heads/") || part.starts_with("refs/tags/") => {
                let id = text(LARGEST_TEXT)?;
                self.refer(part, id.trim());
            }
            _ => return self.read_objects(part, content, keep),
        }
        Ok(())
    }

    fn refer(&mut self, name: &str, id: &str) {
        if name.starts_with("refs/heads/") || name.starts_with("refs/tags/") {
            self.references.insert(name.to_owned(), id.to_owned());
        }
    }

    fn read_objects(
        &mut self,
        part: &str,
        content: &mut impl Read,
        keep: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(name) = part.strip_prefix("objects/pack/").and_then(|name| name.strip_suffix(".pack")) {
            match pack(content)? {
                Some(pack) => drop(self.packs.insert(name.to_owned(), pack)),
                None => self.problems.push(format!("has `{part}`, which is no pack")),
            }
        } else if let Some(name) = part.strip_prefix("objects/pack/").and_then(|name| name.strip_suffix(".idx")) {
            match index(content, &mut self.objects, keep)? {
                Some(pack) => drop(self.indexes.insert(name.to_owned(), pack)),
                None => self.problems.push(format!("has `{part}`, which is no index of a pack")),
            }
        } else if let Some(id) = part.strip_prefix("objects/").and_then(|path| start_of(&path.replace('/', ""))) {
            keep(8)?;
            self.objects.push(id);
        }
        Ok(())
    }

    /// What is wrong; each continues the name of the repository's folder.
    pub(super) fn check(&mut self) -> Vec<String> {
        self.objects.sort_unstable();
        let mut problems = std::mem::take(&mut self.problems);
        match self.head.as_deref().map(str::trim) {
            None => problems.push("has no .git/HEAD".to_owned()),
            Some(head) => match head.strip_prefix("ref: ") {
                Some(name) if self.references.contains_key(name.trim()) => {}
                Some(name) => problems.push(format!("has a HEAD that names `{}`, which is not there", shown(name))),
                None if self.has(head) => {}
                None => problems.push(format!("has the HEAD `{}`, which is not there", shown(head))),
            },
        }
        if !self.config.as_deref().is_some_and(names_the_source) {
            problems.push("has no remote `online-upstream` with a url in .git/config".to_owned());
        }
        for (name, pack) in &self.packs {
            match self.indexes.get(name) {
                Some(index) if index == pack => {}
                Some(_) => problems.push(format!("has the pack `{}`, which is not the one of its index", shown(name))),
                None => problems.push(format!("has the pack `{}` without its index", shown(name))),
            }
        }
        let without_pack = self.indexes.keys().filter(|name| !self.packs.contains_key(*name));
        problems.extend(without_pack.map(|name| format!("has no pack to the index `{}`", shown(name))));
        if self.references.is_empty() {
            problems.push("has neither heads nor tags".to_owned());
        }
        let lost = self.references.iter().filter(|(_, id)| !self.has(id));
        problems.extend(lost.map(|(name, id)| {
            format!("has `{}`, which names the object `{}`, which is not there", shown(name), shown(id))
        }));
        problems
    }

    fn has(&self, id: &str) -> bool {
        id.len() == 2 * CHECKSUM && start_of(id).is_some_and(|start| self.objects.binary_search(&start).is_ok())
    }
}

/// A section of git's configuration with a url in it.
fn names_the_source(config: &str) -> bool {
    let lines = config.lines().map(str::trim);
    let section = lines.skip_while(|line| *line != "[remote \"online-upstream\"]").skip(1);
    let mut keys = section.take_while(|line| !line.starts_with('['));
    keys.any(|line| line.split_once('=').is_some_and(|(key, url)| key.trim() == "url" && !url.trim().is_empty()))
}

/// The first eight bytes of an object's name, where it may be one.
fn start_of(id: &str) -> Option<u64> {
    id.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(id.get(..16)?, 16).ok())?
}

fn shown(text: &str) -> String {
    text.trim().chars().take(200).collect::<String>().escape_debug().to_string()
}

/// `PACK`, version, number of objects; the objects; the checksum of all that.
fn pack(content: &mut impl Read) -> io::Result<Option<Pack>> {
    let Some(header) = exactly::<12>(content)? else { return Ok(None) };
    if !header.starts_with(b"PACK\0\0\0") || !matches!(header[7], 2 | 3) {
        return Ok(None);
    }
    let objects = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    Ok(last::<CHECKSUM>(content)?.map(|checksum| Pack { objects, checksum }))
}

/// Version 2: magic number, 256 running totals, names, checksums and places
/// of the objects, the checksum of the pack, the checksum of the index.
fn index(
    content: &mut impl Read,
    names: &mut Vec<u64>,
    keep: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Option<Pack>> {
    if exactly::<8>(content)?.is_none_or(|header| header != *b"\xfftOc\0\0\0\x02") {
        return Ok(None);
    }
    let Some(totals) = exactly::<1024>(content)? else { return Ok(None) };
    let objects = u32::from_be_bytes([totals[1020], totals[1021], totals[1022], totals[1023]]);
    for _ in 0..objects {
        let Some(name) = exactly::<CHECKSUM>(content)? else { return Ok(None) };
        keep(8)?;
        names.push(name[..8].iter().fold(0, |start, byte| start << 8 | u64::from(*byte)));
    }
    let Some(checksums) = last::<{ 2 * CHECKSUM }>(content)? else { return Ok(None) };
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&checksums[..CHECKSUM]);
    Ok(Some(Pack { objects, checksum }))
}

/// The next `N` bytes; None where it ends before.
fn exactly<const N: usize>(content: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match content.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last `N` bytes, reading to the end; None where there are fewer.
fn last<const N: usize>(content: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut kept = Vec::with_capacity(N + BUFFER);
    loop {
        let before = kept.len();
        content.take(BUFFER as u64).read_to_end(&mut kept)?;
        if kept.len() == before {
            return Ok(kept.try_into().ok());
        }
        kept.drain(..kept.len().saturating_sub(N));
    }
}

const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> String {
        format!("{byte:02x}").repeat(CHECKSUM)
    }

    /// A pack of one object, as far as it is looked at, and its index.
    fn packed(byte: u8) -> (Vec<u8>, Vec<u8>) {
        let pack = [b"PACK\0\0\0\x02\0\0\0\x01", &[0; 30][..], &[9; CHECKSUM]].concat();
        let totals: Vec<u8> = (0..=255_u8).flat_map(|first| u32::from(first >= byte).to_be_bytes()).collect();
        let index = [b"\xfftOc\0\0\0\x02", &totals[..], &[byte; CHECKSUM], &[0; 8], &[9; CHECKSUM], &[7; CHECKSUM]];
        (pack, index.concat())
    }

    fn whole() -> BTreeMap<&'static str, Vec<u8>> {
        let (pack, index) = packed(0xab);
        BTreeMap::from([
            ("HEAD", b"ref: refs/heads/main\n".to_vec()),
            ("config", b"[core]\n\tbare = false\n[remote \"online-upstream\"]\n\turl = https://h/x.git\n".to_vec()),
            ("refs/heads/main", format!("{}\n", id(0xab)).into_bytes()),
            ("objects/pack/pack-1.pack", pack),
            ("objects/pack/pack-1.idx", index),
        ])
    }

    fn problems(files: &BTreeMap<&'static str, Vec<u8>>) -> Vec<String> {
        let mut repository = Repository::default();
        for (part, content) in files {
            repository.read(part, content.len() as u64, &mut content.as_slice(), &mut |_| Ok(())).unwrap();
        }
        repository.check()
    }

    #[test]
    fn a_whole_repository_is_sound_whatever_way_its_references_and_objects_are_kept() {
        assert_eq!(problems(&whole()), [""; 0]);
        let mut listed = whole();
        listed.remove("refs/heads/main");
        let list =
            format!("# pack-refs with: peeled\n{} refs/heads/main\n{} refs/tags/v1\n^{}\n", id(0xab), id(0xab), id(1));
        listed.insert("packed-refs", list.into_bytes());
        listed.insert("HEAD", id(0xab).into_bytes());
        assert_eq!(problems(&listed), [""; 0]);
        let mut loose = whole();
        loose.retain(|part, _| !part.contains("pack"));
        loose.insert("objects/ab/abababababababababababababababababababab", vec![]);
        assert_eq!(problems(&loose), [""; 0]);
    }

    #[test]
    fn what_is_missing_or_cut_is_named() {
        let cut = |part: &'static str, at: usize| {
            let mut files = whole();
            files.get_mut(part).unwrap().truncate(at);
            files
        };
        let without = |part: &'static str| {
            let mut files = whole();
            files.remove(part);
            files
        };
        let with = |part: &'static str, content: &str| {
            let mut files = whole();
            files.insert(part, content.as_bytes().to_vec());
            files
        };
        for (files, expected) in [
            (without("HEAD"), "has no .git/HEAD"),
            (with("HEAD", "ref: refs/heads/gone"), "has a HEAD that names `refs/heads/gone`"),
            (with("HEAD", &id(2)), "has the HEAD `0202"),
            (without("config"), "has no remote `online-upstream`"),
            (with("config", "[remote \"online-upstream\"]\n[other]\nurl = x"), "has no remote `online-upstream`"),
            (without("refs/heads/main"), "has neither heads nor tags"),
            (with("refs/tags/v1", &id(2)), "has `refs/tags/v1`, which names the object `0202"),
            (with("refs/tags/v1", "main"), "has `refs/tags/v1`, which names the object `main`"),
            (without("objects/pack/pack-1.pack"), "has no pack to the index `pack-1`"),
            (without("objects/pack/pack-1.idx"), "has the pack `pack-1` without its index"),
            (cut("objects/pack/pack-1.pack", 40), "has the pack `pack-1`, which is not the one of its index"),
            (cut("objects/pack/pack-1.pack", 11), "has `objects/pack/pack-1.pack`, which is no pack"),
            (cut("objects/pack/pack-1.idx", 1040), "has `objects/pack/pack-1.idx`, which is no index"),
            (with("objects/pack/pack-1.idx", "idx"), "has `objects/pack/pack-1.idx`, which is no index"),
        ] {
            let found = problems(&files);
            assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn only_what_lies_in_a_repository_is_part_of_one() {
        assert_eq!(part_of("web/repos/x-1/.git/HEAD"), Some(("web/repos/x-1", "HEAD")));
        assert_eq!(part_of("web/repos/x-1/.git/refs/heads/a/.git/b"), Some(("web/repos/x-1", "refs/heads/a/.git/b")));
        for other in ["web/files/0/.git/HEAD", "web/repos/x-1/src/a", "web/repos/x-1/sub/.git/HEAD"] {
            assert_eq!(part_of(other), None, "{other}");
        }
    }
}
