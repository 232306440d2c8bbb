//! components.yaml as text: readable, quoted where needed, with a comment for
//! each section and the comments that people wrote.

use model::yaml_text::scalar;
use model::{Binary, Chart, ComponentManifest, Generated, Image, Repository, Tool};

use crate::comments::{Comments, image_name};

const HEADER: &[&str] = &[
    "# What goes into the package. Generated from versions.env and catalog.yaml,",
    "# then yours to edit: a later generation is merged into it, what you added,",
    "# changed or removed stays. docs/configuration.md describes every field.",
];

const BASE_HEADER: &[&str] = &[
    "# The last pure generation of components.yaml. The next one is compared with",
    "# it to tell what was edited by hand. Commit it; edit components.yaml instead.",
];

/// The text of components.yaml, around the comments of the text that it
/// replaces (None for a first one).
pub fn components_text(manifest: &ComponentManifest, comments: Option<&Comments>) -> String {
    let empty = Comments::default();
    let fresh = comments.is_none();
    let mut writer = Writer { text: String::new(), comments: comments.unwrap_or(&empty), fresh };
    if fresh {
        HEADER.iter().for_each(|line| writer.line(0, line));
    } else {
        writer.comments.header.iter().for_each(|line| writer.line(0, line));
    }
    writer.manifest(manifest);
    if !writer.comments.trailer.is_empty() {
        writer.blank();
        writer.comments.trailer.iter().for_each(|line| writer.line(0, line));
    }
    writer.text
}

/// The text of components.base.yaml.
pub fn base_text(manifest: &ComponentManifest) -> String {
    let comments = Comments::default();
    let mut writer = Writer { text: String::new(), comments: &comments, fresh: false };
    BASE_HEADER.iter().for_each(|line| writer.line(0, line));
    writer.manifest(manifest);
    writer.text
}

struct Writer<'a> {
    text: String,
    comments: &'a Comments,
    /// Nothing is replaced: every section gets its standard comment.
    fresh: bool,
}

/// The fields of one entry, in the order of the documentation.
type Fields<'a> = Vec<(&'static str, Field<'a>)>;

