//! The roles of kubespray: pairs of `<name>_image_repo` and
//! `<name>_image_tag`, and the rows of `downloads`, whose values are Jinja
//! templates over the variables of all roles.

use std::collections::{BTreeMap, BTreeSet};

use image_finder::{Doubt, Node};
use model::image::ImageName;

use crate::jinja::{self, Variables};
use crate::report::Report;

/// What a file of a role holds. `vars` win over `defaults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What holds where nobody sets anything else.
    Defaults,
    /// What the role itself sets.
    Vars,
}

/// `roles/<role>/defaults/main.yml`, `roles/<role>/vars/main/*.yml` and their
/// like; none for any other file.
pub fn kind(path: &str) -> Option<Kind> {
    let (_, rest) = path.rsplit_once("roles/")?;
    let parts: Vec<&str> = rest.split('/').collect();
    let of = |folder: &str| {
        let at = parts.iter().position(|part| *part == folder);
        at.is_some_and(|at| at > 0 && parts.get(at + 1).is_some_and(|next| next.starts_with("main")))
    };
    of("defaults").then_some(Kind::Defaults).or(of("vars").then_some(Kind::Vars))
}

/// The variables of every role seen so far, and where they are set.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    variables: Variables,
    places: BTreeMap<String, (Kind, String)>,
}

/// A repository and its tag, as two templates.
struct Pair<'a> {
    repository: &'a str,
    tag: Option<&'a str>,
    file: &'a str,
    line: u32,
}

impl Pair<'_> {
    fn text(&self) -> String {
        format!("{}:{}", self.repository, self.tag.unwrap_or_default())
    }
}

impl Roles {
    /// Takes in the variables of a file that a role has. One that is set again is what the
    /// stronger or the later file says.
    pub fn file(&mut self, kind: Kind, file: &str, root: &Node) {
        for (name, node) in root.entries() {
            if self.places.get(name).is_none_or(|(known, _)| *known <= kind) {
                self.variables.insert(name.clone(), node.clone());
                self.places.insert(name.clone(), (kind, file.to_owned()));
            }
        }
    }

    /// Every image, resolved or not.
    pub fn report(&self, report: &mut Report) {
        let (tagged, untagged): (Vec<_>, Vec<_>) = self.named().into_iter().partition(|pair| pair.tag.is_some());
        let mut images: BTreeSet<String> = tagged.iter().filter_map(|pair| self.image(pair)).collect();
        let mut repositories: BTreeSet<String> = tagged.iter().map(|pair| self.resolved(pair.repository)).collect();
        for pair in &tagged {
            self.tell(pair, report);
        }
        // The rows mostly repeat the pairs; some bring two of them together.
        for pair in self.listed() {
            let is_known_repository = !repositories.insert(self.resolved(pair.repository));
            let is_new = self.image(&pair).map_or(!is_known_repository, |image| images.insert(image));
            if is_new {
                self.tell(&pair, report);
            }
        }
        for pair in untagged.iter().filter(|pair| !repositories.contains(&self.resolved(pair.repository))) {
            self.tell_untagged(pair, report);
        }
    }

    /// `<name>_image_repo` and `<name>_image_tag`.
    fn named(&self) -> Vec<Pair<'_>> {
        let stems =
            self.variables.iter().filter_map(|(name, node)| Some((name, name.strip_suffix("_image_repo")?, node)));
        stems
            .filter_map(|(name, stem, repository)| {
                let tag = self.variables.get(&format!("{stem}_image_tag")).and_then(Node::text);
                self.pair(name, repository, tag)
            })
            .collect()
    }

    /// `downloads: {<name>: {repo, tag}}`.
    fn listed(&self) -> Vec<Pair<'_>> {
        let rows = self.variables.get("downloads").map_or(&[][..], Node::entries);
        rows.iter().filter_map(|(_, row)| self.pair("downloads", row.get("repo")?, Some(row.text_of("tag")?))).collect()
    }

    fn pair<'a>(&'a self, variable: &str, repository: &'a Node, tag: Option<&'a str>) -> Option<Pair<'a>> {
        let file = self.places.get(variable).map_or("", |(_, file)| file.as_str());
        Some(Pair { repository: repository.text()?, tag, file, line: repository.line })
    }

    /// The text itself where it cannot be resolved.
    fn resolved(&self, text: &str) -> String {
        jinja::resolve(text, &self.variables).unwrap_or_else(|| text.to_owned())
    }

    fn image(&self, pair: &Pair<'_>) -> Option<String> {
        jinja::resolve(&pair.text(), &self.variables).filter(|image| ImageName::parse(image).is_ok())
    }

    fn tell(&self, pair: &Pair<'_>, report: &mut Report) {
        match self.image(pair) {
            Some(image) => report.image(&image, pair.file, pair.line),
            None => report.unresolved(&pair.text(), pair.file, pair.line, &Doubt::Template),
        }
    }

    /// `docker_image_repo: docker.io` and its like are only what other variables
    /// begin with.
    fn tell_untagged(&self, pair: &Pair<'_>, report: &mut Report) {
        let repository = self.resolved(pair.repository);
        if repository.contains('/') {
            report.unresolved(&repository, pair.file, pair.line, &Doubt::NoTag);
        }
    }
}

#[cfg(test)]
mod tests {
    use image_finder::yaml::parse;

    use super::*;

