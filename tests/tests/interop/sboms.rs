//! Our SBOMs beside those of syft, and under the eyes of grype.
//!
//! Images are made here, of what package managers write: the status of Debian,
//! also that of this machine, Alpine's database, the databases of RPM as real
//! systems left them, packages of pip and npm, Go's binaries, archives of Java.
//! Of what syft finds in them at least 99 in 100 are in our documents, and
//! nothing that is not in them is in ours. grype reads the package as it is,
//! without a network, and finds what was planted.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use airgap_tests::digest::sha256;
use airgap_tests::images::{Blob, Image, Layer, OCI_LAYER_GZIP};
use airgap_tests::package::Package;
use airgap_tests::project::{self, Project};
use airgap_tests::registry::Registry;
use serde_json::Value;

use crate::programs::{Program, built};

/// What both read.
const KINDS: [&str; 8] = ["deb", "apk", "rpm", "go-module", "python", "npm", "java-archive", "jenkins-plugin"];

/// What the database of vulnerabilities says, and what it says it of.
const PLANTED: [(&str, &str); 6] = [
    ("CVE-0001-DEB", "libc6"),
    ("CVE-0002-APK", "libcrypto3"),
    ("GHSA-0003-npm", "lodash"),
    ("GHSA-0004-python", "six"),
    ("GHSA-0005-java", "planted"),
    ("GHSA-0006-go", "golang.org/x/crypto"),
];

/// Measures and asks.
///
/// # Panics
/// Where something is not found, or found that is not there.
pub(crate) fn run() {
    if !folder().join("bin/syft").is_file() {
        return println!("SKIPPED: syft and grype were not built here");
    }
    let registry = Registry::start();
    let images = images();
    let mut project = Project::new().with_registry(&registry.host());
    for (seed, (name, layers)) in images.iter().enumerate() {
        let layers: Vec<Layer> = layers.iter().map(layer).collect();
        registry.push(&format!("{name}:1"), &Image::new(seed as u64, &layers));
        project = project.with_image(registry.reference(&format!("{name}:1")));
    }
    project.build().success();
    let ours = Package::open(&project.package()).nested("sboms.tar");
    let syft = Program::find("syft")
        .with_env("SYFT_REGISTRY_INSECURE_USE_HTTP", "true")
        .with_env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    let (mut there, mut found) = (0, 0);
    for (name, _) in &images {
        let text = syft.run(&[
            "scan",
            "-q",
            "-o",
            "syft-json",
            &format!("registry:{}", registry.reference(&format!("{name}:1"))),
        ]);
        let theirs = packages(text.as_bytes());
        let (_, own) = ours
            .iter()
            .find(|(file, _)| file.ends_with(&format!("_{name}_1.json")))
            .expect("a document for each image");
        let own = packages(own);
        let invented: Vec<_> = own.difference(&theirs).collect();
        let missing: Vec<_> = theirs.difference(&own).collect();
        println!("  {name}: {} of {} packages of syft", theirs.len() - missing.len(), theirs.len());
        assert!(invented.is_empty(), "{name}: syft does not know {invented:?}");
        assert!(!theirs.is_empty(), "{name}: syft finds nothing");
        missing.iter().take(10).for_each(|package| println!("    lacks {package:?}"));
        there += theirs.len();
        found += theirs.len() - missing.len();
    }
    println!("  {found} of {there} packages that syft finds are in our SBOMs");
    assert!(found * 100 >= there * 99);
    grype(&project);
}

/// Out of the package itself, and out of one document.
fn grype(project: &Project) {
    let grype = ["GRYPE_DB_AUTO_UPDATE", "GRYPE_DB_VALIDATE_AGE", "GRYPE_CHECK_FOR_APP_UPDATE"]
        .iter()
        .fold(Program::find("grype"), |grype, name| grype.with_env(name, "false"));
    let database = grype.folder();
    Program::find("grype-database").run(&[&database.display().to_string()]);
    grype.run(&["db", "import", &database.join("vulnerability.db").display().to_string()]);
    let package = project.package().display().to_string();
    let report: Value =
        serde_json::from_str(&grype.run(&["-q", "-o", "json", &format!("zarf:{package}")])).expect("a report");
    let matches = report["matches"].as_array().expect("a list");
    for (id, name) in PLANTED {
        let is_found = |found: &&Value| found["vulnerability"]["id"] == id && found["artifact"]["name"] == name;
        let found = matches.iter().find(is_found).unwrap_or_else(|| panic!("{id} in {name}: {matches:?}"));
        assert!(
            found["artifact"]["annotations"]["zarf-sbom-source"][0].as_str().is_some_and(|image| image.ends_with(":1"))
        );
    }
    let out = grype.folder();
    project.run(&["inspect", "sbom", &package, "--output", &out.display().to_string()]).success();
    let document = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with("_npm_1.json"));
    let said = grype.run(&["-q", "-o", "json", &format!("sbom:{}", document.expect("a document").display())]);
    assert!(said.contains("GHSA-0003-npm"), "{said}");
    // SPDX is read as well.
    let spdx = grype.run(&["-q", "-o", "json", &format!("sbom:{package}.spdx.json")]);
    assert!(spdx.contains("GHSA-0003-npm"), "{spdx}");
}

