//! The charts that lie unpacked in a tree of the host.

use chart_loader::archive::{File, STREAM_LIMIT};
use chart_loader::directory::{self, Files};
use chart_loader::{Refusal, load, pack};
use sdk::{Entry, EntryKind, Sink, StepError, Tree};

use crate::chart;
use crate::gather::Gathered;
use crate::scanner::Scanner;
use crate::why;

/// Scans them, and returns the folders of those that load. The files of the others
/// are read one by one.
pub fn charts(tree: &Tree, entries: &[Entry], shown: &dyn Fn(&str) -> String, scanner: &mut Scanner) -> Vec<String> {
    let mut loaded = Vec::new();
    for folder in folders(entries) {
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

/// Packs those that load, and returns their folders.
///
/// # Errors
/// Those of writing.
pub fn packed(
    tree: &Tree,
    entries: &[Entry],
    shown: &dyn Fn(&str) -> String,
    gathered: &mut Gathered,
    output: &Sink,
) -> Result<Vec<String>, StepError> {
    let mut loaded = Vec::new();
    for folder in folders(entries) {
        let packed = files(tree, entries, folder).and_then(|files| {
            let chart = load::from_files(&files, &mut { STREAM_LIMIT })?;
            Ok((pack::write(chart.name(), &files)?, chart))
        });
        if let Ok((bytes, chart)) = packed {
            let place = shown(folder.trim_end_matches('/'));
            gathered.chart(place.trim_end_matches('/'), (chart.name(), chart.version()), &bytes, output)?;
            loaded.push(folder.to_owned());
        }
    }
    Ok(loaded)
}

fn folders(entries: &[Entry]) -> Vec<&str> {
    let paths = entries.iter().filter(|entry| entry.kind == EntryKind::File).map(|entry| entry.path.as_str());
    chart::folders(paths.filter(|path| !crate::scanner::is_hidden(path)))
}

fn read(tree: &Tree, entries: &[Entry], folder: &str) -> Result<chart_loader::Chart, Refusal> {
    load::from_files(&files(tree, entries, folder)?, &mut { STREAM_LIMIT })
}

fn files(tree: &Tree, entries: &[Entry], folder: &str) -> Result<Vec<File>, Refusal> {
    directory::files(&Folder { tree, entries, folder })
}

struct Folder<'a> {
    tree: &'a Tree,
    entries: &'a [Entry],
    folder: &'a str,
}

impl Files for Folder<'_> {
    fn list(&self) -> Result<Vec<directory::ListedFile>, String> {
        let below = self.entries.iter().filter(|entry| entry.kind != EntryKind::Directory);
        let entry = |entry: &Entry| {
            let path = entry.path.strip_prefix(self.folder)?.to_owned();
            Some(directory::ListedFile { path, size: entry.size, link: entry.target.clone() })
        };
        Ok(below.filter_map(entry).collect())
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, String> {
        self.tree.read(&format!("{}{path}", self.folder), limit).map_err(|error| why(&error))
    }
}
