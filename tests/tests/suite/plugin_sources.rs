//! Guards how third-party plugins come into a project: from a file, a server or
//! a registry, with the signature of whom the user trusts, under limits of their
//! own; and that nothing of them changes, or gets more, unseen.

use std::os::unix::fs::symlink;

use airgap_tests::digest::sha256;
use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::http::Content;
use airgap_tests::images::{Blob, Image, Index};
use airgap_tests::project::{self, Project, Run};
use airgap_tests::registry::{Auth, Options, Redirects, Registry};
use airgap_tests::step_component::{self, Said};
use airgap_tests::tools;
use base::digest::Digest;
use serde_json::{Value, json};
use signing::statement::{Statement, Subject};
use signing::{Bundle, Password, PrivateKey};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The key of the fixtures, which cosign made.
pub(crate) fn key() -> PrivateKey {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signing/cosign.key");
    PrivateKey::from_pem(&std::fs::read(path).unwrap(), &Password::new(&b"the password"[..])).unwrap()
}

/// Another one than `cosign.pub`.
fn stranger() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

fn made(said: Said) -> Vec<u8> {
    step_component::component(&said, Vec::new())
}

fn version(version: &str) -> Said {
    Said { version: version.into(), ..Said::default() }
}

/// A step that greets; None where the guests were not built.
fn hello() -> Option<Vec<u8>> {
    guest("hello")
}

fn guest(name: &str) -> Option<Vec<u8>> {
    let path = project::target_folder().parent().unwrap().join(format!("test-guests/{name}.wasm"));
    if !path.is_file() {
        tools::skipped(&format!("{} was not built (`make plugins` does)", path.display()));
        return None;
    }
    Some(std::fs::read(path).unwrap())
}

/// A project that may ask these servers, with the public key.
fn asking(hosts: &[&str]) -> Project {
    let project = Project::new();
    project.write("config/cosign.pub", key().public().to_pem());
    hosts.iter().fold(project, |project, host| project.with_registry(host).with_file_server(host))
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

/// As `wkg oci push` does.
fn push(registry: &Registry, name: &str, component: &[u8]) -> Blob {
    let layer = Blob::new("application/wasm", component.to_vec());
    artifact(registry, name, "application/vnd.wasm.config.v0+json", &[layer.descriptor()], &[layer], &json!({}))
}

fn artifact(registry: &Registry, name: &str, config: &str, layers: &[Value], blobs: &[Blob], more: &Value) -> Blob {
    let (repository, tag) = name.split_once(':').map_or((name, None), |(repository, tag)| (repository, Some(tag)));
    let config = Blob::new(config, br#"{"os":"wasip2","architecture":"wasm"}"#.to_vec());
    let mut manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers });
    for (name, value) in more.as_object().unwrap() {
        manifest[name] = value.clone();
    }
    for blob in blobs.iter().chain([&config]) {
        registry.push_blob(repository, &blob.digest, Content::Memory(blob.bytes.clone()));
    }
    let manifest = Blob::new(MANIFEST, manifest.to_string().into_bytes());
    registry.push_manifest(repository, tag, &manifest);
    manifest
}

/// As `cosign sign` does: a bundle that refers to the manifest.
fn sign(registry: &Registry, repository: &str, manifest: &Blob, keys: &[PrivateKey]) {
    let signed: Vec<Value> =
        keys.iter().map(|key| referrer(registry, repository, manifest, key).descriptor()).collect();
    let list = json!({ "schemaVersion": 2, "manifests": signed });
    let list = Blob::new("application/vnd.oci.image.index.v1+json", list.to_string().into_bytes());
    registry.push_manifest(repository, Some(&format!("sha256-{}", digest(&manifest.digest).hex())), &list);
}

fn referrer(registry: &Registry, repository: &str, manifest: &Blob, key: &PrivateKey) -> Blob {
    let about = Subject::new("", &digest(&manifest.digest));
    let statement = Statement::new(about, "https://sigstore.dev/cosign/sign/v1", json!({}));
    let layer = Blob::new(BUNDLE, Bundle::of_statement(key, &statement).unwrap().to_json().unwrap());
    let more = json!({ "artifactType": BUNDLE, "subject": manifest.descriptor() });
    artifact(registry, repository, "application/vnd.oci.empty.v1+json", &[layer.descriptor()], &[layer], &more)
}

