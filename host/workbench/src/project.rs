//! The files of a new project.

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// In which language a plugin is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust, by cargo alone.
    Rust,
    /// Python, by componentize-py.
    Python,
    /// Standard Go, made a component by the program itself.
    Go,
}

impl Language {
    /// Every one, with the folder of its template and what the command line
    /// calls it.
    pub const ALL: [(Self, &str); 3] = [(Self::Rust, "rust"), (Self::Python, "python"), (Self::Go, "go")];

    fn folder(self) -> &'static str {
        Self::ALL.iter().find(|(language, _)| *language == self).map_or("", |(_, folder)| folder)
    }
}

/// The files of a project called `name`, each with its path in the project's
/// folder: `/`-separated, relative.
pub fn files(name: &str, language: Language) -> Vec<(String, Vec<u8>)> {
    let template = [below(TEMPLATES, language.folder(), ""), below(BINDINGS, language.folder(), "")].concat();
    let example = below(TEMPLATES, "example", "example/");
    let contract = match language {
        Language::Rust => below(WIT, "", "sdk/wit/"),
        Language::Python | Language::Go => below(WIT, "", "wit/"),
    };
    let sdk = match language {
        Language::Rust => [below(SDK, "", "sdk/src/"), below(TEMPLATES, "sdk", "sdk/")].concat(),
        Language::Python | Language::Go => Vec::new(),
    };
    let formats = below(FORMATS, "", "formats/");
    let all = [template, example, contract, sdk, formats].concat();
    all.into_iter().map(|(path, bytes)| (visible(&path), filled_in(bytes, name))).collect()
}

/// The files of `folder`, under `prefix`.
fn below(files: &[(&str, &'static [u8])], folder: &str, prefix: &str) -> Vec<(String, &'static [u8])> {
    let inside = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let found = files.iter().filter_map(|(path, bytes)| Some((path.strip_prefix(&inside)?, *bytes)));
    found.map(|(path, bytes)| (format!("{prefix}{path}"), bytes)).collect()
}

/// A template is not to hide files of this repository from git.
fn visible(path: &str) -> String {
    if path == "gitignore" { ".gitignore".to_owned() } else { path.to_owned() }
}

/// The name in place of what stands for it; `{{file}}` is the name as a compiler
/// of Rust writes it.
fn filled_in(bytes: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("{{name}}", name).replace("{{file}}", &name.replace('-', "_")).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

/// The files of the contract, by name, each after those that it uses.
pub(crate) fn contract() -> impl Iterator<Item = (&'static str, &'static str)> {
    let texts = WIT.iter().filter_map(|(path, bytes)| Some((*path, std::str::from_utf8(bytes).ok()?)));
    let mut texts: Vec<_> = texts.collect();
    texts.sort_by_key(|(path, _)| !path.starts_with("deps/"));
    texts.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_what_it_is_built_from_and_nothing_is_left_to_fill_in() {
        for (language, own) in
            [(Language::Rust, "src/lib.rs"), (Language::Python, "app.py"), (Language::Go, "step/step.go")]
        {
            let files = files("my-step", language);
            let has = |path: &str| files.iter().any(|(there, _)| there == path);
            assert!(
                has(own) && has("README.md") && has(".gitignore") && has("example/configuration.json"),
                "{language:?}"
            );
            assert!(has("formats/components.resolved.schema.json"), "{language:?}");
            assert!(has("wit/airgap.wit") || has("sdk/wit/airgap.wit"), "{language:?}");
            for (path, bytes) in &files {
                // What settings call the architecture stays.
                let text = String::from_utf8_lossy(bytes).replace("{{arch}}", "");
                assert!(!text.contains("{{"), "{path} is a template still");
            }
        }
    }

    /// The SDK in a project is that of the contract beside it.
    #[test]
    fn the_sdk_has_the_version_of_the_contract() {
        let version = contract()
            .find_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("package opencenter:airgap@")));
        let version = format!("version = \"{}\"", version.unwrap().trim_end_matches(';'));
        let (_, manifest) = TEMPLATES.iter().find(|(path, _)| *path == "sdk/Cargo.toml").unwrap();
        let own = include_str!("../../../plugins/shared/sdk/Cargo.toml");
        assert!(String::from_utf8_lossy(manifest).contains(&version) && own.contains(&version), "{version}");
    }
}
