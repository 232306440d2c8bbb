//! Guards images by rendering: what charts deploy is what Helm renders, told with
//! template and line, put into the package where that is asked for, and what can not
//! be rendered is told and is no crash.

use std::collections::BTreeSet;

use airgap_tests::charts::{chart, corpus, corpus_folder, corpus_images, index};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

/// A project with a local chart of these files.
fn with_local(project: Project, name: &str, files: &[(&str, &str)]) -> Project {
    let about = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\nappVersion: \"3\"\n");
    project.write(&format!("charts/{name}/Chart.yaml"), about);
    for (path, text) in files {
        project.write(&format!("charts/{name}/{path}"), text);
    }
    project.with_chart(json!({ "name": name, "repo": format!("./charts/{name}"), "version": "1.0.0" }))
}

fn settings(project: &Project, images: &str) {
    let text = project.read("config/settings.yaml");
    project.write("config/settings.yaml", format!("{text}\nimages: {images}\n"));
}

fn discovered(project: &Project) -> Value {
    serde_json::from_str(&project.read("build/steps/discover/discovered.json")).unwrap()
}

/// What is rendered is what is lacking: a helper, the version of the chart, a number
/// that Helm prints as another one, and nothing of what is switched off.
#[test]
fn what_a_chart_renders_to_is_told_with_template_and_line() {
    let pod = "kind: Pod\nspec:\n  containers:\n  - image: {{ include \"image\" . }}\n  {{- if .Values.side.enabled }}\n  - image: org/side:1\n  {{- end }}\n";
    let helper =
        "{{ define \"image\" }}{{ printf \"%s-%s:%v\" .Values.repository .Release.Name .Values.tag }}{{ end }}";
    let values = "repository: q.test/org/app\ntag: 1.10\nside: {enabled: false, image: org/side:1}\n";
    let files = [("templates/pod.yaml", pod), ("templates/_h.tpl", helper), ("values.yaml", values)];
    let project = with_local(Project::new(), "app", &files);
    let says = ["deploys q.test/org/app-app:1.1 (templates/pod.yaml:4), which the package lacks"];
    project.run(&["build"]).success().says(&says).never_says("org/side");
    let found = &discovered(&project)["images"];
    assert_eq!(found.as_array().unwrap().len(), 1, "{found:#}");
    let run = project.run(&["build", "--strict-images"]).code(1).says(&says);
    assert!(run.stderr.contains("✗ chart app 1.0.0"), "{run}");
}

/// `images.discover: add`: the image is pulled and packaged, its origin stands in the
/// lock and in the list; what it no longer deploys goes with the next build.
#[test]
fn what_rendering_finds_goes_into_the_package_where_that_is_asked_for() {
    let registry = Registry::start();
    registry.push("org/app:1", &Image::small(1, 1_000));
    let image = registry.reference("org/app:1");
    let pod = format!("kind: Pod\nspec:\n  containers:\n  - image: {image}\n");
    let project = with_local(Project::new().with_registry(&registry.host()), "app", &[("templates/pod.yaml", &pod)]);
    settings(&project, "{discover: add}");
    project.run(&["build", "--strict-images"]).success();
    let origin = "chart app 1.0.0: templates/pod.yaml:4";
    assert!(project.read("config/airgap.lock").contains(origin), "{}", project.read("config/airgap.lock"));
    let list: Value = serde_json::from_str(&project.read("dist/artifact-manifest.json")).unwrap();
    assert_eq!(list["images"][0]["found_in"], origin, "{list:#}");
    assert_eq!(list["images"][0]["components"], json!(["app"]), "it belongs to the chart that deploys it");
    // Known by the lock before anything is rendered.
    let _ = project.run(&["build", "--clean", "--locked"]).success();
    project.write("charts/app/templates/pod.yaml", "kind: ConfigMap\n");
    let _ = project.run(&["build"]).success();
    assert!(!project.read("config/airgap.lock").contains(origin), "{}", project.read("config/airgap.lock"));
}

