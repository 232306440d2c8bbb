//! The checker against the reference package, which it must accept, and
//! against damaged variants of it, each of which it must reject for its own
//! reason and no other.

use super::checksums::sha256;
use super::*;
use crate::git_server::GitRepository;

const NAME: &str = "zarf-package-golden-amd64-1.2.3.tar.zst";

fn golden() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(NAME);
    std::fs::read(path).unwrap()
}

/// A package that can be changed and written again.
#[derive(Clone)]
struct Variant {
    entries: Vec<(String, u32, Vec<u8>)>,
}

impl Variant {
    fn new() -> Self {
        let tar = zstd::decode_all(golden().as_slice()).unwrap();
        let members = tarball::read(&tar).unwrap().into_iter().filter(|member| member.kind == tarball::Kind::File);
        Self { entries: members.map(|member| (member.path, member.mode, member.content.to_vec())).collect() }
    }

    fn get(&self, path: &str) -> String {
        let (.., content) = self.entries.iter().find(|(name, ..)| name == path).unwrap();
        String::from_utf8(content.clone()).unwrap()
    }

    fn set(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        match self.entries.iter_mut().find(|(name, ..)| name == path) {
            Some(entry) => entry.2 = content,
            None => self.entries.push((path.to_owned(), 0o644, content)),
        }
        self
    }

    fn remove(mut self, path: &str) -> Self {
        self.entries.retain(|(name, ..)| name != path);
        self
    }

    fn replace(self, path: &str, from: &str, to: &str) -> Self {
        let before = self.get(path);
        assert!(before.contains(from), "{path} holds no {from}: {before}");
        self.set(path, before.replacen(from, to, 1))
    }

    /// Changes the members of the component tar.
    fn component(self, change: impl FnOnce(&mut Vec<(String, u32, Vec<u8>)>)) -> Self {
        let (.., tar) = self.entries.iter().find(|(name, ..)| name == "components/web.tar").unwrap();
        let mut members: Vec<_> = tarball::read(tar)
            .unwrap()
            .into_iter()
            .filter(|member| member.kind == tarball::Kind::File)
            .map(|member| (member.path, member.mode, member.content.to_vec()))
            .collect();
        change(&mut members);
        let tar = tar_of(&members);
        self.set("components/web.tar", tar)
    }

    /// Makes checksums and aggregate right again.
    fn sealed(self) -> Self {
        let mut lines: Vec<String> = self
            .entries
            .iter()
            .filter(|(path, ..)| path != "zarf.yaml" && path != "checksums.txt")
            .map(|(path, _, content)| format!("{} {path}", sha256(content)))
            .collect();
        lines.sort();
        let checksums = lines.join("\n") + "\n";
        let old = sha256(self.get("checksums.txt").as_bytes());
        let new = sha256(checksums.as_bytes());
        let definition = self.get("zarf.yaml").replace(&old, &new);
        self.set("checksums.txt", checksums).set("zarf.yaml", definition)
    }

    fn tar(&self) -> Vec<u8> {
        tar_of(&self.entries)
    }

    fn rules(&self) -> Vec<&'static str> {
        rules(&zstd::encode_all(self.tar().as_slice(), 1).unwrap())
    }
}

