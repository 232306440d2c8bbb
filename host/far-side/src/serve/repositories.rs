//! Git repositories for `git clone`, over the HTTP protocol that asks for files
//! alone (gitprotocol-http(5), "dumb"): nothing runs here for a client.
//!
//! A carried repository is its `.git`. What a server of files has to add are the
//! lists of references and of packs, which `git update-server-info` would write.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::CACHE_CONTROL;

use super::answer::{Answer, Asked};
use super::blob::Blob;
use super::content::{Content, Source};
use super::path::mirrored;
use super::shelf::Shelf;
use crate::inspect::names::split_url;
use base::error::{Error, Result};

/// Bytes of HEAD or of one reference.
const LARGEST_TEXT: u64 = 1 << 16;
/// Bytes of packed-refs.
const LARGEST_LIST: u64 = 16 << 20;

#[derive(Default)]
pub(super) struct Repositories {
    /// By host and path, with the reference: `github.com/team/app@v1`.
    all: BTreeMap<String, Repository>,
    /// The same without a reference, where there is one alone.
    plain: BTreeMap<String, Option<String>>,
}

/// One that a package carries.
pub(crate) struct Repository {
    package: String,
    /// As zarf.yaml writes it, its reference included.
    pub url: String,
    /// By its host and path: `github.com/team/app`.
    pub place: String,
    /// Objects by the full names of references.
    pub references: BTreeMap<String, String>,
    /// Commits whose parents are not carried.
    pub shallow: Vec<String>,
    /// Below `.git`.
    files: BTreeMap<String, Source>,
}

impl Repositories {
    /// # Errors
    /// `integrity` where one cannot be read; `invalid-input` where two packages
    /// have different ones of one name.
    pub(super) fn add(&mut self, shelf: &Shelf, notes: &mut Vec<String>) -> Result<()> {
        for row in &shelf.contents.repositories {
            let (address, reference) = split_url(&row.url);
            let Some(place) = mirrored(address) else {
                notes.push(format!("the repository `{}` of `{}` has no address to clone it by", row.url, shelf.name));
                continue;
            };
            let plain = place.trim_end_matches(".git").to_owned();
            let full = if reference.is_empty() { plain.clone() } else { format!("{plain}@{reference}") };
            let mut repository = Repository::open(shelf, &row.component, &format!("{}/.git", row.path))?;
            (repository.url, repository.place) = (row.url.clone(), plain.clone());
            if let Some(known) = self.all.get(&full) {
                known.is_same(&repository).then_some(()).ok_or_else(|| {
                    let (one, other) = (&known.package, &shelf.name);
                    Error::invalid(format!("the repository `{full}` is not the same in `{one}` and `{other}`"))
                        .hint("serve one of the two packages")
                })?;
            }
            let only = self.plain.entry(plain).or_insert_with(|| Some(full.clone()));
            if only.as_ref().is_some_and(|only| *only != full) {
                *only = None;
            }
            self.all.insert(full, repository);
        }
        Ok(())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Repository> {
        self.all.values()
    }

    /// Paths by which they are cloned.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let only =
            |name: &String| self.plain.iter().find(|(_, only)| only.as_ref() == Some(name)).map(|(name, _)| name);
        self.all.keys().map(move |name| only(name).unwrap_or(name).as_str())
    }

    /// The answer to what is asked below `/git/`.
    pub(super) fn answer(&self, parts: &[&str], asked: &Asked<'_>) -> Answer {
        for split in (1..parts.len()).rev() {
            let name = parts[..split].join("/");
            if let Some(repository) = self.find(name.trim_end_matches(".git")) {
                let inside = parts[split..].join("/");
                return repository.answer(&inside, asked);
            }
        }
        Answer::text(StatusCode::NOT_FOUND, "no package has this repository")
    }

    fn find(&self, name: &str) -> Option<&Repository> {
        let full = self.plain.get(name).and_then(Option::as_ref).map_or(name, String::as_str);
        self.all.get(full)
    }
}

impl Repository {
    fn open(shelf: &Shelf, component: &str, folder: &str) -> Result<Self> {
        let mut files: BTreeMap<String, Source> = BTreeMap::new();
        let mut references = References::default();
        let (mut packs, mut shallow) = (String::new(), Vec::new());
        for (path, content) in shelf.below(component, folder) {
            references.read(path, content, shelf)?;
            if let Some(pack) = path.strip_prefix("objects/pack/").filter(|name| name.ends_with(".pack")) {
                packs.push_str(&format!("P {pack}\n"));
            }
            if path == "shallow" {
                let list = shelf.bytes(content, LARGEST_LIST)?;
                shallow.extend(String::from_utf8_lossy(&list).lines().filter(|id| is_object(id)).map(str::to_owned));
            }
            if is_public(path) {
                files.insert(path.to_owned(), Source::Carried(content.clone()));
            }
        }
        packs.push('\n');
        files.insert("info/refs".to_owned(), Source::Made(Bytes::from(references.list())));
        files.insert("objects/info/packs".to_owned(), Source::Made(Bytes::from(packs)));
        let package = shelf.name.clone();
        let references = references.named;
        Ok(Self { package, url: String::new(), place: String::new(), references, shallow, files })
    }

