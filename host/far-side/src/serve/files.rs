//! Files under the host and the path of the address that they came from, as a
//! mirror for a node installer is laid out, each with its `.sha256`.
//!
//! A file that was taken out of an archive is not what its address gave: it lies
//! below that address as below a folder. One of which nobody says where it came
//! from lies under its component.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;

use super::answer::{Answer, Asked};
use super::content::{Content, Source};
use super::html;
use super::path::mirrored;
use super::shelf::Shelf;
use crate::inspect::contents::FileRow;
use base::error::{Error, Result};
use seal::beside::CHECKSUM;

/// Endings of archives, and how their content begins.
const ARCHIVES: [(&[&str], &[u8]); 5] = [
    (&[".tar.gz", ".tgz", ".gz"], b"\x1f\x8b"),
    (&[".zip"], b"PK"),
    (&[".tar.xz", ".txz", ".xz"], b"\xfd7zXZ\0"),
    (&[".tar.zst", ".zst"], b"\x28\xb5\x2f\xfd"),
    (&[".tar.bz2", ".bz2"], b"BZh"),
];
/// Bytes that tell one from another.
const MAGIC: u64 = 6;

#[derive(Default)]
pub(super) struct Files {
    /// By path: `dl.k8s.io/release/v1.34.3/bin/linux/amd64/kubectl`.
    files: BTreeMap<String, Carried>,
}

struct Carried {
    content: Arc<Content>,
    package: String,
}

impl Files {
    /// # Errors
    /// `invalid-input` where two packages have different files of one address;
    /// `integrity` where one cannot be read.
    pub(super) fn add(&mut self, shelf: &Shelf, notes: &mut Vec<String>) -> Result<()> {
        let mut unknown = 0;
        for row in &shelf.contents.files {
            // A folder has no address of its own.
            let Some(content) = shelf.member(&row.component, &row.path) else { continue };
            let name = model::zarf::base_name(&row.target);
            let place = match row.source.as_deref().and_then(mirrored) {
                Some(place) if self.is_from_archive(shelf, row, content)? => format!("{place}/{name}"),
                Some(place) => place,
                None => {
                    unknown += 1;
                    format!("{}/{name}", row.component)
                }
            };
            self.put(place, content, &shelf.name)?;
        }
        if unknown > 0 {
            notes.push(format!(
                "`{}` does not say where {unknown} of its files came from, they are below /files/<component>/: carry \
                 its .manifest.json along",
                shelf.name
            ));
        }
        Ok(())
    }

    fn put(&mut self, place: String, content: &Arc<Content>, package: &str) -> Result<()> {
        match self.files.get(&place).filter(|known| known.content.digest() != content.digest()) {
            None => {
                let carried = || Carried { content: content.clone(), package: package.to_owned() };
                self.files.entry(place).or_insert_with(carried);
                Ok(())
            }
            Some(known) => {
                let (one, other) = (known.content.digest(), content.digest());
                let first = &known.package;
                Err(Error::invalid(format!("the file `{place}` is {one} in `{first}` and {other} in `{package}`"))
                    .hint("serve one of the two packages; an address can have only one file"))
            }
        }
    }

    /// Whether the address is an archive's, and the content no archive.
    fn is_from_archive(&self, shelf: &Shelf, row: &FileRow, content: &Content) -> Result<bool> {
        let address = row.source.as_deref().unwrap_or_default();
        let address = address.split(['?', '#']).next().unwrap_or_default();
        let archive = ARCHIVES.iter().find(|(endings, _)| endings.iter().any(|ending| address.ends_with(ending)));
        let Some((_, magic)) = archive else { return Ok(false) };
        Ok(!shelf.beginning(content, MAGIC)?.starts_with(magic))
    }

    /// Paths with their sizes.
    pub(super) fn list(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|(path, carried)| (path.as_str(), carried.content.size()))
    }

    /// The hosts that files are from.
    pub(super) fn has_host(&self, host: &str) -> bool {
        self.files.range(format!("{host}/")..).next().is_some_and(|(path, _)| path.starts_with(&format!("{host}/")))
    }

    /// The answer to what is asked below `/files/`.
    pub(super) fn answer(&self, parts: &[&str], asked: &Asked<'_>) -> Answer {
        let path = parts.join("/");
        if let Some(Carried { content, .. }) = self.files.get(&path) {
            let source = Source::Carried(content.clone());
            return Answer::content(asked, &source, "application/octet-stream", Some(content.digest()));
        }
        if let Some((of, Carried { content, .. })) =
            path.strip_suffix(CHECKSUM).and_then(|of| self.files.get_key_value(of))
        {
            let name = model::zarf::base_name(of);
            return Answer::text(StatusCode::OK, &format!("{}  {name}", content.digest().hex()));
        }
        let folder = path.trim_end_matches('/');
        let listed = self.below(folder);
        match listed.is_empty() && !folder.is_empty() {
            true => Answer::text(StatusCode::NOT_FOUND, "no package has this file"),
            false if !path.is_empty() && !path.ends_with('/') => {
                Answer::moved(&format!("/files/{}/", super::path::encoded(folder)))
            }
            false => Answer::html(html::folder(&format!("/files/{folder}"), &listed)),
        }
    }

    /// What a folder holds: names of files with their sizes, and of folders with
    /// none.
    fn below(&self, folder: &str) -> BTreeMap<&str, Option<u64>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inside = self.files.range(prefix.clone()..);
        let inside = inside.map_while(|(path, carried)| Some((path.strip_prefix(&prefix)?, carried)));
        let mut names = BTreeMap::new();
        for (rest, carried) in inside {
            match rest.split_once('/') {
                Some((folder, _)) => names.entry(folder).or_insert(None),
                None => names.entry(rest).or_insert(Some(carried.content.size())),
            };
        }
        names
    }
}
