//! A small platform on loopback, one of everything: images of every kind,
//! kubernetes binaries, a plain tool and one in an archive, a Helm chart, a
//! git repository. The demo packages it, and so do tests about whole builds.

use serde_json::json;

use crate::charts;
use crate::file_server::FileServer;
use crate::git_server::GitServer;
use crate::images::{self, Dialect, Image, Index, Noise, Packing, Platform as Target, layer, layer_of};
use crate::project::{self, Project};
use crate::registry::Registry;

/// The running servers.
pub struct Platform {
    pub registry: Registry,
    pub files: FileServer,
    /// None without git.
    pub git: Option<GitServer>,
    /// What sizes are divided by.
    divisor: usize,
}

impl Platform {
    pub fn start() -> Self {
        Self::smaller(1)
    }

    /// The same with every large file `divisor` times smaller.
    pub fn smaller(divisor: usize) -> Self {
        let platform =
            Self { registry: Registry::start(), files: FileServer::start(), git: GitServer::start(), divisor };
        platform.push_images();
        platform.put_files();
        platform.put_chart();
        if let Some(git) = &platform.git {
            let repository = git.create("gitops-base");
            repository.commit("README.md", "# What Flux applies\n");
            repository.commit("apps/web.yaml", "image: web:1.27.0\n");
            repository.tag("v1.0.0");
        }
        platform
    }

    /// Configures `project` to package all of it.
    #[must_use]
    pub fn configure(&self, project: Project) -> Project {
        let mut servers = vec![json!(self.files.host())];
        servers.extend(self.git.as_ref().map(|git| json!(git.host())));
        let registry = self.registry.host();
        let project = project.with_settings(|settings| {
            settings["package"]["description"] = json!("A small platform");
            settings["registries"][registry] = json!({ "plain_http": true });
            settings["network"] = json!({ "plain_http_hosts": servers });
        });
        project.write("config/versions.env", format!("{}{PINS}", project::VERSIONS_ENV));
        project.write("config/catalog.yaml", self.catalog());
        project.write("config/values/web.yaml", "replicas: 2\n");
        project
    }

    fn push_images(&self) {
        let base = layer_of("etc/base", &images::half_noise(1, (3 << 20) / self.divisor), Packing::Gzip);
        let runtime = layer_of("usr/lib/runtime", &images::half_noise(2, (2 << 20) / self.divisor), Packing::Gzip);
        let registry = &self.registry;
        let web = Image::new(10, &[base.clone(), layer(11, 400_000 / self.divisor)]);
        let web_arm = Image::build(10, &[layer(12, 300_000 / self.divisor)], Dialect::Oci, Target::arm64());
        registry.push_index("library/web:1.27.0", &Index::with_attestations(&[web, web_arm]));
        registry.push(
            "team/api:2.1.0",
            &Image::new(20, &[base.clone(), runtime.clone(), layer(21, 900_000 / self.divisor)]),
        );
        let worker =
            Image::build(30, &[base, runtime, layer(31, 700_000 / self.divisor)], Dialect::Docker, Target::amd64());
        registry.push("team/worker:2.1.0", &worker);
        registry.push("pause:3.10", &Image::small(40, 2_000));
        registry.push("manifests-only:1.0.0", &Image::new(50, &[]));
    }

    fn put_files(&self) {
        for (seed, name) in [(1, "kubeadm"), (2, "kubectl"), (3, "kubelet")] {
            let path = format!("/release/{}/bin/linux/amd64/{name}", project::KUBERNETES);
            self.files.put_with_checksum(&path, program(name, seed, (1 << 20) / self.divisor));
        }
        self.files.put("/yq/v4.44.1/yq_linux_amd64", program("yq", 4, 500_000 / self.divisor));
        let helm = program("helm", 5, 800_000 / self.divisor);
        let archive =
            charts::gzip(&images::tar_of(&[("linux-amd64/LICENSE", b"Apache-2.0"), ("linux-amd64/helm", &helm)]));
        self.files.put("/helm/helm-v3.16.2-linux-amd64.tar.gz", archive);
        self.files.put_checksum_list("/helm/SHA256SUMS", &["/helm/helm-v3.16.2-linux-amd64.tar.gz"]);
    }

