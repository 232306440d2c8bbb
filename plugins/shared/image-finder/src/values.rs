//! The images that a document names.
//!
//! There is no standard for it. What is recognised:
//! - `image: repo:tag`, and any key that ends in `image`, with `tag` or
//!   `imageTag` beside it where the text has none;
//! - maps of `registry`, `repository` (or `image`, `name`, `repo`), `tag` (or
//!   `version`), `digest` (or `sha`), as most charts write them, `reference` of a
//!   volume, and whatever `override` puts in their place;
//! - `global.hub` with `global.tag`;
//! - lists and maps under a key that ends in `images`;
//! - environment entries whose name contains `IMAGE`, and arguments like
//!   `--acme-http01-solver-image=repo:tag`, in one item or in two.
//!
//! What is switched off by `enabled: false` is left out. Nothing is guessed: a
//! reference that only a running chart completes is told with the reason, be it a
//! template, a number that is printed as another text, or a tag that nobody
//! wrote. Only where a container of a manifest has none is it what the kubelet
//! completes.

use model::image::ImageName;

use crate::command::{self, Command, Named};
use crate::naming::{ends_in_image, has_tag, is_flag_of_image, is_list_of_images, is_template, names_an_image};
use crate::template::EACH;
use crate::yaml::{Node, Value};

/// An image reference as far as the text has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// `quay.io/jetstack/cert-manager-controller:v1.16.2`.
    pub image: String,
    /// Which file, as [`Node::file`] counts.
    pub file: u16,
    /// From 1.
    pub line: u32,
    /// Where in the values: `controller.image`. Empty for what is in no map.
    pub path: String,
    /// Why the text is no whole reference; none where it is one.
    pub doubt: Option<Doubt>,
}

/// Why nobody knows what a text becomes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// It holds a template, or a variable that somebody else fills in.
    Template,
    /// It has neither tag nor digest.
    NoTag,
    /// It is a number without quotes, and printed as another text.
    Number(String),
    /// What it comes to is no reference.
    Malformed,
    /// White space is a part of it.
    Blank,
    /// `global.imageRegistry` is set, and not all charts heed it.
    GlobalRegistry,
    /// A field changes the reference in a way that only the chart knows.
    Field(String),
    /// The chart's template does something with it that cannot be followed.
    Unfollowed,
    /// The documents of one values file say different things.
    Documents,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Template => f.write_str("it is an image only once its template is resolved"),
            Self::NoTag => f.write_str("it has neither tag nor digest"),
            Self::Number(printed) => write!(f, "without quotes it is a number, which Helm prints as `{printed}`"),
            Self::Malformed => f.write_str("it is no image reference"),
            Self::Blank => f.write_str(
                "a line break or blank is a part of it: write it on one line, without blanks around it (`|-` in the place of `|`)",
            ),
            Self::GlobalRegistry => {
                f.write_str("`global.imageRegistry` is set, and whether the chart heeds it here is not known")
            }
            Self::Field(name) => write!(f, "`{name}` changes it, and how only the chart knows"),
            Self::Documents => f.write_str(
                "values in several documents: Helm 3 reads the first, Helm 4 all of them, and they name other images",
            ),
            Self::Unfollowed => f.write_str("the chart's template makes something of it that only a rendering tells"),
        }
    }
}

/// Every image that `root` names, in the order of the text.
pub(crate) fn find(root: &Node) -> Vec<Found> {
    let global = root.get("global");
    let text = |key: &str| global.and_then(|global| global.text_of(key)).map(str::to_owned);
    let mut finder = Finder {
        registry: text("imageRegistry"),
        hub: text("hub"),
        tag: text("tag"),
        variant: text("variant"),
        path: Vec::new(),
        found: Vec::new(),
    };
    finder.walk("", root, NodeContext::Map);
    finder.found
}

/// Texts of several lines that may name an image: a chart prints them into a
/// manifest, as they are or by `tpl`.
pub(crate) fn texts(root: &Node) -> Vec<&Node> {
    let mut found = Vec::new();
    let mut left = vec![root];
    while let Some(node) = left.pop() {
        match &node.value {
            Value::Scalar { text, plain } if is_command(text) || !plain && is_text_of_images(text) => found.push(node),
            Value::Scalar { .. } => {}
            Value::List(items) => left.extend(items.iter().rev()),
            Value::Map(_) if node.get("enabled").and_then(Node::as_bool) == Some(false) => {}
            Value::Map(entries) => left.extend(entries.iter().rev().map(|(_, node)| node)),
        }
    }
    found
}

