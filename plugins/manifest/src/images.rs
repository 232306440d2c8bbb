//! The merge of image lists. An image is known by its registry and repository
//! where each side lists that repository at most once: then another tag is an
//! edit. Where one side lists several tags of a repository, each complete
//! reference is an entry of its own. `additional` belongs to people alone: what
//! it lists counts as not generated.

use model::image::ImageName;
use model::{Image, Images};

use crate::mode::Mode;
use crate::note::Notes;
use crate::place::place;

/// Merges `auto_discover`, the list that the generator and `scan` write.
pub fn merge_images(base: &Images, generated: &Images, current: &Images, mode: Mode, notes: &mut Notes) -> Vec<Image> {
    let additional = entries(&current.additional);
    let not_additional = |images: &Images| -> Vec<ListedImage> {
        entries(&images.auto_discover).into_iter().filter(|entry| !has(&additional, entry)).collect()
    };
    let sides = Sides {
        base: not_additional(base),
        generated: not_additional(generated),
        current: entries(&current.auto_discover),
        mode,
    };
    sides.merge(notes).into_iter().map(|entry| Image { image: entry.written }).collect()
}

/// An image, taken apart once: each is compared with all others.
#[derive(Clone, Debug)]
struct ListedImage {
    written: String,
    /// Registry and repository; the text itself where it is no reference.
    repository: String,
    /// The complete spelling.
    reference: String,
}

fn entries(images: &[Image]) -> Vec<ListedImage> {
    let entry = |image: &Image| {
        let name = ImageName::parse(&image.image).ok();
        let or_text = |text: Option<String>| text.unwrap_or_else(|| image.image.clone());
        ListedImage {
            written: image.image.clone(),
            repository: or_text(name.as_ref().map(ImageName::name)),
            reference: or_text(name.as_ref().map(ToString::to_string)),
        }
    };
    images.iter().map(entry).collect()
}

fn same(one: &ListedImage, other: &ListedImage) -> bool {
    one.reference == other.reference
}

fn has(list: &[ListedImage], entry: &ListedImage) -> bool {
    list.iter().any(|other| same(other, entry))
}

fn of_repository<'a>(list: &'a [ListedImage], like: &'a ListedImage) -> impl Iterator<Item = &'a ListedImage> {
    list.iter().filter(|entry| entry.repository == like.repository)
}

fn repository(entry: &ListedImage) -> &str {
    &entry.repository
}

struct Sides {
    base: Vec<ListedImage>,
    generated: Vec<ListedImage>,
    current: Vec<ListedImage>,
    mode: Mode,
}

impl Sides {
    fn merge(&self, notes: &mut Notes) -> Vec<ListedImage> {
        let mut result = Vec::new();
        for entry in &self.current {
            result.extend(self.present(entry, notes));
        }
        for (index, entry) in self.generated.iter().enumerate() {
            if self.is_new(entry) && !has(&result, entry) {
                notes.added("image", &entry.written);
                let before = self.generated[..index].iter().rev().map(repository);
                let after = self.generated[index + 1..].iter().map(repository);
                let at = place(&result, before, after, |one, name| one.repository == name);
                result.insert(at, entry.clone());
            }
        }
        if self.is_unedited() { self.in_generated_order(&result) } else { result }
    }

    /// Whether no side lists several tags of the repository.
    fn is_single(&self, entry: &ListedImage) -> bool {
        [&self.base, &self.generated, &self.current].iter().all(|list| of_repository(list, entry).nth(1).is_none())
    }

    fn is_unedited(&self) -> bool {
        self.current.iter().map(|entry| &entry.written).eq(self.base.iter().map(|entry| &entry.written))
    }

    /// What becomes of an image that is listed now.
    fn present(&self, entry: &ListedImage, notes: &mut Notes) -> Option<ListedImage> {
        if !self.is_single(entry) {
            let dropped = has(&self.base, entry) && !has(&self.generated, entry);
            if dropped {
                notes.removed("image", &entry.written);
            }
            return (!dropped).then(|| entry.clone());
        }
        let base = of_repository(&self.base, entry).next();
        let generated = of_repository(&self.generated, entry).next();
        match (base, generated) {
            (None, _) => Some(entry.clone()),
            (Some(base), None) if same(base, entry) || self.mode == Mode::Force => {
                notes.removed("image", &entry.written);
                None
            }
            (Some(_), None) => {
                notes.kept("image", &entry.written);
                Some(entry.clone())
            }
            (Some(base), Some(generated)) => Some(self.pinned(base, generated, entry, notes)),
        }
    }

    fn pinned(
        &self,
        base: &ListedImage,
        generated: &ListedImage,
        entry: &ListedImage,
        notes: &mut Notes,
    ) -> ListedImage {
        if same(generated, entry) {
            return entry.clone();
        }
        if self.mode == Mode::Force || same(base, entry) {
            notes.changed("image", "reference", &entry.written, &generated.written);
            return generated.clone();
        }
        if !same(base, generated) {
            notes.conflict("image", "reference", &entry.written, &generated.written);
        }
        entry.clone()
    }

    /// Whether a generated image is to be added where it is not listed.
    fn is_new(&self, entry: &ListedImage) -> bool {
        let known = of_repository(&self.base, entry).next().is_some();
        let listed = of_repository(&self.current, entry).next().is_some();
        match (known, listed) {
            (false, _) => true,
            // Removed by hand.
            (true, false) => self.mode == Mode::Force,
            // Merged already, unless complete references count.
            (true, true) => !self.is_single(entry) && (self.mode == Mode::Force || !has(&self.base, entry)),
        }
    }

    /// Nothing was edited: the generation's own order and spelling.
    fn in_generated_order(&self, result: &[ListedImage]) -> Vec<ListedImage> {
        self.generated.iter().filter(|entry| has(result, entry)).cloned().collect()
    }
}
