//! From the four files to what is written: generation, merge, texts and the
//! resolved components. Nothing here touches the host.

use model::catalog::Catalog;
use model::pins::Pins;
use model::problem::Problem;
use model::{ComponentManifest, Generated, Package, ResolvedComponents};
use sha2::{Digest, Sha256};

use crate::comments::Comments;
use crate::merge::{bare, merge_manifests};
use crate::mode::Mode;
use crate::note::Note;
use crate::write::{base_text, components_text};

/// The files as they lie in config/.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// The text of versions.env.
    pub versions: &'a str,
    /// The text of catalog.yaml.
    pub catalog: &'a str,
    /// The text of components.yaml; None before the first generation.
    pub components: Option<&'a str>,
    /// The text of components.base.yaml; None where it is missing.
    pub base: Option<&'a str>,
}

/// What else decides.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the package is called.
    pub package: Package,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Who wins where the pins and a person both changed something.
    pub mode: Mode,
    /// Goes into `_generated`.
    pub tool: String,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regenerated {
    /// None where nothing changes.
    pub components: Option<String>,
    /// None where nothing changes.
    pub base: Option<String>,
    /// What the later steps work on.
    pub resolved: ResolvedComponents,
    /// What the merge did, for the log.
    pub notes: Vec<Note>,
    /// components.base.yaml is missing and cannot be made up for.
    pub base_is_missing: bool,
}

/// A file that cannot be used: its name, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name in config/.
    pub file: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// # Errors
/// The first file that cannot be used. The host has checked them all before,
/// so this is about files that changed in between.
pub fn regenerate(files: &Files<'_>, request: &Request) -> Result<Regenerated, Refused> {
    let pins = Pins::parse(files.versions).map_err(|errors| {
        let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let hint = errors.into_iter().next().map(|error| error.hint).unwrap_or_default();
        Refused { file: "versions.env", message, hint }
    })?;
    let catalog: Catalog = parse("catalog.yaml", files.catalog)?;
    let current = files.components.map(|text| parse::<ComponentManifest>("components.yaml", text)).transpose()?;
    let known = files.base.map(|text| parse::<ComponentManifest>("components.base.yaml", text)).transpose()?;
    let generation = catalog.generate(&pins).map_err(|problems| refused("catalog.yaml", &problems))?;
    let generated = generation.manifest;

    let stamp = stamp(files, &request.tool);
    let base = known.as_ref().map(bare).or_else(|| made_up_base(current.as_ref(), &generated, &stamp));
    let merged = merge_manifests(base.as_ref(), &generated, current.as_ref(), request.mode);
    let resolved = merged.manifest.resolve(&request.package, &request.architecture);
    let resolved = resolved.map_err(|problems| refused("components.yaml", &problems))?;

    // A file without the stamp was never generated: all of it is an addition.
    let was_generated = current.as_ref().is_some_and(|current| current.generated.is_some());
    let changed = current.as_ref().map(bare).as_ref() != Some(&merged.manifest);
    let stamped =
        |manifest: &ComponentManifest| ComponentManifest { generated: Some(stamp.clone()), ..manifest.clone() };
    let text = || {
        let comments = files.components.zip(current.as_ref()).map(|(text, current)| Comments::collect(text, current));
        checked(&stamped(&merged.manifest), comments.as_ref())
    };
    let base_changed = known.as_ref().map(bare).as_ref() != Some(&generated);
    Ok(Regenerated {
        components: changed.then(text),
        base: base_changed.then(|| base_text(&stamped(&generated))),
        resolved,
        notes: merged.notes,
        base_is_missing: base.is_none() && was_generated,
    })
}

/// Of a project without pins: components.yaml as it is, where there is one.
/// Nothing is generated.
///
/// # Errors
/// A components.yaml that cannot be used.
pub fn unpinned(components: Option<&str>, request: &Request) -> Result<Regenerated, Refused> {
    let manifest: ComponentManifest =
        components.map(|text| parse("components.yaml", text)).transpose()?.unwrap_or_default();
    let resolved = manifest.resolve(&request.package, &request.architecture);
    let resolved = resolved.map_err(|problems| refused("components.yaml", &problems))?;
    Ok(Regenerated { components: None, base: None, resolved, notes: Vec::new(), base_is_missing: false })
}

/// The last generation where its file is missing: the present one, if the
/// manifest says that it was made from the same pins.
fn made_up_base(
    current: Option<&ComponentManifest>,
    generated: &ComponentManifest,
    stamp: &Generated,
) -> Option<ComponentManifest> {
    let made = current?.generated.as_ref()?;
    let same = made.versions_sha256 == stamp.versions_sha256 && made.catalog_sha256 == stamp.catalog_sha256;
    same.then(|| generated.clone())
}

/// The text with its comments; without them where they would change what it
/// says.
fn checked(manifest: &ComponentManifest, comments: Option<&Comments>) -> String {
    let text = components_text(manifest, comments);
    match serde_yaml::from_str::<ComponentManifest>(&text) {
        Ok(read) if read == *manifest => text,
        _ => components_text(manifest, None),
    }
}