fn is_text_of_images(text: &str) -> bool {
    let is_open = text.contains('\n') || text.starts_with(['{', '[']) && !text.starts_with("{{");
    is_open && text.to_ascii_lowercase().contains("image")
}

/// Whether a text runs something with an image.
fn is_command(text: &str) -> bool {
    let has_flag = || {
        command::words(text)
            .any(|(_, word)| ends_in_image(word.split('=').next().unwrap_or(word)) && word.starts_with("--"))
    };
    text.contains(' ') && (command::is_in(text) || has_flag())
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq)]
enum NodeContext {
    Map,
    /// An item of `containers` and its like.
    Container,
    /// Within a map or list whose key ends in `images`.
    Images,
}

struct Finder {
    registry: Option<String>,
    hub: Option<String>,
    tag: Option<String>,
    variant: Option<String>,
    path: Vec<String>,
    found: Vec<Found>,
}

/// The parts of a map that describes an image.
struct Parts<'a> {
    registry: Option<&'a Node>,
    repository: &'a Node,
    tag: Option<&'a Node>,
    digest: Option<&'a Node>,
    whole: bool,
}

impl Finder {
    fn walk(&mut self, key: &str, node: &Node, place: NodeContext) {
        match &node.value {
            Value::Scalar { .. } => {}
            Value::List(items) => self.list(key, items),
            Value::Map(_) if node.get("enabled").and_then(Node::as_bool) == Some(false) => {}
            Value::Map(entries) => {
                let is_described = self.described(key, node, place);
                if !is_described {
                    self.texts(node, entries, place);
                }
                self.environment(node);
                for (key, node) in entries {
                    let is_within = place == NodeContext::Images || is_list_of_images(key);
                    let inner = if is_within { NodeContext::Images } else { NodeContext::Map };
                    self.path.push(key.clone());
                    self.walk(key, node, inner);
                    self.path.pop();
                }
            }
        }
    }

    fn list(&mut self, key: &str, items: &[Node]) {
        let is_list_of_images = is_list_of_images(key);
        // `["--image", "x:1"]`.
        let mut flag = false;
        let mut command = Command::default();
        self.path.push(EACH.to_owned());
        for item in items {
            // Texts with blanks are looked at by themselves.
            let named = item.text().filter(|text| !text.contains(' ')).and_then(|text| command.word(text));
            match item.text() {
                Some(text) if let Some(Named::Set(start)) = named => self.argument_value(&text[start..], item, true),
                Some(text)
                    if named.is_some() && text.contains('/') && has_tag(text) && ImageName::parse(text).is_ok() =>
                {
                    self.push(text, item, Some(Doubt::Unfollowed));
                }
                Some(text) if is_list_of_images && may_be_an_image("", text) => self.reference(text, item),
                Some(text) if flag && !text.starts_with('-') => self.argument_value(text, item, true),
                Some(text) => self.argument(text, item),
                None if key.ends_with("ontainers") => self.walk("", item, NodeContext::Container),
                None if is_list_of_images => self.walk("", item, NodeContext::Images),
                None => self.walk("", item, NodeContext::Map),
            }
            flag =
                item.text().is_some_and(|text| text.starts_with('-') && !text.contains('=') && is_flag_of_image(text));
        }
        self.path.pop();
    }

    /// A map that describes one image; false where it does not.
    fn described(&mut self, key: &str, map: &Node, place: NodeContext) -> bool {
        if let Some((name, node)) = override_of(map) {
            self.path.push(name.to_owned());
            self.reference(node.text().unwrap_or_default(), node);
            self.path.pop();
            return true;
        }
        match parts(key, map, place) {
            _ if self.nvidia(map) => {}
            Some(parts) => self.assemble(map, &parts),
            None if is_unread(key, map) => self.push(&format!("{key}: {}", abridged(map)), map, Some(Doubt::Malformed)),
            None => return false,
        }
        true
    }

