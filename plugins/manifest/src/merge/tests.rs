//! The merge as a table, and what holds for every input.

use model::Image;
use proptest::prelude::*;

use super::*;

fn manifest(yaml: &str) -> ComponentManifest {
    serde_yaml::from_str(if yaml.is_empty() { "{}" } else { yaml }).unwrap()
}

fn tools(list: &str) -> String {
    let entry = |tool: &str| {
        let (name, version) = tool.split_once(' ').unwrap();
        format!("{{name: {name}, version: '{version}', url: 'https://h/{name}'}}")
    };
    format!("tools: [{}]", list.split(", ").filter(|tool| !tool.is_empty()).map(entry).collect::<Vec<_>>().join(", "))
}

fn images(list: &str) -> String {
    format!("images: {{auto_discover: [{list}]}}")
}

/// `a 1, b 2` as images.
fn tagged(list: &str) -> String {
    list.split(", ").map(|entry| entry.replace(' ', ":")).collect::<Vec<_>>().join(", ")
}

fn shown(manifest: &ComponentManifest) -> String {
    let tools = manifest.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version));
    let images = manifest.images.iter().map(|image| image.image.clone());
    tools.chain(images).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_table() {
    use Mode::{Force, KeepEdits};
    // What happened, base, generated, current, mode, result, warnings.
    let cases = [
        ("nothing", "a 1", "a 1", "a 1", KeepEdits, "a 1", 0),
        ("added by the pins", "a 1", "a 1, b 1", "a 1", KeepEdits, "a 1, b 1", 0),
        ("removed by the pins", "a 1, b 1", "a 1", "a 1, b 1", KeepEdits, "a 1", 0),
        ("edited by hand", "a 1", "a 1", "a 2", KeepEdits, "a 2", 0),
        ("changed by the pins", "a 1", "a 2", "a 1", KeepEdits, "a 2", 0),
        ("both, differently", "a 1", "a 2", "a 3", KeepEdits, "a 3", 1),
        ("both, the same", "a 1", "a 2", "a 2", KeepEdits, "a 2", 0),
        ("both, forced", "a 1", "a 2", "a 3", Force, "a 2", 0),
        ("edited by hand, forced", "a 1", "a 1", "a 2", Force, "a 1", 0),
        ("deleted by hand", "a 1, b 1", "a 1, b 1", "a 1", KeepEdits, "a 1", 0),
        ("deleted by hand, changed by the pins", "a 1, b 1", "a 1, b 2", "a 1", KeepEdits, "a 1", 0),
        ("deleted by hand, forced", "a 1, b 1", "a 1, b 1", "b 1", Force, "a 1, b 1", 0),
        ("added by hand", "a 1", "a 1", "a 1, x 1", KeepEdits, "a 1, x 1", 0),
        ("added by hand, pins changed", "a 1", "a 2, b 1", "x 1, a 1", KeepEdits, "x 1, a 2, b 1", 0),
        ("added by hand, forced", "a 1", "a 2", "a 1, x 1", Force, "a 2, x 1", 0),
        ("added by both, the same", "", "x 1", "x 1", KeepEdits, "x 1", 0),
        ("edited by hand, removed by the pins", "a 1", "", "a 2", KeepEdits, "a 2", 1),
        ("edited by hand, removed by the pins, forced", "a 1", "", "a 2", Force, "", 0),
        ("deleted by both", "a 1", "", "", KeepEdits, "", 0),
        ("new ones keep their place", "a 1, c 1", "a 1, b 1, c 1, d 1", "c 1, a 2", KeepEdits, "c 1, d 1, a 2, b 1", 0),
    ];
    for (what, base, generated, current, mode, result, warnings) in cases {
        for (kind, list) in [("tools", tools as fn(&str) -> String), ("images", |list| images(&tagged(list)))] {
            let side = |text: &str| manifest(&list(text));
            let merged = merge_manifests(Some(&side(base)), &side(generated), Some(&side(current)), mode);
            let expected = if kind == "tools" { result.to_owned() } else { tagged(result) };
            assert_eq!(shown(&merged.manifest), expected, "{kind}: {what}");
            let found: Vec<&Note> = merged.notes.iter().filter(|note| note.is_warning()).collect();
            assert_eq!(found.len(), warnings, "{kind}: {what}: {found:?}");
        }
    }
}

#[test]
fn a_tool_added_by_both_in_two_ways_keeps_the_hand_written_one() {
    let merged = merge_manifests(None, &manifest(&tools("x 2")), Some(&manifest(&tools("x 1"))), Mode::KeepEdits);
    assert_eq!(shown(&merged.manifest), "x 1");
    assert!(merged.notes[0].is_warning() && merged.notes[0].to_string().contains("edited by hand to 1"));
}

#[test]
fn another_tag_of_a_generated_image_is_an_addition_where_the_base_has_none() {
    let merged = merge_manifests(None, &manifest(&images("x:2")), Some(&manifest(&images("x:1"))), Mode::KeepEdits);
    assert_eq!(shown(&merged.manifest), "x:1, x:2", "both are pulled");
    let base = manifest(&images("x:2"));
    let again = merge_manifests(Some(&base), &manifest(&images("x:3")), Some(&merged.manifest), Mode::KeepEdits);
    assert_eq!(shown(&again.manifest), "x:1, x:3", "the addition stays, the generated one moves on");
}

