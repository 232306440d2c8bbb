//! The images that a document names.
//!
//! There is no standard for it. What is recognised:
//! - `image: repo:tag`, and any key that ends in `image`, with `tag` or
//!   `imageTag` beside it where the text has none;
//! - maps of `registry`, `repository` (or `image`, `name`), `tag` (or
//!   `version`), `digest` (or `sha`), as most charts write them, with the
//!   chart's appVersion where the tag is missing;
//! - `global.imageRegistry`, which replaces every registry, and `global.hub`
//!   with `global.tag`;
//! - lists under a key that ends in `images`;
//! - environment entries whose name contains `IMAGE`, and arguments like
//!   `--acme-http01-solver-image=repo:tag`.
//!
//! What is switched off by `enabled: false` is left out. Reported apart, because
//! nobody knows what they become, are texts with templates in them, and
//! references without tag and digest: only where a container names one is it
//! what the kubelet completes.

use components::image::ImageName;

use crate::yaml::{Node, Value};

/// An image reference as far as the text has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// `quay.io/jetstack/cert-manager-controller:v1.16.2`.
    pub image: String,
    /// From 1.
    pub line: u32,
    /// Whether the tag is not written but the chart's appVersion, which some
    /// charts put a `v` in front of.
    pub tag_from_app_version: bool,
    /// Whether the text is no whole reference: it holds templates, or has
    /// neither tag nor digest.
    pub unresolved: bool,
}

/// What an item of `containers` is called while it is walked.
const CONTAINER: &str = "container";

/// What stands in for what the values leave out.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub app_version: Option<String>,
}

/// Every image that `root` names, in the order of the text.
pub fn find(root: &Node, defaults: &Defaults) -> Vec<Found> {
    let global = root.get("global");
    let text = |key: &str| global.and_then(|global| global.text_of(key)).map(str::to_owned);
    let mut finder = Finder {
        app_version: defaults.app_version.clone(),
        registry: text("imageRegistry"),
        hub: text("hub"),
        tag: text("tag"),
        found: Vec::new(),
    };
    finder.walk("", root);
    finder.found
}

struct Finder {
    app_version: Option<String>,
    registry: Option<String>,
    hub: Option<String>,
    tag: Option<String>,
    found: Vec<Found>,
}

/// The parts of a map that describes an image.
struct Parts<'a> {
    registry: Option<&'a str>,
    repository: &'a Node,
    tag: Option<&'a Node>,
    digest: Option<&'a str>,
}

impl Finder {
    fn walk(&mut self, key: &str, node: &Node) {
        match &node.value {
            Value::Scalar { .. } => {}
            Value::List(items) => self.list(key, items),
            Value::Map(_) if node.get("enabled").and_then(Node::as_bool) == Some(false) => {}
            Value::Map(entries) => {
                if let Some(parts) = parts(key, node) {
                    self.assemble(node, &parts);
                } else {
                    self.texts(node, entries, key == CONTAINER);
                }
                self.environment(node);
                for (key, node) in entries {
                    self.walk(key, node);
                }
            }
        }
    }

    fn list(&mut self, key: &str, items: &[Node]) {
        for item in items {
            match item.text() {
                Some(text) if is_list_of_images(key) => self.complete(text, item.line),
                Some(text) => self.argument(text, item.line),
                None if key.ends_with("ontainers") => self.walk(CONTAINER, item),
                None => self.walk("", item),
            }
        }
    }

    /// `image: repo:tag` and its like.
    fn texts(&mut self, map: &Node, entries: &[(String, Node)], in_container: bool) {
        for (key, node) in entries {
            let Some(text) = node.text().filter(|text| !text.is_empty() && names_an_image(key)) else { continue };
            if node.as_bool().is_some() {
                continue;
            }
            let text = self.with_hub(text, map);
            match tag_beside(map, key) {
                Some(tag) if !has_tag(&text) => self.push(&format!("{text}:{tag}"), node.line, false),
                None if in_container && key == "image" => self.add(Found {
                    unresolved: is_template(&text),
                    image: text,
                    line: node.line,
                    tag_from_app_version: false,
                }),
                _ => self.push(&text, node.line, false),
            }
        }
    }

