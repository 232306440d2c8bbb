//! `wasi:filesystem` for a guest with directories: wasmtime's own, asked after
//! its price.
//!
//! What an act makes `/out` or `/work` grow by is charged before it is done
//! (`watch`); each descriptor has its slot (`open_files`); what the host works
//! counts (`host_time`). A limit that is met ends the call: an error code of
//! WASI could not say which one it was.
//!
//! What differs between two disks with the same files is not shown: times,
//! inodes and the order of a directory, on which a package would come to depend.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode,
    HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult, InputStream, IoError, OutputStream, Pollable, StreamError,
    StreamResult,
};

use super::amount::Amount;
use super::call::Call;
use super::host_time::HostTime;
use super::limits::{LISTED_ENTRIES, LOCAL_DEPTH};
use super::open_files::Slot;
use super::opened::{Held, Listing, ends_the_call, refused};
use super::stop::Stop;
use super::watch::{GuestDirectory, Watch, count_below};
use base::error::{Class, Error};

/// Links `wasi:filesystem` in place of wasmtime's.
pub(super) fn link(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    types::add_to_linker::<Call, Files>(linker, |call| View(call))?;
    preopens::add_to_linker::<Call, Files>(linker, |call| View(call))
}

struct Files;

impl HasData for Files {
    type Data<'a> = View<'a>;
}

struct View<'a>(&'a mut Call);

fn too_deep() -> FsError {
    let message = format!("a directory of the plugin would be nested more than {LOCAL_DEPTH} deep");
    refused(Error::new(Class::Plugin, message).hint("this is a fault of the plugin: report it to its author"))
}

fn depth_of(path: &str) -> usize {
    path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).count()
}

fn length(file: &File) -> FsResult<u64> {
    Ok(file.metadata()?.len())
}

