//! `Packages`, read front to back: of each stanza what a choice needs, so that an
//! index of a whole distribution fits.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use crate::relation::{self, Relation};
use crate::version;

/// A line that is longer is no line of an index.
const LONGEST_LINE: u64 = 1 << 20;

/// What is known of a package.
#[derive(Clone, Debug, Default)]
pub struct Package {
    pub name: Box<str>,
    pub version: Box<str>,
    /// Below the mirror.
    pub filename: Box<str>,
    /// 64 hexadecimal digits.
    pub sha256: Box<str>,
    /// Bytes.
    pub size: u64,
    /// `Pre-Depends` and `Depends`.
    pub depends: Box<str>,
    /// `Conflicts` and `Breaks`.
    pub conflicts: Box<str>,
    provides: Box<str>,
    /// 0 is `required`.
    priority: u8,
    /// Which index it came from, in the order of the configuration.
    pub source: usize,
    /// Which stanza of that index it is.
    pub stanza: usize,
}

impl Package {
    /// What it provides, without what can not be read.
    pub fn provides(&self) -> impl Iterator<Item = Relation<'_>> {
        relation::groups(&self.provides).flatten().flatten()
    }
}

/// The lines of one package, an empty line or the end behind them. False at the end.
pub fn stanza(reader: &mut impl BufRead, lines: &mut Vec<String>) -> io::Result<bool> {
    lines.clear();
    loop {
        let mut line = Vec::new();
        let count = io::Read::take(&mut *reader, LONGEST_LINE).read_until(b'\n', &mut line)?;
        if count as u64 == LONGEST_LINE {
            return Err(io::Error::other("a line is longer than 1 MiB"));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        if count == 0 || (text.is_empty() && !lines.is_empty()) {
            return Ok(!lines.is_empty());
        }
        if !text.is_empty() {
            lines.push(text.to_owned());
        }
    }
}

/// All packages of all indexes, by name and by what they provide.
#[derive(Debug, Default)]
pub struct Index {
    packages: Vec<Package>,
    names: BTreeMap<Box<str>, Vec<usize>>,
    provided: BTreeMap<Box<str>, Vec<usize>>,
}

impl Index {
    /// Enters those of one index that fit `architecture`.
    ///
    /// # Errors
    /// What can not be read, and a package that lacks what it can not be fetched without.
    pub fn read(&mut self, mut reader: impl BufRead, source: usize, architecture: &str) -> Result<(), String> {
        let mut lines = Vec::new();
        for number in 0.. {
            if !stanza(&mut reader, &mut lines).map_err(|error| error.to_string())? {
                break;
            }
            if let Some(package) = parsed(&lines, architecture)? {
                self.enter(Package { source, stanza: number, ..package });
            }
        }
        Ok(())
    }

    fn enter(&mut self, package: Package) {
        let id = self.packages.len();
        self.names.entry(package.name.clone()).or_default().push(id);
        for provided in package.provides() {
            self.provided.entry(provided.name.into()).or_default().push(id);
        }
        self.packages.push(package);
    }

    pub fn package(&self, id: usize) -> &Package {
        &self.packages[id]
    }

    /// The latest version of `name` that `admits` takes; of equal ones the first.
    pub fn latest(&self, name: &str, admits: impl Fn(&str) -> bool) -> Option<usize> {
        let all = self.names.get(name)?.iter().copied();
        all.filter(|id| admits(&self.packages[*id].version)).reduce(|best, id| {
            let is_later = version::compare(&self.packages[id].version, &self.packages[best].version).is_gt();
            if is_later { id } else { best }
        })
    }

    /// Who provides what `relation` means: the most basic first, then by name and
    /// the later version.
    pub fn providers(&self, relation: &Relation<'_>) -> Vec<usize> {
        let all = self.provided.get(relation.name).into_iter().flatten().copied();
        let mut found: Vec<usize> = all.filter(|id| provides(&self.packages[*id], relation)).collect();
        found.sort_by(|left, right| {
            let (left, right) = (&self.packages[*left], &self.packages[*right]);
            let by_name = left.priority.cmp(&right.priority).then_with(|| left.name.cmp(&right.name));
            by_name.then_with(|| version::compare(&right.version, &left.version))
        });
        found
    }

    /// What is there of a name, for a message.
    pub fn versions(&self, name: &str) -> Vec<&str> {
        self.names.get(name).into_iter().flatten().map(|id| &*self.packages[*id].version).collect()
    }
}

/// A version is admitted only where one is provided.
fn provides(package: &Package, relation: &Relation<'_>) -> bool {
    package.provides().filter(|provided| provided.name == relation.name).any(|provided| match provided.version {
        Some((_, version)) => relation.admits(version),
        None => relation.version.is_none(),
    })
}

fn parsed(lines: &[String], architecture: &str) -> Result<Option<Package>, String> {
    let field = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.split_once(':').filter(|(found, _)| found.eq_ignore_ascii_case(name)))
            .map_or("", |(_, value)| value.trim())
    };
    let (name, version) = (field("Package"), field("Version"));
    if !matches!(field("Architecture"), "all") && field("Architecture") != architecture {
        return Ok(None);
    }
    let lacks = |what: &str| format!("the package `{name}` {version} has no {what}");
    let size = field("Size").parse().map_err(|_| lacks("Size"))?;
    let sha256 = field("SHA256").to_ascii_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(lacks("SHA256"));
    }
    if Relation::parse(name).is_none() || version.is_empty() || field("Filename").is_empty() {
        return Err(lacks("name, version or Filename"));
    }
    let both = |first: &str, second: &str| [field(first), field(second)].join(",").into_boxed_str();
    let priorities = ["required", "important", "standard", "optional"];
    let priority = priorities.iter().position(|known| *known == field("Priority")).unwrap_or(priorities.len());
    Ok(Some(Package {
        name: name.into(),
        version: version.into(),
        filename: field("Filename").into(),
        sha256: sha256.into(),
        size,
        depends: both("Pre-Depends", "Depends"),
        conflicts: both("Conflicts", "Breaks"),
        provides: field("Provides").into(),
        priority: u8::try_from(priority).unwrap_or(u8::MAX),
        ..Package::default()
    }))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An index of packages, each by its lines beside those that every one has.
    pub fn index(stanzas: &[&str]) -> Index {
        let text: String = stanzas
            .iter()
            .map(|stanza| {
                format!("{stanza}\nArchitecture: amd64\nSize: 1\nFilename: pool/x.deb\nSHA256: {}\n\n", "a".repeat(64))
            })
            .collect();
        let mut index = Index::default();
        index.read(text.as_bytes(), 0, "amd64").unwrap();
        index
    }

    #[test]
    fn the_latest_is_found_and_other_architectures_are_not() {
        let mut index = index(&[
            "Package: a\nVersion: 1.9",
            "Package: a\nVersion: 1.10",
            "Package: b\nVersion: 1\nProvides: v (= 2), w",
        ]);
        index.read("Package: a\nVersion: 9\nArchitecture: arm64\n".as_bytes(), 1, "amd64").unwrap();
        let found = |text: &str| {
            let relation = Relation::parse(text).unwrap();
            index.latest(relation.name, |version| relation.admits(version)).map(|id| &*index.package(id).version)
        };
        assert_eq!(found("a"), Some("1.10"));
        assert_eq!(found("a (<< 1.10)"), Some("1.9"));
        assert_eq!(found("a (>> 2)"), None);
        let providers = |text: &str| index.providers(&Relation::parse(text).unwrap()).len();
        assert_eq!(
            [providers("v"), providers("v (>= 2)"), providers("v (>= 3)"), providers("w"), providers("w (>= 1)")],
            [1, 1, 0, 1, 0]
        );
    }

    #[test]
    fn what_could_not_be_checked_is_refused() {
        let text = "Package: a\nVersion: 1\nArchitecture: all\nSize: 1\nFilename: pool/a.deb\n";
        let error = Index::default().read(text.as_bytes(), 0, "amd64").unwrap_err();
        assert_eq!(error, "the package `a` 1 has no SHA256");
    }
}
