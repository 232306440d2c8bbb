//! Guards that a zarf.yaml of the project is built as it is: what it names is
//! fetched, locked and found again, what cannot be built is told with its line
//! before anything is asked for, and what is made is the same every time.

use airgap_tests::charts::{chart, gzip, index};
use airgap_tests::file_server::FileServer;
use airgap_tests::git_server::GitServer;
use airgap_tests::images::{Image, tar_of};
use airgap_tests::package::Package;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

/// A project with a definition, and nothing else that says what is packaged.
fn defined(text: &str) -> Project {
    let project = Project::bare().with_settings(|settings| {
        *settings = json!({ "definition": "zarf.yaml", "retries": { "backoff": 0.05 } });
    });
    project.write("zarf.yaml", text);
    project
}

/// Everything that a definition can name, on loopback.
struct World {
    registry: Registry,
    files: FileServer,
    git: GitServer,
}

impl World {
    fn start() -> Option<Self> {
        let world = Self { registry: Registry::start(), files: FileServer::start(), git: GitServer::start()? };
        world.registry.push("team/app:1", &Image::small(1, 5_000));
        let web = chart("web", "1.0.0", &[]);
        world.files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &web)]));
        world.files.put("/charts/web-1.0.0.tgz", web);
        world.files.put("/tool", "#!/bin/sh\n");
        world.files.put("/pack.tgz", gzip(&tar_of(&[("a/b/tool", b"#!/bin/sh\necho packed\n"), ("a/c", b"x")])));
        world.files.put("/m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: remote}\n");
        world.files.put("/v.yaml", "replicas: 3\n");
        let repository = world.git.create("charts");
        repository.commit("deploy/app/Chart.yaml", "apiVersion: v2\nname: in-git\nversion: 0.1.0\n");
        repository.commit("deploy/app/templates/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n");
        repository.tag("1.0.0");
        world.git.create("apps").commit("a", "1");
        Some(world)
    }

    fn definition(&self) -> String {
        let (files, app) = (self.files.url(""), self.registry.reference("team/app:1"));
        let (charts, apps) = (self.git.clone_url("charts"), self.git.clone_url("apps"));
        format!(
            "kind: ZarfPackageConfig
metadata: {{name: everything, version: 1.0.0, description: All of it}}
variables: [{{name: SITE, default: here}}]
components:
  - name: programs
    files:
      - {{source: {files}/tool, target: /usr/local/bin/tool, executable: true, symlinks: [/usr/bin/tool]}}
      - {{source: {files}/pack.tgz, extractPath: a/b/tool, target: '###ZARF_TEMP###/packed', executable: true}}
      - {{source: pack.tgz, extractPath: in/side, target: inside}}
      - {{source: conf, target: /etc/app}}
      - {{source: conf/one.yaml, target: one.yaml}}
  - name: app
    required: true
    images: [{app}]
    imageArchives: [{{path: saved.tar, images: [saved/web:1]}}]
    charts:
      - {{name: site, url: {files}/charts, repoName: web, version: 1.0.0, namespace: web, valuesFiles: [values.yaml, {files}/v.yaml],
         variables: [{{name: SITE, path: site}}]}}
      - {{name: local, localPath: chart, namespace: local}}
      - {{name: packed, localPath: packed.tgz, namespace: packed, version: 9.9.9}}
      - {{name: app, url: {charts}, gitPath: deploy/app, version: 1.0.0, namespace: app}}
    manifests: [{{name: both, namespace: web, files: [m.yaml, {files}/m.yaml]}}]
    repos: ['{apps}@refs/heads/main']
    healthChecks: [{{apiVersion: v1, kind: Pod, namespace: web, name: web}}]
    actions: {{onDeploy: {{after: [{{cmd: 'echo ###ZARF_PKG_ARCH###', maxRetries: 2}}]}}}}
documentation: {{readme: README.md}}
values: {{files: [values.yaml]}}
"
        )
    }

    fn project(&self) -> Project {
        let hosts = [self.files.host(), self.git.host()];
        let registry = self.registry.host();
        let project = defined(&self.definition()).with_settings(|settings| {
            settings["registries"][registry] = json!({ "plain_http": true });
            settings["network"] = json!({ "plain_http_hosts": hosts });
        });
        project.write("pack.tgz", gzip(&tar_of(&[("in/side", b"out of the project\n")])));
        project.write("conf/one.yaml", "a: 1\n");
        project.write("conf/deep/two", "2\n");
        project.write("values.yaml", "replicas: 2\n");
        project.write("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: local}\n");
        project.write("README.md", "# Read me\n");
        project.write("chart/Chart.yaml", "apiVersion: v2\nname: called-otherwise\nversion: 0.3.0\n");
        project.write("chart/templates/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n");
        project.write("packed.tgz", chart("packed", "1.2.3", &[]));
        project.write("saved.tar", saved(&Image::small(7, 4_000), "docker.io/saved/web:1"));
        project
    }
}

