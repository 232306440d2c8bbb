//! How a registry wants to be spoken to: anonymously, with a password, or with
//! a token for each repository.
//!
//! Nothing is asked for in advance. The first request to a host goes alone, so
//! that its 401 is learnt once; after that tokens are fetched before they are
//! needed, one request per host and scope however many wait, and again before
//! they expire. A 401 in spite of a token gets a new one, once.
//!
//! Some servers do not say what they want: to who is nobody they answer that
//! there is nothing (404), that it is forbidden, or a 401 without a challenge.
//! Where credentials for that very host are known, they get the password then.
//!
//! Which token service is asked, a repository's own challenge says. What another
//! one of its host said is a guess, which saves a request where it holds. Where
//! that service gives nothing, or what it gives does not open the repository, the
//! repository is asked without, and what it says then counts: a denial holds for
//! the service and the scope that it was given for.
//!
//! What a server wants is known for each party apart: a server of many says
//! what its guests like below their own paths. A guest's plain URL leads to no
//! token service at all, and what one says is told to no guest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;

use super::credentials::{Credentials, Found, Secret};
use super::mirrors::host_of;
use super::party::PerParty;
use super::restrict::{Bounds, refused};
use super::transport::{Answer, Request, Transport, Tries};
use base::error::{Class, Error, Result};
use base::progress::{Level, Progress};
use entitlement::grants::address;
use model::json;

/// Chart repositories and file servers know no login.
const ELSEWHERE: &str = ", or, where it is no registry, add it to `auths` in docker's config.json";
/// Bytes of a token service's answer.
const LARGEST_TOKEN: usize = 256 * 1024;
/// The distribution specification's lifetime of a token that names none.
const DEFAULT_LIFETIME: u64 = 60;
/// The code of an answer for want of credentials that a plugin was not granted.
pub const NO_CREDENTIALS: &str = "credentials-not-granted";
const CLIENT_ID: &str = "opencenter-airgap";

/// What is known about every host, by who asked it.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) credentials: Credentials,
    hosts: PerParty<Arc<HostAuth>>,
}

#[derive(Debug, Default)]
struct HostAuth {
    scheme: Mutex<Scheme>,
    /// Held by the first request.
    first: Arc<tokio::sync::Mutex<()>>,
    tokens: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// How a host wants requests to be authorised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Scheme {
    /// Not asked yet.
    #[default]
    Unknown,
    /// The first request brought no answer: everybody finds out alone.
    Undecided,
    Open,
    Basic,
    Bearer(TokenService),
}

/// What a challenge names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TokenService {
    realm: String,
    name: Option<String>,
}

/// The token of one scope.
#[derive(Default)]
struct Slot {
    token: Option<Token>,
    /// What the registry calls this scope, where it said so.
    scope: Option<String>,
    /// Whom its own challenge named, or who was guessed rightly.
    service: Option<TokenService>,
    failed: Option<(Instant, Error)>,
    /// What a guess was denied with, for this scope.
    denied: Option<(TokenService, String, Error)>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renew_at: Instant,
    /// Who gave it, where that was a guess and nobody has taken it yet.
    guess: Option<TokenService>,
}

/// How long a token service that does not answer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Once: there may be a better one.
    None,
    AsSet,
}

/// What a request was sent with.
pub(super) struct Authorization {
    pub(super) header: Option<HeaderValue>,
    /// Keeps others back until the first answer is there.
    first: Option<tokio::sync::OwnedMutexGuard<()>>,
    kind: Kind,
}

/// What kind of header a request was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Password,
    Token,
    /// A token of the service that something else of the host named.
    Guessed,
}

/// What one request has tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// A token was fetched, or fetched anew.
    renewed: bool,
    /// The password was taken up, whatever the host is known to want.
    by_password: bool,
    /// No token service is guessed any more.
    unguessed: bool,
}

/// What a 401, 403 or 404 said.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    challenges: Vec<Challenge>,
    url: Url,
}

impl Refusal {
    pub(super) fn of(answer: &Answer) -> Self {
        let status = answer.status();
        let challenges = if status == 401 { challenges(answer.headers()) } else { Vec::new() };
        Self { status, challenges, url: answer.url.clone() }
    }
}

/// The login that another server wants than the one that was asked.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) host: String,
    pub(super) scope: String,
}

