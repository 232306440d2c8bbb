//! One file after the other, in the order of their paths.
//!
//! What a file is follows from its path and content: a chart's description,
//! its values, its templates; variables of a role; a kustomization; anything
//! else that is YAML. The order matters only in that `Chart.yaml` comes before the
//! rest of its chart, as it does in byte order.

use std::collections::BTreeSet;

use chart_loader::images::Image;
use image_finder::template::{About, Helpers, Source};
use image_finder::yaml::{self, Node};
use image_finder::{Doubt, Found, find};
use model::image::normalized;
use model::rendered::Found as How;

use crate::flux::Flux;
use crate::kubespray;
use crate::kustomize::{Replaced, post_rendered, replaced_in};
use crate::renderings::{Found as Rendered, Rendering, Renderings};
use crate::report::{Packed, Report};

const WARNING_LIMIT: usize = 1000;

/// Reads files and gathers what they name.
#[derive(Default)]
pub struct Scanner {
    report: Report,
    flux: Flux,
    kubespray: kubespray::Roles,
    /// Folders of charts, with a `/` at the end.
    charts: BTreeSet<String>,
    /// What the charts render to.
    renderings: Renderings,
}

/// Whether a file may name images. Templates of charts count, whatever they
/// are called.
pub fn is_wanted(path: &str) -> bool {
    let hidden = is_hidden(path);
    let lower = path.to_ascii_lowercase();
    let text = [".yaml", ".yml", ".json", ".tpl"].iter().any(|end| lower.ends_with(end));
    !hidden && (text || is_kustomization(base(path))) && !path.ends_with("values.schema.json")
}

/// Whether a path leads through what is nobody's deployment.
pub fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part == ".git" || part == "node_modules")
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The names that kustomize looks for.
fn is_kustomization(name: &str) -> bool {
    matches!(name, "kustomization.yaml" | "kustomization.yml" | "Kustomization")
}

impl Scanner {
    /// One that knows what the charts render to.
    pub fn knowing(renderings: Renderings) -> Self {
        Self { renderings, ..Self::default() }
    }

    /// A packed chart that is read.
    pub fn packed(&mut self, chart: Packed) {
        self.report.packed.push(chart);
    }

    /// A file that could not be read.
    pub fn skip(&mut self, file: &str, why: &str) {
        self.warn(file, why);
    }

    /// Reads one file, whatever it is.
    pub fn file(&mut self, file: &str, text: &str) {
        if self.is_template(file) {
            self.template(file, text);
            return;
        }
        if !file.ends_with(".tpl") {
            let (documents, error) = yaml::documents(text);
            if let Some(error) = error {
                self.warn(file, &format!("not YAML from line {} on: {}", error.line, error.message));
            }
            for document in &documents {
                self.document(file, document);
            }
        }
    }

    /// The images of a chart that was met: what it renders to, and beside it what only
    /// its values or templates name. Where it was not rendered, that is all.
    pub fn chart_images(&mut self, chart: &str, named: Vec<Image>) {
        let chart = chart.trim_end_matches('/');
        let renderings = std::mem::take(&mut self.renderings);
        let own = renderings.of(chart).iter().find(|rendering| rendering.release.is_none());
        if let Some(problem) = own.and_then(|own| own.problem.as_ref()) {
            self.warn(chart, &format!("cannot be rendered with its own values: {problem}"));
        }
        let mut known = BTreeSet::new();
        for rendering in renderings.of(chart) {
            if let (Some(release), Some(problem)) = (&rendering.release, &rendering.problem) {
                self.warn(release, &format!("its chart {chart} cannot be rendered: {problem}"));
            }
            known.extend(rendering.known());
            for Rendered { image, template, line, doubt } in &rendering.images {
                let file = format!("{chart}/{template}");
                match doubt {
                    None => self.report.found(image, &file, *line, Some(How::Rendered), rendering.release.as_deref()),
                    Some(doubt) => self.report.unresolved(image, &file, *line, doubt),
                }
            }
        }
        let tells = own.is_some_and(Rendering::tells);
        for Image { image, file, line, doubt } in named {
            let file = format!("{chart}/{file}");
            match doubt {
                None if tells && known.contains(&normalized(&image)) => {}
                None => self.report.found(&image, &file, line, tells.then_some(How::NamedOnly), None),
                // Rendering told what it is.
                Some(_) if tells => {}
                Some(doubt) => self.report.unresolved(&image, &file, line, &doubt),
            }
        }
        self.renderings = renderings;
    }

