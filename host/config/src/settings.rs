//! settings.yaml: the package, the registries, retries, limits.
//!
//! Every field has a default; the file may be empty but for the package name
//! and version. Unknown fields are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::problem::{Problem, YamlPath, redacted, shown};
use model::{CarriedFile, Package};
use serde::{Deserialize, Serialize};

use crate::catalog::ARCHITECTURES;
use crate::limits::PluginSettings;
use crate::limits::{Row, TABLE};
use crate::source::Source;
use crate::web::{host_problem, url_problem};
use crate::{components, local};
use base::digest::Digest;
use base::error::{Class, Result};
use base::layout;
use disk::tree;
use signing::PublicKey;

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

/// Name and version of the package, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSettings {
    /// `metadata.name` of the package: at most 63 lowercase letters, digits and
    /// `-`. A definition says it itself.
    #[serde(default)]
    pub name: String,
    /// `metadata.version` of the package, and part of the name of its file.
    #[serde(default)]
    pub version: String,
    /// `metadata.description` of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which documents its zarf.yaml holds.
    #[serde(default)]
    pub format: PackageFormat,
    /// Whether SBOMs are made, and carried in the package.
    #[serde(default = "yes")]
    pub sbom: bool,
    /// Of a definition that names none: `amd64` or `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The components of a definition that are of this flavor are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flavor: Option<String>,
    /// Values of a definition's package templates, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

impl Default for PackageSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            description: None,
            format: PackageFormat::default(),
            sbom: true,
            architecture: None,
            flavor: None,
            set: BTreeMap::new(),
        }
    }
}

/// What lies beside the package in the folder that is carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CarrySettings {
    /// This program for machines of other architectures, by architecture:
    /// files, relative to config/.
    pub programs: BTreeMap<String, PathBuf>,
    /// What else is fetched for it.
    pub files: Vec<CarriedFile>,
}

/// The forms of zarf.yaml in the package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageFormat {
    /// A v1alpha1 document and a v1beta1 document: for Zarf before and after
    /// 1.0.
    #[default]
    Both,
    /// A `zarf.dev/v1alpha1` document alone.
    V1alpha1,
    /// A `zarf.dev/v1beta1` document alone.
    V1beta1,
}

/// Everything over the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// Downloads at the same time, over all steps.
    pub concurrency: usize,
    /// Downloads at the same time from one registry or server.
    pub concurrency_per_host: usize,
    /// Seconds until a connection attempt is given up.
    pub connect_timeout: u64,
    /// Seconds of silence after which a request is given up and repeated.
    pub idle_timeout: u64,
    /// PEM files with certificate authorities that are trusted besides the
    /// built-in ones; relative to config/.
    pub ca_files: Vec<PathBuf>,
    /// `http://proxy:3128`; the environment's HTTPS_PROXY and http_proxy where
    /// missing.
    pub proxy: Option<String>,
    /// Hosts that are reached directly; the environment's NO_PROXY where
    /// missing.
    pub no_proxy: Option<String>,
    /// Rewrites of URL prefixes for files, charts and repositories, longest
    /// first: `https://dl.k8s.io/: https://mirror.example/k8s/`.
    pub url_mirrors: BTreeMap<String, String>,
    /// `host` or `host:port` of servers (not registries) that are reached
    /// over plain http.
    pub plain_http_hosts: Vec<String>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            concurrency: 16,
            concurrency_per_host: 8,
            connect_timeout: 20,
            idle_timeout: 30,
            ca_files: Vec::new(),
            proxy: None,
            no_proxy: None,
            url_mirrors: BTreeMap::new(),
            plain_http_hosts: Vec::new(),
        }
    }
}

/// How one registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySettings {
    /// Use http instead of https.
    pub plain_http: bool,
    /// Asked in order before the registry itself; the next one is asked where
    /// one is down or lacks the image.
    pub mirrors: Vec<Mirror>,
    /// Do not fall through to the registry itself.
    pub mirrors_only: bool,
    /// PEM file with the registry's certificate authority.
    pub ca_file: Option<PathBuf>,
    /// PEM files for a client certificate.
    pub client_certificate: Option<PathBuf>,
    /// PEM file with the key of the client certificate, where it is not in the same file.
    pub client_key: Option<PathBuf>,
    /// Downloads at the same time from this registry.
    pub concurrency: Option<usize>,
}

impl RegistrySettings {
    /// Where the client certificate lies, and its key where that is apart.
    pub fn identity(&self, config_dir: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
        let certificate = config_dir.join(self.client_certificate.as_ref()?);
        Some((certificate, self.client_key.as_ref().map(|key| config_dir.join(key))))
    }
}

