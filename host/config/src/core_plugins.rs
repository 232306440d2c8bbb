//! The plugins that are part of the binary: their names, and what each decides.

/// Makes the component manifest, and publishes it into config/.
pub const MANIFEST: &str = "manifest";
/// Resolves and bundles charts.
pub const CHARTS: &str = "charts";
/// Renders charts.
pub const RENDER: &str = "helm-render";
/// Finds the images that rendered charts deploy.
pub const DISCOVER: &str = "discover";
/// Writes the definition, which lists what the package holds.
pub const ZARF_YAML: &str = "zarf-yaml";
/// Makes and publishes the package.
pub const PACKAGE: &str = "package";
/// Makes the SBOMs.
pub const SBOM: &str = "sbom";
/// Finds images for the command `scan`.
pub const SCAN: &str = "scan";

/// The plugins that are part of the binary, and what each of them decides.
pub const CORE: [(&str, &str); 8] = [
    (
        MANIFEST,
        "which components, images, charts, files and repositories the package holds, and where the host fetches them \
         from, with your credentials",
    ),
    (CHARTS, "which charts and values go into the package, and from where they come"),
    (RENDER, "what charts render to, and so which images they deploy"),
    (DISCOVER, "which images of charts are told to be lacking, and with `images.discover: add` go into the package"),
    (ZARF_YAML, "what a deployment of the package does"),
    (PACKAGE, "every byte of the package, its checksum and its list"),
    (SBOM, "what the SBOMs say is in the package"),
    (SCAN, "which images `scan` finds"),
];

/// What the core plugin of a name decides; None where there is none.
pub fn core(name: &str) -> Option<&'static str> {
    CORE.iter().find(|(core, _)| *core == name).map(|(_, decides)| *decides)
}
