//! The files at the end of a package that signing writes anew.

/// The definition.
pub const DEFINITION: &str = "zarf.yaml";
/// What a signature is written to.
pub const BUNDLE: &str = "zarf.bundle.sig";
/// What Zarf before 0.71 wrote.
pub const SIGNATURE: &str = "zarf.yaml.sig";
