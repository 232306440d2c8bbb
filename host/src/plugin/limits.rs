//! Every limit of a plugin call, and why it has this number.
//!
//! What a user may need to raise is a setting (`plugins` in settings.yaml);
//! what only an attack or a bug can reach is a constant.

use std::time::Duration;

use crate::config::settings::PluginSettings;
use crate::error::{Class, Error};

/// How often guest code looks up: bounds how late a deadline or an
/// interruption is seen, and costs one callback each.
pub const TICK: Duration = Duration::from_millis(10);

/// Bytes of a component. The largest toolchain in use (componentize-py) makes
/// 18 MB.
pub const COMPONENT_BYTES: u64 = 64 << 20;

/// Bytes of compiled code that are read back: componentize-js compiles to some
/// ten times its size.
pub const COMPILED_BYTES: u64 = 1 << 30;

/// Compiled components that are kept; the oldest go first.
pub const COMPILED_ENTRIES: usize = 64;

/// Stack of guest code: wasmtime's default is half of it, and interpreters
/// recurse.
pub const GUEST_STACK: usize = 1 << 20;

/// Stack of a call with its host functions, which get the difference.
pub const CALL_STACK: usize = 4 << 20;

/// Bytes that one host call may bring from the guest. Larger content goes
/// through a stream.
pub const HOST_CALL_BYTES: usize = 64 << 20;

/// Handles that a guest may hold: trees, streams, archives.
pub const HANDLES: usize = 1_000;

/// Output files that are open as a stream at the same time. Each is a file
/// descriptor, of which a process commonly has 1024.
pub const OPEN_STREAMS: usize = 64;

/// Instances, memories and tables of one component. componentize-py makes a
/// dozen instances.
pub const INSTANCES: usize = 200;

/// Table elements over all tables: function pointers. A Python guest has
/// 20,000.
pub const TABLE_ELEMENTS: usize = 1 << 20;

/// Bytes of randomness in one host call. Hash seeds need 16.
pub const RANDOM_BYTES: u64 = 1 << 20;

/// Bytes of one log message, of a progress message, and of a name in them.
pub const LOG_MESSAGE: usize = 4096;
pub const PROGRESS_MESSAGE: usize = 200;
pub const UNIT: usize = 32;

/// Log lines of one call; warnings among them are kept to the end.
pub const LOG_LINES: u64 = 10_000;
pub const WARNINGS: u64 = 500;

/// Bytes of a polite error's message and hint.
pub const FAILURE_MESSAGE: usize = 2000;

/// Shortest time between two progress events of a call.
pub const PROGRESS_PAUSE: Duration = Duration::from_millis(50);

/// What may be written to stdout and stderr is this many times what is kept.
pub const CONSOLE_FACTOR: u64 = 64;

/// Last lines of stdout and stderr that go into the log at level debug.
pub const CONSOLE_LINES: usize = 20;

/// Last lines of stderr in the report of a trap, and frames of the backtrace.
pub const REPORT_LINES: usize = 5;
pub const REPORT_FRAMES: usize = 8;

/// Entries of a local directory that is handed to plugins. A chart has some
/// hundred.
pub const LOCAL_ENTRIES: usize = 100_000;

/// Depth of a local directory.
pub const LOCAL_DEPTH: usize = 64;

/// Files in all unpacked archives of a call that are there at the same time:
/// inodes run out before bytes do.
pub const UNPACKED_ENTRIES: u32 = 1_000_000;

/// Bytes of what an archive entry takes beside its content: a header, and the
/// tables of a frame.
pub const ENTRY_BYTES: u64 = 1024;

/// Requests of one `fetch-all`, and tags of one `list-tags`.
pub const REQUESTS: usize = 100_000;
pub const TAGS: u32 = 100_000;

/// Marks of one checkpoint, and the bytes of a key.
pub const MARKS: usize = 100_000;
pub const MARK_KEY: usize = 1024;

/// Bytes of the file with the marks.
pub const MARKS_BYTES: u64 = 64 << 20;

/// Things that a plugin may want: each is a line for the user to read.
pub const WANTS: usize = 100;

/// Seconds of guest time for `describe`, which computes nothing.
pub const DESCRIBE_SECONDS: u64 = 10;

/// Bytes that the process in which `describe` runs may write to beside the
/// guest's memories and twice its code, which is read and then placed.
pub const DESCRIBE_BYTES: u64 = 256 << 20;

/// Bytes of the answer whether a configuration fits.
pub const FIT_BYTES: u64 = 1 << 20;

/// What one call may use, from the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Bytes over all memories.
    pub memory: usize,
    /// Ticks of guest time.
    pub ticks: u64,
    /// Bytes written into the output tree.
    pub output_bytes: u64,
    /// Files in the output tree.
    pub output_files: u64,
    /// Bytes of stdout and stderr that are kept.
    pub console: usize,
}

impl CallLimits {
    pub fn new(settings: &PluginSettings) -> Self {
        let mib = |count: u64| count.saturating_mul(1 << 20);
        Self {
            memory: usize::try_from(mib(settings.memory_mib)).unwrap_or(usize::MAX),
            ticks: ticks(settings.time_limit),
            output_bytes: mib(settings.output_mib),
            output_files: settings.output_files,
            console: usize::try_from(settings.console_kib.saturating_mul(1024)).unwrap_or(usize::MAX),
        }
    }

    /// For `describe`.
    pub fn describe(settings: &PluginSettings) -> Self {
        Self { ticks: ticks(settings.time_limit.min(DESCRIBE_SECONDS)), ..Self::new(settings) }
    }

    /// Bytes of stdout and stderr that stop the call.
    pub fn console_flood(&self) -> u64 {
        (self.console as u64).saturating_mul(CONSOLE_FACTOR)
    }

    /// Seconds of guest time.
    pub fn seconds(&self) -> u64 {
        self.ticks.saturating_mul(TICK.as_millis() as u64) / 1000
    }
}

fn ticks(seconds: u64) -> u64 {
    seconds.saturating_mul(1000) / TICK.as_millis() as u64
}

/// A limit that a user can raise, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Memory,
    Time,
    OutputBytes,
    OutputFiles,
    Console,
    CompileMemory,
    CompileTime,
    Schema,
}

impl Limit {
    /// The key in settings.yaml.
    pub fn setting(self) -> &'static str {
        match self {
            Limit::Memory => "plugins.memory_mib",
            Limit::Time => "plugins.time_limit",
            Limit::OutputBytes => "plugins.output_mib",
            Limit::OutputFiles => "plugins.output_files",
            Limit::Console => "plugins.console_kib",
            Limit::CompileMemory => "plugins.compile_mib",
            Limit::CompileTime => "plugins.compile_seconds",
            Limit::Schema => "plugins.schema_kib",
        }
    }

    /// The error of a plugin that met the limit; `message` says how.
    pub fn exceeded(self, message: impl std::fmt::Display) -> Error {
        Error::new(Class::Plugin, format!("{message} (`{}`)", self.setting())).hint(self.hint())
    }

    /// What to do when the limit was met.
    pub fn hint(self) -> String {
        format!("raise `{}` in config/settings.yaml, if the plugin is meant to need this much", self.setting())
    }
}
