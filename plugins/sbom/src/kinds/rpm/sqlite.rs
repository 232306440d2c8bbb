//! `rpmdb.sqlite`: the table `Packages` of an SQLite database, as far as it
//! takes to read one table from front to back.

use std::collections::HashSet;

use super::{Headers, cut, number};
use crate::content::Why;

pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";
const TABLE_LEAF: u8 = 13;
const TABLE_INNER: u8 = 5;
/// The head of the file, in front of the first page's own.
const FILE_HEADER: usize = 100;
const NAME: &str = "Packages";

/// Gives each header.
pub(super) fn each(bytes: &[u8], headers: &mut Headers) -> Result<(), Why> {
    let file = File::new(bytes)?;
    let mut root = None;
    file.rows(1, &mut |columns| {
        if columns.text(0) == "table" && columns.text(1) == NAME {
            root = columns.number(3);
        }
        Ok(())
    })?;
    let root = root.ok_or_else(|| format!("it has no table `{NAME}`"))?;
    file.rows(root, &mut |columns| match columns.blob(1) {
        Some(blob) => headers.add(blob),
        None => Err(cut()),
    })
}

struct File<'a> {
    bytes: &'a [u8],
    page: usize,
    /// Bytes of a page that are used.
    usable: usize,
}

type Visit<'v> = &'v mut dyn FnMut(&Columns<'_>) -> Result<(), Why>;

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Why> {
        let page = match u16::from_be_bytes(number(bytes, 16)?) {
            1 => 65_536,
            size => usize::from(size),
        };
        let reserved = usize::from(*bytes.get(20).ok_or_else(cut)?);
        let usable = page.checked_sub(reserved).filter(|usable| *usable >= 480).ok_or_else(cut)?;
        // The writer counts the pages as well: what has fewer was cut.
        let pages = u32::from_be_bytes(number(bytes, 28)?) as usize;
        if !page.is_power_of_two() || pages.saturating_mul(page) > bytes.len() {
            Err(cut())
        } else {
            Ok(Self { bytes, page, usable })
        }
    }

    fn page(&self, number: usize) -> Result<&'a [u8], Why> {
        let begin = number.checked_sub(1).and_then(|index| index.checked_mul(self.page)).ok_or_else(cut)?;
        begin.checked_add(self.page).and_then(|end| self.bytes.get(begin..end)).ok_or_else(cut)
    }

    /// Shows each row of the table that begins at page `root`. Each page is
    /// visited once: a tree that goes round is none.
    fn rows(&self, root: usize, visit: Visit<'_>) -> Result<(), Why> {
        let mut seen = HashSet::new();
        let mut pages = vec![root];
        while let Some(index) = pages.pop() {
            if !seen.insert(index) {
                return Err("a page of it leads back to itself".to_owned());
            }
            let page = self.page(index)?;
            let header = if index == 1 { FILE_HEADER } else { 0 };
            let kind = *page.get(header).ok_or_else(cut)?;
            let cells = usize::from(u16::from_be_bytes(number(page, header + 3)?));
            let first = header + if kind == TABLE_INNER { 12 } else { 8 };
            let cell = |cell: usize| number(page, first + 2 * cell).map(|at| usize::from(u16::from_be_bytes(at)));
            match kind {
                TABLE_INNER => {
                    let child = |at| number(page, at).map(|child| u32::from_be_bytes(child) as usize);
                    pages.push(child(header + 8)?);
                    for index in (0..cells).rev() {
                        pages.push(child(cell(index)?)?);
                    }
                }
                TABLE_LEAF => (0..cells).try_for_each(|index| self.row(page, cell(index)?, visit))?,
                _ => return Err(cut()),
            }
        }
        Ok(())
    }

    /// Shows the row at a place of a page.
    fn row(&self, page: &[u8], at: usize, visit: Visit<'_>) -> Result<(), Why> {
        let mut at = at;
        let length = usize::try_from(varint(page, &mut at)?).map_err(|_| cut())?;
        varint(page, &mut at)?;
        let most = self.usable - 35;
        if length <= most {
            let payload = at.checked_add(length).and_then(|end| page.get(at..end)).ok_or_else(cut)?;
            return visit(&Columns::new(payload)?);
        }
        if length > self.bytes.len() {
            return Err(cut());
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let local = least + (length - least) % (self.usable - 4);
        let local = if local <= most { local } else { least };
        let mut payload = at.checked_add(local).and_then(|end| page.get(at..end)).ok_or_else(cut)?.to_vec();
        let mut next = u32::from_be_bytes(number(page, at + local)?) as usize;
        // Each page gives something, so this ends.
        while payload.len() < length {
            let page = self.page(next)?;
            let part = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(&page[4..4 + part]);
            next = u32::from_be_bytes(number(page, 0)?) as usize;
        }
        visit(&Columns::new(&payload)?)
    }
}

