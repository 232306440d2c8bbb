//! Guards what vouches for a package: a build with a key signs, `sign` comes to
//! the same bytes, `verify --key` lets nothing else pass, and says of a package
//! that was written again what holds.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use airgap_tests::digest::sha256_file;
use airgap_tests::images::Image;
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

/// Of the fixtures, which cosign made.
const PASSWORD: &str = "the password";

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signing").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// With the keys of the fixtures, and the same clock in every build.
fn project(registry: &Registry) -> Project {
    registry.push("app:1", &Image::small(1, 50_000));
    let project = Project::new()
        .with_registry(&registry.host())
        .with_image(registry.reference("app:1"))
        .with_env("SOURCE_DATE_EPOCH", "1787340146");
    for name in ["cosign.key", "cosign.pub", "p384.pub", "rsa.pub", "certificate.pem", "plain.key"] {
        project.write(&format!("config/{name}"), fixture(name));
    }
    project.write("config/password", format!("{PASSWORD}\n"));
    project
}

fn signing(project: Project) -> Project {
    project.with_settings(|settings| {
        settings["signing"] = json!({ "key": "cosign.key", "password_file": "password" });
    })
}

fn path(project: &Project) -> String {
    project.package().display().to_string()
}

fn report(project: &Project, package: &str, key: Option<&str>, code: i32) -> Value {
    let mut arguments = vec!["verify", "--json", package];
    arguments.extend(key.iter().flat_map(|key| ["--key", key]));
    project.run(&arguments).code(code).json()
}

const KEY: &str = "config/cosign.pub";
const SIGN: [&str; 4] = ["--key", "config/cosign.key", "--password-file", "config/password"];

fn sign(project: &Project, package: &str, more: &[&str]) -> airgap_tests::project::Run {
    project.run(&[&["sign", package], &SIGN[..], more].concat())
}

/// A pair of keys of our own.
fn other_key(project: &Project) {
    project.run(&["keygen", "--output", "other", "--password-file", "config/password"]).success();
}

