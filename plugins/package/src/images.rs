//! The images of the package: each reference of the definition must be in the
//! image layout, under its complete spelling.

use std::collections::{BTreeMap, BTreeSet};

use model::ChartEntry;
use model::image::ImageName;
use model::media_type::{OCI_INDEX, OCI_MANIFEST, is_index};
use model::oci::{BASE_NAME, DEEPEST, Descriptor, LARGEST_INDEX, LARGEST_MANIFEST, Manifest, REFERENCE};
use model::zarf::Definition;
use sdk::StepError;

use crate::lists;
use crate::parts::{self, Member, Source};
use crate::refusal::refuse;
use crate::sources::{Found, Sources};

/// The tree of the images step.
const TREE: &str = "images";
const INDEX: &str = "index.json";
/// For who writes the definition; no part of the layout.
const REFERRERS: &str = "referrers.json";
const LAYOUT: &str = "oci-layout";
/// Where charts lie that are carried as artifacts.
const CHARTS: &str = "charts";

/// An image that the definition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The complete spelling.
    pub reference: String,
    /// As the definition writes it.
    pub written: String,
    /// The components that name it.
    pub components: Vec<String>,
    /// Of the manifest or index.
    pub media_type: String,
    /// `sha256:…` of the manifest or index.
    pub digest: String,
    /// Bytes of everything reachable from it, shared or not.
    pub size: u64,
    /// `linux/amd64`; None where the layout does not say.
    pub platform: Option<String>,
    /// Everything reachable from it, by the hexadecimal digits of its digest.
    pub blobs: BTreeSet<String>,
    /// What of it is a chart that is carried as an artifact.
    pub chart: Option<CarriedChart>,
}

/// A chart that is carried as an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedChart {
    /// What charts.json says of it.
    pub entry: ChartEntry,
    /// In the tree of the charts.
    pub archive: Found,
    /// Bytes of the manifest.
    manifest_size: u64,
}

impl Image {
    /// Whether it is an index, of one manifest or several.
    pub fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }
}

/// A chart that is carried as an artifact, with what it consists of: manifest,
/// configuration, archive, provenance file.
struct Artifact {
    entry: ChartEntry,
    parts: Vec<Found>,
    archive: Found,
}

impl Artifact {
    fn of(entry: ChartEntry, sources: &dyn Sources) -> Result<Option<(String, Self)>, StepError> {
        let Some(made) = &entry.artifact else { return Ok(None) };
        let paths = [&made.manifest, &made.config, &entry.path].into_iter().chain(&entry.provenance);
        let parts = paths.map(|path| part(path, sources)).collect::<Result<Vec<Found>, StepError>>()?;
        let (reference, archive) = (made.reference.clone(), parts[2].clone());
        Ok(Some((reference, Self { entry, parts, archive })))
    }

    fn image(&self, reference: &str, written: String, components: Vec<String>) -> Image {
        let digits = |found: &Found| found.sha256.clone().unwrap_or_default();
        Image {
            reference: reference.to_owned(),
            written,
            components,
            media_type: OCI_MANIFEST.to_owned(),
            digest: format!("sha256:{}", digits(&self.parts[0])),
            size: self.parts.iter().map(|part| part.size).sum(),
            platform: None,
            blobs: self.parts.iter().map(digits).collect(),
            chart: Some(CarriedChart {
                entry: self.entry.clone(),
                archive: self.archive.clone(),
                manifest_size: self.parts[0].size,
            }),
        }
    }
}

fn part(path: &str, sources: &dyn Sources) -> Result<Found, StepError> {
    let found = sources.find(CHARTS, path)?.filter(|found| found.sha256.is_some());
    found.ok_or_else(|| {
        StepError::missing_input("chart", format!("there is no `{path}` in the tree of the step charts"))
            .hint("run the step charts again: `opencenter-airgap build --step charts`")
    })
}

/// Charts that are carried as artifacts, by reference.
fn artifacts(sources: &dyn Sources) -> Result<BTreeMap<String, Artifact>, StepError> {
    let made = lists::charts(sources)?.into_iter().map(|entry| Artifact::of(entry, sources));
    made.filter_map(Result::transpose).collect()
}

