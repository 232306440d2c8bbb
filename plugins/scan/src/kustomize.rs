//! The images that kustomize puts in the place of others.

use image_finder::yaml::Node;
use serde::{Deserialize, Serialize};

/// An image that kustomize puts in the place of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Of the image in the manifest, without its tag.
    pub name: String,
    /// What it becomes.
    pub new_name: Option<String>,
    /// Its tag.
    pub new_tag: Option<String>,
    /// Its digest, in the place of the tag.
    pub digest: Option<String>,
}

/// What a HelmRelease replaces, with the line of each.
pub fn post_rendered(root: &Node) -> impl Iterator<Item = (Replaced, u32)> {
    let renderers = root.at("spec.postRenderers").map_or(&[][..], Node::items);
    renderers.iter().flat_map(|renderer| replaced_in(renderer.at("kustomize.images")))
}

/// `[{name, newName, newTag, digest}]`.
pub fn replaced_in(list: Option<&Node>) -> impl Iterator<Item = (Replaced, u32)> {
    let text = |item: &Node, key: &str| item.text_of(key).map(str::to_owned);
    let replaced = move |item: &Node| {
        let (new_name, new_tag, digest) = (text(item, "newName"), text(item, "newTag"), text(item, "digest"));
        let name = text(item, "name").or_else(|| new_name.clone())?;
        Some((Replaced { name, new_name, new_tag, digest }, item.line))
    };
    list.map_or(&[][..], Node::items).iter().filter_map(replaced)
}
