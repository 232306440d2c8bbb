//! What the static search finds of the images that a chart deploys.

use chart_loader::images::Image;
use model::rendered::Unknown;

/// The images that are known, and those that are not.
pub fn divided(images: Vec<Image>) -> (Vec<String>, Vec<Unknown>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for Image { image, file, line, doubt } in images {
        match doubt {
            None => known.push(image),
            Some(doubt) => {
                unknown.push(Unknown { text: image, place: format!("{file}:{line}"), why: doubt.to_string() });
            }
        }
    }
    (known, unknown)
}