/// The images of all components, in the order of their references.
///
/// # Errors
/// `invalid-input` for what is no reference, or is pinned to a digest that the
/// layout does not have; `missing-input` for images that were not pulled.
pub fn collect(definition: &Definition, sources: &dyn Sources) -> Result<Vec<Image>, StepError> {
    let mut wanted: BTreeMap<String, (ImageName, String, Vec<String>)> = BTreeMap::new();
    for component in &definition.components {
        for written in &component.images {
            let name = ImageName::parse(written.strip_prefix("oci://").unwrap_or(written))
                .map_err(|bad| refuse("image", bad.message).hint(bad.hint).context(&component.name))?;
            let entry = wanted.entry(name.to_string()).or_insert_with(|| (name, written.clone(), Vec::new()));
            if entry.2.last() != Some(&component.name) {
                entry.2.push(component.name.clone());
            }
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let index = read_index(sources)?;
    let charts = artifacts(sources)?;
    let is_there = |reference: &str| index.contains_key(reference) || charts.contains_key(reference);
    let missing: Vec<&str> = wanted.keys().map(String::as_str).filter(|reference| !is_there(reference)).collect();
    if !missing.is_empty() {
        return Err(StepError::missing_input(
            "images",
            format!("{} images of the definition were not pulled: {}", missing.len(), missing.join(", ")),
        )
        .hint("name them under `images` in config/components.yaml, in the same spelling"));
    }
    let found = wanted.into_iter().map(|(reference, wanted)| match charts.get(&reference) {
        Some(chart) if !index.contains_key(&reference) => Ok(chart.image(&reference, wanted.1, wanted.2)),
        _ => image(reference, wanted, &index, sources),
    });
    found.collect()
}

fn read_index(sources: &dyn Sources) -> Result<BTreeMap<String, Descriptor>, StepError> {
    if !sources.has(TREE) || sources.find(TREE, INDEX)?.is_none() {
        return Ok(BTreeMap::new());
    }
    let bytes = sources.read(TREE, INDEX, LARGEST_INDEX)?;
    let index: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context("images/index.json"))?;
    let named = index.into_manifests().into_iter().filter_map(|descriptor| {
        let reference = descriptor.reference()?.to_owned();
        Some((reference, descriptor))
    });
    Ok(named.collect())
}

fn image(
    reference: String,
    (name, written, components): (ImageName, String, Vec<String>),
    index: &BTreeMap<String, Descriptor>,
    sources: &dyn Sources,
) -> Result<Image, StepError> {
    let descriptor = index.get(&reference).ok_or_else(|| refuse("images", format!("`{reference}` vanished")))?;
    if let Some(pin) = name.digest.filter(|pin| *pin != descriptor.digest) {
        return Err(refuse(
            "image-digest",
            format!("`{reference}` is pinned to {pin} and was pulled as {}", descriptor.digest),
        ));
    }
    let mut blobs = BTreeSet::new();
    let size =
        reachable(descriptor, sources, 0, &mut blobs).map_err(|error| error.context(format!("image `{reference}`")))?;
    let platform = descriptor.platform.as_ref().map(|platform| format!("{}/{}", platform.os, platform.architecture));
    Ok(Image {
        reference,
        written,
        components,
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size,
        platform,
        blobs,
        chart: None,
    })
}

/// Bytes of a blob and of everything that it refers to, which goes into
/// `blobs`.
fn reachable(
    descriptor: &Descriptor,
    sources: &dyn Sources,
    depth: usize,
    blobs: &mut BTreeSet<String>,
) -> Result<u64, StepError> {
    let hex = descriptor.hex();
    blobs.insert(hex.to_owned());
    let path = format!("blobs/sha256/{hex}");
    if depth > DEEPEST {
        return Err(refuse("image", "indexes are nested too deeply"));
    }
    let bytes = sources.read(TREE, &path, LARGEST_MANIFEST)?;
    let children: Manifest = serde_json::from_slice(&bytes).map_err(|error| StepError::from(error).context(&path))?;
    let mut total = descriptor.size;
    for blob in children.blobs() {
        total = total.saturating_add(blob.size);
        blobs.insert(blob.hex().to_owned());
    }
    for manifest in children.manifests() {
        total = total.saturating_add(reachable(manifest, sources, depth + 1, blobs)?);
    }
    Ok(total)
}

/// The layout as members of the package, and the references that were pulled
/// and that no component names: `zarf package pull` leaves those behind, and
/// what it wrote would not be whole then.
///
/// # Errors
/// For an index that is none.
pub fn members(images: &[Image], sources: &dyn Sources) -> Result<(Vec<Member>, Vec<String>), StepError> {
    let named: BTreeSet<&str> = images.iter().map(|image| image.reference.as_str()).collect();
    let mut unnamed: Vec<String> = read_index(sources)?.into_keys().chain(artifacts(sources)?.into_keys()).collect();
    unnamed.retain(|reference| !named.contains(reference.as_str()));
    let blobs: BTreeSet<&str> = images.iter().flat_map(|image| image.blobs.iter().map(String::as_str)).collect();
    let mut members = Vec::new();
    let pulled = if sources.has(TREE) { sources.below(TREE, "")? } else { Vec::new() };
    for found in pulled.into_iter().filter(|found| found.path != REFERRERS) {
        let path = format!("images/{}", found.path);
        let blob = found.path.strip_prefix("blobs/sha256/");
        if blob.is_some_and(|hex| !blobs.contains(hex)) {
            continue;
        }
        members.push(if found.path == INDEX && !unnamed.is_empty() {
            Member { path, mode: 0o644, source: Source::Bytes(index_of(&named, sources)?) }
        } else {
            parts::file(path, 0o644, TREE, &found)
        });
    }
    add_charts(&mut members, images, sources)?;
    Ok((members, unnamed))
}

/// Adds charts that are carried as artifacts to the layout.
fn add_charts(members: &mut Vec<Member>, images: &[Image], sources: &dyn Sources) -> Result<(), StepError> {
    let carried: Vec<&Image> = images.iter().filter(|image| image.chart.is_some()).collect();
    if carried.is_empty() {
        return Ok(());
    }
    let index = match members.iter().position(|member| member.path == format!("images/{INDEX}")) {
        Some(at) => text_of(&members.remove(at).source, sources)?,
        None => format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#).into_bytes(),
    };
    let mut added = BTreeMap::from([
        (format!("images/{INDEX}"), Source::Bytes(with_charts(&index, &carried)?)),
        (format!("images/{LAYOUT}"), Source::Bytes(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())),
    ]);
    let charts = artifacts(sources)?;
    for found in carried.iter().filter_map(|image| charts.get(&image.reference)).flat_map(|chart| &chart.parts) {
        let hex = found.sha256.as_deref().unwrap_or_default();
        let path = format!("images/blobs/sha256/{hex}");
        added.insert(path.clone(), parts::file(path, 0o644, CHARTS, found).source);
    }
    let is_new = |(path, _): &(String, Source)| !members.iter().any(|member| member.path == *path);
    let new: Vec<(String, Source)> = added.into_iter().filter(is_new).collect();
    members.extend(new.into_iter().map(|(path, source)| Member { path, mode: 0o644, source }));
    members.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(())
}

fn text_of(source: &Source, sources: &dyn Sources) -> Result<Vec<u8>, StepError> {
    match source {
        Source::Bytes(bytes) => Ok(bytes.clone()),
        _ => sources.read(TREE, INDEX, LARGEST_INDEX),
    }
}

/// index.json with these charts among the images, sorted by digest as before.
fn with_charts(index: &[u8], charts: &[&Image]) -> Result<Vec<u8>, StepError> {
    let (before, written, after) = taken_apart(index)?;
    let mut rows: Vec<(String, String)> =
        written.into_iter().map(|(descriptor, text)| (descriptor.digest, text)).collect();
    for Image { reference, digest, chart, .. } in charts.iter().copied() {
        let Some(CarriedChart { manifest_size: size, .. }) = chart else { continue };
        let names = format!(r#"{{"{BASE_NAME}":"{reference}","{REFERENCE}":"{reference}"}}"#);
        let row =
            format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{size},"annotations":{names}}}"#);
        rows.push((digest.clone(), row));
    }
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
    Ok(format!("{before}\"manifests\":[{}{after}", rows.join(",")).into_bytes())
}

