//! What nodes of a cluster pull images with: containerd and podman, each in a
//! folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::tools;

/// A running containerd, killed on drop.
pub struct Containerd {
    child: Child,
    ctr: PathBuf,
    folder: TempDir,
}

impl Containerd {
    /// None where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        let (containerd, ctr) = (tools::require("containerd")?, tools::require("ctr")?);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = folder.path().display();
        let user = |flag: &str| tools::run(Command::new("id").arg(flag)).trim().to_owned();
        let (uid, gid) = (user("-u"), user("-g"));
        let config = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = \"{at}/c.sock\"\nuid = {uid}\ngid = {gid}\n\
             [ttrpc]\naddress = \"{at}/t.sock\"\nuid = {uid}\ngid = {gid}\n"
        );
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config).expect("a new file");
        let log = std::fs::File::create(folder.path().join("log")).expect("a new file");
        let child = Command::new(containerd)
            .arg("--config")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("containerd runs");
        let containerd = Self { child, ctr, folder };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !containerd
            .ctr(&["version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("it runs")
            .success()
        {
            let log = || std::fs::read_to_string(containerd.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "containerd does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(containerd)
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.ctr);
        command.arg("--address").arg(self.folder.path().join("c.sock")).args(arguments);
        command
    }

    /// Fetches an image as `hosts`, a folder like /etc/containerd/certs.d, says;
    /// gives its digest.
    pub fn fetch(&self, hosts: &Path, image: &str) -> String {
        let hosts = hosts.display().to_string();
        tools::run(&mut self.ctr(&["content", "fetch", "--all-platforms", "--hosts-dir", &hosts, image]));
        let list = tools::run(&mut self.ctr(&["image", "ls"]));
        let row = list.lines().find(|row| row.split_whitespace().next() == Some(image));
        row.and_then(|row| row.split_whitespace().nth(2)).unwrap_or_else(|| panic!("no {image} in {list}")).to_owned()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// podman with a storage of its own.
pub struct Podman {
    program: PathBuf,
    folder: TempDir,
}

impl Podman {
    /// None where it is not installed, or this user has no containers.
    pub fn find() -> Option<Self> {
        let podman =
            Self { program: tools::require("podman")?, folder: tempfile::tempdir().expect("a temporary folder") };
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        std::fs::write(podman.folder.path().join("policy.json"), policy).expect("a new file");
        let output = podman.command("").arg("info").output().expect("podman runs");
        if output.status.success() {
            return Some(podman);
        }
        tools::skipped(&format!("podman does not run here: {}", String::from_utf8_lossy(&output.stderr).trim()));
        None
    }

    fn command(&self, registries: &str) -> Command {
        let at = self.folder.path();
        std::fs::write(at.join("registries.conf"), registries).expect("a new file");
        let mut command = Command::new(&self.program);
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(at.join(name));
        }
        command
            .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"])
            .env("CONTAINERS_REGISTRIES_CONF", at.join("registries.conf"));
        command
    }

    /// Pulls an image as `registries`, a registries.conf, says; gives its digest.
    pub fn pull(&self, registries: &str, image: &str) -> String {
        let policy = self.folder.path().join("policy.json");
        tools::run(self.command(registries).args(["pull", "--quiet", "--signature-policy"]).arg(policy).arg(image));
        let digest = ["image", "inspect", "--format", "{{.Digest}}", image];
        tools::run(self.command(registries).args(digest)).trim().to_owned()
    }
}
