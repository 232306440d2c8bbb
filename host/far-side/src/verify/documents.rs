//! The documents that zarf.yaml names, which nothing is deployed from.

use std::collections::BTreeMap;

use config::lock_doubts::listed;
use model::zarf;

use super::Problems;
use super::facts::{DOCUMENTS, Facts};
use super::package::Package;

pub(super) fn check(facts: &Facts, package: &Package, problems: &mut Problems) {
    let named = &package.documentation;
    if named.is_empty() {
        return;
    }
    let Some(there) = &facts.documents else {
        let why = if facts.complete { "is not in the package" } else { "was not reached, the archive is damaged" };
        let keys = listed(named.keys().map(|key| format!("`{}`", key.escape_debug())));
        let named = format!("{why}, and zarf.yaml names documents: {keys}");
        return problems.add_for("missing", DOCUMENTS, named);
    };
    for (key, name) in names(named) {
        if !there.contains(&name) {
            let key = key.escape_debug();
            problems.add_for("missing", DOCUMENTS, format!("lacks `{}`, the document `{key}`", name.escape_debug()));
        }
    }
}

/// What each is called there, by its key: those that share a name get the key
/// in front.
fn names(documents: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
    let is_shared = |base: &str| documents.values().filter(|source| zarf::base_name(source) == base).count() > 1;
    let name = |key: &str, base: &str| if is_shared(base) { format!("{key}-{base}") } else { base.to_owned() };
    documents.iter().map(|(key, source)| (key.as_str(), name(key, zarf::base_name(source)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_one_name_are_told_apart_by_their_keys() {
        let documents = [("one", "d/README.md"), ("two", "README.md"), ("three", "x/y.md")];
        let documents = documents.map(|(key, source)| (key.to_owned(), source.to_owned())).into();
        let expected = [("one", "one-README.md"), ("three", "y.md"), ("two", "two-README.md")];
        assert_eq!(names(&documents), expected.map(|(key, name)| (key, name.to_owned())).into());
    }
}