    fn told(&mut self, image: &str, file: &str, line: u32, doubt: Option<&Doubt>) {
        match doubt {
            None => self.report.image(image, file, line),
            Some(doubt) => self.report.unresolved(image, file, line, doubt),
        }
    }

    /// A template of a chart that does not load: nothing is known of its values.
    fn template(&mut self, file: &str, text: &str) {
        let mut helpers = Helpers::default();
        helpers.add(text);
        let source = Source { file: 0, path: file, text, line: 1 };
        let found = image_finder::chart::find(None, &About::default(), &helpers, &[source]);
        self.all(file, &found, 0);
    }

    /// Everything that was found.
    pub fn finish(mut self) -> Report {
        for chart in self.renderings.packaged() {
            self.chart_images(&chart, Vec::new());
        }
        self.kubespray.report(&mut self.report);
        self.report.charts = self.flux.charts();
        self.report.sorted()
    }

    fn document(&mut self, file: &str, root: &Node) {
        let name = base(file);
        let kind = root.text_of("kind").unwrap_or_default();
        let role = kubespray::kind(file);
        if let Some(role) = role {
            self.kubespray.file(role, file, root);
        }
        if name == "Chart.yaml" && root.get("name").is_some() {
            self.chart(file, root);
        } else if is_kustomization(name) || kind == "Kustomization" {
            self.kustomization(file, root);
        } else if kind != "CustomResourceDefinition" && role != Some(kubespray::Kind::Defaults) {
            self.flux.resource(kind, root, file);
            self.images(file, root, 0);
            self.embedded(file, kind, root);
            self.post_renderers(file, root);
        }
    }

    fn images(&mut self, file: &str, root: &Node, offset: u32) {
        self.all(file, &find(root), offset);
    }

    fn all(&mut self, file: &str, found: &[Found], offset: u32) {
        for found in found {
            self.told(&found.image, file, found.line + offset, found.doubt.as_ref());
        }
    }

    /// Values files in a ConfigMap, as `valuesFrom` of a HelmRelease uses
    /// them.
    fn embedded(&mut self, file: &str, kind: &str, root: &Node) {
        if !matches!(kind, "ConfigMap" | "Secret") {
            return;
        }
        let texts = ["data", "stringData"].iter().filter_map(|key| root.get(key)).flat_map(Node::entries);
        for (name, node) in texts {
            let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
            if let (true, Some(text)) = (is_yaml, node.text())
                && let Ok(inner) = yaml::parse(text)
            {
                // A block's text begins in the line of its node.
                self.images(file, &inner, node.line.saturating_sub(1));
            }
        }
    }

    /// Of kustomize itself, and Flux's resource of the same kind.
    fn kustomization(&mut self, file: &str, root: &Node) {
        for images in [root.get("images"), root.at("spec.images")] {
            self.replaced_images(file, images);
        }
    }

    /// What a HelmRelease replaces in what its chart renders.
    fn post_renderers(&mut self, file: &str, root: &Node) {
        for (replaced, line) in post_rendered(root) {
            self.replaced_image(file, &replaced, line);
        }
    }

    fn replaced_images(&mut self, file: &str, list: Option<&Node>) {
        for (replaced, line) in replaced_in(list) {
            self.replaced_image(file, &replaced, line);
        }
    }

