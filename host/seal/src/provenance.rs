//! How a package was made: an in-toto statement with SLSA's predicate, version
//! 1.
//!
//! It names the package by its digest, what was built (the configuration by its
//! hashes), which code decided about it (every step, with its plugin's digest
//! and source), and of what it was made (every material that airgap.lock
//! holds, with its digest). There is no time in it but the build's clock, and
//! nothing random: the same build has the same statement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use base::digest::Digest;
use base::error::{Error, Result};
use config::airgap_lock::AirgapLock;
use config::hash::ConfigHashes;
use signing::statement::{Statement, Subject};
use signing::{Bundle, PrivateKey};

/// The predicate's type: SLSA's provenance, version 1 (slsa.dev/spec/v1.0/provenance).
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// What the parameters and steps mean, which docs/package-format.md says.
const BUILD_TYPE: &str = "urn:opencenter-airgap:build:1";
const BUILDER: &str = "urn:opencenter-airgap:builder";
const TOOL: &str = "opencenter-airgap";

/// The predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was built, and of what.
    pub build_definition: BuildDefinition,
    /// Who built it.
    pub run_details: RunDetails,
}

/// What was built, and of what (SLSA's `buildDefinition`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// How the parameters are to be read: `urn:opencenter-airgap:build:1`.
    pub build_type: String,
    /// What the user decides.
    pub external_parameters: Parameters,
    /// What the program decides.
    pub internal_parameters: Internal,
    /// What the package was made of: what airgap.lock holds.
    #[serde(default)]
    pub resolved_dependencies: Vec<Material>,
}

/// What the user decides (SLSA's `externalParameters`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// The package that was asked for.
    pub package: Package,
    /// SHA-256 over all files of the configuration but airgap.lock, whose
    /// entries are the materials.
    pub configuration: Digest,
    /// Of each file, under its name and length.
    pub files: BTreeMap<String, Digest>,
}

/// Which package it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// `package.name` of the settings.
    pub name: String,
    /// `package.version` of the settings.
    pub version: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
}

/// What the program decides (SLSA's `internalParameters`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Internal {
    /// RFC 3339, UTC: the build's clock.
    pub clock: String,
    /// In the order of the pipeline.
    pub steps: Vec<StepRow>,
}

/// One step, and the code that did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRow {
    /// The step's id in the pipeline.
    pub id: String,
    /// `host`, `core plugin` or `plugin`.
    pub runner: String,
    /// What the step runs: a step of the host, or the plugin by this name.
    pub name: String,
    /// Of the plugin, as it calls it itself; of the program for a step of the host.
    pub version: String,
    /// Of the plugin's component; the host's own steps are the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where the component came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The key that signed the component, as bundles name it: a signature that
    /// holds stands in plugins.lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Whether it took the place of the core plugin of its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces_core: bool,
}

/// What the package was made of (a ResourceDescriptor).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Material {
    /// Where it came from: `oci://<reference>`, `git+<url>@<reference>`, or the URL
    /// of a file or chart.
    pub uri: String,
    /// `sha256`, or `gitCommit`.
    pub digest: BTreeMap<String, String>,
    /// `image`, `chart`, `file`, `repository`, or who else asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Who built it (SLSA's `runDetails`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetails {
    /// The program that built it.
    pub builder: Builder,
}

/// A program, without the machine that it ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// A URI: `urn:opencenter-airgap:builder`.
    pub id: String,
    /// The program's version, under its name.
    #[serde(default)]
    pub version: BTreeMap<String, String>,
}

/// What a build knows of itself.
#[derive(Debug)]
pub struct Made<'a> {
    /// The package that was built.
    pub package: Package,
    /// Of the program.
    pub version: &'a str,
    /// The build's clock, in seconds since 1970.
    pub epoch: u64,
    /// The hashes of the configuration that it was built from.
    pub configuration: &'a ConfigHashes,
    /// In the order of the pipeline.
    pub steps: Vec<StepRow>,
    /// What the configuration names, and nothing else.
    pub lock: &'a AirgapLock,
}

