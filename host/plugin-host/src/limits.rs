//! Every limit of a plugin call, and why it has this number.
//!
//! What a user may need to raise is a row of the table in [`config::limits`].
//! What only an attack or a bug can reach is a constant here.

use std::time::Duration;

use base::error::{Class, Error};
use base::progress::Allowance;
use config::limits::{Limit, OwnLimits, PluginSettings};

/// How often guest code looks up: bounds how late a deadline or an
/// interruption is seen, and costs one callback each.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Bytes of a component. The largest toolchain in use (componentize-py) makes
/// 18 MB.
pub const COMPONENT_BYTES: u64 = 64 << 20;

/// Bytes of compiled code that are read back: componentize-js compiles to some
/// ten times its size.
pub(crate) const COMPILED_BYTES: u64 = 1 << 30;

/// Compiled components that are kept; the oldest go first.
pub(crate) const COMPILED_ENTRIES: usize = 64;

/// Stack of guest code: wasmtime's default is half of it, and interpreters
/// recurse.
pub(crate) const GUEST_STACK: usize = 1 << 20;

/// Stack of a call with its host functions, which get the difference.
pub(crate) const CALL_STACK: usize = 4 << 20;

/// Bytes that one host call may bring from the guest. Larger content goes
/// through a stream.
pub(crate) const HOST_CALL_BYTES: usize = 64 << 20;

/// Handles that a guest may hold: trees, streams, archives.
pub(crate) const HANDLES: usize = 1_000;

/// Descriptors that stay with the host, whatever plugins hold open: sockets of
/// downloads, blobs being written, the state, the lock.
pub(crate) const HOST_DESCRIPTORS: usize = 512;

/// Archives that a call writes at the same time: each has threads and buffers.
pub(crate) const OPEN_ARCHIVES: usize = 8;

/// Entries over all directory listings that a guest has begun to read: the
/// host holds them until the end of each.
pub(crate) const LISTED_ENTRIES: u64 = 200_000;

/// Files and directories whose identity a guest may ask for: the host keeps a
/// number for each.
pub(crate) const IDENTITIES: usize = 200_000;

/// Instances, memories and tables of one component. componentize-py makes a
/// dozen instances.
pub(crate) const INSTANCES: usize = 200;

/// Table elements over all tables: function pointers. A Python guest has
/// 20,000.
pub(crate) const TABLE_ELEMENTS: usize = 1 << 20;

/// Bytes of randomness in one host call. Hash seeds need 16.
pub(crate) const RANDOM_BYTES: u64 = 1 << 20;

/// Bytes of one log message, of a progress message, and of a name in them.
pub(crate) const LOG_MESSAGE: usize = 4096;
pub(crate) const PROGRESS_MESSAGE: usize = 200;
pub(crate) const UNIT: usize = 32;

/// Log lines of one call; warnings among them are kept to the end.
pub(crate) const LOG_LINES: u64 = 10_000;
pub(crate) const WARNINGS: u64 = 500;

/// Bytes of a polite error's message and hint.
pub(crate) const FAILURE_MESSAGE: usize = 2000;
/// Lines below the first of a polite error's message.
pub(crate) const FAILURE_ITEMS: usize = 500;

/// Shortest time between two progress events of a call.
pub(crate) const PROGRESS_PAUSE: Duration = Duration::from_millis(50);

/// Progress events of a call that need not wait for that: the ends of its parts.
pub(crate) const PROGRESS_ENDS: u64 = 1_000;

/// What may be written to stdout and stderr is this many times what is kept.
pub(crate) const CONSOLE_FACTOR: u64 = 64;

/// Last lines of stdout and stderr that go into the log at level debug.
pub(crate) const CONSOLE_LINES: usize = 20;

/// Last lines of stderr among which a panic is looked for: a traceback of Python
/// has two for each frame.
pub(crate) const PANIC_LINES: usize = 100;

/// Last lines of stderr in the report of a trap, and frames of the backtrace.
pub(crate) const REPORT_LINES: usize = 5;
pub(crate) const REPORT_FRAMES: usize = 8;

