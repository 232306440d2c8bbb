//! Guards downloaded programs: checksums in the formats that projects publish,
//! archives unpacked to one file and no further.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airgap_tests::charts::gzip;
use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::images::tar_of;
use airgap_tests::package::Package;
use airgap_tests::platform::program;
use airgap_tests::project::Project;
use airgap_tests::tools;
use serde_json::json;

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
    let definition = Package::open(&project.package()).definition();
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

/// Every file with this name, wherever it lies.
fn files_called(folder: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() && !path.is_symlink() {
            true => files_called(&path, name),
            false if path.ends_with(name) => vec![path],
            false => Vec::new(),
        })
        .collect()
}

#[test]
fn archives_do_not_reach_out_of_their_folder() {
    let entries = [
        ("../tool", tar::EntryType::Regular, "", "`../tool`"),
        ("/tmp/tool", tar::EntryType::Regular, "", "`/tmp/tool`"),
        ("bin/tool", tar::EntryType::Symlink, "/etc/passwd", "no file named `tool`"),
        ("bin/tool", tar::EntryType::Link, "/etc/passwd", "no file named `tool`"),
        ("bin/tool", tar::EntryType::Char, "", "`bin/tool`"),
    ];
    for (path, kind, target, said) in entries {
        let files = FileServer::start();
        let url = files.put("/tool.tar.gz", hostile(path, kind, target));
        let project = project(&files).with_archive("tool", &url, None);
        let run = project.run(&["build"]).code(1).says(&["tool.tar.gz", said, "hint:"]);
        assert!(!project.exists("build/steps/files/bin/tool"), "{path} {kind:?}\n{run}");
        for outside in ["/tmp/tool", "/bin/tool"].map(std::path::Path::new) {
            assert!(!outside.exists(), "{path} {kind:?} wrote {}\n{run}", outside.display());
        }
        let named_tool = files_called(project.root(), "tool");
        assert!(named_tool.is_empty(), "{path} {kind:?} wrote {named_tool:?}\n{run}");
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

#[test]
fn a_closed_file_server_opens_with_dockers_credentials() {
    let files = FileServer::start_closed();
    let (url, checksum) = files.put_with_checksum("/tool", b"the tool".to_vec());
    let project = project(&files).with_tool("tool", &url, Some(&checksum));
    project.run(&["build"]).code(1).says(&["401", &files.host(), "hint:"]);
    project.write("home/.docker/config.json", tools::docker_config(&files.host(), tools::PASSWORD));
    project.build().never_says(tools::PASSWORD);
    assert_eq!(project.read("build/steps/files/bin/tool"), "the tool");
    assert!(!project.holds(tools::PASSWORD), "the password lies in the project");
}

/// The proxy is asked for whole addresses, and nobody else for those that only
/// it knows.
#[test]
fn the_proxy_of_the_environment_is_used_but_for_the_hosts_that_need_none() {
    let (proxy, direct) = (FileServer::start(), FileServer::start());
    proxy.put("http://files.invalid/far", "through the proxy");
    let near = direct.put("/near", "from nearby");
    let project = project(&direct)
        .with_file_server("files.invalid")
        .with_env("http_proxy", proxy.url(""))
        .with_env("NO_PROXY", "127.0.0.1")
        .with_tool("far", "http://files.invalid/far", None)
        .with_tool("near", &near, None);
    project.build();
    assert_eq!(project.read("build/steps/files/bin/far"), "through the proxy");
    assert_eq!(project.read("build/steps/files/bin/near"), "from nearby");
    let asked = |server: &FileServer, part: &str| server.requests("GET", part).len();
    assert_eq!((asked(&proxy, "/far"), asked(&proxy, "/near"), asked(&direct, "/near")), (1, 0, 1));
}

#[test]
fn https_goes_through_its_own_proxy_and_the_settings_win() {
    let (named, unnamed) = (FileServer::start(), FileServer::start());
    let project = |settings: Option<&FileServer>| {
        let project = Project::new()
            .with_env("HTTPS_PROXY", unnamed.url(""))
            .with_tool("far", "https://files.invalid/far", None)
            .with_settings(|settings| settings["retries"] = json!({ "backoff": 0.01, "requests": 1, "steps": 1 }));
        match settings {
            Some(proxy) => project.with_settings(|settings| settings["network"]["proxy"] = json!(proxy.url(""))),
            None => project,
        }
    };
    // Neither lets anybody through: who is asked is the question.
    let tunnels = |server: &FileServer| server.requests("CONNECT", "files.invalid:443").len();
    assert_ne!(project(None).run(&["build"]).status.code(), Some(0));
    assert!(tunnels(&unnamed) > 0, "HTTPS_PROXY: {}", unnamed.render_log());
    unnamed.forget();
    assert_ne!(project(Some(&named)).run(&["build"]).status.code(), Some(0));
    assert!(tunnels(&named) > 0 && tunnels(&unnamed) == 0, "network.proxy: {}", named.render_log());
}

/// A server whose queue is full answers nobody: `network.connect_timeout` ends
/// the wait.
#[test]
fn a_server_that_accepts_nobody_is_given_up() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Those that are queued fill it; the others are not even refused.
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
    let queued: Vec<_> = std::iter::repeat_with(connect).take(20).take_while(Result::is_ok).collect();
    assert!(queued.len() < 20, "the queue of the socket has no end");
    let project = Project::new()
        .with_file_server(&address.to_string())
        .with_tool("tool", &format!("http://{address}/tool"), None)
        .with_settings(|settings| {
            settings["network"]["connect_timeout"] = json!(1);
            settings["retries"] = json!({ "backoff": 0.01, "backoff_limit": 0.1, "requests": 1, "steps": 1 });
        });
    // The default of 20 seconds alone would take longer.
    project.start(&["build"]).finish_within(Duration::from_secs(18)).code(75).says(&[&address.to_string()]);
}

/// What a server gives where it has no file must not become a program, nor
/// what comes later under the same lock.
#[test]
fn what_is_no_program_does_not_become_one() {
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n", "0".repeat(64));
    for (content, said) in [
        ("", "an empty file"),
        ("<!-- proxy -->\n<html><body>Sign in</body></html>", "a web page"),
        ("{\"message\":\"Not Found\"}", "gave JSON"),
        ("404: Not Found", "the words `not found`"),
        (&pointer, "Git LFS"),
    ] {
        let files = FileServer::start();
        let url = files.put("/kubectl", content);
        let project = project(&files).with_tool("kubectl", &url, None);
        project.run(&["build"]).code(1).says(&["kubectl", &url, said, "hint:"]);
        let is_locked = project.exists("config/airgap.lock") && project.read("config/airgap.lock").contains(&url);
        assert!(!is_locked, "{content:?} is locked");
        assert!(project.packages().is_empty());
    }
    // An archive that is none, taken whole or for what is in it.
    let files = FileServer::start();
    let url = files.put("/tool.tar.gz", "<html>");
    project(&files).with_tool("tool.tar.gz", &url, None).run(&["build"]).code(1).says(&[&url, "a web page"]);
    project(&files).with_archive("tool", &url, None).run(&["build"]).code(1).says(&[&url, "a web page"]);
}

/// Behind the gap nobody can run it, and nobody can fetch another one.
#[test]
fn a_program_for_another_machine_is_refused_unless_its_name_says_so() {
    let mut arm = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0".to_vec();
    arm.resize(4096, 1);
    let files = FileServer::start();
    let (url, checksum) = files.put_with_checksum("/kubectl", arm.clone());
    let archive = files.put("/helm.tar.gz", gzip(&tar_of(&[("linux-amd64/helm", &arm)])));
    let said = ["linux/arm64", "the package is for linux/amd64", "hint:"];
    project(&files).with_tool("kubectl", &url, Some(&checksum)).run(&["build"]).code(1).says(&said);
    project(&files).with_archive("helm", &archive, None).run(&["build"]).code(1).says(&said);
    let named = project(&files).with_tool("kubectl-arm64", &url, Some(&checksum));
    named.build();
    assert!(named.exists("build/steps/files/bin/kubectl-arm64"));
}

/// PowerShell writes UTF-16, and releases write one list for all platforms.
#[test]
fn checksums_of_windows_and_of_many_folders_are_read() {
    let content = b"#!/bin/sh\necho tool\n".to_vec();
    let (right, wrong) = (sha256(&content), sha256(b"other"));
    let list = format!("{wrong}  linux/arm64/tool\r\n{right}  linux/amd64/tool\r\n");
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(list.encode_utf16()).flat_map(bytes).collect()
    };
    let marked = format!("\u{feff}{list}").into_bytes();
    for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes), marked] {
        let files = FileServer::start();
        let url = files.put("/v1/linux/amd64/tool", content.clone());
        let checksums = files.put("/v1/SHA256SUMS", bytes);
        project(&files).with_tool("tool", &url, Some(&checksums)).build();
    }
    let files = FileServer::start();
    let url = files.put("/v1/tool", content.clone());
    let checksums = files.put("/v1/SHA256SUMS", format!("{wrong}  a/tool\n{right}  b/tool\n"));
    let run = project(&files).with_tool("tool", &url, Some(&checksums)).run(&["build"]).code(1);
    run.says(&[&format!("{wrong}  a/tool"), &format!("{right}  b/tool"), &checksums]);
}

