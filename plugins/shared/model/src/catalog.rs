//! catalog.yaml: which pins are required, and how pins become components.
//!
//! The template sections mirror components.yaml; every text may hold
//! `{{VARIABLE}}`, every entry a condition `when`. [`Catalog::generate`] turns
//! both into the manifest that the pins ask for, nothing merged yet.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::pins::Pins;
use crate::problem::{Problem, Segment, YamlPath, shown};
use crate::template::{self, Value};
use crate::{
    Binary, Chart, ComponentManifest, Image, Images, Kubernetes, Repository, Tool, is_false, is_true, null_as_default,
    one_or_many, yes,
};

/// catalog.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Variables that versions.env must set.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<Required>,
    /// Becomes `kubernetes`; None makes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTemplate>,
    /// Become `tools`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolTemplate>,
    /// Become `repositories`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryTemplate>,
    /// Become `images.auto_discover`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageTemplate>,
    /// Become `charts`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<ChartTemplate>,
}

/// A variable that versions.env must set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Required {
    /// Of the variable: `KUBERNETES_VERSION`.
    pub name: String,
    /// Shown when the variable is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Required only where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// The only values that are accepted.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// A regular expression that the whole value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Shown with the message about a value that does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

/// Template of [`Kubernetes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesTemplate {
    /// Template of [`Kubernetes::version`].
    pub version: String,
    /// Those whose condition holds are taken.
    #[serde(default, deserialize_with = "null_as_default")]
    pub binaries: Vec<BinaryTemplate>,
}

/// Template of a [`Binary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinaryTemplate {
    /// Taken only where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Template of [`Binary::name`].
    pub name: String,
    /// Template of [`Binary::url`]; `{{version}}` and `{{arch}}` are left for the manifest.
    pub url: String,
    /// Template of [`Binary::checksum_url`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
}

/// Template of a [`Tool`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolTemplate {
    /// Taken only where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Template of [`Tool::name`].
    pub name: String,
    /// Template of [`Tool::version`].
    pub version: String,
    /// Template of [`Tool::url`]; `{{version}}` and `{{arch}}` are left for the manifest.
    pub url: String,
    /// Template of [`Tool::checksum_url`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_url: Option<String>,
    /// As [`Tool::extract`].
    #[serde(default)]
    pub extract: bool,
    /// Template of [`Tool::binary`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// Whether it lies beside the package instead of in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub carry: bool,
}

/// Template of a [`Repository`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryTemplate {
    /// Taken only where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Template of [`Repository::name`].
    pub name: String,
    /// Template of [`Repository::url`].
    pub url: String,
    /// Template of [`Repository::reference`].
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Template of [`Repository::commit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// One image (`image`), or several under one condition (`images`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTemplate {
    /// Taken only where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// One reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// More of them, after `image`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// Template of a [`Chart`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChartTemplate {
    /// Taken only where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Template of [`Chart::name`].
    pub name: String,
    /// Template of [`Chart::repo`].
    pub repo: String,
    /// Template of [`Chart::version`].
    pub version: String,
    /// Template of [`Chart::namespace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Templates of [`Chart::values`].
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whether Zarf installs it; carried as an OCI artifact where it does not.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub deploy: bool,
}

/// What the pins ask for, and which template asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// What the catalog makes of the pins, without anything that a person added.
    pub manifest: ComponentManifest,
    /// A place in the generated manifest (`tools[2]`) and its template's place
    /// in the catalog (`tools[5]`).
    pub origins: Vec<(YamlPath, YamlPath)>,
}

impl Generation {
    /// Where in the catalog a place of the generated manifest comes from. An
    /// image comes from one text, everything else from fields of the same name.
    pub fn origin(&self, place: &YamlPath) -> YamlPath {
        let of = self.origins.iter().filter(|(generated, _)| place.segments().starts_with(generated.segments()));
        let Some((generated, template)) = of.max_by_key(|(generated, _)| generated.segments().len()) else {
            return YamlPath::root();
        };
        let is_image = generated.to_string().starts_with("images.");
        let fields = place.segments().iter().skip(generated.segments().len()).filter(|_| !is_image);
        fields.fold(template.clone(), |path, segment| match segment {
            Segment::Key(key) => path.key(key),
            Segment::Index(index) => path.index(*index),
        })
    }
}

