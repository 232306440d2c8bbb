//! Local files: what the user's configuration names, and nothing else.
//!
//! The host reads components.yaml and catalog.yaml itself before the first step
//! runs. A plugin's output may only choose among the paths that stand there:
//! whatever else it names is refused. A step of pipeline.yaml reads those that it
//! names itself as well, and [`Hidden`] holds for all of it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::ResolvedComponents;

use crate::as_read::AsRead;
use crate::defined::Defined;
use crate::hidden::Hidden;
use crate::import_paths;
use crate::local::Content;
use crate::pipeline::StepSpec;
use crate::{Project, local};
use base::error::{Class, Error, Result};
use base::layout::{Layout, shown};

/// The local paths that a project's configuration names.
#[derive(Clone, Debug)]
pub struct NamedPaths {
    layout: Layout,
    root: PathBuf,
    /// As they are written.
    named: BTreeSet<String>,
}

/// A local directory or file that a plugin may read. Only this module makes
/// one.
#[derive(Clone, Debug)]
pub struct LocalTree {
    written: String,
    found: PathBuf,
    hidden: Hidden,
    /// What it held when it was hashed; None of what is looked at beside any
    /// build.
    content: Option<Arc<Content>>,
    /// What could not be listed, of a tree that may have gaps.
    gaps: Option<Arc<Mutex<BTreeSet<String>>>>,
}

impl LocalTree {
    /// Goes on past what can not be listed, where gaps are allowed.
    ///
    /// # Errors
    /// `error` where they are not: what is missing would be missed by nobody.
    pub fn pass_over(&self, path: &str, error: Error) -> Result<()> {
        let Some(gaps) = &self.gaps else { return Err(error) };
        let below = if path.is_empty() { String::new() } else { format!("/{path}") };
        let shown = format!("{}{below}: {}", self.written.trim_end_matches('/'), error.one_line());
        gaps.lock().unwrap_or_else(PoisonError::into_inner).insert(shown);
        Ok(())
    }

    /// What was passed over, and why.
    pub fn gaps(&self) -> Vec<String> {
        let gaps = self.gaps.iter().flat_map(|gaps| gaps.lock().unwrap_or_else(PoisonError::into_inner).clone());
        gaps.collect()
    }

    /// The path as it is written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Where it lies: canonical.
    pub fn path(&self) -> &Path {
        &self.found
    }

    /// Which names below the path are never handed out.
    pub fn hidden(&self) -> &Hidden {
        &self.hidden
    }

    /// What it held when it was hashed; None where it is not held to that.
    pub fn content(&self) -> Option<&Arc<Content>> {
        self.content.as_ref()
    }

    /// The same, held to what it was.
    #[must_use]
    pub fn as_hashed(self, content: Arc<Content>) -> Self {
        Self { content: Some(content), ..self }
    }

    /// What the user names on the command line of a plugin that runs beside
    /// any build. It may have gaps, for the user is told of them.
    ///
    /// # Errors
    /// `usage` where it can not be read.
    pub fn chosen(path: &Path, layout: &Layout) -> Result<Self> {
        let found = path.canonicalize().map_err(|source| {
            Error::new(Class::Usage, format!("`{}` cannot be read", path.display()))
                .caused_by(source)
                .hint("name a file or a folder that is there")
        })?;
        let (written, gaps) = (path.display().to_string(), Some(Arc::default()));
        Ok(Self { written, found, hidden: Hidden::of(layout), content: None, gaps })
    }
}

impl NamedPaths {
    /// What components.yaml and the definition name as they were loaded, and what
    /// catalog.yaml turns the pins into.
    ///
    /// # Errors
    /// `configuration` where the catalog can not be expanded.
    pub fn of(project: &Project) -> Result<Self> {
        let generated = project.generated()?;
        let manifests = project.components.iter().chain([&generated]);
        let named = manifests.flat_map(local::paths).map(|(_, written)| written);
        let named = named.chain(project.defined.iter().flat_map(Defined::local)).collect();
        Ok(Self { layout: project.layout.clone(), root: project.root.clone(), named })
    }

    /// The folder that holds config/.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The local trees that resolved components choose, with the directories
    /// that local charts depend on, as they were `read` for the configuration's
    /// hash. `step` made the list.
    ///
    /// # Errors
    /// `plugin` where they name what the configuration does not; `not-found`
    /// and `invalid-input` for a path that is not there, leaves the project or
    /// is hidden.
    pub fn trees(&self, resolved: &ResolvedComponents, step: &str, read: &AsRead) -> Result<Vec<LocalTree>> {
        let mut paths = BTreeSet::new();
        for written in &resolved.local {
            self.check(written, step)?;
            paths.insert(written.clone());
        }
        for chart in &resolved.charts {
            let repo = Some(&chart.repo).filter(|repo| local::is_local(repo));
            for written in repo.into_iter().chain(&chart.values) {
                self.check(written, step)?;
                paths.insert(written.clone());
            }
            if let Some(repo) = repo {
                match read.dependencies(repo) {
                    Some(known) => paths.extend(known.iter().cloned()),
                    None => paths.extend(local::dependencies(&self.layout, &self.root, repo)?),
                }
            }
        }
        paths.iter().map(|written| self.tree(written, read)).collect()
    }

    /// The local trees that pipeline.yaml lets a step read, as they were `read`.
    ///
    /// # Errors
    /// As [`NamedPaths::trees`].
    pub fn of_step(&self, spec: &StepSpec, read: &AsRead) -> Result<Vec<LocalTree>> {
        spec.local.iter().map(|written| self.tree(written, read)).collect()
    }