    /// istio: `hub: docker.io/istio`, `image: proxyv2`.
    fn with_hub(&self, text: &str, map: &Node) -> String {
        let hub = map.text_of("hub").or(self.hub.as_deref());
        match (hub, map.text_of("tag").or(self.tag.as_deref())) {
            (Some(hub), Some(tag)) if !text.contains(['/', ':', '{']) => format!("{hub}/{text}:{tag}"),
            _ => text.to_owned(),
        }
    }

    fn environment(&mut self, map: &Node) {
        let (Some(name), Some(value)) = (map.text_of("name"), map.get("value")) else { return };
        if let Some(text) = value.text()
            && name.to_ascii_uppercase().contains("IMAGE")
        {
            self.complete(text, value.line);
        }
    }

    /// `--prometheus-config-reloader=quay.io/…:v1`.
    fn argument(&mut self, text: &str, line: u32) {
        let Some((flag, value)) = text.strip_prefix("--").and_then(|text| text.split_once('=')) else { return };
        if flag.contains("image") || flag.contains("reloader") {
            self.complete(value, line);
        }
    }

    /// A text that is an image only if it is complete: with a tag or digest.
    fn complete(&mut self, text: &str, line: u32) {
        if has_tag(text) && ImageName::parse(text).is_ok() {
            self.push(text, line, false);
        }
    }

    fn assemble(&mut self, map: &Node, parts: &Parts<'_>) {
        let Some(repository) = parts.repository.text().filter(|text| !text.is_empty()) else { return };
        let registry = self.registry.as_deref().or(parts.registry);
        let mut image = match registry {
            Some(registry) => {
                format!("{}/{}", registry.trim_end_matches('/'), without_registry(repository, parts, self))
            }
            None => repository.to_owned(),
        };
        let tag = parts.tag.and_then(Node::text).filter(|tag| !tag.is_empty());
        let complete = has_tag(repository) && tag.is_none();
        let default = self.app_version.clone().filter(|_| tag.is_none() && !complete && parts.digest.is_none());
        if let Some(tag) = tag.or(default.as_deref()) {
            image.push(':');
            image.push_str(tag);
            if map.get("rootless").and_then(Node::as_bool) == Some(true) && !tag.ends_with("-rootless") {
                image.push_str("-rootless");
            }
        }
        if let Some(digest) = parts.digest {
            image.push('@');
            image.push_str(&if digest.contains(':') { digest.to_owned() } else { format!("sha256:{digest}") });
        }
        self.push(&image, parts.repository.line, default.is_some());
    }

    /// What has neither tag nor digest is no whole reference.
    fn push(&mut self, image: &str, line: u32, tag_from_app_version: bool) {
        let unresolved = is_template(image) || !has_tag(image);
        self.add(Found { image: image.to_owned(), line, tag_from_app_version, unresolved });
    }

    fn add(&mut self, found: Found) {
        if is_template(&found.image) || ImageName::parse(&found.image).is_ok() {
            self.found.push(found);
        }
    }
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("${") || text.contains("$(")
}

/// `global.imageRegistry` replaces the registry, also one that is written
/// into the repository.
fn without_registry<'a>(repository: &'a str, parts: &Parts<'_>, finder: &Finder) -> &'a str {
    if finder.registry.is_none() || parts.registry.is_some() {
        return repository;
    }
    match repository.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
        _ => repository,
    }
}

/// Whether a map describes an image, and with which words.
fn parts<'a>(key: &str, map: &'a Node) -> Option<Parts<'a>> {
    let scalar = |name: &str| map.get(name).filter(|node| node.text().is_some_and(|text| !text.is_empty()));
    let about_images = names_an_image(key) || map.get("pullPolicy").is_some() || map.get("imagePullPolicy").is_some();
    let tag = ["tag", "imageTag", "version"].iter().find_map(|name| map.get(name));
    let digest = ["digest", "sha", "sha256"].iter().find_map(|name| map.text_of(name));
    let registry = map.text_of("registry");
    let repository = match (scalar("repository"), scalar("image"), scalar("name")) {
        // nvidia: `repository: nvcr.io/nvidia`, `image: driver`, `version: …`.
        (Some(_), Some(_), _) if map.get("version").is_some() => return None,
        (Some(repository), _, _) => repository,
        (None, Some(image), _) if registry.is_some() => image,
        (None, None, Some(name)) if names_an_image(key) => name,
        _ => return None,
    };
    let described = about_images || registry.is_some() || map.get("tag").is_some() || digest.is_some();
    let is_place = repository.text().is_some_and(|text| text.contains("://"));
    (described && !is_place).then_some(Parts { registry, repository, tag, digest })
}

