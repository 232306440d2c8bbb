//! Guards the example `apt`: from a signed mirror and from no other, packages come into
//! the package with all that they need, and apt installs them where there is no network.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use airgap_tests::charts;
use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::package::Package;
use airgap_tests::pass_through::PassThrough;
use airgap_tests::project::Project;
use airgap_tests::tools;
use serde_json::{Value, json};

use crate::{build_rust, example, has, shell};

/// The component, which is built once.
fn component() -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let build = || {
        let (_project, folder) = example("apt", "rust");
        shell(&folder, "cargo test -q", &[]);
        build_rust(&folder);
        std::fs::read(folder.join("target/wasm32-wasip2/release/apt.wasm")).unwrap()
    };
    BUILT.get_or_init(build).clone()
}

/// GnuPG with a home of its own.
struct Gpg(tempfile::TempDir);

impl Gpg {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("gpg-").tempdir().expect("a temporary folder"))
    }

    fn run(&self, arguments: &[&str]) -> String {
        let fixed = ["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""];
        tools::run(Command::new("gpg").arg("--homedir").arg(self.0.path()).args(fixed).args(arguments))
    }

    /// A new key, whose public part is returned.
    fn key(&self, name: &str, algorithm: &str) -> String {
        self.run(&["--quick-generate-key", name, algorithm, "sign", "never"]);
        self.run(&["--armor", "--export", name])
    }

    fn signed(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join("Release");
        std::fs::write(&path, text).unwrap();
        self.run(&["--local-user", name, "--clearsign", "--output", "-", path.to_str().unwrap()])
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "gpg-agent"]).status();
    }
}

/// A package as dpkg builds it, on the server. Returns its stanza in an index.
fn put_package(server: &FileServer, control: &str) -> String {
    let (folder, built) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let field = |name: &str| {
        let line = control.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or("all").to_owned()
    };
    let (name, version) = (field("Package"), field("Version"));
    std::fs::create_dir_all(folder.path().join("DEBIAN")).unwrap();
    let whole = format!("{control}Architecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: {name}\n");
    std::fs::write(folder.path().join("DEBIAN/control"), &whole).unwrap();
    let share = folder.path().join("usr/share/greetings");
    std::fs::create_dir_all(&share).unwrap();
    std::fs::write(share.join(&name), format!("{name} {version}\n")).unwrap();
    let deb = built.path().join("out.deb");
    tools::run(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(folder.path()).arg(&deb));
    let bytes = std::fs::read(&deb).unwrap();
    let path = format!("pool/{name}_{version}_all.deb");
    let stanza = format!("{whole}Filename: {path}\nSize: {}\nSHA256: {}\n\n", bytes.len(), sha256(&bytes));
    server.put(&format!("/ubuntu/{path}"), bytes);
    stanza
}

/// `dists/<suite>` with one index, signed.
fn put_suite(server: &FileServer, gpg: &Gpg, key: &str, suite: &str, stanzas: &str) {
    let index = charts::gzip(stanzas.as_bytes());
    let mut release = format!("Origin: Example\nSuite: {suite}\nCodename: noble\nComponents: main\nSHA256:\n");
    writeln!(release, " {} {} main/binary-amd64/Packages.gz", sha256(&index), index.len()).unwrap();
    server.put(&format!("/ubuntu/dists/{suite}/main/binary-amd64/Packages.gz"), index);
    server.put(&format!("/ubuntu/dists/{suite}/InRelease"), gpg.signed(key, &release));
}

fn pinned(server: &FileServer) -> Project {
    let url = server.put_plain("/tool", "a tool");
    let site = Project::new().with_file_server(&server.host()).with_tool("tool", &url, None);
    site.write("plugins/apt.wasm", component());
    site.run(&["plugin", "add", "plugins/apt.wasm", "--grant-fetch", &server.url("/ubuntu/")]).success();
    site
}

/// The step, with the key that lies in the project where it does.
fn add(site: &Project, configuration: &Value) {
    let key = Some("config/keys/mirror.asc").filter(|path| site.exists(path));
    let step = json!({
        "id": "apt", "run": { "plugin": "apt" }, "needs": ["manifests"], "on_failure": "preserve", "local": key.as_slice(),
        "configuration": configuration, "contribute": [{ "from": "repository", "into": "files" }],
    });
    site.write("config/pipeline.yaml", json!({ "additional_steps": [step] }).to_string());
}

