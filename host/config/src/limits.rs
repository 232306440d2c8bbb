//! The limits of plugins that a user may need to raise.
//!
//! Each is a row of the [table](TABLE): the settings under `plugins` in
//! settings.yaml, their defaults and ranges, the words of the refusal,
//! settings.yaml as `init` writes it and the documentation follow from it, or
//! are held to it by a test.

use serde::{Deserialize, Serialize};

use base::error::{Class, Error, Result};

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

/// What `limits` of a pin says: those of its plugin, which are never above those
/// of settings.yaml. Each has the name and the unit that it has there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnLimits {
    /// MiB over all memories of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Seconds of computing in one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<u64>,
    /// Seconds of one call in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_limit: Option<u64>,
    /// MiB that one call may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_mib: Option<u64>,
    /// Files that one call may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_files: Option<u64>,
}

impl OwnLimits {
    /// The limits that a plugin may have of its own.
    pub const ALL: [Limit; 5] = [Limit::Memory, Limit::Time, Limit::StepTime, Limit::OutputBytes, Limit::OutputFiles];

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it says, in the unit of the row.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        match limit {
            Limit::Memory => self.memory_mib,
            Limit::Time => self.time_limit,
            Limit::StepTime => self.step_limit,
            Limit::OutputBytes => self.output_mib,
            Limit::OutputFiles => self.output_files,
            _ => None,
        }
    }

    /// The place of a limit; None of what no plugin has of its own.
    fn place(&mut self, limit: Limit) -> Option<&mut Option<u64>> {
        match limit {
            Limit::Memory => Some(&mut self.memory_mib),
            Limit::Time => Some(&mut self.time_limit),
            Limit::StepTime => Some(&mut self.step_limit),
            Limit::OutputBytes => Some(&mut self.output_mib),
            Limit::OutputFiles => Some(&mut self.output_files),
            _ => None,
        }
    }

    /// With `key=value` of the command line.
    ///
    /// # Errors
    /// `usage` for another key, and for a value out of its range.
    pub fn with(mut self, written: &str) -> Result<Self> {
        let keys = Self::ALL.map(Limit::key);
        let unknown = || {
            let shown = written.escape_debug();
            Error::new(Class::Usage, format!("`--limit {shown}` is no limit of a plugin"))
                .hint(format!("write `--limit KEY=NUMBER`; the keys are {}", keys.join(", ")))
        };
        let (key, value) = written.split_once('=').ok_or_else(unknown)?;
        let limit = Self::ALL.into_iter().find(|limit| limit.key() == key).ok_or_else(unknown)?;
        let value: u64 = value.parse().map_err(|_| unknown())?;
        if let Some((message, hint)) = limit.misfit(value) {
            return Err(Error::new(Class::Usage, format!("`--limit {key}`: {message}")).hint(hint));
        }
        if let Some(place) = self.place(limit) {
            *place = Some(value);
        }
        Ok(self)
    }

    /// Those of these that lie below the settings: they are the ones that hold.
    #[must_use]
    pub fn below(mut self, settings: &PluginSettings) -> Self {
        for limit in Self::ALL {
            if let Some(place) = self.place(limit) {
                *place = place.filter(|own| *own < settings.get(limit));
            }
        }
        self
    }

    /// The settings of a call: the lower one of each.
    #[must_use]
    pub fn over(self, settings: &PluginSettings) -> PluginSettings {
        let own = self.below(settings);
        PluginSettings {
            memory_mib: own.memory_mib.unwrap_or(settings.memory_mib),
            time_limit: own.time_limit.unwrap_or(settings.time_limit),
            step_limit: own.step_limit.unwrap_or(settings.step_limit),
            output_mib: own.output_mib.unwrap_or(settings.output_mib),
            output_files: own.output_files.unwrap_or(settings.output_files),
            ..settings.clone()
        }
    }

    /// The refusal of a call that met `limit`, where that is one of these.
    pub fn exceeded(&self, limit: Limit, message: impl std::fmt::Display) -> Error {
        if self.get(limit).is_none() {
            return limit.exceeded(message);
        }
        let key = limit.key();
        Error::new(Class::Plugin, format!("{message} (`limits.{key}` of the plugin in config/plugins.lock)")).hint(
            format!(
                "raise it there, or with `plugin add --replace --limit {key}=…`, if the plugin is meant to need this \
                 much; `{}` in config/settings.yaml holds as well",
                limit.setting()
            ),
        )
    }
}

impl Limit {
    /// The key below `plugins` in settings.yaml, and below `limits` of a pin.
    pub fn key(self) -> &'static str {
        self.row().key
    }

    /// What it is counted in: `MiB`, `seconds`, `files`.
    pub fn unit(self) -> &'static str {
        self.row().unit
    }

    /// What is wrong with a value, and what to do.
    pub(crate) fn misfit(self, value: u64) -> Option<(String, String)> {
        let Row { from, to, unit, .. } = self.row();
        let fits = (*from..=*to).contains(&value);
        (!fits).then(|| (format!("{value} is out of range"), format!("use {from} to {to} {unit}")))
    }

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

    #[test]
    fn a_plugins_own_limits_only_lower() {
        let settings = PluginSettings::default();
        let own = OwnLimits { memory_mib: Some(64), output_mib: Some(1 << 20), ..OwnLimits::default() };
        let held = own.over(&settings);
        assert_eq!((held.memory_mib, held.output_mib), (64, settings.output_mib));
        assert_eq!(own.below(&settings).get(Limit::OutputBytes), None);
        assert_eq!(PluginSettings { memory_mib: settings.memory_mib, ..held }, settings);
        let error = own.below(&settings).exceeded(Limit::Memory, "too much");
        assert!(error.message().contains("`limits.memory_mib` of the plugin"), "{error}");
        let error = own.below(&settings).exceeded(Limit::OutputBytes, "too much");
        assert!(error.message().contains("`plugins.output_mib`"), "{error}");
    }

    #[test]
    fn a_limit_of_the_command_line_is_one_of_the_table() {
        let own = OwnLimits::default().with("memory_mib=64").unwrap().with("output_files=7").unwrap();
        assert_eq!((own.memory_mib, own.output_files, own.time_limit), (Some(64), Some(7), None));
        for limit in OwnLimits::ALL {
            let own = OwnLimits::default().with(&format!("{}=9", limit.key())).unwrap();
            assert_eq!(own.get(limit), Some(9));
        }
        for bad in
            ["", "memory_mib", "memory_mib=", "memory_mib=-1", "memory_mib=0", "requests=1", "memory_mib=99999999"]
        {
            assert_eq!(OwnLimits::default().with(bad).unwrap_err().class(), Class::Usage, "{bad}");
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
