//! Layers of images and other tars, read by the host and never unpacked.

use std::io;

use crate::bindings::opencenter::airgap::layers::Layer as Handle;
pub use crate::bindings::opencenter::airgap::layers::{Found, FoundKind, Wanted};
use crate::{StepError, Tree};

/// Bytes that are asked for at once.
const PIECE: u64 = 256 << 10;

/// A layer, read front to back.
///
/// ```no_run
/// # fn step(images: &sdk::Tree) -> Result<(), sdk::StepError> {
/// use sdk::layer::{Layer, Wanted};
/// let layer = Layer::open(images, "blobs/sha256/0123")?;
/// layer.select(&Wanted { ends: vec!["/lib/apk/db/installed".into()], below: vec![], beginnings: vec![], marks: vec![] })?;
/// loop {
///     let found = layer.next()?;
///     let Some(last) = found.last() else { break };
///     println!("{}: {:?}", last.path, layer.read(100)?);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Layer(Handle);

impl Layer {
    /// # Errors
    /// As [`Tree::open`].
    pub fn open(source: &Tree, path: &str) -> Result<Self, StepError> {
        Handle::open(source, path).map(Self)
    }

    /// What [`Layer::keep`] was given for the same bytes, by this plugin.
    ///
    /// # Errors
    /// What the host failed at.
    pub fn kept(&self) -> Result<Option<Vec<u8>>, StepError> {
        self.0.kept()
    }

    /// Begins to read.
    ///
    /// # Errors
    /// `invalid-input` where too much is wanted.
    pub fn select(&self, wanted: &Wanted) -> Result<(), StepError> {
        self.0.select(wanted)
    }

    /// Links, up to and with the next wanted file; empty at the end.
    ///
    /// # Errors
    /// `invalid-input` where it is no tar or is damaged.
    pub fn next(&self) -> Result<Vec<Found>, StepError> {
        self.0.next()
    }

    /// Bytes of the file that came last; empty at its end.
    ///
    /// # Errors
    /// As [`Layer::next`].
    pub fn read(&self, length: u64) -> Result<Vec<u8>, StepError> {
        self.0.read(length)
    }

    /// Passes over bytes of it, and says how many.
    ///
    /// # Errors
    /// As [`Layer::next`].
    pub fn skip(&self, length: u64) -> Result<u64, StepError> {
        self.0.skip(length)
    }

    /// Keeps what was made of the layer, for later builds.
    ///
    /// # Errors
    /// `invalid-input` where it was not read to its end.
    pub fn keep(&self, notes: &[u8]) -> Result<(), StepError> {
        self.0.keep(notes)
    }

    /// Whether it removes or replaces what lies at each of these paths below it.
    ///
    /// # Errors
    /// `invalid-input` where it was neither kept nor read.
    pub fn hides(&self, paths: &[String]) -> Result<Vec<bool>, StepError> {
        self.0.hides(paths)
    }

    /// The file that came last, as [`std::io::Read`].
    pub fn reader(&self) -> LayerFile<'_> {
        LayerFile { layer: self, piece: Vec::new(), at: 0 }
    }
}

/// A file of a layer, read front to back.
#[derive(Debug)]
pub struct LayerFile<'a> {
    layer: &'a Layer,
    piece: Vec<u8>,
    at: usize,
}

impl LayerFile<'_> {
    /// Passes over bytes without reading them.
    ///
    /// # Errors
    /// As [`Layer::next`].
    pub fn pass(&mut self, length: u64) -> io::Result<u64> {
        let held = length.min((self.piece.len() - self.at) as u64);
        self.at += usize::try_from(held).unwrap_or(0);
        if held == length {
            return Ok(length);
        }
        Ok(held + self.layer.skip(length - held).map_err(failed)?)
    }
}

impl io::Read for LayerFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.piece = self.layer.read(PIECE).map_err(failed)?;
            self.at = 0;
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn failed(error: StepError) -> io::Error {
    io::Error::other(error.failure().map_or_else(|| "interrupted".to_owned(), |failure| failure.message.clone()))
}
