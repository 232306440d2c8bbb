//! Where the component of a plugin comes to lie: in plugins/ of the project, and
//! nowhere else, whatever a lock, a link or a name says.

use std::path::{Path, PathBuf};

use super::missing;
use base::digest::Digest;
use base::error::{Error, Result};
use base::layout::shown;
use config::Project;
use config::plugins_lock::Pin;
use disk::fs;
use plugin_host::limits::COMPONENT_BYTES;

/// The folder of the project where components come to lie.
pub(super) const FOLDER: &str = "plugins";

/// Where a component lies, whose folder is one of the project: a link may lead
/// elsewhere.
///
/// # Errors
/// `configuration` where it does; `local`.
pub(super) fn home(project: &Project, path: &Path) -> Result<PathBuf> {
    let path = project.root.join(path);
    let folder = path.parent().unwrap_or(&project.root);
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(&project.root);
    check_inside(project, there)?;
    fs::create_dir_all(folder)?;
    Ok(path)
}

fn check_inside(project: &Project, folder: &Path) -> Result<()> {
    let failed = |source| Error::io("cannot read", folder, source);
    let (root, found) = (project.root.canonicalize().map_err(failed)?, folder.canonicalize().map_err(failed)?);
    match found.starts_with(&root) {
        true => Ok(()),
        false => {
            Err(Error::configuration(format!("`{}` leads out of the project, to `{}`", shown(folder), found.display()))
                .hint("put a folder in the place of the link: who carries the project carries its plugins"))
        }
    }
}

/// Where components come to lie. It is made before the wall stands, which opens
/// what is there.
pub(super) fn folder(project: &Project, is_there: bool) -> Result<PathBuf> {
    let folder = project.root.join(FOLDER);
    if is_there {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    check_inside(project, &folder)?;
    Ok(folder)
}

/// As it is written in plugins.lock: relative to the folder that holds
/// config/, so that it is the same on every machine. None of what lies
/// elsewhere than in plugins/.
pub(super) fn inside(root: &Path, file: &Path) -> Result<Option<PathBuf>> {
    let failed = |source| Error::io("cannot read", root, source);
    let root = root.canonicalize().map_err(failed)?;
    let found = file.canonicalize().map_err(|_| missing(file))?;
    let relative = found.strip_prefix(&root).ok().map(Path::to_path_buf);
    Ok(relative.filter(|path| path.starts_with(FOLDER)))
}

/// Puts the component of `pin` there, and gives what lay there. What no pin of
/// this name put there is somebody's, and stays.
///
/// # Errors
/// `configuration` where something else lies there; `local`, `disk-full`.
pub(super) fn replace_component(path: &Path, pin: &Pin, old: Option<&Pin>, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    if let Some(kind) = fs::no_file(path) {
        return Err(Error::configuration(format!("`{}` is {kind}, and the component is to lie there", shown(path)))
            .hint("move it away, or give the plugin another name with `--name`"));
    }
    let there = fs::read_optional(path, COMPONENT_BYTES)?;
    let is_ours = old.is_some_and(|old| old.path == pin.path);
    if let Some(found) = there.as_deref().filter(|found| *found != bytes && !is_ours) {
        return Err(Error::configuration(format!(
            "`{}` is there already, with {}, and no pin of this name",
            shown(path),
            Digest::of(found)
        ))
        .hint("move it away, or give the plugin another name with `--name`"));
    }
    fs::write_atomic(path, bytes)?;
    Ok(there)
}
