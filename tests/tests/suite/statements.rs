//! Guards that airgap.lock is a statement of what was seen: an entry that was
//! written by hand is found in every section, by `--locked`, `update` and
//! `verify --lock`; a lock of an older version is taken over without a word
//! where nothing can be doubted; each cause is told in one row; and the list
//! beside a package says on what its content rests.

use airgap_tests::charts::{chart, index};
use airgap_tests::digest::{sha256, sha256_file};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::Image;
use airgap_tests::project::{Project, Run};
use airgap_tests::registry::Registry;
use serde_json::json;
use serde_yaml::{Mapping, Value};

use crate::lock::{World, lock_of};

/// The lock as data.
fn data(project: &Project) -> Value {
    serde_yaml::from_str(&lock_of(project)).unwrap()
}

fn write(project: &Project, lock: &Value) {
    project.write("config/airgap.lock", serde_yaml::to_string(lock).unwrap());
}

fn section<'a>(lock: &'a mut Value, names: &[&str]) -> &'a mut Mapping {
    let at = names.iter().fold(lock, |value, name| {
        let sections = value.as_mapping_mut().expect("a section");
        sections.entry((*name).into()).or_insert_with(|| Mapping::new().into())
    });
    at.as_mapping_mut().expect("entries")
}

/// The one entry of a section whose key contains `part`.
fn entry<'a>(lock: &'a mut Value, names: &[&str], part: &str) -> &'a mut Value {
    let entries = section(lock, names);
    let key = entries.keys().find(|key| key.as_str().is_some_and(|key| key.contains(part))).cloned();
    entries.get_mut(key.expect("an entry")).expect("an entry")
}

/// The rows of a table of failures.
fn rows(run: &Run) -> Vec<&str> {
    run.stderr.lines().filter(|line| line.contains('✗')).collect()
}

/// Where each kind of entry stands, and how its key is known.
const SECTIONS: &[(&[&str], &str, &str)] = &[
    (&["images"], "/app:1", "image"),
    (&["repositories"], "base.git v1", "repository"),
    (&["files"], "/yq", "file"),
    (&["charts"], "web ^1", "chart"),
];

#[test]
fn every_entry_names_its_build() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let id = project.state()["build_id"].as_str().unwrap().to_owned();
    let mut lock = data(&project);
    for (names, part, _) in SECTIONS {
        assert_eq!(entry(&mut lock, names, part)["build"].as_str(), Some(id.as_str()), "{names:?}");
    }
    assert_eq!(entry(&mut lock, &["core", "charts"], "web-1.0.0.tgz")["build"].as_str(), Some(id.as_str()));
    // Seen once more it is the same entry.
    let text = lock_of(&project);
    project.run(&["build", "--clean"]).success();
    project.run(&["update"]).success().prints(&["Everything is as"]);
    assert_eq!(lock_of(&project).replace("build:", ""), text.replace("build:", ""));
}

/// By hand, and without a build: in each section one row says so, and a build
/// makes it right.
#[test]
fn an_entry_without_a_build_is_found_in_every_section() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let package = project.package().display().to_string();
    let good = data(&project);
    for (names, part, kind) in SECTIONS {
        let mut planted = good.clone();
        entry(&mut planted, names, part).as_mapping_mut().unwrap().remove("build");
        write(&project, &planted);
        // What the store saw would vouch for some of them.
        let _ = std::fs::remove_dir_all(project.path("build/store/fetched"));
        let run = project.run(&["build", "--locked", "--clean"]).code(3).says(&["does not say in which build"]);
        assert_eq!(rows(&run).len(), 1, "one cause, one row\n{run}");
        let run = project.run(&["build", "--offline", "--clean"]);
        assert!(run.status.success() || rows(&run).iter().all(|row| row.contains("config/airgap.lock")), "{run}");
        let run = project.run(&["verify", "--lock", "config/airgap.lock", &package]).code(4);
        run.prints(&[&format!("of the {kind}"), "does not say in which build"]);
        write(&project, &planted);
        let run = project.run(&["build", "--clean"]).success();
        assert!(!run.stderr.contains("counts now"), "what is the same is no difference\n{run}");
        assert!(entry(&mut data(&project), names, part)["build"].is_string(), "{names:?}");
        project.run(&["build", "--locked", "--clean"]).success();
    }
}

