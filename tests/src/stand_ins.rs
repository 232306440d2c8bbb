//! Small stand-ins on loopback for everything that a components.yaml names,
//! and the mirrors in settings.yaml that lead a build to them.
//!
//! No component is known here by name: for every URL and reference of the
//! [`Named`] there is something of the right kind, in the formats in which
//! releases publish it. What lies at `https://host/path` elsewhere lies at
//! `/host/path` here, and a repository of `registry` below `registry/`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::charts::{self, gzip};
use crate::components::{Chart, File, Named, Repository};
use crate::digest::sha256;
use crate::file_server::FileServer;
use crate::git_server::GitServer;
use crate::images::{Dialect, Image, Index, Platform, layer, tar_of};
use crate::platform::program;
use crate::registry::Registry;

/// The running servers, and what was put on them.
pub struct StandIns {
    pub registry: Registry,
    pub files: FileServer,
    pub git: GitServer,
    /// What is packaged of each URL of a file: the program, out of its archive.
    pub programs: BTreeMap<String, Vec<u8>>,
    /// By name and version.
    pub charts: BTreeMap<(String, String), Vec<u8>>,
    /// The digest of an image by reference and architecture.
    pub images: BTreeMap<(String, String), String>,
    /// The commit of each repository by its URL.
    pub commits: BTreeMap<String, String>,
    /// Registries as they stand in references.
    registries: BTreeSet<String>,
    /// `https://host/` of files and charts.
    hosts: BTreeSet<String>,
}

impl StandIns {
    /// Serves what all of `named` name, which are one components.yaml for
    /// several architectures. None without git.
    pub fn serve(named: &[Named]) -> Option<Self> {
        let mut all = Self {
            registry: Registry::start(),
            files: FileServer::start(),
            git: GitServer::start()?,
            programs: BTreeMap::new(),
            charts: BTreeMap::new(),
            images: BTreeMap::new(),
            commits: BTreeMap::new(),
            registries: BTreeSet::new(),
            hosts: BTreeSet::new(),
        };
        let mut sums: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
        for one in named {
            for file in &one.files {
                let sum = all.put_file(file, &one.architecture);
                let list = file.checksum_url.clone().into_iter();
                list.for_each(|list| sums.entry(list).or_default().push((base(&file.url), sum.clone())));
            }
        }
        for (url, sums) in &sums {
            all.put(url, checksums(url, sums));
        }
        let first = named.first().expect("at least one architecture");
        all.put_charts(&first.charts);
        first.images.iter().for_each(|image| all.push_image(image));
        first.repositories.iter().for_each(|repository| all.create_repository(repository));
        Some(all)
    }

    /// The overrides, to be appended to a settings.yaml without any.
    pub fn settings(&self) -> String {
        let mut mirrors: BTreeMap<String, String> =
            self.hosts.iter().map(|host| (host.clone(), self.files.url(&path_of(host)))).collect();
        mirrors.extend(self.commits.keys().map(|url| (url.clone(), self.git.url(&path_of(url)))));
        let registries: BTreeMap<&String, Value> = self
            .registries
            .iter()
            .map(|name| {
                let location = self.registry.reference(name);
                (name, json!({ "mirrors": [{ "location": location, "plain_http": true }], "mirrors_only": true }))
            })
            .collect();
        let settings = json!({ "network": { "url_mirrors": mirrors }, "registries": registries });
        serde_yaml::to_string(&settings).expect("a value is YAML")
    }

    /// Serves `content` as that of `url`.
    fn put(&mut self, url: &str, content: impl Into<Vec<u8>>) {
        self.hosts.insert(origin(url));
        self.files.put(&path_of(url), content.into());
    }

    /// Returns the checksum of what lies at the URL.
    fn put_file(&mut self, file: &File, architecture: &str) -> String {
        let seed = u64::try_from(self.programs.len()).expect("a small number");
        let program = program(&format!("{} for {architecture}", file.name), seed, 20_000);
        // Of what nobody has a checksum its first bytes have to tell the truth.
        let is_archive = file.checksum_url.is_none() && file.url.ends_with(".tar.gz");
        let content = if file.extract || is_archive { archive(file, &program) } else { program.clone() };
        self.programs.insert(file.url.clone(), if is_archive { content.clone() } else { program });
        let sum = sha256(&content);
        self.put(&file.url, content);
        sum
    }

