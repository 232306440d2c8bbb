//! The configuration of a project, loaded and checked as a whole.
//!
//! [`Project::load`] reads every file under config/ once ([`source`]), parses
//! each strictly (one module per file), checks what each says, and then what
//! they say together: the pins against the [`catalog`], the components that
//! the pins turn into, the local files that the components name. Every refusal
//! names file, line and column ([`span`]) and says what to do, all of them are
//! told at once; nothing is ever written. At the end stands the [`hash`] of it all. [`edit`] changes
//! components.yaml for the commands that add to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::model::catalog::Catalog;
use ::model::problem::{Problem, YamlPath};
use ::model::{ComponentManifest, ResolvedComponents};

use crate::airgap_lock::AirgapLock;
use crate::as_read::AsRead;
use crate::catalog::CatalogFile;
use crate::components::ComponentsFile;
use crate::defined::Defined;
use crate::hash::{ConfigHashes, file_digest};
use crate::pipeline::Pipeline;
use crate::plugins_lock::PluginsLock;
use crate::settings::Settings;
use crate::source::{Located, Refusals, Source, refuse_all};
use crate::versions_env::VersionsEnv;
use base::digest::Digest;
use base::error::{Class, Error, Result};
use base::layout::{Layout, shown};

pub mod airgap_lock;
pub mod as_read;
mod catalog;
pub mod component_manifest;
pub mod components;
pub mod contribute;
pub mod core_plugins;
pub mod defined;
pub mod edit;
pub mod hash;
mod hidden;
mod import_paths;
pub mod imports;
pub mod limits;
pub mod local;
mod lock_copy;
pub mod lock_doubts;
pub mod lock_names;
pub mod named;
pub mod pin_signature;
pub mod pin_source;
pub mod pipeline;
pub mod plugins_lock;
pub mod publish;
mod refresh;
pub mod repository;
pub mod resolved;
pub mod runners;
pub mod settings;
mod shape;
pub mod source;
mod span;
mod step;
mod step_id;
mod versions_env;
mod web;
pub mod written;

/// What `init` writes: the path below config/ and the content.
pub const DEFAULTS: &[(&str, &str)] = &[
    ("versions.env", include_str!("../../../config/versions.env")),
    ("catalog.yaml", include_str!("../../../config/catalog.yaml")),
    ("settings.yaml", include_str!("../../../config/settings.yaml")),
    ("values/gitea.yaml", include_str!("../../../config/values/gitea.yaml")),
];

/// Everything under config/, parsed and checked.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where everything of the project lies.
    pub layout: Layout,
    /// The folder that holds config/: local charts and values files are
    /// relative to it.
    pub root: PathBuf,
    /// versions.env: the pins.
    pub versions: VersionsEnv,
    /// catalog.yaml: what each pin stands for.
    pub catalog: Catalog,
    /// None until the first generation.
    pub components: Option<ComponentManifest>,
    /// The project's own zarf.yaml, composed; None where it has none.
    pub defined: Option<Defined>,
    /// settings.yaml, with what the command line chose.
    pub settings: Settings,
    /// What the command line chose.
    pub choices: Choices,
    /// The steps: those of pipeline.yaml, or the built-in ones.
    pub pipeline: Pipeline,
    /// plugins.lock; no pins where there is none.
    pub plugin_pins: PluginsLock,
    /// As it lies on disk; empty where there is none.
    pub lock: AirgapLock,
    /// The digests of the files together and one by one, with their values.
    pub hashes: ConfigHashes,
    /// The files themselves, as they were hashed.
    pub read: AsRead,
}

/// What the command line says of a definition, over what settings.yaml says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The flavor that is built.
    pub flavor: Option<String>,
    /// Values of package templates, by name.
    pub set: BTreeMap<String, String>,
    /// The manifests of imported skeletons, by URL, that this command has seen and
    /// airgap.lock does not hold yet: nothing that anybody chose.
    pub seen: BTreeMap<String, Digest>,
}

