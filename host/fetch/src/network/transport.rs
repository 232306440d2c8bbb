//! One request, sent once: place in the limits, redirects, silence, and who
//! may see the credentials.
//!
//! Whether it is sent again is decided by [`Tries`], with the rules of
//! `retry`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::HeaderValue;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::failure::{Failure, before_answer, broke_off};
use super::limits::{Host, Limits, Permit, come_back, quota};
use super::mirrors::{Places, host_of, shown};
use super::outflow::{Outflow, Pulse};
use super::party::Party;
use super::restrict::{Bounds, Reach};
use super::retry::{Cause, Decision, History, Policy, retry_after};
use super::tls::Clients;
use base::error::{Class, Error, Result};
use base::progress::Progress;
use entitlement::grants::{address, host_address};

const MOST_REDIRECTS: usize = 10;
/// Content-Encodings that change the bytes.
const PACKINGS: &[&str] = &["gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd"];
/// Bytes of an error's body that are looked at.
const ERROR_BODY: usize = 64 * 1024;

/// What every request goes through.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) clients: Clients,
    pub(super) limits: Limits,
    pub(super) places: Places,
    pub(super) policy: Policy,
    pub(super) silence: Duration,
    pub(super) per_host: usize,
}

/// What is sent along, by another method than `GET`.
#[derive(Clone)]
pub(super) struct Upload {
    pub(super) method: Method,
    pub(super) body: Outflow,
}

/// What to ask. `GET` unless there is a form to post or something to upload.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) upload: Option<Upload>,
    /// Holds a secret: shown to no other server than that of `url`.
    pub(super) form: Option<String>,
    pub(super) bounds: Bounds,
    /// Whether another place is asked when this one cannot be reached.
    pub(super) has_alternative: bool,
}

/// Without what may hold a secret.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("url", &shown(&self.url))
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Request {
    pub(super) fn get(url: Url) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        Self { url, headers, upload: None, form: None, bounds: Bounds::None, has_alternative: false }
    }
}

/// The head of an answer, whatever its status. The body is still to come; the
/// place in the limits is held until the answer is dropped.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    /// Where it came from in the end.
    pub(super) url: Url,
    pub(super) redirected: bool,
    /// Whether that is another server than the one that was asked.
    pub(super) elsewhere: bool,
    /// Whether it saw an Authorization header.
    pub(super) authorized: bool,
    _permit: Permit,
    silence: Duration,
}

impl Transport {
    /// Sends a request once and follows redirects.
    pub(super) async fn send(&self, request: &Request, progress: &Progress) -> Result<Answer, Failure> {
        let mut hop = Hop::first(request);
        let party = request.bounds.party();
        for number in 0..=MOST_REDIRECTS {
            let reach = request.bounds.reach(&hop.url)?;
            self.clients.check(&hop.url, reach).await?;
            let mut answer = self.send_to(&hop, reach, &party, number > 0, progress).await?;
            answer.elsewhere = !same_origin(&request.url, &hop.url);
            let Some(next) = redirection(&answer, &request.bounds)? else { return Ok(answer) };
            hop.turn(answer.status(), next, &self.places)?;
            answer.drain().await;
        }
        Err(Error::invalid(format!("{} redirects more than {MOST_REDIRECTS} times", shown(&request.url))).into())
    }

    async fn send_to(
        &self,
        hop: &Hop,
        reach: Reach,
        party: &Party,
        redirected: bool,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let url = &hop.url;
        let name = host_of(url);
        let host = self.host(party, url);
        let patience = self.policy.longest_wait;
        let permit = self.limits.acquire(&host, patience, progress.cancellation()).await.map_err(|error| {
            if error.class() == Class::RateLimited { error.context(format!("{name} limits the rate")) } else { error }
        })?;
        let pulse = Arc::new(Pulse::default());
        let request = hop.request(&self.clients.get(url, reach)?, &pulse);
        progress.request();
        progress.may_go_on()?;
        let sent = tokio::select! {
            sent = pulse.answered(self.silence, request.send()) => sent,
            () = progress.cancellation().cancelled() => return Err(Error::interrupted().into()),
        };
        let sent = sent.ok_or_else(|| silent(url, self.silence))?;
        let response = sent.map_err(|error| match pulse.broken() {
            Some(broken) => unreadable(broken),
            None => self.explain(before_answer(&error, &format!("{}://{name}", url.scheme())), url),
        })?;
        self.learn(&host, &permit, &response);
        let authorized = hop.headers.contains_key(AUTHORIZATION);
        let (url, silence) = (url.clone(), self.silence);
        Ok(Answer { response, url, redirected, elsewhere: false, authorized, _permit: permit, silence })
    }

