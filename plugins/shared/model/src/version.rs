//! Versions and constraints as Helm reads them: the rules of its library
//! Masterminds/semver v3, which differ from cargo's.
//!
//! A bare `1.2` means 1.2.x, a bare `1.2.3` exactly that; `,` or a space is
//! AND, `||` is OR, `1.2 - 2.0` a range; `x`, `X` and `*` are wildcards. A
//! prerelease only fits where one of the comparators beside it names one.

use std::cmp::Ordering;
use std::fmt;

/// A semantic version, read leniently: a leading `v`, missing parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    /// As written.
    text: String,
}

impl Version {
    /// None where the text is no version.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (rest, build) = split_once(rest, '+');
        let (numbers, prerelease) = split_once(rest, '-');
        if build.is_some_and(|build| !are_identifiers(build, false)) {
            return None;
        }
        if prerelease.is_some_and(|prerelease| !are_identifiers(prerelease, true)) {
            return None;
        }
        let mut parts = numbers.split('.').map(number);
        let major = parts.next()??;
        let minor = parts.next().unwrap_or(Some(0))?;
        let patch = parts.next().unwrap_or(Some(0))?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self { major, minor, patch, prerelease: prerelease.unwrap_or("").to_owned(), text: text.to_owned() })
    }

    /// Whether it comes before a release: `1.0.0-rc.1`.
    pub(crate) fn is_prerelease(&self) -> bool {
        !self.prerelease.is_empty()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// By precedence: build metadata and spelling do not count.
pub fn compare(a: &Version, b: &Version) -> Ordering {
    (a.major, a.minor, a.patch)
        .cmp(&(b.major, b.minor, b.patch))
        .then_with(|| compare_prereleases(&a.prerelease, &b.prerelease))
}

fn compare_prereleases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// What `version` in components.yaml asks for.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// One of these groups must fit; all comparators of a group must.
    groups: Vec<Vec<Comparator>>,
}

#[derive(Clone, Debug)]
struct Comparator {
    operator: Operator,
    version: Version,
    /// Which parts are wildcards or missing.
    any: Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Same,
    Not,
    Greater,
    Less,
    GreaterOrSame,
    LessOrSame,
    Tilde,
    Caret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Any {
    Nothing,
    Patch,
    Minor,
    Major,
}

impl Constraint {
    /// None where the text is no constraint.
    pub fn parse(text: &str) -> Option<Self> {
        let groups = text.split("||").map(group).collect::<Option<Vec<_>>>()?;
        Some(Self { groups })
    }

    /// Whether it lets a version in.
    pub fn fits(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| {
            let prereleases = group.iter().any(|comparator| comparator.version.is_prerelease());
            group.iter().all(|comparator| (prereleases || !version.is_prerelease()) && comparator.fits(version))
        })
    }
}

/// Comparators that must all fit.
fn group(text: &str) -> Option<Vec<Comparator>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(vec![comparator("", "*")?]);
    }
    let mut tokens = tokens(text)?.into_iter().peekable();
    let mut group = Vec::new();
    while let Some((operator, version)) = tokens.next() {
        match tokens.peek() {
            Some((next, _)) if next == "-" => {
                let (_, end) = tokens.next()?;
                if !operator.is_empty() {
                    return None;
                }
                group.push(comparator(">=", &version)?);
                group.push(comparator("<=", &end)?);
            }
            _ => group.push(comparator(&operator, &version)?),
        }
    }
    Some(group)
}

/// Pairs of operator and version; the operator is `-` for the end of a range.
fn tokens(text: &str) -> Option<Vec<(String, String)>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !"=!<>~^".contains(c)).unwrap_or(rest.len());
        let mut operator = rest[..end].to_owned();
        rest = rest[end..].trim_start();
        if operator.is_empty() && rest.starts_with("- ") && !tokens.is_empty() {
            operator = "-".to_owned();
            rest = rest[1..].trim_start();
        }
        let end = rest.find(|c: char| c == ',' || c.is_whitespace() || "=!<>~^".contains(c)).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        tokens.push((operator, rest[..end].to_owned()));
        rest = rest[end..].trim_start();
        rest = match rest.strip_prefix(',') {
            // A comma joins: something has to follow.
            Some(after) if after.trim().is_empty() => return None,
            Some(after) => after.trim_start(),
            None => rest,
        };
    }
    Some(tokens)
}

