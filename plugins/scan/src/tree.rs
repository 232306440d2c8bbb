//! The charts that lie unpacked in a tree of the host.

use chart_loader::archive::STREAM_LIMIT;
use chart_loader::directory::{self, Files};
use chart_loader::{Refusal, load};
use sdk::{Entry, EntryKind, Tree};

use crate::chart;
use crate::scanner::Scanner;
use crate::why;

/// Scans them, and returns the folders of those that load. The files of the others
/// are read one by one.
pub fn charts(tree: &Tree, entries: &[Entry], shown: &dyn Fn(&str) -> String, scanner: &mut Scanner) -> Vec<String> {
    let paths = entries.iter().filter(|entry| entry.kind == EntryKind::File).map(|entry| entry.path.as_str());
    let mut loaded = Vec::new();
    for folder in chart::folders(paths.filter(|path| !crate::scanner::is_hidden(path))) {
        let place = shown(folder.trim_end_matches('/'));
        match read(tree, entries, folder) {
            Ok(chart) => {
                chart::scan(&place, &chart, scanner);
                loaded.push(folder.to_owned());
            }
            Err(refusal) => scanner.skip(&place, &format!("Helm cannot load it: {refusal}")),
        }
    }
    loaded
}

fn read(tree: &Tree, entries: &[Entry], folder: &str) -> Result<chart_loader::Chart, Refusal> {
    let files = directory::files(&Folder { tree, entries, folder })?;
    load::from_files(&files, &mut { STREAM_LIMIT })
}

struct Folder<'a> {
    tree: &'a Tree,
    entries: &'a [Entry],
    folder: &'a str,
}

impl Files for Folder<'_> {
    fn list(&self) -> Result<Vec<directory::Entry>, String> {
        let below = self.entries.iter().filter(|entry| entry.kind != EntryKind::Directory);
        let entry = |entry: &Entry| {
            let path = entry.path.strip_prefix(self.folder)?.to_owned();
            Some(directory::Entry { path, size: entry.size, link: entry.target.clone() })
        };
        Ok(below.filter_map(entry).collect())
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, String> {
        self.tree.read(&format!("{}{path}", self.folder), limit).map_err(|error| why(&error))
    }
}
