//! Where something is asked for: registries and their mirrors, rewritten URLs,
//! http or https. No I/O.

use std::collections::BTreeMap;

use url::Url;

use base::error::{Error, Result};
use base::reference::Reference;
use config::settings::{RegistrySettings, Settings};

/// A place that may have a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `https://registry-1.docker.io`.
    pub(super) base: String,
    /// Host and port as they appear in `base`.
    pub(super) host: String,
    /// The repository there, with the mirror's prefix.
    pub(super) repository: String,
    /// For people: the registry, or the mirror with its prefix.
    pub(super) name: String,
    /// Of the settings, and not the registry itself.
    pub(super) is_mirror: bool,
    /// Whether another place is asked after this one.
    pub(super) has_alternative: bool,
}

impl Endpoint {
    /// `https://host/v2/<repository>/<rest>`.
    pub(super) fn url(&self, rest: &str) -> Result<Url> {
        let text = format!("{}/v2/{}/{rest}", self.base, self.repository);
        Url::parse(&text).map_err(|_| Error::invalid(format!("`{}` is not a registry's address", self.name)))
    }
}

/// What the settings say about places.
#[derive(Debug)]
pub(super) struct Places {
    registries: BTreeMap<String, RegistrySettings>,
    url_mirrors: Vec<(String, String)>,
    plain_http_hosts: Vec<String>,
}

/// The host behind a registry's name: Docker Hub answers elsewhere.
pub(super) fn api_host(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

impl Places {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut url_mirrors: Vec<_> = settings.network.url_mirrors.clone().into_iter().collect();
        url_mirrors.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self {
            registries: settings.registries.clone(),
            url_mirrors,
            plain_http_hosts: settings.network.plain_http_hosts.clone(),
        }
    }

    /// Where to look for a repository, in order.
    pub(super) fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let registry = reference.registry();
        let settings = self.registries.get(registry);
        let mut endpoints: Vec<Endpoint> = settings
            .iter()
            .flat_map(|settings| &settings.mirrors)
            .map(|mirror| endpoint(&mirror.location, mirror.plain_http, reference.repository()))
            .collect();
        let only = settings.is_some_and(|settings| settings.mirrors_only) && !endpoints.is_empty();
        if !only {
            let plain_http = settings.is_some_and(|settings| settings.plain_http);
            let mut own = endpoint(api_host(registry), plain_http, reference.repository());
            registry.clone_into(&mut own.name);
            own.is_mirror = false;
            endpoints.push(own);
        }
        if let Some((_, others)) = endpoints.split_last_mut() {
            others.iter_mut().for_each(|endpoint| endpoint.has_alternative = true);
        }
        endpoints
    }

    /// The URL that is really asked: mirrors and plain-http hosts applied.
    ///
    /// # Errors
    /// `invalid-input` for what is no URL, holds a password, or wants http of
    /// a host for which the settings do not allow it.
    pub(super) fn locate(&self, written: &str) -> Result<Url> {
        let mirror = self.url_mirrors.iter().find_map(|(prefix, target)| {
            let rest = written.strip_prefix(prefix.as_str())?;
            Some(format!("{target}{rest}"))
        });
        let text = mirror.as_deref().unwrap_or(written);
        let mut url = Url::parse(text).map_err(|_| {
            Error::invalid(format!("`{}` is not a URL", without_query(written))).hint("it must begin with `https://`")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::invalid(format!(
                "the URL of `{}` holds credentials",
                url.host_str().unwrap_or_default()
            ))
            .hint("remove them and run `docker login` for that host: the build reads ~/.docker/config.json"));
        }
        let plain = self.may_be_plain(&url);
        match url.scheme() {
            "https" if plain && mirror.is_none() => {
                // From https to http there is always a way.
                let _ = url.set_scheme("http");
            }
            "https" => {}
            "http" if plain || mirror.is_some() || is_loopback(&url) => {}
            "http" => {
                return Err(Error::invalid(format!("`{}` is not encrypted", without_query(written)))
                    .hint("use https, or list the host under `network.plain_http_hosts` in settings.yaml"));
            }
            scheme => {
                return Err(Error::invalid(format!("`{}` has the scheme `{scheme}`", without_query(written)))
                    .hint("files are fetched over https"));
            }
        }
        Ok(url)
    }

    /// Whether http is fine for the host of `url`.
    pub(super) fn may_be_plain(&self, url: &Url) -> bool {
        let host = host_of(url);
        self.plain_http_hosts.iter().any(|plain| *plain == host || Some(plain.as_str()) == url.host_str())
    }

    /// The settings of the registry that is reached at `host`.
    pub(super) fn concurrency(&self, host: &str) -> Option<usize> {
        let named = |name: &str| self.registries.get(name).and_then(|registry| registry.concurrency);
        named(host).or_else(|| if host == api_host("docker.io") { named("docker.io") } else { None })
    }
}