/// `registry.example.com/prefix`, optionally over plain http.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `host[:port][/prefix]`: the repository path is appended.
    pub location: String,
    /// Speak http to it, without TLS.
    #[serde(default)]
    pub plain_http: bool,
}

/// When a failed request or step is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Attempts of one request without progress in between.
    pub requests: u32,
    /// Attempts of one step.
    pub steps: u32,
    /// Seconds before the first repetition; doubles each time, with jitter.
    pub backoff: f64,
    /// Seconds that a pause grows to at most.
    pub backoff_limit: f64,
    /// Seconds that a server may ask to wait before the build gives up with
    /// exit code 75 instead of waiting.
    pub longest_wait: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { requests: 5, steps: 3, backoff: 0.5, backoff_limit: 30.0, longest_wait: 900 }
    }
}

impl RetrySettings {
    /// The longest pause.
    pub fn limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.backoff_limit).unwrap_or_default()
    }

    /// How long to wait after so many failures in a row, from 1: doubles with
    /// each of them, up to the limit.
    pub fn pause(&self, failures: u32) -> Duration {
        let doublings = i32::try_from(failures.saturating_sub(1).min(30)).unwrap_or(30);
        let seconds = (self.backoff * 2f64.powi(doublings)).min(self.backoff_limit);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// The same with jitter, so that many who wait do not come back as one:
    /// from half of the pause to all of it, by `spread` in 0..1.
    pub fn pause_with_jitter(&self, failures: u32, spread: f64) -> Duration {
        self.pause(failures).mul_f64(0.5 + spread / 2.0)
    }
}

/// What is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecuritySettings {
    /// GiB of one downloaded file or layer.
    pub largest_download_gib: u64,
    /// GiB that one archive may unpack to.
    pub largest_unpacked_gib: u64,
    /// Refuse files for which no checksum is known.
    pub require_checksums: bool,
    /// Refuse plugins that none of `plugin_keys` has signed.
    pub require_signed_plugins: bool,
    /// Public keys that plugins are signed with, relative to config/.
    pub plugin_keys: Vec<PathBuf>,
    /// Whether the host confines itself before third-party plugins run.
    pub second_wall: SecondWall,
    /// Folders that stay writable behind the wall, besides those of the build:
    /// absolute, or below `~/`.
    pub writable: Vec<PathBuf>,
    /// TCP ports that may be connected to behind the wall, besides those that
    /// the configuration names.
    pub ports: Vec<u16>,
}

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

    fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
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

fn public_key(path: &Path) -> Result<PublicKey> {
    let bytes = disk::fs::read_optional(path, signing::key::LARGEST_FILE)?.unwrap_or_default();
    PublicKey::from_pem(&bytes).map_err(|error| error.with_class(Class::Configuration))
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

/// With which key packages are signed. Without one they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningSettings {
    /// A private key as `keygen` and cosign write it, relative to config/.
    pub key: Option<PathBuf>,
    /// A file whose first line is the key's password, relative to config/; the
    /// environment's COSIGN_PASSWORD where missing.
    pub password_file: Option<PathBuf>,
}

/// When the second wall stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondWall {
    /// Where the kernel can; a warning where it can not.
    #[default]
    Auto,
    /// No third-party plugin without it.
    Require,
    /// No wall, whatever the kernel can.
    Off,
}

