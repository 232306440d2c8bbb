//! What is packaged: one of everything that a package can hold, in one format.

use airgap_tests::authored::{author, pipeline};
use airgap_tests::charts;
use airgap_tests::images::{Image, Index, Platform as Target, layer};
use airgap_tests::package::Package;
use airgap_tests::platform::Platform;
use airgap_tests::project::Project;
use serde_json::{Value, json};

use crate::programs::Zarf;

/// What the notes of the package say.
pub(crate) const NOTES: &str = "What this package is for.\n";
/// The document that goes along.
pub(crate) const DOCUMENT: &str = "# Read me first\n";

/// The packages of one format, and the servers that they came from.
pub(crate) struct Site {
    pub(crate) format: &'static str,
    /// Serves on.
    _platform: Platform,
    /// Made by hand: every sort of content.
    everything: Project,
    /// The same without what needs Zarf 0.77.
    plain: Project,
    /// As the product composes it, the demo's platform.
    pub(crate) composed: Project,
    /// As the product composes it: files, which need no cluster, and an image and
    /// a chart that is not installed, which do.
    pub(crate) files: Project,
}

impl Site {
    pub(crate) fn build(format: &'static str) -> Self {
        let platform = Platform::smaller(8);
        let pinned = push(&platform);
        let everything = by_hand(&platform, format, Some(&pinned));
        let plain = by_hand(&platform, format, None);
        let composed = platform.configure(Project::new()).with_settings(|settings| of_format(settings, format));
        let files = files_first(&platform, format);
        for project in [&everything, &plain, &composed, &files] {
            project.run(&["build"]).success();
            project.run(&["verify", &project.package().display().to_string()]).success();
        }
        Self { format, _platform: platform, everything, plain, composed, files }
    }

    /// The fullest package that a release takes.
    pub(crate) fn project(&self, zarf: &Zarf) -> &Project {
        if zarf.is_from("0.77.0") { &self.everything } else { &self.plain }
    }

    pub(crate) fn fullest(&self) -> &Project {
        &self.everything
    }

    pub(crate) fn package(&self, zarf: &Zarf) -> String {
        self.project(zarf).package().display().to_string()
    }
}

fn of_format(settings: &mut Value, format: &str) {
    settings["package"]["format"] = json!(format);
}

/// A package, opened.
pub(crate) fn opened(project: &Project) -> Package {
    Package::unchecked(&project.package())
}

/// What the demo's platform lacks: a chart with another one in it, and an index
/// to be pinned. Gives the pinned reference.
fn push(platform: &Platform) -> String {
    let configuration = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {{{{ .Release.Namespace }}}}\n\
             data:\n  replicas: {{{{ .Values.replicas | quote }}}}\n"
        )
    };
    let metadata = "apiVersion: v2\nname: cache\nversion: 0.1.0\n";
    let files = [
        ("values.yaml", "replicas: 1\ncache:\n  replicas: 1\n"),
        ("templates/stack.yaml", &configuration("stack")),
        ("charts/cache/Chart.yaml", metadata),
        ("charts/cache/values.yaml", "replicas: 1\n"),
        ("charts/cache/templates/cache.yaml", &configuration("cache")),
    ];
    let stack = charts::chart("stack", "2.0.0", &files);
    platform.files.put("/more/index.yaml", charts::index(&[("stack", "2.0.0", "stack-2.0.0.tgz", &stack)]));
    platform.files.put("/more/stack-2.0.0.tgz", stack);
    platform.files.put("/more/stack-2.0.0.tgz.prov", "signed\n");
    let images = [
        Image::new(70, &[layer(70, 20_000)]),
        Image::build(71, &[layer(71, 20_000)], airgap_tests::images::Dialect::Oci, Target::arm64()),
    ];
    let index = Index::new(&images);
    platform.registry.push_index("team/many:1.0.0", &index);
    platform.registry.reference(&format!("team/many@{}", index.manifest.digest))
}

