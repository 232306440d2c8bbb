//! What becomes what.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Serialize;
use url::Url;

use crate::serve::{Carried, Library, spelled_registry};
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::reference::Reference;

/// Stands for the name of a repository in the address of a git server.
const NAME: &str = "{{name}}";

/// An image, a chart or a repository, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `image`, `chart` or `repository`.
    pub kind: &'static str,
    /// As it is in the package: `docker.io/library/nginx:1.27`,
    /// `https://github.com/team/app.git@v1`.
    pub old: String,
    /// As it is there: `registry.example.com/mirror/library/nginx:1.27`,
    /// `https://git.example.com/team/app.git`.
    pub new: String,
    /// Of its manifest or index; None of a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Where to.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// A registry with or without a prefix; None where nothing goes to one.
    pub registry: Option<&'a str>,
    /// The address below which repositories lie.
    pub git: Option<&'a str>,
}

/// What of a package is wanted.
#[derive(Clone, Debug)]
pub struct PushFilter {
    /// Whether images are.
    pub images: bool,
    /// Whether charts are.
    pub charts: bool,
    /// Of old names: `*` stands for anything, `?` for one character.
    pub pattern: Option<String>,
    /// Whether the registry of an image is a part of its new path.
    pub keeps_registry: bool,
}

/// Names what is to be sent.
///
/// # Errors
/// `usage` where a target is none; `invalid-input` where two would have one name
/// there.
pub fn plan(library: &Library, targets: Targets<'_>, wanted: &PushFilter) -> Result<Vec<Item>> {
    let pattern = wanted.pattern.as_deref().map(matcher);
    let is_chosen = |old: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(old));
    let mut items: Vec<Item> = Vec::new();
    if let Some(registry) = targets.registry {
        images(library, registry, wanted, is_chosen, &mut items)?;
    }
    if let Some(git) = targets.git {
        repositories(library, git, wanted, is_chosen, &mut items)?;
    }
    Ok(items)
}

fn images(
    library: &Library,
    target: &str,
    wanted: &PushFilter,
    is_chosen: impl Fn(&str) -> bool,
    items: &mut Vec<Item>,
) -> Result<()> {
    let target = target.trim_start_matches("oci://").trim_end_matches('/');
    let mut taken: BTreeMap<String, (String, Digest)> = BTreeMap::new();
    for carried in library.carried() {
        let is_wanted = if carried.is_chart { wanted.charts } else { wanted.images };
        let old = carried.name();
        if !is_wanted || !is_chosen(&old) {
            continue;
        }
        let new = renamed(target, &carried, wanted.keeps_registry)?;
        if let Some((other, digest)) = taken.insert(new.clone(), (old.clone(), carried.digest)) {
            if digest != carried.digest {
                return Err(one_name(&other, &old, &new, "--keep-registry"));
            }
            continue;
        }
        let kind = if carried.is_chart { "chart" } else { "image" };
        items.push(Item { kind, old, new, digest: Some(carried.digest) });
    }
    Ok(())
}

/// Several references of one repository go to one place.
fn repositories(
    library: &Library,
    target: &str,
    wanted: &PushFilter,
    is_chosen: impl Fn(&str) -> bool,
    items: &mut Vec<Item>,
) -> Result<()> {
    // Whatever is in the package, a wrong address is told.
    moved(target, "host/path", wanted.keeps_registry)?;
    let mut taken: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for repository in library.repositories().filter(|repository| is_chosen(&repository.url)) {
        let new = moved(target, &repository.place, wanted.keeps_registry)?;
        let (other, place) = *taken.entry(new.clone()).or_insert((&repository.url, &repository.place));
        if place != repository.place {
            return Err(one_name(other, &repository.url, &new, "--keep-registry, or {{name}} left out of --git"));
        }
        items.push(Item { kind: "repository", old: repository.url.clone(), new, digest: None });
    }
    Ok(())
}

fn one_name(one: &str, other: &str, new: &str, how: &str) -> Error {
    Error::invalid(format!("`{one}` and `{other}` would both be `{new}`"))
        .hint(format!("keep them apart with {how}, or choose with --match"))
}

/// The new address of a repository that is known by host and path.
fn moved(target: &str, place: &str, keeps_host: bool) -> Result<String> {
    let usage = |why: &str| {
        Error::new(Class::Usage, format!("`{target}` is no address of a git server: {why}")).hint(
            "write it as `https://git.example.com[/path]`; {{name}} in it stands for the name of a repository alone",
        )
    };
    let target = target.trim_end_matches('/');
    let path = if keeps_host { place } else { place.split_once('/').map_or(place, |(_, path)| path) };
    let name = path.rsplit('/').next().unwrap_or_default();
    let new = match target.contains(NAME) {
        true => target.replace(NAME, name),
        false => format!("{target}/{path}"),
    };
    let url = Url::parse(&new).map_err(|_| usage("it is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::new(Class::Usage, "the address of the git server holds credentials")
            .hint("leave them out and run `docker login` for its host"));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(usage("repositories are sent over http and https alone"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(usage("there is more in it than a path"));
    }
    Ok(format!("{}.git", new.trim_end_matches(".git")))
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
    fn a_repository_keeps_its_path() {
        let place = "github.com/kubernetes-sigs/kubespray";
        for (target, keeps_host, new) in [
            ("https://g.test", false, "https://g.test/kubernetes-sigs/kubespray.git"),
            ("https://g.test:3000/a/", false, "https://g.test:3000/a/kubernetes-sigs/kubespray.git"),
            ("https://g.test", true, "https://g.test/github.com/kubernetes-sigs/kubespray.git"),
            ("https://g.test/mirror/{{name}}", false, "https://g.test/mirror/kubespray.git"),
            ("https://g.test/mirror/{{name}}.git", false, "https://g.test/mirror/kubespray.git"),
        ] {
            assert_eq!(moved(target, place, keeps_host).unwrap(), new);
        }
        let secret = moved("https://user:secret@g.test", place, false).unwrap_err();
        assert!(!format!("{secret:?}").contains("secret@"), "{secret:?}");
        for bad in
            ["g.test", "ssh://git@g.test", "git@g.test:a", "https://g.test?x=1", "https://g.test/#a", "file:///x"]
        {
            assert_eq!(moved(bad, place, false).unwrap_err().class(), Class::Usage, "{bad}");
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
