//! settings.yaml: the package, the registries, retries, limits.
//!
//! Every field has a default; the file may be empty but for the package name
//! and version. Unknown fields are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use components::Package;
use serde::{Deserialize, Serialize};

/// config/settings.yaml.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub package: Package,
    pub network: NetworkSettings,
    /// By registry host as it appears in references: `docker.io`,
    /// `registry.example.com:5000`.
    pub registries: BTreeMap<String, RegistrySettings>,
    pub retries: RetrySettings,
    pub plugins: PluginSettings,
    pub security: SecuritySettings,
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
    /// `http://proxy:3128`; the environment's HTTPS_PROXY and HTTP_PROXY where
    /// missing.
    pub proxy: Option<String>,
    /// Hosts that are reached directly; the environment's NO_PROXY where
    /// missing.
    pub no_proxy: Option<String>,
    /// Rewrites of URL prefixes for files and charts, longest first:
    /// `https://dl.k8s.io/: https://mirror.example/k8s/`.
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
    pub client_key: Option<PathBuf>,
    /// Downloads at the same time from this registry.
    pub concurrency: Option<usize>,
}

/// `registry.example.com/prefix`, optionally over plain http.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `host[:port][/prefix]`: the repository path is appended.
    pub location: String,
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

/// Limits of every plugin call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginSettings {
    /// MiB over all memories of one call.
    pub memory_mib: u64,
    /// Seconds of guest time in one call.
    pub time_limit: u64,
    /// MiB that one call may write into its output tree, archives excluded.
    pub output_mib: u64,
    /// Files in one output tree.
    pub output_files: u64,
    /// KiB of stdout and stderr that are kept of one call.
    pub console_kib: u64,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self { memory_mib: 256, time_limit: 300, output_mib: 4096, output_files: 100_000, console_kib: 1024 }
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
}

impl Default for SecuritySettings {
    fn default() -> Self {
        Self { largest_download_gib: 64, largest_unpacked_gib: 16, require_checksums: false }
    }
}
