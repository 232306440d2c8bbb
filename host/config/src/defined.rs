//! The project's own package definition, zarf.yaml, with all that it imports.
//!
//! [`find`] says whether there is one, [`Defined::read`] composes it
//! ([`model::definition`]) for the architecture of the build and checks every
//! source, so that what cannot be built is told with its line before anything is
//! fetched. What it names is read like the rest of the configuration: hashed once,
//! and handed out as it was then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use model::ResolvedComponents;
use model::definition::{Choice, Composed, Files, Found, Refusal, Skeleton, compose, compose_components, sources};
use model::image::ImageName;
use model::problem::{Problem, YamlPath, shown};

use crate::catalog::ARCHITECTURES;
use crate::components::{ComponentsFile, WEB, chart_source};
use crate::hash::{ConfigHashes, file_digest};
use crate::hidden::Hidden;
use crate::settings::Settings;
use crate::source::{Located, MARK, Source, refuse_all};
use crate::span::Spans;
use crate::versions_env::VersionsEnv;
use crate::web::url_problem;
use crate::{import_paths, imports, local, repository};
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::Layout;

/// What components.yaml is called among the files of a definition: its paths are
/// relative to the folder that holds config/.
const COMPONENTS: &str = "components.yaml";
/// Where it lies when the settings do not say.
const DEFAULT: &str = "zarf.yaml";

/// The definition of a project.
#[derive(Clone, Debug)]
pub struct Defined {
    /// For the architecture of the build.
    pub composed: Composed,
    /// For the other ones, where it has components for them.
    others: Vec<Composed>,
    /// The URLs of what it imports and nobody has fetched yet.
    pub(crate) unfetched: Vec<String>,
    /// As it is handed to plugins: JSON.
    pub(crate) text: String,
    /// Whether a chart of it lies in a git repository.
    pub(crate) has_charts_in_git: bool,
    /// What was read, by path.
    sources: BTreeMap<String, Source>,
}

/// Where the definition of a project lies, relative to the folder that holds
/// config/: what settings.yaml says, or `zarf.yaml` where there are no pins that
/// say what goes into the package.
pub(crate) fn find(settings: &Source, layout: &Layout, root: &Path) -> Option<String> {
    // Whatever else is wrong with the settings is told when they are parsed.
    let value: serde_yaml::Value = serde_yaml::from_str(&settings.text).unwrap_or_default();
    if let Some(written) = value.get("definition") {
        return written.as_str().map(|written| written.trim_start_matches("./").to_owned());
    }
    let has_pins = layout.versions_env().exists() || layout.catalog().exists();
    (!has_pins && root.join(DEFAULT).is_file()).then(|| DEFAULT.to_owned())
}

/// A settings.yaml that names the definition at `file`, with the architecture
/// where that `needs` one.
pub fn settings(file: &str, needs_architecture: bool) -> String {
    let (_, defaults) = crate::DEFAULTS.iter().find(|(name, _)| *name == "settings.yaml").copied().unwrap_or_default();
    let rest = defaults.find("# carry:").map(|at| &defaults[at..]).unwrap_or_default();
    let package = match needs_architecture {
        true => format!("package:\n  architecture: {}         # the definition names none\n", ARCHITECTURES[0]),
        false => "# package:\n".to_owned(),
    };
    format!(
        "# The package definition, and how what it names is fetched. Every line that is\n# commented out shows a default. \
         docs/start-from-a-zarf-yaml.md has the way from\n# here, docs/configuration.md every field.\n#\n# No credentials \
         here: registries take theirs from ~/.docker/config.json (with\n# its credential helpers), git from git's own \
         helpers.\n\ndefinition: {}\n\n{package}#   flavor: upstream          # components of this flavor are taken\n#   \
         set:                      # values of ###ZARF_PKG_TMPL_<NAME>###\n#     NAME: value\n#   format: both              \
         # for Zarf before and after 1.0; or v1alpha1, v1beta1\n#   sbom: true                # says what software is in \
         every image and file\n\n{rest}",
        model::yaml_text::scalar(file)
    )
}