/// Entries of a local directory that is handed to plugins. A chart has some
/// hundred.
pub(crate) const LOCAL_ENTRIES: usize = 100_000;

/// Depth of a local directory, of what a guest makes in `/out` and `/work`, and
/// of an unpacked archive.
pub(crate) const LOCAL_DEPTH: usize = disk::tree::DEPTH;

/// Bytes of what an archive entry takes beside its content: a header, and the
/// tables of a frame.
pub(crate) const ENTRY_BYTES: u64 = 1024;

/// Files that a call may pack for free, once each: the host remembers them.
pub(crate) const PACKED_FILES: usize = 500_000;

/// Layers that a call reads at the same time: each has a thread, and a window of
/// up to 128 MiB.
pub(crate) const OPEN_LAYERS: usize = 4;

/// Names of the layers that a call holds, eight bytes each. An image has some
/// hundred layers, and the largest in use some hundred thousand names.
pub(crate) const LAYER_NAMES: usize = 16_000_000;

/// Strings that say what is wanted of a layer.
pub(crate) const WANTED: usize = 1_000;
/// Bytes of one of these strings.
pub(crate) const WANTED_BYTES: usize = 1_024;

/// Bytes of one `layer.read`.
pub(crate) const LAYER_PIECE: usize = 4 << 20;

/// Requests of one `fetch-all`, and tags of one `list-tags`.
pub(crate) const REQUESTS: usize = 100_000;
pub(crate) const TAGS: u32 = 100_000;

/// Marks of one checkpoint, and the bytes of a key.
pub(crate) const MARKS: usize = 100_000;
pub(crate) const MARK_KEY: usize = 1024;

/// Bytes of the file with the marks.
pub(crate) const MARKS_BYTES: u64 = 64 << 20;

/// Things that a plugin may want: each is a line for the user to read.
pub(crate) const WANTS: usize = 100;

/// Seconds of guest time for `describe`, which computes nothing.
pub(crate) const DESCRIBE_SECONDS: u64 = 10;

/// Bytes that the process in which `describe` runs may write to beside the
/// guest's memories and twice its code, which is read and then placed.
pub(crate) const DESCRIBE_BYTES: u64 = 256 << 20;

/// Bytes of the answer whether a configuration fits.
pub(crate) const FIT_BYTES: u64 = 1 << 20;

/// What one call may use, from the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallLimits {
    /// Bytes over all memories.
    pub memory: usize,
    /// Ticks of guest time.
    pub ticks: u64,
    /// From the beginning of a call to its end.
    pub step: Duration,
    /// Whether the step itself declares that.
    pub is_declared: bool,
    /// Whether the ticks are those of `describe`, which no setting raises.
    pub describes: bool,
    /// Work of the host.
    pub host: Duration,
    /// Bytes that come from the network.
    pub fetched_bytes: u64,
    /// Requests to servers.
    pub requests: u64,
    /// Bytes written into the output tree.
    pub output_bytes: u64,
    /// Files in the output tree.
    pub output_files: u64,
    /// Bytes in `/work` and unpacked archives.
    pub scratch_bytes: u64,
    /// Files, directories and links there.
    pub scratch_files: u64,
    /// Files, streams and directories that are open.
    pub open_files: usize,
    /// Bytes of stdout and stderr that are kept.
    pub console: usize,
    /// Those of these that are the plugin's own, for who tells of them.
    pub own: OwnLimits,
}

