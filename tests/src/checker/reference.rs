//! The complete spelling of an image reference, as docker's reference library
//! gives it.

/// `nginx` is `docker.io/library/nginx:latest`.
pub(super) fn normalized(written: &str) -> String {
    let written = written.strip_prefix("oci://").unwrap_or(written);
    let (name, digest) = match written.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (written, None),
    };
    let slash = name.find('/');
    let first = slash.map_or("", |at| &name[..at]);
    let has_domain =
        first.contains('.') || first.contains(':') || first == "localhost" || first != first.to_lowercase();
    let (domain, rest) = if has_domain { (first, &name[first.len() + 1..]) } else { ("docker.io", name) };
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    let (path, tag) = match rest.rfind(':') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let library = if domain == "docker.io" && !path.contains('/') { "library/" } else { "" };
    let mut complete = format!("{domain}/{library}{path}");
    if let Some(tag) = tag.or(if digest.is_none() { Some("latest") } else { None }) {
        complete.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = digest {
        complete.push_str(&format!("@{digest}"));
    }
    complete
}

#[cfg(test)]
mod tests {
    #[test]
    fn references_are_completed() {
        for (written, complete) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("oci://quay.io/a/b", "quay.io/a/b:latest"),
            ("localhost:5000/a:1", "localhost:5000/a:1"),
            ("a/b:1@sha256:00", "docker.io/a/b:1@sha256:00"),
            ("index.docker.io/busybox@sha256:00", "docker.io/library/busybox@sha256:00"),
        ] {
            assert_eq!(super::normalized(written), complete);
        }
    }
}
