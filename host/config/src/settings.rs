//! settings.yaml: the package, the registries, retries, limits. A module for each
//! section, with its defaults and what it refuses.
//!
//! Every field has a default; the file may be empty but for the package name
//! and version. Unknown fields are refused.

use std::collections::BTreeMap;
use std::path::Path;

use model::Package;
use model::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use crate::limits::PluginSettings;
use crate::local;
use crate::source::Source;
use base::error::Result;

pub use self::signing::SigningSettings;
pub use carry::CarrySettings;
pub use images::{Discover, ImagesSettings, VerifyRule, matches};
pub use network::NetworkSettings;
pub(crate) use package::package_problems;
pub use package::{PackageFormat, PackageSettings};
pub use registries::{Mirror, RegistrySettings};
pub use retries::RetrySettings;
pub use security::{SecondWall, SecuritySettings};

mod carry;
mod check;
mod images;
mod network;
mod package;
mod plugins;
mod registries;
mod retries;
mod security;
mod signing;

/// config/settings.yaml.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A package definition, relative to the folder that holds config/: its
    /// components are built as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// What the package is called, and how it is written.
    pub package: PackageSettings,
    /// What lies beside the package in a folder that is carried.
    pub carry: CarrySettings,
    /// How servers are reached, and how many at a time.
    pub network: NetworkSettings,
    /// By registry host as it appears in references: `docker.io`,
    /// `registry.example.com:5000`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// When something that failed is tried again.
    pub retries: RetrySettings,
    /// What one plugin call may take.
    pub plugins: PluginSettings,
    /// What is refused, and how the host confines itself.
    pub security: SecuritySettings,
    /// What is asked about images: their referrers, and who must have signed them.
    pub images: ImagesSettings,
    /// The key that packages are signed with.
    pub signing: SigningSettings,
}

impl Settings {
    /// Reads a settings.yaml; `config` is the folder it lies in. Where the
    /// project `is_defined` by a definition, that names the package.
    ///
    /// # Errors
    /// `configuration` with the line of every problem.
    pub fn parse(source: &Source, config: &Path, is_defined: bool) -> Result<Self> {
        let (settings, _) = source.checked::<Self>(None, |settings| settings.problems(config, is_defined))?;
        Ok(settings)
    }

    /// What of the settings decides about the content of a package: not how
    /// it is fetched.
    pub fn content(&self) -> serde_json::Value {
        let mut content = serde_json::json!({ "package": self.package, "security": self.security.content() });
        if let Some(definition) = &self.definition {
            content["definition"] = serde_json::json!(definition);
        }
        if !self.carry.files.is_empty() {
            content["carry"] = serde_json::json!(self.carry.files);
        }
        if self.images != ImagesSettings::default() {
            content["images"] = serde_json::json!(self.images);
        }
        content
    }

    /// What a component manifest is resolved for.
    pub fn identity(&self) -> Package {
        let PackageSettings { name, version, description, .. } = self.package.clone();
        Package { name, version, description, carry: self.carry.files.clone() }
    }

