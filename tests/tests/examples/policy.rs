//! Guards the example `policy`: what a site does not want keeps the package from being
//! made, each image and chart in a row of its own, and what it wants is packaged.

use airgap_tests::charts;
use airgap_tests::file_server::FileServer;
use airgap_tests::images::{Image, tar_of};
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

use crate::{build_python, example, has, shell};

fn add(site: &Project, configuration: &Value) {
    let step = json!({
        "id": "policy", "run": { "plugin": "policy" }, "needs": ["manifests", "charts"], "before": "package",
        "configuration": configuration,
    });
    site.write("config/pipeline.yaml", json!({ "additional_steps": [step] }).to_string());
}

/// Two charts, one of which names a licence, and two images.
fn site(registry: &Registry, files: &FileServer) -> Project {
    let chart = |name: &str, more: &str| {
        let text = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n{more}");
        charts::gzip(&tar_of(&[(&format!("{name}/Chart.yaml"), text.as_bytes())]))
    };
    let free = chart("free", "annotations:\n  artifacthub.io/license: MIT OR BUSL-1.1\n");
    let silent = chart("silent", "");
    let rows = [("free", "1.0.0", "free-1.0.0.tgz", &free), ("silent", "1.0.0", "silent-1.0.0.tgz", &silent)];
    files.put(
        "/charts/index.yaml",
        charts::index(&rows.map(|(name, version, path, bytes)| (name, version, path, bytes.as_slice()))),
    );
    files.put("/charts/free-1.0.0.tgz", free);
    files.put("/charts/silent-1.0.0.tgz", silent);
    registry.push("team/app:1.0", &Image::small(1, 1_000));
    registry.push("team/tool:latest", &Image::small(2, 1_000));
    let repo = files.url("/charts");
    let mut site = Project::new().with_registry(&registry.host()).with_file_server(&files.host());
    for name in ["app:1.0", "tool:latest"] {
        site = site.with_image(registry.reference(&format!("team/{name}")));
    }
    for name in ["free", "silent"] {
        site = site.with_chart(json!({ "name": name, "repo": repo, "version": "1.0.0" }));
    }
    site
}

#[test]
fn policy_refuses_what_a_site_does_not_want() {
    if !has("python3") {
        return;
    }
    let (_project, folder) = example("policy", "python");
    shell(&folder, "rm listing.py test_listing.py && python3 -m unittest", &[]);
    shell(&folder, "python3 -m venv .venv && .venv/bin/pip install -q --target vendor pyyaml==6.0.3", &[]);
    build_python(&folder, "policy.wasm", "-p . -p vendor");

    let (registry, files) = (Registry::start(), FileServer::start());
    let site = site(&registry, &files);
    site.write("plugins/policy.wasm", std::fs::read(folder.join("policy.wasm")).unwrap());
    site.run(&["plugin", "add", "plugins/policy.wasm"]).success();
    add(&site, &json!({ "registries": ["registry.example.com"], "licenses": ["Apache-2.0", "MIT"] }));
    let host = registry.host();
    let run = site.run(&["build"]).code(1).says(&[
        "3 of 4 images and charts are not allowed",
        &format!("image {host}/team/app:1.0"),
        &format!("comes from `{host}/team/app`, which is below none of registry.example.com"),
        "has the tag `latest`: it may be another image tomorrow",
        "chart silent 1.0.0",
        "names no licence",
    ]);
    run.never_says("chart free");
    assert_eq!(site.packages(), Vec::<std::path::PathBuf>::new());

    add(&site, &json!({ "registries": [format!("{host}/team")], "mutable_tags": [] }));
    site.run(&["build", "--clean"]).success();
    let report: Value = serde_json::from_str(&site.read("build/steps/policy/policy.json")).unwrap();
    assert_eq!(report["charts"], json!(["free 1.0.0", "silent 1.0.0"]));
    assert_eq!(report["images"].as_array().unwrap().len(), 2);
}