fn comparator(operator: &str, version: &str) -> Option<Comparator> {
    let operator = match operator {
        "" | "=" => Operator::Same,
        "!=" => Operator::Not,
        ">" => Operator::Greater,
        "<" => Operator::Less,
        ">=" | "=>" => Operator::GreaterOrSame,
        "<=" | "=<" => Operator::LessOrSame,
        "~" | "~>" => Operator::Tilde,
        "^" => Operator::Caret,
        _ => return None,
    };
    let rest = version.strip_prefix('v').unwrap_or(version);
    let (rest, _) = split_once(rest, '+');
    let (numbers, prerelease) = split_once(rest, '-');
    let parts: Vec<&str> = numbers.split('.').collect();
    let is_any = |at: usize| parts.get(at).is_none_or(|part| matches!(*part, "x" | "X" | "*"));
    let sound = parts.iter().all(|part| matches!(*part, "x" | "X" | "*") || number(part).is_some());
    if parts.len() > 3 || !sound {
        return None;
    }
    let any = match (is_any(0), is_any(1), is_any(2)) {
        (true, _, _) => Any::Major,
        (_, true, _) => Any::Minor,
        (_, _, true) => Any::Patch,
        _ => Any::Nothing,
    };
    let suffix = prerelease.map(|text| format!("-{text}")).unwrap_or_default();
    let filled = match any {
        Any::Major => format!("0.0.0{suffix}"),
        Any::Minor => format!("{}.0.0{suffix}", parts[0]),
        Any::Patch => format!("{}.{}.0{suffix}", parts[0], parts[1]),
        Any::Nothing => format!("{numbers}{suffix}"),
    };
    Some(Comparator { operator, version: Version::parse(&filled)?, any })
}

impl Comparator {
    fn fits(&self, version: &Version) -> bool {
        let order = compare(version, &self.version);
        match self.operator {
            Operator::Same if self.any == Any::Nothing => order == Ordering::Equal,
            Operator::Same | Operator::Tilde => self.tilde(version, order),
            Operator::Not => self.differs(version, order),
            Operator::Greater => self.greater(version, order),
            Operator::Less => order == Ordering::Less,
            Operator::GreaterOrSame => order != Ordering::Less,
            Operator::LessOrSame => self.less_or_same(version, order),
            Operator::Caret => self.caret(version, order),
        }
    }

    fn tilde(&self, version: &Version, order: Ordering) -> bool {
        let con = &self.version;
        if order == Ordering::Less {
            return false;
        }
        if (con.major, con.minor, con.patch) == (0, 0, 0) && matches!(self.any, Any::Nothing | Any::Major) {
            return true;
        }
        version.major == con.major && (version.minor == con.minor || self.any == Any::Minor)
    }

    fn differs(&self, version: &Version, order: Ordering) -> bool {
        let con = &self.version;
        match self.any {
            Any::Nothing => order != Ordering::Equal,
            Any::Minor => version.major != con.major,
            Any::Patch => (version.major, version.minor) != (con.major, con.minor),
            Any::Major => order != Ordering::Equal,
        }
    }

    /// `>11` begins with 12, `>11.1` with 11.2.
    fn greater(&self, version: &Version, order: Ordering) -> bool {
        let con = &self.version;
        match self.any {
            Any::Minor => version.major > con.major,
            Any::Patch => (version.major, version.minor) > (con.major, con.minor),
            Any::Nothing | Any::Major => order == Ordering::Greater,
        }
    }

    /// `<=11` holds all of 11, `<=11.1` all of 11.1.
    fn less_or_same(&self, version: &Version, order: Ordering) -> bool {
        let con = &self.version;
        match self.any {
            Any::Nothing => order != Ordering::Greater,
            Any::Minor => version.major <= con.major,
            Any::Patch | Any::Major => (version.major, version.minor) <= (con.major, con.minor),
        }
    }

    /// Up to the next change of the first part that is not 0.
    fn caret(&self, version: &Version, order: Ordering) -> bool {
        let con = &self.version;
        if order == Ordering::Less {
            return false;
        }
        if con.major > 0 || self.any == Any::Minor {
            return version.major == con.major;
        }
        if version.major > 0 {
            return false;
        }
        if con.minor > 0 || self.any == Any::Patch {
            return version.minor == con.minor;
        }
        version.minor == 0 && (version.patch == con.patch || self.any == Any::Major)
    }
}

