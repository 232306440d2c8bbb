//! The page for people: what is there, and the commands to use it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::html::{LONGEST, escaped, page};
use super::images::spelled;
use super::library::{Carried, Library};
use super::path::encoded;
use base::progress::text;

/// The page at `/`. `base` is the address of this server.
pub(super) fn home(library: &Library, base: &str) -> String {
    let mut body = String::new();
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    for package in &library.packages {
        let _ = writeln!(
            body,
            "<p>{} {} for {}, {}, from <code>{}</code></p>",
            escaped(&package.name),
            escaped(&package.version),
            escaped(&package.architecture),
            text::bytes(package.size),
            escaped(&package.package)
        );
    }
    images(&mut body, library, host);
    charts(&mut body, library, base, host);
    files(&mut body, library, base);
    repositories(&mut body, library, base);
    page("What this package serves", &body)
}

/// The same for programs.
pub(super) fn data(library: &Library, base: &str) -> Value {
    let packages: Vec<Value> = library
        .packages
        .iter()
        .map(
            |package| json!({ "name": package.name, "version": package.version, "architecture": package.architecture }),
        )
        .collect();
    let carried: Vec<Carried> = library.carried().into_iter().filter(|carried| !carried.is_chart).collect();
    let images: Vec<Value> = carried
        .iter()
        .map(|carried| {
            let name = format!("{}/{}", carried.registry, carried.path);
            json!({ "name": name, "tag": carried.tag, "digest": carried.digest })
        })
        .collect();
    let charts = library.charts.list().map(|(name, version)| json!({ "name": name, "version": version }));
    let files = library
        .files
        .list()
        .map(|(path, size)| json!({ "url": format!("{base}/files/{}", encoded(path)), "size": size }));
    let repositories = library.repositories.names();
    let repositories = repositories.map(|name| json!({ "url": format!("{base}/git/{}", encoded(name)) }));
    json!({
        "packages": packages,
        "images": images,
        "charts": charts.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "repositories": repositories.collect::<Vec<_>>(),
    })
}

fn images(body: &mut String, library: &Library, host: &str) {
    let carried: Vec<Carried> = library.carried().into_iter().filter(|carried| !carried.is_chart).collect();
    let Some(first) = carried.first() else { return };
    body.push_str("<h2>Images</h2>\n");
    commands(body, &[format!("skopeo copy docker://{host}/{} dir:image", spelled(&first.name()))]);
    body.push_str("<table>\n");
    for carried in carried.iter().take(LONGEST) {
        let (name, digest) = (escaped(&carried.name()), carried.digest);
        let _ = writeln!(body, "<tr><td><code>{name}</code></td><td><code>{digest}</code></td></tr>");
    }
    body.push_str("</table>\n");
}

fn charts(body: &mut String, library: &Library, base: &str, host: &str) {
    let rows: Vec<(&str, &str)> = library.charts.list().collect();
    if rows.is_empty() {
        return;
    }
    body.push_str("<h2>Charts</h2>\n");
    let pull = |(name, version)| format!("helm pull oci://{host}/charts/{name} --version {version}");
    let first = library.charts.artifacts().next().map(pull);
    let lines = first.into_iter().chain([format!("helm repo add carried {base}/charts/")]);
    commands(body, &lines.collect::<Vec<_>>());
    list(body, rows.iter().map(|(name, version)| format!("{} {}", escaped(name), escaped(version))));
}

fn files(body: &mut String, library: &Library, base: &str) {
    let rows: Vec<(&str, u64)> = library.files.list().collect();
    let Some((first, _)) = rows.first() else { return };
    body.push_str("<h2>Files</h2>\n");
    commands(body, &[format!("curl -fO {base}/files/{}", encoded(first))]);
    let link = |path: &str| format!("<a href=\"/files/{}\">{}</a>", escaped(&encoded(path)), escaped(path));
    list(body, rows.iter().map(|(path, size)| format!("{} {}", link(path), text::bytes(*size))));
}

fn repositories(body: &mut String, library: &Library, base: &str) {
    let rows: Vec<&str> = library.repositories.names().collect();
    let Some(first) = rows.first() else { return };
    body.push_str("<h2>Repositories</h2>\n");
    commands(body, &[format!("git clone {base}/git/{}", encoded(first))]);
    list(body, rows.iter().map(|name| escaped(name)));
}

fn commands(body: &mut String, commands: &[String]) {
    let commands: Vec<String> = commands.iter().map(|command| escaped(command)).collect();
    let _ = writeln!(body, "<pre>{}</pre>", commands.join("\n"));
}

/// Rows that are HTML already.
fn list(body: &mut String, rows: impl Iterator<Item = String>) {
    body.push_str("<ul>\n");
    for row in rows.take(LONGEST) {
        let _ = writeln!(body, "<li>{row}</li>");
    }
    body.push_str("</ul>\n");
}
