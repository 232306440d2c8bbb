//! What a layer or a file was found to hold.
//!
//! [`Notes`] are what the host keeps for a layer: they depend on its bytes
//! alone, so they say nothing of the image that it belongs to.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What was found in one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// The files that say something, as they lie in the layer.
    pub found: Vec<Found>,
    /// Symlinks whose path was wanted, and where they point from the root.
    pub links: Vec<(String, String)>,
    /// What could not be read, sorted by path.
    pub unread: Vec<Unread>,
}

/// A file and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// From the root of the image.
    pub path: String,
    /// What the file says.
    pub what: What,
}

/// What one file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The system that an image is made of.
    Release(Release),
    /// What is installed, by a package manager's list or by the file itself.
    Packages(Vec<Package>),
}

/// Something that should have been read, and was not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unread {
    /// From the root of the image; empty for the layer itself.
    pub path: String,
    /// The reason, for people.
    pub why: String,
}

/// The fields of os-release, by their names in the SBOM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Release(pub Map<String, Value>);

impl Release {
    /// A field that is a text; empty where there is none.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the system is this one or derived from it: `ID` and `ID_LIKE`.
    pub fn is_like(&self, id: &str) -> bool {
        let like = self.0.get("idLike").and_then(Value::as_array);
        self.get("id") == id || like.is_some_and(|like| like.iter().any(|like| like == id))
    }
}

/// Where a package comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Debian's, from `var/lib/dpkg`.
    Deb,
    /// Alpine's, from `lib/apk/db/installed`.
    Apk,
    /// Of a database of RPM.
    Rpm,
    /// Of the build information in a Go binary.
    GoModule,
    /// Of the `METADATA` of a wheel, or an egg's `PKG-INFO`.
    Python,
    /// Of a `package.json`.
    Npm,
    /// A JAR, WAR or the like, or a project of Maven in it.
    JavaArchive,
    /// A Java archive that is a plugin of Jenkins.
    JenkinsPlugin,
}

impl Kind {
    /// `type`, `foundBy`, `language` and `metadataType` of Syft's document.
    pub fn words(self) -> [&'static str; 4] {
        match self {
            Self::Deb => ["deb", "dpkg-db-cataloger", "", "dpkg-db-entry"],
            Self::Apk => ["apk", "apk-db-cataloger", "", "apk-db-entry"],
            Self::Rpm => ["rpm", "rpm-db-cataloger", "", "rpm-db-entry"],
            Self::GoModule => ["go-module", "go-module-binary-cataloger", "go", "go-module-buildinfo-entry"],
            Self::Python => ["python", "python-installed-package-cataloger", "python", "python-package"],
            Self::Npm => ["npm", "javascript-package-cataloger", "javascript", "javascript-npm-package"],
            Self::JavaArchive => ["java-archive", "java-archive-cataloger", "java", "java-archive"],
            Self::JenkinsPlugin => ["jenkins-plugin", "java-archive-cataloger", "java", "java-archive"],
        }
    }
}

/// One package, as far as its file tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Where it comes from, which decides the fields of `metadata`.
    pub kind: Kind,
    /// As its own ecosystem writes it.
    pub name: String,
    /// As its own ecosystem writes it; empty where the file does not say.
    pub version: String,
    /// As they are written, so not always expressions of SPDX; empty where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
    /// Syft's own fields for its kind.
    pub metadata: Value,
    /// Where it lies inside its file: `:WEB-INF/lib/a.jar`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inside: String,
    /// Of a Java archive: who published it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
}

impl Package {
    /// A package without licenses that lies directly in its file.
    pub fn new(kind: Kind, name: impl Into<String>, version: impl Into<String>, metadata: Value) -> Self {
        Self {
            kind,
            name: name.into(),
            version: version.into(),
            licenses: Vec::new(),
            metadata,
            inside: String::new(),
            group: String::new(),
        }
    }

    /// Adds licenses; blank ones are passed over.
    #[must_use]
    pub fn licensed(mut self, licenses: impl IntoIterator<Item = String>) -> Self {
        self.licenses.extend(licenses.into_iter().filter(|license| !license.trim().is_empty()));
        self
    }

    /// A field of `metadata` that is a text; empty where there is none.
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}
