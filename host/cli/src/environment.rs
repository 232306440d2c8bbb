//! The environment, read once. Nothing else in the program looks at it.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use base::error::{Error, Result};
use base::progress::Observer;
use confine::wall::Wall;
use engine::orchestrator::run::Environment;
use fetch::network::NetworkEnvironment;
use signing::{Password, PrivateKey};

/// What cosign takes the password of a key from as well.
pub(super) const PASSWORD: &str = "COSIGN_PASSWORD";
/// Of the year 9999, the last that timestamps can tell.
const LAST_SECOND: u64 = 253_402_300_799;

/// Every variable that means something to us.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    pub no_color: bool,
    pub columns: Option<usize>,
    pub source_date_epoch: Option<String>,
    pub network: NetworkEnvironment,
    /// Where compiled plugins are kept.
    pub cache_dir: Option<PathBuf>,
    /// Where it is kept how far uploads are.
    pub uploads_dir: Option<PathBuf>,
    /// The user's folder.
    pub home: Option<PathBuf>,
    /// Where temporary files go.
    pub temporary: PathBuf,
    /// Of the key that signs; an empty one is one as well.
    pub password: Option<Password>,
}

impl Variables {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(super) fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let either = |upper: &str, lower: &str| text(lower).or_else(|| text(upper));
        let home = text("HOME").map(PathBuf::from);
        let docker_config = text("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join(".docker")))
            .map(|folder| folder.join("config.json"));
        let cache_home =
            text("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".cache")));
        Self {
            no_color: text("NO_COLOR").is_some(),
            columns: text("COLUMNS").and_then(|columns| columns.parse().ok()),
            source_date_epoch: text("SOURCE_DATE_EPOCH"),
            network: NetworkEnvironment {
                https_proxy: either("HTTPS_PROXY", "https_proxy"),
                // The upper-case name is left out on purpose: a CGI server
                // sets it from a request's header.
                http_proxy: text("http_proxy"),
                no_proxy: either("NO_PROXY", "no_proxy"),
                docker_config,
                user_agent: format!("opencenter-airgap/{}", env!("CARGO_PKG_VERSION")),
            },
            cache_dir: cache_home.as_ref().map(|folder| folder.join("opencenter-airgap").join("compiled")),
            uploads_dir: cache_home.map(|folder| folder.join("opencenter-airgap").join("uploads")),
            home,
            temporary: std::env::temp_dir(),
            password: std::env::var_os(PASSWORD).map(|value| Password::new(value.into_vec())),
        }
    }

    /// What a run is given of it, for `build` and `update`.
    pub(super) fn of_run(
        &self,
        observer: Arc<dyn Observer>,
        cancel: CancellationToken,
        epoch: Option<u64>,
        wall: Wall,
        signer: Option<Arc<PrivateKey>>,
    ) -> Environment {
        Environment {
            observer,
            cancel,
            now: Timestamp::now,
            source_date_epoch: epoch,
            cache_dir: self.cache_dir.clone(),
            network: self.network.clone(),
            wall,
            signer,
        }
    }

    /// SOURCE_DATE_EPOCH in seconds.
    pub(super) fn epoch(&self) -> Result<Option<u64>> {
        self.source_date_epoch
            .as_ref()
            .map(|text| {
                text.parse().ok().filter(|seconds| *seconds <= LAST_SECOND).ok_or_else(|| {
                    Error::new(
                        base::error::Class::Usage,
                        format!("SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds"),
                    )
                    .hint("set it to seconds since 1970, such as the output of `git log -1 --format=%ct`, or unset it")
                })
            })
            .transpose()
    }
}