    /// nvidia: `repository: nvcr.io/nvidia`, `image: driver`, `version: …`.
    fn nvidia(&mut self, map: &Node) -> bool {
        let part = |name: &str| map.get(name).filter(|node| node.text().is_some_and(|text| !text.is_empty()));
        let (Some(repository), Some(image), Some(version)) = (part("repository"), part("image"), part("version"))
        else {
            return false;
        };
        let [place, name, tag] = [repository, image, version].map(|node| node.text().unwrap_or_default());
        let separator = if tag.starts_with("sha256:") { '@' } else { ':' };
        let text = format!("{}/{}{separator}{}", place.trim(), name.trim(), tag.trim());
        match number(version).or_else(|| blank(&[place, name, tag])) {
            Some(doubt) => self.push(&text, image, Some(doubt)),
            None => self.reference(&text, image),
        }
        true
    }

    /// `image: repo:tag` and its like.
    fn texts(&mut self, map: &Node, entries: &[(String, Node)], place: NodeContext) {
        for (key, node) in entries {
            let Some(text) = node.text().filter(|text| !text.is_empty()) else { continue };
            if matches!(node.scalar(), Some(crate::scalar::Scalar::Bool(_))) {
                continue;
            }
            self.path.push(key.clone());
            let (image, variant) = self.with_hub(text, map);
            if names_an_image(key) {
                match tag_beside(map, key) {
                    Some(tag) if !has_tag(&image) => self.tagged(&image, tag, node),
                    None if place == NodeContext::Container && key == "image" && !is_template(&image) => {
                        self.push(&image, node, None);
                    }
                    _ if variant => self.push(&image, node, Some(Doubt::Field("global.variant".to_owned()))),
                    _ => self.reference(&image, node),
                }
            } else if place == NodeContext::Images && may_be_an_image(key, text) {
                self.reference(text, node);
            } else if key.contains("IMAGE_") && key.to_uppercase() == *key {
                self.complete(text, node);
            }
            self.path.pop();
        }
    }

    /// A text with the tag that stands beside it.
    fn tagged(&mut self, image: &str, tag: &Node, node: &Node) {
        let written = tag.text().unwrap_or_default();
        let text = format!("{}:{}", image.trim(), written.trim());
        match number(tag).or_else(|| blank(&[image, written])) {
            Some(doubt) => self.push(&text, node, Some(doubt)),
            None => self.reference(&text, node),
        }
    }

    /// istio: `hub: docker.io/istio`, `image: proxyv2`.
    fn with_hub(&self, text: &str, map: &Node) -> (String, bool) {
        let hub = map.text_of("hub").or(self.hub.as_deref());
        match (hub, map.text_of("tag").or(self.tag.as_deref())) {
            (Some(hub), Some(tag)) if !text.contains(['/', ':', '{']) => {
                (format!("{hub}/{text}:{tag}"), self.variant.is_some() || map.text_of("variant").is_some())
            }
            _ => (text.to_owned(), false),
        }
    }

    fn environment(&mut self, map: &Node) {
        let (Some(name), Some(value)) = (map.text_of("name"), map.get("value")) else { return };
        let name = name.to_ascii_uppercase();
        let Some(text) = value.text().filter(|_| name.contains("IMAGE")) else { return };
        let is_sure = name.ends_with("IMAGE") || name.ends_with("IMAGES");
        // strimzi: a line for each version, `3.9.0=quay.io/…:tag`.
        if text.trim().contains('\n') {
            let images = text.split_whitespace().filter_map(|line| line.rsplit('=').next());
            images.for_each(|image| self.argument_value(image, value, is_sure));
        } else {
            self.argument_value(text, value, is_sure);
        }
    }

    /// `--prometheus-config-reloader=quay.io/…:v1`.
    fn argument(&mut self, text: &str, node: &Node) {
        // Several in one text: `--a=b --image=x:1`.
        for part in text.split_whitespace() {
            let Some((flag, value)) = part.split_once('=') else { continue };
            if flag.starts_with('-') && is_flag_of_image(flag) {
                self.argument_value(value, node, ends_in_image(flag));
            }
        }
    }

    /// One reference or several. Without tag it counts where it must be one.
    fn argument_value(&mut self, text: &str, node: &Node, is_sure: bool) {
        let (text, whole) = (text.trim(), text);
        for text in text.trim_matches(['"', '\'']).split(',') {
            if has_tag(text) && ImageName::parse(text).is_ok() && blank(&[whole]).is_some() {
                self.push(text, node, Some(Doubt::Blank));
            } else if is_template(text) && is_sure {
                self.push(text, node, Some(Doubt::Template));
            } else if is_sure && text.contains('/') && !text.contains("://") && ImageName::parse(text).is_ok() {
                self.reference(text, node);
            } else {
                self.complete(text, node);
            }
        }
    }

