//! Components out of a registry: an import whose `url` leads to a skeleton
//! package, which holds a zarf.yaml without imports and, for each component
//! with local files, what these are.
//!
//! As in Zarf a skeleton may have no values, and what it says of imports itself
//! counts for nothing; here that is refused, so that nothing is lacking without
//! a word. It comes from outside: none of its paths leads out of the component's
//! own folder.

use super::Skeleton;
use super::import::{Base, Import, Imported, each_source};
use super::path::{is_url, joined};
use super::reader::{Home, Reader, Refused};
use crate::problem::{YamlPath, shown};
use crate::zarf::alpha::Component;

/// What the architecture of a skeleton is called.
const ARCHITECTURE: &str = "skeleton";
/// Above the folder that a path is relative to.
const UP: &str = "../";

impl Reader<'_> {
    /// The component that an import from a registry leads to; None where the
    /// skeleton is not fetched yet.
    pub(super) fn skeleton(
        &mut self,
        component: &Component,
        import: &Import,
        (home, place): (&Home, &YamlPath),
        architecture: &str,
    ) -> Refused<Option<Base>> {
        self.reads(home)?;
        self.learnt.skeletons.push(import.url.clone());
        let unreadable = |why: String| {
            let message = format!("its import `{}` {why}", shown(&import.url));
            home.at(&place.key("import"), &component.name, message, "run `opencenter-airgap update` for it")
        };
        let Some(Skeleton { text, folder }) = self.files.skeleton(&import.url).map_err(unreadable)? else {
            self.learnt.unfetched.push(import.url.clone());
            return Ok(None);
        };
        let inner = Home { file: import.url.clone(), folder: String::new() };
        let name = import.called(component);
        let mut document = self.parsed(&inner, &text)?.alpha.ok_or_else(|| {
            inner.refusal("it holds no v1alpha1 document", "publish a skeleton with a Zarf that writes one")
        })?;
        if let Some(fields) = document.as_mapping_mut() {
            // How it was built is nothing to who imports of it, and says more with each Zarf.
            fields.remove("build");
        }
        let package = self.package(&inner, &document)?;
        let metadata = &package.definition.metadata;
        if metadata.architecture != ARCHITECTURE {
            let message = format!("it is a whole package for `{}`, and no skeleton", shown(&metadata.architecture));
            let hint = "publish the folder of its definition: `zarf package publish DIR oci://…`";
            return Err(inner.at(&YamlPath::root().key("metadata").key("architecture"), "", message, hint));
        }
        let values = &package.definition.values;
        if !values.files.is_empty() || !values.schema.is_empty() {
            let hint = "Zarf imports none with values either: keep the definition in the project, and import by `path`";
            return Err(inner.at(&YamlPath::root().key("values"), "", "it has `values`", hint));
        }
        for (one, place) in package.definition.components.iter().zip(&package.places) {
            if one.name == name && one.import.as_ref().is_some_and(|import| !import.is_null()) {
                let hint = "publish it anew: Zarf resolves imports when it publishes";
                return Err(inner.at(&place.key("import"), name, "it imports another component itself", hint));
            }
        }
        let mut base = self.chosen(package, component, import, (home, place), architecture, &[])?;
        if let Some(source) = leads_out(&mut base.component) {
            let message = format!("`{}` leads out of the skeleton", shown(&source));
            let hint = "no skeleton that Zarf publishes has such a path: look at where it comes from";
            return Err(inner.at(&YamlPath::root(), name, message, hint));
        }
        let depth = home.folder.split('/').filter(|part| !part.is_empty()).count();
        let folder = format!("{}{folder}/{name}", UP.repeat(depth));
        Ok(Some(Box::new(Imported { folder, ..*base })))
    }
}

/// The first path that is not one in the component's own folder.
fn leads_out(component: &mut Component) -> Option<String> {
    let mut found = None;
    each_source(component, &mut |source| {
        let inside = joined("", source);
        let is_plain = !source.starts_with('/') && !source.contains('\\') && !source.chars().any(char::is_control);
        if !is_url(source) && (!is_plain || inside == "." || inside == ".." || inside.starts_with(UP)) {
            found.get_or_insert_with(|| source.clone());
        }
    });
    found
}
