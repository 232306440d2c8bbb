//! The host pulls images by its own reading of references, zarf-yaml and the
//! package name them by the guests'. Guards against a package that refuses, or
//! fails to deploy, what was pulled.

use base::reference::Reference;
use components::image::ImageName;

/// Every combination of parts that people write, sound or not.
fn written() -> Vec<String> {
    let registries = [
        "",
        "docker.io/",
        "index.docker.io/",
        "registry-1.docker.io/",
        "quay.io/",
        "localhost/",
        "localhost:5000/",
        "127.0.0.1:5000/",
        "[::1]:5000/",
        "host:x/",
        "-bad.io/",
        "oci://ghcr.io/",
        "https://ghcr.io/",
    ];
    let repositories = ["nginx", "library/nginx", "a/b/c", "a__b/c--d.e", "a..b", "a/", "a//b", "Upper", "a_-b", ""];
    let tags = ["", ":1.27", ":X_1", ":", ":-1", ":a:b"];
    let digests = [String::new(), format!("@sha256:{}", "0a".repeat(32)), "@sha256:0a".into(), "@md5:0a".into()];
    let mut written = Vec::new();
    for registry in registries {
        for repository in repositories {
            for tag in tags {
                written.extend(digests.iter().map(|digest| format!("{registry}{repository}{tag}{digest}")));
            }
        }
    }
    written
}

#[test]
fn the_guests_read_references_as_the_host_does() {
    let written = written();
    let sound = written.iter().filter(|text| Reference::parse(text).is_ok()).count();
    assert!(sound > 200 && sound < written.len() / 2, "{sound} of {}", written.len());
    for text in written {
        let host = Reference::parse(&text).ok().map(|reference| reference.normalized());
        let guest = ImageName::parse(&text).ok().map(|name| name.to_string());
        assert_eq!(guest, host, "{text}");
    }
    // Stricter on purpose: a typo rather than a host.
    assert_eq!(Reference::parse("Org/app:1").unwrap().registry(), "Org");
    assert!(ImageName::parse("Org/app:1").is_err());
}
