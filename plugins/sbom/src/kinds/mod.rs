//! What is looked for, and who reads it: one module for each kind of package.

pub mod apk;
pub mod dpkg;
pub mod go;
pub mod java;
pub mod npm;
pub mod os_release;
pub mod python;
pub mod rpm;

use std::io::Read;

use crate::content::{Content, Why};
use crate::found::{Found, Package, Unread, What};

/// Packages of one file: a system has some thousands.
const MOST_PACKAGES: usize = 100_000;

/// Whether these are as many as a file may say.
fn few(packages: &[crate::found::Package]) -> Result<(), Why> {
    match packages.len() <= MOST_PACKAGES {
        true => Ok(()),
        false => Err(format!("it names more than {MOST_PACKAGES} packages")),
    }
}

/// Who reads a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// [`os_release`]: the system, no packages.
    OsRelease,
    /// [`dpkg`]: a list of packages, or one package of a distroless image.
    Dpkg,
    /// [`apk`]: a list of packages.
    Apk,
    /// [`rpm`]: a database of packages.
    Rpm,
    /// [`python`]: one package.
    Python,
    /// [`npm`]: one package.
    Npm,
    /// [`java`]: an archive, and the archives in it.
    Java,
    /// [`go`]: what no other reads, as it may be a Go binary.
    Go,
}

/// Files by the end of their path, with who reads them.
const ENDS: &[(&str, Reader)] = &[
    ("/etc/os-release", Reader::OsRelease),
    ("/usr/lib/os-release", Reader::OsRelease),
    ("/lib/dpkg/status", Reader::Dpkg),
    ("/lib/apk/db/installed", Reader::Apk),
    ("/rpm/rpmdb.sqlite", Reader::Rpm),
    ("/rpm/Packages.db", Reader::Rpm),
    ("/rpm/Packages", Reader::Rpm),
    ("dist-info/METADATA", Reader::Python),
    ("DIST-INFO/METADATA", Reader::Python),
    ("egg-info/PKG-INFO", Reader::Python),
    ("EGG-INFO/PKG-INFO", Reader::Python),
    (".egg-info", Reader::Python),
    ("/package.json", Reader::Npm),
    (".jar", Reader::Java),
    (".war", Reader::Java),
    (".ear", Reader::Java),
    (".par", Reader::Java),
    (".sar", Reader::Java),
    (".nar", Reader::Java),
    (".jpi", Reader::Java),
    (".hpi", Reader::Java),
    (".kar", Reader::Java),
    (".far", Reader::Java),
    (".lpkg", Reader::Java),
    (".rar", Reader::Java),
    (".zap", Reader::Java),
];

/// Folders whose files say what a distroless image holds.
const STATUS_FOLDER: &str = "/lib/dpkg/status.d/";

/// What is asked of the host.
pub fn wanted() -> sdk::layer::Wanted {
    sdk::layer::Wanted {
        ends: ENDS.iter().map(|(end, _)| (*end).to_owned()).collect(),
        below: vec![STATUS_FOLDER.to_owned()],
        beginnings: go::BEGINNINGS.iter().map(|beginning| beginning.to_vec()).collect(),
        marks: go::marks(),
    }
}

/// Who reads the file at `path`, which has no `/` in front.
pub fn reader_of(path: &str) -> Reader {
    let path = format!("/{path}");
    if let Some((_, name)) = path.split_once(STATUS_FOLDER) {
        // Beside each lie the checksums of its files.
        return if name.ends_with(".md5sums") || name.ends_with(".preinst") { Reader::Go } else { Reader::Dpkg };
    }
    let by_end = ENDS.iter().find(|(end, _)| path.ends_with(end));
    match by_end {
        Some((_, Reader::Rpm)) if !rpm::is_database(&path) => Reader::Go,
        Some((_, reader)) => *reader,
        None => Reader::Go,
    }
}

/// Bytes of a text that describes packages. The status of ten thousand Debian
/// packages has 20 MiB.
const LARGEST_TEXT: u64 = 48 << 20;
/// Bytes of a package's own description.
const LARGEST_DESCRIPTION: u64 = 4 << 20;

/// Reads a file of `size` bytes. None where it is none of those that are looked
/// for. What lies in it and could not be read goes into `unread`.
///
/// # Errors
/// Why it could not be read.
pub fn read(path: &str, size: u64, content: &mut dyn Content, unread: &mut Vec<Unread>) -> Result<Option<Found>, Why> {
    let packages = match reader_of(path) {
        Reader::OsRelease => {
            let release = os_release::read(&text(content, size, LARGEST_DESCRIPTION)?);
            return Ok(Some(Found { path: path.to_owned(), what: What::Release(release) }));
        }
        Reader::Dpkg => dpkg::read(&text(content, size, LARGEST_TEXT)?)?,
        Reader::Apk => apk::read(&text(content, size, LARGEST_TEXT)?)?,
        Reader::Rpm => rpm::read(path, size, content)?,
        Reader::Python => python::read(path, &text(content, size, LARGEST_DESCRIPTION)?),
        Reader::Npm => npm::read(&text(content, size, LARGEST_DESCRIPTION)?)?,
        Reader::Java => java::read(path, content, unread)?,
        Reader::Go => go::read(size, content)?,
    };
    Ok(found(path, packages))
}

/// Reads a file in which the first of [`go::marks`] lies at `at`.
///
/// # Errors
/// Why it could not be read.
pub fn read_mark(
    path: &str,
    size: u64,
    (front, at): (&[u8], u64),
    content: &mut dyn Content,
) -> Result<Option<Found>, Why> {
    Ok(found(path, go::read_mark(size, front, at, content)?))
}

fn found(path: &str, packages: Vec<Package>) -> Option<Found> {
    (!packages.is_empty()).then(|| Found { path: path.to_owned(), what: What::Packages(packages) })
}

/// A text of at most `limit` bytes; what is no UTF-8 becomes U+FFFD.
fn text(content: &mut dyn Content, size: u64, limit: u64) -> Result<String, Why> {
    if size > limit {
        return Err(format!("it has {size} bytes, and at most {limit} are read"));
    }
    let mut bytes = Vec::new();
    content.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_its_reader() {
        for (path, reader) in [
            ("etc/os-release", Reader::OsRelease),
            ("var/lib/dpkg/status", Reader::Dpkg),
            ("var/lib/dpkg/status.d/base-files", Reader::Dpkg),
            ("var/lib/dpkg/status.d/base-files.md5sums", Reader::Go),
            ("lib/apk/db/installed", Reader::Apk),
            ("usr/lib/apk/db/installed", Reader::Apk),
            ("var/lib/rpm/rpmdb.sqlite", Reader::Rpm),
            ("usr/lib/sysimage/rpm/Packages.db", Reader::Rpm),
            ("srv/rpm/Packages", Reader::Go),
            ("usr/lib/python3/dist-packages/six-1.16.0.egg-info", Reader::Python),
            ("app/node_modules/a/package.json", Reader::Npm),
            ("package.json", Reader::Npm),
            ("app/a.jar", Reader::Java),
            ("usr/bin/kubectl", Reader::Go),
        ] {
            assert_eq!(reader_of(path), reader, "{path}");
        }
    }

    #[test]
    fn what_is_too_long_says_so() {
        let why = read("var/lib/dpkg/status", LARGEST_TEXT + 1, &mut b"".as_slice(), &mut Vec::new()).unwrap_err();
        assert!(why.contains("at most 50331648 are read"), "{why}");
    }
}