/// Something else, with a build that never was: who asks finds it.
#[test]
fn a_planted_entry_is_found_by_an_update_and_beside_the_package() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    world.write(&project, &["app:1", "app:2"], &["yq", "helm"], "^1", "v1");
    project.build();
    let package = project.package().display().to_string();
    let good = data(&project);
    let mut lock = good.clone();
    let other_image = entry(&mut lock, &["images"], "/app:2").clone();
    let other_file = entry(&mut lock, &["files"], "/helm").clone();
    for (names, part, kind) in SECTIONS {
        let mut planted = good.clone();
        let place = entry(&mut planted, names, part);
        match *kind {
            "image" => *place = other_image.clone(),
            "file" => *place = other_file.clone(),
            "repository" => place["commit"] = "1".repeat(40).into(),
            _ => place["digest"] = format!("sha256:{}", sha256(b"planted")).into(),
        }
        write(&project, &planted);
        let run = project.run(&["verify", "--lock", "config/airgap.lock", &package]).code(4);
        run.prints(&[&format!("the {kind} `"), "is not what airgap.lock says"]);
        if *kind == "chart" {
            // What the plugin itself was given stands elsewhere, and says no.
            let run = project.run(&["build", "--locked", "--clean"]).code(3);
            assert_eq!(rows(&run).len(), 1, "{run}");
            assert!(rows(&run)[0].contains("does not say that its address gave this"), "{run}");
        }
        let run = project.run(&["update"]).success();
        let is_told = run.stdout.lines().any(|line| line.starts_with(&format!("~ {kind}")) && line.contains(part));
        assert!(is_told, "{names:?}\n{run}");
        project.run(&["build"]).success();
        project.run(&["build", "--locked"]).success();
    }
}

/// Of nobody who runs, and of nothing that is named.
#[test]
fn a_foreign_entry_is_found_in_every_section_and_dropped() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let good = data(&project);
    let mut lock = good.clone();
    let file = entry(&mut lock, &["files"], "/yq").clone();
    let image = entry(&mut lock, &["images"], "/app:1").clone();
    let base = entry(&mut lock, &["repositories"], "base.git").clone();
    let web = entry(&mut lock, &["charts"], "web ^1").clone();
    let reference = world.registry.reference("app:1");
    for (names, key, value, why) in [
        (&["files"][..], "https://nobody.example/x".to_owned(), &file, "nothing names this file"),
        (&["images"], "nobody.example/x:1 linux/amd64".to_owned(), &image, "nothing names this image"),
        (&["images"], format!("{reference} linux/s390x"), &image, "nothing names this image"),
        (&["repositories"], "https://nobody.example/x.git v1".to_owned(), &base, "nothing names this repository"),
        (&["charts"], "https://nobody.example web ^1".to_owned(), &web, "nothing names this chart"),
        (&["core", "charts"], "https://nobody.example/x".to_owned(), &file, "nothing names this file"),
        (&["core", "manifest"], "https://nobody.example/x".to_owned(), &file, "nothing names this file"),
        (&["core", "scan"], "https://nobody.example/x".to_owned(), &file, "the core plugin scan does not run here"),
        (&["plugins", "evil"], "https://nobody.example/x".to_owned(), &file, "the plugin evil does not run here"),
    ] {
        for has_build in [true, false] {
            let mut planted = good.clone();
            let mut value = value.clone();
            if !has_build {
                value.as_mapping_mut().unwrap().remove("build");
            }
            section(&mut planted, names).insert(key.clone().into(), value);
            write(&project, &planted);
            let run = project.run(&["build", "--locked", "--clean"]).code(3);
            assert_eq!(rows(&run).len(), 1, "{names:?} {key}\n{run}");
            assert!(rows(&run)[0].contains(why), "{why}\n{run}");
        }
        project.run(&["build"]).success();
        assert!(!lock_of(&project).contains("nobody.example") && !lock_of(&project).contains("s390x"), "{names:?}");
    }
}

/// As a version wrote it whose images and repositories named no build.
fn to_format_2(lock: &Value) -> Value {
    let mut old = lock.clone();
    old["format"] = 2.into();
    for names in ["images", "repositories"] {
        for (_, entry) in section(&mut old, &[names]) {
            entry.as_mapping_mut().unwrap().remove("build").expect("it names its build");
        }
    }
    old
}

#[test]
fn a_lock_of_format_2_is_taken_over_without_a_word() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let old = to_format_2(&data(&project));
    write(&project, &old);
    let before = lock_of(&project);
    world.forget();
    for flags in [&["build", "--locked", "--clean"][..], &["build", "--offline", "--clean"], &["build", "--clean"]] {
        let run = project.run(flags).success();
        assert!(!run.stderr.contains("vouch") && !run.stderr.contains("airgap.lock"), "{run}");
        assert_eq!(lock_of(&project), before, "nothing was resolved");
    }
    let package = project.package().display().to_string();
    project.run(&["verify", "--lock", "config/airgap.lock", &package]).success();

    // The next thing that is resolved brings the file to today's format.
    world.write(&project, &["app:1"], &["yq", "helm"], "^1", "v1");
    let run = project.run(&["build"]).success();
    assert!(!run.stderr.contains("vouch"), "{run}");
    let mut new = data(&project);
    assert_eq!(new["format"].as_u64(), Some(3));
    for (names, part) in [("images", "/app:1"), ("repositories", "base.git v1")] {
        assert_eq!(entry(&mut new, &[names], part)["build"].as_str(), Some("earlier"), "{names}");
    }
    project.run(&["build", "--locked", "--clean"]).success();
}

