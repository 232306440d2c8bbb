//! The only place that connects to others.
//!
//! [`Network::manifest`] and [`Network::blob`] speak to registries (`oci`), and
//! [`Network::send_manifest`] and [`Network::send_blob`] write to them (`push`,
//! `upload`, `outflow`), [`Network::push_repository`] to git servers (`send_pack`),
//! [`Network::download`] to everything else (`download`); what plugins ask of
//! registries goes through `asked`. All go through one
//! `transport`: a place in the pool and in the host's window (`limits`), the
//! client with the host's certificates (`tls`) and without its proxy
//! where `direct` says so, redirects, silence. What to ask where is `mirrors`'
//! business, where a list goes on that of `pages`, who we are that of `auth`
//! and `credentials`, what a guest may reach that of `restrict`, `names` and
//! `addresses`; whatever is remembered of a server is so by `party`. A
//! body goes into a partial blob of the store (`transfer`, `buffer`, `sink`), under the
//! rules of `range`, and a failure is repeated by those of `retry`.
//!
//! No client exists before the first request.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};

use base::digest::Digest;
use base::error::{Error, Result};
use base::progress::Progress;
use config::settings::Settings;

mod addresses;
mod asked;
mod auth;
mod blocking;
mod buffer;
mod contradiction;
mod credentials;
mod direct;
mod download;
mod failure;
mod limits;
mod mirrors;
mod names;
mod oci;
mod outflow;
mod pages;
mod party;
mod push;
mod range;
mod referrers;
mod restrict;
mod retry;
mod send_pack;
mod sink;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(test)]
mod tls_tests;
mod transfer;
mod transport;
mod upload;
mod upload_notes;

pub use asked::held_at;
pub use auth::NO_CREDENTIALS;
pub use direct::Direct;
pub(crate) use download::seen;
pub use download::{Download, cached, cached_aside, remember, seen_again};
pub use failure::has_no_address;
pub use oci::{ManifestBytes, SharedBlob};
pub use outflow::{Opened, Pieces};
pub use referrers::Aside;
pub use send_pack::{Held, Parcel, Update};
pub use tls::check_proxies;
pub use upload::Outgoing;

use auth::{Auth, Course, Refusal, Subject};
use failure::Failure;
use party::PerParty;
use transport::{Answer, Request, Transport};
use upload_notes::Notes;

/// Registries that one request is sent on to and logs in at.
const MOST_LOGINS: usize = 3;

/// What the environment says about the network, read by `cli`.
#[derive(Clone, Default)]
pub struct NetworkEnvironment {
    /// `HTTPS_PROXY`: the proxy for https; None for none.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`: the proxy for http; None for none.
    pub http_proxy: Option<String>,
    /// `NO_PROXY`: hosts that are reached without one, separated by commas.
    pub no_proxy: Option<String>,
    /// docker's config.json, or the folder that holds it.
    pub docker_config: Option<PathBuf>,
    /// How every request names this program.
    pub user_agent: String,
}

/// A proxy's URL may hold a password.
impl fmt::Debug for NetworkEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkEnvironment").field("docker_config", &self.docker_config).finish_non_exhaustive()
    }
}

/// Who is asked first for what lies at an address: the registry or server that
/// it names, or the mirror that the settings put before it. `origin` is the
/// answer where the address is none of the two.
pub fn first_asked(settings: &Settings, address: &str, origin: &str) -> String {
    let places = mirrors::Places::new(settings);
    let is_url = address.contains("://") && !address.starts_with("oci://");
    let found = if is_url {
        places.locate(address).ok().filter(|url| url.host_str().is_some()).map(|url| mirrors::host_of(&url))
    } else {
        let reference = base::reference::Reference::parse(address.trim_start_matches("oci://")).ok();
        reference.and_then(|reference| places.endpoints(&reference).into_iter().next()).map(|first| first.name)
    };
    found.unwrap_or_else(|| origin.to_owned())
}

/// Something that is now in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Of the content.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// Everything that fetches over the network.
#[derive(Debug)]
pub struct Network {
    transport: Transport,
    auth: Auth,
    /// Bytes of the largest download.
    largest: u64,
    /// Which of its places had a repository.
    found_at: PerParty<usize>,
    notes: Notes,
}

