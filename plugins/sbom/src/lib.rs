//! Writes the SBOMs: what is installed in the images and files of the package.
//!
//! [`image`] finds the images of the layout and their layers; [`layers`] reads
//! each layer once, through the host, and the host keeps the notes ([`found`])
//! for every later build. [`kinds`] has a module for each kind of package, which reads a
//! file as it passes by ([`content`]), Java by way of [`zip`]. What of a layer is to be seen in an image is asked of the layers above it.
//! [`files`] does the same for what the other steps fetched. Out of that come
//! documents: [`syft`] for Zarf and grype, [`spdx`] for everybody else.

pub mod content;
pub mod contents;
pub mod files;
pub mod found;
pub mod image;
pub mod kinds;
pub mod layers;
pub mod purl;
pub mod spdx;
pub mod subject;
pub mod syft;
pub mod zip;

use std::io::{BufWriter, Write as _};

use model::count::counted;
use sdk::{Context, Inputs, JsonSchema, Sink, Step, StepError, Summary};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contents::Contents;
use crate::files::Lists;
use crate::spdx::{Document, Element};
use crate::subject::Subject;

/// What the step accepts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "sdk::schemars")]
pub struct Configuration {
    /// The step whose tree holds zarf.yaml.
    pub definition: String,
    /// From the host: whether there is anything to do.
    pub sbom: bool,
    /// From the host.
    pub package: Package,
    /// From the host: for which processor.
    pub architecture: String,
    /// From the host: which plugins made what is packaged.
    pub plugins: Vec<Plugin>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            definition: "zarf_gen".to_owned(),
            sbom: true,
            package: Package::default(),
            architecture: String::new(),
            plugins: Vec::new(),
        }
    }
}

/// The package that the SBOMs are for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(crate = "sdk::schemars")]
pub struct Package {
    /// What it is called.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
}

/// A plugin of the pipeline.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
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
}

/// `sboms.json`: which document is about what, for the step `package`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct List {
    /// The images, one for each platform.
    pub images: Vec<Listed>,
    /// The components of zarf.yaml that have files.
    pub components: Vec<Listed>,
    /// References of the layout that run nowhere: charts, signatures.
    pub others: Vec<String>,
}

/// The documents of one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The reference of an image, or the name of a component.
    pub name: String,
    /// Below `sboms/` and `spdx/`.
    pub file: String,
    /// How many packages it lists.
    pub packages: usize,
    /// What could not be read.
    pub unread: usize,
}

/// Warnings of one build; the documents have all.
const WARNED: usize = 50;

struct Sbom;

impl Step for Sbom {
    type Configuration = Configuration;
    const NAME: &'static str = "sbom";
    const SUMMARY: &'static str = "Writes SBOMs of images and files";

    fn run(cx: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        if !configuration.sbom {
            output.write_json("sboms.json", &List::default())?;
            return Ok(Summary::new(0, "SBOMs").message("none: `package.sbom` is off"));
        }
        let mut work = SbomRun::new(cx, &configuration, output);
        work.images(inputs)?;
        work.fetched(inputs)?;
        work.finish()
    }
}

/// One run of the step.
struct SbomRun<'a> {
    cx: &'a Context,
    output: &'a Sink,
    /// The step with the definition.
    definition: &'a str,
    whole: Document,
    /// Of the package, in the document about it.
    root: String,
    list: List,
    packages: usize,
    layers: usize,
    read: usize,
    warned: usize,
}

impl<'a> SbomRun<'a> {
    fn new(cx: &'a Context, configuration: &'a Configuration, output: &'a Sink) -> Self {
        let Package { name, version } = &configuration.package;
        let root = "SPDXRef-Package".to_owned();
        let element = Element {
            id: root.clone(),
            name: name.clone(),
            version: version.clone(),
            purl: purl::url("generic", "", name, version, &[("arch", &configuration.architecture)]),
            purpose: "INSTALL",
            ..Element::default()
        };
        let mut whole = Document::new(&format!("{name}-{}-{version}", configuration.architecture), element);
        for Plugin { step, name, version, digest } in &configuration.plugins {
            whole.contain(&root, files::plugin(step, name, version, digest));
        }
        let definition = &configuration.definition;
        Self { cx, output, definition, whole, root, list: List::default(), packages: 0, layers: 0, read: 0, warned: 0 }
    }

    fn images(&mut self, inputs: &Inputs) -> Result<(), StepError> {
        let Some(tree) = inputs.find("images") else { return Ok(()) };
        if !tree.exists("index.json")? {
            return Ok(());
        }
        let (images, others) = image::list(tree)?;
        self.list.others = others;
        let total: usize = images.iter().map(|image| image.layers.len()).sum();
        for image in &images {
            let (mut layers, mut read) = (self.layers, self.read);
            let contents = image::contents(tree, image, &mut |was_read| {
                layers += 1;
                read += usize::from(was_read);
                sdk::progress(layers as u64, Some(total as u64), "layers", &image.reference)
            })?;
            (self.layers, self.read) = (layers, read);
            self.warn(&format!("image `{}`", image.identifier()), &contents);
            let listed =
                self.write("images", &image.identifier(), &image.reference, &Subject::image(image), &contents)?;
            self.list.images.push(listed);
        }
        Ok(())
    }

