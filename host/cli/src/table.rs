//! Tables of plain text: columns as wide as their widest cell.

use base::error::{Class, ItemFailure};
use base::progress::text;
use base::visible;

/// Lines of a table; the first row is the heading. The last column is cut so
/// that a line fits into `width`.
pub(super) fn render(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible::line(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                if at + 1 == columns {
                    let left = width.saturating_sub(line.chars().count()).max(20);
                    line.push_str(&text::cut(cell, left));
                } else {
                    let padding = widths[at].saturating_sub(cell.chars().count());
                    line.push_str(cell);
                    line.push_str(&" ".repeat(padding + 2));
                }
            }
            line.trim_end().to_owned()
        })
        .collect()
}

/// A text as lines of at most `width`, broken at blanks, the others under the
/// first word of the first.
pub(super) fn wrapped(start: &str, text: &str, width: usize) -> Vec<String> {
    let indent = " ".repeat(start.chars().count());
    let mut lines = vec![start.to_owned()];
    for word in visible::line(text).split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        let is_begun = line.trim_end().len() > indent.len();
        if is_begun && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(format!("{indent}{word}"));
            continue;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

/// Bad items shown in full; the others are counted.
const FAILURES_SHOWN: usize = 100;

/// The items of a step that failed: what, where from, status, why, what to do.
/// Those of one place that failed alike are one row where there is something
/// to do about them all, and that stands once under the rows that it is for.
pub(super) fn failures(items: &[ItemFailure]) -> Vec<String> {
    let groups = alike(&items[..items.len().min(FAILURES_SHOWN)]);
    let mut lines = Vec::new();
    for (at, (first, names)) in groups.iter().enumerate() {
        let status = first.status.map(|status| format!(", HTTP {status}")).unwrap_or_default();
        // Of a file of the configuration it is the place and the key.
        if first.class == Class::Configuration {
            let key = if first.origin.is_empty() { String::new() } else { format!("{}: ", first.origin) };
            lines.extend(names.iter().map(|place| visible::line(&format!("  ✗ {place}: {key}{}", first.message))));
            lines.extend(hint_behind(&groups, at));
            continue;
        }
        let origin = if first.origin.is_empty() { String::new() } else { format!(" from {}", first.origin) };
        let (class, message) = (first.class, &first.message);
        let named = match names.as_slice() {
            [one] => (*one).to_owned(),
            many => many.len().to_string(),
        };
        lines.push(visible::line(&format!("  ✗ {named}{origin} ({class}{status}): {message}")));
        if names.len() > 1 {
            lines.push(visible::line(&format!("      {}", names.join(", "))));
        }
        lines.extend(hint_behind(&groups, at));
    }
    if items.len() > FAILURES_SHOWN {
        lines.push(format!("  … and {} more; build/state.json lists them", items.len() - FAILURES_SHOWN));
    }
    lines
}

/// The hint of a row, where the next one has another.
fn hint_behind(groups: &[(&ItemFailure, Vec<&str>)], at: usize) -> Option<String> {
    let of = |at: usize| groups.get(at).and_then(|(first, _)| first.hint.as_ref());
    of(at).filter(|hint| of(at + 1) != Some(hint)).map(|hint| visible::line(&format!("      hint: {hint}")))
}

/// Groups with the names of their items, those of one hint side by side.
fn alike(items: &[ItemFailure]) -> Vec<(&ItemFailure, Vec<&str>)> {
    let reason = |item: &'_ ItemFailure| (item.origin.clone(), item.class, item.status, item.message.clone());
    let mut groups: Vec<(&ItemFailure, Vec<&str>)> = Vec::new();
    for item in items {
        let same =
            |first: &ItemFailure| item.hint.is_some() && first.hint == item.hint && reason(first) == reason(item);
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, names)) => names.push(&item.item),
            None => {
                let behind = groups.iter().rposition(|(first, _)| item.hint.is_some() && first.hint == item.hint);
                groups.insert(behind.map_or(groups.len(), |at| at + 1), (item, vec![&item.item]));
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_alike_is_one_row_and_its_hint_is_told_once() {
        let item = |item: &str, origin: &str, message: &str, hint: Option<&str>| ItemFailure {
            item: item.into(),
            origin: origin.into(),
            class: Class::Transient,
            status: None,
            message: message.into(),
            hint: hint.map(str::to_owned),
        };
        let network = Some("check the network");
        let lines = failures(&[
            item("quay.io/a:1", "quay.io", "cannot reach quay.io", network),
            item("quay.io/b:1", "quay.io", "not found", None),
            item("quay.io/d:1", "quay.io", "not found", None),
            item("r.io/a:1", "r.io", "cannot reach r.io", network),
            item("quay.io/c:1", "quay.io", "cannot reach quay.io", network),
        ]);
        assert_eq!(
            lines,
            [
                "  ✗ 2 from quay.io (transient): cannot reach quay.io",
                "      quay.io/a:1, quay.io/c:1",
                "  ✗ r.io/a:1 from r.io (transient): cannot reach r.io",
                "      hint: check the network",
                "  ✗ quay.io/b:1 from quay.io (transient): not found",
                "  ✗ quay.io/d:1 from quay.io (transient): not found",
            ]
        );
    }

    #[test]
    fn columns_align_and_the_last_is_cut() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> = vec![row(&["step", "state"]), row(&["images", &"x".repeat(60)])];
        let lines = render(&rows, 40);
        assert_eq!(lines[0], "step    state");
        assert_eq!(lines[1].chars().count(), 40);
        assert!(lines[1].ends_with('…'));
    }

    #[test]
    fn cells_from_outside_are_as_wide_as_they_look() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let lines = render(&[row(&["a\u{202e}b", "x"]), row(&["c", "y\nz"])], 80);
        assert_eq!(lines, ["a\\u{202e}b  x", "c           y z"]);
    }

    #[test]
    fn text_is_wrapped_at_blanks() {
        let lines = wrapped("  - ", "can send what it reads to https://example.com/", 24);
        assert_eq!(lines, ["  - can send what it", "    reads to", "    https://example.com/"]);
        assert_eq!(wrapped("- ", "a b", usize::MAX), ["- a b"]);
    }
}
