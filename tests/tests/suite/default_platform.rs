//! Guards the configuration that `init` writes: whatever its components.yaml
//! names is in the package, for each architecture, from mirrors that the
//! settings name, and nobody else is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use airgap_tests::components::{File, Named};
use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::git_server::git;
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::stand_ins::StandIns;
use airgap_tests::tools;
use serde_json::Value;

const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

#[test]
fn the_default_configuration_becomes_one_package_for_amd64() {
    becomes_one_package(ARCHITECTURES[0]);
}

#[test]
fn the_default_configuration_becomes_one_package_for_arm64() {
    becomes_one_package(ARCHITECTURES[1]);
}

fn becomes_one_package(architecture: &str) {
    // Whatever is not mirrored would go here.
    let elsewhere = FileServer::start();
    let project = Project::bare()
        .with_env("HTTPS_PROXY", elsewhere.url(""))
        .with_env("HTTP_PROXY", elsewhere.url(""))
        .with_env("NO_PROXY", "127.0.0.1");
    project.run(&["init"]).success();
    let pins = project.read("config/versions.env");
    assert!(pins.contains("TARGET_ARCH=\"amd64\""));
    project.write("config/versions.env", pins.replace("\"amd64\"", &format!("\"{architecture}\"")));
    project.run(&["build", "--step", "manifests"]).success();
    project.run(&["add", "image", "nginx:1.27"]).success();

    let components = project.read("config/components.yaml");
    let named = ARCHITECTURES.map(|architecture| Named::read(&components, architecture));
    let Some(stand_ins) = StandIns::serve(&named) else { return };
    let settings = project.read("config/settings.yaml");
    project.write("config/settings.yaml", format!("{settings}\n{}", stand_ins.settings()));
    project.run(&["build", "--on-change", "restart"]).success();

    assert_eq!(elsewhere.render_log(), "", "everything comes from the mirrors");
    let named = named.iter().find(|named| named.architecture == architecture).unwrap();
    Finished { project: &project, stand_ins: &stand_ins, named }.check();
    builds_again_from_the_store(&project);
}

/// A project with its package, and what should be in it.
struct Finished<'a> {
    project: &'a Project,
    stand_ins: &'a StandIns,
    named: &'a Named,
}

impl Finished<'_> {
    fn check(&self) {
        let manifest: Value = serde_json::from_str(&self.project.read("dist/artifact-manifest.json")).unwrap();
        assert_eq!(manifest["package"]["architecture"], self.named.architecture.as_str());
        let package = Package::open(&self.project.package());
        for text in [self.project.read("config/airgap.lock"), manifest.to_string(), package.text("zarf.yaml")] {
            assert!(!text.contains("127.0.0.1"), "what was asked for counts, not the mirror:\n{text}");
        }
        self.check_images(&manifest["images"], &package);
        self.check_files(&manifest["files"], &package);
        self.check_charts(&manifest["charts"], &package);
        self.check_repositories(&manifest["repositories"], &package);
        self.check_report();
    }

    fn check_images(&self, rows: &Value, package: &Package) {
        let found: BTreeMap<String, String> = by(rows, "source", "digest");
        let architecture = &self.named.architecture;
        let digest = |image: &String| self.stand_ins.images[&(image.clone(), architecture.clone())].clone();
        let wanted = self.named.images.iter().map(|image| (image.clone(), digest(image))).collect();
        assert_eq!(found, wanted);
        for digest in found.values() {
            assert!(package.has(&format!("images/blobs/{}", digest.replace(':', "/"))), "{digest}");
        }
        let index = package.text("images/index.json");
        let references = by(rows, "reference", "digest");
        assert!(references.iter().all(|(reference, digest)| index.contains(reference) && index.contains(digest)));
    }

    fn check_files(&self, rows: &Value, package: &Package) {
        let programs = &self.stand_ins.programs;
        let found = by(rows, "name", "sha256");
        let wanted = self.packaged().map(|file| (file.name.clone(), sha256(&programs[&file.url]))).collect();
        assert_eq!(found, wanted);
        let sources = by(rows, "name", "source");
        for file in self.packaged() {
            assert_eq!(sources[&file.name], file.url);
        }
        for row in rows.as_array().unwrap() {
            let content = content(package, row);
            assert_eq!(sha256(&content), text(row, "sha256"), "{row:#}");
        }
    }

    /// The files that are in the package, and not beside it.
    fn packaged(&self) -> impl Iterator<Item = &File> {
        self.named.files.iter().filter(|file| !file.carry)
    }

    fn check_charts(&self, rows: &Value, package: &Package) {
        let found = by(rows, "name", "version");
        let wanted = self.named.charts.iter().map(|chart| (chart.name.clone(), chart.version.clone())).collect();
        assert_eq!(found, wanted);
        for row in rows.as_array().unwrap() {
            let served = &self.stand_ins.charts[&(text(row, "name"), text(row, "version"))];
            let chart = self.named.charts.iter().find(|chart| chart.name == row["name"]).unwrap();
            assert_eq!(row.get("artifact").is_none(), chart.is_deployed(), "{row:#}");
            if !chart.is_deployed() {
                assert!(package.bytes(&text(row, "path")) == *served, "{row:#}");
                check_artifact(row, package);
                continue;
            }
            assert!(content(package, row) == *served, "{row:#}");
            assert_eq!(row["values_files"], u64::from(chart.values.is_some()), "{row:#}");
        }
    }

    fn check_repositories(&self, rows: &Value, package: &Package) {
        let found: BTreeMap<String, String> = by(rows, "source", "commit");
        let wanted = self.named.repositories.iter().map(|repository| {
            let source = [Some(repository.url.as_str()), repository.reference.as_deref()];
            let source = source.into_iter().flatten().collect::<Vec<_>>().join("@");
            (source, self.stand_ins.commits[&repository.url].clone())
        });
        assert_eq!(found, wanted.collect());
        for row in rows.as_array().unwrap() {
            let unpacked = tempfile::tempdir().unwrap();
            tar::Archive::new(package.bytes(&tar_of(row))).unpack(unpacked.path()).unwrap();
            let clone = unpacked.path().join(text(row, "path"));
            assert_eq!(row["files"], files_below(&clone), "{row:#}");
            let log = tools::run(git().current_dir(&clone).args(["log", "--format=%H", "--all"]));
            let commits: Vec<&str> = log.lines().collect();
            assert_eq!((commits[0], commits.len()), (text(row, "commit").as_str(), 2), "with its history: {row:#}");
        }
    }

    /// What the receiving side sees.
    fn check_report(&self) {
        let package = self.project.package().display().to_string();
        let report = self.project.run(&["verify", "--json", &package]).success().json();
        assert_eq!(report["sound"], true);
        assert_eq!(
            (report["checksum_file"].as_str(), report["artifact_manifest"].as_str()),
            (Some("matches"), Some("matches"))
        );
        let named = self.named;
        let counts = [
            ("images", named.images.len()),
            ("files", self.packaged().count()),
            ("charts", named.charts.len()),
            ("repositories", named.repositories.len()),
        ];
        for (section, count) in counts {
            assert!(count > 0, "the default configuration names no {section}");
            assert_eq!(report["identity"][section], count, "{section}: {report:#}");
        }
    }
}

