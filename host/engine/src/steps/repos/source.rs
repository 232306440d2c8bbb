//! What components.yaml says about a repository, checked and taken apart.

use model::Repository;
use model::problem::YamlPath;
use model::zarf::RepositoryUrl;

use base::error::{Error, Result};
use config::airgap_lock::RepositoryKey;
use config::components::name_problem;
use config::repository::{self, is_commit};

/// A repository that git can fetch and Zarf can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The name in components.yaml, and the folder of the clone.
    pub name: String,
    pub url: String,
    /// Branch, tag or commit as written.
    pub reference: Option<String>,
    /// The commit that components.yaml pins.
    pub commit: Option<String>,
    /// As it is written in zarf.yaml.
    pub zarf_reference: String,
    /// The folder in the package: `<repo>-<crc32>`.
    pub folder: String,
    /// The key in airgap.lock.
    pub lock_key: RepositoryKey,
}

impl Source {
    /// # Errors
    /// `invalid-input` where git would not fetch it, or Zarf not find it.
    pub(super) fn new(repository: &Repository) -> Result<Self> {
        let Repository { name, url, .. } = repository;
        let path = YamlPath::root();
        let of_name = name_problem(name, "a repository", &path.key("name"));
        let mut problems = of_name.into_iter().chain(repository::problems(repository, &path));
        if let Some(problem) = problems.next() {
            let named = format!("the repository `{}`: {problem}", model::problem::shown(name));
            return Err(Error::invalid(named).hint(problem.hint));
        }
        let commit = repository.commit.clone().filter(|commit| commit != "HEAD");
        let reference = repository.reference.clone();
        let zarf_reference = match reference.as_ref().or(commit.as_ref()) {
            Some(reference) => format!("{url}@{reference}"),
            None => url.clone(),
        };
        let folder = RepositoryUrl::folder(&zarf_reference).ok_or_else(|| {
            Error::invalid(format!("Zarf cannot name the repository `{}`", model::problem::shown(name)))
        })?;
        let lock_key = RepositoryKey::of(repository);
        Ok(Self { name: name.clone(), url: url.clone(), reference, commit, zarf_reference, folder, lock_key })
    }

    /// The commit, where components.yaml names one: nothing is left to ask.
    pub(super) fn named_commit(&self) -> Option<&str> {
        match &self.reference {
            None => self.commit.as_deref(),
            Some(reference) => is_commit(reference).then_some(reference),
        }
    }

    /// The server, for the table of failures.
    pub(super) fn origin(&self) -> String {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.is_empty() { "local".to_owned() } else { host.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(url: &str, reference: Option<&str>, commit: Option<&str>) -> Repository {
        Repository {
            name: "x".into(),
            url: url.into(),
            reference: reference.map(Into::into),
            commit: commit.map(Into::into),
        }
    }

    /// Zarf looks for exactly these folders: its own test vectors.
    #[test]
    fn folders_are_named_as_zarf_names_them() {
        let table = [
            ("https://github.com/zarf-dev/zarf.git", None, "zarf-3457133088"),
            ("https://github.com/zarf-dev/zarf.git", Some("refs/tags/v0.16.0"), "zarf-2360044954"),
            ("ssh://ghcr.io/stefanprodan/podinfo", Some("6.0.0"), "podinfo-1350532569"),
        ];
        for (url, reference, folder) in table {
            assert_eq!(Source::new(&repository(url, reference, None)).unwrap().folder, folder);
        }
    }

    /// Whoever made the list: what is wrong with it is told by name.
    #[test]
    fn what_the_configuration_would_refuse_is_refused() {
        let error = Source::new(&repository("https://h/a/", None, None)).unwrap_err();
        assert!(error.message().starts_with("the repository `x`: url: "), "{error}");
        assert!(Source::new(&repository("file:///srv/a.git", None, Some("HEAD"))).unwrap().commit.is_none());
    }

    #[test]
    fn a_commit_is_known_without_asking() {
        let commit = "0123456789012345678901234567890123456789";
        let named = |reference, pinned| {
            let source = Source::new(&repository("https://h:1/a", reference, pinned)).unwrap();
            (source.named_commit().is_some(), source.lock_key)
        };
        assert_eq!(named(None, Some(commit)), (true, RepositoryKey::new("https://h:1/a", commit)));
        assert_eq!(named(Some(commit), None), (true, RepositoryKey::new("https://h:1/a", commit)));
        assert_eq!(named(Some("v1"), Some(commit)), (false, RepositoryKey::new("https://h:1/a", "v1")));
        assert_eq!(named(None, None), (false, RepositoryKey::new("https://h:1/a", "HEAD")));
        assert_eq!(Source::new(&repository("ssh://git@h:1/a", None, None)).unwrap().origin(), "h:1");
    }
}