impl View<'_> {
    fn wasi(&mut self) -> WasiFilesystemCtxView<'_> {
        self.0.filesystem()
    }

    /// A file as it looks in every build: written at the build's time, with one
    /// name. When it really was, and how many others share its bytes, would be
    /// a clock and a look into the store.
    fn timeless(&self, found: DescriptorStat) -> DescriptorStat {
        let written = Some(Datetime { seconds: self.0.epoch, nanoseconds: 0 });
        DescriptorStat {
            link_count: 1,
            data_access_timestamp: written,
            data_modification_timestamp: written,
            status_change_timestamp: written,
            ..found
        }
    }

    fn identity(&mut self, found: MetadataHashValue) -> FsResult<MetadataHashValue> {
        let Some(opened) = &mut self.0.opened else { return Err(ErrorCode::BadDescriptor.into()) };
        opened.identities.of(&found)
    }

    /// None where no directories were granted: there is nothing to hold.
    fn held(&self, fd: &Resource<Descriptor>) -> Option<(&Watch, &Held)> {
        let opened = self.0.opened.as_ref()?;
        Some((&opened.watch, opened.descriptors.get(&fd.rep())?))
    }

    fn charge(&self, fd: &Resource<Descriptor>, more: Amount) -> FsResult<()> {
        match self.held(fd) {
            Some((watch, held)) => watch.charge(held.place, more).map_err(ends_the_call),
            None => Ok(()),
        }
    }

    fn worked(&mut self, started: Instant) -> std::result::Result<(), Stop> {
        self.0.worked(started)
    }

    fn file(&self, fd: &Resource<Descriptor>) -> FsResult<Arc<File>> {
        match self.0.table.get(fd)? {
            Descriptor::File(file) => Ok(file.file.clone()),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// Charges what a file gets longer by when `count` bytes are written at
    /// `offset`.
    fn charge_write(&self, fd: &Resource<Descriptor>, offset: u64, count: u64) -> FsResult<()> {
        let length = length(&*self.file(fd)?)?;
        self.charge(fd, Amount::bytes(offset.saturating_add(count).saturating_sub(length)))
    }

    /// Enters what was opened below `parent`.
    fn hold(&mut self, parent: &Resource<Descriptor>, path: &str, fd: &Resource<Descriptor>, slot: Arc<Slot>) {
        let Some((watch, held)) = self.held(parent) else { return };
        let (place, depth) = (held.place, held.depth + depth_of(path));
        match self.0.table.get(fd) {
            Ok(Descriptor::File(file)) => watch.opened(place, &file.file),
            Ok(Descriptor::Dir(directory)) => watch.opened(place, &directory.dir),
            Err(_) => {}
        }
        if let Some(opened) = &mut self.0.opened {
            opened.descriptors.insert(fd.rep(), Held { place, depth, slot: Some(slot) });
        }
    }

    /// What a name that moves from one place to another brings along.
    async fn moving(&mut self, fd: &Resource<Descriptor>, path: &str, to: &Resource<Descriptor>) -> FsResult<Amount> {
        let places = (self.held(fd).map(|(_, held)| held.place), self.held(to).map(|(_, held)| held.place));
        if places.0 == places.1 {
            return Ok(Amount::default());
        }
        let stat = self.wasi().stat_at(borrow(fd), PathFlags::empty(), path.to_owned()).await?;
        if stat.type_ != DescriptorType::Directory {
            return Ok(Amount::file(stat.size));
        }
        let flags = (OpenFlags::DIRECTORY, DescriptorFlags::READ);
        let opened = self.wasi().open_at(borrow(fd), PathFlags::empty(), path.to_owned(), flags.0, flags.1).await?;
        let found = match self.0.table.delete(opened)? {
            Descriptor::Dir(directory) => count_below(&directory.dir).map_err(refused)?,
            Descriptor::File(_) => Amount::default(),
        };
        Ok(found.plus(Amount::file(0)))
    }
}

fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let given = preopens::Host::get_directories(&mut self.wasi())?;
        if let Some(opened) = &mut self.0.opened {
            for (fd, name) in &given {
                let place = match name.as_str() {
                    "/out" => GuestDirectory::Out,
                    "/work" => GuestDirectory::Work,
                    _ => GuestDirectory::In,
                };
                opened.descriptors.insert(fd.rep(), Held { place, depth: 0, slot: None });
            }
        }
        Ok(given)
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.wasi().convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        self.wasi().filesystem_error_code(error)
    }
}

/// What makes nothing grow: done, and counted as work.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        async fn $name(&mut self, $($argument: $type),*) -> FsResult<$result> {
            let started = Instant::now();
            let result = self.wasi().$name($($argument),*).await;
            self.worked(started).map_err(ends_the_call)?;
            result
        }
    )*};
}

/// What makes something grow: charged, done, and counted as work.
macro_rules! charged {
    ($view:ident, $charge:expr, $act:expr) => {{
        let started = Instant::now();
        $charge?;
        let result = $act;
        $view.worked(started).map_err(ends_the_call)?;
        result
    }};
}

