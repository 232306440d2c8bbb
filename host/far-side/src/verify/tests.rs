//! The reference package is sound; whatever is done to its bytes is either
//! noticed or changes nothing that is in it, and never a panic.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use archive::{ArchiveWriter, Compression, NewMember};
use disk::fs;

const NAME: &str = "zarf-package-golden-amd64-1.2.3.tar.zst";
const LAYER: &str = "images/blobs/sha256/77cf390de70c3323f989a02247a58caf4f0ea616440e7b8aceb4f713a0a7f3be";

fn golden() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden").join(NAME);
    std::fs::read(path).unwrap()
}

fn tar() -> Vec<u8> {
    zstd::decode_all(golden().as_slice()).unwrap()
}

/// The files of a package; None where it cannot be read.
fn content(tar: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut archive = tar::Archive::new(tar);
    let mut files = BTreeMap::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).ok()?;
        files.insert(entry.path().ok()?.to_str()?.trim_end_matches('/').to_owned(), bytes);
    }
    Some(files)
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn verify(&self, name: &str, bytes: &[u8]) -> Report {
        #[expect(clippy::disallowed_methods, reason = "thousands of small files that need no sync")]
        std::fs::write(self.path(name), bytes).unwrap();
        verify(&self.path(name)).unwrap()
    }
}

/// Packs entries as the product does.
fn packed(place: &Scratch, entries: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let path = place.path("made.tar.zst");
    let mut writer = ArchiveWriter::create(path.clone(), Compression::Zstd).unwrap();
    for (name, bytes) in
        entries.iter().filter(|(name, _)| name.contains('.') || name.contains("sha256/") || name.ends_with("layout"))
    {
        writer.add(NewMember::bytes(name.clone(), 0o644, bytes.clone())).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

fn rules(report: &Report) -> Vec<&'static str> {
    report.problems.iter().map(|problem| problem.rule).collect()
}

const BETA: &str = "zarf-package-golden-beta-amd64-1.0.0.tar.zst";

/// The reference package with both documents, with another zarf.yaml.
fn with_definition(place: &Scratch, change: impl Fn(&str, &str) -> String) -> Report {
    packed_with(place, &reference_files(), change)
}

fn reference_files() -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden-beta").join(BETA);
    content(&zstd::decode_all(std::fs::read(path).unwrap().as_slice()).unwrap()).unwrap()
}

fn packed_with(place: &Scratch, files: &BTreeMap<String, Vec<u8>>, change: impl Fn(&str, &str) -> String) -> Report {
    let mut entries = files.clone();
    let text = String::from_utf8(entries["zarf.yaml"].clone()).unwrap();
    let (alpha, beta) = text.split_once("---\n").unwrap();
    entries.insert("zarf.yaml".to_owned(), change(alpha, beta).into_bytes());
    let bytes = packed(place, &entries);
    place.verify(BETA, &bytes)
}

/// What is said of the packages of Zarf here, which were made without.
const NO_SBOM: &str = "the package carries no SBOM";

/// Every form that a reader may meet, in any order.
#[test]
fn a_package_is_read_in_every_form() {
    let place = Scratch::new();
    type Change = fn(&str, &str) -> String;
    let forms: [(Change, &[&str], &str, bool); 4] = [
        (|alpha, beta| format!("{alpha}---\n{beta}"), &["zarf.dev/v1alpha1", "zarf.dev/v1beta1"], "0.65.0", false),
        (|alpha, beta| format!("{beta}---\n---\n{alpha}"), &["zarf.dev/v1beta1", "zarf.dev/v1alpha1"], "0.75.1", false),
        (|_, beta| beta.to_owned(), &["zarf.dev/v1beta1"], "0.84.0", false),
        (|alpha, _| alpha.replace("apiVersion: zarf.dev/v1alpha1\n", ""), &["zarf.dev/v1alpha1"], "0.65.0", true),
    ];
    for (change, documents, from, outdated) in forms {
        let report = with_definition(&place, change);
        assert!(report.is_sound(), "{}", report.render_text(false));
        let definition = report.definition.unwrap();
        assert_eq!((definition.documents.as_slice(), definition.zarf_from.as_str()), (documents, from));
        assert_eq!(definition.outdated, outdated);
    }
}

