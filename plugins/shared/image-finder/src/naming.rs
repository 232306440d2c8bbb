//! By which words a text names an image, and what makes a text a reference.

pub(crate) fn names_an_image(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("image") || matches!(key.as_str(), "imagename" | "imagerepository" | "image_repo")
}

pub(crate) fn is_list_of_images(key: &str) -> bool {
    key.to_ascii_lowercase().ends_with("images")
}

/// `--sidecarImage`, `-image`, `--prometheus-config-reloader`.
pub(crate) fn is_flag_of_image(flag: &str) -> bool {
    let flag = flag.to_ascii_lowercase();
    flag.starts_with('-') && (flag.contains("image") || flag.contains("reloader"))
}

/// `--image`, and `--image-repository`, which is one without its tag.
pub(crate) fn ends_in_image(flag: &str) -> bool {
    let flag = flag.to_ascii_lowercase();
    ["image", "images", "image-repository", "imagerepository", "image-repo"].iter().any(|end| flag.ends_with(end))
}

pub(crate) fn has_tag(text: &str) -> bool {
    text.contains('@') || text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// Templates of Helm, variables of Flux, kustomize and shells, and those of Zarf,
/// which fills values files at the deployment.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "${", "$(", "###ZARF_"].iter().any(|mark| text.contains(mark))
}
