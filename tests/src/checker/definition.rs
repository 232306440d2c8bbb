//! zarf.yaml: one v1alpha1 document whose names make valid paths and whose
//! build section says what Zarf's commands ask for, and maybe a v1beta1 document
//! behind it that says the same.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde::Deserialize;
use serde_yaml::Value;

use sha2::Digest as _;

use super::Findings;

const BUNDLE: &str = "zarf.bundle.sig";

/// A definition, by the keys of its YAML.
#[derive(Debug)]
pub(super) struct Package(pub(super) Value);

impl Package {
    /// The string at a dotted path.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        path.split('.').try_fold(&self.0, |value, key| value.get(key))?.as_str()
    }

    pub(super) fn components(&self) -> &[Value] {
        list(&self.0, "components")
    }
}

/// The items of a list; none where it is absent.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
}

/// The strings of a list.
pub(super) fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    list(value, key).iter().filter_map(Value::as_str).collect()
}

/// The string of a key; empty where it is absent.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn read(bytes: &[u8], findings: &mut Findings) -> Option<Package> {
    let source = match std::str::from_utf8(bytes) {
        Ok(source) => source,
        Err(error) => {
            findings.add("definition", format!("zarf.yaml is not UTF-8: {error}"));
            return None;
        }
    };
    let documents: Result<Vec<Value>, _> = serde_yaml::Deserializer::from_str(source).map(Value::deserialize).collect();
    let package = match documents {
        Ok(mut documents) if documents.len() == 1 => Package(documents.remove(0)),
        Ok(mut documents) if documents.len() == 2 => {
            let beta = Package(documents.remove(1));
            let alpha = Package(documents.remove(0));
            check_both(&alpha, &beta, findings);
            alpha
        }
        Ok(documents) => {
            findings.add("definition", format!("zarf.yaml holds {} documents", documents.len()));
            return None;
        }
        Err(error) => {
            findings.add("definition", format!("zarf.yaml cannot be read: {error}"));
            return None;
        }
    };
    check(&package, findings);
    Some(package)
}

fn check(package: &Package, findings: &mut Findings) {
    if !matches!(package.text("apiVersion"), None | Some("" | "zarf.dev/v1alpha1")) {
        findings.add("definition", "the apiVersion is not zarf.dev/v1alpha1");
    }
    if package.text("kind") != Some("ZarfPackageConfig") {
        findings.add("definition", "the kind is not ZarfPackageConfig");
    }
    for path in ["metadata.name", "metadata.version", "metadata.architecture", "build.architecture", "build.version"] {
        if package.text(path).is_none_or(str::is_empty) {
            findings.add("definition", format!("`{path}` is missing, or not a string"));
        }
    }
    if package.text("metadata.architecture") != package.text("build.architecture") {
        findings.add("definition", "metadata and build name different architectures");
    }
    let name = package.text("metadata.name").unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.starts_with(plain) || !name.chars().all(|c| plain(c) || c == '-') {
        findings.add("definition", format!("`{name}` is not a package name"));
    }
    check_build(package, findings);
    check_names(package, findings);
    check_scalars(&package.0, "", findings);
}

