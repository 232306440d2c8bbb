//! Whole runs of the step against a registry.

use airgap_tests::fault::{Fault, On};
use airgap_tests::images::{Dialect, Image, Index, Platform, layer};
use airgap_tests::registry::Registry;

use super::*;
use crate::steps::test_support::{edited, network, settings};
use base::digest::Digest;
use base::error::Class;
use disk::fs;

struct Bench {
    folder: tempfile::TempDir,
    registry: Registry,
    store: Store,
    lock: SharedLock,
}

/// What a run left.
struct Ran {
    result: Result<StepOutcome>,
    tree: TreeBuilder,
    progress: Progress,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    Bench { folder, registry: Registry::start(), store, lock: SharedLock::default() }
}

impl Bench {
    fn components(&self, images: &[&str]) -> ResolvedComponents {
        let images = images
            .iter()
            .map(|name| if name.contains("://") { (*name).to_owned() } else { self.registry.reference(name) });
        ResolvedComponents { architecture: "amd64".into(), images: images.collect(), ..ResolvedComponents::default() }
    }

    /// Every blob that the images are made of, by the lock and the store.
    fn made_of(&self, images: &[&str]) -> BTreeSet<Digest> {
        let lock = self.lock.lock().clone();
        let of = |written: &String| {
            let parts = parts(written, &lock.images[&resolve::lock_key(written, "amd64")], &self.store);
            parts.into_iter().map(|part| part.0)
        };
        self.components(images).images.iter().flat_map(of).collect()
    }

    fn stored(&self) -> BTreeSet<Digest> {
        self.store.list().unwrap().into_iter().map(|blob| blob.0).collect()
    }

    async fn run(&self, images: &[&str]) -> Ran {
        self.run_with(&self.components(images), true).await
    }

    async fn run_with(&self, components: &ResolvedComponents, online: bool) -> Ran {
        let tree = TreeBuilder::new(self.folder.path().join("tree"));
        let progress = Progress::silent("images");
        let network = network(&settings(&[&self.registry.host()]));
        let work = ImagesRun {
            store: &self.store,
            network: online.then_some(&network),
            lock: &self.lock,
            output: &tree,
            journal: None,
            progress: &progress,
            concurrency: 8,
            room: None,
            policy: Policy::default(),
            origins: BTreeMap::new(),
            local: AsRead::default(),
            largest_unpacked: 1 << 30,
        };
        let result = work.run(components).await;
        Ran { result, tree, progress }
    }
}

impl Ran {
    fn succeeded(self) -> Self {
        if let Err(error) = &self.result {
            panic!("{error:?}");
        }
        self
    }

    fn index(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.tree.root().join("index.json")).unwrap()).unwrap()
    }

    fn has(&self, digest: &str) -> bool {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let path = format!("blobs/sha256/{hex}");
        let there = self.tree.root().join(&path).is_file();
        assert_eq!(there, self.tree.get(&path).is_some(), "the listing and the disk agree");
        there
    }
}

