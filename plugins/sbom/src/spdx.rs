//! SPDX 2.3 in JSON: for people, contracts and the tools that read nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::contents::{Contents, Placed};
use crate::purl;
use crate::subject::Subject;
use crate::syft::{self, TOOL};

const NONE: &str = "NOASSERTION";

/// A document while it is being made.
pub struct Document {
    name: String,
    packages: BTreeMap<String, Value>,
    relationships: BTreeSet<(String, &'static str, String)>,
    /// Licenses that are no expression of SPDX, by the name that they get.
    licenses: BTreeMap<String, String>,
    remarks: Vec<String>,
}

/// What a package of the document is, beside what is found in images.
#[derive(Clone, Debug, Default)]
pub struct Element {
    /// Of the document: letters, digits, `.` and `-`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Its version; left out of the document where empty.
    pub version: String,
    /// Where it came from.
    pub url: String,
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// A package URL; left out of the document where empty.
    pub purl: String,
    /// `CONTAINER`, `FILE`, `SOURCE`, `APPLICATION`.
    pub purpose: &'static str,
    /// A remark for people; left out of the document where empty.
    pub comment: String,
}

impl Document {
    /// About `subject`, which becomes its first package.
    pub fn new(name: &str, subject: Element) -> Self {
        let mut document = Self {
            name: name.to_owned(),
            packages: BTreeMap::new(),
            relationships: BTreeSet::new(),
            licenses: BTreeMap::new(),
            remarks: Vec::new(),
        };
        document.relate("SPDXRef-DOCUMENT", "DESCRIBES", &subject.id);
        document.add(subject);
        document
    }

    fn relate(&mut self, from: &str, kind: &'static str, to: &str) {
        self.relationships.insert((from.to_owned(), kind, to.to_owned()));
    }

    /// Adds a package of its own.
    fn add(&mut self, element: Element) {
        let Element { id, name, version, url, sha256, purl, purpose, comment } = element;
        let mut package = json!({
            "SPDXID": id, "name": name, "filesAnalyzed": false, "primaryPackagePurpose": purpose,
            "downloadLocation": if is_location(&url) { url.as_str() } else { NONE },
            "licenseConcluded": NONE, "licenseDeclared": NONE, "copyrightText": NONE,
        });
        if !version.is_empty() {
            package["versionInfo"] = version.into();
        }
        if !sha256.is_empty() {
            package["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
        }
        if !comment.is_empty() {
            package["comment"] = comment.into();
        }
        if !purl.is_empty() {
            package["externalRefs"] = json!([reference("PACKAGE-MANAGER", "purl", &purl)]);
        }
        self.packages.insert(id, package);
    }

    /// Adds something that `above` holds.
    pub fn contain(&mut self, above: &str, element: Element) {
        self.relate(above, "CONTAINS", &element.id);
        self.add(element);
    }

    /// Adds what was found in `above`. The same package of several images is
    /// one package of the document.
    pub fn found(&mut self, above: &str, contents: &Contents) {
        for placed in &contents.packages {
            let purl = purl::of(&placed.package, contents.release.as_ref());
            let [kind, ..] = placed.package.kind.words();
            let name = syft::id(&[kind, &placed.package.name, &placed.package.version, &purl]);
            let id = format!("SPDXRef-Package-{kind}-{}-{name}", plain(&placed.package.name));
            self.relate(above, "CONTAINS", &id);
            if !self.packages.contains_key(&id) {
                let package = self.package(&id, placed, &purl);
                self.packages.insert(id, package);
            }
        }
    }

    fn package(&mut self, id: &str, placed: &Placed, purl: &str) -> Value {
        let package = &placed.package;
        let declared = self.license(&package.licenses);
        let mut value = json!({
            "SPDXID": id, "name": package.name, "filesAnalyzed": false, "downloadLocation": NONE,
            "licenseConcluded": NONE, "licenseDeclared": declared, "copyrightText": NONE,
            "sourceInfo": format!("found in {}{}", placed.path, package.inside),
        });
        if !package.version.is_empty() {
            value["versionInfo"] = package.version.as_str().into();
        }
        let maker = ["maintainer", "vendor"].iter().map(|key| package.text(key)).find(|maker| !maker.is_empty());
        if let Some(maker) = maker {
            value["supplier"] = format!("Organization: {maker}").into();
        }
        let cpe = syft::cpe(package).map(|cpe| reference("SECURITY", "cpe23Type", &cpe));
        let purl = (!purl.is_empty()).then(|| reference("PACKAGE-MANAGER", "purl", purl));
        let references: Vec<Value> = cpe.into_iter().chain(purl).collect();
        if !references.is_empty() {
            value["externalRefs"] = references.into();
        }
        value
    }

    /// What of `above` could not be read, in words.
    pub fn unread(&mut self, above: &str, contents: &Contents) {
        for (digest, _, unread) in &contents.unread {
            let place = if digest.is_empty() { String::new() } else { format!(", layer {digest}") };
            let file = if unread.path.is_empty() { String::new() } else { format!(", /{}", unread.path) };
            self.remarks.push(format!("not read: {above}{place}{file}: {}", unread.why));
        }
    }

    fn license(&mut self, licenses: &[String]) -> String {
        let mut parts = Vec::new();
        for license in licenses {
            if is_expression(license) {
                parts.push(license.clone());
                continue;
            }
            let name =
                format!("LicenseRef-{}-{}", plain(license).chars().take(40).collect::<String>(), syft::id(&[license]));
            parts.push(name.clone());
            self.licenses.insert(name, license.clone());
        }
        match parts.len() {
            0 => NONE.to_owned(),
            1 => parts.remove(0),
            _ => parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(" AND "),
        }
    }

    /// The document, made at `epoch`. Its namespace follows from what it says.
    pub fn finish(self, epoch: u64, version: &str) -> Value {
        let time = model::zarf::rfc3339(epoch);
        let tool = format!("Tool: {TOOL}-{version}");
        let relationships = self
            .relationships
            .into_iter()
            .map(|(from, kind, to)| json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to}));
        let licenses =
            self.licenses.into_iter().map(|(id, text)| json!({"licenseId": id, "extractedText": text, "name": text}));
        let mut document = json!({
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": self.name,
            "creationInfo": {"created": time, "creators": [tool]},
            "packages": self.packages.into_values().collect::<Vec<_>>(),
            "relationships": relationships.collect::<Vec<_>>(),
        });
        let licenses: Vec<Value> = licenses.collect();
        if !licenses.is_empty() {
            document["hasExtractedLicensingInfos"] = licenses.into();
        }
        let remarks = self.remarks.into_iter();
        let remarks = remarks.map(
            |comment| json!({"annotationDate": time, "annotationType": "OTHER", "annotator": tool, "comment": comment}),
        );
        let remarks: Vec<Value> = remarks.collect();
        if !remarks.is_empty() {
            document["annotations"] = remarks.into();
        }
        let mut hash = Hash::default();
        // A hash takes whatever it is given.
        let _ = serde_json::to_writer(&mut hash, &document);
        let digest: String = hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        document["documentNamespace"] = format!("https://spdx.org/spdxdocs/{}-{digest}", plain(&self.name)).into();
        document
    }
}