#[test]
fn a_pair_of_keys_is_made_and_never_overwritten() {
    let project = Project::bare();
    project.run(&["keygen"]).code(2).says(&["there is no password", "COSIGN_PASSWORD"]);
    let project = project.with_env("COSIGN_PASSWORD", "a secret");
    let made = project.run(&["keygen", "--output", "keys", "--json"]).success().json();
    assert_eq!((&made["private_key"], &made["public_key"]), (&json!("keys.key"), &json!("keys.pub")));
    let mode = std::fs::metadata(project.path("keys.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads it");
    assert!(project.read("keys.key").starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
    assert!(project.read("keys.pub").starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert!(!project.read("keys.key").contains("a secret"));
    project.run(&["keygen", "--output", "keys"]).code(2).says(&["a file `keys.key` already"]);
    std::fs::remove_file(project.path("keys.key")).unwrap();
    project.run(&["keygen", "--output", "keys"]).code(2).says(&["a file `keys.pub` already"]);
    assert!(!project.exists("keys.key"));
    for command in ["keygen", "sign", "build"] {
        let help = project.run(&[command, "--help"]).success();
        assert!(!help.stdout.contains("--password "), "no password stands on a command line: {help}");
    }
}

/// The same inputs and key give the same bytes, in a build and afterwards.
#[test]
fn a_build_signs_and_sign_comes_to_the_same_bytes() {
    let registry = Registry::start();
    let signed = signing(project(&registry));
    signed.build();
    let package = Package::open(&signed.package());
    assert!(package.has("zarf.bundle.sig"));
    assert_eq!(package.text("zarf.yaml").matches("signed: true").count(), 2, "in both documents");
    let later = project(&registry);
    later.build();
    assert!(!Package::open(&later.package()).has("zarf.bundle.sig"));
    sign(&later, &path(&later), &[]).success().prints(&["signed by", "renewed"]);
    for end in ["", ".sha256", ".manifest.json"] {
        let bytes = |project: &Project| std::fs::read(format!("{}{end}", path(project))).unwrap();
        assert!(bytes(&signed) == bytes(&later), "{end}");
    }
    assert_eq!(signed.read("dist/artifact-manifest.json"), later.read("dist/artifact-manifest.json"));
    assert!(!later.exists(&format!("{}.tmp", path(&later))));
    for project in [&signed, &later] {
        let found = report(project, &path(project), Some(KEY), 0);
        assert_eq!(found["signature"]["state"], "holds", "{found}");
        assert_eq!((&found["checksum_file"], &found["artifact_manifest"]), (&json!("matches"), &json!("matches")));
        assert_eq!(found["provenance"]["signature"]["state"], "holds", "{found}");
        assert_eq!(found["provenance"]["matches"], true);
        project.run(&["build"]).success();
        assert!(!project.holds(PASSWORD) || project.read("config/password").contains(PASSWORD));
    }
    let dist: Vec<_> = std::fs::read_dir(signed.path("dist")).unwrap().map(|file| file.unwrap().path()).collect();
    for file in dist.iter().chain([&signed.path("build/state.json")]) {
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()), "{}", file.display());
    }
}

#[test]
fn without_a_key_it_is_said_who_signed_and_with_one_it_must_be_them() {
    let registry = Registry::start();
    let project = signing(project(&registry));
    project.build();
    let package = path(&project);
    let found = report(&project, &package, None, 0);
    assert_eq!(found["signature"]["state"], "unchecked");
    let by = found["signature"]["by"].as_str().unwrap().to_owned();
    project.run(&["verify", &package]).success().prints(&[&by, "not checked: --key checks it"]);
    project.run(&["inspect", &package]).success().prints(&[&by, "not checked here", "provenance"]);
    project.run(&["verify", "--key", KEY, &package]).success().prints(&["holds, by the key"]);
    other_key(&project);
    let run = project.run(&["verify", "--key", "other.pub", &package]).code(4);
    let run = run.says(&["nobody vouches for it", "the key given is"]);
    assert!(!run.stderr.contains("damaged"), "{run}");
    let mut pipe = project.command(&["verify", "--key", KEY, "-"]);
    pipe.stdin(std::fs::File::open(&package).unwrap());
    airgap_tests::project::Running::spawn(&mut pipe, project.root()).finish().success().prints(&["holds"]);
}

#[test]
fn an_unsigned_package_fails_with_a_key() {
    let registry = Registry::start();
    let project = project(&registry);
    project.build();
    let found = report(&project, &path(&project), Some(KEY), 4);
    assert_eq!(found["problems"][0]["rule"], "unsigned", "{found}");
    assert_eq!(report(&project, &path(&project), None, 0)["signature"]["state"], "unsigned");
    let statement: Value = serde_json::from_str(&project.read(&format!("{}.intoto.json", path(&project)))).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(report(&project, &path(&project), None, 0)["provenance"]["signature"]["state"], "unsigned");
}

/// A key that is exchanged is another package, and a build without one leaves
/// no signature.
#[test]
fn another_key_makes_another_package() {
    let registry = Registry::start();
    let project = signing(project(&registry));
    project.build();
    let before = sha256_file(&project.package());
    project.run(&["build"]).success().prints(&["Nothing to do"]);
    other_key(&project);
    std::fs::copy(project.path("other.key"), project.path("config/cosign.key")).unwrap();
    project.run(&["build"]).success();
    assert_ne!(sha256_file(&project.package()), before);
    assert_eq!(report(&project, &path(&project), Some("other.pub"), 0)["signature"]["state"], "holds");
    let project = project.with_settings(|settings| settings["signing"] = json!({}));
    project.build();
    assert_eq!(report(&project, &path(&project), None, 0)["signature"]["state"], "unsigned");
}

#[test]
fn what_is_signed_already_stays_unless_it_is_asked_for() {
    let registry = Registry::start();
    let project = signing(project(&registry));
    project.build();
    let package = path(&project);
    let before = sha256_file(&project.package());
    let again = sign(&project, &package, &["--json"]).success().json();
    assert_eq!((&again["was_signed"], &again["renewed"]), (&json!(true), &json!([])));
    assert_eq!(sha256_file(&project.package()), before);
    other_key(&project);
    let by_other = ["sign", &package, "--key", "other.key", "--password-file", "config/password"];
    project.run(&by_other).code(2).says(&["is signed already, by the key", "--overwrite"]);
    project.run(&[&by_other[..], &["--overwrite"]].concat()).success();
    assert_eq!(report(&project, &package, Some("other.pub"), 0)["signature"]["state"], "holds");
    report(&project, &package, Some(KEY), 4);
    sign(&project, &package, &["--overwrite"]).success();
    assert_eq!(sha256_file(&project.package()), before, "as it was");
}

/// The entries of a package in one stream, as Zarf writes it.
fn written_again(project: &Project, to: &str, change: impl Fn(&mut BTreeMap<String, Vec<u8>>)) {
    let package = Package::unchecked(&project.package());
    let mut files: BTreeMap<String, Vec<u8>> =
        package.names().map(|name| (name.to_owned(), package.bytes(name).to_vec())).collect();
    change(&mut files);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    project.write(to, zstd::encode_all(archive.into_inner().unwrap().as_slice(), 1).unwrap());
}

/// The package beside the files of an earlier build, as after `zarf package
/// sign`.
#[test]
fn a_package_that_was_signed_elsewhere_is_not_called_damaged() {
    let registry = Registry::start();
    let project = project(&registry);
    project.build();
    let package = path(&project);
    let mut beside = [".sha256", ".manifest.json", ".intoto.json"].map(|end| format!("{package}{end}")).to_vec();
    beside.push(project.path("dist/artifact-manifest.json").display().to_string());
    let older: Vec<Vec<u8>> = beside.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let put_back = || beside.iter().zip(&older).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    sign(&project, &package, &[]).success();
    written_again(&project, "again", |_| {});
    std::fs::rename(project.path("again"), project.package()).unwrap();
    put_back();

    let run = project.run(&["verify", "--key", KEY, &package]).success();
    run.prints(&["was written again", "What holds: the signature", "sound and complete"]);
    let found = report(&project, &package, Some(KEY), 0);
    assert_eq!((&found["checksum_file"], &found["artifact_manifest"]), (&json!("rewritten"), &json!("rewritten")));
    let run = project.run(&["verify", &package]).code(4).says(&["nobody vouches for it", "verify --key"]);
    assert!(!format!("{run}").contains("damaged"), "{run}");

    // Whoever has the key renews what lies beside it.
    let renewed = sign(&project, &package, &["--json"]).success().json();
    assert_eq!(renewed["renewed"].as_array().unwrap().len(), 4, "{renewed}");
    let found = report(&project, &package, Some(KEY), 0);
    assert_eq!((&found["checksum_file"], &found["provenance"]["matches"]), (&json!("matches"), &json!(true)));

    // A content that is another one is told as ever.
    put_back();
    let list =
        project.read(&format!("{package}.manifest.json")).replace("\"digest\": \"sha256:", "\"digest\": \"sha256:0");
    std::fs::write(&beside[1], list).unwrap();
    let found = report(&project, &package, Some(KEY), 4);
    assert_eq!(found["checksum_file"], "differs", "{found}");
}

/// Each of them fails, with what it is about.
#[test]
fn a_changed_definition_or_signature_is_found() {
    let registry = Registry::start();
    let project = signing(project(&registry));
    project.build();
    let other_bundle = fixture("blob.bundle.json");
    type Files = BTreeMap<String, Vec<u8>>;
    type Case = (&'static str, Box<dyn Fn(&mut Files)>, &'static str);
    let cases: [Case; 5] = [
        (
            "definition",
            Box::new(|files| {
                let text =
                    String::from_utf8(files["zarf.yaml"].clone()).unwrap().replace("required: true", "required: false");
                files.insert("zarf.yaml".into(), text.into_bytes());
            }),
            "about other bytes",
        ),
        (
            "bundle",
            Box::new(move |files| drop(files.insert("zarf.bundle.sig".into(), other_bundle.clone()))),
            "about other bytes",
        ),
        ("none", Box::new(|files| drop(files.remove("zarf.bundle.sig"))), "is missing"),
        (
            "text",
            Box::new(|files| drop(files.insert("zarf.bundle.sig".into(), b"text".to_vec()))),
            "no Sigstore bundle",
        ),
        (
            "legacy",
            Box::new(|files| {
                files.remove("zarf.bundle.sig");
                files.insert("zarf.yaml.sig".into(), fixture("blob.sig"));
            }),
            "did not sign these bytes",
        ),
    ];
    for (name, change, said) in cases {
        let file = format!("{name}.tar.zst");
        written_again(&project, &file, change);
        let found = report(&project, &file, Some(KEY), 4);
        assert!(found["problems"].to_string().contains(said), "{name}: {found}");
        assert_eq!(found["signature"]["state"], "fails", "{name}");
        // Of the older form nothing tells what it is about.
        sign(&project, &file, &[]).code(if name == "legacy" { 2 } else { 1 });
    }
}

#[test]
fn what_is_no_key_is_refused_by_its_name() {
    let registry = Registry::start();
    let project = project(&registry);
    project.build();
    let package = path(&project);
    for (key, said) in [
        ("config/certificate.pem", "`CERTIFICATE`"),
        ("config/p384.pub", "ECDSA P-384"),
        ("config/rsa.pub", "RSA"),
        ("config/cosign.key", "`ENCRYPTED SIGSTORE PRIVATE KEY`"),
        ("config/versions.env", "there is no PEM block"),
        ("nothing", "there is no public key at"),
    ] {
        project.run(&["verify", "--key", key, &package]).code(2).says(&[said]);
    }
    for (key, said) in
        [("config/plain.key", "`PRIVATE KEY`"), ("config/cosign.pub", "`PUBLIC KEY`"), ("nothing", "no private key")]
    {
        let run = project.run(&["sign", &package, "--key", key, "--password-file", "config/password"]);
        assert_ne!(run.status.code(), Some(0));
        run.says(&[said]);
    }
    let before = sha256_file(&project.package());
    project.write("wrong", "another password\n");
    let run = project.run(&["sign", &package, "--key", "config/cosign.key", "--password-file", "wrong"]);
    run.code(1).says(&["the password does not open the private key"]);
    assert_eq!(sha256_file(&project.package()), before);
}

/// Before anything is fetched.
#[test]
fn a_build_that_cannot_sign_does_not_begin() {
    let registry = Registry::start();
    let project = signing(project(&registry));
    project.write("config/password", "wrong\n");
    registry.forget();
    project.run(&["build"]).code(3).says(&["`signing` in config/settings.yaml", "does not open"]);
    let project = project.with_settings(|settings| settings["signing"] = json!({ "key": "cosign.key" }));
    project.run(&["build"]).code(3).says(&["there is no password"]);
    project.run(&["build", "--plan"]).success();
    let project = project.with_settings(|settings| settings["signing"] = json!({ "key": "no.key" }));
    project.run(&["build"]).code(3).says(&["there is no file `config/no.key`"]);
    let project = project.with_settings(|settings| settings["signing"] = json!({ "password_file": "password" }));
    project.run(&["build"]).code(3).says(&["password_file", "no `key`"]);
    assert_eq!(registry.render_log(), "");
    let project = project.with_settings(|settings| settings["signing"] = json!({ "key": "cosign.key" }));
    let project = project.with_env("COSIGN_PASSWORD", PASSWORD);
    project.build();
    assert_eq!(report(&project, &path(&project), Some(KEY), 0)["signature"]["state"], "holds");
}

/// What the package was made of, and by which code.
#[test]
fn the_provenance_names_every_step_and_material() {
    let registry = Registry::start();
    let project = project(&registry);
    project.build();
    let statement: Value = serde_json::from_str(&project.read(&format!("{}.intoto.json", path(&project)))).unwrap();
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], sha256_file(&project.package()));
    let built = &statement["predicate"]["buildDefinition"];
    let list: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).unwrap();
    let steps = built["internalParameters"]["steps"].as_array().unwrap();
    for plugin in list["plugins"].as_array().unwrap() {
        let step = steps.iter().find(|step| step["id"] == plugin["step"]).unwrap();
        assert_eq!(step["digest"], plugin["digest"]);
        assert_eq!(step["runner"], "core plugin");
        assert!(step["source"].as_str().unwrap().starts_with("opencenter-airgap "));
    }
    assert!(steps.iter().any(|step| step["id"] == "images" && step["runner"] == "host"));
    let materials = built["resolvedDependencies"].as_array().unwrap();
    let digest = list["images"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let image = materials.iter().find(|material| material["digest"]["sha256"] == digest).unwrap();
    assert_eq!(image["uri"], format!("oci://{}", registry.reference("app:1")));
    let files = built["externalParameters"]["files"].as_object().unwrap();
    assert!(files.contains_key("config/components.yaml") && !files.contains_key("config/airgap.lock"));
    let found = report(&project, &path(&project), None, 0);
    assert_eq!(found["provenance"]["configuration"], built["externalParameters"]["configuration"]);
    assert_eq!(found["provenance"]["steps"].as_array().unwrap().len(), steps.len());

    // One that says something else about this package is told.
    let name = format!("{}.intoto.json", path(&project));
    let text = project.read(&name);
    std::fs::write(&name, text.replace(&sha256_file(&project.package()), &"0".repeat(64))).unwrap();
    assert_eq!(report(&project, &path(&project), None, 4)["problems"][0]["rule"], "provenance");
    std::fs::write(&name, "{}").unwrap();
    assert_eq!(report(&project, &path(&project), None, 4)["problems"][0]["rule"], "provenance");
}
