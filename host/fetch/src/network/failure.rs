//! A request that failed: why, for `retry` to decide, and the error to show
//! when it decides to give up.

use std::error::Error as StdError;
use std::time::Duration;

use super::restrict::Refused;
use super::retry::Cause;
use rustls::CertificateError;

use super::names::Lookup;
use base::error::{Class, Error};
use confine::wall;

/// One failed try.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// How long the server wants to be left alone.
    pub(super) asked: Option<Duration>,
    pub(super) error: Error,
}

impl Failure {
    pub(super) fn new(cause: Cause, error: Error) -> Self {
        Self { cause, asked: None, error }
    }

    /// Something came that can not be right; the same source may do better.
    pub(super) fn broken(error: Error) -> Self {
        Self::new(Cause::Broken, error)
    }
}

/// An error that no repetition mends.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Cause::Fatal, error)
    }
}

/// The deepest cause of an error chain, as text: the layers above it repeat
/// the URL, which may carry a signature.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Innermost(String);

pub(super) fn innermost(error: &(dyn StdError + 'static)) -> Innermost {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    Innermost(last.to_string())
}

/// Sorts out what reqwest reports before an answer of `shown` came. A server
/// that wants a certificate may say so behind the handshake.
pub(super) fn before_answer(error: &reqwest::Error, shown: &str) -> Failure {
    if let Some(refusal) = find::<Refused>(error) {
        return refusal.told(shown).into();
    }
    match find::<rustls::Error>(error) {
        Some(tls @ rustls::Error::AlertReceived(_)) => return handshake(tls, shown),
        Some(tls) if error.is_connect() => return handshake(tls, shown),
        _ => {}
    }
    if let Some(error) = find::<std::io::Error>(error).and_then(|error| wall::explain_connection(error, shown)) {
        return error.into();
    }
    if let Some(lookup) = Failed::of(&innermost(error).to_string()).filter(|_| error.is_connect()) {
        return lookup.into_failure(shown);
    }
    if error.is_connect() {
        let message = format!("cannot reach {shown}");
        let error = Error::transient(message).caused_by(innermost(error)).hint(
            "check the name, the network and the proxy; if the server speaks plain http, say so with `plain_http` in settings.yaml",
        );
        return Failure::new(Cause::Unreachable, error);
    }
    broke_off(error, shown)
}

/// Why the lookup of a name failed. The standard library keeps nothing but the
/// words of the C library: those of glibc, then of musl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    NoSuchName,
    NoAddress,
    /// Nobody answered (EAI_AGAIN).
    ForNow,
}

impl Failed {
    fn of(cause: &str) -> Option<Self> {
        Some(match cause.strip_prefix("failed to lookup address information: ")? {
            "Name or service not known" | "Name does not resolve" => Self::NoSuchName,
            "No address associated with hostname" | "Name has no usable address" => Self::NoAddress,
            "Temporary failure in name resolution" | "Try again" => Self::ForNow,
            _ => return None,
        })
    }

    fn into_failure(self, shown: &str) -> Failure {
        let nowhere = |why: &str| {
            Error::new(Class::NotFound, format!("cannot reach {shown}: {why}"))
                .hint("check the spelling of the name, and `network.proxy` where only a proxy knows it")
                .into()
        };
        match self {
            Self::NoSuchName => nowhere("there is no host of this name"),
            Self::NoAddress => nowhere("its name has no address"),
            Self::ForNow => {
                let message = format!("cannot reach {shown}: no name server answered for its name");
                let error = Error::transient(message)
                    .hint("check the network, /etc/resolv.conf, and `network.proxy` where only a proxy knows the name");
                Failure::new(Cause::Unreachable, error)
            }
        }
    }
}

/// Whether a name has no address, now and when it is asked again. Where that
/// can not be told it may have one.
pub async fn has_no_address(name: &str) -> bool {
    let found = Lookup::system().find(name).await;
    let failed = found.err().and_then(|error| Failed::of(&error.to_string()));
    matches!(failed, Some(Failed::NoSuchName | Failed::NoAddress))
}

