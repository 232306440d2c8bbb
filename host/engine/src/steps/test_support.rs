//! What the tests of several steps need.

use std::path::Path;

use config::airgap_lock::AirgapLock;
use config::settings::{RegistrySettings, Settings};
use fetch::network::{Network, NetworkEnvironment};
use fetch::shared_lock::SharedLock;

/// Pauses of milliseconds, one second of silence, plain http for `registries`.
pub(super) fn settings(registries: &[&str]) -> Settings {
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

pub(super) fn network(settings: &Settings) -> Network {
    let environment =
        NetworkEnvironment { user_agent: "opencenter-airgap/test".into(), ..NetworkEnvironment::default() };
    Network::new(settings, Path::new("."), environment).unwrap()
}

/// The lock as a user left it between two builds.
pub(super) fn edited(lock: &SharedLock, edit: impl FnOnce(&mut AirgapLock)) -> SharedLock {
    let mut text = lock.lock().clone();
    edit(&mut text);
    SharedLock::new(text)
}
