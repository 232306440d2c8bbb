//! The images of one chart: what its values name, as its templates use it.
//!
//! Values say most of it in well-known words ([`crate::values`]). Which of them
//! the chart really deploys, with which tag, its templates say
//! ([`crate::template`]): a line that can be evaluated is the truth, and where one
//! cannot, the values that it mentions are in doubt. Nothing is completed by
//! habit.

use components::image::{ImageName, normalized};

use crate::template::{self, About, Helpers, Site, Source, is_at_or_below};
use crate::values::{self, Doubt, Found, has_tag, is_template};
use crate::yaml::{Node, Value};

/// Every image that the chart deploys with these values, and what may be one. None
/// where nothing is known of them.
pub fn find(values: Option<&Node>, about: &About, helpers: &Helpers, sources: &[Source<'_>]) -> Vec<Found> {
    let sites = template::sites(values, about, helpers, sources);
    let named = match values {
        Some(values) if helpers.heed_global_registry() => values::find(values),
        Some(values) => values::find(&without_registry(values)),
        None => Vec::new(),
    };
    let mut found: Vec<Found> = named.into_iter().filter_map(|named| settled(named, &sites)).collect();
    for site in &sites {
        found.extend(told(site, &found));
    }
    found
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

fn is_linked(site: &Site, named: &Found) -> bool {
    !named.path.is_empty() && site.links.iter().any(|link| is_at_or_below(link, &named.path))
}

/// What the values name, in the light of the lines that mention it; none where
/// those say all there is to say.
fn settled(named: Found, sites: &[Site]) -> Option<Found> {
    let mut linked = sites.iter().filter(|site| is_linked(site, &named)).peekable();
    if linked.peek().is_none() {
        return Some(named);
    }
    let texts: Option<Vec<&str>> = linked.map(|site| site.text.as_deref()).collect();
    match texts {
        Some(texts) if named.doubt.is_none() => texts.iter().any(|text| is_same(text, &named.image)).then_some(named),
        Some(_) => None,
        None => Some(Found { doubt: Some(named.doubt.unwrap_or(Doubt::Unfollowed)), ..named }),
    }
}

fn is_same(a: &str, b: &str) -> bool {
    normalized(a) == normalized(b)
}

/// What a line of a template says beyond that.
fn told(site: &Site, found: &[Found]) -> Option<Found> {
    let told = |image: &str, doubt: Option<Doubt>| {
        let (image, path) = (image.to_owned(), String::new());
        Some(Found { image, file: site.file, line: site.line, path, doubt })
    };
    let Some(text) = &site.text else {
        let is_listed = found.iter().any(|named| is_linked(site, named) || is_same(&named.image, &site.written));
        // In a helper or a loop, where what it is handed is among the values.
        let says_nothing = site.is_apart && site.links.is_empty() && !has_own_text(&site.written) && !found.is_empty();
        return if is_listed || says_nothing { None } else { told(&site.written, Some(Doubt::Unfollowed)) };
    };
    if found.iter().any(|named| named.doubt.is_none() && is_same(text, &named.image)) {
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
        let about = About { name: "app".into(), version: "1.0.0".into(), app_version: app_version.into() };
        let mut helpers = Helpers::default();
        helpers.add(template);
        let source = Source { file: 1, path: "templates/x.yaml", text: template };
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
}
