//! What each release of Zarf does with a package of each format: one function
//! a row of the table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use airgap_tests::git_server::{GitServer, git};
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::tools::{self, DockerRegistry};
use serde_json::Value;

use crate::matrix::Cell;
use crate::programs::{Program, Zarf, shown};
use crate::site::{self, Site};

/// A column of the table.
pub(crate) struct Column<'a> {
    pub(crate) zarf: Zarf,
    pub(crate) site: &'a Site,
}

/// A row: what is done, and how.
pub(crate) type Row = (&'static str, fn(&Column<'_>) -> Cell);

pub(crate) const ROWS: &[Row] = &[
    ("`zarf package inspect definition`", inspect_definition),
    ("`zarf package inspect images`", inspect_images),
    ("`zarf package inspect documentation`", inspect_documentation),
    ("`zarf package inspect sbom`", inspect_sbom),
    ("`zarf package inspect manifests`", inspect_manifests),
    ("`zarf package mirror-resources`, images", mirror_images),
    ("`zarf package mirror-resources`, repositories", mirror_repositories),
    ("`zarf package publish`, `pull`, then our `verify`", publish_and_pull),
    ("`zarf package sign`, `verify`, then ours and `cosign verify-blob`", sign_and_verify),
    (
        "our `sign`, then `zarf package verify`, `deploy --verify`, `cosign verify-blob`, `verify-blob-attestation`",
        our_signature,
    ),
    ("`zarf package deploy`, `remove`: a definition made by hand", deploy_and_remove),
    ("`zarf package deploy`, `remove`: the files of a build, where no cluster is yet", deploy_files),
    ("`zarf package mirror-resources`, then `helm pull` of a chart that is not installed", mirror_chart),
    ("`zarf package create build/steps/zarf_gen`, then our `verify` and `push --git`", create),
];

impl Column<'_> {
    fn package(&self) -> String {
        self.site.package(&self.zarf)
    }

    fn inspected(&self, what: &str, more: &[&str]) -> String {
        self.zarf.run(&[&["package", "inspect", what, &self.package(), "--no-color"], more].concat())
    }

    /// What our list says is in the package: reference and digest.
    fn images(&self) -> Vec<(String, String)> {
        let list: Value = serde_json::from_str(&self.site.project(&self.zarf).read("dist/artifact-manifest.json"))
            .expect("the list is JSON");
        let field = |image: &Value, key: &str| image[key].as_str().expect("a string").to_owned();
        let images = list["images"].as_array().expect("a list").iter();
        images.map(|image| (field(image, "reference"), field(image, "digest"))).collect()
    }
}

fn inspect_definition(column: &Column<'_>) -> Cell {
    let text = column.inspected("definition", &[]);
    let definition: Value = serde_yaml::from_str(&text).unwrap_or_else(|err| panic!("{err} in\n{text}"));
    assert_eq!(definition["metadata"]["name"], "everything", "{text}");
    let names: Vec<&str> = definition["components"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|component| component["name"].as_str())
        .collect();
    assert_eq!(names, ["files", "images", "charts", "repositories"], "{text}");
    Cell::Passed
}

fn inspect_images(column: &Column<'_>) -> Cell {
    let text = column.inspected("images", &[]);
    for (reference, _) in column.images() {
        assert!(text.contains(&reference), "no {reference} in\n{text}");
    }
    Cell::Passed
}

/// A package with a v1beta1 document has none: see docs/package-format.md.
fn inspect_documentation(column: &Column<'_>) -> Cell {
    if !column.zarf.has(&["package", "inspect", "documentation"]) {
        return Cell::Absent;
    }
    let folder = column.zarf.folder();
    let package = column.package();
    let command = ["package", "inspect", "documentation", &package, "--output", &shown(&folder)];
    if column.site.format != "v1alpha1" {
        let said = column.zarf.refuses(&command);
        assert!(said.contains("documentation"), "{said}");
        return Cell::SaysNone;
    }
    column.zarf.run(&command);
    let found = files_below(&folder).into_iter().any(|file| std::fs::read(file).unwrap() == site::DOCUMENT.as_bytes());
    assert!(found, "{:?}", files_below(&folder));
    Cell::Passed
}

