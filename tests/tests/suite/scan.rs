//! Guards `scan`: the images that files name, with file and line, and `--write`.

use airgap_tests::charts::chart;
use airgap_tests::project::Project;

const VALUES: &str = "replicas: 2\nimage:\n  repository: quay.io/team/web\n  tag: 1.2.3\n";
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n    - name: a\n      image: registry.k8s.io/pause:3.10\n";

fn files(project: &Project) {
    project.write("apps/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    project.write("apps/web/values.yaml", VALUES);
    project.write("apps/pod.yaml", POD);
    project.write("apps/README.md", "image: not/this:1\n");
}

#[test]
fn images_are_listed_with_file_and_line() {
    let project = Project::bare();
    files(&project);
    project
        .run(&["scan", "apps"])
        .success()
        .prints(&["quay.io/team/web:1.2.3", "apps/web/values.yaml:", "registry.k8s.io/pause:3.10", "apps/pod.yaml:8"])
        .never_says("not/this");
    let found = project.run(&["scan", "--json", "apps/pod.yaml", "apps/web"]).success();
    let found =
        found.json_lines().into_iter().find(|line| line["event"] == "scanned").expect("one object of the result");
    assert_eq!(found["images"].as_array().unwrap().len(), 2, "{found:#}");
    assert!(!project.exists("build") && !project.exists("config"), "scan leaves nothing behind");
}

#[test]
fn write_adds_what_is_missing_once() {
    let project = Project::new();
    files(&project);
    project.write("config/components.yaml", "# Ours.\nimages:\n  additional:\n    - registry.k8s.io/pause:3.10\n");
    project.run(&["scan", "--write", "apps"]).success().prints(&["added quay.io/team/web:1.2.3"]);
    let text = project.read("config/components.yaml");
    let parsed: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(parsed["images"]["auto_discover"].as_array().unwrap().len(), 1, "{text}");
    assert!(text.contains("# Ours."));
    project.run(&["scan", "--write", "apps"]).success();
    assert_eq!(project.read("config/components.yaml"), text);
}

#[test]
fn a_path_that_is_not_there_is_a_usage_error() {
    Project::bare().run(&["scan", "nowhere"]).code(2).says(&["nowhere"]);
    let project = Project::bare();
    files(&project);
    project.run(&["scan", "--write", "apps"]).code(3).says(&["no configuration"]);
}

/// Guards what a platform of kubespray and Flux deploys: the images that only
/// an expression or a replacement names, and no `:latest` that nobody wrote.
#[test]
fn kubespray_and_flux_are_understood() {
    let project = Project::new();
    let defaults = "roles/kubespray_defaults/defaults/main";
    project.write(
        &format!("kubespray/{defaults}/download.yml"),
        "quay_image_repo: quay.io\ncalico_version: \"{{ (calicoctl_binary_checksums['amd64'] | dict2items)[0].key }}\"\ncalico_node_image_repo: \"{{ quay_image_repo }}/calico/node\"\ncalico_node_image_tag: \"v{{ calico_version }}\"\nkube_proxy_image_repo: registry.k8s.io/kube-proxy\n",
    );
    project.write(
        "kubespray/roles/kubespray_defaults/vars/main/checksums.yml",
        "calicoctl_binary_checksums: {amd64: {3.30.6: sha256:a, 3.30.5: sha256:b}}\n",
    );
    project.write(
        "flux/apps.yaml",
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  images:\n  - {name: org/app, newTag: v3}\n",
    );
    project.write("flux/release.yaml", "kind: HelmRelease\nspec: {values: {image: {repository: org/untagged}}}\n");
    let run = project.run(&["scan", "--write", "kubespray", "flux"]).success();
    let run = run.prints(&["quay.io/calico/node:v3.30.6", "org/app:v3"]);
    run.says(&["registry.k8s.io/kube-proxy", "org/untagged"]);
    let written = project.read("config/components.yaml");
    assert!(written.contains("quay.io/calico/node:v3.30.6") && written.contains("org/app:v3"), "{written}");
    assert!(!written.contains("org/untagged") && !written.contains("kube-proxy"), "{written}");
}

/// Guards a chart as a whole, packed or not: a subchart that is off is not needed,
/// appVersion counts where the template says so, and what only a template tells is
/// a warning with its place.
#[test]
fn a_chart_is_read_as_it_is_deployed() {
    let project = Project::new();
    let values = "image: {repository: org/app}\nsub: {enabled: false}\n";
    let template = "{{- with .Values.image }}\nimage: {{ .repository }}:v{{ .tag | default $.Chart.AppVersion }}\n{{- end }}\nargs:\n- --helper-image={{ .Release.Name }}/helper:1\n";
    let files = [
        ("values.yaml", values),
        ("templates/pod.yaml", template),
        ("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n"),
        ("charts/sub/values.yaml", "image: org/sub:1\n"),
        ("requirements.yaml", "dependencies:\n- {name: sub, version: 1.x, condition: sub.enabled}\n"),
    ];
    std::fs::write(project.path("app.tgz"), chart("app", "2.0.0", &files)).unwrap();
    project.write("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 2.0.0\nappVersion: \"2.0.0\"\n");
    for (path, text) in files {
        project.write(&format!("app/{path}"), text);
    }
    std::fs::copy(project.path("app.tgz"), project.path("APP.TGZ")).unwrap();
    std::fs::copy(project.path("app.tgz"), project.path("download")).unwrap();
    for path in ["app.tgz", "APP.TGZ", "download", "app", "."] {
        let run = project.run(&["scan", path]).success();
        let run = run.prints(&["org/app:v2.0.0", "templates/pod.yaml:2"]).never_says("org/sub");
        // The release is called as the chart is.
        run.prints(&["templates/pod.yaml:5", "app/helper:1", "rendered"]);
    }
    let _ = project.run(&["scan", "--write", "app.tgz"]).success();
    let written = project.read("config/components.yaml");
    assert!(written.contains("org/app:v2.0.0") && !written.contains("org/sub"), "{written}");
}

/// Names as other systems write them; and a file that is named is read whatever it is
/// called.
#[test]
fn a_file_is_read_by_what_it_is_and_not_by_how_it_is_spelt() {
    let project = Project::new();
    for (path, image) in [("in/A.YAML", "org/a:1"), ("in/b.Yml", "org/b:1"), ("notes.txt", "org/c:1")] {
        project.write(path, format!("image: {image}\n"));
    }
    project.run(&["scan", "in", "notes.txt"]).success().prints(&["org/a:1", "org/b:1", "org/c:1"]);
    project.write("picture", b"\x89PNG\r\n");
    project.run(&["scan", "picture"]).success().says(&["picture: not UTF-8"]);
}