/// An image as `docker save` writes it.
fn saved(image: &Image, name: &str) -> Vec<u8> {
    let mut root = image.manifest.descriptor();
    root["annotations"] = json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1" });
    let index = json!({ "schemaVersion": 2, "manifests": [root] }).to_string();
    let mut files = vec![
        ("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()),
        ("index.json".to_owned(), index.into_bytes()),
    ];
    let blobs = image.blobs().chain([&image.manifest]);
    files.extend(blobs.map(|blob| (format!("blobs/sha256/{}", blob.hex()), blob.bytes.to_vec())));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    tar_of(&files)
}

/// Every kind of source comes to its place in the package, and what else the
/// author wrote is kept.
#[test]
fn every_source_of_a_definition_is_packaged() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    project.build();
    let package = Package::open(&project.package());
    let programs = package.nested("components/programs.tar");
    let text = |tar: &std::collections::BTreeMap<String, Vec<u8>>, path: &str| {
        String::from_utf8(tar.get(path).unwrap_or_else(|| panic!("no {path} in {:?}", tar.keys())).clone()).unwrap()
    };
    assert_eq!(text(&programs, "programs/files/0/tool"), "#!/bin/sh\n");
    assert_eq!(text(&programs, "programs/files/1/packed"), "#!/bin/sh\necho packed\n");
    assert_eq!(text(&programs, "programs/files/2/inside"), "out of the project\n");
    assert_eq!(text(&programs, "programs/files/3/app/deep/two"), "2\n");
    assert_eq!(text(&programs, "programs/files/4/one.yaml"), "a: 1\n");
    let app = package.nested("components/app.tar");
    for (path, word) in [
        ("app/manifests/both-0.yaml", "local"),
        ("app/manifests/both-1.yaml", "remote"),
        ("app/values/site-1.0.0-0", "replicas: 2"),
        ("app/values/site-1.0.0-1", "replicas: 3"),
    ] {
        assert!(text(&app, path).contains(word), "{path}");
    }
    for name in ["site-1.0.0", "local-0.3.0", "packed", "app-0.1.0"] {
        assert!(app.contains_key(&format!("app/charts/{name}.tgz")), "{name}: {:?}", app.keys());
    }
    assert!(app.keys().any(|path| path.starts_with("app/repos/apps-")), "{:?}", app.keys());
    let definition = package.definition();
    let component = &definition["components"][1];
    assert_eq!(definition["components"].as_array().unwrap().len(), 2, "nothing else is made of the sources");
    assert_eq!(component["images"].as_array().unwrap().len(), 2, "{component}");
    assert_eq!(component["actions"]["onDeploy"]["after"][0], json!({ "cmd": "echo amd64", "maxRetries": 2 }));
    assert_eq!(component["healthChecks"][0]["name"], "web");
    assert_eq!(component["charts"][0]["variables"][0]["path"], "site");
    assert_eq!(definition["components"][0]["files"][0]["symlinks"][0], "/usr/bin/tool");
    assert_eq!(definition["variables"][0]["default"], "here");
    assert_eq!(definition["metadata"]["description"], "All of it");
    assert!(package.has("values.yaml") && package.has("documentation.tar"));
}

