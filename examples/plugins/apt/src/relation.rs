//! `Depends`, `Provides` and the like: lists of groups of alternatives, each a name
//! with a version that it is held to.

use std::cmp::Ordering;

use crate::version;

/// One alternative: `libc6 (>= 2.36)`, `python3:any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    pub name: &'a str,
    /// An operator and a version.
    pub version: Option<(&'a str, &'a str)>,
    /// What stands behind a `:` of the name.
    pub architecture: Option<&'a str>,
}

impl<'a> Relation<'a> {
    /// None where it is no relation.
    pub fn parse(text: &'a str) -> Option<Self> {
        // `[amd64]` and `<!nocheck>` belong to sources; here they end the relation.
        let text = text.split(['[', '<']).next().filter(|text| !text.contains('(')).unwrap_or(text).trim();
        let (name, version) = match text.split_once('(') {
            Some((name, rest)) => (name.trim(), Some(constraint(rest.strip_suffix(')')?)?)),
            None => (text, None),
        };
        let (name, architecture) = name.split_once(':').map_or((name, None), |(name, kind)| (name, Some(kind)));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        is_name.then_some(Self { name, version, architecture })
    }

    /// Whether a package of this name and version is what is meant.
    pub fn admits(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else { return true };
        let order = version::compare(version, wanted);
        match operator {
            "<<" => order == Ordering::Less,
            "<=" | "<" => order != Ordering::Greater,
            "=" => order == Ordering::Equal,
            ">=" | ">" => order != Ordering::Less,
            ">>" => order == Ordering::Greater,
            _ => false,
        }
    }

    /// Whether the architecture that it names is the one of the repository.
    pub fn fits(&self, architecture: &str) -> bool {
        self.architecture.is_none_or(|wanted| matches!(wanted, "any" | "native" | "all") || wanted == architecture)
    }
}

impl std::fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        match self.version {
            Some((operator, version)) => write!(f, " ({operator} {version})"),
            None => Ok(()),
        }
    }
}

fn constraint(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let (operator, version) = text.split_at(text.find(|c| !"<>=".contains(c))?);
    let is_known = matches!(operator, "<<" | "<=" | "<" | "=" | ">=" | ">" | ">>");
    is_known.then_some((operator, version.trim()))
}

/// The groups of a field, each with its alternatives; what can not be read is an
/// error that shows it.
pub fn groups(field: &str) -> impl Iterator<Item = Result<Vec<Relation<'_>>, String>> {
    let groups = field.split(',').map(str::trim).filter(|group| !group.is_empty());
    groups.map(|group| {
        let alternatives =
            group.split('|').map(|text| Relation::parse(text).ok_or_else(|| format!("`{group}` is no dependency")));
        alternatives.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_groups_of_alternatives() {
        let field = "libc6 (>= 2.36), python3:any, default-mta | mail-transport-agent, x (= 1:2-3)";
        let read: Vec<_> = groups(field).map(Result::unwrap).collect();
        assert_eq!(read[0][0], Relation { name: "libc6", version: Some((">=", "2.36")), architecture: None });
        assert_eq!(read[1][0].architecture, Some("any"));
        assert_eq!(read[2].iter().map(|one| one.name).collect::<Vec<_>>(), ["default-mta", "mail-transport-agent"]);
        assert!(read[3][0].admits("1:2-3") && !read[3][0].admits("2-3"));
        assert!(groups("lib c (>= 1").next().unwrap().is_err() && groups("a (? 1)").next().unwrap().is_err());
    }

    #[test]
    fn each_operator_is_what_dpkg_means_by_it() {
        for (text, admitted) in [
            ("a (<< 2)", [true, false, false]),
            ("a (<= 2)", [true, true, false]),
            ("a (= 2)", [false, true, false]),
            ("a (>= 2)", [false, true, true]),
            ("a (>> 2)", [false, false, true]),
            ("a", [true, true, true]),
        ] {
            let relation = Relation::parse(text).unwrap();
            assert_eq!(["1", "2", "3"].map(|version| relation.admits(version)), admitted, "{text}");
        }
        assert!(Relation::parse("a:any").unwrap().fits("amd64") && !Relation::parse("a:arm64").unwrap().fits("amd64"));
    }
}
