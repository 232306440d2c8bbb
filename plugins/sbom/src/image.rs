//! One image: its layers from bottom to top, and what of each is to be seen.

use model::oci::{DEEPEST, Descriptor, LARGEST_INDEX, LARGEST_MANIFEST, Manifest, Platform};
use sdk::layer::Layer;
use sdk::{StepError, Tree};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::contents::{Contents, Placed};
use crate::found::{Found, Notes, Release, Unread, What};
use crate::kinds::{self, Reader};
use crate::layers;

/// Links of one image that are followed, and the steps of one.
const MOST_LINKS: usize = 200;
const LONGEST_WAY: usize = 40;
/// Bytes of a path that the host looks for in a layer, without the `/` in front.
const LONGEST_TARGET: usize = 1023;
/// Files of the system, the better one first.
const RELEASES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    #[serde(flatten)]
    platform: Platform,
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// An image of one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// As the image layout names it.
    pub reference: String,
    /// Of an image that an index names: its platform.
    pub of_index: Option<Platform>,
    /// Of the image's own manifest, never of an index.
    pub manifest: Descriptor,
    /// Of its configuration.
    pub config: Descriptor,
    /// From bottom to top.
    pub layers: Vec<Descriptor>,
    /// As the configuration tells it; empty where that cannot be read.
    pub platform: Platform,
    /// Of each layer, as the configuration has them.
    pub diff_ids: Vec<String>,
}

impl Image {
    /// What Zarf calls it: the reference, and the platform where an index has
    /// several.
    pub fn identifier(&self) -> String {
        let Some(Platform { os, architecture, variant, .. }) = &self.of_index else { return self.reference.clone() };
        let variant = variant.as_ref().filter(|variant| !variant.is_empty()).map(|variant| format!("-{variant}"));
        format!("{}-{os}-{architecture}{}", self.reference, variant.unwrap_or_default())
    }

    fn layer_id(&self, index: usize) -> String {
        self.diff_ids.get(index).unwrap_or(&self.layers[index].digest).clone()
    }
}

/// The images of a layout, in the order of their references, and the references
/// of what is none: charts, signatures, attestations.
///
/// # Errors
/// Where the layout is none.
pub fn list(tree: &Tree) -> Result<(Vec<Image>, Vec<String>), StepError> {
    let bytes = tree.read("index.json", LARGEST_INDEX)?;
    let index: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context("index.json"))?;
    let (mut images, mut others) = (Vec::new(), Vec::new());
    for descriptor in index.into_manifests() {
        let Some(reference) = descriptor.reference().map(str::to_owned) else { continue };
        let found = of(tree, &reference, descriptor, false, 0);
        let found = found.map_err(|error| error.context(format!("image `{reference}`")))?;
        if found.is_empty() {
            others.push(reference);
        }
        images.extend(found);
    }
    images.sort_by_key(Image::identifier);
    others.sort();
    Ok((images, others))
}

fn of(
    tree: &Tree,
    reference: &str,
    descriptor: Descriptor,
    in_index: bool,
    depth: usize,
) -> Result<Vec<Image>, StepError> {
    let manifest: Manifest = read(tree, &descriptor)?;
    if manifest.is_index() && depth < DEEPEST {
        let mut images = Vec::new();
        for child in manifest.into_manifests() {
            // Of other platforms some are left out.
            if tree.exists(&path_of(&child))? {
                images.extend(of(tree, reference, child, true, depth + 1)?);
            }
        }
        return Ok(images);
    }
    if !manifest.runs() {
        return Ok(Vec::new());
    }
    let Some((config, layers)) = manifest.into_image() else { return Ok(Vec::new()) };
    let Configuration { platform, rootfs } = read(tree, &config).unwrap_or_default();
    let of_index = in_index.then(|| descriptor.platform.clone().unwrap_or_else(|| platform.clone()));
    let diff_ids = if rootfs.diff_ids.len() == layers.len() { rootfs.diff_ids } else { Vec::new() };
    let reference = reference.to_owned();
    Ok(vec![Image { reference, of_index, manifest: descriptor, config, layers, platform, diff_ids }])
}

fn read<T: serde::de::DeserializeOwned>(tree: &Tree, descriptor: &Descriptor) -> Result<T, StepError> {
    let path = path_of(descriptor);
    let bytes = tree.read(&path, LARGEST_MANIFEST)?;
    serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context(path))
}

fn path_of(descriptor: &Descriptor) -> String {
    format!("blobs/{}", descriptor.digest.replace(':', "/"))
}

/// What an image holds. `told` hears of each layer before it is looked at.
///
/// # Errors
/// Where the build is stopped, or the host fails.
pub fn contents(
    tree: &Tree,
    image: &Image,
    told: &mut dyn FnMut(bool) -> Result<(), StepError>,
) -> Result<Contents, StepError> {
    let mut layers = Vec::new();
    let mut notes = Vec::new();
    for descriptor in &image.layers {
        if !tree.exists(&path_of(descriptor))? {
            let why = format!("the layer {} is not in the package", descriptor.digest);
            layers.push(None);
            notes.push(Notes { unread: vec![Unread { path: String::new(), why }], ..Notes::default() });
            continue;
        }
        let layer = Layer::open(tree, &path_of(descriptor))?;
        let (found, was_read) = layers::notes(&layer)?;
        told(was_read)?;
        layers.push(Some(layer));
        notes.push(found);
    }
    let mut view = View { tree, image, layers, notes };
    view.follow_links()?;
    view.contents()
}

/// The layers of an image, seen from above.
struct View<'a> {
    tree: &'a Tree,
    image: &'a Image,
    layers: Vec<Option<Layer>>,
    notes: Vec<Notes>,
}

