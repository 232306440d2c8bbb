//! Paths of a definition, which are relative to its folder, and of the project,
//! which are relative to the folder that holds config/.

/// Whether a source is fetched: Go's `helpers.IsURL`.
pub fn is_url(source: &str) -> bool {
    let Some((scheme, rest)) = source.split_once("://") else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(plain);
    is_scheme && !rest.is_empty() && !rest.starts_with('/')
}

/// The folder of a file; empty for one at the root.
pub fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Go's `filepath.Join`: what stands behind a `..` goes, and one that leads out
/// stays in front.
pub fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// A source of an imported component as the importing one says it.
pub(super) fn relative_to(source: &str, folder: &str) -> String {
    if is_url(source) || source.starts_with('/') { source.to_owned() } else { joined(folder, source) }
}

/// A path of a definition as one of the project, as components.yaml writes it:
/// `./charts/web`.
///
/// # Errors
/// Why there is none, and what helps.
pub fn of_project(folder: &str, source: &str) -> Result<String, (&'static str, &'static str)> {
    if source.starts_with('/') {
        let hint = "copy it beside the definition and write a relative path, so that it is the same everywhere";
        return Err(("is absolute", hint));
    }
    if source.contains('\\') || source.chars().any(char::is_control) {
        return Err(("contains a backslash or a control character", "separate folders by `/`"));
    }
    let joined = joined(folder, source);
    if joined == ".." || joined.starts_with("../") {
        let hint = "keep config/ in a folder above all that the definition names, and name the definition from there: \
                    `definition: packages/web/zarf.yaml`";
        return Err(("leaves the folder that holds config/", hint));
    }
    if joined == "." {
        return Err(("is the whole project", "name a folder or a file of it"));
    }
    Ok(format!("./{joined}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_as_go_joins_them() {
        for (folder, path, expected) in [
            ("", "a", "a"),
            ("a/b", "../c", "a/c"),
            ("a", "../../c", "../c"),
            ("..", "../c", "../../c"),
            ("a", "..", "."),
            (".", "./x//y/", "x/y"),
        ] {
            assert_eq!(joined(folder, path), expected, "{folder} {path}");
        }
        assert_eq!(relative_to("https://h/x", "a"), "https://h/x");
        assert_eq!(relative_to("../x", "a/b"), "a/x");
        assert!(is_url("oci://h/x") && !is_url("c:/x") && !is_url("file:///x") && !is_url("a/b://c"));
    }

    #[test]
    fn paths_stay_in_the_project() {
        assert_eq!(of_project("packages/web", "../common/x.yaml").unwrap(), "./packages/common/x.yaml");
        for (folder, source) in [("a", "../../x"), ("", ".."), ("", "/etc/passwd"), ("", "a\\b"), ("a", "..")] {
            assert!(of_project(folder, source).is_err(), "{folder} {source}");
        }
    }
}
