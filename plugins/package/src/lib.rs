//! Lays out the Zarf package.
//!
//! [`definition`] reads zarf.yaml, ours or one made by hand, in either form
//! ([`authored`]); [`mod@format`] decides
//! which releases of Zarf it is written for, and [`plan`] which file of which tree becomes which of the [`parts`] of the package, [`images`]
//! checks that every image is there, [`extras`] adds values and documents, and [`sboms`] the SBOMs.
//! The host then archives everything in one pass; its digests become
//! checksums.txt, and the digest of that goes into the zarf.yaml that [`seal`]
//! completes. [`recording`] makes a [`record`] of what is in the package and of where it
//! came from, as the [`lists`] of the earlier steps say it.

mod authored;
pub mod definition;
pub mod extras;
pub mod format;
pub mod images;
pub mod lists;
mod losses;
pub mod parts;
pub mod plan;
pub mod record;
pub mod recording;
mod refusal;
pub mod sboms;
pub mod seal;
pub mod sources;

use model::count::counted;
use sdk::archive::{Added, Archive, Compression, Item};
use sdk::{Context, Inputs, JsonSchema, Sink, Step, StepError, Summary};
use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::parts::{Member, Source};
use crate::plan::Plan;
use crate::sources::Trees;

/// What the step accepts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "sdk::schemars")]
pub struct Configuration {
    /// The step whose tree holds zarf.yaml.
    pub definition: String,
    /// From the host: the architecture of a definition that names none.
    pub architecture: Option<String>,
    /// From the host: the forms of the definition.
    pub format: Format,
    /// From the host: which plugins made what is packaged.
    pub plugins: Vec<Plugin>,
    /// From the host: SBOMs that steps contribute.
    pub contributions: Vec<Contribution>,
}

/// A document in the tree of a step, as pipeline.yaml says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
pub struct Contribution {
    /// The step that makes it.
    pub step: String,
    /// Its path in the tree.
    pub from: String,
    /// Where in the package it goes.
    pub into: PackagePart,
    /// Where that is written: `config/pipeline.yaml:12:9`.
    pub at: String,
}

/// Where in the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(crate = "sdk::schemars")]
pub enum PackagePart {
    /// Among the SBOMs.
    Sboms,
}

/// A plugin of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
pub struct Plugin {
    /// The step that it runs.
    pub step: String,
    /// The name by which the step runs it.
    pub name: String,
    /// What it calls its version; the digest says which code it is.
    pub version: String,
    /// Of the component, `sha256:…`.
    pub digest: String,
    /// Whether it is not the core plugin of its name, but what replaces it.
    pub replaces_core: bool,
    /// As airgap.lock calls it: `core plugin charts`, `plugin charts`.
    #[serde(default, skip_serializing)]
    pub asker: String,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            definition: "zarf_gen".into(),
            architecture: None,
            format: Format::default(),
            plugins: Vec::new(),
            contributions: Vec::new(),
        }
    }
}

struct PackageStep;

impl Step for PackageStep {
    type Configuration = Configuration;
    const NAME: &'static str = "package";
    const SUMMARY: &'static str = "Lays out and archives the Zarf package";