fn endpoint(location: &str, plain_http: bool, repository: &str) -> Endpoint {
    let location = location.trim_end_matches('/');
    let (host, prefix) = location.split_once('/').unwrap_or((location, ""));
    let host = api_host(host);
    Endpoint {
        base: format!("{}://{host}", if plain_http { "http" } else { "https" }),
        host: host.to_owned(),
        repository: if prefix.is_empty() { repository.to_owned() } else { format!("{prefix}/{repository}") },
        name: location.to_owned(),
        is_mirror: true,
        has_alternative: false,
    }
}

/// Host and port as in a registry's name: no port where it is the default.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A URL for people: what may carry a signature is left out.
pub(super) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), host_of(url), url.path())
}

fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::settings::Mirror;

    fn places(change: impl FnOnce(&mut Settings)) -> Places {
        let mut settings = Settings::default();
        change(&mut settings);
        Places::new(&settings)
    }

    fn urls(places: &Places, reference: &str) -> Vec<String> {
        let reference = Reference::parse(reference).unwrap();
        let endpoints = places.endpoints(&reference);
        endpoints.iter().map(|endpoint| endpoint.url("tags/list").unwrap().to_string()).collect()
    }

    #[test]
    fn mirrors_come_first_and_the_registry_last() {
        let plain = places(|_| {});
        assert_eq!(urls(&plain, "nginx"), ["https://registry-1.docker.io/v2/library/nginx/tags/list"]);
        assert_eq!(urls(&plain, "quay.io/a/b"), ["https://quay.io/v2/a/b/tags/list"]);

        let mirror = |location: &str, plain_http| Mirror { location: location.into(), plain_http };
        let mirrors = vec![mirror("m.example:5000/hub/", true), mirror("n.example", false)];
        let with = |mirrors_only| {
            places(|settings| {
                let registry =
                    RegistrySettings { mirrors: mirrors.clone(), mirrors_only, ..RegistrySettings::default() };
                settings.registries.insert("docker.io".into(), registry);
            })
        };
        let mirrored =
            ["http://m.example:5000/v2/hub/library/nginx/tags/list", "https://n.example/v2/library/nginx/tags/list"];
        assert_eq!(urls(&with(true), "nginx"), mirrored);
        let all = urls(&with(false), "nginx");
        assert_eq!(all[..2], mirrored);
        assert_eq!(all[2], "https://registry-1.docker.io/v2/library/nginx/tags/list");
        let endpoints = with(true).endpoints(&Reference::parse("nginx").unwrap());
        assert!(endpoints[0].has_alternative && !endpoints[1].has_alternative);
    }

    #[test]
    fn urls_are_rewritten_by_the_longest_prefix() {
        let places = places(|settings| {
            let mirrors = &mut settings.network.url_mirrors;
            mirrors.insert("https://dl.k8s.io/".into(), "https://mirror.example/k8s/".into());
            mirrors.insert("https://dl.k8s.io/release/".into(), "http://127.0.0.1:1/r/".into());
            settings.network.plain_http_hosts = vec!["plain.example".into(), "port.example:81".into()];
        });
        for (written, asked) in [
            ("https://dl.k8s.io/x?y=z", Some("https://mirror.example/k8s/x?y=z")),
            ("https://dl.k8s.io/release/v1/kubectl", Some("http://127.0.0.1:1/r/v1/kubectl")),
            ("https://plain.example/x", Some("http://plain.example/x")),
            ("http://plain.example:8080/x", Some("http://plain.example:8080/x")),
            ("https://port.example:81/x", Some("http://port.example:81/x")),
            ("https://port.example/x", Some("https://port.example/x")),
            ("http://localhost:1/x", Some("http://localhost:1/x")),
            ("http://other.example/x", None),
            ("ftp://other.example/x", None),
            ("file:///etc/passwd", None),
            ("https://user:secret@a.example/x", None),
            ("not a url", None),
        ] {
            let located = places.locate(written);
            assert_eq!(located.as_ref().ok().map(Url::as_str), asked, "{written}");
            assert!(!format!("{located:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_shown_of_a_url_carries_no_signature() {
        let url = Url::parse("https://cdn.example:444/a/b?X-Signature=secret#c").unwrap();
        assert_eq!(shown(&url), "https://cdn.example:444/a/b");
        assert_eq!(host_of(&url), "cdn.example:444");
    }
}