#[test]
fn fields_are_merged_one_by_one() {
    let side = |version: &str, url: &str| {
        manifest(&format!("tools: [{{name: helm, version: '{version}', url: '{url}', extract: true}}]"))
    };
    let merged = merge_manifests(
        Some(&side("1", "https://up/{{version}}")),
        &side("2", "https://up/{{version}}"),
        Some(&side("1", "https://mirror/{{version}}")),
        Mode::KeepEdits,
    );
    assert_eq!(merged.manifest, side("2", "https://mirror/{{version}}"), "the edited URL follows the new version");
    assert!(merged.notes.iter().all(|note| !note.is_warning()));
}

#[test]
fn an_optional_field_can_be_added_and_removed_by_hand() {
    let with = manifest("repositories: [{name: r, url: 'https://h/r', commit: HEAD}]");
    let without = manifest("repositories: [{name: r, url: 'https://h/r'}]");
    for (base, generated, current) in [(&with, &with, &without), (&without, &without, &with)] {
        assert_eq!(&merge_manifests(Some(base), generated, Some(current), Mode::KeepEdits).manifest, current);
        assert_eq!(&merge_manifests(Some(base), generated, Some(current), Mode::Force).manifest, generated);
    }
}

#[test]
fn the_kubernetes_section_as_a_whole() {
    let none = ComponentManifest::default();
    let one = manifest("kubernetes: {version: v1, binaries: [{name: kubectl, url: 'https://h/k'}]}");
    let edited = manifest(
        "kubernetes: {version: v1, binaries: [{name: kubectl, url: 'https://h/k'}, {name: x, url: 'https://h/x'}]}",
    );
    let newer = manifest("kubernetes: {version: v2, binaries: [{name: kubectl, url: 'https://h/k'}]}");
    let run = |base, generated, current, mode| merge_manifests(Some(base), generated, Some(current), mode).manifest;
    assert_eq!(run(&none, &one, &none, Mode::KeepEdits), one, "added");
    assert_eq!(run(&one, &none, &one, Mode::KeepEdits), none, "removed");
    assert_eq!(run(&one, &newer, &none, Mode::KeepEdits), none, "deleted by hand stays deleted");
    assert_eq!(run(&one, &newer, &none, Mode::Force), newer, "unless forced");
    assert_eq!(run(&one, &none, &edited, Mode::KeepEdits), edited, "edits stay");
    let additions = run(&one, &none, &edited, Mode::Force).kubernetes.unwrap();
    assert_eq!(additions.binaries.len(), 1, "additions stay even then");
    let merged = run(&one, &newer, &edited, Mode::KeepEdits).kubernetes.unwrap();
    assert_eq!((merged.version.as_str(), merged.binaries.len()), ("v2", 2));
}

#[test]
fn what_additional_lists_is_not_generated_again() {
    let current = manifest("images: {additional: [docker.io/library/a:2]}");
    let merged = merge_manifests(None, &manifest(&images("a:2, b:1")), Some(&current), Mode::KeepEdits);
    assert_eq!(shown(&merged.manifest), "b:1, docker.io/library/a:2");
    let current = manifest("images: {auto_discover: [a:1], additional: [a:2]}");
    let base = manifest(&images("a:1"));
    let merged = merge_manifests(Some(&base), &manifest(&images("a:2")), Some(&current), Mode::KeepEdits);
    assert_eq!(shown(&merged.manifest), "a:2", "the pins caught up with the addition");
}

/// What they guard: an image that somebody replaced by one of their own must
/// not come back with the next pins.
#[test]
fn what_was_removed_stays_away_whatever_additional_lists() {
    // What happened, base, generated, auto_discover, additional, result.
    let cases = [
        ("replaced by an own build", "a:1", "a:2", "", "a:mine", "a:mine"),
        ("several tags removed", "a:1, a:2", "a:3, a:4", "", "a:mine", "a:mine"),
        ("edited, and another one added", "a:1", "a:2", "a:9", "a:mine", "a:9, a:mine"),
        ("an own build beside it", "a:1", "a:2", "a:1", "a:mine", "a:2, a:mine"),
        ("never generated, as additional had it", "a:1", "a:2", "", "a:1", "a:2, a:1"),
        ("one of two moved to additional", "a:1, a:2", "a:1, a:2", "", "a:1", "a:1"),
        ("never known", "", "a:2", "", "a:mine", "a:2, a:mine"),
    ];
    for (what, base, generated, listed, additional, result) in cases {
        let current = manifest(&format!("images: {{auto_discover: [{listed}], additional: [{additional}]}}"));
        let (base, generated) = (manifest(&images(base)), manifest(&images(generated)));
        let merged = merge_manifests(Some(&base), &generated, Some(&current), Mode::KeepEdits).manifest;
        assert_eq!(shown(&merged), result, "{what}");
        let again = merge_manifests(Some(&generated), &generated, Some(&merged), Mode::KeepEdits).manifest;
        assert_eq!(again, merged, "{what}: a second build changes nothing");
    }
    let current = manifest("images: {additional: [a:mine]}");
    let merged =
        merge_manifests(Some(&manifest(&images("a:1"))), &manifest(&images("a:2")), Some(&current), Mode::Force);
    assert_eq!(shown(&merged.manifest), "a:2, a:mine", "forced, it comes back");
}