/// Who is asked for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) host: &'a str,
    /// `repository:library/nginx:pull`; empty for what is no registry.
    pub(super) scope: &'a str,
    /// False for a guest that was not granted the host's credentials.
    pub(super) credentials: bool,
    /// Those of the request: who asks, and where its token service may be.
    pub(super) bounds: &'a Bounds,
}

impl Subject<'_> {
    fn key(&self) -> String {
        format!("{}{}", if self.credentials { "" } else { "anonymous " }, self.scope)
    }

    /// Whether the server may name a token service: a registry may, and where a
    /// step of the host asks, whatever server.
    fn has_token_service(&self) -> bool {
        !self.scope.is_empty() || !self.bounds.is_of_guest()
    }
}

impl Auth {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, hosts: PerParty::default() }
    }

    /// What the next request should carry, which goes to `at`.
    pub(super) async fn authorize(
        &self,
        subject: Subject<'_>,
        at: &Url,
        course: &mut Course,
        transport: &Transport,
        progress: &Progress,
    ) -> Result<Authorization> {
        let host = self.host(subject);
        if course.by_password {
            let header = self.basic(subject).await?;
            return Ok(Authorization { header, first: None, kind: Kind::Password });
        }
        let mut first = None;
        if host.scheme() == Scheme::Unknown {
            let guard = host.first.clone().lock_owned().await;
            if host.scheme() == Scheme::Unknown {
                first = Some(guard);
            }
        }
        let own = match host.known_slot(&subject.key()) {
            Some(slot) => slot.lock().await.service.clone(),
            None => None,
        };
        let (kind, header) = match (own.is_some(), host.scheme()) {
            (true, _) => (Kind::Token, self.token(subject, at, None, transport, progress).await?),
            (false, Scheme::Unknown | Scheme::Undecided | Scheme::Open) => (Kind::None, None),
            (false, Scheme::Basic) => (Kind::Password, self.basic(subject).await?),
            (false, Scheme::Bearer(_)) if course.unguessed || !subject.has_token_service() => (Kind::None, None),
            (false, Scheme::Bearer(guess)) => {
                let header = self.token(subject, at, Some(guess), transport, progress).await?;
                course.unguessed |= header.is_none();
                (Kind::Guessed, header)
            }
        };
        let kind = if header.is_some() { kind } else { Kind::None };
        Ok(Authorization { header, first, kind })
    }

    /// The host answered something else than that it wants to know who asks.
    pub(super) async fn accepted(&self, subject: Subject<'_>, sent: &Authorization, course: Course, status: u16) {
        let host = self.host(subject);
        if sent.kind == Kind::Guessed && status < 400 {
            host.slot(&subject.key()).lock().await.confirm(sent);
        }
        if course.by_password && status < 400 {
            host.set(Scheme::Basic);
            if let Some(slot) = host.known_slot(&subject.key()) {
                slot.lock().await.service = None;
            }
        } else if sent.first.is_some() {
            host.set(if status < 400 { Scheme::Open } else { Scheme::Undecided });
        }
    }

    /// Learns from a 401, and from a 403 or 404 to nobody. True when the
    /// request should be sent again with what was learnt.
    pub(super) async fn refused(
        &self,
        subject: Subject<'_>,
        sent: &Authorization,
        refusal: &Refusal,
        course: &mut Course,
    ) -> Result<bool> {
        let host = self.host(subject);
        let challenge = choose(&refusal.challenges, subject.has_token_service());
        if let Some(Challenge { realm: Some(realm), service, scope, .. }) =
            challenge.clone().filter(|challenge| challenge.scheme == "bearer")
        {
            check_realm(&realm, &refusal.url)?;
            let service = TokenService { realm, name: service };
            host.set(Scheme::Bearer(service.clone()));
            host.slot(&subject.key()).lock().await.learn(sent, service, scope);
            course.by_password = false;
            return Ok(!std::mem::replace(&mut course.renewed, true));
        }
        if sent.kind == Kind::Guessed && challenge.is_none() && !std::mem::replace(&mut course.unguessed, true) {
            host.slot(&subject.key()).lock().await.forget(sent);
            return Ok(true);
        }
        if sent.kind == Kind::Token && refusal.status == 401 && !std::mem::replace(&mut course.renewed, true) {
            // A token that died early: some registries ask for a password then.
            host.slot(&subject.key()).lock().await.forget(sent);
            return Ok(true);
        }
        if challenge.is_some() && sent.kind != Kind::Token {
            host.set(Scheme::Basic);
        }
        self.unanswered(subject, sent);
        let may_try = match sent.kind {
            Kind::None | Kind::Guessed => true,
            Kind::Token => refusal.status == 401,
            Kind::Password => false,
        };
        if !may_try || std::mem::replace(&mut course.by_password, true) {
            return Ok(false);
        }
        Ok(match self.found(subject).await? {
            // Who has not asked for a token does not get one that opens more.
            Some(Found { secret: Secret::Identity(_), .. }) => challenge.is_some() && sent.kind != Kind::Token,
            Some(_) => true,
            None => false,
        })
    }

    /// What another server wants, that a redirect led to, where that can be
    /// had: its answer is final otherwise.
    ///
    /// # Errors
    /// `auth` where it names a token service that must not be asked.
    pub(super) async fn login_elsewhere(
        &self,
        answer: &Answer,
        subject: Subject<'_>,
        credentials: bool,
    ) -> Result<Option<Login>> {
        if !answer.elsewhere || answer.status() != 401 || answer.authorized {
            return Ok(None);
        }
        let host = host_of(&answer.url);
        let challenge = choose(&challenges(answer.headers()), subject.has_token_service());
        let Some(challenge) = challenge else { return Ok(None) };
        let is_known = credentials && self.credentials.find(&host).await?.is_some();
        if challenge.scheme != "bearer" && !is_known {
            return Ok(None);
        }
        Ok(Some(Login { host, scope: challenge.scope.unwrap_or_else(|| subject.scope.to_owned()) }))
    }

    /// The first request of a host failed before any answer came.
    pub(super) fn unanswered(&self, subject: Subject<'_>, sent: &Authorization) {
        if sent.first.is_some() {
            self.host(subject).set(Scheme::Undecided);
        }
    }

    /// Says where credentials that were refused came from, or that there were
    /// none. `sent` tells whether they were.
    pub(super) async fn explain(&self, subject: Subject<'_>, sent: bool, error: Error) -> Error {
        if error.class() != Class::Auth {
            return error;
        }
        let found = if subject.credentials { self.credentials.find(subject.host).await.ok().flatten() } else { None };
        match found {
            Some(found) if !sent => error.hint(format!(
                "the credentials for {} from {} were not sent: the server did not ask for what they are",
                subject.host, found.origin
            )),
            Some(found) => {
                let host = subject.host;
                error.hint(format!(
                    "the credentials for {host} from {} were refused: run `docker login {host}`{ELSEWHERE}",
                    found.origin
                ))
            }
            None if !subject.credentials => {
                let host = subject.host;
                error.with_code(NO_CREDENTIALS).hint(format!(
                    "the plugin may not use your credentials for {host}: where it shall, `plugin add --replace` with \
                     `--grant-credentials {host}`, or write `credentials: [{host}]` below its `grants` in config/plugins.lock"
                ))
            }
            None => error.hint(format!(
                "asked without credentials: check the name (registries answer so for what does not exist), or run \
                 `docker login {}`{ELSEWHERE}",
                subject.host
            )),
        }
    }

    fn host(&self, subject: Subject<'_>) -> Arc<HostAuth> {
        self.hosts.or_insert_with(&subject.bounds.party(), subject.host, Arc::default)
    }

    async fn found(&self, subject: Subject<'_>) -> Result<Option<Found>> {
        if subject.credentials { self.credentials.find(subject.host).await } else { Ok(None) }
    }

    async fn basic(&self, subject: Subject<'_>) -> Result<Option<HeaderValue>> {
        match self.found(subject).await? {
            Some(Found { secret: Secret::Password { user, password }, .. }) => {
                Ok(Some(basic_header(&user, &password)?))
            }
            Some(Found { secret: Secret::Bearer(token) | Secret::Identity(token), .. }) => {
                Ok(Some(secret_header(&format!("Bearer {token}"))?))
            }
            None => Ok(None),
        }
    }

    /// A token of the name's own service, or of the one that is guessed: none
    /// where that one gives none.
    async fn token(
        &self,
        subject: Subject<'_>,
        at: &Url,
        guess: Option<TokenService>,
        transport: &Transport,
        progress: &Progress,
    ) -> Result<Option<HeaderValue>> {
        let since = Instant::now();
        let slot = self.host(subject).slot(&subject.key());
        let mut slot = slot.lock().await;
        if let Some(token) = slot.token.as_ref().filter(|token| token.renew_at > Instant::now()) {
            return Ok(Some(token.header.clone()));
        }
        // Somebody asked while we waited, and it was in vain.
        if let Some((_, error)) = slot.failed.as_ref().filter(|(at, _)| *at >= since) {
            return Err(error.clone());
        }
        let (service, is_guess) = match (slot.service.clone(), guess) {
            (Some(own), _) => (own, false),
            (None, Some(guess)) => (guess, true),
            (None, None) => return Ok(None),
        };
        let scope = slot.scope.clone().unwrap_or_else(|| subject.scope.to_owned());
        if let Some((.., error)) = slot.denied.take().filter(|(of, asked, _)| *of == service && *asked == scope) {
            if is_guess {
                slot.denied = Some((service, scope, error));
                return Ok(None);
            }
            slot.failed = Some((Instant::now(), error.clone()));
            return Err(error);
        }
        let patience = if is_guess { Patience::None } else { Patience::AsSet };
        match self.fetch_token(subject, (&service, at), &scope, patience, transport, progress).await {
            Ok(token) => {
                let header = token.header.clone();
                let guess = is_guess.then_some(service);
                (slot.token, slot.denied) = (Some(Token { guess, ..token }), None);
                Ok(Some(header))
            }
            Err(error) if error.class() == Class::Interrupted => Err(error),
            Err(error) => {
                let error = if subject.bounds.is_of_guest() { untold(error, subject.host, progress) } else { error };
                if is_guess {
                    let is_final = !matches!(error.class(), Class::Transient | Class::RateLimited);
                    slot.denied = is_final.then_some((service, scope, error));
                    return Ok(None);
                }
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn fetch_token(
        &self,
        subject: Subject<'_>,
        (service, of): (&TokenService, &Url),
        scope: &str,
        patience: Patience,
        transport: &Transport,
        progress: &Progress,
    ) -> Result<Token> {
        let found = self.found(subject).await?;
        if let Some(Found { secret: Secret::Bearer(token), .. }) = &found {
            let header = secret_header(&format!("Bearer {token}"))?;
            return Ok(Token { header, renew_at: Instant::now() + Duration::from_secs(3600), guess: None });
        }
        let mut request = token_request(service, scope, found.as_ref())?;
        request.bounds = subject.bounds.of_token_service(of)?;
        let what = format!("a token for {}", subject.host);
        let mut tries = Tries::default();
        loop {
            let failure = match transport.send(&request, progress).await {
                Ok(mut answer) if answer.status() < 300 => match answer.body(LARGEST_TOKEN, progress).await {
                    Ok(body) => return read_token(&body, subject.host),
                    Err(failure) => failure,
                },
                Ok(answer) => answer.refusal(&what).await,
                Err(failure) => failure,
            };
            let again = match patience {
                Patience::None => Err(failure.error),
                Patience::AsSet => tries.next(failure, &request, transport, progress).await,
            };
            if let Err(error) = again {
                return Err(self.explain(subject, true, error).await);
            }
        }
    }
}

impl HostAuth {
    fn scheme(&self) -> Scheme {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a challenge said stays; not having been challenged proves little.
    fn set(&self, scheme: Scheme) {
        let mut known = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        let weak = matches!(scheme, Scheme::Undecided | Scheme::Open);
        if !weak || matches!(*known, Scheme::Unknown | Scheme::Undecided) {
            *known = scheme;
        }
    }

    fn slot(&self, key: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_owned()).or_default().clone()
    }

    fn known_slot(&self, key: &str) -> Option<Arc<tokio::sync::Mutex<Slot>>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

impl Slot {
    fn holds(&self, sent: &Authorization) -> bool {
        self.token.as_ref().is_some_and(|token| Some(&token.header) == sent.header.as_ref())
    }

    /// Forgets the token that a request was sent with, unless another one has
    /// taken its place.
    fn forget(&mut self, sent: &Authorization) {
        if self.holds(sent) {
            self.token = None;
        }
    }

    /// The guess was right.
    fn confirm(&mut self, sent: &Authorization) {
        if self.service.is_none() && self.holds(sent) {
            self.service = self.token.as_mut().and_then(|token| token.guess.take());
        }
    }

    /// What a challenge to such a request says.
    fn learn(&mut self, sent: &Authorization, service: TokenService, scope: Option<String>) {
        self.forget(sent);
        self.service = Some(service);
        if scope.is_some() {
            self.scope = scope;
        }
    }
}

/// What a guest is told of why it gets no token: a class that it can handle, and
/// nothing of what the token service said. It did not ask there.
fn untold(error: Error, host: &str, progress: &Progress) -> Error {
    let said = error.one_line();
    let told = match error.class() {
        Class::Plugin => refused(&format!("the token service that {host} names"), "is out of the plugin's reach"),
        class @ (Class::NotFound | Class::Auth | Class::Transient | Class::RateLimited | Class::InvalidInput) => {
            Error::new(class, format!("the token service of {host} gives no token"))
        }
        _ => return error,
    };
    progress.log(Level::Debug, &format!("the token service of {host}: {said}"));
    match error.until() {
        Some(until) => told.retry_at(until),
        None => told,
    }
}

fn basic_header(user: &str, password: &str) -> Result<HeaderValue> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn secret_header(value: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(value)
        .map_err(|_| Error::new(Class::Auth, "a token holds characters that no header can carry"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// A token service over plain http would see credentials that were meant for
/// an encrypted registry.
fn check_realm(realm: &str, registry: &Url) -> Result<()> {
    let wrong = |why: &str| Error::new(Class::Auth, format!("{} names a token service that {why}", host_of(registry)));
    let realm = address(realm, None).map_err(wrong)?;
    if realm.scheme() == "https" || registry.scheme() == "http" { Ok(()) } else { Err(wrong("is not encrypted")) }
}

/// A password goes along with a GET; an identity token is exchanged by POST.
fn token_request(service: &TokenService, scope: &str, found: Option<&Found>) -> Result<Request> {
    let mut url = address(&service.realm, None)
        .map_err(|why| Error::new(Class::Auth, format!("the address of the token service {why}")))?;
    let mut fields = Vec::new();
    if let Some(name) = &service.name {
        fields.push(("service", name.as_str()));
    }
    // Several scopes come separated by blanks.
    fields.extend(scope.split_whitespace().map(|scope| ("scope", scope)));
    if let Some(Found { secret: Secret::Identity(token), .. }) = found {
        fields.extend([("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", token)]);
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        return Ok(Request { form: Some(form), ..Request::get(url) });
    }
    let mut request = {
        url.query_pairs_mut().extend_pairs(fields);
        Request::get(url)
    };
    if let Some(Found { secret: Secret::Password { user, password }, .. }) = found {
        request.headers.insert(AUTHORIZATION, basic_header(user, password)?);
    }
    Ok(request)
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn read_token(body: &[u8], host: &str) -> Result<Token> {
    let wrong = || Error::new(Class::Auth, format!("the token service of {host} sent no token"));
    let answer: TokenAnswer = json::read(body).map_err(|_| wrong())?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token).ok_or_else(wrong)?;
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFETIME).clamp(1, 24 * 3600));
    // Renewed with a tenth of its life left, and half a minute at most.
    let margin = (lifetime / 10).min(Duration::from_secs(30));
    let header = secret_header(&format!("Bearer {token}"))?;
    Ok(Token { header, renew_at: Instant::now() + lifetime - margin, guess: None })
}

/// One challenge of a WWW-Authenticate header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Challenge {
    /// In lowercase.
    scheme: String,
    realm: Option<String>,
    service: Option<String>,
    scope: Option<String>,
}

/// Tokens are better than passwords, where there may be any.
fn choose(challenges: &[Challenge], with_tokens: bool) -> Option<Challenge> {
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    of("bearer").filter(|_| with_tokens).or_else(|| of("basic")).cloned()
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(parse_challenges).collect()
}

/// `Bearer realm="…",service="…",scope="a:b:c,d", Basic realm="…"`.
fn parse_challenges(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        let Some(value) = behind.trim_start().strip_prefix('=') else {
            challenges.push(Challenge { scheme: word.to_ascii_lowercase(), ..Challenge::default() });
            rest = behind;
            continue;
        };
        let (value, behind) = parse_value(value.trim_start());
        rest = behind;
        let Some(challenge) = challenges.last_mut() else { continue };
        match word.to_ascii_lowercase().as_str() {
            "realm" => challenge.realm = Some(value),
            "service" => challenge.service = Some(value),
            "scope" => challenge.scope = Some(value),
            _ => {}
        }
    }
}

/// A quoted string or a token, and what follows.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let one = |text: &str| choose(&parse_challenges(text), true).unwrap();
        let hub = one(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push""#,
        );
        assert_eq!(hub.realm.as_deref(), Some("https://auth.docker.io/token"));
        assert_eq!(hub.service.as_deref(), Some("registry.docker.io"));
        assert_eq!(hub.scope.as_deref(), Some("repository:library/a:pull,push"));
        assert_eq!(one("basic").scheme, "basic");
        assert_eq!(
            one(r#"Basic realm="a \"b\", c", Bearer realm=https://t.example/x , error="x""#).realm.as_deref(),
            Some("https://t.example/x")
        );
        assert_eq!(choose(&parse_challenges("Negotiate, NTLM"), true), None);
        assert_eq!(choose(&parse_challenges("Basic realm=a, Bearer realm=b"), false).unwrap().scheme, "basic");
        assert_eq!(choose(&parse_challenges("Bearer realm=b"), false), None);
        for odd in ["", ",,,", "=", "\"", "Bearer realm=\"unclosed", "a=b"] {
            let _ = parse_challenges(odd);
        }
    }

    #[test]
    fn passwords_travel_in_a_header_and_identity_tokens_in_a_form() {
        let found = |secret| Found { secret, origin: String::new() };
        let service = TokenService { realm: "https://t.example/token?a=b".to_owned(), name: Some("s".to_owned()) };
        let request = |found: Option<&Found>| token_request(&service, "x y", found).unwrap();
        let anonymous = request(None);
        assert_eq!(anonymous.url.as_str(), "https://t.example/token?a=b&service=s&scope=x&scope=y");
        assert!(!anonymous.headers.contains_key(AUTHORIZATION) && anonymous.form.is_none());
        let password = request(Some(&found(Secret::Password { user: "u".into(), password: "p".into() })));
        assert_eq!(password.headers[AUTHORIZATION], "Basic dTpw");
        assert!(!format!("{password:?}").contains("dTpw"));
        let identity = request(Some(&found(Secret::Identity("t&".into()))));
        assert_eq!(identity.url.as_str(), "https://t.example/token?a=b");
        let form = identity.form.unwrap();
        assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=t%26"), "{form}");
    }

    #[test]
    fn tokens_are_renewed_before_they_expire() {
        let left = |body: &str| {
            let token = read_token(body.as_bytes(), "h").unwrap();
            token.renew_at.duration_since(Instant::now()).as_secs_f64().round()
        };
        assert!((left(r#"{"token":"a"}"#) - 54.0).abs() < 0.5);
        assert!((left(r#"{"access_token":"a","expires_in":3600}"#) - 3570.0).abs() < 0.5);
        assert!((left(r#"{"token":null,"access_token":"a","expires_in":null}"#) - 54.0).abs() < 0.5);
        for bad in ["{}", "x", r#"{"token":""}"#, r#"{"token":null}"#, r#"{"token":"a\nb"}"#] {
            assert!(read_token(bad.as_bytes(), "h").is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_meant_for_an_encrypted_registry_stay_encrypted() {
        let url = |text| Url::parse(text).unwrap();
        assert!(check_realm("https://t.example/", &url("https://r.example/")).is_ok());
        assert!(check_realm("http://t.example/", &url("http://r.example/")).is_ok());
        assert!(check_realm("http://t.example/", &url("https://r.example/")).is_err());
        for bad in
            ["nonsense", "https://u:p@t.example/", "https:\\\\t.example/", "https://t%2eexample/", "ftp://t.example/"]
        {
            assert!(check_realm(bad, &url("https://r.example/")).is_err(), "{bad}");
        }
    }
}
