//! `make interop-cluster`: packages of each format, deployed into a real API
//! server and read back out of it.

use std::time::{Duration, Instant};

use airgap_tests::authored;
use airgap_tests::charts;
use airgap_tests::platform::Platform;
use airgap_tests::project::Project;
use serde_json::{Value, json};

use crate::matrix::{Cell, Table};
use crate::programs::Zarf;
use crate::server::{NODE, Server};
use crate::{FORMATS, NEWEST, attempt, table};

type Row = (&'static str, fn(&Site<'_>) -> Cell);

const ROWS: &[Row] = &[
    ("`zarf package deploy --connected`: charts with values and a subchart, manifests, health checks", deploy),
    ("`zarf package list`, `inspect definition` out of the cluster", listed),
    ("`zarf package remove`", remove),
];

struct Site<'a> {
    server: &'a Server,
    zarf: Zarf,
    project: Project,
    _platform: Platform,
}

pub(crate) fn run(words: &[String]) -> Option<Vec<Table>> {
    let server = Server::start(NEWEST);
    let mut columns = Vec::new();
    for format in FORMATS {
        let site = Site::build(format, &server);
        let title = format!("zarf {NEWEST} {format}");
        let cells = ROWS.iter().map(|(what, run)| attempt(&title, what, words, || run(&site))).collect();
        columns.push((format!("Zarf {NEWEST}, `{format}`"), cells));
    }
    let rows: Vec<&str> = ROWS.iter().map(|row| row.0).collect();
    Some(vec![table("in a Kubernetes API server", columns, &rows)?])
}

impl<'a> Site<'a> {
    fn build(format: &str, server: &'a Server) -> Self {
        let platform = Platform::smaller(8);
        put_charts(&platform);
        let chart = |name: &str| {
            json!({
                "name": name, "repo": platform.files.url("/more"), "version": "1.0.0", "namespace": name,
                "values": format!("config/values/{name}.yaml"),
            })
        };
        let project = Project::new()
            .with_settings(|settings| settings["package"]["format"] = json!(format))
            .with_registry(&platform.registry.host())
            .with_file_server(&platform.files.host())
            .with_image(platform.registry.reference("pause:3.10"))
            .with_chart(chart("front"))
            .with_chart(chart("back"));
        project.write("config/values/front.yaml", "replicas: 2\ncache:\n  replicas: 3\n");
        project.write("config/values/back.yaml", "replicas: 1\n");
        let files = json!({
            "zarf.yaml": serde_yaml::to_string(&definition(&platform)).expect("a value is YAML"),
            "alone.yaml": deployment("alone", "alone", "1"), "settings.yaml": SETTINGS,
        });
        authored::author(&project, &files);
        project.run(&["build"]).success();
        Self { server, zarf: Zarf::on(NEWEST, server), project, _platform: platform }
    }

    fn package(&self) -> String {
        self.project.package().display().to_string()
    }

    /// What runs in a namespace, once it is so or when a minute has passed: a
    /// health check of v1beta1 waits for existence on Zarf 0.84.
    fn settled(&self, namespace: &str, expected: &[(String, u64)]) -> Vec<(String, u64)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.deployments(namespace);
            if found == expected || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Name and ready replicas of what runs in a namespace.
    fn deployments(&self, namespace: &str) -> Vec<(String, u64)> {
        let ready = |object: &Value| object["status"]["readyReplicas"].as_u64().unwrap_or_default();
        let name = |object: &Value| object["metadata"]["name"].as_str().expect("a name").to_owned();
        let objects = self.server.objects("deployments", namespace);
        objects.iter().map(|object| (name(object), ready(object))).collect()
    }
}

const SETTINGS: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  namespace: alone\ndata:\n  key: value\n";

fn deployment(name: &str, namespace: &str, replicas: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  \
         replicas: {replicas}\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      \
         labels: {{app: {name}}}\n    spec:\n      nodeName: {NODE}\n      containers:\n      - name: main\n        \
         image: pause:3.10\n"
    )
}

