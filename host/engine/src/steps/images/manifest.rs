//! Manifests and indexes as registries serve them, read strictly, and the
//! choice of a platform. No I/O.

use model::json;
use model::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, is_foreign, is_image_config};
use model::oci::{Manifest, Platform};

use base::digest::Digest;
use base::error::{Class, Error, Result};

/// A pointer to a blob, by SHA-256.
pub(super) type Descriptor = model::oci::Descriptor<Digest>;

/// What build tools add to an index about one of its images.
fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
}

/// Whether every processor of the architecture runs it: the variant says
/// nothing, or the least.
fn is_baseline(platform: &Platform) -> bool {
    matches!(
        (platform.architecture.as_str(), platform.variant.as_deref()),
        (_, None) | ("amd64", Some("v1")) | ("arm64", Some("v8"))
    )
}

/// What a reference points to.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and most are images")]
pub(super) enum Document {
    Index { media_type: String, manifests: Vec<Descriptor> },
    Image { media_type: String, config: Descriptor, layers: Vec<Descriptor> },
}

impl Document {
    /// Reads the bytes. `served_as` is the Content-Type, which counts where
    /// the document does not name its type.
    ///
    /// # Errors
    /// `invalid-input` for what is no manifest, or could be read in two ways.
    pub(super) fn parse(bytes: &[u8], served_as: Option<&str>) -> Result<Self> {
        let read: Manifest<Digest> = json::read(bytes)
            .map_err(|error| Error::invalid("the manifest is not one that can be read").caused_by(error))?;
        if read.is_of_schema_1() {
            return Err(Error::invalid("the manifest has docker's schema version 1, which registries gave up")
                .hint("push the image again with a current client"));
        }
        let named = read.media_type.clone().or_else(|| served_as.map(str::to_owned));
        match (read.is_index(), read.config.is_some()) {
            (true, true) => Err(Error::invalid("the manifest claims to be an index and an image at once")),
            (true, false) => Ok(Self::Index {
                media_type: known(named, &[OCI_INDEX, DOCKER_LIST]),
                manifests: read.into_manifests(),
            }),
            (false, _) => {
                let media_type = known(named, &[OCI_MANIFEST, DOCKER_MANIFEST]);
                let image = read.into_image().map(|(config, layers)| Self::Image { media_type, config, layers });
                image.ok_or_else(|| Error::invalid("the manifest has neither a config nor manifests"))
            }
        }
    }

    pub(super) fn media_type(&self) -> &str {
        match self {
            Self::Index { media_type, .. } | Self::Image { media_type, .. } => media_type,
        }
    }
}

/// The named type when it is one of these, else the first of them.
fn known(named: Option<String>, types: &[&str]) -> String {
    named.filter(|named| types.contains(&named.as_str())).unwrap_or_else(|| types[0].to_owned())
}

/// The manifest for a platform: the first that fits, as Zarf chooses, but one
/// that needs no newer processor goes before one that does. Attestations have
/// the platform unknown/unknown and never fit.
///
/// # Errors
/// `not-found`, listing what there is.
pub(super) fn select<'a>(manifests: &'a [Descriptor], architecture: &str) -> Result<&'a Descriptor> {
    let fitting = manifests.iter().filter_map(|manifest| {
        let platform = manifest.platform.as_ref()?;
        (platform.os == "linux" && platform.architecture == architecture).then_some((platform, manifest))
    });
    let chosen = fitting.min_by_key(|(platform, _)| !is_baseline(platform));
    chosen.map(|(_, manifest)| manifest).ok_or_else(|| for_another_platform(manifests, architecture))
}

/// What of an index may be the image for a platform, best first: what is said
/// to be for it, as [`select`] chooses, then what no platform is said of, whose
/// configuration has to tell. Of these the one that is `locked` goes first.
pub(super) fn candidates(manifests: &[Descriptor], architecture: &str, locked: Option<Digest>) -> Vec<Descriptor> {
    let of = |platform: &Platform| platform.os == "linux" && platform.architecture == architecture;
    let mut fitting: Vec<&Descriptor> =
        manifests.iter().filter(|manifest| manifest.told_platform().is_some_and(of)).collect();
    fitting.sort_by_key(|manifest| manifest.told_platform().is_some_and(|platform| !is_baseline(platform)));
    let untold = |manifest: &&Descriptor| manifest.told_platform().is_none() && !is_attestation(manifest);
    let mut silent: Vec<&Descriptor> = manifests.iter().filter(untold).collect();
    silent.sort_by_key(|manifest| Some(manifest.digest) != locked);
    fitting.into_iter().chain(silent).cloned().collect()
}