/// As a version wrote it that had one list of files.
fn to_format_1(lock: &Value) -> Value {
    let mut old = to_format_2(lock);
    old["format"] = 1.into();
    let fetched = section(&mut old, &["core", "charts"]).clone();
    old.as_mapping_mut().unwrap().remove("core");
    section(&mut old, &["files"]).extend(fetched);
    for names in ["files", "charts"] {
        for (_, entry) in section(&mut old, &[names]) {
            let entry = entry.as_mapping_mut().unwrap();
            entry.remove("build");
            entry.remove("checksum");
        }
    }
    old
}

/// The store knows who fetched what from where, and needs no network to say so.
#[test]
fn what_the_store_saw_vouches_for_an_old_lock() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    world.write(&project, &["app:1"], &["yq"], "1.0.0", "v1");
    project.build();
    let new = data(&project);
    let old = to_format_1(&new);
    write(&project, &old);
    world.forget();
    for flags in [&["build", "--locked", "--clean"][..], &["build", "--offline", "--clean"]] {
        let run = project.run(flags).success();
        assert!(!run.stderr.contains("vouch"), "{run}");
    }
    assert_eq!([world.registry.render_log(), world.files.render_log()].concat(), "");

    // Bytes that it never had from there are doubted all the same.
    let mut planted = old.clone();
    entry(&mut planted, &["files"], "/yq")["sha256"] = format!("sha256:{}", sha256(b"planted")).into();
    write(&project, &planted);
    let run = project.run(&["build", "--locked", "--clean"]).code(3);
    assert_eq!(rows(&run).len(), 1, "{run}");
    assert!(rows(&run)[0].contains("/yq"), "{run}");
    // And which version a constraint led to is nothing that it saw.
    world.write(&project, &["app:1"], &["yq"], "^1", "v1");
    let mut constrained = old;
    let charts = section(&mut constrained, &["charts"]);
    let (key, entry) = charts.iter().next().map(|(key, entry)| (key.clone(), entry.clone())).unwrap();
    charts.clear();
    charts.insert(key.as_str().unwrap().replace(" 1.0.0", " ^1").into(), entry);
    write(&project, &constrained);
    let run = project.run(&["build", "--locked", "--clean"]).code(3);
    assert!(rows(&run).len() == 1 && rows(&run)[0].contains("web ^1"), "{run}");
}

/// Without what the store saw, one row and one hint say what to do, however
/// many entries there are.
#[test]
fn offline_says_once_that_an_old_lock_needs_one_build_with_a_network() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    world.write(&project, &["app:1"], &["yq", "helm"], "^1", "v1");
    project.build();
    write(&project, &to_format_1(&data(&project)));
    std::fs::remove_dir_all(project.path("build/store/fetched")).unwrap();
    let run = project.run(&["build", "--offline", "--clean"]).code(1);
    assert_eq!(rows(&run).len(), 1, "{run}");
    assert!(rows(&run)[0].contains("config/airgap.lock") && rows(&run)[0].contains("3 of its entries"), "{run}");
    let run = run.says(&["/yq", "web ^1", "run the build once without --offline", "commit the lock"]);
    assert_eq!(run.stderr.matches("hint:").count(), 1, "{run}");
    project.run(&["build"]).success();
    project.run(&["build", "--offline", "--clean"]).success();
}

