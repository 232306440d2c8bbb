//! What a server's answer to a request for the rest of something means.
//!
//! Servers ignore ranges, answer with other ranges, or with whole bodies of
//! other content. Appending any of that would make a broken file that only the
//! digest at the end catches, hours later. So bytes are appended only when the
//! answer says that it begins exactly where ours end, that the whole is as
//! long as it should be and, where no digest will tell, that it still is the
//! same content.

/// The parsed value of a Content-Range header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// First and last byte; None for `bytes */total`.
    pub(super) span: Option<(u64, u64)>,
    /// None for `*`.
    pub(super) total: Option<u64>,
}

impl ContentRange {
    /// `bytes 5-9/10`, `bytes 5-9/*`, `bytes */10`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (span, total) = rest.trim().split_once('/')?;
        let total = match total.trim() {
            "*" => None,
            total => Some(number(total)?),
        };
        let span = match span.trim() {
            "*" => None,
            span => {
                let (first, last) = span.split_once('-')?;
                let (first, last) = (number(first)?, number(last)?);
                if last < first || total.is_some_and(|total| last >= total) {
                    return None;
                }
                Some((first, last))
            }
        };
        Some(Self { span, total })
    }
}

/// Digits only: no sign, no blanks.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// An answer, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answered<'a> {
    pub(super) status: u16,
    pub(super) content_range: Option<&'a str>,
    pub(super) content_length: Option<u64>,
    pub(super) etag: Option<&'a str>,
    pub(super) last_modified: Option<&'a str>,
}

impl Answered<'_> {
    /// Whether it carries `validator`, an ETag or a date. A server that knows
    /// the validator sends it with every part.
    fn is_of(&self, validator: &str) -> bool {
        let own = if validator.starts_with('"') { self.etag } else { self.last_modified };
        own == Some(validator)
    }
}

/// What is there already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held<'a> {
    pub(super) bytes: u64,
    /// How long the whole must be, where that is known.
    pub(super) size: Option<u64>,
    /// What the rest must carry, where no digest is known. The server was
    /// asked to compare it, but not every server does.
    pub(super) validator: Option<&'a str>,
}

/// What to do with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Append it; the whole has `total` bytes where that is known.
    Append { total: Option<u64> },
    /// It is the whole: throw ours away and write it from zero.
    StartOver { total: Option<u64> },
    /// Everything is there already: compare the digest.
    Complete,
    /// It can not be used; where the source insists, neither can what we
    /// have.
    Discard(&'static str),
}

/// Decides about a success or a 416.
pub(super) fn judge(answered: Answered<'_>, held: Held<'_>) -> Verdict {
    match answered.status {
        206 => judge_part(answered, held),
        416 => judge_unsatisfiable(answered, held),
        _ => Verdict::StartOver { total: answered.content_length },
    }
}

fn judge_part(answered: Answered<'_>, held: Held<'_>) -> Verdict {
    let size = held.size;
    let Some(range) = answered.content_range.and_then(ContentRange::parse) else {
        return Verdict::Discard("a part without a valid Content-Range");
    };
    let Some((first, last)) = range.span else {
        return Verdict::Discard("a part without a range");
    };
    if first != held.bytes {
        return Verdict::Discard("a part that begins elsewhere than asked");
    }
    if size.is_some() && range.total.is_some() && size != range.total {
        return Verdict::Discard("a part of something of another size");
    }
    if answered.content_length.is_some_and(|length| length != last - first + 1) {
        return Verdict::Discard("a part whose length contradicts its range");
    }
    if held.validator.is_some_and(|validator| !answered.is_of(validator)) {
        return Verdict::Discard("a part of something that changed");
    }
    Verdict::Append { total: range.total.or(size) }
}

