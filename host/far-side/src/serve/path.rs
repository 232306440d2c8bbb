//! The path and the query of a request, taken apart with suspicion.

use url::Url;

/// Bytes of a path and its query.
pub(super) const LONGEST: usize = 4096;

/// The parts between the slashes, decoded. The last one is empty where the path
/// ends with a slash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

impl Path {
    /// Nothing is tidied up: None of what could mean another place than it says.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<String> = path.strip_prefix('/')?.split('/').map(decoded).collect::<Option<_>>()?;
        let (_, inner) = parts.split_last()?;
        (!inner.iter().any(String::is_empty)).then_some(Self(parts))
    }

    pub(super) fn parts(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// One part of a path; None of one that would lead elsewhere.
pub(super) fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    let text = String::from_utf8(bytes).ok()?;
    let is_plain = !text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) && text != "." && text != "..";
    // `%+1` is a number for the standard library.
    (is_plain && !part.contains("%+")).then_some(text)
}

/// The value of a parameter, the first of several.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A text as a part of a path.
pub(super) fn encoded(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' | b'/' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// Host and path of an address, as the folders of a mirror are called: no port,
/// no query, and nothing that leaves the folder.
pub(super) fn mirrored(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let host = match url.port() {
        None => url.host_str()?.to_owned(),
        Some(port) => format!("{}_{port}", url.host_str()?),
    };
    let parts = url.path().split('/').filter(|part| !part.is_empty()).map(decoded);
    let parts = parts.collect::<Option<Vec<String>>>()?;
    (!parts.is_empty()).then(|| format!("{host}/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for twisted in [
            "",
            "x",
            "/..",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a//b",
            "//a",
            "/a/./b",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/%00",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%ff",
            "/a%0ab",
        ] {
            assert_eq!(Path::parse(twisted), None, "{twisted}");
        }
    }

    #[test]
    fn parts_are_decoded_and_written_again() {
        let parts = |path: &str| Path::parse(path).unwrap().0;
        assert_eq!(parts("/"), [""]);
        assert_eq!(parts("/v2/"), ["v2", ""]);
        assert_eq!(parts("/v2/a/blobs/sha256%3Aabc"), ["v2", "a", "blobs", "sha256:abc"]);
        assert_eq!(parts("/a%20b/..c/é"), ["a b", "..c", "é"]);
        assert_eq!(encoded("a b/é%"), "a%20b/%C3%A9%25");
        assert_eq!(parameter(Some("n=5&last=a%2Fb"), "last").as_deref(), Some("a/b"));
        assert_eq!(parameter(None, "last"), None);
    }
}
