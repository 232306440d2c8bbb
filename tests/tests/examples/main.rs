//! Guards the way of somebody new, in each language: the binary alone, no clone
//! of the repository, and the registries of the language. A project is written,
//! tested and built with the language's own tools, tried, pinned, and its output
//! is in a package.
//!
//! `make examples` runs this. What is not there is said and skipped, and is a
//! failure under `CI=true`.

mod apt;
mod policy;

use std::path::{Path, PathBuf};
use std::process::Command;

use airgap_tests::file_server::FileServer;
use airgap_tests::package::Package;
use airgap_tests::project::{Project, binary};
use airgap_tests::tools;
use serde_json::json;

/// Runs a line of a README in a folder, with the user's own environment and the
/// binary on the PATH.
#[track_caller]
fn shell(folder: &Path, line: &str, more: &[(&str, String)]) {
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).env("PATH", path).envs(more.iter().cloned());
    let output = command.output().expect("sh runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}\n{said}");
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        tools::skipped(&format!("{program} is not installed"));
    }
    found
}

/// A new plugin of the language, in an empty folder.
fn begun(name: &str, language: &str) -> (Project, PathBuf) {
    let project = Project::bare();
    project.run(&["plugin", "new", name, "--lang", language]).success();
    let folder = project.path(name);
    (project, folder)
}

/// The same with what its author made of it: the files of `examples/plugins` over
/// those that `plugin new` wrote.
fn example(name: &str, language: &str) -> (Project, PathBuf) {
    let (project, folder) = begun(name, language);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins").join(name);
    shell(&folder, "cp -R \"$OWN\"/. .", &[("OWN", own.display().to_string())]);
    (project, folder)
}

/// Builds a component of Rust with the target of rustup, or with Debian's compiler.
fn build_rust(folder: &Path) {
    let has_target = "[ -d \"$(rustc --print sysroot)/lib/rustlib/wasm32-wasip2\" ]";
    let debian = "RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS=\"-C linker=$(command -v wasm-component-ld || find $OWN -name wasm-component-ld | head -n 1) -C link-self-contained=no -L /usr/lib/wasm32-wasi -C link-arg=--wasm-ld-path=/usr/bin/wasm-ld\" /usr/bin/cargo build -q --release --target wasm32-wasip2 -Zbuild-std=std,panic_abort";
    let own = airgap_tests::project::target_folder().parent().unwrap().display().to_string();
    let line = format!("if {has_target}; then cargo build -q --release --target wasm32-wasip2; else {debian}; fi");
    shell(folder, &line, &[("OWN", own)]);
}

/// Builds a component of Python, with the lines of the README.
fn build_python(folder: &Path, component: &str, more: &str) {
    shell(folder, "python3 -m venv .venv && .venv/bin/pip install -q componentize-py==0.25.1", &[]);
    let build = "PATH=$PWD/.venv/bin:$PATH componentize-py -d wit -w build-step componentize";
    shell(folder, &format!("{build} {more} app -o {component}"), &[]);
}

/// Tries the component as the README says, pins it in a project, and finds its
/// output in the package.
#[track_caller]
fn goes_into_a_package(folder: &Path, component: &str) {
    let on_example = "--input manifests=example/manifests --configuration example/configuration.json";
    shell(folder, &format!("opencenter-airgap plugin test {component} {on_example} --keep kept"), &[]);
    let expected = "Images\n\n- registry.example.com/team/app:1.0\n";
    assert_eq!(std::fs::read_to_string(folder.join("kept/inventory.txt")).unwrap(), expected);

    let server = FileServer::start();
    let url = server.put_plain("/tool", "a tool");
    let site = Project::new().with_file_server(&server.host()).with_tool("tool", &url, None);
    site.write("plugins/inventory.wasm", std::fs::read(folder.join(component)).unwrap());
    site.run(&["plugin", "add", "plugins/inventory.wasm"]).success();
    let step = json!({
        "id": "inventory", "run": { "plugin": "inventory" }, "needs": ["manifests"],
        "configuration": { "title": "Images" },
        "contribute": [{ "from": "inventory.txt", "into": "documentation" }],
    });
    site.write("config/pipeline.yaml", json!({ "additional_steps": [step] }).to_string());
    site.build();
    let documents = Package::open(&site.package()).nested("documentation.tar");
    assert_eq!(documents["inventory.txt"], b"Images\n\n");
}

/// What a registry would be given builds by itself.
#[test]
fn the_sdk_is_a_package_of_its_own() {
    if !has("cargo") {
        return;
    }
    let target = tempfile::tempdir().unwrap();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/shared/sdk");
    let line = "cargo package -q --allow-dirty --target-dir \"$TARGET\"";
    shell(&sdk, line, &[("TARGET", target.path().display().to_string())]);
}

#[test]
fn a_plugin_in_go() {
    if !has("go") {
        return;
    }
    let (_project, folder) = begun("inventory", "go");
    let own = [("GOFLAGS", "-mod=mod".to_owned()), ("GOTOOLCHAIN", "local".to_owned())];
    shell(&folder, "go test ./listing", &own);
    let build = "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags=-checklinkname=0 -o core.wasm .";
    shell(&folder, build, &own);
    shell(&folder, "opencenter-airgap plugin componentize core.wasm -o inventory.wasm", &[]);
    // The same core module is the same component, and so the same pin.
    shell(
        &folder,
        "opencenter-airgap plugin componentize core.wasm -o again.wasm && cmp inventory.wasm again.wasm",
        &[],
    );
    goes_into_a_package(&folder, "inventory.wasm");
}

#[test]
fn a_plugin_in_python() {
    if !has("python3") {
        return;
    }
    let (_project, folder) = begun("inventory", "python");
    shell(&folder, "python3 -m unittest", &[]);
    build_python(&folder, "inventory.wasm", "");
    goes_into_a_package(&folder, "inventory.wasm");
}

#[test]
fn a_plugin_in_rust() {
    if !has("cargo") {
        return;
    }
    let (_project, folder) = begun("inventory", "rust");
    shell(&folder, "cargo test -q", &[]);
    build_rust(&folder);
    goes_into_a_package(&folder, "target/wasm32-wasip2/release/inventory.wasm");
}
