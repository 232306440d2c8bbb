//! Folders of a repository as files, for charts that are packed from them.
//!
//! They are read out of the objects and never checked out: no attribute, filter or
//! setting of a repository or a user changes a byte.

use super::clone::RepositoryClone;
use super::pin::Pin;
use base::error::{Error, Result};
use disk::tree::TreeBuilder;

/// Files of one chart.
const MOST_FILES: usize = 5000;
/// Bytes of them together.
const MOST_BYTES: u64 = 256 << 20;

/// A file of a tree object.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    mode: String,
    object: String,
    size: u64,
    path: String,
}

/// Writes what lies below `path` at the pin to `exports/<folder>/<path>`.
///
/// # Errors
/// `not-found` where there is nothing; `invalid-input` for links, and for more
/// than a chart has.
pub(super) async fn folder(clone: &RepositoryClone<'_>, pin: &Pin, path: &str, output: &TreeBuilder) -> Result<()> {
    let within = if path.is_empty() { ".".to_owned() } else { format!("{path}/") };
    // What looks like a pattern is none.
    let listed = clone
        .local(&["--literal-pathspecs", "ls-tree", "-r", "-l", "-z", "--full-tree", &pin.commit, "--", &within])
        .await?;
    let files = files(&listed, path)?;
    for file in files {
        let Listed { mode, object, path, .. } = &file;
        let content = clone.local(&["cat-file", "blob", object]).await?;
        let to = format!("exports/{}/{path}", clone.source.folder);
        output.write(&to, &content, mode == "100755")?;
    }
    Ok(())
}

fn files(listed: &[u8], folder: &str) -> Result<Vec<Listed>> {
    let shown = if folder.is_empty() { "the repository" } else { folder };
    let listed = std::str::from_utf8(listed)
        .map_err(|_| Error::invalid(format!("`{shown}` of the repository holds a name that is not UTF-8")))?;
    let rows = listed.split('\0').filter(|row| !row.is_empty());
    let files: Vec<Listed> = rows.filter_map(row).collect();
    if files.is_empty() {
        let hint = "correct `gitPath` of the chart: it is a folder of the repository at that version";
        return Err(
            Error::new(base::error::Class::NotFound, format!("there is no `{shown}` in the repository")).hint(hint)
        );
    }
    if let Some(link) = files.iter().find(|file| file.mode == "120000") {
        let message = format!("`{}` of the repository is a link, which no chart is packed with", link.path);
        return Err(Error::invalid(message).hint("name a chart without links"));
    }
    let bytes: u64 = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
    if files.len() > MOST_FILES || bytes > MOST_BYTES {
        let message = format!("`{shown}` of the repository holds {} files of {bytes} bytes", files.len());
        return Err(Error::invalid(message).hint("name the folder of the chart alone with `gitPath`"));
    }
    Ok(files)
}

/// `<mode> <type> <object> <size>\t<path>`; what is no file is passed over.
fn row(row: &str) -> Option<Listed> {
    let (about, path) = row.split_once('\t')?;
    let mut parts = about.split_whitespace();
    let (mode, kind, object, size) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (kind == "blob").then(|| Listed {
        mode: mode.to_owned(),
        object: object.to_owned(),
        size: size.parse().unwrap_or(u64::MAX),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_apart_and_bounded() {
        let text = "100644 blob aa       3\tcharts/c/Chart.yaml\x00100755 blob bb 4\tcharts/c/a b\x00160000 commit cc -\tcharts/c/sub\0";
        let found = files(text.as_bytes(), "charts/c").unwrap();
        let paths: Vec<(&str, &str)> = found.iter().map(|file| (file.path.as_str(), file.object.as_str())).collect();
        assert_eq!(paths, [("charts/c/Chart.yaml", "aa"), ("charts/c/a b", "bb")]);
        for (text, word) in [
            ("", "there is no `x`"),
            ("120000 blob aa 3\tx/link\0", "is a link"),
            ("100644 blob aa 300000000\tx/large\0", "300000000 bytes"),
        ] {
            let error = files(text.as_bytes(), "x").unwrap_err();
            assert!(error.message().contains(word), "{error}");
        }
        let many: String = (0..=MOST_FILES).map(|number| format!("100644 blob aa 1\tx/{number}\0")).collect();
        assert!(files(many.as_bytes(), "x").is_err());
    }
}
