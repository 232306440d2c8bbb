//! The pipeline of every project that has no pipeline.yaml.

use super::{HostStep, OnFailure, Pipeline, Publish, Runner, StepSpec, Target};

impl Pipeline {
    /// The pipeline of every project that has no pipeline.yaml.
    pub fn built_in() -> Self {
        let step = |id: &str, name: &str, run: Runner, needs: &[&str], on_failure: OnFailure, publish: Vec<Publish>| {
            let needs = needs.iter().map(|need| (*need).to_owned()).collect();
            StepSpec { name: name.to_owned(), needs, on_failure, publish, ..StepSpec::new(id, run) }
        };
        let host = Runner::Host;
        let plugin = |name: &str| Runner::Plugin(name.to_owned());
        let publish = |from: &[&str], to: Target| -> Vec<Publish> {
            from.iter().map(|from| Publish { from: (*from).to_owned(), to }).collect()
        };
        let sources = ["manifests", "images", "files", "repos", "charts"];
        let found = ["manifests", "charts", "render"];
        let made = ["manifests", "images", "files", "repos", "charts", "zarf_gen"];
        let everything = ["manifests", "images", "files", "repos", "charts", "zarf_gen", "sbom"];
        let manifests = publish(&["components.yaml", "components.base.yaml"], Target::Config);
        let package = publish(
            &["*.tar.zst", "*.tar", "*.sha256", "*.manifest.json", "*.spdx.json", "artifact-manifest.json"],
            Target::Dist,
        );
        use OnFailure::{Preserve, RollBack};
        Self {
            steps: vec![
                step("config", "Configuration", host(HostStep::Config), &[], RollBack, Vec::new()),
                step("manifests", "Component manifest", plugin("manifest"), &["config"], RollBack, manifests),
                step("images", "Container images", host(HostStep::Images), &["manifests"], Preserve, Vec::new()),
                step("files", "Binaries and tools", host(HostStep::Files), &["manifests"], Preserve, Vec::new()),
                step("repos", "Git repositories", host(HostStep::Repos), &["manifests"], Preserve, Vec::new()),
                step("charts", "Helm charts", plugin("charts"), &["manifests"], Preserve, Vec::new()),
                step("render", "Rendered charts", plugin("helm-render"), &["charts"], RollBack, Vec::new()),
                step("discover", "Images of charts", plugin("discover"), &found, RollBack, Vec::new()),
                step("zarf_gen", "zarf.yaml", plugin("zarf-yaml"), &sources, RollBack, Vec::new()),
                step("sbom", "SBOMs", plugin("sbom"), &made, RollBack, Vec::new()),
                step("package", "Zarf package", plugin("package"), &everything, RollBack, package),
            ],
        }
    }
}
