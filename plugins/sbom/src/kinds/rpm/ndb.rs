//! RPM's own database (`Packages.db`): pages of slots, each of which says where
//! a header lies.

use super::{Headers, cut, number};
use crate::content::Why;

pub(super) const MAGIC: &[u8] = b"RpmP";
const SLOT: &[u8] = b"Slot";
const BLOB: &[u8] = b"BlbS";
const PAGE: usize = 4096;
const BLOCK: usize = 16;
/// Pages of slots: half a million packages.
const MOST_PAGES: usize = 2048;

/// Gives each header.
pub(super) fn each(bytes: &[u8], headers: &mut Headers) -> Result<(), Why> {
    let word = |at: usize| number(bytes, at).map(|bytes| u32::from_le_bytes(bytes) as usize);
    let pages = word(12)?;
    if word(4)? != 0 || pages == 0 || pages > MOST_PAGES {
        return Err(cut());
    }
    // The first two slots are the head of the file.
    for slot in (2 * BLOCK..pages * PAGE).step_by(BLOCK) {
        if bytes.get(slot..slot + 4) != Some(SLOT) {
            return Err(cut());
        }
        let package = word(slot + 4)?;
        if package == 0 {
            continue;
        }
        let at = word(slot + 8)?.saturating_mul(BLOCK);
        let begins = bytes.get(at..).is_some_and(|rest| rest.starts_with(BLOB));
        if !begins || word(at + 4)? != package {
            return Err(cut());
        }
        let begin = at + BLOCK;
        headers.add(begin.checked_add(word(at + 12)?).and_then(|end| bytes.get(begin..end)).ok_or_else(cut)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::header;
    use super::*;

    fn database(packages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [MAGIC, &[0; 8], &1u32.to_le_bytes()].concat();
        bytes.resize(32, 0);
        let mut blobs: Vec<u8> = Vec::new();
        for index in 0..PAGE / BLOCK - 2 {
            bytes.extend(SLOT);
            let Some(package) = packages.get(index) else {
                bytes.extend([0; 12]);
                continue;
            };
            let at = ((PAGE + blobs.len()) / BLOCK) as u32;
            let number = index as u32 + 1;
            bytes.extend([number, at, 1].iter().flat_map(|number| number.to_le_bytes()));
            blobs.extend(BLOB);
            blobs.extend([number, 0, package.len() as u32].iter().flat_map(|number| number.to_le_bytes()));
            blobs.extend(package);
            blobs.resize(blobs.len().next_multiple_of(BLOCK), 0);
        }
        [bytes, blobs].concat()
    }

    #[test]
    fn each_slot_that_is_used_is_a_package() {
        let whole = database(&[header("a", "1", "1", None), header("b", "2", "1", Some(3))]);
        let mut headers = Headers::default();
        each(&whole, &mut headers).unwrap();
        let found: Vec<_> = headers.packages.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(found, [("a", "1-1"), ("b", "3:2-1")]);
        for at in (0..whole.len()).step_by(7) {
            assert!(each(&whole[..at], &mut Headers::default()).is_err(), "{at}");
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = each(&damaged, &mut Headers::default());
        }
    }
}
