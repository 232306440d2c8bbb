//! What the parts of a package are to the programs that made their formats.

use std::path::{Path, PathBuf};

use airgap_tests::project::{self, Project};
use airgap_tests::serving::Serving;
use airgap_tests::tools::{self, DockerRegistry};
use serde_json::{Value, json};

use crate::matrix::Cell;
use crate::programs::{Program, Zarf, shown};
use crate::site::{self, Site};

pub(crate) type Row = (&'static str, fn(&Site) -> Cell);

pub(crate) const ROWS: &[Row] = &[
    ("`helm template` of each chart with its values", helm_template),
    ("`crane push` of the image layout, `crane validate` of each image", crane_layout),
    ("`oras copy` of each image out of the layout", oras_layout),
    (
        "`cosign sign` of images, legacy and as bundle, carried, then `cosign verify` behind `serve`, `push` and `zarf package mirror-resources`",
        cosign_images,
    ),
    (
        "`oras push`, `cosign sign` and `cosign sign-blob` of a plugin, then `plugin add --key`, and the build with it",
        cosign_plugins,
    ),
];

/// A package unpacked into a folder, component tars included.
fn unpack(site: &Site, into: &Path) {
    let package = site::opened(site.fullest());
    for name in package.names() {
        if name.starts_with("components/") {
            tar::Archive::new(package.bytes(name)).unpack(into.join("components")).expect("a sound tar");
        } else {
            let path = into.join(name);
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a new folder");
            std::fs::write(path, package.bytes(name)).expect("a new file");
        }
    }
}

fn helm_template(site: &Site) -> Cell {
    let helm = Program::find("helm");
    let folder = helm.folder();
    unpack(site, &folder);
    let parts = folder.join("components/charts");
    let mut seen = 0;
    for chart in names(&parts.join("charts")) {
        let Some(stem) = chart.strip_suffix(".tgz") else { continue };
        let archive = shown(&parts.join("charts").join(&chart));
        let mut command = vec!["template".to_owned(), "release".to_owned(), archive];
        let mut values: Vec<String> = names(&parts.join("values"));
        values.retain(|name| name.rsplit_once('-').is_some_and(|(of, _)| of == stem));
        values.sort();
        for name in values {
            command.extend(["--values".to_owned(), shown(&parts.join("values").join(name))]);
        }
        let text = helm.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(text.contains("kind: ConfigMap"), "{text}");
        if stem.starts_with("stack") {
            assert!(text.contains("replicas: \"2\"") && text.contains("replicas: \"3\""), "{text}");
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
    Cell::Passed
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    entries.map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect()
}

/// The layout, and the digests that its index names.
fn layout(site: &Site, folder: &Path) -> (PathBuf, Vec<String>) {
    unpack(site, folder);
    let index = std::fs::read(folder.join("images/index.json")).expect("a layout has an index");
    let index: Value = serde_json::from_slice(&index).expect("the index is JSON");
    let entries = index["manifests"].as_array().expect("a list").iter();
    let digests: Vec<String> = entries.map(|entry| entry["digest"].as_str().expect("a digest").to_owned()).collect();
    assert!(digests.len() >= 5, "{index}");
    (folder.join("images"), digests)
}

fn crane_layout(site: &Site) -> Cell {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let crane = Program::find("crane");
    let (images, digests) = layout(site, &crane.folder());
    let all = registry.reference("all");
    crane.run(&["push", "--insecure", "--index", &shown(&images), &format!("{all}:1")]);
    for digest in digests {
        crane.run(&["validate", "--insecure", "--remote", &format!("{all}@{digest}")]);
    }
    Cell::Passed
}

fn oras_layout(site: &Site) -> Cell {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let (oras, crane) = (Program::find("oras"), Program::find("crane"));
    let (images, digests) = layout(site, &oras.folder());
    for digest in digests {
        let from = format!("{}@{digest}", images.display());
        let to = registry.reference("copied");
        oras.run(&["copy", "--from-oci-layout", "--to-plain-http", &from, &format!("{to}@{digest}")]);
        crane.run(&["validate", "--insecure", "--remote", &format!("{to}@{digest}")]);
    }
    Cell::Passed
}

/// Signed by cosign in one registry, checked when they are packaged, and by
/// cosign again where they were carried to.
fn cosign_images(site: &Site) -> Cell {
    let [from, to] = [0, 1].map(|_| DockerRegistry::start().expect("docker-registry is installed"));
    let (cosign, crane) =
        (Program::find("cosign").with_env("COSIGN_PASSWORD", tools::PASSWORD), Program::find("crane"));
    let folder = cosign.folder();
    let prefix = shown(&folder.join("key"));
    cosign.run(&["generate-key-pair", "--output-key-prefix", &prefix]);
    let (private, public) = (format!("{prefix}.key"), format!("{prefix}.pub"));
    let (images, digests) = layout(site, &folder);
    let digest = single(&images, &digests);
    let sign = [
        "sign",
        "--yes",
        "--key",
        &private,
        "--use-signing-config=false",
        "--tlog-upload=false",
        "--allow-http-registry",
    ];
    let mut project = Project::new().with_registry(&from.host()).with_settings(|settings| {
        settings["package"]["format"] = json!(site.format);
        settings["images"] = json!({ "referrers": true, "verify": [{ "match": "*", "key": "key.pub" }] });
    });
    project.write("config/key.pub", std::fs::read(&public).expect("a public key"));
    for (name, more) in [("team/new:1", &[][..]), ("team/old:1", &["--new-bundle-format=false"])] {
        let all = from.reference("all");
        crane.run(&["push", "--insecure", "--index", &shown(&images), &format!("{all}:1")]);
        crane.run(&["copy", "--insecure", &format!("{all}@{digest}"), &from.reference(name)]);
        cosign.run(&[&sign[..], more, &[&from.reference(name)]].concat());
        project = project.with_image(from.reference(name));
    }
    project.run(&["build"]).success();
    let package = shown(&project.package());
    project.run(&["verify", &package]).success();
    project.run(&["push", "--plain-http", &package, &to.host()]).success();
    let mirrored = mirrored(site, &package);
    let serving = Serving::start(&project, &[&package]);
    let verify = ["verify", "--key", &public, "--insecure-ignore-tlog", "--allow-http-registry"];
    for name in ["team/new:1", "team/old:1"] {
        let through_zarf = mirrored.iter().map(|registry| registry.reference(name));
        for reference in [to.reference(name), serving.reference(name)].into_iter().chain(through_zarf) {
            // Zarf leaves no list of what is about an image.
            if reference.starts_with(&to.host()) || reference.starts_with(&serving.host) || name == "team/old:1" {
                cosign.run(&[&verify[..], &[&reference]].concat());
            }
        }
    }
    Cell::Passed
}

/// A plugin as its author publishes it, pinned by who has the author's key.
fn cosign_plugins(site: &Site) -> Cell {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let (cosign, oras) = (Program::find("cosign").with_env("COSIGN_PASSWORD", tools::PASSWORD), Program::find("oras"));
    let folder = cosign.folder();
    let prefix = shown(&folder.join("author"));
    cosign.run(&["generate-key-pair", "--output-key-prefix", &prefix]);
    let (private, public) = (format!("{prefix}.key"), format!("{prefix}.pub"));
    let file = shown(&folder.join("hello.wasm"));
    let guest = project::target_folder().parent().expect("target/ has profiles").join("test-guests/hello.wasm");
    std::fs::copy(guest, &file).expect("`make plugins` builds the guests");
    let project = Project::new().with_registry(&registry.host()).with_settings(|settings| {
        settings["package"]["format"] = json!(site.format);
        settings["security"] = json!({ "require_signed_plugins": true, "plugin_keys": ["author.pub"] });
    });
    project.write("config/author.pub", std::fs::read(&public).expect("a public key"));
    let with_key = ["--yes", "--key", &private, "--use-signing-config=false", "--tlog-upload=false"];
    cosign.run(&[&["sign-blob"], &with_key[..], &["--bundle", &format!("{file}.sigstore.json"), &file]].concat());
    project.run(&["plugin", "add", &file, "--name", "blob"]).success().prints(&["is signed by the key"]);
    let layer = format!("{file}:application/wasm");
    for (name, more) in [("new", &[][..]), ("old", &["--new-bundle-format=false"])] {
        let reference = registry.reference(&format!("team/{name}:1"));
        oras.run(&["push", "--plain-http", "--disable-path-validation", &reference, &layer]);
        let source = format!("oci://{reference}");
        project.run(&["plugin", "add", &source, "--name", name]).code(1).says(&["is not signed"]);
        cosign.run(&[&["sign", "--allow-http-registry"], &with_key[..], more, &[&reference]].concat());
        project.run(&["plugin", "add", &source, "--name", name]).success().prints(&["is signed by the key"]);
    }
    project.run(&["plugin", "list", "--verify"]).success().prints(&["✓ blob", "✓ new", "✓ old"]);
    project.write("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    project.write("charts/web/templates/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n");
    let project = project.with_chart(json!({ "name": "web", "repo": "./charts/web", "version": "1.0.0" }));
    let step = json!({ "id": "greeting", "run": { "plugin": "new" }, "configuration": { "name": "world" } });
    project.write("config/pipeline.yaml", json!({ "additional_steps": [step] }).to_string());
    project.run(&["build"]).success();
    Cell::Passed
}

/// Registries to which releases of Zarf have brought the images.
fn mirrored(site: &Site, package: &str) -> Vec<DockerRegistry> {
    let releases = if site.format == "v1beta1" { &[crate::NEWEST][..] } else { &["0.75.0", crate::NEWEST] };
    let mirrored = releases.iter().filter(|release| Zarf::is_built(release)).map(|release| {
        let registry = DockerRegistry::start().expect("docker-registry is installed");
        let command =
            ["package", "mirror-resources", package, "--confirm", "--images", "--plain-http", "--no-img-checksum"];
        let address = registry.host();
        let to = ["--registry-url", &address, "--registry-push-username", "push", "--registry-push-password", "x"];
        Zarf::of(release).run(&[&command[..], &to].concat());
        registry
    });
    mirrored.collect()
}

/// An image of the layout that is no index.
fn single(images: &Path, digests: &[String]) -> String {
    let of = |digest: &&String| {
        let path = images.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let manifest: Value = serde_json::from_slice(&std::fs::read(path).expect("a blob")).expect("a manifest");
        manifest.get("manifests").is_none()
            && manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    };
    digests.iter().find(of).expect("an image").clone()
}
