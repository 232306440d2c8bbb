//! Guards that the SBOMs say what is in the package: what is installed in an
//! image as it is seen from above, each layer read once over all builds, the
//! same bits everywhere, and nothing left out in silence.

use std::collections::BTreeSet;

use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::images::{Blob, Image, Index, Layer, OCI_LAYER, Platform, tar_of};
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::Value;

const STATUS: &[u8] =
    b"Package: libc6\nStatus: install ok installed\nSource: glibc (2.36-9)\nVersion: 2.36-9+deb12u3\n\
    Architecture: amd64\n\nPackage: bash\nStatus: install ok installed\nVersion: 5.2.15-2\nArchitecture: amd64\n";
const RELEASE: &[u8] = b"ID=debian\nVERSION_ID=12\n";
const LODASH: &[u8] = br#"{"name": "lodash", "version": "4.17.20", "license": "MIT"}"#;
const SIX: &[u8] = b"Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\nLicense: MIT\n\nText\n";

/// A layer that is a plain tar of these files.
fn layer(files: &[(&str, &[u8])]) -> Layer {
    layer_with(tar_of(files))
}

fn layer_with(tar: Vec<u8>) -> Layer {
    let diff_id = format!("sha256:{}", sha256(&tar));
    Layer { blob: Blob::new(OCI_LAYER, tar), diff_id }
}

fn base() -> Layer {
    layer(&[
        ("etc/os-release", RELEASE),
        ("var/lib/dpkg/status", STATUS),
        ("srv/node_modules/lodash/package.json", LODASH),
        ("srv/gone/node_modules/lodash/package.json", LODASH),
        ("usr/lib/python3/six-1.16.0.dist-info/METADATA", SIX),
    ])
}

fn project(registry: &Registry, names: &[&str]) -> Project {
    names.iter().fold(Project::new().with_registry(&registry.host()), |project, name| {
        project.with_image(registry.reference(name))
    })
}

/// The document about an image, or about the files of a component.
fn document(project: &Project, stem: &str) -> Value {
    let members = Package::open(&project.package()).nested("sboms.tar");
    let names: Vec<&String> = members.keys().collect();
    let found = members.iter().find(|(name, _)| name.ends_with(&format!("{stem}.json")));
    let (_, text) = found.unwrap_or_else(|| panic!("a document {stem} among {names:?}"));
    serde_json::from_slice(text).expect("a document is JSON")
}

fn packages(document: &Value) -> BTreeSet<(String, String, String)> {
    let text = |artifact: &Value, key: &str| artifact[key].as_str().unwrap().to_owned();
    let artifacts = document["artifacts"].as_array().unwrap();
    artifacts.iter().map(|a| (text(a, "type"), text(a, "name"), text(a, "version"))).collect()
}

