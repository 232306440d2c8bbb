//! `carry`: what lies beside the package in a folder that is carried.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::CarriedFile;
use model::problem::{Problem, YamlPath, shown};
use serde::{Deserialize, Serialize};

use super::check::file;
use crate::catalog::ARCHITECTURES;
use crate::components;
use crate::web::url_problem;
use base::digest::Digest;

/// What lies beside the package in the folder that is carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CarrySettings {
    /// This program for machines of other architectures, by architecture:
    /// files, relative to config/.
    pub programs: BTreeMap<String, PathBuf>,
    /// What else is fetched for it.
    pub files: Vec<CarriedFile>,
}

impl CarrySettings {
    pub(super) fn problems(&self, config: &Path, problems: &mut Vec<Problem>) {
        let path = YamlPath::root().key("carry");
        for (architecture, program) in &self.programs {
            let at = path.key("programs").key(architecture);
            if !ARCHITECTURES.contains(&architecture.as_str()) {
                let message = format!("`{}` is no architecture of nodes", shown(architecture));
                problems.push(Problem::new(&at, message, format!("use {}", ARCHITECTURES.join(" or "))));
            }
            file(program, config, &at, problems);
        }
        for (index, carried) in self.files.iter().enumerate() {
            carried_problems(carried, &path.key("files").index(index), problems);
        }
    }
}

fn carried_problems(carried: &CarriedFile, path: &YamlPath, problems: &mut Vec<Problem>) {
    let CarriedFile { name, url, sha256, checksum_url } = carried;
    problems.extend(components::name_problem(&name.replace("{{arch}}", "amd64"), "a file", &path.key("name")));
    let urls = [("url", Some(url)), ("checksum_url", checksum_url.as_ref())];
    for (key, url) in urls.into_iter().filter_map(|(key, url)| Some((key, url?))) {
        // Braces are no part of an address, and stand for one here.
        let plain = url.replace("{{arch}}", "amd64");
        problems.extend(url_problem(&plain, &["https", "http"], &path.key(key)));
    }
    if let Some(sha256) = sha256.as_ref().filter(|digits| digits.parse::<Digest>().is_err()) {
        let message = format!("`{}` is no SHA-256", shown(sha256));
        problems.push(Problem::new(&path.key("sha256"), message, "write its 64 hexadecimal digits"));
    }
    if sha256.is_none() && checksum_url.is_none() {
        let message = format!("nothing says what `{}` has to be", shown(name));
        problems.push(Problem::new(path, message, "give it `sha256` or `checksum_url`"));
    }
    if sha256.is_some() && checksum_url.is_some() {
        let message = format!("`{}` has a `sha256` and a `checksum_url`", shown(name));
        problems.push(Problem::new(path, message, "keep one of them: `sha256` needs nobody else's word"));
    }
}
