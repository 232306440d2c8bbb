//! The manifest of a component in a registry: which of its layers the component
//! is.
//!
//! `wkg` pushes a component as the one layer `application/wasm` of an image with a
//! configuration of its own (`application/vnd.wasm.config.v0+json`), `oras` as that
//! of an artifact without one. Clients before them used another media type.

use model::json;
use model::oci::{Descriptor, Manifest};

use base::digest::Digest;
use base::error::{Error, Result};

/// Bytes of such a manifest: it names one layer, and what describes it.
pub const LARGEST: usize = 256 << 10;

/// What a layer is called that is WebAssembly.
const WASM: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// A component, as its manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Of the component's bytes.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

type Layer = Descriptor<Digest>;

/// A manifest of a registry, whatever it is of.
///
/// # Errors
/// `invalid-input` for what is none.
pub fn read(manifest: &[u8]) -> Result<Manifest<Digest>> {
    json::read(manifest).map_err(|error| Error::invalid("the manifest is not one that can be read").caused_by(error))
}

/// The component that a manifest names.
///
/// # Errors
/// `invalid-input` where it names none or several, with what it names.
pub fn component(manifest: &[u8]) -> Result<Named> {
    if manifest.len() > LARGEST {
        return Err(Error::invalid(format!(
            "the manifest has {} bytes, and that of a plugin is short",
            manifest.len()
        ))
        .hint(PUSH));
    }
    let read = read(manifest)?;
    if read.is_index() {
        return Err(Error::invalid(
            "the reference leads to an index of several manifests, and a plugin is one component",
        )
        .hint("name the manifest of the component by its digest, `oci://…@sha256:…`"));
    }
    let layers = read.layers();
    let found: Vec<&Layer> = layers.iter().filter(|layer| WASM.contains(&layer.media_type.as_str())).collect();
    match found.as_slice() {
        [Descriptor { digest, size, .. }] => Ok(Named { digest: *digest, size: *size }),
        [] => Err(Error::invalid(format!("the manifest names no WebAssembly but {}", shown(layers))).hint(PUSH)),
        several => {
            Err(Error::invalid(format!("the manifest names {} components, and a plugin is one", several.len()))
                .hint(PUSH))
        }
    }
}

const PUSH: &str = "push the component with `wkg oci push`, or with `oras push … plugin.wasm:application/wasm`";

fn shown(layers: &[Layer]) -> String {
    let one = |layer: &Layer| {
        let name: String = layer.media_type.chars().take(100).collect();
        format!("`{}`", name.escape_debug())
    };
    match layers {
        [] => "no layer at all".to_owned(),
        [only] => format!("a layer of {}", one(only)),
        [first, ..] => format!("{} layers, the first of {}", layers.len(), one(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_layer_of_webassembly_is_the_component() {
        let digest = Digest::of(b"c");
        let layer = |media_type: &str| format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":9}}"#);
        let manifest = |layers: &[String]| format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
        for media_type in WASM {
            let text = manifest(&[layer("text/markdown"), layer(media_type)]);
            assert_eq!(component(text.as_bytes()).unwrap(), Named { digest, size: 9 });
        }
        let image = "application/vnd.oci.image.layer.v1.tar+gzip";
        for (text, said) in [
            (manifest(&[]), "no layer at all"),
            (manifest(&[layer(image)]), image),
            (manifest(&[layer(image), layer(image)]), "2 layers"),
            (manifest(&[layer(WASM[0]), layer(WASM[1])]), "2 components"),
            (r#"{"manifests":[],"schemaVersion":2}"#.to_owned(), "index"),
            (r#"{"layers":[{"mediaType":"application/wasm","digest":"sha256:../x","size":1}]}"#.to_owned(), "not one"),
            ("<html>".to_owned(), "not one"),
            (format!("{}{}", manifest(&[]), " ".repeat(LARGEST)), "is short"),
        ] {
            let error = component(text.as_bytes()).unwrap_err();
            assert!(error.message().contains(said), "{text}: {error}");
        }
    }
}
