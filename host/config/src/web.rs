//! URLs of the configuration: which schemes, no credentials.

use model::problem::{Problem, YamlPath, is_secret_query, redacted, shown};
use url::Url;

/// Checks one URL; `schemes` without `://`.
pub(crate) fn url_problem(text: &str, schemes: &[&str], path: &YamlPath) -> Option<Problem> {
    let found = shown(&redacted(text));
    let problem = |message: String, hint: &str| Some(Problem::new(path, message, hint));
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return problem(format!("white space in the URL `{found}`"), "remove it, or write it as %20");
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            let expected = format!("write it in full, beginning with {}://", schemes.join(":// or "));
            return problem(format!("`{found}` is not a URL: {error}"), &expected);
        }
    };
    if !schemes.contains(&url.scheme()) {
        let expected = format!("use {}://", schemes.join(":// or "));
        return problem(format!("`{found}` has the scheme `{}`", url.scheme()), &expected);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return problem(
            format!("credentials in the URL `{found}`"),
            "remove them: they come from docker's config.json or git's own helpers",
        );
    }
    if url.query_pairs().any(|(name, _)| is_secret_query(&name)) {
        return problem(
            format!("credentials in the query of the URL `{found}`"),
            "use an address that needs none: the configuration is meant to be committed",
        );
    }
    if url.host_str().is_none_or(str::is_empty) {
        return problem(format!("`{found}` names no host"), "write scheme://host/path");
    }
    None
}

/// `ssh://git@host/path` without the user, which is no secret there. A password
/// stays, to be found.
pub(crate) fn without_ssh_user(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let user_and_host = text.strip_prefix("ssh://").and_then(|rest| rest.split_once('@'));
    match user_and_host.filter(|(user, _)| user.chars().all(plain) && !user.starts_with('-')) {
        Some((_, host)) => format!("ssh://{host}"),
        None => text.to_owned(),
    }
}

/// `host` or `host:port`, no scheme, no path.
pub(crate) fn host_problem(text: &str, path: &YamlPath) -> Option<Problem> {
    if text.contains("://") {
        let message = format!("`{}` has a scheme", shown(&redacted(text)));
        return Some(Problem::new(path, message, "write the host alone, with its port where it has one"));
    }
    (!model::image::is_registry(text)).then(|| {
        let message = format!("`{}` is not a host name", shown(&redacted(text)));
        Problem::new(path, message, "write host or host:port, for example registry.example.com:5000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_pass() {
        let path = YamlPath::root().key("url");
        for good in ["https://h/x", "http://127.0.0.1:80/x?v=1", "https://[::1]/"] {
            assert_eq!(url_problem(good, &["https", "http"], &path), None, "{good}");
        }
        for (bad, word) in [
            ("", "not a URL"),
            ("h/x", "not a URL"),
            ("ftp://h/x", "scheme `ftp`"),
            ("file:///x", "scheme `file`"),
            ("https://u:hunter2@h/x", "credentials"),
            ("https://hunter2@h/x", "credentials"),
            ("https://h/x?access_token=hunter2", "query"),
            ("https://h/a b", "white space"),
            ("https://", "not a URL"),
        ] {
            let problem = url_problem(bad, &["https", "http"], &path).unwrap_or_else(|| panic!("{bad}"));
            assert!(problem.message.contains(word), "{bad}: {}", problem.message);
            assert!(!problem.message.contains("hunter2"), "{}", problem.message);
        }
    }

    #[test]
    fn hosts_are_plain() {
        let path = YamlPath::root();
        for good in ["docker.io", "localhost:5000", "[::1]:80", "10.0.0.1"] {
            assert_eq!(host_problem(good, &path), None);
        }
        for bad in ["", "https://h", "h/x", "h:x", "u@h"] {
            assert!(host_problem(bad, &path).is_some(), "{bad}");
        }
    }
}