impl Defined {
    /// Reads and composes the definition at `file`, or nothing but the section
    /// `components` of components.yaml where there is none.
    ///
    /// # Errors
    /// `configuration` with file and line of everything that is wrong.
    pub(crate) fn read(
        file: Option<&str>,
        components: Option<&ComponentsFile>,
        settings: &Settings,
        versions: &VersionsEnv,
        (layout, root): (&Layout, &Path),
        known: &imports::Known,
    ) -> Result<Self> {
        let mut disk = Disk::new(layout, root, known);
        let named = versions.get("TARGET_ARCH").or(settings.package.architecture.as_deref());
        let choice = |architecture: &str, is_pinned: bool| Choice {
            architecture: architecture.to_owned(),
            is_pinned,
            flavor: settings.package.flavor.clone().unwrap_or_default(),
            set: settings.package.set.clone(),
        };
        let own = choice(named.unwrap_or(ARCHITECTURES[0]), named.is_some());
        if let Some(components) = components {
            disk.sources.insert(COMPONENTS.to_owned(), components.source.clone());
        }
        let added = components.map(|components| components.manifest.components.as_slice()).unwrap_or_default();
        let mut of = |choice: &Choice| all_of(file, added, choice, &mut disk);
        let composed = of(&own);
        let composed = composed.map_err(|refusals| disk.refused(&refusals))?;
        let architecture = composed.definition.metadata.architecture.clone();
        let has_charts_in_git = !disk.checked(&composed)?.exports.is_empty();
        let other = ARCHITECTURES.iter().filter(|other| **other != architecture);
        let others: Vec<Composed> =
            other.filter_map(|other| all_of(file, added, &choice(other, true), &mut disk).ok()).collect();
        let composed = Composed { folders: disk.folders(&composed), ..composed };
        let text = serde_json::to_string(&composed)
            .map_err(|source| Error::configuration("the definition cannot be handed on").caused_by(source))?;
        disk.sources.remove(COMPONENTS);
        let unfetched = composed.unfetched.clone();
        Ok(Self { composed, others, unfetched, text, has_charts_in_git, sources: disk.sources })
    }

    /// Takes the package's name and version from the definition.
    ///
    /// # Errors
    /// `configuration` where the settings say something else.
    pub(crate) fn name(&self, settings: &mut Settings, shown_settings: &str) -> Result<()> {
        let metadata = &self.composed.definition.metadata;
        let package = &mut settings.package;
        for (key, written, named) in
            [("name", &mut package.name, &metadata.name), ("version", &mut package.version, &metadata.version)]
        {
            if !written.is_empty() && !named.is_empty() && written != named {
                let message = format!(
                    "{shown_settings}: package.{key}: `{}`, and {} says `{}`",
                    shown(written),
                    self.composed.file,
                    shown(named)
                );
                return Err(
                    Error::configuration(message).hint(format!("remove `package.{key}`: the definition says it"))
                );
            }
            if !named.is_empty() {
                written.clone_from(named);
            }
        }
        if !metadata.description.is_empty() {
            package.description = Some(metadata.description.clone());
        }
        let mut problems = Vec::new();
        crate::settings::package_problems(package, true, &mut problems);
        let at = self.sources.get(&self.composed.file);
        let place = |problem: &Problem| {
            let path = problem.path.segments().last().map(ToString::to_string).unwrap_or_default();
            let path = YamlPath::root().key("metadata").key(&path);
            at.map_or_else(|| self.composed.file.clone(), |source| place_in(source, &path, "", "").0)
        };
        let located = problems.iter().map(|problem| Located {
            place: place(problem),
            key: problem.path.to_string().replacen("package", "metadata", 1),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        });
        refuse_all(located.collect())
    }

