//! What a components.yaml names, read without the product's code.

use serde::Deserialize;
use serde_yaml::Value;

/// A components.yaml for one architecture, its placeholders filled in.
#[derive(Debug)]
pub struct Named {
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// Binaries of kubernetes, then tools.
    pub files: Vec<File>,
    pub repositories: Vec<Repository>,
    /// As they are written.
    pub images: Vec<String>,
    pub charts: Vec<Chart>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub name: String,
    pub url: String,
    pub checksum_url: Option<String>,
    #[serde(default)]
    version: String,
    /// The URL is an archive.
    #[serde(default)]
    pub extract: bool,
    binary: Option<String>,
    /// It lies beside the package.
    #[serde(default)]
    pub carry: bool,
}

impl File {
    /// The file of the archive that is wanted.
    pub fn binary(&self) -> &str {
        self.binary.as_deref().unwrap_or(&self.name)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    pub name: String,
    pub url: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub commit: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    pub name: String,
    pub repo: String,
    pub version: String,
    pub namespace: Option<String>,
    pub values: Option<Value>,
    /// Missing where zarf installs it.
    pub deploy: Option<bool>,
}

impl Chart {
    /// Whether zarf installs it; else it is an OCI artifact.
    pub fn is_deployed(&self) -> bool {
        self.deploy.unwrap_or(true)
    }
}

/// The file as it is. A field that is not known here fails the reading, so
/// that nothing new goes untested.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Components {
    #[serde(rename = "_generated")]
    _generated: Option<Value>,
    #[serde(default)]
    kubernetes: Kubernetes,
    #[serde(default)]
    tools: Vec<File>,
    #[serde(default)]
    repositories: Vec<Repository>,
    #[serde(default)]
    images: Images,
    #[serde(default)]
    charts: Vec<Chart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kubernetes {
    #[serde(default)]
    version: String,
    #[serde(default)]
    binaries: Vec<File>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Images {
    #[serde(default)]
    auto_discover: Vec<Image>,
    #[serde(default)]
    additional: Vec<Image>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Image {
    Entry { image: String },
    Reference(String),
}

impl Named {
    /// # Panics
    /// When the text is no components.yaml, or has fields that are not known
    /// here.
    pub fn read(text: &str, architecture: &str) -> Self {
        let components: Components = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        let Components { kubernetes, tools, repositories, images, charts, .. } = components;
        let binaries = kubernetes.binaries.into_iter().map(|file| filled(file, &kubernetes.version, architecture));
        let tools = tools.into_iter().map(|file| {
            let version = file.version.clone();
            filled(file, &version, architecture)
        });
        let images = images.auto_discover.into_iter().chain(images.additional).map(|image| match image {
            Image::Entry { image } | Image::Reference(image) => image,
        });
        Self {
            architecture: architecture.to_owned(),
            files: binaries.chain(tools).collect(),
            repositories,
            images: images.collect(),
            charts,
        }
    }
}

fn filled(file: File, version: &str, architecture: &str) -> File {
    let fill = |text: String| text.replace("{{version}}", version).replace("{{arch}}", architecture);
    let name = if file.carry { fill(file.name) } else { file.name };
    File { name, url: fill(file.url), checksum_url: file.checksum_url.map(fill), binary: file.binary.map(fill), ..file }
}
