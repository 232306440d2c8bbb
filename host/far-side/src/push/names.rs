//! Old and new names, for those who have to rewrite one into the other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::plan::Item;
use base::reference::Reference;

/// In whose words the names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `images:` of a kustomization.yaml.
    Kustomize,
    /// registries.conf of podman, CRI-O, buildah and skopeo.
    RegistriesConf,
}

/// The names of images in a format; `is_plain` where the registry is reached by
/// http.
pub fn written(format: Format, items: &[Item], is_plain: bool) -> String {
    let images = items.iter().filter(|item| item.kind == "image");
    let names: BTreeMap<String, String> = images
        .filter_map(|item| Some((Reference::parse(&item.old).ok()?.name(), Reference::parse(&item.new).ok()?.name())))
        .collect();
    match format {
        Format::Kustomize => kustomize(&names),
        Format::RegistriesConf => registries_conf(&names, is_plain),
    }
}

/// kustomize compares names as they are written: Docker Hub's have shorter
/// forms.
fn kustomize(names: &BTreeMap<String, String>) -> String {
    let mut rows = BTreeSet::new();
    for (old, new) in names {
        rows.insert((old.as_str(), new.as_str()));
        let Some(short) = old.strip_prefix("docker.io/") else { continue };
        rows.insert((short, new));
        rows.extend(short.strip_prefix("library/").map(|shorter| (shorter, new.as_str())));
    }
    let images: Vec<_> = rows.iter().map(|(old, new)| json!({ "name": old, "newName": new })).collect();
    serde_yaml::to_string(&json!({ "images": images })).unwrap_or_default()
}

fn registries_conf(names: &BTreeMap<String, String>, is_plain: bool) -> String {
    let mut text = String::new();
    for (old, new) in names {
        text.push_str(&format!(
            "[[registry]]\nprefix = \"{old}\"\nlocation = \"{old}\"\n\n\
             [[registry.mirror]]\nlocation = \"{new}\"\ninsecure = {is_plain}\n\n"
        ));
    }
    text.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::digest::Digest;

    #[test]
    fn every_way_to_write_a_name_is_rewritten() {
        let item = |kind, old: &str, new: &str| Item {
            kind,
            old: old.into(),
            new: new.into(),
            digest: Some(Digest::of(old.as_bytes())),
        };
        let items = [
            item("image", "docker.io/library/nginx:1", "r.test/library/nginx:1"),
            item("image", "quay.io/a/b:1", "r.test/a/b:1"),
            item("chart", "charts/web:1", "r.test/charts/web:1"),
        ];
        let yaml = written(Format::Kustomize, &items, false);
        let rows: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
        let names: Vec<&str> =
            rows["images"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["docker.io/library/nginx", "library/nginx", "nginx", "quay.io/a/b"]);
        let conf = written(Format::RegistriesConf, &items, true);
        assert!(
            conf.contains("prefix = \"quay.io/a/b\"") && conf.contains("location = \"r.test/a/b\"\ninsecure = true")
        );
        assert!(!conf.contains("charts"));
    }
}