    fn run(cx: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let trees = Trees::new(inputs);
        let text = inputs.get(&configuration.definition)?.read_text("zarf.yaml")?;
        let package = definition::read(&text, configuration.architecture.as_deref())?;
        package.left_out.iter().map(|version| not_known(version)).for_each(|warning| sdk::log::warn(&warning));
        let (package, forms, warning) =
            format::choose(package, configuration.format, &configuration.definition, &trees)?;
        warning.iter().for_each(sdk::log::warn);
        let mut plan = plan::plan(&package, &configuration.definition, &trees)?;
        let contributed = &configuration.contributions;
        sboms::add_to(&mut plan, &package, contributed, &trees)?.iter().for_each(sdk::log::warn);
        left_out(&plan.unnamed).iter().for_each(sdk::log::warn);
        let file = package.file_name();
        let compression = if package.definition.metadata.uncompressed { Compression::None } else { Compression::Zstd };

        let archive = Archive::create(output, &file, compression);
        let added = add_content(&archive, inputs, &plan)?;
        let checksums = seal::checksums(added.iter().map(|file| (file.sha256.as_str(), file.path.as_str())));
        let definition = seal::definition(&package, forms, &plan, &checksums, cx.epoch)?;
        let last = [("checksums.txt", checksums), ("zarf.yaml", definition)];
        archive.add(&last.map(|(path, text)| Item::bytes(path, 0o600, text)))?;
        let artifact = archive.finish()?;

        let sha256 = artifact.digest.trim_start_matches("sha256:");
        output.write_text(&format!("{file}.sha256"), &format!("{sha256}  {file}\n"))?;
        let whole =
            recording::Whole { file: &file, sha256, size: artifact.size, epoch: cx.epoch, tool: &cx.host_version };
        let lists = lists::Lists { plugins: configuration.plugins, ..lists::Lists::read(&trees)? };
        let record = recording::record(&package, &plan, &lists, &whole);
        // Under the package's own name, so that packages of several
        // architectures keep theirs, and where it always was.
        output.write_json(&format!("{file}.manifest.json"), &record)?;
        output.write_json("artifact-manifest.json", &record)?;
        publish_sboms(inputs, output, &file)?;
        let (components, images) = (package.definition.components.len(), record.images.len());
        let message =
            format!("{}, {}", counted(components, "component", "components"), counted(images, "image", "images"));
        Ok(Summary::new(components as u64, "components").message(message))
    }
}

/// The documents that Zarf does not carry lie beside the package.
fn publish_sboms(inputs: &Inputs, output: &Sink, file: &str) -> Result<(), StepError> {
    let Some(tree) = inputs.find(sboms::TREE) else { return Ok(()) };
    if !tree.exists(sboms::WHOLE)? {
        return Ok(());
    }
    output.link(tree, sboms::WHOLE, &format!("{file}.spdx.json"))?;
    let documents = tree.entries(sboms::FOLDER)?;
    let within = format!("{}/", sboms::FOLDER);
    let items: Vec<Item<'_>> = documents
        .iter()
        .map(|entry| {
            Item::file(entry.path.strip_prefix(&within).unwrap_or(&entry.path), 0o644, tree, entry.path.as_str())
        })
        .collect();
    let archive = Archive::create(output, &format!("{file}.spdx.tar"), Compression::None);
    archive.add(&items)?;
    archive.finish().map(drop)
}

fn not_known(version: &str) -> String {
    let version = version.escape_debug();
    format!(
        "zarf.yaml holds a document of `{version}`, which this version does not know: it is left out of the package"
    )
}

/// Images that a message lists; more are counted.
const LISTED: usize = 5;

/// What to say of images that were pulled for nothing.
fn left_out(unnamed: &[String]) -> Option<String> {
    let shown = unnamed.iter().take(LISTED).map(|reference| format!("`{reference}`")).collect::<Vec<_>>().join(", ");
    let more = unnamed.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let count = counted(unnamed.len(), "image that was pulled is", "images that were pulled are");
    (!unnamed.is_empty()).then(|| {
        format!("{count} not packaged: no component of zarf.yaml names {shown}{more}; name them in a component, or remove them from config/components.yaml")
    })
}

/// Everything but the last two files.
fn add_content(archive: &Archive, inputs: &Inputs, plan: &Plan) -> Result<Vec<Added>, StepError> {
    let total = plan.tars.len() as u64 + 1;
    let mut added = Vec::new();
    for (done, tar) in plan.tars.iter().enumerate() {
        sdk::progress(done as u64, Some(total), "parts", &tar.path)?;
        added.push(archive.add_nested(&tar.path, 0o644, &items(inputs, &tar.members)?)?);
    }
    sdk::progress(total - 1, Some(total), "parts", "images")?;
    added.extend(archive.add(&items(inputs, &plan.loose)?)?);
    sdk::progress(total, Some(total), "parts", "")?;
    Ok(added)
}

fn items<'a>(inputs: &'a Inputs, members: &[Member]) -> Result<Vec<Item<'a>>, StepError> {
    let item = |member: &Member| {
        let Member { path, mode, source } = member;
        Ok(match source {
            Source::File { tree, path: from, .. } => Item::file(path.clone(), *mode, inputs.get(tree)?, from.clone()),
            Source::Bytes(bytes) => Item::bytes(path.clone(), *mode, bytes.clone()),
            Source::Directory => Item::directory(path.clone(), *mode),
        })
    };
    members.iter().map(item).collect()
}

sdk::export_step!(PackageStep);