impl Choices {
    fn apply(&self, settings: &mut Settings) {
        let package = &mut settings.package;
        package.flavor = self.flavor.clone().or(package.flavor.take());
        package.set.extend(self.set.clone());
    }

    fn is_empty(&self) -> bool {
        self.flavor.is_none() && self.set.is_empty()
    }
}

impl Project {
    /// Reads and checks the whole configuration; changes nothing.
    ///
    /// # Errors
    /// `configuration` with file, line and column, listing every problem of
    /// every file.
    pub fn load(layout: Layout) -> Result<Self> {
        Self::load_with(layout, Choices::default())
    }

    /// The same configuration as it is now.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub fn reload(&self) -> Result<Self> {
        Self::load_with(self.layout.clone(), self.choices.clone())
    }

    /// The same with what the command line chose.
    ///
    /// # Errors
    /// As [`Project::load`]; `usage` for a choice where there is no definition.
    pub fn load_with(layout: Layout, choices: Choices) -> Result<Self> {
        let root = root_of(&layout.config);
        let files = Files::read(&layout, &root, &choices)?;
        let mut hashes = files.hashes();
        let named = files.components.iter().flat_map(|components| local::paths(&components.manifest));
        let named = named.chain(files.pipeline.local_paths()).map(|(_, written)| written);
        let defined = files.defined.iter().flat_map(Defined::local);
        let local = hash_local_paths(named.chain(defined), &layout, &root, &mut hashes)?;
        Ok(Self {
            root,
            versions: files.versions,
            catalog: files.catalog.catalog,
            components: files.components.map(|components| components.manifest),
            defined: files.defined,
            settings: files.settings,
            choices,
            pipeline: files.pipeline,
            plugin_pins: files.plugin_pins,
            lock: files.lock,
            hashes,
            read: files.read.with(local),
            layout,
        })
    }

    /// A project without any configuration, for what works outside of one.
    ///
    /// # Errors
    /// `configuration` where plugins.lock is there and wrong.
    pub fn unconfigured(layout: Layout) -> Result<Self> {
        let root = root_of(&layout.config);
        let plugin_pins = match Source::read(&layout.plugins_lock())? {
            None => PluginsLock::default(),
            Some(source) => PluginsLock::parse(&source, &root)?,
        };
        Ok(Self {
            root,
            versions: VersionsEnv::default(),
            catalog: Catalog::default(),
            components: None,
            defined: None,
            settings: Settings::default(),
            choices: Choices::default(),
            pipeline: Pipeline::built_in(),
            plugin_pins,
            lock: AirgapLock::default(),
            hashes: ConfigHashes::default(),
            read: AsRead::default(),
            layout,
        })
    }

    /// `amd64` or `arm64`.
    pub fn architecture(&self) -> &str {
        match &self.defined {
            Some(defined) => &defined.composed.definition.metadata.architecture,
            None => self.versions.get("TARGET_ARCH").unwrap_or(catalog::ARCHITECTURES[0]),
        }
    }

    /// What the configuration names for this architecture, before any step has
    /// run.
    ///
    /// # Errors
    /// `configuration`.
    pub fn resolved(&self) -> Result<ResolvedComponents> {
        let manifest = self.components.clone().map_or_else(|| self.generated(), Ok)?;
        let mut resolved = manifest.resolve(&self.settings.identity(), self.architecture()).map_err(|problems| {
            let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::configuration(format!("the components cannot be resolved: {}", text.join("; ")))
                .hint("correct components.yaml or catalog.yaml")
        })?;
        self.defined.as_ref().map_or(Ok(()), |defined| defined.add_to(&mut resolved))?;
        Ok(resolved)
    }

    /// What components.yaml and the definition name for each architecture:
    /// one lock serves all of them.
    pub fn of_architectures(&self) -> Vec<ResolvedComponents> {
        let package = self.settings.identity();
        let resolve = |architecture: &&str| self.components.as_ref()?.resolve(&package, architecture).ok();
        let manifests = catalog::ARCHITECTURES.iter().filter_map(resolve);
        manifests.chain(self.defined.iter().flat_map(Defined::of_others)).collect()
    }

    /// The URLs of the skeletons that the definition imports, for any
    /// architecture.
    pub fn skeletons(&self) -> Vec<&str> {
        self.defined.iter().flat_map(Defined::skeletons).collect()
    }

    /// Those of them that are not fetched yet, so that nobody knows all that the
    /// definition names.
    pub fn unfetched(&self) -> &[String] {
        self.defined.as_ref().map_or(&[], |defined| &defined.unfetched)
    }

    /// What was chosen for the definition and nothing in it uses, each in a
    /// sentence.
    pub fn unused(&self) -> &[String] {
        self.defined.as_ref().map_or(&[], |defined| &defined.composed.unused)
    }

    /// components.yaml as it would be generated from the catalog alone.
    ///
    /// # Errors
    /// `configuration`.
    pub fn generated(&self) -> Result<ComponentManifest> {
        let generation = self.catalog.generate(&self.versions.pins).map_err(|problems| {
            let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::configuration(format!("the catalog cannot be expanded: {}", text.join("; ")))
                .hint("correct catalog.yaml or versions.env")
        })?;
        Ok(generation.manifest)
    }

    /// Where a local path of the configuration lies.
    pub fn local_path(&self, written: &str) -> PathBuf {
        local::resolve(&self.layout, &self.root, written)
    }
}

