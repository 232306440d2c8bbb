//! Which packages a repository needs so that those that are wanted install from it
//! alone.
//!
//! From each wanted package its dependencies are followed. A group of alternatives
//! is met by what is chosen or excluded already, else by the first alternative that
//! a package has or provides. Of a name there is one version: what needs another
//! one is told as a failure, and nothing is tried backwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::index::{Index, Package};
use crate::relation::{self, Relation};

/// What is chosen, and what failed.
#[derive(Debug, Default)]
pub struct Closure {
    /// By name: the package, and who wanted it first.
    chosen: BTreeMap<String, (usize, String)>,
    /// Each with a name for it, and why.
    pub failures: Vec<(String, String)>,
}

/// Follows `wanted`, each a name or `name=version`. `excluded` are the names of
/// packages that the target has: they are met in any version, with what they provide.
pub fn closure(index: &Index, wanted: &[String], excluded: &[String], architecture: &str) -> Closure {
    let mut search = Search {
        index,
        architecture,
        excluded: Excluded::of(index, excluded),
        found: Closure::default(),
        open: VecDeque::new(),
    };
    for text in wanted {
        search.want(text);
    }
    while let Some(id) = search.open.pop_front() {
        search.follow(id);
    }
    search.found
}

impl Closure {
    /// What is chosen, by name.
    pub fn packages(&self) -> impl Iterator<Item = usize> {
        self.chosen.values().map(|(id, _)| *id)
    }

    /// Pairs that can not be installed together.
    pub fn conflicts(&self, index: &Index) -> Vec<String> {
        let mut found = Vec::new();
        for package in self.packages().map(|id| index.package(id)) {
            for relation in relation::groups(&package.conflicts).flatten().flatten() {
                let others = self
                    .meeting(index, &relation)
                    .map(|id| index.package(id))
                    .filter(|other| other.name != package.name);
                found.extend(others.map(|other| {
                    format!("`{}` conflicts with `{}`: they do not install together", package.name, other.name)
                }));
            }
        }
        found
    }

    /// What is chosen and meets the relation, by its name or by what it provides.
    fn meeting(&self, index: &Index, relation: &Relation<'_>) -> impl Iterator<Item = usize> {
        let real =
            self.chosen.get(relation.name).map(|(id, _)| *id).filter(|id| relation.admits(&index.package(*id).version));
        let providers = index.providers(relation).into_iter();
        real.into_iter()
            .chain(providers.filter(|id| self.chosen.get(&*index.package(*id).name).is_some_and(|(own, _)| own == id)))
    }

    /// From what is wanted to a package: `curl → libcurl4`.
    fn chain(&self, name: &str) -> String {
        let mut names = vec![name];
        while let Some((_, parent)) = self.chosen.get(names[names.len() - 1])
            && !parent.is_empty()
            && !names.contains(&parent.as_str())
        {
            names.push(parent);
        }
        names.reverse();
        names.join(" → ")
    }
}

/// What the target has.
struct Excluded<'a>(BTreeSet<&'a str>);

impl<'a> Excluded<'a> {
    fn of(index: &'a Index, names: &'a [String]) -> Self {
        let known = names.iter().filter_map(|name| index.latest(name, |_| true));
        let provided = known.flat_map(|id| index.package(id).provides().map(|provided| provided.name));
        Self(names.iter().map(String::as_str).chain(provided).collect())
    }
}

struct Search<'a> {
    index: &'a Index,
    architecture: &'a str,
    excluded: Excluded<'a>,
    found: Closure,
    open: VecDeque<usize>,
}