fn split_once(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn are_identifiers(text: &str, no_leading_zeros: bool) -> bool {
    text.split('.').all(|part| {
        let numeric = part.bytes().all(|byte| byte.is_ascii_digit());
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !(no_leading_zeros && numeric && part.len() > 1 && part.starts_with('0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(constraint: &str, version: &str) -> bool {
        Constraint::parse(constraint).expect(constraint).fits(&Version::parse(version).expect(version))
    }

    /// From the tables of Masterminds/semver.
    #[test]
    fn constraints_mean_what_helm_takes_them_for() {
        let table = [
            ("1.2.3", "1.2.3", true),
            ("1.2.3", "v1.2.3", true),
            ("v1.2.3", "1.2.3", true),
            ("=1.2.3", "1.2.4", false),
            ("1.2", "1.2.9", true),
            ("1.2", "1.3.0", false),
            ("1", "1.9.0", true),
            ("1", "2.0.0", false),
            ("*", "4.5.6", true),
            ("", "4.5.6", true),
            ("*", "1.0.0-rc.1", false),
            ("*-0", "1.0.0-rc.1", true),
            ("1.x", "1.4.0", true),
            ("1.2.X", "1.2.7", true),
            ("1.2.*", "1.3.0", false),
            ("^1.2.3", "1.9.9", true),
            ("^1.2.3", "2.0.0", false),
            ("^1.2.3", "1.2.2", false),
            ("^1", "1.0.0", true),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.3", true),
            ("^0.0.3", "0.0.4", false),
            ("^0.0", "0.0.9", true),
            ("^0.0", "0.1.0", false),
            ("^0", "0.9.0", true),
            ("^0", "1.0.0", false),
            ("^1.2.0", "1.2.1-alpha.1", false),
            ("^1.2.0-alpha.0", "1.2.1-alpha.1", true),
            ("^1.2.0-alpha.2", "1.2.0-alpha.1", false),
            ("~1.2.3", "1.2.9", true),
            ("~1.2.3", "1.3.0", false),
            ("~1.2", "1.2.0", true),
            ("~1", "1.9.0", true),
            ("~1", "2.0.0", false),
            ("~>1.2.3", "1.2.4", true),
            ("~0.0.0", "9.9.9", true),
            (">=1.2, <2", "1.9.0", true),
            (">=1.2 <2", "2.0.0", false),
            (">= 1.2.0 < 1.3.0", "1.2.5", true),
            (">1", "1.5.0", false),
            (">1", "2.0.0", true),
            (">1.1", "1.1.1", false),
            (">1.1", "1.2.1", true),
            ("<=1.1", "1.1.9", true),
            ("<=1.1", "1.2.0", false),
            ("<=1", "1.9.9", true),
            ("<1.1", "1.1.0", false),
            ("=<1.1.0", "1.1.0", true),
            ("1.1 - 3", "1.1.0", true),
            ("1.1 - 3", "3.9.0", true),
            ("1.1 - 3", "4.0.0", false),
            ("1.1.7 - 1.2.2", "1.1.6", false),
            ("!=1.2.3", "1.2.4", true),
            ("!=1.2.3", "1.2.3", false),
            ("!=1.2", "1.2.3", false),
            ("!=1", "2.0.0", true),
            ("!=4.x", "4.1.0", false),
            ("<1.0.0 || >=2.0.0 <3.0.0", "2.5.0", true),
            ("<1.0.0 || >=2.0.0 <3.0.0", "1.5.0", false),
            ("1.x || 3.x", "3.0.0", true),
            (">=1.0.0-0", "1.1.0-beta", true),
            (">=1.0.0", "1.1.0-beta", false),
            (">=1.0.0-0, <2", "1.5.0-rc1", true),
            ("1.2.3+build", "1.2.3", true),
            ("1.2.3-beta.1", "1.2.3-beta.1", true),
            ("1.2.3-beta.1", "1.2.3-beta.2", false),
        ];
        for (constraint, version, expected) in table {
            assert_eq!(fits(constraint, version), expected, "{constraint} {version}");
        }
    }

    #[test]
    fn what_is_no_constraint_is_refused() {
        for text in ["latest", ">>1", "1.2.3.4", "1.2.a", ">= ", "^", "1.2,", "a - b", "-1"] {
            assert!(Constraint::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_precedence() {
        let order = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0",
            "v1.0.1",
            "1.10.0",
        ];
        let versions: Vec<_> = order.iter().map(|text| Version::parse(text).unwrap()).collect();
        for pair in versions.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{} {}", pair[0], pair[1]);
        }
        assert_eq!(compare(&Version::parse("1.0.0+a").unwrap(), &Version::parse("v1+b").unwrap()), Ordering::Equal);
        for bad in ["", "a", "1.x", "1.2.3.4", "1.2.3-01", "1..2", "1.2.3-"] {
            assert!(Version::parse(bad).is_none(), "{bad}");
        }
    }
}
