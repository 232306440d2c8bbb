//! Addresses that mean one thing: which spellings are refused, and why.

use url::{Host, Url};

use base::visible;

/// `host:port`, `host`, `[::1]:port`, `[::1]`; the host with its brackets.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(end);
    if rest.is_empty() {
        return Some((host, None));
    }
    let port = rest.strip_prefix(':').filter(|port| port.bytes().all(|c| c.is_ascii_digit()))?;
    Some((host, Some(port.parse().ok()?)))
}

pub(super) fn borrowed(host: &Host) -> Host<&str> {
    match host {
        Host::Domain(name) => Host::Domain(name.as_str()),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => Host::Ipv6(*address),
    }
}

/// Whether this is `host` or `host:port`.
pub(super) fn is_host(text: &str) -> bool {
    split_port(text).is_some_and(|(host, _)| plain_host(host).is_some())
}

/// A host that is written as it is read: no `0x7f.1`, no `ex%61mple.com`, no
/// umlaut, no dot at its end.
pub(super) fn plain_host(text: &str) -> Option<Host> {
    let host = Host::parse(text).ok()?;
    let is_as_written = host.to_string().eq_ignore_ascii_case(text) || matches!(host, Host::Ipv6(_));
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let is_plain = !matches!(&host, Host::Domain(name) if !is_name(name)) && !has_empty_label(&borrowed(&host));
    (is_as_written && is_plain).then_some(host)
}

fn has_empty_label(host: &Host<&str>) -> bool {
    matches!(host, Host::Domain(name) if name.split('.').any(str::is_empty))
}

/// An address of the web, in whatever spelling; `base` is what a relative one
/// is relative to.
pub(super) fn web_address(text: &str, base: Option<&Url>) -> Result<Url, &'static str> {
    let url = Url::options().base_url(base).parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds credentials, which may disguise where it leads");
    }
    Ok(url)
}

/// Reads an address that a server or a pinned plugin wrote: one of the web,
/// without credentials, that says what it means. A host in another spelling
/// (`2130706433`, `ex%61mple.com`), a backslash, `https:/host` are read
/// differently by different programs, and no honest server needs them.
///
/// # Errors
/// Why it is none, to be put behind it.
pub fn address(text: &str, base: Option<&Url>) -> Result<Url, &'static str> {
    let (url, before_query) = clear_address(text, base)?;
    let reads_as_written = |written: &str, read: &str| written.eq_ignore_ascii_case(read);
    if url.host().is_none_or(|host| has_empty_label(&host)) || !is_written_out(before_query, &url, reads_as_written) {
        return Err("does not write its host as it is read");
    }
    Ok(url)
}

/// The same for what a server wrote to a step of the host, which no grant
/// confines: with two spellings more that every client takes. A name may have
/// letters outside ASCII, and a dot at its end, which is left out here.
///
/// # Errors
/// Why it is none, to be put behind it.
pub fn host_address(text: &str, base: Option<&Url>) -> Result<Url, &'static str> {
    let (mut url, before_query) = clear_address(text, base)?;
    if let Some(Host::Domain(name)) = url.host()
        && let Some(name) = name.strip_suffix('.').map(str::to_owned)
    {
        url.set_host(Some(&name)).map_err(|_| "does not write its host as it is read")?;
    }
    let is_name = matches!(url.host(), Some(Host::Domain(_)));
    let reads_so = |written: &str, read: &str| {
        let written = if is_name { written.strip_suffix('.').unwrap_or(written) } else { written };
        let has_letters = !written.is_ascii() && !written.contains('%');
        written.eq_ignore_ascii_case(read) || (is_name && has_letters)
    };
    if url.host().is_none_or(|host| has_empty_label(&host)) || !is_written_out(before_query, &url, reads_so) {
        return Err("does not write its host as it is read");
    }
    Ok(url)
}