    /// A proxy that can not be reached looks like a host that can not.
    fn explain(&self, mut failure: Failure, url: &Url) -> Failure {
        if let Some(proxy) = self.clients.proxy(url).filter(|_| failure.cause == Cause::Unreachable) {
            failure.error = failure.error.hint(format!(
                "the proxy {proxy} is asked for every host that `no_proxy` does not name: check that it is there"
            ));
        }
        failure
    }

    /// What an answer tells about how much the host bears.
    fn learn(&self, host: &Host, permit: &Permit, response: &Response) {
        host.reached();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(quota) = quota(header) {
            host.heed(quota, self.policy.longest_wait);
        }
        let asked = asked_to_wait(response);
        match response.status().as_u16() {
            429 => permit.throttled(),
            503 | 403 if asked.is_some() => permit.throttled(),
            status if status < 400 || status == 416 => permit.succeeded(),
            _ => {}
        }
        if let Some(asked) = asked {
            host.pause(asked);
        }
    }

    /// The limits that `party` has of the host behind a URL.
    fn host(&self, party: &Party, url: &Url) -> Arc<Host> {
        let name = host_of(url);
        let most = self.places.concurrency(&name).unwrap_or(self.per_host);
        self.limits.host(party, &name, most)
    }
}

/// What goes to one server on the way to an answer.
struct Hop {
    url: Url,
    headers: HeaderMap,
    upload: Option<Upload>,
    form: Option<String>,
}

impl Hop {
    fn first(request: &Request) -> Self {
        let Request { url, headers, upload, form, .. } = request.clone();
        Self { url, headers, upload, form }
    }

    /// Follows a redirect, without what the next server must not see.
    fn turn(&mut self, status: u16, next: Url, places: &Places) -> Result<()> {
        let (from, to) = (shown(&self.url), host_of(&next));
        if self.url.scheme() == "https" && next.scheme() != "https" && !places.may_be_plain(&next) {
            return Err(Error::invalid(format!("{from} redirects to http at {to}"))
                .hint("list that host under `network.plain_http_hosts` if it is fine"));
        }
        if !same_origin(&self.url, &next) {
            self.headers.remove(AUTHORIZATION);
            if self.form.is_some() {
                return Err(Error::invalid(format!("{from} redirects to {to}, which must not see an identity token"))
                    .hint("log in with a password or an access token instead, or ask who runs the registry"));
            }
        }
        // A method that only asks stays what it is.
        let is_lost = self.upload.as_ref().is_some_and(|upload| upload.method != Method::HEAD);
        if is_lost && (status <= 303 || to != host_of(&self.url)) {
            return Err(Error::invalid(format!("{from} sends what is uploaded on to {to}"))
                .hint("push to that registry itself"));
        }
        if status <= 303 {
            self.form = None;
        }
        self.url = next;
        Ok(())
    }