impl Default for SecuritySettings {
    fn default() -> Self {
        Self {
            largest_download_gib: 64,
            largest_unpacked_gib: 16,
            require_checksums: false,
            require_signed_plugins: false,
            plugin_keys: Vec::new(),
            second_wall: SecondWall::default(),
            writable: Vec::new(),
            ports: Vec::new(),
        }
    }
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
        choice_problems(&self.package, is_defined, &mut problems);
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

/// What only a definition knows.
fn choice_problems(package: &PackageSettings, is_defined: bool, problems: &mut Vec<Problem>) {
    let path = YamlPath::root().key("package");
    let PackageSettings { architecture, flavor, set, .. } = package;
    let has = [("architecture", architecture.is_some()), ("flavor", flavor.is_some()), ("set", !set.is_empty())];
    for (key, _) in has.into_iter().filter(|(_, is_there)| *is_there && !is_defined) {
        let hint =
            "name it: `definition: zarf.yaml`; without one versions.env has TARGET_ARCH, and the catalog conditions";
        problems.push(Problem::new(&path.key(key), "is for a project with a definition", hint));
    }
    if let Some(unknown) = architecture.as_ref().filter(|name| !ARCHITECTURES.contains(&name.as_str())) {
        let message = format!("`{}` is no architecture of nodes", shown(unknown));
        problems.push(Problem::new(&path.key("architecture"), message, format!("use {}", ARCHITECTURES.join(" or "))));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(bad) = flavor.as_ref().filter(|name| name.is_empty() || name.len() > 63 || !name.chars().all(plain)) {
        let message = format!("`{}` is no flavor", shown(bad));
        problems.push(Problem::new(
            &path.key("flavor"),
            message,
            "use letters, digits, `.`, `_` and `-`: it becomes part of the file name",
        ));
    }
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    for bad in set.keys().filter(|name| name.is_empty() || !name.chars().all(plain)) {
        let message = format!("`{}` is no name of a template", shown(bad));
        let hint = "write what stands between `###ZARF_PKG_TMPL_` and `###`: uppercase letters, digits and `_`";
        problems.push(Problem::new(&path.key("set").key(bad), message, hint));
    }
}

/// What is wrong with name and version; either may be missing where a
/// definition says it.
pub(crate) fn package_problems(package: &PackageSettings, is_defined: bool, problems: &mut Vec<Problem>) {
    let path = YamlPath::root().key("package");
    let name_fits = package.name.len() <= 63
        && package.name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && package.name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !package.name.ends_with('-');
    let is_named_elsewhere = is_defined && package.name.is_empty();
    if !name_fits && !is_named_elsewhere {
        problems.push(Problem::new(
            &path.key("name"),
            if package.name.is_empty() {
                "is missing or empty".to_owned()
            } else {
                format!("`{}` is no package name", shown(&package.name))
            },
            "use at most 63 lowercase letters, digits and dashes, no dash first or last, for example opencenter-airgap",
        ));
    }
    let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-'));
    let version = &package.version;
    let is_missing = version.is_empty() && !is_defined;
    if is_missing
        || version.len() > 100
        || version.contains(bad)
        || (!version.is_empty() && tree::check_path(version).is_err())
    {
        problems.push(Problem::new(
            &path.key("version"),
            if version.is_empty() {
                "is missing or empty".to_owned()
            } else {
                format!("`{}` is no package version", shown(version))
            },
            "use letters, digits, `.`, `_`, `+` and `-`, for example \"1.0.0\"; it becomes part of the file name",
        ));
    }
}

/// Checks that a number lies in a range.
fn range<N: PartialOrd + std::fmt::Display>(
    value: N,
    from: N,
    to: N,
    unit: &str,
    path: &YamlPath,
    problems: &mut Vec<Problem>,
) {
    if !(value >= from && value <= to) {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        problems.push(Problem::new(
            path,
            format!("{value} is out of range"),
            format!("use {from} to {to}{unit}, or remove the line to get the default"),
        ));
    }
}

impl SigningSettings {
    fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("signing");
        for (name, named) in [("key", &self.key), ("password_file", &self.password_file)] {
            if let Some(named) = named {
                file(named, config, &path.key(name), problems);
            }
        }
        if self.password_file.is_some() && self.key.is_none() {
            let message = "there is no `key` that this would be the password of";
            problems.push(Problem::new(&path.key("password_file"), message, "name the `key`, or remove the line"));
        }
    }
}

/// A file that the settings name must be there.
fn file(relative: &Path, config: &Path, path: &YamlPath, problems: &mut Vec<Problem>) -> bool {
    let full = config.join(relative);
    if !full.is_file() {
        problems.push(Problem::new(
            path,
            format!("there is no file `{}`", layout::shown(&full)),
            "the path is relative to the configuration folder",
        ));
        return false;
    }
    true
}

/// A file of certificate authorities must hold some.
fn authorities(relative: &Path, config: &Path, path: &YamlPath, problems: &mut Vec<Problem>) {
    if file(relative, config, path, problems) {
        refused(trust::check_authorities(&config.join(relative)), path, problems);
    }
}

fn refused(result: Result<()>, path: &YamlPath, problems: &mut Vec<Problem>) {
    if let Err(error) = result {
        problems.push(Problem::new(path, error.one_line(), error.hint_text().unwrap_or("correct the file")));
    }
}

impl CarrySettings {
    fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("carry");
        for (architecture, program) in &self.programs {
            let at = path.key("programs").key(architecture);
            if !ARCHITECTURES.contains(&architecture.as_str()) {
                let message = format!("`{}` is no architecture of nodes", shown(architecture));
                problems.push(Problem::new(&at, message, format!("use {}", ARCHITECTURES.join(" or "))));
            }
            file(program, config, &at, problems);
        }
        for (index, carried) in self.files.iter().enumerate() {
            carried_problems(carried, &path.key("files").index(index), problems);
        }
    }
}

