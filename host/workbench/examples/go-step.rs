//! What a step in Go of this repository is built with: `bindings <name> <folder>`
//! writes what a project of that name calls the contract with, `componentize
//! <core> <component>` makes a component of what Go built.

#![expect(clippy::disallowed_methods, reason = "writes what it is told to, for a build")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use workbench::project::{Language, files};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bindings", name, folder] => bindings(name, Path::new(folder)),
        ["componentize", core, component] => {
            let made = workbench::componentize(&fs::read(core)?)?;
            Ok(fs::write(component, made)?)
        }
        _ => Err("write `bindings <name> <folder>` or `componentize <core> <component>`".into()),
    }
}

fn bindings(name: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let made = files(name, Language::Go).into_iter();
    for (path, text) in made.filter(|(path, _)| path.starts_with("airgap/") || path == "wit_exports.go") {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    Ok(())
}
