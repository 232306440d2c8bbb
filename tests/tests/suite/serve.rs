//! Guards `serve`: real clients take what a package holds, under every name that
//! they use, and nothing that was not verified leaves.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::http::Content;
use airgap_tests::images::{Blob, Image, Index, Packing, layer, layer_of};
use airgap_tests::measure::high_water_mark_of;
use airgap_tests::nodes::{Containerd, Podman};
use airgap_tests::platform::Platform;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::serving::Serving;
use airgap_tests::tls;
use airgap_tests::tools::{self, Skopeo};
use serde_json::{Value, json};

/// A project with a package of these images.
fn packaged(registry: &Registry, names: &[&str]) -> Project {
    let mut project = Project::new().with_registry(&registry.host());
    for name in names {
        project = project.with_image(registry.reference(name));
    }
    project.build();
    project
}

fn serve(project: &Project, arguments: &[&str]) -> Serving {
    let package = project.package().display().to_string();
    Serving::start(project, &[&[package.as_str()], arguments].concat())
}

/// The name of a registry on loopback, as its images are served below it.
fn spelled(registry: &Registry) -> String {
    registry.host().replace(':', "_")
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}

#[test]
fn clients_take_everything_out_of_the_package() {
    let (Some(skopeo), Some(curl)) = (Skopeo::find(), tools::require("curl")) else { return };
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    project.build();
    let serving = serve(&project, &[]);
    let inspected = project.run(&["inspect", "--json", &project.package().display().to_string()]).success().json();

    let images = inspected["images"].as_array().unwrap();
    assert_eq!(images.len(), 5);
    for image in images {
        let (host, name) = image["reference"].as_str().unwrap().split_once('/').unwrap();
        let folder = tempfile::tempdir().unwrap();
        let to = format!("dir:{}", folder.path().display());
        for path in [format!("{}/{name}", host.replace(':', "_")), name.to_owned()] {
            skopeo.copy(&["--all"], &format!("docker://{}", serving.reference(&path)), &to);
            let manifest = std::fs::read(folder.path().join("manifest.json")).unwrap();
            assert_eq!(format!("sha256:{}", sha256(&manifest)), image["digest"].as_str().unwrap());
        }
    }

    for file in inspected["files"].as_array().unwrap() {
        let source = file["source"].as_str().unwrap().trim_start_matches("http://").replacen(':', "_", 1);
        let name = file["target"].as_str().unwrap().rsplit('/').next().unwrap();
        // What was taken out of an archive lies below it.
        let path = if source.ends_with(".tar.gz") { format!("{source}/{name}") } else { source };
        let name = path.rsplit('/').next().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = serving.at(&format!("/files/{path}"));
        let get = |url: &str| tools::run(Command::new(&curl).args(["-fsSO", url]).current_dir(folder.path()));
        get(&url);
        get(&format!("{url}.sha256"));
        tools::run(
            Command::new("sha256sum").args(["-c", "--quiet", &format!("{name}.sha256")]).current_dir(folder.path()),
        );
        assert_eq!(sha256(&std::fs::read(folder.path().join(name)).unwrap()), file["sha256"].as_str().unwrap());
    }

    let repository = &inspected["repositories"][0];
    let url = repository["url"].as_str().unwrap().trim_start_matches("http://").replacen(':', "_", 1);
    let (path, _) = url.rsplit_once('@').unwrap();
    for path in [path, path.trim_end_matches(".git"), &url.replace(".git", "")] {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            tools::run(Command::new("git").args(arguments).current_dir(folder.path()).env("HOME", folder.path()))
        };
        git(&["clone", "--quiet", &serving.at(&format!("/git/{path}")), "clone"]);
        assert_eq!(git(&["-C", "clone", "rev-parse", "HEAD"]).trim(), repository["commit"].as_str().unwrap());
        git(&["-C", "clone", "fsck", "--strict"]);
        assert!(folder.path().join("clone/README.md").is_file());
    }

    let home = serving.get("/").text();
    for shown in ["platform 1.0.0", "skopeo copy", "helm pull oci://", "git clone", "curl -fO"] {
        assert!(home.contains(shown), "{home}");
    }
}

