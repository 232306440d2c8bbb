//! Guards what a definition imports from registries: skeleton packages are fetched
//! before a build begins, locked by their digest, laid under what imports of them,
//! and refused where they are not what they have to be.

use airgap_tests::images::Image;
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::skeletons::{Skeleton, tar_called};
use serde_json::json;

/// A skeleton as Zarf publishes one of a component with files of every kind.
fn shared() -> Skeleton {
    Skeleton::new(
        "- name: base\n  description: as it was published\n  required: true\n  charts:\n  - name: local\n    version: 0.1.0\n    \
         localPath: charts/local-0\n    namespace: n\n    valuesFiles:\n    - values/local-0.1.0-0\n  manifests:\n  - name: m\n    \
         files:\n    - manifests/m-0.yaml\n  files:\n  - source: files/0/f.txt\n    target: f.txt\n  - source: files/1/run.sh\n    \
         target: run.sh\n    executable: true\n- name: other\nvariables:\n- name: SITE\n  default: here\n",
    )
    .with(
        "base",
        &[
            ("charts/local-0/Chart.yaml", "apiVersion: v2\nname: local\nversion: 0.1.0\n"),
            ("charts/local-0/templates/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
            ("values/local-0.1.0-0", "replicas: 7\n"),
            ("manifests/m-0.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: published}\n"),
            ("files/0/f.txt", "first\n"),
            ("files/1/run.sh", "#!/bin/sh\n"),
        ],
    )
    .with_layer("checksums.txt", b"none looks at them\n".to_vec())
}

/// A project that imports `url`, in a folder of its own and by way of a path.
fn importing(registry: &Registry, url: &str) -> Project {
    let project = Project::bare().with_settings(|settings| {
        *settings = json!({
            "definition": "deploy/zarf.yaml", "retries": { "backoff": 0.05 },
            "registries": { registry.host(): { "plain_http": true } },
        });
    });
    project.write(
        "deploy/zarf.yaml",
        format!(
            "kind: ZarfPackageConfig\nmetadata: {{name: site, version: '1'}}\ncomponents:\n- name: mine\n  import: {{path: parts}}\n\
             - name: other\n  import: {{url: '{url}'}}\n  files: [{{source: own.txt, target: own.txt}}]\n"
        ),
    );
    project.write(
        "deploy/parts/zarf.yaml",
        format!("kind: ZarfPackageConfig\nmetadata: {{name: p}}\ncomponents:\n- name: mine\n  import: {{url: '{url}', name: base}}\n  charts: [{{name: local, namespace: mine}}]\n"),
    );
    project.write("deploy/own.txt", "own\n");
    project
}

/// Its files are in the package, the lock holds its manifest, and from then on
/// neither the tag nor the network means anything.
#[test]
fn a_skeleton_is_fetched_locked_and_built() {
    let registry = Registry::start();
    let digest = shared().push(&registry, "team/shared:1.0.0");
    let url = format!("oci://{}", registry.reference("team/shared:1.0.0"));
    let project = importing(&registry, &url);
    // What nobody has fetched is told, and nothing is done about it.
    project.run(&["status"]).success().prints(&["not fetched yet", &url]);
    let plan = project.run(&["build", "--plan"]).success().prints(&["1 skeleton", "The definition imports", &url]);
    assert!(!project.exists("build/imports") && !project.exists("config/airgap.lock"), "{plan}");
    project.run(&["build", "--locked"]).code(3).says(&["does not hold this skeleton", &url]);
    project.run(&["build", "--offline"]).code(1).says(&["airgap.lock does not say what it is", &url]);
    assert!(!project.exists("config/airgap.lock"));
    project.build();
    let lock = project.read("config/airgap.lock");
    assert!(lock.contains(&format!("{url}:\n    sha256: {digest}")), "{lock}");
    let package = Package::open(&project.package());
    let mine = package.nested("components/mine.tar");
    assert_eq!(mine["mine/files/0/f.txt"], b"first\n");
    assert_eq!(mine["mine/values/local-0.1.0-0"], b"replicas: 7\n");
    assert!(mine.contains_key("mine/charts/local-0.1.0.tgz"), "{:?}", mine.keys());
    assert!(String::from_utf8_lossy(&mine["mine/manifests/m-0.yaml"]).contains("published"));
    assert_eq!(package.nested("components/other.tar")["other/files/0/own.txt"], b"own\n");
    let definition = package.definition();
    assert_eq!(definition["components"][0]["description"], "as it was published");
    assert_eq!(definition["variables"][0]["default"], "here");
    let first = std::fs::read(project.package()).unwrap();
    project.run(&["build", "--locked"]).success().prints(&["Nothing to do"]);
    project.run(&["gc"]).success();
    // The tag moves: only `update` takes what it names now.
    let moved = shared().with("other", &[("files/x", "x")]).push(&registry, "team/shared:1.0.0");
    project.run(&["build", "--clean", "--locked"]).success();
    std::fs::remove_dir_all(project.path("build/imports")).unwrap();
    project.run(&["build", "--clean", "--locked", "--offline"]).success();
    assert!(first == std::fs::read(project.package()).unwrap(), "the same lock gives the same package");
    project.run(&["update", "team/shared"]).success().prints(&["~", &url]);
    let lock = project.read("config/airgap.lock");
    assert!(lock.contains(&moved) && !lock.contains(&digest), "{lock}");
    project.run(&["build"]).success();
    project.run(&["update"]).success().prints(&["Everything is as"]);
    project.run(&["gc"]).success().prints(&["removed the skeleton"]);
    // What is imported no more goes from the lock.
    project
        .write("deploy/parts/zarf.yaml", "kind: ZarfPackageConfig\nmetadata: {name: p}\ncomponents: [{name: mine}]\n");
    project.write("deploy/zarf.yaml", "kind: ZarfPackageConfig\nmetadata: {name: site, version: '1'}\ncomponents: [{name: own, files: [{source: own.txt, target: o}]}]\n");
    project.run(&["build"]).success();
    assert!(!project.read("config/airgap.lock").contains("oci://"));
}

/// What was changed in build/imports is no part of any package.
#[test]
fn an_unpacked_skeleton_that_was_changed_is_unpacked_again() {
    let registry = Registry::start();
    let digest = shared().push(&registry, "team/shared:1.0.0");
    let url = format!("oci://{}", registry.reference("team/shared:1.0.0"));
    let project = importing(&registry, &url);
    project.build();
    let first = std::fs::read(project.package()).unwrap();
    let file = format!("build/imports/{}/base/files/0/f.txt", digest.trim_start_matches("sha256:"));
    project.write(&file, "other\n");
    registry.untag("team/shared:1.0.0");
    project.run(&["gc"]).code(3).says(&["not fetched yet", &url]);
    project.run(&["build", "--clean", "--offline"]).success();
    assert_eq!(project.read(&file), "first\n");
    assert!(first == std::fs::read(project.package()).unwrap());
}

/// A digest in the address is held to, and a blob that is not what the manifest
/// says is not taken.
#[test]
fn a_skeleton_is_what_its_digest_says() {
    let registry = Registry::start();
    let digest = shared().push(&registry, "team/shared:1.0.0");
    let at = |digest: &str| format!("oci://{}@{digest}", registry.reference("team/shared"));
    importing(&registry, &at(&digest)).build();
    let absent = format!("sha256:{}", "0".repeat(64));
    importing(&registry, &at(&absent)).run(&["build"]).code(1).says(&["the import oci://", &absent]);
    let url = format!("oci://{}", registry.reference("team/bad:1"));
    shared().push_with(&registry, "team/bad:1", |manifest| {
        manifest["layers"][1]["digest"] = json!(absent);
    });
    importing(&registry, &url).run(&["build"]).code(1).says(&["the import oci://", &absent]);
}

/// What is no skeleton, or reaches out of itself, is refused by its name, and
/// nothing of it stays.
#[test]
fn what_is_no_skeleton_is_refused() {
    let registry = Registry::start();
    let base = "- name: base\n- name: other\n";
    let outside = "- name: base\n  files:\n  - source: ../../../deploy/own.txt\n    target: x\n- name: other\n";
    let huge = |manifest: &mut serde_json::Value| manifest["layers"][0]["size"] = json!(5_u64 << 30);
    for (number, (skeleton, code, words)) in [
        (Skeleton::new(base).for_architecture("amd64"), 1, vec!["was not published as a skeleton, only for amd64", "zarf package publish DIR"]),
        (Skeleton::raw("kind: ZarfPackageConfig\nmetadata: {name: x, architecture: amd64}\ncomponents: [{name: base}, {name: other}]\n"), 3, vec!["whole package for `amd64`"]),
        (Skeleton::new("- name: other\n"), 3, vec!["deploy/parts/zarf.yaml:5:", "`base`, which is no component of"]),
        (Skeleton::new("- name: base\n  import: {url: 'oci://h.io/x:1'}\n- name: other\n"), 3, vec!["imports another component itself"]),
        (Skeleton::new(outside), 3, vec!["`../../../deploy/own.txt` leads out of the skeleton"]),
        (Skeleton::new("- name: base\n  files:\n  - source: files/0/gone\n    target: x\n- name: other\n"), 3, vec!["there is nothing at"]),
        (Skeleton::new("- name: base\n  actions:\n    onCreate:\n      before:\n      - cmd: make\n- name: other\n"), 3, vec!["onCreate"]),
        (Skeleton::new(base).with_layer("components/base.tar", tar_called("base/../../../../../evil", b"hunter2")), 1, vec!["components/base.tar of oci://", "../"]),
        (Skeleton::new(base).with_layer("components/base.tar", tar_called("/tmp/evil", b"hunter2")), 1, vec!["components/base.tar of oci://"]),
        (Skeleton::new(base).with_layer("components/base.tar", tar_called("loose", b"hunter2")), 1, vec!["does not hold one folder"]),
        (Skeleton::new(base).with_layer("components/base.tar", b"no archive at all".to_vec()), 1, vec!["components/base.tar of oci://"]),
        (Skeleton::new(base).of_type("application/vnd.oci.image.config.v1+json"), 1, vec!["is no Zarf package"]),
        (Skeleton::new(base).of_type("application/vnd.zarf.component.config.v1+json"), 1, vec!["published by itself"]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("team/s{number}:1");
        skeleton.push(&registry, &name);
        let url = format!("oci://{}", registry.reference(&name));
        let project = importing(&registry, &url);
        let run = project.run(&["build"]).code(code);
        run.says(&words).says(&[&name]);
        assert!(!project.exists("dist") && !project.exists("evil"), "{words:?}");
        assert!(!project.exists("config/airgap.lock"), "{words:?}");
    }
    Skeleton::new(base).push_with(&registry, "team/huge:1", huge);
    let project = importing(&registry, &format!("oci://{}", registry.reference("team/huge:1")));
    project.run(&["build"]).code(1).says(&["5368709120 bytes of zarf.yaml"]);
    registry.push("team/image:1", &Image::small(1, 1_000));
    let project = importing(&registry, &format!("oci://{}", registry.reference("team/image:1")));
    project.run(&["build"]).code(1).says(&["is no Zarf package"]);
}