impl View<'_> {
    /// Which of these paths of a layer no layer above it hides.
    fn visible(&self, layer: usize, paths: Vec<String>) -> Result<Vec<bool>, StepError> {
        let mut visible = vec![true; paths.len()];
        for above in self.layers[layer + 1..].iter().flatten() {
            if paths.is_empty() {
                break;
            }
            let hidden = above.hides(&paths)?;
            visible.iter_mut().zip(hidden).for_each(|(visible, hidden)| *visible &= !hidden);
        }
        Ok(visible)
    }

    /// A wanted path that is a link leads to a file, which has another name and
    /// was passed over. Each layer is read once more for all of them.
    fn follow_links(&mut self) -> Result<(), StepError> {
        let mut targets = self.targets()?;
        for index in (0..self.layers.len()).rev() {
            let Some(layer) = self.layers[index].as_ref().filter(|_| !targets.is_empty()) else { continue };
            let names: Vec<String> = targets.keys().cloned().collect();
            // It has the file, or has removed it.
            let hidden = layer.hides(&names)?;
            let here = names.into_iter().zip(hidden).filter(|(_, hidden)| *hidden);
            let here = here.filter_map(|(target, _)| targets.remove_entry(&target)).collect();
            self.read_as(index, here)?;
        }
        Ok(())
    }

    /// What the links that can be seen lead to, with the first path that does.
    fn targets(&mut self) -> Result<BTreeMap<String, String>, StepError> {
        let mut links = BTreeMap::new();
        for index in 0..self.notes.len() {
            let paths = self.notes[index].links.iter().map(|(path, _)| path.clone()).collect();
            let visible = self.visible(index, paths)?;
            let seen = self.notes[index].links.iter().zip(visible).filter(|(_, visible)| *visible);
            links.extend(seen.map(|((path, target), _)| (path.clone(), (target.clone(), index))));
        }
        let mut targets = BTreeMap::new();
        for (path, (first, index)) in links.iter().take(MOST_LINKS) {
            let mut target = first;
            let mut steps = 0;
            while let Some((next, _)) = links.get(target).filter(|_| steps < LONGEST_WAY) {
                target = next;
                steps += 1;
            }
            // A file that is wanted by its own name was read under that.
            if steps == LONGEST_WAY || kinds::reader_of(target) != Reader::Go {
                continue;
            }
            if target.len() > LONGEST_TARGET {
                let why = format!("it is a link to a path of {} bytes", target.len());
                self.notes[*index].unread.push(Unread { path: path.clone(), why });
                continue;
            }
            targets.entry(target.clone()).or_insert_with(|| path.clone());
        }
        Ok(targets)
    }

    /// Reads the files at these targets in a layer as what their paths name.
    fn read_as(&mut self, index: usize, mut targets: BTreeMap<String, String>) -> Result<(), StepError> {
        if targets.is_empty() {
            return Ok(());
        }
        let again = Layer::open(self.tree, &path_of(&self.image.layers[index]))?;
        let ends = targets.keys().map(|target| format!("/{target}")).collect();
        again.select(&sdk::layer::Wanted { ends, below: Vec::new(), beginnings: Vec::new() })?;
        while !targets.is_empty() {
            let found = again.next().unwrap_or_default();
            let Some(last) = found.last() else { return Ok(()) };
            if last.kind != sdk::layer::FoundKind::File {
                continue;
            }
            let Some((target, path)) = targets.remove_entry(&last.path) else { continue };
            let notes = &mut self.notes[index];
            match kinds::read(&path, last.size, &mut again.reader(), &mut notes.unread) {
                Ok(seen) => notes.found.extend(seen.map(|found| under(found, &target))),
                Err(why) => notes.unread.push(Unread { path: target, why }),
            }
        }
        Ok(())
    }

    fn contents(self) -> Result<Contents, StepError> {
        let mut contents = Contents::default();
        let mut releases: Vec<(usize, Release)> = Vec::new();
        for index in 0..self.notes.len() {
            let notes = &self.notes[index];
            let paths = |paths: &mut dyn Iterator<Item = &String>| paths.cloned().collect::<Vec<_>>();
            let visible = self.visible(index, paths(&mut notes.found.iter().map(|found| &found.path)))?;
            let layer = self.image.layer_id(index);
            for (found, _) in notes.found.iter().zip(visible).filter(|(_, visible)| *visible) {
                match &found.what {
                    What::Release(release) => {
                        let rank = RELEASES.iter().position(|path| *path == found.path);
                        releases.extend(rank.map(|rank| (rank, release.clone())));
                    }
                    What::Packages(packages) => contents.packages.extend(packages.iter().map(|package| Placed {
                        package: package.clone(),
                        path: format!("/{}", found.path),
                        layer: layer.clone(),
                    })),
                }
            }
            let visible = self.visible(index, paths(&mut notes.unread.iter().map(|unread| &unread.path)))?;
            for (unread, visible) in notes.unread.iter().zip(visible) {
                if visible || unread.path.is_empty() {
                    contents.unread.push((self.image.layers[index].digest.clone(), layer.clone(), unread.clone()));
                }
            }
        }
        releases.sort_by_key(|(rank, _)| *rank);
        contents.release = releases.into_iter().next().map(|(_, release)| release);
        contents.sort();
        Ok(contents)
    }
}

/// Packages lie where their file does; the system is known by the link to it.
fn under(found: Found, target: &str) -> Found {
    match found.what {
        What::Release(_) => found,
        What::Packages(_) => Found { path: target.to_owned(), ..found },
    }
}
