//! Guards that packages are what the real programs take: each release of Zarf,
//! helm, crane, oras and cosign work on packages of each format, and what came
//! of it is the table of docs/package-format.md; syft and grype on the SBOMs;
//! definitions that lie in a project are composed as Zarf composes them; charts
//! are rendered as helm renders them.
//!
//! `make interop` builds the programs and runs this; `make interop-cluster`
//! runs it against an API server. Words on the command line choose rows; the
//! table is then left alone.

mod charts;
mod cluster;
mod definitions;
mod far_side;
mod matrix;
mod others;
mod programs;
mod sboms;
mod server;
mod site;
mod zarf;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use matrix::{Cell, Table};
use programs::Zarf;
use site::Site;
use zarf::Column;

/// Takes the first document; takes the one it knows; takes the newest.
const RELEASES: &[&str] = &["0.75.0", "0.83.0", NEWEST];
pub(crate) const NEWEST: &str = "0.84.0";
pub(crate) const FORMATS: &[&str] = &["v1alpha1", "both", "v1beta1"];

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (name, tables) = if words.first().is_some_and(|word| word == "cluster") {
        words.remove(0);
        ("cluster", cluster::run(&words))
    } else {
        ("tools", run(&words))
    };
    let Some(tables) = tables else { return ExitCode::FAILURE };
    if !words.is_empty() {
        return ExitCode::SUCCESS;
    }
    let missing: Vec<&&str> = RELEASES.iter().filter(|release| !Zarf::is_built(release)).collect();
    if !missing.is_empty() && name == "tools" {
        println!("SKIPPED: Zarf {missing:?} was not built here");
    }
    let differences = matrix::settle(name, &tables, missing.is_empty() || name == "cluster");
    differences
        .iter()
        .rev()
        .take(10)
        .for_each(|difference| eprintln!("error: {}: {difference}", matrix::page().display()));
    if !differences.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("all is as {} says", matrix::page().display());
    ExitCode::SUCCESS
}

/// The tables; None when something failed.
fn run(words: &[String]) -> Option<Vec<Table>> {
    programs::built(&format!("zarf-{NEWEST}"));
    let begun = Instant::now();
    let tried: Vec<Tried> = std::thread::scope(|scope| {
        let running: Vec<_> = FORMATS.iter().map(|format| scope.spawn(|| of_format(format, words))).collect();
        running.into_iter().map(|thread| thread.join().expect("a format reports")).collect()
    });
    if words.is_empty() || words.iter().any(|word| word == "sboms") {
        sboms::run();
    }
    if words.is_empty() || words.iter().any(|word| word == "definitions") {
        definitions::run();
    }
    if words.is_empty() || words.iter().any(|word| word == "charts") {
        charts::run();
    }
    println!("{} s", begun.elapsed().as_secs());
    let mut columns = Vec::new();
    for release in RELEASES {
        for Tried { format, zarf, .. } in &tried {
            let cells = zarf.iter().find(|(version, _)| version == release).map(|(_, cells)| cells.clone());
            columns.extend(cells.map(|cells| (format!("Zarf {release}, `{format}`"), cells)));
        }
    }
    let rows: Vec<&str> = zarf::ROWS.iter().map(|row| row.0).collect();
    let zarf = table("with", columns, &rows)?;
    let columns = tried.into_iter().map(|Tried { format, others, .. }| (format!("`{format}`"), others)).collect();
    let rows: Vec<&str> = others::ROWS.iter().chain(far_side::ROWS).map(|row| row.0).collect();
    Some(vec![zarf, table("with", columns, &rows)?])
}

/// What came of each row; None where it failed.
pub(crate) type Cells = Vec<Option<Cell>>;

/// What came of the packages of one format.
struct Tried {
    format: &'static str,
    /// By release.
    zarf: Vec<(&'static str, Cells)>,
    others: Cells,
}

fn of_format(format: &'static str, words: &[String]) -> Tried {
    let site = Site::build(format);
    let mut zarf = Vec::new();
    for release in RELEASES.iter().copied().filter(|release| Zarf::is_built(release)) {
        let column = Column { zarf: Zarf::of(release), site: &site };
        if format == "v1beta1" && !column.zarf.is_from("0.84.0") {
            // What docs/package-format.md says of it, and no more to try.
            column.zarf.refuses(&["package", "inspect", "definition", &site.package(&column.zarf)]);
            continue;
        }
        let title = format!("zarf {release} {format}");
        let cells = zarf::ROWS.iter().map(|(what, run)| attempt(&title, what, words, || run(&column)));
        zarf.push((release, cells.collect()));
    }
    let others =
        others::ROWS.iter().chain(far_side::ROWS).map(|(what, run)| attempt(format, what, words, || run(&site)));
    Tried { format, zarf, others: others.collect() }
}

/// Runs one row; None when it fails, after saying why.
pub(crate) fn attempt(column: &str, what: &str, words: &[String], run: impl FnOnce() -> Cell) -> Option<Cell> {
    let name = format!("{column}: {what}");
    if !words.iter().all(|word| name.contains(word.as_str())) {
        return Some(Cell::Absent);
    }
    let begun = Instant::now();
    let cell = catch_unwind(AssertUnwindSafe(run)).ok();
    let seconds = begun.elapsed().as_secs_f32();
    println!("{name} ... {} ({seconds:.1} s)", cell.map_or("FAILED".to_owned(), |cell| format!("{cell:?}")));
    cell
}

/// A table of columns with their titles; None when a cell is missing.
pub(crate) fn table(title: &'static str, columns: Vec<(String, Cells)>, rows: &[&str]) -> Option<Table> {
    let of_row = |at: usize| columns.iter().map(|(_, cells)| cells[at]).collect::<Option<Vec<Cell>>>();
    let rows: Option<Vec<_>> =
        rows.iter().enumerate().map(|(at, what)| Some(((*what).to_owned(), of_row(at)?))).collect();
    Some(Table { title, rows: rows?, columns: columns.into_iter().map(|(title, _)| title).collect() })
}
