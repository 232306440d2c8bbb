//! Tables of plain text: columns as wide as their widest cell.

use crate::error::ItemFailure;
use crate::progress::text;

/// Lines of a table; the first row is the heading. The last column is cut so
/// that a line fits into `width`.
pub(super) fn render(rows: &[Vec<String>], width: usize) -> Vec<String> {
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
                    line.push_str(&text::cut(&text::plain(cell), left));
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

/// Bad items shown in full; the others are counted.
const FAILURES_SHOWN: usize = 100;

/// The items of a step that failed: what, where from, status, why, what to do.
pub(super) fn failures(items: &[ItemFailure]) -> Vec<String> {
    let mut lines = Vec::new();
    for item in items.iter().take(FAILURES_SHOWN) {
        let status = item.status.map(|status| format!(", HTTP {status}")).unwrap_or_default();
        let origin = if item.origin.is_empty() { String::new() } else { format!(" from {}", item.origin) };
        lines.push(text::plain(&format!("  ✗ {}{origin} ({}{status}): {}", item.item, item.class, item.message)));
        if let Some(hint) = &item.hint {
            lines.push(text::plain(&format!("      hint: {hint}")));
        }
    }
    if items.len() > FAILURES_SHOWN {
        lines.push(format!("  … and {} more; build/state.json lists them", items.len() - FAILURES_SHOWN));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_last_is_cut() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> = vec![row(&["step", "state"]), row(&["images", &"x".repeat(60)])];
        let lines = render(&rows, 40);
        assert_eq!(lines[0], "step    state");
        assert_eq!(lines[1].chars().count(), 40);
        assert!(lines[1].ends_with('…'));
    }
}
