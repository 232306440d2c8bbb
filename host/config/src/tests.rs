//! The configuration as a whole: the default one, and what is refused.

use std::path::Path;

use super::*;
use base::error::{Class, Error};
use disk::fs;

/// A project with the default configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, content) in DEFAULTS {
            folder.write(&format!("config/{name}"), content);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write_new(&self.path(name), content.as_bytes()).unwrap();
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no `{from}`");
        self.write(name, &text.replace(from, to));
    }

    /// `file:@words@:1` with the number of the first line of the file that
    /// holds the words.
    fn with_line(&self, pattern: &str) -> String {
        let parts: Vec<&str> = pattern.split('@').collect();
        let [file, words, rest] = parts.as_slice() else { return pattern.to_owned() };
        let text = std::fs::read_to_string(self.path(file.trim_end_matches(':'))).unwrap();
        let line = text.lines().position(|line| line.trim_start_matches(['-', ' ']).starts_with(words)).unwrap() + 1;
        format!("{file}{line}{rest}")
    }

    fn load(&self) -> Result<Project> {
        Project::load(Layout::new(self.path("config"), self.path("build"), self.path("dist")))
    }

    /// The error's message with the folder left out.
    fn refusal(&self) -> (String, Error) {
        let error = self.load().unwrap_err();
        assert_eq!(error.class(), Class::Configuration, "{}", error.message());
        assert!(error.hint_text().is_some(), "{}", error.message());
        (error.message().replace(&format!("{}/", self.0.path().display()), ""), error)
    }
}

const COMPONENTS_YAML: &str = "images:\n  additional:\n    - nginx:1.27\n";

#[test]
fn the_default_configuration_makes_a_whole_platform_for_both_architectures() {
    let folder = Folder::new();
    for architecture in ["amd64", "arm64"] {
        if architecture == "arm64" {
            folder.replace("config/versions.env", "TARGET_ARCH=\"amd64\"", "TARGET_ARCH=\"arm64\"");
        }
        let project = folder.load().unwrap();
        assert_eq!(project.architecture(), architecture);
        assert_eq!(project.hashes.total, None, "there are no components yet");
        let generation = project.catalog.generate(&project.versions.pins).unwrap();
        let resolved = generation.manifest.resolve(&project.settings.identity(), architecture).unwrap();
        let files: Vec<&str> = resolved.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            files,
            [
                "kubeadm",
                "kubelet",
                "kubectl",
                "containerd.tar.gz",
                "cni-plugins.tgz",
                "runc",
                "crictl.tar.gz",
                "nerdctl.tar.gz",
                "etcd.tar.gz",
                "calicoctl",
                "calico-crds.tar.gz",
                "helm",
                "k9s",
                "yq",
                "flux",
                &format!("zarf-{architecture}"),
                &format!("zarf-init-{architecture}-v0.84.0.tar.zst"),
            ]
        );
        for file in &resolved.files {
            // A source, of which no checksum is published.
            let is_source = file.url.contains("/archive/");
            assert_eq!(file.url.contains(architecture), !is_source, "{}", file.url);
            assert_eq!(file.checksum_url.is_some(), !is_source, "{}", file.name);
            assert_eq!(file.kind == model::FileKind::Carry, file.name.starts_with("zarf-"), "{}", file.name);
            assert!(!file.url.contains("vv"), "{}", file.url);
        }
        assert_eq!(
            resolved.files[0].url,
            format!("https://dl.k8s.io/release/v1.34.3/bin/linux/{architecture}/kubeadm")
        );
        let names: Vec<&str> = resolved.repositories.iter().map(|repository| repository.name.as_str()).collect();
        assert_eq!(names, ["kubespray", "openCenter-gitops-base"]);
        let charts: Vec<&str> = resolved.charts.iter().map(|chart| chart.name.as_str()).collect();
        assert_eq!(charts, ["cert-manager", "flux2", "gitea"]);
        let deployed: Vec<bool> = resolved.charts.iter().map(|chart| chart.deploy).collect();
        assert_eq!(deployed, [false, true, true], "Flux installs the first");
        assert_eq!(resolved.images.len(), 7 + 5 + 6 + 5 + 8 + 1);
        assert!(resolved.images.contains(&"docker.gitea.com/gitea:1.25.4-rootless".to_owned()));
    }
}

