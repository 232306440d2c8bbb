//! A layer that a guest is reading, between its host calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::open_files::Slot;
use archive::layer::{LayerFilter, LayerReader, Names, Room};
use base::digest::Digest;
use base::error::{Error, Result};
use base::leash::Leash;

/// Where a layer lies, and how far it was read.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct LayerHandle {
    /// What errors call it.
    pub(super) shown: String,
    pub(super) path: PathBuf,
    pub(super) digest: Option<Digest>,
    state: Arc<Mutex<State>>,
}

enum State {
    Closed,
    Reading {
        reader: Box<LayerReader>,
        _held: Held,
    },
    /// What it is called that was read, and why that is not all of it.
    Known(Names, Option<Error>),
}

/// What reading takes of what a call has: a descriptor, and one of the few
/// layers that are read at the same time.
pub(super) type Held = (Arc<Slot>, OwnedSemaphorePermit);

impl LayerHandle {
    pub(super) fn new(shown: String, path: PathBuf, digest: Option<Digest>) -> Self {
        Self { shown, path, digest, state: Arc::new(Mutex::new(State::Closed)) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its names are known without reading it.
    pub(super) fn known(&self, names: Names) -> Result<()> {
        self.with(|state| {
            *state = State::Known(names, None);
            Ok(())
        })
    }

    pub(super) fn select(&self, wanted: LayerFilter, held: Held, room: &Room, leash: &Leash) -> Result<()> {
        let reader = LayerReader::open(&self.path, &self.shown, wanted, room, leash)?;
        self.with(|state| {
            *state = State::Reading { reader: Box::new(reader), _held: held };
            Ok(())
        })
    }

    /// Acts on the layer as far as it is being read. An error is the end of it.
    pub(super) fn reading<T>(&self, act: impl FnOnce(&mut LayerReader) -> Result<T>) -> Result<Option<T>> {
        self.with(|state| {
            let State::Reading { reader, .. } = state else { return Ok(None) };
            let result = act(reader);
            if let Err(error) = &result {
                end(state, Some(error.clone()));
            }
            result.map(Some)
        })
    }

    /// There is nothing more in it.
    pub(super) fn ended(&self) -> Result<()> {
        self.with(|state| {
            end(state, None);
            Ok(())
        })
    }

    /// The names of a layer that was read to its end, as they are kept.
    pub(super) fn complete(&self) -> Result<Vec<u8>> {
        self.with(|state| match state {
            State::Known(names, None) => Ok(names.to_bytes()),
            State::Known(_, Some(why)) => Err(why.clone()),
            _ => Err(self.unread()),
        })
    }

    fn unread(&self) -> Error {
        Error::invalid(format!("`{}` was not read to its end", self.shown))
    }

    /// Whether it hides each of the paths.
    pub(super) fn hides(&self, paths: &[String], leash: &Leash) -> Result<Vec<bool>> {
        self.with(|state| {
            end(state, Some(self.unread()));
            let State::Known(names, _) = state else {
                return Err(Error::invalid(format!("`{}` was not read", self.shown)));
            };
            paths.iter().map(|path| leash.check().map(|()| names.hides(path))).collect()
        })
    }
}

/// What was read becomes what is known.
fn end(state: &mut State, why: Option<Error>) {
    *state = match std::mem::replace(state, State::Closed) {
        State::Reading { reader, .. } => State::Known(reader.names(), why),
        other => other,
    };
}
