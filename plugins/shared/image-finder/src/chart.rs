//! The images of one chart: what its values name, as its templates use it.
//!
//! Values say most of it in well-known words ([`crate::values`]). Which of them
//! the chart really deploys, with which tag, its templates say
//! ([`crate::template`]): a line that can be evaluated is the truth, and where one
//! cannot, the values that it mentions are in doubt. Nothing is completed by
//! habit.

use std::collections::{HashMap, HashSet};

use model::image::{ImageName, normalized};

use crate::naming::{has_tag, is_template};
use crate::template::{self, About, EACH, Helpers, Site, Source};
use crate::values::{self, Doubt, Found};
use crate::yaml::{Node, Value};

/// Every image that the chart deploys with these values, and what may be one. None
/// where nothing is known of them.
pub fn find(values: Option<&Node>, about: &About, helpers: &Helpers, sources: &[Source<'_>]) -> Vec<Found> {
    let texts: Vec<Source<'_>> = values.map(texts).unwrap_or_default();
    let sources: Vec<Source<'_>> = sources.iter().copied().chain(texts).collect();
    let sites = template::sites(values, about, helpers, &sources);
    let named = match values {
        Some(values) if helpers.heed_global_registry() => values::find(values),
        Some(values) => values::find(&without_registry(values)),
        None => Vec::new(),
    };
    let mentions = mentions(&sites);
    let mut found = Listed::default();
    named.into_iter().filter_map(|named| settled(named, &mentions)).for_each(|named| found.add(named));
    for site in &sites {
        if let Some(told) = told(site, &found) {
            found.add(told);
        }
    }
    let mut found = found.all;
    if helpers.is_exhausted() {
        found.iter_mut().filter(|found| found.doubt.is_none()).for_each(|found| found.doubt = Some(Doubt::Unfollowed));
    }
    found
}

/// Every image that a document which is no chart's names, texts in it included.
pub fn in_document(root: &Node) -> Vec<Found> {
    let mut found = Listed::default();
    values::find(root).into_iter().for_each(|named| found.add(named));
    for site in template::sites(None, &About::default(), &Helpers::default(), &texts(root)) {
        if let Some(told) = told(&site, &found) {
            found.add(told);
        }
    }
    found.all
}

/// Texts in values, which are templates or what templates print.
fn texts(values: &Node) -> Vec<Source<'_>> {
    fn source(node: &Node) -> Option<Source<'_>> {
        let Value::Scalar { text, .. } = &node.value else { return None };
        Some(Source { file: node.file, path: "", text, line: node.line })
    }
    values::texts(values).into_iter().filter_map(source).collect()
}

/// The same values, without what no template of the chart looks at.
fn without_registry(values: &Node) -> Node {
    let mut values = values.clone();
    if let Value::Map(entries) = &mut values.value
        && let Some((_, global)) = entries.iter_mut().find(|(key, _)| key == "global")
        && let Value::Map(globals) = &mut global.value
    {
        globals.retain(|(key, _)| key != "imageRegistry");
    }
    values
}

/// What is found, and what of it is asked for again and again.
#[derive(Default)]
struct Listed {
    all: Vec<Found>,
    paths: HashSet<String>,
    /// In their complete spellings.
    images: HashSet<String>,
    certain: HashSet<String>,
}

impl Listed {
    fn add(&mut self, found: Found) {
        let image = normalized(&found.image);
        if found.doubt.is_none() {
            self.certain.insert(image.clone());
        }
        self.images.insert(image);
        self.paths.extend(as_items(&found.path));
        self.all.push(found);
    }
}

/// What the lines say that mention a value or something below it.
#[derive(Default)]
struct Mention {
    /// In their complete spellings.
    texts: HashSet<String>,
    /// Whether one of them is not known.
    is_open: bool,
}

/// By the path of the value.
fn mentions(sites: &[Site]) -> HashMap<&str, Mention> {
    let mut mentions: HashMap<&str, Mention> = HashMap::new();
    for site in sites {
        let text = site.text.as_deref().map(normalized);
        for path in site.links.iter().flat_map(|link| paths_to(link)) {
            let mention = mentions.entry(path).or_default();
            mention.texts.extend(text.clone());
            mention.is_open |= text.is_none();
        }
    }
    mentions
}