fn named(expected: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

/// What a layer above removes or replaces is not in the image.
#[test]
fn an_image_holds_what_is_seen_from_above() {
    let registry = Registry::start();
    let above = layer(&[("srv/.wh.gone", b""), ("usr/lib/python3/six-1.16.0.dist-info/.wh.METADATA", b"")]);
    let status = &STATUS[..STATUS.windows(2).position(|pair| pair == b"\n\n").unwrap() + 1];
    let replaced = layer(&[("var/lib/dpkg/status", status), ("srv/.wh..wh..opq", b"")]);
    registry.push("base:1", &Image::new(1, &[base()]));
    registry.push("above:1", &Image::new(2, &[base(), above]));
    registry.push("replaced:1", &Image::new(3, &[base(), replaced]));
    let project = project(&registry, &["base:1", "above:1", "replaced:1"]);
    project.build().success().says(&["3 of 5 layers read"]);
    let debian = [("deb", "libc6", "2.36-9+deb12u3"), ("deb", "bash", "5.2.15-2")];
    let (lodash, six) = (("npm", "lodash", "4.17.20"), ("python", "six", "1.16.0"));
    let base = document(&project, "_base_1");
    assert_eq!(packages(&base), named(&[&debian[..], &[lodash, six]].concat()));
    assert_eq!(base["artifacts"].as_array().unwrap().len(), 5, "two folders have lodash");
    let libc = base["artifacts"].as_array().unwrap().iter().find(|artifact| artifact["name"] == "libc6").unwrap();
    let address = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u3?arch=amd64&distro=debian-12&upstream=glibc%402.36-9";
    assert_eq!((libc["purl"].as_str().unwrap(), libc["metadata"]["source"].as_str().unwrap()), (address, "glibc"));
    let above = document(&project, "_above_1");
    assert_eq!(packages(&above), named(&[&debian[..], &[lodash]].concat()));
    assert_eq!(above["artifacts"].as_array().unwrap().len(), 3);
    assert_eq!(packages(&document(&project, "_replaced_1")), named(&[debian[0], six]));
    project.run(&["verify", &project.package().display().to_string()]).success().prints(&["sound"]);
}

/// Each platform of an index has a document of its own.
#[test]
fn an_index_has_a_document_for_each_platform() {
    let registry = Registry::start();
    let of = |seed, platform| Image::build(seed, &[base()], airgap_tests::images::Dialect::Oci, platform);
    let index = Index::with_attestations(&[of(1, Platform::amd64()), of(2, Platform::arm64())]);
    registry.push_index("both:1", &index);
    let pinned = format!("{}@{}", registry.reference("both"), index.manifest.digest);
    let project = Project::new().with_registry(&registry.host()).with_image(pinned);
    project.build().success();
    let names: Vec<String> = Package::open(&project.package()).nested("sboms.tar").into_keys().collect();
    let ends = ["-linux-amd64.json", "-linux-arm64-v8.json"];
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(ends.iter().all(|end| names.iter().any(|name| name.ends_with(end))), "{names:?}");
    project.run(&["verify", &project.package().display().to_string()]).success();
}

/// A layer is read once, whatever is built later, and the bits are the same.
#[test]
fn a_layer_is_read_once_and_the_documents_are_the_same_everywhere() {
    let registry = Registry::start();
    registry.push("a:1", &Image::new(1, &[base()]));
    registry.push("b:1", &Image::new(2, &[base(), layer(&[("x/package.json", LODASH)])]));
    let names = ["a:1", "b:1"];
    let epoch = ["SOURCE_DATE_EPOCH", "1700000000"];
    let first = project(&registry, &names).with_env(epoch[0], epoch[1]);
    first.build().success().says(&["2 of 3 layers read"]);
    first.run(&["build", "--clean"]).success().says(&["0 of 3 layers read"]);
    let second = project(&registry, &names).with_env(epoch[0], epoch[1]);
    second.build().success();
    let beside = |project: &Project, end: &str| std::fs::read(format!("{}{end}", project.package().display())).unwrap();
    for end in ["", ".spdx.json", ".spdx.tar"] {
        assert!(beside(&first, end) == beside(&second, end), "{end} differs");
    }
    let whole: Value = serde_json::from_slice(&beside(&first, ".spdx.json")).unwrap();
    assert_eq!(
        (whole["spdxVersion"].as_str(), whole["creationInfo"]["created"].as_str()),
        (Some("SPDX-2.3"), Some("2023-11-14T22:13:20Z"))
    );
    let plugins = whole["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["SPDXID"].as_str().is_some_and(|id| id.starts_with("SPDXRef-Plugin-")));
    assert_eq!(plugins.count(), 7, "every plugin of the pipeline is a package");
    // Notes go with the layers that they are on.
    let kept = |project: &Project| walk(&project.path("build/store/read")).len();
    assert_eq!(kept(&first), 2);
    let components = first.read("config/components.yaml");
    let fewer: Vec<&str> = components.lines().filter(|line| !line.contains("/b:1")).collect();
    first.write("config/components.yaml", fewer.join("\n"));
    first.run(&["build", "--clean"]).success();
    first.run(&["gc"]).success();
    assert_eq!(kept(&first), 1);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// What cannot be read is said with image, layer and file, and the rest is
/// there.
#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_there() {
    let registry = Registry::start();
    let mut cut = tar_of(&[("etc/os-release", RELEASE), ("var/lib/dpkg/status", STATUS), ("big", &[7; 9000])]);
    cut.truncate(cut.len() - 5000);
    let looping = {
        let mut database = vec![0u8; 1024];
        database[..16].copy_from_slice(b"SQLite format 3\0");
        database[16..18].copy_from_slice(&512u16.to_be_bytes());
        database[28..32].copy_from_slice(&2u32.to_be_bytes());
        database[100] = 5;
        database[108..112].copy_from_slice(&1u32.to_be_bytes());
        database
    };
    let odd = layer(&[
        ("var/lib/rpm/rpmdb.sqlite", looping.as_slice()),
        ("app/broken.jar", b"no archive"),
        ("app/package.json", b"{"),
        ("lib/node_modules/lodash/package.json", LODASH),
    ]);
    let images = [
        ("text:1", vec![layer_with(b"not a tar ".repeat(1000))]),
        ("cut:1", vec![layer_with(cut)]),
        ("odd:1", vec![odd]),
        ("good:1", vec![base()]),
    ];
    for (seed, (name, layers)) in images.iter().enumerate() {
        registry.push(name, &Image::new(seed as u64, layers));
    }
    let project = project(&registry, &["text:1", "cut:1", "odd:1", "good:1"]);
    let run = project.build().success();
    let run = run.says(&[
        &format!("image `{}`, layer {}:", registry.reference("text:1"), images[0].1[0].blob.digest),
        "`/var/lib/rpm/rpmdb.sqlite`: a page of it leads back to itself",
        "`/app/broken.jar`: it is no zip",
        "`/app/package.json`: it is no JSON",
    ]);
    drop(run);
    let debian = named(&[("deb", "libc6", "2.36-9+deb12u3"), ("deb", "bash", "5.2.15-2")]);
    assert_eq!(packages(&document(&project, "_cut_1")), debian);
    assert_eq!(packages(&document(&project, "_odd_1")), named(&[("npm", "lodash", "4.17.20")]));
    let unknowns = |stem: &str| {
        let document = document(&project, stem);
        let files = document["files"].as_array().cloned().unwrap_or_default();
        files.iter().map(|file| file["unknowns"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(unknowns("_text_1")[0].contains("can not be read"), "{:?}", unknowns("_text_1"));
    assert_eq!((unknowns("_cut_1").len(), unknowns("_odd_1").len(), unknowns("_good_1").len()), (1, 3, 0));
    let whole = std::fs::read_to_string(format!("{}.spdx.json", project.package().display())).unwrap();
    assert!(whole.contains("not read: ") && whole.contains("/app/broken.jar"));
    // What was not read to its end is tried again.
    project.run(&["build", "--clean"]).success().says(&["2 of 4 layers read"]);
}

/// A link is followed inside of the image, and nowhere else.
#[test]
fn links_are_followed_inside_of_the_image() {
    let registry = Registry::start();
    let mut archive = tar::Builder::new(tar_of(&[("opt/system", RELEASE), ("opt/db", STATUS)]));
    archive.get_mut().truncate(4 * 512);
    let far = "/d".repeat(600);
    for (path, target) in [
        ("etc/os-release", "../opt/system"),
        // Longer than what the host looks for.
        ("far/lib/apk/db/installed", far.as_str()),
        ("var/lib/dpkg/status", "/../../opt/db"),
        ("lib/apk/db/installed", "installed"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, path, target).unwrap();
    }
    registry.push("links:1", &Image::new(1, &[layer_with(archive.into_inner().unwrap())]));
    let project = project(&registry, &["links:1"]);
    project.build().success().says(&["`/far/lib/apk/db/installed`", "a link to a path of 1199 bytes"]);
    let document = document(&project, "_links_1");
    assert_eq!(document["distro"]["id"], "debian");
    assert_eq!(document["artifacts"].as_array().unwrap().len(), 2);
}

/// Files are packages like any other, and what lies in them is found.
#[test]
fn files_are_described_and_what_is_in_them() {
    let files = FileServer::start();
    let archive = tar_of(&[("pkg/package.json", LODASH)]);
    let project = Project::new().with_file_server(&files.host());
    let project = project.with_tool("bundle.tar", &files.put("/bundle.tar", archive.clone()), None);
    project.build().success();
    let document = document(&project, "zarf-component-tools");
    assert_eq!(packages(&document), named(&[("npm", "lodash", "4.17.20")]));
    let whole = std::fs::read_to_string(format!("{}.spdx.json", project.package().display())).unwrap();
    let whole: Value = serde_json::from_str(&whole).unwrap();
    let found = whole["packages"].as_array().unwrap().iter().find(|package| package["name"] == "bundle.tar").unwrap();
    assert_eq!(found["checksums"][0]["checksumValue"], sha256(&archive).as_str());
}

#[test]
fn sboms_are_taken_out_and_left_out() {
    let registry = Registry::start();
    registry.push("a:1", &Image::new(1, &[base()]));
    let with = project(&registry, &["a:1"]);
    with.build().success();
    let package = with.package().display().to_string();
    with.run(&["inspect", &package]).success().prints(&["sboms.tar, 1 document"]);
    let taken = with.run(&["inspect", "sbom", &package, "--output", "out", "--json"]).success().json();
    let name = taken["documents"][0].as_str().unwrap();
    let document: Value = serde_json::from_str(&with.read(&format!("out/{name}"))).unwrap();
    assert_eq!(document["source"]["name"], registry.reference("a:1").as_str());

    let without = project(&registry, &["a:1"]).with_settings(|settings| settings["package"]["sbom"] = false.into());
    without.build().success().says(&["none: `package.sbom` is off"]);
    let package = without.package().display().to_string();
    assert!(!Package::open(&without.package()).has("sboms.tar"));
    assert!(!without.path(&format!("{package}.spdx.json")).exists());
    without.run(&["verify", &package]).success().prints(&["the package carries no SBOM"]);
    without.run(&["inspect", "sbom", &package]).code(4).says(&["carries no SBOM", "`package.sbom`"]);
}