    /// Adds what the definition names to the components of a build.
    ///
    /// # Errors
    /// `configuration` where a source cannot be used.
    pub fn add_to(&self, components: &mut ResolvedComponents) -> Result<()> {
        sources::add_to(components, &self.composed).map_err(|refusals| {
            let text: Vec<String> = refusals.iter().map(|refusal| refusal.message.clone()).collect();
            Error::configuration(format!("{}: {}", self.composed.file, text.join("; ")))
                .hint(refusals.first().map(|refusal| refusal.hint.clone()).unwrap_or_default())
        })
    }

    /// The same for other architectures, of which one lock serves all.
    pub(crate) fn of_others(&self) -> Vec<ResolvedComponents> {
        let one = |composed: &Composed| {
            let architecture = composed.definition.metadata.architecture.clone();
            let mut components = ResolvedComponents { architecture, ..ResolvedComponents::default() };
            sources::add_to(&mut components, composed).ok().map(|()| components)
        };
        self.others.iter().filter_map(one).collect()
    }

    /// Every local path that it names, for any architecture, as components.yaml
    /// writes it.
    pub fn local(&self) -> Vec<String> {
        let mut paths: Vec<String> =
            std::iter::once(&self.composed).chain(&self.others).flat_map(sources::local).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// The URLs of the skeletons that it imports, for any architecture, each once.
    pub(crate) fn skeletons(&self) -> BTreeSet<&str> {
        std::iter::once(&self.composed).chain(&self.others).flat_map(|one| &one.skeletons).map(String::as_str).collect()
    }

    /// Of what plugins are handed.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    pub(crate) fn hash(&self, hashes: &mut ConfigHashes) {
        for (path, source) in &self.sources {
            let values = Spans::parse(&source.text).map(|spans| spans.flat()).ok();
            hashes.add(path, file_digest(path, source.text.as_bytes()), values);
        }
    }
}

/// The definition with what components.yaml adds in the same form.
fn all_of(
    file: Option<&str>,
    added: &[serde_yaml::Value],
    choice: &Choice,
    disk: &mut Disk<'_>,
) -> std::result::Result<Composed, Vec<Refusal>> {
    let defined = file.map(|file| compose(file, choice, disk)).transpose()?;
    // The definition decides about the architecture.
    let architecture = defined.as_ref().map(|composed| composed.definition.metadata.architecture.clone());
    let choice = Choice { architecture: architecture.unwrap_or_else(|| choice.architecture.clone()), ..choice.clone() };
    let added = (!added.is_empty()).then(|| compose_components(COMPONENTS, added, &choice, disk)).transpose()?;
    let all = match (defined, added) {
        (Some(mut defined), Some(added)) => defined.extend(added).map(|()| defined)?,
        (defined, added) => defined.or(added).unwrap_or_default(),
    };
    Ok(Composed { unused: all.unused(&choice), ..all })
}

/// The project's files, as far as a definition may name them.
struct Disk<'a> {
    layout: &'a Layout,
    root: &'a Path,
    /// The folders that it may lie in, as they are without links.
    roots: Vec<PathBuf>,
    hidden: Hidden,
    /// What was fetched of other definitions.
    known: &'a imports::Known,
    /// By path, relative to the root, or the URL of a skeleton.
    sources: BTreeMap<String, Source>,
}

impl Files for Disk<'_> {
    fn look(&mut self, path: &str) -> std::result::Result<Found, String> {
        // Of other files it is nothing; of a definition Zarf minds.
        let as_written =
            |source: &Source| Found::Text(format!("{}{}", if source.has_mark { MARK } else { "" }, source.text));
        if let Some(source) = self.sources.get(path) {
            return Ok(as_written(source));
        }
        let Some(full) = self.inside(path)? else { return Ok(Found::Nothing) };
        if full.is_dir() {
            return Ok(Found::Directory);
        }
        let source = Source::read(&full).map_err(|error| error.one_line())?;
        let Some(source) = source else { return Ok(Found::Nothing) };
        let found = as_written(&source);
        self.sources.insert(path.to_owned(), Source { shown: path.to_owned(), ..source });
        Ok(found)
    }

    fn skeleton(&mut self, url: &str) -> std::result::Result<Option<Skeleton>, String> {
        let Some(manifest) = self.known.get(url) else { return Ok(None) };
        let folder = import_paths::written(manifest);
        if let Some(source) = self.sources.get(url) {
            return Ok(Some(Skeleton { text: source.text.clone(), folder }));
        }
        let path = imports::folder(self.layout, manifest);
        if !imports::is_whole(&path) {
            return Ok(None);
        }
        let source = Source::read(&path.join(imports::DEFINITION)).map_err(|error| error.one_line())?;
        let Some(source) = source else { return Ok(None) };
        let text = source.text.clone();
        self.sources.insert(url.to_owned(), Source { shown: url.to_owned(), ..source });
        Ok(Some(Skeleton { text, folder }))
    }
}

