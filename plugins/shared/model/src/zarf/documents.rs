//! A file that may hold a definition in both forms.
//!
//! Zarf takes the document of the newest form that it knows and does not look
//! at the others; two of one form are an error. Source:
//! `src/internal/pkgcfg/pkgcfg.go` of Zarf 0.84.

use serde::Deserialize;
use serde_yaml::Value;

use super::{API_VERSION, BETA_VERSION};

/// The documents of a zarf.yaml.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// `zarf.dev/v1alpha1`, which a document without apiVersion is as well.
    pub alpha: Option<Value>,
    /// `zarf.dev/v1beta1`.
    pub beta: Option<Value>,
    /// Whether the first of the two comes first, as readers up to Zarf 0.75.0
    /// need it.
    pub alpha_first: bool,
    /// Versions that nobody here knows.
    pub unknown: Vec<String>,
}

impl Documents {
    /// What Zarf itself does not read is refused: a directive, and anything
    /// behind an empty document at the beginning.
    ///
    /// # Errors
    /// What is wrong, as it continues the name of the file.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_directives(text)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let bad = |error: serde_yaml::Error| format!("cannot be read: {error}");
        let (mut found, mut begins_empty) = (Self::default(), false);
        for (at, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
            let mut document = Value::deserialize(document).map_err(bad)?;
            if document.is_null() {
                begins_empty |= at == 0;
                continue;
            }
            if begins_empty {
                return Err("begins with an empty document, behind which Zarf finds no definition".to_owned());
            }
            document.apply_merge().map_err(bad)?;
            found.add(document)?;
        }
        match (&found.alpha, &found.beta) {
            (None, None) if found.unknown.is_empty() => Err("holds no package definition".to_owned()),
            (None, None) => Err(format!(
                "has the apiVersion `{}`, and neither `{API_VERSION}` nor `{BETA_VERSION}`",
                found.unknown.join("`, `").escape_debug()
            )),
            _ => Ok(found),
        }
    }

    fn add(&mut self, document: Value) -> Result<(), String> {
        if !document.is_mapping() {
            return Err("holds a document that is no mapping".to_owned());
        }
        let version = match document.get("apiVersion") {
            None | Some(Value::Null) => API_VERSION,
            Some(Value::String(version)) if version.is_empty() => API_VERSION,
            Some(Value::String(version)) => version,
            Some(_) => return Err("has an `apiVersion` that is no text".to_owned()),
        };
        if document.get("kind").and_then(Value::as_str) == Some("ZarfComponentConfig") {
            return Err("is a component (ZarfComponentConfig), not a package".to_owned());
        }
        let place = match version {
            API_VERSION => &mut self.alpha,
            BETA_VERSION => &mut self.beta,
            other => {
                self.unknown.push(other.to_owned());
                return Ok(());
            }
        };
        let version = version.to_owned();
        if place.replace(document).is_some() {
            return Err(format!("holds two documents of {version}"));
        }
        self.alpha_first |= self.alpha.is_some() && self.beta.is_none();
        Ok(())
    }
}

/// Zarf reads no file with a directive, and a scanner takes time for them that
/// grows with the square of their number.
///
/// # Errors
/// What is wrong, as it continues the name of the file.
pub fn check_directives(text: &str) -> Result<(), String> {
    match text.trim_start_matches('\u{feff}').lines().any(|line| line.starts_with('%')) {
        true => Err("holds a YAML directive (`%…`), with which Zarf reads none of it".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart_in_any_order() {
        let both = Documents::parse("kind: a\n---\napiVersion: zarf.dev/v1beta1\nkind: b\n---\n").unwrap();
        assert!(both.alpha_first && both.alpha.is_some() && both.beta.is_some());
        let turned = Documents::parse("apiVersion: zarf.dev/v1beta1\n---\napiVersion: zarf.dev/v1alpha1\n").unwrap();
        assert!(!turned.alpha_first && turned.alpha.is_some() && turned.beta.is_some());
        let later = Documents::parse("apiVersion: zarf.dev/v2\n---\napiVersion: zarf.dev/v1beta1\n").unwrap();
        assert_eq!((later.unknown, later.alpha), (vec!["zarf.dev/v2".to_owned()], None));
    }

    /// As Zarf reads it.
    #[test]
    fn marks_line_ends_empty_documents_and_merges_change_nothing() {
        let plain = "kind: a\n---\napiVersion: zarf.dev/v1beta1\nkind: b\n";
        let expected = Documents::parse(plain).unwrap();
        for text in [
            format!("\u{feff}{plain}"),
            plain.replace('\n', "\r\n"),
            format!("# about\n---\n{}...\n", plain.replace("---", "...\n---\n---\n# more\n---")),
            format!("{plain}---\n---\n"),
            plain.replace("kind: b\n", "<<: &m {kind: b, apiVersion: none}\n"),
        ] {
            assert_eq!(Documents::parse(&text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_package_is_named() {
        for (text, why) in [
            ("", "no package definition"),
            ("a: 1\n---\nb: 1\n", "two documents of zarf.dev/v1alpha1"),
            ("apiVersion: zarf.dev/v1\n", "`zarf.dev/v1`"),
            ("apiVersion: 1\n", "no text"),
            ("- a\n", "no mapping"),
            ("apiVersion: zarf.dev/v1beta1\nkind: ZarfComponentConfig\n", "not a package"),
            ("a: [\n", "cannot be read"),
            ("---\n---\nkind: a\n", "begins with an empty document"),
            ("%YAML 1.2\n---\nkind: a\n", "directive"),
            ("a: {<<: 1}\n", "cannot be read"),
        ] {
            assert!(Documents::parse(text).unwrap_err().contains(why), "{text}");
        }
    }
}