/// A number of up to nine bytes, seven bits in each but the last.
fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, Why> {
    let mut value = 0u64;
    for index in 0..9 {
        let byte = *bytes.get(*at).ok_or_else(cut)?;
        *at += 1;
        if index == 8 {
            return Ok(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(value)
}

/// The columns of a row: their types, and their bytes.
struct Columns<'a>(Vec<(u64, &'a [u8])>);

impl<'a> Columns<'a> {
    fn new(payload: &'a [u8]) -> Result<Self, Why> {
        let mut at = 0;
        let header = usize::try_from(varint(payload, &mut at)?).map_err(|_| cut())?;
        let mut place = header;
        let mut columns = Vec::new();
        while at < header {
            let kind = varint(payload, &mut at)?;
            let length = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                10 | 11 => return Err(cut()),
                kind => (kind - 12) / 2,
            };
            let end = usize::try_from(length).ok().and_then(|length| place.checked_add(length)).ok_or_else(cut)?;
            columns.push((kind, payload.get(place..end).ok_or_else(cut)?));
            place = end;
        }
        Ok(Self(columns))
    }

    fn text(&self, column: usize) -> &str {
        self.0.get(column).and_then(|(_, bytes)| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn number(&self, column: usize) -> Option<usize> {
        let (kind, bytes) = self.0.get(column)?;
        match kind {
            9 => Some(1),
            1..=6 => usize::try_from(bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte))).ok(),
            _ => None,
        }
    }

    fn blob(&self, column: usize) -> Option<&'a [u8]> {
        self.0.get(column).filter(|(kind, _)| *kind >= 12 && kind % 2 == 0).map(|(_, bytes)| *bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::header;
    use super::*;

    const PAGE: usize = 512;

    fn varint_of(value: usize) -> Vec<u8> {
        if value < 0x80 { vec![value as u8] } else { vec![0x80 | (value >> 7) as u8, (value & 0x7f) as u8] }
    }

    fn record(columns: &[(usize, &[u8])]) -> Vec<u8> {
        let kinds: Vec<u8> = columns.iter().flat_map(|(kind, _)| varint_of(*kind)).collect();
        let mut record = varint_of(kinds.len() + 1);
        record.extend(kinds);
        columns.iter().for_each(|(_, bytes)| record.extend(*bytes));
        record
    }

    /// A page with cells, and the pages that their ends lie on.
    fn leaf(first: usize, rows: &[Vec<u8>], next: &mut u32, others: &mut Vec<u8>) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        let mut end = PAGE;
        page[first] = TABLE_LEAF;
        page[first + 3..first + 5].copy_from_slice(&(rows.len() as u16).to_be_bytes());
        for (index, row) in rows.iter().enumerate() {
            let mut cell = varint_of(row.len());
            cell.push(index as u8 + 1);
            if row.len() <= PAGE - 35 {
                cell.extend(row);
            } else {
                let least = (PAGE - 12) * 32 / 255 - 23;
                let local = least + (row.len() - least) % (PAGE - 4);
                let local = if local <= PAGE - 35 { local } else { least };
                cell.extend(&row[..local]);
                cell.extend(next.to_be_bytes());
                let pieces: Vec<&[u8]> = row[local..].chunks(PAGE - 4).collect();
                for (index, piece) in pieces.iter().enumerate() {
                    *next += 1;
                    let following = if index + 1 == pieces.len() { 0 } else { *next };
                    let mut page = following.to_be_bytes().to_vec();
                    page.extend(*piece);
                    page.resize(PAGE, 0);
                    others.extend(page);
                }
            }
            end -= cell.len();
            page[end..end + cell.len()].copy_from_slice(&cell);
            page[first + 8 + 2 * index..first + 10 + 2 * index].copy_from_slice(&(end as u16).to_be_bytes());
        }
        page
    }

    fn database(packages: &[Vec<u8>]) -> Vec<u8> {
        let mut others = Vec::new();
        let mut next = 3;
        let text = |text: &'static str| (13 + 2 * text.len(), text.as_bytes());
        let schema = record(&[text("table"), text("Packages"), text("Packages"), (1, &[2]), text("CREATE TABLE")]);
        let mut first = leaf(FILE_HEADER, &[schema], &mut next, &mut others);
        first[..16].copy_from_slice(MAGIC);
        first[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
        let rows: Vec<Vec<u8>> =
            packages.iter().map(|package| record(&[(0, &[]), (12 + 2 * package.len(), package)])).collect();
        let second = leaf(0, &rows, &mut next, &mut others);
        let mut bytes = [first, second, others].concat();
        let pages = (bytes.len() / PAGE) as u32;
        bytes[28..32].copy_from_slice(&pages.to_be_bytes());
        bytes
    }

    #[test]
    fn rows_on_one_page_and_on_several_are_headers() {
        let names = |whole: &[u8]| {
            let mut headers = Headers::default();
            each(whole, &mut headers).unwrap();
            headers.packages.into_iter().map(|package| package.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&database(&[header("a", "1", "1", None), header("b", "1", "1", None)])), ["a", "b"]);
        let whole = database(&[header("long", &"1.".repeat(700), "1", None)]);
        assert_eq!(names(&whole), ["long"]);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = each(&damaged, &mut Headers::default());
        }
        assert!(each(&whole[..whole.len() - PAGE], &mut Headers::default()).is_err());
    }

    #[test]
    fn a_tree_that_goes_round_ends() {
        let mut whole = database(&[header("a", "1", "1", None)]);
        whole[PAGE] = TABLE_INNER;
        whole[PAGE + 3..PAGE + 5].fill(0);
        whole[PAGE + 8..PAGE + 12].copy_from_slice(&2u32.to_be_bytes());
        assert!(each(&whole, &mut Headers::default()).unwrap_err().contains("leads back"));
    }
}
