//! An airgap.lock as one side of a comparison: what its addresses gave, beside
//! what a package has of them.
//!
//! Both are brought to what they both know: images by repository, charts by
//! name, files and git repositories by address. What the package has of its own,
//! local charts among it, is no matter of the lock; where its things came from
//! the list beside it says.

use super::contents::{Contents, ImageRow};
use super::difference::Side;
use super::names::{split_image, split_url};
use crate::verify::is_archive;
use base::error::{Error, Result};
use config::airgap_lock::{AirgapLock, LockedImage};

/// A package as its lock would have it.
///
/// # Errors
/// `invalid-input` where nobody says where its things came from.
pub fn package(contents: &Contents) -> Result<Side> {
    if !contents.is_listed {
        let message = format!("`{}` does not say where its things came from", contents.package);
        return Err(Error::invalid(message)
            .hint("bring the .manifest.json that `build` put beside the package: a lock is about addresses"));
    }
    let mut side = Side { bytes: contents.bytes.clone(), ..Side::default() };
    for image in &contents.images {
        let (repository, tag) = split_image(&image.reference);
        side.add("image", repository, tag, &image.digest);
    }
    for chart in contents.charts.iter().filter(|chart| is_address(chart.source.as_deref())) {
        side.add("chart", &chart.name, &chart.version, &chart.sha256);
    }
    for file in &contents.files {
        if let Some(source) = file.source.as_deref().filter(|source| is_address(Some(source))) {
            side.add("file", source, "", content(source, &file.sha256));
        }
    }
    for repository in &contents.repositories {
        let (url, _) = split_url(&repository.url);
        side.add("repository", url, "", repository.commit.as_deref().unwrap_or_default());
    }
    Ok(side)
}

/// A lock, beside a package: its images are those for its architecture, each as
/// the index or as the manifest, whichever the package has.
pub fn lock(lock: &AirgapLock, beside: Option<&Contents>) -> Side {
    let mut side = Side::default();
    for (key, image) in &lock.images {
        let Some((written, platform)) = key.rsplit_once(' ') else { continue };
        let architecture = platform.split('/').nth(1).unwrap_or_default();
        if beside.is_some_and(|package| package.architecture != architecture) {
            continue;
        }
        let reference = model::image::normalized(written);
        let (repository, tag) = split_image(&reference);
        side.add("image", repository, tag, &digest(image, &reference, beside));
        side.bytes.insert(image.manifest.hex(), image.size);
        for blob in image.layers.iter().chain([&image.config]) {
            side.bytes.insert(blob.digest.hex(), blob.size);
        }
    }
    for (key, chart) in &lock.charts {
        let name = key.split(' ').nth(1).unwrap_or(key);
        side.add("chart", name, &chart.version, &chart.digest.hex());
    }
    for (url, file) in &lock.files {
        let sha256 = file.sha256.hex();
        side.add("file", url, "", content(url, &sha256));
        side.bytes.insert(sha256, file.size);
    }
    for (key, repository) in &lock.repositories {
        side.add("repository", key.split(' ').next().unwrap_or(key), "", &repository.commit);
    }
    for (_, _, file) in lock.of_plugins() {
        side.bytes.insert(file.sha256.hex(), file.size);
    }
    side
}

fn digest(image: &LockedImage, reference: &str, beside: Option<&Contents>) -> String {
    let is_it = |row: &&ImageRow| row.reference == reference;
    let carried = beside.and_then(|package| package.images.iter().find(is_it)).map(|row| row.digest.as_str());
    let index = image.index.map(|index| index.to_string()).filter(|index| carried == Some(index));
    index.unwrap_or_else(|| image.manifest.to_string())
}

fn is_address(source: Option<&str>) -> bool {
    source.is_some_and(|source| source.contains("://"))
}

/// The package has what lies in an archive, and the lock the archive.
fn content<'a>(source: &str, sha256: &'a str) -> &'a str {
    if is_archive(source) { "" } else { sha256 }
}
