//! `network`: how servers are reached, and how many at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::problem::{Problem, YamlPath, redacted, shown};
use serde::{Deserialize, Serialize};

use super::check::{authorities, range};
use crate::web::{host_problem, url_problem};

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

impl NetworkSettings {
    pub(super) fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
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
