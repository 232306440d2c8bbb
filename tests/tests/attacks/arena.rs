//! A namespace of its own for every attack, so that one that succeeds harms
//! nothing: a loopback that leads nowhere, a root that is read-only, a
//! temporary folder in memory, names that this file makes up.
//!
//! A test runs itself again in there, alone. Who may not make namespaces is
//! told so: `SKIPPED`, a failure under `CI=true`.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use airgap_tests::project::target_folder;
use airgap_tests::tools;

/// Set for who is inside.
const INSIDE: &str = "AIRGAP_ARENA";

/// Where a cloud keeps the keys of its machines.
pub(crate) const METADATA: &str = "169.254.169.254";

/// Addresses of the special-purpose registries, each of which answers in the
/// arena: a name that leads there is a way in.
pub(crate) const SPECIAL: &[&str] = &[
    METADATA,
    "192.0.0.192",
    "198.18.0.1",
    "198.19.255.254",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "100.64.0.1",
    "10.0.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "192.88.99.1",
    "240.0.0.1",
    "127.0.0.2",
    "fec0::1",
    "fd00::1",
    "fc00::1",
    "64:ff9b:1::a00:1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "2001:db8::1",
    "2001::1",
    "100::1",
    "3fff::1",
    "5f00::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::1",
];

/// The proof that a test is in the arena. Without it there is no attack.
#[derive(Debug)]
pub(crate) struct Arena(());

impl Arena {
    /// None where the test has run in the arena, in another process, or was
    /// skipped.
    ///
    /// # Panics
    /// When the test failed in there, with all it printed.
    pub(crate) fn enter() -> Option<Self> {
        if std::env::var_os(INSIDE).is_some() {
            return Some(Self(()));
        }
        match way_in() {
            Ok(unshare) => run_inside(unshare),
            Err(why) => tools::skipped(&format!("the attacks: no namespace of its own to be had here ({why})")),
        }
        None
    }

    /// The name that leads to `address`, and to nothing else.
    pub(crate) fn name_of(&self, address: &str) -> String {
        let number = SPECIAL.iter().position(|special| *special == address).expect("an address of the arena");
        format!("n{number}.arena.test")
    }
}

fn run_inside(unshare: &[&str]) {
    let this = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let program = std::env::current_exe().expect("a program knows where it lies");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = entering(unshare, folder.path());
    let told = tools::run(command.arg(program).args([&this, "--exact", "--nocapture"]));
    assert!(told.contains("1 passed"), "{this} did not run:\n{told}");
}

/// The arguments of `unshare` that work here: as root of a user namespace,
/// else as the root that this process is.
fn way_in() -> Result<&'static [&'static str], &'static str> {
    static WAY: OnceLock<Result<&'static [&'static str], String>> = OnceLock::new();
    let found = WAY.get_or_init(|| {
        let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--net", "--mount"], &["--net", "--mount"]];
        let folder = tempfile::tempdir().map_err(|err| err.to_string())?;
        let mut why = String::new();
        for way in ways {
            match entering(way, folder.path()).arg("true").output() {
                Ok(output) if output.status.success() => return Ok(way),
                Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(err) => why = err.to_string(),
            }
        }
        Err(why)
    });
    found.as_ref().copied().map_err(String::as_str)
}

/// What makes the arena out of fresh namespaces; then the arguments run. What
/// the tests share (the compiled plugins) lies in target/ and stays writable.
const SET_UP: &str = r#"
set -e
ip link set lo up
for address in $ARENA_ADDRESSES; do
  case $address in
    127.*|::1|::ffff:*) ;;
    *:*) ip -6 address add "$address/128" dev lo nodad ;;
    *) ip address add "$address/32" dev lo ;;
  esac
done
mount -t tmpfs -o size=3g tmpfs "$TMPDIR"
printf '%s\n' "$ARENA_HOSTS" > "$TMPDIR/hosts"
mount --bind "$TMPDIR/hosts" /etc/hosts
mount --bind "$ARENA_TARGET" "$ARENA_TARGET"
mount -o remount,bind,ro /
exec "$@"
"#;

fn entering(unshare: &[&str], folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    let hosts: Vec<String> =
        SPECIAL.iter().enumerate().map(|(number, address)| format!("{address} n{number}.arena.test")).collect();
    let target = target_folder();
    command
        .args(unshare)
        .args(["sh", "-c", SET_UP, "arena"])
        .env(INSIDE, "1")
        .env("TMPDIR", folder)
        .env("ARENA_TARGET", target.parent().expect("target/ has profiles"))
        .env("ARENA_ADDRESSES", SPECIAL.join(" "))
        .env("ARENA_HOSTS", format!("127.0.0.1 localhost\n{}", hosts.join("\n")));
    command
}