/// Every file, read and parsed by itself.
struct Files {
    versions: VersionsEnv,
    versions_source: Source,
    catalog: CatalogFile,
    components: Option<ComponentsFile>,
    defined: Option<Defined>,
    /// Whether there are versions.env and catalog.yaml, which a definition may
    /// do without.
    has_pins: bool,
    settings: Settings,
    pipeline: Pipeline,
    plugin_pins: PluginsLock,
    lock: AirgapLock,
    /// Those that count in the hash byte by byte and need nothing else.
    plain: Vec<(&'static str, Source)>,
    read: as_read::Read,
}

impl Files {
    /// Reads every file and checks what they say together, as far as those
    /// that are needed for it are sound.
    fn read(layout: &Layout, root: &Path, choices: &Choices) -> Result<Self> {
        let mut refusals = Refusals::default();
        let settings = Source::read(&layout.settings())?;
        let definition = settings.as_ref().and_then(|settings| defined::find(settings, layout, root));
        let has_pins = definition.is_none() || layout.versions_env().exists() || layout.catalog().exists();
        let pins = |path: PathBuf| match has_pins {
            true => Source::read_required(&path),
            false => Ok(Source::empty(shown(&path))),
        };
        let versions_source = pins(layout.versions_env())?;
        let catalog_source = pins(layout.catalog())?;
        let settings_source = settings.ok_or_else(|| Source::missing(&layout.settings()))?;
        if definition.is_none() && !choices.is_empty() {
            return Err(Error::new(
                Class::Usage,
                "`--flavor` and `--set` choose of a definition, and this project has none",
            )
            .hint("name it in config/settings.yaml: `definition: zarf.yaml`"));
        }
        let versions = refusals.take(&versions_source.shown, VersionsEnv::parse(&versions_source));
        let catalog = refusals.take(&catalog_source.shown.clone(), CatalogFile::parse(catalog_source));
        let settings = refusals
            .take(&settings_source.shown, Settings::parse(&settings_source, &layout.config, definition.is_some()));
        let components = refusals.optional(&layout.components(), |source| ComponentsFile::parse(source.clone()));
        let base = refusals.optional(&layout.components_base(), parse_base);
        let pipeline = refusals.optional(&layout.pipeline(), Pipeline::parse);
        let pins = refusals.optional(&layout.plugins_lock(), |source| PluginsLock::parse(source, root));
        let lock = refusals.optional(&layout.airgap_lock(), AirgapLock::parse);
        if let (Some(versions), Some(catalog), true) = (&versions, &catalog, has_pins) {
            let checked = check_pins(catalog, versions, components.is_none(), layout, root);
            refusals.take(&versions.shown, checked);
        }
        if let Some((source, components)) = &components {
            refusals.take(&source.shown, check_local_paths(components, layout, root));
        }
        if let Some((source, pipeline)) = &pipeline {
            refusals.take(&source.shown, check_paths_of_steps(source, pipeline, layout, root));
        }
        refusals.told()?;
        // Without a refusal each of them is there.
        let (Some(versions), Some(catalog), Some(mut settings)) = (versions, catalog, settings) else {
            return Err(Error::configuration("the configuration is not sound"));
        };
        choices.apply(&mut settings);
        let added = components.as_ref().map(|(_, components)| components);
        let has_added = added.is_some_and(|components| !components.manifest.components.is_empty());
        let known = imports::Known::new(lock.as_ref().map_or(&AirgapLock::default(), |(_, lock)| lock), &choices.seen);
        let defined = (definition.is_some() || has_added)
            .then(|| Defined::read(definition.as_deref(), added, &settings, &versions, (layout, root), &known))
            .transpose()?;
        if let Some(defined) = defined.as_ref().filter(|_| definition.is_some()) {
            defined.name(&mut settings, &settings_source.shown)?;
        }
        let mut read = as_read::Read::default();
        if has_pins {
            read.note(hash::VERSIONS_ENV, &versions_source);
            read.note(hash::CATALOG, &catalog.source);
        }
        defined.iter().for_each(|defined| read.note_definition(&defined.text));
        read.note_digest(hash::SETTINGS, &settings_source);
        let components = components.map(|(source, components)| {
            read.note(hash::COMPONENTS, &source);
            components
        });
        base.iter().for_each(|(source, ())| read.note_base(source));
        let mut plain = Vec::new();
        let pipeline = noted(hash::PIPELINE, pipeline, &mut plain).unwrap_or_else(Pipeline::built_in);
        let mut pipeline = pipeline.discovering(settings.images.discover);
        if defined.as_ref().is_some_and(|defined| defined.has_charts_in_git) {
            pipeline.charts_need_repositories();
        }
        let mut plugin_pins = noted(hash::PLUGINS_LOCK, pins, &mut plain).unwrap_or_default();
        if settings.security.require_signed_plugins {
            plugin_pins.require(settings.security.keys(&layout.config)?);
        }
        let lock = noted(hash::AIRGAP_LOCK, lock, &mut plain).unwrap_or_default();
        plain.iter().for_each(|(name, source)| read.note_digest(name, source));
        Ok(Self {
            versions,
            versions_source,
            catalog,
            components,
            defined,
            has_pins,
            settings,
            pipeline,
            plugin_pins,
            lock,
            plain,
            read,
        })
    }