    fn replaced_image(&mut self, file: &str, replaced: &Replaced, line: u32) {
        let name = replaced.new_name.as_ref().unwrap_or(&replaced.name);
        let image = match (&replaced.digest, &replaced.new_tag) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, Some(tag)) => format!("{name}:{tag}"),
            // Another registry alone: the tag is that of the manifest.
            (None, None) if replaced.new_name.is_some() => {
                self.report.unresolved(name, file, line, &Doubt::NoTag);
                return;
            }
            (None, None) => return,
        };
        let is_whole = model::image::ImageName::parse(&image).is_ok();
        self.told(&image, file, line, (!is_whole).then_some(&Doubt::Template));
    }

    fn chart(&mut self, file: &str, root: &Node) {
        let folder = file.strip_suffix("Chart.yaml").unwrap_or_default().to_owned();
        self.charts.insert(folder);
        // Artifact Hub's list of a chart's images is YAML in an annotation.
        let list = root.get("annotations").and_then(|notes| notes.get("artifacthub.io/images"));
        if let Some(node) = list
            && let Some(Ok(inner)) = node.text().map(yaml::parse)
        {
            self.images(file, &inner, node.line.saturating_sub(1));
        }
    }

    /// Whether a file lies in the templates of a chart that was seen.
    fn is_template(&self, file: &str) -> bool {
        self.charts
            .iter()
            .any(|folder| file.strip_prefix(folder.as_str()).is_some_and(|below| below.contains("templates/")))
    }

    fn warn(&mut self, file: &str, why: &str) {
        if self.report.warnings.len() < WARNING_LIMIT {
            self.report.warnings.push(format!("{file}: {why}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(files: &[(&str, &str)]) -> Report {
        let mut scanner = Scanner::default();
        let mut files = files.to_vec();
        files.sort_unstable();
        for (path, text) in files {
            assert!(is_wanted(path), "{path}");
            scanner.file(path, text);
        }
        scanner.finish()
    }

    fn rows(report: &Report) -> Vec<(&str, &str, u32)> {
        report.images.iter().map(|image| (image.image.as_str(), image.file.as_str(), image.line)).collect()
    }

    #[test]
    fn a_chart_names_images_in_values_templates_and_annotations() {
        let report = scan(&[
            (
                "c/app/Chart.yaml",
                "name: app\nversion: 1.0.0\nappVersion: 2.0.0\nannotations:\n  artifacthub.io/images: |\n    - name: x\n      image: quay.io/hub/x:1\n",
            ),
            (
                "c/app/values.yaml",
                "image:\n  repository: org/app\nsidecar:\n  image: {repository: org/side, tag: \"3\"}\n",
            ),
            ("c/app/templates/job.yaml", "{{- if .Values.job }}\nimage: org/job:4\n{{- end }}\n"),
            ("c/app/templates/_helpers.tpl", "{{ define \"x\" }}image: {{ .x }}{{ end }}"),
            ("c/app/charts/sub/Chart.yaml", "name: sub\nversion: 1.0.0\nappVersion: 9.0.0\n"),
            ("c/app/charts/sub/values.yaml", "image: {repository: org/sub}\n"),
        ]);
        assert_eq!(
            rows(&report),
            [
                ("org/job:4", "c/app/templates/job.yaml", 2),
                ("org/side:3", "c/app/values.yaml", 4),
                ("quay.io/hub/x:1", "c/app/Chart.yaml", 7),
            ]
        );
        let unresolved: Vec<&str> = report.unresolved.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(
            unresolved,
            ["org/app", "org/sub", "{{ .x }}{{ end }}"],
            "file by file, no values complete a template"
        );
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }

    #[test]
    fn manifests_and_flux() {
        let report = scan(&[
            (
                "m/all.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      initContainers:\n      - image: a/init:1\n      containers:\n      - name: x\n        image: a/main:1\n        env: [{name: RELATED_IMAGE_Y, value: \"a/related:1\"}]\n---\napiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nspec:\n  image: a/prometheus:1\n---\nkind: CustomResourceDefinition\nspec: {image: a/schema:1}\n",
            ),
            (
                "f/release.yaml",
                "kind: HelmRelease\nmetadata: {name: r, namespace: n}\nspec:\n  chart: {spec: {chart: c, version: \"1\", sourceRef: {kind: HelmRepository, name: s}}}\n  values:\n    image:\n      repository: a/release\n      tag: \"1\"\n    other: {image: \"${REGISTRY}/x:1\"}\n",
            ),
            ("f/source.yaml", "kind: HelmRepository\nmetadata: {name: s, namespace: n}\nspec: {url: \"https://h\"}\n"),
            (
                "f/values.yaml",
                "kind: ConfigMap\ndata:\n  values.yaml: |\n    image:\n      repository: a/config\n      tag: v1\n",
            ),
        ]);
        assert_eq!(
            rows(&report),
            [
                ("a/config:v1", "f/values.yaml", 5),
                ("a/init:1", "m/all.yaml", 7),
                ("a/main:1", "m/all.yaml", 10),
                ("a/prometheus:1", "m/all.yaml", 16),
                ("a/related:1", "m/all.yaml", 11),
                ("a/release:1", "f/release.yaml", 7),
            ]
        );
        assert_eq!(report.charts[0].repo, "https://h");
        assert_eq!((report.unresolved[0].text.as_str(), report.unresolved[0].line), ("${REGISTRY}/x:1", 9));
    }

    /// Guards the images that only a replacement names: by kustomize's file
    /// names, by the kind whatever the file is called, in a HelmRelease.
    #[test]
    fn replaced_images_are_found_wherever_they_are_written() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let report = scan(&[
            ("k/kustomization.yaml", "images:\n- name: a/x\n  newName: b/x\n  newTag: v2\n- name: a/untouched\n"),
            ("k/Kustomization", "images: [{name: a/bare, newTag: \"1\"}]\n"),
            (
                "clusters/apps.yaml",
                &format!(
                    "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: apps}}\nspec:\n  path: ./apps\n  images:\n  - name: a/flux\n    newTag: v3\n  - {{name: a/pinned, digest: \"{digest}\"}}\n  - {{name: a/vars, newTag: \"${{TAG}}\"}}\n  - {{name: a/moved, newName: mirror/moved}}\n"
                ),
            ),
            (
                "r/release.yaml",
                "kind: HelmRelease\nspec:\n  postRenderers:\n  - kustomize:\n      images:\n      - name: a/rendered\n        newTag: v4\n",
            ),
        ]);
        assert_eq!(
            rows(&report),
            [
                ("a/bare:1", "k/Kustomization", 1),
                ("a/flux:v3", "clusters/apps.yaml", 7),
                (format!("a/pinned@{digest}").as_str(), "clusters/apps.yaml", 9),
                ("a/rendered:v4", "r/release.yaml", 6),
                ("b/x:v2", "k/kustomization.yaml", 2),
            ]
        );
        let unresolved: Vec<&str> = report.unresolved.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(unresolved, ["a/vars:${TAG}", "mirror/moved"]);
    }

    /// A reference without a tag would become `:latest`, which nobody deploys.
    #[test]
    fn an_image_without_a_tag_is_not_found_but_told() {
        let report = scan(&[
            (
                "release.yaml",
                "kind: HelmRelease\nspec:\n  values:\n    image:\n      repository: registry.example.com/app\n",
            ),
            ("pod.yaml", "kind: Pod\nspec:\n  containers:\n  - name: x\n    image: busybox\n"),
        ]);
        assert_eq!(rows(&report), [("busybox", "pod.yaml", 5)], "what the kubelet completes is complete");
        assert_eq!((report.unresolved[0].text.as_str(), report.unresolved[0].line), ("registry.example.com/app", 5));
    }

    #[test]
    fn malformed_files_are_warnings_and_cost_nothing_else() {
        let report = scan(&[
            ("bad.yaml", "image: a/good:1\n---\nimage: [\n"),
            ("good.yaml", "image: a/other:1\n"),
            ("roles/x/defaults/main.yml", "---\nx_image_repo: \"{{ y }}/x\"\nx_image_tag: v1\ny: quay.io\n"),
        ]);
        assert_eq!(report.images.len(), 3, "{:?}", report.images);
        assert!(report.warnings[0].starts_with("bad.yaml: not YAML from line"), "{:?}", report.warnings);
        assert!(!is_wanted("a/.git/config.yaml") && !is_wanted("x.png"));
        assert!(is_wanted("a/X.YAML") && is_wanted("Kustomization") && is_wanted("b.Json"));
    }
}
