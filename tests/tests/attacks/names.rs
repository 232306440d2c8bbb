//! Names and paths: of outputs, in archives, of links. None leads out of its
//! tree, and none passes for another.

use airgap_tests::charts::gzip;
use serde_json::{Value, json};

use crate::arena::Arena;
use crate::attack::{Attack, SECRET};

fn write(path: &str) -> Value {
    json!({ "do": "write", "path": path, "text": "x" })
}

fn attempts(acts: &[Value]) -> Value {
    json!([{ "do": "try", "acts": acts }, { "do": "write", "path": "x", "text": "x" }])
}

const OUTSIDE: &[&str] = &[
    "../x",
    "/tmp/x",
    "a/../../x",
    "..",
    ".",
    "",
    "/",
    "a//b",
    "a/./b",
    "a/",
    "./a",
    "a\\..\\x",
    "C:\\x",
    "C:x",
    "CON",
    "nul.txt",
    "a\u{0}b",
    "a\nb",
    "a b ",
    "a:b",
    "~/x",
    "\u{ff0e}\u{ff0e}/x",
    "\u{2024}\u{2024}/x",
    "..\u{2044}x",
];

#[test]
fn no_name_of_an_output_leads_out() {
    let Some(arena) = Arena::enter() else { return };
    for path in OUTSIDE {
        let built = Attack::new(&arena, json!([write(path)])).build();
        // What looks like a way out and is none may lie where it says.
        let plain = path.starts_with('~') || !path.is_ascii();
        let built = if plain && built.run.status.success() {
            assert!(built.project.exists(&format!("build/steps/attack/{path}")), "{path:?}");
            built
        } else {
            built.refused(&["attack"])
        };
        for stray in ["x", "build/x", "build/steps/x", "build/staging/x", "home/x"] {
            assert!(!built.project.exists(stray), "{path:?} made {stray}");
        }
        assert!(!std::path::Path::new("/tmp/x").exists(), "{path:?}");
    }
}

#[test]
fn no_name_of_an_output_is_longer_than_a_disk_takes() {
    let Some(arena) = Arena::enter() else { return };
    let long = "x".repeat(300);
    let deep = "a/".repeat(3_000) + "x";
    for path in [long, deep] {
        Attack::new(&arena, json!([write(&path)])).build().refused(&["attack"]);
    }
}

/// `a` and `A` are one file where the package is unpacked on another disk.
#[test]
fn no_two_names_of_an_output_are_one_elsewhere() {
    let Some(arena) = Arena::enter() else { return };
    let pairs = [
        ("a", "A"),
        ("dir/readme", "DIR/readme"),
        ("stra\u{df}e", "STRASSE"),
        ("k", "\u{212a}"),
        ("\u{e9}", "e\u{301}"),
        ("\u{fb01}le", "file"),
    ];
    for (one, other) in pairs {
        Attack::new(&arena, json!([write(one), write(other)])).build().refused(&["attack"]);
    }
}

#[test]
fn no_name_of_an_output_hides_what_it_is() {
    let Some(arena) = Arena::enter() else { return };
    for name in [
        "safe\u{202e}gpj.sh",
        "zero\u{200b}width",
        "joined\u{2060}word",
        "tag\u{e0041}",
        "line\u{2028}break",
        "c1\u{9b}31m",
        "esc\u{1b}[31m",
        "mark\u{feff}",
        "soft\u{ad}hyphen",
    ] {
        Attack::new(&arena, json!([write(name)])).build().refused(&["attack"]);
    }
}

#[test]
fn nothing_is_a_file_and_a_directory() {
    let Some(arena) = Arena::enter() else { return };
    for pair in [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"]] {
        let acts = pair.map(write);
        Attack::new(&arena, json!(acts)).build().refused(&["attack", "both a file and a directory"]);
    }
}

#[test]
fn no_name_in_an_archive_leads_out() {
    let Some(arena) = Arena::enter() else { return };
    let packs: Vec<Value> =
        ["../x", "/x", "a/../../x", "", "a\\..\\x", "a\u{0}b", "..", "a//b", "esc\u{1b}[31m", "\u{202e}x"]
            .iter()
            .enumerate()
            .map(|(number, name)| json!({ "do": "pack", "path": format!("{number}.tar"), "members": [[name, 0o644]] }))
            .collect();
    let count = packs.len();
    Attack::new(&arena, attempts(&packs)).build().done().all_refused(count);
}

#[test]
fn no_member_of_an_archive_is_setuid_or_there_twice() {
    let Some(arena) = Arena::enter() else { return };
    let packs = [
        json!({ "do": "pack", "path": "1.tar", "members": [["a", 0o4755]] }),
        json!({ "do": "pack", "path": "2.tar", "members": [["a", 0o2755]] }),
        json!({ "do": "pack", "path": "3.tar", "members": [["a", 0o177_777]] }),
        json!({ "do": "pack", "path": "4.tar", "members": [["a", 0o644], ["a", 0o644]] }),
    ];
    let built = Attack::new(&arena, attempts(&packs)).build().done();
    for number in 1..=packs.len() {
        let archive = built.project.path(&format!("build/steps/attack/{number}.tar"));
        let Ok(bytes) = std::fs::read(archive) else { continue };
        let mut seen = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap() & !0o777, 0, "archive {number}");
            let path = entry.path().unwrap().into_owned();
            assert!(!seen.contains(&path), "archive {number} has {} twice", path.display());
            seen.push(path);
        }
    }
}

