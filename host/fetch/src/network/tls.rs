//! The HTTP clients: one for everybody, and one for each registry that has a
//! certificate authority or a client certificate of its own. Guests have their
//! own ones, which connect to nothing out of their reach.
//!
//! Certificates of the operating system are trusted, and those of
//! `network.ca_files`. Nothing is built before the first request.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Identity, Proxy};
use url::Url;

use super::NetworkEnvironment;
use super::direct::Direct;
use super::mirrors::{host_of, shown};
use super::names::{Lookup, Names};
use super::restrict::Reach;
use base::error::{Error, Result};
use config::settings::{RegistrySettings, Settings};

/// Builds clients on demand and keeps them.
#[derive(Debug)]
pub(super) struct Clients {
    config_dir: PathBuf,
    connect_timeout: Duration,
    ca_files: Vec<PathBuf>,
    proxies: Proxies,
    user_agent: String,
    /// Registries with TLS settings of their own, by the host they are
    /// reached at.
    special: HashMap<String, RegistrySettings>,
    pub(super) lookup: Lookup,
    built: Mutex<HashMap<Kind, Client>>,
}

/// What clients differ in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// The host with TLS settings of its own; empty for all others.
    special: String,
    reach: Reach,
    is_direct: bool,
}

#[derive(Debug)]
struct Proxies {
    http: Option<String>,
    https: Option<String>,
    direct: Direct,
}

impl Clients {
    pub(super) fn new(settings: &Settings, config_dir: &Path, environment: &NetworkEnvironment) -> Self {
        let network = &settings.network;
        let proxy = |from_environment: &Option<String>| {
            network.proxy.clone().or_else(|| from_environment.clone()).filter(|proxy| !proxy.is_empty())
        };
        let direct = network.no_proxy.as_ref().or(environment.no_proxy.as_ref());
        let own_tls = |registry: &RegistrySettings| registry.ca_file.is_some() || registry.client_certificate.is_some();
        Self {
            config_dir: config_dir.to_owned(),
            connect_timeout: Duration::from_secs(network.connect_timeout.max(1)),
            ca_files: network.ca_files.clone(),
            proxies: Proxies {
                http: proxy(&environment.http_proxy),
                https: proxy(&environment.https_proxy),
                direct: direct.map(|list| Direct::parse(list)).unwrap_or_default(),
            },
            user_agent: environment.user_agent.clone(),
            special: settings
                .registries
                .iter()
                .filter(|(_, registry)| own_tls(registry))
                .map(|(host, registry)| (super::mirrors::api_host(host).to_owned(), registry.clone()))
                .collect(),
            lookup: Lookup::system(),
            built: Mutex::default(),
        }
    }

    /// The client for the host of a URL.
    ///
    /// # Errors
    /// `configuration` when a file that the settings name is unusable.
    pub(super) fn get(&self, url: &Url, reach: Reach) -> Result<Client> {
        let special = self.special.get_key_value(&host_of(url));
        let key = Kind {
            special: special.map_or_else(String::new, |(host, _)| host.clone()),
            reach,
            is_direct: self.proxies.direct.covers(url),
        };
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = built.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(special.map(|(_, registry)| registry), &key)?;
        built.insert(key, client.clone());
        Ok(client)
    }

    /// A proxy connects to addresses that nobody here sees: where there is
    /// one, our own lookup must lead to none that is out of reach. A name that
    /// only the proxy knows is the proxy's to judge.
    ///
    /// # Errors
    /// `plugin`.
    pub(super) async fn check(&self, url: &Url, reach: Reach) -> Result<()> {
        let Some(name) = url.domain().filter(|_| reach != Reach::Everywhere && self.proxies.of(url).is_some()) else {
            return Ok(());
        };
        let found = self.lookup.find(name).await.unwrap_or_default();
        let objection = found.into_iter().find_map(|address| reach.objection(address));
        objection.map_or(Ok(()), |refusal| Err(refusal.told(&shown(url))))
    }

    pub(super) fn direct(&self) -> &Direct {
        &self.proxies.direct
    }

