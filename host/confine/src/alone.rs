//! A process that has nothing but its standard streams.
//!
//! Three means, each for what the others leave open: Landlock takes the files
//! and the ports, the filter of `calls` every other way to the outside (UDP,
//! sockets in files, modes of files, signals, programs), limits of resources
//! take memory and time. Nothing of it can be undone, and whatever is started
//! from here has no more.

use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};

use super::calls;

/// Standard input, output and error.
const DESCRIPTORS: u64 = 3;

/// What the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// How much memory, and how it is counted.
    pub memory: Memory,
    /// Seconds of processor time, over all threads.
    pub processor: u64,
}

/// Bytes, and how they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// Everything that has an address.
    Addresses(u64),
    /// What can be written to. For a process that runs guests: wasmtime
    /// reserves 4 GiB of addresses for each of their memories and makes
    /// writable what the guest has grown to.
    Writable(u64),
}

/// Makes sure that this process ends with the one that started it, however
/// that one ends.
///
/// # Errors
/// Where the parent is gone already, and what the system answers.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_there = getppid().is_some_and(|pid| pid.as_raw_pid().unsigned_abs() == parent);
    if is_there { Ok(()) } else { Err(io::Error::other("the process that asked is gone")) }
}

/// Takes everything from this process but its standard streams. Called while
/// it has one thread: the others inherit what this one is left with.
///
/// # Errors
/// What the system answers; one without system call filters is an error, one
/// without Landlock is not: the filter lets no file be opened either.
pub fn leave_everything(bounds: Bounds) -> io::Result<()> {
    forbid_files_and_ports().map_err(io::Error::other)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, DESCRIPTORS, DESCRIPTORS)?;
    // At the first number comes SIGXCPU, which says what happened.
    limit(Resource::Cpu, bounds.processor, bounds.processor.saturating_add(1))?;
    match bounds.memory {
        Memory::Addresses(bytes) => limit(Resource::As, bytes, bytes)?,
        Memory::Writable(bytes) => limit(Resource::Data, bytes, bytes)?,
    }
    calls::forbid_all_but_computing()
}

/// Every right of files and of TCP that the kernel knows, for nothing.
fn forbid_files_and_ports() -> Result<(), landlock::RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::from_all(ABI::V6))?;
    ruleset.create()?.restrict_self().map(drop)
}

/// Never more than what holds already: raising a limit takes privileges.
fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let held = rustix::process::getrlimit(resource);
    let lower = |wanted: u64, held: Option<u64>| Some(held.map_or(wanted, |held| held.min(wanted)));
    let maximum = lower(maximum, held.maximum);
    let current = lower(current, maximum);
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test is started once more, and told so by a variable")]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::process::Command;

    use rustix::process::{Pid, kill_process};

    use super::*;
    use disk::fs;

    const FOLDER: &str = "AIRGAP_TEST_ALONE";

    /// Runs the test `inside` once more in a process that may be confined, and
    /// gives what it prints.
    fn inside_says(folder: &Path) -> String {
        let name = "alone::tests::inside";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn nothing_is_left_but_computing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write_new(&folder.path().join("there"), b"").unwrap();
        let said = inside_says(folder.path());
        for refused in [
            "read", "write", "list", "mode", "remove", "udp", "listen", "connect", "socket", "execute", "signal",
            "memory", "limit",
        ] {
            assert!(said.contains(&format!("{refused}: refused\n")), "{refused} in: {said}");
        }
        for allowed in ["thread", "clock"] {
            assert!(said.contains(&format!("{allowed}: done\n")), "{allowed} in: {said}");
        }
        assert!(folder.path().join("there").exists());
    }

    /// Does nothing unless [`inside_says`] runs it.
    #[test]
    fn inside() {
        let Some(folder) = std::env::var_os(FOLDER) else { return };
        let there = Path::new(&folder).join("there");
        leave_everything(Bounds { memory: Memory::Writable(1 << 30), processor: 60 }).unwrap();
        let parent = getppid().unwrap_or(Pid::INIT);
        tell("read", File::open("/etc/passwd"));
        tell("write", fs::write_new(&Path::new(&folder).join("new"), b"x"));
        tell("list", Path::new("/").read_dir());
        tell("mode", fs::set_mode(&there, 0o777));
        tell("remove", fs::remove_file(&there));
        tell("udp", UdpSocket::bind("127.0.0.1:0"));
        tell("listen", TcpListener::bind("127.0.0.1:0"));
        tell("connect", TcpStream::connect("127.0.0.1:9"));
        tell("socket", UnixDatagram::unbound());
        tell("execute", Command::new("/bin/true").status());
        tell("signal", kill_process(parent, Signal::URG));
        tell("memory", Vec::<u8>::new().try_reserve_exact(2 << 30));
        tell("limit", setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: Some(3) }));
        tell("thread", std::thread::spawn(|| 1 + 1).join());
        tell("clock", std::time::SystemTime::now().elapsed());
    }

    fn tell<T, E>(what: &str, result: Result<T, E>) {
        println!("{what}: {}", if result.is_ok() { "done" } else { "refused" });
    }
}
