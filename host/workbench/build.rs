//! Embeds what a new project of a plugin consists of: the SDK, the contract, the
//! formats, and a template for each language.

#![expect(clippy::disallowed_methods, reason = "writes into OUT_DIR only")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The name in the binary, and the folder below the root of the repository.
const FOLDERS: [(&str, &str); 4] = [
    ("TEMPLATES", "host/workbench/templates"),
    ("SDK", "plugins/shared/sdk/src"),
    ("WIT", "wit"),
    ("FORMATS", "plugins/shared/sdk/formats"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = own.parent().and_then(Path::parent).ok_or("the crate lies in host/")?;
    let mut text = String::new();
    for (name, folder) in FOLDERS {
        let folder = root.join(folder);
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.sort();
        writeln!(text, "static {name}: &[(&str, &[u8])] = &[")?;
        for file in files {
            let below = file.strip_prefix(&folder)?.display().to_string();
            writeln!(text, "    ({below:?}, include_bytes!({file:?})),")?;
        }
        text.push_str("];\n");
    }
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("files.rs"), text)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