impl<'a> Disk<'a> {
    fn new(layout: &'a Layout, root: &'a Path, known: &'a imports::Known) -> Self {
        let roots = [root, &layout.config].iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        Self { layout, root, roots, hidden: Hidden::of(layout), known, sources: BTreeMap::new() }
    }
}

impl Disk<'_> {
    /// Where a path lies; None where there is nothing.
    fn inside(&self, path: &str) -> std::result::Result<Option<PathBuf>, String> {
        let full = local::resolve(self.layout, self.root, path);
        if import_paths::below(path).is_some() {
            // Checked as a whole when its definition was read.
            return Ok(full.exists().then_some(full));
        }
        let Ok(found) = full.canonicalize() else { return Ok(None) };
        if !self.roots.iter().any(|folder| found.starts_with(folder)) {
            return Err("is a link that leaves the folder that holds config/".to_owned());
        }
        if self.roots.iter().any(|folder| self.hidden.hides_below(folder, &found)) {
            return Err("is a part of the project that no definition names".to_owned());
        }
        Ok(Some(found))
    }

    /// What a definition names, where every source can be had as far as that is
    /// known before anything is fetched.
    fn checked(&self, composed: &Composed) -> Result<ResolvedComponents> {
        let mut components = ResolvedComponents::default();
        sources::add_to(&mut components, composed).map_err(|refusals| self.refused(&refusals))?;
        let mut located = Vec::new();
        for (needle, problem) in source_problems(&components) {
            located.push(self.locate_text(&composed.file, &needle, &problem));
        }
        for path in &components.local {
            let plain = path.trim_start_matches("./");
            let why = match self.inside(plain) {
                Ok(Some(_)) => continue,
                Ok(None) => format!("there is nothing at `{plain}`"),
                Err(why) => format!("`{plain}` {why}"),
            };
            let hint = "paths are relative to the file that names them: create it, or correct the path";
            let needle = plain.rsplit('/').next().unwrap_or(plain);
            located.push(self.locate_text(&composed.file, needle, &Problem::new(&YamlPath::root(), why, hint)));
        }
        refuse_all(located).map(|()| components)
    }

    fn folders(&self, composed: &Composed) -> Vec<String> {
        let is_folder =
            |path: &String| matches!(self.inside(path.trim_start_matches("./")), Ok(Some(found)) if found.is_dir());
        sources::local(composed).into_iter().filter(is_folder).collect()
    }

    fn refused(&self, refusals: &[Refusal]) -> Error {
        let located = refusals.iter().map(|refusal| {
            let Refusal { file, path, component, message, hint } = refusal;
            let key = path.segments().last().map(ToString::to_string).unwrap_or_default();
            let source = self.sources.get(file);
            let (mut place, is_exact) =
                source.map_or_else(|| (file.clone(), false), |source| place_in(source, path, component, &key));
            if place == *file
                && let Some(named) = message.split('`').nth(1)
            {
                let problem = Problem::new(path, message.clone(), hint.clone());
                place = self.locate_text(file, named, &problem).place;
            }
            let of = if component.is_empty() { String::new() } else { format!("component `{}`: ", shown(component)) };
            let key = if is_exact { path.to_string() } else { String::new() };
            Located { place, key, message: format!("{of}{message}"), hint: hint.clone() }
        });
        let sound = || Error::configuration("the definition is not sound");
        refuse_all(located.collect()).err().unwrap_or_else(sound)
    }

    /// A problem at the first line of any file that holds a text.
    fn locate_text(&self, file: &str, needle: &str, problem: &Problem) -> Located {
        let line = |source: &Source| source.text.lines().position(|line| !needle.is_empty() && line.contains(needle));
        let found = self.sources.values().find_map(|source| Some(format!("{}:{}", source.shown, line(source)? + 1)));
        Located {
            place: found.unwrap_or_else(|| file.to_owned()),
            key: String::new(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }
}

/// What the addresses of a definition must be, each with a text to find it by.
fn source_problems(components: &ResolvedComponents) -> Vec<(String, Problem)> {
    let at = YamlPath::root();
    let mut found: Vec<(String, Problem)> = Vec::new();
    for file in &components.files {
        let is_remote = !local::is_local(&file.url);
        let problem = is_remote.then(|| url_problem(&file.url, &WEB, &at)).flatten();
        found.extend(problem.map(|problem| (file.url.clone(), problem)));
        if let Some(sum) = file.sha256.as_ref().filter(|sum| sum.parse::<Digest>().is_err()) {
            let message = format!("`{}` is no SHA-256", shown(sum));
            found.push((sum.clone(), Problem::new(&at, message, "write its 64 hexadecimal digits")));
        }
    }
    for chart in components.charts.iter().filter(|chart| !chart.repo.starts_with(sources::IN_GIT)) {
        found.extend(chart_source(&chart.repo, &at).map(|problem| (chart.repo.clone(), problem)));
        let is_remote = !local::is_local(&chart.repo);
        if is_remote && chart.version.is_empty() {
            let message = format!("the chart `{}` has no version", shown(&chart.name));
            found.push((chart.name.clone(), Problem::new(&at, message, "write the one that its repository has")));
        }
    }
    for repository in &components.repositories {
        let problems = repository::problems(repository, &at).into_iter();
        found.extend(problems.map(|problem| (repository.url.clone(), problem)));
    }
    let archived = components.image_archives.iter().flat_map(|archive| &archive.images);
    for image in components.images.iter().chain(archived) {
        if let Err(bad) = ImageName::parse(image) {
            found.push((image.clone(), Problem::new(&at, bad.message, bad.hint)));
        }
    }
    found
}

/// Line and column of a place, and whether it is exactly that one: in a file
/// with anchors the nearest that the names lead to.
fn place_in(source: &Source, path: &YamlPath, component: &str, key: &str) -> (String, bool) {
    // serde bounds how deep it is, which the other parser does not.
    let is_sound = serde_yaml::from_str::<serde_yaml::Value>(&source.text).is_ok();
    let is_placed = !path.segments().is_empty();
    if let Some(spans) = (is_sound && is_placed).then(|| Spans::parse(&source.text).ok()).flatten() {
        return (source.place(spans.position(path)), true);
    }
    let lines: Vec<&str> = source.text.lines().map(|line| line.trim_start_matches([' ', '-'])).collect();
    let begins = |from: usize, what: &str| {
        lines.iter().skip(from).position(|line| line.trim_end() == what || line.starts_with(&format!("{what} ")))
    };
    let named = |name: &str| ["", "'", "\""].iter().find_map(|quote| begins(0, &format!("name: {quote}{name}{quote}")));
    let at = if component.is_empty() { Some(0) } else { named(component) };
    let Some(at) = at else { return (source.shown.clone(), false) };
    let below = (!key.is_empty()).then(|| begins(at, &format!("{key}:"))).flatten();
    match (below, component.is_empty()) {
        (Some(below), _) => (format!("{}:{}", source.shown, at + below + 1), false),
        (None, false) => (format!("{}:{}", source.shown, at + 1), false),
        (None, true) => (source.shown.clone(), false),
    }
}
