//! The limits of plugins that a user may need to raise.
//!
//! Each is a row of the [table](TABLE): the settings under `plugins` in
//! settings.yaml, their defaults and ranges, the words of the refusal,
//! settings.yaml as `init` writes it and the documentation follow from it, or
//! are held to it by a test.

use serde::{Deserialize, Serialize};

use base::error::{Class, Error};

/// Makes the settings, the names and the table of the same rows.
macro_rules! table {
    ($($limit:ident $key:ident: $default:literal, $from:literal..=$to:literal $unit:literal, $bounds:literal;)*) => {
        /// Limits of every plugin call: `plugins` in settings.yaml.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct PluginSettings {
            $(#[doc = concat!($unit, " ", $bounds)] pub $key: u64,)*
        }

        impl Default for PluginSettings {
            fn default() -> Self {
                Self { $($key: $default),* }
            }
        }

        impl PluginSettings {
            /// In the unit of the row.
            pub fn get(&self, limit: Limit) -> u64 {
                match limit { $(Limit::$limit => self.$key),* }
            }
        }

        /// A limit that a user can raise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit {
            $(#[doc = concat!("`plugins.", stringify!($key), "`: ", $unit, " ", $bounds)] $limit,)*
        }

        /// Every limit that a user can raise, in the order of the documentation.
        pub(crate) const TABLE: &[Row] = &[$(Row {
            limit: Limit::$limit,
            key: stringify!($key),
            default: $default,
            from: $from,
            to: $to,
            unit: $unit,
            bounds: $bounds,
        }),*];
    };
}

/// What is to be said about a limit that a user can raise.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which limit it is.
    pub limit: Limit,
    /// Below `plugins` in settings.yaml.
    pub key: &'static str,
    /// What holds where settings.yaml says nothing, in `unit`.
    pub default: u64,
    /// The range that settings.yaml may choose from.
    pub from: u64,
    /// The largest value of that range.
    pub to: u64,
    /// What it is counted in: `MiB`, `seconds`, `files`.
    pub unit: &'static str,
    /// What it bounds, after the unit.
    pub bounds: &'static str,
}

table! {
    Memory memory_mib: 256, 1..=65_536 "MiB", "over all memories of one plugin call";
    Time time_limit: 300, 1..=86_400 "seconds", "of computing in one call";
    StepTime step_limit: 14_400, 1..=604_800 "seconds", "from the beginning to the end of one call of a pinned plugin, downloads and waiting included";
    HostTime host_limit: 600, 1..=604_800 "seconds", "that the host works for one call of a pinned plugin: unpacking, packing, copying, hashing, reading and writing; downloads do not count";
    FetchedBytes fetched_mib: 65_536, 1..=16_777_216 "MiB", "that one call of a pinned plugin may get from the network, what is not kept included; what the store holds does not count";
    Requests requests: 100_000, 1..=100_000_000 "requests", "that one call of a pinned plugin may send: repetitions, redirects, logins and each page of a list count";
    OutputBytes output_mib: 4096, 1..=16_777_216 "MiB", "that one call may write, with `/out`; what it fetches, and input files that it packs once, do not count";
    OutputFiles output_files: 100_000, 1..=100_000_000 "files", "that one call may write, and as many directories; in `/out` directories and links count as files";
    ScratchBytes scratch_mib: 4096, 1..=16_777_216 "MiB", "that lie in `/work` and in unpacked archives at the same time";
    ScratchFiles scratch_files: 100_000, 1..=100_000_000 "files", "(directories and links among them) that lie in `/work` and in unpacked archives at the same time";
    OpenFiles open_files: 128, 8..=100_000 "files", "(streams and directories among them) that one call may hold open";
    Console console_kib: 1024, 1..=1_048_576 "KiB", "of output kept of one call";
    CompileMemory compile_mib: 2048, 256..=1_048_576 "MiB", "of addresses that compiling one plugin may take";
    CompileTime compile_seconds: 120, 1..=86_400 "seconds", "of processor time for compiling one plugin, over all threads; four times as many may pass";
    Schema schema_kib: 256, 1..=16_384 "KiB", "of what a plugin says about itself, its schema above all";
}

impl Limit {
    fn row(self) -> &'static Row {
        // As many rows as limits, in the same order.
        &TABLE[self as usize]
    }

    /// What settings.yaml may say.
    pub fn range(self) -> std::ops::RangeInclusive<u64> {
        self.row().from..=self.row().to
    }

    /// The key in settings.yaml.
    pub fn setting(self) -> String {
        format!("plugins.{}", self.row().key)
    }

    /// What to do when the limit was met.
    pub fn hint(self) -> String {
        format!("raise `{}` in config/settings.yaml, if the plugin is meant to need this much", self.setting())
    }

    /// The refusal: `message` says what would have been, and names the number.
    pub fn exceeded(self, message: impl std::fmt::Display) -> Error {
        Error::new(Class::Plugin, format!("{message} (`{}`)", self.setting())).hint(self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_row() {
        let settings = PluginSettings::default();
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.limit as usize, index);
            assert_eq!(settings.get(row.limit), row.default);
            assert!((row.from..=row.to).contains(&row.default), "{}", row.key);
            assert!(row.limit.hint().contains(&format!("`plugins.{}`", row.key)));
        }
    }

    /// The documents and the file that `init` writes say what holds.
    #[test]
    fn documents_and_the_default_settings_say_the_same() {
        let documented = include_str!("../../../docs/configuration.md");
        let written = include_str!("../../../config/settings.yaml");
        for Row { key, default, unit, bounds, .. } in TABLE {
            let line = format!("| `plugins` `{key}` | {default} | {unit} {bounds} |\n");
            assert!(documented.contains(&line), "docs/configuration.md lacks: {line}");
            assert!(written.contains(&format!("#   {key}: {default}")), "config/settings.yaml lacks {key}");
        }
    }
}