    /// Files of packs whose names end like this.
    pub(crate) fn packed(&self, ending: &str) -> Vec<Blob> {
        let files = self.files.iter().filter(|(path, _)| path.starts_with("objects/pack/") && path.ends_with(ending));
        files.map(|(_, source)| Blob(source.clone())).collect()
    }

    /// Whether there are objects that no pack has.
    pub(crate) fn is_loose(&self) -> bool {
        let is_loose = |path: &String| path.strip_prefix("objects/").and_then(|path| path.find('/')) == Some(2);
        self.files.keys().any(|path| is_loose(path) || path == "objects/info/alternates")
    }

    fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Source, other: &Source| match (one, other) {
            (Source::Carried(one), Source::Carried(other)) => one.digest() == other.digest(),
            (Source::Made(one), Source::Made(other)) => one == other,
            _ => false,
        };
        self.files.len() == other.files.len()
            && self.files.iter().zip(&other.files).all(|((one, a), (two, b))| one == two && same(a, b))
    }

    fn answer(&self, path: &str, asked: &Asked<'_>) -> Answer {
        let Some(source) = self.files.get(path) else {
            return Answer::text(StatusCode::NOT_FOUND, "the repository has no such file");
        };
        let (media_type, digest) = match source {
            Source::Carried(content) => ("application/octet-stream", Some(content.digest())),
            Source::Made(_) => ("text/plain; charset=utf-8", None),
        };
        Answer::content(asked, source, media_type, digest).with(CACHE_CONTROL, "no-cache")
    }
}

/// What clients read of a repository; its configuration is none of it.
fn is_public(path: &str) -> bool {
    path == "HEAD" || path.starts_with("objects/") || path.starts_with("refs/")
}

/// The references of a repository, packed and loose.
#[derive(Default)]
struct References {
    /// The objects that they name.
    named: BTreeMap<String, String>,
    /// What annotated tags point to.
    peeled: BTreeMap<String, String>,
}

impl References {
    fn read(&mut self, path: &str, content: &Arc<Content>, shelf: &Shelf) -> Result<()> {
        if path.starts_with("refs/") {
            let text = shelf.bytes(content, LARGEST_TEXT)?;
            let id = String::from_utf8_lossy(&text).trim().to_owned();
            if is_object(&id) {
                self.named.insert(path.to_owned(), id);
            }
        }
        if path == "packed-refs" {
            self.read_packed(&String::from_utf8_lossy(&shelf.bytes(content, LARGEST_LIST)?));
        }
        Ok(())
    }

    fn read_packed(&mut self, list: &str) {
        let mut last = None;
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            match (line.strip_prefix('^'), line.split_once(' '), &last) {
                (Some(id), _, Some(of)) if is_object(id) => drop(self.peeled.insert(String::clone(of), id.to_owned())),
                (None, Some((id, name)), _) if is_object(id) && name.starts_with("refs/") => {
                    last = Some(name.to_owned());
                    // A loose one is newer.
                    self.named.entry(name.to_owned()).or_insert_with(|| id.to_owned());
                }
                _ => last = None,
            }
        }
    }

    /// As `git update-server-info` writes it.
    fn list(&self) -> String {
        let mut list = String::new();
        for (name, id) in &self.named {
            list.push_str(&format!("{id}\t{name}\n"));
            if let Some(peeled) = self.peeled.get(name) {
                list.push_str(&format!("{peeled}\t{name}^{{}}\n"));
            }
        }
        list
    }
}

fn is_object(id: &str) -> bool {
    matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_listed_as_git_lists_them() {
        let (one, two, tag) = ("1".repeat(40), "2".repeat(40), "3".repeat(40));
        let mut references = References::default();
        references.named.insert("refs/heads/main".into(), one.clone());
        references.read_packed(&format!(
            "# pack-refs with: peeled fully-peeled sorted\n{two} refs/heads/main\n{tag} refs/tags/v1\n^{two}\nx y\n^{one}"
        ));
        assert_eq!(
            references.list(),
            format!("{one}\trefs/heads/main\n{tag}\trefs/tags/v1\n{two}\trefs/tags/v1^{{}}\n")
        );
    }
}
