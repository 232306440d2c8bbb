//! Guards the forms of zarf.yaml in a package: what Zarf before and after 1.0
//! reads, over one set of files.

use std::io::Read as _;
use std::path::Path;

use airgap_tests::charts::{chart, index};
use airgap_tests::file_server::FileServer;
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use serde_json::{Value, json};

/// A chart with values, written as `format`.
fn built(format: &str) -> (FileServer, Project) {
    let server = FileServer::start();
    let archive = chart("app", "1.1.0", &[("values.yaml", "a: 1\n")]);
    server.put("/charts/index.yaml", index(&[("app", "1.1.0", "app-1.1.0.tgz", &archive)]));
    server.put("/charts/app-1.1.0.tgz", archive);
    let project = Project::new()
        .with_file_server(&server.host())
        .with_settings(|settings| settings["package"]["format"] = json!(format))
        .with_chart(json!({
            "name": "app", "repo": server.url("/charts"), "version": "^1", "namespace": "apps",
            "values": ["config/app.yaml"],
        }));
    project.write("config/app.yaml", "b: 2\n");
    project.run(&["build"]).success();
    (server, project)
}

fn verified(project: &Project) -> Value {
    let run = project.run(&["verify", "--json", &project.package().display().to_string()]).success();
    serde_json::from_str(&run.stdout).expect("one line of JSON")
}

#[test]
fn one_set_of_files_serves_both_documents() {
    let (_server, project) = built("both");
    let package = Package::open(&project.package());
    let text = package.text("zarf.yaml");
    let documents: Vec<&str> = text.split("---\n").collect();
    let [alpha, beta] = documents.as_slice() else { panic!("two documents are expected: {text}") };
    assert!(alpha.contains("apiVersion: \"zarf.dev/v1alpha1\"") && alpha.contains("required: true"), "{alpha}");
    assert!(beta.contains("apiVersion: \"zarf.dev/v1beta1\"") && !beta.contains("optional"), "{beta}");
    assert!(!alpha.contains("version: \"1.1.0\"") && alpha.contains("version: \"v0.65.0\""), "{alpha}");
    assert!(beta.contains("local:\n") && beta.contains("version: \"v0.65.0\""), "{beta}");
    let members = package.nested("components/app.tar");
    assert!(members.contains_key("app/charts/app.tgz") && members.contains_key("app/values/app-0"), "{members:?}");

    let report = verified(&project);
    assert_eq!(report["definition"]["documents"], json!(["zarf.dev/v1alpha1", "zarf.dev/v1beta1"]));
    assert_eq!(report["definition"]["zarf_from"], "0.65.0");
    assert_eq!(report["definition"]["outdated"], false);
    // Nothing else loses the version.
    let list: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).expect("JSON");
    assert_eq!(
        (&list["charts"][0]["version"], &list["charts"][0]["path"]),
        (&json!("1.1.0"), &json!("app/charts/app.tgz"))
    );
    assert!(project.read("config/airgap.lock").contains("version: \"1.1.0\""));
}

#[test]
fn one_document_is_written_where_one_is_wanted() {
    let (_server, project) = built("v1beta1");
    let text = Package::unchecked(&project.package()).text("zarf.yaml");
    assert!(text.starts_with("apiVersion: \"zarf.dev/v1beta1\"\n") && !text.contains("v1alpha1"), "{text}");
    assert_eq!(verified(&project)["definition"]["zarf_from"], "0.84.0");

    let (_server, project) = built("v1alpha1");
    let package = Package::open(&project.package());
    assert!(!package.text("zarf.yaml").contains("v1beta1"));
    assert!(package.nested("components/app.tar").contains_key("app/charts/app-1.1.0.tgz"));
    assert_eq!(verified(&project)["definition"]["outdated"], true);
    let run = project.run(&["verify", &project.package().display().to_string()]).success();
    assert!(run.stdout.contains("v1alpha1 alone ends in May 2027"), "{run}");

    let project = project.with_settings(|settings| settings["package"]["format"] = json!("v2"));
    project.run(&["build"]).code(3).says(&["settings.yaml", "format", "v1beta1"]);
}

/// A package of Zarf itself with both documents, with another zarf.yaml.
fn with_definition(project: &Project, change: fn(&str, &str) -> String) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden-beta").join(GOLDEN);
    let tar = zstd::decode_all(std::fs::read(fixture).unwrap().as_slice()).unwrap();
    let mut packed = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (mut header, mut bytes) = (entry.header().clone(), Vec::new());
        entry.read_to_end(&mut bytes).unwrap();
        if entry.path().unwrap().ends_with("zarf.yaml") {
            let text = String::from_utf8(bytes).unwrap();
            let (alpha, beta) = text.split_once("---\n").unwrap();
            bytes = change(alpha, beta).into_bytes();
        }
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        packed.append(&header, bytes.as_slice()).unwrap();
    }
    let bytes = zstd::encode_all(packed.into_inner().unwrap().as_slice(), 1).unwrap();
    project.write(GOLDEN, bytes);
}

const GOLDEN: &str = "zarf-package-golden-beta-amd64-1.0.0.tar.zst";

/// What no two sites could agree on ends with 4, and is named.
#[test]
fn a_definition_that_is_none_is_named_and_ends_with_4() {
    type Change = fn(&str, &str) -> String;
    let project = Project::bare();
    with_definition(&project, |alpha, beta| format!("{alpha}---\n{beta}"));
    project.run(&["verify", GOLDEN]).success();
    let cases: [(Change, &str); 5] = [
        (|alpha, beta| format!("{alpha}---\n{}", beta.replace("version: 1.0.0", "version: 1.0.1")), "metadata.version"),
        (|alpha, _| format!("{alpha}---\n{alpha}"), "two documents of zarf.dev/v1alpha1"),
        (|alpha, beta| format!("{alpha}---\n{beta}---\n{beta}"), "two documents of zarf.dev/v1beta1"),
        (|_, beta| beta.replace("v1beta1", "v2"), "`zarf.dev/v2`"),
        (|_, beta| beta.replace("  aggregateChecksum:", "  other:"), "lacks `build.aggregateChecksum`"),
    ];
    for (change, named) in cases {
        with_definition(&project, change);
        project.run(&["verify", GOLDEN]).code(4).prints(&[named]).says(&["damaged or incomplete"]);
        let report = project.run(&["verify", "--json", GOLDEN]).code(4).json();
        assert_eq!(report["sound"], false, "{named}");
    }
}
