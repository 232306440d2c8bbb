//! What a soak builds, and who serves it: one of everything, and two streams
//! that take a while. The images come from a real registry.

use std::collections::BTreeMap;

use serde_json::json;

use crate::digest::sha256;
use crate::fault::{Fault, On};
use crate::http::LoggedRequest;
use crate::images::{Image, Noise, Packing, layer_of};
use crate::pass_through::PassThrough;
use crate::platform::Platform;
use crate::project::Project;
use crate::tools::{DockerRegistry, Skopeo};

/// How much is built, and how fast it comes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of the largest layer.
    pub layer: usize,
    /// Bytes of the largest file, of which no checksum is known.
    pub file: usize,
    /// Of these two streams.
    pub bytes_per_second: u64,
}

const IMAGES: [&str; 6] =
    ["library/web:1.27.0", "team/api:2.1.0", "team/worker:2.1.0", "pause:3.10", "manifests-only:1.0.0", "large:1"];
const FILE: &str = "/large/file";

/// The running servers.
pub(super) struct Site {
    pub(super) sizes: Sizes,
    platform: Platform,
    /// In front of the real registry: logs, and is slow.
    front: PassThrough,
    _registry: DockerRegistry,
    /// The path of each file, by the key of its partial download.
    files: BTreeMap<String, String>,
}

impl Site {
    /// None where the registry or skopeo is not installed.
    pub(super) fn start(seed: u64, sizes: Sizes) -> Option<Self> {
        let (registry, skopeo) = (DockerRegistry::start()?, Skopeo::find()?);
        let platform = Platform::start();
        let mut noise = Noise::new(seed);
        let layer = layer_of("large", &noise.bytes(sizes.layer), Packing::Plain);
        platform.registry.push("large:1", &Image::new(seed, &[layer]));
        for name in IMAGES {
            let from = format!("docker://{}", platform.registry.reference(name));
            let to = format!("docker://{}", registry.reference(name));
            skopeo.copy(&["--all", "--preserve-digests"], &from, &to);
        }
        let front = PassThrough::start(&registry.host());
        platform.files.put(FILE, noise.bytes(sizes.file));
        let slow = Fault::Slow { bytes_per_second: sizes.bytes_per_second };
        front.perhaps(On::get("/large/blobs/"), slow.clone());
        platform.files.perhaps(On::get(FILE), slow);
        let files = keys(&platform);
        Some(Self { sizes, platform, front, _registry: registry, files })
    }

    /// Configures `project` to package all of it.
    pub(super) fn configure(&self, project: Project) -> Project {
        let (host, location) = (self.platform.registry.host(), self.front.host());
        self.platform
            .configure(project)
            .with_image(self.platform.registry.reference("large:1"))
            .with_tool("large", &self.platform.files.url(FILE), None)
            .with_settings(|settings| {
                settings["registries"][host] = json!({
                    "mirrors": [{ "location": location, "plain_http": true }],
                    "mirrors_only": true,
                });
            })
    }

    pub(super) fn forget(&self) {
        self.front.forget();
        self.platform.files.forget();
    }

    /// The first request for what is kept under the key of a partial download.
    pub(super) fn first_request(&self, key: &str) -> Option<LoggedRequest> {
        let (log, path) = match self.files.get(key) {
            Some(path) => (self.platform.files.log(), path.clone()),
            None => (self.front.log(), format!("/blobs/sha256:{key}")),
        };
        log.into_iter().find(|entry| entry.method == "GET" && entry.path.ends_with(&path))
    }
}

/// A file is kept under its checksum where one is known, else under its URL.
fn keys(platform: &Platform) -> BTreeMap<String, String> {
    let of = |path: String| {
        let url = sha256(platform.files.url(&path).as_bytes());
        [(sha256(&platform.files.bytes(&path)), path.clone()), (format!("url-{url}"), path)]
    };
    platform.files.paths().into_iter().flat_map(of).collect()
}
