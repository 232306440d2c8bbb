//! Sizes, times and rates as people read them. One home for all of them.

use jiff::Timestamp;

use crate::timestamp::rfc3339;

/// `1.5 GiB`; whole numbers below 1 KiB.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`.
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis} ms"),
        1..=59 => format!("{:.1} s", millis as f64 / 1000.0),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long something will take, which nobody knows to the millisecond: `1 s`,
/// `12 s`, `4 min 05 s`.
pub fn estimate(seconds: f64) -> String {
    let whole = seconds.max(1.0).ceil() as u64;
    if whole < 60 { format!("{whole} s") } else { duration(whole.saturating_mul(1000)) }
}

/// A time to come back at: the full minute that is not before it.
pub fn minute(time: Timestamp) -> String {
    let seconds = time.as_second().saturating_add(59).div_euclid(60).saturating_mul(60);
    rfc3339(Timestamp::from_second(seconds).unwrap_or(time))
}

/// Cuts to `width` characters; the last one is `…` where something is lost.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_a_reader_expects_it() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(1500), "1.5 s");
        assert_eq!(duration(245_000), "4 min 05 s");
        assert_eq!(duration(7_380_000), "2 h 03 min");
        let at = |seconds| minute(Timestamp::from_second(seconds).unwrap());
        assert_eq!([at(60), at(61), at(119)], ["1970-01-01T00:01:00Z", "1970-01-01T00:02:00Z", "1970-01-01T00:02:00Z"]);
        assert_eq!([0.003, 11.2, 244.5].map(estimate), ["1 s", "12 s", "4 min 05 s"]);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
