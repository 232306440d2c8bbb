//! `trees`: reading input.

use std::fs::File;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynInputStream;

use super::Answer;
use crate::bindings::Refusal;
use crate::bindings::trees::{Entry, EntryKind, Host, HostTree};
use crate::call::Call;
use crate::input::{self, InputTree, Located, read_file};
use crate::stream::FileReader;
use base::error::Error;

impl Host for Call {}

impl HostTree for Call {
    async fn entries(&mut self, tree: Resource<InputTree>, prefix: String) -> Answer<Vec<Entry>> {
        let tree = self.table.get(&tree)?.clone();
        let entries = self.blocking("tree.entries", move |leash| tree.entries(&prefix, leash)).await?;
        Ok(entries.into_iter().map(told).collect())
    }

    async fn stat(&mut self, tree: Resource<InputTree>, path: String) -> Answer<Option<Entry>> {
        let tree = self.table.get(&tree)?.clone();
        Ok(tree.stat(&path)?.map(told))
    }

    async fn read(&mut self, tree: Resource<InputTree>, path: String, limit: u64) -> Answer<Vec<u8>> {
        let located = self.table.get(&tree)?.in_place(&path)?;
        self.read_located(path, located, limit).await
    }

    async fn open(&mut self, tree: Resource<InputTree>, path: String) -> Answer<Resource<DynInputStream>> {
        let located = self.table.get(&tree)?.locate(&path)?;
        self.open_located(&located)
    }

    async fn drop(&mut self, tree: Resource<InputTree>) -> wasmtime::Result<()> {
        self.table.delete(tree)?;
        Ok(())
    }
}

impl Call {
    /// A whole file, no longer than `limit` and than what the guest could
    /// hold anyway.
    pub(super) async fn read_located(&mut self, path: String, located: Located, limit: u64) -> Answer<Vec<u8>> {
        let limit = limit.min(self.budget.limit() as u64);
        let shown = path.clone();
        match self.blocking("read", move |leash| read_file(&path, &located, limit, leash)).await? {
            Ok(bytes) => Ok(bytes),
            Err(size) => Err(Refusal::invalid(
                "too-large",
                format!("`{}` has {size} bytes, and at most {limit} are read", shown.escape_debug()),
            )),
        }
    }

    pub(super) fn open_located(&mut self, located: &Located) -> Answer<Resource<DynInputStream>> {
        self.work("open")?;
        let slot = self.open_files.take()?;
        let file = File::open(&located.path).map_err(|error| Error::io("cannot read", &located.path, error))?;
        let (path, time) = (located.path.clone(), self.time_of_host());
        let stream: DynInputStream = Box::new(FileReader { file, path, time, _slot: slot });
        Ok(self.table.push(stream)?)
    }
}

/// An entry as the contract says it.
fn told(entry: input::Entry) -> Entry {
    let input::Entry { path, kind, size, executable, digest, target } = entry;
    let kind = match kind {
        input::EntryKind::File => EntryKind::File,
        input::EntryKind::Directory => EntryKind::Directory,
        input::EntryKind::Symlink => EntryKind::Symlink,
    };
    Entry { path, kind, size, executable, digest, target }
}
