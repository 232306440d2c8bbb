//! Guards what people see when their input is wrong: a message that names
//! file, line, key or reference, what was found and what to do; the right exit
//! code; and nothing written.

use airgap_tests::file_server::FileServer;
use airgap_tests::images::Image;
use airgap_tests::project::{Project, Run, VERSIONS_ENV};
use airgap_tests::registry::Registry;
use airgap_tests::tools;
use serde_json::json;

/// Builds, expects the exit code, and checks that config/ is untouched and
/// dist/ empty.
#[track_caller]
fn refused(project: &Project, code: i32) -> Run {
    let before = project.config_files();
    let run = project.run(&["build"]).code(code);
    assert_eq!(project.config_files(), before, "config/ was changed by\n{run}");
    let published = std::fs::read_dir(project.path("dist")).map(Iterator::count).unwrap_or(0);
    assert_eq!(published, 0, "dist/ is not empty after\n{run}");
    run
}

/// The same, and build/ was not even begun.
#[track_caller]
fn refused_at_once(project: &Project) -> Run {
    let run = refused(project, 3);
    assert!(!project.exists("build/state.json"), "a state was written by\n{run}");
    run
}

#[test]
fn versions_env_with_a_syntax_error() {
    let project = Project::new();
    project.write("config/versions.env", VERSIONS_ENV.replace("RUNC_VERSION=\"1.3.4\"", "RUNC_VERSION \"1.3.4\""));
    refused_at_once(&project).says(&["config/versions.env:8", "hint:"]);
}

#[test]
fn versions_env_with_an_open_quote() {
    let project = Project::new();
    project.write("config/versions.env", VERSIONS_ENV.replace("RUNC_VERSION=\"1.3.4\"", "RUNC_VERSION=\"1.3.4"));
    refused_at_once(&project).says(&["config/versions.env:8"]);
}

#[test]
fn a_missing_required_variable() {
    let project = Project::new();
    project.write("config/versions.env", VERSIONS_ENV.replace("KUBERNETES_VERSION=\"v1.34.3\"\n", ""));
    refused_at_once(&project).says(&["KUBERNETES_VERSION", "versions.env"]);
}

#[test]
fn an_empty_required_variable() {
    let project = Project::new();
    project.write("config/versions.env", VERSIONS_ENV.replace("\"v1.34.3\"", "\"\""));
    refused_at_once(&project).says(&["KUBERNETES_VERSION", "config/versions.env:2"]);
}

#[test]
fn a_value_that_is_not_allowed() {
    let project = Project::new();
    project.write("config/versions.env", VERSIONS_ENV.replace("\"amd64\"", "\"riscv64\""));
    refused_at_once(&project).says(&["TARGET_ARCH", "riscv64", "amd64", "arm64"]);
}

#[test]
fn no_configuration_at_all() {
    let project = Project::bare();
    refused_at_once(&project).says(&["versions.env", "opencenter-airgap init"]);
}

#[test]
fn components_yaml_with_an_unknown_field() {
    let project = Project::new();
    project.write("config/components.yaml", "tools:\n  - name: yq\n    version: \"4\"\n    uri: https://example.com\n");
    refused_at_once(&project).says(&["config/components.yaml:4", "uri"]);
}

#[test]
fn components_yaml_that_is_no_yaml() {
    let project = Project::new();
    project.write("config/components.yaml", "tools:\n  - name: [yq\n");
    refused_at_once(&project).says(&["config/components.yaml"]);
}

#[test]
fn a_tool_that_is_there_twice() {
    let project = Project::new();
    project.write(
        "config/components.yaml",
        "tools:\n  - name: yq\n    version: \"4\"\n    url: https://example.com/yq\n  - name: yq\n    version: \"5\"\n    \
         url: https://example.com/yq5\n",
    );
    refused_at_once(&project).says(&["config/components.yaml:5", "yq"]);
}

#[test]
fn an_image_reference_with_a_typo() {
    for typo in ["nginx:1.27:1", "Nginx/Upper:1", "nginx@sha256:abc", "nginx: 1"] {
        let project = Project::new();
        project.write("config/components.yaml", format!("images:\n  additional:\n    - image: \"{typo}\"\n"));
        refused_at_once(&project).says(&["config/components.yaml:3", typo]);
    }
}

#[test]
fn a_url_with_a_password_is_refused_and_not_repeated() {
    let project = Project::new();
    project.write(
        "config/components.yaml",
        "tools:\n  - name: yq\n    version: \"4\"\n    url: https://robot:hunter2@example.com/yq\n",
    );
    refused_at_once(&project).says(&["config/components.yaml:4"]).never_says("hunter2");
}

