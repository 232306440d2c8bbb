//! What no local path leads to: files of the project that are none of a chart.
//!
//! The settings may name secrets, plugins.lock holds the rights of plugins,
//! airgap.lock what all of them asked for; build/ and dist/ are what is made,
//! and `.git` is the history of it all. A directory that the configuration names
//! may hold any of them. They are told by what they are and not by how they are
//! called, so that no link, case or second name leads there.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use base::layout::Layout;

/// A repository's folder, or the file that stands for it in a work tree.
const GIT: &str = ".git";

/// What is hidden in one project, as it lies on the disk now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hidden(Arc<[FileId]>);

/// Device and inode.
type FileId = (u64, u64);

fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

impl Hidden {
    pub fn of(layout: &Layout) -> Self {
        let files = [layout.settings(), layout.plugins_lock(), layout.airgap_lock()];
        let folders = [layout.build.clone(), layout.dist.clone()];
        Self(
            files.iter().chain(&folders).filter_map(|path| path.metadata().ok()).map(|found| file_id(&found)).collect(),
        )
    }

    /// Whether an entry of a directory is hidden, and all that lies below it.
    pub fn hides(&self, name: &str, metadata: &Metadata) -> bool {
        name.eq_ignore_ascii_case(GIT) || self.0.contains(&file_id(metadata))
    }

    /// The same for an entry that was not looked at yet; what is not there is
    /// not hidden.
    pub(crate) fn hides_entry(&self, name: &str, path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|metadata| self.hides(name, &metadata))
    }

    /// The same for paths as they are written; one that is not below `root` or
    /// not there is not hidden.
    pub(crate) fn hides_at(&self, root: &Path, path: &Path) -> bool {
        let both = root.canonicalize().ok().zip(path.canonicalize().ok());
        both.is_some_and(|(root, path)| self.hides_below(&root, &path))
    }

    /// Whether anything on the way from `root`, which is not looked at, down to
    /// `path` is hidden. Both are canonical; what is not there is not hidden.
    pub fn hides_below(&self, root: &Path, path: &Path) -> bool {
        let below = path.ancestors().take_while(|above| *above != root && above.starts_with(root));
        below.into_iter().any(|above| {
            let name = above.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            self.hides_entry(&name, above)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::fs;

    #[test]
    fn neither_case_nor_link_nor_second_name_leads_to_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let layout = Layout::new(root.join("config"), root.join("chart/out"), root.join("dist"));
        for below in ["config", "chart/out/store", "chart/templates", "chart/.Git", "dist"] {
            fs::create_dir_all(&root.join(below)).unwrap();
        }
        for file in ["config/settings.yaml", "config/values.yaml", "chart/out/store/blob", "chart/.helmignore"] {
            fs::write_new(&root.join(file), b"x").unwrap();
        }
        fs::link_or_copy(&root.join("config/settings.yaml"), &root.join("chart/values.yaml")).unwrap();
        let hidden = Hidden::of(&layout);
        let hides = |path: &str| hidden.hides_below(&root, &root.join(path));
        for path in ["config/settings.yaml", "chart/out", "chart/out/store/blob", "chart/.Git", "chart/values.yaml"] {
            assert!(hides(path), "{path}");
        }
        for path in ["config", "config/values.yaml", "chart", "chart/templates", "chart/.helmignore", "gone"] {
            assert!(!hides(path), "{path}");
        }
        assert!(!hidden.hides_below(&root.join("chart/out"), &root.join("chart/out/store")), "the root is named");
    }
}
