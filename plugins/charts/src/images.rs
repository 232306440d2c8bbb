//! What a package lacks of the images that its charts deploy.

use std::collections::BTreeSet;

use chart_loader::images::Image;
use model::image::{ImageName, normalized};
use serde::{Deserialize, Serialize};

/// An image that nobody knows for sure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unresolved {
    /// As far as it is written.
    pub text: String,
    /// `templates/pod.yaml:12`.
    pub place: String,
    /// Continues "it is not known: ".
    pub why: String,
}

/// The images that are known, and those that are not.
pub fn divided(images: Vec<Image>) -> (Vec<String>, Vec<Unresolved>) {
    let (mut known, mut unresolved) = (Vec::new(), Vec::new());
    for Image { image, file, line, doubt } in images {
        match doubt {
            None => known.push(image),
            Some(doubt) => {
                unresolved.push(Unresolved { text: image, place: format!("{file}:{line}"), why: doubt.to_string() })
            }
        }
    }
    (known, unresolved)
}

/// Of these images those that a package with `packaged` images (complete
/// spellings) lacks.
pub fn missing<'a>(images: &'a [String], packaged: &BTreeSet<String>) -> impl Iterator<Item = &'a String> {
    images.iter().filter(|image| !packaged.contains(&normalized(image)))
}

/// The image of the same repository that is packaged, which may or may not be the
/// one that runs.
pub fn near<'a>(unresolved: &Unresolved, packaged: &'a BTreeSet<String>) -> Option<&'a String> {
    let repository = |image: &str| ImageName::parse(image).map(|name| name.name()).ok();
    let name = repository(&unresolved.text).or_else(|| repository(unresolved.text.rsplit_once(':')?.0))?;
    packaged.iter().find(|image| repository(image).as_ref() == Some(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_missing_unless_the_package_has_that_very_one() {
        let images = ["org/app:3.1.0", "docker.io/org/redis:8"].map(str::to_owned);
        let lacks = |packaged: &[&str]| -> Vec<String> {
            missing(&images, &packaged.iter().map(|image| normalized(image)).collect()).cloned().collect()
        };
        assert_eq!(lacks(&["org/app:3.1.0", "docker.io/org/redis:8"]), [""; 0]);
        assert_eq!(lacks(&["org/app:v3.1.0", "org/redis:8"]), ["org/app:3.1.0"], "a `v` makes another image");
        assert_eq!(lacks(&["org/app:3.1", "redis:8"]).len(), 2);
    }

    #[test]
    fn what_is_packaged_of_the_same_repository_is_named() {
        let unresolved = |text: &str| Unresolved { text: text.into(), place: String::new(), why: String::new() };
        let packaged: BTreeSet<String> = ["org/side:7"].map(normalized).into();
        for text in ["org/side", "org/side:1.10", "docker.io/org/side:{{ .x }}"] {
            assert_eq!(near(&unresolved(text), &packaged).map(String::as_str), Some("docker.io/org/side:7"), "{text}");
        }
        assert_eq!(near(&unresolved("{{ .x }}/side"), &packaged), None);
    }
}