fn carried_problems(carried: &CarriedFile, path: &YamlPath, problems: &mut Vec<Problem>) {
    let CarriedFile { name, url, sha256, checksum_url } = carried;
    problems.extend(components::name_problem(&name.replace("{{arch}}", "amd64"), "a file", &path.key("name")));
    let urls = [("url", Some(url)), ("checksum_url", checksum_url.as_ref())];
    for (key, url) in urls.into_iter().filter_map(|(key, url)| Some((key, url?))) {
        // Braces are no part of an address, and stand for one here.
        let plain = url.replace("{{arch}}", "amd64");
        problems.extend(url_problem(&plain, &["https", "http"], &path.key(key)));
    }
    if let Some(sha256) = sha256.as_ref().filter(|digits| digits.parse::<Digest>().is_err()) {
        let message = format!("`{}` is no SHA-256", shown(sha256));
        problems.push(Problem::new(&path.key("sha256"), message, "write its 64 hexadecimal digits"));
    }
    if sha256.is_none() && checksum_url.is_none() {
        let message = format!("nothing says what `{}` has to be", shown(name));
        problems.push(Problem::new(path, message, "give it `sha256` or `checksum_url`"));
    }
    if sha256.is_some() && checksum_url.is_some() {
        let message = format!("`{}` has a `sha256` and a `checksum_url`", shown(name));
        problems.push(Problem::new(path, message, "keep one of them: `sha256` needs nobody else's word"));
    }
}

impl NetworkSettings {
    fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("network");
        range(self.concurrency, 1, 256, "downloads", &path.key("concurrency"), problems);
        range(self.concurrency_per_host, 1, 256, "downloads", &path.key("concurrency_per_host"), problems);
        range(self.connect_timeout, 1, 3600, "seconds", &path.key("connect_timeout"), problems);
        range(self.idle_timeout, 1, 3600, "seconds", &path.key("idle_timeout"), problems);
        for (index, ca) in self.ca_files.iter().enumerate() {
            authorities(ca, config, &path.key("ca_files").index(index), problems);
        }
        let proxy = self.proxy.as_deref();
        problems.extend(proxy.and_then(|proxy| url_problem(proxy, &["http", "https"], &path.key("proxy"))));
        for (from, to) in &self.url_mirrors {
            let at = path.key("url_mirrors").key(from);
            problems.extend([from, to].into_iter().filter_map(|url| url_problem(url, &["https", "http"], &at)));
            if from.ends_with('/') != to.ends_with('/') {
                problems.push(Problem::new(
                    &at,
                    format!("only one of `{}` and `{}` ends in `/`", shown(&redacted(from)), shown(&redacted(to))),
                    "end both in `/`: the beginning of an address is replaced as it is written",
                ));
            }
        }
        for (index, host) in self.plain_http_hosts.iter().enumerate() {
            problems.extend(host_problem(host, &path.key("plain_http_hosts").index(index)));
        }
    }
}

impl RegistrySettings {
    fn problems(&self, name: &str, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("registries").key(name);
        problems.extend(host_problem(name, &path));
        if matches!(name, "index.docker.io" | "registry-1.docker.io") {
            problems.push(Problem::new(&path, format!("`{name}` is Docker Hub"), "write docker.io"));
        }
        for (index, mirror) in self.mirrors.iter().enumerate() {
            let at = path.key("mirrors").index(index).key("location");
            let host = mirror.location.split('/').next().unwrap_or_default();
            let prefix = mirror.location.strip_prefix(host).unwrap_or_default().trim_end_matches('/');
            let whole = if mirror.location.contains("://") { &mirror.location } else { host };
            problems.extend(host_problem(whole, &at));
            if let Some(prefix) = prefix.strip_prefix('/')
                && let Err(error) = tree::check_path(prefix)
            {
                problems.push(Problem::new(&at, error.message(), "write host[:port]/prefix"));
            }
        }
        if self.mirrors_only && self.mirrors.is_empty() {
            let at = path.key("mirrors_only");
            problems.push(Problem::new(&at, "there are no mirrors to use only", "list `mirrors`, or remove the line"));
        }
        if let Some(ca) = &self.ca_file {
            authorities(ca, config, &path.key("ca_file"), problems);
        }
        let files = [("client_certificate", &self.client_certificate), ("client_key", &self.client_key)];
        let there = files.into_iter().filter_map(|(key, named)| Some((key, named.as_ref()?)));
        if there.filter(|(key, named)| file(named, config, &path.key(key), problems)).count() == files.len() {
            let identity =
                self.identity(config).map(|(certificate, key)| trust::identity(&certificate, key.as_deref()));
            refused(identity.transpose().map(drop), &path.key("client_certificate"), problems);
        }
        if self.client_certificate.is_some() != self.client_key.is_some() {
            problems.push(Problem::new(
                &path,
                format!("the registry `{name}` has only one of `client_certificate` and `client_key`"),
                "name both files; they may be the same one",
            ));
        }
        if let Some(concurrency) = self.concurrency {
            range(concurrency, 1, 256, "downloads", &path.key("concurrency"), problems);
        }
    }
}

