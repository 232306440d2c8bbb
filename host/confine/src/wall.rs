//! The second wall: what the host itself may still do once third-party
//! plugins run in it.
//!
//! It writes below the folders of the build and to no other file; it executes
//! only what lies outside of them; it connects to the ports that a build needs
//! and listens at none; it signals nobody but what it started. Reading is left
//! open. Children inherit all of it: git, ssh and credential helpers run, and
//! write where the host may. Landlock keeps most of it; the filter of `calls`
//! takes what Landlock has no right for, and what goes around the rights that it
//! has.
//!
//! The kernel binds the thread that asks and those that it starts later, so
//! [`raise`] is called before any other thread is there.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

use super::{calls, executable};
use base::error::{self, Error, Result};
use config::settings::SecondWall;

/// Devices that every program may write to: git and ssh ask at the terminal.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx"];

/// What is left open.
#[derive(Clone, Debug, Default)]
pub struct Openings {
    /// Folders; those that are not there are none.
    pub writable: Vec<PathBuf>,
    /// TCP ports that may be connected to.
    pub ports: BTreeSet<u16>,
}

/// How this process stands. Whoever runs third-party plugins holds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wall {
    /// Nobody asked for a wall: no third-party plugin is run.
    #[default]
    Unasked,
    /// The wall is raised around this process.
    Stands,
    /// The kernel has none, and the settings let that pass.
    Missing,
    /// The settings want none.
    Off,
}

/// The ports that are open, once the wall stands around the whole process.
static STANDS: OnceLock<BTreeSet<u16>> = OnceLock::new();

/// Raises the wall, as the settings want it. Before any thread is started.
///
/// # Errors
/// `local` where the wall is required and the kernel lacks it.
pub fn raise(policy: SecondWall, openings: &Openings) -> Result<Wall> {
    if policy == SecondWall::Off {
        return Ok(Wall::Off);
    }
    match enforce(policy, openings) {
        Ok(()) => {
            STANDS.get_or_init(|| openings.ports.clone());
            error::hint_where_denied(DENIED);
            Ok(Wall::Stands)
        }
        Err(_) if policy == SecondWall::Auto => Ok(Wall::Missing),
        Err(error) => Err(Error::local(
            "this kernel can not raise the second wall, which `security.second_wall: require` wants",
        )
        .caused_by(error)
        .hint(
            "use Linux 6.7 or newer with Landlock among its security modules, in a container that allows its system \
                 calls, or set `security.second_wall: auto` in config/settings.yaml",
        )),
    }
}

/// Why a connection was not let through, where it was the wall.
pub fn explain_connection(error: &io::Error, shown: &str) -> Option<Error> {
    let is_ours = STANDS.get().is_some() && error.kind() == io::ErrorKind::PermissionDenied;
    is_ours.then(|| not_let_through(shown))
}

/// Whether the wall closes a port, for who learns of a connection that failed
/// from another program, which says less. Where the kernel closes none, the
/// connection that is tried here tells: one to this machine, which leaves it
/// not.
pub fn closes(port: u16) -> bool {
    let may_be = STANDS.get().is_some_and(|open| !open.contains(&port));
    let tried = || TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    may_be && tried().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// What is said of a connection that the wall stopped.
pub fn not_let_through(shown: &str) -> Error {
    Error::local(format!("the second wall lets no connection to {shown}")).hint(
        "the configuration does not name its port: if you trust the address, add the port to `security.ports` in \
         config/settings.yaml",
    )
}

/// What to do about a file that may not be written, where it may be the wall.
const DENIED: &str = "it belongs to another user, its folder is read-only, or it lies outside of what the second wall leaves open: mend \
     the permissions, choose other folders with --config-dir, --build-dir and --dist-dir, or add the folder to \
     `security.writable` in config/settings.yaml";

/// The rights of files that are taken away. Renaming between folders is among
/// them: a kernel that does not know it forbids it always, and a build renames.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::from_write(ABI::V2)
}

fn enforce(policy: SecondWall, openings: &Openings) -> io::Result<()> {
    restrict(policy, openings).map_err(io::Error::other)?;
    match calls::forbid_ways_around() {
        Err(error) if policy == SecondWall::Require => Err(error),
        _ => Ok(()),
    }
}

