//! What `serve` is to the programs of those who have nothing but a package, and
//! what `push` made of it.

use std::process::Command;

use airgap_tests::git_server::{GitServer, git};
use airgap_tests::project;
use airgap_tests::serving::Serving;
use airgap_tests::tools::{self, DockerRegistry};
use serde_json::Value;

use crate::matrix::Cell;
use crate::others::Row;
use crate::programs::{Program, shown};
use crate::site::Site;

pub(crate) const ROWS: &[Row] = &[
    ("`serve`: `crane catalog`, `crane validate` of each image", crane),
    ("`serve`: `oras copy` of each image, `oras discover`", oras),
    ("`serve`: `helm pull` and `helm template` of each chart, as artifact and from the repository", helm),
    ("`serve`: the conformance suite of the distribution specification, pulling", conformance),
    ("`serve` in a network without a way out: `helm pull` of each chart, as artifact and from the repository", sealed),
    ("`push`: `crane validate` of each image, `helm pull` of each chart, `git fsck` of each repository", pushed),
];

/// A package that is served, and what is in it.
fn served(site: &Site) -> (Serving, Value) {
    let project = site.fullest();
    let serving = Serving::start(project, &[&shown(&project.package())]);
    let there = serving.get("/index.json").json();
    (serving, there)
}

/// References of all images, by the names that they are served under: with a
/// tag, or with a digest where they are pinned to it.
fn images(serving: &Serving, there: &Value) -> Vec<String> {
    let rows = there["images"].as_array().expect("a list").iter();
    let text = |row: &Value, key: &str| row[key].as_str().expect("a text").to_owned();
    let images: Vec<String> = rows
        .map(|row| {
            let (registry, path) = row["name"].as_str().and_then(|name| name.split_once('/')).expect("a full name");
            let end = match row["tag"].as_str() {
                Some(tag) => format!(":{tag}"),
                None => format!("@{}", text(row, "digest")),
            };
            serving.reference(&format!("{}/{path}{end}", registry.replace(':', "_")))
        })
        .collect();
    assert!(images.len() >= 3, "{there}");
    images
}

/// The name of a repository, and a tag or a digest.
fn split(image: &str) -> (&str, &str) {
    image.split_once('@').or_else(|| image.rsplit_once(':')).expect("a tag or a digest")
}

fn crane(site: &Site) -> Cell {
    let (serving, there) = served(site);
    let crane = Program::find("crane");
    let catalog = crane.run(&["catalog", "--insecure", &serving.host]);
    for image in images(&serving, &there) {
        crane.run(&["validate", "--insecure", "--remote", &image]);
        let (name, tag) = split(&image);
        let tags = crane.run(&["ls", "--insecure", name]);
        assert!(tag.starts_with("sha256:") || tags.lines().any(|line| line == tag), "{image}: {tags}");
        assert!(catalog.lines().any(|line| name.ends_with(line)), "{name} is not in {catalog}");
    }
    Cell::Passed
}

fn oras(site: &Site) -> Cell {
    let (serving, there) = served(site);
    let oras = Program::find("oras");
    let layout = oras.folder();
    for (number, image) in images(&serving, &there).iter().enumerate() {
        let to = format!("{}:{number}", layout.display());
        oras.run(&["copy", "--from-plain-http", "--to-oci-layout", image, &to]);
        oras.run(&["discover", "--plain-http", image]);
    }
    Cell::Passed
}

fn helm(site: &Site) -> Cell {
    let (serving, there) = served(site);
    let helm = Program::find("helm");
    helm.run(&["repo", "add", "carried", &serving.at("/charts/")]);
    let charts = there["charts"].as_array().expect("a list");
    assert_eq!(charts.len(), 2, "{there}");
    for chart in charts {
        let (name, version) = (chart["name"].as_str().expect("a name"), chart["version"].as_str().expect("a version"));
        let folder = helm.folder();
        let artifact = format!("oci://{}", serving.reference(&format!("charts/{name}")));
        helm.run(&["pull", &artifact, "--version", version, "--plain-http", "-d", &shown(&folder)]);
        let text = helm.run(&["template", "release", &artifact, "--version", version, "--plain-http"]);
        assert!(text.contains("kind: ConfigMap"), "{text}");
        let archive = folder.join(format!("{name}-{version}.tgz"));
        let pulled = std::fs::read(&archive).expect("helm pulled it");
        std::fs::remove_file(&archive).expect("a file");
        helm.run(&["pull", &format!("carried/{name}"), "--version", version, "-d", &shown(&folder)]);
        assert_eq!(std::fs::read(&archive).expect("helm pulled it"), pulled);
    }
    Cell::Passed
}