/// The statement about the package called `name` with this digest.
///
/// # Errors
/// None that is known.
pub fn statement(name: &str, digest: &Digest, made: Made<'_>) -> Result<Statement> {
    let configuration = made.configuration.with_lock(None);
    let provenance = Provenance {
        build_definition: BuildDefinition {
            build_type: BUILD_TYPE.to_owned(),
            external_parameters: Parameters {
                package: made.package,
                configuration: configuration.total.unwrap_or_else(|| Digest::of(b"")),
                files: configuration.files,
            },
            internal_parameters: Internal { clock: clock(made.epoch), steps: made.steps },
            resolved_dependencies: materials(made.lock),
        },
        run_details: RunDetails {
            builder: Builder {
                id: BUILDER.to_owned(),
                version: BTreeMap::from([(TOOL.to_owned(), made.version.to_owned())]),
            },
        },
    };
    let predicate =
        serde_json::to_value(provenance).map_err(|error| Error::local("cannot write JSON").caused_by(error))?;
    Ok(Statement::new(Subject::new(name, digest), PREDICATE, predicate))
}

fn clock(epoch: u64) -> String {
    let time = i64::try_from(epoch).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().to_string()
}

/// Everything that the lock holds, sorted.
fn materials(lock: &AirgapLock) -> Vec<Material> {
    let sha256 = |digest: &Digest| ("sha256".to_owned(), digest.hex());
    let material = |kind: &str, uri: String, digest: (String, String)| Material {
        uri,
        digest: BTreeMap::from([digest]),
        annotations: BTreeMap::from([("kind".to_owned(), kind.to_owned())]),
    };
    let images = lock.images.iter().map(|(key, image)| {
        let mut found = material("image", format!("oci://{}", key.reference()), sha256(&image.root()));
        found.annotations.insert("platform".to_owned(), key.platform().to_owned());
        found
    });
    let charts = lock.charts.values().map(|chart| material("chart", chart.url.clone(), sha256(&chart.digest)));
    let files = lock.files.iter().map(|(url, file)| material("file", url.to_string(), sha256(&file.sha256)));
    let repositories = lock.repositories.iter().map(|(key, repository)| {
        let commit = ("gitCommit".to_owned(), repository.commit.clone());
        material("repository", format!("git+{}@{}", key.url(), key.reference()), commit)
    });
    let of_plugins = lock.of_plugins().map(|(asker, address, file)| {
        let mut found = material("file", address.to_owned(), sha256(&file.sha256));
        found.annotations.insert("by".to_owned(), asker.to_string());
        found
    });
    let mut all: Vec<Material> = images.chain(charts).chain(files).chain(repositories).chain(of_plugins).collect();
    all.sort_by(|one, other| {
        (&one.uri, &one.digest, &one.annotations).cmp(&(&other.uri, &other.digest, &other.annotations))
    });
    all.dedup();
    all
}

/// The file that lies beside the package: the statement, in a bundle where
/// there is a key.
///
/// # Errors
/// `local`, where the library cannot.
pub fn file(statement: &Statement, key: Option<&PrivateKey>) -> Result<Vec<u8>> {
    if let Some(key) = key {
        return Bundle::of_statement(key, statement)?.to_json();
    }
    let mut bytes = statement.to_json()?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What lies in such a file.
#[derive(Debug)]
pub enum Held {
    /// Nobody vouches for it.
    Unsigned(Statement),
    /// The statement in an envelope, with a signature that is not checked yet.
    Signed(Bundle),
}

impl Held {
    /// Reads the file.
    ///
    /// # Errors
    /// `invalid-input` for what is neither.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let json: serde_json::Value = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid("this is neither a statement nor a bundle").caused_by(error))?;
        match Bundle::is_bundle(&json) {
            true => Bundle::parse(bytes).map(Self::Signed),
            false => Statement::parse(bytes).map(Self::Unsigned),
        }
    }

    /// The statement, whoever signed it.
    ///
    /// # Errors
    /// `invalid-input` for a bundle that holds none.
    pub fn statement(&self) -> Result<Statement> {
        match self {
            Self::Unsigned(statement) => Ok(statement.clone()),
            Self::Signed(bundle) => bundle.statement(),
        }
    }
}

