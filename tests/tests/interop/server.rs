//! A Kubernetes API on loopback: etcd, the API server, its controllers, and
//! kwok, which says of every pod that it runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use airgap_tests::tools;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::programs::{Program, Zarf, built, shown};

/// Who may do everything.
const TOKEN: &str = "loopback-alone";
/// The pods' node; there is no scheduler.
pub(crate) const NODE: &str = "node-1";
/// How long the API server may take to come up.
const LIMIT: Duration = Duration::from_secs(180);

/// Running processes, killed on drop, the newest first.
pub(crate) struct Server {
    children: Vec<Child>,
    folder: TempDir,
    kubectl: Program,
}

impl Drop for Server {
    fn drop(&mut self) {
        for mut child in self.children.drain(..).rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    /// # Panics
    /// When it does not come up: nothing is skipped here.
    pub(crate) fn start(zarf: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = tools::free_port();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, access(port)).expect("a new file");
        let kubectl = Program::find(&format!("zarf-{zarf}")).with_env("KUBECONFIG", shown(&kubeconfig));
        let mut server = Self { children: Vec::new(), folder, kubectl };
        let etcd = server.start_etcd();
        server.start_api(port, &etcd);
        server.wait_for("the API server", |server| server.kubectl(&["get", "--raw", "/readyz"]).0);
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let key = format!("--service-account-private-key-file={}", server.key());
        // On a busy machine the node would seem to have gone.
        let controllers = "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller";
        let arguments = [kubeconfig.as_str(), &key, controllers, "--leader-elect=false", "--secure-port=0"];
        server.launch(&built("kube-controller-manager"), &arguments);
        let stages = format!("--config={}", built("../stages.yaml").display());
        server.launch(&built("kwok"), &[&kubeconfig, &stages, "--manage-all-nodes=true", "--server-address="]);
        server.add_node();
        server
    }

    pub(crate) fn kubeconfig(&self) -> String {
        shown(&self.folder.path().join("kubeconfig"))
    }

    /// Runs kubectl, as Zarf has it: whether it succeeded, and what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> (bool, String) {
        self.kubectl.tried(&[&["tools", "kubectl"], arguments].concat())
    }

    /// Objects as the API has them.
    ///
    /// # Panics
    /// When it does not answer.
    pub(crate) fn objects(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let (succeeded, text) = self.kubectl(&["get", kind, "-n", namespace, "-o", "json"]);
        assert!(succeeded, "{text}\n{}", self.logs());
        let list: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
        list["items"].as_array().expect("a list").clone()
    }

    /// Asks again until it is so.
    pub(crate) fn wait_for(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so(self) {
            let ended = self.children.iter_mut().any(|child| child.try_wait().ok().flatten().is_some());
            assert!(!ended && Instant::now() < deadline, "no {what}:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn start_etcd(&mut self) -> String {
        let [client, peer] = [(); 2].map(|()| format!("http://127.0.0.1:{}", tools::free_port()));
        let data = shown(&self.folder.path().join("etcd"));
        let program = tools::require("etcd").expect("etcd is installed (Debian: etcd-server)");
        let arguments = ["--data-dir", &data, "--listen-client-urls", &client, "--advertise-client-urls", &client];
        let peers = ["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer];
        let alone = format!("default={peer}");
        self.launch(&program, &[&arguments[..], &peers, &["--initial-cluster", &alone]].concat());
        client
    }

    fn start_api(&mut self, port: u16, etcd: &str) {
        let folder = shown(self.folder.path());
        let tokens = self.folder.path().join("tokens.csv");
        std::fs::write(tokens, format!("{TOKEN},admin,1,\"system:masters\"\n")).expect("a new file");
        let key = self.key();
        let arguments = [
            format!("--etcd-servers={etcd}"),
            format!("--secure-port={port}"),
            format!("--cert-dir={folder}/certificates"),
            format!("--token-auth-file={folder}/tokens.csv"),
            format!("--service-account-key-file={key}"),
            format!("--service-account-signing-key-file={key}"),
        ];
        let fixed = [
            "--bind-address=127.0.0.1",
            // It names itself to pods, of which none runs.
            "--advertise-address=192.0.2.1",
            "--endpoint-reconciler-type=none",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(fixed).collect();
        self.launch(&built("kube-apiserver"), &arguments);
    }

    /// What signs the tokens of service accounts: the key that the API server
    /// makes for itself before it needs one.
    fn key(&self) -> String {
        shown(&self.folder.path().join("certificates/apiserver.key"))
    }

    /// A process with a log of its own.
    fn launch(&mut self, program: &Path, arguments: &[&str]) {
        let name = program.file_name().expect("a file has a name").to_string_lossy();
        let log = File::create(self.folder.path().join(format!("{name}.log"))).expect("a new file");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|err| panic!("cannot start {name}: {err}"));
        self.children.push(child);
    }

    /// The node, and a pod: Zarf takes a cluster for one where something runs.
    fn add_node(&mut self) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": NODE, "annotations": { "kwok.x-k8s.io/node": "fake" } },
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "first", "namespace": "default" },
            "spec": { "nodeName": NODE, "containers": [{ "name": "main", "image": "pause:3.10" }] },
        });
        for object in [node, pod] {
            let path = self.folder.path().join("object.json");
            std::fs::write(&path, object.to_string()).expect("a new file");
            let kind = object["kind"].as_str().expect("an object has a kind");
            // Its service account comes from a controller, when it comes.
            self.wait_for(kind, |server| server.kubectl(&["apply", "-f", &shown(&path)]).0);
        }
        let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        for object in ["node/node-1", "pod/first"] {
            self.wait_for(object, |server| server.kubectl(&["get", object, "-o", ready]).1.contains("True"));
        }
    }

    /// The ends of all logs.
    fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        let logs = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
        let end = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            format!("--- {}\n{last}\n", path.display())
        };
        logs.map(end).collect()
    }
}

impl Zarf {
    /// With the cluster that it works on.
    pub(crate) fn on(version: &str, server: &Server) -> Self {
        Self::of(version).with_env("KUBECONFIG", server.kubeconfig())
    }
}

fn access(port: u16) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "loopback",
        "clusters": [{
            "name": "loopback",
            "cluster": { "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true },
        }],
        "users": [{ "name": "admin", "user": { "token": TOKEN } }],
        "contexts": [{ "name": "loopback", "context": { "cluster": "loopback", "user": "admin" } }],
    })
    .to_string()
}