/// What every Zarf finds by the same names, whichever document it takes.
fn check_both(alpha: &Package, beta: &Package, findings: &mut Findings) {
    if beta.text("apiVersion") != Some("zarf.dev/v1beta1") {
        findings.add("documents", "the second document is not zarf.dev/v1beta1");
    }
    for (one, other) in [
        ("metadata.name", "metadata.name"),
        ("metadata.version", "metadata.version"),
        ("metadata.architecture", "metadata.architecture"),
        ("metadata.aggregateChecksum", "build.aggregateChecksum"),
        ("build.timestamp", "build.timestamp"),
    ] {
        if alpha.text(one) != beta.text(other) {
            findings.add("documents", format!("`{one}` and `{other}` of v1beta1 differ"));
        }
    }
    for key in ["signed", "provenanceFiles", "versionRequirements"] {
        let said = |package: &Package| package.0.get("build").and_then(|build| build.get(key)).cloned();
        if said(alpha) != said(beta) {
            findings.add("documents", format!("`build.{key}` of the documents differs"));
        }
    }
    if alpha.components().len() != beta.components().len() {
        findings.add("documents", "the documents have different components");
    }
    for (one, other) in alpha.components().iter().zip(beta.components()) {
        let name = text(one, "name");
        let is_required = one.get("required") == Some(&Value::Bool(true));
        let is_optional = other.get("optional") == Some(&Value::Bool(true));
        if name != text(other, "name") || is_required == is_optional {
            findings.add("documents", format!("component `{name}` is another one in v1beta1"));
        }
        let names = |component: &Value, key: &str| -> Vec<String> {
            list(component, key).iter().map(|item| item.as_str().unwrap_or(text(item, "name")).to_owned()).collect()
        };
        for key in ["charts", "manifests", "images"] {
            if names(one, key) != names(other, key) {
                findings.add("documents", format!("component `{name}` has other {key} in v1beta1"));
            }
        }
        for (chart, other) in list(one, "charts").iter().zip(list(other, "charts")) {
            let path = other.get("local").map(|local| text(local, "path"));
            if !text(chart, "version").is_empty() || path != Some(text(chart, "localPath")) {
                findings.add("documents", format!("chart `{}` is looked for under two names", text(chart, "name")));
            }
        }
    }
}

fn check_build(package: &Package, findings: &mut Findings) {
    let timestamp = package.text("build.timestamp").unwrap_or_default();
    if !is_rfc1123z(timestamp) {
        findings.add("definition", format!("build.timestamp `{timestamp}` is not RFC 1123 with a numeric zone"));
    }
    let Some(build) = package.0.get("build") else { return };
    let is_signed = build.get("signed") == Some(&Value::Bool(true));
    let names_bundle = strings(build, "provenanceFiles").contains(&BUNDLE);
    let reads_bundle = list(build, "versionRequirements").iter().any(|one| text(one, "version") == "v0.71.0");
    if is_signed != names_bundle || is_signed != reads_bundle {
        findings.add("definition", "the package says in one place that it is signed, and in another that it is not");
    }
    let migrations = strings(build, "migrations");
    // A field whose migration is listed is dropped by whoever deploys.
    let uses = |field: &str| package.0.get("components").is_some_and(|components| names_key(components, field));
    let old = [("scripts-to-actions", "scripts"), ("pluralize-set-variable", "setVariable")];
    let wanted: Vec<&str> = old.iter().filter(|(_, field)| !uses(field)).map(|(name, _)| *name).collect();
    if !migrations.is_empty() && migrations != wanted {
        findings.add("definition", format!("build.migrations is {migrations:?} and should be {wanted:?}"));
    }
    for requirement in list(build, "versionRequirements") {
        let version = text(requirement, "version").trim_start_matches('v');
        if version.split('.').count() != 3 || !version.split('.').all(|part| part.parse::<u64>().is_ok()) {
            findings.add("definition", format!("the version requirement `{version}` is not a version"));
        }
    }
}

/// Whether a mapping anywhere in it has the key.
fn names_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Mapping(fields) => fields.iter().any(|(name, value)| name == key || names_key(value, key)),
        Value::Sequence(items) => items.iter().any(|item| names_key(item, key)),
        _ => false,
    }
}

/// A package that says so has a bundle about its very definition.
pub(super) fn check_signature(files: &super::Files<'_>, package: &Package, findings: &mut Findings) {
    let is_signed = package.0.get("build").and_then(|build| build.get("signed")) == Some(&Value::Bool(true));
    match (is_signed, files.get(BUNDLE)) {
        (false, None) => {}
        (true, Some(bundle)) => {
            let bundle: serde_json::Value = serde_json::from_slice(bundle).unwrap_or_default();
            let version = bundle["mediaType"].as_str().unwrap_or_default();
            let about = &bundle["messageSignature"]["messageDigest"]["digest"];
            let definition = files.get("zarf.yaml").map(sha2::Sha256::digest).unwrap_or_default();
            let expected = base64::engine::general_purpose::STANDARD.encode(definition);
            if version != "application/vnd.dev.sigstore.bundle.v0.3+json" || about.as_str() != Some(&expected) {
                findings.add("signature", "the bundle is not about zarf.yaml");
            }
        }
        _ => findings.add("signature", "the package is signed in one place and not in another"),
    }
}