/// With the first request it would be told once for each item.
#[test]
fn certificates_that_are_none_are_refused_once_and_with_their_line() {
    let named = |settings: &mut serde_json::Value| {
        settings["network"] = json!({ "ca_files": ["ca.pem"] });
        settings["registries"] =
            json!({ "r.example": { "client_certificate": "ca.pem", "client_key": "ca.pem", "ca_file": "bad.pem" } });
    };
    let project = Project::new().with_image("r.example/a:1").with_image("r.example/b:1").with_settings(named);
    project.write("config/ca.pem", "no certificate");
    project.write("config/bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let run = refused_at_once(&project);
    let run = run.says(&[
        "network.ca_files[0]",
        "config/settings.yaml:",
        "holds no certificate",
        "are not a client certificate",
    ]);
    assert_eq!(run.stderr.matches("config/bad.pem` holds no certificate").count(), 1, "{run}");
    assert!(!project.exists("build"));
}

#[test]
fn a_proxy_of_the_environment_that_is_no_address_is_refused_at_once() {
    let project = Project::new().with_image("r.example/a:1").with_env("HTTPS_PROXY", "http://[");
    refused_at_once(&project).says(&["HTTPS_PROXY"]);
    assert!(!project.exists("build"));
}

#[test]
fn a_folder_with_a_name_that_is_no_text_is_refused_at_once() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new();
    let folder = project.path("p").join(std::ffi::OsStr::from_bytes(b"\xff"));
    std::fs::create_dir_all(&folder).unwrap();
    let output = project.command(&["build"]).current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("\\xFF") && said.contains("UTF-8"), "{said}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_local_chart_with_a_name_that_is_no_text_is_refused_at_once() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new().with_chart(json!({ "name": "web", "repo": "./charts/web", "version": "1.0.0" }));
    project.write("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    let name = std::ffi::OsStr::from_bytes(b"\xff.yaml");
    std::fs::write(project.path("charts/web").join(name), "a: 1\n").unwrap();
    refused_at_once(&project).says(&["charts/web", "\\xFF.yaml", "UTF-8"]);
}

#[test]
fn settings_yaml_with_an_unknown_field() {
    let project = Project::new().with_settings(|settings| settings["pakage"] = json!({}));
    refused_at_once(&project).says(&["config/settings.yaml", "pakage"]);
}

#[test]
fn a_step_that_does_not_exist() {
    let project = Project::new();
    project.run(&["build", "--step", "image"]).code(2).says(&["image", "images", "zarf_gen"]);
    assert!(!project.exists("build/state.json"));
}

#[test]
fn an_option_that_does_not_exist() {
    Project::new().run(&["build", "--fast"]).code(2).says(&["--fast"]);
}

#[test]
fn an_image_that_does_not_exist() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 1_000));
    let reference = registry.reference("app:2");
    let project = Project::new().with_registry(&registry.host()).with_image(&reference);
    project.run(&["build"]).code(1).says(&[&reference, "404"]);
    let step = project.step("images");
    assert_eq!((&step["status"], &step["error"]["class"]), (&json!("FAILED"), &json!("not-found")));
    // Asked once: what is not there now will not be there in a second either.
    assert_eq!(registry.requests("GET", "/manifests/2").len(), 1, "{}", registry.render_log());
}

#[test]
fn a_registry_that_refuses() {
    use airgap_tests::fault::{Fault, On};
    for status in [401, 403] {
        let registry = Registry::start();
        registry.push("app:1", &Image::small(1, 1_000));
        registry.fault(On::any(), Fault::status(status));
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        project.run(&["build"]).code(1).says(&[&registry.host(), &status.to_string(), "hint:"]);
        assert_eq!(project.step("images")["error"]["class"], "auth");
        assert!(registry.log().len() <= 4, "{}", registry.render_log());
    }
}

#[test]
fn a_registry_that_is_down() {
    let host = format!("127.0.0.1:{}", tools::free_port());
    let project = Project::new()
        .with_registry(&host)
        .with_settings(|settings| settings["retries"] = json!({ "backoff": 0.01, "requests": 2, "steps": 1 }))
        .with_image(format!("{host}/app:1"));
    project.run(&["build"]).code(75).says(&[&host, "same command"]);
    assert_eq!(project.step("images")["error"]["class"], "transient");
}