impl Search<'_> {
    fn want(&mut self, text: &str) {
        let (name, version) = text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
        if self.excluded.0.contains(name) {
            self.fail(text, "it is wanted and excluded".to_owned());
            return;
        }
        let real = self.index.latest(name, |found| version.is_none_or(|version| found == version));
        let provided = || {
            let relation = Relation { name, version: None, architecture: None };
            let providers = self.index.providers(&relation);
            (version.is_none() && providers.len() == 1).then(|| providers[0])
        };
        match real.or_else(provided) {
            Some(id) => self.choose(id, ""),
            None => self.fail(text, self.why_not(name)),
        }
    }

    fn follow(&mut self, id: usize) {
        let index = self.index;
        let package = index.package(id);
        for group in relation::groups(&package.depends) {
            match group {
                Ok(alternatives) => self.meet(package, &alternatives),
                Err(why) => self.fail(&self.found.chain(&package.name), why),
            }
        }
    }

    fn meet(&mut self, package: &Package, alternatives: &[Relation<'_>]) {
        let fitting: Vec<&Relation<'_>> =
            alternatives.iter().filter(|relation| relation.fits(self.architecture)).collect();
        if fitting.iter().any(|relation| self.is_met(relation)) {
            return;
        }
        match fitting.iter().find_map(|relation| self.candidate(relation)) {
            Some(id) => self.choose(id, &package.name),
            None => {
                let needed: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
                let why = alternatives.first().map_or_else(String::new, |first| self.why_not(first.name));
                self.fail(&self.found.chain(&package.name), format!("needs `{}`: {why}", needed.join(" | ")));
            }
        }
    }

    fn is_met(&self, relation: &Relation<'_>) -> bool {
        self.excluded.0.contains(relation.name) || self.found.meeting(self.index, relation).next().is_some()
    }

    /// What would meet it; nothing of a name that another version is chosen of.
    fn candidate(&self, relation: &Relation<'_>) -> Option<usize> {
        let real = self.index.latest(relation.name, |version| relation.admits(version));
        let all = real.into_iter().chain(self.index.providers(relation));
        all.into_iter().find(|id| !self.found.chosen.contains_key(&*self.index.package(*id).name))
    }

    fn choose(&mut self, id: usize, parent: &str) {
        let name = self.index.package(id).name.to_string();
        match self.found.chosen.get(&name) {
            Some((other, _)) if *other != id => self.fail(&name, "it is wanted in two versions".to_owned()),
            Some(_) => {}
            None => {
                self.found.chosen.insert(name, (id, parent.to_owned()));
                self.open.push_back(id);
            }
        }
    }

    fn why_not(&self, name: &str) -> String {
        if let Some((id, _)) = self.found.chosen.get(name) {
            return format!("`{name}` is chosen in version {} already", self.index.package(*id).version);
        }
        let versions = self.index.versions(name);
        if versions.is_empty() {
            format!("no package is called `{name}` or provides it")
        } else {
            format!("of `{name}` there is {}", versions.join(", "))
        }
    }

    fn fail(&mut self, name: &str, why: String) {
        self.found.failures.push((name.to_owned(), why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::index;

    fn names(index: &Index, wanted: &[&str], excluded: &[&str]) -> Result<Vec<String>, Vec<(String, String)>> {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let closure = closure(index, &list(wanted), &list(excluded), "amd64");
        let found =
            closure.packages().map(|id| format!("{}={}", index.package(id).name, index.package(id).version)).collect();
        if closure.failures.is_empty() { Ok(found) } else { Err(closure.failures) }
    }

    #[test]
    fn dependencies_alternatives_and_what_is_provided_are_followed() {
        let index = index(&[
            "Package: app\nVersion: 2\nPre-Depends: base\nDepends: lib (>= 2), missing | helper, awk, python3:any",
            "Package: base\nVersion: 1\nDepends: app",
            "Package: lib\nVersion: 1",
            "Package: lib\nVersion: 3~rc1",
            "Package: helper\nVersion: 1",
            "Package: mawk\nVersion: 1\nPriority: required\nProvides: awk",
            "Package: gawk\nVersion: 1\nPriority: optional\nProvides: awk",
            "Package: python3\nVersion: 3.11",
        ]);
        let all = ["app=2", "base=1", "helper=1", "lib=3~rc1", "mawk=1", "python3=3.11"];
        assert_eq!(names(&index, &["app"], &[]).unwrap(), all);
        assert_eq!(
            names(&index, &["app", "gawk"], &["lib", "python3"]).unwrap(),
            ["app=2", "base=1", "gawk=1", "helper=1"]
        );
        assert_eq!(names(&index, &["lib=1"], &[]).unwrap(), ["lib=1"]);
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_to_it() {
        let index = index(&[
            "Package: a\nVersion: 1\nDepends: b",
            "Package: b\nVersion: 1\nDepends: c (>= 2)",
            "Package: c\nVersion: 1",
        ]);
        let failures = names(&index, &["a", "x", "b=7"], &[]).unwrap_err();
        let failed: Vec<(&str, &str)> = failures.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        assert!(failed.contains(&("a → b", "needs `c (>= 2)`: of `c` there is 1")), "{failed:?}");
        assert!(failed.contains(&("x", "no package is called `x` or provides it")), "{failed:?}");
        assert!(failed.contains(&("b=7", "of `b` there is 1")), "{failed:?}");
        assert!(names(&index, &["c"], &["c"]).is_err());
    }

    #[test]
    fn a_second_version_of_a_name_is_a_failure_and_conflicts_are_told() {
        let index = index(&[
            "Package: a\nVersion: 1\nDepends: lib",
            "Package: b\nVersion: 1\nDepends: lib (<< 2)\nConflicts: a",
            "Package: lib\nVersion: 1",
            "Package: lib\nVersion: 2",
        ]);
        let failures = names(&index, &["a", "b"], &[]).unwrap_err();
        assert_eq!(
            failures[0],
            ("b".to_owned(), "needs `lib (<< 2)`: `lib` is chosen in version 2 already".to_owned())
        );
        let wanted = ["a".to_owned(), "b".to_owned(), "lib=1".to_owned()];
        let conflicts = closure(&index, &wanted, &[], "amd64").conflicts(&index);
        assert_eq!(conflicts, ["`b` conflicts with `a`: they do not install together"]);
    }
}
