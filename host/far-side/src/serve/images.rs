//! What the registry serves: repositories with their tags, manifests, blobs, and
//! the names that each repository answers to.
//!
//! A repository is known by its full name, `docker.io/library/nginx`. Clients
//! ask for it in other ways as well: with the port of its registry spelled as
//! names allow it (`registry.example.com_5000/team/app`), with the registry in
//! `?ns=`, as containerd asks a mirror, and by its path alone (`library/nginx`),
//! as everybody asks a mirror who knows only one registry. Where a path alone
//! could mean several, Docker Hub is meant, and nothing where that has none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::content::Source;
use base::digest::Digest;
use base::error::{Error, Result};
use base::reference::Reference;

const DOCKER_HUB: &str = "docker.io";
/// What its clients call it where they ask a mirror.
const OTHER_HUBS: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// A manifest or an index.
#[derive(Clone)]
pub(super) struct Manifest {
    /// Of a chart, whatever it is called.
    pub(super) is_chart: bool,
    pub(super) media_type: String,
    pub(super) source: Source,
}

/// A manifest that is about another one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Referrer {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A tag, and the package that says what it is.
struct Tag {
    digest: Digest,
    package: String,
}

/// All of it.
#[derive(Default)]
pub(super) struct Images {
    /// By full name; an empty map where all are pinned by digests.
    repositories: BTreeMap<String, BTreeMap<String, Tag>>,
    /// What has a digest for its name alone.
    pinned: BTreeSet<(String, Digest)>,
    manifests: HashMap<Digest, Manifest>,
    blobs: HashMap<Digest, Source>,
    referrers: HashMap<Digest, Vec<Referrer>>,
    /// Full names by whatever else they answer to.
    aliases: HashMap<String, BTreeSet<(Rank, String)>>,
    registries: BTreeSet<String>,
}

/// How well a name fits: the lesser the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Full,
    /// The path of a repository of Docker Hub.
    Hub,
    Path,
}

/// What a client asks for, by whichever name.
pub(super) struct Repository<'a> {
    images: &'a Images,
    /// Full names, the best first.
    names: Vec<(Rank, &'a str)>,
}

/// Why a tag is not given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoTag {
    Unknown,
    /// Several repositories answer to the name, with different images.
    Ambiguous(Vec<String>),
}

impl Images {
    /// # Errors
    /// `invalid-input` where the tag is another image in another package.
    pub(super) fn add(&mut self, reference: &Reference, digest: Digest, package: &str) -> Result<()> {
        self.answer_to(&reference.name(), reference);
        self.registries.insert(reference.registry().to_owned());
        self.add_named(&reference.name(), reference.tag(), digest, package)
    }

