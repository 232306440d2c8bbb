//! What a command costs: time, memory, disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What one command took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub time: Duration,
    /// Largest resident set of the process itself, bytes.
    pub memory: u64,
    pub status: ExitStatus,
}

/// Runs a command to its end with its output thrown away.
pub fn cost(command: &mut Command) -> Cost {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|err| panic!("cannot run {command:?}: {err}"));
    let status_file = format!("/proc/{}/status", child.id());
    let done = Arc::new(AtomicBool::new(false));
    let memory = Arc::new(AtomicU64::new(0));
    let watcher = thread::spawn({
        let (done, memory) = (done.clone(), memory.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                memory.fetch_max(high_water_mark(&status_file), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let status = child.wait().expect("a child can be waited for");
    let time = started.elapsed();
    done.store(true, Ordering::Relaxed);
    watcher.join().expect("the watcher only reads");
    Cost { time, memory: memory.load(Ordering::Relaxed), status }
}

/// The kernel keeps the mark, so that a reading shortly before the end sees
/// the peak.
fn high_water_mark(status_file: &str) -> u64 {
    let text = std::fs::read_to_string(status_file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The largest resident set so far of a process that runs, bytes.
pub fn high_water_mark_of(process: u32) -> u64 {
    high_water_mark(&format!("/proc/{process}/status"))
}

/// Bytes that a command wrote, to files and elsewhere, by the kernel's count.
///
/// # Panics
/// When the command fails.
pub fn bytes_written(command: &mut Command) -> u64 {
    counted(command, "wchar: ")
}

/// The same of what it read. What is mapped into memory is not counted.
///
/// # Panics
/// When the command fails.
pub fn bytes_read(command: &mut Command) -> u64 {
    counted(command, "rchar: ")
}

fn counted(command: &mut Command, counter: &str) -> u64 {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|err| panic!("cannot run {command:?}: {err}"));
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap_or_default();
    // Once it has ended and before it is waited for, its count is final.
    while !read("stat").rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")) {
        thread::sleep(Duration::from_millis(1));
    }
    let counters = read("io");
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{command:?} failed");
    let count = counters.lines().find_map(|line| line.strip_prefix(counter));
    count.and_then(|count| count.parse().ok()).expect("the kernel counts it")
}

/// Watches how much disk a folder takes, hard links counted once.
pub struct DiskWatch {
    done: Arc<AtomicBool>,
    watcher: thread::JoinHandle<u64>,
}

impl DiskWatch {
    pub fn start(folder: &Path) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let folder = folder.to_owned();
        let watcher = thread::spawn(move || {
            let mut peak = 0;
            loop {
                let last = stop.load(Ordering::Relaxed);
                peak = peak.max(disk_use(&folder));
                if last {
                    return peak;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { done, watcher }
    }

    /// The largest reading, bytes.
    pub fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.watcher.join().expect("the watcher only reads")
    }
}

/// Bytes that a folder takes on disk, each inode once.
pub fn disk_use(folder: &Path) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let mut open: Vec<PathBuf> = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                open.push(entry.path());
            } else if seen.insert((data.dev(), data.ino())) {
                bytes += data.blocks() * 512;
            }
        }
    }
    bytes
}

/// The middle one of several readings.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Processor, cores, memory and kernel of this machine.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let memory = read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{}, {cores} cores, {} GiB, Linux {}",
        model.unwrap_or("unknown processor"),
        memory / (1 << 20),
        kernel.trim()
    )
}