    fn check(&self, written: &str, step: &str) -> Result<()> {
        if self.named.contains(written) {
            return Ok(());
        }
        let shown: String = written.chars().take(200).flat_map(char::escape_debug).collect();
        Err(Error::new(
            Class::Plugin,
            format!(
                "the components of the step `{step}` name the local path `{shown}`, and the configuration does not"
            ),
        )
        .hint("name it in config/components.yaml or config/catalog.yaml if a plugin is to read it"))
    }

    fn tree(&self, written: &str, read: &AsRead) -> Result<LocalTree> {
        let full = local::resolve(&self.layout, &self.root, written);
        let imports = self.layout.imports();
        let base = match import_paths::below(written) {
            Some(_) => &imports,
            None if full.starts_with(&self.root) => &self.root,
            None => &self.layout.config,
        };
        let found = full.canonicalize().map_err(|error| {
            let class = if error.kind() == io::ErrorKind::NotFound { Class::NotFound } else { Class::Local };
            Error::new(class, format!("the local path `{written}` of the configuration can not be read"))
                .caused_by(error)
                .hint(format!("it is relative to `{}`", shown(base)))
        })?;
        let refused =
            |why: String| Err(Error::invalid(format!("the local path `{written}` of the configuration {why}")));
        let Some(inside) = base.canonicalize().ok().filter(|base| found.starts_with(base)) else {
            return refused(format!("leads out of `{}`", shown(base)))
                .map_err(|error: Error| error.hint("copy what it points to into the project"));
        };
        let hidden = Hidden::of(&self.layout);
        if hidden.hides_below(&inside, &found) {
            return refused("is a part of the project that no plugin reads".to_owned())
                .map_err(|error: Error| error.hint("copy what a plugin is to read into a file of its own"));
        }
        // What no hash covers, because components.yaml does not name it, stays
        // what it is from here on.
        let content = match read.local(written) {
            Some(content) => content.clone(),
            None => Arc::new(Content::read(&self.layout, &self.root, written)?),
        };
        Ok(LocalTree { written: written.to_owned(), found, hidden, content: Some(content), gaps: None })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay links")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use disk::fs;

    fn lab() -> (tempfile::TempDir, NamedPaths) {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join("project").join(path);
        for folder in ["config", "build", "charts/web/.git", "charts/base"] {
            fs::create_dir_all(&at(folder)).unwrap();
        }
        for (file, text) in [
            (
                "charts/web/Chart.yaml",
                "dependencies: [{repository: 'file://../base'}, {repository: 'file://../../build'}]",
            ),
            ("values.yaml", "a: 1"),
            (".env", "secret"),
            ("config/settings.yaml", "secret"),
        ] {
            fs::write_new(&at(file), text.as_bytes()).unwrap();
        }
        fs::write_new(&root.path().join("outside"), b"x").unwrap();
        symlink("../outside", at("link")).unwrap();
        symlink("config/settings.yaml", at("innocent.yaml")).unwrap();
        let named = ["./charts/web", "values.yaml", "link", "innocent.yaml", "config/settings.yaml", "gone"];
        let named = NamedPaths {
            layout: Layout::new(at("config"), at("build"), at("dist")),
            root: at(""),
            named: named.iter().map(|path| (*path).to_owned()).collect(),
        };
        (root, named)
    }

    fn resolved(repo: &str, values: &[&str]) -> ResolvedComponents {
        let chart = model::Chart {
            name: "web".into(),
            repo: repo.into(),
            version: "1".into(),
            namespace: None,
            values: values.iter().map(|path| (*path).to_owned()).collect(),
            deploy: true,
        };
        ResolvedComponents { charts: vec![chart], ..ResolvedComponents::default() }
    }

    #[test]
    fn a_list_of_components_chooses_among_what_the_configuration_names() {
        let (_root, named) = lab();
        let error =
            |repo: &str, values: &[&str]| named.trees(&resolved(repo, values), "evil", &AsRead::default()).unwrap_err();
        for (repo, values) in [
            ("./", &[][..]),
            ("./charts/web/", &[]),
            ("./charts/./web", &[]),
            ("./charts", &[]),
            ("https://h", &[".env"]),
            ("https://h", &["./values.yaml"]),
            ("https://h", &["config/../values.yaml"]),
            ("https://h", &["../outside"]),
            ("https://h", &["/etc/passwd"]),
        ] {
            let error = error(repo, values);
            assert_eq!(error.class(), Class::Plugin, "{repo} {values:?}");
            assert!(error.message().contains("`evil`"), "{error}");
        }
        let trees = named.trees(&resolved("https://h", &["values.yaml"]), "manifests", &AsRead::default()).unwrap();
        assert_eq!(trees.iter().map(LocalTree::written).collect::<Vec<_>>(), ["values.yaml"]);
    }

    #[test]
    fn what_is_hidden_stays_so_under_any_name() {
        let (_root, named) = lab();
        for (values, class) in [
            ("innocent.yaml", Class::InvalidInput),
            ("config/settings.yaml", Class::InvalidInput),
            ("link", Class::InvalidInput),
            ("gone", Class::NotFound),
        ] {
            let error = named.trees(&resolved("https://h", &[values]), "manifests", &AsRead::default()).unwrap_err();
            assert_eq!(error.class(), class, "{values}: {error}");
        }
        // By way of a dependency of a chart that is named.
        let error = named.trees(&resolved("./charts/web", &[]), "manifests", &AsRead::default()).unwrap_err();
        assert!(error.message().contains("./build"), "{error}");
    }
}
