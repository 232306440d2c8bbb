//! RPM's packages: the database in its three formats, and the headers in it.

mod berkeley;
mod header;
mod ndb;
mod sqlite;

use std::io::Read;

use super::few;
use crate::content::{Content, Why};
use crate::found::Package;

/// Bytes of a database. One of 3,000 packages has 80 MiB.
const LARGEST: u64 = 160 << 20;
/// Bytes of all headers together: a damaged database that gives one of them
/// again and again ends here.
const MOST: usize = 512 << 20;

/// Folders of a database, by the end of their path.
const FOLDERS: [&str; 3] = ["/var/lib/rpm/", "/usr/share/rpm/", "/usr/lib/sysimage/rpm/"];

/// Whether a path with a `/` in front is where RPM keeps its database.
pub fn is_database(path: &str) -> bool {
    let folder = path.rfind('/').map_or("", |at| &path[..=at]);
    FOLDERS.iter().any(|end| folder.ends_with(end))
}

/// Reads a database; the content tells its format.
///
/// # Errors
/// Where it is damaged, cut, too large or of no format that is known.
pub fn read(_: &str, size: u64, content: &mut dyn Content) -> Result<Vec<Package>, Why> {
    if size > LARGEST {
        return Err(format!("it has {size} bytes, and at most {LARGEST} are read"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    content.take(LARGEST).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    packages(&bytes)
}

fn packages(bytes: &[u8]) -> Result<Vec<Package>, Why> {
    let mut headers = Headers::default();
    let walked = if bytes.starts_with(sqlite::MAGIC) {
        sqlite::each(bytes, &mut headers)
    } else if bytes.starts_with(ndb::MAGIC) {
        ndb::each(bytes, &mut headers)
    } else if berkeley::is_one(bytes) {
        berkeley::each(bytes, &mut headers)
    } else {
        Err("it is no database of RPM that is known: neither sqlite, nor ndb, nor a hash of Berkeley DB".to_owned())
    };
    walked.map(|()| headers.packages)
}

/// Takes the headers of packages as they are found.
#[derive(Default)]
struct Headers {
    packages: Vec<Package>,
    bytes: usize,
}

impl Headers {
    fn add(&mut self, header: &[u8]) -> Result<(), Why> {
        self.bytes += header.len();
        if self.bytes > MOST {
            return Err(format!("its headers have more than {MOST} bytes"));
        }
        self.packages.extend(header::read(header)?);
        few(&self.packages)
    }
}

/// Numbers of a database, which never lie outside of it.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Why> {
    at.checked_add(N).and_then(|end| bytes.get(at..end)).and_then(|bytes| bytes.try_into().ok()).ok_or_else(cut)
}

fn cut() -> Why {
    "it is damaged or cut".to_owned()
}

#[cfg(test)]
pub mod testing {
    //! Headers as RPM writes them.

    /// A header with these tags, and no magic in front, as databases hold it.
    pub fn header(name: &str, version: &str, release: &str, epoch: Option<u32>) -> Vec<u8> {
        let mut index = Vec::new();
        let mut data = Vec::new();
        let mut text = |tag: u32, kind: u32, value: &str| {
            let entry = [tag, kind, data.len() as u32, 1];
            index.extend(entry.iter().flat_map(|number| number.to_be_bytes()));
            data.extend(value.as_bytes());
            data.push(0);
        };
        text(1000, 6, name);
        text(1001, 6, version);
        text(1002, 6, release);
        text(1014, 6, "MIT");
        text(1022, 6, "x86_64");
        text(1044, 6, &format!("{name}-src-{version}.src.rpm"));
        if let Some(epoch) = epoch {
            data.resize(data.len().next_multiple_of(4), 0);
            let entry = [1003, 4, data.len() as u32, 1];
            index.extend(entry.iter().flat_map(|number: &u32| number.to_be_bytes()));
            data.extend(epoch.to_be_bytes());
        }
        let lengths = [(index.len() / 16) as u32, data.len() as u32];
        [lengths.iter().flat_map(|number| number.to_be_bytes()).collect(), index, data].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_name_elsewhere_is_no_database() {
        assert!(is_database("/var/lib/rpm/Packages") && is_database("/root/usr/lib/sysimage/rpm/Packages.db"));
        assert!(!is_database("/srv/rpm/Packages") && !is_database("/Packages"));
        assert!(packages(b"neither nor").unwrap_err().contains("no database of RPM"));
        assert!(read("x", LARGEST + 1, &mut b"".as_slice()).unwrap_err().contains("at most"));
    }
}
