//! The images of what a chart renders to: every value is there, and each line
//! tells from which line of a template it comes.

use model::rendered::Document;

use crate::naming::has_tag;
use crate::values::{Doubt, Found};
use crate::{find, yaml};

/// An image, or what may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As it is written.
    pub image: String,
    /// Of the template, from 1; 0 where it is not known.
    pub line: u32,
    /// Why it is not known; none where it is.
    pub doubt: Option<Doubt>,
}

/// The images that one document names. A definition of resources deploys none.
pub fn images(document: &Document) -> Vec<Image> {
    let (roots, _) = yaml::documents(&document.text);
    let is_resource = |root: &&yaml::Node| root.text_of("kind") != Some("CustomResourceDefinition");
    let found = roots.iter().filter(is_resource).flat_map(find);
    let line = |line: u32| document.lines.get(line.saturating_sub(1) as usize).copied().unwrap_or_default();
    let image = |found: Found| {
        // In a text a word alone may be a part of what somebody puts together.
        let is_part = found.path.is_empty() && !has_tag(&found.image);
        let doubt = found.doubt.or(is_part.then_some(Doubt::NoTag));
        Image { line: line(found.line), image: found.image, doubt }
    };
    found.map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<String> {
        let lines = (0..).map(|line| 100 + line).take(text.lines().count() + 1).collect();
        let document = Document { template: "a".into(), text: text.into(), lines, hooks: Vec::new() };
        let row = |image: Image| format!("{} {}{}", image.image, image.line, image.doubt.map_or("", |_| " ?"));
        images(&document).into_iter().map(row).collect()
    }

    #[test]
    fn images_are_told_with_the_line_of_the_template() {
        let pod = "kind: Pod\nspec:\n  initContainers:\n  - image: a/init\n  containers:\n  - image: \"a/b:1\"\n    args: [\"--x-image=c/d:2\"]\n    env:\n    - {name: RELATED_IMAGE_X, value: e/f:3}\n";
        assert_eq!(rows(pod), ["a/init 103", "a/b:1 105", "c/d:2 106", "e/f:3 108"]);
    }

    #[test]
    fn resources_of_an_operator_and_texts_in_them_count_and_definitions_do_not() {
        let resource = "kind: Prometheus\nspec:\n  image: q.io/p:1\n  thanos: {baseImage: q.io/t, tag: v2}\n";
        // What an operator makes of a field of its own is not known.
        assert_eq!(rows(resource), ["q.io/p:1 102", "q.io/t 103 ?"]);
        let text = "kind: ConfigMap\ndata:\n  pod.yaml: |\n    spec:\n      image: a/b:1\n";
        assert_eq!(rows(text), ["a/b:1 104"]);
        assert_eq!(rows("kind: CustomResourceDefinition\nspec: {image: a/b:1}\n"), [""; 0]);
    }

    #[test]
    fn lists_in_the_environment_and_parts_in_texts_are_told_apart() {
        let env = "kind: Pod\nspec:\n  containers:\n  - env:\n    - name: X_IMAGES\n      value: |\n        1=a/k:1\n        2=a/k:2\n";
        // Of a text its first line is told.
        assert_eq!(rows(env), ["a/k:1 106", "a/k:2 106"]);
        let text = "kind: ConfigMap\ndata:\n  values: |\n    hub: docker.io/istio\n    image: proxyv2\n";
        assert_eq!(rows(text), ["proxyv2 104 ?"]);
    }

    #[test]
    fn what_the_deployment_fills_in_is_not_known() {
        assert_eq!(rows("kind: Pod\nimage: a/b:$(ZARF_VAR_TAG)\n"), ["a/b:$(ZARF_VAR_TAG) 101 ?"]);
    }
}