#[test]
fn nothing_is_rendered_where_that_is_switched_off_or_there_is_no_chart() {
    let project = with_local(Project::new(), "app", &[("templates/pod.yaml", "{{ fail \"no\" }}\n")]);
    settings(&project, "{discover: off}");
    project.run(&["build"]).success().never_says("cannot be rendered");
    assert!(!project.exists("build/steps/render"));
    let none = Project::new();
    let _ = none.run(&["build", "--step", "discover"]).success();
    assert_eq!(none.read("build/steps/render/rendered.json"), "[]");
}

/// Bad input: each is told with chart, template and line, none ends the build, and the
/// search stands for the chart.
#[test]
fn a_chart_that_can_not_be_rendered_is_told_and_is_no_crash() {
    let table = [
        ("fails", "a: b\nc: {{ fail \"no tag is set\" }}\n", "templates/x.yaml:2: ", "no tag is set"),
        ("requires", "a: {{ required \"write a host\" .Values.host }}\n", "templates/x.yaml:1: ", "write a host"),
        (
            "recurses",
            "{{ define \"r\" }}{{ include \"r\" . }}{{ end }}{{ include \"r\" . }}",
            "templates/x.yaml:1: ",
            "nested reference",
        ),
        (
            "turns",
            "{{ define \"t\" }}{{ template \"t\" . }}{{ end }}{{ template \"t\" . }}",
            "templates/x.yaml:1: ",
            "exceeded maximum template depth",
        ),
        ("loops", "{{ range until 2000000000 }}x{{ end }}", "templates/x.yaml:1: ", "numbers"),
        (
            "floods",
            "{{ range until 100000 }}\n{{ range until 100 }}\nten bytes of text, ten times and more than ten\n{{ end }}{{ end }}",
            "templates/x.yaml:",
            "more than 32 MiB",
        ),
        ("values", "{{- range until 100000 }}{{ $.Values.long }}{{ end }}", "templates/x.yaml:1: ", "more than 32 MiB"),
        ("texts", "{{ tpl .Values.endless . }}", "templates/x.yaml:1: ", "more than 32 MiB"),
        (
            "doubles",
            "{{ $x := \"ab\" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}",
            "templates/x.yaml:1: ",
            "more than 8 MiB",
        ),
        (
            "lists",
            "{{ $x := list 1 }}{{ range until 60 }}{{ $x = concat $x $x }}{{ end }}",
            "templates/x.yaml:1: ",
            "more than 100000 items",
        ),
        ("broken", "a: b\n{{ if true }}\n c: [d\n{{ end }}\n", "templates/x.yaml:", "not YAML"),
        ("shapes", "{{ range .Values.text }}{{ end }}", "templates/x.yaml:1: ", "range can't iterate over"),
    ];
    let long = "0123456789".repeat(100);
    let values = format!(
        "text: word\nimage: org/searched:1\nlong: {long:?}\nendless: \"{{{{ range until 100000 }}}}{{{{ $.Values.long }}}}{{{{ end }}}}\"\n"
    );
    let mut project = Project::new();
    for (name, template, ..) in table {
        project = with_local(project, name, &[("templates/x.yaml", template), ("values.yaml", &values)]);
    }
    project.write("charts/newer/Chart.yaml", "apiVersion: v2\nname: newer\nversion: 1.0.0\nkubeVersion: '>=9.0.0'\n");
    let project = project.with_chart(json!({ "name": "newer", "repo": "./charts/newer", "version": "1.0.0" }));
    let run = project.run(&["build"]).success();
    for (name, _, place, says) in table {
        let line = run.stderr.lines().find(|line| line.contains(&format!("chart {name} 1.0.0: cannot be rendered")));
        let line = line.unwrap_or_else(|| panic!("{name} is not told: {run}"));
        assert!(line.contains(place) && line.contains(says), "{line}");
    }
    run.says(&["requires kubeVersion: >=9.0.0", "chart fails 1.0.0: deploys org/searched:1"]);
    project.run(&["build", "--strict-images"]).code(1).says(&["charts that cannot be rendered: 13"]);
}

/// Guards that one chart that takes all memory is found among many.
#[test]
fn a_chart_that_takes_all_memory_is_named() {
    let text = "{{ $x := dict }}{{ range until 60 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toJson $x }}";
    let project = with_local(Project::new(), "plain", &[("templates/x.yaml", "a: b\n")]);
    let project = with_local(project, "hungry", &[("templates/x.yaml", text)]);
    project.run(&["build"]).code(1).says(&["ran out of memory", "it was at: hungry"]);
}

