//! `images`: what is asked about images, who must have signed them, and what becomes
//! of those that charts deploy.

use std::path::{Path, PathBuf};

use model::problem::{Problem, YamlPath, shown};
use serde::{Deserialize, Serialize};

use super::check::{file, public_key, refused};
use base::error::Result;
use signing::PublicKey;

/// What is asked about images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesSettings {
    /// Carry what the registry holds about an image: signatures, attestations,
    /// SBOMs.
    pub referrers: bool,
    /// Whose signature an image needs; the first rule that matches counts.
    pub verify: Vec<VerifyRule>,
    /// What becomes of images that charts render to and components.yaml lacks.
    pub discover: Discover,
    /// API versions that the cluster knows beside those of Kubernetes, for charts
    /// that ask: `monitoring.coreos.com/v1`.
    pub api_versions: Vec<String>,
}

/// What becomes of images that charts deploy and components.yaml lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discover {
    /// No chart is rendered: the static search alone tells what is lacking.
    Off,
    /// Charts are rendered, and what is lacking is told.
    #[default]
    Report,
    /// Charts are rendered, and what is lacking goes into the package.
    Add,
}

/// Images, and the key that must have signed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRule {
    /// The complete name, with or without the tag; `*` stands for anything:
    /// `registry.example.com/team/*`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The public key, relative to config/.
    pub key: PathBuf,
}

impl ImagesSettings {
    /// The keys of the rules, in their order.
    ///
    /// # Errors
    /// `configuration` for what is no key any more.
    pub fn keys(&self, config: &Path) -> Result<Vec<PublicKey>> {
        self.verify.iter().map(|rule| public_key(&config.join(&rule.key))).collect()
    }

    pub(super) fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        for (index, version) in self.api_versions.iter().enumerate() {
            if !is_api_version(version) {
                let path = YamlPath::root().key("images").key("api_versions").index(index);
                let message = format!("`{}` is no API version", shown(version));
                problems.push(Problem::new(&path, message, "write one such as `monitoring.coreos.com/v1`"));
            }
        }
        for (index, rule) in self.verify.iter().enumerate() {
            let path = YamlPath::root().key("images").key("verify").index(index);
            if file(&rule.key, config, &path.key("key"), problems) {
                refused(public_key(&config.join(&rule.key)).map(drop), &path.key("key"), problems);
            }
            if rule.pattern.is_empty() || rule.pattern.contains(char::is_whitespace) {
                let message = format!("`{}` matches no image", shown(&rule.pattern));
                problems.push(Problem::new(
                    &path.key("match"),
                    message,
                    "write a name such as `registry.example.com/team/*`",
                ));
            }
        }
    }
}

/// `group/version`, and as charts ask as well with a kind behind it.
fn is_api_version(text: &str) -> bool {
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-'));
    text.len() <= 300 && text.split('/').count() <= 3 && text.split('/').all(is_word)
}

/// Whether a name fits a pattern, in which `*` stands for anything.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let name = "registry.example.com/team/app:1.0";
        for pattern in ["*", name, "registry.example.com/*", "*/app:*", "registry.*.com/team/*:1.0", "*1.0"] {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in [
            "",
            "registry.example.com/team",
            "example.com/*",
            "*/app",
            "*:1.0:1.0",
            "registry.example.com/team/app:1.0*0",
        ] {
            assert!(!matches(pattern, name), "{pattern}");
        }
    }
}
