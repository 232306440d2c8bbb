//! 24 images of 5 layers on 4 shared stacks of 3, in a real registry; half of
//! the bytes are incompressible.

use std::process::Command;
use std::time::Duration;

use airgap_tests::images::{Image, Layer, Packing, half_noise, layer_of};
use airgap_tests::measure::{Cost, cost};
use airgap_tests::project::Project;
use airgap_tests::tools::{DockerRegistry, Skopeo};
use serde_json::{Value, json};

use crate::run::settle;

pub(crate) const IMAGES: usize = 24;
const STACKS: usize = 4;
const STACK_LAYERS: usize = 3;
const OWN_LAYERS: usize = 2;
const STACK_LAYER: usize = 10 << 20;
const OWN_LAYER: usize = 4_400_000;
/// A request for each manifest and for each distinct blob; nobody asks for a
/// token.
pub(crate) const LEAST_REQUESTS: usize = IMAGES + IMAGES * (1 + OWN_LAYERS) + STACKS * STACK_LAYERS;

pub(crate) struct Workload {
    registry: DockerRegistry,
    skopeo: Skopeo,
    names: Vec<String>,
    /// Bytes of all blobs, each once.
    pub(crate) payload: u64,
}

impl Workload {
    /// Fills a registry with `factor` times the data in as many images; None
    /// where the registry or skopeo is not installed.
    pub(crate) fn new(factor: usize) -> Option<Self> {
        let (registry, skopeo) = (DockerRegistry::start()?, Skopeo::find()?);
        let make = |seed: usize, size: usize| {
            layer_of(&format!("data/{seed}"), &half_noise(seed as u64, size * factor), Packing::Stored)
        };
        let mut payload = 0;
        let mut names = Vec::new();
        for stack in 0..STACKS {
            let shared: Vec<Layer> =
                (0..STACK_LAYERS).map(|number| make(1_000 + stack * 10 + number, STACK_LAYER)).collect();
            payload += shared.iter().map(|layer| layer.blob.size()).sum::<u64>();
            for number in (stack..IMAGES).step_by(STACKS) {
                let own: Vec<Layer> =
                    (0..OWN_LAYERS).map(|layer| make(2_000 + number * OWN_LAYERS + layer, OWN_LAYER)).collect();
                payload += own.iter().map(|layer| layer.blob.size()).sum::<u64>();
                let image = Image::new(number as u64, &[&shared[..], &own[..]].concat());
                payload += image.config.size() + image.manifest.size();
                let name = registry.reference(&format!("bench/app{number}:1"));
                skopeo.push(&[], &image, &name);
                names.push(name);
            }
        }
        Some(Self { registry, skopeo, names, payload })
    }

    /// Of the registry.
    pub(crate) fn host(&self) -> String {
        self.registry.host()
    }

    pub(crate) fn registry_id(&self) -> u32 {
        self.registry.id()
    }

    pub(crate) fn project(&self) -> Project {
        let project = Project::new().with_registry(&self.registry.host());
        let images: Vec<Value> = self.names.iter().map(|name| json!({ "image": name })).collect();
        project.write("config/components.yaml", json!({ "images": { "additional": images } }).to_string());
        project
    }

    /// Everything with skopeo, tar and zstd.
    pub(crate) fn by_hand(&self) -> anyhow::Result<Cost> {
        let folder = tempfile::tempdir()?;
        let layout = folder.path().join("layout");
        settle();
        let mut total = Cost { time: Duration::ZERO, memory: 0, status: Default::default() };
        let mut add = |part: Cost| {
            total.time += part.time;
            total.memory = total.memory.max(part.memory);
            anyhow::ensure!(part.status.success(), "a command failed");
            Ok(())
        };
        for name in &self.names {
            let mut command = self.skopeo.command();
            command.args(["copy", "--quiet", "--src-tls-verify=false"]);
            command.args([format!("docker://{name}"), format!("oci:{}:{name}", layout.display())]);
            add(cost(&mut command))?;
        }
        let pack = format!(
            "tar -C '{}' -cf - . | zstd -q -3 -T2 -o '{}/package.tar.zst'",
            layout.display(),
            folder.path().display()
        );
        add(cost(Command::new("sh").args(["-c", &pack])))?;
        Ok(total)
    }
}