#[test]
fn a_registry_answers_as_the_specification_has_it() {
    let registry = Registry::start();
    let image = Image::small(1, 300_000);
    registry.push("team/app:1.0", &image);
    registry.push("team/app:1.1", &image);
    registry.push("team/other:2", &Image::small(2, 1_000));
    let project = packaged(&registry, &["team/app:1.0", "team/app:1.1", "team/other:2"]);
    let serving = serve(&project, &[]);
    let full = format!("{}/team/app", spelled(&registry));

    let version = serving.get("/v2/");
    assert_eq!((version.status, version.header("docker-distribution-api-version")), (200, Some("registry/2.0")));
    for name in [full.as_str(), "team/app", &format!("{}/team/app", registry.host())] {
        let by_tag = serving.get(&format!("/v2/{name}/manifests/1.0"));
        assert_eq!((by_tag.status, by_tag.header("docker-content-digest")), (200, Some(image.digest())), "{name}");
        assert_eq!(by_tag.body, image.manifest.bytes[..]);
        assert_eq!(by_tag.header("content-type"), Some(image.manifest.media_type.as_str()));
    }
    let by_namespace = |namespace: &str| serving.get(&format!("/v2/team/app/manifests/1.0?ns={namespace}"));
    assert_eq!(by_namespace(&registry.host()).status, 200);
    assert_eq!((by_namespace("quay.io").status, by_namespace("quay.io").code().as_str()), (404, "NAME_UNKNOWN"));
    assert_eq!(serving.get(&format!("/v2/team/app/manifests/{}", image.digest())).body, image.manifest.bytes[..]);

    let layer = &image.layers[0];
    let blob = format!("/v2/team/app/blobs/{}", layer.digest);
    let head = serving.ask("HEAD", &blob, &[]);
    let length = layer.bytes.len().to_string();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some(length.as_str()), 0));
    assert_eq!(serving.get(&blob).body, layer.bytes[..]);
    let size = layer.bytes.len();
    for (range, status, expected) in [
        ("bytes=0-0", 206, &layer.bytes[..1]),
        ("bytes=131071-131073", 206, &layer.bytes[131_071..131_074]),
        ("bytes=200000-", 206, &layer.bytes[200_000..]),
        ("bytes=-7", 206, &layer.bytes[size - 7..]),
        ("bytes=5-2", 200, &layer.bytes[..]),
        ("bytes=0-1,5-6", 200, &layer.bytes[..]),
        ("bytes=9999999999-", 416, &[][..]),
        ("bytes=99999999999999999999999999-", 416, &[][..]),
    ] {
        let part = serving.ask("GET", &blob, &[&format!("Range: {range}")]);
        assert_eq!((part.status, part.body.as_slice()), (status, expected), "{range}");
        let told = part.header("content-range").map(|range| range.rsplit('/').next().unwrap().to_owned());
        assert_eq!(told, (status != 200).then(|| size.to_string()), "{range}");
    }
    let etag = serving.get(&blob).header("etag").unwrap().to_owned();
    assert_eq!(serving.ask("GET", &blob, &[&format!("If-None-Match: {etag}")]).status, 304);
    let other = serving.ask("GET", &blob, &["Range: bytes=0-0", "If-Range: \"other\""]);
    assert_eq!((other.status, other.body.len()), (200, size));

    let tags = serving.get("/v2/team/app/tags/list?n=1");
    assert_eq!(tags.json(), json!({ "name": "team/app", "tags": ["1.0"] }));
    assert_eq!(tags.header("link"), Some("</v2/team/app/tags/list?n=1&last=1.0>; rel=\"next\""));
    let rest = serving.get("/v2/team/app/tags/list?n=1&last=1.0");
    assert_eq!((strings(&rest.json()["tags"]), rest.header("link")), (vec!["1.1"], None));
    assert_eq!(strings(&serving.get("/v2/team/app/tags/list?n=0").json()["tags"]), Vec::<&str>::new());
    let catalog = serving.get("/v2/_catalog").json();
    assert_eq!(strings(&catalog["repositories"]), [full.as_str(), &format!("{}/team/other", spelled(&registry))]);
    let referrers = serving.get(&format!("/v2/team/app/referrers/{}", image.digest()));
    assert_eq!(referrers.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
    assert_eq!(referrers.json()["manifests"], json!([]));

    let unknown = format!("sha256:{}", "0".repeat(64));
    for (method, path, status, code) in [
        ("GET", "/v2/team/app/manifests/9".to_owned(), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/team/app/manifests/{unknown}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/team/app/blobs/{unknown}"), 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/team/none/manifests/1".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET", "/v2/team/App/manifests/1".to_owned(), 400, "NAME_INVALID"),
        ("GET", format!("/v2/{}/manifests/1", "a".repeat(256)), 400, "NAME_INVALID"),
        ("GET", "/v2/team/app/blobs/sha256:12".to_owned(), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/team/app/blobs/sha256:{}", "A".repeat(64)), 400, "DIGEST_INVALID"),
        ("GET", "/v2/team/app/referrers/x".to_owned(), 400, "DIGEST_INVALID"),
        ("GET", "/v2/team/app/tags/list?n=x".to_owned(), 400, "PAGINATION_NUMBER_INVALID"),
        ("POST", "/v2/team/app/blobs/uploads/".to_owned(), 405, "UNSUPPORTED"),
        ("PUT", "/v2/team/app/manifests/1.0".to_owned(), 405, "UNSUPPORTED"),
        ("DELETE", "/v2/team/app/manifests/1.0".to_owned(), 405, "UNSUPPORTED"),
        ("PATCH", "/v2/team/app/blobs/uploads/x".to_owned(), 405, "UNSUPPORTED"),
    ] {
        let answer = serving.ask(method, &path, &[]);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET, HEAD"), "{method} {path}");
    }
}

/// What is carried about an image is found by it.
#[test]
fn signatures_that_are_carried_are_referrers() {
    let registry = Registry::start();
    let image = Image::small(1, 1_000);
    registry.push("team/app:1", &image);
    let empty = Blob::new("application/vnd.oci.empty.v1+json", b"{}".to_vec());
    let about = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.test.signature", "config": empty.descriptor(), "layers": [empty.descriptor()],
        "subject": image.manifest.descriptor(), "annotations": { "of": "test" },
    });
    let about = Blob::new("application/vnd.oci.image.manifest.v1+json", about.to_string().into_bytes());
    registry.push_blob("team/app", &empty.digest, Content::Memory(empty.bytes.clone()));
    registry.push_manifest("team/app", Some("signature"), &about);
    let project = packaged(&registry, &["team/app:1", "team/app:signature"]);
    let serving = serve(&project, &[]);
    let path = format!("/v2/team/app/referrers/{}", image.digest());
    let found = serving.get(&path).json();
    let expected = json!({
        "mediaType": about.media_type, "digest": about.digest, "size": about.bytes.len(),
        "artifactType": "application/vnd.test.signature", "annotations": { "of": "test" },
    });
    assert_eq!(found["manifests"], json!([expected]));
    let others = serving.get(&format!("{path}?artifactType=other"));
    assert_eq!(
        (others.json()["manifests"].clone(), others.header("oci-filters-applied")),
        (json!([]), Some("artifactType"))
    );
    assert_eq!(serving.get(&format!("{path}?artifactType=application%2Fvnd.test.signature")).json(), found);
}