    /// The host of the proxy for a URL, unless the URL's own is exempt.
    pub(super) fn proxy(&self, url: &Url) -> Option<String> {
        Some(host_of(&Url::parse(self.proxies.of(url)?).ok()?))
    }

    fn build(&self, registry: Option<&RegistrySettings>, kind: &Kind) -> Result<Client> {
        trust::install_provider();
        let mut own = Vec::new();
        for path in self.ca_files.iter().chain(registry.and_then(|registry| registry.ca_file.as_ref())) {
            own.extend(trust::authorities(&self.config_dir.join(path))?);
        }
        let identity = registry.and_then(|registry| registry.identity(&self.config_dir));
        let identity = identity.map(|(certificate, key)| trust::identity(&certificate, key.as_deref())).transpose()?;
        let unusable = || Error::configuration("the HTTP client can not be built from `network` in settings.yaml");
        if !own.is_empty() {
            let config = trust::client_config(own, identity.as_deref())
                .map_err(|error| unusable().caused_by(super::failure::innermost(error.as_ref())))?;
            let client = self.plain_builder(kind)?.tls_backend_preconfigured(config).build();
            return client.map_err(|error| unusable().caused_by(super::failure::innermost(&error)));
        }
        let with = |builder: ClientBuilder| match &identity {
            Some(pem) => Identity::from_pem(pem).map(|identity| builder.identity(identity)),
            None => Ok(builder),
        };
        let trusting_system = with(self.plain_builder(kind)?).and_then(ClientBuilder::build);
        // A machine without any certificate still reaches what it reaches
        // over http.
        let bare = self.plain_builder(kind)?;
        trusting_system
            .or_else(|_| with(bare)?.tls_certs_only([]).build())
            .map_err(|error| unusable().caused_by(super::failure::innermost(&error)))
    }

    /// Everything but TLS. Redirects are followed by `transport`, which knows
    /// which host may see which header. HTTP/1.1 gives each download its own
    /// connection: one that breaks takes no other with it, and the kernel
    /// bounds what is buffered.
    fn plain_builder(&self, kind: &Kind) -> Result<ClientBuilder> {
        let mut builder = Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(self.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .no_proxy()
            .referer(false);
        type Make = fn(&str) -> reqwest::Result<Proxy>;
        let kinds: [(&Option<String>, Make); 2] =
            [(&self.proxies.http, |url| Proxy::http(url)), (&self.proxies.https, |url| Proxy::https(url))];
        for (url, make) in kinds {
            let Some(url) = url.as_ref().filter(|_| !kind.is_direct) else { continue };
            let proxy = make(url).map_err(|_| no_proxy_at("`network.proxy` in settings.yaml or HTTPS_PROXY"))?;
            builder = builder.proxy(proxy);
        }
        if kind.reach != Reach::Everywhere {
            let proxies = if kind.is_direct { Vec::new() } else { self.proxies.hosts() };
            let names = Names { lookup: self.lookup.clone(), reach: kind.reach, proxies };
            builder = builder.dns_resolver(Arc::new(names));
        }
        Ok(builder)
    }
}

/// Whether the environment's proxies are addresses. What the settings say
/// instead was checked when they were loaded.
///
/// # Errors
/// `configuration`.
pub fn check_proxies(settings: &Settings, environment: &NetworkEnvironment) -> Result<()> {
    let named = [("HTTPS_PROXY", &environment.https_proxy), ("http_proxy", &environment.http_proxy)];
    let used = named.into_iter().filter(|_| settings.network.proxy.is_none());
    let wrong = |url: &String| !url.is_empty() && Proxy::all(url.as_str()).is_err();
    let bad = used.filter(|(_, url)| url.as_ref().is_some_and(wrong)).map(|(name, _)| name).next();
    bad.map_or(Ok(()), |name| Err(no_proxy_at(name)))
}

fn no_proxy_at(place: &str) -> Error {
    Error::configuration(format!("the proxy's address in {place} is not a URL"))
        .hint("write it like `http://proxy.example:3128`")
}

impl Proxies {
    /// The proxy that a URL is asked through.
    fn of(&self, url: &Url) -> Option<&str> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_deref().filter(|_| !self.direct.covers(url))
    }

