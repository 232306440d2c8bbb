//! Addresses of chart repositories.

/// The address of `reference`, found in the index of `repository`: absolute
/// ones stay, others are relative to the repository. The query of the
/// repository (a token of a pre-signed address) goes along, as in Helm.
///
/// # Errors
/// A fragment that says why it is no address to fetch from.
pub fn resolve(repository: &str, reference: &str) -> Result<String, String> {
    let reference = reference.trim();
    let resolved = if has_scheme(reference) {
        reference.to_owned()
    } else {
        let (base, query) = split_query(repository);
        let (origin, path) = split_origin(base);
        let (reference, own_query) = split_query(reference);
        let joined = match reference.strip_prefix('/') {
            Some(host) if host.starts_with('/') => {
                let scheme = origin.split_once("//").map_or("https:", |(scheme, _)| scheme);
                return check(&format!("{scheme}/{host}"));
            }
            Some(absolute) => format!("/{absolute}"),
            None => format!("{}/{reference}", path.trim_end_matches('/')),
        };
        let query = own_query.or(query).map(|query| format!("?{query}")).unwrap_or_default();
        format!("{origin}{}{query}", without_dots(&joined))
    };
    check(&resolved)
}

/// `index.yaml` of the repository.
pub fn index_of(repository: &str) -> String {
    let (base, query) = split_query(repository);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/index.yaml{query}", base.trim_end_matches('/'))
}

fn check(url: &str) -> Result<String, String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err("it is not an address".to_owned()) };
    if !["https", "http", "oci"].contains(&scheme) {
        return Err(format!("`{scheme}` is not supported; https, http and oci are"));
    }
    if rest.split(['/', '?', '#']).next().unwrap_or_default().contains('@') {
        return Err("it contains credentials".to_owned());
    }
    Ok(url.to_owned())
}

fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

fn split_query(url: &str) -> (&str, Option<&str>) {
    let url = url.split('#').next().unwrap_or_default();
    match url.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (url, None),
    }
}

/// `https://host` and `/path`.
fn split_origin(url: &str) -> (&str, &str) {
    let after = url.find("://").map_or(0, |at| at + 3);
    match url[after..].find('/') {
        Some(slash) => url.split_at(after + slash),
        None => (url, ""),
    }
}

fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_as_helm_resolves_them() {
        let table = [
            ("https://h/charts", "a-1.tgz", "https://h/charts/a-1.tgz"),
            ("https://h/charts/", "a-1.tgz", "https://h/charts/a-1.tgz"),
            ("https://h/charts/", "./x/../a-1.tgz", "https://h/charts/a-1.tgz"),
            ("https://h/charts/stable", "../a-1.tgz", "https://h/charts/a-1.tgz"),
            ("https://h", "a-1.tgz", "https://h/a-1.tgz"),
            ("https://h/charts", "/a-1.tgz", "https://h/a-1.tgz"),
            ("http://h:8080/charts", "//cdn.example/a.tgz", "http://cdn.example/a.tgz"),
            ("https://h/charts?token=1", "a.tgz", "https://h/charts/a.tgz?token=1"),
            ("https://h/charts", "https://other/a.tgz", "https://other/a.tgz"),
            ("https://h/charts", "oci://reg/charts/a:1", "oci://reg/charts/a:1"),
            ("https://h/charts", "../../../../a.tgz", "https://h/a.tgz"),
        ];
        for (repository, reference, expected) in table {
            assert_eq!(resolve(repository, reference).as_deref(), Ok(expected), "{repository} {reference}");
        }
        for bad in ["file:///etc/passwd", "https://me:secret@h/a.tgz", "ftp://h/a"] {
            let error = resolve("https://h", bad).unwrap_err();
            assert!(!error.contains("secret"));
        }
        assert_eq!(index_of("https://h/c/?t=1"), "https://h/c/index.yaml?t=1");
    }
}
