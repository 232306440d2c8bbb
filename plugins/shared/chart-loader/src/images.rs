//! The images that a chart deploys with its values, subcharts included: the one
//! reading that `build` and `scan` share.

use std::collections::BTreeSet;

use image_finder::chart::find;
use image_finder::template::{About, Helpers, Source};
use image_finder::{Doubt, Node};

use crate::archive::File;
use crate::enabled::{self, Enabled};
use crate::{Chart, Refusal};

/// An image, or what may be one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// As far as it is known.
    pub image: String,
    /// Where it is named: a file of the chart, or one that was laid over its
    /// values.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// Why it is not known; none where it is.
    pub doubt: Option<Doubt>,
}

/// The images of `chart` with values files, in order, laid over its own values;
/// each with the name that it is told by.
///
/// # Errors
/// As [`enabled::of`].
pub fn of(chart: &Chart, overrides: &[(String, Node)]) -> Result<Vec<Image>, Refusal> {
    let images = read(chart, overrides)?;
    match with_first_documents(chart) {
        Some(other) => Ok(agreed(images, read(&other, overrides)?)),
        None => Ok(images),
    }
}

/// What two readings of the same values agree on; the rest is not known.
pub fn agreed(images: Vec<Image>, others: Vec<Image>) -> Vec<Image> {
    let known = |images: &[Image]| -> BTreeSet<String> {
        images.iter().filter(|image| image.doubt.is_none()).map(|image| image.image.clone()).collect()
    };
    let (ours, theirs) = (known(&images), known(&others));
    let mut seen = BTreeSet::new();
    let all = images.into_iter().chain(others).map(|mut image| {
        if image.doubt.is_none() && !(ours.contains(&image.image) && theirs.contains(&image.image)) {
            image.doubt = Some(Doubt::Documents);
        }
        image
    });
    all.filter(|image| seen.insert((image.image.clone(), image.doubt.is_some()))).collect()
}

/// The chart as Helm 3 reads it; none where that is the same.
fn with_first_documents(chart: &Chart) -> Option<Chart> {
    fn is_other(chart: &Chart) -> bool {
        chart.first_values.is_some() || chart.subcharts.iter().any(is_other)
    }
    fn turned(mut chart: Chart) -> Chart {
        chart.values = chart.first_values.take().unwrap_or(chart.values);
        chart.subcharts = chart.subcharts.into_iter().map(turned).collect();
        chart
    }
    is_other(chart).then(|| turned(chart.clone()))
}

fn read(chart: &Chart, overrides: &[(String, Node)]) -> Result<Vec<Image>, Refusal> {
    let mut files = Names::default();
    let mut marked = chart.clone();
    mark(&mut marked, "", &mut files);
    let mut overrides = overrides.to_vec();
    overrides.iter_mut().for_each(|(name, node)| node.mark(files.add(name.clone())));
    let values = marked.values_with(overrides.iter().map(|(_, node)| node));
    let enabled = enabled::of(&marked, values)?;
    let helpers = helpers(&enabled);
    let mut seen = BTreeSet::new();
    let mut images: Vec<Image> = enabled.iter().flat_map(|one| images(one, &helpers, &mut files)).collect();
    images.retain(|image| seen.insert((image.image.clone(), image.doubt.is_some())));
    Ok(images)
}

/// Files by number.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, name: String) -> u16 {
        self.0.push(name);
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }

    fn name(&self, number: u16) -> String {
        usize::from(number).checked_sub(1).and_then(|at| self.0.get(at)).cloned().unwrap_or_default()
    }
}

/// Numbers the values of all charts.
fn mark(chart: &mut Chart, place: &str, files: &mut Names) {
    chart.values.mark(files.add(format!("{place}values.yaml")));
    for subchart in &mut chart.subcharts {
        let place = format!("{place}charts/{}/", subchart.name());
        mark(subchart, &place, files);
    }
}