impl RetrySettings {
    fn problems(&self, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("retries");
        range(self.requests, 1, 100, "attempts", &path.key("requests"), problems);
        range(self.steps, 1, 100, "attempts", &path.key("steps"), problems);
        range(self.backoff, 0.0, 3600.0, "seconds", &path.key("backoff"), problems);
        range(self.backoff_limit, 0.0, 3600.0, "seconds", &path.key("backoff_limit"), problems);
        range(self.longest_wait, 0, 7 * 24 * 3600, "seconds", &path.key("longest_wait"), problems);
        if self.backoff_limit < self.backoff {
            problems.push(Problem::new(
                &path.key("backoff_limit"),
                format!("the longest pause, {} s, is shorter than the first, {} s", self.backoff_limit, self.backoff),
                "raise `backoff_limit` or lower `backoff`",
            ));
        }
    }
}

impl PluginSettings {
    fn problems(&self, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("plugins");
        for Row { limit, key, from, to, unit, .. } in TABLE {
            range(self.get(*limit), *from, *to, unit, &path.key(key), problems);
        }
    }
}

impl SecuritySettings {
    /// The keys that plugins are signed with.
    ///
    /// # Errors
    /// `configuration` for what is no key any more.
    pub fn keys(&self, config: &Path) -> Result<Vec<PublicKey>> {
        self.plugin_keys.iter().map(|key| public_key(&config.join(key))).collect()
    }

    fn key_problems(&self, config: &Path, path: &YamlPath, problems: &mut Vec<Problem>) {
        for (index, key) in self.plugin_keys.iter().enumerate() {
            let at = path.key("plugin_keys").index(index);
            if file(key, config, &at, problems) {
                refused(public_key(&config.join(key)).map(drop), &at, problems);
            }
        }
        if self.require_signed_plugins && self.plugin_keys.is_empty() {
            let message = "no key is named that could have signed a plugin";
            let hint = "list the public keys that you trust under `plugin_keys`";
            problems.push(Problem::new(&path.key("require_signed_plugins"), message, hint));
        }
    }

    /// What of it decides about the content of a package.
    fn content(&self) -> serde_json::Value {
        serde_json::json!({
            "largest_download_gib": self.largest_download_gib,
            "largest_unpacked_gib": self.largest_unpacked_gib,
            "require_checksums": self.require_checksums,
        })
    }

    fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("security");
        self.key_problems(config, &path, problems);
        range(self.largest_download_gib, 1, 1 << 20, "GiB", &path.key("largest_download_gib"), problems);
        range(self.largest_unpacked_gib, 1, 1 << 20, "GiB", &path.key("largest_unpacked_gib"), problems);
        for (index, folder) in self.writable.iter().enumerate() {
            if !(folder.is_absolute() || folder.starts_with("~")) || folder == Path::new("/") {
                problems.push(Problem::new(
                    &path.key("writable").index(index),
                    format!("`{}` is no folder that can be left open", shown(&folder.to_string_lossy())),
                    "write an absolute path, or one that begins with `~/`",
                ));
            }
        }
        for (index, port) in self.ports.iter().enumerate() {
            range(*port, 1, u16::MAX, "", &path.key("ports").index(index), problems);
        }
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
    fn pauses_double_and_end_at_the_limit() {
        let retries = RetrySettings::default();
        let pauses: Vec<_> = (1..9).map(|failures| retries.pause(failures).as_secs_f64()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!((retries.pause(0), retries.pause(u32::MAX)), (retries.pause(1), retries.limit()));
        assert_eq!(retries.pause_with_jitter(2, 0.0), Duration::from_millis(500));
    }

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
