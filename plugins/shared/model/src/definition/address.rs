//! Addresses of packages in registries.

use crate::image::ImageName;
use crate::problem::shown;

/// Begins the address of a package in a registry.
const OCI: &str = "oci://";

/// Refuses an address that leads to no package.
///
/// # Errors
/// What is wrong, and what helps.
pub(super) fn check_url(url: &str) -> Result<(), (String, String)> {
    let import = format!("its import `{}`", shown(url));
    let Some(reference) = url.strip_prefix(OCI) else {
        let hint = "write oci://registry/repository:tag, where a skeleton was published, or import by `path`";
        return Err((format!("{import} is no address of a registry"), hint.to_owned()));
    };
    let name = ImageName::parse(reference).map_err(|bad| (format!("its import: {}", bad.message), bad.hint))?;
    if name.tag.is_none() && name.digest.is_none() {
        let hint = "write the tag or the digest of the skeleton behind it".to_owned();
        return Err((format!("{import} names no version"), hint));
    }
    let host = reference.split('/').next().unwrap_or_default();
    if !host.eq_ignore_ascii_case(&name.registry) && !host.ends_with("docker.io") {
        return Err((format!("{import} names no registry"), "write oci://registry/repository:tag".to_owned()));
    }
    Ok(())
}
