//! Guards the program that travels, as `make dist` packs it: static, the same
//! bytes each time, and useful in a folder where nothing else is. AIRGAP_DIST
//! names the folder with the packages; `make dist` sets it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use airgap_tests::digest::sha256_file;
use airgap_tests::platform::Platform;
use airgap_tests::project::{self, Project};
use airgap_tests::tools;
use serde_json::Value;

/// The packages, and the program out of the tarball.
struct Packed {
    packages: PathBuf,
    unpacked: tempfile::TempDir,
}

impl Packed {
    /// None where nothing was packed.
    fn find() -> Option<Self> {
        let packages = PathBuf::from(std::env::var_os("AIRGAP_DIST")?).canonicalize().expect("AIRGAP_DIST is there");
        let unpacked = tempfile::tempdir().unwrap();
        let packed = Self { packages, unpacked };
        let into = packed.unpacked.path();
        tools::run(
            Command::new("tar").arg("xzf").arg(packed.file(".tar.gz")).arg("-C").arg(into).arg("--strip-components=1"),
        );
        Some(packed)
    }

    fn file(&self, ending: &str) -> PathBuf {
        let entries = std::fs::read_dir(&self.packages).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
        assert_eq!(found.len(), 1, "one package is expected: {found:?}");
        found.remove(0)
    }

    fn program(&self) -> PathBuf {
        self.unpacked.path().join("opencenter-airgap")
    }
}

/// A command in a folder that is all there is.
fn alone(root: &Path, arguments: &[&str]) -> Command {
    let is_root = tools::run(Command::new("id").arg("-u")).trim() == "0";
    let mut command = Command::new(if is_root { "chroot" } else { "unshare" });
    if !is_root {
        command.args(["--map-root-user", "chroot"]);
    }
    command.arg(root).arg("/opencenter-airgap").args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_builds_and_is_of_use_where_nothing_else_is() {
    let Some(packed) = Packed::find() else { return };
    let program = packed.program();
    let platform = Platform::smaller(16);
    let project = platform.configure(Project::new());
    let run = |arguments: &[&str]| {
        let output = project.command_of(&program, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let (_, said) = run(&["build", "--carry", "carried"]);
    assert!(!said.contains("C library"), "{said}");
    // Of a third party: compiled and asked in the process that has nothing.
    let guest = project::target_folder().parent().unwrap().join("test-guests/hello.wasm");
    project.write("plugins/hello.wasm", std::fs::read(guest).expect("`make plugins` builds the guests"));
    run(&["plugin", "inspect", "plugins/hello.wasm"]);

    let root = project.path("carried");
    std::fs::rename(root.join("opencenter-airgap-amd64"), root.join("opencenter-airgap")).unwrap();
    let package = project.package().file_name().unwrap().to_string_lossy().into_owned();
    let inside = format!("/{package}");
    let report: Value = json(&mut alone(&root, &["verify", "--json", &inside]));
    assert_eq!(report["sound"], true, "{report:#}");
    let contents: Value = json(&mut alone(&root, &["inspect", "--json", &inside]));
    assert!(contents["images"].as_array().unwrap().len() >= 5, "{contents:#}");

    let mut serve = alone(&root, &["serve", "--json", "--listen", "127.0.0.1:0", &inside]);
    let mut serving = Stopped(serve.stdout(Stdio::piped()).spawn().unwrap());
    let mut told = String::new();
    BufReader::new(serving.0.stdout.take().unwrap()).read_line(&mut told).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let url = told["url"].as_str().unwrap();
    let tags = tools::run(Command::new("curl").args(["-fsS", &format!("{url}/v2/library/web/tags/list")]));
    assert!(tags.contains("1.27.0"), "{tags}");
}

fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_packages_install_what_they_say_and_are_the_same_each_time() {
    let Some(packed) = Packed::find() else { return };
    tools::run(Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(&packed.packages));
    for name in ["LICENSE", "carry-and-install.md", "man/opencenter-airgap-build.1", "completions/_opencenter-airgap"] {
        assert!(packed.unpacked.path().join(name).is_file(), "{name}");
    }
    let again = tempfile::tempdir().unwrap();
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("host/packaging/pack.sh");
    tools::run(Command::new(pack).arg(packed.program()).arg(again.path()));
    let sums = |folder: &Path| std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(again.path()), sums(&packed.packages));

    if tools::require("dpkg").is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for folder in ["info", "updates"] {
        std::fs::create_dir_all(root.path().join("var/lib/dpkg").join(folder)).unwrap();
    }
    std::fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
    let mut dpkg = Command::new("dpkg");
    let mut option = OsStr::new("--root=").to_owned();
    option.push(root.path());
    dpkg.arg(&option).args(["--force-not-root", "--force-script-chrootless", "--force-depends", "-i"]);
    tools::run(dpkg.arg(packed.file(".deb")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    let installed = root.path().join("usr/bin/opencenter-airgap");
    assert_eq!(sha256_file(&installed), sha256_file(&packed.program()));
    for name in ["share/man/man1/opencenter-airgap.1.gz", "share/bash-completion/completions/opencenter-airgap"] {
        assert!(root.path().join("usr").join(name).is_file(), "{name}");
    }
}
