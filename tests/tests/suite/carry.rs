//! Guards the folder that is carried: whole, checked, the same every time, and
//! nobody's files but its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use airgap_tests::digest::sha256;
use airgap_tests::platform::{Platform, program};
use airgap_tests::project::{Project, binary};
use airgap_tests::tools;
use serde_json::json;

/// A platform with a file beside the package, one that the settings name, and a
/// chart that is not installed.
pub(crate) fn project(platform: &Platform) -> Project {
    let zarf = program("zarf", 90, 50_000);
    platform.files.put("/zarf/zarf_v0.84.0_Linux_amd64", zarf);
    platform.files.put_checksum_list("/zarf/checksums.txt", &["/zarf/zarf_v0.84.0_Linux_amd64"]);
    platform.files.put("/debs-amd64.tar", b"packages of the system".to_vec());
    let (url, list) =
        (platform.files.url("/zarf/zarf_v{{version}}_Linux_{{arch}}"), platform.files.url("/zarf/checksums.txt"));
    let debs = json!({
        "name": "debs-{{arch}}.tar", "url": platform.files.url("/debs-{{arch}}.tar"),
        "sha256": sha256(b"packages of the system"),
    });
    let project = platform.configure(Project::new()).with_settings(|settings| {
        settings["carry"] = json!({ "files": [debs], "programs": { "amd64": "small" } });
    });
    project.write("config/small", small());
    let catalog = project.read("config/catalog.yaml");
    let tool = format!(
        "tools:\n  - name: zarf-{{{{arch}}}}\n    version: \"0.84.0\"\n    url: \"{url}\"\n    checksum_url: \"{list}\"\n    carry: true\n"
    );
    project.write(
        "config/catalog.yaml",
        catalog.replace("tools:\n", &tool).replace("    values: config", "    deploy: false\n    values: config"),
    );
    project
}

/// The header of a program, so that there is little to copy.
fn small() -> Vec<u8> {
    let mut head = vec![0; 64];
    head[..6].copy_from_slice(b"\x7fELF\x02\x01");
    head[18] = 62;
    head
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn a_folder_has_everything_and_says_what_to_do() {
    let platform = Platform::smaller(16);
    let project = project(&platform).with_settings(|settings| {
        settings["carry"].as_object_mut().unwrap().remove("programs");
    });
    let run = project.run(&["build", "--carry", "carried", "--json"]).success();
    let carried = run.json_lines().into_iter().find(|line| line["event"] == "carried").unwrap();
    let folder = project.path("carried");
    let there = files(&folder);
    let package = project.package().file_name().unwrap().to_string_lossy().into_owned();
    // All that a build leaves of its package, whatever that is, and the rest.
    let mut expected = files(&project.path("dist"));
    assert!(expected.contains_key(&format!("{package}.sha256")) && expected.contains_key("artifact-manifest.json"));
    for name in ["SHA256SUMS", "START-HERE.txt", "debs-amd64.tar", "opencenter-airgap-amd64", "zarf-amd64"] {
        expected.insert(name.to_owned(), there.get(name).cloned().unwrap_or_else(|| panic!("{name} is not there")));
    }
    assert!(expected == there, "{:?} and {:?}", expected.keys(), there.keys());
    // The list does not name itself.
    let count = serde_json::json!(there.len() - 1);
    assert_eq!((&carried["files"], &carried["copied"]), (&count, &carried["bytes"]), "{carried}");
    assert!(there["opencenter-airgap-amd64"] == std::fs::read(binary()).unwrap());
    assert_eq!(there["debs-amd64.tar"], b"packages of the system");
    tools::run(Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(&folder));
    let start = String::from_utf8(there["START-HERE.txt"].clone()).unwrap();
    for command in [
        "./opencenter-airgap-amd64 verify .".to_owned(),
        format!("./zarf-amd64 package deploy {package} --confirm"),
        format!(
            "--components git-server --confirm && ./zarf-amd64 package deploy {package} --components '*' --confirm"
        ),
        "needed from elsewhere: Zarf's init package".to_owned(),
    ] {
        assert!(start.contains(&command), "{command}:\n{start}");
    }
    // With what is in the folder, where nothing else is.
    let output = Command::new("./opencenter-airgap-amd64")
        .args(["verify", ".", "--json"])
        .current_dir(&folder)
        .env_clear()
        .output();
    let output = output.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["sound"], &report["packages"][0]["identity"]["charts"]),
        (&json!(true), &json!(1)),
        "{report:#}"
    );

    // What is there is not written again, and elsewhere it is the same.
    project.run(&["build", "--carry", "carried"]).success().prints(&["Nothing to do", "nothing was missing"]);
    project.run(&["build", "--offline", "--carry", "again"]).success();
    assert!(files(&project.path("again")) == there);
    std::fs::write(folder.join("zarf-amd64"), b"other bytes").unwrap();
    project.run(&["build", "--carry", "carried"]).success();
    assert!(files(&folder) == there, "what has another size is put there again");
}

#[test]
fn a_folder_of_others_is_refused_before_anything_is_built() {
    let platform = Platform::smaller(16);
    let project = project(&platform);
    project.write("photos/photo.jpg", "mine");
    project.write("file", "");
    for (folder, word) in [
        ("photos", "`photo.jpg`"),
        ("file", "not a folder"),
        ("dist", "the folder of the packages"),
        ("dist/carry", "the folder of the packages"),
        ("config", "the folder of the configuration"),
        (".", "the folder of the configuration"),
        ("build/x", "the folder of the build"),
    ] {
        project.run(&["build", "--carry", folder]).code(2).says(&[word]);
    }
    project.run(&["build", "--carry", "/proc/airgap"]).code(1).says(&["/proc"]);
    project.run(&["build", "--carry", "x", "--plan"]).code(2);
    assert!(!project.exists("build/state.json"), "nothing was built");
    assert_eq!(project.read("photos/photo.jpg"), "mine");
}