    fn hosts(&self) -> Vec<String> {
        let urls = [&self.http, &self.https].into_iter().flatten();
        urls.filter_map(|url| Some(Url::parse(url).ok()?.host_str()?.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Class;
    use disk::fs;

    fn clients(settings: &Settings, folder: &Path) -> Clients {
        Clients::new(settings, folder, &NetworkEnvironment::default())
    }

    #[test]
    fn clients_are_shared_but_for_registries_with_their_own_tls() {
        let folder = tempfile::tempdir().unwrap();
        let clients = clients(&Settings::default(), folder.path());
        clients.get(&at("a.example"), Reach::Everywhere).unwrap();
        clients.get(&at("b.example"), Reach::Everywhere).unwrap();
        assert_eq!(clients.built.lock().unwrap().len(), 1);
        clients.get(&at("b.example"), Reach::Outside).unwrap();
        assert_eq!(clients.built.lock().unwrap().len(), 2);
        clients.get(&at("localhost"), Reach::Outside).unwrap();
        assert_eq!(clients.built.lock().unwrap().len(), 3);
    }

    fn at(host: &str) -> Url {
        Url::parse(&format!("https://{host}/")).unwrap()
    }

    /// What a proxy connects to is not seen here, so the name is looked up.
    #[tokio::test]
    async fn behind_a_proxy_a_guests_name_must_not_lead_inside() {
        let mut settings = Settings::default();
        settings.network.proxy = Some("http://proxy.example:3128".into());
        let mut clients = clients(&settings, Path::new("."));
        assert_eq!(clients.proxies.hosts(), ["proxy.example", "proxy.example"]);
        let proxy = clients.proxy(&Url::parse("https://a.example/").unwrap());
        assert_eq!(proxy.as_deref(), Some("proxy.example:3128"));
        assert_eq!(clients.proxy(&Url::parse("https://127.0.0.1/").unwrap()), None);
        clients.lookup = Lookup::with(|name| vec![[if name == "in.example" { 10 } else { 1 }, 1, 1, 1].into()]);
        for (url, reach, allowed) in [
            ("https://in.example/", Reach::Outside, false),
            ("https://in.example/", Reach::Named, true),
            ("https://in.example/", Reach::Everywhere, true),
            ("https://out.example/", Reach::Outside, true),
        ] {
            let checked = clients.check(&Url::parse(url).unwrap(), reach).await;
            assert_eq!(checked.is_ok(), allowed, "{url} {reach:?}");
        }
    }

    #[test]
    fn unusable_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.network.ca_files = vec!["ca.pem".into()];
        let error = clients(&settings, folder.path()).get(&at("a.example"), Reach::Everywhere).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        assert!(error.message().contains("ca.pem` does not exist"), "{error}");
        fs::write_new(&folder.path().join("ca.pem"), b"nothing").unwrap();
        let error = clients(&settings, folder.path()).get(&at("a.example"), Reach::Everywhere).unwrap_err();
        assert!(error.message().contains("holds no certificate"), "{error}");

        let mut settings = Settings::default();
        let registry = RegistrySettings { client_certificate: Some("ca.pem".into()), ..RegistrySettings::default() };
        settings.registries.insert("r.example".into(), registry);
        let clients = clients(&settings, folder.path());
        assert!(clients.get(&at("r.example"), Reach::Everywhere).unwrap_err().message().contains("client certificate"));
        assert!(clients.get(&at("other.example"), Reach::Everywhere).is_ok());
    }

    #[test]
    fn a_bad_proxy_of_the_environment_is_refused_where_it_counts() {
        let environment = NetworkEnvironment { https_proxy: Some("http://[".into()), ..NetworkEnvironment::default() };
        let mut settings = Settings::default();
        let error = check_proxies(&settings, &environment).unwrap_err();
        assert!(error.class() == Class::Configuration && error.message().contains("HTTPS_PROXY"), "{error}");
        settings.network.proxy = Some("http://proxy.example".into());
        check_proxies(&settings, &environment).unwrap();
    }

    #[test]
    fn a_bad_proxy_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.network.proxy = Some("http://user:secret@[".into());
        let error = clients(&settings, folder.path()).get(&at("a.example"), Reach::Everywhere).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
    }
}