fn tar_of(entries: &[(String, u32, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, mode, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().div_ceil(512) * 512, 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// The rules that are violated, each once.
fn rules(package: &[u8]) -> Vec<&'static str> {
    let mut rules: Vec<_> = check_bytes(NAME, package).into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn what_zarf_made_is_accepted() {
    assert_eq!(check_bytes(NAME, &golden()), []);
}

#[test]
fn a_package_that_was_packed_again_is_accepted() {
    assert_eq!(Variant::new().rules(), [] as [&str; 0]);
    assert_eq!(Variant::new().sealed().rules(), [] as [&str; 0]);
}

const MANIFEST: &str = "0d1379e3d617d36c2c60a4637dbcce34e22fbb9499ca06c86ec05c546601164f";
const SHARED_LAYER: &str = "77cf390de70c3323f989a02247a58caf4f0ea616440e7b8aceb4f713a0a7f3be";

fn blob(hex: &str) -> String {
    format!("images/blobs/sha256/{hex}")
}

#[test]
fn damaged_bytes_and_lists_are_rejected() {
    let golden = Variant::new();
    let cases: Vec<(&str, Variant, &[&str])> = vec![
        ("a blob with one byte changed", golden.clone().set(&blob(SHARED_LAYER), "x"), &["checksums", "blob"]),
        ("a file that nobody lists", golden.clone().set("notes.txt", "x"), &["extra-file"]),
        ("a listed file that is gone", golden.clone().remove("images/oci-layout"), &["checksums", "layout"]),
        (
            "another checksums.txt",
            golden.clone().replace("checksums.txt", " ", "  "),
            &["aggregate", "checksums", "extra-file"],
        ),
        ("no checksums.txt", golden.clone().remove("checksums.txt"), &["missing"]),
        ("no zarf.yaml", golden.clone().remove("zarf.yaml"), &["missing"]),
        (
            "documents that are not there",
            golden.clone().replace("zarf.yaml", "kind: ", "documentation:\n  readme: README.md\nkind: "),
            &["missing"],
        ),
        (
            "a wrong aggregate",
            golden.clone().replace("zarf.yaml", "aggregateChecksum: 7", "aggregateChecksum: 8"),
            &["aggregate"],
        ),
    ];
    for (what, variant, expected) in cases {
        assert_eq!(variant.rules(), expected, "{what}");
    }
}

#[test]
fn bad_tars_are_rejected() {
    let golden = Variant::new();
    let mut twice = golden.clone();
    twice.entries.push(twice.entries[0].clone());
    let mut unreadable = golden.clone();
    unreadable.entries[1].1 = 0o044;
    for (what, variant, expected) in [
        ("an entry twice", twice, "duplicate-entry"),
        ("an unreadable file", unreadable, "mode"),
        ("a path that leads out", golden.clone().set("../x", "").sealed(), "path"),
        ("a device name", golden.clone().set("images/aux.json", "").sealed(), "path"),
        ("a colon", golden.clone().set("a:b", "").sealed(), "path"),
    ] {
        assert_eq!(variant.rules().first(), Some(&expected), "{what}");
    }

    let tar = golden.tar();
    let packed = |tar: &[u8]| zstd::encode_all(tar, 1).unwrap();
    let mut no_magic = tar.clone();
    no_magic[257] = b'x';
    let mut trailing = tar.clone();
    trailing.extend([1; 512]);
    for (what, tar) in [
        ("a header that is not USTAR", no_magic),
        ("an end in the middle", tar[..tar.len() - 2000].to_vec()),
        ("an end without empty blocks", tar[..tar.len() - 1024].to_vec()),
        ("data behind the end", trailing),
    ] {
        assert_eq!(rules(&packed(&tar)), ["tar"], "{what}");
    }
    let mut skippable = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    skippable.extend(packed(&tar));
    assert_eq!(rules(&skippable), ["zstd"], "a skippable frame in front");
    let whole = packed(&tar);
    assert_eq!(rules(&whole[..whole.len() - 10]), ["zstd"], "a truncated file");
    assert_eq!(check_bytes("package.tgz", &whole)[0].rule, "file-name");
    assert_eq!(check_bytes("zarf-package-other-amd64-1.2.3.tar.zst", &whole)[0].rule, "file-name");
}

#[test]
fn bad_definitions_are_rejected() {
    let golden = Variant::new();
    for (what, from, to) in [
        ("a key twice", "kind: ", "kind: ZarfPackageConfig\nkind: "),
        ("two documents", "components:\n", "---\ncomponents:\n"),
        ("another kind", "kind: ZarfPackageConfig", "kind: ZarfInitConfig"),
        ("another version of the format", "kind: ", "apiVersion: zarf.dev/v1beta1\nkind: "),
        ("a version that is a number", "version: 1.2.3", "version: 1.10"),
        ("a bad time", "timestamp: Sat, 21 Nov 2026 23:47:00 +0000", "timestamp: 2026-11-21T23:47:00Z"),
        ("missing migrations", "  - scripts-to-actions\n", ""),
        ("a signature that is not there", "signed: false", "signed: true"),
        ("a component twice", "name: images-only", "name: web"),
        ("a chart without a namespace", "    namespace: web\n    valuesFiles", "    valuesFiles"),
        (
            "a chart that Helm cannot release",
            "namespace: web\n    valuesFiles",
            "namespace: web\n    releaseName: 1x\n    valuesFiles",
        ),
    ] {
        let rules = golden.clone().replace("zarf.yaml", from, to).rules();
        assert!(rules.contains(&"definition"), "{what}: {rules:?}");
    }
}

#[test]
fn bad_component_tars_are_rejected() {
    type Case = (&'static str, fn(&mut Members), &'static str);
    let cases: [Case; 8] = [
        ("a manifest that is gone", |m| m.retain(|(path, ..)| !path.contains("manifests")), "component"),
        (
            "a chart under another version",
            |m| m.iter_mut().for_each(|e| e.0 = e.0.replace("0.2.0.tgz", "0.2.tgz")),
            "component",
        ),
        ("no folder of the component", |m| m.iter_mut().for_each(|e| e.0 = e.0.replacen("web/", "", 1)), "component"),
        ("a file of no list", |m| m.push(("web/files/9/x".into(), 0o600, vec![])), "component"),
        ("a name that the extractor refuses", |m| m.push(("web/files/0/note.txt/aux.c".into(), 0o600, vec![])), "path"),
        ("a chart that is no archive", |m| spoil_chart(m, |_| b"no gzip".to_vec()), "chart"),
        ("a chart without Chart.yaml", |m| spoil_chart(m, |_| gzip(&[0; 1024])), "chart"),
        ("a tool that cannot be run", |m| m.iter_mut().for_each(|e| e.1 = 0o600), "mode"),
    ];
    for (what, change, expected) in cases {
        let rules = Variant::new().component(change).sealed().rules();
        assert!(rules.contains(&expected), "{what}: {rules:?}");
        assert!(!rules.contains(&"checksums"), "{what}: {rules:?}");
    }
    let shasum = Variant::new().replace(
        "zarf.yaml",
        "  - source: files/note.txt\n",
        "  - source: files/note.txt\n    shasum: 'aa'\n",
    );
    assert_eq!(shasum.rules(), ["shasum"]);
    let no_tar = Variant::new().remove("components/web.tar").sealed();
    assert_eq!(no_tar.rules(), ["component"]);
    let needless = Variant::new().set("components/images-only.tar", vec![0; 1024]).sealed();
    assert_eq!(needless.rules(), ["component"]);
    let repository =
        Variant::new().replace("zarf.yaml", "  images:\n", "  repos: ['https://example.com/x/y.git']\n  images:\n");
    assert_eq!(repository.rules(), ["component", "repository"]);
}

type Members = Vec<(String, u32, Vec<u8>)>;

const REPOSITORY: &str = "https://example.com/x/y.git";

/// The reference package with a real repository more; None without git.
fn with_repository(change: impl FnOnce(&mut Members)) -> Option<Variant> {
    crate::tools::require("git")?;
    let folder = tempfile::tempdir().unwrap();
    let repository = GitRepository::create(folder.path());
    repository.commit("a", "1");
    repository.commit("b", "2");
    repository.git(&["remote", "add", "online-upstream", REPOSITORY]);
    repository.git(&["gc", "--quiet"]);
    let root = folder.path().join(".git");
    let packs = std::fs::read_dir(root.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let files = packs.chain(["HEAD", "config", "packed-refs"].map(|name| root.join(name)));
    let inside = format!("web/repos/{}/.git", components::repository_folder(REPOSITORY).unwrap());
    let mut added: Members = files
        .map(|file| {
            let path = format!("{inside}/{}", file.strip_prefix(&root).unwrap().display());
            (path, 0o644, std::fs::read(&file).unwrap())
        })
        .collect();
    change(&mut added);
    let list = format!("  repos: ['{REPOSITORY}']\n  images:\n");
    let variant = Variant::new().replace("zarf.yaml", "  images:\n", &list);
    Some(variant.component(|members| members.extend(added)).sealed())
}

#[test]
fn bad_repositories_are_rejected() {
    type Case = (&'static str, fn(&mut Members), &'static [&'static str]);
    let cases: [Case; 7] = [
        ("a whole one", |_| {}, &[]),
        ("no HEAD", |m| m.retain(|(path, ..)| !path.ends_with("/HEAD")), &["repository"]),
        ("no remote", |m| edit(m, "/config", |text| text.replace("online-upstream", "origin")), &["repository"]),
        ("no pack, only its index", |m| m.retain(|(path, ..)| !path.ends_with(".pack")), &["repository"]),
        (
            "a pack that was cut",
            |m| m.iter_mut().filter(|e| e.0.ends_with(".pack")).for_each(|e| e.2.truncate(e.2.len() - 30)),
            &["repository"],
        ),
        (
            "a head that points to nothing",
            |m| edit(m, "/packed-refs", |text| format!("{text}{} refs/heads/zz\n", "1".repeat(40))),
            &["repository"],
        ),
        ("no heads", |m| m.retain(|(path, ..)| !path.ends_with("/packed-refs")), &["repository"]),
    ];
    for (what, change, expected) in cases {
        let Some(variant) = with_repository(change) else { return };
        assert_eq!(variant.rules(), expected, "{what}");
    }
}

fn edit(members: &mut Members, name: &str, change: fn(String) -> String) {
    let (.., content) = members.iter_mut().find(|(path, ..)| path.ends_with(name)).unwrap();
    *content = change(String::from_utf8(content.clone()).unwrap()).into_bytes();
}

fn spoil_chart(members: &mut [(String, u32, Vec<u8>)], change: fn(&[u8]) -> Vec<u8>) {
    let (.., content) = members.iter_mut().find(|(path, ..)| path.ends_with(".tgz")).unwrap();
    *content = change(content);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bad_image_layouts_are_rejected() {
    let golden = Variant::new();
    let index = "images/index.json";
    let base = "\"org.opencontainers.image.base.name\":\"127.0.0.1:5001/golden/app-000:v1\",";
    let pin = format!("127.0.0.1:5001/golden/app-000@sha256:{}", "0".repeat(64));
    let pinned = golden
        .clone()
        .set(index, golden.get(index).replace("127.0.0.1:5001/golden/app-000:v1", &pin))
        .set("zarf.yaml", golden.get("zarf.yaml").replace("127.0.0.1:5001/golden/app-000:v1", &pin));
    for (what, variant, expected) in [
        ("one annotation missing", golden.clone().replace(index, base, ""), "annotations"),
        ("annotations that differ", golden.clone().replace(index, "app-000:v1", "app-002:v1"), "annotations"),
        ("a wrong size", golden.clone().replace(index, "\"size\":559", "\"size\":560"), "blob"),
        ("a manifest that is gone", golden.clone().remove(&blob(MANIFEST)), "blob"),
        ("a layer that is gone", golden.clone().remove(&blob(SHARED_LAYER)), "blob"),
        ("a blob under another name", golden.clone().set(&blob(SHARED_LAYER), "other"), "blob"),
        ("a blob of no image", golden.clone().set(&blob(&"0".repeat(64)), "x"), "unreachable-blob"),
        ("a layout of another version", golden.clone().replace("images/oci-layout", "1.0.0", "2.0.0"), "layout"),
        ("a stranger in the layout", golden.clone().set("images/readme", "x"), "layout"),
        (
            "an image that is not there",
            golden.clone().replace("zarf.yaml", "golden/app-000:v1", "golden/app-00:v1"),
            "image",
        ),
        (
            "an image for another platform",
            golden.clone().set("zarf.yaml", golden.get("zarf.yaml").replace("amd64", "arm64")),
            "platform",
        ),
        ("a pin that is not kept", pinned, "pin"),
        ("an index that is not sorted", unsorted(&golden), "layout"),
    ] {
        let rules = variant.sealed().rules();
        assert!(rules.contains(&expected), "{what}: {rules:?}");
        assert!(!rules.contains(&"checksums"), "{what}: {rules:?}");
    }
}

fn unsorted(golden: &Variant) -> Variant {
    let mut index: serde_json::Value = serde_json::from_str(&golden.get("images/index.json")).unwrap();
    index["manifests"].as_array_mut().unwrap().reverse();
    golden.clone().set("images/index.json", index.to_string())
}
