//! An HTTP/1.1 server on plain threads whose every byte a test controls.
//!
//! A [`Server`] binds a free port on loopback and asks its [`Handler`] for the
//! [`Response`] to each request. Before the response goes out, the first
//! [fault](crate::fault) whose rule matches changes it: the connection is cut,
//! the status replaced, a range ignored. Ranges, `If-Range`, `HEAD` and
//! keep-alive are handled here, so that handlers only name content. Every
//! request is [logged](LoggedRequest) with the bytes that were sent for it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::fault::{Fault, Faults, On, Trigger};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Without the query, not decoded.
    pub path: String,
    /// Without the question mark; empty where there is none.
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The decoded values of a parameter in the query.
    pub fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        parameters(&self.query).filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    /// The path alone, also where a proxy is asked for a whole address.
    pub fn path_alone(&self) -> &str {
        let rest = self.path.strip_prefix("http://");
        rest.and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(&self.path)
    }

    /// 401, unless the request comes with this user and password.
    pub fn refusal(&self, user: &str, password: &str) -> Option<Response> {
        let wanted = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
        let refused = || Response::new(401, "").with("www-authenticate", "Basic realm=\"tests\"");
        (self.header("authorization") != Some(&wanted)).then(refused)
    }

    /// The start and the inclusive end of `Range: bytes=…`.
    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let (start, end) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse().ok()?, end.parse().ok()))
    }
}

/// The decoded pairs of a query or of a form.
pub fn parameters(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// Percent and plus decoding.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let pair: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.extend(u8::from_str_radix(&pair, 16).ok());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes to serve, held in memory or read from a file. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Content {
    Memory(Arc<[u8]>),
    File(Arc<PathBuf>, u64),
}

impl Content {
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let size = std::fs::metadata(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display())).len();
        Content::File(Arc::new(path), size)
    }

    pub fn size(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(_, size) => *size,
        }
    }

    fn open(&self, start: u64) -> io::Result<Box<dyn Read>> {
        match self {
            Content::Memory(bytes) => {
                let mut cursor = io::Cursor::new(bytes.clone());
                cursor.set_position(start);
                Ok(Box::new(cursor))
            }
            Content::File(path, _) => {
                let mut file = File::open(path.as_path())?;
                file.seek(SeekFrom::Start(start))?;
                Ok(Box::new(file))
            }
        }
    }
}

impl<T: Into<Vec<u8>>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Content::Memory(bytes.into().into())
    }
}

/// What a handler answers.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub content: Content,
    /// Whether a `Range` is honoured.
    pub ranges: bool,
}

impl Response {
    pub fn new(status: u16, content: impl Into<Content>) -> Self {
        Self { status, headers: Vec::new(), content: content.into(), ranges: false }
    }

    /// 200 with content of which ranges may be asked for.
    pub fn content(content: Content) -> Self {
        Self { status: 200, headers: Vec::new(), content, ranges: true }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, value.to_string()).with("content-type", "application/json")
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Answers requests; called from one thread per connection.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, request: &Request) -> Response;
}

impl<F: Fn(&Request) -> Response + Send + Sync + 'static> Handler for F {
    fn handle(&self, request: &Request) -> Response {
        self(request)
    }
}

/// One request in the log.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    /// What `Range` asked for.
    pub range: Option<(u64, Option<u64>)>,
    /// 0 while unanswered, and for a connection closed without an answer.
    pub status: u16,
    /// Bytes of the body that were handed to the socket.
    pub sent: u64,
    /// Since the server started.
    pub at: Duration,
    /// When the answer, complete or not, was over.
    pub ended: Option<Duration>,
}

impl LoggedRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// How many requests were under way when each of these began, itself included.
pub fn in_flight(log: &[LoggedRequest]) -> Vec<usize> {
    let under_way =
        |at: Duration| log.iter().filter(|entry| entry.at <= at && entry.ended.is_none_or(|ended| ended > at)).count();
    log.iter().map(|entry| under_way(entry.at)).collect()
}

struct Shared {
    handler: Box<dyn Handler>,
    faults: Faults,
    log: Mutex<Vec<LoggedRequest>>,
    changed: Condvar,
    stopping: AtomicBool,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    started: Instant,
    /// Open connections, shut down when the server is dropped.
    connections: Mutex<HashMap<u64, TcpStream>>,
}

