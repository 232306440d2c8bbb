//! Guards the forms of zarf.yaml in a package: what Zarf before and after 1.0
//! reads, over one set of files.

use std::io::Read as _;
use std::path::Path;

use airgap_tests::authored::author;
use airgap_tests::charts::{chart, index};
use airgap_tests::digest;
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

type Change = fn(&str, &str) -> String;

/// What no two sites could agree on, and what Zarf would not even read, ends
/// with 4, and is named.
#[test]
fn a_definition_that_is_none_is_named_and_ends_with_4() {
    let project = Project::bare();
    with_definition(&project, |alpha, beta| format!("{alpha}---\n{beta}"));
    project.run(&["verify", GOLDEN]).success();
    let contradictions: [(Change, &str); 6] = [
        (|alpha, beta| format!("{alpha}---\n{}", beta.replace("version: 1.0.0", "version: 1.0.1")), "metadata.version"),
        (
            |alpha, beta| format!("{alpha}---\n{}", beta.replace("  aggregateChecksum:", "  x:")),
            "build.aggregateChecksum",
        ),
        (
            |alpha, beta| format!("{alpha}---\n{}", beta.replace("            condition: exists\n", "")),
            "wait.cluster.condition",
        ),
        (
            |alpha, beta| format!("{alpha}---\n{}", beta.replace("metadata:", "metadata:\n  <<: {description: other}")),
            "metadata.description",
        ),
        (|alpha, beta| format!("{alpha}documentation: {{guide: guide.md}}\n---\n{beta}"), "`guide`"),
        (|_, beta| beta.replace("  aggregateChecksum:", "  other:"), "lacks `build.aggregateChecksum`"),
    ];
    for (change, named) in contradictions {
        with_definition(&project, change);
        project.run(&["verify", GOLDEN]).code(4).prints(&[named]).says(&["damaged or incomplete"]);
        let report = project.run(&["verify", "--json", GOLDEN]).code(4).json();
        assert_eq!(report["sound"], false, "{named}");
        project.run(&["inspect", GOLDEN]).success();
    }
    let unreadable: [(Change, &str); 10] = [
        (|alpha, _| format!("{alpha}---\n{alpha}"), "two documents of zarf.dev/v1alpha1"),
        (|alpha, beta| format!("{alpha}---\n{beta}---\n{beta}"), "two documents of zarf.dev/v1beta1"),
        (|_, beta| beta.replace("v1beta1", "v2"), "`zarf.dev/v2`"),
        (|_, beta| beta.replace("ZarfPackageConfig", "ZarfComponentConfig"), "ZarfComponentConfig"),
        (|_, _| String::new(), "no package definition"),
        (|alpha, beta| format!("---\n---\n{alpha}---\n{beta}"), "begins with an empty document"),
        (|alpha, beta| format!("%YAML 1.2\n---\n{alpha}---\n{beta}"), "directive"),
        (|alpha, beta| format!("{alpha}---\n{beta}---\nnull\n"), "no mapping"),
        (|alpha, beta| format!("{alpha}---\n{beta}---\nx: {}\n", "[".repeat(1_000_000)), "nested deeper"),
        (|alpha, beta| format!("{alpha}---\n{beta}# {}\n", "x".repeat(2 << 20)), "zarf.yaml"),
    ];
    for (change, named) in unreadable {
        with_definition(&project, change);
        project.run(&["verify", GOLDEN]).code(4).prints(&[named]);
        project.run(&["inspect", GOLDEN]).code(4).says(&[named]);
        project.run(&["diff", GOLDEN, GOLDEN]).code(4).says(&[named]);
    }
}