/// The suite's words for what it is to do come by the environment.
fn conformance(site: &Site) -> Cell {
    let (serving, there) = served(site);
    for image in images(&serving, &there) {
        let (name, tag) = split(&image);
        let name = name.strip_prefix(&format!("{}/", serving.host)).expect("below the server");
        let manifest = serving.get(&format!("/v2/{name}/manifests/{tag}"));
        let digest = manifest.header("docker-content-digest").expect("a digest").to_owned();
        let manifest = manifest.json();
        let blobs = manifest["layers"].as_array().into_iter().flatten().chain([&manifest["config"]]);
        let blobs: Vec<&str> = blobs.filter_map(|blob| blob["digest"].as_str()).collect();
        let mut suite = Program::find("conformance");
        for (variable, value) in [
            ("OCI_VERSION", "1.1"),
            ("OCI_REGISTRY", &serving.host),
            ("OCI_TLS", "disabled"),
            ("OCI_REPO1", name),
            ("OCI_REPO2", name),
            ("OCI_API_PUSH", "false"),
            ("OCI_API_BLOBS_DELETE", "false"),
            ("OCI_API_MANIFESTS_DELETE", "false"),
            ("OCI_API_TAGS_DELETE", "false"),
            ("OCI_RO_DATA_TAGS", if tag.starts_with("sha256:") { "" } else { tag }),
            ("OCI_RO_DATA_MANIFESTS", &digest),
            ("OCI_RO_DATA_BLOBS", &blobs.join(" ")),
            ("OCI_RO_DATA_REFERRERS", &digest),
        ] {
            suite = suite.with_env(variable, value);
        }
        // What it ends with is about its report.
        let said = suite.says(&[]);
        assert!(said.contains("OCI Conformance Result: Pass"), "{said}");
    }
    Cell::Passed
}

/// Starts the server, waits until it answers, and runs the rest.
const SEALED: &str = r#"
set -e
ip link set lo up
"$AIRGAP" serve "$PACKAGE" --listen 127.0.0.1:5001 >&2 &
serving=$!
trap 'kill $serving' EXIT
until curl -sf http://127.0.0.1:5001/v2/ >/dev/null; do kill -0 $serving; sleep 0.1; done
if curl -s --max-time 5 http://192.0.2.1/; then exit 9; fi
"$HELM" repo add carried http://127.0.0.1:5001/charts/
while read -r name version; do
  "$HELM" pull "oci://127.0.0.1:5001/charts/$name" --version "$version" --plain-http -d "$HOME"
  mv "$HOME/$name-$version.tgz" "$HOME/artifact.tgz"
  "$HELM" pull "carried/$name" --version "$version" -d "$HOME"
  cmp "$HOME/$name-$version.tgz" "$HOME/artifact.tgz"
  echo "pulled $name $version"
done < "$HOME/charts"
"#;

fn sealed(site: &Site) -> Cell {
    let (serving, there) = served(site);
    drop(serving);
    let helm = Program::find("helm");
    let home = helm.folder();
    let charts = there["charts"].as_array().expect("a list");
    let text = |chart: &Value, key: &str| chart[key].as_str().expect("a text").to_owned();
    let list: String = charts.iter().map(|c| format!("{} {}\n", text(c, "name"), text(c, "version"))).collect();
    std::fs::write(home.join("charts"), &list).expect("a new file");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--net", "sh", "-c", SEALED])
        .env("AIRGAP", project::binary())
        .env("PACKAGE", site.fullest().package())
        .env("HELM", crate::programs::built("helm"))
        .env("HOME", &home);
    let said = tools::run(&mut command);
    assert_eq!(said.lines().filter(|line| line.starts_with("pulled ")).count(), charts.len(), "{said}");
    Cell::Passed
}

fn pushed(site: &Site) -> Cell {
    let registry = DockerRegistry::start().expect("docker-registry is installed");
    let server = GitServer::start_receiving().expect("git is installed");
    let project = site.fullest();
    project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
    let (package, host, base) = (shown(&project.package()), registry.host(), server.url("/team"));
    let run = project.run(&["push", &package, &host, "--plain-http", "--git", &base, "--json"]).success();
    let told: Value = serde_json::from_str(run.stdout.lines().last().expect("a line")).expect("JSON");
    let (crane, helm) = (Program::find("crane"), Program::find("helm"));
    let (mut charts, mut repositories) = (0, 0);
    for item in told["items"].as_array().expect("a list") {
        let new = item["new"].as_str().expect("a text");
        match item["kind"].as_str() {
            Some("image") => {
                crane.run(&["validate", "--insecure", "--remote", new]);
                assert_eq!(
                    crane.run(&["digest", "--insecure", new]).trim(),
                    item["digest"].as_str().expect("a digest")
                );
            }
            Some("chart") => {
                let (name, tag) = new.rsplit_once(':').expect("a tag");
                let version = tag.replace('_', "+");
                let folder = shown(&helm.folder());
                helm.run(&["pull", &format!("oci://{name}"), "--version", &version, "--plain-http", "-d", &folder]);
                charts += 1;
            }
            _ => repositories += 1,
        }
    }
    let received = server.received();
    for folder in &received {
        tools::run(git().arg("-C").arg(folder.join(".git")).args(["fsck", "--full", "--strict"]));
    }
    assert!(charts >= 2 && repositories >= received.len() && !received.is_empty(), "{told}");
    Cell::Passed
}