/// An address without what some programs read as the end of its host, and its
/// text up to the query.
fn clear_address<'a>(text: &'a str, base: Option<&Url>) -> Result<(Url, &'a str), &'static str> {
    let url = web_address(text, base)?;
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    if before_query.contains('\\') || text.chars().any(char::is_control) {
        return Err("has a backslash or a control character, at which programs disagree where its host ends");
    }
    Ok((url, before_query))
}

/// Whether the host of `url` stands in `text` as it is read, or `text` is
/// relative.
fn is_written_out(text: &str, url: &Url, reads_so: impl Fn(&str, &str) -> bool) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains('/'));
    let rest = scheme.map_or(text, |scheme| &text[scheme.len() + 1..]);
    match rest.strip_prefix("//") {
        None => scheme.is_none(),
        Some(rest) => {
            let authority = rest.split('/').next().unwrap_or_default();
            let host = split_port(authority).map(|(host, _)| host);
            host.zip(url.host_str()).is_some_and(|(written, read)| reads_so(written, read))
        }
    }
}

/// Bytes of an address at most: no server takes a longer one.
pub const LONGEST: usize = 8 << 10;

/// An address as it is written down, in airgap.lock and elsewhere: what nobody
/// sees in it, and what no text may hold, as the escapes that go over the wire
/// for it.
pub fn written(text: &str) -> String {
    let is_no_character = |c: char| (u32::from(c) & 0xfffe) == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        let mut bytes = [0; 4];
        let encoded: &str = c.encode_utf8(&mut bytes);
        if c.is_control() || is_no_character(c) || visible::unseen_in(encoded).is_some() {
            written.extend(encoded.bytes().map(|byte| format!("%{byte:02X}")));
        } else {
            written.push(c);
        }
    }
    written
}

/// Why a server may take `url` for something else than it seems to be: an
/// encoded separator or dot, once or twice encoded or too long; a path
/// parameter, which some cut off; an empty part, which some leave out; a
/// character that some take for one of these. None where there is one meaning.
pub(super) fn unclear(url: &Url) -> Option<&'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds credentials");
    }
    if url.host().is_none_or(|host| has_empty_label(&host)) {
        return Some("does not write its host as it is read");
    }
    let path = url.path();
    if path.contains("//") {
        return Some("has an empty part in its path");
    }
    let raw = path.to_ascii_lowercase();
    if raw.contains(';') || raw.contains("%3b") {
        return Some("has a parameter in its path");
    }
    let hides = |path: String| path.chars().any(|c| c.is_control() || SEPARATORS.contains(&c));
    let is_hidden = raw.contains("%2e") || raw.contains("%2f") || decoded(path).is_none_or(hides);
    is_hidden.then_some("encodes a separator or a dot in its path")
}

/// What is a separator, a dot or an escape to whoever reads a decoded path
/// once more, or normalises it (NFKC): the full-width and small forms, and the
/// leaders.
const SEPARATORS: &[char] = &[
    '\\', '%', '\u{2024}', '\u{2025}', '\u{2026}', '\u{fe19}', '\u{fe30}', '\u{fe52}', '\u{fe68}', '\u{fe6a}',
    '\u{ff05}', '\u{ff0e}', '\u{ff0f}', '\u{ff3c}',
];

