//! What a document is about.

use crate::image::Image;

/// What a document is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// An image of one platform.
    Image(Box<Image>),
    /// The files of a component.
    Component(String),
    /// One file of the package.
    File(FileSubject),
}

impl Subject {
    /// An image.
    pub fn image(image: &Image) -> Self {
        Self::Image(Box::new(image.clone()))
    }
}

/// A file of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSubject {
    /// The name in components.yaml.
    pub name: String,
    /// As components.yaml has it; may be empty.
    pub version: String,
    /// Where it was fetched from.
    pub url: String,
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// In the tree of the step that fetched it.
    pub path: String,
}