/// What Zarf reads, however it is written.
#[test]
fn a_definition_is_read_in_any_spelling() {
    let project = Project::bare();
    let spellings: [(Change, Value); 6] = [
        (|alpha, beta| format!("\u{feff}{alpha}---\n{beta}").replace('\n', "\r\n"), json!([ALPHA, BETA])),
        (|alpha, beta| format!("# about\n---\n{alpha}...\n---\n---\n{beta}---\n---\n"), json!([ALPHA, BETA])),
        (|alpha, beta| format!("{beta}---\n{alpha}"), json!([BETA, ALPHA])),
        (|_, beta| beta.to_owned(), json!([BETA])),
        (|alpha, _| alpha.replace("apiVersion: zarf.dev/v1alpha1\n", ""), json!([ALPHA])),
        (|alpha, beta| format!("x: &x {{amd64: 1}}\ny: *x\n{alpha}---\n{beta}"), json!([ALPHA, BETA])),
    ];
    for (change, documents) in spellings {
        with_definition(&project, change);
        let report = project.run(&["verify", "--json", GOLDEN]).success().json();
        assert_eq!(report["definition"]["documents"], documents);
        assert_eq!(report["remarks"], json!(["the package carries no SBOM"]));
    }
    // Of a later Zarf: nobody can compare it, and that is told.
    with_definition(&project, |alpha, beta| format!("{alpha}---\n{beta}---\napiVersion: zarf.dev/v2\n"));
    project.run(&["verify", GOLDEN]).success().prints(&["zarf.dev/v2", "nothing was compared", "sound and complete"]);
}

const ALPHA: &str = "zarf.dev/v1alpha1";
const BETA: &str = "zarf.dev/v1beta1";

/// Charts whose files are not named by their versions.
#[test]
fn charts_keep_name_version_digest_and_origin() {
    let server = FileServer::start();
    let charts = [("app", "1.1.0"), ("web", "2.0.0")];
    let archives = charts.map(|(name, version)| (name, version, chart(name, version, &[])));
    let mut project = Project::new().with_file_server(&server.host());
    for (name, version, archive) in &archives {
        let file = format!("{name}-{version}.tgz");
        server.put(&format!("/{name}/index.yaml"), index(&[(name, version, &file, archive)]));
        server.put(&format!("/{name}/{file}"), archive.clone());
        let repository = server.url(&format!("/{name}"));
        project =
            project.with_chart(json!({ "name": name, "repo": repository, "version": version, "namespace": "apps" }));
    }
    project.run(&["build"]).success();

    let package = project.package().display().to_string();
    let list: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).expect("JSON");
    let told = project.run(&["inspect", "--json", &package]).success().json();
    let lock = project.read("config/airgap.lock");
    for (at, (name, version, archive)) in archives.iter().enumerate() {
        let (path, sha256) = (format!("{name}/charts/{name}.tgz"), digest::sha256(archive));
        for row in [&list["charts"][at], &told["charts"][at]] {
            assert_eq!((&row["name"], &row["version"]), (&json!(name), &json!(version)), "{row}");
            assert_eq!((&row["path"], &row["sha256"]), (&json!(path), &json!(sha256)), "{row}");
        }
        let origin = server.url(&format!("/{name}/{name}-{version}.tgz"));
        assert_eq!(list["charts"][at]["source"], json!(origin));
        assert!(lock.contains(&format!("version: \"{version}\"")), "{lock}");
        assert!(lock.contains(&sha256) && lock.contains(&origin), "{lock}");
    }
    project.run(&["verify", "--lock", "config/airgap.lock", &package]).success();

    // A list that says another version of the same bytes.
    let name = project.package().file_name().unwrap().to_string_lossy().into_owned();
    let forged = project.read(&format!("dist/{name}.manifest.json")).replace("\"2.0.0\"", "\"2.0.1\"");
    project.write(&format!("dist/{name}.manifest.json"), forged);
    project.run(&["verify", &package]).code(4).prints(&["web/charts/web.tgz", "`2.0.0`", "`2.0.1`"]);
}