/// Who asked, where, and on what evidence: in the list, and what verify tells.
#[test]
fn the_list_beside_the_package_says_on_what_each_content_rests() {
    let Some(world) = World::start() else { return };
    let image = Image::small(7, 5_000);
    world.registry.push("pinned:1", &image);
    let (checked, checksum) = world.files.put_with_checksum("/checked", "a program");
    let commit = world.git.create("pinned").commit("a", "1");
    let project = world.project();
    project.write("charts/own/Chart.yaml", "apiVersion: v2\nname: own\nversion: 0.1.0\n");
    project.write("charts/own/templates/a.yaml", "kind: ConfigMap\n");
    let components = json!({
        "images": { "additional": [
            world.registry.reference("app:1"), format!("{}@{}", world.registry.reference("pinned"), image.digest()),
        ] },
        "tools": [
            { "name": "yq", "version": "1", "url": world.files.url("/yq") },
            { "name": "checked", "version": "1", "url": checked, "checksum_url": checksum },
        ],
        "charts": [
            { "name": "web", "repo": world.files.url("/charts"), "version": "^1" },
            { "name": "own", "repo": "./charts/own", "version": "0.1.0" },
        ],
        "repositories": [
            { "name": "base", "url": world.git.clone_url("base"), "ref": "v1" },
            { "name": "pinned", "url": world.git.clone_url("pinned"), "commit": commit },
        ],
    });
    project.write("config/components.yaml", components.to_string());
    project.build();
    let list: serde_json::Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).unwrap();
    let of = |section: &str, key: &str, part: &str| {
        let rows = list[section].as_array().unwrap();
        let row = rows.iter().find(|row| row[key].as_str().unwrap().contains(part)).expect("a row");
        format!("{} {}", row["by"].as_str().unwrap(), row["evidence"].as_str().unwrap())
    };
    for (section, key, part, says) in [
        ("images", "reference", "/app:1", "host first-sight"),
        ("images", "reference", "/pinned@", "host digest"),
        ("files", "name", "yq", "host first-sight"),
        ("files", "name", "checked", "host checksum"),
        ("charts", "name", "web", "core plugin charts first-sight"),
        ("charts", "name", "own", "core plugin charts local"),
        ("repositories", "source", "/base.git@v1", "host first-sight"),
        ("repositories", "source", "/pinned.git@", "host digest"),
    ] {
        assert_eq!(of(section, key, part), says, "{section} {part}");
    }
    assert!(lock_of(&project).contains(&format!("checksum: {checksum}")), "{}", lock_of(&project));
    let package = project.package().display().to_string();
    let run = project.run(&["verify", &package]).success().prints(&["4 of 8 rest on", "--verbose"]);
    assert!(!run.stdout.contains("base.git"), "{run}");
    project.run(&["verify", "--verbose", &package]).success().prints(&[
        "repository ",
        "base.git@v1",
        "chart ",
        "file ",
    ]);
    let report = project.run(&["verify", "--json", &package]).success().json();
    assert_eq!(report["evidence"]["known"], 8);
    assert_eq!(report["evidence"]["first_sight"].as_array().unwrap().len(), 4, "{report}");

    // The same configuration with its lock says the same, whatever was asked.
    project.run(&["build", "--clean", "--offline"]).success();
    let again: serde_json::Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).unwrap();
    assert_eq!(again, list);
}

/// An archive with a second name of a secret in it: nobody follows it out.
#[test]
fn a_hard_link_in_the_archive_of_a_chart_leads_nowhere() {
    let files = FileServer::start();
    for target in ["../config/settings.yaml", "config/settings.yaml", "web/../../config/settings.yaml", "/etc/hostname"]
    {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content).unwrap();
        };
        add("web/Chart.yaml", b"apiVersion: v2\nname: web\nversion: 1.0.0\n");
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Link);
        link.set_size(0);
        link.as_old_mut().name[..15].copy_from_slice(b"web/values.yaml");
        let name = target.as_bytes();
        link.as_old_mut().linkname[..name.len()].copy_from_slice(name);
        link.set_cksum();
        tar.append(&link, std::io::empty()).unwrap();
        let archive = airgap_tests::charts::gzip(&tar.into_inner().unwrap());
        files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
        files.put("/charts/web-1.0.0.tgz", archive);
        let wanted = json!({ "name": "web", "repo": files.url("/charts"), "version": "1.0.0" });
        let project = Project::new().with_file_server(&files.host()).with_chart(wanted);
        let run = project.run(&["build"]);
        assert!(matches!(run.status.code(), Some(0 | 1)), "{run}");
        run.never_says("plain_http_hosts");
        let made = std::fs::read(project.path("build/steps/charts/charts.json")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&made).contains("plain_http_hosts"), "{target}");
    }
}

/// What a registry or server gives is entered under whoever asked, whatever
/// another one was given there.
#[test]
fn one_archive_of_two_askers_is_two_entries() {
    let (files, registry) = (FileServer::start(), Registry::start());
    let archive = chart("web", "1.0.0", &[]);
    files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
    let url = files.put("/charts/web-1.0.0.tgz", archive.clone());
    let wanted = json!({ "name": "web", "repo": files.url("/charts"), "version": "1.0.0" });
    let project = Project::new()
        .with_registry(&registry.host())
        .with_file_server(&files.host())
        .with_tool("archive.tgz", &url, None)
        .with_chart(wanted);
    project.build();
    let mut lock = data(&project);
    for names in [&["files"][..], &["core", "charts"]] {
        let entry = entry(&mut lock, names, "web-1.0.0.tgz");
        assert_eq!(entry["sha256"].as_str(), Some(format!("sha256:{}", sha256(&archive)).as_str()));
    }
    assert_eq!(sha256_file(&project.path("build/steps/files/bin/archive.tgz")), sha256(&archive));
}
