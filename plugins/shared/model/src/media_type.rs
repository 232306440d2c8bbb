//! Media types of images and of charts in registries, by the OCI image specification and Docker's before it.

/// Of an index of the OCI: a manifest for each platform.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Of a manifest of the OCI: one image.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of Docker's index, its manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Of Docker's manifest: one image.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Those of a chart as an OCI artifact: its configuration, which tells that it
/// is one, its archive and its provenance file.
pub const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
/// The archive of a chart, a layer of the artifact.
pub const CHART_ARCHIVE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// The provenance file of a chart, a layer of the artifact.
pub const CHART_PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

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

/// Whether it is that of a configuration that says which platform its image is for.
pub fn is_image_config(media_type: &str) -> bool {
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"].contains(&media_type)
}

/// Whether it is that of a layer of files: a tar, packed in whichever way.
pub(crate) fn is_layer(media_type: &str) -> bool {
    media_type.contains(".tar") && (media_type.contains("image.layer.") || media_type.contains("image.rootfs."))
}
