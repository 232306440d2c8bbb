//! Connections, and what keeps any number of them, slow and hostile ones among
//! them, from taking more than their part.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
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
use super::log::{Entry, Request, Totals, Watch};
use super::path::{LONGEST, Path};
use super::tls::Identity;
use super::{page, registry};
use base::error::{Error, Result};

/// Connections at a time; more wait until one is closed.
const CONNECTIONS: u32 = 512;
/// A client has so long to say what it wants, and to greet.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing that was sent was taken for so long.
const STALLED: Duration = Duration::from_secs(60);
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
}

impl Server {
    /// # Errors
    /// `local` where the address cannot be listened on.
    pub async fn bind(address: SocketAddr, identity: Option<&Identity>) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|source| unbindable(address, source))?;
        Ok(Self { listener, tls: identity.map(Identity::acceptor) })
    }

    /// # Errors
    /// `local`.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|source| Error::local("cannot tell the address").caused_by(source))
    }

    /// Serves until it is stopped.
    pub async fn run(self, service: Arc<Service>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS as usize));
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
                    let connection = Connection { service: service.clone(), peer, stop: stop.clone(), _room: room };
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
    _room: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let stream = Watched::new(stream);
        match tls {
            None => self.answer(stream).await,
            Some(tls) => {
                // Who does not finish greeting, or trusts another certificate,
                // is nobody to talk to.
                if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
                    self.answer(stream).await;
                }
            }
        }
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let answer = service_fn(|request| async { Ok::<_, Infallible>(self.service.answer(self.peer, request).await) });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
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
        let entry = Entry::new(told, &self.watch, &self.totals);
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

async fn respond(answer: Answer, is_head: bool, mut entry: Entry) -> Response<Body> {
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
fn damaged(error: &io::Error, mut entry: Entry) -> Response<Body> {
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
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(inner: TcpStream) -> Self {
        Self { inner, deadline: None }
    }

    fn watch<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            return polled;
        }
        let deadline =
            self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + STALLED)));
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