/// What is not installed is an image of its component, and a chart to whoever
/// pulls it.
fn check_artifact(row: &Value, package: &Package) {
    let (reference, manifest) = (text(row, "artifact"), text(row, "manifest"));
    assert!(reference.contains(&format!("/charts/{}:{}", text(row, "name"), text(row, "version"))), "{row:#}");
    assert!(package.text("zarf.yaml").contains(&format!("\"{reference}\"")), "{row:#}");
    assert!(package.text("images/index.json").contains(&reference), "{row:#}");
    let manifest = package.text(&format!("images/blobs/{}", manifest.replace(':', "/")));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json");
    assert_eq!(manifest["layers"][0]["digest"], format!("sha256:{}", text(row, "sha256")));
}

/// With the lock and the store nobody is asked, and the bytes are the same.
fn builds_again_from_the_store(project: &Project) {
    let before = Package::open(&project.package()).sha256;
    project.run(&["build"]).success().prints(&["Nothing to do"]);
    project.run(&["build", "--clean", "--locked", "--offline"]).success();
    assert_eq!(Package::open(&project.package()).sha256, before);
}

/// Two fields of every row; the first is different in each.
fn by(rows: &Value, key: &str, value: &str) -> BTreeMap<String, String> {
    let rows = rows.as_array().unwrap();
    let pairs: BTreeMap<String, String> = rows.iter().map(|row| (text(row, key), text(row, value))).collect();
    assert_eq!(pairs.len(), rows.len(), "a `{key}` is there twice: {rows:#?}");
    pairs
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_else(|| panic!("no {field} in {row:#}")).to_owned()
}

fn tar_of(row: &Value) -> String {
    format!("components/{}.tar", text(row, "component"))
}

/// The file of a component that a row is about.
fn content(package: &Package, row: &Value) -> Vec<u8> {
    let mut entries = package.nested(&tar_of(row));
    entries.remove(&text(row, "path")).unwrap_or_else(|| panic!("{row:#} is not there"))
}

/// Every file below a folder.
fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// Each kind of thing is in the default configuration, and each architecture
/// has files of its own.
#[test]
fn the_default_configuration_names_every_kind() {
    let project = Project::bare();
    project.run(&["init"]).success();
    project.run(&["build", "--step", "manifests"]).success();
    let components = project.read("config/components.yaml");
    let urls = ARCHITECTURES.map(|architecture| {
        let named = Named::read(&components, architecture);
        let kinds = [named.files.len(), named.images.len(), named.charts.len(), named.repositories.len()];
        assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
        named.files.into_iter().map(|file| file.url).collect::<BTreeSet<_>>()
    });
    // The source of a release is for all of them.
    let of_all: Vec<&String> = urls[0].intersection(&urls[1]).collect();
    assert!(of_all.iter().all(|url| url.contains("/archive/")), "{of_all:?}");
}
