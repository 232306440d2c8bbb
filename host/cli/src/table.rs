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
        let is_begun = line.trim_end().chars().count() > indent.len();
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
/// Stands for the item in what is said of several.
const EACH: &str = "each";

/// One thing that failed, as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Failed<'a> {
    pub(super) item: &'a str,
    /// Where from, and which class and status.
    pub(super) about: String,
    pub(super) message: String,
    pub(super) hint: Option<&'a str>,
    /// Whether it is a row of its own, whatever the others say.
    pub(super) alone: bool,
}

impl Failed<'_> {
    /// What it says of others as well.
    fn reason(&self) -> String {
        if self.item.is_empty() { self.message.clone() } else { self.message.replace(self.item, EACH) }
    }

    fn is_like(&self, other: &Failed<'_>) -> bool {
        let is_one = !self.alone && !other.alone && self.hint.is_some() && self.hint == other.hint;
        is_one && self.about == other.about && self.reason() == other.reason()
    }
}

/// The items of a step that failed: what, where from, status, why, what to do.
pub(super) fn failures(items: &[ItemFailure]) -> Vec<String> {
    let failed = items.iter().take(FAILURES_SHOWN).map(|item| {
        let ItemFailure { item, origin, class, status, message, hint, .. } = item;
        let (hint, alone) = (hint.as_deref(), *class == Class::Configuration);
        // Of a file of the configuration it is the place and the key.
        let (about, message) = match (alone, origin.as_str()) {
            (true, "") => (String::new(), message.clone()),
            (true, key) => (String::new(), format!("{key}: {message}")),
            (false, origin) => {
                let origin = if origin.is_empty() { String::new() } else { format!(" from {origin}") };
                let status = status.map(|status| format!(", HTTP {status}")).unwrap_or_default();
                (format!("{origin} ({class}{status})"), message.clone())
            }
        };
        Failed { item, about, message, hint, alone }
    });
    grouped(failed.collect(), items.len() as u64, "  ")
}

/// Those of one place that failed alike are one row where there is something to
/// do about them all, and that stands once under the rows that it is for. `total`
/// of them failed, listed or not.
pub(super) fn grouped(failed: Vec<Failed<'_>>, total: u64, indent: &str) -> Vec<String> {
    let shown = failed.len().min(FAILURES_SHOWN);
    let groups = alike(&failed[..shown]);
    let mut lines = Vec::new();
    for (at, (first, names)) in groups.iter().enumerate() {
        let (named, message) = match names.as_slice() {
            [one] => ((*one).to_owned(), first.message.clone()),
            many => (many.len().to_string(), first.reason()),
        };
        lines.push(visible::line(&format!("{indent}✗ {named}{}: {message}", first.about)));
        if names.len() > 1 {
            lines.push(visible::line(&format!("{indent}    {}", names.join(", "))));
        }
        lines.extend(hint_behind(&groups, at).map(|hint| visible::line(&format!("{indent}    hint: {hint}"))));
    }
    let more = total.saturating_sub(shown as u64);
    if more > 0 {
        lines.push(format!("{indent}… and {more} more; see build/state.json"));
    }
    lines
}

/// The hint of a row, where the next one has another.
fn hint_behind<'a>(groups: &[(&Failed<'a>, Vec<&str>)], at: usize) -> Option<&'a str> {
    let of = |at: usize| groups.get(at).and_then(|(first, _)| first.hint);
    of(at).filter(|hint| of(at + 1) != Some(hint))
}

/// Groups with the names of their items, those of one hint side by side.
fn alike<'f, 'a>(failed: &'f [Failed<'a>]) -> Vec<(&'f Failed<'a>, Vec<&'a str>)> {
    let mut groups: Vec<(&Failed<'a>, Vec<&'a str>)> = Vec::new();
    for item in failed {
        match groups.iter_mut().find(|(first, _)| first.is_like(item)) {
            Some((_, names)) => names.push(item.item),
            None => {
                let behind = groups.iter().rposition(|(first, _)| item.hint.is_some() && first.hint == item.hint);
                groups.insert(behind.map_or(groups.len(), |at| at + 1), (item, vec![item.item]));
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
            code: None,
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
            item("q.io/a", "q.io", "q.io answered 401 for q.io/a", Some("log in")),
            item("q.io/b", "q.io", "q.io answered 401 for q.io/b", Some("log in")),
            item("q.io/c", "q.io", "q.io answered 403 for q.io/c", Some("log in")),
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
                "  ✗ 2 from q.io (transient): q.io answered 401 for each",
                "      q.io/a, q.io/b",
                "  ✗ q.io/c from q.io (transient): q.io answered 403 for q.io/c",
                "      hint: log in",
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