/// The lock answers for all of it: the same bits with no network, and nothing
/// is asked for twice.
#[test]
fn what_a_definition_names_is_locked() {
    let Some(world) = World::start() else { return };
    let project = world.project();
    let plan = project.run(&["build", "--plan"]).success();
    assert!(plan.stdout.contains("Fetches 1 image, 4 files, 1 chart, 2 repositories"), "{plan}");
    project.run(&["build", "--locked"]).code(3).says(&["airgap.lock", "/tool"]);
    project.build();
    let first = std::fs::read(project.package()).unwrap();
    world.files.forget();
    project.run(&["build", "--clean", "--locked", "--offline"]).success();
    assert!(first == std::fs::read(project.package()).unwrap(), "the same lock gives the same package");
    project.run(&["build"]).success().prints(&["Nothing to do"]);
    // Moved addresses are told by `update`, and taken with it.
    world.files.put("/tool", "#!/bin/sh\necho new\n");
    project.run(&["update", "/tool"]).success().prints(&["~"]);
    project.build();
    assert!(first != std::fs::read(project.package()).unwrap());
    // What is named no more goes.
    let without = world.definition().replace(&format!("{}/v.yaml", world.files.url("")), "values.yaml");
    project.write("zarf.yaml", without);
    project.run(&["build"]).success();
    assert!(!project.read("config/airgap.lock").contains("/v.yaml"));
}

/// components.yaml adds to a definition, and what both name is one thing.
#[test]
fn components_add_to_a_definition() {
    let Some(world) = World::start() else { return };
    world.registry.push("team/more:1", &Image::small(2, 3_000));
    let project = world.project();
    let (app, more) = (world.registry.reference("team/app:1"), world.registry.reference("team/more:1"));
    let tool = world.files.url("/tool");
    project.write(
        "config/components.yaml",
        format!("tools: [{{name: tool, version: '1', url: '{tool}'}}]\nimages: {{additional: ['{app}', '{more}']}}\n"),
    );
    project.build();
    let definition = Package::open(&project.package()).definition();
    let names: Vec<&str> =
        definition["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["programs", "app", "container-images"], "the tool is the file of `programs`");
    assert_eq!(definition["components"][2]["images"], json!([more]));
    assert_eq!(world.files.requests("GET", "/tool").len(), 1);
}

/// What cannot be built is told with its file and line, and nothing is asked
/// for.
#[test]
fn what_cannot_be_built_is_refused_with_its_line() {
    let files = FileServer::start();
    let url = files.put("/x", "x");
    let with = |components: &str| {
        format!(
            "kind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ncomponents:\n- name: first\n  files: [{{source: '{url}', target: x}}]\n{components}"
        )
    };
    for (components, place, words) in [
        (
            "- name: web\n  actions:\n    onCreate:\n      before: [{cmd: make}]\n",
            "zarf.yaml:9:7: components[1].actions.onCreate",
            vec!["component `web`", "onCreate", "add-a-step.md"],
        ),
        (
            "- name: web\n  manifests:\n  - name: m\n    kustomizations: [k]\n",
            "zarf.yaml:9:",
            vec!["kustomizations", "kubectl kustomize"],
        ),
        ("- name: web\n  dataInjections: [{source: x, target: {path: /y}}]\n", "zarf.yaml:7:", vec!["dataInjections"]),
        ("- name: web\n  images: [Bad//name]\n", "zarf.yaml:7", vec!["Bad//name"]),
        ("- name: web\n  files: [{source: gone.txt, target: x}]\n", "zarf.yaml:7", vec!["nothing at `gone.txt`"]),
        ("- name: web\n  files: [{source: ../out, target: x}]\n", "zarf.yaml:6", vec!["leaves the folder"]),
        ("- name: web\n  files: [{source: 'https://u:hunter2@h/x', target: x}]\n", "zarf.yaml:7", vec!["credentials"]),
        ("- name: first\n", "zarf.yaml:4", vec!["two components are called `first`"]),
        ("- name: web\n  imags: [x]\n", "zarf.yaml:7:10: components[1].imags: ", vec!["no field"]),
        (
            "- name: web\n  images: ['x:###ZARF_PKG_TMPL_TAG###']\n",
            "zarf.yaml:7:",
            vec!["ZARF_PKG_TMPL_TAG", "--set TAG="],
        ),
        ("- name: web\n  import: {path: gone}\n", "zarf.yaml:7:", vec!["`gone` is not there"]),
    ] {
        let project = defined(&with(components)).with_file_server(&files.host());
        let run = project.run(&["build"]).code(3);
        assert!(run.stderr.contains(place), "{place}: {run}");
        run.says(&words).never_says("hunter2");
        assert!(!project.exists("build/steps") && !project.exists("config/airgap.lock"), "{components}");
    }
    assert_eq!(files.requests("GET", "/x").len(), 0);
    // In a file that is imported, and behind an anchor.
    let project = defined(&with("- name: web\n  import: {path: inner}\n"));
    project.write("inner/zarf.yaml", "kind: ZarfPackageConfig\nmetadata: {name: x}\nx-a: &a {cmd: make}\ncomponents:\n- name: web\n  actions: {onCreate: {before: [*a]}}\n");
    project.run(&["build"]).code(3).says(&["inner/zarf.yaml:5"]);
}

/// Flavor and templates choose, from the settings and the command line; other
/// ones are another configuration.
#[test]
fn flavors_and_templates_choose() {
    let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '###ZARF_PKG_TMPL_VERSION###'}\ncomponents:\n\
                - name: web\n  only: {flavor: up}\n  import: {path: common}\n  files: [{source: up.txt, target: up.txt}]\n\
                - name: web\n  only: {flavor: down}\n  import: {path: common}\n";
    let project = defined(text)
        .with_settings(|settings| settings["package"] = json!({ "set": { "VERSION": "1.0.0" }, "flavor": "down" }));
    project.write("up.txt", "up\n");
    project.write("common/zarf.yaml", "kind: ZarfPackageConfig\nmetadata: {name: c}\ncomponents: [{name: web, files: [{source: ../common.txt, target: common.txt}]}]\n");
    project.write("common.txt", "common\n");
    project.build();
    assert!(project.exists("dist/zarf-package-x-amd64-1.0.0-down.tar.zst"));
    let up = ["--flavor", "up", "--set", "version=2.0.0"];
    project.run(&[&["build"], &up[..]].concat()).success();
    let package = Package::open(&project.path("dist/zarf-package-x-amd64-2.0.0-up.tar.zst"));
    assert_eq!(package.definition()["build"]["flavor"], "up");
    assert_eq!(package.definition()["components"][0]["only"]["flavor"], "up");
    assert_eq!(package.nested("components/web.tar")["web/files/1/up.txt"], b"up\n");
    project.run(&[&["status"], &up[..]].concat()).success().prints(&["nothing to do"]);
    project.run(&["build", "--set", "x"]).code(2).says(&["--set KEY=VALUE"]);
    Project::new().run(&["build", "--flavor", "x"]).code(2).says(&["has none"]);
}

