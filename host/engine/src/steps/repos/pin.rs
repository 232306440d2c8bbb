//! Which commit a repository is packaged at. Decides without I/O.

use std::collections::BTreeMap;

use super::source::Source;
use base::error::{Class, Error, Result};
use config::airgap_lock::LockedRepository;
use config::repository::is_commit;

/// Everything that the packaged repository depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub commit: String,
    /// `refs/heads/main`, `refs/tags/v1`; none for a commit.
    pub reference: Option<String>,
    /// The object of an annotated tag.
    pub tag: Option<String>,
}

impl Pin {
    pub(super) fn to_locked(&self) -> LockedRepository {
        LockedRepository {
            commit: self.commit.clone(),
            reference: self.reference.clone(),
            tag: self.tag.clone(),
            build: None,
        }
    }

    /// The objects that a clone must hold with all their history.
    pub(super) fn objects(&self) -> Vec<&str> {
        std::iter::once(self.commit.as_str()).chain(self.tag.as_deref()).collect()
    }

    /// The references of the packaged repository and what they point to, and
    /// the one that HEAD names. A tag or commit gets a branch of its own,
    /// `zarf-ref-<ref>`, as Zarf makes it.
    pub(super) fn packaged(&self) -> (BTreeMap<String, String>, String) {
        let mut references = BTreeMap::new();
        let head = match &self.reference {
            Some(branch) if branch.starts_with("refs/heads/") => branch.clone(),
            Some(other) => {
                if other.starts_with("refs/tags/") {
                    references.insert(other.clone(), self.tag.clone().unwrap_or_else(|| self.commit.clone()));
                }
                let short = other.strip_prefix("refs/tags/").unwrap_or(other);
                format!("refs/heads/zarf-ref-{short}")
            }
            None => format!("refs/heads/zarf-ref-{}", self.commit),
        };
        references.insert(head.clone(), self.commit.clone());
        (references, head)
    }
}

/// What a server said about its references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Advertised {
    /// Name to object; `<tag>^{}` is what an annotated tag points to.
    pub references: BTreeMap<String, String>,
    /// The branch that HEAD names.
    pub head: Option<String>,
}

impl Advertised {
    /// Reads the output of `git ls-remote --symref`.
    pub(super) fn parse(text: &str) -> Self {
        let mut advertised = Self::default();
        for line in text.lines() {
            match line.split_once('\t') {
                Some((target, "HEAD")) if target.starts_with("ref: ") => {
                    advertised.head = Some(target["ref: ".len()..].to_owned());
                }
                Some((object, name)) => {
                    advertised.references.insert(name.to_owned(), object.to_owned());
                }
                None => {}
            }
        }
        advertised
    }
}

/// What to ask the server for.
pub(super) fn patterns(source: &Source) -> Vec<String> {
    match source.reference.as_deref() {
        None => vec!["HEAD".to_owned()],
        Some(full) if full.starts_with("refs/") => vec![full.to_owned(), format!("{full}^{{}}")],
        Some(short) => {
            vec![format!("refs/tags/{short}"), format!("refs/tags/{short}^{{}}"), format!("refs/heads/{short}")]
        }
    }
}

/// What is known without asking: a commit that components.yaml names, or what
/// airgap.lock holds.
pub(super) fn known(source: &Source, locked: Option<&LockedRepository>) -> Option<Pin> {
    if let Some(commit) = source.named_commit() {
        return Some(Pin { commit: commit.to_owned(), reference: None, tag: None });
    }
    let locked = locked.filter(|locked| source.commit.as_ref().is_none_or(|commit| *commit == locked.commit))?;
    Some(Pin { commit: locked.commit.clone(), reference: locked.reference.clone(), tag: locked.tag.clone() })
}

