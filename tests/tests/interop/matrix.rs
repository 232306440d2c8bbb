//! The tables in docs/package-format.md: what was run, and what came of it.

use std::path::{Path, PathBuf};

/// What came of one row in one column; a failure is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Passed,
    /// The program says that the package holds nothing of the kind, which is so.
    SaysNone,
    /// This release has no such command.
    Absent,
}

impl Cell {
    fn shown(self) -> &'static str {
        match self {
            Self::Passed => "✓",
            Self::SaysNone => "none",
            Self::Absent => "–",
        }
    }
}

/// A table: titles of its columns, and rows.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<Cell>)>,
}

impl Table {
    fn text(&self) -> String {
        let rule = " --- |".repeat(self.columns.len() + 1);
        let mut text = format!("| {} | {} |\n|{rule}\n", self.title, self.columns.join(" | "));
        for (what, cells) in &self.rows {
            let cells: Vec<&str> = cells.iter().map(|cell| cell.shown()).collect();
            text.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
        }
        text
    }

    /// The cells with their column and row.
    fn cells(&self) -> impl Iterator<Item = (&str, &str, &'static str)> {
        self.rows.iter().flat_map(|(what, cells)| {
            let columns = self.columns.iter().zip(cells);
            columns.map(move |(column, cell)| (column.as_str(), what.as_str(), cell.shown()))
        })
    }
}

/// Compares the tables with those at the mark `name` of the page. What the page
/// says otherwise is returned, after it was written anew; where not every
/// release was tried nothing is written.
pub(crate) fn settle(name: &str, tables: &[Table], complete: bool) -> Vec<String> {
    let page = page();
    let text = std::fs::read_to_string(&page).unwrap_or_else(|err| panic!("{}: {err}", page.display()));
    let (begin, end) = (format!("<!-- matrix: {name} -->\n"), "<!-- end of the matrix -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin} in {}", page.display()));
    let (said, after) = rest.split_once(end).unwrap_or_else(|| panic!("no {end} in {}", page.display()));
    let mut differences: Vec<String> = tables
        .iter()
        .flat_map(Table::cells)
        .filter(|(column, row, cell)| cell_of(said, column, row).as_deref() != Some(cell))
        .map(|(column, row, cell)| format!("{column}: {row} is {cell}"))
        .collect();
    if complete {
        let tables: Vec<String> = tables.iter().map(Table::text).collect();
        let wanted = format!("{before}{begin}\n{}\n{end}{after}", tables.join("\n"));
        if wanted != text {
            std::fs::write(&page, &wanted).unwrap_or_else(|err| panic!("{}: {err}", page.display()));
            differences.push("the page is written anew: look at the difference".to_owned());
        }
    }
    differences
}

/// What some tables say at a column and a row.
fn cell_of(tables: &str, column: &str, row: &str) -> Option<String> {
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect() };
    tables.split("\n\n").find_map(|table| {
        let lines: Vec<Vec<String>> = table.lines().filter(|line| line.starts_with('|')).map(cells).collect();
        let at = lines.first()?.iter().position(|title| title == column)?;
        lines.iter().find(|cells| cells[0] == row)?.get(at).cloned()
    })
}

pub(crate) fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").join("docs/package-format.md")
}