/// A document for each image and for the files of each component, as Syft
/// writes them.
fn inspect_sbom(column: &Column<'_>) -> Cell {
    let folder = column.zarf.folder();
    column.zarf.run(&["package", "inspect", "sbom", &column.package(), "--output", &shown(&folder)]);
    let documents: Vec<serde_json::Value> = files_below(&folder)
        .into_iter()
        .map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).expect("a document is JSON"))
        .collect();
    assert!(documents.iter().any(|document| document["source"]["type"] == "image"), "{documents:?}");
    assert!(documents.iter().all(|document| document["schema"]["version"].is_string()), "{documents:?}");
    Cell::Passed
}

/// Charts as Zarf renders them, with the values that the package holds.
fn inspect_manifests(column: &Column<'_>) -> Cell {
    if !column.zarf.has(&["package", "inspect", "manifests"]) {
        return Cell::Absent;
    }
    let text = column.inspected("manifests", &[]);
    for part in ["name: stack", "replicas: \"2\"", "name: cache", "replicas: \"3\"", "name: first", "name: second"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    Cell::Passed
}

fn mirror_images(column: &Column<'_>) -> Cell {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let crane = Program::find("crane");
    let address = registry.host();
    for names in [&["--no-img-checksum"][..], &[]] {
        let package = column.package();
        let command = ["package", "mirror-resources", &package, "--confirm", "--images", "--plain-http"];
        let to = ["--registry-url", &address, "--registry-push-username", "push", "--registry-push-password", "x"];
        column.zarf.run(&[&command[..], &to, names].concat());
    }
    let list = column.images();
    assert!(list.len() >= 4, "{list:?}");
    for (reference, digest) in list {
        let (_, name) = reference.split_once('/').expect("a reference is complete");
        let mirrored = format!("{address}/{name}");
        assert_eq!(crane.run(&["digest", "--insecure", &mirrored]).trim(), digest, "{mirrored}");
        crane.run(&["validate", "--insecure", "--remote", &mirrored]);
    }
    Cell::Passed
}

fn mirror_repositories(column: &Column<'_>) -> Cell {
    let server = GitServer::start_receiving().expect("git is installed");
    let package = column.package();
    let command = ["package", "mirror-resources", &package, "--confirm", "--repos"];
    let user = ["--git-push-username", tools::USER, "--git-push-password", tools::PASSWORD];
    column.zarf.run(&[&command[..], &["--git-url", &server.url("")], &user].concat());
    let received = server.received();
    let [repository] = received.as_slice() else { panic!("one repository is expected: {received:?}") };
    let name = repository.file_name().expect("a folder has a name").to_string_lossy();
    assert!(name.starts_with("gitops-base-"), "{name}");
    let list: Value = serde_json::from_str(&column.site.project(&column.zarf).read("dist/artifact-manifest.json"))
        .expect("the list is JSON");
    let commit = list["repositories"][0]["commit"].as_str().expect("a commit");
    let there = tools::run(git().arg("-C").arg(repository).args(["rev-parse", "v1.0.0^{commit}"]));
    assert_eq!(there.trim(), commit);
    tools::run(git().arg("-C").arg(repository).args(["fsck", "--full", "--strict"]));
    Cell::Passed
}

fn publish_and_pull(column: &Column<'_>) -> Cell {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let to = format!("oci://{}/packages", registry.host());
    column.zarf.run(&["package", "publish", &column.package(), &to, "--confirm", "--plain-http"]);
    let folder = column.zarf.folder();
    let from = format!("{to}/everything:1.0.0");
    column.zarf.run(&["package", "pull", &from, "--plain-http", "-a", "amd64", "-o", &shown(&folder)]);
    let pulled = the_package(&folder);
    let report = verified(column.site.project(&column.zarf), &pulled);
    assert_eq!(report["definition"]["documents"], documents(column.site.format), "{report}");
    Cell::Passed
}

fn documents(format: &str) -> Value {
    match format {
        "v1alpha1" => serde_json::json!(["zarf.dev/v1alpha1"]),
        "both" => serde_json::json!(["zarf.dev/v1alpha1", "zarf.dev/v1beta1"]),
        _ => serde_json::json!(["zarf.dev/v1beta1"]),
    }
}

/// Our `verify` of what another program wrote.
fn verified(project: &Project, package: &Path) -> Value {
    let run = project.run(&["verify", "--json", &shown(package)]).success();
    run.json()
}

/// The one package in a folder.
fn the_package(folder: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> =
        files_below(folder).into_iter().filter(|file| shown(file).ends_with(".tar.zst")).collect();
    assert_eq!(found.len(), 1, "one package is expected: {found:?}");
    found.remove(0)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Signing writes the definition anew, and the archive with it.
fn sign_and_verify(column: &Column<'_>) -> Cell {
    if !column.zarf.has(&["package", "sign"]) || !column.zarf.has(&["package", "verify"]) {
        return Cell::Absent;
    }
    let keys = column.zarf.folder();
    let cosign = Program::find("cosign").with_env("COSIGN_PASSWORD", tools::PASSWORD);
    let prefix = shown(&keys.join("key"));
    cosign.run(&["generate-key-pair", "--output-key-prefix", &prefix]);
    let (private, public) = (format!("{prefix}.key"), format!("{prefix}.pub"));
    let folder = column.zarf.folder();
    let key = ["--signing-key", &private, "--signing-key-pass", tools::PASSWORD];
    column.zarf.run(&[&["package", "sign", &column.package(), "-o", &shown(&folder)][..], &key].concat());
    let signed = the_package(&folder);
    column.zarf.run(&["package", "verify", &shown(&signed), "--key", &public]);
    let other = shown(&keys.join("other"));
    cosign.run(&["generate-key-pair", "--output-key-prefix", &other]);
    column.zarf.refuses(&["package", "verify", &shown(&signed), "--key", &format!("{other}.pub")]);
    let report = verified(column.site.project(&column.zarf), &signed);
    assert_eq!(report["definition"]["documents"], column.signed_documents(), "{report}");
    let project = column.site.project(&column.zarf);
    let with_key = |key: &str| project.run(&["verify", "--json", "--key", key, &shown(&signed)]);
    assert_eq!(with_key(&public).success().json()["signature"]["state"], "holds");
    with_key(&format!("{other}.pub")).code(4);
    // Beside what the build left it is another file, and no damaged one.
    let beside = copied(column, &folder.join("beside"));
    std::fs::copy(&signed, &beside).expect("a copy");
    let with_key = project.run(&["verify", "--key", &public, &shown(&beside)]).success();
    with_key.prints(&["was written again", "What holds: the signature"]);
    check_signature(column, &cosign, &signed, &public, &keys);
    Cell::Passed
}

/// The package and what lies beside it, in a folder of their own.
fn copied(column: &Column<'_>, folder: &Path) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a new folder");
    let package = PathBuf::from(column.package());
    let name = package.file_name().expect("a file has a name").to_string_lossy().into_owned();
    for end in ["", ".sha256", ".manifest.json", ".intoto.json"] {
        let file = format!("{name}{end}");
        std::fs::copy(package.with_file_name(&file), folder.join(&file)).expect("a copy");
    }
    folder.join(name)
}

/// Signed by us, with a key of cosign's and with one of ours.
fn our_signature(column: &Column<'_>) -> Cell {
    let folder = column.zarf.folder();
    let project = column.site.project(&column.zarf);
    let cosign = Program::find("cosign").with_env("COSIGN_PASSWORD", tools::PASSWORD);
    std::fs::write(folder.join("password"), tools::PASSWORD).expect("a new file");
    let password = shown(&folder.join("password"));
    let theirs = shown(&folder.join("theirs"));
    cosign.run(&["generate-key-pair", "--output-key-prefix", &theirs]);
    let ours = shown(&folder.join("ours"));
    project.run(&["keygen", "--output", &ours, "--password-file", &password]).success();
    let derived = cosign.run(&["public-key", "--key", &format!("{ours}.key")]);
    assert_eq!(derived.trim(), std::fs::read_to_string(format!("{ours}.pub")).expect("a public key").trim());
    for (name, keys) in [("theirs", &theirs), ("ours", &ours)] {
        let package = copied(column, &folder.join(format!("by-{name}")));
        let (path, public) = (shown(&package), format!("{keys}.pub"));
        project.run(&["sign", &path, "--key", &format!("{keys}.key"), "--password-file", &password]).success();
        project.run(&["verify", "--key", &public, &path]).success();
        if column.zarf.has(&["package", "verify"]) {
            column.zarf.run(&["package", "verify", &path, "--key", &public]);
            let other = if name == "ours" { &theirs } else { &ours };
            column.zarf.refuses(&["package", "verify", &path, "--key", &format!("{other}.pub")]);
        }
        accepted(&cosign, &package, &public, &folder.join(format!("by-{name}")));
    }
    deploy_signed(column, &folder, &password);
    Cell::Passed
}

/// By who asks for the signature; with another key nothing is deployed.
fn deploy_signed(column: &Column<'_>, folder: &Path, password: &str) {
    let project = &column.site.files;
    let package = folder.join("signed.tar.zst");
    std::fs::copy(project.package(), &package).expect("a copy");
    let (package, key) = (shown(&package), |name: &str| shown(&folder.join(name)));
    project.run(&["sign", &package, "--key", &key("ours.key"), "--password-file", password]).success();
    let deploy = ["package", "deploy", &package, "--confirm", "--verify", "--key"];
    let _ = std::fs::remove_dir_all(project.path("site"));
    column.zarf.refuses(&[&deploy[..], &[&key("theirs.pub")]].concat());
    assert!(!project.path("site").exists());
    column.zarf.run(&[&deploy[..], &[&key("ours.pub")]].concat());
    assert!(project.path("site/helm").is_file());
}

/// By cosign, with the key alone: the signature in the package, and the
/// statement beside it.
fn accepted(cosign: &Program, package: &Path, public: &str, folder: &Path) {
    let unpacked = unpacked(package);
    for name in ["zarf.yaml", "zarf.bundle.sig"] {
        std::fs::write(folder.join(name), unpacked.bytes(name)).expect("a new file");
    }
    let (bundle, blob) = (shown(&folder.join("zarf.bundle.sig")), shown(&folder.join("zarf.yaml")));
    let key = ["--key", public, "--insecure-ignore-tlog"];
    cosign.run(&[&["verify-blob"], &key[..], &["--bundle", &bundle, &blob]].concat());
    let (path, statement) = (shown(package), format!("{}.intoto.json", package.display()));
    let attested = ["--type", "slsaprovenance1", "--bundle", &statement];
    cosign.run(&[&["verify-blob-attestation"], &key[..], &attested, &[&path]].concat());
    cosign.refuses(&[&["verify-blob-attestation"], &key[..], &attested, &[&blob]].concat());
}

impl Column<'_> {
    /// Signing writes the documents that the release knows, v1alpha1 made anew
    /// from v1beta1 where it reads that.
    fn signed_documents(&self) -> Value {
        let newest = self.zarf.is_from("0.84.0") && self.site.format != "v1alpha1";
        documents(if newest { "both" } else { "v1alpha1" })
    }
}

/// The signature by the program that made the format: a bundle, and the bytes
/// alone of releases before.
fn check_signature(column: &Column<'_>, cosign: &Program, signed: &Path, public: &str, folder: &Path) {
    let (kind, name) = match column.zarf.is_from("0.77.0") {
        true => ("--bundle", "zarf.bundle.sig"),
        false => ("--signature", "zarf.yaml.sig"),
    };
    let unpacked = unpacked(signed);
    for name in ["zarf.yaml", name] {
        std::fs::write(folder.join(name), unpacked.bytes(name)).expect("a new file");
    }
    let (signature, blob) = (shown(&folder.join(name)), shown(&folder.join("zarf.yaml")));
    let command = ["verify-blob", "--key", public, kind, &signature, "--insecure-ignore-tlog=true"];
    cosign.run(&[&command[..], &[&blob]].concat());
    std::fs::write(&blob, "kind: other\n").expect("a new file");
    cosign.refuses(&[&command[..], &[&blob]].concat());
}

fn unpacked(package: &Path) -> Package {
    let name = package.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let sum = airgap_tests::digest::sha256_file(package);
    std::fs::write(format!("{}.sha256", package.display()), format!("{sum}  {name}\n")).expect("a new file");
    Package::unchecked(package)
}

fn deploy_and_remove(column: &Column<'_>) -> Cell {
    let project = column.site.project(&column.zarf);
    if !column.zarf.is_from("0.77.0") {
        let fullest = shown(&column.site.fullest().package());
        let said = column.zarf.refuses(&["package", "deploy", &fullest, "--confirm", "--components", "files"]);
        assert!(said.contains("v0.77.0"), "{said}");
    }
    let site = project.path("site");
    let _ = std::fs::remove_dir_all(&site);
    let package = column.package();
    column.zarf.run(&["package", "deploy", &package, "--confirm", "--components", "files"]);
    assert_eq!(project.read("site/notes.txt"), site::NOTES);
    let (kubectl, helm) = (site.join("bin/kubectl"), site.join("bin/helm"));
    assert_eq!(tools::run(&mut std::process::Command::new(&kubectl)), "kubectl\n");
    assert_eq!(tools::run(&mut std::process::Command::new(&helm)), "helm\n");
    assert_eq!(std::fs::read_link(site.join("bin/k")).expect("a link"), kubectl);
    assert_eq!(project.read("site/actions"), "before\nafter\ndeployed\n");
    column.zarf.run(&["package", "remove", &package, "--confirm", "--components", "files"]);
    assert_eq!(project.read("site/actions"), "before\nafter\ndeployed\nremoving\nremoved\n");
    Cell::Passed
}

/// What is required needs no cluster: without a word about components nothing
/// else is deployed.
fn deploy_files(column: &Column<'_>) -> Cell {
    let project = &column.site.files;
    let _ = std::fs::remove_dir_all(project.path("site"));
    let package = shown(&project.package());
    column.zarf.run(&["package", "deploy", &package, "--confirm"]);
    for name in ["yq", "helm"] {
        let program = project.path("site").join(name);
        assert_eq!(tools::run(&mut std::process::Command::new(&program)).trim(), name);
    }
    column.zarf.run(&["package", "remove", &package, "--confirm", "--components", "tools"]);
    Cell::Passed
}

/// Zarf takes it for an image, and Helm finds a chart.
fn mirror_chart(column: &Column<'_>) -> Cell {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let (address, project) = (registry.host(), &column.site.files);
    let package = shown(&project.package());
    let command = ["package", "mirror-resources", &package, "--confirm", "--images", "--plain-http"];
    let to = ["--registry-url", &address, "--registry-push-username", "push", "--registry-push-password", "x"];
    column.zarf.run(&[&command[..], &to, &["--no-img-checksum"]].concat());
    let helm = Program::find("helm");
    let folder = helm.folder();
    let chart = format!("oci://{address}/charts/stack");
    let pull = ["pull", &chart, "--version", "2.0.0", "--plain-http", "--destination"];
    helm.run(&[&pull[..], &[&shown(&folder)]].concat());
    let list: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).expect("the list is JSON");
    let pulled = airgap_tests::digest::sha256_file(&folder.join("stack-2.0.0.tgz"));
    assert_eq!(list["charts"][0]["sha256"], pulled, "{list:#}");
    Cell::Passed
}