/// What one package says a tag is, another one may not say otherwise.
#[test]
fn packages_that_contradict_each_other_are_refused() {
    let registry = Registry::start();
    registry.push("team/app:1", &Image::small(1, 1_000));
    let one = packaged(&registry, &["team/app:1"]);
    registry.push("team/app:1", &Image::small(2, 1_000));
    registry.push("team/new:1", &Image::small(3, 1_000));
    let two = packaged(&registry, &["team/app:1", "team/new:1"]);
    let [first, second] = [&one, &two].map(|project| project.package().display().to_string());
    let run = two.run(&["serve", &first, &second]).code(4);
    run.says(&[&registry.reference("team/app:1"), &first, &second, "only one image"]);
    // Twice the same is no contradiction.
    let serving = Serving::start(&two, &[&second, &second]);
    assert_eq!(serving.get("/v2/team/new/manifests/1").status, 200);
    two.run(&["serve", "nowhere.tar.zst"]).code(2).says(&["no package at `nowhere.tar.zst`"]);
    two.write("text.tar.zst", "no archive");
    two.run(&["serve", "text.tar.zst"]).code(4).says(&["text.tar.zst"]);
}

/// Wherever a package is damaged: an error, or an answer that is cut, and the
/// rest of it is served.
#[test]
fn what_is_damaged_never_leaves_whole() {
    let registry = Registry::start();
    let noise = layer(7, 5_000_000);
    let text = layer_of("text", "a line of text, as there are many\n".repeat(150_000).as_bytes(), Packing::Plain);
    let image = Image::new(1, &[noise.clone(), text.clone()]);
    registry.push("team/app:1", &image);
    registry.push("team/other:1", &Image::small(2, 1_000));
    let project = packaged(&registry, &["team/app:1", "team/other:1"]);
    let package = std::fs::read(project.package()).unwrap();
    let place = |needle: &[u8]| package.windows(needle.len()).position(|window| window == needle).expect("as it is");
    let content = &noise.blob.bytes;
    let begins = place(&content[100..200]) - 100;
    let ends = place(&content[content.len() - 100..]) + 100;
    // The text is compressed: it lies behind or before the noise.
    let spots = [begins, begins + 1, begins + 100_000, (begins + ends) / 2, ends - 1];
    for at in spots {
        let mut damaged = package.clone();
        damaged[at] ^= 0x10;
        project.write("damaged.tar.zst", damaged);
        let serving = Serving::start(&project, &["damaged.tar.zst"]);
        let blob = format!("/v2/team/app/blobs/{}", noise.blob.digest);
        for _ in 0..2 {
            let answer = serving.get(&blob);
            assert!(answer.status == 500 || !answer.is_whole, "byte {at}: {} {}", answer.status, answer.body.len());
            if answer.status == 200 {
                let length = answer.body.len();
                assert!(answer.body == content[..length], "byte {at}: what left is what it should be");
            }
        }
        let part = serving.ask("GET", &blob, &["Range: bytes=10-20"]);
        assert_eq!(part.status, 500, "a part is of a whole that is verified");
        assert_eq!(serving.get(&format!("/v2/team/app/blobs/{}", text.blob.digest)).body, text.blob.bytes[..]);
        let log = serving.requests(4);
        assert!(log[0]["failure"].as_str().is_some_and(|why| why.contains("checksum")), "{log:?}");
    }
}