/// index.json with the named images alone, each as it is written: what the
/// images step writes where nothing else is pulled.
fn index_of(named: &BTreeSet<&str>, sources: &dyn Sources) -> Result<Vec<u8>, StepError> {
    let bytes = sources.read(TREE, INDEX, LARGEST_INDEX)?;
    let (before, written, after) = taken_apart(&bytes)?;
    let is_named = |descriptor: &Descriptor| descriptor.reference().is_some_and(|one| named.contains(one));
    let kept: Vec<String> =
        written.into_iter().filter(|(descriptor, _)| is_named(descriptor)).map(|(_, text)| text).collect();
    Ok(format!("{before}\"manifests\":[{}{after}", kept.join(",")).into_bytes())
}

/// What stands before the descriptors of an index, each of them as it is
/// written, and what stands behind them.
type Parts = (String, Vec<(Descriptor, String)>, String);

fn taken_apart(bytes: &[u8]) -> Result<Parts, StepError> {
    let no_index = || refuse("images", "images/index.json is not as the images step writes it");
    let text = std::str::from_utf8(bytes).map_err(|_| no_index())?;
    let (before, mut rest) = text.split_once("\"manifests\":[").ok_or_else(no_index)?;
    let mut found = Vec::new();
    while rest.starts_with('{') {
        let mut one = serde_json::Deserializer::from_str(rest).into_iter::<Descriptor>();
        let descriptor = one.next().transpose()?.ok_or_else(no_index)?;
        let (written, after) = rest.split_at(one.byte_offset());
        found.push((descriptor, written.to_owned()));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Ok((before.to_owned(), found, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::memory::{Memory, sha256};
    use model::zarf::Component;

    fn definition(images: &[&str]) -> Definition {
        let component = |name: &str| Component {
            name: name.into(),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            ..Component::default()
        };
        Definition { components: vec![component("a"), component("b")], ..Definition::default() }
    }

    fn layout(references: &[&str]) -> (Memory, String) {
        let manifest = r#"{"config":{"digest":"sha256:c","size":3},"layers":[{"digest":"sha256:l","size":40},{"digest":"sha256:l","size":500}]}"#;
        let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
        let entries: Vec<String> = references
            .iter()
            .map(|reference| format!(r#"{{"mediaType":"m","digest":"{digest}","size":100,"annotations":{{"{REFERENCE}":"{reference}"}}}}"#))
            .collect();
        let memory = Memory::default()
            .with(TREE, "index.json", format!(r#"{{"manifests":[{}]}}"#, entries.join(",")))
            .with(TREE, &format!("blobs/sha256/{}", &digest[7..]), manifest);
        (memory, digest)
    }

    #[test]
    fn images_are_found_by_their_complete_spelling_once_for_all_components() {
        let (sources, digest) = layout(&["docker.io/library/nginx:1.27"]);
        let images = collect(&definition(&["nginx:1.27", "docker.io/nginx:1.27"]), &sources).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!((images[0].size, images[0].digest.as_str()), (643, digest.as_str()));
        assert_eq!(images[0].components, ["a", "b"]);
    }

    #[test]
    fn a_missing_image_and_a_broken_pin_are_named() {
        let pin = format!("docker.io/library/nginx@sha256:{}", "0".repeat(64));
        let (sources, _) = layout(&[&pin]);
        let error = collect(&definition(&["redis:7", &pin]), &sources).unwrap_err();
        assert!(error.failure().unwrap().message.contains("docker.io/library/redis:7"));
        let error = collect(&definition(&[&pin]), &sources).unwrap_err();
        assert_eq!(error.failure().unwrap().code, "image-digest");
        assert!(collect(&definition(&["no such image"]), &sources).is_err());
    }
    /// Guards the one layout that images and charts are in: sorted, each once,
    /// and whole without any image.
    #[test]
    fn a_chart_that_is_carried_is_in_the_layout_with_the_images() {
        let reference = "h.test/charts/web:1";
        let list = format!(
            r#"[{{"name":"web","version":"1","repo":"https://h.test","url":"","namespace":"n","path":"charts/web-1.tgz","sha256":"","provenance":"charts/web-1.tgz.prov","values":[],"images":[],"artifact":{{"reference":"{reference}","manifest":"artifacts/m","config":"artifacts/c"}}}}]"#
        );
        let with_chart = |sources: Memory| {
            let parts = [("charts.json", list.as_str()), ("artifacts/m", "{}"), ("artifacts/c", "c")];
            let parts = parts.into_iter().chain([("charts/web-1.tgz", "archive"), ("charts/web-1.tgz.prov", "signed")]);
            parts.fold(sources, |sources, (path, text)| sources.with(CHARTS, path, text))
        };
        let (pulled, _) = layout(&["docker.io/library/nginx:1.27"]);
        let pulled = pulled.with(TREE, LAYOUT, r#"{"imageLayoutVersion":"1.0.0"}"#);
        for (sources, wanted) in
            [(with_chart(pulled), &["nginx:1.27", reference][..]), (with_chart(Memory::default()), &[reference])]
        {
            let images = collect(&definition(wanted), &sources).unwrap();
            let chart = images.iter().find(|image| image.chart.is_some()).unwrap();
            assert_eq!((chart.size, chart.blobs.len()), (2 + 1 + 7 + 6, 4));
            let (members, unnamed) = members(&images, &sources).unwrap();
            assert!(unnamed.is_empty(), "{unnamed:?}");
            let paths: Vec<&str> = members.iter().map(|member| member.path.as_str()).collect();
            assert!(paths.is_sorted() && paths.contains(&"images/oci-layout"), "{paths:?}");
            let index = members.iter().find(|member| member.path == "images/index.json").unwrap();
            let Source::Bytes(index) = &index.source else { panic!("it is made here") };
            let index: Manifest = serde_json::from_slice(index).unwrap();
            assert_eq!(index.manifests().len(), wanted.len());
            assert!(index.manifests().is_sorted_by_key(|descriptor| descriptor.digest.clone()));
            let names = |descriptor: &Descriptor| descriptor.annotations.clone().into_values().collect::<Vec<_>>();
            let found = index.manifests().iter().find(|descriptor| descriptor.digest == chart.digest).unwrap();
            assert_eq!((names(found), found.size), (vec![reference.to_owned(); 2], 2));
        }
    }

    /// What is pulled for components that the definition leaves out.
    #[test]
    fn what_no_component_names_is_not_packaged() {
        let (sources, digest) = layout(&["docker.io/library/nginx:1.27", "docker.io/library/redis:7"]);
        let sources = sources
            .with(TREE, "blobs/sha256/l", "layer")
            .with(TREE, "blobs/sha256/c", "configuration")
            .with(TREE, "blobs/sha256/other", "of another image")
            .with(TREE, "oci-layout", "{}");
        let paths = |members: &[Member]| members.iter().map(|member| member.path.clone()).collect::<Vec<_>>();
        let images = collect(&definition(&["nginx:1.27"]), &sources).unwrap();
        let (members, unnamed) = members(&images, &sources).unwrap();
        assert_eq!(unnamed, ["docker.io/library/redis:7"]);
        let blob = |name: &str| format!("images/blobs/sha256/{name}");
        let manifest = blob(&digest[7..]);
        let mut expected = vec![manifest, blob("c"), blob("l"), "images/index.json".into(), "images/oci-layout".into()];
        expected.sort();
        assert_eq!(paths(&members), expected);
        let index = members.iter().find(|member| member.path == "images/index.json").unwrap();
        let alone = layout(&["docker.io/library/nginx:1.27"]).0.read(TREE, INDEX, 1 << 20).unwrap();
        assert_eq!(index.source, Source::Bytes(alone));

        let all = collect(&definition(&["nginx:1.27", "redis:7"]), &sources).unwrap();
        let (members, unnamed) = super::members(&all, &sources).unwrap();
        assert!(unnamed.is_empty() && members.iter().all(|member| matches!(member.source, Source::File { .. })));
    }
}
