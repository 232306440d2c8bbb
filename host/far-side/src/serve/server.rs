//! Connections, and what keeps any number of them, slow and hostile ones among
//! them, from taking more than their part.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue, USER_AGENT, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::access::Users;
use super::answer::{Answer, Asked};
use super::body::Body;
use super::library::Library;
use super::log::{LogLine, Request, Totals, Watch};
use super::path::{LONGEST, Path};
use super::tls::Identity;
use super::{page, registry};
use base::error::{Error, Result};

/// Connections at a time; more wait until one is closed.
const CONNECTIONS: u32 = 512;
/// Connections of one client, so that there is room for others whatever it does.
const CONNECTIONS_OF_ONE: usize = 256;
/// How long clients are waited for.
#[derive(Clone, Copy)]
struct Patience {
    /// Until one has said what it wants, and has greeted.
    asking: Duration,
    /// While nothing of what was sent is taken.
    taking: Duration,
}

const PATIENCE: Patience = Patience { asking: Duration::from_secs(20), taking: Duration::from_secs(60) };
/// Bytes of the headers of a request, and of what waits to leave.
const BUFFER: usize = 64 << 10;
const HEADERS: usize = 64;
/// What is under way when the server is stopped has so long.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of what a client calls itself.
const LONGEST_AGENT: usize = 200;

/// What answers requests.
pub struct Service {
    /// What is served.
    pub library: Library,
    /// Who is let in; None for everybody.
    pub users: Option<Users>,
    /// The address by which clients reach this server.
    pub base: String,
    /// Whether addresses in indexes begin with it.
    pub is_absolute: bool,
    /// Who is told of each answer.
    pub watch: Arc<dyn Watch>,
    /// Requests and bytes so far.
    pub totals: Arc<Totals>,
}

/// A socket that listens.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    patience: Patience,
}

impl Server {
    /// # Errors
    /// `local` where the address cannot be listened on.
    pub async fn bind(address: SocketAddr, identity: Option<&Identity>) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|source| unbindable(address, source))?;
        Ok(Self { listener, tls: identity.map(Identity::acceptor), patience: PATIENCE })
    }

    /// # Errors
    /// `local`.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|source| Error::local("cannot tell the address").caused_by(source))
    }

    /// Serves until it is stopped.
    pub async fn run(self, service: Arc<Service>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS as usize));
        let guests = Arc::new(Guests::default());
        loop {
            let next = async {
                let room = room.clone().acquire_owned().await.ok()?;
                Some((self.listener.accept().await, room))
            };
            let (accepted, room) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => match next { Some(next) => next, None => break },
            };
            match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    // Who has too many already is not heard.
                    let Some(place) = guests.admit(peer.ip()) else { continue };
                    let (service, stop, patience) = (service.clone(), stop.clone(), self.patience);
                    let connection = Connection { service, peer, stop, patience, _place: place, _room: room };
                    tokio::spawn(connection.serve(stream, self.tls.clone()));
                }
                // Descriptors ran out, or the client left at once.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        // Nobody listens any more; who is still there gets what was begun.
        drop(self.listener);
        let _ = tokio::time::timeout(GRACE, room.acquire_many(CONNECTIONS)).await;
    }
}

fn unbindable(address: SocketAddr, source: io::Error) -> Error {
    let error = match source.kind() {
        io::ErrorKind::AddrInUse => Error::local(format!("port {} of {} is taken", address.port(), address.ip()))
            .hint("another program listens there, maybe another `serve`: choose another port with --listen"),
        io::ErrorKind::PermissionDenied => {
            Error::local(format!("port {} of {} may not be listened on", address.port(), address.ip()))
                .hint("ports below 1024 are for root: choose another one with --listen")
        }
        io::ErrorKind::AddrNotAvailable => Error::local(format!("this machine has no address {}", address.ip()))
            .hint("name one of its own with --listen, or 0.0.0.0 for all of them"),
        _ => Error::local(format!("cannot listen on {address}")),
    };
    error.caused_by(source)
}

struct Connection {
    service: Arc<Service>,
    peer: SocketAddr,
    stop: CancellationToken,
    patience: Patience,
    _place: ConnectionSlot,
    _room: OwnedSemaphorePermit,
}