/// With every escape resolved once; None where one is none, or the bytes are
/// no UTF-8, as those of an overlong dot are not.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = behind;
            continue;
        }
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written down must be read again by who takes no invisible
    /// letters, and mean the same address.
    #[test]
    fn what_nobody_sees_is_written_as_its_escape() {
        for (text, expected) in [
            ("https://h/x?\u{200b}", "https://h/x?%E2%80%8B"),
            ("https://h/\u{202e}/\u{feff}", "https://h/%E2%80%AE/%EF%BB%BF"),
            ("https://h/x?\u{fffe}\u{ffff}\u{fdd0}", "https://h/x?%EF%BF%BE%EF%BF%BF%EF%B7%90"),
            ("https://h/\u{a0}x", "https://h/%C2%A0x"),
            ("https://h/gr\u{fc}n?a=b%20c&d=\u{2713}", "https://h/gr\u{fc}n?a=b%20c&d=\u{2713}"),
        ] {
            assert_eq!(written(text), expected);
            assert_eq!(Url::parse(text).unwrap(), Url::parse(expected).unwrap(), "{expected}");
        }
        for c in (0..0x11_0000_u32).filter_map(char::from_u32) {
            let text = written(&format!("https://h/{c}"));
            assert!(visible::unseen_in(&text).is_none(), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn an_address_says_where_it_leads() {
        let base = Url::parse("https://example.com/charts/index.yaml").unwrap();
        for (good, read) in [
            ("https://EXAMPLE.com:443/x?a=\\b", "https://example.com/x?a=\\b"),
            ("http://[::1]:80/x", "http://[::1]/x"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/other/x?to=https://y", "https://example.com/other/x?to=https://y"),
            ("a/sha256:00", "https://example.com/charts/a/sha256:00"),
            ("?page=2", "https://example.com/charts/index.yaml?page=2"),
        ] {
            assert_eq!(address(good, Some(&base)).unwrap().as_str(), read, "{good}");
        }
        for bad in [
            "https://user@example.com/x",
            "https://user:secret@example.com/x",
            "//user@example.com/x",
            "https://example.com\\@evil.example/",
            "https:\\\\evil.example/",
            "/\\evil.example/",
            "a\\..\\x",
            "https:/evil.example/x",
            "https:evil.example/x",
            "https:////evil.example/x",
            "https:x",
            "https://ex%61mple.com/",
            "https://b\u{fc}cher.example/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://example.com./x",
            "https://..example.com/x",
            "https://exam\tple.com/",
            "/a\r\nb",
            "ftp://example.com/x",
            "file:///etc/passwd",
            "data:text/plain,x",
            "javascript:x",
            "https://",
            "https:///x",
        ] {
            assert!(address(bad, Some(&base)).is_err(), "{bad}");
        }
        assert!(address("/x", None).is_err());
    }

    #[test]
    fn a_step_of_the_host_follows_what_every_client_takes() {
        let base = Url::parse("https://example.com/a/b").unwrap();
        for (good, read) in [
            ("https://b\u{fc}cher.example/x", "https://xn--bcher-kva.example/x"),
            ("https://xn--bcher-kva.example/x", "https://xn--bcher-kva.example/x"),
            ("https://Example.com./x", "https://example.com/x"),
            ("https://b\u{fc}cher.example.:444/x", "https://xn--bcher-kva.example:444/x"),
            ("/gr\u{fc}\u{df}e?q=\u{e4}", "https://example.com/gr%C3%BC%C3%9Fe?q=%C3%A4"),
            ("c d", "https://example.com/a/c%20d"),
            ("//cdn.example/x", "https://cdn.example/x"),
        ] {
            assert_eq!(host_address(good, Some(&base)).unwrap().as_str(), read, "{good}");
        }
        for bad in [
            "https://user@b\u{fc}cher.example/",
            "https://user:secret@example.com/x",
            "https://example.com\\@evil.example/",
            "https://b%C3%BCcher.example/",
            "https://ex%61mple.com/",
            "https://2130706433/",
            "https://\u{ff11}27.0.0.1/",
            "https://127.0.0.1./",
            "https://example.com../x",
            "https://.example.com/x",
            "https:/evil.example/x",
            "https://exam\tple.com/",
            "file:///etc/passwd",
        ] {
            assert!(host_address(bad, Some(&base)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_refused() {
        let of = |path: &str| unclear(&Url::parse(&format!("https://h.example/{path}")).unwrap());
        for good in ["", "a/", "a/b.tgz", "v1%2B2", "a%20b", "%C3%A4", "a/../b", "a+b@c:d~e!", "?a=%2e%2f//;"] {
            assert_eq!(of(good), None, "{good}");
        }
        for bad in [
            "..%2fx",
            "..%2Fx",
            "..%5cx",
            "%2e%2e%2fx",
            "a%2etgz",
            "..%252fx",
            "%252e%252e/x",
            "a%25b",
            "..%c0%afx",
            "%c0%ae%c0%ae/x",
            "%e0%80%ae/x",
            "..%ef%bc%8fx",
            "%ef%bc%8e%ef%bc%8e/x",
            "%e2%80%a5/x",
            "a%00b",
            "a%0d%0ab",
            "a%zz",
            "a%2",
            "a//b",
            "/a",
            "a//",
            "..;/x",
            "a;b/c",
            "a%3Bb",
            "%u002e",
        ] {
            assert!(of(bad).is_some(), "{bad}");
        }
    }
}
