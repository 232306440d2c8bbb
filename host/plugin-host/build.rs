//! Embeds the core plugins: a table with name, version, digest and packed bytes.
//!
//! The components come from `make plugins`; nothing is compiled here.
//! `OPENCENTER_AIRGAP_PLUGINS` names another folder.

#![expect(clippy::disallowed_methods, reason = "writes into OUT_DIR only")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use sha2::{Digest, Sha256};

/// The core plugins. All have the version of the workspace.
const CORE: &[&str] = &["manifest", "charts", "helm-render", "discover", "zarf-yaml", "package", "sbom", "scan"];

/// Of zstd. Higher ones take ten times as long for a seventh less.
const LEVEL: i32 = 9;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=OPENCENTER_AIRGAP_PLUGINS");
    let (folder, out) = (folder()?, PathBuf::from(env::var("OUT_DIR")?));
    let version = env::var("CARGO_PKG_VERSION")?;
    let mut table = String::from("/// The core plugins.\npub static EMBEDDED: &[Embedded] = &[\n");
    for name in CORE {
        let path = folder.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", path.display());
        let Ok(bytes) = fs::read(&path) else {
            println!("cargo::error=the core plugin {} is not built: run `make plugins`", path.display());
            continue;
        };
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let (size, packed) = (bytes.len(), out.join(format!("{name}.wasm.zst")));
        fs::write(&packed, zstd::bulk::compress(&bytes, LEVEL)?)?;
        writeln!(
            table,
            "    Embedded {{ name: {name:?}, version: {version:?}, digest: Digest::from_bytes({digest:?}), size: {size}, packed: include_bytes!({packed:?}) }},"
        )?;
    }
    table.push_str("];\n");
    fs::write(out.join("embedded.rs"), table)?;
    Ok(())
}

fn folder() -> Result<PathBuf, Box<dyn Error>> {
    if let Some(folder) = env::var_os("OPENCENTER_AIRGAP_PLUGINS") {
        return Ok(fs::canonicalize(&folder).unwrap_or_else(|_| folder.into()));
    }
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    Ok(root.parent().and_then(|host| host.parent()).map_or_else(|| root.clone(), PathBuf::from).join("target/plugins"))
}
