//! The names of images and repositories, apart from what moves of them.

/// Repository and tag. What is pinned by a digest has that as its tag's end.
pub(super) fn split_image(reference: &str) -> (&str, &str) {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let tag_at = name.rfind(':').filter(|at| !name[*at..].contains('/'));
    match tag_at {
        Some(at) => (&reference[..at], &reference[at + 1..]),
        None => (name, reference.get(name.len() + 1..).unwrap_or_default()),
    }
}

/// URL and reference, as zarf.yaml writes both in one.
pub(crate) fn split_url(url: &str) -> (&str, &str) {
    let path_at = url.find("://").and_then(|at| url[at + 3..].find('/').map(|slash| at + 3 + slash)).unwrap_or(0);
    match url[path_at..].rfind('@') {
        Some(at) => (&url[..path_at + at], &url[path_at + at + 1..]),
        None => (url, ""),
    }
}