    fn hashes(&self) -> ConfigHashes {
        let mut hashes = ConfigHashes { pins: self.versions.flat(), ..ConfigHashes::default() };
        hashes.add(hash::VERSIONS_ENV, self.versions_source.hashed_as(hash::VERSIONS_ENV), None);
        hashes.add(hash::CATALOG, self.catalog.source.hashed_as(hash::CATALOG), Some(self.catalog.spans.flat()));
        let content = self.settings.content();
        let text = content.to_string();
        let values = span::Spans::parse(&text).map(|spans| spans.flat()).ok();
        hashes.add(hash::SETTINGS, file_digest(hash::SETTINGS, text.as_bytes()), values);
        self.defined.iter().for_each(|defined| defined.hash(&mut hashes));
        if self.components.is_none() && !self.has_pins {
            // No step generates one: the configuration is complete as it is.
            hashes.add(hash::COMPONENTS, file_digest(hash::COMPONENTS, b""), None);
        }
        if let Some(components) = &self.components {
            hashes.add(hash::COMPONENTS, components.source.hashed_as(hash::COMPONENTS), Some(components.spans.flat()));
        }
        for (name, source) in &self.plain {
            let values = (*name != hash::AIRGAP_LOCK)
                .then(|| span::Spans::parse(&source.text).map(|spans| spans.flat()).ok())
                .flatten();
            hashes.add(name, source.hashed_as(name), values);
        }
        hashes
    }
}

/// What a file says, with its source kept among those that count in the hash
/// byte by byte.
fn noted<T>(name: &'static str, file: Option<(Source, T)>, plain: &mut Vec<(&'static str, Source)>) -> Option<T> {
    let (source, value) = file?;
    plain.push((name, source));
    Some(value)
}

