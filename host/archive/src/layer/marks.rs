//! Byte strings that tell a file of interest from others, wherever in it they lie.

use memchr::memmem::Finder;

use base::error::{Error, Result};

/// What marks lie at multiples of, and the longest: one never lies across two
/// blocks of a tar.
const STEP: usize = 16;
/// What all have in common at least, which is searched for.
const COMMON: usize = 4;

/// Strings of which one is looked for.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    marks: Vec<Vec<u8>>,
    common: Option<Finder<'static>>,
}

impl Marks {
    /// None of them is a mark that everything has.
    ///
    /// # Errors
    /// `invalid-input` for one of more than 16 bytes, and where they have less than
    /// four in common.
    pub fn new(marks: Vec<Vec<u8>>) -> Result<Self> {
        let Some(first) = marks.first() else { return Ok(Self::default()) };
        let common =
            first.iter().enumerate().take_while(|(at, byte)| marks.iter().all(|mark| mark.get(*at) == Some(byte)));
        let common = common.count();
        if common < COMMON || marks.iter().any(|mark| mark.len() > STEP) {
            return Err(Error::invalid(format!(
                "marks have at most {STEP} bytes each, and the first {COMMON} are those of all"
            )));
        }
        let finder = Finder::new(&first[..common]).into_owned();
        Ok(Self { marks, common: Some(finder) })
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.common.is_some()
    }

    /// Where the first of them lies in bytes that begin at a multiple of 16.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut found = self.common.iter().flat_map(|common| common.find_iter(bytes));
        found.find(|at| at.is_multiple_of(STEP) && self.marks.iter().any(|mark| bytes[*at..].starts_with(mark)))
    }
}