/// A connection that worked broke, TLS or not: another one may hold.
pub(super) fn broke_off(error: &reqwest::Error, shown: &str) -> Failure {
    let message = format!("the connection to {shown} broke");
    Failure::broken(Error::transient(message).caused_by(innermost(error)))
}

/// A handshake that fails because of who the server is fails again; one that
/// was cut off may not.
fn handshake(tls: &rustls::Error, shown: &str) -> Failure {
    let error = |message: String| Error::new(Class::Local, message).caused_by(Innermost(tls.to_string()));
    match tls {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => error(format!("the certificate of {shown} has expired"))
            .hint("ask who runs the server for a new one; where it is still good, the clock of this machine is wrong")
            .into(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => error(format!("the certificate of {shown} is not valid yet"))
            .hint("check the clock of this machine, and that of the one on which it was made")
            .into(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => error(format!("the certificate of {shown} is not for this name"))
            .hint(
                "ask for the server by a name of its certificate, or make one with `subjectAltName=DNS:<name>` or \
                 `IP:<address>`: a name in its subject alone (CN) does not count",
            )
            .into(),
        rustls::Error::InvalidCertificate(_) => error(format!("the certificate of {shown} is not trusted"))
            .hint("add the certificate authority, or the server's own certificate, to `network.ca_files` or as the registry's `ca_file` in settings.yaml, and install the package ca-certificates")
            .into(),
        rustls::Error::AlertReceived(_) => error(format!("{shown} refused the TLS connection"))
            .hint("it may want a client certificate: `client_certificate` and `client_key` of the registry in settings.yaml")
            .into(),
        rustls::Error::InvalidMessage(_) => error(format!("{shown} does not speak TLS"))
            .hint("if it speaks plain http, set `plain_http: true` for the registry in settings.yaml")
            .into(),
        _ => Failure::new(
            Cause::Unreachable,
            Error::transient(format!("the TLS handshake with {shown} failed")).caused_by(Innermost(tls.to_string())),
        ),
    }
}

/// The first error of a type in a chain. An `io::Error` passes over what it
/// wraps when it is asked for its source, so that is looked into.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver that gives this answer.
    struct Answering(&'static str);

    impl reqwest::dns::Resolve for Answering {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            let error = std::io::Error::other(format!("failed to lookup address information: {}", self.0));
            Box::pin(async move { Err(error.into()) })
        }
    }

    /// A registry with a typo is no reason to wait, a resolver that is away is.
    #[tokio::test]
    async fn a_name_without_an_address_is_given_up_at_once() {
        trust::install_provider();
        for (answer, cause, class, told) in [
            ("Name or service not known", Cause::Fatal, Class::NotFound, "no host of this name"),
            ("No address associated with hostname", Cause::Fatal, Class::NotFound, "its name has no address"),
            ("Temporary failure in name resolution", Cause::Unreachable, Class::Transient, "no name server answered"),
            ("System error", Cause::Unreachable, Class::Transient, "System error"),
        ] {
            let resolver = std::sync::Arc::new(Answering(answer));
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).dns_resolver(resolver).build();
            let error = client.unwrap().get("http://nobody.example/").send().await.unwrap_err();
            let failure = before_answer(&error, "http://nobody.example");
            assert_eq!((failure.cause, failure.error.class()), (cause, class), "{answer}");
            assert!(failure.error.one_line().contains(told), "{}", failure.error.one_line());
        }
    }

    /// The words are those of this machine's C library.
    #[tokio::test]
    async fn the_standard_library_says_what_is_looked_for() {
        let error = tokio::net::lookup_host(("nobody.invalid", 0)).await.map(drop).unwrap_err().to_string();
        assert!(Failed::of(&error).is_some(), "{error}");
    }

    #[test]
    fn errors_are_found_through_layers_of_io() {
        let tls = rustls::Error::General("x".into());
        let wrapped = std::io::Error::other(std::io::Error::other(tls.clone()));
        assert_eq!(find::<rustls::Error>(&wrapped), Some(&tls));
        assert!(find::<rustls::Error>(&std::io::Error::other("x")).is_none());
        assert_eq!(innermost(&wrapped).to_string(), tls.to_string());
    }
}