fn folder() -> PathBuf {
    project::target_folder().parent().expect("target/ has profiles").join("interop")
}

fn packages(document: &[u8]) -> BTreeSet<(String, String, String)> {
    let document: Value = serde_json::from_slice(document).expect("a document is JSON");
    let text = |artifact: &Value, key: &str| artifact[key].as_str().unwrap_or_default().to_owned();
    let artifacts = document["artifacts"].as_array().expect("a list").iter();
    let known = artifacts.filter(|artifact| KINDS.contains(&artifact["type"].as_str().unwrap_or_default()));
    known.map(|a| (text(a, "type"), text(a, "name"), text(a, "version"))).collect()
}

type Files = Vec<(String, Vec<u8>)>;

/// Name, and the files of each layer.
fn images() -> Vec<(&'static str, Vec<Files>)> {
    let mut images = vec![
        ("debian", debian()),
        (
            "distroless",
            vec![vec![
                release("debian", "12"),
                file("var/lib/dpkg/status.d/tzdata", DISTROLESS),
                file("var/lib/dpkg/status.d/tzdata.md5sums", "0 x\n"),
            ]],
        ),
        ("alpine", vec![vec![release("alpine", "3.18.4"), ("lib/apk/db/installed".to_owned(), alpine())]]),
        (
            "npm",
            vec![vec![
                file("app/node_modules/lodash/package.json", r#"{"name": "lodash", "version": "4.17.20"}"#),
                file(
                    "app/node_modules/@babel/core/package.json",
                    r#"{"name": "@babel/core", "version": "7.1.0", "license": "MIT"}"#,
                ),
                file("app/node_modules/nameless/package.json", r#"{"type": "module"}"#),
            ]],
        ),
        (
            "pip",
            vec![vec![
                release("debian", "12"),
                file(
                    "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA",
                    "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\n",
                ),
                file("usr/lib/python3/dist-packages/six-1.16.0.dist-info/RECORD", "six.py,,\n"),
                file(
                    "usr/lib/python3/dist-packages/Old.Egg-2.0.egg-info/PKG-INFO",
                    "Metadata-Version: 1.1\nName: Old.Egg\nVersion: 2.0\n\n",
                ),
                file(
                    "usr/lib/python3/dist-packages/flat-0.1.egg-info",
                    "Metadata-Version: 1.1\nName: flat\nVersion: 0.1\n\n",
                ),
            ]],
        ),
        ("java", vec![java()]),
        (
            "go",
            vec![
                vec![release("debian", "12"), ("usr/bin/crane".to_owned(), program("crane"))],
                vec![
                    ("usr/bin/oras".to_owned(), program("oras")),
                    ("usr/bin/true".to_owned(), std::fs::read("/bin/true").unwrap_or_default()),
                ],
            ],
        ),
    ];
    for (name, database, path, id, version) in [
        ("fedora", "fedora35/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite", "fedora", "35"),
        ("rocky", "rockylinux-9/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite", "rocky", "9.0"),
        ("sles", "sle15-bci/Packages.db", "usr/lib/sysimage/rpm/Packages.db", "sles", "15.3"),
        ("centos", "centos7-plain/Packages", "var/lib/rpm/Packages", "centos", "7"),
        ("ubi", "ubi8-s390x/Packages", "var/lib/rpm/Packages", "rhel", "8.4"),
    ] {
        let bytes = std::fs::read(folder().join("rpm").join(database)).expect("build.sh copies the databases");
        images.push((name, vec![vec![release(id, version), (path.to_owned(), bytes)]]));
    }
    images
}

const DISTROLESS: &str = "Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\nMaintainer: x <x@y>\n\n";

fn file(path: &str, text: &str) -> (String, Vec<u8>) {
    (path.to_owned(), text.as_bytes().to_vec())
}

fn release(id: &str, version: &str) -> (String, Vec<u8>) {
    file("etc/os-release", &format!("ID={id}\nVERSION_ID=\"{version}\"\nPRETTY_NAME=\"{id} {version}\"\n"))
}

fn program(name: &str) -> Vec<u8> {
    std::fs::read(built(name)).expect("a program can be read")
}

/// Ours, and on top of it that of this machine where it has one.
fn debian() -> Vec<Files> {
    let mut status = String::from(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u3\n\n",
    );
    for index in 0..300 {
        let source = if index % 3 == 0 { format!("Source: source{index} ({index}.1)\n") } else { String::new() };
        let state = if index % 50 == 7 { "deinstall ok config-files" } else { "install ok installed" };
        status.push_str(&format!(
            "Package: lib{index}\nStatus: {state}\nArchitecture: amd64\n{source}Version: 1:{index}.0~rc1-{index}+b1\nDescription: a\n b\n\n"
        ));
    }
    let own = std::fs::read("/var/lib/dpkg/status").unwrap_or_default();
    let mut above = vec![file("usr/share/.wh.gone", "")];
    if !own.is_empty() {
        status.push_str(&String::from_utf8_lossy(&own));
        status = status.replace("\n\n\n", "\n\n");
    }
    above.push(("var/lib/dpkg/status".to_owned(), status.into_bytes()));
    let gone = file("usr/share/gone/package.json", r#"{"name": "gone", "version": "1.0.0"}"#);
    vec![
        vec![
            release("debian", "12"),
            file("var/lib/dpkg/status", "Package: old\nVersion: 1\nArchitecture: all\n\n"),
            gone,
        ],
        above,
    ]
}

fn alpine() -> Vec<u8> {
    let mut database = String::new();
    for (name, version, origin) in
        [("musl", "1.2.4-r2", "musl"), ("busybox", "1.36.1-r5", "busybox"), ("libcrypto3", "3.1.4-r1", "openssl")]
    {
        database.push_str(&format!(
            "C:Q1x=\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:2\nT:text\nU:https://x\nL:MIT\no:{origin}\nm:M <m@x>\nt:1\nc:abc\nD:so:libc.musl-x86_64.so.1\nF:lib\nR:x\na:0:0:755\nZ:Q1y=\n\n"
        ));
    }
    database.into_bytes()
}

fn java() -> Files {
    let manifest = ("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nImplementation-Version: 9\r\n\r\n");
    let planted =
        ("META-INF/maven/org.example/planted/pom.properties", "groupId=org.example\nartifactId=planted\nversion=1.0\n");
    let shaded =
        ("META-INF/maven/org.other/shaded/pom.properties", "groupId=org.other\nartifactId=shaded\nversion=3.1\n");
    let jar = stored(&[
        (manifest.0, manifest.1.as_bytes()),
        (planted.0, planted.1.as_bytes()),
        (shaded.0, shaded.1.as_bytes()),
    ]);
    let inner = stored(&[(manifest.0, manifest.1.as_bytes())]);
    let war = stored(&[
        (manifest.0, manifest.1.as_bytes()),
        ("WEB-INF/lib/guava-31.1-jre.jar", &inner),
        ("WEB-INF/lib/log4j-1.2-api-2.17.jar", &inner),
    ]);
    vec![
        ("app/planted-1.0.jar".to_owned(), jar),
        ("app/site.war".to_owned(), war),
        ("app/tool_2.0.jar".to_owned(), inner),
        ("app/classes.jar".to_owned(), stored(&[("a.class", b"\xca\xfe\xba\xbe")])),
    ]
}

/// A zip whose members are as they are.
fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let size = (content.len() as u32).to_le_bytes();
        let sizes = [&crc.sum().to_le_bytes()[..], &size, &size, &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
        let at = bytes.len() as u32;
        bytes.extend([&b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0"[..], &sizes, name.as_bytes(), content].concat());
        list.extend(
            [&b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\x21\0"[..], &sizes, &[0; 10], &at.to_le_bytes(), name.as_bytes()]
                .concat(),
        );
    }
    let at = bytes.len() as u32;
    let count = (members.len() as u16).to_le_bytes();
    let end =
        [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &(list.len() as u32).to_le_bytes(), &at.to_le_bytes(), &[0, 0]]
            .concat();
    [bytes, list, end].concat()
}

/// A layer with these files and the folders above them, as builders write it.
fn layer(files: &Files) -> Layer {
    let mut archive = tar::Builder::new(Vec::new());
    let mut folders = BTreeSet::new();
    for (path, _) in files {
        let above = Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        folders.extend(above.map(Path::to_owned));
    }
    for folder in &folders {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        archive.append_data(&mut header, format!("{}/", folder.display()), std::io::empty()).expect("memory takes it");
    }
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, path, content.as_slice()).expect("memory takes it");
    }
    let tar = archive.into_inner().expect("memory takes it");
    let diff_id = format!("sha256:{}", sha256(&tar));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar).expect("memory takes it");
    Layer { blob: Blob::new(OCI_LAYER_GZIP, encoder.finish().expect("memory takes it")), diff_id }
}
