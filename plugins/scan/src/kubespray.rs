//! The role defaults of kubespray: pairs of `<name>_image_repo` and
//! `<name>_image_tag`, whose values are Jinja templates over other defaults.

use std::collections::BTreeMap;

use components::image::ImageName;
use image_finder::Node;

use crate::jinja::{self, Variables};
use crate::report::Report;

/// The variables of every role seen so far, and where they are set.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    variables: Variables,
    files: BTreeMap<String, String>,
}

/// `roles/<role>/defaults/main.yml` or `roles/<role>/defaults/main/*.yml`.
pub fn is_defaults(path: &str) -> bool {
    let Some((_, rest)) = path.rsplit_once("roles/") else { return false };
    let parts: Vec<&str> = rest.split('/').collect();
    let defaults = parts.iter().position(|part| *part == "defaults");
    defaults.is_some_and(|at| at > 0 && parts.get(at + 1).is_some_and(|next| next.starts_with("main")))
}

impl Defaults {
    pub fn file(&mut self, file: &str, root: &Node) {
        for (name, node) in root.entries() {
            self.variables.insert(name.clone(), node.clone());
            self.files.insert(name.clone(), file.to_owned());
        }
    }

    /// Every pair, resolved or not.
    pub fn report(&self, report: &mut Report) {
        for (name, repository) in &self.variables {
            let Some(stem) = name.strip_suffix("_image_repo") else { continue };
            let tag = self.variables.get(&format!("{stem}_image_tag")).and_then(Node::text);
            let (Some(repository_text), Some(tag)) = (repository.text(), tag) else { continue };
            let text = format!("{repository_text}:{tag}");
            let file = self.files.get(name).map(String::as_str).unwrap_or_default();
            match jinja::resolve(&text, &self.variables).filter(|image| ImageName::parse(image).is_ok()) {
                Some(image) => report.image(&image, file, repository.line),
                None => report.unresolved(&text, file, repository.line),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image_finder::yaml::parse;

    use super::*;

    #[test]
    fn pairs_are_resolved_over_all_roles() {
        let download = "docker_image_repo: docker.io\nkube_image_repo: registry.k8s.io\nnginx_image_repo: \"{{ docker_image_repo }}/library/nginx\"\nnginx_image_tag: 1.28.0-alpine\ncalico_version: 3.29.1\ncalico_node_image_repo: \"{{ quay_image_repo | default('quay.io') }}/calico/node\"\ncalico_node_image_tag: \"v{{ calico_version }}\"\ncoredns_image_repo: \"{{ kube_image_repo }}{{'/coredns/coredns' if x else '/coredns'}}\"\ncoredns_image_tag: v1.12.0\npod_infra_image_repo: \"{{ kube_image_repo }}/pause\"\npod_infra_image_tag: \"{{ pod_infra_version }}\"\nalone_image_repo: x\n";
        let main = "pod_infra_version: \"3.10\"\n";
        let mut defaults = Defaults::default();
        defaults.file("roles/d/defaults/main/download.yml", &parse(download).unwrap());
        defaults.file("roles/k/defaults/main.yml", &parse(main).unwrap());
        let mut report = Report::default();
        defaults.report(&mut report);
        let images: Vec<_> = report.images.iter().map(|image| (image.image.as_str(), image.line)).collect();
        assert_eq!(
            images,
            [
                ("quay.io/calico/node:v3.29.1", 6),
                ("docker.io/library/nginx:1.28.0-alpine", 3),
                ("registry.k8s.io/pause:3.10", 10)
            ]
        );
        assert_eq!(report.unresolved.len(), 1);
        assert_eq!(
            (report.unresolved[0].line, report.unresolved[0].file.as_str()),
            (8, "roles/d/defaults/main/download.yml")
        );
    }

    #[test]
    fn defaults_are_known_by_their_place() {
        for (path, expected) in [
            ("kubespray/roles/kubespray_defaults/defaults/main/download.yml", true),
            ("roles/etcd/defaults/main.yml", true),
            ("roles/network_plugin/calico/defaults/main.yml", true),
            ("roles/etcd/tasks/main.yml", false),
            ("defaults/main.yml", false),
        ] {
            assert_eq!(is_defaults(path), expected, "{path}");
        }
    }
}