/// Frames that are compressed are checked as well, and so is all between them.
#[test]
fn no_byte_of_a_package_can_be_changed_unseen() {
    let registry = Registry::start();
    let text = layer_of("text", "a line of text, as there are many\n".repeat(20_000).as_bytes(), Packing::Plain);
    let image = Image::new(1, std::slice::from_ref(&text));
    registry.push("team/app:1", &image);
    let project = packaged(&registry, &["team/app:1"]);
    let package = std::fs::read(project.package()).unwrap();
    let mut served = 0;
    for at in (3..package.len()).step_by(package.len() / 40) {
        let mut damaged = package.clone();
        damaged[at] ^= 0x04;
        project.write("damaged.tar.zst", damaged);
        let run = project.run(&["serve", "damaged.tar.zst", "--print", "docker"]);
        if run.status.code() != Some(0) {
            assert!(matches!(run.status.code(), Some(2 | 4)), "byte {at}: {run}");
            continue;
        }
        served += 1;
        let serving = Serving::start(&project, &["damaged.tar.zst"]);
        for blob in image.blobs() {
            let answer = serving.get(&format!("/v2/team/app/blobs/{}", blob.digest));
            let is_right = answer.status == 200 && answer.is_whole && answer.body == blob.bytes[..];
            let is_refused = answer.status != 200 || !answer.is_whole;
            assert!(is_right || is_refused, "byte {at}");
        }
    }
    assert!(served > 2, "{served}");
}