#[test]
fn images_are_compared_in_their_complete_spelling() {
    let current = manifest(&images("docker.io/library/a:1"));
    let merged =
        merge_manifests(Some(&manifest(&images("a:1"))), &manifest(&images("a:2")), Some(&current), Mode::KeepEdits);
    assert_eq!(shown(&merged.manifest), "a:2", "another spelling is not an edit");
}

#[test]
fn without_a_current_manifest_the_generation_is_the_result() {
    let generated = manifest(&tools("a 1"));
    let merged = merge_manifests(Some(&manifest(&tools("b 1"))), &generated, None, Mode::KeepEdits);
    assert_eq!(merged.manifest, generated);
}

fn any_manifest() -> impl Strategy<Value = ComponentManifest> {
    let tool = ("[a-d]", "[1-3]", "[uv]").prop_map(|(name, version, url)| Tool {
        checksum_url: (url == "v").then(|| "https://h/c".to_owned()),
        url: format!("https://h/{url}"),
        extract: version == "1",
        name,
        version,
        binary: None,
        carry: false,
    });
    let image = ("[a-c]", "[1-3]").prop_map(|(name, tag)| Image { image: format!("{name}:{tag}") });
    let images = || proptest::collection::vec(image.clone(), 0..5);
    (proptest::collection::vec(tool, 0..5), images(), images(), proptest::option::of("v[12]")).prop_map(
        |(tools, auto_discover, additional, version)| {
            let mut manifest = ComponentManifest {
                tools,
                images: Images { auto_discover, additional },
                kubernetes: version.map(|version| Kubernetes { version, binaries: Vec::new() }),
                ..ComponentManifest::default()
            };
            // Names and references are unique in every manifest that is loaded.
            let mut seen = std::collections::BTreeSet::new();
            manifest.tools.retain(|tool| seen.insert(tool.name.clone()));
            let mut seen = std::collections::BTreeSet::new();
            manifest.images.additional.retain(|image| seen.insert(image.clone()));
            manifest.images.auto_discover.retain(|image| seen.insert(image.clone()));
            manifest
        },
    )
}

fn generation() -> impl Strategy<Value = ComponentManifest> {
    any_manifest().prop_map(|mut manifest| {
        manifest.images.additional.clear();
        manifest
    })
}

proptest! {
    #[test]
    fn nothing_edited_gives_the_generation(base in generation(), generated in generation()) {
        let merged = merge_manifests(Some(&base), &generated, Some(&base), Mode::KeepEdits);
        prop_assert_eq!(merged.manifest, generated);
    }

    #[test]
    fn nothing_pinned_gives_what_lies_there(base in generation(), current in any_manifest()) {
        let merged = merge_manifests(Some(&base), &base, Some(&current), Mode::KeepEdits);
        prop_assert_eq!(merged.manifest, current);
        prop_assert!(merged.notes.is_empty(), "{:?}", merged.notes);
    }

    #[test]
    fn a_second_merge_changes_nothing(
        base in proptest::option::of(generation()),
        generated in generation(),
        current in any_manifest(),
        force in any::<bool>(),
    ) {
        let mode = if force { Mode::Force } else { Mode::KeepEdits };
        let once = merge_manifests(base.as_ref(), &generated, Some(&current), mode).manifest;
        let twice = merge_manifests(Some(&generated), &generated, Some(&once), mode).manifest;
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn additions_always_stay(base in generation(), generated in generation(), current in any_manifest(), force in any::<bool>()) {
        let mode = if force { Mode::Force } else { Mode::KeepEdits };
        let merged = merge_manifests(Some(&base), &generated, Some(&current), mode).manifest;
        prop_assert_eq!(&merged.images.additional, &current.images.additional);
        for tool in current.tools.iter().filter(|tool| find(&base.tools, &tool.name).is_none()) {
            prop_assert!(find(&merged.tools, &tool.name).is_some(), "{} is gone", tool.name);
        }
    }

    #[test]
    fn names_and_references_stay_unique(base in generation(), generated in generation(), current in any_manifest()) {
        let merged = merge_manifests(Some(&base), &generated, Some(&current), Mode::KeepEdits).manifest;
        let mut names: Vec<&str> = merged.tools.iter().map(|tool| tool.name.as_str()).collect();
        let mut references: Vec<&str> = merged.images.iter().map(|image| image.image.as_str()).collect();
        for list in [&mut names, &mut references] {
            let all = list.len();
            list.sort_unstable();
            list.dedup();
            prop_assert_eq!(list.len(), all);
        }
    }
}