/// Unpacking: what a hostile server may send.
#[test]
fn no_archive_unpacks_outside() {
    let Some(arena) = Arena::enter() else { return };
    let cases = [
        ("parent", hostile("../../../x", tar::EntryType::Regular, "")),
        ("absolute", hostile("/x", tar::EntryType::Regular, "")),
        ("symlink", hostile("link", tar::EntryType::Symlink, "../../../../../.env")),
        ("absolute symlink", hostile("link", tar::EntryType::Symlink, "/etc/hosts")),
        ("hard link", hostile("link", tar::EntryType::Link, "../../../../.env")),
        ("device", hostile("device", tar::EntryType::Char, "")),
        ("fifo", hostile("fifo", tar::EntryType::Fifo, "")),
        ("dots", hostile("a/../../x", tar::EntryType::Regular, "")),
    ];
    for (what, archive) in cases {
        for text in [archive.clone(), gzip(&archive)] {
            let server = airgap_tests::file_server::FileServer::start();
            let url = server.put("/charts/a.tar", text);
            let project = airgap_tests::project::Project::new().with_file_server(&server.host());
            project.write(".env", SECRET);
            let root = project.root().to_string_lossy().into_owned();
            let steal = json!([
                { "do": "try", "acts": [
                    { "do": "unpack", "tree": "fetching", "path": "fetched-0", "entries": 100 },
                    { "do": "unpack", "tree": "fetching", "path": "fetched-0", "entries": 0 },
                ]},
            ]);
            let built = Attack::on(&arena, project, &["manifests"], json!([]))
                .grants(json!({ "fetch": [server.url("/charts/")] }))
                .step("fetching", &json!({ "plugin": "attacker" }), &["manifests"])
                .acts(json!([{ "do": "fetch", "url": url }]))
                .step("attack", &json!({ "plugin": "attacker" }), &["fetching"])
                .acts(steal)
                .build()
                .done()
                .keeps(SECRET)
                .keeps(&root)
                .keeps("localhost");
            assert!(built.told().contains("refused: "), "{what} was unpacked: {}", built.told());
            assert!(!built.project.exists("x") && !built.project.exists("build/x"), "{what}");
        }
    }
}

/// A tar that its writer would refuse to write.
fn hostile(name: &str, kind: tar::EntryType, target: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    let raw = header.as_mut_bytes();
    raw[..name.len()].copy_from_slice(name.as_bytes());
    raw[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, std::io::empty()).unwrap();
    archive.into_inner().unwrap()
}

const DIRECTORIES: &str = "directories";

#[test]
fn no_link_in_a_directory_leads_out() {
    let Some(arena) = Arena::enter() else { return };
    let acts = attempts(&[
        json!({ "do": "soft-link", "target": "/etc/hosts", "path": "/work/a" }),
        json!({ "do": "read-file", "path": "/work/a" }),
        json!({ "do": "soft-link", "target": "../../../../.env", "path": "/work/b" }),
        json!({ "do": "read-file", "path": "/work/b" }),
        json!({ "do": "soft-link", "target": "..", "path": "/work/c" }),
        json!({ "do": "read-file", "path": "/work/c/../../../.env" }),
        json!({ "do": "read-file", "path": "/work/../../../.env" }),
        json!({ "do": "read-file", "path": "/in/../../../.env" }),
        json!({ "do": "read-file", "path": "/etc/hosts" }),
        json!({ "do": "read-file", "path": ".env" }),
        json!({ "do": "rename", "from": "/work/a", "to": "/work/../../a" }),
        json!({ "do": "file", "path": "/work/../../b", "text": "x" }),
    ]);
    let project = airgap_tests::project::Project::new();
    project.write(".env", SECRET);
    let built = Attack::on(&arena, project, &["manifests"], acts).grants(json!({ DIRECTORIES: true })).build();
    let built = built.done().keeps(SECRET).keeps("localhost");
    assert!(!built.project.exists("build/a") && !built.project.exists("build/b"));
}

#[test]
fn no_link_is_taken_for_output() {
    let Some(arena) = Arena::enter() else { return };
    let file = json!({ "do": "file", "path": "/work/f", "text": "x" });
    for link in [
        json!({ "do": "soft-link", "target": "../../.env", "path": "/out/a" }),
        json!({ "do": "soft-link", "target": "nowhere", "path": "/out/a" }),
        json!({ "do": "hard-link", "from": "/work/f", "to": "/out/a" }),
    ] {
        let attack = Attack::new(&arena, json!([file, link])).grants(json!({ DIRECTORIES: true }));
        attack.build().refused(&["attack"]);
    }
}

#[test]
fn no_input_is_changed() {
    let Some(arena) = Arena::enter() else { return };
    let built = Attack::new(&arena, json!([]))
        .grants(json!({ DIRECTORIES: true }))
        .step("made", &json!({ "plugin": "attacker" }), &["config"])
        .acts(json!([{ "do": "write", "path": "a", "text": "as it was" }]))
        .step("attack", &json!({ "plugin": "attacker" }), &["made"])
        .acts(attempts_on_inputs())
        .build()
        .done()
        .all_refused(8);
    assert_eq!(built.project.read("build/steps/made/a"), "as it was");
}

fn attempts_on_inputs() -> Value {
    attempts(&[
        json!({ "do": "file", "path": "/in/made/a", "text": "changed" }),
        json!({ "do": "lengthen", "path": "/in/made/a", "mib": 0 }),
        json!({ "do": "rename", "from": "/in/made/a", "to": "/work/a" }),
        json!({ "do": "rename", "from": "/in/made/a", "to": "/in/made/b" }),
        json!({ "do": "hard-link", "from": "/in/made/a", "to": "/work/a" }),
        json!({ "do": "soft-link", "target": "a", "path": "/in/made/c" }),
        json!({ "do": "directory", "path": "/in/made/d" }),
        json!({ "do": "file", "path": "/in/x", "text": "x" }),
    ])
}