fn names_an_image(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("image") || key == "imagename" || key == "imagerepository" || key == "image_repo"
}

fn is_list_of_images(key: &str) -> bool {
    key.to_ascii_lowercase().ends_with("images")
}

/// `imageTag` beside `image`, `sidecarImageTag` beside `sidecarImage`,
/// `image_tag` beside `image_repo`.
fn tag_beside<'a>(map: &'a Node, key: &str) -> Option<&'a str> {
    let stem = key.trim_end_matches("Repository").trim_end_matches("Name").trim_end_matches("_repo");
    let names =
        [format!("{key}Tag"), format!("{stem}Tag"), format!("{stem}_tag"), "tag".to_owned(), "version".to_owned()];
    // `tag` speaks for `image` alone.
    let count = if stem == "image" { names.len() } else { 3 };
    names.iter().take(count).find_map(|name| map.text_of(name))
}

fn has_tag(text: &str) -> bool {
    text.contains('@') || text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn images(text: &str) -> Vec<String> {
        let defaults = Defaults { app_version: Some("1.2.3".into()) };
        find(&parse(text).unwrap(), &defaults).into_iter().filter(|f| !f.unresolved).map(|f| f.image).collect()
    }

    /// The spellings of charts that many platforms deploy.
    #[test]
    fn the_usual_spellings() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let table: &[(&str, &str, &[&str])] = &[
            (
                "cert-manager",
                "image:\n  repository: quay.io/jetstack/cert-manager-controller\n  pullPolicy: IfNotPresent\nwebhook:\n  image:\n    repository: quay.io/jetstack/cert-manager-webhook\n    tag: v1.16.2\n",
                &["quay.io/jetstack/cert-manager-controller:1.2.3", "quay.io/jetstack/cert-manager-webhook:v1.16.2"],
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
                "image:\n  registry: docker.gitea.com\n  repository: gitea\n  tag: \"\"\n  rootless: true\n",
                &["docker.gitea.com/gitea:1.2.3-rootless"],
            ),
            (
                "bitnami",
                "global:\n  imageRegistry: mirror.example:5000\nimage:\n  registry: docker.io\n  repository: bitnami/redis\n  tag: 7.4.1\nmetrics:\n  enabled: false\n  image: {registry: docker.io, repository: bitnami/exporter, tag: 1}\n",
                &["mirror.example:5000/bitnami/redis:7.4.1"],
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
            (
                "null tag",
                "image: {repository: quay.io/metallb/controller, tag: null}\n",
                &["quay.io/metallb/controller:1.2.3"],
            ),
            ("digest only", "image: {repository: a/b, digest: DIGEST}\n", &["a/b@DIGEST"]),
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

    #[test]
    fn what_has_neither_tag_nor_digest_is_reported_apart() {
        let table = [
            ("image: {repository: registry/app}\n", "registry/app", true),
            ("image: registry/app\n", "registry/app", true),
            ("image: registry:5000/app\n", "registry:5000/app", true),
            ("containers: [{name: x, image: busybox}]\n", "busybox", false),
            ("spec: {initContainers: [{image: a/b}]}\n", "a/b", false),
            ("image: {repository: registry/app, tag: \"1\"}\n", "registry/app:1", false),
        ];
        for (text, image, unresolved) in table {
            let found = find(&parse(text).unwrap(), &Defaults::default());
            let found: Vec<(&str, bool)> = found.iter().map(|one| (one.image.as_str(), one.unresolved)).collect();
            assert_eq!(found, [(image, unresolved)], "{text}");
        }
    }

    #[test]
    fn templates_are_reported_apart_and_lines_are_right() {
        let found =
            find(&parse("a: 1\nimage: \"{{ repo }}:{{ tag }}\"\nb:\n  image: x:1\n").unwrap(), &Defaults::default());
        assert!(found[0].unresolved && found[0].line == 2);
        assert!(!found[1].unresolved && found[1].line == 4);
    }
}
