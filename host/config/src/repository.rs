//! What may be said of a git repository: its URL, ref and commit, as git takes
//! them and Zarf names them.
//!
//! components.yaml is judged by it, and whatever a step is handed in its place.

use model::Repository;
use model::problem::{Problem, YamlPath, redacted, shown};
use model::zarf::{RepositoryUrl, path_problem};

use crate::web::{url_problem, without_ssh_user};

/// What git may clone from: what Zarf can name as well, and no helper programs
/// (`ext::`).
const PROTOCOLS: [&str; 4] = ["https", "http", "ssh", "file"];

/// Everything that is wrong with the URL, the ref and the commit of a
/// repository that stands at `path`.
pub fn problems(repository: &Repository, path: &YamlPath) -> Vec<Problem> {
    let Repository { url, reference, commit, .. } = repository;
    let (reference, commit) = (reference.as_deref(), commit.as_deref());
    let mut problems = Vec::new();
    let at = path.key("url");
    problems.extend(url_of(url, &at).or_else(|| last_component(url, &at)));
    problems.extend(reference.and_then(|reference| reference_problem(reference, &path.key("ref"))));
    problems.extend(commit.and_then(|commit| commit_problem(commit, &path.key("commit"))));
    if let (Some(reference), Some(commit)) = (reference.filter(|it| is_commit(it)), commit.filter(|it| is_commit(it)))
        && reference != commit
    {
        problems.push(Problem::new(
            &path.key("commit"),
            format!("there are two commits: `ref` says {reference} and `commit` says {commit}"),
            "keep one of them",
        ));
    }
    problems
}

/// A full commit as git prints it: 40 lowercase hexadecimal digits. Zarf
/// cannot push repositories of the SHA-256 format, whose commits have 64.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Beside web addresses `ssh://git@host/path`, whose user is no secret, and
/// `file:///path`, which has no host.
fn url_of(text: &str, path: &YamlPath) -> Option<Problem> {
    if let Some(rest) = text.strip_prefix("file://") {
        if rest.starts_with('/') && !rest.contains(char::is_control) {
            return None;
        }
        let message = format!("`{}` is not absolute", shown(text));
        return Some(Problem::new(path, message, "write file:///absolute/path"));
    }
    let text = without_ssh_user(text);
    let authority = text.strip_prefix("ssh://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if authority.starts_with('-') || authority.contains('%') {
        let message = format!("`{}` would be an option of ssh", shown(&redacted(&text)));
        return Some(Problem::new(path, message, "write ssh://git@host/path"));
    }
    url_problem(&text, &PROTOCOLS, path)
}

/// Zarf names a repository by the last component of its URL
/// (`proto://host/…/repo[.git]`), which is narrower than git's own rule.
fn last_component(url: &str, path: &YamlPath) -> Option<Problem> {
    let last = url.rsplit_once('/').map_or("", |(_, last)| last);
    let name = RepositoryUrl::parse(url).filter(|parsed| parsed.reference.is_none()).map(|parsed| parsed.name);
    let is_named = name.is_some_and(|name| name == last.strip_suffix(".git").unwrap_or(last));
    let why = match name.filter(|_| is_named).map(path_problem) {
        Some(None) => return None,
        Some(Some(why)) => format!("ends in a name that {why}"),
        None => "does not end in a plain name".to_owned(),
    };
    Some(Problem::new(
        path,
        format!("`{}` {why}, so Zarf cannot name the repository", shown(&redacted(url))),
        "the last part of the path may hold letters, digits, `.`, `_` and `-`, and no slash at the end",
    ))
}

/// What git allows as a name (git-check-ref-format) and Zarf finds after the
/// `@` of a URL.
fn reference_problem(text: &str, path: &YamlPath) -> Option<Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let is_sound = text.chars().all(plain)
        && text.len() <= 255
        && !text.starts_with(['-', '+', '.'])
        && !text.contains("..")
        && !text.ends_with(".lock")
        && path_problem(text).is_none();
    (!is_sound).then(|| {
        Problem::new(
            path,
            format!("`{}` is not the name of a branch, tag or commit that a package can carry", shown(text)),
            "write it as git shows it, for example `master` or `v2.29.0`, with letters, digits, `.`, `_`, `-`, `+` \
             and `/`, and no Windows device name; or pin the commit instead",
        )
    })
}

fn commit_problem(text: &str, path: &YamlPath) -> Option<Problem> {
    if text == "HEAD" || is_commit(text) {
        return None;
    }
    let why = match text.len() == 64 && is_hexadecimal(text) {
        true => "is a commit of a SHA-256 repository, which Zarf cannot push",
        false => "is not a full commit",
    };
    Some(Problem::new(
        path,
        format!("`{}` {why}", shown(text)),
        "write all 40 lowercase hexadecimal digits, as `git rev-parse` prints them, or HEAD to follow `ref`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn found(url: &str, reference: Option<&str>, commit: Option<&str>) -> Vec<String> {
        let repository = Repository {
            name: "x".into(),
            url: url.into(),
            reference: reference.map(Into::into),
            commit: commit.map(Into::into),
        };
        problems(&repository, &YamlPath::root()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_zarf_could_not_name_or_git_should_not_fetch_is_refused() {
        for bad in [
            "git@github.com:a/b.git",
            "/srv/a.git",
            "ext::sh -c true",
            "git://host/a.git",
            "https://me:secret@host/a.git",
            "https://token@host/a.git",
            "https://host",
            "https://host/",
            "https://host/a/",
            "https://host/a b",
            "https://host/a@b",
            "https://host/.git",
            "file://host/a",
            "file:///srv/a/",
            "https://host/aux.git",
            "https://host/a?b",
        ] {
            let found = found(bad, None, None);
            assert!(found.len() == 1 && found[0].starts_with("url: "), "{bad}: {found:?}");
            assert!(!found[0].contains("secret"), "{found:?}");
        }
        for bad in
            ["", "-x", "a b", "a:b", "x..y", "con", "a@b", "a@{1}", "x.lock", "a#b", "ümlaut", "a//b", "/a", "a/", ".a"]
        {
            let found = found("https://h/a", Some(bad), None);
            assert!(found.len() == 1 && found[0].starts_with("ref: "), "{bad}: {found:?}");
        }
        for bad in ["", "abc", "HEAD~1", &"a".repeat(64), &COMMIT.replace('0', "A")] {
            let found = found("https://h/a", None, Some(bad));
            assert!(found.len() == 1 && found[0].starts_with("commit: "), "{bad}: {found:?}");
        }
        assert_eq!(found("https://h/a", Some(&"b".repeat(40)), Some(COMMIT)).len(), 1, "two commits");
    }

    #[test]
    fn what_both_take_passes() {
        for (url, reference, commit) in [
            ("https://github.com/a/b", Some("release-2.28"), Some("HEAD")),
            ("ssh://git@h:2222/team/a.git", Some("release/1.0+x"), Some(COMMIT)),
            ("file:///srv/git/a.git", None, None),
            ("https://h/a", Some(COMMIT), Some(COMMIT)),
            ("https://h/a", Some("refs/tags/v0.16.0"), None),
        ] {
            assert_eq!(found(url, reference, commit), [""; 0], "{url}");
        }
    }
}
