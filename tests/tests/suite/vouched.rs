//! Guards what vouches for images: what a registry holds about one is carried
//! and given out again, and an image without the signature that a rule asks for
//! does not enter the package.

use airgap_tests::http::Content;
use airgap_tests::images::{Blob, Image};
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::serving::Serving;
use serde_json::{Value, json};
use signing::statement::{Statement, Subject};
use signing::{Bundle, Password, PrivateKey};

use base::digest::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The key of the fixtures, which cosign made.
fn key() -> PrivateKey {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signing/cosign.key");
    PrivateKey::from_pem(&std::fs::read(path).unwrap(), &Password::new(&b"the password"[..])).unwrap()
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

fn hex(image: &Image) -> String {
    digest(image.digest()).hex()
}

/// An artifact of one layer.
fn artifact(registry: &Registry, repository: &str, tag: Option<&str>, layer: &Blob, more: Value) -> Blob {
    let config =
        Blob::new("application/vnd.oci.image.config.v1+json", br#"{"architecture":"","os":"","rootfs":{}}"#.to_vec());
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": [layer.descriptor()] });
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "layer" => manifest["layers"][0]["annotations"] = value.clone(),
            name => manifest[name] = value.clone(),
        }
    }
    for blob in [&config, layer] {
        registry.push_blob(repository, &blob.digest, Content::Memory(blob.bytes.clone()));
    }
    let manifest = Blob::new(MANIFEST, manifest.to_string().into_bytes());
    registry.push_manifest(repository, tag, &manifest);
    manifest
}

