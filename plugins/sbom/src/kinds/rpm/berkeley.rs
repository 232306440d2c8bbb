//! Berkeley DB, as RPM used it until 2020 (`Packages`): a hash whose values are
//! chains of pages.

use super::{Headers, cut, number};
use crate::content::Why;

const HASH_MAGIC: u32 = 0x0006_1561;
const HASH: u8 = 13;
/// Of RHEL 5.
const UNSORTED_HASH: u8 = 2;
const OVERFLOW: u8 = 7;
/// A value that lies on other pages.
const OFF_PAGE: u8 = 3;
const PAGE_HEADER: usize = 26;

/// Whether it begins as a hash does.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    Database::new(bytes).is_ok()
}

/// Gives each header.
pub(super) fn each(bytes: &[u8], headers: &mut Headers) -> Result<(), Why> {
    let database = Database::new(bytes)?;
    for page in 0..bytes.len() / database.page {
        let page = database.page(page)?;
        if matches!(page[25], HASH | UNSORTED_HASH) {
            database.values(page, headers)?;
        }
    }
    if bytes.len() / database.page < database.pages { Err(cut()) } else { Ok(()) }
}

struct Database<'a> {
    bytes: &'a [u8],
    is_swapped: bool,
    /// Bytes of a page.
    page: usize,
    /// Pages that it says to have.
    pages: usize,
}

impl<'a> Database<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Why> {
        let magic = u32::from_le_bytes(number(bytes, 12)?);
        let is_swapped = magic.swap_bytes() == HASH_MAGIC;
        if magic != HASH_MAGIC && !is_swapped {
            return Err(cut());
        }
        let database = Self { bytes, is_swapped, page: 0, pages: 0 };
        let (page, last) = (database.word(bytes, 20)?, database.word(bytes, 32)?);
        let is_size = page.is_power_of_two() && (512..=65_536).contains(&page);
        if is_size { Ok(Self { page, pages: last.saturating_add(1), ..database }) } else { Err(cut()) }
    }

    fn word(&self, bytes: &[u8], at: usize) -> Result<usize, Why> {
        let word = u32::from_le_bytes(number(bytes, at)?);
        Ok(if self.is_swapped { word.swap_bytes() } else { word } as usize)
    }

    fn short(&self, bytes: &[u8], at: usize) -> Result<usize, Why> {
        let short = u16::from_le_bytes(number(bytes, at)?);
        Ok(usize::from(if self.is_swapped { short.swap_bytes() } else { short }))
    }

    fn page(&self, index: usize) -> Result<&'a [u8], Why> {
        let begin = index.checked_mul(self.page).ok_or_else(cut)?;
        begin.checked_add(self.page).and_then(|end| self.bytes.get(begin..end)).ok_or_else(cut)
    }

    /// The values of a page of the hash: every second item.
    fn values(&self, page: &[u8], headers: &mut Headers) -> Result<(), Why> {
        for item in (1..self.short(page, 20)?).step_by(2) {
            let at = self.short(page, PAGE_HEADER + 2 * item)?;
            if page.get(at) == Some(&OFF_PAGE) {
                headers.add(&self.chain(self.word(page, at + 4)?, self.word(page, at + 8)?)?)?;
            }
        }
        Ok(())
    }

    /// A value of `length` bytes, from its first page on.
    fn chain(&self, first: usize, length: usize) -> Result<Vec<u8>, Why> {
        let mut value = Vec::new();
        let mut next = first;
        // Each page gives something: a chain that goes round is longer than
        // the file.
        while next != 0 && value.len() < length {
            let page = self.page(next)?;
            if page[25] != OVERFLOW || value.len() > self.bytes.len() {
                return Err(cut());
            }
            value.extend_from_slice(&page[PAGE_HEADER..]);
            next = self.word(page, 16)?;
        }
        if value.len() < length {
            return Err(cut());
        }
        value.truncate(length);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::header;
    use super::*;

    const SIZE: usize = 512;

    fn database(package: &[u8]) -> Vec<u8> {
        let mut head = vec![0; SIZE];
        head[12..16].copy_from_slice(&HASH_MAGIC.to_le_bytes());
        head[20..24].copy_from_slice(&(SIZE as u32).to_le_bytes());
        let mut hash = vec![0; SIZE];
        hash[25] = HASH;
        hash[20..22].copy_from_slice(&2u16.to_le_bytes());
        hash[28..30].copy_from_slice(&100u16.to_le_bytes());
        hash[100] = OFF_PAGE;
        hash[104..108].copy_from_slice(&2u32.to_le_bytes());
        hash[108..112].copy_from_slice(&(package.len() as u32).to_le_bytes());
        let mut bytes = [head, hash].concat();
        let pieces: Vec<&[u8]> = package.chunks(SIZE - PAGE_HEADER).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let mut page = vec![0; SIZE];
            page[25] = OVERFLOW;
            let next = if index + 1 == pieces.len() { 0 } else { index as u32 + 3 };
            page[16..20].copy_from_slice(&next.to_le_bytes());
            page[PAGE_HEADER..PAGE_HEADER + piece.len()].copy_from_slice(piece);
            bytes.extend(page);
        }
        let last = (bytes.len() / SIZE - 1) as u32;
        bytes[32..36].copy_from_slice(&last.to_le_bytes());
        bytes
    }

    #[test]
    fn values_on_several_pages_are_headers() {
        let package = header("bash", &"1.".repeat(600), "1", None);
        let whole = database(&package);
        let mut headers = Headers::default();
        each(&whole, &mut headers).unwrap();
        assert_eq!(headers.packages[0].name, "bash");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = each(&damaged, &mut Headers::default());
        }
        assert!(each(&whole[..whole.len() - SIZE], &mut Headers::default()).is_err());
    }

    #[test]
    fn a_chain_that_goes_round_ends() {
        let mut whole = database(&header("bash", &"1.".repeat(600), "1", None));
        whole[2 * SIZE + 16] = 2;
        whole[SIZE + 108..SIZE + 112].fill(0xff);
        assert!(each(&whole, &mut Headers::default()).is_err());
    }
}
