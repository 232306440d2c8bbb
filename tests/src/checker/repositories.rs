//! A repository as the push to the git server reads it: HEAD, the remote, and
//! heads and tags with everything that they need. Whether all of it is there
//! and whole is git's to say, where git is installed.

use std::io::ErrorKind;
use std::path::Path;

use super::Findings;
use super::tarball::{Kind, Member};
use crate::git_server::git;

pub(super) fn check(folder: &str, members: &[Member<'_>], findings: &mut Findings) {
    let below = format!("{folder}/.git/");
    let files: Vec<(&str, &[u8])> = members
        .iter()
        .filter(|member| member.kind == Kind::File)
        .filter_map(|member| Some((member.path.strip_prefix(&below)?, member.content)))
        .collect();
    let content = |name: &str| files.iter().find(|(path, _)| *path == name).map(|(_, content)| *content);
    if content("HEAD").is_none() {
        findings.add("repository", format!("`{folder}` has no .git/HEAD"));
    }
    let config = String::from_utf8_lossy(content("config").unwrap_or_default());
    if !config.contains("[remote \"online-upstream\"]") {
        findings.add("repository", format!("`{folder}` has no remote `online-upstream`"));
    }
    let is_reference = |path: &str| path.starts_with("refs/heads/") || path.starts_with("refs/tags/");
    if !files.iter().any(|(path, _)| is_reference(path) || *path == "packed-refs") {
        findings.add("repository", format!("`{folder}` has no heads and tags"));
    }
    if !files.iter().any(|(path, content)| path.ends_with(".pack") && content.starts_with(b"PACK")) {
        findings.add("repository", format!("`{folder}` has no pack"));
    }
    if let Err(why) = fsck(&files) {
        findings.add("repository", format!("`{folder}` is not whole: {why}"));
    }
}

/// Every object hashed, every reference followed.
fn fsck(files: &[(&str, &[u8])]) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    // What git knows a repository by, whether or not there is a file in it.
    for name in ["refs", "objects"] {
        std::fs::create_dir(folder.path().join(name)).map_err(|error| error.to_string())?;
    }
    for (path, content) in files {
        write(&folder.path().join(path), content).map_err(|error| format!("{path}: {error}"))?;
    }
    let fsck = git().arg("--git-dir").arg(folder.path()).args(["fsck", "--full", "--no-dangling"]).output();
    match fsck {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
    }
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    std::fs::write(path, content)
}