fn stamp(files: &Files<'_>, tool: &str) -> Generated {
    Generated {
        source: "versions.env".to_owned(),
        versions_sha256: sha256(files.versions),
        catalog_sha256: sha256(files.catalog),
        tool: tool.to_owned(),
        note: None,
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse<T: serde::de::DeserializeOwned>(file: &'static str, text: &str) -> Result<T, Refused> {
    let blank = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    serde_yaml::from_str(if blank { "{}" } else { text }).map_err(|error| Refused {
        file,
        message: error.to_string(),
        hint: "correct the file; docs/configuration.md lists every field".to_owned(),
    })
}

fn refused(file: &'static str, problems: &[Problem]) -> Refused {
    let (message, hint) =
        problems.first().map(|problem| (problem.to_string(), problem.hint.clone())).unwrap_or_default();
    let more = problems.len().saturating_sub(1);
    let message = if more > 0 { format!("{message} (and {more} more)") } else { message };
    Refused { file, message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = "tools:\n  - {name: helm, when: HELM, version: '{{HELM|bare}}', url: 'https://h/{{version}}/{{arch}}'}\nimages:\n  - image: r.io/a:{{A}}\n  - image: r.io/b:{{A}}\n";

    fn request(mode: Mode) -> Request {
        let package = Package { name: "p".into(), version: "1".into(), ..Package::default() };
        Request { package, architecture: "arm64".into(), mode, tool: "opencenter-airgap 1".into() }
    }

    fn run(files: &Files<'_>) -> Regenerated {
        regenerate(files, &request(Mode::KeepEdits)).unwrap()
    }

    const V1: &str = "HELM=v1.0.0\nA=1\n";
    const V2: &str = "HELM=v2.0.0\nA=2\n";

    #[test]
    fn a_first_build_writes_everything_and_a_second_one_nothing() {
        let first = run(&Files { versions: V1, catalog: CATALOG, ..Files::default() });
        let (components, base) = (first.components.unwrap(), first.base.unwrap());
        assert!(components.starts_with("# What goes into the package."), "{components}");
        assert!(components.contains(&format!("versions_sha256: \"{}\"", sha256(V1))), "{components}");
        assert_eq!(first.resolved.files[0].url, "https://h/1.0.0/arm64");
        assert_eq!(first.resolved.images, ["r.io/a:1", "r.io/b:1"]);
        let files = Files { versions: V1, catalog: CATALOG, components: Some(&components), base: Some(&base) };
        let second = run(&files);
        assert_eq!((second.components, second.base), (None, None));
        assert_eq!(second.resolved, first.resolved);
        let commented = format!("# a comment\n{V1}");
        let third = run(&Files { versions: &commented, ..files });
        assert_eq!((third.components, third.base), (None, None), "a comment in versions.env changes nothing");
    }

    #[test]
    fn edits_comments_and_removals_survive_new_pins() {
        let first = run(&Files { versions: V1, catalog: CATALOG, ..Files::default() });
        let edited = first
            .components
            .unwrap()
            .replace("https://h/", "https://mirror/")
            .replace("    - image: r.io/a:1\n", "")
            .replace("  - name: helm", "  # ours\n  - name: helm")
            + "  additional:\n    - image: mine:1 # mine\n";
        let base = first.base.unwrap();
        let files = Files { versions: V2, catalog: CATALOG, components: Some(&edited), base: Some(&base) };
        let second = run(&files);
        let text = second.components.unwrap();
        for expected in
            ["# ours\n  - name: helm", "version: 2.0.0", "https://mirror/", "r.io/b:2", "- image: mine:1 # mine"]
        {
            assert!(text.replace('"', "").contains(expected), "{expected} is missing:\n{text}");
        }
        assert!(!text.contains("r.io/a"), "what was removed stays away:\n{text}");
        assert!(second.base.unwrap().contains("r.io/a:2"), "the base is the pure generation");

        let forced = regenerate(&files, &request(Mode::Force)).unwrap().components.unwrap();
        assert!(forced.contains("https://h/") && forced.contains("r.io/a:2") && forced.contains("mine:1"), "{forced}");
    }

    #[test]
    fn a_missing_base_is_made_up_for_where_the_pins_are_the_same() {
        let first = run(&Files { versions: V1, catalog: CATALOG, ..Files::default() });
        let edited = first.components.unwrap().replace("    - image: r.io/a:1\n", "");
        let files = Files { versions: V1, catalog: CATALOG, components: Some(&edited), base: None };
        let second = run(&files);
        assert_eq!(second.components, None, "the removal is known as one");
        assert_eq!(second.base, first.base);
        assert!(!second.base_is_missing);
        let third = run(&Files { versions: V2, ..files });
        assert!(third.base_is_missing);
        assert_eq!(third.resolved.images, ["r.io/a:2", "r.io/b:2", "r.io/b:1"], "everything there counts as added");
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let good = Files { versions: V1, catalog: CATALOG, ..Files::default() };
        for (files, name, word) in [
            (Files { versions: "A", ..good }, "versions.env", "1:2"),
            (Files { versions: "", ..good }, "catalog.yaml", "{{A}}"),
            (Files { catalog: "zzz: 1", ..good }, "catalog.yaml", "unknown field"),
            (Files { components: Some("zzz: 1"), ..good }, "components.yaml", "unknown field"),
            (Files { base: Some("- a"), ..good }, "components.base.yaml", "invalid type"),
            (
                Files { components: Some("tools: [{name: a, version: '1', url: '{{X}}'}]"), ..good },
                "components.yaml",
                "{{X}}",
            ),
        ] {
            let refused = regenerate(&files, &request(Mode::KeepEdits)).unwrap_err();
            assert!(refused.file == name && refused.message.contains(word) && !refused.hint.is_empty(), "{refused:?}");
        }
    }
}