/// The definition that a build leaves, and its neighbours.
fn create(column: &Column<'_>) -> Cell {
    let project = &column.site.composed;
    let folder = column.zarf.folder();
    let definition = shown(&project.path("build/steps/zarf_gen"));
    let command = ["package", "create", &definition, "--confirm", "--skip-sbom", "--plain-http", "-a", "amd64"];
    column.zarf.run(&[&command[..], &["-o", &shown(&folder)]].concat());
    let created = the_package(&folder);
    verified(project, &created);
    if column.site.format == "v1alpha1" {
        let (ours, theirs) = (parts(&site::opened(project)), parts(&unpacked(&created)));
        assert_eq!(ours, theirs);
    }
    push_repositories(project, &created);
    Cell::Passed
}

/// What Zarf cloned by itself lies otherwise than what we package.
fn push_repositories(project: &Project, package: &Path) {
    let server = GitServer::start_receiving().expect("git is installed");
    project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
    let (package, spool) = (shown(package), shown(project.root()));
    project.run(&["push", &package, "--git", &server.url("/team"), "--spool", &spool]).success();
    let received = server.received();
    assert_eq!(received.len(), 1, "{received:?}");
    let git = |arguments: &[&str]| tools::run(git().arg("-C").arg(received[0].join(".git")).args(arguments));
    git(&["fsck", "--full", "--strict"]);
    assert!(git(&["show-ref"]).contains("refs/"), "{received:?}");
}

/// The lines of checksums.txt for components and blobs, but for repositories:
/// two clones are two packs, and for the index, whose annotations differ.
fn parts(package: &Package) -> BTreeSet<String> {
    let lines = package.text("checksums.txt");
    let fixed = |line: &&str| {
        (line.contains(" components/") && !line.contains("repositories")) || line.contains(" images/blobs/")
    };
    lines.lines().filter(fixed).map(str::to_owned).collect()
}