/// A definition in v1beta1 that somebody else wrote; one chart lies in two
/// components.
#[test]
fn a_definition_in_v1beta1_is_packaged() {
    let server = FileServer::start();
    let archive = chart("app", "1.1.0", &[]);
    server.put("/charts/index.yaml", index(&[("app", "1.1.0", "app-1.1.0.tgz", &archive)]));
    server.put("/charts/app-1.1.0.tgz", archive);
    let repository = server.url("/charts");
    let project = Project::new().with_file_server(&server.host()).with_chart(json!({
        "name": "app", "repo": repository, "version": "1.1.0", "namespace": "apps",
    }));
    let component = |name: &str, more: &str| {
        format!(
            "- name: {name}\n  charts: [{{name: app, helmRepository: {{url: '{repository}', version: 1.1.0}}, namespace: {name}}}]\n{more}"
        )
    };
    let definition = |more: &str| {
        let head = "apiVersion: zarf.dev/v1beta1\nkind: ZarfPackageConfig\nmetadata: {name: written, version: 1.0.0}\ncomponents:\n";
        format!("{head}{}{}", component("one", more), component("two", "  optional: true\n"))
    };
    author(&project, &json!({ "zarf.yaml": definition("") }));
    project.run(&["build"]).success();
    let report = verified(&project);
    assert_eq!(report["definition"]["documents"], json!([ALPHA, BETA]));
    let text = Package::open(&project.package()).text("zarf.yaml");
    let (alpha, beta) = text.split_once("---\n").unwrap();
    assert_eq!((alpha.matches("required: true").count(), beta.matches("optional: true").count()), (1, 1), "{text}");
    let list: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).expect("JSON");
    for (at, component) in ["one", "two"].iter().enumerate() {
        let row = &list["charts"][at];
        assert_eq!((&row["version"], &row["component"]), (&json!("1.1.0"), &json!(component)), "{row}");
        assert!(row["source"].as_str().unwrap().starts_with(&repository), "{row}");
    }

    author(&project, &json!({ "zarf.yaml": definition("  images: [{name: x, source: daemon}]\n") }));
    project.run(&["build"]).code(1).says(&["components.one.images", "v1beta1", "zarf.dev/v1alpha1"]);
}

/// What keeps a package from next year's Zarf is told: each field, when, and
/// what to do.
#[test]
fn what_only_v1alpha1_can_say_is_told_by_field() {
    let component = "name: a, default: true, group: g, only: {cluster: {distros: [k3s]}}, actions: {onDeploy: {before: \
        [{cmd: x, setVariable: V}], after: [{cmd: y, setVariables: [{name: W}], setValues: [{key: k, value: 1}]}]}}";
    let definition = format!(
        "kind: ZarfPackageConfig\nmetadata: {{name: old, version: 1.0.0, yolo: true}}\nvariables: [{{name: V}}]\n\
         constants: [{{name: C, value: c}}]\ndocumentation: {{readme: README.md}}\ncomponents: [{{{component}}}]\n"
    );
    let fields = [
        "`constants`",
        "`variables`",
        "`metadata.yolo`",
        "`components.a.default`",
        "`components.a.group`",
        "`components.a.only.cluster.distros`",
        "`components.a.actions.onDeploy.setVariable`",
        "`components.a.actions.onDeploy.setVariables`",
        "`components.a.actions.onDeploy.setValues.value`",
        "`documentation.readme`",
    ];
    let project = Project::new();
    author(&project, &json!({ "zarf.yaml": definition, "README.md": "read me\n" }));
    let run = project.run(&["build"]).success().says(&fields);
    run.says(&["v1alpha1 alone", "February 2027", "March", "May", "do without it", "package.format"]);
    assert_eq!(verified(&project)["definition"]["outdated"], true);
    // Whoever deploys migrates `setVariable`, and would drop it were it listed.
    let packaged = Package::unchecked(&project.package()).text("zarf.yaml");
    assert!(packaged.contains("scripts-to-actions") && !packaged.contains("pluralize-set-variable"), "{packaged}");
    let project = project.with_settings(|settings| settings["package"]["format"] = json!("v1beta1"));
    project.run(&["build"]).code(1).says(&fields).says(&["package.format: both"]);
}