#[test]
fn whatever_is_wrong_with_a_folder_is_named() {
    type Damage = fn(&Path);
    let platform = Platform::smaller(16);
    let project = project(&platform);
    project.run(&["build", "--carry", "carried"]).success();
    let cases: &[(Damage, &str, &str)] = &[
        (|folder| std::fs::write(folder.join("extra.txt"), "x").unwrap(), "extra-file", "`extra.txt`"),
        (|folder| std::fs::remove_file(folder.join("zarf-amd64")).unwrap(), "missing", "`zarf-amd64`"),
        (|folder| std::fs::write(folder.join("debs-amd64.tar"), "packages of the SYSTEM").unwrap(), "digest", "debs"),
        (|folder| std::fs::write(folder.join("UNFINISHED.txt"), "").unwrap(), "unfinished", "never completed"),
        (|folder| std::fs::create_dir(folder.join("inner")).unwrap(), "extra-file", "`inner`"),
    ];
    for (damage, rule, word) in cases {
        let folder = project.path("damaged");
        std::fs::create_dir(&folder).unwrap();
        for (name, content) in files(&project.path("carried")) {
            std::fs::write(folder.join(name), content).unwrap();
        }
        damage(&folder);
        project.run(&["verify", "damaged"]).code(4).prints(&[rule, word, "do not use this folder"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
    // A package that is damaged is told as one, and as a file.
    let package = project.package().file_name().unwrap().to_owned();
    let path = project.path("carried").join(package);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    project.run(&["verify", "carried"]).code(4).prints(&["digest", "do not deploy this package"]);
    for (list, word) in [("", "extra-file"), ("not a list", "line 1")] {
        project.write("carried/SHA256SUMS", list);
        let run = project.run(&["verify", "carried"]).code(4);
        assert!(run.to_string().contains(word), "{run}");
    }
    project.remove("carried/SHA256SUMS");
    project.run(&["verify", "carried"]).code(4).says(&["there is no SHA256SUMS"]);
}

/// Each architecture has documents of its own, whichever was built last.
#[test]
fn two_architectures_of_one_project_keep_two_sets_of_documents() {
    let site = [("Chart.yaml", "apiVersion: v2\nname: site\nversion: 1.0.0\n"), ("templates/a.yaml", "a: b\n")];
    let project =
        Project::new().with_chart(json!({ "name": "site", "repo": "./site", "version": "1.0.0", "deploy": false }));
    site.iter().for_each(|(name, text)| project.write(&format!("site/{name}"), text));
    for architecture in ["amd64", "arm64"] {
        let pins = project.read("config/versions.env").replace("\"amd64\"", &format!("\"{architecture}\""));
        project.write("config/versions.env", pins);
        project.run(&["build", "--on-change", "restart", "--carry", architecture]).success();
    }
    for architecture in ["amd64", "arm64"] {
        let package = format!("dist/zarf-package-platform-{architecture}-1.0.0.tar.zst");
        let report = project.run(&["verify", "--json", &package]).success().json();
        assert_eq!(
            [&report["identity"]["architecture"], &report["checksum_file"], &report["artifact_manifest"]],
            [architecture, "matches", "matches"]
        );
        project.run(&["verify", architecture]).success();
        let start = project.read(&format!("{architecture}/START-HERE.txt"));
        assert!(start.starts_with(&format!("platform 1.0.0 for {architecture}: ")), "{start}");
        assert_eq!(start.contains("needed from elsewhere: opencenter-airgap"), architecture == "arm64", "{start}");
    }
}

/// A newer package takes the older one's place, with what is no longer carried.
#[test]
fn a_newer_package_takes_the_place_of_the_older_one() {
    let platform = Platform::smaller(16);
    let project = project(&platform);
    project.run(&["build", "--carry", "carried"]).success();
    let project = project.with_settings(|settings| {
        settings["package"]["version"] = json!("2.0.0");
        settings["carry"] = json!({});
    });
    project.run(&["build", "--carry", "carried", "--on-change", "restart"]).success();
    let names: Vec<String> = files(&project.path("carried")).into_keys().collect();
    assert!(names.iter().any(|name| name.ends_with("amd64-2.0.0.tar.zst")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("1.0.0.tar.zst") || name.contains("debs")), "{names:?}");
    project.run(&["verify", "carried"]).success();
}

#[test]
fn what_the_settings_say_of_a_file_holds() {
    let platform = Platform::smaller(16);
    let project = project(&platform);
    platform.files.put("/debs-amd64.tar", b"something else".to_vec());
    let name = platform.files.url("/debs-amd64.tar");
    project.run(&["build", "--carry", "carried"]).code(1).says(&[&name, "`sha256` of settings.yaml"]);
    assert!(!project.exists("carried/SHA256SUMS"));
    let program = project.path("config/other");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    let project = project.with_settings(|settings| settings["carry"] = json!({ "programs": { "arm64": "other" } }));
    project
        .run(&["build", "--carry", "carried", "--on-change", "restart"])
        .code(1)
        .says(&["no program for Linux", "arm64"]);
}