    /// The same of what has no registry.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn add_named(&mut self, name: &str, tag: Option<&str>, digest: Digest, package: &str) -> Result<()> {
        self.aliases.entry(name.to_owned()).or_default().insert((Rank::Full, name.to_owned()));
        let tags = self.repositories.entry(name.to_owned()).or_default();
        let Some(tag) = tag else {
            self.pinned.insert((name.to_owned(), digest));
            return Ok(());
        };
        match tags.get(tag).filter(|known| known.digest != digest) {
            None => {
                tags.entry(tag.to_owned()).or_insert_with(|| Tag { digest, package: package.to_owned() });
                Ok(())
            }
            Some(known) => {
                let Tag { digest: other, package: first } = known;
                Err(Error::invalid(format!("`{name}:{tag}` is {other} in `{first}` and {digest} in `{package}`"))
                    .hint("serve one of the two packages; a tag can be only one image"))
            }
        }
    }

    fn answer_to(&mut self, full: &str, reference: &Reference) {
        let (registry, path) = (reference.registry(), reference.repository());
        let mut add = |alias: String, rank| {
            self.aliases.entry(alias).or_default().insert((rank, full.to_owned()));
        };
        add(spelled(full), Rank::Full);
        let rank = if registry == DOCKER_HUB { Rank::Hub } else { Rank::Path };
        add(path.to_owned(), rank);
        if let (Rank::Hub, Some(official)) = (rank, path.strip_prefix("library/")) {
            add(official.to_owned(), rank);
            add(format!("{DOCKER_HUB}/{official}"), Rank::Full);
        }
    }

    pub(super) fn add_manifest(&mut self, digest: Digest, manifest: Manifest) {
        self.manifests.entry(digest).or_insert(manifest);
    }

    pub(super) fn add_blob(&mut self, digest: Digest, source: Source) {
        self.blobs.entry(digest).or_insert(source);
    }

    pub(super) fn add_referrer(&mut self, subject: Digest, referrer: Referrer) {
        let known = self.referrers.entry(subject).or_default();
        if known.iter().all(|other| other.digest != referrer.digest) {
            known.push(referrer);
        }
    }

    /// What answers to `name`; in the registry `namespace` where that is told.
    pub(super) fn repository(&self, name: &str, namespace: Option<&str>) -> Option<Repository<'_>> {
        let all = self.aliases.get(name).into_iter().flatten().map(|(rank, full)| (*rank, full.as_str()));
        let names: Vec<(Rank, &str)> = match namespace.filter(|namespace| !namespace.is_empty()) {
            None => all.collect(),
            Some(namespace) => {
                let hub = OTHER_HUBS.contains(&namespace);
                let full = format!("{}/{name}", if hub { DOCKER_HUB } else { namespace });
                let told = self.aliases.get(&full).into_iter().flatten().filter(|(rank, _)| *rank == Rank::Full);
                // A mirror whose address ends in the registry says it twice.
                let twice = all.filter(|(rank, full)| {
                    *rank == Rank::Full && full.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('/'))
                });
                told.map(|(rank, full)| (*rank, full.as_str())).chain(twice).collect()
            }
        };
        (!names.is_empty()).then_some(Repository { images: self, names })
    }

    pub(super) fn manifest(&self, digest: Digest) -> Option<&Manifest> {
        self.manifests.get(&digest)
    }

    /// A blob; manifests are blobs as well.
    pub(super) fn blob(&self, digest: Digest) -> Option<&Source> {
        self.blobs.get(&digest)
    }

    pub(super) fn referrers(&self, subject: Digest) -> &[Referrer] {
        self.referrers.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// Full names, as a client can ask for them.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.repositories.keys().map(|name| spelled(name)).collect();
        names.sort();
        names
    }

    /// Full names with their tags and digests.
    pub(super) fn tags(&self) -> impl Iterator<Item = (&str, &str, Digest)> {
        let of = |(name, tags)| {
            let tags: &BTreeMap<String, Tag> = tags;
            let name: &String = name;
            tags.iter().map(move |(tag, known)| (name.as_str(), tag.as_str(), known.digest))
        };
        self.repositories.iter().flat_map(of)
    }

    /// Full names with the digests that they are pinned to.
    pub(super) fn pinned(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.pinned.iter().map(|(name, digest)| (name.as_str(), *digest))
    }

    /// The registries that the images are from.
    pub(super) fn registries(&self) -> &BTreeSet<String> {
        &self.registries
    }
}

impl Repository<'_> {
    /// # Errors
    /// Where no repository, or more than one, has it.
    pub(super) fn tag(&self, tag: &str) -> Result<Digest, NoTag> {
        let found: Vec<(Rank, &str, Digest)> = self
            .names
            .iter()
            .filter_map(|(rank, name)| Some((*rank, *name, self.of(name)?.get(tag)?.digest)))
            .collect();
        let Some(best) = found.first().map(|(rank, ..)| *rank) else { return Err(NoTag::Unknown) };
        let best: Vec<&(Rank, &str, Digest)> = found.iter().filter(|(rank, ..)| *rank == best).collect();
        match best.as_slice() {
            [(.., first), rest @ ..] if rest.iter().all(|(.., digest)| digest == first) => Ok(*first),
            several => Err(NoTag::Ambiguous(several.iter().map(|(_, name, _)| (*name).to_owned()).collect())),
        }
    }

    /// All tags, in the order of the alphabet.
    pub(super) fn tags(&self) -> BTreeSet<&str> {
        self.names.iter().filter_map(|(_, name)| self.of(name)).flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    fn of(&self, name: &str) -> Option<&BTreeMap<String, Tag>> {
        self.images.repositories.get(name)
    }
}

