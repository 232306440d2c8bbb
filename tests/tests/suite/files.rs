//! Guards downloaded programs: checksums in the formats that projects publish,
//! archives unpacked to one file and no further.

use std::os::unix::fs::PermissionsExt;

use airgap_tests::charts::gzip;
use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::images::tar_of;
use airgap_tests::package::Package;
use airgap_tests::platform::program;
use airgap_tests::project::Project;
use serde_json::Value;

fn project(files: &FileServer) -> Project {
    Project::new().with_file_server(&files.host())
}

#[test]
fn a_plain_file_is_executable_and_recorded() {
    let files = FileServer::start();
    let content = program("yq", 1, 100_000);
    let url = files.put("/yq_linux_amd64", content.clone());
    let project = project(&files).with_tool("yq", &url, None);
    project.build();
    let path = project.path("build/steps/files/bin/yq");
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0o111);
    assert!(project.read("build/steps/files/files.json").contains(&sha256(&content)));
    // Nobody knew the digest: it goes into the lock at first sight.
    assert!(project.read("config/airgap.lock").contains(&sha256(&content)));
}

/// A tool that is kept as its archive has no place among programs.
#[test]
fn only_programs_are_deployed_as_such() {
    let files = FileServer::start();
    let tool = files.put("/yq_linux_amd64", program("yq", 1, 1000));
    let archive = files.put("/containerd.tar.gz", gzip(&tar_of(&[("bin/containerd", b"x")])));
    let project = project(&files).with_tool("yq", &tool, None).with_tool("containerd.tar.gz", &archive, None);
    project.build();
    let definition: Value = serde_yaml::from_str(&Package::open(&project.package()).text("zarf.yaml")).unwrap();
    let places: Vec<(&str, bool)> = definition["components"][0]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["target"].as_str().unwrap(), file["executable"].as_bool().unwrap_or_default()))
        .collect();
    assert_eq!(places, [("/usr/local/bin/yq", true), ("/opt/opencenter/files/containerd.tar.gz", false)]);
}

#[test]
fn a_file_that_changes_after_it_was_locked_is_refused() {
    let files = FileServer::start();
    let url = files.put("/yq", "first");
    let project = project(&files).with_tool("yq", &url, None);
    project.build();
    files.put("/yq", "other");
    project.run(&["clean", "--dist"]).success();
    project.run(&["build"]).code(1).says(&["yq", &url, &sha256(b"first")]);
}

#[test]
fn checksums_are_read_in_every_usual_format() {
    let content = b"#!/bin/sh\necho tool\n".to_vec();
    let (right, wrong) = (sha256(&content), sha256(b"other"));
    let formats = [
        right.to_string(),
        format!("{right}\n"),
        format!("{}\n", right.to_uppercase()),
        format!("{right}  tool-linux-amd64\n"),
        format!("{right} *tool-linux-amd64\n"),
        format!("{wrong}  tool-linux-arm64\n{right}  ./tool-linux-amd64\n"),
        format!("{wrong}  dist/tool-darwin\n{right}  dist/tool-linux-amd64\n"),
        format!("SHA256 (tool-darwin) = {wrong}\nSHA256 (tool-linux-amd64) = {right}\n"),
        format!("{wrong}  tool-linux-arm64\r\n{right}  tool-linux-amd64\r\n"),
    ];
    for (number, list) in formats.iter().enumerate() {
        let files = FileServer::start();
        let url = files.put("/tool-linux-amd64", content.clone());
        let checksums = files.put("/SHA256SUMS", list.clone());
        let run = project(&files).with_tool("tool", &url, Some(&checksums)).run(&["build"]);
        assert_eq!(run.status.code(), Some(0), "format {number}: {list}\n{run}");
    }
}

#[test]
fn a_list_that_does_not_name_the_file_is_refused() {
    let files = FileServer::start();
    let url = files.put("/tool-linux-amd64", "x");
    let list = format!("{}  tool-linux-arm64\n{}  tool-darwin\n", sha256(b"x"), sha256(b"y"));
    let checksums = files.put("/SHA256SUMS", list);
    let run = project(&files).with_tool("tool", &url, Some(&checksums)).run(&["build"]).code(1);
    run.says(&["tool-linux-amd64", &checksums]);
}

#[test]
fn a_web_page_instead_of_checksums_is_refused() {
    let files = FileServer::start();
    let url = files.put("/tool", "x");
    let checksums = files.put("/SHA256SUMS", "<html><body>Sign in</body></html>");
    let run = project(&files).with_tool("tool", &url, Some(&checksums)).run(&["build"]).code(1);
    run.says(&[&checksums]);
}

#[test]
fn programs_are_taken_out_of_archives() {
    let files = FileServer::start();
    let helm = program("helm", 1, 50_000);
    let tar = tar_of(&[("linux-amd64/README.md", b"text"), ("linux-amd64/helm", &helm)]);
    let urls = [
        files.put("/helm.tar.gz", gzip(&tar)),
        files.put("/helm.tar", tar.clone()),
        files.put("/helm.tar.zst", zstd::encode_all(&tar[..], 3).unwrap()),
    ];
    for url in urls {
        for binary in [None, Some("linux-amd64/helm")] {
            let project = project(&files).with_archive("helm", &url, binary);
            project.build();
            assert_eq!(std::fs::read(project.path("build/steps/files/bin/helm")).unwrap(), helm, "{url} {binary:?}");
        }
    }
}

#[test]
fn an_archive_without_the_program_says_what_is_in_it() {
    let files = FileServer::start();
    let url = files.put("/tool.tar.gz", gzip(&tar_of(&[("bin/other", b"x"), ("bin/more", b"y")])));
    let run = project(&files).with_archive("tool", &url, Some("bin/tool")).run(&["build"]).code(1);
    run.says(&["bin/tool", "bin/other"]);
}

/// An archive with one entry of a kind that must not be followed.
fn hostile(path: &str, kind: tar::EntryType, target: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o777);
    // The library refuses such names, so they are written past it.
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    archive.append(&header, std::io::empty()).unwrap();
    gzip(&archive.into_inner().unwrap())
}

#[test]
fn archives_do_not_reach_out_of_their_folder() {
    let entries = [
        ("../tool", tar::EntryType::Regular, ""),
        ("/tmp/tool", tar::EntryType::Regular, ""),
        ("bin/tool", tar::EntryType::Symlink, "/etc/passwd"),
        ("bin/tool", tar::EntryType::Link, "/etc/passwd"),
        ("bin/tool", tar::EntryType::Char, ""),
    ];
    for (path, kind, target) in entries {
        let files = FileServer::start();
        let url = files.put("/tool.tar.gz", hostile(path, kind, target));
        let project = project(&files).with_archive("tool", &url, None);
        let run = project.run(&["build"]).code(1);
        assert!(!project.exists("build/steps/files/bin/tool"), "{path} {kind:?}\n{run}");
    }
}

#[test]
fn a_redirect_is_followed() {
    let files = FileServer::start();
    let url = files.put("/storage/tool", "the tool");
    let redirected = files.redirect("/tool", &url);
    let project = project(&files).with_tool("tool", &redirected, None);
    project.build();
    assert_eq!(project.read("build/steps/files/bin/tool"), "the tool");
}