fn restrict(policy: SecondWall, openings: &Openings) -> Result<(), RulesetError> {
    let level = match policy {
        SecondWall::Require => CompatLevel::HardRequirement,
        _ => CompatLevel::BestEffort,
    };
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(writing() | AccessFs::Execute)?
        .set_compatibility(level)
        .handle_access(AccessFs::Truncate)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::IoctlDev)?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    let ruleset = let_write(ruleset, openings)?;
    let ruleset = let_execute(ruleset, openings)?;
    let ports = openings.ports.iter().map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    ruleset.add_rules(ports)?.restrict_self().map(drop)
}

fn let_write(ruleset: RulesetCreated, openings: &Openings) -> Result<RulesetCreated, RulesetError> {
    let folders = openings.writable.iter().filter_map(|path| PathFd::new(path).ok());
    let folders = folders.map(|folder| Ok::<_, RulesetError>(PathBeneath::new(folder, AccessFs::from_write(ABI::V5))));
    let device = make_bitflags!(AccessFs::{WriteFile | Truncate | IoctlDev});
    let devices = DEVICES.iter().filter_map(|path| PathFd::new(path).ok());
    let devices = devices.map(|file| Ok::<_, RulesetError>(PathBeneath::new(file, device)));
    ruleset.add_rules(folders)?.add_rules(devices)
}

