//! The definition of the package where the project has one of its own: its
//! components as they are, with what was fetched as their sources, and behind
//! them what only components.yaml names.
//!
//! A source that was fetched lies in the tree of its step (`../files/bin/x`), one
//! of the project is copied beside the definition ([`Copy`]). Files get the digest
//! of what was fetched. Everything else is kept as its author wrote it.

use std::collections::BTreeSet;

use model::ResolvedComponents;
use model::definition::Composed;
use model::definition::path::{is_url, of_project};
use model::definition::sources::{self, FileSource};
use model::image::normalized;
use model::problem::shown;
use model::zarf::{self, Chart, Component, Definition, base_name};

use crate::Configuration;
use crate::compose::{add_components, arrange, check_delivered, metadata, provenance, require_of, with_what_is_about};
use crate::contributed;
use crate::copies::Copy;
use crate::inputs::Fetched;
use crate::problem::Problem;

/// The definition, and what has to be laid beside it.
///
/// # Errors
/// What no step delivered, and what cannot be said.
pub fn compose(
    composed: &Composed,
    mut fetched: Fetched,
    configuration: &Configuration,
) -> Result<(Definition, Vec<Copy>), Problem> {
    check_delivered(&fetched)?;
    let mut definition = composed.definition.clone();
    let mut sources = Sources { composed, fetched: &fetched, copies: Vec::new() };
    for component in &mut definition.components {
        sources.component(component)?;
    }
    sources.package(&mut definition)?;
    let copies = sources.copies;
    for component in &mut definition.components {
        component.images = with_what_is_about(std::mem::take(&mut component.images), &fetched);
    }
    definition.documentation.extend(provenance(&fetched));
    let defined = definition.components.len();
    leave_rest(&mut fetched, composed);
    add_components(&mut definition.components, &fetched, configuration)?;
    require_of(&mut definition.components, defined, configuration)?;
    if composed.only_adds {
        // They build on what is installed before them.
        definition.components.rotate_left(defined);
        definition.metadata = metadata(&fetched)?;
        definition.kind = zarf::KIND.into();
    }
    arrange(&mut definition.components, configuration)?;
    contributed::add_documents(&fetched.contributed, &mut definition.documentation)?;
    definition.api_version = zarf::API_VERSION.into();
    definition.build.flavor.clone_from(&composed.flavor);
    name(&mut definition, &fetched.components);
    Ok((definition, copies))
}

/// What the settings say where the definition says nothing.
fn name(definition: &mut Definition, components: &ResolvedComponents) {
    let metadata = &mut definition.metadata;
    let package = &components.package;
    for (written, known) in [
        (&mut metadata.version, &package.version),
        (&mut metadata.architecture, &components.architecture),
        (&mut metadata.description, package.description.as_ref().unwrap_or(&String::new())),
    ] {
        if written.is_empty() {
            written.clone_from(known);
        }
    }
}

/// Takes out what the components of the definition hold already.
fn leave_rest(fetched: &mut Fetched, composed: &Composed) {
    let named = |list: &mut dyn Iterator<Item = String>| list.collect::<BTreeSet<String>>();
    let components = &composed.definition.components;
    let images = named(&mut components.iter().flat_map(|one| &one.images).map(|image| normalized(image)));
    let mut alone = ResolvedComponents::default();
    // It was added without a refusal when the components were resolved.
    let _ = sources::add_to(&mut alone, composed);
    let is_file = |entry: &model::FileEntry| {
        let wanted = fetched.components.files.iter().find(|file| file.name == entry.name);
        wanted.is_some_and(|file| {
            let extract = file.binary.as_deref().filter(|_| file.extract);
            sources::file(&alone, FileSource { url: &file.url, sha256: None, extract }).is_some()
        })
    };
    let is_chart = |entry: &model::ChartEntry| {
        let known = (entry.repo.as_str(), entry.name.as_str(), entry.requested.as_str());
        alone.charts.iter().any(|chart| sources::same_chart(known, (&chart.repo, &chart.name, &chart.version)))
    };
    let is_repository = |entry: &model::RepositoryEntry| {
        let is_named = components.iter().flat_map(|one| &one.repos).any(|url| *url == entry.zarf_reference);
        is_named || fetched.components.exports.iter().any(|export| export.is_alone && export.repository == entry.name)
    };
    let files: Vec<bool> = fetched.files.iter().map(is_file).collect();
    let repositories: Vec<bool> = fetched.repositories.iter().map(is_repository).collect();
    let mut files = files.into_iter();
    fetched.files.retain(|_| !files.next().unwrap_or_default());
    let mut repositories = repositories.into_iter();
    fetched.repositories.retain(|_| !repositories.next().unwrap_or_default());
    fetched.charts.retain(|entry| !is_chart(entry));
    fetched.components.images.retain(|image| !images.contains(&normalized(image)));
}

struct Sources<'a> {
    composed: &'a Composed,
    fetched: &'a Fetched,
    copies: Vec<Copy>,
}

