//! Package URLs, as the scanners of this world write them.

use std::fmt::Write as _;

use crate::found::{Kind, Package, Release};

/// The address of a package; empty where its system is not known.
pub fn of(package: &Package, release: Option<&Release>) -> String {
    let Package { kind, name, version, group, .. } = package;
    match kind {
        Kind::Deb => release.filter(|release| release.is_like("debian")).map(|r| deb(package, r)).unwrap_or_default(),
        Kind::Apk => release.map(|release| apk(package, release)).unwrap_or_default(),
        Kind::Rpm => rpm(package, release),
        Kind::GoModule => url(
            "golang",
            name.rsplit_once('/').map_or("", |(above, _)| above),
            base(name),
            version.trim_start_matches("go"),
            &[],
        ),
        Kind::Python => url("pypi", "", name, version, &[]),
        Kind::Npm => url("npm", name.rsplit_once('/').map_or("", |(scope, _)| scope), base(name), version, &[]),
        Kind::JavaArchive | Kind::JenkinsPlugin => {
            url("maven", if group.is_empty() { name } else { group }, name, version, &[])
        }
    }
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn deb(package: &Package, release: &Release) -> String {
    let upstream = match (package.text("source"), package.text("sourceVersion")) {
        ("", _) => String::new(),
        (source, "") => source.to_owned(),
        (source, version) => format!("{source}@{version}"),
    };
    let distro = distro(release);
    let more = [("arch", package.text("architecture")), ("upstream", &upstream), ("distro", &distro)];
    url("deb", release.get("id"), &package.name, &package.version, &more)
}

fn apk(package: &Package, release: &Release) -> String {
    let origin = package.text("originPackage");
    let upstream = if origin == package.name { "" } else { origin };
    let distro = distro(release);
    let more = [("arch", package.text("architecture")), ("upstream", upstream), ("distro", &distro)];
    url("apk", release.get("id"), &package.name, &package.version, &more)
}

fn rpm(package: &Package, release: Option<&Release>) -> String {
    let id = release.map(|release| release.get("id")).unwrap_or_default();
    let vendor = match id {
        "rhel" | "hummingbird" => "redhat",
        id if id.starts_with("opensuse") => "opensuse",
        id => id,
    };
    let epoch = package.metadata.get("epoch").and_then(serde_json::Value::as_u64).map(|epoch| epoch.to_string());
    let version = format!("{}-{}", package.text("version"), package.text("release"));
    let distro = release.map(distro).unwrap_or_default();
    let more = [
        ("arch", package.text("architecture")),
        ("epoch", epoch.as_deref().unwrap_or_default()),
        ("upstream", package.text("sourceRpm")),
        ("distro", &distro),
    ];
    url("rpm", vendor, &package.name, &version, &more)
}

fn distro(release: &Release) -> String {
    let version = [release.get("versionID"), release.get("buildID")].into_iter().find(|version| !version.is_empty());
    let parts = [Some(release.get("id")), version].into_iter().flatten().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// `pkg:<kind>/<namespace>/<name>@<version>?<qualifiers>`; empty qualifiers are
/// left out, the others sorted by their key.
pub fn url(kind: &str, namespace: &str, name: &str, version: &str, qualifiers: &[(&str, &str)]) -> String {
    let mut url = format!("pkg:{kind}");
    for part in namespace.split('/').filter(|part| !part.is_empty()) {
        let _ = write!(url, "/{}", encoded(part, ""));
    }
    let _ = write!(url, "/{}", encoded(name, ""));
    if !version.is_empty() {
        let _ = write!(url, "@{}", encoded(version, ""));
    }
    let mut qualifiers: Vec<_> = qualifiers.iter().filter(|(_, value)| !value.is_empty()).collect();
    qualifiers.sort();
    for (index, (key, value)) in qualifiers.into_iter().enumerate() {
        let _ = write!(url, "{}{key}={}", if index == 0 { '?' } else { '&' }, encoded(value, ":/"));
    }
    url
}

fn encoded(text: &str, also: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte);
        if is_plain {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::os_release;

    #[test]
    fn addresses_are_those_that_scanners_write() {
        let debian = os_release::read("ID=debian\nVERSION_ID=12\n");
        let alpine = os_release::read("ID=alpine\nVERSION_ID=3.18.4\n");
        let rhel = os_release::read("ID=rhel\nVERSION_ID=9.3\n");
        let package = |kind, name: &str, version: &str, metadata| Package::new(kind, name, version, metadata);
        let deb = json!({"architecture": "amd64", "source": "glibc", "sourceVersion": "2.36-9"});
        let rpm = json!({"version": "5.1", "release": "2.el9", "epoch": 0, "architecture": "x86_64", "sourceRpm": "bash-5.1-2.el9.src.rpm"});
        let mut jar = package(Kind::JavaArchive, "guava", "31.1-jre", json!({}));
        jar.group = "com.google.guava".to_owned();
        for (package, release, expected) in [
            (
                package(Kind::Deb, "libc6", "2.36-9+deb12u3", deb),
                Some(&debian),
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u3?arch=amd64&distro=debian-12&upstream=glibc%402.36-9",
            ),
            (
                package(
                    Kind::Apk,
                    "musl-utils",
                    "1.2.4-r2",
                    json!({"architecture": "x86_64", "originPackage": "musl"}),
                ),
                Some(&alpine),
                "pkg:apk/alpine/musl-utils@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4&upstream=musl",
            ),
            (
                package(Kind::Rpm, "bash", "0:5.1-2.el9", rpm),
                Some(&rhel),
                "pkg:rpm/redhat/bash@5.1-2.el9?arch=x86_64&distro=rhel-9.3&epoch=0&upstream=bash-5.1-2.el9.src.rpm",
            ),
            (
                package(Kind::GoModule, "github.com/cli/cli/v2", "v2.63.0", json!({})),
                None,
                "pkg:golang/github.com/cli/cli/v2@v2.63.0",
            ),
            (package(Kind::GoModule, "stdlib", "go1.22.3", json!({})), None, "pkg:golang/stdlib@1.22.3"),
            (package(Kind::Npm, "@babel/core", "7.1.0", json!({})), None, "pkg:npm/%40babel/core@7.1.0"),
            (package(Kind::Python, "six", "1.16.0", json!({})), None, "pkg:pypi/six@1.16.0"),
            (jar, None, "pkg:maven/com.google.guava/guava@31.1-jre"),
        ] {
            assert_eq!(of(&package, release), expected);
        }
        assert_eq!(of(&package(Kind::Deb, "a", "1", json!({})), Some(&rhel)), "");
    }
}
