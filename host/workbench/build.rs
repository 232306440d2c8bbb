//! Embeds what a new project of a plugin consists of: the SDK, the contract, the
//! formats, and a template for each language. What Go calls the contract with is
//! made of the contract here, so that it is never another one.

#![expect(clippy::disallowed_methods, reason = "writes into OUT_DIR only")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

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
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut text = String::new();
    for (name, folder) in FOLDERS {
        embed(&mut text, name, &root.join(folder))?;
    }
    let bindings = out.join("bindings");
    write_go_bindings(&root.join("wit"), &bindings)?;
    embed(&mut text, "BINDINGS", &bindings)?;
    fs::write(out.join("files.rs"), text)?;
    Ok(())
}

/// A list `name` of the files in `folder`, by their path in it.
fn embed(text: &mut String, name: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    writeln!(text, "static {name}: &[(&str, &[u8])] = &[")?;
    for file in files {
        let below = file.strip_prefix(folder)?.display().to_string();
        writeln!(text, "    ({below:?}, include_bytes!({file:?})),")?;
    }
    text.push_str("];\n");
    Ok(())
}

/// Writes what `wit-bindgen go` makes of the contract in `wit` to the places that
/// it has in a project, `go/airgap` and `go/wit_exports.go`, as a template.
fn write_go_bindings(wit: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some("build-step"))?;
    // gofmt is a program of Go, which this build does without.
    let options = wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, ..wit_bindgen_go::Opts::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "go.mod") {
        let top = if name == "wit_exports.go" { "go" } else { "go/airgap" };
        let path = folder.join(top).join(name);
        fs::create_dir_all(path.parent().ok_or("a file lies in a folder")?)?;
        fs::write(path, in_the_project(std::str::from_utf8(bytes)?))?;
    }
    Ok(())
}

/// The packages that a generated file imports, by the names that they have in a
/// project: its own step, the bindings, and the run time that lies beside them.
fn in_the_project(text: &str) -> String {
    text.replace("\"wit_component/export_opencenter_airgap_step\"", "export_opencenter_airgap_step \"{{name}}/step\"")
        .replace("\"wit_component/", "\"{{name}}/airgap/")
        .replace("\"go.bytecodealliance.org/pkg/wit/", "\"{{name}}/airgap/wit/")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