fn parse_base(source: &Source) -> Result<()> {
    source.yaml::<ComponentManifest>().map(|_| ()).map_err(|error| {
        error.hint("a build writes this file: resolve a merge conflict in it, or restore it from version control")
    })
}

/// The pins fulfil the catalog, and what they turn into is sound, before the
/// first step runs.
fn check_pins(
    catalog: &CatalogFile,
    versions: &VersionsEnv,
    is_generated: bool,
    layout: &Layout,
    root: &Path,
) -> Result<()> {
    catalog.check_pins(versions)?;
    let generation = catalog.generate(versions)?;
    let mut problems = components::problems(&generation.manifest);
    if is_generated {
        problems.extend(missing_local_paths(local::paths(&generation.manifest), layout, root));
    }
    refuse_all(problems.iter().map(|problem| catalog.locate(&generation, versions, problem)).collect())
}

/// The folder that holds config/.
fn root_of(config: &Path) -> PathBuf {
    match config.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        Some(_) => PathBuf::from("."),
        None => config.to_path_buf(),
    }
}

fn check_local_paths(components: &ComponentsFile, layout: &Layout, root: &Path) -> Result<()> {
    let problems = missing_local_paths(local::paths(&components.manifest), layout, root);
    let located: Vec<Located> =
        problems.iter().map(|problem| components.source.locate(&components.spans, problem)).collect();
    refuse_all(located)
}

fn check_paths_of_steps(source: &Source, pipeline: &Pipeline, layout: &Layout, root: &Path) -> Result<()> {
    let problems = missing_local_paths(pipeline.local_paths(), layout, root);
    // What can not be read has been refused as that.
    let Ok(spans) = span::Spans::parse(&source.text) else { return Ok(()) };
    source.refuse(&spans, &problems)
}

fn missing_local_paths(named: Vec<(YamlPath, String)>, layout: &Layout, root: &Path) -> Vec<Problem> {
    let hidden = hidden::Hidden::of(layout);
    let problem = |(place, written): (YamlPath, String)| {
        let path = local::resolve(layout, root, &written);
        if hidden.hides_at(root, &path) || hidden.hides_at(&layout.config, &path) {
            let message = format!("`{written}` is a part of the project that no plugin reads");
            return Some(Problem::new(&place, message, "copy what a plugin is to read into a file of its own"));
        }
        (!path.exists()).then(|| {
            Problem::new(
                &place,
                format!("there is nothing at `{}`", path.display()),
                "local paths are relative to the folder that holds config/: create it, or correct the path",
            )
        })
    };
    named.into_iter().filter_map(problem).collect()
}

fn hash_local_paths(
    named: impl Iterator<Item = String>,
    layout: &Layout,
    root: &Path,
    hashes: &mut ConfigHashes,
) -> Result<as_read::Local> {
    let mut read = as_read::Local::default();
    for written in named {
        let dependencies = local::dependencies(layout, root, &written)?;
        for path in dependencies.iter().chain([&written]) {
            let content = local::Content::read(layout, root, path)?;
            hashes.add(path, content.digest(), None);
            read.contents.insert(path.clone(), Arc::new(content));
        }
        read.dependencies.insert(written, dependencies);
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