/// As cosign signed before bundles: a text under a tag.
fn sign_legacy(registry: &Registry, repository: &str, image: &Image, about: &str, key: &PrivateKey) -> Blob {
    let text = json!({
        "critical": {
            "identity": { "docker-reference": "" }, "image": { "docker-manifest-digest": about },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let text = text.to_string().into_bytes();
    let bundle = Bundle::of_message(key, &Digest::of(&text)).unwrap().to_json().unwrap();
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    let annotations = json!({ "dev.cosignproject.cosign/signature": bundle["messageSignature"]["signature"] });
    let layer = Blob::new(SIMPLE_SIGNING, text);
    let tag = format!("sha256-{}.sig", hex(image));
    artifact(registry, repository, Some(&tag), &layer, json!({ "layer": annotations }))
}

/// As cosign signs today: a bundle that is about the image, listed where
/// registries without the API have the list.
fn sign_bundle(registry: &Registry, repository: &str, image: &Image, key: &PrivateKey) -> Blob {
    let statement =
        Statement::new(Subject::new("", &digest(image.digest())), "https://sigstore.dev/cosign/sign/v1", json!({}));
    let layer = Blob::new(BUNDLE, Bundle::of_statement(key, &statement).unwrap().to_json().unwrap());
    let more = json!({ "artifactType": BUNDLE, "subject": image.manifest.descriptor() });
    let signed = artifact(registry, repository, None, &layer, more);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [signed.descriptor()] });
    let index = Blob::new(INDEX, index.to_string().into_bytes());
    registry.push_manifest(repository, Some(&format!("sha256-{}", hex(image))), &index);
    signed
}

fn project(registry: &Registry, settings: Value) -> Project {
    let project = Project::new().with_registry(&registry.host());
    project.write("config/cosign.pub", key().public().to_pem());
    project.with_settings(|all| all["images"] = settings)
}

fn rule(registry: &Registry) -> Value {
    json!({ "verify": [{ "match": format!("{}/team/*", registry.host()), "key": "cosign.pub" }] })
}

/// What is about an image goes where it goes.
#[test]
fn what_a_registry_holds_about_an_image_is_carried_and_given_out() {
    let registry = Registry::start();
    let image = Image::small(1, 10_000);
    registry.push("team/app:1", &image);
    let legacy = sign_legacy(&registry, "team/app", &image, image.digest(), &key());
    let bundle = sign_bundle(&registry, "team/app", &image, &key());
    let project = project(&registry, json!({ "referrers": true })).with_image(registry.reference("team/app:1"));
    project.build();
    let lock = project.read("config/airgap.lock");
    for part in ["referrers:", &legacy.digest, &bundle.digest, &format!("tag: sha256-{}.sig", hex(&image))] {
        assert!(lock.contains(part), "{part}: {lock}");
    }
    let package = project.package().display().to_string();
    let images = project.run(&["inspect", "images", &package]).success().stdout;
    for name in [format!("team/app:sha256-{}.sig", hex(&image)), format!("team/app@{}", bundle.digest)] {
        assert!(images.contains(&name), "{name}: {images}");
    }
    project.run(&["verify", &package]).success();

    let serving = Serving::start(&project, &[&package]);
    let tag = serving.get(&format!("/v2/team/app/manifests/sha256-{}.sig", hex(&image)));
    assert!(tag.status == 200 && tag.body == *legacy.bytes);
    let referrers = serving.get(&format!("/v2/team/app/referrers/{}", image.digest())).json();
    assert_eq!(referrers["manifests"][0]["digest"], bundle.digest, "{referrers}");
    assert_eq!(referrers["manifests"][0]["artifactType"], BUNDLE);

    // The same again, without asking anybody.
    let before = std::fs::read(project.package()).unwrap();
    registry.forget();
    project.run(&["build", "--clean", "--offline", "--locked"]).success();
    assert!(std::fs::read(project.package()).unwrap() == before);
    assert_eq!(registry.render_log(), "");

    // Without the setting there is none of it.
    let project = project.with_settings(|settings| settings["images"] = json!({}));
    project.build();
    let images = project.run(&["inspect", "images", &package]).success().stdout;
    assert_eq!(images.lines().count(), 1, "{images}");
}

#[test]
fn an_image_needs_the_signature_that_its_rule_asks_for() {
    let registry = Registry::start();
    let [old, new, bad, other] = [1, 2, 3, 4].map(|seed| Image::small(seed, 5_000));
    for (name, image) in
        [("team/old:1", &old), ("team/new:1", &new), ("team/bad:1", &bad), ("elsewhere/free:1", &other)]
    {
        registry.push(name, image);
    }
    sign_legacy(&registry, "team/old", &old, old.digest(), &key());
    sign_bundle(&registry, "team/new", &new, &key());
    let good = || {
        project(&registry, rule(&registry))
            .with_image(registry.reference("team/old:1"))
            .with_image(registry.reference("team/new:1"))
            .with_image(registry.reference("elsewhere/free:1"))
    };
    let signed = good();
    signed.build();
    assert_eq!(signed.run(&["inspect", "images", &signed.package().display().to_string()]).stdout.lines().count(), 3);
    signed.run(&["build", "--clean", "--offline"]).success();

    let project = good().with_image(registry.reference("team/bad:1"));
    let fails = |said: &str| {
        let run = project.run(&["build", "--on-change", "restart"]).code(1);
        let run = run.says(&["1 of 4 images failed", &registry.reference("team/bad:1"), said]);
        assert!(!project.exists("dist") || project.packages().is_empty(), "{run}");
        let _ = std::fs::remove_dir_all(project.path("build"));
        let _ = std::fs::remove_file(project.path("config/airgap.lock"));
    };
    fails("holds no signature of this image");
    sign_legacy(&registry, "team/bad", &bad, bad.digest(), &PrivateKey::generate().unwrap());
    fails("did not sign these bytes");
    sign_legacy(&registry, "team/bad", &bad, old.digest(), &key());
    fails("about another image");
    sign_bundle(&registry, "team/bad", &bad, &PrivateKey::generate().unwrap());
    fails("none of 2 signatures holds");
    sign_bundle(&registry, "team/bad", &bad, &key());
    project.run(&["build", "--on-change", "restart"]).success();
}

#[test]
fn rules_that_cannot_hold_are_refused_with_their_place() {
    let registry = Registry::start();
    let project = project(&registry, json!({ "verify": [{ "match": "", "key": "cosign.key" }] }));
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signing");
    for (name, said) in
        [("certificate.pem", "`CERTIFICATE`"), ("p384.pub", "ECDSA P-384"), ("cosign.key", "PRIVATE KEY")]
    {
        project.write("config/cosign.key", std::fs::read(fixtures.join(name)).unwrap());
        project.run(&["build"]).code(3).says(&["config/settings.yaml:", "images.verify", said, "matches no image"]);
    }
    assert_eq!(registry.render_log(), "");
}