/// Resolves a reference by what the server has. A commit in components.yaml
/// wins over a branch that went on; a tag that points elsewhere is an error,
/// because a package would carry the tag's name over another content.
pub(super) fn resolve(source: &Source, advertised: &Advertised) -> Result<Pin> {
    let Source { name, url, .. } = source;
    let (reference, object, peeled) = found(source, advertised).ok_or_else(|| {
        without_head(source, advertised)
            .unwrap_or_else(|| missing(source).hint(format!("`git ls-remote {url}` lists what is there")))
    })?;
    let there = peeled.clone().unwrap_or_else(|| object.clone());
    let tag = peeled.is_some().then_some(object);
    if !is_commit(&there) {
        return Err(Error::invalid(format!(
            "repository `{name}` ({url}) uses the SHA-256 object format, which Zarf cannot push"
        )));
    }
    let is_tag = reference.as_deref().is_some_and(|reference| reference.starts_with("refs/tags/"));
    match &source.commit {
        Some(commit) if is_tag && *commit != there => Err(Error::invalid(format!(
            "the tag `{}` of repository `{name}` ({url}) is commit {there}, but components.yaml pins {commit}",
            source.reference.as_deref().unwrap_or_default()
        ))
        .hint("correct or remove `commit`; where it came from versions.env, correct it there")),
        Some(commit) => Ok(Pin { commit: commit.clone(), reference, tag }),
        None => Ok(Pin { commit: there, reference, tag }),
    }
}

type Found = (Option<String>, String, Option<String>);

/// Tags go before branches of the same name, as in git.
fn found(source: &Source, advertised: &Advertised) -> Option<Found> {
    let get = |name: &str| advertised.references.get(name).cloned();
    let Some(written) = source.reference.as_deref() else {
        return Some((advertised.head.clone(), get("HEAD")?, None));
    };
    let names = match written.starts_with("refs/") {
        true => vec![written.to_owned()],
        false => vec![format!("refs/tags/{written}"), format!("refs/heads/{written}")],
    };
    names.into_iter().find_map(|name| {
        let peeled = get(&format!("{name}^{{}}"));
        get(&name).map(|object| (Some(name), object, peeled))
    })
}

/// Why there is no default branch where there are others: HEAD names one that
/// is not there.
fn without_head(source: &Source, advertised: &Advertised) -> Option<Error> {
    const SHOWN: usize = 10;
    let branches: Vec<&str> =
        advertised.references.keys().filter_map(|name| name.strip_prefix("refs/heads/")).collect();
    let first = branches.first().filter(|_| source.reference.is_none())?;
    let mut listed: Vec<String> = branches.iter().take(SHOWN).map(|branch| format!("`{branch}`")).collect();
    if branches.len() > SHOWN {
        listed.push(format!("and {} more", branches.len() - SHOWN));
    }
    let Source { name, url, .. } = source;
    let message = format!(
        "repository `{name}` ({url}) has no default branch: its HEAD names one that is not there; there are {}",
        listed.join(", ")
    );
    Some(Error::new(Class::NotFound, message).hint(format!("name the branch, for example `ref: {first}`")))
}

fn missing(source: &Source) -> Error {
    let Source { name, url, .. } = source;
    let message = match &source.reference {
        None => format!("repository `{name}` ({url}) is empty"),
        Some(reference)
            if reference.len() < 40 && reference.len() >= 7 && reference.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            format!(
                "repository `{name}` ({url}) has neither a branch nor a tag `{reference}`; a commit needs all 40 digits"
            )
        }
        Some(reference) if reference.starts_with("refs/") => {
            format!("repository `{name}` ({url}) has no `{reference}`")
        }
        Some(reference) => format!("repository `{name}` ({url}) has neither a branch nor a tag `{reference}`"),
    };
    Error::new(Class::NotFound, message)
}

#[cfg(test)]
mod tests {
    use model::Repository;

    use super::*;