    fn fetched(&mut self, inputs: &Inputs) -> Result<(), StepError> {
        let lists = Lists::read(inputs)?;
        let definition = match inputs.find(self.definition) {
            Some(tree) => tree.read_text_optional("zarf.yaml")?.unwrap_or_default(),
            None => String::new(),
        };
        let mut found = std::collections::BTreeMap::new();
        if let Some(tree) = inputs.find("files") {
            for file in &lists.files {
                let contents = files::contents(tree, file)?;
                self.warn(&format!("file `{}`", file.name), &contents);
                let subject = Subject::File(files::subject(file));
                let name = normal(file.path.rsplit('/').next().unwrap_or(&file.path));
                self.spdx(&format!("spdx/files/{name}.spdx.json"), &subject, &contents)?;
                found.insert(file.path.clone(), contents);
            }
        }
        for (component, files) in files::by_component(&definition, &lists.files) {
            let mut contents = Contents::default();
            for part in files.iter().filter_map(|file| found.get(&file.path)) {
                contents.packages.extend(part.packages.clone());
                contents.unread.extend(part.unread.clone());
            }
            contents.sort();
            let name = format!("zarf-component-{component}");
            let listed = self.syft(&name, &component, &Subject::Component(component.clone()), &contents)?;
            self.list.components.push(listed);
        }
        let root = self.root.clone();
        lists.charts.iter().for_each(|chart| self.whole.contain(&root, files::chart(chart)));
        lists.repositories.iter().for_each(|repository| self.whole.contain(&root, files::repository(repository)));
        Ok(())
    }

    /// Both documents of a subject, and its part of the whole one.
    fn write(
        &mut self,
        folder: &str,
        name: &str,
        listed: &str,
        subject: &Subject,
        contents: &Contents,
    ) -> Result<Listed, StepError> {
        self.spdx(&format!("spdx/{folder}/{}.spdx.json", normal(name)), subject, contents)?;
        self.syft(name, listed, subject, contents)
    }

    fn syft(&mut self, name: &str, listed: &str, subject: &Subject, contents: &Contents) -> Result<Listed, StepError> {
        let file = normal(name);
        let document = syft::document(subject, contents, &self.cx.host_version);
        write_json(self.output, &format!("sboms/{file}.json"), &document)?;
        let (packages, unread) = (contents.packages.len(), contents.unread.len());
        Ok(Listed { name: listed.to_owned(), file, packages, unread })
    }

    fn spdx(&mut self, path: &str, subject: &Subject, contents: &Contents) -> Result<(), StepError> {
        let element = spdx::element(subject);
        let (id, name) = (element.id.clone(), element.name.clone());
        let root = self.root.clone();
        self.whole.contain(&root, element);
        self.whole.found(&id, contents);
        self.whole.unread(&name, contents);
        self.packages += contents.packages.len();
        let document = spdx::document(subject, contents).finish(self.cx.epoch, &self.cx.host_version);
        write_json(self.output, path, &document)
    }

    fn warn(&mut self, what: &str, contents: &Contents) {
        for (digest, _, unread) in &contents.unread {
            self.warned += 1;
            if self.warned <= WARNED {
                sdk::log::warn(warning(what, digest, &unread.path, &unread.why));
            }
        }
    }

    fn finish(self) -> Result<Summary, StepError> {
        if self.warned > WARNED {
            sdk::log::warn(format!(
                "{} further files could not be read for the SBOM: it lists them",
                self.warned - WARNED
            ));
        }
        let Self { cx, output, whole, list, packages, layers, read, .. } = self;
        write_json(output, "package.spdx.json", &whole.finish(cx.epoch, &cx.host_version))?;
        output.write_json("sboms.json", &list)?;
        let documents = list.images.len() + list.components.len();
        let (packages, layers) = (counted(packages, "package", "packages"), counted(layers, "layer", "layers"));
        let message = format!("{packages}, {read} of {layers} read");
        Ok(Summary::new(documents as u64, "SBOMs").message(message))
    }
}

/// Bytes of a document that cross to the host at a time.
const PIECE: usize = 64 << 10;

/// In one line: nobody reads them without a tool.
fn write_json(output: &Sink, path: &str, document: &Value) -> Result<(), StepError> {
    let mut writer = BufWriter::with_capacity(PIECE, output.writer(path, false)?);
    serde_json::to_writer(&mut writer, document)?;
    writer.write_all(b"\n").and_then(|()| writer.flush()).map_err(StepError::from)
}

fn warning(what: &str, layer: &str, path: &str, why: &str) -> String {
    let layer = if layer.is_empty() { String::new() } else { format!(", layer {layer}") };
    let path = if path.is_empty() { String::new() } else { format!(", `/{}`", path.escape_debug()) };
    format!("the SBOM lacks something of {what}{layer}{path}: {why}")
}

/// A name as Zarf makes files of it.
pub fn normal(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' }).collect()
}

sdk::export_step!(Sbom);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_zarf_names_them() {
        assert_eq!(normal("docker.io/library/nginx:1.27@sha256:ab"), "docker.io_library_nginx_1.27_sha256_ab");
    }

    #[test]
    fn a_warning_names_image_layer_and_file() {
        assert_eq!(
            warning("image `a:1`", "sha256:12", "x\u{1b}.jar", "it is no zip"),
            "the SBOM lacks something of image `a:1`, layer sha256:12, `/x\\u{1b}.jar`: it is no zip"
        );
        assert_eq!(warning("file `a`", "", "", "w"), "the SBOM lacks something of file `a`: w");
    }
}