/// Packages of others and older ones: without an index, as one stream, plain.
#[test]
fn packages_without_an_index_are_served_as_well() {
    let registry = Registry::start();
    let image = Image::new(1, &[layer(7, 5_000_000), layer(8, 10)]);
    registry.push("team/app:1", &image);
    let project = packaged(&registry, &["team/app:1"]);
    let package = std::fs::read(project.package()).unwrap();
    let magic = 0x184D_2A5D_u32.to_le_bytes();
    let end = package.windows(4).rposition(|window| window == magic).unwrap();
    let tar = zstd::decode_all(package.as_slice()).unwrap();
    project.write("older.tar.zst", &package[..end]);
    project.write("stream.tar.zst", zstd::encode_all(tar.as_slice(), 1).unwrap());
    project.write("plain.tar", &tar);
    project.run(&["serve", "stream.tar.zst"]).code(2).says(&["one stream", "--spool"]);
    std::fs::create_dir(project.path("spool")).unwrap();
    for (name, note) in [("older.tar.zst", "walked"), ("stream.tar.zst", "unpacked"), ("plain.tar", "walked")] {
        let serving = Serving::start(&project, &[name, "--spool", "spool"]);
        assert!(serving.told["notes"][0].as_str().unwrap().contains(note), "{}", serving.told);
        assert_eq!(serving.get("/v2/team/app/manifests/1").body, image.manifest.bytes[..], "{name}");
        for blob in image.blobs() {
            assert_eq!(serving.get(&format!("/v2/team/app/blobs/{}", blob.digest)).body, blob.bytes[..], "{name}");
        }
        assert_eq!(std::fs::read_dir(project.path("spool")).unwrap().count(), 0, "it has no name");
    }
    // One of Zarf's own.
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/golden/zarf-package-golden-amd64-1.2.3.tar.zst");
    let serving = Serving::start(&project, &[golden, "--spool", "spool"]);
    let names = serving.get("/v2/_catalog").json();
    let names = strings(&names["repositories"]).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert!(!names.is_empty());
    for name in names {
        for tag in strings(&serving.get(&format!("/v2/{name}/tags/list")).json()["tags"]) {
            assert_eq!(serving.get(&format!("/v2/{name}/manifests/{tag}")).status, 200, "{name}:{tag}");
        }
    }
    let mut damaged = tar.clone();
    let at = damaged.windows(18).position(|window| window == b"imageLayoutVersion").unwrap();
    damaged[at] ^= 1;
    project.write("damaged.tar", damaged);
    project.run(&["serve", "damaged.tar"]).code(4).says(&["damaged.tar", "images/oci-layout"]);
}

#[test]
fn hostile_requests_get_an_answer_and_the_server_goes_on() {
    let registry = Registry::start();
    registry.push("team/app:1", &Image::small(1, 1_000));
    let project = packaged(&registry, &["team/app:1"]);
    let serving = serve(&project, &[]);
    for path in [
        "/files/../../etc/passwd",
        "/files/%2e%2e/%2e%2e/etc/passwd",
        "/files/..%2fetc/passwd",
        "//etc/passwd",
        "/files//etc/passwd",
        "/files/%00",
        "/files/a%0d%0ab",
        "/git/../x/info/refs",
        "/charts/..%5cx",
        "/v2//manifests/x",
        "/v2/../manifests/x",
        "/%",
        "/%zz",
        "/files/%ff",
    ] {
        assert_eq!(serving.get(path).status, 400, "{path}");
    }
    for path in ["/files/etc/passwd", "/git/x/y/info/refs", "/charts/x.tgz", "/x", "/v2/x", "/git/", "/charts/values/x"]
    {
        assert_eq!(serving.get(path).status, 404, "{path}");
    }
    assert_eq!(serving.get(&format!("/{}", "a".repeat(5_000))).status, 414);
    let host = &serving.host;
    let many: String = (0..500).map(|at| format!("X-{at}: {at}\r\n")).collect();
    let long = "x".repeat(200_000);
    for (request, expected) in [
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\n{many}\r\n"), &[431][..]),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {long}\r\n\r\n"), &[431]),
        (format!("GET /{long} HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[414, 431]),
        ("nonsense\r\n\r\n".to_owned(), &[400]),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), &[400]),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length: -5\r\n\r\n"), &[400]),
        (
            format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9999999999999\r\n\r\nx"),
            &[405],
        ),
    ] {
        let status = serving.send(request.as_bytes()).status;
        assert!(expected.contains(&status), "{status} of {}", &request[..request.len().min(60)]);
    }
    // Those who say nothing do not keep others from being served.
    let idle: Vec<_> = (0..200).map(|_| serving.connect()).collect();
    assert_eq!(serving.get("/v2/team/app/manifests/1").status, 200);
    drop(idle);
    let memory = high_water_mark_of(serving.id());
    assert!(memory < 64 << 20, "{memory}");
    let (code, last) = serving.stop();
    assert_eq!((code, last["event"].as_str()), (Some(0), Some("stopped")), "{last}");
}

