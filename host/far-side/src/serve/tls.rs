//! The certificate of the server: from files, or made at the start and known by
//! its fingerprint.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use base::digest::Digest;
use base::error::{Error, Result};
use disk::fs;

const LARGEST_FILE: u64 = 1 << 20;
/// How long a certificate that is made is good for.
const DAYS: i64 = 365;

/// A certificate and its key.
pub struct Identity {
    config: Arc<ServerConfig>,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
    /// As PEM, where it was made.
    pub certificate: Option<String>,
}

impl Identity {
    /// # Errors
    /// `local`; `invalid-input` where a file is no PEM, where certificate and
    /// key do not belong together, or where the certificate is not valid now.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let bad = |path: &Path, what: &str| {
            Error::invalid(format!("`{}` holds no {what} in PEM", path.display()))
                .hint("name the certificate, with those that signed it behind it, and its key, unencrypted")
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|_| bad(certificate, "certificate"))?;
        let first = chain.first().ok_or_else(|| bad(certificate, "certificate"))?.clone();
        check_validity(certificate, &first, Timestamp::now())?;
        let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| bad(key, "private key"))?;
        let config = config(chain, secret).map_err(|source| {
            let message = format!("`{}` and `{}` do not belong together", certificate.display(), key.display());
            Error::invalid(message).caused_by(source)
        })?;
        Ok(Self { config, fingerprint: Digest::of(&first), certificate: None })
    }

    /// A certificate for these names and addresses, which signs itself.
    ///
    /// # Errors
    /// `invalid-input` where a name is none.
    pub fn self_signed(names: &[String]) -> Result<Self> {
        let failed = |source: rcgen::Error| Error::invalid("cannot make a certificate").caused_by(source);
        let mut params = CertificateParams::new(names).map_err(failed)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, "opencenter-airgap serve");
        params.distinguished_name = subject;
        let now = std::time::SystemTime::now();
        let day = std::time::Duration::from_secs(24 * 60 * 60);
        // The clocks of nodes that have no network may be behind.
        params.not_before = (now - day).into();
        params.not_after = (now + day * DAYS as u32).into();
        let key = KeyPair::generate().map_err(failed)?;
        let made = params.self_signed(&key).map_err(failed)?;
        let (der, pem) = (made.der().clone(), made.pem());
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let fingerprint = Digest::of(&der);
        let config =
            config(vec![der], secret).map_err(|source| Error::local("cannot make a certificate").caused_by(source))?;
        Ok(Self { config, fingerprint, certificate: Some(pem) })
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint` writes it.
    pub fn shown_fingerprint(&self) -> String {
        let pairs: Vec<String> = self.fingerprint.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.clone().into()
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> std::result::Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read_optional(path, LARGEST_FILE)?.ok_or_else(|| {
        Error::new(base::error::Class::Usage, format!("there is no file `{}`", path.display()))
            .hint("name the certificate with --tls-cert and its key with --tls-key")
    })
}

fn check_validity(path: &Path, certificate: &[u8], now: Timestamp) -> Result<()> {
    // What cannot be read here the clients will refuse.
    let Some((from, to)) = validity(certificate) else { return Ok(()) };
    let problem = match (now < from, now > to) {
        (true, _) => format!("is valid from {from} on, and it is {now}"),
        (_, true) => format!("has expired at {to}"),
        _ => return Ok(()),
    };
    let error = Error::invalid(format!("the certificate in `{}` {problem}", path.display()));
    Err(error.hint("name one that is valid now, set the clock, or use --tls-self-signed"))
}

/// From when to when a certificate is valid (RFC 5280, 4.1).
fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (tag, certificate, _) = element(certificate)?;
    let (_, signed, _) = element(certificate).filter(|_| tag == SEQUENCE)?;
    let mut rest = signed;
    let (first, _, behind) = element(rest)?;
    if first == VERSION {
        rest = behind;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (kind, from, behind) = element(validity)?;
    let from = time(kind, from)?;
    let (kind, to, _) = element(behind)?;
    Some((from, time(kind, to)?))
}

/// Tag and content of the first element of DER, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first & 0x80 {
        0 => (usize::from(*first), rest),
        _ => {
            let (digits, rest) =
                rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((*tag, content, behind))
}

/// UTCTime or GeneralizedTime.
fn time(kind: u8, text: &[u8]) -> Option<Timestamp> {
    const UTC: u8 = 0x17;
    let text = std::str::from_utf8(text).ok()?;
    let full = match kind {
        UTC if text.get(..2)?.parse::<u32>().ok()? >= 50 => format!("19{text}"),
        UTC => format!("20{text}"),
        _ => text.to_owned(),
    };
    jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", full)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()
        .map(|time| time.timestamp())
}

/// Names that a certificate is made for: this machine, by the addresses that it
/// is reached by.
pub fn names(addresses: &[IpAddr], host: Option<&str>) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let others = addresses.iter().filter(|address| !address.is_unspecified()).map(IpAddr::to_string);
    for name in others.chain(host.map(str::to_owned)).chain([machine]) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_how_long_it_is_valid() {
        let made = Identity::self_signed(&names(&[], Some("serve.test"))).unwrap();
        let der = CertificateDer::from_pem_slice(made.certificate.unwrap().as_bytes()).unwrap();
        let (from, to) = validity(&der).unwrap();
        let hours = |from: Timestamp, to: Timestamp| to.as_second() / 3600 - from.as_second() / 3600;
        assert_eq!(hours(from, to), 24 * (DAYS + 1));
        let path = Path::new("server.pem");
        assert!(check_validity(path, &der, Timestamp::now()).is_ok());
        let late = check_validity(path, &der, to + jiff::Span::new().hours(1)).unwrap_err();
        assert!(late.message().contains("has expired"), "{late}");
        let early = check_validity(path, &der, from - jiff::Span::new().hours(1)).unwrap_err();
        assert!(early.message().contains("valid from"), "{early}");
        for end in 0..der.len() {
            validity(&der[..end]);
        }
    }
}