fn judge_unsatisfiable(answered: Answered<'_>, held: Held<'_>) -> Verdict {
    let total = answered.content_range.and_then(ContentRange::parse).and_then(|range| range.total);
    match held.size.or(total) {
        Some(whole) if whole == held.bytes && total.is_none_or(|total| total == whole) => Verdict::Complete,
        _ => Verdict::Discard("no such range"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        let range = |span, total| Some(ContentRange { span, total });
        for (text, parsed) in [
            ("bytes 5-9/10", range(Some((5, 9)), Some(10))),
            ("Bytes 0-0/*", range(Some((0, 0)), None)),
            ("bytes */10", range(None, Some(10))),
            ("bytes 5-4/10", None),
            ("bytes 5-10/10", None),
            ("bytes 5-/10", None),
            ("bytes -5/10", None),
            ("bytes +5-9/10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes 5-9/18446744073709551616", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), parsed, "{text}");
        }
    }

    /// Each row is an answer that some registry or proxy really gives.
    #[test]
    fn only_the_exact_rest_is_appended() {
        use Verdict::{Append, Complete, Discard, StartOver};
        let judge = |answered, bytes, size| judge(answered, Held { bytes, size, validator: None });
        let answer = |status, content_range, content_length| Answered {
            status,
            content_range,
            content_length,
            ..Answered::default()
        };
        let part = |content_range, content_length| answer(206, content_range, content_length);
        let discards = |verdict| matches!(verdict, Discard(_));
        let all = Some(100);

        assert_eq!(judge(part(Some("bytes 40-99/100"), Some(60)), 40, all), Append { total: all });
        assert_eq!(judge(part(Some("bytes 40-99/*"), None), 40, all), Append { total: all });
        assert_eq!(judge(part(Some("bytes 40-99/100"), None), 40, None), Append { total: all });
        // A server may send less than the rest; the next request goes on.
        assert_eq!(judge(part(Some("bytes 40-59/100"), Some(20)), 40, all), Append { total: all });
        for (range, length) in [
            (Some("bytes 30-99/100"), None),
            (Some("bytes 41-99/100"), None),
            (Some("bytes 40-99/101"), None),
            (Some("bytes 40-99/100"), Some(59)),
            (Some("bytes */100"), None),
            (Some("rubbish"), None),
            (None, Some(60)),
        ] {
            assert!(discards(judge(part(range, length), 40, all)), "{range:?}");
        }

        let whole = |length| answer(200, None, length);
        assert_eq!(judge(whole(Some(100)), 40, all), StartOver { total: all });
        assert_eq!(judge(whole(None), 0, None), StartOver { total: None });

        let none = |content_range| answer(416, content_range, None);
        assert_eq!(judge(none(Some("bytes */100")), 100, all), Complete);
        assert_eq!(judge(none(None), 100, all), Complete);
        assert_eq!(judge(none(Some("bytes */100")), 100, None), Complete);
        assert!(discards(judge(none(Some("bytes */50")), 100, all)));
        assert!(discards(judge(none(None), 40, all)));
        assert!(discards(judge(none(None), 40, None)));
    }

    #[test]
    fn a_part_of_what_has_no_digest_must_be_of_the_same_content() {
        let (etag, date) = ("\"1\"", "Mon, 05 Jan 2026 00:00:00 GMT");
        for (validator, sent_etag, sent_date, appended) in [
            (Some(etag), Some(etag), None, true),
            (Some(etag), Some("\"2\""), Some(date), false),
            (Some(etag), Some("W/\"1\""), None, false),
            (Some(etag), None, Some(date), false),
            (Some(date), Some(etag), Some(date), true),
            (Some(date), None, Some("Tue, 06 Jan 2026 00:00:00 GMT"), false),
            (Some(date), Some(etag), None, false),
            (None, Some("\"2\""), None, true),
        ] {
            let content_range = Some("bytes 40-99/100");
            let part = Answered {
                content_range,
                status: 206,
                etag: sent_etag,
                last_modified: sent_date,
                ..Answered::default()
            };
            let verdict = judge(part, Held { bytes: 40, size: None, validator });
            assert_eq!(matches!(verdict, Verdict::Append { .. }), appended, "{validator:?} {part:?}");
        }
    }
}
