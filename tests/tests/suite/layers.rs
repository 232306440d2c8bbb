//! Guards that an image is whole or the build fails: layers that several
//! registries share, layers that may not be passed on, indexes in indexes and
//! manifests as other languages write them.

use airgap_tests::fault::{Fault, On};
use airgap_tests::file_server::FileServer;
use airgap_tests::http::Content;
use airgap_tests::images::{Blob, Dialect, Image, Index, OCI_INDEX, Platform, layer};
use airgap_tests::layout::Layout;
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// The image with `change` made to its manifest.
fn changed(image: &Image, change: impl FnOnce(&mut Value)) -> Image {
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    change(&mut manifest);
    let manifest = Blob::new(&image.manifest.media_type, manifest.to_string().into_bytes());
    Image { manifest, ..image.clone() }
}

/// The image with a first layer that may not be passed on, and is at `urls`.
fn with_foreign_layer(image: &Image, media_type: &str, urls: &[String]) -> Image {
    changed(image, |manifest| {
        manifest["layers"][0]["mediaType"] = json!(media_type);
        manifest["layers"][0]["urls"] = json!(urls);
    })
}

/// Pushes everything but the first layer.
fn push_without_layer(registry: &Registry, name: &str, image: &Image) {
    let (repository, tag) = name.split_once(':').unwrap();
    for blob in std::iter::once(&image.config).chain(&image.layers[1..]) {
        registry.push_blob(repository, &blob.digest, Content::Memory(blob.bytes.clone()));
    }
    registry.push_manifest(repository, Some(tag), &image.manifest);
}

fn project(registry: &Registry, names: &[&str]) -> Project {
    names.iter().fold(Project::new().with_registry(&registry.host()), |project, name| {
        project.with_image(registry.reference(name))
    })
}

fn verifies(project: &Project) {
    project.run(&["verify", &project.package().display().to_string()]).success().prints(&["sound"]);
    Package::open(&project.package());
}

/// An image without a layer starts nowhere, and behind the gap nobody has it.
#[test]
fn a_layer_that_may_not_be_passed_on_is_packaged_or_the_image_fails() {
    for media_type in [FOREIGN, "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"] {
        let (registry, files) = (Registry::start(), FileServer::start());
        let plain = Image::new(1, &[layer(1, 50_000), layer(2, 1_000)]);
        // In the registry; only where its descriptor says; nowhere.
        registry.push("stored:1", &with_foreign_layer(&plain, media_type, &[]));
        let url = files.put("/layer", plain.layers[0].bytes.to_vec());
        let image = Image { config: Image::small(9, 10).config, ..plain.clone() };
        let image = changed(&image, |manifest| manifest["config"] = image.config.descriptor());
        push_without_layer(
            &registry,
            "elsewhere:1",
            &with_foreign_layer(&image, media_type, &[files.url("/gone"), url]),
        );
        let ready = project(&registry, &["stored:1", "elsewhere:1"]).with_file_server(&files.host());
        ready.build();
        let layout = Layout::check(&ready.path("build/steps/images"));
        assert_eq!(std::fs::read(layout.blob(&plain.layers[0].digest)).unwrap(), plain.layers[0].bytes[..]);
        verifies(&ready);

        push_without_layer(&registry, "nowhere:1", &with_foreign_layer(&plain, media_type, &[files.url("/gone")]));
        let failing = project(&registry, &["nowhere:1"]).with_file_server(&files.host());
        let (repository, address) = (registry.reference("nowhere"), files.url("/gone"));
        failing.run(&["build"]).code(1).says(&["nowhere:1", &repository, &address]);
        assert!(failing.packages().is_empty());
    }
}