/// Writes the charts of the corpus into `folder` of the project.
fn write_corpus(project: &Project, folder: &str) -> usize {
    let charts = corpus();
    for (name, files) in &charts {
        files.iter().for_each(|(file, text)| project.write(&format!("{folder}/{name}/{file}"), text));
    }
    charts.len()
}

/// What `scan` finds of the corpus: `<chart> <image>`.
fn scanned(project: &Project, kept: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let run = project.run(&["scan", "--json", "charts"]).success();
    let found = run.json_lines().into_iter().find(|line| line["event"] == "scanned").unwrap();
    let row = |image: &Value| {
        let chart = image["file"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
        format!("{chart} {}", image["image"].as_str().unwrap())
    };
    found["images"].as_array().unwrap().iter().filter(|image| kept(image)).map(row).collect()
}

/// Recall and precision against what the real `helm template` of Helm 4.2 renders, which is
/// rendered.list: `make interop` holds it to that; and the number that the static search
/// alone reaches. The table of docs/find-images.md is that.
#[test]
fn rendering_finds_what_helm_renders() {
    let expected: BTreeSet<String> = corpus_images().into_iter().collect();
    let project = Project::new();
    assert!(write_corpus(&project, "charts") >= 40);
    let rendered = scanned(&project, |image| image["found"] == "rendered");
    settings(&project, "{discover: off}");
    let searched = scanned(&project, |_| true);
    let docs = std::fs::read_to_string(corpus_folder().join("../../../docs/find-images.md")).unwrap();
    for (how, found) in [("by rendering", &rendered), ("by searching alone", &searched)] {
        let (hits, beside) = (expected.intersection(found).count(), found.difference(&expected).count());
        let row = format!("| {how} | {hits} of {} | {beside} |", expected.len());
        assert!(
            docs.contains(&row),
            "{row}\nbeside: {:?}\nlacking: {:?}",
            found.difference(&expected).collect::<Vec<_>>(),
            expected.difference(found).collect::<Vec<_>>()
        );
    }
    assert_eq!(expected.difference(&rendered).collect::<Vec<_>>(), Vec::<&String>::new(), "nothing is missed");
}

/// A HelmRelease whose chart lies beside it: its values, those of a ConfigMap, and what
/// it replaces; charts of a repository are offered.
#[test]
fn helm_releases_are_followed() {
    let project = Project::new();
    project.write("in/charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    project.write("in/charts/web/values.yaml", "tag: \"1\"\nside: false\n");
    project.write("in/charts/web/templates/pod.yaml", "kind: Pod\nspec:\n  containers:\n  - image: org/web:{{ .Values.tag }}\n  {{- if .Values.side }}\n  - image: org/side:1\n  {{- end }}\n");
    project.write("in/release.yaml", "kind: HelmRelease\nmetadata: {name: web, namespace: apps}\nspec:\n  chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: r}}}\n  valuesFrom: [{kind: ConfigMap, name: v}]\n  values: {tag: \"2\"}\n  postRenderers: [{kustomize: {images: [{name: org/side, newName: mirror.test/side, newTag: \"9\"}]}}]\n---\nkind: HelmRelease\nmetadata: {name: cm}\nspec: {chart: {spec: {chart: cert-manager, version: 1.x, sourceRef: {kind: HelmRepository, name: jetstack}}}}\n---\nkind: HelmRepository\nmetadata: {name: jetstack}\nspec: {url: \"https://charts.jetstack.io\"}\n");
    project.write(
        "in/values.yaml.cm.yaml",
        "kind: ConfigMap\nmetadata: {name: v, namespace: apps}\ndata:\n  values.yaml: |\n    side: true\n",
    );
    let run = project.run(&["scan", "--write", "in"]).success();
    let _ = run.prints(&[
        "org/web:1",
        "org/web:2",
        "rendered for in/release.yaml:2",
        "mirror.test/side:9",
        "add chart cert-manager --repo https://charts.jetstack.io --version '1.x'",
    ]);
}

/// A HelmRelease whose chart lies in a repository: offered with repository and version, and
/// once a build has that chart, rendered with the values of the release.
#[test]
fn helm_releases_of_repositories_are_rendered_once_a_build_has_the_chart() {
    let server = FileServer::start();
    let template = "kind: Pod\nspec:\n  containers:\n  - image: org/web:{{ .Values.tag }}-{{ .Release.Namespace }}\n  {{- if .Values.side }}\n  - image: org/side:1\n  {{- end }}\n";
    let archive = chart("web", "1.2.3", &[("templates/pod.yaml", template), ("values.yaml", "tag: \"1\"\n")]);
    server.put("/charts/index.yaml", index(&[("web", "1.2.3", "web-1.2.3.tgz", &archive)]).into_bytes());
    server.put("/charts/web-1.2.3.tgz", archive);
    let repo = server.url("/charts");
    let project = Project::new().with_file_server(&server.host());
    project.write(
        "in/source.yaml",
        format!("kind: HelmRepository\nmetadata: {{name: r, namespace: flux}}\nspec: {{url: \"{repo}/\"}}\n"),
    );
    let release = |name: &str, version: &str, values: &str| {
        format!(
            "kind: HelmRelease\nmetadata: {{name: {name}, namespace: apps}}\nspec:\n  targetNamespace: prod\n  chart: {{spec: {{chart: web, version: {version}, sourceRef: {{kind: HelmRepository, name: r, namespace: flux}}}}}}\n  values: {values}\n  postRenderers: [{{kustomize: {{images: [{{name: org/side, newTag: \"9\"}}]}}}}]\n"
        )
    };
    project.write("in/web.yaml", release("web", "1.x", "{tag: v7, side: true}"));
    project.write("in/newer.yaml", release("newer", "\">=2\"", "{tag: v8}"));
    let run = project.run(&["scan", "--write", "in"]).success();
    let _ =
        run.prints(&[&format!("opencenter-airgap add chart web --repo {repo}/ --version '1.x'"), "--version '>=2'"]);
    project.run(&["add", "chart", "web", "--repo", &repo, "--version", "1.2.3"]).success();
    project.run(&["build", "--step", "charts"]).success();
    let run = project.run(&["scan", "--json", "in"]).success();
    let found = run.json_lines().into_iter().find(|line| line["event"] == "scanned").unwrap();
    let row = |image: &Value| {
        let text = |key: &str| image[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}:{} {} {}", text("image"), text("file"), image["line"], text("found"), text("release"))
    };
    let rows: BTreeSet<String> = found["images"].as_array().unwrap().iter().map(row).collect();
    for expected in [
        "org/web:v7-prod web-1.2.3.tgz/templates/pod.yaml:4 rendered in/web.yaml:2",
        "org/side:9 web-1.2.3.tgz/templates/pod.yaml:6 rendered in/web.yaml:2",
    ] {
        assert!(rows.contains(expected), "{expected} is not in {rows:#?}");
    }
    assert!(!rows.iter().any(|row| row.contains("v8")), "the build has no chart that fits: {rows:#?}");
    let run = project.run(&["scan", "--write", "in"]).success();
    let _ = run.prints(&["rendered for in/web.yaml:2", "added org/web:v7-prod"]);
}

/// A packed chart is rendered as an unpacked one is, and what an operator takes in
/// arguments and environment counts.
#[test]
fn an_operator_names_images_in_arguments_and_environment() {
    let project = Project::new();
    let template = "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - image: org/operator:{{ .Chart.AppVersion }}\n        args: [\"--agent-image=org/agent:{{ .Chart.Version }}\"]\n        env:\n        - name: RELATED_IMAGE_DB\n          value: org/db:{{ .Values.db }}\n";
    std::fs::write(
        project.path("op.tgz"),
        chart("op", "2.0.0", &[("templates/d.yaml", template), ("values.yaml", "db: v7\n")]),
    )
    .unwrap();
    let _ = project.run(&["scan", "op.tgz"]).success().prints(&[
        "org/operator:2.0.0",
        "org/agent:2.0.0",
        "org/db:v7",
        "op.tgz/templates/d.yaml:10",
    ]);
}
