//! Writing into the output tree.

use std::io;

use serde::Serialize;

use crate::bindings::wasi::io::streams::{OutputStream, StreamError};
use crate::{Artifact, Sink, StepError};

/// Shorthands over what the WIT declares.
impl Sink {
    /// # Errors
    /// `denied` where the path or the amount is refused.
    pub fn write_text(&self, path: &str, text: &str) -> Result<Artifact, StepError> {
        self.write(path, text.as_bytes(), false)
    }

    /// Indented, with a newline at the end.
    ///
    /// # Errors
    /// As [`Sink::write_text`].
    pub fn write_json<T: Serialize>(&self, path: &str, value: &T) -> Result<Artifact, StepError> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.write_text(path, &text)
    }

    /// # Errors
    /// As [`Sink::write_text`].
    pub fn write_yaml<T: Serialize>(&self, path: &str, value: &T) -> Result<Artifact, StepError> {
        self.write_text(path, &serde_yaml::to_string(value)?)
    }

    /// The file as [`std::io::Write`]; complete when the writer is dropped.
    ///
    /// # Errors
    /// `denied` where the path is refused.
    pub fn writer(&self, path: &str, executable: bool) -> Result<Writer, StepError> {
        Ok(Writer { stream: self.create(path, executable)? })
    }
}

/// A file of the output tree, written front to back.
#[derive(Debug)]
pub struct Writer {
    stream: OutputStream,
}

/// What `blocking-write-and-flush` takes at once.
const CHUNK: usize = 4096;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let permitted = self.stream.check_write().map_err(failed)?;
        let permitted = usize::try_from(permitted).unwrap_or(usize::MAX);
        if permitted > 0 {
            let count = bytes.len().min(permitted);
            self.stream.write(&bytes[..count]).map_err(failed)?;
            return Ok(count);
        }
        let count = bytes.len().min(CHUNK);
        self.stream.blocking_write_and_flush(&bytes[..count]).map_err(failed)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.blocking_flush().map_err(failed)
    }
}

fn failed(error: StreamError) -> io::Error {
    match error {
        StreamError::LastOperationFailed(error) => io::Error::other(error.to_debug_string()),
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
    }
}
