//! How it is said that an archive is damaged.

use std::io;
use std::path::Path;

use base::error::Error;

/// What reading finds wrong with an archive.
pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// An error of a package that was opened.
pub fn damaged(path: &Path, source: io::Error) -> Error {
    let why = match source.kind() {
        io::ErrorKind::InvalidData => source.to_string(),
        io::ErrorKind::UnexpectedEof => "it ends early".to_owned(),
        _ => return Error::io("cannot read", path, source),
    };
    Error::integrity(format!("`{}` is damaged: {why}", path.display()))
        .hint("`opencenter-airgap verify` says what is wrong with it")
}