impl Catalog {
    /// Expands every template whose condition holds. An entry that repeats
    /// another one exactly is dropped.
    ///
    /// # Errors
    /// Every template that names a variable without a value, or is broken.
    pub fn generate(&self, pins: &Pins) -> Result<Generation, Vec<Problem>> {
        let mut generator = Generator { pins, problems: Vec::new(), generation: Generation::default() };
        let manifest = ComponentManifest {
            generated: None,
            kubernetes: generator.kubernetes(self.kubernetes.as_ref()),
            tools: generator.tools(&self.tools),
            repositories: generator.repositories(&self.repositories),
            images: Images { auto_discover: generator.images(&self.images), additional: Vec::new() },
            charts: generator.charts(&self.charts),
            components: Vec::new(),
        };
        if !generator.problems.is_empty() {
            return Err(generator.problems);
        }
        generator.generation.manifest = manifest;
        Ok(generator.generation)
    }
}

struct Generator<'a> {
    pins: &'a Pins,
    problems: Vec<Problem>,
    generation: Generation,
}

impl Generator<'_> {
    fn wanted(&self, when: Option<&Condition>) -> bool {
        when.is_none_or(|condition| condition.holds(self.pins))
    }

    fn text(&mut self, template: &str, path: &YamlPath) -> String {
        let lookup = |name: &str| match self.pins.get(name) {
            Some(value) if !value.is_empty() => Value::Is(value.to_owned()),
            Some(_) => Value::Unknown(format!("`{{{{{name}}}}}`: versions.env sets {name} to nothing")),
            None if matches!(name, "version" | "arch") => Value::Keep,
            None => Value::Unknown(format!("`{{{{{}}}}}`: versions.env does not set it", shown(name))),
        };
        match template::expand(template, lookup) {
            Ok(text) => text,
            Err(message) => {
                let hint = if message.contains("versions.env") {
                    "set the variable in versions.env, or give the entry a condition such as `when: NAME`"
                } else {
                    "write {{NAME}}, or {{NAME|bare}} without a leading `v`"
                };
                self.problems.push(Problem::new(path, message, hint));
                String::new()
            }
        }
    }

    fn optional(&mut self, template: Option<&String>, path: &YamlPath) -> Option<String> {
        template.map(|template| self.text(template, path)).filter(|text| !text.is_empty())
    }

    fn came_from(&mut self, section: &YamlPath, index: usize, template: &YamlPath) {
        self.generation.origins.push((section.index(index), template.clone()));
    }

    fn kubernetes(&mut self, template: Option<&KubernetesTemplate>) -> Option<Kubernetes> {
        let template = template?;
        let path = YamlPath::root().key("kubernetes");
        self.generation.origins.push((path.clone(), path.clone()));
        let version = self.text(&template.version, &path.key("version"));
        let section = path.key("binaries");
        let mut binaries = Vec::new();
        for (index, binary) in template.binaries.iter().enumerate() {
            if !self.wanted(binary.when.as_ref()) {
                continue;
            }
            let path = section.index(index);
            let made = Binary {
                name: self.text(&binary.name, &path.key("name")),
                url: self.text(&binary.url, &path.key("url")),
                checksum_url: self.optional(binary.checksum_url.as_ref(), &path.key("checksum_url")),
            };
            self.add(&mut binaries, made, &section, &path);
        }
        Some(Kubernetes { version, binaries })
    }

    /// Adds an entry unless the same one is there already.
    fn add<T: PartialEq>(&mut self, list: &mut Vec<T>, entry: T, section: &YamlPath, template: &YamlPath) {
        if !list.contains(&entry) {
            self.came_from(section, list.len(), template);
            list.push(entry);
        }
    }

    fn tools(&mut self, templates: &[ToolTemplate]) -> Vec<Tool> {
        let section = YamlPath::root().key("tools");
        let mut tools = Vec::new();
        for (index, tool) in templates.iter().enumerate() {
            if !self.wanted(tool.when.as_ref()) {
                continue;
            }
            let path = section.index(index);
            let made = Tool {
                name: self.text(&tool.name, &path.key("name")),
                version: self.text(&tool.version, &path.key("version")),
                url: self.text(&tool.url, &path.key("url")),
                checksum_url: self.optional(tool.checksum_url.as_ref(), &path.key("checksum_url")),
                extract: tool.extract,
                binary: self.optional(tool.binary.as_ref(), &path.key("binary")),
                carry: tool.carry,
            };
            self.add(&mut tools, made, &section, &path);
        }
        tools
    }

    fn repositories(&mut self, templates: &[RepositoryTemplate]) -> Vec<Repository> {
        let section = YamlPath::root().key("repositories");
        let mut repositories = Vec::new();
        for (index, repository) in templates.iter().enumerate() {
            if !self.wanted(repository.when.as_ref()) {
                continue;
            }
            let path = section.index(index);
            let made = Repository {
                name: self.text(&repository.name, &path.key("name")),
                url: self.text(&repository.url, &path.key("url")),
                reference: self.optional(repository.reference.as_ref(), &path.key("ref")),
                commit: self.optional(repository.commit.as_ref(), &path.key("commit")),
            };
            self.add(&mut repositories, made, &section, &path);
        }
        repositories
    }

    fn images(&mut self, templates: &[ImageTemplate]) -> Vec<Image> {
        let from = YamlPath::root().key("images");
        let section = from.key("auto_discover");
        let mut images = Vec::new();
        for (index, template) in templates.iter().enumerate() {
            let path = from.index(index);
            if template.image.is_none() && template.images.is_empty() {
                self.problems.push(Problem::new(&path, "an entry names no image", "give it `image` or `images`"));
            }
            if !self.wanted(template.when.as_ref()) {
                continue;
            }
            if let Some(image) = &template.image {
                let made = Image { image: self.text(image, &path.key("image")) };
                self.add(&mut images, made, &section, &path.key("image"));
            }
            for (index, image) in template.images.iter().enumerate() {
                let path = path.key("images").index(index);
                let made = Image { image: self.text(image, &path) };
                self.add(&mut images, made, &section, &path);
            }
        }
        images
    }

    fn charts(&mut self, templates: &[ChartTemplate]) -> Vec<Chart> {
        let section = YamlPath::root().key("charts");
        let mut charts = Vec::new();
        for (index, chart) in templates.iter().enumerate() {
            if !self.wanted(chart.when.as_ref()) {
                continue;
            }
            let path = section.index(index);
            let values = path.key("values");
            let made = Chart {
                name: self.text(&chart.name, &path.key("name")),
                repo: self.text(&chart.repo, &path.key("repo")),
                version: self.text(&chart.version, &path.key("version")),
                namespace: self.optional(chart.namespace.as_ref(), &path.key("namespace")),
                values: chart.values.iter().enumerate().map(|(i, file)| self.text(file, &values.index(i))).collect(),
                deploy: chart.deploy,
            };
            self.add(&mut charts, made, &section, &path);
        }
        charts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = r#"
kubernetes:
  version: "{{K}}"
  binaries:
    - {name: kubectl, url: "https://x/{{version}}/{{arch}}/kubectl", checksum_url: "https://x/{{K|bare}}.sha256"}
    - {name: other, when: NOTHING, url: "https://x/{{NOTHING}}"}
images:
  - image: "r.io/a:{{K}}"
  - when: CNI == calico
    images: ["q.io/node:{{C}}", "q.io/cni:{{C}}", "q.io/node:{{C}}"]
charts:
  - {name: c, repo: "https://charts", version: "{{C}}", values: v.yaml}
"#;

    fn pins() -> Pins {
        [("K", "v1.2.3"), ("CNI", "calico"), ("C", "v3")].into_iter().collect()
    }

    #[test]
    fn pins_become_components() {
        let catalog: Catalog = serde_yaml::from_str(CATALOG).unwrap();
        let generation = catalog.generate(&pins()).unwrap();
        let kubernetes = generation.manifest.kubernetes.as_ref().unwrap();
        assert_eq!(kubernetes.version, "v1.2.3");
        assert_eq!(kubernetes.binaries.len(), 1, "the condition leaves the other one out");
        assert_eq!(kubernetes.binaries[0].url, "https://x/{{version}}/{{arch}}/kubectl");
        assert_eq!(kubernetes.binaries[0].checksum_url.as_deref(), Some("https://x/1.2.3.sha256"));
        let images: Vec<&str> = generation.manifest.images.iter().map(|image| image.image.as_str()).collect();
        assert_eq!(images, ["r.io/a:v1.2.3", "q.io/node:v3", "q.io/cni:v3"], "a repetition is dropped");
        let place = YamlPath::root().key("images").key("auto_discover").index(2).key("image");
        assert_eq!(generation.origin(&place).to_string(), "images[1].images[1]");
        assert_eq!(generation.manifest.charts[0].values, ["v.yaml"]);
        let place = YamlPath::root().key("charts").index(0).key("version");
        assert_eq!(generation.origin(&place).to_string(), "charts[0].version");
    }

    #[test]
    fn a_variable_without_a_value_is_a_problem_at_its_template() {
        let catalog: Catalog =
            serde_yaml::from_str("images: [{image: 'a:{{X}}'}, {image: 'b:{{EMPTY}}'}, {}]").unwrap();
        let pins: Pins = [("EMPTY", "")].into_iter().collect();
        let problems = catalog.generate(&pins).unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], "images[0].image: `{{X}}`: versions.env does not set it");
        assert!(shown[1].contains("images[1].image") && shown[1].contains("to nothing"), "{}", shown[1]);
        assert!(shown[2].contains("names no image"));
    }
}