/// How many connections each client has.
#[derive(Default)]
struct Guests(Mutex<HashMap<IpAddr, usize>>);

/// One of them, given back when it is dropped.
struct ConnectionSlot {
    guests: Arc<Guests>,
    client: IpAddr,
}

impl Guests {
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionSlot> {
        let client = client(address);
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(client).or_default();
        if *count >= CONNECTIONS_OF_ONE {
            return None;
        }
        *count += 1;
        Some(ConnectionSlot { guests: self.clone(), client })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.client);
            }
        }
    }
}

/// Whom an address is of: a machine has a whole network of IPv6 addresses.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let stream = Watched::new(stream, self.patience.taking);
        match tls {
            None => self.answer(stream).await,
            Some(tls) => {
                // Who does not finish greeting, or trusts another certificate,
                // is nobody to talk to.
                if let Ok(Ok(stream)) = tokio::time::timeout(self.patience.asking, tls.accept(stream)).await {
                    self.answer(stream).await;
                }
            }
        }
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let answer = service_fn(|request| async { Ok::<_, Infallible>(self.service.answer(self.peer, request).await) });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience.asking)
            .max_buf_size(BUFFER)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection);
        // An error here is a client that left, or what was told to it already.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

impl Service {
    async fn answer(&self, peer: SocketAddr, request: hyper::Request<hyper::body::Incoming>) -> Response<Body> {
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let told = Request {
            client: peer.ip(),
            method: request.method().as_str().chars().take(20).collect(),
            path: request
                .uri()
                .path_and_query()
                .map(|path| path.as_str().chars().take(LONGEST).collect())
                .unwrap_or_default(),
            status: 0,
            bytes: 0,
            duration_ms: 0,
            agent: agent.chars().take(LONGEST_AGENT).collect(),
            failure: None,
        };
        let entry = LogLine::new(told, &self.watch, &self.totals);
        let is_head = request.method() == Method::HEAD;
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let answer = match &self.users {
            Some(users) if !users.admits(authorization).await => unauthorized(),
            _ => self.look_up(&request),
        };
        respond(answer, is_head, entry).await
    }

    fn look_up(&self, request: &hyper::Request<hyper::body::Incoming>) -> Answer {
        if request.uri().path_and_query().is_some_and(|address| address.as_str().len() > LONGEST) {
            return Answer::text(StatusCode::URI_TOO_LONG, "the address is too long");
        }
        let Some(path) = Path::parse(request.uri().path()) else {
            return Answer::text(StatusCode::BAD_REQUEST, "the address is not a plain path");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Answer::read_only();
        }
        let asked = Asked { method: request.method(), headers: request.headers(), query: request.uri().query() };
        let library = &self.library;
        match path.parts().as_slice() {
            [""] => Answer::html(page::home(library, &self.base)),
            ["index.json"] => Answer::json(&page::data(library, &self.base)),
            ["v2", rest @ ..] => registry::answer(&library.images, rest, &asked),
            ["charts", rest @ ..] if !rest.is_empty() => {
                library.charts.answer(rest, &asked, self.is_absolute.then_some(&self.base))
            }
            ["files", rest @ ..] if !rest.is_empty() => library.files.answer(rest, &asked),
            ["git", rest @ ..] if !rest.is_empty() => library.repositories.answer(rest, &asked),
            [folder @ ("charts" | "files")] => Answer::moved(&format!("/{folder}/")),
            _ => Answer::text(StatusCode::NOT_FOUND, "there is nothing here; / says what there is"),
        }
    }
}

fn unauthorized() -> Answer {
    let (name, version) = registry::API_VERSION;
    Answer::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a user and a password are needed")
        .with(WWW_AUTHENTICATE, "Basic realm=\"opencenter-airgap\", charset=\"UTF-8\"")
        .with(name, version)
}