/// `init --from` writes the settings alone, and a build runs on them.
#[test]
fn a_definition_is_enough_to_begin_with() {
    let project = Project::bare();
    project.write("deploy/zarf.yaml", "kind: ZarfPackageConfig\nmetadata: {name: small, version: 0.1.0}\ncomponents: [{name: a, files: [{source: ../f, target: f}]}]\n");
    project.write("f", "f\n");
    project.run(&["init", "--from", "deploy/zarf.yaml"]).success();
    let names: Vec<String> = project.config_files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    project.run(&["build"]).success();
    assert!(project.exists("dist/zarf-package-small-amd64-0.1.0.tar.zst"));
    project.write("f", "g\n");
    project.run(&["build"]).success().never_says("Nothing to do");
    project.run(&["init", "--from", "/etc/hostname"]).code(2).says(&["not in the folder"]);
    // Where nothing else says what is packaged, the name alone is enough.
    let project = defined("kind: ZarfPackageConfig\nmetadata: {name: bare, version: '1'}\ncomponents: [{name: a, files: [{source: f, target: f}]}]\n")
        .with_settings(|settings| *settings = json!({}));
    project.write("f", "f\n");
    project.run(&["build"]).success();
    assert!(project.exists("dist/zarf-package-bare-amd64-1.tar.zst"));
}

/// A definition in v1beta1, with component files.
#[test]
fn a_definition_in_v1beta1_is_built() {
    let project = defined(
        "apiVersion: zarf.dev/v1beta1\nkind: ZarfPackageConfig\nmetadata: {name: beta, version: 1.0.0}\ncomponents:\n- name: web\n  import: {local: [{path: parts/web.yaml}]}\n  optional: true\n",
    );
    project.write("parts/web.yaml", "apiVersion: zarf.dev/v1beta1\nkind: ZarfComponentConfig\nmetadata: {name: w}\ncomponent:\n  files: [{source: f, destination: /f}]\n");
    project.write("parts/f", "f\n");
    project.build();
    let package = Package::open(&project.package());
    let text = package.text("zarf.yaml");
    assert!(text.contains("zarf.dev/v1alpha1") && text.contains("zarf.dev/v1beta1"), "{text}");
    assert_eq!(package.nested("components/web.tar")["web/files/0/f"], b"f\n");
    let beta: Value = serde_yaml::Deserializer::from_str(&text)
        .nth(1)
        .map(|one| serde::Deserialize::deserialize(one).unwrap())
        .unwrap();
    assert_eq!((&beta["components"][0]["optional"], &beta["components"][0]["import"]), (&json!(true), &Value::Null));
}