#[test]
fn a_pin_that_is_removed_takes_its_components_along() {
    let folder = Folder::new();
    folder.replace("config/versions.env", "GITEA_VERSION=", "# GITEA_VERSION=");
    folder.replace("config/versions.env", "CNI_PLUGIN=\"calico\"", "CNI_PLUGIN=\"none\"");
    folder.replace("config/versions.env", "CALICO_VERSION=\"v3.30.6\"\n", "");
    let project = folder.load().unwrap();
    let manifest = project.catalog.generate(&project.versions.pins).unwrap().manifest;
    assert!(!manifest.images.iter().any(|image| image.image.contains("gitea") || image.image.contains("calico")));
    assert!(!manifest.charts.iter().any(|chart| chart.name == "gitea"));
}

#[test]
fn refusals_name_the_file_and_the_line() {
    type Damage = fn(&Folder);
    let cases: &[(Damage, &str, &str)] = &[
        (|f| fs::remove_file(&f.path("config/versions.env")).unwrap(), "config/versions.env is missing", "init"),
        (|f| fs::remove_file(&f.path("config/catalog.yaml")).unwrap(), "config/catalog.yaml is missing", "init"),
        (|f| fs::remove_file(&f.path("config/settings.yaml")).unwrap(), "config/settings.yaml is missing", "init"),
        (|f| f.write("config/versions.env", "A"), "config/versions.env:1:2: ", "write A="),
        (
            |f| f.replace("config/versions.env", "RUNC_VERSION=", "# "),
            "config/versions.env: RUNC_VERSION is missing",
            "RUNC_VERSION=",
        ),
        (
            |f| f.replace("config/versions.env", "RUNC_VERSION=\"1.3.4\"", "RUNC_VERSION="),
            "config/versions.env:@RUNC_VERSION@:1: RUNC_VERSION is empty",
            "RUNC_VERSION=",
        ),
        (
            |f| f.replace("config/versions.env", "calico\"", "calcio\""),
            "config/versions.env:@CNI_PLUGIN@:1: CNI_PLUGIN is `calcio`",
            "calico, cilium",
        ),
        (
            |f| f.replace("config/versions.env", "\"v1.34.3\"", "\"1.34.3\""),
            "config/versions.env:@KUBERNETES_VERSION@:1: KUBERNETES_VERSION is `1.34.3`, which does not match",
            "v1.34.3",
        ),
        (
            |f| f.replace("config/catalog.yaml", "quay.io/calico/node", "quay.io/calico//node"),
            "config/catalog.yaml:@quay.io/calico//node@:9: ",
            "repository",
        ),
        (
            |f| f.write("config/components.yaml", "imagez: []"),
            "config/components.yaml:1:1: unknown field `imagez`",
            "spelling",
        ),
        (
            |f| f.write("config/components.base.yaml", "imagez: []"),
            "config/components.base.yaml:1:1: unknown field",
            "version control",
        ),
        (
            |f| f.write("config/components.yaml", "charts: [{name: c, repo: ./charts/c, version: '1'}]"),
            "config/components.yaml:1:26: charts[0].repo: there is nothing at `charts/c`",
            "create it",
        ),
        (
            |f| {
                let chart = "{name: c, repo: 'https://h', version: '1', values: [config/settings.yaml]}";
                f.write("config/components.yaml", &format!("charts: [{chart}]"));
            },
            "config/components.yaml:1:",
            "copy what a plugin is to read",
        ),
        (|f| fs::remove_file(&f.path("config/values/gitea.yaml")).unwrap(), "config/catalog.yaml:", "create it"),
        (
            |f| f.write("config/pipeline.yaml", "steps: []"),
            "config/pipeline.yaml:1:8: steps: there are no steps",
            "init",
        ),
        (|f| f.write("config/plugins.lock", "zzz: 1"), "config/plugins.lock:1:1: unknown field", "spelling"),
        (|f| f.write("config/airgap.lock", "format: 99"), "config/airgap.lock: format 99", "newer"),
    ];
    for (damage, start, hint) in cases {
        let folder = Folder::new();
        damage(&folder);
        let (message, error) = folder.refusal();
        let start = folder.with_line(start);
        assert!(message.starts_with(&start), "expected {start}, got {message}");
        assert!(error.hint_text().unwrap().contains(hint), "{message}: {:?}", error.hint_text());
        assert!(!folder.path("build").exists() && !folder.path("dist").exists(), "nothing is written");
    }
}

