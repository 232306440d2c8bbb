//! What a pinned plugin will be able to do, in sentences for whoever decides.

use config::core_plugins::core;
use config::plugins_lock::Pin;
use entitlement::grants::Grants;

/// What each of its rights means, the gravest first. Of what is not said it can
/// do nothing.
pub fn of_pin(name: &str, pin: &Pin) -> Vec<String> {
    let decides = core(name).filter(|_| pin.replace_core);
    let replaced =
        decides.map(|decides| format!("replaces the core plugin `{name}`: decides {decides}, in every build"));
    replaced.into_iter().chain(of_grants(&pin.grants)).collect()
}

/// The same of grants alone.
pub fn of_grants(grants: &Grants) -> Vec<String> {
    let mut sentences = vec![
        "reads the outputs of the steps that its step needs, versions.env, catalog.yaml, components.yaml and \
         airgap.lock of config/, and the local charts and values files that components.yaml names"
            .to_owned(),
        "writes the output of its step, which other steps believe, and which `publish` copies into dist/".to_owned(),
    ];
    sentences.extend(grants.fetch.iter().map(|prefix| {
        let prefix = if prefix.ends_with('/') { prefix.clone() } else { format!("{prefix}/") };
        let hosts = if prefix.contains("*.") { ", to any host that the `*` stands for" } else { "" };
        format!("downloads from {prefix}, and can send what it reads there{hosts}: a fetch grant is also a way out")
    }));
    sentences.extend(grants.credentials.iter().map(|host| format!("may use your credentials for {host}")));
    if grants.directories {
        sentences.push("gets its inputs and outputs as directories, and a directory to work in".to_owned());
    }
    if grants.fetch.is_empty() {
        sentences.push("reaches no network".to_owned());
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::digest::Digest;
    use config::limits::OwnLimits;

    #[test]
    fn every_right_is_a_sentence() {
        let grants = Grants {
            fetch: vec!["https://example.com/x".into(), "*.example.com/team/".into()],
            credentials: vec!["registry.example.com".into()],
            directories: true,
        };
        let pin = |replace_core| Pin {
            path: "x".into(),
            sha256: Digest::of(b""),
            version: None,
            source: None,
            manifest: None,
            signature: None,
            limits: OwnLimits::default(),
            replace_core,
            grants: grants.clone(),
        };
        let said = of_pin("charts", &pin(true)).join("\n");
        for part in [
            "replaces the core plugin `charts`: decides which charts",
            "can send what it reads there: a fetch grant",
            "downloads from https://example.com/x/,",
            "any host that the `*` stands for",
            "your credentials for registry.example.com",
            "as directories",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("no network"), "{said}");
        assert!(!of_pin("sbom", &pin(false)).join("\n").contains("replaces"));
        assert!(of_grants(&Grants::default()).contains(&"reaches no network".to_owned()));
    }
}
