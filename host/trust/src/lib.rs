//! Whom we trust: the system's certificate authorities, those of the settings,
//! and a server's own certificate that the settings name.
//!
//! `openssl req -x509`, docker's recipe for a registry of one's own, makes a
//! certificate that calls itself an authority and is presented as it is. Such a
//! chain has no end for the rules of the web; but who names that very
//! certificate has said that this is the server. Its dates and names are
//! checked all the same.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use base::error::{Class, Error, Result};
use base::layout::shown;
use disk::fs;

/// Bytes of one PEM file.
const LARGEST_PEM: u64 = 4 * 1024 * 1024;

/// A client that trusts the system and `own`, and proves itself with the
/// certificate and key in `identity`, a PEM text.
///
/// # Errors
/// What makes one of them unusable.
pub fn client_config(
    own: Vec<CertificateDer<'static>>,
    identity: Option<&[u8]>,
) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = CryptoProvider::get_default().ok_or("no cryptography is installed")?.clone();
    let usual = rustls_platform_verifier::Verifier::new_with_extra_roots(own.clone(), provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Named { usual: Arc::new(usual), own }));
    let mut config = match identity {
        Some(pem) => {
            let (chain, key) = chain_and_key(pem)?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Named {
    usual: Arc<dyn ServerCertVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // Nobody has signed it, or it is an authority (which has no name
            // of its own among these errors). The dates are looked at before
            // either, so that they are right here.
            Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)))
                if self.own.iter().any(|own| own == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// rustls takes its cryptography from a process-wide provider.
pub fn install_provider() {
    // An error means that someone installed one already.
    let _: Result<_, Arc<_>> = rustls::crypto::ring::default_provider().install_default();
}

/// The certificate authorities in a PEM file.
///
/// # Errors
/// `configuration` where there are none.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read_pem(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    certificates.ok().filter(|found| !found.is_empty()).ok_or_else(|| no_certificate(path))
}

/// Whether the certificate authorities in a file can be trusted at all.
///
/// # Errors
/// `configuration`.
pub fn check_authorities(path: &Path) -> Result<()> {
    install_provider();
    client_config(authorities(path)?, None).map(drop).map_err(|_| no_certificate(path))
}

fn no_certificate(path: &Path) -> Error {
    Error::configuration(format!("`{}` holds no certificate", shown(path)))
        .hint("it must be a PEM file with `-----BEGIN CERTIFICATE-----`")
}

/// A client certificate and its key, which may lie in one file, as one PEM
/// text.
///
/// # Errors
/// `configuration` where they are none, or do not belong together.
pub fn identity(certificate: &Path, key: Option<&Path>) -> Result<Vec<u8>> {
    install_provider();
    let mut pem = read_pem(certificate)?;
    if let Some(key) = key {
        pem.push(b'\n');
        pem.extend(read_pem(key)?);
    }
    match proves(&pem) {
        Some(_) => Ok(pem),
        None => Err(Error::configuration(format!("`{}` and its key are not a client certificate", shown(certificate)))
            .hint("`client_certificate` must be a PEM certificate and `client_key` its PEM private key")),
    }
}

fn chain_and_key(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), pem::Error> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_slice(pem)?))
}

/// Whether it is a certificate with its own key.
fn proves(pem: &[u8]) -> Option<ClientConfig> {
    let (chain, key) = chain_and_key(pem).ok()?;
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_client_auth_cert(chain, key).ok()
}

fn read_pem(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read_optional(path, LARGEST_PEM).map_err(|error| error.with_class(Class::Configuration))?;
    // Editors of Windows put a mark before it.
    let bytes = bytes.map(|bytes| bytes.strip_prefix("\u{feff}".as_bytes()).map(<[u8]>::to_vec).unwrap_or(bytes));
    bytes.ok_or_else(|| {
        Error::configuration(format!("`{}` does not exist", shown(path)))
            .hint("settings.yaml names it; paths there are relative to the folder of settings.yaml")
    })
}