/// `a.b.c`, `a.b` and `a`.
fn paths_to(link: &str) -> impl Iterator<Item = &str> {
    let whole = Some(link).filter(|link| !link.is_empty());
    std::iter::successors(whole, |path| path.rsplit_once('.').map(|(outer, _)| outer))
}

/// What the values name, in the light of the lines that mention it; none where
/// those say all there is to say.
fn settled(named: Found, mentions: &HashMap<&str, Mention>) -> Option<Found> {
    let mut of_it = as_items(&named.path).into_iter().filter_map(|path| mentions.get(path.as_str())).peekable();
    if of_it.peek().is_none() {
        return Some(named);
    }
    let image = normalized(&named.image);
    let (mut is_open, mut is_said) = (false, false);
    for mention in of_it {
        is_open |= mention.is_open;
        is_said |= mention.texts.contains(&image);
    }
    if is_open {
        return Some(Found { doubt: Some(named.doubt.unwrap_or(Doubt::Unfollowed)), ..named });
    }
    (named.doubt.is_none() && is_said).then_some(named)
}

/// The path itself, and as what a loop over one of the maps above calls it.
fn as_items(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path.split('.').collect();
    let each = (1..parts.len()).filter(|at| parts[*at] != EACH).map(|at| {
        let mut parts = parts.clone();
        parts[at] = EACH;
        parts.join(".")
    });
    std::iter::once(path.to_owned()).chain(each).collect()
}

/// What a line of a template says beyond that.
fn told(site: &Site, found: &Listed) -> Option<Found> {
    let told = |image: &str, doubt: Option<Doubt>| {
        let (image, path) = (image.to_owned(), String::new());
        Some(Found { image, file: site.file, line: site.line, path, doubt })
    };
    let Some(text) = &site.text else {
        let mut paths = site.links.iter().flat_map(|link| paths_to(link));
        let is_listed =
            paths.any(|path| found.paths.contains(path)) || found.images.contains(&normalized(&site.written));
        // In a helper or a loop, where what it is handed is among the values.
        let is_apart = site.is_apart && site.links.is_empty() && !found.all.is_empty();
        let says_nothing = is_apart && !has_own_text(&site.written);
        return if is_listed || says_nothing { None } else { told(&site.written, Some(Doubt::Unfollowed)) };
    };
    if found.certain.contains(&normalized(text)) {
        return None;
    }
    let is_word = matches!(text.as_str(), "true" | "false") || text.contains(char::is_whitespace);
    match ImageName::parse(text) {
        Ok(_) if has_tag(text) || (site.is_literal && site.is_sure) => told(text, None),
        _ if !site.is_sure || (site.is_literal && is_word) => None,
        Ok(_) => told(text, Some(Doubt::NoTag)),
        Err(_) if is_template(text) => told(text, Some(Doubt::Template)),
        Err(_) => told(text, Some(Doubt::Malformed)),
    }
}

