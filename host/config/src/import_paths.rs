//! How paths of the configuration are written that lie in what a definition imports
//! from a registry.

use base::digest::Digest;

/// How a local path of the configuration begins that lies in a skeleton.
pub(crate) const AT: &str = ".oci-imports";

/// The folder of a skeleton, by the digest of its manifest, as the configuration calls
/// it.
pub(crate) fn written(manifest: &Digest) -> String {
    format!("{AT}/{}", manifest.hex())
}

/// What a path of the configuration that lies in a skeleton is below
/// build/imports.
pub(crate) fn below(written: &str) -> Option<&str> {
    written.trim_start_matches("./").strip_prefix(AT)?.strip_prefix('/')
}

/// The skeleton that such a path lies in, as the configuration calls its folder.
pub(crate) fn skeleton_of(written: &str) -> Option<String> {
    below(written).map(|below| format!("./{AT}/{}/", below.split('/').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_a_skeleton_are_told() {
        assert_eq!(skeleton_of("./.oci-imports/ab/web/f").as_deref(), Some("./.oci-imports/ab/"));
        assert_eq!((skeleton_of("./charts/ab"), below(".oci-importsx/a")), (None, None));
    }
}