impl HostDescriptor for View<'_> {
    passed_on! {
        advise(fd: Resource<Descriptor>, offset: u64, length: u64, advice: Advice) -> ();
        sync_data(fd: Resource<Descriptor>) -> ();
        get_flags(fd: Resource<Descriptor>) -> DescriptorFlags;
        get_type(fd: Resource<Descriptor>) -> DescriptorType;
        set_times(fd: Resource<Descriptor>, access: NewTimestamp, modification: NewTimestamp) -> ();
        read(fd: Resource<Descriptor>, length: u64, offset: u64) -> (Vec<u8>, bool);
        sync(fd: Resource<Descriptor>) -> ();
        set_times_at(
            fd: Resource<Descriptor>, flags: PathFlags, path: String, access: NewTimestamp, modification: NewTimestamp
        ) -> ();
        readlink_at(fd: Resource<Descriptor>, path: String) -> String;
        remove_directory_at(fd: Resource<Descriptor>, path: String) -> ();
        unlink_file_at(fd: Resource<Descriptor>, path: String) -> ();
    }

    async fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        let started = Instant::now();
        let found = self.wasi().metadata_hash(fd).await;
        self.worked(started).map_err(ends_the_call)?;
        self.identity(found?)
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let started = Instant::now();
        let found = self.wasi().metadata_hash_at(fd, flags, path).await;
        self.worked(started).map_err(ends_the_call)?;
        self.identity(found?)
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        let started = Instant::now();
        let found = self.wasi().stat(fd).await;
        self.worked(started).map_err(ends_the_call)?;
        found.map(|found| self.timeless(found))
    }

    async fn stat_at(&mut self, fd: Resource<Descriptor>, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let started = Instant::now();
        let found = self.wasi().stat_at(fd, flags, path).await;
        self.worked(started).map_err(ends_the_call)?;
        found.map(|found| self.timeless(found))
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        self.wasi().is_same_object(one, other).await
    }

    async fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        charged!(self, self.charge_write(&fd, offset, bytes.len() as u64), self.wasi().write(fd, bytes, offset).await)
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: u64) -> FsResult<()> {
        charged!(self, self.charge_write(&fd, size, 0), self.wasi().set_size(fd, size).await)
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        if self.held(&fd).is_some_and(|(_, held)| held.depth + depth_of(&path) > LOCAL_DEPTH) {
            return Err(too_deep());
        }
        charged!(self, self.charge(&fd, Amount::file(0)), self.wasi().create_directory_at(fd, path).await)
    }

    async fn symlink_at(&mut self, fd: Resource<Descriptor>, target: String, path: String) -> FsResult<()> {
        let amount = Amount::file(target.len() as u64);
        charged!(self, self.charge(&fd, amount), self.wasi().symlink_at(fd, target, path).await)
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        to: Resource<Descriptor>,
        new: String,
    ) -> FsResult<()> {
        charged!(self, self.charge(&to, Amount::file(0)), self.wasi().link_at(fd, flags, path, to, new).await)
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
        to: Resource<Descriptor>,
        new: String,
    ) -> FsResult<()> {
        let moving = self.moving(&fd, &path, &to).await?;
        charged!(self, self.charge(&to, moving), self.wasi().rename_at(fd, path, to, new).await)
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let started = Instant::now();
        let slot = self.0.open_files.take().map_err(refused)?;
        if open_flags.contains(OpenFlags::CREATE) {
            self.charge(&fd, Amount::file(0))?;
        }
        let opened = self.wasi().open_at(borrow(&fd), path_flags, path.clone(), open_flags, flags).await;
        if let Ok(opened) = &opened {
            self.hold(&fd, &path, opened, slot);
        }
        self.worked(started).map_err(ends_the_call)?;
        opened
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        if let Some(opened) = &mut self.0.opened {
            opened.descriptors.remove(&fd.rep());
        }
        HostDescriptor::drop(&mut self.wasi(), fd)
    }

    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let stream = self.wasi().read_via_stream(borrow(&fd), offset)?;
        let (file, slot) = (self.file(&fd)?, self.held(&fd).and_then(|(_, held)| held.slot.clone()));
        self.0.table.delete(stream)?;
        let time = self.0.time_of_host();
        let stream: DynInputStream = Box::new(Reading { file, at: offset, time, _slot: slot });
        Ok(self.0.table.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.wasi().write_via_stream(borrow(&fd), offset)?;
        self.writing(&fd, stream, Some(offset))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.wasi().append_via_stream(borrow(&fd))?;
        self.writing(&fd, stream, None)
    }

    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DirectoryEntryStream>> {
        let started = Instant::now();
        let count = self.listable(&fd)?;
        let stream = self.wasi().read_directory(fd).await?;
        let mut left = Vec::new();
        while let Some(entry) = self.wasi().read_directory_entry(borrow(&stream)).await? {
            left.push(entry);
        }
        left.sort_unstable_by(|one, other| other.name.cmp(&one.name));
        if let Some(opened) = &mut self.0.opened {
            opened.listings.insert(stream.rep(), Listing { left, count });
        }
        self.worked(started).map_err(ends_the_call)?;
        Ok(stream)
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = self.0.opened.as_mut().and_then(|opened| opened.listings.get_mut(&stream.rep()));
        Ok(listing.and_then(|listing| listing.left.pop()))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        if let Some(opened) = &mut self.0.opened {
            opened.listings.remove(&stream.rep());
        }
        HostDirectoryEntryStream::drop(&mut self.wasi(), stream)
    }
}