    /// A text that is an image only if it is complete: with a tag or digest.
    fn complete(&mut self, text: &str, node: &Node) {
        if has_tag(text) && ImageName::parse(text).is_ok() {
            self.push(text, node, None);
        }
    }

    fn assemble(&mut self, map: &Node, parts: &Parts<'_>) {
        let Some(repository) = parts.repository.text() else { return };
        let own = parts.registry.and_then(Node::text);
        let mut image = match own.filter(|own| !own.is_empty()) {
            Some(registry) => format!("{}/{}", registry.trim().trim_end_matches('/'), repository.trim()),
            None => repository.trim().to_owned(),
        };
        let tag = parts.tag.filter(|tag| tag.text().is_some_and(|text| !text.is_empty()));
        let mut doubt = parts.tag.filter(|_| tag.is_some()).and_then(number);
        if let Some(tag) = tag.and_then(Node::text) {
            image.push(':');
            image.push_str(tag.trim());
            if map.get("rootless").and_then(Node::as_bool) == Some(true) && !tag.ends_with("-rootless") {
                image.push_str("-rootless");
            }
        }
        let is_used = map.get("useDigest").and_then(Node::as_bool) != Some(false);
        let written = parts.digest.and_then(Node::text).filter(|digest| !digest.is_empty() && is_used);
        if let Some(digest) = written.map(str::trim) {
            image.push('@');
            image.push_str(&if digest.contains(':') { digest.to_owned() } else { format!("sha256:{digest}") });
        }
        let texts = [own, Some(repository), tag.and_then(Node::text), written];
        doubt = doubt.or_else(|| blank(&texts.map(Option::unwrap_or_default)));
        if let Some(global) = self.registry.as_deref().filter(|_| !parts.whole) {
            let written =
                own.map_or_else(|| ImageName::parse(&image).map(|name| name.registry).ok(), |own| Some(own.to_owned()));
            doubt = doubt.or((written.as_deref() != Some(global)).then_some(Doubt::GlobalRegistry));
        }
        doubt = doubt.or_else(|| changed_by(map).map(Doubt::Field));
        match doubt {
            Some(doubt) => self.push(&image, parts.repository, Some(doubt)),
            None => self.reference(&image, parts.repository),
        }
    }

    /// What must be an image, and is told where it is no whole one.
    fn reference(&mut self, image: &str, node: &Node) {
        let doubt = if is_template(image) {
            Some(Doubt::Template)
        } else if is_prose(image) {
            return;
        } else if ImageName::parse(image).is_err() {
            Some(Doubt::Malformed)
        } else {
            (!has_tag(image)).then_some(Doubt::NoTag)
        };
        self.push(image, node, doubt);
    }

    fn push(&mut self, image: &str, node: &Node, doubt: Option<Doubt>) {
        // What a container names is what the kubelet gets.
        let doubt = doubt
            // Said again below, where nothing better is known.
            .filter(|doubt| *doubt != Doubt::Malformed)
            .or_else(|| blank(&[image]).filter(|_| !is_prose(image)))
            .or_else(|| ImageName::parse(image).err().map(|_| Doubt::Malformed));
        if doubt == Some(Doubt::Malformed) && is_prose(image) && !image.contains(": {") {
            return;
        }
        self.found.push(Found {
            image: image.split_whitespace().collect::<Vec<_>>().join(" "),
            file: node.file,
            line: node.line,
            path: self.path.join("."),
            doubt,
        });
    }
}

/// Whether one of the parts of a reference has white space around or in it; not in
/// what a template makes of it.
fn blank(parts: &[&str]) -> Option<Doubt> {
    parts.iter().any(|part| part.contains(char::is_whitespace) && !is_template(part)).then_some(Doubt::Blank)
}

/// A description.
fn is_prose(text: &str) -> bool {
    text.trim().contains(char::is_whitespace)
}

/// A tag without quotes that Helm prints as another text.
fn number(node: &Node) -> Option<Doubt> {
    let text = node.text()?;
    let printed = node.scalar()?.printed()?;
    (printed != *text).then_some(Doubt::Number(printed))
}