impl Sources<'_> {
    fn component(&mut self, component: &mut Component) -> Result<(), Problem> {
        let name = component.name.clone();
        for (index, file) in component.files.iter_mut().enumerate() {
            let is_local = !is_url(&file.source);
            if !is_local || !file.extract_path.is_empty() {
                let path = if is_local { self.path(&file.source)? } else { String::new() };
                let mut wanted = FileSource::of_file(file);
                if is_local {
                    wanted.url = &path;
                }
                let (source, digest) = self.fetched_file(wanted)?;
                file.source = source;
                file.shasum = digest;
                file.extract_path.clear();
            } else {
                let target = base_name(&file.target);
                file.source = self.local(&file.source, &format!("{name}/files/{index}/{target}"))?;
            }
        }
        for chart in &mut component.charts {
            self.chart(&name, chart)?;
        }
        for manifest in &mut component.manifests {
            for (index, file) in manifest.files.iter_mut().enumerate() {
                *file = self.text(file, &format!("{name}/manifests/{}-{index}.yaml", manifest.name))?;
            }
        }
        for archive in std::mem::take(&mut component.image_archives) {
            component.images.extend(archive.images);
        }
        for image in &mut component.images {
            if let Some(plain) = image.strip_prefix("oci://") {
                *image = plain.to_owned();
            }
        }
        Ok(())
    }

    fn chart(&mut self, component: &str, chart: &mut Chart) -> Result<(), Problem> {
        let lost = |(message, hint): (String, &str)| Problem::new("definition", message, hint);
        let place = sources::chart(self.composed.folder(), chart).map_err(lost)?;
        chart.local_path = match place {
            None => {
                // Whatever its author calls it: the archive says its version itself.
                chart.version.clear();
                self.local(&chart.local_path, &format!("{component}/charts/{}.tgz", chart.name))?
            }
            Some((repo, name, version)) => {
                let is_it = |entry: &&model::ChartEntry| {
                    sources::same_chart((&entry.repo, &entry.name, &entry.requested), (&repo, &name, &version))
                };
                let entry = self.fetched.charts.iter().find(is_it).ok_or_else(|| missing("chart", &chart.name))?;
                // What a constraint, a folder or a tag of git turned out to be.
                chart.version.clone_from(&entry.version);
                format!("../charts/{}", entry.path)
            }
        };
        for field in [&mut chart.url, &mut chart.repo_name, &mut chart.git_path] {
            field.clear();
        }
        let files = chart.values_files.iter_mut().chain(&mut chart.templated_values_files);
        for (index, file) in files.enumerate() {
            *file = self.text(file, &format!("{component}/values/{}-{index}.yaml", chart.name))?;
        }
        Ok(())
    }

    /// Values, their schema and the documents of the whole package.
    fn package(&mut self, definition: &mut Definition) -> Result<(), Problem> {
        for (index, file) in definition.values.files.iter_mut().enumerate() {
            *file = self.local(file, &format!("values/{index}.yaml"))?;
        }
        let own = Some(definition.values.schema.clone()).filter(|schema| !schema.is_empty());
        let schemas: BTreeSet<String> = own.into_iter().chain(self.composed.schemas.iter().cloned()).collect();
        match schemas.into_iter().collect::<Vec<_>>().as_slice() {
            [] => {}
            [schema] => definition.values.schema = self.local(schema, "values/schema.json")?,
            many => {
                let message = format!("the values have {} schemas: {}", many.len(), many.join(", "));
                return Err(Problem::new("definition", message, "keep one of them, which says it all"));
            }
        }
        for (key, file) in &mut definition.documentation {
            let base = base_name(file).to_owned();
            *file = self.local(file, &format!("documentation/{key}/{base}"))?;
        }
        Ok(())
    }

    /// A manifest or values file.
    fn text(&mut self, source: &str, to: &str) -> Result<String, Problem> {
        if is_url(source) {
            return Ok(self.fetched_file(FileSource::of_url(source))?.0);
        }
        self.local(source, to)
    }

    /// Path and digest of a file that was fetched.
    fn fetched_file(&self, wanted: FileSource<'_>) -> Result<(String, String), Problem> {
        let file = sources::file(&self.fetched.components, wanted).ok_or_else(|| missing("file", wanted.url))?;
        let entry = self.fetched.files.iter().find(|entry| entry.name == file.name);
        let entry = entry.ok_or_else(|| missing("file", wanted.url))?;
        Ok((format!("../files/{}", entry.path), entry.sha256.clone()))
    }

    fn path(&self, source: &str) -> Result<String, Problem> {
        let bad = |(why, hint): (&str, &str)| Problem::new("definition", format!("`{}` {why}", shown(source)), hint);
        of_project(self.composed.folder(), source).map_err(bad)
    }

    fn local(&mut self, source: &str, to: &str) -> Result<String, Problem> {
        let from = self.path(source)?;
        let is_folder = self.composed.folders.contains(&from);
        let to = format!("sources/{to}");
        self.copies.push(Copy { from, to: to.clone(), is_folder });
        Ok(to)
    }
}

fn missing(kind: &str, what: &str) -> Problem {
    Problem::new(
        "not-delivered",
        format!("no step has fetched the {kind} `{}` of the definition", shown(what)),
        "the steps images, files, repos and charts must run before this one: check `needs` in config/pipeline.yaml",
    )
}