    /// Everything that is wrong, in the order of the documentation.
    pub fn problems(&self, config: &Path, is_defined: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let place = YamlPath::root().key("definition");
        problems.extend(self.definition.as_deref().and_then(|path| local::problem(path, &place)));
        package_problems(&self.package, is_defined, &mut problems);
        package::choice_problems(&self.package, is_defined, &mut problems);
        self.carry.problems(config, &mut problems);
        self.network.problems(config, &mut problems);
        for (name, registry) in &self.registries {
            registry.problems(name, config, &mut problems);
        }
        self.retries.problems(&mut problems);
        self.plugins.problems(&mut problems);
        self.security.problems(config, &mut problems);
        self.images.problems(config, &mut problems);
        self.signing.problems(config, &mut problems);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings> {
        let source = Source::of("config/settings.yaml".into(), text.as_bytes().to_vec()).unwrap();
        Settings::parse(&source, Path::new("/nowhere"), false)
    }

    const PACKAGE: &str = "package: {name: a, version: '1'}\n";

    #[test]
    fn name_and_version_are_enough() {
        let settings = parse(PACKAGE).unwrap();
        let expected = PackageSettings { name: "a".into(), version: "1".into(), ..PackageSettings::default() };
        assert_eq!(settings, Settings { package: expected, ..Settings::default() });
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        for (text, place, word) in [
            ("package: {name: Big, version: '1'}", "1:17", "`Big` is no package name"),
            ("package: {name: -a, version: '1'}", "1:17", "no package name"),
            ("package: {name: a-, version: '1'}", "1:17", "no package name"),
            ("package: {name: a, version: '1-💥'}", "1:29", "no package version"),
            ("package: {name: a, version: 'a/b'}", "1:29", "no package version"),
            ("package: {name: a}", "1:", "package.version: is missing or empty"),
            ("", "1:1", "package.name: is missing"),
            ("carry: {programs: {riscv64: settings.yaml}}", "2:", "no architecture"),
            ("carry: {programs: {arm64: nowhere}}", "2:", "there is no file"),
            (
                "carry: {files: [{name: a/b, url: 'https://h/x', checksum_url: 'https://h/y'}]}",
                "2:24",
                "contains a `/`",
            ),
            ("carry: {files: [{name: a, url: 'ftp://h/x', checksum_url: 'https://h/y'}]}", "2:32", "scheme"),
            ("carry: {files: [{name: a, url: 'https://h/{{arch}}', sha256: '00'}]}", "2:62", "no SHA-256"),
            ("carry: {files: [{name: a, url: 'https://h/x'}]}", "2:", "nothing says"),
            ("netwrok: {}", "2:1", "unknown field `netwrok`"),
            ("security: {require_signed_plugins: true}", "2:", "no key is named"),
            ("security: {plugin_keys: [nowhere.pub]}", "2:", "there is no file"),
            ("network: {concurrency: 0}", "2:24", "0 is out of range"),
            ("network: {concurrency: 1000}", "2:24", "out of range"),
            ("network: {idle_timeout: -1}", "2:25", "expected a number"),
            ("network: {ca_files: [ca.pem]}", "2:22", "there is no file"),
            ("network: {proxy: 'http://u:hunter2@p:3128'}", "2:18", "credentials"),
            ("network: {proxy: 'socks5://p:1080'}", "2:18", "scheme"),
            ("network: {url_mirrors: {'https://a/': 'https://b'}}", "2:39", "ends in `/`"),
            ("network: {url_mirrors: {'a': 'https://b'}}", "2:", "not a URL"),
            ("network: {plain_http_hosts: ['http://a']}", "2:30", "scheme"),
            ("registries: {'https://a': {}}", "2:", "scheme"),
            ("registries: {index.docker.io: {}}", "2:", "Docker Hub"),
            ("registries: {a.b: {mirrors: [{location: 'https://m/x'}]}}", "2:", "scheme"),
            ("registries: {a.b: {mirrors: [{location: 'm.c/../x'}]}}", "2:", "`..`"),
            ("registries: {a.b: {mirrors_only: true}}", "2:", "no mirrors"),
            ("registries: {a.b: {client_key: k.pem}}", "2:", "there is no file"),
            ("registries: {a.b: {}, a.b: {}}", "2:23", "second time"),
            ("retries: {requests: 0}", "2:21", "out of range"),
            ("retries: {backoff: .nan}", "2:20", "out of range"),
            ("retries: {backoff: 60}", "2:", "shorter than the first"),
            ("plugins: {memory_mib: 0}", "2:23", "out of range"),
            ("plugins: {compile_mib: 255}", "2:24", "out of range"),
            ("plugins: {compile_seconds: 0}", "2:28", "out of range"),
            ("plugins: {schema_kib: 0}", "2:23", "out of range"),
            ("security: {second_wall: perhaps}", "2:", "unknown variant `perhaps`"),
            ("security: {writable: [caches]}", "2:23", "no folder"),
            ("security: {writable: [/]}", "2:23", "no folder"),
            ("security: {ports: [0]}", "2:20", "out of range"),
            ("plugins: {scratch_files: 0}", "2:26", "0 is out of range"),
            ("plugins: {host_limit: 604801}", "2:23", "out of range"),
            ("security: {largest_download_gib: 0}", "2:34", "out of range"),
            ("security: {require_checksums: maybe}", "2:", "expected a boolean"),
        ] {
            let whole = if text.starts_with("package") || text.is_empty() {
                text.to_owned()
            } else {
                format!("{PACKAGE}{text}")
            };
            let error = parse(&whole).unwrap_err();
            let expected = format!("config/settings.yaml:{place}");
            assert!(
                error.message().starts_with(&expected) && error.message().contains(word),
                "{text}: {}",
                error.message()
            );
            assert!(error.hint_text().is_some(), "{text}");
            assert!(!error.message().contains("hunter2"));
        }
    }

    #[test]
    fn how_things_are_fetched_does_not_change_the_content() {
        let one = parse(PACKAGE).unwrap();
        let fetched_otherwise = parse(&format!(
            "{PACKAGE}network: {{concurrency: 3}}\nretries: {{steps: 9}}\nregistries: {{a.b: {{plain_http: true}}}}"
        ));
        assert_eq!(one.content(), fetched_otherwise.unwrap().content());
        let behind_no_wall = parse(&format!("{PACKAGE}security: {{second_wall: off, ports: [1]}}")).unwrap();
        assert_eq!(one.content(), behind_no_wall.content());
        let stricter = parse(&format!("{PACKAGE}security: {{require_checksums: true}}")).unwrap();
        assert_ne!(one.content(), stricter.content());
    }
}
