//! Input trees by name, and reading what lies in them.

use std::io;

use serde::de::DeserializeOwned;

use crate::bindings::wasi::io::streams::{InputStream, StreamError};
use crate::{NamedTree, Sink, StepError, Tree};

/// Bytes that the text readers accept: a configuration file or an index, not
/// an archive.
pub const TEXT_LIMIT: u64 = 64 << 20;

/// The trees that the host handed in: one for each step that this one needs,
/// by its id; `config`; and `local:<path>` for each local path that the
/// component manifest names.
#[derive(Debug)]
pub struct Inputs(Vec<NamedTree>);

impl Inputs {
    #[doc(hidden)]
    pub fn new(trees: Vec<NamedTree>) -> Self {
        Self(trees)
    }

    /// # Errors
    /// `missing-input` that names what is there instead.
    pub fn get(&self, name: &str) -> Result<&Tree, StepError> {
        self.find(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            StepError::missing_input(
                "input-tree",
                format!("there is no input tree `{name}`; there are: {}", names.join(", ")),
            )
            .hint(format!("add `{name}` to `needs` of this step in config/pipeline.yaml"))
        })
    }

    /// The tree called `name`; None where this call was not given it.
    pub fn find(&self, name: &str) -> Option<&Tree> {
        self.0.iter().find(|named| named.name == name).map(|named| &named.tree)
    }

    /// The names of the trees that this call was given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|named| named.name.as_str())
    }
}

/// Shorthands over what the WIT declares.
impl Tree {
    /// A UTF-8 file of at most [`TEXT_LIMIT`].
    ///
    /// # Errors
    /// `missing-input` where it is absent, `invalid-input` where it is not
    /// UTF-8 or too long.
    pub fn read_text(&self, path: &str) -> Result<String, StepError> {
        let bytes = self.read(path, TEXT_LIMIT)?;
        String::from_utf8(bytes).map_err(|error| StepError::from(error).context(path))
    }

    /// None where nothing lies at `path`.
    ///
    /// # Errors
    /// As [`Tree::read_text`].
    pub fn read_text_optional(&self, path: &str) -> Result<Option<String>, StepError> {
        if self.exists(path)? { self.read_text(path).map(Some) } else { Ok(None) }
    }

    /// # Errors
    /// As [`Tree::read_text`]; `invalid-input` with line and column where it
    /// is not JSON of that shape.
    pub fn read_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, StepError> {
        let bytes = self.read(path, TEXT_LIMIT)?;
        serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context(path))
    }

    /// # Errors
    /// As [`Tree::read_text`]; `invalid-input` with line and column where it
    /// is not YAML of that shape.
    pub fn read_yaml<T: DeserializeOwned>(&self, path: &str) -> Result<T, StepError> {
        let text = self.read_text(path)?;
        serde_yaml::from_str(&text).map_err(|error| StepError::from(error).context(path))
    }

    /// # Errors
    /// `invalid-input` where the path is not a path.
    pub fn exists(&self, path: &str) -> Result<bool, StepError> {
        Ok(self.stat(path)?.is_some())
    }

    /// The file as [`std::io::Read`], for what does not fit into memory.
    ///
    /// # Errors
    /// `missing-input` where it is absent.
    pub fn reader(&self, path: &str) -> Result<Reader, StepError> {
        Ok(Reader { stream: self.open(path)? })
    }
}

impl Sink {
    /// A file of the output as [`std::io::Read`]: what was fetched to be read.
    ///
    /// # Errors
    /// `missing-input` where it is absent.
    pub fn reader(&self, path: &str) -> Result<Reader, StepError> {
        Ok(Reader { stream: self.open(path)? })
    }
}

/// A file of a tree, read front to back.
#[derive(Debug)]
pub struct Reader {
    stream: InputStream,
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.stream.blocking_read(buffer.len() as u64) {
            Ok(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Err(StreamError::Closed) => Ok(0),
            Err(StreamError::LastOperationFailed(error)) => Err(io::Error::other(error.to_debug_string())),
        }
    }
}