    fn request(&self, client: &Client, pulse: &Arc<Pulse>) -> RequestBuilder {
        let request = match (&self.upload, &self.form) {
            (Some(Upload { method, body }), _) => {
                let request = client.request(method.clone(), self.url.clone()).body(body.body(pulse));
                // Of what is small it is told anyhow, where a method has a body.
                if body.is_small() { request } else { request.header(CONTENT_LENGTH, body.size()) }
            }
            (None, Some(form)) => client
                .post(self.url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone()),
            (None, None) => client.get(self.url.clone()),
        };
        request.headers(self.headers.clone())
    }
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header as text; None where it is missing or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Bytes that the body will have, from its header.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|length| length.parse().ok())
    }

    /// How the body is packed beyond what it is. Other names are said of bodies
    /// as they are: `aws-chunked` of what was once uploaded so, even `utf-8`.
    fn encoding(&self) -> Option<&str> {
        let mut names = self.header("content-encoding")?.split(',').map(str::trim);
        names.find(|name| PACKINGS.iter().any(|packing| packing.eq_ignore_ascii_case(name)))
    }

    /// Whether the server means the file itself by its Content-Encoding, as
    /// some do of all that ends in `.gz`.
    pub(super) fn is_encoded_by_name(&self, asked: &Url) -> bool {
        let is_gzip = self.encoding().is_some_and(|name| name.to_ascii_lowercase().ends_with("gzip"));
        is_gzip && [".gz", ".tgz"].iter().any(|ending| asked.path().ends_with(ending))
    }

    /// The body as it is meant: one that is packed is refused.
    pub(super) async fn unpacked(&mut self, limit: usize, what: &str, progress: &Progress) -> Result<Vec<u8>, Failure> {
        self.refuse_encoding(what)?;
        self.body(limit, progress).await
    }

    /// Refuses a body that is packed, which nobody asked for: it would be
    /// taken for the thing itself.
    pub(super) fn refuse_encoding(&self, what: &str) -> Result<(), Failure> {
        let Some(encoding) = self.encoding() else { return Ok(()) };
        let message = format!("{} sent {what} packed as `{encoding}`, which was not asked for", host_of(&self.url));
        Err(Failure::broken(Error::invalid(message).hint(
            "the server, or a proxy on the way, compresses what it delivers: switch that off there; nothing of it was kept",
        )))
    }

    /// The next piece of the body; None at its end. Says so when nothing came
    /// for `patience`, which is not an error yet.
    pub(super) async fn piece(&mut self, patience: Duration) -> Result<Piece, Failure> {
        match tokio::time::timeout(patience, self.response.chunk()).await {
            Err(_) => Ok(Piece::Nothing),
            Ok(Ok(Some(bytes))) => Ok(Piece::Bytes(bytes)),
            Ok(Ok(None)) => Ok(Piece::End),
            Ok(Err(error)) => Err(broke_off(&error, &shown(&self.url))),
        }
    }

    /// The whole body, if it has at most `limit` bytes.
    pub(super) async fn body(&mut self, limit: usize, progress: &Progress) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let piece = tokio::select! {
                piece = self.piece(self.silence) => piece?,
                () = progress.cancellation().cancelled() => return Err(Error::interrupted().into()),
            };
            match piece {
                Piece::Bytes(bytes) if body.len() + bytes.len() > limit => {
                    let message = format!("{} sent more than {limit} bytes", shown(&self.url));
                    return Err(Error::invalid(message).into());
                }
                Piece::Bytes(bytes) => {
                    progress.fetched(bytes.len() as u64);
                    progress.may_go_on()?;
                    body.extend_from_slice(&bytes);
                }
                Piece::Nothing => return Err(silent(&self.url, self.silence)),
                Piece::End => return Ok(body),
            }
        }
    }

    /// Reads away a short body, so that the connection can be used again.
    pub(super) async fn drain(mut self) {
        if self.content_length().is_some_and(|length| length <= ERROR_BODY as u64) {
            let _ = tokio::time::timeout(Duration::from_secs(1), async {
                while let Ok(Some(_)) = self.response.chunk().await {}
            })
            .await;
        }
    }

    /// The failure that an unexpected status means. `what` was asked for
    /// ("the manifest of nginx:1.27").
    pub(super) async fn refusal(mut self, what: &str) -> Failure {
        let status = self.response.status();
        let asked = asked_to_wait(&self.response);
        let said = self.error_text().await;
        let host = host_of(&self.url);
        let error = status_error(status, what, &host, said.as_deref());
        // A signed URL may have run out while the request waited: the next
        // try gets a new one from where it began.
        let expired = self.redirected && matches!(status.as_u16(), 400 | 401 | 403 | 404 | 410);
        let cause = if expired { Cause::Status(500) } else { Cause::Status(status.as_u16()) };
        Failure { cause, asked, error }
    }

    async fn error_text(&mut self) -> Option<String> {
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(bytes)) = self.response.chunk().await {
                body.extend_from_slice(&bytes[..bytes.len().min(ERROR_BODY - body.len())]);
                if body.len() >= ERROR_BODY {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
        registry_message(&body)
    }
}

