//! What goes wrong, when: rules that a test gives to a [server](crate::http).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::http::Request;

/// Which requests a rule is about.
#[derive(Clone, Debug, Default)]
pub struct On {
    method: Option<&'static str>,
    parts: Vec<String>,
    query: Option<String>,
    with_range: Option<bool>,
    skip: u64,
    limit: Option<u64>,
    every: Option<u64>,
}

impl On {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// GET of a path that contains `part`.
    pub fn get(part: impl Into<String>) -> Self {
        Self { method: Some("GET"), parts: vec![part.into()], ..Self::default() }
    }

    pub fn method(method: &'static str, part: impl Into<String>) -> Self {
        Self { method: Some(method), parts: vec![part.into()], ..Self::default() }
    }

    /// The path contains `part` as well.
    #[must_use]
    pub fn and(mut self, part: impl Into<String>) -> Self {
        self.parts.push(part.into());
        self
    }

    /// The query contains `part`.
    #[must_use]
    pub fn with_query(mut self, part: impl Into<String>) -> Self {
        self.query = Some(part.into());
        self
    }

    /// Only requests with a `Range`.
    #[must_use]
    pub fn with_range(mut self) -> Self {
        self.with_range = Some(true);
        self
    }

    /// Only requests without a `Range`.
    #[must_use]
    pub fn without_range(mut self) -> Self {
        self.with_range = Some(false);
        self
    }

    /// Only the first match.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Only the first `limit` matches (behind those that are passed over).
    #[must_use]
    pub fn times(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Passes over the first `skip` matches.
    #[must_use]
    pub fn after(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// Only each `every`-th match.
    #[must_use]
    pub fn every(mut self, every: u64) -> Self {
        self.every = Some(every);
        self
    }

    /// Whether the rule's turn has come with its match number `seen`, from 1.
    fn is_turn(&self, seen: u64) -> bool {
        let place = seen.checked_sub(self.skip + 1);
        place.is_some_and(|place| {
            self.limit.is_none_or(|limit| place < limit) && self.every.is_none_or(|every| place % every == every - 1)
        })
    }

    fn matches(&self, request: &Request) -> bool {
        self.method.is_none_or(|method| request.method == method)
            && self.parts.iter().all(|part| request.path.contains(part.as_str()))
            && self.query.as_ref().is_none_or(|part| request.query.contains(part.as_str()))
            && self.with_range.is_none_or(|wanted| request.header("range").is_some() == wanted)
    }
}

/// What happens to the answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection closes without an answer.
    Close,
    /// Another answer.
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// The connection closes after so many bytes of the body.
    Cut {
        after: u64,
    },
    /// The same, and no length was announced: the end of the connection is the
    /// only end that the body has.
    CutWithoutLength {
        after: u64,
    },
    /// As `Cut`, with RST.
    Reset {
        after: u64,
    },
    /// Silence after so many bytes of the body; then it goes on.
    Stall {
        after: u64,
        time: Duration,
    },
    /// Silence before the answer.
    Delay(Duration),
    /// Nothing is answered until the gate opens.
    Held(Gate),
    Slow {
        bytes_per_second: u64,
    },
    /// The byte at this offset of the whole content is inverted.
    Damage {
        at: u64,
    },
    /// 200 and everything to a request for a range.
    IgnoreRange,
    /// 206 with another start than asked for, header and bytes.
    RangeFrom(u64),
    /// 206 whose `Content-Range` claims another total.
    RangeTotal(u64),
    /// 206 without `Content-Range`.
    NoContentRange,
    /// 416.
    RangeRefused,
    /// Everything, in chunks and with no length announced, and then no end:
    /// the connection closes, or nothing more is said on it.
    NoEnd {
        silent: bool,
    },
    /// One header more.
    Header(String, String),
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Fault::Status { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The page of a proxy, as browsers get it.
    pub fn html(status: u16) -> Self {
        let body = format!(
            "<html>\r\n<head><title>{status} Service Temporarily Unavailable</title></head>\r\n<body>\r\n\
             <center><h1>{status} Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>\r\n\
             </body>\r\n</html>\r\n"
        );
        Fault::Status { status, headers: vec![("content-type".into(), "text/html".into())], body: body.into_bytes() }
    }

    /// 429, with `Retry-After` where given.
    pub fn too_many(retry_after: Option<&str>) -> Self {
        let headers = retry_after.map(|value| ("retry-after".to_owned(), value.to_owned())).into_iter().collect();
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        Fault::Status { status: 429, headers, body: body.to_vec() }
    }

    /// Silence for good after so many bytes: ends with the client.
    pub fn hang(after: u64) -> Self {
        Fault::Stall { after, time: Duration::MAX }
    }
}

/// Closed at first; everyone who waits goes on when it opens.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Returns when the gate is open, or when `gone` says that nobody waits
    /// for the answer any more.
    pub fn wait(&self, gone: impl Fn() -> bool) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open && !gone() {
            open = self.0.1.wait_timeout(open, Duration::from_millis(20)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// How often a rule has changed an answer.
#[derive(Clone, Debug)]
pub struct Trigger(Arc<AtomicU64>);

impl Trigger {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Rule {
    on: On,
    fault: Fault,
    seen: u64,
    triggered: Arc<AtomicU64>,
    /// Whether the test means nothing where it never happens.
    has_to_happen: bool,
}

/// The rules of one server.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    pub(crate) fn add(&self, on: On, fault: Fault, has_to_happen: bool) -> Trigger {
        let triggered = Arc::new(AtomicU64::new(0));
        let rule = Rule { on, fault, seen: 0, triggered: triggered.clone(), has_to_happen };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
        Trigger(triggered)
    }

    /// Drops the rules, and returns those that had to happen and never did.
    pub(crate) fn clear(&self) -> Vec<String> {
        let rules = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let missed = rules.iter().filter(|rule| rule.has_to_happen && rule.triggered.load(Ordering::SeqCst) == 0);
        missed.map(|rule| format!("{:?} on {:?}, which {} requests matched", rule.fault, rule.on, rule.seen)).collect()
    }

    /// Every rule counts every request that it matches; the first rule whose
    /// turn it is decides.
    pub(crate) fn choose(&self, request: &Request) -> Option<Fault> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = None;
        for rule in rules.iter_mut().filter(|rule| rule.on.matches(request)) {
            rule.seen += 1;
            if rule.on.is_turn(rule.seen) && chosen.is_none() {
                rule.triggered.fetch_add(1, Ordering::SeqCst);
                chosen = Some(rule.fault.clone());
            }
        }
        chosen
    }
}
