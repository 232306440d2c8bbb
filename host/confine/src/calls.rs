//! Filters of system calls.
//!
//! [`forbid_all_but_computing`] leaves memory, threads, clocks and the standard
//! streams. Every other call answers as on a kernel that does not have it, which
//! a C library expects of calls that are newer than it.
//!
//! [`forbid_ways_around`] is for the second wall: it takes what Landlock has no
//! right for, and what goes around the rights that it has.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Allowed whatever their arguments.
const COMPUTING: &[libc::c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    // Threads, and what the C library does when one starts or ends.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals of its own: a trap of a guest arrives as one.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Clocks and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_close,
];

/// Forbids everything else to this thread and those that it starts.
///
/// # Errors
/// Where the kernel has no filters.
pub(super) fn forbid_all_but_computing() -> io::Result<()> {
    let program = program().map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<libc::c_long, Vec<SeccompRule>> =
        COMPUTING.iter().map(|call| (*call, Vec::new())).collect();
    let stream = |number: i32| argument(0, SeccompCmpOp::Eq, number.unsigned_abs().into());
    rules.insert(libc::SYS_read, vec![stream(libc::STDIN_FILENO)?]);
    for call in [libc::SYS_write, libc::SYS_writev] {
        rules.insert(call, vec![stream(libc::STDOUT_FILENO)?, stream(libc::STDERR_FILENO)?]);
    }
    // A thread and not a process. `clone3` hides its flags in memory, so it is
    // not there, and the C library takes this one.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![argument(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    // `abort` ends a process with a signal to itself.
    rules.insert(libc::SYS_tgkill, vec![argument(0, SeccompCmpOp::Eq, std::process::id().into())?]);
    // The names of threads and of memory.
    let names = [libc::PR_SET_NAME, libc::PR_SET_VMA];
    let names = names.map(|option| argument(0, SeccompCmpOp::Eq, option.unsigned_abs().into()));
    rules.insert(libc::SYS_prctl, names.into_iter().collect::<Result<_, _>>()?);
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, absent, SeccompAction::Allow, architecture)?.try_into()
}

/// Calls that no build needs, whatever their arguments: the memory and the
/// descriptors of other processes, what processes share by a number or as keys,
/// the kernel itself, mounts, and a second way to make calls, which no filter sees.
const NEVER: &[libc::c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    // Memory, messages and counters that processes of the same user share by a
    // number: no file, so Landlock does not see them.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_mq_notify,
    // Keys that the user's processes share.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Files by a number instead of a name, and those that others open.
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // The namespaces of other processes.
    libc::SYS_setns,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    // Whoever listens is reached from outside. Landlock holds a port that is
    // chosen, not one that the kernel chooses.
    libc::SYS_listen,
];

/// The lower half of a socket's type; flags stand above it.
const TYPE: u64 = 0xf;
/// `sendto` that connects on the way.
const FAST_OPEN: u64 = 0x2000_0000;
/// `ioctl`: types into the terminal for the user, or pastes there, or changes
/// what its lines mean.
const TERMINAL: [u64; 3] = [0x5412, 0x541c, 0x5423];

/// Forbids to this thread, those that it starts and all their children what
/// would go around the second wall.
///
/// # Errors
/// Where the kernel has no filters.
pub(super) fn forbid_ways_around() -> io::Result<()> {
    let program = ways_around().map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

fn ways_around() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<libc::c_long, Vec<SeccompRule>> = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    let terminal = TERMINAL.iter().map(|request| argument(1, SeccompCmpOp::Eq, *request));
    rules.insert(libc::SYS_ioctl, terminal.collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_socket, sockets()?);
    rules.insert(libc::SYS_socketpair, vec![argument(0, SeccompCmpOp::Ne, number(libc::AF_UNIX))?]);
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![argument(flags, SeccompCmpOp::MaskedEq(FAST_OPEN), FAST_OPEN)?]);
    }
    for (call, process) in [
        (libc::SYS_sched_setaffinity, 0),
        (libc::SYS_sched_setscheduler, 0),
        (libc::SYS_sched_setparam, 0),
        (libc::SYS_sched_setattr, 0),
        (libc::SYS_setpriority, 1),
        (libc::SYS_ioprio_set, 1),
    ] {
        rules.insert(call, vec![argument(process, SeccompCmpOp::Ne, 0)?]);
    }
    // All processes of the user, whose number may then be 0.
    for (call, user) in [(libc::SYS_setpriority, 2), (libc::SYS_ioprio_set, 3)] {
        rules.entry(call).or_default().push(argument(0, SeccompCmpOp::Eq, user)?);
    }
    let of_another = condition(0, SeccompCmpOp::Ne, 0)?;
    let to_set = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![of_another, to_set])?]);
    also_as_x32(&mut rules);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?.try_into()
}

/// Sockets that are neither plain TCP and UDP nor of the machine itself: raw
/// ones, of virtual machines, and those whose connections Landlock does not
/// see (MPTCP, SCTP).
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = Vec::new();
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let other = families.iter().map(|family| condition(0, SeccompCmpOp::Ne, number(*family)));
    rules.push(SeccompRule::new(other.collect::<Result<_, _>>()?)?);
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)] {
            rules.push(SeccompRule::new(vec![
                condition(0, SeccompCmpOp::Eq, number(family))?,
                condition(1, SeccompCmpOp::MaskedEq(TYPE), number(kind))?,
                condition(2, SeccompCmpOp::Ne, 0)?,
                condition(2, SeccompCmpOp::Ne, number(protocol))?,
            ])?);
        }
        let known = [number(libc::SOCK_STREAM), number(libc::SOCK_DGRAM)];
        for kind in (0..=TYPE).filter(|kind| !known.contains(kind)) {
            rules.push(SeccompRule::new(vec![
                condition(0, SeccompCmpOp::Eq, number(family))?,
                condition(1, SeccompCmpOp::MaskedEq(TYPE), kind)?,
            ])?);
        }
    }
    Ok(rules)
}

/// A kernel may offer every call under a second number (x32), a few of them
/// under one of its own.
fn also_as_x32(rules: &mut BTreeMap<libc::c_long, Vec<SeccompRule>>) {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    const X32: libc::c_long = 0x4000_0000;
    let renumbered = [
        (libc::SYS_ioctl, 514),
        (libc::SYS_sendmsg, 518),
        (libc::SYS_ptrace, 521),
        (libc::SYS_kexec_load, 528),
        (libc::SYS_sendmmsg, 538),
        (libc::SYS_process_vm_readv, 539),
        (libc::SYS_process_vm_writev, 540),
    ];
    let again: Vec<_> = rules.iter().map(|(call, rules)| (*call | X32, rules.clone())).collect();
    let own = renumbered.map(|(call, own)| (own | X32, rules.get(&call).cloned().unwrap_or_default()));
    rules.extend(again.into_iter().chain(own));
}

fn number(constant: i32) -> u64 {
    constant.unsigned_abs().into()
}

fn condition(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition(index, operator, value)?])
}