    /// The forms that kubespray's own files are written in.
    const DOWNLOAD: &str = r#"docker_image_repo: "docker.io"
kube_image_repo: "registry.k8s.io"
kubeadm_image_repo: "{{ kube_image_repo }}"
quay_image_repo: "quay.io"
calico_version: "{{ (calicoctl_binary_checksums['amd64'] | dict2items)[0].key }}"
pod_infra_version: "{{ pod_infra_supported_versions[kube_major_version] }}"
etcd_version: "{{ etcd_supported_versions[kube_major_version] }}"
kube_proxy_image_repo: "{{ kube_image_repo }}/kube-proxy"
etcd_image_repo: "{{ quay_image_repo }}/coreos/etcd"
etcd_image_tag: "v{{ etcd_version }}"
calico_node_image_repo: "{{ quay_image_repo }}/calico/node"
calico_node_image_tag: "v{{ calico_version }}"
pod_infra_image_repo: "{{ kube_image_repo }}/pause"
pod_infra_image_tag: "{{ pod_infra_version }}"
kube_vip_image_repo: "ghcr.io/kube-vip/kube-vip{{ '-iptables' if kube_vip_lb_fwdmethod == 'masquerade' else '' }}"
kube_vip_image_tag: v0.8.9
nginx_image_repo: "{{ docker_image_repo }}/library/nginx"
nginx_image_tag: 1.28.0-alpine
coredns_supported_versions:
  '1.34': 1.12.1
  '1.33': 1.12.0
coredns_version: "{{ coredns_supported_versions[kube_major_version] }}"
coredns_image_repo: "{{ kube_image_repo }}{{ '/coredns' if coredns_version is version('1.7.1', '>=') else '' }}/coredns"
coredns_image_tag: "{{ 'v' if coredns_version is version('1.7.1', '>=') else '' }}{{ coredns_version }}"
metallb_speaker_image_repo: "{{ quay_image_repo }}/metallb/speaker"
metallb_version: 0.13.9
metallb_image_tag: "v{{ metallb_version }}"
other_image_repo: "{{ quay_image_repo }}/other"
other_image_tag: "{{ lookup('env', 'OTHER') }}"
downloads:
  etcd: {container: true, repo: "{{ etcd_image_repo }}", tag: "{{ etcd_image_tag }}"}
  kubelet: {file: true, url: "{{ kubelet_download_url }}"}
  metallb_speaker:
    container: true
    repo: "{{ metallb_speaker_image_repo }}"
    tag: "{{ metallb_image_tag }}"
"#;
    const DEFAULTS: &str = "kube_version: \"{{ (kubelet_checksums['amd64'] | dict2items)[0].key }}\"\nkube_vip_lb_fwdmethod: local\npod_infra_supported_versions: {}\n";
    const VARS: &str = r#"kube_major_version: "{{ (kube_version | split('.'))[:-1] | join('.') }}"
pod_infra_supported_versions:
  '1.34': '3.10.1'
  '1.33': '3.10'
etcd_supported_versions:
  '1.34': "{{ (etcd_binary_checksums['amd64'].keys() | select('version', '3.6', '<'))[0] }}"
kubelet_checksums: {arm64: {1.34.3: sha256:a}, amd64: {1.34.3: sha256:b, 1.34.2: sha256:c}}
etcd_binary_checksums: {amd64: {3.6.5: sha256:d, 3.5.26: sha256:e, 3.5.25: sha256:f}}
calicoctl_binary_checksums: {amd64: {3.30.6: sha256:a, 3.30.5: sha256:b}}
"#;

    fn scanned() -> Report {
        let mut roles = Roles::default();
        for (path, text) in [
            // In the order of a scan but for the first, which must not win.
            ("roles/kubespray_defaults/vars/main/main.yml", VARS),
            ("roles/kubespray_defaults/defaults/main/download.yml", DOWNLOAD),
            ("roles/kubespray_defaults/defaults/main/main.yml", DEFAULTS),
        ] {
            roles.file(kind(path).unwrap(), path, &parse(text).unwrap());
        }
        let mut report = Report::default();
        roles.report(&mut report);
        report.sorted()
    }

    /// Guards what the default platform pulls: versions come from the order of
    /// checksums, from maps by the version of kubernetes, from conditions.
    #[test]
    fn the_forms_of_kubespray_resolve() {
        let images: Vec<(String, u32)> = scanned().images.into_iter().map(|image| (image.image, image.line)).collect();
        let expected = [
            ("docker.io/library/nginx:1.28.0-alpine", 17),
            ("ghcr.io/kube-vip/kube-vip:v0.8.9", 15),
            ("quay.io/calico/node:v3.30.6", 11),
            ("quay.io/coreos/etcd:v3.5.26", 9),
            ("quay.io/metallb/speaker:v0.13.9", 35),
            ("registry.k8s.io/coredns/coredns:v1.12.1", 23),
            ("registry.k8s.io/pause:3.10.1", 13),
        ];
        assert_eq!(images, expected.map(|(image, line)| (image.to_owned(), line)));
    }

    #[test]
    fn what_has_no_tag_or_cannot_be_resolved_is_told() {
        let rows: Vec<(String, u32)> = scanned().unresolved.into_iter().map(|one| (one.text, one.line)).collect();
        let expected =
            [("registry.k8s.io/kube-proxy", 8), ("{{ quay_image_repo }}/other:{{ lookup('env', 'OTHER') }}", 28)];
        assert_eq!(rows, expected.map(|(text, line)| (text.to_owned(), line)));
    }

    #[test]
    fn files_are_known_by_their_place() {
        for (path, expected) in [
            ("kubespray/roles/kubespray_defaults/defaults/main/download.yml", Some(Kind::Defaults)),
            ("roles/etcd/defaults/main.yml", Some(Kind::Defaults)),
            ("roles/network_plugin/calico/defaults/main.yml", Some(Kind::Defaults)),
            ("roles/kubespray_defaults/vars/main/checksums.yml", Some(Kind::Vars)),
            ("roles/etcd/vars/ubuntu.yml", None),
            ("roles/etcd/tasks/main.yml", None),
            ("defaults/main.yml", None),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
    }
}