/// Whether letters stand outside of the actions.
fn has_own_text(written: &str) -> bool {
    let mut rest = written;
    loop {
        let (before, action) = rest.split_once("{{").unwrap_or((rest, ""));
        if before.contains(char::is_alphanumeric) {
            return true;
        }
        match action.split_once("}}") {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    const APP: &str = "image: \"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\"\n";

    fn rows(values: &str, template: &str, app_version: &str) -> Vec<(String, u16, Option<Doubt>)> {
        let about =
            About { name: "app".into(), version: "1.0.0".into(), app_version: app_version.into(), imports: false };
        let mut helpers = Helpers::default();
        helpers.add(template);
        let source = Source { file: 1, path: "templates/x.yaml", text: template, line: 1 };
        let found = find(Some(&parse(values).unwrap()), &about, &helpers, &[source]);
        found.into_iter().map(|found| (found.image, found.file, found.doubt)).collect()
    }

    /// Each row was a package that passed for complete and was not.
    #[test]
    fn what_a_template_makes_of_values_is_followed_or_told() {
        let row = |image: &str, file: u16, doubt: Option<Doubt>| (image.to_owned(), file, doubt);
        let table = [
            ("image: {repository: a/b, tag: v1}", APP, vec![row("a/b:v1", 0, None)]),
            ("image: {repository: a/b}", APP, vec![row("a/b:2.0", 1, None)]),
            ("image: {repository: a/b}", "x: y\n", vec![row("a/b", 0, Some(Doubt::NoTag))]),
            (
                "image: {repository: a/b}",
                "image: {{ .Values.image.repository }}:{{ default (printf \"v%s\" .Chart.AppVersion) .Values.image.tag }}\n",
                vec![row("a/b:v2.0", 1, None)],
            ),
            (
                "image: {repository: a/b, tag: v1}",
                "image: {{ .Values.image.repository }}-x:{{ .Values.image.tag }}\n",
                vec![row("a/b-x:v1", 1, None)],
            ),
            ("image: {repository: a/b, tag: 1.10}", APP, vec![row("a/b:1.10", 0, Some(Doubt::Number("1.1".into())))]),
            (
                "image: {repository: a/b, tag: v1}",
                "image: {{ .Values.image.repository }}:{{ .Values.image.tag }}{{ .Release.Name }}\n",
                vec![row("a/b:v1", 0, Some(Doubt::Unfollowed))],
            ),
            (
                "global: {imageRegistry: m.io}\nimage: {registry: q.io, repository: a/b, tag: v1}",
                "image: {{ .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}\n",
                vec![row("q.io/a/b:v1", 0, None)],
            ),
            (
                "global: {imageRegistry: m.io}\nimage: {registry: q.io, repository: a/b, tag: v1}",
                "image: {{ .Values.global.imageRegistry | default .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}\n",
                vec![row("m.io/a/b:v1", 1, None)],
            ),
            ("x: 1", "image: {{ .Values.x | default \"a/b:1\" }}\n", vec![row("1", 1, Some(Doubt::NoTag))]),
            ("x: {}", "image: {{ .Values.y | default \"a/b:1\" }}\n", vec![row("a/b:1", 1, None)]),
            (
                "x: {}",
                "image: q.io/{{ .Release.Name }}:1\n",
                vec![row("q.io/{{ .Release.Name }}:1", 1, Some(Doubt::Unfollowed))],
            ),
            ("x: {}", "env: {{ dict \"i\" \"a/b:1\" | toYaml }}\n", vec![row("a/b:1", 1, Some(Doubt::Unfollowed))]),
            ("x: {}", "- image: busybox\n- image: {{ .Values.z }}\n", vec![row("busybox", 1, None)]),
            (
                "image: {repository: a/b}",
                "{{ range .Values.l }}\nimage: {{ .image }}\n{{ end }}\n",
                vec![row("a/b", 0, Some(Doubt::NoTag))],
            ),
        ];
        for (values, template, expected) in table {
            assert_eq!(rows(values, template, "2.0"), expected, "{values}: {template}");
        }
        assert_eq!(rows("image: {repository: a/b}", APP, "1.0+x"), [row("a/b:1.0+x", 1, Some(Doubt::Malformed))]);
    }

    /// Whatever a template changes of the values, no other line is sure of them.
    #[test]
    fn values_that_are_changed_somewhere_are_in_doubt() {
        const USE: &str = "\nimage: {{ .Values.image.repository }}:{{ .Values.image.tag | default \"old\" }}\n";
        let by_helper =
            |call: &str, body: &str| format!("{{{{ define \"s\" }}}}{body}{{{{ end }}}}{{{{ include \"s\" {call} }}}}");
        for (changes, tag) in [
            ("{{ if (merge .Values.image (dict \"tag\" \"v2\")) }}x{{ end }}".to_owned(), ""),
            (
                "{{ if and .Values.x (mergeOverwrite .Values.image (dict \"tag\" \"v2\")) }}x{{ end }}".to_owned(),
                "tag: v1",
            ),
            ("{{ if .Values.no }}{{ else if set .Values.image \"tag\" \"v2\" }}x{{ end }}".to_owned(), "tag: v1"),
            (
                "{{ with .Values.no }}{{ else with .Values.image }}{{ $_ := set . \"tag\" \"v2\" }}{{ end }}"
                    .to_owned(),
                "tag: v1",
            ),
            ("{{ range $k, $v := merge .Values.image (dict \"tag\" \"v2\") }}{{ end }}".to_owned(), ""),
            ("{{ with merge .Values.image .Values.other }}{{ .tag }}{{ end }}".to_owned(), ""),
            ("{{ $_ := dict \"tag\" \"v2\" | merge .Values.image }}".to_owned(), ""),
            ("{{ $_ := dict \"tag\" \"v2\" | mergeOverwrite .Values.image }}".to_owned(), "tag: v1"),
            ("{{ $_ := set (index .Values \"image\") \"tag\" \"v2\" }}".to_owned(), "tag: v1"),
            ("{{ $_ := set (get .Values \"image\") \"tag\" \"v2\" }}".to_owned(), "tag: v1"),
            ("{{ $_ := set (dig \"image\" (dict) .Values) \"tag\" \"v2\" }}".to_owned(), "tag: v1"),
            ("{{ $i := index .Values .Values.name }}{{ $_ := set $i \"tag\" \"v2\" }}".to_owned(), "tag: v1"),
            ("{{ range .Values }}{{ $_ := set . \"tag\" \"v2\" }}{{ end }}".to_owned(), "tag: v1"),
            ("{{ range (list .Values.image) }}{{ $_ := set . \"tag\" \"v2\" }}{{ end }}".to_owned(), "tag: v1"),
            (by_helper("(dict \"i\" .Values.image)", "{{ $i := .i }}{{ $_ := set $i \"tag\" \"v2\" }}"), "tag: v1"),
            (by_helper(".Values.image", "{{ $_ := merge . (dict \"tag\" \"v2\") }}"), ""),
            (by_helper("(dict \"i\" .Values.image \"o\" .Values.other)", "{{ $_ := merge $.i $.o }}"), ""),
            ("{{ tpl .Values.text . }}".to_owned(), "tag: v1"),
        ] {
            let values =
                format!("image: {{repository: a/b, {tag}}}\nother: {{tag: v3}}\nname: image\nx: 1\ntext: ''\n");
            let values = match changes.contains("tpl") {
                true => values.replace("text: ''", "text: '{{ $_ := set .Values.image \"tag\" \"v2\" }}'"),
                false => values,
            };
            let rows = rows(&values, &format!("{changes}{USE}"), "2.0");
            assert!(rows.iter().all(|(_, _, doubt)| doubt.is_some()) && !rows.is_empty(), "{changes}: {rows:?}");
        }
        // What is filled in for one block that block sees; what is there nobody fills;
        // and a copy is another one.
        for (changes, expected) in [
            ("{{ with merge .Values.image .Values.other }}\nimage: {{ .repository }}:{{ .tag }}\n{{ end }}", "a/b:v3"),
            (
                "{{ if merge .Values.labels .Values.other }}{{ end }}\nimage: {{ .Values.image.repository }}:v1",
                "a/b:v1",
            ),
            (
                "{{ $_ := merge (deepCopy .Values.image) .Values.other }}\nimage: {{ .Values.image.repository }}:v1",
                "a/b:v1",
            ),
        ] {
            let rows = rows("image: {repository: a/b}\nother: {tag: v3}\nlabels: {}\n", changes, "2.0");
            assert!(rows.contains(&(expected.to_owned(), 1, None)), "{changes}: {rows:?}");
        }
    }

    /// Each row was passed over in silence, or told as another image.
    #[test]
    fn whatever_style_a_template_has_its_images_are_listed_or_told() {
        let test = "metadata:\n  name: t\n  labels:\n    {{- include \"l\" . | nindent 4 }}\n  annotations:\n    \"helm.sh/hook\": test\nspec: {image: a/t:1}\n";
        let in_branch = "metadata:\n  annotations:\n    {{ if .Release.IsUpgrade }}\n    \"helm.sh/hook\": test\n    {{ end }}\nspec:\n  image: a/b:1\n";
        let in_text =
            "data:\n  x: |\n    metadata:\n      annotations:\n        \"helm.sh/hook\": test\n  image: a/b:1\n";
        let table: &[(&str, &str, &[&str])] = &[
            ("", "containers: [{name: a, image: a/b:1}]", &["a/b:1"]),
            ("t: v1", "containers: [{image: 'a/b:{{ .Values.t }}', name: x}, {image: a/c:1}]", &["a/b:v1", "a/c:1"]),
            ("", "{\"containers\":[{\"name\":\"a\",\"image\":\"a/b:1\"}]}", &["a/b:1"]),
            (
                "",
                "[\n  {\n    \"image\": \"a/b:1\",\n    \"args\": [\n      \"--x-image\",\n      \"a/c:2\"\n    ]\n  }\n]",
                &["a/b:1", "a/c:2"],
            ),
            ("", "image:\n  a/b:1", &["a/b:1"]),
            ("i: a/b:1", "image: >-\n  {{ .Values.i }}", &["a/b:1"]),
            ("", "image:\n  {{ if lookup }}\n  a/b:1\n  {{ else }}\n  a/c:1\n  {{ end }}", &["a/b:1", "a/c:1"]),
            ("", "image: !!str a/b:1", &["a/b:1"]),
            ("", "- image: &i a/b:1\n- image: *i", &["a/b:1"]),
            ("", "x: &i a/b:1\nimage: *i", &["*i ?"]),
            ("", "? image\n: a/b:1", &["a/b:1"]),
            ("k: image", "{{ .Values.k }}: x:1", &["x:1"]),
            ("", "{{ $a := \"im\" }}\n{{ $a }}age: a/b:1", &["a/b:1"]),
            ("", "{{ .Release.Name }}: a/b:1", &["a/b:1 ?"]),
            ("", "image:\n  reference: a/b:1", &["a/b:1"]),
            ("t: v1", "image:\n  repository: a/b\n  tag: {{ .Values.t }}\n  pullPolicy: x\ny: z", &["a/b:v1"]),
            ("", "image:\n  type: string\n  description: it", &[]),
            ("", "args: [\"--image\",\"a/b:1\"]", &["a/b:1"]),
            ("", "args: [\"x\", \"--image=a/b:1\"]", &["a/b:1"]),
            ("r: a/b", "- {{ printf \"--image=%s:%s\" .Values.r \"1\" }}", &["a/b:1"]),
            ("", "- >-\n  --image=a/b:1", &["a/b:1"]),
            ("", "- --images=a/b:1,a/c:2", &["a/b:1", "a/c:2"]),
            ("", "- --image-repository=a/b", &["a/b ?"]),
            ("", "- --image-pull-policy={{ .Release.Name }}", &[]),
            ("", "- --set=agent.image=a/b:1", &["a/b:1 ?"]),
            ("", "- value: a/b:1\n  name: RELATED_IMAGE_X", &["a/b:1"]),
            ("", "env: [{name: A, value: a/x:1}, {name: B_IMAGE, value: a/b:1}]", &["a/b:1"]),
            ("", "x.toml: |\n  image = \"a/b:1\"", &["a/b:1 ?"]),
            ("", "args: [\"kubectl set image deploy/x app=a/b:1\"]", &["a/b:1"]),
            ("", "- kubectl\n- set\n- image\n- deploy/x\n- app=a/b:1\nx:\n- y=a/c:1", &["a/b:1"]),
            ("", "x: |\n  oc set image dc/x \\\n    app=a/b:1 b=$I\n  c=a/c:1", &["a/b:1", "$I ?"]),
            (
                "t: v1",
                "- kubectl set image x a=a/b:{{ .Values.t }} c={{ .Release.Name }}:1",
                &["a/b:v1", "kubectl set image x a=a/b:{{ .Values.t }} c={{ .Release.Name }}:1 ?"],
            ),
            ("", "x: |\n  docker pull a/b:1; docker run -p 80:80 a/c:1", &["a/b:1 ?", "a/c:1 ?"]),
            ("x: kubectl set image deploy/x a=a/b:1", "{{ .Values.x }}", &["a/b:1"]),
            ("image: {repository: a/b, tag: \"v1\\n\"}", APP, &["a/b:v1 ?"]),
            ("", "image:\n  repository: |\n    a/b\n  tag: v1", &["a/b ?"]),
            ("", "image:\n  repository: a/b\n  tag:\n    v1", &["a/b ?"]),
            ("", "{{ printf \"image: %s\" .Release.Name }}", &["image: %s ?"]),
            ("", "{{ dict \"image\" .Release.Name | toYaml }}", &["image ?"]),
            ("", "{{ fail \"image: a/b:1\" }}\n{{ required \"image: a/b:1\" .Values.x }}", &[]),
            ("x: |\n  - name: a\n    image: a/b:{{ .Values.t }}\nt: v1", "{{ tpl .Values.x . }}", &["a/b:v1"]),
            ("x: '[{image: a/b:1}]'", "c: {{ .Values.x }}", &["a/b:1"]),
            ("", test, &[]),
            ("", &format!("{test}---\nspec:\n  image: a/b:1\n"), &["a/b:1"]),
            ("", "# \"helm.sh/hook\": test\nimage: a/b:1", &["a/b:1"]),
            ("", in_branch, &["a/b:1"]),
            ("", in_text, &["a/b:1"]),
            ("t: 1", "{{ $_ := set .Values \"t\" \"9\" }}\nimage: a/b:{{ .Values.t }}", &["a/b:{{ .Values.t }} ?"]),
            (
                "",
                "{{ $_ := merge .Values (dict \"t\" \"9\") }}\nimage: a/b:{{ .Values.t | default \"1\" }}",
                &["a/b:{{ .Values.t | default \"1\" }} ?"],
            ),
            ("t: v1", "{{ $_ := merge .Values (dict \"t\" \"9\") }}\nimage: a/b:{{ .Values.t }}", &["a/b:v1"]),
            (
                "i: {t: v1}",
                "{{ with .Values.i }}{{ $_ := set . \"t\" \"9\" }}{{ end }}\nimage: a/b:{{ .Values.i.t }}",
                &["a/b:{{ .Values.i.t }} ?"],
            ),
            (
                "t: v1",
                "{{ range .Values.l }}{{ $_ := set $.Values \"t\" \"9\" }}{{ end }}\nimage: a/b:{{ .Values.t }}",
                &["a/b:v1"],
            ),
            (
                "t: v1",
                "{{ define \"s\" }}{{ $_ := set .v \"t\" \"9\" }}{{ end }}\nimage: a/b:{{ .Values.t }}",
                &["a/b:{{ .Values.t }} ?"],
            ),
        ];
        for (values, template, expected) in table {
            let found = rows(values, template, "");
            let found: Vec<String> = found
                .into_iter()
                .map(|(image, _, doubt)| format!("{image}{}", if doubt.is_some() { " ?" } else { "" }))
                .collect();
            assert_eq!(found, *expected, "{values}: {template}");
        }
    }

    #[test]
    fn a_line_of_a_text_in_values_is_the_one_in_the_file() {
        let values = parse("a: 1\nx: |\n  - name: a\n    image: a/b:1\n").unwrap();
        assert_eq!(in_document(&values).iter().map(|found| found.line).collect::<Vec<_>>(), [4]);
    }

    /// More than any chart needs is not followed to its end, and nothing is for sure.
    #[test]
    fn work_without_end_is_not_done() {
        let body = "{{ .Values.a }}".repeat(50_000);
        let lines = "image: {{ include \"x\" . }}\n".repeat(1_000);
        let found = rows("image: a/b:1", &format!("{{{{ define \"x\" }}}}{body}{{{{ end }}}}\n{lines}"), "");
        assert!(found.iter().all(|(.., doubt)| doubt.is_some()), "{:?}", found.first());
    }
}