#[test]
fn a_bad_image_does_not_stop_the_others_and_all_bad_ones_are_listed() {
    let registry = Registry::start();
    for seed in 0..8 {
        registry.push(&format!("good{seed}:1"), &Image::small(seed, 1_000));
    }
    let good = (0..8).map(|seed| format!("good{seed}:1"));
    let names = good.chain(["missing-a:1".to_owned(), "missing-b:1".to_owned()]);
    let project = names.fold(Project::new().with_registry(&registry.host()), |project, name| {
        project.with_image(registry.reference(&name))
    });
    project.run(&["build"]).code(1).says(&["missing-a:1", "missing-b:1", "404"]);
    for seed in 0..8 {
        assert_eq!(registry.requests("GET", &format!("good{seed}/blobs/")).len(), 2, "{}", registry.render_log());
    }
    // Mended, only the bad ones are fetched.
    registry.push("missing-a:1", &Image::small(100, 1_000));
    registry.push("missing-b:1", &Image::small(101, 1_000));
    registry.forget();
    project.build();
    assert_eq!(registry.requests("GET", "/blobs/").len(), 4, "{}", registry.render_log());
}

#[test]
fn a_configuration_that_names_nothing() {
    let project = Project::new();
    project.run(&["build"]).code(1).says(&["hold nothing", "config/components.yaml"]);
    assert!(!project.exists("dist"));
}

/// What came first counts from then on, so it is said once what that was.
#[test]
fn a_tool_whose_checksum_nobody_knows_is_told() {
    let files = FileServer::start();
    let url = files.put("/tool", b"the tool".to_vec());
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, None);
    let run = project.build().says(&["warning:", "no checksum", &url, &airgap_tests::digest::sha256(b"the tool")]);
    drop(run);
    project.run(&["build", "--clean"]).success().never_says("no checksum");
}

#[test]
fn a_checksum_of_another_file_is_named_as_such() {
    let files = FileServer::start();
    let url = files.put("/tool", b"the tool".to_vec());
    let checksum = files.put("/tool.sha256", format!("{}  other.tgz\n", "0".repeat(64)));
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, Some(&checksum));
    project.run(&["build"]).code(1).says(&[&checksum, "`other.tgz`", "checksum_url"]);
}

#[test]
fn a_checksum_that_does_not_match() {
    let files = FileServer::start();
    let (url, _) = files.put_with_checksum("/tool", b"the tool".to_vec());
    let checksum = files.put("/tool.sha256", "0".repeat(64));
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, Some(&checksum));
    let actual = airgap_tests::digest::sha256(b"the tool");
    project.run(&["build"]).code(1).says(&["tool", &url, &"0".repeat(64), &actual]);
    assert_eq!(project.step("files")["error"]["class"], "integrity");
}

#[test]
fn a_corrupted_foreign_or_newer_state_is_never_overwritten() {
    let newer = json!({ "format": 999, "build_id": "x", "steps": [] }).to_string();
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 1_000));
    for content in ["", "{ not json", "[1, 2]", &newer] {
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        project.build();
        project.write("build/state.json", content);
        project.run(&["build"]).code(4).says(&["state.json", "build --clean"]);
        assert_eq!(project.read("build/state.json"), content);
        project.run(&["status"]).code(4);
        std::fs::remove_file(project.path("build/state.json")).unwrap();
        project.build();
    }
}

#[test]
fn a_changed_configuration_is_refused_with_the_change() {
    let registry = Registry::start();
    let reference = registry.reference("app:1");
    let project = Project::new().with_registry(&registry.host()).with_image(&reference);
    project.run(&["build"]).code(1);
    project.write("config/versions.env", VERSIONS_ENV.replace("v1.34.3", "v1.34.4"));
    let run = project.run(&["build"]).code(3);
    run.says(&["KUBERNETES_VERSION", "v1.34.3", "v1.34.4", "versions.env", "--on-change restart"]);
    registry.push("app:1", &Image::small(1, 1_000));
    project.run(&["build", "--on-change", "restart"]).success();
}

#[test]
fn a_changed_configuration_of_a_finished_build_begins_a_new_one() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 1_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.build();
    let first = project.state()["build_id"].clone();
    project.write("config/versions.env", VERSIONS_ENV.replace("v1.34.3", "v1.34.4"));
    project.build();
    assert_ne!(project.state()["build_id"], first);
}

/// Found before anything is fetched, not by Zarf in the field.
#[test]
fn a_file_name_that_zarf_refuses_when_it_deploys() {
    for name in ["aux.c", "a:b", "tool.", "a b", "..", "a\\b"] {
        let project = Project::new();
        let text = json!({ "tools": [{ "name": name, "version": "1", "url": "https://files.invalid/x" }] });
        project.write("config/components.yaml", serde_yaml::to_string(&text).unwrap());
        refused_at_once(&project).says(&["config/components.yaml:2", name, "hint:"]);
    }
}
