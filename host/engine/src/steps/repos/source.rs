//! What components.yaml says about a repository, checked and taken apart.

use model::Repository;

use base::error::{Error, Result};
use config::airgap_lock::AirgapLock;
use disk::tree::check_path;

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
    pub lock_key: String,
}

impl Source {
    /// # Errors
    /// `invalid-input` where git would not fetch it, or Zarf not find it.
    pub(super) fn new(repository: &Repository) -> Result<Self> {
        let Repository { name, url, .. } = repository;
        let commit = repository.commit.clone().filter(|commit| !commit.is_empty() && commit != "HEAD");
        let reference = repository.reference.clone().filter(|reference| !reference.is_empty());
        check_path(name)?;
        if name.contains('/') {
            return Err(Error::invalid(format!("the repository name `{name}` contains a slash")));
        }
        let last = last_component(name, url)?;
        if let Some(commit) = &commit {
            check_commit(name, commit)?;
        }
        if let Some(reference) = &reference {
            check_reference(name, reference)?;
        }
        if let (Some(reference), Some(commit)) = (&reference, &commit)
            && is_commit(reference)
            && reference != commit
        {
            return Err(Error::invalid(format!(
                "repository `{name}` names two commits: `ref` {reference} and `commit` {commit}"
            ))
            .hint("keep one of them in components.yaml"));
        }
        let zarf_reference = match reference.as_ref().or(commit.as_ref()) {
            Some(reference) => format!("{url}@{reference}"),
            None => url.clone(),
        };
        let folder = format!("{last}-{}", crc32fast::hash(zarf_reference.as_bytes()));
        let lock_key = AirgapLock::repository_key(repository);
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

/// 40 lowercase hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The last component of the URL without `.git`, by Zarf's own rule
/// (`proto://host/…/repo[.git]`), which is narrower than git's.
fn last_component<'a>(name: &str, url: &'a str) -> Result<&'a str> {
    let refuse = |why: &str, hint: &str| {
        let shown: String = url.chars().take(200).flat_map(char::escape_default).collect();
        Err(Error::invalid(format!("the URL `{shown}` of repository `{name}` {why}")).hint(hint.to_owned()))
    };
    let Some((protocol, rest)) = url.split_once("://") else {
        return refuse(
            "has no protocol, which Zarf needs",
            "write `https://host/path`, `ssh://git@host/path` instead of `git@host:path`, or `file:///absolute/path`",
        );
    };
    if !["https", "http", "ssh", "file"].contains(&protocol) {
        return refuse("has a protocol that is not supported", "use https, http, ssh or file");
    }
    if protocol == "file" && !rest.starts_with('/') {
        return refuse("is not absolute", "write `file:///absolute/path`");
    }
    let user = rest.split('/').next().and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    if user.is_some_and(|user| user.contains(':') || protocol != "ssh") {
        return Err(Error::invalid(format!("the URL of repository `{name}` contains credentials"))
            .hint("remove them and use a git credential helper"));
    }
    let Some((_, last)) = rest.rsplit_once('/') else {
        return refuse("has no path", "name the repository: `https://host/path/name.git`");
    };
    let repository = last.strip_suffix(".git").unwrap_or(last);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if repository.is_empty() || !repository.chars().all(plain) {
        return refuse(
            "does not end in a plain name, so Zarf cannot name the repository",
            "the last component may hold letters, digits, `.`, `_`, `-`, and no slash at the end",
        );
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) || check_path(repository).is_err() {
        return refuse("holds characters that a package cannot hold", "use a plain URL");
    }
    Ok(repository)
}

fn check_commit(name: &str, commit: &str) -> Result<()> {
    if is_commit(commit) {
        return Ok(());
    }
    let long = commit.len() == 64 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let why = if long { "is of a SHA-256 repository, which Zarf cannot push" } else { "is not a full commit" };
    Err(Error::invalid(format!("the commit `{commit}` of repository `{name}` {why}"))
        .hint("write all 40 lowercase hexadecimal digits, as `git rev-parse` prints them"))
}

/// What git allows as a name and Zarf finds after the `@`.
fn check_reference(name: &str, reference: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let sound = reference.chars().all(plain)
        && !reference.starts_with(['-', '/', '+'])
        && !reference.ends_with(".lock")
        && !reference.contains("..")
        && check_path(reference).is_ok();
    if sound {
        return Ok(());
    }
    let shown: String = reference.chars().take(100).flat_map(char::escape_default).collect();
    Err(Error::invalid(format!("the ref `{shown}` of repository `{name}` cannot be carried in a Zarf package")).hint(
        "Zarf takes letters, digits, `.`, `_`, `-`, `+` and `/`, and no Windows device name; pin the commit instead",
    ))
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

    #[test]
    fn what_zarf_could_not_name_or_git_should_not_fetch_is_refused() {
        let commit = "0123456789012345678901234567890123456789";
        for bad in [
            "git@github.com:a/b.git",
            "/srv/a.git",
            "ext::sh -c true",
            "git://host/a.git",
            "https://me:secret@host/a.git",
            "https://token@host/a.git",
            "https://host",
            "https://host/a/",
            "https://host/a b",
            "file://host/a",
            "https://host/aux.git",
        ] {
            let error = Source::new(&repository(bad, None, None)).unwrap_err();
            assert!(!error.message().contains("secret"), "{error}");
        }
        for bad in ["-x", "a b", "a:b", "x..y", "con", "a@{1}", "x.lock"] {
            assert!(Source::new(&repository("https://h/a", Some(bad), None)).is_err(), "{bad}");
        }
        for bad in ["abc", "HEAD~1", &"a".repeat(64), &commit.replace('0', "A")] {
            assert!(Source::new(&repository("https://h/a", None, Some(bad))).is_err(), "{bad}");
        }
        assert!(Source::new(&repository("https://h/a", Some(&"b".repeat(40)), Some(commit))).is_err());
        assert!(Source::new(&repository("ssh://git@h/a.git", Some("release/1.0+x"), Some(commit))).is_ok());
        assert!(Source::new(&repository("file:///srv/a.git", None, Some("HEAD"))).unwrap().commit.is_none());
    }

    #[test]
    fn a_commit_is_known_without_asking() {
        let commit = "0123456789012345678901234567890123456789";
        let named = |reference, pinned| {
            let source = Source::new(&repository("https://h:1/a", reference, pinned)).unwrap();
            (source.named_commit().is_some(), source.lock_key)
        };
        assert_eq!(named(None, Some(commit)), (true, format!("https://h:1/a {commit}")));
        assert_eq!(named(Some(commit), None), (true, format!("https://h:1/a {commit}")));
        assert_eq!(named(Some("v1"), Some(commit)), (false, "https://h:1/a v1".to_owned()));
        assert_eq!(named(None, None), (false, "https://h:1/a HEAD".to_owned()));
        assert_eq!(Source::new(&repository("ssh://git@h:1/a", None, None)).unwrap().origin(), "h:1");
    }
}