/// Hashes a document as it is written: of a large package one has many MiB.
#[derive(Default)]
struct Hash(Sha256);

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The document of one subject.
pub fn document(subject: &Subject, contents: &Contents) -> Document {
    let element = element(subject);
    let (id, name) = (element.id.clone(), element.name.clone());
    let mut document = Document::new(&name, element);
    document.found(&id, contents);
    document.unread(&name, contents);
    document
}

/// A subject as a package of a document.
pub fn element(subject: &Subject) -> Element {
    match subject {
        Subject::Image(image) => {
            let digest = image.manifest.digest.as_str();
            let whole = image.reference.split('@').next().unwrap_or_default();
            let (repository, tag) = match whole.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => (repository, tag),
                _ => (whole, ""),
            };
            let name = repository.rsplit('/').next().unwrap_or(repository);
            let qualifiers =
                [("arch", image.platform.architecture.as_str()), ("repository_url", repository), ("tag", tag)];
            Element {
                id: format!("SPDXRef-Image-{}", syft::id(&[&image.identifier(), digest])),
                name: image.identifier(),
                version: digest.to_owned(),
                sha256: digest.strip_prefix("sha256:").unwrap_or_default().to_owned(),
                purl: purl::url("oci", "", name, digest, &qualifiers),
                purpose: "CONTAINER",
                ..Element::default()
            }
        }
        Subject::Component(name) => Element {
            id: format!("SPDXRef-Component-{}", plain(name)),
            name: name.clone(),
            purpose: "INSTALL",
            ..Element::default()
        },
        Subject::File(file) => Element {
            id: format!("SPDXRef-File-{}", syft::id(&[&file.path, &file.sha256])),
            name: file.name.clone(),
            version: file.version.clone(),
            url: file.url.clone(),
            sha256: file.sha256.clone(),
            purl: purl::url(
                "generic",
                "",
                &file.name,
                &file.version,
                &[("download_url", &file.url), ("checksum", &format!("sha256:{}", file.sha256))],
            ),
            purpose: "FILE",
            ..Element::default()
        },
    }
}