/// A full name as the distribution specification allows it: no colon before a
/// port.
pub(super) fn spelled(name: &str) -> String {
    match name.split_once('/') {
        Some((registry, path)) => format!("{}/{path}", spelled_registry(registry)),
        None => name.to_owned(),
    }
}

/// A registry, as a part of a name.
pub(crate) fn spelled_registry(registry: &str) -> String {
    registry.replace([':', '[', ']'], "_").trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(references: &[(&str, &[u8])]) -> Images {
        let mut images = Images::default();
        for (reference, content) in references {
            images.add(&Reference::parse(reference).unwrap(), Digest::of(content), "a").unwrap();
        }
        images
    }

    fn found(images: &Images, name: &str, namespace: Option<&str>, tag: &str) -> Option<Digest> {
        images.repository(name, namespace)?.tag(tag).ok()
    }

    #[test]
    fn an_image_answers_to_the_names_that_mirrors_use() {
        let images =
            images(&[("nginx:1", b"hub"), ("quay.io/library/nginx:1", b"quay"), ("r.test:5000/team/app:1", b"r")]);
        let (hub, quay, other) = (Digest::of(b"hub"), Digest::of(b"quay"), Digest::of(b"r"));
        for (name, namespace, expected) in [
            ("docker.io/library/nginx", None, Some(hub)),
            ("docker.io/nginx", None, Some(hub)),
            ("library/nginx", None, Some(hub)),
            ("nginx", None, Some(hub)),
            ("library/nginx", Some("docker.io"), Some(hub)),
            ("nginx", Some("docker.io"), Some(hub)),
            ("library/nginx", Some("registry-1.docker.io"), Some(hub)),
            ("library/nginx", Some(""), Some(hub)),
            ("library/nginx", Some("quay.io"), Some(quay)),
            ("quay.io/library/nginx", Some("quay.io"), Some(quay)),
            ("quay.io/library/nginx", None, Some(quay)),
            ("quay.io/library/nginx", Some("docker.io"), None),
            ("library/nginx", Some("ghcr.io"), None),
            ("team/app", None, Some(other)),
            ("team/app", Some("r.test:5000"), Some(other)),
            ("r.test_5000/team/app", None, Some(other)),
            ("app", None, None),
        ] {
            assert_eq!(found(&images, name, namespace, "1"), expected, "{name} {namespace:?}");
        }
        assert_eq!(images.names(), ["docker.io/library/nginx", "quay.io/library/nginx", "r.test_5000/team/app"]);
    }

    #[test]
    fn a_path_that_could_mean_two_images_means_none() {
        let images = images(&[("a.io/team/app:1", b"a"), ("b.io/team/app:1", b"b"), ("b.io/team/app:2", b"b2")]);
        let repository = images.repository("team/app", None).unwrap();
        let both = vec!["a.io/team/app".to_owned(), "b.io/team/app".to_owned()];
        assert_eq!(repository.tag("1"), Err(NoTag::Ambiguous(both)));
        assert_eq!(repository.tag("2"), Ok(Digest::of(b"b2")));
        assert_eq!(repository.tag("3"), Err(NoTag::Unknown));
        assert_eq!(repository.tags().into_iter().collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn a_tag_is_one_image_in_all_packages() {
        let mut images = images(&[("nginx:1", b"one")]);
        let reference = Reference::parse("nginx:1").unwrap();
        images.add(&reference, Digest::of(b"one"), "b").unwrap();
        let error = images.add(&reference, Digest::of(b"two"), "b").unwrap_err();
        for part in ["docker.io/library/nginx:1", "`a`", "`b`"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
}