/// The repository as it lies in the package, in a folder.
fn unpacked(site: &Project) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in Package::open(&site.package()).nested("components/apt.tar") {
        if let Some(name) = path.strip_prefix("apt/files/0/repository/").filter(|name| !name.is_empty()) {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
    }
    folder
}

/// apt with an empty system in `$1`, where nothing but loopback is there, and the
/// repository in `$2`.
const BEHIND_THE_GAP: &str = r#"set -e
root=$1
for folder in var/lib/dpkg/updates var/lib/dpkg/info var/lib/dpkg/triggers var/lib/apt/lists/partial \
  var/cache/apt/archives/partial var/log/apt etc/apt/apt.conf.d etc/apt/preferences.d; do mkdir -p "$root/$folder"; done
: > "$root/var/lib/dpkg/status"
echo "deb [trusted=yes] file:$2 ./" > "$root/etc/apt/sources.list"
apt="apt-get -qq -o Dir=$root -o Dir::State::status=$root/var/lib/dpkg/status -o Dir::Bin::Methods=/usr/lib/apt/methods
  -o APT::Sandbox::User=root -o Acquire::Languages=none -o DPkg::Options::=--root=$root"
$apt update
shift 2
$apt "$@""#;

/// Runs `apt-get` with these arguments, with no network, on an empty system that has
/// the repository. Returns that system.
#[track_caller]
fn apt(repository: &Path, arguments: &[&str]) -> Option<tempfile::TempDir> {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", BEHIND_THE_GAP, "apt"]);
    let output = command.arg(root.path()).arg(repository).args(arguments).output().expect("unshare runs");
    let failed = String::from_utf8_lossy(&output.stderr);
    if failed.starts_with("unshare:") {
        tools::skipped(&format!("apt without a network: {}", failed.trim()));
        return None;
    }
    assert!(output.status.success(), "{}\n{failed}", String::from_utf8_lossy(&output.stdout));
    Some(root)
}

fn has_tools() -> bool {
    ["cargo", "gpg", "dpkg-deb", "apt-get", "unshare"].into_iter().all(has)
}

#[test]
fn apt_brings_packages_from_a_signed_mirror_to_where_there_is_no_network() {
    if !has_tools() {
        return;
    }
    let (server, gpg) = (FileServer::start(), Gpg::new());
    let keyring = gpg.key("ed25519@example.com", "ed25519") + &gpg.key("rsa@example.com", "rsa3072");
    let stranger = gpg.key("stranger@example.com", "ed25519");
    let stanzas: String = [
        "Package: greeter\nVersion: 1.0\nPre-Depends: greeter-data (>= 2~)\nDepends: greeting, missing | base (>= 1)\n",
        "Package: greeter-data\nVersion: 1.0\n",
        "Package: hello-words\nVersion: 1.0\nProvides: greeting\n",
        "Package: base\nVersion: 1.0\nDepends: base-of-base\n",
        "Package: base-of-base\nVersion: 1.0\n",
        "Package: unneeded\nVersion: 1.0\n",
    ]
    .iter()
    .map(|control| put_package(&server, control))
    .collect();
    let update = put_package(&server, "Package: greeter-data\nVersion: 2.0~rc1\n");
    put_suite(&server, &gpg, "ed25519@example.com", "noble", &stanzas);
    put_suite(&server, &gpg, "rsa@example.com", "noble-updates", &update);

    let site = pinned(&server);
    let configuration = |keyring: &str| {
        json!({
            "mirrors": [{
                "url": server.url("/ubuntu"), "suites": ["{{UBUNTU_CODENAME}}", "{{UBUNTU_CODENAME}}-updates"],
                "keyring": keyring,
            }],
            "packages": ["greeter"], "exclude": ["base"],
        })
    };
    add(&site, &configuration(&stranger));
    site.run(&["build"]).code(1).says(&["/ubuntu/dists/noble/InRelease: no key of the keyring"]);
    add(&site, &configuration("config/keys/other.asc"));
    site.run(&["build", "--clean"]).code(1).says(&["which the step may not read", "local: [config/keys/other.asc]"]);
    site.write("config/keys/mirror.asc", &keyring);
    let keyring = "config/keys/mirror.asc";

    // What one package fails for keeps none of the others.
    let late = "/ubuntu/pool/hello-words_1.0_all.deb";
    let bytes = server.bytes(late);
    server.remove(late);
    add(&site, &configuration(keyring));
    site.run(&["build", "--clean"]).code(1).says(&["package hello-words", "1 of 3 packages failed"]);
    server.put(late, bytes);
    site.build();
    assert_eq!(server.requests("GET", "greeter_1.0_all.deb").len(), 1);

    let repository = unpacked(&site);
    let mut names: Vec<_> = std::fs::read_dir(&repository)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let debs = ["greeter-data_2.0~rc1_all.deb", "greeter_1.0_all.deb", "hello-words_1.0_all.deb"];
    assert_eq!(names, ["Packages", "Release", debs[0], debs[1], debs[2]]);
    // The system has what is excluded.
    let system = apt(repository.path(), &["install", "--yes", "greeter-data", "hello-words"]);
    let Some(system) = system else { return };
    let installed = std::fs::read_to_string(system.path().join("usr/share/greetings/greeter-data")).unwrap();
    assert_eq!(installed, "greeter-data 2.0~rc1\n");

    // The mirror moves on: what is locked stays, and `update` asks again.
    let update = put_package(&server, "Package: greeter-data\nVersion: 3.0\n");
    put_suite(&server, &gpg, "rsa@example.com", "noble-updates", &update);
    site.run(&["build", "--clean"]).success();
    let held = unpacked(&site);
    assert!(held.path().join("greeter-data_2.0~rc1_all.deb").is_file());
    site.run(&["update"]).success();
    site.run(&["build", "--clean"]).success();
    let moved = unpacked(&site);
    assert!(moved.path().join("greeter-data_3.0_all.deb").is_file());

    let mut whole = configuration(keyring);
    whole.as_object_mut().unwrap().remove("exclude");
    add(&site, &whole);
    site.run(&["build", "--clean"]).success();
    let repository = unpacked(&site);
    let system = apt(repository.path(), &["install", "--yes", "greeter"]).unwrap();
    assert!(system.path().join("usr/share/greetings/greeter").is_file());
    assert!(system.path().join("usr/share/greetings/base-of-base").is_file());
    assert!(!system.path().join("usr/share/greetings/unneeded").exists());
}