/// What a chart deploys and an archive holds is in the package: nothing is lacking.
#[test]
fn images_out_of_archives_are_no_images_that_are_lacking() {
    let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents:\n- name: a\n  \
                imageArchives: [{path: saved.tar, images: [web:1]}]\n  \
                charts: [{name: app, version: 1.0.0, namespace: n, localPath: app}]\n";
    let project = defined(text);
    project.write("saved.tar", saved(&Image::small(3, 2_000), "web:1"));
    project.write("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n");
    project.write("app/templates/pod.yaml", "kind: Pod\nspec:\n  containers:\n  - image: web:1\n");
    project.run(&["build", "--strict-images"]).success();
    project.write("app/templates/pod.yaml", "kind: Pod\nspec:\n  containers:\n  - image: web:2\n");
    project.run(&["build", "--clean", "--strict-images"]).code(1).says(&["web:2"]);
}

/// Each chart is rendered as Zarf would deploy it, also one that is packed, and one that is
/// deployed twice; what is not known then is told.
#[test]
fn charts_are_rendered_as_they_are_deployed() {
    let image = "kind: Pod\nspec:\n  containers:\n  - image: r.io/{{ .Release.Namespace }}/{{ .Release.Name }}:{{ .Values.tag }}\n";
    let files = FileServer::start();
    let url = files.put("/v.yaml", "tag: '9'\n");
    let text = format!(
        "kind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ncomponents:\n- name: a\n  charts:\n  \
         - {{name: packed, version: 9.9.9, namespace: one, releaseName: first, localPath: app.tgz, valuesFiles: [v.yaml, w.yaml]}}\n  \
         - {{name: folder, version: 1.0.0, namespace: two, localPath: app, valuesFiles: [v.yaml]}}\n  \
         - {{name: folder, version: 1.0.0, namespace: three, releaseName: third, localPath: app, valuesFiles: ['{url}', zarf.values]}}\n"
    );
    let project = defined(&text).with_file_server(&files.host());
    project.write("app.tgz", chart("packed", "1.2.3", &[("templates/pod.yaml", image), ("values.yaml", "tag: '0'\n")]));
    project.write("app/Chart.yaml", "apiVersion: v2\nname: other\nversion: 1.0.0\n");
    project.write("app/values.yaml", "tag: '0'\n");
    project.write("app/templates/pod.yaml", image);
    project.write("v.yaml", "tag: '7'\n");
    project.write("w.yaml", "tag: '8'\n");
    project.write("zarf.values", "other: '###ZARF_VAR_X###'\n");
    let run = project.run(&["build", "--step", "discover"]).success();
    run.says(&["component `a` is rendered without its values", "/v.yaml"]);
    let found: Value = serde_json::from_str(&project.read("build/steps/discover/discovered.json")).unwrap();
    let rendered: Vec<&str> = found["images"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["found"] == "rendered")
        .map(|one| one["image"].as_str().unwrap())
        .collect();
    assert_eq!(rendered, ["r.io/two/folder:7", "r.io/one/first:8", "r.io/three/third:0"], "{found}");
}

/// Archives of images that are cut, or hold something else than they say.
#[test]
fn bad_archives_of_images_are_named() {
    let text = "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents: [{name: a, imageArchives: [{path: saved.tar, images: [web:1]}]}]\n";
    let image = Image::small(3, 2_000);
    let whole = saved(&image, "web:1");
    let other = saved(&image, "other:1");
    let lie = {
        let name = format!("blobs/sha256/{}", image.config.hex());
        let mut root = image.manifest.descriptor();
        root["annotations"] = json!({ "org.opencontainers.image.ref.name": "web:1" });
        let index = json!({ "schemaVersion": 2, "manifests": [root] }).to_string();
        let manifest = format!("blobs/sha256/{}", image.manifest.hex());
        tar_of(&[("index.json", index.as_bytes()), (&manifest, &image.manifest.bytes), (&name, b"{}")])
    };
    for (content, word) in [
        (other, "docker.io/library/other:1"),
        (lie, "is not what its name says"),
        (tar_of(&[("manifest.json", b"[]")]), "docker's own form"),
        (whole[..whole.len() / 2].to_vec(), "saved.tar"),
    ] {
        let project = defined(text);
        project.write("saved.tar", content);
        project.run(&["build"]).code(1).says(&[word]);
    }
    let project = defined(text);
    project.write("saved.tar", whole);
    project.build();
}