/// A server that shows nobody what it has.
#[test]
fn a_server_that_hides_its_files_opens_with_dockers_credentials() {
    let content = program("tool", 1, 1000);
    let served = content.clone();
    let server = airgap_tests::http::Server::start(move |request: &airgap_tests::http::Request| {
        match request.refusal(tools::USER, tools::PASSWORD) {
            Some(_) => airgap_tests::http::Response::new(404, "Not Found"),
            None => airgap_tests::http::Response::new(200, served.clone()),
        }
    });
    let project = Project::new().with_file_server(&server.host()).with_tool("tool", &server.url("/tool"), None);
    project.run(&["build"]).code(1).says(&["404", &server.host()]).never_says("refused");
    project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
    project.build().never_says(tools::PASSWORD);
    assert_eq!(std::fs::read(project.path("build/steps/files/bin/tool")).unwrap(), content);
}

/// What came before, under another tool's name or an earlier configuration,
/// settles nothing about a checksum that nobody has asked for yet.
#[test]
fn a_checksum_that_differs_fails_each_time() {
    let files = FileServer::start();
    let tool = files.put("/tool", program("tool", 1, 1000));
    let right = files.put("/right", sha256(&program("tool", 1, 1000)));
    let wrong = files.put("/wrong", sha256(b"something else"));
    // Two tools of one address.
    let two = project(&files).with_tool("first", &tool, Some(&right)).with_tool("second", &tool, Some(&wrong));
    for _ in 0..3 {
        two.run(&["build"]).code(1).says(&["second", &wrong]);
    }
    // A checksum that comes later.
    let before = project(&files).with_tool("tool", &tool, None);
    before.build();
    let later = before.with_tool("again", &tool, Some(&wrong));
    for _ in 0..2 {
        later.run(&["build", "--on-change", "restart"]).code(1).says(&["again", &wrong]);
    }
    later.run(&["build", "--offline", "--on-change", "restart"]).code(1).says(&["was not asked yet", &wrong]);
    // One that agrees becomes what vouches for it, and is asked once.
    let agrees = project(&files).with_tool("tool", &tool, Some(&right));
    agrees.write("config/airgap.lock", project_lock(&files, &tool));
    agrees.build();
    assert!(agrees.read("config/airgap.lock").contains(&format!("checksum: {right}")));
    files.forget();
    agrees.run(&["build", "--clean"]).success();
    assert!(files.requests("GET", "/right").is_empty(), "{}", files.render_log());
    // Nor does it settle that there must be one.
    let strict = project(&files)
        .with_tool("tool", &tool, None)
        .with_settings(|settings| settings["security"]["require_checksums"] = json!(true));
    strict.write("config/airgap.lock", project_lock(&files, &tool));
    for _ in 0..2 {
        strict.run(&["build"]).code(1).says(&["no checksum is known"]);
    }
}

/// A lock that knows a file from first sight.
fn project_lock(files: &FileServer, tool: &str) -> String {
    let project = project(files).with_tool("tool", tool, None);
    project.build();
    project.read("config/airgap.lock")
}