/// A running server. Dropping it closes every connection.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Serves on a free port of 127.0.0.1.
    pub fn start(handler: impl Handler) -> Self {
        Self::start_on("127.0.0.1:0", handler)
    }

    pub fn start_on(address: &str, handler: impl Handler) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|err| panic!("cannot listen on {address}: {err}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            faults: Faults::default(),
            log: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            started: Instant::now(),
            connections: Mutex::default(),
        });
        let accepting = shared.clone();
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:port` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Changes the answers to the requests that `on` matches. Of several rules
    /// for one request the one added first counts.
    ///
    /// A test of a fault that never happens guards nothing: the server fails it
    /// when it [heals](Self::heal) or goes.
    pub fn fault(&self, on: On, fault: Fault) -> Trigger {
        self.shared.faults.add(on, fault, true)
    }

    /// The same, for what need not happen.
    pub fn perhaps(&self, on: On, fault: Fault) -> Trigger {
        self.shared.faults.add(on, fault, false)
    }

    /// From now on no fault happens.
    ///
    /// # Panics
    /// Where one never happened that had to.
    #[track_caller]
    pub fn heal(&self) {
        let missed = self.shared.faults.clear();
        assert!(missed.is_empty(), "a fault never happened: {}\n{}", missed.join("; "), self.render_log());
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<LoggedRequest> {
        locked(&self.shared.log).clone()
    }

    /// The requests so far whose path contains `part`.
    pub fn requests(&self, method: &str, part: &str) -> Vec<LoggedRequest> {
        self.log().into_iter().filter(|entry| entry.method == method && entry.path.contains(part)).collect()
    }

    pub fn forget(&self) {
        locked(&self.shared.log).clear();
    }

    /// Body bytes sent so far, over all requests.
    pub fn bytes_sent(&self) -> u64 {
        locked(&self.shared.log).iter().map(|entry| entry.sent).sum()
    }

    /// The largest number of requests that were answered at the same time.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::SeqCst)
    }

    /// Waits until the log fulfils `condition`.
    ///
    /// # Panics
    /// After `limit`, with the log.
    pub fn wait_until(&self, limit: Duration, condition: impl Fn(&[LoggedRequest]) -> bool) {
        let deadline = Instant::now() + limit;
        let mut log = locked(&self.shared.log);
        while !condition(&log) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {limit:?} for a condition on the log:\n{}", render(&log));
            log = self.shared.changed.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The log as lines, for a failure message.
    pub fn render_log(&self) -> String {
        render(&self.log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        for (_, connection) in locked(&self.shared.connections).drain() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        if !thread::panicking() {
            self.heal();
        }
    }
}

fn render(log: &[LoggedRequest]) -> String {
    use std::fmt::Write as _;
    log.iter().fold(String::new(), |mut text, entry| {
        let range = entry.header("range").unwrap_or("-");
        let _ = writeln!(
            text,
            "{:>7.3}s {} {} range {range}: {} with {} bytes",
            entry.at.as_secs_f64(),
            entry.method,
            entry.path,
            entry.status,
            entry.sent
        );
        text
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (id, stream) in (0..).zip(listener.incoming()) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let _ = stream.set_nodelay(true);
        if let Ok(copy) = stream.try_clone() {
            locked(&shared.connections).insert(id, copy);
        }
        let shared = shared.clone();
        thread::spawn(move || {
            // An error here is a client that went away.
            let end = serve(&stream, &shared).unwrap_or(End::Close);
            if end != End::Reset {
                let _ = stream.shutdown(Shutdown::Both);
            }
            locked(&shared.connections).remove(&id);
        });
    }
}

/// What becomes of the connection after an answer.
#[derive(PartialEq, Eq)]
enum End {
    KeepOpen,
    Close,
    Reset,
}

/// Answers the requests of one connection until it closes.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<End> {
    let mut reader = BufReader::new(stream);
    while !shared.stopping.load(Ordering::SeqCst) {
        let Some(request) = read_request(&mut reader, stream)? else { break };
        let number = record(shared, &request);
        let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let end = Exchange { stream, shared, number, request: &request }.answer();
        shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        update(shared, number, |entry| entry.ended = Some(shared.started.elapsed()));
        let closing = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        match end? {
            End::KeepOpen if closing => break,
            End::KeepOpen => {}
            end => return Ok(end),
        }
    }
    Ok(End::Close)
}

fn record(shared: &Shared, request: &Request) -> usize {
    let mut log = locked(&shared.log);
    log.push(LoggedRequest {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: request.headers.clone(),
        range: request.range(),
        status: 0,
        sent: 0,
        at: shared.started.elapsed(),
        ended: None,
    });
    shared.changed.notify_all();
    log.len() - 1
}

fn update(shared: &Shared, number: usize, change: impl FnOnce(&mut LoggedRequest)) {
    // The log may have been cleared in between.
    if let Some(entry) = locked(&shared.log).get_mut(number) {
        change(entry);
    }
    shared.changed.notify_all();
}

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

fn read_request(reader: &mut BufReader<&TcpStream>, stream: &TcpStream) -> io::Result<Option<Request>> {
    // Who begins with TLS learns that there is none, as from any server.
    if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
        (&mut &*stream).write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nthis is plain HTTP\n")?;
        return Ok(None);
    }
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no request line"));
    };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    };
    if request.header("expect").is_some() {
        (&mut &*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = read_body(reader, &request)?;
    Ok(Some(request))
}

fn read_body(reader: &mut BufReader<&TcpStream>, request: &Request) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut line)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let size = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    reader.take(size).read_to_end(&mut body)?;
    Ok(body)
}

/// The answer to one request on its way out.
struct Exchange<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
    number: usize,
    request: &'a Request,
}

/// How the body goes over the line.
#[derive(Default)]
struct Line {
    cut_after: Option<u64>,
    reset: bool,
    no_length: bool,
    stall: Option<(u64, Duration)>,
    bytes_per_second: Option<u64>,
    damage_at: Option<u64>,
}

impl Exchange<'_> {
    fn answer(&self) -> io::Result<End> {
        let fault = self.shared.faults.choose(self.request);
        let mut line = Line::default();
        let mut request = self.request.clone();
        let mut response = None;
        let mut range_header = RangeHeader::Right;
        match fault {
            None => {}
            Some(Fault::Close) => return Ok(End::Close),
            Some(Fault::Status { status, headers, body }) => {
                response = Some(Response { status, headers, content: body.into(), ranges: false });
            }
            Some(Fault::Cut { after }) => line.cut_after = Some(after),
            Some(Fault::CutWithoutLength { after }) => (line.cut_after, line.no_length) = (Some(after), true),
            Some(Fault::Reset { after }) => (line.cut_after, line.reset) = (Some(after), true),
            Some(Fault::Stall { after, time }) => line.stall = Some((after, time)),
            Some(Fault::Delay(time)) => self.pause(time)?,
            Some(Fault::Slow { bytes_per_second }) => line.bytes_per_second = Some(bytes_per_second),
            Some(Fault::Damage { at }) => line.damage_at = Some(at),
            Some(Fault::IgnoreRange) => request.headers.retain(|(name, _)| name != "range"),
            Some(Fault::RangeFrom(start)) => {
                request.headers.retain(|(name, _)| name != "range");
                request.headers.push(("range".to_owned(), format!("bytes={start}-")));
            }
            Some(Fault::RangeTotal(total)) => range_header = RangeHeader::Total(total),
            Some(Fault::NoContentRange) => range_header = RangeHeader::Missing,
            Some(Fault::RangeRefused) => {
                let total = self.shared.handler.handle(self.request).content.size();
                response = Some(Response::new(416, "").with("content-range", format!("bytes */{total}")));
            }
            Some(Fault::Held(gate)) => gate.wait(|| self.gone()),
            Some(Fault::NoEnd { silent }) => return self.send_without_end(silent),
            Some(Fault::Header(name, value)) => {
                response = Some(self.shared.handler.handle(self.request).with(&name, value));
            }
        }
        let response = response.unwrap_or_else(|| self.shared.handler.handle(&request));
        self.send(&request, response, &range_header, &line)
    }

    fn send(&self, request: &Request, response: Response, header: &RangeHeader, line: &Line) -> io::Result<End> {
        let total = response.content.size();
        let range = if response.ranges && response.status == 200 {
            wanted_range(request, &response)
        } else {
            RequestedRange::All
        };
        let (status, start, end) = match range {
            RequestedRange::All => (response.status, 0, total),
            RequestedRange::Part(start, end) if start < total => (206, start, end.min(total)),
            RequestedRange::Part(..) => {
                let refused = Response::new(416, "").with("content-range", format!("bytes */{total}"));
                return self.send(request, refused, header, line);
            }
        };
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        for (name, value) in &response.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if status == 206 {
            match header {
                RangeHeader::Missing => {}
                RangeHeader::Right => head.push_str(&format!("content-range: bytes {start}-{}/{total}\r\n", end - 1)),
                RangeHeader::Total(claimed) => {
                    head.push_str(&format!("content-range: bytes {start}-{}/{claimed}\r\n", end - 1));
                }
            }
        }
        if response.ranges {
            head.push_str("accept-ranges: bytes\r\n");
        }
        match line.no_length {
            true => head.push_str("connection: close\r\n\r\n"),
            false => head.push_str(&format!("content-length: {}\r\n\r\n", end - start)),
        }
        update(self.shared, self.number, |entry| entry.status = status);
        (&mut &*self.stream).write_all(head.as_bytes())?;
        if request.method == "HEAD" {
            return Ok(End::KeepOpen);
        }
        self.send_body(&response.content, start, end, line)
    }

    /// The whole content as one chunk, and no last chunk.
    fn send_without_end(&self, silent: bool) -> io::Result<End> {
        let response = self.shared.handler.handle(self.request);
        let size = response.content.size();
        let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
        for (name, value) in &response.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n"));
        update(self.shared, self.number, |entry| entry.status = response.status);
        (&mut &*self.stream).write_all(head.as_bytes())?;
        self.send_body(&response.content, 0, size, &Line::default())?;
        (&mut &*self.stream).write_all(b"\r\n")?;
        if silent {
            self.pause(Duration::MAX)?;
        }
        Ok(End::Close)
    }

    fn send_body(&self, content: &Content, start: u64, end: u64, line: &Line) -> io::Result<End> {
        let mut source = content.open(start)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut stall = line.stall;
        let mut sent = 0;
        let begun = Instant::now();
        while start + sent < end {
            let mut step = (end - start - sent).min(buffer.len() as u64);
            if let Some(rate) = line.bytes_per_second {
                step = step.min((rate / 20).max(1));
                let due = Duration::from_secs_f64((sent + step) as f64 / rate as f64);
                self.pause(due.saturating_sub(begun.elapsed()))?;
            }
            for edge in [line.cut_after, stall.map(|(after, _)| after)].into_iter().flatten() {
                step = if edge > sent { step.min(edge - sent) } else { step };
            }
            if line.cut_after.is_some_and(|after| sent >= after) {
                return self.cut(line.reset);
            }
            if let Some((after, time)) = stall
                && sent >= after
            {
                self.pause(time)?;
                stall = None;
            }
            let chunk = &mut buffer[..usize::try_from(step).expect("a buffer's length")];
            source.read_exact(chunk)?;
            if let Some(at) = line.damage_at
                && (start + sent..start + sent + step).contains(&at)
            {
                chunk[usize::try_from(at - start - sent).expect("inside the buffer")] ^= 0xff;
            }
            (&mut &*self.stream).write_all(chunk)?;
            sent += step;
            update(self.shared, self.number, |entry| entry.sent = sent);
        }
        // A cut at or behind the end still closes the connection.
        if line.cut_after.is_some() { self.cut(line.reset) } else { Ok(End::KeepOpen) }
    }

    fn cut(&self, reset: bool) -> io::Result<End> {
        if !reset {
            return Ok(End::Close);
        }
        // With a linger time of zero the kernel sends RST instead of FIN.
        socket2::SockRef::from(self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(End::Reset)
    }

    /// Sleeps in small pieces: ends early when the client or the server goes.
    fn pause(&self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now().checked_add(time);
        while deadline.is_none_or(|deadline| Instant::now() < deadline) {
            if self.gone() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            thread::sleep(left.min(Duration::from_millis(20)));
        }
        Ok(())
    }

    fn gone(&self) -> bool {
        if self.shared.stopping.load(Ordering::SeqCst) {
            return true;
        }
        let _ = self.stream.set_nonblocking(true);
        let closed =
            matches!(self.stream.peek(&mut [0]), Ok(0)) || self.stream.take_error().is_ok_and(|error| error.is_some());
        let _ = self.stream.set_nonblocking(false);
        closed
    }
}

/// What a 206 says about its range.
enum RangeHeader {
    Right,
    Total(u64),
    Missing,
}

enum RequestedRange {
    All,
    /// Start and exclusive end.
    Part(u64, u64),
}

fn wanted_range(request: &Request, response: &Response) -> RequestedRange {
    let stale = request.header("if-range").is_some_and(|validator| {
        response.header("etag") != Some(validator) && response.header("last-modified") != Some(validator)
    });
    match request.range() {
        Some((start, end)) if !stale => RequestedRange::Part(start, end.map_or(u64::MAX, |end| end.saturating_add(1))),
        _ => RequestedRange::All,
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