/// What the image of an index is not there for.
pub(super) fn for_another_platform(manifests: &[Descriptor], architecture: &str) -> Error {
    let mut there: Vec<String> = manifests
        .iter()
        .filter_map(Descriptor::told_platform)
        .filter(|platform| platform.os != "unknown")
        .map(Platform::to_string)
        .collect();
    there.dedup();
    let there = if there.is_empty() { "no platform at all".to_owned() } else { there.join(", ") };
    Error::new(Class::NotFound, format!("the image is not for linux/{architecture}: its index names {there}"))
        .hint("choose a tag that has this platform, or another TARGET_ARCH")
}

/// The layers of an image that are packaged: all, but for those that may not
/// be passed on of an image for Windows, which a pinned index may name beside
/// ours. Zarf and crane leave these out as well: no node of ours runs them.
pub(super) fn packaged(layers: &[Descriptor], of_windows: bool) -> impl Iterator<Item = &Descriptor> {
    layers.iter().filter(move |layer| !of_windows || !is_foreign(&layer.media_type))
}

/// Whether a configuration says which platform its image is for.
pub(super) fn tells_platform(config: &Descriptor) -> bool {
    is_image_config(&config.media_type)
}

/// Compares the platform that a configuration names with the wanted one.
///
/// # Errors
/// `not-found` when it is another one.
pub(super) fn check_platform(config: &[u8], architecture: &str) -> Result<()> {
    // A configuration that is no JSON or names no platform proves nothing.
    let Ok(platform) = json::read::<Platform>(config) else { return Ok(()) };
    let other = !platform.architecture.is_empty() && platform.architecture != architecture;
    let other_os = !platform.os.is_empty() && platform.os != "linux";
    if other || other_os {
        return Err(Error::new(
            Class::NotFound,
            format!("the image is for {platform} and not for linux/{architecture}"),
        )
        .hint("choose a tag that has this platform, or another TARGET_ARCH"));
    }
    Ok(())
}

