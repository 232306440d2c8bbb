//! What a signed `InRelease` says: of which suite it is, until when, and the digest
//! of each index.

use std::collections::BTreeMap;

/// The text below the signature, read.
#[derive(Debug, Default)]
pub struct Release {
    fields: BTreeMap<String, String>,
    /// By path below the suite: 64 hexadecimal digits, and bytes.
    indexes: BTreeMap<String, (String, u64)>,
}

impl Release {
    pub fn parse(text: &str) -> Self {
        let mut release = Self::default();
        let mut section = String::new();
        for line in text.lines().map(|line| line.trim_end_matches('\r')) {
            if let Some(row) = line.strip_prefix(' ') {
                if section == "SHA256" {
                    release.enter(row);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                section = name.to_owned();
                release.fields.insert(section.clone(), value.trim().to_owned());
            }
        }
        release
    }

    fn enter(&mut self, row: &str) {
        let mut words = row.split_ascii_whitespace();
        if let (Some(digest), Some(size), Some(path)) = (words.next(), words.next(), words.next())
            && let Ok(size) = size.parse()
            && digest.len() == 64
            && digest.bytes().all(|b| b.is_ascii_hexdigit())
        {
            self.indexes.insert(path.to_owned(), (digest.to_ascii_lowercase(), size));
        }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The index of a component: its path below the suite, digest and bytes, and
    /// whether it is compressed.
    pub fn index(&self, component: &str, architecture: &str) -> Option<(String, &str, u64, bool)> {
        let plain = format!("{component}/binary-{architecture}/Packages");
        [(format!("{plain}.gz"), true), (plain, false)].into_iter().find_map(|(path, is_compressed)| {
            let (digest, size) = self.indexes.get(&path)?;
            Some((self.place(&path, digest), digest.as_str(), *size, is_compressed))
        })
    }

    /// By its digest where the mirror has it so: it stays there for a while when the
    /// suite has moved on.
    fn place(&self, path: &str, digest: &str) -> String {
        match path.rsplit_once('/') {
            Some((folder, _)) if self.field("Acquire-By-Hash") == Some("yes") => {
                format!("{folder}/by-hash/SHA256/{digest}")
            }
            _ => path.to_owned(),
        }
    }

    /// Why it is not of `suite`, or too old at `now`, in seconds since 1970.
    pub fn check(&self, suite: &str, now: u64) -> Result<(), String> {
        let names = [self.field("Suite"), self.field("Codename")];
        if !names.contains(&Some(suite)) {
            let said: Vec<&str> = names.into_iter().flatten().collect();
            return Err(format!("it is signed as `{}` and not as `{suite}`", said.join("`, `")));
        }
        let Some(until) = self.field("Valid-Until") else { return Ok(()) };
        let seconds = seconds(until).ok_or_else(|| format!("`Valid-Until: {until}` is no date"))?;
        if seconds < now {
            Err(format!("it was valid until {until}: the mirror is out of date, or shows an old state"))
        } else {
            Ok(())
        }
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sat, 17 May 2025 09:12:33 UTC` as seconds since 1970.
fn seconds(date: &str) -> Option<u64> {
    let words: Vec<&str> = date.split_ascii_whitespace().collect();
    let [_, day, month, year, time, zone] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = clock[..] else { return None };
    let is_plausible =
        (1970..9999).contains(&year) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !is_plausible || !matches!(zone, "UTC" | "GMT" | "+0000") {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01, in years that begin in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The same date as a Release writes it.
pub fn date(seconds: u64) -> String {
    let (day, time) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= day).unwrap_or(1);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(day % 7) as usize];
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let of_month = day - days(year, month, 1) + 1;
    let month = MONTHS[month as usize - 1];
    format!("{weekday}, {of_month:02} {month} {year} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Suite: oldstable\nCodename: bookworm\nValid-Until: Sat, 17 May 2025 09:12:33 UTC\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 main/binary-amd64/Packages.gz\nSHA256:\n aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 7 main/binary-amd64/Packages.gz\n aaaa 7 main/binary-arm64/Packages.gz\n";

    #[test]
    fn an_index_is_named_by_its_digest() {
        let release = Release::parse(TEXT);
        let (path, digest, size, is_compressed) = release.index("main", "amd64").unwrap();
        assert_eq!(path, format!("main/binary-amd64/by-hash/SHA256/{}", "a".repeat(64)));
        assert!(digest == "a".repeat(64) && size == 7 && is_compressed);
        assert!(release.index("main", "arm64").is_none() && release.index("contrib", "amd64").is_none());
    }

    #[test]
    fn another_suite_and_an_old_state_are_refused() {
        let release = Release::parse(TEXT);
        let until = seconds("Sat, 17 May 2025 09:12:33 UTC").unwrap();
        assert_eq!(until, 1_747_473_153);
        assert!(release.check("bookworm", until).is_ok() && release.check("oldstable", until).is_ok());
        assert!(release.check("trixie", until).unwrap_err().contains("signed as `oldstable`, `bookworm`"));
        assert!(release.check("bookworm", until + 1).unwrap_err().contains("was valid until"));
    }

    #[test]
    fn dates_come_back_as_they_were() {
        for text in [
            "Thu, 01 Jan 1970 00:00:00 UTC",
            "Thu, 29 Feb 2024 23:59:59 UTC",
            "Wed, 31 Dec 2025 12:00:00 UTC",
            "Fri, 01 Jan 2100 00:00:00 UTC",
        ] {
            assert_eq!(date(seconds(text).unwrap()), text);
        }
        assert_eq!(seconds("17 May 2025"), None);
    }
}
