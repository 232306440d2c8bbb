//! `registries`: how one registry is reached, by its host.

use std::path::{Path, PathBuf};

use model::problem::{Problem, YamlPath};
use serde::{Deserialize, Serialize};

use super::check::{authorities, file, range, refused};
use crate::web::host_problem;
use disk::tree;

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

impl RegistrySettings {
    pub(super) fn problems(&self, name: &str, config: &Path, problems: &mut Vec<Problem>) {
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
