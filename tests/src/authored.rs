//! Pipelines whose zarf.yaml somebody else writes.

use serde_json::{Value, json};

use crate::digest::sha256_file;
use crate::project::{self, Project};

/// Has these files, zarf.yaml among them, take the place of what the product
/// composes.
///
/// # Panics
/// Where the guest `authors` was not built.
pub fn author(project: &Project, files: &Value) {
    let component = project::target_folder().parent().expect("target/ has profiles").join("test-guests/authors.wasm");
    project.write("plugins/authors.wasm", std::fs::read(&component).expect("`make plugins` builds the guests"));
    let pin = json!({ "path": "plugins/authors.wasm", "sha256": sha256_file(&component) });
    project.write("config/plugins.lock", json!({ "format": 1, "plugins": { "authors": pin } }).to_string());
    project.write("config/pipeline.yaml", pipeline("authors", &json!({ "files": files })));
}

/// The built-in pipeline with another author of zarf.yaml.
pub fn pipeline(plugin: &str, configuration: &Value) -> String {
    let step = |id: &str, run: Value, needs: &[&str]| json!({ "id": id, "name": id, "run": run, "needs": needs, "on_failure": "roll-back" });
    let fetched = ["manifests", "images", "files", "repos", "charts"];
    let mut manifests = step("manifests", json!({ "plugin": "manifest" }), &["config"]);
    manifests["publish"] = json!([
        { "from": "components.yaml", "to": "config" }, { "from": "components.base.yaml", "to": "config" },
    ]);
    let mut definition = step("zarf_gen", json!({ "plugin": plugin }), &fetched);
    definition["configuration"] = configuration.clone();
    let sbom = step("sbom", json!({ "plugin": "sbom" }), &[&fetched[..], &["zarf_gen"]].concat());
    let mut package = step("package", json!({ "plugin": "package" }), &[&fetched[..], &["zarf_gen", "sbom"]].concat());
    let published = ["*.tar.zst", "*.tar", "*.sha256", "*.manifest.json", "artifact-manifest.json", "*.spdx.json"];
    package["publish"] = published.map(|from| json!({ "from": from, "to": "dist" })).into();
    let mut steps = vec![step("config", json!({ "host": "config" }), &[]), manifests];
    steps.extend(["images", "files", "repos"].map(|id| step(id, json!({ "host": id }), &["manifests"])));
    steps.push(step("charts", json!({ "plugin": "charts" }), &["manifests"]));
    steps.extend([definition, sbom, package]);
    json!({ "steps": steps }).to_string()
}