fn platforms(seed: u64) -> Vec<Image> {
    [("arm64", Some("v8")), ("amd64", None), ("amd64", Some("v3"))]
        .into_iter()
        .enumerate()
        .map(|(at, (architecture, variant))| {
            let layers = [layer(seed + at as u64, 300_000)];
            Image::build(seed, &layers, Dialect::Oci, Platform::new("linux", architecture, variant))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_every_kind_become_one_layout() {
    let bench = bench();
    let shared = layer(1, 400_000);
    let oci = Image::new(1, &[shared.clone(), layer(2, 1000)]);
    let docker = Image::build(2, &[shared.clone(), layer(3, 1000)], Dialect::Docker, Platform::amd64());
    let empty = Image::new(3, &[]);
    let index = Index::with_attestations(&platforms(10));
    bench.registry.push("a/oci:1", &oci);
    bench.registry.push("a/docker:1", &docker);
    bench.registry.push("a/empty:1", &empty);
    bench.registry.push_index("a/index:1", &index);
    let ran = bench.run(&["a/oci:1", "a/docker:1", "a/empty:1", "a/index:1", "a/oci:1"]).await.succeeded();

    let manifests = ran.index()["manifests"].as_array().unwrap().clone();
    assert_eq!(manifests.len(), 4);
    let of = |name: &str| {
        let reference = bench.registry.reference(name);
        let find =
            |manifest: &&serde_json::Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == *reference;
        manifests.iter().find(find).unwrap().clone()
    };
    assert_eq!(of("a/docker:1")["mediaType"], docker.manifest.media_type);
    assert_eq!(of("a/oci:1")["digest"], oci.digest());
    assert_eq!(of("a/oci:1").get("platform"), None);
    assert_eq!(of("a/index:1")["digest"], index.images[1].digest());
    assert_eq!(of("a/index:1")["platform"]["architecture"], "amd64");
    for image in [&oci, &docker, &empty, &index.images[1]] {
        assert!(ran.has(image.digest()) && image.blobs().all(|blob| ran.has(&blob.digest)));
    }
    assert!(!ran.has(&index.manifest.digest) && !ran.has(index.images[0].digest()));
    assert!(!ran.has(index.attestations[0].digest()));

    // One request per manifest, one per blob.
    let manifests = bench.registry.requests("GET", "/manifests/").len();
    let blobs = bench.registry.requests("GET", "/blobs/");
    assert_eq!(manifests, 5);
    let distinct: BTreeSet<&str> = blobs.iter().map(|request| request.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(blobs.len(), distinct.len());
    assert_eq!(bench.registry.log().len(), manifests + blobs.len());
    assert_eq!(ran.result.unwrap().items, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_platform_is_taken_for_each_architecture() {
    let bench = bench();
    let index = Index::with_attestations(&platforms(20));
    bench.registry.push_index("a:1", &index);
    let mut components = bench.components(&["a:1"]);
    components.architecture = "arm64".into();
    let ran = bench.run_with(&components, true).await.succeeded();
    assert_eq!(ran.index()["manifests"][0]["digest"], index.images[0].digest());
    assert_eq!(ran.index()["manifests"][0]["platform"]["variant"], "v8");

    components.architecture = "s390x".into();
    let error = bench.run_with(&components, true).await.result.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.items()[0].message.contains("linux/arm64/v8"), "{error:?}");

    bench.registry.push_index("b:1", &Index::only_attestations(&platforms(30)));
    let error = bench.run(&["b:1"]).await.result.unwrap_err();
    assert!(error.items()[0].message.contains("no platform at all"), "{error:?}");

    // An image without an index says in its configuration what it is for.
    bench.registry.push("c:1", &platforms(40)[0]);
    let error = bench.run(&["c:1"]).await.result.unwrap_err();
    assert!(error.items()[0].message.contains("linux/arm64"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_index_keeps_its_digest_and_everything_in_it() {
    let bench = bench();
    let index = Index::with_attestations(&platforms(50));
    bench.registry.push_index("a:1", &index);
    let name = format!("a@{}", index.manifest.digest);
    let child = format!("a:x@{}", index.images[1].digest());
    let ran = bench.run(&[&name, &child]).await.succeeded();
    let manifests = ran.index()["manifests"].as_array().unwrap().clone();
    let digests: Vec<_> = manifests.iter().map(|manifest| manifest["digest"].as_str().unwrap()).collect();
    assert!(digests.contains(&index.manifest.digest.as_str()) && digests.contains(&index.images[1].digest()));
    assert!(ran.has(&index.manifest.digest));
    for image in index.images.iter().chain(&index.attestations) {
        assert!(ran.has(image.digest()) && image.blobs().all(|blob| ran.has(&blob.digest)));
    }
    assert_eq!(bench.made_of(&[&name, &child]), bench.stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_image_is_never_looked_up_again() {
    let bench = bench();
    let index = Index::new(&platforms(60));
    bench.registry.push_index("a:1", &index);
    bench.run(&["a:1"]).await.succeeded();
    let locked = bench.lock.lock().clone();
    let entry = &locked.images[&format!("{} linux/amd64", bench.registry.reference("a:1"))];
    assert_eq!(entry.index.unwrap().to_string(), index.manifest.digest);
    assert_eq!(entry.manifest.to_string(), index.images[1].digest());

    // The tag moves: the lock stays, and nothing is asked at all.
    bench.registry.push("a:1", &Image::small(99, 1000));
    bench.registry.forget();
    let ran = bench.run(&["a:1"]).await.succeeded();
    assert!(bench.registry.log().is_empty(), "{}", bench.registry.render_log());
    assert_eq!(ran.index()["manifests"][0]["digest"], index.images[1].digest());
    assert_eq!(*bench.lock.lock(), locked);

    // With an empty store: by digest, the same bytes.
    let before = std::fs::read(ran.tree.root().join("index.json")).unwrap();
    let empty = Bench { store: Store::open(bench.folder.path().join("second")).unwrap(), ..bench };
    let ran = empty.run(&["a:1"]).await.succeeded();
    assert!(empty.registry.requests("GET", "/manifests/1").is_empty());
    assert_eq!(std::fs::read(ran.tree.root().join("index.json")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_images_are_listed_together_and_the_others_are_kept() {
    let bench = bench();
    let good = Image::small(1, 200_000);
    let broken = Image::small(2, 200_000);
    bench.registry.push("good:1", &good);
    bench.registry.push("broken:1", &broken);
    bench.registry.fault(On::get("/broken/blobs/"), Fault::status(404));
    bench.registry.fault(On::get("/busy/manifests/"), Fault::status(503));
    let names = ["good:1", "broken:1", "missing:1", "busy:1", "oci://BAD"];
    let ran = bench.run(&names).await;
    let error = ran.result.unwrap_err();
    assert_eq!(error.message(), "4 of 5 images failed");
    assert!(!error.class().may_recover(), "a permanent failure among them decides");
    let statuses: Vec<_> = error.items().iter().map(|item| (item.item.as_str(), item.class, item.status)).collect();
    assert!(statuses.iter().any(|row| row.0.ends_with("missing:1") && row.1 == Class::NotFound && row.2 == Some(404)));
    assert!(statuses.iter().any(|row| row.0.ends_with("busy:1") && row.1 == Class::Transient && row.2 == Some(503)));
    assert!(statuses.iter().any(|row| row.0.ends_with("broken:1") && row.1 == Class::NotFound));
    assert!(statuses.iter().any(|row| row.0 == "oci://BAD" && row.1 == Class::InvalidInput));
    assert!(good.blobs().all(|blob| bench.store.get(&blob.digest.parse().unwrap()).is_some()));

    // Mended, only what is missing is fetched.
    bench.registry.heal();
    bench.registry.push("missing:1", &Image::small(3, 1000));
    bench.registry.push("busy:1", &Image::small(4, 1000));
    bench.registry.forget();
    bench.run(&names[..4]).await.succeeded();
    assert!(bench.registry.requests("GET", "/good/").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_everything_missing_is_listed_at_once() {
    let bench = bench();
    bench.registry.push("a:1", &Image::small(1, 1000));
    bench.registry.push("b:1", &Image::small(2, 1000));
    bench.run(&["a:1"]).await.succeeded();
    let offline = bench.run_with(&bench.components(&["a:1", "b:1", "c:1"]), false).await;
    let error = offline.result.unwrap_err();
    assert_eq!((error.class(), error.items().len()), (Class::NotFound, 2));
    assert!(error.hint_text().unwrap().contains("--offline"));
    bench.run_with(&bench.components(&["a:1"]), false).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_layer_is_found_in_the_repository_that_has_it() {
    let bench = bench();
    let shared = layer(1, 300_000);
    let (big, small) =
        (Image::new(1, &[shared.clone(), layer(2, 100_000)]), Image::new(2, std::slice::from_ref(&shared)));
    bench.registry.push("big:1", &big);
    bench.registry.push("small:1", &small);
    bench.registry.fault(On::get("/big/blobs/").and(shared.blob.digest.clone()), Fault::status(404));
    bench.run(&["big:1", "small:1"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_lies_about_sizes_is_refused() {
    let bench = bench();
    let mut image = Image::small(1, 1000);
    let text = String::from_utf8(image.manifest.bytes.to_vec()).unwrap();
    let size = image.layers[0].bytes.len();
    let lying = text.replace(&format!("\"size\": {size}"), &format!("\"size\": {}", size + 1));
    assert_ne!(lying, text);
    image.manifest = airgap_tests::images::Blob::new(&image.manifest.media_type, lying.into_bytes());
    bench.registry.push("a:1", &image);
    // With the blob in the store already, and without.
    for _ in 0..2 {
        assert!(bench.run(&["a:1"]).await.result.is_err());
        bench.store.insert_bytes(&image.layers[0].bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_is_made_of_is_what_a_run_stores() {
    let bench = bench();
    let shared = layer(1, 400_000);
    let images = [Image::new(1, std::slice::from_ref(&shared)), Image::new(2, &[shared, layer(2, 200_000)])];
    bench.registry.push("a:1", &images[0]);
    bench.registry.push("b:1", &images[1]);
    let ran = bench.run(&["a:1", "b:1"]).await.succeeded();
    assert_eq!(bench.made_of(&["a:1", "b:1"]), bench.stored());
    assert_eq!(bench.registry.log().len(), 6);
    let bytes: u64 = bench.store.list().unwrap().iter().map(|blob| blob.1).sum();
    let counters = ran.progress.counters().read();
    assert_eq!((counters.bytes_fetched, counters.bytes_reused), (bytes, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_edited_lock_is_not_believed() {
    let mut bench = bench();
    bench.registry.push("a:1", &Image::small(1, 1000));
    bench.run(&["a:1"]).await.succeeded();
    let key = format!("{} linux/amd64", bench.registry.reference("a:1"));
    bench.lock = edited(&bench.lock, |lock| lock.images.get_mut(&key).unwrap().size += 1);
    let error = bench.run(&["a:1"]).await.result.unwrap_err();
    assert_eq!(error.items()[0].class, Class::Configuration);
    // The registry deleted what the lock names.
    bench.lock = edited(&bench.lock, |lock| lock.images.get_mut(&key).unwrap().manifest = Digest::of(b"gone"));
    let error = bench.run(&["a:1"]).await.result.unwrap_err();
    assert!(error.items()[0].hint.as_ref().unwrap().contains("update"), "{error:?}");
}

/// A tree shares its files with the store: what shortens one shortens both.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_cut_short_is_fetched_again() {
    let bench = bench();
    let image = Image::small(1, 200_000);
    bench.registry.push("a:1", &image);
    let ran = bench.run(&["a:1"]).await.succeeded();
    let digest = &image.layers[0].digest;
    let path = ran.tree.root().join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1000).unwrap();
    fs::remove_dir_all(ran.tree.root()).unwrap();
    bench.registry.forget();
    let again = bench.run(&["a:1"]).await.succeeded();
    assert!(again.has(digest));
    assert_eq!(bench.registry.requests("GET", "/blobs/").len(), 1, "{}", bench.registry.render_log());
    assert_eq!(bench.store.get(&digest.parse().unwrap()), Some(image.layers[0].size()));
}