impl View<'_> {
    /// A stream of ours in place of one that wasmtime permitted.
    fn writing(
        &mut self,
        fd: &Resource<Descriptor>,
        permitted: Resource<DynOutputStream>,
        at: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = self.file(fd)?;
        let Some((watch, held)) = self.held(fd) else { return Err(ErrorCode::BadDescriptor.into()) };
        let stream = Writing { file, at, place: held.place, watch: watch.clone(), _slot: held.slot.clone() };
        self.0.table.delete(permitted)?;
        let stream: DynOutputStream = Box::new(stream);
        Ok(self.0.table.push(stream)?)
    }

    /// How many entries a directory has, where the host may hold them: wasmtime
    /// reads them all at once.
    fn listable(&self, fd: &Resource<Descriptor>) -> FsResult<u64> {
        let Descriptor::Dir(directory) = self.0.table.get(fd)? else { return Err(ErrorCode::NotDirectory.into()) };
        let entries = rustix::fs::Dir::read_from(&*directory.dir).map_err(std::io::Error::from)?.count() as u64;
        let held: u64 =
            self.0.opened.iter().flat_map(|opened| opened.listings.values()).map(|listing| listing.count).sum();
        if held > 0 && held.saturating_add(entries) > LISTED_ENTRIES {
            let message = format!("the plugin would be reading directories with more than {LISTED_ENTRIES} entries");
            let hint = "this is a fault of the plugin: it must close a directory before it opens the next ones";
            return Err(refused(Error::new(Class::Plugin, message).hint(hint)));
        }
        // One that is empty is held as well.
        Ok(entries.max(1))
    }
}

/// Bytes that pass at once.
const CHUNK: usize = 1 << 20;

/// A file that is read front to back.
struct Reading {
    file: Arc<File>,
    at: u64,
    time: HostTime,
    _slot: Option<Arc<Slot>>,
}

/// A file that is written front to back. Every byte is on its way to the disk
/// when `write` returns: wasmtime's streams write on a thread, which may go on
/// when the call has ended.
struct Writing {
    file: Arc<File>,
    /// Where the next byte goes; None at the end of the file.
    at: Option<u64>,
    place: GuestDirectory,
    watch: Watch,
    _slot: Option<Arc<Slot>>,
}

fn failed(error: std::io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

fn stopped(stop: Stop) -> StreamError {
    StreamError::Trap(stop.into())
}

#[async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {}
}

impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let started = Instant::now();
        let mut buffer = vec![0; size.min(CHUNK)];
        let count = self.file.read_at(&mut buffer, self.at).map_err(failed)?;
        self.time.worked(started).map_err(stopped)?;
        if count == 0 {
            return Err(StreamError::Closed);
        }
        self.at += count as u64;
        buffer.truncate(count);
        Ok(buffer.into())
    }
}

#[async_trait]
impl Pollable for Writing {
    async fn ready(&mut self) {}
}

impl OutputStream for Writing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let started = Instant::now();
        let length = self.file.metadata().map_err(failed)?.len();
        let at = self.at.unwrap_or(length);
        let end = at.saturating_add(bytes.len() as u64);
        self.watch.charge(self.place, Amount::bytes(end.saturating_sub(length))).map_err(stopped)?;
        self.file.write_all_at(&bytes, at).map_err(failed)?;
        self.at = self.at.map(|_| end);
        self.watch.time().worked(started).map_err(stopped)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_of_a_path_is_that_of_its_names() {
        for (path, depth) in [("", 0), (".", 0), ("a", 1), ("a//b/./c/", 3), ("../a", 1)] {
            assert_eq!(depth_of(path), depth, "{path}");
        }
    }
}
