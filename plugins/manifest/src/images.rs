//! The merge of image lists. An image is known by its registry and repository
//! where each side lists that repository at most once: then another tag is an
//! edit. Where one side lists several tags of a repository, or `additional`
//! lists it as well, each complete reference is an entry of its own.

use components::image::{ImageName, normalized};
use components::{Image, Images};

use crate::merge::{Mode, place};
use crate::note::Notes;

/// Merges `auto_discover`, the list that the generator and `scan` write. What
/// `additional` lists already is not generated again.
pub fn merge_images(base: &Images, generated: &Images, current: &Images, mode: Mode, notes: &mut Notes) -> Vec<Image> {
    let sides = Sides {
        base: &base.auto_discover,
        generated: &generated.auto_discover,
        current: &current.auto_discover,
        additional: &current.additional,
        mode,
    };
    sides.merge(notes)
}

struct Sides<'a> {
    base: &'a [Image],
    generated: &'a [Image],
    current: &'a [Image],
    additional: &'a [Image],
    mode: Mode,
}

/// Registry and repository; the text itself where it is no reference.
fn repository(image: &Image) -> String {
    ImageName::parse(&image.image).map_or_else(|_| image.image.clone(), |name| name.name())
}

fn same(one: &Image, other: &Image) -> bool {
    normalized(&one.image) == normalized(&other.image)
}

fn has(list: &[Image], image: &Image) -> bool {
    list.iter().any(|other| same(other, image))
}

fn of_repository<'a>(list: &'a [Image], name: &str) -> Vec<&'a Image> {
    list.iter().filter(|image| repository(image) == name).collect()
}

impl Sides<'_> {
    fn merge(&self, notes: &mut Notes) -> Vec<Image> {
        let mut result = Vec::new();
        for image in self.current {
            result.extend(self.present(image, notes));
        }
        for (index, image) in self.generated.iter().enumerate() {
            if self.is_new(image) && !has(&result, image) && !has(self.additional, image) {
                notes.added("image", &image.image);
                let names: Vec<String> = self.generated.iter().map(repository).collect();
                let before = names[..index].iter().rev().map(String::as_str);
                let after = names[index + 1..].iter().map(String::as_str);
                let at = place(&result, before, after, |one, name| repository(one) == name);
                result.insert(at, image.clone());
            }
        }
        if self.current == self.base { self.in_generated_order(result) } else { result }
    }

    /// Whether no side lists several tags of the repository.
    fn is_single(&self, name: &str) -> bool {
        of_repository(self.additional, name).is_empty()
            && [self.base, self.generated, self.current].iter().all(|list| of_repository(list, name).len() <= 1)
    }

    /// What becomes of an image that is listed now.
    fn present(&self, image: &Image, notes: &mut Notes) -> Option<Image> {
        let name = repository(image);
        if !self.is_single(&name) {
            let dropped = has(self.base, image) && !has(self.generated, image);
            if dropped {
                notes.removed("image", &image.image);
            }
            return (!dropped).then(|| image.clone());
        }
        let base = of_repository(self.base, &name).first().copied();
        let generated = of_repository(self.generated, &name).first().copied();
        match (base, generated) {
            (None, _) => Some(image.clone()),
            (Some(base), None) if same(base, image) || self.mode == Mode::Force => {
                notes.removed("image", &image.image);
                None
            }
            (Some(_), None) => {
                notes.kept("image", &image.image);
                Some(image.clone())
            }
            (Some(base), Some(generated)) => Some(self.pinned(base, generated, image, notes)),
        }
    }

    fn pinned(&self, base: &Image, generated: &Image, image: &Image, notes: &mut Notes) -> Image {
        if same(generated, image) {
            return image.clone();
        }
        if self.mode == Mode::Force || same(base, image) {
            notes.changed("image", "reference", &image.image, &generated.image);
            return generated.clone();
        }
        if !same(base, generated) {
            notes.conflict("image", "reference", &image.image, &generated.image);
        }
        image.clone()
    }

    /// Whether a generated image is to be added where it is not listed.
    fn is_new(&self, image: &Image) -> bool {
        let name = repository(image);
        if self.is_single(&name) {
            let known = !of_repository(self.base, &name).is_empty();
            let listed = !of_repository(self.current, &name).is_empty();
            // Known and not listed: removed by hand. Known and listed: merged
            // already.
            return !known || (self.mode == Mode::Force && !listed);
        }
        self.mode == Mode::Force || !has(self.base, image)
    }

    /// Nothing was edited: the generation's own order and spelling.
    fn in_generated_order(&self, result: Vec<Image>) -> Vec<Image> {
        self.generated.iter().filter(|image| has(&result, image)).cloned().collect()
    }
}