/// As cosign did before, under a tag.
fn sign_legacy(registry: &Registry, repository: &str, manifest: &Blob, key: &PrivateKey) {
    let text = json!({
        "critical": {
            "identity": { "docker-reference": "" }, "image": { "docker-manifest-digest": manifest.digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let layer = Blob::new(SIMPLE_SIGNING, text.to_string().into_bytes());
    let bundle = Bundle::of_message(key, &Digest::of(&layer.bytes)).unwrap().to_json().unwrap();
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    let mut named = layer.descriptor();
    named["annotations"] = json!({ "dev.cosignproject.cosign/signature": bundle["messageSignature"]["signature"] });
    let name = format!("{repository}:sha256-{}.sig", digest(&manifest.digest).hex());
    artifact(registry, &name, "application/vnd.oci.image.config.v1+json", &[named], &[layer], &json!({}));
}

/// As `cosign sign-blob --bundle` does.
pub(crate) fn bundle(component: &[u8], key: &PrivateKey) -> Vec<u8> {
    Bundle::of_message(key, &Digest::of(component)).unwrap().to_json().unwrap()
}

fn pinned(project: &Project, name: &str) -> Value {
    let listed = project.run(&["plugin", "list", "--json"]).success().json();
    let plugins = listed["plugins"].as_array().unwrap();
    plugins.iter().find(|plugin| plugin["name"] == name).unwrap_or_else(|| panic!("{listed:#}")).clone()
}

/// A refusal leaves nothing behind.
#[track_caller]
fn leaves_nothing(project: &Project, run: &Run) {
    assert!(!project.exists("config/plugins.lock"), "{run}");
    let there = std::fs::read_dir(project.path("plugins")).into_iter().flatten().count();
    assert_eq!(there, 0, "{run}");
}

#[test]
fn a_component_comes_from_an_address_into_the_project() {
    let (server, registry) = (FileServer::start(), Registry::start());
    let (one, other) = (made(version("1.0.0")), made(Said { name: "other".into(), ..version("2.0.0") }));
    let url = server.put("/plugins/one.wasm?v=1", one.clone()).replace("?v=1", "");
    server.put("/plugins/one.wasm", one.clone());
    let manifest = push(&registry, "team/other:2", &other);
    let project = asking(&[&server.host(), &registry.host()]);

    project.run(&["plugin", "add", &url]).success().prints(&["pinned made 1.0.0", &sha256(&one), "came from", &url]);
    let named = format!("oci://{}", registry.reference("team/other:2"));
    let added = project.run(&["plugin", "add", &named, "--json"]).success().json();
    assert_eq!((&added["event"], &added["path"]), (&json!("plugin-added"), &json!("plugins/other.wasm")), "{added:#}");
    assert_eq!(std::fs::read(project.path("plugins/made.wasm")).unwrap(), one);
    assert_eq!(std::fs::read(project.path("plugins/other.wasm")).unwrap(), other);
    let lock = project.read("config/plugins.lock");
    for part in [&url, &named, &manifest.digest, "version: 2.0.0"] {
        assert!(lock.contains(part), "{part}: {lock}");
    }
    let shown = pinned(&project, "other");
    assert_eq!((&shown["source"], &shown["manifest"]), (&json!(named), &json!(manifest.digest)));
    let inspected = project.run(&["plugin", "inspect", "other", "--json"]).success().json();
    assert_eq!((&inspected["source"], &inspected["signer"]), (&json!(named), &Value::Null));
    // Nothing is left of the store that it came through, and no build was begun.
    assert!(!project.exists("build"));
}

/// The host's network, with all that it does for downloads.
#[test]
fn credentials_mirrors_and_resuming_serve_plugins_as_well() {
    let auth = Auth::Basic(tools::USER.into(), tools::PASSWORD.into());
    let registry = Registry::with(Options { auth, ..Options::default() });
    let component = made(Said { schema: format!("{{\"x\": \"{}\"}}", "y".repeat(100_000)), ..version("1.0.0") });
    push(&registry, "mirror/team/made:1", &component);
    let project = asking(&[&registry.host()]).with_settings(|settings| {
        settings["registries"]["plugins.example.com"]["mirrors"] =
            json!([{ "location": format!("{}/mirror", registry.host()), "plain_http": true }]);
        settings["registries"]["plugins.example.com"]["mirrors_only"] = json!(true);
    });
    let add = ["plugin", "add", "oci://plugins.example.com/team/made:1"];
    let run = project.run(&add);
    leaves_nothing(&project, &run.code(1).says(&["401"]));
    project.write("home/.docker/config.json", tools::docker_config(&registry.host(), tools::PASSWORD));
    registry.fault(On::get("/blobs/").without_range().once(), Fault::Cut { after: 60_000 });
    project.run(&add).success().prints(&["pinned made 1.0.0", "came from oci://plugins.example.com/team/made:1"]);
    let blobs = registry.requests("GET", "/blobs/");
    assert!(blobs.iter().any(|request| request.header("range").is_some()), "{}", registry.render_log());
    assert_eq!(std::fs::read(project.path("plugins/made.wasm")).unwrap(), component);
}

/// With the key alone, wherever the plugin and its signature come from; and
/// again from the lock, without anybody.
#[test]
fn a_signature_is_checked_with_the_key_and_kept() {
    let (server, registry) = (FileServer::start(), Registry::start());
    let component = made(version("1.0.0"));
    let project = asking(&[&server.host(), &registry.host()]);
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("made.wasm");
    std::fs::write(&file, &component).unwrap();
    std::fs::write(outside.path().join("made.wasm.sigstore.json"), bundle(&component, &key())).unwrap();
    let url = server.put("/made.wasm", component.clone());
    server.put("/made.wasm.bundle", bundle(&component, &key()));
    let [new, old] = ["team/new:1", "team/old:1"].map(|name| push(&registry, name, &component));
    sign(&registry, "team/new", &new, &[stranger(), key()]);
    sign_legacy(&registry, "team/old", &old, &key());
    project.write("config/stranger.pub", stranger().public().to_pem());
    let signer = key().public().hint();
    let sources = [
        file.display().to_string(),
        url,
        format!("oci://{}", registry.reference("team/new:1")),
        format!("oci://{}", registry.reference("team/old:1")),
    ];
    for source in &sources {
        let add = ["plugin", "add", source.as_str(), "--key"];
        let refused = project.run(&[&add[..], &["config/stranger.pub"]].concat()).code(1);
        leaves_nothing(&project, &refused.says(&["signature", "hint:"]));
        project.run(&[&add[..], &["config/cosign.pub"]].concat()).success().prints(&["is signed by the key", &signer]);
        assert_eq!(pinned(&project, "made")["signer"], signer);
        let verify = ["plugin", "list", "--verify", "--key"];
        project.run(&[&verify[..], &["config/cosign.pub"]].concat()).success().prints(&["✓ made", &signer]);
        let verified = project.run(&[&verify[..], &["config/stranger.pub", "--json"]].concat()).code(4).json();
        assert_eq!(verified["sound"], false, "{verified:#}");
        let unsigned = made(version("1.0.1"));
        project.write("unsigned.wasm", &unsigned);
        let replace = ["plugin", "add", "unsigned.wasm", "--replace"];
        project.run(&replace).code(3).says(&["`made` is signed by the key", "no signature was checked", "--key"]);
        project.remove("plugins/made.wasm");
        project.run(&["plugin", "list", "--verify"]).code(4).prints(&["✗ made", "there is no file plugins/made.wasm"]);
        project.run(&["plugin", "remove", "made"]).success();
        project.remove("config/plugins.lock");
    }
}

#[test]
fn what_is_signed_by_nobody_or_about_something_else_is_refused() {
    let (server, registry) = (FileServer::start(), Registry::start());
    let (component, another) = (made(version("1.0.0")), made(version("6.6.6")));
    let project = asking(&[&server.host(), &registry.host()]);
    let bare = server.put("/bare.wasm", component.clone());
    let moved = server.put("/moved.wasm", component.clone());
    server.put("/moved.wasm.sigstore.json", bundle(&another, &key()));
    let broken = server.put("/broken.wasm", component.clone());
    server.put("/broken.wasm.sigstore.json", "{\"mediaType\": \"text/html\"}");
    let huge = server.put("/huge.wasm", component.clone());
    server.put("/huge.wasm.sigstore.json", "x".repeat(1 << 20));
    push(&registry, "team/bare:1", &component);
    // The signature of one manifest, about another one.
    let good = push(&registry, "team/moved:1", &component);
    let other = push(&registry, "team/moved:2", &another);
    sign(&registry, "team/moved", &good, &[key()]);
    let list = registry_manifest(&registry, &format!("team/moved:sha256-{}", digest(&good.digest).hex()));
    let tag = format!("sha256-{}", digest(&other.digest).hex());
    registry.push_manifest("team/moved", Some(&tag), &Blob::new("application/vnd.oci.image.index.v1+json", list));
    for (source, says) in [
        (bare, "is not signed"),
        (moved, "about other bytes"),
        (broken, "no Sigstore bundle"),
        (huge, "bytes"),
        (format!("oci://{}", registry.reference("team/bare:1")), "is not signed"),
        (format!("oci://{}", registry.reference("team/moved:2")), "about another image"),
    ] {
        let run = project.run(&["plugin", "add", &source, "--key", "config/cosign.pub"]).code(1);
        leaves_nothing(&project, &run.says(&[says]));
    }
    let file = project.path("bare.wasm");
    std::fs::write(&file, &component).unwrap();
    let run = project.run(&["plugin", "add", "bare.wasm", "--key", "config/cosign.pub"]).code(1);
    leaves_nothing(&project, &run.says(&["neither `bare.wasm.sigstore.json`", "cosign sign-blob"]));
    let run = project.run(&["plugin", "add", "bare.wasm", "--key", "config/settings.yaml"]).code(2);
    leaves_nothing(&project, &run.says(&["config/settings.yaml", "no key"]));
}

/// Whoever has a registry may list signatures without end: a few are tried.
#[test]
fn a_registry_with_signatures_without_end_is_not_asked_for_all() {
    let registry = Registry::start();
    let manifest = push(&registry, "team/made:1", &made(version("1.0.0")));
    let config = "application/vnd.oci.empty.v1+json";
    let layers: Vec<Blob> =
        (0..500).map(|number| Blob::new(BUNDLE, format!("{{\"n\": {number}}}").into_bytes())).collect();
    let named: Vec<Value> = layers.iter().map(Blob::descriptor).collect();
    let mut signed: Vec<Value> = Vec::new();
    for number in 0..60 {
        let more = json!({ "annotations": { "n": number.to_string() }, "subject": manifest.descriptor() });
        let blobs = if number == 0 { &layers[..] } else { &[] };
        signed.push(artifact(&registry, "team/made", config, &named, blobs, &more).descriptor());
    }
    let list = |signed: &[Value]| {
        let list = json!({ "schemaVersion": 2, "manifests": signed });
        let list = Blob::new("application/vnd.oci.image.index.v1+json", list.to_string().into_bytes());
        registry.push_manifest("team/made", Some(&format!("sha256-{}", digest(&manifest.digest).hex())), &list);
    };
    list(&signed);
    let project = asking(&[&registry.host()]);
    let add = ["plugin", "add", &format!("oci://{}", registry.reference("team/made:1")), "--key", "config/cosign.pub"];
    let run = project.run(&add).code(1);
    leaves_nothing(&project, &run.says(&["no signature of", "holds", "no Sigstore bundle"]));
    // The same sixteen each time, and they are asked for once.
    assert!(registry.requests("GET", "/blobs/").len() <= 16, "{}", registry.requests("GET", "/blobs/").len());
    assert!(registry.requests("GET", "/manifests/sha256:").len() <= 50);
    let many: Vec<Value> = (0..300).map(|number| json!({ "mediaType": MANIFEST, "digest": format!("sha256:{}", sha256(format!("{number}").as_bytes())), "size": 1 })).collect();
    list(&many);
    let run = project.run(&add).code(1);
    leaves_nothing(&project, &run.says(&["more than 200 manifests"]));
}

/// A registry may keep its blobs elsewhere. Behind the wall that is a port that
/// somebody named.
#[test]
fn a_component_may_lie_where_its_registry_sends() {
    let options = Options { redirects: Some(Redirects::default()), ..Options::default() };
    let registry = Registry::with(options);
    push(&registry, "team/made:1", &made(version("1.0.0")));
    let project = asking(&[&registry.host()]);
    let source = format!("oci://{}", registry.reference("team/made:1"));
    let run = project.run(&["plugin", "add", &source]);
    if run.status.success() {
        tools::skipped("the wall of `plugin add`: this kernel closes no ports");
    } else {
        leaves_nothing(&project, &run.code(1).says(&["the second wall lets no connection", "`security.ports`"]));
    }
    let port: u16 = registry.storage().host().rsplit(':').next().unwrap().parse().unwrap();
    let project = project.with_settings(|settings| settings["security"]["ports"] = json!([port]));
    project.run(&["plugin", "add", &source, "--replace"]).success().prints(&["pinned made 1.0.0"]);
}

/// The manifest under a name, as it is served.
fn registry_manifest(registry: &Registry, name: &str) -> Vec<u8> {
    let (repository, tag) = name.split_once(':').unwrap();
    let url = format!("http://{}/v2/{repository}/manifests/{tag}", registry.host());
    let output = std::process::Command::new("curl").args(["-sf", &url]).output().expect("curl runs");
    assert!(output.status.success(), "{url}");
    output.stdout
}

/// A project with something to package that lies in it, and a step that greets.
fn greeting(project: Project) -> Project {
    project.write("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    project.write("charts/web/templates/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n");
    project.write("config/pipeline.yaml", STEP);
    project.with_chart(json!({ "name": "web", "repo": "./charts/web", "version": "1.0.0" }))
}

const STEP: &str = "additional_steps:\n  - {id: greeting, run: {plugin: hello}, configuration: {name: world}}\n";

/// `security.require_signed_plugins`: no pin, and no build, without the
/// signature of a key that the settings name.
#[test]
fn what_must_be_signed_does_not_run_unsigned() {
    let Some(component) = hello() else { return };
    let project = asking(&[]);
    project.write("config/stranger.pub", stranger().public().to_pem());
    project.write("plugins/hello.wasm", &component);
    let required = |keys: Value| {
        move |settings: &mut Value| {
            settings["security"] = json!({ "require_signed_plugins": true, "plugin_keys": keys })
        }
    };
    let project = project.with_settings(required(json!([])));
    project.run(&["build"]).code(3).says(&["config/settings.yaml:", "no key is named", "`plugin_keys`"]);

    // Pinned before anybody asked for a signature.
    let project = greeting(project.with_settings(|settings| settings["security"] = json!({})));
    project.run(&["plugin", "add", "plugins/hello.wasm"]).success();
    let project = project.with_settings(required(json!(["cosign.pub"])));
    let refusal =
        ["config/plugins.lock:", "`hello` is not signed", "`security.require_signed_plugins`", "--replace --key"];
    project.run(&["build"]).code(3).says(&refusal);
    assert!(!project.exists("build/state.json"));
    project.run(&["plugin", "inspect", "hello"]).code(3).says(&["is not signed"]);
    let add = ["plugin", "add", "plugins/hello.wasm", "--replace"];
    project.run(&add).code(1).says(&["is not signed", "plugins/hello.wasm.sigstore.json"]);

    // By a key that is nobody's here.
    let other = stranger();
    project.write("config/other.pub", other.public().to_pem());
    project.write("plugins/hello.wasm.sigstore.json", bundle(&component, &other));
    project
        .run(&[&add[..], &["--key", "config/other.pub"]].concat())
        .code(3)
        .says(&["signed by the key", &other.public().hint()]);

    project.write("plugins/hello.wasm.sigstore.json", bundle(&component, &key()));
    project.run(&add).success().prints(&["is signed by the key"]);
    project.run(&["build"]).success();
    let provenance = format!("{}.intoto.json", project.package().display());
    let statement: Value = serde_json::from_slice(&std::fs::read(provenance).unwrap()).unwrap();
    let steps = statement["predicate"]["buildDefinition"]["internalParameters"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["id"] == "greeting").unwrap();
    assert_eq!((&step["signer"], &step["source"]), (&json!(key().public().hint()), &json!("file:plugins/hello.wasm")));

    // By hand: another digest beside the signature, and none.
    let lock = project.read("config/plugins.lock");
    project.write("config/plugins.lock", lock.replace(&sha256(&component), &sha256(b"other")));
    project.run(&["build"]).code(3).says(&["config/plugins.lock:8:", "plugins.hello.signature", "about other bytes"]);
    let unsigned = lock.split("    signature:").next().unwrap();
    project.write("config/plugins.lock", unsigned);
    project.run(&["build"]).code(3).says(&["is not signed"]);
    project.run(&["build", "--offline", "--plan"]).code(3).says(&["is not signed"]);
}

/// What a new version changes is on the screen, and what it may is what was
/// granted.
#[test]
fn another_version_is_told_apart_and_gets_no_more_than_before() {
    let registry = Registry::start();
    let name = "team/made:latest";
    let old = Said {
        wants: vec!["https://one.example/".into()],
        schema: "{\"properties\": {\"a\": {\"type\": \"string\"}}}".into(),
        ..version("1.0.0")
    };
    push(&registry, name, &made(old.clone()));
    let project = asking(&[&registry.host()]);
    let source = format!("oci://{}", registry.reference(name));
    let add = ["plugin", "add", &source, "--grant-fetch", "https://one.example/", "--limit", "memory_mib=64"];
    project.run(&add).success();
    let update = ["plugin", "update", "made"];
    project.run(&["plugin", "update"]).success().prints(&["made 1.0.0 is what", &source]);
    let before = project.read("config/plugins.lock");

    let said = Said {
        wants: vec!["https://one.example/".into(), "https://two.example/".into()],
        schema: "{\"properties\": {\"a\": {\"type\": \"array\"}}}".into(),
        ..version("1.1.0")
    };
    let new = made(said);
    push(&registry, name, &new);
    let refused = project.run(&update).code(3);
    refused.says(&["wants `fetch: https://two.example/`", "`--grant-fetch https://two.example/`", "`--keep-grants`"]);
    assert_eq!(project.read("config/plugins.lock"), before);
    project.run(&[&add[..], &["--replace"]].concat()).code(3).says(&["https://two.example/"]);

    let run = project.run(&[&update[..], &["--keep-grants"]].concat()).success();
    run.prints(&[
        "updated made to 1.1.0",
        "version: 1.0.0 → 1.1.0",
        "wants: + fetch: https://two.example/",
        "schema: properties.a.type: string → array",
    ]);
    let lock = project.read("config/plugins.lock");
    assert!(
        lock.contains("memory_mib: 64") && lock.contains("https://one.example/") && !lock.contains("two"),
        "{lock}"
    );
    assert_eq!(std::fs::read(project.path("plugins/made.wasm")).unwrap(), new);

    push(&registry, name, &made(version("1.2.0")));
    let updated = project.run(&["plugin", "update", "--json"]).success().json_lines().pop().unwrap();
    let plugin = &updated["plugins"][0];
    assert_eq!(
        (&plugin["changed"], &plugin["before"]),
        (&json!(true), &json!(format!("sha256:{}", sha256(&new)))),
        "{updated:#}"
    );
    assert!(plugin["differences"].as_array().unwrap().iter().any(|change| change["what"] == "wants"), "{updated:#}");
    // What is granted and not wanted any more is said.
    let run = project.run(&[&update[..], &["--grant-fetch", "https://three.example/"]].concat()).success();
    run.says(&["warning: `fetch: https://three.example/` is granted, and the plugin does not say that it wants it"]);

    // Another plugin under the old name.
    push(&registry, name, &made(Said { name: "another".into(), ..version("2.0.0") }));
    project.run(&update).code(3).says(&["calls itself `another`", "`made`"]);
    project.run(&["plugin", "update", "gone"]).code(3).says(&["no plugin `gone` is pinned; there are: made"]);
    project.run(&["plugin", "update", "--grant-directories"]).code(2).says(&["none is named"]);
    project.write("plugins/file.wasm", made(Said { name: "file".into(), ..version("1") }));
    project.run(&["plugin", "add", "plugins/file.wasm"]).success();
    project.run(&["plugin", "update", "file"]).code(3).says(&["came from a file", "--replace"]);
}

/// A project that was cloned without its components gets back what is pinned,
/// and nothing else.
#[test]
fn what_is_pinned_comes_back_and_other_bytes_do_not() {
    let (server, registry) = (FileServer::start(), Registry::start());
    let component = made(version("1.0.0"));
    let url = server.put("/made.wasm", component.clone());
    push(&registry, "team/other:1", &made(Said { name: "other".into(), ..version("1.0.0") }));
    let project = asking(&[&server.host(), &registry.host()]);
    project.run(&["plugin", "add", &url]).success();
    project.run(&["plugin", "add", &format!("oci://{}", registry.reference("team/other:1"))]).success();
    let lock = project.read("config/plugins.lock");
    std::fs::remove_dir_all(project.path("plugins")).unwrap();
    // A tag that moved is no matter: the manifest is pinned.
    push(&registry, "team/other:1", &made(Said { name: "other".into(), ..version("6.6.6") }));
    project.run(&["plugin", "update", "--locked"]).success().prints(&["brought back made", "brought back other"]);
    project.run(&["plugin", "list", "--verify"]).success().prints(&["✓ made", "✓ other"]);
    assert_eq!(project.read("config/plugins.lock"), lock);

    server.put("/made.wasm", made(version("6.6.6")));
    project.remove("plugins/made.wasm");
    let run = project.run(&["plugin", "update", "made", "--locked"]).code(1);
    run.says(&["`made` of config/plugins.lock", "answers other bytes", "plugin update"]);
    assert!(!project.exists("plugins/made.wasm") && project.read("config/plugins.lock") == lock);
    let digest = sha256(&component);
    let run = project.run(&["plugin", "add", &url, "--replace", "--digest", &format!("sha256:{digest}")]).code(1);
    run.says(&[&digest]);
    assert_eq!(project.read("config/plugins.lock"), lock);
}

/// A plugin's own limits hold, and never above those of the settings.
#[test]
fn limits_of_its_own_hold_below_those_of_the_settings() {
    for (name, limit, says) in [
        ("allocates", "memory_mib=32", "`limits.memory_mib` of the plugin in config/plugins.lock"),
        ("allocates", "memory_mib=65536", "`plugins.memory_mib`"),
        ("loops", "time_limit=1", "`limits.time_limit` of the plugin"),
        ("floods_bytes", "output_mib=2", "`limits.output_mib` of the plugin"),
        ("floods_files", "output_files=50", "`limits.output_files` of the plugin"),
        ("loops", "step_limit=1", "`limits.step_limit` of the plugin"),
    ] {
        let Some(component) = guest(name) else { return };
        let project = Project::new().with_settings(|settings| {
            settings["plugins"] = json!({ "memory_mib": 64, "output_mib": 8, "output_files": 100 });
        });
        project.write("plugins/guest.wasm", component);
        project.run(&["plugin", "add", "plugins/guest.wasm", "--name", "guest", "--limit", limit]).success();
        project.write(
            "config/pipeline.yaml",
            json!({ "additional_steps": [{ "id": "guest", "run": { "plugin": "guest" }, "on_failure": "roll-back" }] })
                .to_string(),
        );
        project.run(&["build"]).code(1).says(&["guest", says]);
        let (key, value) = limit.split_once('=').unwrap();
        assert_eq!(pinned(&project, "guest")["limits"][key], value.parse::<u64>().unwrap());
    }
    let project = Project::new();
    project.write("plugins/made.wasm", made(version("1")));
    for bad in ["memory_mib", "memory_mib=0", "requests=5", "memory_mib=lots"] {
        project.run(&["plugin", "add", "plugins/made.wasm", "--limit", bad]).code(2).says(&["--limit", "hint:"]);
    }
}

/// Says what was found and what to do, and leaves nothing.
#[test]
fn what_is_no_plugin_is_refused_wherever_it_comes_from() {
    let (server, registry) = (FileServer::start(), Registry::start());
    let component = made(version("1.0.0"));
    let project = asking(&[&server.host(), &registry.host()]);
    let Some(another_world) = guest("another_world") else { return };
    let of_another_major = replaced(&component, b"step@1.1.0", b"step@2.1.0");
    let serve = |path: &str, content: &[u8]| server.put(path, content.to_vec());
    let named = |name: &str| format!("oci://{}", registry.reference(name));
    let wasm = |component: &[u8]| Blob::new("application/wasm", component.to_vec());
    let config = "application/vnd.oci.empty.v1+json";

    push(&registry, "team/made:1", &component);
    registry.push("team/image:1", &Image::small(1, 1000));
    registry.push_index("team/index:1", &Index::new(&[Image::small(2, 1000)]));
    let two = [wasm(&component), wasm(&another_world)];
    artifact(&registry, "team/two:1", config, &[two[0].descriptor(), two[1].descriptor()], &two, &json!({}));
    let mut short = wasm(&component).descriptor();
    short["size"] = json!(10);
    artifact(&registry, "team/short:1", config, &[short], &[wasm(&component)], &json!({}));
    let mut large = wasm(&component).descriptor();
    large["size"] = json!(65 << 20);
    artifact(&registry, "team/large:1", config, &[large], &[], &json!({}));
    push(&registry, "team/damaged:1", &component);
    registry.fault(On::get("/team/damaged/blobs/"), Fault::Damage { at: 100 });

    let truncated = serve("/truncated.wasm", &component[..component.len() / 2]);
    let cut = server.put_plain("/cut.wasm", component.clone());
    server.fault(On::get("/cut.wasm"), Fault::Cut { after: 50 });
    let endless = server.put("/endless.wasm", vec![0; (64 << 20) + 1]);
    let circle = server.redirect("/circle.wasm", "/circle.wasm");
    let page = server.put("/page.wasm", "<html>sign in</html>");
    let gone = server.url("/gone.wasm");
    for (source, code, says) in [
        (serve("/script.wasm", b"#!/bin/sh\n"), 1, "not WebAssembly"),
        (page, 1, "not WebAssembly"),
        (serve("/empty.wasm", b""), 1, "not WebAssembly"),
        (serve("/core.wasm", b"\0asm\x01\0\0\0"), 1, "a core WebAssembly module"),
        (serve("/world.wasm", &another_world), 1, "is not a step"),
        (serve("/major.wasm", &of_another_major), 1, "speaks version 2.1.0 of the contract"),
        (truncated, 1, "plugin"),
        (cut, 75, "/cut.wasm"),
        (endless, 1, "is larger than 67108864 bytes"),
        (circle, 1, "redirect"),
        (gone, 1, "404"),
        (named("team/image:1"), 1, "names no WebAssembly but a layer of `application/"),
        (named("team/index:1"), 1, "an index of several manifests"),
        (named("team/two:1"), 1, "names 2 components"),
        (named("team/short:1"), 1, "10"),
        (named("team/large:1"), 1, "has 68157440 bytes"),
        (named("team/damaged:1"), 1, "sha256:"),
        (named("team/made:9"), 1, "team/made:9"),
        (named("team/../made:1"), 3, "hint:"),
        ("ftp://127.0.0.1/x.wasm".to_owned(), 3, "scheme `ftp`"),
        ("http://plugins.example.com/x.wasm".to_owned(), 1, "plain_http_hosts"),
        ("https://user:hunter2@127.0.0.1/x.wasm".to_owned(), 3, "credentials"),
        ("gone.wasm".to_owned(), 3, "there is no file `gone.wasm`"),
        ("plugins".to_owned(), 1, "plugins"),
    ] {
        let run = project.run(&["plugin", "add", &source]);
        assert_eq!(run.status.code(), Some(code), "{source}: {run}");
        leaves_nothing(&project, &run.says(&[says]).never_says("hunter2").never_says("panicked"));
    }
    let made = named("team/made:1");
    for name in ["../x", "/etc/x", "a/b", "", "Upper", "chart", "."] {
        let run = project.run(&["plugin", "add", &made, "--name", name]).code(3);
        leaves_nothing(&project, &run.says(&["hint:"]));
    }
    // What lies there is somebody's.
    project.write("plugins/made.wasm", "mine");
    let run = project.run(&["plugin", "add", &made]).code(3).says(&["plugins/made.wasm", "is there already", "--name"]);
    assert!(project.read("plugins/made.wasm") == "mine" && !project.exists("config/plugins.lock"), "{run}");
    std::fs::remove_dir_all(project.path("plugins")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), project.path("plugins")).unwrap();
    project.run(&["plugin", "add", &made]).code(3).says(&["leads out of the project"]);
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut found = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| found[*at..at + to.len()].copy_from_slice(to));
    found
}

/// A lock by hand is read as it is written, with its lines.
#[test]
fn a_lock_by_hand_is_told_with_its_lines() {
    let Some(component) = hello() else { return };
    let project = greeting(Project::new());
    project.write("plugins/hello.wasm", &component);
    let lock = |path: &str, digest: &str, more: &str| {
        let text = format!("format: 1\nplugins:\n  hello:\n    path: {path}\n    sha256: {digest}\n{more}");
        project.write("config/plugins.lock", text);
    };
    let good = sha256(&component);
    for (path, digest, more, says) in [
        ("plugins/hello.wasm", &sha256(b"other"), "", ["config/plugins.lock:4:", &good]),
        ("../hello.wasm", &good, "", ["config/plugins.lock:4:", "is no place for a component"]),
        ("/etc/passwd", &good, "", ["config/plugins.lock:4:", "is no place for a component"]),
        ("plugins/hello.wasm", &good, "    limits: {memory_mib: 0}\n", ["config/plugins.lock:6:", "out of range"]),
        ("plugins/hello.wasm", &good, "    source: ftp://x/y\n", ["config/plugins.lock:6:", "scheme `ftp`"]),
        (
            "plugins/hello.wasm",
            &good,
            &format!("  hello:\n    path: plugins/hello.wasm\n    sha256: {good}\n"),
            ["config/plugins.lock:6:", "hello"],
        ),
        (
            "plugins/hello.wasm",
            &good,
            "    signature: {key: k, media_type: m, content: c}\n",
            ["config/plugins.lock:6:", "the signature is not one"],
        ),
    ] {
        lock(path, digest, more);
        project.run(&["build"]).code(3).says(&says).says(&["hint:"]);
        assert!(!project.exists("build"), "{more}");
    }
    // It runs, and whoever reads the log takes it away.
    lock("plugins/hello.wasm", &good, "    grants:\n      directories: true\n      fetch: [https://example.com/]\n");
    let unwanted = "`hello` is granted `fetch: https://example.com/`, which it does not say it wants";
    let run = project.run(&["build"]).success();
    run.says(&["warning: config/plugins.lock:8:", unwanted, "config/plugins.lock:7:", "`directories: true`"]);
}

/// Two plugins that call themselves the same are two names in the lock, or one
/// takes the place of the other on purpose.
#[test]
fn no_plugin_takes_a_name_that_is_taken() {
    let project = Project::new();
    let outside = tempfile::tempdir().unwrap();
    for number in ["1", "2"] {
        std::fs::write(outside.path().join(format!("{number}.wasm")), made(version(number))).unwrap();
    }
    let [one, two] = ["1.wasm", "2.wasm"].map(|name| outside.path().join(name).display().to_string());
    project.run(&["plugin", "add", &one]).success().prints(&["pinned made 1"]);
    let before = std::fs::read(project.path("plugins/made.wasm")).unwrap();
    project.run(&["plugin", "add", &two]).code(3).says(&["`made` is pinned already", "--replace", "--name"]);
    assert_eq!(std::fs::read(project.path("plugins/made.wasm")).unwrap(), before);
    project.run(&["plugin", "add", &two, "--name", "second"]).success().prints(&["it calls itself made"]);
    assert_ne!(std::fs::read(project.path("plugins/second.wasm")).unwrap(), before);
    project.run(&["plugin", "add", &two, "--replace"]).success().prints(&["version: 1 → 2"]);
    assert_ne!(std::fs::read(project.path("plugins/made.wasm")).unwrap(), before);
}

/// The lock alone makes a component run: where it can not be written nothing is
/// left of one, and the one before is as it was.
#[test]
fn a_lock_that_can_not_be_written_changes_no_component() {
    let project = Project::new();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("made.wasm").display().to_string();
    std::fs::write(&file, made(version("1"))).unwrap();
    let add = ["plugin", "add", &file, "--replace"];
    symlink("nowhere", project.path("config/plugins.lock")).unwrap();
    project.run(&add).code(1).says(&["config/plugins.lock", "a link that leads to no file"]);
    assert_eq!(std::fs::read_dir(project.path("plugins")).unwrap().count(), 0);
    project.remove("config/plugins.lock");
    project.run(&add).success();
    let (lock, before) =
        (project.read("config/plugins.lock"), std::fs::read(project.path("plugins/made.wasm")).unwrap());
    std::fs::write(&file, made(version("2"))).unwrap();
    std::fs::rename(project.path("config/plugins.lock"), outside.path().join("lock")).unwrap();
    // Somebody else's, as far as a link out of the project goes.
    std::os::unix::fs::symlink("/proc/version", project.path("config/plugins.lock")).unwrap();
    assert_ne!(project.run(&add).status.code(), Some(0));
    assert_eq!(std::fs::read(project.path("plugins/made.wasm")).unwrap(), before);
    project.remove("config/plugins.lock");
    project.write("config/plugins.lock", &lock);
    project.run(&add).success().prints(&["version: 1 → 2"]);
}

/// Whoever carries the folder carries its plugins: without any interface of a
/// network one is added, a package built and verified.
#[test]
fn a_copied_folder_is_enough_without_a_network() {
    let (Some(component), Some(unshare)) = (hello(), tools::require("unshare")) else { return };
    let registry = Registry::start();
    let manifest = push(&registry, "team/hello:1", &component);
    sign(&registry, "team/hello", &manifest, &[key()]);
    let near = greeting(asking(&[&registry.host()]));
    let near = near.with_settings(|settings| settings["retries"]["requests"] = json!(1));
    let source = format!("oci://{}", registry.reference("team/hello:1"));
    near.run(&["plugin", "add", &source, "--key", "config/cosign.pub"]).success();
    drop(registry);

    let far = Project::bare();
    for folder in ["config", "plugins", "charts"] {
        tools::run(std::process::Command::new("cp").arg("-r").arg(near.path(folder)).arg(far.root()));
    }
    let carried = made(Said { name: "carried".into(), ..version("3") });
    far.write("media/carried.wasm", &carried);
    far.write("media/carried.wasm.sigstore.json", bundle(&carried, &key()));
    let alone = |arguments: &[&str]| {
        let command = far.command(arguments);
        let mut inside = std::process::Command::new(&unshare);
        inside.args(["--user", "--map-root-user", "--net", "--"]).arg(command.get_program()).args(command.get_args());
        inside.current_dir(far.root()).env_clear();
        for (name, value) in command.get_envs() {
            inside.env(name, value.unwrap_or_default());
        }
        let output = inside.output().expect("unshare runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    let (code, said) = alone(&["plugin", "list", "--verify", "--key", "config/cosign.pub"]);
    if said.starts_with("unshare:") {
        tools::skipped(&format!("plugins without a network: no namespace of its own to be had here ({})", said.trim()));
        return;
    }
    assert!(code == Some(0) && said.contains("✓ hello"), "{said}");
    let (code, said) = alone(&["plugin", "add", "media/carried.wasm", "--key", "config/cosign.pub"]);
    assert!(code == Some(0) && said.contains("pinned carried 3") && far.exists("plugins/carried.wasm"), "{said}");
    let (code, said) = alone(&["plugin", "update", "hello"]);
    assert!(code != Some(0) && said.contains("cannot reach"), "there is a way out: {said}");
    let (code, said) = alone(&["build", "--offline"]);
    assert!(code == Some(0), "{said}");
    let (code, said) = alone(&["verify", &far.package().display().to_string()]);
    assert!(code == Some(0), "{said}");
    let (code, said) = alone(&["plugin", "list", "--verify", "--key", "config/cosign.pub"]);
    assert!(code == Some(0) && said.contains("✓ carried"), "{said}");
}