async fn respond(answer: Answer, is_head: bool, mut entry: LogLine) -> Response<Body> {
    let Answer { status, mut headers, body, part } = answer;
    let length = part.end - part.start;
    let has_body = !is_head && status != StatusCode::NOT_MODIFIED;
    if is_head && status != StatusCode::NOT_MODIFIED {
        headers.insert(hyper::header::CONTENT_LENGTH, length.into());
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    entry.answers(status.as_u16(), if has_body { length } else { 0 });
    let body = match has_body {
        false => Ok(Body::whole(Bytes::new(), entry)),
        true => Body::of(&body, part, entry).await,
    };
    match body {
        Ok(body) => {
            let mut response = Response::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        Err((error, entry)) => damaged(&error, entry),
    }
}

/// The first piece of what is asked for is not what it should be.
fn damaged(error: &io::Error, mut entry: LogLine) -> Response<Body> {
    entry.broke(error);
    let message = format!("the package is damaged: {error}");
    let Answer { status, headers, body, .. } = Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &message);
    let bytes = match body {
        super::content::Source::Made(bytes) => bytes,
        super::content::Source::Carried(_) => Bytes::new(),
    };
    entry.answers(status.as_u16(), bytes.len() as u64);
    let mut response = Response::new(Body::whole(bytes, entry));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A stream on which whoever takes nothing for too long is given up.
struct Watched {
    inner: TcpStream,
    patience: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(inner: TcpStream, patience: Duration) -> Self {
        Self { inner, patience, deadline: None }
    }

    fn watch<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            return polled;
        }
        let until = Instant::now() + self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Source;
    use super::*;
    use base::digest::Digest;
    use base::reference::Reference;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Deaf;

    impl Watch for Deaf {
        fn answered(&self, _: &Request) {}
    }

    /// A server with one blob of 16 MiB, which waits for nobody longer than that.
    async fn serving(patience: Duration) -> (SocketAddr, Digest, CancellationToken) {
        let mut library = Library::default();
        let (blob, name) = (Bytes::from(vec![7; 16 << 20]), Reference::parse("r.test/a:1").unwrap());
        let digest = Digest::of(&blob);
        library.images.add_blob(digest, Source::Made(blob));
        library.images.add(&name, digest, "package").unwrap();
        let (watch, totals) = (Arc::new(Deaf), Arc::default());
        let base = String::new();
        let service = Service { library, users: None, base, is_absolute: false, watch, totals };
        let mut server = Server::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        server.patience = Patience { asking: patience, taking: patience };
        let (address, stop) = (server.address().unwrap(), CancellationToken::new());
        tokio::spawn(server.run(Arc::new(service), stop.clone()));
        (address, digest, stop)
    }

    #[tokio::test]
    async fn who_hangs_is_given_up_and_others_are_not() {
        let (address, digest, stop) = serving(Duration::from_millis(300)).await;
        let ask = format!("GET /v2/r.test/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HT").await.unwrap();
        let mut stalled = TcpStream::connect(address).await.unwrap();
        stalled.write_all(ask.as_bytes()).await.unwrap();
        // The server gives up; what it had sent by then may still be read.
        for stream in [&mut silent, &mut slow] {
            let mut said = Vec::new();
            let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await;
            assert!(end.is_ok() && said.len() < 1000, "{}", String::from_utf8_lossy(&said));
        }
        let mut whole = TcpStream::connect(address).await.unwrap();
        whole.write_all(ask.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        whole.read_to_end(&mut said).await.unwrap();
        assert!(said.len() > 16 << 20 && said.starts_with(b"HTTP/1.1 200"), "{}", said.len());
        tokio::time::sleep(Duration::from_millis(600)).await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), stalled.read_to_end(&mut rest)).await.expect("it ends");
        assert!(rest.len() < 16 << 20, "{}", rest.len());
        stop.cancel();
    }

    #[test]
    fn one_client_leaves_room_for_others() {
        let guests = Arc::new(Guests::default());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let mut places: Vec<ConnectionSlot> = (0..CONNECTIONS_OF_ONE).map(|_| guests.admit(one).unwrap()).collect();
        assert!(guests.admit(one).is_none() && guests.admit("::ffff:10.0.0.1".parse().unwrap()).is_none());
        assert!(guests.admit(other).is_some());
        places.pop();
        assert!(guests.admit(one).is_some());
        drop(places);
        assert!(guests.0.lock().unwrap().is_empty(), "who left is forgotten");
        let v6 = |text: &str| client(text.parse().unwrap());
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::ffff:2"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
    }
}
