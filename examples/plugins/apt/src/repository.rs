//! The flat repository: a folder of packages with `Packages` and `Release`, as apt
//! reads it from a disk or over http.

use std::io::{self, BufRead, Write};

use sha2::{Digest, Sha256};

use crate::index::stanza;
use crate::release;

/// The name that a package has in the folder: that of the mirror, where it is one
/// that every file system and Zarf take.
///
/// # Errors
/// What is wrong with it.
pub fn file_name(filename: &str) -> Result<&str, String> {
    let name = filename.rsplit('/').next().unwrap_or(filename);
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._~%".contains(&b));
    let leads_out = filename.starts_with('/') || filename.split('/').any(|part| matches!(part, "" | "." | ".."));
    if !is_plain || leads_out || name.starts_with('.') || !name.ends_with(".deb") {
        return Err(format!("`{filename}` is no path of a package"));
    }
    Ok(name)
}

/// Copies the stanzas with the numbers in `wanted`, which is sorted, and gives each
/// the place that it has in the folder.
pub fn copy(mut index: impl BufRead, wanted: &[usize], out: &mut impl Write) -> io::Result<()> {
    let mut lines = Vec::new();
    let mut number = 0;
    for wanted in wanted {
        while stanza(&mut index, &mut lines)? {
            number += 1;
            if number - 1 == *wanted {
                write_stanza(&lines, out)?;
                break;
            }
        }
    }
    Ok(())
}

fn write_stanza(lines: &[String], out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("filename") => {
                let name = file_name(value.trim()).map_err(io::Error::other)?;
                writeln!(out, "Filename: ./{name}")?;
            }
            _ => writeln!(out, "{line}")?,
        }
    }
    writeln!(out)
}

/// `Release` of the folder, for `Packages` with this content at a time in seconds
/// since 1970.
pub fn release(packages: &[u8], architecture: &str, epoch: u64) -> String {
    let digest: String = Sha256::digest(packages).iter().map(|byte| format!("{byte:02x}")).collect();
    let date = release::date(epoch);
    let size = packages.len();
    format!(
        "Origin: opencenter-airgap\nLabel: airgap\nDate: {date}\nArchitectures: {architecture} all\nSHA256:\n {digest} {size} Packages\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_stanzas_are_copied_with_their_place_in_the_folder() {
        let index = "Package: a\nFilename: pool/a/a_1.deb\n\nPackage: b\nFilename: pool/b/b_1.deb\nDescription: b\n more\n\n\nPackage: c\nFilename: pool/c.deb\n";
        let mut out = Vec::new();
        copy(index.as_bytes(), &[1, 2], &mut out).unwrap();
        let expected = "Package: b\nFilename: ./b_1.deb\nDescription: b\n more\n\nPackage: c\nFilename: ./c.deb\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_name_that_leads_out_or_hides_is_refused() {
        assert_eq!(file_name("pool/main/g/g++/g++_4%3a12~rc1-1_amd64.deb"), Ok("g++_4%3a12~rc1-1_amd64.deb"));
        for name in ["../a.deb", "/pool/a.deb", "pool//a.deb", "pool/.deb", "pool/a b.deb", "pool/a.sh", "pool/a:b.deb"]
        {
            assert!(file_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_release_has_the_digest_of_the_list() {
        let text = release(b"", "amd64", 0);
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(
            text.contains(&format!("SHA256:\n {digest} 0 Packages\n"))
                && text.contains("Date: Thu, 01 Jan 1970 00:00:00 UTC\n")
        );
    }
}
