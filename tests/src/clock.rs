//! A wall clock that a test sets: a small library that the binary loads before
//! the C library, and a file with the seconds by which it is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::project::Project;
use crate::tools;

/// Only what tells the time of day is changed; the clock that measures
/// durations has nothing to do with it.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long seconds_wrong(void) {
    char text[32] = {0};
    const char *path = getenv("AIRGAP_TESTS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
        close(file);
    }
    return atol(text);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds_wrong();
    return (int)result;
}

int gettimeofday(struct timeval *now, void *zone) {
    long result = syscall(SYS_gettimeofday, now, zone);
    if (result == 0) now->tv_sec += seconds_wrong();
    return (int)result;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"#;

/// Right at first.
pub struct Clock {
    folder: TempDir,
}

impl Clock {
    /// None without a C compiler.
    pub fn right() -> Option<Self> {
        library()?;
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        clock.set(0);
        Some(clock)
    }

    /// From now on the clock is wrong by so many seconds.
    pub fn set(&self, seconds: i64) {
        // Renamed, so that nobody reads half a number.
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, seconds.to_string()).expect("a file in a temporary folder");
        std::fs::rename(fresh, self.file()).expect("a file in a temporary folder");
    }

    /// Every command of the project looks at this clock.
    #[must_use]
    pub fn given_to(&self, project: Project) -> Project {
        let library = library().expect("it was there for this clock").display().to_string();
        project.with_env("LD_PRELOAD", library).with_env("AIRGAP_TESTS_CLOCK", self.file().display().to_string())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("seconds")
    }
}

/// Compiled once for all tests.
fn library() -> Option<&'static Path> {
    static LIBRARY_FILE: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let made = LIBRARY_FILE.get_or_init(|| {
        let compiler = tools::require("cc")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, library) = (folder.path().join("clock.c"), folder.path().join("clock.so"));
        std::fs::write(&source, LIBRARY).expect("a file in a temporary folder");
        tools::run(Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source));
        Some((folder, library))
    });
    made.as_ref().map(|(_, library)| library.as_path())
}
