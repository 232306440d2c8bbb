//! TLS in front of a server that speaks plain HTTP, with a certificate for
//! 127.0.0.1 of an authority that only [`AUTHORITY`] knows.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// The authority's certificate.
pub const AUTHORITY: &str = include_str!("../../host/fetch/src/network/fixtures/ca.pem");
pub const CERTIFICATE: &[u8] = include_bytes!("../../host/fetch/src/network/fixtures/server.pem");
pub const KEY: &[u8] = include_bytes!("../../host/fetch/src/network/fixtures/server.key");
/// Of somebody who forgot about it.
pub const EXPIRED: &[u8] = include_bytes!("../../host/fetch/src/network/fixtures/self-signed-expired.pem");
pub const EXPIRED_KEY: &[u8] = include_bytes!("../../host/fetch/src/network/fixtures/self-signed.key");
/// How long one side is listened to before the other one's turn.
const TURN: Duration = Duration::from_millis(2);

/// A front that runs as long as the process.
pub struct TlsFront(SocketAddr);

impl TlsFront {
    /// In front of `host`, which speaks plain http.
    pub fn start(host: &str) -> Self {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        let (config, host) = (Arc::new(config), host.to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (config, host) = (config.clone(), host.clone());
                // An error here is a client that went away, or trusts nobody.
                std::thread::spawn(move || TcpStream::connect(host).and_then(|server| pass_on(config, client, server)));
            }
        });
        Self(address)
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.0)
    }
}

/// Passes bytes on in both directions until one side closes.
fn pass_on(config: Arc<ServerConfig>, mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    client.set_read_timeout(Some(TURN))?;
    server.set_read_timeout(Some(TURN))?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match waiting(tls.read_tls(&mut client))? {
            Some(0) => return Ok(()),
            Some(_) => {
                let state = tls.process_new_packets().map_err(io::Error::other);
                // Also what tells the client why.
                while tls.wants_write() {
                    tls.write_tls(&mut client)?;
                }
                let mut plain = vec![0; state?.plaintext_bytes_to_read()];
                tls.reader().read_exact(&mut plain)?;
                server.write_all(&plain)?;
            }
            None => {}
        }
        match waiting(server.read(&mut buffer))? {
            Some(0) => tls.send_close_notify(),
            Some(read) => tls.writer().write_all(&buffer[..read])?,
            None => continue,
        }
        while tls.wants_write() {
            tls.write_tls(&mut client)?;
        }
    }
}

/// None where nothing has come.
fn waiting(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        other => other.map(Some),
    }
}
