//! Networks for tests: plain http to loopback, short pauses.

use std::path::Path;

use crate::network::{Network, NetworkEnvironment};
use config::settings::{RegistrySettings, Settings};
use entitlement::grants::{Grants, Restriction, Rules};

/// What a plugin with these grants is held to.
pub(crate) fn below(prefixes: &[&str]) -> Restriction {
    rules(prefixes).restriction("host.of.no.grant.example", "sbom").unwrap()
}

pub(crate) fn rules(prefixes: &[&str]) -> Rules {
    let fetch = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
    Rules::new(&Grants { fetch, ..Grants::default() }).unwrap()
}

/// Pauses of milliseconds, one second of silence, plain http for `registries`.
pub(crate) fn settings(registries: &[&str]) -> Settings {
    let mut settings = Settings::default();
    settings.retries.backoff = 0.01;
    settings.retries.backoff_limit = 0.05;
    settings.network.idle_timeout = 1;
    for registry in registries {
        let plain = RegistrySettings { plain_http: true, ..RegistrySettings::default() };
        settings.registries.insert((*registry).to_owned(), plain);
    }
    settings
}

pub(crate) fn network(settings: &Settings) -> Network {
    Network::new(settings, Path::new("."), environment(None)).unwrap()
}

/// With docker's configuration at `docker_config`.
pub(crate) fn logged_in(settings: &Settings, docker_config: &Path) -> Network {
    Network::new(settings, Path::new("."), environment(Some(docker_config))).unwrap()
}

fn environment(docker_config: Option<&Path>) -> NetworkEnvironment {
    NetworkEnvironment {
        docker_config: docker_config.map(Path::to_owned),
        user_agent: "opencenter-airgap/test".into(),
        ..NetworkEnvironment::default()
    }
}
