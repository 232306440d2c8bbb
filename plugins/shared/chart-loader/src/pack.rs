//! Writes a chart archive that is the same bytes every time.

use std::io::Write;

use flate2::{Compression, GzBuilder};

use crate::Refusal;
use crate::archive::File;

/// Writes a chart archive: files sorted by path below `name/`, no owner, no
/// time, fixed compression.
///
/// # Errors
/// Only for a path that no archive can hold.
pub fn write(name: &str, files: &[File]) -> Result<Vec<u8>, Refusal> {
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    let mut archive = ::tar::Builder::new(gzip);
    for File { path, data } in files {
        let mut header = ::tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let added = archive.append_data(&mut header, format!("{name}/{path}"), data.as_slice());
        added.map_err(|error| Refusal::content(format!("its `{path}` cannot lie in an archive: {error}")))?;
    }
    let finish = || -> std::io::Result<Vec<u8>> {
        let mut gzip = archive.into_inner()?;
        gzip.flush()?;
        gzip.finish()
    };
    finish().map_err(|error| Refusal::content(error.to_string()))
}