#[test]
fn the_hash_covers_what_decides_about_the_content() {
    let folder = Folder::new();
    folder.write("config/components.yaml", COMPONENTS_YAML);
    let before = folder.load().unwrap().hashes;
    assert!(before.total.is_some());
    folder.replace("config/settings.yaml", "# network:", "network: {concurrency: 3}\n# network:");
    assert_eq!(folder.load().unwrap().hashes, before, "how things are fetched does not count");

    let mut seen = std::collections::BTreeSet::from([before.total]);
    let changes: &[(&str, &str)] = &[
        ("config/versions.env", "# another comment\n"),
        ("config/catalog.yaml", "# another comment\n"),
        ("config/components.yaml", "    - nginx:1.26\n"),
        ("config/settings.yaml", "security: {require_checksums: true}\n"),
        ("config/pipeline.yaml", &Pipeline::built_in().to_text()),
        ("config/airgap.lock", "format: 1\n"),
    ];
    for (name, text) in changes {
        let old = std::fs::read_to_string(folder.path(name)).unwrap_or_default();
        folder.write(name, &format!("{old}{text}"));
        assert!(seen.insert(folder.load().unwrap().hashes.total), "{name} does not count");
    }
}

#[test]
fn local_charts_and_values_count_in_the_hash() {
    let folder = Folder::new();
    folder.write(
        "config/components.yaml",
        "charts: [{name: c, repo: ./charts/c, version: '1', values: config/values/c.yaml}]",
    );
    folder.write("charts/c/Chart.yaml", "name: c\n");
    folder.write("config/values/c.yaml", "a: 1\n");
    let first = folder.load().unwrap().hashes;
    folder.write("charts/c/templates/x.yaml", "");
    let second = folder.load().unwrap().hashes;
    folder.write("config/values/c.yaml", "a: 2\n");
    let third = folder.load().unwrap().hashes;
    let shown = |old, new| hash::changes(old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&first, &second), ["./charts/c changed"]);
    assert_eq!(shown(&second, &third), ["config/values/c.yaml changed"]);
    assert_ne!(second.total, third.total);
}

#[test]
fn a_change_is_named_down_to_the_key() {
    let folder = Folder::new();
    folder.write("config/components.yaml", COMPONENTS_YAML);
    let before = folder.load().unwrap().hashes;
    folder.replace("config/versions.env", "v1.34.3", "v1.34.4");
    folder.replace("config/components.yaml", "nginx:1.27", "nginx:1.28");
    folder.replace("config/settings.yaml", "\"1.0.0\"", "\"1.1.0\"");
    let after = folder.load().unwrap().hashes;
    let shown: Vec<String> = hash::changes(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "images.additional[docker.io/library/nginx]: nginx:1.27 → nginx:1.28 in config/components.yaml",
            "package.version: 1.0.0 → 1.1.0 in config/settings.yaml",
            "KUBERNETES_VERSION: v1.34.3 → v1.34.4 in config/versions.env",
        ]
    );
}

#[test]
fn paths_are_relative_to_the_folder_that_holds_the_configuration() {
    assert_eq!(root_of(Path::new("config")), Path::new("."));
    assert_eq!(root_of(Path::new("/p/config")), Path::new("/p"));
}

/// Every field of settings.yaml is described in the documentation.
#[test]
fn the_documentation_names_every_setting() {
    let page = include_str!("../../../docs/configuration.md");
    let registry = settings::RegistrySettings {
        mirrors: vec![settings::Mirror { location: "m".into(), plain_http: false }],
        ..Default::default()
    };
    let settings = Settings { registries: [("r".to_owned(), registry)].into(), ..Settings::default() };
    let mut fields = Vec::new();
    collect(&serde_json::to_value(settings).unwrap(), &mut fields);
    assert!(fields.len() > 30, "{fields:?}");
    for field in fields.iter().filter(|field| *field != "r") {
        assert!(page.contains(&format!("`{field}`")), "docs/configuration.md does not describe `{field}`");
    }
}

fn collect(value: &serde_json::Value, fields: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                fields.push(key.clone());
                collect(value, fields);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect(value, fields)),
        _ => {}
    }
}