/// `Fri, 21 Aug 2026 19:22:26 +0000`
fn is_rfc1123z(text: &str) -> bool {
    let fields: Vec<&str> = text.split(' ').collect();
    let [day, date, month, year, time, zone] = fields[..] else { return false };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|c| c.is_ascii_digit());
    ["Mon,", "Tue,", "Wed,", "Thu,", "Fri,", "Sat,", "Sun,"].contains(&day)
        && ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"].contains(&month)
        && digits(date, 2)
        && digits(year, 4)
        && time.split(':').count() == 3
        && time.split(':').all(|part| digits(part, 2))
        && zone.starts_with(['+', '-'])
        && digits(&zone[1..], 4)
}

/// Names become paths, and must be unique where Zarf says so.
fn check_names(package: &Package, findings: &mut Findings) {
    if package.components().is_empty() {
        findings.add("definition", "the package has no components");
    }
    let mut all = vec![package.text("metadata.version").unwrap_or_default()];
    unique("component", package.components(), findings);
    for component in package.components() {
        if component.get("import").is_some() {
            findings.add("definition", format!("component `{}` still imports another", text(component, "name")));
        }
        all.push(text(component, "name"));
        for kind in ["charts", "manifests"] {
            unique(kind, list(component, kind), findings);
            for item in list(component, kind) {
                all.extend([text(item, "name"), text(item, "version")]);
                if text(item, "name").len() > 40 {
                    findings.add("definition", format!("`{}` is longer than 40 characters", text(item, "name")));
                }
            }
        }
        for chart in list(component, "charts") {
            check_chart(chart, findings);
        }
    }
    for name in all.into_iter().filter(|name| *name == ".." || name.contains(['/', '\\'])) {
        findings.add("definition", format!("`{name}` would result in an invalid path"));
    }
}

fn check_chart(chart: &Value, findings: &mut Findings) {
    let name = text(chart, "name");
    let release = if text(chart, "releaseName").is_empty() { name } else { text(chart, "releaseName") };
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label = release.starts_with(|c: char| c.is_ascii_lowercase())
        && !release.ends_with('-')
        && release.len() <= 63
        && release.chars().all(inner);
    if !label {
        findings.add("definition", format!("chart `{name}` would be released as `{release}`, no DNS-1035 label"));
    }
    if text(chart, "namespace").is_empty() {
        findings.add("definition", format!("chart `{name}` has no namespace"));
    }
    if text(chart, "url").is_empty() == text(chart, "localPath").is_empty() {
        findings.add("definition", format!("chart `{name}` needs exactly one of url and localPath"));
    }
}

fn unique(kind: &str, items: &[Value], findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for name in items.iter().map(|item| text(item, "name")) {
        if name.is_empty() || !seen.insert(name) {
            findings.add("definition", format!("the {kind} name `{name}` is empty or used twice"));
        }
    }
}

/// A number where a string belongs is printed back in another form.
fn check_scalars(value: &Value, place: &str, findings: &mut Findings) {
    match value {
        Value::Number(number) if !place.ends_with("maxRetries") && !place.ends_with("maxTotalSeconds") => {
            findings.add("definition", format!("`{place}` is the number {number}, and should be in quotes"));
        }
        Value::Sequence(items) => items.iter().for_each(|item| check_scalars(item, place, findings)),
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                check_scalars(value, &format!("{place}.{}", key.as_str().unwrap_or("?")), findings);
            }
        }
        _ => {}
    }
}

/// The name says what the definition says. Zarf does not look, people do.
pub(super) fn check_file_name(name: &str, package: &Package, findings: &mut Findings) {
    let part = |path: &str| package.text(path).unwrap_or_default();
    let uncompressed = package.0.get("metadata").and_then(|m| m.get("uncompressed")) == Some(&Value::Bool(true));
    let extension = if uncompressed { "tar" } else { "tar.zst" };
    let or_none = |part: &str| if part.is_empty() { String::new() } else { format!("-{part}") };
    let expected = format!(
        "zarf-package-{}-{}{}{}.{extension}",
        part("metadata.name"),
        part("build.architecture"),
        or_none(part("metadata.version")),
        or_none(part("build.flavor"))
    );
    if name != expected {
        findings.add("file-name", format!("the file is called `{name}` and should be called `{expected}`"));
    }
}