/// This program is among what may be executed wherever it lies: it compiles
/// plugins.
fn let_execute(ruleset: RulesetCreated, openings: &Openings) -> Result<RulesetCreated, RulesetError> {
    let writable: Vec<PathBuf> = openings.writable.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut paths = executable::outside_of(&writable);
    paths.push(Path::new("/proc/self/exe").to_owned());
    let files = paths.iter().filter_map(|path| PathFd::new(path).ok());
    ruleset.add_rules(files.map(|file| Ok::<_, RulesetError>(PathBeneath::new(file, AccessFs::Execute))))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests try what the wall forbids")]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use base::error::Class;
    use disk::fs;

    /// A folder with what may be written, beside what may not, and somebody
    /// outside.
    struct Site {
        root: tempfile::TempDir,
        open: TcpListener,
        closed: TcpListener,
        outsider: Child,
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = self.outsider.kill();
            let _ = self.outsider.wait();
        }
    }

    impl Site {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            for folder in ["build/a", "build/b", "dist", "other"] {
                fs::create_dir_all(&root.path().join(folder)).unwrap();
            }
            let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
            let outsider = Command::new("sleep").arg("600").spawn().unwrap();
            Self { root, open: listener(), closed: listener(), outsider }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        fn openings(&self) -> Openings {
            let port = self.open.local_addr().unwrap().port();
            let writable = ["build", "dist", "missing"].map(|folder| self.path(folder)).to_vec();
            Openings { writable, ports: [port].into() }
        }

        /// Runs on a thread of its own, which alone stands behind the wall.
        fn behind_the_wall(&self, work: impl FnOnce() + Send) {
            std::thread::scope(|scope| {
                let ran = scope.spawn(|| {
                    enforce(SecondWall::Require, &self.openings()).expect("these tests need Linux 6.12 with Landlock");
                    work();
                });
                ran.join().unwrap();
            });
        }
    }

    #[track_caller]
    fn refused<T, E: std::fmt::Debug>(result: std::result::Result<T, E>) {
        assert!(result.is_err(), "this went through");
    }

    #[test]
    fn what_is_written_stays_in_the_folders_of_the_build() {
        let site = Site::new();
        fs::write_new(&site.path("other/there"), b"1").unwrap();
        site.behind_the_wall(|| {
            fs::write_atomic(&site.path("build/a/x"), b"1").unwrap();
            fs::rename(&site.path("build/a/x"), &site.path("build/b/x")).unwrap();
            fs::link_or_copy(&site.path("build/b/x"), &site.path("dist/x")).unwrap();
            fs::remove_dir_all(&site.path("build/a")).unwrap();
            File::options().write(true).open("/dev/null").unwrap();
            assert_eq!(std::fs::read(site.path("other/there")).unwrap(), b"1");

            let there = site.path("other/there");
            refused(fs::write_new(&site.path("other/new"), b"1"));
            refused(File::options().append(true).open(&there));
            refused(File::options().write(true).truncate(true).open(&there));
            refused(fs::remove_file(&there));
            refused(fs::rename(&there, &site.path("build/there")));
            refused(fs::rename(&site.path("dist/x"), &site.path("other/x")));
            refused(fs::link_or_copy(&site.path("dist/x"), &site.path("other/x")));
            refused(fs::link_or_copy(&there, &site.path("missing/x")));
            refused(fs::create_dir_all(&site.path("other/folder")));
            refused(std::os::unix::fs::symlink("/", site.path("other/link")));
            refused(std::os::unix::net::UnixListener::bind(site.path("other/socket")));
        });
        assert_eq!(std::fs::read(site.path("other/there")).unwrap(), b"1");
    }

    #[test]
    fn what_may_be_written_is_not_executed() {
        let site = Site::new();
        let place = |path: &str| {
            let bytes = std::fs::read("/bin/true").unwrap();
            fs::write_new(&site.path(path), &bytes).unwrap();
            fs::set_mode(&site.path(path), 0o755).unwrap();
        };
        place("other/true");
        place("build/before");
        site.behind_the_wall(|| {
            place("build/true");
            fs::link_or_copy(&site.path("build/true"), &site.path("dist/true")).unwrap();
            fs::write_new(&site.path("build/script"), b"#!/bin/sh\n").unwrap();
            fs::set_mode(&site.path("build/script"), 0o755).unwrap();
            for path in ["build/true", "build/before", "dist/true", "build/script"] {
                refused(Command::new(site.path(path)).status());
            }
            for program in [site.path("other/true"), "true".into(), std::env::current_exe().unwrap()] {
                assert!(Command::new(&program).arg("--help").output().is_ok(), "{}", program.display());
            }
            let git = Command::new("git").arg("--version").output().unwrap();
            assert!(git.status.success());
        });
    }

    #[test]
    fn only_named_ports_are_reached_and_none_is_opened() {
        let site = Site::new();
        site.behind_the_wall(|| {
            TcpStream::connect(site.open.local_addr().unwrap()).unwrap();
            refused(TcpStream::connect(site.closed.local_addr().unwrap()));
            refused(TcpListener::bind("127.0.0.1:0"));
            refused(TcpListener::bind("[::1]:0"));
            // What Landlock's rights of TCP do not see.
            let closed = site.closed.local_addr().unwrap().port();
            for family in [libc::AF_INET, libc::AF_INET6] {
                refused(sys::socket(family, libc::SOCK_STREAM, libc::IPPROTO_MPTCP));
                refused(sys::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_SCTP));
                refused(sys::socket(family, libc::SOCK_RAW, libc::IPPROTO_ICMP));
                refused(sys::socket(family, libc::SOCK_DGRAM, libc::IPPROTO_ICMP));
            }
            for family in [libc::AF_VSOCK, libc::AF_PACKET, libc::AF_BLUETOOTH, libc::AF_TIPC] {
                refused(sys::socket(family, libc::SOCK_STREAM, 0));
            }
            let unbound = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
            refused(sys::listen(&unbound));
            refused(sys::fast_open(&unbound, closed));
            for (family, kind) in [
                (libc::AF_INET6, libc::SOCK_DGRAM),
                (libc::AF_UNIX, libc::SOCK_STREAM),
                (libc::AF_NETLINK, libc::SOCK_RAW),
            ] {
                sys::socket(family, kind, 0).unwrap();
            }
        });
        TcpStream::connect(site.closed.local_addr().unwrap()).unwrap();
    }

    #[test]
    fn other_processes_are_left_alone() {
        let site = Site::new();
        let pid = Pid::from_raw(site.outsider.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::URG).unwrap();
        site.behind_the_wall(|| {
            refused(kill_process(pid, Signal::URG));
            // What a debugger could look into.
            refused(File::open(format!("/proc/{}/mem", site.outsider.id())));
            let outsider = site.outsider.id().into();
            for (call, arguments) in [
                (libc::SYS_prlimit64, [outsider, libc::RLIMIT_CPU.into(), sys::LIMIT.as_ptr() as u64]),
                (libc::SYS_setpriority, [libc::PRIO_PROCESS.into(), outsider, 19]),
                (libc::SYS_setpriority, [libc::PRIO_USER.into(), 0, 19]),
                (libc::SYS_sched_setaffinity, [outsider, 8, sys::LIMIT.as_ptr() as u64]),
                (libc::SYS_ptrace, [16, outsider, 0]),
                (libc::SYS_io_uring_setup, [1, sys::LIMIT.as_ptr() as u64, 0]),
                (libc::SYS_shmget, [0x4f43, 4096, 0o1600]),
                (libc::SYS_msgget, [0x4f43, 0o1600, 0]),
                (libc::SYS_semget, [0x4f43, 1, 0o1600]),
                // The keys of the session: all that its processes left there.
                (libc::SYS_keyctl, [0, u64::from(0_u32.wrapping_sub(3)), 1]),
                (libc::SYS_add_key, [c"user".as_ptr() as u64, c"x".as_ptr() as u64, c"x".as_ptr() as u64]),
                (libc::SYS_request_key, [c"user".as_ptr() as u64, c"x".as_ptr() as u64, 0]),
                (libc::SYS_open_by_handle_at, [0, sys::LIMIT.as_ptr() as u64, 0]),
                (libc::SYS_setns, [0, 0, 0]),
            ] {
                let answer = sys::call(call, arguments).unwrap_err();
                assert_eq!(answer.raw_os_error(), Some(libc::EPERM), "{call}");
            }
            // Its own limits a process may look at and lower.
            sys::call(libc::SYS_prlimit64, [0, libc::RLIMIT_CORE.into(), sys::LIMIT.as_ptr() as u64]).unwrap();
            let mut own = Command::new("sleep").arg("600").spawn().unwrap();
            own.kill().unwrap();
            own.wait().unwrap();
        });
    }

    /// What is typed into the terminal runs in the user's shell afterwards.
    #[test]
    fn nobody_types_into_the_terminal() {
        let site = Site::new();
        site.behind_the_wall(|| {
            for request in [libc::TIOCSTI, libc::TIOCLINUX] {
                let answer = sys::call(libc::SYS_ioctl, [0, request, c"x".as_ptr() as u64]).unwrap_err();
                assert_eq!(answer.raw_os_error(), Some(libc::EPERM));
            }
            // Asking for its size is another matter.
            let answer = sys::call(libc::SYS_ioctl, [99, libc::TIOCGWINSZ, 0]).unwrap_err();
            assert_eq!(answer.raw_os_error(), Some(libc::EBADF));
        });
    }

    /// Behind the filter of `alone` a kernel looks like one without Landlock.
    #[test]
    fn a_kernel_without_it_is_said_or_refused() {
        let (auto, require, off) = std::thread::spawn(|| {
            crate::calls::forbid_all_but_computing().unwrap();
            let raise = |policy| raise(policy, &Openings::default());
            (raise(SecondWall::Auto), raise(SecondWall::Require), raise(SecondWall::Off))
        })
        .join()
        .unwrap();
        assert_eq!((auto.unwrap(), off.unwrap()), (Wall::Missing, Wall::Off));
        let error = require.unwrap_err();
        assert_eq!(error.class(), Class::Local);
        assert!(error.message().contains("`security.second_wall: require`") && error.hint_text().is_some(), "{error}");
    }

    /// Calls as native code would make them.
    mod sys {
        use std::io;
        use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

        /// Soft and hard, as `prlimit` takes them; also any small memory.
        pub(super) const LIMIT: &[u64; 16] = &[0; 16];

        #[allow(unsafe_code, reason = "what is tried is what unsafe code could do")]
        pub(super) fn call(number: libc::c_long, [first, second, third]: [u64; 3]) -> io::Result<libc::c_long> {
            match unsafe { libc::syscall(number, first, second, third, 0_u64, 0_u64, 0_u64) } {
                -1 => Err(io::Error::last_os_error()),
                answer => Ok(answer),
            }
        }

        #[allow(unsafe_code, reason = "the descriptor is new")]
        pub(super) fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
            let arguments = [family, kind, protocol].map(|number| u64::from(number.unsigned_abs()));
            let descriptor = call(libc::SYS_socket, arguments)?;
            Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(descriptor).unwrap()) })
        }

        pub(super) fn listen(socket: &OwnedFd) -> io::Result<libc::c_long> {
            call(libc::SYS_listen, [u64::from(socket.as_raw_fd().unsigned_abs()), 1, 0])
        }

        /// Connects with the first bytes.
        #[allow(unsafe_code, reason = "the address is one of IPv4, of the size that is said")]
        pub(super) fn fast_open(socket: &OwnedFd, port: u16) -> io::Result<isize> {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: port.to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
                sin_zero: [0; 8],
            };
            let size = u32::try_from(size_of::<libc::sockaddr_in>()).unwrap();
            let flags = libc::MSG_FASTOPEN;
            let address = (&raw const address).cast();
            match unsafe { libc::sendto(socket.as_raw_fd(), c"x".as_ptr().cast(), 1, flags, address, size) } {
                -1 => Err(io::Error::last_os_error()),
                sent => Ok(sent),
            }
        }
    }
}