fn reference(category: &str, kind: &str, locator: &str) -> Value {
    json!({"referenceCategory": category, "referenceType": kind, "referenceLocator": locator})
}

fn is_location(url: &str) -> bool {
    url.contains("://") && !url.contains(char::is_whitespace)
}

/// What a name of the document may have.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// Names that stand in a license of SPDX, as far as packages use them.
const LICENSES: &str = " 0BSD AFL-2.1 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-2.0 \
    BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 BlueOak-1.0.0 CC0-1.0 CC-BY-3.0 CC-BY-4.0 CDDL-1.0 CDDL-1.1 \
    CPL-1.0 curl EPL-1.0 EPL-2.0 FTL GFDL-1.3-or-later GPL-1.0-or-later GPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0 \
    GPL-3.0-only GPL-3.0-or-later HPND ICU ISC JSON LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1 LGPL-2.1-only \
    LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-only LGPL-3.0-or-later Libpng MIT MIT-0 MIT-CMU MPL-1.1 MPL-2.0 NCSA OFL-1.1 \
    OpenSSL PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Ruby SSH-OpenSSH Unicode-3.0 Unicode-DFS-2016 Unlicense UPL-1.0 Vim \
    W3C WTFPL X11 Zlib ZPL-2.1 bzip2-1.0.6 blessing ";

/// Whether a text is an expression of those names.
fn is_expression(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut depth = 0usize;
    let mut wants_name = true;
    for word in spaced.split_whitespace() {
        let fits = match word {
            "(" if wants_name => {
                depth += 1;
                true
            }
            ")" if !wants_name && depth > 0 => {
                depth -= 1;
                true
            }
            "AND" | "OR" if !wants_name => {
                wants_name = true;
                true
            }
            word if wants_name && LICENSES.contains(&format!(" {word} ")) => {
                wants_name = false;
                true
            }
            _ => false,
        };
        if !fits {
            return false;
        }
    }
    depth == 0 && !wants_name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::found::{Kind, Package, Unread};

    fn contents() -> Contents {
        let package =
            Package::new(Kind::Npm, "@a/b", "1", json!({})).licensed(["MIT OR ISC".into(), "see LICENSE".into()]);
        let unread = Unread { path: "x.jar".into(), why: "it is no zip".into() };
        let placed = Placed { package, path: "/p".into(), layer: String::new() };
        Contents {
            packages: vec![placed],
            unread: vec![("sha256:1".into(), "sha256:2".into(), unread)],
            ..Contents::default()
        }
    }

    #[test]
    fn a_document_says_what_was_found_and_what_was_not_read() {
        let subject = Subject::Component("web".into());
        let document = document(&subject, &contents()).finish(1_714_979_289, "1.0");
        assert_eq!(document["creationInfo"]["created"], "2024-05-06T07:08:09Z");
        let package =
            document["packages"].as_array().unwrap().iter().find(|package| package["name"] == "@a/b").unwrap();
        assert!(package["licenseDeclared"].as_str().unwrap().starts_with("(MIT OR ISC) AND (LicenseRef-see-LICENSE-"));
        assert_eq!(package["externalRefs"][0]["referenceLocator"], "pkg:npm/%40a/b@1");
        assert_eq!(document["annotations"][0]["comment"], "not read: web, layer sha256:1, /x.jar: it is no zip");
        let namespace = document["documentNamespace"].as_str().unwrap().to_owned();
        let again = super::document(&subject, &contents()).finish(1_714_979_289, "1.0");
        assert_eq!(again["documentNamespace"], namespace.as_str());
        let ids: Vec<&str> =
            document["packages"].as_array().unwrap().iter().map(|p| p["SPDXID"].as_str().unwrap()).collect();
        let is_plain =
            |id: &&str| id.starts_with("SPDXRef-") && id.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
        assert!(ids.iter().all(is_plain), "{ids:?}");
    }

    #[test]
    fn licenses_that_spdx_knows_are_told_from_words() {
        for text in ["MIT", "GPL-2.0-only AND (MIT OR Apache-2.0)", "(ISC)"] {
            assert!(is_expression(text), "{text}");
        }
        for text in ["", "MIT License", "AND", "MIT AND", "(MIT", "MIT)", "GPLv2+", "MIT ISC"] {
            assert!(!is_expression(text), "{text}");
        }
    }
}