/// Charts put this in the place of everything else.
fn override_of(map: &Node) -> Option<(&str, &Node)> {
    let is_override = |key: &str| matches!(key, "override" | "fullOverride" | "imageOverride" | "overrideImage");
    let about_an_image = map.get("repository").is_some() || map.get("tag").is_some();
    let mut entries = map.entries().iter().filter(|(key, _)| about_an_image && is_override(key));
    entries.find(|(_, node)| node.text().is_some_and(|text| !text.is_empty())).map(|(key, node)| (key.as_str(), node))
}

/// A field that is set and is part of the reference in the charts that have it.
fn changed_by(map: &Node) -> Option<String> {
    let is_part = |key: &str| {
        let key = key.to_ascii_lowercase();
        ["suffix", "prefix", "variant", "flavor", "flavour", "distroless", "chroot", "edition"]
            .iter()
            .any(|part| key.ends_with(part))
    };
    let mut entries = map.entries().iter().filter(|(key, _)| is_part(key));
    entries.find(|(_, node)| node.is_truthy() != Some(false) && !node.is_map()).map(|(key, _)| key.clone())
}

/// Whether a map is called an image and says parts of one, in words that are not
/// known here.
fn is_unread(key: &str, map: &Node) -> bool {
    let says = |name: &str| map.get(name).and_then(Node::text).is_some_and(|text| !text.is_empty());
    let key = key.to_ascii_lowercase();
    let is_image = key == "image" || key.ends_with("image");
    is_image && ["registry", "tag", "digest", "sha", "repositoryname"].iter().any(|name| says(name))
}

/// The texts of a map in one line.
fn abridged(map: &Node) -> String {
    let texts = map.entries().iter().filter_map(|(key, node)| Some(format!("{key}: {}", node.text()?)));
    let texts: Vec<String> = texts.take(4).collect();
    format!("{{{}}}", texts.join(", ")).chars().take(200).collect()
}

/// Whether a map describes an image, and with which words.
fn parts<'a>(key: &str, map: &'a Node, place: NodeContext) -> Option<Parts<'a>> {
    let scalar = |name: &str| map.get(name).filter(|node| node.text().is_some_and(|text| !text.is_empty()));
    let is_image = names_an_image(key);
    let about_images = is_image || map.get("pullPolicy").is_some() || map.get("imagePullPolicy").is_some();
    let tag = ["tag", "imageTag", "version"].iter().find_map(|name| map.get(name));
    let digest = ["digest", "sha", "sha256"].iter().find_map(|name| scalar(name));
    let registry = scalar("registry");
    if let Some(reference) = scalar("reference").filter(|_| is_image) {
        return Some(Parts { registry: None, repository: reference, tag: None, digest: None, whole: true });
    }
    let repository =
        match (scalar("repository").or_else(|| scalar("repo").filter(|_| is_image)), scalar("image"), scalar("name")) {
            (Some(repository), _, _) => repository,
            (None, Some(image), _) if registry.is_some() => image,
            (None, None, Some(name))
                if is_image || place == NodeContext::Images && (tag.is_some() || digest.is_some()) =>
            {
                name
            }
            _ => return None,
        };
    let described = about_images
        || registry.is_some()
        || map.get("tag").is_some()
        || digest.is_some()
        || place == NodeContext::Images;
    let is_place = repository.text().is_some_and(|text| text.contains("://"));
    (described && !is_place).then_some(Parts { registry, repository, tag, digest, whole: false })
}

/// Of a list or map of images, whose fields may be about other things.
fn may_be_an_image(key: &str, text: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_other = ["registry", "policy", "secret", "repository", "tag", "digest", "version", "name", "hub", "url"];
    text.contains(['/', ':']) && !text.contains("://") && !is_other.iter().any(|word| key.contains(word))
}