enum Field<'a> {
    Text(&'a str),
    Flag(bool),
    List(&'a [String]),
}

impl Writer<'_> {
    fn line(&mut self, indent: usize, line: &str) {
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    fn manifest(&mut self, manifest: &ComponentManifest) {
        if let Some(generated) = &manifest.generated {
            self.section("_generated", "");
            self.generated(generated);
        }
        if let Some(kubernetes) = &manifest.kubernetes {
            self.section("kubernetes", "# Kubernetes; {{version}} of the binaries is this version.");
            self.above(2, "kubernetes", "", "version");
            self.line(2, &format!("version: {}", scalar(&kubernetes.version)));
            let empty = if kubernetes.binaries.is_empty() { "binaries: []" } else { "binaries:" };
            self.above(2, "kubernetes.binaries", "", "");
            self.line(2, empty);
            for binary in &kubernetes.binaries {
                self.entry(4, "kubernetes.binaries", &binary.name, &binary_fields(binary));
            }
        }
        if !manifest.tools.is_empty() {
            self.section("tools", "# Files and command-line tools; `extract` takes one file out of an archive.");
            manifest.tools.iter().for_each(|tool| self.entry(2, "tools", &tool.name, &tool_fields(tool)));
        }
        if !manifest.repositories.is_empty() {
            self.section("repositories", "# Git repositories, with their whole history.");
            for repository in &manifest.repositories {
                self.entry(2, "repositories", &repository.name, &repository_fields(repository));
            }
        }
        if !manifest.images.is_empty() {
            self.section("images", "# Container images; both lists are pulled.");
            let note = "# From the catalog and from `scan`.";
            self.images("images.auto_discover", "auto_discover", note, &manifest.images.auto_discover);
            self.images(
                "images.additional",
                "additional",
                "# Added by hand or by `add image`.",
                &manifest.images.additional,
            );
        }
        if !manifest.charts.is_empty() {
            self.section("charts", "# Helm charts.");
            manifest.charts.iter().for_each(|chart| self.entry(2, "charts", &chart.name, &chart_fields(chart)));
        }
        if !manifest.components.is_empty() {
            self.section("components", "# Components as a package definition has them.");
            self.components(&manifest.components);
        }
    }

    /// As their author wrote them, where that is known.
    fn components(&mut self, components: &[serde_yaml::Value]) {
        let comments = self.comments;
        if !comments.components().is_empty() {
            return comments.components().iter().for_each(|line| self.line(0, line));
        }
        let text = serde_yaml::to_string(components).unwrap_or_default();
        text.lines().for_each(|line| self.line(2, line));
    }

    /// The comment and the key of a top-level section.
    fn section(&mut self, name: &str, standard: &str) {
        self.blank();
        if (self.fresh || (!self.comments.has(name) && !self.comments.header.is_empty())) && !standard.is_empty() {
            self.line(0, standard);
        }
        self.above(0, name, "", "");
        self.line(0, &format!("{name}:"));
    }

    fn above(&mut self, indent: usize, section: &str, entry: &str, field: &str) {
        for line in self.comments.above(section, entry, field) {
            self.line(indent, line);
        }
    }

    fn generated(&mut self, generated: &Generated) {
        self.line(2, &format!("source: {}", scalar(&generated.source)));
        self.line(2, &format!("versions_sha256: {}", model::yaml_text::quoted(&generated.versions_sha256)));
        self.line(2, &format!("catalog_sha256: {}", model::yaml_text::quoted(&generated.catalog_sha256)));
        self.line(2, &format!("tool: {}", scalar(&generated.tool)));
        if let Some(note) = &generated.note {
            self.line(2, &format!("note: {}", scalar(note)));
        }
    }

    fn images(&mut self, section: &str, key: &str, standard: &str, images: &[Image]) {
        if images.is_empty() {
            return;
        }
        if self.fresh {
            self.line(2, standard);
        }
        self.above(2, section, "", "");
        self.line(2, &format!("{key}:"));
        for image in images {
            self.entry(4, section, &image_name(&image.image), &vec![("image", Field::Text(&image.image))]);
        }
    }

    fn entry(&mut self, indent: usize, section: &str, name: &str, fields: &Fields<'_>) {
        self.above(indent, section, name, "");
        for (index, (key, field)) in fields.iter().enumerate() {
            if index > 0 {
                self.above(indent + 2, section, name, key);
            }
            let lead = if index == 0 { "- " } else { "  " };
            let behind = self.comments.behind(section, name).filter(|_| index == 0);
            let behind = behind.map(|comment| format!(" {comment}")).unwrap_or_default();
            match field {
                Field::Text(text) => self.line(indent, &format!("{lead}{key}: {}{behind}", scalar(text))),
                Field::Flag(flag) => self.line(indent, &format!("{lead}{key}: {flag}{behind}")),
                Field::List(list) => {
                    self.line(indent, &format!("{lead}{key}:{behind}"));
                    list.iter().for_each(|item| self.line(indent + 4, &format!("- {}", scalar(item))));
                }
            }
        }
    }
}

fn optional<'a>(fields: &mut Fields<'a>, key: &'static str, value: Option<&'a String>) {
    if let Some(value) = value {
        fields.push((key, Field::Text(value)));
    }
}

fn binary_fields(binary: &Binary) -> Fields<'_> {
    let mut fields = vec![("name", Field::Text(&binary.name)), ("url", Field::Text(&binary.url))];
    optional(&mut fields, "checksum_url", binary.checksum_url.as_ref());
    fields
}

fn tool_fields(tool: &Tool) -> Fields<'_> {
    let mut fields = vec![
        ("name", Field::Text(&tool.name)),
        ("version", Field::Text(&tool.version)),
        ("url", Field::Text(&tool.url)),
    ];
    optional(&mut fields, "checksum_url", tool.checksum_url.as_ref());
    fields.push(("extract", Field::Flag(tool.extract)));
    optional(&mut fields, "binary", tool.binary.as_ref());
    if tool.carry {
        fields.push(("carry", Field::Flag(true)));
    }
    fields
}

fn repository_fields(repository: &Repository) -> Fields<'_> {
    let mut fields = vec![("name", Field::Text(&repository.name)), ("url", Field::Text(&repository.url))];
    optional(&mut fields, "ref", repository.reference.as_ref());
    optional(&mut fields, "commit", repository.commit.as_ref());
    fields
}

