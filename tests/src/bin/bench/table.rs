//! Rows of what was aimed at and what was measured, printed as they come.

use std::time::Duration;

/// What a number counts, and so how it is shown.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    /// Of memory.
    Mebibytes,
    /// Of data.
    Megabytes,
    Bytes,
    GigabytesPerSecond,
    Times,
    Count,
}

impl Unit {
    /// `value` is in seconds, bytes, bytes per second, or bare.
    fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Milliseconds => format!("{:.1} ms", value * 1e3),
            Unit::Microseconds => format!("{:.0} µs", value * 1e6),
            Unit::Mebibytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Unit::Megabytes => format!("{:.1} MB", value / 1e6),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::GigabytesPerSecond => format!("{:.2} GB/s", value / 1e9),
            Unit::Times => format!("{value:.2}"),
            Unit::Count => format!("{value:.0}"),
        }
    }
}

/// In the unit's base.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// Prints rows and remembers how they came out.
#[derive(Default)]
pub(crate) struct Table {
    targets: usize,
    missed: Vec<String>,
}

impl Table {
    /// Begins a table of its own.
    pub(crate) fn begin(&mut self, title: &str) {
        println!("\n## {title}\n\n| | target | measured | |\n| --- | --- | --- | --- |");
    }

    /// A row that only informs.
    pub(crate) fn tell(&mut self, what: &str, unit: Unit, measured: f64) {
        println!("| {what} | | {} | |", unit.show(measured));
    }

    pub(crate) fn row(&mut self, what: &str, unit: Unit, target: Target, measured: f64) {
        let (words, limit, met) = match target {
            Target::AtMost(limit) => ("at most", limit, measured <= limit),
            Target::AtLeast(limit) => ("at least", limit, measured >= limit),
        };
        self.print(what, &format!("{words} {}", unit.show(limit)), &unit.show(measured), met);
    }

    /// A row where nothing but one thing is right.
    pub(crate) fn exactly(&mut self, what: &str, target: &str, measured: &str) {
        self.print(what, target, measured, target == measured);
    }

    fn print(&mut self, what: &str, target: &str, measured: &str, met: bool) {
        self.targets += 1;
        if !met {
            self.missed.push(what.to_owned());
        }
        println!("| {what} | {target} | {measured} | {} |", if met { "met" } else { "**missed**" });
    }

    /// The last line.
    pub(crate) fn verdict(&self) -> String {
        let met = self.targets - self.missed.len();
        let missed =
            if self.missed.is_empty() { String::new() } else { format!("; missed: {}", self.missed.join("; ")) };
        format!("bench: {met} of {} targets met{missed}", self.targets)
    }
}

/// Seconds, with the sign that a `Duration` lacks.
pub(crate) fn difference(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() - other.as_secs_f64()
}