/// A log that nobody reads is no reason to keep clients waiting.
#[test]
fn a_log_that_is_not_read_stops_nobody() {
    let registry = Registry::start();
    let image = Image::small(1, 1_000);
    registry.push("team/app:1", &image);
    let project = packaged(&registry, &["team/app:1"]);
    let package = project.package().display().to_string();
    let mut child = project.command(&["serve", &package, "--json", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    let told: Value = serde_json::from_str(&first).unwrap();
    let mut stream = TcpStream::connect(told["address"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    // A pipe holds some 64 KiB: these lines are ten times as many.
    let request = format!("HEAD /v2/team/app/manifests/1?{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(300));
    for number in 0..2_000 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{number}: {line}");
        while line.trim() != "" {
            line.clear();
            answers.read_line(&mut line).unwrap();
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Clients who take nothing do not fill the memory, nor keep others waiting.
#[test]
fn sixty_four_clients_take_no_more_than_sixty_four_mebibytes() {
    let registry = Registry::start();
    let noise = layer(3, 30_000_000);
    let text = layer_of("text", "a line of text, as there are many\n".repeat(400_000).as_bytes(), Packing::Plain);
    registry.push("team/app:1", &Image::new(1, &[noise.clone(), text.clone()]));
    let project = packaged(&registry, &["team/app:1"]);
    let serving = serve(&project, &[]);
    let mut stalled = Vec::new();
    for blob in [&noise.blob, &text.blob].into_iter().cycle().take(64) {
        let mut stream = serving.connect();
        let request = format!("GET /v2/team/app/blobs/{} HTTP/1.1\r\nHost: x\r\n\r\n", blob.digest);
        stream.write_all(request.as_bytes()).unwrap();
        stalled.push(stream);
    }
    std::thread::scope(|scope| {
        for client in 0..64 {
            let (serving, noise, text) = (&serving, &noise, &text);
            scope.spawn(move || {
                let blob = if client % 2 == 0 { &noise.blob } else { &text.blob };
                let answer = serving.get(&format!("/v2/team/app/blobs/{}", blob.digest));
                assert!(answer.status == 200 && answer.body == blob.bytes[..], "client {client}");
            });
        }
    });
    let memory = high_water_mark_of(serving.id());
    assert!(memory < 64 << 20, "{} MiB", memory >> 20);
}

#[test]
fn only_users_are_let_in_and_tls_hides_what_they_say() {
    let (Some(skopeo), Some(curl)) = (Skopeo::find(), tools::require("curl")) else { return };
    let registry = Registry::start();
    registry.push("team/app:1", &Image::small(1, 1_000));
    let project = packaged(&registry, &["team/app:1"]);
    project.write("htpasswd", tools::HTPASSWD);
    let serving = serve(&project, &["--htpasswd", "htpasswd", "--tls-self-signed"]);
    assert!(serving.url.starts_with("https://"), "{}", serving.told);
    let fingerprint = serving.told["fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.split(':').count(), 32, "{fingerprint}");
    let asked = |credentials: &str| {
        let arguments = ["-sk", "-o", "/dev/null", "-w", "%{http_code}", "-u", credentials, &serving.at("/v2/")];
        tools::run(Command::new(&curl).args(arguments))
    };
    let right = format!("{}:{}", tools::USER, tools::PASSWORD);
    assert_eq!([asked(&right), asked("builder:wrong"), asked("other:correct horse")], ["200", "401", "401"]);
    let folder = tempfile::tempdir().unwrap();
    let (from, to) =
        (format!("docker://{}", serving.reference("team/app:1")), format!("dir:{}", folder.path().display()));
    skopeo.copy(&["--src-creds", &right], &from, &to);
    let refused =
        skopeo.command().args(["copy", "--src-tls-verify=false", "--src-no-creds", &from, &to]).output().unwrap();
    assert!(!refused.status.success());
    drop(serving);
    project.write("htpasswd", "builder:$apr1$x$y\n");
    let package = project.package().display().to_string();
    project.run(&["serve", &package, "--htpasswd", "htpasswd"]).code(1).says(&["htpasswd:1", "builder", "bcrypt"]);
    project.run(&["serve", &package, "--htpasswd", "none"]).code(2).says(&["no file `none`"]);
}

#[test]
fn what_keeps_it_from_listening_is_named() {
    let registry = Registry::start();
    registry.push("team/app:1", &Image::small(1, 1_000));
    let project = packaged(&registry, &["team/app:1"]);
    let package = project.package().display().to_string();
    let serving = serve(&project, &[]);
    let port = serving.host.rsplit(':').next().unwrap();
    project.run(&["serve", &package, "--listen", &serving.host]).code(1).says(&[
        &format!("port {port}"),
        "is taken",
        "--listen",
    ]);
    project.run(&["serve", &package, "--listen", "203.0.113.7:5001"]).code(1).says(&["has no address 203.0.113.7"]);
    project.run(&["serve", &package, "--listen", "nonsense"]).code(2);
    project.run(&["serve"]).code(2);
    project.write("text.pem", "no certificate");
    let with = |certificate: &str, key: &str| {
        project.run(&["serve", &package, "--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key])
    };
    project.write("expired.pem", tls::EXPIRED);
    project.write("key.pem", tls::EXPIRED_KEY);
    with("expired.pem", "key.pem").code(1).says(&["expired.pem", "has expired"]);
    with("text.pem", "text.pem").code(1).says(&["`text.pem` holds no certificate"]);
    with("none.pem", "text.pem").code(2).says(&["no file `none.pem`"]);
}

/// What `--print` says is what containerd and podman want to hear, and the
/// registry that an image is called by is not there any more.
#[test]
fn nodes_pull_by_the_configuration_that_is_printed() {
    let registry = Registry::start();
    let image = Image::small(1, 300_000);
    registry.push("team/app:1", &image);
    let project = packaged(&registry, &["team/app:1"]);
    let (name, package) = (registry.reference("team/app:1"), project.package().display().to_string());
    drop(registry);
    let serving = serve(&project, &[]);
    let print = |of: &str| project.run(&["serve", &package, "--print", of, "--url", &serving.url]).success().stdout;
    if let Some(containerd) = Containerd::start() {
        project.write("certs.d/_default/hosts.toml", print("containerd"));
        assert_eq!(containerd.fetch(&project.path("certs.d"), &name), image.digest());
    }
    if let Some(podman) = Podman::find() {
        assert_eq!(podman.pull(&print("registries.conf"), &name), image.digest());
    }
    let log = serving.requests(1);
    let by = |agent: &str| log.iter().any(|line| line["agent"].as_str().unwrap_or_default().contains(agent));
    assert!(by("containerd") || by("containers"), "{log:?}");
}

/// Charts, files and repositories alone are a package as well.
#[test]
fn a_package_without_images_is_served_and_pushed() {
    let files = FileServer::start();
    files.put("/tool", "a tool");
    let tool = json!({ "name": "tool", "version": "1", "url": files.url("/tool") });
    let project = Project::new().with_file_server(&files.host()).with_component("tools", tool);
    project.build();
    let serving = serve(&project, &[]);
    assert_eq!(serving.get("/v2/_catalog").json(), json!({ "repositories": [] }));
    assert_eq!((serving.get("/v2/").status, serving.get("/").status), (200, 200));
    assert_eq!(serving.get("/charts/index.yaml").status, 200);
    assert_eq!(serving.get("/v2/a/manifests/1").code(), "NAME_UNKNOWN");
    let package = project.package().display().to_string();
    project.run(&["inspect", "images", &package]).success();
    project.run(&["push", &package, "127.0.0.1:9", "--plain-http"]).success().says(&["nothing to send"]);
    project
        .run(&["push", &package, "127.0.0.1:9", "--match", "x"])
        .code(2)
        .says(&["nothing in the package is called like `x`"]);
    for of in ["containerd", "registries.conf", "kubespray", "helm", "docker"] {
        project.run(&["serve", &package, "--print", of, "--url", "http://10.0.0.5:5001"]).success();
    }
}

/// One client that takes all it can get leaves room for the next one.
#[test]
fn one_client_does_not_take_all_the_room() {
    let Some(curl) = tools::require("curl") else { return };
    let registry = Registry::start();
    registry.push("team/app:1", &Image::small(1, 1_000));
    let project = packaged(&registry, &["team/app:1"]);
    let serving = serve(&project, &[]);
    let greedy: Vec<TcpStream> = (0..600).filter_map(|_| TcpStream::connect(&serving.host).ok()).collect();
    assert!(greedy.len() > 256, "{}", greedy.len());
    let asked = |from: &str| {
        let arguments = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "--interface", from];
        let output = Command::new(&curl).args(arguments).arg(serving.at("/v2/")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!((asked("127.0.0.2").as_str(), asked("127.0.0.1").as_str()), ("200", "000"));
    drop(greedy);
    assert_eq!(asked("127.0.0.1"), "200");
}

#[test]
fn an_index_is_served_with_all_of_its_images() {
    let Some(skopeo) = Skopeo::find() else { return };
    let registry = Registry::start();
    let index = Index::new(&[Image::small(1, 2_000), Image::small(2, 3_000)]);
    registry.push_index("team/app:1", &index);
    let pinned = format!("team/app@{}", index.manifest.digest);
    let project = packaged(&registry, &[&pinned]);
    let serving = serve(&project, &[]);
    let folder = tempfile::tempdir().unwrap();
    let from = format!("docker://{}", serving.reference(&pinned));
    skopeo.copy(&["--all"], &from, &format!("dir:{}", folder.path().display()));
    assert_eq!(serving.get("/v2/team/app/tags/list").json()["tags"], json!([]));
}

#[test]
fn a_node_is_told_of_the_server_in_its_own_words() {
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    project.build();
    let package = project.package().display().to_string();
    let print_for =
        |of: &str, url: &str| project.run(&["serve", &package, "--print", of, "--url", url]).success().stdout;
    let print = |of: &str| print_for(of, "http://10.0.0.5:5001");
    let docker: Value = serde_json::from_str(&print("docker")).unwrap();
    assert_eq!(
        docker,
        json!({ "registry-mirrors": ["http://10.0.0.5:5001"], "insecure-registries": ["10.0.0.5:5001"] })
    );
    let kubespray: Value = serde_yaml::from_str(&print("kubespray")).unwrap();
    assert_eq!(
        (&kubespray["registry_host"], &kubespray["files_repo"]),
        (&json!("10.0.0.5:5001"), &json!("http://10.0.0.5:5001/files"))
    );
    let containerd = print("containerd");
    assert!(containerd.contains("[host.\"http://10.0.0.5:5001\"]"), "{containerd}");
    let conf = print("registries.conf");
    let (host, port) = platform.registry.host().split_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).unwrap();
    assert!(conf.contains(&format!("prefix = \"{host}:{port}\"")), "{conf}");
    assert!(conf.contains(&format!("location = \"10.0.0.5:5001/{host}_{port}\"")), "{conf}");
    let helm = print_for("helm", "https://charts.test");
    assert!(helm.contains("helm pull oci://charts.test/charts/web --version 1.0.0"), "{helm}");
}
