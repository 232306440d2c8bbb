//! Chart.yaml, Chart.lock and their older forms: the fields, and what Helm
//! demands of them.

use std::collections::BTreeMap;

use image_finder::yaml;

use crate::decode::{Anything, Decode, Fields, Moment};
use crate::{Refusal, shown};

/// Bytes of a version; the limit of Helm's parser.
const LONGEST_VERSION: usize = 256;

/// What Chart.yaml says.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// What the chart is called; never empty once it is loaded.
    pub name: String,
    /// Its version; never empty once it is loaded.
    pub version: String,
    /// Of what it installs; empty where it says none.
    pub app_version: String,
    /// `v1` or `v2`.
    pub api_version: String,
    /// A constraint on the version of Kubernetes; empty for none.
    pub kube_version: String,
    /// `application`, `library`, or nothing.
    pub kind: String,
    /// The charts that it stands on; None for a row that is null.
    pub dependencies: Vec<Option<Dependency>>,
    maintainers: Vec<Option<Maintainer>>,
    keywords: Vec<String>,
    sources: Vec<String>,
    annotations: BTreeMap<String, String>,
    deprecated: bool,
    /// Texts that nobody asks for, and that must be texts.
    unused: String,
}

/// A row of `dependencies`.
#[derive(Clone, Debug, Default)]
pub struct Dependency {
    /// As its repository calls it.
    pub name: String,
    /// A constraint; empty where none is written.
    pub version: String,
    /// A URL, `oci://…`, `file://…` or `@name`; empty for what lies in `charts/`.
    pub repository: String,
    /// Under which name its values lie; empty for its own.
    pub alias: String,
    /// Paths in the values, separated by commas; the first that is there
    /// decides.
    pub condition: String,
    /// Values under `tags` that switch it on or off.
    pub tags: Vec<String>,
    enabled: bool,
    import_values: Vec<Anything>,
}

#[derive(Clone, Debug, Default)]
struct Maintainer {
    unused: String,
}

/// Chart.lock, which only has to be well formed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lock {
    generated: Moment,
    digest: String,
    dependencies: Vec<Option<Dependency>>,
}

impl Fields for Metadata {
    fn field(&mut self, key: &str) -> Option<&mut dyn Decode> {
        Some(match key {
            "name" => &mut self.name,
            "version" => &mut self.version,
            "appversion" => &mut self.app_version,
            "apiversion" => &mut self.api_version,
            "kubeversion" => &mut self.kube_version,
            "type" => &mut self.kind,
            "dependencies" => &mut self.dependencies,
            "maintainers" => &mut self.maintainers,
            "keywords" => &mut self.keywords,
            "sources" => &mut self.sources,
            "annotations" => &mut self.annotations,
            "deprecated" => &mut self.deprecated,
            "home" | "description" | "icon" | "condition" | "tags" => &mut self.unused,
            _ => return None,
        })
    }
}

impl Dependency {
    /// Whether the chart takes values over from this one.
    pub(crate) fn imports_values(&self) -> bool {
        !self.import_values.is_empty()
    }
}

impl Fields for Dependency {
    fn field(&mut self, key: &str) -> Option<&mut dyn Decode> {
        Some(match key {
            "name" => &mut self.name,
            "version" => &mut self.version,
            "repository" => &mut self.repository,
            "alias" => &mut self.alias,
            "condition" => &mut self.condition,
            "tags" => &mut self.tags,
            "enabled" => &mut self.enabled,
            "import-values" => &mut self.import_values,
            _ => return None,
        })
    }
}

impl Fields for Maintainer {
    fn field(&mut self, key: &str) -> Option<&mut dyn Decode> {
        matches!(key, "name" | "email" | "url").then_some(&mut self.unused)
    }
}

impl Fields for Lock {
    fn field(&mut self, key: &str) -> Option<&mut dyn Decode> {
        Some(match key {
            "generated" => &mut self.generated,
            "digest" => &mut self.digest,
            "dependencies" => &mut self.dependencies,
            _ => return None,
        })
    }
}

/// Reads a YAML file of a chart into `target`, over what is there.
///
/// # Errors
/// What is wrong with it, with its line.
pub(crate) fn read(file: &str, bytes: &[u8], target: &mut dyn Decode) -> Result<(), Refusal> {
    let node = yaml::first(bytes).map_err(|error| Refusal::content(format!("its `{file}` is not YAML: {error}")))?;
    target.decode(&node, "").map_err(|why| Refusal::content(format!("its `{file}`, {why}")))
}

impl Metadata {
    /// What Helm demands when it loads a chart.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::content(format!("its `Chart.yaml` {why}")));
        let name = printable(&self.name);
        if name.is_empty() {
            return refuse("has no `name`".to_owned());
        }
        if name == "." || name == ".." || (name.contains('/') && name != "/") {
            return refuse(format!("has the name `{}`, which is no name of a folder", shown(&name)));
        }
        if self.version.is_empty() {
            return refuse("has no `version`".to_owned());
        }
        if !is_version(&self.version) {
            return refuse(format!("has the version `{}`, which is no version like `1.2.3`", shown(&self.version)));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return refuse(format!("has the type `{}`, neither `application` nor `library`", shown(&self.kind)));
        }
        if self.maintainers.iter().any(Option::is_none) {
            return refuse("has an empty row in `maintainers`".to_owned());
        }
        self.validate_dependencies()
    }

    fn validate_dependencies(&self) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::content(format!("its `Chart.yaml` {why}")));
        let mut seen = Vec::new();
        for dependency in &self.dependencies {
            let Some(dependency) = dependency else {
                return refuse("has an empty row in `dependencies`".to_owned());
            };
            let (name, alias) = (printable(&dependency.name), &dependency.alias);
            if !alias.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
                return refuse(format!("has the alias `{}`: letters, digits, `_` and `-` are allowed", shown(alias)));
            }
            let key = if alias.is_empty() { name } else { alias.clone() };
            if seen.contains(&key) {
                return refuse(format!("lists the dependency `{}` twice: give one of them an `alias`", shown(&key)));
            }
            seen.push(key);
        }
        Ok(())
    }
}

/// What Helm makes of a text before it looks at it: spaces are plain, and what
/// cannot be printed is gone.
pub(crate) fn printable(text: &str) -> String {
    let visible = |c: char| match c {
        c if c.is_whitespace() => Some(' '),
        c if c.is_control() => None,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => None,
        '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{10ffff}' => None,
        c => Some(c),
    };
    text.chars().filter_map(visible).collect()
}

/// A version as Helm's lenient parser takes it: `v1`, `1.2`, `01.2.3-rc.1+x`.
fn is_version(text: &str) -> bool {
    if text.len() > LONGEST_VERSION {
        return false;
    }
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u64>().is_ok();
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // A number before a release has no zero in front.
    let is_canonical =
        |part: &str| part.len() == 1 || !part.starts_with('0') || !part.bytes().all(|b| b.is_ascii_digit());
    numbers.len() <= 3
        && numbers.iter().all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| is_word(part) && is_canonical(part)))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_what_helm_takes() {
        for good in ["1", "v1", "1.2", "01.2.3", "1.2.3-rc.1+b.2", "1-a", "1.2+x", "1.2.3--", "18446744073709551615"] {
            assert!(is_version(good), "{good}");
        }
        for bad in
            ["", "v", "1.2.3.4", "latest", "1.2.x", "1.2.3-01", "1.2.3-", "1+", " 1", "vv1", "18446744073709551616"]
        {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