/// components.yaml says what a definition can say, for a project without one, and
/// a regeneration leaves it as it is.
#[test]
fn components_of_ones_own_stand_beside_what_is_generated() {
    let files = FileServer::start();
    let url = files.put("/yq", "#!/bin/sh\n");
    let project = Project::new().with_file_server(&files.host()).with_settings(|_| {});
    let own = "components:\n# Ours.\n- name: site\n  required: false   # asked for\n  files: [{source: site/site.conf, target: /etc/site.conf}]\n  \
               manifests: [{name: m, namespace: n, files: [site/m.yaml]}]\n  imageArchives: [{path: site/saved.tar, images: [web:1]}]\n  \
               healthChecks: [{apiVersion: v1, kind: Pod, namespace: n, name: p}]\n  actions: {onDeploy: {after: [{wait: {cluster: {kind: Pod, name: p, namespace: n, condition: Ready}}}]}}\n";
    project.write("config/components.yaml", format!("tools: [{{name: yq, version: '1', url: '{url}'}}]\n{own}"));
    project.write("site/site.conf", "a: 1\n");
    project.write("site/m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n");
    project.write("site/saved.tar", saved(&Image::small(5, 2_000), "web:1"));
    project.build();
    assert!(project.read("config/components.yaml").contains(own), "{}", project.read("config/components.yaml"));
    let package = Package::open(&project.package());
    let definition = package.definition();
    let site = &definition["components"][1];
    assert_eq!(
        (&definition["metadata"]["name"], &site["name"], &site["required"]),
        (&json!("platform"), &json!("site"), &json!(false))
    );
    assert_eq!((&site["images"], &site["healthChecks"][0]["name"]), (&json!(["web:1"]), &json!("p")));
    assert_eq!(package.nested("components/site.tar")["site/files/0/site.conf"], b"a: 1\n");
    project.write("site/site.conf", "a: 2\n");
    project.build();
    assert_eq!(Package::open(&project.package()).nested("components/site.tar")["site/files/0/site.conf"], b"a: 2\n");
    project
        .write("config/components.yaml", "components:\n- name: web\n  actions: {onCreate: {before: [{cmd: make}]}}\n");
    project.run(&["build"]).code(3).says(&["config/components.yaml:3:", "onCreate"]);
}

/// No path of a definition, and no link on it, leads out of the project or to what
/// no plugin reads.
#[test]
fn a_definition_names_nothing_outside_of_the_project() {
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(
        secret.path().join("zarf.yaml"),
        "kind: ZarfPackageConfig\nmetadata: {name: x}\ncomponents: [{name: a}]\n",
    )
    .unwrap();
    std::fs::write(secret.path().join("key"), "hunter2").unwrap();
    for (component, word) in [
        ("files: [{source: out/key, target: x}]", "is a link that leaves"),
        ("files: [{source: out, target: x}]", "is a link that leaves"),
        ("import: {path: out}", "is a link that leaves"),
        ("manifests: [{name: m, files: [config/settings.yaml]}]", "no definition names"),
        ("files: [{source: build, target: x}]", "no definition names"),
        ("charts: [{name: c, localPath: out, namespace: n}]", "is a link that leaves"),
    ] {
        let project = defined(&format!(
            "kind: ZarfPackageConfig\nmetadata: {{name: x, version: '1'}}\ncomponents:\n- name: a\n  {component}\n"
        ));
        std::os::unix::fs::symlink(secret.path(), project.path("out")).unwrap();
        project.write("build/x", "x");
        project.run(&["build"]).code(3).says(&[word]).never_says("hunter2");
        assert!(!project.holds("hunter2"));
    }
    // A link in a folder that is named leads nowhere.
    let project = defined(
        "kind: ZarfPackageConfig\nmetadata: {name: x, version: '1'}\ncomponents: [{name: a, files: [{source: tree, target: x}]}]\n",
    );
    project.write("tree/a", "a");
    std::os::unix::fs::symlink(secret.path().join("key"), project.path("tree/b")).unwrap();
    project.run(&["build"]).code(1).says(&["link out of the tree"]);
    assert!(!project.holds("hunter2"));
}
