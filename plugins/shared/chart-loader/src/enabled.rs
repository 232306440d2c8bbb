//! Which charts of a chart are switched on, and with which values: Helm's
//! `ProcessDependencies` and `CoalesceValues`.

use std::collections::BTreeSet;

use image_finder::{Node, Value};
use model::version::{Constraint, Version};

use crate::{Chart, Dependency, Refusal};

/// A chart that Helm renders.
#[derive(Debug)]
pub(crate) struct Enabled<'a> {
    pub chart: &'a Chart,
    /// Where it lies: empty for the outermost, `charts/redis/` within.
    pub place: String,
    /// The same as Helm calls it, by aliases: it sorts templates by that.
    pub called: String,
    /// Its own, with what the charts around it and the user lay over them, and the
    /// values of the charts in it below their names.
    pub values: Node,
    inner: BTreeSet<&'a str>,
}

impl Enabled<'_> {
    /// Without those of the charts in it, which are not this chart's, on or off.
    pub(crate) fn own(&self) -> Node {
        let mut own = self.values.clone();
        if let Value::Map(entries) = &mut own.value {
            entries.retain(|(key, _)| !self.inner.contains(key.as_str()));
        }
        own
    }
}

/// Charts under all their names. Ours: each name of a chart may have several in
/// it, and Helm goes on until its memory ends.
const USES: u64 = 1_000;

/// The chart and all that is switched on in it, the outer ones first. `values` are
/// the chart's with the user's laid over them.
///
/// # Errors
/// Where aliases of aliases come to more charts than anybody deploys.
pub(crate) fn of(chart: &Chart, values: Node) -> Result<Vec<Enabled<'_>>, Refusal> {
    if count(chart) > USES {
        let why = format!("its subcharts, under all their aliases, are more than {USES}");
        return Err(Refusal::new(why, "use each of them under fewer names"));
    }
    let mut enabled = Vec::new();
    let tags = values.get("tags").cloned().unwrap_or_else(Node::empty);
    let root = Enabled {
        chart,
        place: String::new(),
        called: format!("{}/", chart.name()),
        values: coalesced(chart, values),
        inner: BTreeSet::new(),
    };
    enter(root, &tags, &mut enabled);
    Ok(enabled)
}

fn count(chart: &Chart) -> u64 {
    chart.subcharts.iter().fold(1, |sum, inner| {
        let names = uses(chart, inner).len() as u64;
        sum.saturating_add(names.saturating_mul(count(inner)))
    })
}

/// Under which name the values of a dependency lie.
fn called(dependency: &Dependency) -> &str {
    if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias }
}

/// Every name under which a subchart is used, with the row that says so.
fn uses<'a>(chart: &'a Chart, subchart: &'a Chart) -> Vec<(&'a str, Option<&'a Dependency>)> {
    let rows = chart.dependencies().filter(|row| row.name == subchart.name() && is_meant(row, subchart));
    let mut uses: Vec<_> = rows.map(|row| (called(row), Some(row))).collect();
    // What no row asks for is always rendered.
    if uses.is_empty() {
        uses.push((subchart.name(), None));
    }
    uses
}

fn is_meant(row: &Dependency, subchart: &Chart) -> bool {
    match (Constraint::parse(&row.version), Version::parse(subchart.version())) {
        (Some(wanted), Some(version)) => wanted.fits(&version),
        _ => true,
    }
}

/// With the values of all subcharts in their places, switched on or not: their
/// own defaults may decide a condition.
fn coalesced(chart: &Chart, mut values: Node) -> Node {
    for subchart in &chart.subcharts {
        for (name, _) in uses(chart, subchart) {
            let inner = coalesced(subchart, values_of(subchart, name, &values));
            values.set(name, inner);
        }
    }
    values
}

/// What the parent says under the subchart's name, and its globals: a subchart has
/// some, if none are in them.
fn values_of(subchart: &Chart, name: &str, parent: &Node) -> Node {
    let mut values = subchart.values.clone();
    if let Some(over) = parent.get(name).filter(|over| over.is_map()) {
        values.merge(over);
    }
    let global = parent.get("global").cloned().unwrap_or_else(Node::empty);
    if global.is_map() {
        let globals = Value::Map(vec![("global".to_owned(), global)]);
        values.merge(&Node { value: globals, ..Node::empty() });
    }
    values
}

fn enter<'a>(mut one: Enabled<'a>, tags: &Node, enabled: &mut Vec<Enabled<'a>>) {
    let chart = one.chart;
    let mut inner = Vec::new();
    for subchart in &chart.subcharts {
        for (name, row) in uses(chart, subchart) {
            if row.is_none_or(|row| is_on(row, &one.values, tags)) {
                let mut tags = tags.clone();
                under(&mut tags, subchart.values.get("tags"));
                let values = one.values.get(name).cloned().unwrap_or_else(Node::empty);
                let place = format!("{}charts/{}/", one.place, subchart.name());
                let called = format!("{}charts/{name}/", one.called);
                inner.push((Enabled { chart: subchart, place, called, values, inner: BTreeSet::new() }, tags));
            }
        }
    }
    one.inner = chart.subcharts.iter().flat_map(|subchart| uses(chart, subchart)).map(|(name, _)| name).collect();
    enabled.push(one);
    for (one, tags) in inner {
        enter(one, &tags, enabled);
    }
}

/// Adds what is not there.
fn under(values: &mut Node, defaults: Option<&Node>) {
    if let Some(defaults) = defaults {
        let mut merged = defaults.clone();
        merged.merge(values);
        *values = merged;
    }
}

/// By Helm's rules: the first condition that the values answer with a truth value
/// decides, else the tags: one that is on is enough, all that are off switch off.
/// Helm does not trim the paths. What is filled in later may switch on.
fn is_on(row: &Dependency, values: &Node, tags: &Node) -> bool {
    for path in row.condition.trim().split(',').filter(|path| !path.is_empty()) {
        match values.at(path) {
            Some(node) if node.as_bool().is_some() => return node.as_bool() == Some(true),
            Some(node) if node.is_truthy().is_none() => return true,
            _ => {}
        }
    }
    let tags: Vec<Option<bool>> = row.tags.iter().filter_map(|tag| Some(tags.get(tag)?.as_bool())).collect();
    let answers: Vec<bool> = tags.into_iter().flatten().collect();
    answers.is_empty() || answers.contains(&true)
}