    fn put_chart(&self) {
        let image = self.registry.reference("library/web");
        let values = format!("image:\n  repository: {image}\n  tag: 1.27.0\nreplicas: 1\n");
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\n";
        let old = charts::chart("web", "0.9.0", &[("values.yaml", &values)]);
        let new = charts::chart("web", "1.0.0", &[("values.yaml", &values), ("templates/web.yaml", template)]);
        let index = charts::index(&[("web", "1.0.0", "web-1.0.0.tgz", &new), ("web", "0.9.0", "web-0.9.0.tgz", &old)]);
        self.files.put("/charts/web-1.0.0.tgz", new);
        self.files.put("/charts/web-0.9.0.tgz", old);
        self.files.put("/charts/index.yaml", index);
    }

    /// How the pins become components.
    fn catalog(&self) -> String {
        let files = self.files.url("");
        let registry = self.registry.host();
        let repositories = self.git.as_ref().map_or(String::new(), |git| {
            format!(
                "repositories:\n  - name: gitops-base\n    url: {}\n    ref: v1.0.0\n",
                git.clone_url("gitops-base")
            )
        });
        format!(
            "# How the pins in versions.env become components.
required:
  - name: KUBERNETES_VERSION
  - name: TARGET_ARCH
    allowed: [amd64, arm64]
  - name: WEB_VERSION
  - name: API_VERSION

kubernetes:
  version: \"{{{{KUBERNETES_VERSION}}}}\"
  binaries:
    - {{ name: kubeadm, url: \"{files}/release/{{{{version}}}}/bin/linux/{{{{arch}}}}/kubeadm\", checksum_url: \"{files}/release/{{{{version}}}}/bin/linux/{{{{arch}}}}/kubeadm.sha256\" }}
    - {{ name: kubectl, url: \"{files}/release/{{{{version}}}}/bin/linux/{{{{arch}}}}/kubectl\", checksum_url: \"{files}/release/{{{{version}}}}/bin/linux/{{{{arch}}}}/kubectl.sha256\" }}
    - {{ name: kubelet, url: \"{files}/release/{{{{version}}}}/bin/linux/{{{{arch}}}}/kubelet\", checksum_url: \"{files}/release/{{{{version}}}}/bin/linux/{{{{arch}}}}/kubelet.sha256\" }}

tools:
  - name: yq
    version: \"4.44.1\"
    url: \"{files}/yq/v{{{{version}}}}/yq_linux_{{{{arch}}}}\"
  - name: helm
    version: \"3.16.2\"
    url: \"{files}/helm/helm-v{{{{version}}}}-linux-{{{{arch}}}}.tar.gz\"
    checksum_url: \"{files}/helm/SHA256SUMS\"
    extract: true

images:
  - image: \"{registry}/library/web:{{{{WEB_VERSION}}}}\"
  - images:
      - \"{registry}/team/api:{{{{API_VERSION}}}}\"
      - \"{registry}/team/worker:{{{{API_VERSION}}}}\"
  - image: \"{registry}/pause:3.10\"
  - image: \"{registry}/manifests-only:1.0.0\"

{repositories}
charts:
  - name: web
    repo: \"{files}/charts\"
    version: \"~1.0\"
    namespace: web
    values: config/values/web.yaml
"
        )
    }
}

/// Pins of this platform, beside those that every platform has.
const PINS: &str = "WEB_VERSION=\"1.27.0\"\nAPI_VERSION=\"2.1.0\"\n";

/// A stand-in for a downloaded program: it says its name, and is as large as
/// wanted.
pub fn program(name: &str, seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = format!("#!/bin/sh\necho {name}\nexit 0\n").into_bytes();
    bytes.extend(Noise::new(seed).bytes(size));
    bytes
}
