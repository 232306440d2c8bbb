//! Versions of packages, compared as dpkg compares them.
//!
//! `[epoch:]upstream[-revision]`: the epoch by number, then the upstream version,
//! then the revision, each in turns of what is no digit, by character, and of
//! digits, by number. `~` sorts before everything, the end included; letters before
//! what is none.

use std::cmp::Ordering;

/// Which of two versions is later.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (Parts::of(left), Parts::of(right));
    number(left.epoch, right.epoch)
        .then_with(|| part(left.upstream, right.upstream))
        .then_with(|| part(left.revision, right.revision))
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

fn part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_word, left_rest) = split(left, |c| !c.is_ascii_digit());
        let (right_word, right_rest) = split(right, |c| !c.is_ascii_digit());
        let (left_number, left_rest) = split(left_rest, |c| c.is_ascii_digit());
        let (right_number, right_rest) = split(right_rest, |c| c.is_ascii_digit());
        let order = word(left_word, right_word).then_with(|| number(left_number, right_number));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn word(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.chars(), right.chars());
    loop {
        let (a, b) = (left.next(), right.next());
        let order = weight(a).cmp(&weight(b));
        if order.is_ne() || (a.is_none() && b.is_none()) {
            return order;
        }
    }
}

fn weight(character: Option<char>) -> (u8, u32) {
    match character {
        Some('~') => (0, 0),
        None => (1, 0),
        Some(c) if c.is_ascii_alphabetic() => (2, u32::from(c)),
        Some(c) => (3, u32::from(c)),
    }
}

/// Of any length: without zeros in front, the longer one is larger.
fn number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let ascending = [
            "0.9~rc1-1",
            "0.9-0~1",
            "0.9",
            "0.9-1",
            "1.0~~",
            "1.0~~a",
            "1.0~",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0a",
            "1.0+1",
            "1.0.1",
            "1.2",
            "1.10",
            "1.010.1",
            "99999999999999999999999",
            "1:0.1",
            "2:0",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), at.cmp(&other), "{left} and {right}");
            }
        }
        for (left, right) in [("1.0", "0:1.0"), ("1.0", "1.00"), ("1.0", "1.0-0"), ("1.0-0", "1.0-00")] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} and {right}");
        }
    }
}