/// `imageTag` beside `image`, `sidecarImageTag` beside `sidecarImage`,
/// `image_tag` beside `image_repo`.
fn tag_beside<'a>(map: &'a Node, key: &str) -> Option<&'a Node> {
    let stem = key.trim_end_matches("Repository").trim_end_matches("Name").trim_end_matches("_repo");
    let names =
        [format!("{key}Tag"), format!("{stem}Tag"), format!("{stem}_tag"), "tag".to_owned(), "version".to_owned()];
    // `tag` speaks for `image` alone.
    let count = if stem == "image" { names.len() } else { 3 };
    let is_said = |node: &&Node| node.text().is_some_and(|text| !text.is_empty());
    names.iter().take(count).find_map(|name| map.get(name).filter(is_said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn images(text: &str) -> Vec<String> {
        find(&parse(text).unwrap()).into_iter().filter(|f| f.doubt.is_none()).map(|f| f.image).collect()
    }

    /// The spellings of charts that many platforms deploy.
    #[test]
    fn the_usual_spellings() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let table: &[(&str, &str, &[&str])] = &[
            (
                "cert-manager",
                "image:\n  repository: quay.io/jetstack/cert-manager-controller\n  pullPolicy: IfNotPresent\nwebhook:\n  image:\n    repository: quay.io/jetstack/cert-manager-webhook\n    tag: v1.16.2\n",
                &["quay.io/jetstack/cert-manager-webhook:v1.16.2"],
            ),
            (
                "ingress-nginx",
                "controller:\n  image:\n    chroot: false\n    registry: registry.k8s.io\n    image: ingress-nginx/controller\n    tag: \"v1.11.3\"\n    digest: DIGEST\n",
                &["registry.k8s.io/ingress-nginx/controller:v1.11.3@DIGEST"],
            ),
            (
                "kube-prometheus-stack",
                "image:\n  registry: quay.io\n  repository: prometheus/prometheus\n  tag: v3.0.0\n  sha: \"\"\nprometheusConfigReloader:\n  image: {registry: quay.io, repository: po/reloader, tag: v0.78, sha: SHA}\n",
                &["quay.io/prometheus/prometheus:v3.0.0", "quay.io/po/reloader:v0.78@DIGEST"],
            ),
            (
                "tigera",
                "tigeraOperator:\n  image: tigera/operator\n  version: v1.36.2\n  registry: quay.io\ncalicoctl:\n  image: docker.io/calico/ctl\n  tag: v3.29.1\n",
                &["quay.io/tigera/operator:v1.36.2", "docker.io/calico/ctl:v3.29.1"],
            ),
            (
                "flux",
                "helmController:\n  image: ghcr.io/fluxcd/helm-controller\n  tag: v1.1.0\n",
                &["ghcr.io/fluxcd/helm-controller:v1.1.0"],
            ),
            (
                "gitea",
                "image:\n  registry: docker.gitea.com\n  repository: gitea\n  tag: \"1.24\"\n  rootless: true\n",
                &["docker.gitea.com/gitea:1.24-rootless"],
            ),
            (
                "bitnami",
                "global:\n  imageRegistry: \"\"\nimage:\n  registry: docker.io\n  repository: bitnami/redis\n  tag: 7.4.1\nmetrics:\n  enabled: off\n  image: {registry: docker.io, repository: bitnami/exporter, tag: 1}\n",
                &["docker.io/bitnami/redis:7.4.1"],
            ),
            (
                "istio",
                "global:\n  hub: docker.io/istio\n  tag: 1.24.0\n  proxy:\n    image: proxyv2\n",
                &["docker.io/istio/proxyv2:1.24.0"],
            ),
            (
                "flat",
                "image: nginx:1.27\nsidecarImage: busybox\nsidecarImageTag: \"1.36\"\nimageRepository: quay.io/a/b\nimageTag: v9\n",
                &["nginx:1.27", "busybox:1.36", "quay.io/a/b:v9"],
            ),
            (
                "lists",
                "extraImages:\n- quay.io/a/b:1\n- notes\nargs:\n- --acme-http01-solver-image=quay.io/j/solver:v1\n- --v=2\nenv:\n- name: RELATED_IMAGE_X\n  value: quay.io/c/d:2\n- name: OTHER\n  value: a:b\n",
                &["quay.io/a/b:1", "quay.io/j/solver:v1", "quay.io/c/d:2"],
            ),
            ("digest only", "image: {repository: a/b, digest: DIGEST}\n", &["a/b@DIGEST"]),
            (
                "nvidia",
                "driver: {repository: nvcr.io/nvidia, image: driver, version: \"550\"}\n",
                &["nvcr.io/nvidia/driver:550"],
            ),
            (
                "cilium",
                "image: {override: quay.io/c/d:2, repository: a/b, tag: v1}\noperator: {image: {repository: a/c, tag: v1, digest: DIGEST, useDigest: false, override: null}}\n",
                &["quay.io/c/d:2", "a/c:v1"],
            ),
            ("folded", "image:\n  repository: a/b\n  tag: |-\n    v1\n", &["a/b:v1"]),
            ("a command", "args: [kubectl, set, image, deploy/x, app=a/b:1]\n", &["a/b:1"]),
            (
                "args",
                "args: [--sidecarImage=x:1, \"-image=y/z:2\", \"--images=a/b:1,c/d:2\", --image, e/f:3, \"--v=1 --image=g/h:4\"]\n",
                &["x:1", "y/z:2", "a/b:1", "c/d:2", "e/f:3", "g/h:4"],
            ),
            (
                "maps of images",
                "images: {controller: quay.io/a/b:1, web: {name: a/web, tag: v2}, job: {image: a/job, tag: v3}, pullPolicy: Always, registry: \"quay.io:5000\"}\nkubeImages: [{name: a/c, tag: v4}]\n",
                &["quay.io/a/b:1", "a/web:v2", "a/job:v3", "a/c:v4"],
            ),
            ("a volume", "volumes: [{name: x, image: {reference: a/b:1, pullPolicy: Always}}]\n", &["a/b:1"]),
            (
                "numbers that stay",
                "image: {repository: a/b, tag: 7}\nxImage: {repository: a/c, tag: 1.27}\n",
                &["a/b:7", "a/c:1.27"],
            ),
            ("environment", "env: {RELATED_IMAGE_X: a/b:1, B_IMAGE: a/c:2}\n", &["a/b:1", "a/c:2"]),
            ("registry without one", "image: {registry: \"\", repository: a/b, tag: 1}\n", &["a/b:1"]),
            (
                "manifest",
                "spec:\n  template:\n    spec:\n      containers:\n      - name: x\n        image: quay.io/a/b:1\n",
                &["quay.io/a/b:1"],
            ),
        ];
        for (name, text, expected) in table {
            let text = text.replace("DIGEST", &digest).replace("SHA", &"ab".repeat(32));
            let expected: Vec<String> = expected.iter().map(|image| image.replace("DIGEST", &digest)).collect();
            assert_eq!(images(&text), expected, "{name}");
        }
    }

    #[test]
    fn what_only_looks_like_an_image_is_left_out() {
        for text in [
            "image: true\n",
            "image: \"\"\n",
            "repository: https://github.com/a/b\ntag: v1\n",
            "git: {repository: a/b, branch: main}\n",
            "properties: {image: {type: string, description: The image.}}\n",
            "imagePullPolicy: Always\nimagePullSecrets: []\n",
            "image: Not An Image\n",
            "args: [--config=/etc/x:y]\n",
        ] {
            assert_eq!(images(text), Vec::<String>::new(), "{text}");
        }
    }

    /// What is no whole reference by itself is never completed, and never lost.
    #[test]
    fn what_nobody_knows_is_told_with_the_reason() {
        let number = |text: &str| Doubt::Number(text.to_owned());
        let field = |name: &str| Doubt::Field(name.to_owned());
        let table: Vec<(&str, &str, Option<Doubt>)> = vec![
            ("image: {repository: registry/app}\n", "registry/app", Some(Doubt::NoTag)),
            ("image: registry/app\n", "registry/app", Some(Doubt::NoTag)),
            ("image: registry:5000/app\n", "registry:5000/app", Some(Doubt::NoTag)),
            ("image: {repository: a/b, tag: null}\n", "a/b", Some(Doubt::NoTag)),
            ("image: {repository: a/b, tag: \"\"}\n", "a/b", Some(Doubt::NoTag)),
            ("containers: [{name: x, image: busybox}]\n", "busybox", None),
            ("spec: {initContainers: [{image: a/b}]}\n", "a/b", None),
            ("image: {repository: a/b, tag: 1.10}\n", "a/b:1.10", Some(number("1.1"))),
            ("image: {repository: a/b, tag: 010}\n", "a/b:010", Some(number("8"))),
            ("image: {repository: a/b, tag: 1e3}\n", "a/b:1e3", Some(number("1000"))),
            ("image: {repository: a/b, tag: 20240101}\n", "a/b:20240101", Some(number("2.0240101e+07"))),
            ("image: {repository: a/b, tag: no}\n", "a/b:no", Some(number("false"))),
            ("image: {repository: a/b, tag: .5}\n", "a/b:.5", Some(number("0.5"))),
            ("image: {repository: a/b, tag: +1}\n", "a/b:+1", Some(number("1"))),
            ("image: {repository: a/b, tag: 1:30}\n", "a/b:1:30", Some(Doubt::Malformed)),
            ("image: a/b\nimageTag: 1.10\n", "a/b:1.10", Some(number("1.1"))),
            ("image: {repository: a/b, tag: 1.0+build}\n", "a/b:1.0+build", Some(Doubt::Malformed)),
            (
                "image: {repository: a/b, tag: \"{{ .Chart.AppVersion }}\"}\n",
                "a/b:{{ .Chart.AppVersion }}",
                Some(Doubt::Template),
            ),
            ("image: \"${REGISTRY}/x:1\"\n", "${REGISTRY}/x:1", Some(Doubt::Template)),
            (
                "image: {repository: a/b, tag: \"###ZARF_VAR_TAG###\"}\n",
                "a/b:###ZARF_VAR_TAG###",
                Some(Doubt::Template),
            ),
            (
                "global: {imageRegistry: m}\nimage: {registry: q.io, repository: a/b, tag: v1}\n",
                "q.io/a/b:v1",
                Some(Doubt::GlobalRegistry),
            ),
            ("image: {repository: a/b, tag: v1, suffix: -ci}\n", "a/b:v1", Some(field("suffix"))),
            ("image: {repository: a/b, tag: v1, suffix: \"\"}\n", "a/b:v1", None),
            (
                "image: {registry: q.io, path: a/b, tag: v1}\n",
                "image: {registry: q.io, path: a/b, tag: v1}",
                Some(Doubt::Malformed),
            ),
            ("args: [\"--image=quay.io/a/b\"]\n", "quay.io/a/b", Some(Doubt::NoTag)),
            ("env: [{name: X_IMAGE, value: \"$(REPO):1\"}]\n", "$(REPO):1", Some(Doubt::Template)),
            ("images: {web: a/web}\n", "a/web", Some(Doubt::NoTag)),
            (
                "global: {hub: h, tag: t, variant: distroless, proxy: {image: p}}\n",
                "h/p:t",
                Some(field("global.variant")),
            ),
            ("image: {repository: a/b, tag: v1, override: a/c}\n", "a/c", Some(Doubt::NoTag)),
            ("image: UPPER/case:1\n", "UPPER/case:1", Some(Doubt::Malformed)),
            ("image:\n  repository: a/b\n  tag: |\n    v1\n", "a/b:v1", Some(Doubt::Blank)),
            ("image:\n  repository: >\n    a/b\n  tag: v1\n", "a/b:v1", Some(Doubt::Blank)),
            ("image: {registry: \"q.io \", repository: a/b, tag: v1}\n", "q.io/a/b:v1", Some(Doubt::Blank)),
            ("image: |\n  a/b:v1\n", "a/b:v1", Some(Doubt::Blank)),
            ("image: a/b\nimageTag: |\n  v1\n", "a/b:v1", Some(Doubt::Blank)),
            ("containers:\n- image: |\n    a/b:v1\n", "a/b:v1", Some(Doubt::Blank)),
            ("env: [{name: X_IMAGE, value: \"a/b:v1\\n\"}]\n", "a/b:v1", Some(Doubt::Blank)),
            ("args: [--image, \" a/b:v1\"]\n", "a/b:v1", Some(Doubt::Blank)),
            ("args: [set, image, deploy/x, app=a/b]\n", "a/b", Some(Doubt::NoTag)),
            ("args: [docker, pull, a/b:1]\n", "a/b:1", Some(Doubt::Unfollowed)),
        ];
        for (text, image, doubt) in table {
            let found = find(&parse(text).unwrap());
            let found: Vec<(&str, &Option<Doubt>)> = found.iter().map(|one| (one.image.as_str(), &one.doubt)).collect();
            assert_eq!(found, [(image, &doubt)], "{text}");
        }
    }

    #[test]
    fn lines_and_paths_are_right() {
        let found = find(
            &parse("a: 1\nimage: \"{{ repo }}:{{ tag }}\"\nb:\n  image: x:1\nc: {image: {repository: d, tag: e}}\n")
                .unwrap(),
        );
        let found: Vec<(u32, &str)> = found.iter().map(|one| (one.line, one.path.as_str())).collect();
        assert_eq!(found, [(2, "image"), (4, "b.image"), (5, "c.image")]);
    }
}
