//! Answers: status, headers and where the body comes from; the rules of HTTP
//! about parts and about what the client has already.

use std::ops::Range;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    IF_RANGE, LOCATION, RANGE,
};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::content::Source;
use base::digest::Digest;

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Source,
    /// The part of the body that is given.
    pub(super) part: Range<u64>,
}

/// What a client wants, without its path.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, media_type: &str, body: impl Into<Bytes>) -> Self {
        let body = Source::Made(body.into());
        let part = 0..body.size();
        Self { status, headers: HeaderMap::new(), body, part }.with(CONTENT_TYPE, media_type)
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Source::Made(Bytes::new()), part: 0..0 }
    }

    pub(super) fn html(text: String) -> Self {
        Self::new(StatusCode::OK, "text/html; charset=utf-8", text)
    }

    pub(super) fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self::new(StatusCode::OK, "application/json", value.to_string())
    }

    /// As the distribution specification wants errors.
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let errors = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
        Self::new(status, "application/json", errors.to_string())
    }

    pub(super) fn moved(to: &str) -> Self {
        Self::empty(StatusCode::MOVED_PERMANENTLY).with(LOCATION, to)
    }

    /// Nothing here is written.
    pub(super) fn read_only() -> Self {
        let message = "nothing can be written here: what is served is a package";
        Self::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).with(ALLOW, "GET, HEAD")
    }

    /// A content, or the part of it that is asked for, or that there is nothing
    /// new about it.
    pub(super) fn content(asked: &Asked<'_>, source: &Source, media_type: &str, digest: Option<Digest>) -> Self {
        let size = source.size();
        let tag = digest.map(|digest| format!("\"{digest}\""));
        let dressed = |answer: Self| match &tag {
            Some(tag) => answer.with(ETAG, tag).with(ACCEPT_RANGES, "bytes"),
            None => answer,
        };
        if asked.has_already(tag.as_deref()) {
            return dressed(Self::empty(StatusCode::NOT_MODIFIED));
        }
        let part = match (tag.as_deref(), asked.method) {
            (Some(tag), &Method::GET) => asked.part(tag, size),
            _ => Part::All,
        };
        let (status, part) = match part {
            Part::All => (StatusCode::OK, 0..size),
            Part::Some(part) => (StatusCode::PARTIAL_CONTENT, part),
            Part::Nothing => {
                let answer = Self::empty(StatusCode::RANGE_NOT_SATISFIABLE);
                return dressed(answer.with(CONTENT_RANGE, &format!("bytes */{size}")));
            }
        };
        let mut answer = Self { status, headers: HeaderMap::new(), body: source.clone(), part: part.clone() };
        if status == StatusCode::PARTIAL_CONTENT {
            let (first, last) = (part.start, part.end - 1);
            answer = answer.with(CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
        }
        dressed(answer.with(CONTENT_TYPE, media_type))
    }

    /// A value that no header can hold is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// Which bytes are wanted.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    Some(Range<u64>),
    /// None that are there.
    Nothing,
}

impl Asked<'_> {
    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn has_already(&self, tag: Option<&str>) -> bool {
        let (Some(tag), Some(known)) = (tag, self.header(&IF_NONE_MATCH)) else { return false };
        known.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == tag || known == "*")
    }

    fn part(&self, tag: &str, size: u64) -> Part {
        match (self.header(&RANGE), self.header(&IF_RANGE)) {
            (Some(range), None) => part(range, size),
            (Some(range), Some(known)) if known == tag => part(range, size),
            _ => Part::All,
        }
    }
}

/// One range of bytes. What is not understood, several ranges among it, is
/// passed over, as RFC 9110 allows.
fn part(range: &str, size: u64) -> Part {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Part::All;
    };
    let number = |text: &str| match text {
        "" => Some(None),
        // What no number can hold lies behind every end.
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(text.parse().unwrap_or(u64::MAX))),
        _ => None,
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(Some(first)), Some(last)) => {
            let end = last.map_or(size, |last: u64| last.saturating_add(1)).min(size);
            match (first < size, last.is_none_or(|last| first <= last)) {
                (_, false) => Part::All,
                (false, _) => Part::Nothing,
                (true, true) => Part::Some(first..end),
            }
        }
        (Some(None), Some(Some(length))) => match length.min(size) {
            0 => Part::Nothing,
            length => Part::Some(size - length..size),
        },
        _ => Part::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (range, expected) in [
            ("bytes=0-0", Part::Some(0..1)),
            ("bytes=0-", Part::Some(0..10)),
            ("bytes=3-5", Part::Some(3..6)),
            ("bytes=3-500", Part::Some(3..10)),
            ("bytes=-4", Part::Some(6..10)),
            ("bytes=-400", Part::Some(0..10)),
            ("bytes=9-9", Part::Some(9..10)),
            ("bytes=10-", Part::Nothing),
            ("bytes=10-12", Part::Nothing),
            ("bytes=99999999999999999999999-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=5-3", Part::All),
            ("bytes=0-1,3-4", Part::All),
            ("bytes=a-b", Part::All),
            ("bytes=-", Part::All),
            ("bytes=+1-2", Part::All),
            ("items=0-1", Part::All),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Nothing);
    }
}