/// Whether a configuration says that its image is for this platform; None
/// where it says nothing.
pub(super) fn is_for(config: &[u8], architecture: &str) -> Option<bool> {
    let platform: Platform = json::read(config).ok()?;
    let is_told = !platform.architecture.is_empty();
    is_told.then(|| platform.architecture == architecture && matches!(platform.os.as_str(), "" | "linux"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, platform: Option<(&str, &str, Option<&str>)>, seed: u8) -> Descriptor {
        let platform = platform.map(|(os, architecture, variant)| Platform {
            architecture: architecture.into(),
            os: os.into(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        });
        Descriptor { platform, ..Descriptor::new(media_type, Digest::of(&[seed]), 1) }
    }

    #[test]
    fn what_runs_on_every_processor_goes_first() {
        let index = |variants: &[(&str, Option<&str>)]| -> Vec<Descriptor> {
            let rows = (0..).zip(variants);
            rows.map(|(at, (architecture, variant))| {
                descriptor(OCI_MANIFEST, Some(("linux", *architecture, *variant)), at)
            })
            .collect()
        };
        for (variants, architecture, wanted) in [
            (index(&[("amd64", Some("v3")), ("amd64", None)]), "amd64", 1),
            (index(&[("amd64", Some("v3")), ("amd64", Some("v2"))]), "amd64", 0),
            (index(&[("amd64", Some("v1")), ("amd64", None)]), "amd64", 0),
            (index(&[("arm", Some("v8")), ("arm64", Some("v9")), ("arm64", Some("v8"))]), "arm64", 2),
            (index(&[("arm64", Some("v8")), ("arm64", None)]), "arm64", 0),
            (index(&[("arm64", Some("v9"))]), "arm64", 0),
        ] {
            assert_eq!(select(&variants, architecture).unwrap().digest, Digest::of(&[wanted]), "{variants:?}");
        }
    }

    #[test]
    fn the_first_fitting_platform_is_chosen_and_attestations_never_are() {
        let manifests = [
            descriptor(OCI_MANIFEST, Some(("unknown", "unknown", None)), 0),
            descriptor(OCI_MANIFEST, Some(("windows", "amd64", None)), 1),
            descriptor(OCI_MANIFEST, Some(("linux", "arm64", Some("v8"))), 2),
            descriptor(OCI_MANIFEST, Some(("linux", "amd64", None)), 3),
            descriptor(OCI_MANIFEST, Some(("linux", "amd64", Some("v3"))), 4),
            descriptor(OCI_MANIFEST, None, 5),
        ];
        assert_eq!(select(&manifests, "amd64").unwrap().digest, Digest::of(&[3]));
        assert_eq!(select(&manifests, "arm64").unwrap().digest, Digest::of(&[2]));
        let error = select(&manifests, "s390x").unwrap_err();
        assert!(error.message().contains("linux/arm64/v8"), "{error}");
        let error = select(&manifests[..1], "amd64").unwrap_err();
        assert!(error.message().contains("no platform at all"), "{error}");
    }

    #[test]
    fn documents_are_what_their_content_says() {
        let digest = Digest::of(b"c");
        let pointer = format!(r#"{{"mediaType":"m","digest":"{digest}","size":3}}"#);
        let parse = |text: &str, served| Document::parse(text.as_bytes(), served);
        let image = parse(&format!(r#"{{"schemaVersion":2,"config":{pointer}}}"#), Some(DOCKER_MANIFEST)).unwrap();
        assert_eq!(image.media_type(), DOCKER_MANIFEST);
        assert!(matches!(image, Document::Image { layers, .. } if layers.is_empty()));
        let index = parse(&format!(r#"{{"manifests":[{pointer}],"annotations":null}}"#), Some("text/html")).unwrap();
        assert_eq!(index.media_type(), OCI_INDEX);
        for bad in [
            "{}".to_owned(),
            "[]".to_owned(),
            "x".to_owned(),
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            format!(r#"{{"manifests":[],"config":{pointer}}}"#),
            r#"{"config":{"mediaType":"m","digest":"sha256:../../x","size":3}}"#.to_owned(),
            format!(r#"{{"config":{{"mediaType":"m","digest":"{digest}","size":-3}}}}"#),
        ] {
            assert_eq!(parse(&bad, None).unwrap_err().class(), Class::InvalidInput, "{bad}");
        }
    }

    #[test]
    fn layers_that_may_not_be_passed_on_are_known() {
        for (media_type, foreign) in [
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip", false),
        ] {
            assert_eq!(is_foreign(media_type), foreign, "{media_type}");
        }
        let layers = [descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None, 0)];
        assert_eq!((packaged(&layers, false).count(), packaged(&layers, true).count()), (1, 0));
    }

    /// As containerd looks for it: what no platform is said of comes last, and
    /// attestations never do.
    #[test]
    fn what_no_platform_is_said_of_may_be_the_image() {
        let empty = Some(("", "", None));
        let attestation = Descriptor {
            annotations: [("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned())].into(),
            ..descriptor(OCI_MANIFEST, None, 9)
        };
        let manifests = [
            descriptor(OCI_MANIFEST, None, 0),
            descriptor(OCI_INDEX, empty, 1),
            attestation,
            descriptor(OCI_MANIFEST, Some(("linux", "arm64", None)), 2),
            descriptor(OCI_MANIFEST, Some(("linux", "amd64", Some("v3"))), 3),
            descriptor(OCI_MANIFEST, Some(("linux", "amd64", None)), 4),
            descriptor(OCI_MANIFEST, Some(("unknown", "unknown", None)), 5),
        ];
        let of = |locked: Option<u8>| -> Vec<Digest> {
            let found = candidates(&manifests, "amd64", locked.map(|seed| Digest::of(&[seed])));
            found.iter().map(|manifest| manifest.digest).collect()
        };
        assert_eq!(of(None), [4, 3, 0, 1].map(|seed| Digest::of(&[seed])));
        assert_eq!(of(Some(1)), [4, 3, 1, 0].map(|seed| Digest::of(&[seed])));
        assert_eq!(is_for(br#"{"architecture":"amd64","os":null}"#, "amd64"), Some(true));
        assert_eq!(is_for(br#"{"architecture":"amd64","os":"windows"}"#, "amd64"), Some(false));
        assert_eq!(is_for(br#"{"architecture":null}"#, "amd64"), None);
    }

    #[test]
    fn nulls_are_what_is_not_there() {
        let digest = Digest::of(b"c");
        let pointer = format!(
            r#"{{"mediaType":null,"digest":"{digest}","size":3,"urls":null,"annotations":null,"platform":null,"data":null}}"#
        );
        let text =
            format!(r#"{{"schemaVersion":null,"manifests":null,"config":{pointer},"layers":null,"fsLayers":null}}"#);
        let Document::Image { config, layers, .. } = Document::parse(text.as_bytes(), None).unwrap() else {
            panic!("an image");
        };
        assert_eq!((config.size, layers.len()), (3, 0));
        let platform = r#"{"architecture":"amd64","os":"linux","os.features":null,"variant":null}"#;
        let text = format!(r#"{{"manifests":[{{"digest":"{digest}","size":3,"platform":{platform}}}],"layers":null}}"#);
        let Document::Index { manifests, .. } = Document::parse(text.as_bytes(), None).unwrap() else {
            panic!("an index");
        };
        assert_eq!(candidates(&manifests, "amd64", None).len(), 1);
    }

    #[test]
    fn a_configuration_for_another_platform_is_refused() {
        assert!(check_platform(br#"{"architecture":"amd64","os":"linux"}"#, "amd64").is_ok());
        assert!(check_platform(br#"{"architecture":"arm64","os":"linux"}"#, "amd64").is_err());
        assert!(check_platform(br#"{"architecture":"amd64","os":"windows"}"#, "amd64").is_err());
        assert!(check_platform(b"{}", "amd64").is_ok());
        assert!(check_platform(b"\x1f\x8b", "amd64").is_ok());
    }
}
