//! What becomes what.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Serialize;

use crate::serve::{Carried, Library, spelled_registry};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::reference::Reference;

/// An image or a chart, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `image` or `chart`.
    pub kind: &'static str,
    /// As it is in the package: `docker.io/library/nginx:1.27`.
    pub old: String,
    /// As it is there: `registry.example.com/mirror/library/nginx:1.27`.
    pub new: String,
    /// Of its manifest or index.
    pub digest: Digest,
}

/// What of a package is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whether images are.
    pub images: bool,
    /// Whether charts are.
    pub charts: bool,
    /// Of old names: `*` stands for anything, `?` for one character.
    pub pattern: Option<String>,
    /// Whether the registry of an image is a part of its new path.
    pub keeps_registry: bool,
}

/// Names what is to be sent to `target`, a registry with or without a prefix.
///
/// # Errors
/// `usage` where the target is no registry; `invalid-input` where two images
/// would have one name there.
pub fn plan(library: &Library, target: &str, wanted: &Wanted) -> Result<Vec<Item>> {
    let target = target.trim_start_matches("oci://").trim_end_matches('/');
    let pattern = wanted.pattern.as_deref().map(matcher);
    let mut items: Vec<Item> = Vec::new();
    let mut taken: BTreeMap<String, (String, Digest)> = BTreeMap::new();
    for carried in library.carried() {
        let is_wanted = if carried.is_chart { wanted.charts } else { wanted.images };
        let old = carried.name();
        if !is_wanted || pattern.as_ref().is_some_and(|pattern| !pattern.is_match(&old)) {
            continue;
        }
        let new = renamed(target, &carried, wanted.keeps_registry)?;
        if let Some((other, digest)) = taken.insert(new.clone(), (old.clone(), carried.digest)) {
            if digest != carried.digest {
                let message = format!("`{other}` and `{old}` would both be `{new}`");
                return Err(
                    Error::invalid(message).hint("keep them apart with --keep-registry, or choose with --match")
                );
            }
            continue;
        }
        let kind = if carried.is_chart { "chart" } else { "image" };
        items.push(Item { kind, old, new, digest: carried.digest });
    }
    Ok(items)
}

fn renamed(target: &str, carried: &Carried, keeps_registry: bool) -> Result<String> {
    let path = match keeps_registry && !carried.registry.is_empty() {
        true => format!("{}/{}", spelled_registry(&carried.registry), carried.path),
        false => carried.path.clone(),
    };
    let end = match &carried.tag {
        Some(tag) => format!(":{tag}"),
        None => format!("@{}", carried.digest),
    };
    let new = format!("{target}/{path}{end}");
    let host = target.split('/').next().unwrap_or_default();
    let is_registry = host.contains(['.', ':']) || host == "localhost";
    match Reference::parse(&new).ok().filter(|_| is_registry) {
        Some(_) => Ok(new),
        None => Err(Error::new(Class::Usage, format!("`{target}` is no registry, so that `{new}` is no name"))
            .hint("write it as `registry.example.com[:port][/prefix]`")),
    }
}

/// A pattern of whole names.
fn matcher(glob: &str) -> Regex {
    let pattern: String = glob
        .chars()
        .map(|c| match c {
            '*' => ".*".to_owned(),
            '?' => ".".to_owned(),
            c => regex::escape(&c.to_string()),
        })
        .collect();
    // What is escaped is a pattern.
    Regex::new(&format!("^(?s:{pattern})$")).unwrap_or_else(|_| unreachable!())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(registry: &str, path: &str, tag: Option<&str>) -> Carried {
        let digest = Digest::of(path.as_bytes());
        Carried { registry: registry.into(), path: path.into(), tag: tag.map(str::to_owned), digest, is_chart: false }
    }

    #[test]
    fn an_image_keeps_its_path() {
        let nginx = carried("docker.io", "library/nginx", Some("1"));
        assert_eq!(renamed("r.test", &nginx, false).unwrap(), "r.test/library/nginx:1");
        assert_eq!(renamed("r.test:5000/a/b", &nginx, false).unwrap(), "r.test:5000/a/b/library/nginx:1");
        assert_eq!(renamed("r.test", &nginx, true).unwrap(), "r.test/docker.io/library/nginx:1");
        let own = carried("10.0.0.1:5000", "app", None);
        assert_eq!(renamed("r.test", &own, true).unwrap(), format!("r.test/10.0.0.1_5000/app@{}", own.digest));
        for bad in ["registry", "", "r.test/UPPER", "https://r.test", "r.test//a"] {
            assert_eq!(renamed(bad, &nginx, false).unwrap_err().class(), Class::Usage, "{bad}");
        }
    }

    #[test]
    fn a_pattern_is_of_the_whole_name() {
        for (glob, name, fits) in [
            ("*nginx*", "docker.io/library/nginx:1", true),
            ("nginx", "docker.io/library/nginx:1", false),
            ("quay.io/*", "quay.io/a/b:1", true),
            ("quay.io/*", "quayXio/a/b:1", false),
            ("a?c", "abc", true),
            ("a[b]c", "abc", false),
        ] {
            assert_eq!(matcher(glob).is_match(name), fits, "{glob} {name}");
        }
    }
}
