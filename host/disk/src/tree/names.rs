//! Names that are not what they seem.
//!
//! Two names that a file system or a reader takes for one, and characters that
//! nobody sees: on the machine where a package is unpacked the first are one
//! file, and the second are how one name is shown as another.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

/// Whether a character takes no room, turns the direction of what is around it,
/// or is ignored where it is shown. Unicode's property
/// `Default_Ignorable_Code_Point`, with what separates lines and annotates.
pub fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a word of `component` (what lies between `.`, `-` and `_`) has
/// letters of ASCII and of an alphabet that looks like it: `zаrf.yaml` with a
/// Cyrillic `а`. A word in one alphabet is an honest name.
pub(crate) fn mixes_alphabets(component: &str) -> bool {
    !component.is_ascii()
        && component
            .split(['.', '-', '_'])
            .any(|word| word.contains(|c: char| c.is_ascii_alphabetic()) && word.contains(looks_latin))
}

/// Greek, Cyrillic, Armenian, Cherokee, Coptic and Lisu, and letters of
/// mathematics.
fn looks_latin(c: char) -> bool {
    matches!(c,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' | '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}'
        | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}' | '\u{531}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}'
        | '\u{ab70}'..='\u{abbf}' | '\u{2c80}'..='\u{2cff}' | '\u{a4d0}'..='\u{a4ff}' | '\u{1d400}'..='\u{1d7ff}')
}

/// The same text for all names that a file system or a reader may take for
/// one: without case, composed or not, and of whatever width.
fn folded(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let upper = name.nfkd().flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfkc().collect()
}

/// How the files and directories of a tree are spelled: each in one way.
#[derive(Debug, Default)]
pub struct Spellings(BTreeMap<String, Spelling>);

#[derive(Debug)]
struct Spelling {
    path: String,
    /// Files at and below it.
    files: u64,
}

impl Spellings {
    /// The path that `path`, or a directory above it, would be confused with.
    pub fn conflict(&self, path: &str) -> Option<&str> {
        let clash = |above: &str| self.0.get(&folded(above)).filter(|known| known.path != above);
        prefixes(path).find_map(clash).map(|known| known.path.as_str())
    }

    /// How many files and directories there would be with `path`.
    pub fn count_with(&self, path: &str) -> usize {
        self.0.len() + prefixes(path).filter(|above| !self.0.contains_key(&folded(above))).count()
    }

    /// Enters a file that is not there yet.
    pub fn add(&mut self, path: &str) {
        for above in prefixes(path) {
            let new = || Spelling { path: above.to_owned(), files: 0 };
            self.0.entry(folded(above)).or_insert_with(new).files += 1;
        }
    }

    /// Takes out a file that was entered.
    pub fn remove(&mut self, path: &str) {
        for above in prefixes(path) {
            let key = folded(above);
            let Some(spelling) = self.0.get_mut(&key) else { continue };
            spelling.files -= 1;
            if spelling.files == 0 {
                self.0.remove(&key);
            }
        }
    }
}

/// The path and every directory above it.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_one_to_somebody_conflict() {
        for (one, other) in [
            ("a", "A"),
            ("dir/x", "Dir/y"),
            ("k", "\u{212a}"),
            ("\u{e9}", "e\u{301}"),
            ("straße", "STRASSE"),
            ("a", "\u{ff21}"),
            ("σ", "ς"),
            ("a/b", "A"),
        ] {
            let mut spellings = Spellings::default();
            spellings.add(one);
            assert!(spellings.conflict(other).is_some(), "{one} {other}");
            assert_eq!(spellings.conflict(one), None);
            spellings.remove(one);
            assert_eq!(spellings.conflict(other), None, "{one} is gone");
        }
    }

    #[test]
    fn a_directory_keeps_its_spelling_until_its_last_file_goes() {
        let mut spellings = Spellings::default();
        spellings.add("d/1");
        spellings.add("d/2");
        assert_eq!((spellings.count_with("d/2"), spellings.count_with("d/e/3")), (3, 5));
        spellings.remove("d/1");
        assert_eq!(spellings.conflict("D/3"), Some("d"));
        spellings.remove("d/2");
        assert_eq!(spellings.conflict("D/3"), None);
    }

    #[test]
    fn words_in_one_alphabet_are_honest() {
        for honest in ["имя.yaml", "zarf.yaml", "naïve", "日本-a", "λ-calculus", "a_б"] {
            assert!(!mixes_alphabets(honest), "{honest}");
        }
        for mixed in ["z\u{430}rf.yaml", "\u{3bf}ci", "check\u{455}ums.txt", "\u{1d41a}b"] {
            assert!(mixes_alphabets(mixed), "{mixed}");
        }
    }
}