    /// Each repository has an index with the wanted version between an older
    /// and a newer one.
    fn put_charts(&mut self, wanted: &[Chart]) {
        let repositories: BTreeSet<&str> = wanted.iter().map(|chart| chart.repo.trim_end_matches('/')).collect();
        for repository in repositories {
            let mut entries: Vec<(&str, &str, String, Vec<u8>)> = Vec::new();
            let here = |chart: &&Chart| chart.repo.trim_end_matches('/') == repository;
            for Chart { name, version, .. } in wanted.iter().filter(here) {
                for version in ["999.0.0", version, "0.0.1"] {
                    let archive = charts::chart(name, version, &[("values.yaml", "replicas: 1\n")]);
                    let place = format!("charts/{name}-{version}.tgz");
                    self.put(&format!("{repository}/{place}"), archive.clone());
                    entries.push((name, version, place, archive));
                }
                let (.., archive) = &entries[entries.len() - 2];
                self.charts.insert((name.clone(), version.clone()), archive.clone());
            }
            let entries: Vec<(&str, &str, &str, &[u8])> = entries
                .iter()
                .map(|(name, version, place, archive)| (*name, *version, place.as_str(), archive.as_slice()))
                .collect();
            self.put(&format!("{repository}/index.yaml"), charts::index(&entries));
        }
    }

    /// An index with an image for each architecture and with attestations, as
    /// build tools publish them.
    fn push_image(&mut self, reference: &str) {
        let (registry, name) = split(reference);
        assert!(!name.contains('@'), "{reference}: nothing can stand in for what a digest names");
        let seed = 1_000 + u64::try_from(self.images.len()).expect("a small number");
        let image = |seed, platform| Image::build(seed, &[layer(1, 5_000), layer(seed, 2_000)], Dialect::Oci, platform);
        let images = [image(seed, Platform::amd64()), image(seed + 1, Platform::arm64())];
        self.registry.push_index(&format!("{registry}/{name}"), &Index::with_attestations(&images));
        for image in &images {
            let key = (reference.to_owned(), image.platform.architecture.clone());
            self.images.insert(key, image.digest().to_owned());
        }
        self.registries.insert(registry);
    }

    /// A repository with the ref that is wanted as its default branch.
    fn create_repository(&mut self, repository: &Repository) {
        let Repository { name, url, reference, commit } = repository;
        assert!(
            commit.as_deref().is_none_or(|commit| commit == "HEAD"),
            "{name}: nothing can stand in for a pinned commit"
        );
        let path = path_of(url);
        let served = self.git.create(path.trim_start_matches('/').trim_end_matches(".git"));
        served.commit("README.md", format!("# Stands in for {url}\n"));
        if let Some(branch) = reference.as_deref().filter(|reference| *reference != "main") {
            served.branch(branch);
        }
        let commit = served.commit("playbook.yaml", "hosts: all\n");
        self.commits.insert(url.clone(), commit);
    }
}

/// A gzipped archive with the program and what usually lies beside it.
fn archive(file: &File, program: &[u8]) -> Vec<u8> {
    let known = [".tar.gz", ".tgz"].iter().any(|ending| file.url.ends_with(ending));
    assert!(known, "{}: no stand-in for this kind of archive", file.url);
    gzip(&tar_of(&[("LICENSE", b"Apache-2.0"), ("README.md", b"# Read me"), (file.binary(), program)]))
}

/// A checksum file in the format in which such names are published: lines of
/// BSD with other algorithms between them, the digest alone for what belongs
/// to one file, or the list of `sha256sum`.
fn checksums(url: &str, sums: &[(&str, String)]) -> String {
    let name = base(url);
    match sums {
        _ if name.ends_with("-bsd") => {
            let md5 = "d41d8cd98f00b204e9800998ecf8427e";
            sums.iter().map(|(file, sum)| format!("MD5 ({file}) = {md5}\nSHA256 ({file}) = {sum}\n")).collect()
        }
        [(file, sum)] if name == format!("{file}.sha256") => sum.clone(),
        _ => {
            let other = "0".repeat(64);
            let rows = sums.iter().map(|(file, sum)| format!("{sum}  {file}\n"));
            rows.chain([format!("{other}  a-file-for-windows.exe\n")]).collect()
        }
    }
}

/// The last part of a URL.
fn base(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// `https://host/` of `https://host/path`.
///
/// # Panics
/// For what is not https.
fn origin(url: &str) -> String {
    let (host, _) = without_scheme(url).split_once('/').unwrap_or_else(|| panic!("{url} has no path"));
    format!("https://{host}/")
}

/// `/host/path` of `https://host/path`.
fn path_of(url: &str) -> String {
    format!("/{}", without_scheme(url))
}

fn without_scheme(url: &str) -> &str {
    url.strip_prefix("https://").unwrap_or_else(|| panic!("no stand-in for {url}"))
}

/// The registry of a reference, and the rest in its complete spelling.
fn split(reference: &str) -> (String, String) {
    match reference.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host.to_owned(), rest.to_owned()),
        Some(_) => ("docker.io".to_owned(), reference.to_owned()),
        None => ("docker.io".to_owned(), format!("library/{reference}")),
    }
}