/// A chart with another one in it, and a plain one.
fn put_charts(platform: &Platform) {
    let of_release = "{{ .Release.Namespace }}";
    let replicas = "{{ .Values.replicas }}";
    let (front, cache) = (deployment("front", of_release, replicas), deployment("cache", of_release, replicas));
    let service = "apiVersion: v1\nkind: Service\nmetadata:\n  name: front\nspec:\n  selector: {app: front}\n  ports: [{port: 80}]\n";
    let front = charts::chart(
        "front",
        "1.0.0",
        &[
            ("values.yaml", "replicas: 1\n"),
            ("templates/front.yaml", &front),
            ("templates/service.yaml", service),
            ("charts/cache/Chart.yaml", "apiVersion: v2\nname: cache\nversion: 0.1.0\n"),
            ("charts/cache/values.yaml", "replicas: 1\n"),
            ("charts/cache/templates/cache.yaml", &cache),
        ],
    );
    let back = deployment("back", of_release, replicas);
    let back = charts::chart("back", "1.0.0", &[("values.yaml", "replicas: 2\n"), ("templates/back.yaml", &back)]);
    let index =
        charts::index(&[("front", "1.0.0", "front-1.0.0.tgz", &front), ("back", "1.0.0", "back-1.0.0.tgz", &back)]);
    platform.files.put("/more/index.yaml", index);
    platform.files.put("/more/front-1.0.0.tgz", front);
    platform.files.put("/more/back-1.0.0.tgz", back);
}

fn definition(platform: &Platform) -> Value {
    let chart = |name: &str| {
        json!({
            "name": name, "version": "1.0.0", "localPath": format!("../charts/charts/{name}-1.0.0.tgz"),
            "namespace": name, "valuesFiles": [format!("../charts/values/{name}-1.0.0-0")],
        })
    };
    let healthy =
        |name: &str| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "namespace": name });
    json!({
        "kind": "ZarfPackageConfig",
        "metadata": { "name": "workloads", "version": "1.0.0", "architecture": "amd64" },
        "components": [
            {
                "name": "charts", "required": true, "charts": [chart("front"), chart("back")],
                "images": [platform.registry.reference("pause:3.10")],
                "healthChecks": [healthy("front"), healthy("back")],
            },
            {
                "name": "manifests", "required": true,
                "manifests": [{ "name": "alone", "namespace": "alone", "files": ["settings.yaml", "alone.yaml"] }],
                "healthChecks": [healthy("alone")],
            },
        ],
    })
}

fn deploy(site: &Site<'_>) -> Cell {
    site.zarf.run(&["package", "deploy", &site.package(), "--connected", "--confirm", "--timeout", "3m"]);
    // The values files of the package, for the chart and for the one in it.
    let expected: [(&str, &[(&str, u64)]); 3] =
        [("front", &[("cache", 3), ("front", 2)]), ("back", &[("back", 1)]), ("alone", &[("alone", 1)])];
    for (namespace, replicas) in expected {
        let replicas: Vec<(String, u64)> = replicas.iter().map(|(name, ready)| ((*name).to_owned(), *ready)).collect();
        assert_eq!(site.settled(namespace, &replicas), replicas);
    }
    assert_eq!(site.server.objects("services", "front").len(), 1);
    let settings = site.server.objects("configmaps", "alone");
    assert!(settings.iter().any(|map| map["data"]["key"] == "value"), "{settings:?}");
    Cell::Passed
}

fn listed(site: &Site<'_>) -> Cell {
    let list = site.zarf.run(&["package", "list", "-o", "json"]);
    assert!(list.contains("workloads") && list.contains("1.0.0"), "{list}");
    let definition = site.zarf.run(&["package", "inspect", "definition", "workloads", "--no-color"]);
    assert!(definition.contains("workloads") && definition.contains("manifests"), "{definition}");
    Cell::Passed
}

fn remove(site: &Site<'_>) -> Cell {
    site.zarf.run(&["package", "remove", &site.package(), "--confirm"]);
    for namespace in ["front", "back", "alone"] {
        assert_eq!(site.deployments(namespace), [], "{namespace}");
    }
    let list = site.zarf.run(&["package", "list", "-o", "json"]);
    assert!(!list.contains("workloads"), "{list}");
    Cell::Passed
}
