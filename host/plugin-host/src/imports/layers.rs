//! `layers`: reading what lies in a tar without unpacking it.

use wasmtime::component::Resource;

use super::Answer;
use crate::bindings::Refusal;
use crate::bindings::layers::{Found as WitFound, FoundKind, Host, HostLayer, Wanted as WitWanted};
use crate::call::Call;
use crate::input::InputTree;
use crate::layer_handle::LayerHandle;
use crate::limits::{LAYER_PIECE, OPEN_LAYERS, WANTED, WANTED_BYTES};
use archive::layer::{Found, LayerFilter, Marks, Names};
use archive::reader::EntryKind;
use base::error::{Class, Error};

impl Host for Call {}

impl HostLayer for Call {
    async fn open(&mut self, source: Resource<InputTree>, path: String) -> Answer<Resource<LayerHandle>> {
        let located = self.table.get(&source)?.locate(&path)?;
        self.work("layer.open")?;
        let handle = LayerHandle::new(path.escape_debug().to_string(), located.path, located.digest);
        Ok(self.table.push(handle)?)
    }

    async fn kept(&mut self, layer: Resource<LayerHandle>) -> Answer<Option<Vec<u8>>> {
        let layer = self.table.get(&layer)?.clone();
        let work = self.work("layer.kept")?;
        let (Some(digest), true) = (layer.digest, work.is_core) else { return Ok(None) };
        let (desk, plugin, room) = (work.desk.clone(), work.plugin, work.names.clone());
        self.blocking("layer.kept", move |_| {
            let Some((names, notes)) = desk.notes(&plugin, &digest)? else { return Ok(None) };
            // Where there is no room, reading it says so.
            let Some(names) = Names::from_bytes(&names, &room) else { return Ok(None) };
            layer.known(names)?;
            Ok(Some(notes))
        })
        .await
    }

    async fn select(&mut self, layer: Resource<LayerHandle>, wanted: WitWanted) -> Answer<()> {
        let layer = self.table.get(&layer)?.clone();
        let WitWanted { ends, below, beginnings, marks } = wanted;
        let lengths = ends.iter().chain(&below).map(String::len).chain(beginnings.iter().chain(&marks).map(Vec::len));
        if lengths.clone().count() > WANTED || lengths.max().unwrap_or(0) > WANTED_BYTES {
            return Err(Refusal::invalid(
                "too-large",
                format!("more than {WANTED} strings, or longer ones, are wanted"),
            ));
        }
        let slot = self.open_files.take()?;
        let work = self.work("layer.select")?;
        let room = work.names.clone();
        let permit = work.layers.clone().try_acquire_owned().map_err(|_| {
            Error::new(Class::Plugin, format!("more than {OPEN_LAYERS} layers would be read at the same time"))
                .hint("read one layer to its end, or drop it, before the next is begun")
        })?;
        let wanted = LayerFilter { ends, below, beginnings, marks: Marks::new(marks)? };
        // The thread that decompresses has the leash of the whole call.
        let leash = self.time_of_host().leash();
        self.blocking("layer.select", move |_| layer.select(wanted, (slot, permit), &room, &leash)).await
    }

    async fn next(&mut self, layer: Resource<LayerHandle>) -> Answer<Vec<WitFound>> {
        let layer = self.table.get(&layer)?.clone();
        self.blocking("layer.next", move |leash| {
            let found = layer.reading(|reader| reader.next(leash))?.unwrap_or_default();
            if found.is_empty() {
                layer.ended()?;
            }
            Ok(found.into_iter().map(wit).collect())
        })
        .await
    }

    async fn read(&mut self, layer: Resource<LayerHandle>, length: u64) -> Answer<Vec<u8>> {
        let layer = self.table.get(&layer)?.clone();
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(LAYER_PIECE);
        let read = move |leash: &base::leash::Leash| layer.reading(|reader| reader.read(length, leash));
        Ok(self.blocking("layer.read", read).await?.unwrap_or_default())
    }

    async fn skip(&mut self, layer: Resource<LayerHandle>, length: u64) -> Answer<u64> {
        let layer = self.table.get(&layer)?.clone();
        let skip = move |leash: &base::leash::Leash| layer.reading(|reader| reader.skip(length, leash));
        Ok(self.blocking("layer.skip", skip).await?.unwrap_or_default())
    }

    async fn keep(&mut self, layer: Resource<LayerHandle>, notes: Vec<u8>) -> Answer<()> {
        let layer = self.table.get(&layer)?.clone();
        let work = self.work("layer.keep")?;
        let (desk, plugin, is_core) = (work.desk.clone(), work.plugin, work.is_core);
        self.blocking("layer.keep", move |_| {
            let names = layer.complete()?;
            match layer.digest {
                Some(digest) if is_core => desk.keep_notes(&plugin, &digest, &names, &notes),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn hides(&mut self, layer: Resource<LayerHandle>, paths: Vec<String>) -> Answer<Vec<bool>> {
        let layer = self.table.get(&layer)?.clone();
        self.blocking("layer.hides", move |leash| layer.hides(&paths, leash)).await
    }

    async fn drop(&mut self, layer: Resource<LayerHandle>) -> wasmtime::Result<()> {
        self.table.delete(layer)?;
        Ok(())
    }
}

fn wit(found: Found) -> WitFound {
    let Found { path, kind, size, begin, front, executable, target } = found;
    let kind = match kind {
        EntryKind::Symlink => FoundKind::Symlink,
        EntryKind::HardLink => FoundKind::HardLink,
        EntryKind::File | EntryKind::Directory | EntryKind::Other(_) => FoundKind::File,
    };
    WitFound { path, kind, size, begin, front, executable, target }
}