/// Zarf names the file of a chart that v1beta1 has a version of in two ways,
/// and each release looks for one of them.
#[test]
fn the_name_of_a_charts_file_decides_who_finds_it() {
    let place = Scratch::new();
    let with_version = |beta: &str| {
        let source = "    helmRepository:\n      url: https://h\n      version: 1.2.0\n";
        beta.replace("    local:\n      path: chart\n", source)
    };
    let report = with_definition(&place, |_, beta| with_version(beta));
    assert!(report.is_sound() && report.remarks == [NO_SBOM], "{}", report.render_text(false));
    assert_eq!(report.definition.unwrap().zarf_from, "0.86.0");

    let (members, digest) = with_chart_named("web-1.2.0");
    let report = packed_with(&place, &members, |_, beta| {
        with_version(beta).replace("4951967a20d88a7cdcc8c775157512eff53e853151ab88524f33c3da09bcacfc", &digest)
    });
    assert!(report.is_sound(), "{}", report.render_text(false));
    assert!(report.remarks[0].contains("web/charts/web-1.2.0.tgz"), "{:?}", report.remarks);
    assert_eq!(report.definition.unwrap().zarf_from, "0.84.0");
}

/// The files of the reference package with both documents, its chart under
/// another name, and what its checksums come to.
fn with_chart_named(stem: &str) -> (BTreeMap<String, Vec<u8>>, String) {
    let mut files = reference_files();
    let mut renamed = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(files["components/web.tar"].as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (mut header, mut bytes) = (entry.header().clone(), Vec::new());
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path().unwrap().to_str().unwrap().replace("charts/web.", &format!("charts/{stem}."));
        let path = path.replace("values/web-", &format!("values/{stem}-"));
        renamed.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    let renamed = renamed.into_inner().unwrap();
    let sums = String::from_utf8(files["checksums.txt"].clone()).unwrap();
    let [before, after] = [&files["components/web.tar"], &renamed].map(|bytes| Digest::of(bytes).hex());
    let mut lines: Vec<String> = sums.replace(&before, &after).lines().map(str::to_owned).collect();
    lines.sort();
    let sums = lines.join("\n") + "\n";
    let digest = Digest::of(sums.as_bytes()).hex();
    files.insert("components/web.tar".to_owned(), renamed);
    files.insert("checksums.txt".to_owned(), sums.into_bytes());
    (files, digest)
}

/// What is worth knowing is a remark.
#[test]
fn what_cannot_be_compared_is_told() {
    let place = Scratch::new();
    let report = with_definition(&place, |_, beta| {
        beta.replace("    executable: true\n", "    executable: true\n    checksum: sha512:00\n")
    });
    assert!(report.is_sound() && report.remarks[0].contains("/opt/golden/tool.sh"), "{}", report.render_text(false));
}

/// Zarf looks at one document and compares nothing: two sites would deploy
/// different things.
#[test]
fn documents_that_contradict_each_other_are_a_finding() {
    let place = Scratch::new();
    for (from, to, named) in [
        ("version: 1.0.0", "version: 1.0.1", "metadata.version"),
        ("name: web\n", "name: wep\n", "components"),
        ("pause:3.10", "pause:3.11", "components.web.images"),
        ("aggregateChecksum: 49", "aggregateChecksum: 50", "build.aggregateChecksum"),
        ("optional: true", "optional: false", "components.web.optional"),
        ("name: web-cm", "name: web-cn", "components.web.actions.onDeploy.onSuccess.0.wait.cluster.name"),
        ("  - path: values-web.yaml", "  - path: values-wep.yaml", "components.web.charts.web.valuesFiles.0.path"),
        ("v0.65.0\n", "v0.66.0\n", "build.versionRequirements.0.version"),
    ] {
        let report = with_definition(&place, |alpha, beta| format!("{alpha}---\n{}", beta.replace(from, to)));
        let said = report.problems.iter().any(|problem| problem.rule == "documents" && problem.message.contains(named));
        assert!(said, "{from}: {}", report.render_text(false));
    }
    let more =
        with_definition(&place, |alpha, beta| format!("{}constants: [{{name: C, value: v}}]\n---\n{beta}", alpha));
    assert!(rules(&more).contains(&"documents"), "{}", more.render_text(false));
}

#[test]
fn what_is_no_definition_is_named() {
    let place = Scratch::new();
    for (change, why) in [
        ((|alpha, _| format!("{alpha}---\n{alpha}")) as fn(&str, &str) -> String, "two documents of zarf.dev/v1alpha1"),
        (|_, beta| beta.replace("v1beta1", "v2"), "`zarf.dev/v2`"),
        (|_, beta| beta.replace("ZarfPackageConfig", "ZarfComponentConfig"), "not a package"),
        (|_, beta| beta.replace("  aggregateChecksum:", "  other:"), "lacks `build.aggregateChecksum`"),
    ] {
        let report = with_definition(&place, change);
        assert!(
            report.problems.iter().any(|problem| problem.message.contains(why)),
            "{why}: {}",
            report.render_text(false)
        );
    }
}

#[test]
fn what_zarf_made_is_sound() {
    let place = Scratch::new();
    let report = place.verify(NAME, &golden());
    assert!(report.is_sound(), "{}", report.render_text(false));
    assert_eq!(report.sha256, Digest::of(&golden()));
    assert_eq!((report.entries, report.unpacked), (12, tar().len() as u64));
    let identity = report.identity.clone().unwrap();
    assert_eq!((identity.components, identity.images, identity.charts, identity.files), (2, 2, 1, 2));
    assert!(report.error().is_none());
    assert!(report.render_text(false).ends_with("✓ sound and complete\n"));
    assert_eq!(serde_json::to_value(&report).unwrap()["checksum_file"], "missing");
}

#[test]
fn what_we_pack_is_sound_and_damage_is_named_by_file() {
    let place = Scratch::new();
    let files = content(&tar()).unwrap();
    let mut ours = packed(&place, &files);
    assert!(place.verify("ours.tar.zst", &ours).is_sound());
    // The layer is stored as it is, so it can be found and spoilt.
    let layer = &files[LAYER];
    let at = ours.windows(64).position(|window| window == &layer[1000..1064]).unwrap();
    ours[at] ^= 1;
    let report = place.verify("ours.tar.zst", &ours);
    assert_eq!(rules(&report), ["digest", "digest"]);
    assert_eq!(report.problems[0].file.as_deref(), Some(LAYER));
    assert_eq!(report.error().unwrap().class(), base::error::Class::Integrity);
}

#[test]
fn a_document_that_zarf_yaml_names_is_there() {
    let place = Scratch::new();
    let mut files = content(&tar()).unwrap();
    let with = |text: &str| {
        let mut files = files.clone();
        let yaml = String::from_utf8(files["zarf.yaml"].clone()).unwrap();
        files.insert("zarf.yaml".into(), format!("documentation: {{readme: docs/README.md}}\n{yaml}").into_bytes());
        let mut archive = tar::Builder::new(Vec::new());
        if !text.is_empty() {
            let mut header = tar::Header::new_ustar();
            header.set_size(1);
            header.set_mode(0o600);
            archive.append_data(&mut header, text, &b"x"[..]).unwrap();
            files.insert("documentation.tar".into(), archive.into_inner().unwrap());
        }
        files
    };
    let missing = |files: &BTreeMap<String, Vec<u8>>| {
        let report = place.verify("ours.tar.zst", &packed(&place, files));
        let found = report.problems.iter().filter(|problem| problem.file.as_deref() == Some("documentation.tar"));
        found.filter(|problem| problem.rule == "missing").map(|problem| problem.message.clone()).collect::<Vec<_>>()
    };
    assert!(missing(&with(""))[0].contains("is not in the package"));
    assert!(missing(&with("OTHER.md"))[0].contains("lacks `README.md`, the document `readme`"));
    assert!(missing(&with("README.md")).is_empty() && missing(&with("./README.md")).is_empty());
    files.remove("documentation.tar");
    assert!(missing(&files).is_empty());
}

/// zarf.yaml has no digest in the package, so its frame's checksum stands in.
#[test]
fn no_flipped_bit_of_the_last_frame_goes_unnoticed() {
    let place = Scratch::new();
    let files = content(&tar()).unwrap();
    let ours = packed(&place, &files);
    let decoded = zstd::decode_all(ours.as_slice()).unwrap();
    let last = ours.windows(4).rposition(|window| window == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    for bit in (last * 8..ours.len() * 8).step_by(7) {
        let mut flipped = ours.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A header may say the same in other words.
        let same = zstd::decode_all(flipped.as_slice()).is_ok_and(|found| found == decoded);
        assert!(same || !place.verify("p.tar.zst", &flipped).is_sound(), "bit {bit}");
    }
}

#[test]
fn the_checksum_file_is_compared() {
    let place = Scratch::new();
    let sidecar = place.path(&format!("{NAME}.sha256"));
    fs::write_new(&sidecar, format!("{}  {NAME}\n", Digest::of(&golden()).hex()).as_bytes()).unwrap();
    assert_eq!(place.verify(NAME, &golden()).checksum_file, Beside::Matches);
    fs::write_new(&sidecar, b"00  x\n").unwrap();
    let report = place.verify(NAME, &golden());
    assert_eq!((report.checksum_file, rules(&report)), (Beside::Differs, vec!["checksum-file"]));
}

#[test]
fn the_artifact_manifest_must_say_the_same() {
    let place = Scratch::new();
    let image = |number: u32, digest: &str| serde_json::json!({"reference": format!("127.0.0.1:5001/golden/app-00{number}:v1"), "digest": digest});
    let first = "sha256:0d1379e3d617d36c2c60a4637dbcce34e22fbb9499ca06c86ec05c546601164f";
    let second = "sha256:7e42bfaf6c8bec08f3685683aa03c4c59a95f366b47fb54cf1983723ff719cf2";
    let good = serde_json::json!({
        "format": 1,
        "package": {"file": NAME, "sha256": Digest::of(&golden()).hex(), "size": golden().len()},
        "images": [image(0, first), image(1, second)],
        "charts": [{"component": "web", "path": "web/charts/hello-0.2.0.tgz", "size": 402}],
        "files": [
            {"component": "web", "path": "web/files/0/note.txt", "size": 11},
            {"component": "web", "path": "web/files/1/tool", "size": 20},
        ],
    });
    let compare = |manifest: &serde_json::Value| {
        fs::write_new(&place.path("artifact-manifest.json"), manifest.to_string().as_bytes()).unwrap();
        let report = place.verify(NAME, &golden());
        (report.artifact_manifest, report.problems.len())
    };
    assert_eq!(compare(&good), (Beside::Matches, 0));
    let spoilt = |pointer: &str, value: serde_json::Value| {
        let mut manifest = good.clone();
        *manifest.pointer_mut(pointer).unwrap() = value;
        manifest
    };
    for (pointer, value) in [
        ("/package/size", 1.into()),
        ("/images/0/digest", second.into()),
        ("/images/0/reference", "docker.io/library/nginx:1".into()),
        ("/images", serde_json::json!([image(0, first)])),
        ("/charts/0/size", 1.into()),
        ("/charts", serde_json::json!([])),
        ("/files/0/path", "web/files/9/x".into()),
        ("/files", serde_json::json!([])),
        ("/format", 2.into()),
    ] {
        assert_eq!(compare(&spoilt(pointer, value)).0, Beside::Differs, "{pointer}");
    }
}

/// dist/ keeps older packages and those for another architecture.
#[test]
fn the_artifact_manifest_of_another_package_is_a_remark() {
    let place = Scratch::new();
    let other = r#"{"format": 1, "package": {"file": "other.tar.zst", "sha256": "00", "size": 1}}"#;
    fs::write_new(&place.path("artifact-manifest.json"), other.as_bytes()).unwrap();
    let report = place.verify(NAME, &golden());
    assert!(report.is_sound(), "{}", report.render_text(false));
    assert_eq!(report.artifact_manifest, Beside::Missing);
    assert!(report.render_text(false).contains("is about `other.tar.zst`"), "{}", report.render_text(false));
}

/// Of several packages in one folder each has its own list.
#[test]
fn the_list_under_the_packages_own_name_counts() {
    let place = Scratch::new();
    let list = |file: &str, size: usize| {
        serde_json::json!({ "format": 1, "package": { "file": file, "sha256": Digest::of(&golden()).hex(), "size": size },
            "images": [], "charts": [], "files": [] })
    };
    let own = format!("{NAME}.manifest.json");
    let write = |name: &str, list: &serde_json::Value| {
        fs::write_new(&place.path(name), list.to_string().as_bytes()).unwrap();
    };
    write("artifact-manifest.json", &list("other.tar.zst", 1));
    write(&own, &list(NAME, golden().len()));
    let report = place.verify(NAME, &golden());
    // The list is about this package, and lists nothing of it.
    assert_eq!(report.artifact_manifest, Beside::Differs);
    assert_eq!(report.remarks, [NO_SBOM]);
    // Under a wrong name it says nothing, and the common one is asked.
    write(&own, &list("renamed.tar.zst", 1));
    write("artifact-manifest.json", &list(NAME, 7));
    let report = place.verify(NAME, &golden());
    assert!(report.problems.iter().any(|problem| problem.message.contains("says 7")), "{:?}", report.problems);
    assert!(report.remarks[1].contains("renamed.tar.zst"), "{:?}", report.remarks);
    write(&own, &serde_json::json!("no list"));
    assert_eq!(place.verify(NAME, &golden()).artifact_manifest, Beside::Differs);
}

#[test]
fn what_rests_on_first_sight_alone_is_counted_and_named() {
    let place = Scratch::new();
    let image = |number: u32, digest: &str, evidence: Option<&str>| serde_json::json!({ "reference": format!("127.0.0.1:5001/golden/app-00{number}:v1"), "digest": digest, "evidence": evidence });
    let first = "sha256:0d1379e3d617d36c2c60a4637dbcce34e22fbb9499ca06c86ec05c546601164f";
    let second = "sha256:7e42bfaf6c8bec08f3685683aa03c4c59a95f366b47fb54cf1983723ff719cf2";
    let report = |evidence: [Option<&str>; 3]| {
        let list = serde_json::json!({
            "format": 1,
            "package": {"file": NAME, "sha256": Digest::of(&golden()).hex(), "size": golden().len()},
            "images": [image(0, first, evidence[0]), image(1, second, evidence[1])],
            "charts": [{"component": "web", "path": "web/charts/hello-0.2.0.tgz", "size": 402}],
            "files": [
                {"component": "web", "path": "web/files/0/note.txt", "size": 11, "source": "https://h/\u{1b}note", "evidence": evidence[2]},
                {"component": "web", "path": "web/files/1/tool", "size": 20},
            ],
        });
        fs::write_new(&place.path("artifact-manifest.json"), list.to_string().as_bytes()).unwrap();
        place.verify(NAME, &golden())
    };
    let old = report([None; 3]);
    assert!(old.is_sound() && old.evidence.is_none() && !old.render_text(true).contains("first sight"));
    let report = report([Some("first-sight"), Some("digest"), Some("first-sight")]);
    assert!(report.is_sound(), "{}", report.render_text(false));
    let text = report.render_text(false);
    assert!(text.contains("2 of 3 rest on") && !text.contains("golden/app-000"), "{text}");
    let text = report.render_text(true);
    assert!(
        text.contains("image 127.0.0.1:5001/golden/app-000:v1") && text.contains("file https://h/\\u{1b}note"),
        "{text}"
    );
    assert_eq!(report.evidence.unwrap().first_sight.len(), 2);
}

/// Whatever the bytes are, zarf looks at the name first, and at the first
/// frame then.
#[test]
fn what_zarf_would_not_open_is_not_sound() {
    let place = Scratch::new();
    assert_eq!(rules(&place.verify("package.zst", &golden())), ["name"]);
    let mut skipped = vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0];
    skipped.extend(golden());
    let report = place.verify(NAME, &skipped);
    assert!(report.problems[0].message.contains("begin with a Zstandard frame"), "{}", report.render_text(false));
}

/// A few kilobytes that would become hundreds of megabytes of descriptors.
#[test]
fn manifests_of_nothing_but_descriptors_end_early() {
    const EMPTY: &str = r#"{"digest":""}"#;
    let place = Scratch::new();
    let manifest = |count: usize, salt: usize| {
        format!(r#"{{"salt":{salt},"layers":[{}{EMPTY}]}}"#, format!("{EMPTY},").repeat(count)).into_bytes()
    };
    let packed_with = |blobs: Vec<Vec<u8>>| {
        let named = |blob: Vec<u8>| (format!("images/blobs/sha256/{}", Digest::of(&blob).hex()), blob);
        packed(&place, &blobs.into_iter().map(named).collect())
    };
    let many = place.verify("many.tar.zst", &packed_with((0..20).map(|salt| manifest(90_000, salt)).collect()));
    assert!(many.problems[0].message.contains("128 MiB of memory"), "{}", many.render_text(false));

    let huge = manifest(290_000, 0);
    let (facts, _) = facts_of(&place, &packed_with(vec![huge]));
    assert!(facts.blobs.is_empty(), "a list that is too long is not kept");
}

fn facts_of(place: &Scratch, package: &[u8]) -> (facts::Facts, u64) {
    place.verify("p.tar.zst", package);
    let (_, content, _) = stream::read(stream::Source::open(&place.path("p.tar.zst")).unwrap()).unwrap();
    facts::collect(content, &mut Problems::default())
}

#[test]
fn a_message_quotes_no_more_than_fits_a_screen() {
    let mut problems = Problems::default();
    problems.add_for("missing", &"x".repeat(5_000_000), "is not there");
    assert!(problems.listed[0].message.chars().count() <= MESSAGE + 1);
}

/// Everything that checksums.txt covers. zarf.yaml is covered by the checksums
/// of the frames and by the file beside the package.
fn covered(tar: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut files = content(tar)?;
    files.retain(|path, bytes| path != "zarf.yaml" && !bytes.is_empty());
    Some(files)
}

/// `bytes`, spoilt, is either noticed or holds the same files as before.
fn is_noticed(place: &Scratch, name: &str, bytes: &[u8], unpack: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let report = place.verify(name, bytes);
    if report.is_sound() {
        let found = unpack(bytes).and_then(|tar| covered(&tar));
        assert!(found == covered(&tar()), "accepted what had changed");
    }
}

#[test]
fn no_changed_byte_of_the_tar_is_accepted() {
    let place = Scratch::new();
    let whole = tar();
    for at in (0..whole.len()).step_by(23) {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1 << (at % 8);
        is_noticed(&place, "p.tar", &spoilt, |bytes| Some(bytes.to_vec()));
    }
    for at in (0..whole.len()).step_by(499) {
        assert!(!place.verify("p.tar", &whole[..at]).is_sound(), "cut at {at}");
    }
}

#[test]
fn no_changed_byte_of_the_archive_is_accepted() {
    let place = Scratch::new();
    let files = content(&tar()).unwrap();
    for whole in [golden(), packed(&place, &files)] {
        let decode = |bytes: &[u8]| zstd::decode_all(bytes).ok();
        for at in (0..whole.len()).step_by(31) {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 1 << (at % 8);
            is_noticed(&place, "p.tar.zst", &spoilt, decode);
        }
        for at in (0..whole.len() - 1).step_by(997) {
            assert!(!place.verify("p.tar.zst", &whole[..at]).is_sound(), "cut at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn spliced_packages_are_noticed(from in 0usize..70_000, length in 0usize..5_000, to in 0usize..70_000) {
        let mut spoilt = tar();
        let (from, to) = (from.min(spoilt.len()), to.min(spoilt.len()));
        let piece = spoilt[from..(from + length).min(spoilt.len())].to_vec();
        spoilt.splice(to..(to + length / 2).min(spoilt.len()), piece);
        is_noticed(&Scratch::new(), "p.tar", &spoilt, |bytes| Some(bytes.to_vec()));
    }

    #[test]
    fn garbage_is_never_sound_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        for name in ["p.tar", "p.tar.zst"] {
            prop_assert!(!Scratch::new().verify(name, &bytes).is_sound());
        }
    }
}

/// The rules that are broken once zarf.yaml and the members of the component
/// `web` are changed like this. What the checksums say of that does not count.
fn rules_of(
    zarf: impl FnOnce(String) -> String,
    web: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
) -> (Vec<&'static str>, String) {
    let place = Scratch::new();
    let mut files = content(&tar()).unwrap();
    let text = zarf(String::from_utf8(files["zarf.yaml"].clone()).unwrap());
    files.insert("zarf.yaml".into(), text.into_bytes());
    let mut members = content(&files["components/web.tar"]).unwrap();
    members.retain(|_, bytes| !bytes.is_empty());
    web(&mut members);
    let mut component = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        component.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    files.insert("components/web.tar".into(), component.into_inner().unwrap());
    let report = place.verify("p.tar.zst", &packed(&place, &files));
    let rules = rules(&report).into_iter().filter(|rule| !matches!(*rule, "digest" | "aggregate")).collect();
    (rules, report.render_text(false))
}

const CHART: &str = "web/charts/hello-0.2.0.tgz";

fn chart(path: &str, text: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    archive.append(&header, text.as_bytes()).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

/// The deployment would fail on them behind the gap, where nobody can help.
#[test]
fn a_chart_that_helm_would_not_load_or_release_is_named() {
    let same = |text: String| text;
    let (rules, text) = rules_of(same, |_| {});
    assert_eq!(rules, [""; 0], "{text}");
    let good = "apiVersion: v2\nname: hello\nversion: 0.2.0\n";
    let zeros = "\0".repeat(101 << 20);
    for (archive, expected) in [
        (b"no archive".to_vec(), "is no chart that Helm could install: it is no gzipped tar archive"),
        (chart("hello/Chart.yaml", good)[..60].to_vec(), "it is no gzipped tar archive"),
        (chart("Chart.yaml", good), "lies beside the chart's folder"),
        (chart("hello/../../Chart.yaml", good), "leads out of the chart"),
        (chart("hello/Chart.yaml", "[]"), "Helm wants a mapping"),
        (chart("hello/Chart.yaml", "apiVersion: v2\nversion: 0.2.0\n"), "has no `name`"),
        (chart("hello/Chart.yaml", &format!("{good}type: library\n")), "installs nothing"),
        (chart("hello/Chart.yaml", &format!("{good}dependencies: [{{name: redis, version: 1.x}}]\n")), "`redis 1.x`"),
        (chart("hello/Chart.yaml", "apiVersion: v2\nname: hello\nversion: 0.3.0\n"), "holds the version `0.3.0`"),
        (chart("hello/zeros", &zeros), "unpacks to more than Helm's 100 MiB"),
    ] {
        let (rules, text) = rules_of(same, |members| drop(members.insert(CHART.into(), archive)));
        assert_eq!(rules, ["chart"], "{text}");
        assert!(text.contains(expected) && text.contains(CHART), "{expected}: {text}");
    }
    // What Helm takes is not refused.
    let mut followed = chart("hello/Chart.yaml", "\u{feff}name: hello\nversion: 1.0.0\nversion: 0.2.0\n");
    followed.extend(b"bytes behind the gzip member");
    let cut = chart("hello/Chart.yaml", good);
    let windows = chart("hello\\Chart.yaml", "apiVersion: v3\nname: hello\nversion: 0.2.0\n");
    for archive in [followed, cut[..cut.len() - 5].to_vec(), windows] {
        let (rules, text) = rules_of(same, |members| drop(members.insert(CHART.into(), archive)));
        assert_eq!(rules, [""; 0], "{text}");
    }
    for (from, to, expected) in [
        ("    namespace: web\n    valuesFiles", "    valuesFiles", "`hello` without a namespace"),
        ("    namespace: web\n    valuesFiles", "    namespace: web\n    releaseName: 1x\n    valuesFiles", "as `1x`"),
    ] {
        let (rules, text) = rules_of(|text| text.replace(from, to), |_| {});
        assert_eq!(rules, ["definition"], "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_repository_that_could_not_be_pushed_is_named() {
    let listed =
        |text: String| text.replacen("  images:\n", "  repos: ['https://example.com/x/y.git']\n  images:\n", 1);
    let folder = format!("web/repos/{}", model::zarf::RepositoryUrl::folder("https://example.com/x/y.git").unwrap());
    let (rules, text) = rules_of(listed, |members| drop(members.insert(format!("{folder}/README"), vec![1])));
    assert!(!rules.is_empty() && rules.iter().all(|rule| *rule == "repository"), "{text}");
    for expected in ["has no .git/HEAD", "has no remote `online-upstream`", "has neither heads nor tags"] {
        assert!(text.contains(&format!("`{folder}` {expected}")), "{expected}: {text}");
    }
}

#[test]
fn a_bomb_ends_early() {
    let place = Scratch::new();
    let mut bomb = Vec::new();
    let frame = zstd::encode_all(vec![0; 64 << 20].as_slice(), 1).unwrap();
    let header = archive::ustar::header("zeros", archive::ustar::Kind::File, 0o644, 1 << 40).unwrap();
    bomb.extend(zstd::encode_all(header.as_slice(), 1).unwrap());
    (0..40).for_each(|_| bomb.extend(&frame));
    let report = place.verify("p.tar.zst", &bomb);
    assert!(report.problems[0].message.contains("unpacks to more than"), "{}", report.render_text(false));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    assert!(verify(&Scratch::new().path("missing.tar.zst")).is_err());
    assert!(verify(Scratch::new().0.path()).is_err());
}

/// An image without a layer starts nowhere, whether it may be passed on or not.
#[test]
fn a_layer_that_may_not_be_passed_on_is_missed_as_any_other() {
    let place = Scratch::new();
    let mut entries = content(&tar()).unwrap();
    let hex = LAYER.rsplit('/').next().unwrap();
    let is_manifest = |bytes: &Vec<u8>| bytes.starts_with(b"{") && !String::from_utf8_lossy(bytes).contains("rootfs");
    let names_it = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(hex);
    let manifest = entries
        .iter()
        .find(|(path, bytes)| path.starts_with("images/blobs/") && is_manifest(bytes) && names_it(bytes))
        .map(|(path, _)| path.clone())
        .unwrap();
    let mut text: serde_json::Value = serde_json::from_slice(&entries[&manifest]).unwrap();
    for layer in text["layers"].as_array_mut().unwrap() {
        layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
        layer["urls"] = serde_json::Value::Null;
    }
    entries.insert(manifest, text.to_string().into_bytes());
    entries.remove(LAYER);
    let report = place.verify(NAME, &packed(&place, &entries));
    let is_told = |problem: &Problem| problem.rule == "missing" && problem.file.as_deref() == Some(LAYER);
    assert!(report.problems.iter().any(is_told), "{}", report.render_text(false));
}