impl CallLimits {
    pub(crate) fn new(settings: &PluginSettings, own: OwnLimits) -> Self {
        let (own, settings) = (own.below(settings), &own.over(settings));
        let mib = |count: u64| count.saturating_mul(1 << 20);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            memory: size(mib(settings.memory_mib)),
            ticks: ticks(settings.time_limit),
            step: Duration::from_secs(settings.step_limit),
            is_declared: false,
            describes: false,
            host: Duration::from_secs(settings.host_limit),
            fetched_bytes: mib(settings.fetched_mib),
            requests: settings.requests,
            output_bytes: mib(settings.output_mib),
            output_files: settings.output_files,
            scratch_bytes: mib(settings.scratch_mib),
            scratch_files: settings.scratch_files,
            open_files: size(settings.open_files),
            console: size(settings.console_kib.saturating_mul(1024)),
            own,
        }
    }

    /// For `describe`.
    pub(crate) fn describe(settings: &PluginSettings, own: OwnLimits) -> Self {
        let allowed = own.over(settings).time_limit;
        let describes = DESCRIBE_SECONDS <= allowed;
        Self { ticks: ticks(allowed.min(DESCRIBE_SECONDS)), describes, ..Self::new(settings, own) }
    }

    /// Of a core plugin. It is part of the product, fetches and packs what the
    /// user's configuration names, however long that takes and much it is: an
    /// hour of packing is no fault.
    #[must_use]
    pub(crate) fn of_core(self) -> Self {
        let (step, host) = (Duration::MAX, Duration::MAX);
        let (fetched_bytes, requests, scratch_bytes) = (u64::MAX, u64::MAX, u64::MAX);
        Self { step, host, fetched_bytes, requests, scratch_bytes, ..self }
    }

    /// Of a step that declares how long one attempt may take; a plugin's own
    /// limit holds as well.
    #[must_use]
    pub(crate) fn within(self, timeout: Option<Duration>) -> Self {
        let timeout = timeout.filter(|step| self.own.step_limit.is_none() || *step < self.step);
        timeout.map_or(self, |step| Self { step, is_declared: true, ..self })
    }

    /// The refusal of a call that takes too long.
    pub(crate) fn too_long(&self, caller: impl std::fmt::Display) -> Error {
        let message = format!("{caller} took longer than its limit of {} s", self.step.as_secs());
        match self.is_declared {
            false => self.own.exceeded(Limit::StepTime, message),
            true => Error::new(Class::Plugin, format!("{message} (`timeout` of the step)"))
                .hint("raise `timeout` of the step in config/pipeline.yaml, if it is meant to take this long"),
        }
    }

    /// What a call may take of the network.
    pub(crate) fn allowance(&self, caller: impl std::fmt::Display) -> Allowance {
        let (mib, requests) = (self.fetched_bytes >> 20, self.requests);
        Allowance {
            bytes: self.fetched_bytes,
            requests,
            too_much: Limit::FetchedBytes.exceeded(format!("{caller} fetched more than its limit of {mib} MiB")),
            too_many: Limit::Requests.exceeded(format!("{caller} sent more than its limit of {requests} requests")),
        }
    }

    /// Bytes of stdout and stderr that stop the call.
    pub(crate) fn console_flood(&self) -> u64 {
        (self.console as u64).saturating_mul(CONSOLE_FACTOR)
    }

    /// Seconds of guest time.
    pub(crate) fn seconds(&self) -> u64 {
        self.ticks.saturating_mul(TICK.as_millis() as u64) / 1000
    }
}

fn ticks(seconds: u64) -> u64 {
    seconds.saturating_mul(1000) / TICK.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a step's `timeout` and its plugin's own limit the lower one holds, and
    /// the refusal names it.
    #[test]
    fn a_plugins_own_limit_holds_beside_that_of_its_step() {
        let settings = PluginSettings::default();
        let own = |step_limit| OwnLimits { step_limit, ..OwnLimits::default() };
        for (own, timeout, held, named) in [
            (own(None), Some(20), 20, "`timeout` of the step"),
            (own(Some(10)), Some(20), 10, "`limits.step_limit` of the plugin"),
            (own(Some(30)), Some(20), 20, "`timeout` of the step"),
            (own(Some(10)), None, 10, "`limits.step_limit` of the plugin"),
            (own(Some(settings.step_limit + 1)), None, settings.step_limit, "`plugins.step_limit`"),
        ] {
            let limits = CallLimits::new(&settings, own).within(timeout.map(Duration::from_secs));
            assert_eq!(limits.step.as_secs(), held);
            let error = limits.too_long("plugin x");
            assert!(error.message().contains(named), "{error}");
        }
    }
}