    fn source(reference: Option<&str>, commit: Option<&str>) -> Source {
        Source::new(&Repository {
            name: "x".into(),
            url: "https://h/x.git".into(),
            reference: reference.map(Into::into),
            commit: commit.map(Into::into),
        })
        .unwrap()
    }

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn server() -> Advertised {
        Advertised::parse(&format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/heads/v1\n{c}\trefs/tags/v1\n{d}\trefs/tags/v1^{{}}\n{d}\trefs/tags/light\n{a}\trefs/heads/refs/tags/v9\n",
            a = id('a'),
            b = id('b'),
            c = id('c'),
            d = id('d'),
        ))
    }

    #[test]
    fn references_resolve_as_git_resolves_them() {
        let table = [
            (source(None, None), id('a'), Some("refs/heads/main"), None),
            (source(Some("main"), None), id('a'), Some("refs/heads/main"), None),
            (source(Some("v1"), None), id('d'), Some("refs/tags/v1"), Some(id('c'))),
            (source(Some("refs/heads/v1"), None), id('b'), Some("refs/heads/v1"), None),
            (source(Some("light"), None), id('d'), Some("refs/tags/light"), None),
            (source(Some("main"), Some(&id('e'))), id('e'), Some("refs/heads/main"), None),
            (source(Some("v1"), Some(&id('d'))), id('d'), Some("refs/tags/v1"), Some(id('c'))),
        ];
        for (source, commit, reference, tag) in table {
            let pin = resolve(&source, &server()).unwrap();
            assert_eq!(pin, Pin { commit, reference: reference.map(Into::into), tag }, "{source:?}");
        }
    }

    /// A version bumped without its commit would put the old content under
    /// the new name.
    #[test]
    fn a_tag_that_is_another_commit_is_an_error() {
        let error = resolve(&source(Some("v1"), Some(&id('e'))), &server()).unwrap_err();
        assert!(error.message().contains(&id('d')) && error.message().contains(&id('e')), "{error}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        for reference in ["v9", "refs/tags/v2", "0123abc"] {
            let error = resolve(&source(Some(reference), None), &server()).unwrap_err();
            assert_eq!(error.class(), Class::NotFound);
            assert!(error.message().contains(reference), "{error}");
        }
        assert!(resolve(&source(None, None), &Advertised::default()).unwrap_err().message().contains("empty"));
        let headless = Advertised::parse(&format!("{}\trefs/heads/main\n{}\trefs/heads/dev\n", id('a'), id('b')));
        let error = resolve(&source(None, None), &headless).unwrap_err();
        assert!(error.message().ends_with("there are `dev`, `main`"), "{error}");
        assert_eq!(resolve(&source(Some("main"), None), &headless).unwrap().commit, id('a'));
    }

    #[test]
    fn the_lock_answers_unless_the_pin_changed() {
        let locked =
            LockedRepository { commit: id('a'), reference: Some("refs/heads/main".into()), tag: None, build: None };
        assert_eq!(known(&source(Some("main"), None), Some(&locked)).unwrap().commit, id('a'));
        assert_eq!(known(&source(Some("main"), Some(&id('a'))), Some(&locked)).unwrap().commit, id('a'));
        assert!(known(&source(Some("main"), Some(&id('b'))), Some(&locked)).is_none());
        assert!(known(&source(Some("main"), None), None).is_none());
        assert_eq!(known(&source(None, Some(&id('b'))), Some(&locked)).unwrap().commit, id('b'));
    }

    #[test]
    fn the_package_holds_what_zarf_would_push() {
        let pin = |reference: Option<&str>, tag| Pin { commit: id('a'), reference: reference.map(Into::into), tag };
        let (references, head) = pin(Some("refs/heads/main"), None).packaged();
        assert_eq!((references.len(), head.as_str()), (1, "refs/heads/main"));
        let (references, head) = pin(Some("refs/tags/v1"), Some(id('c'))).packaged();
        assert_eq!(references["refs/tags/v1"], id('c'));
        assert_eq!((references[&head].clone(), head.as_str()), (id('a'), "refs/heads/zarf-ref-v1"));
        let (references, head) = pin(None, None).packaged();
        assert_eq!((references.len(), head), (1, format!("refs/heads/zarf-ref-{}", id('a'))));
    }
}