/// In the order in which Helm parses them: the deepest first, and of those as deep
/// the last by name. What is parsed later replaces.
fn helpers(enabled: &[Enabled<'_>]) -> Helpers {
    let mut files: Vec<(String, &File)> = Vec::new();
    for one in enabled {
        let parsed = one.chart.templates.iter().filter(|file| is_parsed(one.chart, &file.path));
        files.extend(parsed.map(|file| (format!("{}{}", one.called, file.path), file)));
    }
    let depth = |path: &str| path.bytes().filter(|byte| *byte == b'/').count();
    files.sort_by(|(a, _), (b, _)| depth(b).cmp(&depth(a)).then_with(|| b.cmp(a)));
    let mut helpers = Helpers::default();
    for (_, file) in files {
        helpers.add(&String::from_utf8_lossy(&file.data));
    }
    helpers
}

/// Of a library Helm parses what others include.
pub(crate) fn is_parsed(chart: &Chart, path: &str) -> bool {
    chart.metadata.kind != "library" || path.rsplit('/').next().is_some_and(|name| name.starts_with('_'))
}

/// Which files the templates of a chart make resources of, as far as they say it.
struct ResourceFiles {
    /// What stands before the first wildcard, and whether there is none.
    names: Vec<(String, bool)>,
    /// A name that is not known, and no pattern that it may come from.
    any: bool,
}

impl ResourceFiles {
    fn by(chart: &Chart) -> Self {
        let mut wanted = Self { names: Vec::new(), any: false };
        for file in &chart.templates {
            wanted.add(&String::from_utf8_lossy(&file.data));
        }
        wanted
    }

    fn add(&mut self, text: &str) {
        let (mut has_glob, mut is_open) = (false, false);
        for (_, call) in text.match_indices(".Files").map(|(at, name)| text[at..].split_at(name.len())) {
            let call = call.trim_start_matches('.');
            let (function, rest) = call.split_at(call.find(|c: char| !c.is_alphanumeric()).unwrap_or(call.len()));
            if !matches!(function, "Get" | "GetBytes" | "Lines" | "Glob") {
                continue;
            }
            let rest = rest.trim_start();
            let name = rest.strip_prefix(['"', '`']).and_then(|rest| rest.split(['"', '`']).next());
            match name {
                Some(name) => {
                    let end = name.find(['*', '?', '[', '{']).filter(|_| function == "Glob");
                    self.names.push((name[..end.unwrap_or(name.len())].to_owned(), end.is_none()));
                    has_glob |= function == "Glob";
                }
                None => is_open = true,
            }
        }
        self.any |= is_open && !has_glob;
    }

    fn has(&self, path: &str) -> bool {
        let is_named =
            |(name, whole): &(String, bool)| if *whole { path == name } else { path.starts_with(name.as_str()) };
        self.any || self.names.iter().any(is_named)
    }
}

fn images(one: &Enabled<'_>, helpers: &Helpers, files: &mut Names) -> Vec<Image> {
    let chart = one.chart;
    let about = About {
        name: chart.name().to_owned(),
        version: chart.version().to_owned(),
        app_version: chart.metadata.app_version.clone(),
        imports: chart.dependencies().any(crate::Dependency::imports_values),
    };
    let texts: Vec<_> = chart.templates.iter().map(|file| (&file.path, String::from_utf8_lossy(&file.data))).collect();
    let is_rendered = |path: &str| !path.ends_with("NOTES.txt") && chart.metadata.kind != "library";
    let wanted = ResourceFiles::by(chart);
    let read = chart.files.iter().filter(|file| wanted.has(&file.path));
    let read: Vec<_> = read.map(|file| (&file.path, String::from_utf8_lossy(&file.data))).collect();
    let rendered = texts.iter().filter(|(path, _)| is_rendered(path)).chain(&read);
    let sources: Vec<Source<'_>> = rendered
        .map(|(path, text)| Source {
            file: files.add(format!("{}{path}", one.place)),
            path: path.as_str(),
            text: text.as_ref(),
            line: 1,
        })
        .collect();
    let found = find(Some(&one.own()), &about, helpers, &sources);
    let image = |found: image_finder::Found| Image {
        image: found.image,
        file: files.name(found.file),
        line: found.line,
        doubt: found.doubt,
    };
    found.into_iter().map(image).collect()
}

#[cfg(test)]
mod tests {
    use image_finder::yaml::parse;

    use super::*;
    use crate::load;

    fn chart(files: &[(&str, &str)]) -> Chart {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), data: text.as_bytes().to_vec() };
        load::from_files(&files.iter().map(file).collect::<Vec<_>>(), &mut (1 << 20)).unwrap()
    }

    fn rows(chart: &Chart, overrides: &[(String, Node)]) -> Vec<String> {
        let row = |image: Image| {
            let Image { image, file, line, doubt } = image;
            format!("{image} {file}:{line}{}", if doubt.is_some() { " ?" } else { "" })
        };
        of(chart, overrides).unwrap().into_iter().map(row).collect()
    }

    fn app() -> Chart {
        chart(&[
            (
                "Chart.yaml",
                "name: app\nversion: 1.0.0\nappVersion: 3.1.0\ndependencies:\n- {name: redis, version: 1.x, condition: redis.enabled}\n- {name: redis, alias: cache, version: 1.x, tags: [cache]}\n- {name: more, version: 1.x, condition: more.enabled}\n",
            ),
            (
                "values.yaml",
                "image: {repository: org/app}\nredis: {enabled: true, image: {tag: \"8\"}}\nmore: {enabled: false, image: {repository: org/off, tag: 1}}\ntags: {cache: false}\n",
            ),
            (
                "templates/pod.yaml",
                "image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\n",
            ),
            ("charts/redis/Chart.yaml", "name: redis\nversion: 1.0.0\n"),
            ("charts/redis/values.yaml", "image: {registry: docker.io, repository: org/redis, tag: \"7\"}\n"),
            ("charts/more/Chart.yaml", "name: more\nversion: 1.0.0\n"),
            ("charts/more/values.yaml", "image: org/off:1\n"),
        ])
    }

    #[test]
    fn subcharts_count_as_far_as_they_are_switched_on() {
        assert_eq!(
            rows(&app(), &[]),
            ["org/app:3.1.0 templates/pod.yaml:1", "docker.io/org/redis:8 charts/redis/values.yaml:1"]
        );
        let values = parse("image: {tag: v9}\ntags: {cache: true}\ncache: {image: {tag: alias}}\nmore: {enabled: true}\nredis: {enabled: false}\n").unwrap();
        assert_eq!(
            rows(&app(), &[("values/a.yaml".into(), values)]),
            [
                "org/app:v9 values.yaml:1",
                "org/off:1 values.yaml:3",
                "docker.io/org/redis:alias charts/redis/values.yaml:1"
            ]
        );
    }

    /// Helm looks at the values of all charts together, does not trim, and takes
    /// nothing but truth values.
    #[test]
    fn conditions_are_decided_as_helm_decides_them() {
        let sub = |condition: &str, own: &str, values: &str| {
            let about = format!(
                "name: app\nversion: 1.0.0\ndependencies:\n- {{name: sub, version: 1.x, condition: \"{condition}\", tags: [t]}}\n"
            );
            let own = format!("image: a/sub:1\n{own}");
            let files = [
                ("Chart.yaml", about.as_str()),
                ("values.yaml", values),
                ("charts/sub/Chart.yaml", "name: sub\nversion: 1.0.0\n"),
                ("charts/sub/values.yaml", &own),
            ];
            !rows(&chart(&files), &[]).is_empty()
        };
        for (condition, own, values, is_on) in [
            ("sub.enabled", "", "", true),
            ("sub.enabled", "", "sub: {enabled: false}", false),
            ("sub.enabled", "", "sub: {enabled: off}", false),
            ("sub.enabled", "", "sub: {enabled: 'false'}", true),
            // The subchart's own values decide where nobody else does.
            ("sub.enabled", "enabled: false\n", "", false),
            ("sub.enabled", "enabled: false\n", "sub: {enabled: true}", true),
            // ` a.enabled` is the path of nothing.
            ("missing.x, a.enabled", "", "a: {enabled: false}", true),
            ("missing.x,a.enabled", "", "a: {enabled: false}", false),
            ("a.text,a.enabled", "", "a: {text: x, enabled: false}", false),
            ("", "", "tags: {t: false}", false),
            ("a.is", "", "tags: {t: false}\na: {is: true}", true),
            // Zarf fills it in.
            ("sub.enabled", "", "sub: {enabled: \"###ZARF_VAR_X###\"}", true),
            ("global.sub", "", "global: {sub: false}", false),
        ] {
            assert_eq!(sub(condition, own, values), is_on, "{condition} with `{own}` and `{values}`");
        }
    }

    /// A subchart may say what the chart itself leaves out.
    #[test]
    fn what_a_subchart_hands_up_is_not_known() {
        let about = "name: app\nversion: 1.0.0\nappVersion: \"3\"\ndependencies:\n- {name: sub, version: 1.x, import-values: [image]}\n";
        let files = [
            ("Chart.yaml", about),
            ("values.yaml", "image: {repository: org/app}\n"),
            (
                "templates/pod.yaml",
                "image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\n",
            ),
            ("charts/sub/Chart.yaml", "name: sub\nversion: 1.0.0\n"),
            ("charts/sub/values.yaml", "exports: {image: {image: {tag: v9}}}\n"),
        ];
        let expected = ["org/app values.yaml:1 ?", "image: {tag: v9} charts/sub/values.yaml:1 ?"];
        assert_eq!(rows(&chart(&files), &[]), expected);
    }

    /// A few lines that come to a million charts.
    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let row = |at: usize| format!("- {{name: c, version: 1.x, alias: a{at}}}\n");
        let rows: String = (0..100).map(row).collect();
        let mut files = Vec::new();
        for depth in 0..4 {
            let place = "charts/c/".repeat(depth);
            let name = if depth == 0 { "app" } else { "c" };
            files.push((format!("{place}Chart.yaml"), format!("name: {name}\nversion: 1.0.0\ndependencies:\n{rows}")));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let refusal = of(&chart(&files), &[]).unwrap_err();
        assert!(refusal.why.contains("more than 1000"), "{refusal}");
    }

    /// Helm parses the deepest templates first and the last of the alphabet before
    /// the others: what is parsed last counts.
    #[test]
    fn of_two_helpers_the_one_counts_that_helm_parses_last() {
        let helper = |image: &str| format!("{{{{ define \"i\" }}}}{image}{{{{ end }}}}");
        let pod = "image: {{ include \"i\" . }}\n";
        let own = format!("{}{pod}", helper("a/own:1"));
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("templates/a/_b.tpl", "a/one:1"), ("templates/_z.tpl", "a/two:1")], "a/two:1"),
            (&[("templates/_a.tpl", "a/one:1"), ("templates/_b.tpl", "a/two:1")], "a/one:1"),
            (&[("templates/_a.tpl", " "), ("templates/_b.tpl", "a/two:1")], "a/two:1"),
            (&[("templates/_a.tpl", "a/one:1"), ("charts/s/templates/_a.tpl", "a/sub:1")], "a/one:1"),
        ];
        let find = |pod: &str, helpers: &[(&str, &str)]| {
            let mut files =
                vec![("Chart.yaml", "name: c\nversion: 1.0.0\n".to_owned()), ("templates/x.yaml", pod.to_owned())];
            files.push(("charts/s/Chart.yaml", "name: s\nversion: 1.0.0\n".to_owned()));
            files.extend(helpers.iter().map(|(path, image)| (*path, helper(image))));
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
            rows(&chart(&files), &[])
        };
        for (helpers, expected) in table {
            assert_eq!(find(pod, helpers), [format!("{expected} templates/x.yaml:1")], "{helpers:?}");
        }
        assert_eq!(find(&own, &[("templates/_b.tpl", "a/other:1")]), ["a/other:1 templates/x.yaml:1"]);
    }

    #[test]
    fn documents_that_say_different_things_are_told() {
        let values = "image: {repository: a/b, tag: \"1\"}\nside: {image: a/s:1}\n---\nimage: {tag: \"2\"}\n";
        let chart = chart(&[("Chart.yaml", "name: c\nversion: 1.0.0\n"), ("values.yaml", values)]);
        let found = rows(&chart, &[]);
        assert_eq!(found, ["a/b:2 values.yaml:1 ?", "a/s:1 values.yaml:2", "a/b:1 values.yaml:1 ?"]);
    }

    /// Whatever a file is called that a template makes a resource of.
    #[test]
    fn files_that_templates_read_are_read() {
        let files = |template: &str| {
            let pod = "spec:\n  image: a/b:{{ .Values.t }}\n";
            let files = [
                ("Chart.yaml", "name: c\nversion: 1.0.0\n"),
                ("values.yaml", "t: v1\n"),
                ("templates/x.yaml", template),
                ("files/p.conf", pod),
                ("ci/p.yaml", "image: a/ci:1\n"),
            ];
            rows(&chart(&files), &[])
        };
        let found = ["a/b:v1 files/p.conf:2"];
        assert_eq!(files("{{ tpl (.Files.Get \"files/p.conf\") . }}\n"), found);
        assert_eq!(files("{{ range $p, $_ := .Files.Glob \"files/*\" }}{{ $.Files.Get $p }}{{ end }}\n"), found);
        assert_eq!(files("{{ .Files.Get (print \"x\") }}\n").len(), 2);
        assert_eq!(files("a: b\n"), [""; 0]);
    }

    /// What the outer chart calls a helper is what the inner one gets.
    #[test]
    fn helpers_of_a_library_are_known_to_all() {
        let chart = chart(&[
            ("Chart.yaml", "name: app\nversion: 1.0.0\nappVersion: \"5\"\n"),
            ("values.yaml", "image: {registry: q.io, repository: a/b, tag: \"\"}\n"),
            (
                "templates/pod.yaml",
                "spec:\n  image: {{ template \"lib.image\" (dict \"image\" .Values.image \"chart\" .Chart) }}\n",
            ),
            ("charts/lib/Chart.yaml", "name: lib\nversion: 1.0.0\ntype: library\n"),
            (
                "charts/lib/templates/_x.tpl",
                "{{ define \"lib.image\" }}{{ .image.registry }}/{{ .image.repository }}:{{ .image.tag | default (print \"v\" .chart.AppVersion) }}{{ end }}\n",
            ),
        ]);
        assert_eq!(rows(&chart, &[]), ["q.io/a/b:v5 templates/pod.yaml:2"]);
    }
}