/// A lock of the time when such layers were left out holds, and learns of them.
#[test]
fn an_older_lock_without_such_a_layer_still_builds() {
    let registry = Registry::start();
    let image = with_foreign_layer(&Image::new(1, &[layer(1, 50_000), layer(2, 1_000)]), FOREIGN, &[]);
    registry.push("app:1", &image);
    let project = project(&registry, &["app:1"]);
    project.build();
    let lock = project.read("config/airgap.lock");
    let digest = &image.layers[0].digest;
    let mut rest = lock.lines().peekable();
    let mut older = String::new();
    while let Some(line) = rest.next() {
        if line.contains(digest) {
            // Its size is on the next line.
            rest.next_if(|next| next.trim_start().starts_with("size"));
            continue;
        }
        older.push_str(line);
        older.push('\n');
    }
    assert_ne!(older, lock);
    project.write("config/airgap.lock", older);
    project.run(&["build", "--clean"]).success();
    // In which build it was seen is another matter.
    let said = |lock: &str| lock.lines().filter(|line| !line.contains("build:")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(said(&project.read("config/airgap.lock")), said(&lock));
    verifies(&project);
}

/// A pinned index names images for Windows too: what may not be passed on of
/// those is left out, as by other clients, and said.
#[test]
fn of_windows_beside_us_what_may_not_be_passed_on_is_left_out() {
    let registry = Registry::start();
    let ours = Image::small(1, 1_000);
    let windows =
        Image::build(2, &[layer(2, 1_000), layer(3, 500)], Dialect::Docker, Platform::new("windows", "amd64", None));
    let windows = with_foreign_layer(&windows, FOREIGN, &["https://mcr.invalid/layer".to_owned()]);
    let index = Index::new(&[ours, windows.clone()]);
    push_without_layer(&registry, "app:unused", &windows);
    registry.push("app:ours", &index.images[0]);
    registry.push_manifest("app", None, &index.manifest);
    let name = format!("app@{}", index.manifest.digest);
    let project = project(&registry, &[&name]);
    let run = project.build();
    run.says(&["warning:", "1 layers of its images for Windows"]);
    verifies(&project);
}

/// Whichever registry is down, the image of the other one is packaged.
#[test]
fn a_layer_of_two_registries_comes_from_the_one_that_has_it() {
    let (sound, broken) = (Registry::start(), Registry::start());
    let shared = layer(9, 200_000);
    let (first, second) = (Image::new(1, std::slice::from_ref(&shared)), Image::new(2, std::slice::from_ref(&shared)));
    for fault in [Fault::status(503), Fault::status(404), Fault::status(401), Fault::Close] {
        broken.push("big:1", &first);
        sound.push("app:1", &second);
        broken.heal();
        // The other one may be asked first.
        broken.perhaps(On::get(format!("/blobs/{}", shared.blob.digest)), fault);
        let project = Project::new()
            .with_registry(&broken.host())
            .with_registry(&sound.host())
            .with_settings(|settings| {
                settings["retries"] = json!({ "backoff": 0.01, "backoff_limit": 0.05, "steps": 1 })
            })
            .with_image(broken.reference("big:1"))
            .with_image(sound.reference("app:1"));
        project.build();
        Layout::check(&project.path("build/steps/images"));
    }
    // Where nobody has it, both are named.
    broken.heal();
    for registry in [&broken, &sound] {
        registry.fault(On::get(format!("/blobs/{}", shared.blob.digest)), Fault::status(404));
    }
    let project = Project::new()
        .with_registry(&broken.host())
        .with_registry(&sound.host())
        .with_image(broken.reference("big:1"))
        .with_image(sound.reference("app:1"));
    project.run(&["build"]).code(1).says(&[&broken.reference("big"), &sound.reference("app")]);
}

fn index_of(entries: &[Value]) -> Blob {
    let text = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "subject": null });
    Blob::new(OCI_INDEX, text.to_string().into_bytes())
}

fn entry(blob: &Blob, platform: Value) -> Value {
    let mut entry = blob.descriptor();
    entry["platform"] = platform;
    entry["annotations"] = Value::Null;
    entry
}

/// What containerd, crane and skopeo take: an index in an index, entries that
/// do not say what they are for, nulls where others leave out.
#[test]
fn the_image_is_found_behind_every_kind_of_index() {
    let registry = Registry::start();
    let (amd64, arm64) = (Image::small(1, 1_000), Image::build(2, &[layer(2, 1_000)], Dialect::Oci, Platform::arm64()));
    let linux = json!({ "os": "linux", "architecture": "amd64", "os.features": null, "variant": null });
    let nulls = changed(&amd64, |manifest| {
        manifest["annotations"] = Value::Null;
        manifest["layers"][0]["urls"] = Value::Null;
        manifest["config"]["annotations"] = Value::Null;
    });
    let inner = index_of(&[
        entry(&arm64.manifest, json!({ "os": "linux", "architecture": "arm64" })),
        entry(&amd64.manifest, linux.clone()),
    ]);
    let silent = index_of(&[entry(&arm64.manifest, Value::Null), entry(&amd64.manifest, json!({}))]);
    let cases = [
        ("nested", index_of(&[entry(&inner, linux.clone())]), amd64.digest()),
        ("nested-silent", index_of(&[entry(&inner, Value::Null)]), amd64.digest()),
        ("silent", silent.clone(), amd64.digest()),
        ("silent-nested", index_of(&[entry(&silent, Value::Null)]), amd64.digest()),
        ("nulls", index_of(&[entry(&nulls.manifest, linux)]), nulls.digest()),
    ];
    for (repository, index, _) in &cases {
        for image in [&amd64, &arm64, &nulls] {
            registry.push(repository, image);
        }
        for index in [&inner, &silent] {
            registry.push_manifest(repository, None, index);
        }
        registry.push_manifest(repository, Some("1"), index);
    }
    let names: Vec<String> = cases.iter().map(|(repository, ..)| format!("{repository}:1")).collect();
    let pins: Vec<String> =
        cases.iter().map(|(repository, index, _)| format!("{repository}@{}", index.digest)).collect();
    let all: Vec<&str> = names.iter().chain(&pins).map(String::as_str).collect();
    let project = project(&registry, &all);
    project.build();
    let layout = Layout::check(&project.path("build/steps/images"));
    for ((repository, index, wanted), (name, pin)) in cases.iter().zip(names.iter().zip(&pins)) {
        assert_eq!(layout.digest_of(&registry.reference(name)), *wanted, "{repository}");
        assert_eq!(layout.digest_of(&registry.reference(pin)), index.digest, "{repository}");
    }
    verifies(&project);
    // From the lock and the store alone, also after what is not needed went.
    project.run(&["gc"]).success();
    project.run(&["build", "--clean", "--offline"]).success();
    project.run(&["build", "--locked"]).success();

    // A loop of indexes, and one for no platform of ours, are told.
    let other = index_of(&[entry(&arm64.manifest, Value::Null), entry(&arm64.manifest, Value::Null)]);
    registry.push("other", &arm64);
    registry.push_manifest("other", Some("1"), &other);
    let failing = self::project(&registry, &["other:1"]);
    failing.run(&["build"]).code(1).says(&["other:1", "not for linux/amd64"]);
}