/// What comes next of a body.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(bytes::Bytes),
    /// Nothing within the time.
    Nothing,
    End,
}

/// How often a request failed; sleeps between the tries.
#[derive(Debug, Default)]
pub(super) struct Tries {
    history: History,
    since: Option<Instant>,
}

impl Tries {
    /// Bytes came: failures are counted anew.
    pub(super) fn progressed(&mut self) {
        *self = Self::default();
    }

    /// Waits until `request` may be sent again.
    ///
    /// # Errors
    /// The failure's error, when it should not be; `interrupted`.
    pub(super) async fn next(
        &mut self,
        failure: Failure,
        request: &Request,
        transport: &Transport,
        progress: &Progress,
    ) -> Result<()> {
        self.history.failures += 1;
        self.history.failing = self.since.get_or_insert_with(Instant::now).elapsed();
        self.history.has_alternative = request.has_alternative;
        let (host, attempt) = (transport.host(&request.bounds.party(), &request.url), progress.attempt());
        let down = failure.cause == Cause::Unreachable && host.is_given_up(attempt);
        let decision = match transport.policy.decide(failure.cause, failure.asked, self.history, fastrand::f64()) {
            Decision::Again(_) if down => Decision::GiveUp,
            decision => decision,
        };
        match decision {
            Decision::Again(pause) => {
                if failure.asked.is_some() {
                    self.history.waited += pause;
                }
                let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                progress.retrying(millis, &failure.error.one_line());
                tokio::select! {
                    () = tokio::time::sleep(pause) => Ok(()),
                    () = progress.cancellation().cancelled() => Err(Error::interrupted()),
                }
            }
            Decision::GiveUp => {
                if failure.cause == Cause::Unreachable {
                    host.give_up(attempt);
                }
                Err(failure.error)
            }
            Decision::ComeBack(pause) => {
                let limited = come_back(pause);
                let mut error = failure.error.with_class(Class::RateLimited);
                if let (Some(until), Some(hint)) = (limited.until(), limited.hint_text()) {
                    error = error.retry_at(until).hint(hint);
                }
                Err(error)
            }
        }
    }
}

/// Where a redirect leads; None when the answer is none.
fn redirection(answer: &Answer, bounds: &Bounds) -> Result<Option<Url>> {
    if !matches!(answer.status(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut locations = answer.response.headers().get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return Err(Error::invalid(format!("{} redirects to nowhere, or to several places", shown(&answer.url))));
    };
    let read = if bounds.is_of_guest() { address } else { host_address };
    read(&text_of(location), Some(&answer.url)).map(Some).map_err(|why| {
        Error::invalid(format!("{} redirects to an address that {why}", shown(&answer.url))).hint(
            "only plain addresses are followed: name the place itself where you know it, or ask who runs the server",
        )
    })
}

/// A header that holds a URL, as text. Bytes that are no UTF-8 are escaped, as
/// browsers do.
pub(super) fn text_of(value: &HeaderValue) -> String {
    let escaped = |byte: &u8| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    let bytes = value.as_bytes();
    str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(escaped).collect(), str::to_owned)
}

pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host_str() == b.host_str() && a.port_or_known_default() == b.port_or_known_default()
}

fn asked_to_wait(response: &Response) -> Option<Duration> {
    if !matches!(response.status().as_u16(), 403 | 408 | 429 | 500..=599) {
        return None;
    }
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    retry_after(header(RETRY_AFTER)?, header(DATE), SystemTime::now())
}

