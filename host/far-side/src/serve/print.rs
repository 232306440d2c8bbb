//! The configuration that points a node at the server, in the words of whoever
//! reads it there.

use serde_json::json;

use super::images::spelled_registry;
use super::library::Library;

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// hosts.toml of containerd.
    Containerd,
    /// registries.conf of podman, CRI-O, buildah and skopeo.
    RegistriesConf,
    /// Variables of Kubespray's inventory.
    Kubespray,
    /// Commands of helm.
    Helm,
    /// daemon.json of dockerd.
    Docker,
}

/// Where a node finds the server, and how it may trust it.
pub struct ServerAddress<'a> {
    /// `http://10.0.0.5:5001`
    pub base: &'a str,
    /// Whether its certificate is signed by nobody whom the node knows.
    pub is_self_signed: bool,
}

impl ServerAddress<'_> {
    fn host(&self) -> &str {
        self.base.split_once("://").map_or(self.base, |(_, host)| host)
    }

    fn is_plain(&self) -> bool {
        self.base.starts_with("http://")
    }
}

/// The text, complete.
pub fn configuration(format: Format, library: &Library, place: &ServerAddress<'_>) -> String {
    match format {
        Format::Containerd => containerd(place),
        Format::RegistriesConf => registries_conf(library, place),
        Format::Kubespray => kubespray(library, place),
        Format::Helm => helm(library, place),
        Format::Docker => docker(place),
    }
}

/// A mirror is asked with `?ns=`, so that one file is enough for all registries.
fn containerd(place: &ServerAddress<'_>) -> String {
    let trust = match place.is_self_signed {
        true => {
            "  # The certificate that `serve` prints with --verbose, as a file:\n  ca = \"/etc/containerd/certs.d/_default/ca.crt\"\n"
        }
        false => "",
    };
    format!(
        "# /etc/containerd/certs.d/_default/hosts.toml, for the images of every registry.\n\
         # In /etc/containerd/config.toml the registry's config_path is \"/etc/containerd/certs.d\".\n\n\
         [host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{trust}",
        place.base
    )
}

fn registries_conf(library: &Library, place: &ServerAddress<'_>) -> String {
    let host = place.host();
    let mut text =
        String::from("# /etc/containers/registries.conf.d/airgap.conf, for podman, CRI-O, buildah and skopeo.\n");
    for registry in library.images.registries() {
        let mirror = spelled_registry(registry);
        text.push_str(&format!(
            "\n[[registry]]\nprefix = \"{registry}\"\nlocation = \"{registry}\"\n\n\
             [[registry.mirror]]\nlocation = \"{host}/{mirror}\"\ninsecure = {}\n",
            place.is_plain() || place.is_self_signed
        ));
    }
    text
}

/// Registries that Kubespray knows, by the variable that it has for each.
const KUBESPRAY_IMAGES: [(&str, &str); 5] = [
    ("kube_image_repo", "registry.k8s.io"),
    ("gcr_image_repo", "gcr.io"),
    ("github_image_repo", "ghcr.io"),
    ("docker_image_repo", "docker.io"),
    ("quay_image_repo", "quay.io"),
];
/// The same of hosts with files.
const KUBESPRAY_FILES: [(&str, &str); 4] = [
    ("dl_k8s_io_url", "dl.k8s.io"),
    ("github_url", "github.com"),
    ("storage_googleapis_url", "storage.googleapis.com"),
    ("get_helm_url", "get.helm.sh"),
];

fn kubespray(library: &Library, place: &ServerAddress<'_>) -> String {
    let (base, host) = (place.base, place.host());
    let mut text = format!(
        "# inventory/<cluster>/group_vars/all/offline.yml\nregistry_host: \"{host}\"\nfiles_repo: \"{base}/files\"\n"
    );
    let registries = library.images.registries();
    for (variable, registry) in KUBESPRAY_IMAGES.iter().filter(|(_, registry)| registries.contains(*registry)) {
        text.push_str(&format!("{variable}: \"{{{{ registry_host }}}}/{registry}\"\n"));
    }
    for (variable, host) in KUBESPRAY_FILES.iter().filter(|(_, host)| library.files.has_host(host)) {
        text.push_str(&format!("{variable}: \"{{{{ files_repo }}}}/{host}\"\n"));
    }
    text.push_str(&format!(
        "containerd_registries_mirrors:\n  - prefix: \"{host}\"\n    mirrors:\n      - host: \"{base}\"\n        \
         capabilities: [\"pull\", \"resolve\"]\n        skip_verify: {}\n",
        place.is_self_signed
    ));
    text
}

fn helm(library: &Library, place: &ServerAddress<'_>) -> String {
    let trust = match (place.is_plain(), place.is_self_signed) {
        (true, _) => " --plain-http",
        (_, true) => " --insecure-skip-tls-verify",
        _ => "",
    };
    let of_repository = if place.is_self_signed { " --insecure-skip-tls-verify" } else { "" };
    let mut text = format!("helm repo add carried {}/charts/{of_repository}\n", place.base);
    for (name, version) in library.charts.artifacts() {
        text.push_str(&format!("helm pull oci://{}/charts/{name} --version {version}{trust}\n", place.host()));
    }
    text
}

/// dockerd asks mirrors for images of Docker Hub alone.
fn docker(place: &ServerAddress<'_>) -> String {
    let mut config = json!({ "registry-mirrors": [place.base] });
    if place.is_plain() || place.is_self_signed {
        config["insecure-registries"] = json!([place.host()]);
    }
    format!("{config:#}\n")
}