/// A pipeline whose definition is made by hand.
fn by_hand(platform: &Platform, format: &str, pinned: Option<&str>) -> Project {
    let mut project = platform.configure(Project::new()).with_settings(|settings| of_format(settings, format));
    project = project.with_chart(json!({
        "name": "stack", "repo": platform.files.url("/more"), "version": "2.0.0", "namespace": "stack",
        "values": ["config/values/stack.yaml", "config/values/more.yaml"],
    }));
    project.write("config/values/stack.yaml", "replicas: 2\n");
    project.write("config/values/more.yaml", "cache:\n  replicas: 3\n");
    if let Some(pinned) = pinned {
        project = project.with_image(pinned);
    }
    let mut definition = definition(&project, platform, pinned);
    if format == "v1alpha1" {
        // With a document that is only one's own a package is nothing else.
        definition["documentation"]["readme"] = json!("docs/README.md");
    }
    let files = json!({
        "zarf.yaml": serde_yaml::to_string(&definition).expect("a value is YAML"),
        "notes.txt": NOTES, "docs/README.md": DOCUMENT, "manifests/first.yaml": CONFIG_MAP,
        "manifests/second.yaml": SECRET,
    });
    author(&project, &files);
    project
}

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: first\n  namespace: plain\n";
const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: second\n  namespace: plain\nstringData:\n  a: b\n";

/// Everything that v1alpha1 and v1beta1 both have a form for.
fn definition(project: &Project, platform: &Platform, pinned: Option<&str>) -> Value {
    let image = |name: &str| platform.registry.reference(name);
    let site = project.path("site").display().to_string();
    let note = |text: &str| json!({ "cmd": format!("mkdir -p {site} && echo {text} >> {site}/actions") });
    let mut images = vec![image("team/api:2.1.0"), image("team/worker:2.1.0"), image("pause:3.10")];
    images.extend(pinned.map(str::to_owned));
    let chart = |name: &str, version: &str, values: usize| {
        let values = (0..values).map(|number| format!("../charts/values/{name}-{version}-{number}"));
        json!({
            "name": name, "version": version, "localPath": format!("../charts/charts/{name}-{version}.tgz"),
            "namespace": name, "valuesFiles": values.collect::<Vec<String>>(),
        })
    };
    let repositories: Vec<String> =
        platform.git.iter().map(|git| format!("{}@v1.0.0", git.clone_url("gitops-base"))).collect();
    json!({
        "kind": "ZarfPackageConfig",
        "metadata": {
            "name": "everything", "version": "1.0.0", "description": "One of everything", "architecture": "amd64",
        },
        "documentation": { "stack-2.0.0.tgz.prov": "../charts/charts/stack-2.0.0.tgz.prov" },
        "components": [
            {
                "name": "files", "required": true,
                "files": [
                    {
                        "source": "../files/bin/kubectl", "target": format!("{site}/bin/kubectl"), "executable": true,
                        "symlinks": [format!("{site}/bin/k")],
                    },
                    { "source": "../files/bin/helm", "target": format!("{site}/bin/helm"), "executable": true },
                    { "source": "notes.txt", "target": format!("{site}/notes.txt") },
                ],
                "actions": {
                    "onDeploy": {
                        "defaults": { "maxRetries": 1 },
                        "before": [note("before")], "after": [note("after")], "onSuccess": [note("deployed")],
                    },
                    "onRemove": { "before": [note("removing")], "onSuccess": [note("removed")] },
                },
            },
            { "name": "images", "images": images },
            {
                "name": "charts", "charts": [chart("web", "1.0.0", 1), chart("stack", "2.0.0", 2)],
                "images": [image("library/web:1.27.0")],
                "manifests": [{
                    "name": "plain", "namespace": "plain", "files": ["manifests/first.yaml", "manifests/second.yaml"],
                }],
                "healthChecks": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "first", "namespace": "plain" }],
            },
            { "name": "repositories", "repos": repositories },
        ],
    })
}

/// Tools, put into a folder of the project, and what comes after them.
fn files_first(platform: &Platform, format: &str) -> Project {
    let project = Project::new()
        .with_settings(|settings| of_format(settings, format))
        .with_file_server(&platform.files.host())
        .with_tool("yq", &platform.files.url("/yq/v4.44.1/yq_linux_amd64"), None)
        .with_archive("helm", &platform.files.url("/helm/helm-v3.16.2-linux-amd64.tar.gz"), Some("linux-amd64/helm"))
        .with_registry(&platform.registry.host())
        .with_image(platform.registry.reference("pause:3.10"))
        .with_chart(json!({
            "name": "stack", "repo": platform.files.url("/more"), "version": "2.0.0", "deploy": false,
        }));
    let directory = project.path("site").display().to_string();
    project.write("config/pipeline.yaml", pipeline("zarf-yaml", &json!({ "tools_directory": directory })));
    project
}