/// The predicate of a statement.
///
/// # Errors
/// `invalid-input` where it is another one.
pub fn of(statement: &Statement) -> Result<Provenance> {
    if statement.predicate_type != PREDICATE {
        let found: String = statement.predicate_type.chars().take(100).collect();
        return Err(Error::invalid(format!("the statement is no provenance but `{}`", found.escape_debug())));
    }
    serde_json::from_value(statement.predicate.clone())
        .map_err(|error| Error::invalid("the provenance is not one of this program").caused_by(error))
}

/// The file about the package `before`, which says the same about `after`,
/// signed. None where it is about another package.
///
/// # Errors
/// As [`Held::parse`].
pub fn renewed(bytes: &[u8], before: &Digest, after: &Digest, key: &PrivateKey) -> Result<Option<Vec<u8>>> {
    let mut statement = Held::parse(bytes)?.statement()?;
    if !statement.is_about(before) {
        return Ok(None);
    }
    for subject in &mut statement.subject {
        if subject.digest.get("sha256") == Some(&before.hex()) {
            *subject = Subject::new(std::mem::take(&mut subject.name), after);
        }
    }
    file(&statement, Some(key)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::airgap_lock::{FileKey, LockedFile, LockedRepository, RepositoryKey};

    fn made(lock: &AirgapLock, hashes: &ConfigHashes) -> Statement {
        let made = Made {
            package: Package { name: "x".into(), version: "1".into(), architecture: "amd64".into() },
            version: "0.1.0",
            epoch: 1_787_340_146,
            configuration: hashes,
            steps: Vec::new(),
            lock,
        };
        statement("x.tar.zst", &Digest::of(b"x"), made).unwrap()
    }

    fn lock(build: &str) -> AirgapLock {
        let mut lock = AirgapLock::default();
        let build = Some(build.to_owned());
        let file = LockedFile { sha256: Digest::of(b"f"), size: 1, checksum: None, build: build.clone() };
        lock.files.insert(FileKey::of("https://h/f"), file);
        let commit = "0".repeat(40);
        lock.repositories.insert(
            RepositoryKey::new("https://h/r.git", "v1"),
            LockedRepository { commit, reference: None, tag: None, build },
        );
        lock
    }

    /// Not the build that saw a material, nor the lock's own bytes.
    #[test]
    fn the_same_build_has_the_same_statement() {
        let mut hashes = ConfigHashes::default();
        hashes.add("config/components.yaml", Digest::of(b"c"), None);
        let one = made(&lock("a"), &hashes.with_lock(Some(Digest::of(b"1"))));
        assert_eq!(one, made(&lock("b"), &hashes));
        let provenance = of(&one).unwrap();
        assert_eq!(Some(provenance.build_definition.external_parameters.configuration), hashes.total);
        let materials = &provenance.build_definition.resolved_dependencies;
        assert_eq!(materials[0].uri, "git+https://h/r.git@v1");
        assert_eq!(materials[0].digest["gitCommit"], "0".repeat(40));
        assert_eq!(materials[1].digest["sha256"], Digest::of(b"f").hex());
        assert_eq!(provenance.build_definition.internal_parameters.clock, "2026-08-21T19:22:26Z");
    }

    #[test]
    fn a_statement_is_renewed_for_the_package_that_it_is_about() {
        let statement = made(&lock("a"), &ConfigHashes::default());
        let key = PrivateKey::generate().unwrap();
        let (before, after) = (Digest::of(b"x"), Digest::of(b"y"));
        for bytes in [file(&statement, None).unwrap(), file(&statement, Some(&key)).unwrap()] {
            let renewed = renewed(&bytes, &before, &after, &key).unwrap().unwrap();
            let Held::Signed(bundle) = Held::parse(&renewed).unwrap() else { panic!("it is signed now") };
            let found = bundle.verify_statement(&key.public()).unwrap();
            assert!(found.is_about(&after) && !found.is_about(&before));
            assert_eq!(found.predicate, statement.predicate);
            assert!(super::renewed(&bytes, &after, &before, &key).unwrap().is_none());
        }
        assert!(Held::parse(b"{}").is_err() && Held::parse(b"").is_err());
    }
}