/// The mirror that this machine installs from, by plain http: its host, the folder
/// there, the suite, and its keys.
fn own_mirror() -> Option<(String, String, String, String)> {
    let format = ["indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"];
    let targets = tools::run(Command::new("apt-get").args(format));
    let target = targets.lines().find_map(|line| {
        let [site, suite, "main"] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let (host, folder) = site.strip_prefix("http://")?.split_once('/')?;
        (!suite.contains('-')).then(|| (host.to_owned(), folder.to_owned(), suite.to_owned()))
    });
    let keys = ["debian", "ubuntu"].map(|name| format!("/usr/share/keyrings/{name}-archive-keyring.gpg"));
    let keys = keys.into_iter().find(|path| Path::new(path).is_file());
    let (Some((host, folder, suite)), Some(keys)) = (target, keys) else {
        tools::skipped("apt has no index of a mirror (`apt-get update`), or no keys of one");
        return None;
    };
    let gpg = Gpg::new();
    gpg.run(&["--import", &keys]);
    Some((host, folder, suite, gpg.run(&["--armor", "--export"])))
}

#[test]
fn apt_closes_over_a_whole_distribution() {
    if !has_tools() {
        return;
    }
    let Some((host, folder, suite, keyring)) = own_mirror() else { return };
    // Through loopback: where mirrors are brought to a machine they may have addresses that no plugin reaches.
    let address = if host.contains(':') { host } else { format!("{host}:80") };
    let mirror = PassThrough::start(&address);
    let server = FileServer::start();
    let url = mirror.url(&format!("/{folder}"));
    let site = pinned(&server).with_file_server(&mirror.host());
    site.run(&["plugin", "add", "plugins/apt.wasm", "--replace", "--grant-fetch", &format!("{url}/")]).success();
    let packages = ["curl", "dns-root-data"];
    add(&site, &json!({ "mirrors": [{ "url": url, "suites": [suite], "keyring": keyring }], "packages": packages }));
    site.build();
    let repository = unpacked(&site);
    // An empty system finds everything that curl needs down to the C library, and installs what has no scripts.
    if apt(repository.path(), &["install", "--yes", "--download-only", "curl"]).is_none() {
        return;
    }
    let fetched = std::fs::read_dir(repository.path()).unwrap().count();
    assert!(fetched > 20, "{fetched} files");
    let system = apt(repository.path(), &["install", "--yes", "dns-root-data"]).unwrap();
    assert!(system.path().join("usr/share/dns/root.hints").is_file());
}