fn chart_fields(chart: &Chart) -> Fields<'_> {
    let mut fields = vec![
        ("name", Field::Text(&chart.name)),
        ("repo", Field::Text(&chart.repo)),
        ("version", Field::Text(&chart.version)),
    ];
    optional(&mut fields, "namespace", chart.namespace.as_ref());
    match chart.values.as_slice() {
        [] => {}
        [one] => fields.push(("values", Field::Text(one))),
        many => fields.push(("values", Field::List(many))),
    }
    if !chart.deploy {
        fields.push(("deploy", Field::Flag(false)));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"
_generated: {source: versions.env, versions_sha256: "1", catalog_sha256: "2", tool: "t 1.0", note: "a: b"}
kubernetes: {version: v1.34.3, binaries: [{name: kubectl, url: "https://h/{{version}}", checksum_url: "https://h/c"}]}
tools: [{name: helm, version: "3.10", url: "https://h/x", extract: true, binary: "linux-{{arch}}/helm", carry: true}, {name: b, version: v1, url: "https://h/#y"}]
repositories: [{name: r, url: "https://h/r", ref: main, commit: HEAD}, {name: s, url: "https://h/s"}]
images: {auto_discover: [nginx:1.27, "a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000"], additional: [c:1]}
charts: [{name: c, repo: "oci://h/c", version: ">=1", namespace: n, values: [a.yaml, b.yaml], deploy: false}, {name: d, repo: ./d, version: "1"}]
components: [{name: x, manifests: [{name: m, files: [m.yaml]}], actions: {onDeploy: {before: [{cmd: "a: b", maxRetries: 2}]}}}]
"#;

    fn parse(text: &str) -> ComponentManifest {
        serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
    }

    #[test]
    fn every_field_comes_back() {
        let manifest = parse(ALL);
        let text = components_text(&manifest, None);
        assert_eq!(parse(&text), manifest, "{text}");
        assert_eq!(parse(&base_text(&manifest)), manifest);
        assert_eq!(components_text(&manifest, Some(&Comments::collect(&text, &manifest))), text, "writing is stable");
    }

    #[test]
    fn the_text_reads_well() {
        let text = components_text(
            &parse(
                "tools: [{name: a, version: '1.10', url: 'https://h/{{version}}'}]\nimages: {additional: [nginx:1]}",
            ),
            None,
        );
        let body = text.split_once("\n\n").unwrap().1;
        assert_eq!(
            body,
            "# Files and command-line tools; `extract` takes one file out of an archive.\n\
             tools:\n  - name: a\n    version: \"1.10\"\n    url: https://h/{{version}}\n    extract: false\n\n\
             # Container images; both lists are pulled.\n\
             images:\n  # Added by hand or by `add image`.\n  additional:\n    - image: nginx:1\n"
        );
    }

    #[test]
    fn comments_stay_with_their_entries() {
        let text = "# Mine.\n# Two lines.\n\n# Above the section.\ntools:\n  # Above helm.\n  - name: helm   # behind helm\n    version: '3'\n    # why this URL\n    url: 'https://h/#x'\n  - {name: b, version: '1', url: 'https://h/b'}  # flow\nimages:\n  additional:\n  # Above nginx.\n  - nginx:1\n# The end.\n";
        let mut manifest = parse(text);
        let comments = Comments::collect(text, &manifest);
        manifest.tools.remove(1);
        manifest.tools.insert(0, Tool { name: "a".into(), ..manifest.tools[0].clone() });
        manifest.images.additional[0].image = "nginx:2".into();
        let written = components_text(&manifest, Some(&comments));
        assert_eq!(
            written,
            "# Mine.\n# Two lines.\n\n# Above the section.\ntools:\n  - name: a\n    version: \"3\"\n    url: \"https://h/#x\"\n    extract: false\n  \
             # Above helm.\n  - name: helm # behind helm\n    version: \"3\"\n    # why this URL\n    url: \"https://h/#x\"\n    extract: false\n\n\
             images:\n  additional:\n    # Above nginx.\n    - image: nginx:2\n\n# The end.\n"
        );
        assert_eq!(parse(&written), manifest);
    }

    /// Nothing generates components: not a byte of them changes.
    #[test]
    fn components_stay_as_they_are_written() {
        let text = "components:\n# Above.\n- name: x   # behind\n\n  manifests:\n  # why\n  - {name: m, files: [m.yaml]}\n\ntools:\n  - {name: b, version: '1', url: 'https://h/b'}\n";
        let mut manifest = parse(text);
        let comments = Comments::collect(text, &manifest);
        manifest.tools[0].version = "2".into();
        let written = components_text(&manifest, Some(&comments));
        assert_eq!(parse(&written), manifest, "{written}");
        let section =
            "components:\n# Above.\n- name: x   # behind\n\n  manifests:\n  # why\n  - {name: m, files: [m.yaml]}\n";
        assert!(written.ends_with(section), "{written}");
    }

    #[test]
    fn an_entry_without_comments_writes_none() {
        let manifest = parse("tools: [{name: a, version: '1', url: 'https://h'}]");
        let written = components_text(&manifest, Some(&Comments::default()));
        assert!(!written.contains('#'), "{written}");
    }
}
