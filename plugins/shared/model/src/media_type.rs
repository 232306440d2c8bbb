//! Media types of images, by the OCI image specification and Docker's before it.

/// Of an index of the OCI: a manifest for each platform.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Of a manifest of the OCI: one image.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of Docker's index, its manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Of Docker's manifest: one image.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Whether it is that of an index: several manifests, one for each platform.
pub fn is_index(media_type: &str) -> bool {
    [OCI_INDEX, DOCKER_LIST].contains(&media_type)
}

/// Whether it is that of one image.
pub fn is_manifest(media_type: &str) -> bool {
    [OCI_MANIFEST, DOCKER_MANIFEST].contains(&media_type)
}

/// Whether layers of this type may not be passed on: registries need not have
/// them, and their descriptors say where they are.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}
