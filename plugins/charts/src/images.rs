//! The images that a chart deploys with its values, subcharts included.

use std::collections::BTreeSet;

use chart_loader::{Chart, Dependency};
use components::image::{ImageName, normalized};
use image_finder::{Defaults, Found, Node, Value};

/// The images of `chart` when `overrides` (values files, in order) are laid
/// over its own values. Those without tag and digest are unresolved; what only
/// templates could tell is left out.
pub fn of(chart: &Chart, overrides: &[Node]) -> Vec<Found> {
    let mut values = chart.values.clone();
    for file in overrides {
        values.merge(file);
    }
    let mut found = Vec::new();
    collect(chart, &values, &mut found);
    let mut seen = BTreeSet::new();
    let is_reference = |found: &Found| !found.unresolved || ImageName::parse(&found.image).is_ok();
    found.retain(|found| is_reference(found) && seen.insert(found.image.clone()));
    found
}

fn collect(chart: &Chart, values: &Node, found: &mut Vec<Found>) {
    let mut own = values.clone();
    if let Value::Map(entries) = &mut own.value {
        entries.retain(|(key, _)| !names_of_subcharts(chart).contains(key.as_str()));
    }
    found.extend(image_finder::find(&own, &Defaults { app_version: app_version(chart) }));
    for subchart in &chart.subcharts {
        let listed: Vec<&Dependency> = chart.dependencies().filter(|d| d.name == subchart.name()).collect();
        let switched_on = listed.iter().filter(|dependency| is_on(dependency, values));
        let mut names: Vec<&str> = switched_on.map(|dependency| called(dependency)).collect();
        if listed.is_empty() {
            names.push(subchart.name());
        }
        for name in names {
            collect(subchart, &values_of(subchart, name, values), found);
        }
    }
}

fn app_version(chart: &Chart) -> Option<String> {
    Some(chart.metadata.app_version.clone()).filter(|version| !version.is_empty())
}

/// Under which name the values of a dependency lie.
fn called(dependency: &Dependency) -> &str {
    if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias }
}

fn names_of_subcharts(chart: &Chart) -> BTreeSet<&str> {
    chart.dependencies().map(called).chain(chart.subcharts.iter().map(Chart::name)).collect()
}

/// What the parent says under the subchart's name, and its globals.
fn values_of(subchart: &Chart, name: &str, parent: &Node) -> Node {
    let mut values = subchart.values.clone();
    if let Some(over) = parent.get(name) {
        values.merge(over);
    }
    if let Some(global) = parent.get("global") {
        let over = Node { line: global.line, value: Value::Map(vec![("global".to_owned(), global.clone())]) };
        values.merge(&over);
    }
    values
}

/// By Helm's rules: the first condition that the values answer decides, else
/// the tags: one that is on is enough, all that are off switch off.
fn is_on(dependency: &Dependency, values: &Node) -> bool {
    let answer = |path: &str| values.at(path).and_then(Node::as_bool);
    let mut paths = dependency.condition.trim().split(',').filter(|path| !path.is_empty());
    if let Some(decided) = paths.find_map(answer) {
        return decided;
    }
    let tags: Vec<bool> = dependency.tags.iter().filter_map(|tag| answer(&format!("tags.{tag}"))).collect();
    tags.is_empty() || tags.contains(&true)
}

/// The images that a package with `packaged` images (complete spellings)
/// lacks. A tag that came from appVersion may have got or lost a `v`.
pub fn missing(images: &[String], by_app_version: &BTreeSet<String>, packaged: &BTreeSet<String>) -> Vec<String> {
    let is_there = |image: &str| packaged.contains(&normalized(image));
    let other_is_there =
        |image: &String| by_app_version.contains(image) && other_v(image).is_some_and(|other| is_there(&other));
    images.iter().filter(|image| !is_there(image) && !other_is_there(image)).cloned().collect()
}

/// Those of `untagged` of whose repositories nothing is packaged.
pub fn unknown<'a>(untagged: &'a [String], packaged: &BTreeSet<String>) -> impl Iterator<Item = &'a String> {
    let repository = |image: &str| ImageName::parse(image).map(|name| name.name()).ok();
    let there: BTreeSet<String> = packaged.iter().filter_map(|image| repository(image)).collect();
    untagged.iter().filter(move |image| !repository(image).is_some_and(|name| there.contains(&name)))
}

/// The same with or without a `v` before the tag: charts differ in whether
/// they add one to appVersion.
fn other_v(image: &str) -> Option<String> {
    let (name, tag) = image.rsplit_once(':')?;
    Some(match tag.strip_prefix('v') {
        Some(bare) => format!("{name}:{bare}"),
        None => format!("{name}:v{tag}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::packed;

    fn chart() -> Chart {
        chart_loader::load(&*packed(
            "app",
            &[
                ("Chart.yaml", "name: app\nversion: 1.0.0\nappVersion: 3.1.0\ndependencies:\n- {name: redis, version: 1.x, condition: redis.enabled}\n- {name: redis, alias: cache, version: 1.x, tags: [cache]}\n- {name: more, version: 1.x, condition: more.enabled}\n"),
                ("values.yaml", "image: {repository: org/app}\nredis: {enabled: true, image: {tag: \"8\"}}\nmore: {enabled: false, image: {repository: org/off, tag: 1}}\ntags: {cache: false}\n"),
                ("charts/redis/Chart.yaml", "name: redis\nversion: 1.0.0\n"),
                ("charts/redis/values.yaml", "image: {registry: docker.io, repository: org/redis, tag: \"7\"}\n"),
                ("charts/more/Chart.yaml", "name: more\nversion: 1.0.0\n"),
                ("charts/more/values.yaml", "image: org/off:1\n"),
            ],
        ))
        .unwrap()
    }

    fn names(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| found.image.as_str()).collect()
    }

    #[test]
    fn subcharts_count_as_far_as_they_are_switched_on() {
        assert_eq!(names(&of(&chart(), &[])), ["org/app:3.1.0", "docker.io/org/redis:8"]);
        let values = image_finder::yaml::parse("image: {tag: v9}\ntags: {cache: true}\ncache: {image: {tag: alias}}\nmore: {enabled: true}\nglobal: {imageRegistry: mirror}\nredis: {enabled: false}\n").unwrap();
        assert_eq!(
            names(&of(&chart(), &[values])),
            ["mirror/org/app:v9", "mirror/org/off:1", "mirror/org/redis:alias"]
        );
    }

    #[test]
    fn an_image_is_missing_unless_the_package_has_that_very_one() {
        let found = of(&chart(), &[]);
        let images: Vec<String> = found.iter().map(|found| found.image.clone()).collect();
        let guessed = found.into_iter().filter(|found| found.tag_from_app_version).map(|found| found.image).collect();
        let packaged = ["org/app:v3.1.0", "docker.io/org/redis:8"].map(normalized).into();
        assert_eq!(missing(&images, &guessed, &packaged), Vec::<String>::new(), "appVersion may get a v");
        assert_eq!(missing(&images, &BTreeSet::new(), &packaged), ["org/app:3.1.0"]);
        let packaged = ["org/app:3.1", "redis:8"].map(normalized).into();
        assert_eq!(missing(&images, &guessed, &packaged).len(), 2);
    }
}