/// What was to be sent is damaged: no repetition mends it.
pub(super) fn unreadable(source: io::Error) -> Failure {
    Error::integrity("the package is damaged").caused_by(source).hint("`opencenter-airgap verify` says where").into()
}

pub(super) fn silent(url: &Url, silence: Duration) -> Failure {
    let message = format!("{} sent nothing for {} s", shown(url), silence.as_secs());
    Failure::new(Cause::Silent, Error::transient(message))
}

fn status_error(status: StatusCode, what: &str, host: &str, said: Option<&str>) -> Error {
    let code = status.as_u16();
    let mut message = format!("{host} answered {code}");
    if let Some(reason) = status.canonical_reason() {
        message.push(' ');
        message.push_str(reason);
    }
    message.push_str(" for ");
    message.push_str(what);
    if let Some(said) = said {
        message.push_str(": ");
        message.push_str(said);
    }
    let error = |class| Error::new(class, message).with_status(code);
    match code {
        401 | 403 | 407 => error(Class::Auth),
        404 | 410 => error(Class::NotFound).hint("check the name and the version: it is not there"),
        429 => error(Class::RateLimited).hint("run the same command again later: finished work is kept"),
        408 | 500..=599 => error(Class::Transient).hint("run the same command again: finished work is kept"),
        _ => error(Class::InvalidInput),
    }
}

/// The message in a registry's error body; HTML pages say nothing.
fn registry_message(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = body.pointer("/errors/0");
    let text = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_str).map(str::to_owned);
    let message = text(first.and_then(|error| error.get("message")))
        .or_else(|| text(first.and_then(|error| error.get("code"))))
        .or_else(|| text(body.get("message")))
        .or_else(|| text(body.get("error_description")))
        .or_else(|| text(body.get("error")))
        .or_else(|| text(body.get("details")))?;
    let clean: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    (!clean.trim().is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_say_what_is_wrong_and_web_pages_do_not() {
        let said = |body: &str| registry_message(body.as_bytes());
        assert_eq!(
            said(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#).as_deref(),
            Some("manifest unknown")
        );
        assert_eq!(said(r#"{"errors":[{"code":"DENIED"}]}"#).as_deref(), Some("DENIED"));
        assert_eq!(
            said(r#"{"details":"incorrect username or password"}"#).as_deref(),
            Some("incorrect username or password")
        );
        assert_eq!(said("<html>502</html>"), None);
        assert_eq!(said(r#"{"errors":[]}"#), None);
        assert_eq!(said(&format!(r#"{{"message":"{}"}}"#, "x".repeat(5000))).unwrap().len(), 200);
    }

    #[test]
    fn bytes_of_a_header_that_are_no_text_are_escaped() {
        let text = |bytes: &[u8]| text_of(&HeaderValue::from_bytes(bytes).unwrap());
        assert_eq!(text(b"/gr\xc3\xbc\xc3\x9fe"), "/gr\u{fc}\u{df}e");
        assert_eq!(text(b"/gr\xfc\xdfe?a=b"), "/gr%FC%DFe?a=b");
    }

    #[test]
    fn a_status_has_a_class_and_names_the_host() {
        for (code, class) in [
            (401, Class::Auth),
            (403, Class::Auth),
            (404, Class::NotFound),
            (429, Class::RateLimited),
            (503, Class::Transient),
            (418, Class::InvalidInput),
        ] {
            let error = status_error(StatusCode::from_u16(code).unwrap(), "the manifest of a:b", "r.example", None);
            assert_eq!((error.class(), error.status()), (class, Some(code)));
            assert!(error.message().starts_with(&format!("r.example answered {code}")), "{error}");
        }
    }

    #[test]
    fn credentials_stay_with_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        let same = |a, b| same_origin(&url(a), &url(b));
        assert!(same("https://a.example/x", "https://a.example:443/y"));
        assert!(!same("https://a.example/", "https://b.example/"));
        assert!(!same("https://a.example/", "http://a.example/"));
        assert!(!same("http://a.example:1/", "http://a.example:2/"));
    }
}