impl Network {
    /// Sets up the rules. Opens and reads nothing: files that the settings
    /// name are read with the first request.
    ///
    /// # Errors
    /// None today; the settings were checked when they were loaded.
    pub fn new(settings: &Settings, config_dir: &Path, environment: NetworkEnvironment) -> Result<Self> {
        let network = &settings.network;
        Ok(Self {
            transport: Transport {
                clients: tls::Clients::new(settings, config_dir, &environment),
                limits: limits::Limits::new(network.concurrency),
                places: mirrors::Places::new(settings),
                policy: retry::Policy::new(&settings.retries),
                silence: Duration::from_secs(network.idle_timeout.max(1)),
                per_host: network.concurrency_per_host.max(1),
            },
            auth: Auth::new(credentials::Credentials::new(environment.docker_config)),
            largest: settings.security.largest_download_gib.saturating_mul(1 << 30),
            found_at: PerParty::default(),
            notes: Notes::default(),
        })
    }

    /// Where uploads go on is kept in this folder, for the next process.
    #[must_use]
    pub fn with_upload_notes(self, folder: Option<&Path>) -> Self {
        Self { notes: Notes::new(folder), ..self }
    }

    /// Which servers are reached without the proxy.
    pub fn direct(&self) -> &Direct {
        self.transport.clients.direct()
    }

    /// Sends a request with what the host wants to see. `what` is asked for.
    /// Nothing on the way keeps up who wants to stop: not a helper that asks a
    /// person for credentials, nor others who ask for the same token.
    async fn send(
        &self,
        request: Request,
        subject: Subject<'_>,
        what: &str,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        tokio::select! {
            answer = self.send_authorized(request, subject, what, progress) => answer,
            () = progress.cancellation().cancelled() => Err(Error::interrupted().into()),
        }
    }

    /// Where a registry sends on to another one, that has a login of its own.
    async fn send_authorized(
        &self,
        mut request: Request,
        subject: Subject<'_>,
        what: &str,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let mut answer = self.converse(&mut request, subject, what, progress).await?;
        let bounds = request.bounds.clone();
        for _ in 0..MOST_LOGINS {
            let credentials = subject.credentials && !bounds.is_of_guest();
            let Some(login) = self.auth.login_elsewhere(&answer, subject, credentials).await? else { break };
            request.url = answer.url.clone();
            answer.drain().await;
            let there = Subject { host: &login.host, scope: &login.scope, credentials, bounds: &bounds };
            answer = self.converse(&mut request, there, what, progress).await?;
        }
        Ok(answer)
    }

    /// Sends it again when what the host wants had to be learnt or renewed.
    async fn converse(
        &self,
        request: &mut Request,
        subject: Subject<'_>,
        what: &str,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let mut course = Course::default();
        loop {
            let authorization =
                self.auth.authorize(subject, &request.url, &mut course, &self.transport, progress).await?;
            set_authorization(request, authorization.header.clone());
            let answer = match self.transport.send(request, progress).await {
                Ok(answer) => answer,
                Err(failure) => {
                    self.auth.unanswered(subject, &authorization);
                    return Err(failure);
                }
            };
            if answer.elsewhere || !matches!(answer.status(), 401 | 403 | 404) {
                self.auth.accepted(subject, &authorization, course, answer.status()).await;
                return Ok(answer);
            }
            let (refusal, authorized) = (Refusal::of(&answer), answer.authorized);
            // Gives its place in the limits back: what follows may wait for a
            // token, which needs one.
            let mut failure = answer.refusal(what).await;
            if !self.auth.refused(subject, &authorization, &refusal, &mut course).await? {
                failure.error = self.auth.explain(subject, authorized, failure.error).await;
                return Err(failure);
            }
        }
    }

    /// The failure behind an answer that is none of the expected ones.
    async fn refusal(&self, answer: Answer, subject: Subject<'_>, what: &str) -> Failure {
        let (elsewhere, authorized) = (answer.elsewhere, answer.authorized);
        let mut failure = answer.refusal(what).await;
        if !elsewhere {
            failure.error = self.auth.explain(subject, authorized, failure.error).await;
        }
        failure
    }
}

fn set_authorization(request: &mut Request, header: Option<HeaderValue>) {
    match header {
        Some(header) => {
            request.headers.insert(AUTHORIZATION, header);
        }
        None => {
            request.headers.remove(AUTHORIZATION);
        }
    }
}
