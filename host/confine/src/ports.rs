//! The ports that a configuration names.

use std::collections::BTreeSet;

/// Ports of the protocols that a build speaks without naming one: DNS, http,
/// https, ssh and git.
pub const USUAL: [u16; 5] = [53, 80, 443, 22, 9418];

/// Every number behind a colon that ends where an address does. It finds tags
/// of images as well, and misses nothing that is written `host:port`.
pub fn named_in(text: &[u8]) -> BTreeSet<u16> {
    text.split(|byte| *byte == b':').skip(1).filter_map(port).collect()
}

/// The port that a text begins with.
fn port(text: &[u8]) -> Option<u16> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ends =
        text.get(digits).is_none_or(|next| !(next.is_ascii_alphanumeric() || matches!(next, b'.' | b'-' | b'_')));
    let number = std::str::from_utf8(text.get(..digits)?).ok()?;
    if ends { number.parse().ok().filter(|port| *port != 0) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_wherever_an_address_stands() {
        for (text, ports) in [
            ("https://a.b:8443/c", &[8443][..]),
            ("mirror: registry.example.com:5000/x\nproxy: 'http://p:3128'", &[3128, 5000]),
            ("[::1]:7000, [fd00::1]:7001", &[1, 7000, 7001]),
            ("a:65535 b:65536 c:0 d:", &[65535]),
            ("nginx:1.27 x:3-alpine y:5a version: 12", &[]),
            ("NO_PROXY=a:1", &[1]),
        ] {
            assert_eq!(named_in(text.as_bytes()), ports.iter().copied().collect(), "{text}");
        }
    }
}
